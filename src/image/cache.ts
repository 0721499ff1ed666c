// The folder of fetched and built things. An entry appears whole, by one rename, or not at all.
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, rmSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { homedir, hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { VmletError } from '../errors.js';

const MANIFEST = 'manifest.json';
const SCHEMA = 1;
const LOCK_BEAT_MS = 5_000;
const LOCK_STALE_MS = 30_000;
const LOCK_POLL_MS = 60;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

interface FileRecord {
  size: number;
  sha256: string;
  mtimeMs: number;
}

interface Manifest<M> {
  schema: number;
  files: Record<string, FileRecord>;
  meta: M;
}

/** A finished entry: a folder of files that nobody changes any more. */
export interface CacheEntry<M> {
  folder: string;
  meta: M;
  /** SHA-256 in hexadecimal by file name. */
  sha256: Record<string, string>;
}

/** VMLET_CACHE, else the user's cache folder as XDG has it. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  if (env.VMLET_CACHE) return env.VMLET_CACHE;
  if (env.XDG_CACHE_HOME?.startsWith('/')) return join(env.XDG_CACHE_HOME, 'vmlet');
  return join(homedir(), '.cache', 'vmlet');
}

/** Folders and lock files that this process is filling now; gone when it is. */
const unfinished = new Set<string>();
let hooked = false;

function removeUnfinished(): void {
  for (const path of unfinished) rmSync(path, { recursive: true, force: true });
  unfinished.clear();
}

function onSignal(signal: NodeJS.Signals): void {
  // Another listener decides how the process ends; the exit hook cleans up then.
  if (process.listenerCount(signal) > 1) return;
  removeUnfinished();
  process.off(signal, onSignal);
  process.kill(process.pid, signal);
}

function guard(path: string): void {
  if (!hooked) {
    process.on('exit', removeUnfinished);
    hooked = true;
  }
  if (unfinished.size === 0) for (const signal of SIGNALS) process.on(signal, onSignal);
  unfinished.add(path);
}

function release(path: string): void {
  unfinished.delete(path);
  if (unfinished.size === 0) for (const signal of SIGNALS) process.off(signal, onSignal);
}

export class Cache {
  readonly folder: string;

  constructor(folder: string = cacheFolder()) {
    this.folder = resolve(folder);
  }

  /** A finished and unharmed entry, or undefined. Costs one small read and a stat for each file. */
  async find<M>(key: string): Promise<CacheEntry<M> | undefined> {
    const folder = join(this.folder, key);
    let manifest: Manifest<M>;
    try {
      manifest = JSON.parse(await readFile(join(folder, MANIFEST), 'utf8')) as Manifest<M>;
      if (manifest.schema !== SCHEMA || typeof manifest.files !== 'object' || manifest.files === null) return undefined;
      const sound = await Promise.all(Object.entries(manifest.files).map(([name, record]) => isSound(join(folder, name), record)));
      if (sound.includes(false)) return undefined;
    } catch (cause) {
      if (cause instanceof SyntaxError || cause instanceof TypeError) return undefined;
      const { code } = cause as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
      throw cacheError('read', folder, cause);
    }
    const sha256 = Object.fromEntries(Object.entries(manifest.files).map(([name, record]) => [name, record.sha256]));
    return { folder, meta: manifest.meta, sha256 };
  }

  /**
   * Finds an entry or makes it: `build` fills the folder it is given and returns what to remember beside the files. Only one
   * process builds an entry at a time; the others wait for it. `force` builds even when there is one.
   */
  async obtain<M>(
    key: string, build: (folder: string) => Promise<M>, options: { signal?: AbortSignal; force?: boolean } = {},
  ): Promise<CacheEntry<M>> {
    const found = options.force ? undefined : await this.find<M>(key);
    if (found) return found;
    const target = join(this.folder, key);
    const parent = join(target, '..');
    try {
      await makeFolders(parent);
    } catch (cause) {
      throw cacheError('make', parent, cause);
    }
    const unlock = await lock(`${target}.lock`, options.signal);
    try {
      const made = options.force ? undefined : await this.find<M>(key);
      if (made) return made;
      await sweep(parent);
      await this.#build(target, build);
    } finally {
      await unlock();
    }
    const entry = await this.find<M>(key);
    if (!entry) {
      throw new VmletError('ERR_VMLET_CACHE', `the cache entry ${target} is not readable right after it was written`, {
        hint: 'Check the disk, or set VMLET_CACHE to a folder on another one.',
      });
    }
    return entry;
  }

  async #build<M>(target: string, build: (folder: string) => Promise<M>): Promise<void> {
    const work = `${target}.tmp-${hostTag()}-${process.pid}-${randomBytes(4).toString('hex')}`;
    guard(work);
    try {
      await onDisk('make', work, () => mkdir(work));
      const meta = await build(work);
      await onDisk('write', work, async () => {
        const files: Record<string, FileRecord> = {};
        for (const name of (await readdir(work)).sort()) files[name] = await record(join(work, name));
        const manifest: Manifest<M> = { schema: SCHEMA, files, meta };
        await writeWhole(join(work, MANIFEST), `${JSON.stringify(manifest, undefined, 1)}\n`);
        await syncFolder(work);
        await replace(work, target);
        await syncFolder(join(target, '..'));
      });
    } finally {
      await rm(work, { recursive: true, force: true }).catch(() => {});
      release(work);
    }
  }
}

