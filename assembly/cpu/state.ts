// All state of one CPU. Nothing else in the core is mutable, but the caches, which are derived.
import { CPU_BASE, CPU_STRIDE, CPU_ST, CPU_XMM } from "../layout";

/** Segment registers in their encoding order (SDM vol. 2, 2.1.5), then the two system ones. */
export namespace Seg {
  export const ES: u32 = 0;
  export const CS: u32 = 1;
  export const SS: u32 = 2;
  export const DS: u32 = 3;
  export const FS: u32 = 4;
  export const GS: u32 = 5;
  export const LDTR: u32 = 6;
  export const TR: u32 = 7;
}

/** What the lazy flags hold: type * 4 + log2(bytes), and overrides of CF and OF. EXPLICIT: flR is the arithmetic part of EFLAGS. See cpu/flags.ts. */
export namespace Lazy {
  export const EXPLICIT: u32 = 0;
  export const ADD: u32 = 1;
  export const SUB: u32 = 2;
  export const ADC: u32 = 3; // with carry in
  export const SBB: u32 = 4; // with borrow in
  export const LOGIC: u32 = 5;
  export const INC: u32 = 6; // flA is the old carry
  export const DEC: u32 = 7;
  export const SHIFT: u32 = 8; // like LOGIC, but AF is set; comes with both overrides
  export const KIND: u32 = 0x3c; // the type's bits
  export const FIX_CF: u32 = 0x100; // CF is bit 9, whatever the type says
  export const FIX_OF: u32 = 0x400; // OF is bit 11
  export const FIX: u32 = 0xf00;
}

/** Why `run` returned. */
export namespace Exit {
  export const BUDGET: i32 = 0; // the budget is spent, or the host asked for a stop
  export const HALT: i32 = 1; // HLT, nothing pending
  export const SHUTDOWN: i32 = 2; // triple fault
}

/** CPU_MODE bits, the key of decoded code: operand and address size, stack size, and whether segment bases and limits matter. */
export namespace Mode {
  export const CODE16: u32 = 0;
  export const CODE32: u32 = 1;
  export const CODE64: u32 = 2;
  export const SIZE: u32 = 3;
  export const STACK32: u32 = 4; // SS.B, clear in 64-bit mode
  export const FLAT: u32 = 8; // CS, DS, ES, SS: base 0, whole 4 GiB (or 64-bit mode)
  export const FLAT_FS: u32 = 16; // FS usable, whole 4 GiB: only its base counts (or 64-bit mode)
  export const FLAT_GS: u32 = 32;
  export const SIMD: u32 = 64; // SSE may run: CR4.OSFXSR set, CR0.EM and CR0.TS clear
  export const USER: u32 = 128; // CPL 3
}

/** Cpu.missCode when there is none. */
export const NO_MISS: u32 = 0xffff_ffff;

@unmanaged
export class Cpu {
  // General registers; decoded records hold byte offsets into the 256 bytes that begin here, so the order is fixed.
  rax: u64; rcx: u64; rdx: u64; rbx: u64; rsp: u64; rbp: u64; rsi: u64; rdi: u64;
  r8: u64; r9: u64; r10: u64; r11: u64; r12: u64; r13: u64; r14: u64; r15: u64;
  zero: u64; // always 0: the base or index of an address that has none
  brip: u64; // instruction pointer (offset in CS) of the first instruction of the current block
  esBase: u64; csBase: u64; ssBase: u64; dsBase: u64; fsBase: u64; gsBase: u64; ldtrBase: u64; trBase: u64;
  temp0: u64; temp1: u64; temp2: u64; temp3: u64; temp4: u64; temp5: u64;

  // Selectors, limits (last valid byte, granularity applied) and attributes: bits 8..23 of the descriptor's second word, shifted down by 8:
  // 0-3 type, 4 S, 5-6 DPL, 7 P, 12 AVL, 13 L, 14 D/B, 15 G. A null or unusable segment has attributes 0.
  esSel: u32; csSel: u32; ssSel: u32; dsSel: u32; fsSel: u32; gsSel: u32; ldtrSel: u32; trSel: u32;
  esLimit: u32; csLimit: u32; ssLimit: u32; dsLimit: u32; fsLimit: u32; gsLimit: u32; ldtrLimit: u32; trLimit: u32;
  esAttr: u32; csAttr: u32; ssAttr: u32; dsAttr: u32; fsAttr: u32; gsAttr: u32; ldtrAttr: u32; trAttr: u32;
  gdtrBase: u64; idtrBase: u64; gdtrLimit: u32; idtrLimit: u32;

  rip: u64; // offset in CS; valid outside of `run`, and around block-ending operations
  flT: u32; // lazy arithmetic flags: Lazy type * 4 + size, overrides
  eflags: u32; // every flag but CF PF AF ZF SF OF; bit 1 set
  flA: u64;
  flR: u64;

  cr0: u64; cr2: u64; cr3: u64; cr4: u64; efer: u64; xcr0: u64;
  dr0: u64; dr1: u64; dr2: u64; dr3: u64; dr6: u64; dr7: u64;

