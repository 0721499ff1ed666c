import type { Ipv4 } from './address.js';
import { NO_BYTES, putU16, putU32, u16, u32 } from './bytes.js';
import { checksum } from './checksum.js';

// RFC 791; fields renamed by RFC 2474 (DSCP) and 3168 (ECN).

export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;

export const IPV4_HEADER_BYTES = 20;
const MAX_HEADER_BYTES = 60;
export const IPV4_MAX_BYTES = 65_535;

const FLAG_DF = 0x4000;
const FLAG_MF = 0x2000;
const OFFSET_MASK = 0x1fff;

export interface Ipv4Packet {
  readonly src: Ipv4;
  readonly dst: Ipv4;
  readonly protocol: number;
  readonly ttl: number;
  readonly id: number;
  /** DSCP and ECN, one byte. */
  readonly tos: number;
  readonly dontFragment: boolean;
  readonly moreFragments: boolean;
  /** In bytes, a multiple of 8. */
  readonly fragmentOffset: number;
  /** Raw options, a multiple of 4 bytes, at most 40. */
  readonly options: Uint8Array;
  readonly payload: Uint8Array;
}

/** One option: type, and data without type and length. */
export interface Ipv4Option {
  readonly type: number;
  readonly data: Uint8Array;
}

export const OPTION_LSRR = 131;
export const OPTION_SSRR = 137;
export const OPTION_ROUTER_ALERT = 148;

/** Reads a packet and checks its header checksum; undefined when it is malformed. Bytes behind the total length are padding. */
export const decodeIpv4 = (bytes: Uint8Array): Ipv4Packet | undefined => {
  if (bytes.length < IPV4_HEADER_BYTES || bytes[0] >>> 4 !== 4) return undefined;
  const header = (bytes[0] & 15) * 4;
  const total = u16(bytes, 2);
  if (header < IPV4_HEADER_BYTES || total < header || total > bytes.length) return undefined;
  if (checksum(bytes, 0, header) !== 0) return undefined;
  return decodeQuotedIpv4(bytes.subarray(0, total));
};

/** Reads the leading part of a packet, as ICMP errors quote it: neither length nor checksum is looked at. */
export const decodeQuotedIpv4 = (bytes: Uint8Array): Ipv4Packet | undefined => {
  if (bytes.length < IPV4_HEADER_BYTES || bytes[0] >>> 4 !== 4) return undefined;
  const header = (bytes[0] & 15) * 4;
  if (header < IPV4_HEADER_BYTES || header > bytes.length) return undefined;
  const fragment = u16(bytes, 6);
  return {
    src: u32(bytes, 12),
    dst: u32(bytes, 16),
    protocol: bytes[9],
    ttl: bytes[8],
    id: u16(bytes, 4),
    tos: bytes[1],
    dontFragment: (fragment & FLAG_DF) !== 0,
    moreFragments: (fragment & FLAG_MF) !== 0,
    fragmentOffset: (fragment & OFFSET_MASK) * 8,
    options: header === IPV4_HEADER_BYTES ? NO_BYTES : bytes.subarray(IPV4_HEADER_BYTES, header),
    payload: bytes.subarray(header),
  };
};

/** Writes the header of `packet` at `at` for a payload of `payloadBytes`; returns the header's length. */
export const writeIpv4Header = (bytes: Uint8Array, at: number, packet: Omit<Ipv4Packet, 'payload'>, payloadBytes: number): number => {
  const header = IPV4_HEADER_BYTES + packet.options.length;
  bytes[at] = 0x40 | (header >>> 2);
  bytes[at + 1] = packet.tos;
  putU16(bytes, at + 2, header + payloadBytes);
  putU16(bytes, at + 4, packet.id);
  putU16(bytes, at + 6, (packet.dontFragment ? FLAG_DF : 0) | (packet.moreFragments ? FLAG_MF : 0) | (packet.fragmentOffset >>> 3));
  bytes[at + 8] = packet.ttl;
  bytes[at + 9] = packet.protocol;
  putU16(bytes, at + 10, 0);
  putU32(bytes, at + 12, packet.src);
  putU32(bytes, at + 16, packet.dst);
  bytes.set(packet.options, at + IPV4_HEADER_BYTES);
  putU16(bytes, at + 10, checksum(bytes, at, at + header));
  return header;
};

export const encodeIpv4 = (packet: Ipv4Packet): Uint8Array => {
  const header = IPV4_HEADER_BYTES + packet.options.length;
  const bytes = new Uint8Array(header + packet.payload.length);
  writeIpv4Header(bytes, 0, packet, packet.payload.length);
  bytes.set(packet.payload, header);
  return bytes;
};

/** The options in order, without padding; undefined when a length is wrong. */
export const decodeIpv4Options = (options: Uint8Array): Ipv4Option[] | undefined => {
  const list: Ipv4Option[] = [];
  for (let at = 0; at < options.length; ) {
    const type = options[at];
    if (type === 0) return list;
    if (type === 1) {
      at++;
      continue;
    }
    const length = options[at + 1];
    if (length === undefined || length < 2 || at + length > options.length) return undefined;
    list.push({ type, data: options.subarray(at + 2, at + length) });
    at += length;
  }
  return list;
};

/** Padded to 32 bits with end-of-list. The options must fit 40 bytes. */
export const encodeIpv4Options = (list: readonly Ipv4Option[]): Uint8Array => {
  const length = list.reduce((sum, option) => sum + 2 + option.data.length, 0);
  const bytes = new Uint8Array(Math.min(MAX_HEADER_BYTES - IPV4_HEADER_BYTES, (length + 3) & ~3));
  let at = 0;
  for (const { type, data } of list) {
    bytes[at] = type;
    bytes[at + 1] = 2 + data.length;
    bytes.set(data, at + 2);
    at += 2 + data.length;
  }
  return bytes;
};

/** Only options with the copied flag go into fragments behind the first (RFC 791, 3.1). */
const copiedOptions = (options: Uint8Array): Uint8Array => {
  if (options.length === 0) return options;
  return encodeIpv4Options((decodeIpv4Options(options) ?? []).filter(option => (option.type & 0x80) !== 0));
};

/** Splits a packet for links of `mtu` bytes; undefined when it does not fit and must not be fragmented. */
export const fragmentIpv4 = (packet: Ipv4Packet, mtu: number): Ipv4Packet[] | undefined => {
  const header = IPV4_HEADER_BYTES + packet.options.length;
  if (header + packet.payload.length <= mtu) return [packet];
  const first = (mtu - header) & ~7;
  if (packet.dontFragment || first < 8) return undefined;
  const later = copiedOptions(packet.options);
  const fragments: Ipv4Packet[] = [];
  for (let at = 0; at < packet.payload.length; ) {
    const options = at === 0 ? packet.options : later;
    const size = (mtu - IPV4_HEADER_BYTES - options.length) & ~7;
    const end = Math.min(packet.payload.length, at + size);
    fragments.push({
      ...packet,
      options,
      fragmentOffset: packet.fragmentOffset + at,
      moreFragments: end < packet.payload.length || packet.moreFragments,
      payload: packet.payload.subarray(at, end),
    });
    at = end;
  }
  return fragments;
};
