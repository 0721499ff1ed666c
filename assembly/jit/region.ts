// What a region consists of: blocks of one page that are reached by direct edges, in an order in which every loop is contiguous.
import { Mode } from "../cpu/state";
import { Hot } from "../generated/hot";
import { FUSED_TARGET, INSN_BYTES, Insn } from "../decode/insn";
import { BLOCK_COUNT, BLOCK_HEADER, BLOCK_HEAT, BLOCK_PHYS, BLOCK_RECORDS } from "../interp/block-layout";
import { knownBlock } from "../interp/blocks";
import { goesOn } from "./int-ops";
import {
  MAX_NODES, MAX_REGION_INSNS, NODE_BLOCK, NODE_DOM, NODE_FALL, NODE_LOOP, NODE_OFF, NODE_PREDS, NODE_TAKEN, NO_NODE, ORDER, STACK, jit,
} from "./state";

const NONE: i32 = i32.MIN_VALUE;

// @ts-ignore: decorator
@inline export function lastRecord(block: usize): Insn {
  return changetype<Insn>(block + BLOCK_HEADER + (<usize>load<u16>(block, BLOCK_RECORDS) - 1) * INSN_BYTES);
}
/** Whether the hot operation compares and branches. */
// @ts-ignore: decorator
@inline export function isFused(op: u32): bool { return op >= Hot.CMPJ && op < Hot.MOVS; }

