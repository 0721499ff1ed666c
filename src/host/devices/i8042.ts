import type { GuestLog } from '../../logger.js';
import type { Clock, Timer } from '../clock.js';
import { type IrqLine, NO_IRQ } from '../irq.js';
import { type AccessSize, type Device, openBus, type Region } from './device.js';
import { BREAK_PREFIX, translateScancode } from './scancodes.js';
import { clone, validated } from './state.js';

// IBM PS/2 hardware interface technical reference: keyboard and auxiliary device controller, and the 101-key keyboard.

const DATA_REGION = 0;

const STATUS_OBF = 0x01;
const STATUS_SYSTEM = 0x04;
const STATUS_COMMAND = 0x08;
const STATUS_UNLOCKED = 0x10;
const STATUS_AUX = 0x20;
const STATUS_TIMEOUT = 0x40;

const CONFIG_KEYBOARD_IRQ = 0x01;
const CONFIG_AUX_IRQ = 0x02;
const CONFIG_SYSTEM = 0x04;
const CONFIG_KEYBOARD_OFF = 0x10;
const CONFIG_AUX_OFF = 0x20;
const CONFIG_TRANSLATE = 0x40;

const OUTPUT_NO_RESET = 0x01;
const OUTPUT_A20 = 0x02;
const OUTPUT_KEYBOARD_FULL = 0x10;
const OUTPUT_AUX_FULL = 0x20;

const RAM_BYTES = 32;
const READ_RAM = 0x20;
const WRITE_RAM = 0x60;
const TEST_PASSWORD = 0xa4;
const AUX_OFF = 0xa7;
const AUX_ON = 0xa8;
const TEST_AUX = 0xa9;
const SELF_TEST = 0xaa;
const TEST_KEYBOARD = 0xab;
const KEYBOARD_OFF = 0xad;
const KEYBOARD_ON = 0xae;
const READ_INPUT = 0xc0;
const READ_OUTPUT = 0xd0;
const WRITE_OUTPUT = 0xd1;
const WRITE_KEYBOARD_BUFFER = 0xd2;
const WRITE_AUX_BUFFER = 0xd3;
const WRITE_AUX = 0xd4;
const A20_OFF = 0xdd;
const A20_ON = 0xdf;
const READ_TEST = 0xe0;
const PULSE = 0xf0;

const NO_PASSWORD = 0xf1;
const SELF_TEST_PASSED = 0x55;
const INPUT_PORT = 0x80;

const KEY_LEDS = 0xed;
const KEY_ECHO = 0xee;
const KEY_SCANCODE_SET = 0xf0;
const KEY_IDENTIFY = 0xf2;
const KEY_RATE = 0xf3;
const KEY_ENABLE = 0xf4;
const KEY_DISABLE = 0xf5;
const KEY_DEFAULTS = 0xf6;
const KEY_ALL_FIRST = 0xf7;
const KEY_ALL_LAST = 0xfa;
const KEY_ONE_FIRST = 0xfb;
const KEY_ONE_LAST = 0xfd;
const KEY_RESEND = 0xfe;
const KEY_RESET = 0xff;
const ACK = 0xfa;
const SELF_TEST_OK = 0xaa;
const RESEND = 0xfe;
const OVERRUN = 0xff;

const SOURCE_CONTROLLER = 0;
const SOURCE_KEYBOARD = 1;
const SOURCE_AUX = 2;
const SOURCE_AUX_TIMEOUT = 3;

const KEYBOARD_QUEUE = 16;
/** A byte takes its time on the keyboard's wire: a handler may read port 0x60 twice and must see the same byte. */
const BYTE_NS = 500_000;

export interface I8042State {
  ram: Uint8Array;
  /** The command whose data byte is due; 0 for none. */
  command: number;
  /** Bit 3 of the status: the last write went to port 0x64. */
  lastWasCommand: boolean;
  output: number;
  /** What is in the output buffer; it stays readable when it is empty. */
  data: number;
  full: boolean;
  source: number;
  /** Answers of the controller that wait for the buffer: source * 256 + byte. */
  answers: number[];
  /** Bytes from the keyboard that wait for the buffer, set 2. */
  keys: number[];
  /** The translator saw a release prefix. */
  released: boolean;
  keyCommand: number;
  scancodeSet: number;
  scanning: boolean;
  leds: number;
  lastKey: number;
  /** In saved states: ns until the keyboard's next byte; -1 for none. */
  wireNs: number;
}

