// SSE, x87 and MMX records to code. What has no emitter here is called (emit.ts, `thick`).
import { Mode } from "../cpu/state";
import { Insn, OP_SSE, isMem } from "../decode/insn";
import { COUNTING } from "../generated/hot";
import { countThick } from "./count";
import { flagsInMemory } from "./flags";
import { Fn, L, forgetAddresses, pushPlace, record, spill } from "./operands";
import { fromPackedInteger, horizontal, packedArithmetic, packedCompare, packedPrecision, toPackedInteger, toPackedIntegerDouble } from "./sse-packed";
import { integer0f, logic, map38, map3a, shuffleFp, unpackFp, vectorCall } from "./sse-int";
import {
  fromGeneral, loadWhole, moveHigh, moveLow, moveMask, moveQuad, moveScalar, storeAligned, storeHalf, storeWhole, toGeneral,
} from "./sse-move";
import { plainMemory } from "./sse-operand";
import { loadGuard } from "./sse-reg";
import { fromInteger, precision, roundScalar, scalarArithmetic, scalarCompare, scalarCompareFlags, toInteger } from "./sse-scalar";
import { jit } from "./state";
import { emitX87 } from "./x87";
import { forgetValue } from "./windows";
import { W, call, get, hintedIf, i32c, mem, op, set } from "./wasm";

/** A thick operation that changes no general or XMM register and no flag, so that what is in locals stays there. */
function lightCall(code: u32): void {
  const j = jit();
  if (COUNTING) countThick(changetype<Insn>(j.ip));
  spill();
  record();
  i32c(<i32>j.ip);
  i32c(<i32>code);
  pushPlace();
  call(Fn.THICK);
  hintedIf(W.VOID, false);
  op(W.RETURN);
  op(W.END);
  j.dirty = 0;
  j.xdirty = 0;
  j.fpuCalm = 0;
  j.cleaned = 1;
  forgetAddresses();
}

const FNSTSW_AX: u32 = 0x37e0;

function x87(i: Insn, code: u32): bool {
  if (emitX87(i, code)) return true;
  lightCall(code);
  if (isMem(i)) return true;
  if (code == FNSTSW_AX) {
    const j = jit();
    j.used |= 1;
    record();
    mem(j.wide ? W.I64_LOAD : W.I32_LOAD, 0);
    set(L.GPR);
    forgetValue(0);
  } else if ((code & 0x3fb00) == 0x3300 && (code & 0xff) >= 0xe8 && (code & 0xff) < 0xf8) flagsInMemory(); // FCOMI and its like
  return true;
}

/** MMX, and what else leaves general and XMM registers alone. */
function mmx(i: Insn, code: u32, o: u32, prefix: u32): bool {
  if (prefix) return false;
  if (o == 0xae) {
    const digit = <u32>i.a & 7;
    if (!isMem(i)) return digit >= 5; // the fences
    if (digit == 1) return false; // FXRSTOR
    lightCall(code);
    if (digit == 2 && jit().xguard) loadGuard();
    return true;
  }
  if (o == 0x7e || o == 0xc5 || o == 0xd7) return false; // to a general register
  if ((o < 0x60 || o > 0x7f) && o != 0xc4 && o < 0xd1) return false;
  lightCall(code);
  return true;
}

/** Emits the record with operation `code`, at least OP_X87; false when it knows nothing better than a call. */
export function floating(i: Insn, code: u32): bool {
  if (code < OP_SSE) return x87(i, code);
  const o = code & 0xff, prefix = (code >> 8) & 3;
  if (!(jit().mode & Mode.SIMD) || !plainMemory(i)) return false;
  switch ((code >> 10) & 3) {
    case 0: return map0f(i, code, o, prefix) || mmx(i, code, o, prefix);
    case 1: return map38(i, code, o, prefix);
    default:
      if (prefix == 1 && (o == 0x0a || o == 0x0b)) {
        roundScalar(i, o == 0x0b);
        return true;
      }
      return map3a(i, code, o, prefix);
  }
}

