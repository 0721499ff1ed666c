// Zstandard (RFC 8878): by Node where it can, else by fzstd. This file bounds what either may allocate.
import * as zlib from 'node:zlib';
import { decompress as fzstdDecompress } from 'fzstd';
import { concat, DEFAULT_MAX_BYTES, formatError, le32 } from './bytes.js';

const WHAT = 'zstd data';
const MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
const BLOCK_MAX = 128 << 10;
const WINDOW_MAX = 128 << 20;

const native = (zlib as { zstdDecompressSync?: (data: Uint8Array, options: { maxOutputLength: number }) => Buffer }).zstdDecompressSync;

interface Frame {
  end: number;
  /** Bytes it unpacks to, when the header says so. */
  size: number | undefined;
  /** Bytes it unpacks to at most. */
  bound: number;
}

/** Unpacks all frames; `used` is the count of input bytes that belong to them. A hint is the exact size, or 0. */
export function decodeZstd(input: Uint8Array, sizeHint = 0, maxBytes = DEFAULT_MAX_BYTES): { bytes: Uint8Array; used: number } {
  const parts: Uint8Array[] = [];
  let at = 0;
  let total = 0;
  let frames = 0;
  while (at + 4 <= input.length) {
    const magic = le32(input, at);
    if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC && at + 8 <= input.length) {
      at += 8 + le32(input, at + 4);
      if (at > input.length) throw formatError(WHAT, 'truncated');
      continue;
    }
    if (magic !== MAGIC) break;
    const frame = walkFrame(input, at);
    if ((frame.size ?? 0) > maxBytes - total) throw formatError(WHAT, `unpacks to more than ${maxBytes} bytes`);
    const exact = frame.size ?? (frames === 0 && sizeHint > 0 && sizeHint <= Math.min(frame.bound, maxBytes) ? sizeHint : undefined);
    const part = decodeFrame(input.subarray(at, frame.end), frame.bound, exact, maxBytes - total);
    if (frame.size !== undefined && part.length !== frame.size) throw formatError(WHAT, 'bad content size');
    total += part.length;
    if (total > maxBytes) throw formatError(WHAT, `unpacks to more than ${maxBytes} bytes`);
    parts.push(part);
    frames++;
    at = frame.end;
  }
  if (frames === 0) throw formatError(WHAT, 'no zstd frame');
  return { bytes: parts.length === 1 ? parts[0] : concat(parts), used: at };
}

function decodeFrame(frame: Uint8Array, bound: number, exactSize: number | undefined, maxBytes: number): Uint8Array {
  try {
    if (native) return native(frame, { maxOutputLength: Math.max(1, maxBytes) });
    // Without a buffer of its own size, fzstd slides a whole window after every block.
    return exactSize === undefined ? fzstdDecompress(narrowed(frame, bound)) : fzstdDecompress(frame, new Uint8Array(exactSize));
  } catch (cause) {
    throw formatError(WHAT, 'damaged or too large', cause);
  }
}

/** The same frame with its window no larger than the data can be: level 22 asks for 128 MB whatever it packs. */
function narrowed(frame: Uint8Array, bound: number): Uint8Array {
  const singleSegment = (frame[4] & 0x20) !== 0;
  const exponent = Math.max(0, Math.ceil(Math.log2(Math.max(bound, 1))) - 10);
  if (singleSegment || exponent >= frame[5] >> 3) return frame;
  const copy = new Uint8Array(frame);
  copy[5] = exponent << 3;
  return copy;
}

/** Reads headers only. */
function walkFrame(input: Uint8Array, start: number): Frame {
  if (start + 6 > input.length) throw formatError(WHAT, 'truncated');
  const descriptor = input[start + 4];
  if (descriptor & 8) throw formatError(WHAT, 'unknown frame flags');
  if (descriptor & 3) throw formatError(WHAT, 'needs a dictionary');
  const singleSegment = (descriptor & 0x20) !== 0;
  let at = start + 5;
  if (!singleSegment) {
    const code = input[at++];
    const base = 2 ** (10 + (code >> 3));
    if (base + (base / 8) * (code & 7) > WINDOW_MAX) throw formatError(WHAT, `a window of more than ${WINDOW_MAX} bytes`);
  }
  const sizeBytes = descriptor >> 6 ? 1 << (descriptor >> 6) : singleSegment ? 1 : 0;
  if (at + sizeBytes > input.length) throw formatError(WHAT, 'truncated');
  let size: number | undefined;
  for (let i = sizeBytes - 1; i >= 0; i--) size = (size ?? 0) * 256 + input[at + i];
  if (sizeBytes === 2) size = size! + 256;
  at += sizeBytes;
  let bound = 0;
  for (;;) {
    if (at + 3 > input.length) throw formatError(WHAT, 'truncated');
    const header = input[at] | (input[at + 1] << 8) | (input[at + 2] << 16);
    const type = (header >> 1) & 3;
    const blockSize = header >> 3;
    if (type === 3 || blockSize > BLOCK_MAX) throw formatError(WHAT, 'a bad block');
    bound += type === 2 ? BLOCK_MAX : blockSize;
    at += 3 + (type === 1 ? 1 : blockSize);
    if (at > input.length) throw formatError(WHAT, 'truncated');
    if (header & 1) break;
  }
  if (descriptor & 4) at += 4;
  if (at > input.length) throw formatError(WHAT, 'truncated');
  if (size !== undefined && size > bound) throw formatError(WHAT, 'bad content size');
  return { end: at, size, bound };
}