const initial = (): I8042State => {
  const ram = new Uint8Array(RAM_BYTES);
  ram[0] = CONFIG_TRANSLATE | CONFIG_AUX_OFF | CONFIG_SYSTEM | CONFIG_KEYBOARD_IRQ;
  return {
    ram,
    command: 0,
    lastWasCommand: false,
    output: 0xcc | OUTPUT_A20 | OUTPUT_NO_RESET,
    data: 0,
    full: false,
    source: SOURCE_CONTROLLER,
    answers: [],
    keys: [],
    released: false,
    keyCommand: 0,
    scancodeSet: 2,
    scanning: true,
    leds: 0,
    lastKey: SELF_TEST_OK,
    wireNs: -1,
  };
};

export interface I8042Options {
  name?: string;
  clock: Clock;
  /** IRQ 1. */
  keyboardIrq?: IrqLine;
  /** IRQ 12. */
  auxIrq?: IrqLine;
  /** The A20 bit of the output port was written. */
  onA20: (enabled: boolean) => void;
  /** The guest pulled the reset line. */
  onReset: () => void;
  log?: GuestLog;
}

/**
 * The keyboard controller with a keyboard, and an auxiliary port with nothing in it. Regions: 0 data (port 0x60), 1 status and command
 * (port 0x64). Its state after reset is the one that a firmware leaves: self-tested, translation and IRQ 1 on, A20 enabled.
 */
export class I8042 implements Device<I8042State> {
  readonly name: string;
  readonly regions: readonly Region[] = [
    { space: 'pio', size: 1 },
    { space: 'pio', size: 1 },
  ];
  readonly #options: I8042Options;
  readonly #keyboardIrq: IrqLine;
  readonly #auxIrq: IrqLine;
  readonly #clock: Clock;
  readonly #wire: Timer;
  #s = initial();

  constructor(options: I8042Options) {
    this.name = options.name ?? 'i8042';
    this.#options = options;
    this.#keyboardIrq = options.keyboardIrq ?? NO_IRQ;
    this.#auxIrq = options.auxIrq ?? NO_IRQ;
    this.#clock = options.clock;
    this.#wire = options.clock.timer(() => this.#fill());
  }

  /** The A20 bit of the output port. */
  get a20(): boolean {
    return (this.#s.output & OUTPUT_A20) !== 0;
  }

  /** Scroll, num and caps lock lights: bits 0 to 2. */
  get leds(): number {
    return this.#s.leds;
  }

  /** Whether nothing of the keyboard waits to be read. */
  get idle(): boolean {
    return this.#s.keys.length === 0 && !this.#s.full && !this.#wire.armed;
  }

  /** Keys go down and up: bytes of scan code set 2, as the keyboard sends them. Dropped while the guest has scanning off. */
  sendScancodes(bytes: readonly number[] | Uint8Array): void {
    const s = this.#s;
    if (!s.scanning) return;
    for (const byte of bytes) {
      if (s.keys.length < KEYBOARD_QUEUE) s.keys.push(byte & 0xff);
      else s.keys[KEYBOARD_QUEUE - 1] = OVERRUN;
    }
    this.#offer();
  }

  read(_offset: number, size: AccessSize, region: number): number {
    const value = region === DATA_REGION ? this.#readData() : this.#status();
    return size === 1 ? value : openBus(size) - 0xff + value;
  }

  write(_offset: number, value: number, _size: AccessSize, region: number): void {
    const byte = value & 0xff;
    const s = this.#s;
    s.lastWasCommand = region !== DATA_REGION;
    if (region !== DATA_REGION) this.#runCommand(byte);
    else if (s.command !== 0) {
      const { command } = s;
      s.command = 0;
      this.#runWithData(command, byte);
    } else {
      s.ram[0] &= ~CONFIG_KEYBOARD_OFF;
      this.#writeKeyboard(byte);
    }
    this.#offer();
    this.#updateIrq();
  }

  reset(): void {
    this.#s = initial();
    this.#wire.disarm();
    this.#updateIrq();
  }

  save(): I8042State {
    const state = clone(this.#s);
    state.wireNs = this.#wire.armed ? Math.max(0, this.#wire.atNs - this.#clock.now) : -1;
    return state;
  }

  restore(state: I8042State): void {
    const s = validated(this.name, initial(), state);
    this.#s = s;
    if (s.wireNs < 0) this.#wire.disarm();
    else this.#wire.arm(this.#clock.now + s.wireNs);
    this.#updateIrq();
  }

  #updateIrq(): void {
    const { full, source, ram } = this.#s;
    const fromAux = source >= SOURCE_AUX;
    this.#keyboardIrq.set(full && !fromAux && (ram[0] & CONFIG_KEYBOARD_IRQ) !== 0);
    this.#auxIrq.set(full && fromAux && (ram[0] & CONFIG_AUX_IRQ) !== 0);
  }

  #status(): number {
    const s = this.#s;
    return (
      STATUS_UNLOCKED |
      (s.full ? STATUS_OBF : 0) |
      ((s.ram[0] & CONFIG_SYSTEM) === 0 ? 0 : STATUS_SYSTEM) |
      (s.lastWasCommand ? STATUS_COMMAND : 0) |
      (s.full && s.source >= SOURCE_AUX ? STATUS_AUX : 0) |
      (s.full && s.source === SOURCE_AUX_TIMEOUT ? STATUS_TIMEOUT : 0)
    );
  }

