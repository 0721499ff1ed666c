import { createHash, type Hash } from 'node:crypto';

/** A running SHA-256. */
export interface Hasher {
  update(bytes: Uint8Array): void;
  /** The digest as 64 hex digits; ends the use of the hasher. */
  digest(): string;
}

const ZEROS = Buffer.alloc(0x1_0000);

/** Whether all bytes are zero; fast, and untouched memory stays untouched. */
export const isZero = (bytes: Uint8Array): boolean => {
  for (let at = 0; at < bytes.length; at += ZEROS.length) {
    const piece = bytes.subarray(at, at + ZEROS.length);
    if (ZEROS.compare(piece, 0, piece.length, 0, piece.length) !== 0) return false;
  }
  return true;
};

export class Sha256 implements Hasher {
  readonly #hash: Hash = createHash('sha256');

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  digest(): string {
    return this.#hash.digest('hex');
  }
}
