import type { GuestLog } from '../../logger.js';
import type { BlockBackend, CharBackend, EntropyBackend, FramePort } from '../backends/backend.js';
import type { AcpiConfig } from '../boot/acpi-tables.js';
import { Bus } from '../bus.js';
import type { VirtualClock } from '../clock.js';
import { ACPI_RESET_VALUE, AcpiPm, S5_SLEEP_TYPE } from '../devices/acpi-pm.js';
import { ApicBus } from '../devices/apic-bus.js';
import { DebugExit } from '../devices/debug-exit.js';
import { Debugcon } from '../devices/debugcon.js';
import type { AccessSize, Device } from '../devices/device.js';
import { Dma8237 } from '../devices/dma8237.js';
import { Fdc82077 } from '../devices/fdc82077.js';
import { FwCfg, type FwCfgFile } from '../devices/fw-cfg.js';
import { I8042 } from '../devices/i8042.js';
import { IoApic } from '../devices/ioapic.js';
import { KvmClock } from '../devices/kvm-clock.js';
import { Lapic, MSR_APIC_BASE, MSR_TSC_DEADLINE, MSR_X2APIC_FIRST, MSR_X2APIC_LAST } from '../devices/lapic.js';
import type { NicModel } from '../devices/nic-models.js';
import type { PciDevice } from '../devices/pci-config.js';
import { HostBridge440fx, IsaBridgePiix3, PCI_CONFIG_ADDRESS_PORT, PCI_CONFIG_DATA_PORT, PciHost } from '../devices/pci.js';
import { IDE_PORTS, PiixIde } from '../devices/ide/piix.js';
import { Pic8259 } from '../devices/pic8259.js';
import { Pit8254 } from '../devices/pit8254.js';
import { Port92 } from '../devices/port92.js';
import { RtcCmos } from '../devices/rtc-cmos.js';
import { TEST_IRQ_PORT, TEST_MEMORY, TEST_PORT, TestDevice } from '../devices/test-device.js';
import { Uart16550 } from '../devices/uart16550.js';
import { Vga, VGA_PORT, VGA_WINDOW } from '../devices/vga.js';
import { VirtioBlk } from '../devices/virtio/blk.js';
import { VirtioConsole, type VirtioConsolePort } from '../devices/virtio/console.js';
import type { VirtioFunction } from '../devices/virtio/device.js';
import { VirtioPci } from '../devices/virtio/pci.js';
import { VirtioRng } from '../devices/virtio/rng.js';
import { fanOut, type IrqLine, SharedLine } from '../irq.js';
import type { GuestMemory } from '../memory.js';
import { TRAP_PORT } from '../firmware/traps.js';
import { cmosContents, floppyMedium, ideDrives } from './drives.js';
import { CoprocessorError } from './legacy.js';
import { createNic, type Nic } from './nics.js';

/** The core has taken these writes already and only tells of them. */
const IA32_TSC = 0x10;
const IA32_TSC_ADJUST = 0x3b;
const LAPIC_BASE = 0xfee0_0000;
const IOAPIC_BASE = 0xfec0_0000;
const IOAPIC_ID = 15;
const FW_CFG_PORT = 0x510;
const PM_BASE = 0x600;
const SCI_IRQ = 9;
const ISA_LINES = 16;
const SERIAL = [
  { port: 0x3f8, irq: 4 },
  { port: 0x2f8, irq: 3 },
  { port: 0x3e8, irq: 4 },
  { port: 0x2e8, irq: 3 },
];
/** Where firmware routes PIRQA# to PIRQD#. */
const PIRQ_IRQS = [10, 10, 11, 11];
/** Above the largest RAM, below the I/O APIC. */
const PCI_WINDOW = { start: 0xe000_0000, end: IOAPIC_BASE };
const PCI_IO = { start: 0xc000, end: 0x1_0000 };

export interface NetworkCard {
  /** virtio by default. */
  model?: NicModel;
  /** Six bytes. */
  mac: Uint8Array;
  port: FramePort;
  /** False while the cable is not plugged in. */
  linkUp?: boolean;
  /** Option ROM: firmware finds it behind the card's expansion ROM register. */
  rom?: Uint8Array;
}

/** What the board drives in its CPUs. */
export interface BoardPins {
  setIntr(cpu: number, level: boolean): void;
  nmi(cpu: number): void;
  init(cpu: number): void;
  sipi(cpu: number, vector: number): void;
  setA20(enabled: boolean): void;
  /** A part of the ROM area takes writes, or does not. */
  shadow?(start: number, length: number, writable: boolean): void;
}

