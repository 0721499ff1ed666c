export type PxeService = 'dhcp' | 'proxydhcp' | 'tftp' | 'http' | 'boot';

/**
 * served: the client got what it asked for. refused: it was told no. ignored: it got no answer, on purpose. failed: an exchange broke off.
 * note: worth knowing, nothing wrong.
 */
export type PxeOutcome = 'served' | 'refused' | 'ignored' | 'failed' | 'note';

/** One line of the boot diagnosis: which service did what for whom, and why not. */
export interface PxeEvent {
  readonly atNs: number;
  readonly service: PxeService;
  readonly outcome: PxeOutcome;
  /** Hardware address where known, else address:port. */
  readonly client: string;
  /** What was asked: 'DISCOVER', 'RRQ pxelinux.0', 'GET /vmlinuz'. */
  readonly what: string;
  /** The reason, for everything but plain success. */
  readonly reason?: string;
}

export interface PxeLog {
  event(event: PxeEvent): void;
}

export const formatEvent = (event: PxeEvent): string =>
  `${event.service}: ${event.client}: ${event.what}: ${event.outcome}${event.reason === undefined ? '' : `: ${event.reason}`}`;

/** Keeps the last events in memory. A flood of them costs neither memory nor the beginning of the story: half the room is for the first ones. */
export class PxeJournal implements PxeLog {
  readonly #first: PxeEvent[] = [];
  readonly #last: PxeEvent[] = [];
  readonly #half: number;
  readonly #sink: ((event: PxeEvent) => void) | undefined;
  dropped = 0;

  constructor(sink?: (event: PxeEvent) => void, limit = 2000) {
    this.#sink = sink;
    this.#half = Math.max(1, Math.floor(limit / 2));
  }

  event(event: PxeEvent): void {
    if (this.#first.length < this.#half) {
      this.#first.push(event);
    } else {
      this.#last.push(event);
      if (this.#last.length > this.#half) {
        this.#last.shift();
        this.dropped++;
      }
    }
    this.#sink?.(event);
  }

  get events(): readonly PxeEvent[] {
    return [...this.#first, ...this.#last];
  }
}

/** So many events a second on virtual time, with a burst of the same size. */
export class RateLimit {
  #tokens: number;
  #atNs = 0;

  constructor(
    readonly perSecond: number,
    readonly burst = perSecond,
  ) {
    this.#tokens = burst;
  }

  take(nowNs: number): boolean {
    this.#tokens = Math.min(this.burst, this.#tokens + ((nowNs - this.#atNs) / 1e9) * this.perSecond);
    this.#atNs = nowNs;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}

/** A rate limit for each key, for at most `keys` keys: the least recently used one is forgotten. */
export class KeyedRateLimit {
  readonly #limits = new Map<string, RateLimit>();

  constructor(
    readonly perSecond: number,
    readonly burst = perSecond,
    readonly keys = 1024,
  ) {}

  take(key: string, nowNs: number): boolean {
    const limit = this.#limits.get(key) ?? new RateLimit(this.perSecond, this.burst);
    this.#limits.delete(key);
    this.#limits.set(key, limit);
    if (this.#limits.size > this.keys) this.#limits.delete(this.#limits.keys().next().value!);
    return limit.take(nowNs);
  }
}
