// XMM registers of a region. Each has a v128 local; within a block its lowest lane may be newer in a scalar local, so that chains of
// scalar arithmetic never touch the vector. Where blocks meet, all of a register is in its v128 local.
import { Cpu } from "../cpu/state";
import { CPU_XMM, JIT_BASE } from "../layout";
import { Jit, NODE_FALL, NODE_TAKEN, NODE_XDIRTY_GEN, NODE_XDIRTY_IN, NO_NODE, ORDER, jit } from "./state";
import { W, get, i32c, mem, op, set, simdMem, tee, uleb } from "./wasm";

const FIRST: u32 = 46; // L.GPR + 16
/** Locals behind those of operands.ts, declared when the region has any SSE code. */
export namespace X {
  export const XMM: u32 = FIRST;
  export const V0: u32 = FIRST + 16; // temporaries
  export const V1: u32 = FIRST + 17;
  export const V2: u32 = FIRST + 18;
  export const V3: u32 = FIRST + 19;
  export const VECTORS: u32 = 20;
  export const D: u32 = FIRST + 20; // f64 of lane 0
  export const D0: u32 = FIRST + 36;
  export const D1: u32 = FIRST + 37;
  export const CMP_A: u32 = FIRST + 38; // operands of the last UCOMISx or COMISx
  export const CMP_B: u32 = FIRST + 39;
  export const DOUBLES: u32 = 20;
  export const S: u32 = FIRST + 40; // f32 of lane 0
  export const S0: u32 = FIRST + 56;
  export const S1: u32 = FIRST + 57;
  export const SINGLES: u32 = 18;
  export const WORDS_FROM: u32 = FIRST + 58;
  export const GUARD_D: u32 = FIRST + 58; // span of exponents that a result may have; 0 when arithmetic is not the host's: see loadGuard
  export const GUARD_S: u32 = FIRST + 59;
  export const I0: u32 = FIRST + 60;
  export const WORDS: u32 = 3;
  export const QUADS_FROM: u32 = FIRST + 61;
  export const Q0: u32 = FIRST + 61;
  export const QUADS: u32 = 1;
  export const GROUPS: u32 = 5;
}

const XSTATE: usize = JIT_BASE + offsetof<Jit>("xstate0");
const FACTS: usize = JIT_BASE + offsetof<Jit>("xfacts0");

// What holds the register's value: bits of its byte at XSTATE. Without WHOLE, lane 0 is in the scalar local (the double when both are
// set), and the rest in the v128 local, or 0 with ABOVE_ZERO.
const WHOLE: u32 = 1;
const DOUBLE: u32 = 2;
const SINGLE: u32 = 4;
const ABOVE_ZERO: u32 = 8;

/** Facts about a register's contents: what lanes are zero or normal numbers, by format. */
export namespace Fact {
  export const D: u32 = 1; // lane 0 as a double
  export const DD: u32 = 2; // both doubles
  export const S: u32 = 4; // lane 0 as a single
  export const SSSS: u32 = 8; // all singles
  export const ALL: u32 = 15;
}

