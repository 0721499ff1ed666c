import { checkOptions, configError, type Duration, formatNs, parseDuration, type VMConfig, type VMOptions } from './config.js';
import { VmletError } from './errors.js';
import { BufferedChar } from './host/backends/char.js';
import { type Clock, VirtualClock } from './host/clock.js';
import type { EngineStats } from './host/core.js';
import type { JitOptions } from './host/jit-linker.js';
import type { Machine, MachineExit, MachineOptions } from './host/machine.js';
import type { Pace } from './host/pace.js';
import { Agent, type RunRequest } from './vm-agent.js';
import { loadCore } from './vm-core.js';
import { allDrives, openDisks, type OpenDrives, prepareGuest, type PreparedGuest } from './vm-guest.js';
import type { MachineNetboot } from './vm-netboot.js';
import type { MachineNetwork, VirtualNetwork } from './vm-network.js';
import { CommandExitError, GuestProcess, type RunResult } from './vm-process.js';
import { Keyboard } from './vm-keyboard.js';
import { Screen } from './vm-screen.js';
import { SerialConsole } from './vm-serial.js';
import { VMTimers } from './vm-timers.js';
import { type Ending, GuestWatch, type Stage, type VMExit } from './vm-verdict.js';
import { connectNetwork, prepareNetboot } from './vm-wires.js';

export type { EngineStats };

/** What a VM needs of its machine. */
export type MachineLike = Pick<
  Machine,
  'run' | 'stop' | 'pause' | 'resume' | 'powerButton' | 'requestYield' | 'hold' | 'stateHash' | 'registers' | 'instructions' | 'nowNs'
> &
  Partial<Pick<Machine, 'engineStats' | 'setLink' | 'screen' | 'sendScancodes' | 'keyboardTaken'>> & { readonly clock: Clock };

/** For tests of what is above the machine. @internal */
export interface VMInternals {
  createMachine?: (options: MachineOptions) => MachineLike | Promise<MachineLike>;
  prepare?: (config: VMConfig, options: VMOptions) => Promise<PreparedGuest>;
  core?: () => Promise<WebAssembly.Module>;
  /** The machine is one of several that go through time together. */
  lab?: LabPlace;
}

/** What a lab has to do with one of its machines. */
export interface LabPlace {
  readonly name: string;
  readonly clock: VirtualClock;
  readonly pace: Pace;
  /** Called once with what starts and stops the machine; returns what is to be called when `busy` or `paused` changed. */
  join(member: LabMember): () => void;
}

export interface LabMember {
  /** Whether something of the machine is awaited. */
  readonly busy: boolean;
  readonly paused: boolean;
  readonly alive: boolean;
  run(): void;
  halt(): void;
}

export interface SpawnOptions {
  env?: Readonly<Record<string, string>>;
  /** Working folder in the guest; `/` by default. */
  cwd?: string;
  /** NAME, UID or UID:GID; root by default. */
  user?: string;
  /** Gives the command a terminal: its output is all `stdout`. */
  tty?: boolean | { columns: number; rows: number };
  /** Whether it has a standard input; true by default. */
  stdin?: boolean;
}

export interface RunOptions extends Omit<SpawnOptions, 'stdin'> {
  /** Whether an exit code other than 0 throws CommandExitError; true by default. */
  check?: boolean;
  /** Standard input. */
  input?: string | Uint8Array;
  /** In virtual time; the command is killed and ERR_VMLET_TIMEOUT thrown. */
  timeout?: Duration;
  /** Kills the command and throws ERR_VMLET_ABORTED. */
  signal?: AbortSignal;
}

const GUEST_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const STOP_NS = 10e9;

const dumpOptions = async ({ dumpRegions }: VMConfig): Promise<JitOptions | undefined> => {
  if (dumpRegions === undefined) return undefined;
  const dump = new (await import('./vm-dump.js')).RegionDump(dumpRegions);
  return { onModule: module => dump.add(module) };
};

const createMachine = async (options: MachineOptions): Promise<MachineLike> => new (await import('./host/machine.js')).Machine(options);

/**
 * A virtual machine. Unless its time is `realtime` it runs only while something of it is awaited: between `await`s it stands still,
 * so that what a program does to it always happens at the same instruction.
 */
