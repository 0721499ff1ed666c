// The software TLB: direct-mapped tables of { u64 tag, u32 addend, u32 page number }, one each for reads, writes and fetches of user and supervisor.
// The fast path compares the tag with the page of the access's last byte: one compare covers presence, permission, canonical form and page
// crossing. A tag with a low bit set never matches it: the page is known, but each access goes through mmu/access.ts.
// Whatever page the table of writes knows is known by the table of reads, so that compiled code that found a page to write to may read there as well.
import { Cpu, cpuAt } from "../cpu/state";
import { dropPcids, forgetGenerations } from "./pcid";
import {
  CODE_PAGES_BYTES, CPU_CODE_PAGES, CPU_JUMP, CPU_TLB_LOG, CPU_TLB_SR, CPU_TLB_SW, CPU_TLB_UR, CPU_TLB_UW, CPU_TLB_X, JIT_GUARDS, JUMP_ENTRIES, TLB_BYTES, TLB_ENTRIES, TLB_LOG_ENTRIES,
} from "../layout";
import { shared } from "../machine";
import { jit } from "../jit/state";
import { refreshKey } from "../interp/mode";

export const TAG_BUS: u64 = 1; // not memory
export const TAG_CODE: u64 = 2; // a write must look for decoded code, or is to be ignored

// @ts-ignore: decorator
@inline export function entryAt(table: usize, lin: u64): usize { return table + <usize>((lin >> 8) & 0xfff0); }
/** Entry of the fetch table: 2,048 per privilege. */
// @ts-ignore: decorator
@inline export function fetchEntryAt(table: usize, lin: u64): usize { return table + <usize>((lin >> 8) & FETCH_ENTRIES_MASK); }
export const FETCH_ENTRIES_MASK: u64 = 0x7ff0;

/** Counts entries that make room for another page, or lead elsewhere from now on. */
// @ts-ignore: decorator
@inline function noteEviction(cpu: Cpu, entry: usize, tag: u64, page: u32): void {
  if (load<u64>(entry) != ~0 && (((load<u64>(entry) ^ tag) & ~0xfff) != 0 || load<u32>(entry, 12) != page)) cpu.evictions++;
}

export function fillEntry(cpu: Cpu, entry: usize, tag: u64, addend: u32, page: u32, global: bool): void {
  noteEviction(cpu, entry, tag, page);
  store<u64>(entry, tag);
  store<u32>(entry, addend, 8);
  store<u32>(entry, page, 12);
  if (global) return;
  const n = cpu.logCount;
  if (n < TLB_LOG_ENTRIES) store<u32>(changetype<usize>(cpu) + CPU_TLB_LOG + (<usize>n << 2), <u32>entry);
  if (n <= TLB_LOG_ENTRIES) cpu.logCount = n + 1;
}

/** Entry of the table of reads that goes with one of the table of writes. */
// @ts-ignore: decorator
@inline export function readOf(entry: usize): usize { return entry - TLB_BYTES; }
/** The entry of a table of reads now holds `page`: that of writes must not hold another one. */
export function dropOther(cpu: Cpu, entry: usize, page: u64): void {
  const other = entry + TLB_BYTES;
  if ((load<u64>(other) & ~0xfff) == page) return;
  if (load<u64>(other) != ~0) cpu.evictions++;
  store<u64>(other, ~0);
}

/** Drops the entry of a table of reads and that of writes beside it. */
// @ts-ignore: decorator
@inline export function dropPair(read: usize): void {
  store<u64>(read, ~0);
  store<u64>(read + TLB_BYTES, ~0);
}

/** Drops what the log names. A page that came over one that was read, and is not in the log, goes from the table of writes as it does from that of reads. */
export function dropLogged(cpu: Cpu): void {
  const n = cpu.logCount;
  const log = changetype<usize>(cpu) + CPU_TLB_LOG;
  for (let k: u32 = 0; k < n; k++) {
    const e = <usize>load<u32>(log + (<usize>k << 2));
    if (isRead(cpu, e)) dropPair(e);
    else store<u64>(e, ~0);
  }
  cpu.logCount = 0;
}
// @ts-ignore: decorator
@inline function isRead(cpu: Cpu, e: usize): bool {
  const at = e - changetype<usize>(cpu);
  return at < CPU_TLB_SW || (at >= CPU_TLB_UR && at < CPU_TLB_UW);
}

/** A number that no key of the jump cache has. */
export function freshGeneration(cpu: Cpu): u32 {
  cpu.generation = (cpu.generation + 1) & 0x007f_ffff;
  if (cpu.generation == 0) {
    memory.fill(changetype<usize>(cpu) + CPU_JUMP, 0xff, <usize>JUMP_ENTRIES * 16);
    memory.fill(JIT_GUARDS, 0, <usize>jit().guards << 2);
    cpu.generation = 1;
    cpu.userGeneration = 0;
    cpu.systemGeneration = 0;
    forgetGenerations(cpu);
  }
  return cpu.generation;
}

