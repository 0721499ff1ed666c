import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../src/host/clock.js';
import { Prng } from '../../src/host/backends/entropy.js';
import { decodeArp, encodeArp } from '../../src/net/arp.js';
import { decodeDns, DNS_A, DNS_CNAME, dnsQuery, encodeDns } from '../../src/net/dns-message.js';
import { decodeEthernet, encodeEthernet } from '../../src/net/ethernet.js';
import { Gateway } from '../../src/net/gateway.js';
import { decodeIcmp, encodeIcmp, icmpEcho } from '../../src/net/icmp.js';
import { decodeIpv4, decodeIpv4Options, encodeIpv4, type Ipv4Packet } from '../../src/net/ipv4.js';
import { ALL_ROUTERS, decodeIcmpv6, decodeIpv6, decodeNdpOptions, encodeIcmpv6, encodeIpv6, linkLocal, NEXT_ICMPV6, ROUTER_SOLICITATION } from '../../src/net/ipv6.js';
import { PcapngWriter, readCapture } from '../../src/net/pcapng.js';
import { concat } from '../../src/net/bytes.js';
import { decodeTcp, encodeTcp, SYN } from '../../src/net/tcp/segment.js';
import { decodeUdp, encodeUdp } from '../../src/net/udp.js';
import { Random } from '../support/random.js';
import { bytesOf, ip, mac, pattern } from './support.js';

const SRC = ip('10.0.2.15');
const DST = ip('10.0.2.2');

const ipv4 = (protocol: number, payload: Uint8Array, part: Partial<Ipv4Packet> = {}): Uint8Array =>
  encodeIpv4({ src: SRC, dst: DST, protocol, ttl: 64, id: 1, tos: 0, dontFragment: false, moreFragments: false, fragmentOffset: 0, options: new Uint8Array(0), payload, ...part });

const capture = (): Uint8Array => {
  const parts: Uint8Array[] = [];
  const writer = new PcapngWriter(bytes => void parts.push(bytes));
  writer.addInterface({ name: 'eth0', description: 'a port' });
  writer.packet(0, 123n, pattern(60), { direction: 'in', comment: 'first' });
  writer.packet(0, 456n, pattern(61), { direction: 'out' });
  return concat(parts);
};

const dns = encodeDns({
  ...dnsQuery(1, 'www.example.com', DNS_A),
  response: true,
  answers: [
    { name: 'www.example.com', type: DNS_CNAME, class: 1, ttl: 1, data: { kind: 'name', name: 'example.com' } },
    { name: 'example.com', type: DNS_A, class: 1, ttl: 1, data: { kind: 'A', address: 1 } },
  ],
}) as Uint8Array;
const tcp = encodeTcp({ srcPort: 1000, dstPort: 53, seq: 1, ack: 0, flags: SYN, window: 1000, urgent: 0, options: { mss: 1460, windowScale: 2, sackPermitted: true, timestamps: { value: 1, echo: 2 } }, payload: new Uint8Array(0) }, SRC, DST);
const udp = encodeUdp({ srcPort: 1000, dstPort: 53, payload: encodeDns(dnsQuery(1, 'a.lab', DNS_A)) as Uint8Array }, SRC, DST);
const arp = encodeArp({ operation: 1, senderMac: mac(15), senderIp: SRC, targetMac: mac(0), targetIp: DST });

const soliciting = linkLocal(mac(15));
const ipv6 = encodeIpv6({
  src: soliciting, dst: ALL_ROUTERS, nextHeader: NEXT_ICMPV6, hopLimit: 255,
  payload: encodeIcmpv6({ type: ROUTER_SOLICITATION, code: 0, body: concat([new Uint8Array(4), Uint8Array.of(1, 1), mac(15)]) }, soliciting, ALL_ROUTERS),
});
const readIpv6 = (bytes: Uint8Array): unknown => {
  const packet = decodeIpv6(bytes);
  const message = packet && decodeIcmpv6(packet, true);
  return message && decodeNdpOptions(message.body.subarray(4));
};

