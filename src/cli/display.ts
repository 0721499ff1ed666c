// The guest's VGA text screen on this terminal, and its PS/2 keyboard.
import { glyphOf, NORMAL_ATTRIBUTE, terminalColours } from '../host/devices/text-cell.js';
import type { TextScreen } from '../host/devices/vga.js';
import type { VM } from '../vm.js';
import type { RunPlan } from './commands/run.js';
import type { ConsoleParts } from './console.js';
import type { CliContext } from './run-cli.js';
import { EscapeKeys, helpLines, keyName } from './terminal.js';

const FRAME_MS = 40;
const OTHER_SCREEN = '\x1b[?1049h\x1b[2J';
const OWN_SCREEN = '\x1b[0m\x1b[?25h\x1b[?1049l';

/** What a terminal sends for keys that are no characters, and their names. */
const SEQUENCES: Record<string, string> = {
  '[A': 'up', '[B': 'down', '[C': 'right', '[D': 'left', '[H': 'home', '[F': 'end', 'OA': 'up', 'OB': 'down', 'OC': 'right', 'OD': 'left', 'OH': 'home', 'OF': 'end',
  '[1~': 'home', '[2~': 'insert', '[3~': 'delete', '[4~': 'end', '[5~': 'pageup', '[6~': 'pagedown', '[Z': 'shift+tab',
  OP: 'f1', OQ: 'f2', OR: 'f3', OS: 'f4', '[11~': 'f1', '[12~': 'f2', '[13~': 'f3', '[14~': 'f4', '[15~': 'f5', '[17~': 'f6', '[18~': 'f7', '[19~': 'f8', '[20~': 'f9',
  '[21~': 'f10', '[23~': 'f11', '[24~': 'f12',
};
const KEY = /\x1b(\[[0-9;]*[A-Za-z~]|O[A-Za-z]|[^\x1b])?|[^\x1b]/gsu;

/** The keys that typed bytes mean, as names for `Keyboard.press`. */
export const keysOf = (text: string): string[] => {
  const keys: string[] = [];
  for (const [all, sequence] of text.matchAll(KEY)) {
    if (sequence !== undefined) {
      if (sequence.length > 1) keys.push(...(SEQUENCES[sequence] === undefined ? [] : [SEQUENCES[sequence]]));
      else keys.push(...keysOf(sequence).map(key => `alt+${key}`));
    } else keys.push(keyOf(all));
  }
  return keys;
};

const NAMES: Record<string, string> = { '\x1b': 'escape', '\r': 'enter', '\n': 'enter', '\t': 'tab', '\x7f': 'backspace', '\b': 'backspace', ' ': 'space', '\0': 'ctrl+2' };

const keyOf = (char: string): string => {
  const name = NAMES[char];
  if (name !== undefined) return name;
  const code = char.charCodeAt(0);
  return code < 0x20 ? `ctrl+${String.fromCharCode(code + 0x60)}` : char;
};

/** Draws a screen by what has changed since the last one. */
export class ScreenPainter {
  #last: string[] = [];
  #cursor = '';

  /** The bytes that bring the terminal from the last screen to this one. */
  paint(screen: TextScreen | undefined): string {
    const rows = screen === undefined ? ['(a graphics mode: nothing to show)'] : Array.from({ length: screen.rows }, (_, row) => rowText(screen, row));
    let out = rows.length < this.#last.length ? '\x1b[0m\x1b[2J' : '';
    if (out !== '') this.#last = [];
    rows.forEach((row, n) => {
      if (row !== this.#last[n]) out += `\x1b[${n + 1};1H${row}\x1b[0m\x1b[K`;
    });
    const at = screen?.cursor;
    const cursor = at === undefined ? '\x1b[?25l' : `\x1b[${at.row + 1};${at.column + 1}H\x1b[?25h`;
    if (out === '' && cursor === this.#cursor) return '';
    this.#last = rows;
    this.#cursor = cursor;
    return out + cursor;
  }

  /** Everything is drawn the next time. */
  forget(): void {
    this.#last = [];
    this.#cursor = '';
  }
}

const rowText = (screen: TextScreen, row: number): string => {
  let text = '';
  let colour = NORMAL_ATTRIBUTE;
  const cell = (column: number): number => 2 * (row * screen.columns + column);
  let end = screen.columns;
  while (end > 0 && (screen.cells[cell(end - 1)] & ~0x20) === 0 && (screen.cells[cell(end - 1) + 1] & ~0x0f) === 0) end--;
  for (let column = 0; column < end; column++) {
    const at = cell(column);
    const attribute = screen.cells[at + 1];
    if (attribute !== colour) text += terminalColours((colour = attribute));
    text += glyphOf(screen.cells[at]);
  }
  return text;
};

/** Shows the screen, and types what is typed; returns what undoes it. Where there is no terminal, the last screen is printed at the end. */
export const attachDisplay = async (plan: RunPlan, context: CliContext, vm: VM, { stdin, terminal, notes, quit }: ConsoleParts): Promise<() => void> => {
  const { io, stdout } = context;
  const press = (text: string): void => {
    for (const key of keysOf(text)) {
      try {
        void vm.keyboard.press(key);
      } catch {
        // A character that no key has.
      }
    }
  };
  if (!plan.interactive) {
    await stdin?.settle();
    let release = (): void => {};
    stdin?.connect({ write: data => press(new TextDecoder().decode(data)), end: () => {}, live: () => (release = vm.holdRealTime()), over: () => release() });
    return () => {
      if (!plan.flags.json) stdout.write(`${vm.screen.text().trimEnd()}\n`);
    };
  }
  const painter = new ScreenPainter();
  const { escape } = plan;
  let shown = true;
  const keys = new EscapeKeys(escape, action => {
    if (action === 'quit') quit();
    else notes.lines(['', ...helpLines(escape!)]);
  });
  if (!plan.flags.quiet && escape !== undefined) notes.say(`the guest's screen; ${keyName(escape)} x quits`);
  const onData = (data: Buffer | string): void => press(new TextDecoder().decode(keys.feed(typeof data === 'string' ? Buffer.from(data) : data)));
  terminal.enter();
  notes.raw = true;
  io.stdin.on('data', onData);
  io.stdin.on('end', quit);
  stdout.write(OTHER_SCREEN);
  const draw = (): void => {
    if (!shown || stdout.congested) return;
    const out = painter.paint(vm.screen.cells());
    if (out !== '') stdout.write(out);
  };
  const timer = setInterval(draw, FRAME_MS);
  const off = io.onSignal('SIGWINCH', () => painter.forget());
  return () => {
    shown = false;
    clearInterval(timer);
    off();
    io.stdin.off('data', onData);
    io.stdin.off('end', quit);
    io.stdin.pause();
    stdout.write(`${OWN_SCREEN}${vm.screen.text().trimEnd().replace(/\n/g, '\r\n')}\r\n`);
  };
};
