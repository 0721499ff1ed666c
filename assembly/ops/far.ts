// Far jumps, calls and returns, IRET and software interrupts. SDM vol. 2; vol. 3, 5.8 (gates), 20.2 (virtual-8086).
import { Insn, ea, osz, rexW, seg } from "../decode/insn";
import { fault, faultCode, Vector } from "../cpu/fault";
import { getFlags, getOF, setFlags } from "../cpu/flags";
import { DR6_BS, Kind, armStep, debugException, deliverInterrupt, push } from "../cpu/interrupt";
import {
  ATTR_B, ATTR_L, ATTR_P, ATTR_S, attrOf, baseOf, checkCodeDirect, checkCodeReturn, checkStack, checkTarget, dplOf, dropInnerSegments,
  fetchDescriptor, fetchUpper, innerStack, innerStack64, is64, isCanonical, isCodeAttr, isConforming, isLong, isProtected, isV86, limitOf,
  markAccessed, mergeSp, needCpl0, setCs, setFromDescriptor, setReal, stackMask,
} from "../cpu/segment";
import { Switch, returnFromTask, switchTask } from "../cpu/task";
import { AC, ARITH, CR0_PE, CR4_VME, Cpu, DF, EFER_SCE, ID, IF, IOPL, NT, RF, Seg, TF, VIF, VIP, VM, setSeg } from "../cpu/state";
import { eventPending, requestStop, updateMode } from "../interp/mode";
import { memLin, readLin, writeSys } from "../mmu/access";
import { dropStack, loadStackAt, peekStack, storeStack } from "./stack";

/** Operand size in bytes. */
// @ts-ignore: decorator
@inline function sizeOf(i: Insn): u32 { return <u32>1 << osz(i); }

/** The far pointer in memory: selector << 32 | offset for 16 and 32 bits; a 64-bit offset goes to temp0. */
function readFar(cpu: Cpu, i: Insn, size: u32): u32 {
  const off = ea(cpu, i), s = seg(i);
  const lin = memLin(cpu, s, off, size + 2, false);
  let offset: u64;
  if (size == 8) offset = readLin<u64>(cpu, lin);
  else offset = size == 4 ? <u64>readLin<u32>(cpu, lin) : <u64>readLin<u16>(cpu, lin);
  const sel = <u32>readLin<u16>(cpu, is64(cpu) ? lin + <u64>size : <u64><u32>(lin + <u64>size));
  cpu.temp0 = offset;
  return sel;
}

export function jmpFarI(cpu: Cpu, i: Insn): void { jumpFar(cpu, <u32>(i.imm >> 32) & 0xffff, <u64><u32>i.imm, sizeOf(i)); }
export function jmpFarE(cpu: Cpu, i: Insn): void {
  const size = sizeOf(i);
  const sel = readFar(cpu, i, size);
  jumpFar(cpu, sel, cpu.temp0, size);
}
export function callFarI(cpu: Cpu, i: Insn): void { callFar(cpu, <u32>(i.imm >> 32) & 0xffff, <u64><u32>i.imm, sizeOf(i)); }
export function callFarE(cpu: Cpu, i: Insn): void {
  const size = sizeOf(i);
  const sel = readFar(cpu, i, size);
  callFar(cpu, sel, cpu.temp0, size);
}

// @ts-ignore: decorator
@inline function cut(off: u64, size: u32): u64 { return size == 2 ? off & 0xffff : size == 4 ? off & 0xffff_ffff : off; }

function jumpFar(cpu: Cpu, sel: u32, off: u64, size: u32): void {
  off = cut(off, size);
  if (!isProtected(cpu)) {
    if (off > <u64>cpu.csLimit) faultCode(cpu, Vector.GP, 0);
    setReal(cpu, Seg.CS, sel);
    cpu.rip = off;
    updateMode(cpu);
    return;
  }
  if ((sel & 0xfffc) == 0) faultCode(cpu, Vector.GP, 0);
  let d = fetchDescriptor(cpu, sel, Vector.GP, 0);
  if ((attrOf(d) & ATTR_S) != 0) {
    d = checkCodeDirect(cpu, sel, d);
    checkTarget(cpu, d, off, 0);
    setCs(cpu, sel, d, cpu.cpl);
    cpu.rip = off;
    updateMode(cpu);
  } else systemTransfer(cpu, sel, d, Switch.JMP);
}

