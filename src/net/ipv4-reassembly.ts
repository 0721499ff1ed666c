import type { Clock } from '../host/clock.js';
import { IPV4_MAX_BYTES, type Ipv4Packet } from './ipv4.js';

// RFC 791, 3.2; overlaps end a datagram as in RFC 5722.

export interface ReassemblyLimits {
  /** Datagrams in progress. */
  datagrams: number;
  /** Payload bytes held by all of them. */
  bytes: number;
  /** From the first fragment to the last, in virtual ns. */
  timeoutNs: number;
}

const DEFAULTS: ReassemblyLimits = { datagrams: 64, bytes: 1 << 20, timeoutNs: 30e9 };

interface Datagram {
  readonly deadlineNs: number;
  /** Sorted by offset, without overlap. */
  readonly pieces: { readonly start: number; readonly bytes: Uint8Array }[];
  /** The fragment with offset 0: its header is the datagram's. */
  first: Ipv4Packet | undefined;
  total: number | undefined;
  held: number;
}

export interface ReassemblyStats {
  completed: number;
  timedOut: number;
  /** Given up for overlap, impossible sizes or a limit. */
  dropped: number;
}

/** Puts fragments together. The oldest datagram makes room when a limit is reached. */
export class Ipv4Reassembler {
  readonly stats: ReassemblyStats = { completed: 0, timedOut: 0, dropped: 0 };
  readonly #clock: Pick<Clock, 'now'>;
  readonly #limits: ReassemblyLimits;
  readonly #partials = new Map<string, Datagram>();
  #held = 0;

  constructor(clock: Pick<Clock, 'now'>, limits: Partial<ReassemblyLimits> = {}) {
    this.#clock = clock;
    this.#limits = { ...DEFAULTS, ...limits };
  }

  /** Datagrams in progress and the bytes they hold. */
  get pending(): { datagrams: number; bytes: number } {
    return { datagrams: this.#partials.size, bytes: this.#held };
  }

  /** Returns whole packets as they are, a datagram when `packet` was its last missing fragment, else undefined. */
  accept(packet: Ipv4Packet): Ipv4Packet | undefined {
    if (!packet.moreFragments && packet.fragmentOffset === 0) return packet;
    this.#expire();
    const key = `${packet.src}/${packet.dst}/${packet.protocol}/${packet.id}`;
    const start = packet.fragmentOffset;
    const end = start + packet.payload.length;
    if (end > IPV4_MAX_BYTES || packet.payload.length === 0 || (packet.moreFragments && packet.payload.length % 8 !== 0)) {
      this.#drop(key);
      return undefined;
    }
    let partial = this.#partials.get(key);
    if (partial === undefined) {
      partial = { deadlineNs: this.#clock.now + this.#limits.timeoutNs, pieces: [], first: undefined, total: undefined, held: 0 };
      this.#partials.set(key, partial);
    }
    if (!this.#insert(partial, packet, start, end)) {
      this.#drop(key);
      return undefined;
    }
    this.#makeRoom(key);
    return this.#partials.get(key) === partial ? this.#finish(key, partial) : undefined;
  }

  #insert(partial: Datagram, packet: Ipv4Packet, start: number, end: number): boolean {
    if (!packet.moreFragments) {
      if (partial.total !== undefined && partial.total !== end) return false;
      partial.total = end;
    }
    const { pieces } = partial;
    const last = pieces.at(-1);
    if (partial.total !== undefined && Math.max(end, last === undefined ? 0 : last.start + last.bytes.length) > partial.total) return false;
    let at = pieces.length;
    while (at > 0 && pieces[at - 1].start >= start) at--;
    const after = pieces[at];
    if (after !== undefined && after.start === start && after.bytes.length === end - start) return true;
    const before = pieces[at - 1];
    if (before !== undefined && before.start + before.bytes.length > start) return false;
    if (after !== undefined && after.start < end) return false;
    pieces.splice(at, 0, { start, bytes: packet.payload.slice() });
    partial.held += end - start;
    this.#held += end - start;
    if (start === 0) partial.first = packet;
    return true;
  }

  #finish(key: string, partial: Datagram): Ipv4Packet | undefined {
    if (partial.first === undefined || partial.total === undefined || partial.held !== partial.total) return undefined;
    const payload = new Uint8Array(partial.total);
    for (const piece of partial.pieces) payload.set(piece.bytes, piece.start);
    this.#forget(key, partial);
    this.stats.completed++;
    return { ...partial.first, moreFragments: false, fragmentOffset: 0, payload };
  }

  #makeRoom(newest: string): void {
    for (const [key, partial] of this.#partials) {
      if (this.#partials.size <= this.#limits.datagrams && this.#held <= this.#limits.bytes) return;
      if (key === newest && this.#partials.size > 1) continue;
      this.#forget(key, partial);
      this.stats.dropped++;
    }
  }

  #expire(): void {
    for (const [key, partial] of this.#partials) {
      if (partial.deadlineNs > this.#clock.now) return;
      this.#forget(key, partial);
      this.stats.timedOut++;
    }
  }

  #drop(key: string): void {
    const partial = this.#partials.get(key);
    if (partial !== undefined) this.#forget(key, partial);
    this.stats.dropped++;
  }

  #forget(key: string, partial: Datagram): void {
    this.#held -= partial.held;
    this.#partials.delete(key);
  }
}
