import { codeOf } from '../devices/text-cell.js';

// What INT 16h returns for each key of a US keyboard: scan code * 256 + character (Ralf Brown's table #00006, IBM technical references).

export interface KeyCodes {
  plain: number;
  shift: number;
  ctrl: number;
  alt: number;
}

export const NO_KEY = -1;

const table = new Map<number, KeyCodes>();

const key = (scan: number, plain: number, shift: number, ctrl: number, alt: number): void => {
  table.set(scan, { plain, shift, ctrl, alt });
};

const row = (first: number, plain: string, shift: string): void => {
  [...plain].forEach((char, n) => {
    const scan = first + n;
    const isLetter = char >= 'a' && char <= 'z';
    key(scan, (scan << 8) | char.charCodeAt(0), (scan << 8) | shift.charCodeAt(n), isLetter ? (scan << 8) | (char.charCodeAt(0) & 0x1f) : NO_KEY, scan << 8);
  });
};

row(0x02, '1234567890-=', '!@#$%^&*()_+');
row(0x10, 'qwertyuiop[]', 'QWERTYUIOP{}');
row(0x1e, "asdfghjkl;'`", 'ASDFGHJKL:"~');
row(0x2b, '\\zxcvbnm,./', '|ZXCVBNM<>?');
for (let n = 0; n < 12; n++) table.get(0x02 + n)!.alt = (0x78 + n) << 8;
table.get(0x03)!.ctrl = 0x0300;
table.get(0x07)!.ctrl = 0x071e;
table.get(0x0c)!.ctrl = 0x0c1f;
table.get(0x1a)!.ctrl = 0x1a1b;
table.get(0x1b)!.ctrl = 0x1b1d;
table.get(0x2b)!.ctrl = 0x2b1c;
key(0x01, 0x011b, 0x011b, 0x011b, 0x0100);
key(0x0e, 0x0e08, 0x0e08, 0x0e7f, 0x0e00);
key(0x0f, 0x0f09, 0x0f00, 0x9400, 0xa500);
key(0x1c, 0x1c0d, 0x1c0d, 0x1c0a, 0x1c00);
key(0x37, 0x372a, 0x372a, 0x9600, 0x3700);
key(0x39, 0x3920, 0x3920, 0x3920, 0x3920);
key(0x56, 0x565c, 0x567c, NO_KEY, NO_KEY);
for (let n = 0; n < 10; n++) key(0x3b + n, (0x3b + n) << 8, (0x54 + n) << 8, (0x5e + n) << 8, (0x68 + n) << 8);
for (let n = 0; n < 2; n++) key(0x57 + n, (0x85 + n) << 8, (0x87 + n) << 8, (0x89 + n) << 8, (0x8b + n) << 8);

/** The keypad: `shift` is what Num Lock gives; Alt with a digit is handled apart. */
const KEYPAD_CTRL = [0x7700, 0x8d00, 0x8400, 0x8e00, 0x7300, 0x8f00, 0x7400, 0x9000, 0x7500, 0x9100, 0x7600, 0x9200, 0x9300];
[...'789-456+1230.'].forEach((char, n) => {
  const scan = 0x47 + n;
  const operator = char === '-' || char === '+';
  key(scan, (scan << 8) | (operator ? char.charCodeAt(0) : 0), (scan << 8) | char.charCodeAt(0), KEYPAD_CTRL[n], operator ? scan << 8 : NO_KEY);
});

/** The codes of a key by its scan code of set 1, without prefix. */
export const keyCodes = (scan: number): KeyCodes | undefined => table.get(scan);

