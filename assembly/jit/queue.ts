// When what is compiled: a hot block becomes the entry of a region at once, while its address space is the current one; regions wait for others and
// become one module. And when they go: each region is listed at the pages that it was compiled from.
import { Cpu, EFER_LMA, Mode, cpuAt } from "../cpu/state";
import { BLOCK_HASH, BLOCK_HASH_BITS, JIT_REFS, MAX_REFS } from "../layout";
import { jitInstall, jitPhase, jitReset } from "../imports";
import { BLOCK_HASH_NEXT, BLOCK_HEAT, BLOCK_NEXT } from "../interp/block-layout";
import { instructionCount } from "../interp/mode";
import { shared } from "../machine";
import { INFO_FLAGS, INFO_ROM, pageInfo } from "../mmu/physical";
import { newGeneration, readTable, writeTable } from "../mmu/tlb";
import { emitRegion, wrapModule } from "./module";
import { growRegion } from "./region";
import {
  BODIES, ENTRIES, ENTRY_SLOTS, HINTS, HINT_ENDS, MAX_BATCH, MAX_PAGES, MAX_SLOTS, NODE_BLOCK, NODE_DELTA, OUT, PAGE_LINES, PAGE_NUMBER, REGION_LOG,
  REGION_LOG_BYTES, SLOTS, jit,
} from "./state";
import { beginWindows, windowsWithout } from "./windows";

/** How long an emitted region waits for others, in instructions. */
const PATIENCE: u64 = 1_000_000;
const MAX_BODIES: usize = 0x20_0000;
/** The heat of a block whose region waits; it counts down like any other and never gets far. */
const WAITING: i32 = 0x7fff_0000;
const WAITING_LEAST: i32 = 0x7000_0000;

/** Whether a block of that heat is the entry of a region, live or waiting. */
// @ts-ignore: decorator
@inline export function compiled(heat: i32): bool { return heat < 0 || heat > WAITING_LEAST; }

/** A block, at Cpu.rip, has been executed often enough. Tells whether it is compiled by now. */
export function heated(cpu: Cpu, block: usize): bool {
  if (cpu.interpretOnly) {
    store<i32>(block, 1, BLOCK_HEAT);
    return false;
  }
  const j = jit();
  if (j.slots >= j.maxSlots || j.refs + MAX_PAGES > MAX_REFS) forgetRegions();
  j.grown = 0;
  const slot = j.slotBase + j.slots;
  beginWindows(slot);
  if (!compile(cpu, block, cpu.rip, slot)) return false;
  j.slots++;
  store<u32>(slotInfo(slot), <u32>block);
  store<i32>(slotInfo(slot), j.regrowAfter, 4);
  store<i32>(block, WAITING, BLOCK_HEAT);
  if (j.pendingRegions < j.batch && j.at < BODIES + MAX_BODIES) return false;
  install();
  return load<i32>(block, BLOCK_HEAT) < 0;
}

// @ts-ignore: decorator
@inline export function slotInfo(slot: u32): usize { return SLOTS + (<usize>(slot - jit().slotBase) << 3); }

/** The region in `slot`, entered at `rip`, is left too often for other compiled code, which it takes in now. */
export function regrow(cpu: Cpu, slot: u32, rip: u64): void {
  const j = jit();
  const block = <usize>load<u32>(slotInfo(slot));
  if (load<i32>(block, BLOCK_HEAT) != -<i32>slot || j.refs + MAX_PAGES > MAX_REFS) return;
  if (j.lastOut) store<u64>(j.lastOut, cpu.rip, BLOCK_NEXT);
  j.grown = windowsWithout(slot) ? 0 : 1;
  if (!compile(cpu, block, rip, slot)) return;
  j.regrown++;
  if (j.pendingRegions >= j.batch || j.at >= BODIES + MAX_BODIES) install();
}

/** Emits the region that begins with `block` at `rip`; it will be in `slot`. */
function compile(cpu: Cpu, block: usize, rip: u64, slot: u32): bool {
  const j = jit();
  if (!j.pendingRegions) {
    j.at = BODIES;
    j.hintAt = HINTS;
    j.pendingAt = instructionCount(cpu);
  }
  jitPhase(1);
  j.cpu = changetype<usize>(cpu);
  j.without = windowsWithout(slot);
  growRegion(cpu, block, rip);
  const user = (j.mode & Mode.USER) != 0;
  j.tableRead = readTable(cpu, user);
  j.tableWrite = writeTable(cpu, user);
  j.wide = j.code64 | u32((cpu.efer & EFER_LMA) != 0);
  const emitted = emitRegion();
  jitPhase(0);
  if (!emitted) {
    j.abandoned++;
    return false;
  }
  j.compiledInsns += j.insns;
  for (let k: u32 = 0; k < j.pages; k++) {
    if (load<u64>(PAGE_LINES + (k << 3))) addRef(load<u32>(PAGE_NUMBER + (k << 2)), block, load<u64>(PAGE_LINES + (k << 3)));
  }
  const n = j.pendingRegions << 2;
  store<u32>(ENTRIES + n, <u32>block);
  store<u32>(ENTRY_SLOTS + n, slot);
  store<u32>(HINT_ENDS + n, <u32>j.hintAt);
  const log = REGION_LOG + <usize>j.pendingRegions * REGION_LOG_BYTES;
  store<u32>(log, j.nodes);
  for (let k: usize = 0; k < j.nodes; k++) {
    store<u32>(log + (k << 3), load<u32>(NODE_BLOCK + (k << 2)), 4);
    store<u32>(log + (k << 3), load<u32>(NODE_DELTA + (k << 2)), 8);
  }
  j.pendingRegions++;
  return true;
}

