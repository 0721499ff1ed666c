// The stack, branches, and compares that are fused with them.
import { Insn } from "../decode/insn";
import { Hot } from "../generated/hot";
import { From, alu, pushFrom, step, test } from "./alu";
import { arith64, pushCond } from "./flags";
import { PLAIN, bail, branch, goTo, goToDynamic, popLabel, pushLabel } from "./flow";
import { L, Stored, bdq, constant, dirtyReg, dq, la, ln, lr, lt, lx, ly, popReg, pushReg, read, readOperand, signed, write } from "./operands";
import { Left, jit } from "./state";
import { addressBy, giveValue, takeValue } from "./windows";
import { W, get, hintedIf, i32c, i64c, op, set } from "./wasm";

const RSP: u32 = 32;

// ---- the stack ----

/** Pushes the address of a push's slot; `size` 2 or 3. */
export function openPush(size: u32): void {
  pushReg(RSP, jit().wide ? 3 : 2);
  if (jit().wide) {
    i64c(size == 3 ? 8 : 4);
    op(W.I64_SUB);
    if (size == 2) {
      i64c(0xffff_ffff);
      op(W.I64_AND);
    }
  } else {
    i32c(4);
    op(W.I32_SUB);
  }
  if (jit().wide == jit().code64) addressBy(RSP >> 3, -(1 << size));
}
export function closePush(size: u32): void {
  get(jit().wide ? L.AD64 : L.AD);
  takeValue(RSP >> 3);
  dirtyReg(RSP >> 3);
  if (jit().wide == jit().code64) giveValue(RSP >> 3, -(1 << size));
  set(L.GPR + (RSP >> 3));
}
/** The value at the address in register `from`, into T; RSP behind it comes with `settlePop`. */
export function pop(from: u32, size: u32): void {
  pushReg(from, jit().wide ? 3 : 2);
  if (jit().wide && size == 2) {
    i64c(0xffff_ffff);
    op(W.I64_AND);
  }
  if (jit().wide == jit().code64) addressBy(from >> 3, 0);
  read(size);
  set(lt(size));
}
/** Stack pointer behind a pop of what register `from` points to. */
export function settlePop(from: u32, size: u32): void {
  takeValue(from >> 3);
  if (jit().wide) {
    get(L.AD64);
    i64c(size == 3 ? 8 : 4);
    op(W.I64_ADD);
    if (size == 2) {
      i64c(0xffff_ffff);
      op(W.I64_AND);
    }
  } else {
    get(L.AD);
    i32c(4);
    op(W.I32_ADD);
  }
  dirtyReg(RSP >> 3);
  if (jit().wide == jit().code64) giveValue(RSP >> 3, 1 << size);
  set(L.GPR + (RSP >> 3));
}

/** The 64-bit branch target in X64 must be canonical; if not, the interpreter faults. */
function checkTarget(size: u32): void {
  if (size != 3) return;
  get(L.X64);
  i64c(16);
  op(W.I64_SHL);
  i64c(16);
  op(W.I64_SHR_S);
  get(L.X64);
  op(W.I64_NE);
  hintedIf(W.VOID, false);
  pushLabel(PLAIN, 0);
  bail(Left.REFUSED);
  popLabel();
  op(W.END);
}

function target64(size: u32): void {
  if (size == 2) op(W.I64_EXTEND_U);
  set(L.X64);
}

/** The groups from JCC to CALL_M. */
export function jump(i: Insn, code: u32): void {
  const off = <i32>i.off;
  if (code < Hot.JMP) {
    pushCond(code - Hot.JCC);
    branch();
    return;
  }
  if (code == Hot.JMP) {
    goTo(true);
    return;
  }
  if (code < Hot.RET) {
    const s = dq(code - Hot.CALL);
    openPush(s);
    write(s, Stored.RETURN, off);
    closePush(s);
    goTo(true);
    return;
  }
  if (code < Hot.JMP_R) {
    const s = dq(code - Hot.RET);
    pop(RSP, s);
    get(lt(s));
    target64(s);
    checkTarget(s);
    settlePop(RSP, s);
    goToDynamic();
    return;
  }
  const kind = (code - Hot.JMP_R) >> 1; // JMP_R CALL_R JMP_M CALL_M
  const s = dq((code - Hot.JMP_R) & 1);
  if (kind < 2) pushReg(i.a, s);
  else readOperand(i, s);
  target64(s);
  checkTarget(s);
  if (kind & 1) {
    openPush(s);
    write(s, Stored.RETURN, off);
    closePush(s);
  }
  goToDynamic();
}

