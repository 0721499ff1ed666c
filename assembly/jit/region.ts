// What a region consists of: warm blocks that are reached from its entry by known edges, across pages and through calls. A function that is called
// is taken in once a call, so that its return leads to one place; every such copy is a context. Then dominators, loops and an order.
import { Cpu, Mode } from "../cpu/state";
import { Hot } from "../generated/hot";
import { FUSED_TARGET, INSN_BYTES, Insn } from "../decode/insn";
import { BLOCK_COUNT, BLOCK_HEADER, BLOCK_HEAT, BLOCK_LENGTH, BLOCK_MODE, BLOCK_NEXT, BLOCK_PHYS, BLOCK_PHYS2, BLOCK_RECORDS } from "../interp/block-layout";
import { knownBlock, lines } from "../interp/blocks";
import { mappedFetch } from "../mmu/access";
import { goesOn } from "./int-ops";
import { compiled } from "./queue";
import {
  CONTEXT_CALLEE, CONTEXT_DEPTH, CONTEXT_PARENT, CONTEXT_RETURN, MAX_CONTEXTS, MAX_NODES, MAX_PAGES, NODE_BLOCK, NODE_CONTEXT, NODE_DELTA,
  NODE_FALL, NODE_HEADER, NODE_IDOM, NODE_LOOP, NODE_PAGE, NODE_PAGE2, NODE_PATH, NODE_PLACE, NODE_TAKEN, NODE_WAYS, NO_NODE, ORDER, PAGE_DELTA, PAGE_LINES,
  PAGE_NUMBER, STACK, jit,
} from "./state";

export const NONE: i32 = i32.MIN_VALUE;
/** Calls within each other. */
const MAX_DEPTH: u32 = 6;
const NEAR: i64 = 0x4000_0000;
/** Instructions of a loop that gets page slots. */
const SMALL_LOOP: u32 = 24;

// @ts-ignore: decorator
@inline export function lastRecord(block: usize): Insn {
  return changetype<Insn>(block + BLOCK_HEADER + (<usize>load<u16>(block, BLOCK_RECORDS) - 1) * INSN_BYTES);
}
/** Whether the hot operation compares and branches. */
// @ts-ignore: decorator
@inline export function isFused(op: u32): bool { return op >= Hot.CMPJ && op < Hot.MOVS; }
// @ts-ignore: decorator
@inline function isCall(op: u32): bool { return op >= Hot.CALL && op < Hot.CALL + 2; }
// @ts-ignore: decorator
@inline function isReturn(op: u32): bool { return op >= Hot.RET && op < Hot.RET + 2; }
// @ts-ignore: decorator
@inline function isDynamicCall(op: u32): bool { return (op >= Hot.CALL_R && op < Hot.CALL_R + 2) || (op >= Hot.CALL_M && op < Hot.CALL_M + 2); }
// @ts-ignore: decorator
@inline function isDynamicJump(op: u32): bool { return (op >= Hot.JMP_R && op < Hot.JMP_R + 2) || (op >= Hot.JMP_M && op < Hot.JMP_M + 2); }

/** Where the block's branch leads when it is taken, from the block's start. */
export function takenOf(block: usize): i32 {
  const i = lastRecord(block);
  const op = <u32>i.op;
  if (op == Hot.JMP || (op >= Hot.JCC && op < Hot.JCC + 16) || isCall(op)) return <i32>i.off + i.disp;
  if (isFused(op)) return <i32>i.off + load<i32>(changetype<usize>(i) + FUSED_TARGET);
  return NONE;
}
/** Where it goes on otherwise. */
export function fallOf(block: usize): i32 {
  const i = lastRecord(block);
  const op = <u32>i.op;
  if ((op >= Hot.JCC && op < Hot.JCC + 16) || isFused(op)) return <i32>i.off;
  if (op >= 0x2000 && op < 0x3000 && !goesOn(op)) return NONE;
  if (op >= Hot.JMP && op < Hot.PUSH_R) return NONE;
  return <i32>i.off;
}

function nodeAt(delta: i32, context: u32): u32 {
  const n = jit().nodes;
  for (let k: u32 = 0; k < n; k++) {
    if (load<i32>(NODE_DELTA + (k << 2)) == delta && <u32>load<u8>(NODE_CONTEXT + k) == context) return k;
  }
  return NO_NODE;
}

