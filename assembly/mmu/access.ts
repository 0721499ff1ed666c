// Memory as instructions see it. `lin` is a linear address; `off` an offset in a segment, already wrapped to the address size.
import { Cpu, CR0_AM, AC, EFER_LMA, Mode, Seg, segAttr, segBase, segLimit } from "../cpu/state";
import { fault, faultCode, Vector } from "../cpu/fault";
import { dataBreakpoint } from "../cpu/interrupt";
import { Insn, seg } from "../decode/insn";
import { INFO_LINES, hostOf, isRom, pageInfo, readPhys, writePhys } from "./physical";
import { TAG_BUS, TAG_CODE, dropOther, entryAt, fetchEntryAt, fillEntry, readOf, readTable, writeTable } from "./tlb";
import { FETCH, USER, WALK_GLOBAL, WALK_HUGE, WALK_LARGE, WRITE, walk } from "./walk";

const PAGE: u64 = 0xfff;

// ---- translation ----

/** #GP(0), or #SS(0) when the instruction addresses the stack, for an address whose upper bits are no sign extension. */
function checkCanonical(cpu: Cpu, lin: u64): void {
  if ((cpu.efer & EFER_LMA) == 0 || <u64>((<i64>lin << 16) >> 16) == lin) return;
  const insn = cpu.insn;
  faultCode(cpu, insn != 0 && seg(changetype<Insn>(insn)) == Seg.SS ? Vector.SS : Vector.GP, 0);
}

function noteLarge(cpu: Cpu, lin: u64, facts: u64): void {
  if (!(facts & (WALK_LARGE | WALK_HUGE))) return;
  const span: u64 = facts & WALK_HUGE ? 0x3fff_ffff : 0x3f_ffff;
  if (facts & WALK_HUGE) cpu.hugeSeen = 1;
  cpu.largeLo = min(cpu.largeLo, lin & ~span);
  cpu.largeHi = max(cpu.largeHi, lin | span);
}

/** Physical address for a data access that stays in one page; fills the TLB. */
export function translate(cpu: Cpu, lin: u64, access: u32): u64 { return translateBy(cpu, lin, access, 0); }
/** The same, ~0 when it would fault. */
export function tryTranslate(cpu: Cpu, lin: u64, access: u32): u64 { return translateBy(cpu, lin, access, 2); }

function translateBy(cpu: Cpu, lin: u64, access: u32, probe: u32): u64 {
  const table = access & WRITE ? writeTable(cpu, (access & USER) != 0) : readTable(cpu, (access & USER) != 0);
  const e = entryAt(table, lin);
  const page = lin & ~PAGE;
  if ((load<u64>(e) & ~PAGE) == page && load<u64>(e) != ~0) return (<u64>load<u32>(e, 12) << 12) | (lin & PAGE);
  if (probe) {
    if ((cpu.efer & EFER_LMA) != 0 && <u64>((<i64>lin << 16) >> 16) != lin) return ~0;
  } else checkCanonical(cpu, lin);
  const facts = walk(cpu, lin, access, probe);
  if (facts == ~0) return ~0;
  noteLarge(cpu, lin, facts);
  const phys = facts & ~PAGE;
  const host = hostOf(phys);
  const bus = page | (host ? 0 : TAG_BUS), addend = <u32>host - <u32>page, number = <u32>(phys >> 12), global = (facts & WALK_GLOBAL) != 0;
  if (access & WRITE) fillEntry(cpu, readOf(e), bus, addend, number, global);
  else dropOther(cpu, e, page);
  let tag = bus;
  if (host && access & WRITE && (isRom(phys) || load<u64>(pageInfo(phys), INFO_LINES) != 0)) tag |= TAG_CODE;
  fillEntry(cpu, e, tag, addend, number, global);
  return phys | (lin & PAGE);
}

