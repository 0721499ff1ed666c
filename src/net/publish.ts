import type { HostDatagrams, HostListener } from '../host/backends/outside.js';
import { VmletError } from '../errors.js';
import { formatIpv4, type Ipv4, parseIpv4 } from './address.js';
import type { Flow } from './flow.js';
import { endpoint, type NatContext, relayed } from './nat.js';
import { Relay } from './relay.js';

/** A port of the host that leads to one of a guest. */
export interface PublishRule {
  readonly protocol: 'tcp' | 'udp';
  readonly hostAddress: Ipv4;
  /** 0 for any free one. */
  readonly hostPort: number;
  /** Default: the gateway's guest. */
  readonly guestAddress?: Ipv4;
  readonly guestPort: number;
}

const MAX_STREAMS = 512;
const MAX_SESSIONS = 256;
const SESSION_IDLE_NS = 120e9;
const FIRST_SESSION_PORT = 32_768;
const SESSION_PORTS = 16_384;
const LOOPBACK: Ipv4 = 0x7f00_0001;

/**
 * Reads `[HOST_ADDRESS:]HOST_PORT:[GUEST_ADDRESS:]GUEST_PORT[/udp]`. Without an address the host listens on loopback only.
 *
 * @throws ERR_VMLET_CONFIG
 */
export const parsePublish = (text: string): PublishRule => {
  const match = /^(?:([\d.]+):)?(\d{1,5}):(?:([\d.]+):)?(\d{1,5})(?:\/(tcp|udp))?$/.exec(text);
  const hostAddress = match?.[1] === undefined ? LOOPBACK : parseIpv4(match[1]);
  const guestAddress = match?.[3] === undefined ? undefined : parseIpv4(match[3]);
  const hostPort = Number(match?.[2]);
  const guestPort = Number(match?.[4]);
  if (match === null || hostAddress === undefined || (match[3] !== undefined && guestAddress === undefined) || hostPort > 65_535 || guestPort > 65_535 || guestPort === 0) {
    throw new VmletError('ERR_VMLET_CONFIG', `'${text}' is not a port to publish`, { hint: 'give HOST_PORT:GUEST_PORT or HOST_ADDRESS:HOST_PORT:GUEST_PORT, with /udp for UDP' });
  }
  return { protocol: match[5] === 'udp' ? 'udp' : 'tcp', hostAddress, hostPort, guestPort, ...(guestAddress === undefined ? {} : { guestAddress }) };
};

const REASONS: Readonly<Record<string, readonly [why: string, hint: string]>> = {
  EADDRINUSE: ['it is in use', 'choose a free port of this host, or 0 for any'],
  EACCES: ['it may not be opened without rights', 'choose a port from 1024'],
  EADDRNOTAVAIL: ['the address is not one of this host', 'leave it out for 127.0.0.1, or use 0.0.0.0 for all'],
};

const publishError = (rule: PublishRule, cause: unknown): VmletError => {
  const { code = '', message } = cause as Error & { code?: string };
  const [why, hint] = REASONS[code] ?? [message, 'choose a free port of this host'];
  return new VmletError('ERR_VMLET_CONFIG', `cannot publish ${endpoint(rule.hostAddress, rule.hostPort)}${rule.protocol === 'udp' ? '/udp' : ''}: ${why}`, { cause, hint });
};

interface Session {
  readonly flow: Flow;
  readonly key: string;
  readonly port: number;
  readonly unbind: () => void;
  usedNs: number;
}

export interface Published {
  readonly rule: PublishRule;
  /** Where the host listens; rejects when it cannot, as when the port is taken. */
  readonly ready: Promise<{ readonly address: string; readonly port: number }>;
  close(): void;
}

/** Host ports that lead into the network; guests see the gateway as their peer. */
export class Publisher {
  readonly #context: NatContext;
  /** The address of the guest that rules without one mean. */
  readonly #guest: () => Ipv4 | undefined;
  readonly #published = new Set<Published>();
  #streams = 0;

  constructor(context: NatContext, guest: () => Ipv4 | undefined) {
    this.#context = context;
    this.#guest = guest;
  }

  get rules(): readonly PublishRule[] {
    return [...this.#published].map(one => one.rule);
  }

  publish(rule: PublishRule): Published {
    const { sockets, outside } = this.#context;
    if (sockets === undefined) throw new VmletError('ERR_VMLET_CONFIG', 'a network without a way out cannot publish ports');
    const listener = rule.protocol === 'tcp' ? this.#listen(rule) : this.#bind(rule);
    outside(1);
    let open = true;
    const published: Published = {
      rule,
      ready: listener.ready.catch((cause: unknown) => {
        published.close();
        throw publishError(rule, cause);
      }),
      close: () => {
        if (!open) return;
        open = false;
        this.#published.delete(published);
        listener.close();
        outside(-1);
      },
    };
    published.ready.catch(() => {});
    this.#published.add(published);
    return published;
  }

  #target(rule: PublishRule): Ipv4 | undefined {
    return rule.guestAddress ?? this.#guest();
  }

