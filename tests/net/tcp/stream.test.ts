import { describe, expect, it } from 'vitest';
import { concat } from '../../../src/net/bytes.js';
import type { Impairment } from '../../../src/net/impair.js';
import type { IpHost } from '../../../src/net/ip-host.js';
import type { TcpConnection } from '../../../src/net/tcp/connection.js';
import type { TcpCloseReason, TcpConnectionOptions } from '../../../src/net/tcp/types.js';
import { PROTOCOL_TCP } from '../../../src/net/ipv4.js';
import { ACK, encodeTcp, RST, SYN } from '../../../src/net/tcp/segment.js';
import { bytesOf, mac, pattern, TestNet, textOf } from '../support.js';

interface End {
  connection: TcpConnection | undefined;
  received: Uint8Array[];
  events: string[];
  closed: TcpCloseReason | undefined;
}

const end = (): End => ({ connection: undefined, received: [], events: [], closed: undefined });

const watch = (side: End) => ({
  onConnect: () => void side.events.push('connect'),
  onData: (bytes: Uint8Array) => void side.received.push(bytes),
  onEnd: () => void side.events.push('end'),
  onDrain: () => void side.events.push('drain'),
  onClose: (reason: TcpCloseReason) => {
    side.closed = reason;
    side.events.push(`close ${reason}`);
  },
});

const link = (net: TestNet, options: { client?: TcpConnectionOptions; server?: TcpConnectionOptions; impair?: Impairment } = {}): { a: End; b: End; hostA: IpHost; hostB: IpHost } => {
  const hostA = net.host({}, options.impair === undefined ? {} : { impair: options.impair });
  const hostB = net.host();
  const a = end();
  const b = end();
  hostB.tcp.listen(80, incoming => {
    b.connection = incoming.accept(watch(b), options.server);
  });
  hostA.batch(() => {
    a.connection = hostA.tcp.connect(hostA.address, { address: hostB.address, port: 80 }, watch(a), options.client);
  });
  return { a, b, hostA, hostB };
};

