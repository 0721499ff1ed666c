// What the opcode maps share: operand fields, and the choice between a hot and a thick operation.
import { Cpu, Mode, Seg } from "../cpu/state";
import { Dec, regOffset } from "./decoder";
import { Insn, OP_THICK } from "./insn";

const ZERO: u8 = <u8>offsetof<Cpu>("zero");
const FS_BASE: u8 = <u8>offsetof<Cpu>("fsBase");
const GS_BASE: u8 = <u8>offsetof<Cpu>("gsBase");

/** Operand size into the record, as log2 bytes. */
// @ts-ignore: decorator
@inline export function setSize(i: Insn, size: u32): void { i.attr = (i.attr & 0xe7) | <u8>(size << 3); }
// @ts-ignore: decorator
@inline export function setSeg(i: Insn, s: u32): void { i.attr = (i.attr & 0xf8) | <u8>s; }

/** Register operands of `size`: a = reg, b = rm. */
export function regs(d: Dec, i: Insn, size: u32): void {
  i.a = <u8>regOffset(d, d.reg, size);
  i.b = d.mem ? ZERO : <u8>regOffset(d, d.rm, size);
}

export function prefixes(d: Dec, i: Insn): void {
  i.sib |= <u8>((d.rep << 2) | (d.opsize << 5) | (d.rex ? 0x40 : 0) | (d.rex & 8 ? 0x80 : 0));
  if (!d.mem && d.seg < 8) setSeg(i, d.seg);
}

export function thick(d: Dec, i: Insn, op: u32): void {
  i.op = <u16>(OP_THICK + op);
  prefixes(d, i);
}

/** LOCK is allowed on this operation when its destination is memory. */
export function lockable(d: Dec): void { if (d.lock == 1 && d.mem) d.lock = 2; }

/** Whether the memory operand needs no segment checks; folds an FS or GS base into the address. Call it last: the record is changed. */
export function hotMem(d: Dec, i: Insn): bool {
  if (!(d.mode & Mode.FLAT) || d.asz != (d.code == Mode.CODE64 ? 2 : 1)) return false;
  const s = i.attr & 7;
  if (s == Seg.CS && d.code != Mode.CODE64) return false; // not to be written
  if (s < Seg.FS) return true;
  if (!(d.mode & (s == Seg.FS ? Mode.FLAT_FS : Mode.FLAT_GS))) return false;
  const slot = s == Seg.FS ? FS_BASE : GS_BASE;
  if (i.base == ZERO) i.base = slot;
  else if (i.index == ZERO) {
    i.index = slot;
    i.sib = 0;
  } else return false;
  return true;
}

/** Hot operand sizes: 8 bits 0, 32 bits 1, 64 bits 2; 16 bits 3, which is thick. */
// @ts-ignore: decorator
@inline export function hotSize(size: u32): u32 { return size == 0 ? 0 : size == 1 ? 3 : size - 1; }

/** Near branches and stack operations have hot forms: 0 none, 1: 32-bit flat with a 32-bit stack, 2: 64-bit. */
export function hotStack(d: Dec): u32 {
  if (d.code == Mode.CODE64) return d.opsize && !(d.rex & 8) ? 0 : 2;
  return d.code == Mode.CODE32 && d.osz == 2 && (d.mode & (Mode.FLAT | Mode.STACK32)) == (Mode.FLAT | Mode.STACK32) ? 1 : 0;
}

/** Near branches: like hotStack, but an operand-size prefix means nothing in 64-bit mode. */
export function hotBranch(d: Dec): u32 {
  if (d.code == Mode.CODE64) return 2;
  return d.code == Mode.CODE32 && d.osz == 2 && (d.mode & (Mode.FLAT | Mode.STACK32)) == (Mode.FLAT | Mode.STACK32) ? 1 : 0;
}
