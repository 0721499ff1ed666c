// Arithmetic and logic. The pure operations are written once over a backend (interp/backend.ts) with
//   arith<T>(type: u32, a: T, r: T)  lazy flags of an operation: Lazy type, first operand, result
//   logic<T>(r: T)                   flags of a logical result
//   carry(): u32                     the carry flag, 0 or 1
//   flags(bits: u32)                 CF PF AF ZF SF OF, explicitly
//   oldFlags(): u32                  what they are now
//   carryOverflow(cf, of: u32)       CF and OF alone
//   shifted<T>(r: T, cf, of: u32)    flags of a shift
// T is unsigned: u8, u16, u32 or u64.
import { Cpu, Lazy, ZF, getReg, setReg } from "../cpu/state";
import { getArith, setArith } from "../cpu/flags";
import { Vector, faultCode } from "../cpu/fault";
import { Insn, isMem, osz, rexW } from "../decode/insn";
import { rmLin, rmRead, rmReadForWrite, rmWrite } from "../decode/operand";
import { readForWrite, writeLin } from "../mmu/access";
import { Interp, interp } from "../interp/backend";

export { shl, shr, sar, rol, ror, rcl, rcr } from "./shift";
export { imul2 } from "./muldiv";

// @ts-ignore: decorator
@inline export function add<B, T>(b: B, x: T, y: T): T { const r: T = <T>(x + y); b.arith<T>(Lazy.ADD, x, r); return r; }
// @ts-ignore: decorator
@inline export function sub<B, T>(b: B, x: T, y: T): T { const r: T = <T>(x - y); b.arith<T>(Lazy.SUB, x, r); return r; }
// @ts-ignore: decorator
@inline export function adc<B, T>(b: B, x: T, y: T): T {
  const c = b.carry();
  const r: T = <T>(x + y + <T>c);
  b.arith<T>(Lazy.ADD + c * (Lazy.ADC - Lazy.ADD), x, r);
  return r;
}
// @ts-ignore: decorator
@inline export function sbb<B, T>(b: B, x: T, y: T): T {
  const c = b.carry();
  const r: T = <T>(x - y - <T>c);
  b.arith<T>(Lazy.SUB + c * (Lazy.SBB - Lazy.SUB), x, r);
  return r;
}
// @ts-ignore: decorator
@inline export function and<B, T>(b: B, x: T, y: T): T { const r: T = <T>(x & y); b.logic<T>(r); return r; }
// @ts-ignore: decorator
@inline export function or_<B, T>(b: B, x: T, y: T): T { const r: T = <T>(x | y); b.logic<T>(r); return r; }
// @ts-ignore: decorator
@inline export function xor<B, T>(b: B, x: T, y: T): T { const r: T = <T>(x ^ y); b.logic<T>(r); return r; }
// @ts-ignore: decorator
@inline export function cmp<B, T>(b: B, x: T, y: T): void { b.arith<T>(Lazy.SUB, x, <T>(x - y)); }
// @ts-ignore: decorator
@inline export function test<B, T>(b: B, x: T, y: T): void { b.logic<T>(<T>(x & y)); }
// @ts-ignore: decorator
@inline export function inc<B, T>(b: B, x: T): T { const r: T = <T>(x + <T>1); b.arith<T>(Lazy.INC, <T>b.carry(), r); return r; }
// @ts-ignore: decorator
@inline export function dec<B, T>(b: B, x: T): T { const r: T = <T>(x - <T>1); b.arith<T>(Lazy.DEC, <T>b.carry(), r); return r; }
// @ts-ignore: decorator
@inline export function neg<B, T>(b: B, x: T): T { const r: T = <T>(<T>0 - x); b.arith<T>(Lazy.SUB, <T>0, r); return r; }
// @ts-ignore: decorator
@inline export function not_<B, T>(b: B, x: T): T { return <T>~x; }

// The thick forms (notE, negE, incE and decE: the plain names are taken). Memory is written before registers: the address of the
// operand may depend on them.

