// Moves, shuffles and control operations of MMX and SSE, map 0F.
import { Cpu, getGpr, setGpr, xmmAt } from "../cpu/state";
import { faultCode, Vector } from "../cpu/fault";
import { Insn, asz, isMem, rexW, seg } from "../decode/insn";
import { rmLin } from "../decode/operand";
import { memLin, probeRead, probeWrite, readLin, writeLin, writeLin128 } from "../mmu/access";
import { checkMmx, fxrstor, fxsave, mmxEnter } from "./x87-state";
import { bytesLeft, bytesRight, shift, shuffle16, shuffle32 } from "./sse-int";
import {
  alignedLin, badOp, checkSse, low64, mmx, mmxBegin, mmxRm, mmxStore, needMemory, needRegister, rm128, rm128u, rmLow, setMmx, setXmm, storeRm128,
  storeRm128u, vec64, xmm,
} from "./sse-operand";

/** MOVUPS, MOVUPD, MOVSS, MOVSD loads: 0F 10. */
export function loadUnaligned(cpu: Cpu, i: Insn, prefix: u32): void {
  checkSse(cpu);
  const p = xmmAt(cpu, i.a);
  if (prefix < 2) v128.store(p, rm128u(cpu, i));
  else if (isMem(i)) v128.store(p, vec64(prefix == 2 ? <u64>rmLow<u32>(cpu, i) : rmLow<u64>(cpu, i)));
  else if (prefix == 2) store<u32>(p, load<u32>(xmmAt(cpu, i.b)));
  else store<u64>(p, load<u64>(xmmAt(cpu, i.b)));
}

/** The stores: 0F 11. */
export function storeUnaligned(cpu: Cpu, i: Insn, prefix: u32): void {
  checkSse(cpu);
  const p = xmmAt(cpu, i.a);
  if (prefix < 2) storeRm128u(cpu, i, v128.load(p));
  else if (prefix == 2) {
    if (isMem(i)) writeLin<u32>(cpu, rmLin(cpu, i, 4, true), load<u32>(p));
    else store<u32>(xmmAt(cpu, i.b), load<u32>(p));
  } else if (isMem(i)) writeLin<u64>(cpu, rmLin(cpu, i, 8, true), load<u64>(p));
  else store<u64>(xmmAt(cpu, i.b), load<u64>(p));
}

/** MOVLPS, MOVHLPS, MOVLPD, MOVSLDUP, MOVDDUP: 0F 12. */
export function loadLow(cpu: Cpu, i: Insn, prefix: u32): void {
  checkSse(cpu);
  const p = xmmAt(cpu, i.a);
  switch (prefix) {
    case 0: store<u64>(p, isMem(i) ? rmLow<u64>(cpu, i) : load<u64>(xmmAt(cpu, i.b), 8)); return;
    case 1:
      needMemory(cpu, i);
      store<u64>(p, rmLow<u64>(cpu, i));
      return;
    case 2: {
      const b = rm128(cpu, i);
      v128.store(p, v128.shuffle<i32>(b, b, 0, 0, 2, 2));
      return;
    }
    default: v128.store(p, i64x2.splat(rmLow<u64>(cpu, i)));
  }
}

/** MOVHPS, MOVLHPS, MOVHPD, MOVSHDUP: 0F 16. */
export function loadHigh(cpu: Cpu, i: Insn, prefix: u32): void {
  if (prefix == 3) return badOp(cpu);
  checkSse(cpu);
  const p = xmmAt(cpu, i.a);
  if (prefix == 2) {
    const b = rm128(cpu, i);
    v128.store(p, v128.shuffle<i32>(b, b, 1, 1, 3, 3));
    return;
  }
  if (prefix == 1) needMemory(cpu, i);
  store<u64>(p, rmLow<u64>(cpu, i), 8);
}

/** MOVLPx, MOVHPx stores: 0F 13, 17. `half` is the byte offset in the register. */
export function storeHalf(cpu: Cpu, i: Insn, prefix: u32, half: usize): void {
  if (prefix > 1) return badOp(cpu);
  needMemory(cpu, i);
  checkSse(cpu);
  writeLin<u64>(cpu, rmLin(cpu, i, 8, true), load<u64>(xmmAt(cpu, i.a) + half));
}

