// Shifts and rotates (SDM vol. 2). Where the manual leaves flags undefined (AF, OF of counts above 1), these are those of AMD Zen:
// AF is set by shifts; OF is MSB ^ CF of the result going left, MSB ^ next bit going right, for every count.
import { Cpu, getReg } from "../cpu/state";
import { Insn, osz } from "../decode/insn";
import { rmReadForWrite, rmWrite } from "../decode/operand";
import { Interp, interp } from "../interp/backend";

// @ts-ignore: decorator
@inline function bits<T>(): u32 { return <u32>sizeof<T>() * 8; }
/** MSB of the result xor carry. */
// @ts-ignore: decorator
@inline function leftOF<T>(r: T, cf: u32): u32 { return ((<u32>(<u64>r >> <u64>(bits<T>() - 1)) ^ cf) & 1); }
/** The two top bits of the result, xored. */
// @ts-ignore: decorator
@inline function rightOF<T>(r: T): u32 { return (<u32>((<u64>r ^ (<u64>r << 1)) >> <u64>(bits<T>() - 1)) & 1); }

// The pure operations: `count` is masked to 5 bits (6 for 64-bit operands) and not 0.

// @ts-ignore: decorator
@inline export function shl<B, T>(b: B, x: T, count: u32): T {
  const r: T = <T>(<u64>x << <u64>count);
  const cf = sizeof<T>() == 8 ? <u32>(<u64>x >> <u64>(64 - count)) & 1 : <u32>((<u64>x << <u64>count) >> <u64>bits<T>()) & 1;
  b.shifted<T>(r, cf, leftOF<T>(r, cf));
  return r;
}
// @ts-ignore: decorator
@inline export function shr<B, T>(b: B, x: T, count: u32): T {
  const r: T = <T>(<u64>x >> <u64>count);
  b.shifted<T>(r, <u32>(<u64>x >> <u64>(count - 1)) & 1, rightOF<T>(r));
  return r;
}
// @ts-ignore: decorator
@inline export function sar<B, T>(b: B, x: T, count: u32): T {
  const wide: i64 = sizeof<T>() == 1 ? <i64><i8>x : sizeof<T>() == 2 ? <i64><i16>x : sizeof<T>() == 4 ? <i64><i32>x : <i64>x;
  const r: T = <T>(wide >> <i64>count);
  b.shifted<T>(r, <u32>(wide >> <i64>(count - 1)) & 1, 0);
  return r;
}
// @ts-ignore: decorator
@inline export function rol<B, T>(b: B, x: T, count: u32): T {
  const n = <u64>(count & (bits<T>() - 1));
  const r: T = sizeof<T>() == 8 ? <T>rotl<u64>(<u64>x, n) : <T>((<u64>x << n) | (<u64>x >> (<u64>bits<T>() - n)));
  const cf = <u32>r & 1;
  b.carryOverflow(cf, leftOF<T>(r, cf));
  return r;
}
// @ts-ignore: decorator
@inline export function ror<B, T>(b: B, x: T, count: u32): T {
  const n = <u64>(count & (bits<T>() - 1));
  const r: T = sizeof<T>() == 8 ? <T>rotr<u64>(<u64>x, n) : <T>((<u64>x >> n) | (<u64>x << (<u64>bits<T>() - n)));
  b.carryOverflow(<u32>(<u64>r >> <u64>(bits<T>() - 1)), rightOF<T>(r));
  return r;
}
// @ts-ignore: decorator
@inline export function rcl<B, T>(b: B, x: T, count: u32): T {
  const size = bits<T>();
  const n = sizeof<T>() < 4 ? count % (size + 1) : count;
  let cf = b.carry();
  let r: T = x;
  if (n) {
    // The bits that come in at the bottom: the carry, then the top of x.
    const low: u64 = (<u64>cf << <u64>(n - 1)) | (n > 1 ? <u64>x >> <u64>(size + 1 - n) : 0);
    r = n == 64 ? <T>low : <T>((<u64>x << <u64>n) | low);
    cf = <u32>(<u64>x >> <u64>(size - n)) & 1;
  }
  b.carryOverflow(cf, leftOF<T>(r, cf));
  return r;
}
// @ts-ignore: decorator
@inline export function rcr<B, T>(b: B, x: T, count: u32): T {
  const size = bits<T>();
  const n = sizeof<T>() < 4 ? count % (size + 1) : count;
  let cf = b.carry();
  let r: T = x;
  if (n) {
    const high: u64 = (<u64>cf << <u64>(size - n)) | (n > 1 ? <u64>x << <u64>(size + 1 - n) : 0);
    r = <T>((n == size ? 0 : <u64>x >> <u64>n) | high);
    cf = <u32>(<u64>x >> <u64>(n - 1)) & 1;
  }
  b.carryOverflow(cf, rightOF<T>(r));
  return r;
}