/** Writes a file and waits until it is on the disk. */
export async function writeWhole(path: string, data: Uint8Array | string): Promise<void> {
  await onDisk('write', path, async () => {
    const file = await open(path, 'w', 0o644);
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
  });
}

/** `mkdir -p`. Node's own never returns where a folder exists but takes no other, as below /proc. */
async function makeFolders(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' && dirname(path) !== path) {
      await makeFolders(dirname(path));
      await mkdir(path).catch((again: NodeJS.ErrnoException) => {
        if (again.code !== 'EEXIST') throw again;
      });
    } else if (code !== 'EEXIST' || !(await stat(path)).isDirectory()) {
      throw cause;
    }
  }
}

async function onDisk<T>(verb: string, path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    throw cause instanceof VmletError ? cause : cacheError(verb, path, cause);
  }
}

function cacheError(verb: string, path: string, cause: unknown): VmletError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const whys: Record<string, string> = {
    EACCES: 'permission denied',
    EPERM: 'permission denied',
    EROFS: 'the file system is read-only',
    ENOSPC: 'no space is left on the disk',
    EDQUOT: 'the disk quota is used up',
    ENOTDIR: 'a part of the path is a file',
    EEXIST: 'a part of the path is a file',
    ENOENT: 'a part of the path is missing',
  };
  const why = (code && whys[code]) ?? message;
  const hint =
    code === 'ENOSPC' || code === 'EDQUOT'
      ? 'Free some space (about 200 MB), or set VMLET_CACHE to a folder on another disk.'
      : 'Set VMLET_CACHE to a folder that you can write to, or correct its permissions.';
  return new VmletError('ERR_VMLET_CACHE', `cannot ${verb} ${path} in the cache: ${why}${code ? ` (${code})` : ''}`, { hint, cause });
}

async function isSound(path: string, known: FileRecord): Promise<boolean> {
  const info = await stat(path);
  if (!info.isFile() || info.size !== known.size) return false;
  // A file that was touched since is hashed again, as git does with its index.
  return info.mtimeMs === known.mtimeMs || (await hashFile(path)) === known.sha256;
}

async function record(path: string): Promise<FileRecord> {
  const info = await stat(path);
  return { size: info.size, sha256: await hashFile(path), mtimeMs: info.mtimeMs };
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

async function syncFolder(path: string): Promise<void> {
  try {
    const folder = await open(path, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  } catch {
    // Not every file system syncs folders.
  }
}

/** Puts a folder in the place of another; a reader sees the old one, none for an instant, or the new one. */
async function replace(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST' && code !== 'ENOTDIR' && code !== 'EPERM') throw cause;
    const old = `${from}-old`;
    await rename(to, old);
    await rename(from, to);
    await rm(old, { recursive: true, force: true });
  }
}

function hostTag(): string {
  return createHash('sha256').update(hostname()).digest('hex').slice(0, 8);
}

/** Removes what processes of this host left behind when they were killed. */
async function sweep(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const match = /\.tmp-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}(-old)?$/.exec(name);
    if (!match || match[1] !== hostTag() || isAlive(Number(match[2]))) continue;
    await rm(join(folder, name), { recursive: true, force: true }).catch(() => {});
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Takes a lock file, waiting for its holder; returns what gives it back. A dead holder's lock is taken over. */
async function lock(path: string, signal?: AbortSignal): Promise<() => Promise<void>> {
  const owner = `${hostTag()} ${process.pid} ${randomBytes(8).toString('hex')}\n`;
  for (;;) {
    if (signal?.aborted) throw aborted(signal);
    try {
      const file = await open(path, 'wx', 0o644);
      guard(path);
      await file.writeFile(owner).finally(() => file.close());
      break;
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cacheError('lock', path, cause);
    }
    if (await isStale(path)) {
      // Whoever renames it first has it; correctness never hangs on the lock, only double work.
      const grave = `${path}.tmp-${hostTag()}-${process.pid}-${randomBytes(4).toString('hex')}`;
      await rename(path, grave).then(() => rm(grave, { force: true }), () => {});
      continue;
    }
    await delay(LOCK_POLL_MS, undefined, { signal }).catch(() => {});
  }
  const beat = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => {});
  }, LOCK_BEAT_MS);
  beat.unref();
  return async () => {
    clearInterval(beat);
    if ((await readFile(path, 'utf8').catch(() => '')) === owner) await rm(path, { force: true }).catch(() => {});
    release(path);
  };
}

async function isStale(path: string): Promise<boolean> {
  try {
    const [text, info] = await Promise.all([readFile(path, 'utf8'), stat(path)]);
    const [host, pid] = text.split(' ');
    if (host === hostTag() && Number(pid) > 0 && !isAlive(Number(pid))) return true;
    return Date.now() - info.mtimeMs > LOCK_STALE_MS;
  } catch {
    return false;
  }
}

export function aborted(signal: AbortSignal): VmletError {
  return new VmletError('ERR_VMLET_ABORTED', 'interrupted while the guest image was made ready', { cause: signal.reason });
}