/** A key whose scan code came behind E0. */
export const extendedCodes = (scan: number): KeyCodes | undefined => {
  if (scan === 0x1c) return { plain: 0xe00d, shift: 0xe00d, ctrl: 0xe00a, alt: 0xa600 };
  if (scan === 0x35) return { plain: 0xe02f, shift: 0xe02f, ctrl: 0x9500, alt: 0xa400 };
  if (scan < 0x47 || scan > 0x53) return undefined;
  const codes = table.get(scan)!;
  return { plain: (scan << 8) | 0xe0, shift: (scan << 8) | 0xe0, ctrl: (codes.ctrl & 0xff00) | 0xe0, alt: (scan + 0x50) << 8 };
};

const byCharacter = new Map<number, number>();
for (const scan of [...table.keys()].filter(code => code < 0x47 && code !== 0x37)) {
  const codes = table.get(scan)!;
  for (const code of [codes.ctrl, codes.shift, codes.plain]) if (code !== NO_KEY && (code & 0xff) !== 0) byCharacter.set(code & 0xff, code);
}
byCharacter.set(0x7f, 0x0e08);
byCharacter.set(0x0a, 0x1c0d);

/** What the key that types a character gives; characters that no key has come with scan code 0, as from Alt and the keypad. */
export const keyOfCharacter = (character: number): number => byCharacter.get(character) ?? character;

const CURSOR_KEYS: Record<string, number> = { A: 0x48e0, B: 0x50e0, C: 0x4de0, D: 0x4be0, H: 0x47e0, F: 0x4fe0, P: 0x3b00, Q: 0x3c00, R: 0x3d00, S: 0x3e00, Z: 0x0f00 };
const NUMBERED_KEYS: Record<string, number> = {
  1: 0x47e0, 2: 0x52e0, 3: 0x53e0, 4: 0x4fe0, 5: 0x49e0, 6: 0x51e0, 7: 0x47e0, 8: 0x4fe0,
  11: 0x3b00, 12: 0x3c00, 13: 0x3d00, 14: 0x3e00, 15: 0x3f00, 17: 0x4000, 18: 0x4100, 19: 0x4200, 20: 0x4300, 21: 0x4400, 23: 0x8500, 24: 0x8600,
};

const ESCAPE = 0x1b;

/** What the first bytes of a terminal's input are: a key's code (or NO_KEY for nothing known) and how many bytes it took; undefined: more must come first. */
export const decodeTerminal = (bytes: readonly number[]): { code: number; length: number } | undefined => {
  const first = bytes[0];
  if (first === undefined) return undefined;
  if (first === ESCAPE) return decodeEscape(bytes);
  if (first === 0x0d && bytes[1] === 0x0a) return { code: 0x1c0d, length: 2 };
  if (first < 0x80) return { code: keyOfCharacter(first), length: 1 };
  const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
  if (length === 1) return { code: first, length };
  if (bytes.length < length) return undefined;
  const code = codeOf(new TextDecoder().decode(Uint8Array.from(bytes.slice(0, length))));
  return { code: code ?? NO_KEY, length };
};

const decodeEscape = (bytes: readonly number[]): { code: number; length: number } | undefined => {
  if (bytes.length < 2) return undefined;
  const text = String.fromCharCode(...bytes.slice(1, 12));
  const linux = /^\[\[([A-E])/.exec(text);
  if (linux) return { code: (0x3b + linux[1].charCodeAt(0) - 0x41) << 8, length: 4 };
  const sequence = /^(?:O|\[([0-9;]*))([A-Za-z~])/.exec(text);
  if (sequence) {
    const [all, numbers = '', final] = sequence;
    const code = final === '~' ? NUMBERED_KEYS[numbers.split(';')[0]] : CURSOR_KEYS[final];
    return { code: code ?? NO_KEY, length: 1 + all.length };
  }
  if (/^(?:O|\[[0-9;[]*)$/.test(text) && text.length < 11) return undefined;
  const key = keyOfCharacter(bytes[1]);
  // Escape in front of a character is what Alt makes of it.
  if (bytes[1] !== ESCAPE && key >= 0x100) return { code: keyCodes(key >> 8)?.alt ?? NO_KEY, length: 2 };
  return { code: 0x011b, length: 1 };
};
