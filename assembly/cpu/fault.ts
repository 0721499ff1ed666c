// Faults leave by one door: they are recorded in the CPU and an import throws through the wasm frames (RATIONALE.md).
// Architectural state is written after the last point that can fault, so the instruction restarts.
import { Cpu } from "./state";
import { raise } from "../imports";

export namespace Vector {
  export const DE: u32 = 0;
  export const DB: u32 = 1;
  export const NMI: u32 = 2;
  export const BP: u32 = 3;
  export const OF: u32 = 4;
  export const BR: u32 = 5;
  export const UD: u32 = 6;
  export const NM: u32 = 7;
  export const DF: u32 = 8;
  export const TS: u32 = 10;
  export const NP: u32 = 11;
  export const SS: u32 = 12;
  export const GP: u32 = 13;
  export const PF: u32 = 14;
  export const MF: u32 = 16;
  export const AC: u32 = 17;
  export const MC: u32 = 18;
  export const XM: u32 = 19;
}

/** Raises an exception without an error code. Does not return. */
export function fault(cpu: Cpu, vector: u32): void {
  cpu.faultVector = vector;
  cpu.faultHasCode = 0;
  cpu.faultCode = 0;
  cpu.faultPending = 1;
  raise();
  unreachable();
}

/** Raises an exception with an error code. Does not return. */
export function faultCode(cpu: Cpu, vector: u32, code: u32): void {
  cpu.faultVector = vector;
  cpu.faultHasCode = 1;
  cpu.faultCode = code;
  cpu.faultPending = 1;
  raise();
  unreachable();
}

/** #PF with CR2; the code's bits are P, W, U, RSVD, I (SDM vol. 3, 4.7). Does not return. */
export function pageFault(cpu: Cpu, lin: u64, code: u32): void {
  cpu.cr2 = lin;
  faultCode(cpu, Vector.PF, code);
}

/** Records the page fault that a translation without faults found, for a delivery without unwinding. */
export function recordMiss(cpu: Cpu): void {
  cpu.cr2 = cpu.missLin;
  cpu.faultVector = Vector.PF;
  cpu.faultHasCode = 1;
  cpu.faultCode = cpu.missCode;
}
