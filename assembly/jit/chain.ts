// From region to region, as long as the jump cache knows where compiled code goes on. A function of its own: the interpreter's is too large to be quick here.
import { recordMiss } from "../cpu/fault";
import { deliverFault } from "../cpu/interrupt";
import { Cpu, NO_MISS } from "../cpu/state";
import { CPU_JUMP, JUMP_ENTRIES } from "../layout";
import { regrow, slotInfo } from "./queue";
import { Left, SLOTS, countExit, jit } from "./state";
import { missedWindow } from "./windows";

/** Runs the region in table slot `slot`, which begins at Cpu.rip, and those that follow. Cpu.bail tells that the interpreter must execute what comes next. */
export function runRegions(cpu: Cpu, slot: u32): void {
  const p = changetype<usize>(cpu);
  const j = jit();
  const before = cpu.end - <u64><i64>cpu.left;
  j.enteredAt = before;
  const slots = SLOTS - (<usize>j.slotBase << 3);
  let from = cpu.rip;
  for (;;) {
    j.entries++;
    j.lastOut = 0;
    call_indirect<void>(slot, p);
    const rip = cpu.rip;
    const e = p + CPU_JUMP + ((<usize>(rip ^ (rip >> 11)) & (JUMP_ENTRIES - 1)) << 4);
    // one condition after the other: joined by || they become values that are tested
    if (load<u64>(e) != rip) break;
    if (load<u32>(e, 8) != cpu.jumpKey) break;
    const next = load<i32>(e, 12);
    if (next >= 0) break;
    if (cpu.bail) break;
    const info = slots + (<usize>slot << 3);
    const left = load<i32>(info, 4) - 1;
    store<i32>(info, left, 4);
    if (!left) regrow(cpu, slot, from);
    slot = next & 0x7fff_ffff;
    from = rip;
  }
  if (cpu.bail == Left.WINDOW + 1 || j.evicted) {
    const window = j.evicted ? 0 : j.missed;
    j.evicted = 0;
    if (missedWindow(slot, window, load<i32>(slotInfo(slot), 4))) regrow(cpu, slot, from);
    cpu.missCode = NO_MISS; // what the compiler asked about memory is no fault of the guest's
  }
  cpu.block = 0;
  j.enteredAt = ~0;
  j.executed += cpu.end - <u64><i64>cpu.left - before;
  if (!cpu.bail) return;
  const why = cpu.bail - 1;
  countExit(why);
  cpu.bail = 1;
  if (why <= Left.WRITE && cpu.missCode != NO_MISS && j.deliver) faultHere(cpu);
}

/** Delivers the page fault that the instruction at Cpu.rip would raise, without unwinding through the host (interp/run.ts). */
function faultHere(cpu: Cpu): void {
  countExit(Left.FAULT);
  cpu.bail = 0;
  cpu.insn = 0;
  cpu.left -= 1;
  recordMiss(cpu);
  deliverFault(cpu);
}
