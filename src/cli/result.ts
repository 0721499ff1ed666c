import { accessSync, constants, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { VmletError } from '../errors.js';
import type { EngineStats } from '../vm.js';
import type { VMExit } from '../vm-verdict.js';

export type ResultReason = 'exit' | 'signal' | 'timeout' | 'panic' | 'halted' | 'reset' | 'poweroff' | 'host-error' | 'interrupted';

/** What `--result` writes. Everything but `wallMs` is equal for equal runs. */
export interface RunReport {
  schema: 1;
  reason: ResultReason;
  exitCode: number;
  /** The signal that ended the command. */
  signal: string | null;
  /** How far the guest came: loader, kernel, init, agent, command. */
  stage: string | null;
  /** One sentence. */
  text: string;
  guestTimeNs: number | null;
  wallMs: number;
  instructions: number | null;
  seed: string | number;
  stateHash: string | null;
  /** The whole serial output. */
  console: { bytes: number; sha256: string } | null;
  consoleTail: string[];
  /** Of a network boot: how far it came, why no further, and each step. */
  netboot?: { stage: string; failure: { stage: string; code: string; title: string; reason: string; server?: string } | null; story: string[] };
  artifacts: { name: string; path: string }[];
  /** With `--stats`; its times differ between equal runs as well. */
  stats?: EngineStats;
}

const resultError = (path: string, why: string, cause?: unknown): VmletError =>
  new VmletError('ERR_VMLET_CONFIG', `the result cannot be written to ${path}: ${why}`, { hint: 'check the folder and its permissions', cause });

/** Finds out before the run whether its result can be written. */
export const checkResultPath = (path: string): void => {
  const folder = dirname(resolve(path));
  try {
    accessSync(folder, constants.W_OK);
  } catch (cause) {
    throw resultError(path, `${folder} is no folder that can be written to`, cause);
  }
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) throw resultError(path, 'it is a folder');
};

/** Writes the whole result or nothing. */
export const writeResult = (path: string, report: RunReport): void => {
  const temporary = `${path}.tmp-${process.pid}`;
  try {
    writeFileSync(temporary, `${JSON.stringify(report, undefined, 2)}\n`);
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw resultError(path, (cause as Error).message, cause);
  }
};

/** The reason of a machine's own end, for the report. */
export const reasonOf = (exit: VMExit): ResultReason => {
  switch (exit.reason) {
    case 'debug-exit':
      return 'exit';
    case 'stopped':
      return 'interrupted';
    default:
      return exit.reason;
  }
};
