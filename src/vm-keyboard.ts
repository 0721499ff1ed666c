import { VmletError } from './errors.js';
import type { Clock, Timer } from './host/clock.js';

/** What a keyboard needs of its VM. */
export interface KeyboardOwner {
  readonly clock: Clock;
  /** Bytes of scan code set 2 to the machine's keyboard. */
  send(bytes: readonly number[]): void;
  /** Whether the guest has taken what was sent. */
  taken(): boolean;
  /** Keeps the machine running until the release is called. */
  busy(): () => void;
}

/** Between two keys: what a fast typist does, and what the slowest of drivers can follow. */
const KEY_NS = 20e6;
const EXTENDED = 0xe0;
const RELEASE = 0xf0;

// IBM 101-key keyboard, scan code set 2.
const SHIFT = 0x12;
const MODIFIERS: Record<string, number> = { shift: SHIFT, ctrl: 0x14, control: 0x14, alt: 0x11, altgr: 0xe011, meta: 0xe01f, rctrl: 0xe014, rshift: 0x59 };
const NAMED: Record<string, number> = {
  enter: 0x5a, return: 0x5a, tab: 0x0d, backspace: 0x66, escape: 0x76, esc: 0x76, space: 0x29, capslock: 0x58, numlock: 0x77, scrolllock: 0x7e,
  up: 0xe075, down: 0xe072, left: 0xe06b, right: 0xe074, home: 0xe06c, end: 0xe069, pageup: 0xe07d, pagedown: 0xe07a, insert: 0xe070, delete: 0xe071, del: 0xe071,
  f1: 0x05, f2: 0x06, f3: 0x04, f4: 0x0c, f5: 0x03, f6: 0x0b, f7: 0x83, f8: 0x0a, f9: 0x01, f10: 0x09, f11: 0x78, f12: 0x07,
};
const PLAIN = "1234567890-=[]\\;'`,./";
const SHIFTED = '!@#$%^&*()_+{}|:"~<>?';
const PLAIN_CODES = [0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x54, 0x5b, 0x5d, 0x4c, 0x52, 0x0e, 0x41, 0x49, 0x4a];

/** The key of each character of a US layout, and whether it takes Shift. */
const CHARACTERS = ((): ReadonlyMap<string, { code: number; shift: boolean }> => {
  const map = new Map<string, { code: number; shift: boolean }>();
  const letters = [0x1c, 0x32, 0x21, 0x23, 0x24, 0x2b, 0x34, 0x33, 0x43, 0x3b, 0x42, 0x4b, 0x3a, 0x31, 0x44, 0x4d, 0x15, 0x2d, 0x1b, 0x2c, 0x3c, 0x2a, 0x1d, 0x22, 0x35, 0x1a];
  letters.forEach((code, n) => {
    map.set(String.fromCharCode(0x61 + n), { code, shift: false });
    map.set(String.fromCharCode(0x41 + n), { code, shift: true });
  });
  PLAIN_CODES.forEach((code, n) => {
    map.set(PLAIN[n], { code, shift: false });
    map.set(SHIFTED[n], { code, shift: true });
  });
  for (const [char, name] of [[' ', 'space'], ['\n', 'enter'], ['\r', 'enter'], ['\t', 'tab'], ['\b', 'backspace'], ['\x1b', 'escape']]) map.set(char, { code: NAMED[name], shift: false });
  return map;
})();

const down = (code: number): number[] => (code > 0xff ? [EXTENDED, code & 0xff] : [code]);
const up = (code: number): number[] => (code > 0xff ? [EXTENDED, RELEASE, code & 0xff] : [RELEASE, code]);

/** The PS/2 keyboard of a VM. Keys go to the guest one by one, as fast as it takes them and no faster than 50 a second of its time. */
export class Keyboard {
  readonly #owner: KeyboardOwner;
  readonly #timer: Timer;
  readonly #queue: { bytes: number[]; done: (() => void) | undefined }[] = [];
  #release: (() => void) | undefined;

  constructor(owner: KeyboardOwner) {
    this.#owner = owner;
    this.#timer = owner.clock.timer(() => this.#next());
  }

  /**
   * Types a text on a US keyboard; '\n' is Enter. Resolves when the last key has been given to the guest. Throws ERR_VMLET_CONFIG for a character
   * that no key has.
   */
  type(text: string): Promise<void> {
    const keys = [...text.replace(/\r\n/g, '\n')].map(char => {
      const key = CHARACTERS.get(char);
      if (key === undefined) throw new VmletError('ERR_VMLET_CONFIG', `no key of the keyboard types ${JSON.stringify(char)}`, { hint: 'the keyboard has a US layout' });
      return key.shift ? [...down(SHIFT), ...down(key.code), ...up(key.code), ...up(SHIFT)] : [...down(key.code), ...up(key.code)];
    });
    return this.#send(keys);
  }

  /** Presses a key with modifiers and lets go: 'f8', 'ctrl+c', 'ctrl+alt+delete'. Throws ERR_VMLET_CONFIG for a name that is not known. */
  press(keys: string): Promise<void> {
    const names = keys.split(/\+(?=.)/).map(name => name.trim());
    const codes = names.map((name, n) => {
      const lower = name.toLowerCase();
      const code = (n < names.length - 1 ? MODIFIERS[lower] : undefined) ?? NAMED[lower] ?? MODIFIERS[lower] ?? CHARACTERS.get(name.length === 1 ? lower : name)?.code;
      if (code === undefined) throw new VmletError('ERR_VMLET_CONFIG', `the key '${name}' is not known`, { hint: `there are characters and ${Object.keys({ ...MODIFIERS, ...NAMED }).join(', ')}` });
      return code;
    });
    return this.#send([[...codes.flatMap(down), ...codes.reverse().flatMap(up)]]);
  }

  /** The machine has ended: nothing is typed any more. */
  end(): void {
    for (const { done } of this.#queue.splice(0)) done?.();
    this.#release?.();
    this.#release = undefined;
  }

  #send(keys: number[][]): Promise<void> {
    if (keys.length === 0) return Promise.resolve();
    return new Promise(resolve => {
      keys.forEach((bytes, n) => this.#queue.push({ bytes, done: n === keys.length - 1 ? resolve : undefined }));
      this.#release ??= this.#owner.busy();
      if (!this.#timer.armed) this.#timer.arm(this.#owner.clock.now);
    });
  }

  #next(): void {
    if (this.#owner.taken()) {
      const key = this.#queue.shift();
      if (key !== undefined) {
        this.#owner.send(key.bytes);
        key.done?.();
      }
    }
    if (this.#queue.length > 0) {
      this.#timer.arm(this.#owner.clock.now + KEY_NS);
      return;
    }
    this.#release?.();
    this.#release = undefined;
  }
}
