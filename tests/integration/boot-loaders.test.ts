// Boot loaders of others, on disks made by their own tools, under the built-in BIOS and under SeaBIOS. What they load is memtest86+.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { VM, type VMOptions } from '../../src/index.js';
import { hasTool, scratchFolder } from './guest-support.js';

const SEABIOS = '/usr/share/seabios/bios-256k.bin';
const MEMTEST = '/boot/memtest86+ia32.bin';
const GRUB = '/usr/lib/grub/i386-pc';
const ISOLINUX = '/usr/lib/ISOLINUX/isolinux.bin';
const LDLINUX = '/usr/lib/syslinux/modules/bios/ldlinux.c32';
const BOOTED = /Memtest86\+ v\d/;

/** Debian packages that are missing, by what of them is needed. */
const missing = (needs: Record<string, boolean>): string[] => Object.entries(needs).filter(([, there]) => !there).map(([name]) => name);
const PACKAGES = {
  floppy: missing({ syslinux: hasTool('syslinux'), mtools: hasTool('mcopy'), dosfstools: hasTool('mkfs.vfat'), 'memtest86+': existsSync(MEMTEST) }),
  cdrom: missing({ isolinux: existsSync(ISOLINUX), 'syslinux-common': existsSync(LDLINUX), xorriso: hasTool('xorriso'), 'memtest86+': existsSync(MEMTEST) }),
  disk: missing({ 'grub-pc-bin': existsSync(`${GRUB}/boot.img`), 'grub-common': hasTool('grub-mkimage'), mtools: hasTool('mcopy'), fdisk: hasTool('sfdisk'), 'memtest86+': existsSync(MEMTEST) }),
};
const FIRMWARES: Record<string, { options: VMOptions; missing: string[] }> = {
  'the built-in BIOS': { options: {}, missing: [] },
  SeaBIOS: { options: { bios: SEABIOS }, missing: missing({ seabios: existsSync(SEABIOS) }) },
};

