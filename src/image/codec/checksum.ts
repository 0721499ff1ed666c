import { createHash } from 'node:crypto';
import * as zlib from 'node:zlib';

const CRC32_POLY = 0xedb88320;
const CRC64_POLY_HIGH = 0xc96c5795;
const CRC64_POLY_LOW = 0xd7870f42;

const crc32Tables = /* @__PURE__ */ makeCrc32();

function makeCrc32(): Uint32Array {
  const tables = new Uint32Array(4 * 256);
  for (let i = 0; i < 256; i++) {
    let crc = i;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ CRC32_POLY : crc >>> 1;
    tables[i] = crc >>> 0;
  }
  for (let i = 256; i < 4 * 256; i++) tables[i] = (tables[i - 256] >>> 8) ^ tables[tables[i - 256] & 0xff];
  return tables;
}

const nativeCrc32 = (zlib as { crc32?: (data: Uint8Array, value?: number) => number }).crc32;

/** CRC-32 as gzip, xz and Ethernet use it. */
export function crc32(data: Uint8Array): number {
  if (nativeCrc32) return nativeCrc32(data);
  const t = crc32Tables;
  let crc = -1;
  let at = 0;
  for (const stop = data.length - 3; at < stop; at += 4) {
    crc ^= data[at] | (data[at + 1] << 8) | (data[at + 2] << 16) | (data[at + 3] << 24);
    crc = t[768 + (crc & 0xff)] ^ t[512 + ((crc >>> 8) & 0xff)] ^ t[256 + ((crc >>> 16) & 0xff)] ^ t[crc >>> 24];
  }
  for (; at < data.length; at++) crc = (crc >>> 8) ^ t[(crc ^ data[at]) & 0xff];
  return ~crc >>> 0;
}

let crc64Low: Int32Array | undefined;
let crc64High: Int32Array | undefined;

function makeCrc64(): void {
  const lows = new Int32Array(4 * 256);
  const highs = new Int32Array(4 * 256);
  for (let i = 0; i < 256; i++) {
    let low = i;
    let high = 0;
    for (let bit = 0; bit < 8; bit++) {
      const odd = low & 1;
      low = (low >>> 1) | (high << 31);
      high >>>= 1;
      if (odd) {
        low ^= CRC64_POLY_LOW;
        high ^= CRC64_POLY_HIGH;
      }
    }
    lows[i] = low;
    highs[i] = high;
  }
  for (let i = 256; i < 4 * 256; i++) {
    const index = lows[i - 256] & 0xff;
    lows[i] = ((lows[i - 256] >>> 8) | (highs[i - 256] << 24)) ^ lows[index];
    highs[i] = (highs[i - 256] >>> 8) ^ highs[index];
  }
  crc64Low = lows;
  crc64High = highs;
}

/** CRC-64 (ECMA-182, reflected) as xz uses it, as two 32-bit halves. */
export function crc64(data: Uint8Array): { low: number; high: number } {
  if (!crc64Low) makeCrc64();
  const tl = crc64Low!;
  const th = crc64High!;
  let low = -1;
  let high = -1;
  let at = 0;
  for (const stop = data.length - 3; at < stop; at += 4) {
    const x = low ^ (data[at] | (data[at + 1] << 8) | (data[at + 2] << 16) | (data[at + 3] << 24));
    const a = 768 + (x & 0xff);
    const b = 512 + ((x >>> 8) & 0xff);
    const c = 256 + ((x >>> 16) & 0xff);
    const d = x >>> 24;
    low = high ^ tl[a] ^ tl[b] ^ tl[c] ^ tl[d];
    high = th[a] ^ th[b] ^ th[c] ^ th[d];
  }
  for (; at < data.length; at++) {
    const i = (low ^ data[at]) & 0xff;
    low = ((low >>> 8) | (high << 24)) ^ tl[i];
    high = (high >>> 8) ^ th[i];
  }
  return { low: ~low >>> 0, high: ~high >>> 0 };
}

export function sha256(data: Uint8Array): Buffer {
  return createHash('sha256').update(data).digest();
}

export function sha256Hex(data: Uint8Array): string {
  return sha256(data).toString('hex');
}

/** The xxHash32 of `data` with seed 0, as LZ4 frames carry it. */
export function xxh32(data: Uint8Array): number {
  const P1 = 0x9e3779b1;
  const P2 = 0x85ebca77;
  const P3 = 0xc2b2ae3d;
  const P4 = 0x27d4eb2f;
  const P5 = 0x165667b1;
  const rotl = (x: number, r: number): number => (x << r) | (x >>> (32 - r));
  const word = (i: number): number => data[i] | (data[i + 1] << 8) | (data[i + 2] << 16) | (data[i + 3] << 24);
  const round = (acc: number, lane: number): number => Math.imul(rotl((acc + Math.imul(lane, P2)) | 0, 13), P1);
  let at = 0;
  let h = P5;
  if (data.length >= 16) {
    let a = (P1 + P2) | 0;
    let b = P2 | 0;
    let c = 0;
    let d = -P1 | 0;
    for (; at + 16 <= data.length; at += 16) {
      a = round(a, word(at));
      b = round(b, word(at + 4));
      c = round(c, word(at + 8));
      d = round(d, word(at + 12));
    }
    h = (rotl(a, 1) + rotl(b, 7) + rotl(c, 12) + rotl(d, 18)) | 0;
  }
  h = (h + data.length) | 0;
  for (; at + 4 <= data.length; at += 4) h = Math.imul(rotl((h + Math.imul(word(at), P3)) | 0, 17), P4);
  for (; at < data.length; at++) h = Math.imul(rotl((h + Math.imul(data[at], P5)) | 0, 11), P1);
  h = Math.imul(h ^ (h >>> 15), P2);
  h = Math.imul(h ^ (h >>> 13), P3);
  return (h ^ (h >>> 16)) >>> 0;
}
