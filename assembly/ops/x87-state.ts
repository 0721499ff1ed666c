// x87 state: control, status and tags, the checks before an instruction, environments, FXSAVE (SDM vol. 1, chapter 8; vol. 2, FSAVE, FXSAVE).
import { Cpu, CR0_EM, CR0_MP, CR0_NE, CR0_PE, CR0_TS, VM, Mode, segSel, stAt, xmmAt } from "../cpu/state";
import { Vector, fault, faultCode } from "../cpu/fault";
import { Insn, ea, osz, seg, rexW, thisRip } from "../decode/insn";
import { rmLin } from "../decode/operand";
import { probeWrite, readLin, readLin128, writeLin, writeLin128 } from "../mmu/access";
import { ferr } from "../imports";
import { C0, C2, C3 } from "../softfp/fp";
import { classify } from "../softfp/convert";

const ES: u32 = 0x80;
const BUSY: u32 = 0x8000;
const TOP: u32 = 0x3800;
export const CW_BITS: u32 = 0x1f3f;

// @ts-ignore: decorator
@inline export function topOf(cpu: Cpu): u32 { return (cpu.fpuStatus >> 11) & 7; }
// @ts-ignore: decorator
@inline export function setTop(cpu: Cpu, top: u32): void { cpu.fpuStatus = (cpu.fpuStatus & ~TOP) | (top & 7) << 11; }

/** Works ES and B out again, after a change of the control word or of the exception flags. */
export function updateSummary(cpu: Cpu): void {
  const s = cpu.fpuStatus & ~(ES | BUSY);
  if (s & ~cpu.fpuControl & 0x3f) {
    cpu.fpuStatus = s | ES | BUSY;
    if ((cpu.cr0 & CR0_NE) == 0) ferr(cpu.id);
  } else cpu.fpuStatus = s;
}

export function setControl(cpu: Cpu, value: u32): void {
  cpu.fpuControl = (value & CW_BITS) | 0x40;
  updateSummary(cpu);
}

function pending(cpu: Cpu): void {
  if (cpu.cr0 & CR0_NE) fault(cpu, Vector.MF);
  else ferr(cpu.id);
}

/** Before every waiting x87 instruction. */
// @ts-ignore: decorator
@inline export function checkFpu(cpu: Cpu): void {
  checkPresent(cpu);
  if (cpu.fpuStatus & ES) pending(cpu);
}

/** Before an FN instruction. */
// @ts-ignore: decorator
@inline export function checkPresent(cpu: Cpu): void {
  if (cpu.cr0 & (CR0_EM | CR0_TS)) fault(cpu, Vector.NM);
}

/** Before every MMX instruction. */
export function checkMmx(cpu: Cpu): void {
  if (cpu.cr0 & CR0_EM) fault(cpu, Vector.UD);
  if (cpu.cr0 & CR0_TS) fault(cpu, Vector.NM);
  if (cpu.fpuStatus & ES) pending(cpu);
}

/** The x87 side of an MMX instruction, after checkMmx: all registers valid, TOP 0. */
export function mmxEnter(cpu: Cpu): void {
  cpu.fpuTags = 0;
  cpu.fpuStatus &= ~TOP;
}

export function emms(cpu: Cpu, i: Insn): void {
  checkMmx(cpu);
  cpu.fpuStatus &= ~TOP;
  cpu.fpuTags = 0xff;
}

export function fwait(cpu: Cpu, i: Insn): void {
  if ((cpu.cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS)) fault(cpu, Vector.NM);
  if (cpu.fpuStatus & ES) pending(cpu);
}

/** The state after FNINIT. */
export function fpuReset(cpu: Cpu): void {
  cpu.fpuControl = 0x37f;
  cpu.fpuStatus = 0;
  cpu.fpuTags = 0xff;
  cpu.fpuOpcode = 0;
  cpu.fpuIp = 0;
  cpu.fpuDp = 0;
  cpu.fpuCs = 0;
  cpu.fpuDs = 0;
}

