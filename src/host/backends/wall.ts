/** A wait that can be ended early. */
export interface Sleep {
  /** Resolves when the time is over or the sleep was cancelled. */
  readonly done: Promise<void>;
  cancel(): void;
}

/** The host's time, as the run loop needs it. */
export interface WallClock {
  /** Milliseconds, with fractions, on a clock that never goes back. */
  now(): number;
  /** Seconds since 1970, UTC. */
  epochSeconds(): number;
  /** Waits `ms` milliseconds, which may be Infinity. */
  sleep(ms: number): Sleep;
  /** Resolves when the event loop has gone round once: streams and signals got their turn. */
  turn(): Promise<void>;
}

/** setTimeout's longest delay. */
const LONGEST_MS = 0x7fff_ffff;

/** Node's clocks. A sleep keeps the process alive. */
export class NodeWall implements WallClock {
  now(): number {
    return performance.now();
  }

  epochSeconds(): number {
    return Math.floor(Date.now() / 1000);
  }

  sleep(ms: number): Sleep {
    const end = this.now() + ms;
    let timer: NodeJS.Timeout | undefined;
    let finish = (): void => {};
    const done = new Promise<void>(resolve => {
      finish = resolve;
    });
    const wait = (): void => {
      const left = end - this.now();
      if (left <= 0) finish();
      else timer = setTimeout(wait, Math.min(left, LONGEST_MS));
    };
    wait();
    return {
      done,
      cancel: () => {
        clearTimeout(timer);
        finish();
      },
    };
  }

  turn(): Promise<void> {
    return new Promise(resolve => setImmediate(resolve));
  }
}
