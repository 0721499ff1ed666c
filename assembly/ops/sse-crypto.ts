// AES, PCLMULQDQ and SHA as pure functions of vectors (FIPS 197, FIPS 180-4, SDM vol. 2).
import { TABLE_AES } from "../layout";
import { dword, qword, vec32x4, vec64x2 } from "./sse-fp";

const SBOX: usize = memory.data<u8>([
  0x63, 0x7c, 0x77, 0x7b, 0xf2, 0x6b, 0x6f, 0xc5, 0x30, 0x01, 0x67, 0x2b, 0xfe, 0xd7, 0xab, 0x76, 0xca, 0x82, 0xc9, 0x7d, 0xfa, 0x59, 0x47, 0xf0,
  0xad, 0xd4, 0xa2, 0xaf, 0x9c, 0xa4, 0x72, 0xc0, 0xb7, 0xfd, 0x93, 0x26, 0x36, 0x3f, 0xf7, 0xcc, 0x34, 0xa5, 0xe5, 0xf1, 0x71, 0xd8, 0x31, 0x15,
  0x04, 0xc7, 0x23, 0xc3, 0x18, 0x96, 0x05, 0x9a, 0x07, 0x12, 0x80, 0xe2, 0xeb, 0x27, 0xb2, 0x75, 0x09, 0x83, 0x2c, 0x1a, 0x1b, 0x6e, 0x5a, 0xa0,
  0x52, 0x3b, 0xd6, 0xb3, 0x29, 0xe3, 0x2f, 0x84, 0x53, 0xd1, 0x00, 0xed, 0x20, 0xfc, 0xb1, 0x5b, 0x6a, 0xcb, 0xbe, 0x39, 0x4a, 0x4c, 0x58, 0xcf,
  0xd0, 0xef, 0xaa, 0xfb, 0x43, 0x4d, 0x33, 0x85, 0x45, 0xf9, 0x02, 0x7f, 0x50, 0x3c, 0x9f, 0xa8, 0x51, 0xa3, 0x40, 0x8f, 0x92, 0x9d, 0x38, 0xf5,
  0xbc, 0xb6, 0xda, 0x21, 0x10, 0xff, 0xf3, 0xd2, 0xcd, 0x0c, 0x13, 0xec, 0x5f, 0x97, 0x44, 0x17, 0xc4, 0xa7, 0x7e, 0x3d, 0x64, 0x5d, 0x19, 0x73,
  0x60, 0x81, 0x4f, 0xdc, 0x22, 0x2a, 0x90, 0x88, 0x46, 0xee, 0xb8, 0x14, 0xde, 0x5e, 0x0b, 0xdb, 0xe0, 0x32, 0x3a, 0x0a, 0x49, 0x06, 0x24, 0x5c,
  0xc2, 0xd3, 0xac, 0x62, 0x91, 0x95, 0xe4, 0x79, 0xe7, 0xc8, 0x37, 0x6d, 0x8d, 0xd5, 0x4e, 0xa9, 0x6c, 0x56, 0xf4, 0xea, 0x65, 0x7a, 0xae, 0x08,
  0xba, 0x78, 0x25, 0x2e, 0x1c, 0xa6, 0xb4, 0xc6, 0xe8, 0xdd, 0x74, 0x1f, 0x4b, 0xbd, 0x8b, 0x8a, 0x70, 0x3e, 0xb5, 0x66, 0x48, 0x03, 0xf6, 0x0e,
  0x61, 0x35, 0x57, 0xb9, 0x86, 0xc1, 0x1d, 0x9e, 0xe1, 0xf8, 0x98, 0x11, 0x69, 0xd9, 0x8e, 0x94, 0x9b, 0x1e, 0x87, 0xe9, 0xce, 0x55, 0x28, 0xdf,
  0x8c, 0xa1, 0x89, 0x0d, 0xbf, 0xe6, 0x42, 0x68, 0x41, 0x99, 0x2d, 0x0f, 0xb0, 0x54, 0xbb, 0x16,
]);
const INV_SBOX: usize = memory.data<u8>([
  0x52, 0x09, 0x6a, 0xd5, 0x30, 0x36, 0xa5, 0x38, 0xbf, 0x40, 0xa3, 0x9e, 0x81, 0xf3, 0xd7, 0xfb, 0x7c, 0xe3, 0x39, 0x82, 0x9b, 0x2f, 0xff, 0x87,
  0x34, 0x8e, 0x43, 0x44, 0xc4, 0xde, 0xe9, 0xcb, 0x54, 0x7b, 0x94, 0x32, 0xa6, 0xc2, 0x23, 0x3d, 0xee, 0x4c, 0x95, 0x0b, 0x42, 0xfa, 0xc3, 0x4e,
  0x08, 0x2e, 0xa1, 0x66, 0x28, 0xd9, 0x24, 0xb2, 0x76, 0x5b, 0xa2, 0x49, 0x6d, 0x8b, 0xd1, 0x25, 0x72, 0xf8, 0xf6, 0x64, 0x86, 0x68, 0x98, 0x16,
  0xd4, 0xa4, 0x5c, 0xcc, 0x5d, 0x65, 0xb6, 0x92, 0x6c, 0x70, 0x48, 0x50, 0xfd, 0xed, 0xb9, 0xda, 0x5e, 0x15, 0x46, 0x57, 0xa7, 0x8d, 0x9d, 0x84,
  0x90, 0xd8, 0xab, 0x00, 0x8c, 0xbc, 0xd3, 0x0a, 0xf7, 0xe4, 0x58, 0x05, 0xb8, 0xb3, 0x45, 0x06, 0xd0, 0x2c, 0x1e, 0x8f, 0xca, 0x3f, 0x0f, 0x02,
  0xc1, 0xaf, 0xbd, 0x03, 0x01, 0x13, 0x8a, 0x6b, 0x3a, 0x91, 0x11, 0x41, 0x4f, 0x67, 0xdc, 0xea, 0x97, 0xf2, 0xcf, 0xce, 0xf0, 0xb4, 0xe6, 0x73,
  0x96, 0xac, 0x74, 0x22, 0xe7, 0xad, 0x35, 0x85, 0xe2, 0xf9, 0x37, 0xe8, 0x1c, 0x75, 0xdf, 0x6e, 0x47, 0xf1, 0x1a, 0x71, 0x1d, 0x29, 0xc5, 0x89,
  0x6f, 0xb7, 0x62, 0x0e, 0xaa, 0x18, 0xbe, 0x1b, 0xfc, 0x56, 0x3e, 0x4b, 0xc6, 0xd2, 0x79, 0x20, 0x9a, 0xdb, 0xc0, 0xfe, 0x78, 0xcd, 0x5a, 0xf4,
  0x1f, 0xdd, 0xa8, 0x33, 0x88, 0x07, 0xc7, 0x31, 0xb1, 0x12, 0x10, 0x59, 0x27, 0x80, 0xec, 0x5f, 0x60, 0x51, 0x7f, 0xa9, 0x19, 0xb5, 0x4a, 0x0d,
  0x2d, 0xe5, 0x7a, 0x9f, 0x93, 0xc9, 0x9c, 0xef, 0xa0, 0xe0, 0x3b, 0x4d, 0xae, 0x2a, 0xf5, 0xb0, 0xc8, 0xeb, 0xbb, 0x3c, 0x83, 0x53, 0x99, 0x61,
  0x17, 0x2b, 0x04, 0x7e, 0xba, 0x77, 0xd6, 0x26, 0xe1, 0x69, 0x14, 0x63, 0x55, 0x21, 0x0c, 0x7d,
]);

