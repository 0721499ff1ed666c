// D8 to DF (SDM vol. 2, appendix A.5), memory forms here, register forms in x87-reg.ts.
import { Cpu, stAt } from "../cpu/state";
import { Vector, fault } from "../cpu/fault";
import { Insn, isMem } from "../decode/insn";
import { rmLin } from "../decode/operand";
import { readLin, writeLin } from "../mmu/access";
import { Fp, DE, IE, OE, UE, C1, invalid, special1 } from "../softfp/fp";
import { fromSingle, fromDouble, fromInt, toSingle, toDouble, toInt, fromBcd, toBcd } from "../softfp/convert";
import {
  checkFpu, checkPresent, lastInsn, lastOperand, setControl, topOf, probe, fldenv, fnstenv, fnsave, frstor,
} from "./x87-state";
import { arith, compareWith, begin, commit, isEmpty, pop, push, pushResult, stackFault, stackUnderflow } from "./x87-core";
import { x87Reg } from "./x87-reg";

/** `op`: (opcode & 7) << 8 | ModRM. */
export function x87(cpu: Cpu, i: Insn, op: u32): void {
  if (isMem(i)) x87Mem(cpu, i, op);
  else x87Reg(cpu, i, op);
}

// @ts-ignore: decorator
@inline function note(cpu: Cpu, i: Insn, op: u32): void {
  lastInsn(cpu, i, op & 0x7ff);
  lastOperand(cpu, i);
}

function x87Mem(cpu: Cpu, i: Insn, op: u32): void {
  const reg = (op >> 3) & 7;
  const row = (op >> 8) & 7;
  const key = row << 3 | reg;
  // The odd ones first: control instructions that do not wait or note nothing.
  switch (key) {
    case 0x0c: checkFpu(cpu); fldenv(cpu, i); return;
    case 0x0d: {
      checkFpu(cpu);
      setControl(cpu, <u32>readLin<u16>(cpu, rmLin(cpu, i, 2, false)));
      return;
    }
    case 0x0e: checkPresent(cpu); fnstenv(cpu, i); return;
    case 0x0f: checkPresent(cpu); writeLin<u16>(cpu, rmLin(cpu, i, 2, true), <u16>cpu.fpuControl); return;
    case 0x2c: checkFpu(cpu); frstor(cpu, i); return;
    case 0x2e: checkPresent(cpu); fnsave(cpu, i); return;
    case 0x2f: checkPresent(cpu); writeLin<u16>(cpu, rmLin(cpu, i, 2, true), <u16>cpu.fpuStatus); return;
    case 0x09: case 0x1c: case 0x1e: case 0x2d: fault(cpu, Vector.UD); return;
    default: break;
  }
  checkFpu(cpu);
  const f = begin(cpu);
  const size = loadSize(key);
  if (size) {
    const lin = rmLin(cpu, i, size, false);
    const raw = size == 4 ? <u64>readLin<u32>(cpu, lin) : size == 8 ? readLin<u64>(cpu, lin) : <u64>readLin<u16>(cpu, lin);
    note(cpu, i, op);
    loaded(cpu, f, key, raw);
    return;
  }
  switch (key) {
    case 0x1d: {
      const lin = rmLin(cpu, i, 10, false);
      f.sig = readLin<u64>(cpu, lin);
      f.se = <u32>readLin<u16>(cpu, (lin + 8) & cpu.addrMask);
      note(cpu, i, op);
      pushResult(cpu, f);
      return;
    }
    case 0x3c: {
      const lin = rmLin(cpu, i, 10, false);
      fromBcd(f, readLin<u64>(cpu, lin), <u32>readLin<u16>(cpu, (lin + 8) & cpu.addrMask));
      note(cpu, i, op);
      pushResult(cpu, f);
      return;
    }
    default: storeMem(cpu, i, op, key, f); return;
  }
}

/** Bytes of the memory operand that an arithmetic operation or a load reads, 0 for the other forms; `key` is (opcode & 7) << 3 | reg. */
export function loadSize(key: u32): u32 {
  const row = key >> 3;
  if ((row & 1) == 0) return row == 4 ? 8 : row == 6 ? 2 : 4;
  switch (key) {
    case 0x08: case 0x18: return 4;
    case 0x28: case 0x3d: return 8;
    case 0x38: return 2;
    default: return 0;
  }
}

