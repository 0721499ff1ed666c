import type { Readable, Writable } from 'node:stream';
import type { CharBackend, CharSink } from './backend.js';

/** Input bytes that wait until a device has room for them. */
class InputQueue {
  readonly #pieces: Uint8Array[] = [];
  #pending = 0;

  /** Bytes waiting. */
  get pending(): number {
    return this.#pending;
  }

  add(data: Uint8Array): void {
    if (data.length === 0) return;
    this.#pieces.push(data);
    this.#pending += data.length;
  }

  /** Offers what waits until the sink takes no more. */
  drainTo(sink: CharSink | undefined): void {
    while (sink !== undefined && this.#pieces.length > 0) {
      const first = this.#pieces[0];
      const taken = Math.min(first.length, sink.receive(first));
      if (taken === 0) return;
      this.#pending -= taken;
      if (taken === first.length) this.#pieces.shift();
      else this.#pieces[0] = first.subarray(taken);
    }
  }
}

const toBytes = (data: string | Uint8Array): Uint8Array => (typeof data === 'string' ? new TextEncoder().encode(data) : data.slice());

/** Collects what the guest sends and queues what is sent to it, for tests and for the API. */
export class BufferedChar implements CharBackend {
  readonly #input = new InputQueue();
  readonly #limitBytes: number;
  readonly #output: Uint8Array[] = [];
  #outputBytes = 0;
  #sink: CharSink | undefined;
  #draining = false;
  /** Told of every piece of output. */
  onData: (data: Uint8Array) => void = () => {};
  /** Told when the guest opens or closes its end of a port. */
  onGuestOpen: (open: boolean) => void = () => {};
  /** Whether the guest has its end of a port open. */
  guestIsOpen = false;

  /** Keeps the last `limitBytes` of output, at the granularity of the guest's writes. Default: all of it. */
  constructor(limitBytes = Infinity) {
    this.#limitBytes = limitBytes;
  }

  /** Input bytes that the guest has not taken yet. */
  get pending(): number {
    return this.#input.pending;
  }

  /** The output so far. */
  get output(): Uint8Array {
    const all = new Uint8Array(this.#outputBytes);
    let at = 0;
    for (const piece of this.#output) {
      all.set(piece, at);
      at += piece.length;
    }
    return all;
  }

  /** The output so far, decoded as UTF-8. */
  get text(): string {
    return new TextDecoder().decode(this.output);
  }

  clear(): void {
    this.#output.length = 0;
    this.#outputBytes = 0;
  }

  /** Queues input for the guest; strings are UTF-8. */
  send(data: string | Uint8Array): void {
    this.#input.add(toBytes(data));
    this.#drain();
  }

  /** Opens or closes the host's end of a port. */
  setOpen(open: boolean): void {
    this.#sink?.hostOpen?.(open);
  }

  resize(columns: number, rows: number): void {
    this.#sink?.resize?.(columns, rows);
  }

  attach(sink: CharSink): void {
    this.#sink = sink;
    this.#drain();
  }

  write(data: Uint8Array): void {
    const copy = data.slice();
    this.#output.push(copy);
    this.#outputBytes += copy.length;
    while (this.#outputBytes > this.#limitBytes && this.#output.length > 1) this.#outputBytes -= this.#output.shift()!.length;
    this.onData(copy);
  }

  guestOpen(open: boolean): void {
    this.guestIsOpen = open;
    this.onGuestOpen(open);
  }

  onSpace(): void {
    this.#drain();
  }

  #drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    try {
      this.#input.drainTo(this.#sink);
    } finally {
      this.#draining = false;
    }
  }
}

export interface StreamCharOptions {
  input?: Readable;
  output?: Writable;
  /** Called when the input has ended and the guest has taken all of it. */
  onEnd?: () => void;
  /** Called when the output fails, for example with EPIPE; later output is discarded. */
  onError?: (error: Error) => void;
}

/** High-water mark of input held back for a guest that does not read; the source is paused above it. */
const INPUT_PENDING_BYTES = 0x1_0000;

const swallow = (): void => {};

/**
 * Joins a device to Node streams. Input is paused while the guest does not take it. Output can run ahead of a slow reader: whoever
 * runs the machine should wait for `drained()` while `congested`.
 */
