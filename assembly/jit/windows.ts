// Memory near one register. Accesses by the same value of a register, each at a known distance from it, share one look-up in the TLB: the first on a way through
// the region makes sure that all of them lie in one page and keeps where that page is; the others just go there. A value lives until
// its register is written by something else than the addition of a constant, on behind a place where ways meet if all of them bring it along, and never into a loop. Windows know only
// what the TLB has: calls of operations close them, and a slow access that would take an entry from the TLB while some are open leaves the region instead.
import { JIT_MET, JIT_WINDOWS } from "../layout";
import { L } from "./operands";
import { xmmLocals } from "./sse-reg";
import { MAX_NODES, NODE_MET, VALUES, VALUE_POINTS, WINDOW_COUNT, WINDOW_HI, WINDOW_LO, WINDOW_OF, jit } from "./state";
import { W, op, uleb } from "./wasm";

/** Windows of a region. */
const MAX_WINDOWS: u32 = 24;
/** Bytes of a window at most: the wider, the more often it lies across pages. */
const WIDEST: i32 = 192;
const MAX_VALUES: u32 = 1023;
const NEAR: i32 = 0x10_0000;

// ---- values: u32 number, 0 when it has none yet, and i32 distance, for each register ----

const REGISTERS: usize = 16;
const VALUES_BYTES: usize = REGISTERS * 8;
const POINT_BYTES: usize = VALUES_BYTES + 8;

// @ts-ignore: decorator
@inline function valueAt(n: u32): usize { return VALUES + (<usize>n << 3); }

/** The register has a value of which nothing is known. */
export function forgetValue(n: u32): void { store<u32>(valueAt(n), 0); }
/** A loop begins: nothing is known of any register, and no window is open. */
export function forgetValues(): void {
  memory.fill(VALUES, 0, VALUES_BYTES);
  jit().windowsOpen = 0;
  jit().windowsWrite = 0;
}
/** Takes down the value of a register for `giveValue`. */
export function takeValue(n: u32): void {
  const j = jit();
  const v = valueAt(n);
  if (!load<u32>(v)) {
    if (j.values < MAX_VALUES) j.values++;
    store<u32>(v, j.values < MAX_VALUES ? j.values : 0);
    store<i32>(v, 0, 4);
  }
  j.takenValue = load<u32>(v);
  j.takenDistance = load<i32>(v, 4);
}
/** The register has the value that was taken, and `by` more. */
export function giveValue(n: u32, by: i64): void {
  const j = jit();
  const d = <i64>j.takenDistance + by;
  const v = valueAt(n);
  store<u32>(v, d > NEAR || d < -NEAR ? 0 : j.takenValue);
  store<i32>(v, <i32>d, 4);
}
/** The next address is that of register `n` and `by` bytes more. */
export function addressBy(n: u32, by: i64): void {
  const j = jit();
  takeValue(n);
  const d = <i64>j.takenDistance + by;
  j.addressValue = d > NEAR || d < -NEAR ? 0 : j.takenValue;
  j.addressDistance = <i32>d;
}
// @ts-ignore: decorator
@inline export function addressUnknown(): void { jit().addressValue = 0; }

/** Keeps what is known here for the other arm of a branch, as the point of flow.ts with that number does. */
export function saveValues(point: u32): void {
  const at = VALUE_POINTS + <usize>point * POINT_BYTES;
  memory.copy(at, VALUES, VALUES_BYTES);
  store<u32>(at, jit().windowsOpen, VALUES_BYTES);
  store<u32>(at, jit().windowsWrite, VALUES_BYTES + 4);
}
export function restoreValues(point: u32): void {
  const at = VALUE_POINTS + <usize>point * POINT_BYTES;
  memory.copy(VALUES, at, VALUES_BYTES);
  jit().windowsOpen = load<u32>(at, VALUES_BYTES);
  jit().windowsWrite = load<u32>(at, VALUES_BYTES + 4);
}

function metAt(node: u32): usize { return JIT_MET + <usize>node * POINT_BYTES; }
/** A way ends where others go on: what all of them know holds there, be it a value or an open window. */
export function meetValues(node: u32): void {
  const j = jit();
  const at = metAt(node);
  if (!load<u8>(NODE_MET + node)) {
    store<u8>(NODE_MET + node, 1);
    memory.copy(at, VALUES, VALUES_BYTES);
    store<u32>(at, j.windowsOpen, VALUES_BYTES);
    store<u32>(at, j.windowsWrite, VALUES_BYTES + 4);
    return;
  }
  for (let n: usize = 0; n < VALUES_BYTES; n += 8) if (load<u64>(at + n) != load<u64>(VALUES + n)) store<u32>(at + n, 0);
  store<u32>(at, load<u32>(at, VALUES_BYTES) & j.windowsOpen, VALUES_BYTES);
  store<u32>(at, load<u32>(at, VALUES_BYTES + 4) & j.windowsWrite, VALUES_BYTES + 4);
}
/** Code behind the meeting begins. */
export function meet(node: u32): void {
  const j = jit();
  const at = metAt(node);
  memory.copy(VALUES, at, VALUES_BYTES);
  j.windowsOpen = load<u32>(at, VALUES_BYTES);
  j.windowsWrite = load<u32>(at, VALUES_BYTES + 4);
}

