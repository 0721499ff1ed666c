// The rm operand of thick records in compiled code: a register, or memory that needs no segment checks.
import { Cpu, Mode, Seg } from "../cpu/state";
import { Insn, asz, isMem, seg } from "../decode/insn";
import { L, access, fetch, lt, lx, ly, popReg, pushAddress, pushReg, put, read, record } from "./operands";
import { PLAIN, bail, popLabel, pushLabel } from "./flow";
import { Left, jit } from "./state";
import { W, get, hintedIf, i64c, mem, op, set } from "./wasm";

/** Whether the memory operand's segment is flat and its address as wide as the mode's. */
export function plain(i: Insn): bool {
  const j = jit();
  if (!(j.mode & Mode.FLAT) || asz(i) != (j.code64 ? 2 : 1)) return false;
  const s = seg(i);
  if (s == Seg.CS && !j.code64) return false; // not to be written
  return s < Seg.FS || (j.mode & (s == Seg.FS ? Mode.FLAT_FS : Mode.FLAT_GS)) != 0;
}

/** Adds the base of FS or GS to the address on the stack, and wraps it to the mode's addresses. */
function rebase(i: Insn): void {
  const wide = jit().wide;
  record();
  mem(wide ? W.I64_LOAD : W.I32_LOAD, seg(i) == Seg.FS ? <u32>offsetof<Cpu>("fsBase") : <u32>offsetof<Cpu>("gsBase"));
  op(wide ? W.I64_ADD : W.I32_ADD);
  if (wide && !jit().code64) {
    i64c(0xffff_ffff);
    op(W.I64_AND);
  }
}

/** Pushes the linear address of the memory operand, `plain` as it is. */
export function pushLinear(i: Insn): void {
  pushAddress(i, seg(i) < Seg.FS);
  if (seg(i) >= Seg.FS) rebase(i);
}

/** Pushes the rm operand. */
export function pushRm(i: Insn, s: u32): void {
  if (!isMem(i)) {
    pushReg(i.b, s);
    return;
  }
  pushLinear(i);
  read(s);
}

/** Address of the memory operand for a write, into H. */
export function openStore(i: Insn, s: u32): void {
  if (!isMem(i)) return;
  pushLinear(i);
  access(s, true);
  set(L.H);
}
/** The rm operand's old value into X, before `closeRm`. */
export function openRm(i: Insn, s: u32): void {
  openStore(i, s);
  if (isMem(i)) {
    get(L.H);
    fetch(s);
  } else pushReg(i.b, s);
  set(lx(s));
}
/** The value on the stack becomes the rm operand's. */
export function closeRm(i: Insn, s: u32): void {
  if (!isMem(i)) {
    popReg(i.b, s);
    return;
  }
  set(lt(s));
  get(L.H);
  get(lt(s));
  put(s);
}
/** The rm operand into Y. */
export function rmToY(i: Insn, s: u32): void {
  pushRm(i, s);
  set(ly(s));
}

/** Leaves the region before the instruction when the i32 on the stack is not 0. */
export function leaveIf(): void {
  hintedIf(W.VOID, false);
  pushLabel(PLAIN, 0);
  bail(Left.REFUSED);
  popLabel();
  op(W.END);
}
