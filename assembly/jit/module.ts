// A batch of regions as one WebAssembly module: function k of the module is region k of the batch. The code of a region follows its dominator tree, so that
// every edge is a branch to a label around it (Ramsey, "Beyond Relooper").
import { Cpu } from "../cpu/state";
import { BLOCK_HEADER, BLOCK_RECORDS } from "../interp/block-layout";
import { INSN_BYTES, Insn } from "../decode/insn";
import { emitRecord, loadRegisters } from "./emit";
import { UNSURE, UNTOUCHED, loadFlags, packFlags, storeFlags, unpackFlags } from "./flags";
import { beginXmm, declareXmm, endXmm, forgetXmm, loadXmm, resetXmm, settleXmmDirty, storeXmm, xmmGroups } from "./sse-reg";
import { BACK, EXIT, EXIT_FLAGS, FORWARD, checkBudget, goTo, pageBits, popLabel, pushLabel } from "./flow";
import { Fn, L, record } from "./operands";
import { chooseSlots, clearSlots, declareSlots, forgetUses, slotGroups } from "./page-slots";
import { placeOf } from "./region";
import {
  BODIES, Fl, HINTS, HINT_ENDS, NODE_BLOCK, NODE_DELTA, NODE_DIRTY_GEN, NODE_DIRTY_IN, NODE_FALL, NODE_FLAGS_IN, NODE_FLAGS_OUT, NODE_HEADER, NODE_IDOM,
  NODE_PATH, NODE_TAKEN, NODE_VERIFIED, NODE_WAYS, NO_NODE, ORDER, OUT, jit,
} from "./state";
import { beginValues, chooseWindows, declareWindows, forgetValues, forgetWindows, meet, windowGroups } from "./windows";
import { W, get, mem, op, op2, patch5, set, uleb } from "./wasm";

const CLEANED: u32 = 0x8000_0000;

/** Emits the node and what only it leads to; merges that it dominates come behind it, those that are reached last outermost. */
export function emitTree(node: u32): void {
  const j = jit();
  const header = load<u8>(NODE_HEADER + node) != 0;
  if (header) {
    op2(W.LOOP, W.VOID);
    pushLabel(BACK, node);
    resetXmm();
    forgetValues();
  }
  if (header || node == 0) checkBudgetOf(node);
  let merges: u32 = 0;
  for (let p = j.reached - 1; p > placeOf(node); p--) {
    const n = <u32>load<u8>(ORDER + p);
    if (<u32>load<u8>(NODE_WAYS + n) < 2 || <u32>load<u8>(NODE_IDOM + n) != node) continue;
    op2(W.BLOCK, W.VOID);
    pushLabel(FORWARD, n);
    merges++;
  }
  emitBlock(node);
  for (let p = placeOf(node) + 1; merges; p++) {
    const n = <u32>load<u8>(ORDER + p);
    if (<u32>load<u8>(NODE_WAYS + n) < 2 || <u32>load<u8>(NODE_IDOM + n) != node) continue;
    op(W.END);
    popLabel();
    merges--;
    j.pending = 0;
    j.verified = load<u32>(NODE_VERIFIED + (node << 2)) | pageBits(n);
    unpackFlags(load<u32>(NODE_FLAGS_IN + (n << 2)));
    resetXmm();
    meet(n);
    emitTree(n);
  }
  if (header) {
    op(W.END);
    popLabel();
  }
}

function enterBlock(node: u32): void {
  const j = jit();
  j.node = node;
  j.block = <usize>load<u32>(NODE_BLOCK + (node << 2));
  j.delta = load<i32>(NODE_DELTA + (node << 2));
}
function checkBudgetOf(node: u32): void {
  enterBlock(node);
  unpackFlags(load<u32>(NODE_FLAGS_IN + (node << 2)));
  checkBudget(load<u32>(NODE_PATH + (node << 2)));
}

function emitBlock(node: u32): void {
  const j = jit();
  enterBlock(node);
  const block = j.block;
  j.dirty = j.pass ? load<u32>(NODE_DIRTY_IN + (node << 2)) : 0;
  j.cleaned = 0;
  beginXmm(node);
  if (!j.pass) unpackFlags(Fl.DYN);
  j.touched = 0;
  const records = <u32>load<u16>(block, BLOCK_RECORDS);
  let ip = block + BLOCK_HEADER;
  let open = true;
  store<u32>(NODE_VERIFIED + (node << 2), j.verified);
  for (let k: u32 = 0; k < records; k++) {
    j.ip = ip;
    open = emitRecord(changetype<Insn>(ip));
    ip += INSN_BYTES;
  }
  if (open) goTo(false);
}

