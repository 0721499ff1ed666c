import type { HostDatagrams, HostSockets } from '../host/backends/outside.js';
import { formatIpv4, type Ipv4, parseIpv4 } from './address.js';
import { NO_BYTES } from './bytes.js';
import type { EgressPolicy } from './egress.js';
import type { Flow, FlowLog } from './flow.js';
import { ICMP_UNREACHABLE, UNREACHABLE_HOST, UNREACHABLE_PORT, UNREACHABLE_PROHIBITED } from './icmp.js';
import type { IpHost } from './ip-host.js';
import { type Ipv4Packet, PROTOCOL_TCP } from './ipv4.js';
import { Relay } from './relay.js';
import { encodeTcp } from './tcp/segment.js';
import type { TcpIncoming } from './tcp/stack.js';
import type { TcpConnectionOptions } from './tcp/types.js';
import type { UdpPacket } from './udp.js';

export interface NatLimits {
  /** TCP connections to the outside. Default: 1024. */
  readonly tcp?: number;
  /** UDP sockets, one for each port of a guest; the one that was silent longest makes room. Default: 256. */
  readonly udp?: number;
  /** How long a silent UDP flow lasts, in virtual ns. Default: 120 s. */
  readonly udpIdleNs?: number;
}

/** What the parts of the gateway share. */
export interface NatContext {
  readonly host: IpHost;
  readonly sockets: HostSockets | undefined;
  readonly policy: EgressPolicy;
  readonly log: FlowLog;
  readonly limits: NatLimits;
  /** Counts what is open outside: 1 when something opens, -1 when it is gone. */
  readonly outside: (change: 1 | -1) => void;
}

const DEFAULT_TCP_FLOWS = 1024;
const DEFAULT_UDP_FLOWS = 256;
const DEFAULT_UDP_IDLE_NS = 120e9;
/** Correspondents of one guest's port. */
const MAX_PEERS = 256;
const LOOPBACK: Ipv4 = 0x7f00_0001;

const MOST_WINDOW_BYTES = 1 << 20;
const LEAST_WINDOW_BYTES = 128 << 10;
/** What the windows of this many connections may hold while the outside does not read. */
const WINDOWS_BYTES = 128 << 20;

/** How a guest's connection is kept that is relayed to a socket, beside `others`: what a guest may send between two turns of the event loop bounds the speed. */
export const relayed = (others: number): TcpConnectionOptions => {
  const bytes = Math.max(LEAST_WINDOW_BYTES, Math.min(MOST_WINDOW_BYTES, Math.floor(WINDOWS_BYTES / (others + 1))));
  return { manualConsume: true, gatherWrites: true, receiveBytes: bytes, sendBytes: bytes };
};

export const endpoint = (address: Ipv4, port: number): string => `${formatIpv4(address)}:${port}`;

/** The gateway's own address stands for the host's loopback: a guest cannot name that itself. */
const translate = (host: IpHost, address: Ipv4): Ipv4 => (host.owns(address) ? LOOPBACK : address);

/** The packet that brought a request, as far as an ICMP error quotes it. */
const synPacket = ({ local, remote, syn }: TcpIncoming): Ipv4Packet => ({
  src: remote.address,
  dst: local.address,
  protocol: PROTOCOL_TCP,
  ttl: 64,
  id: 0,
  tos: 0,
  dontFragment: true,
  moreFragments: false,
  fragmentOffset: 0,
  options: NO_BYTES,
  payload: encodeTcp(syn, remote.address, local.address),
});

/** Carries guests' TCP connections on host sockets. A guest's SYN is answered when the host's connection is up. */
export class TcpNat {
  readonly #context: NatContext;
  #flows = 0;

  constructor(context: NatContext) {
    this.#context = context;
  }

  get flows(): number {
    return this.#flows;
  }

  /** A request to an address or port that the gateway does not serve. */
  open(incoming: TcpIncoming): void {
    const { host, sockets, policy, log, limits } = this.#context;
    const { address, port } = incoming.local;
    const target = translate(host, address);
    const flow = log.open({ kind: 'nat', protocol: 'tcp', guest: endpoint(incoming.remote.address, incoming.remote.port), outside: endpoint(target, port) });
    const refusal = sockets === undefined ? 'this network has no way out' : policy.refusal(target, port);
    if (sockets === undefined || refusal !== undefined) {
      log.close(flow, 'blocked', refusal);
      incoming.reject();
      return;
    }
    if (this.#flows >= (limits.tcp ?? DEFAULT_TCP_FLOWS)) {
      log.close(flow, 'refused', 'too many connections to the outside');
      incoming.reject();
      return;
    }
    this.#connect(incoming, sockets, formatIpv4(target), flow);
  }

