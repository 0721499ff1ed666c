// x87 moves in line: what neither rounds nor raises an exception. Each begins with a test that it is one of those; the other arm is the call of x87.ts. The registers
// stay in the record: X is the physical number of the one at hand, Y the status word. Follows ops/x87.ts and ops/x87-reg.ts.
import { Cpu, SEG_SEL } from "../cpu/state";
import { Insn, isMem, seg } from "../decode/insn";
import { CPU_ST } from "../layout";
import { BIAS, C1, TOP64 } from "../softfp/fp";
import { L, pushRip, record } from "./operands";
import { jit } from "./state";
import { W, get, hintedIf, i32c, i64c, mem, op, set, tee } from "./wasm";

const STATUS: u32 = <u32>offsetof<Cpu>("fpuStatus");
const TAGS: u32 = <u32>offsetof<Cpu>("fpuTags");
const ST: u32 = <u32>CPU_ST;
const TOP: i32 = 0x3800;
/** Locals beside those of the operand. */
const SE: u32 = L.T;
const OTHER: u32 = L.E;
const SIG: u32 = L.X64;

function load32(offset: u32): void {
  record();
  mem(W.I32_LOAD, offset);
}
/** Pushes the number of ST(n), TOP being that of the status word in Y. */
function number(n: i32): void {
  get(L.Y);
  i32c(11);
  op(W.I32_SHR_U);
  if (n) {
    i32c(n);
    op(W.I32_ADD);
  }
  i32c(7);
  op(W.I32_AND);
}
/** ST(n) becomes the register at hand. */
function choose(n: i32): void {
  load32(STATUS);
  set(L.Y);
  number(n);
  set(L.X);
}
/** Pushes whether the register in a local is empty. */
function empty(local: u32): void {
  load32(TAGS);
  get(local);
  op(W.I32_SHR_U);
  i32c(1);
  op(W.I32_AND);
}
function slot(local: u32): void {
  record();
  get(local);
  i32c(4);
  op(W.I32_SHL);
  op(W.I32_ADD);
}
function loadSlot(local: u32): void {
  slot(local);
  mem(W.I64_LOAD, ST);
  set(SIG);
  slot(local);
  mem(W.I32_LOAD16_U, ST + 8);
  set(SE);
}
function storeSlot(local: u32): void {
  slot(local);
  get(SIG);
  mem(W.I64_STORE, ST);
  slot(local);
  get(SE);
  mem(W.I32_STORE16, ST + 8);
}
/** Writes the tag of the register in a local. */
function tag(local: u32, isEmpty: bool): void {
  record();
  load32(TAGS);
  i32c(isEmpty ? 1 : -2);
  get(local);
  op(isEmpty ? W.I32_SHL : W.I32_ROTL);
  op(isEmpty ? W.I32_OR : W.I32_AND);
  mem(W.I32_STORE, TAGS);
}
/** Clears C1; TOP becomes what `top` says: the register at hand, the next one, or stays. */
function status(top: i32): void {
  record();
  get(L.Y);
  i32c(~(C1 | (top == Top.KEPT ? 0 : TOP)));
  op(W.I32_AND);
  if (top != Top.KEPT) {
    get(L.X);
    if (top == Top.NEXT) {
      i32c(1);
      op(W.I32_ADD);
      i32c(7);
      op(W.I32_AND);
    }
    i32c(11);
    op(W.I32_SHL);
    op(W.I32_OR);
  }
  mem(W.I32_STORE, STATUS);
}
namespace Top {
  export const KEPT: i32 = 0;
  export const HERE: i32 = 1;
  export const NEXT: i32 = 2;
}
/** The last instruction and its operand, whose address is that of the last access. */
function note(i: Insn, o: u32): void {
  record();
  i32c(o & 0x7ff);
  mem(W.I32_STORE, <u32>offsetof<Cpu>("fpuOpcode"));
  record();
  pushRip(<i32>i.off - <i32>i.len);
  mem(W.I64_STORE, <u32>offsetof<Cpu>("fpuIp"));
  record();
  load32(<u32>offsetof<Cpu>("csSel"));
  mem(W.I32_STORE, <u32>offsetof<Cpu>("fpuCs"));
  if (!isMem(i)) return;
  record();
  get(jit().wide ? L.AD64 : L.AD);
  if (!jit().wide) op(W.I64_EXTEND_U);
  mem(W.I64_STORE, <u32>offsetof<Cpu>("fpuDp"));
  record();
  load32(<u32>SEG_SEL + (seg(i) << 2));
  mem(W.I32_STORE, <u32>offsetof<Cpu>("fpuDs"));
}
/** The value in SIG and SE is pushed to the register at hand. */
function pushed(): void {
  storeSlot(L.X);
  tag(L.X, false);
  status(Top.HERE);
}

