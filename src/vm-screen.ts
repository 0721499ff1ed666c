import { type Duration, formatNs, parseDuration } from './config.js';
import { VmletError } from './errors.js';
import { screenText, type TextScreen } from './host/devices/vga.js';

/** What a screen needs of its VM. */
export interface ScreenOwner {
  /** What the display adapter shows now; undefined in a graphics mode. */
  screen(): TextScreen | undefined;
  /** Keeps the machine running until the release is called. */
  busy(): () => void;
  /** Calls back once at a virtual time from now; returns what cancels it. */
  after(ns: number, callback: () => void): () => void;
  /** Why the screen does not change any more, once the machine has ended. */
  ended(): unknown;
}

/** How often a screen is looked at while something is awaited on it. */
const LOOK_NS = 10e6;

/** The VGA text screen of a VM. */
export class Screen {
  readonly #owner: ScreenOwner;

  constructor(owner: ScreenOwner) {
    this.#owner = owner;
  }

  /** The rows as lines, without blanks at their ends; empty in a graphics mode. */
  text(): string {
    const screen = this.#owner.screen();
    return screen === undefined ? '' : screenText(screen);
  }

  /** Size, cells with attributes, and cursor; undefined in a graphics mode. */
  cells(): TextScreen | undefined {
    return this.#owner.screen();
  }

  /**
   * Waits until the screen shows a text. It is looked at every 10 ms of virtual time. `timeout` (60 s) is in virtual time. Resolves with the whole
   * screen; rejects with ERR_VMLET_EXPECT when the time is up or the machine ends.
   */
  async expect(pattern: string | RegExp, options: { timeout?: Duration } = {}): Promise<string> {
    const timeoutNs = parseDuration(options.timeout ?? '60s', 'timeout');
    const matches = (text: string): boolean => (typeof pattern === 'string' ? text.includes(pattern) : new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, '')).test(text));
    const release = this.#owner.busy();
    try {
      for (let passedNs = 0; ; passedNs += LOOK_NS) {
        const text = this.text();
        if (matches(text)) return text;
        const error = this.#owner.ended();
        const why = error === undefined ? `${formatNs(timeoutNs)} of guest time have passed` : 'the machine has ended';
        if (error !== undefined || passedNs >= timeoutNs) {
          throw new VmletError('ERR_VMLET_EXPECT', `no ${pattern instanceof RegExp ? String(pattern) : JSON.stringify(pattern)} on the screen: ${why}; it shows:\n${text.trimEnd()}`, { cause: error });
        }
        await this.#look();
      }
    } finally {
      release();
    }
  }

  /** The machine has ended: who waits looks once more. */
  end(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  readonly #waiting = new Set<() => void>();

  #look(): Promise<void> {
    return new Promise(resolve => {
      const wake = (): void => {
        cancel();
        this.#waiting.delete(wake);
        resolve();
      };
      this.#waiting.add(wake);
      const cancel = this.#owner.after(LOOK_NS, wake);
    });
  }
}
