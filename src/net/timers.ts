import type { Clock, Timer } from '../host/clock.js';

/** One place in the heap; out of date when its timer moved on. */
interface Slot {
  readonly atNs: number;
  readonly order: number;
  readonly timer: QueueTimer;
}

class QueueTimer implements Timer {
  atNs = Infinity;
  /** The deadline of this timer's live slot, Infinity without one. */
  slotNs = Infinity;

  constructor(
    readonly queue: TimerQueue,
    readonly callback: () => void,
  ) {}

  get armed(): boolean {
    return this.atNs !== Infinity;
  }

  arm(atNs: number): void {
    this.atNs = Math.max(0, Math.ceil(atNs));
    if (this.atNs < this.slotNs) this.queue.push(this);
  }

  disarm(): void {
    this.atNs = Infinity;
  }
}

const earlier = (a: Slot, b: Slot): boolean => a.atNs < b.atNs || (a.atNs === b.atNs && a.order < b.order);

/**
 * Any number of short-lived timers on one timer of a clock, which keeps its timers for ever. Moving a deadline back, as a retransmission
 * timer does with every acknowledgement, costs nothing: the slot is looked at again when it comes up. Timers due at the same instant
 * fire in the order in which they were armed.
 */
export class TimerQueue implements Clock {
  readonly #clock: Clock;
  readonly #wake: Timer;
  readonly #heap: Slot[] = [];
  #order = 0;
  #firing = false;
  readonly #around: (work: () => void) => void;

  /** `around` is called with all that falls due at once. */
  constructor(clock: Clock, around: (work: () => void) => void = work => work()) {
    this.#clock = clock;
    this.#around = around;
    this.#wake = clock.timer(() => this.#around(() => this.#fire()));
  }

  get now(): number {
    return this.#clock.now;
  }

  timer(callback: () => void): Timer {
    return new QueueTimer(this, callback);
  }

  /** Calls back once in `inNs`. */
  after(inNs: number, callback: () => void): Timer {
    const timer = this.timer(callback);
    timer.arm(this.now + inNs);
    return timer;
  }

  push(timer: QueueTimer): void {
    timer.slotNs = timer.atNs;
    this.#insert({ atNs: timer.atNs, order: this.#order++, timer });
    this.#rearm();
  }

  #rearm(): void {
    if (this.#firing) return;
    const next = this.#heap[0]?.atNs ?? Infinity;
    if (next === Infinity) this.#wake.disarm();
    else if (next !== this.#wake.atNs) this.#wake.arm(next);
  }

  #fire(): void {
    const now = this.now;
    const last = this.#order;
    this.#firing = true;
    try {
      while (this.#heap.length > 0 && this.#heap[0].atNs <= now && this.#heap[0].order < last) {
        const { atNs, timer } = this.#pop();
        if (timer.slotNs !== atNs) continue;
        timer.slotNs = Infinity;
        if (timer.atNs > now) {
          if (timer.armed) this.push(timer);
          continue;
        }
        timer.atNs = Infinity;
        timer.callback();
      }
    } finally {
      this.#firing = false;
      this.#rearm();
    }
  }

  #insert(slot: Slot): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(slot);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!earlier(slot, heap[parent])) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = slot;
  }

  #pop(): Slot {
    const heap = this.#heap;
    const top = heap[0];
    const slot = heap.pop() as Slot;
    if (heap.length === 0) return top;
    let at = 0;
    while (true) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && earlier(heap[child + 1], heap[child])) child++;
      if (!earlier(heap[child], slot)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = slot;
    return top;
  }
}
