import type { CharBackend, CharSink } from '../backends/backend.js';
import type { Clock, Timer } from '../clock.js';
import { type IrqLine, NO_IRQ } from '../irq.js';
import { readBytes, writeBytes } from './bytes.js';
import type { AccessSize, Device, Region } from './device.js';
import { clone, validated } from './state.js';

// National Semiconductor PC16550D data sheet.

const RBR_THR = 0;
const IER = 1;
const IIR_FCR = 2;
const LCR = 3;
const MCR = 4;
const LSR = 5;
const MSR = 6;
const SCR = 7;

const IER_RDI = 0x01;
const IER_THRI = 0x02;
const IER_RLSI = 0x04;
const IER_MSI = 0x08;
const IIR_NONE = 0x01;
const IIR_MSI = 0x00;
const IIR_THRI = 0x02;
const IIR_RDI = 0x04;
const IIR_RLSI = 0x06;
const IIR_TIMEOUT = 0x0c;
const IIR_FIFOS = 0xc0;
const FCR_ENABLE = 0x01;
const FCR_CLEAR_RX = 0x02;
const FCR_KEPT = 0xc9;
const LCR_WORD = 0x03;
const LCR_STOP = 0x04;
const LCR_PARITY = 0x08;
const LCR_BREAK = 0x40;
const LCR_DLAB = 0x80;
const MCR_DTR = 0x01;
const MCR_RTS = 0x02;
const MCR_OUT1 = 0x04;
const MCR_OUT2 = 0x08;
const MCR_LOOP = 0x10;
const MCR_BITS = 0x1f;
const LSR_DR = 0x01;
const LSR_OE = 0x02;
const LSR_BI = 0x10;
const LSR_ERRORS = 0x1e;
const LSR_THRE = 0x20;
const LSR_TEMT = 0x40;
const LSR_FIFO_ERROR = 0x80;
const MSR_TERI = 0x04;
const MSR_CTS = 0x10;
const MSR_DSR = 0x20;
const MSR_RI = 0x40;
const MSR_DCD = 0x80;
/** A null modem with somebody at the other end. */
const MSR_CONNECTED = MSR_CTS | MSR_DSR | MSR_DCD;

export const UART_FIFO_BYTES = 16;
export const UART_CLOCK_HZ = 1_843_200;
const TRIGGERS = [1, 4, 8, 14];
const TIMEOUT_CHARACTERS = 4;
const SECOND_NS = 1e9;

export interface Uart16550State {
  ier: number;
  fcr: number;
  lcr: number;
  mcr: number;
  msr: number;
  scr: number;
  divisor: number;
  overrun: boolean;
  /** Received characters, oldest first: the byte, with its line status errors in bits 8 to 15. */
  rx: number[];
  /** The transmitter became empty and nobody was told yet. */
  threPending: boolean;
  /** Characters lie in the FIFO below its trigger level for too long. */
  timeout: boolean;
  /** In saved states: ns until the character timeout; -1 for none. */
  timeoutNs: number;
}

const initial = (): Uart16550State => ({
  ier: 0,
  fcr: 0,
  lcr: 0,
  mcr: 0,
  msr: MSR_CONNECTED,
  scr: 0,
  divisor: 12,
  overrun: false,
  rx: [],
  threPending: false,
  timeout: false,
  timeoutNs: -1,
});

export interface Uart16550Options {
  name?: string;
  clock: Clock;
  irq?: IrqLine;
  backend: CharBackend;
  /** The guest set the line up: interrupts, format or modem control. */
  onSetup?: () => void;
}

/**
 * A 16550A serial port (region 0, 8 ports). The transmitter passes bytes on at once and is always empty; the transmitter interrupt
 * comes as if it had emptied just then. The receiver takes what its FIFO has room for and asks the backend for more when the guest
 * has emptied it. CTS, DSR and DCD are on. OUT2 does not gate the interrupt.
 */
export class Uart16550 implements Device<Uart16550State>, CharSink {
  readonly name: string;
  readonly regions: readonly Region[] = [{ space: 'pio', size: 8 }];
  readonly #clock: Clock;
  readonly #irq: IrqLine;
  readonly #backend: CharBackend;
  readonly #onSetup: (() => void) | undefined;
  readonly #timeout: Timer;
  /** Asks for more input a character time after the FIFO was cleared: a driver that clears it is not reading yet. */
  readonly #refill: Timer;
  #s = initial();

