// Registers and memory operands of compiled code. Sizes are log2 bytes; values of 64 bits are i64 on the stack, smaller ones i32, zero-extended.
import { Cpu } from "../cpu/state";
import { BLOCK_COUNT } from "../interp/block-layout";
import { Insn } from "../decode/insn";
import { spillFlags } from "./flags";
import { PLAIN, bail, popLabel, pushLabel } from "./flow";
import { spillXmm } from "./sse-reg";
import { addendLocal, clearSlots, fillSlot, noteUse, pageLocal, slotOf } from "./page-slots";
import { addressBy, addressUnknown, forgetValue, noteAccess, windowLocal, windowOf, windowSpan } from "./windows";
import { Jit, Left, jit } from "./state";
import { W, call, get, hintedIf, i32c, i64c, mem, op, set, tee } from "./wasm";

/** Locals of a region's function. */
export namespace L {
  export const CPU: u32 = 0;
  export const LEFT: u32 = 1; // Cpu.left, but for the pending instructions
  export const FT: u32 = 2; // lazy flags, as in the record
  export const E: u32 = 3;
  export const X: u32 = 4; // 32-bit temporaries
  export const Y: u32 = 5;
  export const T: u32 = 6;
  export const AD: u32 = 7; // linear address of the operand
  export const H: u32 = 8; // wasm address of the operand
  export const A: u32 = 9; // first operand and result of the last operation that set all flags
  export const R: u32 = 10;
  export const N: u32 = 11; // result of an INC or DEC behind it
  export const O: u32 = 12; // result of a rotation behind it, or its CF
  export const CY: u32 = 13;
  export const CY2: u32 = 14; // a condition
  export const CI: u32 = 15; // carry that came into an ADC or SBB
  export const LO: u32 = 16; // first byte of a window
  export const I32S: u32 = 16;
  export const FA: u32 = 17; // the same for 64 bits; flA and flR of the record in the dynamic state
  export const FR: u32 = 18;
  export const N64: u32 = 19;
  export const O64: u32 = 20;
  export const P64: u32 = 21;
  export const RIP: u32 = 22; // of the entry
  export const NEXT: u32 = 23; // where the region is left for
  export const AD64: u32 = 24;
  export const X64: u32 = 25;
  export const Y64: u32 = 26;
  export const T64: u32 = 27;
  export const LO64: u32 = 28;
  export const I64S: u32 = 12;
  export const V: u32 = 29;
  export const GPR: u32 = 30;
}

/** Functions of the core that regions import, in the order of module.ts. */
export namespace Fn {
  export const READ: u32 = 0;
  export const WRITE: u32 = 1;
  export const THICK: u32 = 2;
  export const END: u32 = 3;
  export const COND: u32 = 4;
  export const CARRY: u32 = 5;
  export const MUL_OVER: u32 = 6;
  export const BSWAP: u32 = 7;
  export const ARITH: u32 = 8;
  export const DIV_WIDE: u32 = 9;
  export const END_ON: u32 = 10;
  export const SSE: u32 = 11;
  export const VECTOR: u32 = 12;
  export const X87: u32 = 13;
  export const STRING: u32 = 14;
  export const MAPPED: u32 = 15;
  export const COUNT: u32 = 16;
}

/** Sizes of the generator's lists: bytes, words, doublewords, quadwords. */
// @ts-ignore: decorator
@inline export function bdq(n: u32): u32 { return n ? n + 1 : 0; }
// @ts-ignore: decorator
@inline export function dq(n: u32): u32 { return n + 2; }

// @ts-ignore: decorator
@inline export function lx(s: u32): u32 { return s == 3 ? L.X64 : L.X; }
// @ts-ignore: decorator
@inline export function ly(s: u32): u32 { return s == 3 ? L.Y64 : L.Y; }
// @ts-ignore: decorator
@inline export function lt(s: u32): u32 { return s == 3 ? L.T64 : L.T; }
// @ts-ignore: decorator
@inline export function la(s: u32): u32 { return s == 3 ? L.FA : L.A; }
// @ts-ignore: decorator
@inline export function ln(s: u32): u32 { return s == 3 ? L.N64 : L.N; }
// @ts-ignore: decorator
@inline export function lo(s: u32): u32 { return s == 3 ? L.O64 : L.O; }
// @ts-ignore: decorator
@inline export function lr(s: u32): u32 { return s == 3 ? L.FR : L.R; }