export class StreamChar implements CharBackend {
  readonly #input = new InputQueue();
  readonly #options: StreamCharOptions;
  readonly #waiters: (() => void)[] = [];
  #sink: CharSink | undefined;
  #failed = false;
  #congested = false;
  #ended = false;
  #endTold = false;
  #draining = false;
  #paused = false;
  readonly #onData = (data: Uint8Array | string) => this.#receive(data);
  readonly #onInputEnd = () => {
    this.#ended = true;
    this.#tellEnd();
  };
  readonly #onDrain = () => this.#release();
  readonly #onError = (error: Error) => {
    if (this.#failed) return;
    this.#failed = true;
    this.#release();
    this.#options.onError?.(error);
  };

  constructor(options: StreamCharOptions) {
    this.#options = options;
    options.output?.on('drain', this.#onDrain);
    options.output?.on('error', this.#onError);
    options.input?.on('data', this.#onData);
    options.input?.on('end', this.#onInputEnd);
    options.input?.on('error', this.#onInputEnd);
  }

  /** Whether output is waiting for a slow reader. */
  get congested(): boolean {
    return this.#congested;
  }

  /** Input bytes that the guest has not taken yet. */
  get pending(): number {
    return this.#input.pending;
  }

  /** Resolves when the output stream takes data again, or has failed. */
  drained(): Promise<void> {
    return this.#congested ? new Promise(resolve => this.#waiters.push(resolve)) : Promise.resolve();
  }

  /** Lets go of the streams, which stay open. */
  detach(): void {
    const { input, output } = this.#options;
    output?.off('drain', this.#onDrain);
    input?.off('data', this.#onData);
    input?.off('end', this.#onInputEnd);
    input?.off('error', this.#onInputEnd);
    input?.pause();
    this.#paused = false;
    // A late EPIPE must not become an uncaught exception.
    if (output && !output.listeners('error').includes(swallow)) output.on('error', swallow);
    output?.off('error', this.#onError);
    this.#failed = true;
    this.#release();
  }

  resize(columns: number, rows: number): void {
    this.#sink?.resize?.(columns, rows);
  }

  attach(sink: CharSink): void {
    this.#sink = sink;
    this.#drain();
  }

  write(data: Uint8Array): void {
    if (this.#failed || this.#options.output === undefined) return;
    // Streams keep what they are given until it is written.
    if (!this.#options.output.write(data.slice())) this.#congested = true;
  }

  onSpace(): void {
    this.#drain();
  }

  #receive(data: Uint8Array | string): void {
    this.#input.add(toBytes(data));
    this.#drain();
    if (this.#input.pending < INPUT_PENDING_BYTES || this.#paused) return;
    this.#paused = true;
    this.#options.input?.pause();
  }

  #drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    try {
      this.#input.drainTo(this.#sink);
    } finally {
      this.#draining = false;
    }
    if (this.#paused && this.#input.pending < INPUT_PENDING_BYTES) {
      this.#paused = false;
      this.#options.input?.resume();
    }
    this.#tellEnd();
  }

  #tellEnd(): void {
    if (!this.#ended || this.#endTold || this.#input.pending > 0) return;
    this.#endTold = true;
    this.#options.onEnd?.();
  }

  #release(): void {
    this.#congested = false;
    for (const resolve of this.#waiters.splice(0)) resolve();
  }
}

/** Several backends on one device: each sees all output, and any of them may send input. The host end is open while one has it open. */
export class TeeChar implements CharBackend {
  readonly #backends: readonly CharBackend[];
  readonly #open: boolean[];

  constructor(...backends: CharBackend[]) {
    this.#backends = backends;
    this.#open = backends.map(() => true);
  }

  attach(sink: CharSink): void {
    this.#backends.forEach((backend, index) =>
      backend.attach({
        receive: data => sink.receive(data),
        hostOpen: open => {
          this.#open[index] = open;
          sink.hostOpen?.(this.#open.includes(true));
        },
        resize: (columns, rows) => sink.resize?.(columns, rows),
      }),
    );
  }

  write(data: Uint8Array): void {
    for (const backend of this.#backends) backend.write(data);
  }

  guestOpen(open: boolean): void {
    for (const backend of this.#backends) backend.guestOpen?.(open);
  }

  onSpace(): void {
    for (const backend of this.#backends) backend.onSpace?.();
  }
}

/** Takes no input and forgets all output. */
export class NullChar implements CharBackend {
  attach(): void {}

  write(): void {}
}
