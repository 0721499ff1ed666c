import { VmletError } from '../../errors.js';
import type { GuestLog } from '../../logger.js';
import type { IrqLine, MsiSink } from '../irq.js';
import type { AccessSize, Device, Region } from './device.js';
import { Msi, MSI_64BIT, MSI_CAPABILITY_BYTES, MSI_ENABLE, MSI_MASKING } from './msi.js';
import { Msix, MSIX_ENABLE, MSIX_FUNCTION_MASK, type MsixState } from './msix.js';
import { fitOptionRom, OptionRom, PCI_ROM, ROM_ENABLE } from './pci-rom.js';

// PCI Local Bus Specification 3.0, chapter 6: the type 0 configuration header.
export const PCI_COMMAND = 0x04;
export const PCI_STATUS = 0x06;
export const PCI_BAR0 = 0x10;
export const PCI_CAPABILITIES = 0x34;
export const PCI_INTERRUPT_LINE = 0x3c;
export const PCI_INTERRUPT_PIN = 0x3d;

export const COMMAND_IO = 0x0001;
export const COMMAND_MEMORY = 0x0002;
export const COMMAND_MASTER = 0x0004;
const COMMAND_PARITY = 0x0040;
const COMMAND_SERR = 0x0100;
export const COMMAND_INTX_DISABLE = 0x0400;

export const STATUS_INTX = 0x0008;
const STATUS_CAPABILITIES = 0x0010;
const STATUS_ERRORS = 0xf900;

const CAPABILITY_MSI = 0x05;
const CAPABILITY_MSIX = 0x11;

const CONFIG_BYTES = 256;
const FIRST_CAPABILITY = 0x40;

/** The part of the system bus that base address registers need. `attach` throws when the range overlaps another device's. */
export interface BusAttach {
  attach(device: Device, region: number, base: number): void;
  detach(device: Device, region: number): void;
}

/** What the host bridge gives a device when it is plugged into a slot. */
export interface PciSlot {
  /** Maps a region; false when the range is taken. */
  map(device: Device, region: number, base: number): boolean;
  unmap(device: Device, region: number): void;
  /** Ranges came free: devices whose bars collided with them can be tried again. */
  freed(): void;
  readonly irq: IrqLine;
  readonly msi: MsiSink;
}

export interface PciIdentity {
  vendorId: number;
  deviceId: number;
  /** 24 bits: base class, subclass, programming interface. */
  classCode: number;
  revision?: number;
  subsystemVendorId?: number;
  subsystemId?: number;
  /** 1 to 4 for INTA# to INTD#, 0 or absent for none. */
  interruptPin?: number;
  /** An option ROM for the expansion ROM register. */
  rom?: Uint8Array;
}

/** A base address register. `size` is in bytes, a power of two: 16 or more for memory, 4 to 256 for ports. */
export interface BarSpec {
  index: number;
  space: Region['space'];
  size: number;
  prefetchable?: boolean;
}

export interface PciState<S extends object = object> {
  config: Uint8Array;
  msix: MsixState | undefined;
  msiPending: number;
  device: S;
}

/**
 * A PCI function with a type 0 header. Region n of the device is the n-th entry of `bars`, and follows its base address register
 * and the command register. Memory bars lie below 4 GB.
 */
export abstract class PciDevice<S extends object = object> implements Device<PciState<S>> {
  readonly regions: readonly Region[];
  readonly bars: readonly BarSpec[];
  protected readonly config = new Uint8Array(CONFIG_BYTES);
  protected readonly log: GuestLog;
  readonly #writable = new Uint8Array(CONFIG_BYTES);
  readonly #clearable = new Uint8Array(CONFIG_BYTES);
  readonly #initial = new Uint8Array(CONFIG_BYTES);
  readonly #mappedBase: number[];
  #nextCapability = FIRST_CAPABILITY;
  #lastLink = PCI_CAPABILITIES;
  #slot: PciSlot | undefined;
  #intx = false;
  #msix: Msix | undefined;
  #msixOffset = 0;
  #msi: Msi | undefined;
  /** The option ROM, if the function has one. */
  readonly rom: OptionRom | undefined;
  #romBase = -1;

