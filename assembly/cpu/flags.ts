// Lazy arithmetic flags (engine.md 3): the last flag-setting operation leaves its type and size (flT), one operand (flA) and its result
// (flR, sign-extended to 64 bits); the flags are worked out when somebody reads them. Operations that change CF or OF alone lay their
// value over that (FIX_CF, FIX_OF) and need not work out the rest.
import { Cpu, Lazy, ARITH, CF, PF, AF, ZF, SF, OF } from "./state";

// @ts-ignore: decorator
@inline function widthMask(size: u32): u64 { return <u64>-1 >> (64 - (<u64>8 << size)); }
// @ts-ignore: decorator
@inline function signShift(size: u32): u64 { return (<u64>8 << size) - 1; }

/** The carry flag, 0 or 1. */
export function getCF(cpu: Cpu): u32 {
  if (cpu.flT & Lazy.FIX_CF) return (cpu.flT >> 9) & 1;
  const t = cpu.flT >> 2;
  const mask = widthMask(cpu.flT & 3);
  switch (t & 15) {
    case Lazy.EXPLICIT: return <u32>cpu.flR & 1;
    case Lazy.ADD: return u32((cpu.flR & mask) < (cpu.flA & mask));
    case Lazy.ADC: return u32((cpu.flR & mask) <= (cpu.flA & mask));
    case Lazy.SUB: return u32((cpu.flA & mask) < ((cpu.flA - cpu.flR) & mask));
    case Lazy.SBB: return u32((cpu.flA & mask) <= ((cpu.flA - cpu.flR - 1) & mask));
    case Lazy.INC:
    case Lazy.DEC: return <u32>cpu.flA & 1;
    default: return 0;
  }
}

/** The overflow flag, 0 or 1. */
export function getOF(cpu: Cpu): u32 {
  if (cpu.flT & Lazy.FIX_OF) return (cpu.flT >> 11) & 1;
  const t = (cpu.flT >> 2) & 15;
  const size = cpu.flT & 3;
  const r = cpu.flR, a = cpu.flA;
  switch (t) {
    case Lazy.EXPLICIT: return (<u32>r >> 11) & 1;
    case Lazy.ADD: return <u32>((((a ^ r) & ((r - a) ^ r)) >> signShift(size)) & 1);
    case Lazy.ADC: return <u32>((((a ^ r) & ((r - a - 1) ^ r)) >> signShift(size)) & 1);
    case Lazy.SUB: return <u32>((((a ^ (a - r)) & (a ^ r)) >> signShift(size)) & 1);
    case Lazy.SBB: return <u32>((((a ^ (a - r - 1)) & (a ^ r)) >> signShift(size)) & 1);
    case Lazy.INC: return u32((r & widthMask(size)) == <u64>1 << signShift(size));
    case Lazy.DEC: return u32((r & widthMask(size)) == (<u64>1 << signShift(size)) - 1);
    default: return 0;
  }
}

function getAF(cpu: Cpu): u32 {
  const r = cpu.flR, a = cpu.flA;
  switch ((cpu.flT >> 2) & 15) {
    case Lazy.EXPLICIT: return <u32>r & AF;
    case Lazy.ADD: return <u32>(a ^ (r - a) ^ r) & AF;
    case Lazy.ADC: return <u32>(a ^ (r - a - 1) ^ r) & AF;
    case Lazy.SUB: return <u32>(a ^ (a - r) ^ r) & AF;
    case Lazy.SBB: return <u32>(a ^ (a - r - 1) ^ r) & AF;
    case Lazy.INC: return (<u32>r & 15) == 0 ? AF : 0;
    case Lazy.DEC: return (<u32>r & 15) == 15 ? AF : 0;
    case Lazy.SHIFT: return AF;
    default: return 0;
  }
}

// @ts-ignore: decorator
@inline export function getZF(cpu: Cpu): bool { return cpu.flT & Lazy.KIND ? cpu.flR == 0 : (<u32>cpu.flR & ZF) != 0; }
// @ts-ignore: decorator
@inline export function getSF(cpu: Cpu): bool { return cpu.flT & Lazy.KIND ? <i64>cpu.flR < 0 : (<u32>cpu.flR & SF) != 0; }
export function getPF(cpu: Cpu): bool {
  return cpu.flT & Lazy.KIND ? (popcnt<u32>(<u32>cpu.flR & 0xff) & 1) == 0 : (<u32>cpu.flR & PF) != 0;
}

