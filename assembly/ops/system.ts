// System instructions. SDM vol. 2. Those of the segment registers are in system-segment.ts.
import { entropy, pause as letTimePass } from "../imports";
import { Insn, ea, isMem, osz, seg } from "../decode/insn";
import { rmRead, rmWrite } from "../decode/operand";
import { readCr, readDr, writeCr, writeCr0, writeDr } from "../cpu/control";
import { executeCpuid } from "../cpu/cpuid";
import { fault, faultCode, Vector } from "../cpu/fault";
import { setArith } from "../cpu/flags";
import { readMsr, readTsc, writeMsr } from "../cpu/msr";
import { is64, isCanonical, isV86, needCpl0 } from "../cpu/segment";
import {
  CF, CR0_PE, CR0_TS, CR4_FSGSBASE, CR4_OSXSAVE, CR4_PCIDE, CR4_PVI, CR4_TSD, CR4_VME, Cpu, IF, IOPL, Seg, VIF, VIP, getReg, segBase, setReg,
} from "../cpu/state";
import { eventPending, instructionCount, requestStop, updateMode } from "../interp/mode";
import { memLin, probeWrite, readLin, writeLin } from "../mmu/access";
import { dropPcid, dropPcids } from "../mmu/pcid";
import { flushTlb, flushTlbAll, flushTlbPage } from "../mmu/tlb";

export { arpl, lar, lfp, lldt, lsl, ltr, movSE, sldt, str, verr, verw } from "./system-segment";

// Descriptor tables: limit of two bytes, base of eight in 64-bit mode, else four (of which LGDT and LIDT take three with a 16-bit operand).

function storeTable(cpu: Cpu, i: Insn, base: u64, limit: u32): void {
  const wide = is64(cpu);
  const size: u32 = wide ? 10 : 6;
  const lin = memLin(cpu, seg(i), ea(cpu, i), size, true);
  probeWrite(cpu, lin, size);
  writeLin<u16>(cpu, lin, <u16>limit);
  if (wide) writeLin<u64>(cpu, lin + 2, base);
  else writeLin<u32>(cpu, <u64><u32>(lin + 2), <u32>base);
}

export function sgdt(cpu: Cpu, i: Insn): void { storeTable(cpu, i, cpu.gdtrBase, cpu.gdtrLimit); }
export function sidt(cpu: Cpu, i: Insn): void { storeTable(cpu, i, cpu.idtrBase, cpu.idtrLimit); }

/** Base of the table; its limit goes to temp0. */
function loadTable(cpu: Cpu, i: Insn): u64 {
  needCpl0(cpu);
  const wide = is64(cpu);
  const lin = memLin(cpu, seg(i), ea(cpu, i), wide ? 10 : 6, false);
  cpu.temp0 = <u64>readLin<u16>(cpu, lin);
  if (wide) {
    const base = readLin<u64>(cpu, lin + 2);
    if (!isCanonical(base)) faultCode(cpu, Vector.GP, 0);
    return base;
  }
  const base = readLin<u32>(cpu, <u64><u32>(lin + 2));
  return <u64>(osz(i) == 1 ? base & 0xff_ffff : base);
}

export function lgdt(cpu: Cpu, i: Insn): void {
  cpu.gdtrBase = loadTable(cpu, i);
  cpu.gdtrLimit = <u32>cpu.temp0;
}
export function lidt(cpu: Cpu, i: Insn): void {
  cpu.idtrBase = loadTable(cpu, i);
  cpu.idtrLimit = <u32>cpu.temp0;
}

// Control and debug registers.

export function smsw(cpu: Cpu, i: Insn): void {
  if (isMem(i) || osz(i) == 1) rmWrite<u16>(cpu, i, <u16>cpu.cr0);
  else if (osz(i) == 2) rmWrite<u32>(cpu, i, <u32>cpu.cr0);
  else rmWrite<u64>(cpu, i, cpu.cr0);
}