/** A constant of the size. */
export function constant(s: u32, v: u64): void {
  if (s == 3) i64c(<i64>v);
  else i32c(<i32>v & (s == 0 ? 0xff : s == 1 ? 0xffff : -1));
}
/** A binary operation given by its 32-bit opcode, on operands of the size; the result may have bits above it. */
export function arith(s: u32, opcode32: u32): void {
  if (s != 3) op(opcode32);
  else if (opcode32 < W.I32_EQZ + 11) op(opcode32 + (W.I64_EQZ - W.I32_EQZ));
  else op(opcode32 + (W.I64_ADD - W.I32_ADD));
}
/** Cuts an i32 to the size. */
export function cut(s: u32): void {
  if (s > 1) return;
  i32c(s ? 0xffff : 0xff);
  op(W.I32_AND);
}
/** The value as a signed number of its stack type. */
export function signed(s: u32): void {
  if (s == 0) op(W.I32_EXTEND8_S);
  else if (s == 1) op(W.I32_EXTEND16_S);
}
/** The value, sign-extended to i64. */
export function widen(s: u32): void {
  if (s == 3) return;
  signed(s);
  op(W.I64_EXTEND_S);
}

/** Pushes the CPU's record: a constant, as the tables behind it are. */
export function record(): void { i32c(<i32>jit().cpu); }

function useReg(n: u32): void { jit().used |= 1 << n; }
export function dirtyReg(n: u32): void {
  const j = jit();
  j.used |= 1 << n;
  j.everDirty |= 1 << n;
  j.dirty |= 1 << n;
  forgetValue(n);
}

/** Pushes the register at a byte offset of the register file. */
export function pushReg(offset: u32, s: u32): void {
  const n = offset >> 3;
  useReg(n);
  get(L.GPR + n);
  if (s == 3) return;
  if (jit().wide) op(W.I32_WRAP);
  if (offset & 7) {
    i32c(8);
    op(W.I32_SHR_U);
  }
  cut(s);
}

/** Pops a value, zero-extended, into a register; 32 bits clear the upper half, less keep the rest. */
export function popReg(offset: u32, s: u32): void {
  const n = offset >> 3;
  const wide = jit().wide;
  if (s < 2) {
    const shift = (offset & 7) << 3;
    const mask = (s ? <u64>0xffff : <u64>0xff) << <u64>shift;
    useReg(n);
    if (wide) {
      op(W.I64_EXTEND_U);
      if (shift) {
        i64c(shift);
        op(W.I64_SHL);
      }
      get(L.GPR + n);
      i64c(~mask);
      op(W.I64_AND);
      op(W.I64_OR);
    } else {
      if (shift) {
        i32c(shift);
        op(W.I32_SHL);
      }
      get(L.GPR + n);
      i32c(<i32>~mask);
      op(W.I32_AND);
      op(W.I32_OR);
    }
  } else if (s == 2 && wide) op(W.I64_EXTEND_U);
  dirtyReg(n);
  set(L.GPR + n);
}

/** Pushes the instruction pointer `delta` bytes behind the block's start, as i64. */
export function pushRip(delta: i32): void { pushRipAt(jit().delta + delta); }
/** Pushes the instruction pointer `d` bytes behind the region's entry, as i64. */
export function pushRipAt(d: i32): void {
  get(L.RIP);
  if (!d) return;
  if (jit().code64) {
    i64c(d);
    op(W.I64_ADD);
    return;
  }
  op(W.I32_WRAP);
  i32c(d);
  op(W.I32_ADD);
  op(W.I64_EXTEND_U);
}

const ZERO: u32 = <u32>offsetof<Cpu>("zero");
const BRIP: u32 = <u32>offsetof<Cpu>("brip");

function pushBase(offset: u32): void {
  const j = jit();
  if (offset < ZERO) {
    useReg(offset >> 3);
    get(L.GPR + (offset >> 3));
  } else if (offset == BRIP) pushRip(0);
  else {
    record();
    mem(j.wide ? W.I64_LOAD : W.I32_LOAD, offset);
  }
}

