import type { VM } from '../vm.js';
import type { GuestProcess } from '../vm-process.js';
import { ExitCode } from './exit-codes.js';
import type { CliIo, Notes } from './io.js';

/** Within this time a second Ctrl-C means more than the first. */
const AGAIN_MS = 3000;

/**
 * Signals to vmlet itself. Ctrl-C goes to the guest's command; again within three seconds it powers the guest off; a third time it
 * switches it off. Before there is a command, or when there is none, the first ends the run. SIGTERM and SIGHUP let the guest finish
 * for a while.
 */
export class Interrupts {
  readonly #notes: Notes;
  readonly #stopTimeoutMs: number;
  readonly #abort: () => void;
  readonly #off: (() => void)[];
  #vm: VM | undefined;
  #count = 0;
  #lastMs = -Infinity;
  #killTimer: NodeJS.Timeout | undefined;
  /** What the exit code must be, unless the guest's command had its own say. */
  exitCode: number | undefined;
  /** The guest's command, once there is one. */
  command: GuestProcess | undefined;
  terminated = false;

  constructor(io: CliIo, notes: Notes, stopTimeoutMs: number, abort: () => void) {
    this.#notes = notes;
    this.#stopTimeoutMs = stopTimeoutMs;
    this.#abort = abort;
    this.#off = [
      io.onSignal('SIGINT', () => this.#interrupt()),
      io.onSignal('SIGTERM', () => this.#terminate()),
      io.onSignal('SIGHUP', () => this.#terminate()),
      io.onSignal('SIGQUIT', () => this.#dump()),
    ];
  }

  attach(vm: VM): void {
    this.#vm = vm;
  }

  detach(): void {
    clearTimeout(this.#killTimer);
    for (const off of this.#off) off();
  }

  get #commandRuns(): boolean {
    return this.command?.pid !== undefined;
  }

  #interrupt(): void {
    const now = performance.now();
    this.#count = now - this.#lastMs < AGAIN_MS ? this.#count + 1 : 1;
    this.#lastMs = now;
    this.exitCode ??= ExitCode.INTERRUPTED;
    const vm = this.#vm;
    const hasDisks = vm?.config.disks.some(disk => !disk.readOnly && !disk.snapshot) ?? false;
    if (this.#count === 1 && this.#commandRuns) {
      this.command!.kill('SIGINT');
    } else if (vm && this.#count === (this.#commandRuns ? 2 : 1) && (this.#commandRuns || hasDisks)) {
      this.#notes.say('powering the guest off; once more switches it off at once');
      void vm.shutdown();
    } else {
      this.#abort();
    }
  }

  #terminate(): void {
    this.exitCode = ExitCode.TERMINATED;
    this.terminated = true;
    const vm = this.#vm;
    if (!vm) return this.#abort();
    if (this.#commandRuns) this.command!.kill('SIGTERM');
    else if (vm.stage === 'agent' || vm.config.disks.some(disk => !disk.readOnly && !disk.snapshot)) void vm.shutdown();
    else return this.#abort();
    this.#killTimer ??= setTimeout(() => this.#abort(), this.#stopTimeoutMs);
  }

  #dump(): void {
    const vm = this.#vm;
    if (!vm) return;
    const hex = (value: unknown): string => (typeof value === 'bigint' || typeof value === 'number' ? value.toString(16) : undefined) ?? '';
    const registers = Object.entries(vm.registers()).filter(([, value]) => typeof value === 'bigint' || typeof value === 'number');
    this.#notes.lines(vm.serial.tail(20));
    this.#notes.warn(`stage ${vm.stage}, ${vm.instructions} instructions, ${vm.now} ns of guest time`);
    this.#notes.warn(registers.map(([name, value]) => `${name}=${hex(value)}`).join(' '));
  }
}
