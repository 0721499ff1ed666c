// Control and debug registers. SDM vol. 3, 2.5, 4.1 (modes of paging), 9.8.5 (IA-32e activation), 17.2.
import { tprRead, tprWrite } from "../imports";
import { eventPending, requestStop, updateMode } from "../interp/mode";
import { readPhys } from "../mmu/physical";
import { switchPcid } from "../mmu/pcid";
import { flushTlb, flushTlbAll } from "../mmu/tlb";
import { fault, faultCode, Vector } from "./fault";
import { DR6_BD } from "./interrupt";
import { ATTR_L, is64, isLong, needCpl0 } from "./segment";
import {
  CR0_ET, CR0_PE, CR0_PG, CR4_DE, CR4_FSGSBASE, CR4_MCE, CR4_OSFXSR, CR4_OSXMMEXCPT, CR4_PAE, CR4_PCE, CR4_PCIDE, CR4_PGE, CR4_PSE, CR4_PVI, CR4_TSD,
  CR4_VME, Cpu, EFER_LMA, EFER_LME,
} from "./state";

/** Width of physical addresses, as CPUID 8000_0008 reports and mmu/walk.ts has it. */
export const PHYS_BITS: u64 = 40;
const CR0_NW: u64 = 0x2000_0000;
const CR0_CD: u64 = 0x4000_0000;
const CR0_BITS: u64 = 0xe005_003f;
const CR4_BITS: u64 = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT
  | CR4_FSGSBASE | CR4_PCIDE;
const PAGING_BITS: u64 = CR4_PSE | CR4_PAE | CR4_PGE;
const PHYS_RESERVED: u64 = ~((<u64>1 << PHYS_BITS) - 1);
const DR6_FIXED: u64 = 0xffff_0ff0;
const DR7_FIXED: u64 = 0x400;

/** #GP(0) when one of the four PDPTEs that `cr3` points at has reserved bits set (SDM vol. 3, 4.4.1). */
function checkPdptes(cpu: Cpu, cr3: u64): void {
  const base = cr3 & 0xffff_ffe0;
  for (let n: u64 = 0; n < 4; n++) {
    const entry = readPhys<u64>(cpu, (base + n * 8) & <u64><i64><i32>cpu.a20Mask);
    if ((entry & 1) != 0 && (entry & (PHYS_RESERVED | 0x1e6)) != 0) faultCode(cpu, Vector.GP, 0);
  }
}

/** MOV to CR0 and LMSW: every consistency check, paging and IA-32e activation. */
export function writeCr0(cpu: Cpu, value: u64): void {
  if ((value >> 32) != 0) faultCode(cpu, Vector.GP, 0);
  const next = (value & CR0_BITS) | CR0_ET;
  const old = cpu.cr0;
  if ((next & CR0_PG) != 0 && (next & CR0_PE) == 0) faultCode(cpu, Vector.GP, 0);
  if ((next & CR0_NW) != 0 && (next & CR0_CD) == 0) faultCode(cpu, Vector.GP, 0);
  let efer = cpu.efer;
  if ((next & CR0_PG) != 0 && (old & CR0_PG) == 0) {
    if ((efer & EFER_LME) != 0) {
      if ((cpu.cr4 & CR4_PAE) == 0 || (cpu.csAttr & ATTR_L) != 0 || (cpu.trAttr & 0x1d) == 1) faultCode(cpu, Vector.GP, 0);
      efer |= EFER_LMA;
    } else if ((cpu.cr4 & CR4_PAE) != 0) checkPdptes(cpu, cpu.cr3);
  } else if ((next & CR0_PG) == 0 && (old & CR0_PG) != 0) {
    if (is64(cpu) || (cpu.cr4 & CR4_PCIDE) != 0) faultCode(cpu, Vector.GP, 0);
    efer &= ~EFER_LMA;
  } else if ((next & CR0_PG) != 0 && ((next ^ old) & (CR0_CD | CR0_NW)) != 0 && (cpu.cr4 & CR4_PAE) != 0 && !isLong(cpu)) checkPdptes(cpu, cpu.cr3);
  cpu.cr0 = next;
  cpu.efer = efer;
  if (((next ^ old) & (CR0_PG | CR0_PE | 0x1_0000)) != 0) flushTlbAll(cpu);
  updateMode(cpu);
}

