import type { GuestLog } from '../../logger.js';
import type { IrqLine } from '../irq.js';
import type { ApicBus, EoiListener } from './apic-bus.js';
import { slice } from './bytes.js';
import { type AccessSize, type Device, openBus, type Region } from './device.js';
import { clone, validated } from './state.js';

// Intel 82093AA data sheet (order 290566); version 0x20 adds the EOI register of later parts.

const IOREGSEL = 0x00;
const IOWIN = 0x10;
const IOEOI = 0x40;

const INDEX_ID = 0x00;
const INDEX_VERSION = 0x01;
const INDEX_ARBITRATION = 0x02;
const INDEX_TABLE = 0x10;

export const IOAPIC_PINS = 24;
const VERSION = ((IOAPIC_PINS - 1) << 16) | 0x20;

const ENTRY_LOGICAL = 0x800;
const ENTRY_REMOTE_IRR = 0x4000;
const ENTRY_LEVEL = 0x8000;
const ENTRY_MASKED = 0x1_0000;
/** Vector, delivery mode, destination mode, polarity, trigger, mask. */
const ENTRY_WRITABLE = 0x1_afff;

export interface IoApicState {
  select: number;
  id: number;
  /** The low words of the redirection table: everything but the destination. */
  low: Uint32Array;
  high: Uint32Array;
  /** Levels of the inputs, bit n for pin n. */
  lines: number;
}

const initial = (): IoApicState => ({
  select: 0,
  id: 0,
  low: new Uint32Array(IOAPIC_PINS).fill(ENTRY_MASKED),
  high: new Uint32Array(IOAPIC_PINS),
  lines: 0,
});

export interface IoApicOptions {
  name?: string;
  bus: ApicBus;
  /** The ID that a firmware would have set, 0 to 15. */
  id?: number;
  log?: GuestLog;
}

/**
 * An I/O APIC with 24 pins (region 0, one page at 0xFEC00000). A line is "asserted", whichever voltage that is: the polarity bit is
 * kept for the guest and changes nothing. An edge on a masked pin is lost; a level waits.
 */
export class IoApic implements Device<IoApicState>, EoiListener {
  readonly name: string;
  readonly regions: readonly Region[] = [{ space: 'mmio', size: 4096 }];
  readonly #options: IoApicOptions;
  #s: IoApicState;

  constructor(options: IoApicOptions) {
    this.name = options.name ?? 'ioapic';
    this.#options = options;
    this.#s = this.#fresh();
    options.bus.addEoiListener(this);
  }

  /** Input `pin`, 0 to 23. */
  line(pin: number): IrqLine {
    return { set: level => this.#setLine(pin, level) };
  }

  endOfInterrupt(vector: number): void {
    const { low } = this.#s;
    for (let pin = 0; pin < IOAPIC_PINS; pin++) {
      if ((low[pin] & (ENTRY_LEVEL | ENTRY_REMOTE_IRR)) !== (ENTRY_LEVEL | ENTRY_REMOTE_IRR) || (low[pin] & 0xff) !== vector) continue;
      low[pin] &= ~ENTRY_REMOTE_IRR;
      this.#service(pin);
    }
  }

  read(offset: number, size: AccessSize): number {
    switch (offset & ~3) {
      case IOREGSEL:
        return slice(this.#s.select, 4, offset & 3, size);
      case IOWIN:
        return slice(this.#readIndex(), 4, offset & 3, size);
      default:
        return openBus(size);
    }
  }

  write(offset: number, value: number, _size: AccessSize): void {
    switch (offset) {
      case IOREGSEL:
        this.#s.select = value & 0xff;
        return;
      case IOWIN:
        this.#writeIndex(value);
        return;
      case IOEOI:
        this.endOfInterrupt(value & 0xff);
        return;
      default:
        this.#options.log?.guestError(this.name, `write at offset 0x${offset.toString(16)}`);
    }
  }

  reset(): void {
    const { lines } = this.#s;
    this.#s = { ...this.#fresh(), lines };
  }

  save(): IoApicState {
    return clone(this.#s);
  }

  restore(state: IoApicState): void {
    this.#s = validated(this.name, initial(), state);
  }

  #fresh(): IoApicState {
    return { ...initial(), id: (this.#options.id ?? 0) & 0xf };
  }

  #setLine(pin: number, level: boolean): void {
    const s = this.#s;
    const bit = 1 << pin;
    if (((s.lines & bit) !== 0) === level) return;
    if (!level) {
      s.lines &= ~bit;
      return;
    }
    s.lines |= bit;
    if ((s.low[pin] & ENTRY_LEVEL) !== 0) this.#service(pin);
    else if ((s.low[pin] & ENTRY_MASKED) === 0) this.#send(pin);
  }

  /** Sends a level-triggered pin's interrupt when it is due: asserted, not masked, and the last one has ended. */
  #service(pin: number): void {
    const s = this.#s;
    if ((s.lines & (1 << pin)) === 0 || (s.low[pin] & (ENTRY_LEVEL | ENTRY_MASKED | ENTRY_REMOTE_IRR)) !== ENTRY_LEVEL) return;
    // Set first: the CPU may end the interrupt before `send` returns.
    s.low[pin] |= ENTRY_REMOTE_IRR;
    if (!this.#send(pin)) s.low[pin] &= ~ENTRY_REMOTE_IRR;
  }

  #send(pin: number): boolean {
    const low = this.#s.low[pin];
    const destination = this.#s.high[pin] >>> 24;
    return this.#options.bus.deliver(destination, (low & ENTRY_LOGICAL) !== 0, (low >> 8) & 7, low & 0xff, (low & ENTRY_LEVEL) !== 0, false);
  }

  #readIndex(): number {
    const s = this.#s;
    switch (s.select) {
      case INDEX_ID:
      case INDEX_ARBITRATION:
        return (s.id << 24) >>> 0;
      case INDEX_VERSION:
        return VERSION;
      default: {
        const pin = (s.select - INDEX_TABLE) >> 1;
        if (pin < 0 || pin >= IOAPIC_PINS) return 0xffff_ffff;
        return (s.select & 1) === 0 ? s.low[pin] : s.high[pin];
      }
    }
  }

  #writeIndex(value: number): void {
    const s = this.#s;
    if (s.select === INDEX_ID) {
      s.id = (value >>> 24) & 0xf;
      return;
    }
    const pin = (s.select - INDEX_TABLE) >> 1;
    if (pin < 0 || pin >= IOAPIC_PINS) {
      if (s.select !== INDEX_VERSION && s.select !== INDEX_ARBITRATION) this.#options.log?.guestError(this.name, `write of register ${s.select}`);
      return;
    }
    if ((s.select & 1) !== 0) {
      s.high[pin] = value & 0xff00_0000;
      return;
    }
    // Turning a pin to edge drops its remote IRR, by which drivers of parts without the EOI register clear it.
    const remoteIrr = (value & ENTRY_LEVEL) !== 0 ? s.low[pin] & ENTRY_REMOTE_IRR : 0;
    s.low[pin] = (value & ENTRY_WRITABLE) | remoteIrr;
    this.#service(pin);
  }
}
