import type { AccessSize } from './device.js';

/** A wide read of byte-wide registers: consecutive offsets, lowest first, as the ISA bus does it. */
export const readBytes = (offset: number, size: AccessSize, read: (offset: number) => number): number => {
  let value = 0;
  for (let i = 0; i < size; i++) value += read(offset + i) * 2 ** (8 * i);
  return value;
};

/** A wide write of byte-wide registers: consecutive offsets, lowest first. */
export const writeBytes = (offset: number, value: number, size: AccessSize, write: (offset: number, value: number) => void): void => {
  for (let i = 0; i < size; i++) write(offset + i, (value >>> (8 * i)) & 0xff);
};

/** The part of a register of `width` bytes that an access at `offset` in it sees; bytes past it read as ones. */
export const slice = (register: number, width: number, offset: number, size: AccessSize): number => {
  let value = 0;
  for (let i = 0; i < size; i++) {
    const byte = offset + i < width ? (register >>> (8 * (offset + i))) & 0xff : 0xff;
    value += byte * 2 ** (8 * i);
  }
  return value;
};

/** `register` of up to four bytes with the bytes of a write at `offset` merged in; bytes past its width are dropped. */
export const merge = (register: number, width: number, offset: number, size: AccessSize, value: number): number => {
  let merged = register;
  for (let i = 0; i < size && offset + i < width; i++) {
    const shift = 8 * (offset + i);
    merged = (merged & ~(0xff << shift)) | (((value >>> (8 * i)) & 0xff) << shift);
  }
  return merged >>> 0;
};