/** UNPCKLPx, UNPCKHPx: 0F 14, 15. */
export function unpack(cpu: Cpu, i: Insn, prefix: u32, high: bool): void {
  if (prefix > 1) return badOp(cpu);
  checkSse(cpu);
  const b = rm128(cpu, i), a = xmm(cpu, i.a);
  if (prefix) setXmm(cpu, i.a, high ? v128.shuffle<i64>(a, b, 1, 3) : v128.shuffle<i64>(a, b, 0, 2));
  else setXmm(cpu, i.a, high ? v128.shuffle<i32>(a, b, 2, 6, 3, 7) : v128.shuffle<i32>(a, b, 0, 4, 1, 5));
}

/** SHUFPS, SHUFPD: 0F C6. */
export function shuffleFp(cpu: Cpu, i: Insn, prefix: u32): void {
  if (prefix > 1) return badOp(cpu);
  checkSse(cpu);
  const b = rm128(cpu, i), a = xmm(cpu, i.a);
  const imm = <u32>i.imm;
  if (prefix == 0) setXmm(cpu, i.a, v128.shuffle<i64>(shuffle32(a, imm), shuffle32(b, imm), 0, 3));
  else setXmm(cpu, i.a, v128.shuffle<i64>(shuffle32(a, imm & 1 ? 0x4e : 0xe4), shuffle32(b, imm & 2 ? 0x4e : 0xe4), 0, 2));
}

/** MOVNTPS, MOVNTPD (0F 2B), MOVNTDQ and MOVNTQ (0F E7). */
export function storeStream(cpu: Cpu, i: Insn, prefix: u32, integer: bool): void {
  if (prefix > 1) return badOp(cpu);
  needMemory(cpu, i);
  if (integer && prefix == 0) return mmxStore(cpu, i, mmx(cpu, i.a));
  checkSse(cpu);
  writeLin128(cpu, alignedLin(cpu, i, true), xmm(cpu, i.a));
}

// @ts-ignore: decorator
@inline function setGpr32(cpu: Cpu, n: u32, v: u32): void { setGpr(cpu, n, <u64>v); }

/** MOVMSKPS, MOVMSKPD: 0F 50. */
export function moveMaskFp(cpu: Cpu, i: Insn, prefix: u32): void {
  if (prefix > 1) return badOp(cpu);
  needRegister(cpu, i);
  checkSse(cpu);
  setGpr32(cpu, i.a, prefix ? <u32>i64x2.bitmask(xmm(cpu, i.b)) : <u32>i32x4.bitmask(xmm(cpu, i.b)));
}

/** PMOVMSKB: 0F D7. */
export function moveMask(cpu: Cpu, i: Insn, prefix: u32): void {
  if (prefix > 1) return badOp(cpu);
  needRegister(cpu, i);
  if (prefix) {
    checkSse(cpu);
    setGpr32(cpu, i.a, <u32>i8x16.bitmask(xmm(cpu, i.b)));
  } else {
    mmxBegin(cpu);
    setGpr32(cpu, i.a, <u32>i8x16.bitmask(vec64(mmx(cpu, i.b))));
  }
}

/** MOVD and MOVQ from a general register or memory: 0F 6E. */
export function fromGeneral(cpu: Cpu, i: Insn, prefix: u32): void {
  if (prefix > 1) return badOp(cpu);
  if (prefix) checkSse(cpu);
  else checkMmx(cpu);
  let v: u64;
  if (rexW(i)) v = isMem(i) ? readLin<u64>(cpu, rmLin(cpu, i, 8, false)) : getGpr(cpu, i.b);
  else v = <u64>(isMem(i) ? readLin<u32>(cpu, rmLin(cpu, i, 4, false)) : <u32>getGpr(cpu, i.b));
  if (prefix) setXmm(cpu, i.a, vec64(v));
  else {
    mmxEnter(cpu);
    setMmx(cpu, i.a, v);
  }
}

/** MOVD and MOVQ to a general register or memory, and MOVQ xmm, xmm/m64: 0F 7E. */
export function toGeneral(cpu: Cpu, i: Insn, prefix: u32): void {
  if (prefix == 3) return badOp(cpu);
  if (prefix == 2) {
    checkSse(cpu);
    setXmm(cpu, i.a, vec64(rmLow<u64>(cpu, i)));
    return;
  }
  let v: u64;
  if (prefix) {
    checkSse(cpu);
    v = load<u64>(xmmAt(cpu, i.a));
  } else {
    checkMmx(cpu);
    v = mmx(cpu, i.a);
  }
  if (!isMem(i)) setGpr(cpu, i.b, rexW(i) ? v : <u64><u32>v);
  else if (rexW(i)) writeLin<u64>(cpu, rmLin(cpu, i, 8, true), v);
  else writeLin<u32>(cpu, rmLin(cpu, i, 4, true), <u32>v);
  if (!prefix) mmxEnter(cpu);
}

