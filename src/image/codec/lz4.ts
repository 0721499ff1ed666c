// LZ4: blocks (LZ4 Block Format), the legacy container that kernels use, and the LZ4 frame format 1.6.
import { formatError, le32, OutBuffer } from './bytes.js';
import { xxh32 } from './checksum.js';

const WHAT = 'lz4 data';
const LEGACY_MAGIC = 0x184c2102;
const FRAME_MAGIC = 0x184d2204;
const LEGACY_BLOCK_MAX = 8 << 20;
const BLOCK_SIZES = [64 << 10, 256 << 10, 1 << 20, 4 << 20];

/** Unpacks a legacy container or a frame; `used` is the count of input bytes that belong to it. */
export function decodeLz4(input: Uint8Array, sizeHint = 0, maxBytes?: number): { bytes: Uint8Array; used: number } {
  if (input.length < 4) throw formatError(WHAT, 'truncated');
  const magic = le32(input, 0);
  const out = new OutBuffer(WHAT, Math.min(sizeHint || input.length * 4, input.length * 256), maxBytes);
  if (magic === LEGACY_MAGIC) return { used: decodeLegacy(input, out), bytes: out.finish() };
  if (magic === FRAME_MAGIC) return { used: decodeFrame(input, out), bytes: out.finish() };
  throw formatError(WHAT, 'no lz4 header');
}

function decodeLegacy(input: Uint8Array, out: OutBuffer): number {
  let at = 4;
  while (at + 4 <= input.length) {
    const size = le32(input, at);
    if (size === LEGACY_MAGIC) {
      at += 4;
      continue;
    }
    // The container has no end mark: what cannot be a block belongs to whatever follows.
    if (size === 0 || size > LEGACY_BLOCK_MAX + LEGACY_BLOCK_MAX / 255 + 16) break;
    at += 4;
    if (at + size > input.length) throw formatError(WHAT, 'truncated');
    const start = out.length;
    decodeBlock(input, at, at + size, out, start, LEGACY_BLOCK_MAX);
    at += size;
    if (out.length - start < LEGACY_BLOCK_MAX) break;
  }
  return at;
}

function decodeFrame(input: Uint8Array, out: OutBuffer): number {
  if (input.length < 7) throw formatError(WHAT, 'truncated');
  const flags = input[4];
  const maxCode = (input[5] >> 4) & 7;
  if (flags >> 6 !== 1 || flags & 2 || maxCode < 4 || input[5] & 0x8f) throw formatError(WHAT, 'unknown frame flags');
  if (flags & 1) throw formatError(WHAT, 'needs a dictionary');
  const independent = (flags & 0x20) !== 0;
  const blockChecksum = (flags & 0x10) !== 0;
  const contentSize = (flags & 8) !== 0;
  const contentChecksum = (flags & 4) !== 0;
  const headerEnd = 6 + (contentSize ? 8 : 0);
  if (headerEnd >= input.length) throw formatError(WHAT, 'truncated');
  if (((xxh32(input.subarray(4, headerEnd)) >>> 8) & 0xff) !== input[headerEnd]) throw formatError(WHAT, 'bad header checksum');
  const blockMax = BLOCK_SIZES[maxCode - 4];
  let at = headerEnd + 1;
  for (;;) {
    if (at + 4 > input.length) throw formatError(WHAT, 'truncated');
    const word = le32(input, at);
    at += 4;
    if (word === 0) break;
    const size = word & 0x7fffffff;
    if (size > blockMax || at + size > input.length) throw formatError(WHAT, 'truncated or a bad block size');
    if (word >>> 31) out.append(input.subarray(at, at + size));
    else decodeBlock(input, at, at + size, out, independent ? out.length : 0, blockMax);
    if (blockChecksum) {
      if (at + size + 4 > input.length) throw formatError(WHAT, 'truncated');
      if (xxh32(input.subarray(at, at + size)) !== le32(input, at + size)) throw formatError(WHAT, 'bad block checksum');
      at += 4;
    }
    at += size;
  }
  if (contentSize && le32(input, 10) * 2 ** 32 + le32(input, 6) !== out.length) throw formatError(WHAT, 'bad content size');
  if (contentChecksum) {
    if (at + 4 > input.length) throw formatError(WHAT, 'truncated');
    if (xxh32(out.finish()) !== le32(input, at)) throw formatError(WHAT, 'the data does not match its checksum');
    at += 4;
  }
  return at;
}

function decodeBlock(input: Uint8Array, start: number, end: number, out: OutBuffer, historyStart: number, max: number): void {
  const limit = out.length + max;
  let bytes = out.bytes;
  let to = out.length;
  let at = start;
  const room = (count: number): void => {
    if (to + count > limit) throw formatError(WHAT, 'a block is larger than it may be');
    if (to + count > bytes.length) {
      out.length = to;
      out.reserve(count);
      bytes = out.bytes;
    }
  };
  while (at < end) {
    const token = input[at++];
    let count = token >> 4;
    if (count === 15) {
      let more: number;
      do {
        if (at >= end) throw formatError(WHAT, 'truncated');
        more = input[at++];
        count += more;
      } while (more === 255);
    }
    if (at + count > end) throw formatError(WHAT, 'truncated');
    room(count);
    if (count > 24) {
      bytes.set(input.subarray(at, at + count), to);
      to += count;
      at += count;
    } else {
      for (const stop = at + count; at < stop; ) bytes[to++] = input[at++];
    }
    if (at === end) break;

    if (at + 2 > end) throw formatError(WHAT, 'truncated');
    const distance = input[at] | (input[at + 1] << 8);
    at += 2;
    if (distance === 0 || distance > to - historyStart) throw formatError(WHAT, 'a match before the first byte');
    count = (token & 15) + 4;
    if (count === 19) {
      let more: number;
      do {
        if (at >= end) throw formatError(WHAT, 'truncated');
        more = input[at++];
        count += more;
      } while (more === 255);
    }
    room(count);
    if (count > 32 && distance >= count) {
      bytes.copyWithin(to, to - distance, to - distance + count);
      to += count;
    } else {
      for (const stop = to + count; to < stop; to++) bytes[to] = bytes[to - distance];
    }
  }
  out.length = to;
}
