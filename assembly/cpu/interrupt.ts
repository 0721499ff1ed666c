// Delivery of interrupts and exceptions. SDM vol. 3, 6.12 to 6.14 and 20.3; vol. 2, INT n.
import { interruptAck } from "../imports";
import { requestStop, updateMode } from "../interp/mode";
import { readSys, writeLin, writeSys } from "../mmu/access";
import { Insn, thisRip } from "../decode/insn";
import { getFlags } from "./flags";
import { fault, faultCode, Vector } from "./fault";
import {
  ATTR_B, ATTR_L, ATTR_P, attrOf, baseOf, checkStack, checkTarget, dplOf, fetchDescriptor, innerStack, innerStack64, inLimit, is64, isCanonical,
  isCodeAttr, isConforming, isLong, isV86, limitOf, markAccessed, mergeSp, setCs, setFromDescriptor, setReal, stackMask, systemLin,
} from "./segment";
import { Switch, switchTask } from "./task";
import { AC, CR0_PE, CR4_DE, CR4_VME, Cpu, Exit, IF, IOPL, NT, RF, Seg, TF, VIF, VM, setSeg } from "./state";

/** What raised the interrupt: it decides the DPL check and the EXT bit of error codes. */
export namespace Kind {
  export const EXTERNAL: u32 = 0;
  export const SOFTWARE: u32 = 1; // INT n
  export const TRAP: u32 = 2; // INT3, INTO
  export const EXCEPTION: u32 = 3;
  export const NMI: u32 = 4;
}

const NO_CODE: u64 = 0xffff_ffff_ffff_ffff;
const DR6_HITS: u64 = 0xf;
export const DR6_BD: u64 = 0x2000;
export const DR6_BS: u32 = 0x4000;
export const DR6_BT: u32 = 0x8000;

/** Delivers an interrupt without an error code; the frame returns to Cpu.rip. */
export function deliverInterrupt(cpu: Cpu, vector: u32, kind: u32): void {
  deliver(cpu, vector, kind == Kind.SOFTWARE || kind == Kind.TRAP, kind == Kind.SOFTWARE, NO_CODE, getFlags(cpu));
}

/**
 * After a throw: delivers the fault that the CPU record holds, with RIP at the instruction that raised it. A throw may happen again; the host
 * calls once more. Returns 0 to continue, 2 (Exit.SHUTDOWN) after a triple fault.
 */
export function deliverFault(cpu: Cpu): i32 {
  cpu.faultPending = 0;
  const at = cpu.insn;
  if (at != 0) {
    const rip = thisRip(cpu, changetype<Insn>(at));
    cpu.rip = is64(cpu) ? rip : <u64><u32>rip;
    cpu.insn = 0;
  }
  let vector = cpu.faultVector;
  let code: u64 = cpu.faultHasCode != 0 ? <u64>cpu.faultCode : NO_CODE;
  const first = cpu.delivering;
  if (first >= 0) {
    const second = severity(vector);
    if (first == Vector.DF && second != 0) {
      cpu.delivering = -1;
      cpu.exit = Exit.SHUTDOWN;
      return Exit.SHUTDOWN;
    }
    const was = severity(<u32>first);
    if ((was == 1 && second == 1) || (was == 2 && second != 0)) {
      vector = Vector.DF;
      code = 0;
    }
  }
  cpu.delivering = <i32>vector;
  let flags = getFlags(cpu);
  if (vector != Vector.DB) flags |= RF;
  deliver(cpu, vector, false, false, code, flags);
  cpu.delivering = -1;
  return 0;
}

/** 0 benign, 1 contributory, 2 page fault (SDM vol. 3, table 6-4). */
function severity(vector: u32): u32 {
  if (vector == Vector.PF) return 2;
  return vector == Vector.DE || (vector >= Vector.TS && vector <= Vector.GP) ? 1 : 0;
}

/** At an instruction boundary: takes an NMI, or an external interrupt when IF allows. True when one was taken. */
export function takeInterrupt(cpu: Cpu): bool {
  if (cpu.shadow != 0) return false;
  if (cpu.nmiPending != 0 && cpu.nmiMasked == 0) {
    cpu.nmiPending = 0;
    cpu.nmiMasked = 1;
    cpu.halted = 0;
    cpu.insn = 0;
    deliverInterrupt(cpu, Vector.NMI, Kind.NMI);
    return true;
  }
  if (cpu.intr == 0 || (cpu.eflags & IF) == 0) return false;
  const vector = interruptAck(cpu.id);
  if (vector < 0) return false;
  cpu.halted = 0;
  cpu.insn = 0;
  deliverInterrupt(cpu, <u32>vector & 0xff, Kind.EXTERNAL);
  return true;
}

