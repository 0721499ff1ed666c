// Lazy flags at compile time. The state at a point is a base, the last operation that set all flags (its operands stay in locals), and up to two layers
// over it: an INC or DEC, which leaves CF to what is below, and an operation that replaced CF and OF alone. Nothing is worked out until somebody reads it;
// exits do so on their own cold way. Blocks of a region agree on the state with which an edge is crossed (module.ts), or meet in locals in the record's form.
import { CF, Cpu, Lazy, ZF } from "../cpu/state";
import { Fn, L, arith, constant, cut, la, ln, lo, lr, record, signed, widen } from "./operands";
import { comparedBits, comparedCarry, comparedCond } from "./sse-flags";
import { Fl, Over, Step, jit } from "./state";
import { W, call, get, i32c, i64c, mem, op, set } from "./wasm";

const FL_T: u32 = <u32>offsetof<Cpu>("flT");
const FL_A: u32 = <u32>offsetof<Cpu>("flA");
const FL_R: u32 = <u32>offsetof<Cpu>("flR");

/** Packed states that are none: the block leaves the flags alone; nobody knows. */
export const UNTOUCHED: u32 = 0xffff_fffe;
export const UNSURE: u32 = 0xffff_ffff;

export function packFlags(): u32 {
  const j = jit();
  if (j.flagKind < Fl.ADD && !j.stepKind && !j.overKind) return j.flagKind;
  return j.flagKind | (j.flagSize << 4) | (j.flagCount << 6) | (j.stepKind << 12) | (j.stepSize << 14) | (j.overKind << 16) | (j.overSize << 19);
}
export function unpackFlags(packed: u32): void {
  const j = jit();
  j.flagKind = packed & 15;
  j.flagSize = (packed >> 4) & 3;
  j.flagCount = (packed >> 6) & 63;
  j.stepKind = (packed >> 12) & 3;
  j.stepSize = (packed >> 14) & 3;
  j.overKind = (packed >> 16) & 7;
  j.overSize = (packed >> 19) & 3;
}

export function known(kind: u32, s: u32): void {
  const j = jit();
  j.flagKind = kind;
  j.flagSize = s;
  j.flagCount = 0;
  j.stepKind = Step.NONE;
  j.stepSize = 0;
  j.overKind = Over.NONE;
  j.overSize = 0;
  j.touched = 1;
}
export function knownShift(kind: u32, s: u32, count: u32): void {
  known(kind, s);
  jit().flagCount = count;
}
/** To be called before the local of an INC or DEC is written. */
export function beginStep(): void { if (jit().overKind) settleOver(); }
/** The result of an INC or DEC is in its local. */
export function stepped(kind: u32, s: u32): void {
  const j = jit();
  j.stepKind = kind;
  j.stepSize = s;
  j.touched = 1;
}
/** CF and OF follow from the locals of the layer. */
export function overlaid(kind: u32, s: u32): void {
  const j = jit();
  j.overKind = kind;
  j.overSize = s;
  j.touched = 1;
}
// @ts-ignore: decorator
@inline export function flagsInMemory(): void { known(Fl.MEM, 0); }

function lazyType(kind: u32): u32 {
  switch (kind) {
    case Fl.ADD:
    case Fl.ADC: return Lazy.ADD;
    case Fl.SUB:
    case Fl.SBB: return Lazy.SUB;
    case Fl.LOGIC: return Lazy.LOGIC;
    default: return Lazy.SHIFT;
  }
}

// @ts-ignore: decorator
@inline function bits(s: u32): u32 { return 8 << s; }

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

/** Pushes the carry of the base. */
function baseCarry(): void {
  const j = jit();
  const s = j.flagSize;
  switch (j.flagKind) {
    case Fl.MEM:
      record();
      i32c(2);
      call(Fn.COND);
      break;
    case Fl.DYN:
      get(L.FT);
      get(L.FA);
      get(L.FR);
      call(Fn.CARRY);
      break;
    case Fl.ADD:
      get(lr(s));
      get(la(s));
      arith64(s, W.I32_LT_U);
      break;
    case Fl.SUB:
      get(la(s));
      get(lr(s));
      arith64(s, W.I32_LT_U);
      break;
    case Fl.ADC:
    case Fl.SBB:
      get(j.flagKind == Fl.ADC ? lr(s) : la(s));
      get(j.flagKind == Fl.ADC ? la(s) : lr(s));
      arith64(s, W.I32_LT_U);
      get(la(s));
      get(lr(s));
      arith64(s, W.I32_EQ);
      get(L.CI);
      op(W.I32_AND);
      op(W.I32_OR);
      break;
    case Fl.BITS:
      get(L.R);
      i32c(CF);
      op(W.I32_AND);
      break;
    case Fl.SHL:
      get(la(s));
      bitAt(s, bits(s) - j.flagCount);
      break;
    case Fl.SHR:
    case Fl.SAR:
      get(la(s));
      bitAt(s, j.flagCount - 1);
      break;
    case Fl.FCMP: comparedCarry(); break;
    default: i32c(0);
  }
}

