// Power-on and INIT state. SDM vol. 3, table 9-1.
import { updateMode } from "../interp/mode";
import { flushTlbAll } from "../mmu/tlb";
import { CPU_ST, CPU_XMM } from "../layout";
import { Cpu, Seg, setSeg } from "./state";

/** CPUID.1:EAX of the reported processor: family 6, model 0x86, stepping 1. */
export const SIGNATURE: u32 = 0x0008_0661;

/** Power-on state: real mode at FFFF:FFF0. The index, the CPUID table and the memory stay. */
export function resetCpu(cpu: Cpu): void {
  initCpu(cpu);
  cpu.cr0 = 0x6000_0010;
  cpu.xcr0 = 1;
  cpu.tscOffset = 0;
  cpu.tscAdjust = 0;
  cpu.star = 0;
  cpu.lstar = 0;
  cpu.cstar = 0;
  cpu.sfmask = 0;
  cpu.kernelGsBase = 0;
  cpu.tscAux = 0;
  cpu.sysenterCs = 0;
  cpu.sysenterEsp = 0;
  cpu.sysenterEip = 0;
  cpu.pat = 0x0007_0406_0007_0406;
  cpu.miscEnable = 1; // fast strings
  cpu.mtrrDefType = 0;
  memory.fill(changetype<usize>(cpu) + offsetof<Cpu>("mtrrFixed0"), 0, 27 * 8);
  cpu.specCtrl = 0;
  cpu.debugCtl = 0;
  cpu.mcgStatus = 0;
  cpu.ucodeRev = 1;
  cpu.biosSignId = cpu.ucodeRev << 32;
  cpu.a20Mask = 0xffff_ffff;
  memory.fill(changetype<usize>(cpu) + CPU_XMM, 0, 256);
  memory.fill(changetype<usize>(cpu) + CPU_ST, 0, 128);
  cpu.fpuControl = 0x40;
  cpu.fpuStatus = 0;
  cpu.fpuTags = 0;
  cpu.fpuOpcode = 0;
  cpu.fpuIp = 0;
  cpu.fpuDp = 0;
  cpu.fpuCs = 0;
  cpu.fpuDs = 0;
  cpu.mxcsr = 0x1f80;
  cpu.mxcsrMask = 0xffff;
  updateMode(cpu);
}

/** INIT: as power-on, but caches' control bits, the x87 and SSE state, the time stamp counter and most MSRs stay. */
export function initCpu(cpu: Cpu): void {
  for (let n: usize = 0; n < 16; n++) store<u64>(changetype<usize>(cpu) + (n << 3), 0);
  cpu.zero = 0;
  cpu.rdx = <u64>SIGNATURE;
  cpu.rip = 0xfff0;
  cpu.flT = 0;
  cpu.flR = 0;
  cpu.flA = 0;
  cpu.eflags = 2;
  cpu.cr0 = (cpu.cr0 & 0x6000_0000) | 0x10;
  cpu.cr2 = 0;
  cpu.cr3 = 0;
  cpu.cr4 = 0;
  cpu.efer = 0;
  cpu.dr0 = 0;
  cpu.dr1 = 0;
  cpu.dr2 = 0;
  cpu.dr3 = 0;
  cpu.dr6 = 0xffff_0ff0;
  cpu.dr7 = 0x400;
  for (let n: u32 = 0; n < 6; n++) setSeg(cpu, n, 0, 0, 0xffff, 0x93);
  setSeg(cpu, Seg.CS, 0xf000, 0xffff_0000, 0xffff, 0x93);
  setSeg(cpu, Seg.LDTR, 0, 0, 0xffff, 0x82);
  setSeg(cpu, Seg.TR, 0, 0, 0xffff, 0x8b);
  cpu.gdtrBase = 0;
  cpu.gdtrLimit = 0xffff;
  cpu.idtrBase = 0;
  cpu.idtrLimit = 0xffff;
  cpu.cpl = 0;
  cpu.shadow = 0;
  cpu.halted = 0;
  cpu.nmiMasked = 0;
  cpu.nmiPending = 0;
  cpu.blockedDb = 0;
  cpu.faultPending = 0;
  cpu.delivering = -1;
  cpu.exit = 0;
  cpu.pauseNs = 0;
  cpu.tscRead = 0;
  cpu.insn = 0;
  flushTlbAll(cpu);
  updateMode(cpu);
}

/** The start-up interprocessor interrupt: real mode at `vector` << 12, after INIT. */
export function startCpu(cpu: Cpu, vector: u32): void {
  setSeg(cpu, Seg.CS, vector << 8, <u64>vector << 12, 0xffff, 0x93);
  cpu.rip = 0;
  cpu.halted = 0;
  updateMode(cpu);
}
