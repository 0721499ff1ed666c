// Packed integers of SSE2 to SSE4.2 in compiled code.
import { Insn, isMem, rexW } from "../decode/insn";
import { known } from "./flags";
import { Fn, L, popReg, pushReg, put } from "./operands";
import { operandAddress, pushRm } from "./sse-operand";
import { Fact, V, X, factsOf, lane, simd, vget, vset, zeroVector } from "./sse-reg";
import { Fl } from "./state";
import { W, call, get, i32c, i64c, mem, op, set, simdMem, tee } from "./wasm";

// wasm opcodes of lane operations with the operands in x86's order, 0: none. Map 0F from 60 on, then map 0F 38 from 28 on.
const MAP_0F = memory.data<u8>([
  0, 0, 0, 101, 39, 49, 59, 102, 0, 0, 0, 133, 0, 0, 0, 0, // 60: PACKSSWB PCMPGTB/W/D PACKUSWB PACKSSDW
  0, 0, 0, 0, 35, 45, 55, 0, 0, 0, 0, 0, 0, 0, 0, 0, // 70: PCMPEQB/W/D
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 206, 149, 0, 0, 115, 147, 119, 78, 112, 144, 121, 0, // D0: PADDQ PMULLW PSUBUSB/W PMINUB PAND PADDUSB/W PMAXUB
  123, 0, 0, 155, 0, 0, 0, 0, 114, 146, 150, 80, 111, 143, 152, 81, // E0: PAVGB/W PSUBSB/W PMINSW POR PADDSB/W PMAXSW PXOR
  0, 0, 0, 0, 0, 186, 0, 0, 113, 145, 177, 209, 110, 142, 174, 0, // F0: PMADDWD PSUBB/W/D/Q PADDB/W/D
]);
const MAP_0F38 = memory.data<u8>([
  0, 214, 0, 134, 0, 0, 0, 0, // 28: PCMPEQQ PACKUSDW
  0, 0, 0, 0, 0, 0, 0, 217, // 30: PCMPGTQ
  118, 182, 151, 183, 120, 184, 153, 185, 181, // 38: PMINSB/SD/UW/UD PMAXSB/SD/UW/UD PMULLD
]);

/** The lane operation with this opcode, or 0. */
function laneOpcode(map: u32, o: u32): u32 {
  if (map == 0) return o >= 0x60 ? load<u8>(MAP_0F + (o - 0x60)) : 0;
  return map == 1 && o >= 0x28 && o <= 0x40 ? load<u8>(MAP_0F38 + (o - 0x28)) : 0;
}

function same(i: Insn): bool { return !isMem(i) && i.a == i.b; }

function shuffleBytes(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32): void {
  simd(V.SHUFFLE);
  word(a);
  word(b);
  word(c);
  word(d);
  word(e);
  word(f);
  word(g);
  word(h);
}
function word(n: u32): void {
  op(2 * n);
  op(2 * n + 1);
}
/** A shuffle of four doublewords, 0 to 7. */
function shuffleDwords(a: u32, b: u32, c: u32, d: u32): void {
  shuffleBytes(2 * a, 2 * a + 1, 2 * b, 2 * b + 1, 2 * c, 2 * c + 1, 2 * d, 2 * d + 1);
}

/** Operand a into V0, the rm operand into V1. */
function open(i: Insn): void {
  pushRm(i);
  set(X.V1);
  vget(i.a);
  set(X.V0);
}

/** PUNPCKxx, 60-62, 68-6A, 6C, 6D, and UNPCKxPx with the same meaning. */
function interleave(i: Insn, size: u32, high: bool): void {
  const facts = sharedFacts(i);
  const need = size == 8 ? (high ? Fact.DD : Fact.D) : Fact.SSSS;
  vget(i.a);
  pushRm(i);
  simd(V.SHUFFLE);
  for (let k: u32 = 0; k < 16; k++) {
    const element = k / size;
    op((element & 1 ? 16 : 0) + (high ? 8 : 0) + (element >> 1) * size + k % size);
  }
  vset(i.a, !(facts & need) ? 0 : size == 8 ? Fact.D | Fact.DD : size == 4 ? Fact.S | Fact.SSSS : 0);
}
/** What is known of both operands. */
function sharedFacts(i: Insn): u32 { return isMem(i) ? 0 : factsOf(i.a) & factsOf(i.b); }

