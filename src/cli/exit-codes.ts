import { VmletError } from '../errors.js';

/** The exit codes of `vmlet run` beside the guest's own. */
export const ExitCode = {
  OK: 0,
  TIMEOUT: 124,
  HOST: 125,
  NOT_EXECUTABLE: 126,
  NOT_FOUND: 127,
  INTERRUPTED: 130,
  BROKEN_PIPE: 141,
  TERMINATED: 143,
  GUEST_DIED: 255,
} as const;

/** What an error tells its reader, in one or two lines. */
export const errorText = (error: unknown): string => {
  if (error instanceof VmletError) return error.hint === undefined ? error.message : `${error.message}\n${error.hint}`;
  if (error instanceof Error) return `internal error: ${error.stack ?? error.message}`;
  return `internal error: ${String(error)}`;
};

/** An end that was decided on already. */
export class CliExit extends Error {
  constructor(readonly code: number) {
    super(`exit ${code}`);
  }
}
