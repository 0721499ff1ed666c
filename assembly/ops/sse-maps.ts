// SSSE3, SSE4.1, SSE4.2 and the crypto extensions: maps 0F 38 and 0F 3A.
import { Cpu, CF, ZF, getGpr, setGpr, xmmAt } from "../cpu/state";
import { setArith } from "../cpu/flags";
import { Insn, isMem, rexW } from "../decode/insn";
import { rmLin } from "../decode/operand";
import { readLin, writeLin } from "../mmu/access";
import { aes, aesKeyAssist, carrylessMultiply, sha, sha1Rounds } from "./sse-crypto";
import { dotDouble, dotSingle, round } from "./sse-fp";
import { alignRight, ssse3, ssse3Mmx } from "./sse-int";
import { badOp, checkSse, mmx, mmxRm, needMemory, rm128, rm128u, rmLow, setMmx, setXmm, vec64, xmm } from "./sse-operand";
import { compareStrings } from "./sse-string";

function signExtend(cpu: Cpu, i: Insn, op: u32): v128 {
  switch (op & 7) {
    case 0: return i16x8.extend_low_i8x16_s(vec64(rmLow<u64>(cpu, i)));
    case 1: return i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(vec64(<u64>rmLow<u32>(cpu, i))));
    case 2: return i64x2.extend_low_i32x4_s(i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(vec64(<u64>rmLow<u16>(cpu, i)))));
    case 3: return i32x4.extend_low_i16x8_s(vec64(rmLow<u64>(cpu, i)));
    case 4: return i64x2.extend_low_i32x4_s(i32x4.extend_low_i16x8_s(vec64(<u64>rmLow<u32>(cpu, i))));
    default: return i64x2.extend_low_i32x4_s(vec64(rmLow<u64>(cpu, i)));
  }
}
function zeroExtend(cpu: Cpu, i: Insn, op: u32): v128 {
  switch (op & 7) {
    case 0: return i16x8.extend_low_i8x16_u(vec64(rmLow<u64>(cpu, i)));
    case 1: return i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(vec64(<u64>rmLow<u32>(cpu, i))));
    case 2: return i64x2.extend_low_i32x4_u(i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(vec64(<u64>rmLow<u16>(cpu, i)))));
    case 3: return i32x4.extend_low_i16x8_u(vec64(rmLow<u64>(cpu, i)));
    case 4: return i64x2.extend_low_i32x4_u(i32x4.extend_low_i16x8_u(vec64(<u64>rmLow<u32>(cpu, i))));
    default: return i64x2.extend_low_i32x4_u(vec64(rmLow<u64>(cpu, i)));
  }
}

/** PHMINPOSUW: the least word and its position. */
export function leastWord(b: v128): v128 {
  const low = <u64>i64x2.extract_lane(b, 0), high = <u64>i64x2.extract_lane(b, 1);
  let best: u64 = 0xffff_ffff;
  for (let k: u64 = 0; k < 8; k++) best = min<u64>(best, ((((k < 4 ? low : high) >> ((k & 3) << 4)) & 0xffff) << 16) | k);
  return vec64((best >> 16) | ((best & 7) << 16));
}

/** Two-operand operations of SSE4, all with 128-bit memory operands. */
function sse4(op: u32, a: v128, b: v128, xmm0: v128): v128 {
  switch (op) {
    case 0x10: return v128.bitselect(b, a, i8x16.shr_s(xmm0, 7));
    case 0x14: return v128.bitselect(b, a, i32x4.shr_s(xmm0, 31));
    case 0x15: return v128.bitselect(b, a, i64x2.shr_s(xmm0, 63));
    case 0x28: return i64x2.extmul_low_i32x4_s(v128.shuffle<i32>(a, a, 0, 2, 0, 2), v128.shuffle<i32>(b, b, 0, 2, 0, 2));
    case 0x29: return i64x2.eq(a, b);
    case 0x2b: return i16x8.narrow_i32x4_u(a, b);
    case 0x37: return i64x2.gt_s(a, b);
    case 0x38: return i8x16.min_s(a, b);
    case 0x39: return i32x4.min_s(a, b);
    case 0x3a: return i16x8.min_u(a, b);
    case 0x3b: return i32x4.min_u(a, b);
    case 0x3c: return i8x16.max_s(a, b);
    case 0x3d: return i32x4.max_s(a, b);
    case 0x3e: return i16x8.max_u(a, b);
    case 0x3f: return i32x4.max_u(a, b);
    case 0x40: return i32x4.mul(a, b);
    default: return leastWord(b); // 41
  }
}

