// The hardware task switch (SDM vol. 3, 7.3): everything up to the point of no return faults in the old task, the rest in the new one.
import { updateMode } from "../interp/mode";
import { readSys, writeSys } from "../mmu/access";
import { flushTlb } from "../mmu/tlb";
import { getFlags, setArith } from "./flags";
import { faultCode, Vector } from "./fault";
import { DR6_BT } from "./interrupt";
import {
  ATTR_P, attrOf, baseOf, checkStack, dplOf, fetchDescriptor, isCodeAttr, isConforming, limitOf, loadData, loadLdt, markAccessed, setCs,
  setFromDescriptor, setReal, storeType,
} from "./segment";
import { ARITH, CR0_PG, CR0_TS, Cpu, NT, Seg, VM, getGpr, segSel, setGpr, setSeg } from "./state";

export namespace Switch {
  export const JMP: u32 = 0;
  export const CALL: u32 = 1; // CALL, interrupt or exception: nested
  export const IRET: u32 = 2;
}

// Scratch in the CPU's area: general registers (8) and segment selectors (6) of the incoming task, 4 bytes each.
const CONTEXT: usize = 0x3100;
const FLAGS_32: u32 = 0x003f_7fd5;

/** Linear address of a TSS field. */
// @ts-ignore: decorator
@inline function at(base: u64, off: u32): u64 { return <u64><u32>(base + <u64>off); }

/**
 * Switches to the task of TSS selector `sel`. `flags` is the image of EFLAGS to save; the saved EIP is Cpu.rip. `ext` goes into error codes.
 * The caller has checked privilege (and gates).
 */
