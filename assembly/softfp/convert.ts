// Conversions to and from single, double, integers and packed BCD; rounding to an integer; comparison and classification.
import {
  Fp, IE, DE, OE, UE, PE, C0, C1, C2, C3, BIAS, TOP64, result, special1, roundsUp, isNaN80, isInf80, isUnsupported, isSignaling,
  isDenormal,
} from "./fp";

/** Widens without judging: a signalling NaN stays one. A denormal raises DE. */
export function fromSingle(f: Fp, v: u32): void {
  const exp = (v >> 23) & 0xff;
  const sign = v >> 31 << 15;
  const frac = <u64>(v & 0x7f_ffff) << 40;
  if (exp - 1 < 0xfe) {
    result(f, TOP64 | frac, sign | (exp + (BIAS - 127)));
    return;
  }
  widen(f, sign, exp, frac, BIAS - 126);
}

export function fromDouble(f: Fp, v: u64): void {
  const exp = <u32>(v >> 52) & 0x7ff;
  const sign = <u32>(v >> 63) << 15;
  const frac = (v & 0xf_ffff_ffff_ffff) << 11;
  if (exp - 1 < 0x7fe) {
    result(f, TOP64 | frac, sign | (exp + (BIAS - 1023)));
    return;
  }
  widen(f, sign, exp, frac, BIAS - 1022);
}

function widen(f: Fp, sign: u32, exp: u32, frac: u64, least: i32): void {
  if (exp) result(f, TOP64 | frac, sign | 0x7fff);
  else if (frac == 0) result(f, 0, sign);
  else {
    f.flags |= DE;
    const n = clz(frac);
    result(f, frac << n, sign | <u32>(least - <i32>n));
  }
}

export function fromInt(f: Fp, v: i64): void {
  if (v == 0) {
    result(f, 0, 0);
    return;
  }
  const m = v < 0 ? 0 - <u64>v : <u64>v;
  const n = clz(m);
  result(f, m << n, (v < 0 ? 0x8000 : 0) | (BIAS + 63 - <u32>n));
}

/** The bits of the value as a single (frac 23, expBits 8) or double (52, 11). Unmasked OE or UE: the flag alone counts. */
function narrow(f: Fp, sig: u64, se: u32, frac: u64, bias: i32): u64 {
  const rc = (f.cw >> 10) & 3;
  const drop = 63 - frac;
  const sign = se & 0x8000;
  const top = <u64>(sign >> 15) << (frac == 23 ? 31 : 63);
  const maxExp = (<u64>bias << 1) | 1;
  if (special1(f, sig, se)) {
    return (<u64>(f.se >> 15) << (frac == 23 ? 31 : 63)) | maxExp << frac | (f.sig & ~TOP64) >> drop;
  }
  if (isInf80(sig, se)) return top | maxExp << frac;
  if (sig == 0) return top;
  let exp = <i32>(se & 0x7fff);
  if (exp == 0) exp = 1;
  const n = clz(sig);
  sig <<= n;
  exp += bias - BIAS - <i32>n;
  const unit = <u64>1 << drop;
  let x = sig << (64 - drop), s = sig & ~(unit - 1), e = exp;
  let up = roundsUp(rc, sign, (s & unit) != 0, x);
  if (up) {
    s += unit;
    if (s == 0) {
      s = TOP64;
      e++;
    }
  }
  if (e >= <i32>maxExp) {
    f.flags |= OE;
    if ((f.cw & OE) == 0) return 0;
    f.flags |= PE;
    if (rc == 0 || rc == (sign ? 1 : 2)) {
      f.flags |= C1;
      return top | maxExp << frac;
    }
    return top | ((maxExp << frac) - 1);
  }
  if (e < 1) {
    if ((f.cw & UE) == 0) {
      f.flags |= UE;
      return 0;
    }
    const shift = <u64>(1 - exp) + drop;
    if (shift < 64) {
      x = sig << (64 - shift);
      s = sig >> shift;
    } else {
      x = shift == 64 ? sig : 1;
      s = 0;
    }
    up = roundsUp(rc, sign, (s & 1) != 0, x);
    if (x) f.flags |= UE | PE | (up ? C1 : 0);
    return top | (s + u64(up));
  }
  if (x) f.flags |= PE | (up ? C1 : 0);
  return top | <u64>e << frac | (s & ~TOP64) >> drop;
}

export function toSingle(f: Fp, sig: u64, se: u32): u32 { return <u32>narrow(f, sig, se, 23, 127); }
export function toDouble(f: Fp, sig: u64, se: u32): u64 { return narrow(f, sig, se, 52, 1023); }

/** Magnitude of the value rounded by `rc`; raises PE and C1. The caller knows that it is finite and below 2^64; a carry out gives 0. */
function magnitude(f: Fp, sig: u64, se: u32, rc: u32): u64 {
  const shift = BIAS + 63 - <i32>(se & 0x7fff);
  if (shift <= 0) return sig;
  let x: u64 = sig, s: u64 = 0;
  if (shift < 64) {
    s = sig >> <u64>shift;
    x = sig << <u64>(64 - shift);
  } else if (shift > 64) x = u64(sig != 0);
  if (x) {
    f.flags |= PE;
    if (roundsUp(rc, se & 0x8000, (s & 1) != 0, x)) {
      f.flags |= C1;
      s++;
    }
  }
  return s;
}

