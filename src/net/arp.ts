import { MAC_BYTES, type Ipv4, type Mac } from './address.js';
import { putU16, putU32, u16, u32 } from './bytes.js';
import { ETHERTYPE_IPV4 } from './ethernet.js';

// RFC 826; probes and announcements: RFC 5227.

export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;

const HARDWARE_ETHERNET = 1;
const PACKET_BYTES = 28;

/** An ARP packet for IPv4 over Ethernet. */
export interface ArpPacket {
  readonly operation: number;
  readonly senderMac: Mac;
  readonly senderIp: Ipv4;
  readonly targetMac: Mac;
  readonly targetIp: Ipv4;
}

/** Undefined when cut short or not about IPv4 over Ethernet. Trailing padding is allowed. */
export const decodeArp = (bytes: Uint8Array): ArpPacket | undefined => {
  if (bytes.length < PACKET_BYTES) return undefined;
  if (u16(bytes, 0) !== HARDWARE_ETHERNET || u16(bytes, 2) !== ETHERTYPE_IPV4 || bytes[4] !== MAC_BYTES || bytes[5] !== 4) return undefined;
  return {
    operation: u16(bytes, 6),
    senderMac: bytes.subarray(8, 14),
    senderIp: u32(bytes, 14),
    targetMac: bytes.subarray(18, 24),
    targetIp: u32(bytes, 24),
  };
};

export const encodeArp = (packet: ArpPacket): Uint8Array => {
  const bytes = new Uint8Array(PACKET_BYTES);
  putU16(bytes, 0, HARDWARE_ETHERNET);
  putU16(bytes, 2, ETHERTYPE_IPV4);
  bytes[4] = MAC_BYTES;
  bytes[5] = 4;
  putU16(bytes, 6, packet.operation);
  bytes.set(packet.senderMac, 8);
  putU32(bytes, 14, packet.senderIp);
  bytes.set(packet.targetMac, 18);
  putU32(bytes, 24, packet.targetIp);
  return bytes;
};
