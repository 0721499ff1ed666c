// tar: POSIX ustar and pax, and GNU long names and base-256 numbers.
import { ascii, formatError, utf8 } from './codec/bytes.js';

const WHAT = 'tar archive';
const BLOCK = 512;
const LONG_NAME_MAX = 1 << 16;

export type TarType = 'file' | 'link' | 'symlink' | 'char' | 'block' | 'directory' | 'fifo';

export interface TarEntry {
  /** Relative, without `./`. The root itself is the empty string. */
  path: string;
  type: TarType;
  /** Permission bits. */
  mode: number;
  uid: number;
  gid: number;
  /** Seconds since 1970. */
  mtime: number;
  /** Target of a symbolic link as it stands, or path of a hard link. */
  linkPath: string;
  data: Uint8Array;
  device: { major: number; minor: number };
}

const TYPES: Record<string, TarType | undefined> = {
  '0': 'file', '\0': 'file', '7': 'file', '1': 'link', '2': 'symlink', '3': 'char', '4': 'block', '5': 'directory', '6': 'fifo',
};

/** Reads the entries in order; content is a view of `bytes`. Unknown entry types are passed over. */
export function* readTar(bytes: Uint8Array): Generator<TarEntry> {
  let at = 0;
  let longPath: string | undefined;
  let longLink: string | undefined;
  let pax: Map<string, string> = new Map();
  const globals: Map<string, string> = new Map();
  for (;;) {
    if (at + BLOCK > bytes.length) throw formatError(WHAT, 'truncated');
    if (isZero(bytes, at)) return;
    checkHeader(bytes, at);
    const typeFlag = String.fromCharCode(bytes[at + 156]);
    const type = TYPES[typeFlag];
    const paxSize = pax.get('size');
    const size = paxSize === undefined ? number(bytes, at + 124, 12) : Number(paxSize);
    const holdsData = type === undefined || type === 'file';
    const dataAt = at + BLOCK;
    const dataSize = holdsData ? size : 0;
    if (!Number.isSafeInteger(dataSize) || dataSize < 0 || dataAt + dataSize > bytes.length) throw formatError(WHAT, 'truncated');
    const data = bytes.subarray(dataAt, dataAt + dataSize);
    const header = at;
    at = dataAt + Math.ceil(dataSize / BLOCK) * BLOCK;

    if (typeFlag === 'L' || typeFlag === 'K') {
      if (dataSize > LONG_NAME_MAX) throw formatError(WHAT, 'a name longer than 64 KiB');
      const name = utf8(data).replace(/\0.*$/s, '');
      if (typeFlag === 'L') longPath = name;
      else longLink = name;
      continue;
    }
    if (typeFlag === 'x' || typeFlag === 'g') {
      const records = readPax(data);
      if (typeFlag === 'x') pax = new Map([...globals, ...records]);
      else for (const [key, value] of records) globals.set(key, value);
      continue;
    }
    if (type !== undefined) {
      const ustar = ascii(bytes, header + 257, header + 262) === 'ustar';
      const posix = ustar && bytes[header + 262] === 0;
      const prefix = posix ? text(bytes, header + 345, 155) : '';
      const shortPath = text(bytes, header, 100);
      yield {
        path: plain(pax.get('path') ?? longPath ?? (prefix ? `${prefix}/${shortPath}` : shortPath)),
        type,
        mode: number(bytes, header + 100, 8) & 0o7777,
        uid: number(bytes, header + 108, 8),
        gid: number(bytes, header + 116, 8),
        mtime: number(bytes, header + 136, 12),
        linkPath: linkPath(type, pax.get('linkpath') ?? longLink ?? text(bytes, header + 157, 100)),
        data,
        device: ustar ? { major: number(bytes, header + 329, 8), minor: number(bytes, header + 337, 8) } : { major: 0, minor: 0 },
      };
    }
    longPath = longLink = undefined;
    pax = new Map(globals);
  }
}

function linkPath(type: TarType, target: string): string {
  return type === 'link' ? plain(target) : target;
}

function plain(path: string): string {
  return path.split('/').filter((part) => part !== '' && part !== '.').join('/');
}

function isZero(bytes: Uint8Array, at: number): boolean {
  for (let i = at; i < at + BLOCK; i++) if (bytes[i] !== 0) return false;
  return true;
}

function checkHeader(bytes: Uint8Array, at: number): void {
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? 0x20 : bytes[at + i];
  if (sum !== number(bytes, at + 148, 8)) throw formatError(WHAT, `a damaged header at byte ${at}`);
}

function text(bytes: Uint8Array, at: number, size: number): string {
  const field = bytes.subarray(at, at + size);
  const end = field.indexOf(0);
  return utf8(end < 0 ? field : field.subarray(0, end));
}

function number(bytes: Uint8Array, at: number, size: number): number {
  if (bytes[at] & 0x80) {
    let value = bytes[at] & 0x7f;
    for (let i = at + 1; i < at + size; i++) value = value * 256 + bytes[i];
    return value;
  }
  const [octal] = ascii(bytes, at, at + size).replaceAll('\0', ' ').trim().split(' ');
  if (!/^[0-7]*$/.test(octal)) throw formatError(WHAT, 'a bad number');
  return octal === '' ? 0 : parseInt(octal, 8);
}

function readPax(data: Uint8Array): Map<string, string> {
  const records = new Map<string, string>();
  let at = 0;
  while (at < data.length) {
    const space = data.indexOf(0x20, at);
    const length = space < 0 ? NaN : Number(ascii(data, at, space));
    if (!Number.isInteger(length) || length <= space - at + 1 || at + length > data.length) throw formatError(WHAT, 'a bad pax header');
    const record = utf8(data.subarray(space + 1, at + length - 1));
    const equals = record.indexOf('=');
    if (equals < 1) throw formatError(WHAT, 'a bad pax header');
    records.set(record.slice(0, equals), record.slice(equals + 1));
    at += length;
  }
  return records;
}
