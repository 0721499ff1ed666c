// The two- and three-byte opcode maps (SDM vol. 2, appendix A.3).
import { Mode, Seg } from "../cpu/state";
import { Hot } from "../generated/hot";
import { Dec, end, fetch8, imm8, immV, immZ, modrm, regOffset } from "./decoder";
import { hotMem, lockable, prefixes, regs, setSize, thick } from "./emit";
import { Insn, OP_SSE } from "./insn";
import { farPointer, jcc, pushSegment, stackSize } from "./map-one";
import { Thick, ThickEnd } from "./thick";

// @ts-ignore: decorator
@inline function simdPrefix(d: Dec): u32 { return d.rep ? d.rep + 1 : d.opsize; }

function simd(d: Dec, i: Insn, map: u32, op: u32): void {
  i.a = <u8>d.reg;
  i.b = <u8>d.rm;
  prefixes(d, i);
  i.op = <u16>(OP_SSE | (map << 10) | (simdPrefix(d) << 8) | op);
}

/** 128-bit moves have hot forms: aligned or not, load, store, register. */
function simdMove(d: Dec, i: Insn, op: u32, aligned: bool, toMemory: bool): void {
  if (d.mode & Mode.SIMD) {
    if (!d.mem) {
      i.a = <u8>(toMemory ? d.rm : d.reg);
      i.b = <u8>(toMemory ? d.reg : d.rm);
      i.op = <u16>Hot.MOV128_RR;
      return;
    }
    if (hotMem(d, i)) {
      i.a = <u8>d.reg;
      i.op = <u16>(toMemory ? (aligned ? Hot.MOV128_MRA : Hot.MOV128_MR) : aligned ? Hot.MOV128_RMA : Hot.MOV128_RM);
      return;
    }
  }
  simd(d, i, 0, op);
}

function endThick(d: Dec, i: Insn, op: u32): void {
  prefixes(d, i);
  end(d, i, op);
}

function widen(d: Dec, i: Insn, from: u32, signed: bool): void {
  // from: 0 bytes, 1 words
  regs(d, i, d.osz);
  if (!d.mem) i.b = <u8>regOffset(d, d.rm, from);
  if (d.osz >= 2) {
    const wide: u32 = signed ? from + (d.osz == 3 ? 2 : 0) : from;
    if (!d.mem) {
      i.op = <u16>((signed ? Hot.MOVSX_RR : Hot.MOVZX_RR) + wide);
      return;
    }
    if (hotMem(d, i)) {
      i.op = <u16>((signed ? Hot.MOVSX_RM : Hot.MOVZX_RM) + wide);
      return;
    }
  }
  thick(d, i, (signed ? Thick.MOVSX8 : Thick.MOVZX8) + from);
}

function group6(d: Dec, i: Insn): void {
  modrm(d, i);
  regs(d, i, d.reg < 2 ? d.osz : 1);
  switch (d.reg & 7) {
    case 0: thick(d, i, Thick.SLDT); break;
    case 1: thick(d, i, Thick.STR); break;
    case 2: endThick(d, i, ThickEnd.LLDT); break;
    case 3: endThick(d, i, ThickEnd.LTR); break;
    case 4: thick(d, i, Thick.VERR); break;
    case 5: thick(d, i, Thick.VERW); break;
    default: d.bad = 1;
  }
}

function group7(d: Dec, i: Insn): void {
  modrm(d, i);
  regs(d, i, d.osz);
  const digit = d.reg & 7;
  if (digit == 4) thick(d, i, Thick.SMSW);
  else if (digit == 6) {
    setSize(i, 1);
    endThick(d, i, ThickEnd.LMSW);
  } else if (d.mem) {
    switch (digit) {
      case 0: thick(d, i, Thick.SGDT); break;
      case 1: thick(d, i, Thick.SIDT); break;
      case 2: endThick(d, i, ThickEnd.LGDT); break;
      case 3: endThick(d, i, ThickEnd.LIDT); break;
      case 7: endThick(d, i, ThickEnd.INVLPG); break;
      default: d.bad = 1;
    }
  } else {
    switch (d.modrm) {
      case 0xc1: endThick(d, i, ThickEnd.VMCALL); break;
      case 0xc8: endThick(d, i, ThickEnd.MONITOR); break;
      case 0xc9: endThick(d, i, ThickEnd.MWAIT); break;
      case 0xd0: thick(d, i, Thick.XGETBV); break;
      case 0xd1: endThick(d, i, ThickEnd.XSETBV); break;
      case 0xd9: endThick(d, i, ThickEnd.VMCALL); break;
      case 0xf8: if (d.code != Mode.CODE64) d.bad = 1; endThick(d, i, ThickEnd.SWAPGS); break;
      case 0xf9: thick(d, i, Thick.RDTSCP); break;
      default: d.bad = 1;
    }
  }
}

