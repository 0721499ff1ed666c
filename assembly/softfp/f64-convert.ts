// Conversions between the SSE formats and integers, with MXCSR's rounding and flags.
import { Cpu } from "../cpu/state";
import {
  IE, PE, Round, bias, expOf, flushed, fracBits, hiddenBit, infinity, isNan, magnitude, nanOf1, operand, quietBit, raiseFp, roundPack, shiftJam, signOf,
  withSign, isSnan,
} from "./mxcsr";

/** An integer from -2^63 to 2^63 - 1 as a value of format T. */
export function fpFromInt<T>(cpu: Cpu, v: i64): T {
  if (!v) return <T>0;
  return roundPack<T>(cpu, u32(v < 0), bias<T>() + 62, v < 0 ? 0 - <u64>v : <u64>v);
}

/** A signed integer of 32 or 64 `bits`, sign-extended, by rounding `mode`; out of range gives the integer indefinite, 2^(bits - 1). */
export function fpToInt<T>(cpu: Cpu, a: T, mode: u32, bits: u32): i64 {
  const indefinite: i64 = <i64>-1 << <i64>(bits - 1);
  a = flushed<T>(cpu, a);
  const exp = expOf<T>(a) - bias<T>();
  if (exp > 63) {
    raiseFp(cpu, IE);
    return indefinite;
  }
  if (magnitude<T>(a) == 0) return 0;
  const sign = signOf<T>(a);
  const frac = <u64>(a & (hiddenBit<T>() - 1));
  let sig = (expOf<T>(a) ? frac | <u64>hiddenBit<T>() : frac) << (63 - <u64>fracBits<T>()); // leading bit at 63
  let whole: u64 = exp < 0 ? 0 : sig >> <u64>(63 - exp);
  const rest: u64 = exp < 0 ? shiftJam(sig, -1 - exp) : exp == 63 ? 0 : sig << <u64>(exp + 1); // as a fraction of 2^64
  const half: u64 = <u64>1 << 63;
  const up = mode == Round.NEAREST ? rest > half || (rest == half && (whole & 1) != 0) : rest != 0 && (mode == Round.DOWN ? sign == 1 : mode == Round.UP && sign == 0);
  if (up) whole++;
  const limit: u64 = <u64>1 << <u64>(bits - 1);
  if (whole > limit || (whole == limit && !sign)) {
    raiseFp(cpu, IE);
    return indefinite;
  }
  if (rest) raiseFp(cpu, PE);
  return sign ? 0 - <i64>whole : <i64>whole;
}

/** Single to double precision. */
export function fpWiden(cpu: Cpu, a: u32): u64 {
  if (isNan<u32>(a)) {
    if (isSnan<u32>(a)) raiseFp(cpu, IE);
    return (<u64>(a >> 31) << 63) | 0x7ff8_0000_0000_0000 | (<u64>(a & 0x3f_ffff) << 29);
  }
  a = operand<u32>(cpu, a);
  return reinterpret<u64>(<f64>reinterpret<f32>(a)); // exact
}

/** Double to single precision. */
export function fpNarrow(cpu: Cpu, a: u64): u32 {
  if (isNan<u64>(a)) {
    if (isSnan<u64>(a)) raiseFp(cpu, IE);
    return (<u32>(a >> 63) << 31) | 0x7fc0_0000 | (<u32>(a >> 29) & 0x3f_ffff);
  }
  a = operand<u64>(cpu, a);
  const sign = signOf<u64>(a), mag = magnitude<u64>(a);
  if (mag == 0) return withSign<u32>(sign, 0);
  if (mag == infinity<u64>()) return withSign<u32>(sign, infinity<u32>());
  const exp = expOf<u64>(a);
  const frac = a & (hiddenBit<u64>() - 1);
  return roundPack<u32>(cpu, sign, max(exp, 1) - bias<u64>() + bias<u32>(), (exp ? frac | hiddenBit<u64>() : frac) << 10);
}
