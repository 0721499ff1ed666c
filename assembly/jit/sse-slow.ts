// What compiled SSE code calls: second opinions on the host's arithmetic, results in software where the host's do not count, vector
// operations too large to be inlined.
import { Cpu, xmmAt } from "../cpu/state";
import { Insn, OP_SSE } from "../decode/insn";
import { sse } from "../ops/sse";
import { reciprocal, reciprocalSqrt } from "../ops/sse-approx";
import { aes, aesKeyAssist, carrylessMultiply, sha, sha1Rounds } from "../ops/sse-crypto";
import { dword, plain32, plain64, vec32x4 } from "../ops/sse-fp";
import { ssse3 } from "../ops/sse-int";
import { blockSums, leastWord } from "../ops/sse-maps";
import { expOf, isPlain, nativeOk } from "../softfp/mxcsr";
import { BOUNCE, SLOW_REG } from "./state";

const MASKS: u32 = 0x1f80;
const ADDSD: u32 = 0x358;
const MULSD: u32 = 0x359;
const SUBSD: u32 = 0x35c;

/** Whether a register has what the promise says; bits as in Fact (sse-reg.ts). */
function keeps(p: usize, promise: u32): bool {
  if (promise & 2) return i64x2.all_true(plain64(v128.load(p)));
  if (promise & 8) return i32x4.all_true(plain32(v128.load(p)));
  if (promise & 1) return isPlain<u64>(load<u64>(p));
  return !(promise & 4) || isPlain<u32>(load<u32>(p));
}

/** Copy of the record under way, with registers of its own. */
const RECORD: usize = BOUNCE + 0x40;
const STATE: usize = BOUNCE + 0x60;
const FROM_GENERAL: u32 = <u32>offsetof<Cpu>("temp1") >> 3;
const TO_GENERAL: u32 = <u32>offsetof<Cpu>("temp0") >> 3;

/** The product of a and b minus r, exactly, when exponents are moderate (Dekker). */
function productError(a: f64, b: f64, r: f64): f64 {
  const ca = 134217729.0 * a, cb = 134217729.0 * b;
  const ah = ca - (ca - a), bh = cb - (cb - b);
  const al = a - ah, bl = b - bh;
  return ((ah * bh - r) + ah * bl + al * bh) + al * bl;
}
// @ts-ignore: decorator
@inline function moderate(a: f64): bool { return <u32>(expOf<u64>(reinterpret<u64>(a)) - 400) < 1200; }

// @ts-ignore: decorator
@inline function plainDouble(a: f64): bool { return isPlain<u64>(reinterpret<u64>(a)); }

/** Whether the sum, difference or product is exact and not zero: then no rounding mode changes it and no flag is raised. */
function exact(kind: u32, a: f64, b: f64, r: f64): bool {
  if (!moderate(a) || !moderate(b) || !moderate(r)) return false;
  if (kind == 0x59) return productError(a, b, r) == 0;
  if (kind != 0x58 && kind != 0x5c) return false;
  if (kind == 0x5c) b = -b;
  const t = r - a;
  return (a - (r - t)) + (b - t) == 0;
}

/** A number whose comparison with 0 gives the flags that UCOMISx or COMISx has left. */
function compared(cpu: Cpu): f64 {
  switch (<u32>cpu.flR) {
    case 0: return 1;
    case 1: return -1;
    case 0x40: return 0;
    default: return NaN;
  }
}

/**
 * The result of the record at `ip` for the operands `a` and `b`, into pseudo register SLOW_REG; comparisons leave a number that compares
 * with 0 the same way. Returns the guard (sse-reg.ts) plus 1, or 0 when the promise does not hold or an exception is unmasked; then
 * MXCSR may have flags that the interpreter is about to set as well.
 */
export function jitSse(cpu: Cpu, ip: usize, promise: u32, a: v128, b: v128): u32 {
  if ((cpu.mxcsr & MASKS) != MASKS) return 0;
  const result = xmmAt(cpu, SLOW_REG), source = xmmAt(cpu, SLOW_REG + 1);
  const op = <u32>changetype<Insn>(ip).op - OP_SSE;
  if (op == ADDSD || op == MULSD || op == SUBSD) {
    // mostly a result of zero, or results that are all exact so far
    const x = f64x2.extract_lane(a, 0), y = f64x2.extract_lane(b, 0);
    const r = op == ADDSD ? x + y : op == MULSD ? x * y : x - y;
    const usual = nativeOk(cpu);
    if (usual ? plainDouble(x) && plainDouble(y) && r == 0 && (op != MULSD || x == 0 || y == 0) : exact(op & 0xff, x, y, r)) {
      v128.store(result, f64x2.replace_lane(a, 0, r));
      return usual ? 0x7fe : 1;
    }
  }
  v128.store(result, a);
  v128.store(source, b);
  v128.store(RECORD, v128.load(ip));
  store<u64>(RECORD, load<u64>(ip, 16), 16);
  const i = changetype<Insn>(RECORD);
  const o = op & 0xff;
  const toGeneral = op < 0x400 && (o == 0x2c || o == 0x2d);
  const fromGeneral = op < 0x400 && o == 0x2a;
  i.attr &= 0x7f;
  i.a = <u8>(toGeneral ? TO_GENERAL : SLOW_REG);
  i.b = <u8>(fromGeneral ? FROM_GENERAL : SLOW_REG + 1);
  if (fromGeneral) cpu.temp1 = i64x2.extract_lane(b, 0);
  sse(cpu, i, op);
  if (toGeneral) store<u64>(result, cpu.temp0);
  else if (op < 0x400 && (o & 0xfe) == 0x2e) store<f64>(result, compared(cpu));
  if (!keeps(result, promise & 15) || !keeps(source, promise >> 4)) return 0;
  return nativeOk(cpu) ? 0x7fe : 1;
}

/** Operations without side effects: `code` as in the record, `c` is XMM0. */
export function jitVector(code: u32, imm: u32, a: v128, b: v128, c: v128): v128 {
  const o = code & 0xff;
  switch ((code >> 10) & 3) {
    case 0: {
      const root = o == 0x52;
      if (code & 0x200) {
        const x = dword(b, 0);
        return i32x4.replace_lane(a, 0, root ? reciprocalSqrt(x) : reciprocal(x));
      }
      return root
        ? vec32x4(reciprocalSqrt(dword(b, 0)), reciprocalSqrt(dword(b, 1)), reciprocalSqrt(dword(b, 2)), reciprocalSqrt(dword(b, 3)))
        : vec32x4(reciprocal(dword(b, 0)), reciprocal(dword(b, 1)), reciprocal(dword(b, 2)), reciprocal(dword(b, 3)));
    }
    case 1:
      if (o < 0x20) return ssse3(o, a, b);
      if (o == 0x41) return leastWord(b);
      if (o < 0xd0) return sha(o, a, b, c);
      v128.store(STATE, a);
      aes(o, STATE, b);
      return v128.load(STATE);
    default:
      if (o == 0x42) return blockSums(a, b, imm);
      if (o == 0x44) return carrylessMultiply(a, b, imm);
      return o == 0xcc ? sha1Rounds(a, b, imm & 3) : aesKeyAssist(b, imm);
  }
}