/** The tag word with two bits a register: valid, zero, special, empty. */
export function fullTags(cpu: Cpu): u32 {
  let tags: u32 = 0;
  for (let r: u32 = 0; r < 8; r++) {
    let tag: u32 = 3;
    if ((cpu.fpuTags >> r & 1) == 0) {
      const p = stAt(cpu, r);
      const c = classify(load<u64>(p), <u32>load<u16>(p, 8)) & (C0 | C2 | C3);
      tag = c == C2 ? 0 : c == C3 ? 1 : 2;
    }
    tags |= tag << (r << 1);
  }
  return tags;
}

function setFullTags(cpu: Cpu, tags: u32): void {
  let empty: u32 = 0;
  for (let r: u32 = 0; r < 8; r++) if ((tags >> (r << 1) & 3) == 3) empty |= 1 << r;
  cpu.fpuTags = empty;
}

// The parts of an area in memory, which wraps at the end of the address space.
// @ts-ignore: decorator
@inline function get<T>(cpu: Cpu, lin: u64, off: u32): T { return readLin<T>(cpu, (lin + off) & cpu.addrMask); }
// @ts-ignore: decorator
@inline function put<T>(cpu: Cpu, lin: u64, off: u32, v: T): void { writeLin<T>(cpu, (lin + off) & cpu.addrMask, v); }

/** Faults now if a part of the area could not be written. By single bytes: its alignment is another matter. */
export function probe(cpu: Cpu, lin: u64, size: u32): void {
  probeWrite(cpu, lin, 1);
  probeWrite(cpu, (lin + size - 1) & cpu.addrMask, 1);
}

// @ts-ignore: decorator
@inline function realFormat(cpu: Cpu): bool { return (cpu.cr0 & CR0_PE) == 0 || (cpu.eflags & VM) != 0; }
// @ts-ignore: decorator
@inline function wide(i: Insn): bool { return osz(i) != 1; }
export function envBytes(i: Insn): u32 { return wide(i) ? 28 : 14; }

function storeEnv(cpu: Cpu, i: Insn, lin: u64): void {
  const real = realFormat(cpu);
  const ip = real ? <u32>cpu.fpuIp + (cpu.fpuCs << 4) : <u32>cpu.fpuIp;
  const dp = real ? <u32>cpu.fpuDp + (cpu.fpuDs << 4) : <u32>cpu.fpuDp;
  if (wide(i)) {
    put<u32>(cpu, lin, 0, 0xffff_0000 | cpu.fpuControl);
    put<u32>(cpu, lin, 4, 0xffff_0000 | cpu.fpuStatus);
    put<u32>(cpu, lin, 8, 0xffff_0000 | fullTags(cpu));
    put<u32>(cpu, lin, 12, real ? 0xffff_0000 | (ip & 0xffff) : ip);
    put<u32>(cpu, lin, 16, real ? (ip >> 16) << 12 | cpu.fpuOpcode : cpu.fpuOpcode << 16 | cpu.fpuCs);
    put<u32>(cpu, lin, 20, real ? 0xffff_0000 | (dp & 0xffff) : dp);
    put<u32>(cpu, lin, 24, real ? (dp >> 16) << 12 : 0xffff_0000 | cpu.fpuDs);
    return;
  }
  put<u16>(cpu, lin, 0, <u16>cpu.fpuControl);
  put<u16>(cpu, lin, 2, <u16>cpu.fpuStatus);
  put<u16>(cpu, lin, 4, <u16>fullTags(cpu));
  put<u16>(cpu, lin, 6, <u16>ip);
  put<u16>(cpu, lin, 8, <u16>(real ? (ip >> 16 & 15) << 12 | cpu.fpuOpcode : cpu.fpuCs));
  put<u16>(cpu, lin, 10, <u16>dp);
  put<u16>(cpu, lin, 12, <u16>(real ? (dp >> 16 & 15) << 12 : cpu.fpuDs));
}