// ---- windows ----

/** Before the first pass. */
export function forgetWindows(): void {
  memory.fill(WINDOW_COUNT, 0, (MAX_VALUES + 1) << 2);
  memory.fill(WINDOW_OF, 0, MAX_VALUES + 1);
  jit().windows = 0;
}
/** Before each pass. */
export function beginValues(): void {
  jit().values = 0;
  addressUnknown();
  forgetValues();
  memory.fill(NODE_MET, 0, MAX_NODES);
}
/** Notes an access of the first pass. */
export function noteAccess(bytes: i32): void {
  const j = jit();
  const n = j.addressValue;
  if (!n) return;
  const q = <usize>n << 2;
  const from = j.addressDistance;
  const any = load<u32>(WINDOW_COUNT + q) != 0;
  const lo = any ? min(load<i32>(WINDOW_LO + q), from) : from;
  const hi = any ? max(load<i32>(WINDOW_HI + q), from + bytes) : from + bytes;
  if (hi - lo > WIDEST) return;
  store<i32>(WINDOW_LO + q, lo);
  store<i32>(WINDOW_HI + q, hi);
  store<u32>(WINDOW_COUNT + q, load<u32>(WINDOW_COUNT + q) + 1);
}
/** Between the passes: values by which memory is reached more than once get windows. */
export function chooseWindows(): void {
  const j = jit();
  for (let n: u32 = 1; n <= j.values && j.windows < MAX_WINDOWS; n++) {
    if (load<u32>(WINDOW_COUNT + (<usize>n << 2)) < 2) continue;
    const w = ++j.windows;
    if (!((j.without >> (w - 1)) & 1)) store<u8>(WINDOW_OF + n, w);
  }
}
/** The window of the address at hand, counted from 1; 0: none. */
export function windowOf(bytes: i32): u32 {
  const j = jit();
  const n = j.addressValue;
  if (!n || !j.pass || !j.windows) return 0;
  const q = <usize>n << 2;
  const from = j.addressDistance;
  if (from < load<i32>(WINDOW_LO + q) || from + bytes > load<i32>(WINDOW_HI + q)) return 0;
  j.windowOffset = from - load<i32>(WINDOW_LO + q);
  return load<u8>(WINDOW_OF + n);
}
/** Bytes of the window of a value. */
// @ts-ignore: decorator
@inline export function windowSpan(n: u32): i32 { return load<i32>(WINDOW_HI + (<usize>n << 2)) - load<i32>(WINDOW_LO + (<usize>n << 2)); }

/** The local with the wasm address of the window's first byte. */
// @ts-ignore: decorator
@inline export function windowLocal(w: u32): u32 { return L.GPR + 16 + xmmLocals() + (jit().pageSlots << 2) + w - 1; }
// @ts-ignore: decorator
@inline export function windowGroups(): u32 { return jit().windows ? 1 : 0; }
export function declareWindows(): void {
  const j = jit();
  if (!j.windows) return;
  uleb(j.windows);
  op(W.I32);
}

// ---- windows that fail too often ----

// By table slot: u32 times that a window could not be opened or kept since counting began, u32 windows that the region does without, u32 transitions
// that the region had left when counting began, u32 how often it was compiled again.
const INFO_BYTES: usize = 16;
const MISSES: u32 = 64;
/** With fewer executions of the region for each of them it is compiled again, without the window. */
const RARE: i32 = 32;
/** So often; then without any. */
const AGAIN: u32 = 4;
const ALL: u32 = ~0;

// @ts-ignore: decorator
@inline function infoOf(slot: u32): usize { return JIT_WINDOWS + <usize>(slot - jit().slotBase) * INFO_BYTES; }
export function beginWindows(slot: u32): void { memory.fill(infoOf(slot), 0, INFO_BYTES); }
/** Windows that the region does without, as a mask. */
// @ts-ignore: decorator
@inline export function windowsWithout(slot: u32): u32 { return load<u32>(infoOf(slot), 4); }

/** The region in `slot`, from which `transitions` more may follow, was left for a window, 0: for several. Tells whether it is to be compiled again. */
export function missedWindow(slot: u32, window: u32, transitions: i32): bool {
  const info = infoOf(slot);
  const n = load<u32>(info) + 1;
  store<u32>(info, n);
  if (n == 1) store<i32>(info, transitions, 8);
  if (n < MISSES) return false;
  store<u32>(info, 0);
  if (load<i32>(info, 8) - transitions > <i32>MISSES * RARE) return false;
  const before = load<u32>(info, 4), again = load<u32>(info, 12) + 1;
  const after = !window || again > AGAIN ? ALL : before | (1 << (window - 1));
  if (before == after) return false;
  store<u32>(info, after, 4);
  store<u32>(info, again, 12);
  return true;
}
