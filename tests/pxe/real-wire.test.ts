// Our PXE ROM on a real Ethernet, with servers that others wrote: its frames go through a macvtap device into a bridge, on which each server has a
// network namespace of its own.
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { resolveImage } from '../../src/image/index.js';
import { VM, type VMOptions } from '../../src/index.js';
import { readCapture } from '../../src/net/pcapng.js';
import { type NetbootServe, serveNetboot } from '../../src/pxe/serve.js';
import { hasCore } from '../host/machine-support.js';
import { Macvtap, canUseMacvtap, ip } from './macvtap.js';
import { apiProgram } from './nbp.js';
import { canBoot } from '../support/guest-images.js';
import { canUseNamespaces, patternBytes, program } from './support.js';

const usable = hasCore && canUseNamespaces() && canUseMacvtap();
const why = 'a macvtap device in a network namespace cannot be made here: it needs root, iproute2 and the kernel with macvtap (try: ip link add link eth0 type macvtap)';
const id = process.pid % 100_000;
const bridge = `vr${id}`;
const cable = `vr${id}c`;
const NET = '10.231.78';
const MAC = '52:54:00:31:41:59';
/** Where servers live: by address. */
const PLACES = [1, 2, 3] as const;
const space = (place: number): string => `vmlet-wire-${id}-${place}`;
const PXELINUX = '/usr/lib/PXELINUX/pxelinux.0';
const LDLINUX = '/usr/lib/syslinux/modules/bios/ldlinux.c32';
let folder = '';
let root = '';
let wire: Macvtap | undefined;
const children: ChildProcess[] = [];
let own: NetbootServe | undefined;

beforeAll(() => {
  if (!usable) return;
  folder = mkdtempSync(join(tmpdir(), 'vmlet-wire-'));
  root = join(folder, 'tftp');
  mkdirSync(join(root, 'pxelinux.cfg'), { recursive: true });
  chmodSync(folder, 0o755);
  writeFileSync(join(root, 'nbp.0'), apiProgram([]));
  if (existsSync(PXELINUX) && existsSync(LDLINUX)) {
    copyFileSync(PXELINUX, join(root, 'pxelinux.0'));
    copyFileSync(LDLINUX, join(root, 'ldlinux.c32'));
    writeFileSync(join(root, 'pxelinux.cfg/default'), 'SAY over a real wire\nDEFAULT x\nLABEL x\n LOCALBOOT 0\n');
  }
  ip('link', 'add', bridge, 'type', 'bridge');
  ip('addr', 'add', `${NET}.10/24`, 'dev', bridge);
  ip('link', 'set', bridge, 'up');
  for (const place of PLACES) {
    const port = `vr${id}p${place}`;
    ip('netns', 'add', space(place));
    ip('link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space(place));
    ip('link', 'set', port, 'master', bridge, 'up');
    ip('-n', space(place), 'addr', 'add', `${NET}.${place}/24`, 'dev', 'eth0');
    for (const name of ['lo', 'eth0']) ip('-n', space(place), 'link', 'set', name, 'up');
  }
  ip('link', 'add', cable, 'type', 'veth', 'peer', 'name', `${cable}b`);
  ip('link', 'set', `${cable}b`, 'master', bridge, 'up');
  ip('link', 'set', cable, 'up');
  wire = new Macvtap(`vr${id}t`, cable, MAC);
  // The bridge counts as running a moment after its ports do.
  for (let tries = 0; tries < 2000 && networkInterfaces()[bridge] === undefined; tries++) spawnSync('ip', ['link', 'show', 'up']);
});

afterEach(async () => {
  await own?.close();
  own = undefined;
  await Promise.all(children.splice(0).map(child => new Promise(resolve => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve(undefined);
    child.once('exit', resolve);
    child.kill('SIGTERM');
  })));
});

