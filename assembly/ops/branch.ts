// Near transfers in every mode: 16-bit targets wrap, legacy ones obey the CS limit, 64-bit ones must be canonical (and ignore 66).
import { Insn, asz, osz } from "../decode/insn";
import { rmRead } from "../decode/operand";
import { faultCode, Vector } from "../cpu/fault";
import { cond, getZF } from "../cpu/flags";
import { is64, isCanonical } from "../cpu/segment";
import { Cpu } from "../cpu/state";
import { dropStack, peekStack, pushValue } from "./stack";

/** Operand size in bytes; always 8 in 64-bit mode. */
// @ts-ignore: decorator
@inline function sizeOf(cpu: Cpu, i: Insn): u32 { return is64(cpu) ? 8 : osz(i) == 1 ? 2 : 4; }

/** A target cut to the operand size and checked. */
function target(cpu: Cpu, size: u32, rip: u64): u64 {
  if (size == 8) {
    if (!isCanonical(rip)) faultCode(cpu, Vector.GP, 0);
    return rip;
  }
  rip &= size == 2 ? 0xffff : 0xffff_ffff;
  if (rip > <u64>cpu.csLimit) faultCode(cpu, Vector.GP, 0);
  return rip;
}

function readTarget(cpu: Cpu, i: Insn, size: u32): u64 {
  if (size == 8) return rmRead<u64>(cpu, i);
  return size == 4 ? <u64>rmRead<u32>(cpu, i) : <u64>rmRead<u16>(cpu, i);
}

export function jmpRel(cpu: Cpu, i: Insn): void { cpu.rip = target(cpu, sizeOf(cpu, i), cpu.rip + i.imm); }

export function jmpE(cpu: Cpu, i: Insn): void {
  const size = sizeOf(cpu, i);
  cpu.rip = target(cpu, size, readTarget(cpu, i, size));
}

export function callRel(cpu: Cpu, i: Insn): void {
  const size = sizeOf(cpu, i);
  const rip = target(cpu, size, cpu.rip + i.imm);
  pushValue(cpu, size, cpu.rip);
  cpu.rip = rip;
}

export function callE(cpu: Cpu, i: Insn): void {
  const size = sizeOf(cpu, i);
  const rip = target(cpu, size, readTarget(cpu, i, size));
  pushValue(cpu, size, cpu.rip);
  cpu.rip = rip;
}

export function ret(cpu: Cpu, i: Insn): void { returnNear(cpu, i, 0); }
export function retI(cpu: Cpu, i: Insn): void { returnNear(cpu, i, i.imm & 0xffff); }

function returnNear(cpu: Cpu, i: Insn, extra: u64): void {
  const size = sizeOf(cpu, i);
  cpu.rip = target(cpu, size, peekStack(cpu, 0, size));
  dropStack(cpu, <u64>size + extra);
}

export function jcc(cpu: Cpu, i: Insn): void { if (cond(cpu, i.a)) jmpRel(cpu, i); }

// @ts-ignore: decorator
@inline function counter(cpu: Cpu, i: Insn, delta: u64): u64 {
  const size = asz(i);
  return (cpu.rcx + delta) & (size == 2 ? 0xffff_ffff_ffff_ffff : size == 1 ? 0xffff_ffff : 0xffff);
}

function loopWhile(cpu: Cpu, i: Insn, also: bool): void {
  const left = counter(cpu, i, <u64>-1);
  if (left != 0 && also) cpu.rip = target(cpu, sizeOf(cpu, i), cpu.rip + i.imm);
  cpu.rcx = asz(i) == 0 ? (cpu.rcx & 0xffff_ffff_ffff_0000) | left : left;
}

export function loop(cpu: Cpu, i: Insn): void { loopWhile(cpu, i, true); }
export function loope(cpu: Cpu, i: Insn): void { loopWhile(cpu, i, getZF(cpu)); }
export function loopne(cpu: Cpu, i: Insn): void { loopWhile(cpu, i, !getZF(cpu)); }
export function jcxz(cpu: Cpu, i: Insn): void { if (counter(cpu, i, 0) == 0) jmpRel(cpu, i); }
