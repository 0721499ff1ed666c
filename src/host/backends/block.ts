import { closeSync, constants, fstatSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';
import { VmletError } from '../../errors.js';
import type { BlockBackend } from './backend.js';

const SECTOR_BYTES = 512;

const roundUp = (bytes: number): number => Math.ceil(bytes / SECTOR_BYTES) * SECTOR_BYTES;

const checkRange = (disk: BlockBackend, offset: number, bytes: number): void => {
  if (offset < 0 || offset + bytes > disk.size) throw new VmletError('ERR_VMLET_DISK', `access to bytes ${offset} to ${offset + bytes} of a disk of ${disk.size} bytes`);
};

const checkWrite = (disk: BlockBackend, offset: number, bytes: number): void => {
  if (disk.readOnly) throw new VmletError('ERR_VMLET_DISK', 'write to a read-only disk');
  checkRange(disk, offset, bytes);
};

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : '');

/** Why a disk image could not be opened, in words. */
const openError = (path: string, readOnly: boolean, cause: unknown): VmletError => {
  const problem = (message: string, hint: string) => new VmletError('ERR_VMLET_DISK', message, { hint, cause });
  switch (codeOf(cause)) {
    case 'ENOENT':
      return problem(`the disk image '${path}' does not exist`, 'check the path, or create it first, for example with: truncate -s 1G FILE');
    case 'EISDIR':
      return notAFile(path);
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return readOnly
        ? problem(`the disk image '${path}' cannot be read`, 'check its permissions')
        : problem(`the disk image '${path}' cannot be written`, "check its permissions, or add ',ro' or ',snapshot' to the disk option");
    default:
      return problem(`the disk image '${path}' cannot be opened: ${cause instanceof Error ? cause.message : String(cause)}`, 'check the path and its permissions');
  }
};

const notAFile = (path: string): VmletError =>
  new VmletError('ERR_VMLET_DISK', `the disk image '${path}' is not a file`, { hint: 'a disk is a raw image file; to give a guest a folder, copy it in' });

export interface RawFileOptions {
  readOnly?: boolean;
}

/**
 * A raw disk image. A file that does not end on a sector boundary is seen with its last sector padded with zeroes; the padding
 * can be read and rewritten as zeroes, but the file is never made longer: other data written there is an error.
 * Throws ERR_VMLET_DISK when the file is missing, unreadable, unwritable, empty or not a file.
 */
export class RawFileBlock implements BlockBackend {
  readonly size: number;
  readonly readOnly: boolean;
  readonly path: string;
  readonly #fileBytes: number;
  #fd: number;

