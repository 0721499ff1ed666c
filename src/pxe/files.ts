import { guardPath, type PathRefusal } from './path-guard.js';
import { utf8 } from './bytes.js';

/** An open file of a known size. Reads are synchronous, so that a lab in one process stays repeatable. */
export interface FileHandle {
  /** Bytes. */
  readonly size: number;
  /** Seconds since 1970, UTC; undefined for what has no date. */
  readonly modified?: number;
  /** Reads at an offset; returns how many bytes there were, 0 at the end. An error of the medium throws. */
  read(offset: number, into: Uint8Array): number;
  close(): void;
}

/** A file being received. */
export interface FileSink {
  write(bytes: Uint8Array): void;
  /** The file is complete. */
  commit(): void;
  /** The file will not be completed; what was written is taken away. */
  abort(): void;
}

/** Who asks, as far as a file server knows it. */
export interface FileClient {
  readonly address: string;
  readonly service: 'tftp' | 'http';
}

/** Where served files come from. `request` is the path as the client sent it, not yet looked at. */
export interface FileSource {
  open(request: string, client: FileClient): FileHandle | PathRefusal;
  /** Creates a new file; absent where nothing may be written. `existing` is told apart because TFTP has a code for it. */
  create?(request: string, client: FileClient): FileSink | PathRefusal | { readonly refused: 'existing'; readonly reason: string };
}

export const isRefusal = <T extends object>(result: T | PathRefusal): result is PathRefusal => 'refused' in result;

export const missing = (reason: string): PathRefusal => ({ refused: 'missing', reason });

/** A file in memory. The bytes are not copied. */
export const bytesFile = (bytes: Uint8Array, modified?: number): FileHandle => ({
  size: bytes.length,
  modified,
  read(offset, into) {
    const piece = bytes.subarray(offset, offset + into.length);
    into.set(piece);
    return piece.length;
  },
  close() {},
});

export type VirtualContents = Uint8Array | string | ((client: FileClient, path: string) => Uint8Array | string | PathRefusal);

/** Files from buffers: kernels, generated scripts, answers to the names that loaders probe. */
export class VirtualFiles implements FileSource {
  readonly #files = new Map<string, VirtualContents>();
  readonly #folders: { prefix: string; contents: VirtualContents }[] = [];

  /** Adds or replaces a file. `path` is guarded as a client's would be. */
  set(path: string, contents: VirtualContents): this {
    this.#files.set(key(path), contents);
    return this;
  }

  /** Adds a generator for every path that begins with `prefix` and is not a file of its own; the last one added is asked first. */
  setPrefix(prefix: string, contents: VirtualContents): this {
    this.#folders.unshift({ prefix: prefix.replace(/^\/+/, ''), contents });
    return this;
  }

  delete(path: string): void {
    this.#files.delete(key(path));
  }

  open(request: string, client: FileClient): FileHandle | PathRefusal {
    const names = guardPath(request);
    if (isRefusal(names)) return names;
    const path = names.join('/');
    const contents = this.#files.get(path) ?? this.#folders.find(folder => path.startsWith(folder.prefix))?.contents;
    if (contents === undefined) return missing('there is no such file');
    const made = typeof contents === 'function' ? contents(client, path) : contents;
    if (typeof made === 'string') return bytesFile(utf8(made));
    return made instanceof Uint8Array ? bytesFile(made) : made;
  }
}

const key = (path: string): string => {
  const names = guardPath(path);
  return isRefusal(names) ? path : names.join('/');
};

/** Several sources as one: the first that has the file serves it; a denial ends the search. The first that can create files does. */
export const layeredFiles = (sources: readonly FileSource[]): FileSource => {
  const writable = sources.find(source => source.create !== undefined);
  return {
    open(request, client) {
      let last: PathRefusal = missing('there is no such file');
      for (const source of sources) {
        const result = source.open(request, client);
        if (!isRefusal(result)) return result;
        last = result;
        if (result.refused === 'denied') break;
      }
      return last;
    },
    ...(writable ? { create: (request: string, client: FileClient) => writable.create!(request, client) } : {}),
  };
};
