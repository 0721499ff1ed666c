// Where hot operations go when their fast path does not apply. Each notes the record in flight first.
import { Cpu } from "../cpu/state";
import { Vector, faultCode } from "../cpu/fault";
import { readForWrite, readLin128, readMiss, writeLin128, writeMiss } from "../mmu/access";

export function slowRead<T>(cpu: Cpu, lin: u64, ip: usize): T {
  cpu.insn = ip;
  return readMiss<T>(cpu, lin);
}

export function slowWrite<T>(cpu: Cpu, lin: u64, value: T, ip: usize): void {
  cpu.insn = ip;
  writeMiss<T>(cpu, lin, value);
}

/** The old value of a read-modify-write; the write behind it cannot fault. */
export function slowReadForWrite<T>(cpu: Cpu, lin: u64, ip: usize): T {
  cpu.insn = ip;
  return readForWrite<T>(cpu, lin);
}

export function slowRead128(cpu: Cpu, lin: u64, ip: usize): v128 {
  cpu.insn = ip;
  return readLin128(cpu, lin);
}

export function slowWrite128(cpu: Cpu, lin: u64, value: v128, ip: usize): void {
  cpu.insn = ip;
  writeLin128(cpu, lin, value);
}

/** An aligned 128-bit operand that is not. */
export function misaligned(cpu: Cpu, ip: usize): void {
  cpu.insn = ip;
  faultCode(cpu, Vector.GP, 0);
}

/** A branch to a non-canonical address: #GP(0) on the branch (SDM vol. 2, JMP, CALL, RET). */
export function wildJump(cpu: Cpu, ip: usize): void {
  cpu.insn = ip;
  faultCode(cpu, Vector.GP, 0);
}
