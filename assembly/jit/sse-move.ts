// Moves between XMM registers, general registers and memory in compiled code.
import { Hot } from "../generated/hot";
import { Insn, isMem, rexW } from "../decode/insn";
import { L, SIZE_128, SIZE_128_ALIGNED, access, popReg, pushAddress, pushReg, put } from "./operands";
import { operandAddress, pushRm } from "./sse-operand";
import {
  V, X, copyXmm, doubleOf, factsOf, lane, setDouble, setDoubleZero, setSingle, setSingleZero, simd, singleOf, vget, vset, Fact,
} from "./sse-reg";
import { W, get, i32c, mem, op, set, simdMem } from "./wasm";

/** The hot forms: aligned or not, load, store, register. */
export function moveVector(i: Insn, code: u32): void {
  if (code == Hot.MOV128_RR) return copyXmm(i.a, i.b);
  const n = code - Hot.MOV128_RM;
  pushAddress(i, true);
  access(n & 1 ? SIZE_128_ALIGNED : SIZE_128, n >= 2);
  if (n < 2) {
    simdMem(V.LOAD, 0);
    vset(i.a);
  } else {
    vget(i.a);
    simdMem(V.STORE, 0);
  }
}

/** MOVSS, MOVSD: 0F 10 and, with `store`, 0F 11. */
export function moveScalar(i: Insn, double: bool, store: bool): void {
  if (!isMem(i)) {
    const from: u32 = store ? i.a : i.b, to: u32 = store ? i.b : i.a;
    if (from == to) return;
    get(double ? doubleOf(from) : singleOf(from));
    if (double) setDouble(to, (factsOf(from) & Fact.D) != 0);
    else setSingle(to, (factsOf(from) & Fact.S) != 0);
    return;
  }
  operandAddress(i, double ? 3 : 2, store);
  if (store) {
    get(double ? doubleOf(i.a) : singleOf(i.a));
    mem(double ? W.F64_STORE : W.F32_STORE, 0);
  } else {
    mem(double ? W.F64_LOAD : W.F32_LOAD, 0);
    if (double) setDoubleZero(i.a, false);
    else setSingleZero(i.a, false);
  }
}

/** Stores lane 0 as a quadword. */
function storeQuad(i: Insn): void {
  operandAddress(i, 3, true);
  get(doubleOf(i.a));
  mem(W.F64_STORE, 0);
}
/** MOVLPx, MOVHLPS, MOVSLDUP, MOVDDUP: 0F 12. */
export function moveLow(i: Insn, prefix: u32): bool {
  if (prefix == 2) {
    pushRm(i);
    set(X.V0);
    duplicate(0);
    vset(i.a);
  } else if (prefix == 3) {
    if (isMem(i)) {
      operandAddress(i, 3, false);
      simdMem(V.LOAD64_SPLAT, 0);
    } else {
      get(doubleOf(i.b));
      simd(V.F64_SPLAT);
    }
    vset(i.a, !isMem(i) && (factsOf(i.b) & Fact.D) != 0 ? Fact.D | Fact.DD : 0);
  } else if (isMem(i)) {
    operandAddress(i, 3, false);
    mem(W.F64_LOAD, 0);
    setDouble(i.a, false);
  } else {
    if (prefix) return false;
    vget(i.b);
    lane(V.F64_GET, 1);
    setDouble(i.a, (factsOf(i.b) & Fact.DD) != 0);
  }
  return true;
}
function duplicate(odd: u32): void {
  get(X.V0);
  get(X.V0);
  simd(V.SHUFFLE);
  for (let k: u32 = 0; k < 16; k++) op((k >> 3) * 8 + odd * 4 + (k & 3));
}
/** MOVHPx, MOVLHPS, MOVSHDUP: 0F 16. */
export function moveHigh(i: Insn, prefix: u32): bool {
  if (prefix == 2) {
    pushRm(i);
    set(X.V0);
    duplicate(1);
    vset(i.a);
    return true;
  }
  if (prefix == 3 || (prefix == 1 && !isMem(i))) return false;
  if (isMem(i)) {
    operandAddress(i, 3, false);
    mem(W.F64_LOAD, 0);
    set(X.D0);
  } else {
    get(doubleOf(i.b));
    set(X.D0);
  }
  const facts = factsOf(i.a) & Fact.D;
  const both = facts && !isMem(i) && (factsOf(i.b) & Fact.D) != 0 ? Fact.DD : 0;
  vget(i.a);
  get(X.D0);
  lane(V.F64_SET, 1);
  vset(i.a, facts | both);
  return true;
}
/** MOVLPx, MOVHPx stores: 0F 13, 17. */
export function storeHalf(i: Insn, high: bool): void {
  if (!high) return storeQuad(i);
  operandAddress(i, 3, true);
  vget(i.a);
  lane(V.F64_GET, 1);
  mem(W.F64_STORE, 0);
}

