// Segment descriptors and segment register loads. SDM vol. 3, 3.4, 3.5, 5.2 to 5.6; 64-bit rules in 5.2.1 and 7.2.3.
import { readSys, writeSys } from "../mmu/access";
import { updateMode } from "../interp/mode";
import { faultCode, Vector } from "./fault";
import { CR0_PE, Cpu, EFER_LMA, Mode, Seg, VM, segAttr, segBase, segLimit, setSeg } from "./state";

// Attribute bits as Cpu holds them.
export const ATTR_ACCESSED: u32 = 1;
export const ATTR_WRITE: u32 = 2; // data: writable; code: readable
export const ATTR_DOWN: u32 = 4; // data: expand-down; code: conforming
export const ATTR_CODE: u32 = 8;
export const ATTR_S: u32 = 0x10;
export const ATTR_P: u32 = 0x80;
export const ATTR_L: u32 = 0x2000;
export const ATTR_B: u32 = 0x4000;
export const ATTR_G: u32 = 0x8000;

const NO_DESCRIPTOR: u64 = 0xffff_ffff_ffff_ffff;

// @ts-ignore: decorator
@inline export function is64(cpu: Cpu): bool { return (cpu.mode & Mode.SIZE) == Mode.CODE64; }
// @ts-ignore: decorator
@inline export function isLong(cpu: Cpu): bool { return (cpu.efer & EFER_LMA) != 0; }
// @ts-ignore: decorator
@inline export function isV86(cpu: Cpu): bool { return (cpu.eflags & VM) != 0; }
/** Protected mode proper: neither real nor virtual-8086 mode. */
// @ts-ignore: decorator
@inline export function isProtected(cpu: Cpu): bool { return (cpu.cr0 & CR0_PE) != 0 && (cpu.eflags & VM) == 0; }
// @ts-ignore: decorator
@inline export function isCanonical(lin: u64): bool { return <u64>(<i64>(lin << 16) >> 16) == lin; }
/** #GP(0) unless the current privilege level is 0. */
// @ts-ignore: decorator
@inline export function needCpl0(cpu: Cpu): void { if (cpu.cpl != 0) faultCode(cpu, Vector.GP, 0); }

/** Linear address inside a system structure: 64 bits in IA-32e mode, else 32. */
// @ts-ignore: decorator
@inline export function systemLin(cpu: Cpu, lin: u64): u64 { return isLong(cpu) ? lin : <u64><u32>lin; }

// @ts-ignore: decorator
@inline export function attrOf(d: u64): u32 { return <u32>(d >> 40) & 0xf0ff; }
// @ts-ignore: decorator
@inline export function baseOf(d: u64): u64 { return ((d >> 16) & 0xff_ffff) | ((d >> 32) & 0xff00_0000); }
// @ts-ignore: decorator
@inline export function dplOf(attr: u32): u32 { return (attr >> 5) & 3; }
export function limitOf(d: u64): u32 {
  const raw = (<u32>d & 0xffff) | (<u32>(d >> 32) & 0xf_0000);
  return (d & 0x0080_0000_0000_0000) != 0 ? (raw << 12) | 0xfff : raw;
}
// @ts-ignore: decorator
@inline export function isCodeAttr(attr: u32): bool { return (attr & (ATTR_S | ATTR_CODE)) == (ATTR_S | ATTR_CODE); }
// @ts-ignore: decorator
@inline export function isWritableData(attr: u32): bool { return (attr & (ATTR_S | ATTR_CODE | ATTR_WRITE)) == (ATTR_S | ATTR_WRITE); }
// @ts-ignore: decorator
@inline export function isConforming(attr: u32): bool { return (attr & ATTR_DOWN) != 0; }

/** Whether `size` bytes from `off` lie inside a segment, expand-down ones included. */
export function inLimit(attr: u32, limit: u32, off: u32, size: u32): bool {
  const last = off + size - 1;
  if (last < off) return false;
  if ((attr & (ATTR_CODE | ATTR_DOWN)) == ATTR_DOWN) return off > limit && ((attr & ATTR_B) != 0 || last <= 0xffff);
  return last <= limit;
}

/** Linear address of a selector's descriptor of `size` bytes, or all ones when it is outside its table. */
function descriptorLin(cpu: Cpu, sel: u32, size: u32): u64 {
  const off = sel & 0xfff8;
  if ((sel & 4) != 0) {
    if (cpu.ldtrAttr == 0 || off + size - 1 > cpu.ldtrLimit) return NO_DESCRIPTOR;
    return systemLin(cpu, cpu.ldtrBase + <u64>off);
  }
  return off + size - 1 > cpu.gdtrLimit ? NO_DESCRIPTOR : systemLin(cpu, cpu.gdtrBase + <u64>off);
}

