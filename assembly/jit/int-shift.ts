// Shifts and rotations that are thick in the interpreter: 8 and 16 bits, memory operands, double shifts, rotations by CL. Follows ops/shift.ts.
import { Lazy } from "../cpu/state";
import { Insn } from "../decode/insn";
import { flagsToLocals, known, knownShift, overlaid, pushCarry } from "./flags";
import { fixBoth, flagsDie } from "./int-flags";
import { closeRm, openRm } from "./int-operand";
import { L, arith, constant, cut, la, lo, lr, lt, lx, ly, popReg, pushReg, signed, widen } from "./operands";
import { Fl, Over } from "./state";
import { W, get, i32c, op, op2, set, tee } from "./wasm";

const RCX: u32 = 8;

function bits(s: u32): u32 { return 8 << s; }
function isLeft(kind: u32): bool { return kind == 4 || kind == 6; }

/** Pushes the bit of `local` at the constant place. */
function bitOf(s: u32, local: u32, place: u32): void {
  get(local);
  constant(s, place);
  arith(s, W.I32_SHR_U);
  if (s == 3) op(W.I32_WRAP);
  i32c(1);
  op(W.I32_AND);
}
/** Shifts by the count in CY2. */
function byCount(s: u32, opcode: u32): void {
  get(L.CY2);
  if (s == 3) op(W.I64_EXTEND_U);
  arith(s, opcode);
}
/** Takes the lowest bit of the value on the stack. */
function lowest(s: u32): void {
  if (s == 3) op(W.I32_WRAP);
  i32c(1);
  op(W.I32_AND);
}
/** Pushes the two top bits of the result in T, xored. */
function rightOverflow(s: u32): void {
  bitOf(s, lt(s), bits(s) - 1);
  bitOf(s, lt(s), bits(s) - 2);
  op(W.I32_XOR);
}

/** SHL, SHR or SAR of X by a constant that the size holds; leaves the result. */
function shiftBy(kind: u32, s: u32, count: u32): void {
  get(lx(s));
  tee(la(s));
  if (kind == 7) signed(s);
  constant(s, count);
  arith(s, isLeft(kind) ? W.I32_SHL : kind == 5 ? W.I32_SHR_U : W.I32_SHR_S);
  cut(s);
  tee(lr(s));
  knownShift(isLeft(kind) ? Fl.SHL : kind == 5 ? Fl.SHR : Fl.SAR, s, count);
}

/** The same by CY2, without flags. */
function shiftQuietly(kind: u32, s: u32): void {
  get(lx(s));
  if (kind == 7) signed(s);
  byCount(s, isLeft(kind) ? W.I32_SHL : kind == 5 ? W.I32_SHR_U : W.I32_SHR_S);
  cut(s);
}

/** The same by CY2, which may be 0: then the flags, which are in locals, stay. */
export function shiftByCount(kind: u32, s: u32): void {
  shiftQuietly(kind, s);
  set(lt(s));
  get(L.CY2);
  op2(W.IF, W.VOID);
  get(lx(s));
  if (isLeft(kind)) {
    if (s < 2) {
      byCount(s, W.I32_SHL);
      i32c(bits(s));
      op(W.I32_SHR_U);
    } else {
      i32c(bits(s));
      get(L.CY2);
      op(W.I32_SUB);
      if (s == 3) op(W.I64_EXTEND_U);
      arith(s, W.I32_SHR_U);
    }
  } else {
    if (kind == 7) signed(s);
    get(L.CY2);
    i32c(1);
    op(W.I32_SUB);
    if (s == 3) op(W.I64_EXTEND_U);
    arith(s, W.I32_SHR_U);
  }
  lowest(s);
  set(L.CY);
  shifted(s, isLeft(kind), kind == 7);
  op(W.END);
  get(lt(s));
}

/** The flags of a shift whose result is in T and whose carry is in CY. */
function shifted(s: u32, left: bool, arithmetic: bool): void {
  get(L.CY);
  i32c(9);
  op(W.I32_SHL);
  if (left) {
    bitOf(s, lt(s), bits(s) - 1);
    get(L.CY);
    op(W.I32_XOR);
  } else if (arithmetic) i32c(0);
  else rightOverflow(s);
  i32c(11);
  op(W.I32_SHL);
  op(W.I32_OR);
  i32c((Lazy.SHIFT * 4 + s) | Lazy.FIX_CF | Lazy.FIX_OF);
  op(W.I32_OR);
  set(L.FT);
  get(lt(s));
  widen(s);
  set(L.FR);
  known(Fl.DYN, 2);
}

/** CF and OF of a rotation whose result is in T. */
function rotated(right: bool, s: u32): void {
  bitOf(s, lt(s), right ? bits(s) - 1 : 0);
  set(L.CY);
  if (right) rightOverflow(s);
  else {
    bitOf(s, lt(s), bits(s) - 1);
    get(L.CY);
    op(W.I32_XOR);
  }
  fixBoth();
}

