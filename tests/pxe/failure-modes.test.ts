// The ways in which network boots fail in the field, each by its name, with the words that its user reads: in the client's failure, in the server's
// log, from `netboot lint`. How the ROM prints them is in rom-boot.test.ts.
import { describe, expect, it } from 'vitest';
import { ARP_REPLY, encodeArp } from '../../src/net/arp.js';
import { parseIpv4, parseMac } from '../../src/net/address.js';
import { capturedTraffic } from '../../src/net/capture-udp.js';
import { encodeEthernet, ETHERTYPE_ARP, ETHERTYPE_IPV4 } from '../../src/net/ethernet.js';
import { encodeIpv4, PROTOCOL_UDP } from '../../src/net/ipv4.js';
import { PcapngWriter, readCapture } from '../../src/net/pcapng.js';
import { encodeUdp } from '../../src/net/udp.js';
import type { Booter } from '../../src/pxe/booter.js';
import { utf8 } from '../../src/pxe/bytes.js';
import { serveDhcp } from '../../src/pxe/dhcp/attach.js';
import { DhcpClient, type DhcpClientOptions, type DhcpClientResult } from '../../src/pxe/dhcp/client.js';
import { blankDhcp, encodeDhcp, OPT, typeOption } from '../../src/pxe/dhcp/codec.js';
import { DhcpServer, type DhcpServerOptions } from '../../src/pxe/dhcp/server.js';
import { type CapturedHttp, explainExchange, lintIpxeScript } from '../../src/pxe/explain.js';
import { VirtualFiles } from '../../src/pxe/files.js';
import { HttpFileService } from '../../src/pxe/http/files.js';
import { PxeJournal } from '../../src/pxe/log.js';
import { RuleBooter } from '../../src/pxe/rule-booter.js';
import { tftpFailure } from '../../src/pxe/rom/boot.js';
import { ipxeScript } from '../../src/pxe/scripts.js';
import { TftpDownload, type TftpDownloadOptions, type TftpResult } from '../../src/pxe/tftp/client.js';
import { encodeTftp } from '../../src/pxe/tftp/codec.js';
import { TftpServer, type TftpServerOptions } from '../../src/pxe/tftp/server.js';
import { patternBytes, TestWire, type SeenDatagram } from './support.js';

const SUBNET = { network: '10.0.0.0', prefix: 24, pool: [{ from: '10.0.0.100', to: '10.0.0.150' }], leaseSeconds: 3600 };
const MAC = Uint8Array.of(0x52, 0x54, 0, 0, 0, 1);
const booter: Booter = { decide: ({ platform }) => ({ boot: 'file', file: `${platform}.0` }) };

/** A wire with one PXE client and the servers that are put on it. */
class Site {
  readonly wire = new TestWire(1);
  readonly journal = new PxeJournal();

  dhcp(address: string, options: Partial<DhcpServerOptions> = {}): this {
    serveDhcp(new DhcpServer({ clock: this.wire.clock, address, subnets: [SUBNET], unicastByMac: false, booter, log: this.journal, ...options }), this.wire.host(address));
    return this;
  }

  tftp(address: string, files: Record<string, Uint8Array>, options: Partial<TftpServerOptions> = {}): this {
    const virtual = new VirtualFiles();
    for (const [name, bytes] of Object.entries(files)) virtual.set(name, bytes);
    new TftpServer({ host: this.wire.host(address), clock: this.wire.clock, files: virtual, log: this.journal, ...options });
    return this;
  }

  boot(options: Partial<DhcpClientOptions> = {}): DhcpClientResult {
    let result: DhcpClientResult | undefined;
    const endpoint = this.wire.client('0.0.0.0', 68);
    new DhcpClient({ endpoint, clock: this.wire.clock, mac: MAC, random: () => 7, pxe: { architecture: 0, uuid: new Uint8Array(16) }, onDone: done => (result = done), ...options }).start();
    this.wire.run(300_000, () => result !== undefined);
    endpoint.close();
    return result!;
  }

