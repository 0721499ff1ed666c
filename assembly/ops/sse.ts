// Dispatch of MMX and SSE to SSE4.2, AES, PCLMULQDQ and SHA. Prefix: 0 none, 1 66, 2 F3, 3 F2.
import { Cpu } from "../cpu/state";
import { Insn } from "../decode/insn";
import { doubleInteger, fromInteger, packedInteger, precision, toInteger } from "./sse-convert";
import { approximate, arithmetic, compare, compareFlags, horizontal } from "./sse-fp";
import { integer, repack, repack64 } from "./sse-int";
import { map38, map3a } from "./sse-maps";
import {
  extractWord, fromGeneral, group15, insertWord, loadDqu, loadHigh, loadInteger, loadLow, loadUnaligned, maskedStore, moveMask, moveMaskFp, moveQuad,
  shiftGroup, shuffleFp, shuffleInteger, storeHalf, storeInteger, storeStream, storeUnaligned, toGeneral, unpack,
} from "./sse-move";
import { badOp, checkSse, low64, mmx, mmxRm, mmxRm32, rm128, setMmx, setXmm, storeRm128, vec64, xmm } from "./sse-operand";
import { emms } from "./x87-state";

function mmxInteger(cpu: Cpu, i: Insn, op: u32): void {
  const b = mmxRm(cpu, i);
  setMmx(cpu, i.a, low64(integer(op, vec64(mmx(cpu, i.a)), vec64(b))));
}

/** Lane operations of both widths. */
function packed(cpu: Cpu, i: Insn, op: u32, prefix: u32): void {
  if (prefix == 1) {
    checkSse(cpu);
    const b = rm128(cpu, i);
    setXmm(cpu, i.a, integer(op, xmm(cpu, i.a), b));
  } else if (prefix == 0) mmxInteger(cpu, i, op);
  else badOp(cpu);
}

function packing(cpu: Cpu, i: Insn, op: u32, prefix: u32): void {
  if (prefix == 1) {
    checkSse(cpu);
    const b = rm128(cpu, i);
    setXmm(cpu, i.a, repack(op, xmm(cpu, i.a), b));
  } else if (prefix == 0 && op < 0x6c) {
    const b = op < 0x63 ? mmxRm32(cpu, i) : mmxRm(cpu, i); // PUNPCKL reads 32 bits
    setMmx(cpu, i.a, repack64(op, mmx(cpu, i.a), b));
  } else badOp(cpu);
}

/** The SSE operand of an operation that exists for both widths; MMX goes its own way and answers false. */
// @ts-ignore: decorator
@inline function wide(cpu: Cpu, i: Insn, op: u32, prefix: u32): bool {
  if (prefix != 1) {
    packed(cpu, i, op, prefix);
    return false;
  }
  checkSse(cpu);
  return true;
}

function logic(cpu: Cpu, i: Insn, op: u32, prefix: u32): void {
  if (prefix > 1) return badOp(cpu);
  checkSse(cpu);
  const b = rm128(cpu, i), a = xmm(cpu, i.a);
  switch (op) {
    case 0x54: return setXmm(cpu, i.a, v128.and(a, b));
    case 0x55: return setXmm(cpu, i.a, v128.andnot(b, a));
    case 0x56: return setXmm(cpu, i.a, v128.or(a, b));
    default: return setXmm(cpu, i.a, v128.xor(a, b));
  }
}