export interface PcOptions {
  clock: VirtualClock;
  memory: GuestMemory;
  log: GuestLog;
  ramBytes: number;
  cpus: number;
  /** The date at virtual time zero, in seconds since 1970. */
  epochSeconds: number;
  serial: readonly CharBackend[];
  /** The guest set up the first serial line. */
  onSerialSetup?: () => void;
  /** Virtio disks. */
  disks: readonly BlockBackend[];
  /** IDE disks and CD drives, up to four together; floppy drives, up to two. */
  ideDisks?: readonly BlockBackend[];
  cdroms?: readonly BlockBackend[];
  floppies?: readonly BlockBackend[];
  /** The order in which firmware that asks the CMOS memory boots. */
  bootOrder?: readonly string[];
  /** Files of fw_cfg. */
  firmwareFiles?: (acpi: AcpiConfig) => FwCfgFile[];
  console: readonly VirtioConsolePort[];
  rng?: EntropyBackend;
  nics: readonly NetworkCard[];
  debugExitPort?: number;
  debugconPort?: number;
  debugcon?: CharBackend;
  pins: BoardPins;
  /** Virtual time at which a CPU's time stamp counter has a value, and the reverse. */
  tscToNs: (cpu: number, tsc: number) => number;
  nsToTsc: (cpu: number, ns: number) => number;
  onPowerOff: () => void;
  onReset: (cause: 'keyboard-controller' | 'port-92' | 'reset-control') => void;
  onDebugExit: (code: number) => void;
}

/** The board of a PC: which device answers where, and which line leads to which. */
export class PcBoard {
  readonly bus = new Bus();
  /** In the order in which they are reset and saved. */
  readonly devices: Device[] = [];
  readonly lapics: Lapic[] = [];
  readonly coprocessorError: CoprocessorError;
  readonly serialPorts: readonly number[];
  readonly nics: readonly Nic[];
  readonly vga: Vga;
  readonly keyboard: I8042;
  readonly rtc: RtcCmos;
  readonly #options: PcOptions;
  readonly #apicBus = new ApicBus();
  readonly #pic: Pic8259;
  readonly #ioapic: IoApic;
  readonly #pm: AcpiPm;
  readonly #pci: PciHost;
  readonly #isaBridge: IsaBridgePiix3;
  readonly #kvmClocks: KvmClock[] = [];

