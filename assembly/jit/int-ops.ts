// Which of the interpreter's thick operations compiled code does itself, and what it must know of those that it calls.
import { Mode } from "../cpu/state";
import { Insn, OP_THICK, OP_THICK_END, isMem, osz } from "../decode/insn";
import { Thick, ThickEnd } from "../decode/thick";
import { From } from "./alu";
import { emitAlu, emitCmpxchg, emitCmpxchg8b, emitNeg, emitNot, emitStep, emitTest, emitXadd, emitXchg } from "./int-alu";
import { emitBt, emitCount, emitMovbe, emitPopcnt, emitScan } from "./int-bit";
import { emitDiv, emitIdiv, emitImul, emitMul } from "./int-muldiv";
import {
  emitCarry, emitCbw, emitCmov, emitCwd, emitDirection, emitExtend, emitInterruptFlag, emitLahf, emitLea, emitLoad, emitMovEs, emitPushSelector, emitPushf,
  emitSahf, emitSetcc, emitStore, emitTsc,
} from "./int-misc";
import { plain } from "./int-operand";
import { emitDouble, emitShift } from "./int-shift";
import { emitRepeated } from "./string";
import { jit } from "./state";

/** Emits an operation that does not end its block in line; false when it stays a call. */
export function emitThick(i: Insn): bool {
  const n = <i32>i.op - <i32>OP_THICK;
  if (n >= 0x1000) return false;
  const s = osz(i);
  if (n == Thick.LEA) return emitLea(i, s);
  if (isMem(i) && !plain(i)) return false;
  if (n < 24) {
    emitAlu(i, n / 3, n % 3, s);
    return true;
  }
  if (n >= Thick.SHIFT_IMM && n < Thick.SHLD_IMM) return emitShift(i, n & 7, s, n >= Thick.SHIFT_CL);
  switch (n) {
    case Thick.TEST_EG: emitTest(i, s, From.A); break;
    case Thick.TEST_EI: emitTest(i, s, From.IMM); break;
    case Thick.NOT: emitNot(i, s); break;
    case Thick.NEG: emitNeg(i, s); break;
    case Thick.INC: emitStep(i, false, s); break;
    case Thick.DEC: emitStep(i, true, s); break;
    case Thick.XCHG: emitXchg(i, s); break;
    case Thick.XADD: emitXadd(i, s); break;
    case Thick.CMPXCHG: emitCmpxchg(i, s); break;
    case Thick.CMPXCHG8B: return emitCmpxchg8b(i);
    case Thick.SHLD_IMM: return emitDouble(i, false, s, false);
    case Thick.SHLD_CL: return emitDouble(i, false, s, true);
    case Thick.SHRD_IMM: return emitDouble(i, true, s, false);
    case Thick.SHRD_CL: return emitDouble(i, true, s, true);
    case Thick.MUL: emitMul(i, false, s); break;
    case Thick.IMUL: emitMul(i, true, s); break;
    case Thick.DIV: emitDiv(i, s); break;
    case Thick.IDIV: emitIdiv(i, s); break;
    case Thick.IMUL_GE: emitImul(i, s, false); break;
    case Thick.IMUL_GEI: emitImul(i, s, true); break;
    case Thick.BT_EG:
    case Thick.BTS_EG:
    case Thick.BTR_EG:
    case Thick.BTC_EG: emitBt(i, n - Thick.BT_EG, s, false); break;
    case Thick.BT_EI:
    case Thick.BTS_EI:
    case Thick.BTR_EI:
    case Thick.BTC_EI: emitBt(i, n - Thick.BT_EI, s, true); break;
    case Thick.BSF: emitScan(i, false, s); break;
    case Thick.BSR: emitScan(i, true, s); break;
    case Thick.TZCNT: emitCount(i, false, s); break;
    case Thick.LZCNT: emitCount(i, true, s); break;
    case Thick.POPCNT: emitPopcnt(i, s); break;
    case Thick.MOVBE_LOAD: emitMovbe(i, false, s); break;
    case Thick.MOVBE_STORE: emitMovbe(i, true, s); break;
    case Thick.MOV_EG: emitStore(i, s, false); break;
    case Thick.MOV_EI: emitStore(i, s, true); break;
    case Thick.MOV_GE: emitLoad(i, s); break;
    case Thick.MOVZX8: emitExtend(i, 0, s, false); break;
    case Thick.MOVZX16: emitExtend(i, 1, s, false); break;
    case Thick.MOVSX8: emitExtend(i, 0, s, true); break;
    case Thick.MOVSX16: emitExtend(i, 1, s, true); break;
    case Thick.MOVSXD: emitExtend(i, s == 1 ? 1 : 2, s, true); break;
    case Thick.CBW: emitCbw(s); break;
    case Thick.CWD:
      if (s != 1) return false;
      emitCwd();
      break;
    case Thick.SETCC:
      if (!isMem(i)) return false;
      emitSetcc(i);
      break;
    case Thick.CMOV: emitCmov(i, s); break;
    case Thick.LAHF: emitLahf(); break;
    case Thick.SAHF: emitSahf(); break;
    case Thick.CLC: emitCarry(0); break;
    case Thick.STC: emitCarry(1); break;
    case Thick.CMC: emitCarry(2); break;
    case Thick.CLD: emitDirection(false); break;
    case Thick.STD: emitDirection(true); break;
    case Thick.MOV_ES: emitMovEs(i); break;
    case Thick.MOVNTI: emitStore(i, s == 3 ? 3 : 2, false); break;
    case Thick.PUSH_S: return emitPushSelector(i);
    case Thick.PUSHF: return emitPushf(i);
    case Thick.RDTSCP: emitTsc(i, true); break;
    default: return false;
  }
  return true;
}

