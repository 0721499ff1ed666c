// The LZMA bit stream, shared by .lzma files and xz (LZMA2). Layout: the LZMA specification in the LZMA SDK.
import { formatError, le32, OutBuffer } from './bytes.js';

const STATES = 12;
const POS_STATES_MAX = 16;
const LEN_CODER = 2 + POS_STATES_MAX * 8 * 2 + 256;
const LEN_LOW = 2;
const LEN_MID = LEN_LOW + POS_STATES_MAX * 8;
const LEN_HIGH = LEN_MID + POS_STATES_MAX * 8;

const IS_MATCH = 0;
const IS_REP = IS_MATCH + STATES * POS_STATES_MAX;
const IS_REP_G0 = IS_REP + STATES;
const IS_REP_G1 = IS_REP_G0 + STATES;
const IS_REP_G2 = IS_REP_G1 + STATES;
const IS_REP0_LONG = IS_REP_G2 + STATES;
const POS_SLOT = IS_REP0_LONG + STATES * POS_STATES_MAX;
const POS_SPEC = POS_SLOT + 4 * 64;
const ALIGN = POS_SPEC + 128;
const MATCH_LEN = ALIGN + 16;
const REP_LEN = MATCH_LEN + LEN_CODER;
const LITERAL = REP_LEN + LEN_CODER;

const TOP = 0xff000000 | 0;
const PROB_INIT = 1024;
export const MATCH_MAX = 273;

/** One LZMA decoder: probabilities and history outlive the chunks of LZMA2. */
export class LzmaDecoder {
  readonly #what: string;
  readonly #out: OutBuffer;
  #probs = new Uint16Array(0);
  #lc = 0;
  #lpMask = 0;
  #pbMask = 0;
  #state = 0;
  #rep0 = 0;
  #rep1 = 0;
  #rep2 = 0;
  #rep3 = 0;
  #range = 0;
  #code = 0;
  /** Next byte of the input. */
  pos = 0;
  /** First output byte that a match may reach. */
  historyStart = 0;
  /** Set when an end marker was met. */
  ended = false;

  constructor(what: string, out: OutBuffer) {
    this.#what = what;
    this.#out = out;
  }

