// What a capture holds above the wire, for those who explain it: UDP datagrams, HTTP's first lines, who claims which address.
import { formatIpv4, formatMac, isGroupMac } from './address.js';
import { decodeArp } from './arp.js';
import { u16 } from './bytes.js';
import { decodeEthernet, ETHERTYPE_ARP, ETHERTYPE_IPV4 } from './ethernet.js';
import { decodeIpv4, PROTOCOL_TCP, PROTOCOL_UDP } from './ipv4.js';
import { Ipv4Reassembler } from './ipv4-reassembly.js';
import type { CaptureFile } from './pcapng.js';
import { decodeUdp } from './udp.js';

export interface CapturedEnd {
  readonly address: string;
  readonly port: number;
}

interface Captured {
  /** Seconds from the first packet of the capture. */
  readonly atS: number;
  readonly from: CapturedEnd;
  readonly to: CapturedEnd;
}

export interface CapturedUdp extends Captured {
  readonly bytes: Uint8Array;
}

/** The first line of an HTTP request or answer. */
export interface CapturedHttpLine extends Captured {
  readonly line: string;
}

/** A unicast packet that went to another station than the one that last claimed its destination address by ARP. */
export interface StaleArp {
  readonly atS: number;
  readonly address: string;
  readonly sentTo: string;
  readonly isAt: string;
  readonly from: string;
}

export interface CapturedTraffic {
  readonly udp: readonly CapturedUdp[];
  readonly http: readonly CapturedHttpLine[];
  readonly staleArp: readonly StaleArp[];
  /** Packets of other protocols, cut short, or unreadable. */
  readonly others: number;
}

const LINK_NULL = 0;
const LINK_ETHERNET = 1;
const LINK_RAW = [12, 14, 101];
const LINK_COOKED = 113;
const LINK_COOKED2 = 276;
const HTTP_LINE = /^(?:(?:GET|HEAD|POST|PUT) \S+ HTTP\/1\.[01]|HTTP\/1\.[01] \d{3}[^\r\n]*)/;

/** The IPv4 packet in a frame, and where the frame was sent to when that is known. */
const ipv4Of = (frame: Uint8Array, linkType: number): { packet: Uint8Array; dst?: Uint8Array } | { arp: Uint8Array } | undefined => {
  if (linkType === LINK_ETHERNET) {
    const ethernet = decodeEthernet(frame);
    if (ethernet?.type === ETHERTYPE_ARP) return { arp: ethernet.payload };
    return ethernet?.type === ETHERTYPE_IPV4 ? { packet: ethernet.payload, dst: ethernet.dst } : undefined;
  }
  if (LINK_RAW.includes(linkType)) return { packet: frame };
  if (linkType === LINK_NULL) return { packet: frame.subarray(4) };
  if (linkType === LINK_COOKED) return frame.length >= 16 && u16(frame, 14) === ETHERTYPE_IPV4 ? { packet: frame.subarray(16) } : undefined;
  if (linkType === LINK_COOKED2) return frame.length >= 20 && u16(frame, 0) === ETHERTYPE_IPV4 ? { packet: frame.subarray(20) } : undefined;
  return undefined;
};

/** Reads datagrams out of a capture, fragments put together. Never throws. */
export const capturedTraffic = (file: CaptureFile): CapturedTraffic => {
  const udp: CapturedUdp[] = [];
  const http: CapturedHttpLine[] = [];
  const staleArp: StaleArp[] = [];
  const claims = new Map<string, string>();
  const told = new Set<string>();
  const startNs = file.packets[0]?.atNs ?? 0n;
  let others = 0;
  let now = 0;
  const reassembler = new Ipv4Reassembler({ get now() { return now; } });
  for (const { atNs, frame, interfaceId } of file.packets) {
    now = Number(atNs - startNs);
    const atS = now / 1e9;
    const found = ipv4Of(frame, file.interfaces[interfaceId]?.linkType ?? -1);
    if (found === undefined) {
      others++;
      continue;
    }
    if ('arp' in found) {
      const arp = decodeArp(found.arp);
      if (arp !== undefined && arp.senderIp !== 0) claims.set(formatIpv4(arp.senderIp), formatMac(arp.senderMac));
      continue;
    }
    const fragment = decodeIpv4(found.packet);
    const packet = fragment && reassembler.accept(fragment);
    if (packet === undefined) continue;
    const { src, dst, payload } = packet;
    const [from, to] = [formatIpv4(src), formatIpv4(dst)];
    const isAt = claims.get(to);
    if (found.dst !== undefined && isAt !== undefined && !isGroupMac(found.dst) && formatMac(found.dst) !== isAt) {
      const sentTo = formatMac(found.dst);
      if (!told.has(`${to}/${sentTo}/${isAt}`)) staleArp.push({ atS, address: to, sentTo, isAt, from });
      told.add(`${to}/${sentTo}/${isAt}`);
    }
    if (packet.protocol === PROTOCOL_UDP) {
      // Captures at a sending host hold checksums that the card was still to compute.
      const datagram = decodeUdp(payload, src, dst) ?? withoutChecksum(payload, src, dst);
      if (datagram === undefined) others++;
      else udp.push({ atS, from: { address: from, port: datagram.srcPort }, to: { address: to, port: datagram.dstPort }, bytes: datagram.payload });
    } else if (packet.protocol === PROTOCOL_TCP) {
      const start = payload.length < 20 ? payload.length : (payload[12] >>> 4) * 4;
      const line = HTTP_LINE.exec(new TextDecoder('latin1').decode(payload.subarray(start, start + 512)));
      if (line) http.push({ atS, from: { address: from, port: u16(payload, 0) }, to: { address: to, port: u16(payload, 2) }, line: line[0] });
    } else {
      others++;
    }
  }
  return { udp, http, staleArp, others };
};

const withoutChecksum = (payload: Uint8Array, src: number, dst: number): ReturnType<typeof decodeUdp> => {
  if (payload.length < 8 || u16(payload, 4) > payload.length) return undefined;
  const copy = payload.slice();
  copy[6] = copy[7] = 0;
  return decodeUdp(copy, src, dst);
};