/** What the block leaves behind, for the second pass; to be called before its edges are emitted. */
export function noteBlock(): void {
  const j = jit();
  if (j.pass) return;
  const node = j.node;
  store<u32>(NODE_DIRTY_GEN + (node << 2), j.dirty | (j.cleaned ? CLEANED : 0));
  endXmm(node);
  const packed = packFlags();
  store<u32>(NODE_FLAGS_OUT + (node << 2), !j.touched ? UNTOUCHED : j.flagKind < Fl.ADD && packed != j.flagKind ? UNSURE : packed);
}

function emitBody(): void {
  const j = jit();
  op(4 + xmmGroups() + slotGroups() + windowGroups());
  uleb(L.I32S);
  op(W.I32);
  uleb(L.I64S);
  op(W.I64);
  uleb(1);
  op(W.V128);
  uleb(16);
  op(j.wide ? W.I64 : W.I32);
  declareXmm();
  declareSlots();
  declareWindows();
  clearSlots();
  record();
  mem(W.I32_LOAD, <u32>offsetof<Cpu>("left"));
  set(L.LEFT);
  record();
  mem(W.I64_LOAD, <u32>offsetof<Cpu>("rip"));
  set(L.RIP);
  loadRegisters(0xffff);
  loadXmm();
  const flags = j.pass ? load<u32>(NODE_FLAGS_IN) : Fl.DYN;
  if (flags == Fl.DYN) loadFlags();
  op2(W.BLOCK, W.VOID);
  op2(W.BLOCK, W.VOID);
  j.labels = 0;
  j.points = 0;
  beginValues();
  pushLabel(EXIT, 0);
  pushLabel(EXIT_FLAGS, 0);
  j.pending = 0;
  j.verified = pageBits(0);
  unpackFlags(flags);
  emitTree(0);
  op(W.UNREACHABLE);
  op(W.END);
  storeFlags();
  op(W.END);
  for (let n: u32 = 0; n < 16; n++) {
    if (!((j.everDirty >> n) & 1)) continue;
    record();
    get(L.GPR + n);
    if (!j.wide) op(W.I64_EXTEND_U);
    mem(W.I64_STORE, n << 3);
  }
  storeXmm();
  record();
  get(L.NEXT);
  mem(W.I64_STORE, <u32>offsetof<Cpu>("rip"));
  record();
  get(L.LEFT);
  mem(W.I32_STORE, <u32>offsetof<Cpu>("left"));
  op(W.END);
}

/** Which registers may be newer in locals than in the record where a block begins, and the state of the flags there. */
function settleEntries(): void {
  const j = jit();
  for (let k: u32 = 0; k < j.nodes; k++) {
    store<u32>(NODE_DIRTY_IN + (k << 2), 0);
    store<u32>(NODE_FLAGS_IN + (k << 2), UNTOUCHED);
  }
  store<u32>(NODE_FLAGS_IN, Fl.MEM);
  let changed = true;
  while (changed) {
    changed = false;
    for (let p: u32 = 0; p < j.reached; p++) {
      const from = <u32>load<u8>(ORDER + p);
      const gen = load<u32>(NODE_DIRTY_GEN + (from << 2));
      const dirty = gen & CLEANED ? gen & ~CLEANED : gen | load<u32>(NODE_DIRTY_IN + (from << 2));
      const made = load<u32>(NODE_FLAGS_OUT + (from << 2));
      const flags = made == UNTOUCHED ? load<u32>(NODE_FLAGS_IN + (from << 2)) : made == UNSURE ? Fl.DYN : made;
      for (let e: u32 = 0; e < 2; e++) {
        const to = <usize>load<u8>((e ? NODE_FALL : NODE_TAKEN) + from);
        if (to == <usize>NO_NODE) continue;
        const d = load<u32>(NODE_DIRTY_IN + (to << 2));
        if (dirty & ~d) {
          store<u32>(NODE_DIRTY_IN + (to << 2), d | dirty);
          changed = true;
        }
        const f = load<u32>(NODE_FLAGS_IN + (to << 2));
        if (flags == UNTOUCHED || f == flags || f == Fl.DYN) continue;
        store<u32>(NODE_FLAGS_IN + (to << 2), f == UNTOUCHED ? flags : Fl.DYN);
        changed = true;
      }
    }
  }
}

/** Appends the function of the grown region at j.at; false when it cannot be compiled. The first pass finds out which registers and flags matter, the second is kept. */
export function emitRegion(): bool {
  const j = jit();
  const start = j.at;
  const hints = j.hintAt;
  j.bodyStart = start + 5;
  j.used = 0;
  j.everDirty = 0;
  forgetXmm();
  forgetUses();
  forgetWindows();
  j.key = -1;
  j.failed = 0;
  for (let k: u32 = 0; k < j.nodes; k++) store<u32>(NODE_FLAGS_IN + (k << 2), Fl.DYN);
  for (j.pass = 0; j.pass < 2; j.pass++) {
    j.at = start + 5;
    j.hintAt = hints;
    emitBody();
    if (!j.pass) {
      settleEntries();
      settleXmmDirty();
      chooseSlots();
      chooseWindows();
    }
  }
  if (j.failed) {
    j.at = start;
    j.hintAt = hints;
    return false;
  }
  patch5(start, <u32>(j.at - start - 5));
  return true;
}

