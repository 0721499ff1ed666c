import type { Clock } from '../clock.js';
import { Bda, BDA_START } from './bda.js';
import type { FirmwareCall } from './call.js';
import { decodeTerminal, extendedCodes, keyCodes, NO_KEY } from './keys.js';
import type { LinearMemory } from './linear.js';
import type { SerialShare } from './serial-share.js';
import type { FirmwareTraps, Ready } from './traps.js';

// INT 09h and INT 16h (IBM PC/AT technical reference; Ralf Brown's interrupt list).

const RIGHT_SHIFT = 0x01;
const LEFT_SHIFT = 0x02;
const CTRL = 0x04;
const ALT = 0x08;
const NUM_LOCK = 0x20;
const CAPS_LOCK = 0x40;
const MODE_E1 = 0x01;
const MODE_E0 = 0x02;
const MODE_RIGHT_CTRL = 0x04;
const MODE_RIGHT_ALT = 0x08;
const BREAK_FLAG = 0x80;
/** How long a terminal may take within an escape sequence; Escape alone takes that long. */
const ESCAPE_NS = 20e6;
/** Calls of AH=01h that follow each other faster than this, and more of them than this, are a loop that waits. */
const POLL_NS = 5000;
const IDLE_POLLS = 64;
const REST_NS = 1e6;
const KEYBOARD_ID = 0x83ab;

/** What a key asked for besides a code in the buffer. */
export type KeyAction = 'break' | 'reset' | undefined;

/** The keyboard buffer in the data area, filled by the keyboard and by the serial line. */
export class KeyboardServices {
  readonly #memory: LinearMemory;
  readonly #traps: FirmwareTraps;
  readonly #clock: Clock;
  readonly #serial: SerialShare | undefined;
  #polls = 0;
  #lastPollNs = 0;
  /** When an escape sequence that has begun counts as over. */
  #escapeAt: number | undefined;

  constructor(options: { memory: LinearMemory; traps: FirmwareTraps; clock: Clock; serial: SerialShare | undefined }) {
    this.#memory = options.memory;
    this.#traps = options.traps;
    this.#clock = options.clock;
    this.#serial = options.serial;
  }

  reset(): void {
    this.#escapeAt = undefined;
  }