/** New keys: everything that was cached for a linear address must be looked up again. */
export function newGeneration(cpu: Cpu): void {
  cpu.systemGeneration = cpu.userGeneration = freshGeneration(cpu);
  cpu.localCode = 0;
  forgetGenerations(cpu);
  memory.fill(changetype<usize>(cpu) + CPU_CODE_PAGES, 0, CODE_PAGES_BYTES);
  refreshKey(cpu);
}

/** Another address space: what was cached of pages that are not global must be looked up again. Systems run from global pages. */
export function newUserGeneration(cpu: Cpu, generation: u32): void {
  if (cpu.localCode) return newGeneration(cpu);
  cpu.userGeneration = generation;
  refreshKey(cpu);
}

// @ts-ignore: decorator
@inline function codePageAt(cpu: Cpu, page: u64): usize { return changetype<usize>(cpu) + CPU_CODE_PAGES + (<usize>(page >> 3) & (CODE_PAGES_BYTES - 1)); }
/** The jump cache knows code of this page from now on. */
export function noteCodePage(cpu: Cpu, lin: u64): void {
  const at = codePageAt(cpu, lin >> 12);
  store<u8>(at, load<u8>(at) | (1 << <u8>(lin >> 12 & 7)));
}
function isCodePage(cpu: Cpu, lin: u64): bool { return (load<u8>(codePageAt(cpu, lin >> 12)) >> <u8>(lin >> 12 & 7) & 1) != 0; }

/** Drops what is not global, as a CR3 write does. The log bounds the work. */
export function flushTlb(cpu: Cpu): void {
  if (cpu.logCount > TLB_LOG_ENTRIES) return flushTlbAll(cpu);
  dropLogged(cpu);
  newUserGeneration(cpu, freshGeneration(cpu));
}

export function flushTlbAll(cpu: Cpu): void {
  memory.fill(changetype<usize>(cpu) + CPU_TLB_SR, 0xff, TLB_BYTES * 5);
  cpu.logCount = 0;
  cpu.largeLo = ~0;
  cpu.largeHi = 0;
  cpu.hugeSeen = 0;
  dropPcids(cpu);
  newGeneration(cpu);
}

/** INVLPG: drops the page, global or not; with it the rest of the large page that may hold it. */
export function flushTlbPage(cpu: Cpu, lin: u64): void {
  if (lin >= cpu.largeLo && lin <= cpu.largeHi) {
    if (cpu.hugeSeen) return flushTlbAll(cpu);
    const first = lin & ~0x3f_ffff; // 4 MiB covers both large sizes
    for (let k: u64 = 0; k < 1024; k++) dropPage(cpu, first + (k << 12));
    newGeneration(cpu);
  } else {
    dropPage(cpu, lin);
    if (isCodePage(cpu, lin)) newGeneration(cpu);
  }
}

function dropPage(cpu: Cpu, lin: u64): void {
  const base = changetype<usize>(cpu);
  const page = lin & ~0xfff;
  for (let t = CPU_TLB_SR; t < CPU_TLB_X; t += TLB_BYTES) {
    const e = entryAt(base + t, lin);
    if ((load<u64>(e) & ~0xfff) == page) store<u64>(e, ~0);
  }
  for (let t: usize = 0; t < TLB_BYTES; t += TLB_BYTES >> 1) {
    const e = fetchEntryAt(base + CPU_TLB_X + t, lin);
    if ((load<u64>(e) & ~0xfff) == page) store<u64>(e, ~0);
  }
}

/** The page has decoded code from now on: fast write entries for it, under any linear address, become watched ones. */
export function watchPage(page: u32): void {
  for (let c: u32 = 0; c < shared().cpus; c++) {
    const base = changetype<usize>(cpuAt(c));
    watchTable(base + CPU_TLB_SW, page);
    watchTable(base + CPU_TLB_UW, page);
  }
}

function watchTable(table: usize, page: u32): void {
  const end = table + <usize>TLB_ENTRIES * 16;
  for (let e = table; e < end; e += 16) {
    if (load<u32>(e, 12) == page && load<u64>(e) != ~0) store<u64>(e, load<u64>(e) | TAG_CODE);
  }
}

/** The tables of the current or of supervisor privilege. */
// @ts-ignore: decorator
@inline export function readTable(cpu: Cpu, user: bool): usize { return changetype<usize>(cpu) + (user ? CPU_TLB_UR : CPU_TLB_SR); }
// @ts-ignore: decorator
@inline export function writeTable(cpu: Cpu, user: bool): usize { return changetype<usize>(cpu) + (user ? CPU_TLB_UW : CPU_TLB_SW); }
// @ts-ignore: decorator
@inline export function execTable(cpu: Cpu, user: bool): usize { return changetype<usize>(cpu) + CPU_TLB_X + (user ? TLB_BYTES >> 1 : 0); }