/** The region's page at a distance in pages from the entry's; NO_NODE when it is not mapped or there are too many. */
function pageAt(cpu: Cpu, delta: i32): u32 {
  const j = jit();
  for (let k: u32 = 0; k < j.pages; k++) if (load<i32>(PAGE_DELTA + (k << 2)) == delta) return k;
  if (j.pages == MAX_PAGES) return NO_NODE;
  let lin = (j.entryLin & ~0xfff) + <u64>(<i64>delta << 12);
  if (!j.code64) lin &= 0xffff_ffff;
  const phys = mappedFetch(cpu, lin);
  if (phys == ~0) return NO_NODE;
  return addPage(delta, phys);
}
function addPage(delta: i32, phys: u64): u32 {
  const k = jit().pages++;
  store<i32>(PAGE_DELTA + (k << 2), delta);
  store<u32>(PAGE_NUMBER + (k << 2), <u32>(phys >> 12));
  store<u64>(PAGE_LINES + (k << 3), 0);
  return k;
}
// @ts-ignore: decorator
@inline export function pageOf(delta: i32): i32 { return (delta + <i32>jit().entryOff) >> 12; }

/** The node `step` bytes behind the start of node `from`; a new one when a warm block is known there. */
function reach(cpu: Cpu, from: u32, step: i32, context: u32): u32 {
  if (step == NONE) return NO_NODE;
  return reachDelta(cpu, <i64>load<i32>(NODE_DELTA + (from << 2)) + <i64>step, context);
}
function reachDelta(cpu: Cpu, far: i64, context: u32): u32 {
  const j = jit();
  if (far > NEAR || far < -NEAR) return NO_NODE;
  const delta = <i32>far;
  const known = nodeAt(delta, context);
  if (known != NO_NODE || j.nodes == MAX_NODES) return known;
  const page = pageAt(cpu, pageOf(delta));
  if (page == NO_NODE) return NO_NODE;
  const phys = (<u64>load<u32>(PAGE_NUMBER + (page << 2)) << 12) | <u64>((delta + <i32>j.entryOff) & 0xfff);
  const block = knownBlock(phys, j.mode);
  if (!block) return NO_NODE;
  const heat = load<i32>(block, BLOCK_HEAT);
  if (heat > 0 && !compiled(heat) && <u32>heat > j.threshold - (j.threshold >> 4)) return NO_NODE;
  if (j.insns + <u32>load<u16>(block, BLOCK_COUNT) > (j.grown ? j.maxInsns << 2 : j.maxInsns)) return NO_NODE;
  let page2 = NO_NODE;
  if (load<u64>(block, BLOCK_PHYS2) != ~0) {
    page2 = pageAt(cpu, pageOf(delta) + 1);
    if (page2 == NO_NODE || load<u64>(block, BLOCK_PHYS2) >> 12 != <u64>load<u32>(PAGE_NUMBER + (page2 << 2))) return NO_NODE;
  }
  return addNode(block, delta, context, page, page2);
}

function addNode(block: usize, delta: i32, context: u32, page: u32, page2: u32): u32 {
  const j = jit();
  const n = j.nodes++;
  store<u32>(NODE_BLOCK + (n << 2), <u32>block);
  store<i32>(NODE_DELTA + (n << 2), delta);
  store<u8>(NODE_CONTEXT + n, context);
  store<u8>(NODE_PAGE + n, page);
  store<u8>(NODE_PAGE2 + n, page2);
  j.insns += load<u16>(block, BLOCK_COUNT);
  const first = <u32>load<u64>(block, BLOCK_PHYS) & 0xfff, length = <u32>load<u16>(block, BLOCK_LENGTH);
  const here = page2 == NO_NODE ? length : 0x1000 - first;
  store<u64>(PAGE_LINES + (page << 3), load<u64>(PAGE_LINES + (page << 3)) | lines(first, here));
  if (page2 != NO_NODE) store<u64>(PAGE_LINES + (page2 << 3), load<u64>(PAGE_LINES + (page2 << 3)) | lines(0, length - here));
  return n;
}

