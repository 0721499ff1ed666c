// The .xz container: The .xz File Format 1.1.0. Filters: LZMA2, x86 branch conversion, delta.
import { formatError, le32, OutBuffer, startsWith } from './bytes.js';
import { crc32, crc64, sha256 } from './checksum.js';
import { LzmaDecoder } from './lzma.js';

const WHAT = 'xz data';
const HEADER_MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00];
const FOOTER_MAGIC = [0x59, 0x5a];
const CHECK_NONE = 0;
const CHECK_CRC32 = 1;
const CHECK_CRC64 = 4;
const CHECK_SHA256 = 10;
const CHECK_SIZES = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];
const FILTER_DELTA = 0x03;
const FILTER_X86 = 0x04;
const FILTER_LZMA2 = 0x21;

interface Block {
  unpaddedSize: number;
  uncompressedSize: number;
}

/** Unpacks all streams of an .xz file. `used` is the count of input bytes that belong to them. */
export function decodeXz(input: Uint8Array, sizeHint = 0, maxBytes?: number): { bytes: Uint8Array; used: number } {
  const steps = xzSteps(input, sizeHint, maxBytes);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** The same in steps of a few milliseconds at most, but for the checksums of large blocks. */
export function* xzSteps(input: Uint8Array, sizeHint = 0, maxBytes?: number): Generator<void, { bytes: Uint8Array; used: number }> {
  const hint = sizeHint || statedSize(input) || input.length * 5;
  const out = new OutBuffer(WHAT, Math.min(hint, input.length * 8000), maxBytes);
  const decoder = new LzmaDecoder(WHAT, out);
  let at = yield* decodeStream(input, 0, out, decoder);
  for (;;) {
    let next = at;
    while (next + 4 <= input.length && le32(input, next) === 0) next += 4;
    if (!startsWith(input, HEADER_MAGIC, next)) break;
    at = yield* decodeStream(input, next, out, decoder);
  }
  return { bytes: out.finish(), used: at };
}

function* decodeStream(input: Uint8Array, start: number, out: OutBuffer, decoder: LzmaDecoder): Generator<void, number> {
  if (!startsWith(input, HEADER_MAGIC, start)) throw formatError(WHAT, 'no xz header');
  if (input.length < start + 12) throw formatError(WHAT, 'truncated');
  if (input[start + 6] !== 0 || input[start + 7] > 15) throw formatError(WHAT, 'unknown stream flags');
  if (crc32(input.subarray(start + 6, start + 8)) !== le32(input, start + 8)) throw formatError(WHAT, 'bad header checksum');
  const check = input[start + 7];
  const blocks: Block[] = [];
  let at = start + 12;
  while (at < input.length && input[at] !== 0) at = yield* decodeBlock(input, at, check, out, decoder, blocks);
  if (at >= input.length) throw formatError(WHAT, 'truncated');
  const indexStart = at;
  at = checkIndex(input, at, blocks);
  if (input.length < at + 12) throw formatError(WHAT, 'truncated');
  if (!startsWith(input, FOOTER_MAGIC, at + 10) || input[at + 8] !== 0 || input[at + 9] !== check) {
    throw formatError(WHAT, 'bad footer');
  }
  if (crc32(input.subarray(at + 4, at + 10)) !== le32(input, at)) throw formatError(WHAT, 'bad footer checksum');
  if ((le32(input, at + 4) + 1) * 4 !== at - indexStart) throw formatError(WHAT, 'footer and index disagree');
  return at + 12;
}

function* decodeBlock(
  input: Uint8Array, start: number, check: number, out: OutBuffer, decoder: LzmaDecoder, blocks: Block[],
): Generator<void, number> {
  const headerSize = (input[start] + 1) * 4;
  const headerEnd = start + headerSize;
  if (headerEnd > input.length) throw formatError(WHAT, 'truncated');
  if (crc32(input.subarray(start, headerEnd - 4)) !== le32(input, headerEnd - 4)) {
    throw formatError(WHAT, 'bad block header checksum');
  }
  const header = input.subarray(0, headerEnd - 4);
  const flags = input[start + 1];
  if (flags & 0x3c) throw formatError(WHAT, 'unknown block flags');
  const cursor = { at: start + 2 };
  const compressedSize = flags & 0x40 ? readVarint(header, cursor) : undefined;
  const uncompressedSize = flags & 0x80 ? readVarint(header, cursor) : undefined;
  const filters: { id: number; props: Uint8Array }[] = [];
  for (let i = 0; i <= (flags & 3); i++) {
    const id = readVarint(header, cursor);
    const size = readVarint(header, cursor);
    if (cursor.at + size > header.length) throw formatError(WHAT, 'bad filter properties');
    filters.push({ id, props: header.subarray(cursor.at, cursor.at + size) });
    cursor.at += size;
  }
  if (header.subarray(cursor.at).some((byte) => byte !== 0)) throw formatError(WHAT, 'bad block header padding');
  const last = filters.pop()!;
  if (last.id !== FILTER_LZMA2 || last.props.length !== 1 || last.props[0] > 40) throw formatError(WHAT, 'unknown filter chain');

  const outStart = out.length;
  const dataEnd = yield* decodeLzma2(input, headerEnd, out, decoder);
  const size = out.length - outStart;
  if (compressedSize !== undefined && compressedSize !== dataEnd - headerEnd) throw formatError(WHAT, 'bad compressed size');
  if (uncompressedSize !== undefined && uncompressedSize !== size) throw formatError(WHAT, 'bad uncompressed size');
  const data = out.bytes.subarray(outStart, out.length);
  for (const filter of filters.reverse()) {
    if (filter.id === FILTER_X86 && (filter.props.length === 0 || filter.props.length === 4)) {
      unconvertX86(data, filter.props.length ? le32(filter.props, 0) : 0);
    } else if (filter.id === FILTER_DELTA && filter.props.length === 1) {
      const distance = filter.props[0] + 1;
      for (let i = distance; i < data.length; i++) data[i] += data[i - distance];
    } else {
      throw formatError(WHAT, `unknown filter 0x${filter.id.toString(16)}`);
    }
  }

  let at = dataEnd;
  while ((at - headerEnd) & 3) if (input[at++] !== 0) throw formatError(WHAT, 'bad block padding or truncated');
  const checkSize = CHECK_SIZES[check];
  if (at + checkSize > input.length) throw formatError(WHAT, 'truncated');
  if (!checkMatches(check, data, input, at)) throw formatError(WHAT, 'the data does not match its checksum');
  blocks.push({ unpaddedSize: headerSize + dataEnd - headerEnd + checkSize, uncompressedSize: size });
  return at + checkSize;
}

function checkMatches(check: number, data: Uint8Array, input: Uint8Array, at: number): boolean {
  if (check === CHECK_CRC32) return crc32(data) === le32(input, at);
  if (check === CHECK_CRC64) {
    const { low, high } = crc64(data);
    return low === le32(input, at) && high === le32(input, at + 4);
  }
  if (check === CHECK_SHA256) return sha256(data).equals(input.subarray(at, at + 32));
  // The format lets a decoder pass over checks it does not know.
  return check >= CHECK_NONE;
}

/** LZMA2: chunks with a control byte each, until a zero byte. Returns the position after that byte. */
function* decodeLzma2(input: Uint8Array, start: number, out: OutBuffer, decoder: LzmaDecoder): Generator<void, number> {
  let at = start;
  let needDictReset = true;
  let needProps = true;
  for (;;) {
    if (at >= input.length) throw formatError(WHAT, 'truncated');
    const control = input[at++];
    if (control === 0) return at;
    if (control >= 0xe0 || control === 1) {
      needDictReset = false;
      needProps = true;
      decoder.historyStart = out.length;
    } else if (needDictReset) {
      throw formatError(WHAT, 'a chunk without a dictionary');
    }
    if (control >= 0x80) {
      if (at + 4 > input.length) throw formatError(WHAT, 'truncated');
      const unpacked = (((control & 0x1f) << 16) | (input[at] << 8) | input[at + 1]) + 1;
      const packed = ((input[at + 2] << 8) | input[at + 3]) + 1;
      at += 4;
      if (control >= 0xc0) {
        decoder.setProps(input[at++], true);
        needProps = false;
      } else if (needProps) {
        throw formatError(WHAT, 'a chunk without properties');
      } else if (control >= 0xa0) {
        decoder.resetState();
      }
      const end = at + packed;
      if (end > input.length) throw formatError(WHAT, 'truncated');
      decoder.startRange(input, at, end);
      out.reserve(unpacked);
      const stop = out.length + unpacked;
      decoder.decode(input, end, stop, stop, false);
      decoder.normalize(input);
      if (decoder.pos !== end || !decoder.rangeDone) throw formatError(WHAT, 'a damaged chunk');
      at = end;
      yield;
    } else if (control <= 2) {
      if (at + 2 > input.length) throw formatError(WHAT, 'truncated');
      const size = ((input[at] << 8) | input[at + 1]) + 1;
      at += 2;
      if (at + size > input.length) throw formatError(WHAT, 'truncated');
      out.append(input.subarray(at, at + size));
      at += size;
    } else {
      throw formatError(WHAT, 'a bad chunk');
    }
  }
}

function checkIndex(input: Uint8Array, start: number, blocks: readonly Block[]): number {
  const cursor = { at: start + 1 };
  if (readVarint(input, cursor) !== blocks.length) throw formatError(WHAT, 'bad index');
  for (const block of blocks) {
    if (readVarint(input, cursor) !== block.unpaddedSize || readVarint(input, cursor) !== block.uncompressedSize) {
      throw formatError(WHAT, 'bad index');
    }
  }
  while ((cursor.at - start) & 3) if (input[cursor.at++] !== 0) throw formatError(WHAT, 'bad index padding or truncated');
  if (cursor.at + 4 > input.length) throw formatError(WHAT, 'truncated');
  if (crc32(input.subarray(start, cursor.at)) !== le32(input, cursor.at)) throw formatError(WHAT, 'bad index checksum');
  return cursor.at + 4;
}

/** The sum of sizes in the index of the last stream, when the file ends with a footer. A hint only. */
function statedSize(input: Uint8Array): number | undefined {
  const footer = input.length - 12;
  if (footer < 12 || !startsWith(input, FOOTER_MAGIC, footer + 10)) return undefined;
  const start = footer - (le32(input, footer + 4) + 1) * 4;
  if (start < 12 || input[start] !== 0) return undefined;
  try {
    const cursor = { at: start + 1 };
    let sum = 0;
    for (let count = Math.min(readVarint(input, cursor), input.length); count > 0; count--) {
      readVarint(input, cursor);
      sum += readVarint(input, cursor);
    }
    return sum;
  } catch {
    return undefined;
  }
}

function readVarint(bytes: Uint8Array, cursor: { at: number }): number {
  let value = 0;
  for (let i = 0, scale = 1; i < 9; i++, scale *= 128) {
    if (cursor.at >= bytes.length) throw formatError(WHAT, 'truncated');
    const byte = bytes[cursor.at++];
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) {
      if (byte === 0 && i > 0) break;
      return value;
    }
  }
  throw formatError(WHAT, 'a bad number');
}

