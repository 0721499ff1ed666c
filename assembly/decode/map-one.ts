// The one-byte opcode map (SDM vol. 2, appendix A.3).
import { Mode, Seg } from "../cpu/state";
import { Hot } from "../generated/hot";
import { Dec, end, fetch8, imm16, imm8, immAddress, immV, immZ, modrm, regOffset } from "./decoder";
import { hotBranch, hotMem, hotSize, hotStack, lockable, prefixes, regs, setSeg, setSize, thick } from "./emit";
import { Insn, OP_X87 } from "./insn";
import { decodeTwoByte } from "./map-two";
import { Thick, ThickEnd } from "./thick";

const CMP: u32 = 7;

/** ADD to CMP. Form 0: E,G 1: G,E 2: E,imm (already in i.imm). */
function alu(d: Dec, i: Insn, kind: u32, form: u32, size: u32): void {
  setSize(i, size);
  regs(d, i, size);
  if (form != 1 && kind != CMP) lockable(d);
  const h = hotSize(size);
  if (h != 3) {
    if (!d.mem) {
      // RR: a op= b; RI: a op= imm
      if (form == 0) {
        const t = i.a;
        i.a = i.b;
        i.b = t;
      } else if (form == 2) i.a = i.b;
      i.op = <u16>(Hot.ALU + (kind * 5 + (form == 2 ? 1 : 0)) * 3 + h);
      return;
    }
    if (hotMem(d, i)) {
      i.op = <u16>(Hot.ALU + (kind * 5 + (form == 1 ? 2 : form == 0 ? 3 : 4)) * 3 + h);
      return;
    }
  }
  thick(d, i, Thick.ALU + kind * 3 + form);
}

function testOp(d: Dec, i: Insn, immediate: bool, size: u32): void {
  setSize(i, size);
  regs(d, i, size);
  const h = hotSize(size);
  if (h != 3) {
    if (!d.mem) {
      if (immediate) i.a = i.b;
      i.op = <u16>(Hot.TEST + (immediate ? 1 : 0) * 3 + h);
      return;
    }
    if (hotMem(d, i)) {
      i.op = <u16>(Hot.TEST + (immediate ? 3 : 2) * 3 + h);
      return;
    }
  }
  thick(d, i, immediate ? Thick.TEST_EI : Thick.TEST_EG);
}

/** Shift group; `by` 0: imm8, 1: one, 2: CL. */
function shift(d: Dec, i: Insn, size: u32, by: u32): void {
  const kind = d.reg & 7;
  setSize(i, size);
  regs(d, i, size);
  i.a = i.b;
  if (by == 0) i.imm = <u64>fetch8(d);
  else i.imm = 1;
  const count = <u32>i.imm & (size == 3 ? 63 : 31);
  if (!d.mem && size >= 2 && (kind == 4 || kind == 5 || kind == 7 || kind < 2)) {
    const h = size - 2;
    const slot = kind == 4 ? 0 : kind == 5 ? 1 : kind == 7 ? 2 : kind == 0 ? 3 : 4;
    if (by == 2) {
      if (slot < 3) {
        i.op = <u16>(Hot.SHIFT_CL + slot * 2 + h);
        return;
      }
    } else if (count != 0) {
      i.imm = count;
      i.op = <u16>(Hot.SHIFT_RI + slot * 2 + h);
      return;
    }
  }
  thick(d, i, (by == 2 ? Thick.SHIFT_CL : Thick.SHIFT_IMM) + kind);
}

/** MOV between E and G. */
function mov(d: Dec, i: Insn, load_: bool, size: u32): void {
  setSize(i, size);
  regs(d, i, size);
  if (!d.mem) {
    if (!load_) {
      const t = i.a;
      i.a = i.b;
      i.b = t;
    }
    i.op = <u16>(Hot.MOV_RR + size);
  } else if (hotMem(d, i)) i.op = <u16>((load_ ? Hot.MOV_RM : Hot.MOV_MR) + size);
  else thick(d, i, load_ ? Thick.MOV_GE : Thick.MOV_EG);
}