/** Every byte times x in GF(2^8). */
// @ts-ignore: decorator
@inline function timesX(v: v128): v128 { return v128.xor(i8x16.shl(v, 1), v128.and(i8x16.shr_s(v, 7), i8x16.splat(0x1b))); }
// @ts-ignore: decorator
@inline function halfTurn(v: v128): v128 { return v128.shuffle<i16>(v, v, 1, 0, 3, 2, 5, 4, 7, 6); }

function mixColumns(v: v128): v128 {
  const next = v128.shuffle<i8>(v, v, 1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12);
  const pair = v128.xor(v, next);
  return v128.xor(v128.xor(timesX(pair), next), halfTurn(pair));
}
function invMixColumns(v: v128): v128 { return mixColumns(v128.xor(v, timesX(timesX(v128.xor(v, halfTurn(v)))))); }

/** Tables of a round: per byte, the column that SubBytes and MixColumns make of it in row 0 (FIPS 197, 5.3). */
const AES_ENC = TABLE_AES;
const AES_DEC = TABLE_AES + 0x400;

/** Fills the tables; once, before the first instruction. */
export function buildAesTables(): void {
  for (let n: usize = 0; n < 256; n++) {
    const s = i64x2.splat(0);
    store<u32>(AES_ENC + (n << 2), dword(mixColumns(i8x16.replace_lane(s, 0, load<i8>(SBOX + n))), 0));
    store<u32>(AES_DEC + (n << 2), dword(invMixColumns(i8x16.replace_lane(s, 0, load<i8>(INV_SBOX + n))), 0));
  }
}

