// Model-specific registers. SDM vol. 4, table 2-2; 11.11 (MTRRs), 9.12 (PAT) of vol. 3.
import { msrRead, msrWrite } from "../imports";
import { instructionCount, updateMode } from "../interp/mode";
import { flushTlbAll } from "../mmu/tlb";
import { PHYS_BITS } from "./control";
import { showApic } from "./cpuid";
import { faultCode, Vector } from "./fault";
import { isCanonical } from "./segment";
import { CR0_PG, Cpu, EFER_LMA, EFER_LME, EFER_NXE, EFER_SCE } from "./state";

// RDCL_NO IBRS_ALL SKIP_L1DFL_VMENTRY SSB_NO MDS_NO PSCHANGE_MC_NO TAA_NO SBDR_SSDP_NO FBSDP_NO PSDP_NO BHI_NO PBRSB_NO GDS_NO RFDS_NO ITS_NO
const ARCH_CAPABILITIES: u64 = (<u64>1 << 0) | (<u64>1 << 1) | (<u64>1 << 3) | (<u64>1 << 4) | (<u64>1 << 5) | (<u64>1 << 6) | (<u64>1 << 8)
  | (<u64>1 << 13) | (<u64>1 << 14) | (<u64>1 << 15) | (<u64>1 << 20) | (<u64>1 << 24) | (<u64>1 << 26) | (<u64>1 << 27) | (<u64>1 << 62);
const MTRR_CAP: u64 = 0x508; // 8 variable ranges, fixed ranges, write combining
const RATIO: u64 = 10; // 1 GHz at a 100 MHz bus clock
const PHYS_RESERVED: u64 = ~((<u64>1 << PHYS_BITS) - 1);

/** The time stamp counter: 1 GHz, the instruction count plus an offset. */
export function readTsc(cpu: Cpu): u64 { return instructionCount(cpu) + cpu.tscOffset; }

/** Registers that the host holds: local APIC base, deadline, x2APIC, paravirtual clock. */
// @ts-ignore: decorator
@inline function isHostMsr(msr: u32): bool {
  return msr - 0x800 < 0x100 || msr == 0x6e0 || msr == 0x1b || msr == 0x11 || msr == 0x12 || (msr >> 16) == 0x4b56;
}

function unknown(cpu: Cpu): void { faultCode(cpu, Vector.GP, 0); }
function needCanonical(cpu: Cpu, value: u64): void { if (!isCanonical(value)) faultCode(cpu, Vector.GP, 0); }

/** Slot of a fixed-range MTRR, or -1. */
function fixedIndex(msr: u32): i32 {
  if (msr == 0x250) return 0;
  if (msr == 0x258 || msr == 0x259) return msr - 0x257;
  return msr >= 0x268 && msr <= 0x26f ? msr - 0x265 : -1;
}
// @ts-ignore: decorator
@inline function isMemoryType(t: u64, pat: bool): bool { return t < 8 && t != 2 && t != 3 && (pat || t != 7); }
function areMemoryTypes(value: u64, pat: bool): bool {
  for (let n: u64 = 0; n < 64; n += 8) if (!isMemoryType((value >> n) & 0xff, pat)) return false;
  return true;
}

/** RDMSR; #GP(0) for a register that does not exist. */
export function readMsr(cpu: Cpu, msr: u32): u64 {
  if (isHostMsr(msr)) {
    if (msrRead(cpu.id, msr) == 0) unknown(cpu);
    return <u64>cpu.msrLo | (<u64>cpu.msrHi << 32);
  }
  if (msr - 0xc000_0080 < 5 || msr - 0xc000_0100 < 4) return readExtended(cpu, msr);
  if (msr - 0x200 < 16) return load<u64>(changetype<usize>(cpu) + (<usize>(msr - 0x200) << 3), offsetof<Cpu>("mtrrVar0"));
  const fixed = fixedIndex(msr);
  if (fixed >= 0) return load<u64>(changetype<usize>(cpu) + (<usize>fixed << 3), offsetof<Cpu>("mtrrFixed0"));
  switch (msr) {
    case 0x10: return readTsc(cpu);
    case 0x17: return 0; // PLATFORM_ID
    case 0x3a: return 1; // FEATURE_CONTROL: locked, nothing enabled
    case 0x3b: return cpu.tscAdjust;
    case 0x48: return cpu.specCtrl;
    case 0x8b: return cpu.biosSignId;
    case 0xce: return (RATIO << 8) | (RATIO << 40); // PLATFORM_INFO
    case 0xfe: return MTRR_CAP;
    case 0x10a: return ARCH_CAPABILITIES;
    case 0x174: return cpu.sysenterCs;
    case 0x175: return cpu.sysenterEsp;
    case 0x176: return cpu.sysenterEip;
    case 0x17a: return cpu.mcgStatus;
    case 0x198: return RATIO << 8; // PERF_STATUS
    case 0x1a0: return cpu.miscEnable;
    case 0x1d9: return cpu.debugCtl;
    case 0x277: return cpu.pat;
    case 0x2ff: return cpu.mtrrDefType;
    default:
      if (!isQuiet(msr)) unknown(cpu);
      return 0;
  }
}

/** Registers that read as 0 and ignore writes: machine check without banks, thermal, performance and branch-record registers of family 6. */
function isQuiet(msr: u32): bool {
  switch (msr) {
    case 0x00: case 0x01: // P5_MC_ADDR, P5_MC_TYPE
    case 0x2a: // EBL_CR_POWERON
    case 0x34: // SMI_COUNT
    case 0xc1: case 0xc2: // PMC0, PMC1
    case 0x140: // MISC_FEATURES_ENABLES
    case 0x179: // MCG_CAP
    case 0x186: case 0x187: // PERFEVTSEL0, 1
    case 0x199: case 0x19a: case 0x19b: case 0x19c: case 0x1a2: // PERF_CTL, CLOCK_MODULATION, THERM_INTERRUPT, THERM_STATUS, TEMPERATURE_TARGET
    case 0x1c9: case 0x1db: case 0x1dc: case 0x1dd: case 0x1de: // last branch and exception records
      return true;
    default:
      return false;
  }
}

