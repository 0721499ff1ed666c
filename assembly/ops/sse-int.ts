// Packed integers of MMX, SSE2 and SSSE3: pure functions of vectors. MMX operands sit in the low half of a vector with a zero upper half.
import { low64, vec64 } from "./sse-operand";

// @ts-ignore: decorator
@inline function iota(): v128 { return i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }

/** Byte shift towards bit 0, zeros from above; n >= 16 gives 0. */
// @ts-ignore: decorator
@inline export function bytesRight(v: v128, n: u32): v128 {
  return i8x16.swizzle(v, i8x16.add_sat_u(iota(), i8x16.splat(<i8>min(n, 16))));
}
// @ts-ignore: decorator
@inline export function bytesLeft(v: v128, n: u32): v128 { return i8x16.swizzle(v, i8x16.sub(iota(), i8x16.splat(<i8>min(n, 16)))); }

/** The bytes hi:lo shifted right by n bytes. */
export function alignRight(hi: v128, lo: v128, n: u32): v128 {
  if (n >= 32) return i64x2.splat(0);
  const at = i8x16.add(iota(), i8x16.splat(<i8>n));
  return v128.or(i8x16.swizzle(lo, at), i8x16.swizzle(hi, i8x16.sub(at, i8x16.splat(16))));
}

/** Four 32-bit lanes chosen by an immediate, two bits each. */
export function shuffle32(v: v128, imm: u32): v128 {
  let at = i32x4.splat((imm & 3) * 0x0404_0404);
  at = i32x4.replace_lane(at, 1, (imm >> 2 & 3) * 0x0404_0404);
  at = i32x4.replace_lane(at, 2, (imm >> 4 & 3) * 0x0404_0404);
  at = i32x4.replace_lane(at, 3, (imm >> 6 & 3) * 0x0404_0404);
  return i8x16.swizzle(v, i8x16.add(at, i32x4.splat(0x0302_0100)));
}
/** Four words of 64 bits, chosen the same way. */
export function shuffle16(v: u64, imm: u32): u64 {
  return ((v >> <u64>((imm & 3) << 4)) & 0xffff) | (((v >> <u64>((imm >> 2 & 3) << 4)) & 0xffff) << 16) |
    (((v >> <u64>((imm >> 4 & 3) << 4)) & 0xffff) << 32) | ((v >> <u64>((imm >> 6 & 3) << 4)) << 48);
}

// @ts-ignore: decorator
@inline function mulHighS(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(i32x4.extmul_low_i16x8_s(a, b), i32x4.extmul_high_i16x8_s(a, b), 1, 3, 5, 7, 9, 11, 13, 15);
}
// @ts-ignore: decorator
@inline function mulHighU(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(i32x4.extmul_low_i16x8_u(a, b), i32x4.extmul_high_i16x8_u(a, b), 1, 3, 5, 7, 9, 11, 13, 15);
}

function sumDifferences(a: v128, b: v128): v128 {
  const d = i8x16.sub(i8x16.max_u(a, b), i8x16.min_u(a, b));
  const s = i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(d));
  return i64x2.add(i64x2.shr_u(s, 32), v128.and(s, i64x2.splat(0xffff_ffff)));
}

/** Shift of every lane by one count, as the opcode of the vector-count forms has it: D1-D3 E1-E2 F1-F3. */
export function shift(op: u32, a: v128, count: u64): v128 {
  const n = <i32>min<u64>(count, 64);
  switch (op) {
    case 0xd1: return n > 15 ? i64x2.splat(0) : i16x8.shr_u(a, n);
    case 0xd2: return n > 31 ? i64x2.splat(0) : i32x4.shr_u(a, n);
    case 0xd3: return n > 63 ? i64x2.splat(0) : i64x2.shr_u(a, n);
    case 0xe1: return i16x8.shr_s(a, min(n, 15));
    case 0xe2: return i32x4.shr_s(a, min(n, 31));
    case 0xf1: return n > 15 ? i64x2.splat(0) : i16x8.shl(a, n);
    case 0xf2: return n > 31 ? i64x2.splat(0) : i32x4.shl(a, n);
    default: return n > 63 ? i64x2.splat(0) : i64x2.shl(a, n);
  }
}

