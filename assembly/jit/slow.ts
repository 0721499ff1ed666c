// What compiled code calls. An access that may have effects beyond plain memory, or faults, is left to the interpreter: the region is left before it.
import { Cpu, CR0_AM, NO_MISS } from "../cpu/state";
import { cond, getArith, getCF } from "../cpu/flags";
import { INSN_BYTES, Insn } from "../decode/insn";
import { BLOCK_COUNT } from "../interp/block-layout";
import { unpatch } from "../interp/mode";
import { INFO_LINES, hostOf, isRom, pageInfo, readPhys } from "../mmu/physical";
import { fetchEntryAt, noteCodePage, readTable, writeTable } from "../mmu/tlb";
import { tryTranslate } from "../mmu/access";
import { USER, WRITE } from "../mmu/walk";
import { dispatch, dispatchEnd } from "../ops/dispatch";
import { Hot } from "../generated/hot";
import { rdtsc } from "../ops/system";
import { divWide, mulOverflows } from "../ops/muldiv";
import { quick } from "../ops/string-quick";
import { lines } from "../interp/blocks";
import { BOUNCE, Left, countExit, jit } from "./state";

// @ts-ignore: decorator
@inline function place(cpu: Cpu, ip: usize, block: usize, left: i32, brip: u64): void {
  cpu.insn = ip;
  cpu.block = block;
  cpu.left = left;
  cpu.brip = brip;
}

// @ts-ignore: decorator
@inline function bytesOf(code: u32): u32 { return code >= 4 ? 16 : 1 << code; }

/** Whether entries of the TLB were taken for others, which open windows may have come from: the interpreter would look the page up again. */
function evicted(cpu: Cpu, before: u32): bool {
  if (cpu.evictions == before) return false;
  jit().evicted = 1;
  return true;
}

/** Wasm address of an operand, by the code of its size, that the fast path did not find; 0 to leave the region before the instruction. Changes nothing but the TLB and what is known of the fault. */
export function jitRead(cpu: Cpu, lin: u64, code: u32): usize {
  const kind = code & 15, size = bytesOf(kind);
  const user = cpu.cpl == 3;
  const evictions = cpu.evictions;
  cpu.missCode = NO_MISS;
  if (cpu.tlbRead != readTable(cpu, user) || (kind == 5 && (lin & 15) != 0)) return 0;
  const access: u32 = user ? USER : 0;
  const first = tryTranslate(cpu, lin, access);
  if (first == ~0) return 0;
  if (code != kind && evicted(cpu, evictions)) return 0;
  const host = hostOf(first);
  if (!host || (<u32>lin & 0xfff) + size <= 0x1000) return host;
  if (size == 16 || (!(lin >> 32) && (lin + size) >> 32 != 0)) return 0; // the interpreter knows what 4 GiB mean
  for (let k: u32 = 0; k < size; k++) {
    const at = lin >> 32 ? lin + <u64>k : (lin + <u64>k) & cpu.addrMask;
    const phys = tryTranslate(cpu, at, access);
    const from = phys == ~0 ? 0 : hostOf(phys);
    if (!from || (code != kind && evicted(cpu, evictions))) return 0;
    store<u8>(BOUNCE + k, load<u8>(from));
  }
  return BOUNCE;
}

export function jitWrite(cpu: Cpu, lin: u64, code: u32): usize {
  const kind = code & 15, size = bytesOf(kind);
  const user = cpu.cpl == 3;
  const evictions = cpu.evictions;
  cpu.missCode = NO_MISS;
  if (cpu.tlbWrite != writeTable(cpu, user) || (kind == 5 && (lin & 15) != 0) || (<u32>lin & 0xfff) + size > 0x1000) return 0;
  const phys = tryTranslate(cpu, lin, user ? USER | WRITE : WRITE);
  if (phys == ~0 || (code != kind && evicted(cpu, evictions))) return 0;
  const host = hostOf(phys);
  return !host || isRom(phys) || (load<u64>(pageInfo(phys), INFO_LINES) & lines(<u32>phys & 0xfff, size)) != 0 ? 0 : host;
}

