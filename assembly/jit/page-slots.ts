// Tables that a small loop looks things up in: accesses through an index register mostly stay in one page, whose number and addend are kept in locals and
// compared, so that the TLB's addend is no longer on the way from one turn of the loop to the next. A slot knows only what the TLB has: every call
// that may change the TLB clears the slots, so that accessed and dirty bits are set when the interpreter sets them.
import { INSN_BYTES, Insn } from "../decode/insn";
import { Hot } from "../generated/hot";
import { BLOCK_HEADER } from "../interp/block-layout";
import { opOf } from "./int-flags";
import { L } from "./operands";
import { NODE_LOOP, SLOT_OF, SLOT_USES, jit } from "./state";
import { xmmLocals } from "./sse-reg";
import { W, get, i32c, i64c, op, set, uleb } from "./wasm";

const MAX_SLOTS: u32 = 4;
const KEYS: u32 = 16;

/** Notes an access by index register `key` in the first pass. */
export function noteUse(key: i32): void { if (wanted(key)) store<u8>(SLOT_USES + key, 1); }

/** Whether the index seems to be a byte, so that the table is small: larger ones cost more misses than they save. */
function wanted(key: i32): bool {
  const j = jit();
  if (key < 0 || !load<u8>(NODE_LOOP + j.node)) return false;
  for (let ip = j.ip; ip > j.block + BLOCK_HEADER; ) {
    ip -= INSN_BYTES;
    const i = changetype<Insn>(ip);
    const code = opOf(i);
    if (<i32>(i.a >> 3) == key && (code == Hot.MOVZX_RR || code == Hot.MOVZX_RM)) return true;
  }
  return false;
}
export function forgetUses(): void {
  memory.fill(SLOT_USES, 0, KEYS);
  memory.fill(SLOT_OF, 0, KEYS);
  jit().pageSlots = 0;
}
/** Between the passes: index registers that are used in loops get slots. */
export function chooseSlots(): void {
  const j = jit();
  for (let n: u32 = 0; n < KEYS && j.pageSlots < MAX_SLOTS; n++) if (load<u8>(SLOT_USES + n)) store<u8>(SLOT_OF + n, ++j.pageSlots);
}

/** The slot of an index register, counted from 1; 0: none. */
// @ts-ignore: decorator
@inline export function slotOf(key: i32): u32 { return !jit().pageSlots || !jit().pass || !wanted(key) ? 0 : <u32>load<u8>(SLOT_OF + key); }

// Locals of a slot: the page that may be read, the page that may be written, the addends of both.
// @ts-ignore: decorator
@inline function first(): u32 { return L.GPR + 16 + xmmLocals(); }
// @ts-ignore: decorator
@inline export function pageLocal(slot: u32, write: bool): u32 { return first() + ((slot - 1) << 1) + u32(write); }
// @ts-ignore: decorator
@inline export function addendLocal(slot: u32, write: bool): u32 { return pageLocal(slot, write) + (jit().pageSlots << 1); }

// @ts-ignore: decorator
@inline export function slotGroups(): u32 { return jit().pageSlots ? 2 : 0; }
export function declareSlots(): void {
  const j = jit();
  if (!j.pageSlots) return;
  uleb(j.pageSlots << 1);
  op(j.wide ? W.I64 : W.I32);
  uleb(j.pageSlots << 1);
  op(W.I32);
}
/** Makes all slots unknown. */
export function clearSlots(): void {
  const j = jit();
  for (let n: u32 = 1; n <= j.pageSlots; n++) {
    for (let write: u32 = 0; write < 2; write++) {
      if (j.wide) i64c(-1);
      else i32c(-1);
      set(pageLocal(n, write != 0));
    }
  }
}
/** Notes the page of address `ad`, whose addend is in L.E. */
export function fillSlot(slot: u32, write: bool, ad: u32): void {
  const wide = jit().wide;
  get(L.E);
  set(addendLocal(slot, write));
  // page 0 is not kept: the last bytes of the address space would seem to be in it
  pushPage(ad);
  pushPage(ad);
  op(wide ? W.I64_EQZ : W.I32_EQZ);
  if (wide) op(W.I64_EXTEND_U);
  op(wide ? W.I64_SUB : W.I32_SUB);
  set(pageLocal(slot, write));
}
function pushPage(ad: u32): void {
  get(ad);
  if (jit().wide) {
    i64c(~0xfff);
    op(W.I64_AND);
  } else {
    i32c(~0xfff);
    op(W.I32_AND);
  }
}