/** LMSW sets PE, MP, EM and TS, but cannot clear PE. */
export function lmsw(cpu: Cpu, i: Insn): void {
  needCpl0(cpu);
  const value = <u64>rmRead<u16>(cpu, i) & 15;
  writeCr0(cpu, (cpu.cr0 & ~<u64>14) | value);
}

export function clts(cpu: Cpu, i: Insn): void {
  needCpl0(cpu);
  cpu.cr0 &= ~CR0_TS;
  updateMode(cpu);
}

function setWide(cpu: Cpu, off: u32, value: u64): void { setReg<u64>(cpu, off, is64(cpu) ? value : <u64><u32>value); }
function getWide(cpu: Cpu, off: u32): u64 {
  const value = getReg<u64>(cpu, off);
  return is64(cpu) ? value : <u64><u32>value;
}

export function movRCr(cpu: Cpu, i: Insn): void { setWide(cpu, i.b, readCr(cpu, i.a)); }
export function movRDr(cpu: Cpu, i: Insn): void { setWide(cpu, i.b, readDr(cpu, i.a)); }
export function movCrR(cpu: Cpu, i: Insn): void { writeCr(cpu, i.a, getWide(cpu, i.b)); }
export function movDrR(cpu: Cpu, i: Insn): void { writeDr(cpu, i.a, getWide(cpu, i.b)); }

export function invlpg(cpu: Cpu, i: Insn): void {
  needCpl0(cpu);
  const s = seg(i), off = ea(cpu, i);
  if (!is64(cpu)) flushTlbPage(cpu, <u64><u32>(segBase(cpu, s) + off));
  else flushTlbPage(cpu, s >= Seg.FS ? segBase(cpu, s) + off : off);
}

export function invpcid(cpu: Cpu, i: Insn): void {
  if ((cpu.cr0 & CR0_PE) == 0 ? false : isV86(cpu)) faultCode(cpu, Vector.GP, 0);
  needCpl0(cpu);
  const type = getWide(cpu, i.a);
  const lin = memLin(cpu, seg(i), ea(cpu, i), 16, false);
  const pcid = readLin<u64>(cpu, lin);
  const page = readLin<u64>(cpu, is64(cpu) ? lin + 8 : <u64><u32>(lin + 8));
  if (type > 3 || (pcid >> 12) != 0 || (type < 2 && pcid != 0 && (cpu.cr4 & CR4_PCIDE) == 0)) faultCode(cpu, Vector.GP, 0);
  if (type == 0 && !isCanonical(page)) faultCode(cpu, Vector.GP, 0);
  const current = (cpu.cr4 & CR4_PCIDE) != 0 ? cpu.cr3 & 0xfff : 0;
  if (type < 2 && pcid != current) dropPcid(cpu, <u32>pcid);
  else if (type == 0) flushTlbPage(cpu, page);
  else if (type == 2) flushTlbAll(cpu);
  else {
    if (type == 3) dropPcids(cpu);
    flushTlb(cpu);
  }
}

export function invd(cpu: Cpu, i: Insn): void { needCpl0(cpu); }
export function wbinvd(cpu: Cpu, i: Insn): void { needCpl0(cpu); }

// Interrupt flag and idleness.

/** Whether CLI and STI act on VIF: virtual-8086 mode with VME, or level 3 with PVI, below the needed IOPL. #GP(0) when neither may act. */
function virtualIf(cpu: Cpu): bool {
  if ((cpu.cr0 & CR0_PE) == 0) return false;
  const iopl = (cpu.eflags & IOPL) >> 12;
  if (isV86(cpu)) {
    if (iopl == 3) return false;
    if ((cpu.cr4 & CR4_VME) == 0) faultCode(cpu, Vector.GP, 0);
    return true;
  }
  if (cpu.cpl <= iopl) return false;
  if (cpu.cpl != 3 || (cpu.cr4 & CR4_PVI) == 0) faultCode(cpu, Vector.GP, 0);
  return true;
}

export function cli(cpu: Cpu, i: Insn): void {
  if (virtualIf(cpu)) cpu.eflags &= ~VIF;
  else cpu.eflags &= ~IF;
}