function group15(d: Dec, i: Insn): void {
  modrm(d, i);
  if (d.rep == 1 && !d.mem && d.code == Mode.CODE64 && (d.reg & 7) < 4) {
    regs(d, i, d.osz);
    switch (d.reg & 7) {
      case 0: thick(d, i, Thick.RDFSBASE); break;
      case 1: thick(d, i, Thick.RDGSBASE); break;
      case 2: endThick(d, i, ThickEnd.WRFSBASE); break;
      default: endThick(d, i, ThickEnd.WRGSBASE); break;
    }
    return;
  }
  if (d.rep) {
    d.bad = 1;
    return;
  }
  const digit = d.reg & 7;
  if (d.mem && digit == 7) d.opsize = 0; // CLFLUSHOPT is CLFLUSH
  if (d.opsize) d.bad = 1;
  simd(d, i, 0, 0xae);
  i.a = <u8>digit;
}

function bitTest(d: Dec, i: Insn, op: u32, writes: bool): void {
  modrm(d, i);
  regs(d, i, d.osz);
  if (writes) lockable(d);
  thick(d, i, op);
}

function group9(d: Dec, i: Insn): void {
  modrm(d, i);
  regs(d, i, d.osz);
  const digit = d.reg & 7;
  if (d.mem) {
    if (digit != 1) d.bad = 1;
    lockable(d);
    thick(d, i, Thick.CMPXCHG8B);
  } else if (digit == 6 && !d.rep) thick(d, i, Thick.RDRAND);
  else if (digit == 7) {
    if (d.rep == 1) thick(d, i, Thick.RDPID);
    else thick(d, i, Thick.RDSEED);
  } else d.bad = 1;
}

function mapThree(d: Dec, i: Insn, map: u32): void {
  const op = fetch8(d);
  modrm(d, i);
  if (map == 2) {
    i.imm = <u64>fetch8(d);
    simd(d, i, 2, op);
    return;
  }
  if (op == 0xf0 || op == 0xf1) {
    if (d.rep == 2) {
      const size: u32 = op == 0xf0 ? 0 : d.osz;
      setSize(i, size);
      i.a = <u8>(d.reg << 3);
      i.b = <u8>regOffset(d, d.rm, size);
      thick(d, i, Thick.CRC32);
    } else if (d.mem && !d.rep) {
      regs(d, i, d.osz);
      thick(d, i, op == 0xf0 ? Thick.MOVBE_LOAD : Thick.MOVBE_STORE);
    } else d.bad = 1;
  } else if (op == 0x82) {
    if (!d.mem || !d.opsize) d.bad = 1;
    i.a = <u8>(d.reg << 3);
    endThick(d, i, ThickEnd.INVPCID);
  } else simd(d, i, 1, op);
}

