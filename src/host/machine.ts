import { VmletError } from '../errors.js';
import { CountingGuestLog } from '../logger.js';
import { SeededEntropy } from './backends/entropy.js';
import { type Hasher, Sha256 } from './backends/hash.js';
import { NodeWall, type Sleep, type WallClock } from './backends/wall.js';
import { PcBoard } from './board/pc.js';
import { type AcpiConfig, buildAcpiTables } from './boot/acpi-tables.js';
import { BootMemory } from './boot/boot-memory.js';
import { firmwareMemoryTypes } from './boot/cpu-setup.js';
import { FIRMWARE_ROM, PCI_HOLE, ROM_AREA, writeBiosData } from './boot/bios-area.js';
import { MIN_RAM_BYTES } from './boot/e820.js';
import { type Arch, type BootReport, loadRealMode } from './boot/linux.js';
import { firmwareFiles } from './boot/firmware-files.js';
import { bootKernel, type BootOptions, bootSector, type KernelBoot, type RomBoot, wantsFirmware } from './boot/load.js';
import { planRom } from './boot/rom.js';
import { buildSmbios, type SmbiosConfig, SMBIOS_START } from './boot/smbios.js';
import { VirtualClock } from './clock.js';
import { Core, type CoreHost, type EngineStats, Exit, MAX_RAM_BYTES } from './core.js';
import { Holds } from './holds.js';
import { cpuidTable } from './cpuid.js';
import { Firmware } from './firmware/bios.js';
import { SerialShare } from './firmware/serial-share.js';
import type { FwCfgFile } from './devices/fw-cfg.js';
import type { TextScreen } from './devices/vga.js';
import type { PacedMachine } from './pace.js';
import type { MachineExit, MachineOptions, ResetCause } from './machine-options.js';
import { clearWritten } from './memory.js';
import { cpuState, hashState } from './state-hash.js';

export type { MachineExit, MachineOptions, ResetCause };

type Verdict = Omit<MachineExit, 'instructions' | 'timeNs'>;

/** A fixed power-on date for runs that must be repeatable: 2026-01-01 00:00:00 UTC. */
export const DEFAULT_EPOCH_SECONDS = 1_767_225_600;

const GUEST_PAGE = 4096;
/** Instructions per call into the core: V8 optimises the interpreter only between calls. */
const SLICE = 200_000;
/** How long the host's event loop may wait for its turn. */
const TURN_MS = 8;
/** The same while something is open outside, such as a connection: it wants answers. */
const HELD_TURN_MS = 1;
const EFLAGS_IF = 0x200;
const NS_PER_MS = 1e6;
/** Shorter waits are no waits. */
const MIN_SLEEP_MS = 1;

/** One virtual PC: created, run to its end, thrown away. */
export class Machine {
  readonly core: Core;
  readonly board: PcBoard;
  readonly clock: VirtualClock;
  readonly guestLog: CountingGuestLog;
  /** The built-in BIOS, when the machine boots by it. */
  readonly firmware: Firmware | undefined;
  /** What the boot protocol chose. */
  boot!: BootReport;
  readonly #options: MachineOptions;
  readonly #wall: WallClock;
  readonly #arch: Arch;
  readonly #cpuEntropy: SeededEntropy;
  readonly #realtime: boolean;
  readonly #timeoutNs: number;
  /** Nanoseconds that idle CPUs jumped over. */
  #skippedNs = 0;
  /** Wall time at virtual time zero, in ms; moves when the machine pauses. */
  #anchorMs = 0;
  #verdict: Verdict | undefined;
  #resetRequest: ResetCause | undefined;
  #kernelRequest: Promise<KernelBoot> | undefined;
  #running = false;
  #paused = false;
  #yield = false;
  #woken = false;
  /** Halted with nothing pending, as far as it knows. */
  #halted = false;
  /** Waits for others to come as far. */
  #atLimit = false;
  readonly #paced: PacedMachine;
  readonly #holds = new Holds(() => this.wake());
  #sleep: Sleep | undefined;
  #resumed: (() => void) | undefined;
  #parked: (() => void)[] = [];

