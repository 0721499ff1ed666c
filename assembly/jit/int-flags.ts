// What integer operations do to the flags beyond the arithmetic of flags.ts.
import { CF, OF } from "../cpu/state";
import { FAULTS, READS, WRITES } from "../decode/fuse";
import { INSN_BYTES, Insn } from "../decode/insn";
import { HOT_FACTS, HOT_PAIR_FIRST, Hot, PAIRS } from "../generated/hot";
import { BLOCK_HEADER, BLOCK_RECORDS } from "../interp/block-layout";
import { fixType, flagsToLocals, known, overlaid, packFlags } from "./flags";
import { Fn, L } from "./operands";
import { Fl, Over, jit } from "./state";
import { W, call, get, i32c, op, set } from "./wasm";

/** Pushes all arithmetic flags at their places. */
export function pushArith(): void {
  if (packFlags() == Fl.BITS) {
    get(L.R);
    return;
  }
  flagsToLocals();
  get(L.FT);
  get(L.FA);
  get(L.FR);
  call(Fn.ARITH);
}

/** Pushes CF and OF at their places. */
export function pushCarryOverflow(): void {
  const j = jit();
  if (j.flagKind == Fl.LOGIC && !j.stepKind && !j.overKind) {
    i32c(0);
    return;
  }
  pushArith();
  i32c(CF | OF);
  op(W.I32_AND);
}

/** The arithmetic flags are the i32 on the stack, at their places. */
export function bitsKnown(): void {
  set(L.R);
  known(Fl.BITS, 0);
}

/** Replaces CF alone by the i32 on the stack. */
export function fixCarry(): void {
  const over = jit().overKind;
  if (over && over != Over.CARRY) {
    set(L.CY2);
    flagsToLocals();
    get(L.CY2);
  }
  set(L.O);
  overlaid(Over.CARRY, 0);
}

/** CF and OF are both the i32 on the stack. */
export function fixEqual(): void {
  set(L.O);
  overlaid(Over.BOTH, 0);
}

/** Replaces CF by L.CY and OF by the i32 on the stack; the flags are in locals by now, so that this may stand in code that is skipped. */
export function fixBoth(): void {
  i32c(11);
  op(W.I32_SHL);
  get(L.CY);
  i32c(9);
  op(W.I32_SHL);
  op(W.I32_OR);
  fixType();
  known(Fl.DYN, 0);
}

/** The operation of a record; of a pair of records, the first one's. */
// @ts-ignore: decorator
@inline export function opOf(i: Insn): u32 {
  const code = <u32>i.op;
  return code >= PAIRS && code < Hot.COUNT ? <u32>load<u16>(HOT_PAIR_FIRST + ((code - PAIRS) << 1)) : code;
}

/** Whether another operation of the block replaces the flags that the current one makes, before anybody can see them. */
export function flagsDie(): bool {
  const j = jit();
  const end = j.block + BLOCK_HEADER + <usize>load<u16>(j.block, BLOCK_RECORDS) * INSN_BYTES;
  for (let ip = j.ip + INSN_BYTES; ip < end; ip += INSN_BYTES) {
    const code = opOf(changetype<Insn>(ip));
    if (code >= Hot.COUNT) return false;
    const facts = load<u8>(HOT_FACTS + code);
    if (facts & (READS | FAULTS)) return false;
    if (facts & WRITES) return true;
  }
  return false;
}
