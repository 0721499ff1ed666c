import { describe, expect, it } from 'vitest';
import { decodeEthernet } from '../../src/net/ethernet.js';
import { IpHost } from '../../src/net/ip-host.js';
import { decodeIpv4 } from '../../src/net/ipv4.js';
import { decodeUdp } from '../../src/net/udp.js';
import { parseIpv4 } from '../../src/net/address.js';
import { udpPorts } from '../../src/net/udp-ports.js';
import { Prng } from '../../src/host/backends/entropy.js';
import { concatBytes, ipv4Bytes, u16, utf8 } from '../../src/pxe/bytes.js';
import { serveDhcp } from '../../src/pxe/dhcp/attach.js';
import { OPT } from '../../src/pxe/dhcp/codec.js';
import { encodeSuboptions, PXE_VENDOR } from '../../src/pxe/dhcp/options.js';
import { DhcpServer, type DhcpServerOptions } from '../../src/pxe/dhcp/server.js';
import { decodeTftp, encodeTftp } from '../../src/pxe/tftp/codec.js';
import { TftpServer } from '../../src/pxe/tftp/server.js';
import { VirtualFiles } from '../../src/pxe/files.js';
import { hasCore } from '../host/machine-support.js';
import { apiProgram } from './nbp.js';
import { RomLab, type RomLabOptions } from './rom-support.js';
import { patternBytes } from './support.js';

const NBP = apiProgram([]);
const DONE = { reason: 'debug-exit', code: (0x10 << 1) | 1 };

/** Another server on the wire. */
const rival = (address: string, options: Partial<DhcpServerOptions>, files: Record<string, Uint8Array> = {}): RomLabOptions['wire'] => (network, clock) => {
  const host = new IpHost({ port: network.connect({ name: `rival${address}` }), clock, random: new Prng(1, address), mac: Uint8Array.of(2, 0, ...ipv4Bytes(address)), address: parseIpv4(address)!, prefix: 24 });
  serveDhcp(new DhcpServer({ clock, address, ...options }), udpPorts(host));
  const virtual = new VirtualFiles();
  for (const [name, bytes] of Object.entries(files)) virtual.set(name, bytes);
  new TftpServer({ host: udpPorts(host), clock, files: virtual });
};
const SUBNET = { network: '10.0.2.0', prefix: 24, pool: [{ from: '10.0.2.100', to: '10.0.2.110' }], router: '10.0.2.2' };
const proxy = (file: string): Partial<DhcpServerOptions> => ({ mode: 'proxy', booter: { decide: () => ({ boot: 'file', file }) } });

