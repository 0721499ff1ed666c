// Multiplication and division (SDM vol. 2). Undefined flags as AMD Zen leaves them: MUL and IMUL keep SF ZF AF PF; DIV and IDIV
// keep CF and OF, clear SF ZF PF and set AF.
import { AF, CF, Cpu, OF, getReg, setReg } from "../cpu/state";
import { getArith, setArith, setCarryOverflow } from "../cpu/flags";
import { Vector, fault } from "../cpu/fault";
import { Insn, osz } from "../decode/insn";
import { rmRead } from "../decode/operand";
import { Interp, interp } from "../interp/backend";

// @ts-ignore: decorator
@inline function sext<T>(v: T): i64 {
  return sizeof<T>() == 1 ? <i64><i8>v : sizeof<T>() == 2 ? <i64><i16>v : sizeof<T>() == 4 ? <i64><i32>v : <i64>v;
}

/** Upper half of the unsigned 128-bit product. */
export function mulHighU(x: u64, y: u64): u64 {
  const x0 = x & 0xffff_ffff, x1 = x >> 32, y0 = y & 0xffff_ffff, y1 = y >> 32;
  const mid = x1 * y0 + ((x0 * y0) >> 32);
  const mid2 = x0 * y1 + (mid & 0xffff_ffff);
  return x1 * y1 + (mid >> 32) + (mid2 >> 32);
}
/** Upper half of the signed 128-bit product. */
export function mulHighS(x: u64, y: u64): u64 {
  return mulHighU(x, y) - (<i64>x < 0 ? y : 0) - (<i64>y < 0 ? x : 0);
}

/** Quotient of hi:lo / d; hi < d. The remainder is lo - q * d. Schoolbook in base 2^32 (Knuth 4.3.1, D). */
export function divWide(hi: u64, lo: u64, d: u64): u64 {
  if (!hi) return lo / d;
  const s = clz<u64>(d);
  const v = d << s, v1 = v >> 32, v0 = v & 0xffff_ffff;
  const top = s ? (hi << s) | (lo >> (64 - s)) : hi;
  const rest = lo << s;
  const digit1 = rest >> 32, digit0 = rest & 0xffff_ffff;
  let q1 = top / v1, r1 = top % v1;
  while (q1 >> 32 != 0 || q1 * v0 > ((r1 << 32) | digit1)) {
    q1--;
    r1 += v1;
    if (r1 >> 32 != 0) break;
  }
  const next = ((top << 32) | digit1) - q1 * v;
  let q0 = next / v1, r0 = next % v1;
  while (q0 >> 32 != 0 || q0 * v0 > ((r0 << 32) | digit0)) {
    q0--;
    r0 += v1;
    if (r0 >> 32 != 0) break;
  }
  return (q1 << 32) + q0;
}

/** Whether the signed product of two 64-bit numbers needs more than 64 bits. */
export function mulOverflows(x: u64, y: u64): bool { return mulHighS(x, y) != <u64>(<i64>(x * y) >> 63); }

/** The truncating signed product; CF and OF tell whether it was truncated. */
// @ts-ignore: decorator
@inline export function imul2<B, T>(b: B, x: T, y: T): T {
  let r: T, over: bool;
  if (sizeof<T>() == 8) {
    r = <T>(x * y);
    over = mulHighS(<u64>x, <u64>y) != <u64>(<i64>r >> 63);
  } else {
    const wide = sext<T>(x) * sext<T>(y);
    r = <T>wide;
    over = sext<T>(r) != wide;
  }
  b.carryOverflow(u32(over), u32(over));
  return r;
}

function setOverflow(cpu: Cpu, over: bool): void {
  setCarryOverflow(cpu, u32(over), u32(over));
}

function mulBy<T>(cpu: Cpu, i: Insn): void {
  const y = rmRead<T>(cpu, i);
  if (sizeof<T>() == 8) {
    const hi = mulHighU(cpu.rax, <u64>y);
    cpu.rax *= <u64>y;
    cpu.rdx = hi;
    setOverflow(cpu, hi != 0);
    return;
  }
  const wide = <u64>getReg<T>(cpu, 0) * <u64>y;
  if (sizeof<T>() == 1) {
    setReg<u16>(cpu, 0, <u16>wide);
  } else {
    setReg<T>(cpu, 0, <T>wide);
    setReg<T>(cpu, 16, <T>(wide >> <u64>(sizeof<T>() * 8)));
  }
  setOverflow(cpu, wide >> <u64>(sizeof<T>() * 8) != 0);
}

function imulBy<T>(cpu: Cpu, i: Insn): void {
  const y = rmRead<T>(cpu, i);
  if (sizeof<T>() == 8) {
    const hi = mulHighS(cpu.rax, <u64>y);
    cpu.rax *= <u64>y;
    cpu.rdx = hi;
    setOverflow(cpu, hi != <u64>(<i64>cpu.rax >> 63));
    return;
  }
  const wide = sext<T>(getReg<T>(cpu, 0)) * sext<T>(y);
  if (sizeof<T>() == 1) {
    setReg<u16>(cpu, 0, <u16>wide);
  } else {
    setReg<T>(cpu, 0, <T>wide);
    setReg<T>(cpu, 16, <T>(wide >> <i64>(sizeof<T>() * 8)));
  }
  setOverflow(cpu, sext<T>(<T>wide) != wide);
}

