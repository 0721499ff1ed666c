import { VmletError } from '../../../errors.js';
import type { GuestLog } from '../../../logger.js';
import type { FramePort } from '../../backends/backend.js';
import type { Clock, Timer } from '../../clock.js';
import type { GuestMemory } from '../../memory.js';
import type { AccessSize } from '../device.js';
import { PciDevice } from '../pci-config.js';
import { Microwire, type MicrowireState } from './microwire.js';
import * as R from './rtl8139-registers.js';
import { FCS_BYTES, FrameFifo, isBroadcast, MAC_BYTES, MIN_FRAME_BYTES, padded } from './wire.js';

const TX_SLOTS = 4;
const MAX_TX_BYTES = 1792;
const MAX_RX_BYTES = 4096;
/** The timer counts PCI clocks of 30 ns. */
const TICK_NS = 30;
const TICKS = 0x1_0000_0000;

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
  readonly #registers = new Uint8Array(R.BYTES);
  readonly #view = new DataView(this.#registers.buffer);
  readonly #waiting = new FrameFifo();
  #linkUp = true;
  #timerStartNs = 0;

  constructor(options: Rtl8139Options) {
    const { mac, port, clock, memory, log, rom } = options;
    super(
      options.name ?? 'rtl8139',
      { vendorId: 0x10ec, deviceId: 0x8139, classCode: 0x020000, revision: 0x10, subsystemVendorId: 0x1af4, subsystemId: 0x1100, interruptPin: 1, rom },
      [
        { index: 0, space: 'pio', size: R.BYTES },
        { index: 1, space: 'mmio', size: R.BYTES },
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
    this.#registers[R.CSCR + 1] |= R.CSCR_LINK_CHANGED;
    this.#raise(R.INT_LINK);
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
    if (at >= R.TCTR && at < R.TCTR + 4) return (this.#ticks >>> (8 * (at - R.TCTR))) & 0xff;
    switch (at) {
      case R.CR: return (this.#registers[R.CR] & ~R.CR_BUFE) | (this.#get16(R.CBR) === this.#readPoint ? R.CR_BUFE : 0);
      case R.CR9346: return (this.#registers[R.CR9346] & ~R.CR9346_EEDO) | (this.#mode === R.MODE_PROGRAM && this.#eeprom.dataOut ? R.CR9346_EEDO : 0);
      case R.MSR: return (this.#registers[R.MSR] & ~R.MSR_LINKB) | (this.#linkUp ? 0 : R.MSR_LINKB);
      case R.BMSR: return this.#registers[R.BMSR] | (this.#linkUp ? R.BMSR_LINK : 0);
      case R.CSCR + 1: {
        const value = this.#registers[at];
        this.#registers[at] &= ~R.CSCR_LINK_CHANGED;
        return value;
      }
      case R.TSAD:
      case R.TSAD + 1: return (this.#transmitSummary >>> (8 * (at - R.TSAD))) & 0xff;
      case R.ANLPAR:
      case R.ANLPAR + 1: return this.#linkUp ? this.#registers[at] : 0;
    }
    return this.#registers[at];
  }

  override write(offset: number, value: number, size: AccessSize): void {
    if (offset + size > R.BYTES) return;
    if (size === 4 && (offset & 3) === 0 && this.#write32(offset, value)) return;
    if (size >= 2 && (offset & 1) === 0) {
      for (let i = 0; i < size; i += 2) this.#write16(offset + i, (value >>> (8 * i)) & 0xffff);
      return;
    }
    for (let i = 0; i < size; i++) this.#write8(offset + i, (value >>> (8 * i)) & 0xff);
  }

  /** Registers that act as double words; false for all others. */
  #write32(register: number, value: number): boolean {
    if (register >= R.TSD0 && register < R.TSD0 + 4 * TX_SLOTS) {
      this.#transmit((register - R.TSD0) >> 2, value);
      return true;
    }
    switch (register) {
      case R.TCR:
        this.#set32(R.TCR, ((value & 0x0307_07f1) | R.TCR_VERSION) >>> 0);
        return true;
      case R.RCR:
        this.#set32(R.RCR, value & 0x0f03_ffbf);
        this.#deliver();
        return true;
      case R.TCTR:
        this.#timerStartNs = this.#clock.now;
        this.#armTimer();
        return true;
      case R.TIMER_INT:
        this.#set32(R.TIMER_INT, value);
        this.#armTimer();
        return true;
      case R.MPC:
        this.#set32(R.MPC, 0);
        return true;
    }
    return false;
  }

  #write16(register: number, value: number): void {
    switch (register) {
      case R.CAPR:
        this.#set16(R.CAPR, value);
        this.#deliver();
        return;
      case R.IMR:
        this.#set16(R.IMR, value & R.INT_ALL);
        // For the same reason: frames that a driver leaves in its ring when it goes back to interrupts.
        if (value & R.INT_ROK && (this.#registers[R.CR] & R.CR_RE) !== 0 && this.#get16(R.CBR) !== this.#readPoint) this.#set16(R.ISR, this.#get16(R.ISR) | R.INT_ROK);
        return this.#updateIrq();
      case R.ISR:
        this.#set16(R.ISR, this.#get16(R.ISR) & ~value);
        return this.#updateIrq();
      case R.BMCR:
        if (this.#mode !== R.MODE_CONFIG && (value & (R.BMCR_RESET | R.BMCR_RESTART)) === 0) {
          // Without the key only what does not change the mode gets through; drivers that set a fixed speed unlock first.
          this.#set16(R.BMCR, value & 0x3100);
          return;
        }
        this.#set16(R.BMCR, value & R.BMCR_RESET ? 0x1000 : value & 0x3100);
        return;
      case R.ANAR:
        this.#set16(R.ANAR, (value & 0x2de0) | 1);
        return;
      case R.MULINT:
        this.#set16(R.MULINT, value & 0x0fff);
        return;
    }
    this.#write8(register, value & 0xff);
    this.#write8(register + 1, value >>> 8);
  }

  #write8(register: number, value: number): void {
    if (register < 6) {
      if (this.#mode === R.MODE_CONFIG) this.#registers[register] = value;
      return;
    }
    const plain = (register >= R.MAR0 && register < R.MAR0 + 8) || (register >= R.TSAD0 && register < R.ERBCR) || (register >= R.NWAYTR && register < R.CRC0 + 0x54) || register === R.CONFIG5;
    if (plain) {
      this.#registers[register] = value;
      return;
    }
    switch (register) {
      case R.CR: return this.#writeCommand(value);
      case R.CR9346:
        this.#registers[R.CR9346] = value & 0xce;
        if (this.#mode === R.MODE_PROGRAM) this.#eeprom.drive((value & R.CR9346_EECS) !== 0, (value & R.CR9346_EESK) !== 0, (value & R.CR9346_EEDI) !== 0);
        return;
      case R.CONFIG0:
      case R.CONFIG1:
      case R.CONFIG3:
      case R.CONFIG4:
        if (this.#mode === R.MODE_CONFIG) this.#registers[register] = value;
        return;
      case R.MSR:
        this.#registers[R.MSR] = (this.#registers[R.MSR] & 0x3f) | (value & 0xc0);
        return;
      case R.CAPR:
      case R.CAPR + 1:
      case R.IMR:
      case R.IMR + 1:
        this.#registers[register] = value;
        return this.#updateIrq();
      case R.ISR:
      case R.ISR + 1:
        this.#registers[register] &= ~value;
        return this.#updateIrq();
      case R.TCR:
      case R.TCR + 1:
      case R.TCR + 2:
      case R.RCR:
      case R.RCR + 1:
      case R.RCR + 2: {
        this.#registers[register] = value;
        return;
      }
      case R.TCR + 3:
      case R.RCR + 3:
      case R.ERSR:
      case R.BMSR:
      case R.BMSR + 1:
        return;
    }
    if (register >= R.TSD0 && register < R.TSD0 + 4 * TX_SLOTS) {
      // A slot starts when its lower half has been written.
      this.#registers[register] = value;
      if ((register & 3) === 1) this.#transmit((register - R.TSD0) >> 2, this.#get32(register & ~3));
    }
  }

  get #mode(): number {
    return this.#registers[R.CR9346] & R.CR9346_MODE;
  }

  #writeCommand(value: number): void {
    if (value & R.CR_RST) {
      this.#softReset();
      return;
    }
    const before = this.#registers[R.CR];
    this.#registers[R.CR] = value & (R.CR_TE | R.CR_RE);
    if (value & ~before & R.CR_RE) {
      this.#set16(R.CBR, 0);
      // The read point runs 16 bytes ahead of its register.
      this.#set16(R.CAPR, 0xfff0);
      this.#waiting.clear();
    }
  }

  // Interrupts

  #raise(causes: number): void {
    this.#set16(R.ISR, this.#get16(R.ISR) | causes);
    this.#updateIrq();
  }

  #updateIrq(): void {
    this.setIntx((this.#get16(R.ISR) & this.#get16(R.IMR)) !== 0);
  }

  // Timer (R.TCTR, TimerInt)

  get #ticks(): number {
    return Math.floor((this.#clock.now - this.#timerStartNs) / TICK_NS) % TICKS;
  }

  #armTimer(): void {
    const at = this.#get32(R.TIMER_INT);
    if (at === 0) {
      this.#timeout.disarm();
      return;
    }
    const left = (at - this.#ticks + TICKS) % TICKS;
    this.#timeout.arm(this.#clock.now + (left === 0 ? TICKS : left) * TICK_NS);
  }

  #timedOut(): void {
    this.#raise(R.INT_TIMEOUT);
    this.#armTimer();
  }

  // Transmission

  /** The own, TOK, TUN and TABT bits of all slots. */
  get #transmitSummary(): number {
    let summary = 0;
    for (let slot = 0; slot < TX_SLOTS; slot++) {
      const status = this.#get32(R.TSD0 + 4 * slot);
      if (status & R.TSD_OWN) summary |= 0x0100 << slot;
      if (status & R.TSD_TOK) summary |= 0x1000 << slot;
      if (status & R.TSD_TUN) summary |= 0x0010 << slot;
      if (status & R.TSD_TABT) summary |= 0x0001 << slot;
    }
    return summary;
  }

  #transmit(slot: number, value: number): void {
    const bytes = value & R.TSD_SIZE;
    const kept = value & 0x003f_1fff;
    if (value & R.TSD_OWN) {
      this.#set32(R.TSD0 + 4 * slot, ((this.#get32(R.TSD0 + 4 * slot) & ~0x003f_1fff) | kept | R.TSD_OWN) >>> 0);
      return;
    }
    if ((this.#registers[R.CR] & R.CR_TE) === 0 || !this.busMaster) {
      this.#set32(R.TSD0 + 4 * slot, kept);
      return;
    }
    const frame = new Uint8Array(bytes);
    const sound = bytes >= MIN_FRAME_BYTES && bytes <= MAX_TX_BYTES && this.#memory.read(this.#get32(R.TSAD0 + 4 * slot), frame);
    if (!sound) {
      this.#error(`frame of ${bytes} bytes, or outside RAM`);
      this.#set32(R.TSD0 + 4 * slot, (kept | R.TSD_OWN | R.TSD_TABT) >>> 0);
      this.#raise(R.INT_TER);
      return;
    }
    const loopback = (this.#get32(R.TCR) & R.TCR_LOOPBACK) === R.TCR_LOOPBACK;
    this.#set32(R.TSD0 + 4 * slot, (kept | R.TSD_OWN | R.TSD_TOK | (this.#linkUp || loopback ? 0 : R.TSD_CRS)) >>> 0);
    const wire = padded(frame);
    if (loopback) this.#accept(wire);
    else if (this.#linkUp) this.#port.send(wire);
    this.#raise(R.INT_TOK);
  }

  // Reception

  get #ringBytes(): number {
    return 8192 << ((this.#get32(R.RCR) >>> 11) & 3);
  }

  get #readPoint(): number {
    return (this.#get16(R.CAPR) + 16) % this.#ringBytes;
  }

  #receive(frame: Uint8Array): void {
    if (this.#linkUp && (this.#get32(R.TCR) & R.TCR_LOOPBACK) !== R.TCR_LOOPBACK && frame.length >= MIN_FRAME_BYTES && frame.length <= MAX_RX_BYTES) this.#accept(frame);
  }

  #accept(frame: Uint8Array): void {
    if ((this.#registers[R.CR] & R.CR_RE) === 0) return;
    const kind = this.#filter(frame);
    if (kind === 0) return;
    if (this.#waiting.push(padded(frame))) this.#deliver();
    else this.#missed();
  }

  #missed(): void {
    this.#set32(R.MPC, Math.min(this.#get32(R.MPC) + 1, 0xff_ffff));
    this.#raise(R.INT_RXOVW);
  }

  /** Which receive status bit a frame gets; 0 when it is not for this card. */
  #filter(frame: Uint8Array): number {
    const rcr = this.#get32(R.RCR);
    if (isBroadcast(frame)) return rcr & (R.RCR_AB | R.RCR_AAP) ? R.RX_BAR : 0;
    if (frame[0] & 1) {
      if (rcr & R.RCR_AAP) return R.RX_MAR;
      if ((rcr & R.RCR_AM) === 0) return 0;
      const hash = crc32(frame) >>> 26;
      return (this.#registers[R.MAR0 + (hash >> 3)] >> (hash & 7)) & 1 ? R.RX_MAR : 0;
    }
    const own = this.#registers.subarray(R.IDR0, R.IDR0 + MAC_BYTES).every((octet, i) => octet === frame[i]);
    if (own && rcr & (R.RCR_APM | R.RCR_AAP)) return R.RX_PAM;
    return rcr & R.RCR_AAP ? R.RX_ROK : 0;
  }

  /** Puts waiting frames into the driver's ring (datasheet 5.7 and 7): header, frame, check sequence, up to a double word. */
  #deliver(): void {
    if ((this.#registers[R.CR] & R.CR_RE) === 0 || !this.busMaster) return;
    if (this.#waiting.drain(frame => this.#fill(frame)) > 0) this.#raise(R.INT_ROK);
  }

  /** Writes one frame into the ring; false when there is no room. */
  #fill(frame: Uint8Array): boolean {
    const bytes = frame.length + FCS_BYTES;
    const needed = (R.RX_HEADER_BYTES + bytes + 3) & ~3;
    const ring = this.#ringBytes;
    const at = this.#get16(R.CBR) % ring;
    const used = (at - this.#readPoint + ring) % ring;
    if (used + needed >= ring) {
      // The driver may have acknowledged what it had not looked at yet; on a real wire the next frame would remind it.
      this.#raise(R.INT_ROK);
      return false;
    }
    const piece = new Uint8Array(needed);
    const status = R.RX_ROK | this.#filter(frame);
    piece.set([status, status >>> 8, bytes, bytes >>> 8]);
    piece.set(frame, R.RX_HEADER_BYTES);
    this.#writeRing(at, piece, ring);
    this.#set16(R.CBR, (at + needed) % ring);
    return true;
  }

  #writeRing(at: number, piece: Uint8Array, ring: number): void {
    const base = this.#get32(R.RBSTART);
    const first = (this.#get32(R.RCR) & R.RCR_WRAP) !== 0 && ring < 0x1_0000 ? piece.length : Math.min(piece.length, ring - at);
    this.#memory.write(base + at, piece.subarray(0, first));
    if (first < piece.length) this.#memory.write(base, piece.subarray(first));
  }

  // State

  /** What R.CR.RST does: the rings and masks go, the station address and the configuration stay. */
  #softReset(): void {
    const r = this.#registers;
    r.fill(0, R.TSD0, R.RBSTART);
    r.fill(0, R.ERBCR, R.CR9346);
    this.#set32(R.TCR, R.TCR_VERSION);
    this.#set16(R.CAPR, 0xfff0);
    this.#set32(R.TIMER_INT, 0);
    this.#timeout.disarm();
    for (let slot = 0; slot < TX_SLOTS; slot++) this.#set32(R.TSD0 + 4 * slot, R.TSD_OWN);
    this.#waiting.clear();
    this.#updateIrq();
  }

  #resetChip(): void {
    const r = this.#registers;
    r.fill(0);
    r.set(this.#mac, R.IDR0);
    r[R.CONFIG1] = 0x0c;
    r[R.MSR] = 0x10;
    r[R.RERID] = 0x10;
    this.#set16(R.BMCR, 0x1000);
    this.#set16(R.BMSR, 0x7809);
    this.#set16(R.ANAR, 0x05e1);
    this.#set16(R.ANLPAR, 0x45e1);
    this.#set16(R.ANER, 0x0001);
    this.#set16(R.NWAYTR, 0x0080);
    this.#set16(R.CSCR, 0x03c8);
    this.#set32(R.PHY1_PARM, 0x60f6_0c59);
    this.#set32(R.TW_PARM, 0x7b73_2660);
    r[R.PHY2_PARM] = 0xc9;
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
      waiting: this.#waiting.save(),
    };
  }

  protected override restoreDevice(state: Rtl8139State): void {
    if (!(state?.registers instanceof Uint8Array) || state.registers.length !== R.BYTES || !Array.isArray(state.waiting)) {
      throw new VmletError('ERR_VMLET_STATE', `the saved state of '${this.name}' is damaged`);
    }
    this.#registers.set(state.registers);
    this.#linkUp = state.linkUp;
    this.#timerStartNs = this.#clock.now - state.timerTicks * TICK_NS;
    this.#eeprom.state = { ...state.microwire };
    this.#waiting.restore(state.waiting);
    this.#armTimer();
    this.#updateIrq();
  }

  protected override commandWritten(): void {
    this.#deliver();
  }
}

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