function loadEnv(cpu: Cpu, i: Insn, lin: u64): void {
  const real = realFormat(cpu);
  let control: u32, status: u32, tags: u32, ip: u32, cs: u32, dp: u32, ds: u32;
  let opcode = cpu.fpuOpcode;
  if (wide(i)) {
    control = get<u32>(cpu, lin, 0);
    status = get<u32>(cpu, lin, 4);
    tags = get<u32>(cpu, lin, 8);
    ip = get<u32>(cpu, lin, 12);
    cs = get<u32>(cpu, lin, 16);
    dp = get<u32>(cpu, lin, 20);
    ds = get<u32>(cpu, lin, 24);
    if (real) {
      ip = (ip & 0xffff) | (cs >> 12) << 16;
      dp = (dp & 0xffff) | (ds >> 12) << 16;
      opcode = cs & 0x7ff;
    } else opcode = (cs >> 16) & 0x7ff;
  } else {
    control = <u32>get<u16>(cpu, lin, 0);
    status = <u32>get<u16>(cpu, lin, 2);
    tags = <u32>get<u16>(cpu, lin, 4);
    ip = <u32>get<u16>(cpu, lin, 6);
    cs = <u32>get<u16>(cpu, lin, 8);
    dp = <u32>get<u16>(cpu, lin, 10);
    ds = <u32>get<u16>(cpu, lin, 12);
    if (real) {
      ip |= (cs >> 12) << 16;
      dp |= (ds >> 12) << 16;
      opcode = cs & 0x7ff;
    }
  }
  cpu.fpuIp = ip;
  cpu.fpuDp = dp;
  cpu.fpuCs = real ? 0 : cs & 0xffff;
  cpu.fpuDs = real ? 0 : ds & 0xffff;
  cpu.fpuOpcode = opcode;
  setFullTags(cpu, tags);
  cpu.fpuStatus = status & 0xffff;
  setControl(cpu, control);
}

export function fnstenv(cpu: Cpu, i: Insn): void {
  const lin = rmLin(cpu, i, envBytes(i), true);
  probe(cpu, lin, envBytes(i));
  storeEnv(cpu, i, lin);
  cpu.fpuControl |= 0x3f;
  updateSummary(cpu);
}

export function fldenv(cpu: Cpu, i: Insn): void {
  loadEnv(cpu, i, rmLin(cpu, i, envBytes(i), false));
}

export function fnsave(cpu: Cpu, i: Insn): void {
  const size = envBytes(i);
  const lin = rmLin(cpu, i, size + 80, true);
  probe(cpu, lin, size + 80);
  storeEnv(cpu, i, lin);
  for (let r: u32 = 0; r < 8; r++) {
    const p = stAt(cpu, (topOf(cpu) + r) & 7);
    const to = size + r * 10;
    put<u64>(cpu, lin, to, load<u64>(p));
    put<u16>(cpu, lin, to + 8, load<u16>(p, 8));
  }
  fpuReset(cpu);
}

export function frstor(cpu: Cpu, i: Insn): void {
  const size = envBytes(i);
  const lin = rmLin(cpu, i, size + 80, false);
  // The last bytes first: what can fault has then been read before the state changes.
  get<u16>(cpu, lin, size + 78);
  loadEnv(cpu, i, lin);
  for (let r: u32 = 0; r < 8; r++) {
    const p = stAt(cpu, (topOf(cpu) + r) & 7);
    const from = size + r * 10;
    store<u64>(p, get<u64>(cpu, lin, from));
    store<u16>(p, get<u16>(cpu, lin, from + 8), 8);
  }
}

/** Notes the last instruction; FPU CS and DS are kept, as CPUID says. */
// @ts-ignore: decorator
@inline export function lastInsn(cpu: Cpu, i: Insn, op: u32): void {
  cpu.fpuOpcode = op;
  cpu.fpuIp = thisRip(cpu, i);
  cpu.fpuCs = cpu.csSel;
}

// @ts-ignore: decorator
@inline export function lastOperand(cpu: Cpu, i: Insn): void {
  cpu.fpuDp = ea(cpu, i);
  cpu.fpuDs = segSel(cpu, seg(i));
}

