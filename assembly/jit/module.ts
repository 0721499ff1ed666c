// A batch of regions as one WebAssembly module: function k of the module is region k of the batch.
import { Cpu } from "../cpu/state";
import { BLOCK_COUNT, BLOCK_HEADER, BLOCK_RECORDS } from "../interp/block-layout";
import { INSN_BYTES, Insn } from "../decode/insn";
import { emitRecord, loadRegisters } from "./emit";
import { loadFlags } from "./flags";
import { BACK, FORWARD, exitTo, goTo, popLabel, pushLabel, topLabel } from "./flow";
import { Fn, L } from "./operands";
import {
  BODIES, Fl, HINTS, HINT_ENDS, NODE_BLOCK, NODE_DIRTY_GEN, NODE_DIRTY_IN, NODE_LOOP, NODE_OFF, NODE_PREDS, NO_NODE, ORDER, OUT, jit,
} from "./state";
import { W, get, hintedIf, i32c, mem, op, op2, patch5, set, tee, uleb } from "./wasm";

const CLEANED: u32 = 0x8000_0000;

/** The innermost loop around a node, other than the one it heads. */
function scopeOf(node: u32): u32 {
  const n = jit().nodes;
  let best = NO_NODE;
  let size: u64 = 65;
  for (let h: u32 = 0; h < n; h++) {
    const body = load<u64>(NODE_LOOP + (h << 3));
    if (h == node || !((body >> node) & 1) || popcnt(body) >= size) continue;
    best = h;
    size = popcnt(body);
  }
  return best;
}

/** Labels for the nodes directly within the loop of `header`, or within no loop; the first in order is the innermost. */
function openLabels(header: u32): void {
  const n = jit().nodes;
  for (let p = n - 1; p > 0; p--) {
    const node = <u32>load<u8>(ORDER + p);
    if (scopeOf(node) != header) continue;
    op2(W.BLOCK, W.VOID);
    pushLabel(FORWARD, node);
  }
}

/** Ends the labels that end before `node`. */
function closeLabels(node: u32): void {
  for (;;) {
    const label = topLabel();
    if (label == 0xffff) return;
    const done = label >> 8 == BACK ? !((load<u64>(NODE_LOOP + ((label & 0xff) << 3)) >> node) & 1) : (label & 0xff) == node;
    if (!done) return;
    op(W.END);
    popLabel();
  }
}

function emitBlock(node: u32): void {
  const j = jit();
  const block = <usize>load<u32>(NODE_BLOCK + (node << 2));
  j.block = block;
  j.delta = <i32>load<u32>(NODE_OFF + (node << 2)) - <i32>j.entryOff;
  j.dirty = j.pass ? load<u32>(NODE_DIRTY_IN + (node << 2)) : 0;
  j.cleaned = 0;
  j.flagKind = Fl.DYN;
  const count = <u32>load<u16>(block, BLOCK_COUNT);
  get(L.LEFT);
  i32c(count);
  op(W.I32_SUB);
  tee(L.LEFT);
  i32c(0);
  op(W.I32_LT_S);
  hintedIf(W.VOID, false);
  get(L.LEFT);
  i32c(count);
  op(W.I32_ADD);
  set(L.LEFT);
  get(L.CPU);
  i32c(2);
  mem(W.I32_STORE, <u32>offsetof<Cpu>("bail")); // the interpreter runs what is left
  exitTo(0);
  op(W.END);
  const records = <u32>load<u16>(block, BLOCK_RECORDS);
  let ip = block + BLOCK_HEADER;
  let open = true;
  for (let k: u32 = 0; k < records; k++) {
    j.ip = ip;
    open = emitRecord(changetype<Insn>(ip));
    ip += INSN_BYTES;
  }
  if (open) goTo(false);
  store<u32>(NODE_DIRTY_GEN + (node << 2), j.dirty | (j.cleaned ? CLEANED : 0));
}

