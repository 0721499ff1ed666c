// FSIN, FCOS, FPTAN, FPATAN: 128-bit series, so that the results are within a hair of half an ulp. Arguments are reduced exactly by the
// 66-bit pi of the hardware (SDM vol. 1, 8.3.8).
import {
  Fp, DE, C2, BIAS, TOP64, mulHi, result, invalid, special1, special2, isInf80, isDenormal, unpack, round128,
} from "./fp";
import { mulWide, multiply, divide, normalise, toFraction, series, oneMinus } from "./fixed";
import { inverseFactorials, inverseOdds, arcTangents, PI_4_HI, PI_4_LO } from "./tables";

const PI66_HI: u64 = 3; // pi / 2 scaled by 2^65
const PI66_LO: u64 = 0x243f_6a88_85a3_08d3;

/** What FSIN, FCOS and FPTAN ask of their operand first. */
namespace Ask {
  export const SIN: u32 = 0;
  export const COS: u32 = 1;
  export const TAN: u32 = 2;
}

/** f = |x| modulo pi/2, between -pi/4 and pi/4 (magnitude, wide); f.q is the quadrant * 2 + 1 when it is negative. */
function reduce(f: Fp): void {
  const n = f.exp - BIAS + 2;
  if (n < 1) {
    f.lo = 0;
    f.q = 0;
    return;
  }
  let rh: u64 = 0, rl = f.hi;
  let q: u32 = 0;
  for (let k = 0; k < n; k++) {
    rh = rh << 1 | rl >> 63;
    rl <<= 1;
    q <<= 1;
    if (rh > PI66_HI || (rh == PI66_HI && rl >= PI66_LO)) {
      rh -= PI66_HI + u64(rl < PI66_LO);
      rl -= PI66_LO;
      q |= 1;
    }
  }
  const th = rh << 1 | rl >> 63, tl = rl << 1;
  let negative: u32 = 0;
  if (th > PI66_HI || (th == PI66_HI && tl > PI66_LO)) {
    rh = PI66_HI - rh - u64(PI66_LO < rl);
    rl = PI66_LO - rl;
    negative = 1;
    q++;
  }
  f.hi = rh;
  f.lo = rl;
  f.exp = BIAS + 62;
  f.q = (q & 3) << 1 | negative;
  normalise(f);
}

/** f = cos f for a wide f up to pi / 4. */
function cosine(f: Fp): void {
  toFraction(f);
  mulWide(f, f.hi2, f.lo2, f.hi2, f.lo2);
  series(f, f.hi, f.lo, inverseFactorials(), 32, 12, true);
  oneMinus(f);
}

function sine(f: Fp): void {
  const hi = f.hi, lo = f.lo, exp = f.exp;
  toFraction(f);
  mulWide(f, f.hi2, f.lo2, f.hi2, f.lo2);
  series(f, f.hi, f.lo, inverseFactorials() + 16, 32, 12, true);
  oneMinus(f);
  multiply(f, hi, lo, exp);
}

function trig(f: Fp, sig: u64, se: u32, ask: u32): void {
  if (special1(f, sig, se)) return;
  if (isInf80(sig, se)) {
    invalid(f);
    return;
  }
  if (sig == 0) {
    if (ask == Ask.COS) result(f, TOP64, BIAS);
    else result(f, sig, se);
    return;
  }
  let sign = se & 0x8000;
  unpack(f, sig, se);
  if (f.exp >= BIAS + 63) {
    f.flags |= C2;
    result(f, sig, se);
    return;
  }
  reduce(f);
  const quadrant = f.q >> 1;
  const flip = (f.q & 1) << 15;
  if (ask == Ask.SIN) {
    if (quadrant & 1) cosine(f);
    else {
      sine(f);
      sign ^= flip;
    }
    if (quadrant & 2) sign ^= 0x8000;
  } else if (ask == Ask.COS) {
    sign = quadrant == 1 || quadrant == 2 ? 0x8000 : 0;
    if (quadrant & 1) {
      sine(f);
      sign ^= flip;
    } else cosine(f);
  } else {
    const hi = f.hi, lo = f.lo, exp = f.exp;
    if (exp < BIAS - 40) {
      // x + x^3 / 3, and x alone is right to 80 bits
      if (quadrant & 1) {
        divide(f, TOP64, 0, BIAS, hi, lo, exp);
        sign ^= 0x8000;
      } else f.lo |= 1;
      round128(f, sign ^ flip, true);
      return;
    }
    cosine(f);
    const ch = f.hi, cl = f.lo, ce = f.exp;
    f.hi = hi;
    f.lo = lo;
    f.exp = exp;
    sine(f);
    if (quadrant & 1) {
      divide(f, ch, cl, ce, f.hi, f.lo, f.exp);
      sign ^= 0x8000;
    } else divide(f, f.hi, f.lo, f.exp, ch, cl, ce);
    sign ^= flip;
  }
  round128(f, sign, true);
}

export function sin80(f: Fp, sig: u64, se: u32): void { trig(f, sig, se, Ask.SIN); }
export function cos80(f: Fp, sig: u64, se: u32): void { trig(f, sig, se, Ask.COS); }
export function tan80(f: Fp, sig: u64, se: u32): void { trig(f, sig, se, Ask.TAN); }

