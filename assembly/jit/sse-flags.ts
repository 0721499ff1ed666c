// Flags of UCOMISx and COMISx: two doubles in locals. "Unordered" comes out right, for a NaN compares like nothing.
import { X } from "./sse-reg";
import { W, get, i32c, i64c, op } from "./wasm";

function relation(opcode: u32): void {
  get(X.CMP_A);
  get(X.CMP_B);
  op(opcode);
}
/** Pushes whether either is a NaN. */
function unordered(): void {
  relation(W.F64_LT);
  relation(W.F64_GE);
  op(W.I32_OR);
  op(W.I32_EQZ);
}
/** Pushes ZF: equal or unordered. */
function zero(): void {
  relation(W.F64_LT);
  relation(W.F64_GT);
  op(W.I32_OR);
  op(W.I32_EQZ);
}

/** Pushes CF: below or unordered. */
export function comparedCarry(): void {
  relation(W.F64_GE);
  op(W.I32_EQZ);
}

/** Pushes condition `cc` as 0 or 1: CF, ZF and PF as above, SF, OF and AF 0 (SDM vol. 2, UCOMISD). */
export function comparedCond(cc: u32): void {
  switch (cc >> 1) {
    case 1:
      relation(W.F64_GE);
      if (cc == 2) op(W.I32_EQZ);
      return;
    case 2:
      if (cc == 4) return zero();
      relation(W.F64_LT);
      relation(W.F64_GT);
      op(W.I32_OR);
      return;
    case 3:
      relation(W.F64_GT);
      if (cc == 6) op(W.I32_EQZ);
      return;
    case 5:
      unordered();
      if (cc & 1) op(W.I32_EQZ);
      return;
    case 7:
      zero();
      if (cc & 1) op(W.I32_EQZ);
      return;
    default: i32c(cc & 1); // O, S, L
  }
}

/** Pushes flR of the explicit form, as i64. */
export function comparedBits(): void {
  comparedCarry();
  zero();
  i32c(6);
  op(W.I32_SHL);
  op(W.I32_OR);
  unordered();
  i32c(2);
  op(W.I32_SHL);
  op(W.I32_OR);
  op(W.I64_EXTEND_U);
}