/** SIMD opcodes. */
export namespace V {
  export const LOAD: u32 = 0;
  export const STORE: u32 = 11;
  export const CONST: u32 = 12;
  export const SHUFFLE: u32 = 13;
  export const SWIZZLE: u32 = 14;
  export const I8_SPLAT: u32 = 15;
  export const I32_SPLAT: u32 = 17;
  export const I64_SPLAT: u32 = 18;
  export const F32_SPLAT: u32 = 19;
  export const F64_SPLAT: u32 = 20;
  export const I8_GET_U: u32 = 22;
  export const I8_SET: u32 = 23;
  export const I16_GET_U: u32 = 25;
  export const I16_SET: u32 = 26;
  export const I32_GET: u32 = 27;
  export const I32_SET: u32 = 28;
  export const I64_GET: u32 = 29;
  export const I64_SET: u32 = 30;
  export const F32_GET: u32 = 31;
  export const F32_SET: u32 = 32;
  export const F64_GET: u32 = 33;
  export const F64_SET: u32 = 34;
  export const F32_EQ: u32 = 65;
  export const F32_LT: u32 = 67;
  export const F32_LE: u32 = 69;
  export const F32_GE: u32 = 70;
  export const F64_EQ: u32 = 71;
  export const F64_LT: u32 = 73;
  export const F64_LE: u32 = 75;
  export const F64_GE: u32 = 76;
  export const NOT: u32 = 77;
  export const AND: u32 = 78;
  export const ANDNOT: u32 = 79;
  export const OR: u32 = 80;
  export const XOR: u32 = 81;
  export const BITSELECT: u32 = 82;
  export const ANY_TRUE: u32 = 83;
  export const LOAD64_LANE: u32 = 87;
  export const STORE64_LANE: u32 = 91;
  export const LOAD32_ZERO: u32 = 92;
  export const LOAD64_ZERO: u32 = 93;
  export const LOAD64_SPLAT: u32 = 10;
  export const F32_DEMOTE: u32 = 94;
  export const F64_PROMOTE: u32 = 95;
  export const I8_BITMASK: u32 = 100;
  export const I32_BITMASK: u32 = 164;
  export const I64_BITMASK: u32 = 196;
  export const F32_CONVERT: u32 = 250;
  export const F64_CONVERT: u32 = 254;
}

export function simd(opcode: u32): void {
  op(0xfd);
  uleb(opcode);
}
/** An operation on one lane. */
export function lane(opcode: u32, n: u32): void {
  simd(opcode);
  op(n);
}
export function zeroVector(): void {
  simd(V.CONST);
  for (let k = 0; k < 16; k++) op(0);
}

// @ts-ignore: decorator
@inline function state(n: u32): u32 { return load<u8>(XSTATE + n); }
// @ts-ignore: decorator
@inline function setState(n: u32, s: u32): void { store<u8>(XSTATE + n, s); }
// @ts-ignore: decorator
@inline export function factsOf(n: u32): u32 { return load<u8>(FACTS + n); }
// @ts-ignore: decorator
@inline export function setFacts(n: u32, f: u32): void { store<u8>(FACTS + n, f); }
/** Adds what is known of a register that keeps its value. */
// @ts-ignore: decorator
@inline export function learn(n: u32, f: u32): void { store<u8>(FACTS + n, factsOf(n) | f); }

function touch(n: u32): void {
  const j = jit();
  j.xany = 1;
  j.xused |= 1 << n;
}
function touchWrite(n: u32): void {
  touch(n);
  jit().xdirty |= 1 << n;
  jit().xeverDirty |= 1 << n;
}

/** Offset of the register in the Cpu record. */
// @ts-ignore: decorator
@inline export function xmmOffset(n: u32): u32 { return <u32>CPU_XMM + (n << 4); }

/** Pushes the whole value and changes nothing. */
export function pushWhole(n: u32): void {
  const s = state(n);
  if (s & WHOLE) {
    get(X.XMM + n);
    return;
  }
  if (s & ABOVE_ZERO) zeroVector();
  else get(X.XMM + n);
  get((s & DOUBLE ? X.D : X.S) + n);
  lane(s & DOUBLE ? V.F64_SET : V.F32_SET, 0);
}

/** Brings the v128 local up to date. */
export function whole(n: u32): void {
  touch(n);
  const s = state(n);
  if (s & WHOLE) return;
  pushWhole(n);
  set(X.XMM + n);
  setState(n, (s & ~ABOVE_ZERO) | WHOLE);
}

/** Pushes the register. */
export function vget(n: u32): void {
  whole(n);
  get(X.XMM + n);
}
/** Pops a vector into the register. */
export function vset(n: u32, facts: u32 = 0): void {
  touchWrite(n);
  set(X.XMM + n);
  setState(n, WHOLE);
  setFacts(n, facts);
}