/** Rounds to a signed integer of `bits` bits; out of range, NaN: IE and the integer indefinite. */
export function toInt(f: Fp, sig: u64, se: u32, bits: u32, rc: u32): i64 {
  const before = f.flags;
  const limit = <u64>1 << (bits - 1);
  const exp = <i32>(se & 0x7fff);
  if (exp < BIAS + 64 && !isUnsupported(sig, se)) {
    const m = magnitude(f, sig, se, rc);
    const negative = (se & 0x8000) != 0;
    // A carry out of 64 bits cannot be told from 0 but by the exponent.
    const carried = m == 0 && exp == BIAS + 63;
    if (!carried && (negative ? m <= limit : m < limit)) return negative ? 0 - <i64>m : <i64>m;
  }
  f.flags = before | IE;
  return 0 - <i64>limit;
}

/** FRNDINT. */
export function roundInt80(f: Fp, sig: u64, se: u32): void {
  if (special1(f, sig, se)) return;
  const exp = <i32>(se & 0x7fff);
  if (sig == 0 || exp >= BIAS + 63) {
    result(f, sig, se);
    return;
  }
  if (exp == 0) f.flags |= DE;
  const m = magnitude(f, sig, se, (f.cw >> 10) & 3);
  if (m == 0) {
    result(f, 0, se & 0x8000);
    return;
  }
  const n = clz(m);
  result(f, m << n, (se & 0x8000) | (BIAS + 63 - <u32>n));
}

/** 18 packed digits to a number; `hi` holds the sign in bit 15 and the two upper digits. */
export function fromBcd(f: Fp, lo: u64, hi: u32): void {
  let v: u64 = <u64>((hi >> 4) & 15) * 10 + (hi & 15);
  for (let k = 60; k >= 0; k -= 4) v = v * 10 + ((lo >> <u64>k) & 15);
  fromInt(f, <i64>v);
  f.se |= hi & 0x8000;
}

/** Packs 18 digits: f.lo is the low part, the answer the upper 16 bits. Out of range, NaN: IE and the packed indefinite. */
export function toBcd(f: Fp, sig: u64, se: u32): u32 {
  const before = f.flags;
  if (<i32>(se & 0x7fff) < BIAS + 63 && !isUnsupported(sig, se)) {
    let m = magnitude(f, sig, se, (f.cw >> 10) & 3);
    if (m < 1_000_000_000_000_000_000) {
      let lo: u64 = 0;
      for (let k: u64 = 0; k < 64; k += 4) {
        const t = m / 10;
        lo |= (m - t * 10) << k;
        m = t;
      }
      f.lo = lo;
      return (se & 0x8000) | <u32>(m / 10) << 4 | <u32>(m % 10);
    }
  }
  f.flags = before | IE;
  f.lo = 0xc000_0000_0000_0000;
  return 0xffff;
}

/** Condition codes C3, C2, C0 of a against b; `quiet` compares raise IE for signalling NaNs only. */
export function compare80(f: Fp, aSig: u64, aSe: u32, bSig: u64, bSe: u32, quiet: bool): void {
  if (isUnsupported(aSig, aSe) || isUnsupported(bSig, bSe)) {
    f.flags = (f.flags & ~DE) | IE | C0 | C2 | C3;
    return;
  }
  if (isNaN80(aSig, aSe) || isNaN80(bSig, bSe)) {
    f.flags = (f.flags & ~DE) | C0 | C2 | C3;
    if (!quiet || isSignaling(aSig, aSe) || isSignaling(bSig, bSe)) f.flags |= IE;
    return;
  }
  if (isDenormal(aSig, aSe) || isDenormal(bSig, bSe)) f.flags |= DE;
  if ((aSig | bSig) == 0) {
    f.flags |= C3;
    return;
  }
  // A pseudo-denormal has the value of exponent 1.
  let aExp = aSe & 0x7fff, bExp = bSe & 0x7fff;
  if (aExp == 0 && <i64>aSig < 0) aExp = 1;
  if (bExp == 0 && <i64>bSig < 0) bExp = 1;
  const aNeg = (aSe & 0x8000) != 0;
  if (((aSe ^ bSe) & 0x8000) != 0) f.flags |= aNeg ? C0 : 0;
  else if (aExp == bExp && aSig == bSig) f.flags |= C3;
  else if ((aExp != bExp ? aExp < bExp : aSig < bSig) != aNeg) f.flags |= C0;
}

/** FXAM's class of a value that is not empty, with the sign in C1. */
export function classify(sig: u64, se: u32): u32 {
  const sign = se & 0x8000 ? C1 : 0;
  const exp = se & 0x7fff;
  if (exp == 0) return sign | (sig == 0 ? C3 : C3 | C2);
  if (<i64>sig >= 0) return sign;
  if (exp != 0x7fff) return sign | C2;
  return sign | (sig == TOP64 ? C2 | C0 : C0);
}
