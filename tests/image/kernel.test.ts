import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { cpioFile, readCpio, writeCpio } from '../../src/image/cpio.js';
import { loadInitrd, unpackInitrd } from '../../src/image/initrd.js';
import { elfArch, isBzImage, readBzImage, unpackKernel } from '../../src/image/kernel.js';
import { moduleIndex, ModuleTree } from '../../src/image/modules.js';
import { loadKernel } from '../../src/image/resolve.js';
import { makeBzImage, makeElf, makeModule } from './support/archives.js';
import { text } from './support/data.js';
import { zstdCompress } from './support/zstd.js';

const folder = mkdtempSync(join(tmpdir(), 'vmlet-kernel-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const hasTool = (tool: string): boolean => spawnSync(tool, ['--version'], { stdio: 'ignore' }).error === undefined;
const problem = (code: string): unknown => expect.objectContaining({ code, hint: expect.any(String) as string });
const formatProblem = problem('ERR_VMLET_IMAGE_FORMAT');
const withSize = (packed: Buffer, size: number): Buffer => {
  const trailer = Buffer.alloc(4);
  trailer.writeUInt32LE(size);
  return Buffer.concat([packed, trailer]);
};

describe('unpackKernel', () => {
  const vmlinux = Buffer.concat([makeElf(), text(20_000)]);

  it('unpacks a gzip payload and tells what it is', () => {
    const image = makeBzImage(gzipSync(vmlinux));
    expect(isBzImage(image)).toBe(true);
    expect(readBzImage(image)).toMatchObject({ protocol: 0x020f, version: '6.1.0-test (builder@host) #1', arch: 'x86_64' });
    const kernel = unpackKernel(image)!;
    expect(kernel).toMatchObject({ compression: 'gzip', arch: 'x86_64' });
    expect(Buffer.from(kernel.vmlinux).equals(vmlinux)).toBe(true);
  });

  it('unpacks zstd and stored payloads', () => {
    const packed = unpackKernel(makeBzImage(withSize(zstdCompress(vmlinux), vmlinux.length)))!;
    expect(packed.compression).toBe('zstd');
    expect(Buffer.from(packed.vmlinux).equals(vmlinux)).toBe(true);
    expect(unpackKernel(makeBzImage(vmlinux))!.compression).toBe('none');
  });

  const TOOLS: [kind: string, tool: string, args: string[]][] = [
    ['xz', 'xz', ['-c', '--check=crc32', '--x86', '--lzma2=dict=32MiB']],
    ['lzma', 'xz', ['-c', '--format=lzma', '-9']],
    ['bzip2', 'bzip2', ['-9c']],
    ['zstd', 'zstd', ['-qc', '-19']],
    ['lz4', 'lz4', ['-qcl', '-9']],
    ['lzo', 'lzop', ['-9c']],
  ];
  for (const [kind, tool, args] of TOOLS) {
    it.skipIf(!hasTool(tool))(`unpacks a payload of ${tool} ${args.join(' ')}`, () => {
      const packed = execFileSync(tool, args, { input: vmlinux });
      const kernel = unpackKernel(makeBzImage(withSize(packed, vmlinux.length)))!;
      expect(kernel.compression).toBe(kind);
      expect(Buffer.from(kernel.vmlinux).equals(vmlinux)).toBe(true);
      // Before Node could do zstd itself, a frame without a size was decoded into a buffer of the stated one.
      if (kind !== 'zstd') expect(() => unpackKernel(makeBzImage(withSize(packed, vmlinux.length + 1)))).toThrow(formatProblem);
    });
  }

  it('leaves an unknown compression, or a payload that is no ELF file, to the kernel itself', () => {
    expect(unpackKernel(makeBzImage(Buffer.from('an unknown compression')))).toBeUndefined();
    expect(unpackKernel(makeBzImage(gzipSync(text(1000))))).toBeUndefined();
    expect(unpackKernel(makeBzImage(gzipSync(vmlinux), { protocol: 0x0207 }))).toBeUndefined();
  });

  it('rejects a kernel cut at any byte', () => {
    const image = makeBzImage(gzipSync(makeElf()));
    for (let length = 0; length < image.length - 16; length++) {
      expect(() => unpackKernel(image.subarray(0, length)), `cut at ${length}`).toThrow(formatProblem);
    }
  });

  it('survives a damaged kernel', () => {
    const image = makeBzImage(gzipSync(makeElf()));
    for (let at = 0x1f0; at < image.length; at++) {
      const damaged = new Uint8Array(image);
      damaged[at] ^= 0xff;
      try {
        unpackKernel(damaged);
      } catch (error) {
        expect((error as { code: string }).code, `byte ${at}`).toMatch(/^ERR_VMLET_IMAGE_(FORMAT|ARCH)$/);
      }
    }
  });

  it('rejects a kernel of another machine', () => {
    expect(() => unpackKernel(makeBzImage(gzipSync(makeElf({ machine: 183 }))))).toThrow(problem('ERR_VMLET_IMAGE_ARCH'));
    expect(elfArch(makeElf({ bits: 32 }))).toBe('i386');
  });
});

describe('loadKernel', () => {
  const cache = join(folder, 'cache');

  it('unpacks once and then takes the result from the cache', async () => {
    const path = join(folder, 'vmlinuz');
    const vmlinux = makeElf({ content: 'x' });
    writeFileSync(path, makeBzImage(gzipSync(vmlinux)));
    for (let run = 0; run < 2; run++) {
      const kernel = await loadKernel(path, { cache });
      expect(kernel.format).toBe('bzimage');
      expect(Buffer.from(kernel.vmlinux!).equals(vmlinux)).toBe(true);
    }
  });

  it('works without a cache that it can write', async () => {
    const blocked = join(folder, 'file');
    writeFileSync(blocked, '');
    const kernel = await loadKernel(join(folder, 'vmlinuz'), { cache: blocked });
    expect(kernel.vmlinux).toBeDefined();
  });

  it('passes ELF files and unknown ones on', async () => {
    writeFileSync(join(folder, 'elf'), makeElf());
    writeFileSync(join(folder, 'rom'), Buffer.alloc(1024, 0x90));
    expect((await loadKernel(join(folder, 'elf'), { cache })).format).toBe('elf');
    expect(await loadKernel(join(folder, 'rom'), { cache })).toMatchObject({ format: 'unknown', vmlinux: undefined });
  });

  it('unpacks an ELF file that was compressed as a whole', async () => {
    writeFileSync(join(folder, 'elf.gz'), gzipSync(makeElf({ bits: 32 })));
    const kernel = await loadKernel(join(folder, 'elf.gz'), { cache });
    expect(kernel.format).toBe('elf');
    expect(Buffer.from(kernel.vmlinux!).equals(makeElf({ bits: 32 }))).toBe(true);
  });

  it('refuses kernels of other machines', async () => {
    writeFileSync(join(folder, 'arm-elf'), makeElf({ machine: 183 }));
    const image = Buffer.alloc(4096);
    image.write('ARMd', 0x38);
    writeFileSync(join(folder, 'arm-image'), gzipSync(image));
    for (const name of ['arm-elf', 'arm-image']) {
      await expect(loadKernel(join(folder, name), { cache }), name).rejects.toThrow(problem('ERR_VMLET_IMAGE_ARCH'));
    }
  });

  it('says what is wrong with a missing, empty, cut or damaged one', async () => {
    await expect(loadKernel(join(folder, 'none'), { cache })).rejects.toThrow(problem('ERR_VMLET_IMAGE_NOT_FOUND'));
    await expect(loadKernel(folder, { cache })).rejects.toThrow(/it is a folder/);
    writeFileSync(join(folder, 'empty'), '');
    await expect(loadKernel(join(folder, 'empty'), { cache })).rejects.toThrow(formatProblem);
    const image = makeBzImage(gzipSync(makeElf()));
    writeFileSync(join(folder, 'cut'), image.subarray(0, -40));
    await expect(loadKernel(join(folder, 'cut'), { cache })).rejects.toThrow(/cannot use the kernel .*cut.*truncated/);
    image[1620] ^= 0xff;
    writeFileSync(join(folder, 'damaged'), image);
    await expect(loadKernel(join(folder, 'damaged'), { cache })).rejects.toThrow(/compressed part is damaged/);
  });
});

describe('unpackInitrd', () => {
  const one = writeCpio([cpioFile('early', 'microcode')]);
  const two = writeCpio([cpioFile('init', text(5000), 0o755)]);
  const paths = (bytes: Uint8Array): string[] => {
    const found: string[] = [];
    for (let at = 0; at < bytes.length; at++) {
      if (bytes[at] === 0) continue;
      const { entries, used } = readCpio(bytes, at);
      found.push(...entries.map(({ path }) => path));
      at += used - 1;
    }
    return found;
  };

  it('passes raw cpio through', () => {
    expect(unpackInitrd(two)).toMatchObject({ raw: true });
    expect(paths(unpackInitrd(two).bytes)).toEqual(['init']);
  });

  it('unpacks compressed archives, also after a raw one and zeros', () => {
    for (const packed of [gzipSync(two), zstdCompress(Buffer.from(two))]) {
      const initrd = unpackInitrd(Buffer.concat([one, Buffer.alloc(512), packed, Buffer.alloc(3), gzipSync(one)]));
      expect(initrd.raw).toBe(true);
      expect(paths(initrd.bytes)).toEqual(['early', 'init', 'early']);
    }
  });

  it('passes on a ramdisk, trailing data and a boot configuration unchanged', () => {
    const ext2 = Buffer.alloc(4096);
    ext2.writeUInt16LE(0xef53, 1024 + 56);
    for (const bytes of [ext2, gzipSync(ext2), Buffer.concat([two, Buffer.from('trailing')]), Buffer.concat([two, Buffer.from('#BOOTCONFIG\n')])]) {
      const initrd = unpackInitrd(bytes);
      expect(initrd.raw).toBe(false);
      expect(initrd.bytes).toBe(bytes);
    }
  });

  it('rejects what no kernel could use', () => {
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(4096), Buffer.from('not an initrd at all'), gzipSync('not cpio'), gzipSync(two).subarray(0, 300), two.subarray(0, 900)]) {
      expect(() => unpackInitrd(bytes)).toThrow(formatProblem);
    }
    const damaged = gzipSync(two);
    damaged[damaged.length - 5] ^= 1;
    expect(() => unpackInitrd(damaged)).toThrow(/checksum/);
  });

  it('names the file in its errors', async () => {
    await expect(loadInitrd(join(folder, 'no-initrd'))).rejects.toThrow(problem('ERR_VMLET_IMAGE_NOT_FOUND'));
    writeFileSync(join(folder, 'bad-initrd'), 'nonsense');
    await expect(loadInitrd(join(folder, 'bad-initrd'))).rejects.toThrow(/cannot use .*bad-initrd/);
  });
});