// @ts-ignore: decorator
@inline function binary<T>(b: Interp, kind: u32, x: T, y: T): T {
  switch (kind) {
    case 0: return add<Interp, T>(b, x, y);
    case 1: return or_<Interp, T>(b, x, y);
    case 2: return adc<Interp, T>(b, x, y);
    case 3: return sbb<Interp, T>(b, x, y);
    case 4: return and<Interp, T>(b, x, y);
    case 5: return sub<Interp, T>(b, x, y);
    default: return xor<Interp, T>(b, x, y);
  }
}

function aluBy<T>(cpu: Cpu, i: Insn, n: u32): void {
  const kind = n / 3, form = n % 3;
  const b = interp(cpu);
  if (form == 1) {
    const y = rmRead<T>(cpu, i), x = getReg<T>(cpu, i.a);
    if (kind == 7) cmp<Interp, T>(b, x, y);
    else setReg<T>(cpu, i.a, binary<T>(b, kind, x, y));
    return;
  }
  const y = form ? <T>i.imm : getReg<T>(cpu, i.a);
  if (kind == 7) {
    cmp<Interp, T>(b, rmRead<T>(cpu, i), y);
    return;
  }
  const x = rmReadForWrite<T>(cpu, i);
  rmWrite<T>(cpu, i, binary<T>(b, kind, x, y));
}

/** ADD OR ADC SBB AND SUB XOR CMP: `n` is kind * 3 + form; forms E,G (0), G,E (1), E,imm (2). */
export function alu(cpu: Cpu, i: Insn, n: u32): void {
  switch (osz(i)) {
    case 0: aluBy<u8>(cpu, i, n); break;
    case 1: aluBy<u16>(cpu, i, n); break;
    case 2: aluBy<u32>(cpu, i, n); break;
    default: aluBy<u64>(cpu, i, n); break;
  }
}

function testBy<T>(cpu: Cpu, i: Insn, y: T): void { test<Interp, T>(interp(cpu), rmRead<T>(cpu, i), y); }

export function testEg(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: testBy<u8>(cpu, i, getReg<u8>(cpu, i.a)); break;
    case 1: testBy<u16>(cpu, i, getReg<u16>(cpu, i.a)); break;
    case 2: testBy<u32>(cpu, i, getReg<u32>(cpu, i.a)); break;
    default: testBy<u64>(cpu, i, getReg<u64>(cpu, i.a)); break;
  }
}
export function testEi(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: testBy<u8>(cpu, i, <u8>i.imm); break;
    case 1: testBy<u16>(cpu, i, <u16>i.imm); break;
    case 2: testBy<u32>(cpu, i, <u32>i.imm); break;
    default: testBy<u64>(cpu, i, i.imm); break;
  }
}

function notBy<T>(cpu: Cpu, i: Insn): void {
  const x = rmReadForWrite<T>(cpu, i);
  rmWrite<T>(cpu, i, not_<Interp, T>(interp(cpu), x));
}
function negBy<T>(cpu: Cpu, i: Insn): void {
  const x = rmReadForWrite<T>(cpu, i);
  rmWrite<T>(cpu, i, neg<Interp, T>(interp(cpu), x));
}
function incBy<T>(cpu: Cpu, i: Insn): void {
  const x = rmReadForWrite<T>(cpu, i);
  rmWrite<T>(cpu, i, inc<Interp, T>(interp(cpu), x));
}
function decBy<T>(cpu: Cpu, i: Insn): void {
  const x = rmReadForWrite<T>(cpu, i);
  rmWrite<T>(cpu, i, dec<Interp, T>(interp(cpu), x));
}
function xchgBy<T>(cpu: Cpu, i: Insn): void {
  const x = rmReadForWrite<T>(cpu, i), y = getReg<T>(cpu, i.a);
  rmWrite<T>(cpu, i, y);
  setReg<T>(cpu, i.a, x);
}
function xaddBy<T>(cpu: Cpu, i: Insn): void {
  const x = rmReadForWrite<T>(cpu, i), y = getReg<T>(cpu, i.a);
  const r = add<Interp, T>(interp(cpu), x, y);
  if (isMem(i)) {
    rmWrite<T>(cpu, i, r);
    setReg<T>(cpu, i.a, x);
  } else {
    setReg<T>(cpu, i.a, x);
    rmWrite<T>(cpu, i, r);
  }
}
function cmpxchgBy<T>(cpu: Cpu, i: Insn): void {
  const x = rmReadForWrite<T>(cpu, i), acc = getReg<T>(cpu, 0), y = getReg<T>(cpu, i.a);
  cmp<Interp, T>(interp(cpu), acc, x);
  if (acc == x) {
    rmWrite<T>(cpu, i, y);
  } else {
    if (isMem(i)) rmWrite<T>(cpu, i, x);
    setReg<T>(cpu, 0, x);
  }
}