/**
 * Turns the absolute targets of E8 and E9 back into relative ones, in place. `mask` remembers, one bit a byte, which of the
 * last three bytes looked like an opcode whose operand was left alone.
 */
export function unconvertX86(data: Uint8Array, startOffset: number): void {
  const stop = data.length - 4;
  let mask = 0;
  let last = -5;
  for (let at = 0; at < stop; at++) {
    if ((data[at] & 0xfe) !== 0xe8) continue;
    const gap = at - last;
    last = at;
    mask = gap > 3 ? 0 : (mask << (gap - 1)) & 7;
    const bit = MASK_BIT[mask];
    if (mask !== 0 && (!MASK_ALLOWED[mask] || isSignByte(data[at + 4 - bit]))) {
      mask = ((mask << 1) & 7) | 1;
      continue;
    }
    if (!isSignByte(data[at + 4])) {
      mask = ((mask << 1) & 7) | 1;
      continue;
    }
    const ip = (startOffset + at + 5) | 0;
    let source = le32(data, at + 1) | 0;
    let target = (source - ip) | 0;
    while (mask !== 0 && isSignByte((target >>> (24 - bit * 8)) & 0xff)) {
      source = target ^ ((1 << (32 - bit * 8)) - 1);
      target = (source - ip) | 0;
    }
    data[at + 1] = target;
    data[at + 2] = target >>> 8;
    data[at + 3] = target >>> 16;
    data[at + 4] = target & 0x01000000 ? 0xff : 0;
    mask = 0;
    at += 4;
  }
}

const MASK_ALLOWED = [true, true, true, false, true, false, false, false];
const MASK_BIT = [0, 1, 2, 2, 3, 3, 3, 3];

function isSignByte(byte: number): boolean {
  return byte === 0 || byte === 0xff;
}
