// Passes over a decoded block: compare and branch become one record, operations whose flags nobody can see lose them, and frequent pairs of
// records get an operation that runs both.
import { HOT_FACTS, HOT_QUIET, Hot, PAIRS, PAIR_COLUMN, PAIR_COLUMNS, PAIR_OP, PAIR_ROW } from "../generated/hot";
import { FUSED_TARGET, INSN_BYTES, Insn } from "./insn";

// Facts of hot operations, from the generator.
export const WRITES: u8 = 1; // replaces all arithmetic flags
export const READS: u8 = 2; // looks at them
export const FAULTS: u8 = 4; // may leave the block: the flags before it must be right

// Hot.ALU + (kind * 5 + form) * 3 + size
const CMP: u32 = Hot.ALU + 105;
const ADD_RI: u32 = Hot.ALU + 4;
const AND_RI: u32 = Hot.ALU + 64;
const SUB_RI: u32 = Hot.ALU + 79;

// Place of a condition among the fused forms, 255 when there is none.
const CMP_CC = memory.data<u8>([255, 255, 0, 1, 2, 3, 4, 5, 6, 7, 255, 255, 8, 9, 10, 11]);
const FEW_CC = memory.data<u8>([255, 255, 2, 3, 0, 1, 4, 5, 255, 255, 255, 255, 255, 255, 255, 255]);
const TEST_CC = memory.data<u8>([255, 255, 255, 255, 0, 1, 255, 255, 2, 3, 255, 255, 255, 255, 4, 5]);

/** Works on the records from `first` up to `last` (excluded); returns how many remain. `ends`: the last one leaves the block. */
export function settleFlags(first: usize, last: usize, ends: bool): u32 {
  if (ends && last - first >= 2 * INSN_BYTES && fuse(changetype<Insn>(last - 2 * INSN_BYTES), changetype<Insn>(last - INSN_BYTES))) last -= INSN_BYTES;
  let live = true;
  for (let ip = last - INSN_BYTES; ip >= first; ip -= INSN_BYTES) {
    const i = changetype<Insn>(ip);
    const op = <u32>i.op;
    if (op >= Hot.COUNT) {
      live = true;
      continue;
    }
    const facts = load<u8>(HOT_FACTS + op);
    if (facts & WRITES) {
      const quiet = load<u16>(HOT_QUIET + (op << 1));
      if (!live && quiet) {
        i.op = quiet;
        continue;
      }
      live = false;
    }
    if (facts & (READS | FAULTS)) live = true;
  }
  for (let ip = first; ip + INSN_BYTES < last; ip += INSN_BYTES) {
    const op = pairOf(<u32>changetype<Insn>(ip).op, <u32>changetype<Insn>(ip + INSN_BYTES).op);
    if (!op) continue;
    changetype<Insn>(ip).op = <u16>op;
    ip += INSN_BYTES;
  }
  return <u32>((last - first) / INSN_BYTES);
}

/** The operation that runs both, 0 when there is none. */
function pairOf(a: u32, b: u32): u32 {
  if (a >= PAIRS || b >= PAIRS) return 0;
  const row = <u32>load<u8>(PAIR_ROW + a), column = <u32>load<u8>(PAIR_COLUMN + b);
  return row == 255 || column == 255 ? 0 : <u32>load<u16>(PAIR_OP + ((row * PAIR_COLUMNS + column) << 1));
}

/** Merges a comparison, or a sum, with the conditional jump behind it. */
function fuse(a: Insn, j: Insn): bool {
  const cc = <u32>j.op - Hot.JCC;
  if (cc > 15) return false;
  const op = <u32>a.op;
  let fused: u32 = 0;
  if (op >= CMP && op < CMP + 6) {
    const slot = <u32>load<u8>(CMP_CC + cc);
    if (slot != 255) fused = Hot.CMPJ + (op - CMP) * 12 + slot;
  } else if (op >= CMP + 6 && op < CMP + 15) {
    // memory forms, with E NE B AE BE A; 8 bits only with an immediate
    const slot = <u32>load<u8>(FEW_CC + cc);
    const form = (op - CMP) / 3, size = (op - CMP) % 3;
    if (slot != 255) {
      if (form == 4) fused = Hot.CMPJ_MI + size * 6 + slot;
      else if (size) fused = (form == 2 ? Hot.CMPJ_RM : Hot.CMPJ_MR) + (size - 1) * 6 + slot;
    }
  } else if (op >= Hot.TEST && op < Hot.TEST + 6) {
    const slot = <u32>load<u8>(TEST_CC + cc);
    if (slot != 255) fused = Hot.TESTJ + (op - Hot.TEST) * 6 + slot;
  } else if (cc == 4 || cc == 5) {
    const ne = cc - 4;
    if (op == Hot.TEST + 9) fused = Hot.TESTJ_MI + ne;
    else if (op == ADD_RI || op == ADD_RI + 1) fused = Hot.ADDJ + (op - ADD_RI) * 2 + ne;
    else if (op == SUB_RI || op == SUB_RI + 1) fused = Hot.ADDJ + 4 + (op - SUB_RI) * 2 + ne;
    else if (op == AND_RI || op == AND_RI + 1) fused = Hot.ADDJ + 8 + (op - AND_RI) * 2 + ne;
    else if (op >= Hot.INC_R && op < Hot.INC_R + 2) fused = Hot.INCJ + (op - Hot.INC_R) * 2 + ne;
    else if (op >= Hot.DEC_R && op < Hot.DEC_R + 2) fused = Hot.INCJ + 4 + (op - Hot.DEC_R) * 2 + ne;
  }
  if (!fused) return false;
  a.op = <u16>fused;
  store<i32>(changetype<usize>(a) + FUSED_TARGET, j.disp);
  a.off = j.off;
  a.len += j.len;
  return true;
}