// One column of a state in memory: the bytes at a, b, c, d, one of each row.
// @ts-ignore: decorator
@inline function column(table: usize, p: usize, a: usize, b: usize, c: usize, d: usize): u64 {
  return <u64>(load<u32>(table + (<usize>load<u8>(p + a) << 2)) ^ rotl<u32>(load<u32>(table + (<usize>load<u8>(p + b) << 2)), 8)
    ^ rotl<u32>(load<u32>(table + (<usize>load<u8>(p + c) << 2)), 16) ^ rotl<u32>(load<u32>(table + (<usize>load<u8>(p + d) << 2)), 24));
}
// @ts-ignore: decorator
@inline function lastColumn(box: usize, p: usize, a: usize, b: usize, c: usize, d: usize): u64 {
  return <u64>(<u32>load<u8>(box + <usize>load<u8>(p + a)) | (<u32>load<u8>(box + <usize>load<u8>(p + b)) << 8)
    | (<u32>load<u8>(box + <usize>load<u8>(p + c)) << 16) | (<u32>load<u8>(box + <usize>load<u8>(p + d)) << 24));
}

/** AESIMC, AESENC, AESENCLAST, AESDEC, AESDECLAST: 38 DB-DF. The state is the XMM register at `p`. */
export function aes(op: u32, p: usize, b: v128): void {
  if (op == 0xdb) return v128.store(p, invMixColumns(b));
  let low: u64, high: u64;
  switch (op) {
    case 0xdc:
      low = column(AES_ENC, p, 0, 5, 10, 15) | (column(AES_ENC, p, 4, 9, 14, 3) << 32);
      high = column(AES_ENC, p, 8, 13, 2, 7) | (column(AES_ENC, p, 12, 1, 6, 11) << 32);
      break;
    case 0xdd:
      low = lastColumn(SBOX, p, 0, 5, 10, 15) | (lastColumn(SBOX, p, 4, 9, 14, 3) << 32);
      high = lastColumn(SBOX, p, 8, 13, 2, 7) | (lastColumn(SBOX, p, 12, 1, 6, 11) << 32);
      break;
    case 0xde:
      low = column(AES_DEC, p, 0, 13, 10, 7) | (column(AES_DEC, p, 4, 1, 14, 11) << 32);
      high = column(AES_DEC, p, 8, 5, 2, 15) | (column(AES_DEC, p, 12, 9, 6, 3) << 32);
      break;
    default:
      low = lastColumn(INV_SBOX, p, 0, 13, 10, 7) | (lastColumn(INV_SBOX, p, 4, 1, 14, 11) << 32);
      high = lastColumn(INV_SBOX, p, 8, 5, 2, 15) | (lastColumn(INV_SBOX, p, 12, 9, 6, 3) << 32);
      break;
  }
  store<u64>(p, low ^ qword(b, 0));
  store<u64>(p, high ^ qword(b, 1), 8);
}

function substitute32(v: u32): u32 {
  return <u32>load<u8>(SBOX + (v & 0xff)) | (<u32>load<u8>(SBOX + (v >> 8 & 0xff)) << 8) | (<u32>load<u8>(SBOX + (v >> 16 & 0xff)) << 16)
    | (<u32>load<u8>(SBOX + (v >> 24)) << 24);
}

/** AESKEYGENASSIST. */
export function aesKeyAssist(b: v128, imm: u32): v128 {
  const x1 = substitute32(dword(b, 1)), x3 = substitute32(dword(b, 3));
  return vec32x4(x1, rotr<u32>(x1, 8) ^ imm, x3, rotr<u32>(x3, 8) ^ imm);
}

/**
 * The low 64 bits of a carry-less product, by integer multiplications of numbers that have only every fourth bit: sixteen terms at most add up
 * in a bit position, so carries end in the holes (the method of T. Pornin's BearSSL, ghash_ctmul64).
 */
function lowProduct(x: u64, y: u64): u64 {
  const m0: u64 = 0x1111_1111_1111_1111, m1: u64 = 0x2222_2222_2222_2222, m2: u64 = 0x4444_4444_4444_4444, m3: u64 = 0x8888_8888_8888_8888;
  const x0 = x & m0, x1 = x & m1, x2 = x & m2, x3 = x & m3;
  const y0 = y & m0, y1 = y & m1, y2 = y & m2, y3 = y & m3;
  return (((x0 * y0) ^ (x1 * y3) ^ (x2 * y2) ^ (x3 * y1)) & m0) | (((x0 * y1) ^ (x1 * y0) ^ (x2 * y3) ^ (x3 * y2)) & m1)
    | (((x0 * y2) ^ (x1 * y1) ^ (x2 * y0) ^ (x3 * y3)) & m2) | (((x0 * y3) ^ (x1 * y2) ^ (x2 * y1) ^ (x3 * y0)) & m3);
}

/** The bits of both halves in the opposite order. */
function reverseBits(v: v128): v128 {
  const low = i8x16(0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15);
  const nibble = i8x16.splat(15);
  const bytes = v128.shuffle<i8>(v, v, 7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8);
  return v128.or(i8x16.shl(i8x16.swizzle(low, v128.and(bytes, nibble)), 4), i8x16.swizzle(low, i8x16.shr_u(bytes, 4)));
}

