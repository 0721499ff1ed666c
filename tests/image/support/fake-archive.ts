import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import type { Recipe } from '../../../src/image/recipe.js';
import { makeBzImage, makeDeb, makeElf, makeModule } from './archives.js';

export const RECIPE: Recipe = {
  schema: 1,
  name: 'tiny',
  description: 'made by a test',
  arch: 'x86_64',
  debianArch: 'amd64',
  suite: 'stable',
  components: ['main'],
  kernel: 'linux-image-tiny',
  packages: [{ name: 'busybox-static', files: [{ from: ['bin/busybox', 'usr/bin/busybox'], to: 'bin/busybox', mode: '755' }] }],
  busybox: 'bin/busybox',
  modules: { load: ['virtio_blk'], include: ['ext4', '9p'] },
  files: [{ path: 'etc/motd', mode: '644', content: 'hello\n' }],
  cmdline: 'console=ttyS0',
};

const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

/** A Debian archive of three packages, as paths below its root. */
export function fakeArchive(options: { kernelBits?: 32 | 64 } = {}): { files: Map<string, Buffer>; packages: string } {
  const vmlinux = makeElf({ bits: options.kernelBits ?? 64, content: 'kernel' });
  const debs: [name: string, version: string, depends: string, deb: Buffer][] = [
    ['linux-image-tiny', '6.1-2', 'linux-image-6.1-tiny (= 6.1-2)', makeDeb('Package: linux-image-tiny\n', [])],
    ['linux-image-6.1-tiny', '6.1-2', 'kmod, linux-base (>= 4)', makeDeb('Package: linux-image-6.1-tiny\n', [
      { path: './boot/vmlinuz-6.1-tiny', data: makeBzImage(gzipSync(vmlinux)) },
      { path: './lib/modules/6.1-tiny/kernel/virtio_blk.ko', data: makeModule(['depends=virtio_ring']) },
      { path: './lib/modules/6.1-tiny/kernel/virtio_ring.ko', data: makeModule(['depends=']) },
      { path: './lib/modules/6.1-tiny/kernel/ext4.ko', data: makeModule(['depends=', 'alias=fs-ext4']) },
    ])],
    ['busybox-static', '1:1.35-4', '', makeDeb('Package: busybox-static\n', [{ path: './usr/bin/busybox', data: 'ELF\0[\0[[\0ash\0cat\0\0', mode: 0o755 }])],
  ];
  const files = new Map<string, Buffer>();
  const paragraphs = debs.map(([name, version, depends, deb]) => {
    const path = `pool/main/${name}_${version.replace(/^\d+:/, '')}_amd64.deb`;
    files.set(path, deb);
    return [
      `Package: ${name}`, `Version: ${version}`, 'Architecture: amd64', ...(depends ? [`Depends: ${depends}`] : []),
      `Filename: ${path}`, `Size: ${deb.length}`, `SHA256: ${sha256(deb)}`, 'Description: short', ' long', '',
    ].join('\n');
  });
  const packages = `Package: linux-image-6.1-tiny\nVersion: 6.0-1\nArchitecture: amd64\nFilename: pool/old.deb\nSize: 1\nSHA256: ${'0'.repeat(64)}\n\n${paragraphs.join('\n')}`;
  const index = gzipSync(packages);
  files.set('dists/stable/main/binary-amd64/Packages.gz', index);
  files.set('dists/stable/Release', Buffer.from(
    `Suite: stable\nMD5Sum:\n 0 0 main/binary-amd64/Packages.gz\nSHA256:\n ${sha256(index)} ${index.length} main/binary-amd64/Packages.gz\n`,
  ));
  return { files, packages };
}
