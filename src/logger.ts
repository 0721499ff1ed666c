/** Receives what a guest does to a device that no driver should do. Counted, rate-limited by the sink, never thrown. */
export interface GuestLog {
  guestError(device: string, message: string): void;
}

/** Counts guest errors and passes the first few of each kind on. */
export class CountingGuestLog implements GuestLog {
  readonly counts = new Map<string, number>();
  readonly #sink: (line: string) => void;
  readonly #limit: number;

  constructor(sink: (line: string) => void = () => {}, limit = 3) {
    this.#sink = sink;
    this.#limit = limit;
  }

  guestError(device: string, message: string): void {
    const key = `${device}: ${message}`;
    if (this.counts.size > 1000 && !this.counts.has(key)) return;
    const count = (this.counts.get(key) ?? 0) + 1;
    this.counts.set(key, count);
    if (count <= this.#limit) this.#sink(key);
  }
}
