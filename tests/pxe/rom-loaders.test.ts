// Real boot loaders of Debian's packages through our PXE ROM.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { MemoryBlock } from '../../src/host/backends/block.js';
import { hasCore } from '../host/machine-support.js';
import { plain } from '../../src/vm-serial.js';
import { RomLab, type RomLabOptions } from './rom-support.js';
import { patternBytes, program } from './support.js';

const folder = mkdtempSync(join(tmpdir(), 'vmlet-loaders-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const MODULES = '/usr/lib/syslinux/modules/bios';
const read = (path: string): Uint8Array => new Uint8Array(readFileSync(path));

type Files = ReadonlyMap<string, Uint8Array | string>;
/** Why a test is skipped, or nothing. */
const lacking = (...needed: [path: string, name: string][]): string | undefined => {
  const missing = needed.filter(([path]) => !existsSync(path)).map(([path, name]) => `${path} (package ${name})`);
  return missing.length > 0 ? `not there: ${missing.join(', ')}` : undefined;
};

const run = async (options: RomLabOptions & { files: Files }): Promise<{ lab: RomLab; text: string; reason: string }> => {
  const parts: Uint8Array[] = [];
  const lab = new RomLab({ ...options, capture: bytes => parts.push(bytes.slice()), machine: { memoryBytes: 64 * 2 ** 20, timeoutNs: 60e9, ...options.machine } });
  const { reason } = await lab.run();
  expect(lab.guestLog).toEqual([]);
  expectSound(Buffer.concat(parts));
  return { lab, text: plain(lab.serial.text), reason };
};

/** tshark finds nothing malformed in what passed over the cable. */
const expectSound = (capture: Uint8Array): void => {
  const tshark = program('tshark');
  if (tshark === undefined) return;
  const path = join(folder, 'cable.pcapng');
  writeFileSync(path, capture);
  const said = execFileSync(tshark, ['-r', path, '-Y', '_ws.malformed || (_ws.expert.severity >= 8388608) || ip.checksum.status == 0 || udp.checksum.status == 0', '-o', 'ip.check_checksum:TRUE', '-o', 'udp.check_checksum:TRUE'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  expect(said).toBe('');
};

const pxelinux = (loader: 'pxelinux.0' | 'lpxelinux.0', config: string, more: [string, Uint8Array | string][] = []): RomLabOptions & { files: Files } => ({
  rules: [{ file: loader }],
  files: new Map<string, Uint8Array | string>([[loader, read(`/usr/lib/PXELINUX/${loader}`)], ...['ldlinux', 'menu', 'libutil'].map((name): [string, Uint8Array] => [`${name}.c32`, read(`${MODULES}/${name}.c32`)]), ['pxelinux.cfg/default', config], ...more]),
});
const MENU = 'UI menu.c32\nMENU TITLE our menu\nTIMEOUT 3\nLABEL x\n MENU LABEL the local disk\n LOCALBOOT 0\n';
const syslinux = lacking(['/usr/lib/PXELINUX/pxelinux.0', 'pxelinux'], [`${MODULES}/ldlinux.c32`, 'syslinux-common']);
const ipxe = lacking(['/usr/lib/ipxe/undionly.kpxe', 'ipxe'], ['/usr/lib/ipxe/ipxe.lkrn', 'ipxe']);

describe.skipIf(!hasCore)('boot loaders through the PXE ROM', () => {
  it.for(['pxelinux.0', 'lpxelinux.0'] as const)('%s: its configuration by UUID, MAC and address, a menu, and back to the firmware', async (loader, ctx) => {
    if (syslinux) return ctx.skip(syslinux);
    const { lab, text, reason } = await run(pxelinux(loader, MENU));
    expect(text).toContain('PXELINUX');
    expect(text).toMatch(/our menu[^]*the local disk/);
    expect(text).toContain('No bootable device was found');
    expect(reason).toBe('halted');
    const asked = lab.server.journal.events.filter(({ service }) => service === 'tftp').map(({ what }) => what);
    expect(asked).toEqual(expect.arrayContaining([expect.stringMatching(/pxelinux\.cfg\/[0-9a-f-]{36}$/), 'RRQ pxelinux.cfg/01-52-54-00-12-34-56', 'RRQ pxelinux.cfg/0A00020F', 'RRQ pxelinux.cfg/default', 'RRQ menu.c32']));
    // The old one uses the UDP API, the new one drives UNDI itself.
    expect([...lab.client.rom.calls.keys()]).toContain(loader === 'pxelinux.0' ? 'UDP_READ' : 'UNDI_ISR');
  });

  it.for(['LOCALBOOT 0', 'COM32 chain.c32\n APPEND hd0'])('pxelinux.0 hands over to the disk: %j', async (way, ctx) => {
    if (syslinux) return ctx.skip(syslinux);
    const disk = new MemoryBlock(1 << 20);
    // Says D by INT 10h and ends.
    disk.write(0, Uint8Array.of(0xb8, 0x44, 0x0e, 0xbb, 7, 0, 0xcd, 0x10, 0xb0, 0x21, 0xe6, 0xf4, 0xf4));
    disk.write(510, Uint8Array.of(0x55, 0xaa));
    const more = ['chain', 'libcom32'].map((name): [string, Uint8Array] => [`${name}.c32`, read(`${MODULES}/${name}.c32`)]);
    const { text, lab } = await run({ ...pxelinux('pxelinux.0', `DEFAULT x\nLABEL x\n ${way}\n`, more), order: ['net', 'disk'], machine: { ideDisks: [disk] } });
    expect(text, lab.story.join('\n')).toMatch(/D$/);
  });

  it('pxelinux.0 unloads the ROM when it starts a kernel, and memtest86+ runs', async ctx => {
    const missing = syslinux ?? lacking(['/boot/memtest86+x64.bin', 'memtest86+']);
    if (missing) return ctx.skip(missing);
    const lab = new RomLab({ ...pxelinux('pxelinux.0', 'DEFAULT x\nLABEL x\n KERNEL memtest\n APPEND console=ttyS0,115200\n', [['memtest', read('/boot/memtest86+x64.bin')]]), machine: { memoryBytes: 64 * 2 ** 20, timeoutNs: 30e9 } });
    await lab.until(/Memtest86\+/);
    expect(plain(lab.serial.text)).toMatch(/Loading memtest\.\.\. ok[^]*Memtest86\+/);
    expect([...lab.client.rom.calls.keys()]).toEqual(expect.arrayContaining(['UNDI_SHUTDOWN', 'UNLOAD_STACK', 'STOP_UNDI']));
  });

  it('undionly.kpxe: takes UNDI over, runs a script and returns', async ctx => {
    if (ipxe) return ctx.skip(ipxe);
    const { lab, text, reason } = await run({
      rules: [{ match: { userClass: 'iPXE' }, ipxe: 'boot.ipxe' }, { file: 'undionly.kpxe' }],
      files: new Map<string, Uint8Array | string>([['undionly.kpxe', read('/usr/lib/ipxe/undionly.kpxe')], ['boot.ipxe', '#!ipxe\necho the script runs on ${net0/ip} ${net0/mac}\nimgfetch big && imgstat\nexit\n'], ['big', patternBytes(300_000)]]),
    });
    expect(text.replace(/\s+/g, ' ')).toMatch(/UNDI device is PCI 00:0\d\.0, type DIX\+802\.3 .* the script runs on 10\.0\.2\.15 52:54:00:12:34:56 .*big : 300000 bytes/);
    expect(reason).toBe('halted');
    // Without an answer iPXE looks for IPv6 routers for 16 s.
    expect(lab.machine.nowNs).toBeLessThan(8e9);
  });

  it("ipxe.lkrn, loaded by pxelinux.0: drives the card itself, does what its command line says and returns", async ctx => {
    const missing = syslinux ?? ipxe;
    if (missing) return ctx.skip(missing);
    const words = 'dhcp && echo the command line runs on ${net0/ip} && chain tftp://10.0.2.2/boot.ipxe';
    const { text, reason } = await run({
      ...pxelinux('pxelinux.0', `DEFAULT x\nLABEL x\n KERNEL ipxe.lkrn\n APPEND ${words}\n`, [['ipxe.lkrn', read('/usr/lib/ipxe/ipxe.lkrn')], ['boot.ipxe', '#!ipxe\nimgfetch big && imgstat\nexit\n'], ['big', patternBytes(300_000)]]),
      model: 'e1000',
    });
    expect(text.replace(/\s+/g, ' ')).toMatch(/Loading ipxe\.lkrn\.\.\. ok .*iPXE initialising devices\.\.\.ok .*the command line runs on 10\.0\.2\.15 .*big : 300000 bytes/);
    expect(reason).toBe('halted');
  }, 120_000);

  it("GRUB's i386-pc-pxe core: its own stack on UNDI, its configuration, and power off", async ctx => {
    const mkimage = program('grub-mkimage');
    const missing = mkimage === undefined ? 'grub-mkimage is not there: package grub-common' : lacking(['/usr/lib/grub/i386-pc/pxe.mod', 'grub-pc-bin']);
    if (missing) return ctx.skip(missing);
    const core = join(folder, 'core.0');
    spawnSync(mkimage!, ['-O', 'i386-pc-pxe', '-o', core, '-p', '(pxe)/boot/grub', 'pxe', 'tftp', 'normal', 'configfile', 'echo', 'halt', 'net', 'boot']);
    const { text, reason } = await run({ rules: [{ file: 'core.0' }], files: new Map<string, Uint8Array | string>([['core.0', read(core)], ['boot/grub/grub.cfg', 'echo hello from grub on $net_default_ip $net_default_mac\nhalt\n']]) });
    expect(text).toMatch(/Welcome to GRUB![^]*hello from grub on 10\.0\.2\.15 52:54:00:12:34:56/);
    expect(reason).toBe('poweroff');
  });
});
