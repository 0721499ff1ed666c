// Scalar SSE arithmetic in compiled code. The host computes; what it must not decide alone (NaNs, infinities, denormals, results near
// underflow, a MXCSR that wants more than rounding to nearest) goes to the core in a cold path.
import { Insn, isMem, rexW } from "../decode/insn";
import { known } from "./flags";
import { popReg, pushReg } from "./operands";
import {
  brIf, factOf, fast, join, operandAddress, rare, resultOk, skip, slowResult, slowly, unlessDenormal, unlessFinite, unlessOrdered,
} from "./sse-operand";
import {
  V, X, doubleOf, factsOf, lane, learn, needGuard, setDouble, setSingle, simd, singleOf,
} from "./sse-reg";
import { Fl } from "./state";
import { W, f32c, f64c, get, i32c, i64c, mem, op, saturate, set, tee } from "./wasm";

/** The first operand's local. */
// @ts-ignore: decorator
@inline function scalarOf(n: u32, double: bool): u32 { return double ? doubleOf(n) : singleOf(n); }
// @ts-ignore: decorator
@inline function result(double: bool): u32 { return double ? X.D0 : X.S0; }
// @ts-ignore: decorator
@inline function operand(double: bool): u32 { return double ? X.D1 : X.S1; }
// @ts-ignore: decorator
@inline function known0(n: u32, double: bool): bool { return (factsOf(n) & factOf(double)) != 0; }

/** The rm operand's local. */
export function scalarRm(i: Insn, double: bool): u32 {
  if (!isMem(i)) return scalarOf(i.b, double);
  operandAddress(i, double ? 3 : 2, false);
  mem(double ? W.F64_LOAD : W.F32_LOAD, 0);
  set(operand(double));
  return operand(double);
}
// @ts-ignore: decorator
@inline function rmKnown(i: Insn, double: bool): bool { return !isMem(i) && known0(i.b, double); }

/** Lane 0 of the destination as the core has it. */
function reload(double: bool): void {
  slowResult(double ? W.F64_LOAD : W.F32_LOAD);
  set(result(double));
}
function setResult(n: u32, double: bool, plain: bool): void {
  get(result(double));
  if (double) setDouble(n, plain);
  else setSingle(n, plain);
}
/** The register source keeps the promise of the slow path. */
function learnSource(i: Insn, double: bool): void { if (!isMem(i)) learn(i.b, factOf(double)); }

/** The cold path of arithmetic. */
function otherwise(i: Insn, b: u32, double: bool, sourceDouble: bool): void {
  rare();
  slowly(i, isMem(i) ? b : 0, factOf(double) | (isMem(i) ? 0 : factOf(sourceDouble) << 4));
  reload(double);
  join();
}

function plainOp(o: u32): u32 {
  switch (o) {
    case 0x51: return W.F64_SQRT;
    case 0x58: return W.F64_ADD;
    case 0x59: return W.F64_MUL;
    case 0x5c: return W.F64_SUB;
    default: return W.F64_DIV;
  }
}

/** SQRT ADD MUL SUB MIN DIV MAX: 0F 51, 58, 59, 5C-5F, of singles or doubles. */
export function scalarArithmetic(i: Insn, o: u32, double: bool): void {
  const b = scalarRm(i, double);
  const unary = o == 0x51;
  const a = unary ? b : scalarOf(i.a, double);
  const r = result(double);
  needGuard();
  const select = o == 0x5d || o == 0x5f;
  if (select) {
    // the second operand unless the first is beyond it: as wasm's pmin and pmax with operands swapped
    get(b);
    simd(double ? V.F64_SPLAT : V.F64_SPLAT - 1);
    get(a);
    simd(double ? V.F64_SPLAT : V.F64_SPLAT - 1);
    simd((double ? 246 : 234) + (o == 0x5d ? 0 : 1));
    lane(double ? V.F64_GET : V.F32_GET, 0);
  } else {
    if (!unary) get(a);
    get(b);
    op(plainOp(o) - (double ? 0 : W.F64_ADD - W.F32_ADD));
  }
  set(r);
  const knownA = unary || known0(i.a, double), knownB = rmKnown(i, double);
  if (!(select && knownA && knownB)) {
    fast();
    if (select) {
      unlessFinite(a, double, knownA, 0);
      unlessFinite(b, double, knownB || a == b, 0);
      skip(1);
    } else {
      unlessDenormal(a, double, knownA, 0);
      unlessDenormal(b, double, knownB || (a == b && !unary), 0);
      resultOk(r, double);
      brIf(1, true);
    }
    otherwise(i, b, double, double);
  }
  learnSource(i, double);
  setResult(i.a, double, true);
}

/** UCOMISx and COMISx: the operands stay in locals until the flags are asked for. */
export function scalarCompareFlags(i: Insn, double: bool): void {
  const b = scalarRm(i, double);
  const a = scalarOf(i.a, double);
  const knownA = known0(i.a, double), knownB = rmKnown(i, double);
  get(a);
  if (!double) op(W.F64_PROMOTE);
  set(X.D0);
  if (!(knownA && knownB)) {
    fast();
    unlessOrdered(a, double, knownA, 0);
    unlessOrdered(b, double, knownB || a == b, 0);
    promoted(b, double);
    skip(1);
    rare();
    slowly(i, isMem(i) ? b : 0, 0);
    slowResult(W.F64_LOAD); // a number that compares with 0 the same way
    set(X.D0);
    f64c(0);
    set(X.D1);
    join();
  } else promoted(b, double);
  get(X.D0);
  set(X.CMP_A);
  get(X.D1);
  set(X.CMP_B);
  known(Fl.FCMP, 2);
}
function promoted(b: u32, double: bool): void {
  get(b);
  if (!double) op(W.F64_PROMOTE);
  set(X.D1);
}

