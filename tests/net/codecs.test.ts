import { describe, expect, it } from 'vitest';
import { Random } from '../support/random.js';
import { formatIpv4, formatMac, inSubnet, macKey, multicastMac, parseIpv4, parseMac, parseSubnet, subnetBroadcast } from '../../src/net/address.js';
import { ARP_REPLY, ARP_REQUEST, decodeArp, encodeArp } from '../../src/net/arp.js';
import { concat } from '../../src/net/bytes.js';
import { addWords, checksum, finishChecksum } from '../../src/net/checksum.js';
import { decodeEthernet, encodeEthernet, ETHERTYPE_IPV4, ETHERTYPE_VLAN } from '../../src/net/ethernet.js';
import { decodeIcmp, echoIds, encodeIcmp, ICMP_UNREACHABLE, icmpEcho, icmpError, quotedPorts } from '../../src/net/icmp.js';
import { decodeIpv4, decodeIpv4Options, decodeQuotedIpv4, encodeIpv4, encodeIpv4Options, fragmentIpv4, type Ipv4Packet, OPTION_ROUTER_ALERT, PROTOCOL_UDP } from '../../src/net/ipv4.js';
import { Ipv4Reassembler } from '../../src/net/ipv4-reassembly.js';
import { ACK, decodeTcp, encodeTcp, PSH, SYN } from '../../src/net/tcp/segment.js';
import { decodeUdp, encodeUdp } from '../../src/net/udp.js';
import { ManualClock } from '../../src/host/clock.js';
import { bytesOf, hex, ip, pattern } from './support.js';

const packet = (part: Partial<Ipv4Packet> = {}): Ipv4Packet => ({
  src: ip('192.168.0.1'), dst: ip('192.168.0.199'), protocol: PROTOCOL_UDP, ttl: 64, id: 7, tos: 0, dontFragment: false, moreFragments: false, fragmentOffset: 0,
  options: new Uint8Array(0), payload: new Uint8Array(0), ...part,
});

describe('addresses', () => {
  it('are read strictly and written back', () => {
    expect(formatIpv4(parseIpv4('255.254.3.0') as number)).toBe('255.254.3.0');
    for (const bad of ['1.2.3', '1.2.3.256', '01.2.3.4', '1.2.3.4.5', '', ' 1.2.3.4', '1.2.3.-4']) expect(parseIpv4(bad)).toBeUndefined();
    expect(formatMac(parseMac('52-54-00-AB-cd-01') as Uint8Array)).toBe('52:54:00:ab:cd:01');
    expect(parseMac('52:54:00:ab:cd')).toBeUndefined();
    expect(macKey(hex('ffeeddccbbaa'))).toBe(0xffee_ddcc_bbaa);
    const subnet = parseSubnet('10.1.2.3/20');
    expect(subnet).toEqual({ base: ip('10.1.0.0'), prefix: 20 });
    expect(subnetBroadcast(subnet as NonNullable<typeof subnet>)).toBe(ip('10.1.15.255'));
    expect(inSubnet(ip('255.1.2.3'), { base: 0, prefix: 0 })).toBe(true);
    expect(formatMac(multicastMac(ip('224.129.2.3')))).toBe('01:00:5e:01:02:03');
  });
});

describe('checksums', () => {
  it('agree with the example of RFC 1071 and take odd lengths', () => {
    expect(finishChecksum(addWords(0, hex('0001 f203 f4f5 f6f7')))).toBe(~0xddf2 & 0xffff);
    expect(checksum(hex('0001 02'))).toBe(~0x0201 & 0xffff);
  });
});

describe('Ethernet', () => {
  it('reads plain, tagged, double-tagged and 802.3 frames', () => {
    const plain = hex('ffffffffffff 525400123456 0800 01020304');
    expect(decodeEthernet(plain)).toMatchObject({ type: ETHERTYPE_IPV4, tags: [], payload: hex('01020304') });
    const tagged = hex('ffffffffffff 525400123456 88a8 0064 8100 a00a 0806 aabb');
    const frame = decodeEthernet(tagged);
    expect(frame).toMatchObject({ type: 0x0806, tags: [{ tpid: 0x88a8, tci: 0x64 }, { tpid: ETHERTYPE_VLAN, tci: 0xa00a }], payload: hex('aabb') });
    expect(encodeEthernet(frame as NonNullable<typeof frame>)).toEqual(tagged);
    expect(decodeEthernet(hex('0180c2000000 525400123456 0003 424203 000000'))).toMatchObject({ type: 3, payload: hex('424203') });
    expect(decodeEthernet(plain.subarray(0, 13))).toBeUndefined();
    expect(decodeEthernet(tagged.subarray(0, 17))).toBeUndefined();
  });
});