export function sti(cpu: Cpu, i: Insn): void {
  if (virtualIf(cpu)) {
    if ((cpu.eflags & VIP) != 0) faultCode(cpu, Vector.GP, 0);
    cpu.eflags |= VIF;
  } else if ((cpu.eflags & IF) == 0) {
    cpu.eflags |= IF;
    cpu.shadow = 1;
    if (eventPending(cpu)) requestStop(cpu);
  }
}

export function hlt(cpu: Cpu, i: Insn): void {
  needCpl0(cpu);
  cpu.halted = 1;
  requestStop(cpu);
}

/** Instructions of a turn of a delay loop, and the least and the most time that one skips, in ns. */
const PAUSE_TURN: u64 = 100;
const PAUSE_LEAST: u32 = 40;
const PAUSE_MOST: u32 = 10_000;

/**
 * PAUSE. A loop that only reads the time stamp counter waits for time to pass, so time is skipped in steps that grow by a quarter: such a delay
 * ends late by a quarter at most.
 */
export function pause(cpu: Cpu, i: Insn): void {
  const now = instructionCount(cpu);
  cpu.pauseNs = cpu.tscRead != 0 && now - cpu.pauseAt < PAUSE_TURN ? min(max(cpu.pauseNs + (cpu.pauseNs >> 2), PAUSE_LEAST), PAUSE_MOST) : 0;
  cpu.pauseAt = now;
  cpu.tscRead = 0;
  if (cpu.pauseNs) letTimePass(cpu.id, cpu.pauseNs);
}

// Counters, identification, entropy.

function setPair(cpu: Cpu, value: u64): void {
  cpu.rax = value & 0xffff_ffff;
  cpu.rdx = value >> 32;
}
function needTsc(cpu: Cpu): void {
  if ((cpu.cr4 & CR4_TSD) != 0 && cpu.cpl != 0 && (cpu.cr0 & CR0_PE) != 0) faultCode(cpu, Vector.GP, 0);
}

export function rdtsc(cpu: Cpu, i: Insn): void {
  needTsc(cpu);
  cpu.tscRead = 1;
  setPair(cpu, readTsc(cpu));
}
export function rdtscp(cpu: Cpu, i: Insn): void {
  needTsc(cpu);
  cpu.tscRead = 1;
  setPair(cpu, readTsc(cpu));
  cpu.rcx = cpu.tscAux & 0xffff_ffff;
}
/** There is no performance counter: #GP(0) for each number. */
export function rdpmc(cpu: Cpu, i: Insn): void { faultCode(cpu, Vector.GP, 0); }
export function rdpid(cpu: Cpu, i: Insn): void { setReg<u64>(cpu, i.b, cpu.tscAux); }
export function cpuid(cpu: Cpu, i: Insn): void { executeCpuid(cpu); }

export function rdrand(cpu: Cpu, i: Insn): void {
  if (osz(i) == 3) {
    const lo = <u64>entropy(cpu.id, 0);
    setReg<u64>(cpu, i.b, lo | (<u64>entropy(cpu.id, 1) << 32));
  } else if (osz(i) == 2) setReg<u32>(cpu, i.b, entropy(cpu.id, 0));
  else setReg<u16>(cpu, i.b, <u16>entropy(cpu.id, 0));
  setArith(cpu, CF);
}
export function rdseed(cpu: Cpu, i: Insn): void { rdrand(cpu, i); }

export function rdmsr(cpu: Cpu, i: Insn): void {
  needCpl0(cpu);
  setPair(cpu, readMsr(cpu, <u32>cpu.rcx));
}
export function wrmsr(cpu: Cpu, i: Insn): void {
  needCpl0(cpu);
  writeMsr(cpu, <u32>cpu.rcx, (cpu.rax & 0xffff_ffff) | (cpu.rdx << 32));
}

// FS and GS bases.

