// Backends of the pure operations (architecture.md 2): the same definition runs on one of these, or is emitted by a compiler.
import { Cpu } from "../cpu/state";
import { getArith, getCF, lazyFlags, logicFlags, setArith, setCarryOverflow, shiftFlags } from "../cpu/flags";

/** Plain interpretation. The pointer of an instance is that of its Cpu. */
@unmanaged
export class Interp {
  // @ts-ignore: decorator
  @inline arith<T>(type: u32, a: T, r: T): void { lazyFlags<T>(changetype<Cpu>(changetype<usize>(this)), type, a, r); }
  // @ts-ignore: decorator
  @inline logic<T>(r: T): void { logicFlags<T>(changetype<Cpu>(changetype<usize>(this)), r); }
  // @ts-ignore: decorator
  @inline carry(): u32 { return getCF(changetype<Cpu>(changetype<usize>(this))); }
  // @ts-ignore: decorator
  @inline flags(bits: u32): void { setArith(changetype<Cpu>(changetype<usize>(this)), bits); }
  // @ts-ignore: decorator
  @inline oldFlags(): u32 { return getArith(changetype<Cpu>(changetype<usize>(this))); }
  // @ts-ignore: decorator
  @inline carryOverflow(cf: u32, ov: u32): void { setCarryOverflow(changetype<Cpu>(changetype<usize>(this)), cf, ov); }
  // @ts-ignore: decorator
  @inline shifted<T>(r: T, cf: u32, ov: u32): void { shiftFlags<T>(changetype<Cpu>(changetype<usize>(this)), r, cf, ov); }
}

/** Interpretation of an operation whose flags nobody reads. The carry that goes in is real. */
@unmanaged
export class Quiet {
  // @ts-ignore: decorator
  @inline arith<T>(type: u32, a: T, r: T): void {}
  // @ts-ignore: decorator
  @inline logic<T>(r: T): void {}
  // @ts-ignore: decorator
  @inline carry(): u32 { return getCF(changetype<Cpu>(changetype<usize>(this))); }
  // @ts-ignore: decorator
  @inline flags(bits: u32): void {}
  // @ts-ignore: decorator
  @inline oldFlags(): u32 { return 0; }
  // @ts-ignore: decorator
  @inline carryOverflow(cf: u32, ov: u32): void {}
  // @ts-ignore: decorator
  @inline shifted<T>(r: T, cf: u32, ov: u32): void {}
}

// @ts-ignore: decorator
@inline export function interp(cpu: Cpu): Interp { return changetype<Interp>(changetype<usize>(cpu)); }
// @ts-ignore: decorator
@inline export function quiet(cpu: Cpu): Quiet { return changetype<Quiet>(changetype<usize>(cpu)); }
