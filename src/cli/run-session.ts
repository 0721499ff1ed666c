// One `vmlet run`, from the first check to the exit code.
import { closeSync, openSync, writeSync } from 'node:fs';
import { configError } from '../config.js';
import { VM, type VMInternals } from '../vm.js';
import type { VMExit } from '../vm-verdict.js';
import type { ExitStatus, GuestProcess } from '../vm-process.js';
import { concat } from '../vm-process.js';
import type { RunPlan } from './commands/run.js';
import { attachConsole } from './console.js';
import { attachDisplay } from './display.js';
import { CliExit, errorText, ExitCode } from './exit-codes.js';
import { Notes } from './io.js';
import { checkResultPath, reasonOf, type ResultReason, type RunReport, writeResult } from './result.js';
import type { CliContext } from './run-cli.js';
import { Interrupts } from './interrupts.js';
import { statsLines } from './stats.js';
import { StdinReader } from './stdin.js';
import { RawTerminal } from './terminal.js';

/** The one verdict from which exit code, words and report come. */
export interface Outcome {
  reason: ResultReason;
  exitCode: number;
  signal?: string;
  text: string;
  /** Something went wrong on the way: show the console's end. */
  showConsole?: boolean;
  /** A note is due. */
  note?: boolean;
}

/** Lines of a network boot that are shown when it failed. */
const STORY_LINES = 25;

export class RunSession {
  readonly #plan: RunPlan;
  readonly #context: CliContext;
  readonly #internals: VMInternals | undefined;
  readonly #notes: Notes;
  readonly #abort = new AbortController();
  readonly #terminal: RawTerminal;
  readonly #captured = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  readonly #startMs = performance.now();
  #interrupts!: Interrupts;
  #stdin: StdinReader | undefined;
  #consoleLog: number | undefined;
  #vm: VM | undefined;
  #stateHash: string | null = null;
  #quit = false;
  #expected = false;
  /** What the next answer waits for. */
  #waitsFor: RegExp | undefined;

  constructor(plan: RunPlan, context: CliContext, internals?: VMInternals) {
    this.#plan = plan;
    this.#context = context;
    this.#internals = internals;
    this.#notes = new Notes(context.stderr, plan.flags.quiet);
    this.#terminal = new RawTerminal(context.io);
  }

  async execute(): Promise<number> {
    const { flags } = this.#plan;
    const { stdout, io } = this.#context;
    let outcome: Outcome;
    this.#interrupts = new Interrupts(io, this.#notes, this.#plan.stopTimeoutMs, () => this.#abort.abort());
    stdout.onError = () => this.#abort.abort();
    try {
      if (flags.result !== undefined) checkResultPath(flags.result);
      this.#openConsoleLog();
      outcome = await this.#run();
    } catch (error) {
      if (error instanceof CliExit) throw error;
      outcome = this.#failure(error);
    } finally {
      this.#terminal.leave();
      this.#notes.raw = false;
      this.#stdin?.detach();
      this.#interrupts.detach();
      await this.#vm?.stop();
      this.#closeConsoleLog();
    }
    if (stdout.brokenPipe) outcome = { reason: 'interrupted', exitCode: ExitCode.BROKEN_PIPE, signal: 'SIGPIPE', text: 'nobody reads standard output any more' };
    await this.#report(outcome);
    return outcome.exitCode;
  }

