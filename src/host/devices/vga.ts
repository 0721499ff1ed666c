import type { GuestLog } from '../../logger.js';
import type { Clock } from '../clock.js';
import { readBytes, writeBytes } from './bytes.js';
import { glyphOf } from './text-cell.js';
import { type AccessSize, type Device, openBus, type Region } from './device.js';
import { clone, validated } from './state.js';

// IBM VGA (PS/2 display adapter technical reference); register names and indices as there.

/** First I/O port of region 0. */
export const VGA_PORT = 0x3b0;
/** Physical address of region 1. */
export const VGA_WINDOW = 0xa_0000;
const WINDOW_BYTES = 0x2_0000;
const PORT_BYTES = 0x30;
const CHUNK = 0x2000;
/** The colour text page in the window. */
const COLOUR_TEXT = 0x1_8000;
const MONO_TEXT = 0x1_0000;

const ATTRIBUTE = 0x3c0;
const ATTRIBUTE_READ = 0x3c1;
const MISC_WRITE = 0x3c2;
const ENABLE = 0x3c3;
const SEQUENCER_INDEX = 0x3c4;
const SEQUENCER_DATA = 0x3c5;
const DAC_MASK = 0x3c6;
const DAC_READ = 0x3c7;
const DAC_WRITE = 0x3c8;
const DAC_DATA = 0x3c9;
const FEATURE_READ = 0x3ca;
const MISC_READ = 0x3cc;
const GRAPHICS_INDEX = 0x3ce;
const GRAPHICS_DATA = 0x3cf;
const CRTC_INDEX = 0x3d4;
const CRTC_DATA = 0x3d5;
const STATUS1 = 0x3da;

const MISC_COLOUR = 0x01;
const CRTC_HORIZONTAL_END = 0x01;
const CRTC_OVERFLOW = 0x07;
const CRTC_MAX_SCAN = 0x09;
const CRTC_CURSOR_START = 0x0a;
const CRTC_CURSOR_END = 0x0b;
const CRTC_START_HIGH = 0x0c;
const CRTC_START_LOW = 0x0d;
const CRTC_CURSOR_HIGH = 0x0e;
const CRTC_CURSOR_LOW = 0x0f;
const CRTC_VERTICAL_RETRACE_END = 0x11;
const CRTC_VERTICAL_END = 0x12;
const CRTC_OFFSET = 0x13;
const CRTC_PROTECT = 0x80;
const GRAPHICS_MISC = 0x06;
const GRAPHICS_MODE = 0x01;
const CURSOR_OFF = 0x20;

const STATUS1_DISABLED = 0x01;
const STATUS1_RETRACE = 0x08;
/** 70 frames of 449 lines a second. */
const FRAME_NS = 14_268_000;
const LINE_NS = 31_778;
const RETRACE_START = 412;
const RETRACE_LINES = 2;
const VISIBLE_LINES = 400;
const VISIBLE_PART = 0.8;

const CRTC_REGISTERS = 25;
const SEQUENCER_REGISTERS = 5;
const GRAPHICS_REGISTERS = 9;
const ATTRIBUTE_REGISTERS = 21;

const bytes = (hex: string): Uint8Array => Uint8Array.from(hex.match(/../g)!, digits => Number.parseInt(digits, 16));

/** The registers of text mode 3, 80 by 25. */
export const TEXT_80 = {
  misc: 0x67,
  sequencer: bytes('0300030002'),
  crtc: bytes('5f4f50825581bf1f004f0d0e00000000' + '9c8e8f281f96b9a3ff'),
  graphics: bytes('0000000000100e00ff'),
  attribute: bytes('000102030405140738393a3b3c3d3e3f' + '0c000f0800'),
};

/** The 16 colours, at their places in the palette of 64 that the attribute controller chooses from (red, green, blue of 6 bits). */
const defaultDac = (): Uint8Array => {
  const dac = new Uint8Array(768);
  for (let n = 0; n < 64; n++) {
    const level = (strong: number, weak: number): number => (((n >> strong) & 1) * 2 + ((n >> weak) & 1)) * 21;
    dac.set([level(2, 5), level(1, 4), level(0, 3)], 3 * n);
  }
  return dac;
};