  /** Builds the machine and loads the guest. Throws VmletError when the guest cannot be loaded. */
  constructor(options: MachineOptions) {
    const { memoryBytes, seed = 0 } = options;
    if (options.cpus !== undefined && options.cpus !== 1) {
      throw new VmletError('ERR_VMLET_CONFIG', `${String(options.cpus)} CPUs: this version runs one`, { hint: 'use -p 1' });
    }
    if (!(memoryBytes >= MIN_RAM_BYTES && memoryBytes <= MAX_RAM_BYTES) || memoryBytes % GUEST_PAGE !== 0) {
      throw new VmletError('ERR_VMLET_MEMORY', `${memoryBytes} bytes of memory: a machine has 1 MB to 3 GB, in pages of ${GUEST_PAGE} bytes`, { hint: 'for instance -m 256M' });
    }
    this.#options = options;
    this.#arch = options.arch ?? 'x86_64';
    this.#wall = options.wall ?? new NodeWall();
    this.#realtime = options.time === 'realtime';
    this.#timeoutNs = Math.floor(options.timeoutNs ?? Infinity);
    this.guestLog = new CountingGuestLog(options.onGuestLog);
    this.#cpuEntropy = new SeededEntropy(seed, 'cpu');
    this.core = Core.create(options.core, memoryBytes, this.#coreHost(), options.engine);
    this.clock = options.clock ?? new VirtualClock();
    this.clock.source = () => this.nowNs;
    this.clock.onArm = atNs => this.#timerArmed(atNs);
    this.clock.onPass = ns => this.#pass(ns);
    const { serial = [], disks = [], rng, nics = [] } = options;
    const isFirmware = wantsFirmware(options.boot);
    const share = isFirmware && serial.length > 0 ? new SerialShare(serial[0]) : undefined;
    this.board = new PcBoard({
      clock: this.clock,
      memory: this.core.dma,
      log: this.guestLog,
      ramBytes: memoryBytes,
      cpus: 1,
      epochSeconds: options.epochSeconds ?? (this.#realtime ? this.#wall.epochSeconds() : DEFAULT_EPOCH_SECONDS),
      serial: share === undefined ? serial : [share, ...serial.slice(1)],
      onSerialSetup: share === undefined ? undefined : () => share.claim(),
      disks,
      ideDisks: options.ideDisks,
      cdroms: options.cdroms,
      floppies: options.floppies,
      bootOrder: options.boot.kind === 'rom' || options.boot.kind === 'firmware' ? options.boot.order : undefined,
      firmwareFiles: options.boot.kind === 'rom' ? acpi => this.#firmwareFiles(options.boot as RomBoot, acpi) : undefined,
      console: options.console ?? [],
      rng: rng === true ? new SeededEntropy(seed, 'virtio-rng') : rng === false ? undefined : rng,
      nics,
      debugExitPort: options.debugExitPort,
      debugconPort: options.debugconPort,
      debugcon: options.debugcon,
      pins: {
        setIntr: (cpu, level) => {
          this.core.setIntr(cpu, level);
          if (level) this.wake();
        },
        nmi: cpu => {
          this.core.nmi(cpu);
          this.wake();
        },
        init: cpu => this.core.init(cpu),
        sipi: () => {},
        setA20: enabled => this.core.setA20(0, enabled),
        shadow: (start, length, writable) => this.core.protectRom(start, length, !writable),
      },
      tscToNs: (cpu, tsc) => tsc - this.#tscAhead(cpu),
      nsToTsc: (cpu, ns) => ns + this.#tscAhead(cpu),
      onPowerOff: () => this.#end({ reason: 'poweroff' }),
      onReset: cause => this.#requestReset(cause),
      onDebugExit: code => this.#end({ reason: 'debug-exit', code }),
    });
    if (isFirmware) {
      this.firmware = this.#createFirmware(options.boot.kind === 'firmware' ? options.boot.order : [], share);
      options.onFirmware?.(this.firmware, this);
    }
    this.#paced = this.#pacedMachine();
    this.#load(options.boot);
  }

  #pacedMachine(): PacedMachine {
    const nextNs = (): number => {
      const idle = this.#halted && !this.#woken && this.#verdict === undefined && this.#resetRequest === undefined;
      return idle ? Math.max(Math.min(this.clock.deadline, this.#options.timeoutNs ?? Infinity), this.nowNs) : this.nowNs;
    };
    const nowNs = (): number => this.nowNs;
    return {
      get nowNs() {
        return nowNs();
      },
      get nextNs() {
        return nextNs();
      },
      skipTo: atNs => this.#skipTo(atNs),
      limit: atNs => this.core.shorten(0, Math.max(0, atNs - this.nowNs)),
    };
  }

  /** Instructions executed since power-on. */
  get instructions(): number {
    return this.core.instructions(0);
  }

  /** Virtual time since power-on: one nanosecond an instruction, and what idling skipped. */
  get nowNs(): number {
    return this.core.instructions(0) + this.#skippedNs;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** Runs until the machine ends. The signal stops it at the next instruction boundary. One call a machine. */
  async run(signal?: AbortSignal): Promise<MachineExit> {
    if (this.#running) throw new VmletError('ERR_VMLET_STATE', 'the machine is running already');
    this.#running = true;
    const onAbort = () => this.stop();
    if (signal?.aborted) this.stop();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      this.#anchorMs = this.#wall.now() - this.nowNs / NS_PER_MS;
      const verdict = await this.#loop();
      return { ...verdict, instructions: this.instructions, timeNs: this.nowNs };
    } catch (error) {
      return { reason: 'host-error', error, instructions: this.instructions, timeNs: this.nowNs };
    } finally {
      signal?.removeEventListener('abort', onAbort);
      this.#running = false;
      this.#options.pace?.ended();
      this.#park();
    }
  }

  /** Ends the run with the reason `stopped`. */
  stop(): void {
    this.#end({ reason: 'stopped' });
  }

  /** Stops time; resolves when the machine stands still. */
  pause(): Promise<void> {
    if (!this.#running || this.#verdict !== undefined) return Promise.resolve();
    this.#paused = true;
    this.#interrupt();
    if (this.#resumed !== undefined || this.#atLimit) return Promise.resolve();
    return new Promise(resolve => this.#parked.push(resolve));
  }

  resume(): void {
    this.#paused = false;
    this.#resumed?.();
    this.#park();
  }

  /** Starts a kernel in the place of what runs now, as its loader would, on a machine as after power-on. Time goes on. A later reset boots as ever. */
  startKernel(boot: Promise<KernelBoot>): void {
    boot.catch(() => {});
    this.#kernelRequest = boot;
    this.#interrupt();
  }

  /** What the display adapter shows; undefined in a graphics mode. */
  screen(): TextScreen | undefined {
    return this.board.vga.screen;
  }

  /** Keys go down and up on the PS/2 keyboard: bytes of scan code set 2. */
  sendScancodes(bytes: readonly number[]): void {
    this.board.keyboard.sendScancodes(bytes);
    this.wake();
  }

  /** Whether the guest has taken all that the keyboard sent. */
  keyboardTaken(): boolean {
    return this.board.keyboard.idle;
  }

  /** Presses the ACPI power button. */
  powerButton(): void {
    this.board.powerButton();
    this.wake();
  }

  /** Plugs the cable of a network card in or pulls it out. */
  setLink(nic: number, up: boolean): void {
    this.board.nics[nic]?.setLink(up);
    this.wake();
  }

  /** Ends an idle sleep: something outside changed. Devices that raise an interrupt or arm a timer do it by themselves. */
  wake(): void {
    this.#woken = true;
    this.#sleep?.cancel();
    this.#options.pace?.woken();
  }

  /** Gives the event loop a turn right behind the current instruction, so that host code answers the guest at a repeatable moment. */
  requestYield(): void {
    this.#yield = true;
    this.core.shorten(0, 0);
  }

  /** While held, an idle machine waits by the wall clock even in warp, as input from outside may come. Returns the release. */
  hold(): () => void {
    return this.#options.pace?.hold() ?? this.#holds.take();
  }

  get #isHeld(): boolean {
    return this.#holds.any || this.#options.pace?.held === true;
  }

  /** SHA-256 over the state of CPU, memory and devices; equal for equal runs. For a machine that stands still. */
  stateHash(hasher: Hasher = new Sha256()): string {
    return hashState(
      {
        instructions: this.instructions,
        nowNs: this.nowNs,
        cpus: [this.core.cpu(0)],
        ram: this.core.ram,
        devices: [...this.board.devices.map(device => [device.name, device.save()] as const), ['cpu-entropy', this.#cpuEntropy.save()] as const],
      },
      hasher,
    );
  }

  /** What ran the instructions so far. */
  engineStats(): EngineStats {
    return this.core.engineStats(0);
  }

  /** The registers of a CPU by name, for dumps. */
  registers(cpu = 0): Record<string, unknown> {
    return cpuState(this.core.cpu(cpu));
  }

  async #loop(): Promise<Verdict> {
    let turnMs = this.#wall.now();
    const timeoutNs = this.#timeoutNs;
    for (;;) {
      if (this.#kernelRequest !== undefined) {
        // Time stands still until the kernel is ready.
        const boot = await this.#kernelRequest;
        this.#kernelRequest = undefined;
        if (this.#verdict === undefined) this.#reset(boot);
      } else if (this.#resetRequest !== undefined) this.#reset(this.#options.boot);
      if (this.#verdict !== undefined) return this.#verdict;
      if (this.#paused) await this.#standStill();
      else {
        const now = this.nowNs;
        const deadline = this.clock.deadline;
        if (deadline <= now) {
          this.clock.fire(now);
          continue;
        }
        if (now >= timeoutNs) return { reason: 'timeout' };
        const limit = this.#options.pace?.limitNs ?? Infinity;
        if (now >= limit) {
          await this.#waitForOthers();
          continue;
        }
        const budget = Math.min(SLICE, deadline - now, timeoutNs - now, limit - now);
        this.#woken = false;
        const exit = this.core.run(0, budget);
        this.#halted = exit === Exit.HALT;
        if (exit === Exit.SHUTDOWN) this.#requestReset('triple-fault');
        else if (exit === Exit.HALT && !this.#yield && this.#verdict === undefined && this.#resetRequest === undefined && this.firmware?.unblock() !== true) {
          const verdict = await this.#idle(timeoutNs);
          if (verdict !== undefined) return verdict;
        }
      }
      if (this.#yield || this.#wall.now() - turnMs >= (this.#isHeld ? HELD_TURN_MS : TURN_MS)) {
        this.#yield = false;
        await this.#wall.turn();
        const slow = this.#options.throttle?.();
        if (slow !== undefined) await slow;
        turnMs = this.#wall.now();
      }
    }
  }

  async #waitForOthers(): Promise<void> {
    this.#atLimit = true;
    await this.#options.pace!.reached(this.#paced);
    this.#atLimit = false;
  }

  /** The CPU is halted and no interrupt is pending. */
  async #idle(timeoutNs: number): Promise<Verdict | undefined> {
    if ((this.core.cpu(0).get32('eflags') & EFLAGS_IF) === 0) return { reason: 'halted' };
    const { pace } = this.#options;
    if (pace !== undefined) {
      await this.#waitForOthers();
      return undefined;
    }
    const next = Math.min(this.clock.deadline, timeoutNs);
    if (!this.#realtime && !this.#holds.any && next !== Infinity) {
      this.#skipTo(next);
      return undefined;
    }
    const slow = this.#options.throttle?.();
    if (slow !== undefined) await slow;
    const startMs = this.#wall.now();
    const startNs = this.nowNs;
    // A warping machine has no fixed relation to the wall clock: what it sleeps counts from here.
    const anchorMs = this.#realtime ? this.#anchorMs : startMs - startNs / NS_PER_MS;
    const waitMs = anchorMs + next / NS_PER_MS - startMs;
    if (!this.#realtime && waitMs < MIN_SLEEP_MS) {
      // Timers of the host are too coarse for what a wire takes.
      await this.#wall.turn();
      if (!this.#paused) this.#skipTo(next);
      return undefined;
    }
    await this.#sleepMs(waitMs);
    if (this.#paused) return undefined;
    const wallNs = Math.floor((this.#wall.now() - anchorMs) * NS_PER_MS);
    this.#skipTo(Math.max(this.nowNs, this.#woken ? Math.min(wallNs, timeoutNs) : Math.max(next, wallNs)));
    return undefined;
  }

  async #sleepMs(ms: number): Promise<void> {
    if (ms <= 0 || this.#woken) return;
    this.#sleep = this.#wall.sleep(ms);
    await this.#sleep.done;
    this.#sleep = undefined;
  }

  /** Moves virtual time forward; the CPU's time stamp counter goes with it. */
  #skipTo(atNs: number): void {
    const ns = Math.min(atNs, Number.MAX_SAFE_INTEGER) - this.nowNs;
    if (!(ns > 0)) return;
    this.#skippedNs += ns;
    const cpu = this.core.cpu(0);
    cpu.set64('tscOffset', cpu.get64('tscOffset') + BigInt(ns));
  }

  /** Time that the instruction in flight takes, or that its delay loop would spend; up to the next timer. Like idle time it is skipped in warp only. */
  #pass(ns: number): void {
    if (this.#realtime || this.#holds.any) return;
    const end = Math.min(this.clock.deadline, this.#timeoutNs) - 1; // the instruction in flight takes the last one
    this.#skipTo(Math.min(this.nowNs + ns, end));
    this.core.shorten(0, end - this.nowNs);
  }

  async #standStill(): Promise<void> {
    const startMs = this.#wall.now();
    const resumed = new Promise<void>(resolve => {
      this.#resumed = resolve;
    });
    this.#park();
    const sleep = this.#wall.sleep(Infinity);
    await resumed;
    sleep.cancel();
    this.#resumed = undefined;
    this.#anchorMs += this.#wall.now() - startMs;
  }

  #park(): void {
    for (const resolve of this.#parked.splice(0)) resolve();
  }

  #interrupt(): void {
    this.core.shorten(0, 0);
    this.wake();
  }

  /** The first verdict counts; the CPU stops behind the instruction in flight. */
  #end(verdict: Verdict): void {
    this.#verdict ??= verdict;
    this.#interrupt();
    this.#resumed?.();
    this.#options.pace?.release();
  }

  #requestReset(cause: ResetCause): void {
    if (this.#options.rebootAction !== 'reset') this.#end({ reason: 'reset', cause });
    else {
      this.#resetRequest = cause;
      this.#interrupt();
    }
  }

  #reset(boot: BootOptions): void {
    this.#resetRequest = undefined;
    clearWritten(this.core.ram);
    this.#load(boot);
  }

  #timerArmed(atNs: number): void {
    if (this.#sleep !== undefined) this.wake();
    else this.core.shorten(0, atNs - this.nowNs);
  }

  /** How far a CPU's time stamp counter is ahead of virtual time: the one is instructions + tscOffset, the other instructions + skipped. */
  #tscAhead(cpu: number): number {
    return Number(BigInt.asIntN(64, this.core.cpu(cpu).get64('tscOffset'))) - this.#skippedNs;
  }

  /** Power-on: firmware's work, then the guest's image. */
  #load(boot: BootOptions): void {
    const cpu = this.core.cpu(0);
    this.core.reset(0);
    this.core.setA20(0, true);
    cpu.set64('tscOffset', BigInt(this.#skippedNs));
    cpu.setCpuid(this.#cpuid());
    this.board.reset();
    const memory = new BootMemory(this.core.ram);
    this.core.protectRom(ROM_AREA.start, ROM_AREA.length, false);
    if (boot.kind === 'rom') {
      this.boot = this.#loadRom(memory, boot.image, boot.name);
    } else {
      this.board.firmwareInit();
      firmwareMemoryTypes(cpu, PCI_HOLE);
      const rsdp = this.#writeFirmwareTables(memory);
      if (boot.kind === 'firmware' || wantsFirmware(boot)) this.boot = this.#startFirmware(memory, boot);
      else this.boot = boot.kind === 'sector' ? bootSector(memory, cpu, boot) : bootKernel(memory, cpu, boot, { rsdp, arch: this.#arch });
    }
    this.core.updateMode(0);
    this.core.flush(0);
  }

  #cpuid(): ReturnType<typeof cpuidTable> {
    return cpuidTable({ arch: this.#arch, cpus: 1, profile: this.#options.cpu });
  }

  #loadRom(memory: BootMemory, image: Uint8Array, name?: string): BootReport {
    const plan = planRom(image, name);
    this.core.mapRom(image);
    memory.write(plan.shadow.phys, plan.shadow.bytes);
    const start = Math.floor(plan.shadow.phys / GUEST_PAGE) * GUEST_PAGE;
    this.core.protectRom(start, 0x10_0000 - start);
    return { protocol: 'rom', entry: 0xffff_fff0 };
  }

  /** What a firmware in a ROM learns of the machine. */
  #firmwareFiles(boot: RomBoot, acpi: AcpiConfig): FwCfgFile[] {
    const { memoryBytes, serial = [] } = this.#options;
    return firmwareFiles({ acpi, smbios: this.#smbios(), ramBytes: memoryBytes, vgaRom: boot.vgaRom, serialConsole: serial.length > 0 });
  }

  #smbios(): SmbiosConfig {
    return { ramBytes: this.#options.memoryBytes, cpus: 1, cpuName: 'vmlet virtual CPU' };
  }

  #createFirmware(order: readonly string[], serial: SerialShare | undefined): Firmware {
    const { board, clock, guestLog: log } = this;
    const { memoryBytes, disks = [], ideDisks = [], floppies, cdroms } = this.#options;
    const firmware = new Firmware(
      {
        cpu: this.core.cpu(0),
        memory: this.core.dma,
        bus: board.bus,
        clock,
        log,
        vga: board.vga,
        rtc: board.rtc,
        serial,
        serialPorts: board.serialPorts,
        ramBytes: memoryBytes,
        protect: (start, length) => this.core.protectRom(start, length),
        wake: () => this.wake(),
      },
      { order, disks: [...ideDisks, ...disks], floppies, cdroms },
    );
    board.attachFirmware(firmware.device);
    return firmware;
  }

  #startFirmware(memory: BootMemory, boot: BootOptions): BootReport {
    const { position } = this.firmware!.boot;
    this.firmware!.start(this.core.ram);
    this.core.protectRom(FIRMWARE_ROM.start, FIRMWARE_ROM.length);
    if (boot.kind === 'kernel' || boot.kind === 'linux') {
      const { segment, setup, sp } = loadRealMode(memory, boot);
      const name = boot.name ?? 'the kernel';
      this.firmware!.boot.startWith({ name: 'kernel', title: name, boot: () => ({ segment, offset: 0, ds: setup, es: setup, ss: setup, sp }) }, position);
      return { protocol: 'linux-real', entry: segment * 16 };
    }
    return { protocol: 'firmware', entry: FIRMWARE_ROM.start };
  }

  /** ACPI, SMBIOS and the BIOS data area; returns the ACPI root pointer. */
  #writeFirmwareTables(memory: BootMemory): number {
    const acpi = buildAcpiTables(this.board.acpi);
    memory.write(acpi.start, acpi.bytes);
    memory.write(SMBIOS_START, buildSmbios(this.#smbios()));
    writeBiosData(memory, this.board.serialPorts);
    return acpi.rsdp;
  }

  #coreHost(): CoreHost {
    const word = new Uint8Array(4);
    const view = new DataView(word.buffer);
    return {
      portRead: (_cpu, port, size) => this.board.bus.portRead(port, size),
      portWrite: (_cpu, port, size, value) => this.board.bus.portWrite(port, size, value),
      mmioRead: (cpu, phys, size) => this.board.mmioRead(cpu, phys, size),
      mmioWrite: (cpu, phys, size, value) => this.board.mmioWrite(cpu, phys, size, value),
      interruptAck: cpu => this.board.acknowledge(cpu),
      msrRead: (cpu, msr) => this.board.msrRead(cpu, msr),
      msrWrite: (cpu, msr, lo, hi) => this.board.msrWrite(cpu, msr, lo, hi),
      tprRead: cpu => this.board.lapics[cpu].tpr,
      tprWrite: (cpu, value) => {
        this.board.lapics[cpu].tpr = value;
      },
      ferr: () => this.board.coprocessorError.raise(),
      pause: (_cpu, ns) => this.#pass(ns),
      entropy: () => {
        this.#cpuEntropy.fill(word);
        return view.getInt32(0, true);
      },
    };
  }
}

