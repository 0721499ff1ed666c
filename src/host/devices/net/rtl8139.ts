import { VmletError } from '../../../errors.js';
import type { GuestLog } from '../../../logger.js';
import type { FramePort } from '../../backends/backend.js';
import type { Clock, Timer } from '../../clock.js';
import type { GuestMemory } from '../../memory.js';
import type { AccessSize } from '../device.js';
import { PciDevice } from '../pci-config.js';
import { Microwire, type MicrowireState } from './microwire.js';

// Realtek RTL8139C(L) datasheet, revision 1.4, chapter 5: registers.
const IDR0 = 0x00;
const MAR0 = 0x08;
const TSD0 = 0x10;
const TSAD0 = 0x20;
const RBSTART = 0x30;
const ERBCR = 0x34;
const ERSR = 0x36;
const CR = 0x37;
const CAPR = 0x38;
const CBR = 0x3a;
const IMR = 0x3c;
const ISR = 0x3e;
const TCR = 0x40;
const RCR = 0x44;
const TCTR = 0x48;
const MPC = 0x4c;
const CR9346 = 0x50;
const CONFIG0 = 0x51;
const CONFIG1 = 0x52;
const TIMER_INT = 0x54;
const MSR = 0x58;
const CONFIG3 = 0x59;
const CONFIG4 = 0x5a;
const MULINT = 0x5c;
const RERID = 0x5e;
const TSAD = 0x60;
const BMCR = 0x62;
const BMSR = 0x64;
const ANAR = 0x66;
const ANLPAR = 0x68;
const ANER = 0x6a;
const NWAYTR = 0x70;
const CSCR = 0x74;
const PHY1_PARM = 0x78;
const TW_PARM = 0x7c;
const PHY2_PARM = 0x80;
const CRC0 = 0x84;
const CONFIG5 = 0xd8;
const BYTES = 256;

const CR_BUFE = 0x01;
const CR_TE = 0x04;
const CR_RE = 0x08;
const CR_RST = 0x10;

const INT_ROK = 0x0001;
const INT_TOK = 0x0004;
const INT_TER = 0x0008;
const INT_RXOVW = 0x0010;
const INT_LINK = 0x0020;
const INT_TIMEOUT = 0x4000;
const INT_ALL = 0xe07f;

const TSD_SIZE = 0x1fff;
const TSD_OWN = 1 << 13;
const TSD_TUN = 1 << 14;
const TSD_TOK = 1 << 15;
const TSD_TABT = 1 << 30;
const TSD_CRS = 0x8000_0000;

const TCR_LOOPBACK = 3 << 17;
/** HWVERID of an RTL8139C. */
const TCR_VERSION = 0x7400_0000;

const RCR_AAP = 0x01;
const RCR_APM = 0x02;
const RCR_AM = 0x04;
const RCR_AB = 0x08;
const RCR_WRAP = 0x80;

const RX_ROK = 0x0001;
const RX_BAR = 0x2000;
const RX_PAM = 0x4000;
const RX_MAR = 0x8000;
const RX_HEADER_BYTES = 4;

const CR9346_MODE = 0xc0;
const MODE_PROGRAM = 0x80;
const MODE_CONFIG = 0xc0;
const CR9346_EECS = 0x08;
const CR9346_EESK = 0x04;
const CR9346_EEDI = 0x02;
const CR9346_EEDO = 0x01;

const BMCR_RESET = 0x8000;
const BMCR_RESTART = 0x0200;
const BMSR_LINK = 0x0024;
const MSR_LINKB = 0x04;
/** In the upper byte; cleared by reading. */
const CSCR_LINK_CHANGED = 0x08;

const MAC_BYTES = 6;
const TX_SLOTS = 4;
const MIN_WIRE_BYTES = 60;
const MIN_FRAME_BYTES = 14;
const MAX_TX_BYTES = 1792;
const MAX_RX_BYTES = 4096;
const FCS_BYTES = 4;
/** The timer counts PCI clocks of 30 ns. */
const TICK_NS = 30;
const TICKS = 0x1_0000_0000;
/** Frames that wait while the driver's ring is full. Wires here have no speed of their own: this stands for a partner that heeds pauses (802.3x). */
const FIFO_BYTES = 1 << 20;

