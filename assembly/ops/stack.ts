// PUSH, POP and their relatives. SDM vol. 2. Registers change after the last access that can fault.
import { Insn, asz, ea, isMem, osz, seg } from "../decode/insn";
import { rmRead } from "../decode/operand";
import { faultCode, Vector } from "../cpu/fault";
import { getFlags, setFlags } from "../cpu/flags";
import { is64, isCanonical, isV86, loadSegment, mergeSp, stackMask } from "../cpu/segment";
import { AC, ARITH, CR4_VME, Cpu, DF, ID, IF, IOPL, NT, RF, Seg, TF, VIF, VIP, VM, getGpr, getReg, segSel, setReg } from "../cpu/state";
import { eventPending, requestStop, updateMode } from "../interp/mode";
import { memLin, memRead, memWrite, probeWrite } from "../mmu/access";

const RSP: u8 = 32;

/** Operand size of a stack operation in bytes: there is no 32-bit form in 64-bit mode. */
// @ts-ignore: decorator
@inline function sizeOf(cpu: Cpu, i: Insn): u32 {
  const s = osz(i);
  return s == 1 ? 2 : s == 2 && !is64(cpu) ? 4 : 8;
}
// @ts-ignore: decorator
@inline function needCanonicalStack(cpu: Cpu, off: u64): void {
  if (is64(cpu) && !isCanonical(off)) faultCode(cpu, Vector.SS, 0);
}

/** Writes below the stack pointer and moves it. `size` is 2, 4 or 8. */
export function pushValue(cpu: Cpu, size: u32, value: u64): void {
  const mask = stackMask(cpu);
  const sp = (cpu.rsp - <u64>size) & mask;
  storeStack(cpu, sp, size, value);
  cpu.rsp = mergeSp(cpu.rsp, sp, mask);
}

/** Writes at offset `sp` of the stack segment. */
export function storeStack(cpu: Cpu, sp: u64, size: u32, value: u64): void {
  needCanonicalStack(cpu, sp);
  if (size == 8) memWrite<u64>(cpu, Seg.SS, sp, value);
  else if (size == 4) memWrite<u32>(cpu, Seg.SS, sp, <u32>value);
  else memWrite<u16>(cpu, Seg.SS, sp, <u16>value);
}

/** Reads at offset `sp` of the stack segment. */
export function loadStackAt(cpu: Cpu, sp: u64, size: u32): u64 {
  needCanonicalStack(cpu, sp);
  if (size == 8) return memRead<u64>(cpu, Seg.SS, sp);
  if (size == 4) return <u64>memRead<u32>(cpu, Seg.SS, sp);
  return <u64>memRead<u16>(cpu, Seg.SS, sp);
}

/** The value `depth` bytes above the stack pointer. */
// @ts-ignore: decorator
@inline export function peekStack(cpu: Cpu, depth: u32, size: u32): u64 { return loadStackAt(cpu, (cpu.rsp + <u64>depth) & stackMask(cpu), size); }
// @ts-ignore: decorator
@inline export function dropStack(cpu: Cpu, bytes: u64): void { cpu.rsp = mergeSp(cpu.rsp, cpu.rsp + bytes, stackMask(cpu)); }

function setSized(cpu: Cpu, off: u32, size: u32, value: u64): void {
  if (size == 8) setReg<u64>(cpu, off, value);
  else if (size == 4) setReg<u32>(cpu, off, <u32>value);
  else setReg<u16>(cpu, off, <u16>value);
}

/** Register of PUSH r and POP r: the opcode's register is in `b` as an rm field. */
export function pushR(cpu: Cpu, i: Insn): void { pushValue(cpu, sizeOf(cpu, i), getReg<u64>(cpu, i.b)); }

export function pushE(cpu: Cpu, i: Insn): void {
  const size = sizeOf(cpu, i);
  let value: u64;
  if (size == 8) value = rmRead<u64>(cpu, i);
  else if (size == 4) value = <u64>rmRead<u32>(cpu, i);
  else value = <u64>rmRead<u16>(cpu, i);
  pushValue(cpu, size, value);
}

export function pushI(cpu: Cpu, i: Insn): void { pushValue(cpu, sizeOf(cpu, i), i.imm); }
export function pushS(cpu: Cpu, i: Insn): void { pushValue(cpu, sizeOf(cpu, i), <u64>segSel(cpu, i.a)); }

export function popR(cpu: Cpu, i: Insn): void {
  const size = sizeOf(cpu, i);
  const value = peekStack(cpu, 0, size);
  dropStack(cpu, <u64>size);
  setSized(cpu, i.b, size, value);
}

/** POP to memory: an address built on rSP uses its value after the pop. */
export function popE(cpu: Cpu, i: Insn): void {
  if (!isMem(i)) {
    popR(cpu, i);
    return;
  }
  const size = sizeOf(cpu, i);
  const value = peekStack(cpu, 0, size);
  const rsp = mergeSp(cpu.rsp, cpu.rsp + <u64>size, stackMask(cpu));
  let off = ea(cpu, i);
  if (i.base == RSP) {
    off += rsp - cpu.rsp;
    if (asz(i) == 1) off = <u64><u32>off;
  }
  if (size == 8) memWrite<u64>(cpu, seg(i), off, value);
  else if (size == 4) memWrite<u32>(cpu, seg(i), off, <u32>value);
  else memWrite<u16>(cpu, seg(i), off, <u16>value);
  cpu.rsp = rsp;
}

