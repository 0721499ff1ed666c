import type { MachineExit, ResetCause } from './host/machine.js';
import { formatNs } from './config.js';

/** How far a guest has come. */
export type Stage = 'loader' | 'kernel' | 'init' | 'agent' | 'command';
const STAGES: readonly Stage[] = ['loader', 'kernel', 'init', 'agent', 'command'];

/** Why a machine ended. */
export type ExitReason = 'poweroff' | 'reset' | 'panic' | 'halted' | 'debug-exit' | 'timeout' | 'stopped' | 'host-error';

export interface VMExit {
  reason: ExitReason;
  /** The code of a debug exit: (value << 1) | 1. */
  code?: number;
  /** What reset the machine. */
  cause?: ResetCause;
  /** Whether it was real time that ran out. */
  wall?: boolean;
  error?: unknown;
  /** One sentence that says it all. */
  text: string;
  stage: Stage;
  guestTimeNs: number;
  wallMs: number;
  instructions: number;
  /** The last lines of the console. */
  consoleTail: string[];
}

/** An end that the host decided on. */
export interface Ending {
  reason: 'panic' | 'timeout' | 'stopped' | 'host-error';
  wall?: boolean;
  error?: unknown;
}

const PANIC = /^(?:\[[ \d.]+\](?:\[[^\]]*\])? *)?Kernel panic - not syncing/;
const PANIC_END = /---\[ end Kernel panic/;
const NEEDS_MEMORY = /deadlocked on memory|out of memory/i;
/** What is in an initramfs came only in part: what follows is an init, or a library of it, that is not there. */
const INITRAMFS_CUT = /Initramfs unpacking failed: write error/;
const INIT = /(?:Run \S+ as init process|^vmlet-init: started)/;
const MAX_LINE = 4096;

/** Watches what a guest says, for where it stands and whether it is dying. */
export class GuestWatch {
  #line = '';
  #stage: Stage = 'loader';
  #panic: string | undefined;
  #initramfsCut = false;
  /** Told when the kernel panics: at its first words, and again (`immediate`) when it has said everything. */
  onPanic: (immediate: boolean) => void = () => {};

  get stage(): Stage {
    return this.#stage;
  }

  reach(stage: Stage): void {
    if (STAGES.indexOf(stage) > STAGES.indexOf(this.#stage)) this.#stage = stage;
  }

  serialText(text: string): void {
    const lines = (this.#line + text).split('\n');
    this.#line = lines.pop()!.slice(-MAX_LINE);
    for (const line of lines) this.#take(line.replace(/\r/g, ''));
  }

  verdict(exit: MachineExit, ending: Ending | undefined, rest: { wallMs: number; consoleTail: string[] }): VMExit {
    const decided = exit.reason === 'stopped' && ending !== undefined;
    const { code, cause, error } = exit;
    let reason: ExitReason = decided ? ending.reason : exit.reason;
    // A panicking kernel halts, spins or resets, as it is configured.
    if (this.#panic !== undefined && (reason === 'reset' || reason === 'halted' || reason === 'timeout')) reason = 'panic';
    const verdict: VMExit = {
      reason,
      ...(code === undefined ? {} : { code }),
      ...(cause === undefined ? {} : { cause }),
      ...(decided && ending.wall ? { wall: true } : {}),
      ...((decided ? ending.error : error) === undefined ? {} : { error: decided ? ending.error : error }),
      text: '',
      stage: this.#stage,
      guestTimeNs: exit.timeNs,
      wallMs: rest.wallMs,
      instructions: exit.instructions,
      consoleTail: rest.consoleTail,
    };
    verdict.text = this.#describe(verdict);
    return verdict;
  }

  #take(line: string): void {
    if (line !== '') this.reach('kernel');
    if (INIT.test(line)) this.reach('init');
    if (INITRAMFS_CUT.test(line)) this.#initramfsCut = true;
    if (this.#panic === undefined && PANIC.test(line)) {
      this.#panic = line.replace(/^.*?Kernel panic - not syncing:? */, '');
      this.onPanic(false);
    } else if (this.#panic !== undefined && PANIC_END.test(line)) {
      this.onPanic(true);
    }
  }

  #describe(exit: VMExit): string {
    const after = `after ${formatNs(exit.guestTimeNs)} of guest time`;
    switch (exit.reason) {
      case 'poweroff':
        return `the guest powered off ${after}`;
      case 'reset':
        return exit.cause === 'triple-fault' ? `the guest's CPU shut down by a triple fault ${after}` : `the guest reset the machine ${after}`;
      case 'panic':
        return `the guest's kernel panicked ${after}: ${this.#panic ?? ''}${this.#initramfsCut ? '; its initramfs did not fit: it needs more memory' : NEEDS_MEMORY.test(this.#panic ?? '') ? '; it needs more memory' : ''}`;
      case 'halted':
        return `the guest halted its CPU with interrupts off ${after}`;
      case 'debug-exit':
        return `the guest ended the run with code ${exit.code} ${after}`;
      case 'timeout':
        return exit.wall ? `the time limit of ${formatNs(exit.wallMs * 1e6)} is over (${formatNs(exit.guestTimeNs)} of guest time)` : `the time limit of ${formatNs(exit.guestTimeNs)} of guest time is over`;
      case 'stopped':
        return `the machine was stopped ${after}`;
      case 'host-error':
        return `the machine failed: ${exit.error instanceof Error ? exit.error.message : String(exit.error)}`;
    }
  }
}
