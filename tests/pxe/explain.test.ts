import { describe, expect, it } from 'vitest';
import { explainExchange, lintIpxeScript, type CapturedDatagram, type FindingCode } from '../../src/pxe/explain.js';
import { DhcpClient, type DhcpClientOptions } from '../../src/pxe/dhcp/client.js';
import { blankDhcp, encodeDhcp, OPT, typeOption, type DhcpMessage, type DhcpType } from '../../src/pxe/dhcp/codec.js';
import { serveDhcp } from '../../src/pxe/dhcp/attach.js';
import { DhcpServer, type DhcpServerOptions } from '../../src/pxe/dhcp/server.js';
import { TftpDownload, type TftpDownloadOptions } from '../../src/pxe/tftp/client.js';
import { encodeTftp, type TftpPacket } from '../../src/pxe/tftp/codec.js';
import { TftpServer } from '../../src/pxe/tftp/server.js';
import { VirtualFiles } from '../../src/pxe/files.js';
import { ipxeScript } from '../../src/pxe/scripts.js';
import { ipv4Bytes, utf8 } from '../../src/pxe/bytes.js';
import { patternBytes, TestWire } from './support.js';

const SUBNET = { network: '10.0.0.0', prefix: 24, pool: [{ from: '10.0.0.100', to: '10.0.0.150' }] };
const codes = (datagrams: readonly CapturedDatagram[], mtu?: number): FindingCode[] => explainExchange(datagrams, { mtu }).findings.map(finding => finding.code);

const dhcpLab = (servers: [string, Partial<DhcpServerOptions>][], options: Partial<DhcpClientOptions> = {}, filter?: TestWire['filter']): CapturedDatagram[] => {
  const wire = new TestWire(1);
  if (filter) wire.filter = filter;
  for (const [address, more] of servers) {
    serveDhcp(new DhcpServer({ clock: wire.clock, address, subnets: [SUBNET], unicastByMac: false, booter: { decide: ({ platform }) => ({ boot: 'file', file: `${platform}.0` }) }, ...more }), wire.host(address));
  }
  let done = false;
  new DhcpClient({
    endpoint: wire.client('0.0.0.0', 68), clock: wire.clock, mac: Uint8Array.of(0x52, 0x54, 0, 0, 0, 1), random: () => 7,
    pxe: { architecture: 0, uuid: new Uint8Array(16) }, onDone: () => (done = true), ...options,
  }).start();
  wire.run(300_000, () => done);
  return wire.seen;
};

const tftpLab = (options: Partial<TftpDownloadOptions> = {}, filter?: TestWire['filter'], size = 5000): CapturedDatagram[] => {
  const wire = new TestWire(1);
  if (filter) wire.filter = filter;
  const files = new VirtualFiles().set('f', patternBytes(size));
  new TftpServer({ host: wire.host('10.0.0.1'), clock: wire.clock, files, mtu: 9000 });
  let done = false;
  new TftpDownload({ endpoint: wire.host('10.0.0.9').bind(0), clock: wire.clock, server: { address: '10.0.0.1' }, file: 'f', onDone: () => (done = true), ...options }).start();
  wire.run(300_000, () => done);
  return wire.seen;
};

