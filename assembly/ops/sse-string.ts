// PCMPESTRM, PCMPESTRI, PCMPISTRM, PCMPISTRI: 0F 3A 60-63 (SDM vol. 2, 4.1). Comparisons become bit masks with one bit per element.
import { Cpu, CF, OF, SF, ZF } from "../cpu/state";
import { setArith } from "../cpu/flags";
import { setXmm } from "./sse-operand";

/** Elements of equal bytes or words; `words` chooses. */
// @ts-ignore: decorator
@inline function equalMask(a: v128, b: v128, words: bool): u32 { return words ? <u32>i16x8.bitmask(i16x8.eq(a, b)) : <u32>i8x16.bitmask(i8x16.eq(a, b)); }

/** Element k of `v` in every lane. */
// @ts-ignore: decorator
@inline function broadcast(v: v128, k: u32, words: bool): v128 {
  return i8x16.swizzle(v, words ? i16x8.splat(<i16>(k * 0x202 + 0x100)) : i8x16.splat(<i8>k));
}

/** Elements e with low <= e <= high. */
function rangeMask(v: v128, low: v128, high: v128, words: bool, signed: bool): u32 {
  if (words) {
    return <u32>i16x8.bitmask(signed ? v128.and(i16x8.ge_s(v, low), i16x8.le_s(v, high)) : v128.and(i16x8.ge_u(v, low), i16x8.le_u(v, high)));
  }
  return <u32>i8x16.bitmask(signed ? v128.and(i8x16.ge_s(v, low), i8x16.le_s(v, high)) : v128.and(i8x16.ge_u(v, low), i8x16.le_u(v, high)));
}

/** Length from a register: its absolute value, no more than `n`. */
function explicitLength(v: u64, wide: bool, n: u32): u32 {
  const s: i64 = wide ? <i64>v : <i64><i32>v;
  const m = s < 0 ? 0 - <u64>s : <u64>s;
  return <u32>min<u64>(m, n);
}

/** `a` is the first operand (the set, the ranges or the needle), `b` the second (the text). */
export function compareStrings(cpu: Cpu, op: u32, a: v128, b: v128, imm: u32, wide: bool): void {
  const words = (imm & 1) != 0, signed = (imm & 2) != 0;
  const n: u32 = words ? 8 : 16;
  const all: u32 = (1 << n) - 1;
  let lenA: u32, lenB: u32;
  if (op < 0x62) {
    lenA = explicitLength(cpu.rax, wide, n);
    lenB = explicitLength(cpu.rdx, wide, n);
  } else {
    const zero = i64x2.splat(0);
    lenA = <u32>ctz<u32>(equalMask(a, zero, words) | 1 << n);
    lenB = <u32>ctz<u32>(equalMask(b, zero, words) | 1 << n);
  }
  const validA: u32 = (1 << lenA) - 1, validB: u32 = (1 << lenB) - 1;

  let bits: u32 = 0;
  switch (imm >> 2 & 3) {
    case 0: // equal any
      for (let k: u32 = 0; k < lenA; k++) bits |= equalMask(b, broadcast(a, k, words), words);
      bits &= validB;
      break;
    case 1: // ranges
      for (let k: u32 = 0; k + 1 < lenA; k += 2) bits |= rangeMask(b, broadcast(a, k, words), broadcast(a, k + 1, words), words, signed);
      bits &= validB;
      break;
    case 2: // equal each: elements past the end of both are equal
      bits = (equalMask(a, b, words) & validA & validB) | (all & ~(validA | validB));
      break;
    default: // equal ordered: what runs over the register's end still counts as a match
      bits = all;
      for (let k: u32 = 0; k < lenA; k++) bits &= ((equalMask(b, broadcast(a, k, words), words) & validB) >> k) | ~(all >> k);
      break;
  }
  if (imm & 0x10) bits ^= imm & 0x20 ? validB : all;

  if (op & 1) {
    const none = !bits;
    cpu.rcx = <u64>(none ? n : imm & 0x40 ? 31 - clz<u32>(bits) : ctz<u32>(bits));
  } else if (!(imm & 0x40)) {
    setXmm(cpu, 0, i32x4.replace_lane(i64x2.splat(0), 0, bits));
  } else if (words) {
    const at = i16x8(1, 2, 4, 8, 16, 32, 64, 128);
    setXmm(cpu, 0, i16x8.eq(v128.and(i16x8.splat(<i16>bits), at), at));
  } else {
    const at = i8x16(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128);
    const spread = i8x16.swizzle(i32x4.splat(bits), i8x16(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
    setXmm(cpu, 0, i8x16.eq(v128.and(spread, at), at));
  }
  setArith(cpu, (bits ? CF : 0) | (lenB < n ? ZF : 0) | (lenA < n ? SF : 0) | (bits & 1 ? OF : 0));
}