  cpl: u32;
  id: u32; // index of this CPU
  mode: u32; // Mode bits, derived by updateMode
  shadow: u32; // 1: no interrupt is taken before the next instruction (STI, MOV SS)
  halted: u32;
  nmiMasked: u32;
  nmiPending: u32;
  intr: u32; // level of the INTR pin
  a20Mask: u32; // and-mask of physical addresses: ~0 or ~(1 << 20)
  blockedDb: u32; // pending single-step trap held by MOV SS

  // The fault in flight (cpu/fault.ts) and the delivery that was under way when it happened (cpu/interrupt.ts).
  faultVector: u32;
  faultHasCode: u32;
  faultCode: u32;
  faultPending: u32;
  // The page fault that a translation without faults found last: error code and CR2; NO_MISS when it was none.
  missCode: u32; missLin: u64;
  delivering: i32; // vector being delivered, -1 when none
  exit: i32;

  // The budget: `left` instructions remain until absolute count `end`; a block takes its whole length when it is entered.
  end: u64;
  left: i32;
  block: usize; // current block
  insn: usize; // record of the instruction in flight, 0 while fetching; set before anything that can fault
  patched: usize; // record whose operation was replaced to stop behind the one in flight, 0 when none
  patchedOp: u32;
  // Parts of the jump cache key, for level 3 and for the others; a change empties the cache for them. `generation` is the last that was given out.
  generation: u32; userGeneration: u32; systemGeneration: u32;
  localCode: u32; // the cache may hold code of the other levels from pages that are not global
  leave: u32; // compiled code is to be left behind the operation in flight
  bail: u32; // it was left before an instruction that the interpreter must execute: Left.* of jit/state.ts plus 1, 1 from then on
  tscOffset: u64; // TSC = instruction count + tscOffset (SDM vol. 3, 18.17), 1 GHz

  // Derived by updateMode, for the interpreter.
  addrMask: u64; // of linear addresses: 32 or 64 bits
  tlbRead: usize; tlbWrite: usize; tlbExec: usize;
  jumpKey: u32; evictions: u32; interpretOnly: u32; // accesses are watched, or the compiler works for another CPU
  logCount: u32; // entries in the TLB log
  largeLo: u64; largeHi: u64; // linear range that large pages were cached from
  hugeSeen: u32; // a 1 GiB page was among them
  pcidClock: u32; // mmu/pcid.ts
  stepTrap: u32; // the instruction in flight began with TF set: a #DB follows it unless a delivery clears this

  // PAUSE (ops/system.ts): the instruction count at the last one, how much time the next skips, and whether the counter was read since.
  pauseAt: u64;
  pauseNs: u32; tscRead: u32;

  // MSRs.
  star: u64; lstar: u64; cstar: u64; sfmask: u64; kernelGsBase: u64; tscAux: u64;
  sysenterCs: u64; sysenterEsp: u64; sysenterEip: u64;
  pat: u64; miscEnable: u64; mtrrDefType: u64; tscAdjust: u64; specCtrl: u64; debugCtl: u64; mcgStatus: u64;
  mtrrFixed0: u64; mtrrFixed1: u64; mtrrFixed2: u64; mtrrFixed3: u64; mtrrFixed4: u64; mtrrFixed5: u64;
  mtrrFixed6: u64; mtrrFixed7: u64; mtrrFixed8: u64; mtrrFixed9: u64; mtrrFixed10: u64;
  mtrrVar0: u64; mtrrVar1: u64; mtrrVar2: u64; mtrrVar3: u64; mtrrVar4: u64; mtrrVar5: u64; mtrrVar6: u64; mtrrVar7: u64;
  mtrrVar8: u64; mtrrVar9: u64; mtrrVar10: u64; mtrrVar11: u64; mtrrVar12: u64; mtrrVar13: u64; mtrrVar14: u64; mtrrVar15: u64;
  msrLo: u32; msrHi: u32; // the mailbox of the msrRead and msrWrite imports
  biosSignId: u64; ucodeRev: u64;

  // x87 and SSE control. The registers are at CPU_ST and CPU_XMM.
  fpuControl: u32; fpuStatus: u32; // TOP is kept in fpuStatus bits 11-13
  fpuTags: u32; // one bit per physical register: 1 = empty (as FXSAVE inverted)
  fpuOpcode: u32; // last instruction, 11 bits
  fpuIp: u64; fpuDp: u64; fpuCs: u32; fpuDs: u32;
  mxcsr: u32; mxcsrMask: u32;
}

export const SEG_BASE: usize = offsetof<Cpu>("esBase");
export const SEG_SEL: usize = offsetof<Cpu>("esSel");
export const SEG_LIMIT: usize = offsetof<Cpu>("esLimit");
export const SEG_ATTR: usize = offsetof<Cpu>("esAttr");

// @ts-ignore: decorator
@inline export function cpuAt(index: u32): Cpu { return changetype<Cpu>(CPU_BASE + <usize>index * CPU_STRIDE); }

