// Repeated string instructions: a call of the core that cannot fault and needs only its own registers in the record. What it does not complete is left to the
// interpreter, behind what was done.
import { Insn, OP_THICK_END } from "../decode/insn";
import { ThickEnd } from "../decode/thick";
import { Quick, isQuick } from "../ops/string-quick";
import { loadRegisters } from "./emit";
import { flagsInMemory, spillFlags } from "./flags";
import { PLAIN, bail, exitTo, popLabel, pushLabel } from "./flow";
import { Fn, L, dirtyReg, forgetAddresses, record, spillRegisters } from "./operands";
import { Left, jit } from "./state";
import { W, call, get, hintedIf, i32c, op, tee } from "./wasm";

const RAX: u32 = 1, RCX: u32 = 2, RSI: u32 = 0x40, RDI: u32 = 0x80;

/** Emits the record, all but the way on; false when it stays a call with everything written back. */
export function emitRepeated(i: Insn): bool {
  const n = <i32>i.op - <i32>OP_THICK_END;
  if (n < ThickEnd.REP_MOVS || n > ThickEnd.REP_SCAS || n == ThickEnd.REP_LODS || !isQuick(i, jit().mode)) return false;
  const compares = n == ThickEnd.REP_CMPS || n == ThickEnd.REP_SCAS;
  const changed = RCX | RDI | (n == ThickEnd.REP_MOVS || n == ThickEnd.REP_CMPS ? RSI : 0);
  spillRegisters(changed | (n == ThickEnd.REP_STOS || n == ThickEnd.REP_SCAS ? RAX : 0));
  if (compares) spillFlags();
  record();
  i32c(<i32>changetype<usize>(i));
  call(Fn.STRING);
  tee(L.X);
  for (let r: u32 = 0; r < 8; r++) if ((changed >> r) & 1) dirtyReg(r);
  loadRegisters(changed);
  forgetAddresses();
  if (compares) flagsInMemory();
  hintedIf(W.VOID, false);
  pushLabel(PLAIN, 0);
  get(L.X);
  i32c(Quick.AGAIN);
  op(W.I32_EQ);
  op(W.IF);
  op(W.VOID);
  pushLabel(PLAIN, 0);
  exitTo(<i32>i.off - <i32>i.len);
  popLabel();
  op(W.END);
  bail(Left.READ);
  popLabel();
  op(W.END);
  return true;
}