function emitBody(): void {
  const j = jit();
  op(4);
  uleb(L.I32S);
  op(W.I32);
  uleb(L.I64S);
  op(W.I64);
  uleb(1);
  op(W.V128);
  uleb(16);
  op(j.wide ? W.I64 : W.I32);
  get(L.CPU);
  mem(W.I32_LOAD, <u32>offsetof<Cpu>("tlbRead"));
  set(L.TR);
  get(L.CPU);
  mem(W.I32_LOAD, <u32>offsetof<Cpu>("tlbWrite"));
  set(L.TW);
  get(L.CPU);
  mem(W.I32_LOAD, <u32>offsetof<Cpu>("left"));
  set(L.LEFT);
  get(L.CPU);
  mem(W.I64_LOAD, <u32>offsetof<Cpu>("rip"));
  set(L.RIP);
  loadRegisters(0xffff);
  loadFlags();
  j.labels = 0;
  openLabels(NO_NODE);
  for (j.position = 0; j.position < j.nodes; j.position++) {
    const node = <u32>load<u8>(ORDER + j.position);
    closeLabels(node);
    if (load<u64>(NODE_LOOP + (node << 3))) {
      op2(W.LOOP, W.VOID);
      pushLabel(BACK, node);
      openLabels(node);
    }
    emitBlock(node);
  }
  while (j.labels) {
    op(W.END);
    popLabel();
  }
  op(W.END);
}

/** Which registers may be newer in locals than in the record where a block begins. */
function settleDirty(): void {
  const n = jit().nodes;
  for (let k: u32 = 0; k < n; k++) store<u32>(NODE_DIRTY_IN + (k << 2), 0);
  let changed = true;
  while (changed) {
    changed = false;
    for (let k: u32 = 0; k < n; k++) {
      let d: u32 = 0;
      for (let m = load<u64>(NODE_PREDS + (k << 3)); m; m &= m - 1) {
        const p = <u32>ctz(m);
        const gen = load<u32>(NODE_DIRTY_GEN + (p << 2));
        d |= gen & CLEANED ? gen & ~CLEANED : gen | load<u32>(NODE_DIRTY_IN + (p << 2));
      }
      if (d == load<u32>(NODE_DIRTY_IN + (k << 2))) continue;
      store<u32>(NODE_DIRTY_IN + (k << 2), d);
      changed = true;
    }
  }
}

/** Appends the function of the grown region at j.at. The first pass finds out which registers matter, the second is kept. */
export function emitRegion(): void {
  const j = jit();
  const start = j.at;
  const hints = j.hintAt;
  j.bodyStart = start + 5;
  j.used = 0;
  for (j.pass = 0; j.pass < 2; j.pass++) {
    j.at = start + 5;
    j.hintAt = hints;
    emitBody();
    if (!j.pass) settleDirty();
  }
  patch5(start, <u32>(j.at - start - 5));
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
  0x60, 6, 0x7f, 0x7e, 0x7f, 0x7f, 0x7f, 0x7e, 1, 0x7f, // READ, WRITE
  0x60, 6, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7e, 1, 0x7f, // THICK, END_ON
  0x60, 5, 0x7f, 0x7f, 0x7f, 0x7f, 0x7e, 0, // END, BAIL
  0x60, 2, 0x7f, 0x7f, 1, 0x7f, // COND
  0x60, 3, 0x7f, 0x7e, 0x7e, 1, 0x7f, // CARRY, ARITH
  0x60, 2, 0x7e, 0x7e, 1, 0x7f, // MUL_OVER
  0x60, 1, 0x7e, 1, 0x7e, // BSWAP
  0x60, 3, 0x7e, 0x7e, 0x7e, 1, 0x7e, // DIV_WIDE
]);
const TYPES_BYTES: usize = 4 + 10 + 10 + 8 + 6 + 7 + 6 + 5 + 7;
const FN_TYPES = memory.data<u8>([1, 1, 2, 3, 3, 4, 5, 6, 7, 5, 8, 2]);

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
    uleb(Fn.COUNT + k);
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
  op(9);
  memory.copy(j.at, TYPES, TYPES_BYTES);
  j.at += TYPES_BYTES;
  finish(at);
  at = begin(2);
  uleb(Fn.COUNT + 1);
  for (let k: u32 = 0; k <= Fn.COUNT; k++) {
    op2(1, 0x65); // "e"
    if (k == Fn.COUNT) {
      op2(1, 0x6d); // "m": the memory
      op2(2, 0);
      op(1);
    } else {
      name(0x66, k);
      op2(0, load<u8>(FN_TYPES + k));
    }
  }
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
    uleb(Fn.COUNT + k);
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