const folder = scratchFolder();
const tool = (name: string, ...args: string[]): void => {
  execFileSync(name, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin`, MTOOLS_SKIP_CHECK: '1' } });
};
const once = <T>(make: () => T): (() => T) => {
  let made: { value: T } | undefined;
  return () => (made ??= { value: make() }).value;
};

const LOADER_CONFIG = 'PROMPT 1\nTIMEOUT 0\nDEFAULT other\nLABEL other\n  KERNEL nothere\nLABEL memtest\n  KERNEL memtest\n  APPEND console=ttyS0,115200\n';

/** A FAT floppy with SYSLINUX. */
const floppy = once((): string => {
  const image = join(folder, 'floppy.img');
  tool('mkfs.vfat', '-C', image, '1440');
  tool('syslinux', '--install', image);
  writeFileSync(join(folder, 'syslinux.cfg'), LOADER_CONFIG);
  tool('mcopy', '-i', image, join(folder, 'syslinux.cfg'), '::syslinux.cfg');
  tool('mcopy', '-i', image, MEMTEST, '::memtest');
  return image;
});

/** An ISO 9660 image with ISOLINUX, without emulation. */
const cdrom = once((): string => {
  const tree = join(folder, 'iso');
  mkdirSync(join(tree, 'isolinux'), { recursive: true });
  copyFileSync(ISOLINUX, join(tree, 'isolinux', 'isolinux.bin'));
  copyFileSync(LDLINUX, join(tree, 'isolinux', 'ldlinux.c32'));
  copyFileSync(MEMTEST, join(tree, 'isolinux', 'memtest'));
  writeFileSync(join(tree, 'isolinux', 'isolinux.cfg'), LOADER_CONFIG);
  const image = join(folder, 'cd.iso');
  tool('xorriso', '-as', 'mkisofs', '-quiet', '-o', image, '-b', 'isolinux/isolinux.bin', '-c', 'isolinux/boot.cat', '-no-emul-boot', '-boot-load-size', '4', '-boot-info-table', tree);
  return image;
});

/** A CD that holds the floppy as an emulated one. */
const floppyCd = once((): string => {
  const tree = join(folder, 'floppy-iso');
  mkdirSync(tree);
  copyFileSync(floppy(), join(tree, 'floppy.img'));
  const image = join(folder, 'floppy-cd.iso');
  tool('xorriso', '-as', 'mkisofs', '-quiet', '-o', image, '-b', 'floppy.img', '-c', 'boot.cat', tree);
  return image;
});

/** A disk with a FAT partition and GRUB in front of it. */
const disk = once((): string => {
  const image = join(folder, 'disk.img');
  writeFileSync(image, '');
  truncateSync(image, 16 * 2 ** 20);
  execFileSync('sh', ['-c', `echo 'start=2048, type=6, bootable' | PATH="$PATH:/usr/sbin:/sbin" sfdisk -q ${image}`], { stdio: ['ignore', 'ignore', 'pipe'] });
  tool('mformat', '-i', `${image}@@1M`, '-T', '30720', '-h', '16', '-s', '63', '-H', '2048', '::');
  writeFileSync(join(folder, 'grub.cfg'), 'set timeout=-1\nmenuentry "the other one" {\n  true\n}\nmenuentry "memory test" {\n  linux /memtest console=ttyS0,115200\n}\n');
  tool('mcopy', '-i', `${image}@@1M`, join(folder, 'grub.cfg'), '::grub.cfg');
  tool('mcopy', '-i', `${image}@@1M`, MEMTEST, '::memtest');
  tool('grub-mkimage', '-O', 'i386-pc', '-o', join(folder, 'core.img'), '-p', '(hd0,msdos1)/', 'biosdisk', 'part_msdos', 'fat', 'linux', 'normal', 'test', 'true');
  const bytes = readFileSync(image);
  bytes.set(readFileSync(`${GRUB}/boot.img`).subarray(0, 440), 0);
  bytes.set(readFileSync(join(folder, 'core.img')), 512);
  writeFileSync(image, bytes);
  return image;
});

const start = (options: VMOptions, firmware: string): Promise<VM> => VM.start({ memory: '32M', timeout: '60s', wallTimeout: '5m', ...FIRMWARES[firmware].options, ...options });

describe.each(Object.keys(FIRMWARES))('under %s', { timeout: 300_000 }, firmware => {
  const absent = FIRMWARES[firmware].missing;
  const skip = (kind: keyof typeof PACKAGES) => [...PACKAGES[kind], ...absent];
  const reason = (kind: keyof typeof PACKAGES): string => (skip(kind).length === 0 ? '' : ` (needs the Debian packages ${skip(kind).join(', ')})`);

  it.skipIf(skip('floppy').length > 0)(`SYSLINUX boots from a floppy, told what over the serial line${reason('floppy')}`, async () => {
    await using vm = await start({ floppies: [`${floppy()},snapshot`] }, firmware);
    await vm.serial.expect('boot:');
    vm.serial.send('memtest\r');
    await vm.screen.expect(BOOTED);
    expect(vm.serial.text).toContain('SYSLINUX');
  });

  it.skipIf(skip('cdrom').length > 0)(`ISOLINUX boots from a CD, told what on the keyboard${reason('cdrom')}`, async () => {
    await using vm = await start({ cdroms: [cdrom()] }, firmware);
    await vm.screen.expect('boot:');
    await vm.keyboard.type('memtest\n');
    await vm.screen.expect(BOOTED);
    expect(vm.serial.text).toContain('ISOLINUX');
  });

  it.skipIf(skip('disk').length > 0)(`GRUB boots from a disk, its menu worked with cursor keys${reason('disk')}`, async () => {
    await using vm = await start({ disks: [`${disk()},snapshot`], boot: 'disk' }, firmware);
    const menu = await vm.screen.expect('memory test');
    expect(menu).toMatch(/\*the other one/);
    await vm.keyboard.press('down');
    await vm.screen.expect(/\*memory test/);
    await vm.keyboard.press('enter');
    await vm.screen.expect(BOOTED);
  });

  it.skipIf([...skip('floppy'), ...skip('cdrom')].length > 0)(`a floppy on a CD boots as if it were in drive A${reason('floppy')}${reason('cdrom')}`, async () => {
    await using vm = await start({ cdroms: [floppyCd()] }, firmware);
    await vm.serial.expect('boot:');
    vm.serial.send('memtest\r');
    await vm.screen.expect(BOOTED);
  });
});

describe('without anything to boot', () => {
  it('the built-in BIOS says what it tried and why not', async () => {
    const empty = join(folder, 'empty.img');
    writeFileSync(empty, new Uint8Array(2 ** 20));
    await using vm = await VM.start({ memory: '16M', disks: [`${empty},ro`], cdroms: [empty], boot: 'cdrom,disk', timeout: '10s' });
    const exit = await vm.wait();
    expect(exit.reason).toBe('halted');
    expect(vm.screen.text().trim().split('\n')).toEqual([
      'Booting from cdrom...',
      'Cannot boot from cdrom: it has no boot record.',
      'Booting from disk...',
      'Cannot boot from disk: its first sector is no boot sector.',
      'No bootable device was found: the machine stops here.',
    ]);
  });
});

