// From records to code. Every group of hot operations has its emitter here; a group without one leaves the region before the instruction.
import { Cpu } from "../cpu/state";
import { Insn, OP_SSE } from "../decode/insn";
import { COUNTING, Hot } from "../generated/hot";
import { From, alu, imul, neg, quietAlu, shift, shiftCl, step, test } from "./alu";
import { countThick } from "./count";
import { flagsInMemory, pushCond } from "./flags";
import { goTo } from "./flow";
import { Fn, L, Stored, access, arith, bdq, constant, dirtyReg, dq, fetch, forgetAddresses, lt, lx, ly, popReg, pushAddress, pushPlace, pushReg, put, read, readOperand, record, signed, spill, write } from "./operands";
import { closePush, fusedOp, jump, openPush, pop, settlePop } from "./int-jump";
import { opOf } from "./int-flags";
import { emitTsc } from "./int-misc";
import { emitThick, emitThickEnd, goesOn, keepsFlags, mayWrite } from "./int-ops";
import { floating } from "./sse";
import { moveVector } from "./sse-move";
import { loadXmm } from "./sse-reg";
import { jit } from "./state";
import { forgetValue, giveValue, takeValue } from "./windows";
import { W, call, get, hintedIf, i32c, i64c, mem, op, set } from "./wasm";

const RAX: u32 = 0;
const RDX: u32 = 16;
const RSP: u32 = 32;
const RBP: u32 = 40;
const RSI: u32 = 48;
const RDI: u32 = 56;
/** Where the registers' offsets end: an address without base or index has this one. */
const REGISTERS: u32 = <u32>offsetof<Cpu>("zero");

/** Address of the operand for a write, into H. */
function openWrite(i: Insn, s: u32): void {
  pushAddress(i, true);
  access(s, true);
  set(L.H);
}
/** Stores the value on the stack at H. */
function closeWrite(s: u32): void {
  set(lt(s));
  get(L.H);
  get(lt(s));
  put(s);
}
/** The operand's old value into X, its address in H. */
function openModify(i: Insn, s: u32): void {
  openWrite(i, s);
  get(L.H);
  fetch(s);
  set(lx(s));
}

/** Pops the sum of register `a` and `by` into the register. */
function popMoved(i: Insn, s: u32, by: i64): void {
  if (s != (jit().wide ? 3 : 2)) {
    popReg(i.a, s);
    return;
  }
  takeValue(i.a >> 3);
  popReg(i.a, s);
  giveValue(i.a >> 3, s == 2 ? <i64><i32>by : by);
}

function aluOp(i: Insn, n: u32): void {
  const s = bdq(n % 3), form = (n / 3) % 5, kind = n / 15;
  if (form < 2) {
    alu(i, kind, s, From.A, form ? From.IMM : From.B);
    if (form && (kind == 0 || kind == 5)) popMoved(i, s, kind ? -<i64>i.imm : <i64>i.imm);
    else if (kind != 7) popReg(i.a, s);
  } else if (form == 2) {
    readOperand(i, s);
    set(ly(s));
    alu(i, kind, s, From.A, From.Y);
    if (kind != 7) popReg(i.a, s);
  } else {
    const y = form == 3 ? From.A : From.IMM;
    if (kind == 7) {
      readOperand(i, s);
      set(lx(s));
      alu(i, kind, s, From.X, y);
    } else {
      openModify(i, s);
      alu(i, kind, s, From.X, y);
      closeWrite(s);
    }
  }
}

function quietKind(n: u32): u32 { return n < 2 ? n : n + 2; } // 0, 1, 4, 5, 6

// ---- the rest ----

function bswap32(local: u32): void {
  get(local);
  i32c(8);
  op(W.I32_ROTL);
  i32c(0x00ff_00ff);
  op(W.I32_AND);
  get(local);
  i32c(8);
  op(W.I32_ROTR);
  i32c(0xff00_ff00);
  op(W.I32_AND);
  op(W.I32_OR);
}

/** Turns the bytes of the value on the stack around. */
export function bswapTop(s: u32): void {
  if (s == 3) {
    call(Fn.BSWAP);
    return;
  }
  set(L.T);
  bswap32(L.T);
}