function callFar(cpu: Cpu, sel: u32, off: u64, size: u32): void {
  off = cut(off, size);
  const mask = stackMask(cpu);
  if (!isProtected(cpu)) {
    if (off > <u64>cpu.csLimit) faultCode(cpu, Vector.GP, 0);
    pushReturn(cpu, size, mask);
    setReal(cpu, Seg.CS, sel);
    cpu.rip = off;
    updateMode(cpu);
    return;
  }
  if ((sel & 0xfffc) == 0) faultCode(cpu, Vector.GP, 0);
  let d = fetchDescriptor(cpu, sel, Vector.GP, 0);
  if ((attrOf(d) & ATTR_S) != 0) {
    d = checkCodeDirect(cpu, sel, d);
    checkTarget(cpu, d, off, 0);
    pushReturn(cpu, size, mask);
    setCs(cpu, sel, d, cpu.cpl);
    cpu.rip = off;
    updateMode(cpu);
  } else systemTransfer(cpu, sel, d, Switch.CALL);
}

/** Pushes CS and the return address on the current stack. */
function pushReturn(cpu: Cpu, size: u32, mask: u64): void {
  let sp = (cpu.rsp - <u64>size) & mask;
  storeStack(cpu, sp, size, <u64>cpu.csSel);
  sp = (sp - <u64>size) & mask;
  storeStack(cpu, sp, size, cpu.rip);
  cpu.rsp = mergeSp(cpu.rsp, sp, mask);
}

/** JMP or CALL through a gate or to a TSS. */
function systemTransfer(cpu: Cpu, sel: u32, d: u64, source: u32): void {
  const attr = attrOf(d), type = attr & 0xf, code = sel & 0xfffc;
  const long = isLong(cpu);
  const gate = type == 12 || (type == 4 && !long);
  if (!gate && (long || (type != 1 && type != 9 && type != 5))) faultCode(cpu, Vector.GP, code);
  if (dplOf(attr) < cpu.cpl || dplOf(attr) < (sel & 3)) faultCode(cpu, Vector.GP, code);
  if ((attr & ATTR_P) == 0) faultCode(cpu, Vector.NP, code);
  if (gate) throughGate(cpu, sel, d, source == Switch.CALL);
  else switchTask(cpu, type == 5 ? <u32>(d >> 16) & 0xffff : sel, source, getFlags(cpu), 0);
}

