import { seqAdd, seqDiff, seqLess } from './sequence.js';

/** Pieces kept at most; a sender of many small segments sends the rest again. */
const MAX_PIECES = 2048;

interface Piece {
  readonly seq: number;
  readonly bytes: Uint8Array;
}

/** Data beyond a gap: sorted, without overlap. */
export class ReceiveQueue {
  readonly #pieces: Piece[] = [];

  get size(): number {
    return this.#pieces.length;
  }

  insert(seq: number, bytes: Uint8Array): void {
    let start = seq;
    let rest = bytes;
    let at = this.#pieces.findIndex(piece => seqLess(seq, seqAdd(piece.seq, piece.bytes.length)));
    if (at < 0) at = this.#pieces.length;
    while (rest.length > 0 && this.#pieces.length < MAX_PIECES) {
      const next = this.#pieces[at];
      const room = next === undefined ? rest.length : seqDiff(next.seq, start);
      if (room > 0) {
        const part = rest.subarray(0, Math.min(room, rest.length));
        this.#pieces.splice(at++, 0, { seq: start, bytes: part });
      }
      if (next === undefined) return;
      const skip = seqDiff(seqAdd(next.seq, next.bytes.length), start);
      if (skip >= rest.length) return;
      rest = rest.subarray(skip);
      start = seqAdd(start, skip);
      at++;
    }
  }

  /** Takes what continues at `seq`, cutting off what lies before it. */
  take(seq: number): Uint8Array | undefined {
    while (this.#pieces.length > 0) {
      const first = this.#pieces[0];
      const old = seqDiff(seq, first.seq);
      if (old < 0) return undefined;
      this.#pieces.shift();
      if (old < first.bytes.length) return first.bytes.subarray(old);
    }
    return undefined;
  }

  clear(): void {
    this.#pieces.length = 0;
  }
}
