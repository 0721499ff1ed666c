// What the servers and clients of netboot refuse to do for whom, whatever they are sent. Beside these: path-guard.test.ts and file-tree.test.ts
// (paths and links one by one), dhcp-server.test.ts and tftp.test.ts ("limits"), http.test.ts (ranges, sizes, signed URLs), serve.test.ts and
// netboot-serve.test.ts (one interface, consent), net/egress.test.ts and net/gateway.test.ts (what guests reach), net/fuzz.test.ts (codecs of the wire).
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FileTree } from '../../src/host/backends/file-tree.js';
import { VirtualClock } from '../../src/host/clock.js';
import { BROADCAST_MAC, formatIpv4 } from '../../src/net/address.js';
import { decodeEthernet, encodeEthernet, ETHERTYPE_IPV4 } from '../../src/net/ethernet.js';
import { decodeIpv4, encodeIpv4, PROTOCOL_UDP } from '../../src/net/ipv4.js';
import { decodeUdp, encodeUdp } from '../../src/net/udp.js';
import { ipv4Bytes, utf8 } from '../../src/pxe/bytes.js';
import { blankDhcp, decodeDhcp, dhcpType, encodeDhcp, OPT, typeOption, type DhcpMessage } from '../../src/pxe/dhcp/codec.js';
import { DhcpClient, type DhcpClientResult } from '../../src/pxe/dhcp/client.js';
import { encodeSuboptions, PXE_VENDOR } from '../../src/pxe/dhcp/options.js';
import { DhcpServer } from '../../src/pxe/dhcp/server.js';
import { explainExchange, lintIpxeScript } from '../../src/pxe/explain.js';
import { HttpFileService } from '../../src/pxe/http/files.js';
import { addKernelWords } from '../../src/pxe/kernel-words.js';
import { PxeJournal } from '../../src/pxe/log.js';
import { TftpDownload, TftpUpload, type TftpResult } from '../../src/pxe/tftp/client.js';
import { decodeTftp, encodeTftp, type TftpPacket } from '../../src/pxe/tftp/codec.js';
import { TftpServer, type TftpServerOptions } from '../../src/pxe/tftp/server.js';
import { VirtualNetwork } from '../../src/vm-network.js';
import { hasCore } from '../host/machine-support.js';
import { Random } from '../support/random.js';
import { apiProgram } from './nbp.js';
import { RomLab } from './rom-support.js';
import { patternBytes, TestWire } from './support.js';

let base = '';
let root = '';

beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'vmlet-limits-'));
  root = join(base, 'data');
  mkdirSync(join(root, 'sub'), { recursive: true });
  mkdirSync(join(base, 'data-private'));
  writeFileSync(join(base, 'data-private/key'), 'secret');
  writeFileSync(join(base, 'outside'), 'secret');
  writeFileSync(join(root, 'file'), 'contents');
  symlinkSync('file', join(root, 'inner'));
  symlinkSync('../outside', join(root, 'planted'));
  symlinkSync(join(base, 'data-private'), join(root, 'planted-folder'));
  symlinkSync('../created-by-link', join(root, 'dangling'));
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

/** A TFTP server of that folder, and a client's questions to it. */
const tftp = (options: Partial<TftpServerOptions> = {}) => {
  const wire = new TestWire(1);
  const journal = new PxeJournal();
  const server = new TftpServer({ host: wire.host('10.0.0.1'), clock: wire.clock, files: new FileTree(root, { writable: options.writes !== undefined }), log: journal, ...options });
  const get = (file: string): TftpResult => {
    let result: TftpResult | undefined;
    new TftpDownload({ endpoint: wire.host('10.0.0.9').bind(0), clock: wire.clock, server: { address: '10.0.0.1' }, file, onDone: done => (result = done) }).start();
    wire.run(60_000, () => result !== undefined);
    return result!;
  };
  const put = (file: string, bytes: Uint8Array, size?: number): TftpResult => {
    let result: TftpResult | undefined;
    const read = (offset: number, into: Uint8Array): number => {
      const piece = bytes.subarray(offset, offset + into.length);
      into.set(piece);
      return piece.length;
    };
    new TftpUpload({ endpoint: wire.host('10.0.0.9').bind(0), clock: wire.clock, server: { address: '10.0.0.1' }, file, size, read, onDone: done => (result = done) }).start();
    wire.run(60_000, () => result !== undefined);
    wire.run(30_000);
    return result!;
  };
  return { wire, journal, server, get, put };
};