describe('explaining DHCP', () => {
  it('has nothing to say about a boot that is right, but tells its steps', () => {
    const { steps, findings } = explainExchange(dhcpLab([['10.0.0.1', {}]]));
    expect(findings).toEqual([]);
    expect(steps.map(step => step.replace(/^\S+ /, ''))).toEqual([
      'DISCOVER, 52:54:00:00:00:01, pxe bios (0)',
      'OFFER, 52:54:00:00:00:01, gives 10.0.0.100, boots bios.0 from 10.0.0.1',
      'REQUEST, 52:54:00:00:00:01, pxe bios (0), wants 10.0.0.100',
      'ACK, 52:54:00:00:00:01, gives 10.0.0.100, boots bios.0 from 10.0.0.1',
    ]);
    expect(codes(dhcpLab([['10.0.0.1', { booter: undefined }], ['10.0.0.2', { mode: 'proxy' }]], { pxe: { architecture: 7, uuid: new Uint8Array(16) } }))).toEqual([]);
  });

  it.each<[FindingCode, () => CapturedDatagram[]]>([
    ['no-offer', () => dhcpLab([])],
    ['no-lease', () => dhcpLab([['10.0.0.2', { mode: 'proxy' }]])],
    ['no-boot-file', () => dhcpLab([['10.0.0.1', { booter: undefined }]])],
    ['two-servers', () => dhcpLab([['10.0.0.1', {}], ['10.0.0.2', {}]])],
    ['guid-missing', () => dhcpLab([['10.0.0.1', {}]], { pxe: { architecture: 0 } })],
    ['arch-quirk', () => dhcpLab([['10.0.0.1', {}]], { pxe: { architecture: 9, uuid: new Uint8Array(16) } })],
    ['boot-server-silent', () => dhcpLab([['10.0.0.1', { booter: undefined }], ['10.0.0.2', { mode: 'proxy' }]], { pxe: { architecture: 7, uuid: new Uint8Array(16) } }, ({ to }) => to.port !== 4011).filter(({ from }) => from.port !== 4011)],
  ])('%s', (code, capture) => expect(codes(capture())).toContain(code));

  const mac = Uint8Array.of(2, 0, 0, 0, 0, 1);
  const message = (type: DhcpType, extra: [number, Uint8Array][], change: Partial<DhcpMessage> = {}): DhcpMessage => ({ ...blankDhcp('request', mac, 1), options: new Map([[OPT.messageType, typeOption(type)], ...extra]), ...change });
  const sent = (atS: number, m: DhcpMessage): CapturedDatagram => {
    const [client, server] = [{ address: '0.0.0.0', port: 68 }, { address: '10.0.0.1', port: 67 }];
    return { atS, ...(m.op === 'request' ? { from: client, to: server } : { from: server, to: client }), bytes: encodeDhcp(m).bytes };
  };
  const id: [number, Uint8Array] = [OPT.serverId, ipv4Bytes('10.0.0.1')];
  const guid: [number, Uint8Array] = [OPT.guid, new Uint8Array(17)];
  const pxe: [number, Uint8Array] = [OPT.vendorClass, utf8('PXEClient')];

  it('wrong relay, refusal, late and incomplete ProxyDHCP offers, an iPXE loop, a lease that ends', () => {
    expect(codes([sent(0, message('DISCOVER', [pxe, guid], { giaddr: '172.16.0.1' }))])).toEqual(['wrong-relay']);
    expect(codes([sent(0, message('REQUEST', [])), sent(1, message('NAK', [id, [OPT.message, utf8('no')]], { op: 'reply' }))])).toContain('nak');
    const boot = { op: 'reply' as const, yiaddr: '10.0.0.5', file: 'pxelinux.0' };
    const lease: [number, Uint8Array] = [OPT.leaseTime, Uint8Array.of(0, 0, 0, 60)];
    const round = (atS: number, extra: [number, Uint8Array][], change: Partial<DhcpMessage> = {}): CapturedDatagram[] => [
      sent(atS, message('DISCOVER', extra)), sent(atS, message('OFFER', [id], { ...boot, ...change })), sent(atS, message('REQUEST', extra)), sent(atS + 0.1, message('ACK', [id, lease], { ...boot, ...change })),
    ];
    const late = sent(1, message('OFFER', [id, pxe], { op: 'reply', file: 'x' }));
    expect(codes([...round(0, [pxe, guid]), late])).toEqual(['late-proxy-offer', 'guid-not-echoed']);
    const ipxe: [number, Uint8Array] = [OPT.userClass, utf8('iPXE')];
    expect(codes([...round(0, [ipxe], { file: 'undionly.kpxe' }), ...round(5, [ipxe], { file: 'undionly.kpxe' })])).toEqual(['ipxe-loop']);
    const ack: TftpPacket = { op: 'ack', block: 1 };
    expect(codes([...round(0, [pxe, guid]), { atS: 100, from: { address: '10.0.0.5', port: 2000 }, to: { address: '10.0.0.1', port: 3000 }, bytes: encodeTftp(ack) }])).toEqual(['lease-expired']);
  });
});