/** Descriptor of `sel`; outside its table `vector` is raised with the selector and `ext`. */
export function fetchDescriptor(cpu: Cpu, sel: u32, vector: u32, ext: u32): u64 {
  const lin = descriptorLin(cpu, sel, 8);
  if (lin == NO_DESCRIPTOR) faultCode(cpu, vector, (sel & 0xfffc) | ext);
  return readSys<u64>(cpu, lin);
}

/** Descriptor of `sel`, or 0 (which is not present and of type 0) when it is null or outside its table. */
export function peekDescriptor(cpu: Cpu, sel: u32): u64 {
  if ((sel & 0xfffc) == 0) return 0;
  const lin = descriptorLin(cpu, sel, 8);
  return lin == NO_DESCRIPTOR ? 0 : readSys<u64>(cpu, lin);
}

/** Second half of a 16-byte system descriptor; its type field must be 0. */
export function fetchUpper(cpu: Cpu, sel: u32, vector: u32, ext: u32): u64 {
  const lin = descriptorLin(cpu, sel, 16);
  const code = (sel & 0xfffc) | ext;
  if (lin == NO_DESCRIPTOR) faultCode(cpu, vector, code);
  const upper = readSys<u64>(cpu, lin + 8);
  if ((upper & 0x1f00_0000_0000) != 0) faultCode(cpu, vector, code);
  return upper;
}

/** Sets the accessed bit of a code or data descriptor in memory; returns the descriptor with it. */
// @ts-ignore: decorator
@inline export function markAccessed(cpu: Cpu, sel: u32, d: u64): u64 {
  if ((d & 0x0100_0000_0000) != 0) return d;
  return storeAccessed(cpu, sel, d);
}
function storeAccessed(cpu: Cpu, sel: u32, d: u64): u64 {
  const marked = d | 0x0100_0000_0000;
  writeSys<u8>(cpu, descriptorLin(cpu, sel, 8) + 5, <u8>(marked >> 40));
  return marked;
}

/** Rewrites the type byte of a system descriptor (the busy bit of a TSS). */
export function storeType(cpu: Cpu, sel: u32, attr: u32): void {
  writeSys<u8>(cpu, descriptorLin(cpu, sel, 8) + 5, <u8>attr);
}

export function setFromDescriptor(cpu: Cpu, seg: u32, sel: u32, d: u64): void {
  setSeg(cpu, seg, sel, baseOf(d), limitOf(d), attrOf(d));
}

/** Loads CS from a checked descriptor and sets the privilege level; the caller stores RIP and calls updateMode. */
export function setCs(cpu: Cpu, sel: u32, d: u64, cpl: u32): void {
  const attr = attrOf(d);
  cpu.cpl = cpl;
  if ((attr & ATTR_L) != 0 && isLong(cpu)) setSeg(cpu, Seg.CS, (sel & 0xfffc) | cpl, 0, 0xffff_ffff, attr);
  else setSeg(cpu, Seg.CS, (sel & 0xfffc) | cpl, baseOf(d), limitOf(d), attr);
}

/** Makes a segment register null; its base stays, as only 64-bit code can see it. */
export function setNull(cpu: Cpu, seg: u32, sel: u32): void {
  setSeg(cpu, seg, sel, segBase(cpu, seg), 0, 0);
}

/** A load in real mode keeps limit and granularity (what "unreal mode" lives on); in virtual-8086 mode everything is fixed. */
export function setReal(cpu: Cpu, seg: u32, sel: u32): void {
  const base = <u64>(sel & 0xffff) << 4;
  if (isV86(cpu)) setSeg(cpu, seg, sel & 0xffff, base, 0xffff, 0xf3);
  else setSeg(cpu, seg, sel & 0xffff, base, segLimit(cpu, seg), (segAttr(cpu, seg) & 0xf000) | 0x93);
}

/** MOV, POP and far-pointer loads of ES, SS, DS, FS, GS, with every check of the current mode. */
export function loadSegment(cpu: Cpu, seg: u32, sel: u32): void {
  sel &= 0xffff;
  if (!isProtected(cpu)) setReal(cpu, seg, sel);
  else if (seg == Seg.SS) loadStack(cpu, sel);
  else loadData(cpu, seg, sel, Vector.GP, 0);
  updateMode(cpu);
}

function loadStack(cpu: Cpu, sel: u32): void {
  if ((sel & 0xfffc) == 0) {
    if (!is64(cpu) || cpu.cpl == 3 || (sel & 3) != cpu.cpl) faultCode(cpu, Vector.GP, 0);
    setSeg(cpu, Seg.SS, sel, 0, 0, 0);
    return;
  }
  const d = checkStack(cpu, sel, cpu.cpl, Vector.GP, 0);
  setFromDescriptor(cpu, Seg.SS, sel, d);
}

