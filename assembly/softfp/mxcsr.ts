// MXCSR: control and status of the SSE arithmetic (SDM vol. 1, 10.2.3 and 11.5), and the encodings of its two formats.
// A value is its bit pattern: T is u32 for single precision and u64 for double precision.
// While an instruction computes, its exceptions gather in bits 16-21 of Cpu.mxcsr; `commitFp` folds them into the sticky flags.
import { Cpu, CR4_OSXMMEXCPT } from "../cpu/state";
import { fault, Vector } from "../cpu/fault";

export const IE: u32 = 1;
export const DE: u32 = 2;
export const ZE: u32 = 4;
export const OE: u32 = 8;
export const UE: u32 = 16;
export const PE: u32 = 32;
export const DAZ: u32 = 0x40;
export const OM: u32 = 0x400;
export const UM: u32 = 0x800;
export const PM: u32 = 0x1000;
export const FTZ: u32 = 0x8000;
const EXCEPTIONS: u32 = 63;
const PRE: u32 = IE | DE | ZE; // found before the computation
const PENDING: u32 = 16; // shift of the exceptions of the instruction under way
const RC: u32 = 0x6000;

/** Rounding control, MXCSR bits 13-14. */
export namespace Round {
  export const NEAREST: u32 = 0;
  export const DOWN: u32 = 1;
  export const UP: u32 = 2;
  export const ZERO: u32 = 3;
}

// @ts-ignore: decorator
@inline export function rounding(cpu: Cpu): u32 { return (cpu.mxcsr >> 13) & 3; }

/** Whether round-to-nearest arithmetic with normal operands and results changes no flag: wasm's own arithmetic is then exact enough. */
// @ts-ignore: decorator
@inline export function nativeOk(cpu: Cpu): bool { return (cpu.mxcsr & (RC | PM | PE)) == (PM | PE); }

// @ts-ignore: decorator
@inline export function raiseFp(cpu: Cpu, flags: u32): void { cpu.mxcsr |= flags << PENDING; }

/** Ends the computation: sets the sticky flags and raises #XM for unmasked ones. Call before writing any result. */
// @ts-ignore: decorator
@inline export function commitFp(cpu: Cpu): void {
  if (cpu.mxcsr >> PENDING) commitFlags(cpu);
}

function commitFlags(cpu: Cpu): void {
  const m = cpu.mxcsr;
  const unmasked = ~(m >> 7) & EXCEPTIONS;
  let flags = m >> PENDING;
  if (flags & unmasked & PRE) flags &= PRE;
  cpu.mxcsr = (m & 0xffff) | flags;
  if (flags & unmasked) fault(cpu, (cpu.cr4 & CR4_OSXMMEXCPT) != 0 ? Vector.XM : Vector.UD);
}

// Encodings.
// @ts-ignore: decorator
@inline export function fracBits<T>(): i32 { return sizeof<T>() == 4 ? 23 : 52; }
// @ts-ignore: decorator
@inline export function bias<T>(): i32 { return sizeof<T>() == 4 ? 127 : 1023; }
/** The exponent field of infinities and NaNs. */
// @ts-ignore: decorator
@inline export function maxExp<T>(): i32 { return sizeof<T>() == 4 ? 255 : 2047; }
// @ts-ignore: decorator
@inline export function infinity<T>(): T { return sizeof<T>() == 4 ? <T>0x7f80_0000 : <T>0x7ff0_0000_0000_0000; }
// @ts-ignore: decorator
@inline export function signMask<T>(): T { return sizeof<T>() == 4 ? <T>0x8000_0000 : <T>0x8000_0000_0000_0000; }
// @ts-ignore: decorator
@inline export function quietBit<T>(): T { return sizeof<T>() == 4 ? <T>0x40_0000 : <T>0x8_0000_0000_0000; }
/** The QNaN of invalid operations ("real indefinite"). */
// @ts-ignore: decorator
@inline export function defaultNan<T>(): T { return sizeof<T>() == 4 ? <T>0xffc0_0000 : <T>0xfff8_0000_0000_0000; }
// @ts-ignore: decorator
@inline export function hiddenBit<T>(): T { return <T>1 << <T>fracBits<T>(); }
// @ts-ignore: decorator
@inline export function magnitude<T>(a: T): T { return a & ~signMask<T>(); }
// @ts-ignore: decorator
@inline export function isNan<T>(a: T): bool { return magnitude<T>(a) > infinity<T>(); }
// @ts-ignore: decorator
@inline export function isSnan<T>(a: T): bool { return isNan<T>(a) && (a & quietBit<T>()) == 0; }
// @ts-ignore: decorator
@inline export function isDenormal<T>(a: T): bool { return magnitude<T>(a) - 1 < hiddenBit<T>() - 1; }
// @ts-ignore: decorator
@inline export function signOf<T>(a: T): u32 { return <u32>(a >> <T>(sizeof<T>() * 8 - 1)); }
// @ts-ignore: decorator
@inline export function expOf<T>(a: T): i32 { return <i32>(a >> <T>fracBits<T>()) & maxExp<T>(); }
// @ts-ignore: decorator
@inline export function withSign<T>(sign: u32, mag: T): T { return (<T>sign << <T>(sizeof<T>() * 8 - 1)) | mag; }
/** Exponent field 2 to max - 1, or zero: nothing that arithmetic treats specially, and as a result nothing near underflow. */
// @ts-ignore: decorator
@inline export function isPlain<T>(a: T): bool {
  const m = magnitude<T>(a);
  return m == 0 || m - (hiddenBit<T>() << 1) < infinity<T>() - (hiddenBit<T>() << 1);
}