  /** `props` is the LZMA byte (pb * 5 + lp) * 9 + lc; resets the state as well. */
  setProps(props: number, lzma2 = false): void {
    if (props >= 9 * 5 * 5) throw formatError(this.#what, 'bad LZMA properties');
    const lc = props % 9;
    const rest = (props / 9) | 0;
    const lp = rest % 5;
    const pb = (rest / 5) | 0;
    if (lzma2 && lc + lp > 4) throw formatError(this.#what, 'bad LZMA2 properties');
    this.#lc = lc;
    this.#lpMask = (1 << lp) - 1;
    this.#pbMask = (1 << pb) - 1;
    const size = LITERAL + (0x300 << (lc + lp));
    if (this.#probs.length !== size) this.#probs = new Uint16Array(size);
    this.resetState();
  }

  resetState(): void {
    this.#probs.fill(PROB_INIT);
    this.#state = this.#rep0 = this.#rep1 = this.#rep2 = this.#rep3 = 0;
  }

  get hasProps(): boolean {
    return this.#probs.length > 0;
  }

  /** Reads the five bytes that begin a range-coded stretch. */
  startRange(input: Uint8Array, pos: number, end: number): void {
    if (pos + 5 > end || input[pos] !== 0) throw formatError(this.#what, 'truncated or bad range coder data');
    this.#range = -1;
    this.#code = ((input[pos + 1] << 24) | (input[pos + 2] << 16) | (input[pos + 3] << 8) | input[pos + 4]) | 0;
    this.pos = pos + 5;
    this.ended = false;
  }

  /** Whether the range coder ended as an encoder leaves it. */
  get rangeDone(): boolean {
    return this.#code === 0;
  }

  /** Consumes a pending shift, as the end of an LZMA2 chunk does. */
  normalize(input: Uint8Array): void {
    if ((this.#range & TOP) === 0) {
      this.#range <<= 8;
      this.#code = (this.#code << 8) | input[this.pos++];
    }
  }

  /**
   * Decodes until the output holds `softLimit` bytes or the end marker; the output may run over by one match, but never
   * past `hardLimit`. The caller has reserved the room (`softLimit` + MATCH_MAX, or `hardLimit`).
   */
  decode(input: Uint8Array, end: number, softLimit: number, hardLimit: number, allowEnd: boolean): void {
    const what = this.#what;
    const probs = this.#probs;
    const out = this.#out.bytes;
    const historyStart = this.historyStart;
    const lc = this.#lc;
    const lpMask = this.#lpMask;
    const pbMask = this.#pbMask;
    let outPos = this.#out.length;
    let pos = this.pos;
    let range = this.#range;
    let code = this.#code;
    let state = this.#state;
    let rep0 = this.#rep0;
    let rep1 = this.#rep1;
    let rep2 = this.#rep2;
    let rep3 = this.#rep3;
    let bound = 0;
    let p = 0;
    let prob = 0;

    while (outPos < softLimit) {
      if (pos > end) throw formatError(what, 'truncated');
      const posState = (outPos - historyStart) & pbMask;

      p = IS_MATCH + (state << 4) + posState;
      prob = probs[p];
      if ((range & TOP) === 0) { range <<= 8; code = (code << 8) | input[pos++]; }
      bound = Math.imul(range >>> 11, prob);
      if (code >>> 0 < bound >>> 0) {
        range = bound;
        probs[p] = prob + ((2048 - prob) >>> 5);
        const before = outPos > historyStart ? out[outPos - 1] : 0;
        const base = LITERAL + 0x300 * ((((outPos - historyStart) & lpMask) << lc) + (before >>> (8 - lc)));
        let symbol = 1;
        if (state >= 7) {
          let matchByte = out[outPos - rep0 - 1] << 1;
          let offs = 0x100;
          do {
            const matchBit = matchByte & offs;
            p = base + offs + matchBit + symbol;
            prob = probs[p];
            if ((range & TOP) === 0) { range <<= 8; code = (code << 8) | input[pos++]; }
            bound = Math.imul(range >>> 11, prob);
            if (code >>> 0 < bound >>> 0) {
              range = bound;
              probs[p] = prob + ((2048 - prob) >>> 5);
              symbol <<= 1;
              offs &= ~matchBit;
            } else {
              range = (range - bound) | 0;
              code = (code - bound) | 0;
              probs[p] = prob - (prob >>> 5);
              symbol = (symbol << 1) | 1;
              offs &= matchBit;
            }
            matchByte <<= 1;
          } while (symbol < 0x100);
        } else {
          do {
            p = base + symbol;
            prob = probs[p];
            if ((range & TOP) === 0) { range <<= 8; code = (code << 8) | input[pos++]; }
            bound = Math.imul(range >>> 11, prob);
            if (code >>> 0 < bound >>> 0) {
              range = bound;
              probs[p] = prob + ((2048 - prob) >>> 5);
              symbol <<= 1;
            } else {
              range = (range - bound) | 0;
              code = (code - bound) | 0;
              probs[p] = prob - (prob >>> 5);
              symbol = (symbol << 1) | 1;
            }
          } while (symbol < 0x100);
        }
        out[outPos++] = symbol;
        state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
        continue;
      }
      range = (range - bound) | 0;
      code = (code - bound) | 0;
      probs[p] = prob - (prob >>> 5);

      let lenBase = MATCH_LEN;
      p = IS_REP + state;
      prob = probs[p];
      if ((range & TOP) === 0) { range <<= 8; code = (code << 8) | input[pos++]; }
      bound = Math.imul(range >>> 11, prob);
      const isRep = code >>> 0 >= bound >>> 0;
      if (isRep) {
        range = (range - bound) | 0;
        code = (code - bound) | 0;
        probs[p] = prob - (prob >>> 5);
        if (outPos === historyStart) throw formatError(what, 'a match before the first byte');
        lenBase = REP_LEN;

        p = IS_REP_G0 + state;
        prob = probs[p];
        if ((range & TOP) === 0) { range <<= 8; code = (code << 8) | input[pos++]; }
        bound = Math.imul(range >>> 11, prob);
        if (code >>> 0 < bound >>> 0) {
          range = bound;
          probs[p] = prob + ((2048 - prob) >>> 5);
          p = IS_REP0_LONG + (state << 4) + posState;
          prob = probs[p];
          if ((range & TOP) === 0) { range <<= 8; code = (code << 8) | input[pos++]; }
          bound = Math.imul(range >>> 11, prob);
          if (code >>> 0 < bound >>> 0) {
            range = bound;
            probs[p] = prob + ((2048 - prob) >>> 5);
            if (rep0 < 0 || rep0 >= outPos - historyStart) throw formatError(what, 'a match before the first byte');
            out[outPos] = out[outPos - rep0 - 1];
            outPos++;
            state = state < 7 ? 9 : 11;
            continue;
          }
          range = (range - bound) | 0;
          code = (code - bound) | 0;
          probs[p] = prob - (prob >>> 5);
        } else {
          range = (range - bound) | 0;
          code = (code - bound) | 0;
          probs[p] = prob - (prob >>> 5);
          let distance: number;
          p = IS_REP_G1 + state;
          prob = probs[p];
          if ((range & TOP) === 0) { range <<= 8; code = (code << 8) | input[pos++]; }
          bound = Math.imul(range >>> 11, prob);
          if (code >>> 0 < bound >>> 0) {
            range = bound;
            probs[p] = prob + ((2048 - prob) >>> 5);
            distance = rep1;
          } else {
            range = (range - bound) | 0;
            code = (code - bound) | 0;
            probs[p] = prob - (prob >>> 5);
            p = IS_REP_G2 + state;
            prob = probs[p];
            if ((range & TOP) === 0) { range <<= 8; code = (code << 8) | input[pos++]; }
            bound = Math.imul(range >>> 11, prob);
            if (code >>> 0 < bound >>> 0) {
              range = bound;
              probs[p] = prob + ((2048 - prob) >>> 5);
              distance = rep2;
            } else {
              range = (range - bound) | 0;
              code = (code - bound) | 0;
              probs[p] = prob - (prob >>> 5);
              distance = rep3;
              rep3 = rep2;
            }
            rep2 = rep1;
          }
          rep1 = rep0;
          rep0 = distance;
        }
        state = state < 7 ? 8 : 11;
      } else {
        range = bound;
        probs[p] = prob + ((2048 - prob) >>> 5);
        rep3 = rep2;
        rep2 = rep1;
        rep1 = rep0;
        state = state < 7 ? 7 : 10;
      }

      let tree: number;
      let bits: number;
      let len: number;
      p = lenBase;
      prob = probs[p];
      if ((range & TOP) === 0) { range <<= 8; code = (code << 8) | input[pos++]; }
      bound = Math.imul(range >>> 11, prob);
      if (code >>> 0 < bound >>> 0) {
        range = bound;
        probs[p] = prob + ((2048 - prob) >>> 5);
        tree = lenBase + LEN_LOW + (posState << 3);
        bits = 3;
        len = 2 - 8;
      } else {
        range = (range - bound) | 0;
        code = (code - bound) | 0;
        probs[p] = prob - (prob >>> 5);
        p = lenBase + 1;
        prob = probs[p];
        if ((range & TOP) === 0) { range <<= 8; code = (code << 8) | input[pos++]; }
        bound = Math.imul(range >>> 11, prob);
        if (code >>> 0 < bound >>> 0) {
          range = bound;
          probs[p] = prob + ((2048 - prob) >>> 5);
          tree = lenBase + LEN_MID + (posState << 3);
          bits = 3;
          len = 10 - 8;
        } else {
          range = (range - bound) | 0;
          code = (code - bound) | 0;
          probs[p] = prob - (prob >>> 5);
          tree = lenBase + LEN_HIGH;
          bits = 8;
          len = 18 - 256;
        }
      }

      // The length's tree first, then for a new match the slot's: one loop serves both.
      let node = 1;
      for (;;) {
        do {
          p = tree + node;
          prob = probs[p];
          if ((range & TOP) === 0) { range <<= 8; code = (code << 8) | input[pos++]; }
          bound = Math.imul(range >>> 11, prob);
          if (code >>> 0 < bound >>> 0) {
            range = bound;
            probs[p] = prob + ((2048 - prob) >>> 5);
            node <<= 1;
          } else {
            range = (range - bound) | 0;
            code = (code - bound) | 0;
            probs[p] = prob - (prob >>> 5);
            node = (node << 1) | 1;
          }
        } while (--bits > 0);
        if (tree >= POS_SLOT && tree < POS_SPEC) break;
        len += node;
        if (isRep) break;
        tree = POS_SLOT + (Math.min(len - 2, 3) << 6);
        bits = 6;
        node = 1;
      }

      if (!isRep) {
        const slot = node - 64;
        if (slot < 4) {
          rep0 = slot;
        } else {
          let direct = (slot >>> 1) - 1;
          rep0 = (2 | (slot & 1)) << direct;
          let reverse: number;
          let count: number;
          if (slot < 14) {
            reverse = POS_SPEC + rep0 - slot;
            count = direct;
          } else {
            let value = 0;
            for (direct -= 4; direct > 0; direct--) {
              if ((range & TOP) === 0) { range <<= 8; code = (code << 8) | input[pos++]; }
              range >>>= 1;
              if (code >>> 0 >= range >>> 0) {
                code = (code - range) | 0;
                value = (value << 1) | 1;
              } else {
                value <<= 1;
              }
            }
            rep0 = (rep0 + (value << 4)) | 0;
            reverse = ALIGN;
            count = 4;
          }
          node = 1;
          for (let bit = 0; bit < count; bit++) {
            p = reverse + node;
            prob = probs[p];
            if ((range & TOP) === 0) { range <<= 8; code = (code << 8) | input[pos++]; }
            bound = Math.imul(range >>> 11, prob);
            if (code >>> 0 < bound >>> 0) {
              range = bound;
              probs[p] = prob + ((2048 - prob) >>> 5);
              node <<= 1;
            } else {
              range = (range - bound) | 0;
              code = (code - bound) | 0;
              probs[p] = prob - (prob >>> 5);
              node = (node << 1) | 1;
              rep0 = (rep0 + (1 << bit)) | 0;
            }
          }
          if (rep0 === -1) {
            if (!allowEnd) throw formatError(what, 'an unexpected end marker');
            if ((range & TOP) === 0) { range <<= 8; code = (code << 8) | input[pos++]; }
            this.ended = true;
            break;
          }
        }
      }

      if (rep0 < 0 || rep0 >= outPos - historyStart) throw formatError(what, 'a match before the first byte');
      if (outPos + len > hardLimit) throw formatError(what, 'a match runs past the end');
      const distance = rep0 + 1;
      if (len > 32 && distance >= len) {
        out.copyWithin(outPos, outPos - distance, outPos - distance + len);
        outPos += len;
      } else {
        for (const stop = outPos + len; outPos < stop; outPos++) out[outPos] = out[outPos - distance];
      }
    }

    if (pos > end) throw formatError(what, 'truncated');
    this.#out.length = outPos;
    this.pos = pos;
    this.#range = range;
    this.#code = code;
    this.#state = state;
    this.#rep0 = rep0;
    this.#rep1 = rep1;
    this.#rep2 = rep2;
    this.#rep3 = rep3;
  }
}

/** Unpacks a .lzma ("LZMA alone") file: 13 bytes of header, then one range-coded stretch. */
export function decodeLzma(input: Uint8Array, sizeHint = 0, maxBytes?: number): { bytes: Uint8Array; used: number } {
  const what = 'lzma data';
  if (input.length < 18) throw formatError(what, 'truncated');
  const low = le32(input, 5);
  const high = le32(input, 9);
  const unknown = low === 0xffffffff && high === 0xffffffff;
  const size = unknown ? Infinity : high * 2 ** 32 + low;
  const out = new OutBuffer(what, Math.min(unknown ? sizeHint : size, input.length * 8000), maxBytes);
  if (!unknown && size > out.maxBytes) throw formatError(what, `claims ${size} bytes, more than ${out.maxBytes}`);
  const decoder = new LzmaDecoder(what, out);
  decoder.setProps(input[0]);
  decoder.startRange(input, 13, input.length);
  const STEP = 1 << 20;
  while (!decoder.ended && out.length < size) {
    const soft = Math.min(size, out.length + STEP);
    out.reserve(Math.min(size, soft + MATCH_MAX) - out.length);
    decoder.decode(input, input.length, soft, Math.min(size, soft + MATCH_MAX), true);
  }
  if (!unknown && out.length !== size) throw formatError(what, 'ends before its stated size');
  return { bytes: out.finish(), used: decoder.pos };
}
