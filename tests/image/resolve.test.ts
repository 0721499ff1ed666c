import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readCpio } from '../../src/image/cpio.js';
import { compareVersions } from '../../src/image/mirror.js';
import { checkRecipe, loadRecipe, recipeNames } from '../../src/image/recipe.js';
import { resolveImage, resolveRecipe, type ResolveOptions } from '../../src/image/resolve.js';
import { fakeArchive, RECIPE } from './support/fake-archive.js';

const root = mkdtempSync(join(tmpdir(), 'vmlet-resolve-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const problem = (code: string): unknown => expect.objectContaining({ code, hint: expect.stringMatching(/\w/) as string });

let cache: string;
let files: Map<string, Buffer>;
let packages: string;
let requests: string[];
let server: Server;
let mirror: string;
let counter = 0;

beforeEach(async () => {
  cache = join(root, String(counter++));
  ({ files, packages } = fakeArchive());
  requests = [];
  server = createServer((request, response) => {
    const path = (request.url ?? '').replace('/debian/', '');
    requests.push(path);
    const body = files.get(path);
    response.statusCode = body ? 200 : 404;
    response.end(body ?? 'not here');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  mirror = `http://127.0.0.1:${(server.address() as AddressInfo).port}/debian`;
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const options = (more: ResolveOptions = {}): ResolveOptions => ({ cache, mirror, ...more });
const leftovers = (): string[] => readdirSync(join(cache, 'images')).filter((name) => !/^tiny-[0-9a-f]{16}$/.test(name));

describe('resolveRecipe from a mirror', () => {
  it('fetches, builds and remembers', async () => {
    const image = await resolveRecipe(RECIPE, options());
    expect(image).toMatchObject({ name: 'tiny', arch: 'x86_64', kernelVersion: '6.1-tiny', cmdline: 'console=ttyS0' });
    expect(readFileSync(image.kernel.vmlinux!).subarray(0, 4).toString('latin1')).toBe('\x7fELF');
    expect(readFileSync(image.kernel.bzImage).toString('latin1', 0x202, 0x206)).toBe('HdrS');
    expect(image.manifest.packages.map(({ name, version }) => `${name} ${version}`)).toEqual(['linux-image-6.1-tiny 6.1-2', 'busybox-static 1:1.35-4']);
    expect(image.manifest.modules).toEqual(['/lib/modules/6.1-tiny/kernel/virtio_ring.ko', '/lib/modules/6.1-tiny/kernel/virtio_blk.ko']);
    expect(image.manifest.missingModules).toEqual(['9p']);

    const initrd = readFileSync(image.initrd);
    const base = readCpio(initrd);
    const byPath = new Map(base.entries.map((entry) => [entry.path, entry]));
    expect(Buffer.from(byPath.get('bin/cat')!.data!).toString()).toBe('busybox');
    expect(byPath.get('bin/busybox')!.mode).toBe(0o100755);
    expect(Buffer.from(byPath.get('etc/motd')!.data!).toString()).toBe('hello\n');
    expect(Buffer.from(byPath.get('lib/modules/vmlet.list')!.data!).toString()).toBe(image.manifest.modules.map((path) => `${path}\n`).join(''));
    expect(byPath.has('lib/modules/6.1-tiny/kernel/ext4.ko')).toBe(true);
    const guestAt = initrd.indexOf('070701', base.used);
    expect(readCpio(initrd, guestAt).entries.map(({ path }) => path)).toContain('init');

    const seen = requests.length;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    expect(await resolveRecipe(RECIPE, options())).toEqual(image);
    expect(requests.length).toBe(seen);
    expect(leftovers()).toEqual([]);
  });

  it('fetches again when asked to', async () => {
    await resolveRecipe(RECIPE, options());
    const seen = requests.length;
    await resolveRecipe(RECIPE, options({ refresh: true }));
    expect(requests.length).toBe(2 * seen);
    expect(leftovers()).toEqual([]);
  });

  it('reads a signed InRelease', async () => {
    const release = files.get('dists/stable/Release')!.toString();
    files.delete('dists/stable/Release');
    files.set('dists/stable/InRelease', Buffer.from(`-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n${release}-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n`));
    expect((await resolveRecipe(RECIPE, options())).kernelVersion).toBe('6.1-tiny');
  });

  it('refuses an index or a package that does not match its checksum', async () => {
    const index = files.get('dists/stable/main/binary-amd64/Packages.gz')!;
    index[index.length - 1] ^= 1;
    await expect(resolveRecipe(RECIPE, options())).rejects.toThrow(problem('ERR_VMLET_FETCH'));
    index[index.length - 1] ^= 1;
    const deb = files.get('pool/main/linux-image-6.1-tiny_6.1-2_amd64.deb')!;
    deb[deb.length - 3] ^= 1;
    await expect(resolveRecipe(RECIPE, options())).rejects.toThrow(/linux-image-6.1-tiny 6.1-2 does not match its checksum/);
    files.set('pool/main/linux-image-6.1-tiny_6.1-2_amd64.deb', Buffer.concat([deb, deb]));
    await expect(resolveRecipe(RECIPE, options())).rejects.toThrow(/longer than/);
    expect(readdirSync(join(cache, 'images'))).toEqual([]);
  });

  it('says what is missing', async () => {
    await expect(resolveRecipe({ ...RECIPE, kernel: 'linux-image-none' }, options())).rejects.toThrow(/package linux-image-none: no index has it/);
    await expect(resolveRecipe({ ...RECIPE, debianArch: 'i386' }, options())).rejects.toThrow(/stable has no main\/binary-i386/);
    files.delete('dists/stable/Release');
    await expect(resolveRecipe(RECIPE, options())).rejects.toThrow(/dists\/stable\/Release .* answered 404/);
  });

  it('says that the network is down', async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await expect(resolveRecipe(RECIPE, options())).rejects.toThrow(problem('ERR_VMLET_FETCH'));
    await expect(resolveRecipe(RECIPE, options())).rejects.toThrow(/ECONNREFUSED/);
    expect(readdirSync(join(cache, 'images'))).toEqual([]);
  });

  it('refuses a mirror that is no URL, and packages outside the mirror', async () => {
    await expect(resolveRecipe(RECIPE, options({ mirror: 'nowhere' }))).rejects.toThrow(problem('ERR_VMLET_CONFIG'));
    await expect(resolveRecipe(RECIPE, options({ mirror: 'ftp://127.0.0.1/' }))).rejects.toThrow(problem('ERR_VMLET_CONFIG'));
  });

  it('refuses a kernel of another architecture, and one without the modules it needs', async () => {
    ({ files } = fakeArchive({ kernelBits: 32 }));
    await expect(resolveRecipe(RECIPE, options())).rejects.toThrow(problem('ERR_VMLET_IMAGE_ARCH'));
    ({ files } = fakeArchive());
    await expect(resolveRecipe({ ...RECIPE, modules: { load: ['virtio_net'], include: [] } }, options())).rejects.toThrow(/has no module virtio_net/);
  });

  it('stops when told to, and leaves nothing behind', async () => {
    const abort = new AbortController();
    const before = AbortSignal.abort();
    await expect(resolveRecipe(RECIPE, options({ signal: before }))).rejects.toThrow(expect.objectContaining({ code: 'ERR_VMLET_ABORTED' }));
    await expect(resolveRecipe(RECIPE, options({ signal: abort.signal, onProgress: (line) => line.includes('busybox') && abort.abort() })))
      .rejects.toThrow(expect.objectContaining({ code: 'ERR_VMLET_ABORTED' }));
    expect(readdirSync(join(cache, 'images'))).toEqual([]);
  });
});

describe('resolveRecipe by apt', () => {
  const { PATH: path, VMLET_MIRROR: userMirror } = process.env;
  beforeEach(() => {
    delete process.env.VMLET_MIRROR;
  });
  afterEach(() => {
    process.env.PATH = path;
    if (userMirror !== undefined) process.env.VMLET_MIRROR = userMirror;
  });

  /** Programs in the place of apt: one index fails, as a mirror in the middle of an update makes it. */
  function fakeApt(options: { fails?: boolean } = {}): string {
    const bin = join(cache, 'bin');
    mkdirSync(bin, { recursive: true });
    const pool = join(cache, 'pool');
    mkdirSync(pool);
    for (const [name, data] of files) if (name.startsWith('pool/')) writeFileSync(join(pool, basename(name)), data);
    writeFileSync(join(pool, 'Packages'), packages);
    const script = (name: string, body: string): void => {
      writeFileSync(join(bin, name), `#!/bin/sh\necho "$0 $*" >> ${cache}/log\n${body}`);
      chmodSync(join(bin, name), 0o755);
    };
    script('apt-get', `case "$*" in
      *update*) echo "E: Failed to fetch one index" >&2; exit 100;;
      *download*) for last; do :; done; name=\${last%%:*}; [ -n "${options.fails ? '' : 1}" ] && cp ${pool}/"$name"_* . || { echo "E: Unable to fetch some archives" >&2; exit 100; };;
      esac\n`);
    script('apt-cache', `for last; do :; done; awk -v RS= -v want="Package: \${last%%:*}\\n" 'index($0, want) == 1 && !/6.0-1/ { print; print "" }' ${pool}/Packages\n`);
    process.env.PATH = `${bin}:${path}`;
    return join(cache, 'log');
  }

  it('carries on when one index cannot be fetched', async () => {
    const log = fakeApt();
    const image = await resolveRecipe(RECIPE, { cache });
    expect(image.manifest.source).toBe('apt');
    expect(image.kernelVersion).toBe('6.1-tiny');
    const calls = readFileSync(log, 'utf8');
    expect(calls).toContain('update');
    await resolveRecipe(RECIPE, { cache });
    expect(readFileSync(log, 'utf8')).toBe(calls);
    expect(leftovers()).toEqual([]);
  });

  it('passes on what apt said when a package is missing or cannot be fetched', async () => {
    fakeApt({ fails: true });
    await expect(resolveRecipe({ ...RECIPE, kernel: 'linux-image-none' }, { cache })).rejects.toThrow(/no index has it \(Failed to fetch one index\)/);
    await expect(resolveRecipe(RECIPE, { cache })).rejects.toThrow(/linux-image-6.1-tiny: Unable to fetch some archives/);
    expect(readdirSync(join(cache, 'images'))).toEqual([]);
  });

  it('says that there is no apt', async () => {
    process.env.PATH = join(root, 'nothing');
    await expect(resolveRecipe(RECIPE, { cache })).rejects.toThrow(/has no apt, and no mirror was given/);
  });
});

describe('recipes', () => {
  it('are all valid', async () => {
    expect(await recipeNames()).toEqual(['amd64', 'amd64-generic', 'i386', 'i386-pae']);
    for (const name of await recipeNames()) expect((await loadRecipe(name)).name).toBe(name);
  });

  it('are refused with the field that is wrong', () => {
    const wrong: [field: string, change: object][] = [
      ['arch', { arch: 'arm64' }], ['schema', { schema: 2 }], ['kernel', { kernel: '--option' }], ['extra', { extra: 1 }],
      ['packages[0].files[0].to', { packages: [{ name: 'ab', files: [{ from: [], to: '../x', mode: '644' }] }] }],
      ['files[0].mode', { files: [{ path: 'a', mode: '999', content: '' }] }], ['modules', { modules: [] }], ['name', { name: '../x' }],
    ];
    for (const [field, change] of wrong) {
      expect(() => checkRecipe({ ...RECIPE, ...change }), field).toThrow(expect.objectContaining({ code: 'ERR_VMLET_CONFIG', message: expect.stringContaining(field) as string }));
    }
  });

  it('are named when there is none of a name', async () => {
    for (const name of ['none', '../package', '']) {
      await expect(resolveImage(name, { cache })).rejects.toThrow(expect.objectContaining({ code: 'ERR_VMLET_IMAGE_NOT_FOUND', hint: expect.stringContaining('amd64-generic') as string }));
    }
  });
});

describe('compareVersions', () => {
  it('orders as Debian does', () => {
    const sorted = ['1.0~rc1-1', '1.0-1', '1.0-1+b1', '1.0-1.1', '1.0-2', '1.0a-1', '1.0+1-1', '1.2-1', '1.10-1', '1:0.1-1'];
    expect([...sorted].reverse().sort(compareVersions)).toEqual(sorted);
    expect(compareVersions('6.1.0-56', '6.1.0-56')).toBe(0);
  });
});