  #connect(incoming: TcpIncoming, sockets: HostSockets, target: string, flow: Flow): void {
    const { host, log, outside } = this.#context;
    this.#flows++;
    outside(1);
    const relay = new Relay(flow, log, work => host.batch(work), () => {
      this.#flows--;
      outside(-1);
    });
    relay.onFailedOpening = failure => {
      if (failure !== 'unreachable' && failure !== 'timeout') incoming.reject();
      else {
        incoming.ignore();
        host.sendIcmpError(synPacket(incoming), ICMP_UNREACHABLE, UNREACHABLE_HOST);
      }
    };
    incoming.onGone = () => relay.giveUp('the guest gave up');
    relay.stream = sockets.connect(target, incoming.local.port, {
      ...relay.streamEvents,
      onConnect: () =>
        host.batch(() => {
          relay.connection = incoming.accept(relay.guestEvents, relayed(this.#flows));
          if (relay.connection === undefined) relay.giveUp('the guest gave up');
        }),
    });
  }
}

interface UdpFlow {
  readonly flow: Flow;
  readonly guest: Ipv4;
  readonly guestPort: number;
  readonly socket: HostDatagrams;
  /** By `address:port` of the host's network: the address the guest knows it by. */
  readonly peers: Map<string, Ipv4>;
  usedNs: number;
}

/** Carries guests' datagrams on host sockets, one for each guest's port. Answers come in from those only that were written to. */
export class UdpNat {
  readonly #context: NatContext;
  /** Least recently used first. */
  readonly #flows = new Map<string, UdpFlow>();
  readonly #sweep;

  constructor(context: NatContext) {
    this.#context = context;
    this.#sweep = context.host.clock.timer(() => this.#expire());
  }

  get flows(): number {
    return this.#flows.size;
  }

  get #idleNs(): number {
    return this.#context.limits.udpIdleNs ?? DEFAULT_UDP_IDLE_NS;
  }

  /** A datagram to an address or port that the gateway does not serve. */
  send(packet: Ipv4Packet, udp: UdpPacket): void {
    const { host, sockets, policy } = this.#context;
    const target = translate(host, packet.dst);
    const key = endpoint(packet.src, udp.srcPort);
    const peer = endpoint(target, udp.dstPort);
    let flow = this.#flows.get(key);
    if (flow?.peers.has(peer) !== true) {
      const refusal = sockets === undefined ? 'this network has no way out' : policy.refusal(target, udp.dstPort);
      if (sockets === undefined || refusal !== undefined) {
        this.#block(packet, key, peer, refusal);
        return;
      }
      flow ??= this.#open(key, packet, udp, sockets);
      if (flow.peers.size >= MAX_PEERS) flow.peers.delete(flow.peers.keys().next().value as string);
      flow.peers.set(peer, packet.dst);
    }
    this.#flows.delete(key);
    this.#flows.set(key, flow);
    flow.usedNs = host.clock.now;
    flow.flow.bytesOut += udp.payload.length;
    flow.socket.send(udp.payload, formatIpv4(target), udp.dstPort);
  }

  #block(packet: Ipv4Packet, guest: string, outside: string, reason: string | undefined): void {
    const { host, log } = this.#context;
    log.close(log.open({ kind: 'nat', protocol: 'udp', guest, outside }), 'blocked', reason);
    host.sendIcmpError(packet, ICMP_UNREACHABLE, host.owns(packet.dst) ? UNREACHABLE_PORT : UNREACHABLE_PROHIBITED);
  }

  #open(key: string, packet: Ipv4Packet, udp: UdpPacket, sockets: HostSockets): UdpFlow {
    const { host, log, limits, outside } = this.#context;
    while (this.#flows.size >= (limits.udp ?? DEFAULT_UDP_FLOWS)) this.#close(this.#flows.keys().next().value as string, 'made room for another');
    const flow: UdpFlow = {
      flow: log.open({ kind: 'nat', protocol: 'udp', guest: key, outside: endpoint(translate(host, packet.dst), udp.dstPort) }, 'open'),
      guest: packet.src,
      guestPort: udp.srcPort,
      socket: sockets.datagrams((bytes, address, port) => host.batch(() => this.#receive(key, flow, bytes, address, port))),
      peers: new Map(),
      usedNs: host.clock.now,
    };
    outside(1);
    if (!this.#sweep.armed) this.#sweep.arm(host.clock.now + this.#idleNs);
    return flow;
  }

  #receive(key: string, flow: UdpFlow, bytes: Uint8Array, address: string, port: number): void {
    const from = parseIpv4(address);
    const known = from === undefined ? undefined : flow.peers.get(endpoint(from, port));
    if (known === undefined || this.#flows.get(key) !== flow) return;
    flow.usedNs = this.#context.host.clock.now;
    flow.flow.bytesIn += bytes.length;
    this.#context.host.sendUdp({ src: known, srcPort: port, dst: flow.guest, dstPort: flow.guestPort, payload: bytes });
  }

  #expire(): void {
    const { now } = this.#context.host.clock;
    let oldestNs = Infinity;
    for (const [key, flow] of this.#flows) {
      if (now - flow.usedNs >= this.#idleNs) this.#close(key, 'silent');
      else oldestNs = Math.min(oldestNs, flow.usedNs);
    }
    if (oldestNs !== Infinity) this.#sweep.arm(oldestNs + this.#idleNs);
  }

  #close(key: string, reason: string): void {
    const flow = this.#flows.get(key);
    if (flow === undefined) return;
    this.#flows.delete(key);
    flow.socket.close();
    this.#context.log.close(flow.flow, 'closed', reason);
    this.#context.outside(-1);
  }

  close(): void {
    for (const key of [...this.#flows.keys()]) this.#close(key, 'the network was closed');
    this.#sweep.disarm();
  }
}
