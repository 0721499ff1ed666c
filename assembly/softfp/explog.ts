// F2XM1, FYL2X, FYL2XP1.
import {
  Fp, DE, PE, UE, ZE, BIAS, TOP64, result, invalid, special1, special2, isInf80, isDenormal, unpack, round128, mulHi,
} from "./fp";
import { mulWide, multiply, divide, normalise, toFraction, series, oneMinus, onePlus } from "./fixed";
import { inverseFactorials, inverseOdds, LN2_HI, LN2_LO, LOG2E_2_HI, LOG2E_2_LO } from "./tables";

const SQRT2: u64 = 0xb504_f333_f9de_6484;

/** 2^x - 1 for x between -1 and 1. */
export function exp2m1(f: Fp, sig: u64, se: u32): void {
  if (special1(f, sig, se)) return;
  const negative = (se & 0x8000) != 0;
  if (isInf80(sig, se)) {
    if (negative) result(f, TOP64, 0x8000 | BIAS);
    else result(f, sig, se);
    return;
  }
  if (sig == 0) {
    result(f, sig, se);
    return;
  }
  unpack(f, sig, se);
  if (f.exp >= BIAS) {
    // 1 and -1 are exact; beyond them the result is undefined, and the operand stays.
    f.flags |= PE;
    if (f.exp == BIAS && f.hi == TOP64) result(f, TOP64, negative ? 0xbffe : BIAS);
    else result(f, sig, se);
    return;
  }
  f.lo = 0;
  multiply(f, LN2_HI, LN2_LO, BIAS - 1);
  const hi = f.hi, lo = f.lo, exp = f.exp;
  toFraction(f);
  series(f, f.hi2, f.lo2, inverseFactorials(), 16, 24, negative);
  if (negative) oneMinus(f);
  else onePlus(f);
  multiply(f, hi, lo, exp);
  round128(f, se & 0x8000, true);
}

/** f = log2((1 + z) / (1 - z)) for the wide z = f, up to 0.18. */
function logOfRatio(f: Fp): void {
  const hi = f.hi, lo = f.lo, exp = f.exp;
  toFraction(f);
  mulWide(f, f.hi2, f.lo2, f.hi2, f.lo2);
  series(f, f.hi, f.lo, inverseOdds(), 16, 17, false);
  onePlus(f);
  multiply(f, hi, lo, exp);
  multiply(f, LOG2E_2_HI, LOG2E_2_LO, BIAS + 1); // 2 log2(e)
}

/** f = |log2 x| for the wide x = f, not 1; answers its sign. */
function log2Wide(f: Fp): u32 {
  let k = f.exp - BIAS;
  const h = f.hi, l = f.lo;
  const below = h > SQRT2;
  // z = (m - 1) / (m + 1), m between sqrt(1/2) and sqrt(2); both halved. Below 1, m + 1 is at most 2 and one bit lower.
  let dh = h >> 1, dl = l >> 1 | h << 63;
  let dExp = BIAS;
  if (below) {
    k++;
    f.hi = 0 - h - u64(l != 0);
    f.lo = 0 - l;
    dh |= TOP64;
    dExp--;
  } else {
    f.hi = h & ~TOP64;
    dh += TOP64 >> 1;
  }
  let sign: u32 = 0;
  f.hi2 = 0;
  f.lo2 = 0;
  if (f.hi | f.lo) {
    f.exp = dExp - 1;
    normalise(f);
    divide(f, f.hi, f.lo, f.exp, dh, dl, dExp);
    logOfRatio(f);
    if (k == 0) return below ? 0x8000 : 0;
    toFraction(f);
  }
  // k + fraction, with 16 integer bits
  const fl = f.lo2 >> 16 | f.hi2 << 48, fh = f.hi2 >> 16;
  let rl = below ? 0 - fl : fl;
  let rh = (<u64><i64>k << 48) + (below ? 0 - fh - u64(fl != 0) : fh);
  if (<i64>rh < 0) {
    sign = 0x8000;
    rh = 0 - rh - u64(rl != 0);
    rl = 0 - rl;
  }
  f.hi = rh;
  f.lo = rl;
  f.exp = BIAS + 15;
  normalise(f);
  return sign;
}

