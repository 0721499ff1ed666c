import type { Ipv4 } from '../address.js';
import { putU16, putU32, u16, u32 } from '../bytes.js';
import { addWords, finishChecksum, pseudoHeaderSum } from '../checksum.js';
import { PROTOCOL_TCP } from '../ipv4.js';

// RFC 9293, 3.1; window scale and timestamps: RFC 7323; SACK: RFC 2018.

export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;
export const URG = 0x20;

export const TCP_HEADER_BYTES = 20;
const MAX_HEADER_BYTES = 60;
const CHECKSUM_OFFSET = 16;

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;
const OPTION_WINDOW_SCALE = 3;
const OPTION_SACK_PERMITTED = 4;
const OPTION_TIMESTAMPS = 8;

export interface TcpOptions {
  mss?: number;
  /** The shift count as sent; RFC 7323 bounds its use to 14. */
  windowScale?: number;
  sackPermitted?: boolean;
  timestamps?: { value: number; echo: number };
}

export interface TcpSegment {
  readonly srcPort: number;
  readonly dstPort: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  /** As on the wire, unscaled. */
  readonly window: number;
  readonly urgent: number;
  readonly options: TcpOptions;
  readonly payload: Uint8Array;
}

export const NO_OPTIONS: TcpOptions = {};

/** What is well-formed is kept; a wrong length ends the list. */
const decodeOptions = (bytes: Uint8Array, start: number, end: number): TcpOptions => {
  if (start === end) return NO_OPTIONS;
  const options: TcpOptions = {};
  for (let at = start; at < end; ) {
    const kind = bytes[at];
    if (kind === OPTION_END) break;
    if (kind === OPTION_NOP) {
      at++;
      continue;
    }
    const length = at + 1 < end ? bytes[at + 1] : 0;
    if (length < 2 || at + length > end) break;
    if (kind === OPTION_MSS && length === 4) options.mss = u16(bytes, at + 2);
    else if (kind === OPTION_WINDOW_SCALE && length === 3) options.windowScale = bytes[at + 2];
    else if (kind === OPTION_SACK_PERMITTED && length === 2) options.sackPermitted = true;
    else if (kind === OPTION_TIMESTAMPS && length === 10) options.timestamps = { value: u32(bytes, at + 2), echo: u32(bytes, at + 6) };
    at += length;
  }
  return options;
};

const encodeOptions = (options: TcpOptions): number[] => {
  const bytes: number[] = [];
  if (options.mss !== undefined) bytes.push(OPTION_MSS, 4, options.mss >>> 8, options.mss & 255);
  if (options.windowScale !== undefined) bytes.push(OPTION_NOP, OPTION_WINDOW_SCALE, 3, options.windowScale);
  if (options.sackPermitted === true) bytes.push(OPTION_NOP, OPTION_NOP, OPTION_SACK_PERMITTED, 2);
  if (options.timestamps !== undefined) {
    const words = new Uint8Array(8);
    putU32(words, 0, options.timestamps.value);
    putU32(words, 4, options.timestamps.echo);
    bytes.push(OPTION_NOP, OPTION_NOP, OPTION_TIMESTAMPS, 10, ...words);
  }
  return bytes;
};

/** Undefined when cut short or the checksum is wrong. */
export const decodeTcp = (bytes: Uint8Array, src: Ipv4, dst: Ipv4, unchecked = false): TcpSegment | undefined => {
  if (bytes.length < TCP_HEADER_BYTES) return undefined;
  const header = (bytes[12] >>> 4) * 4;
  if (header < TCP_HEADER_BYTES || header > bytes.length) return undefined;
  if (!unchecked && finishChecksum(addWords(pseudoHeaderSum(src, dst, PROTOCOL_TCP, bytes.length), bytes)) !== 0) return undefined;
  return {
    srcPort: u16(bytes, 0),
    dstPort: u16(bytes, 2),
    seq: u32(bytes, 4),
    ack: u32(bytes, 8),
    flags: bytes[13] & 0x3f,
    window: u16(bytes, 14),
    urgent: u16(bytes, 18),
    options: decodeOptions(bytes, TCP_HEADER_BYTES, header),
    payload: bytes.subarray(header),
  };
};

/**
 * Encodes a segment. With `headroom`, the result is a view that has that many free bytes before it in a buffer of its own; with `partial`, its
 * checksum is the folded sum of the pseudo-header, to be completed by others.
 */
export const encodeTcp = (segment: TcpSegment, src: Ipv4, dst: Ipv4, headroom = 0, partial = false): Uint8Array => {
  const options = segment.options === NO_OPTIONS ? undefined : encodeOptions(segment.options);
  const header = Math.min(MAX_HEADER_BYTES, TCP_HEADER_BYTES + (options?.length ?? 0));
  const whole = new Uint8Array(headroom + header + segment.payload.length);
  const bytes = headroom === 0 ? whole : whole.subarray(headroom);
  putU16(bytes, 0, segment.srcPort);
  putU16(bytes, 2, segment.dstPort);
  putU32(bytes, 4, segment.seq);
  putU32(bytes, 8, segment.ack);
  bytes[12] = (header >>> 2) << 4;
  bytes[13] = segment.flags;
  putU16(bytes, 14, segment.window);
  putU16(bytes, 18, segment.urgent);
  if (options !== undefined) bytes.set(options, TCP_HEADER_BYTES);
  if (segment.payload.length > 0) bytes.set(segment.payload, header);
  const sum = pseudoHeaderSum(src, dst, PROTOCOL_TCP, bytes.length);
  putU16(bytes, CHECKSUM_OFFSET, partial ? ~finishChecksum(sum) & 0xffff : finishChecksum(addWords(sum, bytes)));
  return bytes;
};