/** FLD of a number of `size` bytes whose bits are in T64; opens an `if` whose other arm is for the caller to write. */
export function loadReal(i: Insn, o: u32, size: u32): void {
  const single = size == 4;
  const bits: i64 = single ? 23 : 52, wide: i64 = single ? 32 : 64, most: i32 = single ? 0xff : 0x7ff, bias: i32 = single ? 127 : 1023;
  choose(-1);
  get(L.T64);
  i64c(bits);
  op(W.I64_SHR_U);
  op(W.I32_WRAP);
  i32c(most);
  op(W.I32_AND);
  tee(SE);
  // normal, or a zero
  i32c(1);
  op(W.I32_SUB);
  i32c(most - 1);
  op(W.I32_LT_U);
  get(L.T64);
  i64c(65 - wide);
  op(W.I64_SHL);
  op(W.I64_EQZ);
  op(W.I32_OR);
  empty(L.X);
  op(W.I32_AND);
  hintedIf(W.VOID, true);
  get(L.T64);
  i64c(63 - bits);
  op(W.I64_SHL);
  i64c(<i64>TOP64);
  op(W.I64_OR);
  i64c(0);
  get(SE);
  op(W.SELECT);
  set(SIG);
  get(SE);
  i32c(BIAS - bias);
  op(W.I32_ADD);
  i32c(0);
  get(SE);
  op(W.SELECT);
  get(L.T64);
  i64c(wide - 16);
  op(W.I64_SHR_U);
  op(W.I32_WRAP);
  i32c(0x8000);
  op(W.I32_AND);
  op(W.I32_OR);
  set(SE);
  pushed();
  note(i, o);
  op(W.ELSE);
}

/** FILD of `size` bytes whose bits are in T64. */
export function loadInteger(i: Insn, o: u32, size: u32): void {
  choose(-1);
  empty(L.X);
  hintedIf(W.VOID, true);
  get(L.T64);
  if (size < 8) {
    op(W.I32_WRAP);
    if (size == 2) op(W.I32_EXTEND16_S);
    op(W.I64_EXTEND_S);
  }
  tee(SIG);
  i64c(63);
  op(W.I64_SHR_S);
  set(L.Y64);
  get(SIG);
  get(L.Y64);
  op(W.I64_XOR);
  get(L.Y64);
  op(W.I64_SUB);
  tee(SIG);
  op(W.I64_CLZ);
  op(W.I32_WRAP);
  set(OTHER);
  get(L.Y64);
  op(W.I32_WRAP);
  i32c(0x8000);
  op(W.I32_AND);
  i32c(BIAS + 63);
  op(W.I32_OR);
  get(OTHER);
  op(W.I32_SUB);
  i32c(0);
  get(OTHER);
  i32c(64);
  op(W.I32_NE);
  op(W.SELECT);
  set(SE);
  get(SIG);
  get(OTHER);
  op(W.I64_EXTEND_U);
  op(W.I64_SHL);
  set(SIG);
  pushed();
  note(i, o);
  op(W.ELSE);
}

