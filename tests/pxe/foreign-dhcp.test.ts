import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { serveNetboot, type NetbootServe, type ServeOptions } from '../../src/pxe/serve.js';
import { canUseNamespaces, patternBytes, program } from './support.js';

const usable = canUseNamespaces();
const why = 'network namespaces and bridges need root and iproute2';
const id = process.pid % 100_000;
const space = `vmlet-dhcp-${id}`;
const rival = `vmlet-rival-${id}`;
const ours = `vd${id}a`;
const theirs = 'eth0';
const NET = '10.231.77';
let folder = '';
let server: NetbootServe | undefined;

const ip = (...args: string[]): void => {
  const result = spawnSync('ip', args, { encoding: 'utf8' });
  if (result.status !== 0) throw new Error(`ip ${args.join(' ')}: ${result.stderr}`);
};

/** Runs a program in the client's namespace; ends it after `ms`. */
const inside = (path: string, args: readonly string[], ms = 20_000): Promise<string> =>
  new Promise(resolve => {
    const child = spawn('ip', ['netns', 'exec', space, path, ...args], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', data => (output += String(data)));
    child.stderr.on('data', data => (output += String(data)));
    const timer = setTimeout(() => child.kill('SIGTERM'), ms);
    child.on('close', () => {
      clearTimeout(timer);
      resolve(output);
    });
  });

/** Waits, turn by turn, until a message of that kind was handled. */
const arrival = async (what: string): Promise<void> => {
  const end = performance.now() + 5000;
  const there = (): boolean => server!.journal.events.some(event => event.what === what);
  while (!there() && performance.now() < end) await new Promise(resolve => setImmediate(resolve));
  expect(there()).toBe(true);
};

const serve = async (options: Partial<ServeOptions> = {}): Promise<NetbootServe> => {
  server = await serveNetboot({
    interface: ours, root: folder, dhcp: 'full', ownsNetwork: true,
    subnets: [{ network: `${NET}.0`, prefix: 24, pool: [{ from: `${NET}.100`, to: `${NET}.120` }], router: `${NET}.1`, dns: [`${NET}.1`], domain: 'lab.test', leaseSeconds: 300, routes: [{ network: '10.99.0.0', prefix: 16, gateway: `${NET}.2` }] }],
    rules: [{ match: { arch: 0 }, file: 'pxelinux.0' }, { match: { platform: 'efi-x64' }, file: 'bootx64.efi' }],
    ...options,
  });
  return server;
};

beforeAll(() => {
  if (!usable) return;
  folder = mkdtempSync(join(tmpdir(), 'vmlet-dhcp-'));
  chmodSync(folder, 0o755);
  writeFileSync(join(folder, 'pxelinux.0'), patternBytes(5000));
  writeFileSync(
    join(folder, 'script'),
    [
      '#!/bin/sh',
      '[ "$1" = deconfig ] && ip addr flush dev $interface',
      '[ "$1" = bound ] && ip addr add $ip/24 dev $interface && env | grep -E "^(ip|subnet|router|dns|domain|lease|serverid|siaddr|boot_file|bootfile|sname|tftp|staticroutes)=" | sort',
      'exit 0',
      '',
    ].join('\n'),
    { mode: 0o755 },
  );
  writeFileSync(join(folder, 'dhclient-script'), '#!/bin/sh\n[ -n "$new_ip_address" ] && ip addr add $new_ip_address/24 dev $interface\nexit 0\n', { mode: 0o755 });
  ip('link', 'add', ours, 'type', 'bridge');
  for (const [name, port, inner] of [[space, `vd${id}b`, theirs], [rival, `vd${id}c`, 'eth0']]) {
    ip('netns', 'add', name);
    ip('link', 'add', port, 'type', 'veth', 'peer', 'name', inner, 'netns', name);
    ip('link', 'set', port, 'master', ours, 'up');
    ip('-n', name, 'link', 'set', inner, 'up');
  }
  ip('addr', 'add', `${NET}.1/24`, 'dev', ours);
  ip('-n', rival, 'addr', 'add', `${NET}.3/24`, 'dev', 'eth0');
  ip('link', 'set', ours, 'up');
  // The bridge counts as running a moment after its ports do.
  for (let tries = 0; tries < 2000 && networkInterfaces()[ours] === undefined; tries++) spawnSync('ip', ['-n', space, 'link', 'show', 'up']);
});
afterEach(async () => {
  await server?.close();
  server = undefined;
});
afterAll(() => {
  if (!usable) return;
  for (const name of [space, rival]) spawnSync('ip', ['netns', 'del', name]);
  spawnSync('ip', ['link', 'del', ours]);
  rmSync(folder, { recursive: true, force: true });
});

const udhcpc = (...args: string[]): Promise<string> => inside(program('busybox')!, ['udhcpc', '-i', theirs, '-f', '-n', '-q', '-t', '6', '-T', '1', '-s', join(folder, 'script'), ...args]);
const hasUdhcpc = (): boolean => {
  const busybox = program('busybox');
  return busybox !== undefined && spawnSync(busybox, ['--list'], { encoding: 'utf8' }).stdout.split('\n').includes('udhcpc');
};

describe('foreign DHCP clients with our server', () => {
  it('udhcpc gets a lease with everything in it, and the same one again', async ctx => {
    if (!usable) return ctx.skip(why);
    if (!hasUdhcpc()) return ctx.skip('busybox with udhcpc is not installed');
    const { dhcp } = await serve({ tftp: false });
    const first = await udhcpc('-O', 'staticroutes', '-O', 'domain');
    expect(first).toContain(`ip=${NET}.100\n`);
    expect(first).toContain(`router=${NET}.1\n`);
    expect(first).toContain('domain=lab.test\n');
    expect(first).toContain('lease=300\n');
    expect(first).toContain(`serverid=${NET}.1\n`);
    expect(first).toMatch(new RegExp(`staticroutes=0\\.0\\.0\\.0/0 ${NET}\\.1 10\\.99\\.0\\.0/16 ${NET}\\.2`));
    expect(dhcp!.leases.at(`${NET}.100`)).toMatchObject({ state: 'bound' });
    expect(await udhcpc('-B')).toContain(`ip=${NET}.100\n`);
    expect(await udhcpc('-r', `${NET}.110`, '-C')).toContain(`ip=${NET}.1`);
  });

  it('udhcpc as a PXE client is told its file', async ctx => {
    if (!usable) return ctx.skip(why);
    if (!hasUdhcpc()) return ctx.skip('busybox with udhcpc is not installed');
    await serve();
    const output = await udhcpc('-V', 'PXEClient:Arch:00000:UNDI:002001', '-x', '0x5d:0000', '-O', 'tftp', '-O', 'bootfile');
    expect(output).toContain('boot_file=pxelinux.0\n');
    expect(output).toContain(`siaddr=${NET}.1\n`);
    // What it was told is there, from the address it was given.
    await inside(program('busybox')!, ['tftp', '-g', '-b', '1468', '-r', 'pxelinux.0', '-l', join(folder, 'fetched'), `${NET}.1`]);
    expect(Buffer.compare(readFileSync(join(folder, 'fetched')), patternBytes(5000))).toBe(0);
    const uefi = await udhcpc('-V', 'PXEClient:Arch:00009:UNDI:003016', '-x', '0x5d:0009');
    expect(uefi).toContain('boot_file=bootx64.efi\n');
  });

  it('dhclient binds, renews from its lease file and releases', async ctx => {
    if (!usable) return ctx.skip(why);
    const dhclient = program('dhclient');
    if (!dhclient) return ctx.skip('dhclient is not installed');
    await serve({ tftp: false });
    const files = ['-sf', join(folder, 'dhclient-script'), '-lf', join(folder, 'dhclient.leases'), '-pf', join(folder, 'dhclient.pid'), '-cf', '/dev/null'];
    const stop = async (): Promise<string> => inside(dhclient, ['-4', '-r', '-d', ...files, theirs]);
    const output = await inside(dhclient, ['-4', '-1', '-d', ...files, theirs], 6000);
    expect(output).toMatch(new RegExp(`bound to ${NET}\\.1\\d\\d`));
    const leases = readFileSync(join(folder, 'dhclient.leases'), 'utf8');
    expect(leases).toContain(`option dhcp-server-identifier ${NET}.1;`);
    expect(leases).toContain('option subnet-mask 255.255.255.0;');
    expect(existsSync(join(folder, 'dhclient.pid'))).toBe(true);
    await stop();
    expect(server!.journal.events.filter(event => event.outcome === 'failed')).toEqual([]);
    await arrival('RELEASE');
  });

  it("ipconfig, which does ip=dhcp for Debian's kernels", async ctx => {
    if (!usable) return ctx.skip(why);
    const ipconfig = '/usr/lib/klibc/bin/ipconfig';
    if (!existsSync(ipconfig)) return ctx.skip('ipconfig is not there: package klibc-utils');
    await serve({ tftp: false });
    const output = await inside(ipconfig, ['-c', 'dhcp', '-d', theirs, '-t', '15']);
    expect(output).toMatch(new RegExp(`address: ${NET}\\.1\\d\\d +broadcast: ${NET}\\.255 +netmask: 255\\.255\\.255\\.0`));
    expect(output).toMatch(new RegExp(`routes : 0\\.0\\.0\\.0/0 via ${NET}\\.1, 10\\.99\\.0\\.0/16 via ${NET}\\.2\\s+dns0 +: ${NET}\\.1`));
    expect(output).toMatch(new RegExp(`rootserver: ${NET}\\.1`));
    // Between the kernel and the root there may be an NFS server: BOOTP too.
    expect(await inside(ipconfig, ['-c', 'bootp', '-d', theirs, '-t', '15'])).toMatch(new RegExp(`address: ${NET}\\.1\\d\\d`));
  });

  it('as ProxyDHCP beside dnsmasq: ordinary clients are dnsmasq\'s, PXE clients hear us too', async ctx => {
    if (!usable) return ctx.skip(why);
    const dnsmasq = program('dnsmasq');
    if (!dnsmasq || !hasUdhcpc()) return ctx.skip('dnsmasq or busybox is not installed');
    const { dhcp, journal } = await serve({ dhcp: 'proxy', subnets: [], tftp: false });
    const args = ['--keep-in-foreground', '--conf-file=/dev/null', '--port=0', '--interface=eth0', '--bind-interfaces', `--dhcp-range=${NET}.200,${NET}.210,1h`, `--dhcp-leasefile=${join(folder, 'dnsmasq.leases')}`, '--user=root', '--pid-file='];
    const child = spawn('ip', ['netns', 'exec', rival, dnsmasq, ...args], { stdio: 'ignore' });
    const ended = new Promise(resolve => child.once('exit', resolve));
    try {
      // dnsmasq may need a moment to start; the client asks again.
      const output = await udhcpc('-t', '15');
      expect(output).toMatch(new RegExp(`^ip=${NET}\\.2\\d\\d$`, 'm'));
      expect(output).toContain(`serverid=${NET}.3\n`);
      expect(journal.events[0]).toMatchObject({ outcome: 'note', reason: 'a ProxyDHCP server answers PXE clients only' });
      // udhcpc knows no ProxyDHCP: it shows which offer came first, and we answered whatever it makes of it.
      await udhcpc('-V', 'PXEClient:Arch:00000:UNDI:002001', '-x', '0x5d:0000', '-t', '3');
      expect(journal.events.some(event => event.outcome === 'served' && event.reason === 'boots pxelinux.0 by rule 1')).toBe(true);
      expect(dhcp!.leases.size).toBe(0);
    } finally {
      child.kill('SIGTERM');
      await ended;
    }
  });
});