/** Both products of the two opcodes, and of the results the odd words. */
function multiplyHigh(i: Insn, low: u32): void {
  open(i);
  get(X.V0);
  get(X.V1);
  simd(low);
  get(X.V0);
  get(X.V1);
  simd(low + 1);
  shuffleBytes(1, 3, 5, 7, 9, 11, 13, 15);
  vset(i.a);
}
function multiplyEven(i: Insn, extmul: u32): void {
  open(i);
  get(X.V0);
  get(X.V0);
  shuffleDwords(0, 2, 0, 2);
  get(X.V1);
  get(X.V1);
  shuffleDwords(0, 2, 0, 2);
  simd(extmul);
  vset(i.a);
}

/** PSADBW. */
function sumDifferences(i: Insn): void {
  open(i);
  get(X.V0);
  get(X.V1);
  simd(121);
  get(X.V0);
  get(X.V1);
  simd(119);
  simd(113);
  simd(125); // i16x8.extadd_pairwise_i8x16_u
  simd(127); // i32x4.extadd_pairwise_i16x8_u
  tee(X.V0);
  i32c(32);
  simd(205); // i64x2.shr_u
  get(X.V0);
  i64c(0xffff_ffff);
  simd(18);
  simd(V.AND);
  simd(206);
  vset(i.a);
}

/** wasm's shift for opcode D1-D3, E1-E2, F1-F3, and the width of its lanes. */
function shiftOpcode(o: u32): u32 {
  const size = o & 15; // 1 words, 2 doublewords, 3 quadwords
  return (size == 1 ? 139 : size == 2 ? 171 : 203) + (o >= 0xf0 ? 0 : o >= 0xe0 ? 1 : 2);
}
// @ts-ignore: decorator
@inline function laneBits(o: u32): u32 { return 8 << (o & 15); }

/** Shifts by an immediate: groups 12 to 14; the digit is in `a`. False for what is no instruction. */
function shiftImmediate(i: Insn, o: u32): bool {
  const digit = <u32>i.a & 7;
  const n = <u32>i.imm & 0xff;
  if (isMem(i)) return false;
  if (o == 0x73 && (digit == 3 || digit == 7)) {
    if (n > 15) zeroVector();
    else {
      vget(i.b);
      zeroVector();
      simd(V.SHUFFLE);
      for (let k: u32 = 0; k < 16; k++) op(digit == 3 ? (k + n < 16 ? k + n : 16) : k >= n ? k - n : 16);
    }
    vset(i.b);
    return true;
  }
  if (digit != 2 && digit != 6 && (digit != 4 || o == 0x73)) return false;
  const kind = o - 0x70 + (digit == 2 ? 0xd0 : digit == 4 ? 0xe0 : 0xf0);
  const bits = laneBits(kind);
  if (n >= bits && kind >> 4 != 0xe) zeroVector();
  else {
    vget(i.b);
    i32c(min(n, bits - 1));
    simd(shiftOpcode(kind));
  }
  vset(i.b);
  return true;
}

/** Shifts by the low quadword of a vector. */
function shiftVector(i: Insn, o: u32): void {
  const bits = laneBits(o);
  pushRm(i);
  lane(V.I64_GET, 0);
  set(X.Q0);
  vget(i.a);
  if (o >> 4 == 0xe) {
    get(X.Q0);
    i64c(bits - 1);
    get(X.Q0);
    i64c(bits);
    op(W.I64_LT_U);
    op(W.SELECT);
    op(W.I32_WRAP);
    simd(shiftOpcode(o));
  } else {
    get(X.Q0);
    op(W.I32_WRAP);
    simd(shiftOpcode(o));
    zeroVector();
    get(X.Q0);
    i64c(bits);
    op(W.I64_LT_U);
    op(W.SELECT);
  }
  vset(i.a);
}

/** PSHUFD, PSHUFHW, PSHUFLW. */
function shuffle(i: Insn, prefix: u32): void {
  const imm = <u32>i.imm;
  pushRm(i);
  tee(X.V0);
  get(X.V0);
  const a = imm & 3, b = (imm >> 2) & 3, c = (imm >> 4) & 3, d = (imm >> 6) & 3;
  const facts = prefix == 1 && !isMem(i) ? factsOf(i.b) & Fact.SSSS : 0;
  if (prefix == 1) shuffleDwords(a, b, c, d);
  else if (prefix == 2) shuffleBytes(0, 1, 2, 3, 4 + a, 4 + b, 4 + c, 4 + d);
  else shuffleBytes(a, b, c, d, 4, 5, 6, 7);
  vset(i.a, facts ? Fact.S | Fact.SSSS : 0);
}