/** ROL or ROR of X by CY2, into T. */
function rotate(right: bool, s: u32): void {
  get(lx(s));
  if (s >= 2) {
    byCount(s, right ? W.I32_ROTR : W.I32_ROTL);
    set(lt(s));
    return;
  }
  // two or four copies side by side: every count up to 31 finds its bits in them
  i32c(s ? 0x1_0001 : 0x101_0101);
  arith(2, W.I32_MUL);
  byCount(2, right ? W.I32_ROTR : W.I32_ROTL);
  cut(s);
  set(L.T);
}

/** RCL or RCR of X by one; leaves the result. */
function rotateCarry(right: bool, s: u32): void {
  pushCarry();
  set(L.CY2);
  flagsToLocals();
  get(lx(s));
  constant(s, 1);
  arith(s, right ? W.I32_SHR_U : W.I32_SHL);
  get(L.CY2);
  if (s == 3) op(W.I64_EXTEND_U);
  if (right) {
    constant(s, bits(s) - 1);
    arith(s, W.I32_SHL);
  }
  arith(s, W.I32_OR);
  cut(s);
  set(lt(s));
  bitOf(s, lx(s), right ? 0 : bits(s) - 1);
  set(L.CY);
  if (right) rightOverflow(s);
  else {
    bitOf(s, lt(s), bits(s) - 1);
    get(L.CY);
    op(W.I32_XOR);
  }
  fixBoth();
  get(lt(s));
}

/** ROL ROR RCL RCR SHL SHR SAL SAR by the immediate, or by CL. False when it stays a call. */
export function emitShift(i: Insn, kind: u32, s: u32, cl: bool): bool {
  const mask: u32 = s == 3 ? 63 : 31;
  const count = <u32>i.imm & mask;
  if (kind == 2 || kind == 3) {
    if (cl || count != 1) return false;
    openRm(i, s);
    rotateCarry(kind == 3, s);
    closeRm(i, s);
    return true;
  }
  openRm(i, s);
  if (!cl && count == 0) {
    get(lx(s));
    closeRm(i, s);
    return true;
  }
  if (!cl && kind >= 4 && count <= bits(s)) {
    shiftBy(kind, s, count);
    closeRm(i, s);
    return true;
  }
  const dead = cl && flagsDie();
  if (cl && !dead) flagsToLocals();
  if (cl) {
    pushReg(RCX, 0);
    i32c(mask);
    op(W.I32_AND);
  } else i32c(count);
  set(L.CY2);
  if (kind >= 4) {
    if (dead) shiftQuietly(kind, s);
    else shiftByCount(kind, s);
    closeRm(i, s);
    return true;
  }
  rotate(kind == 1, s);
  if (!cl) {
    get(lt(s));
    set(lo(s));
    overlaid(kind == 1 ? Over.ROR : Over.ROL, s);
  } else if (!dead) {
    get(L.CY2);
    op2(W.IF, W.VOID);
    rotated(kind == 1, s);
    op(W.END);
  }
  get(lt(s));
  closeRm(i, s);
  return true;
}

/** SHLD and SHRD of 32 and 64 bits. False when it stays a call. */
export function emitDouble(i: Insn, right: bool, s: u32, cl: bool): bool {
  if (s < 2) return false;
  const mask = bits(s) - 1;
  const count = <u32>i.imm & mask;
  openRm(i, s);
  if (!cl && count == 0) {
    get(lx(s));
    closeRm(i, s);
    return true;
  }
  pushReg(i.a, s);
  set(ly(s));
  if (!cl) {
    get(lx(s));
    tee(la(s));
    constant(s, count);
    arith(s, right ? W.I32_SHR_U : W.I32_SHL);
    get(ly(s));
    constant(s, bits(s) - count);
    arith(s, right ? W.I32_SHL : W.I32_SHR_U);
    arith(s, W.I32_OR);
    tee(lr(s));
    knownShift(right ? Fl.SHR : Fl.SHL, s, count);
    closeRm(i, s);
    return true;
  }
  flagsToLocals();
  pushReg(RCX, 0);
  i32c(mask);
  op(W.I32_AND);
  set(L.CY2);
  get(lx(s));
  set(lt(s));
  get(L.CY2);
  op2(W.IF, W.VOID);
  get(lx(s));
  byCount(s, right ? W.I32_SHR_U : W.I32_SHL);
  get(ly(s));
  away(s);
  arith(s, right ? W.I32_SHL : W.I32_SHR_U);
  arith(s, W.I32_OR);
  set(lt(s));
  get(lx(s));
  if (right) {
    get(L.CY2);
    i32c(1);
    op(W.I32_SUB);
    if (s == 3) op(W.I64_EXTEND_U);
  } else away(s);
  arith(s, W.I32_SHR_U);
  lowest(s);
  set(L.CY);
  shifted(s, !right, false);
  op(W.END);
  get(lt(s));
  closeRm(i, s);
  return true;
}

/** Pushes the operand's width less the count in CY2. */
function away(s: u32): void {
  i32c(bits(s));
  get(L.CY2);
  op(W.I32_SUB);
  if (s == 3) op(W.I64_EXTEND_U);
}
