// Moves, flag instructions and the time stamp, as far as the interpreter has them as thick operations. Follows ops/mov.ts, ops/stack.ts and
// ops/system.ts.
import { AF, CF, CR4_TSD, Cpu, DF, IF, IOPL, Mode, OF, PF, RF, SEG_SEL, SF, TF, VM, ZF } from "../cpu/state";
import { BLOCK_COUNT } from "../interp/block-layout";
import { Insn, asz, isMem, osz } from "../decode/insn";
import { closePush, openPush } from "./int-jump";
import { pushCarry, pushCond } from "./flags";
import { bitsKnown, fixCarry, pushArith } from "./int-flags";
import { leaveIf, openStore, pushRm, rmToY } from "./int-operand";
import { L, Stored, constant, cut, lt, ly, popReg, pushAddress, pushReg, put, record, signed, write } from "./operands";
import { jit } from "./state";
import { W, get, i32c, i64c, mem, op, tee, set } from "./wasm";

const RAX: u32 = 0;
const AH: u32 = 1;
const RCX: u32 = 8;
const RDX: u32 = 16;
const EFLAGS: u32 = <u32>offsetof<Cpu>("eflags");
const CPL: u32 = <u32>offsetof<Cpu>("cpl");

function load32(offset: u32): void {
  record();
  mem(W.I32_LOAD, offset);
}

export function emitStore(i: Insn, s: u32, immediate: bool): void {
  openStore(i, s);
  if (isMem(i)) get(L.H);
  if (immediate) constant(s, i.imm);
  else pushReg(i.a, s);
  if (isMem(i)) put(s);
  else popReg(i.b, s);
}
export function emitLoad(i: Insn, s: u32): void {
  pushRm(i, s);
  popReg(i.a, s);
}

/** MOVZX and MOVSX from size `from`. */
export function emitExtend(i: Insn, from: u32, s: u32, asSigned: bool): void {
  pushRm(i, from);
  if (asSigned) {
    signed(from);
    if (s == 3) op(W.I64_EXTEND_S);
    cut(s);
  } else if (s == 3) op(W.I64_EXTEND_U);
  popReg(i.a, s);
}

/** LEA whose address is narrower than the mode's, or whose result has 16 bits. False for 16-bit addresses. */
export function emitLea(i: Insn, s: u32): bool {
  if (!asz(i)) return false;
  pushAddress(i, false);
  if (jit().wide) {
    if (asz(i) == 1) {
      i64c(0xffff_ffff);
      op(W.I64_AND);
    }
    if (s < 3) op(W.I32_WRAP);
  }
  cut(s);
  popReg(i.a, s);
  return true;
}

export function emitCbw(s: u32): void {
  pushReg(RAX, s - 1);
  signed(s - 1);
  if (s == 3) op(W.I64_EXTEND_S);
  cut(s);
  popReg(RAX, s);
}
export function emitCwd(): void {
  pushReg(RAX, 1);
  signed(1);
  i32c(15);
  op(W.I32_SHR_S);
  cut(1);
  popReg(RDX, 1);
}

export function emitSetcc(i: Insn): void {
  openStore(i, 0);
  get(L.H);
  pushCond(<u32>i.imm);
  put(0);
}
export function emitCmov(i: Insn, s: u32): void {
  rmToY(i, s);
  pushCond(<u32>i.imm);
  set(L.CY2);
  get(ly(s));
  pushReg(i.a, s);
  get(L.CY2);
  op(W.SELECT);
  popReg(i.a, s);
}

export function emitLahf(): void {
  pushArith();
  i32c(SF | ZF | AF | PF | CF);
  op(W.I32_AND);
  i32c(2);
  op(W.I32_OR);
  popReg(AH, 0);
}
export function emitSahf(): void {
  pushArith();
  i32c(OF);
  op(W.I32_AND);
  pushReg(AH, 0);
  i32c(SF | ZF | AF | PF | CF);
  op(W.I32_AND);
  op(W.I32_OR);
  bitsKnown();
}
/** CLC, STC, CMC: 0, 1, 2. */
export function emitCarry(kind: u32): void {
  if (kind == 2) {
    pushCarry();
    op(W.I32_EQZ);
  } else i32c(kind);
  fixCarry();
}
/** Sets or clears bits of Cpu.eflags. */
function emitEflags(bits: u32, on: bool): void {
  record();
  load32(EFLAGS);
  i32c(on ? bits : ~bits);
  op(on ? W.I32_OR : W.I32_AND);
  mem(W.I32_STORE, EFLAGS);
}
export function emitDirection(down: bool): void { emitEflags(DF, down); }

