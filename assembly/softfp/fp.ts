// 80-bit extended arithmetic, exact, as the x87 does it (SDM vol. 1, chapters 4 and 8). A value is its 64-bit significand, with the explicit
// integer bit, and `se`: sign in bit 15, biased exponent below. Results are left in the context; nothing here touches registers.
import { Cpu } from "../cpu/state";

export const IE: u32 = 0x01;
export const DE: u32 = 0x02;
export const ZE: u32 = 0x04;
export const OE: u32 = 0x08;
export const UE: u32 = 0x10;
export const PE: u32 = 0x20;
export const STACK: u32 = 0x40;
export const C0: u32 = 0x100;
export const C1: u32 = 0x200;
export const C2: u32 = 0x400;
export const C3: u32 = 0x4000;

export const BIAS: i32 = 0x3fff;
export const TOP64: u64 = 0x8000_0000_0000_0000;
export const QUIET: u64 = 0x4000_0000_0000_0000;
const WRAP: i32 = 24576; // exponent adjustment of unmasked overflow and underflow

/** Working context: between instructions it holds nothing of value. Lies in the CPU's record, behind the x87 registers. */
@unmanaged
export class Fp {
  sig: u64; // the result
  se: u32;
  flags: u32; // exceptions and condition codes raised, at their places in the status word; operations only add to it
  cw: u32; // control word in force
  exp: i32; // exponent of the unpacked or 128-bit intermediate
  hi: u64; // 128-bit intermediate
  lo: u64;
  hi2: u64; // a second one
  lo2: u64;
  exp2: i32;
  q: u32; // low bits of a quotient
}

export const CPU_FP: usize = 0x0980;

// @ts-ignore: decorator
@inline export function fpOf(cpu: Cpu): Fp { return changetype<Fp>(changetype<usize>(cpu) + CPU_FP); }

/** Upper half of the 128-bit product. */
// @ts-ignore: decorator
@inline export function mulHi(a: u64, b: u64): u64 {
  const al = a & 0xffff_ffff, ah = a >> 32, bl = b & 0xffff_ffff, bh = b >> 32;
  const m1 = ah * bl + ((al * bl) >> 32);
  const m2 = al * bh + (m1 & 0xffff_ffff);
  return ah * bh + (m1 >> 32) + (m2 >> 32);
}

/** (hi:lo) / d for d >= 2^63 and hi < d; the remainder is lo - quotient * d modulo 2^64. */
export function div128(hi: u64, lo: u64, d: u64): u64 {
  const d1 = d >> 32, d0 = d & 0xffff_ffff;
  let q1 = hi / d1;
  let r = hi - q1 * d1;
  while (q1 >> 32 || q1 * d0 > (r << 32 | lo >> 32)) {
    q1--;
    r += d1;
    if (r >> 32) break;
  }
  const mid = (hi << 32 | lo >> 32) - q1 * d;
  let q0 = mid / d1;
  r = mid - q0 * d1;
  while (q0 >> 32 || q0 * d0 > (r << 32 | (lo & 0xffff_ffff))) {
    q0--;
    r += d1;
    if (r >> 32) break;
  }
  return (q1 << 32) + q0;
}

// @ts-ignore: decorator
@inline export function isNormal(sig: u64, se: u32): bool { return (se & 0x7fff) - 1 < 0x7ffe && <i64>sig < 0; }
// @ts-ignore: decorator
@inline export function isNaN80(sig: u64, se: u32): bool { return (se & 0x7fff) == 0x7fff && sig > TOP64; }
// @ts-ignore: decorator
@inline export function isSignaling(sig: u64, se: u32): bool { return (se & 0x7fff) == 0x7fff && sig > TOP64 && (sig & QUIET) == 0; }
// @ts-ignore: decorator
@inline export function isInf80(sig: u64, se: u32): bool { return (se & 0x7fff) == 0x7fff && sig == TOP64; }
/** Unnormals, pseudo-infinities and pseudo-NaNs: invalid operands since the 387. */
// @ts-ignore: decorator
@inline export function isUnsupported(sig: u64, se: u32): bool { return (se & 0x7fff) != 0 && <i64>sig >= 0; }
/** Denormals and pseudo-denormals. */
// @ts-ignore: decorator
@inline export function isDenormal(sig: u64, se: u32): bool { return (se & 0x7fff) == 0 && sig != 0; }

// @ts-ignore: decorator
@inline export function result(f: Fp, sig: u64, se: u32): void {
  f.sig = sig;
  f.se = se;
}

/** The real indefinite; a pending denormal exception gives way. */
export function invalid(f: Fp): void {
  f.flags = (f.flags & ~DE) | IE;
  result(f, 0xc000_0000_0000_0000, 0xffff);
}

export function quietNaN(f: Fp, sig: u64, se: u32): void {
  f.flags = (f.flags & ~DE) | ((sig & QUIET) == 0 ? IE : 0);
  result(f, sig | QUIET, se);
}

/** Operands that are unsupported or NaN: leaves the result and answers true (SDM vol. 1, table 4-7). */
export function special2(f: Fp, aSig: u64, aSe: u32, bSig: u64, bSe: u32): bool {
  if (isUnsupported(aSig, aSe) || isUnsupported(bSig, bSe)) {
    invalid(f);
    return true;
  }
  const aNaN = isNaN80(aSig, aSe), bNaN = isNaN80(bSig, bSe);
  if (!aNaN && !bNaN) return false;
  if (!bNaN) quietNaN(f, aSig, aSe);
  else if (!aNaN) quietNaN(f, bSig, bSe);
  else {
    const aSignals = (aSig & QUIET) == 0, bSignals = (bSig & QUIET) == 0;
    const a = aSig | QUIET, b = bSig | QUIET;
    let first = a != b ? a > b : aSe < bSe;
    if (aSignals != bSignals) first = bSignals;
    f.flags = (f.flags & ~DE) | (aSignals || bSignals ? IE : 0);
    result(f, first ? a : b, first ? aSe : bSe);
  }
  return true;
}