describe('limits: paths', () => {
  it.each(['../outside', '/../outside', 'sub/../../outside', '../data-private/key', 'sub/../file', '..\\outside', 'a\0b', 'C:/outside', 'planted', 'planted-folder/key', 'x'.repeat(600)])('traversal and planted links: TFTP denies %j, and says so', path => {
    const { get, journal } = tftp();
    // A NUL ends the name on the wire: what is behind it is not asked for.
    expect(get(path)).toMatchObject({ ok: false, code: path.includes('\0') ? 1 : 2 });
    expect(journal.events[0].outcome).toBe('refused');
    expect(journal.events[0].reason).toMatch(/contains '\.\.'|backslash|names a drive|symbolic link leaves the served folder|longer than 255 bytes|there is no such file/);
  });

  it.each(['/../outside', '/%2e%2e/outside', '/..%2foutside', '/sub/%2e%2e/%2e%2e/outside', '/%2e%2e/data-private/key', '/a%5c..%5cb', '/a%00b', '/planted', '/planted-folder/key', '/..;/outside', '/.%2e/outside'])('traversal and planted links: HTTP denies %j', target => {
    const { wire } = tftp();
    const http = new HttpFileService({ clock: wire.clock, files: new FileTree(root) });
    const response = http.handle({ method: 'GET', target, headers: {}, address: '10.0.0.9' });
    expect(response.status).toBe(target === '/..;/outside' ? 404 : 403);
    expect(response.body instanceof Uint8Array ? new TextDecoder().decode(response.body) : '').not.toContain('secret');
  });

  it('an absolute path is one under the root; links that stay inside are served', () => {
    const { get } = tftp();
    for (const path of ['file', '/file', '//./file', 'inner']) expect(get(path), path).toMatchObject({ ok: true, bytes: 8 });
    expect(get('/etc/passwd')).toMatchObject({ ok: false, code: 1 });
  });
});

describe('limits: write requests', () => {
  it('are refused unless the server was told to take them', () => {
    const { put, journal } = tftp();
    expect(put('new', utf8('x'))).toMatchObject({ ok: false, code: 2 });
    expect(journal.events[0]).toMatchObject({ what: 'WRQ new', outcome: 'refused', reason: 'writing is not allowed' });
    expect(existsSync(join(root, 'new'))).toBe(false);
  });

  it('make new files only, follow no link, leave no folder, and end at the size with nothing left behind', () => {
    const { put } = tftp({ writes: { maxBytes: 2000 } });
    const before = readdirSync(base).sort();
    expect(put('new', patternBytes(2000), 2000)).toMatchObject({ ok: true });
    expect(Buffer.compare(readFileSync(join(root, 'new')), patternBytes(2000))).toBe(0);
    expect(put('new', utf8('y'))).toMatchObject({ ok: false, code: 6 });
    expect(put('file', utf8('y'))).toMatchObject({ ok: false, code: 6 });
    expect(put('dangling', utf8('y'))).toMatchObject({ ok: false, code: 6 });
    expect(put('planted', utf8('y'))).toMatchObject({ ok: false, code: 6 });
    expect(put('planted-folder/new', utf8('y'))).toMatchObject({ ok: false, code: 2 });
    expect(put('../new', utf8('y'))).toMatchObject({ ok: false, code: 2 });
    // Announced, and not announced.
    expect(put('large', patternBytes(2001), 2001)).toMatchObject({ ok: false, code: 3 });
    expect(put('large', patternBytes(9000))).toMatchObject({ ok: false, code: 3 });
    expect(readdirSync(root).sort()).toEqual(['dangling', 'file', 'inner', 'new', 'planted', 'planted-folder', 'sub']);
    expect(readdirSync(base).sort()).toEqual(before);
    rmSync(join(root, 'new'));
  });
});

