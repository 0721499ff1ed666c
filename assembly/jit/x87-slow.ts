// What compiled x87 code calls.
import { Cpu, segSel } from "../cpu/state";
import { Insn, OP_X87, isMem, seg } from "../decode/insn";
import { C1 } from "../softfp/fp";
import { loadSize, loaded, storeOperand, stored } from "../ops/x87";
import { begin, commit, pop, stackFault } from "../ops/x87-core";
import { x87Reg } from "../ops/x87-reg";

/** The record at `ip` with its operand's offset and bits, all exceptions being masked and none pending; what a store writes is left in Cpu.temp2. */
export function jitX87(cpu: Cpu, ip: usize, brip: u64, ea: u64, raw: u64): void {
  const i = changetype<Insn>(ip);
  const op = <u32>i.op - OP_X87;
  cpu.brip = brip;
  if (!isMem(i)) {
    x87Reg(cpu, i, op);
    return;
  }
  const key = ((op >> 8) & 7) << 3 | ((op >> 3) & 7);
  cpu.fpuOpcode = op & 0x7ff;
  cpu.fpuIp = brip + <u64>i.off - <u64>i.len;
  cpu.fpuCs = cpu.csSel;
  cpu.fpuDp = ea;
  cpu.fpuDs = segSel(cpu, seg(i));
  const f = begin(cpu);
  if (loadSize(key)) {
    loaded(cpu, f, key, raw);
    return;
  }
  const empty = storeOperand(cpu, f);
  cpu.temp2 = stored(f, key);
  if (empty) stackFault(cpu, 0);
  else commit(cpu, f, C1);
  if ((key & 7) != 2) pop(cpu);
}
