// The core's exports. CPUs are named by index. Field offsets of the CPU record are exported by generated/offsets.ts as OFF_name.
import { ARENA, CPU_TLB_MISS, CPU_TLB_SR, JUMP_ENTRIES, CPU_JUMP, MAX_CPUS, RAM_BASE, ROM_BASE, ROM_MAX, TLB_BYTES } from "./layout";
import { IF, cpuAt } from "./cpu/state";
import { initCpu as initState, resetCpu as resetState } from "./cpu/reset";
import { getFlags } from "./cpu/flags";
import { shared } from "./machine";
import { INFO_FLAGS, INFO_ROM, pageInfo } from "./mmu/physical";
import { flushTlbAll } from "./mmu/tlb";
import { dropAll, invalidate as invalidateRange } from "./interp/blocks";
import { instructionCount, requestStop, shorten as shortenBudget, updateMode as deriveMode } from "./interp/mode";
import { enable } from "./jit/queue";
import { EXITS, Left, REGION_LOG, REGION_LOG_BYTES, jit } from "./jit/state";
import { buildCrcTables } from "./ops/bit";
import { buildAesTables } from "./ops/sse-crypto";
import { run as runCpu, settleFault } from "./interp/run";

export * from "./generated/offsets";
export { jitSse, jitVector } from "./jit/sse-slow";
export { runRegions } from "./jit/chain"; // exported so that the interpreter, whose function is too large to be quick, does not take it in
export { jitX87 } from "./jit/x87-slow";
export { jitArith, jitBswap, jitCarry, jitCond, jitDivWide, jitEnd, jitEndOn, jitMapped, jitMulOver, jitRead, jitString, jitThick, jitWrite } from "./jit/slow";

/** Lays out the machine: RAM in KiB, at most 3 GiB, which the host has allocated behind `ramBase()`. */
export function init(ramKiB: u32): void {
  const s = shared();
  s.ramBytes = <u64>ramKiB << 10;
  s.romBytes = 0;
  s.cpus = 1;
  s.arenaNext = ARENA;
  jit().enteredAt = ~0;
  buildAesTables();
  buildCrcTables();
  for (let c: u32 = 0; c < MAX_CPUS; c++) {
    const cpu = cpuAt(c);
    cpu.id = c;
    cpu.delivering = -1;
    cpu.a20Mask = ~0;
    const base = changetype<usize>(cpu);
    if (c < s.cpus) {
      memory.fill(base + CPU_TLB_SR, 0xff, TLB_BYTES * 6);
      memory.fill(base + CPU_JUMP, 0xff, <usize>JUMP_ENTRIES * 16);
    }
  }
}

export function ramBase(): usize { return RAM_BASE; }
export function cpuPointer(index: u32): usize { return changetype<usize>(cpuAt(index)); }
export function resetCpu(index: u32): void {
  const cpu = cpuAt(index);
  cpu.block = 0;
  cpu.insn = 0;
  resetState(cpu);
  flushTlbAll(cpu);
  deriveMode(cpu);
}
export function initCpu(index: u32): void {
  const cpu = cpuAt(index);
  initState(cpu);
  flushTlbAll(cpu);
  deriveMode(cpu);
}
export function updateMode(index: u32): void { deriveMode(cpuAt(index)); }

/** Runs at most `budget` instructions: 0 budget spent or stop asked for, 1 halted, 2 shut down. May throw the host's fault object. */
export function run(index: u32, budget: i32): i32 { return runCpu(cpuAt(index), budget); }
/** After `run` or this threw the fault object: 0 to call `run` again, 2 shut down (triple fault). */
export function deliverFault(index: u32): i32 { return settleFault(cpuAt(index)); }
/** Instructions executed since power-on, exact at any moment. */
export function instructions(index: u32): f64 { return <f64>instructionCount(cpuAt(index)); }
/** EFLAGS, the lazy ones worked out. */
export function flags(index: u32): u32 { return getFlags(cpuAt(index)); }
/** Reduces the budget in flight so that at most `remaining` instructions follow the current one. */
export function shorten(index: u32, remaining: u32): void { shortenBudget(cpuAt(index), remaining); }

