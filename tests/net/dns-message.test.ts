import { describe, expect, it } from 'vitest';
import { decodeDns, decodeDnsName, DNS_A, DNS_AAAA, DNS_CNAME, DNS_PTR, DNS_TXT, dnsQuery, type DnsMessage, encodeDns, parseReverseName, reverseName } from '../../src/net/dns-message.js';
import { concat } from '../../src/net/bytes.js';
import { DnsService, DnsZone } from '../../src/net/dns.js';
import { bytesOf, hex, ip } from './support.js';

describe('DNS messages', () => {
  it('agree with a captured layout', () => {
    expect(encodeDns(dnsQuery(0x1234, 'www.example.com', DNS_A))).toEqual(hex('1234 0100 0001 0000 0000 0000 03777777 076578616d706c65 03636f6d 00 0001 0001'));
  });

  it('make the round trip, with names compressed', () => {
    const message: DnsMessage = {
      ...dnsQuery(1, 'www.Example.com', DNS_A),
      response: true,
      recursionAvailable: true,
      answers: [
        { name: 'www.Example.com', type: DNS_CNAME, class: 1, ttl: 5, data: { kind: 'name', name: 'web.example.com' } },
        { name: 'web.example.com', type: DNS_A, class: 1, ttl: 5, data: { kind: 'A', address: ip('1.2.3.4') } },
        { name: 'web.example.com', type: DNS_AAAA, class: 1, ttl: 5, data: { kind: 'AAAA', address: hex('20010db8000000000000000000000001') } },
        { name: '4.3.2.1.in-addr.arpa', type: DNS_PTR, class: 1, ttl: 0xffff_ffff, data: { kind: 'name', name: 'web.example.com' } },
        { name: 'a\\.b.example.com', type: DNS_TXT, class: 1, ttl: 0, data: { kind: 'raw', bytes: bytesOf('\x03abc') } },
      ],
    };
    const bytes = encodeDns(message) as Uint8Array;
    expect(decodeDns(bytes)).toEqual(message);
    expect(bytes.length).toBeLessThan(200);
  });

  it('cut an answer that is too long', () => {
    const answers = Array.from({ length: 100 }, (_, i) => ({ name: `host${i}.example.com`, type: DNS_A, class: 1, ttl: 1, data: { kind: 'A' as const, address: i } }));
    const bytes = encodeDns({ ...dnsQuery(1, 'example.com', DNS_A), response: true, answers }, 512) as Uint8Array;
    expect(bytes.length).toBeLessThanOrEqual(512);
    expect(decodeDns(bytes)).toMatchObject({ truncated: true, answers: [] });
  });

  it('refuse loops, forward pointers, cut names and impossible labels', () => {
    const at = (text: string): unknown => decodeDnsName(concat([new Uint8Array(12), hex(text)]), 12);
    expect(at('c00c')).toBeUndefined();
    expect(at('0161 c00c')).toBeUndefined();
    expect(at('c00e 00')).toBeUndefined();
    expect(at('0361')).toBeUndefined();
    expect(at('4161')).toBeUndefined();
    expect(at('c0')).toBeUndefined();
    expect(decodeDnsName(hex('0161 c002 c000'), 4)).toBeUndefined();
    const long = concat(Array.from({ length: 5 }, () => concat([Uint8Array.of(63), new Uint8Array(63).fill(97)])));
    expect(decodeDnsName(concat([long, Uint8Array.of(0)]), 0)).toBeUndefined();
    expect(encodeDns(dnsQuery(1, 'a..b', DNS_A))).toBeUndefined();
    expect(encodeDns(dnsQuery(1, 'x'.repeat(64), DNS_A))).toBeUndefined();
  });

  it('know reverse names', () => {
    expect(reverseName(ip('10.0.2.15'))).toBe('15.2.0.10.in-addr.arpa');
    expect(parseReverseName('15.2.0.10.IN-ADDR.ARPA')).toBe(ip('10.0.2.15'));
    expect(parseReverseName('2.0.10.in-addr.arpa')).toBeUndefined();
  });
});

describe('the name service', () => {
  const ask = (service: DnsService, query: Uint8Array, transport: 'udp' | 'tcp' = 'udp'): Uint8Array[] => {
    const replies: Uint8Array[] = [];
    service.handle(query, transport, reply => void replies.push(reply));
    return replies;
  };

  it('answers format errors, and nothing to answers', () => {
    const service = new DnsService(new DnsZone());
    const query = encodeDns(dnsQuery(77, 'a.lab', DNS_A)) as Uint8Array;
    expect(decodeDns(ask(service, query.subarray(0, query.length - 1))[0])).toMatchObject({ id: 77, rcode: 1, response: true });
    query[2] |= 0x80;
    expect(ask(service, query)).toEqual([]);
    expect(ask(service, Uint8Array.of(1, 2, 3))).toEqual([]);
  });

  it('survives an alias that leads to itself', () => {
    const zone = new DnsZone();
    zone.addAlias('a', 'b.lab');
    zone.addAlias('b', 'a.lab');
    const reply = decodeDns(ask(new DnsService(zone), encodeDns(dnsQuery(1, 'a.lab', DNS_A)) as Uint8Array)[0]);
    expect(reply?.answers).toHaveLength(8);
  });

  it('bounds the queries under way', () => {
    const waiting: ((reply: Uint8Array | undefined) => void)[] = [];
    const service = new DnsService(new DnsZone(), (_query, done) => void waiting.push(done));
    for (let i = 0; i < 200; i++) ask(service, encodeDns(dnsQuery(i, 'example.org', DNS_A)) as Uint8Array);
    expect(waiting).toHaveLength(128);
    expect(service.stats.failed).toBe(72);
  });

  it('cuts long answers for UDP only, by the size the asker takes', () => {
    const answers = Array.from({ length: 60 }, (_, i) => ({ name: `host${i}.example.org`, type: DNS_A, class: 1, ttl: 1, data: { kind: 'A' as const, address: i } }));
    const service = new DnsService(new DnsZone(), (query, done) => done(encodeDns({ ...(decodeDns(query) as DnsMessage), response: true, additionals: [], answers })));
    const plain = dnsQuery(1, 'example.org', DNS_A);
    const edns = { ...plain, additionals: [{ name: '', type: 41, class: 4096, ttl: 0, data: { kind: 'raw' as const, bytes: new Uint8Array(0) } }] };
    const reply = (message: DnsMessage, transport: 'udp' | 'tcp'): DnsMessage | undefined => decodeDns(ask(service, encodeDns(message) as Uint8Array, transport)[0]);
    expect(reply(plain, 'udp')).toMatchObject({ truncated: true });
    expect(reply(edns, 'udp')?.answers).toHaveLength(60);
    expect(reply(plain, 'tcp')?.answers).toHaveLength(60);
  });
});