// @ts-ignore: decorator
@inline function ramBy(cpu: Cpu, lin: u64, write: bool, probe: u32): usize {
  const user = cpu.cpl == 3;
  const table = write ? cpu.tlbWrite : cpu.tlbRead;
  if (table != (write ? writeTable(cpu, user) : readTable(cpu, user))) return 0;
  const e = entryAt(table, lin);
  if (load<u64>(e) != (lin & ~PAGE)) {
    if (translateBy(cpu, lin, (write ? WRITE : 0) | (user ? USER : 0), probe) == ~0) return 0;
    if (load<u64>(e) != (lin & ~PAGE)) return 0;
  }
  return <usize>(<u32>lin + load<u32>(e, 8));
}
/** Wasm address of a byte that is plain RAM for a read at the current privilege, else 0; faults if the read would. */
export function ramRead(cpu: Cpu, lin: u64): usize { return ramBy(cpu, lin, false, 0); }
/** The same for a write: plain RAM with no decoded code in the page. */
export function ramWrite(cpu: Cpu, lin: u64): usize { return ramBy(cpu, lin, true, 0); }
/** The same, 0 when the access would fault. */
export function tryRamRead(cpu: Cpu, lin: u64): usize { return ramBy(cpu, lin, false, 2); }
export function tryRamWrite(cpu: Cpu, lin: u64): usize { return ramBy(cpu, lin, true, 2); }

/** Alignment checks and data breakpoints; reached only while updateMode has switched the fast tables off. */
function inspect(cpu: Cpu, lin: u64, size: u32, write: bool): void {
  if ((cpu.eflags & AC) != 0 && (cpu.cr0 & CR0_AM) != 0 && cpu.cpl == 3) {
    const align: u32 = size == 16 ? 8 : (size & (size - 1)) == 0 ? size : 1;
    if (lin & <u64>(align - 1)) faultCode(cpu, Vector.AC, 0);
  }
  if (cpu.dr7 & 0xff) dataBreakpoint(cpu, lin, size, write);
}

// ---- linear accesses ----

/** The address `k` bytes on. Outside of 64-bit mode it wraps at 4 GiB, unless it is the system's own (tables, handlers' stacks). */
// @ts-ignore: decorator
@inline function onward(cpu: Cpu, lin: u64, k: u64): u64 { return lin >> 32 ? lin + k : (lin + k) & cpu.addrMask; }

/** Reads T at a linear address with the current privilege. */
export function readLin<T>(cpu: Cpu, lin: u64): T {
  const e = entryAt(cpu.tlbRead, lin);
  if (load<u64>(e) == ((lin + (sizeof<T>() - 1)) & ~PAGE)) return load<T>(<usize>(<u32>lin + load<u32>(e, 8)));
  return readMiss<T>(cpu, lin);
}

export function readMiss<T>(cpu: Cpu, lin: u64): T {
  if (cpu.tlbRead != readTable(cpu, cpu.cpl == 3)) inspect(cpu, lin, sizeof<T>(), false);
  return readAs<T>(cpu, lin, cpu.cpl == 3 ? USER : 0);
}

function readAs<T>(cpu: Cpu, lin: u64, access: u32): T {
  if (sizeof<T>() > 1 && (lin & PAGE) + sizeof<T>() > 0x1000) {
    let v: u64 = 0;
    for (let k: u64 = 0; k < sizeof<T>(); k++) v |= <u64>readPhys<u8>(cpu, translate(cpu, onward(cpu, lin, k), access)) << (k << 3);
    return <T>v;
  }
  return readPhys<T>(cpu, translate(cpu, lin, access));
}

/** Writes T at a linear address with the current privilege; either all bytes are written or none. */
export function writeLin<T>(cpu: Cpu, lin: u64, value: T): void {
  const e = entryAt(cpu.tlbWrite, lin);
  if (load<u64>(e) == ((lin + (sizeof<T>() - 1)) & ~PAGE)) store<T>(<usize>(<u32>lin + load<u32>(e, 8)), value);
  else writeMiss<T>(cpu, lin, value);
}