/** Pushes the effective address, as wide as registers are; `mask`: wrapped to the mode's addresses. */
export function pushAddress(i: Insn, mask: bool): void {
  const j = jit();
  const wide = j.wide;
  const base = <u32>i.base, index = <u32>i.index;
  const add = wide ? W.I64_ADD : W.I32_ADD;
  let some = false;
  let disp = <i64>i.disp;
  if (base == BRIP) {
    // RIP-relative, 64-bit mode only
    get(L.RIP);
    disp += <i64>jit().delta;
    some = true;
  } else if (base != ZERO) {
    pushBase(base);
    some = true;
  }
  addressUnknown();
  if (mask && base < ZERO && index == ZERO && j.wide == j.code64) addressBy(base >> 3, <i64>i.disp);
  j.key = mask && index < ZERO ? <i32>(index >> 3) : -1;
  if (index != ZERO) {
    pushBase(index);
    if (i.sib & 3) {
      if (wide) {
        i64c(i.sib & 3);
        op(W.I64_SHL);
      } else {
        i32c(i.sib & 3);
        op(W.I32_SHL);
      }
    }
    if (some) op(add);
    some = true;
  }
  if (disp != 0 || !some) {
    if (wide) i64c(disp);
    else i32c(<i32>disp);
    if (some) op(add);
  }
  if (mask && wide && !jit().code64) {
    i64c(0xffff_ffff);
    op(W.I64_AND);
  }
}

/** Behind a call that may have changed the TLB: everything is looked up again. */
export function forgetAddresses(): void {
  clearSlots();
  jit().windowsOpen = 0;
  jit().windowsWrite = 0;
}

/** Writes registers and flags back, so that the record is exact; the locals stay what they are. */
export function spill(): void {
  spillRegisters(0xffff);
  spillXmm();
  spillFlags();
}
/** Writes the general registers among `some`, by number, back. */
export function spillRegisters(some: u32): void {
  const j = jit();
  for (let n: u32 = 0; n < 16; n++) {
    if (!((j.dirty & some) >> n & 1)) continue;
    record();
    get(L.GPR + n);
    if (!j.wide) op(W.I64_EXTEND_U);
    mem(W.I64_STORE, n << 3);
  }
}

/** The last parameters of the core's functions: block, budget behind it, instruction pointer of the block. */
export function pushPlace(): void {
  const j = jit();
  i32c(<i32>j.block);
  get(L.LEFT);
  i32c(j.pending + <i32>load<u16>(j.block, BLOCK_COUNT));
  op(W.I32_SUB);
  pushRip(0);
}

/** Size codes of memory operands beyond 0 to 3. */
export const SIZE_128: u32 = 4;
export const SIZE_128_ALIGNED: u32 = 5;
/** With a size, for the core: windows are open, so that the TLB must keep what it has. */
export const SIZE_WINDOWS: u32 = 16;

/** Pushes the page of the last byte of an access to the address in local `ad`. */
function pushLastPage(ad: u32, bytes: u32): void {
  const wide = jit().wide;
  get(ad);
  if (bytes > 1) {
    if (wide) i64c(bytes - 1);
    else i32c(bytes - 1);
    op(wide ? W.I64_ADD : W.I32_ADD);
  }
  if (wide) i64c(~0xfff);
  else i32c(~0xfff);
  op(wide ? W.I64_AND : W.I32_AND);
}
/** Compares the pages on the stack; alignment counts too where it must. */
function samePage(ad: u32, s: u32): void {
  const wide = jit().wide;
  op(wide ? W.I64_EQ : W.I32_EQ);
  if (s != SIZE_128_ALIGNED) return;
  get(ad);
  if (wide) op(W.I32_WRAP);
  i32c(15);
  op(W.I32_AND);
  op(W.I32_EQZ);
  op(W.I32_AND);
}

// What an access leaves: the operand's wasm address, its value, or nothing, when it stores one that `setStored` named.
namespace Form {
  export const ADDRESS: u32 = 0;
  export const LOAD: u32 = 1;
  export const STORE: u32 = 2;
}
/** Values that a store may have. */
export namespace Stored {
  export const REGISTER: u32 = 0; // offset in the register file
  export const CONSTANT: u32 = 1;
  export const LOCAL: u32 = 2;
  export const RETURN: u32 = 3; // the instruction pointer, so many bytes behind the block's start
}

/**
 * Takes the linear address from the stack and leaves the operand's wasm address there. The fast path is the interpreter's; the slow one
 * returns 0 when the instruction faults or is the interpreter's business for another reason: the region is left before it.
 */