function map0f(cpu: Cpu, i: Insn, op: u32, prefix: u32): void {
  switch (op) {
    case 0x10: return loadUnaligned(cpu, i, prefix);
    case 0x11: return storeUnaligned(cpu, i, prefix);
    case 0x12: return loadLow(cpu, i, prefix);
    case 0x13: return storeHalf(cpu, i, prefix, 0);
    case 0x14: return unpack(cpu, i, prefix, false);
    case 0x15: return unpack(cpu, i, prefix, true);
    case 0x16: return loadHigh(cpu, i, prefix);
    case 0x17: return storeHalf(cpu, i, prefix, 8);
    case 0x28:
      if (prefix > 1) return badOp(cpu);
      checkSse(cpu);
      return setXmm(cpu, i.a, rm128(cpu, i));
    case 0x29:
      if (prefix > 1) return badOp(cpu);
      checkSse(cpu);
      return storeRm128(cpu, i, xmm(cpu, i.a));
    case 0x2a: return fromInteger(cpu, i, prefix);
    case 0x2b: return storeStream(cpu, i, prefix, false);
    case 0x2c: case 0x2d: return toInteger(cpu, i, op, prefix);
    case 0x2e: case 0x2f: return prefix > 1 ? badOp(cpu) : compareFlags(cpu, i, op, prefix == 1);
    case 0x50: return moveMaskFp(cpu, i, prefix);
    case 0x52: case 0x53: return prefix & 1 ? badOp(cpu) : approximate(cpu, i, op, prefix);
    case 0x54: case 0x55: case 0x56: case 0x57: return logic(cpu, i, op, prefix);
    case 0x51: case 0x58: case 0x59: case 0x5c: case 0x5d: case 0x5e: case 0x5f: return arithmetic(cpu, i, op, prefix);
    case 0x5a: return precision(cpu, i, prefix);
    case 0x5b: return packedInteger(cpu, i, prefix);
    case 0x60: case 0x61: case 0x62: case 0x63: case 0x67: case 0x68: case 0x69: case 0x6a: case 0x6b: case 0x6c: case 0x6d:
      return packing(cpu, i, op, prefix);
    case 0x64: case 0x65: case 0x66: case 0x75: return packed(cpu, i, op, prefix);
    case 0x6e: return fromGeneral(cpu, i, prefix);
    case 0x6f: return loadInteger(cpu, i, prefix);
    case 0x70: return shuffleInteger(cpu, i, prefix);
    case 0x71: case 0x72: case 0x73: return shiftGroup(cpu, i, op, prefix);
    case 0x74: {
      if (wide(cpu, i, 0x74, prefix)) {
        const b = rm128(cpu, i);
        setXmm(cpu, i.a, i8x16.eq(xmm(cpu, i.a), b));
      }
      return;
    }
    case 0x76: {
      if (wide(cpu, i, 0x76, prefix)) {
        const b = rm128(cpu, i);
        setXmm(cpu, i.a, i32x4.eq(xmm(cpu, i.a), b));
      }
      return;
    }
    case 0x77: return prefix ? badOp(cpu) : emms(cpu, i);
    case 0x7c: case 0x7d: return prefix & 1 ? horizontal(cpu, i, op, prefix == 1) : badOp(cpu);
    case 0x7e: return toGeneral(cpu, i, prefix);
    case 0x7f: return storeInteger(cpu, i, prefix);
    case 0xae: return group15(cpu, i, prefix);
    case 0xc2: return compare(cpu, i, prefix);
    case 0xc4: return insertWord(cpu, i, prefix);
    case 0xc5: return extractWord(cpu, i, prefix);
    case 0xc6: return shuffleFp(cpu, i, prefix);
    case 0xd0: return prefix & 1 ? horizontal(cpu, i, op, prefix == 1) : badOp(cpu);
    case 0xd4: {
      if (wide(cpu, i, 0xd4, prefix)) {
        const b = rm128(cpu, i);
        setXmm(cpu, i.a, i64x2.add(xmm(cpu, i.a), b));
      }
      return;
    }
    case 0xd6: return moveQuad(cpu, i, prefix);
    case 0xd7: return moveMask(cpu, i, prefix);
    case 0xd1: case 0xd2: case 0xd3: case 0xd5: case 0xd8: case 0xd9: case 0xdc: case 0xdd: case 0xe0: case 0xe1: case 0xe2: case 0xe3: case 0xe4:
    case 0xe5: case 0xe8: case 0xe9: case 0xea: case 0xec: case 0xed: case 0xee: case 0xf1: case 0xf2: case 0xf3: case 0xf4: case 0xf5: case 0xf6:
    case 0xf9: case 0xfb: case 0xfc: case 0xfd:
      return packed(cpu, i, op, prefix);
    case 0xda: {
      if (wide(cpu, i, 0xda, prefix)) {
        const b = rm128(cpu, i);
        setXmm(cpu, i.a, i8x16.min_u(xmm(cpu, i.a), b));
      }
      return;
    }
    case 0xdb: {
      if (wide(cpu, i, 0xdb, prefix)) {
        const b = rm128(cpu, i);
        setXmm(cpu, i.a, v128.and(xmm(cpu, i.a), b));
      }
      return;
    }
    case 0xde: {
      if (wide(cpu, i, 0xde, prefix)) {
        const b = rm128(cpu, i);
        setXmm(cpu, i.a, i8x16.max_u(xmm(cpu, i.a), b));
      }
      return;
    }
    case 0xdf: {
      if (wide(cpu, i, 0xdf, prefix)) {
        const b = rm128(cpu, i);
        setXmm(cpu, i.a, v128.andnot(b, xmm(cpu, i.a)));
      }
      return;
    }
    case 0xe6: return doubleInteger(cpu, i, prefix);
    case 0xe7: return storeStream(cpu, i, prefix, true);
    case 0xeb: {
      if (wide(cpu, i, 0xeb, prefix)) {
        const b = rm128(cpu, i);
        setXmm(cpu, i.a, v128.or(xmm(cpu, i.a), b));
      }
      return;
    }
    case 0xef: {
      if (wide(cpu, i, 0xef, prefix)) {
        const b = rm128(cpu, i);
        setXmm(cpu, i.a, v128.xor(xmm(cpu, i.a), b));
      }
      return;
    }
    case 0xf0: return loadDqu(cpu, i, prefix);
    case 0xf7: return maskedStore(cpu, i, prefix);
    case 0xf8: {
      if (wide(cpu, i, 0xf8, prefix)) {
        const b = rm128(cpu, i);
        setXmm(cpu, i.a, i8x16.sub(xmm(cpu, i.a), b));
      }
      return;
    }
    case 0xfa: {
      if (wide(cpu, i, 0xfa, prefix)) {
        const b = rm128(cpu, i);
        setXmm(cpu, i.a, i32x4.sub(xmm(cpu, i.a), b));
      }
      return;
    }
    case 0xfe: {
      if (wide(cpu, i, 0xfe, prefix)) {
        const b = rm128(cpu, i);
        setXmm(cpu, i.a, i32x4.add(xmm(cpu, i.a), b));
      }
      return;
    }
    default: badOp(cpu);
  }
}

/** Executes one instruction; `op` is map << 10 | prefix << 8 | opcode. */
export function sse(cpu: Cpu, i: Insn, op: u32): void {
  const prefix = (op >> 8) & 3;
  switch (op >> 10) {
    case 0: return map0f(cpu, i, op & 0xff, prefix);
    case 1: return map38(cpu, i, op & 0xff, prefix);
    default: return map3a(cpu, i, op & 0xff, prefix);
  }
}