/** Sign extension of the value on the stack, n as in the generator's SX. */
function extend(n: u32): void {
  signed(n == 4 ? 2 : n & 1);
  if (n > 1) op(W.I64_EXTEND_S);
}

function moves(i: Insn, code: u32): void {
  if (code < Hot.MOV_RI) {
    const s = code - Hot.MOV_RR;
    pushReg(i.b, s);
    if (s == (jit().wide ? 3 : 2)) {
      takeValue(i.b >> 3);
      popReg(i.a, s);
      giveValue(i.a >> 3, 0);
    } else popReg(i.a, s);
  } else if (code < Hot.MOV_RM) {
    const n = code - Hot.MOV_RI;
    const s: u32 = n < 2 ? n : jit().wide ? 3 : 2;
    constant(s, i.imm);
    popReg(i.a, s);
  } else if (code < Hot.MOV_MR) {
    const s = code - Hot.MOV_RM;
    readOperand(i, s);
    popReg(i.a, s);
  } else if (code < Hot.MOVZX_RR) {
    const immediate = code >= Hot.MOV_MI;
    const s = code - (immediate ? Hot.MOV_MI : Hot.MOV_MR);
    pushAddress(i, true);
    if (immediate) write(s, Stored.CONSTANT, i.imm);
    else write(s, Stored.REGISTER, i.a);
  } else if (code < Hot.MOVSX_RR) {
    if (code < Hot.MOVZX_RM) pushReg(i.b, code - Hot.MOVZX_RR);
    else readOperand(i, code - Hot.MOVZX_RM);
    popReg(i.a, 2);
  } else if (code < Hot.LEA) {
    const n = code < Hot.MOVSX_RM ? code - Hot.MOVSX_RR : code - Hot.MOVSX_RM;
    const from: u32 = n == 4 ? 2 : n & 1;
    if (code < Hot.MOVSX_RM) pushReg(i.b, from);
    else readOperand(i, from);
    extend(n);
    popReg(i.a, n < 2 ? 2 : 3);
  } else {
    const s = dq(code - Hot.LEA);
    pushAddress(i, false);
    if (s == 2 && jit().wide) op(W.I32_WRAP);
    const base = <u32>i.base;
    if (s == (jit().wide ? 3 : 2) && base < REGISTERS && <u32>i.index == REGISTERS) {
      takeValue(base >> 3);
      popReg(i.a, s);
      giveValue(i.a >> 3, <i64>i.disp);
    } else popReg(i.a, s);
  }
}

function unary(i: Insn, code: u32): void {
  if (code < Hot.INC_M) {
    const down = code >= Hot.DEC_R;
    const s = dq(code - (down ? Hot.DEC_R : Hot.INC_R));
    step(i, down, s, From.A);
    popMoved(i, s, down ? -1 : 1);
  } else if (code < Hot.NEG_R) {
    const down = code >= Hot.DEC_M;
    const s = dq(code - (down ? Hot.DEC_M : Hot.INC_M));
    openModify(i, s);
    step(i, down, s, From.X);
    closeWrite(s);
  } else if (code < Hot.NOT_R) {
    neg(i, dq(code - Hot.NEG_R));
    popReg(i.a, dq(code - Hot.NEG_R));
  } else {
    const s = dq(code - Hot.NOT_R);
    pushReg(i.a, s);
    constant(s, ~0);
    arith(s, W.I32_XOR);
    popReg(i.a, s);
  }
}

function shifts(i: Insn, code: u32): void {
  if (code >= Hot.SHIFT_CL) {
    const n = code - Hot.SHIFT_CL;
    shiftCl(i, n >> 1, dq(n & 1));
    popReg(i.a, dq(n & 1));
    return;
  }
  const quiet = code >= Hot.QSHIFT_RI;
  const n = code - (quiet ? Hot.QSHIFT_RI : Hot.SHIFT_RI);
  shift(i, n >> 1, dq(n & 1), quiet);
  popReg(i.a, dq(n & 1));
}

function multiply(i: Insn, code: u32): void {
  const s = dq((code - Hot.IMUL_RR) & 1);
  if (code >= Hot.QIMUL_RR) {
    pushReg(code < Hot.QIMUL_RI ? i.a : i.b, s);
    if (code < Hot.QIMUL_RI) pushReg(i.b, s);
    else constant(s, i.imm);
    arith(s, W.I32_MUL);
  } else if (code < Hot.IMUL_RI) imul(i, s, From.A, From.B);
  else if (code < Hot.IMUL_RM) imul(i, s, From.B, From.IMM);
  else {
    readOperand(i, s);
    set(ly(s));
    imul(i, s, From.A, From.Y);
  }
  popReg(i.a, s);
}