function throughGate(cpu: Cpu, gateSel: u32, gate: u64, call: bool): void {
  const long = isLong(cpu);
  let off = (gate & 0xffff) | ((gate >> 32) & 0xffff_0000);
  const wide = (attrOf(gate) & 8) != 0;
  if (long) off |= fetchUpper(cpu, gateSel, Vector.GP, 0) << 32;
  else if (!wide) off &= 0xffff;
  const sel = <u32>(gate >> 16) & 0xffff, code = sel & 0xfffc;
  if (code == 0) faultCode(cpu, Vector.GP, 0);
  let d = fetchDescriptor(cpu, sel, Vector.GP, 0);
  const attr = attrOf(d), dpl = dplOf(attr);
  if (!isCodeAttr(attr) || dpl > cpu.cpl) faultCode(cpu, Vector.GP, code);
  if (long && (attr & (ATTR_L | ATTR_B)) != ATTR_L) faultCode(cpu, Vector.GP, code);
  if (!call && !isConforming(attr) && dpl != cpu.cpl) faultCode(cpu, Vector.GP, code);
  if ((attr & ATTR_P) == 0) faultCode(cpu, Vector.NP, code);
  const inner = call && !isConforming(attr) && dpl < cpu.cpl;
  const size: u32 = long ? 8 : wide ? 4 : 2;
  if (!inner) {
    checkTarget(cpu, d, off, 0);
    d = markAccessed(cpu, sel, d);
    if (call) pushReturn(cpu, size, stackMask(cpu));
    setCs(cpu, sel, d, cpu.cpl);
  } else if (long) {
    const rsp = innerStack64(cpu, 4 + dpl * 8, 0);
    checkTarget(cpu, d, off, 0);
    if (!isCanonical(rsp - 32) || !isCanonical(rsp - 1)) faultCode(cpu, Vector.SS, 0);
    d = markAccessed(cpu, sel, d);
    writeSys<u64>(cpu, rsp - 8, <u64>cpu.ssSel);
    writeSys<u64>(cpu, rsp - 16, cpu.rsp);
    writeSys<u64>(cpu, rsp - 24, <u64>cpu.csSel);
    writeSys<u64>(cpu, rsp - 32, cpu.rip);
    cpu.rsp = rsp - 32;
    setSeg(cpu, Seg.SS, dpl, 0, 0, 0);
    setCs(cpu, sel, d, dpl);
  } else {
    const stack = innerStack(cpu, dpl, 0);
    const ss = <u32>(stack >> 32), ssCode = ss & 0xfffc;
    if (ssCode == 0) faultCode(cpu, Vector.TS, 0);
    const sd = checkStack(cpu, ss, dpl, Vector.TS, 0);
    checkTarget(cpu, d, off, 0);
    const base = baseOf(sd), limit = limitOf(sd), sa = attrOf(sd);
    const oldMask = stackMask(cpu);
    let sp = <u32>stack;
    sp = push(cpu, size, base, limit, sa, sp, cpu.ssSel, true, ssCode);
    sp = push(cpu, size, base, limit, sa, sp, <u32>cpu.rsp, true, ssCode);
    for (let n = <u32>(gate >> 32) & 31; n != 0; n--) {
      const value = <u32>loadStackAt(cpu, (cpu.rsp + <u64>((n - 1) * size)) & oldMask, size);
      sp = push(cpu, size, base, limit, sa, sp, value, true, ssCode);
    }
    sp = push(cpu, size, base, limit, sa, sp, cpu.csSel, true, ssCode);
    sp = push(cpu, size, base, limit, sa, sp, <u32>cpu.rip, true, ssCode);
    d = markAccessed(cpu, sel, d);
    setFromDescriptor(cpu, Seg.SS, ss, sd);
    cpu.rsp = mergeSp(cpu.rsp, <u64>sp, (sa & ATTR_B) != 0 ? 0xffff_ffff : 0xffff);
    setCs(cpu, sel, d, dpl);
  }
  cpu.rip = off;
  updateMode(cpu);
}

export function retf(cpu: Cpu, i: Insn): void { returnFar(cpu, sizeOf(i), 0); }
export function retfI(cpu: Cpu, i: Insn): void { returnFar(cpu, sizeOf(i), <u32>i.imm & 0xffff); }

function returnFar(cpu: Cpu, size: u32, extra: u32): void {
  const rip = peekStack(cpu, 0, size);
  const sel = <u32>peekStack(cpu, size, size) & 0xffff;
  if (!isProtected(cpu)) {
    if (rip > <u64>cpu.csLimit) faultCode(cpu, Vector.GP, 0);
    dropStack(cpu, <u64>(2 * size + extra));
    setReal(cpu, Seg.CS, sel);
    cpu.rip = rip;
    updateMode(cpu);
    return;
  }
  const d = checkCodeReturn(cpu, sel);
  if ((sel & 3) == cpu.cpl) {
    checkTarget(cpu, d, rip, 0);
    dropStack(cpu, <u64>(2 * size + extra));
    setCs(cpu, sel, d, cpu.cpl);
  } else {
    const rsp = peekStack(cpu, 2 * size + extra, size);
    const ss = <u32>peekStack(cpu, 3 * size + extra, size) & 0xffff;
    const sd = checkReturnStack(cpu, ss, sel, d);
    checkTarget(cpu, d, rip, 0);
    setCs(cpu, sel, d, sel & 3);
    setReturnStack(cpu, ss, sd, rsp, <u64>extra);
    dropInnerSegments(cpu);
  }
  cpu.rip = rip;
  updateMode(cpu);
}

