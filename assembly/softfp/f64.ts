// Arithmetic of the SSE formats on bit patterns, with MXCSR's rounding, flags and NaN rules. T is u32 (single) or u64 (double).
import { Cpu } from "../cpu/state";
import {
  IE, ZE, PE, Round, bias, defaultNan, expOf, flushed, fracBits, hiddenBit, infinity, invalid, isDenormal, isNan, isSnan, magnitude, maxExp, nanOf1,
  nanOf2, operand, quietBit, raiseFp, rounding, roundPack, shiftJam, signMask, signOf, withSign,
} from "./mxcsr";

/** The significand with its leading bit at 62; a denormal's is lower. */
// @ts-ignore: decorator
@inline function sigOf<T>(a: T): u64 {
  const frac = a & (hiddenBit<T>() - 1);
  return <u64>(expOf<T>(a) ? frac | hiddenBit<T>() : frac) << (62 - <u64>fracBits<T>());
}

export function fpAdd<T>(cpu: Cpu, a: T, b: T): T {
  if (isNan<T>(a) || isNan<T>(b)) return nanOf2<T>(cpu, a, b);
  const infA = magnitude<T>(a) == infinity<T>();
  if (infA && (a ^ b) == signMask<T>()) return invalid<T>(cpu);
  a = operand<T>(cpu, a);
  b = operand<T>(cpu, b);
  if (infA) return a;
  if (magnitude<T>(b) == infinity<T>()) return b;
  let sign = signOf<T>(a);
  if (magnitude<T>(a) < magnitude<T>(b)) {
    const t = a;
    a = b;
    b = t;
    sign = signOf<T>(a);
  }
  const exp = max(expOf<T>(a), 1);
  const sigA = sigOf<T>(a);
  const sigB = shiftJam(sigOf<T>(b), exp - max(expOf<T>(b), 1));
  const same = signOf<T>(a) == signOf<T>(b);
  const sum = same ? sigA + sigB : sigA - sigB;
  if (!sum) return withSign<T>(same ? sign : u32(rounding(cpu) == Round.DOWN), <T>0);
  return roundPack<T>(cpu, sign, exp, sum);
}

// @ts-ignore: decorator
@inline export function fpSub<T>(cpu: Cpu, a: T, b: T): T {
  return isNan<T>(b) ? fpAdd<T>(cpu, a, b) : fpAdd<T>(cpu, a, b ^ signMask<T>());
}

/** High half of a 128-bit product, with the low half jammed into bit 0. */
function mulJam(a: u64, b: u64): u64 {
  const al = a & 0xffff_ffff, ah = a >> 32, bl = b & 0xffff_ffff, bh = b >> 32;
  const low = al * bl;
  const mid = ah * bl + (low >> 32);
  const mid2 = al * bh + (mid & 0xffff_ffff);
  return (ah * bh + (mid >> 32) + (mid2 >> 32)) | u64((a * b) != 0);
}

export function fpMul<T>(cpu: Cpu, a: T, b: T): T {
  if (isNan<T>(a) || isNan<T>(b)) return nanOf2<T>(cpu, a, b);
  const infA = magnitude<T>(a) == infinity<T>(), infB = magnitude<T>(b) == infinity<T>();
  const zeroA = magnitude<T>(flushed<T>(cpu, a)) == 0, zeroB = magnitude<T>(flushed<T>(cpu, b)) == 0;
  if ((infA && zeroB) || (infB && zeroA)) return invalid<T>(cpu);
  a = operand<T>(cpu, a);
  b = operand<T>(cpu, b);
  const sign = signOf<T>(a) ^ signOf<T>(b);
  if (infA || infB) return withSign<T>(sign, infinity<T>());
  if (zeroA || zeroB) return withSign<T>(sign, <T>0);
  const exp = max(expOf<T>(a), 1) + max(expOf<T>(b), 1) - bias<T>();
  let sa = sigOf<T>(a), sb = sigOf<T>(b);
  const la = clz<u64>(sa) - 1, lb = clz<u64>(sb) - 1;
  sa <<= la;
  sb <<= lb;
  return roundPack<T>(cpu, sign, exp - <i32>la - <i32>lb, mulJam(sa << 1, sb << 1));
}

// Division and square root take the host's correctly rounded 53-bit result and settle the sticky bit with an exact remainder, which is
// smaller than 2^63 and so is right modulo 2^64.
export function fpDiv<T>(cpu: Cpu, a: T, b: T): T {
  if (isNan<T>(a) || isNan<T>(b)) return nanOf2<T>(cpu, a, b);
  const infA = magnitude<T>(a) == infinity<T>(), infB = magnitude<T>(b) == infinity<T>();
  const zeroA = magnitude<T>(flushed<T>(cpu, a)) == 0, zeroB = magnitude<T>(flushed<T>(cpu, b)) == 0;
  if ((infA && infB) || (zeroA && zeroB)) return invalid<T>(cpu);
  const sign = signOf<T>(a) ^ signOf<T>(b);
  if (zeroB && !infA) {
    raiseFp(cpu, ZE);
    return withSign<T>(sign, infinity<T>());
  }
  a = operand<T>(cpu, a);
  b = operand<T>(cpu, b);
  if (infA) return withSign<T>(sign, infinity<T>());
  if (infB || zeroA) return withSign<T>(sign, <T>0);
  let sa = sigOf<T>(a), sb = sigOf<T>(b);
  const la = clz<u64>(sa) - 1, lb = clz<u64>(sb) - 1;
  sa = (sa << la) >> 10;
  sb = (sb << lb) >> 10;
  let exp = max(expOf<T>(a), 1) - <i32>la - max(expOf<T>(b), 1) + <i32>lb + bias<T>();
  if (sa < sb) {
    sa <<= 1;
    exp--;
  }
  const q = <u64>((<f64>sa / <f64>sb) * 4503599627370496.0);
  const rest = <i64>((sa << 52) - q * sb);
  return roundPack<T>(cpu, sign, exp, (q << 10) + (rest > 0 ? 1 : rest < 0 ? <u64>-1 : 0));
}

