import { describe, expect, it } from 'vitest';
import { BROADCAST_MAC, formatMac, ZERO_MAC } from '../../src/net/address.js';
import { ARP_REPLY, ARP_REQUEST, decodeArp, encodeArp } from '../../src/net/arp.js';
import { decodeEthernet, encodeEthernet, ETHERTYPE_ARP } from '../../src/net/ethernet.js';
import { icmpEcho, type IcmpMessage } from '../../src/net/icmp.js';
import { PROTOCOL_UDP } from '../../src/net/ipv4.js';
import { encodeUdp } from '../../src/net/udp.js';
import { bytesOf, ip, mac, pattern, TestNet, textOf } from './support.js';

const setUp = (warn?: (message: string) => void) => {
  const net = new TestNet();
  const a = net.host();
  const b = net.host(warn === undefined ? {} : { warn });
  const probe = net.hub.connect({ name: 'probe' });
  const arps: string[] = [];
  probe.onFrame = frame => {
    const ethernet = decodeEthernet(frame);
    const packet = ethernet?.type === ETHERTYPE_ARP ? decodeArp(ethernet.payload) : undefined;
    if (packet !== undefined) arps.push(`${packet.operation === ARP_REQUEST ? 'who' : 'is'} ${packet.targetIp & 255} from ${packet.senderIp & 255}`);
  };
  const sendArp = (operation: number, senderIp: number, targetIp: number): void =>
    probe.send(encodeEthernet({ dst: BROADCAST_MAC, src: mac(77), tags: [], type: ETHERTYPE_ARP, payload: encodeArp({ operation, senderMac: mac(77), senderIp, targetMac: ZERO_MAC, targetIp }) }));
  return { net, a, b, arps, sendArp, probe };
};

describe('ARP of a host', () => {
  it('asks once, holds packets meanwhile, and remembers', () => {
    const { a, b, arps } = setUp();
    const received: string[] = [];
    b.bindUdp(9, ({ payload }) => void received.push(textOf(payload)));
    a.batch(() => {
      for (const text of ['one', 'two']) a.sendUdp({ srcPort: 1, dst: b.address, dstPort: 9, payload: bytesOf(text) });
    });
    a.sendUdp({ srcPort: 1, dst: b.address, dstPort: 9, payload: bytesOf('three') });
    expect(received).toEqual(['one', 'two', 'three']);
    expect(arps).toEqual(['who 2 from 1']);
    expect(a.neighbours.list().map(one => formatMac(one.mac))).toEqual([formatMac(b.mac)]);
  });

  it('asks three times for who is not there', () => {
    const { net, a, arps } = setUp();
    a.sendUdp({ srcPort: 1, dst: ip('10.0.0.50'), dstPort: 9, payload: bytesOf('x') });
    net.run(60_000);
    expect(arps).toEqual(['who 50 from 1', 'who 50 from 1', 'who 50 from 1']);
    expect(a.stats.undeliverable).toBe(1);
  });

  it('answers requests and conflict probes, and defends its address once in a while', () => {
    const warnings: string[] = [];
    const { net, b, arps, sendArp } = setUp(message => void warnings.push(message));
    sendArp(ARP_REQUEST, ip('10.0.0.9'), b.address);
    sendArp(ARP_REQUEST, 0, b.address);
    expect(arps).toEqual(['is 9 from 2', 'is 0 from 2']);
    sendArp(ARP_REQUEST, b.address, b.address);
    sendArp(ARP_REPLY, b.address, 0);
    expect(arps.slice(2)).toEqual(['who 2 from 2']);
    expect(warnings[0]).toContain('uses 10.0.0.2');
    net.run(11_000);
    sendArp(ARP_REPLY, b.address, 0);
    expect(arps.slice(2)).toEqual(['who 2 from 2', 'who 2 from 2']);
    expect(b.stats.arpConflicts).toBe(3);
  });

  it('follows an announcement for an address it knows, as after a failover', () => {
    const { a, b, sendArp } = setUp();
    a.sendUdp({ srcPort: 1, dst: b.address, dstPort: 9, payload: bytesOf('x') });
    sendArp(ARP_REQUEST, ip('10.0.0.66'), ip('10.0.0.66'));
    expect(a.neighbours.lookup(ip('10.0.0.66'))).toBeUndefined();
    a.neighbours.learn(ip('10.0.0.66'), mac(1));
    sendArp(ARP_REQUEST, ip('10.0.0.66'), ip('10.0.0.66'));
    expect(a.neighbours.lookup(ip('10.0.0.66'))).toEqual(mac(77));
  });
});

