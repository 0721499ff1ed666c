import { putU16, putU32, u16, u32 } from './bytes.js';
import { addWords, finishChecksum, pseudoHeaderSum } from './checksum.js';

/**
 * Work that the sender of a frame has left to others, as drivers leave it to network cards: the transport checksum, whose field holds the folded
 * sum of the pseudo-header, and cutting a large TCP segment. Between stations that can both deal with it nobody does that work.
 */
export interface Offload {
  /** Where the transport header starts. */
  readonly csumStart: number;
  /** Where in it the checksum is. */
  readonly csumOffset: number;
  /** Payload bytes of each TCP segment; 0 when the frame is one already. */
  readonly segmentBytes: number;
}

const open = new WeakMap<Uint8Array, Offload>();

export const setOffload = (frame: Uint8Array, offload: Offload): Uint8Array => {
  open.set(frame, offload);
  return frame;
};

/** What is left to do on a frame; undefined for one that is complete. */
export const offloadOf = (frame: Uint8Array): Offload | undefined => open.get(frame);

const TYPE_AT = 12;
const VLAN = 0x8100;
const IPV6 = 0x86dd;
const TCP = 6;
const FIN_PSH = 0x09;

/** Where the network header starts. */
export const networkStart = (frame: Uint8Array): number => (u16(frame, TYPE_AT) === VLAN ? 18 : 14);

export const isIpv6Frame = (frame: Uint8Array): boolean => u16(frame, networkStart(frame) - 2) === IPV6;

/** The headers of a TCP frame, in bytes. */
export const headerBytesOf = (frame: Uint8Array, { csumStart }: Offload): number => csumStart + (frame[csumStart + 12] >>> 4) * 4;

/** Whether the numbers of an offload fit its frame. */
export const isSoundOffload = (frame: Uint8Array, offload: Offload): boolean => {
  const { csumStart, csumOffset, segmentBytes } = offload;
  if (csumStart < 14 || csumStart + csumOffset + 2 > frame.length) return false;
  if (segmentBytes === 0) return true;
  const network = networkStart(frame);
  const v6 = isIpv6Frame(frame);
  if (csumOffset !== 16 || csumStart + 20 > frame.length || csumStart < network + (v6 ? 40 : 20)) return false;
  const header = headerBytesOf(frame, offload);
  return header >= csumStart + 20 && header <= frame.length && frame[network + (v6 ? 6 : 9)] === TCP;
};

/** Does what was left to do: one complete frame, or the segments of a large one. The frame itself stays as it is. */
export const finishFrame = (frame: Uint8Array): Uint8Array[] => {
  const offload = open.get(frame);
  if (offload === undefined) return [frame];
  const { csumStart, csumOffset, segmentBytes } = offload;
  if (segmentBytes === 0) {
    const copy = frame.slice();
    putU16(copy, csumStart + csumOffset, finishChecksum(addWords(0, copy, csumStart)) || 0xffff);
    return [copy];
  }
  const header = headerBytesOf(frame, offload);
  const network = networkStart(frame);
  const v6 = isIpv6Frame(frame);
  const id = u16(frame, network + 4);
  const sequence = u32(frame, csumStart + 4);
  const flags = frame[csumStart + 13];
  const segments: Uint8Array[] = [];
  for (let at = header, index = 0; index === 0 || at < frame.length; at += segmentBytes, index++) {
    const end = Math.min(frame.length, at + segmentBytes);
    const segment = new Uint8Array(header + end - at);
    segment.set(frame.subarray(0, header));
    segment.set(frame.subarray(at, end), header);
    putU32(segment, csumStart + 4, (sequence + at - header) >>> 0);
    if (end < frame.length) segment[csumStart + 13] = flags & ~FIN_PSH;
    const length = segment.length - csumStart;
    let sum: number;
    if (v6) {
      putU16(segment, network + 4, segment.length - network - 40);
      sum = addWords(TCP + length, segment, network + 8, network + 40);
    } else {
      putU16(segment, network + 2, segment.length - network);
      putU16(segment, network + 4, (id + index) & 0xffff);
      putU16(segment, network + 10, 0);
      putU16(segment, network + 10, finishChecksum(addWords(0, segment, network, csumStart)));
      sum = pseudoHeaderSum(u32(segment, network + 12), u32(segment, network + 16), TCP, length);
    }
    putU16(segment, csumStart + csumOffset, 0);
    putU16(segment, csumStart + csumOffset, finishChecksum(addWords(sum, segment, csumStart)));
    segments.push(segment);
  }
  return segments;
};