  fetch(options: Partial<TftpDownloadOptions> = {}): TftpResult {
    let result: TftpResult | undefined;
    new TftpDownload({ endpoint: this.wire.host('10.0.0.9').bind(0), clock: this.wire.clock, server: { address: '10.0.0.1' }, file: 'f', onDone: done => (result = done), ...options }).start();
    this.wire.run(600_000, () => result !== undefined);
    this.wire.run(10_000);
    return result!;
  }

  /** What `netboot lint` says of all that passed. */
  lint(more: Parameters<typeof explainExchange>[1] = {}): string {
    return lintOf(this.wire.seen, more);
  }

  get log(): string {
    return this.journal.events.map(({ what, outcome, reason }) => `${what}: ${outcome}: ${reason ?? ''}`).join('\n');
  }
}

const lintOf = (seen: readonly SeenDatagram[], more: Parameters<typeof explainExchange>[1] = {}): string =>
  explainExchange(seen, more).findings.map(({ severity, code, text }) => `${severity} ${code}: ${text}`).join('\n');

/** The words of the ROM's screen for a download that failed. */
const screen = (result: TftpResult): string => {
  if (result.ok) throw new Error('it did not fail');
  const { code, title, reason } = tftpFailure(result, '10.0.0.1');
  return `${code}: ${title} ${reason}`;
};
const isOp = ({ bytes }: SeenDatagram, op: number): boolean => bytes[0] === 0 && bytes[1] === op;

