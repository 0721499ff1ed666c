// Operands of SSE and MMX instructions, and the checks that come before them.
import { Cpu, CR0_EM, CR0_TS, CR4_OSFXSR, stAt, xmmAt } from "../cpu/state";
import { fault, faultCode, Vector } from "../cpu/fault";
import { Insn, isMem } from "../decode/insn";
import { rmLin } from "../decode/operand";
import { readLin, readLin128, writeLin, writeLin128 } from "../mmu/access";
import { checkMmx, mmxEnter } from "./x87-state";

function sseDisabled(cpu: Cpu): void {
  fault(cpu, (cpu.cr0 & CR0_EM) != 0 || !(cpu.cr4 & CR4_OSFXSR) ? Vector.UD : Vector.NM);
}

/** #UD unless the system enabled SSE, #NM while CR0.TS is set. */
// @ts-ignore: decorator
@inline export function checkSse(cpu: Cpu): void {
  if ((cpu.cr0 & (CR0_EM | CR0_TS)) | (~cpu.cr4 & CR4_OSFXSR)) sseDisabled(cpu);
}

// Registers.
// @ts-ignore: decorator
@inline export function xmm(cpu: Cpu, n: u32): v128 { return v128.load(xmmAt(cpu, n)); }
// @ts-ignore: decorator
@inline export function setXmm(cpu: Cpu, n: u32, v: v128): void { v128.store(xmmAt(cpu, n), v); }
/** MMX registers: REX bits do not extend their numbers. */
// @ts-ignore: decorator
@inline export function mmx(cpu: Cpu, n: u32): u64 { return load<u64>(stAt(cpu, n & 7)); }
// @ts-ignore: decorator
@inline export function setMmx(cpu: Cpu, n: u32, v: u64): void {
  store<u64>(stAt(cpu, n & 7), v);
  store<u16>(stAt(cpu, n & 7), 0xffff, 8);
}

/** The low 64 bits as a vector whose upper half is 0. */
// @ts-ignore: decorator
@inline export function vec64(v: u64): v128 { return i64x2.replace_lane(i64x2.splat(0), 0, v); }
// @ts-ignore: decorator
@inline export function low64(v: v128): u64 { return i64x2.extract_lane(v, 0); }

function misaligned(cpu: Cpu): void { faultCode(cpu, Vector.GP, 0); }

/** Linear address of a 16-byte memory operand that must be aligned. */
export function alignedLin(cpu: Cpu, i: Insn, write: bool): u64 {
  const lin = rmLin(cpu, i, 16, write);
  if (lin & 15) misaligned(cpu);
  return lin;
}

/** The rm operand, 16 bytes, aligned in memory. */
export function rm128(cpu: Cpu, i: Insn): v128 {
  return isMem(i) ? readLin128(cpu, alignedLin(cpu, i, false)) : xmm(cpu, i.b);
}
/** The same with any alignment. */
export function rm128u(cpu: Cpu, i: Insn): v128 {
  return isMem(i) ? readLin128(cpu, rmLin(cpu, i, 16, false)) : xmm(cpu, i.b);
}
/** The rm operand's low part: T from memory, or from the bottom of an XMM register. */
export function rmLow<T>(cpu: Cpu, i: Insn): T {
  return isMem(i) ? readLin<T>(cpu, rmLin(cpu, i, sizeof<T>(), false)) : load<T>(xmmAt(cpu, i.b));
}
/** The rm operand of a conversion of packed singles and the like: 8 bytes from memory or register. */
// @ts-ignore: decorator
@inline export function rmVec64(cpu: Cpu, i: Insn): v128 { return vec64(rmLow<u64>(cpu, i)); }

export function storeRm128(cpu: Cpu, i: Insn, v: v128): void {
  if (isMem(i)) writeLin128(cpu, alignedLin(cpu, i, true), v);
  else setXmm(cpu, i.b, v);
}
export function storeRm128u(cpu: Cpu, i: Insn, v: v128): void {
  if (isMem(i)) writeLin128(cpu, rmLin(cpu, i, 16, true), v);
  else setXmm(cpu, i.b, v);
}

/** The rm operand of an MMX instruction, after all of its checks; the unit is in MMX mode afterwards. */
export function mmxRm(cpu: Cpu, i: Insn): u64 {
  checkMmx(cpu);
  const v = isMem(i) ? readLin<u64>(cpu, rmLin(cpu, i, 8, false)) : mmx(cpu, i.b);
  mmxEnter(cpu);
  return v;
}
/** The same for operations that take 32 bits from memory. */
export function mmxRm32(cpu: Cpu, i: Insn): u64 {
  checkMmx(cpu);
  const v = isMem(i) ? <u64>readLin<u32>(cpu, rmLin(cpu, i, 4, false)) : mmx(cpu, i.b);
  mmxEnter(cpu);
  return v;
}
/** Checks and mode change of an MMX instruction without memory operand. */
export function mmxBegin(cpu: Cpu): void {
  checkMmx(cpu);
  mmxEnter(cpu);
}
export function mmxStore(cpu: Cpu, i: Insn, v: u64): void {
  checkMmx(cpu);
  writeLin<u64>(cpu, rmLin(cpu, i, 8, true), v);
  mmxEnter(cpu);
}

export function badOp(cpu: Cpu): void { fault(cpu, Vector.UD); }
/** #UD unless the rm operand is a register, or is memory. */
// @ts-ignore: decorator
@inline export function needRegister(cpu: Cpu, i: Insn): void { if (isMem(i)) badOp(cpu); }
// @ts-ignore: decorator
@inline export function needMemory(cpu: Cpu, i: Insn): void { if (!isMem(i)) badOp(cpu); }
