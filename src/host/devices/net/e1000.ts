import { VmletError } from '../../../errors.js';
import type { GuestLog } from '../../../logger.js';
import type { FramePort } from '../../backends/backend.js';
import type { Clock, Timer } from '../../clock.js';
import type { GuestMemory } from '../../memory.js';
import type { AccessSize } from '../device.js';
import { PciDevice } from '../pci-config.js';
import { E1000Phy } from './e1000-phy.js';
import * as R from './e1000-registers.js';
import { CMD_RS, E1000Transmitter, initialTx, TX_DD, type TxState } from './e1000-transmit.js';
import { Microwire, type MicrowireState } from './microwire.js';
import { E1000Statistics } from './e1000-statistics.js';
import { checkFrame } from './receive-checks.js';
import { FCS_BYTES, FrameFifo, isBroadcast, MAC_BYTES, MIN_FRAME_BYTES, padded } from './wire.js';

const VENDOR_INTEL = 0x8086;
const DEVICE_82540EM = 0x100e;
const IO_BYTES = 64;
const IO_ADDRESS = 0;
const IO_DATA = 4;
const MEMORY_REGION = 0;
const DESCRIPTOR_BYTES = 16;
const STANDARD_BYTES = 1518;
const MAX_FRAME_BYTES = 16_384;
const ITR_UNIT_NS = 256;
/** Behind it there is only the packet buffer's memory, which reads as zeros. */
const REGISTERS_END = 0x6000;
const ADDRESSES = 16;
const ADDRESS_VALID = 0x8000_0000;

// Receive descriptors, 3.2.3.
const RX_DD = 0x01;
const RX_EOP = 0x02;
const RX_IXSM = 0x04;
const RX_VP = 0x08;
const RX_UDPCS = 0x10;
const RX_TCPCS = 0x20;
const RX_IPCS = 0x40;
const RX_PIF = 0x80;
const RX_ERROR_TCPE = 0x20;
const RX_ERROR_IPE = 0x40;

/** EEPROM words (5.6): address, initialisation, identifiers; the 64 add up to BABAh. */
const eepromOf = (mac: Uint8Array): Uint16Array => {
  const words = new Uint16Array(64).fill(0xffff);
  for (let i = 0; i < 3; i++) words[i] = mac[2 * i] | (mac[2 * i + 1] << 8);
  words.set([0, 0xffff, 0, 0, 0, 0x3000, 0x1000, 0x640a, 0x1100, 0x1af4, DEVICE_82540EM, VENDOR_INTEL, 0x3040], 3);
  words[0x10] = 0x0008;
  words[0x11] = 0x2000;
  const sum = words.subarray(0, 63).reduce((total, word) => total + word, 0);
  words[63] = 0xbaba - sum;
  return words;
};

export interface E1000Options {
  name?: string;
  /** Six bytes. */
  mac: Uint8Array;
  port: FramePort;
  clock: Clock;
  memory: GuestMemory;
  log: GuestLog;
  rom?: Uint8Array;
}

interface E1000Registers {
  /** The double words that are not zero: number and value of each. */
  words: Uint32Array;
  icr: number;
  ims: number;
  ioAddress: number;
  /** Time until the next interrupt may come, while one waits; -1 when none does. */
  interruptInNs: number;
}

export interface E1000State extends E1000Registers {
  phy: Uint16Array;
  linkUp: boolean;
  microwire: MicrowireState;
  tx: TxState;
  waiting: Uint8Array[];
}

/** Intel 82540EM gigabit controller, PCI 8086:100E. Region 0 is memory, region 1 the same registers through an address and a data port. */
export class E1000 extends PciDevice<E1000State> {
  readonly #port: FramePort;
  readonly #memory: GuestMemory;
  readonly #clock: Clock;
  readonly #mac: Uint8Array;
  readonly #eeprom: Microwire;
  readonly #phy = new E1000Phy();
  readonly #tx: E1000Transmitter;
  readonly #throttle: Timer;
  readonly #descriptor = new Uint8Array(DESCRIPTOR_BYTES);
  readonly #fields = new DataView(this.#descriptor.buffer);
  readonly #words = new Uint32Array(REGISTERS_END / 4);
  readonly #statistics = new E1000Statistics(this.#words);
  readonly #waiting = new FrameFifo();
  #icr = 0;
  #ims = 0;
  #ioAddress = 0;
  #nextInterruptNs = 0;
  #asserted = false;
  #sending = false;