export class VM implements AsyncDisposable {
  /** The first serial line. */
  readonly serial: SerialConsole;
  /** The VGA text screen. */
  readonly screen: Screen;
  /** The PS/2 keyboard. */
  readonly keyboard: Keyboard;
  /** Bytes written to the debug console port, if there is one. */
  readonly debugcon: BufferedChar;
  /** Resolves when the machine has ended; never rejects. Awaiting it alone does not make time pass: `wait` does. */
  readonly exited: Promise<VMExit>;
  /** What the guest was started from. */
  readonly guest: PreparedGuest;
  readonly config: VMConfig;
  /** What happened while the machine booted from the network, if it did. */
  readonly netboot: MachineNetboot | undefined;
  readonly #machine: MachineLike;
  readonly #agent: Agent | undefined;
  readonly #drives: OpenDrives;
  readonly #watch: GuestWatch;
  readonly #wires: MachineNetwork | undefined;
  #releaseOutside: (() => void) | undefined;
  readonly #labChanged: (() => void) | undefined;
  readonly #processes = new Set<GuestProcess>();
  readonly #readyWaiters = new Set<() => void>();
  #wallTimer: NodeJS.Timeout | undefined;
  #busy = 0;
  #userPaused = false;
  #ending: Ending | undefined;
  #exit: VMExit | undefined;
  #resolveExit!: (exit: VMExit) => void;
  #started = false;
  readonly #startedMs = performance.now();
  readonly #timers: VMTimers;

  /** Makes a machine ready: fetches the image if need be, reads and checks all files, loads the guest. Throws VmletError. */
  static async start(options: VMOptions = {}, internals: VMInternals = {}): Promise<VM> {
    const config = checkOptions(options);
    const { signal } = options;
    if (signal?.aborted) throw aborted(signal);
    // Loading the core and the code goes on while files are read.
    const core = (internals.core ?? loadCore)();
    core.catch(() => {});
    if (internals.createMachine === undefined) void import('./host/machine.js').catch(() => {});
    const guest = await (internals.prepare ?? prepareGuest)(config, options);
    const module = await core;
    if (signal?.aborted) throw aborted(signal);
    const drives = openDisks(config);
    let wires: MachineNetwork | undefined;
    let netboot: MachineNetboot | undefined;
    try {
      const clock = internals.lab?.clock ?? new VirtualClock();
      netboot = await prepareNetboot(config, options, clock, guest);
      wires = config.nics.length > 0 ? await connectNetwork(config, options, clock, netboot, internals.lab?.name) : undefined;
      if (netboot !== undefined) netboot.connect(wires!.network, wires!.cards[0]);
      return await VM.#assemble(config, options, guest, drives, module, internals.createMachine ?? createMachine, clock, wires, netboot, internals.lab);
    } catch (error) {
      for (const drive of allDrives(drives)) drive.close();
      wires?.close();
      throw error;
    }
  }