  #listen(rule: PublishRule): HostListener {
    const { host, sockets, log, outside } = this.#context;
    return (sockets as NonNullable<typeof sockets>).listen(formatIpv4(rule.hostAddress), rule.hostPort, (stream, from) => {
      const guest = this.#target(rule);
      const about = { kind: 'publish', protocol: 'tcp', guest: guest === undefined ? `?:${rule.guestPort}` : endpoint(guest, rule.guestPort), outside: `${from.address}:${from.port}` } as const;
      const flow = log.open(about);
      const refuse = (reason: string): undefined => {
        log.close(flow, 'refused', reason);
        return undefined;
      };
      if (guest === undefined) return refuse('no guest has shown itself on the network');
      if (this.#streams >= MAX_STREAMS) return refuse('too many connections to published ports');
      const relay = new Relay(flow, log, work => host.batch(work), () => {
        this.#streams--;
        outside(-1);
      });
      relay.stream = stream;
      relay.hold();
      host.batch(() => {
        relay.connection = host.tcp.connect(host.address, { address: guest, port: rule.guestPort }, relay.guestEvents, relayed(this.#streams));
      });
      if (relay.connection === undefined) return refuse('the gateway has no port left');
      this.#streams++;
      outside(1);
      return { ...relay.streamEvents, onConnect: () => {} };
    });
  }

  #bind(rule: PublishRule): HostDatagrams {
    const { host, sockets, log } = this.#context;
    const sessions = new Map<string, Session>();
    const end = (session: Session, reason: string): void => {
      sessions.delete(session.key);
      session.unbind();
      log.close(session.flow, 'closed', reason);
    };
    const sweep = host.clock.timer(() => {
      for (const session of [...sessions.values()]) if (host.clock.now - session.usedNs >= SESSION_IDLE_NS) end(session, 'silent');
      if (sessions.size > 0) sweep.arm(host.clock.now + SESSION_IDLE_NS / 4);
    });
    const open = (key: string, guest: Ipv4, address: string, port: number): Session | undefined => {
      const oldest = sessions.values().next();
      if (sessions.size >= MAX_SESSIONS && oldest.done !== true) end(oldest.value, 'made room for another');
      const local = this.#sessionPort();
      if (local === undefined) return undefined;
      const flow = log.open({ kind: 'publish', protocol: 'udp', guest: endpoint(guest, rule.guestPort), outside: key }, 'open');
      const unbind = host.bindUdp(local, datagram => {
        if (datagram.src !== guest || datagram.srcPort !== rule.guestPort) return;
        session.usedNs = host.clock.now;
        flow.bytesOut += datagram.payload.length;
        socket.send(datagram.payload, address, port);
      });
      const session: Session = { flow, key, port: local, unbind, usedNs: host.clock.now };
      sessions.set(key, session);
      if (!sweep.armed) sweep.arm(host.clock.now + SESSION_IDLE_NS);
      return session;
    };
    const receive = (bytes: Uint8Array, address: string, port: number): void => {
      const guest = this.#target(rule);
      const key = `${address}:${port}`;
      const session = sessions.get(key) ?? (guest === undefined ? undefined : open(key, guest, address, port));
      if (session === undefined || guest === undefined) return;
      session.usedNs = host.clock.now;
      session.flow.bytesIn += bytes.length;
      host.sendUdp({ srcPort: session.port, dst: guest, dstPort: rule.guestPort, payload: bytes });
    };
    const socket = (sockets as NonNullable<typeof sockets>).datagrams((bytes, address, port) => host.batch(() => receive(bytes, address, port)), {
      address: formatIpv4(rule.hostAddress),
      port: rule.hostPort,
    });
    return {
      ready: socket.ready,
      send: socket.send,
      close: () => {
        for (const session of [...sessions.values()]) end(session, 'the port was closed');
        sweep.disarm();
        socket.close();
      },
    };
  }

  #sessionPort(): number | undefined {
    const { host } = this.#context;
    const first = host.randomU16() % SESSION_PORTS;
    for (let i = 0; i < SESSION_PORTS; i++) {
      const port = FIRST_SESSION_PORT + ((first + i) % SESSION_PORTS);
      if (!host.hasUdp(port)) return port;
    }
    return undefined;
  }

  close(): void {
    for (const one of [...this.#published]) one.close();
  }
}