describe('packets of a host', () => {
  it('fragments and reassembles large datagrams', () => {
    const { a, b } = setUp();
    let received: Uint8Array | undefined;
    b.bindUdp(9, ({ payload }) => (received = payload));
    expect(a.sendUdp({ srcPort: 1, dst: b.address, dstPort: 9, payload: pattern(60_000) })).toBe(true);
    expect(Buffer.compare(received as Uint8Array, pattern(60_000))).toBe(0);
    expect(a.sendUdp({ srcPort: 1, dst: b.address, dstPort: 9, payload: pattern(2000), dontFragment: true })).toBe(false);
    expect(a.sendUdp({ srcPort: 1, dst: b.address, dstPort: 9, payload: new Uint8Array(65_508) })).toBe(false);
  });

  it('answers echo, small and large, but not to a broadcast', () => {
    const { a, b } = setUp();
    const replies: IcmpMessage[] = [];
    a.onEchoReply = (_src, message) => void replies.push(message);
    a.sendIcmp(b.address, icmpEcho(1, 1, pattern(4000)));
    expect(replies.map(reply => reply.payload.length)).toEqual([4000]);
    a.sendIcmp(ip('10.0.0.255'), icmpEcho(1, 2, pattern(10)));
    expect(replies).toHaveLength(1);
  });

  it('tells of closed ports and unknown protocols, at a bounded rate and never to a broadcast', () => {
    const { net, a, b } = setUp();
    a.sendUdp({ srcPort: 1, dst: b.address, dstPort: 9, payload: bytesOf('x') });
    a.sendIp({ dst: b.address, protocol: 99, payload: bytesOf('x') });
    expect(b.stats.icmpErrors).toBe(2);
    a.sendUdp({ srcPort: 1, dst: 0xffff_ffff, dstPort: 9, payload: bytesOf('x') });
    a.sendUdp({ srcPort: 1, dst: ip('224.0.0.1'), dstPort: 9, payload: bytesOf('x') });
    expect(b.stats.icmpErrors).toBe(2);
    for (let i = 0; i < 500; i++) a.sendUdp({ srcPort: 1, dst: b.address, dstPort: 9, payload: bytesOf('x') });
    expect(b.stats.icmpErrors).toBe(50);
    net.run(100);
    a.sendUdp({ srcPort: 1, dst: b.address, dstPort: 9, payload: bytesOf('x') });
    expect(b.stats.icmpErrors).toBe(51);
  });

  it('takes broadcasts of its network, priority tags, and nothing of other VLANs', () => {
    const { a, b, probe } = setUp();
    const received: string[] = [];
    b.bindUdp(9, ({ payload }) => void received.push(textOf(payload)));
    for (const dst of ['255.255.255.255', '10.0.0.255', '224.0.0.9']) a.sendUdp({ srcPort: 1, dst: ip(dst), dstPort: 9, payload: bytesOf(dst) });
    expect(received).toEqual(['255.255.255.255', '10.0.0.255', '224.0.0.9']);
    let frame: Uint8Array | undefined;
    probe.onFrame = bytes => (frame = bytes);
    a.sendUdp({ srcPort: 1, dst: 0xffff_ffff, dstPort: 9, payload: bytesOf('tagged') });
    const plain = decodeEthernet(frame as Uint8Array) as NonNullable<ReturnType<typeof decodeEthernet>>;
    received.length = 0;
    probe.send(encodeEthernet({ ...plain, src: mac(77), tags: [{ tpid: 0x8100, tci: 0xe000 }] }));
    probe.send(encodeEthernet({ ...plain, src: mac(77), tags: [{ tpid: 0x8100, tci: 5 }] }));
    expect(received).toEqual(['tagged']);
  });

  it('counts what is malformed', () => {
    const { a, b } = setUp();
    const bytes = encodeUdp({ srcPort: 1, dstPort: 2, payload: bytesOf('abc') }, 1, 2);
    a.sendIp({ dst: b.address, protocol: PROTOCOL_UDP, payload: bytes });
    expect(b.stats.malformed).toBe(1);
  });
});