/** SHUFPS, SHUFPD. */
export function shuffleFp(i: Insn, double: bool): void {
  const imm = <u32>i.imm;
  const facts = sharedFacts(i) & (double ? Fact.DD : Fact.SSSS);
  vget(i.a);
  pushRm(i);
  if (double) {
    const a = (imm & 1) << 1, b = 4 + (imm & 2);
    shuffleDwords(a, a + 1, b, b + 1);
  } else shuffleDwords(imm & 3, (imm >> 2) & 3, 4 + ((imm >> 4) & 3), 4 + ((imm >> 6) & 3));
  vset(i.a, !facts ? 0 : double ? Fact.D | Fact.DD : Fact.S | Fact.SSSS);
}
export function unpackFp(i: Insn, double: bool, high: bool): void { interleave(i, double ? 8 : 4, high); }

/** AND, ANDN, OR, XOR of whole registers, by the opcode of the single-precision form. */
export function logic(i: Insn, o: u32): void {
  if (o == 0x57 && same(i)) {
    zeroVector();
    vset(i.a, 15);
    return;
  }
  if (o == 0x55) {
    pushRm(i);
    vget(i.a);
    simd(V.ANDNOT);
  } else {
    vget(i.a);
    pushRm(i);
    simd(o == 0x54 ? V.AND : o == 0x56 ? V.OR : V.XOR);
  }
  vset(i.a);
}

/** A function of the core that has no effects. */
export function vectorCall(i: Insn, code: u32, xmm0: bool): void {
  i32c(<i32>(code & 0xfff));
  i32c(<i32>(<u32>i.imm & 0xff));
  vget(i.a);
  pushRm(i);
  if (xmm0) vget(0);
  else zeroVector();
  call(Fn.VECTOR);
  vset(i.a);
}

// ---- the maps; each answers whether it knows the instruction ----

/** Map 0F with prefix 66, opcodes from 60 on that concern integers. */
export function integer0f(i: Insn, o: u32, prefix: u32): bool {
  if (o == 0x70) {
    if (!prefix) return false;
    shuffle(i, prefix);
    return true;
  }
  if (prefix != 1) return false;
  const direct = laneOpcode(0, o);
  if (direct) {
    if (same(i) && (o == 0xef || (o >= 0xf8 && o <= 0xfb))) {
      zeroVector();
      vset(i.a, 15);
      return true;
    }
    vget(i.a);
    pushRm(i);
    simd(direct);
    vset(i.a);
    return true;
  }
  switch (o) {
    case 0x60: case 0x61: case 0x62: interleave(i, 1 << (o & 3), false); return true;
    case 0x68: case 0x69: case 0x6a: interleave(i, 1 << (o & 3), true); return true;
    case 0x6c: interleave(i, 8, false); return true;
    case 0x6d: interleave(i, 8, true); return true;
    case 0x71: case 0x72: case 0x73: return shiftImmediate(i, o);
    case 0xc4: {
      if (isMem(i)) {
        operandAddress(i, 1, false);
        mem(W.I32_LOAD16_U, 0);
      } else pushReg(<u32>i.b << 3, 2);
      set(X.I0);
      vget(i.a);
      get(X.I0);
      lane(V.I16_SET, <u32>i.imm & 7);
      vset(i.a);
      return true;
    }
    case 0xc5:
      if (isMem(i)) return false;
      vget(i.b);
      lane(V.I16_GET_U, <u32>i.imm & 7);
      popReg(<u32>i.a << 3, 2);
      return true;
    case 0xd1: case 0xd2: case 0xd3: case 0xe1: case 0xe2: case 0xf1: case 0xf2: case 0xf3: shiftVector(i, o); return true;
    case 0xd7:
      if (isMem(i)) return false;
      vget(i.b);
      simd(V.I8_BITMASK);
      popReg(<u32>i.a << 3, 2);
      return true;
    case 0xdf: logic(i, 0x55); return true;
    case 0xe4: multiplyHigh(i, 190); return true;
    case 0xe5: multiplyHigh(i, 188); return true;
    case 0xf4: multiplyEven(i, 222); return true;
    case 0xf6: sumDifferences(i); return true;
    default: return false;
  }
}

/** PMOVSXxx, PMOVZXxx. */
function extend(i: Insn, o: u32): void {
  const kind = o & 7;
  const unsigned: u32 = o & 0x10 ? 2 : 0;
  if (isMem(i)) {
    const bytes: u32 = kind == 2 ? 1 : kind == 1 || kind == 4 ? 2 : 3;
    operandAddress(i, bytes, false);
    if (bytes == 1) {
      mem(W.I32_LOAD16_U, 0);
      simd(V.I32_SPLAT);
    } else simdMem(bytes == 2 ? V.LOAD32_ZERO : V.LOAD64_ZERO, 0);
  } else vget(i.b);
  if (kind < 3) simd(135 + unsigned);
  if (kind == 1 || kind == 2 || kind == 3 || kind == 4) simd(167 + unsigned);
  if (kind == 2 || kind == 4 || kind == 5) simd(199 + unsigned);
  vset(i.a);
}