/** A thick operation; 1 when something wants the region to be left behind it. */
export function jitThick(cpu: Cpu, ip: usize, op: u32, block: usize, left: i32, brip: u64): u32 {
  place(cpu, ip, block, left, brip);
  cpu.leave = 0;
  if (op == Hot.RDTSC) rdtsc(cpu, changetype<Insn>(ip));
  else dispatch(cpu, ip, op);
  if (!cpu.leave && cpu.left == left) return 0; // a shorter budget is met by the interpreter
  countExit(Left.STOP);
  unpatch(cpu);
  const i = changetype<Insn>(ip);
  cpu.left += <i32>load<u16>(block, BLOCK_COUNT) - <i32>changetype<Insn>(ip + INSN_BYTES).idx;
  cpu.rip = (brip + <u64>i.off) & cpu.addrMask;
  return 1;
}

/** A thick operation that ends its block. */
export function jitEnd(cpu: Cpu, ip: usize, block: usize, left: i32, brip: u64): void {
  place(cpu, ip, block, left, brip);
  const i = changetype<Insn>(ip);
  cpu.rip = (brip + <u64>i.off) & cpu.addrMask;
  dispatchEnd(cpu, ip, <u32>i.op - 0x2000);
  countExit(Left.END);
}

/** The same where the block goes on: 1 when the region must be left, because the way on is another, or the mode, or what is known of memory. */
export function jitEndOn(cpu: Cpu, ip: usize, op: u32, block: usize, left: i32, brip: u64): u32 {
  place(cpu, ip, block, left, brip);
  const next = (brip + <u64>changetype<Insn>(ip).off) & cpu.addrMask;
  const key = cpu.jumpKey, read = cpu.tlbRead, write = cpu.tlbWrite;
  cpu.leave = 0;
  cpu.rip = next;
  dispatchEnd(cpu, ip, op - 0x2000);
  return u32(cpu.leave != 0 || cpu.left != left || cpu.rip != next || cpu.jumpKey != key || cpu.tlbRead != read || cpu.tlbWrite != write);
}

/** A repeated string instruction whose registers are in the record: a `Quick`. */
export function jitString(cpu: Cpu, ip: usize): u32 {
  cpu.missCode = NO_MISS;
  return quick(cpu, changetype<Insn>(ip));
}

/** Whether a page of code, at `lin`, is in the fetch TLB with that number; noted like one whose code the jump cache knows. */
export function jitMapped(cpu: Cpu, lin: u64, number: u32): u32 {
  const e = fetchEntryAt(cpu.tlbExec, lin);
  if (load<u64>(e) != lin || load<u32>(e, 12) != number) return 0;
  cpu.localCode |= load<u32>(e, 8);
  noteCodePage(cpu, lin);
  return 1;
}

export function jitCond(cpu: Cpu, cc: u32): u32 { return cond(cpu, cc) ? 1 : 0; }

/** CF of lazy flags that are in locals. */
export function jitCarry(type: u32, a: u64, r: u64): u32 { return getCF(flagsOf(type, a, r)); }
/** All arithmetic flags of lazy flags that are in locals. */
export function jitArith(type: u32, a: u64, r: u64): u32 { return getArith(flagsOf(type, a, r)); }

function flagsOf(type: u32, a: u64, r: u64): Cpu {
  const cpu = changetype<Cpu>(BOUNCE + 0x100 - offsetof<Cpu>("flT"));
  cpu.flT = type;
  cpu.flA = a;
  cpu.flR = r;
  return cpu;
}

export function jitMulOver(x: u64, y: u64): u32 { return mulOverflows(x, y) ? 1 : 0; }
export function jitDivWide(hi: u64, lo: u64, d: u64): u64 { return divWide(hi, lo, d); }
export function jitBswap(x: u64): u64 { return bswap<u64>(x); }
