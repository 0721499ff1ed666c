// Control flow of a region: labels, edges between its blocks, exits.
import { Cpu } from "../cpu/state";
import { Insn } from "../decode/insn";
import { BLOCK_COUNT } from "../interp/block-layout";
import { JIT_GUARDS, MAX_GUARDS } from "../layout";
import { flagsAreInMemory, flagsToLocals, packFlags, spillFlags, unpackFlags } from "./flags";
import { emitTree, noteBlock } from "./module";
import { Fn, L, pushRip, pushRipAt, record } from "./operands";
import { flushXmm, settleXmm } from "./sse-reg";
import { fallOf, placeOf, takenOf } from "./region";
import {
  Fl, Jit, LABELS, Left, MAX_POINTS, NODE_DELTA, NODE_FALL, NODE_FLAGS_IN, NODE_HEADER, NODE_PAGE, NODE_PAGE2, NODE_TAKEN, NODE_WAYS, NO_NODE,
  PAGE_DELTA, PAGE_NUMBER, POINTS, jit,
} from "./state";
import { meetValues, restoreValues, saveValues } from "./windows";
import { W, call, get, hintedIf, i32c, mem, op, set, uleb } from "./wasm";

/** Kinds of labels. */
export const FORWARD: u32 = 0;
export const BACK: u32 = 1;
export const PLAIN: u32 = 2; // nobody branches to it
export const EXIT: u32 = 3; // the record has the flags
export const EXIT_FLAGS: u32 = 4; // they are in locals

/** Opens `count` labels; only of plain ones there may be several. */
export function pushLabel(kind: u32, node: u32, count: u32 = 1): void {
  const j = jit();
  for (; count; count--) {
    store<u16>(LABELS + (j.labels << 1), (kind << 8) | node);
    j.labels++;
  }
}
// @ts-ignore: decorator
@inline export function popLabel(count: u32 = 1): void { jit().labels -= count; }

function branchTo(kind: u32, node: u32): void {
  const n = jit().labels;
  for (let k: u32 = 0; k < n; k++) {
    if (load<u16>(LABELS + ((n - 1 - k) << 1)) != ((kind << 8) | node)) continue;
    op(W.BR);
    uleb(k);
    return;
  }
  jit().failed = 1;
}

// ---- points: what is known at a place of the code, for the other arm of a branch ----

const POINT: usize = offsetof<Jit>("pending");
const POINT_BYTES: usize = 96;

export function savePoint(): void {
  const j = jit();
  if (j.points == MAX_POINTS) {
    j.failed = 1;
    return;
  }
  memory.copy(POINTS + <usize>j.points * POINT_BYTES, changetype<usize>(j) + POINT, POINT_BYTES);
  saveValues(j.points);
  j.points++;
}
export function restorePoint(): void {
  const j = jit();
  if (!j.points) return;
  j.points--;
  restoreValues(j.points);
  memory.copy(changetype<usize>(j) + POINT, POINTS + <usize>j.points * POINT_BYTES, POINT_BYTES);
}

// ---- exits ----

function settleLeft(n: i32): void {
  if (!n) return;
  get(L.LEFT);
  i32c(n);
  op(W.I32_SUB);
  set(L.LEFT);
}
// @ts-ignore: decorator
@inline function blockCount(): i32 { return <i32>load<u16>(jit().block, BLOCK_COUNT); }

/** Ends the way: NEXT and LEFT are right. */
function leave(): void {
  flushXmm();
  if (flagsAreInMemory()) branchTo(EXIT, 0);
  else {
    flagsToLocals();
    branchTo(EXIT_FLAGS, 0);
  }
}

/** Leaves the region behind the block, for the address `delta` bytes behind its start. */
export function exitTo(delta: i32): void {
  savePoint();
  pushRip(delta);
  set(L.NEXT);
  settleLeft(jit().pending + blockCount());
  leave();
  restorePoint();
}
/** Leaves the region behind the block, for the address in X64. */
export function exitDynamic(): void {
  savePoint();
  i32c(<i32>changetype<usize>(jit()));
  i32c(<i32>jit().block);
  mem(W.I32_STORE, <u32>offsetof<Jit>("lastOut"));
  get(L.X64);
  set(L.NEXT);
  settleLeft(jit().pending + blockCount());
  leave();
  restorePoint();
}

/** Leaves the region `delta` bytes and `done` instructions behind the block's start; the interpreter executes what is there. */
function bailAt(delta: i32, done: i32, reason: u32): void {
  savePoint();
  pushRip(delta);
  set(L.NEXT);
  settleLeft(jit().pending + done);
  record();
  i32c(reason + 1);
  mem(W.I32_STORE, <u32>offsetof<Cpu>("bail"));
  leave();
  restorePoint();
}
/** Leaves the region before the current instruction, which the interpreter executes. Code behind it is not reached. */
export function bail(reason: u32): void {
  const i = changetype<Insn>(jit().ip);
  bailAt(<i32>i.off - <i32>i.len, i.idx, reason);
}
/** Leaves the region when the budget may end before it is looked at again. */
export function checkBudget(most: u32): void {
  get(L.LEFT);
  i32c(most);
  op(W.I32_LT_S);
  hintedIf(W.VOID, false);
  pushLabel(PLAIN, 0);
  bailAt(0, 0, Left.BUDGET);
  popLabel();
  op(W.END);
}