/** The operand as arithmetic sees it: a denormal is zero under DAZ, else it raises #D. */
// @ts-ignore: decorator
@inline export function operand<T>(cpu: Cpu, a: T): T {
  if (isDenormal<T>(a)) {
    if (cpu.mxcsr & DAZ) return a & signMask<T>();
    raiseFp(cpu, DE);
  }
  return a;
}

/** The same without the exception. */
// @ts-ignore: decorator
@inline export function flushed<T>(cpu: Cpu, a: T): T {
  return (cpu.mxcsr & DAZ) != 0 && isDenormal<T>(a) ? a & signMask<T>() : a;
}

/** Result of an operation on two values, at least one a NaN: the first NaN, quieted (SDM vol. 1, table 4-7). */
export function nanOf2<T>(cpu: Cpu, a: T, b: T): T {
  if (isSnan<T>(a) || isSnan<T>(b)) raiseFp(cpu, IE);
  return (isNan<T>(a) ? a : b) | quietBit<T>();
}

export function nanOf1<T>(cpu: Cpu, a: T): T {
  if (isSnan<T>(a)) raiseFp(cpu, IE);
  return a | quietBit<T>();
}

export function invalid<T>(cpu: Cpu): T {
  raiseFp(cpu, IE);
  return defaultNan<T>();
}

/** `v` shifted right by `n`, the lost bits ORed into bit 0. */
// @ts-ignore: decorator
@inline export function shiftJam(v: u64, n: i32): u64 {
  return n >= 64 ? u64(v != 0) : n <= 0 ? v : (v >> <u64>n) | u64((v << <u64>(64 - n)) != 0);
}

/**
 * Rounds sig * 2^(exp - bias - 62) to the format, with its overflow, underflow and precision exceptions. `sig` is not 0; what lies below
 * it is jammed into bit 0. Tininess is detected after rounding.
 */
export function roundPack<T>(cpu: Cpu, sign: u32, exp: i32, sig: u64): T {
  if (<i64>sig < 0) {
    sig = shiftJam(sig, 1);
    exp++;
  } else {
    const lz = <i32>clz<u64>(sig) - 1;
    sig <<= <u64>lz;
    exp -= lz;
  }
  const shift: u64 = 62 - <u64>fracBits<T>();
  const mask: u64 = (<u64>1 << shift) - 1;
  const half: u64 = <u64>1 << (shift - 1);
  const rc = rounding(cpu);
  const inc = rc == Round.NEAREST ? half : rc == Round.ZERO || (rc == Round.DOWN) == (sign == 0) ? 0 : mask;

  if (exp < 1 && (exp < 0 || <i64>(sig + inc) >= 0)) {
    if (cpu.mxcsr & UM) {
      if (cpu.mxcsr & FTZ) {
        raiseFp(cpu, UE | PE);
        return withSign<T>(sign, <T>0);
      }
      sig = shiftJam(sig, 1 - exp);
      if (sig & mask) raiseFp(cpu, UE);
    } else {
      raiseFp(cpu, UE);
      if (sig & mask) raiseFp(cpu, PE); // the trap handler gets the result rounded with an unbounded exponent
      sig = shiftJam(sig, 1 - exp);
      return withSign<T>(sign, <T>0);
    }
    exp = 1;
  } else if (exp == 0) {
    sig = shiftJam(sig, 1); // rounds up to the least normal number
    exp = 1;
  }
  const rest = sig & mask;
  if (rest) raiseFp(cpu, PE);
  sig = (sig + inc) >> shift;
  if (rest == half && rc == Round.NEAREST) sig &= ~1;
  if (exp >= maxExp<T>() || (exp == maxExp<T>() - 1 && sig >> (<u64>fracBits<T>() + 1) != 0)) {
    raiseFp(cpu, cpu.mxcsr & OM ? OE | PE : OE); // a trapped overflow may be exact
    return withSign<T>(sign, inc || rc == Round.NEAREST ? infinity<T>() : infinity<T>() - 1);
  }
  return withSign<T>(sign, (<T>(exp - 1) << <T>fracBits<T>()) + <T>sig);
}