/** Checks a stack selector that is not null for privilege level `cpl`: `vector` or #SS with the selector. Marks it accessed. */
export function checkStack(cpu: Cpu, sel: u32, cpl: u32, vector: u32, ext: u32): u64 {
  const code = (sel & 0xfffc) | ext;
  const d = fetchDescriptor(cpu, sel, vector, ext);
  const attr = attrOf(d);
  if ((sel & 3) != cpl || dplOf(attr) != cpl || !isWritableData(attr)) faultCode(cpu, vector, code);
  if ((attr & ATTR_P) == 0) faultCode(cpu, Vector.SS, code);
  return markAccessed(cpu, sel, d);
}

/** Loads ES, DS, FS or GS in protected mode; `vector` is #GP, or #TS in a task switch. */
export function loadData(cpu: Cpu, seg: u32, sel: u32, vector: u32, ext: u32): void {
  if ((sel & 0xfffc) == 0) {
    setSeg(cpu, seg, sel, 0, 0, 0);
    return;
  }
  const code = (sel & 0xfffc) | ext;
  let d = fetchDescriptor(cpu, sel, vector, ext);
  const attr = attrOf(d);
  if ((attr & ATTR_S) == 0 || (attr & (ATTR_CODE | ATTR_WRITE)) == ATTR_CODE) faultCode(cpu, vector, code);
  if ((attr & (ATTR_CODE | ATTR_DOWN)) != (ATTR_CODE | ATTR_DOWN)) {
    const dpl = dplOf(attr);
    if ((sel & 3) > dpl || cpu.cpl > dpl) faultCode(cpu, vector, code);
  }
  if ((attr & ATTR_P) == 0) faultCode(cpu, Vector.NP, code);
  d = markAccessed(cpu, sel, d);
  setFromDescriptor(cpu, seg, sel, d);
}

/** On a return to an outer level the data segments that it may not see become null (SDM vol. 2, RET). */
export function dropInnerSegments(cpu: Cpu): void {
  dropInner(cpu, Seg.ES);
  dropInner(cpu, Seg.DS);
  dropInner(cpu, Seg.FS);
  dropInner(cpu, Seg.GS);
}
// @ts-ignore: decorator
@inline function dropInner(cpu: Cpu, seg: u32): void {
  const attr = segAttr(cpu, seg);
  if (dplOf(attr) < cpu.cpl && (attr & (ATTR_CODE | ATTR_DOWN)) != (ATTR_CODE | ATTR_DOWN)) setNull(cpu, seg, 0);
}

/** LLDT. */
export function loadLdt(cpu: Cpu, sel: u32, vector: u32, ext: u32): void {
  if ((sel & 0xfffc) == 0) {
    setSeg(cpu, Seg.LDTR, sel, 0, 0, 0);
    return;
  }
  const code = (sel & 0xfffc) | ext;
  if ((sel & 4) != 0) faultCode(cpu, vector, code);
  const d = fetchDescriptor(cpu, sel, vector, ext);
  const attr = attrOf(d);
  if ((attr & 0x1f) != 2) faultCode(cpu, vector, code);
  if ((attr & ATTR_P) == 0) faultCode(cpu, vector == Vector.TS ? vector : Vector.NP, code);
  let base = baseOf(d);
  if (isLong(cpu)) {
    base |= fetchUpper(cpu, sel, vector, ext) << 32;
    if (!isCanonical(base)) faultCode(cpu, vector, code);
  }
  setSeg(cpu, Seg.LDTR, sel, base, limitOf(d), attr);
}

/** LTR. */
export function loadTr(cpu: Cpu, sel: u32): void {
  if ((sel & 0xfffc) == 0) faultCode(cpu, Vector.GP, 0);
  const code = sel & 0xfffc;
  if ((sel & 4) != 0) faultCode(cpu, Vector.GP, code);
  const d = fetchDescriptor(cpu, sel, Vector.GP, 0);
  const attr = attrOf(d);
  if ((attr & 0x1f) != 9 && ((attr & 0x1f) != 1 || isLong(cpu))) faultCode(cpu, Vector.GP, code);
  if ((attr & ATTR_P) == 0) faultCode(cpu, Vector.NP, code);
  let base = baseOf(d);
  if (isLong(cpu)) {
    base |= fetchUpper(cpu, sel, Vector.GP, 0) << 32;
    if (!isCanonical(base)) faultCode(cpu, Vector.GP, code);
  }
  storeType(cpu, sel, attr | 2);
  setSeg(cpu, Seg.TR, sel, base, limitOf(d), attr | 2);
}

