// Control flow of a region: labels, edges between its blocks, exits.
import { Cpu } from "../cpu/state";
import { flagsToLocals, spillFlags } from "./flags";
import { L, pushRip, spill } from "./operands";
import { fallOf, takenOf } from "./region";
import { LABELS, NODE_FALL, NODE_OFF, NODE_TAKEN, NO_NODE, ORDER, jit } from "./state";
import { W, get, mem, op, set, uleb } from "./wasm";

const LEFT: u32 = <u32>offsetof<Cpu>("left");
const RIP: u32 = <u32>offsetof<Cpu>("rip");

/** Kinds of labels. */
export const FORWARD: u32 = 0;
export const BACK: u32 = 1;
export const PLAIN: u32 = 2;

export function pushLabel(kind: u32, node: u32): void {
  const j = jit();
  store<u16>(LABELS + (j.labels << 1), (kind << 8) | node);
  j.labels++;
}
// @ts-ignore: decorator
@inline export function popLabel(): void { jit().labels--; }
export function topLabel(): u32 { return jit().labels ? load<u16>(LABELS + ((jit().labels - 1) << 1)) : 0xffff; }

/** Branch depth of the label that leads to a node, -1 when no open label does. */
function depthOf(node: u32): i32 {
  const n = jit().labels;
  for (let k: u32 = 0; k < n; k++) {
    const label = <u32>load<u16>(LABELS + ((n - 1 - k) << 1));
    if (label == ((FORWARD << 8) | node) || label == ((BACK << 8) | node)) return <i32>k;
  }
  return -1;
}

// @ts-ignore: decorator
@inline function current(): u32 { return load<u8>(ORDER + jit().position); }

/** Whether the node is the next one in order, so that falling out of this block reaches it. */
function isNext(node: u32): bool {
  const j = jit();
  return j.position + 1 < j.nodes && <u32>load<u8>(ORDER + j.position + 1) == node;
}

/** The edge as a node that can be reached from here, or NO_NODE. */
function edge(taken: bool): u32 {
  const node = <u32>load<u8>((taken ? NODE_TAKEN : NODE_FALL) + current());
  return node == NO_NODE || (depthOf(node) < 0 && !isNext(node)) ? NO_NODE : node;
}

function leave(): void {
  get(L.CPU);
  get(L.LEFT);
  mem(W.I32_STORE, LEFT);
  op(W.RETURN);
}

/** Leaves the region for the address `delta` bytes behind the block's start. */
export function exitTo(delta: i32): void {
  spill();
  get(L.CPU);
  pushRip(delta);
  mem(W.I64_STORE, RIP);
  leave();
}
/** Leaves the region for the address in X64. */
export function exitDynamic(): void {
  spill();
  get(L.CPU);
  get(L.X64);
  mem(W.I64_STORE, RIP);
  leave();
}

/** To the end of the block by one edge. */
export function goTo(taken: bool): void {
  const j = jit();
  const node = edge(taken);
  if (node == NO_NODE) {
    exitTo(taken ? takenOf(j.block) : fallOf(j.block));
    return;
  }
  flagsToLocals();
  const depth = depthOf(node);
  if (depth < 0 || isNext(node)) return; // falls through
  op(W.BR);
  uleb(depth);
}

/** Both edges, by the condition on the stack. */
export function branch(): void {
  const j = jit();
  const node = edge(true);
  if (node == NO_NODE) {
    op(W.IF);
    op(W.VOID);
    exitTo(takenOf(j.block));
    op(W.END);
    goTo(false);
    return;
  }
  flagsToLocals();
  const depth = depthOf(node);
  if (depth >= 0) {
    op(W.BR_IF);
    uleb(depth);
    goTo(false);
  } else {
    // taken to the next block: the other edge is the one that jumps
    op(W.I32_EQZ);
    op(W.IF);
    op(W.VOID);
    pushLabel(PLAIN, 0);
    goTo(false);
    popLabel();
    op(W.END);
  }
}
