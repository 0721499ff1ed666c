// bzip2: Huffman-coded move-to-front over a Burrows-Wheeler transform, block by block.
import { formatError, OutBuffer, startsWith } from './bytes.js';

const WHAT = 'bzip2 data';
const BLOCK_MAGIC_HIGH = 0x314159;
const BLOCK_MAGIC_LOW = 0x265359;
const END_MAGIC_HIGH = 0x177245;
const END_MAGIC_LOW = 0x385090;
const GROUP_SIZE = 50;
const MAX_CODE_BITS = 20;

class BitReader {
  readonly #input: Uint8Array;
  #at: number;
  #held = 0;
  #count = 0;

  constructor(input: Uint8Array, at: number) {
    this.#input = input;
    this.#at = at;
  }

  /** Up to 24 bits, most significant first. */
  read(bits: number): number {
    while (this.#count < bits) {
      if (this.#at >= this.#input.length) throw formatError(WHAT, 'truncated');
      this.#held = (this.#held << 8) | this.#input[this.#at++];
      this.#count += 8;
    }
    this.#count -= bits;
    return (this.#held >>> this.#count) & ((1 << bits) - 1);
  }

  /** Drops the rest of the byte; returns the position of the next one. */
  align(): number {
    this.#count = 0;
    return this.#at;
  }
}

let crcTable: Int32Array | undefined;

function crcTableOf(): Int32Array {
  if (crcTable) return crcTable;
  crcTable = new Int32Array(256);
  for (let i = 0; i < 256; i++) {
    let crc = i << 24;
    for (let bit = 0; bit < 8; bit++) crc = crc < 0 ? (crc << 1) ^ 0x04c11db7 : crc << 1;
    crcTable[i] = crc;
  }
  return crcTable;
}

/** Unpacks all streams of a .bz2 file; `used` is the count of input bytes that belong to them. */
export function decodeBzip2(input: Uint8Array, sizeHint = 0, maxBytes?: number): { bytes: Uint8Array; used: number } {
  const out = new OutBuffer(WHAT, Math.min(sizeHint || input.length * 5, input.length * 8000), maxBytes);
  let at = 0;
  do {
    at = decodeStream(input, at, out);
  } while (startsWith(input, [0x42, 0x5a, 0x68], at));
  return { bytes: out.finish(), used: at };
}

function decodeStream(input: Uint8Array, start: number, out: OutBuffer): number {
  if (!startsWith(input, [0x42, 0x5a, 0x68], start)) throw formatError(WHAT, 'no bzip2 header');
  const level = input[start + 3] - 0x30;
  if (!(level >= 1 && level <= 9)) throw formatError(WHAT, 'bad block size');
  const bits = new BitReader(input, start + 4);
  const block = new Uint32Array(level * 100000);
  let combined = 0;
  for (;;) {
    const high = bits.read(24);
    const low = bits.read(24);
    const stored = (bits.read(16) << 16) | bits.read(16);
    if (high === END_MAGIC_HIGH && low === END_MAGIC_LOW) {
      if (stored !== combined) throw formatError(WHAT, 'the data does not match its checksum');
      return bits.align();
    }
    if (high !== BLOCK_MAGIC_HIGH || low !== BLOCK_MAGIC_LOW) throw formatError(WHAT, 'a damaged block');
    const crc = decodeBlock(bits, block, out);
    if (crc !== stored) throw formatError(WHAT, 'a block does not match its checksum');
    combined = ((combined << 1) | (combined >>> 31)) ^ crc;
  }
}

function decodeBlock(bits: BitReader, block: Uint32Array, out: OutBuffer): number {
  const randomised = bits.read(1);
  const origin = bits.read(24);
  if (randomised) throw formatError(WHAT, 'a randomised block, which no encoder has written since 1997');

  const symbols = readSymbolMap(bits);
  if (symbols.length === 0) throw formatError(WHAT, 'a block without symbols');
  const alphabet = symbols.length + 2;
  const groupCount = bits.read(3);
  const selectorCount = bits.read(15);
  if (groupCount < 2 || groupCount > 6 || selectorCount === 0) throw formatError(WHAT, 'bad Huffman groups');
  const selectors = new Uint8Array(selectorCount);
  const order = [0, 1, 2, 3, 4, 5];
  for (let i = 0; i < selectorCount; i++) {
    let index = 0;
    while (bits.read(1)) if (++index >= groupCount) throw formatError(WHAT, 'bad Huffman groups');
    const [group] = order.splice(index, 1);
    order.unshift(group);
    selectors[i] = group;
  }
  const groups = Array.from({ length: groupCount }, () => readGroup(bits, alphabet));

  const endOfBlock = alphabet - 1;
  const front = Uint8Array.from(symbols);
  const counts = new Uint32Array(256);
  let length = 0;
  let run = 0;
  let runWeight = 1;
  let selector = 0;
  let left = 0;
  let group = groups[0];
  for (;;) {
    if (left-- === 0) {
      if (selector >= selectorCount) throw formatError(WHAT, 'truncated Huffman data');
      group = groups[selectors[selector++]];
      left = GROUP_SIZE - 1;
    }
    const symbol = readSymbol(bits, group);
    if (symbol <= 1) {
      run += runWeight << symbol;
      runWeight <<= 1;
      if (run > block.length) throw formatError(WHAT, 'a run longer than its block');
      continue;
    }
    if (run > 0) {
      if (length + run > block.length) throw formatError(WHAT, 'a block longer than it may be');
      counts[front[0]] += run;
      block.fill(front[0], length, length + run);
      length += run;
      run = 0;
      runWeight = 1;
    }
    if (symbol === endOfBlock) break;
    if (length >= block.length) throw formatError(WHAT, 'a block longer than it may be');
    const byte = front[symbol - 1];
    front.copyWithin(1, 0, symbol - 1);
    front[0] = byte;
    counts[byte]++;
    block[length++] = byte;
  }
  if (origin >= length) throw formatError(WHAT, 'a bad block origin');

  const starts = new Uint32Array(256);
  for (let byte = 1; byte < 256; byte++) starts[byte] = starts[byte - 1] + counts[byte - 1];
  for (let i = 0; i < length; i++) block[starts[block[i] & 0xff]++] |= i << 8;
  return writeBlock(block, length, origin, out);
}

/** Walks the transform's chain and undoes the outer run-length code; returns the block's CRC. */
function writeBlock(block: Uint32Array, length: number, origin: number, out: OutBuffer): number {
  const table = crcTableOf();
  let crc = -1;
  let position = block[origin] >>> 8;
  let last = -1;
  let repeats = 0;
  out.reserve(length);
  let bytes = out.bytes;
  let to = out.length;
  for (let i = 0; i < length; i++) {
    const entry = block[position];
    const byte = entry & 0xff;
    position = entry >>> 8;
    if (repeats === 4) {
      out.length = to;
      out.reserve(byte + length - i);
      bytes = out.bytes;
      for (let n = byte; n > 0; n--) {
        bytes[to++] = last;
        crc = (crc << 8) ^ table[(crc >>> 24) ^ last];
      }
      repeats = 0;
      last = -1;
      continue;
    }
    repeats = byte === last ? repeats + 1 : 1;
    last = byte;
    bytes[to++] = byte;
    crc = (crc << 8) ^ table[(crc >>> 24) ^ byte];
  }
  out.length = to;
  return ~crc;
}

function readSymbolMap(bits: BitReader): number[] {
  const used = bits.read(16);
  const symbols: number[] = [];
  for (let high = 0; high < 16; high++) {
    if (!(used & (0x8000 >>> high))) continue;
    const row = bits.read(16);
    for (let low = 0; low < 16; low++) if (row & (0x8000 >>> low)) symbols.push(high * 16 + low);
  }
  return symbols;
}

/** A canonical code: per length the first code past it, and where its symbols begin in `symbols`. */
interface Group {
  limits: Int32Array;
  offsets: Int32Array;
  symbols: Uint16Array;
}

function readGroup(bits: BitReader, alphabet: number): Group {
  const lengths = new Uint8Array(alphabet);
  let current = bits.read(5);
  for (let i = 0; i < alphabet; i++) {
    for (;;) {
      if (current < 1 || current > MAX_CODE_BITS) throw formatError(WHAT, 'a bad code length');
      if (!bits.read(1)) break;
      current += bits.read(1) ? -1 : 1;
    }
    lengths[i] = current;
  }
  const limits = new Int32Array(MAX_CODE_BITS + 1);
  const offsets = new Int32Array(MAX_CODE_BITS + 1);
  const symbols = new Uint16Array(alphabet);
  let code = 0;
  let index = 0;
  for (let length = 1; length <= MAX_CODE_BITS; length++) {
    offsets[length] = index - code;
    for (let symbol = 0; symbol < alphabet; symbol++) {
      if (lengths[symbol] === length) {
        symbols[index++] = symbol;
        code++;
      }
    }
    limits[length] = code;
    code <<= 1;
  }
  return { limits, offsets, symbols };
}

function readSymbol(bits: BitReader, group: Group): number {
  let code = 0;
  for (let length = 1; length <= MAX_CODE_BITS; length++) {
    code = (code << 1) | bits.read(1);
    if (code < group.limits[length]) {
      const index = group.offsets[length] + code;
      if (index >= 0 && index < group.symbols.length) return group.symbols[index];
      break;
    }
  }
  throw formatError(WHAT, 'a bad code');
}