function deliver(cpu: Cpu, vector: u32, soft: bool, intN: bool, code: u64, flags: u32): void {
  // What MOV SS holds back outlives INT n, INT3 and INTO, not a fault; the step over them is dropped with TF.
  cpu.blockedDb = soft ? cpu.blockedDb & <u32>DR6_HITS : 0;
  if (isLong(cpu)) deliverLong(cpu, vector, soft, code, flags);
  else if ((cpu.cr0 & CR0_PE) == 0) deliverReal(cpu, cpu.idtrBase, vector, flags, true);
  else {
    if (intN && isV86(cpu)) {
      if ((cpu.cr4 & CR4_VME) != 0 && !redirected(cpu, vector)) {
        deliverVirtual(cpu, vector, flags);
        return;
      }
      if ((cpu.eflags & IOPL) != IOPL) faultCode(cpu, Vector.GP, 0);
    }
    deliverProtected(cpu, vector, soft, code, flags);
  }
}

function deliverReal(cpu: Cpu, table: u64, vector: u32, flags: u32, limited: bool): void {
  if (limited && vector * 4 + 3 > cpu.idtrLimit) faultCode(cpu, Vector.GP, vector * 8 + 2);
  const entry = readSys<u32>(cpu, <u64><u32>(table + <u64>(vector * 4)));
  const mask = stackMask(cpu);
  let sp = <u32>(cpu.rsp & mask);
  const sys = cpu.cpl < 3;
  sp = push(cpu, 2, cpu.ssBase, cpu.ssLimit, cpu.ssAttr, sp, flags, sys, 0);
  sp = push(cpu, 2, cpu.ssBase, cpu.ssLimit, cpu.ssAttr, sp, cpu.csSel, sys, 0);
  sp = push(cpu, 2, cpu.ssBase, cpu.ssLimit, cpu.ssAttr, sp, <u32>cpu.rip, sys, 0);
  if ((entry & 0xffff) > cpu.csLimit) faultCode(cpu, Vector.GP, 0);
  cpu.rsp = mergeSp(cpu.rsp, <u64>sp, mask);
  setReal(cpu, Seg.CS, entry >> 16);
  cpu.rip = <u64>(entry & 0xffff);
  cpu.eflags &= ~(IF | TF | AC | RF);
  updateMode(cpu);
}

/** The bit of the TSS's interrupt redirection map, which ends where the I/O map begins: set means a protected-mode handler. */
function redirected(cpu: Cpu, vector: u32): bool {
  if ((cpu.trAttr & 8) == 0 || cpu.trLimit < 103) faultCode(cpu, Vector.GP, 0);
  const io = <u32>readSys<u16>(cpu, systemLin(cpu, cpu.trBase + 102));
  const off = io - 32 + (vector >> 3);
  if (io < 32 || off > cpu.trLimit) faultCode(cpu, Vector.GP, 0);
  return ((<u32>readSys<u8>(cpu, systemLin(cpu, cpu.trBase + <u64>off)) >> (vector & 7)) & 1) != 0;
}

/** INT n inside virtual-8086 mode through the table at linear 0 (methods 5 and 6). */
function deliverVirtual(cpu: Cpu, vector: u32, flags: u32): void {
  if ((cpu.eflags & IOPL) == IOPL) {
    deliverReal(cpu, 0, vector, flags, false);
    return;
  }
  const keptIf = cpu.eflags & IF;
  deliverReal(cpu, 0, vector, (flags & ~IF) | IOPL | ((flags & VIF) != 0 ? IF : 0), false);
  cpu.eflags = (cpu.eflags & ~VIF) | keptIf;
}

/** One push of 2 or 4 bytes on a stack given by its parts; `code` is what #SS carries. Returns the new stack pointer. */
export function push(cpu: Cpu, size: u32, base: u64, limit: u32, attr: u32, sp: u32, value: u32, sys: bool, code: u32): u32 {
  sp -= size;
  if ((attr & ATTR_B) == 0) sp &= 0xffff;
  if (attr == 0 || !inLimit(attr, limit, sp, size)) faultCode(cpu, Vector.SS, code);
  const lin = <u64><u32>(base + <u64>sp);
  if (size == 4) {
    if (sys) writeSys<u32>(cpu, lin, value);
    else writeLin<u32>(cpu, lin, value);
  } else if (sys) writeSys<u16>(cpu, lin, <u16>value);
  else writeLin<u16>(cpu, lin, <u16>value);
  return sp;
}