/** MOV to CR3. Bit 63 with CR4.PCIDE keeps the translations of the new PCID. */
export function writeCr3(cpu: Cpu, value: u64): void {
  const pcid = (cpu.cr4 & CR4_PCIDE) != 0;
  const keep = pcid && (value >> 63) != 0;
  if (pcid) value &= 0x7fff_ffff_ffff_ffff;
  if (isLong(cpu)) {
    if ((value & PHYS_RESERVED) != 0) faultCode(cpu, Vector.GP, 0);
  } else if ((cpu.cr0 & CR0_PG) != 0 && (cpu.cr4 & CR4_PAE) != 0) checkPdptes(cpu, value);
  const old = <u32>cpu.cr3 & 0xfff;
  cpu.cr3 = value;
  if (pcid) switchPcid(cpu, old, <u32>value & 0xfff, keep);
  else flushTlb(cpu);
}

export function writeCr4(cpu: Cpu, value: u64): void {
  const old = cpu.cr4;
  if ((value & ~CR4_BITS) != 0) faultCode(cpu, Vector.GP, 0);
  if (isLong(cpu)) {
    if ((value & CR4_PAE) == 0) faultCode(cpu, Vector.GP, 0);
    if ((value & CR4_PCIDE) != 0 && (old & CR4_PCIDE) == 0 && (cpu.cr3 & 0xfff) != 0) faultCode(cpu, Vector.GP, 0);
  } else {
    if ((value & CR4_PCIDE) != 0) faultCode(cpu, Vector.GP, 0);
    if ((cpu.cr0 & CR0_PG) != 0 && (value & CR4_PAE) != 0 && ((value ^ old) & PAGING_BITS) != 0) checkPdptes(cpu, cpu.cr3);
  }
  cpu.cr4 = value;
  if (((value ^ old) & PAGING_BITS) != 0 || (old & ~value & CR4_PCIDE) != 0) flushTlbAll(cpu);
  updateMode(cpu);
}

/** MOV to control register `n`; 32-bit outside of 64-bit mode. */
export function writeCr(cpu: Cpu, n: u32, value: u64): void {
  if (n != 0 && n != 2 && n != 3 && n != 4 && (n != 8 || !is64(cpu))) fault(cpu, Vector.UD);
  needCpl0(cpu);
  switch (n) {
    case 0: writeCr0(cpu, value); break;
    case 2: cpu.cr2 = value; break;
    case 3: writeCr3(cpu, value); break;
    case 4: writeCr4(cpu, value); break;
    default:
      if (value > 15) faultCode(cpu, Vector.GP, 0);
      tprWrite(cpu.id, <u32>value);
      break;
  }
}

export function readCr(cpu: Cpu, n: u32): u64 {
  if (n != 0 && n != 2 && n != 3 && n != 4 && (n != 8 || !is64(cpu))) fault(cpu, Vector.UD);
  needCpl0(cpu);
  switch (n) {
    case 0: return cpu.cr0;
    case 2: return cpu.cr2;
    case 3: return cpu.cr3;
    case 4: return cpu.cr4;
    default: return <u64>tprRead(cpu.id);
  }
}

/** #UD, #GP and general-detect checks of MOV DRn; returns the register with DR4 and DR5 mapped to 6 and 7. */
function checkDr(cpu: Cpu, n: u32): u32 {
  if (n > 7 || ((n == 4 || n == 5) && (cpu.cr4 & CR4_DE) != 0)) fault(cpu, Vector.UD);
  needCpl0(cpu);
  if ((cpu.dr7 & 0x2000) != 0) {
    cpu.dr7 &= ~<u64>0x2000;
    cpu.dr6 |= DR6_BD;
    fault(cpu, Vector.DB);
  }
  return n == 4 || n == 5 ? n + 2 : n;
}

export function readDr(cpu: Cpu, n: u32): u64 {
  switch (checkDr(cpu, n)) {
    case 0: return cpu.dr0;
    case 1: return cpu.dr1;
    case 2: return cpu.dr2;
    case 3: return cpu.dr3;
    case 6: return cpu.dr6;
    default: return cpu.dr7;
  }
}

export function writeDr(cpu: Cpu, n: u32, value: u64): void {
  n = checkDr(cpu, n);
  if (n >= 6 && (value >> 32) != 0) faultCode(cpu, Vector.GP, 0);
  switch (n) {
    case 0: cpu.dr0 = value; break;
    case 1: cpu.dr1 = value; break;
    case 2: cpu.dr2 = value; break;
    case 3: cpu.dr3 = value; break;
    case 6: cpu.dr6 = (value & 0xe00f) | DR6_FIXED; break;
    default:
      cpu.dr7 = (value & 0xffff_23ff) | DR7_FIXED;
      cpu.shadow = 0; // of an SS load long ago, as nobody looked since
      updateMode(cpu);
      if (eventPending(cpu)) requestStop(cpu);
      break;
  }
}
