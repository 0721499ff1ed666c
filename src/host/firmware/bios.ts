import type { GuestLog } from '../../logger.js';
import type { BlockBackend } from '../backends/backend.js';
import { EBDA, LOW_END, memoryMap, type MemoryRange } from '../boot/e820.js';
import { enterReal } from '../boot/cpu-setup.js';
import type { Bus } from '../bus.js';
import type { Clock } from '../clock.js';
import type { CpuRecord } from '../core.js';
import type { Device } from '../devices/device.js';
import type { RtcCmos } from '../devices/rtc-cmos.js';
import type { Vga } from '../devices/vga.js';
import type { GuestMemory } from '../memory.js';
import { VmletError } from '../../errors.js';
import { Bda, BDA_END, BDA_START } from './bda.js';
import { BootServices, type BootSource, cdSource, sectorSource } from './boot.js';
import type { FirmwareCall, JumpTarget } from './call.js';
import { DiskServices } from './disk.js';
import { cdDrive, floppyDrive, hardDrive } from './drives.js';
import { KeyboardServices } from './keyboard.js';
import { LinearMemory } from './linear.js';
import { TerminalMirror } from './mirror.js';
import { OptionRoms } from './option-roms.js';
import { PciBios } from './pci-bios.js';
import { ROM_SEGMENT, RomImage, RomOffset } from './rom.js';
import type { SerialShare } from './serial-share.js';
import { SystemServices } from './system.js';
import { TimeServices } from './time.js';
import { FirmwareTraps, type TrapHandler } from './traps.js';
import { VideoServices } from './video.js';

/** What the firmware works on. */
export interface FirmwareMachine {
  cpu: CpuRecord;
  memory: GuestMemory;
  bus: Bus;
  clock: Clock;
  log: GuestLog;
  vga: Vga;
  rtc: RtcCmos;
  serial: SerialShare | undefined;
  serialPorts: readonly number[];
  ramBytes: number;
  /** Makes a range of the ROM area read-only. */
  protect: (start: number, length: number) => void;
  /** Ends an idle sleep of the machine. */
  wake: () => void;
}

export interface FirmwareOptions {
  /** What to boot from, in this order: `disk`, `floppy`, `cdrom`, or the name of a source that was added. */
  order: readonly string[];
  /** Drives 0 and 1, 80h and up, E0h and up. */
  floppies?: readonly BlockBackend[];
  disks?: readonly BlockBackend[];
  cdroms?: readonly BlockBackend[];
}

const EQUIPMENT_80_COLUMNS = 0x0020;
const EQUIPMENT_FPU = 0x0002;
const CONVENTIONAL_START = 0x8_0000;
const PIC_EOI = 0x20;
const FIRST_IRQ_VECTOR = 0x08;
const SECOND_IRQ_VECTOR = 0x70;
const MASTER_MASK = 0xb8;
const SLAVE_MASK = 0x3f;
const ALARM_FLAG = 0x20;
/** Of the model AT, with a second interrupt controller, a clock, INT 15h AH=4Fh and an extended data area. */
const CONFIG_TABLE = [8, 0, 0xfc, 0, 1, 0x74, 0, 0, 0, 0];
/** Of a drive of 1.44 MB. */
const DISKETTE_TABLE = [0xaf, 0x02, 0x25, 0x02, 0x12, 0x1b, 0xff, 0x6c, 0xf6, 0x0f, 0x08];
const RESET_PORT = 0x64;
const RESET_PULSE = 0xfe;

/**
 * The built-in BIOS: its interrupt services are host code behind stubs in the ROM at F000. `traps` is where other ROMs register services of their
 * own, `boot` where they register devices to boot from.
 */
export class Firmware {
  readonly traps: FirmwareTraps;
  readonly memory: LinearMemory;
  readonly boot: BootServices;
  readonly disks: DiskServices;
  readonly video: VideoServices;
  readonly keyboard: KeyboardServices;
  readonly #machine: FirmwareMachine;
  readonly #rom = new RomImage();
  readonly #vectors = new Map<number, number>();
  readonly #mirror: TerminalMirror;
  readonly #system: SystemServices;
  readonly #time: TimeServices;
  readonly #pci: PciBios;
  readonly #roms: OptionRoms;
  readonly #onPost: (() => void)[] = [];
  readonly #timeOfDay: ((call: FirmwareCall) => boolean)[] = [];
  readonly #stop: JumpTarget;
  readonly #bootstrap: JumpTarget;
  #lowEnd = LOW_END;
  #posted = false;

