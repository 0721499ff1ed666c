import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RealtimeClock, UdpSocketHost } from '../../src/host/backends/udp-socket.js';
import { serveNetboot, type ServeOptions } from '../../src/pxe/serve.js';
import { TftpDownload, type TftpResult } from '../../src/pxe/tftp/client.js';
import { blankDhcp, decodeDhcp, encodeDhcp, OPT, typeOption, type DhcpMessage } from '../../src/pxe/dhcp/codec.js';
import { ipv4Bytes, utf8, concatBytes } from '../../src/pxe/bytes.js';
import { patternBytes } from './support.js';

const LOOPBACK = Object.entries(networkInterfaces()).find(([, list]) => list?.some(entry => entry.address === '127.0.0.1'))?.[0] ?? 'lo';
const contents = patternBytes(3_000_000);
let root = '';

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'vmlet-serve-'));
  writeFileSync(join(root, 'kernel'), contents);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const serve = (options: Partial<ServeOptions> = {}) => serveNetboot({ interface: LOOPBACK, root, ports: { tftp: 0, dhcp: 0, proxy: 0 }, ...options });

const tftp = async (port: number, file: string, windowsize?: number): Promise<{ result: TftpResult; bytes: Uint8Array }> => {
  const clock = new RealtimeClock();
  const parts: Uint8Array[] = [];
  const alive = setInterval(() => {}, 1000);
  const result = await new Promise<TftpResult>(resolve =>
    new TftpDownload({
      endpoint: new UdpSocketHost('127.0.0.1').bind(0), clock, server: { address: '127.0.0.1', port }, file, blksize: 1468, windowsize,
      onData: bytes => parts.push(bytes.slice()), onDone: resolve,
    }).start(),
  );
  clearInterval(alive);
  return { result, bytes: concatBytes(parts) };
};

describe('serving real sockets', () => {
  it('TFTP and HTTP on the loopback, on free ports', async () => {
    const server = await serve({ http: {} });
    try {
      for (const windowsize of [undefined, 16]) {
        const { result, bytes } = await tftp(server.ports.tftp, 'kernel', windowsize);
        expect(result).toMatchObject({ ok: true, size: contents.length, blksize: 1468, windowsize: windowsize ?? 1 });
        expect(Buffer.compare(bytes, contents)).toBe(0);
      }
      expect((await tftp(server.ports.tftp, '../kernel')).result).toMatchObject({ ok: false, code: 2 });
      const response = await fetch(server.url('kernel')!, { headers: { range: 'bytes=100-199' } });
      expect(response.status).toBe(206);
      expect(new Uint8Array(await response.arrayBuffer())).toEqual(contents.slice(100, 200));
      expect(Buffer.compare(new Uint8Array(await (await fetch(server.url('kernel')!)).arrayBuffer()), contents)).toBe(0);
      expect((await fetch(server.url('no')!)).status).toBe(404);
      expect((await fetch(server.url('kernel')!, { method: 'POST', body: 'x' }).catch(() => ({ status: 405 }))).status).toBe(405);
    } finally {
      await server.close();
    }
  });

  it('configurations with words for their kernels, by TFTP and by HTTP', async () => {
    writeFileSync(join(root, 'txt.cfg'), 'label a\n kernel k\n append x\n');
    const server = await serve({ http: { root }, kernelWords: 'console=ttyS0' });
    try {
      expect(new TextDecoder().decode((await tftp(server.ports.tftp, 'txt.cfg')).bytes)).toBe('label a\n kernel k\n append x console=ttyS0\n');
      expect(await (await fetch(server.url('txt.cfg')!)).text()).toBe('label a\n kernel k\n append x console=ttyS0\n');
      expect(server.journal.events.filter(({ outcome }) => outcome === 'note').map(({ service, reason }) => `${service}: ${reason}`)).toEqual(["tftp: 1 kernel line with 'console=ttyS0' at the end", "http: 1 kernel line with 'console=ttyS0' at the end"]);
    } finally {
      await server.close();
    }
  });

  it('gives out signed URLs only, when told', async () => {
    const server = await serve({ tftp: false, http: { signed: true } });
    try {
      expect((await fetch(server.url('kernel')!, { method: 'HEAD' })).headers.get('content-length')).toBe(String(contents.length));
      expect((await fetch(`http://127.0.0.1:${server.ports.http}/kernel`)).status).toBe(403);
    } finally {
      await server.close();
    }
  });

  it('DHCP on unprivileged ports, with leases that survive a restart', async () => {
    const leaseFile = join(root, 'state', 'leases');
    const subnets = [{ network: '127.0.0.0', prefix: 8, pool: [{ from: '127.0.9.10', to: '127.0.9.20' }] }];
    const client = await new UdpSocketHost('127.0.0.1').open(0);
    const exchange = (port: number, type: 'DISCOVER' | 'REQUEST', options: [number, Uint8Array][]): Promise<DhcpMessage> =>
      new Promise((resolve, reject) => {
        client.onMessage = (_from, bytes) => {
          const decoded = decodeDhcp(bytes);
          if (decoded.ok) resolve(decoded.value);
          else reject(new Error(decoded.reason));
        };
        // As through a relay on our own host: its replies are what a socket without rights can hear.
        const message = { ...blankDhcp('request', Uint8Array.of(2, 0, 0, 0, 0, 1), 77), ciaddr: '127.0.0.1', options: new Map([[OPT.messageType, typeOption(type)], ...options]) };
        client.send({ address: '127.0.0.1', port }, encodeDhcp(message).bytes);
      });
    const options = { dhcp: 'full' as const, subnets, leaseFile, tftp: false as const, rules: [{ file: 'loader' }], ports: { dhcp: 20067 + (process.pid % 20000), dhcpClient: client.port, proxy: 0 } };
    const pxe: [number, Uint8Array][] = [[OPT.vendorClass, utf8('PXEClient')]];
    const first = await serve(options);
    const offer = await exchange(first.ports.dhcp, 'DISCOVER', pxe);
    expect(offer).toMatchObject({ yiaddr: '127.0.9.10', file: 'loader' });
    const ask: [number, Uint8Array][] = [...pxe, [OPT.serverId, ipv4Bytes('127.0.0.1')], [OPT.requestedAddress, ipv4Bytes('127.0.9.10')]];
    expect((await exchange(first.ports.dhcp, 'REQUEST', ask)).yiaddr).toBe('127.0.9.10');
    await first.close();
    const second = await serve(options);
    expect(second.dhcp!.leases.at('127.0.9.10')).toMatchObject({ state: 'bound', mac: '02:00:00:00:00:01' });
    await second.close();
    client.close();
  });

  it('says what is wrong, and leaves nothing open', async () => {
    await expect(serve({ interface: 'no-such-card' })).rejects.toThrow(/there is no interface 'no-such-card' that is up/);
    await expect(serve({ root: join(root, 'nowhere') })).rejects.toThrow(/does not exist/);
    await expect(serve({ dhcp: 'full' })).rejects.toThrow(/needs a subnet/);
    const server = await serve();
    await expect(serve({ http: {}, ports: { tftp: server.ports.tftp } })).rejects.toThrow(/is in use by another program/);
    await server.close();
    const again = await serve({ ports: { tftp: server.ports.tftp } });
    await again.close();
  });
});
