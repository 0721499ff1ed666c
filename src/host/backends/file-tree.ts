import { closeSync, constants, existsSync, fstatSync, lstatSync, mkdirSync, openSync, readSync, realpathSync, renameSync, statSync, unlinkSync, writeSync, fsyncSync, readFileSync } from 'node:fs';
import { basename, dirname, join, sep } from 'node:path';
import { VmletError } from '../../errors.js';
import { missing, isRefusal, type FileHandle, type FileSink, type FileSource } from '../../pxe/files.js';
import { guardPath, isInside, type PathRefusal } from '../../pxe/path-guard.js';

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : '');

const NOFOLLOW = constants.O_NOFOLLOW ?? 0;
const NONBLOCK = constants.O_NONBLOCK ?? 0;

const refusalOf = (error: unknown): PathRefusal => {
  switch (codeOf(error)) {
    case 'ENOENT':
    case 'ENOTDIR':
      return missing('there is no such file');
    case 'EACCES':
    case 'EPERM':
      return { refused: 'denied', reason: 'the server may not read the file' };
    case 'ELOOP':
      return { refused: 'denied', reason: 'the path is a loop of symbolic links' };
    default:
      return { refused: 'denied', reason: error instanceof Error ? error.message : String(error) };
  }
};

/**
 * A folder of the host as a source of files. A symbolic link is followed where it ends inside the folder and refused where it leaves it. A file
 * is opened first and judged then, so that nothing changes between the look and the use.
 */
export class FileTree implements FileSource {
  readonly #root: string;
  readonly create?: FileSource['create'];

  /** Throws ERR_VMLET_CONFIG when `root` is not a readable folder. */
  constructor(root: string, options: { readonly writable?: boolean } = {}) {
    try {
      this.#root = realpathSync(root);
      if (!statSync(this.#root).isDirectory()) throw new Error('it is not a folder');
    } catch (cause) {
      throw new VmletError('ERR_VMLET_CONFIG', `the folder '${root}' cannot be served: ${codeOf(cause) === 'ENOENT' ? 'it does not exist' : cause instanceof Error ? cause.message : String(cause)}`, {
        hint: 'check the path',
        cause,
      });
    }
    if (options.writable) this.create = request => this.#create(request);
  }

  open(request: string): FileHandle | PathRefusal {
    const names = guardPath(request);
    if (isRefusal(names)) return names;
    let fd = -1;
    try {
      const real = realpathSync(join(this.#root, ...names));
      if (!isInside(this.#root, real, sep)) return { refused: 'denied', reason: 'a symbolic link leaves the served folder' };
      // The real path has no link at its end; one that appears now is refused. A FIFO does not block.
      fd = openSync(real, constants.O_RDONLY | NOFOLLOW | NONBLOCK);
      const stat = fstatSync(fd);
      const refusal = this.#judge(real, stat);
      if (refusal) {
        closeSync(fd);
        return refusal;
      }
      return new TreeFile(fd, stat.size, Math.floor(stat.mtimeMs / 1000));
    } catch (error) {
      if (fd >= 0) closeSync(fd);
      return refusalOf(error);
    }
  }

  #judge(real: string, stat: { ino: number; dev: number; isFile(): boolean; isDirectory(): boolean }): PathRefusal | undefined {
    if (stat.isDirectory()) return missing('the path is a folder');
    if (!stat.isFile()) return { refused: 'denied', reason: 'the path is not a plain file' };
    // Had a folder on the way been exchanged for a link meanwhile, this would show it.
    const again = realpathSync(real);
    const now = lstatSync(again);
    if (!isInside(this.#root, again, sep) || now.ino !== stat.ino || now.dev !== stat.dev) return { refused: 'denied', reason: 'the path changed while it was opened' };
    return undefined;
  }

  #create(request: string): FileSink | PathRefusal | { refused: 'existing'; reason: string } {
    const names = guardPath(request);
    if (isRefusal(names)) return names;
    try {
      const folder = realpathSync(join(this.#root, ...names.slice(0, -1)));
      if (folder !== this.#root && !isInside(this.#root, folder, sep)) return { refused: 'denied', reason: 'a symbolic link leaves the served folder' };
      const path = join(folder, names[names.length - 1]);
      // O_EXCL follows no link, dangling ones included.
      const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | NOFOLLOW, 0o640);
      return new TreeSink(fd, path);
    } catch (error) {
      return codeOf(error) === 'EEXIST' ? { refused: 'existing', reason: 'the file exists and is not replaced' } : refusalOf(error);
    }
  }
}

class TreeFile implements FileHandle {
  #fd: number;

  constructor(
    fd: number,
    readonly size: number,
    readonly modified: number,
  ) {
    this.#fd = fd;
  }

  read(offset: number, into: Uint8Array): number {
    let done = 0;
    while (done < into.length) {
      const length = readSync(this.#fd, into, done, into.length - done, offset + done);
      if (length === 0) break;
      done += length;
    }
    return done;
  }

  close(): void {
    if (this.#fd < 0) return;
    closeSync(this.#fd);
    this.#fd = -1;
  }
}

class TreeSink implements FileSink {
  #fd: number;

  constructor(
    fd: number,
    readonly path: string,
  ) {
    this.#fd = fd;
  }

  write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) done += writeSync(this.#fd, bytes, done, bytes.length - done);
  }

  commit(): void {
    this.#close();
  }

  abort(): void {
    if (this.#fd < 0) return;
    this.#close();
    unlinkSync(this.path);
  }

  #close(): void {
    if (this.#fd < 0) return;
    closeSync(this.#fd);
    this.#fd = -1;
  }
}

/** A small text that is replaced as a whole: after a crash there is the old one or the new one. */
export class AtomicTextFile {
  constructor(readonly path: string) {}

  load(): string | undefined {
    try {
      return readFileSync(this.path, 'utf8');
    } catch (cause) {
      if (codeOf(cause) === 'ENOENT') return undefined;
      throw new VmletError('ERR_VMLET_CONFIG', `the file '${this.path}' cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    }
  }

  save(text: string): void {
    const folder = dirname(this.path);
    if (!existsSync(folder)) mkdirSync(folder, { recursive: true });
    const temporary = join(folder, `.${basename(this.path)}.${process.pid}.tmp`);
    const fd = openSync(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | NOFOLLOW, 0o600);
    try {
      const bytes = Buffer.from(text, 'utf8');
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, this.path);
  }
}