  handle(call: FirmwareCall): void | Generator<Ready, void, void> {
    switch (call.ah) {
      case 0x00:
      case 0x10:
      case 0x20:
        return this.#read(call);
      case 0x01:
      case 0x11:
      case 0x21:
        if (!this.#answer(call) && this.#isIdle()) return this.#rest(call);
        return;
      case 0x02:
        call.al = this.#memory.u8(Bda.SHIFT_FLAGS);
        return;
      case 0x05:
        call.al = this.put(call.cx) ? 0 : 1;
        return;
      case 0x09:
        call.al = 0x30;
        return;
      case 0x0a:
        call.bx = KEYBOARD_ID;
        return;
      case 0x12:
      case 0x22:
        call.al = this.#memory.u8(Bda.SHIFT_FLAGS);
        call.ah = (this.#memory.u8(Bda.SHIFT_FLAGS_2) & 0x73) | (this.#memory.u8(Bda.KEYBOARD_MODE) & 0x0c);
        return;
      case 0x92:
        call.ah = 0x80;
        return;
      case 0xa2:
        return;
      default:
        return;
    }
  }

  /** Appends a code; false when the buffer is full. */
  put(code: number): boolean {
    const memory = this.#memory;
    const tail = memory.u16(Bda.KEY_TAIL);
    const next = this.#after(tail);
    if (next === memory.u16(Bda.KEY_HEAD)) return false;
    memory.setU16(BDA_START + tail, code);
    memory.setU16(Bda.KEY_TAIL, next);
    return true;
  }

  /** Turns what came over the serial line into keys, as far as the buffer has room. */
  pump(): void {
    const serial = this.#serial;
    if (serial === undefined || serial.claimed) return;
    while (serial.queue.length > 0) {
      const key = decodeTerminal(serial.queue) ?? this.#unfinished();
      if (key === undefined) return;
      this.#escapeAt = undefined;
      if (key.code !== NO_KEY && !this.put(key.code)) return;
      serial.take(key.length);
    }
  }

  /** A byte of scan code set 1 came from the keyboard. */
  scanCode(byte: number): KeyAction {
    const memory = this.#memory;
    const mode = memory.u8(Bda.KEYBOARD_MODE);
    if (byte === 0xe0 || byte === 0xe1) {
      memory.setU8(Bda.KEYBOARD_MODE, mode | (byte === 0xe0 ? MODE_E0 : MODE_E1));
      return undefined;
    }
    if (byte >= 0xfa) return undefined;
    const released = (byte & 0x80) !== 0;
    const scan = byte & 0x7f;
    if ((mode & MODE_E1) !== 0) {
      // Pause: E1 1D 45 E1 9D C5. It stops nothing here.
      if (scan === 0x45) memory.setU8(Bda.KEYBOARD_MODE, mode & ~MODE_E1);
      return undefined;
    }
    const extended = (mode & MODE_E0) !== 0;
    memory.setU8(Bda.KEYBOARD_MODE, mode & ~MODE_E0);
    if (this.#modifier(scan, extended, released)) return undefined;
    if (released) return undefined;
    return this.#pressed(scan, extended);
  }

  /** AH=01h: the next code without taking it; false when there is none. */
  #answer(call: FirmwareCall): boolean {
    const code = this.#peek(call.ah !== 0x01);
    call.zero = code === undefined;
    if (code === undefined) return false;
    call.ax = code;
    this.#polls = 0;
    return true;
  }

  /** Whether the guest does nothing but ask for keys. */
  #isIdle(): boolean {
    const { now } = this.#clock;
    this.#polls = now - this.#lastPollNs < POLL_NS ? this.#polls + 1 : 0;
    this.#lastPollNs = now;
    return this.#polls > IDLE_POLLS;
  }

  /** A guest that polls in a tight loop waits a little in each call: its time passes all the same, and the host's is spared. */
  *#rest(call: FirmwareCall): Generator<Ready, void, void> {
    const over = this.#traps.until(this.#clock.now + REST_NS);
    yield () => {
      this.pump();
      return !this.#empty || over();
    };
    this.#answer(call);
    this.#lastPollNs = this.#clock.now;
  }

