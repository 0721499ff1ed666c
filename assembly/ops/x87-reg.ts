// Register forms of D8 to DF.
import { Cpu, CF, PF, ZF, stAt, setReg } from "../cpu/state";
import { getArith, setArith } from "../cpu/flags";
import { Vector, fault } from "../cpu/fault";
import { Insn } from "../decode/insn";
import { Fp, BIAS, TOP64, IE, DE, C0, C1, C2, C3, result } from "../softfp/fp";
import { sqrt80, rem80, scale80, extract80 } from "../softfp/arith";
import { classify, compare80, roundInt80 } from "../softfp/convert";
import { sin80, cos80, tan80, atan80 } from "../softfp/trig";
import { exp2m1, yl2x, yl2xp1 } from "../softfp/explog";
import { checkFpu, checkPresent, fpuReset, lastInsn, setTop } from "./x87-state";
import {
  CODES, arith, begin, commit, compareWith, isEmpty, phys, pop, push, pushOverflow, pushResult, put, putIndefinite, stackFault, stackUnderflow,
} from "./x87-core";

// @ts-ignore: decorator
@inline function sigAt(p: usize): u64 { return load<u64>(p); }
// @ts-ignore: decorator
@inline function seAt(p: usize): u32 { return <u32>load<u16>(p, 8); }

export function x87Reg(cpu: Cpu, i: Insn, op: u32): void {
  const reg = (op >> 3) & 7;
  const n = op & 7;
  const row = (op >> 8) & 7;
  // Those that do not wait
  if (row == 3 && reg == 4) {
    control(cpu, n);
    return;
  }
  if (row == 7 && reg == 4) {
    if (n != 0) fault(cpu, Vector.UD);
    checkPresent(cpu);
    setReg<u16>(cpu, 0, <u16>cpu.fpuStatus);
    return;
  }
  checkFpu(cpu);
  const st0 = phys(cpu, 0), sti = phys(cpu, n);
  const f = begin(cpu);
  switch (row << 3 | reg) {
    // D8: ST(0) op ST(i); DC: to ST(i); DE: and pop
    case 0x00: case 0x01: case 0x04: case 0x05: case 0x06: case 0x07: {
      lastInsn(cpu, i, op);
      if (isEmpty(cpu, st0) || isEmpty(cpu, sti)) stackUnderflow(cpu, st0);
      else arith(cpu, f, reg, stAt(cpu, st0), sigAt(stAt(cpu, sti)), seAt(stAt(cpu, sti)), stAt(cpu, st0));
      return;
    }
    case 0x20: case 0x21: case 0x24: case 0x25: case 0x26: case 0x27: {
      lastInsn(cpu, i, op);
      toSti(cpu, f, reg, st0, sti);
      return;
    }
    case 0x30: case 0x31: case 0x34: case 0x35: case 0x36: case 0x37: {
      lastInsn(cpu, i, op);
      if (toSti(cpu, f, reg, st0, sti)) pop(cpu);
      return;
    }
    case 0x02: case 0x22: lastInsn(cpu, i, op); compare(cpu, f, st0, sti, false); return;
    case 0x03: case 0x23: case 0x32: lastInsn(cpu, i, op); if (compare(cpu, f, st0, sti, false)) pop(cpu); return;
    case 0x2c: lastInsn(cpu, i, op); compare(cpu, f, st0, sti, true); return;
    case 0x2d: lastInsn(cpu, i, op); if (compare(cpu, f, st0, sti, true)) pop(cpu); return;
    case 0x15: case 0x33: { // FUCOMPP, FCOMPP
      if (n != 1) {
        fault(cpu, Vector.UD);
        return;
      }
      lastInsn(cpu, i, op);
      if (compare(cpu, f, st0, sti, row == 2)) {
        pop(cpu);
        pop(cpu);
      }
      return;
    }
    case 0x1d: case 0x1e: lastInsn(cpu, i, op); compareFlags(cpu, f, st0, sti, reg == 5); return;
    case 0x3d: case 0x3e: lastInsn(cpu, i, op); if (compareFlags(cpu, f, st0, sti, reg == 5)) pop(cpu); return;
    case 0x08: { // FLD ST(i)
      lastInsn(cpu, i, op);
      if (isEmpty(cpu, sti)) {
        if (stackFault(cpu, 0)) push(cpu, 0xc000_0000_0000_0000, 0xffff);
      } else if (!isEmpty(cpu, (st0 - 1) & 7)) pushOverflow(cpu);
      else {
        cpu.fpuStatus &= ~C1;
        push(cpu, sigAt(stAt(cpu, sti)), seAt(stAt(cpu, sti)));
      }
      return;
    }
    case 0x09: case 0x29: case 0x39: lastInsn(cpu, i, op); exchange(cpu, st0, sti); return;
    case 0x2a: lastInsn(cpu, i, op); copy(cpu, st0, sti); return;
    case 0x0b: { // FSTP without the stack underflow: an empty register is just popped
      lastInsn(cpu, i, op);
      if (isEmpty(cpu, st0)) cpu.fpuStatus &= ~C1;
      else copy(cpu, st0, sti);
      pop(cpu);
      return;
    }
    case 0x2b: case 0x3a: case 0x3b: lastInsn(cpu, i, op); if (copy(cpu, st0, sti)) pop(cpu); return;
    case 0x28: lastInsn(cpu, i, op); free(cpu, sti); return; // FFREE
    case 0x38: lastInsn(cpu, i, op); free(cpu, sti); pop(cpu); return; // FFREEP
    case 0x0a: { // FNOP
      if (n != 0) fault(cpu, Vector.UD);
      else lastInsn(cpu, i, op);
      return;
    }
    case 0x0c: case 0x0d: case 0x0e: case 0x0f: {
      if (reg == 4 && (n == 2 || n == 3 || n > 5) || reg == 5 && n == 7) {
        fault(cpu, Vector.UD);
        return;
      }
      lastInsn(cpu, i, op);
      if (reg == 4) signs(cpu, f, n, st0);
      else if (reg == 5) constant(cpu, f, n);
      else transcendental(cpu, f, (reg & 1) << 3 | n, st0);
      return;
    }
    case 0x10: case 0x11: case 0x12: case 0x13: case 0x18: case 0x19: case 0x1a: case 0x1b: {
      lastInsn(cpu, i, op);
      conditional(cpu, reg, row == 3, st0, sti);
      return;
    }
    default: fault(cpu, Vector.UD); return;
  }
}