afterAll(async () => {
  if (!usable) return;
  await wire?.close();
  spawnSync('ip', ['link', 'del', cable]);
  spawnSync('ip', ['link', 'del', bridge]);
  for (const place of PLACES) spawnSync('ip', ['netns', 'del', space(place)]);
  rmSync(folder, { recursive: true, force: true });
});

/** Whether a UDP port is open in a namespace, as its kernel tells. */
const isOpen = (place: number, port: number): boolean => {
  const table = spawnSync('ip', ['netns', 'exec', space(place), 'cat', '/proc/net/udp'], { encoding: 'utf8' }).stdout;
  return table.toUpperCase().includes(`:${port.toString(16).toUpperCase().padStart(4, '0')} `);
};

/** Starts a server in its namespace; returns when its ports are open. */
const serve = (place: number, path: string, args: readonly string[], ports: readonly number[]): void => {
  const child = spawn('ip', ['netns', 'exec', space(place), path, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', data => (said += String(data)));
  children.push(child);
  const endMs = performance.now() + 20_000;
  // Each look is a process of its own, so the server gets its time meanwhile.
  while (!ports.every(port => isOpen(place, port))) if (performance.now() > endMs) throw new Error(`${path} does not open ${ports.join()}: ${said}`);
};

const dnsmasq = (place: number, ...args: string[]): void =>
  serve(place, program('dnsmasq')!, ['--keep-in-foreground', '--conf-file=/dev/null', '--port=0', '--interface=eth0', '--bind-interfaces', '--user=root', '--pid-file=', '--leasefile-ro', '--no-ping', '--log-dhcp', ...args], [
    ...(args.some(arg => arg.startsWith('--dhcp-range')) ? [67] : []),
    ...(args.includes('--enable-tftp') ? [69] : []),
    ...(args.some(arg => arg.endsWith(',proxy')) ? [4011] : []),
  ]);
const POOL = `--dhcp-range=${NET}.100,${NET}.120,1h`;
const TFTP = (): string[] => ['--enable-tftp', `--tftp-root=${root}`];

/** A machine that boots from that wire; what its console said, and how it came along. */
const boot = async (options: VMOptions = {}): Promise<{ exit: string; code: number | undefined; text: string; story: string }> => {
  const pcap = join(folder, 'cable.pcapng');
  await using vm = await VM.start({ boot: 'net', nics: [{ connect: wire, mac: MAC }], time: 'realtime', memory: '32M', debugExit: 0xf4, timeout: '2m', wallTimeout: '3m', pcap, ...options });
  const exit = await vm.wait();
  const story = vm.netboot!.story.join('\n');
  await vm.stop();
  expectSound(pcap);
  return { exit: exit.reason, code: exit.code, text: vm.serial.text.replace(/\s+/g, ' '), story };
};

/** tshark and we ourselves find nothing wrong in a capture. */
const expectSound = (pcap: string): void => {
  expect(readCapture(readFileSync(pcap)).packets.length).toBeGreaterThan(3);
  const tshark = program('tshark');
  if (tshark === undefined) return;
  const said = execFileSync(tshark, ['-r', pcap, '-Y', '_ws.malformed || (_ws.expert.severity >= 8388608) || ip.checksum.status == 0 || udp.checksum.status == 0', '-o', 'ip.check_checksum:TRUE', '-o', 'udp.check_checksum:TRUE'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  expect(said).toBe('');
};

describe('the PXE ROM and servers of others on a real wire', () => {
  it('dnsmasq as DHCP and TFTP server', async ctx => {
    if (!usable) return ctx.skip(why);
    if (program('dnsmasq') === undefined) return ctx.skip('dnsmasq is not there: package dnsmasq-base');
    dnsmasq(1, POOL, '--dhcp-boot=nbp.0', ...TFTP());
    const { exit, code, text, story } = await boot();
    expect(text, story).toMatch(new RegExp(`${NET}\\.1\\d\\d from ${NET}\\.1; nbp\\.0 from ${NET}\\.1`));
    expect([exit, code]).toEqual(['debug-exit', 0x21]);
  });

  it('PXELINUX from dnsmasq: its configuration over that wire, then the local disk', async ctx => {
    if (!usable) return ctx.skip(why);
    if (program('dnsmasq') === undefined) return ctx.skip('dnsmasq is not there: package dnsmasq-base');
    if (!existsSync(PXELINUX) || !existsSync(LDLINUX)) return ctx.skip('PXELINUX is not there: packages pxelinux, syslinux-common');
    dnsmasq(1, POOL, '--dhcp-boot=pxelinux.0', ...TFTP());
    const { text, story } = await boot();
    expect(text, story).toMatch(/PXELINUX .*over a real wire.*No bootable device was found/);
  });

  it('dnsmasq as ProxyDHCP beside another DHCP server, its menu entry asked for on port 4011', async ctx => {
    if (!usable) return ctx.skip(why);
    if (program('dnsmasq') === undefined) return ctx.skip('dnsmasq is not there: package dnsmasq-base');
    dnsmasq(1, POOL);
    // dnsmasq adds the layer to the name: nbp.0.
    dnsmasq(2, `--dhcp-range=${NET}.0,proxy`, '--pxe-service=x86PC,Our program,nbp', ...TFTP());
    const { exit, code, text, story } = await boot();
    expect(text, story).toMatch(new RegExp(`${NET}\\.1\\d\\d from ${NET}\\.1; nbp\\.0 from ${NET}\\.2`));
    expect([exit, code]).toEqual(['debug-exit', 0x21]);
  });

  it("dnsmasq's boot menu: a key chooses, the prompt's time chooses the first", async ctx => {
    if (!usable) return ctx.skip(why);
    if (program('dnsmasq') === undefined) return ctx.skip('dnsmasq is not there: package dnsmasq-base');
    dnsmasq(1, POOL, '--pxe-prompt=Press F8,1', '--pxe-service=x86PC,Local disk,0', '--pxe-service=x86PC,Our program,nbp', ...TFTP());
    const waited = await boot();
    expect(waited.text, waited.story).toMatch(/Press F8.*from the lo ?cal disk/);
    await using vm = await VM.start({ boot: 'net', nics: [{ connect: wire, mac: MAC }], time: 'realtime', memory: '32M', debugExit: 0xf4, timeout: '2m', wallTimeout: '3m' });
    await vm.serial.expect('Press F8');
    vm.serial.send('2');
    const exit = await vm.wait();
    expect(vm.serial.text, vm.netboot!.story.join('\n')).toMatch(/1\. Local disk\s+2\. Our program/);
    expect([exit.reason, exit.code]).toEqual(['debug-exit', 0x21]);
  });

  it.for([
    ['tftpd-hpa', 'in.tftpd', ['--foreground', '--user', 'nobody', '--secure']],
    ['atftpd', 'atftpd', ['--daemon', '--no-fork', '--user', 'root', '--group', 'root']],
  ] as const)('address from dnsmasq, file from %s', async ([server, name, args], ctx) => {
    if (!usable) return ctx.skip(why);
    const path = program(name);
    if (program('dnsmasq') === undefined || path === undefined) return ctx.skip(`dnsmasq or ${server} is not there: packages dnsmasq-base, ${server}`);
    dnsmasq(1, POOL, `--dhcp-boot=nbp.0,files,${NET}.3`);
    serve(3, path, [...args, root], [69]);
    const { exit, text, story } = await boot();
    expect(text, story).toMatch(new RegExp(`nbp\\.0 from ${NET}\\.3`));
    expect(exit).toBe('debug-exit');
  });

  it('says what dnsmasq refuses, and who', async ctx => {
    if (!usable) return ctx.skip(why);
    if (program('dnsmasq') === undefined) return ctx.skip('dnsmasq is not there: package dnsmasq-base');
    dnsmasq(1, POOL, '--dhcp-boot=absent.0', ...TFTP());
    const { text, exit } = await boot();
    expect(text).toMatch(/PXE-T01: File not found absent\.0: the server says: file .*absent\.0 not found/);
    expect(exit).toBe('halted');
  });

  it('our own servers on that interface: alone, and as ProxyDHCP beside dnsmasq', async ctx => {
    if (!usable) return ctx.skip(why);
    if (program('dnsmasq') === undefined) return ctx.skip('dnsmasq is not there: package dnsmasq-base');
    const common = { interface: bridge, root, ownsNetwork: true, rules: [{ match: { arch: 0 }, file: 'nbp.0' }] };
    own = await serveNetboot({ ...common, dhcp: 'full', subnets: [{ network: `${NET}.0`, prefix: 24, pool: [{ from: `${NET}.200`, to: `${NET}.210` }] }] });
    const alone = await boot();
    expect(alone.text, alone.story).toMatch(new RegExp(`${NET}\\.200 from ${NET}\\.10; nbp\\.0 from ${NET}\\.10`));
    await own.close();
    dnsmasq(1, POOL);
    own = await serveNetboot({ ...common, dhcp: 'proxy' });
    const beside = await boot();
    expect(beside.text, beside.story).toMatch(new RegExp(`${NET}\\.1\\d\\d from ${NET}\\.1; nbp\\.0 from ${NET}\\.10`));
    expect(own.journal.events.filter(({ outcome }) => outcome === 'failed')).toEqual([]);
  });

  it('Debian from dnsmasq to its shell: the kernel drives the card itself, and a web server of that wire is reached', { timeout: 300_000 }, async ctx => {
    if (!usable) return ctx.skip(why);
    if (program('dnsmasq') === undefined || program('busybox') === undefined) return ctx.skip('dnsmasq or busybox is not there: packages dnsmasq-base, busybox');
    if (!existsSync(PXELINUX) || !existsSync(LDLINUX)) return ctx.skip('PXELINUX is not there: packages pxelinux, syslinux-common');
    if (!canBoot('i386')) return ctx.skip('the image i386 is not in the cache: vmlet image pull i386');
    const { kernel, initrd, cmdline } = await resolveImage('i386');
    copyFileSync(kernel.bzImage, join(root, 'vmlinuz'));
    copyFileSync(initrd, join(root, 'initrd.img'));
    const bytes = patternBytes(300_000);
    writeFileSync(join(root, 'data'), bytes);
    mkdirSync(join(root, 'debian/pxelinux.cfg'), { recursive: true });
    for (const name of ['pxelinux.0', 'ldlinux.c32']) copyFileSync(join(root, name), join(root, 'debian', name));
    writeFileSync(join(root, 'debian/pxelinux.cfg/default'), `DEFAULT x\nLABEL x\n KERNEL ::/vmlinuz\n INITRD ::/initrd.img\n APPEND ${cmdline} quiet panic=-1 vmlet.shell vmlet.net=dhcp\n`);
    dnsmasq(1, POOL, '--dhcp-boot=debian/pxelinux.0', ...TFTP());
    serve(3, program('busybox')!, ['httpd', '-f', '-p', '80', '-h', root], []);
    await using vm = await VM.start({ boot: 'net', nics: [{ connect: wire, mac: MAC, model: 'e1000' }], time: 'realtime', memory: '64M', timeout: '4m', wallTimeout: '4m' });
    await vm.serial.expect(/root@[^\n]*:~# /, { timeout: '200s' });
    vm.serial.send(`ip -4 -o addr show dev eth0; for i in 1 2 3; do wget -q -O - http://${NET}.3/data && break; sleep 1; done | md5sum\n`);
    await vm.serial.expect(new RegExp(`eth0 +inet ${NET}\\.1\\d\\d/24[^]*${createHash('md5').update(bytes).digest('hex')}`), { timeout: '30s' });
  });
});