describe('failure modes: DHCP', () => {
  it('no offer: nothing answers', () => {
    const site = new Site();
    expect(site.boot()).toEqual({ ok: false, stage: 'no-offer', reason: 'no DHCP server answered 4 DISCOVERs' });
    expect(site.lint()).toBe('error no-offer: no server answered 4 DISCOVERs: no DHCP server or relay on this wire, or its pool is empty');
  });

  it('no offer: the wrong relay', () => {
    const site = new Site().dhcp('10.0.0.1');
    const relay = site.wire.client('172.16.0.1', 67);
    const message = { ...blankDhcp('request', MAC, 1), giaddr: '172.16.0.1', hops: 1, options: new Map([[OPT.messageType, typeOption('DISCOVER')], [OPT.vendorClass, utf8('PXEClient')], [OPT.guid, new Uint8Array(17)]]) };
    relay.send({ address: '10.0.0.1', port: 67 }, encodeDhcp(message).bytes);
    site.wire.run(1000);
    expect(site.log).toBe('DISCOVER: ignored: it comes through the relay 172.16.0.1, which is in no subnet of ours');
    expect(site.lint()).toBe('error wrong-relay: no server answered; the requests came through the relay 172.16.0.1: no server has a subnet for it, or the relay sends to the wrong server');
  });

  it('two DHCP servers', () => {
    const site = new Site().dhcp('10.0.0.1', { booter: undefined }).dhcp('10.0.0.2', { subnets: [{ ...SUBNET, pool: [{ from: '10.0.0.200', to: '10.0.0.210' }] }] });
    // The client takes the one that has a file, whoever is faster.
    expect(site.boot()).toMatchObject({ ok: true, serverId: '10.0.0.2' });
    expect(site.lint()).toContain('warning two-servers: 2 DHCP servers offer addresses (10.0.0.1, 10.0.0.2); which one wins depends on who is faster');
    expect(site.log).toContain('REQUEST: note: the client took the offer of another server, 10.0.0.2');
  });

  it('a proxy offer after the lease offer: it is waited for; after the lease it is too late', () => {
    const late = (ms: number): Site => {
      const site = new Site().dhcp('10.0.0.1', { booter: undefined });
      const slow = new Site();
      slow.dhcp('10.0.0.2', { mode: 'proxy' });
      // The second server stands at the end of a long wire.
      const far = slow.wire.client('0.0.0.0', 68);
      const proxy = site.wire.client('10.0.0.2', 67);
      const timer = site.wire.clock.timer(() => proxy.send({ address: '255.255.255.255', port: 68 }, offer));
      let offer = new Uint8Array(0);
      far.onMessage = (_, bytes) => (offer = bytes.slice());
      proxy.onMessage = (_, bytes) => {
        if (timer.armed || offer.length > 0) return;
        far.send({ address: '255.255.255.255', port: 67 }, bytes);
        slow.wire.run(10);
        timer.arm(site.wire.clock.now + ms * 1e6);
      };
      return site;
    };
    const inTime = late(2000);
    expect(inTime.boot()).toMatchObject({ ok: true, serverId: '10.0.0.1', boot: { server: '10.0.0.2', file: 'bios.0' } });
    const tooLate = late(6000);
    expect(tooLate.boot()).toEqual({ ok: false, stage: 'no-boot-file', reason: '10.0.0.1 gave 10.0.0.100 but no boot file, and no ProxyDHCP server offered one' });
    tooLate.wire.run(10_000);
    expect(tooLate.lint()).toContain('warning late-proxy-offer: the ProxyDHCP offer of 10.0.0.2 comes after the lease was taken; the firmware no longer listens');
  });

  it('a loop from iPXE to iPXE', () => {
    const looping = new Site().dhcp('10.0.0.1', { booter: { decide: () => ({ boot: 'file', file: 'undionly.kpxe' }) } });
    looping.boot({ userClass: 'iPXE' });
    looping.boot({ userClass: 'iPXE' });
    expect(looping.lint()).toContain('error ipxe-loop: iPXE is given undionly.kpxe again and again: a rule for clients with user class iPXE is missing on 10.0.0.1');
    // Our own rules do not do that.
    const ours = new Site().dhcp('10.0.0.1', { booter: new RuleBooter({ rules: [{ file: 'undionly.kpxe' }] }) });
    expect(ours.boot({ userClass: 'iPXE' })).toMatchObject({ ok: false, stage: 'no-boot-file' });
    expect(ours.log).toContain('no boot file: rule 1: iPXE would load undionly.kpxe again and again; add a rule for iPXE (match: {userClass: iPXE}) before it');
  });

  it('architecture 9 against 7', () => {
    for (const architecture of [7, 9]) {
      const site = new Site().dhcp('10.0.0.1', { booter: new RuleBooter({ rules: [{ match: { platform: 'efi-x64' }, file: 'x64.efi' }] }) });
      expect(site.boot({ pxe: { architecture, uuid: new Uint8Array(16) } })).toMatchObject({ ok: true, boot: { file: 'x64.efi' } });
      expect(site.lint()).toBe(architecture === 7 ? '' : 'note arch-quirk: the firmware calls itself architecture 9, by the table of RFC 4578 the same x86-64 that others send as 7; serve both alike');
    }
    const narrow = new Site().dhcp('10.0.0.1', { booter: new RuleBooter({ rules: [{ match: { arch: 7 }, file: 'x64.efi' }] }) });
    expect(narrow.boot({ pxe: { architecture: 9 } })).toMatchObject({ ok: false, stage: 'no-boot-file' });
    expect(narrow.log).toContain('no boot rule matches (rule 1: architecture 9 is not 7)');
  });

  it('no option 97', () => {
    const site = new Site().dhcp('10.0.0.1');
    expect(site.boot({ pxe: { architecture: 0 } })).toMatchObject({ ok: true, boot: { file: 'bios.0' } });
    expect(site.lint()).toBe('note guid-missing: the firmware sends no option 97; rules by UUID cannot match it, and a server must not insist on it');
    const byUuid = new Site().dhcp('10.0.0.1', { booter: new RuleBooter({ rules: [{ match: { uuid: '4c4c*' }, file: 'x' }] }) });
    byUuid.boot({ pxe: { architecture: 0 } });
    expect(byUuid.log).toContain('no boot rule matches (rule 1: the client sends no uuid)');
  });

  it('port 4011 does not answer', () => {
    const site = new Site().dhcp('10.0.0.1', { booter: undefined }).dhcp('10.0.0.2', { mode: 'proxy' });
    site.wire.filter = ({ from, to }) => to.port !== 4011 && from.port !== 4011;
    expect(site.boot({ pxe: { architecture: 7, uuid: new Uint8Array(16) } })).toEqual({ ok: false, stage: 'boot-server-silent', reason: 'the ProxyDHCP server 10.0.0.2 gave no file and did not answer on port 4011' });
    expect(site.lint()).toContain('error boot-server-silent: the boot server on port 4011 does not answer (PXE-E55): it is not running there or a firewall is between');
  });

  it('the lease ends in the middle of the boot', () => {
    const site = new Site().dhcp('10.0.0.1', { subnets: [{ ...SUBNET, leaseSeconds: 60 }] }).tftp('10.0.0.1', { f: patternBytes(40_000) });
    expect(site.boot()).toMatchObject({ ok: true, address: '10.0.0.100' });
    site.wire.run(70_000);
    // The transfer itself does not mind; another client may by now have the address.
    expect(site.fetch()).toMatchObject({ ok: true });
    expect(site.lint()).toContain('warning lease-expired: the lease of 10.0.0.100 ended while the client still booted; a loader does not renew, make leases longer');
  });
});