describe('limits: amplification', () => {
  it.each<[string, [string, string][]]>([
    ['plain requests', []],
    ['the largest blocks and windows', [['blksize', '65464'], ['windowsize', '65535']]],
  ])('a spoofed address gets no more than three kilobytes a second in its name: a minute of %s', (_, options) => {
    const { wire, server } = tftp({ files: { open: () => ({ size: 1e6, read: (_offset, into) => into.length, close: () => {} }) } });
    const victim = wire.host('10.0.0.66');
    const ports = Array.from({ length: 200 }, () => victim.bind(0));
    const received = { packets: 0, bytes: 0 };
    for (const port of ports) {
      port.onMessage = (_from, bytes) => {
        received.packets++;
        received.bytes += bytes.length;
      };
    }
    for (let i = 0; i < 6000; i++) {
      const request = encodeTftp({ op: 'rrq', file: 'f', mode: 'octet', options: new Map(options) });
      ports[i % ports.length].send({ address: '10.0.0.1', port: 69 }, request);
      wire.run(10);
    }
    expect(received.packets).toBeGreaterThan(0);
    // No window and no large block before an ACK: what one request brings is three packets of at most 516 bytes.
    expect(received.bytes).toBeLessThan(60 * 3000);
    wire.run(600_000);
    expect(server.activeTransfers).toBe(0);
  });

  it('requests for what is not there, and rubbish, are answered with less than they are', () => {
    const { wire } = tftp();
    const victim = wire.host('10.0.0.66').bind(2000);
    let received = 0;
    victim.onMessage = (_from, bytes) => (received += bytes.length);
    let sent = 0;
    for (let i = 0; i < 3000; i++) {
      const bytes = i % 2 === 0 ? encodeTftp({ op: 'rrq', file: `missing-file-${i}`, mode: 'octet', options: new Map() }) : encodeTftp({ op: 'ack', block: i & 0xffff });
      sent += bytes.length;
      victim.send({ address: '10.0.0.1', port: 69 }, bytes);
      wire.run(10);
    }
    expect(received).toBeLessThan(sent);
  });

  it('DHCP answers no relay that is in none of its subnets, and one hardware address twenty times a second', () => {
    const wire = new TestWire(1);
    const server = new DhcpServer({ clock: wire.clock, address: '10.0.0.1', subnets: [{ network: '10.0.0.0', prefix: 24, pool: [{ from: '10.0.0.100', to: '10.0.0.200' }] }] });
    const discover = (giaddr: string, n = 1): boolean => server.handle({ address: giaddr, port: 67 }, encodeDhcp({ ...blankDhcp('request', Uint8Array.of(2, 0, 0, 0, 0, n), 1), giaddr, options: new Map([[OPT.messageType, typeOption('DISCOVER')]]) }).bytes, 'lease') !== undefined;
    expect(discover('198.51.100.7', 2)).toBe(false);
    let answers = 0;
    for (let i = 0; i < 500; i++) if (discover('10.0.0.5')) answers++;
    expect(answers).toBe(20);
  });
});

