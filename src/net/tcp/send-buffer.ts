import { concat, NO_BYTES } from '../bytes.js';

/** Writes below this are gathered into one piece. */
const GATHER_BYTES = 4096;

/** Bytes that were written and not yet acknowledged, in the pieces they came in. Pieces are not copied and must not change. */
export class SendBuffer {
  #pieces: Uint8Array[] = [];
  #joined = NO_BYTES;
  /** Bytes of the first piece that are gone. */
  #gone = 0;
  length = 0;

  append(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const last = this.#pieces.at(-1);
    if (last !== undefined && last.length + bytes.length <= GATHER_BYTES) this.#pieces[this.#pieces.length - 1] = concat([last, bytes]);
    else this.#pieces.push(bytes);
    this.length += bytes.length;
  }

  /** `count` bytes from `offset`; both lie within the buffer. Valid until the next call: they may be joined in a buffer that is used again. */
  slice(offset: number, count: number): Uint8Array {
    if (count === 0) return NO_BYTES;
    let at = this.#gone + offset;
    let index = 0;
    while (at >= this.#pieces[index].length) at -= this.#pieces[index++].length;
    const first = this.#pieces[index];
    if (at + count <= first.length) return first.subarray(at, at + count);
    if (this.#joined.length < count) this.#joined = new Uint8Array(count);
    const joined = this.#joined.subarray(0, count);
    for (let filled = 0; filled < count; at = 0) {
      const part = this.#pieces[index++].subarray(at, at + count - filled);
      joined.set(part, filled);
      filled += part.length;
    }
    return joined;
  }

  /** Forgets the first `count` bytes. */
  drop(count: number): void {
    this.length -= count;
    this.#gone += count;
    let whole = 0;
    while (whole < this.#pieces.length && this.#gone >= this.#pieces[whole].length) this.#gone -= this.#pieces[whole++].length;
    if (whole > 0) this.#pieces.splice(0, whole);
  }

  clear(): void {
    this.#pieces = [];
    this.#joined = NO_BYTES;
    this.#gone = 0;
    this.length = 0;
  }
}
