// Addition, multiplication, division, square root, remainder and scaling.
import {
  Fp, DE, ZE, C0, C1, C2, C3, BIAS, TOP64, mulHi, div128, isNormal, isInf80, isDenormal, result, invalid, special1, special2, round, round64, unpack,
} from "./fp";

/** a + b; `negate` is 0x8000 for a - b. */
export function add80(f: Fp, aSig: u64, aSe: u32, bSig: u64, bSe: u32, negate: u32): void {
  if (isNormal(aSig, aSe) && isNormal(bSig, bSe)) {
    addFinite(f, aSe & 0x8000, <i32>(aSe & 0x7fff), aSig, (bSe ^ negate) & 0x8000, <i32>(bSe & 0x7fff), bSig);
    return;
  }
  if (special2(f, aSig, aSe, bSig, bSe)) return;
  bSe ^= negate;
  const aInf = isInf80(aSig, aSe), bInf = isInf80(bSig, bSe);
  if (aInf && bInf && aSe != bSe) {
    invalid(f);
    return;
  }
  if (aInf || bInf) {
    if (isDenormal(aSig, aSe) || isDenormal(bSig, bSe)) f.flags |= DE;
    result(f, TOP64, aInf ? aSe : bSe);
    return;
  }
  if (aSig == 0 && bSig == 0) {
    result(f, 0, aSe == bSe ? aSe : zeroSign(f));
    return;
  }
  if (aSig == 0) {
    unpack(f, bSig, bSe);
    round(f, bSe & 0x8000, f.exp, f.hi, 0);
    return;
  }
  unpack(f, aSig, aSe);
  const aExp = f.exp;
  aSig = f.hi;
  if (bSig == 0) {
    round(f, aSe & 0x8000, aExp, aSig, 0);
    return;
  }
  unpack(f, bSig, bSe);
  addFinite(f, aSe & 0x8000, aExp, aSig, bSe & 0x8000, f.exp, f.hi);
}

// @ts-ignore: decorator
@inline function zeroSign(f: Fp): u32 { return ((f.cw >> 10) & 3) == 1 ? 0x8000 : 0; }

function addFinite(f: Fp, aSign: u32, aExp: i32, aSig: u64, bSign: u32, bExp: i32, bSig: u64): void {
  if (aExp < bExp || (aExp == bExp && aSig < bSig)) {
    const s = aSign, e = aExp, g = aSig;
    aSign = bSign;
    aExp = bExp;
    aSig = bSig;
    bSign = s;
    bExp = e;
    bSig = g;
  }
  const d = <u64>(aExp - bExp);
  let ext: u64 = 0;
  if (d) {
    if (d < 64) {
      ext = bSig << (64 - d);
      bSig >>= d;
    } else {
      ext = d == 64 ? bSig : d < 128 ? bSig >> (d - 64) | u64(bSig << (128 - d) != 0) : 1;
      bSig = 0;
    }
  }
  if (aSign == bSign) {
    let s = aSig + bSig;
    if (s < aSig) {
      ext = s << 63 | ext >> 1 | (ext & 1);
      s = s >> 1 | TOP64;
      aExp++;
    }
    round(f, aSign, aExp, s, ext);
    return;
  }
  let s = aSig - bSig - u64(ext != 0);
  ext = 0 - ext;
  if (<i64>s >= 0) {
    if (s == 0) {
      if (ext == 0) {
        result(f, 0, zeroSign(f));
        return;
      }
      s = ext;
      ext = 0;
      aExp -= 64;
    }
    const n = clz(s);
    if (n) {
      s = s << n | ext >> (64 - n);
      ext <<= n;
      aExp -= <i32>n;
    }
  }
  round(f, aSign, aExp, s, ext);
}

export function mul80(f: Fp, aSig: u64, aSe: u32, bSig: u64, bSe: u32): void {
  const sign = (aSe ^ bSe) & 0x8000;
  let aExp = <i32>(aSe & 0x7fff), bExp = <i32>(bSe & 0x7fff);
  if (!isNormal(aSig, aSe) || !isNormal(bSig, bSe)) {
    if (special2(f, aSig, aSe, bSig, bSe)) return;
    const aInf = isInf80(aSig, aSe), bInf = isInf80(bSig, bSe);
    if (aInf || bInf) {
      if (aSig == 0 || bSig == 0) invalid(f);
      else {
        if (isDenormal(aSig, aSe) || isDenormal(bSig, bSe)) f.flags |= DE;
        result(f, TOP64, sign | 0x7fff);
      }
      return;
    }
    if (aSig == 0 || bSig == 0) {
      if (isDenormal(aSig, aSe) || isDenormal(bSig, bSe)) f.flags |= DE;
      result(f, 0, sign);
      return;
    }
    unpack(f, aSig, aSe);
    aExp = f.exp;
    aSig = f.hi;
    unpack(f, bSig, bSe);
    bExp = f.exp;
    bSig = f.hi;
  }
  let hi = mulHi(aSig, bSig), lo = aSig * bSig;
  let exp = aExp + bExp - (BIAS - 1);
  if (<i64>hi >= 0) {
    hi = hi << 1 | lo >> 63;
    lo <<= 1;
    exp--;
  }
  round(f, sign, exp, hi, lo);
}

