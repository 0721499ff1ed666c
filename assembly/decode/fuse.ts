// Passes over a decoded block: compare and branch become one record, and operations whose flags nobody can see lose them.
import { HOT_FACTS, HOT_QUIET, Hot } from "../generated/hot";
import { INSN_BYTES, Insn } from "./insn";

// Facts of hot operations, from the generator.
export const WRITES: u8 = 1; // replaces all arithmetic flags
export const READS: u8 = 2; // looks at them
export const FAULTS: u8 = 4; // may leave the block: the flags before it must be right
export const LEAVES: u8 = 8; // may be left behind it, by a store into code or a bus access: its own flags count

// Place of a condition among the fused forms, 255 when there is none.
const CMP_CC = memory.data<u8>([255, 255, 0, 1, 2, 3, 4, 5, 6, 7, 255, 255, 8, 9, 10, 11]);
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
  return <u32>((last - first) / INSN_BYTES);
}

function fuse(a: Insn, j: Insn): bool {
  const cc = <u32>j.op - Hot.JCC;
  if (cc > 15) return false;
  const op = <u32>a.op;
  let fused: u32;
  if (op >= Hot.ALU + 105 && op < Hot.ALU + 111) {
    // CMP RR and RI
    const slot = load<u8>(CMP_CC + cc);
    if (slot == 255) return false;
    fused = Hot.CMPJ + (op - (Hot.ALU + 105)) * 12 + slot;
  } else if (op >= Hot.TEST && op < Hot.TEST + 6) {
    const slot = load<u8>(TEST_CC + cc);
    if (slot == 255) return false;
    fused = Hot.TESTJ + (op - Hot.TEST) * 6 + slot;
  } else return false;
  a.op = <u16>fused;
  a.disp = j.disp;
  a.off = j.off;
  return true;
}