  constructor(options: Uart16550Options) {
    this.name = options.name ?? 'com1';
    this.#clock = options.clock;
    this.#irq = options.irq ?? NO_IRQ;
    this.#backend = options.backend;
    this.#onSetup = options.onSetup;
    this.#timeout = this.#clock.timer(() => {
      this.#s.timeout = true;
      this.#updateIrq();
    });
    this.#refill = this.#clock.timer(() => this.#backend.onSpace?.());
    this.#backend.attach(this);
  }

  /** Offers input; returns how many bytes the receiver took. It takes none in loopback mode. */
  receive(data: Uint8Array): number {
    const s = this.#s;
    if ((s.mcr & MCR_LOOP) !== 0) return 0;
    const taken = Math.min(data.length, this.#capacity - s.rx.length);
    if (taken <= 0) return 0;
    for (let i = 0; i < taken; i++) s.rx.push(data[i]);
    this.#received();
    return taken;
  }

  /** The other end sends a break. */
  receiveBreak(): void {
    if ((this.#s.mcr & MCR_LOOP) === 0) this.#push(LSR_BI << 8);
  }

  read(offset: number, size: AccessSize): number {
    if (size !== 1) return readBytes(offset, size, at => (at < 8 ? this.read(at, 1) : 0xff));
    const s = this.#s;
    const dlab = (s.lcr & LCR_DLAB) !== 0;
    switch (offset) {
      case RBR_THR:
        return dlab ? s.divisor & 0xff : this.#readData();
      case IER:
        return dlab ? s.divisor >> 8 : s.ier;
      case IIR_FCR:
        return this.#readIir();
      case LCR:
        return s.lcr;
      case MCR:
        return s.mcr;
      case LSR:
        return this.#readLsr();
      case MSR: {
        const value = s.msr;
        s.msr &= 0xf0;
        this.#updateIrq();
        return value;
      }
      default:
        return s.scr;
    }
  }

  write(offset: number, value: number, size: AccessSize): void {
    if (size !== 1) {
      writeBytes(offset, value, size, (at, byte) => {
        if (at < 8) this.write(at, byte, 1);
      });
      return;
    }
    const s = this.#s;
    const dlab = (s.lcr & LCR_DLAB) !== 0;
    if (offset === IER || offset === LCR || offset === MCR) this.#onSetup?.();
    switch (offset) {
      case RBR_THR:
        if (dlab) s.divisor = (s.divisor & 0xff00) | value;
        else this.#transmit(value);
        break;
      case IER:
        if (dlab) s.divisor = (s.divisor & 0xff) | (value << 8);
        else this.#writeIer(value & 0xf);
        break;
      case IIR_FCR:
        this.#writeFcr(value);
        break;
      case LCR:
        if ((value & ~s.lcr & LCR_BREAK) !== 0 && (s.mcr & MCR_LOOP) !== 0) this.#push(LSR_BI << 8);
        s.lcr = value;
        break;
      case MCR:
        this.#writeMcr(value & MCR_BITS);
        break;
      case LSR:
      case MSR:
        return;
      case SCR:
        s.scr = value;
        return;
    }
    this.#updateIrq();
  }

  reset(): void {
    this.#s = initial();
    this.#timeout.disarm();
    this.#updateIrq();
    this.#refillLater();
  }

  save(): Uart16550State {
    const state = clone(this.#s);
    state.timeoutNs = this.#timeout.armed ? Math.max(0, this.#timeout.atNs - this.#clock.now) : -1;
    return state;
  }

  restore(state: Uart16550State): void {
    const s = validated(this.name, initial(), state);
    s.rx.length = Math.min(s.rx.length, UART_FIFO_BYTES);
    this.#s = s;
    if (s.timeoutNs < 0) this.#timeout.disarm();
    else this.#timeout.arm(this.#clock.now + s.timeoutNs);
    this.#updateIrq();
    if (s.rx.length === 0) this.#refillLater();
  }

  get #fifoOn(): boolean {
    return (this.#s.fcr & FCR_ENABLE) !== 0;
  }

  get #capacity(): number {
    return this.#fifoOn ? UART_FIFO_BYTES : 1;
  }

  /** The time that one character takes on the wire. */
  get #characterNs(): number {
    const { lcr, divisor } = this.#s;
    const bits = 1 + 5 + (lcr & LCR_WORD) + ((lcr & LCR_PARITY) === 0 ? 0 : 1) + ((lcr & LCR_STOP) === 0 ? 1 : 2);
    return Math.ceil((bits * 16 * Math.max(1, divisor) * SECOND_NS) / UART_CLOCK_HZ);
  }

  /** The interrupt of the highest priority, as IIR shows it. */
  #cause(): number {
    const s = this.#s;
    if ((s.ier & IER_RLSI) !== 0 && (this.#lsr() & LSR_ERRORS) !== 0) return IIR_RLSI;
    if ((s.ier & IER_RDI) !== 0) {
      if (s.rx.length >= (this.#fifoOn ? TRIGGERS[s.fcr >> 6] : 1)) return IIR_RDI;
      if (s.timeout) return IIR_TIMEOUT;
    }
    if ((s.ier & IER_THRI) !== 0 && s.threPending) return IIR_THRI;
    if ((s.ier & IER_MSI) !== 0 && (s.msr & 0x0f) !== 0) return IIR_MSI;
    return IIR_NONE;
  }

  #updateIrq(): void {
    this.#irq.set(this.#cause() !== IIR_NONE);
  }

  #lsr(): number {
    const { rx, overrun } = this.#s;
    let value = LSR_THRE | LSR_TEMT | (overrun ? LSR_OE : 0);
    if (rx.length > 0) value |= LSR_DR | (rx[0] >> 8);
    if (this.#fifoOn && rx.some(entry => entry > 0xff)) value |= LSR_FIFO_ERROR;
    return value;
  }

  #readLsr(): number {
    const s = this.#s;
    const value = this.#lsr();
    s.overrun = false;
    if (s.rx.length > 0) s.rx[0] &= 0xff;
    if ((value & LSR_ERRORS) !== 0) this.#updateIrq();
    return value;
  }

  #readIir(): number {
    const cause = this.#cause();
    if (cause === IIR_THRI) {
      this.#s.threPending = false;
      this.#updateIrq();
    }
    return cause | (this.#fifoOn ? IIR_FIFOS : 0);
  }

  #readData(): number {
    const s = this.#s;
    const value = (s.rx.shift() ?? 0) & 0xff;
    s.timeout = false;
    if (s.rx.length > 0 && this.#fifoOn) this.#timeout.arm(this.#clock.now + TIMEOUT_CHARACTERS * this.#characterNs);
    else this.#timeout.disarm();
    this.#updateIrq();
    if (s.rx.length === 0) this.#backend.onSpace?.();
    return value;
  }

  /** One character from the wire or the loop, with its errors in the high byte. */
  #push(entry: number): void {
    const { rx } = this.#s;
    if (rx.length < this.#capacity) rx.push(entry);
    else {
      this.#s.overrun = true;
      // Without FIFOs the newcomer destroys the character that was not read; with them it is lost itself.
      if (!this.#fifoOn) rx[0] = entry;
    }
    this.#received();
  }

  #received(): void {
    this.#s.timeout = false;
    if (this.#fifoOn) this.#timeout.arm(this.#clock.now + TIMEOUT_CHARACTERS * this.#characterNs);
    this.#updateIrq();
  }

  #transmit(value: number): void {
    const s = this.#s;
    // All eight bits pass at any word length: guests that never set one mean eight.
    if ((s.mcr & MCR_LOOP) !== 0) this.#push(value);
    else this.#backend.write(Uint8Array.of(value));
    // The line falls and rises when the interrupt stood already, as it does when a real transmitter empties again.
    s.threPending = false;
    this.#updateIrq();
    s.threPending = true;
  }

  #writeIer(value: number): void {
    const s = this.#s;
    if ((value & ~s.ier & IER_THRI) !== 0) s.threPending = true;
    s.ier = value;
  }

  #writeFcr(value: number): void {
    const s = this.#s;
    const toggled = ((value ^ s.fcr) & FCR_ENABLE) !== 0;
    s.fcr = (value & FCR_ENABLE) === 0 ? 0 : value & FCR_KEPT;
    if (!toggled && (value & (FCR_ENABLE | FCR_CLEAR_RX)) !== (FCR_ENABLE | FCR_CLEAR_RX)) return;
    s.rx.length = 0;
    s.timeout = false;
    this.#timeout.disarm();
    this.#refillLater();
  }

  #writeMcr(value: number): void {
    const s = this.#s;
    const leftLoop = (s.mcr & ~value & MCR_LOOP) !== 0;
    s.mcr = value;
    const lines =
      (value & MCR_LOOP) === 0
        ? MSR_CONNECTED
        : ((value & MCR_RTS) === 0 ? 0 : MSR_CTS) |
          ((value & MCR_DTR) === 0 ? 0 : MSR_DSR) |
          ((value & MCR_OUT1) === 0 ? 0 : MSR_RI) |
          ((value & MCR_OUT2) === 0 ? 0 : MSR_DCD);
    const changed = (s.msr ^ lines) >> 4;
    // Ring counts at its end only.
    const deltas = (changed & ~MSR_TERI) | ((s.msr & ~lines & MSR_RI) === 0 ? 0 : MSR_TERI);
    s.msr = lines | (s.msr & 0x0f) | deltas;
    if (leftLoop) this.#refillLater();
  }

  #refillLater(): void {
    this.#refill.arm(this.#clock.now + this.#characterNs);
  }
}