/** sign * quarters * pi / 4, rounded. */
function quarterPi(f: Fp, sign: u32, quarters: u64): void {
  const lo = PI_4_LO >> 2 | PI_4_HI << 62;
  f.hi = (PI_4_HI >> 2) * quarters + mulHi(lo, quarters);
  f.lo = lo * quarters;
  f.exp = BIAS + 1;
  round128(f, sign, true);
}

/** FPATAN: the angle of the point x, y. */
export function atan80(f: Fp, ySig: u64, ySe: u32, xSig: u64, xSe: u32): void {
  if (special2(f, ySig, ySe, xSig, xSe)) return;
  if (isDenormal(ySig, ySe) || isDenormal(xSig, xSe)) f.flags |= DE;
  const sign = ySe & 0x8000;
  const left = (xSe & 0x8000) != 0;
  const yInf = isInf80(ySig, ySe), xInf = isInf80(xSig, xSe);
  if (yInf || xInf) {
    if (yInf && xInf) quarterPi(f, sign, left ? 3 : 1);
    else if (yInf) quarterPi(f, sign, 2);
    else if (left) quarterPi(f, sign, 4);
    else result(f, 0, sign);
    return;
  }
  if (ySig == 0) {
    if (left) quarterPi(f, sign, 4);
    else result(f, 0, sign);
    return;
  }
  if (xSig == 0) {
    quarterPi(f, sign, 2);
    return;
  }
  unpack(f, ySig, ySe);
  let n = f.hi, nExp = f.exp;
  unpack(f, xSig, xSe);
  let d = f.hi, dExp = f.exp;
  const swap = nExp > dExp || (nExp == dExp && n > d);
  if (swap) {
    const s = n, e = nExp;
    n = d;
    nExp = dExp;
    d = s;
    dExp = e;
  }
  const shift = dExp - nExp;
  let k: u32 = 0;
  if (shift < 7) k = <u32>(<f64>n / <f64>d * (32.0 / <f64>(1 << shift)) + 0.5);
  let negative = false;
  if (k == 0) divide(f, n, 0, nExp, d, 0, dExp);
  else {
    // atan(n/d) = atan(k/32) + atan((32 n - k d) / (32 d + k n)), all exact in 128 bits
    const a = <u64>(48 - shift);
    const ah = n >> (64 - a), al = n << a;
    const bh = d >> 16, bl = d << 48;
    let th = ah << 5 | al >> 59, tl = al << 5;
    let uh = bh * k + ((bl >> 32) * k >> 32), ul = bl * k; // bl has 48 zero bits below
    negative = th < uh || (th == uh && tl < ul);
    if (negative) {
      const h = th, l = tl;
      th = uh;
      tl = ul;
      uh = h;
      ul = l;
    }
    th = th - uh - u64(tl < ul);
    tl -= ul;
    if ((th | tl) == 0) {
      f.hi = 0;
      f.lo = 0;
    } else {
      // ah:al is n << a with n below 2^64, so k * ah:al needs a carry from the lower word
      const carry = ((al & 0xffff_ffff) * k >> 32) + (al >> 32) * k >> 32;
      let vh = ah * k + carry, vl = al * k;
      const wl = bl << 5;
      vl += wl;
      vh += (bh << 5 | bl >> 59) + u64(vl < wl);
      const s = clz(vh);
      vh = vh << s | (s ? vl >> (64 - s) : 0);
      vl <<= s;
      f.hi = th;
      f.lo = tl;
      f.exp = BIAS;
      normalise(f);
      divide(f, f.hi, f.lo, f.exp, vh, vl, BIAS - <i32>s);
    }
  }
  if (f.hi) {
    const hi = f.hi, lo = f.lo, exp = f.exp;
    toFraction(f);
    mulWide(f, f.hi2, f.lo2, f.hi2, f.lo2);
    series(f, f.hi, f.lo, inverseOdds(), 16, 7, true);
    oneMinus(f);
    multiply(f, hi, lo, exp);
  }
  if (k == 0 && !swap && !left) {
    round128(f, sign, true);
    return;
  }
  if (f.hi) toFraction(f);
  else {
    f.hi2 = 0;
    f.lo2 = 0;
  }
  let h = f.hi2, l = f.lo2;
  const t = arcTangents() + <usize>k * 16;
  const ch = load<u64>(t), cl = load<u64>(t, 8);
  if (negative) {
    h = ch - h - u64(cl < l);
    l = cl - l;
  } else {
    l += cl;
    h += ch + u64(l < cl);
  }
  // Now with two integer bits.
  l = l >> 2 | h << 62;
  h >>= 2;
  if (swap || left) {
    // pi / 2 -+ a, or pi - a
    const full = !swap;
    const ph = full ? PI_4_HI : PI_4_HI >> 1, pl = full ? PI_4_LO : PI_4_LO >> 1 | PI_4_HI << 63;
    if (swap && left) {
      l += pl;
      h += ph + u64(l < pl);
    } else {
      h = ph - h - u64(pl < l);
      l = pl - l;
    }
  }
  f.hi = h;
  f.lo = l;
  f.exp = BIAS + 1;
  round128(f, sign, true);
}