function deliverProtected(cpu: Cpu, vector: u32, soft: bool, code: u64, flags: u32): void {
  const ext: u32 = soft ? 0 : 1;
  const idtCode = (vector * 8 + 2) | ext;
  if (vector * 8 + 7 > cpu.idtrLimit) faultCode(cpu, Vector.GP, idtCode);
  const gate = readSys<u64>(cpu, <u64><u32>(cpu.idtrBase + <u64>(vector * 8)));
  const gateAttr = attrOf(gate), type = gateAttr & 0x1f;
  if (type != 14 && type != 15 && (type < 5 || type > 7)) faultCode(cpu, Vector.GP, idtCode);
  if (soft && dplOf(gateAttr) < cpu.cpl) faultCode(cpu, Vector.GP, idtCode);
  if ((gateAttr & ATTR_P) == 0) faultCode(cpu, Vector.NP, idtCode);
  const sel = <u32>(gate >> 16) & 0xffff;
  if (type == 5) {
    switchTask(cpu, sel, Switch.CALL, flags, ext);
    if (code != NO_CODE) {
      const mask = stackMask(cpu);
      const size: u32 = (cpu.trAttr & 8) != 0 ? 4 : 2;
      const sp = push(cpu, size, cpu.ssBase, cpu.ssLimit, cpu.ssAttr, <u32>(cpu.rsp & mask), <u32>code, cpu.cpl < 3, ext);
      cpu.rsp = mergeSp(cpu.rsp, <u64>sp, mask);
    }
    return;
  }

  if ((sel & 0xfffc) == 0) faultCode(cpu, Vector.GP, ext);
  const selCode = (sel & 0xfffc) | ext;
  let d = fetchDescriptor(cpu, sel, Vector.GP, ext);
  const attr = attrOf(d), dpl = dplOf(attr);
  if (!isCodeAttr(attr) || dpl > cpu.cpl) faultCode(cpu, Vector.GP, selCode);
  if ((attr & ATTR_P) == 0) faultCode(cpu, Vector.NP, selCode);
  const v86 = isV86(cpu);
  const inner = !isConforming(attr) && dpl < cpu.cpl;
  if (v86 && (!inner || dpl != 0)) faultCode(cpu, Vector.GP, selCode);
  d = markAccessed(cpu, sel, d);
  const size: u32 = (type & 8) != 0 ? 4 : 2;
  const off = size == 4 ? (<u32>gate & 0xffff) | (<u32>(gate >> 32) & 0xffff_0000) : <u32>gate & 0xffff;
  const oldSp = <u32>cpu.rsp;

  if (inner) {
    const stack = innerStack(cpu, dpl, ext);
    const ss = <u32>(stack >> 32);
    if ((ss & 0xfffc) == 0) faultCode(cpu, Vector.TS, ext);
    const sd = checkStack(cpu, ss, dpl, Vector.TS, ext);
    checkTarget(cpu, d, <u64>off, ext);
    const base = baseOf(sd), limit = limitOf(sd), sa = attrOf(sd), ssCode = (ss & 0xfffc) | ext;
    let sp = <u32>stack;
    if (v86) {
      sp = push(cpu, size, base, limit, sa, sp, cpu.gsSel, true, ssCode);
      sp = push(cpu, size, base, limit, sa, sp, cpu.fsSel, true, ssCode);
      sp = push(cpu, size, base, limit, sa, sp, cpu.dsSel, true, ssCode);
      sp = push(cpu, size, base, limit, sa, sp, cpu.esSel, true, ssCode);
    }
    sp = push(cpu, size, base, limit, sa, sp, cpu.ssSel, true, ssCode);
    sp = push(cpu, size, base, limit, sa, sp, oldSp, true, ssCode);
    sp = push(cpu, size, base, limit, sa, sp, flags, true, ssCode);
    sp = push(cpu, size, base, limit, sa, sp, cpu.csSel, true, ssCode);
    sp = push(cpu, size, base, limit, sa, sp, <u32>cpu.rip, true, ssCode);
    if (code != NO_CODE) sp = push(cpu, size, base, limit, sa, sp, <u32>code, true, ssCode);
    if (v86) {
      setSeg(cpu, Seg.GS, 0, 0, 0, 0);
      setSeg(cpu, Seg.FS, 0, 0, 0, 0);
      setSeg(cpu, Seg.DS, 0, 0, 0, 0);
      setSeg(cpu, Seg.ES, 0, 0, 0, 0);
    }
    setFromDescriptor(cpu, Seg.SS, ss, sd);
    cpu.rsp = mergeSp(cpu.rsp, <u64>sp, (sa & ATTR_B) != 0 ? 0xffff_ffff : 0xffff);
    setCs(cpu, sel, d, dpl);
  } else {
    checkTarget(cpu, d, <u64>off, ext);
    const mask = stackMask(cpu), sys = cpu.cpl < 3;
    let sp = <u32>(cpu.rsp & mask);
    sp = push(cpu, size, cpu.ssBase, cpu.ssLimit, cpu.ssAttr, sp, flags, sys, ext);
    sp = push(cpu, size, cpu.ssBase, cpu.ssLimit, cpu.ssAttr, sp, cpu.csSel, sys, ext);
    sp = push(cpu, size, cpu.ssBase, cpu.ssLimit, cpu.ssAttr, sp, <u32>cpu.rip, sys, ext);
    if (code != NO_CODE) sp = push(cpu, size, cpu.ssBase, cpu.ssLimit, cpu.ssAttr, sp, <u32>code, sys, ext);
    cpu.rsp = mergeSp(cpu.rsp, <u64>sp, mask);
    setCs(cpu, sel, d, cpu.cpl);
  }
  cpu.rip = <u64>off;
  cpu.eflags &= ~(TF | NT | RF | VM | ((type & 1) == 0 ? IF : 0));
  updateMode(cpu);
}

