// Arithmetic that is thick in the interpreter: 16-bit forms, exchanges, compare and exchange. Follows ops/alu.ts. One CPU runs at a time,
// so LOCK means nothing here.
import { ZF } from "../cpu/state";
import { Insn, isMem, rexW } from "../decode/insn";
import { From, alu, step, test } from "./alu";
import { arith64, known } from "./flags";
import { bitsKnown, pushArith } from "./int-flags";
import { closeRm, openRm, pushRm, rmToY } from "./int-operand";
import { L, arith, constant, cut, la, lr, lt, lx, ly, popReg, pushReg, put } from "./operands";
import { Fl } from "./state";
import { W, get, i32c, i64c, mem, op, op2, set, tee } from "./wasm";

const RAX: u32 = 0;
const RCX: u32 = 8;
const RDX: u32 = 16;
const RBX: u32 = 24;
const CMP: u32 = 7;

/** ADD to CMP; forms E,G (0) G,E (1) E,imm (2). */
export function emitAlu(i: Insn, kind: u32, form: u32, s: u32): void {
  if (form == 1) {
    rmToY(i, s);
    alu(i, kind, s, From.A, From.Y);
    if (kind != CMP) popReg(i.a, s);
    return;
  }
  const y = form ? From.IMM : From.A;
  if (kind == CMP) {
    pushRm(i, s);
    set(lx(s));
    alu(i, kind, s, From.X, y);
    return;
  }
  openRm(i, s);
  alu(i, kind, s, From.X, y);
  closeRm(i, s);
}

export function emitTest(i: Insn, s: u32, y: u32): void {
  pushRm(i, s);
  set(lx(s));
  test(i, s, From.X, y);
}

export function emitNot(i: Insn, s: u32): void {
  openRm(i, s);
  get(lx(s));
  constant(s, ~0);
  arith(s, W.I32_XOR);
  closeRm(i, s);
}

export function emitNeg(i: Insn, s: u32): void {
  openRm(i, s);
  constant(s, 0);
  tee(la(s));
  get(lx(s));
  arith(s, W.I32_SUB);
  cut(s);
  tee(lr(s));
  known(Fl.SUB, s);
  closeRm(i, s);
}

export function emitStep(i: Insn, down: bool, s: u32): void {
  openRm(i, s);
  step(i, down, s, From.X);
  closeRm(i, s);
}

export function emitXchg(i: Insn, s: u32): void {
  openRm(i, s);
  pushReg(i.a, s);
  closeRm(i, s);
  get(lx(s));
  popReg(i.a, s);
}

export function emitXadd(i: Insn, s: u32): void {
  openRm(i, s);
  alu(i, 0, s, From.X, From.A);
  if (isMem(i)) {
    closeRm(i, s);
    get(lx(s));
    popReg(i.a, s);
  } else {
    set(lt(s));
    get(lx(s));
    popReg(i.a, s);
    get(lt(s));
    popReg(i.b, s);
  }
}

export function emitCmpxchg(i: Insn, s: u32): void {
  openRm(i, s);
  pushReg(RAX, s);
  set(ly(s));
  alu(i, CMP, s, From.Y, From.X);
  if (isMem(i)) {
    get(L.H);
    pushReg(i.a, s);
    get(lx(s));
    get(lr(s));
    arith64(s, W.I32_EQZ);
    op(W.SELECT);
    put(s);
    get(lr(s));
    arith64(s, W.I32_EQZ);
    op(W.I32_EQZ);
    op2(W.IF, W.VOID);
    get(lx(s));
    popReg(RAX, s);
    op(W.END);
    return;
  }
  get(lr(s));
  arith64(s, W.I32_EQZ);
  op2(W.IF, W.VOID);
  pushReg(i.a, s);
  popReg(i.b, s);
  op(W.ELSE);
  get(lx(s));
  popReg(RAX, s);
  op(W.END);
}

/** Pushes a pair of 32-bit registers as one number. */
function pushPair(low: u32, high: u32): void {
  pushReg(low, 2);
  op(W.I64_EXTEND_U);
  pushReg(high, 2);
  op(W.I64_EXTEND_U);
  i64c(32);
  op(W.I64_SHL);
  op(W.I64_OR);
}

/** CMPXCHG8B; false for CMPXCHG16B, whose operand is 16 bytes. */
export function emitCmpxchg8b(i: Insn): bool {
  if (rexW(i)) return false;
  openRm(i, 3);
  pushPair(RAX, RDX);
  get(L.X64);
  op(W.I64_EQ);
  set(L.Y);
  get(L.H);
  pushPair(RBX, RCX);
  get(L.X64);
  get(L.Y);
  op(W.SELECT);
  mem(W.I64_STORE, 0);
  get(L.Y);
  op(W.I32_EQZ);
  op2(W.IF, W.VOID);
  get(L.X64);
  op(W.I32_WRAP);
  popReg(RAX, 2);
  get(L.X64);
  i64c(32);
  op(W.I64_SHR_U);
  op(W.I32_WRAP);
  popReg(RDX, 2);
  op(W.END);
  pushArith();
  i32c(~ZF);
  op(W.I32_AND);
  get(L.Y);
  i32c(6);
  op(W.I32_SHL);
  op(W.I32_OR);
  bitsKnown();
  return true;
}