describe('ModuleTree', () => {
  const tree = new ModuleTree();
  tree.addFile('kernel/drivers/virtio/virtio_pci.ko', makeModule(['depends=virtio-ring,virtio', 'alias=pci:v00001AF4d*']));
  tree.addFile('kernel/drivers/virtio/virtio.ko', makeModule(['depends=virtio_ring']));
  tree.addFile('kernel/drivers/virtio/virtio-ring.ko', makeModule(['depends=']));
  tree.addFile('kernel/fs/ext4.ko.gz', gzipSync(makeModule(['depends=built,jbd2', 'softdep=pre: crc absent post: late', 'alias=fs-ext4'], 32)));
  tree.addFile('kernel/fs/jbd2.ko', makeModule([]));
  tree.addFile('kernel/lib/crc.ko', makeModule(['depends=loop_a']));
  tree.addFile('kernel/lib/loop_a.ko', makeModule(['depends=loop_b']));
  tree.addFile('kernel/lib/loop_b.ko', makeModule(['depends=loop_a']));
  tree.addFile('modules.builtin', Buffer.from('kernel/lib/built.ko\n'));

  it('orders what a module needs before it', () => {
    const { modules, missing } = tree.select(['virtio_pci', 'ext4', 'nowhere', 'built']);
    expect(modules.map(({ name }) => name)).toEqual(['virtio_ring', 'virtio', 'virtio_pci', 'jbd2', 'loop_b', 'loop_a', 'crc', 'ext4']);
    expect(missing).toEqual(['nowhere']);
  });

  it('unpacks a compressed module and drops the suffix', () => {
    const module = tree.find('ext4')!;
    expect(module.path).toBe('kernel/fs/ext4.ko');
    expect(module.data[0]).toBe(0x7f);
  });

  it('writes an index that a modprobe can load from its end', () => {
    const { dep, alias } = moduleIndex(tree.select(['virtio_pci', 'ext4']).modules);
    expect(dep).toContain('virtio_pci.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio-ring.ko\n');
    expect(alias).toBe('alias pci:v00001AF4d* virtio_pci\nalias fs-ext4 ext4\n');
  });

  it('rejects a file that is no module', () => {
    const broken = new ModuleTree();
    broken.addFile('kernel/x.ko', Buffer.from('not ELF'));
    expect(() => broken.select(['x'])).toThrow(formatProblem);
  });
});
