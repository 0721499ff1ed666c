import type { Clock, Timer } from './host/clock.js';

interface Slot {
  readonly timer: Timer;
  callback: (() => void) | undefined;
}

/** Any number of short waits on a machine's clock, which keeps every timer for ever: they are used again. */
export class VMTimers {
  readonly #clock: Clock;
  readonly #slots: Slot[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls back once in `ns` of virtual time. Returns what cancels it. */
  after(ns: number, callback: () => void): () => void {
    const slot = this.#slots.find(candidate => candidate.callback === undefined) ?? this.#newSlot();
    let waiting = true;
    const cancel = (): void => {
      if (!waiting) return;
      waiting = false;
      slot.timer.disarm();
      slot.callback = undefined;
    };
    slot.callback = () => {
      cancel();
      callback();
    };
    slot.timer.arm(this.#clock.now + ns);
    return cancel;
  }

  #newSlot(): Slot {
    const slot: Slot = { timer: this.#clock.timer(() => slot.callback?.()), callback: undefined };
    this.#slots.push(slot);
    return slot;
  }
}
