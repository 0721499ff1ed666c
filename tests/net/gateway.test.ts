import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Prng } from '../../src/host/backends/entropy.js';
import { NodeResolver, NodeSockets } from '../../src/host/backends/socket.js';
import { formatIpv4 } from '../../src/net/address.js';
import { concat } from '../../src/net/bytes.js';
import { DNS_A, DNS_AAAA, DNS_CNAME, DNS_PTR, decodeDns, dnsQuery, encodeDns, type DnsMessage, RCODE_NAME_ERROR, RCODE_REFUSED, RCODE_SERVER_FAILURE, reverseName } from '../../src/net/dns-message.js';
import { Gateway, type GatewayOptions } from '../../src/net/gateway.js';
import { decodeIcmp, icmpEcho, ICMP_ECHO, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE } from '../../src/net/icmp.js';
import { IpHost, type UdpDatagram } from '../../src/net/ip-host.js';
import { decodeEthernet, ETHERTYPE_IPV4 } from '../../src/net/ethernet.js';
import { decodeIpv4, PROTOCOL_ICMP } from '../../src/net/ipv4.js';
import type { TcpConnection } from '../../src/net/tcp/connection.js';
import { bytesOf, ip, mac, pattern, TestNet, textOf } from './support.js';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

class Lab {
  readonly net = new TestNet(7);
  readonly gateway: Gateway;
  readonly guest: IpHost;
  /** ICMP messages that reached the guest: type and code. */
  readonly icmp: string[] = [];
  busy: boolean[] = [];

  constructor(options: Partial<GatewayOptions> = {}) {
    this.gateway = new Gateway({
      port: this.net.hub.connect({ name: 'gateway' }),
      clock: this.net.clock,
      random: new Prng(7, 'gateway'),
      sockets: new NodeSockets(),
      onOutside: busy => this.busy.push(busy),
      ...options,
    });
    const port = this.net.hub.connect({ name: 'guest' });
    this.guest = new IpHost({ port, clock: this.net.clock, random: new Prng(7, 'guest'), mac: mac(15), address: ip('10.0.2.15'), prefix: 24, router: ip('10.0.2.2') });
    const inner = port.onFrame;
    port.onFrame = frame => {
      const ethernet = decodeEthernet(frame);
      const packet = ethernet?.type === ETHERTYPE_IPV4 ? decodeIpv4(ethernet.payload) : undefined;
      const message = packet?.protocol === PROTOCOL_ICMP ? decodeIcmp(packet.payload) : undefined;
      if (message !== undefined) this.icmp.push(`${message.type}/${message.code}`);
      inner?.(frame);
    };
    cleanups.push(() => this.gateway.close());
  }

  /** Lets the event loop and virtual time go round until `done`. */
  async until(done: () => boolean): Promise<void> {
    for (let rounds = 0; !done(); rounds++) {
      if (rounds > 20_000) throw new Error('it did not happen');
      this.net.run(0.01);
      await new Promise(resolve => setImmediate(resolve));
    }
  }

  connect(address: string, port: number): { connection: TcpConnection; received: Uint8Array[]; log: string[] } {
    const received: Uint8Array[] = [];
    const log: string[] = [];
    let connection: TcpConnection | undefined;
    this.guest.batch(() => {
      connection = this.guest.tcp.connect(this.guest.address, { address: ip(address), port }, {
        onConnect: () => log.push('connect'),
        onData: bytes => void received.push(bytes),
        onEnd: () => log.push('end'),
        onClose: reason => log.push(reason),
      });
    });
    return { connection: connection as TcpConnection, received, log };
  }

  ask(message: DnsMessage): DnsMessage | undefined {
    let reply: UdpDatagram | undefined;
    this.guest.bindUdp(5353, datagram => (reply = datagram));
    this.guest.sendUdp({ srcPort: 5353, dst: this.gateway.host.address, dstPort: 53, payload: encodeDns(message) as Uint8Array });
    return reply === undefined ? undefined : decodeDns(reply.payload);
  }
}

