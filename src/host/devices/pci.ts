import { VmletError } from '../../errors.js';
import type { GuestLog } from '../../logger.js';
import { type IrqLine, type MsiSink, NO_IRQ, SharedLine } from '../irq.js';
import { type AccessSize, type Device, openBus, type Region } from './device.js';
import { PCI_ROM } from './pci-rom.js';
import { type BarSpec, type BusAttach, COMMAND_IO, COMMAND_MEMORY, PCI_COMMAND, PCI_INTERRUPT_LINE, PciDevice } from './pci-config.js';

export const PCI_CONFIG_ADDRESS_PORT = 0xcf8;
export const PCI_CONFIG_DATA_PORT = 0xcfc;

const ADDRESS_REGION = 0;
const CONFIG_ENABLE = 0x8000_0000;
const CONFIG_ADDRESS_BITS = 0x80ff_fffc;
const RESET_CONTROL = 1;
const SLOTS = 32;
const FUNCTIONS = 8;
const HEADER_TYPE = 0x0e;
const MULTI_FUNCTION = 0x80;
const PAGE_BYTES = 4096;

export interface PciHostOptions {
  name?: string;
  bus: BusAttach;
  msi: MsiSink;
  log: GuestLog;
  /** Where PIRQA# to PIRQD# lead. INTx# of slot s, pin p (A = 0) reaches line (s - 1 + p) mod 4, as on the boards that firmware knows. */
  pirq?: readonly IrqLine[];
  /** A byte was written to the reset control register, port 0xCF9. */
  onResetControl?: (value: number) => void;
}

export interface PciHostState {
  address: number;
  resetControl: number;
}

/** The address ranges that firmware hands out; ends are exclusive. */
export interface BarWindow {
  ioBase: number;
  ioEnd: number;
  memoryBase: number;
  memoryEnd: number;
}

/**
 * PCI bus 0 behind configuration mechanism 1 (PCI 3.0, 3.2.2.3.2): region 0 is CONFIG_ADDRESS at port 0xCF8, region 1 is
 * CONFIG_DATA at 0xCFC. Byte 1 of region 0 is the chipset's reset control register.
 */
export class PciHost implements Device<PciHostState> {
  readonly name: string;
  readonly regions: readonly Region[] = [
    { space: 'pio', size: 4 },
    { space: 'pio', size: 4 },
  ];
  readonly #options: PciHostOptions;
  readonly #functions: (PciDevice | undefined)[] = new Array<PciDevice | undefined>(SLOTS * FUNCTIONS).fill(undefined);
  readonly #pirq: SharedLine[];
  #address = 0;
  #resetControl = 0;

  constructor(options: PciHostOptions) {
    this.name = options.name ?? 'pci';
    this.#options = options;
    this.#pirq = [0, 1, 2, 3].map(n => new SharedLine(options.pirq?.[n] ?? NO_IRQ));
  }

  /** The functions in slot order. */
  get devices(): readonly PciDevice[] {
    return this.#functions.filter(device => device !== undefined);
  }

  /** The slot of a plugged device, or -1. */
  slotOf(device: PciDevice): number {
    return this.#functions.indexOf(device) >> 3;
  }

