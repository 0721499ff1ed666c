import { TEXT_80, type Vga } from '../devices/vga.js';
import { Bda } from './bda.js';
import type { FirmwareCall } from './call.js';
import type { LinearMemory } from './linear.js';
import type { TerminalMirror } from './mirror.js';

// INT 10h (Ralf Brown's interrupt list). Text modes are served in full; a graphics mode can be set and shows nothing.

const PAGES = 8;
const CELL_BYTES = 2;
const NORMAL = 0x07;
const KEEP_SCREEN = 0x80;
const TEXT_MODES = [0, 1, 2, 3, 7];
const GRAPHICS_MODES = [4, 5, 6, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13];
const CURSOR_START = 0x0a;
const CURSOR_END = 0x0b;
const START_HIGH = 0x0c;
const CURSOR_HIGH = 0x0e;
const MAX_SCAN = 0x09;
const HORIZONTAL_END = 0x01;
const OFFSET = 0x13;
const GRAPHICS_MISC = 6;
const BELL = 7;
const BACKSPACE = 8;
const LINE_FEED = 10;
const RETURN = 13;
/** VGA with an analogue colour display. */
const DISPLAY_CODE = 8;

export interface VideoTables {
  /** Far pointers into the ROM, as segment and offset. */
  font: { segment: number; offset: number };
  functionality: { segment: number; offset: number };
}

/** The video services, on the text page of the display adapter. */
export class VideoServices {
  readonly #vga: Vga;
  readonly #memory: LinearMemory;
  readonly #mirror: TerminalMirror;
  readonly #tables: VideoTables;

  constructor(vga: Vga, memory: LinearMemory, mirror: TerminalMirror, tables: VideoTables) {
    this.#vga = vga;
    this.#memory = memory;
    this.#mirror = mirror;
    this.#tables = tables;
  }

  get #columns(): number {
    return Math.max(1, this.#memory.u16(Bda.VIDEO_COLUMNS));
  }

