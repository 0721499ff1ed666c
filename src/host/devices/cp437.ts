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