export function notE(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: notBy<u8>(cpu, i); break;
    case 1: notBy<u16>(cpu, i); break;
    case 2: notBy<u32>(cpu, i); break;
    default: notBy<u64>(cpu, i); break;
  }
}
export function negE(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: negBy<u8>(cpu, i); break;
    case 1: negBy<u16>(cpu, i); break;
    case 2: negBy<u32>(cpu, i); break;
    default: negBy<u64>(cpu, i); break;
  }
}
export function incE(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: incBy<u8>(cpu, i); break;
    case 1: incBy<u16>(cpu, i); break;
    case 2: incBy<u32>(cpu, i); break;
    default: incBy<u64>(cpu, i); break;
  }
}
export function decE(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: decBy<u8>(cpu, i); break;
    case 1: decBy<u16>(cpu, i); break;
    case 2: decBy<u32>(cpu, i); break;
    default: decBy<u64>(cpu, i); break;
  }
}
export function xchg(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: xchgBy<u8>(cpu, i); break;
    case 1: xchgBy<u16>(cpu, i); break;
    case 2: xchgBy<u32>(cpu, i); break;
    default: xchgBy<u64>(cpu, i); break;
  }
}
export function xadd(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: xaddBy<u8>(cpu, i); break;
    case 1: xaddBy<u16>(cpu, i); break;
    case 2: xaddBy<u32>(cpu, i); break;
    default: xaddBy<u64>(cpu, i); break;
  }
}
export function cmpxchg(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: cmpxchgBy<u8>(cpu, i); break;
    case 1: cmpxchgBy<u16>(cpu, i); break;
    case 2: cmpxchgBy<u32>(cpu, i); break;
    default: cmpxchgBy<u64>(cpu, i); break;
  }
}

/** CMPXCHG8B, and CMPXCHG16B by REX.W, which insists on alignment. */
export function cmpxchg8b(cpu: Cpu, i: Insn): void {
  let equal: bool;
  if (rexW(i)) {
    const lin = rmLin(cpu, i, 16, true);
    if (lin & 15) faultCode(cpu, Vector.GP, 0);
    const lo = readForWrite<u64>(cpu, lin), hi = readForWrite<u64>(cpu, lin + 8);
    equal = lo == cpu.rax && hi == cpu.rdx;
    writeLin<u64>(cpu, lin, equal ? cpu.rbx : lo);
    writeLin<u64>(cpu, lin + 8, equal ? cpu.rcx : hi);
    if (!equal) {
      cpu.rax = lo;
      cpu.rdx = hi;
    }
  } else {
    const lin = rmLin(cpu, i, 8, true);
    const old = readForWrite<u64>(cpu, lin);
    equal = old == (<u64><u32>cpu.rax | (cpu.rdx << 32));
    writeLin<u64>(cpu, lin, equal ? <u64><u32>cpu.rbx | (cpu.rcx << 32) : old);
    if (!equal) {
      cpu.rax = <u64><u32>old;
      cpu.rdx = old >> 32;
    }
  }
  setArith(cpu, (getArith(cpu) & ~ZF) | (equal ? ZF : 0));
}