function deliverLong(cpu: Cpu, vector: u32, soft: bool, code: u64, flags: u32): void {
  const ext: u32 = soft ? 0 : 1;
  const idtCode = (vector * 8 + 2) | ext;
  if (vector * 16 + 15 > cpu.idtrLimit) faultCode(cpu, Vector.GP, idtCode);
  const at = cpu.idtrBase + <u64>(vector * 16);
  const gate = readSys<u64>(cpu, at);
  const gateAttr = attrOf(gate);
  if ((gateAttr & 0x1e) != 14) faultCode(cpu, Vector.GP, idtCode);
  if (soft && dplOf(gateAttr) < cpu.cpl) faultCode(cpu, Vector.GP, idtCode);
  if ((gateAttr & ATTR_P) == 0) faultCode(cpu, Vector.NP, idtCode);
  const off = (gate & 0xffff) | ((gate >> 32) & 0xffff_0000) | (<u64>readSys<u32>(cpu, at + 8) << 32);
  const sel = <u32>(gate >> 16) & 0xffff;

  if ((sel & 0xfffc) == 0) faultCode(cpu, Vector.GP, ext);
  const selCode = (sel & 0xfffc) | ext;
  let d = fetchDescriptor(cpu, sel, Vector.GP, ext);
  const attr = attrOf(d), dpl = dplOf(attr);
  if (!isCodeAttr(attr) || dpl > cpu.cpl || (attr & (ATTR_L | ATTR_B)) != ATTR_L) faultCode(cpu, Vector.GP, selCode);
  if ((attr & ATTR_P) == 0) faultCode(cpu, Vector.NP, selCode);
  const level = isConforming(attr) ? cpu.cpl : dpl;
  const ist = <u32>(gate >> 32) & 7;
  let rsp: u64;
  if (ist != 0) rsp = innerStack64(cpu, 28 + ist * 8, ext);
  else if (level != cpu.cpl) rsp = innerStack64(cpu, 4 + level * 8, ext);
  else rsp = is64(cpu) ? cpu.rsp : <u64><u32>cpu.rsp;
  if (!isCanonical(off)) faultCode(cpu, Vector.GP, ext);
  rsp &= ~<u64>15;
  if (!isCanonical(rsp - 48) || !isCanonical(rsp - 1)) faultCode(cpu, Vector.SS, ext);
  d = markAccessed(cpu, sel, d);
  if (level < 3) {
    writeSys<u64>(cpu, rsp - 8, <u64>cpu.ssSel);
    writeSys<u64>(cpu, rsp - 16, cpu.rsp);
    writeSys<u64>(cpu, rsp - 24, <u64>flags);
    writeSys<u64>(cpu, rsp - 32, <u64>cpu.csSel);
    writeSys<u64>(cpu, rsp - 40, cpu.rip);
    if (code != NO_CODE) writeSys<u64>(cpu, rsp - 48, code);
  } else {
    writeLin<u64>(cpu, rsp - 8, <u64>cpu.ssSel);
    writeLin<u64>(cpu, rsp - 16, cpu.rsp);
    writeLin<u64>(cpu, rsp - 24, <u64>flags);
    writeLin<u64>(cpu, rsp - 32, <u64>cpu.csSel);
    writeLin<u64>(cpu, rsp - 40, cpu.rip);
    if (code != NO_CODE) writeLin<u64>(cpu, rsp - 48, code);
  }
  cpu.rsp = code != NO_CODE ? rsp - 48 : rsp - 40;
  if (level != cpu.cpl) setSeg(cpu, Seg.SS, level, 0, 0, 0);
  setCs(cpu, sel, d, level);
  cpu.rip = off;
  cpu.eflags &= ~(TF | NT | RF | ((gateAttr & 1) == 0 ? IF : 0));
  updateMode(cpu);
}