function map0f(i: Insn, code: u32, o: u32, prefix: u32): bool {
  const memory = isMem(i);
  const scalar = prefix >= 2;
  const double = (prefix & 1) != 0;
  if (o >= 0x60 && o != 0xc2 && o != 0xc6 && o != 0xe6) {
    switch (o) {
      case 0x6e:
        if (prefix != 1) return false;
        fromGeneral(i);
        return true;
      case 0x7e:
        if (prefix == 1) toGeneral(i);
        else if (prefix == 2) moveQuad(i, false);
        else return false;
        return true;
      case 0x6f:
      case 0x7f:
        if (prefix != 1 && prefix != 2) return false;
        if (o == 0x6f) loadWhole(i, prefix == 1);
        else storeWhole(i, prefix == 1);
        return true;
      case 0xd6:
        if (prefix != 1) return false;
        moveQuad(i, true);
        return true;
      case 0xe7:
        if (prefix != 1 || !memory) return false;
        storeAligned(i);
        return true;
      case 0xf0:
        if (prefix != 3 || !memory) return false;
        loadWhole(i, false);
        return true;
      case 0x7c:
      case 0x7d:
        if (!(prefix & 1)) return false;
        horizontal(i, o, prefix == 1);
        return true;
      default: return integer0f(i, o, prefix);
    }
  }
  switch (o) {
    case 0x10:
    case 0x11:
      if (scalar) moveScalar(i, double, o == 0x11);
      else if (o == 0x10) loadWhole(i, false);
      else storeWhole(i, false);
      return true;
    case 0x12: return moveLow(i, prefix);
    case 0x16: return moveHigh(i, prefix);
    case 0x13:
    case 0x17:
      if (scalar || !memory) return false;
      storeHalf(i, o == 0x17);
      return true;
    case 0x14:
    case 0x15:
      if (scalar) return false;
      unpackFp(i, double, o == 0x15);
      return true;
    case 0x28:
    case 0x29:
      if (scalar) return false;
      if (o == 0x28) loadWhole(i, true);
      else storeWhole(i, true);
      return true;
    case 0x2a:
      if (!scalar) return false;
      fromInteger(i, double);
      return true;
    case 0x2b:
      if (scalar || !memory) return false;
      storeAligned(i);
      return true;
    case 0x2c:
    case 0x2d:
      if (!scalar) return false;
      toInteger(i, double, o == 0x2d);
      return true;
    case 0x2e:
    case 0x2f:
      if (scalar) return false;
      scalarCompareFlags(i, double);
      return true;
    case 0x50:
      if (scalar || memory) return false;
      moveMask(i, double);
      return true;
    case 0x51: case 0x58: case 0x59: case 0x5c: case 0x5d: case 0x5e: case 0x5f:
      if (scalar) scalarArithmetic(i, o, double);
      else packedArithmetic(i, o, double);
      return true;
    case 0x52:
    case 0x53:
      if (double || (scalar && memory)) return false;
      vectorCall(i, code, false);
      return true;
    case 0x54: case 0x55: case 0x56: case 0x57:
      if (scalar) return false;
      logic(i, o);
      return true;
    case 0x5a:
      if (scalar) precision(i, double);
      else packedPrecision(i, double);
      return true;
    case 0x5b:
      if (prefix == 3) return false;
      if (prefix == 0) fromPackedInteger(i, false);
      else toPackedInteger(i, prefix == 1);
      return true;
    case 0xc2:
      if (scalar) scalarCompare(i, double);
      else packedCompare(i, double);
      return true;
    case 0xc6:
      if (scalar) return false;
      shuffleFp(i, double);
      return true;
    case 0xe6:
      if (prefix == 0) return false;
      if (prefix == 2) fromPackedInteger(i, true);
      else toPackedIntegerDouble(i, prefix == 3);
      return true;
    default: return false;
  }
}