/** PBLENDVB, BLENDVPS, BLENDVPD: the sign of XMM0's lanes chooses. */
function blendVariable(i: Insn, shift: u32, by: u32): void {
  pushRm(i);
  vget(i.a);
  vget(0);
  i32c(by);
  simd(shift);
  simd(V.BITSELECT);
  vset(i.a);
}

/** PTEST: ZF and CF, the others clear. */
function testBits(i: Insn): void {
  open(i);
  get(X.V0);
  get(X.V1);
  simd(V.AND);
  simd(V.ANY_TRUE);
  op(W.I32_EQZ);
  i32c(6);
  op(W.I32_SHL);
  get(X.V1);
  get(X.V0);
  simd(V.ANDNOT);
  simd(V.ANY_TRUE);
  op(W.I32_EQZ);
  op(W.I32_OR);
  op(W.I64_EXTEND_U);
  set(L.FR);
  i32c(0);
  set(L.FT);
  known(Fl.DYN, 0);
}

function signed(i: Insn, o: u32): void {
  // PSIGNx: negated, cleared or kept as b is
  const eq: u32 = o == 8 ? 35 : o == 9 ? 45 : 55;
  const neg: u32 = o == 8 ? 97 : o == 9 ? 129 : 161;
  open(i);
  get(X.V0);
  simd(neg);
  get(X.V0);
  get(X.V1);
  zeroVector();
  simd(eq + 2); // lt_s
  simd(V.BITSELECT);
  get(X.V1);
  zeroVector();
  simd(eq);
  simd(V.ANDNOT);
  vset(i.a);
}

/** PMULHRSW: wasm's version differs in -1 * -1 only. */
function multiplyRound(i: Insn): void {
  open(i);
  get(X.V0);
  get(X.V1);
  simd(130);
  get(X.V0);
  get(X.V1);
  simd(V.AND);
  i32c(<i32>0x8000_8000);
  simd(V.I32_SPLAT);
  simd(45);
  get(X.V0);
  get(X.V1);
  simd(45);
  simd(V.AND);
  simd(V.XOR);
  vset(i.a);
}

/** Sums or differences of neighbours: words or doublewords. */
function neighbours(i: Insn, o: u32): void {
  open(i);
  for (let odd: u32 = 0; odd < 2; odd++) {
    get(X.V0);
    get(X.V1);
    if (o == 2 || o == 6) shuffleDwords(odd, 2 + odd, 4 + odd, 6 + odd);
    else shuffleBytes(odd, 2 + odd, 4 + odd, 6 + odd, 8 + odd, 10 + odd, 12 + odd, 14 + odd);
  }
  simd(o == 1 ? 142 : o == 2 ? 174 : o == 3 ? 143 : o == 5 ? 145 : o == 6 ? 177 : 146);
  vset(i.a);
}

export function map38(i: Insn, code: u32, o: u32, prefix: u32): bool {
  if (o >= 0xc8) {
    const hash = o < 0xd0;
    if (o > 0xdf || (o > 0xcd && o < 0xdb) || prefix != (hash ? 0 : 1)) return false;
    vectorCall(i, code, hash);
    return true;
  }
  if (prefix != 1) return false;
  const direct = laneOpcode(1, o);
  if (direct) {
    vget(i.a);
    pushRm(i);
    simd(direct);
    vset(i.a);
    return true;
  }
  switch (o) {
    case 0x00:
      vget(i.a);
      pushRm(i);
      i32c(<i32>0x8f8f_8f8f);
      simd(V.I32_SPLAT);
      simd(V.AND);
      simd(V.SWIZZLE);
      vset(i.a);
      return true;
    case 0x01: case 0x02: case 0x03: case 0x05: case 0x06: case 0x07: neighbours(i, o); return true;
    case 0x08: case 0x09: case 0x0a: signed(i, o); return true;
    case 0x0b: multiplyRound(i); return true;
    case 0x04: vectorCall(i, code, false); return true;
    case 0x10: blendVariable(i, 108, 7); return true;
    case 0x14: blendVariable(i, 172, 31); return true;
    case 0x15: blendVariable(i, 204, 63); return true;
    case 0x17: testBits(i); return true;
    case 0x1c: case 0x1d: case 0x1e:
      pushRm(i);
      simd(o == 0x1c ? 96 : o == 0x1d ? 128 : 160);
      vset(i.a);
      return true;
    case 0x20: case 0x21: case 0x22: case 0x23: case 0x24: case 0x25:
    case 0x30: case 0x31: case 0x32: case 0x33: case 0x34: case 0x35: extend(i, o); return true;
    case 0x28: multiplyEven(i, 220); return true;
    case 0x2a:
      if (!isMem(i)) return false;
      pushRm(i);
      vset(i.a);
      return true;
    case 0x41: vectorCall(i, code, false); return true;
    default: return false;
  }
}