/** What such an operation does with the operand's bits. */
export function loaded(cpu: Cpu, f: Fp, key: u32, raw: u64): void {
  const row = key >> 3, reg = key & 7;
  if ((row & 1) == 0) {
    // D8 DA DC DE: ST(0) with a single, an integer, a double, a short integer
    if (row == 0) fromSingle(f, <u32>raw);
    else if (row == 4) fromDouble(f, raw);
    else if (row == 2) fromInt(f, <i64><i32>raw);
    else fromInt(f, <i64><i16>raw);
    const top = topOf(cpu);
    if ((reg & 6) == 2) {
      if (compareWith(cpu, f, isEmpty(cpu, top), stAt(cpu, top), f.sig, f.se, false) && reg == 3) pop(cpu);
      return;
    }
    if (isEmpty(cpu, top)) stackUnderflow(cpu, top);
    else arith(cpu, f, reg, stAt(cpu, top), f.sig, f.se, stAt(cpu, top));
    return;
  }
  if (reg == 0 && (row & 3) == 1) {
    if (row == 1) fromSingle(f, <u32>raw);
    else fromDouble(f, raw);
    special1(f, f.sig, f.se);
    pushReal(cpu, f);
    return;
  }
  fromInt(f, row == 3 ? <i64><i32>raw : reg == 5 ? <i64>raw : <i64><i16>raw);
  pushResult(cpu, f);
}

/** A denormal is loaded even when its exception is unmasked. */
function pushReal(cpu: Cpu, f: Fp): void {
  if ((f.flags & ~f.cw & DE) == 0 || !isEmpty(cpu, (topOf(cpu) - 1) & 7)) pushResult(cpu, f);
  else {
    commit(cpu, f, C1);
    push(cpu, f.sig, f.se);
  }
}

/** Bytes that a store writes. */
// @ts-ignore: decorator
@inline export function storeSize(key: u32): u32 {
  switch (key) {
    case 0x0a: case 0x0b: case 0x19: case 0x1a: case 0x1b: return 4;
    case 0x2a: case 0x2b: case 0x29: case 0x3f: return 8;
    case 0x1f: case 0x3e: return 10;
    default: return 2;
  }
}

/** What a store of at most 8 bytes writes; ST(0), or the indefinite of an empty register, is in `f`. */
export function stored(f: Fp, key: u32): u64 {
  const rc = (key & 7) == 1 ? 3 : (f.cw >> 10) & 3; // FISTTP truncates
  switch (key) {
    case 0x0a: case 0x0b: return <u64>toSingle(f, f.sig, f.se);
    case 0x2a: case 0x2b: return toDouble(f, f.sig, f.se);
    default: return <u64>toInt(f, f.sig, f.se, storeSize(key) << 3, rc);
  }
}

/** ST(0) for a store; true when the register is empty. */
export function storeOperand(cpu: Cpu, f: Fp): bool {
  const top = topOf(cpu);
  if (isEmpty(cpu, top)) {
    invalid(f);
    f.flags = 0;
    return true;
  }
  f.sig = load<u64>(stAt(cpu, top));
  f.se = <u32>load<u16>(stAt(cpu, top), 8);
  return false;
}

/** Stores: memory is written unless an unmasked exception keeps the operand where it is. */
function storeMem(cpu: Cpu, i: Insn, op: u32, key: u32, f: Fp): void {
  const size = storeSize(key);
  const lin = rmLin(cpu, i, size, true);
  const empty = storeOperand(cpu, f);
  let low: u64 = 0;
  let high: u32 = 0;
  switch (key) {
    case 0x1f: low = f.sig; high = f.se; break;
    case 0x3e: {
      high = toBcd(f, f.sig, f.se);
      low = f.lo;
      break;
    }
    default: low = stored(f, key); break;
  }
  if (empty) {
    if (f.cw & IE) writeBack(cpu, lin, size, low, high);
    note(cpu, i, op);
    if (!stackFault(cpu, 0)) return;
  } else {
    if ((f.flags & ~f.cw & (IE | OE | UE)) == 0) writeBack(cpu, lin, size, low, high);
    note(cpu, i, op);
    if (!commit(cpu, f, C1)) return;
    if (f.flags & ~f.cw & (OE | UE)) return;
  }
  // FST and FIST (/2) keep the stack.
  if ((key & 7) != 2) pop(cpu);
}

function writeBack(cpu: Cpu, lin: u64, size: u32, low: u64, high: u32): void {
  switch (size >> 1) {
    case 1: writeLin<u16>(cpu, lin, <u16>low); break;
    case 2: writeLin<u32>(cpu, lin, <u32>low); break;
    case 5: {
      probe(cpu, lin, 10);
      writeLin<u64>(cpu, lin, low);
      writeLin<u16>(cpu, (lin + 8) & cpu.addrMask, <u16>high);
      break;
    }
    default: writeLin<u64>(cpu, lin, low); break;
  }
}

export { checkFpu, checkMmx, emms, fpuReset, fwait, fxrstor, fxsave, mmxEnter } from "./x87-state";
