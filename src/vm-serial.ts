import { createHash } from 'node:crypto';
import { VmletError } from './errors.js';
import { BufferedChar } from './host/backends/char.js';
import type { Clock, Timer } from './host/clock.js';
import { type Duration, formatNs, parseDuration } from './config.js';

/** Text of the past that patterns can still match, in characters. */
const HISTORY_CHARS = 4 * 2 ** 20;
/** How long output collects before patterns are tried on it. */
const SETTLE_NS = 1e6;
const TAIL_LINES = 50;

export interface ExpectOptions {
  /** In virtual time; 60 s by default. */
  timeout?: Duration;
  /** Count the timeout in real time. */
  wall?: boolean;
  signal?: AbortSignal;
}

export interface Match {
  /** What matched, and its groups. */
  text: string;
  groups: readonly (string | undefined)[];
  /** What came between the previous match and this one. */
  before: string;
}

interface Expectation {
  find(text: string): { index: number; end: number; groups: readonly (string | undefined)[] } | undefined;
  settle(match: Match): void;
}

/** What a serial line needs of its VM. */
export interface SerialOwner {
  readonly clock: Clock;
  /** Keeps the machine running until the release is called. */
  busy(): () => void;
  /** A match was found: the host's turn comes right behind this instruction. */
  matched(): void;
  /** Calls back once at a virtual time; returns what cancels it. */
  after(ns: number, callback: () => void): () => void;
  /** Why nothing more will come, once the machine has ended. */
  ended(): unknown;
}

/** A serial line of the machine: what it has said, what it is told, and waiting for what it will say. */
export class SerialConsole {
  readonly #char = new BufferedChar(1);
  readonly #decoder = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true });
  readonly #hash = createHash('sha256');
  readonly #expectations: Expectation[] = [];
  readonly #failures = new Set<(error: unknown) => void>();
  #owner: SerialOwner | undefined;
  #settle: Timer | undefined;
  #text = '';
  /** Where the last match ended. */
  #cursor = 0;
  #bytes = 0;
  /** Told of every piece of output. */
  onData: (data: Uint8Array) => void = () => {};
  /** @internal Told of every piece as text. */
  onText: (text: string) => void = () => {};

  constructor() {
    this.#char.onData = data => this.#receive(data);
  }

  /** @internal */
  get backend(): BufferedChar {
    return this.#char;
  }

  /** @internal */
  connect(owner: SerialOwner): void {
    this.#owner = owner;
    this.#settle = owner.clock.timer(() => this.#try());
  }

  /** All output so far, decoded as UTF-8; of very long output the end. */
  get text(): string {
    return this.#text;
  }

  /** Bytes of output so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** SHA-256 of the output so far, in hexadecimal. */
  get sha256(): string {
    return this.#hash.copy().digest('hex');
  }