export function writeMiss<T>(cpu: Cpu, lin: u64, value: T): void {
  if (cpu.tlbWrite != writeTable(cpu, cpu.cpl == 3)) inspect(cpu, lin, sizeof<T>(), true);
  writeAs<T>(cpu, lin, value, cpu.cpl == 3 ? USER | WRITE : WRITE);
}

function writeAs<T>(cpu: Cpu, lin: u64, value: T, access: u32): void {
  if (sizeof<T>() > 1 && (lin & PAGE) + sizeof<T>() > 0x1000) {
    translate(cpu, lin, access);
    translate(cpu, onward(cpu, lin, sizeof<T>() - 1) & ~PAGE, access);
    for (let k: u64 = 0; k < sizeof<T>(); k++) {
      writePhys<u8>(cpu, translate(cpu, onward(cpu, lin, k), access), <u8>(<u64>value >> (k << 3)));
    }
    return;
  }
  writePhys<T>(cpu, translate(cpu, lin, access), value);
}

/** Reads with supervisor privilege whatever the CPL: descriptor tables, TSS. Their addresses have 64 bits in all of long mode. */
export function readSys<T>(cpu: Cpu, lin: u64): T { return readAs<T>(cpu, systemMask(cpu, lin), 0); }
export function writeSys<T>(cpu: Cpu, lin: u64, value: T): void { writeAs<T>(cpu, systemMask(cpu, lin), value, WRITE); }

// @ts-ignore: decorator
@inline function systemMask(cpu: Cpu, lin: u64): u64 { return cpu.efer & EFER_LMA ? lin : lin & 0xffff_ffff; }

export function readLin128(cpu: Cpu, lin: u64): v128 {
  const e = entryAt(cpu.tlbRead, lin);
  if (load<u64>(e) == ((lin + 15) & ~PAGE)) return v128.load(<usize>(<u32>lin + load<u32>(e, 8)));
  if (cpu.tlbRead != readTable(cpu, cpu.cpl == 3)) inspect(cpu, lin, 16, false);
  const access = cpu.cpl == 3 ? USER : 0;
  const lo = readAs<u64>(cpu, lin, access);
  const hi = readAs<u64>(cpu, onward(cpu, lin, 8), access);
  return i64x2.replace_lane(i64x2.splat(lo), 1, hi);
}

export function writeLin128(cpu: Cpu, lin: u64, value: v128): void {
  const e = entryAt(cpu.tlbWrite, lin);
  if (load<u64>(e) == ((lin + 15) & ~PAGE)) {
    v128.store(<usize>(<u32>lin + load<u32>(e, 8)), value);
    return;
  }
  if (cpu.tlbWrite != writeTable(cpu, cpu.cpl == 3)) inspect(cpu, lin, 16, true);
  const access = cpu.cpl == 3 ? USER | WRITE : WRITE;
  translate(cpu, lin, access);
  translate(cpu, onward(cpu, lin, 15) & ~PAGE, access);
  writeAs<u64>(cpu, lin, i64x2.extract_lane(value, 0), access);
  writeAs<u64>(cpu, onward(cpu, lin, 8), i64x2.extract_lane(value, 1), access);
}

/** Faults now if a read of `size` bytes, at most a page, would fault. */
export function probeRead(cpu: Cpu, lin: u64, size: u32): void { probe(cpu, lin, size, cpu.cpl == 3 ? USER : 0); }
export function probeWrite(cpu: Cpu, lin: u64, size: u32): void { probe(cpu, lin, size, cpu.cpl == 3 ? USER | WRITE : WRITE); }

function probe(cpu: Cpu, lin: u64, size: u32, access: u32): void {
  if (cpu.tlbRead != readTable(cpu, cpu.cpl == 3)) inspect(cpu, lin, size, (access & WRITE) != 0);
  translate(cpu, lin, access);
  if ((lin & PAGE) + size > 0x1000) translate(cpu, onward(cpu, lin, size - 1) & ~PAGE, access);
}