export function div80(f: Fp, aSig: u64, aSe: u32, bSig: u64, bSe: u32): void {
  const sign = (aSe ^ bSe) & 0x8000;
  let aExp = <i32>(aSe & 0x7fff), bExp = <i32>(bSe & 0x7fff);
  if (!isNormal(aSig, aSe) || !isNormal(bSig, bSe)) {
    if (special2(f, aSig, aSe, bSig, bSe)) return;
    const aInf = isInf80(aSig, aSe), bInf = isInf80(bSig, bSe);
    if (aInf && bInf || aSig == 0 && bSig == 0) {
      invalid(f);
      return;
    }
    if (bSig == 0) {
      if (!aInf) f.flags = (f.flags & ~DE) | ZE;
      result(f, TOP64, sign | 0x7fff);
      return;
    }
    if (isDenormal(aSig, aSe) || isDenormal(bSig, bSe)) f.flags |= DE;
    if (aInf) {
      result(f, TOP64, sign | 0x7fff);
      return;
    }
    if (bInf || aSig == 0) {
      result(f, 0, sign);
      return;
    }
    unpack(f, aSig, aSe);
    aExp = f.exp;
    aSig = f.hi;
    unpack(f, bSig, bSe);
    bExp = f.exp;
    bSig = f.hi;
  }
  let exp = aExp - bExp + BIAS;
  let hi = aSig, lo: u64 = 0;
  if (aSig >= bSig) {
    hi = aSig >> 1;
    lo = aSig << 63;
  } else exp--;
  const q = div128(hi, lo, bSig);
  const r = lo - q * bSig;
  let ext: u64 = 0;
  if (r) ext = <i64>r < 0 || r << 1 > bSig ? TOP64 | 1 : r << 1 == bSig ? TOP64 : 1;
  round(f, sign, exp, q, ext);
}

export function sqrt80(f: Fp, sig: u64, se: u32): void {
  if (!isNormal(sig, se)) {
    if (special1(f, sig, se)) return;
    if (sig == 0) {
      result(f, 0, se);
      return;
    }
  }
  if (se & 0x8000) {
    invalid(f);
    return;
  }
  if (isInf80(sig, se)) {
    result(f, sig, se);
    return;
  }
  unpack(f, sig, se);
  const e = f.exp - BIAS;
  let hi = f.hi, lo: u64 = 0;
  if ((e & 1) == 0) {
    lo = hi << 63;
    hi >>= 1;
  }
  // A guess from below, good to 50 bits, one Newton step, and at most a unit or two of correction.
  let s = <u64>(sqrt<f64>(<f64>hi) * 4294967296.0 - 8192.0);
  let p = mulHi(s, s), q = s * s;
  let rl = lo - q, rh = hi - p - u64(lo < q);
  s += (rh << 48 | rl >> 16) / (s >> 15);
  p = mulHi(s, s);
  q = s * s;
  rl = lo - q;
  rh = hi - p - u64(lo < q);
  while (<i64>rh < 0) {
    s--;
    const add = s << 1 | 1;
    rl += add;
    rh += (s >> 63) + u64(rl < add);
  }
  while (rh > s >> 63 || (rh == s >> 63 && rl > s << 1)) {
    const sub = s << 1 | 1;
    rh -= (s >> 63) + u64(rl < sub);
    rl -= sub;
    s++;
  }
  round(f, 0, BIAS + (e >> 1), s, (rh | rl) == 0 ? 0 : rh != 0 || rl > s ? TOP64 | 1 : 1);
}