/** MOVNTPx, MOVNTDQ. */
export function storeAligned(i: Insn): void {
  operandAddress(i, SIZE_128_ALIGNED, true);
  vget(i.a);
  simdMem(V.STORE, 0);
}
/** MOVAPx, MOVDQx and the like that are not hot, LDDQU. */
export function loadWhole(i: Insn, aligned: bool): void {
  if (!isMem(i)) return copyXmm(i.a, i.b);
  operandAddress(i, aligned ? SIZE_128_ALIGNED : SIZE_128, false);
  simdMem(V.LOAD, 0);
  vset(i.a);
}
export function storeWhole(i: Insn, aligned: bool): void {
  if (!isMem(i)) return copyXmm(i.b, i.a);
  operandAddress(i, aligned ? SIZE_128_ALIGNED : SIZE_128, true);
  vget(i.a);
  simdMem(V.STORE, 0);
}

/** MOVD and MOVQ from a general register or memory: 66 0F 6E. */
export function fromGeneral(i: Insn): void {
  const wide = rexW(i);
  if (isMem(i)) {
    operandAddress(i, wide ? 3 : 2, false);
    mem(wide ? W.F64_LOAD : W.F32_LOAD, 0);
  } else {
    pushReg(<u32>i.b << 3, wide ? 3 : 2);
    op(wide ? W.F64_REINTERPRET : W.F32_REINTERPRET);
  }
  if (wide) setDoubleZero(i.a, false);
  else setSingleZero(i.a, false);
}
/** MOVD and MOVQ to a general register or memory: 66 0F 7E. */
export function toGeneral(i: Insn): void {
  const wide = rexW(i);
  if (isMem(i)) {
    if (wide) return storeQuad(i);
    operandAddress(i, 2, true);
    get(singleOf(i.a));
    mem(W.F32_STORE, 0);
    return;
  }
  get(wide ? doubleOf(i.a) : singleOf(i.a));
  op(wide ? W.I64_REINTERPRET : W.I32_REINTERPRET);
  popReg(<u32>i.b << 3, wide ? 3 : 2);
}
/** MOVQ xmm, xmm/m64 (F3 0F 7E) and its store form (66 0F D6). */
export function moveQuad(i: Insn, store: bool): void {
  if (!isMem(i)) {
    const from: u32 = store ? i.a : i.b;
    get(doubleOf(from));
    setDoubleZero(store ? i.b : i.a, (factsOf(from) & Fact.D) != 0);
  } else if (store) storeQuad(i);
  else {
    operandAddress(i, 3, false);
    mem(W.F64_LOAD, 0);
    setDoubleZero(i.a, false);
  }
}

/** MOVMSKPS, MOVMSKPD. */
export function moveMask(i: Insn, double: bool): void {
  vget(i.b);
  simd(double ? V.I64_BITMASK : V.I32_BITMASK);
  popReg(<u32>i.a << 3, 2);
}
