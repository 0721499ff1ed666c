// gzip (RFC 1952): the container here, deflate by node:zlib.
import { inflateRawSync } from 'node:zlib';
import { concat, DEFAULT_MAX_BYTES, formatError, le32, startsWith } from './bytes.js';
import { crc32 } from './checksum.js';

const WHAT = 'gzip data';
const FHCRC = 2;
const FEXTRA = 4;
const FNAME = 8;
const FCOMMENT = 16;

/** Unpacks all members; `used` is the count of input bytes that belong to them. */
export function decodeGzip(input: Uint8Array, _sizeHint = 0, maxBytes = DEFAULT_MAX_BYTES): { bytes: Uint8Array; used: number } {
  const parts: Uint8Array[] = [];
  let at = 0;
  let total = 0;
  do {
    const member = decodeMember(input, at, maxBytes - total);
    total += member.bytes.length;
    parts.push(member.bytes);
    at = member.end;
  } while (startsWith(input, [0x1f, 0x8b, 8], at));
  return { bytes: parts.length === 1 ? parts[0] : concat(parts), used: at };
}

function decodeMember(input: Uint8Array, start: number, maxBytes: number): { bytes: Uint8Array; end: number } {
  if (!startsWith(input, [0x1f, 0x8b, 8], start)) throw formatError(WHAT, 'no gzip header');
  const flags = input[start + 3];
  let at = start + 10;
  if (flags & FEXTRA) at += 2 + (input[at] | (input[at + 1] << 8));
  for (const flag of [FNAME, FCOMMENT]) {
    if (!(flags & flag)) continue;
    const end = input.indexOf(0, at);
    at = end < 0 ? input.length : end + 1;
  }
  if (flags & FHCRC) at += 2;
  if (!(at < input.length)) throw formatError(WHAT, 'truncated');
  let result: { buffer: Buffer; engine: { bytesWritten: number } };
  try {
    // With `info` the call also tells how much of the input the stream took.
    result = inflateRawSync(input.subarray(at), { info: true, maxOutputLength: Math.max(1, maxBytes) }) as unknown as typeof result;
  } catch (cause) {
    const tooLarge = (cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
    throw formatError(WHAT, tooLarge ? `unpacks to more than ${maxBytes} bytes` : 'damaged or truncated', cause);
  }
  const { buffer } = result;
  at += result.engine.bytesWritten;
  if (at + 8 > input.length) throw formatError(WHAT, 'truncated');
  if (crc32(buffer) !== le32(input, at)) throw formatError(WHAT, 'the data does not match its checksum');
  if (buffer.length >>> 0 !== le32(input, at + 4)) throw formatError(WHAT, 'bad content size');
  return { bytes: buffer, end: at + 8 };
}
