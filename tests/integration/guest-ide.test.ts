// Linux's own drivers on the IDE controller: a disk by DMA and by PIO, and a CD.
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { hasTool, scratchFolder, startGuest } from './guest-support.js';

const folder = scratchFolder();
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const DISK_BYTES = 6 * 2 ** 20;

describe('IDE under Linux', { timeout: 300_000 }, () => {
  it(`reads and writes a disk, and reads a CD${hasTool('xorriso') ? '' : ' (not the CD: needs the Debian package xorriso)'}`, async () => {
    const contents = new Uint8Array(DISK_BYTES);
    for (let n = 0; n < contents.length; n++) contents[n] = n * 31 + (n >> 11);
    const disk = join(folder, 'disk.img');
    writeFileSync(disk, contents);
    const cdroms: string[] = [];
    if (hasTool('xorriso')) {
      const tree = join(folder, 'tree');
      mkdirSync(tree);
      writeFileSync(join(tree, 'readme.txt'), 'from the CD\n');
      cdroms.push(join(folder, 'cd.iso'));
      execFileSync('xorriso', ['-as', 'mkisofs', '-quiet', '-R', '-o', cdroms[0], tree], { stdio: ['ignore', 'ignore', 'pipe'] });
    }
    const { vm, guestLog } = await startGuest({ image: 'i386', disks: [`${disk},ide`], cdroms });
    await using machine = vm;
    const sh = async (script: string): Promise<string> => (await machine.run(['sh', '-c', script])).stdout.trim();
    await sh('modprobe ata_piix; modprobe sd_mod; modprobe sr_mod; for n in 1 2 3 4 5 6 7 8 9; do [ -b /dev/sda ] && break; sleep 1; done');
    expect(await sh('cat /sys/block/sda/device/model')).toBe('vmlet disk');
    expect(await sh('sha256sum < /dev/sda')).toContain(sha256(contents));
    // Sectors 100 to 131 go to sector 5000, and the write cache to the file.
    await sh('dd if=/dev/sda of=/tmp/part bs=512 skip=100 count=32 2>/dev/null; dd if=/tmp/part of=/dev/sda bs=512 seek=5000 conv=fsync 2>/dev/null');
    expect(readFileSync(disk).subarray(5000 * 512, 5032 * 512).equals(contents.subarray(100 * 512, 132 * 512))).toBe(true);
    if (cdroms.length > 0) {
      expect(await sh('mkdir -p /mnt/cd; mount -t iso9660 -o ro /dev/sr0 /mnt/cd && cat /mnt/cd/readme.txt')).toBe('from the CD');
      expect(await sh('sha256sum < /dev/sr0')).toContain(sha256(readFileSync(cdroms[0])));
    }
    const log = await sh('dmesg | grep -E "ata[0-9]|sd |sr "');
    expect(log).toMatch(/ata1\.00: ATA-7: vmlet disk.*UDMA/);
    expect(await sh('cat /sys/class/ata_device/dev*/dma_mode')).toMatch(/DMA/);
    expect(log).not.toMatch(/exception|failed|error|timeout|frozen|SRST/i);
    expect(guestLog).toEqual([]);
  });
});
