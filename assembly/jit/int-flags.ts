// What integer operations do to the flags beyond the known kinds of flags.ts.
import { CF, Lazy, OF } from "../cpu/state";
import { flagsToLocals, known, packFlags } from "./flags";
import { Fn, L } from "./operands";
import { Fl, jit } from "./state";
import { W, call, get, i32c, op, set } from "./wasm";

/** Pushes all arithmetic flags at their places. */
export function pushArith(): void {
  flagsToLocals();
  get(L.FT);
  get(L.FA);
  get(L.FR);
  call(Fn.ARITH);
}

/** Pushes CF and OF at their places. */
export function pushCarryOverflow(): void {
  if (packFlags() >> 11 == 0 && jit().flagKind == Fl.LOGIC) {
    i32c(0);
    return;
  }
  pushArith();
  i32c(CF | OF);
  op(W.I32_AND);
}

/** The arithmetic flags are the i32 on the stack, at their places. */
export function bitsKnown(): void {
  op(W.I64_EXTEND_U);
  set(L.FR);
  i32c(0);
  set(L.FT);
  known(Fl.DYN, 2);
}

/** Replaces CF alone by the i32 on the stack. */
export function fixCarry(): void {
  set(L.CY2);
  flagsToLocals();
  get(L.FT);
  i32c(~(Lazy.FIX_CF | 0x200));
  op(W.I32_AND);
  get(L.CY2);
  i32c(9);
  op(W.I32_SHL);
  op(W.I32_OR);
  i32c(Lazy.FIX_CF);
  op(W.I32_OR);
  set(L.FT);
  known(Fl.DYN, 2);
}

/** Replaces CF by L.CY and OF by the i32 on the stack; the flags are in locals by now, so that this may stand in code that is skipped. */
export function fixBoth(): void {
  i32c(11);
  op(W.I32_SHL);
  get(L.CY);
  i32c(9);
  op(W.I32_SHL);
  op(W.I32_OR);
  get(L.FT);
  i32c(~Lazy.FIX);
  op(W.I32_AND);
  op(W.I32_OR);
  i32c(Lazy.FIX_CF | Lazy.FIX_OF);
  op(W.I32_OR);
  set(L.FT);
  known(Fl.DYN, 2);
}
