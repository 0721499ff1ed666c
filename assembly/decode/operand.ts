// The rm operand of thick operations: a register, or memory through the segment checks.
import { Cpu, getReg, setReg } from "../cpu/state";
import { memLin, readForWrite, readLin, writeLin } from "../mmu/access";
import { Insn, ea, isMem, seg } from "./insn";

/** Linear address of the memory operand, after the segment checks for `size` bytes. */
export function rmLin(cpu: Cpu, i: Insn, size: u32, write: bool): u64 { return memLin(cpu, seg(i), ea(cpu, i), size, write); }

export function rmRead<T>(cpu: Cpu, i: Insn): T {
  return isMem(i) ? readLin<T>(cpu, rmLin(cpu, i, sizeof<T>(), false)) : getReg<T>(cpu, i.b);
}

export function rmWrite<T>(cpu: Cpu, i: Insn, value: T): void {
  if (isMem(i)) writeLin<T>(cpu, rmLin(cpu, i, sizeof<T>(), true), value);
  else setReg<T>(cpu, i.b, value);
}

/** The old value for a read-modify-write; the write that follows cannot fault. */
export function rmReadForWrite<T>(cpu: Cpu, i: Insn): T {
  if (!isMem(i)) return getReg<T>(cpu, i.b);
  return readForWrite<T>(cpu, rmLin(cpu, i, sizeof<T>(), true));
}
