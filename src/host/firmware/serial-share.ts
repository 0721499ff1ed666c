import type { CharBackend, CharSink } from '../backends/backend.js';

/** Typed ahead for the firmware's keyboard. */
const QUEUE_BYTES = 4096;

/**
 * The first serial line, shared by the firmware, whose screen and keyboard it mirrors, and the guest, which may drive the UART itself. It is the
 * firmware's from a reset until the guest sets the UART up or sends on it: a guest that has its own serial console would say everything twice.
 */
export class SerialShare implements CharBackend {
  readonly #backend: CharBackend;
  #uart: CharSink | undefined;
  #claimed = false;
  #quiet = false;
  #queue: number[] = [];
  /** Told of input for the firmware. */
  onInput: () => void = () => {};

  constructor(backend: CharBackend) {
    this.#backend = backend;
  }

  /** Whether the guest drives the line itself. */
  get claimed(): boolean {
    return this.#claimed;
  }

  /** Input bytes for the firmware, oldest first. */
  get queue(): readonly number[] {
    return this.#queue;
  }

  /** Takes `count` bytes off the queue. */
  take(count: number): void {
    this.#queue.splice(0, count);
    if (this.#queue.length === 0 && !this.#claimed) this.#backend.onSpace?.();
  }

  /** Sends what the firmware shows. */
  print(bytes: Uint8Array): void {
    if (!this.#claimed) this.#backend.write(bytes);
  }

  /** The guest set the UART up. */
  claim(): void {
    if (this.#claimed || this.#quiet) return;
    this.#claimed = true;
    this.onSpace();
  }

  /** Does what the firmware does to the UART for the guest: that claims nothing. */
  quietly<T>(work: () => T): T {
    this.#quiet = true;
    try {
      return work();
    } finally {
      this.#quiet = false;
    }
  }

  reset(): void {
    this.#claimed = false;
  }

  attach(sink: CharSink): void {
    this.#uart = sink;
    this.#backend.attach({
      receive: data => this.#receive(data),
      hostOpen: open => sink.hostOpen?.(open),
      resize: (columns, rows) => sink.resize?.(columns, rows),
    });
  }

  write(data: Uint8Array): void {
    this.claim();
    this.#backend.write(data);
  }

  onSpace(): void {
    if (!this.#claimed) return;
    while (this.#queue.length > 0) {
      const taken = this.#uart?.receive(Uint8Array.from(this.#queue)) ?? 0;
      if (taken === 0) return;
      this.#queue.splice(0, taken);
    }
    this.#backend.onSpace?.();
  }

  #receive(data: Uint8Array): number {
    if (this.#claimed) return this.#queue.length > 0 ? 0 : this.#uart!.receive(data);
    const taken = Math.min(data.length, QUEUE_BYTES - this.#queue.length);
    for (let i = 0; i < taken; i++) this.#queue.push(data[i]);
    if (taken > 0) this.onInput();
    return taken;
  }
}