  async #run(): Promise<Outcome> {
    const { options, flags, command, interactive } = this.#plan;
    const { stdout, stderr, io } = this.#context;
    if (!flags.dryRun) this.#stdin = interactive ? undefined : new StdinReader(io);
    const vm = await VM.start(
      {
        ...options,
        signal: this.#abort.signal,
        onProgress: text => this.#notes.say(text),
        onGuestLog: flags.verbose ? line => this.#notes.say(`device: ${line}`) : undefined,
        onNetboot: flags.verbose ? line => this.#notes.say(line) : undefined,
        throttle: () => stdout.congested ?? stderr.congested,
      },
      this.#internals,
    );
    this.#vm = vm;
    if (flags.dryRun) {
      this.#notes.say(`all is ready: ${vm.guest.cmdline === undefined ? 'a ROM' : `kernel command line '${vm.guest.cmdline}'`}`);
      return { reason: 'exit', exitCode: ExitCode.OK, text: 'nothing was run' };
    }
    // Which port was free is told; one that was named is where it was asked for.
    for (const { rule, address, port } of vm.network?.published ?? []) if (/^(?:[\d.]+:)?0:/.test(rule)) this.#notes.say(`--publish ${rule}: ${address}:${port}`);
    this.#interrupts.attach(vm);
    const toStdout = (data: Uint8Array) => (flags.json ? this.#captured.stdout.push(data) : stdout.write(data));
    vm.debugcon.onData = toStdout;
    const consoleIsOutput = command === undefined && flags.display !== 'text';
    vm.serial.onData = data => {
      if (this.#consoleLog !== undefined) writeSync(this.#consoleLog, data);
      if (consoleIsOutput) toStdout(data);
      else if (flags.verbose) stderr.write(data);
    };
    return command === undefined ? this.#runConsole(vm) : this.#runCommand(vm, command);
  }

  async #runCommand(vm: VM, command: readonly string[]): Promise<Outcome> {
    const { flags, env } = this.#plan;
    const { io, stdout, stderr } = this.#context;
    const stdin = this.#stdin!;
    await stdin.settle();
    const atTerminal = io.stdinKind() === 'tty';
    const tty = flags.tty ? { columns: io.stdout.columns || 80, rows: io.stdout.rows || 24 } : undefined;
    if (tty && env.TERM === undefined && io.env.TERM) env.TERM = io.env.TERM;
    const process = vm.spawn(command, { env, cwd: flags.cwd, user: flags.user, tty });
    if (flags.json) {
      process.stdout.onData(data => this.#captured.stdout.push(data));
      process.stderr.onData(data => this.#captured.stderr.push(data));
    } else {
      process.stdout.onData(data => stdout.write(data));
      process.stderr.onData(data => stderr.write(data));
    }
    this.#interrupts.command = process;
    if (tty && atTerminal) {
      this.#terminal.enter();
      this.#notes.raw = true;
    }
    const offResize = tty ? io.onSignal('SIGWINCH', () => process.resize(io.stdout.columns || 80, io.stdout.rows || 24)) : undefined;
    let release = (): void => {};
    stdin.connect({
      write: data => process.stdin.write(data),
      end: () => process.stdin.end(),
      // A slow writer and a guest that rushes through time do not go together.
      live: () => (release = vm.holdRealTime()),
      over: () => release(),
    });
    try {
      const status = await process.wait();
      return await this.#commandEnded(vm, process, status);
    } catch (error) {
      if (vm.alive) throw error;
      return this.#died(await vm.exited);
    } finally {
      offResize?.();
    }
  }

  async #commandEnded(vm: VM, process: GuestProcess, status: ExitStatus): Promise<Outcome> {
    // The machine stands still behind the agent's last word: here every run with the same seed is the same.
    await this.#hash(vm);
    if (vm.config.disks.some(disk => !disk.readOnly && !disk.snapshot)) await vm.shutdown();
    else await vm.stop();
    const { terminated } = this.#interrupts;
    if (terminated) return { reason: 'interrupted', exitCode: ExitCode.TERMINATED, signal: 'SIGTERM', text: 'ended by SIGTERM' };
    if (process.failure) {
      const host = status.exitCode === ExitCode.HOST;
      return { reason: host ? 'host-error' : 'exit', exitCode: status.exitCode, text: process.failure.text, note: true };
    }
    if (status.signal !== undefined) return { reason: 'signal', exitCode: status.exitCode, signal: status.signal, text: `the command was ended by ${status.signal}` };
    return { reason: 'exit', exitCode: status.exitCode, text: `the command ended with exit code ${status.exitCode}` };
  }

  async #runConsole(vm: VM): Promise<Outcome> {
    const attach = this.#plan.flags.display === 'text' ? attachDisplay : attachConsole;
    const detach = await attach(this.#plan, this.#context, vm, {
      stdin: this.#stdin,
      terminal: this.#terminal,
      notes: this.#notes,
      quit: () => {
        this.#quit = true;
        void vm.stop();
      },
    });
    const heard = this.#converse(vm);
    try {
      const exit = await vm.wait();
      await heard;
      return await this.#died(exit);
    } finally {
      detach();
    }
  }

  /** Types the answers, then waits for what is expected; ends with the machine. */
  async #converse(vm: VM): Promise<void> {
    const { expect, answers = [] } = this.#plan;
    try {
      for (const { pattern, keys } of answers) {
        this.#waitsFor = pattern;
        await vm.serial.expect(pattern, { timeout: '2000h' });
        vm.serial.send(keys);
      }
      this.#waitsFor = undefined;
      if (expect === undefined) return;
      await vm.serial.expect(expect, { timeout: '2000h' });
      this.#expected = true;
      await vm.stop();
    } catch {
      // The machine ended first.
    }
  }

  /** The machine ended by itself, or by us; with a console that may be as it should. */
  async #died(exit: VMExit): Promise<Outcome> {
    const outcome = this.#verdict(exit);
    if (exit.reason !== 'host-error') await this.#hash(this.#vm!);
    return outcome;
  }

  #verdict(exit: VMExit): Outcome {
    const hasCommand = this.#plan.command !== undefined;
    const text = this.#waitsFor === undefined ? exit.text : `${exit.text}; the console never said ${String(this.#waitsFor)}`;
    const reason = reasonOf(exit);
    if (this.#expected) return { reason: 'exit', exitCode: ExitCode.OK, text: `the console said ${String(this.#plan.expect)}` };
    if (this.#quit) return { reason: 'interrupted', exitCode: ExitCode.OK, text: 'the console was left' };
    const interrupted = this.#interrupts.exitCode;
    if (interrupted !== undefined && (exit.reason === 'stopped' || exit.reason === 'poweroff')) return { reason: 'interrupted', exitCode: interrupted, text };
    switch (exit.reason) {
      case 'poweroff':
        if (this.#plan.expect) return { reason, exitCode: ExitCode.GUEST_DIED, text: `${text}, and its console never said ${String(this.#plan.expect)}`, showConsole: true, note: true };
        if (!hasCommand) return { reason, exitCode: ExitCode.OK, text };
        return { reason, exitCode: ExitCode.GUEST_DIED, text: `${text}, before the command had ended`, showConsole: true, note: true };
      case 'debug-exit':
        return { reason, exitCode: exit.code! & 0xff, text };
      case 'timeout':
        return { reason, exitCode: ExitCode.TIMEOUT, text, showConsole: true, note: true };
      case 'stopped':
        return { reason, exitCode: ExitCode.INTERRUPTED, text };
      case 'host-error':
        return this.#failure(exit.error);
      default: {
        // A boot that failed ends in a CPU that halts; what is to be known is why.
        const failed = this.#vm?.netboot?.diagnosis;
        return { reason, exitCode: ExitCode.GUEST_DIED, text: failed?.failure === undefined ? text : failed.text, showConsole: true, note: true };
      }
    }
  }

  #failure(error: unknown): Outcome {
    const interrupted = this.#interrupts.exitCode;
    if (interrupted !== undefined && this.#abort.signal.aborted) return { reason: 'interrupted', exitCode: interrupted, text: 'interrupted' };
    return { reason: 'host-error', exitCode: ExitCode.HOST, text: errorText(error), note: true };
  }

  async #hash(vm: VM): Promise<void> {
    const { result, json } = this.#plan.flags;
    if ((result !== undefined || json) && this.#stateHash === null) this.#stateHash = await vm.stateHash();
  }

  async #report(outcome: Outcome): Promise<void> {
    const { flags, command, options } = this.#plan;
    const vm = this.#vm;
    const exit = vm && !vm.alive ? await vm.exited : undefined;
    if (outcome.showConsole && command !== undefined && vm && !flags.verbose && !flags.json) this.#notes.lines(vm.serial.tail());
    const netboot = vm?.netboot;
    if (outcome.note && netboot && !flags.verbose && !flags.json) this.#notes.lines(netboot.story.slice(-STORY_LINES).map(line => `vmlet: ${line}`));
    if (outcome.note) this.#notes.warn(outcome.text);
    if (outcome.note && netboot && netboot.diagnosis.failure === undefined) this.#notes.warn(netboot.diagnosis.text);
    if (outcome.showConsole && vm && command !== undefined && vm.stage !== 'command') this.#notes.warn(stageLine(vm));
    const stats = flags.stats && vm && !flags.dryRun ? vm.engineStats() : undefined;
    if (stats !== undefined) for (const line of statsLines(stats)) this.#notes.warn(line);
    if (flags.result === undefined && !flags.json) return;
    const seed = options.seed ?? 1;
    const report: RunReport = {
      schema: 1,
      reason: outcome.reason,
      exitCode: outcome.exitCode,
      signal: outcome.signal ?? null,
      stage: vm?.stage ?? null,
      text: outcome.text,
      guestTimeNs: exit?.guestTimeNs ?? null,
      wallMs: Math.round(performance.now() - this.#startMs),
      instructions: exit?.instructions ?? null,
      seed: typeof seed === 'bigint' ? String(seed) : seed,
      stateHash: this.#stateHash,
      console: vm ? { bytes: vm.serial.bytes, sha256: vm.serial.sha256 } : null,
      consoleTail: vm?.serial.tail() ?? [],
      ...(netboot ? { netboot: { stage: netboot.diagnosis.stage, failure: netboot.diagnosis.failure ?? null, story: netboot.story } } : {}),
      artifacts: flags.consoleLog === undefined ? [] : [{ name: 'console', path: flags.consoleLog }],
      ...(stats === undefined ? {} : { stats }),
    };
    if (flags.json) {
      const decode = (pieces: Uint8Array[]) => new TextDecoder().decode(concat(pieces));
      const output = { stdout: decode(this.#captured.stdout), stderr: decode(this.#captured.stderr) };
      this.#context.stdout.write(`${JSON.stringify({ ...report, ...output }, undefined, 2)}\n`);
    }
    if (flags.result === undefined) return;
    try {
      writeResult(flags.result, report);
    } catch (error) {
      this.#notes.warn(errorText(error));
      throw new CliExit(ExitCode.HOST);
    }
  }

  #openConsoleLog(): void {
    const path = this.#plan.flags.consoleLog;
    if (path === undefined) return;
    try {
      this.#consoleLog = openSync(path, 'w');
    } catch (cause) {
      throw configError(`--console-log: ${path} cannot be written: ${(cause as Error).message}`, 'check the folder and its permissions');
    }
  }

  #closeConsoleLog(): void {
    if (this.#consoleLog !== undefined) closeSync(this.#consoleLog);
    this.#consoleLog = undefined;
  }
}

const WHERE: Record<string, string> = {
  loader: 'the kernel never said anything: it may be for another machine, or have no serial console (console=ttyS0)',
  kernel: 'the kernel had started, but not its init',
  init: 'init had started, but not the agent: are the drivers virtio_pci and virtio_console there?',
  agent: 'the agent was up, but the command had not started',
};

const stageLine = (vm: VM): string => `it came as far as the stage '${vm.stage}' of loader, kernel, init, agent, command: ${WHERE[vm.stage]}`;