/** POP of a segment register reads two bytes whatever the size. MOV SS's shadow holds for POP SS too. */
export function popS(cpu: Cpu, i: Insn): void {
  const sel = <u32>peekStack(cpu, 0, 2);
  const old = stackMask(cpu);
  const rsp = mergeSp(cpu.rsp, cpu.rsp + <u64>sizeOf(cpu, i), old);
  loadSegment(cpu, i.a, sel);
  cpu.rsp = rsp;
  if (i.a == Seg.SS) cpu.shadow = 2;
}

export function pusha(cpu: Cpu, i: Insn): void {
  const size: u32 = osz(i) == 1 ? 2 : 4;
  const mask = stackMask(cpu);
  let sp = cpu.rsp;
  for (let n: u32 = 0; n < 8; n++) {
    sp = (sp - <u64>size) & mask;
    storeStack(cpu, sp, size, getGpr(cpu, n));
  }
  cpu.rsp = mergeSp(cpu.rsp, sp, mask);
}

export function popa(cpu: Cpu, i: Insn): void {
  const size: u32 = osz(i) == 1 ? 2 : 4;
  // The last and then each value is read before any register changes.
  const scratch = changetype<usize>(cpu) + offsetof<Cpu>("temp0");
  for (let n: u32 = 0; n < 8; n++) store<u32>(scratch + (<usize>n << 2), <u32>peekStack(cpu, n * size, size));
  for (let n: u32 = 0; n < 8; n++) if (n != 3) setSized(cpu, (7 - n) << 3, size, <u64>load<u32>(scratch + (<usize>n << 2)));
  dropStack(cpu, <u64>(8 * size));
}

export function enter(cpu: Cpu, i: Insn): void {
  const size = sizeOf(cpu, i);
  const frame = i.imm & 0xffff;
  const level = <u32>(i.imm >> 16) & 31;
  const mask = stackMask(cpu);
  let sp = (cpu.rsp - <u64>size) & mask;
  storeStack(cpu, sp, size, cpu.rbp);
  const top = sp;
  if (level > 0) {
    let bp = cpu.rbp;
    for (let n: u32 = 1; n < level; n++) {
      bp -= <u64>size;
      const outer = loadStackAt(cpu, bp & mask, size);
      sp = (sp - <u64>size) & mask;
      storeStack(cpu, sp, size, outer);
    }
    sp = (sp - <u64>size) & mask;
    storeStack(cpu, sp, size, mergeSp(cpu.rsp, top, mask));
  }
  sp = (sp - frame) & mask;
  // The final stack pointer must be writable (SDM vol. 2, ENTER).
  needCanonicalStack(cpu, sp);
  probeWrite(cpu, memLin(cpu, Seg.SS, sp, size, true), size);
  setSized(cpu, 40, size, mergeSp(cpu.rsp, top, mask));
  cpu.rsp = mergeSp(cpu.rsp, sp, mask);
}

export function leave(cpu: Cpu, i: Insn): void {
  const size = sizeOf(cpu, i);
  const mask = stackMask(cpu);
  const value = loadStackAt(cpu, cpu.rbp & mask, size);
  cpu.rsp = mergeSp(cpu.rsp, cpu.rbp + <u64>size, mask);
  setSized(cpu, 40, size, value);
}

export function pushf(cpu: Cpu, i: Insn): void {
  const size = sizeOf(cpu, i);
  let flags = getFlags(cpu);
  if (isV86(cpu) && (flags & IOPL) != IOPL) {
    if (size != 2 || (cpu.cr4 & CR4_VME) == 0) faultCode(cpu, Vector.GP, 0);
    flags = (flags & ~IF) | IOPL | ((flags & VIF) != 0 ? IF : 0);
  }
  pushValue(cpu, size, <u64>(flags & ~(VM | RF)));
}

export function popf(cpu: Cpu, i: Insn): void {
  const size = sizeOf(cpu, i);
  const old = cpu.eflags;
  if (isV86(cpu) && (old & IOPL) != IOPL) {
    if (size != 2 || (cpu.cr4 & CR4_VME) == 0) faultCode(cpu, Vector.GP, 0);
    const value = <u32>peekStack(cpu, 0, 2);
    if ((value & TF) != 0 || ((value & IF) != 0 && (old & VIP) != 0)) faultCode(cpu, Vector.GP, 0);
    dropStack(cpu, 2);
    setFlags(cpu, value, ARITH | TF | DF | NT);
    cpu.eflags = (cpu.eflags & ~VIF) | ((value & IF) != 0 ? VIF : 0);
    return;
  }
  const value = <u32>peekStack(cpu, 0, size);
  dropStack(cpu, <u64>size);
  let mask: u32 = ARITH | TF | DF | NT;
  if (size != 2) mask |= AC | ID;
  if (isV86(cpu)) mask |= IF;
  else {
    if (cpu.cpl == 0) mask |= IOPL;
    if (cpu.cpl <= (old & IOPL) >> 12) mask |= IF;
  }
  setFlags(cpu, value, mask);
  flagsChanged(cpu, old);
}

/** After a change of IF, TF, AC or VM. */
export function flagsChanged(cpu: Cpu, old: u32): void {
  const now = cpu.eflags;
  if (((now ^ old) & (TF | AC | VM)) != 0) updateMode(cpu);
  if ((now & ~old & (IF | TF)) != 0 && eventPending(cpu)) requestStop(cpu);
}
