import { VmletError } from './errors.js';
import type { AgentCommand, CommandEvents } from './vm-agent.js';

/** How a command of the guest ended: by itself, or by a signal. */
export interface ExitStatus {
  /** 0 to 255; 128 + n for signal n, 127 when the program does not exist, 126 when it cannot be run. */
  exitCode: number;
  /** Name of the signal that ended it. */
  signal: string | undefined;
  /** Virtual time from start to end, in ns. */
  guestTimeNs: number;
}

export interface RunResult extends ExitStatus {
  stdout: string;
  stderr: string;
  /** The same as bytes. */
  stdoutBytes: Uint8Array;
  stderrBytes: Uint8Array;
}

const SIGNALS = [
  '', 'SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGILL', 'SIGTRAP', 'SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGKILL', 'SIGUSR1', 'SIGSEGV', 'SIGUSR2', 'SIGPIPE', 'SIGALRM',
  'SIGTERM', 'SIGSTKFLT', 'SIGCHLD', 'SIGCONT', 'SIGSTOP', 'SIGTSTP', 'SIGTTIN', 'SIGTTOU', 'SIGURG', 'SIGXCPU', 'SIGXFSZ', 'SIGVTALRM', 'SIGPROF',
  'SIGWINCH', 'SIGIO', 'SIGPWR', 'SIGSYS',
];

/** Linux's name of a signal number. */
export const signalName = (number: number): string => SIGNALS[number] ?? `SIGRT${number}`;

/** Linux's number of a signal, by name with or without SIG, or as it is. */
export const signalNumber = (signal: string | number): number => {
  if (typeof signal === 'number') return signal;
  const index = SIGNALS.indexOf(signal.startsWith('SIG') ? signal : `SIG${signal}`);
  if (index <= 0) throw new VmletError('ERR_VMLET_CONFIG', `'${signal}' is no signal`, { hint: 'for instance SIGTERM' });
  return index;
};

const ENOENT = 2;
const ENOTDIR = 20;
const ERRNO: Record<number, string> = {
  1: 'operation not permitted', 2: 'no such file or directory', 7: 'too many arguments', 8: 'not a program for this machine', 11: 'too many commands at once',
  12: 'out of memory', 13: 'permission denied', 20: 'not a folder', 26: 'the file is busy', 36: 'the name is too long', 40: 'too many links', 71: 'a message was not understood',
};

/** A command did not end with exit code 0, or could not be started. */
export class CommandExitError extends VmletError {
  override readonly name = 'CommandExitError';

  constructor(
    readonly command: readonly string[],
    readonly result: RunResult,
    message: string,
  ) {
    super('ERR_VMLET_COMMAND', message);
  }

  get exitCode(): number {
    return this.result.exitCode;
  }

  get stdout(): string {
    return this.result.stdout;
  }

  get stderr(): string {
    return this.result.stderr;
  }
}

/** Output of a command. Read it by pieces, by lines or whole; what came before is kept until it is read. */
export class GuestStream implements AsyncIterable<Uint8Array> {
  #pieces: Uint8Array[] = [];
  #ended = false;
  #error: unknown;
  #wake: (() => void)[] = [];
  #listener: ((data: Uint8Array) => void) | undefined;