describe('limits: starvation', () => {
  it('a machine that plays thousands of clients, to the end of each exchange, leaves addresses for the others', () => {
    const clock = new VirtualClock();
    const network = new VirtualNetwork({ clock, seed: 1, restrict: true });
    const greedy = network.connect({ name: 'greedy' });
    const mac = (n: number): Uint8Array => Uint8Array.of(2, 1, 0, n >> 16, n >> 8, n);
    const send = (port: typeof greedy, message: DhcpMessage): void => {
      const payload = encodeUdp({ srcPort: 68, dstPort: 67, payload: encodeDhcp(message).bytes }, 0, 0xffff_ffff);
      port.send(encodeEthernet({ dst: BROADCAST_MAC, src: message.chaddr, tags: [], type: ETHERTYPE_IPV4, payload: encodeIpv4({ src: 0, dst: 0xffff_ffff, protocol: PROTOCOL_UDP, ttl: 64, id: 1, tos: 0, dontFragment: false, moreFragments: false, fragmentOffset: 0, options: new Uint8Array(0), payload }) }));
    };
    /** What a station gets in the end. */
    const taken = new Map<string, string>();
    const play = (port: typeof greedy): void => {
      port.onFrame = frame => {
        const packet = decodeIpv4(decodeEthernet(frame)!.payload);
        const udp = packet && decodeUdp(packet.payload, packet.src, packet.dst);
        const reply = udp?.dstPort === 68 ? decodeDhcp(udp.payload) : undefined;
        if (reply?.ok !== true) return;
        const { value } = reply;
        if (dhcpType(value) === 'ACK') taken.set(value.chaddr.join(), value.yiaddr);
        else if (dhcpType(value) === 'OFFER') send(port, { ...blankDhcp('request', value.chaddr, value.xid), broadcast: true, options: new Map([[OPT.messageType, typeOption('REQUEST')], [OPT.serverId, value.options.get(OPT.serverId)!], [OPT.requestedAddress, ipv4Bytes(value.yiaddr)]]) });
      };
    };
    play(greedy);
    for (let n = 1; n <= 3000; n++) send(greedy, { ...blankDhcp('request', mac(n), n), broadcast: true, options: new Map([[OPT.messageType, typeOption('DISCOVER')]]) });
    expect(taken.size).toBe(64);
    expect(greedy.stats.overMacLimit).toBeGreaterThan(2900);
    const honest = network.connect({ name: 'honest' });
    play(honest);
    const own = Uint8Array.of(0x52, 0x54, 0, 1, 2, 3);
    send(honest, { ...blankDhcp('request', own, 9), broadcast: true, options: new Map([[OPT.messageType, typeOption('DISCOVER')]]) });
    expect(taken.get(own.join())).toBe(formatIpv4(0x0a00_020f + 64));
    network.close();
  });
});

/** Changes bytes, cuts, and lengthens. */
const mutate = (bytes: Uint8Array, random: Random): Uint8Array => {
  const kind = random.below(6);
  const copy = kind === 0 ? bytes.slice(0, random.below(bytes.length + 1)) : kind === 1 ? new Uint8Array([...bytes, ...patternBytes(random.below(1500), random.u32())]) : bytes.slice();
  for (let flips = random.below(8); flips > 0 && copy.length > 0; flips--) copy[random.below(copy.length)] = random.below(3) === 0 ? random.below(2) * 255 : random.u32();
  return copy;
};