  /** The last lines of output, without carriage returns and terminal escapes. */
  tail(lines = TAIL_LINES): string[] {
    const all = plain(this.#text.slice(-200 * (lines + 1))).split('\n');
    if (all[all.length - 1] === '') all.pop();
    return all.slice(-lines);
  }

  /** Types on the line; strings are UTF-8. */
  send(data: string | Uint8Array): void {
    this.#char.send(data);
  }

  /** Input that the guest has not taken yet, in bytes. */
  get pending(): number {
    return this.#char.pending;
  }

  /**
   * Waits for text. What came behind the previous match, or since power-on, is searched first, then what comes. A pattern is tried
   * each millisecond of virtual time while there is output. Rejects with ERR_VMLET_EXPECT when the time is up or the machine ends.
   */
  async expect(pattern: string | RegExp, options: ExpectOptions = {}): Promise<Match> {
    const owner = this.#owner!;
    const find = finder(pattern);
    const timeoutNs = parseDuration(options.timeout ?? '60s', 'timeout');
    if (options.signal?.aborted) throw aborted(options.signal);
    const cleanup: (() => void)[] = [];
    try {
      return await new Promise<Match>((resolve, reject) => {
        const expectation: Expectation = { find, settle: resolve };
        this.#expectations.push(expectation);
        this.#failures.add(reject);
        cleanup.push(() => {
          this.#failures.delete(reject);
          const index = this.#expectations.indexOf(expectation);
          if (index >= 0) this.#expectations.splice(index, 1);
        });
        this.#try();
        if (!this.#expectations.includes(expectation)) return;
        const error = owner.ended();
        if (error !== undefined) return reject(this.#failure(pattern, 'the machine has ended', error));
        const late = () => reject(this.#failure(pattern, `${formatNs(timeoutNs)} of ${options.wall ? 'real' : 'guest'} time have passed`));
        if (options.wall) {
          const timer = setTimeout(late, timeoutNs / 1e6);
          cleanup.push(() => clearTimeout(timer));
        } else {
          cleanup.push(owner.after(timeoutNs, late));
        }
        if (options.signal) {
          const { signal } = options;
          const onAbort = () => reject(aborted(signal));
          signal.addEventListener('abort', onAbort, { once: true });
          cleanup.push(() => signal.removeEventListener('abort', onAbort));
        }
        cleanup.push(owner.busy());
      });
    } finally {
      for (const undo of cleanup) undo();
    }
  }

  /** @internal The machine has ended: nothing more comes. */
  end(error: unknown): void {
    this.#try();
    this.#expectations.length = 0;
    for (const fail of [...this.#failures]) fail(new VmletError('ERR_VMLET_EXPECT', `the machine ended before the awaited text came; the last lines:\n${this.tail(10).join('\n')}`, { cause: error }));
  }

  #failure(pattern: string | RegExp, why: string, cause?: unknown): VmletError {
    return new VmletError('ERR_VMLET_EXPECT', `no ${pattern instanceof RegExp ? String(pattern) : JSON.stringify(pattern)} on the serial line: ${why}; the last lines:\n${this.tail(10).join('\n')}`, { cause });
  }

  #receive(data: Uint8Array): void {
    this.#bytes += data.length;
    this.#hash.update(data);
    const text = this.#decoder.decode(data, { stream: true });
    this.#text += text;
    if (this.#text.length > 2 * HISTORY_CHARS) {
      const cut = this.#text.length - HISTORY_CHARS;
      this.#text = this.#text.slice(cut);
      this.#cursor = Math.max(0, this.#cursor - cut);
    }
    this.onData(data);
    this.onText(text);
    if (this.#expectations.length > 0 && this.#settle && !this.#settle.armed) this.#settle.arm(this.#owner!.clock.now + SETTLE_NS);
  }

  /** Serves the expectations in their order. */
  #try(): void {
    while (this.#expectations.length > 0) {
      const found = this.#expectations[0].find(this.#text.slice(this.#cursor));
      if (found === undefined) return;
      const { settle } = this.#expectations.shift()!;
      const text = this.#text.slice(this.#cursor, this.#cursor + found.end);
      this.#cursor += found.end;
      settle({ text: text.slice(found.index), groups: found.groups, before: text.slice(0, found.index) });
      this.#owner?.matched();
    }
  }
}

const finder = (pattern: string | RegExp): Expectation['find'] => {
  if (typeof pattern === 'string') {
    if (pattern === '') throw new VmletError('ERR_VMLET_CONFIG', 'an empty text cannot be awaited');
    return text => {
      const index = text.indexOf(pattern);
      return index < 0 ? undefined : { index, end: index + pattern.length, groups: [] };
    };
  }
  const regexp = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ''));
  return text => {
    const match = regexp.exec(text);
    return match ? { index: match.index, end: match.index + match[0].length, groups: match.slice(1) } : undefined;
  };
};

const aborted = (signal: AbortSignal): VmletError => new VmletError('ERR_VMLET_ABORTED', 'aborted', { cause: signal.reason });

/** Text without carriage returns and terminal escapes. */
export const plain = (text: string): string =>
  text.replace(/\x1b(?:\[[0-9;?]*[@-~]|[()][0-9A-B]|[@-Z\\-_=>])/g, '').replace(/\r/g, '').replace(/[\x00-\x08\x0b-\x1f\x7f]/g, '');
