// Data movement and the flag register's simple instructions.
import { AF, CF, Cpu, DF, OF, PF, SF, ZF, getReg, segSel, setReg } from "../cpu/state";
import { cond, getArith, getCF, setArith, setCF } from "../cpu/flags";
import { Insn, asz, ea, isMem, osz, seg } from "../decode/insn";
import { rmRead, rmWrite } from "../decode/operand";
import { memRead, memWrite } from "../mmu/access";

function movEgBy<T>(cpu: Cpu, i: Insn): void { rmWrite<T>(cpu, i, getReg<T>(cpu, i.a)); }
function movGeBy<T>(cpu: Cpu, i: Insn): void { setReg<T>(cpu, i.a, rmRead<T>(cpu, i)); }
function movEiBy<T>(cpu: Cpu, i: Insn): void { rmWrite<T>(cpu, i, <T>i.imm); }

export function movEg(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: movEgBy<u8>(cpu, i); break;
    case 1: movEgBy<u16>(cpu, i); break;
    case 2: movEgBy<u32>(cpu, i); break;
    default: movEgBy<u64>(cpu, i); break;
  }
}
export function movGe(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: movGeBy<u8>(cpu, i); break;
    case 1: movGeBy<u16>(cpu, i); break;
    case 2: movGeBy<u32>(cpu, i); break;
    default: movGeBy<u64>(cpu, i); break;
  }
}
export function movEi(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: movEiBy<u8>(cpu, i); break;
    case 1: movEiBy<u16>(cpu, i); break;
    case 2: movEiBy<u32>(cpu, i); break;
    default: movEiBy<u64>(cpu, i); break;
  }
}

/** Writes the G operand by operand size. */
function setG(cpu: Cpu, i: Insn, value: u64): void {
  switch (osz(i)) {
    case 1: setReg<u16>(cpu, i.a, <u16>value); break;
    case 2: setReg<u32>(cpu, i.a, <u32>value); break;
    default: setReg<u64>(cpu, i.a, value); break;
  }
}

export function movzx8(cpu: Cpu, i: Insn): void { setG(cpu, i, <u64>rmRead<u8>(cpu, i)); }
export function movzx16(cpu: Cpu, i: Insn): void { setG(cpu, i, <u64>rmRead<u16>(cpu, i)); }
export function movsx8(cpu: Cpu, i: Insn): void { setG(cpu, i, <u64><i64><i8>rmRead<u8>(cpu, i)); }
export function movsx16(cpu: Cpu, i: Insn): void { setG(cpu, i, <u64><i64><i16>rmRead<u16>(cpu, i)); }
/** With 16-bit operands only 16 bits are read. */
export function movsxd(cpu: Cpu, i: Insn): void {
  if (osz(i) == 1) setReg<u16>(cpu, i.a, rmRead<u16>(cpu, i));
  else setG(cpu, i, <u64><i64><i32>rmRead<u32>(cpu, i));
}
export function lea(cpu: Cpu, i: Insn): void { setG(cpu, i, ea(cpu, i)); }

export function cbw(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 1: setReg<u16>(cpu, 0, <u16><i16><i8>cpu.rax); break;
    case 2: setReg<u32>(cpu, 0, <u32><i32><i16>cpu.rax); break;
    default: cpu.rax = <u64><i64><i32>cpu.rax; break;
  }
}
export function cwd(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 1: setReg<u16>(cpu, 16, <u16>(<i32><i16>cpu.rax >> 15)); break;
    case 2: setReg<u32>(cpu, 16, <u32>(<i32>cpu.rax >> 31)); break;
    default: cpu.rdx = <u64>(<i64>cpu.rax >> 63); break;
  }
}

/** `off` wrapped to the address size. */
// @ts-ignore: decorator
@inline function wrap(i: Insn, off: u64): u64 {
  const size = asz(i);
  return size == 2 ? off : size == 1 ? <u64><u32>off : <u64><u16>off;
}

export function xlat(cpu: Cpu, i: Insn): void {
  setReg<u8>(cpu, 0, memRead<u8>(cpu, seg(i), wrap(i, cpu.rbx + (cpu.rax & 0xff))));
}

export function setcc(cpu: Cpu, i: Insn): void { rmWrite<u8>(cpu, i, cond(cpu, <u32>i.imm) ? 1 : 0); }

/** The operand is read in any case; a 32-bit move that does not happen still clears the upper half. */
function cmovBy<T>(cpu: Cpu, i: Insn): void {
  const x = rmRead<T>(cpu, i);
  setReg<T>(cpu, i.a, cond(cpu, <u32>i.imm) ? x : getReg<T>(cpu, i.a));
}
export function cmov(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 1: cmovBy<u16>(cpu, i); break;
    case 2: cmovBy<u32>(cpu, i); break;
    default: cmovBy<u64>(cpu, i); break;
  }
}

export function lahf(cpu: Cpu, i: Insn): void { setReg<u8>(cpu, 1, <u8>(getArith(cpu) | 2)); }
export function sahf(cpu: Cpu, i: Insn): void {
  setArith(cpu, (getArith(cpu) & OF) | (<u32>getReg<u8>(cpu, 1) & (SF | ZF | AF | PF | CF)));
}
export function clc(cpu: Cpu, i: Insn): void { setCF(cpu, 0); }
export function stc(cpu: Cpu, i: Insn): void { setCF(cpu, 1); }
export function cmc(cpu: Cpu, i: Insn): void { setCF(cpu, getCF(cpu) ^ 1); }
export function cld(cpu: Cpu, i: Insn): void { cpu.eflags &= ~DF; }
export function std(cpu: Cpu, i: Insn): void { cpu.eflags |= DF; }

/** MOV from a segment register (number in `a`): 16 bits to memory whatever the operand size, zero-extended to a register. */
export function movEs(cpu: Cpu, i: Insn): void {
  const sel = segSel(cpu, i.a);
  if (isMem(i) || osz(i) == 1) rmWrite<u16>(cpu, i, <u16>sel);
  else setReg<u32>(cpu, i.b, sel);
}

export function movnti(cpu: Cpu, i: Insn): void {
  if (osz(i) == 3) rmWrite<u64>(cpu, i, getReg<u64>(cpu, i.a));
  else rmWrite<u32>(cpu, i, getReg<u32>(cpu, i.a));
}

function movAoBy<T>(cpu: Cpu, i: Insn): void { setReg<T>(cpu, 0, memRead<T>(cpu, seg(i), wrap(i, i.imm))); }
function movOaBy<T>(cpu: Cpu, i: Insn): void { memWrite<T>(cpu, seg(i), wrap(i, i.imm), getReg<T>(cpu, 0)); }
export function movAo(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: movAoBy<u8>(cpu, i); break;
    case 1: movAoBy<u16>(cpu, i); break;
    case 2: movAoBy<u32>(cpu, i); break;
    default: movAoBy<u64>(cpu, i); break;
  }
}
export function movOa(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: movOaBy<u8>(cpu, i); break;
    case 1: movOaBy<u16>(cpu, i); break;
    case 2: movOaBy<u32>(cpu, i); break;
    default: movOaBy<u64>(cpu, i); break;
  }
}