  /** Hands every piece over as it comes, instead of keeping it. */
  onData(listener: (data: Uint8Array) => void): void {
    this.#listener = listener;
    for (const piece of this.#pieces.splice(0)) listener(piece);
  }

  /** @internal */
  push(data: Uint8Array): void {
    if (this.#listener) return this.#listener(data);
    this.#pieces.push(data);
    this.#notify();
  }

  /** @internal */
  close(error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#notify();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) yield piece;
      else if (!this.#ended) await new Promise<void>(resolve => this.#wake.push(resolve));
      else if (this.#error !== undefined) throw this.#error;
      else return;
    }
  }

  /** The lines as UTF-8, without their ends. */
  async *lines(): AsyncGenerator<string> {
    const decoder = new TextDecoder();
    let rest = '';
    for await (const piece of this) {
      const lines = (rest + decoder.decode(piece, { stream: true })).split('\n');
      rest = lines.pop()!;
      yield* lines;
    }
    rest += decoder.decode();
    if (rest !== '') yield rest;
  }

  async bytes(): Promise<Uint8Array> {
    const pieces: Uint8Array[] = [];
    for await (const piece of this) pieces.push(piece);
    return concat(pieces);
  }

  async text(): Promise<string> {
    return new TextDecoder().decode(await this.bytes());
  }

  #notify(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

export const concat = (pieces: readonly Uint8Array[]): Uint8Array => {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
};

/** Standard input of a command. */
export class GuestInput {
  #command: AgentCommand | undefined;
  #drained: (() => void)[] = [];

  /** @internal */
  connect(command: AgentCommand): void {
    this.#command = command;
  }

  /** @internal */
  drain(): void {
    for (const resolve of this.#drained.splice(0)) resolve();
  }

  /** Whether the command, or all that read its input, is gone. */
  get closed(): boolean {
    return this.#command?.inputClosed ?? false;
  }

  /** Queues input; resolves when there is room for more. Strings are UTF-8. */
  write(data: string | Uint8Array): Promise<void> {
    const command = this.#command!;
    command.write(typeof data === 'string' ? new TextEncoder().encode(data) : data.slice());
    return command.queued === 0 || command.inputClosed ? Promise.resolve() : new Promise(resolve => this.#drained.push(resolve));
  }

  /** Ends the input behind what was written. */
  end(data?: string | Uint8Array): void {
    if (data !== undefined) void this.write(data);
    this.#command!.end();
  }
}

/** A command that runs in the guest. */
export class GuestProcess {
  readonly stdin = new GuestInput();
  readonly stdout = new GuestStream();
  readonly stderr = new GuestStream();
  /** Process id in the guest, once it runs. */
  pid: number | undefined;
  /** Why it could not be started. */
  failure: { code: 'not-found' | 'not-executable' | 'folder' | 'user' | 'resources'; text: string } | undefined;
  /** Resolves when the program runs; rejects when the VM ended before. */
  readonly started: Promise<void>;
  readonly #exited: Promise<ExitStatus>;
  readonly #now: () => number;
  #command!: AgentCommand;
  #startNs: number;
  #begin!: () => void;
  #finish!: (status: ExitStatus) => void;
  #fail!: (error: unknown) => void;
  /** @internal Told at the end, whatever it was. */
  onEnd: () => void = () => {};
  /** @internal */
  readonly events: CommandEvents;

  /** @internal */
  constructor(
    readonly argv: readonly string[],
    now: () => number,
  ) {
    this.#now = now;
    this.#startNs = now();
    let refuse: (error: unknown) => void;
    this.started = new Promise((resolve, reject) => {
      this.#begin = resolve;
      refuse = reject;
    });
    this.#exited = new Promise((resolve, reject) => {
      this.#finish = resolve;
      this.#fail = error => {
        refuse(error);
        reject(error);
      };
    });
    this.started.catch(() => {});
    this.#exited.catch(() => {});
    this.events = {
      onStarted: pid => {
        this.pid = pid;
        this.#startNs = now();
        this.#begin();
      },
      onError: (stage, errno) => this.#failed(stage, errno),
      onOutput: (stream, data) => this[stream].push(data),
      onExit: status => this.#ended('code' in status ? { exitCode: status.code, signal: undefined } : { exitCode: 128 + status.signal, signal: signalName(status.signal) }),
      onDrain: () => this.stdin.drain(),
    };
  }

  /** @internal */
  connect(command: AgentCommand): void {
    this.#command = command;
    this.stdin.connect(command);
  }

  /** Sends a signal to the command's process group. */
  kill(signal: string | number = 'SIGTERM'): void {
    this.#command.signal(signalNumber(signal));
  }

  resize(columns: number, rows: number): void {
    this.#command.resize(columns, rows);
  }

  /** Resolves when the command has ended; rejects when the VM ended before it. */
  wait(): Promise<ExitStatus> {
    return this.#exited;
  }

  /** @internal The machine is gone. */
  abandon(error: unknown): void {
    this.#fail(error);
    this.#close(error);
  }

  #failed(stage: 'exec' | 'folder' | 'user' | 'resources', errno: number): void {
    const why = ERRNO[errno] ?? `error ${errno}`;
    const [name] = this.argv;
    const missing = errno === ENOENT || errno === ENOTDIR;
    if (stage === 'exec' && missing && !name.includes('/')) this.failure = { code: 'not-found', text: `there is no program '${name}' in the guest` };
    else if (stage === 'exec') this.failure = { code: missing ? 'not-found' : 'not-executable', text: `'${name}' cannot be run in the guest: ${why}` };
    else if (stage === 'folder') this.failure = { code: 'folder', text: `the working folder cannot be entered in the guest: ${why}` };
    else if (stage === 'user') this.failure = { code: 'user', text: missing ? 'the guest has no such user' : `the guest cannot become that user: ${why}` };
    else this.failure = { code: 'resources', text: `the guest cannot start the command: ${why}` };
    const exitCode = stage !== 'exec' ? 125 : missing ? 127 : 126;
    this.#startNs = this.#now();
    this.#begin();
    this.#ended({ exitCode, signal: undefined });
  }

  #ended(status: { exitCode: number; signal: string | undefined }): void {
    this.#finish({ ...status, guestTimeNs: this.#now() - this.#startNs });
    this.#close();
  }

  #close(error?: unknown): void {
    this.stdin.drain();
    this.stdout.close(error);
    this.stderr.close(error);
    this.onEnd();
  }
}