export function decodeTwoByte(d: Dec, i: Insn): void {
  const op = fetch8(d);
  const v = d.osz;
  switch (op) {
    case 0x00: group6(d, i); break;
    case 0x01: group7(d, i); break;
    case 0x02:
    case 0x03:
      modrm(d, i);
      regs(d, i, v);
      thick(d, i, op == 2 ? Thick.LAR : Thick.LSL);
      break;
    case 0x05: endThick(d, i, ThickEnd.SYSCALL); break;
    case 0x06: endThick(d, i, ThickEnd.CLTS); break;
    case 0x07: if (d.code != Mode.CODE64) d.bad = 1; endThick(d, i, ThickEnd.SYSRET); break;
    case 0x08: endThick(d, i, ThickEnd.INVD); break;
    case 0x09: endThick(d, i, ThickEnd.WBINVD); break;
    case 0x0b: d.bad = 1; break;
    case 0x0d: modrm(d, i); if (!d.mem) d.bad = 1; i.op = <u16>Hot.NOP; break;
    case 0x10: case 0x11: {
      modrm(d, i);
      if (d.rep) simd(d, i, 0, op);
      else simdMove(d, i, op, false, op == 0x11);
      break;
    }
    case 0x12: case 0x13: case 0x14: case 0x15: case 0x16: case 0x17: modrm(d, i); simd(d, i, 0, op); break;
    case 0x18: case 0x19: case 0x1a: case 0x1b: case 0x1c: case 0x1d: case 0x1e: case 0x1f:
      modrm(d, i);
      i.op = <u16>Hot.NOP;
      break;
    case 0x20: case 0x21: case 0x22: case 0x23: {
      // The mod field is ignored: always registers.
      const m = fetch8(d);
      i.a = <u8>(((m >> 3) & 7) | ((d.rex & 4) << 1));
      i.b = <u8>(((m & 7) | ((d.rex & 1) << 3)) << 3);
      setSize(i, d.code == Mode.CODE64 ? 3 : 2);
      if (op == 0x20) thick(d, i, Thick.MOV_R_CR);
      else if (op == 0x21) thick(d, i, Thick.MOV_R_DR);
      else endThick(d, i, op == 0x22 ? ThickEnd.MOV_CR_R : ThickEnd.MOV_DR_R);
      break;
    }
    case 0x28: case 0x29: modrm(d, i); if (d.rep) d.bad = 1; simdMove(d, i, op, true, op == 0x29); break;
    case 0x2a: case 0x2b: case 0x2c: case 0x2d: case 0x2e: case 0x2f: modrm(d, i); simd(d, i, 0, op); break;
    case 0x30: endThick(d, i, ThickEnd.WRMSR); break;
    case 0x31: i.op = <u16>Hot.RDTSC; break;
    case 0x32: endThick(d, i, ThickEnd.RDMSR); break;
    case 0x33: thick(d, i, Thick.RDPMC); break;
    case 0x34: endThick(d, i, ThickEnd.SYSENTER); break;
    case 0x35: endThick(d, i, ThickEnd.SYSEXIT); break;
    case 0x38: mapThree(d, i, 1); break;
    case 0x3a: mapThree(d, i, 2); break;
    case 0x40: case 0x41: case 0x42: case 0x43: case 0x44: case 0x45: case 0x46: case 0x47:
    case 0x48: case 0x49: case 0x4a: case 0x4b: case 0x4c: case 0x4d: case 0x4e: case 0x4f:
      modrm(d, i);
      regs(d, i, v);
      i.imm = <u64>(op & 15);
      if (v >= 2 && !d.mem) i.op = <u16>(Hot.CMOV_RR + (op & 15) * 2 + v - 2);
      else if (v >= 2 && hotMem(d, i)) i.op = <u16>(Hot.CMOV_RM + (op & 15) * 2 + v - 2);
      else thick(d, i, Thick.CMOV);
      break;
    case 0x6f:
    case 0x7f: {
      modrm(d, i);
      const p = simdPrefix(d);
      if (p == 1 || p == 2) simdMove(d, i, op, p == 1, op == 0x7f);
      else simd(d, i, 0, op);
      break;
    }
    case 0x70: case 0x71: case 0x72: case 0x73:
      modrm(d, i);
      i.imm = <u64>fetch8(d);
      simd(d, i, 0, op);
      if (op != 0x70) i.a = <u8>(d.reg & 7);
      break;
    case 0x77: i.op = <u16>(OP_SSE | (simdPrefix(d) << 8) | 0x77); break;
    case 0x80: case 0x81: case 0x82: case 0x83: case 0x84: case 0x85: case 0x86: case 0x87:
    case 0x88: case 0x89: case 0x8a: case 0x8b: case 0x8c: case 0x8d: case 0x8e: case 0x8f:
      if (d.code == Mode.CODE64) setSize(i, 3);
      jcc(d, i, op & 15, d.code == Mode.CODE64 ? immV(d, 2) : immZ(d));
      break;
    case 0x90: case 0x91: case 0x92: case 0x93: case 0x94: case 0x95: case 0x96: case 0x97:
    case 0x98: case 0x99: case 0x9a: case 0x9b: case 0x9c: case 0x9d: case 0x9e: case 0x9f:
      modrm(d, i);
      setSize(i, 0);
      regs(d, i, 0);
      i.a = i.b;
      i.imm = <u64>(op & 15);
      if (!d.mem) i.op = <u16>(Hot.SETCC_R + (op & 15));
      else thick(d, i, Thick.SETCC);
      break;
    case 0xa0: case 0xa8:
      stackSize(d, i);
      i.a = <u8>(op == 0xa0 ? Seg.FS : Seg.GS);
      pushSegment(d, i);
      break;
    case 0xa1: case 0xa9:
      stackSize(d, i);
      i.a = <u8>(op == 0xa1 ? Seg.FS : Seg.GS);
      endThick(d, i, ThickEnd.POP_S);
      break;
    case 0xa2: thick(d, i, Thick.CPUID); break;
    case 0xa3: bitTest(d, i, Thick.BT_EG, false); break;
    case 0xa4: modrm(d, i); regs(d, i, v); i.imm = <u64>fetch8(d); thick(d, i, Thick.SHLD_IMM); break;
    case 0xa5: modrm(d, i); regs(d, i, v); thick(d, i, Thick.SHLD_CL); break;
    case 0xab: bitTest(d, i, Thick.BTS_EG, true); break;
    case 0xac: modrm(d, i); regs(d, i, v); i.imm = <u64>fetch8(d); thick(d, i, Thick.SHRD_IMM); break;
    case 0xad: modrm(d, i); regs(d, i, v); thick(d, i, Thick.SHRD_CL); break;
    case 0xae: group15(d, i); break;
    case 0xaf:
      modrm(d, i);
      regs(d, i, v);
      if (v >= 2 && !d.mem) i.op = <u16>(Hot.IMUL_RR + v - 2);
      else if (v >= 2 && hotMem(d, i)) i.op = <u16>(Hot.IMUL_RM + v - 2);
      else thick(d, i, Thick.IMUL_GE);
      break;
    case 0xb0: case 0xb1: case 0xc0: case 0xc1: {
      modrm(d, i);
      const size: u32 = op & 1 ? v : 0;
      setSize(i, size);
      regs(d, i, size);
      lockable(d);
      thick(d, i, op < 0xc0 ? Thick.CMPXCHG : Thick.XADD);
      break;
    }
    case 0xb2: case 0xb4: case 0xb5:
      modrm(d, i);
      if (!d.mem) {
        d.bad = 1;
        break;
      }
      regs(d, i, v);
      i.imm = op == 0xb2 ? Seg.SS : op == 0xb4 ? Seg.FS : Seg.GS;
      farPointer(d, i);
      break;
    case 0xb3: bitTest(d, i, Thick.BTR_EG, true); break;
    case 0xb6: modrm(d, i); widen(d, i, 0, false); break;
    case 0xb7: modrm(d, i); widen(d, i, 1, false); break;
    case 0xb8:
      modrm(d, i);
      regs(d, i, v);
      if (d.rep != 1) d.bad = 1;
      thick(d, i, Thick.POPCNT);
      break;
    case 0xba: {
      modrm(d, i);
      regs(d, i, v);
      i.imm = imm8(d);
      const digit = d.reg & 7;
      if (digit < 4) d.bad = 1;
      if (digit > 4) lockable(d);
      thick(d, i, Thick.BT_EI + (digit & 3));
      break;
    }
    case 0xbb: bitTest(d, i, Thick.BTC_EG, true); break;
    case 0xbc: modrm(d, i); regs(d, i, v); thick(d, i, d.rep == 1 ? Thick.TZCNT : Thick.BSF); break;
    case 0xbd: modrm(d, i); regs(d, i, v); thick(d, i, d.rep == 1 ? Thick.LZCNT : Thick.BSR); break;
    case 0xbe: modrm(d, i); widen(d, i, 0, true); break;
    case 0xbf: modrm(d, i); widen(d, i, 1, true); break;
    case 0xc2: case 0xc4: case 0xc5: case 0xc6:
      modrm(d, i);
      i.imm = <u64>fetch8(d);
      simd(d, i, 0, op);
      break;
    case 0xc3:
      modrm(d, i);
      if (!d.mem || simdPrefix(d)) d.bad = 1;
      regs(d, i, v);
      thick(d, i, Thick.MOVNTI);
      break;
    case 0xc7: group9(d, i); break;
    case 0xc8: case 0xc9: case 0xca: case 0xcb: case 0xcc: case 0xcd: case 0xce: case 0xcf:
      i.a = <u8>(((op & 7) | ((d.rex & 1) << 3)) << 3);
      i.b = i.a;
      if (v >= 2) i.op = <u16>(Hot.BSWAP + v - 2);
      else thick(d, i, Thick.BSWAP);
      break;
    case 0xff: d.bad = 1; break;
    default:
      if ((op >= 0x50 && op < 0x78) || (op >= 0x7c && op < 0x80) || op >= 0xd0) {
        modrm(d, i);
        simd(d, i, 0, op);
      } else d.bad = 1;
  }
}