describe('failure modes: TFTP', () => {
  it('blocks larger than the MTU, which DF or a ROM does not let through', () => {
    // A server of others, on a path that drops what does not fit.
    const site = new Site().tftp('10.0.0.1', { f: patternBytes(9000) }, { mtu: 9000 });
    site.wire.filter = ({ bytes }) => bytes.length <= 1472;
    const result = site.fetch({ blksize: 4096 });
    expect(screen(result)).toBe('PXE-E35: TFTP read timeout the server 10.0.0.1 fell silent after 0 bytes of f');
    expect(lintOf(site.wire.seen.filter(({ bytes }) => bytes.length <= 1472))).toContain('error tftp-blksize-mtu: blocks of 4096 bytes do not fit the MTU of 1500: they are fragmented, which many ROMs cannot put together; use 1468 at most');
    // Ours stays below.
    const ours = new Site().tftp('10.0.0.1', { f: patternBytes(9000) });
    ours.wire.filter = site.wire.filter;
    expect(ours.fetch({ blksize: 65464 })).toMatchObject({ ok: true, blksize: 1468 });
  });

  it('the client ignores the OACK', () => {
    const site = new Site().tftp('10.0.0.1', { f: patternBytes(100) });
    const deaf = site.wire.host('10.0.0.9').bind(2000);
    deaf.send({ address: '10.0.0.1', port: 69 }, encodeTftp({ op: 'rrq', file: 'f', mode: 'octet', options: new Map([['blksize', '1024']]) }));
    site.wire.run(60_000);
    expect(site.log).toBe('RRQ f: failed: the client did not answer our OACK: it ignores option negotiation, or our port does not reach it');
    expect(site.lint()).toMatch(/^error tftp-oack-ignored: the client does not answer the OACK for f: it knows no option negotiation, or the server's port \d+ does not reach it$/);
  });

  it('a size probe that ends with error 8 is no failure', () => {
    const site = new Site().tftp('10.0.0.1', { f: patternBytes(100) });
    expect(site.fetch({ probe: true })).toMatchObject({ ok: true, size: 100 });
    expect(site.log).toBe('RRQ f: note: the client only asked for the size (only the size was wanted)');
    expect(site.lint()).toBe('note tftp-size-probe: the client asked for the size of f and ended with error 8, as PXE ROMs do; this is no failure');
  });

  it('block numbers roll over', () => {
    const site = new Site().tftp('10.0.0.1', { f: patternBytes(8 * 65_540) });
    expect(site.fetch({ blksize: 8, windowsize: 64 })).toMatchObject({ ok: true, bytes: 8 * 65_540 });
    expect(site.lint()).toContain('note tftp-rollover: f has more than 65535 blocks: the number went round to 0, which old loaders do not survive; use larger blocks');
  });

  it('the last ACK is lost', () => {
    const site = new Site().tftp('10.0.0.1', { f: patternBytes(700) });
    site.wire.filter = datagram => !(isOp(datagram, 4) && datagram.bytes[3] === 2);
    expect(site.fetch()).toMatchObject({ ok: true, bytes: 700 });
    site.wire.run(200_000);
    expect(site.log).toBe('RRQ f: served: the last ACK did not arrive');
    expect(lintOf(site.wire.seen.filter(site.wire.filter))).toContain('note tftp-last-ack-lost: f arrived and its last ACK did not, or the client did not send it; harmless');
  });

  it('the answer comes from another port through a NAT that drops it (PXE-E32); one port for all helps', () => {
    const behindNat = (options: Partial<TftpServerOptions>): Site => {
      const site = new Site().tftp('10.0.0.1', { f: patternBytes(700) }, options);
      // The firewall has a way back for the port that was asked only.
      site.wire.filter = ({ from }) => from.address !== '10.0.0.1' || from.port === 69;
      return site;
    };
    const site = behindNat({});
    expect(screen(site.fetch({ tsize: false }))).toBe('PXE-E32: TFTP open timeout no answer from 10.0.0.1:69 to the request for f');
    expect(site.log).toContain('RRQ f: failed: the client did not answer our first packet: our reply from a fresh port may not reach it');
    expect(lintOf(site.wire.seen.filter(site.wire.filter))).toContain('error tftp-silent: no answer to the request for f (PXE-E32, E11): no TFTP server at 10.0.0.1, or its reply from a fresh port is filtered; try one port for all');
    expect(behindNat({ singlePort: true }).fetch()).toMatchObject({ ok: true });
  });

  it('the answer comes from another address (PXE-E32)', () => {
    const site = new Site();
    const asked = site.wire.host('10.0.0.1').bind(69);
    const other = site.wire.host('192.0.2.9').bind(3000);
    asked.onMessage = from => other.send(from, encodeTftp({ op: 'data', block: 1, data: new Uint8Array(3) }));
    expect(screen(site.fetch())).toBe('PXE-E32: TFTP open timeout no answer from 10.0.0.1:69 to the request for f; answers came from 192.0.2.9:3000, which was not asked');
    expect(site.lint()).toContain('error tftp-other-address: the answers to the request for f come from 192.0.2.9:3000 and not from 10.0.0.1: the client drops them (PXE-E32); a NAT or a second address is between');
  });

  it('the server offers and then does not acknowledge (PXE-E18)', () => {
    const site = new Site().dhcp('10.0.0.1');
    site.wire.filter = ({ from, bytes }) => !(from.address === '10.0.0.1' && bytes[242] === 5);
    expect(site.boot()).toEqual({ ok: false, stage: 'no-ack', reason: '10.0.0.1 offered 10.0.0.100 and then did not acknowledge it' });
  });

  it('nobody names a boot file (PXE-E53)', () => {
    const site = new Site().dhcp('10.0.0.1', { booter: undefined });
    expect(site.boot()).toEqual({ ok: false, stage: 'no-boot-file', reason: '10.0.0.1 gave 10.0.0.100 but no boot file, and no ProxyDHCP server offered one' });
    expect(site.lint()).toBe('error no-boot-file: 10.0.0.1 gives 10.0.0.100 but nobody names a boot file (PXE-E53)');
  });
});

describe('failure modes: what loaders fetch', () => {
  it('HTTP 404 on the initrd', () => {
    const site = new Site();
    const http = new HttpFileService({ clock: site.wire.clock, files: new VirtualFiles().set('vmlinuz', 'k'), log: site.journal });
    expect(http.handle({ method: 'GET', target: '/initrd.gz', headers: {}, address: '10.0.0.9' }).status).toBe(404);
    expect(site.log).toBe('GET /initrd.gz: refused: there is no such file');
    const ends = { client: { address: '10.0.0.9', port: 4001 }, server: { address: '10.0.0.1', port: 80 } };
    const lines: CapturedHttp[] = [{ atS: 0, from: ends.client, to: ends.server, line: 'GET /initrd.gz HTTP/1.1' }, { atS: 0, from: ends.server, to: ends.client, line: 'HTTP/1.1 404 Not Found' }];
    expect(site.lint({ http: lines })).toBe('error http-error: GET /initrd.gz: 10.0.0.1:80 answers 404 Not Found: the script or the rules name a file that the server does not have');
  });

  it('imgfree in the wrong place', () => {
    expect(lintIpxeScript('#!ipxe\nkernel a initrd=x\ninitrd x\nimgfree\nboot')).toEqual(['line 4: imgfree after kernel or initrd throws them away']);
    expect(lintIpxeScript('#!ipxe\nkernel a || goto b\n:b\nkernel c\nboot')).toEqual(['line 4: a second kernel without imgfree before it: images of the first one stay']);
  });

  it("the initrd's name is missing (initrd --name)", () => {
    expect(lintIpxeScript('#!ipxe\nkernel a initrd=initrd.gz\ninitrd http://h/get?id=7\nboot')).toEqual([expect.stringMatching(/^line 4: the kernel's command line has no initrd=get: on UEFI the kernel does not find it \(add it, and --name where the URL's last part differs\)$/)]);
    expect(lintIpxeScript('#!ipxe\nkernel a initrd=initrd.gz\ninitrd --name initrd.gz http://h/get?id=7\nboot')).toEqual([]);
  });

  it('the command line has no initrd= on UEFI', () => {
    expect(lintIpxeScript('#!ipxe\nkernel a quiet\ninitrd http://h/initrd.gz\nboot')).toEqual([expect.stringContaining('no initrd=initrd.gz: on UEFI the kernel does not find it')]);
    // What our rules generate names each.
    expect(lintIpxeScript(ipxeScript({ kernel: '/vmlinuz', initrd: ['http://h/get?id=7', '/b/initrd.gz'], cmdline: 'quiet' }))).toEqual([]);
  });

  it('iPXE probes for autoexec.ipxe: an answer where a rule has one, a plain refusal else', () => {
    const rules = new RuleBooter({ rules: [{ match: { mac: '52:54:00:00:00:01' }, kernel: 'vmlinuz' }, { file: 'x' }], ipxeLoaders: { bios: 'undionly.kpxe' } });
    const files = new VirtualFiles();
    rules.files(files);
    const site = new Site().dhcp('10.0.0.1', { booter: rules });
    const server = new TftpServer({ host: site.wire.host('10.0.0.1'), clock: site.wire.clock, files, log: site.journal });
    expect(site.fetch({ file: 'autoexec.ipxe' })).toEqual({ ok: false, code: 1, reason: 'the server says: file not found (error 1)' });
    expect(site.log).toBe('RRQ autoexec.ipxe: refused: loaders probe for this name; there is nothing for this client');
    rules.decide({ mac: '52:54:00:00:00:01', architectures: [0], platform: 'bios', kind: 'pxe', userClasses: [], vendorClass: 'PXEClient', giaddr: '0.0.0.0', address: '10.0.0.9' });
    expect(site.fetch({ file: 'autoexec.ipxe' })).toMatchObject({ ok: true });
    expect(server.counters.failed).toBe(0);
  });

  it('an ARP entry is stale after the server failed over', () => {
    const [client, old, now] = ['52:54:00:00:00:01', '52:54:00:00:00:02', '52:54:00:00:00:03'].map(text => parseMac(text)!);
    const [server, address] = ['10.0.0.1', '10.0.0.9'].map(text => parseIpv4(text)!);
    const claim = (mac: Uint8Array): Uint8Array => encodeEthernet({ dst: client, src: mac, tags: [], type: ETHERTYPE_ARP, payload: encodeArp({ operation: ARP_REPLY, senderMac: mac, senderIp: server, targetMac: client, targetIp: address }) });
    const ask = (port: number): Uint8Array => {
      const payload = encodeUdp({ srcPort: port, dstPort: 69, payload: encodeTftp({ op: 'rrq', file: 'f', mode: 'octet', options: new Map() }) }, address, server);
      const packet = { src: address, dst: server, protocol: PROTOCOL_UDP, ttl: 64, id: 1, tos: 0, dontFragment: false, moreFragments: false, fragmentOffset: 0, options: new Uint8Array(0), payload };
      return encodeEthernet({ dst: old, src: client, tags: [], type: ETHERTYPE_IPV4, payload: encodeIpv4(packet) });
    };
    const parts: Uint8Array[] = [];
    const writer = new PcapngWriter(bytes => parts.push(bytes.slice()));
    const lan = writer.addInterface({ name: 'lan' });
    [claim(old), ask(2001), claim(now), ask(2002)].forEach((frame, i) => writer.packet(lan, BigInt(i) * 1_000_000n, frame));
    const traffic = capturedTraffic(readCapture(Buffer.concat(parts)));
    expect(lintOf(traffic.udp, { staleArp: traffic.staleArp })).toContain(
      'error stale-arp: packets for 10.0.0.1 still go to 52:54:00:00:00:02, but 52:54:00:00:00:03 has taken that address: an old ARP entry after a failover; the new server must announce itself (gratuitous ARP)',
    );
  });
});
