// What the x87 instructions share: stack, responses to exceptions, arithmetic and comparison on operands already fetched.
import { Cpu, CR0_NE, stAt } from "../cpu/state";
import { ferr } from "../imports";
import { Fp, fpOf, IE, DE, ZE, STACK, C0, C1, C2, C3 } from "../softfp/fp";
import { add80, mul80, div80 } from "../softfp/arith";
import { compare80 } from "../softfp/convert";
import { setTop, topOf } from "./x87-state";

const SUMMARY: u32 = 0x8080;
export const CODES: u32 = C0 | C1 | C2 | C3;

/** The context, ready for one instruction. */
// @ts-ignore: decorator
@inline export function begin(cpu: Cpu): Fp {
  const f = fpOf(cpu);
  f.flags = 0;
  f.cw = cpu.fpuControl;
  return f;
}

// @ts-ignore: decorator
@inline export function isEmpty(cpu: Cpu, phys: u32): bool { return (cpu.fpuTags >> phys & 1) != 0; }
/** Physical number of ST(n). */
// @ts-ignore: decorator
@inline export function phys(cpu: Cpu, n: u32): u32 { return (topOf(cpu) + n) & 7; }

// @ts-ignore: decorator
@inline export function pop(cpu: Cpu): void {
  const top = topOf(cpu);
  cpu.fpuTags |= 1 << top;
  setTop(cpu, top + 1);
}

// @ts-ignore: decorator
@inline export function put(p: usize, sig: u64, se: u32): void {
  store<u64>(p, sig);
  store<u16>(p, <u16>se, 8);
}

// @ts-ignore: decorator
@inline export function putIndefinite(p: usize): void { put(p, 0xc000_0000_0000_0000, 0xffff); }

function raiseSummary(cpu: Cpu): void {
  const before = cpu.fpuStatus;
  cpu.fpuStatus = before | SUMMARY;
  if ((before & 0x80) == 0 && (cpu.cr0 & CR0_NE) == 0) ferr(cpu.id);
}

/** Adds f.flags to the status word, first clearing the condition codes in `clear`. False: an unmasked exception keeps the operands as they are. */
// @ts-ignore: decorator
@inline export function commit(cpu: Cpu, f: Fp, clear: u32): bool {
  if ((f.flags & ~f.cw & 0x3f) == 0) {
    cpu.fpuStatus = (cpu.fpuStatus & ~clear) | f.flags;
    return true;
  }
  return commitUnmasked(cpu, f, clear);
}

function commitUnmasked(cpu: Cpu, f: Fp, clear: u32): bool {
  const early = (f.flags & ~f.cw & (IE | DE | ZE)) != 0;
  if (early) f.flags &= IE | DE | ZE | C0 | C2 | C3;
  cpu.fpuStatus = (cpu.fpuStatus & ~clear) | f.flags;
  raiseSummary(cpu);
  return !early;
}

/** IE and SF, C1 = `overflow` (0 or C1). Answers whether the masked response applies. */
export function stackFault(cpu: Cpu, overflow: u32): bool {
  cpu.fpuStatus = (cpu.fpuStatus & ~C1) | IE | STACK | overflow;
  if (cpu.fpuControl & IE) return true;
  raiseSummary(cpu);
  return false;
}

/** Stack underflow of an operation whose result goes to a physical register: the indefinite, if masked. */
export function stackUnderflow(cpu: Cpu, dst: u32): bool {
  if (!stackFault(cpu, 0)) return false;
  putIndefinite(stAt(cpu, dst));
  cpu.fpuTags &= ~(1 << dst);
  return true;
}

// @ts-ignore: decorator
@inline export function push(cpu: Cpu, sig: u64, se: u32): void {
  const top = (topOf(cpu) - 1) & 7;
  setTop(cpu, top);
  cpu.fpuTags &= ~(1 << top);
  put(stAt(cpu, top), sig, se);
}

/** Pushes the result of a load, unless the stack is full or an exception is unmasked. */
// @ts-ignore: decorator
@inline export function pushResult(cpu: Cpu, f: Fp): void {
  if (!isEmpty(cpu, (topOf(cpu) - 1) & 7)) pushOverflow(cpu);
  else if (commit(cpu, f, C1)) push(cpu, f.sig, f.se);
}

export function pushOverflow(cpu: Cpu): void {
  if (stackFault(cpu, C1)) push(cpu, 0xc000_0000_0000_0000, 0xffff);
}

/** ST(0) `kind` the other operand, by the reg field of D8; the result goes to `dst`. Answers whether it was written. */
// @ts-ignore: decorator
@inline export function arith(cpu: Cpu, f: Fp, kind: u32, st0: usize, sig: u64, se: u32, dst: usize): bool {
  const aSig = load<u64>(st0), aSe = <u32>load<u16>(st0, 8);
  switch (kind) {
    case 0: add80(f, aSig, aSe, sig, se, 0); break;
    case 1: mul80(f, aSig, aSe, sig, se); break;
    case 4: add80(f, aSig, aSe, sig, se, 0x8000); break;
    case 5: add80(f, sig, se, aSig, aSe, 0x8000); break;
    case 6: div80(f, aSig, aSe, sig, se); break;
    default: div80(f, sig, se, aSig, aSe); break;
  }
  if (!commit(cpu, f, C1)) return false;
  put(dst, f.sig, f.se);
  return true;
}

/** FCOM and its kin; answers whether to pop. */
export function compareWith(cpu: Cpu, f: Fp, empty: bool, st0: usize, sig: u64, se: u32, quiet: bool): bool {
  if (empty) {
    cpu.fpuStatus |= C0 | C2 | C3;
    return stackFault(cpu, 0);
  }
  compare80(f, load<u64>(st0), <u32>load<u16>(st0, 8), sig, se, quiet);
  return commit(cpu, f, CODES);
}