  constructor(
    readonly name: string,
    identity: PciIdentity,
    bars: readonly BarSpec[],
    log: GuestLog,
  ) {
    this.bars = bars;
    this.log = log;
    this.regions = bars.map(({ space, size }) => ({ space, size }));
    this.#mappedBase = bars.map(() => -1);
    this.define16(0x00, identity.vendorId);
    this.define16(0x02, identity.deviceId);
    this.define16(PCI_COMMAND, 0, COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_PARITY | COMMAND_SERR | COMMAND_INTX_DISABLE);
    this.define16(PCI_STATUS, 0);
    this.#clearable[PCI_STATUS + 1] = STATUS_ERRORS >> 8;
    this.define8(0x08, identity.revision ?? 0);
    this.define8(0x09, identity.classCode);
    this.define16(0x0a, identity.classCode >>> 8);
    this.define8(0x0c, 0, 0xff);
    this.define8(0x0d, 0, 0xff);
    this.define16(0x2c, identity.subsystemVendorId ?? 0);
    this.define16(0x2e, identity.subsystemId ?? 0);
    const pin = identity.interruptPin ?? 0;
    this.define8(PCI_INTERRUPT_LINE, 0, pin === 0 ? 0 : 0xff);
    this.define8(PCI_INTERRUPT_PIN, pin);
    for (const bar of bars) {
      const flags = bar.space === 'pio' ? 1 : bar.prefetchable ? 8 : 0;
      this.define32(PCI_BAR0 + 4 * bar.index, flags, -bar.size >>> 0);
    }
    if (identity.rom !== undefined) {
      this.rom = new OptionRom(`${name}-rom`, fitOptionRom(identity.rom, identity, name));
      this.define32(PCI_ROM, 0, (-this.rom.size | ROM_ENABLE) >>> 0);
    }
  }

  abstract read(offset: number, size: AccessSize, region: number): number;
  abstract write(offset: number, value: number, size: AccessSize, region: number): void;
  /** Power-on state of everything but the configuration space. */
  protected abstract resetDevice(): void;
  protected abstract saveDevice(): S;
  /** Called with the configuration space restored. Throws when the state is not this device's. */
  protected abstract restoreDevice(state: S): void;
  /** The command register was written, with whatever effect. */
  protected commandWritten(): void {}

  /** Sets a configuration byte's power-on value and which of its bits the guest can write. For constructors. */
  protected define8(offset: number, value: number, writable = 0): void {
    this.config[offset] = this.#initial[offset] = value;
    this.#writable[offset] = writable;
  }

  protected define16(offset: number, value: number, writable = 0): void {
    this.define8(offset, value, writable);
    this.define8(offset + 1, value >>> 8, writable >>> 8);
  }

  protected define32(offset: number, value: number, writable = 0): void {
    this.define16(offset, value, writable);
    this.define16(offset + 2, value >>> 16, writable >>> 16);
  }

