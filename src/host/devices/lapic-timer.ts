import type { Clock, Timer } from '../clock.js';
import { type LapicState, LVT_TIMER, MASKED, TIMER_DEADLINE, TIMER_PERIODIC, timerMode, TWO_32 } from './lapic-registers.js';

/** A periodic timer that is set faster fires at this pace: a guest must not be able to stall its host. */
const LEAST_PERIOD_NS = 10_000;

/** The timer of a local APIC (Intel SDM vol. 3, 11.5.4): arithmetic on the state that the APIC owns, and one virtual timer. */
export class LapicTimer {
  readonly #clock: Clock;
  readonly #timer: Timer;
  readonly #tscToNs: (tsc: number) => number;

  constructor(clock: Clock, tscToNs: (tsc: number) => number, onExpiry: () => void) {
    this.#clock = clock;
    this.#tscToNs = tscToNs;
    this.#timer = clock.timer(onExpiry);
  }

  disarm(): void {
    this.#timer.disarm();
  }

  /** IA32_TSC_DEADLINE was written; returns whether the time has come already. */
  writeDeadline(s: LapicState, lo: number, hi: number): boolean {
    if (timerMode(s.lvt[LVT_TIMER]) !== TIMER_DEADLINE) return false;
    s.deadlineLo = lo;
    s.deadlineHi = hi;
    if ((lo | hi) === 0) {
      this.#timer.disarm();
      return false;
    }
    const atNs = this.#tscToNs(hi * TWO_32 + lo);
    if (atNs <= this.#clock.now) return true;
    this.#armAt(atNs);
    return false;
  }

  writeInitialCount(s: LapicState, count: number): void {
    if (timerMode(s.lvt[LVT_TIMER]) === TIMER_DEADLINE) return;
    s.ticr = count;
    s.counting = count !== 0;
    s.expiryNs = this.#clock.now + count * divisor(s.tdcr);
    this.arm(s);
  }

  /** The count goes on from where it is, at the new pace. */
  writeDivider(s: LapicState, value: number): void {
    const left = this.currentCount(s);
    s.tdcr = value;
    s.expiryNs = this.#clock.now + left * divisor(value);
    this.arm(s);
  }

  /** The timer's LVT entry changed from `old`. */
  modeChanged(s: LapicState, old: number): void {
    const before = timerMode(old);
    const after = timerMode(s.lvt[LVT_TIMER]);
    if (before !== after && (before >= TIMER_DEADLINE || after >= TIMER_DEADLINE)) {
      s.counting = false;
      s.deadlineLo = s.deadlineHi = 0;
    }
    this.arm(s);
  }

  currentCount(s: LapicState): number {
    if (!s.counting) return 0;
    const step = divisor(s.tdcr);
    let leftNs = s.expiryNs - this.#clock.now;
    if (leftNs <= 0) {
      if (timerMode(s.lvt[LVT_TIMER]) !== TIMER_PERIODIC) return 0;
      const periodNs = s.ticr * step;
      leftNs = periodNs - (-leftNs % periodNs);
    }
    return Math.ceil(leftNs / step);
  }

  /** Takes note that the count or the deadline has come, and starts the next period. */
  expired(s: LapicState): void {
    const mode = timerMode(s.lvt[LVT_TIMER]);
    if (mode === TIMER_PERIODIC) {
      this.arm(s);
      return;
    }
    s.counting = false;
    s.deadlineLo = s.deadlineHi = 0;
    this.#timer.disarm();
  }

  /** Arms what the state asks for. An expiry that has passed and not fired yet is kept: it fires as soon as the CPU stops. */
  arm(s: LapicState): void {
    const mode = timerMode(s.lvt[LVT_TIMER]);
    if (mode === TIMER_DEADLINE) {
      if ((s.deadlineLo | s.deadlineHi) === 0) this.#timer.disarm();
      else this.#armAt(this.#tscToNs(s.deadlineHi * TWO_32 + s.deadlineLo));
    } else if (!s.counting) this.#timer.disarm();
    else if (mode === TIMER_PERIODIC) this.#armPeriodic(s);
    else this.#timer.arm(s.expiryNs);
  }

  #armPeriodic(s: LapicState): void {
    const now = this.#clock.now;
    const periodNs = s.ticr * divisor(s.tdcr);
    if (s.expiryNs <= now && !this.#timer.armed) s.expiryNs += (Math.floor((now - s.expiryNs) / periodNs) + 1) * periodNs;
    if ((s.lvt[LVT_TIMER] & MASKED) !== 0) this.#timer.disarm();
    else this.#timer.arm(periodNs < LEAST_PERIOD_NS ? Math.max(s.expiryNs, now + LEAST_PERIOD_NS) : s.expiryNs);
  }

  /** Deadlines beyond the clock's range never come: an idle guest must not jump there. */
  #armAt(atNs: number): void {
    if (atNs < Number.MAX_SAFE_INTEGER) this.#timer.arm(atNs);
    else this.#timer.disarm();
  }
}

/** What TDCR divides the clock by: bits 0, 1 and 3, 0b111 for 1. */
const divisor = (tdcr: number): number => {
  const code = (tdcr & 3) | ((tdcr & 8) >> 1);
  return code === 7 ? 1 : 2 << code;
};