/** Makes the local of lane 0 valid and returns it. */
export function doubleOf(n: u32): u32 {
  const s = state(n);
  if (!(s & DOUBLE)) {
    vget(n);
    lane(V.F64_GET, 0);
    set(X.D + n);
    setState(n, state(n) | DOUBLE);
  }
  touch(n);
  return X.D + n;
}
export function singleOf(n: u32): u32 {
  const s = state(n);
  if (!(s & SINGLE) || (!(s & WHOLE) && (s & DOUBLE) != 0)) {
    vget(n);
    lane(V.F32_GET, 0);
    set(X.S + n);
    setState(n, state(n) | SINGLE);
  }
  touch(n);
  return X.S + n;
}

/** Pops a double into lane 0; the upper lane stays. `known`: it is zero or normal. */
export function setDouble(n: u32, known: bool): void {
  touchWrite(n);
  set(X.D + n);
  setState(n, DOUBLE | (state(n) & ABOVE_ZERO));
  setFacts(n, known ? Fact.D | (factsOf(n) & Fact.DD) : 0);
}
/** Pops a double into lane 0 and clears the rest. */
export function setDoubleZero(n: u32, known: bool): void {
  touchWrite(n);
  set(X.D + n);
  setState(n, DOUBLE | ABOVE_ZERO);
  setFacts(n, known ? Fact.D | Fact.DD : 0);
}
export function setSingle(n: u32, known: bool): void {
  touchWrite(n);
  const s = state(n);
  if (!(s & WHOLE) && (s & DOUBLE) != 0) {
    // the second single is part of the double; the new value waits on the stack
    set(X.S + n);
    whole(n);
  } else set(X.S + n);
  setState(n, SINGLE | (state(n) & ABOVE_ZERO));
  setFacts(n, known ? Fact.S | (factsOf(n) & Fact.SSSS) : 0);
}
export function setSingleZero(n: u32, known: bool): void {
  touchWrite(n);
  set(X.S + n);
  setState(n, SINGLE | ABOVE_ZERO);
  setFacts(n, known ? Fact.S | Fact.SSSS : 0);
}

/** Copies a register with all that is known of it. */
export function copyXmm(to: u32, from: u32): void {
  if (to == from) return;
  touch(from);
  const s = state(from);
  if (!(s & ABOVE_ZERO)) {
    get(X.XMM + from);
    set(X.XMM + to);
  }
  if (s & DOUBLE) {
    get(X.D + from);
    set(X.D + to);
  }
  if (s & SINGLE) {
    get(X.S + from);
    set(X.S + to);
  }
  touchWrite(to);
  setState(to, s);
  setFacts(to, factsOf(from));
}

// ---- regions ----

/** Stores what is newer than the record. */
export function spillXmm(): void {
  const dirty = jit().xdirty;
  for (let n: u32 = 0; n < 16; n++) {
    if (!((dirty >> n) & 1)) continue;
    get(0);
    pushWhole(n);
    simdMem(V.STORE, xmmOffset(n));
  }
}

/** Reads all registers of the region, and what MXCSR allows. */
export function loadXmm(): void {
  const j = jit();
  for (let n: u32 = 0; n < 16; n++) {
    setState(n, WHOLE);
    setFacts(n, 0);
    if (!((j.xused >> n) & 1)) continue;
    get(0);
    simdMem(V.LOAD, xmmOffset(n));
    set(X.XMM + n);
  }
  j.xdirty = 0;
  j.fpuCalm = 0;
  if (j.xguard) loadGuard();
}

/** Where ways meet: every register is in its vector. */
export function settleXmm(): void {
  const used = jit().xused;
  for (let n: u32 = 0; n < 16; n++) if ((used >> n) & 1 && !(state(n) & WHOLE)) whole(n);
}
/** The same on a way out of the region, whose end stores the vectors. */
export function flushXmm(): void {
  const used = jit().xused;
  for (let n: u32 = 0; n < 16; n++) {
    if (!((used >> n) & 1) || (state(n) & WHOLE) != 0) continue;
    pushWhole(n);
    set(X.XMM + n);
  }
}
/** The end of the region. */
export function storeXmm(): void {
  const dirty = jit().xeverDirty;
  for (let n: u32 = 0; n < 16; n++) {
    if (!((dirty >> n) & 1)) continue;
    get(0);
    get(X.XMM + n);
    simdMem(V.STORE, xmmOffset(n));
  }
}