/** Where the block's branch leads when it is taken, from the block's start. */
export function takenOf(block: usize): i32 {
  const i = lastRecord(block);
  const op = <u32>i.op;
  if (op == Hot.JMP || (op >= Hot.JCC && op < Hot.JCC + 16) || (op >= Hot.CALL && op < Hot.CALL + 2)) return <i32>i.off + i.disp;
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

function nodeAt(off: u32): u32 {
  const n = jit().nodes;
  for (let k: u32 = 0; k < n; k++) if (load<u32>(NODE_OFF + (k << 2)) == off) return k;
  return NO_NODE;
}

/** The node for a page offset; a new one when a warm block is known there. */
function reach(page: u64, from: u32, delta: i32): u32 {
  const j = jit();
  if (delta == NONE) return NO_NODE;
  const off = <i32>from + delta;
  if (off < 0 || off > 0xfff) return NO_NODE;
  const known = nodeAt(off);
  if (known != NO_NODE || j.nodes == MAX_NODES) return known;
  const block = knownBlock(page | <u64>off, j.mode);
  if (!block) return NO_NODE;
  const heat = load<i32>(block, BLOCK_HEAT);
  if (heat > 0 && <u32>heat > j.threshold - (j.threshold >> 4)) return NO_NODE;
  const count = <u32>load<u16>(block, BLOCK_COUNT);
  if (j.insns + count > MAX_REGION_INSNS) return NO_NODE;
  return addNode(block, off, count);
}

function addNode(block: usize, off: u32, count: u32): u32 {
  const j = jit();
  const n = j.nodes++;
  store<u32>(NODE_BLOCK + (n << 2), <u32>block);
  store<u32>(NODE_OFF + (n << 2), off);
  j.insns += count;
  return n;
}

/** Collects the nodes and edges of the region that begins with `entry`, breadth first. */
export function growRegion(entry: usize): void {
  const j = jit();
  j.nodes = 0;
  j.insns = 0;
  j.mode = load<u32>(entry, 16);
  j.code64 = (j.mode & Mode.SIZE) == Mode.CODE64 ? 1 : 0;
  const phys = load<u64>(entry, BLOCK_PHYS);
  const page = phys & ~0xfff;
  j.entryOff = <u32>phys & 0xfff;
  addNode(entry, j.entryOff, load<u16>(entry, BLOCK_COUNT));
  memory.fill(NODE_PREDS, 0, 8 * MAX_NODES);
  for (let n: u32 = 0; n < j.nodes; n++) {
    const block = <usize>load<u32>(NODE_BLOCK + (n << 2));
    const off = load<u32>(NODE_OFF + (n << 2));
    const taken = reach(page, off, takenOf(block));
    const fall = reach(page, off, fallOf(block));
    store<u8>(NODE_TAKEN + n, taken);
    store<u8>(NODE_FALL + n, fall);
    if (taken != NO_NODE) addPred(taken, n);
    if (fall != NO_NODE) addPred(fall, n);
  }
  findLoops();
  arrange();
}

// @ts-ignore: decorator
@inline function addPred(n: u32, pred: u32): void { store<u64>(NODE_PREDS + (n << 3), load<u64>(NODE_PREDS + (n << 3)) | (<u64>1 << pred)); }

// @ts-ignore: decorator
@inline function lowest(mask: u64): u32 { return <u32>ctz(mask); }

/** Dominators by iteration, then the natural loops: bodies of headers that dominate the source of an edge to them. */
function findLoops(): void {
  const n = jit().nodes;
  for (let k: u32 = 0; k < n; k++) {
    store<u64>(NODE_DOM + (k << 3), k ? ~0 : 1);
    store<u64>(NODE_LOOP + (k << 3), 0);
  }
  let changed = true;
  while (changed) {
    changed = false;
    for (let k: u32 = 1; k < n; k++) {
      let d: u64 = ~0;
      for (let p = load<u64>(NODE_PREDS + (k << 3)); p; p &= p - 1) d &= load<u64>(NODE_DOM + (lowest(p) << 3));
      d |= <u64>1 << k;
      if (d != load<u64>(NODE_DOM + (k << 3))) {
        store<u64>(NODE_DOM + (k << 3), d);
        changed = true;
      }
    }
  }
  for (let h: u32 = 0; h < n; h++) {
    let body: u64 = 0;
    let todo: u64 = 0;
    for (let p = load<u64>(NODE_PREDS + (h << 3)); p; p &= p - 1) {
      const source = lowest(p);
      if ((load<u64>(NODE_DOM + (source << 3)) >> h) & 1) todo |= <u64>1 << source;
    }
    if (!todo) continue;
    body = <u64>1 << h;
    todo &= ~body;
    while (todo) {
      const k = lowest(todo);
      body |= <u64>1 << k;
      todo = (todo | load<u64>(NODE_PREDS + (k << 3))) & ~body;
    }
    store<u64>(NODE_LOOP + (h << 3), body);
  }
}

/** Fills ORDER: topological but for edges to loop headers, with loops in one piece. What no such order serves becomes an exit. */
function arrange(): void {
  const n = jit().nodes;
  const all: u64 = n == 64 ? ~0 : (<u64>1 << n) - 1;
  let placed: u64 = 0;
  let depth: usize = 0; // of the stack of open loops
  for (let position: u32 = 0; position < n; position++) {
    while (depth && !(load<u64>(STACK + (depth - 1) * 8) & ~placed)) depth--;
    const open = (depth ? load<u64>(STACK + (depth - 1) * 8) : all) & ~placed;
    let pick = NO_NODE;
    for (let m = open; m; m &= m - 1) {
      const k = lowest(m);
      const waits = load<u64>(NODE_PREDS + (k << 3)) & ~load<u64>(NODE_LOOP + (k << 3)) & ~placed;
      if (!waits) {
        pick = k;
        break;
      }
    }
    if (pick == NO_NODE) {
      // irreducible: any node whose dominators are placed
      for (let m = open; m; m &= m - 1) {
        const k = lowest(m);
        if (!(load<u64>(NODE_DOM + (k << 3)) & ~placed & ~(<u64>1 << k))) {
          pick = k;
          break;
        }
      }
    }
    store<u8>(ORDER + position, pick);
    placed |= <u64>1 << pick;
    const body = load<u64>(NODE_LOOP + (pick << 3));
    if (body) {
      store<u64>(STACK + depth * 8, body);
      depth++;
    }
  }
}
