import type { FramePort } from '../host/backends/backend.js';
import type { Clock } from '../host/clock.js';
import {
  BROADCAST_MAC, formatIpv4, inSubnet, type Ipv4, IPV4_ANY, IPV4_BROADCAST, isGroupMac, isMulticast, MAC_BYTES, type Mac, multicastMac, netmask, sameMac, type Subnet,
  subnetBroadcast, ZERO_MAC,
} from './address.js';
import { ARP_REPLY, ARP_REQUEST, type ArpPacket, decodeArp, encodeArp } from './arp.js';
import { NO_BYTES, putU16 } from './bytes.js';
import { decodeEthernet, encodeEthernet, ETHERNET_HEADER_BYTES, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from './ethernet.js';
import {
  decodeIcmp, encodeIcmp, ICMP_ECHO, ICMP_ECHO_REPLY, ICMP_UNREACHABLE, icmpError, type IcmpMessage, isIcmpError, quotedPorts, UNREACHABLE_FRAGMENTATION_NEEDED,
  UNREACHABLE_PORT, UNREACHABLE_PROTOCOL,
} from './icmp.js';
import { decodeIpv4, decodeQuotedIpv4, fragmentIpv4, IPV4_HEADER_BYTES, type Ipv4Packet, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, writeIpv4Header } from './ipv4.js';
import { Ipv4Reassembler } from './ipv4-reassembly.js';
import { Neighbours } from './neighbours.js';
import { offloadOf, setOffload } from './offload.js';
import type { Random } from './random.js';
import { TCP_HEADER_BYTES } from './tcp/segment.js';
import { type TcpLimits, TcpStack } from './tcp/stack.js';
import type { TcpConnectionOptions } from './tcp/types.js';
import { TimerQueue } from './timers.js';
import { decodeUdp, encodeUdp } from './udp.js';

// RFC 1122 for hosts; address conflicts: RFC 5227.

export interface IpHostOptions {
  readonly port: FramePort;
  readonly clock: Clock;
  readonly random: Random;
  readonly mac: Mac;
  /** 0 until one is known: then unicast to `mac` is taken whatever its address. */
  readonly address: Ipv4;
  readonly prefix: number;
  /** Where packets for other networks go. */
  readonly router?: Ipv4;
  /** Largest IPv4 packet, 576 to 65,535. Default: 1500. */
  readonly mtu?: number;
  readonly tcp?: { readonly connection?: TcpConnectionOptions; readonly limits?: TcpLimits };
  /** Told what a user of the network should know: address conflicts. */
  readonly warn?: (message: string) => void;
}

export interface UdpDatagram {
  /** The last hop. */
  readonly srcMac: Mac;
  readonly src: Ipv4;
  readonly srcPort: number;
  /** A broadcast or multicast address when it was sent to one. */
  readonly dst: Ipv4;
  readonly dstPort: number;
  readonly ttl: number;
  readonly payload: Uint8Array;
}

export interface UdpSend {
  /** Default: the host's address. */
  readonly src?: Ipv4;
  readonly srcPort: number;
  readonly dst: Ipv4;
  readonly dstPort: number;
  readonly payload: Uint8Array;
  /** The station to send to, without asking by ARP, as DHCP does. */
  readonly dstMac?: Mac;
  readonly ttl?: number;
  readonly dontFragment?: boolean;
}

export type UdpHandler = (datagram: UdpDatagram, host: IpHost) => void;

export interface IpHostStats {
  framesIn: number;
  framesOut: number;
  /** Frames and packets that no codec could read. */
  malformed: number;
  /** For other stations, protocols or VLANs. */
  ignored: number;
  /** Packets out that found no route, no neighbour, or were too large. */
  undeliverable: number;
  icmpErrors: number;
  arpConflicts: number;
}

export interface IpSend {
  readonly src?: Ipv4;
  readonly dst: Ipv4;
  readonly protocol: number;
  readonly payload: Uint8Array;
  readonly ttl?: number;
  readonly dontFragment?: boolean;
  readonly dstMac?: Mac;
  /** The payload has a buffer of its own, with just the room for Ethernet and IPv4 headers before it: it becomes the frame. */
  readonly inFrame?: boolean;
  /** The payload is a TCP segment that the wire cuts into ones with so many bytes. */
  readonly segmentBytes?: number;
}

/** Ethernet and IPv4 without options. */
const HEADROOM = ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES;
const DEFAULT_MTU = 1500;
const DEFAULT_TTL = 64;
const MAX_UDP_PAYLOAD = 65_507;
/** ICMP errors in a row, refilled once in `ICMP_REFILL_NS` each. */
const ICMP_BURST = 50;
const ICMP_REFILL_NS = 10e6;
const DEFEND_INTERVAL_NS = 10e9;

/** A station with an IPv4 address: ARP, ICMP echo, UDP ports and TCP. It is a gateway's own half, and a whole host for tests and services. */
export class IpHost {
  readonly mac: Mac;
  readonly mtu: number;
  readonly tcp: TcpStack;
  readonly neighbours: Neighbours;
  readonly clock: TimerQueue;
  readonly stats: IpHostStats = { framesIn: 0, framesOut: 0, malformed: 0, ignored: 0, undeliverable: 0, icmpErrors: 0, arpConflicts: 0 };
  address: Ipv4;
  subnet: Subnet;
  router: Ipv4 | undefined;
  /** Further addresses that are this host's. */
  readonly aliases = new Set<Ipv4>();
  /** Whole packets to other addresses that came to this station; without it they are ignored. */
  onForward: ((packet: Ipv4Packet, srcMac: Mac) => void) | undefined;
  onEchoReply: ((src: Ipv4, message: IcmpMessage) => void) | undefined;
  /** Datagrams to this host for which no port is bound; true when dealt with. */
  onUnboundUdp: ((datagram: UdpDatagram, packet: Ipv4Packet) => boolean) | undefined;
  /** IPv6 packets to this station or to groups; without it they are ignored. */
  onIpv6: ((packet: Uint8Array, srcMac: Mac) => void) | undefined;
  readonly #port: FramePort;
  readonly #offloads: boolean;
  readonly #random: Random;
  readonly #warn: (message: string) => void;
  readonly #reassembler: Ipv4Reassembler;
  readonly #udp = new Map<number, UdpHandler>();
  #depth = 0;
  /** The packet that is being received has no transport checksum: it never was on a real wire. */
  #unchecked = false;
  #flushing = false;
  #out: Uint8Array[] = [];
  #id = 0;
  #icmpTokens = ICMP_BURST;
  #icmpRefilledNs = 0;
  #defendedNs = -Infinity;

  constructor(options: IpHostOptions) {
    this.mac = options.mac.slice();
    this.mtu = options.mtu ?? DEFAULT_MTU;
    this.address = options.address;
    this.subnet = { base: (options.address & netmask(options.prefix)) >>> 0, prefix: options.prefix };
    this.router = options.router;
    this.#port = options.port;
    this.#offloads = options.port.carriesOffload === true;
    this.#random = options.random;
    this.#warn = options.warn ?? (() => {});
    this.clock = new TimerQueue(options.clock, work => this.batch(work));
    this.#reassembler = new Ipv4Reassembler(this.clock);
    this.neighbours = new Neighbours(this.clock, address => this.#askFor(address));
    this.tcp = new TcpStack({
      clock: this.clock,
      random: options.random,
      batch: work => this.batch(work),
      headroom: HEADROOM,
      offload: this.#offloads,
      send: (payload, src, dst, segmentBytes) => void this.sendIp({ src, dst, protocol: PROTOCOL_TCP, payload, dontFragment: true, inFrame: true, segmentBytes }),
      connection: { mss: this.mtu - IPV4_HEADER_BYTES - TCP_HEADER_BYTES, ...options.tcp?.connection },
      limits: options.tcp?.limits ?? {},
    });
    this.#id = options.random.u32() & 0xffff;
    options.port.acceptsOffload = true;
    options.port.onFrame = frame => this.batch(() => this.#receive(frame));
  }

  /** Takes an address, as after DHCP; connections of the old one are left alone. */
  configure(address: Ipv4, prefix: number, router?: Ipv4): void {
    this.address = address;
    this.subnet = { base: (address & netmask(prefix)) >>> 0, prefix };
    this.router = router;
  }

  /** Does work whose frames go out when it is done, so that no answer comes in its midst. */
  batch(work: () => void): void {
    this.#depth++;
    try {
      work();
    } finally {
      this.#depth--;
      if (this.#depth === 0) this.#flush();
    }
  }

  #flush(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    try {
      while (this.#out.length > 0) {
        const frames = this.#out;
        this.#out = [];
        for (const frame of frames) {
          this.stats.framesOut++;
          this.#port.send(frame);
        }
      }
    } finally {
      this.#flushing = false;
    }
  }

  #emit(frame: Uint8Array): void {
    this.#out.push(frame);
    if (this.#depth === 0) this.#flush();
  }

  owns(address: Ipv4): boolean {
    return (address === this.address && address !== IPV4_ANY) || this.aliases.has(address);
  }

  #isBroadcast(address: Ipv4): boolean {
    return address === IPV4_BROADCAST || (this.subnet.prefix < 31 && address === subnetBroadcast(this.subnet));
  }

  /** Whether the packet that is being received has no transport checksum of its own. */
  get unchecked(): boolean {
    return this.#unchecked;
  }

  /** Handles datagrams to a port, on all of the host's addresses and broadcasts. Returns what ends it. */
  bindUdp(port: number, handler: UdpHandler): () => void {
    this.#udp.set(port, handler);
    return () => {
      if (this.#udp.get(port) === handler) this.#udp.delete(port);
    };
  }

  hasUdp(port: number): boolean {
    return this.#udp.has(port);
  }

  /** False when the datagram cannot be sent: too large, or with a forbidden fragmentation. */
  sendUdp(send: UdpSend): boolean {
    if (send.payload.length > MAX_UDP_PAYLOAD) return false;
    const src = send.src ?? this.address;
    const payload = encodeUdp({ srcPort: send.srcPort, dstPort: send.dstPort, payload: send.payload }, src, send.dst);
    const { dstMac, ttl, dontFragment } = send;
    return this.sendIp({ src, dst: send.dst, protocol: PROTOCOL_UDP, payload, dstMac, ttl, dontFragment });
  }

  sendIcmp(dst: Ipv4, message: IcmpMessage, src: Ipv4 = this.address): boolean {
    return this.sendIp({ src, dst, protocol: PROTOCOL_ICMP, payload: encodeIcmp(message) });
  }

  sendIp(send: IpSend): boolean {
    const packet: Ipv4Packet = {
      src: send.src ?? this.address,
      dst: send.dst,
      protocol: send.protocol,
      ttl: send.ttl ?? DEFAULT_TTL,
      id: (this.#id = (this.#id + 1) & 0xffff),
      tos: 0,
      dontFragment: send.dontFragment ?? false,
      moreFragments: false,
      fragmentOffset: 0,
      options: NO_BYTES,
      payload: send.payload,
    };
    const { segmentBytes = 0 } = send;
    if (segmentBytes > 0) this.#id = (this.#id + Math.ceil(send.payload.length / segmentBytes)) & 0xffff;
    const fragments = segmentBytes > 0 ? [packet] : fragmentIpv4(packet, this.mtu);
    if (fragments === undefined) {
      this.stats.undeliverable++;
      return false;
    }
    const mac = send.dstMac ?? this.#directMac(send.dst);
    if (mac !== undefined) {
      for (const fragment of fragments) this.#sendPacket(fragment, mac, send.inFrame, segmentBytes);
      return true;
    }
    const hop = inSubnet(send.dst, this.subnet) ? send.dst : this.router;
    if (hop === undefined || hop === IPV4_ANY) {
      this.stats.undeliverable++;
      return false;
    }
    for (const fragment of fragments) {
      this.neighbours.resolve(hop, found => {
        if (found !== undefined) this.#sendPacket(fragment, found, send.inFrame, segmentBytes);
        else this.#unreachable(fragment);
      });
    }
    return true;
  }

  #directMac(dst: Ipv4): Mac | undefined {
    if (this.#isBroadcast(dst)) return BROADCAST_MAC;
    return isMulticast(dst) ? multicastMac(dst) : undefined;
  }

  /** Nobody answered for the next hop of a packet of ours. */
  #unreachable(packet: Ipv4Packet): void {
    this.stats.undeliverable++;
    const ports = quotedPorts(packet.payload);
    if (packet.protocol !== PROTOCOL_TCP || ports === undefined) return;
    this.tcp.unreachable({ address: packet.src, port: ports.srcPort }, { address: packet.dst, port: ports.dstPort });
  }

  #sendPacket(packet: Ipv4Packet, mac: Mac, inFrame = false, segmentBytes = 0): void {
    const { payload } = packet;
    const header = IPV4_HEADER_BYTES + packet.options.length;
    const whole = inFrame && !packet.moreFragments && packet.fragmentOffset === 0;
    const frame = whole ? new Uint8Array(payload.buffer, 0, HEADROOM + payload.length) : new Uint8Array(ETHERNET_HEADER_BYTES + header + payload.length);
    frame.set(mac, 0);
    frame.set(this.mac, MAC_BYTES);
    putU16(frame, 2 * MAC_BYTES, ETHERTYPE_IPV4);
    writeIpv4Header(frame, ETHERNET_HEADER_BYTES, packet, payload.length);
    if (!whole) frame.set(payload, ETHERNET_HEADER_BYTES + header);
    if (packet.protocol === PROTOCOL_TCP && inFrame && this.#offloads) setOffload(frame, { csumStart: ETHERNET_HEADER_BYTES + header, csumOffset: 16, segmentBytes });
    this.#emit(frame);
  }

  /** Sends a frame of another protocol. */
  sendFrame(dst: Mac, type: number, payload: Uint8Array): void {
    this.#emit(encodeEthernet({ dst, src: this.mac, tags: [], type, payload }));
  }

  #sendArp(dst: Mac, packet: Omit<ArpPacket, 'senderMac'>): void {
    this.sendFrame(dst, ETHERTYPE_ARP, encodeArp({ ...packet, senderMac: this.mac }));
  }

  #askFor(address: Ipv4): void {
    this.#sendArp(BROADCAST_MAC, { operation: ARP_REQUEST, senderIp: this.address, targetMac: ZERO_MAC, targetIp: address });
  }

  /** Tells all stations this host's address (RFC 5227, 2.3), so that old entries are replaced. */
  announce(address: Ipv4 = this.address): void {
    this.#sendArp(BROADCAST_MAC, { operation: ARP_REQUEST, senderIp: address, targetMac: ZERO_MAC, targetIp: address });
  }

  #receive(bytes: Uint8Array): void {
    this.stats.framesIn++;
    this.#unchecked = offloadOf(bytes) !== undefined;
    const frame = decodeEthernet(bytes);
    if (frame === undefined) {
      this.stats.malformed++;
      return;
    }
    const group = isGroupMac(frame.dst);
    const otherVlan = frame.tags.some(tag => (tag.tci & 0xfff) !== 0);
    if (otherVlan || (!group && !sameMac(frame.dst, this.mac))) this.stats.ignored++;
    else if (frame.type === ETHERTYPE_ARP) this.#receiveArp(frame.payload);
    else if (frame.type === ETHERTYPE_IPV4) this.#receiveIp(frame.payload, frame.src, group);
    else if (frame.type === ETHERTYPE_IPV6 && this.onIpv6 !== undefined) this.onIpv6(frame.payload, frame.src);
    else this.stats.ignored++;
  }

  #receiveArp(bytes: Uint8Array): void {
    const packet = decodeArp(bytes);
    if (packet === undefined || isGroupMac(packet.senderMac)) {
      this.stats.malformed++;
      return;
    }
    const { senderIp, senderMac, targetIp } = packet;
    if (sameMac(senderMac, this.mac)) return;
    if (this.owns(senderIp)) {
      this.#defend(senderIp, senderMac);
      return;
    }
    const forUs = this.owns(targetIp);
    if (senderIp !== IPV4_ANY && inSubnet(senderIp, this.subnet) && (forUs || this.neighbours.lookup(senderIp) !== undefined || packet.operation === ARP_REPLY)) {
      this.neighbours.learn(senderIp, senderMac);
    }
    if (packet.operation === ARP_REQUEST && forUs) this.#sendArp(senderMac, { operation: ARP_REPLY, senderIp: targetIp, targetMac: senderMac, targetIp: senderIp });
  }

  /** Another station uses our address: RFC 5227, 2.4 (c), defend once in ten seconds. */
  #defend(address: Ipv4, offender: Mac): void {
    this.stats.arpConflicts++;
    if (this.clock.now - this.#defendedNs < DEFEND_INTERVAL_NS) return;
    this.#defendedNs = this.clock.now;
    this.#warn(`the station ${Array.from(offender, octet => octet.toString(16).padStart(2, '0')).join(':')} uses ${formatIpv4(address)}, which is taken`);
    this.announce(address);
  }

  #receiveIp(bytes: Uint8Array, srcMac: Mac, group: boolean): void {
    const fragment = decodeIpv4(bytes);
    if (fragment === undefined) {
      this.stats.malformed++;
      return;
    }
    const { src, dst } = fragment;
    if (this.owns(src) || isMulticast(src) || src === IPV4_BROADCAST) {
      this.stats.ignored++;
      return;
    }
    if (src !== IPV4_ANY && inSubnet(src, this.subnet)) this.neighbours.heard(src, srcMac);
    const broadcast = this.#isBroadcast(dst);
    const local = broadcast || this.owns(dst) || isMulticast(dst) || (this.address === IPV4_ANY && !group);
    if (!local && (group || this.onForward === undefined)) {
      this.stats.ignored++;
      return;
    }
    const packet = this.#reassembler.accept(fragment);
    if (packet === undefined) return;
    if (local) this.#deliver(packet, srcMac, group || broadcast || isMulticast(dst));
    else this.onForward?.(packet, srcMac);
  }

  #deliver(packet: Ipv4Packet, srcMac: Mac, group: boolean): void {
    const { src, dst, payload } = packet;
    if (packet.protocol === PROTOCOL_UDP) this.#deliverUdp(packet, srcMac, group);
    else if (group) this.stats.ignored++;
    else if (packet.protocol === PROTOCOL_TCP) this.tcp.receive(payload, src, dst, this.#unchecked);
    else if (packet.protocol === PROTOCOL_ICMP) this.#deliverIcmp(packet);
    else this.sendIcmpError(packet, ICMP_UNREACHABLE, UNREACHABLE_PROTOCOL);
  }

  #deliverUdp(packet: Ipv4Packet, srcMac: Mac, group: boolean): void {
    const { src, dst, ttl } = packet;
    const udp = decodeUdp(packet.payload, src, dst, this.#unchecked);
    if (udp === undefined) {
      this.stats.malformed++;
      return;
    }
    const datagram: UdpDatagram = { srcMac, src, dst, ttl, ...udp };
    const handler = this.#udp.get(udp.dstPort);
    if (handler !== undefined) handler(datagram, this);
    else if (group) this.stats.ignored++;
    else if (this.onUnboundUdp?.(datagram, packet) !== true) this.sendIcmpError(packet, ICMP_UNREACHABLE, UNREACHABLE_PORT);
  }

  #deliverIcmp(packet: Ipv4Packet): void {
    const message = decodeIcmp(packet.payload);
    if (message === undefined) {
      this.stats.malformed++;
      return;
    }
    if (message.type === ICMP_ECHO) this.sendIcmp(packet.src, { ...message, type: ICMP_ECHO_REPLY }, packet.dst);
    else if (message.type === ICMP_ECHO_REPLY) this.onEchoReply?.(packet.src, message);
    else if (message.type === ICMP_UNREACHABLE) this.handleUnreachable(message);
  }

  /** An error about a packet of ours: hands it to the connection it is about. */
  handleUnreachable(message: IcmpMessage): void {
    const quoted = decodeQuotedIpv4(message.payload);
    const ports = quoted === undefined ? undefined : quotedPorts(quoted.payload);
    if (quoted === undefined || ports === undefined || quoted.protocol !== PROTOCOL_TCP) return;
    const local = { address: quoted.src, port: ports.srcPort };
    const remote = { address: quoted.dst, port: ports.dstPort };
    if (message.code !== UNREACHABLE_FRAGMENTATION_NEEDED) this.tcp.unreachable(local, remote);
    else this.tcp.unreachable(local, remote, (message.rest & 0xffff) - IPV4_HEADER_BYTES - TCP_HEADER_BYTES);
  }

  /** Answers a packet with an ICMP error, at a bounded rate and never to a group, a fragment or another error (RFC 1122, 3.2.2). */
  sendIcmpError(about: Ipv4Packet, type: number, code: number, rest = 0): void {
    if (about.src === IPV4_ANY || this.#isBroadcast(about.dst) || isMulticast(about.dst) || about.fragmentOffset !== 0) return;
    if (about.protocol === PROTOCOL_ICMP && (about.payload.length === 0 || isIcmpError(about.payload[0]))) return;
    const { now } = this.clock;
    const refill = Math.floor((now - this.#icmpRefilledNs) / ICMP_REFILL_NS);
    if (refill > 0) {
      this.#icmpTokens = Math.min(ICMP_BURST, this.#icmpTokens + refill);
      this.#icmpRefilledNs = now;
    }
    if (this.#icmpTokens === 0) return;
    this.#icmpTokens--;
    this.stats.icmpErrors++;
    this.sendIcmp(about.src, icmpError(type, code, about, rest), this.owns(about.dst) ? about.dst : this.address);
  }

  /** A random number from the host's stream, for services on it. */
  randomU16(): number {
    return this.#random.u32() & 0xffff;
  }
}
