// SSE floating point: arithmetic, comparisons, square roots, horizontal forms. wasm arithmetic does the plain cases (see `nativeOk` and
// `isPlain`), assembly/softfp the rest, bit for bit.
import { Cpu, xmmAt } from "../cpu/state";
import { setArith } from "../cpu/flags";
import { Insn } from "../decode/insn";
import { fpAdd, fpCompare, fpCompareFlags, fpDiv, fpMinMax, fpMul, fpRound, fpSqrt, fpSub } from "../softfp/f64";
import { Round, commitFp, isPlain, magnitude, nativeOk, rounding } from "../softfp/mxcsr";
import { checkSse, rm128, rmLow, setXmm, xmm } from "./sse-operand";
import { reciprocal, reciprocalSqrt } from "./sse-approx";

/** One lane of the operation with this opcode (map 0F 51-5F). */
export function softLane<T>(cpu: Cpu, op: u32, a: T, b: T): T {
  switch (op) {
    case 0x51: return fpSqrt<T>(cpu, b);
    case 0x58: return fpAdd<T>(cpu, a, b);
    case 0x59: return fpMul<T>(cpu, a, b);
    case 0x5c: return fpSub<T>(cpu, a, b);
    case 0x5d: return fpMinMax<T>(cpu, a, b, false);
    case 0x5e: return fpDiv<T>(cpu, a, b);
    default: return fpMinMax<T>(cpu, a, b, true); // 5F
  }
}

// @ts-ignore: decorator
@inline export function dword(v: v128, lane: u32): u32 {
  return <u32>(lane == 0 ? i32x4.extract_lane(v, 0) : lane == 1 ? i32x4.extract_lane(v, 1) : lane == 2 ? i32x4.extract_lane(v, 2) : i32x4.extract_lane(v, 3));
}
// @ts-ignore: decorator
@inline export function qword(v: v128, lane: u32): u64 { return <u64>(lane == 0 ? i64x2.extract_lane(v, 0) : i64x2.extract_lane(v, 1)); }
// @ts-ignore: decorator
@inline export function vec32x4(a: u32, b: u32, c: u32, d: u32): v128 {
  return i32x4.replace_lane(i32x4.replace_lane(i32x4.replace_lane(i32x4.splat(a), 1, b), 2, c), 3, d);
}
// @ts-ignore: decorator
@inline export function vec64x2(a: u64, b: u64): v128 { return i64x2.replace_lane(i64x2.splat(a), 1, b); }

function soft32(cpu: Cpu, op: u32, a: v128, b: v128): v128 {
  return vec32x4(
    softLane<u32>(cpu, op, dword(a, 0), dword(b, 0)), softLane<u32>(cpu, op, dword(a, 1), dword(b, 1)),
    softLane<u32>(cpu, op, dword(a, 2), dword(b, 2)), softLane<u32>(cpu, op, dword(a, 3), dword(b, 3)),
  );
}
function soft64(cpu: Cpu, op: u32, a: v128, b: v128): v128 {
  return vec64x2(softLane<u64>(cpu, op, qword(a, 0), qword(b, 0)), softLane<u64>(cpu, op, qword(a, 1), qword(b, 1)));
}

// Lane masks: plain as in `isPlain`, and zero.
// @ts-ignore: decorator
@inline function zero32(v: v128): v128 { return i32x4.eq(v128.and(v, i32x4.splat(0x7fff_ffff)), i32x4.splat(0)); }
// @ts-ignore: decorator
@inline function zero64(v: v128): v128 { return i64x2.eq(v128.and(v, i64x2.splat(0x7fff_ffff_ffff_ffff)), i64x2.splat(0)); }
export function plain32(v: v128): v128 {
  const m = v128.and(v, i32x4.splat(0x7fff_ffff));
  return v128.or(i32x4.lt_u(i32x4.sub(m, i32x4.splat(0x0100_0000)), i32x4.splat(0x7e80_0000)), i32x4.eq(m, i32x4.splat(0)));
}
export function plain64(v: v128): v128 {
  const m = v128.and(v, i64x2.splat(0x7fff_ffff_ffff_ffff));
  const normal = v128.and(i64x2.gt_s(m, i64x2.splat(0x001f_ffff_ffff_ffff)), i64x2.lt_s(m, i64x2.splat(0x7ff0_0000_0000_0000)));
  return v128.or(normal, i64x2.eq(m, i64x2.splat(0)));
}
// @ts-ignore: decorator
@inline function all32(mask: v128): bool { return i32x4.all_true(mask); }
// @ts-ignore: decorator
@inline function all64(mask: v128): bool { return i64x2.all_true(mask); }