/** MOV between the accumulator and an address in the instruction; hot when a displacement holds it. */
function absolute(d: Dec, i: Insn, load_: bool, size: u32): void {
  setSize(i, size);
  i.imm = immAddress(d);
  if (d.seg < 8) setSeg(i, d.seg);
  const disp = <i32>i.imm;
  if ((d.asz == 1 || <u64><i64>disp == i.imm) && hotMem(d, i)) {
    i.disp = disp;
    i.op = <u16>((load_ ? Hot.MOV_RM : Hot.MOV_MR) + size);
  } else thick(d, i, load_ ? Thick.MOV_AO : Thick.MOV_OA);
}

function jump(d: Dec, i: Insn, rel: u64): void {
  if (hotBranch(d)) {
    i.disp = <i32>rel;
    i.op = <u16>Hot.JMP;
    d.ends = 1;
  } else {
    i.imm = rel;
    end(d, i, ThickEnd.JMP_REL);
  }
}

export function jcc(d: Dec, i: Insn, cc: u32, rel: u64): void {
  if (hotBranch(d)) {
    i.disp = <i32>rel;
    i.op = <u16>(Hot.JCC + cc);
    d.ends = 1;
  } else {
    i.imm = rel;
    i.a = <u8>cc;
    end(d, i, ThickEnd.JCC);
  }
}

/** Stack operations default to 64 bits in 64-bit mode. */
export function stackSize(d: Dec, i: Insn): void { if (d.code == Mode.CODE64) setSize(i, d.opsize && !(d.rex & 8) ? 1 : 3); }
/** Near branches are 64 bits in 64-bit mode. */
function branchSize(d: Dec, i: Insn): void { if (d.code == Mode.CODE64) setSize(i, 3); }

function endPlain(d: Dec, i: Insn, op: u32): void {
  prefixes(d, i);
  end(d, i, op);
}

function bad64(d: Dec): bool {
  if (d.code != Mode.CODE64) return false;
  d.bad = 1;
  return true;
}

/** PUSH or POP of register `n`. */
function stackRegister(d: Dec, i: Insn, n: u32, hot: u32, plain: u32): void {
  stackSize(d, i);
  i.a = <u8>(n << 3);
  i.b = i.a;
  const h = hotStack(d);
  if (h) {
    setSeg(i, Seg.SS);
    i.op = <u16>(hot + h - 1);
  } else thick(d, i, plain);
}

function push(d: Dec, i: Insn, n: u32): void { stackRegister(d, i, n, Hot.PUSH_R, Thick.PUSH_R); }
function pop(d: Dec, i: Insn, n: u32): void { stackRegister(d, i, n, Hot.POP_R, Thick.POP_R); }

/** PUSH of the segment register in `a`. */
export function pushSegment(d: Dec, i: Insn): void {
  thick(d, i, Thick.PUSH_S);
  setSeg(i, Seg.SS);
}

function pushImm(d: Dec, i: Insn): void {
  stackSize(d, i);
  const h = hotStack(d);
  if (h) {
    setSeg(i, Seg.SS);
    i.op = <u16>(Hot.PUSH_I + h - 1);
  } else thick(d, i, Thick.PUSH_I);
}

/** String operations; `size` is the element's. */
function string(d: Dec, i: Insn, plain: u32, repeated: u32, size: u32): void {
  setSize(i, size);
  if (d.rep) {
    endPlain(d, i, repeated);
    return;
  }
  const h = hotSize(size);
  if (h != 3 && plain != Thick.CMPS && d.seg == 8 && (d.mode & Mode.FLAT) != 0 && d.asz == (d.code == Mode.CODE64 ? 2 : 1)) {
    const slot: u32 = plain == Thick.MOVS ? Hot.MOVS : plain == Thick.LODS ? Hot.LODS : plain == Thick.STOS ? Hot.STOS : Hot.SCAS;
    i.op = <u16>(slot + h);
  } else thick(d, i, plain);
}