function conditional(i: Insn, code: u32): void {
  if (code >= Hot.SETCC_R) {
    pushCond(code - Hot.SETCC_R);
    popReg(i.a, 0);
    return;
  }
  const memory = code >= Hot.CMOV_RM;
  const n = code - (memory ? Hot.CMOV_RM : Hot.CMOV_RR);
  const s = dq(n & 1);
  if (memory) {
    readOperand(i, s);
    set(ly(s));
  }
  pushCond(n >> 1);
  set(L.CY2);
  if (memory) get(ly(s));
  else pushReg(i.b, s);
  pushReg(i.a, s);
  get(L.CY2);
  op(W.SELECT);
  popReg(i.a, s);
}

function stack(i: Insn, code: u32): void {
  const s = dq((code - Hot.PUSH_R) & 1);
  if (code < Hot.POP_R) {
    openPush(s);
    write(s, Stored.REGISTER, i.a);
    closePush(s);
  } else if (code < Hot.PUSH_I) {
    pop(RSP, s);
    settlePop(RSP, s);
    get(lt(s));
    popReg(i.a, s);
  } else if (code < Hot.PUSH_M) {
    openPush(s);
    write(s, Stored.CONSTANT, i.imm);
    closePush(s);
  } else if (code < Hot.LEAVE) {
    readOperand(i, s);
    set(ly(s));
    openPush(s);
    write(s, Stored.LOCAL, ly(s));
    closePush(s);
  } else {
    pop(RBP, s);
    settlePop(RBP, s);
    get(lt(s));
    popReg(RBP, s);
  }
}

function various(i: Insn, code: u32): void {
  if (code < Hot.CDQ) {
    const s = dq(code - Hot.CWDE);
    pushReg(RAX, s - 1);
    signed(s - 1);
    if (s == 3) op(W.I64_EXTEND_S);
    popReg(RAX, s);
  } else if (code < Hot.XCHG_RR) {
    const s = dq(code - Hot.CDQ);
    pushReg(RAX, s);
    constant(s, s == 3 ? 63 : 31);
    arith(s, W.I32_SHR_S);
    popReg(RDX, s);
  } else if (code < Hot.BSWAP) {
    const s = dq(code - Hot.XCHG_RR);
    pushReg(i.a, s);
    set(lt(s));
    pushReg(i.b, s);
    popReg(i.a, s);
    get(lt(s));
    popReg(i.b, s);
  } else {
    const s = dq(code - Hot.BSWAP);
    pushReg(i.a, s);
    bswapTop(s);
    popReg(i.a, s);
  }
}

/** A thick operation: the record is brought up to date, the core does it, and what it may have changed is read again. */
function thick(i: Insn, fn: u32): void {
  const j = jit();
  if (COUNTING) countThick(i);
  spill();
  record();
  i32c(<i32>changetype<usize>(i));
  i32c(i.op);
  pushPlace();
  call(fn);
  hintedIf(W.VOID, false);
  op(W.RETURN);
  op(W.END);
  j.dirty = 0;
  j.xdirty = 0;
  j.cleaned = 1;
  loadRegisters(mayWrite(i));
  if (i.op >= OP_SSE) loadXmm();
  forgetAddresses();
  if (!keepsFlags(i)) flagsInMemory();
}

/** A thick operation that ends its block, but not always the region. */
function thickEnd(i: Insn): void {
  if (!emitThickEnd(i)) {
    if (!goesOn(i.op)) {
      if (COUNTING) countThick(i);
      spill();
      record();
      i32c(<i32>changetype<usize>(i));
      pushPlace();
      call(Fn.END);
      op(W.RETURN);
      return;
    }
    thick(i, Fn.END_ON);
  }
  goTo(false);
}

/** Loads the registers that appear in the region and in `some`, by number. */
export function loadRegisters(some: u32): void {
  const j = jit();
  for (let n: u32 = 0; n < 16; n++) {
    if (!((j.used & some) >> n & 1)) continue;
    record();
    mem(j.wide ? W.I64_LOAD : W.I32_LOAD, n << 3);
    set(L.GPR + n);
    forgetValue(n);
  }
}

