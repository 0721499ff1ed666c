import * as R from './e1000-registers.js';

const WIDE: ReadonlySet<number> = new Set([R.STAT_GORCL, R.STAT_GOTCL, R.STAT_TORL, R.STAT_TOTL]);

/** The counters of 13.7 in the card's words: they stop at all ones and are cleared by reading. Offsets are from the first one. */
export class E1000Statistics {
  readonly #words: Uint32Array;

  constructor(words: Uint32Array) {
    this.#words = words;
  }

  count(statistic: number, by = 1): void {
    const at = (R.STATISTICS + statistic) >> 2;
    this.#words[at] = Math.min(this.#words[at] + by, 0xffff_ffff);
  }

  /** Counters of 64 bits. */
  countBytes(statistic: number, by: number): void {
    const at = (R.STATISTICS + statistic) >> 2;
    const sum = this.#words[at] + by;
    this.#words[at] = sum;
    if (sum > 0xffff_ffff) this.#words[at + 1]++;
  }

  /** One of the six counters by length that begin at `first`. */
  countSize(first: number, bytes: number): void {
    const bucket = bytes <= 64 ? 0 : bytes < 128 ? 1 : bytes < 256 ? 2 : bytes < 512 ? 3 : bytes < 1024 ? 4 : 5;
    this.count(first + 4 * bucket);
  }

  /** What the driver reads at `register`, which clears it. */
  take(register: number): number {
    const value = this.#words[register >> 2];
    const low = register - R.STATISTICS;
    // The halves of 64-bit counters: reading the upper one clears both.
    if (WIDE.has(low)) return value;
    this.#words[register >> 2] = 0;
    if (WIDE.has(low - 4)) this.#words[(register - 4) >> 2] = 0;
    return value;
  }
}
