// One CPU's turn: instruction boundaries with everything that may happen there, and the interpreter between them.
import { Cpu, Exit, IF, TF } from "../cpu/state";
import { armStep, checkInsnBreakpoints, deliverFault, takeDebugTrap, takeInterrupt } from "../cpu/interrupt";
import { BLOCK_COUNT } from "./block-layout";
import { Insn, thisRip } from "../decode/insn";
import { execute } from "../generated/execute";
import { compileDue } from "../jit/queue";
import { Left, countExit, jit } from "../jit/state";
import { unpatch } from "./mode";

/** Runs at most `budget` instructions; a delivered interrupt or fault counts as one. Returns an Exit. */
export function run(cpu: Cpu, budget: i32): i32 {
  cpu.end += <u64><i64>(budget - cpu.left);
  cpu.left = budget;
  compileDue(cpu);
  while (cpu.left > 0) {
    if (cpu.blockedDb != 0 && takeDebugTrap(cpu)) {
      cpu.left -= 1;
      continue;
    }
    if (cpu.halted) cpu.shadow = 0;
    if (takeInterrupt(cpu)) {
      cpu.left -= 1;
      continue;
    }
    if (cpu.halted) return Exit.HALT;
    const pending = (cpu.intr != 0 && (cpu.eflags & IF) != 0) || cpu.nmiPending != 0 || cpu.blockedDb != 0;
    const breakpoints = (cpu.dr7 & 0xff) != 0;
    if ((cpu.eflags & TF) != 0 || breakpoints || (cpu.shadow != 0 && pending)) {
      cpu.end -= <u64>(cpu.left - 1);
      cpu.left = 1;
      if (breakpoints) checkInsnBreakpoints(cpu, cpu.rip);
      if (cpu.eflags & TF) armStep(cpu);
      cpu.shadow = 0;
    }
    execute(cpu);
  }
  return cpu.halted ? Exit.HALT : Exit.BUDGET;
}

/** Delivers the fault that unwound `run`; may unwind again, then it is to be called again. 0 to go on, or Exit.SHUTDOWN. */
export function settleFault(cpu: Cpu): i32 {
  unpatch(cpu);
  const block = cpu.block;
  const insn = cpu.insn;
  if (block != 0 && insn != 0) {
    cpu.left += <i32>load<u16>(block, BLOCK_COUNT) - <i32>changetype<Insn>(insn).idx - 1;
    cpu.rip = thisRip(cpu, changetype<Insn>(insn)) & cpu.addrMask;
  } else cpu.left -= 1;
  const j = jit();
  if (j.enteredAt != ~0) {
    countExit(Left.FAULT);
    j.executed += cpu.end - <u64><i64>cpu.left - j.enteredAt;
    j.enteredAt = ~0;
  }
  cpu.block = 0;
  cpu.insn = 0;
  return deliverFault(cpu);
}