/** As saved; the memory window is a text of one character a byte. */
export interface VgaState extends VgaRegisters {
  memory: string;
}

interface VgaRegisters {
  misc: number;
  crtcIndex: number;
  crtc: Uint8Array;
  sequencerIndex: number;
  sequencer: Uint8Array;
  graphicsIndex: number;
  graphics: Uint8Array;
  attributeIndex: number;
  attributeIsData: boolean;
  attribute: Uint8Array;
  dacMask: number;
  dacReading: boolean;
  dacAt: number;
  dac: Uint8Array;
}

const emptyMemory = (): Uint8Array => {
  const memory = new Uint8Array(WINDOW_BYTES);
  for (let at = COLOUR_TEXT; at < WINDOW_BYTES; at += 2) {
    memory[at] = 0x20;
    memory[at + 1] = 0x07;
  }
  return memory;
};

const initial = (): VgaRegisters => ({
  misc: TEXT_80.misc,
  crtcIndex: 0,
  crtc: TEXT_80.crtc.slice(),
  sequencerIndex: 0,
  sequencer: TEXT_80.sequencer.slice(),
  graphicsIndex: 0,
  graphics: TEXT_80.graphics.slice(),
  attributeIndex: 0x20,
  attributeIsData: false,
  attribute: TEXT_80.attribute.slice(),
  dacMask: 0xff,
  dacReading: false,
  dacAt: 0,
  dac: defaultDac(),
});

/** What a text screen shows: code and attribute of each cell, row by row, and the cursor if it is to be seen. */
export interface TextScreen {
  columns: number;
  rows: number;
  /** Two bytes a cell. */
  cells: Uint8Array;
  cursor: { row: number; column: number } | undefined;
}

export interface VgaOptions {
  name?: string;
  clock: Clock;
  log?: GuestLog;
}

/**
 * A VGA in its text modes. Regions: 0 ports 0x3B0 to 0x3DF, 1 the memory window 0xA0000 to 0xBFFFF. Registers hold what is written; of what they
 * mean, the text screen is built: start address, offset, size, cursor. Graphics memory is plain storage that nobody looks at. After
 * reset it shows 80 by 25 empty cells, as firmware leaves it.
 */
export class Vga implements Device<VgaState> {
  readonly name: string;
  readonly regions: readonly Region[] = [
    { space: 'pio', size: PORT_BYTES },
    { space: 'mmio', size: WINDOW_BYTES },
  ];
  readonly #clock: Clock;
  #s = initial();
  #memory = emptyMemory();
  #version = 0;

  constructor(options: VgaOptions) {
    this.name = options.name ?? 'vga';
    this.#clock = options.clock;
  }

  /** Grows with every change of what may be shown. */
  get version(): number {
    return this.#version;
  }

  /** The memory window, for firmware; call `touched` behind writes. */
  get window(): Uint8Array {
    return this.#memory;
  }

  touched(): void {
    this.#version++;
  }

  /** Offset of the text page in the window: colour or monochrome. */
  get textBase(): number {
    return (this.#s.misc & MISC_COLOUR) === 0 ? MONO_TEXT : COLOUR_TEXT;
  }

  get isGraphics(): boolean {
    return (this.#s.graphics[GRAPHICS_MISC] & GRAPHICS_MODE) !== 0;
  }

  /** The text screen, or undefined in a graphics mode. */
  get screen(): TextScreen | undefined {
    if (this.isGraphics) return undefined;
    const { crtc } = this.#s;
    const memory = this.#memory;
    const columns = Math.min(crtc[CRTC_HORIZONTAL_END] + 1, 160);
    const lines = crtc[CRTC_VERTICAL_END] + ((crtc[CRTC_OVERFLOW] & 0x02) << 7) + ((crtc[CRTC_OVERFLOW] & 0x40) << 3) + 1;
    const rows = Math.max(1, Math.min(100, Math.floor(lines / ((crtc[CRTC_MAX_SCAN] & 0x1f) + 1))));
    const start = crtc[CRTC_START_HIGH] * 256 + crtc[CRTC_START_LOW];
    const pitch = crtc[CRTC_OFFSET] * 2;
    const base = this.textBase;
    const cells = new Uint8Array(2 * columns * rows);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const at = base + ((2 * (start + row * pitch + column)) & 0x7fff);
        cells[2 * (row * columns + column)] = memory[at];
        cells[2 * (row * columns + column) + 1] = memory[at + 1];
      }
    }
    return { columns, rows, cells, cursor: this.#cursor(start, pitch, columns, rows) };
  }

  #cursor(start: number, pitch: number, columns: number, rows: number): { row: number; column: number } | undefined {
    const { crtc } = this.#s;
    if ((crtc[CRTC_CURSOR_START] & CURSOR_OFF) !== 0 || (crtc[CRTC_CURSOR_START] & 0x1f) > (crtc[CRTC_CURSOR_END] & 0x1f) || pitch === 0) return undefined;
    const at = crtc[CRTC_CURSOR_HIGH] * 256 + crtc[CRTC_CURSOR_LOW] - start;
    const row = Math.floor(at / pitch);
    const column = at - row * pitch;
    return at >= 0 && row < rows && column < columns ? { row, column } : undefined;
  }