function compareLanes(op: u32, a: v128, b: v128): v128 {
  switch (op) {
    case 0x64: return i8x16.gt_s(a, b);
    case 0x65: return i16x8.gt_s(a, b);
    case 0x66: return i32x4.gt_s(a, b);
    case 0x74: return i8x16.eq(a, b);
    case 0x75: return i16x8.eq(a, b);
    default: return i32x4.eq(a, b); // 76
  }
}

/** Two-operand operations of map 0F that work lane by lane, so that both register widths share them. */
export function integer(op: u32, a: v128, b: v128): v128 {
  if (op < 0x80) return compareLanes(op, a, b);
  switch (op) { // dense, so that it becomes a table
    case 0xd1: case 0xd2: case 0xd3: case 0xe1: case 0xe2: case 0xf1: case 0xf2: case 0xf3: return shift(op, a, low64(b));
    case 0xd4: return i64x2.add(a, b);
    case 0xd5: return i16x8.mul(a, b);
    case 0xd8: return i8x16.sub_sat_u(a, b);
    case 0xd9: return i16x8.sub_sat_u(a, b);
    case 0xda: return i8x16.min_u(a, b);
    case 0xdb: return v128.and(a, b);
    case 0xdc: return i8x16.add_sat_u(a, b);
    case 0xdd: return i16x8.add_sat_u(a, b);
    case 0xde: return i8x16.max_u(a, b);
    case 0xdf: return v128.andnot(b, a);
    case 0xe0: return i8x16.avgr_u(a, b);
    case 0xe3: return i16x8.avgr_u(a, b);
    case 0xe4: return mulHighU(a, b);
    case 0xe5: return mulHighS(a, b);
    case 0xe8: return i8x16.sub_sat_s(a, b);
    case 0xe9: return i16x8.sub_sat_s(a, b);
    case 0xea: return i16x8.min_s(a, b);
    case 0xeb: return v128.or(a, b);
    case 0xec: return i8x16.add_sat_s(a, b);
    case 0xed: return i16x8.add_sat_s(a, b);
    case 0xee: return i16x8.max_s(a, b);
    case 0xef: return v128.xor(a, b);
    case 0xf4: return i64x2.extmul_low_i32x4_u(v128.shuffle<i32>(a, a, 0, 2, 0, 2), v128.shuffle<i32>(b, b, 0, 2, 0, 2));
    case 0xf5: return i32x4.dot_i16x8_s(a, b);
    case 0xf6: return sumDifferences(a, b);
    case 0xf8: return i8x16.sub(a, b);
    case 0xf9: return i16x8.sub(a, b);
    case 0xfa: return i32x4.sub(a, b);
    case 0xfb: return i64x2.sub(a, b);
    case 0xfc: return i8x16.add(a, b);
    case 0xfd: return i16x8.add(a, b);
    default: return i32x4.add(a, b); // FE
  }
}

