// SSE conversions between single and double precision and integers: 0F 2A, 2C, 2D, 5A, 5B, E6.
import { Cpu, getGpr, setGpr, xmmAt } from "../cpu/state";
import { Insn, isMem, rexW } from "../decode/insn";
import { rmLin } from "../decode/operand";
import { readLin } from "../mmu/access";
import { fpFromInt, fpNarrow, fpToInt, fpWiden } from "../softfp/f64-convert";
import { PE, PM, Round, commitFp, isPlain, nativeOk, rounding } from "../softfp/mxcsr";
import { dword, qword, vec32x4, vec64x2 } from "./sse-fp";
import { badOp, checkSse, low64, mmx, rm128, rmLow, rmVec64, setMmx, setXmm, vec64, xmm } from "./sse-operand";
import { checkMmx, mmxEnter } from "./x87-state";

function generalOperand(cpu: Cpu, i: Insn): i64 {
  if (rexW(i)) return isMem(i) ? readLin<i64>(cpu, rmLin(cpu, i, 8, false)) : <i64>getGpr(cpu, i.b);
  return <i64>(isMem(i) ? readLin<i32>(cpu, rmLin(cpu, i, 4, false)) : <i32>getGpr(cpu, i.b));
}

function mmxToFloat(cpu: Cpu, i: Insn, double: bool): void {
  checkSse(cpu);
  let b: u64 = 0;
  if (isMem(i)) {
    if (!double) checkMmx(cpu); // CVTPI2PD leaves the x87 unit alone when its source is memory
    b = readLin<u64>(cpu, rmLin(cpu, i, 8, false));
    if (!double) mmxEnter(cpu);
  } else {
    checkMmx(cpu);
    b = mmx(cpu, i.b);
    mmxEnter(cpu);
  }
  if (double) {
    setXmm(cpu, i.a, f64x2.convert_low_i32x4_s(vec64(b)));
    return;
  }
  const low = fpFromInt<u32>(cpu, <i64><i32>b), high = fpFromInt<u32>(cpu, <i64>b >> 32);
  commitFp(cpu);
  store<u64>(xmmAt(cpu, i.a), <u64>low | (<u64>high << 32));
}

/** CVTPI2PS, CVTPI2PD, CVTSI2SS, CVTSI2SD. */
export function fromInteger(cpu: Cpu, i: Insn, prefix: u32): void {
  if (prefix < 2) return mmxToFloat(cpu, i, prefix == 1);
  checkSse(cpu);
  const v = generalOperand(cpu, i);
  const p = xmmAt(cpu, i.a);
  if (prefix == 3) {
    if ((v << 11) >> 11 == v || nativeOk(cpu)) {
      store<f64>(p, <f64>v);
      return;
    }
    const r = fpFromInt<u64>(cpu, v);
    commitFp(cpu);
    store<u64>(p, r);
  } else {
    if ((v << 40) >> 40 == v || nativeOk(cpu)) {
      store<f32>(p, <f32>v);
      return;
    }
    const r = fpFromInt<u32>(cpu, v);
    commitFp(cpu);
    store<u32>(p, r);
  }
}

/** CVTTxx2xI (0F 2C) and CVTxx2xI (0F 2D). */
export function toInteger(cpu: Cpu, i: Insn, op: u32, prefix: u32): void {
  checkSse(cpu);
  const mode = op == 0x2c ? Round.ZERO : rounding(cpu);
  if (prefix < 2) {
    checkMmx(cpu);
    let low: i64, high: i64;
    if (prefix == 1) {
      const b = rm128(cpu, i);
      low = fpToInt<u64>(cpu, qword(b, 0), mode, 32);
      high = fpToInt<u64>(cpu, qword(b, 1), mode, 32);
    } else {
      const b = rmLow<u64>(cpu, i);
      low = fpToInt<u32>(cpu, <u32>b, mode, 32);
      high = fpToInt<u32>(cpu, <u32>(b >> 32), mode, 32);
    }
    commitFp(cpu);
    mmxEnter(cpu);
    setMmx(cpu, i.a, <u64><u32>low | (<u64>high << 32));
    return;
  }
  const bits: u32 = rexW(i) ? 64 : 32;
  let r: i64;
  if (prefix == 3) {
    const b = rmLow<u64>(cpu, i);
    const f = reinterpret<f64>(b);
    if (op == 0x2c && isPlain<u64>(b) && abs<f64>(f) < 2147483648.0) {
      r = <i64><i32>f;
      if (<f64>r != f && (cpu.mxcsr & (PE | PM)) != (PE | PM)) r = fpToInt<u64>(cpu, b, mode, bits);
    } else r = fpToInt<u64>(cpu, b, mode, bits);
  } else r = fpToInt<u32>(cpu, rmLow<u32>(cpu, i), mode, bits);
  commitFp(cpu);
  setGpr(cpu, i.a, rexW(i) ? <u64>r : <u64><u32>r);
}