function native32(op: u32, a: v128, b: v128): v128 {
  switch (op) {
    case 0x51: return f32x4.sqrt(b);
    case 0x58: return f32x4.add(a, b);
    case 0x59: return f32x4.mul(a, b);
    case 0x5c: return f32x4.sub(a, b);
    default: return f32x4.div(a, b);
  }
}
function native64(op: u32, a: v128, b: v128): v128 {
  switch (op) {
    case 0x51: return f64x2.sqrt(b);
    case 0x58: return f64x2.add(a, b);
    case 0x59: return f64x2.mul(a, b);
    case 0x5c: return f64x2.sub(a, b);
    default: return f64x2.div(a, b);
  }
}

// A zero product or quotient is only trusted when an operand is zero: otherwise it underflowed.
function packed32(cpu: Cpu, op: u32, a: v128, b: v128): v128 {
  if (op == 0x5d || op == 0x5f) {
    if (all32(v128.and(plain32(a), plain32(b)))) return op == 0x5d ? f32x4.pmin(b, a) : f32x4.pmax(b, a);
  } else if (nativeOk(cpu)) {
    if (op == 0x51) a = b;
    const r = native32(op, a, b);
    let ok = v128.and(v128.and(plain32(a), plain32(b)), plain32(r));
    if (op == 0x59 || op == 0x5e) ok = v128.and(ok, v128.or(v128.not(zero32(r)), v128.or(zero32(a), zero32(b))));
    if (all32(ok)) return r;
  }
  return soft32(cpu, op, a, b);
}
function packed64(cpu: Cpu, op: u32, a: v128, b: v128): v128 {
  if (op == 0x5d || op == 0x5f) {
    if (all64(v128.and(plain64(a), plain64(b)))) return op == 0x5d ? f64x2.pmin(b, a) : f64x2.pmax(b, a);
  } else if (nativeOk(cpu)) {
    if (op == 0x51) a = b;
    const r = native64(op, a, b);
    let ok = v128.and(v128.and(plain64(a), plain64(b)), plain64(r));
    if (op == 0x59 || op == 0x5e) ok = v128.and(ok, v128.or(v128.not(zero64(r)), v128.or(zero64(a), zero64(b))));
    if (all64(ok)) return r;
  }
  return soft64(cpu, op, a, b);
}

// @ts-ignore: decorator
@inline function scalar32(cpu: Cpu, op: u32, a: u32, b: u32): u32 {
  if (op == 0x5d || op == 0x5f) {
    if (isPlain<u32>(a) && isPlain<u32>(b)) {
      const fa = reinterpret<f32>(a), fb = reinterpret<f32>(b);
      return (op == 0x5d ? fa < fb : fa > fb) ? a : b;
    }
  } else if (nativeOk(cpu) && isPlain<u32>(b) && (op == 0x51 || isPlain<u32>(a))) {
    const fa = reinterpret<f32>(a), fb = reinterpret<f32>(b);
    const r = reinterpret<u32>(op == 0x51 ? sqrt<f32>(fb) : op == 0x58 ? fa + fb : op == 0x59 ? fa * fb : op == 0x5c ? fa - fb : fa / fb);
    if (isPlain<u32>(r) && (!(op == 0x59 || op == 0x5e) || magnitude<u32>(r) || !magnitude<u32>(a) || !magnitude<u32>(b))) return r;
  }
  return softLane<u32>(cpu, op, a, b);
}
// @ts-ignore: decorator
@inline function scalar64(cpu: Cpu, op: u32, a: u64, b: u64): u64 {
  if (op == 0x5d || op == 0x5f) {
    if (isPlain<u64>(a) && isPlain<u64>(b)) {
      const fa = reinterpret<f64>(a), fb = reinterpret<f64>(b);
      return (op == 0x5d ? fa < fb : fa > fb) ? a : b;
    }
  } else if (nativeOk(cpu) && isPlain<u64>(b) && (op == 0x51 || isPlain<u64>(a))) {
    const fa = reinterpret<f64>(a), fb = reinterpret<f64>(b);
    const r = reinterpret<u64>(op == 0x51 ? sqrt<f64>(fb) : op == 0x58 ? fa + fb : op == 0x59 ? fa * fb : op == 0x5c ? fa - fb : fa / fb);
    if (isPlain<u64>(r) && (!(op == 0x59 || op == 0x5e) || magnitude<u64>(r) || !magnitude<u64>(a) || !magnitude<u64>(b))) return r;
  }
  return softLane<u64>(cpu, op, a, b);
}

