import { describe, expect, it } from 'vitest';
import { DhcpClient, type DhcpClientOptions, type DhcpClientResult } from '../../src/pxe/dhcp/client.js';
import { DhcpServer, type DhcpServerOptions } from '../../src/pxe/dhcp/server.js';
import { serveDhcp } from '../../src/pxe/dhcp/attach.js';
import type { Booter } from '../../src/pxe/booter.js';
import type { UdpEndpoint, UdpHost } from '../../src/pxe/endpoint.js';
import { Random } from '../support/random.js';
import { TestWire, type Impairment } from './support.js';

const SUBNET = { network: '10.0.0.0', prefix: 24, pool: [{ from: '10.0.0.100', to: '10.0.0.150' }] };
const booter: Booter = { decide: client => (client.kind === 'dhcp' ? { boot: 'refuse', reason: 'no' } : { boot: 'file', file: `${client.platform}.0` }) };

/** The wire sends to hardware addresses here by broadcasting: every client looks whether it is meant. */
const broadcasting = (host: UdpHost): UdpHost => ({
  ...host,
  bind: port => {
    const inner = host.bind(port);
    const outer: UdpEndpoint = { onMessage: undefined, send: (to, bytes, mac) => inner.send(mac ? { address: '255.255.255.255', port: to.port } : to, bytes), close: () => inner.close() };
    inner.onMessage = (from, bytes) => outer.onMessage?.(from, bytes);
    return outer;
  },
});

const lab = (impairment: Impairment = {}, seed = 1) => {
  const wire = new TestWire(seed, impairment);
  const random = new Random(seed);
  let clients = 0;
  const serve = (address: string, options: Partial<DhcpServerOptions> = {}) => {
    const server = new DhcpServer({ clock: wire.clock, address, subnets: [SUBNET], booter, ...options });
    return serveDhcp(server, broadcasting(wire.host(address)));
  };
  const boot = (options: Partial<DhcpClientOptions> = {}): { result?: DhcpClientResult } => {
    const n = ++clients;
    const state: { result?: DhcpClientResult } = {};
    // A firmware hears its own address once it has one; on this wire that is whoever listens on the port.
    const endpoint = wire.client(`0.0.0.${n}`, 68);
    new DhcpClient({
      endpoint,
      clock: wire.clock,
      mac: Uint8Array.of(0x52, 0x54, 0, 0, 0, n),
      random: () => random.u32(),
      pxe: { architecture: 0, uuid: Uint8Array.from({ length: 16 }, (_, i) => i + n) },
      onDone: result => (state.result = result),
      ...options,
    }).start();
    return state;
  };
  return { wire, serve, boot };
};

