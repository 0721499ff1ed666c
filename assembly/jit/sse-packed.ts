// Packed SSE arithmetic in compiled code, on the terms of sse-scalar.ts: every lane must be one that the host may compute.
import { Insn, isMem } from "../decode/insn";
import { brIf, fast, join, operandAddress, pushRm, rare, skip, slowResult, slowly } from "./sse-operand";
import { Fact, V, X, factsOf, learn, needGuard, simd, vget, vset, whole } from "./sse-reg";
import { W, get, i32c, i64c, op, set, simdMem } from "./wasm";

// Constants of 16 bytes each, for singles, then for doubles.
const KEYS = memory.data<u32>([
  0x7fff_ffff, 0x7fff_ffff, 0x7fff_ffff, 0x7fff_ffff, // magnitude
  0x0080_0000, 0x0080_0000, 0x0080_0000, 0x0080_0000, // least normal
  0x0100_0000, 0x0100_0000, 0x0100_0000, 0x0100_0000, // twice that
  0x7f7f_ffff, 0x7f7f_ffff, 0x7f7f_ffff, 0x7f7f_ffff, // greatest
  0xffff_ffff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff,
  0, 0x0010_0000, 0, 0x0010_0000,
  0, 0x0020_0000, 0, 0x0020_0000,
  0xffff_ffff, 0x7fef_ffff, 0xffff_ffff, 0x7fef_ffff,
], 16);
const MAGNITUDE: u32 = 0;
const LEAST: u32 = 16;
const TWICE: u32 = 32;
const GREATEST: u32 = 48;

function key(which: u32, double: bool): void {
  i32c(<i32>(<u32>KEYS + which + (double ? 64 : 0)));
  simdMem(V.LOAD, 0);
}
// @ts-ignore: decorator
@inline function bothFacts(double: bool): u32 { return double ? Fact.D | Fact.DD : Fact.S | Fact.SSSS; }
// @ts-ignore: decorator
@inline function known(n: u32, double: bool): bool { return (factsOf(n) & (double ? Fact.DD : Fact.SSSS)) != 0; }

/** Branches unless all lanes of a local are normal numbers of at least `least`, or with `zero` zeros. */
function unlessAll(local: u32, double: bool, least: u32, zero: bool, depth: u32): void {
  get(local);
  key(MAGNITUDE, double);
  simd(V.AND);
  set(X.V2);
  get(X.V2);
  key(least, double);
  simd(double ? V.F64_GE : V.F32_GE);
  get(X.V2);
  key(GREATEST, double);
  simd(double ? V.F64_LE : V.F32_LE);
  simd(V.AND);
  if (zero) {
    get(X.V2);
    i32c(0);
    simd(V.I32_SPLAT);
    simd(double ? V.F64_EQ : V.F32_EQ);
    simd(V.OR);
  }
  simd(double ? V.I64_BITMASK : V.I32_BITMASK);
  i32c(double ? 3 : 15);
  op(W.I32_NE);
  brIf(depth, false);
}
function unlessPlain(local: u32, double: bool, isKnown: bool, depth: u32): void {
  if (!isKnown) unlessAll(local, double, LEAST, true, depth);
}

/** The rm operand's local. */
function vectorRm(i: Insn): u32 {
  if (!isMem(i)) {
    whole(i.b);
    return X.XMM + i.b;
  }
  pushRm(i);
  set(X.V1);
  return X.V1;
}
function reload(): void {
  slowResult(0);
  set(X.V0);
}

function laneOp(o: u32, double: bool): u32 {
  const base: u32 = double ? 239 : 227;
  switch (o) {
    case 0x51: return base;
    case 0x58: return base + 1;
    case 0x59: return base + 3;
    case 0x5c: return base + 2;
    case 0x5e: return base + 4;
    case 0x5d: return base + 7;
    default: return base + 8; // 5F
  }
}