function arithSs(cpu: Cpu, i: Insn, op: u32): void {
  const b = rmLow<u32>(cpu, i);
  const r = scalar32(cpu, op, load<u32>(xmmAt(cpu, i.a)), b);
  commitFp(cpu);
  store<u32>(xmmAt(cpu, i.a), r);
}
// @ts-ignore: decorator
@inline function arithSd(cpu: Cpu, i: Insn, op: u32): void {
  const b = rmLow<u64>(cpu, i);
  const r = scalar64(cpu, op, load<u64>(xmmAt(cpu, i.a)), b);
  commitFp(cpu);
  store<u64>(xmmAt(cpu, i.a), r);
}
function addSd(cpu: Cpu, i: Insn): void { arithSd(cpu, i, 0x58); }
function mulSd(cpu: Cpu, i: Insn): void { arithSd(cpu, i, 0x59); }
function subSd(cpu: Cpu, i: Insn): void { arithSd(cpu, i, 0x5c); }
function otherSd(cpu: Cpu, i: Insn, op: u32): void { arithSd(cpu, i, op); }

/** SQRT ADD MUL SUB MIN DIV MAX: 0F 51, 58, 59, 5C-5F. */
export function arithmetic(cpu: Cpu, i: Insn, op: u32, prefix: u32): void {
  checkSse(cpu);
  switch (prefix) {
    case 0: {
      const b = rm128(cpu, i);
      const r = packed32(cpu, op, xmm(cpu, i.a), b);
      commitFp(cpu);
      setXmm(cpu, i.a, r);
      return;
    }
    case 1: {
      const b = rm128(cpu, i);
      const r = packed64(cpu, op, xmm(cpu, i.a), b);
      commitFp(cpu);
      setXmm(cpu, i.a, r);
      return;
    }
    case 2: return arithSs(cpu, i, op);
    default: switch (op) {
      case 0x58: return addSd(cpu, i);
      case 0x59: return mulSd(cpu, i);
      case 0x5c: return subSd(cpu, i);
      default: return otherSd(cpu, i, op);
    }
  }
}

/** RSQRTPS, RCPPS and their scalar forms (0F 52, 53): no exceptions, no MXCSR. */
export function approximate(cpu: Cpu, i: Insn, op: u32, prefix: u32): void {
  checkSse(cpu);
  if (prefix == 2) {
    const b = rmLow<u32>(cpu, i);
    store<u32>(xmmAt(cpu, i.a), op == 0x52 ? reciprocalSqrt(b) : reciprocal(b));
    return;
  }
  const b = rm128(cpu, i);
  setXmm(cpu, i.a, op == 0x52
    ? vec32x4(reciprocalSqrt(dword(b, 0)), reciprocalSqrt(dword(b, 1)), reciprocalSqrt(dword(b, 2)), reciprocalSqrt(dword(b, 3)))
    : vec32x4(reciprocal(dword(b, 0)), reciprocal(dword(b, 1)), reciprocal(dword(b, 2)), reciprocal(dword(b, 3))));
}