/** PCLMULQDQ: imm bits 0 and 4 choose the halves. */
export function carrylessMultiply(a: v128, b: v128, imm: u32): v128 {
  const x = imm & 1 ? qword(a, 1) : qword(a, 0);
  const y = imm & 16 ? qword(b, 1) : qword(b, 0);
  // The high half is the low half of the mirrored product, mirrored, which has 127 bits.
  const mirror = reverseBits(vec64x2(x, y));
  const high = reverseBits(vec64x2(lowProduct(qword(mirror, 0), qword(mirror, 1)), 0));
  return vec64x2(lowProduct(x, y), qword(high, 0) >> 1);
}

// @ts-ignore: decorator
@inline function sigma0(x: u32): u32 { return rotr<u32>(x, 7) ^ rotr<u32>(x, 18) ^ (x >> 3); }
// @ts-ignore: decorator
@inline function sigma1(x: u32): u32 { return rotr<u32>(x, 17) ^ rotr<u32>(x, 19) ^ (x >> 10); }

function sha256Rounds(cdgh: v128, abef: v128, wk: v128): v128 {
  let a = dword(abef, 3), b = dword(abef, 2), e = dword(abef, 1), f = dword(abef, 0);
  let c = dword(cdgh, 3), d = dword(cdgh, 2), g = dword(cdgh, 1), h = dword(cdgh, 0);
  let w = dword(wk, 0);
  for (let k = 0; k < 2; k++) {
    const t = ((e & f) ^ (~e & g)) + (rotr<u32>(e, 6) ^ rotr<u32>(e, 11) ^ rotr<u32>(e, 25)) + w + h;
    const u = ((a & b) ^ (a & c) ^ (b & c)) + (rotr<u32>(a, 2) ^ rotr<u32>(a, 13) ^ rotr<u32>(a, 22));
    h = g; g = f; f = e; e = d + t; d = c; c = b; b = a; a = t + u;
    w = dword(wk, 1);
  }
  return vec32x4(f, e, b, a);
}

/** SHA1NEXTE, SHA1MSG1, SHA1MSG2, SHA256RNDS2, SHA256MSG1, SHA256MSG2: 38 C8-CD. */
export function sha(op: u32, a: v128, b: v128, xmm0: v128): v128 {
  switch (op) {
    case 0xc8: return i32x4.add(b, vec32x4(0, 0, 0, rotl<u32>(dword(a, 3), 30)));
    case 0xc9: return v128.xor(a, v128.shuffle<i64>(b, a, 1, 2));
    case 0xca: {
      const w16 = rotl<u32>(dword(a, 3) ^ dword(b, 2), 1);
      return vec32x4(rotl<u32>(dword(a, 0) ^ w16, 1), rotl<u32>(dword(a, 1) ^ dword(b, 0), 1), rotl<u32>(dword(a, 2) ^ dword(b, 1), 1), w16);
    }
    case 0xcb: return sha256Rounds(a, b, xmm0);
    case 0xcc: return vec32x4(
      dword(a, 0) + sigma0(dword(a, 1)), dword(a, 1) + sigma0(dword(a, 2)), dword(a, 2) + sigma0(dword(a, 3)), dword(a, 3) + sigma0(dword(b, 0)),
    );
    default: {
      const w16 = dword(a, 0) + sigma1(dword(b, 2)), w17 = dword(a, 1) + sigma1(dword(b, 3));
      return vec32x4(w16, w17, dword(a, 2) + sigma1(w16), dword(a, 3) + sigma1(w17));
    }
  }
}

/** SHA1RNDS4. */
export function sha1Rounds(abcd: v128, words: v128, kind: u32): v128 {
  let a = dword(abcd, 3), b = dword(abcd, 2), c = dword(abcd, 1), d = dword(abcd, 0), e: u32 = 0;
  const k: u32 = kind == 0 ? 0x5a827999 : kind == 1 ? 0x6ed9eba1 : kind == 2 ? 0x8f1bbcdc : 0xca62c1d6;
  for (let r = 0; r < 4; r++) {
    const w = r == 0 ? dword(words, 3) : r == 1 ? dword(words, 2) : r == 2 ? dword(words, 1) : dword(words, 0);
    const f = kind == 0 ? (b & c) ^ (~b & d) : kind == 2 ? (b & c) ^ (b & d) ^ (c & d) : b ^ c ^ d;
    const t = f + rotl<u32>(a, 5) + w + e + k;
    e = d; d = c; c = rotl<u32>(b, 30); b = a; a = t;
  }
  return vec32x4(d, c, b, a);
}
