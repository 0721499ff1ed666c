import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parseIpv4, parseMac } from '../../src/net/address.js';
import { ARP_REPLY, encodeArp } from '../../src/net/arp.js';
import { encodeEthernet, ETHERTYPE_ARP, ETHERTYPE_IPV4 } from '../../src/net/ethernet.js';
import { encodeIpv4, fragmentIpv4, PROTOCOL_TCP, PROTOCOL_UDP } from '../../src/net/ipv4.js';
import { PcapngWriter } from '../../src/net/pcapng.js';
import { ACK, encodeTcp } from '../../src/net/tcp/segment.js';
import { encodeUdp } from '../../src/net/udp.js';
import { utf8 } from '../../src/pxe/bytes.js';
import { blankDhcp, encodeDhcp, OPT, typeOption } from '../../src/pxe/dhcp/codec.js';
import { encodeTftp } from '../../src/pxe/tftp/codec.js';
import { cli } from '../support/cli.js';
import { patternBytes } from '../pxe/support.js';

const folder = mkdtempSync(join(tmpdir(), 'vmlet-lint-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};

const MAC_A = parseMac('52:54:00:00:00:01')!;
const MAC_B = parseMac('52:54:00:00:00:02')!;

const packet = (protocol: number, src: string, dst: string, payload: Uint8Array, more: { mtu?: number } = {}): Uint8Array[] => {
  const whole = { src: parseIpv4(src)!, dst: parseIpv4(dst)!, protocol, ttl: 64, id: 7, tos: 0, dontFragment: false, moreFragments: false, fragmentOffset: 0, options: new Uint8Array(0), payload };
  return fragmentIpv4(whole, more.mtu ?? 1500)!.map(part => encodeEthernet({ dst: MAC_B, src: MAC_A, tags: [], type: ETHERTYPE_IPV4, payload: encodeIpv4(part) }));
};
const udp = (src: string, srcPort: number, dst: string, dstPort: number, payload: Uint8Array, more: { mtu?: number; checksum?: number } = {}): Uint8Array[] => {
  const bytes = encodeUdp({ srcPort, dstPort, payload }, parseIpv4(src)!, parseIpv4(dst)!);
  if (more.checksum !== undefined) [bytes[6], bytes[7]] = [more.checksum >> 8, more.checksum];
  return packet(PROTOCOL_UDP, src, dst, bytes, more);
};
const tcp = (src: string, srcPort: number, dst: string, dstPort: number, text: string): Uint8Array[] =>
  packet(PROTOCOL_TCP, src, dst, encodeTcp({ srcPort, dstPort, seq: 1, ack: 1, flags: ACK, window: 1000, urgent: 0, options: {}, payload: utf8(text) }, parseIpv4(src)!, parseIpv4(dst)!));

const capture = (frames: readonly Uint8Array[]): Uint8Array => {
  const parts: Uint8Array[] = [];
  const writer = new PcapngWriter(bytes => parts.push(bytes.slice()));
  const id = writer.addInterface({ name: 'lan' });
  frames.forEach((frame, i) => writer.packet(id, 1_700_000_000_000_000_000n + BigInt(i) * 1_000_000n, frame));
  return Buffer.concat(parts);
};
const discover = (): Uint8Array[] =>
  udp('0.0.0.0', 68, '255.255.255.255', 67, encodeDhcp({ ...blankDhcp('request', MAC_A, 1), options: new Map([[OPT.messageType, typeOption('DISCOVER')], [OPT.vendorClass, utf8('PXEClient:Arch:00000:UNDI:002001')]]) }).bytes);

describe('netboot lint', () => {
  it('explains a capture and says what is wrong with it: exit code 1', async () => {
    const path = file('bad.pcapng', capture([...discover(), ...udp('10.0.0.9', 2001, '10.0.0.1', 69, encodeTftp({ op: 'rrq', file: 'pxelinux.0', mode: 'octet', options: new Map() })), ...udp('10.0.0.1', 3000, '10.0.0.9', 2001, encodeTftp({ op: 'error', code: 1, message: 'File not found' }))]));
    const { code, stdout } = await cli(['netboot', 'lint', path]);
    expect(stdout).toMatch(/0\.000 DISCOVER, 52:54:00:00:00:01, pxe bios/);
    expect(stdout).toMatch(/error: 0\.000 52:54:00:00:00:01: no server answered 1 DISCOVER[^\n]* \[no-offer\]/);
    expect(stdout).toMatch(/PXE-T01, the file is not where the boot options say \[tftp-error\]/);
    expect(stdout).toMatch(/2 errors, 0 warnings\n$/);
    expect(code).toBe(1);
  });

  it('puts fragments together, forgives checksums that the sending card was to compute', async () => {
    const rrq = encodeTftp({ op: 'rrq', file: 'big', mode: 'octet', options: new Map([['blksize', '4096']]) });
    const oack = encodeTftp({ op: 'oack', options: new Map([['blksize', '4096']]) });
    const data = encodeTftp({ op: 'data', block: 1, data: patternBytes(4000) });
    const frames = [
      ...udp('10.0.0.9', 2001, '10.0.0.1', 69, rrq, { checksum: 0x1234 }), ...udp('10.0.0.1', 3000, '10.0.0.9', 2001, oack), ...udp('10.0.0.9', 2001, '10.0.0.1', 3000, encodeTftp({ op: 'ack', block: 0 })),
      ...udp('10.0.0.1', 3000, '10.0.0.9', 2001, data), ...udp('10.0.0.9', 2001, '10.0.0.1', 3000, encodeTftp({ op: 'ack', block: 1 })),
    ];
    expect(frames.length).toBe(7);
    const { code, stdout } = await cli(['netboot', 'lint', '--json', file('fragments.pcapng', capture(frames))]);
    const report = JSON.parse(stdout) as { errors: number; files: { steps: string[]; findings: { code: string }[] }[] };
    expect(report.files[0].steps.at(-1)).toMatch(/big is sent: 1 blocks/);
    expect(report.files[0].findings.map(finding => finding.code)).toEqual(['tftp-blksize-mtu']);
    expect(code).toBe(0);
  });

  it('HTTP: a missing initrd, a server that gives no answer', async () => {
    const path = file('http.pcapng', capture([
      ...tcp('10.0.0.9', 4000, '10.0.0.1', 80, 'GET /vmlinuz HTTP/1.1\r\nHost: a\r\n\r\n'), ...tcp('10.0.0.1', 80, '10.0.0.9', 4000, 'HTTP/1.1 200 OK\r\n\r\n'),
      ...tcp('10.0.0.9', 4001, '10.0.0.1', 80, 'GET /initrd.gz HTTP/1.1\r\n\r\n'), ...tcp('10.0.0.1', 80, '10.0.0.9', 4001, 'HTTP/1.1 404 Not Found\r\n\r\n'),
      ...tcp('10.0.0.9', 4002, '10.0.0.7', 80, 'GET /x HTTP/1.0\r\n\r\n'),
    ]));
    const { code, stdout } = await cli(['netboot', 'lint', '-q', path]);
    expect(stdout).toMatch(/GET \/initrd\.gz: 10\.0\.0\.1:80 answers 404 Not Found: the script or the rules name a file that the server does not have \[http-error\]/);
    expect(stdout).toMatch(/GET \/x: 10\.0\.0\.7:80 took the request and gave no answer \[http-silent\]/);
    expect(code).toBe(1);
  });

  it('a stale ARP entry after a failover', async () => {
    const arp = (mac: Uint8Array): Uint8Array => encodeEthernet({ dst: MAC_A, src: mac, tags: [], type: ETHERTYPE_ARP, payload: encodeArp({ operation: ARP_REPLY, senderMac: mac, senderIp: parseIpv4('10.0.0.1')!, targetMac: MAC_A, targetIp: parseIpv4('10.0.0.9')! }) });
    const rrq = encodeTftp({ op: 'rrq', file: 'f', mode: 'octet', options: new Map() });
    const { stdout } = await cli(['netboot', 'lint', file('arp.pcapng', capture([arp(MAC_B), ...udp('10.0.0.9', 2001, '10.0.0.1', 69, rrq), arp(parseMac('52:54:00:00:00:03')!), ...udp('10.0.0.9', 2002, '10.0.0.1', 69, rrq)]))]);
    expect(stdout).toMatch(/packets for 10\.0\.0\.1 still go to 52:54:00:00:00:02, but 52:54:00:00:00:03 has taken that address[^\n]*\[stale-arp\]/);
  });

  it('says what rules would give the clients of a capture', async () => {
    const path = file('rules.pcapng', capture(discover()));
    expect((await cli(['netboot', 'lint', path, '--rules', file('a.yaml', '- {match: {arch: 0}, file: pxelinux.0}')])).stdout).toMatch(/by the rules 52:54:00:00:00:01 boots pxelinux\.0 \(rule 1\)/);
    expect((await cli(['netboot', 'lint', path, '--rules', file('b.yaml', '- {match: {arch: 7}, file: x.efi}')])).stdout).toMatch(/gets nothing: no boot rule matches \(rule 1: architecture 0 is not 7\) \[no-rule\]/);
  });

  it('iPXE scripts and rules files', async () => {
    const script = await cli(['netboot', 'lint', file('x.ipxe', '#!ipxe\nkernel a\ninitrd b\nboot\n')]);
    expect(script.stdout).toMatch(/warning: line 4: the kernel's command line has no initrd=b/);
    expect(script.code).toBe(0);
    const rules = await cli(['netboot', 'lint', file('r.yaml', 'rules:\n  - {file: a}\n  - {file: b}\n')]);
    expect(rules.stdout).toMatch(/rule 1 matches every client/);
    const wrong = await cli(['netboot', 'lint', file('w.yaml', 'rules:\n  - {file: a, kernel: b}\n')]);
    expect(wrong.stdout).toMatch(/w\.yaml:2: rules\[0\]: the rule says file and kernel: one is possible/);
    expect(wrong.code).toBe(1);
  });

  it('never throws on damage, and says what is no capture', async () => {
    const good = capture([...discover(), ...discover(), ...discover()]);
    for (let cut = 28; cut < good.length; cut += 97) {
      const { stderr } = await cli(['netboot', 'lint', file('cut.pcapng', good.subarray(0, cut))]);
      expect(stderr).not.toContain('internal error');
    }
    for (let seed = 1; seed < 60; seed++) {
      const bytes = Uint8Array.from(good);
      patternBytes(40, seed).forEach((value, i) => (bytes[(value * 131 + i * 977 + seed * 31) % bytes.length] = value));
      expect((await cli(['netboot', 'lint', file('damaged.pcapng', bytes)])).stderr).not.toContain('internal error');
    }
    expect(await cli(['netboot', 'lint', file('x.bin', patternBytes(100))])).toMatchObject({ code: 125, stderr: expect.stringMatching(/no capture, iPXE script or rules file/) });
    expect(await cli(['netboot', 'lint', '/no/such.pcap'])).toMatchObject({ code: 125, stderr: expect.stringMatching(/there is no such file/) });
  });
});