/** Block-ending operations behind which a region goes on where the block does, when nothing of the mode changed. */
export function goesOn(op: u32): bool {
  const n = <i32>(op - OP_THICK_END);
  // what changes translations leaves the region, which has checked its pages before
  if (n == ThickEnd.INVLPG || n == ThickEnd.INVPCID || n == ThickEnd.MOV_CR_R) return false;
  return (n >= ThickEnd.MOV_S_E && n < ThickEnd.VMCALL && n != ThickEnd.HLT && n != ThickEnd.MWAIT) || (n >= ThickEnd.LFP && n <= ThickEnd.REP_SCAS);
}

/** Emits a block-ending operation in line, but for the way on; false when it stays a call. */
export function emitThickEnd(i: Insn): bool {
  if (emitRepeated(i)) return true;
  const n = <i32>i.op - <i32>OP_THICK_END;
  if ((n != ThickEnd.CLI && n != ThickEnd.STI) || !(jit().mode & Mode.FLAT)) return false;
  emitInterruptFlag(n == ThickEnd.STI);
  return true;
}

const ALL: u32 = 0xffff;

/** General registers that an operation may write which stays a call, by number. */
export function mayWrite(i: Insn): u32 {
  const op = <u32>i.op;
  const family = op >> 12, n = <i32>(op & 0xfff);
  if (family == 2) {
    if (n == ThickEnd.REP_MOVS) return 0xc2;
    if (n == ThickEnd.REP_STOS) return 0x82;
    if (n == ThickEnd.REP_CMPS) return 0xc2;
    if (n == ThickEnd.REP_SCAS) return 0x82;
    if (n == ThickEnd.IN_I || n == ThickEnd.IN_DX) return 1;
    if (n == ThickEnd.OUT_I || n == ThickEnd.OUT_DX) return 0;
    if (n == ThickEnd.POPF || n == ThickEnd.POP_S) return 0x10;
    if (n == ThickEnd.RDMSR) return 5;
    if (n >= ThickEnd.MOV_S_E && n < ThickEnd.VMCALL) return 0;
    return ALL;
  }
  return ALL;
}
/** Whether it leaves the arithmetic flags alone. */
export function keepsFlags(i: Insn): bool {
  const op = <u32>i.op;
  if (op >> 12 != 2) return false;
  const n = <i32>(op & 0xfff);
  return (n >= ThickEnd.MOV_S_E && n < ThickEnd.VMCALL && n != ThickEnd.POPF) || (n >= ThickEnd.IN_I && n <= ThickEnd.REP_MOVS) || n == ThickEnd.REP_STOS;
}
