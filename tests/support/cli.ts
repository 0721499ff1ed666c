import { PassThrough, Writable } from 'node:stream';
import type { CliIo, SignalName, StdinKind } from '../../src/cli/io.js';
import { runCli } from '../../src/cli/run-cli.js';
import type { VMInternals } from '../../src/vm.js';

/** A writable end that keeps what it gets. */
export class Sink extends Writable {
  readonly pieces: Buffer[] = [];
  isTTY?: boolean;
  columns?: number;
  rows?: number;
  onText: (text: string) => void = () => {};
  /** Fails every write with this code. */
  failure: string | undefined;

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    if (this.failure !== undefined) return done(Object.assign(new Error(`write ${this.failure}`), { code: this.failure }));
    this.pieces.push(Buffer.from(chunk));
    this.onText(this.text);
    done();
  }

  get bytes(): Buffer {
    return Buffer.concat(this.pieces);
  }

  get text(): string {
    return this.bytes.toString();
  }
}

/** An outside world for `runCli`. */
export class FakeIo implements CliIo {
  readonly stdin = Object.assign(new PassThrough(), { setRawMode: (raw: boolean) => void this.rawModes.push(raw) });
  readonly stdout = new Sink();
  readonly stderr = new Sink();
  readonly rawModes: boolean[] = [];
  readonly listeners = new Map<SignalName, Set<() => void>>();
  kind: StdinKind = 'pipe';
  suspended = 0;

  constructor(readonly env: Record<string, string | undefined> = {}) {}

  /** Both sides are a terminal. */
  terminal(columns = 100, rows = 30): this {
    this.kind = 'tty';
    Object.assign(this.stdout, { isTTY: true, columns, rows });
    return this;
  }

  stdinKind(): StdinKind {
    return this.kind;
  }

  onSignal(name: SignalName, listener: () => void): () => void {
    const set = this.listeners.get(name) ?? new Set();
    this.listeners.set(name, set.add(listener));
    return () => set.delete(listener);
  }

  suspend(): void {
    this.suspended++;
  }

  signal(name: SignalName): void {
    for (const listener of [...(this.listeners.get(name) ?? [])]) listener();
  }
}

export interface CliResult {
  code: number;
  stdout: string;
  stderr: string;
  io: FakeIo;
}

/** Runs a command line; standard input is `input` and its end, unless `io` is given. */
export const cli = async (argv: string[], options: { input?: string | Uint8Array; io?: FakeIo; internals?: VMInternals; env?: Record<string, string> } = {}): Promise<CliResult> => {
  const io = options.io ?? new FakeIo(options.env);
  if (options.io === undefined || options.input !== undefined) {
    io.kind = 'file';
    io.stdin.end(options.input ?? '');
  }
  const code = await runCli(argv, io, options.internals);
  return { code, stdout: io.stdout.text, stderr: io.stderr.text, io };
};