export function access(s: u32, write: bool): void { reach(s, write, Form.ADDRESS, 0, 0); }
/** Takes the linear address from the stack and leaves the value there. */
export function read(s: u32): void { reach(s, false, Form.LOAD, 0, 0); }
/** Takes the linear address from the stack and stores what `v` says of a kind of `Stored`. */
export function write(s: u32, what: u32, v: u64): void { reach(s, true, Form.STORE, what, v); }

function reach(s: u32, writes: bool, form: u32, what: u32, v: u64): void {
  const j = jit();
  const ad = j.wide ? L.AD64 : L.AD;
  if (!j.pass) {
    noteUse(j.key);
    noteAccess(bytesOf(s));
  }
  const slot = slotOf(j.key);
  const window = slot ? 0 : windowOf(bytesOf(s));
  const value = j.addressValue;
  j.key = -1;
  addressUnknown();
  if (window) {
    set(ad);
    throughWindow(window, value, s, writes, form, what, v);
  } else if (slot) {
    set(ad);
    pushLastPage(ad, bytesOf(s));
    get(pageLocal(slot, writes));
    samePage(ad, s);
    hintedIf(typeOf(form, s), true);
    get(ad);
    if (j.wide) op(W.I32_WRAP);
    get(addendLocal(slot, writes));
    op(W.I32_ADD);
    finish(form, s, 0, what, v);
    op(W.ELSE);
    pushLabel(PLAIN, 0);
    get(ad);
    look(s, writes, slot, form, what, v);
    popLabel();
    op(W.END);
  } else {
    tee(ad);
    look(s, writes, 0, form, what, v);
  }
}
function bytesOf(s: u32): i32 { return s >= 4 ? 16 : 1 << s; }
function typeOf(form: u32, s: u32): u32 { return form == Form.STORE ? W.VOID : form == Form.LOAD && s == 3 ? W.I64 : W.I32; }

/** The wasm address on the stack, and `offset` bytes more, becomes what the form says. */
function finish(form: u32, s: u32, offset: u32, what: u32, v: u64): void {
  if (form == Form.LOAD) mem(loadOf(s), offset);
  else if (form == Form.STORE) {
    if (what == Stored.REGISTER) pushReg(<u32>v, s);
    else if (what == Stored.CONSTANT) constant(s, v);
    else if (what == Stored.LOCAL) get(<u32>v);
    else {
      pushRip(<i32>v);
      if (s == 2) op(W.I32_WRAP);
    }
    mem(storeOf(s), offset);
  } else if (offset) {
    i32c(offset);
    op(W.I32_ADD);
  }
}

/** Pushes the offset of the TLB entry for the address on the stack. */
function pushEntry(): void {
  if (jit().wide) op(W.I32_WRAP);
  i32c(8);
  op(W.I32_SHR_U);
  i32c(0xfff0);
  op(W.I32_AND);
}

/** The core finds the operand of the address in local `ad`, whose wasm address is in H behind it, or the region is left. */
function callCore(s: u32, writes: bool, labels: u32): void {
  record();
  get(jit().wide ? L.AD64 : L.AD);
  if (!jit().wide) op(W.I64_EXTEND_U);
  i32c(s | (jit().windowsOpen ? SIZE_WINDOWS : 0));
  call(writes ? Fn.WRITE : Fn.READ);
  tee(L.H);
  op(W.I32_EQZ);
  hintedIf(W.VOID, false);
  pushLabel(PLAIN, 0, labels);
  bail(writes ? Left.WRITE : Left.READ);
  popLabel(labels);
  op(W.END);
}

/** The operand by the TLB, for the address on the stack and in its local; a page that is found goes into the slot. */
function look(s: u32, writes: bool, slot: u32, form: u32, what: u32, v: u64): void {
  const wide = jit().wide;
  const ad = wide ? L.AD64 : L.AD;
  const table = <u32>(writes ? jit().tableWrite : jit().tableRead);
  pushEntry();
  tee(L.E);
  mem(wide ? W.I64_LOAD : W.I32_LOAD, table);
  pushLastPage(ad, bytesOf(s));
  samePage(ad, s);
  hintedIf(typeOf(form, s), true);
  if (slot) {
    get(L.E);
    mem(W.I32_LOAD, table + 8);
    set(L.E);
    fillSlot(slot, writes, ad);
  }
  get(ad);
  if (wide) op(W.I32_WRAP);
  get(L.E);
  if (!slot) mem(W.I32_LOAD, table + 8);
  op(W.I32_ADD);
  finish(form, s, 0, what, v);
  op(W.ELSE);
  callCore(s, writes, 2);
  clearSlots();
  get(L.H);
  finish(form, s, 0, what, v);
  op(W.END);
}

