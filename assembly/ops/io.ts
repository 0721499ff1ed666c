// Port I/O. SDM vol. 1, 19.5 (protection), vol. 2 IN, OUT, INS, OUTS.
import { portRead, portWrite } from "../imports";
import { Insn, asz, osz, rep, seg, thisRip } from "../decode/insn";
import { faultCode, Vector } from "../cpu/fault";
import { portBreakpoint } from "../cpu/interrupt";
import { is64, systemLin } from "../cpu/segment";
import { CR0_PE, Cpu, DF, IOPL, Seg, TF, VM } from "../cpu/state";
import { memLin, probeWrite, readLin, readSys, writeLin } from "../mmu/access";

/** #GP(0) unless IOPL or the I/O permission map of the TSS allows `size` bytes at `port`. */
export function checkPort(cpu: Cpu, port: u32, size: u32): void {
  if ((cpu.cr0 & CR0_PE) != 0 && (cpu.cpl > (cpu.eflags & IOPL) >> 12 || (cpu.eflags & VM) != 0)) {
    if ((cpu.trAttr & 8) == 0 || cpu.trLimit < 103) faultCode(cpu, Vector.GP, 0);
    const off = <u32>readSys<u16>(cpu, systemLin(cpu, cpu.trBase + 102)) + (port >> 3);
    if (off + 1 > cpu.trLimit) faultCode(cpu, Vector.GP, 0);
    const bits = <u32>readSys<u16>(cpu, systemLin(cpu, cpu.trBase + <u64>off)) >> (port & 7);
    if ((bits & ((1 << size) - 1)) != 0) faultCode(cpu, Vector.GP, 0);
  }
  if ((cpu.dr7 & 0xff) != 0) portBreakpoint(cpu, port, size);
}

/** Bytes of the operand; REX.W does not widen port I/O. */
// @ts-ignore: decorator
@inline function sizeOf(i: Insn): u32 {
  const s = osz(i);
  return s == 0 ? 1 : s == 1 ? 2 : 4;
}

function input(cpu: Cpu, port: u32, size: u32): void {
  checkPort(cpu, port, size);
  const value = portRead(cpu.id, port, size);
  if (size == 1) cpu.rax = (cpu.rax & 0xffff_ffff_ffff_ff00) | <u64>(value & 0xff);
  else if (size == 2) cpu.rax = (cpu.rax & 0xffff_ffff_ffff_0000) | <u64>(value & 0xffff);
  else cpu.rax = <u64>value;
}

function output(cpu: Cpu, port: u32, size: u32): void {
  checkPort(cpu, port, size);
  const value = <u32>cpu.rax;
  portWrite(cpu.id, port, size, size == 1 ? value & 0xff : size == 2 ? value & 0xffff : value);
}

export function inI(cpu: Cpu, i: Insn): void { input(cpu, <u32>i.imm & 0xff, sizeOf(i)); }
export function inDx(cpu: Cpu, i: Insn): void { input(cpu, <u32>cpu.rdx & 0xffff, sizeOf(i)); }
export function outI(cpu: Cpu, i: Insn): void { output(cpu, <u32>i.imm & 0xff, sizeOf(i)); }
export function outDx(cpu: Cpu, i: Insn): void { output(cpu, <u32>cpu.rdx & 0xffff, sizeOf(i)); }

// @ts-ignore: decorator
@inline function maskOf(i: Insn): u64 {
  const size = asz(i);
  return size == 2 ? 0xffff_ffff_ffff_ffff : size == 1 ? 0xffff_ffff : 0xffff;
}
/** A register of which only the address-sized part changes; 32-bit results clear the upper half. */
// @ts-ignore: decorator
@inline function merge(old: u64, value: u64, mask: u64): u64 { return mask == 0xffff ? (old & 0xffff_ffff_ffff_0000) | (value & 0xffff) : value & mask; }

// A pass of a repeated INS or OUTS; then the instruction starts again, so that interrupts get in.
const PASS: u32 = 4096;

function elements(cpu: Cpu, i: Insn, mask: u64, size: u32): u32 {
  if (rep(i) == 0) return 1;
  const count = cpu.rcx & mask;
  if ((cpu.eflags & TF) != 0 || (cpu.dr7 & 0xff) != 0) return count != 0 ? 1 : 0;
  const most = <u64>(PASS / size);
  return <u32>(count < most ? count : most);
}

function again(cpu: Cpu, i: Insn, mask: u64): void {
  if (rep(i) != 0 && (cpu.rcx & mask) != 0) cpu.rip = is64(cpu) ? thisRip(cpu, i) : <u64><u32>thisRip(cpu, i);
}

export function ins(cpu: Cpu, i: Insn): void {
  const size = sizeOf(i), mask = maskOf(i), port = <u32>cpu.rdx & 0xffff;
  const step: u64 = (cpu.eflags & DF) != 0 ? -<u64>size : <u64>size;
  let left = elements(cpu, i, mask, size);
  if (left != 0 || rep(i) == 0) checkPort(cpu, port, size);
  while (left != 0) {
    const lin = memLin(cpu, Seg.ES, cpu.rdi & mask, size, true);
    probeWrite(cpu, lin, size);
    const value = portRead(cpu.id, port, size);
    if (size == 1) writeLin<u8>(cpu, lin, <u8>value);
    else if (size == 2) writeLin<u16>(cpu, lin, <u16>value);
    else writeLin<u32>(cpu, lin, value);
    cpu.rdi = merge(cpu.rdi, cpu.rdi + step, mask);
    if (rep(i) != 0) cpu.rcx = merge(cpu.rcx, cpu.rcx - 1, mask);
    left--;
  }
  again(cpu, i, mask);
}

export function outs(cpu: Cpu, i: Insn): void {
  const size = sizeOf(i), mask = maskOf(i), port = <u32>cpu.rdx & 0xffff;
  const step: u64 = (cpu.eflags & DF) != 0 ? -<u64>size : <u64>size;
  let left = elements(cpu, i, mask, size);
  if (left != 0 || rep(i) == 0) checkPort(cpu, port, size);
  while (left != 0) {
    const lin = memLin(cpu, seg(i), cpu.rsi & mask, size, false);
    let value: u32;
    if (size == 1) value = <u32>readLin<u8>(cpu, lin);
    else if (size == 2) value = <u32>readLin<u16>(cpu, lin);
    else value = readLin<u32>(cpu, lin);
    portWrite(cpu.id, port, size, value);
    cpu.rsi = merge(cpu.rsi, cpu.rsi + step, mask);
    if (rep(i) != 0) cpu.rcx = merge(cpu.rcx, cpu.rcx - 1, mask);
    left--;
  }
  again(cpu, i, mask);
}
