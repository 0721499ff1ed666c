/** IBM code page 437 as the display adapter's font shows it, by code. */
const GLYPHS =
  ' ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼' +
  ' !"#$%&\'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~⌂' +
  'ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»' +
  '░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀' +
  'αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0';

const BY_CODE = [...GLYPHS];
const BY_GLYPH = new Map(BY_CODE.map((glyph, code) => [glyph, code] as const).filter(([, code]) => code >= 0x80));

/** The character that a byte of text memory shows. */
export const glyphOf = (code: number): string => BY_CODE[code & 0xff];

/** The byte that shows a character from the upper half, or undefined. */
export const codeOf = (glyph: string): number | undefined => BY_GLYPH.get(glyph);

/** Light grey on black. */
export const NORMAL_ATTRIBUTE = 0x07;
/** ANSI's order of the eight colours, by the display adapter's. */
const ANSI_COLOURS = [0, 4, 2, 6, 1, 5, 3, 7];

/** The escape sequence that gives a terminal the colours of an attribute byte; light grey on black are the terminal's own colours. */
export const terminalColours = (attribute: number): string => {
  if (attribute === NORMAL_ATTRIBUTE) return '\x1b[0m';
  const bold = (attribute & 0x08) === 0 ? '' : ';1';
  const blink = (attribute & 0x80) === 0 ? '' : ';5';
  const front = (attribute & 7) === 7 ? '' : `;3${ANSI_COLOURS[attribute & 7]}`;
  const back = (attribute & 0x70) === 0 ? '' : `;4${ANSI_COLOURS[(attribute >> 4) & 7]}`;
  return `\x1b[0${bold}${blink}${front}${back}m`;
};