function group3(d: Dec, i: Insn, size: u32): void {
  modrm(d, i);
  setSize(i, size);
  const digit = d.reg & 7;
  if (digit < 2) {
    i.imm = size == 3 ? immZ(d) : immV(d, size);
    testOp(d, i, true, size);
    return;
  }
  regs(d, i, size);
  i.a = i.b;
  if (digit < 4) {
    lockable(d);
    if (!d.mem && size >= 2) i.op = <u16>((digit == 2 ? Hot.NOT_R : Hot.NEG_R) + size - 2);
    else thick(d, i, digit == 2 ? Thick.NOT : Thick.NEG);
    return;
  }
  thick(d, i, Thick.MUL + digit - 4);
}

function incDec(d: Dec, i: Insn, size: u32, down: u32): void {
  setSize(i, size);
  regs(d, i, size);
  i.a = i.b;
  i.imm = 1;
  lockable(d);
  if (size >= 2 && !d.mem) i.op = <u16>((down ? Hot.DEC_R : Hot.INC_R) + size - 2);
  else if (size >= 2 && hotMem(d, i)) i.op = <u16>((down ? Hot.DEC_M : Hot.INC_M) + size - 2);
  else thick(d, i, down ? Thick.DEC : Thick.INC);
}

function group5(d: Dec, i: Insn): void {
  modrm(d, i);
  const digit = d.reg & 7;
  switch (digit) {
    case 0:
    case 1: incDec(d, i, d.osz, digit); return;
    case 2:
    case 4: {
      branchSize(d, i);
      const h = hotBranch(d);
      regs(d, i, 3);
      i.a = i.b;
      if (h && !d.mem) {
        i.op = <u16>((digit == 2 ? Hot.CALL_R : Hot.JMP_R) + h - 1);
        d.ends = 1;
      } else if (h && hotMem(d, i)) {
        i.op = <u16>((digit == 2 ? Hot.CALL_M : Hot.JMP_M) + h - 1);
        d.ends = 1;
      } else endPlain(d, i, digit == 2 ? ThickEnd.CALL_E : ThickEnd.JMP_E);
      return;
    }
    case 3:
    case 5:
      if (!d.mem) d.bad = 1;
      endPlain(d, i, digit == 3 ? ThickEnd.CALL_FAR_E : ThickEnd.JMP_FAR_E);
      return;
    case 6: {
      stackSize(d, i);
      if (!d.mem) {
        push(d, i, d.rm);
        return;
      }
      const h = hotStack(d);
      if (h && hotMem(d, i)) i.op = <u16>(Hot.PUSH_M + h - 1);
      else thick(d, i, Thick.PUSH_E);
      return;
    }
    default: d.bad = 1;
  }
}

function leaOp(d: Dec, i: Insn): void {
  if (!d.mem) {
    d.bad = 1;
    return;
  }
  regs(d, i, d.osz);
  // No segment takes part; a wider address than the operand is only cut, a narrower one is thick.
  const natural = d.asz == (d.code == Mode.CODE64 ? 2 : 1) && d.code != Mode.CODE16;
  if (d.osz >= 2 && (natural || (d.asz == 1 && d.osz == 2))) i.op = <u16>(Hot.LEA + d.osz - 2);
  else thick(d, i, Thick.LEA);
}