/** UCOMISx and COMISx: 0F 2E, 2F. */
export function compareFlags(cpu: Cpu, i: Insn, op: u32, double: bool): void {
  checkSse(cpu);
  let flags: u32 = 0;
  if (double) {
    const b = rmLow<u64>(cpu, i), a = load<u64>(xmmAt(cpu, i.a));
    if (isPlain<u64>(a) && isPlain<u64>(b)) {
      const fa = reinterpret<f64>(a), fb = reinterpret<f64>(b);
      flags = fa > fb ? 0 : fa < fb ? 1 : 0x40;
    } else flags = fpCompareFlags<u64>(cpu, a, b, op == 0x2e);
  } else {
    const b = rmLow<u32>(cpu, i), a = load<u32>(xmmAt(cpu, i.a));
    if (isPlain<u32>(a) && isPlain<u32>(b)) {
      const fa = reinterpret<f32>(a), fb = reinterpret<f32>(b);
      flags = fa > fb ? 0 : fa < fb ? 1 : 0x40;
    } else flags = fpCompareFlags<u32>(cpu, a, b, op == 0x2e);
  }
  commitFp(cpu);
  setArith(cpu, flags);
}

// @ts-ignore: decorator
@inline function mask32(cpu: Cpu, a: u32, b: u32, predicate: u32): u32 { return fpCompare<u32>(cpu, a, b, predicate) ? <u32>-1 : 0; }
// @ts-ignore: decorator
@inline function mask64(cpu: Cpu, a: u64, b: u64, predicate: u32): u64 { return fpCompare<u64>(cpu, a, b, predicate) ? <u64>-1 : 0; }

/** CMPxx: 0F C2 with an immediate. */
export function compare(cpu: Cpu, i: Insn, prefix: u32): void {
  checkSse(cpu);
  const predicate = <u32>i.imm & 7;
  let r: v128;
  if (prefix > 1) {
    const p = xmmAt(cpu, i.a);
    if (prefix == 2) {
      const b = rmLow<u32>(cpu, i);
      const m = mask32(cpu, load<u32>(p), b, predicate);
      commitFp(cpu);
      store<u32>(p, m);
    } else {
      const b = rmLow<u64>(cpu, i);
      const m = mask64(cpu, load<u64>(p), b, predicate);
      commitFp(cpu);
      store<u64>(p, m);
    }
    return;
  }
  const b = rm128(cpu, i), a = xmm(cpu, i.a);
  if (prefix == 0) {
    if (all32(v128.and(plain32(a), plain32(b)))) {
      switch (predicate & 3) {
        case 0: r = f32x4.eq(a, b); break;
        case 1: r = f32x4.lt(a, b); break;
        case 2: r = f32x4.le(a, b); break;
        default: r = i64x2.splat(0); break;
      }
      if (predicate & 4) r = v128.not(r);
    } else r = vec32x4(
      mask32(cpu, dword(a, 0), dword(b, 0), predicate), mask32(cpu, dword(a, 1), dword(b, 1), predicate),
      mask32(cpu, dword(a, 2), dword(b, 2), predicate), mask32(cpu, dword(a, 3), dword(b, 3), predicate),
    );
  } else {
    if (all64(v128.and(plain64(a), plain64(b)))) {
      switch (predicate & 3) {
        case 0: r = f64x2.eq(a, b); break;
        case 1: r = f64x2.lt(a, b); break;
        case 2: r = f64x2.le(a, b); break;
        default: r = i64x2.splat(0); break;
      }
      if (predicate & 4) r = v128.not(r);
    } else r = vec64x2(mask64(cpu, qword(a, 0), qword(b, 0), predicate), mask64(cpu, qword(a, 1), qword(b, 1), predicate));
  }
  commitFp(cpu);
  setXmm(cpu, i.a, r);
}

/** HADDPx, HSUBPx (7C, 7D) and ADDSUBPx (D0). */
export function horizontal(cpu: Cpu, i: Insn, op: u32, double: bool): void {
  checkSse(cpu);
  const b = rm128(cpu, i), a = xmm(cpu, i.a);
  let r: v128;
  if (op == 0xd0) {
    r = double
      ? vec64x2(softLane<u64>(cpu, 0x5c, qword(a, 0), qword(b, 0)), softLane<u64>(cpu, 0x58, qword(a, 1), qword(b, 1)))
      : vec32x4(
        softLane<u32>(cpu, 0x5c, dword(a, 0), dword(b, 0)), softLane<u32>(cpu, 0x58, dword(a, 1), dword(b, 1)),
        softLane<u32>(cpu, 0x5c, dword(a, 2), dword(b, 2)), softLane<u32>(cpu, 0x58, dword(a, 3), dword(b, 3)),
      );
  } else {
    const kind: u32 = op == 0x7c ? 0x58 : 0x5c;
    r = double
      ? packed64(cpu, kind, v128.shuffle<i64>(a, b, 0, 2), v128.shuffle<i64>(a, b, 1, 3))
      : packed32(cpu, kind, v128.shuffle<i32>(a, b, 0, 2, 4, 6), v128.shuffle<i32>(a, b, 1, 3, 5, 7));
  }
  commitFp(cpu);
  setXmm(cpu, i.a, r);
}

