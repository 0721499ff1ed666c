import { describe, expect, it } from 'vitest';
import { keysOf, ScreenPainter } from '../../src/cli/display.js';
import { ManualClock } from '../../src/host/clock.js';
import { Vga } from '../../src/host/devices/vga.js';
import { Keyboard } from '../../src/vm-keyboard.js';

describe('keys of a terminal', () => {
  it('are named for the keyboard', () => {
    expect(keysOf('aB 1\r')).toEqual(['a', 'B', 'space', '1', 'enter']);
    expect(keysOf('\x1b[A\x1bOP\x1b[15~\x1b[3~\x1b[Z')).toEqual(['up', 'f1', 'f5', 'delete', 'shift+tab']);
    expect(keysOf('\x03\x7f\x1bx\x1b')).toEqual(['ctrl+c', 'backspace', 'alt+x', 'escape']);
    expect(keysOf('\x1b[999~a')).toEqual(['a']);
  });
});

describe('the painter', () => {
  it('draws what has changed and puts the cursor where it is', () => {
    const vga = new Vga({ clock: new ManualClock() });
    const painter = new ScreenPainter();
    const put = (at: number, char: string, attribute = 7) => vga.write(0x1_8000 + 2 * at, char.charCodeAt(0) | (attribute << 8), 2, 1);
    put(0, 'A');
    put(81, 'B', 0x1f);
    put(82, ' ', 0x1f);
    const first = painter.paint(vga.screen);
    expect(first).toContain('\x1b[1;1HA\x1b[0m\x1b[K');
    expect(first).toContain('\x1b[2;1H \x1b[0;1;44mB \x1b[0m\x1b[K');
    expect(first.endsWith('\x1b[1;1H\x1b[?25h')).toBe(true);
    expect(painter.paint(vga.screen)).toBe('');
    put(0, 'C');
    expect(painter.paint(vga.screen)).toBe('\x1b[1;1HC\x1b[0m\x1b[K\x1b[1;1H\x1b[?25h');
    painter.forget();
    expect(painter.paint(vga.screen).length).toBeGreaterThan(100);
    expect(painter.paint(undefined)).toContain('graphics');
  });
});

describe('the keyboard', () => {
  const setup = () => {
    const clock = new ManualClock();
    const sent: number[][] = [];
    let busy = 0;
    const state = { taken: true };
    const keyboard = new Keyboard({ clock, send: bytes => sent.push([...bytes]), taken: () => state.taken, busy: () => (busy++, () => busy--) });
    return { clock, sent, keyboard, state, busy: () => busy };
  };

  it('types in scan code set 2, a key at a time, while the guest takes them', async () => {
    const { clock, sent, keyboard, state, busy } = setup();
    const done = keyboard.type('aA\n');
    expect(busy()).toBe(1);
    clock.advance(1);
    expect(sent).toEqual([[0x1c, 0xf0, 0x1c]]);
    state.taken = false;
    clock.advance(1e9);
    expect(sent).toHaveLength(1);
    state.taken = true;
    clock.advance(1e9);
    expect(sent.slice(1)).toEqual([[0x12, 0x1c, 0xf0, 0x1c, 0xf0, 0x12], [0x5a, 0xf0, 0x5a]]);
    await done;
    expect(busy()).toBe(0);
  });

  it('presses keys with others held', async () => {
    const { clock, sent, keyboard } = setup();
    const done = keyboard.press('ctrl+alt+delete');
    clock.advance(1e9);
    await done;
    expect(sent).toEqual([[0x14, 0x11, 0xe0, 0x71, 0xe0, 0xf0, 0x71, 0xf0, 0x11, 0xf0, 0x14]]);
  });

  it('refuses what no key is, and lets go when the machine ends', async () => {
    const { keyboard, busy } = setup();
    expect(() => keyboard.type('é')).toThrow('no key of the keyboard types "é"');
    expect(() => keyboard.press('hyper')).toThrow("the key 'hyper' is not known");
    const done = keyboard.type('never');
    keyboard.end();
    await done;
    expect(busy()).toBe(0);
  });
});
