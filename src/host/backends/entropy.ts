import { randomFillSync } from 'node:crypto';
import type { EntropyBackend } from './backend.js';
import { VmletError } from '../../errors.js';

/** A run's seed. Equal seeds give equal runs; 7, 7n and '7' are the same seed. */
export type Seed = number | bigint | string;

const BLOCK_WORDS = 16;
const BLOCK_BYTES = 64;
const MASK64 = 0xffff_ffff_ffff_ffffn;

/** FNV-1a, 64 bits, over the UTF-8 of a string. */
const fnv64 = (text: string): bigint => {
  let hash = 0xcbf2_9ce4_8422_2325n;
  for (const byte of new TextEncoder().encode(text)) hash = ((hash ^ BigInt(byte)) * 0x100_0000_01b3n) & MASK64;
  return hash;
};

/** Expands a seed and a stream's name into `words` 32-bit words by SplitMix64 (Steele, Lea, Flood 2014). */
export const expandSeed = (seed: Seed, stream: string, words: number): Uint32Array => {
  let state = fnv64(`${String(seed)}\0${stream}`);
  const result = new Uint32Array(words);
  for (let i = 0; i < words; i += 2) {
    state = (state + 0x9e37_79b9_7f4a_7c15n) & MASK64;
    let z = state;
    z = ((z ^ (z >> 30n)) * 0xbf58_476d_1ce4_e5b9n) & MASK64;
    z = ((z ^ (z >> 27n)) * 0x94d0_49bb_1331_11ebn) & MASK64;
    z ^= z >> 31n;
    result[i] = Number(z & 0xffff_ffffn);
    if (i + 1 < words) result[i + 1] = Number(z >> 32n);
  }
  return result;
};

const quarterRound = (x: Uint32Array, a: number, b: number, c: number, d: number): void => {
  x[a] += x[b];
  x[d] ^= x[a];
  x[d] = (x[d] << 16) | (x[d] >>> 16);
  x[c] += x[d];
  x[b] ^= x[c];
  x[b] = (x[b] << 12) | (x[b] >>> 20);
  x[a] += x[b];
  x[d] ^= x[a];
  x[d] = (x[d] << 8) | (x[d] >>> 24);
  x[c] += x[d];
  x[b] ^= x[c];
  x[b] = (x[b] << 7) | (x[b] >>> 25);
};

/** One ChaCha20 block (RFC 8439, 2.3): 16 words of output for 8 of key and 4 of counter and nonce. */
export const chacha20Block = (key: Uint32Array, counter: Uint32Array): Uint32Array => {
  const start = Uint32Array.of(0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574, ...key, ...counter);
  const x = start.slice();
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 4; i++) quarterRound(x, i, i + 4, i + 8, i + 12);
    for (let i = 0; i < 4; i++) quarterRound(x, i, 4 + ((i + 1) & 3), 8 + ((i + 2) & 3), 12 + ((i + 3) & 3));
  }
  for (let i = 0; i < BLOCK_WORDS; i++) x[i] += start[i];
  return x;
};

export interface EntropyState {
  /** Bytes handed out so far. */
  position: number;
}

/**
 * Deterministic entropy: the ChaCha20 key stream of a key that SplitMix64 expands from the seed and the stream's name. Two streams of
 * one seed are unrelated. Good statistics, no secrecy: whoever knows the seed knows the bytes.
 */
export class SeededEntropy implements EntropyBackend {
  readonly #key: Uint32Array;
  readonly #block = new Uint8Array(BLOCK_BYTES);
  #position = 0;
  #blockIndex = -1;

  constructor(seed: Seed, stream = 'entropy') {
    this.#key = expandSeed(seed, stream, 8);
  }

  fill(into: Uint8Array): void {
    for (let at = 0; at < into.length; ) {
      const index = Math.floor(this.#position / BLOCK_BYTES);
      if (index !== this.#blockIndex) this.#generate(index);
      const start = this.#position % BLOCK_BYTES;
      const bytes = Math.min(BLOCK_BYTES - start, into.length - at);
      into.set(this.#block.subarray(start, start + bytes), at);
      at += bytes;
      this.#position += bytes;
    }
  }

  #generate(index: number): void {
    const words = chacha20Block(this.#key, Uint32Array.of(index, Math.floor(index / 0x1_0000_0000), 0, 0));
    const view = new DataView(this.#block.buffer);
    words.forEach((word, i) => view.setUint32(4 * i, word, true));
    this.#blockIndex = index;
  }

  save(): EntropyState {
    return { position: this.#position };
  }

  restore(state: EntropyState): void {
    if (!Number.isSafeInteger(state.position) || state.position < 0) throw new VmletError('ERR_VMLET_STATE', 'the saved state of the entropy source is not valid');
    this.#position = state.position;
  }
}

/** The host's own randomness, for runs that need not be repeatable. */
export class HostEntropy implements EntropyBackend {
  fill(into: Uint8Array): void {
    randomFillSync(into);
  }
}

/** A fast deterministic generator for everything that is not key material: xoshiro128** 1.1 (Blackman, Vigna 2018). */
export class Prng {
  readonly #s: Uint32Array;

  constructor(seed: Seed, stream = 'prng') {
    this.#s = expandSeed(seed, stream, 4);
  }

  /** The next 32 bits. */
  u32(): number {
    const s = this.#s;
    const product = Math.imul(s[1], 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 11) | (s[3] >>> 21);
    return result;
  }

  /** An integer from 0 to `limit` - 1; `limit` is at most 2^32. */
  below(limit: number): number {
    const usable = 0x1_0000_0000 - (0x1_0000_0000 % limit);
    let value = this.u32();
    while (value >= usable) value = this.u32();
    return value % limit;
  }

  /** A number from 0 up to but not including 1, with 53 bits. */
  float(): number {
    return ((this.u32() >>> 5) * 0x400_0000 + (this.u32() >>> 6)) / 0x20_0000_0000_0000;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)];
  }

  save(): Uint32Array {
    return this.#s.slice();
  }

  restore(state: Uint32Array): void {
    if (state.length !== 4 || state.every(word => word === 0)) throw new VmletError('ERR_VMLET_STATE', 'the saved state of the generator is not valid');
    this.#s.set(state);
  }
}