  constructor(options: E1000Options) {
    const { mac, port, clock, memory, log, rom } = options;
    super(
      options.name ?? 'e1000',
      { vendorId: VENDOR_INTEL, deviceId: DEVICE_82540EM, classCode: 0x020000, revision: 3, subsystemVendorId: 0x1af4, subsystemId: 0x1100, interruptPin: 1, rom },
      [
        { index: 0, space: 'mmio', size: R.REGISTER_BYTES },
        { index: 1, space: 'pio', size: IO_BYTES },
      ],
      log,
    );
    if (mac.length !== MAC_BYTES) throw new VmletError('ERR_VMLET_CONFIG', `the MAC address of '${this.name}' has ${mac.length} bytes, not ${MAC_BYTES}`);
    this.#mac = mac.slice();
    this.#port = port;
    this.#memory = memory;
    this.#clock = clock;
    this.#eeprom = new Microwire(eepromOf(mac));
    this.#throttle = clock.timer(() => this.#updateIrq());
    this.#tx = new E1000Transmitter({
      read: (phys, into) => memory.read(phys, into),
      send: frame => this.#send(frame),
      segmented: () => this.#statistics.count(R.STAT_TSCTC),
      guestError: message => this.#error(message),
    });
    port.onFrame = frame => this.#receive(frame);
    this.#resetRegisters();
  }

  /** Plugs the cable in or pulls it out. */
  setLink(up: boolean): void {
    if (up === this.#phy.link) return;
    this.#phy.link = up;
    this.#raise(R.INT_LSC);
  }

  #error(message: string): void {
    this.log.guestError(this.name, message);
  }

  // Registers

  override read(offset: number, size: AccessSize, region: number): number {
    if (region !== MEMORY_REGION) return this.#readIo(offset, size);
    const value = this.#readRegister(offset & ~3);
    const shifted = value >>> (8 * (offset & 3));
    return size === 4 ? shifted : size === 2 ? shifted & 0xffff : shifted & 0xff;
  }

  override write(offset: number, value: number, size: AccessSize, region: number): void {
    if (region !== MEMORY_REGION) this.#writeIo(offset, value, size);
    else if (size === 4 && (offset & 3) === 0) this.#writeRegister(offset, value);
    else this.#error('register written in parts');
  }

  #readIo(offset: number, size: AccessSize): number {
    const value = offset < IO_DATA ? this.#ioAddress : offset < IO_DATA + 4 ? this.#readRegister(this.#ioAddress & ~3) : 0;
    const shifted = value >>> (8 * (offset & 3));
    return size === 4 ? shifted : size === 2 ? shifted & 0xffff : shifted & 0xff;
  }

  #writeIo(offset: number, value: number, size: AccessSize): void {
    if (size !== 4) this.#error('I/O port written in parts');
    else if (offset === IO_ADDRESS) this.#ioAddress = value & (R.REGISTER_BYTES - 1);
    else if (offset === IO_DATA) this.#writeRegister(this.#ioAddress & ~3, value);
  }

  #get(register: number): number {
    return this.#words[register >> 2];
  }

  #set(register: number, value: number): void {
    this.#words[register >> 2] = value;
  }

  #readRegister(register: number): number {
    switch (register) {
      case R.STATUS: return (R.STATUS_FD | R.STATUS_SPEED_1000 | (this.#linkUp ? R.STATUS_LU : 0)) >>> 0;
      case R.EECD: return (this.#get(R.EECD) | R.EECD_PRES | (this.#get(R.EECD) & R.EECD_REQ ? R.EECD_GNT : 0) | (this.#eeprom.dataOut ? R.EECD_DO : 0)) >>> 0;
      case R.ICR: return this.#takeCauses();
      case R.ICS: return 0;
      case R.IMS: return this.#ims;
      case R.IMC: return 0;
      case R.WUS: return 0;
    }
    if (register >= R.STATISTICS && register < R.STATISTICS_END) return this.#statistics.take(register);
    if (register >= R.PBM) return 0;
    if (!this.#isPlain(register)) this.#error(`register ${register.toString(16)}h`);
    return register < REGISTERS_END ? this.#get(register) : 0;
  }

  /** Registers whose value lies in `#words`. */
  #isPlain(register: number): boolean {
    return R.PLAIN.has(register) || KEPT.has(register) || isTable(register);
  }

  #writeRegister(register: number, value: number): void {
    switch (register) {
      case R.CTRL: return this.#writeControl(value);
      case R.EECD: return this.#writeEecd(value);
      case R.EERD: return this.#writeEerd(value);
      case R.MDIC: return this.#writeMdic(value);
      case R.ITR:
        this.#set(R.ITR, value & 0xffff);
        return;
      case R.ICR:
        this.#icr &= ~value;
        return this.#updateIrq();
      case R.ICS: return this.#raise(value & R.INT_ALL);
      case R.IMS:
        this.#ims |= value & R.INT_ALL;
        return this.#updateIrq();
      case R.IMC:
        this.#ims &= ~value;
        return this.#updateIrq();
      case R.RCTL:
        this.#set(R.RCTL, value & 0x07ff_fffe);
        return this.#deliver();
      case R.TCTL:
        this.#set(R.TCTL, value & 0x07ff_fffa);
        return this.#transmit();
      case R.RDH:
      case R.TDH:
        this.#set(register, value & 0xffff);
        return;
      case R.RDT:
        this.#set(R.RDT, value & 0xffff);
        return this.#deliver();
      case R.TDT:
        this.#set(R.TDT, value & 0xffff);
        return this.#transmit();
      case R.STATUS:
      case R.RXCW:
      case R.WUS:
        return;
    }
    const mask = R.PLAIN.get(register);
    if (mask !== undefined) this.#set(register, (value & mask) >>> 0);
    else if (isTable(register)) this.#set(register, value);
    else if (register < R.PBM && (register < R.STATISTICS || register >= R.STATISTICS_END)) this.#error(`register ${register.toString(16)}h`);
  }

  #writeControl(value: number): void {
    if (value & R.CTRL_RST) {
      this.#resetRegisters();
      return;
    }
    if (value & R.CTRL_PHY_RST) this.#phy.reset();
    this.#set(R.CTRL, (value & ~(R.CTRL_RST | R.CTRL_PHY_RST)) >>> 0);
  }

  get #linkUp(): boolean {
    return this.#phy.link && (this.#get(R.CTRL) & R.CTRL_SLU) !== 0;
  }

  #writeEecd(value: number): void {
    this.#set(R.EECD, value & (R.EECD_SK | R.EECD_CS | R.EECD_DI | R.EECD_FWE | R.EECD_REQ));
    this.#eeprom.drive((value & R.EECD_CS) !== 0, (value & R.EECD_SK) !== 0, (value & R.EECD_DI) !== 0);
  }

  #writeEerd(value: number): void {
    const at = (value >>> 8) & 0xff;
    const word = at < 64 ? this.#eeprom.words[at] : 0;
    this.#set(R.EERD, value & R.EERD_START ? ((word << 16) | (at << 8) | R.EERD_DONE) >>> 0 : (value & 0xff00) >>> 0);
  }

  /** The PHY answers at once, at MDIO address 1. */
  #writeMdic(value: number): void {
    const phy = (value >>> 21) & 31;
    const register = (value >>> 16) & 31;
    const operation = (value >>> 26) & 3;
    let answer = (value & 0x23ff_ffff) | R.MDIC_READY;
    if (phy !== 1) answer |= R.MDIC_ERROR;
    else if (operation === 2) answer = (answer & ~0xffff) | this.#phy.read(register);
    else if (operation === 1) {
      if (this.#phy.write(register, value & 0xffff)) this.#raise(R.INT_LSC);
    } else answer |= R.MDIC_ERROR;
    this.#set(R.MDIC, answer >>> 0);
    if (value & (1 << 29)) this.#raise(R.INT_MDAC);
  }

  // Interrupts (13.4.17 to 13.4.21)

  #takeCauses(): number {
    const value = this.#icr;
    this.#icr = 0;
    this.#updateIrq();
    return value;
  }

  #raise(causes: number): void {
    this.#icr |= causes;
    this.#updateIrq();
  }

  /** The line goes up no earlier than ITR allows after it went up last. */
  #updateIrq(): void {
    const wanted = (this.#icr & this.#ims) !== 0;
    if (wanted === this.#asserted) {
      if (!wanted) this.#throttle.disarm();
      return;
    }
    if (wanted) {
      const { now } = this.#clock;
      if (now < this.#nextInterruptNs) {
        if (!this.#throttle.armed) this.#throttle.arm(this.#nextInterruptNs);
        return;
      }
      this.#nextInterruptNs = now + this.#get(R.ITR) * ITR_UNIT_NS;
    }
    this.#asserted = wanted;
    this.setIntx(wanted);
  }

  // Transmission

  #transmit(): void {
    const words = this.#words;
    if ((this.#get(R.TCTL) & R.TCTL_EN) === 0 || this.#sending || !this.busMaster) return;
    const count = this.#get(R.TDLEN) / DESCRIPTOR_BYTES;
    if (count === 0) return;
    const base = this.#get(R.TDBAH) * 0x1_0000_0000 + this.#get(R.TDBAL);
    const tail = this.#get(R.TDT);
    const start = this.#get(R.TDH);
    let head = start;
    if (head >= count || tail >= count) {
      this.#error('transmit ring index outside the ring');
      return;
    }
    const vlanType = this.#get(R.CTRL) & R.CTRL_VME ? this.#get(R.VET) || 0x8100 : 0;
    let causes = 0;
    // What is sent may come back at once and be answered by the guest only later; but a loop-back must not start a second round.
    this.#sending = true;
    try {
      for (let done = 0; head !== tail && done < count; done++) {
        const at = base + head * DESCRIPTOR_BYTES;
        this.#memory.read(at, this.#descriptor);
        const fields = this.#fields;
        const lower = fields.getUint32(8, true);
        const upper = fields.getUint32(12, true);
        const isContext = ((lower >>> 29) & 1) === 1 && ((lower >>> 20) & 15) === 0;
        if (isContext) this.#tx.setContext(fields.getUint32(0, true), fields.getUint32(4, true), lower, upper);
        const command = this.#tx.take(fields.getUint32(4, true) * 0x1_0000_0000 + fields.getUint32(0, true), lower, upper, vlanType);
        if (command & CMD_RS) {
          this.#memory.writeU8(at + 12, (upper & 0xff) | TX_DD);
          causes |= R.INT_TXDW;
        }
        head = head + 1 === count ? 0 : head + 1;
        words[R.TDH >> 2] = head;
      }
    } finally {
      this.#sending = false;
    }
    if (head !== start && head === tail) causes |= R.INT_TXQE;
    this.#raise(causes);
  }

  #send(frame: Uint8Array): void {
    const wire = this.#get(R.TCTL) & R.TCTL_PSP ? padded(frame) : frame;
    const bytes = wire.length + FCS_BYTES;
    this.#statistics.count(R.STAT_GPTC);
    this.#statistics.count(R.STAT_TPT);
    this.#statistics.countBytes(R.STAT_GOTCL, bytes);
    this.#statistics.countBytes(R.STAT_TOTL, bytes);
    this.#statistics.countSize(R.STAT_PTC64, bytes);
    if (isBroadcast(wire)) this.#statistics.count(R.STAT_BPTC);
    else if (wire[0] & 1) this.#statistics.count(R.STAT_MPTC);
    if ((this.#get(R.RCTL) & R.RCTL_LBM) !== 0 || this.#phy.loopback) this.#accept(wire);
    else if (this.#linkUp) this.#port.send(wire);
  }

  // Reception

  #receive(frame: Uint8Array): void {
    if (!this.#linkUp || this.#phy.loopback || frame.length < MIN_FRAME_BYTES || frame.length > MAX_FRAME_BYTES) return;
    this.#accept(frame);
  }

  #accept(frame: Uint8Array): void {
    const rctl = this.#get(R.RCTL);
    if ((rctl & R.RCTL_EN) === 0) return;
    const wire = padded(frame);
    const bytes = wire.length + FCS_BYTES;
    this.#statistics.count(R.STAT_TPR);
    this.#statistics.countBytes(R.STAT_TORL, bytes);
    if (!this.#wants(wire, rctl)) return;
    const tagged = isTagged(wire, this.#get(R.VET)) ? 4 : 0;
    if (bytes > STANDARD_BYTES + tagged && (rctl & R.RCTL_LPE) === 0) {
      this.#statistics.count(R.STAT_ROC);
      return;
    }
    if (!this.#waiting.push(wire)) {
      this.#statistics.count(R.STAT_MPC);
      this.#raise(R.INT_RXO);
      return;
    }
    this.#statistics.count(R.STAT_GPRC);
    this.#statistics.countBytes(R.STAT_GORCL, bytes);
    this.#statistics.countSize(R.STAT_PRC64, bytes);
    if (isBroadcast(wire)) this.#statistics.count(R.STAT_BPRC);
    else if (wire[0] & 1) this.#statistics.count(R.STAT_MPRC);
    this.#deliver();
    if (this.#waiting.length > 0) this.#statistics.count(R.STAT_RNBC);
  }

  /** Address and VLAN filters (10.3 and 9.3). */
  #wants(frame: Uint8Array, rctl: number): boolean {
    if (rctl & R.RCTL_VFE && isTagged(frame, this.#get(R.VET))) {
      const vid = ((frame[14] << 8) | frame[15]) & 0xfff;
      if (((this.#get(R.VFTA + 4 * (vid >> 5)) >>> (vid & 31)) & 1) === 0) return false;
      if (rctl & R.RCTL_CFIEN && ((frame[14] >> 4) & 1) !== (rctl & R.RCTL_CFI ? 1 : 0)) return false;
    }
    if (frame[0] & 1) {
      if (rctl & R.RCTL_MPE || (rctl & R.RCTL_BAM && isBroadcast(frame))) return true;
    } else if (rctl & R.RCTL_UPE) return true;
    const low = (frame[0] | (frame[1] << 8) | (frame[2] << 16) | (frame[3] << 24)) >>> 0;
    const high = frame[4] | (frame[5] << 8);
    for (let i = 0; i < ADDRESSES; i++) {
      const upper = this.#get(R.RAL + 8 * i + 4);
      if (upper & ADDRESS_VALID && this.#get(R.RAL + 8 * i) === low && (upper & 0xffff) === high) return true;
    }
    if ((frame[0] & 1) === 0) return false;
    const hash = (high >> [4, 3, 2, 0][(rctl >>> 12) & 3]) & 0xfff;
    return ((this.#get(R.MTA + 4 * (hash >> 5)) >>> (hash & 31)) & 1) === 1;
  }

  #deliver(): void {
    if (this.#waiting.length === 0 || !this.busMaster) return;
    const rctl = this.#get(R.RCTL);
    if ((rctl & R.RCTL_EN) === 0) return;
    const count = this.#get(R.RDLEN) / DESCRIPTOR_BYTES;
    if (count === 0) return;
    if (this.#get(R.RDH) >= count || this.#get(R.RDT) >= count) {
      this.#error('receive ring index outside the ring');
      return;
    }
    const done = this.#waiting.drain(frame => this.#fill(frame, rctl, count));
    let causes = done > 0 ? R.INT_RXT0 : 0;
    const free = this.#freeDescriptors(count);
    if (free * (2 << ((rctl >>> 8) & 3)) <= count) causes |= R.INT_RXDMT0;
    if (this.#waiting.length > 0 && done === 0) causes |= R.INT_RXO;
    if (causes !== 0) this.#raise(causes);
  }

  #freeDescriptors(count: number): number {
    const free = this.#get(R.RDT) - this.#get(R.RDH);
    return free < 0 ? free + count : free;
  }

  /** Writes one frame into the ring, over several buffers if need be; false when there are too few. */
  #fill(wire: Uint8Array, rctl: number, count: number): boolean {
    const bufferBytes = (2048 >> ((rctl >>> 16) & 3)) * (rctl & R.RCTL_BSEX ? 16 : 1);
    const strip = (this.#get(R.CTRL) & R.CTRL_VME) !== 0 && isTagged(wire, this.#get(R.VET));
    const frame = strip ? withoutTag(wire) : wire;
    // The check sequence is there by its length; nobody looks at it.
    const bytes = frame.length + (rctl & R.RCTL_SECRC ? 0 : FCS_BYTES);
    if (Math.ceil(bytes / bufferBytes) > this.#freeDescriptors(count)) return false;
    const base = this.#get(R.RDBAH) * 0x1_0000_0000 + this.#get(R.RDBAL);
    const { status, errors } = this.#checks(wire);
    const tag = strip ? (wire[14] << 8) | wire[15] : 0;
    let head = this.#get(R.RDH);
    for (let at = 0; at < bytes; at += bufferBytes) {
      const descriptor = base + head * DESCRIPTOR_BYTES;
      const piece = Math.min(bufferBytes, bytes - at);
      const last = at + piece >= bytes;
      const address = this.#memory.readU32(descriptor) + this.#memory.readU32(descriptor + 4) * 0x1_0000_0000;
      // A null address is a descriptor without a buffer: what belongs there is lost.
      if (address !== 0 && at < frame.length) this.#memory.write(address, at === 0 && last ? frame : frame.subarray(at, at + piece));
      this.#memory.writeU32(descriptor + 8, piece);
      const flags = RX_DD | (last ? RX_EOP | status | (strip ? RX_VP : 0) : 0);
      this.#memory.writeU32(descriptor + 12, (flags | (last ? errors << 8 : 0) | (tag << 16)) >>> 0);
      head = head + 1 === count ? 0 : head + 1;
    }
    this.#set(R.RDH, head);
    return true;
  }

  #checks(frame: Uint8Array): { status: number; errors: number } {
    const rxcsum = this.#get(R.RXCSUM);
    const inexact = (frame[0] & 1) !== 0 && !isBroadcast(frame) ? RX_PIF : 0;
    if ((rxcsum & (R.RXCSUM_IPOFL | R.RXCSUM_TUOFL)) === 0) return { status: RX_IXSM | inexact, errors: 0 };
    const { ip, transport, udp } = checkFrame(frame);
    let status = inexact;
    let errors = 0;
    if (rxcsum & R.RXCSUM_IPOFL && ip !== undefined) {
      status |= RX_IPCS;
      if (!ip) errors |= RX_ERROR_IPE;
    }
    if (rxcsum & R.RXCSUM_TUOFL && transport !== undefined) {
      status |= RX_TCPCS | (udp ? RX_UDPCS : 0);
      if (!transport) errors |= RX_ERROR_TCPE;
    }
    return { status: status & (RX_IPCS | RX_TCPCS) ? status : status | RX_IXSM, errors };
  }

  // State

  #resetRegisters(): void {
    this.#words.fill(0);
    this.#set(R.CTRL, R.CTRL_SLU | 1);
    this.#set(R.PBA, 0x0010_0030);
    this.#set(R.LEDCTL, 0x0706_0602);
    this.#set(R.MANC, 1 << 13);
    this.#set(R.RXCSUM, 0);
    this.#set(R.TXDCTL, 0);
    this.#set(R.VET, 0x8100);
    this.#set(R.RAL, (this.#mac[0] | (this.#mac[1] << 8) | (this.#mac[2] << 16) | (this.#mac[3] << 24)) >>> 0);
    this.#set(R.RAL + 4, (this.#mac[4] | (this.#mac[5] << 8) | ADDRESS_VALID) >>> 0);
    this.#icr = this.#ims = this.#ioAddress = 0;
    this.#nextInterruptNs = 0;
    this.#throttle.disarm();
    this.#waiting.clear();
    this.#eeprom.reset();
    this.#tx.reset();
    this.#updateIrq();
  }

  protected override resetDevice(): void {
    this.#phy.reset();
    this.#asserted = false;
    this.#resetRegisters();
  }

  protected override saveDevice(): E1000State {
    const { data, ...tx } = this.#tx.state;
    const inNs = this.#nextInterruptNs - this.#clock.now;
    return {
      words: Uint32Array.from([...this.#words].flatMap((word, at) => (word === 0 ? [] : [at, word]))),
      icr: this.#icr,
      ims: this.#ims,
      ioAddress: this.#ioAddress,
      interruptInNs: Math.max(0, inNs),
      phy: this.#phy.registers.slice(),
      linkUp: this.#phy.link,
      microwire: { ...this.#eeprom.state },
      tx: structuredClone({ ...tx, data: data.subarray(0, tx.bytes).slice() }),
      waiting: this.#waiting.save(),
    };
  }

  protected override restoreDevice(state: E1000State): void {
    const sound = state?.words instanceof Uint32Array && state.words.length % 2 === 0 && state.phy?.length === 32 && Array.isArray(state.waiting) && state.tx?.data instanceof Uint8Array;
    if (!sound) throw new VmletError('ERR_VMLET_STATE', `the saved state of '${this.name}' is damaged`);
    this.#words.fill(0);
    for (let i = 0; i < state.words.length; i += 2) if (state.words[i] < this.#words.length) this.#words[state.words[i]] = state.words[i + 1];
    this.#icr = state.icr & R.INT_ALL;
    this.#ims = state.ims & R.INT_ALL;
    this.#ioAddress = state.ioAddress & (R.REGISTER_BYTES - 1);
    this.#nextInterruptNs = this.#clock.now + state.interruptInNs;
    this.#phy.registers = state.phy.slice();
    this.#phy.link = state.linkUp;
    this.#eeprom.state = { ...state.microwire };
    const tx = { ...initialTx(), ...structuredClone(state.tx) };
    const data = new Uint8Array(this.#tx.state.data.length);
    data.set(tx.data.subarray(0, data.length));
    this.#tx.state = { ...tx, data, bytes: Math.min(tx.bytes, data.length) };
    this.#waiting.restore(state.waiting);
    this.#asserted = false;
    this.#throttle.disarm();
    this.#updateIrq();
  }

  protected override commandWritten(): void {
    this.#transmit();
    this.#deliver();
  }
}

/** Registers that the device keeps in its words beside the plain ones. */
const KEPT: ReadonlySet<number> = new Set([R.CTRL, R.EERD, R.MDIC, R.ITR, R.RCTL, R.RXCW, R.TCTL, R.RDH, R.RDT, R.TDH, R.TDT]);

const isTable = (register: number): boolean =>
  (register >= R.MTA && register < R.RA_END) || (register >= R.VFTA && register < R.VFTA_END) || (register >= R.WUPL && register < R.WUPM + 0x80) || (register >= R.FFLT && register < R.FFLT + 0x20);

const isTagged = (frame: Uint8Array, type: number): boolean => type !== 0 && frame.length >= 18 && ((frame[12] << 8) | frame[13]) === type;

const withoutTag = (frame: Uint8Array): Uint8Array => {
  const bare = new Uint8Array(frame.length - 4);
  bare.set(frame.subarray(0, 12));
  bare.set(frame.subarray(16), 12);
  return padded(bare);
};
