// LZO1X in the lzop container, as kernels use it. Bit stream: Documentation/staging/lzo.rst of Linux.
import { be16, be32, formatError, OutBuffer, startsWith } from './bytes.js';

const WHAT = 'lzo data';
export const LZOP_MAGIC = [0x89, 0x4c, 0x5a, 0x4f, 0x00, 0x0d, 0x0a, 0x1a, 0x0a];
const F_ADLER32_D = 0x001;
const F_ADLER32_C = 0x002;
const F_H_EXTRA_FIELD = 0x040;
const F_CRC32_D = 0x100;
const F_CRC32_C = 0x200;
const F_H_FILTER = 0x800;
const BLOCK_MAX = 64 << 20;

/** Unpacks an lzop file; `used` is the count of input bytes that belong to it. */
export function decodeLzop(input: Uint8Array, sizeHint = 0, maxBytes?: number): { bytes: Uint8Array; used: number } {
  if (!startsWith(input, LZOP_MAGIC)) throw formatError(WHAT, 'no lzop header');
  if (input.length < 40) throw formatError(WHAT, 'truncated');
  const version = be16(input, 9);
  const modern = version >= 0x0940;
  let at = modern ? 17 : 14;
  const method = input[modern ? 15 : 13];
  if (method < 1 || method > 3) throw formatError(WHAT, 'unknown method');
  const flags = be32(input, at);
  at += 4;
  if (flags & F_H_FILTER) throw formatError(WHAT, 'a filter that is not supported');
  at += modern ? 12 : 8;
  at += 1 + input[at] + 4;
  if (flags & F_H_EXTRA_FIELD) at += 4 + be32(input, Math.min(at, input.length - 4)) + 4;

  const out = new OutBuffer(WHAT, Math.min(sizeHint || input.length * 4, input.length * 256), maxBytes);
  for (;;) {
    if (at + 4 > input.length) throw formatError(WHAT, 'truncated');
    const size = be32(input, at);
    at += 4;
    if (size === 0) return { bytes: out.finish(), used: at };
    if (at + 4 > input.length) throw formatError(WHAT, 'truncated');
    const packed = be32(input, at);
    at += 4;
    if (size > BLOCK_MAX || packed > size) throw formatError(WHAT, 'a bad block size');
    at += (flags & F_ADLER32_D ? 4 : 0) + (flags & F_CRC32_D ? 4 : 0);
    if (packed < size) at += (flags & F_ADLER32_C ? 4 : 0) + (flags & F_CRC32_C ? 4 : 0);
    if (at + packed > input.length) throw formatError(WHAT, 'truncated');
    if (packed === size) {
      out.append(input.subarray(at, at + size));
    } else {
      out.reserve(size);
      decodeLzo1x(input, at, at + packed, out, size);
    }
    at += packed;
  }
}

/** One LZO1X stream of `size` bytes; the caller has reserved the room. */
function decodeLzo1x(input: Uint8Array, start: number, end: number, out: OutBuffer, size: number): void {
  const bytes = out.bytes;
  const historyStart = out.length;
  const limit = historyStart + size;
  let to = historyStart;
  let at = start;

  const next = (): number => {
    if (at >= end) throw formatError(WHAT, 'truncated');
    return input[at++];
  };
  const longCount = (base: number): number => {
    let count = base;
    let byte = next();
    while (byte === 0) {
      count += 255;
      byte = next();
    }
    return count + byte;
  };
  const literals = (count: number): void => {
    if (at + count > end || to + count > limit) throw formatError(WHAT, 'truncated or too long');
    bytes.set(input.subarray(at, at + count), to);
    at += count;
    to += count;
  };
  const match = (distance: number, count: number): void => {
    if (distance > to - historyStart) throw formatError(WHAT, 'a match before the first byte');
    if (to + count > limit) throw formatError(WHAT, 'a match runs past the end');
    for (const stop = to + count; to < stop; to++) bytes[to] = bytes[to - distance];
  };

  // The literals that the last instruction copied: 0, 1 to 3, or 4 for a long run.
  let state = 0;
  if (at < end && input[at] > 17) {
    const count = input[at++] - 17;
    literals(count);
    state = Math.min(count, 4);
  }
  for (;;) {
    const op = next();
    let low: number;
    if (op >= 64) {
      low = op;
      const count = (op >> 5) + 1;
      match((next() << 3) + ((op >> 2) & 7) + 1, count);
    } else if (op >= 32) {
      const count = (op & 31 ? op & 31 : longCount(31)) + 2;
      low = next();
      match((next() << 6) + (low >> 2) + 1, count);
    } else if (op >= 16) {
      const count = (op & 7 ? op & 7 : longCount(7)) + 2;
      low = next();
      const distance = 16384 + ((op & 8) << 11) + (next() << 6) + (low >> 2);
      if (distance === 16384) {
        if (count !== 3 || at !== end || to !== limit) throw formatError(WHAT, 'a bad end');
        out.length = to;
        return;
      }
      match(distance, count);
    } else if (state === 0) {
      literals((op ? op : longCount(15)) + 3);
      state = 4;
      continue;
    } else if (state === 4) {
      low = op;
      match((next() << 2) + (op >> 2) + 2049, 3);
    } else {
      low = op;
      match((next() << 2) + (op >> 2) + 1, 2);
    }
    state = low & 3;
    literals(state);
  }
}