/** PUNPCK and PACK, 60-6D, on 128 bits. */
export function repack(op: u32, a: v128, b: v128): v128 {
  switch (op & 15) {
    case 0: return v128.shuffle<i8>(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    case 1: return v128.shuffle<i16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    case 2: return v128.shuffle<i32>(a, b, 0, 4, 1, 5);
    case 3: return i8x16.narrow_i16x8_s(a, b);
    case 7: return i8x16.narrow_i16x8_u(a, b);
    case 8: return v128.shuffle<i8>(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    case 9: return v128.shuffle<i16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
    case 10: return v128.shuffle<i32>(a, b, 2, 6, 3, 7);
    case 11: return i16x8.narrow_i32x4_s(a, b);
    case 12: return v128.shuffle<i64>(a, b, 0, 2);
    default: return v128.shuffle<i64>(a, b, 1, 3);
  }
}

/** The same on 64 bits. */
export function repack64(op: u32, a: u64, b: u64): u64 {
  switch (op & 15) {
    case 0: case 1: case 2: return low64(repack(op, vec64(a), vec64(b)));
    case 8: case 9: case 10: return i64x2.extract_lane(repack(op - 8, vec64(a), vec64(b)), 1);
    default: {
      const both = i64x2.replace_lane(vec64(a), 1, b);
      return low64(repack(op, both, both));
    }
  }
}

/** PMULHRSW: wasm's version differs in -1 * -1 only, which does not saturate here. */
// @ts-ignore: decorator
@inline function mulRound(a: v128, b: v128): v128 {
  const r = i16x8.q15mulr_sat_s(a, b);
  const least = i16x8.splat(-32768);
  return v128.xor(r, v128.and(i16x8.eq(a, least), i16x8.eq(b, least)));
}

// @ts-ignore: decorator
@inline function addBytePairs(a: v128, b: v128): v128 { // PMADDUBSW: unsigned a, signed b, saturating pair sums
  const even = i16x8.mul(v128.and(a, i16x8.splat(0xff)), i16x8.shr_s(i16x8.shl(b, 8), 8));
  const odd = i16x8.mul(i16x8.shr_u(a, 8), i16x8.shr_s(b, 8));
  return i16x8.add_sat_s(even, odd);
}

// @ts-ignore: decorator
@inline function evenWords(a: v128, b: v128): v128 { return v128.shuffle<i16>(a, b, 0, 2, 4, 6, 8, 10, 12, 14); }
// @ts-ignore: decorator
@inline function oddWords(a: v128, b: v128): v128 { return v128.shuffle<i16>(a, b, 1, 3, 5, 7, 9, 11, 13, 15); }
// @ts-ignore: decorator
@inline function evenDwords(a: v128, b: v128): v128 { return v128.shuffle<i32>(a, b, 0, 2, 4, 6); }
// @ts-ignore: decorator
@inline function oddDwords(a: v128, b: v128): v128 { return v128.shuffle<i32>(a, b, 1, 3, 5, 7); }

function sign(size: u32, a: v128, b: v128): v128 {
  const zero = i64x2.splat(0);
  switch (size) {
    case 0: return v128.andnot(v128.bitselect(i8x16.neg(a), a, i8x16.lt_s(b, zero)), i8x16.eq(b, zero));
    case 1: return v128.andnot(v128.bitselect(i16x8.neg(a), a, i16x8.lt_s(b, zero)), i16x8.eq(b, zero));
    default: return v128.andnot(v128.bitselect(i32x4.neg(a), a, i32x4.lt_s(b, zero)), i32x4.eq(b, zero));
  }
}

/** SSSE3, map 0F 38 00-0B and 1C-1E. The horizontal ones (01-03, 05-07) want 128-bit operands. */
export function ssse3(op: u32, a: v128, b: v128): v128 {
  switch (op) {
    case 0x00: return i8x16.swizzle(a, v128.and(b, i8x16.splat(<i8>0x8f)));
    case 0x01: return i16x8.add(evenWords(a, b), oddWords(a, b));
    case 0x02: return i32x4.add(evenDwords(a, b), oddDwords(a, b));
    case 0x03: return i16x8.add_sat_s(evenWords(a, b), oddWords(a, b));
    case 0x04: return addBytePairs(a, b);
    case 0x05: return i16x8.sub(evenWords(a, b), oddWords(a, b));
    case 0x06: return i32x4.sub(evenDwords(a, b), oddDwords(a, b));
    case 0x07: return i16x8.sub_sat_s(evenWords(a, b), oddWords(a, b));
    case 0x08: case 0x09: case 0x0a: return sign(op - 8, a, b);
    case 0x0b: return mulRound(a, b);
    case 0x1c: return i8x16.abs(b);
    case 0x1d: return i16x8.abs(b);
    default: return i32x4.abs(b);
  }
}

/** The same for MMX. */
export function ssse3Mmx(op: u32, a: u64, b: u64): u64 {
  if (op == 0) return low64(i8x16.swizzle(vec64(a), v128.and(vec64(b), i8x16.splat(<i8>0x87))));
  if (op < 8 && op != 4) {
    const both = i64x2.replace_lane(vec64(a), 1, b);
    return low64(ssse3(op, both, both));
  }
  return low64(ssse3(op, vec64(a), vec64(b)));
}