/** CMPSS, CMPSD with predicate 0 to 7. */
export function scalarCompare(i: Insn, double: bool): void {
  const b = scalarRm(i, double);
  const a = scalarOf(i.a, double);
  const r = result(double);
  const knownA = known0(i.a, double), knownB = rmKnown(i, double);
  const predicate = <u32>i.imm & 7;
  const base = double ? W.F64_EQ : W.F32_EQ;
  if ((predicate & 3) == 3) i32c(0);
  else {
    get(a);
    get(b);
    op(base + ((predicate & 3) == 0 ? 0 : (predicate & 3) == 1 ? 2 : 4)); // eq, lt, le
  }
  if (predicate & 4) op(W.I32_EQZ);
  set(X.I0);
  if (double) {
    i64c(0);
    get(X.I0);
    op(W.I64_EXTEND_U);
    op(W.I64_SUB);
    op(W.F64_REINTERPRET);
  } else {
    i32c(0);
    get(X.I0);
    op(W.I32_SUB);
    op(W.F32_REINTERPRET);
  }
  set(r);
  if (!(knownA && knownB)) {
    fast();
    unlessOrdered(a, double, knownA, 0);
    unlessOrdered(b, double, knownB || a == b, 0);
    skip(1);
    rare();
    slowly(i, isMem(i) ? b : 0, 0);
    reload(double);
    join();
  }
  setResult(i.a, double, false);
}

/** CVTSI2SS, CVTSI2SD. */
export function fromInteger(i: Insn, double: bool): void {
  const wide = rexW(i);
  const r = result(double);
  if (isMem(i)) {
    operandAddress(i, wide ? 3 : 2, false);
    mem(wide ? W.I64_LOAD : W.I32_LOAD, 0);
  } else pushReg(i.b << 3, wide ? 3 : 2);
  const from = wide ? X.Q0 : X.I0;
  tee(from);
  if (double) op(wide ? W.F64_CONVERT_I64 : W.F64_CONVERT_I32);
  else op(wide ? W.F32_CONVERT_I64 : W.F32_CONVERT_I32);
  set(r);
  if (!double || wide) {
    needGuard();
    fast();
    get(X.GUARD_D);
    brIf(1, true);
    rare();
    slowly(i, from, 0);
    reload(double);
    join();
  }
  setResult(i.a, double, true);
}

/** CVTTxx2SI and, with `nearest`, CVTxx2SI. */
export function toInteger(i: Insn, double: bool, nearest: bool): void {
  const wide = rexW(i);
  const b = scalarRm(i, double);
  needGuard();
  fast();
  get(X.GUARD_D);
  op(W.I32_EQZ);
  brIf(0, false);
  // in range before rounding; a NaN is not
  get(b);
  op(double ? W.F64_ABS : W.F32_ABS);
  if (double) f64c(wide ? 9223372036854774784.0 : 2147483647.0);
  else f32c(wide ? 9223371487098961920.0 : 2147483520.0);
  op(double ? W.F64_LE : W.F32_LE);
  op(W.I32_EQZ);
  brIf(0, false);
  get(b);
  if (nearest) op(double ? W.F64_NEAREST : W.F32_NEAREST);
  saturate(wide ? (double ? 6 : 4) : double ? 2 : 0);
  set(wide ? X.Q0 : X.I0);
  skip(1);
  rare();
  slowly(i, isMem(i) ? b : 0, 0);
  slowResult(wide ? W.I64_LOAD : W.I32_LOAD);
  set(wide ? X.Q0 : X.I0);
  join();
  get(wide ? X.Q0 : X.I0);
  popReg(i.a << 3, wide ? 3 : 2);
}

/** CVTSS2SD and, with `narrow`, CVTSD2SS. */
export function precision(i: Insn, narrow: bool): void {
  const b = scalarRm(i, narrow);
  const knownB = rmKnown(i, narrow);
  const r = result(!narrow);
  get(b);
  op(narrow ? W.F32_DEMOTE : W.F64_PROMOTE);
  set(r);
  if (narrow || !knownB) {
    if (narrow) needGuard();
    fast();
    if (narrow) {
      unlessDenormal(b, narrow, knownB, 0);
      resultOk(r, false);
      brIf(1, true);
    } else {
      unlessFinite(b, narrow, knownB, 0);
      skip(1);
    }
    otherwise(i, b, !narrow, narrow);
  }
  learnSource(i, narrow);
  setResult(i.a, !narrow, true);
}

/** ROUNDSS, ROUNDSD with the rounding mode in the immediate or from MXCSR, which the guard knows to be "nearest". */
export function roundScalar(i: Insn, double: bool): void {
  const imm = <u32>i.imm;
  const b = scalarRm(i, double);
  const knownB = rmKnown(i, double);
  const r = result(double);
  const mode = imm & 4 ? 0 : imm & 3;
  get(b);
  const o = mode == 0 ? W.F64_NEAREST : mode == 1 ? W.F64_FLOOR : mode == 2 ? W.F64_CEIL : W.F64_TRUNC;
  op(o - (double ? 0 : W.F64_ABS - W.F32_ABS));
  set(r);
  needGuard();
  fast();
  unlessFinite(b, double, knownB, 0);
  get(X.GUARD_D);
  brIf(1, true);
  otherwise(i, b, double, double);
  learnSource(i, double);
  setResult(i.a, double, true);
}
