// Lazy flags at compile time: what the last flag-setting operation was is known within a block, so readers need no memory and writers
// only keep their operands in locals. Between blocks of a region the same facts are in locals in the record's form (cpu/flags.ts).
import { Cpu, Lazy } from "../cpu/state";
import { Fn, L, arith, constant, cut, la, lr, signed, widen } from "./operands";
import { Fl, jit } from "./state";
import { W, call, get, i32c, i64c, mem, op, set, tee } from "./wasm";

const FL_T: u32 = <u32>offsetof<Cpu>("flT");
const FL_A: u32 = <u32>offsetof<Cpu>("flA");
const FL_R: u32 = <u32>offsetof<Cpu>("flR");

export function known(kind: u32, s: u32): void {
  const j = jit();
  j.flagKind = kind;
  j.flagSize = s;
}
export function knownShift(kind: u32, s: u32, count: u32): void {
  known(kind, s);
  jit().flagCount = count;
}
// @ts-ignore: decorator
@inline export function flagsInMemory(): void { jit().flagKind = Fl.MEM; }

function lazyType(kind: u32): u32 {
  switch (kind) {
    case Fl.ADD: return Lazy.ADD;
    case Fl.SUB: return Lazy.SUB;
    case Fl.LOGIC: return Lazy.LOGIC;
    case Fl.INC: return Lazy.INC;
    case Fl.DEC: return Lazy.DEC;
    default: return Lazy.SHIFT;
  }
}

function bits(s: u32): u32 { return 8 << s; }

/** Top bit of the value on the stack, as i32 0 or 1. */
function topBit(s: u32): void {
  if (s == 3) {
    i64c(63);
    op(W.I64_SHR_U);
    op(W.I32_WRAP);
  } else {
    i32c(bits(s) - 1);
    op(W.I32_SHR_U);
    if (s < 2) {
      i32c(1);
      op(W.I32_AND);
    }
  }
}

/** The bit at `place` of the value on the stack. */
function bitAt(s: u32, place: u32): void {
  if (s == 3) {
    i64c(place);
    op(W.I64_SHR_U);
    op(W.I32_WRAP);
  } else {
    i32c(place);
    op(W.I32_SHR_U);
  }
  i32c(1);
  op(W.I32_AND);
}

/** Second operand of a subtraction. */
function pushY(s: u32): void {
  get(la(s));
  get(lr(s));
  arith(s, W.I32_SUB);
  if (s < 2) cut(s);
}

/** Pushes the carry of the known operation. */
function knownCarry(): void {
  const j = jit();
  const s = j.flagSize;
  switch (j.flagKind) {
    case Fl.ADD:
      get(lr(s));
      get(la(s));
      arith64(s, W.I32_LT_U);
      break;
    case Fl.SUB:
      get(la(s));
      pushY(s);
      arith64(s, W.I32_LT_U);
      break;
    case Fl.INC:
    case Fl.DEC: get(L.CY); break;
    case Fl.SHL:
      get(la(s));
      bitAt(s, bits(s) - j.flagCount);
      break;
    case Fl.SHR:
    case Fl.SAR:
      get(la(s));
      bitAt(s, j.flagCount - 1);
      break;
    default: i32c(0);
  }
}

/** A comparison by its 32-bit opcode. */
export function arith64(s: u32, opcode32: u32): void { op(s == 3 ? opcode32 + (W.I64_EQZ - W.I32_EQZ) : opcode32); }

/** Pushes OF of a known shift. */
function shiftOverflow(): void {
  const j = jit();
  const s = j.flagSize;
  if (j.flagKind == Fl.SHL) {
    get(lr(s));
    topBit(s);
    knownCarry();
    op(W.I32_XOR);
  } else if (j.flagKind == Fl.SHR) {
    get(lr(s));
    get(lr(s));
    constant(s, 1);
    arith(s, W.I32_SHL);
    arith(s, W.I32_XOR);
    topBit(s);
  } else i32c(0);
}

/** Pushes flT of the known state. */
function pushType(): void {
  const j = jit();
  const t = lazyType(j.flagKind) * 4 + j.flagSize;
  if (j.flagKind < Fl.SHL) {
    i32c(t);
    return;
  }
  i32c(t | Lazy.FIX_CF | Lazy.FIX_OF);
  knownCarry();
  i32c(9);
  op(W.I32_SHL);
  op(W.I32_OR);
  if (j.flagKind == Fl.SAR) return;
  shiftOverflow();
  i32c(11);
  op(W.I32_SHL);
  op(W.I32_OR);
}

/** Pushes flA of the known state. */
function pushA(): void {
  const j = jit();
  if (j.flagKind == Fl.INC || j.flagKind == Fl.DEC) {
    get(L.CY);
    op(W.I64_EXTEND_U);
    return;
  }
  get(la(j.flagSize));
  widen(j.flagSize);
}