/** BLENDPS, BLENDPD, PBLENDW: lanes of `size` bytes from b where the immediate has a bit. */
function blend(i: Insn, size: u32): void {
  const imm = <u32>i.imm;
  vget(i.a);
  pushRm(i);
  simd(V.SHUFFLE);
  for (let k: u32 = 0; k < 16; k++) op(k + ((imm >> (k / size)) & 1 ? 16 : 0));
  vset(i.a);
}

/** PALIGNR. */
function alignRight(i: Insn): void {
  const n = <u32>i.imm & 0xff;
  pushRm(i);
  set(X.V1);
  vget(i.a);
  set(X.V0);
  if (n >= 32) zeroVector();
  else {
    get(n < 16 ? X.V1 : X.V0);
    if (n < 16) get(X.V0);
    else zeroVector();
    simd(V.SHUFFLE);
    for (let k: u32 = 0; k < 16; k++) op(k + (n & 15));
  }
  vset(i.a);
}

/** PEXTRB, PEXTRW, PEXTRD/PEXTRQ, EXTRACTPS. */
function extract(i: Insn, o: u32): void {
  const wide = o == 0x16 && rexW(i);
  const s: u32 = o == 0x14 ? 0 : o == 0x15 ? 1 : wide ? 3 : 2;
  const n = <u32>i.imm & ((16 >> s) - 1);
  if (isMem(i)) operandAddress(i, s, true);
  vget(i.a);
  lane(s == 0 ? V.I8_GET_U : s == 1 ? V.I16_GET_U : s == 2 ? V.I32_GET : V.I64_GET, n);
  if (isMem(i)) put(s);
  else popReg(<u32>i.b << 3, max(s, 2));
}

/** PINSRB, PINSRD/PINSRQ. */
function insert(i: Insn, o: u32): void {
  const s: u32 = o == 0x20 ? 0 : rexW(i) ? 3 : 2;
  const n = <u32>i.imm & ((16 >> s) - 1);
  if (isMem(i)) {
    operandAddress(i, s, false);
    mem(s == 0 ? W.I32_LOAD8_U : s == 2 ? W.I32_LOAD : W.I64_LOAD, 0);
  } else pushReg(<u32>i.b << 3, max(s, 2));
  set(s == 3 ? X.Q0 : X.I0);
  vget(i.a);
  get(s == 3 ? X.Q0 : X.I0);
  lane(s == 0 ? V.I8_SET : s == 2 ? V.I32_SET : V.I64_SET, n);
  vset(i.a);
}

/** INSERTPS. */
function insertSingle(i: Insn): void {
  const imm = <u32>i.imm;
  if (isMem(i)) {
    operandAddress(i, 2, false);
    mem(W.I32_LOAD, 0);
  } else {
    vget(i.b);
    lane(V.I32_GET, (imm >> 6) & 3);
  }
  set(X.I0);
  vget(i.a);
  get(X.I0);
  lane(V.I32_SET, (imm >> 4) & 3);
  if (imm & 15) {
    zeroVector();
    simd(V.SHUFFLE);
    for (let k: u32 = 0; k < 16; k++) op(k + ((imm >> (k >> 2)) & 1 ? 16 : 0));
  }
  vset(i.a);
}

export function map3a(i: Insn, code: u32, o: u32, prefix: u32): bool {
  if (prefix == 0 && o == 0xcc) {
    vectorCall(i, code, false);
    return true;
  }
  if (prefix != 1) return false;
  switch (o) {
    case 0x0c: blend(i, 4); return true;
    case 0x0d: blend(i, 8); return true;
    case 0x0e: blend(i, 2); return true;
    case 0x0f: alignRight(i); return true;
    case 0x14: case 0x15: case 0x16: case 0x17: extract(i, o); return true;
    case 0x20: case 0x22: insert(i, o); return true;
    case 0x21: insertSingle(i); return true;
    case 0x42: case 0x44: case 0xdf: vectorCall(i, code, false); return true;
    default: return false;
  }
}