  *#read(call: FirmwareCall): Generator<Ready, void, void> {
    const extended = call.ah !== 0;
    for (;;) {
      const code = this.#peek(extended);
      if (code !== undefined) {
        call.ax = code;
        this.#drop();
        return;
      }
      yield () => {
        this.pump();
        return !this.#empty;
      };
    }
  }

  get #empty(): boolean {
    return this.#memory.u16(Bda.KEY_HEAD) === this.#memory.u16(Bda.KEY_TAIL);
  }

  #drop(): void {
    this.#memory.setU16(Bda.KEY_HEAD, this.#after(this.#memory.u16(Bda.KEY_HEAD)));
  }

  /** The next code; the older functions never see those of keys that older keyboards had not. */
  #peek(extended: boolean): number | undefined {
    this.pump();
    while (!this.#empty) {
      const code = this.#memory.u16(BDA_START + this.#memory.u16(Bda.KEY_HEAD));
      if (extended) return (code & 0xff) === 0xf0 && code > 0xff ? code & 0xff00 : code;
      if (code >> 8 === 0xe0) return (code & 0xff) === 0x2f ? 0x352f : 0x1c00 | (code & 0xff);
      if ((code & 0xff) === 0xe0 && code > 0xff) return code & 0xff00;
      if (code >> 8 < 0x85) return code;
      this.#drop();
    }
    return undefined;
  }

  #after(at: number): number {
    const start = this.#memory.u16(Bda.KEY_BUFFER_START_PTR);
    const end = this.#memory.u16(Bda.KEY_BUFFER_END_PTR);
    return at + 2 >= end ? start : at + 2;
  }

  /** An escape sequence has begun and has not ended: after a while it was the Escape key. */
  #unfinished(): { code: number; length: number } | undefined {
    const { now } = this.#clock;
    if (this.#escapeAt === undefined) {
      this.#escapeAt = now + ESCAPE_NS;
      this.#traps.until(this.#escapeAt);
    }
    return now < this.#escapeAt ? undefined : { code: this.#serial!.queue[0] === 0x1b ? 0x011b : NO_KEY, length: 1 };
  }

  /** Shift, Ctrl, Alt and the locks; whether the key was one of them. */
  #modifier(scan: number, extended: boolean, released: boolean): boolean {
    const flag = (address: number, bit: number, on: boolean) => {
      const value = this.#memory.u8(address);
      this.#memory.setU8(address, on ? value | bit : value & ~bit);
    };
    const lock = (bit: number): true => {
      if (!released) this.#memory.setU8(Bda.SHIFT_FLAGS, this.#memory.u8(Bda.SHIFT_FLAGS) ^ bit);
      flag(Bda.SHIFT_FLAGS_2, bit, !released);
      return true;
    };
    switch (scan) {
      case 0x2a:
        if (!extended) flag(Bda.SHIFT_FLAGS, LEFT_SHIFT, !released);
        return true;
      case 0x36:
        if (!extended) flag(Bda.SHIFT_FLAGS, RIGHT_SHIFT, !released);
        return true;
      case 0x1d:
        flag(Bda.SHIFT_FLAGS, CTRL, !released);
        if (extended) flag(Bda.KEYBOARD_MODE, MODE_RIGHT_CTRL, !released);
        else flag(Bda.SHIFT_FLAGS_2, 0x01, !released);
        return true;
      case 0x38:
        flag(Bda.SHIFT_FLAGS, ALT, !released);
        if (extended) flag(Bda.KEYBOARD_MODE, MODE_RIGHT_ALT, !released);
        else flag(Bda.SHIFT_FLAGS_2, 0x02, !released);
        if (released) this.#typeNumber();
        return true;
      case 0x3a:
        return lock(CAPS_LOCK);
      case 0x45:
        return lock(NUM_LOCK);
      case 0x46:
        return extended || (this.#memory.u8(Bda.SHIFT_FLAGS) & CTRL) !== 0 ? false : lock(0x10);
      default:
        return false;
    }
  }

  #pressed(scan: number, extended: boolean): KeyAction {
    const memory = this.#memory;
    const shift = memory.u8(Bda.SHIFT_FLAGS);
    if (scan === 0x46) {
      memory.setU16(Bda.KEY_HEAD, memory.u16(Bda.KEY_BUFFER_START_PTR));
      memory.setU16(Bda.KEY_TAIL, memory.u16(Bda.KEY_BUFFER_START_PTR));
      memory.setU8(Bda.BREAK, memory.u8(Bda.BREAK) | BREAK_FLAG);
      this.put(0);
      return 'break';
    }
    if (scan === 0x53 && (shift & (CTRL | ALT)) === (CTRL | ALT)) {
      memory.setU16(Bda.RESET_FLAG, 0x1234);
      return 'reset';
    }
    const keypadDigit = !extended && scan >= 0x47 && scan <= 0x52 ? KEYPAD_DIGITS.indexOf(scan) : -1;
    if ((shift & ALT) !== 0 && keypadDigit >= 0) {
      memory.setU8(Bda.ALT_DIGITS, (memory.u8(Bda.ALT_DIGITS) * 10 + keypadDigit) & 0xff);
      return undefined;
    }
    const codes = extended ? extendedCodes(scan) : keyCodes(scan);
    if (codes === undefined) return undefined;
    let shifted = (shift & (LEFT_SHIFT | RIGHT_SHIFT)) !== 0;
    const character = codes.plain & 0xff;
    if (!extended && scan >= 0x47 && scan <= 0x53) shifted = shifted !== ((shift & NUM_LOCK) !== 0);
    else if (character >= 0x61 && character <= 0x7a) shifted = shifted !== ((shift & CAPS_LOCK) !== 0);
    const code = (shift & ALT) !== 0 ? codes.alt : (shift & CTRL) !== 0 ? codes.ctrl : shifted ? codes.shift : codes.plain;
    if (code !== NO_KEY) this.put(code);
    return undefined;
  }

  /** Alt was released: what was typed on the keypad meanwhile is a character's number. */
  #typeNumber(): void {
    const number = this.#memory.u8(Bda.ALT_DIGITS);
    this.#memory.setU8(Bda.ALT_DIGITS, 0);
    if (number !== 0) this.put(number);
  }
}

/** Scan codes of the keypad's 0 to 9. */
const KEYPAD_DIGITS = [0x52, 0x4f, 0x50, 0x51, 0x4b, 0x4c, 0x4d, 0x47, 0x48, 0x49];