describe.skipIf(!hasCore)('booting by the PXE ROM', () => {
  it('from DHCP to the first instruction of the boot program, in no virtual time to speak of', async () => {
    const lab = new RomLab({ rules: [{ file: 'nbp' }], files: new Map([['nbp', NBP]]) });
    expect(await lab.run()).toMatchObject(DONE);
    expect(lab.serial.text).toContain('10.0.2.15 from 10.0.2.2; nbp from 10.0.2.2');
    expect(lab.client.events.map(({ stage }) => stage)).toEqual(['dhcp', 'dhcp', 'tftp', 'tftp', 'loader']);
    expect(lab.machine.nowNs).toBeLessThan(1e8);
  });

  it('is the same on every run', async () => {
    const once = async (): Promise<unknown> => {
      const lab = new RomLab({ rules: [{ file: 'nbp' }], files: new Map([['nbp', NBP]]) });
      const exit = await lab.run();
      return [exit, lab.story, lab.machine.stateHash()];
    };
    expect(await once()).toEqual(await once());
  });

  it('address from one server, file from a ProxyDHCP server', async () => {
    const offered = new RomLab({ rules: [], wire: rival('10.0.2.9', proxy('nbp'), { nbp: NBP }) });
    expect(await offered.run(), offered.story.join('\n')).toMatchObject(DONE);
    expect(offered.serial.text).toContain('nbp from 10.0.2.9');
  });

  const menu = (timeoutS: number, control = 0): Partial<DhcpServerOptions> => ({
    subnets: [{
      ...SUBNET,
      options: new Map([[OPT.vendor, encodeSuboptions([
        [PXE_VENDOR.discoveryControl, Uint8Array.of(control)],
        [PXE_VENDOR.bootServers, concatBytes([u16(0x8001), Uint8Array.of(1), ipv4Bytes('10.0.2.9'), u16(0x8002), Uint8Array.of(1), ipv4Bytes('10.0.2.9')])],
        [PXE_VENDOR.bootMenu, concatBytes([...[[0, 'Local disk'], [0x8001, 'Installer'], [0x8002, 'Rescue']].map(([type, text]) => concatBytes([u16(type as number), Uint8Array.of((text as string).length), utf8(text as string)]))])],
        [PXE_VENDOR.menuPrompt, concatBytes([Uint8Array.of(timeoutS), utf8('Press F8 for a menu')])],
      ])], [OPT.vendorClass, utf8('PXEClient')]]),
    }],
  });
  /** A boot server that answers on port 4011 alone. */
  const bootServer = rival('10.0.2.9', { mode: 'proxy', booter: { decide: ({ address }) => (address === undefined ? { boot: 'refuse', reason: 'no DISCOVERs' } : { boot: 'file', file: 'nbp' }) } }, { nbp: NBP });

  it('a boot menu: the first item after its time, another one by its number, its boot server asked on port 4011', async () => {
    const local = new RomLab({ alone: true, wire: (network, clock) => rival('10.0.2.5', menu(3))!(network, clock) });
    expect((await local.run()).reason).toBe('halted');
    expect(local.serial.text).toMatch(/Press F8 for a menu[^]*from the lo\s*cal disk/);
    expect(local.machine.nowNs).toBeGreaterThan(3e9);
    const chosen = new RomLab({ alone: true, wire: (network, clock) => { rival('10.0.2.5', menu(30))!(network, clock); bootServer!(network, clock); } });
    let typed = false;
    chosen.serial.onText = () => {
      if (typed || !chosen.serial.text.includes('Press F8')) return;
      typed = true;
      chosen.serial.sink.receive(Uint8Array.of(0x32));
    };
    expect(await chosen.run(), chosen.story.join('\n')).toMatchObject(DONE);
    expect(chosen.serial.text).toMatch(/1\. Local disk\s+2\. Installer\s+3\. Rescue/);
    expect(chosen.client.events.find(({ stage }) => stage === 'boot-server')?.text).toBe('boot server of type 32769');
  });

  /** The client's cable loses frames for it by what their UDP payload is. */
  const losing = (lost: (payload: Uint8Array, srcPort: number) => boolean): RomLabOptions['wire'] => network => {
    const port = network.switch.ports.find(({ name }) => name === 'client')!;
    const { emit } = port;
    port.emit = frame => {
      const packet = decodeIpv4(decodeEthernet(frame)!.payload);
      const udp = packet && decodeUdp(packet.payload, packet.src, packet.dst);
      if (udp === undefined || !lost(udp.payload, udp.srcPort)) emit.call(port, frame);
    };
  };
  /** A boot server whose file ends with an error in its midst. */
  const breaking: RomLabOptions['wire'] = (network, clock) => {
    const host = udpPorts(new IpHost({ port: network.connect({ name: 'breaking' }), clock, random: new Prng(1, 'breaking'), mac: Uint8Array.of(2, 0, 0, 0, 0, 9), address: parseIpv4('10.0.2.9')!, prefix: 24 }));
    const server = host.bind(69);
    server.onMessage = (from, bytes) => {
      const asked = decodeTftp(bytes);
      if (!asked.ok) return;
      if (asked.value.op === 'rrq') server.send(from, encodeTftp({ op: 'data', block: 1, data: patternBytes(512) }));
      else server.send(from, encodeTftp({ op: 'error', code: 3, message: 'the disk of the server is on fire' }));
    };
  };

  const failing: [string, RomLabOptions, RegExp, { stage: string; server?: string }][] = [
    ['no server on the wire', { alone: true }, /PXE-E51: No DHCP or proxyDHCP offers were received\. no DHCP server answered 4 DISCOVERs/, { stage: 'dhcp' }],
    ['a ProxyDHCP server alone', { alone: true, wire: rival('10.0.2.9', proxy('nbp')) }, /PXE-E52: [^]*only the ProxyDHCP server 10\.0\.2\.9 answered/, { stage: 'dhcp' }],
    ['no rule for the client', { rules: [{ match: { arch: 7 }, file: 'x' }] }, /PXE-E53: No boot filename received\. 10\.0\.2\.2 gave 10\.0\.2\.15 but no boot file/, { stage: 'boot-server' }],
    ['a boot file that is not there', { rules: [{ file: 'nothing.0' }] }, /PXE-T01: File not found nothing\.0: the server says: file not found \(error 1\)/, { stage: 'tftp', server: '10.0.2.2' }],
    ['a boot file out of reach', { rules: [{ file: '../secret' }] }, /PXE-T02: Access violation/, { stage: 'tftp', server: '10.0.2.2' }],
    ['a boot file on a server that is not there', { rules: [{ file: 'nbp', server: '10.0.2.50' }] }, /PXE-E32: TFTP open timeout nbp: no answer from 10\.0\.2\.50:69/, { stage: 'tftp', server: '10.0.2.50' }],
    ['an empty boot file', { rules: [{ file: 'empty' }], files: new Map([['empty', new Uint8Array(0)]]) }, /PXE-E3B: [^]*empty on 10\.0\.2\.2 is empty/, { stage: 'tftp', server: '10.0.2.2' }],
    ['a boot file larger than conventional memory', { rules: [{ file: 'big' }], files: new Map([['big', patternBytes(700_000)]]) }, /PXE-E79: NBP is too big to fit in free base memory/, { stage: 'tftp', server: '10.0.2.2' }],
    ['a DHCP server that does not acknowledge', { rules: [{ file: 'nbp' }], wire: losing((payload, port) => port === 67 && payload[242] === 5) }, /PXE-E18: Server response timeout\. 10\.0\.2\.2 offered 10\.0\.2\.15 and then did not acknowledge it/, { stage: 'dhcp' }],
    ['a boot server that falls silent in the midst', { rules: [{ file: 'long' }], files: new Map([['long', patternBytes(200_000)]]), wire: losing((payload, port) => port >= 1024 && payload[1] === 3 && payload[3] >= 40) }, /PXE-E35: TFTP read timeout long: the server 10\.0\.2\.2 fell silent after \d+ bytes of long/, { stage: 'tftp', server: '10.0.2.2' }],
    ['a boot server that ends with an error in the midst', { rules: [{ file: 'f', server: '10.0.2.9' }], wire: breaking }, /PXE-E36: Error received from TFTP server f: the server says: the disk of the server is on fire \(error 3\)/, { stage: 'tftp', server: '10.0.2.9' }],
    ['a cable that leads nowhere', { rules: [{ file: 'nbp' }], linkUp: false }, /PXE-E61: Media test failure, check cable/, { stage: 'link' }],
    ['a boot server that is silent', { alone: true, wire: rival('10.0.2.5', menu(0).subnets ? { subnets: [{ ...menu(0).subnets![0], options: new Map([...menu(0).subnets![0].options!].map(([code, value]) => [code, code === OPT.vendor ? encodeSuboptions([[PXE_VENDOR.bootServers, concatBytes([u16(1), Uint8Array.of(1), ipv4Bytes('10.0.2.99')])], [PXE_VENDOR.bootMenu, concatBytes([u16(1), Uint8Array.of(1), utf8('a')])]]) : value])) }] } : {}) }, /PXE-E55: [^]*the boot server 10\.0\.2\.99 gave no file and did not answer on port 4011/, { stage: 'boot-server' }],
  ];

  it.each(failing)('says where it stopped and why: %s', async (_, options, message, failure) => {
    const lab = new RomLab({ ...options, files: new Map<string, Uint8Array | string>([['nbp', NBP], ...(options.files ?? [])]) });
    const exit = await lab.run();
    expect(exit.reason).toBe('halted');
    expect(lab.serial.text.replace(/\s+/g, ' ')).toMatch(new RegExp(message.source.replaceAll('[^]*', '.*'), 's'));
    expect(lab.serial.text).toContain('No bootable device was found');
    expect(lab.client.rom.failure).toMatchObject(failure);
    expect(lab.client.events.at(-1)).toMatchObject({ stage: failure.stage, failure: { code: expect.stringMatching(/^PXE-[ET]/) } });
  });

  it('goes on with the next device of the order when the network has nothing, and when a loader returns', async () => {
    const failed = new RomLab({ rules: [], order: ['net', 'disk'] });
    await failed.run();
    expect(failed.serial.text).toMatch(/PXE-E53[^]*Cannot boot from the network: the PXE ROM gave up with PXE-E53[^]*Cannot boot from disk: this machine has none/);
    const returned = new RomLab({ rules: [{ file: 'ret' }], files: new Map([['ret', Uint8Array.of(0xcb)]]), order: ['net', 'disk'] });
    await returned.run();
    expect(returned.serial.text).toMatch(/ret from 10\.0\.2\.2[^]*Cannot boot from disk/);
  });

  it('arrives through loss and reordering', async () => {
    const lab = new RomLab({
      rules: [{ file: 'nbp' }], files: new Map([['nbp', new Uint8Array([...NBP, ...patternBytes(100_000)])]]),
      wire: network => network.switch.ports.find(port => port.name === 'client')!.impair({ up: { loss: 0.1 }, down: { loss: 0.1, delayNs: 1e6 } }),
    });
    expect(await lab.run(), lab.story.join('\n')).toMatchObject(DONE);
  });
});
