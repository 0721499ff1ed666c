import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../../src/cli/run-cli.js';
import { UdpSocketHost } from '../../src/host/backends/udp-socket.js';
import { ipv4Bytes, utf8 } from '../../src/pxe/bytes.js';
import { blankDhcp, decodeDhcp, encodeDhcp, OPT, typeOption, type DhcpMessage } from '../../src/pxe/dhcp/codec.js';
import { canUseNamespaces, patternBytes, program } from '../pxe/support.js';
import { cli, FakeIo } from '../support/cli.js';

const LOOPBACK = Object.entries(networkInterfaces()).find(([, list]) => list?.some(entry => entry.address === '127.0.0.1'))?.[0] ?? 'lo';
const kernel = patternBytes(300_001);
let folder = '';
const file = (name: string, text: string | Uint8Array): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'vmlet-cli-serve-'));
  file('kernel', kernel);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Serves while `use` runs, then sends a signal; returns the exit code. */
const serving = async (args: string[], use: (output: () => string, note: (pattern: RegExp) => Promise<RegExpExecArray>) => Promise<void>, signal: 'SIGINT' | 'SIGTERM' = 'SIGINT'): Promise<{ code: number; stdout: string; stderr: string }> => {
  const io = new FakeIo();
  const waiting: { pattern: RegExp; resolve: (match: RegExpExecArray) => void }[] = [];
  const look = (text: string): void => {
    for (const { pattern, resolve } of waiting) {
      const match = pattern.exec(text);
      if (match) resolve(match);
    }
  };
  io.stderr.onText = look;
  const ended = runCli(['netboot', 'serve', '--interface', LOOPBACK, ...args], io);
  const failed = ended.then(code => {
    throw new Error(`it ended early with ${code}: ${io.stderr.text}`);
  });
  failed.catch(() => {});
  const note = (pattern: RegExp): Promise<RegExpExecArray> => {
    const found = new Promise<RegExpExecArray>(resolve => waiting.push({ pattern, resolve }));
    look(io.stderr.text);
    return Promise.race([found, failed]);
  };
  try {
    await note(/Ctrl-C ends it/);
    await use(() => io.stdout.text, note);
  } finally {
    io.signal(signal);
  }
  return { code: await ended, stdout: io.stdout.text, stderr: io.stderr.text };
};

const run = (path: string, args: readonly string[]): Promise<number | null> =>
  new Promise(resolve => {
    const child = spawn(path, args, { cwd: folder, stdio: ['pipe', 'ignore', 'ignore'] });
    child.on('close', resolve);
    child.on('error', () => resolve(-1));
    child.stdin.end();
  });

