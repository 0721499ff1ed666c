// Instructions about segments and their descriptors. SDM vol. 2.
import { Insn, ea, isMem, osz, seg } from "../decode/insn";
import { rmRead, rmWrite } from "../decode/operand";
import { fault, Vector } from "../cpu/fault";
import { setFlags } from "../cpu/flags";
import {
  ATTR_CODE, ATTR_DOWN, ATTR_S, ATTR_WRITE, attrOf, dplOf, is64, isLong, isProtected, limitOf, loadLdt, loadSegment, loadTr, needCpl0,
  peekDescriptor,
} from "../cpu/segment";
import { Cpu, Seg, ZF, setReg } from "../cpu/state";
import { memLin, readLin } from "../mmu/access";

function needProtected(cpu: Cpu): void { if (!isProtected(cpu)) fault(cpu, Vector.UD); }

/** A selector to memory as 16 bits, to a register zero-extended to the operand size. */
function storeSelector(cpu: Cpu, i: Insn, sel: u32): void {
  needProtected(cpu);
  if (isMem(i) || osz(i) == 1) rmWrite<u16>(cpu, i, <u16>sel);
  else rmWrite<u32>(cpu, i, sel);
}
export function sldt(cpu: Cpu, i: Insn): void { storeSelector(cpu, i, cpu.ldtrSel); }
export function str(cpu: Cpu, i: Insn): void { storeSelector(cpu, i, cpu.trSel); }

export function lldt(cpu: Cpu, i: Insn): void {
  needProtected(cpu);
  needCpl0(cpu);
  loadLdt(cpu, <u32>rmRead<u16>(cpu, i), Vector.GP, 0);
}
export function ltr(cpu: Cpu, i: Insn): void {
  needProtected(cpu);
  needCpl0(cpu);
  loadTr(cpu, <u32>rmRead<u16>(cpu, i));
}

/** MOV to a segment register. After a load of SS nothing interrupts before the next instruction, not even #DB. */
export function movSE(cpu: Cpu, i: Insn): void {
  const s: u32 = i.a;
  if (s == Seg.CS || s > Seg.GS) fault(cpu, Vector.UD);
  loadSegment(cpu, s, <u32>rmRead<u16>(cpu, i));
  if (s == Seg.SS) cpu.shadow = 2;
}

/** LES, LDS, LSS, LFS, LGS: segment number in imm. */
export function lfp(cpu: Cpu, i: Insn): void {
  const size: u32 = <u32>1 << osz(i);
  const lin = memLin(cpu, seg(i), ea(cpu, i), size + 2, false);
  let value: u64;
  if (size == 8) value = readLin<u64>(cpu, lin);
  else value = size == 4 ? <u64>readLin<u32>(cpu, lin) : <u64>readLin<u16>(cpu, lin);
  const sel = <u32>readLin<u16>(cpu, is64(cpu) ? lin + <u64>size : <u64><u32>(lin + <u64>size));
  loadSegment(cpu, <u32>i.imm, sel);
  if (size == 8) setReg<u64>(cpu, i.a, value);
  else if (size == 4) setReg<u32>(cpu, i.a, <u32>value);
  else setReg<u16>(cpu, i.a, <u16>value);
}

/** Whether the current level and the selector's RPL see a descriptor. */
function isVisible(cpu: Cpu, sel: u32, attr: u32): bool {
  if ((attr & (ATTR_S | ATTR_CODE | ATTR_DOWN)) == (ATTR_S | ATTR_CODE | ATTR_DOWN)) return true;
  const dpl = dplOf(attr);
  return dpl >= cpu.cpl && dpl >= (sel & 3);
}
/** System types that LAR and LSL know: a bit per type. */
const LAR_TYPES: u32 = 0x1a36; // 1 2 4 5 9 B C
const LAR_TYPES_LONG: u32 = 0x1a04; // 2 9 B C
const LSL_TYPES: u32 = 0x0a0e; // 1 2 3 9 B
const LSL_TYPES_LONG: u32 = 0x0a04; // 2 9 B

/** The descriptor of a selector operand that LAR or LSL may show, else 0. */
function inspect(cpu: Cpu, sel: u32, types: u32): u64 {
  const d = peekDescriptor(cpu, sel);
  if (d == 0) return 0;
  const attr = attrOf(d);
  if ((attr & ATTR_S) == 0 && ((types >> (attr & 15)) & 1) == 0) return 0;
  return isVisible(cpu, sel, attr) ? d : 0;
}

function answer(cpu: Cpu, i: Insn, d: u64, value: u32): void {
  if (d != 0) {
    if (osz(i) == 1) setReg<u16>(cpu, i.a, <u16>value);
    else setReg<u32>(cpu, i.a, value);
  }
  setFlags(cpu, d != 0 ? ZF : 0, ZF);
}

export function lar(cpu: Cpu, i: Insn): void {
  needProtected(cpu);
  const d = inspect(cpu, <u32>rmRead<u16>(cpu, i), isLong(cpu) ? LAR_TYPES_LONG : LAR_TYPES);
  answer(cpu, i, d, <u32>(d >> 32) & 0x00f0_ff00);
}
export function lsl(cpu: Cpu, i: Insn): void {
  needProtected(cpu);
  const d = inspect(cpu, <u32>rmRead<u16>(cpu, i), isLong(cpu) ? LSL_TYPES_LONG : LSL_TYPES);
  answer(cpu, i, d, limitOf(d));
}

function verify(cpu: Cpu, i: Insn, write: bool): void {
  needProtected(cpu);
  const sel = <u32>rmRead<u16>(cpu, i);
  const d = peekDescriptor(cpu, sel);
  const attr = attrOf(d);
  let ok = (attr & ATTR_S) != 0 && isVisible(cpu, sel, attr);
  if (write) ok = ok && (attr & (ATTR_CODE | ATTR_WRITE)) == ATTR_WRITE;
  else ok = ok && ((attr & ATTR_CODE) == 0 || (attr & ATTR_WRITE) != 0);
  setFlags(cpu, ok ? ZF : 0, ZF);
}
export function verr(cpu: Cpu, i: Insn): void { verify(cpu, i, false); }
export function verw(cpu: Cpu, i: Insn): void { verify(cpu, i, true); }

export function arpl(cpu: Cpu, i: Insn): void {
  needProtected(cpu);
  const dest = <u32>rmRead<u16>(cpu, i); // a read-only operand that needs no change is no fault
  const rpl = <u32>load<u16>(changetype<usize>(cpu) + <usize>i.a) & 3;
  const raise = (dest & 3) < rpl;
  if (raise) rmWrite<u16>(cpu, i, <u16>((dest & ~3) | rpl));
  setFlags(cpu, raise ? ZF : 0, ZF);
}
