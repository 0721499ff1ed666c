import { fstatSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';

export type StdinKind = 'tty' | 'file' | 'pipe';
export type SignalName = 'SIGINT' | 'SIGTERM' | 'SIGHUP' | 'SIGQUIT' | 'SIGWINCH' | 'SIGTSTP' | 'SIGCONT';

/** A terminal's input side. */
export interface RawInput {
  setRawMode?(raw: boolean): unknown;
}

/** A terminal's output side. */
export interface Screen {
  isTTY?: boolean;
  columns?: number;
  rows?: number;
}

/** The outside world of a command line, so that tests can be one. */
export interface CliIo {
  stdin: Readable & RawInput;
  stdout: Writable & Screen;
  stderr: Writable & Screen;
  env: Readonly<Record<string, string | undefined>>;
  /** A file gives all it has at once; a pipe and a terminal may take their time. */
  stdinKind(): StdinKind;
  /** Listens to a signal; returns what stops it. */
  onSignal(name: SignalName, listener: () => void): () => void;
  /** Stops this process as a shell's job, until it is continued. */
  suspend(): void;
}

export const processIo = (): CliIo => ({
  get stdin() {
    return process.stdin;
  },
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  stdinKind: () => {
    if (process.stdin.isTTY) return 'tty';
    try {
      return fstatSync(0).isFile() ? 'file' : 'pipe';
    } catch {
      return 'file';
    }
  },
  onSignal: (name, listener) => {
    try {
      process.on(name, listener);
    } catch {
      return () => {};
    }
    return () => process.off(name, listener);
  },
  suspend: () => process.kill(process.pid, 'SIGSTOP'),
});

/** An output that may have a slow or vanished reader. */
export class Output {
  readonly #stream: Writable;
  #congested: Promise<void> | undefined;
  #failed = false;
  /** What made writing impossible. */
  error: Error | undefined;
  readonly #onError = (error: Error) => {
    this.#failed = true;
    this.error ??= error;
    this.onError(error);
  };
  /** Told when nobody reads any more (EPIPE), or the disk is full. */
  onError: (error: Error) => void = () => {};

  constructor(stream: Writable) {
    this.#stream = stream;
    stream.on('error', this.#onError);
  }

  get failed(): boolean {
    return this.#failed;
  }

  /** Resolves when the reader has caught up; undefined when it has. */
  get congested(): Promise<void> | undefined {
    return this.#congested;
  }

  write(data: Uint8Array | string): void {
    if (this.#failed || this.#stream.destroyed) return;
    if (this.#stream.write(data) || this.#congested) return;
    this.#congested = new Promise(resolve => {
      const done = () => {
        this.#congested = undefined;
        for (const event of ['drain', 'error', 'close']) this.#stream.off(event, done);
        resolve();
      };
      for (const event of ['drain', 'error', 'close']) this.#stream.on(event, done);
    });
  }

  /** Resolves when all has been written, or cannot be. */
  flush(): Promise<void> {
    if (this.#failed || this.#stream.destroyed) return Promise.resolve();
    return new Promise(resolve => this.#stream.write('', () => resolve()));
  }

  /** Whether its reader went away, as against a disk that is full. */
  get brokenPipe(): boolean {
    return ['EPIPE', 'ERR_STREAM_DESTROYED', 'ECONNRESET'].includes((this.error as NodeJS.ErrnoException | undefined)?.code ?? '');
  }

  /** Lets go of the stream; late errors are swallowed. */
  detach(): void {
    this.#stream.off('error', this.#onError);
    if (!this.#stream.listeners('error').includes(swallow)) this.#stream.on('error', swallow);
  }
}

const swallow = (): void => {};

/** What vmlet itself has to say, on standard error. */
export class Notes {
  readonly #output: Output;
  readonly #quiet: boolean;
  /** Ends lines for a terminal in raw mode. */
  raw = false;

  constructor(output: Output, quiet = false) {
    this.#output = output;
    this.#quiet = quiet;
  }

  /** Progress and other niceties; silent with -q. */
  say(text: string): void {
    if (!this.#quiet) this.#print(text);
  }

  /** What must be known. */
  warn(text: string): void {
    this.#print(text);
  }

  /** Lines as they are, for the console's last words. */
  lines(lines: readonly string[]): void {
    for (const line of lines) this.#output.write(`${line}${this.raw ? '\r' : ''}\n`);
  }

  #print(text: string): void {
    this.lines(text.split('\n').map(line => `vmlet: ${line}`));
  }
}