/** y * log2(x). */
export function yl2x(f: Fp, ySig: u64, ySe: u32, xSig: u64, xSe: u32): void {
  if (special2(f, ySig, ySe, xSig, xSe)) return;
  const ySign = ySe & 0x8000;
  const yInf = isInf80(ySig, ySe), yZero = ySig == 0;
  if (xSig == 0) {
    if (yZero) invalid(f);
    else {
      if (!yInf) f.flags |= ZE;
      result(f, TOP64, (ySign ^ 0x8000) | 0x7fff);
    }
    return;
  }
  if (xSe & 0x8000) {
    invalid(f);
    return;
  }
  if (isInf80(xSig, xSe)) {
    if (yZero) invalid(f);
    else {
      if (isDenormal(ySig, ySe)) f.flags |= DE;
      result(f, TOP64, ySign | 0x7fff);
    }
    return;
  }
  const one = xSe == BIAS && xSig == TOP64;
  const below = xSe < <u32>BIAS;
  if (yInf && one) {
    invalid(f);
    return;
  }
  if (isDenormal(ySig, ySe) || isDenormal(xSig, xSe)) f.flags |= DE;
  if (yInf) {
    result(f, TOP64, (below ? ySign ^ 0x8000 : ySign) | 0x7fff);
    return;
  }
  if (yZero || one) {
    result(f, 0, below ? ySign ^ 0x8000 : ySign);
    return;
  }
  unpack(f, ySig, ySe);
  const y = f.hi, yExp = f.exp;
  unpack(f, xSig, xSe);
  f.lo = 0;
  const exact = f.hi == TOP64;
  const sign = ySign ^ log2Wide(f);
  multiplyExact(f, y, yExp, exact, sign);
}

// A power of two has an integer for its logarithm, and the product may be exact.
function multiplyExact(f: Fp, y: u64, yExp: i32, exact: bool, sign: u32): void {
  if (exact) {
    f.lo = f.hi * y;
    f.hi = mulHi(f.hi, y);
    f.exp += yExp - BIAS + 1;
    round128(f, sign, false);
    f.flags |= (f.se & 0x7fff) == 0 ? PE | UE : PE; // raised even so
  } else {
    multiply(f, y, 0, yExp);
    round128(f, sign, true);
  }
}

/** y * log2(x + 1). */
export function yl2xp1(f: Fp, ySig: u64, ySe: u32, xSig: u64, xSe: u32): void {
  if (special2(f, ySig, ySe, xSig, xSe)) return;
  const ySign = ySe & 0x8000, xSign = xSe & 0x8000;
  const yInf = isInf80(ySig, ySe), yZero = ySig == 0;
  const xInf = isInf80(xSig, xSe);
  if (xInf && (xSign || yZero) || yInf && xSig == 0) {
    invalid(f);
    return;
  }
  if (isDenormal(ySig, ySe) || isDenormal(xSig, xSe)) f.flags |= DE;
  if (xInf || yInf) {
    result(f, TOP64, (ySign ^ xSign) | 0x7fff);
    return;
  }
  if (yZero || xSig == 0) {
    result(f, 0, ySign ^ xSign);
    return;
  }
  unpack(f, ySig, ySe);
  const y = f.hi, yExp = f.exp;
  unpack(f, xSig, xSe);
  const x = f.hi, e = f.exp - BIAS;
  let sign = xSign;
  if (e < -2) {
    // z = x / (2 + x), the divisor aligned to 2 or, when below, to 1
    const shift = <u64>(xSign ? -e : 1 - e);
    let h: u64 = 0, l: u64 = 0;
    if (shift < 64) {
      h = x >> shift;
      l = x << (64 - shift);
    } else if (shift < 128) l = x >> (shift - 64);
    if (xSign && (h | l) != 0) divide(f, x, 0, f.exp, 0 - h - u64(l != 0), 0 - l, BIAS);
    else divide(f, x, 0, f.exp, TOP64 | h, l, BIAS + 1);
    logOfRatio(f);
  } else {
    if (xSign && e >= 0) { // no logarithm; undefined, and the hardware leaves x
      f.flags |= PE;
      result(f, xSig, xSe);
      return;
    }
    f.lo = 0;
    if (e < 64) {
      // 1 + x with 64 integer bits, exact
      let h: u64 = e < 0 ? 0 : x >> <u64>(63 - e);
      let l: u64 = e < 0 ? x >> <u64>(-1 - e) : e == 63 ? 0 : x << <u64>(e + 1);
      let rest: u64 = e < -1 ? x << 63 : 0;
      if (xSign) {
        h = <u64>-1;
        l = 0 - l - u64(rest != 0);
        rest = 0 - rest;
      }
      h++;
      f.exp = BIAS + 63;
      if (h == 0 && e == 63) {
        h = TOP64;
        f.exp++;
      } else if (h == 0) {
        h = l;
        l = rest;
        f.exp -= 64;
      }
      f.hi = h;
      f.lo = l;
      normalise(f);
      if (!xSign) f.lo |= rest >> 1; // one bit, and 1 + x is below 2
    }
    sign = log2Wide(f);
  }
  multiply(f, y, 0, yExp);
  round128(f, ySign ^ sign, true);
}