// Far control transfers.

/** A code descriptor of JMP and CALL without a gate: type, privilege and presence. Marks it accessed. */
export function checkCodeDirect(cpu: Cpu, sel: u32, d: u64): u64 {
  const attr = attrOf(d), dpl = dplOf(attr), code = sel & 0xfffc;
  if (!isCodeAttr(attr)) faultCode(cpu, Vector.GP, code);
  if (isConforming(attr)) {
    if (dpl > cpu.cpl) faultCode(cpu, Vector.GP, code);
  } else if ((sel & 3) > cpu.cpl || dpl != cpu.cpl) faultCode(cpu, Vector.GP, code);
  if ((attr & (ATTR_L | ATTR_B)) == (ATTR_L | ATTR_B) && isLong(cpu)) faultCode(cpu, Vector.GP, code);
  if ((attr & ATTR_P) == 0) faultCode(cpu, Vector.NP, code);
  return markAccessed(cpu, sel, d);
}

/** The code selector of RET and IRET; returns its descriptor. The new privilege level is the selector's RPL. */
export function checkCodeReturn(cpu: Cpu, sel: u32): u64 {
  const code = sel & 0xfffc, rpl = sel & 3;
  if (code == 0) faultCode(cpu, Vector.GP, 0);
  const d = fetchDescriptor(cpu, sel, Vector.GP, 0);
  const attr = attrOf(d);
  if (!isCodeAttr(attr) || rpl < cpu.cpl) faultCode(cpu, Vector.GP, code);
  if (isConforming(attr) ? dplOf(attr) > rpl : dplOf(attr) != rpl) faultCode(cpu, Vector.GP, code);
  if ((attr & (ATTR_L | ATTR_B)) == (ATTR_L | ATTR_B) && isLong(cpu)) faultCode(cpu, Vector.GP, code);
  if ((attr & ATTR_P) == 0) faultCode(cpu, Vector.NP, code);
  return markAccessed(cpu, sel, d);
}

/** #GP(ext) unless `off` is inside the code segment (or canonical in 64-bit code). */
export function checkTarget(cpu: Cpu, d: u64, off: u64, ext: u32): void {
  if ((attrOf(d) & ATTR_L) != 0 && isLong(cpu)) {
    if (!isCanonical(off)) faultCode(cpu, Vector.GP, ext);
  } else if (off > <u64>limitOf(d)) faultCode(cpu, Vector.GP, ext);
}

// The stack pointer.

/** Mask of the stack pointer's width. */
// @ts-ignore: decorator
@inline export function stackMask(cpu: Cpu): u64 {
  return is64(cpu) ? 0xffff_ffff_ffff_ffff : (cpu.ssAttr & ATTR_B) != 0 ? 0xffff_ffff : 0xffff;
}
/** RSP after its stack-sized part became `value`. */
// @ts-ignore: decorator
@inline export function mergeSp(rsp: u64, value: u64, mask: u64): u64 {
  return mask == 0xffff ? (rsp & 0xffff_ffff_ffff_0000) | (value & 0xffff) : value & mask;
}

/** Stack pointer of `level` in the current 16- or 32-bit TSS: selector << 32 | offset. */
export function innerStack(cpu: Cpu, level: u32, ext: u32): u64 {
  const tr = cpu.trSel & 0xfffc;
  if ((cpu.trAttr & 8) != 0) {
    const off = level * 8 + 4;
    if (off + 5 > cpu.trLimit) faultCode(cpu, Vector.TS, tr | ext);
    const esp = readSys<u32>(cpu, systemLin(cpu, cpu.trBase + <u64>off));
    return (<u64>readSys<u16>(cpu, systemLin(cpu, cpu.trBase + <u64>(off + 4))) << 32) | <u64>esp;
  }
  const off = level * 4 + 2;
  if (off + 3 > cpu.trLimit) faultCode(cpu, Vector.TS, tr | ext);
  const sp = readSys<u16>(cpu, systemLin(cpu, cpu.trBase + <u64>off));
  return (<u64>readSys<u16>(cpu, systemLin(cpu, cpu.trBase + <u64>(off + 2))) << 32) | <u64>sp;
}

/** Stack pointer at `off` of a 64-bit TSS: RSP0 to RSP2, IST1 to IST7. */
export function innerStack64(cpu: Cpu, off: u32, ext: u32): u64 {
  if (off + 7 > cpu.trLimit) faultCode(cpu, Vector.TS, (cpu.trSel & 0xfffc) | ext);
  const rsp = readSys<u64>(cpu, cpu.trBase + <u64>off);
  if (!isCanonical(rsp)) faultCode(cpu, Vector.SS, ext);
  return rsp;
}