/** CVTPS2PD, CVTPD2PS, CVTSS2SD, CVTSD2SS: 0F 5A. */
export function precision(cpu: Cpu, i: Insn, prefix: u32): void {
  checkSse(cpu);
  const p = xmmAt(cpu, i.a);
  switch (prefix) {
    case 0: {
      const b = rmLow<u64>(cpu, i);
      const r = vec64x2(fpWiden(cpu, <u32>b), fpWiden(cpu, <u32>(b >> 32)));
      commitFp(cpu);
      v128.store(p, r);
      return;
    }
    case 1: {
      const b = rm128(cpu, i);
      const low = fpNarrow(cpu, qword(b, 0)), high = fpNarrow(cpu, qword(b, 1));
      commitFp(cpu);
      v128.store(p, vec64(<u64>low | (<u64>high << 32)));
      return;
    }
    case 2: {
      const b = rmLow<u32>(cpu, i);
      const r = fpWiden(cpu, b);
      commitFp(cpu);
      store<u64>(p, r);
      return;
    }
    default: {
      const b = rmLow<u64>(cpu, i);
      if (nativeOk(cpu) && isPlain<u64>(b)) {
        const r = reinterpret<u32>(<f32>reinterpret<f64>(b));
        if (isPlain<u32>(r) && (r << 1 != 0 || b << 1 == 0)) {
          store<u32>(p, r);
          return;
        }
      }
      const r = fpNarrow(cpu, b);
      commitFp(cpu);
      store<u32>(p, r);
    }
  }
}

// @ts-ignore: decorator
@inline function int32<T>(cpu: Cpu, a: T, mode: u32): u32 { return <u32>fpToInt<T>(cpu, a, mode, 32); }

/** CVTDQ2PS, CVTPS2DQ, CVTTPS2DQ: 0F 5B. */
export function packedInteger(cpu: Cpu, i: Insn, prefix: u32): void {
  if (prefix == 3) return badOp(cpu);
  checkSse(cpu);
  const b = rm128(cpu, i);
  let r: v128;
  if (prefix == 0) {
    r = nativeOk(cpu) ? f32x4.convert_i32x4_s(b) : vec32x4(
      fpFromInt<u32>(cpu, <i64><i32>dword(b, 0)), fpFromInt<u32>(cpu, <i64><i32>dword(b, 1)),
      fpFromInt<u32>(cpu, <i64><i32>dword(b, 2)), fpFromInt<u32>(cpu, <i64><i32>dword(b, 3)),
    );
  } else {
    const mode = prefix == 2 ? Round.ZERO : rounding(cpu);
    r = vec32x4(int32<u32>(cpu, dword(b, 0), mode), int32<u32>(cpu, dword(b, 1), mode), int32<u32>(cpu, dword(b, 2), mode), int32<u32>(cpu, dword(b, 3), mode));
  }
  commitFp(cpu);
  setXmm(cpu, i.a, r);
}

/** CVTTPD2DQ, CVTDQ2PD, CVTPD2DQ: 0F E6. */
export function doubleInteger(cpu: Cpu, i: Insn, prefix: u32): void {
  if (prefix == 0) return badOp(cpu);
  checkSse(cpu);
  if (prefix == 2) {
    const b = rmVec64(cpu, i);
    setXmm(cpu, i.a, f64x2.convert_low_i32x4_s(b));
    return;
  }
  const b = rm128(cpu, i);
  const mode = prefix == 1 ? Round.ZERO : rounding(cpu);
  const low = int32<u64>(cpu, qword(b, 0), mode), high = int32<u64>(cpu, qword(b, 1), mode);
  commitFp(cpu);
  setXmm(cpu, i.a, vec64(<u64>low | (<u64>high << 32)));
}
