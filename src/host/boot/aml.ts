// A builder of ACPI machine language (ACPI 6.5, chapters 20 and 6.4): functions that return the bytes of one term.

export type Aml = readonly number[];

const word = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff];
const dword = (value: number): number[] => [...word(value), ...word(value >>> 16)];
const ascii = (text: string): number[] => [...text].map(c => c.charCodeAt(0));

/** 20.2.4: the length counts itself. */
const packageLength = (bytes: number): number[] => {
  if (bytes + 1 < 0x40) return [bytes + 1];
  const extra = bytes + 2 < 0x1000 ? 1 : bytes + 3 < 0x10_0000 ? 2 : 3;
  const length = bytes + 1 + extra;
  return [(extra << 6) | (length & 15), ...Array.from({ length: extra }, (_, i) => (length >>> (4 + 8 * i)) & 0xff)];
};

const packaged = (opcode: number[], contents: Aml): Aml => [...opcode, ...packageLength(contents.length), ...contents];

/** A path such as `\_SB.PCI0` or `_HID`; segments are padded with underscores. */
export const path = (text: string): Aml => {
  const root = text.startsWith('\\');
  const segments = (root ? text.slice(1) : text).split('.').filter(s => s !== '');
  const names = segments.flatMap(segment => ascii(segment.padEnd(4, '_')));
  const prefix = segments.length === 0 ? [0] : segments.length === 1 ? [] : segments.length === 2 ? [0x2e] : [0x2f, segments.length];
  return [...(root ? [0x5c] : []), ...prefix, ...names];
};

export const integer = (value: number): Aml => {
  if (value === 0 || value === 1) return [value];
  if (value < 0x100) return [0x0a, value];
  if (value < 0x1_0000) return [0x0b, ...word(value)];
  return [0x0c, ...dword(value)];
};

export const string = (text: string): Aml => [0x0d, ...ascii(text), 0];

/** A compressed EISA identifier such as PNP0A03. */
export const eisaId = (id: string): Aml => {
  const [a, b, c] = ascii(id).map(code => code - 0x40);
  const product = Number.parseInt(id.slice(3), 16);
  return [0x0c, (a << 2) | (b >>> 3), ((b & 7) << 5) | c, product >>> 8, product & 0xff];
};

export const name = (at: string, value: Aml): Aml => [0x08, ...path(at), ...value];
export const scope = (at: string, ...terms: Aml[]): Aml => packaged([0x10], [...path(at), ...terms.flat()]);
export const device = (at: string, ...terms: Aml[]): Aml => packaged([0x5b, 0x82], [...path(at), ...terms.flat()]);
export const package_ = (...elements: Aml[]): Aml => packaged([0x12], [elements.length, ...elements.flat()]);
export const buffer = (bytes: readonly number[]): Aml => packaged([0x11], [...integer(bytes.length), ...bytes]);

/** A resource template: the descriptors, closed by an end tag without a checksum. */
export const resources = (...descriptors: Aml[]): Aml => buffer([...descriptors.flat(), 0x79, 0]);

/** Fixed I/O ports, decoded with 16 bits. */
export const io = (base: number, size: number, alignment = 1): Aml => [0x47, 1, ...word(base), ...word(base), alignment, size];
/** An edge-triggered ISA interrupt. */
export const irq = (line: number): Aml => [0x22, ...word(1 << line)];
export const memory32 = (base: number, size: number): Aml => [0x86, ...word(9), 1, ...dword(base), ...dword(size)];

const RANGE_FIXED = 0x0c;

/** Address ranges that a bridge passes on; `last` is inclusive. */
export const busRange = (first: number, last: number): Aml => [0x88, ...word(13), 2, RANGE_FIXED, 0, ...[0, first, last, 0, last - first + 1].flatMap(word)];
export const ioRange = (first: number, last: number): Aml => [0x88, ...word(13), 1, RANGE_FIXED, 3, ...[0, first, last, 0, last - first + 1].flatMap(word)];
export const memoryRange = (first: number, last: number, cacheable = false): Aml => [
  0x87,
  ...word(23),
  0,
  RANGE_FIXED,
  cacheable ? 3 : 1,
  ...[0, first, last, 0, last - first + 1].flatMap(dword),
];