/** Writes the flags into the record; what is known stays known. */
export function spillFlags(): void {
  const j = jit();
  if (j.flagKind == Fl.MEM) return;
  get(L.CPU);
  if (j.flagKind == Fl.DYN) get(L.FT);
  else pushType();
  mem(W.I32_STORE, FL_T);
  get(L.CPU);
  if (j.flagKind == Fl.DYN) get(L.FA);
  else pushA();
  mem(W.I64_STORE, FL_A);
  get(L.CPU);
  get(j.flagKind == Fl.DYN || j.flagSize == 3 ? L.FR : L.R);
  if (j.flagKind != Fl.DYN) widen(j.flagSize);
  mem(W.I64_STORE, FL_R);
}

/** The record's form in locals: the state in which blocks of a region meet. */
export function flagsToLocals(): void {
  const j = jit();
  if (j.flagKind == Fl.DYN) return;
  if (j.flagKind == Fl.MEM) loadFlags();
  else {
    pushType();
    set(L.FT);
    pushA();
    set(L.FA);
    if (j.flagSize != 3) {
      get(L.R);
      widen(j.flagSize);
      set(L.FR);
    }
  }
  j.flagKind = Fl.DYN;
}

export function loadFlags(): void {
  get(L.CPU);
  mem(W.I32_LOAD, FL_T);
  set(L.FT);
  get(L.CPU);
  mem(W.I64_LOAD, FL_A);
  set(L.FA);
  get(L.CPU);
  mem(W.I64_LOAD, FL_R);
  set(L.FR);
}

/** Pushes CF. */
export function pushCarry(): void {
  const j = jit();
  if (j.flagKind >= Fl.ADD) return knownCarry();
  flagsToLocals();
  // behind INC and DEC it is in flA
  get(L.FT);
  i32c(0x138);
  op(W.I32_AND);
  i32c(Lazy.INC * 4);
  op(W.I32_EQ);
  op(W.IF);
  op(W.I32);
  get(L.FA);
  op(W.I32_WRAP);
  i32c(1);
  op(W.I32_AND);
  op(W.ELSE);
  get(L.FT);
  get(L.FA);
  get(L.FR);
  call(Fn.CARRY);
  op(W.END);
}

/** Replaces CF by the local `cf` and OF by the i32 on the stack. */
export function overlay(cf: u32): void {
  flagsToLocals();
  i32c(11);
  op(W.I32_SHL);
  get(cf);
  i32c(9);
  op(W.I32_SHL);
  op(W.I32_OR);
  get(L.FT);
  i32c(~Lazy.FIX);
  op(W.I32_AND);
  op(W.I32_OR);
  i32c(Lazy.FIX_CF | Lazy.FIX_OF);
  op(W.I32_OR);
  set(L.FT);
}

function zero(s: u32): void {
  get(lr(s));
  arith64(s, W.I32_EQZ);
}
function result(s: u32): void {
  get(lr(s));
  signed(s);
}

/** Pushes the condition `cc` as 0 or 1 (SDM vol. 1, appendix B). */
export function pushCond(cc: u32): void {
  const j = jit();
  const s = j.flagSize, k = j.flagKind;
  const negate = (cc & 1) != 0;
  if (k >= Fl.ADD) {
    switch (cc >> 1) {
      case 1:
        knownCarry();
        if (negate) op(W.I32_EQZ);
        return;
      case 2:
        zero(s);
        if (negate) op(W.I32_EQZ);
        return;
      case 3:
        zero(s);
        knownCarry();
        op(W.I32_OR);
        if (negate) op(W.I32_EQZ);
        return;
      case 4:
        result(s);
        constant(s, 0);
        arith64(s, negate ? W.I32_GE_S : W.I32_LT_S);
        return;
      case 5:
        get(lr(s));
        if (s == 3) op(W.I32_WRAP);
        i32c(0xff);
        op(W.I32_AND);
        op(W.I32_POPCNT);
        i32c(1);
        op(W.I32_AND);
        if (!negate) op(W.I32_EQZ);
        return;
      case 6:
      case 7:
        if (k == Fl.SUB) {
          get(la(s));
          signed(s);
          pushY(s);
          signed(s);
          arith64(s, cc == 12 ? W.I32_LT_S : cc == 13 ? W.I32_GE_S : cc == 14 ? W.I32_LE_S : W.I32_GT_S);
          return;
        }
        if (k == Fl.LOGIC) {
          result(s);
          constant(s, 0);
          arith64(s, cc == 12 ? W.I32_LT_S : cc == 13 ? W.I32_GE_S : cc == 14 ? W.I32_LE_S : W.I32_GT_S);
          return;
        }
        break;
      default:
    }
  }
  spillFlags();
  get(L.CPU);
  i32c(cc);
  call(Fn.COND);
}