  get #rows(): number {
    return this.#memory.u8(Bda.VIDEO_ROWS) + 1;
  }

  get #page(): number {
    return this.#memory.u8(Bda.VIDEO_PAGE) % PAGES;
  }

  get #mode(): number {
    return this.#memory.u8(Bda.VIDEO_MODE);
  }

  get #isText(): boolean {
    return TEXT_MODES.includes(this.#mode);
  }

  /** Writes text at the cursor, for the firmware's own messages. */
  print(text: string): void {
    for (const char of text.replace(/\n/g, '\r\n')) this.#teletype(char.charCodeAt(0), this.#page);
  }

  handle(call: FirmwareCall): void {
    const { ah, al } = call;
    switch (ah) {
      case 0x00:
        return this.#setModeCall(call);
      case 0x01:
        this.#memory.setU16(Bda.CURSOR_SHAPE, call.cx);
        this.#vga.setCrtc(CURSOR_START, call.ch & 0x3f);
        this.#vga.setCrtc(CURSOR_END, call.cl & 0x1f);
        return;
      case 0x02:
        this.#setCursor(call.bh % PAGES, call.dh, call.dl);
        return;
      case 0x03: {
        const { row, column } = this.#cursor(call.bh % PAGES);
        call.cx = this.#memory.u16(Bda.CURSOR_SHAPE);
        call.dh = row;
        call.dl = column;
        call.ax = 0;
        return;
      }
      case 0x04:
        call.ah = 0;
        return;
      case 0x05:
        this.#showPage(al % PAGES);
        return;
      case 0x06:
      case 0x07:
        this.#scroll(ah === 0x06, al, call.bh, call.ch, call.cl, call.dh, call.dl);
        return;
      case 0x08: {
        const { row, column } = this.#cursor(call.bh % PAGES);
        const at = this.#cell(call.bh % PAGES, row, column);
        call.ax = this.#isText ? this.#vga.window[at] | (this.#vga.window[at + 1] << 8) : 0;
        return;
      }
      case 0x09:
      case 0x0a:
        this.#writeCells(call.bh % PAGES, al, ah === 0x09 ? call.bl : undefined, call.cx);
        return;
      case 0x0b:
      case 0x0c:
        return;
      case 0x0d:
        call.al = 0;
        return;
      case 0x0e:
        this.#teletype(al, this.#page);
        return;
      case 0x0f:
        call.ah = this.#columns;
        call.al = this.#mode | (this.#memory.u8(Bda.VIDEO_CONTROL) & KEEP_SCREEN);
        call.bh = this.#page;
        return;
      case 0x10:
        return this.#palette(call);
      case 0x11:
        return this.#fonts(call);
      case 0x12:
        return this.#alternate(call);
      case 0x13:
        return this.#writeString(call);
      case 0x1a:
        if (al > 1) return;
        if (al === 0) call.bx = this.#memory.u8(Bda.DISPLAY_CODE);
        else this.#memory.setU8(Bda.DISPLAY_CODE, call.bl);
        call.al = 0x1a;
        return;
      case 0x1b:
        return this.#state(call);
      default:
        // VESA and others: registers as they were say that there is no such function.
        return;
    }
  }

  /** Sets a mode with all that the data area says of it. */
  setMode(mode: number, keep = false): void {
    const { memory } = { memory: this.#memory };
    const isText = TEXT_MODES.includes(mode);
    const columns = mode === 0 || mode === 1 || mode === 4 || mode === 5 || mode === 0x0d || mode === 0x13 ? 40 : 80;
    this.#vga.setMode(TEXT_80);
    if (columns === 40 && isText) {
      this.#vga.setCrtc(HORIZONTAL_END, 39);
      this.#vga.setCrtc(OFFSET, 20);
    }
    if (!isText) this.#vga.write(0x1e, GRAPHICS_MISC, 1, 0);
    if (!isText) this.#vga.write(0x1f, 0x05, 1, 0);
    if (mode === 7) this.#vga.write(0x12, TEXT_80.misc & ~1, 1, 0);
    memory.setU8(Bda.VIDEO_MODE, mode);
    memory.setU16(Bda.VIDEO_COLUMNS, columns);
    memory.setU16(Bda.VIDEO_PAGE_BYTES, isText ? (columns === 40 ? 0x800 : 0x1000) : 0x4000);
    memory.setU16(Bda.VIDEO_PAGE_START, 0);
    memory.fill(Bda.CURSORS, 0, 2 * PAGES);
    memory.setU16(Bda.CURSOR_SHAPE, 0x0607);
    memory.setU8(Bda.VIDEO_PAGE, 0);
    memory.setU16(Bda.CRTC_PORT, mode === 7 ? 0x3b4 : 0x3d4);
    memory.setU8(Bda.CRT_MODE, 0x29);
    memory.setU8(Bda.CRT_PALETTE, 0x30);
    memory.setU8(Bda.VIDEO_ROWS, mode === 0x11 || mode === 0x12 ? 29 : 24);
    memory.setU16(Bda.CHARACTER_HEIGHT, mode === 0x13 || mode <= 6 && mode >= 4 || mode === 0x0d || mode === 0x0e ? 8 : 16);
    memory.setU8(Bda.VIDEO_CONTROL, 0x60 | (keep ? KEEP_SCREEN : 0));
    memory.setU8(Bda.VIDEO_SWITCHES, 0xf9);
    memory.setU8(Bda.VIDEO_FLAGS, 0x51);
    memory.setU8(Bda.DISPLAY_CODE, DISPLAY_CODE);
    if (!keep) {
      if (isText) this.#blank(this.#vga.textBase, 0x8000 / CELL_BYTES, NORMAL);
      this.#mirror.clear();
    }
    this.#moveHardwareCursor();
  }

  #setModeCall(call: FirmwareCall): void {
    const mode = call.al & ~KEEP_SCREEN;
    if (!TEXT_MODES.includes(mode) && !GRAPHICS_MODES.includes(mode)) return;
    this.setMode(mode, (call.al & KEEP_SCREEN) !== 0);
    call.al = mode > 7 ? 0x20 : mode === 6 ? 0x3f : 0x30;
  }

  #cursor(page: number): { row: number; column: number } {
    const word = this.#memory.u16(Bda.CURSORS + 2 * page);
    return { row: word >> 8, column: word & 0xff };
  }

  #setCursor(page: number, row: number, column: number): void {
    this.#memory.setU16(Bda.CURSORS + 2 * page, (row << 8) | column);
    if (page === this.#page) this.#moveHardwareCursor();
  }

  #moveHardwareCursor(): void {
    const { row, column } = this.#cursor(this.#page);
    const at = this.#memory.u16(Bda.VIDEO_PAGE_START) / CELL_BYTES + row * this.#columns + column;
    this.#vga.setCrtc(CURSOR_HIGH, (at >> 8) & 0xff);
    this.#vga.setCrtc(CURSOR_HIGH + 1, at & 0xff);
  }

  #showPage(page: number): void {
    const start = page * this.#memory.u16(Bda.VIDEO_PAGE_BYTES);
    this.#memory.setU8(Bda.VIDEO_PAGE, page);
    this.#memory.setU16(Bda.VIDEO_PAGE_START, start);
    this.#vga.setCrtc(START_HIGH, (start / CELL_BYTES) >> 8);
    this.#vga.setCrtc(START_HIGH + 1, (start / CELL_BYTES) & 0xff);
    this.#moveHardwareCursor();
  }

  /** Where a cell lies in the adapter's window. */
  #cell(page: number, row: number, column: number): number {
    const inPage = page * this.#memory.u16(Bda.VIDEO_PAGE_BYTES) + CELL_BYTES * (row * this.#columns + column);
    return this.#vga.textBase + (inPage & 0x7ffe);
  }

  #set(page: number, row: number, column: number, code: number, attribute: number | undefined): void {
    const at = this.#cell(page, row, column);
    const { window } = this.#vga;
    if (this.#isText) {
      window[at] = code;
      if (attribute !== undefined) window[at + 1] = attribute;
      this.#vga.touched();
    }
    if (page === this.#page) this.#mirror.put(row, column, code, this.#isText ? window[at + 1] : NORMAL);
  }

  #blank(at: number, cells: number, attribute: number): void {
    const { window } = this.#vga;
    for (let i = 0; i < cells; i++) {
      window[at + CELL_BYTES * i] = 0x20;
      window[at + CELL_BYTES * i + 1] = attribute;
    }
    this.#vga.touched();
  }

  #scroll(up: boolean, count: number, attribute: number, top: number, left: number, bottomAsked: number, rightAsked: number): void {
    const bottom = Math.min(bottomAsked, this.#rows - 1);
    const right = Math.min(rightAsked, this.#columns - 1);
    if (!this.#isText || top > bottom || left > right) return;
    const height = bottom - top + 1;
    const lines = count === 0 || count > height ? height : count;
    this.#moveRows(up, lines, attribute, top, left, bottom, right);
    if (lines === height && height === this.#rows && left === 0 && right === this.#columns - 1) this.#mirror.clear();
    else this.#redraw(top, left, bottom, right);
  }

  #moveRows(up: boolean, lines: number, attribute: number, top: number, left: number, bottom: number, right: number): void {
    const { window } = this.#vga;
    const page = this.#page;
    const bytes = CELL_BYTES * (right - left + 1);
    for (let n = 0; n <= bottom - top; n++) {
      const row = up ? top + n : bottom - n;
      const from = up ? row + lines : row - lines;
      const at = this.#cell(page, row, left);
      if (from >= top && from <= bottom) {
        const source = this.#cell(page, from, left);
        window.copyWithin(at, source, source + bytes);
      } else this.#blank(at, right - left + 1, attribute);
    }
    this.#vga.touched();
  }

  /** Repeats a part of the screen on the terminal. */
  #redraw(top: number, left: number, bottom: number, right: number): void {
    const { window } = this.#vga;
    for (let row = top; row <= bottom; row++) {
      for (let column = left; column <= right; ) {
        const at = this.#cell(this.#page, row, column);
        let count = 1;
        while (column + count <= right && window[at] === window[at + CELL_BYTES * count] && window[at + 1] === window[at + CELL_BYTES * count + 1]) count++;
        this.#mirror.repeat(row, column, window[at], window[at + 1], count);
        column += count;
      }
    }
  }

  #writeCells(page: number, code: number, attribute: number | undefined, count: number): void {
    const { row, column } = this.#cursor(page);
    const columns = this.#columns;
    const cells = Math.min(count, Math.max(0, this.#rows - row) * columns - column);
    for (let n = 0; n < cells; n++) {
      const at = column + n;
      this.#set(page, row + Math.floor(at / columns), at % columns, code, attribute);
    }
  }

  #teletype(code: number, page: number, attribute?: number): void {
    const rows = this.#rows;
    let { row, column } = this.#cursor(page);
    row = Math.min(row, rows - 1);
    column = Math.min(column, this.#columns - 1);
    const shown = page === this.#page;
    switch (code) {
      case BELL:
        if (shown) this.#mirror.bell();
        return;
      case BACKSPACE:
        if (column === 0) return;
        column--;
        if (shown) this.#mirror.backspace(row, column);
        break;
      case RETURN:
        column = 0;
        if (shown) this.#mirror.carriageReturn(row);
        break;
      case LINE_FEED:
        if (shown) this.#mirror.lineFeed(row, rows);
        row++;
        break;
      default:
        this.#set(page, row, column, code, attribute);
        column++;
        if (column < this.#columns) break;
        column = 0;
        if (shown) this.#mirror.wrapped(row, rows);
        row++;
    }
    if (row >= rows) {
      row = rows - 1;
      this.#scrollPage(page);
    }
    this.#setCursor(page, row, column);
  }

  #scrollPage(page: number): void {
    if (!this.#isText) return;
    const { window } = this.#vga;
    const bytes = CELL_BYTES * this.#columns;
    const first = this.#cell(page, 0, 0);
    const last = this.#cell(page, this.#rows - 1, 0);
    const attribute = window[last + 1];
    window.copyWithin(first, first + bytes, last + bytes);
    this.#blank(last, this.#columns, attribute);
  }

  #writeString(call: FirmwareCall): void {
    const { al, cx } = call;
    const page = call.bh % PAGES;
    const withAttributes = (al & 2) !== 0;
    const before = this.#cursor(page);
    this.#setCursor(page, call.dh, call.dl);
    const text = call.memory.bytes(call.linear('es', call.bp), withAttributes ? 2 * cx : cx);
    for (let n = 0; n < cx; n++) {
      const code = text[withAttributes ? 2 * n : n];
      this.#teletype(code, page, withAttributes ? text[2 * n + 1] : call.bl);
    }
    if ((al & 1) === 0) this.#setCursor(page, before.row, before.column);
  }

  #palette(call: FirmwareCall): void {
    const vga = this.#vga;
    const port = (offset: number, value: number) => vga.write(offset, value, 1, 0);
    const select = (index: number, value: number) => {
      vga.read(0x2a, 1, 0);
      port(0x10, index);
      port(0x10, value);
      port(0x10, 0x20);
    };
    const peek = (index: number): number => {
      vga.read(0x2a, 1, 0);
      port(0x10, index);
      const value = vga.read(0x11, 1, 0);
      port(0x10, 0x20);
      vga.read(0x2a, 1, 0);
      return value;
    };
    const table = call.linear('es', call.dx);
    switch (call.al) {
      case 0x00:
        select(call.bl & 0x1f, call.bh);
        return;
      case 0x01:
        select(0x11, call.bh);
        return;
      case 0x02:
        call.memory.bytes(table, 17).forEach((value, n) => select(n === 16 ? 0x11 : n, value));
        return;
      case 0x03:
        select(0x10, (peek(0x10) & ~8) | ((call.bl & 1) << 3));
        return;
      case 0x07:
        call.bh = peek(call.bl & 0x1f);
        return;
      case 0x08:
        call.bh = peek(0x11);
        return;
      case 0x09:
        for (let n = 0; n < 17; n++) call.memory.setU8(table + n, peek(n === 16 ? 0x11 : n));
        return;
      case 0x10:
        port(0x18, call.bx & 0xff);
        for (const level of [call.dh, call.ch, call.cl]) port(0x19, level);
        return;
      case 0x12:
        port(0x18, call.bx & 0xff);
        for (const level of call.memory.bytes(table, 3 * Math.min(call.cx, 256))) port(0x19, level);
        return;
      case 0x15:
        port(0x17, call.bx & 0xff);
        call.dh = vga.read(0x19, 1, 0);
        call.ch = vga.read(0x19, 1, 0);
        call.cl = vga.read(0x19, 1, 0);
        return;
      case 0x17:
        port(0x17, call.bx & 0xff);
        for (let n = 0; n < 3 * Math.min(call.cx, 256); n++) call.memory.setU8(table + n, vga.read(0x19, 1, 0));
        return;
      case 0x1a:
        call.bx = 0;
        return;
      default:
        return;
    }
  }

  /** Fonts are not drawn; those of 8 lines give a screen of 50 rows, as on a real adapter. */
  #fonts(call: FirmwareCall): void {
    const { al } = call;
    if (al === 0x30) {
      call.setSegment('es', this.#tables.font.segment);
      call.bp = this.#tables.font.offset;
      call.cx = this.#memory.u16(Bda.CHARACTER_HEIGHT);
      call.dl = this.#memory.u8(Bda.VIDEO_ROWS);
      return;
    }
    const height = { 0x10: call.bh, 0x11: 14, 0x12: 8, 0x14: 16 }[al];
    if (height === undefined || height === 0 || height > 32 || !this.#isText) return;
    this.#vga.setCrtc(MAX_SCAN, 0x40 | (height - 1));
    const rows = Math.floor(400 / height);
    this.#memory.setU8(Bda.VIDEO_ROWS, rows - 1);
    this.#memory.setU16(Bda.CHARACTER_HEIGHT, height);
    this.#memory.setU16(Bda.VIDEO_PAGE_BYTES, Math.ceil((rows * this.#columns * CELL_BYTES) / 0x100) * 0x100);
  }

  #alternate(call: FirmwareCall): void {
    switch (call.bl) {
      case 0x10:
        call.bx = 0x0003;
        call.cx = 0x0009;
        return;
      case 0x30:
      case 0x31:
      case 0x32:
      case 0x33:
      case 0x34:
      case 0x36:
        call.al = 0x12;
        return;
      default:
        return;
    }
  }

  /** Functionality and state (AH=1Bh): 64 bytes at ES:DI. */
  #state(call: FirmwareCall): void {
    if (call.bx !== 0) return;
    const { memory } = call;
    const to = call.linear('es', call.di);
    memory.fill(to, 0, 64);
    memory.setU16(to, this.#tables.functionality.offset);
    memory.setU16(to + 2, this.#tables.functionality.segment);
    memory.write(to + 4, memory.bytes(Bda.VIDEO_MODE, 30));
    memory.write(to + 34, memory.bytes(Bda.VIDEO_ROWS, 3));
    memory.setU8(to + 37, DISPLAY_CODE);
    memory.setU16(to + 39, 16);
    memory.setU8(to + 41, PAGES);
    memory.setU8(to + 42, 2);
    memory.setU8(to + 49, 3);
    call.al = 0x1b;
  }
}
