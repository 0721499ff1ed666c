import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { Cache, cacheFolder, writeWhole } from '../../src/image/cache.js';

const root = mkdtempSync(join(tmpdir(), 'vmlet-cache-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let folder: string;
let cache: Cache;
let counter = 0;
beforeEach(() => {
  folder = join(root, String(counter++));
  cache = new Cache(folder);
});

const fill = (content: string) => async (work: string): Promise<{ note: string }> => {
  await writeWhole(join(work, 'data'), content);
  return { note: content };
};
const never = (): Promise<never> => Promise.reject(new Error('built again'));
const cacheProblem = expect.objectContaining({ code: 'ERR_VMLET_CACHE', hint: expect.stringContaining('VMLET_CACHE') as string });

describe('cacheFolder', () => {
  it('prefers VMLET_CACHE, then XDG, then the home folder', () => {
    expect(cacheFolder({ VMLET_CACHE: '/a', XDG_CACHE_HOME: '/b' })).toBe('/a');
    expect(cacheFolder({ XDG_CACHE_HOME: '/b' })).toBe('/b/vmlet');
    expect(cacheFolder({ XDG_CACHE_HOME: 'relative' })).toMatch(/\.cache\/vmlet$/);
  });
});

describe('Cache', () => {
  it('builds an entry once', async () => {
    const made = await cache.obtain('kind/key', fill('one'));
    expect(made.meta).toEqual({ note: 'one' });
    expect(readFileSync(join(made.folder, 'data'), 'utf8')).toBe('one');
    expect(await cache.obtain('kind/key', never)).toEqual(made);
    expect(readdirSync(join(folder, 'kind'))).toEqual(['key']);
  });

  it('builds again when forced, and leaves one entry', async () => {
    await cache.obtain('kind/key', fill('one'));
    const made = await cache.obtain('kind/key', fill('two'), { force: true });
    expect(readFileSync(join(made.folder, 'data'), 'utf8')).toBe('two');
    expect(readdirSync(join(folder, 'kind'))).toEqual(['key']);
  });

  it('builds again what is damaged: size, content, a missing file, the manifest', async () => {
    const harms: ((entry: string) => void)[] = [
      (entry) => writeFileSync(join(entry, 'data'), 'longer than it was'),
      (entry) => writeFileSync(join(entry, 'data'), 'eno'),
      (entry) => rmSync(join(entry, 'data')),
      (entry) => writeFileSync(join(entry, 'manifest.json'), '{"schema":1,'),
      (entry) => writeFileSync(join(entry, 'manifest.json'), 'null'),
      (entry) => writeFileSync(join(entry, 'manifest.json'), '{"schema":99,"files":{}}'),
    ];
    for (const [i, harm] of harms.entries()) {
      const entry = await cache.obtain(`kind/${i}`, fill('one'));
      harm(entry.folder);
      expect(await cache.find(`kind/${i}`), `harm ${i}`).toBeUndefined();
      const again = await cache.obtain(`kind/${i}`, fill('one'));
      expect(readFileSync(join(again.folder, 'data'), 'utf8')).toBe('one');
    }
  });

  it('keeps an entry whose files were only touched', async () => {
    const entry = await cache.obtain('kind/key', fill('one'));
    utimesSync(join(entry.folder, 'data'), 1000, 1000);
    expect(await cache.find('kind/key')).toBeDefined();
  });

  it('leaves nothing behind when building fails', async () => {
    await expect(cache.obtain('kind/key', async (work) => {
      await fill('half')(work);
      throw new Error('no luck');
    })).rejects.toThrow('no luck');
    expect(readdirSync(join(folder, 'kind'))).toEqual([]);
    expect(process.listenerCount('SIGINT')).toBe(0);
  });

  it('builds once for two callers at the same time', async () => {
    let built = 0;
    const build = async (work: string): Promise<{ note: string }> => {
      built++;
      return fill('one')(work);
    };
    await Promise.all([cache.obtain('kind/key', build), new Cache(folder).obtain('kind/key', build)]);
    expect(built).toBe(1);
  });

  it('takes over the lock of a dead process and sweeps up after it', async () => {
    const child = spawn(process.execPath, ['-e', '']);
    await new Promise((resolve) => child.on('exit', resolve));
    const entry = await cache.obtain('kind/key', fill('one'));
    // The names and the lock as this host writes them, but by a process that is gone.
    let work = '';
    await cache.obtain('kind/other', async (path) => {
      work = path;
      writeFileSync(`${entry.folder}-third.lock`, readFileSync(`${dirname(path)}/other.lock`, 'utf8').replace(/ \d+ /, ` ${child.pid} `));
      return fill('two')(path);
    });
    const remains = work.replace('other', 'third').replace(/-\d+-/, `-${child.pid}-`);
    mkdirSync(remains);
    writeFileSync(join(remains, 'part'), 'half');
    await cache.obtain('kind/key-third', fill('three'));
    expect(existsSync(remains)).toBe(false);
    expect(readdirSync(join(folder, 'kind')).sort()).toEqual(['key', 'key-third', 'other']);
  });

  it('stops waiting when told to', async () => {
    const abort = new AbortController();
    let start!: () => void;
    let finish!: () => void;
    const started = new Promise<void>((resolve) => (start = resolve));
    const holding = cache.obtain('kind/key', async (work) => {
      start();
      await new Promise<void>((resolve) => (finish = resolve));
      return fill('one')(work);
    });
    await started;
    const waiting = cache.obtain('kind/key', never, { signal: abort.signal });
    abort.abort();
    await expect(waiting).rejects.toThrow(expect.objectContaining({ code: 'ERR_VMLET_ABORTED' }));
    finish();
    await holding;
  });

  it('says why it cannot write', async () => {
    writeFileSync(join(root, 'a-file'), '');
    await expect(new Cache(join(root, 'a-file')).obtain('kind/key', never)).rejects.toThrow(cacheProblem);
    await expect(new Cache(join(root, 'a-file', 'below')).obtain('kind/key', never)).rejects.toThrow(/a part of the path is a file/);
    await expect(new Cache('/proc/vmlet').obtain('kind/key', never)).rejects.toThrow(cacheProblem);
  });

  it('leaves nothing behind when a signal ends the process', async () => {
    const source = new URL('../../src/image/cache.ts', import.meta.url);
    const script = join(root, 'interrupted.mts');
    writeFileSync(script, `
      import { Cache } from ${JSON.stringify(fileURLToPath(source).replace(/\.ts$/, '.js'))};
      await new Cache(${JSON.stringify(folder)}).obtain('kind/key', async () => {
        process.send('building');
        setInterval(() => {}, 1000);
        await new Promise(() => {});
      });
    `);
    const { build } = await import('./support/bundle.js');
    const child = spawn(process.execPath, [await build(script, root)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    await new Promise((resolve) => child.on('message', resolve));
    expect(readdirSync(join(folder, 'kind')).length).toBe(2);
    child.kill('SIGINT');
    const signal = await new Promise((resolve) => child.on('exit', (_code, name) => resolve(name)));
    expect(signal).toBe('SIGINT');
    expect(readdirSync(join(folder, 'kind'))).toEqual([]);
  });
});
