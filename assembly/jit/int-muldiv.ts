// Multiplication and division with results in two registers. Follows ops/muldiv.ts: MUL and IMUL keep SF ZF AF PF; DIV and IDIV keep CF and
// OF, clear SF ZF PF and set AF. A division that would fault leaves the region, so that the interpreter does it.
import { AF } from "../cpu/state";
import { Insn } from "../decode/insn";
import { From, imul, pushFrom } from "./alu";
import { arith64 } from "./flags";
import { bitsKnown, fixEqual, flagsDie, pushCarryOverflow } from "./int-flags";
import { leaveIf, rmToY } from "./int-operand";
import { Fn, L, arith, constant, cut, lt, lx, ly, popReg, pushReg, signed, widen } from "./operands";
import { W, call, get, hintedIf, i32c, i64c, op, set, tee } from "./wasm";

const RAX: u32 = 0;
const AH: u32 = 1;
const RDX: u32 = 16;
const LOW: i64 = 0xffff_ffff;

function half(local: u32, high: bool): void {
  get(local);
  if (high) {
    i64c(32);
    op(W.I64_SHR_U);
  } else {
    i64c(LOW);
    op(W.I64_AND);
  }
}
function product(xHigh: bool, yHigh: bool): void {
  half(L.X64, xHigh);
  half(L.Y64, yHigh);
  op(W.I64_MUL);
}
function shift32(): void {
  i64c(32);
  op(W.I64_SHR_U);
}

/** Pushes the upper half of the product of X64 and Y64 (mulHighU, mulHighS); T64 is used. */
function mulHigh(asSigned: bool): void {
  product(true, false);
  product(false, false);
  shift32();
  op(W.I64_ADD);
  tee(L.T64);
  shift32();
  product(true, true);
  op(W.I64_ADD);
  product(false, true);
  half(L.T64, false);
  op(W.I64_ADD);
  shift32();
  op(W.I64_ADD);
  if (!asSigned) return;
  signedPart(L.X64, L.Y64);
  signedPart(L.Y64, L.X64);
}
/** Subtracts `y` when `x` is negative. */
function signedPart(x: u32, y: u32): void {
  get(x);
  i64c(63);
  op(W.I64_SHR_S);
  get(y);
  op(W.I64_AND);
  op(W.I64_SUB);
}

/** MUL or IMUL of rAX. */
export function emitMul(i: Insn, asSigned: bool, s: u32): void {
  rmToY(i, s);
  if (s == 3) {
    pushReg(RAX, 3);
    set(L.X64);
    mulHigh(asSigned);
    get(L.X64);
    get(L.Y64);
    op(W.I64_MUL);
    popReg(RAX, 3);
    tee(L.T64);
    popReg(RDX, 3);
    get(L.T64);
    if (asSigned) {
      pushReg(RAX, 3);
      i64c(63);
      op(W.I64_SHR_S);
      op(W.I64_NE);
    } else {
      op(W.I64_EQZ);
      op(W.I32_EQZ);
    }
  } else {
    pushReg(RAX, s);
    if (asSigned) widen(s);
    else op(W.I64_EXTEND_U);
    get(ly(s));
    if (asSigned) widen(s);
    else op(W.I64_EXTEND_U);
    op(W.I64_MUL);
    set(L.T64);
    get(L.T64);
    op(W.I32_WRAP);
    if (s == 0) {
      i32c(0xffff);
      op(W.I32_AND);
      popReg(RAX, 1);
    } else {
      cut(s);
      popReg(RAX, s);
      get(L.T64);
      i64c(8 << s);
      op(W.I64_SHR_U);
      op(W.I32_WRAP);
      cut(s);
      popReg(RDX, s);
    }
    get(L.T64);
    if (asSigned) {
      get(L.T64);
      op(W.I32_WRAP);
      widen(s);
      op(W.I64_NE);
    } else {
      i64c(8 << s);
      op(W.I64_SHR_U);
      op(W.I64_EQZ);
      op(W.I32_EQZ);
    }
  }
  fixEqual();
}

/** IMUL with two or three operands, of any size. */
export function emitImul(i: Insn, s: u32, immediate: bool): void {
  rmToY(i, s);
  if (s > 1) {
    imul(i, s, immediate ? From.Y : From.A, immediate ? From.IMM : From.Y);
    popReg(i.a, s);
    return;
  }
  get(L.Y);
  signed(1);
  pushFrom(i, immediate ? From.IMM : From.A, 1);
  signed(1);
  op(W.I32_MUL);
  tee(L.T);
  signed(1);
  get(L.T);
  op(W.I32_NE);
  fixEqual();
  get(L.T);
  cut(1);
  popReg(i.a, 1);
}