export function map38(cpu: Cpu, i: Insn, op: u32, prefix: u32): void {
  if (prefix > 1) return badOp(cpu);
  if (op < 0x0c || (op >= 0x1c && op <= 0x1e)) {
    if (prefix) {
      checkSse(cpu);
      const b = rm128(cpu, i);
      setXmm(cpu, i.a, ssse3(op, xmm(cpu, i.a), b));
    } else {
      const b = mmxRm(cpu, i);
      setMmx(cpu, i.a, ssse3Mmx(op, mmx(cpu, i.a), b));
    }
    return;
  }
  if (op >= 0xc8) {
    if (op > 0xcd && op < 0xdb) return badOp(cpu);
    if ((op < 0xd0) == (prefix != 0)) return badOp(cpu);
    checkSse(cpu);
    const b = rm128(cpu, i);
    if (op >= 0xd0) return aes(op, xmmAt(cpu, i.a), b);
    setXmm(cpu, i.a, sha(op, xmm(cpu, i.a), b, xmm(cpu, 0)));
    return;
  }
  if (!prefix) return badOp(cpu);
  switch (op) {
    case 0x10: case 0x14: case 0x15: case 0x28: case 0x29: case 0x2b: case 0x37: case 0x38: case 0x39: case 0x3a: case 0x3b: case 0x3c: case 0x3d:
    case 0x3e: case 0x3f: case 0x40: case 0x41: {
      checkSse(cpu);
      const b = rm128(cpu, i);
      setXmm(cpu, i.a, sse4(op, xmm(cpu, i.a), b, xmm(cpu, 0)));
      return;
    }
    case 0x17: {
      checkSse(cpu);
      const b = rm128(cpu, i), a = xmm(cpu, i.a);
      setArith(cpu, (v128.any_true(v128.and(a, b)) ? 0 : ZF) | (v128.any_true(v128.andnot(b, a)) ? 0 : CF));
      return;
    }
    case 0x20: case 0x21: case 0x22: case 0x23: case 0x24: case 0x25:
      checkSse(cpu);
      return setXmm(cpu, i.a, signExtend(cpu, i, op));
    case 0x2a:
      needMemory(cpu, i);
      checkSse(cpu);
      return setXmm(cpu, i.a, rm128(cpu, i));
    case 0x30: case 0x31: case 0x32: case 0x33: case 0x34: case 0x35:
      checkSse(cpu);
      return setXmm(cpu, i.a, zeroExtend(cpu, i, op));
    default: badOp(cpu);
  }
}

// Lane masks from the bits of an immediate.
// @ts-ignore: decorator
@inline function mask16(imm: u32): v128 {
  const bits = i16x8(1, 2, 4, 8, 16, 32, 64, 128);
  return i16x8.eq(v128.and(i16x8.splat(<i16>imm), bits), bits);
}
// @ts-ignore: decorator
@inline function mask32(imm: u32): v128 {
  const bits = i32x4(1, 2, 4, 8);
  return i32x4.eq(v128.and(i32x4.splat(imm), bits), bits);
}
// @ts-ignore: decorator
@inline function mask64(imm: u32): v128 {
  const bits = i64x2(1, 2);
  return i64x2.eq(v128.and(i64x2.splat(imm), bits), bits);
}

/** PEXTRB, PEXTRW, PEXTRD/PEXTRQ, EXTRACTPS: 3A 14-17. */
function extract(cpu: Cpu, i: Insn, op: u32): void {
  const p = xmmAt(cpu, i.a);
  const imm = <usize>i.imm;
  const wide = op == 0x16 && rexW(i);
  const v: u64 = op == 0x14 ? <u64>load<u8>(p + (imm & 15)) : op == 0x15 ? <u64>load<u16>(p + ((imm & 7) << 1))
    : wide ? load<u64>(p + ((imm & 1) << 3)) : <u64>load<u32>(p + ((imm & 3) << 2));
  if (!isMem(i)) setGpr(cpu, i.b, v);
  else if (op == 0x14) writeLin<u8>(cpu, rmLin(cpu, i, 1, true), <u8>v);
  else if (op == 0x15) writeLin<u16>(cpu, rmLin(cpu, i, 2, true), <u16>v);
  else if (wide) writeLin<u64>(cpu, rmLin(cpu, i, 8, true), v);
  else writeLin<u32>(cpu, rmLin(cpu, i, 4, true), <u32>v);
}