// ---- compare and branch ----

/** Pushes relation `cc` of CMPJ between A and Y, results in R. */
function relation(cc: u32, s: u32): void {
  if (cc == 6 || cc == 7) {
    get(lr(s));
    signed(s);
    constant(s, 0);
    arith64(s, cc == 6 ? W.I32_LT_S : W.I32_GE_S);
    return;
  }
  get(la(s));
  if (cc > 7) signed(s);
  get(ly(s));
  if (cc > 7) signed(s);
  let o: u32;
  switch (cc) {
    case 0: o = W.I32_LT_U; break;
    case 1: o = W.I32_GE_U; break;
    case 2: o = W.I32_EQ; break;
    case 3: o = W.I32_NE; break;
    case 4: o = W.I32_LE_U; break;
    case 5: o = W.I32_GT_U; break;
    case 8: o = W.I32_LT_S; break;
    case 9: o = W.I32_GE_S; break;
    case 10: o = W.I32_LE_S; break;
    default: o = W.I32_GT_S;
  }
  arith64(s, o);
}
function few(n: u32): u32 { return n < 2 ? n + 2 : n < 4 ? n - 2 : n; } // E NE B AE BE A

function compare(i: Insn, s: u32, x: u32, y: u32, cc: u32): void {
  pushFrom(i, y, s);
  set(ly(s));
  alu(i, 7, s, x, From.Y);
  relation(cc, s);
  branch();
}
function zeroBranch(local: u32, s: u32, ne: u32): void {
  get(local);
  arith64(s, W.I32_EQZ);
  if (ne) op(W.I32_EQZ);
  branch();
}

export function fusedOp(i: Insn, code: u32): void {
  if (code < Hot.TESTJ) {
    const n = code - Hot.CMPJ;
    compare(i, bdq((n / 12) % 3), From.A, n < 36 ? From.B : From.IMM32, n % 12);
  } else if (code < Hot.CMPJ_RM) {
    const n = code - Hot.TESTJ;
    const s = bdq((n / 6) % 3), cc = n % 6;
    test(i, s, From.A, n < 18 ? From.B : From.IMM32);
    get(lr(s));
    signed(s);
    constant(s, 0);
    arith64(s, cc == 0 ? W.I32_EQ : cc == 1 ? W.I32_NE : cc == 2 ? W.I32_LT_S : cc == 3 ? W.I32_GE_S : cc == 4 ? W.I32_LE_S : W.I32_GT_S);
    branch();
  } else if (code < Hot.CMPJ_MR) {
    const n = code - Hot.CMPJ_RM;
    const s = dq(n / 6);
    readOperand(i, s);
    set(ly(s));
    compare(i, s, From.A, From.Y, few(n % 6));
  } else if (code < Hot.TESTJ_MI) {
    const immediate = code >= Hot.CMPJ_MI;
    const n = code - (immediate ? Hot.CMPJ_MI : Hot.CMPJ_MR);
    const s = immediate ? bdq(n / 6) : dq(n / 6);
    readOperand(i, s);
    set(lx(s));
    compare(i, s, From.X, immediate ? From.IMM32 : From.A, few(n % 6));
  } else if (code < Hot.ADDJ) {
    readOperand(i, 0);
    set(L.X);
    test(i, 0, From.X, From.IMM32);
    zeroBranch(L.R, 0, code - Hot.TESTJ_MI);
  } else if (code < Hot.INCJ) {
    const n = code - Hot.ADDJ;
    const s = dq((n >> 1) & 1), k = n >> 2;
    alu(i, k == 0 ? 0 : k == 1 ? 5 : 4, s, From.A, From.IMM32);
    popReg(i.a, s);
    zeroBranch(lr(s), s, n & 1);
  } else {
    const n = code - Hot.INCJ;
    const s = dq((n >> 1) & 1);
    step(i, n >= 4, s, From.A);
    popReg(i.a, s);
    zeroBranch(ln(s), s, n & 1);
  }
}
