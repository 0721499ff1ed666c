// When what is compiled: hot blocks queue up and become regions in batches.
import { Cpu, EFER_LMA, cpuAt } from "../cpu/state";
import { BLOCK_HASH, BLOCK_HASH_BITS } from "../layout";
import { jitInstall, jitPhase, jitReset } from "../imports";
import { BLOCK_HASH_NEXT, BLOCK_HEAT, BLOCK_LENGTH, BLOCK_REGION_LINES, BLOCK_VALID } from "../interp/block-layout";
import { lines } from "../interp/blocks";
import { instructionCount } from "../interp/mode";
import { shared } from "../machine";
import { newGeneration } from "../mmu/tlb";
import { emitRegion, wrapModule } from "./module";
import { growRegion } from "./region";
import { BODIES, HINTS, HINT_ENDS, MAX_BATCH, NODE_BLOCK, NODE_OFF, OUT, QUEUE, SIZES, jit } from "./state";

/** How long a hot block waits for others, in instructions. */
const PATIENCE: u64 = 300_000;
const MAX_BODIES: usize = 0x30_0000;

/** A block has been executed often enough. Tells whether it is compiled by now. */
export function heated(cpu: Cpu, block: usize): bool {
  const j = jit();
  if (!j.queued) j.queuedAt = instructionCount(cpu);
  store<u32>(QUEUE + (j.queued << 2), <u32>block);
  j.queued++;
  if (j.queued < j.batch) return false;
  compileQueue(cpu);
  return load<i32>(block, BLOCK_HEAT) < 0;
}

/** Compiles the queue when it has waited long enough. */
export function compileDue(cpu: Cpu): void {
  const j = jit();
  if (j.queued && instructionCount(cpu) - j.queuedAt > PATIENCE) compileQueue(cpu);
}

export function compileQueue(cpu: Cpu): void {
  const j = jit();
  const queued = j.queued;
  j.queued = 0;
  jitPhase(1);
  if (j.slots + queued > j.maxSlots) forgetRegions();
  j.at = BODIES;
  j.hintAt = HINTS;
  let count: u32 = 0;
  for (let k: u32 = 0; k < queued; k++) {
    const block = <usize>load<u32>(QUEUE + (k << 2));
    if (!load<u16>(block, BLOCK_VALID) || j.at > BODIES + MAX_BODIES) continue;
    growRegion(block);
    j.wide = j.code64 | u32((cpu.efer & EFER_LMA) != 0);
    emitRegion();
    j.compiledInsns += j.insns;
    let mask: u64 = 0;
    for (let n: u32 = 0; n < j.nodes; n++) mask |= lines(load<u32>(NODE_OFF + (n << 2)), load<u16>(<usize>load<u32>(NODE_BLOCK + (n << 2)), BLOCK_LENGTH));
    store<u64>(block, mask, BLOCK_REGION_LINES);
    store<u32>(SIZES + (count << 2), <u32>block);
    store<u32>(HINT_ENDS + (count << 2), <u32>j.hintAt);
    count++;
  }
  if (!count) {
    jitPhase(0);
    return;
  }
  const length = wrapModule(count);
  const first = j.slotBase + j.slots;
  jitPhase(0);
  jitInstall(OUT, length, first, count);
  for (let k: u32 = 0; k < count; k++) store<i32>(<usize>load<u32>(SIZES + (k << 2)), -<i32>(first + k), BLOCK_HEAT);
  j.slots += count;
  j.regions += count;
  j.modules++;
  j.moduleBytes += length;
}

/** A region lost one of its blocks. */
export function dropRegion(block: usize): void {
  jit().dropped++;
  store<i32>(block, <i32>jit().threshold, BLOCK_HEAT);
}

/** Takes all regions back; their blocks count from the start. */
export function forgetRegions(): void {
  const j = jit();
  for (let slot = BLOCK_HASH; slot < BLOCK_HASH + (<usize>4 << BLOCK_HASH_BITS); slot += 4) {
    for (let block = <usize>load<u32>(slot); block; block = <usize>load<u32>(block, BLOCK_HASH_NEXT)) {
      if (load<i32>(block, BLOCK_HEAT) < 0) store<i32>(block, <i32>j.threshold, BLOCK_HEAT);
    }
  }
  for (let k: u32 = 0; k < j.queued; k++) store<i32>(<usize>load<u32>(QUEUE + (k << 2)), <i32>j.threshold, BLOCK_HEAT);
  releaseSlots();
}

/** The cache of blocks is emptied. */
export function releaseSlots(): void {
  const j = jit();
  j.queued = 0;
  if (!j.slots) return;
  for (let c: u32 = 0; c < shared().cpus; c++) newGeneration(cpuAt(c));
  jitReset(j.slotBase, j.slots);
  j.slots = 0;
  j.resets++;
}

/** Switches the compiler on: hot blocks after `threshold` executions, `batch` regions in a module, table slots from `slotBase` on. */
export function enable(threshold: u32, batch: u32, maxSlots: u32, slotBase: u32): void {
  const j = jit();
  j.threshold = threshold;
  j.batch = min(max(batch, 1), MAX_BATCH);
  j.maxSlots = maxSlots;
  j.slotBase = slotBase;
}