/** Pushes rDX:rAX, or AX, of up to 64 bits as i64. */
function pushDividend(s: u32): void {
  if (s == 0) {
    pushReg(RAX, 1);
    op(W.I64_EXTEND_U);
    return;
  }
  pushReg(RDX, s);
  op(W.I64_EXTEND_U);
  i64c(8 << s);
  op(W.I64_SHL);
  pushReg(RAX, s);
  op(W.I64_EXTEND_U);
  op(W.I64_OR);
}

/** The quotient in T and the remainder on the stack go to their registers. */
function settle(s: u32): void {
  popReg(s ? RDX : AH, s);
  get(lt(s));
  popReg(RAX, s);
  if (flagsDie()) return;
  pushCarryOverflow();
  i32c(AF);
  op(W.I32_OR);
  bitsKnown();
}

/** Pushes X less T times Y: the remainder. */
function remainder(s: u32): void {
  get(lx(s));
  get(lt(s));
  get(ly(s));
  arith(s, W.I32_MUL);
  arith(s, W.I32_SUB);
  cut(s);
}

export function emitDiv(i: Insn, s: u32): void {
  rmToY(i, s);
  // the upper half is at least the divisor: too large, or a division by zero
  pushReg(s ? RDX : AH, s);
  get(ly(s));
  arith64(s, W.I32_GE_U);
  leaveIf();
  pushReg(RAX, s ? s : 1);
  set(lx(s));
  if (s < 2) {
    if (s == 1) {
      pushReg(RDX, 1);
      i32c(16);
      op(W.I32_SHL);
      get(L.X);
      op(W.I32_OR);
      set(L.X);
    }
    get(L.X);
    get(L.Y);
    op(W.I32_DIV_U);
    set(L.T);
  } else {
    pushReg(RDX, s);
    arith64(s, W.I32_EQZ);
    hintedIf(s == 3 ? W.I64 : W.I32, true);
    get(lx(s));
    get(ly(s));
    arith(s, W.I32_DIV_U);
    op(W.ELSE);
    if (s == 3) {
      pushReg(RDX, 3);
      get(L.X64);
      get(L.Y64);
      call(Fn.DIV_WIDE);
    } else {
      pushDividend(2);
      get(L.Y);
      op(W.I64_EXTEND_U);
      op(W.I64_DIV_U);
      op(W.I32_WRAP);
    }
    op(W.END);
    set(lt(s));
  }
  remainder(s);
  settle(s);
}

export function emitIdiv(i: Insn, s: u32): void {
  rmToY(i, s);
  get(ly(s));
  arith64(s, W.I32_EQZ);
  leaveIf();
  if (s < 2) {
    // in 64 bits nothing overflows
    pushDividend(s);
    if (s == 0) {
      i64c(48);
      op(W.I64_SHL);
      i64c(48);
      op(W.I64_SHR_S);
    } else op(W.I64_EXTEND32_S);
    tee(L.X64);
    get(L.Y);
    widen(s);
    op(W.I64_DIV_S);
    tee(L.T64);
    op(W.I32_WRAP);
    widen(s);
    get(L.T64);
    op(W.I64_NE);
    leaveIf();
    get(L.T64);
    op(W.I32_WRAP);
    cut(s);
    set(L.T);
    get(L.X64);
    op(W.I32_WRAP);
    set(L.X);
    get(L.Y);
    signed(s);
    set(L.Y);
    remainder(s);
    settle(s);
    return;
  }
  // the dividend is rAX sign-extended and the quotient no overflow: anything else is rare
  pushReg(RAX, s);
  tee(lx(s));
  constant(s, s == 3 ? 63 : 31);
  arith(s, W.I32_SHR_S);
  pushReg(RDX, s);
  arith64(s, W.I32_NE);
  get(lx(s));
  constant(s, s == 3 ? 0x8000_0000_0000_0000 : 0x8000_0000);
  arith64(s, W.I32_EQ);
  get(ly(s));
  constant(s, ~0);
  arith64(s, W.I32_EQ);
  op(W.I32_AND);
  op(W.I32_OR);
  leaveIf();
  get(lx(s));
  get(ly(s));
  arith(s, W.I32_DIV_S);
  set(lt(s));
  remainder(s);
  settle(s);
}
