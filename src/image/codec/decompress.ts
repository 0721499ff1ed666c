import { formatError, startsWith } from './bytes.js';
import { decodeBzip2 } from './bzip2.js';
import { decodeGzip } from './gzip.js';
import { decodeLz4 } from './lz4.js';
import { decodeLzma } from './lzma.js';
import { decodeLzop, LZOP_MAGIC } from './lzo.js';
import { decodeXz, xzSteps } from './xz.js';
import { decodeZstd } from './zstd.js';

export type Compression = 'gzip' | 'xz' | 'lzma' | 'bzip2' | 'zstd' | 'lz4' | 'lzo';

export interface DecompressOptions {
  /** The size in bytes where it is known; data of another size is an error. */
  size?: number;
  /** Most bytes to unpack to; 1 GiB by default. */
  maxBytes?: number;
}

export interface Decompressed {
  bytes: Uint8Array;
  /** Input bytes that belonged to the compressed data; others may follow. */
  used: number;
}

const STEPS_AT_ONCE = 4;

const MAGICS: readonly [Compression, readonly number[]][] = [
  ['gzip', [0x1f, 0x8b, 0x08]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['lz4', [0x02, 0x21, 0x4c, 0x18]],
  ['lz4', [0x04, 0x22, 0x4d, 0x18]],
  ['lzo', LZOP_MAGIC],
  // LZMA has no magic: the usual properties byte and a dictionary of a power of two.
  ['lzma', [0x5d, 0x00, 0x00]],
];

const DECODERS: Record<Compression, (input: Uint8Array, sizeHint?: number, maxBytes?: number) => Decompressed> = {
  gzip: decodeGzip,
  xz: decodeXz,
  lzma: decodeLzma,
  bzip2: decodeBzip2,
  zstd: decodeZstd,
  lz4: decodeLz4,
  lzo: decodeLzop,
};

/** Tells the compression by its first bytes at `at`, or undefined. */
export function detectCompression(bytes: Uint8Array, at = 0): Compression | undefined {
  return MAGICS.find(([, magic]) => startsWith(bytes, magic, at))?.[0];
}

/** Unpacks one compressed file. Throws ERR_VMLET_IMAGE_FORMAT on damage or beyond `maxBytes`. */
export function decompress(kind: Compression, input: Uint8Array, options: DecompressOptions = {}): Decompressed {
  return checkSize(kind, DECODERS[kind](input, options.size, options.maxBytes), options);
}

/**
 * The same without holding up timers and signals for long, where that matters: xz, which is slow and packs large packages.
 * Rejects with the signal's reason when it is aborted.
 */
export async function decompressAsync(
  kind: Compression, input: Uint8Array, options: DecompressOptions & { signal?: AbortSignal } = {},
): Promise<Decompressed> {
  if (kind !== 'xz') return decompress(kind, input, options);
  const steps = xzSteps(input, options.size, options.maxBytes);
  for (let count = 1; ; count++) {
    const step = steps.next();
    if (step.done) return checkSize(kind, step.value, options);
    if (count % STEPS_AT_ONCE === 0) {
      await new Promise((resolve) => setImmediate(resolve));
      options.signal?.throwIfAborted();
    }
  }
}

function checkSize(kind: Compression, result: Decompressed, options: DecompressOptions): Decompressed {
  if (options.size !== undefined && result.bytes.length !== options.size) {
    throw formatError(`${kind} data`, `unpacks to ${result.bytes.length} bytes, not ${options.size}`);
  }
  return result;
}
