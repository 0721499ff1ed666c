// Address spaces by PCID (SDM vol. 3, 4.10.1). The TLB holds one at a time, beside what is global. The translations of another that the system
// means to come back to are put aside: a copy of the entries that the TLB's log names. Which ones are kept is the CPU's choice; that none is wrong is not.
import { CPU_PCID, CPU_TLB_LOG, CPU_TLB_SW, CPU_TLB_UR, CPU_TLB_UW, CPU_TLB_X, TLB_LOG_ENTRIES } from "../layout";
import { Cpu } from "../cpu/state";
import { INFO_LINES, pageInfo } from "./physical";
import { TAG_CODE, dropLogged, dropPair, flushTlb, flushTlbAll, freshGeneration, newUserGeneration, readOf } from "./tlb";

const SPACES: u32 = 8;
const SPACE_BYTES: usize = 0x4000;
// A space: u32 used, u32 PCID, u32 user generation or 0, u32 number of entries, u32 when it was put aside; then entries of { u64 tag, u32 addend, u32 page, u32 place }.
const PCID: usize = 4;
const GENERATION: usize = 8;
const COUNT: usize = 12;
const AGE: usize = 16;
const HEADER: usize = 24;
const ENTRY: usize = 24;
const MAX_ENTRIES: u32 = 512;

// @ts-ignore: decorator
@inline function spaceAt(cpu: Cpu, n: u32): usize { return changetype<usize>(cpu) + CPU_PCID + <usize>n * SPACE_BYTES; }

/** Forgets all that is put aside. */
export function dropPcids(cpu: Cpu): void {
  for (let n: u32 = 0; n < SPACES; n++) store<u32>(spaceAt(cpu, n), 0);
}

/** The jump cache's entries for what is put aside are no longer good. */
export function forgetGenerations(cpu: Cpu): void {
  for (let n: u32 = 0; n < SPACES; n++) store<u32>(spaceAt(cpu, n), 0, GENERATION);
}

function find(cpu: Cpu, pcid: u32): usize {
  for (let n: u32 = 0; n < SPACES; n++) {
    const s = spaceAt(cpu, n);
    if (load<u32>(s) != 0 && load<u32>(s, PCID) == pcid) return s;
  }
  return 0;
}

/** A free space, or the one that was put aside longest ago. */
function take(cpu: Cpu): usize {
  let oldest = spaceAt(cpu, 0);
  for (let n: u32 = 0; n < SPACES; n++) {
    const s = spaceAt(cpu, n);
    if (!load<u32>(s)) return s;
    if (<i32>(load<u32>(s, AGE) - load<u32>(oldest, AGE)) < 0) oldest = s;
  }
  return oldest;
}

/** Moves what is not global out of the TLB. The most recent entries are kept, as many as there is room for. */
function putAside(cpu: Cpu, pcid: u32): void {
  const n = cpu.logCount;
  if (n > TLB_LOG_ENTRIES) return flushTlbAll(cpu);
  const s = take(cpu);
  const log = changetype<usize>(cpu) + CPU_TLB_LOG;
  let count: u32 = 0;
  for (let k = n; k > 0 && count < MAX_ENTRIES; k--) {
    const e = <usize>load<u32>(log + (<usize>(k - 1) << 2));
    const tag = load<u64>(e);
    if (tag == ~0) continue; // dropped since, or logged twice
    const to = entryOf(s, count);
    store<u64>(to, tag);
    store<u64>(to, load<u64>(e, 8), 8);
    store<u32>(to, <u32>e, 16);
    count++;
    store<u64>(e, ~0);
  }
  dropLogged(cpu);
  store<u32>(s, 1);
  store<u32>(s, pcid, PCID);
  store<u32>(s, cpu.userGeneration, GENERATION);
  store<u32>(s, count, COUNT);
  store<u32>(s, ++cpu.pcidClock, AGE);
}

// @ts-ignore: decorator
@inline function isWrite(cpu: Cpu, e: usize): bool {
  const at = e - changetype<usize>(cpu);
  return (at >= CPU_TLB_SW && at < CPU_TLB_UR) || (at >= CPU_TLB_UW && at < CPU_TLB_X);
}

/** The entry for reads of the pair that the entry is part of; 0 when it is one for fetches. */
// @ts-ignore: decorator
@inline function readOfPair(cpu: Cpu, e: usize): usize { return isWrite(cpu, e) ? readOf(e) : e - changetype<usize>(cpu) < CPU_TLB_X ? e : 0; }
// @ts-ignore: decorator
@inline function entryOf(s: usize, n: u32): usize { return s + HEADER + <usize>n * ENTRY; }

/** Each pair of entries, for reads and writes, comes back as it was: what others had put into it meanwhile goes. */
function bringBack(cpu: Cpu, s: usize): void {
  const count = load<u32>(s, COUNT);
  const log = changetype<usize>(cpu) + CPU_TLB_LOG;
  for (let k: u32 = 0; k < count; k++) {
    const read = readOfPair(cpu, <usize>load<u32>(entryOf(s, k), 16));
    if (read) dropPair(read);
  }
  for (let k: u32 = 0; k < count; k++) {
    const from = entryOf(s, count - 1 - k);
    const e = <usize>load<u32>(from, 16);
    let tag = load<u64>(from);
    // Code may have been found in the page meanwhile.
    if (isWrite(cpu, e) && (tag & 0xfff) == 0 && load<u64>(pageInfo(<u64>load<u32>(from, 12) << 12), INFO_LINES) != 0) tag |= TAG_CODE;
    store<u64>(e, tag);
    store<u64>(e, load<u64>(from, 8), 8);
    store<u32>(log + (<usize>k << 2), <u32>e);
  }
  cpu.logCount = count;
  // There may have been no room for the entry for reads.
  for (let k: u32 = 0; k < count; k++) {
    const read = readOfPair(cpu, <usize>load<u32>(entryOf(s, k), 16));
    if (read != 0 && load<u64>(read) == ~0) dropPair(read);
  }
  store<u32>(s, 0);
}

/** MOV to CR3 with CR4.PCIDE set. `keep`: the new PCID's translations stay valid (bit 63 of the source). */
export function switchPcid(cpu: Cpu, from: u32, to: u32, keep: bool): void {
  if (from == to) {
    if (!keep) flushTlb(cpu);
    return;
  }
  const local = cpu.localCode;
  putAside(cpu, from);
  const s = find(cpu, to);
  if (s != 0 && keep && local == 0) {
    const generation = load<u32>(s, GENERATION);
    bringBack(cpu, s);
    newUserGeneration(cpu, generation ? generation : freshGeneration(cpu));
  } else {
    if (s) store<u32>(s, 0);
    newUserGeneration(cpu, freshGeneration(cpu));
  }
}

/** INVPCID of a PCID that is not the current one: one of its pages, or all of them. Dropping more is allowed. */
export function dropPcid(cpu: Cpu, pcid: u32): void {
  const s = find(cpu, pcid);
  if (s) store<u32>(s, 0);
}