  constructor(path: string, options: RawFileOptions = {}) {
    this.path = path;
    this.readOnly = options.readOnly ?? false;
    try {
      // Never blocks on a FIFO.
      this.#fd = openSync(path, (this.readOnly ? constants.O_RDONLY : constants.O_RDWR) | (constants.O_NONBLOCK ?? 0));
    } catch (error) {
      throw openError(path, this.readOnly, error);
    }
    const stat = fstatSync(this.#fd);
    this.#fileBytes = stat.isFile() ? stat.size : 0;
    this.size = roundUp(this.#fileBytes);
    if (this.size > 0) return;
    closeSync(this.#fd);
    this.#fd = -1;
    if (!stat.isFile()) throw notAFile(path);
    throw new VmletError('ERR_VMLET_DISK', `the disk image '${path}' is empty`, { hint: 'give it a size, for example with: truncate -s 1G FILE' });
  }

  read(offset: number, into: Uint8Array): void {
    checkRange(this, offset, into.length);
    const inFile = Math.max(0, Math.min(into.length, this.#fileBytes - offset));
    let done = 0;
    while (done < inFile) {
      const bytes = readSync(this.#fd, into, done, inFile - done, offset + done);
      if (bytes === 0) throw new VmletError('ERR_VMLET_DISK', `the disk image '${this.path}' has become shorter while in use`);
      done += bytes;
    }
    into.fill(0, inFile);
  }

  write(offset: number, bytes: Uint8Array): void {
    checkWrite(this, offset, bytes.length);
    const inFile = Math.max(0, Math.min(bytes.length, this.#fileBytes - offset));
    if (bytes.subarray(inFile).some(byte => byte !== 0)) {
      throw new VmletError('ERR_VMLET_DISK', `the guest wrote past the end of '${this.path}', whose ${this.#fileBytes} bytes are not whole sectors`, {
        hint: 'make the image a multiple of 512 bytes long',
      });
    }
    for (let done = 0; done < inFile; ) done += writeSync(this.#fd, bytes, done, inFile - done, offset + done);
  }

  flush(): void {
    if (!this.readOnly) fsyncSync(this.#fd);
  }

  close(): void {
    if (this.#fd < 0) return;
    closeSync(this.#fd);
    this.#fd = -1;
  }
}

/** A disk in memory: of `size` zero bytes, or over an array that it then owns (padded to whole sectors). */
export class MemoryBlock implements BlockBackend {
  readonly size: number;
  readonly #bytes: Uint8Array;

  constructor(
    contents: Uint8Array | number,
    readonly readOnly = false,
  ) {
    this.size = roundUp(typeof contents === 'number' ? contents : contents.length);
    if (typeof contents !== 'number' && contents.length === this.size) {
      this.#bytes = contents;
    } else {
      this.#bytes = new Uint8Array(this.size);
      if (typeof contents !== 'number') this.#bytes.set(contents);
    }
  }

  read(offset: number, into: Uint8Array): void {
    checkRange(this, offset, into.length);
    into.set(this.#bytes.subarray(offset, offset + into.length));
  }

  write(offset: number, bytes: Uint8Array): void {
    checkWrite(this, offset, bytes.length);
    this.#bytes.set(bytes, offset);
  }

  flush(): void {}

  close(): void {}
}

const CLUSTER_BYTES = 4096;

/** A writable disk whose changes stay in memory: the base is only ever read. Closing it closes the base. */
export class OverlayBlock implements BlockBackend {
  readonly size: number;
  readonly readOnly = false;
  readonly #base: BlockBackend;
  readonly #clusters = new Map<number, Uint8Array>();

  constructor(base: BlockBackend) {
    this.#base = base;
    this.size = base.size;
  }

  /** Bytes of host memory that changes take. */
  get changedBytes(): number {
    return this.#clusters.size * CLUSTER_BYTES;
  }

  read(offset: number, into: Uint8Array): void {
    checkRange(this, offset, into.length);
    for (let at = 0; at < into.length; ) {
      const cluster = this.#clusters.get(Math.floor((offset + at) / CLUSTER_BYTES));
      const start = (offset + at) % CLUSTER_BYTES;
      let bytes = Math.min(CLUSTER_BYTES - start, into.length - at);
      if (cluster) {
        into.set(cluster.subarray(start, start + bytes), at);
      } else {
        while (at + bytes < into.length && !this.#clusters.has(Math.floor((offset + at + bytes) / CLUSTER_BYTES))) {
          bytes += Math.min(CLUSTER_BYTES, into.length - at - bytes);
        }
        this.#base.read(offset + at, into.subarray(at, at + bytes));
      }
      at += bytes;
    }
  }

  write(offset: number, bytes: Uint8Array): void {
    checkWrite(this, offset, bytes.length);
    for (let at = 0; at < bytes.length; ) {
      const index = Math.floor((offset + at) / CLUSTER_BYTES);
      const start = (offset + at) % CLUSTER_BYTES;
      const length = Math.min(CLUSTER_BYTES - start, bytes.length - at);
      this.#cluster(index, length === CLUSTER_BYTES).set(bytes.subarray(at, at + length), start);
      at += length;
    }
  }

  #cluster(index: number, overwritten: boolean): Uint8Array {
    let cluster = this.#clusters.get(index);
    if (cluster === undefined) {
      cluster = new Uint8Array(CLUSTER_BYTES);
      const offset = index * CLUSTER_BYTES;
      if (!overwritten) this.#base.read(offset, cluster.subarray(0, Math.min(CLUSTER_BYTES, this.size - offset)));
      this.#clusters.set(index, cluster);
    }
    return cluster;
  }

  flush(): void {}

  close(): void {
    this.#base.close();
  }
}
