import type { Clock, Timer } from '../host/clock.js';

export interface Deadline {
  readonly armed: boolean;
  arm(atNs: number): void;
  disarm(): void;
}

/** Any number of short-lived deadlines on one timer of a clock, because a clock's timers live as long as the clock. */
export class Deadlines {
  readonly #armed = new Map<object, { atNs: number; callback: () => void }>();
  readonly #timer: Timer;

  constructor(readonly clock: Clock) {
    this.#timer = clock.timer(() => this.#fire());
  }

  create(callback: () => void): Deadline {
    const key = {};
    const armed = this.#armed;
    return {
      get armed() {
        return armed.has(key);
      },
      arm: atNs => {
        const entry = armed.get(key);
        if (entry) entry.atNs = atNs;
        else armed.set(key, { atNs, callback });
        // A timer that is early only looks again; this keeps re-arming cheap.
        if (atNs < this.#timer.atNs) this.#timer.arm(atNs);
      },
      disarm: () => {
        armed.delete(key);
        if (armed.size === 0) this.#timer.disarm();
      },
    };
  }

  /** Disarms everything. */
  clear(): void {
    this.#armed.clear();
    this.#timer.disarm();
  }

  #fire(): void {
    const now = this.clock.now;
    const due = [...this.#armed].filter(([, entry]) => entry.atNs <= now).sort(([, a], [, b]) => a.atNs - b.atNs);
    for (const [key, entry] of due) {
      if (this.#armed.get(key) !== entry || entry.atNs > now) continue;
      this.#armed.delete(key);
      entry.callback();
    }
    let next = Infinity;
    for (const entry of this.#armed.values()) next = Math.min(next, entry.atNs);
    if (next < Infinity) this.#timer.arm(next);
  }
}

export const NS_PER_MS = 1_000_000;
export const NS_PER_S = 1_000_000_000;