export function setIntr(index: u32, level: u32): void {
  const cpu = cpuAt(index);
  cpu.intr = level;
  if (level != 0 && (cpu.eflags & IF) != 0) requestStop(cpu);
}
export function nmi(index: u32): void {
  const cpu = cpuAt(index);
  cpu.nmiPending = 1;
  requestStop(cpu);
}

/** Bytes of RAM were written from outside of the CPUs. */
export function invalidate(phys: u32, length: u32): void { invalidateRange(cpuAt(0), <u64>phys, <u64>length); }
export function setA20(index: u32, on: u32): void {
  const cpu = cpuAt(index);
  const mask: u32 = on ? ~0 : ~(<u32>1 << 20);
  if (cpu.a20Mask == mask) return;
  cpu.a20Mask = mask;
  flushTlbAll(cpu);
}
/** Forgets the TLB and all decoded code. */
export function flushAll(index: u32): void {
  dropAll();
  flushTlbAll(cpuAt(index));
}

/** Reserves a ROM of `bytes`, a multiple of 4096, that ends at 4 GiB; returns where its contents go. 0 when it is too large. */
export function mapRom(bytes: u32): usize {
  if (bytes > <u32>ROM_MAX) return 0;
  shared().romBytes = bytes;
  return ROM_BASE;
}
/** Makes a range of RAM, whole pages, ignore guest writes, or take them again. */
export function protectRom(phys: u32, length: u32, on: u32): void {
  for (let at: u32 = 0; at < length; at += 0x1000) {
    const info = pageInfo(<u64>(phys + at));
    const flags = load<u32>(info, INFO_FLAGS);
    store<u32>(info, on ? flags | INFO_ROM : flags & ~INFO_ROM, INFO_FLAGS);
  }
  flushTlbAll(cpuAt(0));
}

/** Switches the compiler on for blocks decoded from now on: see jit/queue.ts. */
export function jitEnable(threshold: u32, batch: u32, maxSlots: u32, slotBase: u32, maxInsns: u32, regrowAfter: i32): void { enable(threshold, batch, maxSlots, slotBase, maxInsns, regrowAfter); }
/** Whether page faults that compiled code and string instructions meet are delivered by `run` itself; else they unwind, as all others do. */
export function deliverInPlace(on: u32): void { jit().deliver = on; }
/** Where the blocks of function `index` of the module being installed are listed: see REGION_LOG in jit/state.ts. */
export function jitRegionLog(index: u32): usize { return REGION_LOG + <usize>index * REGION_LOG_BYTES; }
/** Counters of the compiler: 0 regions, 1 modules, 2 instructions compiled, 3 bytes of modules, 4 times all was dropped, 5 regions dropped, 6 entries of regions, 7 instructions in them, 8 table slots in use;
 * from 16 on why they were left other than by a branch, by the numbers of Left in jit/state.ts. */
export function jitCounter(which: u32): f64 {
  const j = jit();
  switch (which) {
    case 0: return <f64>j.regions;
    case 1: return <f64>j.modules;
    case 2: return <f64>j.compiledInsns;
    case 3: return <f64>j.moduleBytes;
    case 4: return <f64>j.resets;
    case 5: return <f64>j.dropped;
    case 6: return <f64>j.entries;
    case 7: return <f64>j.executed;
    case 8: return <f64>j.slots - <f64>j.pendingRegions; // those that wait have a slot and are not live
    default: return which >= 16 && which < 16 + Left.COUNT ? <f64>load<u64>(EXITS + (<usize>(which - 16) << 3)) : 0;
  }
}

/** Counters: 0 blocks decoded, 1 blocks dropped, 2 times the arena was emptied, 3 bytes of it in use. */
export function counter(which: u32): f64 {
  const s = shared();
  return which == 0 ? <f64>s.blocksDecoded : which == 1 ? <f64>s.blocksDropped : which == 2 ? <f64>s.arenaFlushes : <f64>(s.arenaNext - ARENA);
}