/** CF, PF, AF, ZF, SF and OF at their places in EFLAGS. */
export function getArith(cpu: Cpu): u32 {
  if (cpu.flT < 4) return <u32>cpu.flR & ARITH;
  return getCF(cpu) | (getPF(cpu) ? PF : 0) | getAF(cpu) | (getZF(cpu) ? ZF : 0) | (getSF(cpu) ? SF : 0) | (getOF(cpu) << 11);
}

/** Sets CF, PF, AF, ZF, SF and OF from their places in `bits`; other bits are ignored. */
// @ts-ignore: decorator
@inline export function setArith(cpu: Cpu, bits: u32): void {
  cpu.flT = 0;
  cpu.flR = <u64>(bits & ARITH);
}

/** The whole of EFLAGS. */
export function getFlags(cpu: Cpu): u32 { return cpu.eflags | getArith(cpu); }

/** Replaces the flags selected by `mask` with those of `value`. Callers that change IF, TF, VM or AC end the block and call updateMode. */
export function setFlags(cpu: Cpu, value: u32, mask: u32): void {
  if (mask & ARITH) setArith(cpu, (getArith(cpu) & ~mask) | (value & mask));
  const rest = mask & ~ARITH;
  cpu.eflags = (cpu.eflags & ~rest) | (value & rest) | 2;
}

/** Condition code `cc` of Jcc, SETcc and CMOVcc (SDM vol. 1, appendix B). */
export function cond(cpu: Cpu, cc: u32): bool {
  let r = false;
  switch (cc >> 1) {
    case 0: r = getOF(cpu) != 0; break;
    case 1: r = getCF(cpu) != 0; break;
    case 2: r = getZF(cpu); break;
    case 3: r = getZF(cpu) || getCF(cpu) != 0; break;
    case 4: r = getSF(cpu); break;
    case 5: r = getPF(cpu); break;
    case 6: r = getSF(cpu) != (getOF(cpu) != 0); break;
    default: r = getZF(cpu) || getSF(cpu) != (getOF(cpu) != 0); break;
  }
  return r != ((cc & 1) != 0);
}

// Setters of the lazy state. `r` is the result, `a` the first operand; T is the operand's width, signed or unsigned.
// @ts-ignore: decorator
@inline function sizeOf<T>(): u32 { return sizeof<T>() == 1 ? 0 : sizeof<T>() == 2 ? 1 : sizeof<T>() == 4 ? 2 : 3; }
// @ts-ignore: decorator
@inline function signExtend<T>(v: T): u64 {
  return sizeof<T>() == 1 ? <u64><i64><i8>v : sizeof<T>() == 2 ? <u64><i64><i16>v : sizeof<T>() == 4 ? <u64><i64><i32>v : <u64>v;
}

// @ts-ignore: decorator
@inline export function lazyFlags<T>(cpu: Cpu, type: u32, a: T, r: T): void {
  cpu.flT = type * 4 + sizeOf<T>();
  cpu.flA = signExtend<T>(a);
  cpu.flR = signExtend<T>(r);
}

/** Flags of AND, OR, XOR, TEST: CF, OF and AF clear. */
// @ts-ignore: decorator
@inline export function logicFlags<T>(cpu: Cpu, r: T): void {
  cpu.flT = Lazy.LOGIC * 4 + sizeOf<T>();
  cpu.flR = signExtend<T>(r);
}

/** Replaces CF alone. */
// @ts-ignore: decorator
@inline export function setCF(cpu: Cpu, cf: u32): void { cpu.flT = (cpu.flT & ~(Lazy.FIX_CF | 0x200)) | Lazy.FIX_CF | (cf << 9); }

/** Replaces CF and OF, both 0 or 1. */
// @ts-ignore: decorator
@inline export function setCarryOverflow(cpu: Cpu, cf: u32, ov: u32): void {
  cpu.flT = (cpu.flT & ~Lazy.FIX) | (Lazy.FIX_CF | Lazy.FIX_OF) | (cf << 9) | (ov << 11);
}

/** Flags of a shift: AF set, CF and OF as given, the rest from the result. */
// @ts-ignore: decorator
@inline export function shiftFlags<T>(cpu: Cpu, r: T, cf: u32, ov: u32): void {
  cpu.flT = (Lazy.SHIFT * 4 + sizeOf<T>()) | (Lazy.FIX_CF | Lazy.FIX_OF) | (cf << 9) | (ov << 11);
  cpu.flR = signExtend<T>(r);
}

/** ZF, SF and PF of a result, at their places, for operations that work out the others themselves. */
export function zspOf<T>(r: T): u32 {
  return (r == <T>0 ? ZF : 0) | (<i64>signExtend<T>(r) < 0 ? SF : 0) | ((popcnt<u32>(<u32>r & 0xff) & 1) == 0 ? PF : 0);
}