  /** Plugs a device into `slot` (0 to 31, default the first free one) and returns the slot. Functions share a slot's four lines. */
  add(device: PciDevice, slot = this.#freeSlot(), fn = 0): number {
    const index = slot * FUNCTIONS + fn;
    if (!(slot >= 0 && slot < SLOTS && fn >= 0 && fn < FUNCTIONS)) {
      throw new VmletError('ERR_VMLET_CONFIG', `no PCI slot is left for '${device.name}'`, { hint: `a machine has ${SLOTS} PCI slots: remove disks or other devices` });
    }
    if (this.#functions[index] !== undefined) throw new VmletError('ERR_VMLET_CONFIG', `PCI slot ${slot}.${fn} is taken by '${this.#functions[index].name}'`);
    if (fn > 0 && this.#functions[slot * FUNCTIONS] === undefined) throw new VmletError('ERR_VMLET_CONFIG', `PCI slot ${slot} has no function 0 for '${device.name}'`);
    this.#functions[index] = device;
    device.plug({
      map: (owner, region, base) => this.#map(owner, region, base),
      unmap: (owner, region) => this.#options.bus.detach(owner, region),
      freed: () => this.#retryMappings(),
      irq: device.interruptPin === 0 ? NO_IRQ : this.#pirq[this.pirqOf(slot, device.interruptPin)].input(),
      msi: this.#options.msi,
    });
    return slot;
  }

  /** Which of PIRQA# to PIRQD# (0 to 3) a slot's pin (1 to 4) is wired to. */
  pirqOf(slot: number, pin: number): number {
    return (slot + pin + 2) & 3;
  }

  /**
   * Gives every base address register an address, largest first and naturally aligned, and turns decoding on: the state in which
   * firmware leaves a machine. Throws ERR_VMLET_CONFIG when the window is too small.
   */
  assignBars(window: BarWindow): void {
    const wanted: { device: PciDevice; bar: BarSpec }[] = this.devices.flatMap(device => device.bars.map(bar => ({ device, bar })));
    wanted.sort((a, b) => b.bar.size - a.bar.size);
    for (const device of this.devices) device.writeConfig(PCI_COMMAND, device.command & ~(COMMAND_IO | COMMAND_MEMORY), 2);
    let io = window.ioBase;
    let memory = window.memoryBase;
    for (const { device, bar } of wanted) {
      const ports = bar.space === 'pio';
      const alignment = ports ? bar.size : Math.max(bar.size, PAGE_BYTES);
      const base = Math.ceil((ports ? io : memory) / alignment) * alignment;
      const end = base + alignment;
      if (end > (ports ? window.ioEnd : window.memoryEnd)) {
        throw new VmletError('ERR_VMLET_CONFIG', `the PCI window has no room for ${bar.size} bytes of '${device.name}'`);
      }
      if (ports) io = end;
      else memory = end;
      device.setBar(bar, base);
    }
    for (const device of this.devices) {
      if (device.rom === undefined) continue;
      const base = Math.ceil(memory / device.rom.size) * device.rom.size;
      memory = base + device.rom.size;
      if (memory > window.memoryEnd) throw new VmletError('ERR_VMLET_CONFIG', `the PCI window has no room for the option ROM of '${device.name}'`);
      device.writeConfig(PCI_ROM, base, 4);
    }
    for (const device of this.devices) {
      let enable = device.command;
      for (const bar of device.bars) enable |= bar.space === 'pio' ? COMMAND_IO : COMMAND_MEMORY;
      device.writeConfig(PCI_COMMAND, enable, 2);
    }
  }

  /** Writes the interrupt line registers, for guests that trust them; `irqs[n]` is the ISA interrupt that PIRQ n leads to. */
  assignInterrupts(irqs: readonly number[]): void {
    for (const device of this.devices) {
      if (device.interruptPin !== 0) device.writeConfig(PCI_INTERRUPT_LINE, irqs[this.pirqOf(this.slotOf(device), device.interruptPin)], 1);
    }
  }

  read(offset: number, size: AccessSize, region: number): number {
    if (region === ADDRESS_REGION) {
      if (size === 4) return this.#address;
      return offset === RESET_CONTROL && size === 1 ? this.#resetControl : openBus(size);
    }
    if (offset + size > 4) return this.#byByte(offset, size, region);
    const device = this.#selected();
    if (device === undefined) return openBus(size);
    const value = device.readConfig((this.#address & 0xfc) + offset, size);
    if ((this.#address & 0xfc) !== (HEADER_TYPE & 0xfc) || !this.#isMultiFunction()) return value;
    return withByte(value, HEADER_TYPE & 3, offset, size, MULTI_FUNCTION);
  }

  write(offset: number, value: number, size: AccessSize, region: number): void {
    if (region === ADDRESS_REGION) {
      if (size === 4) this.#address = (value & CONFIG_ADDRESS_BITS) >>> 0;
      else if (offset === RESET_CONTROL && size === 1) this.#writeResetControl(value);
      return;
    }
    if (offset + size > 4) {
      for (let i = 0; i < size && offset + i < 4; i++) this.write(offset + i, (value >>> (8 * i)) & 0xff, 1, region);
      return;
    }
    const device = this.#selected();
    if (device === undefined) return;
    device.writeConfig((this.#address & 0xfc) + offset, value, size);
  }

  reset(): void {
    this.#address = 0;
    this.#resetControl = 0;
  }

  save(): PciHostState {
    return { address: this.#address, resetControl: this.#resetControl };
  }

  restore(state: PciHostState): void {
    this.#address = (state.address & CONFIG_ADDRESS_BITS) >>> 0;
    this.#resetControl = state.resetControl & 0xff;
  }

  #freeSlot(): number {
    for (let slot = 0; slot < SLOTS; slot++) if (this.#functions[slot * FUNCTIONS] === undefined) return slot;
    return -1;
  }

  #selected(): PciDevice | undefined {
    if ((this.#address & CONFIG_ENABLE) === 0 || (this.#address & 0x00ff_0000) !== 0) return undefined;
    return this.#functions[(this.#address >>> 8) & 0xff];
  }

  #isMultiFunction(): boolean {
    const first = (this.#address >>> 8) & 0xf8;
    for (let fn = 1; fn < FUNCTIONS; fn++) if (this.#functions[first + fn] !== undefined) return true;
    return false;
  }

  #map(device: Device, region: number, base: number): boolean {
    try {
      this.#options.bus.attach(device, region, base);
      return true;
    } catch (error) {
      this.#options.log.guestError(device.name, `bar region ${region} is left unmapped: ${error instanceof Error ? error.message : String(error)}`);
      return false;
    }
  }

  /** A range came free: bars that collided with it may fit now. They only map, so nothing more comes free. */
  #retryMappings(): void {
    for (const device of this.devices) device.updateMapping();
  }

  #writeResetControl(value: number): void {
    this.#resetControl = value & 0xff;
    this.#options.onResetControl?.(value & 0xff);
  }

  #byByte(offset: number, size: AccessSize, region: number): number {
    let value = 0;
    for (let i = 0; i < size; i++) value |= (offset + i < 4 ? this.read(offset + i, 1, region) : 0xff) << (8 * i);
    return value >>> 0;
  }
}

/** Sets bits of one byte of a register in a value that was read at `offset` of it. */
const withByte = (value: number, byte: number, offset: number, size: AccessSize, bits: number): number =>
  byte >= offset && byte < offset + size ? (value | (bits << (8 * (byte - offset)))) >>> 0 : value;

/** Nothing but configuration space: bridges. */
abstract class ConfigOnlyDevice extends PciDevice<Record<string, never>> {
  override read(_offset: number, size: AccessSize): number {
    return openBus(size);
  }

  override write(): void {}

  protected override resetDevice(): void {}

  protected override saveDevice(): Record<string, never> {
    return {};
  }

  protected override restoreDevice(): void {}
}

/** Memory attribute registers (82441FX datasheet, PAM): PAM0's upper half is for F0000 to FFFFF, each half of the others for 16 KB from C0000 on. */
const PAM = 0x59;
const PAM_REGISTERS = 7;
const PAM_WRITE = 2;

/**
 * Intel 440FX host bridge, 00:00.0. RAM lies under the whole ROM area, with the ROM's contents in it; of the memory attribute registers only the
 * write enables count, once software has set them.
 */
export class HostBridge440fx extends ConfigOnlyDevice {
  readonly #onShadow: (start: number, length: number, writable: boolean) => void;

  constructor(log: GuestLog, onShadow: (start: number, length: number, writable: boolean) => void = () => {}, name = 'host-bridge') {
    super(name, { vendorId: 0x8086, deviceId: 0x1237, classCode: 0x060000, revision: 2, subsystemVendorId: 0x1af4, subsystemId: 0x1100 }, [], log);
    for (let offset = 0x50; offset < 0x100; offset++) this.define8(offset, 0, 0xff);
    this.define8(0x72, 0x02, 0x7f);
    this.#onShadow = onShadow;
  }

  override writeConfig(offset: number, value: number, size: AccessSize): void {
    const before = this.config.slice(PAM, PAM + PAM_REGISTERS);
    super.writeConfig(offset, value, size);
    for (let n = 0; n < PAM_REGISTERS; n++) {
      const after = this.config[PAM + n];
      const changed = before[n] ^ after;
      const areas = n === 0 ? [[0xf_0000, 0x1_0000, 4]] : [[0xc_0000 + (n - 1) * 0x8000, 0x4000, 0], [0xc_4000 + (n - 1) * 0x8000, 0x4000, 4]];
      for (const [start, length, shift] of areas) {
        if (((changed >> shift) & PAM_WRITE) !== 0) this.#onShadow(start, length, ((after >> shift) & PAM_WRITE) !== 0);
      }
    }
  }
}

const PIRQ_ROUTE = 0x60;
const PIRQ_DISABLED = 0x80;
/** ISA interrupts that PIIX can route a PIRQ to (82371SB datasheet, PIRQRC). */
const PIRQ_TARGETS = 0xdef8;

/** Intel PIIX3 ISA bridge, 00:01.0: routes PIRQA# to PIRQD# to ISA interrupts by its registers 0x60 to 0x63. */
export class IsaBridgePiix3 extends ConfigOnlyDevice {
  readonly #inputs: readonly IrqLine[];
  readonly #levels = [false, false, false, false];
  readonly #isa: readonly IrqLine[];
  readonly #routed: (number | undefined)[] = [undefined, undefined, undefined, undefined];

  /** `isa[n]` is a line into ISA interrupt n; it may be shared with others through a SharedLine input. */
  constructor(isa: readonly (IrqLine | undefined)[], log: GuestLog, name = 'isa-bridge') {
    super(name, { vendorId: 0x8086, deviceId: 0x7000, classCode: 0x060100, subsystemVendorId: 0x1af4, subsystemId: 0x1100 }, [], log);
    this.#isa = Array.from({ length: 16 }, (_, irq) => isa[irq] ?? NO_IRQ);
    for (let offset = 0x40; offset < 0x100; offset++) this.define8(offset, 0, 0xff);
    for (let n = 0; n < 4; n++) this.define8(PIRQ_ROUTE + n, PIRQ_DISABLED, 0x8f);
    this.#inputs = this.#levels.map((_, n) => ({
      set: level => {
        this.#levels[n] = level;
        this.#drive();
      },
    }));
  }

  /** PIRQA# to PIRQD#, for PciHostOptions.pirq. */
  get pirq(): readonly IrqLine[] {
    return this.#inputs;
  }

  /** Programs the four routing registers, as firmware does; each entry is an ISA interrupt of 3 to 7, 9 to 12, 14, 15. */
  route(irqs: readonly number[]): void {
    irqs.forEach((irq, n) => this.writeConfig(PIRQ_ROUTE + n, irq, 1));
  }

  override writeConfig(offset: number, value: number, size: AccessSize): void {
    super.writeConfig(offset, value, size);
    if (offset < PIRQ_ROUTE + 4 && offset + size > PIRQ_ROUTE) this.#drive();
  }

  protected override resetDevice(): void {
    this.#drive();
  }

  protected override restoreDevice(): void {
    this.#drive();
  }

  #drive(): void {
    const before = this.#asserted();
    for (let n = 0; n < 4; n++) {
      const route = this.config[PIRQ_ROUTE + n];
      const irq = route & 0x0f;
      this.#routed[n] = this.#levels[n] && (route & PIRQ_DISABLED) === 0 && ((PIRQ_TARGETS >>> irq) & 1) === 1 ? irq : undefined;
    }
    const after = this.#asserted();
    for (let irq = 0; irq < 16; irq++) {
      if (((before ^ after) >>> irq) & 1) this.#isa[irq].set(((after >>> irq) & 1) === 1);
    }
  }

  #asserted(): number {
    let bits = 0;
    for (const irq of this.#routed) if (irq !== undefined) bits |= 1 << irq;
    return bits;
  }
}
