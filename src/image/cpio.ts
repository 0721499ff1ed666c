// The newc cpio format that Linux unpacks as its initramfs (Documentation/driver-api/early-userspace/buffer-format.rst).
import { ascii, formatError } from './codec/bytes.js';

export const S_IFMT = 0o170000;
export const S_IFREG = 0o100000;
export const S_IFDIR = 0o040000;
export const S_IFLNK = 0o120000;
export const S_IFCHR = 0o020000;
export const S_IFBLK = 0o060000;

const HEADER_SIZE = 110;
const TRAILER = 'TRAILER!!!';
const BLOCK = 512;
const PATH_MAX = 4096;
const EMPTY = new Uint8Array(0);

/** One file of an archive. */
export interface CpioEntry {
  /** Relative to the root, without `./` or a leading slash. */
  path: string;
  /** Type and permissions, as `st_mode`. */
  mode: number;
  /** A file's content or a symbolic link's target. */
  data?: Uint8Array;
  uid?: number;
  gid?: number;
  /** Seconds since 1970; 0 by default, so that the same content gives the same archive. */
  mtime?: number;
  /** Device number of a character or block device. */
  device?: { major: number; minor: number };
  /** Path of another entry of the archive of which this is a hard link. */
  linkTo?: string;
}

export function cpioFile(path: string, data: Uint8Array | string, permissions = 0o644): CpioEntry {
  return { path, mode: S_IFREG | permissions, data: typeof data === 'string' ? Buffer.from(data) : data };
}

export function cpioDirectory(path: string, permissions = 0o755): CpioEntry {
  return { path, mode: S_IFDIR | permissions };
}

export function cpioSymlink(path: string, target: string): CpioEntry {
  return { path, mode: S_IFLNK | 0o777, data: Buffer.from(target) };
}

export function cpioDevice(path: string, type: 'char' | 'block', major: number, minor: number, permissions = 0o600): CpioEntry {
  return { path, mode: (type === 'char' ? S_IFCHR : S_IFBLK) | permissions, device: { major, minor } };
}

/**
 * Writes an archive: sorted by path, parents first (missing ones are added unless `existing` has them), the last entry of a
 * path wins, inode numbers by position. The result is a multiple of 512 bytes, so archives can be concatenated.
 */
export function writeCpio(entries: Iterable<CpioEntry>, existing: ReadonlySet<string> = new Set()): Uint8Array {
  const byPath = new Map<string, CpioEntry>();
  for (const entry of entries) {
    const path = normalPath(entry.path);
    byPath.set(path, { ...entry, path, ...(entry.linkTo === undefined ? {} : { linkTo: normalPath(entry.linkTo) }) });
  }
  for (const path of [...byPath.keys()]) {
    for (let slash = path.lastIndexOf('/'); slash > 0; slash = path.lastIndexOf('/', slash - 1)) {
      const parent = path.slice(0, slash);
      if (!byPath.has(parent) && !existing.has(parent)) byPath.set(parent, cpioDirectory(parent));
    }
  }
  const sorted = [...byPath.values()].map((entry) => ({ entry, key: Buffer.from(entry.path) }));
  sorted.sort((a, b) => Buffer.compare(a.key, b.key));

  const links = linkGroups(sorted.map(({ entry }) => entry), byPath);
  let size = 0;
  const records = sorted.map(({ entry, key }, index) => {
    const group = links.get(entry.path);
    const data = group ? (group.last === entry.path ? group.data : EMPTY) : (entry.data ?? EMPTY);
    const record = { entry, key, data, at: size, ino: group ? group.ino : index + 1, nlink: group ? group.count : 1 };
    size = align4(size + HEADER_SIZE + key.length + 1);
    size = align4(size + data.length);
    return record;
  });
  const trailerAt = size;
  const total = Math.ceil((align4(size + HEADER_SIZE + TRAILER.length + 1)) / BLOCK) * BLOCK;
  const out = Buffer.alloc(total);
  for (const { entry, key, data, at, ino, nlink } of records) {
    const device = entry.device ?? { major: 0, minor: 0 };
    const isDirectory = (entry.mode & S_IFMT) === S_IFDIR;
    const fields = [
      ino, entry.mode, entry.uid ?? 0, entry.gid ?? 0, isDirectory ? 2 : nlink, entry.mtime ?? 0, data.length,
      0, 0, device.major, device.minor, key.length + 1, 0,
    ];
    writeHeader(out, at, fields);
    out.set(key, at + HEADER_SIZE);
    out.set(data, align4(at + HEADER_SIZE + key.length + 1));
  }
  writeHeader(out, trailerAt, [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, TRAILER.length + 1, 0]);
  out.write(TRAILER, trailerAt + HEADER_SIZE, 'latin1');
  return out;
}

