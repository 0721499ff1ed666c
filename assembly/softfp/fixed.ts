// 128-bit helpers of the transcendental functions. A "wide" number is f.hi:f.lo with the integer bit at 127 and the biased exponent f.exp;
// a "fraction" is a pair scaled by 2^128.
import { Fp, BIAS, TOP64, mulHi, div128 } from "./fp";

/** f.hi:f.lo = upper 128 bits of a * b, short by at most three units. */
export function mulWide(f: Fp, ah: u64, al: u64, bh: u64, bl: u64): void {
  let lo = ah * bh;
  let hi = mulHi(ah, bh);
  const x = mulHi(ah, bl), y = mulHi(al, bh);
  lo += x;
  hi += u64(lo < x);
  lo += y;
  hi += u64(lo < y);
  f.hi = hi;
  f.lo = lo;
}

export function normalise(f: Fp): void {
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
  }
  f.hi = hi;
  f.lo = lo;
  f.exp = exp - <i32>n;
}

/** f *= the wide number given; both normalised. */
export function multiply(f: Fp, hi: u64, lo: u64, exp: i32): void {
  mulWide(f, f.hi, f.lo, hi, lo);
  f.exp += exp - BIAS + 1;
  normalise(f);
}

/** One 64-bit digit of f.hi:f.lo / d (f < d, d normalised); the remainder replaces f. */
function digit(f: Fp, dh: u64, dl: u64): u64 {
  const rh = f.hi, rl = f.lo;
  let q = rh >= dh ? <u64>-1 : div128(rh, rl, dh);
  // r * 2^64 - q * d, three words, of which the highest is a sign.
  const ph = mulHi(q, dl), pl = q * dl;
  const mid = q * dh;
  let top = rh - mulHi(q, dh) - u64(rl < mid);
  let hi = rl - mid;
  top -= u64(hi < ph);
  hi -= ph;
  let lo: u64 = 0 - pl;
  if (pl) {
    top -= u64(hi == 0);
    hi--;
  }
  while (<i64>top < 0) {
    q--;
    lo += dl;
    const c = u64(lo < dl);
    hi += dh;
    let t = u64(hi < dh);
    hi += c;
    t += u64(hi < c);
    top += t;
  }
  f.hi = hi;
  f.lo = lo;
  return q;
}

/** f = the wide n / d, both normalised. */
export function divide(f: Fp, nh: u64, nl: u64, nExp: i32, dh: u64, dl: u64, dExp: i32): void {
  let exp = nExp - dExp + BIAS - 1;
  if (nh > dh || (nh == dh && nl >= dl)) {
    nl = nl >> 1 | nh << 63;
    nh >>= 1;
    exp++;
  }
  f.hi = nh;
  f.lo = nl;
  const q1 = digit(f, dh, dl);
  const q0 = digit(f, dh, dl);
  f.hi = q1;
  f.lo = q0;
  f.exp = exp;
  normalise(f);
}

/** The wide number, below 1, as a fraction in f.hi2:f.lo2. */
export function toFraction(f: Fp): void {
  const shift = <u64>(BIAS - 1 - f.exp);
  if (shift == 0) {
    f.hi2 = f.hi;
    f.lo2 = f.lo;
  } else if (shift < 64) {
    f.hi2 = f.hi >> shift;
    f.lo2 = f.lo >> shift | f.hi << (64 - shift);
  } else {
    f.hi2 = 0;
    f.lo2 = shift < 128 ? f.hi >> (shift - 64) : 0;
  }
}

/** f.hi:f.lo = u * (c0 - u * (c1 - u * ...)), or with + throughout; `table` holds the fractions c, `step` bytes apart. */
export function series(f: Fp, uh: u64, ul: u64, table: usize, step: usize, count: i32, alternate: bool): void {
  let p = table + step * <usize>(count - 1);
  let ph = load<u64>(p), pl = load<u64>(p, 8);
  while (--count > 0) {
    p -= step;
    mulWide(f, uh, ul, ph, pl);
    const ch = load<u64>(p), cl = load<u64>(p, 8);
    if (alternate) {
      ph = ch - f.hi - u64(cl < f.lo);
      pl = cl - f.lo;
    } else {
      pl = cl + f.lo;
      ph = ch + f.hi + u64(pl < cl);
    }
  }
  mulWide(f, uh, ul, ph, pl);
}

/** f = 1 - (f.hi:f.lo as a fraction below one half), wide; never quite 1. */
export function oneMinus(f: Fp): void {
  if ((f.hi | f.lo) == 0) f.lo = 1;
  f.hi = 0 - f.hi - u64(f.lo != 0);
  f.lo = 0 - f.lo;
  f.exp = BIAS - 1;
}

/** f = 1 + (f.hi:f.lo as a fraction), wide. */
export function onePlus(f: Fp): void {
  f.lo = f.lo >> 1 | f.hi << 63;
  f.hi = f.hi >> 1 | TOP64;
  f.exp = BIAS;
}
