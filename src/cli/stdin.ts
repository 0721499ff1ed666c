import type { Readable } from 'node:stream';
import type { CliIo } from './io.js';

/** How long a pipe that has begun to speak is listened to before the guest starts, so that short inputs come whole and the run repeats. */
const SETTLE_MS = 500;
/** What is read ahead of a pipe before the guest runs. */
const EARLY_BYTES = 2 ** 20;

/** Where input goes. */
export interface InputSink {
  /** Takes a piece; resolves when there is room for more. */
  write(data: Uint8Array): Promise<void> | void;
  end(): void;
  /** The first piece has come behind the start of the run: the input is live. */
  live?(): void;
  /** Live input has ended. */
  over?(): void;
}

const wait = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms).unref());

/** Standard input, read from the start and handed over when there is a guest. */
export class StdinReader {
  readonly #stream: Readable;
  readonly #early: Uint8Array[] = [];
  readonly #whole: boolean;
  #earlyBytes = 0;
  #ended = false;
  #sink: InputSink | undefined;
  #liveTold = false;
  #onEnded: () => void = () => {};
  readonly #over: Promise<void>;
  readonly #onData = (data: Buffer | string) => this.#receive(typeof data === 'string' ? Buffer.from(data) : data);
  readonly #onEnd = () => {
    this.#ended = true;
    this.#onEnded();
    this.#sink?.end();
    if (this.#liveTold) this.#sink?.over?.();
  };

  constructor(io: CliIo) {
    this.#stream = io.stdin;
    this.#whole = io.stdinKind() === 'file';
    this.#over = new Promise(resolve => (this.#onEnded = resolve));
    this.#stream.on('data', this.#onData);
    this.#stream.on('end', this.#onEnd);
    this.#stream.on('error', this.#onEnd);
    this.#stream.on('close', this.#onClose);
    if (this.#stream.readableEnded || this.#stream.destroyed) this.#onEnd();
  }

  readonly #onClose = () => {
    if (!this.#ended) this.#onEnd();
  };

  /** Waits until a file has been read whole, or a short pipe has ended. */
  async settle(): Promise<void> {
    if (this.#ended) return;
    if (this.#whole) return this.#over;
    await new Promise(resolve => setImmediate(resolve));
    if (this.#earlyBytes > 0 && this.#earlyBytes < EARLY_BYTES) await Promise.race([this.#over, wait(SETTLE_MS)]);
  }

  /** Hands over what came and what will come. */
  connect(sink: InputSink): void {
    for (const piece of this.#early.splice(0)) void sink.write(piece);
    this.#sink = sink;
    if (this.#ended) sink.end();
    else this.#stream.resume();
  }

  detach(): void {
    this.#stream.off('data', this.#onData);
    this.#stream.off('end', this.#onEnd);
    this.#stream.off('error', this.#onEnd);
    this.#stream.off('close', this.#onClose);
    this.#stream.pause();
    this.#sink = undefined;
  }

  #receive(data: Uint8Array): void {
    const sink = this.#sink;
    if (sink === undefined) {
      this.#early.push(data);
      this.#earlyBytes += data.length;
      if (!this.#whole && this.#earlyBytes >= EARLY_BYTES) this.#stream.pause();
      return;
    }
    if (!this.#liveTold) {
      this.#liveTold = true;
      sink.live?.();
    }
    const room = sink.write(data);
    if (room === undefined) return;
    this.#stream.pause();
    void room.then(() => {
      if (this.#sink === sink) this.#stream.resume();
    });
  }
}
