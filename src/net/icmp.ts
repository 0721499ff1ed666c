import { putU16, putU32, u16, u32 } from './bytes.js';
import { checksum } from './checksum.js';
import { encodeIpv4, IPV4_HEADER_BYTES, type Ipv4Packet } from './ipv4.js';

// RFC 792; next-hop MTU: RFC 1191; codes for filtering: RFC 1812, 5.2.7.1.

export const ICMP_ECHO_REPLY = 0;
export const ICMP_UNREACHABLE = 3;
export const ICMP_REDIRECT = 5;
export const ICMP_ECHO = 8;
export const ICMP_TIME_EXCEEDED = 11;
export const ICMP_PARAMETER_PROBLEM = 12;

export const UNREACHABLE_NET = 0;
export const UNREACHABLE_HOST = 1;
export const UNREACHABLE_PROTOCOL = 2;
export const UNREACHABLE_PORT = 3;
export const UNREACHABLE_FRAGMENTATION_NEEDED = 4;
export const UNREACHABLE_PROHIBITED = 13;

const HEADER_BYTES = 8;
/** An error message fits the least reassembly size of every host, 576 bytes (RFC 1812, 4.3.2.3). */
const MOST_QUOTED_BYTES = 576 - IPV4_HEADER_BYTES - HEADER_BYTES;

export interface IcmpMessage {
  readonly type: number;
  readonly code: number;
  /** The second word: identifier and sequence of an echo, MTU of an unreachable, pointer of a problem. */
  readonly rest: number;
  readonly payload: Uint8Array;
}

/** Undefined when cut short or the checksum is wrong. */
export const decodeIcmp = (bytes: Uint8Array): IcmpMessage | undefined => {
  if (bytes.length < HEADER_BYTES || checksum(bytes) !== 0) return undefined;
  return { type: bytes[0], code: bytes[1], rest: u32(bytes, 4), payload: bytes.subarray(HEADER_BYTES) };
};

export const encodeIcmp = (message: IcmpMessage): Uint8Array => {
  const bytes = new Uint8Array(HEADER_BYTES + message.payload.length);
  bytes[0] = message.type;
  bytes[1] = message.code;
  putU32(bytes, 4, message.rest);
  bytes.set(message.payload, HEADER_BYTES);
  putU16(bytes, 2, checksum(bytes));
  return bytes;
};

export const isIcmpError = (type: number): boolean =>
  type === ICMP_UNREACHABLE || type === ICMP_REDIRECT || type === ICMP_TIME_EXCEEDED || type === ICMP_PARAMETER_PROBLEM || type === 4;

/** The error message about `offending`, which it quotes. */
export const icmpError = (type: number, code: number, offending: Ipv4Packet, rest = 0): IcmpMessage => ({
  type,
  code,
  rest,
  payload: encodeIpv4(offending).slice(0, MOST_QUOTED_BYTES),
});

/** Identifier and sequence number of an echo request or reply. */
export const echoIds = (message: IcmpMessage): { id: number; sequence: number } => ({ id: message.rest >>> 16, sequence: message.rest & 0xffff });

export const icmpEcho = (id: number, sequence: number, payload: Uint8Array): IcmpMessage => ({
  type: ICMP_ECHO,
  code: 0,
  rest: ((id << 16) | (sequence & 0xffff)) >>> 0,
  payload,
});

/** The TCP or UDP ports at the head of a quoted packet's payload. */
export const quotedPorts = (payload: Uint8Array): { srcPort: number; dstPort: number } | undefined =>
  payload.length < 4 ? undefined : { srcPort: u16(payload, 0), dstPort: u16(payload, 2) };

