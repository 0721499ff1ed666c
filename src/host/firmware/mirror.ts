import { glyphOf, NORMAL_ATTRIBUTE as NORMAL, terminalColours } from '../devices/text-cell.js';

const ESC = '\x1b';

/**
 * Repeats what is shown by INT 10h on a terminal, as text where it flows and with cursor positions where it does not. It knows where the terminal's
 * cursor is and moves it only when something is written elsewhere, so that plain output stays plain.
 */
export class TerminalMirror {
  readonly #send: (bytes: Uint8Array) => void;
  readonly #encoder = new TextEncoder();
  #row = 0;
  /** The number of columns when the last one was just written: terminals differ in where the cursor is then. */
  #column = 0;
  #attribute = NORMAL;
  #blank = true;
  /** The last cell put: row, column, code and attribute. */
  #last = -1;

  constructor(send: (bytes: Uint8Array) => void) {
    this.#send = send;
  }

  reset(): void {
    this.#row = this.#column = 0;
    this.#attribute = NORMAL;
    this.#blank = true;
    this.#last = -1;
  }

  /** A cell was written. */
  put(row: number, column: number, code: number, attribute: number): void {
    this.#blank = false;
    // Programs set a cell with its colour first and write it again to move the cursor.
    const cell = (row << 24) | (column << 16) | (code << 8) | attribute;
    if (cell === this.#last && row === this.#row && column + 1 === this.#column) return;
    this.#last = cell;
    this.#out(this.#goto(row, column) + this.#colour(attribute) + visible(code));
    this.#column++;
  }

  /** A run of equal cells in one row. */
  repeat(row: number, column: number, code: number, attribute: number, count: number): void {
    if (count <= 0) return;
    this.#blank = false;
    this.#out(this.#goto(row, column) + this.#colour(attribute) + visible(code).repeat(count));
    this.#column += count;
  }

  /** The cursor goes to the next line by a line feed; at the bottom the screen has scrolled. */
  lineFeed(row: number, rows: number): void {
    // Where the cursor was is where the line feed counts from.
    this.#out((row !== this.#row ? this.#goto(row, 0) : '') + '\n');
    this.#row = Math.min(row + 1, rows - 1);
  }

  /** The line was full: the cursor is at the start of the next one. */
  wrapped(row: number, rows: number): void {
    this.#out('\r\n');
    this.#row = Math.min(row + 1, rows - 1);
    this.#column = 0;
  }

  carriageReturn(row: number): void {
    if (row !== this.#row || this.#column === 0) return;
    this.#out('\r');
    this.#column = 0;
  }

  backspace(row: number, column: number): void {
    if (row !== this.#row || this.#column !== column + 1) return;
    this.#out('\b');
    this.#column = column;
  }

  bell(): void {
    this.#out('\x07');
  }

  /** The whole screen was cleared. */
  clear(): void {
    if (this.#blank) return;
    this.#out(`${this.#colour(NORMAL)}${ESC}[H${ESC}[2J`);
    this.#row = this.#column = 0;
    this.#blank = true;
    this.#last = -1;
  }

  #goto(row: number, column: number): string {
    if (row === this.#row && column === this.#column) return '';
    const sameRow = row === this.#row;
    const nextRow = row === this.#row + 1;
    this.#row = row;
    this.#column = column;
    if (sameRow && column === 0) return '\r';
    if (nextRow && column === 0) return '\r\n';
    return `${ESC}[${row + 1};${column + 1}H`;
  }

  #colour(attribute: number): string {
    if (attribute === this.#attribute) return '';
    this.#attribute = attribute;
    return terminalColours(attribute);
  }

  #out(text: string): void {
    if (text !== '') this.#send(this.#encoder.encode(text));
  }
}

const visible = (code: number): string => (code === 0 ? ' ' : glyphOf(code));