export function switchTask(cpu: Cpu, sel: u32, source: u32, flags: u32, ext: u32): void {
  const code = (sel & 0xfffc) | ext;
  const bad = source == Switch.IRET ? Vector.TS : Vector.GP;
  if ((sel & 4) != 0 || code < 4) faultCode(cpu, bad, code);
  const d = fetchDescriptor(cpu, sel, bad, ext);
  const attr = attrOf(d);
  const wanted: u32 = source == Switch.IRET ? 3 : 1;
  if ((attr & 0x17) != wanted) faultCode(cpu, bad, code);
  if ((attr & ATTR_P) == 0) faultCode(cpu, Vector.NP, code);
  const wide = (attr & 8) != 0;
  const base = baseOf(d), limit = limitOf(d);
  const least: u32 = wide ? 0x67 : 0x2b;
  if (limit < least) faultCode(cpu, Vector.TS, code);

  // The new state, read before anything is written: page faults belong to the old task. 
  const fresh = changetype<usize>(cpu) + CONTEXT;
  const eip = wide ? readSys<u32>(cpu, at(base, 0x20)) : <u32>readSys<u16>(cpu, at(base, 14));
  let newFlags = wide ? readSys<u32>(cpu, at(base, 0x24)) : <u32>readSys<u16>(cpu, at(base, 16));
  const cr3 = wide ? readSys<u32>(cpu, at(base, 0x1c)) : 0;
  for (let n: u32 = 0; n < 8; n++) {
    const v = wide ? readSys<u32>(cpu, at(base, 0x28 + n * 4)) : <u32>readSys<u16>(cpu, at(base, 18 + n * 2)) | 0xffff_0000;
    store<u32>(fresh + (<usize>n << 2), v);
  }
  const segments: u32 = wide ? 6 : 4;
  for (let n: u32 = 0; n < 6; n++) {
    let v: u32 = 0;
    if (n < segments) v = <u32>readSys<u16>(cpu, wide ? at(base, 0x48 + n * 4) : at(base, 34 + n * 2));
    store<u32>(fresh + 32 + (<usize>n << 2), v);
  }
  const ldt = <u32>readSys<u16>(cpu, at(base, wide ? 0x60 : 42));
  const trap = wide ? <u32>readSys<u16>(cpu, at(base, 0x64)) & 1 : 0;

  if (source == Switch.IRET) flags &= ~NT;
  const old = cpu.trBase;
  const oldSel = cpu.trSel;
  if ((cpu.trAttr & 8) != 0) {
    writeSys<u32>(cpu, at(old, 0x20), <u32>cpu.rip);
    writeSys<u32>(cpu, at(old, 0x24), flags);
    for (let n: u32 = 0; n < 8; n++) writeSys<u32>(cpu, at(old, 0x28 + n * 4), <u32>getGpr(cpu, n));
    for (let n: u32 = 0; n < 6; n++) writeSys<u16>(cpu, at(old, 0x48 + n * 4), <u16>segSel(cpu, n));
  } else {
    writeSys<u16>(cpu, at(old, 14), <u16>cpu.rip);
    writeSys<u16>(cpu, at(old, 16), <u16>flags);
    for (let n: u32 = 0; n < 8; n++) writeSys<u16>(cpu, at(old, 18 + n * 2), <u16>getGpr(cpu, n));
    for (let n: u32 = 0; n < 4; n++) writeSys<u16>(cpu, at(old, 34 + n * 2), <u16>segSel(cpu, n));
  }
  if (source == Switch.CALL) {
    writeSys<u16>(cpu, at(base, 0), <u16>oldSel);
    newFlags |= NT;
  }
  if (source != Switch.IRET) storeType(cpu, sel, attr | 2);
  if (source != Switch.CALL) storeType(cpu, oldSel, cpu.trAttr & 0xfd);

  // The point of no return.
  cpu.insn = 0;
  cpu.blockedDb = 0;
  setSeg(cpu, Seg.TR, sel, base, limit, attr | 2);
  cpu.cr0 |= CR0_TS;
  cpu.dr7 &= ~<u64>0x155;
  if (wide && (cpu.cr0 & CR0_PG) != 0) {
    cpu.cr3 = <u64>cr3;
    flushTlb(cpu);
  }
  cpu.rip = <u64>eip;
  cpu.eflags = (newFlags & FLAGS_32 & ~ARITH) | 2;
  setArith(cpu, newFlags);
  for (let n: u32 = 0; n < 8; n++) setGpr(cpu, n, <u64>load<u32>(fresh + (<usize>n << 2)));
  const cs = load<u32>(fresh + 36);
  const v86 = (newFlags & VM) != 0;
  cpu.cpl = v86 ? 3 : cs & 3;
  setSeg(cpu, Seg.LDTR, ldt, 0, 0, 0);
  for (let n: u32 = 0; n < 6; n++) {
    const v = load<u32>(fresh + 32 + (<usize>n << 2));
    if (v86) setReal(cpu, n, v);
    else setSeg(cpu, n, v, 0, 0, 0);
  }
  updateMode(cpu);

  loadLdt(cpu, ldt, Vector.TS, ext);
  if (!v86) {
    const csCode = (cs & 0xfffc) | ext;
    if ((cs & 0xfffc) == 0) faultCode(cpu, Vector.TS, csCode);
    const cd = fetchDescriptor(cpu, cs, Vector.TS, ext);
    const ca = attrOf(cd);
    if (!isCodeAttr(ca) || (isConforming(ca) ? dplOf(ca) > (cs & 3) : dplOf(ca) != (cs & 3))) faultCode(cpu, Vector.TS, csCode);
    if ((ca & ATTR_P) == 0) faultCode(cpu, Vector.NP, csCode);
    setCs(cpu, cs, markAccessed(cpu, cs, cd), cs & 3);
    const ss = cpu.ssSel;
    if ((ss & 0xfffc) == 0) faultCode(cpu, Vector.TS, ext);
    setFromDescriptor(cpu, Seg.SS, ss, checkStack(cpu, ss, cpu.cpl, Vector.TS, ext));
    updateMode(cpu);
    loadData(cpu, Seg.ES, cpu.esSel, Vector.TS, ext);
    loadData(cpu, Seg.DS, cpu.dsSel, Vector.TS, ext);
    loadData(cpu, Seg.FS, cpu.fsSel, Vector.TS, ext);
    loadData(cpu, Seg.GS, cpu.gsSel, Vector.TS, ext);
    updateMode(cpu);
  }
  if (eip > cpu.csLimit) faultCode(cpu, Vector.GP, ext);
  if (trap != 0) cpu.blockedDb = DR6_BT;
}

/** IRET with NT set: back to the task that the link field names. */
export function returnFromTask(cpu: Cpu): void {
  const link = <u32>readSys<u16>(cpu, at(cpu.trBase, 0));
  switchTask(cpu, link, Switch.IRET, getFlags(cpu), 0);
}