  #readData(): number {
    const s = this.#s;
    const value = s.data;
    if (!s.full) return value;
    s.full = false;
    this.#updateIrq();
    if (s.answers.length > 0) this.#fill();
    else if (s.keys.length > 0 && !this.#wire.armed) this.#wire.arm(this.#clock.now + BYTE_NS);
    return value;
  }

  /** Moves a waiting byte to the output buffer at once when that is free and the wire is not busy. */
  #offer(): void {
    if (this.#s.answers.length > 0 || !this.#wire.armed) this.#fill();
  }

  #fill(): void {
    const s = this.#s;
    if (s.full) return;
    const answer = s.answers.shift();
    if (answer !== undefined) this.#load(answer & 0xff, answer >> 8);
    else if ((s.ram[0] & CONFIG_KEYBOARD_OFF) === 0) {
      let key = s.keys.shift();
      if (key === BREAK_PREFIX && this.#translates) {
        s.released = true;
        key = s.keys.shift();
      }
      if (key === undefined) return;
      s.lastKey = key;
      if (this.#translates) {
        key = translateScancode(key) | (s.released ? 0x80 : 0);
        s.released = false;
      }
      this.#load(key, SOURCE_KEYBOARD);
    }
  }

  get #translates(): boolean {
    return (this.#s.ram[0] & CONFIG_TRANSLATE) !== 0;
  }

  #load(byte: number, source: number): void {
    const s = this.#s;
    s.data = byte;
    s.source = source;
    s.full = true;
    this.#updateIrq();
  }

  #answer(byte: number, source = SOURCE_CONTROLLER): void {
    if (this.#s.answers.length < KEYBOARD_QUEUE) this.#s.answers.push(source * 256 + byte);
  }

  #runCommand(command: number): void {
    const s = this.#s;
    s.command = 0;
    if (command >= READ_RAM && command < READ_RAM + RAM_BYTES) {
      this.#answer(s.ram[command - READ_RAM]);
      return;
    }
    if (command >= WRITE_RAM && command < WRITE_RAM + RAM_BYTES) {
      s.command = command;
      return;
    }
    if (command >= PULSE) {
      if ((command & OUTPUT_NO_RESET) === 0) this.#options.onReset();
      return;
    }
    switch (command) {
      case TEST_PASSWORD:
        this.#answer(NO_PASSWORD);
        return;
      case AUX_OFF:
        s.ram[0] |= CONFIG_AUX_OFF;
        return;
      case AUX_ON:
        s.ram[0] &= ~CONFIG_AUX_OFF;
        return;
      case TEST_AUX:
      case TEST_KEYBOARD:
        this.#answer(0);
        return;
      case SELF_TEST:
        s.ram[0] |= CONFIG_SYSTEM;
        s.answers.length = 0;
        s.full = false;
        this.#answer(SELF_TEST_PASSED);
        return;
      case KEYBOARD_OFF:
        s.ram[0] |= CONFIG_KEYBOARD_OFF;
        return;
      case KEYBOARD_ON:
        s.ram[0] &= ~CONFIG_KEYBOARD_OFF;
        return;
      case READ_INPUT:
        this.#answer(INPUT_PORT);
        return;
      case READ_OUTPUT:
        this.#answer((s.output & ~(OUTPUT_KEYBOARD_FULL | OUTPUT_AUX_FULL)) | (s.full ? (s.source >= SOURCE_AUX ? OUTPUT_AUX_FULL : OUTPUT_KEYBOARD_FULL) : 0));
        return;
      case WRITE_OUTPUT:
      case WRITE_KEYBOARD_BUFFER:
      case WRITE_AUX_BUFFER:
      case WRITE_AUX:
        s.command = command;
        return;
      case A20_OFF:
      case A20_ON:
        this.#writeOutput(command === A20_ON ? s.output | OUTPUT_A20 : s.output & ~OUTPUT_A20);
        return;
      case READ_TEST:
        this.#answer(0);
        return;
      default:
        this.#options.log?.guestError(this.name, `unknown controller command 0x${command.toString(16)}`);
    }
  }

  #runWithData(command: number, byte: number): void {
    switch (command) {
      case WRITE_OUTPUT:
        this.#writeOutput(byte);
        return;
      case WRITE_KEYBOARD_BUFFER:
        this.#answer(byte, SOURCE_KEYBOARD);
        return;
      case WRITE_AUX_BUFFER:
        this.#answer(byte, SOURCE_AUX);
        return;
      case WRITE_AUX:
        // Nobody is there: the controller gives up, and says so.
        this.#answer(RESEND, SOURCE_AUX_TIMEOUT);
        return;
      default:
        this.#s.ram[command - WRITE_RAM] = byte;
    }
  }

  #writeOutput(value: number): void {
    this.#s.output = value;
    this.#options.onA20((value & OUTPUT_A20) !== 0);
    if ((value & OUTPUT_NO_RESET) === 0) this.#options.onReset();
  }

  #reply(...bytes: number[]): void {
    const { keys } = this.#s;
    for (const byte of bytes) if (keys.length < KEYBOARD_QUEUE) keys.push(byte);
  }

  #writeKeyboard(byte: number): void {
    const s = this.#s;
    const command = s.keyCommand;
    // A byte with the top bit set is a new command even where a parameter was due.
    if (command !== 0 && byte < 0x80) {
      s.keyCommand = 0;
      this.#writeKeyParameter(command, byte);
      return;
    }
    s.keyCommand = 0;
    switch (byte) {
      case KEY_LEDS:
      case KEY_SCANCODE_SET:
      case KEY_RATE:
        s.keyCommand = byte;
        this.#reply(ACK);
        return;
      case KEY_ECHO:
        this.#reply(KEY_ECHO);
        return;
      case KEY_IDENTIFY:
        this.#reply(ACK, 0xab, 0x83);
        return;
      case KEY_ENABLE:
        s.keys.length = 0;
        s.scanning = true;
        this.#reply(ACK);
        return;
      case KEY_DISABLE:
      case KEY_DEFAULTS:
        s.keys.length = 0;
        s.scanning = byte === KEY_DEFAULTS;
        s.scancodeSet = 2;
        this.#reply(ACK);
        return;
      case KEY_RESEND:
        this.#reply(s.lastKey);
        return;
      case KEY_RESET:
        s.keys.length = 0;
        s.scanning = true;
        s.scancodeSet = 2;
        s.leds = 0;
        this.#reply(ACK, SELF_TEST_OK);
        return;
      default:
        if (byte >= KEY_ALL_FIRST && byte <= KEY_ALL_LAST) this.#reply(ACK);
        else if (byte >= KEY_ONE_FIRST && byte <= KEY_ONE_LAST) {
          s.keyCommand = byte;
          this.#reply(ACK);
        } else this.#reply(RESEND);
    }
  }

  #writeKeyParameter(command: number, byte: number): void {
    const s = this.#s;
    this.#reply(ACK);
    if (command === KEY_LEDS) s.leds = byte & 7;
    else if (command === KEY_SCANCODE_SET && byte === 0) this.#reply(s.scancodeSet);
    else if (command === KEY_SCANCODE_SET && byte <= 3) s.scancodeSet = byte;
    // Of the keys named after 0xFB to 0xFD there may be many; the list ends with the next command.
    else if (command >= KEY_ONE_FIRST) s.keyCommand = command;
  }
}
