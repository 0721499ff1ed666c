import type { FramePort } from '../host/backends/backend.js';
import type { HostResolver, HostSockets } from '../host/backends/outside.js';
import type { Clock } from '../host/clock.js';
import { VmletError } from '../errors.js';
import { inSubnet, type Ipv4, isMulticast, type Mac, parseIpv4 } from './address.js';
import { concat, NO_BYTES } from './bytes.js';
import { DnsService, DnsZone } from './dns.js';
import { type EgressOptions, EgressPolicy } from './egress.js';
import { FlowLog } from './flow.js';
import { decodeIcmp, ICMP_ECHO, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE, UNREACHABLE_PROHIBITED, UNREACHABLE_PROTOCOL } from './icmp.js';
import { IpHost, type UdpHandler } from './ip-host.js';
import { Ipv6Host } from './ipv6-host.js';
import { decodeIpv4Options, type Ipv4Packet, OPTION_LSRR, OPTION_SSRR, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from './ipv4.js';
import { type NatContext, type NatLimits, TcpNat, UdpNat } from './nat.js';
import { type Published, Publisher, type PublishRule, parsePublish } from './publish.js';
import type { Random } from './random.js';
import type { TcpLimits, TcpListener } from './tcp/stack.js';
import type { TcpConnectionOptions } from './tcp/types.js';
import { decodeUdp } from './udp.js';

export interface GatewayOptions extends EgressOptions {
  readonly port: FramePort;
  readonly clock: Clock;
  readonly random: Random;
  /** Default: 52:55 and the address. */
  readonly mac?: Mac;
  /** Dotted. Default: 10.0.2.2, in a network of 24 bits. */
  readonly address?: string;
  readonly prefix?: number;
  readonly mtu?: number;
  /** The way out. Without it nothing leaves, and no port can be published. */
  readonly sockets?: HostSockets;
  /** Answers names that are not of the zone. Without it, or with `restrict`, they are refused. */
  readonly resolver?: HostResolver;
  readonly zone?: DnsZone;
  /** `127.0.0.1:8080:80`; see `parsePublish`. */
  readonly publish?: readonly (string | PublishRule)[];
  /** Where published ports lead that name no guest: an address, or what tells one when no guest was heard. Default: the guest that was heard last. */
  readonly guest?: string | (() => string | undefined);
  readonly limits?: NatLimits;
  readonly tcp?: { readonly connection?: TcpConnectionOptions; readonly limits?: TcpLimits };
  /** Flows kept in the log. Default: 1000. */
  readonly flowLog?: number;
  readonly warn?: (message: string) => void;
  /** Told when the first thing opens outside, and when the last is gone: meanwhile input may come at any moment. */
  readonly onOutside?: (busy: boolean) => void;
}

export interface GatewayStats {
  /** Packets that guests sent to other networks. */
  forwarded: number;
  /** With a source address that is not of this network, or source routes. */
  spoofed: number;
  expired: number;
}

const DEFAULT_ADDRESS = '10.0.2.2';
const DEFAULT_PREFIX = 24;
const DNS_PORT = 53;
const MAX_DNS_STREAM_BYTES = 65_537;

const address = (text: string): Ipv4 => {
  const parsed = parseIpv4(text);
  if (parsed === undefined) throw new VmletError('ERR_VMLET_CONFIG', `'${text}' is not an IPv4 address`);
  return parsed;
};

const defaultMac = (ip: Ipv4): Mac => Uint8Array.of(0x52, 0x55, ip >>> 24, ip >>> 16, ip >>> 8, ip);

/** The way out of a virtual network: its router, its name server, and a place for further services. */
export class Gateway {
  readonly host: IpHost;
  readonly ipv6: Ipv6Host;
  readonly zone: DnsZone;
  readonly dns: DnsService;
  readonly flows: FlowLog;
  readonly policy: EgressPolicy;
  readonly stats: GatewayStats = { forwarded: 0, spoofed: 0, expired: 0 };
  readonly #options: GatewayOptions;
  readonly #tcp: TcpNat;
  readonly #udp: UdpNat;
  readonly #publisher: Publisher;
  #outside = 0;

  constructor(options: GatewayOptions) {
    const ip = address(options.address ?? DEFAULT_ADDRESS);
    this.#options = options;
    this.host = new IpHost({
      port: options.port,
      clock: options.clock,
      random: options.random,
      mac: options.mac ?? defaultMac(ip),
      address: ip,
      prefix: options.prefix ?? DEFAULT_PREFIX,
      ...(options.mtu === undefined ? {} : { mtu: options.mtu }),
      ...(options.tcp === undefined ? {} : { tcp: options.tcp }),
      ...(options.warn === undefined ? {} : { warn: options.warn }),
    });
    this.ipv6 = new Ipv6Host(this.host);
    this.flows = new FlowLog(this.host.clock, options.flowLog);
    const { sockets } = options;
    this.policy = new EgressPolicy(options, () => sockets?.ownAddresses() ?? []);
    const context: NatContext = { host: this.host, sockets, policy: this.policy, log: this.flows, limits: options.limits ?? {}, outside: change => this.#count(change) };
    this.#tcp = new TcpNat(context);
    this.#udp = new UdpNat(context);
    const { guest } = options;
    const fixed = typeof guest === 'string' ? address(guest) : undefined;
    const told = (): Ipv4 | undefined => (typeof guest === 'function' ? parseIpv4(guest() ?? '') : undefined);
    this.#publisher = new Publisher(context, () => fixed ?? this.host.neighbours.list().at(-1)?.address ?? told());
    this.zone = options.zone ?? new DnsZone();
    this.dns = new DnsService(this.zone, this.#upstream(), candidate => inSubnet(candidate, this.host.subnet));
    this.#serveDns();
    this.host.onForward = packet => this.#forward(packet);
    this.host.tcp.fallback = incoming => this.#tcp.open(incoming);
    this.host.onUnboundUdp = (datagram, packet) => {
      if (!this.host.owns(datagram.dst)) return false;
      this.#udp.send(packet, datagram);
      return true;
    };
    for (const rule of options.publish ?? []) this.publish(rule);
  }

  /** Handles datagrams to a port of the gateway, broadcasts included: the place for DHCP and TFTP. */
  udpService(port: number, handler: UdpHandler): () => void {
    return this.host.bindUdp(port, handler);
  }

  /** Handles connections to a port of the gateway. */
  tcpService(port: number, listener: TcpListener): () => void {
    return this.host.tcp.listen(port, listener, this.host.address);
  }

  /** Opens a port of the host that leads to a guest. */
  publish(rule: string | PublishRule): Published {
    return this.#publisher.publish(typeof rule === 'string' ? parsePublish(rule) : rule);
  }

  /** Open connections, datagram flows, listeners and name queries outside the process. */
  get outside(): number {
    return this.#outside;
  }

  /** Ends all that is open, here and outside. */
  close(): void {
    this.host.batch(() => {
      this.#publisher.close();
      this.#udp.close();
      this.host.tcp.close();
    });
  }

  #count(change: 1 | -1): void {
    this.#outside += change;
    if (this.#outside === (change === 1 ? 1 : 0)) this.#options.onOutside?.(change === 1);
  }

  #upstream(): ((query: Uint8Array, done: (reply: Uint8Array | undefined) => void) => void) | undefined {
    const { resolver, restrict } = this.#options;
    if (resolver === undefined || restrict === true) return undefined;
    return (query, done) => {
      this.#count(1);
      const finish = (reply: Uint8Array | undefined): void => {
        this.#count(-1);
        this.host.batch(() => done(reply));
      };
      resolver.query(query).then(finish, () => finish(undefined));
    };
  }

  #serveDns(): void {
    this.udpService(DNS_PORT, ({ src, srcPort, dst, payload }) => {
      this.dns.handle(payload, 'udp', reply => {
        this.host.sendUdp({ src: this.host.owns(dst) ? dst : this.host.address, srcPort: DNS_PORT, dst: src, dstPort: srcPort, payload: reply });
      });
    });
    this.tcpService(DNS_PORT, incoming => {
      let received = NO_BYTES;
      const connection = incoming.accept({
        onData: bytes => {
          received = concat([received, bytes]);
          while (received.length >= 2) {
            const end = 2 + ((received[0] << 8) | received[1]);
            if (received.length < end) break;
            const query = received.slice(2, end);
            received = received.slice(end);
            this.dns.handle(query, 'tcp', reply => connection?.write(concat([Uint8Array.of(reply.length >>> 8, reply.length & 255), reply])));
          }
          if (received.length > MAX_DNS_STREAM_BYTES) connection?.abort();
        },
        onEnd: () => connection?.end(),
      });
    });
  }

  #forward(packet: Ipv4Packet): void {
    const { host, stats } = this;
    const routed = packet.options.length > 0 && (decodeIpv4Options(packet.options) ?? []).some(({ type }) => type === OPTION_LSRR || type === OPTION_SSRR);
    if (!inSubnet(packet.src, host.subnet) || routed) {
      stats.spoofed++;
      return;
    }
    if (inSubnet(packet.dst, host.subnet) || isMulticast(packet.dst) || packet.dst === 0) return;
    if (packet.ttl <= 1) {
      stats.expired++;
      host.sendIcmpError(packet, ICMP_TIME_EXCEEDED, 0);
      return;
    }
    stats.forwarded++;
    if (packet.protocol === PROTOCOL_TCP) host.tcp.receive(packet.payload, packet.src, packet.dst, host.unchecked);
    else if (packet.protocol === PROTOCOL_UDP) this.#forwardUdp(packet);
    else if (packet.protocol === PROTOCOL_ICMP) this.#forwardIcmp(packet);
    else host.sendIcmpError(packet, ICMP_UNREACHABLE, UNREACHABLE_PROTOCOL);
  }

  #forwardUdp(packet: Ipv4Packet): void {
    const udp = decodeUdp(packet.payload, packet.src, packet.dst, this.host.unchecked);
    if (udp === undefined || udp.dstPort === 0) this.host.stats.malformed++;
    else this.#udp.send(packet, udp);
  }

  /** Echo goes no further than the gateway; errors are about what came from outside. */
  #forwardIcmp(packet: Ipv4Packet): void {
    const message = decodeIcmp(packet.payload);
    if (message === undefined) this.host.stats.malformed++;
    else if (message.type === ICMP_UNREACHABLE) this.host.handleUnreachable(message);
    else if (message.type === ICMP_ECHO) this.host.sendIcmpError(packet, ICMP_UNREACHABLE, UNREACHABLE_PROHIBITED);
  }
}