const serve = async (onSocket: (socket: Socket) => void): Promise<number> => {
  const server: Server = createServer({ allowHalfOpen: true }, socket => {
    socket.on('error', () => {});
    onSocket(socket);
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => server.close());
  return (server.address() as AddressInfo).port;
};

const udpSocket = async (): Promise<{ socket: UdpSocket; port: number }> => {
  const socket = createSocket('udp4');
  await new Promise<void>(resolve => socket.bind(0, '127.0.0.1', resolve));
  cleanups.push(() => socket.close());
  return { socket, port: socket.address().port };
};

const LOOPBACK = { allow: ['loopback'] };

describe('the gateway as a station', () => {
  it('answers echo for itself and for nobody else', () => {
    const lab = new Lab();
    lab.guest.sendIcmp(ip('10.0.2.2'), icmpEcho(1, 2, bytesOf('ping')));
    expect(lab.icmp).toEqual(['0/0']);
    lab.guest.sendIcmp(ip('8.8.8.8'), icmpEcho(1, 3, bytesOf('ping')));
    expect(lab.icmp).toEqual(['0/0', '3/13']);
  });

  it('tells of an exhausted time to live, and drops what is spoofed', () => {
    const lab = new Lab();
    lab.guest.sendIp({ dst: ip('8.8.8.8'), protocol: PROTOCOL_ICMP, payload: new Uint8Array(8), ttl: 1 });
    expect(lab.icmp).toEqual([`${ICMP_TIME_EXCEEDED}/0`]);
    lab.guest.sendIp({ src: ip('192.0.2.1'), dst: ip('8.8.8.8'), protocol: 17, payload: new Uint8Array(8) });
    expect(lab.gateway.stats.spoofed).toBe(1);
    expect(ICMP_ECHO).toBe(8);
  });

  it('hands datagrams of its ports to services, broadcasts included', () => {
    const lab = new Lab();
    const seen: string[] = [];
    lab.gateway.udpService(67, ({ src, dst, srcMac, payload }, host) => {
      seen.push(`${formatIpv4(src)} ${formatIpv4(dst)} ${textOf(payload)}`);
      host.sendUdp({ srcPort: 67, dst: ip('10.0.2.99'), dstPort: 68, dstMac: srcMac, payload: bytesOf('offer') });
    });
    const offers: string[] = [];
    lab.guest.configure(0, 0);
    lab.guest.bindUdp(68, ({ dst, payload }) => void offers.push(`${formatIpv4(dst)} ${textOf(payload)}`));
    lab.guest.sendUdp({ srcPort: 68, dst: 0xffff_ffff, dstPort: 67, payload: bytesOf('discover') });
    expect(seen).toEqual(['0.0.0.0 255.255.255.255 discover']);
    expect(offers).toEqual(['10.0.2.99 offer']);
  });
});

describe('names', () => {
  const zoned = (): Lab => {
    const lab = new Lab();
    lab.gateway.zone.addHost('server', ip('10.0.2.20'));
    lab.gateway.zone.addAlias('www', 'server.lab');
    return lab;
  };

  it('answers for the lab: addresses, aliases, reverse names, and what does not exist', () => {
    const lab = zoned();
    expect(lab.ask(dnsQuery(1, 'Server.lab', DNS_A))?.answers).toMatchObject([{ name: 'Server.lab', type: DNS_A, data: { address: ip('10.0.2.20') } }]);
    expect(lab.ask(dnsQuery(2, 'server', DNS_A))?.answers).toHaveLength(1);
    expect(lab.ask(dnsQuery(3, 'www.lab', DNS_A))?.answers.map(record => record.type)).toEqual([DNS_CNAME, DNS_A]);
    expect(lab.ask(dnsQuery(4, reverseName(ip('10.0.2.20')), DNS_PTR))?.answers[0].data).toEqual({ kind: 'name', name: 'server.lab' });
    expect(lab.ask(dnsQuery(5, 'server.lab', DNS_AAAA))).toMatchObject({ rcode: 0, answers: [] });
    expect(lab.ask(dnsQuery(6, 'nobody.lab', DNS_A))?.rcode).toBe(RCODE_NAME_ERROR);
    expect(lab.ask(dnsQuery(7, reverseName(ip('10.0.2.77')), DNS_PTR))?.rcode).toBe(RCODE_NAME_ERROR);
    expect(lab.ask(dnsQuery(8, 'example.org', DNS_A))?.rcode).toBe(RCODE_REFUSED);
  });

  it('answers over TCP too', async () => {
    const lab = zoned();
    const { connection, received } = lab.connect('10.0.2.2', 53);
    const query = encodeDns(dnsQuery(9, 'server.lab', DNS_A)) as Uint8Array;
    connection.write(concat([Uint8Array.of(0, query.length), query]));
    expect(decodeDns(concat(received).subarray(2))?.answers).toHaveLength(1);
  });

  it('asks the resolver for the rest, and fails when that is silent', async () => {
    const queries: Uint8Array[] = [];
    const lab = new Lab({
      resolver: {
        query: async query => {
          queries.push(query);
          const message = decodeDns(query) as DnsMessage;
          if (message.questions[0].name !== 'example.org') return undefined;
          return encodeDns({ ...message, response: true, answers: [{ name: 'example.org', type: DNS_A, class: 1, ttl: 5, data: { kind: 'A', address: 42 } }] });
        },
      },
    });
    const replies: DnsMessage[] = [];
    lab.guest.bindUdp(999, ({ payload }) => void replies.push(decodeDns(payload) as DnsMessage));
    for (const name of ['example.org', 'silent.example']) {
      lab.guest.sendUdp({ srcPort: 999, dst: ip('10.0.2.2'), dstPort: 53, payload: encodeDns(dnsQuery(name.length, name, DNS_A)) as Uint8Array });
    }
    await lab.until(() => replies.length === 2);
    expect(replies.find(reply => reply.id === 11)?.answers).toHaveLength(1);
    expect(replies.find(reply => reply.id === 14)?.rcode).toBe(RCODE_SERVER_FAILURE);
    expect(lab.gateway.outside).toBe(0);
  });

  it('takes queries to a server by UDP, and by TCP when the answer was cut', async () => {
    const answer = (query: Uint8Array, truncated: boolean): Uint8Array => {
      const message = decodeDns(query) as DnsMessage;
      const answers = truncated ? [] : [{ name: message.questions[0].name, type: DNS_A, class: 1, ttl: 5, data: { kind: 'A' as const, address: 77 } }];
      return encodeDns({ ...message, response: true, truncated, answers }) as Uint8Array;
    };
    const port = await serve(socket => {
      socket.once('data', bytes => {
        const reply = answer((bytes as Uint8Array).subarray(2), false);
        socket.end(concat([Uint8Array.of(0, reply.length), reply]));
      });
    });
    const udp = createSocket('udp4');
    await new Promise<void>(resolve => udp.bind(port, '127.0.0.1', resolve));
    cleanups.push(() => udp.close());
    udp.on('message', (bytes, from) => udp.send(answer(bytes, true), from.port, from.address));
    const reply = await new NodeResolver(() => [`127.0.0.1:${port}`]).query(encodeDns(dnsQuery(1234, 'big.example', DNS_A)) as Uint8Array);
    expect(decodeDns(reply as Uint8Array)).toMatchObject({ id: 1234, answers: [{ data: { address: 77 } }] });
  });
});

describe('NAT', () => {
  it('carries a TCP connection to the host, backpressure and half-close included', async () => {
    const port = await serve(socket => {
      const parts: Buffer[] = [];
      socket.on('data', bytes => parts.push(bytes as Buffer));
      socket.on('end', () => socket.end(Buffer.concat(parts)));
    });
    const lab = new Lab(LOOPBACK);
    const { connection, received, log } = lab.connect('10.0.2.2', port);
    await lab.until(() => log.length > 0);
    expect(log).toEqual(['connect']);
    const data = pattern(3_000_000);
    connection.write(data);
    connection.end();
    await lab.until(() => log.includes('closed'));
    expect(log).toEqual(['connect', 'end', 'closed']);
    expect(Buffer.compare(concat(received), data)).toBe(0);
    await lab.until(() => lab.gateway.outside === 0);
    expect(lab.gateway.flows.flows).toMatchObject([{ kind: 'nat', state: 'closed', outside: `127.0.0.1:${port}`, bytesOut: 3_000_000, bytesIn: 3_000_000 }]);
    expect(lab.busy).toEqual([true, false]);
  });

  it('hands resets on, in both directions', async () => {
    const sockets: Socket[] = [];
    const errors: string[] = [];
    const port = await serve(socket => {
      sockets.push(socket);
      socket.on('error', (error: NodeJS.ErrnoException) => errors.push(error.code ?? ''));
      socket.resume();
    });
    const lab = new Lab(LOOPBACK);
    const first = lab.connect('10.0.2.2', port);
    await lab.until(() => sockets.length === 1 && first.log.length > 0);
    sockets[0].resetAndDestroy();
    await lab.until(() => first.log.length === 2);
    expect(first.log).toEqual(['connect', 'reset']);
    const second = lab.connect('10.0.2.2', port);
    await lab.until(() => sockets.length === 2 && second.log.length > 0);
    second.connection.abort();
    await lab.until(() => errors.length === 1);
    expect(errors).toEqual(['ECONNRESET']);
    await lab.until(() => lab.gateway.outside === 0);
  });

  it('refuses when the host refuses', async () => {
    const port = await serve(() => {});
    cleanups.pop()?.();
    const lab = new Lab(LOOPBACK);
    const { log } = lab.connect('10.0.2.2', port);
    await lab.until(() => log.length > 0);
    expect(log).toEqual(['refused']);
    expect(lab.gateway.flows.totals.refused).toBe(1);
  });

  it('carries datagrams, and answers only from whom the guest wrote to', async () => {
    const server = await udpSocket();
    server.socket.on('message', (bytes, from) => server.socket.send(concat([bytesOf('re: '), bytes]), from.port, from.address));
    const stranger = await udpSocket();
    let natPort = 0;
    server.socket.once('message', (_bytes, from) => (natPort = from.port));
    const lab = new Lab(LOOPBACK);
    const received: string[] = [];
    lab.guest.bindUdp(4000, datagram => void received.push(`${formatIpv4(datagram.src)}:${datagram.srcPort} ${textOf(datagram.payload)}`));
    lab.guest.sendUdp({ srcPort: 4000, dst: ip('10.0.2.2'), dstPort: server.port, payload: bytesOf('one') });
    await lab.until(() => received.length === 1);
    stranger.socket.send('intruder', natPort, '127.0.0.1');
    lab.guest.sendUdp({ srcPort: 4000, dst: ip('10.0.2.2'), dstPort: server.port, payload: pattern(5000) });
    await lab.until(() => received.length === 2);
    expect(received[0]).toBe(`10.0.2.2:${server.port} re: one`);
    expect(received[1].startsWith(`10.0.2.2:${server.port} re: `)).toBe(true);
    expect(lab.gateway.flows.flows[0]).toMatchObject({ state: 'open', bytesOut: 5003, bytesIn: 5011 });
    lab.net.run(121_000);
    expect(lab.gateway.outside).toBe(0);
  });

  it('keeps the number of sockets within limits', async () => {
    const lab = new Lab({ ...LOOPBACK, limits: { udp: 2, tcp: 1 } });
    for (let port = 1; port <= 4; port++) lab.guest.sendUdp({ srcPort: 5000 + port, dst: ip('10.0.2.2'), dstPort: 9, payload: bytesOf('x') });
    expect(lab.gateway.outside).toBe(2);
    const port = await serve(() => {});
    const first = lab.connect('10.0.2.2', port);
    const second = lab.connect('10.0.2.2', port);
    await lab.until(() => first.log.length > 0);
    expect([first.log, second.log]).toEqual([['connect'], ['refused']]);
  });

  const closed: [string, number][] = [['127.0.0.1', 80], ['169.254.169.254', 80], ['169.254.1.1', 80], ['10.1.2.3', 80], ['172.16.0.1', 80], ['192.168.1.1', 80], ['100.64.0.1', 80], ['0.1.2.3', 80], ['255.255.255.254', 80]];
  it.each(closed)('does not let a guest reach %s', (address, port) => {
    const lab = new Lab();
    expect(lab.gateway.policy.refusal(ip(address), port)).toBeDefined();
    if (address === '127.0.0.1') return;
    const { log } = lab.connect(address, port);
    expect(log).toEqual(['refused']);
    lab.guest.sendUdp({ srcPort: 1, dst: ip(address), dstPort: port, payload: bytesOf('x') });
    expect(lab.icmp).toEqual([`${ICMP_UNREACHABLE}/13`]);
    expect(lab.gateway.flows.totals.blocked).toBe(2);
    expect(lab.busy).toEqual([]);
  });

  it('does not let a guest reach loopback through the gateway unless asked for', () => {
    const lab = new Lab();
    const { log } = lab.connect('10.0.2.2', 80);
    expect(log).toEqual(['refused']);
    expect(lab.gateway.flows.flows[0]).toMatchObject({ state: 'blocked', outside: '127.0.0.1:80' });
  });

  it('is cut off by restrict, whatever is allowed', () => {
    const lab = new Lab({ restrict: true, allow: ['loopback', '8.8.8.8'] });
    expect(lab.connect('10.0.2.2', 80).log).toEqual(['refused']);
    expect(lab.connect('8.8.8.8', 53).log).toEqual(['refused']);
    expect(lab.gateway.flows.totals.blocked).toBe(2);
  });
});

describe('published ports', () => {
  it('lead TCP into the guest and back', async () => {
    const lab = new Lab({ publish: ['127.0.0.1:0:80'] });
    lab.gateway.close();
    const { ready } = lab.gateway.publish('127.0.0.1:0:10.0.2.15:80');
    const { port } = await ready;
    lab.guest.tcp.listen(80, incoming => {
      const connection = incoming.accept({ onData: bytes => void connection?.write(bytes), onEnd: () => connection?.end() });
    });
    const data = pattern(1_000_000);
    const parts: Buffer[] = [];
    let ended = false;
    const client = connect(port, '127.0.0.1');
    client.on('data', bytes => parts.push(bytes as Buffer));
    client.on('end', () => (ended = true));
    client.end(data);
    await lab.until(() => ended);
    expect(Buffer.compare(Buffer.concat(parts), data)).toBe(0);
    expect(lab.gateway.flows.flows.at(-1)).toMatchObject({ kind: 'publish', guest: '10.0.2.15:80', state: 'closed', bytesIn: data.length, bytesOut: data.length });
  });

  it('reset the client when the guest refuses, or when there is none', async () => {
    const lab = new Lab();
    const { port } = await lab.gateway.publish('127.0.0.1:0:80').ready;
    const outcome = (): { error: string | undefined; closed: boolean } => {
      const result = { error: undefined as string | undefined, closed: false };
      const client = connect(port, '127.0.0.1');
      client.on('error', (error: NodeJS.ErrnoException) => (result.error = error.code));
      client.on('close', () => (result.closed = true));
      return result;
    };
    const first = outcome();
    await lab.until(() => first.closed);
    expect(lab.gateway.flows.flows[0]).toMatchObject({ state: 'refused', reason: 'no guest has shown itself on the network' });
    lab.guest.sendIcmp(ip('10.0.2.2'), icmpEcho(1, 1, new Uint8Array(0)));
    const second = outcome();
    await lab.until(() => second.closed && lab.gateway.outside === 1);
    expect(second.error).toBe('ECONNRESET');
    expect(lab.gateway.flows.flows[1]).toMatchObject({ state: 'refused', guest: '10.0.2.15:80' });
  });

  it('lead datagrams into the guest and back', async () => {
    const lab = new Lab({ guest: '10.0.2.15' });
    const { port } = await lab.gateway.publish('127.0.0.1:0:7/udp').ready;
    lab.guest.bindUdp(7, ({ src, srcPort, payload }, host) => void host.sendUdp({ srcPort: 7, dst: src, dstPort: srcPort, payload }));
    const client = await udpSocket();
    const received: string[] = [];
    client.socket.on('message', bytes => received.push(bytes.toString()));
    client.socket.send('echo', port, '127.0.0.1');
    await lab.until(() => received.length === 1);
    expect(received).toEqual(['echo']);
  });

  it('say which port is taken', async () => {
    const port = await serve(() => {});
    const lab = new Lab();
    await expect(lab.gateway.publish(`127.0.0.1:${port}:80`).ready).rejects.toThrow(`cannot publish 127.0.0.1:${port}`);
    expect(lab.gateway.outside).toBe(0);
    expect(() => lab.gateway.publish('nonsense')).toThrow('is not a port to publish');
  });
});