const ID_RTL8129 = 0x8129;

/** EEPROM words (datasheet chapter 6): signature, identifiers, address, configuration bytes. */
const eepromOf = (mac: Uint8Array): Uint16Array => {
  const words = new Uint16Array(64);
  words.set([ID_RTL8129, 0x10ec, 0x8139, 0x1af4, 0x1100, 0x4020, 0xe512]);
  for (let i = 0; i < 3; i++) words[7 + i] = mac[2 * i] | (mac[2 * i + 1] << 8);
  words[10] = 0x4d10;
  return words;
};

export interface Rtl8139Options {
  name?: string;
  /** Six bytes. */
  mac: Uint8Array;
  port: FramePort;
  clock: Clock;
  memory: GuestMemory;
  log: GuestLog;
  rom?: Uint8Array;
}

export interface Rtl8139State {
  registers: Uint8Array;
  /** Bytes that wait in the ring's place of write, and whether the receiver stopped for want of room. */
  linkUp: boolean;
  /** Ticks that the timer has run. */
  timerTicks: number;
  microwire: MicrowireState;
  waiting: Uint8Array[];
}

/** Realtek RTL8139C fast Ethernet controller, PCI 10EC:8139. Region 0 is ports, region 1 the same registers in memory. */
export class Rtl8139 extends PciDevice<Rtl8139State> {
  readonly #port: FramePort;
  readonly #memory: GuestMemory;
  readonly #clock: Clock;
  readonly #mac: Uint8Array;
  readonly #eeprom: Microwire;
  readonly #timeout: Timer;
  readonly #registers = new Uint8Array(BYTES);
  readonly #view = new DataView(this.#registers.buffer);
  #linkUp = true;
  #timerStartNs = 0;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;

  constructor(options: Rtl8139Options) {
    const { mac, port, clock, memory, log, rom } = options;
    super(
      options.name ?? 'rtl8139',
      { vendorId: 0x10ec, deviceId: 0x8139, classCode: 0x020000, revision: 0x10, subsystemVendorId: 0x1af4, subsystemId: 0x1100, interruptPin: 1, rom },
      [
        { index: 0, space: 'pio', size: BYTES },
        { index: 1, space: 'mmio', size: BYTES },
      ],
      log,
    );
    if (mac.length !== MAC_BYTES) throw new VmletError('ERR_VMLET_CONFIG', `the MAC address of '${this.name}' has ${mac.length} bytes, not ${MAC_BYTES}`);
    this.#mac = mac.slice();
    this.#port = port;
    this.#memory = memory;
    this.#clock = clock;
    this.#eeprom = new Microwire(eepromOf(mac));
    this.#timeout = clock.timer(() => this.#timedOut());
    port.onFrame = frame => this.#receive(frame);
    this.#resetChip();
  }

  /** Plugs the cable in or pulls it out. */
  setLink(up: boolean): void {
    if (up === this.#linkUp) return;
    this.#linkUp = up;
    this.#registers[CSCR + 1] |= CSCR_LINK_CHANGED;
    this.#raise(INT_LINK);
  }

  #error(message: string): void {
    this.log.guestError(this.name, message);
  }