/** Makes the waiting regions live when they have waited long enough. */
export function compileDue(cpu: Cpu): void {
  const j = jit();
  if (j.pendingRegions && instructionCount(cpu) - j.pendingAt > PATIENCE) install();
}

function install(): void {
  const j = jit();
  const count = j.pendingRegions;
  j.pendingRegions = 0;
  jitPhase(1);
  const length = wrapModule(count);
  jitPhase(0);
  jitInstall(OUT, length, ENTRY_SLOTS, count);
  for (let k: u32 = 0; k < count; k++) {
    const slot = load<u32>(ENTRY_SLOTS + (k << 2));
    if (slot) store<i32>(<usize>load<u32>(ENTRIES + (k << 2)), -<i32>slot, BLOCK_HEAT);
  }
  j.regions += count;
  j.modules++;
  j.moduleBytes += length;
}

/** A waiting region is not to be made live. */
function withdraw(block: usize): void {
  for (let k: u32 = 0; k < jit().pendingRegions; k++) if (<usize>load<u32>(ENTRIES + (k << 2)) == block) store<u32>(ENTRY_SLOTS + (k << 2), 0);
}

// ---- which regions a page's code is part of ----

// A reference: u32 next (1 + index), u32 entry block, u64 lines, u32 page. The flags of a page hold the first one, shifted left by one.
const REF_BYTES: usize = 24;
// @ts-ignore: decorator
@inline function refAt(n: u32): usize { return JIT_REFS + <usize>(n - 1) * REF_BYTES; }

function addRef(page: u32, block: usize, lines: u64): void {
  const j = jit();
  let n = j.freeRef;
  if (n) j.freeRef = load<u32>(refAt(n));
  else n = ++j.refs;
  const info = pageInfo(<u64>page << 12);
  const flags = load<u32>(info, INFO_FLAGS);
  const ref = refAt(n);
  store<u32>(ref, flags >> 1);
  store<u32>(ref, <u32>block, 4);
  store<u64>(ref, lines, 8);
  store<u32>(ref, page, 16);
  store<u32>(info, (flags & INFO_ROM) | (n << 1), INFO_FLAGS);
}

/** Somebody writes those lines of the page: regions compiled from them go. Tells whether there were any. */
export function dropRegionsAt(info: usize, lines: u64): bool {
  const j = jit();
  let before: u32 = 0;
  let n = load<u32>(info, INFO_FLAGS) >> 1;
  let any = false;
  while (n) {
    const ref = refAt(n);
    const next = load<u32>(ref);
    if (load<u64>(ref, 8) & lines) {
      const block = <usize>load<u32>(ref, 4);
      const heat = load<i32>(block, BLOCK_HEAT);
      if (compiled(heat)) {
        withdraw(block);
        store<i32>(block, <i32>j.threshold, BLOCK_HEAT);
        j.dropped++;
        any = true;
      }
      if (before) store<u32>(refAt(before), next);
      else store<u32>(info, (load<u32>(info, INFO_FLAGS) & INFO_ROM) | (next << 1), INFO_FLAGS);
      store<u32>(ref, j.freeRef);
      store<u32>(ref, ~0, 16);
      j.freeRef = n;
    } else before = n;
    n = next;
  }
  return any;
}

function clearRefs(): void {
  const j = jit();
  for (let n: u32 = 1; n <= j.refs; n++) {
    const page = load<u32>(refAt(n), 16);
    if (page == ~0) continue;
    const info = pageInfo(<u64>page << 12);
    store<u32>(info, load<u32>(info, INFO_FLAGS) & INFO_ROM, INFO_FLAGS);
  }
  j.refs = 0;
  j.freeRef = 0;
}

/** Takes all regions back; their blocks count from the start. */
export function forgetRegions(): void {
  const j = jit();
  for (let slot = BLOCK_HASH; slot < BLOCK_HASH + (<usize>4 << BLOCK_HASH_BITS); slot += 4) {
    for (let block = <usize>load<u32>(slot); block; block = <usize>load<u32>(block, BLOCK_HASH_NEXT)) {
      if (compiled(load<i32>(block, BLOCK_HEAT))) store<i32>(block, <i32>j.threshold, BLOCK_HEAT);
    }
  }
  releaseSlots();
}

/** The cache of blocks is emptied. */
export function releaseSlots(): void {
  const j = jit();
  j.pendingRegions = 0;
  j.guards = 0;
  clearRefs();
  if (!j.slots) return;
  for (let c: u32 = 0; c < shared().cpus; c++) newGeneration(cpuAt(c));
  jitReset(j.slotBase, j.slots);
  j.slots = 0;
  j.resets++;
}

/** Switches the compiler on: hot blocks after `threshold` executions, `batch` regions in a module, table slots from `slotBase` on. */
export function enable(threshold: u32, batch: u32, maxSlots: u32, slotBase: u32, maxInsns: u32, regrowAfter: i32): void {
  const j = jit();
  j.threshold = threshold;
  j.batch = min(max(batch, 1), MAX_BATCH);
  j.maxSlots = min(maxSlots, MAX_SLOTS);
  j.slotBase = slotBase;
  j.maxInsns = maxInsns;
  j.regrowAfter = regrowAfter;
}
