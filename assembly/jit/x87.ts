// x87 records to code: the operand is fetched or stored here, moves are in line (x87-inline.ts), the rest is a call of the core that needs nothing of what is in locals, as long as
// all exceptions are masked and none is pending: then none comes up. Otherwise the region is left before the instruction, and before it touches memory.
import { Cpu, Mode, Seg } from "../cpu/state";
import { Insn, OP_X87, isMem, seg } from "../decode/insn";
import { loadSize, storeSize } from "../ops/x87";
import { CW_BITS } from "../ops/x87-state";
import { flagsInMemory } from "./flags";
import { PLAIN, bail, popLabel, pushLabel } from "./flow";
import { Fn, L, popReg, pushRip, put, record } from "./operands";
import { operandAddress, plainMemory } from "./sse-operand";
import { Left, jit } from "./state";
import { loadInteger, loadReal, moveRegister, storeReal } from "./x87-inline";
import { W, call, get, hintedIf, i32c, i64c, mem, op, set, tee } from "./wasm";

const CONTROL: u32 = <u32>offsetof<Cpu>("fpuControl");
const STATUS: u32 = <u32>offsetof<Cpu>("fpuStatus");
const RESULT: u32 = <u32>offsetof<Cpu>("temp2");

/** Leaves the region unless exceptions are masked and none is pending. */
function needCalm(): void {
  const j = jit();
  if (j.fpuCalm) return;
  record();
  mem(W.I32_LOAD, CONTROL);
  i32c(0x3f);
  op(W.I32_AND);
  i32c(0x3f);
  op(W.I32_NE);
  record();
  mem(W.I32_LOAD, STATUS);
  i32c(0x80);
  op(W.I32_AND);
  op(W.I32_OR);
  hintedIf(W.VOID, false);
  pushLabel(PLAIN, 0);
  bail(Left.REFUSED);
  popLabel();
  op(W.END);
  j.fpuCalm = 1;
}

/** Calls the core with the operand in T64; the address is that of the last access, or none. */
function operate(memory: bool): void {
  const j = jit();
  record();
  i32c(<i32>j.ip);
  pushRip(0);
  if (memory) {
    get(j.wide ? L.AD64 : L.AD);
    if (!j.wide) op(W.I64_EXTEND_U);
    get(L.T64);
  } else {
    i64c(0);
    i64c(0);
  }
  call(Fn.X87);
}

/** FLDCW of the word in T64; what unmasks an exception is the interpreter's. */
function loadControl(): void {
  get(L.T64);
  op(W.I32_WRAP);
  tee(L.X);
  i32c(0x3f);
  op(W.I32_AND);
  i32c(0x3f);
  op(W.I32_NE);
  hintedIf(W.VOID, false);
  pushLabel(PLAIN, 0);
  bail(Left.REFUSED);
  popLabel();
  op(W.END);
  record();
  get(L.X);
  i32c(CW_BITS);
  op(W.I32_AND);
  i32c(0x40);
  op(W.I32_OR);
  mem(W.I32_STORE, CONTROL);
}

// @ts-ignore: decorator
@inline function log2(bytes: u32): u32 { return ctz(bytes); }

/** Emits the record; false for forms that stay a call with everything written back. */
export function emitX87(i: Insn, code: u32): bool {
  const j = jit();
  if (!(j.mode & Mode.SIMD)) return false;
  const o = code - OP_X87;
  if (o == 0x800) {
    needCalm(); // FWAIT
    return true;
  }
  const key = ((o >> 8) & 7) << 3 | ((o >> 3) & 7);
  if (!isMem(i)) return register(o, key);
  if (!plainMemory(i) || seg(i) >= Seg.FS) return false;
  if (key == 0x0f || key == 0x2f) {
    // FNSTCW, FNSTSW
    operandAddress(i, 1, true);
    record();
    mem(W.I32_LOAD, key == 0x0f ? CONTROL : STATUS);
    put(1);
    return true;
  }
  const size = key == 0x0d ? 2 : loadSize(key);
  if (size) {
    needCalm();
    operandAddress(i, log2(size), false);
    if (size == 8) mem(W.I64_LOAD, 0);
    else {
      mem(size == 4 ? W.I32_LOAD : W.I32_LOAD16_U, 0);
      op(W.I64_EXTEND_U);
    }
    set(L.T64);
    if (key == 0x0d) {
      loadControl();
      return true;
    }
    const real = key == 0x08 || key == 0x28, integer = key == 0x18 || key == 0x38 || key == 0x3d;
    if (real) loadReal(i, o, size);
    else if (integer) loadInteger(i, o, size);
    operate(true);
    if (real || integer) op(W.END);
    return true;
  }
  switch (key) {
    case 0x0a: case 0x0b: case 0x19: case 0x1a: case 0x1b: case 0x29: case 0x2a: case 0x2b: case 0x39: case 0x3a: case 0x3b: case 0x3f: break;
    default: return false;
  }
  needCalm();
  const s = log2(storeSize(key));
  operandAddress(i, s, true);
  set(L.H);
  const real = key == 0x0a || key == 0x0b || key == 0x2a || key == 0x2b;
  if (real) storeReal(i, o, 1 << s, (key & 7) == 3);
  operate(true);
  get(L.H);
  record();
  mem(s == 3 ? W.I64_LOAD : W.I32_LOAD, RESULT);
  put(s);
  if (real) op(W.END);
  return true;
}

/** Register forms that exist, but for conditional moves. */
function register(o: u32, key: u32): bool {
  const n = o & 7;
  if (o == 0x7e0) {
    // FNSTSW AX
    record();
    mem(W.I32_LOAD, STATUS);
    popReg(0, 1);
    return true;
  }
  switch (key >> 3) {
    case 0: case 4: break;
    case 6: if (key == 0x33 && n != 1) return false; break;
    case 1:
      if (key == 0x0a || (key == 0x0c && (n == 2 || n == 3 || n > 5)) || (key == 0x0d && n == 7)) return false;
      break;
    case 2: if (key != 0x15 || n != 1) return false; break;
    case 3: case 7: if ((key & 7) != 5 && (key & 7) != 6) return false; break; // FUCOMI, FCOMI
    case 5: if (key > 0x2d) return false; break;
    default: return false;
  }
  needCalm();
  const moves = moveRegister(changetype<Insn>(jit().ip), o, key);
  operate(false);
  if (moves) op(W.END);
  if (key >> 3 == 3 || key >> 3 == 7) flagsInMemory();
  return true;
}