/** ROUNDPS, ROUNDPD, ROUNDSS, ROUNDSD: 0F 3A 08-0B. */
export function round(cpu: Cpu, i: Insn, op: u32): void {
  checkSse(cpu);
  const imm = <u32>i.imm;
  const mode = imm & 4 ? rounding(cpu) : imm & 3;
  const exact = (imm & 8) != 0;
  const p = xmmAt(cpu, i.a);
  if (op == 0x0a) {
    const b = rmLow<u32>(cpu, i);
    const s = fpRound<u32>(cpu, b, mode, exact);
    commitFp(cpu);
    store<u32>(p, s);
    return;
  }
  if (op == 0x0b) {
    const b = rmLow<u64>(cpu, i);
    const d = fpRound<u64>(cpu, b, mode, exact);
    commitFp(cpu);
    store<u64>(p, d);
    return;
  }
  const b = rm128(cpu, i);
  const r = op == 0x08
    ? vec32x4(
      fpRound<u32>(cpu, dword(b, 0), mode, exact), fpRound<u32>(cpu, dword(b, 1), mode, exact),
      fpRound<u32>(cpu, dword(b, 2), mode, exact), fpRound<u32>(cpu, dword(b, 3), mode, exact),
    )
    : vec64x2(fpRound<u64>(cpu, qword(b, 0), mode, exact), fpRound<u64>(cpu, qword(b, 1), mode, exact));
  commitFp(cpu);
  setXmm(cpu, i.a, r);
}

// A lane that the immediate leaves out is +0 and is added all the same.
/** DPPS: products of the lanes chosen by imm 4-7, summed in pairs, to the lanes chosen by imm 0-3. */
export function dotSingle(cpu: Cpu, i: Insn): void {
  checkSse(cpu);
  const imm = <u32>i.imm;
  const b = rm128(cpu, i), a = xmm(cpu, i.a);
  const p0: u32 = imm & 0x10 ? fpMul<u32>(cpu, dword(a, 0), dword(b, 0)) : 0;
  const p1: u32 = imm & 0x20 ? fpMul<u32>(cpu, dword(a, 1), dword(b, 1)) : 0;
  const p2: u32 = imm & 0x40 ? fpMul<u32>(cpu, dword(a, 2), dword(b, 2)) : 0;
  const p3: u32 = imm & 0x80 ? fpMul<u32>(cpu, dword(a, 3), dword(b, 3)) : 0;
  commitFp(cpu); // each step traps on its own
  const low = fpAdd<u32>(cpu, p0, p1);
  const high = fpAdd<u32>(cpu, p2, p3);
  commitFp(cpu);
  const sum = fpAdd<u32>(cpu, low, high);
  commitFp(cpu);
  setXmm(cpu, i.a, vec32x4(imm & 1 ? sum : 0, imm & 2 ? sum : 0, imm & 4 ? sum : 0, imm & 8 ? sum : 0));
}

/** DPPD. */
export function dotDouble(cpu: Cpu, i: Insn): void {
  checkSse(cpu);
  const imm = <u32>i.imm;
  const b = rm128(cpu, i), a = xmm(cpu, i.a);
  const p0: u64 = imm & 0x10 ? fpMul<u64>(cpu, qword(a, 0), qword(b, 0)) : 0;
  const p1: u64 = imm & 0x20 ? fpMul<u64>(cpu, qword(a, 1), qword(b, 1)) : 0;
  commitFp(cpu);
  const sum = fpAdd<u64>(cpu, p0, p1);
  commitFp(cpu);
  setXmm(cpu, i.a, vec64x2(imm & 1 ? sum : 0, imm & 2 ? sum : 0));
}