  /** Sets a CRTC register, for firmware; the write protection does not count. */
  setCrtc(index: number, value: number): void {
    this.#s.crtc[index] = value;
    this.#version++;
  }

  /** Loads the registers of a mode, for firmware. */
  setMode(mode: typeof TEXT_80): void {
    const s = this.#s;
    s.misc = mode.misc;
    s.crtc = mode.crtc.slice();
    s.sequencer = mode.sequencer.slice();
    s.graphics = mode.graphics.slice();
    s.attribute = mode.attribute.slice();
    s.attributeIsData = false;
    s.attributeIndex = 0x20;
    s.dac = defaultDac();
    this.#version++;
  }

  read(offset: number, size: AccessSize, region: number): number {
    if (region === 1) {
      const memory = this.#memory;
      if (size === 1) return memory[offset];
      return readBytes(offset, size, at => memory[at] ?? 0xff);
    }
    if (size !== 1) return readBytes(offset, size, at => (at < PORT_BYTES ? this.read(at, 1, 0) : 0xff));
    return this.#readPort(VGA_PORT + offset);
  }

  write(offset: number, value: number, size: AccessSize, region: number): void {
    if (region === 1) {
      this.#version++;
      const memory = this.#memory;
      for (let i = 0; i < size && offset + i < WINDOW_BYTES; i++) memory[offset + i] = value >>> (8 * i);
      return;
    }
    if (size !== 1) {
      writeBytes(offset, value, size, (at, byte) => {
        if (at < PORT_BYTES) this.write(at, byte, 1, 0);
      });
      return;
    }
    this.#writePort(VGA_PORT + offset, value);
  }

  reset(): void {
    this.#s = initial();
    this.#memory = emptyMemory();
    this.#version++;
  }