/** FPREM, or FPREM1 with `nearest`: remainder of a / b, quotient bits and C2 in the flags; f.q is 0 when there is no quotient. */
export function rem80(f: Fp, aSig: u64, aSe: u32, bSig: u64, bSe: u32, nearest: bool): void {
  f.q = 0;
  if (!isNormal(aSig, aSe) || !isNormal(bSig, bSe)) {
    if (special2(f, aSig, aSe, bSig, bSe)) return;
    if (isInf80(aSig, aSe) || bSig == 0) {
      invalid(f);
      return;
    }
    f.q = 1;
    if (isDenormal(aSig, aSe) || isDenormal(bSig, bSe)) f.flags |= DE;
    if (aSig == 0) {
      result(f, aSig, aSe);
      return;
    }
    if (isInf80(bSig, bSe)) {
      unpack(f, aSig, aSe);
      round64(f, aSe & 0x8000, f.exp, f.hi, 0);
      return;
    }
  }
  f.q = 1;
  unpack(f, bSig, bSe);
  const b = f.hi, bExp = f.exp;
  unpack(f, aSig, aSe);
  let r = f.hi, exp = f.exp;
  const d = exp - bExp;
  let sign = aSe & 0x8000;
  let q: u64 = 0;
  if (d < 0) {
    if (nearest && d == -1 && r > b) {
      r = (b << 1) - r;
      sign ^= 0x8000;
      q = 1;
    }
    finishRem(f, sign, exp, r, q);
    return;
  }
  const n = d < 64 ? d : (d & 31) | 32;
  if (r >= b) {
    r -= b;
    q = 1;
  }
  for (let k = 0; k < n; k++) {
    const over = <i64>r < 0;
    r <<= 1;
    q <<= 1;
    if (over || r >= b) {
      r -= b;
      q |= 1;
    }
  }
  exp -= n;
  if (d >= 64) {
    f.flags |= C2;
    q = 0;
  } else if (nearest) {
    const twice = r << 1;
    if (<i64>r < 0 || twice > b || (twice == b && (q & 1))) {
      r = b - r;
      sign ^= 0x8000;
      q++;
    }
  }
  finishRem(f, sign, exp, r, q);
}

function finishRem(f: Fp, sign: u32, exp: i32, r: u64, q: u64): void {
  if (r == 0) result(f, 0, sign);
  else {
    const n = clz(r);
    round64(f, sign, exp - <i32>n, r << n, 0);
  }
  f.flags |= (q & 1 ? C1 : 0) | (q & 2 ? C3 : 0) | (q & 4 ? C0 : 0);
}

/** FSCALE: a times 2 to the power of trunc(b). */
export function scale80(f: Fp, aSig: u64, aSe: u32, bSig: u64, bSe: u32): void {
  if (!isNormal(aSig, aSe) || !isNormal(bSig, bSe)) {
    if (special2(f, aSig, aSe, bSig, bSe)) return;
    const aInf = isInf80(aSig, aSe);
    if (isInf80(bSig, bSe)) {
      const down = (bSe & 0x8000) != 0;
      if (down ? aInf : aSig == 0) {
        invalid(f);
        return;
      }
      if (isDenormal(aSig, aSe)) f.flags |= DE;
      if (down) result(f, 0, aSe & 0x8000);
      else result(f, TOP64, aSe | 0x7fff);
      return;
    }
    if (isDenormal(aSig, aSe) || isDenormal(bSig, bSe)) f.flags |= DE;
    if (aInf || aSig == 0) {
      result(f, aSig, aSe);
      return;
    }
  }
  const e = <i32>(bSe & 0x7fff) - BIAS;
  let n = e < 0 ? 0 : e > 16 ? 0x1_ffff : <i32>(bSig >> <u64>(63 - e));
  if (bSe & 0x8000) n = -n;
  unpack(f, aSig, aSe);
  round64(f, aSe & 0x8000, f.exp + n, f.hi, 0);
}

/** FXTRACT: the significand is the result, the exponent goes to f.hi and f.exp as significand and sign-exponent. */
export function extract80(f: Fp, sig: u64, se: u32): void {
  if (special1(f, sig, se)) {
    f.hi = f.sig;
    f.exp = <i32>f.se;
    return;
  }
  if (sig == 0) {
    f.flags |= ZE;
    result(f, sig, se);
    f.hi = TOP64;
    f.exp = 0xffff;
    return;
  }
  if (isInf80(sig, se)) {
    result(f, sig, se);
    f.hi = TOP64;
    f.exp = 0x7fff;
    return;
  }
  unpack(f, sig, se);
  result(f, f.hi, (se & 0x8000) | BIAS);
  const e = f.exp - BIAS;
  const m = <u64>abs<i32>(e);
  const n = clz(m);
  f.hi = e ? m << n : 0;
  f.exp = e ? (e < 0 ? 0x8000 : 0) | (BIAS + 63 - <i32>n) : 0;
}