describe('limits: truncated, oversized and forged packets', () => {
  const mac = Uint8Array.of(0x52, 0x54, 0, 0, 0, 1);
  const offer: DhcpMessage = {
    ...blankDhcp('request', mac, 7), op: 'reply', yiaddr: '10.0.0.100', siaddr: '10.0.0.1', sname: 'server', file: 'pxelinux.0',
    options: new Map([
      [OPT.messageType, typeOption('OFFER')], [OPT.serverId, ipv4Bytes('10.0.0.1')], [OPT.leaseTime, Uint8Array.of(0, 0, 1, 0)], [OPT.subnetMask, ipv4Bytes('255.255.255.0')], [OPT.router, ipv4Bytes('10.0.0.1')],
      [OPT.vendorClass, utf8('PXEClient')], [OPT.bootFile, utf8('pxelinux.0')], [OPT.relayAgent, Uint8Array.of(1, 2, 3, 4)], [OPT.userClass, utf8('iPXE')],
      [OPT.vendor, encodeSuboptions([[PXE_VENDOR.discoveryControl, Uint8Array.of(0)], [PXE_VENDOR.bootServers, Uint8Array.of(0, 1, 1, 10, 0, 0, 2)], [PXE_VENDOR.bootMenu, Uint8Array.of(0, 1, 3, 0x61, 0x62, 0x63)], [PXE_VENDOR.menuPrompt, Uint8Array.of(0, 0x61)]])],
    ]),
  };

  it('a DHCP server that sends anything at all: the client ends with an address or a reason', () => {
    const random = new Random(11);
    for (let round = 0; round < 150; round++) {
      const wire = new TestWire(round + 1);
      const server = wire.host('10.0.0.1').bind(67);
      const boot = wire.host('10.0.0.1').bind(4011);
      server.onMessage = boot.onMessage = (from, bytes) => {
        const asked = decodeDhcp(bytes);
        if (!asked.ok) throw new Error('the client sends what is no DHCP message');
        const type = typeOption(dhcpType(asked.value) === 'DISCOVER' ? 'OFFER' : random.below(8) === 0 ? 'NAK' : 'ACK');
        const reply = encodeDhcp({ ...offer, xid: asked.value.xid, yiaddr: random.below(4) === 0 ? '0.0.0.0' : offer.yiaddr, file: random.below(2) === 0 ? '' : offer.file, options: new Map([...offer.options, [OPT.messageType, type]]) }).bytes;
        for (let i = random.below(3); i >= 0; i--) server.send({ address: '255.255.255.255', port: from.port }, mutate(reply, random));
      };
      let result: DhcpClientResult | undefined;
      new DhcpClient({ endpoint: wire.client('0.0.0.0', 68), clock: wire.clock, mac, random: () => 7, pxe: { architecture: 0 }, onDone: done => (result = done) }).start();
      wire.run(1_000_000, () => result !== undefined);
      expect(result, `round ${round}`).toBeDefined();
      if (!result!.ok) expect(result!.reason.length).toBeGreaterThan(5);
    }
  });

  it('a DHCP server takes anything at all, from anywhere', () => {
    const random = new Random(12);
    const wire = new TestWire(1);
    const server = new DhcpServer({ clock: wire.clock, address: '10.0.0.1', subnets: [{ network: '10.0.0.0', prefix: 24, pool: [{ from: '10.0.0.100', to: '10.0.0.110' }] }], booter: { decide: () => ({ boot: 'file', file: 'x' }) } });
    for (let round = 0; round < 5000; round++) {
      const request = encodeDhcp({ ...offer, op: 'request', options: new Map([...offer.options, [OPT.messageType, typeOption(random.pick(['DISCOVER', 'REQUEST', 'DECLINE', 'RELEASE', 'INFORM']))]]) }).bytes;
      const reply = server.handle({ address: '10.0.0.9', port: random.below(65536) }, mutate(request, random), random.pick(['lease', 'boot']));
      if (reply) expect(decodeDhcp(reply.bytes).ok).toBe(true);
      wire.run(50);
    }
    expect(server.leases.size).toBeLessThanOrEqual(11);
  });

  it('a TFTP server that sends anything at all: a download ends with its bytes or a reason, and no larger than allowed', () => {
    const random = new Random(13);
    for (let round = 0; round < 200; round++) {
      const wire = new TestWire(round + 1);
      const server = wire.host('10.0.0.1').bind(69);
      server.onMessage = (from, bytes) => {
        const asked = decodeTftp(bytes);
        if (!asked.ok) throw new Error('the client sends what is no TFTP packet');
        const block = asked.value.op === 'ack' ? asked.value.block + 1 : 1;
        const packets: TftpPacket[] = [
          { op: 'oack', options: new Map([['blksize', '512'], ['tsize', '5000'], ['windowsize', '4']]) },
          { op: 'data', block: block & 0xffff, data: patternBytes(random.pick([0, 3, 512, 1400])) },
          { op: 'data', block: random.below(65536), data: patternBytes(512) },
          { op: 'error', code: random.below(10), message: 'x'.repeat(random.below(300)) },
          { op: 'ack', block: 1 },
        ];
        for (let i = random.below(3); i >= 0; i--) server.send(from, mutate(encodeTftp(packets[random.pick([0, 1, 1, 1, 1, 2, 3, 4])]), random));
      };
      let result: TftpResult | undefined;
      let bytes = 0;
      new TftpDownload({ endpoint: wire.host('10.0.0.9').bind(0), clock: wire.clock, server: { address: '10.0.0.1' }, file: 'f', blksize: 1024, windowsize: 4, maxBytes: 20_000, onData: data => (bytes += data.length), onDone: done => (result = done) }).start();
      wire.run(2_000_000, () => result !== undefined);
      expect(result, `round ${round}`).toBeDefined();
      expect(bytes).toBeLessThanOrEqual(20_000);
    }
  });

  it('captures, scripts and configurations of any contents are explained or refused', () => {
    const random = new Random(14);
    const script = utf8('#!ipxe\nimgfree\nkernel http://h/k initrd=i || goto failed\ninitrd --name i http://h/i\nboot\n');
    const config = utf8('DEFAULT x\nAPPEND ro\nLABEL x\n KERNEL k\n APPEND a\nlabel y\n linux l\n');
    for (let round = 0; round < 2000; round++) {
      const text = new TextDecoder().decode(mutate(random.pick([script, config]), random));
      expect(Array.isArray(lintIpxeScript(text))).toBe(true);
      expect(addKernelWords(text, 'w').count).toBeGreaterThanOrEqual(0);
    }
    const seeds = [encodeDhcp(offer).bytes, encodeTftp({ op: 'rrq', file: 'f', mode: 'octet', options: new Map([['blksize', '1']]) }), encodeTftp({ op: 'data', block: 1, data: patternBytes(30) })];
    const datagrams = Array.from({ length: 3000 }, (_, i) => ({ atS: i / 10, from: { address: '10.0.0.1', port: random.pick([67, 68, 69, 4011, 3000]) }, to: { address: '10.0.0.2', port: random.pick([67, 68, 69, 4011, 3000]) }, bytes: mutate(random.pick(seeds), random) }));
    const { findings } = explainExchange(datagrams);
    for (const { text } of findings) expect(text).toMatch(/^[^\u0000-\u001f\u007f]+$/);
  });

  it.skipIf(!hasCore)('a wire full of forged frames: the ROM boots all the same, or says why not', async () => {
    for (let seed = 1; seed <= 4; seed++) {
      const random = new Random(seed);
      const lab = new RomLab({
        rules: [{ file: 'nbp' }],
        files: new Map([['nbp', apiProgram([])]]),
        wire: network => {
          // Behind every frame for the client come changed ones.
          const evil = network.connect({ name: 'evil', macLimit: Infinity });
          const port = network.switch.ports.find(({ name }) => name === 'client')!;
          const { emit } = port;
          port.emit = frame => {
            for (let i = random.below(3); i > 0; i--) emit.call(port, mutate(frame, random));
            emit.call(port, frame);
          };
          for (let i = 0; i < 50; i++) evil.send(patternBytes(14 + random.below(1500), random.u32()));
        },
      });
      const exit = await lab.run();
      expect(exit.reason === 'debug-exit' || /PXE-[ET]\w\w/.test(lab.serial.text), `seed ${seed}: ${exit.reason}\n${lab.story.join('\n')}`).toBe(true);
    }
  });
});