/** Pushes a string operation's pointer. */
function pushPointer(register: u32): void {
  pushReg(register, jit().wide ? 3 : 2);
  wrap();
}
/** Wraps the address on the stack in 32-bit code. */
function wrap(): void {
  if (!jit().wide || jit().code64) return;
  i64c(0xffff_ffff);
  op(W.I64_AND);
}
/** Moves a string operation's pointer on, by the direction flag. */
function bump(register: u32, s: u32): void {
  const wide = jit().wide;
  pushReg(register, wide ? 3 : 2);
  i32c(1 << s);
  record();
  mem(W.I32_LOAD, <u32>offsetof<Cpu>("eflags"));
  i32c(10);
  op(W.I32_SHR_U);
  i32c(1);
  op(W.I32_AND);
  i32c(2 << s);
  op(W.I32_MUL);
  op(W.I32_SUB);
  if (wide) op(W.I64_EXTEND_S);
  op(wide ? W.I64_ADD : W.I32_ADD);
  wrap();
  dirtyReg(register >> 3);
  set(L.GPR + (register >> 3));
}

/** MOVS LODS STOS SCAS without REP. */
function string(i: Insn, code: u32): void {
  const s = bdq((code - Hot.MOVS) % 3), kind = (code - Hot.MOVS) / 3;
  if (kind < 2) {
    pushPointer(RSI);
    read(s);
    set(ly(s));
  } else if (kind == 3) {
    pushPointer(RDI);
    read(s);
    set(ly(s));
    pushReg(RAX, s);
    set(lx(s));
    alu(i, 7, s, From.X, From.Y);
    bump(RDI, s);
    return;
  }
  if (kind == 1) {
    get(ly(s));
    popReg(RAX, s);
  } else {
    pushPointer(RDI);
    if (kind == 0) write(s, Stored.LOCAL, ly(s));
    else write(s, Stored.REGISTER, RAX);
  }
  if (kind < 2) bump(RSI, s);
  if (kind != 1) bump(RDI, s);
}

/** Emits one record; false when it ends the block here and now. */
export function emitRecord(i: Insn): bool {
  const code = opOf(i);
  if (code >= 0x3000 && floating(i, code)) return true;
  if (code >= 0x1000) {
    if ((code & 0xf000) == 0x2000) {
      thickEnd(i);
      return false;
    }
    if (!emitThick(i)) thick(i, Fn.THICK);
    return true;
  }
  if (code < Hot.ALU) return true; // NOP
  if (code < Hot.QALU) aluOp(i, code - Hot.ALU);
  else if (code < Hot.TEST) {
    const n = code - Hot.QALU;
    quietAlu(i, quietKind(n >> 2), dq(n & 1), n & 2 ? From.IMM : From.B);
    const kind = quietKind(n >> 2);
    if (n & 2 && (kind == 0 || kind == 5)) popMoved(i, dq(n & 1), kind ? -<i64>i.imm : <i64>i.imm);
    else popReg(i.a, dq(n & 1));
  } else if (code < Hot.MOV_RR) {
    const n = code - Hot.TEST;
    const s = bdq(n % 3), form = n / 3;
    if (form < 2) test(i, s, From.A, form ? From.IMM : From.B);
    else {
      readOperand(i, s);
      set(lx(s));
      test(i, s, From.X, form == 2 ? From.A : From.IMM);
    }
  } else if (code < Hot.INC_R) moves(i, code);
  else if (code < Hot.SHIFT_RI) unary(i, code);
  else if (code < Hot.IMUL_RR) shifts(i, code);
  else if (code < Hot.CMOV_RR) multiply(i, code);
  else if (code < Hot.JCC) conditional(i, code);
  else if (code < Hot.PUSH_R) {
    jump(i, code);
    return false;
  } else if (code < Hot.CWDE) stack(i, code);
  else if (code < Hot.CMPJ) various(i, code);
  else if (code < Hot.MOVS) {
    fusedOp(i, code);
    return false;
  } else if (code < Hot.RDTSC) string(i, code);
  else if (code == Hot.RDTSC) emitTsc(i, false);
  else moveVector(i, code);
  return true;
}