/** Nothing is known but that every register is in its vector. */
export function resetXmm(): void {
  memory.fill(XSTATE, <u8>WHOLE, 16);
  memory.fill(FACTS, 0, 16);
  jit().fpuCalm = 0;
}
export function beginXmm(node: u32): void {
  const j = jit();
  j.xdirty = j.pass ? load<u32>(NODE_XDIRTY_IN + (node << 2)) : 0;
}
const CLEANED: u32 = 0x8000_0000;
export function endXmm(node: u32): void {
  const j = jit();
  store<u32>(NODE_XDIRTY_GEN + (node << 2), j.xdirty | (j.cleaned ? CLEANED : 0));
}

/** Which registers may be newer in locals where a block begins: the same as for general registers (module.ts). */
export function settleXmmDirty(): void {
  const j = jit();
  memory.fill(NODE_XDIRTY_IN, 0, <usize>j.nodes << 2);
  if (!j.xany) return;
  let changed = true;
  while (changed) {
    changed = false;
    for (let p: u32 = 0; p < j.reached; p++) {
      const from = <u32>load<u8>(ORDER + p);
      const gen = load<u32>(NODE_XDIRTY_GEN + (from << 2));
      const dirty = gen & CLEANED ? gen & ~CLEANED : gen | load<u32>(NODE_XDIRTY_IN + (from << 2));
      for (let e: u32 = 0; e < 2; e++) {
        const to = <usize>load<u8>((e ? NODE_FALL : NODE_TAKEN) + from);
        if (to == <usize>NO_NODE) continue;
        const d = load<u32>(NODE_XDIRTY_IN + (to << 2));
        if (!(dirty & ~d)) continue;
        store<u32>(NODE_XDIRTY_IN + (to << 2), d | dirty);
        changed = true;
      }
    }
  }
}

export function forgetXmm(): void {
  const j = jit();
  j.xused = 0;
  j.xeverDirty = 0;
  j.xany = 0;
  j.xguard = 0;
}

/** How many locals `declareXmm` adds. */
export function xmmLocals(): u32 { return xmmGroups() ? X.VECTORS + X.DOUBLES + X.SINGLES + X.WORDS + X.QUADS : 0; }
/** How many groups of locals `declareXmm` adds. */
// @ts-ignore: decorator
@inline export function xmmGroups(): u32 { return jit().pass && !jit().xany ? 0 : X.GROUPS; }
export function declareXmm(): void {
  if (!xmmGroups()) return;
  uleb(X.VECTORS);
  op(W.V128);
  uleb(X.DOUBLES);
  op(W.F64);
  uleb(X.SINGLES);
  op(W.F32);
  uleb(X.WORDS);
  op(W.I32);
  uleb(X.QUADS);
  op(W.I64);
}

// ---- MXCSR ----

/** Uses the guard: results of the host's arithmetic count where it allows them. */
export function needGuard(): void {
  jit().xany = 1;
  jit().xguard = 1;
}

/**
 * Round to nearest with the precision exception masked and already seen: then arithmetic on normal numbers with a normal result changes
 * no flag (`nativeOk` in softfp/mxcsr.ts). The guards are the number of exponents that such a result may have, else 0.
 */
export function loadGuard(): void {
  get(0);
  mem(W.I32_LOAD, <u32>offsetof<Cpu>("mxcsr"));
  i32c(0x7020);
  op(W.I32_AND);
  i32c(0x1020);
  op(W.I32_EQ);
  i32c(0x7fd);
  op(W.I32_MUL);
  splitGuard();
}
/** The guard for doubles, on the stack, becomes that for singles as well. */
export function splitGuard(): void {
  tee(X.GUARD_D);
  i32c(0xfd);
  op(W.I32_AND);
  set(X.GUARD_S);
}