export function fpSqrt<T>(cpu: Cpu, a: T): T {
  if (isNan<T>(a)) return nanOf1<T>(cpu, a);
  if (magnitude<T>(flushed<T>(cpu, a)) == 0) return a & signMask<T>();
  if (signOf<T>(a)) return invalid<T>(cpu);
  a = operand<T>(cpu, a);
  if (a == infinity<T>()) return a;
  let s = sigOf<T>(a);
  const lz = clz<u64>(s) - 1;
  s = (s << lz) >> 10;
  let exp = max(expOf<T>(a), 1) - <i32>lz - bias<T>();
  if (exp & 1) {
    s <<= 1;
    exp--;
  }
  const r = <u64>(sqrt<f64>(<f64>s) * 67108864.0); // sqrt(s * 2^52)
  const rest = <i64>((s << 52) - r * r);
  return roundPack<T>(cpu, 0, (exp >> 1) + bias<T>(), (r << 10) + (rest > 0 ? 1 : rest < 0 ? <u64>-1 : 0));
}

/** Whether a < b of two values that are no NaNs. */
// @ts-ignore: decorator
@inline function less<T>(a: T, b: T): bool {
  return signOf<T>(a) ? (signOf<T>(b) ? b < a : (magnitude<T>(a) | magnitude<T>(b)) != 0) : !signOf<T>(b) && a < b;
}
// @ts-ignore: decorator
@inline function equal<T>(a: T, b: T): bool { return a == b || magnitude<T>(a | b) == 0; }

/** MINxx and, with `max`, MAXxx: the second operand unless the first is strictly beyond it (SDM vol. 2, MINPS). */
export function fpMinMax<T>(cpu: Cpu, a: T, b: T, max: bool): T {
  if (isNan<T>(a) || isNan<T>(b)) {
    raiseFp(cpu, IE);
    return flushed<T>(cpu, b);
  }
  a = operand<T>(cpu, a);
  b = operand<T>(cpu, b);
  return (max ? less<T>(b, a) : less<T>(a, b)) ? a : b;
}

/** CMPxx with predicate 0 to 7. */
export function fpCompare<T>(cpu: Cpu, a: T, b: T, predicate: u32): bool {
  const negate = (predicate & 4) != 0;
  if (isNan<T>(a) || isNan<T>(b)) {
    const signals = (0x66 >> predicate & 1) != 0; // LT LE NLT NLE
    if (signals || isSnan<T>(a) || isSnan<T>(b)) raiseFp(cpu, IE);
    return ((predicate & 3) == 3) != negate;
  }
  a = operand<T>(cpu, a);
  b = operand<T>(cpu, b);
  let r = false;
  switch (predicate & 3) {
    case 0: r = equal<T>(a, b); break;
    case 1: r = less<T>(a, b); break;
    case 2: r = equal<T>(a, b) || less<T>(a, b); break;
  }
  return r != negate;
}

/** COMISx and, with `quiet`, UCOMISx: ZF, PF and CF at their places. */
export function fpCompareFlags<T>(cpu: Cpu, a: T, b: T, quiet: bool): u32 {
  if (isNan<T>(a) || isNan<T>(b)) {
    if (!quiet || isSnan<T>(a) || isSnan<T>(b)) raiseFp(cpu, IE);
    return 0x45;
  }
  a = operand<T>(cpu, a);
  b = operand<T>(cpu, b);
  return equal<T>(a, b) ? 0x40 : less<T>(a, b) ? 1 : 0;
}

/** Rounds to an integral value, as ROUNDxx: `mode` is a Round, `exact` suppresses the precision exception. */
export function fpRound<T>(cpu: Cpu, a: T, mode: u32, exact: bool): T {
  if (isNan<T>(a)) return nanOf1<T>(cpu, a);
  a = flushed<T>(cpu, a);
  const exp = expOf<T>(a) - bias<T>();
  if (exp >= fracBits<T>() || magnitude<T>(a) == 0) return a;
  if (!exact) {
    if (exp < 0 || (a & ((hiddenBit<T>() - 1) >> <T>exp)) != 0) raiseFp(cpu, PE);
  }
  const sign = signOf<T>(a);
  if (exp < 0) {
    const one: T = <T>bias<T>() << <T>fracBits<T>();
    const away = mode == Round.NEAREST ? exp == -1 && magnitude<T>(a) > one - hiddenBit<T>() : mode == Round.DOWN ? sign == 1 : mode == Round.UP && sign == 0;
    return withSign<T>(sign, away ? one : <T>0);
  }
  const unit: T = hiddenBit<T>() >> <T>exp;
  const rest = a & (unit - 1);
  a -= rest;
  const half: T = unit >> 1;
  const up = mode == Round.NEAREST ? rest > half || (rest == half && (a & unit) != 0) : rest != 0 && (mode == Round.DOWN ? sign == 1 : mode == Round.UP && sign == 0);
  return up ? a + unit : a; // the carry moves into the exponent as it should
}