/** A segment register's selector to memory or a register. */
export function emitMovEs(i: Insn): void {
  const selector = <u32>SEG_SEL + (<u32>i.a << 2);
  if (isMem(i)) {
    openStore(i, 1);
    get(L.H);
    load32(selector);
    put(1);
    return;
  }
  load32(selector);
  cut(osz(i) == 1 ? 1 : 2);
  popReg(i.b, osz(i) == 1 ? 1 : 2);
}

/** Stack size of a push as in the hot forms, 0 when it has none. */
function stackSize(i: Insn): u32 {
  const j = jit();
  if (j.code64) return osz(i) == 3 ? 3 : 0;
  return (j.mode & (Mode.SIZE | Mode.FLAT | Mode.STACK32)) == (Mode.CODE32 | Mode.FLAT | Mode.STACK32) && osz(i) == 2 ? 2 : 0;
}

/** Pushes the i32 that is on the stack of WebAssembly on the guest's. */
function pushValue(s: u32): void {
  if (s == 3) op(W.I64_EXTEND_U);
  set(lt(s));
  openPush(s);
  write(s, Stored.LOCAL, lt(s));
  closePush(s);
}

export function emitPushSelector(i: Insn): bool {
  const s = stackSize(i);
  if (!s) return false;
  load32(<u32>SEG_SEL + (<u32>i.a << 2));
  pushValue(s);
  return true;
}

/** PUSHF; flat modes are no virtual-8086 mode, so it is never trapped. */
export function emitPushf(i: Insn): bool {
  const s = stackSize(i);
  if (!s) return false;
  pushArith();
  load32(EFLAGS);
  i32c(~(VM | RF));
  op(W.I32_AND);
  op(W.I32_OR);
  pushValue(s);
  return true;
}

/** RDTSC and RDTSCP: the instruction count is exact here (readTsc). */
export function emitTsc(i: Insn, withId: bool): void {
  const j = jit();
  load32(<u32>offsetof<Cpu>("cr4"));
  i32c(<i32>CR4_TSD);
  op(W.I32_AND);
  leaveIf();
  record();
  i32c(1);
  mem(W.I32_STORE, <u32>offsetof<Cpu>("tscRead")); // for PAUSE
  record();
  mem(W.I64_LOAD, <u32>offsetof<Cpu>("end"));
  record();
  mem(W.I64_LOAD, <u32>offsetof<Cpu>("tscOffset"));
  op(W.I64_ADD);
  get(L.LEFT);
  op(W.I64_EXTEND_S);
  op(W.I64_SUB);
  i64c(<i64>j.pending + <i64>i.idx);
  op(W.I64_ADD);
  tee(L.T64);
  op(W.I32_WRAP);
  popReg(RAX, 2);
  get(L.T64);
  i64c(32);
  op(W.I64_SHR_U);
  op(W.I32_WRAP);
  popReg(RDX, 2);
  if (!withId) return;
  load32(<u32>offsetof<Cpu>("tscAux"));
  popReg(RCX, 2);
}

/** CLI and STI in flat modes; what they do not simply do is the interpreter's. */
export function emitInterruptFlag(on: bool): void {
  load32(CPL);
  load32(EFLAGS);
  i32c(12);
  op(W.I32_SHR_U);
  i32c(3);
  op(W.I32_AND);
  op(W.I32_GT_U);
  if (on) {
    // somebody may be waiting for it
    load32(<u32>offsetof<Cpu>("intr"));
    load32(<u32>offsetof<Cpu>("nmiPending"));
    op(W.I32_OR);
    load32(<u32>offsetof<Cpu>("dr7"));
    i32c(0xff);
    op(W.I32_AND);
    op(W.I32_OR);
    load32(EFLAGS);
    i32c(TF);
    op(W.I32_AND);
    op(W.I32_OR);
    op(W.I32_OR);
  }
  leaveIf();
  if (on) {
    // an STI that changes something has a shadow of its own; else that of an SS load stays
    record();
    i32c(1);
    load32(<u32>offsetof<Cpu>("shadow"));
    load32(EFLAGS);
    i32c(9);
    op(W.I32_SHR_U);
    i32c(1);
    op(W.I32_AND);
    op(W.I32_EQZ);
    op(W.SELECT);
    mem(W.I32_STORE, <u32>offsetof<Cpu>("shadow"));
  }
  emitEflags(IF, on);
}