// @ts-ignore: decorator
@inline export function segBase(cpu: Cpu, seg: u32): u64 { return load<u64>(changetype<usize>(cpu) + (<usize>seg << 3), SEG_BASE); }
// @ts-ignore: decorator
@inline export function segSel(cpu: Cpu, seg: u32): u32 { return load<u32>(changetype<usize>(cpu) + (<usize>seg << 2), SEG_SEL); }
// @ts-ignore: decorator
@inline export function segLimit(cpu: Cpu, seg: u32): u32 { return load<u32>(changetype<usize>(cpu) + (<usize>seg << 2), SEG_LIMIT); }
// @ts-ignore: decorator
@inline export function segAttr(cpu: Cpu, seg: u32): u32 { return load<u32>(changetype<usize>(cpu) + (<usize>seg << 2), SEG_ATTR); }

export function setSeg(cpu: Cpu, seg: u32, sel: u32, base: u64, limit: u32, attr: u32): void {
  const p = changetype<usize>(cpu);
  store<u64>(p + (<usize>seg << 3), base, SEG_BASE);
  store<u32>(p + (<usize>seg << 2), sel, SEG_SEL);
  store<u32>(p + (<usize>seg << 2), limit, SEG_LIMIT);
  store<u32>(p + (<usize>seg << 2), attr, SEG_ATTR);
}

// Registers by byte offset (as decoded records hold them). A 32-bit write clears the upper half, 8- and 16-bit writes keep the rest.
// @ts-ignore: decorator
@inline export function getReg<T>(cpu: Cpu, off: u32): T { return load<T>(changetype<usize>(cpu) + <usize>off); }
// @ts-ignore: decorator
@inline export function setReg<T>(cpu: Cpu, off: u32, value: T): void {
  if (sizeof<T>() == 4) store<u64>(changetype<usize>(cpu) + <usize>off, <u64><u32>value);
  else store<T>(changetype<usize>(cpu) + <usize>off, value);
}
/** Register by number, 0 = rAX to 15. */
// @ts-ignore: decorator
@inline export function getGpr(cpu: Cpu, index: u32): u64 { return load<u64>(changetype<usize>(cpu) + (<usize>index << 3)); }
// @ts-ignore: decorator
@inline export function setGpr(cpu: Cpu, index: u32, value: u64): void { store<u64>(changetype<usize>(cpu) + (<usize>index << 3), value); }

/** Address of XMM register `index`. */
// @ts-ignore: decorator
@inline export function xmmAt(cpu: Cpu, index: u32): usize { return changetype<usize>(cpu) + CPU_XMM + (<usize>index << 4); }
/** Address of physical x87 register `index` (not ST-relative). MMX register i is the significand of physical register i. */
// @ts-ignore: decorator
@inline export function stAt(cpu: Cpu, index: u32): usize { return changetype<usize>(cpu) + CPU_ST + (<usize>index << 4); }

export const CF: u32 = 1;
export const PF: u32 = 4;
export const AF: u32 = 16;
export const ZF: u32 = 64;
export const SF: u32 = 128;
export const TF: u32 = 0x100;
export const IF: u32 = 0x200;
export const DF: u32 = 0x400;
export const OF: u32 = 0x800;
export const IOPL: u32 = 0x3000;
export const NT: u32 = 0x4000;
export const RF: u32 = 0x1_0000;
export const VM: u32 = 0x2_0000;
export const AC: u32 = 0x4_0000;
export const VIF: u32 = 0x8_0000;
export const VIP: u32 = 0x10_0000;
export const ID: u32 = 0x20_0000;
export const ARITH: u32 = CF | PF | AF | ZF | SF | OF;

export const CR0_PE: u64 = 1;
export const CR0_MP: u64 = 2;
export const CR0_EM: u64 = 4;
export const CR0_TS: u64 = 8;
export const CR0_ET: u64 = 16;
export const CR0_NE: u64 = 32;
export const CR0_WP: u64 = 0x1_0000;
export const CR0_AM: u64 = 0x4_0000;
export const CR0_PG: u64 = 0x8000_0000;
export const CR4_VME: u64 = 1;
export const CR4_PVI: u64 = 2;
export const CR4_TSD: u64 = 4;
export const CR4_DE: u64 = 8;
export const CR4_PSE: u64 = 16;
export const CR4_PAE: u64 = 32;
export const CR4_MCE: u64 = 64;
export const CR4_PGE: u64 = 128;
export const CR4_PCE: u64 = 256;
export const CR4_OSFXSR: u64 = 512;
export const CR4_OSXMMEXCPT: u64 = 1024;
export const CR4_FSGSBASE: u64 = 0x1_0000;
export const CR4_PCIDE: u64 = 0x2_0000;
export const CR4_OSXSAVE: u64 = 0x4_0000;
export const EFER_SCE: u64 = 1;
export const EFER_LME: u64 = 0x100;
export const EFER_LMA: u64 = 0x400;
export const EFER_NXE: u64 = 0x800;