  save(): VgaState {
    let memory = '';
    for (let at = 0; at < WINDOW_BYTES; at += CHUNK) memory += String.fromCharCode(...this.#memory.subarray(at, at + CHUNK));
    return { ...clone(this.#s), memory };
  }

  restore(state: VgaState): void {
    const { memory, ...registers } = validated(this.name, { ...initial(), memory: '' }, state);
    this.#s = registers;
    for (let at = 0; at < WINDOW_BYTES; at++) this.#memory[at] = memory.charCodeAt(at);
    this.#s.dacAt = ((this.#s.dacAt % 768) + 768) % 768;
    this.#version++;
  }

  /** The CRTC and status 1 answer at 0x3Bx or 0x3Dx. */
  #colourPort(port: number): number {
    const isColour = (this.#s.misc & MISC_COLOUR) !== 0;
    if (port >= 0x3d0) return isColour ? port : -1;
    if (port < 0x3c0) return isColour ? -1 : port + 0x20;
    return port;
  }

  #readPort(port: number): number {
    const s = this.#s;
    switch (this.#colourPort(port)) {
      case ATTRIBUTE:
        return s.attributeIndex;
      case ATTRIBUTE_READ:
        return s.attribute[s.attributeIndex & 0x1f] ?? 0;
      case MISC_WRITE:
        return 0x10;
      case ENABLE:
        return 1;
      case SEQUENCER_INDEX:
        return s.sequencerIndex;
      case SEQUENCER_DATA:
        return s.sequencer[s.sequencerIndex] ?? 0;
      case DAC_MASK:
        return s.dacMask;
      case DAC_READ:
        return s.dacReading ? 3 : 0;
      case DAC_WRITE:
        return Math.floor(s.dacAt / 3);
      case DAC_DATA: {
        const value = s.dac[s.dacAt];
        s.dacAt = (s.dacAt + 1) % 768;
        return value;
      }
      case FEATURE_READ:
        return 0;
      case MISC_READ:
        return s.misc;
      case GRAPHICS_INDEX:
        return s.graphicsIndex;
      case GRAPHICS_DATA:
        return s.graphics[s.graphicsIndex] ?? 0;
      case CRTC_INDEX:
        return s.crtcIndex;
      case CRTC_DATA:
        return s.crtc[s.crtcIndex] ?? 0;
      case STATUS1:
        s.attributeIsData = false;
        return this.#status1();
      default:
        return openBus(1);
    }
  }

  #writePort(port: number, value: number): void {
    const s = this.#s;
    switch (this.#colourPort(port)) {
      case ATTRIBUTE:
        if (!s.attributeIsData) s.attributeIndex = value & 0x3f;
        else if ((s.attributeIndex & 0x1f) < ATTRIBUTE_REGISTERS) s.attribute[s.attributeIndex & 0x1f] = value;
        s.attributeIsData = !s.attributeIsData;
        break;
      case MISC_WRITE:
        s.misc = value;
        break;
      case SEQUENCER_INDEX:
        s.sequencerIndex = value & 7;
        return;
      case SEQUENCER_DATA:
        if (s.sequencerIndex < SEQUENCER_REGISTERS) s.sequencer[s.sequencerIndex] = value;
        break;
      case DAC_MASK:
        s.dacMask = value;
        return;
      case DAC_READ:
        s.dacAt = 3 * value;
        s.dacReading = true;
        return;
      case DAC_WRITE:
        s.dacAt = 3 * value;
        s.dacReading = false;
        return;
      case DAC_DATA:
        s.dac[s.dacAt] = value & 0x3f;
        s.dacAt = (s.dacAt + 1) % 768;
        break;
      case GRAPHICS_INDEX:
        s.graphicsIndex = value & 0xf;
        return;
      case GRAPHICS_DATA:
        if (s.graphicsIndex < GRAPHICS_REGISTERS) s.graphics[s.graphicsIndex] = value;
        break;
      case CRTC_INDEX:
        s.crtcIndex = value & 0x3f;
        return;
      case CRTC_DATA:
        this.#writeCrtc(s.crtcIndex, value);
        break;
      default:
        return;
    }
    this.#version++;
  }

  #writeCrtc(index: number, value: number): void {
    const { crtc } = this.#s;
    if (index >= CRTC_REGISTERS) return;
    if (index < CRTC_OVERFLOW + 1 && (crtc[CRTC_VERTICAL_RETRACE_END] & CRTC_PROTECT) !== 0) {
      if (index === CRTC_OVERFLOW) crtc[index] = (crtc[index] & ~0x10) | (value & 0x10);
      return;
    }
    crtc[index] = value;
  }

  #status1(): number {
    const inFrame = this.#clock.now % FRAME_NS;
    const line = Math.floor(inFrame / LINE_NS);
    const retrace = line >= RETRACE_START && line < RETRACE_START + RETRACE_LINES;
    const blank = line >= VISIBLE_LINES || inFrame % LINE_NS > LINE_NS * VISIBLE_PART;
    return (retrace ? STATUS1_RETRACE : 0) | (blank ? STATUS1_DISABLED : 0);
  }
}

/** A screen as lines of text, without what blanks end a line. */
export const screenText = (screen: TextScreen): string => {
  const lines: string[] = [];
  for (let row = 0; row < screen.rows; row++) {
    let line = '';
    for (let column = 0; column < screen.columns; column++) line += glyphOf(screen.cells[2 * (row * screen.columns + column)]);
    lines.push(line.replace(/[\s\0]+$/, ''));
  }
  return lines.join('\n');
};
