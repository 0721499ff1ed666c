// RFC 764's netascii as TFTP uses it (RFC 1350, 1): a line ends with CR LF, a bare CR is CR NUL.
import type { FileHandle } from '../files.js';

const LF = 10;
const CR = 13;

/** A file as netascii. Its size is known only at its end, so it is read from front to back, once. */
export class NetasciiReader {
  readonly #file: FileHandle;
  readonly #raw = new Uint8Array(16384);
  #offset = 0;
  #length = 0;
  #at = 0;
  #second = -1;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /** Fills `into` as far as there is text; less than asked means the end. */
  read(into: Uint8Array): number {
    let done = 0;
    while (done < into.length) {
      if (this.#second >= 0) {
        into[done++] = this.#second;
        this.#second = -1;
        continue;
      }
      if (this.#at === this.#length) {
        this.#length = this.#file.read(this.#offset, this.#raw);
        this.#offset += this.#length;
        this.#at = 0;
        if (this.#length === 0) break;
      }
      const byte = this.#raw[this.#at++];
      if (byte === LF) {
        into[done++] = CR;
        this.#second = LF;
      } else {
        into[done++] = byte;
        if (byte === CR) this.#second = 0;
      }
    }
    return done;
  }
}

/** Netascii back to a Unix text, piece by piece. */
export class NetasciiDecoder {
  #carriage = false;

  push(bytes: Uint8Array): Uint8Array {
    const out = new Uint8Array(bytes.length + 1);
    let length = 0;
    for (const byte of bytes) {
      if (this.#carriage) {
        this.#carriage = false;
        if (byte === LF || byte === 0) {
          out[length++] = byte === LF ? LF : CR;
          continue;
        }
        out[length++] = CR;
      }
      if (byte === CR) this.#carriage = true;
      else out[length++] = byte;
    }
    return out.subarray(0, length);
  }

  end(): Uint8Array {
    return this.#carriage ? Uint8Array.of(CR) : new Uint8Array(0);
  }
}