function needFsGsBase(cpu: Cpu): void { if (!is64(cpu) || (cpu.cr4 & CR4_FSGSBASE) == 0) fault(cpu, Vector.UD); }
function setBase(cpu: Cpu, i: Insn, value: u64): void { setReg<u64>(cpu, i.b, osz(i) == 3 ? value : <u64><u32>value); }
function getBase(cpu: Cpu, i: Insn): u64 {
  const value = getReg<u64>(cpu, i.b);
  if (osz(i) != 3) return <u64><u32>value;
  if (!isCanonical(value)) faultCode(cpu, Vector.GP, 0);
  return value;
}

export function rdfsbase(cpu: Cpu, i: Insn): void {
  needFsGsBase(cpu);
  setBase(cpu, i, cpu.fsBase);
}
export function rdgsbase(cpu: Cpu, i: Insn): void {
  needFsGsBase(cpu);
  setBase(cpu, i, cpu.gsBase);
}
export function wrfsbase(cpu: Cpu, i: Insn): void {
  needFsGsBase(cpu);
  cpu.fsBase = getBase(cpu, i);
}
export function wrgsbase(cpu: Cpu, i: Insn): void {
  needFsGsBase(cpu);
  cpu.gsBase = getBase(cpu, i);
}
export function swapgs(cpu: Cpu, i: Insn): void {
  if (!is64(cpu)) fault(cpu, Vector.UD);
  needCpl0(cpu);
  const base = cpu.gsBase;
  cpu.gsBase = cpu.kernelGsBase;
  cpu.kernelGsBase = base;
}

// The rest.

/** BOUND: signed index against a pair in memory, #BR outside of it. */
export function bound(cpu: Cpu, i: Insn): void {
  if (osz(i) == 1) {
    const lin = memLin(cpu, seg(i), ea(cpu, i), 4, false);
    const index = getReg<i16>(cpu, i.a);
    if (index < <i16>readLin<u16>(cpu, lin) || index > <i16>readLin<u16>(cpu, <u64><u32>(lin + 2))) fault(cpu, Vector.BR);
  } else {
    const lin = memLin(cpu, seg(i), ea(cpu, i), 8, false);
    const index = getReg<i32>(cpu, i.a);
    if (index < <i32>readLin<u32>(cpu, lin) || index > <i32>readLin<u32>(cpu, <u64><u32>(lin + 4))) fault(cpu, Vector.BR);
  }
}


export function xgetbv(cpu: Cpu, i: Insn): void {
  if ((cpu.cr4 & CR4_OSXSAVE) == 0) fault(cpu, Vector.UD);
  if (<u32>cpu.rcx != 0) faultCode(cpu, Vector.GP, 0);
  setPair(cpu, cpu.xcr0);
}
export function xsetbv(cpu: Cpu, i: Insn): void {
  if ((cpu.cr4 & CR4_OSXSAVE) == 0) fault(cpu, Vector.UD);
  needCpl0(cpu);
  const value = (cpu.rax & 0xffff_ffff) | (cpu.rdx << 32);
  if (<u32>cpu.rcx != 0 || (value & ~<u64>3) != 0 || (value & 1) == 0) faultCode(cpu, Vector.GP, 0);
  cpu.xcr0 = value;
}

/** CPUID reports no MONITOR. */
export function monitor(cpu: Cpu, i: Insn): void { fault(cpu, Vector.UD); }
export function mwait(cpu: Cpu, i: Insn): void { fault(cpu, Vector.UD); }

/** Hypercalls of the KVM leaf: none exists (-KVM_ENOSYS), and only the kernel may ask (-KVM_EPERM). */
export function vmcall(cpu: Cpu, i: Insn): void { setReg<u64>(cpu, 0, is64(cpu) ? (cpu.cpl == 0 ? <u64>-1000 : <u64>-1) : <u64>(cpu.cpl == 0 ? <u32>-1000 : <u32>-1)); }

export function ud(cpu: Cpu, i: Insn): void { fault(cpu, Vector.UD); }
export function gpTooLong(cpu: Cpu, i: Insn): void { faultCode(cpu, Vector.GP, 0); }