describe('ARP', () => {
  it('reads a request and writes the reply', () => {
    const request = hex('0001 0800 06 04 0001 525400123401 0a000001 000000000000 0a000002');
    expect(decodeArp(concat([request, new Uint8Array(18)]))).toMatchObject({ operation: ARP_REQUEST, senderIp: ip('10.0.0.1'), targetIp: ip('10.0.0.2') });
    const reply = encodeArp({ operation: ARP_REPLY, senderMac: hex('525400123402'), senderIp: ip('10.0.0.2'), targetMac: hex('525400123401'), targetIp: ip('10.0.0.1') });
    expect(reply).toEqual(hex('0001 0800 06 04 0002 525400123402 0a000002 525400123401 0a000001'));
    expect(decodeArp(hex('0001 86dd 06 10 0001').slice())).toBeUndefined();
  });
});

describe('IPv4', () => {
  it('agrees with a known header', () => {
    const known = hex('4500 0073 0000 4000 4011 b861 c0a80001 c0a800c7');
    const whole = concat([known, new Uint8Array(0x73 - 20)]);
    expect(decodeIpv4(whole)).toMatchObject({ src: ip('192.168.0.1'), dst: ip('192.168.0.199'), protocol: PROTOCOL_UDP, ttl: 64, dontFragment: true });
    expect(encodeIpv4(packet({ id: 0, dontFragment: true, payload: new Uint8Array(0x73 - 20) }))).toEqual(whole);
    whole[8] ^= 1;
    expect(decodeIpv4(whole)).toBeUndefined();
  });

  it('carries options, and refuses broken ones', () => {
    const options = encodeIpv4Options([{ type: OPTION_ROUTER_ALERT, data: hex('0000') }, { type: 7, data: hex('04 00000000') }]);
    expect(options.length % 4).toBe(0);
    const decoded = decodeIpv4(encodeIpv4(packet({ options, payload: bytesOf('x') })));
    expect(decodeIpv4Options(decoded?.options as Uint8Array)).toEqual([{ type: OPTION_ROUTER_ALERT, data: hex('0000') }, { type: 7, data: hex('04 00000000') }]);
    expect(decodeIpv4Options(hex('94 01 0000'))).toBeUndefined();
    expect(decodeIpv4Options(hex('94 09 0000'))).toBeUndefined();
    expect(decodeIpv4Options(hex('01 01 94'))).toBeUndefined();
  });

  it('fragments and reassembles in any order', () => {
    const options = encodeIpv4Options([{ type: OPTION_ROUTER_ALERT, data: hex('0000') }, { type: 7, data: hex('04 00000000') }]);
    const whole = packet({ payload: pattern(4000), options });
    const fragments = fragmentIpv4(whole, 700) as Ipv4Packet[];
    expect(fragments.length).toBeGreaterThan(5);
    expect(fragments[1].options.length).toBe(4);
    for (const fragment of fragments) expect(encodeIpv4(fragment).length).toBeLessThanOrEqual(700);
    const random = new Random(3);
    for (let round = 0; round < 20; round++) {
      const reassembler = new Ipv4Reassembler(new ManualClock());
      const order = [...fragments, fragments[round % fragments.length]];
      for (let i = order.length - 1; i > 0; i--) {
        const j = random.below(i + 1);
        [order[i], order[j]] = [order[j], order[i]];
      }
      const results = order.map(fragment => reassembler.accept(fragment)).filter(result => result !== undefined);
      expect(results).toHaveLength(1);
      expect(results[0]).toEqual(whole);
    }
    expect(fragmentIpv4(packet({ payload: pattern(2000), dontFragment: true }), 1500)).toBeUndefined();
  });

  it('bounds what waits for reassembly', () => {
    const clock = new ManualClock();
    const reassembler = new Ipv4Reassembler(clock, { datagrams: 4, bytes: 4000, timeoutNs: 1000 });
    const piece = (id: number, fragmentOffset: number, length: number, moreFragments = true): Ipv4Packet => packet({ id, fragmentOffset, moreFragments, payload: new Uint8Array(length) });
    for (let id = 0; id < 10; id++) reassembler.accept(piece(id, 0, 8));
    expect(reassembler.pending).toEqual({ datagrams: 4, bytes: 32 });
    for (let at = 0; at < 10; at++) reassembler.accept(piece(20, at * 800, 800));
    expect(reassembler.pending.bytes).toBeLessThanOrEqual(4000);
    clock.advance(2000);
    reassembler.accept(piece(21, 0, 8));
    expect(reassembler.pending).toEqual({ datagrams: 1, bytes: 8 });
    expect(reassembler.stats.timedOut).toBeGreaterThan(0);
  });

  it('gives up on overlaps and on datagrams beyond 65,535 bytes', () => {
    const reassembler = new Ipv4Reassembler(new ManualClock());
    const piece = (fragmentOffset: number, length: number, moreFragments: boolean): Ipv4Packet => packet({ fragmentOffset, moreFragments, payload: new Uint8Array(length) });
    expect(reassembler.accept(piece(0, 16, true))).toBeUndefined();
    expect(reassembler.accept(piece(8, 16, false))).toBeUndefined();
    expect(reassembler.pending.datagrams).toBe(0);
    expect(reassembler.accept(piece(65_528, 16, false))).toBeUndefined();
    expect(reassembler.accept(piece(0, 12, true))).toBeUndefined();
    expect(reassembler.pending.datagrams).toBe(0);
  });
});

