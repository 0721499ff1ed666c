/** Virtual time in nanoseconds since power-on; an integer below 2^53 (104 days). */
export interface Clock {
  readonly now: number;
  timer(callback: () => void): Timer;
  /** The access in flight takes this long on real hardware. Guests poll such registers to see time pass; it passes without so many accesses then. */
  pass?(ns: number): void;
}

/** A one-shot timer on virtual time. Re-arming replaces the deadline. A deadline that has passed fires as soon as the CPU stops. */
export interface Timer {
  readonly armed: boolean;
  /** The deadline in ns, or Infinity when disarmed. */
  readonly atNs: number;
  arm(atNs: number): void;
  disarm(): void;
}

class VirtualTimer implements Timer {
  atNs = Infinity;
  readonly sequence: number;

  constructor(
    readonly clock: VirtualClock,
    readonly callback: () => void,
    sequence: number,
  ) {
    this.sequence = sequence;
  }

  get armed(): boolean {
    return this.atNs !== Infinity;
  }

  arm(atNs: number): void {
    this.atNs = Math.max(0, Math.ceil(atNs));
    this.clock.changed(this.atNs);
  }

  disarm(): void {
    this.atNs = Infinity;
  }
}

/** The machine's clock. Timers due at the same instant fire in the order of their creation, so a run is repeatable. */
export class VirtualClock implements Clock {
  readonly #timers: VirtualTimer[] = [];
  /** Reads the current virtual time; the machine points it at the CPU's instruction count. */
  source: () => number = () => 0;
  /** Told whenever a deadline is set, so that a running CPU can be given a smaller budget. */
  onArm: (atNs: number) => void = () => {};

  /** Told when a device lets time pass. */
  onPass: (ns: number) => void = () => {};

  get now(): number {
    return this.source();
  }

  pass(ns: number): void {
    this.onPass(ns);
  }

  timer(callback: () => void): Timer {
    const timer = new VirtualTimer(this, callback, this.#timers.length);
    this.#timers.push(timer);
    return timer;
  }

  changed(atNs: number): void {
    this.onArm(atNs);
  }

  /** The next deadline in ns, Infinity when nothing is armed. */
  get deadline(): number {
    let least = Infinity;
    for (const timer of this.#timers) if (timer.atNs < least) least = timer.atNs;
    return least;
  }

  /** Fires everything due at or before `now`, in deadline order. Callbacks may arm timers again; a bound stops a timer that re-arms in the past. */
  fire(now: number): void {
    for (let rounds = 0; rounds < 10_000; rounds++) {
      let next: VirtualTimer | undefined;
      for (const timer of this.#timers) {
        if (timer.atNs <= now && (next === undefined || timer.atNs < next.atNs)) next = timer;
      }
      if (next === undefined) return;
      next.atNs = Infinity;
      next.callback();
    }
  }
}

/** A clock moved by hand, for device tests. */
export class ManualClock extends VirtualClock {
  #now = 0;

  constructor() {
    super();
    this.source = () => this.#now;
  }

  /** Moves time forward by `ns`, firing what falls due at its own instant. */
  advance(ns: number): void {
    const end = this.#now + ns;
    while (this.deadline <= end) {
      this.#now = Math.max(this.#now, this.deadline);
      this.fire(this.#now);
    }
    this.#now = end;
  }
}