/** PINSRB, PINSRD/PINSRQ: 3A 20, 22. */
function insert(cpu: Cpu, i: Insn, op: u32): void {
  const p = xmmAt(cpu, i.a);
  const imm = <usize>i.imm;
  if (op == 0x20) store<u8>(p + (imm & 15), isMem(i) ? readLin<u8>(cpu, rmLin(cpu, i, 1, false)) : <u8>getGpr(cpu, i.b));
  else if (rexW(i)) store<u64>(p + ((imm & 1) << 3), isMem(i) ? readLin<u64>(cpu, rmLin(cpu, i, 8, false)) : getGpr(cpu, i.b));
  else store<u32>(p + ((imm & 3) << 2), isMem(i) ? readLin<u32>(cpu, rmLin(cpu, i, 4, false)) : <u32>getGpr(cpu, i.b));
}

function insertSingle(cpu: Cpu, i: Insn): void {
  const imm = <u32>i.imm;
  const v = isMem(i) ? rmLow<u32>(cpu, i) : load<u32>(xmmAt(cpu, i.b) + ((<usize>imm >> 6 & 3) << 2));
  const r = v128.bitselect(i32x4.splat(v), xmm(cpu, i.a), mask32(1 << (imm >> 4 & 3)));
  setXmm(cpu, i.a, v128.andnot(r, mask32(imm & 15)));
}

/** MPSADBW: eight sums of four absolute differences. */
export function blockSums(a: v128, b: v128, imm: u32): v128 {
  const first = alignRight(i64x2.splat(0), a, imm & 4);
  let sum = i64x2.splat(0);
  for (let k: u32 = 0; k < 4; k++) {
    const x = alignRight(i64x2.splat(0), first, k);
    const y = i8x16.swizzle(b, i8x16.splat(<i8>(((imm & 3) << 2) + k)));
    sum = i16x8.add(sum, i16x8.extend_low_i8x16_u(i8x16.sub(i8x16.max_u(x, y), i8x16.min_u(x, y))));
  }
  return sum;
}

export function map3a(cpu: Cpu, i: Insn, op: u32, prefix: u32): void {
  if (prefix == 0) {
    if (op == 0x0f) {
      const b = mmxRm(cpu, i);
      const both = i64x2.replace_lane(vec64(b), 1, mmx(cpu, i.a));
      setMmx(cpu, i.a, i64x2.extract_lane(alignRight(i64x2.splat(0), both, <u32>i.imm & 0xff), 0));
    } else if (op == 0xcc) {
      checkSse(cpu);
      const b = rm128(cpu, i);
      setXmm(cpu, i.a, sha1Rounds(xmm(cpu, i.a), b, <u32>i.imm & 3));
    } else badOp(cpu);
    return;
  }
  if (prefix != 1) return badOp(cpu);
  const imm = <u32>i.imm & 0xff;
  switch (op) {
    case 0x08: case 0x09: case 0x0a: case 0x0b: return round(cpu, i, op);
    case 0x0c: case 0x0d: case 0x0e: case 0x0f: case 0x42: case 0x44: {
      checkSse(cpu);
      const b = rm128(cpu, i), a = xmm(cpu, i.a);
      let r: v128;
      switch (op) {
        case 0x0c: r = v128.bitselect(b, a, mask32(imm)); break;
        case 0x0d: r = v128.bitselect(b, a, mask64(imm)); break;
        case 0x0e: r = v128.bitselect(b, a, mask16(imm)); break;
        case 0x0f: r = alignRight(a, b, imm); break;
        case 0x42: r = blockSums(a, b, imm); break;
        default: r = carrylessMultiply(a, b, imm); break;
      }
      return setXmm(cpu, i.a, r);
    }
    case 0x14: case 0x15: case 0x16: case 0x17:
      checkSse(cpu);
      return extract(cpu, i, op);
    case 0x20: case 0x22:
      checkSse(cpu);
      return insert(cpu, i, op);
    case 0x21:
      checkSse(cpu);
      return insertSingle(cpu, i);
    case 0x40: return dotSingle(cpu, i);
    case 0x41: return dotDouble(cpu, i);
    case 0x60: case 0x61: case 0x62: case 0x63: {
      checkSse(cpu);
      const b = rm128u(cpu, i);
      return compareStrings(cpu, op, xmm(cpu, i.a), b, imm, rexW(i));
    }
    case 0xdf: {
      checkSse(cpu);
      const b = rm128(cpu, i);
      return setXmm(cpu, i.a, aesKeyAssist(b, imm));
    }
    default: badOp(cpu);
  }
}
