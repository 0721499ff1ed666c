// Memory operands of SSE instructions in compiled code, and the paths that leave the host's arithmetic.
import { Mode, SEG_BASE, Seg } from "../cpu/state";
import { CPU_XMM } from "../layout";
import { Insn, asz, isMem, seg } from "../decode/insn";
import { PLAIN, bail, popLabel, pushLabel } from "./flow";
import { Fn, L, SIZE_128, SIZE_128_ALIGNED, access, pushAddress, record } from "./operands";
import { Fact, V, X, pushWhole, simd, splitGuard, vget } from "./sse-reg";
import { Left, SLOW_REG, jit } from "./state";
import { W, call, f32c, f64c, get, hintedIf, i32c, i64c, mem, op, op2, simdMem, tee, uleb } from "./wasm";

const SLOW_RESULT: u32 = <u32>CPU_XMM + (SLOW_REG << 4);

/** Whether the memory operand, if there is one, needs no segment checks: `hotMem` of the decoder for records of thick operations. */
export function plainMemory(i: Insn): bool {
  if (!isMem(i)) return true;
  const j = jit();
  if (!(j.mode & Mode.FLAT)) return false;
  if (j.code64) return asz(i) == 2;
  const s = seg(i);
  if (asz(i) != 1 || s == Seg.CS) return false;
  return s < Seg.FS || (j.mode & (s == Seg.FS ? Mode.FLAT_FS : Mode.FLAT_GS)) != 0;
}

/** Pushes the wasm address of the operand; `s` as in `access`. */
export function operandAddress(i: Insn, s: u32, write: bool): void {
  const j = jit();
  const segment = seg(i);
  if (segment < Seg.FS) pushAddress(i, true);
  else {
    pushAddress(i, false);
    record();
    mem(j.wide ? W.I64_LOAD : W.I32_LOAD, <u32>SEG_BASE + (segment << 3));
    op(j.wide ? W.I64_ADD : W.I32_ADD);
    if (j.wide && !j.code64) {
      i64c(0xffff_ffff);
      op(W.I64_AND);
    }
  }
  access(s, write);
}

/** Pushes the 16-byte rm operand, which is aligned in memory. */
export function pushRm(i: Insn): void {
  if (isMem(i)) {
    operandAddress(i, SIZE_128_ALIGNED, false);
    simdMem(V.LOAD, 0);
  } else vget(i.b);
}
/** The same with any alignment. */
export function pushRmUnaligned(i: Insn): void {
  if (isMem(i)) {
    operandAddress(i, SIZE_128, false);
    simdMem(V.LOAD, 0);
  } else vget(i.b);
}

export function brIf(depth: u32, likely: bool): void {
  const j = jit();
  store<u32>(j.hintAt, (<u32>(j.at - j.bodyStart) << 1) | u32(likely));
  j.hintAt += 4;
  op(W.BR_IF);
  uleb(depth);
}

// The shape of an operation with a cold path: conditions branch to `rare` (depth 0) or past it (depth 1).
export function fast(): void {
  op2(W.BLOCK, W.VOID);
  op2(W.BLOCK, W.VOID);
  pushLabel(PLAIN, 0, 2);
}
/** What follows is the cold path; depth 0 is past it. */
export function rare(): void {
  op(W.END);
  popLabel();
}
export function join(): void {
  op(W.END);
  popLabel();
}
export function skip(depth: u32): void { op2(W.BR, depth); }

/**
 * The core computes the result from the values of the operands and puts it into the record (`slowResult`); nothing else in the record
 * is touched but MXCSR. `source` is a local with the second operand, of the type that its number says, 0
 * for the XMM register of the record. `promise` holds facts about the result and, shifted by 4, about the source: when they do not hold, or an exception
 * is unmasked, the region is left before the instruction.
 */
export function slowly(i: Insn, source: u32, promise: u32): void {
  const j = jit();
  record();
  i32c(<i32>j.ip);
  i32c(<i32>promise);
  pushWhole(i.a);
  if (!source) pushWhole(i.b);
  else {
    get(source);
    if (source >= X.QUADS_FROM) simd(V.I64_SPLAT);
    else if (source >= X.WORDS_FROM) simd(V.I32_SPLAT);
    else if (source >= X.S) simd(V.F32_SPLAT);
    else if (source >= X.D) simd(V.F64_SPLAT);
  }
  call(Fn.SSE);
  tee(X.I0);
  op(W.I32_EQZ);
  hintedIf(W.VOID, false);
  pushLabel(PLAIN, 0);
  bail(Left.REFUSED);
  popLabel();
  op(W.END);
  if (!j.xguard) return;
  get(X.I0);
  i32c(1);
  op(W.I32_SUB);
  splitGuard();
}
/** Pushes the result of `slowly` by a load. */
export function slowResult(load: u32): void {
  record();
  if (load) mem(load, SLOW_RESULT);
  else simdMem(V.LOAD, SLOW_RESULT);
}

/** Pushes the biased exponent of a scalar local. */
function exponent(local: u32, double: bool): void {
  get(local);
  if (double) {
    op(W.I64_REINTERPRET);
    i64c(52);
    op(W.I64_SHR_U);
    op(W.I32_WRAP);
  } else {
    op(W.I32_REINTERPRET);
    i32c(23);
    op(W.I32_SHR_U);
  }
  i32c(double ? 0x7ff : 0xff);
  op(W.I32_AND);
}
/** Branches when the operand is a denormal. */
export function unlessDenormal(local: u32, double: bool, known: bool, depth: u32): void {
  if (known) return;
  get(local);
  if (double) {
    op(W.I64_REINTERPRET);
    i64c(1);
    op(W.I64_SHL);
    i64c(1);
    op(W.I64_SUB);
    i64c(0x1f_ffff_ffff_ffff);
    op(W.I64_LT_U);
  } else {
    op(W.I32_REINTERPRET);
    i32c(1);
    op(W.I32_SHL);
    i32c(1);
    op(W.I32_SUB);
    i32c(0xff_ffff);
    op(W.I32_LT_U);
  }
  brIf(depth, false);
}
/** The same for infinities and NaNs. */
export function unlessFinite(local: u32, double: bool, known: bool, depth: u32): void {
  if (known) return;
  unlessDenormal(local, double, false, depth);
  get(local);
  op(double ? W.F64_ABS : W.F32_ABS);
  if (double) f64c(Infinity);
  else f32c(<f32>Infinity);
  op(double ? W.F64_LT : W.F32_LT);
  op(W.I32_EQZ);
  brIf(depth, false);
}
/** The same for NaNs alone. */
export function unlessOrdered(local: u32, double: bool, known: bool, depth: u32): void {
  if (known) return;
  unlessDenormal(local, double, false, depth);
  get(local);
  get(local);
  op(double ? W.F64_NE : W.F32_NE);
  brIf(depth, false);
}
/** Pushes whether the result is a normal number that is not near underflow or overflow, and the guard allows it. */
export function resultOk(local: u32, double: bool): void {
  exponent(local, double);
  i32c(2);
  op(W.I32_SUB);
  get(double ? X.GUARD_D : X.GUARD_S);
  op(W.I32_LT_U);
}
// @ts-ignore: decorator
@inline export function factOf(double: bool): u32 { return double ? Fact.D : Fact.S; }
