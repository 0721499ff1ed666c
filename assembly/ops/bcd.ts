// Decimal adjustment. Undefined flags as AMD Zen leaves them: OF of DAA and DAS by the sign of AL turning positive to negative (or
// back); SF ZF PF OF of AAA and AAS are those of the 16-bit addition of 106h to AX (or its subtraction) before AL is masked.
import { AF, CF, Cpu, OF, setReg } from "../cpu/state";
import { getArith, getCF, setArith, zspOf } from "../cpu/flags";
import { Vector, fault } from "../cpu/fault";
import { Insn } from "../decode/insn";

export function daa(cpu: Cpu, i: Insn): void {
  const old = getArith(cpu), al = cpu.rax & 0xff;
  let r = al, flags: u32 = 0;
  if ((al & 15) > 9 || (old & AF) != 0) {
    r += 6;
    flags = AF;
  }
  if (al > 0x99 || (old & CF) != 0) {
    r += 0x60;
    flags |= CF;
  }
  setReg<u8>(cpu, 0, <u8>r);
  setArith(cpu, flags | zspOf<u8>(<u8>r) | (<u32>(~al & r & 0x80) << 4));
}

export function das(cpu: Cpu, i: Insn): void {
  const old = getArith(cpu), al = cpu.rax & 0xff;
  let r = al, flags: u32 = 0;
  if ((al & 15) > 9 || (old & AF) != 0) {
    flags = AF | (al < 6 ? CF : 0);
    r -= 6;
  }
  if (al > 0x99 || (old & CF) != 0) {
    r -= 0x60;
    flags |= CF;
  }
  setReg<u8>(cpu, 0, <u8>r);
  setArith(cpu, flags | zspOf<u8>(<u8>r) | (<u32>(al & ~r & 0x80) << 4));
}

export function aaa(cpu: Cpu, i: Insn): void {
  const ax = <u32>cpu.rax & 0xffff;
  const adjust = (ax & 15) > 9 || (getArith(cpu) & AF) != 0;
  const r = adjust ? ax + 0x106 : ax;
  setReg<u16>(cpu, 0, <u16>(r & 0xff0f));
  setArith(cpu, zspOf<u16>(<u16>r) | (adjust ? AF | CF : 0) | (((~ax & r) >> 4) & OF));
}

export function aas(cpu: Cpu, i: Insn): void {
  const ax = <u32>cpu.rax & 0xffff;
  const adjust = (ax & 15) > 9 || (getArith(cpu) & AF) != 0;
  const r = adjust ? ax - 0x106 : ax;
  setReg<u16>(cpu, 0, <u16>(r & 0xff0f));
  setArith(cpu, zspOf<u16>(<u16>r) | (adjust ? AF | CF : 0) | (((ax & ~r) >> 4) & OF));
}

export function aam(cpu: Cpu, i: Insn): void {
  const base = <u32>i.imm & 0xff;
  if (!base) fault(cpu, Vector.DE);
  const al = <u32>cpu.rax & 0xff;
  const r = al % base;
  setReg<u16>(cpu, 0, <u16>((al / base) << 8 | r));
  setArith(cpu, zspOf<u8>(<u8>r));
}

export function aad(cpu: Cpu, i: Insn): void {
  const al = <u32>cpu.rax & 0xff;
  const tens = ((<u32>cpu.rax >> 8) * <u32>i.imm) & 0xff;
  const r = al + tens;
  setReg<u16>(cpu, 0, <u16>(r & 0xff));
  setArith(cpu, zspOf<u8>(<u8>r) | (r >> 8) | ((al ^ tens ^ r) & AF) | (((~(al ^ tens) & (al ^ r)) & 0x80) << 4));
}

export function salc(cpu: Cpu, i: Insn): void { setReg<u8>(cpu, 0, getCF(cpu) ? 0xff : 0); }
