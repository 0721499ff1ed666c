// Debian by the network: our PXE ROM, Debian's boot loaders, Debian's kernels with the initramfs of the built-in guests.
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { resolveImage } from '../../src/image/index.js';
import { VM } from '../../src/index.js';
import { canBoot } from '../support/guest-images.js';

const folder = mkdtempSync(join(tmpdir(), 'vmlet-debian-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const MODULES = '/usr/lib/syslinux/modules/bios';
const hasLoaders = existsSync('/usr/lib/PXELINUX/pxelinux.0') && existsSync(`${MODULES}/menu.c32`);

/** Why the installer's tests are skipped. */
const INSTALLER = 'each takes 20 to 50 s of CPU: set VMLET_TEST_INSTALLER=1, as .ci/run does';

/** A TFTP folder as an administrator makes it. */
const tree = async (image: string, loader: string, config: (cmdline: string) => string): Promise<string> => {
  const { kernel, initrd, cmdline } = await resolveImage(image);
  const root = join(folder, `${image}-${loader}`);
  mkdirSync(join(root, 'pxelinux.cfg'), { recursive: true });
  copyFileSync(`/usr/lib/PXELINUX/${loader}`, join(root, loader));
  for (const module of ['ldlinux', 'menu', 'libutil']) copyFileSync(`${MODULES}/${module}.c32`, join(root, `${module}.c32`));
  copyFileSync(kernel.bzImage, join(root, 'vmlinuz'));
  copyFileSync(initrd, join(root, 'initrd.img'));
  writeFileSync(join(root, 'pxelinux.cfg/default'), config(`${cmdline} panic=-1 vmlet.shell vmlet.net=dhcp`));
  return root;
};

describe('Debian by the network', () => {
  it.for([
    { image: 'i386', loader: 'pxelinux.0', kernel: 'vmlinuz', initrd: 'initrd.img' },
    { image: 'amd64', loader: 'lpxelinux.0', kernel: 'http://10.0.2.2/vmlinuz', initrd: 'http://10.0.2.2/initrd.img' },
  ])('$loader: a menu, the kernel and the initramfs of $image from $kernel, to a shell', { timeout: 300_000 }, async ({ image, loader, kernel, initrd }, ctx) => {
    if (!canBoot(image)) return ctx.skip(`the image ${image} is not in the cache: vmlet image pull ${image}`);
    if (!hasLoaders) return ctx.skip('PXELINUX is not there: packages pxelinux, syslinux-common');
    const root = await tree(image, loader, cmdline =>
      ['UI menu.c32', 'MENU TITLE our machines', 'LABEL local', ' MENU LABEL the local disk', ' LOCALBOOT 0', 'LABEL debian', ' MENU LABEL Debian', ` KERNEL ${kernel}`, ` INITRD ${initrd}`, ` APPEND ${cmdline}`, ' IPAPPEND 3', ''].join('\n'),
    );
    const guestLog: string[] = [];
    await using vm = await VM.start({ boot: 'net', netboot: { tftp: root, file: loader, append: 'judge=1' }, memory: '128M', wallTimeout: '5m', onGuestLog: line => guestLog.push(line) });
    await vm.serial.expect(/our machines[^]*Debian/, { timeout: '60s' });
    vm.serial.send('\x1b[B\r');
    await vm.serial.expect(/Linux version/, { timeout: '300s' });
    await vm.serial.expect(/root@vmlet:~# /, { timeout: '120s' });
    vm.serial.send('cat /proc/cmdline; ip -4 -o addr show dev eth0; echo end-$((40 + 2))\n');
    await vm.serial.expect(/end-42/, { timeout: '30s' });
    expect(vm.serial.text).toMatch(/BOOT_IMAGE=\S*vmlinuz[^\n]* judge=1[^\n]* ip=10\.0\.2\.15:10\.0\.2\.2:10\.0\.2\.2:255\.255\.255\.0 BOOTIF=01-52-54-00(?:-[0-9a-f]{2}){3}/);
    // The system has the address that the ROM had.
    expect(vm.serial.text).toMatch(/eth0\s+inet 10\.0\.2\.15\/24/);
    expect(vm.netboot!.diagnosis.stage).toBe('loader');
    expect(guestLog).toEqual([]);
  });

  it.for([
    { arch: 'amd64', memory: '1G' },
    { arch: 'i386', memory: '512M' },
  ])("Debian's installer for $arch: its own netboot folder, to its first question on the serial line", { timeout: 600_000 }, async ({ arch, memory }, ctx) => {
    if (process.env.VMLET_TEST_INSTALLER !== '1') return ctx.skip(INSTALLER);
    const root = `/usr/lib/debian-installer/images/12/${arch}/text`;
    if (!existsSync(root)) return ctx.skip(`the installer is not there: package debian-installer-12-netboot-${arch}`);
    const guestLog: string[] = [];
    await using vm = await VM.start({ netboot: { tftp: root, file: 'pxelinux.0', append: 'vga=normal console=ttyS0' }, memory, wallTimeout: '9m', onGuestLog: line => guestLog.push(line) });
    await vm.serial.expect('Press ENTER to boot or TAB to edit a menu entry', { timeout: '60s' });
    vm.serial.send('\r');
    await vm.serial.expect(/Select a language/, { timeout: '600s' });
    await vm.serial.expect(/Choose the language to be used for the installation process[^]*English[^]*<Go Back>/, { timeout: '60s' });
    expect(vm.netboot!.story.join('\n')).toMatch(/txt\.cfg: note: 1 kernel line with 'vga=normal console=ttyS0' at the end[^]*initrd\.gz: served/);
    expect(guestLog).toEqual([]);
  });

  it('Debian\'s installer without a person: DHCP, its answers by HTTP from the same folder', { timeout: 900_000 }, async ctx => {
    if (process.env.VMLET_TEST_INSTALLER !== '1') return ctx.skip(INSTALLER);
    const from = '/usr/lib/debian-installer/images/12/i386/text';
    if (!existsSync(from)) return ctx.skip('the installer is not there: package debian-installer-12-netboot-i386');
    const root = join(folder, 'preseeded');
    cpSync(from, root, { recursive: true, verbatimSymlinks: true });
    writeFileSync(join(root, 'preseed.cfg'), 'd-i preseed/early_command string echo the answers were read > /dev/ttyS0; poweroff\n');
    await using vm = await VM.start({ netboot: { tftp: root, file: 'pxelinux.0', append: 'vga=normal console=ttyS0 DEBIAN_FRONTEND=text auto=true priority=critical url=http://10.0.2.2/preseed.cfg' }, memory: '512M', wallTimeout: '14m' });
    await vm.serial.expect('TAB to edit', { timeout: '60s' });
    vm.serial.send('\r');
    await vm.serial.expect('the answers were read', { timeout: '1200s' });
    expect(vm.netboot!.story.join('\n')).toMatch(/dhcp: \S+: REQUEST: served: has 10\.0\.2\.15\n[^]*http: 10\.0\.2\.15: GET \/preseed\.cfg: served/);
    expect((await vm.wait()).reason).toBe('poweroff');
  });
});
