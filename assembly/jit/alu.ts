// Emitters of arithmetic. They follow the definitions of ops/alu.ts, ops/shift.ts and ops/muldiv.ts; memory has been accessed before, so
// nothing here needs the record.
import { Insn } from "../decode/insn";
import { beginStep, flagsToLocals, known, knownShift, overlaid, pushCarry, stepped } from "./flags";
import { flagsDie } from "./int-flags";
import { L, arith, constant, cut, la, ln, lo, lr, lx, ly, pushReg, widen } from "./operands";
import { Fl, Over, Step } from "./state";
import { W, get, i32c, op, set, tee } from "./wasm";
import { shiftByCount } from "./int-shift";

/** Where an operand comes from. */
export namespace From {
  export const A: u32 = 0; // register a of the record
  export const B: u32 = 1;
  export const IMM: u32 = 2;
  export const X: u32 = 3; // temporary locals
  export const Y: u32 = 4;
  export const IMM32: u32 = 5; // the lower half of the immediate
}

export function pushFrom(i: Insn, from: u32, s: u32): void {
  switch (from) {
    case From.A: pushReg(i.a, s); break;
    case From.B: pushReg(i.b, s); break;
    case From.IMM: constant(s, i.imm); break;
    case From.IMM32: constant(s, <u64><i64><i32>i.imm); break;
    case From.X: get(lx(s)); break;
    default: get(ly(s));
  }
}

/** ADD OR ADC SBB AND SUB XOR CMP with flags. CMP leaves nothing on the stack, the others the result. */
export function alu(i: Insn, kind: u32, s: u32, x: u32, y: u32): void {
  if (kind == 2 || kind == 3) {
    carrying(i, kind == 3, s, x, y);
    return;
  }
  const logic = kind == 1 || kind == 4 || kind == 6;
  pushFrom(i, x, s);
  if (!logic) tee(la(s));
  pushFrom(i, y, s);
  arith(s, kind == 0 ? W.I32_ADD : kind == 1 ? W.I32_OR : kind == 4 ? W.I32_AND : kind == 6 ? W.I32_XOR : W.I32_SUB);
  if (!logic) cut(s);
  if (kind == 7) set(lr(s));
  else tee(lr(s));
  known(logic ? Fl.LOGIC : kind == 0 ? Fl.ADD : Fl.SUB, s);
}

/** ADC or SBB; leaves the result. */
function carrying(i: Insn, borrow: bool, s: u32, x: u32, y: u32): void {
  const opcode = borrow ? W.I32_SUB : W.I32_ADD;
  pushCarry();
  set(L.CI);
  pushFrom(i, x, s);
  tee(la(s));
  pushFrom(i, y, s);
  arith(s, opcode);
  get(L.CI);
  if (s == 3) op(W.I64_EXTEND_U);
  arith(s, opcode);
  cut(s);
  tee(lr(s));
  known(borrow ? Fl.SBB : Fl.ADC, s);
}

/** The same without flags; ADD OR AND SUB XOR by `kind`. */
export function quietAlu(i: Insn, kind: u32, s: u32, y: u32): void {
  pushReg(i.a, s);
  pushFrom(i, y, s);
  arith(s, kind == 0 ? W.I32_ADD : kind == 1 ? W.I32_OR : kind == 4 ? W.I32_AND : kind == 6 ? W.I32_XOR : W.I32_SUB);
}

export function test(i: Insn, s: u32, x: u32, y: u32): void {
  pushFrom(i, x, s);
  pushFrom(i, y, s);
  arith(s, W.I32_AND);
  set(lr(s));
  known(Fl.LOGIC, s);
}

/** INC or DEC; leaves the result. */
export function step(i: Insn, down: bool, s: u32, x: u32): void {
  beginStep();
  pushFrom(i, x, s);
  constant(s, 1);
  arith(s, down ? W.I32_SUB : W.I32_ADD);
  cut(s);
  tee(ln(s));
  stepped(down ? Step.DEC : Step.INC, s);
}

export function neg(i: Insn, s: u32): void {
  constant(s, 0);
  tee(la(s));
  pushReg(i.a, s);
  arith(s, W.I32_SUB);
  tee(lr(s));
  known(Fl.SUB, s);
}

/** 0 SHL, 1 SHR, 2 SAR, 3 ROL, 4 ROR; leaves the result. */
export function shift(i: Insn, kind: u32, s: u32, quiet: bool): void {
  const width: u32 = s == 3 ? 64 : 32;
  let count = <u32>i.imm;
  const opcode = kind == 0 ? W.I32_SHL : kind == 1 ? W.I32_SHR_U : kind == 2 ? W.I32_SHR_S : kind == 3 ? W.I32_ROTL : W.I32_ROTR;
  if (kind > 2) count &= width - 1;
  if (quiet || kind > 2) {
    pushReg(i.a, s);
    constant(s, count);
    arith(s, opcode);
    if (quiet) return;
    tee(lo(s));
    overlaid(kind == 4 ? Over.ROR : Over.ROL, s);
    return;
  }
  pushReg(i.a, s);
  tee(la(s));
  constant(s, count);
  arith(s, opcode);
  tee(lr(s));
  knownShift(kind == 0 ? Fl.SHL : kind == 1 ? Fl.SHR : Fl.SAR, s, count);
}

/** SHL, SHR, SAR by CL: leaves the result. Flags change only when the count is not 0. */
export function shiftCl(i: Insn, kind: u32, s: u32): void {
  const opcode = kind == 0 ? W.I32_SHL : kind == 1 ? W.I32_SHR_U : W.I32_SHR_S;
  if (flagsDie()) {
    pushReg(i.a, s);
    pushReg(8, s); // the shift takes what it needs of it
    arith(s, opcode);
    return;
  }
  flagsToLocals();
  pushReg(8, 0);
  i32c(s == 3 ? 63 : 31);
  op(W.I32_AND);
  set(L.CY2);
  pushReg(i.a, s);
  set(lx(s));
  shiftByCount(kind == 0 ? 4 : kind == 1 ? 5 : 7, s);
}

/** IMUL; the result's truncation is told by CF and OF. Leaves the result. */
export function imul(i: Insn, s: u32, x: u32, y: u32): void {
  pushFrom(i, x, s);
  widen(s);
  if (s == 3) set(L.O64);
  pushFrom(i, y, s);
  widen(s);
  if (s == 3) {
    set(L.P64);
    get(L.O64);
    get(L.P64);
    op(W.I64_MUL);
  } else {
    op(W.I64_MUL);
    tee(L.O64);
    op(W.I32_WRAP);
  }
  overlaid(s == 3 ? Over.MUL64 : Over.MUL32, s);
}
