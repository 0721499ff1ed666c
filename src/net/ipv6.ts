import { type Mac, MAC_BYTES } from './address.js';
import { putU16, putU32, u16 } from './bytes.js';
import { addWords, finishChecksum } from './checksum.js';

// RFC 8200 without extension headers; ICMPv6: RFC 4443.

/** 16 bytes. */
export type Ipv6 = Uint8Array;

export const IPV6_BYTES = 16;
export const IPV6_HEADER_BYTES = 40;
export const NEXT_ICMPV6 = 58;

export const ICMPV6_ECHO = 128;
export const ICMPV6_ECHO_REPLY = 129;

const ICMPV6_HEADER_BYTES = 4;
const CHECKSUM_AT = 2;

export const IPV6_ANY: Ipv6 = new Uint8Array(IPV6_BYTES);
/** ff02::1 */
export const ALL_NODES: Ipv6 = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
/** ff02::2 */
export const ALL_ROUTERS: Ipv6 = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2);

export interface Ipv6Packet {
  readonly src: Ipv6;
  readonly dst: Ipv6;
  readonly nextHeader: number;
  readonly hopLimit: number;
  readonly payload: Uint8Array;
}

export interface Icmpv6Message {
  readonly type: number;
  readonly code: number;
  /** All behind the checksum. */
  readonly body: Uint8Array;
}

export const sameIpv6 = (a: Ipv6, b: Ipv6): boolean => a.every((octet, i) => octet === b[i]);

export const isMulticastIpv6 = (address: Ipv6): boolean => address[0] === 0xff;

/** fe80::/64 and the modified EUI-64 of a MAC address (RFC 4291, appendix A). */
export const linkLocal = (mac: Mac): Ipv6 => Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]);

/** The group that those who look for an address ask (RFC 4291, 2.7.1). */
export const solicitedNode = (address: Ipv6): Ipv6 => Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, address[13], address[14], address[15]);

/** Ethernet address of a group (RFC 2464, 7). */
export const multicastMacIpv6 = (group: Ipv6): Mac => Uint8Array.of(0x33, 0x33, group[12], group[13], group[14], group[15]);

/** Views, not copies. Undefined when it is cut short; bytes behind the payload are padding. */
export const decodeIpv6 = (bytes: Uint8Array): Ipv6Packet | undefined => {
  if (bytes.length < IPV6_HEADER_BYTES || bytes[0] >>> 4 !== 6) return undefined;
  const end = IPV6_HEADER_BYTES + u16(bytes, 4);
  if (end > bytes.length) return undefined;
  return { src: bytes.subarray(8, 24), dst: bytes.subarray(24, 40), nextHeader: bytes[6], hopLimit: bytes[7], payload: bytes.subarray(IPV6_HEADER_BYTES, end) };
};

export const encodeIpv6 = (packet: Ipv6Packet): Uint8Array => {
  const bytes = new Uint8Array(IPV6_HEADER_BYTES + packet.payload.length);
  bytes[0] = 0x60;
  putU16(bytes, 4, packet.payload.length);
  bytes[6] = packet.nextHeader;
  bytes[7] = packet.hopLimit;
  bytes.set(packet.src, 8);
  bytes.set(packet.dst, 8 + IPV6_BYTES);
  bytes.set(packet.payload, IPV6_HEADER_BYTES);
  return bytes;
};

/** RFC 8200, 8.1: zero when `message` holds its own right checksum. */
const icmpv6Checksum = (message: Uint8Array, src: Ipv6, dst: Ipv6): number => finishChecksum(addWords(addWords(addWords(NEXT_ICMPV6 + message.length, src), dst), message));

/** Undefined when cut short, or when the checksum is looked at and wrong. */
export const decodeIcmpv6 = ({ src, dst, payload }: Ipv6Packet, unchecked = false): Icmpv6Message | undefined => {
  if (payload.length < ICMPV6_HEADER_BYTES || (!unchecked && icmpv6Checksum(payload, src, dst) !== 0)) return undefined;
  return { type: payload[0], code: payload[1], body: payload.subarray(ICMPV6_HEADER_BYTES) };
};

export const encodeIcmpv6 = (message: Icmpv6Message, src: Ipv6, dst: Ipv6): Uint8Array => {
  const bytes = new Uint8Array(ICMPV6_HEADER_BYTES + message.body.length);
  bytes[0] = message.type;
  bytes[1] = message.code;
  bytes.set(message.body, ICMPV6_HEADER_BYTES);
  putU16(bytes, CHECKSUM_AT, icmpv6Checksum(bytes, src, dst));
  return bytes;
};

// Neighbor discovery: RFC 4861, chapter 4.

export const ROUTER_SOLICITATION = 133;
export const ROUTER_ADVERTISEMENT = 134;
export const NEIGHBOR_SOLICITATION = 135;
export const NEIGHBOR_ADVERTISEMENT = 136;
/** The hop limit of all its messages: no router let them through. */
export const NDP_HOP_LIMIT = 255;
export const OPTION_SOURCE_LINK_ADDRESS = 1;
export const OPTION_TARGET_LINK_ADDRESS = 2;

const OPTION_UNIT = 8;

/** The options by type, the last of each; undefined when a length is wrong. Views without type and length. */
export const decodeNdpOptions = (bytes: Uint8Array): Map<number, Uint8Array> | undefined => {
  const options = new Map<number, Uint8Array>();
  for (let at = 0; at < bytes.length; ) {
    const length = (bytes[at + 1] ?? 0) * OPTION_UNIT;
    if (length === 0 || at + length > bytes.length) return undefined;
    options.set(bytes[at], bytes.subarray(at + 2, at + length));
    at += length;
  }
  return options;
};

const linkAddressOption = (type: number, mac: Mac): Uint8Array => {
  const bytes = new Uint8Array(2 + MAC_BYTES);
  bytes.set([type, bytes.length / OPTION_UNIT]);
  bytes.set(mac, 2);
  return bytes;
};

/** What a router that is nobody's default router and knows no prefixes has to say: lifetime 0, and all else left unspecified. */
export const emptyRouterAdvertisement = (mac: Mac): Icmpv6Message => {
  const body = new Uint8Array(12 + OPTION_UNIT);
  body.set(linkAddressOption(OPTION_SOURCE_LINK_ADDRESS, mac), 12);
  return { type: ROUTER_ADVERTISEMENT, code: 0, body };
};

const NA_ROUTER = 0x8000_0000;
const NA_SOLICITED = 0x4000_0000;
const NA_OVERRIDE = 0x2000_0000;

export const neighborAdvertisement = (target: Ipv6, mac: Mac, solicited: boolean): Icmpv6Message => {
  const body = new Uint8Array(4 + IPV6_BYTES + OPTION_UNIT);
  putU32(body, 0, (NA_ROUTER | NA_OVERRIDE | (solicited ? NA_SOLICITED : 0)) >>> 0);
  body.set(target, 4);
  body.set(linkAddressOption(OPTION_TARGET_LINK_ADDRESS, mac), 4 + IPV6_BYTES);
  return { type: NEIGHBOR_ADVERTISEMENT, code: 0, body };
};