/** SQRT ADD MUL SUB MIN DIV MAX of packed singles or doubles. */
export function packedArithmetic(i: Insn, o: u32, double: bool): void {
  const b = vectorRm(i);
  const unary = o == 0x51;
  if (!unary) whole(i.a);
  const a = unary ? b : X.XMM + i.a;
  const select = o == 0x5d || o == 0x5f;
  needGuard();
  if (select) {
    get(b);
    get(a);
  } else {
    if (!unary) get(a);
    get(b);
  }
  simd(laneOp(o, double));
  set(X.V0);
  const knownA = unary || known(i.a, double), knownB = !isMem(i) && known(i.b, double);
  if (!(select && knownA && knownB)) {
    fast();
    unlessPlain(a, double, knownA, 0);
    unlessPlain(b, double, knownB, 0);
    if (select) skip(1);
    else {
      get(X.GUARD_D);
      op(W.I32_EQZ);
      brIf(0, false);
      unlessAll(X.V0, double, TWICE, o == 0x58 || o == 0x5c, 0); // sums that are zero are exact
      skip(1);
    }
    rare();
    const facts = bothFacts(double);
    slowly(i, isMem(i) ? X.V1 : 0, facts | (isMem(i) ? 0 : facts << 4));
    reload();
    join();
  }
  if (!isMem(i)) learn(i.b, bothFacts(double));
  get(X.V0);
  vset(i.a, bothFacts(double));
}

/** CMPPS, CMPPD. */
export function packedCompare(i: Insn, double: bool): void {
  const b = vectorRm(i);
  whole(i.a);
  const a = X.XMM + i.a;
  const predicate = <u32>i.imm & 7;
  if ((predicate & 3) == 3) {
    i32c(0);
    simd(V.I32_SPLAT);
  } else {
    get(a);
    get(b);
    simd((double ? V.F64_EQ : V.F32_EQ) + ((predicate & 3) == 0 ? 0 : (predicate & 3) == 1 ? 2 : 4));
  }
  if (predicate & 4) simd(V.NOT);
  set(X.V0);
  const knownA = known(i.a, double), knownB = !isMem(i) && known(i.b, double);
  if (!(knownA && knownB)) {
    fast();
    unlessPlain(a, double, knownA, 0);
    unlessPlain(b, double, knownB, 0);
    skip(1);
    rare();
    slowly(i, isMem(i) ? X.V1 : 0, 0);
    reload();
    join();
  }
  get(X.V0);
  vset(i.a);
}

/** HADDPx, HSUBPx: sums of neighbours. */
export function horizontal(i: Insn, o: u32, double: bool): void {
  const b = vectorRm(i);
  whole(i.a);
  const a = X.XMM + i.a;
  needGuard();
  fast();
  unlessPlain(a, double, known(i.a, double), 0);
  unlessPlain(b, double, !isMem(i) && known(i.b, double), 0);
  get(X.GUARD_D);
  op(W.I32_EQZ);
  brIf(0, false);
  neighbours(a, b, double, 0);
  neighbours(a, b, double, 1);
  simd(laneOp(o == 0x7c ? 0x58 : 0x5c, double));
  set(X.V0);
  unlessAll(X.V0, double, TWICE, true, 0);
  skip(1);
  rare();
  const facts = bothFacts(double);
  slowly(i, isMem(i) ? X.V1 : 0, facts);
  reload();
  join();
  get(X.V0);
  vset(i.a, facts);
}
function neighbours(a: u32, b: u32, double: bool, odd: u32): void {
  get(a);
  get(b);
  simd(V.SHUFFLE);
  const size: u32 = double ? 8 : 4;
  for (let k: u32 = 0; k < 16; k++) op((k / size) * 2 * size + odd * size + k % size);
}