/** FST or FSTP of a number of `size` bytes to the address in H, when it needs no rounding. */
export function storeReal(i: Insn, o: u32, size: u32, pops: bool): void {
  const single = size == 4;
  const bits: i64 = single ? 23 : 52, most: i32 = single ? 0xff : 0x7ff, bias: i32 = single ? 127 : 1023;
  choose(0);
  loadSlot(L.X);
  get(SE);
  i32c(0x7fff);
  op(W.I32_AND);
  i32c(BIAS - bias);
  op(W.I32_SUB);
  tee(OTHER);
  i32c(1);
  op(W.I32_SUB);
  i32c(most - 1);
  op(W.I32_LT_U);
  get(SIG);
  i64c(bits + 1);
  op(W.I64_SHL);
  op(W.I64_EQZ);
  op(W.I32_AND);
  get(SIG);
  i64c(63);
  op(W.I64_SHR_U);
  op(W.I32_WRAP);
  op(W.I32_AND);
  // a zero; an exponent without the integer bit is none
  get(SIG);
  op(W.I64_EQZ);
  get(OTHER);
  i32c(bias - BIAS);
  op(W.I32_EQ);
  op(W.I32_AND);
  op(W.I32_OR);
  empty(L.X);
  op(W.I32_EQZ);
  op(W.I32_AND);
  hintedIf(W.VOID, true);
  get(L.H);
  get(OTHER);
  i32c(0);
  get(SIG);
  op(W.I64_EQZ);
  op(W.I32_EQZ);
  op(W.SELECT);
  if (single) {
    i32c(23);
    op(W.I32_SHL);
    get(SIG);
    i64c(1);
    op(W.I64_SHL);
    i64c(41);
    op(W.I64_SHR_U);
    op(W.I32_WRAP);
    op(W.I32_OR);
    get(SE);
    i32c(15);
    op(W.I32_SHR_U);
    i32c(31);
    op(W.I32_SHL);
    op(W.I32_OR);
    mem(W.I32_STORE, 0);
  } else {
    op(W.I64_EXTEND_U);
    i64c(52);
    op(W.I64_SHL);
    get(SIG);
    i64c(1);
    op(W.I64_SHL);
    i64c(12);
    op(W.I64_SHR_U);
    op(W.I64_OR);
    get(SE);
    i32c(15);
    op(W.I32_SHR_U);
    op(W.I64_EXTEND_U);
    i64c(63);
    op(W.I64_SHL);
    op(W.I64_OR);
    mem(W.I64_STORE, 0);
  }
  if (pops) tag(L.X, true);
  status(pops ? Top.NEXT : Top.KEPT);
  note(i, o);
  op(W.ELSE);
}

/** Pushes whether neither ST(n), which becomes OTHER, nor the register at hand is empty. */
function bothFull(n: i32): void {
  number(n);
  set(OTHER);
  empty(L.X);
  empty(OTHER);
  op(W.I32_OR);
  op(W.I32_EQZ);
}

/** Register forms that move; false when it is none of them, else an `if` is open as above. */
export function moveRegister(i: Insn, o: u32, key: u32): bool {
  const n = <i32>(o & 7);
  switch (key) {
    case 0x08: { // FLD ST(i)
      choose(-1);
      number(n);
      set(OTHER);
      empty(L.X);
      empty(OTHER);
      op(W.I32_GT_U);
      hintedIf(W.VOID, true);
      loadSlot(OTHER);
      pushed();
      break;
    }
    case 0x09: { // FXCH
      choose(0);
      bothFull(n);
      hintedIf(W.VOID, true);
      slot(OTHER);
      mem(W.I64_LOAD, ST);
      set(L.Y64);
      loadSlot(L.X);
      slot(L.X);
      slot(OTHER);
      mem(W.I32_LOAD16_U, ST + 8);
      mem(W.I32_STORE16, ST + 8);
      storeSlot(OTHER);
      slot(L.X);
      get(L.Y64);
      mem(W.I64_STORE, ST);
      status(Top.KEPT);
      break;
    }
    case 0x2a: case 0x2b: { // FST ST(i), FSTP ST(i)
      choose(0);
      number(n);
      set(OTHER);
      empty(L.X);
      op(W.I32_EQZ);
      hintedIf(W.VOID, true);
      if (n) {
        loadSlot(L.X);
        storeSlot(OTHER);
        tag(OTHER, false);
      }
      if (key == 0x2b) tag(L.X, true);
      status(key == 0x2b ? Top.NEXT : Top.KEPT);
      break;
    }
    case 0x0c: { // FCHS, FABS
      if (n > 1) return false;
      choose(0);
      empty(L.X);
      op(W.I32_EQZ);
      hintedIf(W.VOID, true);
      slot(L.X);
      slot(L.X);
      mem(W.I32_LOAD16_U, ST + 8);
      i32c(n ? 0x7fff : 0x8000);
      op(n ? W.I32_AND : W.I32_XOR);
      mem(W.I32_STORE16, ST + 8);
      status(Top.KEPT);
      break;
    }
    case 0x0d: { // FLD1, FLDZ
      if (n != 0 && n != 6) return false;
      choose(-1);
      empty(L.X);
      hintedIf(W.VOID, true);
      i64c(n ? 0 : <i64>TOP64);
      set(SIG);
      i32c(n ? 0 : BIAS);
      set(SE);
      pushed();
      break;
    }
    default: return false;
  }
  note(i, o);
  op(W.ELSE);
  return true;
}