export function decodeOneByte(d: Dec, i: Insn, op: u32): void {
  const v = d.osz;
  if (op < 0x40) {
    const low = op & 7;
    const kind = op >> 3;
    const size: u32 = low & 1 ? v : 0;
    if (low < 4) {
      modrm(d, i);
      alu(d, i, kind, low >> 1, size);
    } else if (low < 6) {
      d.mem = 0;
      d.reg = 0;
      d.rm = 0;
      i.imm = low == 4 ? imm8(d) : immZ(d);
      alu(d, i, kind, 2, size);
    } else if (op == 0x0f) decodeTwoByte(d, i);
    else if (!bad64(d)) {
      switch (op) {
        case 0x27: thick(d, i, Thick.DAA); break;
        case 0x2f: thick(d, i, Thick.DAS); break;
        case 0x37: thick(d, i, Thick.AAA); break;
        case 0x3f: thick(d, i, Thick.AAS); break;
        default:
          i.a = <u8>(op >> 3);
          if (low == 6) pushSegment(d, i);
          else endPlain(d, i, ThickEnd.POP_S);
      }
    }
    return;
  }
  switch (op) {
    case 0x40: case 0x41: case 0x42: case 0x43: case 0x44: case 0x45: case 0x46: case 0x47:
    case 0x48: case 0x49: case 0x4a: case 0x4b: case 0x4c: case 0x4d: case 0x4e: case 0x4f:
      d.mem = 0;
      d.rm = op & 7;
      d.reg = 0;
      incDec(d, i, v, (op >> 3) & 1);
      break;
    case 0x50: case 0x51: case 0x52: case 0x53: case 0x54: case 0x55: case 0x56: case 0x57:
      push(d, i, (op & 7) | ((d.rex & 1) << 3));
      break;
    case 0x58: case 0x59: case 0x5a: case 0x5b: case 0x5c: case 0x5d: case 0x5e: case 0x5f:
      pop(d, i, (op & 7) | ((d.rex & 1) << 3));
      break;
    case 0x60: if (!bad64(d)) thick(d, i, Thick.PUSHA); break;
    case 0x61: if (!bad64(d)) thick(d, i, Thick.POPA); break;
    case 0x62:
      if (bad64(d)) break;
      modrm(d, i);
      if (!d.mem) d.bad = 1;
      regs(d, i, v);
      thick(d, i, Thick.BOUND);
      break;
    case 0x63:
      modrm(d, i);
      if (d.code != Mode.CODE64) {
        setSize(i, 1);
        regs(d, i, 1);
        thick(d, i, Thick.ARPL);
        break;
      }
      regs(d, i, 3);
      if (v == 3 && !d.mem) i.op = <u16>(Hot.MOVSX_RR + 4);
      else if (v == 3 && hotMem(d, i)) i.op = <u16>(Hot.MOVSX_RM + 4);
      else thick(d, i, Thick.MOVSXD);
      break;
    case 0x68: i.imm = immZ(d); pushImm(d, i); break;
    case 0x69:
    case 0x6b: {
      modrm(d, i);
      i.imm = op == 0x6b ? imm8(d) : immZ(d);
      regs(d, i, v);
      if (!d.mem && v >= 2) i.op = <u16>(Hot.IMUL_RI + v - 2);
      else thick(d, i, Thick.IMUL_GEI);
      break;
    }
    case 0x6a: i.imm = imm8(d); pushImm(d, i); break;
    case 0x6c: setSize(i, 0); endPlain(d, i, ThickEnd.INS); break;
    case 0x6d: setSize(i, v == 3 ? 2 : v); endPlain(d, i, ThickEnd.INS); break;
    case 0x6e: setSize(i, 0); endPlain(d, i, ThickEnd.OUTS); break;
    case 0x6f: setSize(i, v == 3 ? 2 : v); endPlain(d, i, ThickEnd.OUTS); break;
    case 0x70: case 0x71: case 0x72: case 0x73: case 0x74: case 0x75: case 0x76: case 0x77:
    case 0x78: case 0x79: case 0x7a: case 0x7b: case 0x7c: case 0x7d: case 0x7e: case 0x7f: {
      branchSize(d, i);
      jcc(d, i, op & 15, imm8(d));
      break;
    }
    case 0x82: if (bad64(d)) break; modrm(d, i); i.imm = imm8(d); alu(d, i, d.reg & 7, 2, 0); break;
    case 0x80: modrm(d, i); i.imm = imm8(d); alu(d, i, d.reg & 7, 2, 0); break;
    case 0x81: modrm(d, i); i.imm = immZ(d); alu(d, i, d.reg & 7, 2, v); break;
    case 0x83: modrm(d, i); i.imm = imm8(d); alu(d, i, d.reg & 7, 2, v); break;
    case 0x84: modrm(d, i); testOp(d, i, false, 0); break;
    case 0x85: modrm(d, i); testOp(d, i, false, v); break;
    case 0x86:
    case 0x87: {
      modrm(d, i);
      const size: u32 = op & 1 ? v : 0;
      setSize(i, size);
      regs(d, i, size);
      lockable(d);
      if (!d.mem && size >= 2) i.op = <u16>(Hot.XCHG_RR + size - 2);
      else thick(d, i, Thick.XCHG);
      break;
    }
    case 0x88: modrm(d, i); mov(d, i, false, 0); break;
    case 0x89: modrm(d, i); mov(d, i, false, v); break;
    case 0x8a: modrm(d, i); mov(d, i, true, 0); break;
    case 0x8b: modrm(d, i); mov(d, i, true, v); break;
    case 0x8c:
      modrm(d, i);
      regs(d, i, v);
      i.a = <u8>(d.reg & 7);
      if ((d.reg & 7) > 5) d.bad = 1;
      thick(d, i, Thick.MOV_ES);
      break;
    case 0x8d: modrm(d, i); leaOp(d, i); break;
    case 0x8e:
      modrm(d, i);
      regs(d, i, 1);
      i.a = <u8>(d.reg & 7);
      if ((d.reg & 7) > 5 || (d.reg & 7) == Seg.CS) d.bad = 1;
      endPlain(d, i, ThickEnd.MOV_S_E);
      break;
    case 0x8f:
      modrm(d, i);
      if (d.reg & 7) d.bad = 1;
      stackSize(d, i);
      regs(d, i, v);
      if (!d.mem) pop(d, i, d.rm);
      else thick(d, i, Thick.POP_E);
      break;
    case 0x90: case 0x91: case 0x92: case 0x93: case 0x94: case 0x95: case 0x96: case 0x97: {
      const n = (op & 7) | ((d.rex & 1) << 3);
      d.mem = 0;
      if (n == 0) {
        if (d.rep == 1) end(d, i, ThickEnd.PAUSE);
        else i.op = <u16>Hot.NOP;
      } else {
        i.a = 0;
        i.b = <u8>(n << 3);
        if (v >= 2) i.op = <u16>(Hot.XCHG_RR + v - 2);
        else thick(d, i, Thick.XCHG);
      }
      break;
    }
    case 0x98: if (v >= 2) i.op = <u16>(Hot.CWDE + v - 2); else thick(d, i, Thick.CBW); break;
    case 0x99: if (v >= 2) i.op = <u16>(Hot.CDQ + v - 2); else thick(d, i, Thick.CWD); break;
    case 0x9a:
    case 0xea: {
      if (bad64(d)) break;
      const off = v == 1 ? imm16(d) : <u64><u32>immV(d, 2);
      i.imm = off | (imm16(d) << 32);
      endPlain(d, i, op == 0x9a ? ThickEnd.CALL_FAR_I : ThickEnd.JMP_FAR_I);
      break;
    }
    case 0x9b: i.op = <u16>(OP_X87 + 0x800); break; // FWAIT
    case 0x9c: stackSize(d, i); thick(d, i, Thick.PUSHF); setSeg(i, Seg.SS); break;
    case 0x9d: stackSize(d, i); endPlain(d, i, ThickEnd.POPF); break;
    case 0x9e: thick(d, i, Thick.SAHF); break;
    case 0x9f: thick(d, i, Thick.LAHF); break;
    case 0xa0: absolute(d, i, true, 0); break;
    case 0xa1: absolute(d, i, true, v); break;
    case 0xa2: absolute(d, i, false, 0); break;
    case 0xa3: absolute(d, i, false, v); break;
    case 0xa4: string(d, i, Thick.MOVS, ThickEnd.REP_MOVS, 0); break;
    case 0xa5: string(d, i, Thick.MOVS, ThickEnd.REP_MOVS, v); break;
    case 0xa6: string(d, i, Thick.CMPS, ThickEnd.REP_CMPS, 0); break;
    case 0xa7: string(d, i, Thick.CMPS, ThickEnd.REP_CMPS, v); break;
    case 0xa8:
    case 0xa9: {
      d.mem = 0;
      d.reg = 0;
      d.rm = 0;
      i.imm = op == 0xa8 ? imm8(d) : immZ(d);
      testOp(d, i, true, op == 0xa8 ? 0 : v);
      break;
    }
    case 0xaa: string(d, i, Thick.STOS, ThickEnd.REP_STOS, 0); break;
    case 0xab: string(d, i, Thick.STOS, ThickEnd.REP_STOS, v); break;
    case 0xac: string(d, i, Thick.LODS, ThickEnd.REP_LODS, 0); break;
    case 0xad: string(d, i, Thick.LODS, ThickEnd.REP_LODS, v); break;
    case 0xae: string(d, i, Thick.SCAS, ThickEnd.REP_SCAS, 0); break;
    case 0xaf: string(d, i, Thick.SCAS, ThickEnd.REP_SCAS, v); break;
    case 0xb0: case 0xb1: case 0xb2: case 0xb3: case 0xb4: case 0xb5: case 0xb6: case 0xb7:
      i.a = <u8>regOffset(d, (op & 7) | ((d.rex & 1) << 3), 0);
      i.imm = imm8(d);
      i.op = <u16>Hot.MOV_RI;
      break;
    case 0xb8: case 0xb9: case 0xba: case 0xbb: case 0xbc: case 0xbd: case 0xbe: case 0xbf:
      i.a = <u8>(((op & 7) | ((d.rex & 1) << 3)) << 3);
      i.imm = immV(d, v);
      if (v == 2) i.imm = <u64><u32>i.imm;
      i.op = <u16>(Hot.MOV_RI + (v == 1 ? 1 : 2));
      break;
    case 0xc0: modrm(d, i); shift(d, i, 0, 0); break;
    case 0xc1: modrm(d, i); shift(d, i, v, 0); break;
    case 0xc2:
    case 0xc3:
      branchSize(d, i);
      if (op == 0xc2) {
        i.imm = imm16(d);
        endPlain(d, i, ThickEnd.RET_I);
      } else if (hotBranch(d)) {
        setSeg(i, Seg.SS);
        i.op = <u16>(Hot.RET + hotBranch(d) - 1);
        d.ends = 1;
      } else endPlain(d, i, ThickEnd.RET);
      break;
    case 0xc4:
    case 0xc5: {
      if (bad64(d)) break;
      modrm(d, i);
      if (!d.mem) {
        d.bad = 1;
        break;
      }
      regs(d, i, v);
      i.imm = op == 0xc4 ? Seg.ES : Seg.DS;
      farPointer(d, i);
      break;
    }
    case 0xc6:
    case 0xc7: {
      modrm(d, i);
      if (d.reg & 7) d.bad = 1;
      const size: u32 = op & 1 ? v : 0;
      setSize(i, size);
      regs(d, i, size);
      i.a = i.b;
      i.imm = size ? immZ(d) : imm8(d);
      if (!d.mem) {
        if (size == 2) i.imm = <u64><u32>i.imm;
        i.op = <u16>(Hot.MOV_RI + (size > 2 ? 2 : size));
      } else if (hotMem(d, i)) i.op = <u16>(Hot.MOV_MI + size);
      else thick(d, i, Thick.MOV_EI);
      break;
    }
    case 0xc8: {
      stackSize(d, i);
      const size = imm16(d);
      i.imm = size | (<u64>fetch8(d) << 16);
      thick(d, i, Thick.ENTER);
      break;
    }
    case 0xc9: {
      stackSize(d, i);
      const h = hotStack(d);
      if (h) {
        setSeg(i, Seg.SS);
        i.op = <u16>(Hot.LEAVE + h - 1);
      } else thick(d, i, Thick.LEAVE);
      break;
    }
    case 0xca: i.imm = imm16(d); endPlain(d, i, ThickEnd.RETF_I); break;
    case 0xcb: endPlain(d, i, ThickEnd.RETF); break;
    case 0xcc: endPlain(d, i, ThickEnd.INT3); break;
    case 0xcd: i.imm = <u64>fetch8(d); endPlain(d, i, ThickEnd.INT_N); break;
    case 0xce: if (!bad64(d)) endPlain(d, i, ThickEnd.INTO); break;
    case 0xcf: endPlain(d, i, ThickEnd.IRET); break;
    case 0xd0: modrm(d, i); shift(d, i, 0, 1); break;
    case 0xd1: modrm(d, i); shift(d, i, v, 1); break;
    case 0xd2: modrm(d, i); shift(d, i, 0, 2); break;
    case 0xd3: modrm(d, i); shift(d, i, v, 2); break;
    case 0xd4: if (bad64(d)) break; i.imm = <u64>fetch8(d); thick(d, i, Thick.AAM); break;
    case 0xd5: if (bad64(d)) break; i.imm = <u64>fetch8(d); thick(d, i, Thick.AAD); break;
    case 0xd6: if (bad64(d)) break; thick(d, i, Thick.SALC); break;
    case 0xd7: thick(d, i, Thick.XLAT); break;
    case 0xd8: case 0xd9: case 0xda: case 0xdb: case 0xdc: case 0xdd: case 0xde: case 0xdf:
      modrm(d, i);
      i.b = <u8>(d.modrm & 7);
      i.op = <u16>(OP_X87 + ((op & 7) << 8) + d.modrm);
      prefixes(d, i);
      break;
    case 0xe0: i.imm = imm8(d); branchSize(d, i); endPlain(d, i, ThickEnd.LOOPNE); break;
    case 0xe1: i.imm = imm8(d); branchSize(d, i); endPlain(d, i, ThickEnd.LOOPE); break;
    case 0xe2: i.imm = imm8(d); branchSize(d, i); endPlain(d, i, ThickEnd.LOOP); break;
    case 0xe3: i.imm = imm8(d); branchSize(d, i); endPlain(d, i, ThickEnd.JCXZ); break;
    case 0xe4: setSize(i, 0); i.imm = <u64>fetch8(d); endPlain(d, i, ThickEnd.IN_I); break;
    case 0xe5: setSize(i, v == 3 ? 2 : v); i.imm = <u64>fetch8(d); endPlain(d, i, ThickEnd.IN_I); break;
    case 0xe6: setSize(i, 0); i.imm = <u64>fetch8(d); endPlain(d, i, ThickEnd.OUT_I); break;
    case 0xe7: setSize(i, v == 3 ? 2 : v); i.imm = <u64>fetch8(d); endPlain(d, i, ThickEnd.OUT_I); break;
    case 0xe8: {
      branchSize(d, i);
      const rel = d.code == Mode.CODE64 ? immV(d, 2) : immZ(d);
      const h = hotBranch(d);
      if (h) {
        setSeg(i, Seg.SS);
        i.disp = <i32>rel;
        i.op = <u16>(Hot.CALL + h - 1);
        d.ends = 1;
      } else {
        i.imm = rel;
        endPlain(d, i, ThickEnd.CALL_REL);
      }
      break;
    }
    case 0xe9: branchSize(d, i); jump(d, i, d.code == Mode.CODE64 ? immV(d, 2) : immZ(d)); break;
    case 0xeb: branchSize(d, i); jump(d, i, imm8(d)); break;
    case 0xec: setSize(i, 0); endPlain(d, i, ThickEnd.IN_DX); break;
    case 0xed: setSize(i, v == 3 ? 2 : v); endPlain(d, i, ThickEnd.IN_DX); break;
    case 0xee: setSize(i, 0); endPlain(d, i, ThickEnd.OUT_DX); break;
    case 0xef: setSize(i, v == 3 ? 2 : v); endPlain(d, i, ThickEnd.OUT_DX); break;
    case 0xf1: endPlain(d, i, ThickEnd.INT1); break;
    case 0xf4: endPlain(d, i, ThickEnd.HLT); break;
    case 0xf5: thick(d, i, Thick.CMC); break;
    case 0xf6: group3(d, i, 0); break;
    case 0xf7: group3(d, i, v); break;
    case 0xf8: thick(d, i, Thick.CLC); break;
    case 0xf9: thick(d, i, Thick.STC); break;
    case 0xfa: endPlain(d, i, ThickEnd.CLI); break;
    case 0xfb: endPlain(d, i, ThickEnd.STI); break;
    case 0xfc: thick(d, i, Thick.CLD); break;
    case 0xfd: thick(d, i, Thick.STD); break;
    case 0xfe:
      modrm(d, i);
      if ((d.reg & 7) > 1) d.bad = 1;
      incDec(d, i, 0, d.reg & 7);
      break;
    case 0xff: group5(d, i); break;
    default: d.bad = 1;
  }
}

/** LES LDS LSS LFS LGS: segment in imm. */
export function farPointer(d: Dec, i: Insn): void { endPlain(d, i, ThickEnd.LFP); }
