import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Prng } from '../../src/host/backends/entropy.js';
import { concat } from '../../src/net/bytes.js';
import { DNS_A, dnsQuery, encodeDns } from '../../src/net/dns-message.js';
import { Gateway } from '../../src/net/gateway.js';
import { icmpEcho } from '../../src/net/icmp.js';
import { IpHost } from '../../src/net/ip-host.js';
import { Capture } from '../../src/net/pcap.js';
import { PcapngWriter, readCapture } from '../../src/net/pcapng.js';
import { bytesOf, hex, ip, mac, pattern, TestNet } from './support.js';

const haveTshark = spawnSync('tshark', ['--version'], { stdio: 'ignore' }).status === 0;

const write = (fill: (writer: PcapngWriter) => void): Uint8Array => {
  const parts: Uint8Array[] = [];
  fill(new PcapngWriter(bytes => void parts.push(bytes)));
  return concat(parts);
};

/** A guest that talks to a gateway: ARP, ICMP, fragments, DNS by UDP and TCP, a refused connection. */
const conversation = (): Uint8Array => {
  const parts: Uint8Array[] = [];
  const net = new TestNet();
  const capture = new Capture(bytes => void parts.push(bytes), net.clock, 1_700_000_000);
  const gateway = new Gateway({ port: net.hub.connect({ name: 'gateway' }), clock: net.clock, random: new Prng(1, 'gateway') });
  gateway.zone.addHost('server', ip('10.0.2.20'));
  const port = capture.pcap(net.hub.connect({ name: 'guest', impair: { delayNs: 100_000 } }), { name: 'guest' });
  const guest = new IpHost({ port, clock: net.clock, random: new Prng(1, 'guest'), mac: mac(15), address: ip('10.0.2.15'), prefix: 24, router: ip('10.0.2.2') });
  guest.bindUdp(5353, () => {});
  const query = encodeDns(dnsQuery(1, 'server.lab', DNS_A)) as Uint8Array;
  guest.sendIcmp(ip('10.0.2.2'), icmpEcho(7, 1, pattern(3000)));
  net.run(10);
  guest.sendUdp({ srcPort: 5353, dst: ip('10.0.2.2'), dstPort: 53, payload: query });
  guest.sendUdp({ srcPort: 5000, dst: ip('8.8.8.8'), dstPort: 53, payload: query });
  net.run(10);
  const connection = guest.tcp.connect(guest.address, { address: ip('10.0.2.2'), port: 53 }, {});
  net.run(10);
  connection?.write(concat([Uint8Array.of(0, query.length), query]));
  net.run(10);
  connection?.end();
  net.run(10);
  guest.tcp.connect(guest.address, { address: ip('10.0.2.2'), port: 81 }, {});
  net.run(1000);
  return concat(parts);
};

describe('captures', () => {
  it('are read back as they were written', () => {
    const file = write(writer => {
      expect(writer.addInterface({ name: 'eth0', description: 'first' })).toBe(0);
      expect(writer.addInterface({ name: 'eth1' })).toBe(1);
      writer.packet(1, 1_700_000_000_123_456_789n, pattern(61), { direction: 'in', comment: 'a note' });
      writer.packet(0, 5n, pattern(64));
    });
    expect(readCapture(file)).toEqual({
      interfaces: [{ name: 'eth0', linkType: 1 }, { name: 'eth1', linkType: 1 }],
      packets: [
        { interfaceId: 1, atNs: 1_700_000_000_123_456_789n, frame: pattern(61), length: 61, direction: 'in', comment: 'a note' },
        { interfaceId: 0, atNs: 5n, frame: pattern(64), length: 64 },
      ],
    });
  });

  it('of the older format are read in both byte orders', () => {
    const little = hex('d4c3b2a1 0200 0400 00000000 00000000 ffff0000 01000000 0a000000 05000000 02000000 09000000 aabb');
    expect(readCapture(little)).toEqual({ interfaces: [{ name: '', linkType: 1 }], packets: [{ interfaceId: 0, atNs: 10_000_005_000n, frame: hex('aabb'), length: 9 }] });
    const big = hex('a1b23c4d 0002 0004 00000000 00000000 0000ffff 00000001 0000000a 00000005 00000002 00000009 aabb');
    expect(readCapture(big).packets[0].atNs).toBe(10_000_000_005n);
    expect(readCapture(little.subarray(0, -1))).toMatchObject({ packets: [], problem: 'the packet at 24 is cut short' });
  });

  it('in big-endian pcapng with coarse times are read', () => {
    const file = hex(
      '0a0d0d0a 0000001c 1a2b3c4d 0001 0000 ffffffffffffffff 0000001c' + '00000001 00000014 0001 0000 00000000 00000014' + '00000006 00000024 00000000 00000000 000f4240 00000002 00000002 aabb0000 00000024',
    );
    expect(readCapture(file)).toMatchObject({ packets: [{ atNs: 1_000_000_000n, frame: hex('aabb') }] });
  });

  it('that are damaged say where, and keep what came before', () => {
    const file = write(writer => {
      writer.addInterface({ name: 'x' });
      writer.packet(0, 1n, pattern(60));
      writer.packet(0, 2n, pattern(60));
    });
    const cut = readCapture(file.subarray(0, -10));
    expect(cut.packets).toHaveLength(1);
    expect(cut.problem).toContain('cut short');
    expect(readCapture(bytesOf('this is no capture')).problem).toContain('neither');
  });

  it('are the same for the same run', () => {
    expect(Buffer.compare(conversation(), conversation())).toBe(0);
  });

  it('of a conversation can be decoded again', () => {
    const { packets, problem } = readCapture(conversation());
    expect(problem).toBeUndefined();
    expect(packets.length).toBeGreaterThan(20);
    expect(packets[0]).toMatchObject({ direction: 'out', atNs: 1_700_000_000_000_000_000n });
    for (let i = 1; i < packets.length; i++) expect(packets[i].atNs).toBeGreaterThanOrEqual(packets[i - 1].atNs);
  });

  it.skipIf(!haveTshark)('hold nothing malformed for tshark', () => {
    const folder = mkdtempSync(join(tmpdir(), 'vmlet-net-'));
    try {
      const file = join(folder, 'capture.pcapng');
      writeFileSync(file, conversation());
      const checks = ['ip.check_checksum', 'udp.check_checksum', 'tcp.check_checksum'].flatMap(name => ['-o', `${name}:TRUE`]);
      const read = (...more: string[]): string[] => execFileSync('tshark', ['-r', file, '-n', ...checks, ...more], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim().split('\n');
      const bad = read('-Y', '_ws.malformed or (_ws.expert.severity >= 0x600000 and not tcp.flags.reset == 1) or ip.checksum.status == 0 or tcp.checksum.status == 0 or udp.checksum.status == 0');
      expect(bad).toEqual(['']);
      const protocols = read('-T', 'fields', '-e', '_ws.col.Protocol');
      expect(new Set(protocols)).toEqual(new Set(['ARP', 'ICMP', 'IPv4', 'DNS', 'TCP']));
      expect(read('-T', 'fields', '-e', 'dns.a').filter(line => line === '10.0.2.20')).toHaveLength(2);
      expect(read('-T', 'fields', '-e', 'frame.interface_name')[0]).toBe('guest');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