function readExtended(cpu: Cpu, msr: u32): u64 {
  switch (msr & 0x107) {
    case 0: return cpu.efer;
    case 1: return cpu.star;
    case 2: return cpu.lstar;
    case 3: return cpu.cstar;
    case 4: return cpu.sfmask;
    case 0x100: return cpu.fsBase;
    case 0x101: return cpu.gsBase;
    case 0x102: return cpu.kernelGsBase;
    default: return cpu.tscAux;
  }
}

/** WRMSR; #GP(0) for unknown registers, read-only ones and values with reserved bits. */
export function writeMsr(cpu: Cpu, msr: u32, value: u64): void {
  if (isHostMsr(msr)) {
    cpu.msrLo = <u32>value;
    cpu.msrHi = <u32>(value >> 32);
    if (msrWrite(cpu.id, msr, <u32>value, <u32>(value >> 32)) == 0) unknown(cpu);
    if (msr == 0x1b) showApic(cpu, (value & 0x800) != 0);
    return;
  }
  if (msr - 0xc000_0080 < 5 || msr - 0xc000_0100 < 4) return writeExtended(cpu, msr, value);
  if (msr - 0x200 < 16) {
    if ((value & PHYS_RESERVED) != 0 || ((msr & 1) != 0 ? (value & 0x7ff) != 0 : (value & 0xf00) != 0 || !isMemoryType(value & 0xff, false))) unknown(cpu);
    store<u64>(changetype<usize>(cpu) + (<usize>(msr - 0x200) << 3), value, offsetof<Cpu>("mtrrVar0"));
    return;
  }
  const fixed = fixedIndex(msr);
  if (fixed >= 0) {
    if (!areMemoryTypes(value, false)) unknown(cpu);
    store<u64>(changetype<usize>(cpu) + (<usize>fixed << 3), value, offsetof<Cpu>("mtrrFixed0"));
    return;
  }
  switch (msr) {
    case 0x10: {
      const offset = value - instructionCount(cpu);
      cpu.tscAdjust += offset - cpu.tscOffset;
      cpu.tscOffset = offset;
      msrWrite(cpu.id, msr, <u32>value, <u32>(value >> 32)); // deadlines and the paravirtual clock depend on it
      break;
    }
    case 0x3b:
      cpu.tscOffset += value - cpu.tscAdjust;
      cpu.tscAdjust = value;
      msrWrite(cpu.id, msr, <u32>value, <u32>(value >> 32));
      break;
    case 0x48:
      if ((value & ~<u64>0x407) != 0) unknown(cpu); // IBRS, STIBP, SSBD, BHI_DIS_S
      cpu.specCtrl = value;
      break;
    case 0x49: if ((value & ~<u64>1) != 0) unknown(cpu); break; // PRED_CMD
    case 0x79: break; // BIOS_UPDT_TRIG
    case 0x8b: cpu.biosSignId = value == 0 ? cpu.ucodeRev << 32 : value; break;
    case 0x174: cpu.sysenterCs = value & 0xffff_ffff; break;
    case 0x175: needCanonical(cpu, value); cpu.sysenterEsp = value; break;
    case 0x176: needCanonical(cpu, value); cpu.sysenterEip = value; break;
    case 0x17a: if ((value & ~<u64>7) != 0) unknown(cpu); cpu.mcgStatus = value; break;
    case 0x1a0: cpu.miscEnable = value; break;
    case 0x1d9: if ((value & ~<u64>0xdfc3) != 0) unknown(cpu); cpu.debugCtl = value; break;
    case 0x277: if (!areMemoryTypes(value, true)) unknown(cpu); cpu.pat = value; break;
    case 0x2ff:
      if ((value & ~<u64>0xcff) != 0 || !isMemoryType(value & 0xff, false)) unknown(cpu);
      cpu.mtrrDefType = value;
      break;
    default:
      if (!isQuiet(msr) || msr == 0x179) unknown(cpu);
      break;
  }
}

function writeExtended(cpu: Cpu, msr: u32, value: u64): void {
  switch (msr & 0x107) {
    case 0: writeEfer(cpu, value); break;
    case 1: cpu.star = value; break;
    case 2: needCanonical(cpu, value); cpu.lstar = value; break;
    case 3: needCanonical(cpu, value); cpu.cstar = value; break;
    case 4: cpu.sfmask = value & 0xffff_ffff; break;
    case 0x100: needCanonical(cpu, value); cpu.fsBase = value; break;
    case 0x101: needCanonical(cpu, value); cpu.gsBase = value; break;
    case 0x102: needCanonical(cpu, value); cpu.kernelGsBase = value; break;
    default: if ((value >> 32) != 0) unknown(cpu); cpu.tscAux = value; break;
  }
}

function writeEfer(cpu: Cpu, value: u64): void {
  const writable = EFER_SCE | EFER_LME | EFER_NXE;
  if ((value & ~(writable | EFER_LMA)) != 0) unknown(cpu);
  if (((value ^ cpu.efer) & EFER_LME) != 0 && (cpu.cr0 & CR0_PG) != 0) unknown(cpu);
  const old = cpu.efer;
  cpu.efer = (value & writable) | (old & EFER_LMA);
  if (((old ^ value) & EFER_NXE) != 0) flushTlbAll(cpu);
  updateMode(cpu);
}