// ---- edges ----

/** The region's pages that the node's bytes are in, as a mask. */
export function pageBits(node: u32): u32 {
  const second = <u32>load<u8>(NODE_PAGE2 + node);
  return (<u32>1 << load<u8>(NODE_PAGE + node)) | (second == NO_NODE ? 0 : <u32>1 << second);
}
/**
 * Leaves the region for `delta` when the page is not where it was when the region was compiled. A word remembers the key of the jump cache under which it was found
 * there: as long as that key holds, so does everything that it was found for.
 */
function guardPage(page: u32, delta: i32): void {
  const j = jit();
  const word = <i32>JIT_GUARDS + <i32>(j.guards << 2);
  const remembers = j.guards < MAX_GUARDS - 1; // the last word is nobody's, and stays 0, which is no key
  if (j.pass && remembers) {
    store<u32>(<usize>word, 0);
    j.guards++;
  }
  i32c(0);
  mem(W.I32_LOAD, word);
  record();
  mem(W.I32_LOAD, <u32>offsetof<Cpu>("jumpKey"));
  op(W.I32_NE);
  hintedIf(W.VOID, false);
  record();
  pushRipAt((load<i32>(PAGE_DELTA + (page << 2)) << 12) - <i32>j.entryOff);
  i32c(load<u32>(PAGE_NUMBER + (page << 2)));
  call(Fn.MAPPED);
  op(W.I32_EQZ);
  hintedIf(W.VOID, false);
  pushLabel(PLAIN, 0, 2);
  exitTo(delta);
  popLabel(2);
  op(W.END);
  if (remembers) {
    i32c(0);
    record();
    mem(W.I32_LOAD, <u32>offsetof<Cpu>("jumpKey"));
    mem(W.I32_STORE, word);
  }
  op(W.END);
}
/** Leaves the region for `delta` when the node's pages are not where they were. */
function guardPages(node: u32, delta: i32): void {
  const j = jit();
  for (let missing = pageBits(node) & ~j.verified; missing; missing &= missing - 1) {
    guardPage(ctz(missing), delta);
  }
  j.verified |= pageBits(node);
}

/** Crosses an edge of the current block to `node`, which is `delta` bytes behind the block's start. Ends the way. */
function cross(node: u32, delta: i32): void {
  const j = jit();
  savePoint();
  guardPages(node, delta);
  const back = placeOf(node) <= placeOf(j.node);
  if (back || <u32>load<u8>(NODE_WAYS + node) > 1 || load<u8>(NODE_HEADER + node)) {
    settleXmm();
    const want = load<u32>(NODE_FLAGS_IN + (node << 2));
    if (packFlags() != want) {
      if (want == Fl.MEM) spillFlags();
      else {
        flagsToLocals();
        if (want != Fl.DYN) j.failed = 1;
      }
    }
    settleLeft(j.pending + blockCount());
    j.pending = 0;
  } else j.pending += blockCount();
  if (back) branchTo(BACK, node);
  else if (<u32>load<u8>(NODE_WAYS + node) > 1) {
    meetValues(node);
    branchTo(FORWARD, node);
  }
  else {
    const block = j.block, delta = j.delta, from = j.node, ip = j.ip;
    emitTree(node);
    j.block = block;
    j.delta = delta;
    j.node = from;
    j.ip = ip;
  }
  restorePoint();
}

/** To the end of the block by one edge. */
export function goTo(taken: bool): void {
  const j = jit();
  noteBlock();
  const node = <u32>load<u8>((taken ? NODE_TAKEN : NODE_FALL) + j.node);
  const delta = taken ? takenOf(j.block) : fallOf(j.block);
  if (node == NO_NODE) exitTo(delta);
  else cross(node, delta);
}

/** Both edges, by the condition on the stack. */
export function branch(): void {
  const j = jit();
  noteBlock();
  const node = <u32>load<u8>(NODE_TAKEN + j.node);
  if (node == NO_NODE) hintedIf(W.VOID, false);
  else {
    op(W.IF);
    op(W.VOID);
  }
  pushLabel(PLAIN, 0);
  goTo(true);
  popLabel();
  op(W.END);
  goTo(false);
}

/** By the address in X64: to the node that is expected there, else out. */
export function goToDynamic(): void {
  const j = jit();
  noteBlock();
  const node = <u32>load<u8>(NODE_TAKEN + j.node);
  if (node == NO_NODE) {
    exitDynamic();
    return;
  }
  const delta = nodeDelta(node);
  get(L.X64);
  pushRipAt(delta);
  op(W.I64_NE);
  hintedIf(W.VOID, false);
  pushLabel(PLAIN, 0);
  exitDynamic();
  popLabel();
  op(W.END);
  cross(node, delta - j.delta);
}
// @ts-ignore: decorator
@inline function nodeDelta(node: u32): i32 { return load<i32>(NODE_DELTA + (node << 2)); }
