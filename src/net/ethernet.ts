import { MAC_BYTES, type Mac } from './address.js';
import { putU16, u16 } from './bytes.js';

// IEEE 802.3 clause 3, 802.1Q clause 9.

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_VLAN = 0x8100;
export const ETHERTYPE_QINQ = 0x88a8;
export const ETHERTYPE_IPV6 = 0x86dd;

export const ETHERNET_HEADER_BYTES = 14;
const VLAN_TAG_BYTES = 4;
const MAX_TAGS = 2;
/** Below this the type field is the length of an 802.3 frame. */
const LEAST_ETHERTYPE = 0x0600;

export interface VlanTag {
  readonly tpid: number;
  /** Priority, drop eligibility and the 12-bit VLAN identifier. */
  readonly tci: number;
}

export interface EthernetFrame {
  readonly dst: Mac;
  readonly src: Mac;
  /** Outermost first. */
  readonly tags: readonly VlanTag[];
  /** An EtherType, or a length below 0600h for 802.3 frames. */
  readonly type: number;
  readonly payload: Uint8Array;
}

const NO_TAGS: readonly VlanTag[] = [];

/** Reads a frame without FCS. Views, not copies. Undefined when the header is cut short. */
export const decodeEthernet = (frame: Uint8Array): EthernetFrame | undefined => {
  if (frame.length < ETHERNET_HEADER_BYTES) return undefined;
  const dst = frame.subarray(0, MAC_BYTES);
  const src = frame.subarray(MAC_BYTES, 2 * MAC_BYTES);
  let tags = NO_TAGS;
  let at = 2 * MAC_BYTES;
  let type = u16(frame, at);
  while ((type === ETHERTYPE_VLAN || type === ETHERTYPE_QINQ) && tags.length < MAX_TAGS) {
    if (frame.length < at + VLAN_TAG_BYTES + 2) return undefined;
    tags = [...tags, { tpid: type, tci: u16(frame, at + 2) }];
    at += VLAN_TAG_BYTES;
    type = u16(frame, at);
  }
  const start = at + 2;
  const end = type < LEAST_ETHERTYPE ? Math.min(frame.length, start + type) : frame.length;
  return { dst, src, tags, type, payload: frame.subarray(start, end) };
};

/** Builds a frame; no padding, as the virtual wire has no least length. */
export const encodeEthernet = (frame: EthernetFrame): Uint8Array => {
  const header = ETHERNET_HEADER_BYTES + VLAN_TAG_BYTES * frame.tags.length;
  const bytes = new Uint8Array(header + frame.payload.length);
  bytes.set(frame.dst, 0);
  bytes.set(frame.src, MAC_BYTES);
  let at = 2 * MAC_BYTES;
  for (const tag of frame.tags) {
    putU16(bytes, at, tag.tpid);
    putU16(bytes, at + 2, tag.tci);
    at += VLAN_TAG_BYTES;
  }
  putU16(bytes, at, frame.type);
  bytes.set(frame.payload, header);
  return bytes;
};