/** SS of a return to code selector `cs`: its descriptor, or 0 for a null selector, which 64-bit code of levels 0 to 2 may have. */
function checkReturnStack(cpu: Cpu, ss: u32, cs: u32, code: u64): u64 {
  const rpl = cs & 3;
  if ((ss & 0xfffc) == 0) {
    if (rpl == 3 || (ss & 3) != rpl || !isLong(cpu) || (attrOf(code) & ATTR_L) == 0) faultCode(cpu, Vector.GP, 0);
    return 0;
  }
  return checkStack(cpu, ss, rpl, Vector.GP, 0);
}

/** Loads SS and the stack pointer of an outer level; CS is already the new one. */
function setReturnStack(cpu: Cpu, ss: u32, d: u64, rsp: u64, extra: u64): void {
  if (d == 0) setSeg(cpu, Seg.SS, ss, 0, 0, 0);
  else setFromDescriptor(cpu, Seg.SS, ss, d);
  const mask: u64 = (cpu.csAttr & ATTR_L) != 0 && isLong(cpu) ? 0xffff_ffff_ffff_ffff : (cpu.ssAttr & ATTR_B) != 0 ? 0xffff_ffff : 0xffff;
  cpu.rsp = mergeSp(cpu.rsp, rsp + extra, mask);
}

export function iret(cpu: Cpu, i: Insn): void {
  const size = sizeOf(i);
  const old = cpu.eflags;
  cpu.nmiMasked = 0; // even when it faults (SDM vol. 3, 6.7.1)
  if (!isProtected(cpu)) iretReal(cpu, size);
  else if ((old & NT) != 0) {
    if (isLong(cpu)) faultCode(cpu, Vector.GP, 0);
    returnFromTask(cpu);
  } else iretProtected(cpu, size);
  // RF is only kept when somebody looks at it: it lets one instruction pass its breakpoint.
  if ((cpu.dr7 & 0xff) == 0) cpu.eflags &= ~RF;
  if (eventPending(cpu)) requestStop(cpu);
}

function iretReal(cpu: Cpu, size: u32): void {
  const v86 = isV86(cpu);
  const vme = v86 && (cpu.eflags & IOPL) != IOPL;
  if (vme && (size != 2 || (cpu.cr4 & CR4_VME) == 0)) faultCode(cpu, Vector.GP, 0);
  const rip = peekStack(cpu, 0, size);
  const sel = <u32>peekStack(cpu, size, size) & 0xffff;
  const flags = <u32>peekStack(cpu, 2 * size, size);
  if (rip > <u64>cpu.csLimit) faultCode(cpu, Vector.GP, 0);
  let mask = ARITH | TF | DF | NT;
  if (vme) {
    if ((flags & TF) != 0 || ((flags & IF) != 0 && (cpu.eflags & VIP) != 0)) faultCode(cpu, Vector.GP, 0);
  } else mask |= v86 ? IF : IF | IOPL;
  if (size != 2) mask |= RF | AC | ID;
  dropStack(cpu, <u64>(3 * size));
  setReal(cpu, Seg.CS, sel);
  cpu.rip = rip;
  setFlags(cpu, flags, mask);
  if (vme) cpu.eflags = (cpu.eflags & ~VIF) | ((flags & IF) != 0 ? VIF : 0);
  updateMode(cpu);
}

