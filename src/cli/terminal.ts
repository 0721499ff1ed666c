import type { CliIo } from './io.js';

const CTRL_A = 0x01;

export type EscapeAction = 'quit' | 'help' | 'status' | 'suspend';

const ACTIONS: Readonly<Record<string, EscapeAction>> = { x: 'quit', h: 'help', '?': 'help', c: 'status', z: 'suspend' };

/** How a control key is written for people. */
export const keyName = (code: number): string => (code < 0x20 ? `Ctrl-${String.fromCharCode(code + 0x40)}` : String.fromCharCode(code));

/** Cuts escape sequences out of what is typed: the escape key and a letter; the escape key twice is the key itself. */
export class EscapeKeys {
  #pending = false;

  constructor(
    readonly key: number | undefined,
    readonly act: (action: EscapeAction) => void,
  ) {}

  /** Returns what is left for the guest. */
  feed(data: Uint8Array): Uint8Array {
    if (this.key === undefined) return data;
    const rest: number[] = [];
    for (const byte of data) {
      if (!this.#pending) {
        if (byte === this.key) this.#pending = true;
        else rest.push(byte);
        continue;
      }
      this.#pending = false;
      // The letter itself sends the key too, for terminals where the key cannot be typed twice.
      if (byte === this.key || (this.key === CTRL_A && byte === 0x61)) rest.push(this.key);
      else {
        const action = ACTIONS[String.fromCharCode(byte >= 1 && byte <= 26 ? byte + 0x60 : byte).toLowerCase()];
        if (action) this.act(action);
        else this.act('help');
      }
    }
    return Uint8Array.from(rest);
  }
}

export const helpLines = (key: number): string[] => {
  const name = keyName(key);
  return [
    `${name} x   quit: the machine is switched off at once`,
    `${name} c   how the machine stands`,
    `${name} z   suspend`,
    `${name} h   this help`,
    `${name} ${name}   send ${name} to the guest`,
  ];
};

/** The terminal in raw mode, restored on every way out of the process. */
export class RawTerminal {
  readonly #io: CliIo;
  readonly #onExit = () => this.leave();
  #raw = false;

  constructor(io: CliIo) {
    this.#io = io;
  }

  get raw(): boolean {
    return this.#raw;
  }

  enter(): void {
    if (this.#raw || this.#io.stdin.setRawMode === undefined) return;
    this.#io.stdin.setRawMode(true);
    this.#raw = true;
    process.on('exit', this.#onExit);
  }

  leave(): void {
    if (!this.#raw) return;
    this.#raw = false;
    process.off('exit', this.#onExit);
    try {
      this.#io.stdin.setRawMode?.(false);
    } catch {
      // The terminal is gone.
    }
  }
}