// @ts-ignore: decorator
@inline function xmmCount(cpu: Cpu): u32 { return (cpu.mode & Mode.SIZE) == Mode.CODE64 ? 16 : 8; }

/** The 512-byte area of FXSAVE, its address after the checks. */
function fxArea(cpu: Cpu, i: Insn, write: bool): u64 {
  checkPresent(cpu);
  const lin = rmLin(cpu, i, 512, write);
  if (lin & 15) faultCode(cpu, Vector.GP, 0);
  return lin;
}

export function fxsave(cpu: Cpu, i: Insn): void {
  const lin = fxArea(cpu, i, true);
  probe(cpu, lin, 512);
  put<u16>(cpu, lin, 0, <u16>cpu.fpuControl);
  put<u16>(cpu, lin, 2, <u16>cpu.fpuStatus);
  put<u16>(cpu, lin, 4, <u16>(~cpu.fpuTags & 0xff));
  put<u16>(cpu, lin, 6, <u16>cpu.fpuOpcode);
  if (rexW(i)) {
    put<u64>(cpu, lin, 8, cpu.fpuIp);
    put<u64>(cpu, lin, 16, cpu.fpuDp);
  } else {
    put<u64>(cpu, lin, 8, (cpu.fpuIp & 0xffff_ffff) | <u64>cpu.fpuCs << 32);
    put<u64>(cpu, lin, 16, (cpu.fpuDp & 0xffff_ffff) | <u64>cpu.fpuDs << 32);
  }
  put<u32>(cpu, lin, 24, cpu.mxcsr);
  put<u32>(cpu, lin, 28, cpu.mxcsrMask);
  for (let r: u32 = 0; r < 8; r++) {
    const p = stAt(cpu, (topOf(cpu) + r) & 7);
    put<u64>(cpu, lin, 32 + (r << 4), load<u64>(p));
    put<u64>(cpu, lin, 40 + (r << 4), <u64>load<u16>(p, 8));
  }
  const count = xmmCount(cpu);
  for (let r: u32 = 0; r < count; r++) writeLin128(cpu, (lin + 160 + (r << 4)) & cpu.addrMask, v128.load(xmmAt(cpu, r)));
}

export function fxrstor(cpu: Cpu, i: Insn): void {
  const lin = fxArea(cpu, i, false);
  get<u8>(cpu, lin, 511);
  const control = <u32>get<u16>(cpu, lin, 0);
  const mxcsr = get<u32>(cpu, lin, 24);
  if (mxcsr & ~cpu.mxcsrMask) faultCode(cpu, Vector.GP, 0);
  cpu.mxcsr = mxcsr;
  cpu.fpuStatus = <u32>get<u16>(cpu, lin, 2);
  cpu.fpuTags = ~<u32>get<u16>(cpu, lin, 4) & 0xff;
  cpu.fpuOpcode = <u32>get<u16>(cpu, lin, 6) & 0x7ff;
  const ip = get<u64>(cpu, lin, 8), dp = get<u64>(cpu, lin, 16);
  if (rexW(i)) {
    cpu.fpuIp = ip;
    cpu.fpuDp = dp;
  } else {
    cpu.fpuIp = ip & 0xffff_ffff;
    cpu.fpuCs = <u32>(ip >> 32) & 0xffff;
    cpu.fpuDp = dp & 0xffff_ffff;
    cpu.fpuDs = <u32>(dp >> 32) & 0xffff;
  }
  for (let r: u32 = 0; r < 8; r++) {
    const p = stAt(cpu, (topOf(cpu) + r) & 7);
    store<u64>(p, get<u64>(cpu, lin, 32 + (r << 4)));
    store<u16>(p, get<u16>(cpu, lin, 40 + (r << 4)), 8);
  }
  const count = xmmCount(cpu);
  for (let r: u32 = 0; r < count; r++) v128.store(xmmAt(cpu, r), readLin128(cpu, (lin + 160 + (r << 4)) & cpu.addrMask));
  setControl(cpu, control);
}