  constructor(options: PcOptions) {
    this.#options = options;
    const { bus } = this;
    const { clock, log, memory, pins } = options;
    const attach = <T extends Device>(device: T, ...bases: number[]): T => {
      bases.forEach((base, region) => bus.attach(device, region, base));
      this.devices.push(device);
      return device;
    };

    this.#pic = attach(new Pic8259({ intr: { set: level => this.lapics[0].lint0.set(level) } }), 0x20, 0xa0, 0x4d0);
    for (let cpu = 0; cpu < options.cpus; cpu++) this.lapics.push(attach(this.#lapic(cpu)));
    bus.attach(this.lapics[0], 0, LAPIC_BASE);
    this.#ioapic = attach(new IoApic({ bus: this.#apicBus, id: IOAPIC_ID, log }), IOAPIC_BASE);
    const isa = (irq: number): IrqLine => fanOut(this.#pic.line(irq), this.#ioapic.line(irq === 0 ? 2 : irq));

    attach(new Pit8254({ clock, irq: isa(0) }), 0x40, 0x61);
    this.rtc = attach(new RtcCmos({ clock, irq: isa(8), startSeconds: options.epochSeconds, memoryBytes: options.ramBytes, contents: cmosContents(options) }), 0x70);
    this.keyboard = attach(new I8042({ clock, keyboardIrq: isa(1), auxIrq: isa(12), onA20: pins.setA20, onReset: () => options.onReset('keyboard-controller'), log }), 0x60, 0x64);
    attach(new Port92({ onA20: pins.setA20, onReset: () => options.onReset('port-92') }), 0x92);
    const dma = attach(new Dma8237(memory), 0x00, 0xc0, 0x80);

    this.vga = attach(new Vga({ clock }), VGA_PORT, VGA_WINDOW);
    this.coprocessorError = attach(new CoprocessorError(isa(13)), 0xf0);
    this.#pm = attach(
      new AcpiPm({
        clock,
        sci: isa(SCI_IRQ),
        alwaysAcpi: true,
        onSleep: type => {
          if (type === S5_SLEEP_TYPE) options.onPowerOff();
          else log.guestError('acpi-pm', `sleep type ${type} means nothing here`);
        },
        onReset: () => options.onReset('reset-control'),
      }),
      PM_BASE,
      PM_BASE + 4,
      PM_BASE + 8,
    );
    const com = [4, 3].map(irq => new SharedLine(isa(irq)));
    options.serial.forEach((backend, i) => attach(new Uart16550({ name: `com${i + 1}`, clock, backend, irq: com[i & 1].input(), onSetup: i === 0 ? options.onSerialSetup : undefined }), SERIAL[i].port));
    this.serialPorts = options.serial.map((_, i) => SERIAL[i].port);

    this.#isaBridge = new IsaBridgePiix3([10, 11].reduce<IrqLine[]>((lines, irq) => ((lines[irq] = isa(irq)), lines), []), log);
    this.#pci = attach(
      new PciHost({
        bus,
        msi: this.#apicBus,
        log,
        pirq: this.#isaBridge.pirq,
        onResetControl: value => this.#pm.writeReset(value),
      }),
      PCI_CONFIG_ADDRESS_PORT,
      PCI_CONFIG_DATA_PORT,
    );
    this.#pci.add(new HostBridge440fx(log, options.pins.shadow));
    const isaSlot = this.#pci.add(this.#isaBridge);
    const { ideDisks = [], cdroms = [], floppies = [] } = options;
    if (ideDisks.length + cdroms.length > 0) {
      const ide = new PiixIde({ memory, log, irqs: IDE_PORTS.map(({ irq }) => isa(irq)), drives: ideDrives(ideDisks, cdroms) });
      this.#pci.add(ide, isaSlot, 1);
      ide.channels.forEach((channel, n) => attach(channel, IDE_PORTS[n].command, IDE_PORTS[n].control));
    }
    if (floppies.length > 0) attach(new Fdc82077({ irq: isa(6), dma: dma.channel(2), drives: floppies.map(floppyMedium), log }), 0x3f0, 0x3f7);
    attach(new FwCfg({ ramBytes: options.ramBytes, cpus: options.cpus, memory, files: options.firmwareFiles?.(this.acpi) }), FW_CFG_PORT, FW_CFG_PORT + 4);
    const virtio = <S extends object>(device: VirtioFunction<S>) => this.#pci.add(new VirtioPci(device, { memory, log }));
    options.disks.forEach((backend, i) => virtio(new VirtioBlk({ name: `disk${i}`, backend, serial: `vmlet-disk${i}`, clock })));
    if (options.console.length > 0) virtio(new VirtioConsole({ ports: options.console }));
    if (options.rng !== undefined) virtio(new VirtioRng({ entropy: options.rng }));
    this.nics = options.nics.map((card, i) => {
      const nic = createNic({ ...card, name: `net${i}`, clock, memory, log });
      this.#pci.add(nic.device);
      return nic;
    });
    this.devices.push(...this.#pci.devices);

    for (let cpu = 0; cpu < options.cpus; cpu++) {
      const nsToTsc = (ns: number) => options.nsToTsc(cpu, ns);
      this.#kvmClocks.push(attach(new KvmClock({ name: `kvm-clock${cpu}`, clock, memory, startSeconds: options.epochSeconds, nsToTsc })));
    }
    if (options.debugExitPort !== undefined) attach(new DebugExit({ onExit: options.onDebugExit }), options.debugExitPort);
    if (options.debugconPort !== undefined && options.debugcon !== undefined) attach(new Debugcon({ backend: options.debugcon }), options.debugconPort);
    const testDevice = new TestDevice({ irqs: Array.from({ length: ISA_LINES }, (_, n) => isa(n)) });
    const free = (base: number, region: number) => bus.isFree('pio', base, testDevice.regions[region].size);
    // For test kernels, which end by a debug exit; ports that the user has given away stay so.
    if (options.debugExitPort !== undefined && free(TEST_PORT, 0) && free(TEST_IRQ_PORT, 1)) attach(testDevice, TEST_PORT, TEST_IRQ_PORT, TEST_MEMORY);
  }

  /** What firmware tells an operating system about this board. */
  get acpi(): AcpiConfig {
    return {
      cpus: this.#options.cpus,
      lapicBase: LAPIC_BASE,
      ioapicBase: IOAPIC_BASE,
      ioapicId: IOAPIC_ID,
      pmBase: PM_BASE,
      sciIrq: SCI_IRQ,
      s5SleepType: S5_SLEEP_TYPE,
      reset: { port: PCI_CONFIG_ADDRESS_PORT + 1, value: ACPI_RESET_VALUE },
      serials: this.serialPorts.map((_, i) => SERIAL[i]),
      pciWindow: PCI_WINDOW,
      pciInterrupt: (slot, pin) => PIRQ_IRQS[this.#pci.pirqOf(slot, pin + 1)],
      pciIrqs: PIRQ_IRQS,
    };
  }

  /** Bus, device and function of a plugged device in PCI's 16 bits. */
  pciLocation(device: PciDevice): number {
    return this.#pci.slotOf(device) << 3;
  }

  /** The built-in firmware's way in. */
  attachFirmware(device: Device): void {
    this.bus.attach(device, 0, TRAP_PORT);
  }

  acknowledge(cpu: number): number {
    return this.lapics[cpu].acknowledge();
  }

  mmioRead(_cpu: number, phys: number, size: AccessSize): number {
    return this.bus.mmioRead(phys, size);
  }

  mmioWrite(_cpu: number, phys: number, size: AccessSize, value: number): void {
    this.bus.mmioWrite(phys, size, value);
  }

  msrRead(cpu: number, msr: number): { lo: number; hi: number } | undefined {
    if (isApicMsr(msr)) return this.lapics[cpu].msrRead(msr);
    return this.#kvmClocks[cpu].msrRead(msr);
  }

  msrWrite(cpu: number, msr: number, lo: number, hi: number): boolean {
    if (isApicMsr(msr)) return this.lapics[cpu].msrWrite(msr, lo, hi);
    if (msr === IA32_TSC || msr === IA32_TSC_ADJUST) {
      this.lapics[cpu].tscChanged();
      this.#kvmClocks[cpu].tscChanged();
      return true;
    }
    return this.#kvmClocks[cpu].msrWrite(msr, lo, hi);
  }

  powerButton(): void {
    this.#pm.pressPowerButton();
  }

  reset(): void {
    for (const device of this.devices) device.reset();
  }

  /** Leaves the board as firmware does: interrupt controllers out of the way, PCI resources assigned. */
  firmwareInit(): void {
    const out = (port: number, ...values: number[]) => values.forEach(value => this.bus.portWrite(port, 1, value));
    out(0x20, 0x11);
    out(0x21, 0x08, 0x04, 0x01, 0xff);
    out(0xa0, 0x11);
    out(0xa1, 0x70, 0x02, 0x01, 0xff);
    const levels = PIRQ_IRQS.reduce((bits, irq) => bits | (1 << irq), 1 << SCI_IRQ);
    out(0x4d0, levels & 0xff);
    out(0x4d1, levels >> 8);
    this.#isaBridge.route(PIRQ_IRQS);
    this.#pci.assignBars({ ioBase: PCI_IO.start, ioEnd: PCI_IO.end, memoryBase: PCI_WINDOW.start, memoryEnd: PCI_WINDOW.end });
    this.#pci.assignInterrupts(PIRQ_IRQS);
  }

  #lapic(cpu: number): Lapic {
    const { clock, log, pins, tscToNs } = this.#options;
    return new Lapic({
      id: cpu,
      bsp: cpu === 0,
      clock,
      bus: this.#apicBus,
      log,
      pic: cpu === 0 ? { acknowledge: () => this.#pic.acknowledge() } : undefined,
      pins: {
        setIntr: level => pins.setIntr(cpu, level),
        nmi: () => pins.nmi(cpu),
        init: () => pins.init(cpu),
        sipi: vector => pins.sipi(cpu, vector),
      },
      tscToNs: tsc => tscToNs(cpu, tsc),
      onBase: (phys, mapped) => this.#moveLapic(cpu, phys, mapped),
    });
  }

  #moveLapic(cpu: number, phys: number, mapped: boolean): void {
    const lapic = this.lapics[cpu];
    this.bus.detach(lapic, 0);
    if (!mapped) return;
    try {
      this.bus.attach(lapic, 0, phys);
    } catch {
      this.#options.log.guestError(lapic.name, `its page cannot be at 0x${phys.toString(16)}`);
    }
  }
}

const isApicMsr = (msr: number): boolean => msr === MSR_APIC_BASE || msr === MSR_TSC_DEADLINE || (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST);