export function special1(f: Fp, sig: u64, se: u32): bool {
  if (isUnsupported(sig, se)) {
    invalid(f);
    return true;
  }
  if (!isNaN80(sig, se)) return false;
  quietNaN(f, sig, se);
  return true;
}

/** Whether to add one unit: `ext` is the discarded part, its top bit worth half a unit. */
// @ts-ignore: decorator
@inline export function roundsUp(rc: u32, sign: u32, odd: bool, ext: u64): bool {
  if (rc == 0) return ext > TOP64 || (ext == TOP64 && odd);
  return rc != 3 && ext != 0 && (rc == 1) == (sign != 0);
}

/** Rounds sign, exponent (biased, any size), normalised `sig` and what follows it to the precision of the control word. */
export function round(f: Fp, sign: u32, exp: i32, sig: u64, ext: u64): void {
  roundTo(f, sign, exp, sig, ext, (f.cw >> 8) & 3);
}

/** The same to the whole 64 bits. */
export function round64(f: Fp, sign: u32, exp: i32, sig: u64, ext: u64): void {
  roundTo(f, sign, exp, sig, ext, 3);
}

// @ts-ignore: decorator
@inline
function roundTo(f: Fp, sign: u32, exp: i32, sig: u64, ext: u64, pc: u32): void {
  if ((pc & 1) && <u32>(exp - 1) < 0x7ffd) {
    if (ext) {
      const rc = (f.cw >> 10) & 3;
      // Without a branch where none could be foretold.
      const up = rc == 0 ? u32(ext > TOP64) | (u32(ext == TOP64) & <u32>sig) : u32(roundsUp(rc, sign, false, ext));
      f.flags |= PE | up << 9;
      sig += <u64>up;
      if (sig == 0) {
        sig = TOP64;
        exp++;
      }
    }
    f.sig = sig;
    f.se = sign | <u32>exp;
  } else roundSlow(f, sign, exp, sig, ext, (pc & 1) ? 0 : pc == 0 ? 40 : 11);
}

/** `drop`: low bits of the significand that the precision control cuts. */
function roundSlow(f: Fp, sign: u32, exp: i32, sig: u64, ext: u64, drop: u64): void {
  const rc = (f.cw >> 10) & 3;
  let s = sig, x = ext, e = exp;
  if (drop) {
    x = s << (64 - drop) | u64(x != 0);
    s &= ~((<u64>1 << drop) - 1);
  }
  const unit = <u64>1 << drop;
  const up = roundsUp(rc, sign, (s & unit) != 0, x);
  if (up) {
    s += unit;
    if (s == 0) {
      s = TOP64;
      e++;
    }
  }
  if (e > 0x7ffe) {
    if ((f.cw & OE) == 0) {
      f.flags |= OE | (x ? PE : 0) | (up ? C1 : 0);
      e -= WRAP;
      if (e > 0x7ffe) {
        f.flags |= PE | C1;
        result(f, TOP64, sign | 0x7fff);
      }
      else result(f, s, sign | <u32>e);
    } else if (rc == 0 || rc == (sign ? 1 : 2)) {
      f.flags |= OE | PE | C1;
      result(f, TOP64, sign | 0x7fff);
    } else {
      f.flags |= OE | PE;
      result(f, ~(unit - 1), sign | 0x7ffe);
    }
    return;
  }
  if (e < 1) {
    if ((f.cw & UE) == 0) {
      f.flags |= UE | (x ? PE : 0) | (up ? C1 : 0);
      e += WRAP;
      if (e < 1) {
        f.flags = (f.flags & ~C1) | PE;
        result(f, 0, sign);
      }
      else result(f, s, sign | <u32>e);
      return;
    }
    // Tiny and masked: round again where the denormal ends.
    const shift = <u64>(1 - exp);
    if (shift < 64) {
      x = sig << (64 - shift) | u64(ext != 0);
      s = sig >> shift;
    } else {
      x = shift == 64 ? sig | u64(ext != 0) : 1;
      s = 0;
    }
    if (drop) {
      x = s << (64 - drop) | u64(x != 0);
      s &= ~(unit - 1);
    }
    if (x) f.flags |= UE | PE;
    if (roundsUp(rc, sign, (s & unit) != 0, x)) {
      s += unit;
      f.flags |= C1;
    }
    result(f, s, sign | <u32>(s >> 63));
    return;
  }
  if (x) f.flags |= PE | (up ? C1 : 0);
  result(f, s, sign | <u32>e);
}

/** Unpacks a finite non-zero number to f.exp and f.hi, normalised; raises DE for a denormal. */
export function unpack(f: Fp, sig: u64, se: u32): void {
  let exp = <i32>(se & 0x7fff);
  if (exp == 0) {
    f.flags |= DE;
    const shift = clz(sig);
    sig <<= shift;
    exp = 1 - <i32>shift;
  }
  f.exp = exp;
  f.hi = sig;
}

/** Rounds an exact or sticky 128-bit value, not zero, f.hi:f.lo with the integer bit at 127 and exponent f.exp, to 64 bits. */
export function round128(f: Fp, sign: u32, inexact: bool): void {
  let hi = f.hi, lo = f.lo, exp = f.exp;
  if (hi == 0) {
    hi = lo;
    lo = 0;
    exp -= 64;
  }
  const n = clz(hi);
  if (n) {
    hi = hi << n | lo >> (64 - n);
    lo <<= n;
    exp -= <i32>n;
  }
  round64(f, sign, exp, hi, lo | u64(inexact));
}