  #get16(register: number): number {
    return this.#view.getUint16(register, true);
  }

  #get32(register: number): number {
    return this.#view.getUint32(register, true);
  }

  #set16(register: number, value: number): void {
    this.#view.setUint16(register, value, true);
  }

  #set32(register: number, value: number): void {
    this.#view.setUint32(register, value, true);
  }

  // Registers

  override read(offset: number, size: AccessSize): number {
    let value = 0;
    for (let i = 0; i < size; i++) value += this.#readByte((offset + i) & 0xff) * 2 ** (8 * i);
    return value;
  }

  #readByte(at: number): number {
    if (at >= TCTR && at < TCTR + 4) return (this.#ticks >>> (8 * (at - TCTR))) & 0xff;
    switch (at) {
      case CR: return (this.#registers[CR] & ~CR_BUFE) | (this.#get16(CBR) === this.#readPoint ? CR_BUFE : 0);
      case CR9346: return (this.#registers[CR9346] & ~CR9346_EEDO) | (this.#mode === MODE_PROGRAM && this.#eeprom.dataOut ? CR9346_EEDO : 0);
      case MSR: return (this.#registers[MSR] & ~MSR_LINKB) | (this.#linkUp ? 0 : MSR_LINKB);
      case BMSR: return this.#registers[BMSR] | (this.#linkUp ? BMSR_LINK : 0);
      case CSCR + 1: {
        const value = this.#registers[at];
        this.#registers[at] &= ~CSCR_LINK_CHANGED;
        return value;
      }
      case TSAD:
      case TSAD + 1: return (this.#transmitSummary >>> (8 * (at - TSAD))) & 0xff;
      case ANLPAR:
      case ANLPAR + 1: return this.#linkUp ? this.#registers[at] : 0;
    }
    return this.#registers[at];
  }

  override write(offset: number, value: number, size: AccessSize): void {
    if (offset + size > BYTES) return;
    if (size === 4 && (offset & 3) === 0 && this.#write32(offset, value)) return;
    if (size >= 2 && (offset & 1) === 0) {
      for (let i = 0; i < size; i += 2) this.#write16(offset + i, (value >>> (8 * i)) & 0xffff);
      return;
    }
    for (let i = 0; i < size; i++) this.#write8(offset + i, (value >>> (8 * i)) & 0xff);
  }

  /** Registers that act as double words; false for all others. */
  #write32(register: number, value: number): boolean {
    if (register >= TSD0 && register < TSD0 + 4 * TX_SLOTS) {
      this.#transmit((register - TSD0) >> 2, value);
      return true;
    }
    switch (register) {
      case TCR:
        this.#set32(TCR, ((value & 0x0307_07f1) | TCR_VERSION) >>> 0);
        return true;
      case RCR:
        this.#set32(RCR, value & 0x0f03_ffbf);
        this.#deliver();
        return true;
      case TCTR:
        this.#timerStartNs = this.#clock.now;
        this.#armTimer();
        return true;
      case TIMER_INT:
        this.#set32(TIMER_INT, value);
        this.#armTimer();
        return true;
      case MPC:
        this.#set32(MPC, 0);
        return true;
    }
    return false;
  }

  #write16(register: number, value: number): void {
    switch (register) {
      case CAPR:
        this.#set16(CAPR, value);
        this.#deliver();
        return;
      case IMR:
        this.#set16(IMR, value & INT_ALL);
        // For the same reason: frames that a driver leaves in its ring when it goes back to interrupts.
        if (value & INT_ROK && (this.#registers[CR] & CR_RE) !== 0 && this.#get16(CBR) !== this.#readPoint) this.#set16(ISR, this.#get16(ISR) | INT_ROK);
        return this.#updateIrq();
      case ISR:
        this.#set16(ISR, this.#get16(ISR) & ~value);
        return this.#updateIrq();
      case BMCR:
        if (this.#mode !== MODE_CONFIG && (value & (BMCR_RESET | BMCR_RESTART)) === 0) {
          // Without the key only what does not change the mode gets through; drivers that set a fixed speed unlock first.
          this.#set16(BMCR, value & 0x3100);
          return;
        }
        this.#set16(BMCR, value & BMCR_RESET ? 0x1000 : value & 0x3100);
        return;
      case ANAR:
        this.#set16(ANAR, (value & 0x2de0) | 1);
        return;
      case MULINT:
        this.#set16(MULINT, value & 0x0fff);
        return;
    }
    this.#write8(register, value & 0xff);
    this.#write8(register + 1, value >>> 8);
  }

  #write8(register: number, value: number): void {
    if (register < 6) {
      if (this.#mode === MODE_CONFIG) this.#registers[register] = value;
      return;
    }
    const plain = (register >= MAR0 && register < MAR0 + 8) || (register >= TSAD0 && register < ERBCR) || (register >= NWAYTR && register < CRC0 + 0x54) || register === CONFIG5;
    if (plain) {
      this.#registers[register] = value;
      return;
    }
    switch (register) {
      case CR: return this.#writeCommand(value);
      case CR9346:
        this.#registers[CR9346] = value & 0xce;
        if (this.#mode === MODE_PROGRAM) this.#eeprom.drive((value & CR9346_EECS) !== 0, (value & CR9346_EESK) !== 0, (value & CR9346_EEDI) !== 0);
        return;
      case CONFIG0:
      case CONFIG1:
      case CONFIG3:
      case CONFIG4:
        if (this.#mode === MODE_CONFIG) this.#registers[register] = value;
        return;
      case MSR:
        this.#registers[MSR] = (this.#registers[MSR] & 0x3f) | (value & 0xc0);
        return;
      case CAPR:
      case CAPR + 1:
      case IMR:
      case IMR + 1:
        this.#registers[register] = value;
        return this.#updateIrq();
      case ISR:
      case ISR + 1:
        this.#registers[register] &= ~value;
        return this.#updateIrq();
      case TCR:
      case TCR + 1:
      case TCR + 2:
      case RCR:
      case RCR + 1:
      case RCR + 2: {
        this.#registers[register] = value;
        return;
      }
      case TCR + 3:
      case RCR + 3:
      case ERSR:
      case BMSR:
      case BMSR + 1:
        return;
    }
    if (register >= TSD0 && register < TSD0 + 4 * TX_SLOTS) {
      // A slot starts when its lower half has been written.
      this.#registers[register] = value;
      if ((register & 3) === 1) this.#transmit((register - TSD0) >> 2, this.#get32(register & ~3));
    }
  }

  get #mode(): number {
    return this.#registers[CR9346] & CR9346_MODE;
  }

  #writeCommand(value: number): void {
    if (value & CR_RST) {
      this.#softReset();
      return;
    }
    const before = this.#registers[CR];
    this.#registers[CR] = value & (CR_TE | CR_RE);
    if (value & ~before & CR_RE) {
      this.#set16(CBR, 0);
      // The read point runs 16 bytes ahead of its register.
      this.#set16(CAPR, 0xfff0);
      this.#waiting = [];
      this.#waitingBytes = 0;
    }
  }

  // Interrupts

  #raise(causes: number): void {
    this.#set16(ISR, this.#get16(ISR) | causes);
    this.#updateIrq();
  }

  #updateIrq(): void {
    this.setIntx((this.#get16(ISR) & this.#get16(IMR)) !== 0);
  }

  // Timer (TCTR, TimerInt)

  get #ticks(): number {
    return Math.floor((this.#clock.now - this.#timerStartNs) / TICK_NS) % TICKS;
  }

  #armTimer(): void {
    const at = this.#get32(TIMER_INT);
    if (at === 0) {
      this.#timeout.disarm();
      return;
    }
    const left = (at - this.#ticks + TICKS) % TICKS;
    this.#timeout.arm(this.#clock.now + (left === 0 ? TICKS : left) * TICK_NS);
  }

  #timedOut(): void {
    this.#raise(INT_TIMEOUT);
    this.#armTimer();
  }

  // Transmission

  /** The own, TOK, TUN and TABT bits of all slots. */
  get #transmitSummary(): number {
    let summary = 0;
    for (let slot = 0; slot < TX_SLOTS; slot++) {
      const status = this.#get32(TSD0 + 4 * slot);
      if (status & TSD_OWN) summary |= 0x0100 << slot;
      if (status & TSD_TOK) summary |= 0x1000 << slot;
      if (status & TSD_TUN) summary |= 0x0010 << slot;
      if (status & TSD_TABT) summary |= 0x0001 << slot;
    }
    return summary;
  }

  #transmit(slot: number, value: number): void {
    const bytes = value & TSD_SIZE;
    const kept = value & 0x003f_1fff;
    if (value & TSD_OWN) {
      this.#set32(TSD0 + 4 * slot, ((this.#get32(TSD0 + 4 * slot) & ~0x003f_1fff) | kept | TSD_OWN) >>> 0);
      return;
    }
    if ((this.#registers[CR] & CR_TE) === 0 || !this.busMaster) {
      this.#set32(TSD0 + 4 * slot, kept);
      return;
    }
    const frame = new Uint8Array(bytes);
    const sound = bytes >= MIN_FRAME_BYTES && bytes <= MAX_TX_BYTES && this.#memory.read(this.#get32(TSAD0 + 4 * slot), frame);
    if (!sound) {
      this.#error(`frame of ${bytes} bytes, or outside RAM`);
      this.#set32(TSD0 + 4 * slot, (kept | TSD_OWN | TSD_TABT) >>> 0);
      this.#raise(INT_TER);
      return;
    }
    const loopback = (this.#get32(TCR) & TCR_LOOPBACK) === TCR_LOOPBACK;
    this.#set32(TSD0 + 4 * slot, (kept | TSD_OWN | TSD_TOK | (this.#linkUp || loopback ? 0 : TSD_CRS)) >>> 0);
    const padded = bytes < MIN_WIRE_BYTES ? pad(frame) : frame;
    if (loopback) this.#accept(padded);
    else if (this.#linkUp) this.#port.send(padded);
    this.#raise(INT_TOK);
  }

  // Reception

  get #ringBytes(): number {
    return 8192 << ((this.#get32(RCR) >>> 11) & 3);
  }

  get #readPoint(): number {
    return (this.#get16(CAPR) + 16) % this.#ringBytes;
  }

  #receive(frame: Uint8Array): void {
    if (this.#linkUp && (this.#get32(TCR) & TCR_LOOPBACK) !== TCR_LOOPBACK && frame.length >= MIN_FRAME_BYTES && frame.length <= MAX_RX_BYTES) this.#accept(frame);
  }

  #accept(frame: Uint8Array): void {
    if ((this.#registers[CR] & CR_RE) === 0) return;
    const kind = this.#filter(frame);
    if (kind === 0) return;
    if (this.#waitingBytes + frame.length > FIFO_BYTES && this.#waiting.length > 0) {
      this.#missed();
      return;
    }
    this.#waiting.push(frame.length < MIN_WIRE_BYTES ? pad(frame) : frame);
    this.#waitingBytes += frame.length;
    this.#deliver();
  }

  #missed(): void {
    this.#set32(MPC, Math.min(this.#get32(MPC) + 1, 0xff_ffff));
    this.#raise(INT_RXOVW);
  }

  /** Which receive status bit a frame gets; 0 when it is not for this card. */
  #filter(frame: Uint8Array): number {
    const rcr = this.#get32(RCR);
    const broadcast = frame.subarray(0, MAC_BYTES).every(octet => octet === 0xff);
    if (broadcast) return rcr & (RCR_AB | RCR_AAP) ? RX_BAR : 0;
    if (frame[0] & 1) {
      if (rcr & RCR_AAP) return RX_MAR;
      if ((rcr & RCR_AM) === 0) return 0;
      const hash = crc32(frame) >>> 26;
      return (this.#registers[MAR0 + (hash >> 3)] >> (hash & 7)) & 1 ? RX_MAR : 0;
    }
    const own = this.#registers.subarray(IDR0, IDR0 + MAC_BYTES).every((octet, i) => octet === frame[i]);
    if (own && rcr & (RCR_APM | RCR_AAP)) return RX_PAM;
    return rcr & RCR_AAP ? RX_ROK : 0;
  }

  /** Puts waiting frames into the driver's ring (datasheet 5.7 and 7): header, frame, check sequence, up to a double word. */
  #deliver(): void {
    if ((this.#registers[CR] & CR_RE) === 0 || !this.busMaster) return;
    let delivered = false;
    while (this.#waiting.length > 0) {
      const frame = this.#waiting[0];
      const bytes = frame.length + FCS_BYTES;
      const needed = (RX_HEADER_BYTES + bytes + 3) & ~3;
      const ring = this.#ringBytes;
      const at = this.#get16(CBR) % ring;
      const used = (at - this.#readPoint + ring) % ring;
      if (used + needed >= ring) {
        // The driver may have acknowledged what it had not looked at yet; on a real wire the next frame would remind it.
        this.#raise(INT_ROK);
        break;
      }
      const piece = new Uint8Array(needed);
      const status = RX_ROK | this.#filter(frame);
      piece.set([status, status >>> 8, bytes, bytes >>> 8]);
      piece.set(frame, RX_HEADER_BYTES);
      this.#writeRing(at, piece, ring);
      this.#set16(CBR, (at + needed) % ring);
      this.#waiting.shift();
      this.#waitingBytes -= frame.length;
      delivered = true;
    }
    if (this.#waiting.length === 0) this.#waitingBytes = 0;
    if (delivered) this.#raise(INT_ROK);
  }

  #writeRing(at: number, piece: Uint8Array, ring: number): void {
    const base = this.#get32(RBSTART);
    const first = (this.#get32(RCR) & RCR_WRAP) !== 0 && ring < 0x1_0000 ? piece.length : Math.min(piece.length, ring - at);
    this.#memory.write(base + at, piece.subarray(0, first));
    if (first < piece.length) this.#memory.write(base, piece.subarray(first));
  }

  // State

  /** What CR.RST does: the rings and masks go, the station address and the configuration stay. */
  #softReset(): void {
    const r = this.#registers;
    r.fill(0, TSD0, RBSTART);
    r.fill(0, ERBCR, CR9346);
    this.#set32(TCR, TCR_VERSION);
    this.#set16(CAPR, 0xfff0);
    this.#set32(TIMER_INT, 0);
    this.#timeout.disarm();
    for (let slot = 0; slot < TX_SLOTS; slot++) this.#set32(TSD0 + 4 * slot, TSD_OWN);
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#updateIrq();
  }

  #resetChip(): void {
    const r = this.#registers;
    r.fill(0);
    r.set(this.#mac, IDR0);
    r[CONFIG1] = 0x0c;
    r[MSR] = 0x10;
    r[RERID] = 0x10;
    this.#set16(BMCR, 0x1000);
    this.#set16(BMSR, 0x7809);
    this.#set16(ANAR, 0x05e1);
    this.#set16(ANLPAR, 0x45e1);
    this.#set16(ANER, 0x0001);
    this.#set16(NWAYTR, 0x0080);
    this.#set16(CSCR, 0x03c8);
    this.#set32(PHY1_PARM, 0x60f6_0c59);
    this.#set32(TW_PARM, 0x7b73_2660);
    r[PHY2_PARM] = 0xc9;
    this.#eeprom.reset();
    this.#timerStartNs = this.#clock.now;
    this.#softReset();
  }

  protected override resetDevice(): void {
    this.#resetChip();
  }

  protected override saveDevice(): Rtl8139State {
    return {
      registers: this.#registers.slice(),
      linkUp: this.#linkUp,
      timerTicks: this.#ticks,
      microwire: { ...this.#eeprom.state },
      waiting: this.#waiting.map(frame => frame.slice()),
    };
  }

  protected override restoreDevice(state: Rtl8139State): void {
    if (!(state?.registers instanceof Uint8Array) || state.registers.length !== BYTES || !Array.isArray(state.waiting)) {
      throw new VmletError('ERR_VMLET_STATE', `the saved state of '${this.name}' is damaged`);
    }
    this.#registers.set(state.registers);
    this.#linkUp = state.linkUp;
    this.#timerStartNs = this.#clock.now - state.timerTicks * TICK_NS;
    this.#eeprom.state = { ...state.microwire };
    this.#waiting = state.waiting.map(frame => frame.slice());
    this.#waitingBytes = this.#waiting.reduce((sum, frame) => sum + frame.length, 0);
    this.#armTimer();
    this.#updateIrq();
  }

  protected override commandWritten(): void {
    this.#deliver();
  }
}

const pad = (frame: Uint8Array): Uint8Array => {
  const padded = new Uint8Array(MIN_WIRE_BYTES);
  padded.set(frame);
  return padded;
};

/** The Ethernet check sequence over an address, most significant bit first: its upper six bits choose the multicast filter's. */
const crc32 = (frame: Uint8Array): number => {
  let crc = 0xffff_ffff;
  for (let i = 0; i < MAC_BYTES; i++) {
    for (let bit = 0, octet = frame[i]; bit < 8; bit++, octet >>= 1) {
      const carry = ((crc >>> 31) ^ octet) & 1;
      crc = (crc << 1) ^ (carry ? 0x04c1_1db7 : 0);
    }
  }
  return crc >>> 0;
};