function iretProtected(cpu: Cpu, size: u32): void {
  const long = isLong(cpu), wide = is64(cpu);
  let rip: u64, rsp: u64 = 0;
  let sel: u32, flags: u32, ss: u32 = 0;
  if (size == 8) {
    // 64-bit mode: one check for the whole frame
    const at = cpu.rsp;
    if (!isCanonical(at) || !isCanonical(at + 39)) faultCode(cpu, Vector.SS, 0);
    rip = readLin<u64>(cpu, at);
    sel = <u32>readLin<u64>(cpu, at + 8) & 0xffff;
    flags = <u32>readLin<u64>(cpu, at + 16);
    rsp = readLin<u64>(cpu, at + 24);
    ss = <u32>readLin<u64>(cpu, at + 32) & 0xffff;
  } else {
    rip = peekStack(cpu, 0, size);
    sel = <u32>peekStack(cpu, size, size) & 0xffff;
    flags = <u32>peekStack(cpu, 2 * size, size);
    if ((flags & VM) != 0 && cpu.cpl == 0 && size == 4 && !long) {
      returnToV86(cpu, rip, sel, flags);
      return;
    }
  }
  const d = checkCodeReturn(cpu, sel);
  const level = sel & 3;
  let mask = ARITH | TF | DF | NT;
  if (size != 2) mask |= RF | AC | ID;
  if (cpu.cpl <= (cpu.eflags & IOPL) >> 12) mask |= IF;
  if (cpu.cpl == 0) mask |= size != 2 ? IOPL | VIF | VIP : IOPL;
  if (level == cpu.cpl && !wide) {
    checkTarget(cpu, d, rip, 0);
    dropStack(cpu, <u64>(3 * size));
    setCs(cpu, sel, d, level);
  } else {
    if (size != 8) {
      rsp = peekStack(cpu, 3 * size, size);
      ss = <u32>peekStack(cpu, 4 * size, size) & 0xffff;
    }
    const sd = checkReturnStack(cpu, ss, sel, d);
    checkTarget(cpu, d, rip, 0);
    const outer = level != cpu.cpl;
    setCs(cpu, sel, d, level);
    setReturnStack(cpu, ss, sd, rsp, 0);
    if (outer) dropInnerSegments(cpu);
  }
  cpu.rip = rip;
  setFlags(cpu, flags, mask);
  updateMode(cpu);
}

function returnToV86(cpu: Cpu, rip: u64, cs: u32, flags: u32): void {
  const esp = peekStack(cpu, 12, 4);
  const ss = <u32>peekStack(cpu, 16, 4);
  const es = <u32>peekStack(cpu, 20, 4);
  const ds = <u32>peekStack(cpu, 24, 4);
  const fs = <u32>peekStack(cpu, 28, 4);
  const gs = <u32>peekStack(cpu, 32, 4);
  if (rip > 0xffff) faultCode(cpu, Vector.GP, 0);
  setFlags(cpu, flags, ARITH | TF | IF | DF | IOPL | NT | RF | VM | AC | VIF | VIP | ID);
  cpu.cpl = 3;
  setReal(cpu, Seg.CS, cs);
  setReal(cpu, Seg.SS, ss);
  setReal(cpu, Seg.ES, es);
  setReal(cpu, Seg.DS, ds);
  setReal(cpu, Seg.FS, fs);
  setReal(cpu, Seg.GS, gs);
  cpu.rsp = esp;
  cpu.rip = rip;
  updateMode(cpu);
}

// Software interrupts. A fault on the way leaves the instruction pointer on the instruction.

export function intN(cpu: Cpu, i: Insn): void { deliverInterrupt(cpu, <u32>i.imm & 0xff, Kind.SOFTWARE); }
export function int3(cpu: Cpu, i: Insn): void { deliverInterrupt(cpu, Vector.BP, Kind.TRAP); }
export function int1(cpu: Cpu, i: Insn): void { debugException(cpu); }
export function into(cpu: Cpu, i: Insn): void { if (getOF(cpu) != 0) deliverInterrupt(cpu, Vector.OF, Kind.TRAP); }

// Fast system calls (SDM vol. 3, 5.8.7 and 5.8.8). They load flat segments without looking at the tables.

const CODE_64: u32 = 0xa09b; // G L P, DPL 0, code readable accessed
const CODE_32: u32 = 0xc09b;
const DATA_32: u32 = 0xc093;
const DPL_3: u32 = 0x60;

function setFlat(cpu: Cpu, s: u32, sel: u32, attr: u32): void { setSeg(cpu, s, sel & 0xffff, 0, 0xffff_ffff, attr); }