describe('netboot serve', () => {
  it('serves a folder by TFTP and HTTP to foreign clients, on ports without rights, and ends by Ctrl-C', async ctx => {
    const tftp = program('tftp');
    const curl = program('curl');
    if (!tftp || !curl || !spawnSync(tftp, ['-V'], { encoding: 'utf8' }).stdout.includes('hpa')) return ctx.skip('tftp-hpa or curl is not installed');
    const { code, stdout, stderr } = await serving(['--tftp', folder, '--http', folder, '--tftp-port', '0', '--http-port', '0'], async (_, note) => {
      const port = (await note(/TFTP on 127\.0\.0\.1:(\d+)/))[1];
      await run(tftp, ['-m', 'binary', '127.0.0.1', port, '-c', 'get', 'kernel', 'by-tftp']);
      expect(Buffer.compare(readFileSync(join(folder, 'by-tftp')), kernel)).toBe(0);
      const [, url] = await note(/HTTP on (http:\S+)/);
      expect(await run(curl, ['-sf', '-o', 'by-http', '-r', '1000-', url.replace(/,$/, '') + 'kernel'])).toBe(0);
      expect(Buffer.compare(readFileSync(join(folder, 'by-http')), kernel.subarray(1000))).toBe(0);
      await run(tftp, ['-m', 'binary', '127.0.0.1', port, '-c', 'get', '../../etc/passwd', 'stolen']);
      expect(existsSync(join(folder, 'stolen')) && readFileSync(join(folder, 'stolen')).length > 0).toBe(false);
    });
    expect(code).toBe(130);
    expect(stderr).not.toContain('internal error');
    expect(stdout).toMatch(/tftp: 127\.0\.0\.1:\d+: RRQ kernel: served/);
    expect(stdout).toMatch(/http: 127\.0\.0\.1: GET \/kernel: served: 206/);
    expect(stdout).toMatch(/RRQ \.\.\/\.\.\/etc\/passwd: refused: the path contains '\.\.'/);
  });

  it('boot rules in YAML decide; leases survive a restart', async () => {
    const client = await new UdpSocketHost('127.0.0.1').open(0);
    const exchange = (port: number, type: 'DISCOVER' | 'REQUEST', options: [number, Uint8Array][]): Promise<DhcpMessage> =>
      new Promise((resolve, reject) => {
        client.onMessage = (_from, bytes) => {
          const decoded = decodeDhcp(bytes);
          if (decoded.ok) resolve(decoded.value);
          else reject(new Error(decoded.reason));
        };
        const message = { ...blankDhcp('request', Uint8Array.of(2, 0, 0, 0, 0, 9), 77), ciaddr: '127.0.0.1', options: new Map([[OPT.messageType, typeOption(type)], ...options]) };
        client.send({ address: '127.0.0.1', port }, encodeDhcp(message).bytes);
      });
    const rules = file('rules.yaml', `
mode: dhcp
subnets: {subnet: 127.0.0.0/8, pool: 127.0.9.10-127.0.9.20, leaseSeconds: 600}
ipxe: {bios: undionly.kpxe}
rules:
  - {name: scripts, match: {userClass: iPXE}, ipxe: boot.ipxe}
  - {match: {arch: [0], mac: '02:00:*'}, file: pxelinux.0}
  - {deny: 'not one of ours'}
`);
    const dhcpPort = 20_000 + (process.pid % 20_000);
    const leases = join(folder, 'leases');
    const args = ['--rules', rules, '--leases', leases, '--tftp', folder, '--tftp-port', '0', '--proxy-port', '0', '--dhcp-port', String(dhcpPort), '--dhcp-client-port', String(client.port), '--json'];
    const pxe: [number, Uint8Array][] = [[OPT.vendorClass, utf8('PXEClient:Arch:00000:UNDI:002001')]];
    const first = await serving(args, async () => {
      expect(await exchange(dhcpPort, 'DISCOVER', pxe)).toMatchObject({ yiaddr: '127.0.9.10', file: 'pxelinux.0' });
      expect(await exchange(dhcpPort, 'DISCOVER', [...pxe, [OPT.userClass, utf8('iPXE')]])).toMatchObject({ file: 'boot.ipxe' });
      const ask: [number, Uint8Array][] = [...pxe, [OPT.serverId, ipv4Bytes('127.0.0.1')], [OPT.requestedAddress, ipv4Bytes('127.0.9.10')]];
      expect(await exchange(dhcpPort, 'REQUEST', ask)).toMatchObject({ yiaddr: '127.0.9.10' });
    });
    expect(first.code).toBe(130);
    const events = first.stdout.trim().split('\n').map(line => JSON.parse(line) as { what: string; outcome: string; reason?: string });
    expect(events.filter(({ outcome }) => outcome === 'served').map(({ what, reason }) => `${what} ${reason}`)[0]).toMatch(/DISCOVER.*pxelinux\.0 by rule 2/);
    expect(readFileSync(leases, 'utf8')).toMatch(/^127\.0\.9\.10\t02:00:00:00:00:09\t-\tbound\t\d+\tboot\t$/m);
    const second = await serving(args, async () => {
      // Known from before the restart: a request for it is acknowledged although this server never offered it.
      const again: [number, Uint8Array][] = [...pxe, [OPT.requestedAddress, ipv4Bytes('127.0.9.10')]];
      expect(await exchange(dhcpPort, 'REQUEST', again)).toMatchObject({ yiaddr: '127.0.9.10' });
    }, 'SIGTERM');
    expect(second.code).toBe(143);
    client.close();
  });

  it.each<[string, string[], RegExp]>([
    ['no interface', [], /required option '--interface/],
    ['an interface that is not there', ['--interface', 'nope0', '--tftp', '.'], /no interface 'nope0'[^]*interfaces with an IPv4 address/],
    ['nothing to serve', ['--interface', LOOPBACK], /nothing to serve[^]*--tftp or --http/],
    ['a folder that is not there', ['--interface', LOOPBACK, '--tftp', '/no/such', '--tftp-port', '0'], /'\/no\/such' cannot be served: it does not exist/],
    ['words without a folder', ['--interface', LOOPBACK, '--proxy', '--append', 'quiet'], /--append is for the configurations in a folder/],
    ['empty words', ['--interface', LOOPBACK, '--tftp', '.', '--append', ' '], /--append: the command line is empty/],
    ['both kinds of DHCP', ['--interface', LOOPBACK, '--proxy', '--dhcp', '127.0.0.5-127.0.0.9'], /exclude each other/],
    ['a range that is none', ['--interface', LOOPBACK, '--dhcp', '9-5'], /no range of addresses/],
    ['a range elsewhere', ['--interface', LOOPBACK, '--dhcp', '10.0.0.1-10.0.0.9'], /not inside the network of/],
    ['leases without DHCP', ['--interface', LOOPBACK, '--tftp', '.', '--leases', 'x'], /--leases is for a DHCP server/],
    ['a port that is none', ['--interface', LOOPBACK, '--tftp', '.', '--tftp-port', '70000'], /--tftp-port: '70000'/],
    ['rules that are not there', ['--interface', LOOPBACK, '--rules', '/no/such.yaml'], /rules file \/no\/such\.yaml cannot be read: there is no such file/],
    ['signed URLs without HTTP', ['--interface', LOOPBACK, '--tftp', '.', '--signed-urls'], /--signed-urls is for HTTP/],
  ])('refuses %s', async (_, args, message) => {
    const result = await cli(['netboot', 'serve', ...args]);
    expect(result.stderr).toMatch(message);
    expect(result.code).toBe(125);
    expect(result.stderr).not.toContain('internal error');
  });

  it('asks for consent before it answers DHCP on a real network, and refuses beside another DHCP server', async ctx => {
    const dnsmasq = program('dnsmasq');
    if (!canUseNamespaces() || !dnsmasq) return ctx.skip('network namespaces need root and iproute2, and dnsmasq is asked');
    const id = process.pid % 100_000;
    const [ours, theirs, space] = [`vs${id}a`, `vs${id}b`, `vmlet-serve-${id}`];
    const ip = (...args: string[]): void => {
      const result = spawnSync('ip', args, { encoding: 'utf8' });
      if (result.status !== 0) throw new Error(`ip ${args.join(' ')}: ${result.stderr}`);
    };
    ip('netns', 'add', space);
    try {
      ip('link', 'add', ours, 'type', 'veth', 'peer', 'name', theirs, 'netns', space);
      ip('addr', 'add', '10.231.78.1/24', 'dev', ours);
      ip('link', 'set', ours, 'up');
      ip('-n', space, 'addr', 'add', '10.231.78.3/24', 'dev', theirs);
      ip('-n', space, 'link', 'set', theirs, 'up');
      for (let tries = 0; tries < 2000 && networkInterfaces()[ours] === undefined; tries++) spawnSync('ip', ['link', 'show', 'up']);
      const args = ['netboot', 'serve', '--interface', ours, '--dhcp', '10.231.78.100-10.231.78.110'];
      const refused = await cli(args);
      expect(refused).toMatchObject({ code: 125 });
      expect(refused.stderr).toMatch(/affects every machine of that network[^]*--i-own-this-network/);
      const child = spawn('ip', ['netns', 'exec', space, dnsmasq, '--keep-in-foreground', '--conf-file=/dev/null', '--port=0', '--no-ping', `--interface=${theirs}`, '--bind-interfaces', '--dhcp-range=10.231.78.200,10.231.78.210,1h', `--dhcp-leasefile=${join(folder, 'dnsmasq.leases')}`, '--user=root', '--pid-file=', '--log-facility=-'], { stdio: ['ignore', 'ignore', 'pipe'] });
      const exited = new Promise(resolve => child.once('exit', resolve));
      try {
        // It has said what it serves when it is up.
        await new Promise<void>(resolve => {
          let said = '';
          child.stderr.on('data', data => (said += String(data)).includes('IP range') && resolve());
          child.once('exit', () => resolve());
        });
        const rival = await cli([...args, '--i-own-this-network']);
        expect(rival.stderr).toMatch(/another DHCP server, 10\.231\.78\.3, answers on[^]*--proxy/);
        expect(rival.code).toBe(125);
      } finally {
        child.kill('SIGTERM');
        await exited;
      }
    } finally {
      spawnSync('ip', ['netns', 'del', space]);
      spawnSync('ip', ['link', 'del', ours]);
    }
  });
});