/** CVTDQ2PS: exact enough with the guard; CVTDQ2PD: exact. */
export function fromPackedInteger(i: Insn, double: bool): void {
  if (double) {
    if (isMem(i)) {
      operandAddress(i, 3, false);
      simdMem(V.LOAD64_ZERO, 0);
    } else vget(i.b);
    simd(V.F64_CONVERT);
    vset(i.a, Fact.D | Fact.DD);
    return;
  }
  get(vectorRm(i));
  simd(V.F32_CONVERT);
  set(X.V0);
  needGuard();
  fast();
  get(X.GUARD_D);
  brIf(1, true);
  rare();
  slowly(i, isMem(i) ? X.V1 : 0, 0);
  reload();
  join();
  get(X.V0);
  vset(i.a, Fact.S | Fact.SSSS);
}

/** CVTTPS2DQ and, with `nearest`, CVTPS2DQ. */
export function toPackedInteger(i: Insn, nearest: bool): void {
  const b = vectorRm(i);
  needGuard();
  fast();
  get(X.GUARD_D);
  op(W.I32_EQZ);
  brIf(0, false);
  // all below 2^31
  get(b);
  simd(224); // f32x4.abs
  i32c(0x4f00_0000);
  simd(V.I32_SPLAT);
  simd(V.F32_LT);
  simd(V.I32_BITMASK);
  i32c(15);
  op(W.I32_NE);
  brIf(0, false);
  get(b);
  if (nearest) simd(106);
  simd(248); // i32x4.trunc_sat_f32x4_s
  set(X.V0);
  skip(1);
  rare();
  slowly(i, isMem(i) ? X.V1 : 0, 0);
  reload();
  join();
  get(X.V0);
  vset(i.a);
}

/** CVTTPD2DQ and, with `nearest`, CVTPD2DQ. */
export function toPackedIntegerDouble(i: Insn, nearest: bool): void {
  const b = vectorRm(i);
  needGuard();
  fast();
  get(X.GUARD_D);
  op(W.I32_EQZ);
  brIf(0, false);
  get(b);
  simd(236); // f64x2.abs
  i64c(0x41df_ffff_ffc0_0000); // 2^31 - 1
  simd(18);
  simd(V.F64_LE);
  simd(V.I64_BITMASK);
  i32c(3);
  op(W.I32_NE);
  brIf(0, false);
  get(b);
  if (nearest) simd(148);
  simd(252); // i32x4.trunc_sat_f64x2_s_zero
  set(X.V0);
  skip(1);
  rare();
  slowly(i, isMem(i) ? X.V1 : 0, 0);
  reload();
  join();
  get(X.V0);
  vset(i.a);
}

/** CVTPS2PD and, with `narrow`, CVTPD2PS. */
export function packedPrecision(i: Insn, narrow: bool): void {
  let b: u32 = X.V1;
  if (narrow) b = vectorRm(i);
  else {
    // only two singles count
    if (isMem(i)) {
      operandAddress(i, 3, false);
      simdMem(V.LOAD64_ZERO, 0);
    } else {
      i32c(0);
      simd(V.I32_SPLAT);
      vget(i.b);
      simd(V.SHUFFLE);
      for (let k: u32 = 0; k < 16; k++) op(k < 8 ? 16 + k : 0);
    }
    set(b);
  }
  get(b);
  simd(narrow ? V.F32_DEMOTE : V.F64_PROMOTE);
  set(X.V0);
  needGuard();
  fast();
  unlessPlain(b, narrow, false, 0);
  if (narrow) {
    get(X.GUARD_D);
    op(W.I32_EQZ);
    brIf(0, false);
    // the upper lanes are zero and no matter
    get(X.V0);
    get(X.V0);
    simd(V.SHUFFLE);
    for (let k: u32 = 0; k < 16; k++) op(k & 7);
    set(X.V3);
    unlessAll(X.V3, false, TWICE, false, 0);
  }
  skip(1);
  rare();
  slowly(i, isMem(i) ? X.V1 : 0, 0);
  reload();
  join();
  get(X.V0);
  vset(i.a);
}