  constructor(machine: FirmwareMachine, options: FirmwareOptions) {
    this.#machine = machine;
    const { cpu, bus, clock, log, serial } = machine;
    const memory = (this.memory = new LinearMemory(cpu, machine.memory, bus));
    const traps = (this.traps = new FirmwareTraps({ cpu, memory, rom: this.#rom, clock, log }));
    const fixed = (offset: number) => ({ segment: ROM_SEGMENT, offset });
    this.#mirror = new TerminalMirror(bytes => serial?.print(bytes));
    const functionality = this.#rom.add([0xff, 0xe0, 0x0f, 0, 0, 0, 0, 7, 2, 8, 0xff, 0x0e, 0, 0, 0x3f, 0], 16);
    this.video = new VideoServices(machine.vga, memory, this.#mirror, { font: fixed(0xfa6e), functionality: fixed(functionality) });
    this.keyboard = new KeyboardServices({ memory, traps, clock, serial });
    this.disks = new DiskServices({
      memory,
      log,
      drives: {
        floppies: (options.floppies ?? []).map(floppyDrive),
        disks: (options.disks ?? []).map(hardDrive),
        cds: (options.cdroms ?? []).map(cdDrive),
      },
      tables: { diskette: fixed(RomOffset.DISKETTE_TABLE) },
    });
    this.#system = new SystemServices({
      memory,
      bus,
      clock,
      traps,
      serial,
      memoryMap: () => this.memoryMap,
      ramBytes: machine.ramBytes,
      configTable: fixed(RomOffset.CONFIG_TABLE),
    });
    this.#time = new TimeServices(memory, machine.rtc);
    this.#pci = new PciBios(bus);
    this.boot = new BootServices(options.order, text => this.video.print(text));
    if (this.disks.drives.disks.length > 0) this.boot.add(sectorSource('disk', this.disks, memory));
    if (this.disks.drives.floppies.length > 0) this.boot.add(sectorSource('floppy', this.disks, memory));
    if (this.disks.drives.cds.length > 0) this.boot.add(cdSource(this.disks, memory));
    if (serial !== undefined) serial.onInput = machine.wake;
    this.#stop = fixed(traps.place(STOP));
    this.#bootstrap = fixed(traps.place([...INT(0x19), ...STOP]));
    const print = (text: string): void => this.video.print(text);
    this.#roms = new OptionRoms({ memory, bus, traps, rom: this.#rom, boot: this.boot, ramBytes: machine.ramBytes, print, protect: machine.protect });
    this.#build();
  }

  /** The device behind the stubs' port, for the board. */
  get device(): Device {
    return this.traps.device;
  }

  /** The memory map that INT 15h AX=E820h tells. */
  get memoryMap(): MemoryRange[] {
    return memoryMap(this.#machine.ramBytes, this.#lowEnd);
  }

  /** Adds a device to boot from. */
  addBootSource(source: BootSource): void {
    this.boot.add(source);
  }

  /** Called whenever the machine starts, behind the firmware's own set-up of memory and in front of boot. */
  onPost(hook: () => void): void {
    this.#onPost.push(hook);
  }

  /** A handler in front of INT 1Ah's own; it says whether the call was its. */
  onTimeOfDay(handler: (call: FirmwareCall) => boolean): void {
    this.#timeOfDay.push(handler);
  }

  /** Points an interrupt vector at an offset in the ROM whenever the machine starts. */
  setVector(vector: number, offset: number): void {
    this.#vectors.set(vector, offset);
  }

  /** Takes bytes off the top of conventional memory, for a ROM's data; returns their physical address. Before the machine starts. Throws ERR_VMLET_CONFIG. */
  reserveLow(bytes: number): number {
    const at = Math.floor((this.#lowEnd - bytes) / 1024) * 1024;
    if (at < CONVENTIONAL_START) throw new VmletError('ERR_VMLET_CONFIG', `the firmware has no ${bytes} bytes of conventional memory left`);
    this.#lowEnd = at;
    return at;
  }

  /** Puts code or tables into the ROM for good; returns their offset in segment F000. Before the machine starts. */
  addRom(bytes: Uint8Array | readonly number[], alignment?: number): number {
    return this.#rom.add(bytes, alignment);
  }

  /** Tells waiting calls that something may have come, from outside of virtual time. */
  poke(): void {
    this.#machine.wake();
  }

  /** Power-on: the ROM, vectors and data areas in memory, the CPU at the reset vector. `ram` is all of it. */
  start(ram: Uint8Array): void {
    const { cpu, serial } = this.#machine;
    this.traps.reset();
    this.boot.reset();
    this.disks.reset();
    this.keyboard.reset();
    this.#system.reset();
    this.#mirror.reset();
    serial?.reset();
    this.#posted = false;
    const { phys, bytes } = this.#rom.contents;
    ram.set(bytes, phys);
    enterReal(cpu, { segment: ROM_SEGMENT, offset: RomOffset.RESET, data: 0, sp: 0x7c00 });
  }

  /** The CPU has halted: whether it goes on, as the service that it waits in is ready. */
  unblock(): boolean {
    return this.traps.unblock();
  }

  /** Lays out the ROM. */
  #build(): void {
    const { traps } = this;
    const post = traps.place([...XOR_AX_SS_7C00, ...PUSHF, ...PUSH_CS, ...traps.onTrap(call => this.#post(call), 'interrupt'), ...IRET]);
    this.#jump(RomOffset.POST, post);
    this.#rom.fix(RomOffset.RESET, [0xea, RomOffset.POST & 0xff, RomOffset.POST >> 8, 0x00, 0xf0]);
    this.#rom.fix(RomOffset.DATE, [...'01/01/26'].map(char => char.charCodeAt(0)));
    this.#rom.fix(RomOffset.MODEL, [0xfc, 0x00]);
    this.#rom.fix(RomOffset.CONFIG_TABLE, CONFIG_TABLE);
    this.#rom.fix(RomOffset.DISKETTE_TABLE, DISKETTE_TABLE);
    this.#rom.fix(RomOffset.IRET, IRET);
    const service = (vector: number, handler: TrapHandler, at?: number): void => {
      const offset = traps.interrupt(handler);
      if (at !== undefined) this.#jump(at, offset);
      this.setVector(vector, at ?? offset);
    };
    for (let vector = 0; vector < 0x20; vector++) this.setVector(vector, RomOffset.IRET);
    this.#interrupts();
    service(0x10, call => this.video.handle(call), RomOffset.INT10);
    service(0x11, call => this.#system.equipment(call), RomOffset.INT11);
    service(0x12, call => this.#system.memorySize(call), RomOffset.INT12);
    service(0x13, call => this.disks.handle(call), RomOffset.INT13);
    service(0x14, call => this.#system.serial(call), RomOffset.INT14);
    service(0x15, call => this.#system.misc(call), RomOffset.INT15);
    service(0x16, call => this.keyboard.handle(call), RomOffset.INT16);
    service(0x17, call => this.#system.printer(call), RomOffset.INT17);
    service(0x18, call => this.boot.proceed(call, this.#stop));
    service(0x19, call => this.boot.start(call, this.#stop), RomOffset.INT19);
    service(0x1a, call => this.#int1a(call), RomOffset.INT1A);
  }

  /** Handlers of the interrupt controllers' lines. */
  #interrupts(): void {
    const { traps } = this;
    const eoi = (both: boolean): number[] => [...PUSH_AX, ...MOV_AL(PIC_EOI), ...(both ? OUT(0xa0) : []), ...OUT(0x20), ...POP_AX, ...IRET];
    const first = traps.place(eoi(false));
    const second = traps.place(eoi(true));
    for (let line = 0; line < 8; line++) {
      this.setVector(FIRST_IRQ_VECTOR + line, first);
      this.setVector(SECOND_IRQ_VECTOR + line, second);
    }
    const timer = traps.place([...traps.onTrap(() => this.#tick()), ...INT(0x1c), ...eoi(false)]);
    this.#jump(RomOffset.INT08, timer);
    this.setVector(0x08, RomOffset.INT08);
    const keyboard = traps.place([
      ...PUSH_AX, ...IN(0x60), ...MOV_AH(0x4f), ...STC, ...INT(0x15), ...JNC(9),
      ...traps.onTrap(call => this.#keyPressed(call)), ...JNC(2), ...INT(0x1b),
      ...CLI, ...MOV_AL(PIC_EOI), ...OUT(0x20), ...POP_AX, ...IRET,
    ]);
    this.#jump(RomOffset.INT09, keyboard);
    this.setVector(0x09, RomOffset.INT09);
    const clock = traps.place([...traps.onTrap(call => this.#alarm(call)), ...JNC(2), ...INT(0x4a), ...eoi(true)]);
    this.setVector(0x70, clock);
    this.setVector(0x4a, RomOffset.IRET);
  }

  #jump(from: number, to: number): void {
    const distance = (to - from - 3) & 0xffff;
    this.#rom.fix(from, [0xe9, distance & 0xff, distance >> 8]);
  }

  /** The CPU came out of reset, or a program went to the reset vector by itself. */
  #post(call: FirmwareCall): void {
    if (this.#posted) {
      this.#machine.bus.portWrite(RESET_PORT, 1, RESET_PULSE);
      call.jump(this.#stop);
      return;
    }
    this.#posted = true;
    // What others have added to the ROM since the machine was built.
    const { phys, bytes } = this.#rom.contents;
    this.#machine.memory.write(phys, bytes);
    this.#initMemory();
    this.#initDevices();
    this.video.setMode(3);
    this.#time.init();
    this.disks.updateCounts();
    for (const hook of this.#onPost) hook();
    this.memory.setU16(Bda.BASE_MEMORY_KB, this.#lowEnd >>> 10);
    // By the vector, which a ROM may have taken.
    this.#roms.start(call, last => last.jump({ ...this.#bootstrap, bigReal: false }));
  }

  #initMemory(): void {
    const { memory } = this;
    memory.fill(0, 0, 0x400);
    memory.fill(BDA_START, 0, BDA_END - BDA_START);
    for (const [vector, offset] of this.#vectors) {
      memory.setU16(4 * vector, offset);
      memory.setU16(4 * vector + 2, ROM_SEGMENT);
    }
    const pointer = (vector: number, offset: number): void => {
      memory.setU16(4 * vector, offset);
      memory.setU16(4 * vector + 2, ROM_SEGMENT);
    };
    pointer(0x1d, 0xf0a4);
    pointer(0x1e, RomOffset.DISKETTE_TABLE);
    pointer(0x1f, 0xfa6e);
    pointer(0x43, 0xfa6e);
    memory.setU16(Bda.EBDA_SEGMENT, EBDA >>> 4);
    memory.setU8(EBDA, 1);
    this.#machine.serialPorts.forEach((port, n) => memory.setU16(Bda.SERIAL_PORTS + 2 * n, port));
    memory.setU16(Bda.EQUIPMENT, EQUIPMENT_80_COLUMNS | EQUIPMENT_FPU | (this.#machine.serialPorts.length << 9));
    memory.setU16(Bda.KEY_HEAD, Bda.KEY_BUFFER - BDA_START);
    memory.setU16(Bda.KEY_TAIL, Bda.KEY_BUFFER - BDA_START);
    memory.setU16(Bda.KEY_BUFFER_START_PTR, Bda.KEY_BUFFER - BDA_START);
    memory.setU16(Bda.KEY_BUFFER_END_PTR, Bda.KEY_BUFFER_END - BDA_START);
    memory.setU8(Bda.KEYBOARD_MODE, 0x10);
    memory.fill(Bda.PRINTER_TIMEOUTS, 0x14, 4);
    memory.fill(Bda.SERIAL_TIMEOUTS, 0x01, 4);
  }

  /** The timer at 18.2 ticks a second; interrupts of timer, keyboard and disks let through. */
  #initDevices(): void {
    const out = (port: number, ...values: number[]) => values.forEach(value => this.#machine.bus.portWrite(port, 1, value));
    out(0x43, 0x54);
    out(0x41, 0x12);
    out(0x43, 0x36);
    out(0x40, 0, 0);
    out(0x21, MASTER_MASK);
    out(0xa1, SLAVE_MASK);
  }

  #tick(): void {
    this.#time.tick();
    this.keyboard.pump();
  }

  #keyPressed(call: FirmwareCall): void {
    const action = this.keyboard.scanCode(call.al);
    if (action === 'reset') this.#machine.bus.portWrite(RESET_PORT, 1, RESET_PULSE);
    call.carry = action === 'break';
  }

  /** The clock's interrupt: carry for the alarm. */
  #alarm(call: FirmwareCall): void {
    const { rtc } = this.#machine;
    const flags = rtc.peek(0x0c) & rtc.peek(0x0b);
    rtc.write(0, 0x0c, 1);
    rtc.read(1, 1);
    call.carry = (flags & ALARM_FLAG) !== 0;
  }

  #int1a(call: FirmwareCall): void {
    if (this.#timeOfDay.some(handler => handler(call))) return;
    if (call.ah === 0xb1) return this.#pci.handle(call);
    if (this.#time.handle(call)) return;
    call.carry = true;
  }
}

// xor ax, ax; mov ss, ax; mov sp, 0x7c00
const XOR_AX_SS_7C00 = [0x31, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c];
const PUSHF = [0x9c];
/** The frame of an interrupt: flags, then twice a word that is replaced. */
const PUSH_CS = [0x0e, 0x0e];
const IRET = [0xcf];
const CLI = [0xfa];
const STC = [0xf9];
const PUSH_AX = [0x50];
const POP_AX = [0x58];
/** cli; hlt; and again should anything wake it. */
const STOP = [0xfa, 0xf4, 0xeb, 0xfc];
const INT = (vector: number): number[] => [0xcd, vector];
const IN = (port: number): number[] => [0xe4, port];
const OUT = (port: number): number[] => [0xe6, port];
const MOV_AL = (value: number): number[] => [0xb0, value];
const MOV_AH = (value: number): number[] => [0xb4, value];
const JNC = (bytes: number): number[] => [0x73, bytes];