/** SHLD, `count` masked and not 0. A 16-bit operand shifted by more than 16 takes its bits from `y` again. */
// @ts-ignore: decorator
@inline export function shld<B, T>(b: B, x: T, y: T, count: u32): T {
  const size = bits<T>();
  const n = <u64>count;
  let r: T, cf: u32, top: u32;
  if (sizeof<T>() == 2) {
    const wide = (<u64>x << 32) | (<u64>y << 16) | <u64>y;
    r = <T>((wide << n) >> 32);
    cf = count > 16 ? 0 : <u32>((<u64>x << n) >> 16) & 1;
    top = <u32>((<u64>x << n) >> 15) & 1;
  } else {
    r = <T>((<u64>x << n) | (<u64>y >> (<u64>size - n)));
    cf = <u32>(<u64>x >> (<u64>size - n)) & 1;
    top = <u32>(<u64>r >> <u64>(size - 1));
  }
  b.shifted<T>(r, cf, top ^ cf);
  return r;
}
/** SHRD, `count` masked and not 0. */
// @ts-ignore: decorator
@inline export function shrd<B, T>(b: B, x: T, y: T, count: u32): T {
  const n = <u64>count;
  let r: T;
  if (sizeof<T>() == 2) r = <T>(((<u64>y << 32) | (<u64>y << 16) | <u64>x) >> n);
  else r = <T>((<u64>x >> n) | (<u64>y << (<u64>bits<T>() - n)));
  b.shifted<T>(r, <u32>(<u64>x >> (n - 1)) & 1, rightOF<T>(r));
  return r;
}

// The thick forms. A count of 0 leaves flags and operand alone, but the access is still checked for writing.

function shiftBy<T>(cpu: Cpu, i: Insn, kind: u32, raw: u32): void {
  const x = rmReadForWrite<T>(cpu, i);
  const count = raw & (sizeof<T>() == 8 ? 63 : 31);
  if (!count) {
    rmWrite<T>(cpu, i, x);
    return;
  }
  const b = interp(cpu);
  let r: T;
  switch (kind) {
    case 0: r = rol<Interp, T>(b, x, count); break;
    case 1: r = ror<Interp, T>(b, x, count); break;
    case 2: r = rcl<Interp, T>(b, x, count); break;
    case 3: r = rcr<Interp, T>(b, x, count); break;
    case 5: r = shr<Interp, T>(b, x, count); break;
    case 7: r = sar<Interp, T>(b, x, count); break;
    default: r = shl<Interp, T>(b, x, count); break;
  }
  rmWrite<T>(cpu, i, r);
}

function shift(cpu: Cpu, i: Insn, kind: u32, raw: u32): void {
  switch (osz(i)) {
    case 0: shiftBy<u8>(cpu, i, kind, raw); break;
    case 1: shiftBy<u16>(cpu, i, kind, raw); break;
    case 2: shiftBy<u32>(cpu, i, kind, raw); break;
    default: shiftBy<u64>(cpu, i, kind, raw); break;
  }
}

/** ROL ROR RCL RCR SHL SHR SAL SAR by `kind`, count in the immediate. */
export function shiftImm(cpu: Cpu, i: Insn, kind: u32): void { shift(cpu, i, kind, <u32>i.imm); }
/** The same, count in CL. */
export function shiftCl(cpu: Cpu, i: Insn, kind: u32): void { shift(cpu, i, kind, <u32>cpu.rcx); }

function doubleBy<T>(cpu: Cpu, i: Insn, right: bool, raw: u32): void {
  const x = rmReadForWrite<T>(cpu, i);
  const count = raw & (sizeof<T>() == 8 ? 63 : 31);
  if (!count) {
    rmWrite<T>(cpu, i, x);
    return;
  }
  const y = getReg<T>(cpu, i.a);
  const b = interp(cpu);
  rmWrite<T>(cpu, i, right ? shrd<Interp, T>(b, x, y, count) : shld<Interp, T>(b, x, y, count));
}

function double(cpu: Cpu, i: Insn, right: bool, raw: u32): void {
  switch (osz(i)) {
    case 1: doubleBy<u16>(cpu, i, right, raw); break;
    case 2: doubleBy<u32>(cpu, i, right, raw); break;
    default: doubleBy<u64>(cpu, i, right, raw); break;
  }
}

export function shldImm(cpu: Cpu, i: Insn): void { double(cpu, i, false, <u32>i.imm); }
export function shldCl(cpu: Cpu, i: Insn): void { double(cpu, i, false, <u32>cpu.rcx); }
export function shrdImm(cpu: Cpu, i: Insn): void { double(cpu, i, true, <u32>i.imm); }
export function shrdCl(cpu: Cpu, i: Insn): void { double(cpu, i, true, <u32>cpu.rcx); }
