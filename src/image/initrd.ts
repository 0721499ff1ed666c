import { readFile } from 'node:fs/promises';
import { VmletError } from '../errors.js';
import { ascii, concat, formatError, le16, le32 } from './codec/bytes.js';
import { decompress, detectCompression } from './codec/decompress.js';
import { isCpio, readCpio } from './cpio.js';

const WHAT = 'initrd';
const MAX_UNPACKED_BYTES = 2 ** 31 - 4096;
const BOOTCONFIG = '#BOOTCONFIG\n';

export interface LoadedInitrd {
  bytes: Uint8Array;
  /** Whether `bytes` is raw cpio throughout; else the guest must unpack it, or it is a ramdisk. */
  raw: boolean;
}

/** Reads an initrd file and unpacks it on the host. Throws when it is missing, truncated or corrupt. */
export async function loadInitrd(path: string): Promise<LoadedInitrd> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw readError('initrd', path, cause);
  }
  try {
    return unpackInitrd(bytes);
  } catch (cause) {
    if (!(cause instanceof VmletError)) throw cause;
    throw new VmletError(cause.code, `cannot use ${path}: ${cause.message}`, { hint: cause.hint, cause });
  }
}

/** A VmletError for a file of the user that cannot be read. */
export function readError(what: string, path: string, cause: unknown): VmletError {
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new VmletError('ERR_VMLET_IMAGE_NOT_FOUND', `there is no ${what} at ${path}`, { hint: 'Check the path.', cause });
  }
  const why = code === 'EACCES' ? 'permission denied' : code === 'EISDIR' ? 'it is a folder' : message;
  return new VmletError('ERR_VMLET_IMAGE_NOT_FOUND', `cannot read the ${what} at ${path}: ${why}`, { hint: 'Check the path and its permissions.', cause });
}

/**
 * Turns what Linux takes as an initramfs (cpio archives, raw or compressed, one after the other, zeros between) into raw
 * cpio. A ramdisk image, and data with a boot configuration at its end, are passed on unchanged.
 */
export function unpackInitrd(bytes: Uint8Array): LoadedInitrd {
  if (bytes.length === 0) throw formatError(WHAT, 'empty');
  if (ascii(bytes, bytes.length - BOOTCONFIG.length, bytes.length) === BOOTCONFIG || isRamdisk(bytes)) return { bytes, raw: false };
  const parts: Uint8Array[] = [];
  let total = 0;
  let at = 0;
  while (at < bytes.length) {
    if (bytes[at] === 0) {
      at++;
      continue;
    }
    let part: Uint8Array;
    if (isCpio(bytes, at)) {
      const { used } = readCpio(bytes, at);
      part = bytes.subarray(at, at + used);
      at += used;
    } else {
      const rest = bytes.subarray(at);
      const kind = detectCompression(rest);
      if (!kind) {
        if (parts.length > 0) return { bytes, raw: false };
        throw formatError(WHAT, 'neither a cpio archive, nor compressed, nor a ramdisk');
      }
      const unpacked = decompress(kind, rest, { maxBytes: MAX_UNPACKED_BYTES - total });
      if (isRamdisk(unpacked.bytes)) return { bytes, raw: false };
      part = checkedArchives(unpacked.bytes);
      at += unpacked.used;
    }
    const padding = -part.length & 3;
    parts.push(part, new Uint8Array(padding));
    total += part.length + padding;
    if (total > MAX_UNPACKED_BYTES) throw formatError(WHAT, `unpacks to more than ${MAX_UNPACKED_BYTES} bytes`);
  }
  if (parts.length === 0) throw formatError(WHAT, 'nothing but zeros');
  return { bytes: parts.length === 2 && parts[1].length === 0 ? parts[0] : concat(parts), raw: true };
}

/** One or more archives, zeros between; compressed data holds nothing else. */
function checkedArchives(bytes: Uint8Array): Uint8Array {
  let at = 0;
  let count = 0;
  while (at < bytes.length) {
    if (bytes[at] === 0) {
      at++;
      continue;
    }
    at += readCpio(bytes, at).used;
    count++;
  }
  if (count === 0) throw formatError(WHAT, 'its compressed part holds no cpio archive');
  return bytes;
}

/** The file systems that Linux looks for in a ramdisk. */
function isRamdisk(bytes: Uint8Array): boolean {
  if (bytes.length < 2048) return false;
  const head = ascii(bytes, 0, 8);
  const minix = le16(bytes, 1024 + 16);
  return (
    head === '-rom1fs-' || head.startsWith('hsqs') || le32(bytes, 0) === 0x28cd3d45 || le32(bytes, 512) === 0x28cd3d45 ||
    le16(bytes, 1024 + 56) === 0xef53 || minix === 0x137f || minix === 0x138f
  );
}