describe('PXE DHCP client against the server', () => {
  it('gets an address and a file at once from one server', () => {
    const { wire, serve, boot } = lab();
    serve('10.0.0.1');
    const state = boot();
    wire.run(1000, () => state.result !== undefined);
    expect(state.result).toMatchObject({ ok: true, address: '10.0.0.100', serverId: '10.0.0.1', boot: { server: '10.0.0.1', file: 'bios.0' } });
    expect(wire.clock.now).toBeLessThan(1e8);
  });

  it('an ordinary client gets an address only', () => {
    const { wire, serve, boot } = lab();
    serve('10.0.0.1');
    const state = boot({ pxe: undefined });
    wire.run(1000);
    expect(state.result).toMatchObject({ ok: true, boot: undefined });
  });

  it.each([0, 7, 9])('gets the address from one and the file from a ProxyDHCP server (architecture %i)', architecture => {
    const { wire, serve, boot } = lab();
    serve('10.0.0.1', { booter: undefined });
    serve('10.0.0.2', { mode: 'proxy' });
    const state = boot({ pxe: { architecture } });
    wire.run(100_000, () => state.result !== undefined);
    expect(state.result).toMatchObject({ ok: true, serverId: '10.0.0.1', boot: { server: '10.0.0.2', file: architecture === 0 ? 'bios.0' : 'efi-x64.0' } });
    expect(wire.seen.some(({ to }) => to.port === 4011)).toBe(architecture !== 0);
  });

  it('arrives through loss, doubling and reordering, each client with an address of its own', () => {
    for (let seed = 1; seed <= 8; seed++) {
      const { wire, serve, boot } = lab({ loss: 0.25, duplicate: 0.25, delayMs: [0.1, 50] }, seed);
      serve('10.0.0.1', { limits: { perSecond: 100 } });
      const states = Array.from({ length: 20 }, () => boot({ waitSeconds: [1, 2, 3, 4, 5, 6, 7, 8] }));
      wire.run(200_000, () => states.every(state => state.result));
      const addresses = states.map(({ result }) => (result?.ok ? result.address : JSON.stringify(result)));
      expect(new Set(addresses).size, addresses.join()).toBe(20);
      expect(addresses.every(address => address.startsWith('10.0.0.'))).toBe(true);
    }
  });

  it('chooses between two DHCP servers the one that has a boot file', () => {
    const { wire, serve, boot } = lab();
    serve('10.0.0.1', { booter: undefined });
    serve('10.0.0.2', { subnets: [{ ...SUBNET, pool: [{ from: '10.0.0.200', to: '10.0.0.210' }] }] });
    const state = boot();
    wire.run(100_000, () => state.result !== undefined);
    expect(state.result).toMatchObject({ ok: true, serverId: '10.0.0.2', address: '10.0.0.200' });
  });

  it.each<[string, (serve: ReturnType<typeof lab>['serve'], wire: TestWire) => void, { stage: string; reason: RegExp }]>([
    ['nobody answers', () => {}, { stage: 'no-offer', reason: /no DHCP server answered 4 DISCOVERs/ }],
    ['only a ProxyDHCP server answers', serve => void serve('10.0.0.2', { mode: 'proxy' }), { stage: 'no-lease', reason: /only the ProxyDHCP server 10\.0\.0\.2/ }],
    ['there is no boot file', serve => void serve('10.0.0.1', { booter: undefined }), { stage: 'no-boot-file', reason: /no boot file, and no ProxyDHCP/ }],
    [
      'the server goes after its offer',
      (serve, wire) => {
        serve('10.0.0.1');
        wire.filter = ({ from, bytes }) => !(from.address === '10.0.0.1' && bytes[242] === 5);
      },
      { stage: 'no-ack', reason: /offered 10\.0\.0\.100 and then did not acknowledge/ },
    ],
    [
      'port 4011 is silent',
      (serve, wire) => {
        serve('10.0.0.1', { booter: { decide: () => ({ boot: 'refuse', reason: '-' }) } });
        serve('10.0.0.2', { mode: 'proxy', booter: { decide: client => booter.decide({ ...client, platform: 'efi-x64' }) } });
        wire.filter = ({ to }) => to.port !== 4011;
      },
      { stage: 'boot-server-silent', reason: /10\.0\.0\.2 gave no file and did not answer on port 4011/ },
    ],
  ])('says why when %s', (_name, prepare, expected) => {
    const { wire, serve, boot } = lab();
    prepare(serve, wire);
    const state = boot(expected.stage === 'boot-server-silent' ? { pxe: { architecture: 7 } } : {});
    wire.run(300_000, () => state.result !== undefined);
    expect(state.result).toMatchObject({ ok: false, stage: expected.stage, reason: expect.stringMatching(expected.reason) });
  });

  it('gets nothing from an exhausted pool', () => {
    const { wire, serve, boot } = lab();
    serve('10.0.0.1', { subnets: [{ ...SUBNET, pool: [{ from: '10.0.0.100', to: '10.0.0.100' }] }] });
    const first = boot();
    wire.run(100_000, () => first.result !== undefined);
    const second = boot();
    wire.run(300_000, () => second.result !== undefined);
    expect(second.result).toMatchObject({ ok: false, stage: 'no-offer' });
  });
});