/** Pushes CF of the upper layer. */
function overCarry(): void {
  const j = jit();
  const s = j.overSize;
  switch (j.overKind) {
    case Over.ROL:
      get(lo(s));
      bitAt(s, 0);
      break;
    case Over.ROR:
      get(lo(s));
      topBit(s);
      break;
    case Over.BOTH:
    case Over.CARRY: get(L.O); break;
    case Over.MUL32:
      get(L.O64);
      get(L.O64);
      op(W.I64_EXTEND32_S);
      op(W.I64_NE);
      break;
    default:
      get(L.O64);
      get(L.P64);
      call(Fn.MUL_OVER);
  }
}
/** Pushes OF of the upper layer. */
function overOverflow(): void {
  const j = jit();
  const s = j.overSize;
  if (j.overKind >= Over.MUL32) return overCarry();
  get(lo(s));
  topBit(s);
  get(lo(s));
  bitAt(s, j.overKind == Over.ROL ? 0 : bits(s) - 2);
  op(W.I32_XOR);
}

/** A comparison by its 32-bit opcode. */
export function arith64(s: u32, opcode32: u32): void { op(s == 3 ? opcode32 + (W.I64_EQZ - W.I32_EQZ) : opcode32); }

/** Pushes OF of a shift that is the base. */
function shiftOverflow(): void {
  const j = jit();
  const s = j.flagSize;
  if (j.flagKind == Fl.SHL) {
    get(lr(s));
    topBit(s);
    baseCarry();
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

/** The base in the locals of the record's form. */
function settleBase(): void {
  const j = jit();
  const s = j.flagSize;
  if (j.flagKind == Fl.DYN) return;
  if (j.flagKind == Fl.MEM) loadFlags();
  else if (j.flagKind == Fl.FCMP) {
    i32c(Lazy.EXPLICIT * 4);
    set(L.FT);
    comparedBits();
    set(L.FR);
  } else if (j.flagKind == Fl.BITS) {
    i32c(Lazy.EXPLICIT * 4);
    set(L.FT);
    get(L.R);
    op(W.I64_EXTEND_U);
    set(L.FR);
  } else {
    const t = lazyType(j.flagKind) * 4 + s;
    const carrying = j.flagKind == Fl.ADC || j.flagKind == Fl.SBB;
    if (carrying) {
      // ADC and SBB of the record are ADD and SUB with a carry
      get(L.CI);
      i32c(ctz<u32>((Lazy.ADC - Lazy.ADD) * 4));
      op(W.I32_SHL);
      i32c(t);
      op(W.I32_ADD);
    } else if (j.flagKind < Fl.SHL) i32c(t);
    else {
      i32c(t | Lazy.FIX_CF | Lazy.FIX_OF);
      baseCarry();
      i32c(9);
      op(W.I32_SHL);
      op(W.I32_OR);
      if (j.flagKind != Fl.SAR) {
        shiftOverflow();
        i32c(11);
        op(W.I32_SHL);
        op(W.I32_OR);
      }
    }
    set(L.FT);
    if (s != 3) {
      if (j.flagKind < Fl.LOGIC || carrying) {
        get(L.A);
        widen(s);
        set(L.FA);
      }
      get(L.R);
      widen(s);
      set(L.FR);
    }
  }
  j.flagKind = Fl.DYN;
  j.flagSize = 0;
  j.flagCount = 0;
}
function settleStep(): void {
  const j = jit();
  if (!j.stepKind) return settleBase();
  baseCarry();
  op(W.I64_EXTEND_U);
  set(L.FA);
  i32c((j.stepKind == Step.INC ? Lazy.INC : Lazy.DEC) * 4 + j.stepSize);
  set(L.FT);
  get(ln(j.stepSize));
  widen(j.stepSize);
  set(L.FR);
  j.flagKind = Fl.DYN;
  j.flagSize = 0;
  j.flagCount = 0;
  j.stepKind = Step.NONE;
  j.stepSize = 0;
}
function settleOver(): void {
  const j = jit();
  settleStep();
  if (!j.overKind) return;
  if (j.overKind == Over.CARRY) {
    get(L.FT);
    i32c(~(Lazy.FIX_CF | 0x200));
    op(W.I32_AND);
    get(L.O);
    i32c(9);
    op(W.I32_SHL);
    op(W.I32_OR);
    i32c(Lazy.FIX_CF);
    op(W.I32_OR);
    set(L.FT);
    j.overKind = Over.NONE;
    j.overSize = 0;
    return;
  }
  overOverflow();
  i32c(11);
  op(W.I32_SHL);
  overCarry();
  i32c(9);
  op(W.I32_SHL);
  op(W.I32_OR);
  fixType();
  j.overKind = Over.NONE;
  j.overSize = 0;
}
/** The flags in locals get the CF and OF that the i32 on the stack has at bits 9 and 11. */
export function fixType(): void {
  get(L.FT);
  i32c(~Lazy.FIX);
  op(W.I32_AND);
  op(W.I32_OR);
  i32c(Lazy.FIX_CF | Lazy.FIX_OF);
  op(W.I32_OR);
  set(L.FT);
}

/** Whether the record has the flags already. */
export function flagsAreInMemory(): bool { return packFlags() == Fl.MEM; }

/** The record's form in locals: the state in which ways meet that do not agree. */
export function flagsToLocals(): void {
  jit().touched = 1;
  settleOver();
}

/** Writes the flags into the record. */
export function spillFlags(): void {
  if (flagsAreInMemory()) return;
  flagsToLocals();
  storeFlags();
}

export function storeFlags(): void {
  record();
  get(L.FT);
  mem(W.I32_STORE, FL_T);
  record();
  get(L.FA);
  mem(W.I64_STORE, FL_A);
  record();
  get(L.FR);
  mem(W.I64_STORE, FL_R);
}
export function loadFlags(): void {
  record();
  mem(W.I32_LOAD, FL_T);
  set(L.FT);
  record();
  mem(W.I64_LOAD, FL_A);
  set(L.FA);
  record();
  mem(W.I64_LOAD, FL_R);
  set(L.FR);
}

/** Pushes CF. */
export function pushCarry(): void {
  if (jit().overKind) overCarry();
  else baseCarry();
}

/** Pushes the result that ZF, SF and PF come from; tells its size, 4 when only the record's form has it. */
function resultSize(): u32 {
  const j = jit();
  return j.stepKind ? j.stepSize : (j.flagKind >= Fl.ADD && j.flagKind < Fl.FCMP) || j.flagKind >= Fl.ADC ? j.flagSize : 4;
}
function pushResult(s: u32): void { get(jit().stepKind ? ln(s) : lr(s)); }

/** Pushes OF when it is cheap to have; false when it is not. */
function pushOverflow(): bool {
  const j = jit();
  if (j.overKind && j.overKind != Over.CARRY) {
    overOverflow();
    return true;
  }
  if (j.stepKind) {
    const s = j.stepSize;
    const lowest: u64 = <u64>1 << <u64>(bits(s) - 1);
    get(ln(s));
    if (s < 2) cut(s);
    constant(s, j.stepKind == Step.INC ? lowest : lowest - 1);
    arith64(s, W.I32_EQ);
    return true;
  }
  const s = j.flagSize;
  switch (j.flagKind) {
    case Fl.LOGIC:
      i32c(0);
      return true;
    case Fl.SHL:
    case Fl.SHR:
    case Fl.SAR:
      shiftOverflow();
      return true;
    case Fl.ADD:
    case Fl.SUB:
    case Fl.ADC:
    case Fl.SBB: {
      // ADD: (a ^ r) & (y ^ r), y = r - a; SUB: (a ^ y) & (a ^ r), y = a - r; less the carry that came in
      const sum = j.flagKind == Fl.ADD || j.flagKind == Fl.ADC;
      get(la(s));
      get(lr(s));
      arith(s, W.I32_XOR);
      get(sum ? lr(s) : la(s));
      get(sum ? la(s) : lr(s));
      arith(s, W.I32_SUB);
      if (j.flagKind >= Fl.ADC) {
        get(L.CI);
        if (s == 3) op(W.I64_EXTEND_U);
        arith(s, W.I32_SUB);
      }
      get(sum ? lr(s) : la(s));
      arith(s, W.I32_XOR);
      arith(s, W.I32_AND);
      topBit(s);
      return true;
    }
    default: return false;
  }
}

/** Pushes the condition `cc` as 0 or 1 (SDM vol. 1, appendix B). */
export function pushCond(cc: u32): void {
  if (tryCond(cc)) return;
  spillFlags();
  record();
  i32c(cc);
  call(Fn.COND);
}

function zero(s: u32): void {
  pushResult(s);
  if (s < 2) cut(s);
  arith64(s, W.I32_EQZ);
}
function signOf(s: u32): void {
  pushResult(s);
  signed(s);
  constant(s, 0);
  arith64(s, W.I32_LT_S);
}

/** Pushes the condition without its negation on flags that are known bit by bit. */
function bitsCond(kind: u32): void {
  get(L.R);
  switch (kind) {
    case 0: bitAt(2, 11); break;
    case 1: bitAt(2, 0); break;
    case 2: bitAt(2, 6); break;
    case 3:
      i32c(CF | ZF);
      op(W.I32_AND);
      i32c(0);
      op(W.I32_NE);
      break;
    case 4: bitAt(2, 7); break;
    case 5: bitAt(2, 2); break;
    default:
      // SF xor OF
      i32c(4);
      op(W.I32_SHL);
      get(L.R);
      op(W.I32_XOR);
      bitAt(2, 11);
      if (kind == 6) break;
      get(L.R);
      bitAt(2, 6);
      op(W.I32_OR);
  }
}

function tryCond(cc: u32): bool {
  const j = jit();
  const s = resultSize();
  const plain = !j.stepKind && !j.overKind; // the base alone
  const negate = (cc & 1) != 0;
  const kind = cc >> 1;
  if (plain && j.flagKind == Fl.FCMP) {
    comparedCond(cc);
    return true;
  }
  if (plain && j.flagKind == Fl.BITS) {
    bitsCond(kind);
    if (negate) op(W.I32_EQZ);
    return true;
  }
  if (s == 4 && (kind > 1 || (kind == 0 && (!j.overKind || j.overKind == Over.CARRY)))) return false;
  switch (kind) {
    case 0:
      pushOverflow();
      break;
    case 1:
      pushCarry();
      break;
    case 2:
      zero(s);
      break;
    case 3:
      if (plain && j.flagKind == Fl.SUB) {
        // below or equal: compare the operands
        get(la(s));
        pushY(s);
        arith64(s, negate ? W.I32_GT_U : W.I32_LE_U);
        return true;
      }
      zero(s);
      pushCarry();
      op(W.I32_OR);
      break;
    case 4:
      pushResult(s);
      signed(s);
      constant(s, 0);
      arith64(s, negate ? W.I32_GE_S : W.I32_LT_S);
      return true;
    case 5:
      pushResult(s);
      if (s == 3) op(W.I32_WRAP);
      i32c(0xff);
      op(W.I32_AND);
      op(W.I32_POPCNT);
      i32c(1);
      op(W.I32_AND);
      if (!negate) op(W.I32_EQZ);
      return true;
    default:
      if (plain && (j.flagKind == Fl.SUB || j.flagKind == Fl.LOGIC)) {
        const o = cc == 12 ? W.I32_LT_S : cc == 13 ? W.I32_GE_S : cc == 14 ? W.I32_LE_S : W.I32_GT_S;
        if (j.flagKind == Fl.SUB) {
          get(la(s));
          signed(s);
          pushY(s);
          signed(s);
        } else {
          pushResult(s);
          signed(s);
          constant(s, 0);
        }
        arith64(s, o);
        return true;
      }
      signOf(s);
      pushOverflow();
      op(W.I32_XOR);
      if (kind == 7) {
        zero(s);
        op(W.I32_OR);
      }
  }
  if (negate) op(W.I32_EQZ);
  return true;
}