describe('TCP on a perfect wire', () => {
  it('shakes hands, carries bytes both ways and closes', () => {
    const net = new TestNet();
    const { a, b, hostA, hostB } = link(net);
    expect(a.events).toEqual(['connect']);
    expect(b.events).toEqual(['connect']);
    a.connection?.write(bytesOf('hello'));
    b.connection?.write(bytesOf('world'));
    expect(textOf(concat(b.received))).toBe('hello');
    expect(textOf(concat(a.received))).toBe('world');
    a.connection?.end();
    expect(b.events).toEqual(['connect', 'end']);
    expect(a.connection?.state).toBe('FIN_WAIT_2');
    b.connection?.write(bytesOf(' more'));
    expect(textOf(concat(a.received))).toBe('world more');
    b.connection?.end();
    expect(a.events).toEqual(['connect', 'end', 'close closed']);
    expect(b.closed).toBe('closed');
    expect(a.connection?.state).toBe('TIME_WAIT');
    net.run(11_000);
    expect(hostA.tcp.connections).toHaveLength(0);
    expect(hostB.tcp.connections).toHaveLength(0);
  });

  it('negotiates the segment size and the window scale', () => {
    const net = new TestNet();
    const { a, b } = link(net, { client: { mss: 500 }, server: { receiveBytes: 1 << 20 } });
    expect(a.connection?.mss).toBe(500);
    expect(b.connection?.mss).toBe(500);
    a.connection?.write(pattern(300_000));
    net.run(10);
    expect(Buffer.compare(concat(b.received), pattern(300_000))).toBe(0);
    expect(a.connection?.stats.segmentsSent).toBeLessThan(620);
    // Segments that come close together are acknowledged together.
    expect(b.connection?.stats.segmentsSent).toBeLessThan(30);
  });

  it('gathers what is written at one instant when asked to', () => {
    const net = new TestNet();
    const { a, b } = link(net, { client: { gatherWrites: true } });
    const before = a.connection!.stats.segmentsSent;
    for (let i = 0; i < 10; i++) a.connection?.write(pattern(1000, i));
    expect(b.received).toHaveLength(0);
    net.run(1);
    expect(Buffer.compare(concat(b.received), concat(Array.from({ length: 10 }, (_, i) => pattern(1000, i))))).toBe(0);
    expect(a.connection!.stats.segmentsSent - before).toBe(1);
    a.connection?.write(bytesOf('last'));
    a.connection?.end();
    net.run(1);
    expect(textOf(concat(b.received).subarray(-4))).toBe('last');
    expect(b.events).toContain('end');
  });

  it('opens one connection after the other to a peer that closes first, without meeting what waits there', () => {
    const net = new TestNet();
    const [hostA, hostB] = [net.host(), net.host()];
    hostB.tcp.listen(80, incoming => incoming.accept({})!.end());
    for (let i = 0; i < 900; i++) {
      const connection = hostA.tcp.connect(hostA.address, { address: hostB.address, port: 80 }, {})!;
      connection.end();
      net.run(1);
      expect([i, connection.state, connection.stats.retransmitted]).toEqual([i, 'CLOSED', 0]);
    }
    expect(hostB.tcp.connections).toHaveLength(900);
  });

  it('refuses where nobody listens', () => {
    const net = new TestNet();
    const { hostA, hostB } = link(net);
    const side = end();
    hostA.tcp.connect(hostA.address, { address: hostB.address, port: 81 }, watch(side));
    expect(side.closed).toBe('refused');
    expect(hostA.tcp.connections).toHaveLength(1);
  });

  it('resets the peer on abort', () => {
    const { a, b } = link(new TestNet());
    a.connection?.abort();
    expect(a.closed).toBe('aborted');
    expect(b.closed).toBe('reset');
  });

  it('gives a silent peer up, and one that has no neighbour', () => {
    const net = new TestNet();
    const { hostA, a, b } = link(net);
    const nobody = end();
    hostA.tcp.connect(hostA.address, { address: hostA.address + 77, port: 80 }, watch(nobody));
    net.run(10_000);
    expect(nobody.closed).toBe('unreachable');
    net.hub.ports[1].linkUp = false;
    a.connection?.write(bytesOf('lost'));
    net.run(3_600_000);
    expect(a.closed).toBe('timeout');
    expect(b.closed).toBeUndefined();
  });

  it('finds a dead peer by keep-alive, and leaves a live one alone', () => {
    const net = new TestNet();
    const { a } = link(net, { client: { keepAliveNs: 60e9 } });
    net.run(1_000_000);
    expect(a.closed).toBeUndefined();
    net.hub.ports[1].linkUp = false;
    net.run(1_000_000);
    expect(a.closed).toBe('timeout');
  });

  it('waits for a closed window, probes it, and goes on when it opens', () => {
    const net = new TestNet();
    const { a, b } = link(net, { server: { manualConsume: true, receiveBytes: 20_000 } });
    expect(a.connection?.write(pattern(300_000))).toBe(false);
    net.run(1000);
    const held = concat(b.received).length;
    expect(held).toBeLessThanOrEqual(20_000);
    expect(held).toBeGreaterThan(18_000);
    net.run(300_000);
    expect(a.closed).toBeUndefined();
    expect(concat(b.received).length).toBeLessThanOrEqual(20_000);
    let consumed = 0;
    for (let rounds = 0; rounds < 100 && consumed < 300_000; rounds++) {
      const more = concat(b.received).length - consumed;
      consumed += more;
      b.connection?.consume(more);
      net.run(10);
    }
    expect(Buffer.compare(concat(b.received), pattern(300_000))).toBe(0);
    expect(a.events).toContain('drain');
  });

  it('survives a lost window update', () => {
    const net = new TestNet();
    const { a, b } = link(net, { server: { manualConsume: true, receiveBytes: 20_000 } });
    a.connection?.write(pattern(30_000));
    net.run(100);
    net.hub.ports[1].linkUp = false;
    b.connection?.consume(concat(b.received).length);
    net.hub.ports[1].linkUp = true;
    net.run(120_000);
    expect(Buffer.compare(concat(b.received), pattern(30_000))).toBe(0);
  });

  it('closes from both sides at once', () => {
    const net = new TestNet();
    const { a, b } = link(net, { impair: { delayNs: 5e6 } });
    net.run(100);
    a.connection?.end();
    b.connection?.end();
    net.run(100);
    expect(a.closed).toBe('closed');
    expect(b.closed).toBe('closed');
    expect(a.connection?.state).toBe('TIME_WAIT');
    expect(b.connection?.state).toBe('TIME_WAIT');
  });

  it('opens from both sides at once', () => {
    const net = new TestNet();
    const hostA = net.host({}, { impair: { delayNs: 5e6 } });
    const hostB = net.host();
    hostA.neighbours.learn(hostB.address, hostB.mac);
    hostB.neighbours.learn(hostA.address, hostA.mac);
    const a = end();
    const b = end();
    a.connection = hostA.tcp.connect(hostA.address, { address: hostB.address, port: 2000 }, watch(a), { srcPort: 1000 });
    b.connection = hostB.tcp.connect(hostB.address, { address: hostA.address, port: 1000 }, watch(b), { srcPort: 2000 });
    a.connection?.write(bytesOf('x'));
    net.run(3000);
    expect(a.events).toEqual(['connect']);
    expect(b.events).toEqual(['connect']);
    expect(textOf(concat(b.received))).toBe('x');
  });

  it('takes a peer back that restarted and uses the same port', () => {
    const net = new TestNet();
    const hostB = net.host();
    const sides: End[] = [];
    hostB.tcp.listen(80, incoming => {
      const side = end();
      sides.push(side);
      side.connection = incoming.accept(watch(side));
    });
    const start = (): End => {
      const host = net.host({ address: hostB.address + 5, mac: mac(5) });
      const side = end();
      host.batch(() => void (side.connection = host.tcp.connect(host.address, { address: hostB.address, port: 80 }, watch(side), { srcPort: 1234 })));
      return side;
    };
    const before = start();
    before.connection?.write(bytesOf('before'));
    net.hub.disconnect(net.hub.ports[1]);
    const after = start();
    after.connection?.write(bytesOf('after'));
    net.run(5000);
    expect(sides.map(side => [textOf(concat(side.received)), side.closed])).toEqual([['before', 'reset'], ['after', undefined]]);
    expect(after.events).toEqual(['connect']);
  });

  it('lets a new connection replace one in TIME_WAIT, and bounds how many wait there', () => {
    const net = new TestNet();
    const hostA = net.host({ tcp: { limits: { timeWait: 5 } } });
    const hostB = net.host({ tcp: { limits: { timeWait: 5 } } });
    hostA.tcp.listen(80, incoming => {
      const connection = incoming.accept({ onData: () => {} });
      connection?.end();
    });
    for (let i = 0; i < 20; i++) {
      const side = end();
      hostB.batch(() => {
        side.connection = hostB.tcp.connect(hostB.address, { address: hostA.address, port: 80 }, { ...watch(side), onEnd: () => side.connection?.end() }, { srcPort: 2000 + (i % 10) });
      });
      net.run(1);
      if (i < 10) expect(side.closed).toBe('closed');
    }
    expect(hostA.tcp.connections.filter(connection => connection.state === 'TIME_WAIT').length).toBeLessThanOrEqual(5);
  });

  it('ignores forged resets and SYNs that do not fit', () => {
    const net = new TestNet();
    const { a, b, hostA, hostB } = link(net);
    const connection = b.connection as TcpConnection;
    const forge = (flags: number, seq: number): void => {
      const segment = { srcPort: connection.remote.port, dstPort: 80, seq, ack: 0, flags, window: 0, urgent: 0, options: {}, payload: new Uint8Array(0) };
      hostA.sendIp({ dst: hostB.address, protocol: PROTOCOL_TCP, payload: encodeTcp(segment, hostA.address, hostB.address) });
      net.run(2);
    };
    for (const seq of [0, 0x4000_0000, 0x8000_0000, 0xc000_0000]) {
      forge(RST, seq);
      forge(SYN, seq);
      forge(SYN | ACK, seq);
    }
    a.connection?.write(bytesOf('still here'));
    expect(textOf(concat(b.received))).toBe('still here');
    expect([a.closed, b.closed]).toEqual([undefined, undefined]);
  });

  it('keeps to the limits on connections', () => {
    const net = new TestNet();
    const hostA = net.host();
    const hostB = net.host({ tcp: { limits: { connections: 3, pending: 2 } } });
    hostB.tcp.listen(80, incoming => void incoming.accept({}));
    hostB.tcp.listen(81, () => {});
    const results: (string | undefined)[] = [];
    const open = (port: number): void => void hostA.tcp.connect(hostA.address, { address: hostB.address, port }, { onClose: reason => results.push(reason) });
    for (let i = 0; i < 5; i++) open(80);
    expect(results).toEqual(['refused', 'refused']);
    expect(hostB.tcp.connections).toHaveLength(3);
    for (const connection of hostA.tcp.connections) connection.abort();
    results.length = 0;
    for (let i = 0; i < 4; i++) open(81);
    expect(results).toEqual(['refused', 'refused']);
  });
});