const decoders: [string, Uint8Array, (bytes: Uint8Array) => unknown][] = [
  ['Ethernet', encodeEthernet({ dst: mac(1), src: mac(2), tags: [{ tpid: 0x8100, tci: 5 }], type: 0x800, payload: bytesOf('abc') }), decodeEthernet],
  ['ARP', arp, decodeArp],
  ['IPv4', ipv4(17, udp), decodeIpv4],
  ['IPv4 options', Uint8Array.of(7, 7, 4, 1, 2, 3, 4, 0x94, 4, 0, 0, 0), decodeIpv4Options],
  ['ICMP', encodeIcmp(icmpEcho(1, 2, pattern(20))), decodeIcmp],
  ['IPv6', ipv6, readIpv6],
  ['UDP', udp, bytes => decodeUdp(bytes, SRC, DST)],
  ['TCP', tcp, bytes => decodeTcp(bytes, SRC, DST)],
  ['DNS', dns, decodeDns],
  ['captures', capture(), readCapture],
];

const mutate = (bytes: Uint8Array, random: Random): Uint8Array => {
  const copy = bytes.slice(0, random.below(4) === 0 ? random.below(bytes.length + 1) : bytes.length);
  for (let flips = random.below(6); flips > 0 && copy.length > 0; flips--) copy[random.below(copy.length)] = random.below(3) === 0 ? random.below(2) * 255 : random.u32();
  return copy;
};

describe('what comes from the wire', () => {
  it.each(decoders)('never makes the codec of %s throw', (_name, seed, decode) => {
    const random = new Random(seed.length);
    for (let length = 0; length <= seed.length; length++) decode(seed.slice(0, length));
    for (let round = 0; round < 5000; round++) decode(mutate(seed, random));
  });

  it('never breaks the gateway', () => {
    const clock = new ManualClock();
    const port = { onFrame: undefined as ((frame: Uint8Array) => void) | undefined, sent: 0, send: () => void port.sent++ };
    const gateway = new Gateway({ port, clock, random: new Prng(1, 'gateway') });
    const frame = (type: number, payload: Uint8Array): Uint8Array => encodeEthernet({ dst: gateway.host.mac, src: mac(15), tags: [], type, payload });
    const seeds = [
      frame(0x806, arp),
      frame(0x800, ipv4(17, udp)),
      frame(0x800, ipv4(6, tcp)),
      frame(0x800, ipv4(6, tcp, { dst: ip('8.8.8.8') })),
      frame(0x800, ipv4(1, encodeIcmp(icmpEcho(1, 2, pattern(20))))),
      frame(0x800, ipv4(17, udp.subarray(0, 24), { moreFragments: true })),
      frame(0x86dd, ipv6),
    ];
    const random = new Random(99);
    for (const seed of seeds) port.onFrame?.(seed);
    const answered = port.sent;
    expect(answered).toBeGreaterThan(3);
    for (let round = 0; round < 20_000; round++) {
      const bytes = mutate(seeds[random.below(seeds.length)], random);
      // With right checksums the fuzz goes deeper.
      if (bytes.length > 34 && random.below(2) === 0) {
        const header = 14 + (bytes[14] & 15) * 4;
        if (header <= bytes.length && header >= 34) {
          bytes.fill(0, 24, 26);
          let sum = 0;
          for (let i = 14; i < header; i += 2) sum += (bytes[i] << 8) | bytes[i + 1];
          while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
          bytes[24] = ~sum >>> 8;
          bytes[25] = ~sum;
        }
      }
      port.onFrame?.(bytes);
      if (round % 500 === 0) clock.advance(1e9);
    }
    const before = port.sent;
    port.onFrame?.(seeds[0]);
    expect(port.sent).toBe(before + 1);
  });
});
