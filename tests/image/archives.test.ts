import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompress } from './support/zstd.js';
import { afterAll, describe, expect, it } from 'vitest';
import { appendCpio, baseEntries, BASE_PATHS, busyboxApplets } from '../../src/image/base-files.js';
import { cpioDevice, cpioDirectory, cpioFile, cpioSymlink, readCpio, writeCpio } from '../../src/image/cpio.js';
import { parseParagraphs, readDeb } from '../../src/image/deb.js';
import { readElfHeader, readElfSection } from '../../src/image/elf.js';
import { readTar } from '../../src/image/tar.js';
import { makeAr, makeDeb, makeElf, makeTar, tarRecord } from './support/archives.js';

const folder = mkdtempSync(join(tmpdir(), 'vmlet-archives-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const hasTool = (tool: string): boolean => spawnSync(tool, ['--version'], { stdio: 'ignore' }).error === undefined;
const formatProblem = expect.objectContaining({ code: 'ERR_VMLET_IMAGE_FORMAT' });

/** Every proper prefix must be refused with our error, and with no other. */
function rejectsEveryCut(bytes: Uint8Array, read: (part: Uint8Array) => unknown, isWhole: (length: number) => boolean = () => false): void {
  for (let length = 0; length < bytes.length; length++) {
    if (isWhole(length)) continue;
    expect(() => read(bytes.subarray(0, length)), `cut at ${length}`).toThrow(formatProblem);
  }
}

/** Damage may go unnoticed, but never ends in another error. */
function survivesDamage(bytes: Uint8Array, read: (part: Uint8Array) => unknown): void {
  for (let at = 0; at < bytes.length; at++) {
    for (const flip of [0x01, 0x10, 0x80, 0xff]) {
      const damaged = new Uint8Array(bytes);
      damaged[at] ^= flip;
      try {
        read(damaged);
      } catch (error) {
        expect(error, `byte ${at} ^ ${flip}`).toEqual(formatProblem);
      }
    }
  }
}

describe('cpio', () => {
  const entries = [
    cpioFile('usr/share/words', 'a b c\n'),
    cpioFile('init', '#!/bin/sh\n', 0o755),
    cpioSymlink('bin/sh', 'busybox'),
    cpioDevice('dev/console', 'char', 5, 1),
    cpioDirectory('tmp', 0o1777),
    { ...cpioFile('bin/again', ''), linkTo: 'bin/busybox', data: undefined },
    cpioFile('bin/busybox', 'ELF', 0o755),
  ];

  it('round-trips files, links, devices and modes, parents first', () => {
    const archive = writeCpio(entries);
    expect(archive.length % 512).toBe(0);
    const { entries: back, used } = readCpio(archive);
    expect(used).toBeLessThanOrEqual(archive.length);
    expect(back.map(({ path }) => path)).toEqual([
      'bin', 'bin/again', 'bin/busybox', 'bin/sh', 'dev', 'dev/console', 'init', 'tmp', 'usr', 'usr/share', 'usr/share/words',
    ]);
    const byPath = new Map(back.map((entry) => [entry.path, entry]));
    expect(Buffer.from(byPath.get('usr/share/words')!.data!).toString()).toBe('a b c\n');
    expect(byPath.get('tmp')!.mode).toBe(0o041777);
    expect(byPath.get('init')!.mode).toBe(0o100755);
    expect(byPath.get('dev/console')!.device).toEqual({ major: 5, minor: 1 });
    expect(Buffer.from(byPath.get('bin/sh')!.data!).toString()).toBe('busybox');
    expect(byPath.get('bin/again')!.linkTo).toBe('bin/busybox');
  });

  it('is the same whatever the order of its entries', () => {
    expect(writeCpio([...entries].reverse())).toEqual(writeCpio(entries));
  });

  it('lets the last entry of a path win', () => {
    const { entries: back } = readCpio(writeCpio([cpioFile('a', '1'), cpioFile('./a', '2')]));
    expect(back.map(({ data }) => Buffer.from(data!).toString())).toEqual(['2']);
  });

  it('refuses paths that leave the archive and links to nothing', () => {
    expect(() => writeCpio([cpioFile('../x', '')])).toThrow(formatProblem);
    expect(() => writeCpio([cpioFile('/', '')])).toThrow(formatProblem);
    expect(() => writeCpio([{ path: 'a', mode: 0o100644, linkTo: 'b' }])).toThrow(formatProblem);
    expect(() => writeCpio([{ path: 'a', mode: 0o100644, linkTo: 'b' }, { path: 'b', mode: 0o100644, linkTo: 'a' }])).toThrow(formatProblem);
  });

  it('does not make again what the base image has', () => {
    const { entries: back } = readCpio(appendCpio([cpioFile('usr/bin/tool', 'x', 0o755), cpioFile('tmp/deep/file', 'y')]));
    expect(back.map(({ path }) => path)).toEqual(['tmp/deep', 'tmp/deep/file', 'usr/bin/tool']);
    const base = new Set(baseEntries().map(({ path }) => path));
    for (const path of BASE_PATHS) expect(base.has(path), path).toBe(true);
  });

  it('rejects cuts and survives damage', () => {
    const { used } = readCpio(writeCpio(entries));
    const archive = writeCpio(entries).subarray(0, used);
    rejectsEveryCut(archive, (part) => readCpio(part), (length) => length > used - 4);
    survivesDamage(archive, (part) => readCpio(part));
  });

  it.skipIf(!hasTool('cpio'))('is understood by cpio', () => {
    const target = join(folder, 'cpio');
    const plain = entries.filter(({ path }) => path !== 'dev/console');
    execFileSync('cpio', ['-idm', '--quiet', '-D', folder, '--no-absolute-filenames'], { input: writeCpio(plain.map((entry) => ({
      ...entry, path: `cpio/${entry.path}`, ...(entry.linkTo ? { linkTo: `cpio/${entry.linkTo}` } : {}),
    }))) });
    expect(readFileSync(join(target, 'usr/share/words'), 'utf8')).toBe('a b c\n');
    expect(readFileSync(join(target, 'bin/again'), 'utf8')).toBe('ELF');
    expect(statSync(join(target, 'bin/again')).ino).toBe(statSync(join(target, 'bin/busybox')).ino);
    expect(readlinkSync(join(target, 'bin/sh'))).toBe('busybox');
    expect(statSync(join(target, 'tmp')).mode & 0o7777).toBe(0o1777);
  });

  it.skipIf(!hasTool('cpio'))('reads what cpio writes', () => {
    writeFileSync(join(folder, 'one'), 'content\n');
    const archive = execFileSync('cpio', ['-o', '-H', 'newc', '--quiet', '-D', folder], { input: 'one\n' });
    const { entries: back } = readCpio(archive);
    expect(back.map(({ path, data }) => [path, Buffer.from(data!).toString()])).toEqual([['one', 'content\n']]);
  });
});

describe('tar', () => {
  it('reads types, modes and links', () => {
    const files = [...readTar(makeTar([
      { path: './', type: '5', mode: 0o755 },
      { path: './bin/tool', data: 'code', mode: 0o755 },
      { path: './bin/alias', type: '2', link: 'tool' },
      { path: './bin/same', type: '1', link: './bin/tool' },
    ]))];
    expect(files.map(({ path, type, linkPath, mode }) => [path, type, linkPath, mode])).toEqual([
      ['', 'directory', '', 0o755], ['bin/tool', 'file', '', 0o755], ['bin/alias', 'symlink', 'tool', 0o644], ['bin/same', 'link', 'bin/tool', 0o644],
    ]);
    expect(Buffer.from(files[1].data).toString()).toBe('code');
  });

  it('reads long names of GNU, of pax and of ustar', () => {
    const long = `${'d'.repeat(120)}/file`;
    const pax = (text: string): string => `${text.length + 4} ${text}\n`.length === text.length + 6 ? `${text.length + 6} ${text}\n` : `${text.length + 5} ${text}\n`;
    const files = [...readTar(Buffer.concat([
      tarRecord({ path: '././@LongLink', type: 'L', data: `${long}\0` }),
      tarRecord({ path: long.slice(0, 99), data: '1' }),
      tarRecord({ path: 'x', type: 'x', data: pax('path=näme') }),
      tarRecord({ path: 'short', data: '2' }),
      tarRecord({ path: 'name', data: '3' }, 'some/prefix'),
      Buffer.alloc(1024),
    ]))];
    expect(files.map(({ path, data }) => [path, Buffer.from(data).toString()])).toEqual([[long, '1'], ['näme', '2'], ['some/prefix/name', '3']]);
  });

  it('rejects cuts and survives damage', () => {
    const archive = makeTar([{ path: 'a', data: 'hello' }, { path: 'b', data: 'x'.repeat(600) }]);
    const end = archive.length - 512;
    rejectsEveryCut(archive.subarray(0, end), (part) => [...readTar(part)]);
    survivesDamage(archive.subarray(0, 1024), (part) => [...readTar(part)]);
  });

  it.skipIf(!hasTool('tar'))('reads what tar writes in each format', () => {
    const name = `${'n'.repeat(90)}-${'m'.repeat(90)}`;
    writeFileSync(join(folder, name), 'long');
    for (const format of ['gnu', 'posix']) {
      const archive = execFileSync('tar', ['-C', folder, `--format=${format}`, '-cf', '-', name]);
      expect([...readTar(archive)].map(({ path, data }) => [path, Buffer.from(data).toString()]), format).toEqual([[name, 'long']]);
    }
  });
});

describe('deb', () => {
  const control = 'Package: demo\nVersion: 1.2-3\nArchitecture: amd64\nDescription: short\n long\n';
  const deb = makeDeb(control, [{ path: './usr/bin/demo', data: 'demo' }]);

  it('reads control fields and files', async () => {
    const { control: fields, files } = readDeb(deb);
    expect(fields.get('version')).toBe('1.2-3');
    expect(fields.get('description')).toBe('short\nlong');
    expect([...(await files())].map(({ path, data }) => [path, Buffer.from(data).toString()])).toEqual([['usr/bin/demo', 'demo']]);
  });

  it('reads a zstd data member and an uncompressed one', async () => {
    const files = [{ path: './a', data: 'b' }];
    for (const [pack, suffix] of [[zstdCompress, '.zst'], [(tar: Buffer) => tar, '']] as const) {
      expect([...(await readDeb(makeDeb(control, files, pack, suffix)).files())].map(({ path }) => path)).toEqual(['a']);
    }
  });

  it('rejects cuts, damage and other archives', async () => {
    const read = async (part: Uint8Array): Promise<unknown> => [...(await readDeb(part).files())];
    for (let length = 0; length < deb.length - 1; length++) {
      await expect(read(deb.subarray(0, length)), `cut at ${length}`).rejects.toThrow(formatProblem);
    }
    for (let at = 0; at < deb.length; at++) {
      const damaged = new Uint8Array(deb);
      damaged[at] ^= 0xff;
      await read(damaged).catch((error: unknown) => expect(error, `byte ${at}`).toEqual(formatProblem));
    }
    expect(() => readDeb(makeAr([{ name: 'x', data: Buffer.from('y') }]))).toThrow(formatProblem);
  });

  it.skipIf(!hasTool('dpkg-deb'))('is a package to dpkg-deb as well', () => {
    writeFileSync(join(folder, 'demo.deb'), deb);
    expect(execFileSync('dpkg-deb', ['-f', join(folder, 'demo.deb'), 'Version'], { encoding: 'utf8' }).trim()).toBe('1.2-3');
  });

  it('splits paragraphs', () => {
    const [a, b] = parseParagraphs('A: 1\nB: 2\n two\n\n\nA: 3\n');
    expect([a.get('a'), a.get('b'), b.get('a')]).toEqual(['1', '2\ntwo', '3']);
  });
});

describe('ELF', () => {
  it('finds a section in both classes', () => {
    for (const bits of [32, 64] as const) {
      const file = makeElf({ bits, content: 'depends=\0' });
      expect(readElfHeader(file)).toMatchObject({ bits, machine: bits === 64 ? 62 : 3 });
      expect(Buffer.from(readElfSection(file, '.modinfo')!).toString()).toBe('depends=\0');
      expect(readElfSection(file, '.other')).toBeUndefined();
      rejectsEveryCut(file, (part) => readElfSection(part, '.modinfo'));
      survivesDamage(file, (part) => readElfSection(part, '.modinfo'));
    }
  });
});

describe('busyboxApplets', () => {
  it('finds the list in a binary', () => {
    expect(busyboxApplets(Buffer.from('code\0\0[\0[[\0ash\0cat\0\0more\0'))).toEqual(['[', '[[', 'ash', 'cat']);
  });

  it('rejects a binary without one', () => {
    expect(() => busyboxApplets(Buffer.from('nothing here'))).toThrow(formatProblem);
  });
});