// DB E0 to E7: FNENI, FNDISI, FNCLEX, FNINIT, FNSETPM, and FRSTPM, which only the 287XL knew.
function control(cpu: Cpu, n: u32): void {
  if (n > 4) {
    fault(cpu, Vector.UD);
    return;
  }
  checkPresent(cpu);
  if (n == 2) cpu.fpuStatus &= 0x7f00;
  else if (n == 3) fpuReset(cpu);
}

function toSti(cpu: Cpu, f: Fp, kind: u32, st0: u32, sti: u32): bool {
  if (isEmpty(cpu, st0) || isEmpty(cpu, sti)) return stackUnderflow(cpu, sti);
  const p = stAt(cpu, sti);
  return arith(cpu, f, kind, stAt(cpu, st0), sigAt(p), seAt(p), p);
}

function compare(cpu: Cpu, f: Fp, st0: u32, sti: u32, quiet: bool): bool {
  const p = stAt(cpu, sti);
  return compareWith(cpu, f, isEmpty(cpu, st0) || isEmpty(cpu, sti), stAt(cpu, st0), sigAt(p), seAt(p), quiet);
}

/** FCOMI and FUCOMI: the codes go to ZF, PF and CF. */
function compareFlags(cpu: Cpu, f: Fp, st0: u32, sti: u32, quiet: bool): bool {
  if (isEmpty(cpu, st0) || isEmpty(cpu, sti)) {
    if (!stackFault(cpu, 0)) return false;
    setArith(cpu, ZF | PF | CF);
    return true;
  }
  const a = stAt(cpu, st0), b = stAt(cpu, sti);
  compare80(f, sigAt(a), seAt(a), sigAt(b), seAt(b), quiet);
  const codes = f.flags;
  f.flags &= ~CODES;
  if (!commit(cpu, f, C1)) return false;
  setArith(cpu, (codes & C0 ? CF : 0) | (codes & C2 ? PF : 0) | (codes & C3 ? ZF : 0));
  return true;
}

