// Bit tests, scans and counts. Follows ops/bit.ts for the flags that the manual leaves undefined.
import { CF, OF, ZF } from "../cpu/state";
import { Insn, isMem } from "../decode/insn";
import { bswapTop } from "./emit";
import { known } from "./flags";
import { bitsKnown, fixCarry, pushArith } from "./int-flags";
import { closeRm, openRm, openStore, pushLinear, pushRm } from "./int-operand";
import { L, access, arith, constant, cut, fetch, lt, lx, ly, popReg, pushReg, put, signed } from "./operands";
import { Fl, jit } from "./state";
import { addressUnknown } from "./windows";
import { W, get, i32c, i64c, op, op2, set, tee } from "./wasm";

/** Adds the byte offset of the operand that holds the bit in register a to the address on the stack. */
function addBitOffset(i: Insn, s: u32): void {
  const wide = jit().wide;
  pushReg(i.a, s);
  signed(s);
  if (wide && s < 3) op(W.I64_EXTEND_S);
  const shift = wide ? 3 : 2;
  constant(shift, 3 + s);
  arith(shift, W.I32_SHR_S);
  constant(shift, s);
  arith(shift, W.I32_SHL);
  arith(shift, W.I32_ADD);
  if (wide && !jit().code64) {
    i64c(0xffff_ffff);
    op(W.I64_AND);
  }
}

/** Pushes one at the bit's place; the place is in Y. */
function pushMask(s: u32): void {
  constant(s, 1);
  get(ly(s));
  arith(s, W.I32_SHL);
}

/** BT BTS BTR BTC by `kind`; the bit's number is in register a, or in the immediate. */
export function emitBt(i: Insn, kind: u32, s: u32, immediate: bool): void {
  if (!immediate && isMem(i)) {
    pushLinear(i);
    addBitOffset(i, s);
    addressUnknown();
    access(s, kind != 0);
    set(L.H);
    get(L.H);
    fetch(s);
    set(lx(s));
  } else if (kind == 0) {
    pushRm(i, s);
    set(lx(s));
  } else openRm(i, s);
  if (immediate) constant(s, i.imm & ((8 << s) - 1));
  else {
    pushReg(i.a, s);
    constant(s, (8 << s) - 1);
    arith(s, W.I32_AND);
  }
  set(ly(s));
  if (kind) {
    get(lx(s));
    pushMask(s);
    if (kind == 2) {
      constant(s, ~0);
      arith(s, W.I32_XOR);
    }
    arith(s, kind == 1 ? W.I32_OR : kind == 2 ? W.I32_AND : W.I32_XOR);
    closeRm(i, s);
  }
  get(lx(s));
  get(ly(s));
  arith(s, W.I32_SHR_U);
  if (s == 3) op(W.I32_WRAP);
  i32c(1);
  op(W.I32_AND);
  fixCarry();
}

/** BSF or BSR. A zero operand keeps the destination: ZF and PF; else PF by the result, all others clear. */
export function emitScan(i: Insn, reverse: bool, s: u32): void {
  pushRm(i, s);
  set(lx(s));
  get(lx(s));
  if (s == 3) {
    op(W.I64_EQZ);
    op(W.I32_EQZ);
  }
  op2(W.IF, W.I32);
  if (reverse) {
    constant(s, s == 3 ? 63 : 31);
    get(lx(s));
    arith(s, W.I32_CLZ);
    arith(s, W.I32_SUB);
  } else {
    get(lx(s));
    arith(s, W.I32_CTZ);
  }
  tee(lt(s));
  popReg(i.a, s);
  // as if of a logical operation: not zero, and with the parity of the result
  get(lt(s));
  if (s == 3) op(W.I32_WRAP);
  i32c(0x100);
  op(W.I32_OR);
  op(W.ELSE);
  i32c(0);
  op(W.END);
  set(L.R);
  known(Fl.LOGIC, 2);
}

/** TZCNT or LZCNT: OF stays, SF AF PF clear. */
export function emitCount(i: Insn, leading: bool, s: u32): void {
  pushRm(i, s);
  set(lx(s));
  get(lx(s));
  if (s == 1 && !leading) {
    i32c(0x1_0000);
    op(W.I32_OR);
  }
  arith(s, leading ? W.I32_CLZ : W.I32_CTZ);
  if (s == 1 && leading) {
    i32c(16);
    op(W.I32_SUB);
  }
  tee(lt(s));
  popReg(i.a, s);
  pushArith();
  i32c(OF);
  op(W.I32_AND);
  get(lx(s));
  flagOfZero(s, CF);
  op(W.I32_OR);
  get(lt(s));
  flagOfZero(s, ZF);
  op(W.I32_OR);
  bitsKnown();
}

export function emitPopcnt(i: Insn, s: u32): void {
  pushRm(i, s);
  arith(s, W.I32_POPCNT);
  tee(lt(s));
  popReg(i.a, s);
  get(lt(s));
  flagOfZero(s, ZF);
  bitsKnown();
}

/** The value on the stack becomes the flag when it is zero, else 0. */
function flagOfZero(s: u32, flag: u32): void {
  if (s == 3) op(W.I64_EQZ);
  else op(W.I32_EQZ);
  i32c(ctz<u32>(flag));
  op(W.I32_SHL);
}

export function emitMovbe(i: Insn, store: bool, s: u32): void {
  if (store) {
    openStore(i, s);
    get(L.H);
    pushReg(i.a, s);
  } else pushRm(i, s);
  if (s == 1) {
    tee(L.T);
    i32c(8);
    op(W.I32_SHL);
    get(L.T);
    i32c(8);
    op(W.I32_SHR_U);
    op(W.I32_OR);
    cut(1);
  } else bswapTop(s);
  if (store) put(s);
  else popReg(i.a, s);
}