// Debug exceptions (SDM vol. 3, 17.2, 17.3). Cpu.blockedDb collects the DR6 bits of traps that wait for the end of the instruction.

/** DR6 of a debug exception: the breakpoint bits are those of this one, the rest stays until software clears it. */
function noteDebug(cpu: Cpu, bits: u32): void { cpu.dr6 = (cpu.dr6 & ~DR6_HITS) | <u64>bits; }

/** Before an instruction that starts with TF set. */
export function armStep(cpu: Cpu): void { cpu.blockedDb |= DR6_BS; }

/** After an instruction: delivers the traps that it left, unless MOV SS or POP SS holds them back. True when #DB was delivered. */
export function takeDebugTrap(cpu: Cpu): bool {
  const bits = cpu.blockedDb;
  if (bits == 0 || cpu.shadow == 2) return false;
  noteDebug(cpu, bits);
  cpu.halted = 0;
  cpu.insn = 0;
  debugException(cpu);
  return true;
}

/** #DB as a trap: the frame returns to Cpu.rip. Faults met on the way are handled as those of an exception. */
export function debugException(cpu: Cpu): void {
  deliver(cpu, Vector.DB, false, false, NO_CODE, getFlags(cpu));
}

/** DR6 bits of the breakpoints that cover [lin, lin + size) for one of the access kinds in `kinds` (bit n: R/W field n); 0 when none is enabled. */
function matchBreakpoints(cpu: Cpu, lin: u64, size: u32, kinds: u32): u32 {
  const dr7 = <u32>cpu.dr7;
  let hits: u32 = 0, enabled: u32 = 0;
  for (let n: u32 = 0; n < 4; n++) {
    if (((kinds >> ((dr7 >> (16 + n * 4)) & 3)) & 1) == 0) continue;
    const lenField = (dr7 >> (18 + n * 4)) & 3;
    const len: u64 = lenField == 2 ? 8 : <u64>lenField + 1;
    const start = load<u64>(changetype<usize>(cpu) + (<usize>n << 3), offsetof<Cpu>("dr0")) & ~(len - 1);
    if (start + len <= lin || lin + <u64>size <= start) continue;
    hits |= 1 << n;
    if (((dr7 >> (n * 2)) & 3) != 0) enabled = 1;
  }
  return enabled != 0 ? hits : 0;
}

/** Before the instruction at `rip`: raises #DB as a fault when an instruction breakpoint is set there; RF lets one instruction pass. */
export function checkInsnBreakpoints(cpu: Cpu, rip: u64): void {
  if ((cpu.eflags & RF) != 0) {
    cpu.eflags &= ~RF;
    return;
  }
  if ((cpu.dr7 & 0xff) == 0 || cpu.shadow == 2) return;
  const lin = is64(cpu) ? rip : <u64><u32>(cpu.csBase + rip);
  const hits = matchBreakpoints(cpu, lin, 1, 1);
  if (hits == 0) return;
  noteDebug(cpu, hits);
  fault(cpu, Vector.DB);
}

/** Notes a data access; a hit traps after the instruction. */
export function dataBreakpoint(cpu: Cpu, lin: u64, size: u32, write: bool): void {
  const hits = matchBreakpoints(cpu, lin, size, write ? 10 : 8);
  if (hits == 0) return;
  cpu.blockedDb |= hits;
  requestStop(cpu);
}

/** Notes a port access; breakpoints on ports need CR4.DE. */
export function portBreakpoint(cpu: Cpu, port: u32, size: u32): void {
  if ((cpu.dr7 & 0xff) == 0 || (cpu.cr4 & CR4_DE) == 0) return;
  const hits = matchBreakpoints(cpu, <u64>port, size, 4);
  if (hits == 0) return;
  cpu.blockedDb |= hits;
  requestStop(cpu);
}
