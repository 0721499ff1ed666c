// Counters of what compiled code leaves to the core, in builds with VMLET_COUNT=1 only; tools/boot-try.mjs prints them.
import { Insn, isMem, osz } from "../decode/insn";
import { W, i32c, i64c, mem, op } from "./wasm";

/** u64 by (operation - 0x1000) << 3 | operand size << 1 | memory operand. */
const THICK: usize = 0x07ec_0000;
/** u64 by function. */
const CALLS: usize = 0x07fc_0000;

function bump(at: usize): void {
  i32c(<i32>at);
  i32c(<i32>at);
  mem(W.I64_LOAD, 0);
  i64c(1);
  op(W.I64_ADD);
  mem(W.I64_STORE, 0);
}

export function countThick(i: Insn): void { bump(THICK + (<usize>((((<u32>i.op - 0x1000) << 3) | (osz(i) << 1) | u32(isMem(i)))) << 3)); }
export function countCall(fn: u32): void { bump(CALLS + (<usize>fn << 3)); }