describe('ICMP', () => {
  it('reads and writes echo, and quotes in errors', () => {
    const echo = encodeIcmp(icmpEcho(0x1234, 5, bytesOf('abc')));
    expect(checksum(echo)).toBe(0);
    const message = decodeIcmp(echo);
    expect(echoIds(message as NonNullable<typeof message>)).toEqual({ id: 0x1234, sequence: 5 });
    const about = packet({ payload: encodeUdp({ srcPort: 1000, dstPort: 69, payload: pattern(1000) }, 1, 2) });
    const error = icmpError(ICMP_UNREACHABLE, 3, about);
    expect(error.payload.length).toBe(548);
    const quoted = decodeQuotedIpv4(error.payload);
    expect(quotedPorts(quoted?.payload as Uint8Array)).toEqual({ srcPort: 1000, dstPort: 69 });
  });
});

describe('UDP', () => {
  it('checks the pseudo-header, takes a missing checksum, never sends one', () => {
    const src = ip('10.0.0.1');
    const dst = ip('10.0.0.2');
    const bytes = encodeUdp({ srcPort: 1, dstPort: 2, payload: bytesOf('hello') }, src, dst);
    expect(decodeUdp(concat([bytes, new Uint8Array(9)]), src, dst)).toMatchObject({ srcPort: 1, dstPort: 2, payload: bytesOf('hello') });
    expect(decodeUdp(bytes, src, dst + 1)).toBeUndefined();
    bytes.fill(0, 6, 8);
    expect(decodeUdp(bytes, src, dst + 1)).toBeDefined();
    for (let i = 0; i < 70_000; i += 7) {
      const one = encodeUdp({ srcPort: i & 0xffff, dstPort: 0xffff, payload: new Uint8Array(0) }, 0, 0);
      expect((one[6] << 8) | one[7]).not.toBe(0);
    }
  });
});

describe('TCP segments', () => {
  it('agree with a hand-made SYN', () => {
    const src = ip('10.0.0.1');
    const dst = ip('10.0.0.2');
    const syn = encodeTcp({ srcPort: 1024, dstPort: 80, seq: 0xdead_beef, ack: 0, flags: SYN, window: 0xffff, urgent: 0, options: { mss: 1460, windowScale: 7, sackPermitted: true }, payload: new Uint8Array(0) }, src, dst);
    expect(Buffer.from(syn).toString('hex').replace(/^(.{32})..../, '$1cccc')).toBe('04000050deadbeef000000008002ffffcccc0000' + '020405b4' + '01030307' + '01010402');
    expect(decodeTcp(syn, src, dst)).toMatchObject({ seq: 0xdead_beef, flags: SYN, options: { mss: 1460, windowScale: 7, sackPermitted: true } });
    expect(decodeTcp(syn, src, dst + 1)).toBeUndefined();
  });

  it('make the round trip', () => {
    const segment = { srcPort: 5, dstPort: 6, seq: 7, ack: 8, flags: ACK | PSH, window: 9, urgent: 3, options: { timestamps: { value: 0xffff_ffff, echo: 1 } }, payload: bytesOf('odd') };
    expect(decodeTcp(encodeTcp(segment, 1, 2), 1, 2)).toEqual(segment);
  });
});