export function syscall(cpu: Cpu, i: Insn): void {
  // In compatibility mode it is AMD's: there only for software that has set CSTAR, which systems do not on an Intel processor.
  if ((cpu.efer & EFER_SCE) == 0 || !(is64(cpu) || (isLong(cpu) && cpu.cstar != 0))) fault(cpu, Vector.UD);
  const entry = is64(cpu) ? cpu.lstar : cpu.cstar;
  cpu.rcx = cpu.rip;
  cpu.r11 = <u64>(getFlags(cpu) & ~RF);
  cpu.rip = entry;
  const sel = <u32>(cpu.star >> 32) & 0xfffc;
  setFlat(cpu, Seg.CS, sel, CODE_64);
  setFlat(cpu, Seg.SS, sel + 8, DATA_32);
  const clear = <u32>cpu.sfmask;
  setFlags(cpu, 0, clear | RF | VM);
  cpu.cpl = 0;
  stepByResult(cpu);
  updateMode(cpu);
}

/** SYSCALL and SYSRET trap by the TF that they leave, not by the one that they found. */
function stepByResult(cpu: Cpu): void {
  cpu.blockedDb &= ~DR6_BS;
  if ((cpu.eflags & TF) != 0) armStep(cpu);
}

export function sysret(cpu: Cpu, i: Insn): void {
  if ((cpu.efer & EFER_SCE) == 0 || !is64(cpu)) fault(cpu, Vector.UD);
  needCpl0(cpu);
  const base = <u32>(cpu.star >> 48);
  if (rexW(i)) {
    if (!isCanonical(cpu.rcx)) faultCode(cpu, Vector.GP, 0);
    setFlat(cpu, Seg.CS, (base + 16) | 3, CODE_64 | DPL_3);
    cpu.rip = cpu.rcx;
  } else {
    setFlat(cpu, Seg.CS, base | 3, CODE_32 | DPL_3);
    cpu.rip = <u64><u32>cpu.rcx;
  }
  setFlat(cpu, Seg.SS, (base + 8) | 3, DATA_32 | DPL_3);
  setFlags(cpu, <u32>cpu.r11, 0x003c_7fd7 | RF);
  if ((cpu.dr7 & 0xff) == 0) cpu.eflags &= ~RF;
  cpu.cpl = 3;
  stepByResult(cpu);
  updateMode(cpu);
  if (eventPending(cpu)) requestStop(cpu);
}

export function sysenter(cpu: Cpu, i: Insn): void {
  const sel = <u32>cpu.sysenterCs & 0xfffc;
  if ((cpu.cr0 & CR0_PE) == 0 || sel == 0) faultCode(cpu, Vector.GP, 0);
  const long = isLong(cpu);
  setFlags(cpu, 0, VM | IF | RF);
  setFlat(cpu, Seg.CS, sel, long ? CODE_64 : CODE_32);
  setFlat(cpu, Seg.SS, sel + 8, DATA_32);
  cpu.rsp = long ? cpu.sysenterEsp : <u64><u32>cpu.sysenterEsp;
  cpu.rip = long ? cpu.sysenterEip : <u64><u32>cpu.sysenterEip;
  cpu.cpl = 0;
  updateMode(cpu);
}

export function sysexit(cpu: Cpu, i: Insn): void {
  const sel = <u32>cpu.sysenterCs & 0xfffc;
  if ((cpu.cr0 & CR0_PE) == 0 || sel == 0 || cpu.cpl != 0) faultCode(cpu, Vector.GP, 0);
  if (rexW(i) && is64(cpu)) {
    if (!isCanonical(cpu.rcx) || !isCanonical(cpu.rdx)) faultCode(cpu, Vector.GP, 0);
    setFlat(cpu, Seg.CS, (sel + 32) | 3, CODE_64 | DPL_3);
    setFlat(cpu, Seg.SS, (sel + 40) | 3, DATA_32 | DPL_3);
    cpu.rsp = cpu.rcx;
    cpu.rip = cpu.rdx;
  } else {
    setFlat(cpu, Seg.CS, (sel + 16) | 3, CODE_32 | DPL_3);
    setFlat(cpu, Seg.SS, (sel + 24) | 3, DATA_32 | DPL_3);
    cpu.rsp = <u64><u32>cpu.rcx;
    cpu.rip = <u64><u32>cpu.rdx;
  }
  cpu.cpl = 3;
  updateMode(cpu);
}