describe('TCP on a lossy wire', () => {
  const impairments: [string, Impairment][] = [
    ['loss', { loss: 0.1, delayNs: 2e6 }],
    ['reordering and duplicates', { reorder: 0.2, reorderNs: 3e6, duplicate: 0.1, delayNs: 1e6, jitterNs: 1e6 }],
    ['a slow link with a short queue', { bandwidth: 20e6, queueBytes: 20_000, delayNs: 3e6 }],
    ['everything', { loss: 0.05, reorder: 0.1, duplicate: 0.05, delayNs: 5e6, jitterNs: 4e6, bandwidth: 50e6, queueBytes: 60_000 }],
  ];

  it.each(impairments)('carries both streams intact over %s', (_name, impair) => {
    for (let seed = 1; seed <= 4; seed++) {
      const net = new TestNet(seed);
      const { a, b } = link(net, { impair });
      const there = pattern(200_000 + seed, seed);
      const back = pattern(150_000 - seed, seed + 100);
      const feed = (side: End, data: Uint8Array): void => {
        for (let at = 0; at < data.length; at += 7001) side.connection?.write(data.subarray(at, at + 7001));
        side.connection?.end();
      };
      feed(a, there);
      for (let rounds = 0; rounds < 200 && b.connection === undefined; rounds++) net.run(100);
      expect(b.connection).toBeDefined();
      feed(b, back);
      for (let rounds = 0; rounds < 3000 && (a.closed === undefined || b.closed === undefined); rounds++) net.run(100);
      expect(Buffer.compare(concat(b.received), there)).toBe(0);
      expect(Buffer.compare(concat(a.received), back)).toBe(0);
      expect([a.closed, b.closed]).toEqual(['closed', 'closed']);
    }
  });

  it('is the same run for the same seed', () => {
    const trace = (seed: number): unknown => {
      const net = new TestNet(seed);
      const { a, b } = link(net, { impair: { loss: 0.1, delayNs: 1e6, jitterNs: 5e5 } });
      a.connection?.write(pattern(100_000));
      net.run(60_000);
      return [a.connection?.stats, b.connection?.stats, net.hub.ports[0].link];
    };
    expect(trace(5)).toEqual(trace(5));
    expect(trace(5)).not.toEqual(trace(6));
  });
});