/** The operand by a window, which the first access opens, and the first one that writes once more; the address is in its local. */
function throughWindow(window: u32, value: u32, s: u32, writes: bool, form: u32, what: u32, v: u64): void {
  const j = jit();
  const offset = j.windowOffset;
  const bit: u32 = 1 << (window - 1);
  if (s == SIZE_128_ALIGNED) {
    get(j.wide ? L.AD64 : L.AD);
    if (j.wide) op(W.I32_WRAP);
    i32c(15);
    op(W.I32_AND);
    hintedIf(W.VOID, false);
    pushLabel(PLAIN, 0);
    bail(Left.REFUSED);
    popLabel();
    op(W.END);
  }
  if (!((writes ? j.windowsWrite : j.windowsOpen) & bit)) {
    openWindow(window, windowSpan(value), offset, s, writes);
    j.windowsOpen |= bit;
    if (writes) j.windowsWrite |= bit;
  }
  get(windowLocal(window));
  finish(form, s, offset, what, v);
}
/** The region is left before the instruction when the window does not lie in one page that may be read or written without further ado. */
function openWindow(window: u32, span: i32, offset: i32, s: u32, writes: bool): void {
  const wide = jit().wide;
  const lo = wide ? L.LO64 : L.LO;
  const table = <u32>(writes ? jit().tableWrite : jit().tableRead);
  get(wide ? L.AD64 : L.AD);
  if (offset) {
    if (wide) i64c(offset);
    else i32c(offset);
    op(wide ? W.I64_SUB : W.I32_SUB);
  }
  tee(lo);
  pushEntry();
  tee(L.E);
  compareTag(lo, span, table, W.I32_EQ);
  hintedIf(W.I32, true);
  pushOpened(lo, table);
  op(W.ELSE);
  // the core brings the page into the TLB, if it can
  callCore(s < SIZE_128_ALIGNED ? s : SIZE_128, writes, 2);
  clearSlots();
  get(L.E);
  compareTag(lo, span, table, W.I32_NE);
  hintedIf(W.VOID, false);
  pushLabel(PLAIN, 0, 2);
  i32c(<i32>changetype<usize>(jit()));
  i32c(window);
  mem(W.I32_STORE, <u32>offsetof<Jit>("missed"));
  bail(Left.WINDOW);
  popLabel(2);
  op(W.END);
  pushOpened(lo, table);
  op(W.END);
  set(windowLocal(window));
}
/** Compares the tag of the TLB entry whose offset is on the stack with the page of the window's last byte, by the 32-bit opcode. */
function compareTag(lo: u32, span: i32, table: u32, opcode32: u32): void {
  const wide = jit().wide;
  mem(wide ? W.I64_LOAD : W.I32_LOAD, table);
  pushLastPage(lo, span);
  op(wide ? opcode32 + (W.I64_EQ - W.I32_EQ) : opcode32);
}
/** Pushes the wasm address of the window's first byte, by the TLB entry in E. */
function pushOpened(lo: u32, table: u32): void {
  get(lo);
  if (jit().wide) op(W.I32_WRAP);
  get(L.E);
  mem(W.I32_LOAD, table + 8);
  op(W.I32_ADD);
}

/** Wasm address on the stack becomes the value. */
export function fetch(s: u32): void { mem(loadOf(s), 0); }
/** Wasm address and value are on the stack. */
export function put(s: u32): void { mem(storeOf(s), 0); }
// @ts-ignore: decorator
@inline function loadOf(s: u32): u32 { return s == 0 ? W.I32_LOAD8_U : s == 1 ? W.I32_LOAD16_U : s == 2 ? W.I32_LOAD : W.I64_LOAD; }
// @ts-ignore: decorator
@inline function storeOf(s: u32): u32 { return s == 0 ? W.I32_STORE8 : s == 1 ? W.I32_STORE16 : s == 2 ? W.I32_STORE : W.I64_STORE; }

/** Pushes the value of the record's memory operand. */
export function readOperand(i: Insn, s: u32): void {
  pushAddress(i, true);
  read(s);
}