describe('explaining TFTP', () => {
  it('has nothing to say about a transfer that is right', () => {
    const { steps, findings } = explainExchange(tftpLab({ blksize: 1468, windowsize: 4 }));
    expect(findings).toEqual([]);
    expect(steps[0]).toMatch(/RRQ f from 10\.0\.0\.9:\d+ \(tsize 0, blksize 1468, windowsize 4\)/);
    expect(steps.at(-1)).toMatch(/f is sent: 4 blocks/);
  });

  it.each<[FindingCode, () => CapturedDatagram[]]>([
    ['tftp-error', () => tftpLab({ file: 'missing' })],
    ['tftp-silent', () => tftpLab({ server: { address: '10.0.0.77' } })],
    ['tftp-silent', () => tftpLab({}, ({ from }) => from.address !== '10.0.0.1').filter(({ from }) => from.address !== '10.0.0.1')],
    ['tftp-size-probe', () => tftpLab({ probe: true })],
    ['tftp-blksize-mtu', () => tftpLab({ blksize: 4096 })],
    ['tftp-oack-ignored', () => tftpLab({ retries: 1 }, ({ bytes }) => bytes[1] !== 6).filter(({ bytes }) => bytes[1] !== 5)],
    ['tftp-incomplete', () => tftpLab({}, ({ bytes }) => !(bytes[1] === 3 && bytes[3] === 3)).filter(({ bytes }) => !(bytes[1] === 3 && bytes[3] >= 3) && bytes[1] !== 5)],
    ['tftp-rollover', () => tftpLab({ blksize: 8, windowsize: 64 }, undefined, 8 * 65540)],
    ['tftp-last-ack-lost', () => tftpLab().slice(0, -1)],
    ['tftp-retransmission', () => tftpLab({ retries: 20 }, dropEveryThird())],
    ['tftp-other-address', () => tftpLab({}).map(datagram => (datagram.from.address === '10.0.0.1' ? { ...datagram, from: { address: '192.0.2.9', port: datagram.from.port } } : datagram))],
  ])('%s', (code, capture) => expect(codes(capture(), 1500)).toContain(code));

  it('never throws on rubbish', () => {
    const datagrams = Array.from({ length: 500 }, (_, i) => ({ atS: i, from: { address: '10.0.0.1', port: [67, 68, 69, 4011, 5000][i % 5] }, to: { address: '10.0.0.2', port: [68, 69, 6000][i % 3] }, bytes: patternBytes((i * 7) % 400, i + 1) }));
    expect(() => explainExchange(datagrams)).not.toThrow();
  });
});

const dropEveryThird = (): TestWire['filter'] => {
  let count = 0;
  return ({ bytes }) => bytes[1] !== 3 || ++count % 3 !== 0;
};

describe('iPXE script lint', () => {
  it('passes what we generate', () => expect(lintIpxeScript(ipxeScript({ kernel: '/vmlinuz', initrd: ['/a/initrd.gz', '/b/initrd.gz'], cmdline: 'quiet' }))).toEqual([]));

  it.each([
    ['kernel a\nboot', /#!ipxe/],
    ['#!ipxe\nkernel a\ninitrd http://h/initrd.gz\nboot', /no initrd=initrd\.gz/],
    ['#!ipxe\nkernel a initrd=x\ninitrd --name y http://h/x\nboot', /no initrd=y/],
    ['#!ipxe\nkernel a initrd=x\ninitrd x\nimgfree\nboot', /imgfree after/],
    ['#!ipxe\nkernel a || goto b\n:b\nkernel c\nboot', /second kernel without imgfree/],
  ])('%j', (script, problem) => expect(lintIpxeScript(script).join('\n')).toMatch(problem));
});
