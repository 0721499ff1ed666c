// The decoded instruction: one packed record, the input of the interpreter and of the compiler to come.
import { Cpu } from "../cpu/state";

// Operation numbers. Hot ones (below 0x1000, numbered by tools/gen-hot.mjs) are cases of the interpreter's big switch; the rest are
// called through ops/dispatch.ts.
export const OP_THICK: u32 = 0x1000; // Thick.*: plain functions that do not end a block
export const OP_THICK_END: u32 = 0x2000; // the same, but they end the block: control transfers, mode changes, port I/O, repeated strings
export const OP_X87: u32 = 0x3000; // | (opcode & 7) << 8 | ModRM
export const OP_SSE: u32 = 0x4000; // | map << 10 | prefix << 8 | opcode; map 0: 0F, 1: 0F 38, 2: 0F 3A; prefix 0: none, 1: 66, 2: F3, 3: F2

@unmanaged
export class Insn {
  op: u16;
  len: u8; // bytes
  idx: u8; // how many instructions of the block precede it
  a: u8; // first register: byte offset in the register file (reg field), or register number for SSE, x87 and segment operands
  b: u8; // second register: byte offset (rm field when it is a register), or number for SSE
  base: u8; // register-file offset of the base, or of Cpu.zero; Cpu.brip for RIP-relative (disp is adjusted)
  index: u8; // register-file offset of the index, or of Cpu.zero
  sib: u8; // bits 0-1 scale; thick only: 2-3 REP (0 none, 1 F3, 2 F2), 4 LOCK, 5 66 prefix, 6 REX present, 7 REX.W
  attr: u8; // bits 0-2 segment, 3-4 operand size (0: 8 bits to 3: 64), 5-6 address size (0: 16 bits to 2: 64), 7 rm is memory
  off: u16; // offset of the following instruction from the start of the block, in bytes
  disp: i32; // displacement of the memory operand
  imm: u64; // immediate, sign-extended; far pointers: selector << 32 | offset; ENTER: size | level << 16
}

export const INSN_BYTES: usize = 24;
/** Compare-and-branch records keep the jump's displacement in the upper half of `imm`, whose lower half is sign-extended when used. */
export const FUSED_TARGET: usize = offsetof<Insn>("imm") + 4;

/** Operand size in log2 bytes: 0 to 3. */
// @ts-ignore: decorator
@inline export function osz(i: Insn): u32 { return (<u32>i.attr >> 3) & 3; }
/** Address size: 0 is 16 bits, 1 is 32, 2 is 64. */
// @ts-ignore: decorator
@inline export function asz(i: Insn): u32 { return (<u32>i.attr >> 5) & 3; }
// @ts-ignore: decorator
@inline export function seg(i: Insn): u32 { return <u32>i.attr & 7; }
/** Whether the rm operand is memory. */
// @ts-ignore: decorator
@inline export function isMem(i: Insn): bool { return (i.attr & 0x80) != 0; }
// @ts-ignore: decorator
@inline export function rep(i: Insn): u32 { return (<u32>i.sib >> 2) & 3; }
// @ts-ignore: decorator
@inline export function hasLock(i: Insn): bool { return (i.sib & 0x10) != 0; }
// @ts-ignore: decorator
@inline export function has66(i: Insn): bool { return (i.sib & 0x20) != 0; }
// @ts-ignore: decorator
@inline export function hasRex(i: Insn): bool { return (i.sib & 0x40) != 0; }
// @ts-ignore: decorator
@inline export function rexW(i: Insn): bool { return (i.sib & 0x80) != 0; }

/** Effective address of the memory operand: the offset in its segment, wrapped to the address size. */
export function ea(cpu: Cpu, i: Insn): u64 {
  const p = changetype<usize>(cpu);
  const off = load<u64>(p + <usize>i.base) + (load<u64>(p + <usize>i.index) << <u64>(i.sib & 3)) + <u64><i64>i.disp;
  const size = asz(i);
  return size == 2 ? off : size == 1 ? <u64><u32>off : <u64><u16>off;
}

/** Instruction pointer of the next instruction, wrapped to the code size only by whoever stores it. */
// @ts-ignore: decorator
@inline export function nextRip(cpu: Cpu, i: Insn): u64 { return cpu.brip + <u64>i.off; }
/** Instruction pointer of this instruction. */
// @ts-ignore: decorator
@inline export function thisRip(cpu: Cpu, i: Insn): u64 { return cpu.brip + <u64>i.off - <u64>i.len; }
