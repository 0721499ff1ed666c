import { ReceiveQueue } from './receive-queue.js';
import { FIN, PSH } from './segment.js';
import { seqAdd, seqDiff, seqLess, seqMax } from './sequence.js';

// RFC 9293, 3.8.6 and 3.10.7.4; window scale: RFC 7323; stretched acknowledgements: RFC 5681, 4.2.

const MAX_SHIFT = 14;
const DELAYED_ACK_NS = 20e6;
/** What arrives in this time is acknowledged together, as cards and systems do that merge segments: each acknowledgement interrupts a guest that sends. */
const GATHER_ACKS_NS = 100e3;

/** The receiving half of a connection: what has come, the window, and when it is to be acknowledged. */
export class Receiver {
  /** The number of the next byte in order. */
  next = 0;
  /** An acknowledgement is due at once. */
  ackNow = false;
  /** By how much the window field is shifted. */
  shift = 0;
  readonly bytes: number;
  readonly #queue = new ReceiveQueue();
  /** The right edge of the window as the peer knows it. */
  #edge = 0;
  #unconsumed = 0;
  #finAt: number | undefined;
  #ackSoon = false;
  #unacked = 0;
  #unackedBytes = 0;

  /** `bytes` is the window that is offered while nothing waits. */
  constructor(bytes: number) {
    this.bytes = bytes;
    while (bytes >> this.shift > 0xffff && this.shift < MAX_SHIFT) this.shift++;
  }

  /** The window of a segment with SYN, which is never scaled. */
  get firstWindow(): number {
    return Math.min(0xffff, this.bytes);
  }

  /** The peer's SYN has this number. */
  start(seq: number): void {
    this.next = seqAdd(seq, 1);
    this.#edge = seqAdd(this.next, this.firstWindow);
  }

  /** The test of RFC 9293, 3.10.7.4, first. */
  acceptable(seq: number, length: number): boolean {
    const window = seqDiff(this.#edge, this.next);
    const start = seqDiff(seq, this.next);
    if (length === 0) return window === 0 ? start === 0 : start >= 0 && start < window;
    if (window === 0) return false;
    return start < window && start + length > 0;
  }

  /** Takes the data of a segment in; returns what became deliverable, and notes a FIN. */
  accept(seq: number, payload: Uint8Array, flags: number): Uint8Array[] {
    if ((flags & FIN) !== 0) {
      const at = seqAdd(seq, payload.length);
      if (seqLess(at, this.#edge) || at === this.#edge) this.#finAt = at;
    }
    if (payload.length === 0) {
      // A FIN beyond a gap, too, is answered with what is missing.
      if ((flags & FIN) !== 0 && this.#finAt !== this.next) this.ackNow = true;
      return [];
    }
    const skip = Math.max(0, seqDiff(this.next, seq));
    const start = seqAdd(seq, skip);
    const room = seqDiff(this.#edge, start);
    const bytes = payload.subarray(skip, skip + Math.max(0, room));
    this.#unacked++;
    this.#unackedBytes += bytes.length;
    if ((flags & PSH) !== 0) this.#ackSoon = true;
    if (bytes.length < payload.length || start !== this.next || this.#queue.size > 0) this.ackNow = true;
    if (bytes.length === 0) return [];
    if (start !== this.next) {
      this.#queue.insert(start, bytes);
      return [];
    }
    const ready = [bytes];
    this.#advance(bytes.length);
    for (let next = this.#queue.take(this.next); next !== undefined; next = this.#queue.take(this.next)) {
      ready.push(next);
      this.#advance(next.length);
    }
    return ready;
  }

  #advance(count: number): void {
    this.next = seqAdd(this.next, count);
    this.#unconsumed += count;
  }

  /** All that the peer sent before its FIN is there. */
  get complete(): boolean {
    return this.#finAt === this.next;
  }

  /** Takes the FIN. */
  finish(): void {
    this.next = seqAdd(this.next, 1);
    this.#edge = seqMax(this.#edge, this.next);
    this.#queue.clear();
    this.ackNow = true;
  }

  /** `count` of the bytes that were delivered are dealt with. */
  consumed(count: number): void {
    this.#unconsumed = Math.max(0, this.#unconsumed - count);
  }

  /** Where the window's right edge could be now; it never moves back. */
  get #freshEdge(): number {
    return seqMax(this.#edge, seqAdd(this.next, Math.max(0, this.bytes - this.#unconsumed)));
  }

  /** Each update may wake a peer that waits, so they come in large steps: a peer that has been told less than three quarters of the buffer gets one. */
  updateWanted(mss: number): boolean {
    return seqDiff(this.#freshEdge, this.#edge) >= Math.max(Math.min(2 * mss, this.bytes / 2), this.bytes / 4);
  }

  /** The window field of a segment that is sent now. */
  offer(mss: number): number {
    const edge = this.#freshEdge;
    // Silly window avoidance (RFC 9293, 3.8.6.2.2): the edge moves in steps worth a segment.
    if (seqDiff(edge, this.#edge) >= Math.min(mss, this.bytes / 2)) this.#edge = edge;
    return Math.min(0xffff, seqDiff(this.#edge, this.next) >> this.shift);
  }

  /** In how many virtual ns what came is to be acknowledged; Infinity when nothing is. */
  get ackInNs(): number {
    if (this.ackNow || this.#unackedBytes >= this.bytes / 4) return 0;
    if (this.#unacked === 0) return Infinity;
    return this.#ackSoon || this.#unacked >= 2 ? GATHER_ACKS_NS : DELAYED_ACK_NS;
  }

  /** An acknowledgement goes out. */
  acknowledged(): void {
    this.ackNow = this.#ackSoon = false;
    this.#unacked = this.#unackedBytes = 0;
  }

  clear(): void {
    this.#queue.clear();
  }
}