/** MOVQ, MOVDQA, MOVDQU loads: 0F 6F. */
export function loadInteger(cpu: Cpu, i: Insn, prefix: u32): void {
  if (prefix == 3) return badOp(cpu);
  if (prefix == 0) {
    const v = mmxRm(cpu, i);
    setMmx(cpu, i.a, v);
    return;
  }
  checkSse(cpu);
  setXmm(cpu, i.a, prefix == 1 ? rm128(cpu, i) : rm128u(cpu, i));
}

/** The stores: 0F 7F. */
export function storeInteger(cpu: Cpu, i: Insn, prefix: u32): void {
  switch (prefix) {
    case 0:
      if (isMem(i)) mmxStore(cpu, i, mmx(cpu, i.a));
      else {
        mmxBegin(cpu);
        setMmx(cpu, i.b, mmx(cpu, i.a));
      }
      return;
    case 1:
      checkSse(cpu);
      return storeRm128(cpu, i, xmm(cpu, i.a));
    case 2:
      checkSse(cpu);
      return storeRm128u(cpu, i, xmm(cpu, i.a));
    default: badOp(cpu);
  }
}

/** MOVQ xmm/m64, xmm; MOVQ2DQ; MOVDQ2Q: 0F D6. */
export function moveQuad(cpu: Cpu, i: Insn, prefix: u32): void {
  if (prefix == 0) return badOp(cpu);
  if (prefix == 1) {
    checkSse(cpu);
    const v = load<u64>(xmmAt(cpu, i.a));
    if (isMem(i)) writeLin<u64>(cpu, rmLin(cpu, i, 8, true), v);
    else setXmm(cpu, i.b, vec64(v));
    return;
  }
  needRegister(cpu, i);
  checkSse(cpu);
  mmxBegin(cpu);
  if (prefix == 2) setXmm(cpu, i.a, vec64(mmx(cpu, i.b)));
  else setMmx(cpu, i.a, load<u64>(xmmAt(cpu, i.b)));
}

/** PSHUFW, PSHUFD, PSHUFHW, PSHUFLW: 0F 70. */
export function shuffleInteger(cpu: Cpu, i: Insn, prefix: u32): void {
  const imm = <u32>i.imm;
  if (prefix == 0) {
    const v = mmxRm(cpu, i);
    setMmx(cpu, i.a, shuffle16(v, imm));
    return;
  }
  checkSse(cpu);
  const b = rm128(cpu, i);
  if (prefix == 1) setXmm(cpu, i.a, shuffle32(b, imm));
  else if (prefix == 2) setXmm(cpu, i.a, i64x2.replace_lane(b, 1, shuffle16(i64x2.extract_lane(b, 1), imm)));
  else setXmm(cpu, i.a, i64x2.replace_lane(b, 0, shuffle16(i64x2.extract_lane(b, 0), imm)));
}

/** Shifts by an immediate: groups 12 to 14, 0F 71-73; the digit is in `a`. */
export function shiftGroup(cpu: Cpu, i: Insn, op: u32, prefix: u32): void {
  const digit = <u32>i.a & 7;
  if (prefix > 1) return badOp(cpu);
  needRegister(cpu, i);
  const count = i.imm & 0xff;
  if (op == 0x73 && (digit == 3 || digit == 7)) { // PSRLDQ, PSLLDQ
    if (!prefix) return badOp(cpu);
    checkSse(cpu);
    setXmm(cpu, i.b, digit == 3 ? bytesRight(xmm(cpu, i.b), <u32>count) : bytesLeft(xmm(cpu, i.b), <u32>count));
    return;
  }
  if (digit != 2 && digit != 6 && (digit != 4 || op == 0x73)) return badOp(cpu);
  // The forms with a vector count are D1-D3 (right), E1-E2 (arithmetic), F1-F3 (left).
  const kind = op - 0x70 + (digit == 2 ? 0xd0 : digit == 4 ? 0xe0 : 0xf0);
  if (prefix) {
    checkSse(cpu);
    setXmm(cpu, i.b, shift(kind, xmm(cpu, i.b), count));
  } else {
    mmxBegin(cpu);
    setMmx(cpu, i.b, low64(shift(kind, vec64(mmx(cpu, i.b)), count)));
  }
}