  static async #assemble(
    config: VMConfig,
    options: VMOptions,
    guest: PreparedGuest,
    drives: OpenDrives,
    core: WebAssembly.Module,
    create: (options: MachineOptions) => MachineLike | Promise<MachineLike>,
    clock: VirtualClock,
    wires: MachineNetwork | undefined,
    netboot: MachineNetboot | undefined,
    lab: LabPlace | undefined,
  ): Promise<VM> {
    const agent = config.agent ? new Agent() : undefined;
    const serial = new SerialConsole();
    const debugcon = new BufferedChar();
    const machine = await create({
      core,
      memoryBytes: config.memoryBytes,
      arch: guest.arch,
      cpu: config.cpu,
      seed: config.seed,
      engine: { kind: config.engine, jit: await dumpOptions(config) },
      time: config.time,
      epochSeconds: config.epochSeconds,
      boot: guest.boot,
      serial: [serial.backend],
      ...drives,
      console: agent ? [agent.port] : undefined,
      rng: true,
      clock,
      pace: lab?.pace,
      nics: wires?.cards,
      onFirmware: netboot === undefined ? undefined : (firmware, machine) => netboot.install(firmware, machine),
      debugExitPort: config.debugExit,
      debugconPort: config.debugcon,
      debugcon: config.debugcon === undefined ? undefined : debugcon,
      rebootAction: config.onReset === 'reboot' ? 'reset' : 'exit',
      timeoutNs: config.timeoutNs,
      onGuestLog: options.onGuestLog,
      throttle: options.throttle,
    });
    return new VM(config, options, guest, drives, agent, machine, serial, debugcon, wires, netboot, lab);
  }

  private constructor(
    config: VMConfig,
    options: VMOptions,
    guest: PreparedGuest,
    drives: OpenDrives,
    agent: Agent | undefined,
    machine: MachineLike,
    serial: SerialConsole,
    debugcon: BufferedChar,
    wires: MachineNetwork | undefined,
    netboot: MachineNetboot | undefined,
    lab: LabPlace | undefined,
  ) {
    this.netboot = netboot;
    this.config = config;
    this.guest = guest;
    this.serial = serial;
    this.debugcon = debugcon;
    this.#drives = drives;
    this.#agent = agent;
    this.#machine = machine;
    this.#timers = new VMTimers(machine.clock);
    this.#wires = wires;
    this.#labChanged = lab?.join(this.#asMember());
    // While something is open outside, an idle guest waits in real time for what may come.
    if (wires !== undefined) wires.onOutside = busy => this.#outside(busy);
    this.#watch = new GuestWatch();
    this.#watch.onPanic = immediate => this.#panicked(immediate);
    serial.onText = text => this.#watch.serialText(text);
    serial.connect({
      clock: machine.clock,
      busy: () => this.#hold(),
      matched: () => machine.requestYield(),
      after: (ns, callback) => this.#timers.after(ns, callback),
      ended: () => (this.#exit === undefined ? undefined : this.#goneError()),
    });
    const ended = () => (this.#exit === undefined ? undefined : this.#goneError());
    this.screen = new Screen({ screen: () => machine.screen?.(), busy: () => this.#hold(), after: (ns, callback) => this.#timers.after(ns, callback), ended });
    this.keyboard = new Keyboard({
      clock: machine.clock,
      send: bytes => machine.sendScancodes?.(bytes),
      taken: () => machine.keyboardTaken?.() ?? true,
      busy: () => this.#hold(),
    });
    if (agent) {
      agent.onReady = () => {
        this.#watch.reach('agent');
        for (const wake of this.#readyWaiters) wake();
      };
      agent.onMessage = () => machine.requestYield();
      agent.onBroken = error => this.#end({ reason: 'host-error', error });
    }
    if (config.wallTimeoutMs !== undefined) {
      this.#wallTimer = setTimeout(() => this.#end({ reason: 'timeout', wall: true }), Math.min(config.wallTimeoutMs, 0x7fff_ffff));
    }
    const { signal } = options;
    const onAbort = () => this.#end({ reason: 'stopped', error: aborted(signal!) });
    signal?.addEventListener('abort', onAbort, { once: true });
    this.exited = new Promise(resolve => {
      this.#resolveExit = exit => {
        signal?.removeEventListener('abort', onAbort);
        resolve(exit);
      };
    });
    if (signal?.aborted) onAbort();
    this.#gate();
  }

  /** Virtual time since power-on, in ns. */
  get now(): number {
    return this.#machine.nowNs;
  }

  /** Instructions executed since power-on. */
  get instructions(): number {
    return this.#machine.instructions;
  }

  /** The machine's own network: its switch, gateway and DHCP server; undefined without `net`. */
  get network(): VirtualNetwork | undefined {
    return this.#wires?.network;
  }

  /** A network card of the machine. Throws ERR_VMLET_CONFIG when there is none with this number. */
  nic(index: number): { readonly mac: string; plug(): void; unplug(): void } {
    const card = this.#wires?.cards[index];
    if (card === undefined) throw configError(`this VM has no network card ${index}`);
    const link = (up: boolean): void => this.#machine.setLink?.(index, up);
    return { mac: Array.from(card.mac, octet => octet.toString(16).padStart(2, '0')).join(':'), plug: () => link(true), unplug: () => link(false) };
  }

  /** How far the guest has come. */
  get stage(): Stage {
    return this.#watch.stage;
  }

  /** Whether the machine has not ended. */
  get alive(): boolean {
    return this.#exit === undefined && this.#ending === undefined;
  }

  /** Resolves when commands can be run; rejects when the machine ends before. */
  async ready(): Promise<void> {
    const agent = this.#needAgent();
    const release = this.#hold();
    try {
      while (!agent.ready) {
        if (this.#exit !== undefined) throw this.#goneError();
        await new Promise<void>(resolve => this.#readyWaiters.add(resolve));
      }
    } finally {
      this.#readyWaiters.clear();
      release();
    }
  }

  /** Starts a command. A text is given to the guest's shell. It may be called at once: the guest takes it when it is up. */
  spawn(command: string | readonly string[], options: SpawnOptions = {}): GuestProcess {
    const agent = this.#needAgent();
    if (!this.alive) throw this.#goneError();
    const argv = typeof command === 'string' ? ['/bin/sh', '-c', command] : [...command];
    const { tty } = options;
    const size = tty === true ? { columns: 80, rows: 24 } : tty === false ? undefined : tty;
    const request: RunRequest = {
      argv,
      env: { PATH: GUEST_PATH, ...(size ? { TERM: 'linux' } : {}), ...checkEnv(options.env) },
      cwd: options.cwd ?? '/',
      user: options.user ?? '',
      stdin: options.stdin ?? true,
      tty: size,
    };
    const process = new GuestProcess(argv, () => this.now);
    process.connect(agent.run(request, process.events));
    process.started.then(() => this.#watch.reach('command'), () => {});
    this.#processes.add(process);
    const release = this.#hold();
    process.onEnd = () => {
      this.#processes.delete(process);
      release();
    };
    return process;
  }

  /** Runs a command to its end. A text is given to the guest's shell. */
  async run(command: string | readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const { check = true, input, timeout, signal, ...rest } = options;
    if (signal?.aborted) throw aborted(signal);
    const timeoutNs = timeout === undefined ? undefined : parseDuration(timeout, 'timeout');
    const process = this.spawn(command, { ...rest, stdin: input !== undefined });
    if (input !== undefined) process.stdin.end(input);
    const release = this.#hold();
    const undo: (() => void)[] = [];
    try {
      const cut = new Promise<never>((_, reject) => {
        const kill = (error: VmletError) => {
          process.kill('SIGKILL');
          reject(error);
        };
        if (timeoutNs !== undefined) {
          undo.push(this.#timers.after(timeoutNs, () => kill(new VmletError('ERR_VMLET_TIMEOUT', `'${process.argv.join(' ')}' has not ended in ${formatNs(timeoutNs)} of guest time`))));
        }
        if (signal) {
          const onAbort = () => kill(aborted(signal));
          signal.addEventListener('abort', onAbort, { once: true });
          undo.push(() => signal.removeEventListener('abort', onAbort));
        }
      });
      cut.catch(() => {});
      const all = Promise.all([process.wait(), process.stdout.bytes(), process.stderr.bytes()]);
      all.catch(() => {});
      const [status, stdoutBytes, stderrBytes] = await Promise.race([all, cut]);
      const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
      const result = { ...status, stdout: decode(stdoutBytes), stderr: decode(stderrBytes), stdoutBytes, stderrBytes };
      if (check && status.exitCode !== 0) throw new CommandExitError(process.argv, result, failureText(process, result));
      return result;
    } finally {
      for (const step of undo) step();
      release();
    }
  }

  /** Lets the machine run until it ends, by itself or by `stop`. */
  async wait(): Promise<VMExit> {
    const release = this.#hold();
    try {
      return await this.exited;
    } finally {
      release();
    }
  }

  /** Ends the machine at once, as pulling the plug does. */
  async stop(): Promise<VMExit> {
    this.#end({ reason: 'stopped' });
    return this.exited;
  }

  /**
   * Asks the guest to power off, by its agent or else by the power button, and ends the machine when it has not done so in
   * `timeout` of virtual time (10 s).
   */
  async shutdown(timeout?: Duration): Promise<VMExit> {
    if (!this.alive) return this.exited;
    if (this.#agent?.ready) this.#agent.shutdown();
    else this.powerButton();
    const cancel = this.#timers.after(timeout === undefined ? STOP_NS : parseDuration(timeout, 'timeout'), () => this.#end({ reason: 'stopped' }));
    try {
      return await this.wait();
    } finally {
      cancel();
    }
  }

  /** Presses the ACPI power button. */
  powerButton(): void {
    if (this.alive) this.#machine.powerButton();
  }

  /** Stops time until `resume`; resolves when the machine stands still. */
  async pause(): Promise<void> {
    this.#userPaused = true;
    this.#labChanged?.();
    if (this.#started) await this.#machine.pause();
  }

  resume(): void {
    this.#userPaused = false;
    this.#gate();
  }

  /** SHA-256 over the state of CPU, memory and devices: equal for equal runs. */
  async stateHash(): Promise<string> {
    if (this.#exit === undefined && this.#started) {
      await this.#machine.pause();
      const hash = this.#machine.stateHash();
      this.#gate();
      return hash;
    }
    return this.#machine.stateHash();
  }

  /** What ran the guest's instructions so far: interpreter or compiled code, and what the compiler did. */
  engineStats(): EngineStats {
    return this.#machine.engineStats?.() ?? { engine: this.config.engine, instructions: this.instructions, compiled: 0, interpreted: this.instructions };
  }

  /** The registers of the CPU by name. */
  registers(): Record<string, unknown> {
    return this.#machine.registers();
  }

  /** Tells the guest's console the size of the terminal. */
  resizeConsole(columns: number, rows: number): void {
    if (this.#agent?.ready) this.#agent.resizeConsole(columns, rows);
  }

  /** While held, an idle guest waits in real time for input from outside. Returns the release. */
  holdRealTime(): () => void {
    return this.#machine.hold();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #run(): void {
    if (this.#started) return this.#machine.resume();
    this.#started = true;
    void this.#machine.run().then(exit => this.#finish(exit));
  }

  #finish(machineExit: MachineExit): void {
    clearTimeout(this.#wallTimer);
    const exit = this.#watch.verdict(machineExit, this.#ending, {
      wallMs: performance.now() - this.#startedMs,
      consoleTail: this.serial.tail(),
    });
    this.#exit = exit;
    for (const disk of allDrives(this.#drives)) {
      try {
        disk.flush();
      } catch (error) {
        exit.error ??= error;
      }
      disk.close();
    }
    this.netboot?.close();
    this.#wires?.close();
    const gone = this.#goneError();
    for (const process of [...this.#processes]) process.abandon(gone);
    this.serial.end(gone);
    this.screen.end();
    this.keyboard.end();
    for (const wake of this.#readyWaiters) wake();
    this.#resolveExit(exit);
  }

  #outside(busy: boolean): void {
    this.#releaseOutside?.();
    this.#releaseOutside = busy ? this.#machine.hold() : undefined;
  }

  #goneError(): VmletError {
    const exit = this.#exit;
    if (exit?.error instanceof VmletError) return exit.error;
    return new VmletError(exit?.reason === 'timeout' ? 'ERR_VMLET_TIMEOUT' : 'ERR_VMLET_GUEST', exit?.text ?? 'the machine is ending', { cause: exit?.error });
  }

  #end(ending: Ending): void {
    if (!this.alive) return;
    this.#ending = ending;
    this.#machine.stop();
    this.#run();
  }

  #panicked(immediate: boolean): void {
    if (this.config.onPanic === 'ignore') return;
    if (immediate) this.#end({ reason: 'panic' });
    else this.#timers.after(STOP_NS, () => this.#end({ reason: 'panic' }));
  }

  #needAgent(): Agent {
    if (this.#agent === undefined) throw configError('this VM runs no commands', 'start it with a built-in image, or with agent: true');
    return this.#agent;
  }

  /** Keeps the machine running until the release is called. */
  #hold(): () => void {
    this.#busy++;
    this.#gate();
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#busy--;
      this.#gate();
    };
  }

  #asMember(): LabMember {
    const busy = (): boolean => this.#busy > 0;
    const paused = (): boolean => this.#userPaused;
    const alive = (): boolean => this.alive;
    return {
      get busy() {
        return busy();
      },
      get paused() {
        return paused();
      },
      get alive() {
        return alive();
      },
      run: () => this.#run(),
      halt: () => {
        if (this.#started) void this.#machine.pause();
      },
    };
  }

  #gate(): void {
    if (this.#labChanged !== undefined) return this.#labChanged();
    if (!this.alive) return;
    if (!this.#userPaused && (this.#busy > 0 || this.config.time === 'realtime')) this.#run();
    else if (this.#started) void this.#machine.pause();
  }
}

const aborted = (signal: AbortSignal): VmletError => new VmletError('ERR_VMLET_ABORTED', 'aborted', { cause: signal.reason });

const checkEnv = (env: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> => {
  for (const name of Object.keys(env)) if (name === '' || name.includes('=')) throw configError(`'${name}' is no name of an environment variable`);
  return env;
};

const failureText = (process: GuestProcess, result: RunResult): string => {
  if (process.failure) return process.failure.text;
  const how = result.signal ? `was ended by ${result.signal}` : `ended with exit code ${result.exitCode}`;
  const said = (result.stderr.trim() || result.stdout.trim()).split('\n').slice(-10).join('\n');
  return `'${process.argv.join(' ')}' ${how}${said === '' ? '' : `; it said:\n${said}`}`;
};