/** The context of a call from `from` to the function at `callee`, or NO_NODE when calls are nested too deep. */
function enter(from: u32, callee: i64): u32 {
  const j = jit();
  const parent = <u32>load<u8>(NODE_CONTEXT + from);
  const depth = <u32>load<u8>(CONTEXT_DEPTH + parent) + 1;
  if (depth > MAX_DEPTH || j.contexts == MAX_CONTEXTS || callee > NEAR || callee < -NEAR) return NO_NODE;
  // recursion: one level, then two
  let again: u32 = callee == 0 ? 1 : 0;
  for (let c = parent; c; c = <u32>load<u8>(CONTEXT_PARENT + c)) if (load<i32>(CONTEXT_CALLEE + (c << 2)) == <i32>callee) again++;
  if (again > 1 + j.grown) return NO_NODE;
  const c = j.contexts;
  const i = lastRecord(<usize>load<u32>(NODE_BLOCK + (from << 2)));
  store<u8>(CONTEXT_PARENT + c, parent);
  store<u8>(CONTEXT_DEPTH + c, depth);
  store<i32>(CONTEXT_RETURN + (c << 2), load<i32>(NODE_DELTA + (from << 2)) + <i32>i.off);
  store<i32>(CONTEXT_CALLEE + (c << 2), <i32>callee);
  return c;
}

/** Distance from the entry of where the block's dynamic branch went last. */
function lastTarget(block: usize): i64 {
  const to = load<u64>(block, BLOCK_NEXT);
  return to ? <i64>(to - jit().entryLin) : i64.MAX_VALUE;
}

/** Follows the edges of node `n`. */
function follow(cpu: Cpu, n: u32): void {
  const j = jit();
  const block = <usize>load<u32>(NODE_BLOCK + (n << 2));
  const context = <u32>load<u8>(NODE_CONTEXT + n);
  const op = <u32>lastRecord(block).op;
  let taken = NO_NODE, fall = NO_NODE;
  if (isCall(op) || isDynamicCall(op)) {
    const callee = isCall(op) ? <i64>load<i32>(NODE_DELTA + (n << 2)) + <i64>takenOf(block) : lastTarget(block);
    const inner = enter(n, callee);
    if (inner != NO_NODE) {
      taken = reachDelta(cpu, callee, inner);
      if (taken != NO_NODE && <u32>load<u8>(NODE_CONTEXT + taken) == inner) j.contexts = inner + 1;
    }
  } else if (isReturn(op)) {
    if (context) taken = reachDelta(cpu, <i64>load<i32>(CONTEXT_RETURN + (context << 2)), <u32>load<u8>(CONTEXT_PARENT + context));
    else if (j.grown) taken = reachDelta(cpu, lastTarget(block), 0);
  } else if (isDynamicJump(op)) taken = reachDelta(cpu, lastTarget(block), context);
  else {
    taken = reach(cpu, n, takenOf(block), context);
    fall = reach(cpu, n, fallOf(block), context);
  }
  store<u8>(NODE_TAKEN + n, taken);
  store<u8>(NODE_FALL + n, fall);
}

/** Collects the nodes and edges of the region that begins with `entry` at `rip`, breadth first, and puts them in order. */
export function growRegion(cpu: Cpu, entry: usize, rip: u64): void {
  const j = jit();
  j.nodes = 0;
  j.pages = 0;
  j.contexts = 1;
  j.insns = 0;
  j.mode = load<u32>(entry, BLOCK_MODE);
  j.code64 = (j.mode & Mode.SIZE) == Mode.CODE64 ? 1 : 0;
  const phys = load<u64>(entry, BLOCK_PHYS);
  j.entryLin = rip;
  j.entryOff = <u32>phys & 0xfff;
  store<u8>(CONTEXT_PARENT, 0);
  store<u8>(CONTEXT_DEPTH, 0);
  addPage(0, phys);
  const phys2 = load<u64>(entry, BLOCK_PHYS2);
  addNode(entry, 0, 0, 0, phys2 == ~0 ? NO_NODE : addPage(1, phys2));
  for (let n: u32 = 0; n < j.nodes; n++) follow(cpu, n);
  number();
  dominate();
  paths();
}

/** Reverse postorder by an explicit stack of nodes and how many of their edges were followed. */
function number(): void {
  const j = jit();
  for (let k: u32 = 0; k < j.nodes; k++) store<u8>(NODE_PLACE + k, NO_NODE);
  const SEEN = STACK + 0x100;
  memory.fill(SEEN, 0, 0x100);
  let depth: usize = 1;
  let last = j.nodes; // places are given from the end
  store<u8>(STACK, 0);
  store<u8>(SEEN, 1);
  while (depth) {
    const n = <u32>load<u8>(STACK + depth - 1);
    const step = <u32>load<u8>(SEEN + n);
    if (step == 3) {
      last--;
      store<u8>(ORDER + last, n);
      depth--;
      continue;
    }
    store<u8>(SEEN + n, step + 1);
    // the fall-through first: what is visited last comes first in the order
    const next = <u32>load<u8>((step == 1 ? NODE_TAKEN : NODE_FALL) + n);
    if (next != NO_NODE && !load<u8>(SEEN + next)) {
      store<u8>(SEEN + next, 1);
      store<u8>(STACK + depth, next);
      depth++;
    }
  }
  j.reached = j.nodes - last;
  if (last) memory.copy(ORDER, ORDER + last, j.reached);
  for (let p: u32 = 0; p < j.reached; p++) store<u8>(NODE_PLACE + load<u8>(ORDER + p), p);
}