/** Quotient and remainder to AL and AH, or rAX and rDX. */
// @ts-ignore: decorator
@inline function storeDivision<T>(cpu: Cpu, quotient: T, remainder: T): void {
  setReg<T>(cpu, 0, quotient);
  setReg<T>(cpu, sizeof<T>() == 1 ? 1 : 16, remainder);
  setArith(cpu, (getArith(cpu) & (CF | OF)) | AF);
}

function divBy<T>(cpu: Cpu, i: Insn): void {
  const d = <u64>rmRead<T>(cpu, i);
  if (!d) fault(cpu, Vector.DE);
  if (sizeof<T>() == 8) {
    if (cpu.rdx >= d) fault(cpu, Vector.DE);
    const q = divWide(cpu.rdx, cpu.rax, d);
    storeDivision<T>(cpu, <T>q, <T>(cpu.rax - q * d));
    return;
  }
  let n: u64;
  if (sizeof<T>() == 1) n = cpu.rax & 0xffff;
  else n = (<u64>getReg<T>(cpu, 16) << <u64>(sizeof<T>() * 8)) | <u64>getReg<T>(cpu, 0);
  const q = n / d;
  if (q >> <u64>(sizeof<T>() * 8)) fault(cpu, Vector.DE);
  storeDivision<T>(cpu, <T>q, <T>(n - q * d));
}

function idivBy<T>(cpu: Cpu, i: Insn): void {
  const d = sext<T>(rmRead<T>(cpu, i));
  if (!d) fault(cpu, Vector.DE);
  if (sizeof<T>() == 8) {
    let lo = cpu.rax, hi = cpu.rdx;
    const negative = <i64>hi < 0;
    if (negative) {
      lo = 0 - lo;
      hi = ~hi + u64(lo == 0);
    }
    const magnitude: u64 = d < 0 ? 0 - <u64>d : <u64>d;
    if (hi >= magnitude) fault(cpu, Vector.DE);
    let q = divWide(hi, lo, magnitude);
    let r = lo - q * magnitude;
    const opposite = negative != d < 0;
    if (q > 0x7fff_ffff_ffff_ffff + u64(opposite)) fault(cpu, Vector.DE);
    if (opposite) q = 0 - q;
    if (negative) r = 0 - r;
    storeDivision<T>(cpu, <T>q, <T>r);
    return;
  }
  let n: i64;
  if (sizeof<T>() == 1) n = <i64><i16>cpu.rax;
  else if (sizeof<T>() == 2) n = <i64><i32>((<u32>cpu.rdx << 16) | (<u32>cpu.rax & 0xffff));
  else n = <i64>((cpu.rdx << 32) | <u64><u32>cpu.rax);
  if (sizeof<T>() == 4 && n == i64.MIN_VALUE && d == -1) fault(cpu, Vector.DE);
  const q = n / d;
  if (sext<T>(<T>q) != q) fault(cpu, Vector.DE);
  storeDivision<T>(cpu, <T>q, <T>(n - q * d));
}

function imulGeBy<T>(cpu: Cpu, i: Insn): void {
  const y = rmRead<T>(cpu, i);
  setReg<T>(cpu, i.a, imul2<Interp, T>(interp(cpu), getReg<T>(cpu, i.a), y));
}
function imulGeiBy<T>(cpu: Cpu, i: Insn): void {
  setReg<T>(cpu, i.a, imul2<Interp, T>(interp(cpu), rmRead<T>(cpu, i), <T>i.imm));
}

export function mul(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: mulBy<u8>(cpu, i); break;
    case 1: mulBy<u16>(cpu, i); break;
    case 2: mulBy<u32>(cpu, i); break;
    default: mulBy<u64>(cpu, i); break;
  }
}
export function imul(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: imulBy<u8>(cpu, i); break;
    case 1: imulBy<u16>(cpu, i); break;
    case 2: imulBy<u32>(cpu, i); break;
    default: imulBy<u64>(cpu, i); break;
  }
}
export function div(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: divBy<u8>(cpu, i); break;
    case 1: divBy<u16>(cpu, i); break;
    case 2: divBy<u32>(cpu, i); break;
    default: divBy<u64>(cpu, i); break;
  }
}
export function idiv(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: idivBy<u8>(cpu, i); break;
    case 1: idivBy<u16>(cpu, i); break;
    case 2: idivBy<u32>(cpu, i); break;
    default: idivBy<u64>(cpu, i); break;
  }
}
export function imulGe(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 1: imulGeBy<u16>(cpu, i); break;
    case 2: imulGeBy<u32>(cpu, i); break;
    default: imulGeBy<u64>(cpu, i); break;
  }
}
export function imulGei(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 1: imulGeiBy<u16>(cpu, i); break;
    case 2: imulGeiBy<u32>(cpu, i); break;
    default: imulGeiBy<u64>(cpu, i); break;
  }
}