  /** Appends a capability of `length` bytes (its two header bytes included) and returns its offset. */
  protected addCapability(id: number, length: number): number {
    const offset = this.#nextCapability;
    if (offset + length > CONFIG_BYTES) throw new Error(`${this.name}: no room for PCI capability ${id}`);
    this.#nextCapability = (offset + length + 3) & ~3;
    this.define8(this.#lastLink, offset);
    this.define16(PCI_STATUS, STATUS_CAPABILITIES);
    this.define8(offset, id);
    this.define8(offset + 1, 0);
    this.#lastLink = offset + 1;
    return offset;
  }

  /** Adds an MSI-X capability whose table and pending bits the device answers for at these offsets of a memory bar. */
  protected addMsix(vectors: number, barIndex: number, tableOffset: number, pendingOffset: number): Msix {
    const offset = this.addCapability(CAPABILITY_MSIX, 12);
    this.define16(offset + 2, vectors - 1, MSIX_ENABLE | MSIX_FUNCTION_MASK);
    this.define32(offset + 4, tableOffset | barIndex);
    this.define32(offset + 8, pendingOffset | barIndex);
    this.#msixOffset = offset;
    return (this.#msix = new Msix(vectors, (lo, hi, data) => this.#sendMessage(lo, hi, data)));
  }

  /** Adds an MSI capability; `vectors` is a power of two up to 32. */
  protected addMsi(vectors: number): Msi {
    const offset = this.addCapability(CAPABILITY_MSI, MSI_CAPABILITY_BYTES);
    const capable = Math.log2(vectors);
    this.define16(offset + 2, MSI_64BIT | MSI_MASKING | (capable << 1), MSI_ENABLE | 0x70);
    this.define32(offset + 4, 0, 0xffff_fffc);
    this.define32(offset + 8, 0, 0xffff_ffff);
    this.define16(offset + 12, 0, 0xffff);
    this.define32(offset + 16, 0, vectors === 32 ? 0xffff_ffff : (1 << vectors) - 1);
    const registers = () => ({
      control: this.config16(offset + 2),
      addressLo: this.config32(offset + 4),
      addressHi: this.config32(offset + 8),
      data: this.config16(offset + 12),
      mask: this.config32(offset + 16),
    });
    this.#msi = new Msi(vectors, registers, (lo, hi, data) => this.#sendMessage(lo, hi, data));
    const showPending = (bits: number) => this.define32Live(offset + 20, bits);
    this.#msi.onPending = showPending;
    return this.#msi;
  }

  /** Sets a read-only register that follows the device's state. */
  protected define32Live(offset: number, value: number): void {
    for (let i = 0; i < 4; i++) this.config[offset + i] = value >>> (8 * i);
  }

  protected config16(offset: number): number {
    return this.config[offset] | (this.config[offset + 1] << 8);
  }

  protected config32(offset: number): number {
    return (this.config16(offset) | (this.config16(offset + 2) << 16)) >>> 0;
  }

  get command(): number {
    return this.config16(PCI_COMMAND);
  }

  /** Whether the guest lets this device reach memory, for DMA and for message-signalled interrupts. */
  get busMaster(): boolean {
    return (this.command & COMMAND_MASTER) !== 0;
  }

  get interruptPin(): number {
    return this.config[PCI_INTERRUPT_PIN];
  }

  plug(slot: PciSlot): void {
    this.#slot = slot;
    this.updateMapping();
    this.#updateIrq();
  }

  /** Sets the INTx# level; it reaches the slot's line unless the guest disabled INTx or chose messages. */
  protected setIntx(level: boolean): void {
    this.#intx = level;
    this.#updateIrq();
  }

  #sendMessage(addressLo: number, addressHi: number, data: number): void {
    if (this.busMaster) this.#slot?.msi.send(addressLo, addressHi, data);
  }

  #updateIrq(): void {
    if (this.#intx) this.config[PCI_STATUS] |= STATUS_INTX;
    else this.config[PCI_STATUS] &= ~STATUS_INTX;
    const messages = this.#msix?.enabled === true || this.#msi?.enabled === true;
    this.#slot?.irq.set(this.#intx && !messages && (this.command & COMMAND_INTX_DISABLE) === 0);
  }

  /** Reads 1, 2 or 4 bytes of the configuration space; the access stays inside an aligned double word. */
  readConfig(offset: number, size: AccessSize): number {
    if (size === 1) return this.config[offset];
    if (size === 2) return this.config16(offset);
    return this.config32(offset);
  }

  writeConfig(offset: number, value: number, size: AccessSize): void {
    for (let i = 0; i < size; i++) {
      const at = offset + i;
      const byte = (value >>> (8 * i)) & 0xff;
      const writable = this.#writable[at];
      this.config[at] = ((this.config[at] & ~writable) | (byte & writable)) & ~(byte & this.#clearable[at]);
    }
    if (offset < PCI_STATUS && offset + size > PCI_COMMAND) {
      this.updateMapping();
      this.#updateIrq();
      this.commandWritten();
    } else if ((offset >= PCI_BAR0 && offset < PCI_BAR0 + 24) || (offset & ~3) === PCI_ROM) {
      this.updateMapping();
    } else if (offset >= FIRST_CAPABILITY) {
      this.#capabilitiesWritten();
    }
  }

  #capabilitiesWritten(): void {
    this.#msix?.setControl(this.config16(this.#msixOffset + 2));
    this.#msi?.flush();
    this.#updateIrq();
  }

  /** Programs a base address register, as firmware does. */
  setBar(bar: BarSpec, base: number): void {
    this.writeConfig(PCI_BAR0 + 4 * bar.index, base, 4);
  }

  /** The address at which a bar answers now, or -1. */
  #barBase(bar: BarSpec): number {
    const value = this.config32(PCI_BAR0 + 4 * bar.index);
    const ports = bar.space === 'pio';
    if ((this.command & (ports ? COMMAND_IO : COMMAND_MEMORY)) === 0) return -1;
    const base = (value & (ports ? ~3 : ~15)) >>> 0;
    // An all-ones base is the sizing probe of a driver that leaves decoding on.
    return base === 0 || base + bar.size >= (ports ? 0x1_0000 : 0x1_0000_0000) ? -1 : base;
  }