function free(cpu: Cpu, sti: u32): void {
  cpu.fpuStatus &= ~C1;
  cpu.fpuTags |= 1 << sti;
}

function exchange(cpu: Cpu, st0: u32, sti: u32): void {
  const a = stAt(cpu, st0), b = stAt(cpu, sti);
  if (isEmpty(cpu, st0) || isEmpty(cpu, sti)) {
    const e0 = isEmpty(cpu, st0), ei = isEmpty(cpu, sti);
    if (!stackFault(cpu, 0)) return;
    if (e0) putIndefinite(a);
    if (ei) putIndefinite(b);
    cpu.fpuTags &= ~(1 << st0 | 1 << sti);
  } else cpu.fpuStatus &= ~C1;
  const sig = sigAt(a), se = seAt(a);
  put(a, sigAt(b), seAt(b));
  put(b, sig, se);
}

/** FST ST(i). */
function copy(cpu: Cpu, st0: u32, sti: u32): bool {
  if (isEmpty(cpu, st0)) return stackUnderflow(cpu, sti);
  cpu.fpuStatus &= ~C1;
  put(stAt(cpu, sti), sigAt(stAt(cpu, st0)), seAt(stAt(cpu, st0)));
  cpu.fpuTags &= ~(1 << sti);
  return true;
}

/** FCMOVcc: B, E, BE, U and their opposites. */
function conditional(cpu: Cpu, kind: u32, not: bool, st0: u32, sti: u32): void {
  if (isEmpty(cpu, st0) || isEmpty(cpu, sti)) {
    stackUnderflow(cpu, st0);
    return;
  }
  const mask = kind == 0 ? CF : kind == 1 ? ZF : kind == 2 ? CF | ZF : PF;
  if (((getArith(cpu) & mask) != 0) != not) put(stAt(cpu, st0), sigAt(stAt(cpu, sti)), seAt(stAt(cpu, sti)));
}

/** D9 E0 to E5: FCHS FABS FTST FXAM. */
function signs(cpu: Cpu, f: Fp, n: u32, st0: u32): void {
  const p = stAt(cpu, st0);
  const empty = isEmpty(cpu, st0);
  switch (n) {
    case 0: case 1: {
      if (empty) {
        stackUnderflow(cpu, st0);
        return;
      }
      cpu.fpuStatus &= ~C1;
      const se = seAt(p);
      store<u16>(p, <u16>(n ? se & 0x7fff : se ^ 0x8000), 8);
      return;
    }
    case 4: compareWith(cpu, f, empty, p, 0, 0, false); return;
    default: {
      const code = empty ? C3 | C0 | (seAt(p) & 0x8000 ? C1 : 0) : classify(sigAt(p), seAt(p));
      cpu.fpuStatus = (cpu.fpuStatus & ~CODES) | code;
      return;
    }
  }
}

/** D9 E8 to EE. The rounding control chooses between the neighbours of what is no number of ours. */
function constant(cpu: Cpu, f: Fp, n: u32): void {
  const rc = (f.cw >> 10) & 3;
  const up = rc == 2, near = rc == 0 || rc == 2;
  switch (n) {
    case 0: result(f, TOP64, BIAS); break;
    case 1: result(f, 0xd49a_784b_cd1b_8afe + u64(up), 0x4000); break; // log2 10
    case 2: result(f, 0xb8aa_3b29_5c17_f0bb + u64(near), 0x3fff); break; // log2 e
    case 3: result(f, 0xc90f_daa2_2168_c234 + u64(near), 0x4000); break; // pi
    case 4: result(f, 0x9a20_9a84_fbcf_f798 + u64(near), 0x3ffd); break; // log10 2
    case 5: result(f, 0xb172_17f7_d1cf_79ab + u64(near), 0x3ffe); break; // ln 2
    default: result(f, 0, 0); break;
  }
  pushResult(cpu, f);
}

// @ts-ignore: decorator
@inline function replace(cpu: Cpu, f: Fp, p: usize, clear: u32): bool {
  if (!commit(cpu, f, clear)) return false;
  put(p, f.sig, f.se);
  return true;
}

