import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readCpio } from '../../src/image/cpio.js';
import { elfArch } from '../../src/image/kernel.js';
import { resolveImage } from '../../src/image/resolve.js';

const cache = mkdtempSync(join(tmpdir(), 'vmlet-apt-'));
afterAll(() => rmSync(cache, { recursive: true, force: true }));

// Needs a Debian whose sources have the package; a look at the lists the machine has, without the network.
const debian = spawnSync('sh', ['-c', 'command -v apt-get >/dev/null && . /etc/os-release && [ "$ID" = debian ]']).status === 0;

describe.skipIf(!debian)('the amd64 image by the machine\'s apt', () => {
  it('is fetched and built once, then taken from the cache', { timeout: 90_000 }, async () => {
    const image = await resolveImage('amd64', { cache });
    expect(image.kernelVersion).toMatch(/^\d+\.\d+\.\S*cloud-amd64$/);
    expect(elfArch(readFileSync(image.kernel.vmlinux!))).toBe('x86_64');
    const { entries } = readCpio(readFileSync(image.initrd));
    const paths = new Set(entries.map(({ path }) => path));
    for (const path of ['bin/busybox', 'bin/sh', 'bin/insmod', 'dev/console', 'lib/modules/vmlet.list']) expect(paths.has(path), path).toBe(true);
    for (const module of image.manifest.modules) expect(paths.has(module.slice(1)), module).toBe(true);
    expect(image.manifest.modules.some((path) => path.endsWith('/virtio_blk.ko'))).toBe(true);
    expect(readdirSync(cache).sort()).toEqual(['images', 'initrds']);
    expect(readdirSync(join(cache, 'images')).length).toBe(1);

    const { PATH } = process.env;
    process.env.PATH = '';
    try {
      expect(await resolveImage('amd64', { cache })).toEqual(image);
    } finally {
      process.env.PATH = PATH;
    }
  });
});