interface LinkGroup {
  ino: number;
  count: number;
  last: string;
  data: Uint8Array;
}

function linkGroups(sorted: readonly CpioEntry[], byPath: ReadonlyMap<string, CpioEntry>): Map<string, LinkGroup> {
  const groups = new Map<string, LinkGroup>();
  for (const entry of sorted) {
    if (entry.linkTo === undefined) continue;
    let target = byPath.get(entry.linkTo);
    for (let hops = 0; target?.linkTo !== undefined && hops < 40; hops++) target = byPath.get(target.linkTo);
    if (!target || target.linkTo !== undefined) {
      throw formatError('initramfs', `${entry.path} is a hard link to ${entry.linkTo}, which is not there`);
    }
    let group = groups.get(target.path);
    if (!group) {
      group = { ino: 0, count: 1, last: '', data: target.data ?? EMPTY };
      groups.set(target.path, group);
    }
    group.count++;
    groups.set(entry.path, group);
  }
  sorted.forEach((entry, index) => {
    const group = groups.get(entry.path);
    if (!group) return;
    group.ino ||= index + 1;
    group.last = entry.path;
  });
  return groups;
}

function normalPath(path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.length === 0 || parts.includes('..') || path.includes('\0')) {
    throw formatError('initramfs', `${JSON.stringify(path)} is no path inside the archive`);
  }
  const normal = parts.join('/');
  if (Buffer.byteLength(normal) >= PATH_MAX) throw formatError('initramfs', 'a path longer than 4095 bytes');
  return normal;
}

function align4(value: number): number {
  return (value + 3) & ~3;
}

function writeHeader(out: Buffer, at: number, fields: readonly number[]): void {
  out.write('070701', at, 'latin1');
  out.write(fields.map((field) => (field >>> 0).toString(16).toUpperCase().padStart(8, '0')).join(''), at + 6, 'latin1');
}

/** Whether a newc archive starts at `at`. */
export function isCpio(bytes: Uint8Array, at = 0): boolean {
  const magic = ascii(bytes, at, at + 6);
  return magic === '070701' || magic === '070702';
}

/** Reads one archive; `used` is its length, the trailer included. Hard links come out with `linkTo`. */
export function readCpio(bytes: Uint8Array, start = 0): { entries: CpioEntry[]; used: number } {
  const entries: CpioEntry[] = [];
  const withData = new Map<string, CpioEntry>();
  const linked: { entry: CpioEntry; key: string }[] = [];
  let at = start;
  for (;;) {
    if (at + HEADER_SIZE > bytes.length) throw formatError('cpio archive', 'truncated');
    if (!isCpio(bytes, at)) throw formatError('cpio archive', `no header at byte ${at}`);
    const text = ascii(bytes, at + 6, at + HEADER_SIZE);
    if (!/^[0-9a-fA-F]+$/.test(text)) throw formatError('cpio archive', `a damaged header at byte ${at}`);
    const field = (index: number): number => parseInt(text.slice(index * 8, index * 8 + 8), 16);
    const size = field(6);
    const nameSize = field(11);
    const nameAt = at + HEADER_SIZE;
    const dataAt = start + align4(nameAt + nameSize - start);
    if (nameSize === 0 || nameSize > PATH_MAX + 1 || dataAt + size > bytes.length) throw formatError('cpio archive', 'truncated');
    const path = Buffer.from(bytes.subarray(nameAt, nameAt + nameSize - 1)).toString('utf8');
    at = start + align4(dataAt + size - start);
    if (path === TRAILER) return { entries: resolveLinks(entries, linked, withData), used: Math.min(at, bytes.length) - start };
    const entry: CpioEntry = { path, mode: field(1), uid: field(2), gid: field(3), mtime: field(5) };
    const type = entry.mode & S_IFMT;
    if (type === S_IFREG || type === S_IFLNK) entry.data = bytes.subarray(dataAt, dataAt + size);
    if (type === S_IFCHR || type === S_IFBLK) entry.device = { major: field(9), minor: field(10) };
    if (type === S_IFREG && field(4) > 1) {
      const key = `${field(7)}:${field(8)}:${field(0)}`;
      linked.push({ entry, key });
      if (size > 0 || !withData.has(key)) withData.set(key, entry);
    }
    entries.push(entry);
  }
}

function resolveLinks(
  entries: CpioEntry[], linked: readonly { entry: CpioEntry; key: string }[], withData: ReadonlyMap<string, CpioEntry>,
): CpioEntry[] {
  for (const { entry, key } of linked) {
    const owner = withData.get(key)!;
    if (owner === entry) continue;
    entry.linkTo = owner.path;
    delete entry.data;
  }
  return entries;
}