/** D9 F0 to FF. */
function transcendental(cpu: Cpu, f: Fp, n: u32, st0: u32): void {
  const st1 = (st0 + 1) & 7;
  if (n == 6 || n == 7) { // FDECSTP, FINCSTP
    cpu.fpuStatus &= ~C1;
    setTop(cpu, n == 6 ? st0 - 1 : st0 + 1);
    return;
  }
  const a = stAt(cpu, st0), b = stAt(cpu, st1);
  const aSig = sigAt(a), aSe = seAt(a);
  switch (n) {
    case 1: case 3: case 9: { // FYL2X FPATAN FYL2XP1: to ST(1), and pop
      if (isEmpty(cpu, st0) || isEmpty(cpu, st1)) {
        if (stackUnderflow(cpu, st1)) pop(cpu);
        return;
      }
      if (n == 1) yl2x(f, sigAt(b), seAt(b), aSig, aSe);
      else if (n == 3) atan80(f, sigAt(b), seAt(b), aSig, aSe);
      else yl2xp1(f, sigAt(b), seAt(b), aSig, aSe);
      if (replace(cpu, f, b, C1)) pop(cpu);
      return;
    }
    case 5: case 8: case 13: { // FPREM1 FPREM FSCALE
      if (isEmpty(cpu, st0) || isEmpty(cpu, st1)) {
        if (n != 13) cpu.fpuStatus &= ~C2;
        stackUnderflow(cpu, st0);
        return;
      }
      if (n == 13) {
        scale80(f, aSig, aSe, sigAt(b), seAt(b));
        replace(cpu, f, a, C1);
        return;
      }
      rem80(f, aSig, aSe, sigAt(b), seAt(b), n == 5);
      let clear = C1 | C2;
      if (f.flags & ~f.cw & (IE | DE)) f.flags &= ~CODES;
      else if (f.q) clear = CODES;
      replace(cpu, f, a, clear);
      return;
    }
    case 2: case 4: case 11: { // FPTAN FXTRACT FSINCOS: and push
      pushing(cpu, f, n, st0, a);
      return;
    }
    default: break;
  }
  if (isEmpty(cpu, st0)) {
    if (n >= 14) cpu.fpuStatus &= ~C2;
    stackUnderflow(cpu, st0);
    return;
  }
  switch (n) {
    case 0: exp2m1(f, aSig, aSe); break;
    case 10: sqrt80(f, aSig, aSe); break;
    case 12: roundInt80(f, aSig, aSe); break;
    case 14: sin80(f, aSig, aSe); break;
    default: cos80(f, aSig, aSe); break;
  }
  replace(cpu, f, a, n >= 14 ? C1 | C2 : C1);
}

function pushing(cpu: Cpu, f: Fp, n: u32, st0: u32, a: usize): void {
  const below = (st0 - 1) & 7;
  const empty = isEmpty(cpu, st0);
  if (empty || !isEmpty(cpu, below)) {
    if (n != 4) cpu.fpuStatus &= ~C2;
    if (!stackFault(cpu, empty ? 0 : C1)) return;
    putIndefinite(a);
    cpu.fpuTags &= ~(1 << st0);
    push(cpu, 0xc000_0000_0000_0000, 0xffff);
    return;
  }
  const aSig = sigAt(a), aSe = seAt(a);
  if (n == 4) {
    extract80(f, aSig, aSe);
    const eSig = f.hi, eSe = <u32>f.exp;
    if (!commit(cpu, f, C1)) return;
    put(a, eSig, eSe);
    push(cpu, f.sig, f.se);
    return;
  }
  let sig: u64 = 0, se: u32 = 0;
  if (n == 11) {
    cos80(f, aSig, aSe);
    sig = f.sig;
    se = f.se;
    f.flags &= ~C1;
    sin80(f, aSig, aSe);
  } else {
    tan80(f, aSig, aSe);
    sig = TOP64;
    se = BIAS;
    if ((f.se & 0x7fff) == 0x7fff) { // a NaN goes to both
      sig = f.sig;
      se = f.se;
    }
  }
  if (!commit(cpu, f, C1 | C2)) return;
  put(a, f.sig, f.se);
  if ((f.flags & C2) == 0) push(cpu, sig, se);
}
