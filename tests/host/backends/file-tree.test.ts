import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AtomicTextFile, FileTree } from '../../../src/host/backends/file-tree.js';
import { isRefusal } from '../../../src/pxe/files.js';

const CLIENT = { address: '10.0.0.2', service: 'tftp' as const };
let base = '';
let root = '';

const read = (tree: FileTree, path: string): string => {
  const file = tree.open(path);
  if (isRefusal(file)) return `${file.refused}: ${file.reason}`;
  const into = new Uint8Array(file.size);
  file.read(0, into);
  file.close();
  return new TextDecoder().decode(into);
};

beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'vmlet-tree-'));
  root = join(base, 'data');
  mkdirSync(join(root, 'sub'), { recursive: true });
  mkdirSync(join(base, 'data-private'));
  writeFileSync(join(base, 'data-private', 'key'), 'secret');
  writeFileSync(join(root, 'file'), 'contents');
  writeFileSync(join(root, 'sub', 'deep'), 'deep contents');
  symlinkSync('sub/deep', join(root, 'inside'));
  symlinkSync('../data-private/key', join(root, 'escape'));
  symlinkSync(join(base, 'data-private'), join(root, 'escape-folder'));
  symlinkSync('/etc/passwd', join(root, 'absolute'));
  symlinkSync('loop', join(root, 'loop'));
  symlinkSync('nowhere', join(root, 'dangling'));
  symlinkSync(root, join(base, 'link-to-root'));
  spawnSync('mkfifo', [join(root, 'fifo')]);
});

afterAll(() => rmSync(base, { recursive: true, force: true }));

describe('FileTree', () => {
  it('serves files, through links that stay inside, and under a root that is a link', () => {
    for (const tree of [new FileTree(root), new FileTree(join(base, 'link-to-root'))]) {
      expect(read(tree, 'file')).toBe('contents');
      expect(read(tree, '/sub/deep')).toBe('deep contents');
      expect(read(tree, 'inside')).toBe('deep contents');
    }
  });

  it.each([
    ['escape', 'denied: a symbolic link leaves the served folder'],
    ['escape-folder/key', 'denied: a symbolic link leaves the served folder'],
    ['absolute', 'denied: a symbolic link leaves the served folder'],
    ['../data-private/key', "denied: the path contains '..'"],
    ['loop', 'denied: the path is a loop of symbolic links'],
    ['dangling', 'missing: there is no such file'],
    ['nothing', 'missing: there is no such file'],
    ['file/below', 'missing: there is no such file'],
    ['sub', 'missing: the path is a folder'],
  ])('does not serve %s', (path, answer) => expect(read(new FileTree(root), path)).toBe(answer));

  it('does not serve or wait for a FIFO', ctx => {
    if (!existsSync(join(root, 'fifo'))) ctx.skip('mkfifo is not available');
    expect(read(new FileTree(root), 'fifo')).toBe('denied: the path is not a plain file');
  });

  it('says what is wrong with a root', () => {
    expect(() => new FileTree(join(base, 'nowhere'))).toThrow(/does not exist/);
    expect(() => new FileTree(join(root, 'file'))).toThrow(/not a folder/);
  });

  it('creates new files only, only when writable, and takes an aborted one away', () => {
    expect(new FileTree(root).create).toBeUndefined();
    const tree = new FileTree(root, { writable: true });
    const sink = tree.create!('sub/new', CLIENT);
    if ('refused' in sink) throw new Error(sink.reason);
    sink.write(Uint8Array.of(65, 66));
    sink.commit();
    expect(readFileSync(join(root, 'sub', 'new'), 'utf8')).toBe('AB');
    expect(tree.create!('sub/new', CLIENT)).toMatchObject({ refused: 'existing' });
    expect(tree.create!('dangling', CLIENT)).toMatchObject({ refused: 'existing' });
    expect(existsSync(join(root, 'nowhere'))).toBe(false);
    expect(tree.create!('escape-folder/new', CLIENT)).toMatchObject({ refused: 'denied' });
    expect(tree.create!('../new', CLIENT)).toMatchObject({ refused: 'denied' });
    expect(tree.create!('no/folder', CLIENT)).toMatchObject({ refused: 'missing' });
    const broken = tree.create!('half', CLIENT);
    if ('refused' in broken) throw new Error(broken.reason);
    broken.write(Uint8Array.of(1));
    broken.abort();
    expect(existsSync(join(root, 'half'))).toBe(false);
  });
});

describe('AtomicTextFile', () => {
  it('is absent, then whole, and leaves nothing beside', () => {
    const file = new AtomicTextFile(join(base, 'state', 'leases'));
    expect(file.load()).toBeUndefined();
    file.save('one');
    file.save('two');
    expect(file.load()).toBe('two');
    expect(readdirSync(join(base, 'state'))).toEqual(['leases']);
  });
});