// @ts-ignore: decorator
@inline export function placeOf(n: u32): u32 { return load<u8>(NODE_PLACE + n); }

function common(a: u32, b: u32): u32 {
  while (a != b) {
    while (placeOf(a) > placeOf(b)) a = <u32>load<u8>(NODE_IDOM + a);
    while (placeOf(b) > placeOf(a)) b = <u32>load<u8>(NODE_IDOM + b);
  }
  return a;
}

/** Immediate dominators (Cooper, Harvey, Kennedy), loop headers, and the number of forward edges; edges into the middle of a loop become exits. */
function dominate(): void {
  const j = jit();
  const n = j.reached;
  for (let k: u32 = 0; k < j.nodes; k++) {
    store<u8>(NODE_IDOM + k, NO_NODE);
    store<u8>(NODE_HEADER + k, 0);
    store<u8>(NODE_LOOP + k, 0);
    store<u8>(NODE_WAYS + k, 0);
  }
  store<u8>(NODE_IDOM, 0);
  let changed = true;
  while (changed) {
    changed = false;
    for (let p: u32 = 0; p < n; p++) {
      const from = <u32>load<u8>(ORDER + p);
      for (let e: u32 = 0; e < 2; e++) {
        const to = <u32>load<u8>((e ? NODE_FALL : NODE_TAKEN) + from);
        if (to == NO_NODE || to == 0) continue;
        const old = <u32>load<u8>(NODE_IDOM + to);
        const fresh = old == NO_NODE ? from : common(old, from);
        if (fresh != old) {
          store<u8>(NODE_IDOM + to, fresh);
          changed = true;
        }
      }
    }
  }
  for (let p: u32 = 0; p < n; p++) {
    const from = <u32>load<u8>(ORDER + p);
    for (let e: u32 = 0; e < 2; e++) {
      const slot = (e ? NODE_FALL : NODE_TAKEN) + from;
      const to = <u32>load<u8>(slot);
      if (to == NO_NODE) continue;
      if (placeOf(to) > p) {
        store<u8>(NODE_WAYS + to, load<u8>(NODE_WAYS + to) + 1);
        continue;
      }
      let d = from;
      while (placeOf(d) > placeOf(to)) d = <u32>load<u8>(NODE_IDOM + d);
      if (d == to) {
        store<u8>(NODE_HEADER + to, 1);
        noteLoop(to, p);
      }
      else store<u8>(slot, NO_NODE);
    }
  }
}

/** Marks everything that header `h` dominates up to position `last`, where an edge leads back, when it is a small loop. */
function noteLoop(h: u32, last: u32): void {
  let insns: u32 = 0;
  for (let p = placeOf(h); p <= last; p++) insns += load<u16>(<usize>load<u32>(NODE_BLOCK + (<usize>load<u8>(ORDER + p) << 2)), BLOCK_COUNT);
  if (insns > SMALL_LOOP) return;
  for (let p = placeOf(h); p <= last; p++) {
    const n = <u32>load<u8>(ORDER + p);
    let d = n;
    while (placeOf(d) > placeOf(h)) d = <u32>load<u8>(NODE_IDOM + d);
    if (d == h) store<u8>(NODE_LOOP + n, 1);
  }
}

/** How many instructions may run from each node before the budget is looked at again. */
function paths(): void {
  for (let p = jit().reached; p > 0; p--) {
    const n = <u32>load<u8>(ORDER + p - 1);
    let most: u32 = 0;
    for (let e: u32 = 0; e < 2; e++) {
      const to = <u32>load<u8>((e ? NODE_FALL : NODE_TAKEN) + n);
      if (to == NO_NODE || placeOf(to) < p || load<u8>(NODE_HEADER + to)) continue;
      most = max(most, load<u32>(NODE_PATH + (to << 2)));
    }
    store<u32>(NODE_PATH + (n << 2), most + load<u16>(<usize>load<u32>(NODE_BLOCK + (n << 2)), BLOCK_COUNT));
  }
}
