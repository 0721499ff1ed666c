/**
 * What the keyboard controller makes of scan code set 2 in translation mode (IBM PS/2 technical reference, keyboard controller):
 * entry n is the set 1 code of byte n. Bytes from 0x80 on pass unchanged but for two.
 */
const TRANSLATED =
  'ff43413f3d3b3c58644442403e0f295965382a701d10025a66712c1f1e11035b672e2d201205045c68392f211413065d' +
  '693130232215075e6a7232241608095f6b332517180b0a606c34352627190c616d7328741a0d626e3a361c1b752b6376' +
  '55567778797a0e7b7c4f7d4b477e7f6f5253504c4d480145574e514a37494654';

const TABLE = ((): Uint8Array => {
  const table = Uint8Array.from({ length: 256 }, (_, n) => n);
  const digits = TRANSLATED;
  for (let n = 0; n < digits.length / 2; n++) table[n] = Number.parseInt(digits.slice(2 * n, 2 * n + 2), 16);
  table[0x83] = 0x41;
  table[0x84] = 0x54;
  return table;
})();

/** Marks the release of the key whose code follows, in set 2. */
export const BREAK_PREFIX = 0xf0;

/** The set 1 code of one byte of set 2, without the release bit. */
export const translateScancode = (byte: number): number => TABLE[byte];
