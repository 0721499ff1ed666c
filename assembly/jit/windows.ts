// Memory near one register. Accesses by the same value of a register, each at a known distance from it, share one look-up in the TLB: the first on a way through
// the region makes sure that all of them lie in one page and keeps where that page is; the others only ask whether it was so. A value lives until
// its register is written by something else than the addition of a constant, and never across a place where ways meet. As page slots, windows know only
// what the TLB has, and every call that may change the TLB closes them.
import { instructionCount } from "../interp/mode";
import { Cpu } from "../cpu/state";
import { JIT_WINDOWS } from "../layout";
import { entryAt } from "../mmu/tlb";
import { slotInfo } from "./queue";
import { L } from "./operands";
import { xmmLocals } from "./sse-reg";
import { MAX_POINTS, VALUES, VALUE_POINTS, WINDOW_COUNT, WINDOW_HI, WINDOW_LO, WINDOW_OF, WINDOW_WRITE, jit } from "./state";
import { W, i32c, op, set, uleb } from "./wasm";

/** Windows of a region. */
const MAX_WINDOWS: u32 = 24;
/** Bytes of a window at most: the wider, the more often it lies across pages. */
const WIDEST: i32 = 192;
const MAX_VALUES: u32 = 1023;
const NEAR: i32 = 0x10_0000;

// ---- values: u32 number, 0 when it has none yet, and i32 distance, for each register ----

const REGISTERS: usize = 16;
const VALUES_BYTES: usize = REGISTERS * 8;

// @ts-ignore: decorator
@inline function valueAt(n: u32): usize { return VALUES + (<usize>n << 3); }

/** The register has a value of which nothing is known. */
export function forgetValue(n: u32): void { store<u32>(valueAt(n), 0); }
/** Ways meet: nothing is known of any register, and no window is open. */
export function forgetValues(): void {
  memory.fill(VALUES, 0, VALUES_BYTES);
  jit().windowsOpen = 0;
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

export function saveValues(point: u32): void {
  const at = VALUE_POINTS + <usize>point * (VALUES_BYTES + 8);
  memory.copy(at, VALUES, VALUES_BYTES);
  store<u32>(at, jit().windowsOpen, VALUES_BYTES);
}
export function restoreValues(point: u32): void {
  const at = VALUE_POINTS + <usize>point * (VALUES_BYTES + 8);
  memory.copy(VALUES, at, VALUES_BYTES);
  jit().windowsOpen = load<u32>(at, VALUES_BYTES);
}

// ---- windows ----

/** Before the first pass. */
export function forgetWindows(): void {
  memory.fill(WINDOW_COUNT, 0, (MAX_VALUES + 1) << 2);
  memory.fill(WINDOW_OF, 0, MAX_VALUES + 1);
  memory.fill(WINDOW_WRITE, 0, MAX_VALUES + 1);
  jit().windows = 0;
}
/** Before each pass. */
export function beginValues(): void {
  jit().values = 0;
  addressUnknown();
  forgetValues();
}
/** Notes an access of the first pass. */
export function noteAccess(bytes: i32, write: bool): void {
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
  if (write) store<u8>(WINDOW_WRITE + n, 1);
}
/** Between the passes: values by which memory is reached more than once get windows. */
export function chooseWindows(): void {
  const j = jit();
  if (j.careful) return;
  for (let n: u32 = 1; n <= j.values && j.windows < MAX_WINDOWS; n++) {
    if (load<u32>(WINDOW_COUNT + (<usize>n << 2)) > 1) store<u8>(WINDOW_OF + n, ++j.windows);
  }
}
/** The window of the address at hand, counted from 1; 0: none. */
export function windowOf(bytes: i32, write: bool): u32 {
  const j = jit();
  const n = j.addressValue;
  if (!n || !j.pass || !j.windows) return 0;
  const q = <usize>n << 2;
  const from = j.addressDistance;
  if (from < load<i32>(WINDOW_LO + q) || from + bytes > load<i32>(WINDOW_HI + q) || (write && !load<u8>(WINDOW_WRITE + n))) return 0;
  j.windowOffset = from - load<i32>(WINDOW_LO + q);
  return load<u8>(WINDOW_OF + n);
}
// @ts-ignore: decorator
@inline export function windowLo(n: u32): i32 { return load<i32>(WINDOW_LO + (<usize>n << 2)); }
// @ts-ignore: decorator
@inline export function windowSpan(n: u32): i32 { return load<i32>(WINDOW_HI + (<usize>n << 2)) - windowLo(n); }
/** Whether anybody writes to it: then the table of writes is asked, of which the table of reads knows every page. */
// @ts-ignore: decorator
@inline export function windowWritten(n: u32): bool { return load<u8>(WINDOW_WRITE + n) != 0; }

/** The local with the wasm address of the window's first byte, 0 when the window is closed. */
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
/** On a cold way only: closes all windows but `w`. */
export function closeWindows(w: u32): void {
  const j = jit();
  for (let k: u32 = 1; k <= j.windows; k++) {
    if (k == w || !((j.windowsOpen >> (k - 1)) & 1)) continue;
    i32c(0);
    set(windowLocal(k));
  }
}

// ---- windows that are closed too often ----

// By table slot: u32 accesses that met a closed window, u32 whether the region does without, u64 instruction count when counting began.
const INFO_BYTES: usize = 16;
const MISSES: u32 = 1024;
/** With fewer instructions between two such accesses the region is compiled again without windows. */
const RARE: u64 = 1000;

// @ts-ignore: decorator
@inline function infoOf(slot: u32): usize { return JIT_WINDOWS + <usize>(slot - jit().slotBase) * INFO_BYTES; }
export function beginWindows(slot: u32): void {
  store<u64>(infoOf(slot), 0);
  store<u64>(infoOf(slot), 0, 8);
}
// @ts-ignore: decorator
@inline export function doesWithout(slot: u32): u32 { return load<u32>(infoOf(slot), 4); }

/** An access of the region in `slot` met a closed window; it counts when the TLB has the page. */
export function missedWindow(cpu: Cpu, table: usize, lin: u64, slot: u32): void {
  if (load<u64>(entryAt(table, lin)) != (lin & ~0xfff)) return;
  const info = infoOf(slot);
  const n = load<u32>(info) + 1;
  store<u32>(info, n);
  if (n < MISSES) return;
  store<u32>(info, 0);
  const now = instructionCount(cpu), since = load<u64>(info, 8);
  store<u64>(info, now, 8);
  if (!since || now - since > <u64>MISSES * RARE || doesWithout(slot)) return;
  store<u32>(info, 1, 4);
  store<i32>(slotInfo(slot), 1, 4); // compiled again when it is left
}