  /** Moves regions to where the configuration space wants them. A range that was taken is tried again at every call. */
  updateMapping(): void {
    const slot = this.#slot;
    if (slot === undefined) return;
    const wanted = this.bars.map(bar => this.#barBase(bar));
    let freed = false;
    wanted.forEach((base, region) => {
      if (this.#mappedBase[region] < 0 || this.#mappedBase[region] === base) return;
      this.#mappedBase[region] = -1;
      slot.unmap(this, region);
      freed = true;
    });
    wanted.forEach((base, region) => {
      if (base < 0 || this.#mappedBase[region] === base) return;
      if (slot.map(this, region, base)) this.#mappedBase[region] = base;
    });
    if (this.#moveRom(slot) || freed) slot.freed();
  }

  /** The ROM answers while both its own enable bit and memory decoding are on. True when a range came free. */
  #moveRom(slot: PciSlot): boolean {
    const { rom } = this;
    if (rom === undefined) return false;
    const value = this.config32(PCI_ROM);
    const base = (value & -rom.size) >>> 0;
    const on = (value & ROM_ENABLE) !== 0 && (this.command & COMMAND_MEMORY) !== 0 && base !== 0 && base + rom.size < 0x1_0000_0000;
    const wanted = on ? base : -1;
    const before = this.#romBase;
    if (before >= 0 && before !== wanted) {
      slot.unmap(rom, 0);
      this.#romBase = -1;
    }
    if (wanted >= 0 && this.#romBase !== wanted && slot.map(rom, 0, wanted)) this.#romBase = wanted;
    return before >= 0 && before !== wanted;
  }

  reset(): void {
    this.config.set(this.#initial);
    this.#msix?.reset();
    if (this.#msi) this.#msi.pending = 0;
    this.resetDevice();
    this.#intx = false;
    this.updateMapping();
    this.#updateIrq();
  }

  save(): PciState<S> {
    return { config: this.config.slice(), msix: this.#msix?.save(), msiPending: this.#msi?.pending ?? 0, device: this.saveDevice() };
  }

  restore(state: PciState<S>): void {
    const { config } = state;
    const ids = [0, 1, 2, 3];
    if (!(config instanceof Uint8Array) || config.length !== CONFIG_BYTES || ids.some(i => config[i] !== this.#initial[i]) || (this.#msix && !this.#msix.accepts(state.msix))) {
      throw new VmletError('ERR_VMLET_STATE', `the saved state of '${this.name}' belongs to another PCI device`);
    }
    for (let i = 0; i < CONFIG_BYTES; i++) {
      const free = this.#writable[i] | this.#clearable[i];
      this.config[i] = (this.#initial[i] & ~free) | (config[i] & free);
    }
    this.#intx = false;
    if (state.msix) this.#msix?.restore(state.msix);
    if (this.#msi) this.#msi.pending = state.msiPending;
    this.#capabilitiesWritten();
    this.restoreDevice(state.device);
    this.updateMapping();
    this.#updateIrq();
    this.commandWritten();
  }
}
