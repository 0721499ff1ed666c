import type { Ipv4 } from './address.js';
import { putU16, u16 } from './bytes.js';
import { addWords, finishChecksum, pseudoHeaderSum } from './checksum.js';
import { PROTOCOL_UDP } from './ipv4.js';

// RFC 768.

export const UDP_HEADER_BYTES = 8;
const CHECKSUM_OFFSET = 6;

export interface UdpPacket {
  readonly srcPort: number;
  readonly dstPort: number;
  readonly payload: Uint8Array;
}

/** Undefined when cut short or the checksum is wrong; a checksum of zero was not computed by the sender. Bytes behind the length are padding. */
export const decodeUdp = (bytes: Uint8Array, src: Ipv4, dst: Ipv4, unchecked = false): UdpPacket | undefined => {
  if (bytes.length < UDP_HEADER_BYTES) return undefined;
  const length = u16(bytes, 4);
  if (length < UDP_HEADER_BYTES || length > bytes.length) return undefined;
  if (!unchecked && u16(bytes, CHECKSUM_OFFSET) !== 0 && finishChecksum(addWords(pseudoHeaderSum(src, dst, PROTOCOL_UDP, length), bytes, 0, length)) !== 0) return undefined;
  return { srcPort: u16(bytes, 0), dstPort: u16(bytes, 2), payload: bytes.subarray(UDP_HEADER_BYTES, length) };
};

export const encodeUdp = (packet: UdpPacket, src: Ipv4, dst: Ipv4): Uint8Array => {
  const length = UDP_HEADER_BYTES + packet.payload.length;
  const bytes = new Uint8Array(length);
  putU16(bytes, 0, packet.srcPort);
  putU16(bytes, 2, packet.dstPort);
  putU16(bytes, 4, length);
  bytes.set(packet.payload, UDP_HEADER_BYTES);
  putU16(bytes, CHECKSUM_OFFSET, finishChecksum(addWords(pseudoHeaderSum(src, dst, PROTOCOL_UDP, length), bytes)) || 0xffff);
  return bytes;
};
