// What follows from the architectural state, kept where the interpreter reaches it in one load.
import { AC, CR0_AM, CR0_EM, CR0_PE, CR0_TS, CR4_OSFXSR, Cpu, EFER_LMA, IF, Mode, Seg, TF, VM, segAttr, segBase, segLimit } from "../cpu/state";
import { CPU_BASE, CPU_TLB_MISS, CPU_TLB_SR, CPU_TLB_SW, CPU_TLB_UR, CPU_TLB_UW } from "../layout";
import { execTable } from "../mmu/tlb";
import { Insn, INSN_BYTES } from "../decode/insn";
import { BLOCK_COUNT, BLOCK_HEADER, BLOCK_RECORDS } from "./block-layout";
import { Hot } from "../generated/hot";
import { forgetRegions } from "../jit/queue";
import { jit } from "../jit/state";

/** Present, writable data or readable code, base 0, 4 GiB. */
// @ts-ignore: decorator
@inline function wholeSpace(cpu: Cpu, seg: u32, needBase: bool): bool {
  const attr = segAttr(cpu, seg);
  return (attr & 0x80) != 0 && (attr & 0xc) != 4 && (attr & 2) != 0 && ((attr & 8) == 0) && segLimit(cpu, seg) == 0xffff_ffff && (!needBase || segBase(cpu, seg) == 0);
}

/** Call after any change of CPL, segment registers, CR0, CR3, CR4, EFER, EFLAGS.VM, AC or TF, or DR7. */
export function updateMode(cpu: Cpu): void {
  let mode: u32;
  const base = changetype<usize>(cpu);
  if ((cpu.efer & EFER_LMA) != 0 && (cpu.csAttr & 0x2000) != 0) {
    mode = Mode.CODE64 | Mode.FLAT | Mode.FLAT_FS | Mode.FLAT_GS;
    cpu.addrMask = ~0;
  } else {
    cpu.addrMask = 0xffff_ffff;
    mode = cpu.csAttr & 0x4000 ? Mode.CODE32 : Mode.CODE16;
    if (cpu.ssAttr & 0x4000) mode |= Mode.STACK32;
    if ((cpu.cr0 & CR0_PE) != 0 && (cpu.eflags & VM) == 0) {
      if (cpu.csBase == 0 && cpu.csLimit == 0xffff_ffff && wholeSpace(cpu, Seg.SS, true) && wholeSpace(cpu, Seg.DS, true) && wholeSpace(cpu, Seg.ES, true)) {
        mode |= Mode.FLAT;
        if (wholeSpace(cpu, Seg.FS, false)) mode |= Mode.FLAT_FS;
        if (wholeSpace(cpu, Seg.GS, false)) mode |= Mode.FLAT_GS;
      }
    }
  }
  if ((cpu.cr4 & CR4_OSFXSR) != 0 && (cpu.cr0 & (CR0_EM | CR0_TS)) == 0) mode |= Mode.SIMD;
  const user = cpu.cpl == 3;
  if (user) mode |= Mode.USER;
  cpu.mode = mode;
  const long = u32((cpu.efer & EFER_LMA) != 0);
  if (jit().long != long) {
    jit().long = long;
    forgetRegions();
  }
  const watched = (cpu.dr7 & 0xff) != 0 || (user && (cpu.eflags & AC) != 0 && (cpu.cr0 & CR0_AM) != 0);
  cpu.tlbRead = base + (watched ? CPU_TLB_MISS : user ? CPU_TLB_UR : CPU_TLB_SR);
  cpu.tlbWrite = base + (watched ? CPU_TLB_MISS : user ? CPU_TLB_UW : CPU_TLB_SW);
  cpu.tlbExec = execTable(cpu, user);
  cpu.interpretOnly = u32(watched || base != CPU_BASE);
  refreshKey(cpu);
}

export function refreshKey(cpu: Cpu): void {
  cpu.jumpKey = ((cpu.cpl == 3 ? cpu.userGeneration : cpu.systemGeneration) << 9) | (cpu.interpretOnly << 8) | cpu.mode;
}

/** Instructions of the current block from the one in flight on, itself included; 0 outside of a block. */
function unexecuted(cpu: Cpu): u32 {
  const block = cpu.block;
  if (!block) return 0;
  const insn = cpu.insn;
  return <u32>load<u16>(block, BLOCK_COUNT) - (insn ? <u32>changetype<Insn>(insn).idx : 0);
}

/** Instructions executed since power-on, exact at any moment; the one in flight is not counted yet. */
export function instructionCount(cpu: Cpu): u64 { return cpu.end - <u64><i64>cpu.left - <u64>unexecuted(cpu); }

/** Ends the budget so that at most `remaining` instructions run behind the one in flight. */
export function shorten(cpu: Cpu, remaining: u32): void {
  const rest = unexecuted(cpu);
  const after: i64 = rest ? <i64>rest - 1 : 0; // instructions of the block behind the current one
  const have: i64 = <i64>cpu.left + after;
  if (have <= <i64>remaining) return;
  cpu.end -= <u64>(have - <i64>remaining);
  cpu.left = <i32>(<i64>remaining - after);
  if (after > <i64>remaining && cpu.insn) patchBehind(cpu);
}

/** `run` looks at interrupts and the budget again behind the instruction in flight. */
export function requestStop(cpu: Cpu): void { shorten(cpu, 0); }

/** The block is left behind the record in flight: the next record is replaced by a stop until then. */
export function patchBehind(cpu: Cpu): void {
  cpu.leave = 1;
  if (cpu.patched) return;
  const next = cpu.insn + INSN_BYTES;
  const block = cpu.block;
  if (next >= block + BLOCK_HEADER + <usize>load<u16>(block, BLOCK_RECORDS) * INSN_BYTES) return;
  cpu.patched = next;
  cpu.patchedOp = load<u16>(next);
  store<u16>(next, <u16>Hot.STOP);
}

export function unpatch(cpu: Cpu): void {
  if (!cpu.patched) return;
  store<u16>(cpu.patched, <u16>cpu.patchedOp);
  cpu.patched = 0;
}

/** Whether something waits for an instruction boundary. */
// @ts-ignore: decorator
@inline export function eventPending(cpu: Cpu): bool {
  return (cpu.intr != 0 && (cpu.eflags & IF) != 0) || (cpu.nmiPending != 0 && cpu.nmiMasked == 0) || (cpu.eflags & TF) != 0 || (cpu.dr7 & 0xff) != 0;
}