/** The old value of a read-modify-write, by the translation for writing alone; the write behind it cannot fault. */
export function readForWrite<T>(cpu: Cpu, lin: u64): T {
  const e = entryAt(cpu.tlbWrite, lin);
  if (load<u64>(e) == ((lin + (sizeof<T>() - 1)) & ~PAGE)) return load<T>(<usize>(<u32>lin + load<u32>(e, 8)));
  probeWrite(cpu, lin, sizeof<T>());
  return readAs<T>(cpu, lin, cpu.cpl == 3 ? USER | WRITE : WRITE);
}

/** Physical address of an instruction byte; `probe` 1 gives ~0 instead of a fault. */
export function translateFetch(cpu: Cpu, lin: u64, probe: u32): u64 {
  if ((cpu.mode & Mode.SIZE) == Mode.CODE64 && <u64>((<i64>lin << 16) >> 16) != lin) {
    if (probe) return ~0;
    faultCode(cpu, Vector.GP, 0);
  }
  return walk(cpu, lin, FETCH | (cpu.cpl == 3 ? USER : 0), probe);
}

/** Physical address of the page that instructions at `lin` are fetched from, ~0 when a fetch would fault; the page's accessed bit stays as it is. */
export function mappedFetch(cpu: Cpu, lin: u64): u64 {
  const e = fetchEntryAt(cpu.tlbExec, lin);
  if (load<u64>(e) == (lin & ~PAGE)) return <u64>load<u32>(e, 12) << 12;
  const facts = translateFetch(cpu, lin, 1);
  return facts == ~0 ? ~0 : facts & ~PAGE;
}

/** Keeps the range of large pages known for INVLPG when a fetch cached one. */
export function noteFetch(cpu: Cpu, lin: u64, facts: u64): void { noteLarge(cpu, lin, facts); }

// ---- logical accesses ----

/** Segment checks of a data access (SDM vol. 3, 5.3 to 5.5, 3.7): #SS(0) for SS, else #GP(0). Returns the linear address. */
export function memLin(cpu: Cpu, s: u32, off: u64, size: u32, write: bool): u64 {
  if ((cpu.mode & Mode.SIZE) == Mode.CODE64) return s >= Seg.FS ? segBase(cpu, s) + off : off;
  const attr = segAttr(cpu, s);
  const limit = <u64>segLimit(cpu, s);
  const last = off + size - 1;
  let ok = (attr & 0x80) != 0;
  if (attr & 8) ok = ok && !write && (attr & 2) != 0;
  else ok = ok && (!write || (attr & 2) != 0);
  if ((attr & 0xc) == 4) ok = ok && off > limit && last <= (attr & 0x4000 ? <u64>0xffff_ffff : <u64>0xffff);
  else ok = ok && (last <= limit || limit == 0xffff_ffff); // a whole segment wraps, as it does for hot operations (SDM vol. 3, 5.3: either may be)
  if (!ok) faultCode(cpu, s == Seg.SS ? Vector.SS : Vector.GP, 0);
  return <u64><u32>(segBase(cpu, s) + off);
}

export function memRead<T>(cpu: Cpu, s: u32, off: u64): T { return readLin<T>(cpu, memLin(cpu, s, off, sizeof<T>(), false)); }
export function memWrite<T>(cpu: Cpu, s: u32, off: u64, value: T): void { writeLin<T>(cpu, memLin(cpu, s, off, sizeof<T>(), true), value); }
export function memRead128(cpu: Cpu, s: u32, off: u64): v128 { return readLin128(cpu, memLin(cpu, s, off, 16, false)); }
export function memWrite128(cpu: Cpu, s: u32, off: u64, value: v128): void { writeLin128(cpu, memLin(cpu, s, off, 16, true), value); }