// @ts-ignore: decorator
@inline function word64(v: u64, n: u32): u32 { return <u32>(v >> <u64>(n << 4)) & 0xffff; }

/** PINSRW: 0F C4. */
export function insertWord(cpu: Cpu, i: Insn, prefix: u32): void {
  if (prefix > 1) return badOp(cpu);
  if (prefix) checkSse(cpu);
  else checkMmx(cpu);
  const v = isMem(i) ? readLin<u16>(cpu, rmLin(cpu, i, 2, false)) : <u16>getGpr(cpu, i.b);
  if (prefix) store<u16>(xmmAt(cpu, i.a) + ((<usize>i.imm & 7) << 1), v);
  else {
    mmxEnter(cpu);
    const at = (i.imm & 3) << 4;
    setMmx(cpu, i.a, (mmx(cpu, i.a) & ~(<u64>0xffff << at)) | (<u64>v << at));
  }
}

/** PEXTRW r32, xmm or mm: 0F C5. */
export function extractWord(cpu: Cpu, i: Insn, prefix: u32): void {
  if (prefix > 1) return badOp(cpu);
  needRegister(cpu, i);
  if (prefix) {
    checkSse(cpu);
    setGpr32(cpu, i.a, load<u16>(xmmAt(cpu, i.b) + ((<usize>i.imm & 7) << 1)));
  } else {
    mmxBegin(cpu);
    setGpr32(cpu, i.a, word64(mmx(cpu, i.b), <u32>i.imm & 3));
  }
}

/** LDDQU: F2 0F F0. */
export function loadDqu(cpu: Cpu, i: Insn, prefix: u32): void {
  if (prefix != 3) return badOp(cpu);
  needMemory(cpu, i);
  checkSse(cpu);
  setXmm(cpu, i.a, rm128u(cpu, i));
}

/** MASKMOVQ, MASKMOVDQU (0F F7): bytes of `a` selected by the sign bits of `b` go to DS:rDI. Bytes left out are not touched. */
export function maskedStore(cpu: Cpu, i: Insn, prefix: u32): void {
  if (prefix > 1) return badOp(cpu);
  needRegister(cpu, i);
  let mask: u32;
  if (prefix) {
    checkSse(cpu);
    mask = <u32>i8x16.bitmask(xmm(cpu, i.b));
  } else {
    checkMmx(cpu);
    mask = <u32>i8x16.bitmask(vec64(mmx(cpu, i.b)));
  }
  const size = asz(i);
  const rdi = cpu.rdi;
  const lin = memLin(cpu, seg(i), size == 2 ? rdi : size == 1 ? <u64><u32>rdi : <u64><u16>rdi, prefix ? 16 : 8, true);
  for (let k: u32 = 0; k < 16; k++) if (mask >> k & 1) probeWrite(cpu, lin + k, 1);
  const low = prefix ? load<u64>(xmmAt(cpu, i.a)) : mmx(cpu, i.a);
  const high = prefix ? load<u64>(xmmAt(cpu, i.a), 8) : 0;
  for (let k: u32 = 0; k < 16; k++) {
    if (mask >> k & 1) writeLin<u8>(cpu, lin + k, <u8>((k < 8 ? low : high) >> <u64>((k & 7) << 3)));
  }
  if (!prefix) mmxEnter(cpu);
}

/** Group 15, 0F AE: FXSAVE, FXRSTOR, LDMXCSR, STMXCSR, CLFLUSH and the fences. */
export function group15(cpu: Cpu, i: Insn, prefix: u32): void {
  const digit = <u32>i.a & 7;
  if (prefix) return badOp(cpu);
  if (!isMem(i)) {
    if (digit < 5) badOp(cpu);
    return;
  }
  switch (digit) {
    case 0: return fxsave(cpu, i);
    case 1: return fxrstor(cpu, i);
    case 2: {
      checkSse(cpu);
      const v = readLin<u32>(cpu, rmLin(cpu, i, 4, false));
      if (v & ~cpu.mxcsrMask) faultCode(cpu, Vector.GP, 0);
      cpu.mxcsr = v;
      return;
    }
    case 3:
      checkSse(cpu);
      writeLin<u32>(cpu, rmLin(cpu, i, 4, true), cpu.mxcsr);
      return;
    case 7: return probeRead(cpu, rmLin(cpu, i, 1, false), 1);
    default: badOp(cpu);
  }
}