// ---- the sections (core specification, 5.5) ----

function begin(id: u32): usize {
  op(id);
  const at = jit().at;
  jit().at += 5;
  return at;
}
// @ts-ignore: decorator
@inline function finish(at: usize): void { patch5(at, <u32>(jit().at - at - 5)); }

function name(letter: u32, number: u32): void {
  const tens = number / 10;
  op(tens ? 3 : 2);
  op(letter);
  if (tens) op(0x30 + tens);
  op(0x30 + number % 10);
}

const TYPES = memory.data<u8>([
  0x60, 1, 0x7f, 0, // a region
  0x60, 3, 0x7f, 0x7e, 0x7f, 1, 0x7f, // READ, WRITE
  0x60, 6, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7e, 1, 0x7f, // THICK, END_ON
  0x60, 5, 0x7f, 0x7f, 0x7f, 0x7f, 0x7e, 0, // END
  0x60, 2, 0x7f, 0x7f, 1, 0x7f, // COND
  0x60, 3, 0x7f, 0x7e, 0x7e, 1, 0x7f, // CARRY, ARITH
  0x60, 2, 0x7e, 0x7e, 1, 0x7f, // MUL_OVER
  0x60, 1, 0x7e, 1, 0x7e, // BSWAP
  0x60, 3, 0x7e, 0x7e, 0x7e, 1, 0x7e, // DIV_WIDE
  0x60, 5, 0x7f, 0x7f, 0x7f, 0x7b, 0x7b, 1, 0x7f, // SSE
  0x60, 5, 0x7f, 0x7f, 0x7b, 0x7b, 0x7b, 1, 0x7b, // VECTOR
  0x60, 5, 0x7f, 0x7f, 0x7e, 0x7e, 0x7e, 0, // X87
]);
const TYPES_COUNT: u32 = 12;
const TYPES_BYTES: usize = 4 + 7 + 10 + 8 + 6 + 7 + 6 + 5 + 7 + 9 + 9 + 8;
/** Type of each function of the core that regions call. */
export const FN_TYPES = memory.data<u8>([1, 1, 2, 3, 4, 5, 6, 7, 5, 8, 2, 9, 10, 11, 4, 1]);

const HINT_NAME = memory.data<u8>([
  0x6d, 0x65, 0x74, 0x61, 0x64, 0x61, 0x74, 0x61, 0x2e, 0x63, 0x6f, 0x64, 0x65, 0x2e, 0x62, 0x72, 0x61, 0x6e, 0x63, 0x68, 0x5f, 0x68, 0x69, 0x6e, 0x74,
]); // metadata.code.branch_hint

function branchHints(count: u32): void {
  const j = jit();
  const at = begin(0);
  op(25);
  memory.copy(j.at, HINT_NAME, 25);
  j.at += 25;
  uleb(count);
  let from = HINTS;
  for (let k: u32 = 0; k < count; k++) {
    const end = <usize>load<u32>(HINT_ENDS + (k << 2));
    uleb(k);
    uleb(<u32>(end - from) >> 2);
    for (; from < end; from += 4) {
      const hint = load<u32>(from);
      uleb(hint >> 1);
      op(1);
      op(hint & 1);
    }
  }
  finish(at);
}

/** Puts the module around the `count` bodies that were emitted from BODIES on; returns its length, it begins at OUT. */
export function wrapModule(count: u32): u32 {
  const j = jit();
  const bodies = j.at - BODIES;
  j.at = OUT;
  op2(0, 0x61);
  op2(0x73, 0x6d);
  op2(1, 0);
  op2(0, 0);
  let at = begin(1);
  op(TYPES_COUNT);
  memory.copy(j.at, TYPES, TYPES_BYTES);
  j.at += TYPES_BYTES;
  finish(at);
  at = begin(2);
  // The core's functions are in a table: for each type of an imported function, V8 11 compiles a wrapper for calls of JavaScript, 50 us each.
  op(2);
  op2(1, 0x65); // "e"
  op2(1, 0x6d); // "m": the memory
  op2(2, 0);
  op(1);
  op2(1, 0x65);
  op2(1, 0x74); // "t"
  op2(1, 0x70);
  op(0);
  op(Fn.COUNT);
  finish(at);
  at = begin(3);
  uleb(count);
  for (let k: u32 = 0; k < count; k++) op(0);
  finish(at);
  at = begin(7);
  uleb(count);
  for (let k: u32 = 0; k < count; k++) {
    name(0x72, k);
    op(0);
    uleb(k);
  }
  finish(at);
  branchHints(count);
  at = begin(10);
  uleb(count);
  memory.copy(j.at, BODIES, bodies);
  j.at += bodies;
  finish(at);
  return <u32>(j.at - OUT);
}
