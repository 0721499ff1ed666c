// String instructions (SDM vol. 2, REP). A repeated one goes on to the next multiple of PASS of its destination's index (of the source's for LODS),
// then leaves the instruction pointer on itself, so that interrupts get in; each pass counts as one instruction. So where a pass ends does not
// depend on where it was resumed. Inside a pass, elements that stay in one page of plain RAM are moved in bulk; the registers are exact whenever
// an access can fault. What needs no segment checks and does not fault is done by string-quick.ts, for both engines.
import { Cpu, DF, Lazy, Mode, NO_MISS, Seg, TF, getReg, segAttr, segLimit, setReg } from "../cpu/state";
import { recordMiss } from "../cpu/fault";
import { lazyFlags } from "../cpu/flags";
import { Insn, asz, osz, rep, seg, thisRip } from "../decode/insn";
import { settleFault } from "../interp/run";
import { jit } from "../jit/state";
import { memLin, ramRead, ramWrite, readLin, writeLin } from "../mmu/access";
import { compareRun, copyRun, fillRun, log2, scanRun } from "./string-bulk";
import { Quick, isQuick, passElements, quick } from "./string-quick";

const RCX: u32 = 8;
const RSI: u32 = 48;
const RDI: u32 = 56;

/** Index or count register by address size. */
// @ts-ignore: decorator
@inline function getIndex(cpu: Cpu, reg: u32, width: u32): u64 {
  const v = getReg<u64>(cpu, reg);
  return width == 2 ? v : width == 1 ? <u64><u32>v : <u64><u16>v;
}
// @ts-ignore: decorator
@inline function setIndex(cpu: Cpu, reg: u32, width: u32, v: u64): void {
  if (width == 2) setReg<u64>(cpu, reg, v);
  else if (width == 1) setReg<u32>(cpu, reg, <u32>v);
  else setReg<u16>(cpu, reg, <u16>v);
}

/** Bytes from one element to the next. */
// @ts-ignore: decorator
@inline function stepOf<T>(cpu: Cpu): i64 { return cpu.eflags & DF ? -<i64>sizeof<T>() : <i64>sizeof<T>(); }

/** Elements of the pass that begins or goes on at `off`. */
// @ts-ignore: decorator
@inline function passOf<T>(cpu: Cpu, off: u64, count: u64): u64 { return passElements(cpu, off, count, log2<T>()); }

/** The same instruction again. */
function again(cpu: Cpu, i: Insn): void {
  const rip = thisRip(cpu, i), size = cpu.mode & Mode.SIZE;
  cpu.rip = size == Mode.CODE64 ? rip : size == Mode.CODE32 ? <u64><u32>rip : <u64><u16>rip;
}

/** How many of `n` elements, from the checked one at `off` on, stay in its page and its segment and do not wrap; 0 if that one crosses a page. */
function span<T>(cpu: Cpu, s: u32, off: u64, lin: u64, width: u32, step: i64, n: u64): u64 {
  const at = lin & 0xfff;
  if (at + sizeof<T>() > 0x1000) return 0;
  const legacy = (cpu.mode & Mode.SIZE) != Mode.CODE64;
  const down = legacy && (segAttr(cpu, s) & 0xc) == 4;
  if (step < 0) {
    n = min(n, (at >> log2<T>()) + 1);
    n = min(n, (off >> log2<T>()) + 1);
    return down ? min(n, ((off - <u64>segLimit(cpu, s) - 1) >> log2<T>()) + 1) : n;
  }
  n = min(n, (0x1000 - at) >> log2<T>());
  if (legacy) {
    const last: u64 = !down ? <u64>segLimit(cpu, s) : segAttr(cpu, s) & 0x4000 ? 0xffff_ffff : 0xffff;
    n = min(n, (last - off + 1) >> log2<T>());
  }
  if (width == 1) n = min(n, (0x1_0000_0000 - off) >> log2<T>());
  else if (width == 0) n = min(n, (0x1_0000 - off) >> log2<T>());
  return n;
}

// ---- one element ----

function movsBy<T>(cpu: Cpu, i: Insn): void {
  const width = asz(i), step = <u64>stepOf<T>(cpu);
  const si = getIndex(cpu, RSI, width), di = getIndex(cpu, RDI, width);
  const src = memLin(cpu, seg(i), si, sizeof<T>(), false), dst = memLin(cpu, Seg.ES, di, sizeof<T>(), true);
  writeLin<T>(cpu, dst, readLin<T>(cpu, src));
  setIndex(cpu, RSI, width, si + step);
  setIndex(cpu, RDI, width, di + step);
}

function cmpsBy<T>(cpu: Cpu, i: Insn): void {
  const width = asz(i), step = <u64>stepOf<T>(cpu);
  const si = getIndex(cpu, RSI, width), di = getIndex(cpu, RDI, width);
  const src = memLin(cpu, seg(i), si, sizeof<T>(), false), dst = memLin(cpu, Seg.ES, di, sizeof<T>(), false);
  const x = readLin<T>(cpu, src), y = readLin<T>(cpu, dst);
  setIndex(cpu, RSI, width, si + step);
  setIndex(cpu, RDI, width, di + step);
  lazyFlags<T>(cpu, Lazy.SUB, x, <T>(x - y));
}

function stosBy<T>(cpu: Cpu, i: Insn): void {
  const width = asz(i), di = getIndex(cpu, RDI, width);
  writeLin<T>(cpu, memLin(cpu, Seg.ES, di, sizeof<T>(), true), getReg<T>(cpu, 0));
  setIndex(cpu, RDI, width, di + <u64>stepOf<T>(cpu));
}

function lodsBy<T>(cpu: Cpu, i: Insn): void {
  const width = asz(i), si = getIndex(cpu, RSI, width);
  setReg<T>(cpu, 0, readLin<T>(cpu, memLin(cpu, seg(i), si, sizeof<T>(), false)));
  setIndex(cpu, RSI, width, si + <u64>stepOf<T>(cpu));
}

function scasBy<T>(cpu: Cpu, i: Insn): void {
  const width = asz(i), di = getIndex(cpu, RDI, width);
  const x = getReg<T>(cpu, 0), y = readLin<T>(cpu, memLin(cpu, Seg.ES, di, sizeof<T>(), false));
  setIndex(cpu, RDI, width, di + <u64>stepOf<T>(cpu));
  lazyFlags<T>(cpu, Lazy.SUB, x, <T>(x - y));
}

// ---- repeated ----

function repMovsBy<T>(cpu: Cpu, i: Insn): void {
  const width = asz(i), step = stepOf<T>(cpu), s = seg(i);
  let count = getIndex(cpu, RCX, width);
  if (!count) return;
  let left = passOf<T>(cpu, getIndex(cpu, RDI, width), count);
  do {
    const si = getIndex(cpu, RSI, width), di = getIndex(cpu, RDI, width);
    const src = memLin(cpu, s, si, sizeof<T>(), false), dst = memLin(cpu, Seg.ES, di, sizeof<T>(), true);
    let n = left;
    n = span<T>(cpu, s, si, src, width, step, n);
    n = span<T>(cpu, Seg.ES, di, dst, width, step, n);
    let from: usize = 0, to: usize = 0;
    if (n) {
      from = ramRead(cpu, src);
      if (from) to = ramWrite(cpu, dst);
    }
    if (to) {
      copyRun<T>(to, from, <usize>n, step);
    } else {
      n = 1;
      writeLin<T>(cpu, dst, readLin<T>(cpu, src));
    }
    const moved = <u64>step * n;
    setIndex(cpu, RSI, width, si + moved);
    setIndex(cpu, RDI, width, di + moved);
    count -= n;
    setIndex(cpu, RCX, width, count);
    left -= n;
  } while (count != 0 && left != 0);
  if (count) again(cpu, i);
}

function repStosBy<T>(cpu: Cpu, i: Insn): void {
  const width = asz(i), step = stepOf<T>(cpu);
  let count = getIndex(cpu, RCX, width);
  if (!count) return;
  const value = getReg<T>(cpu, 0);
  let left = passOf<T>(cpu, getIndex(cpu, RDI, width), count);
  do {
    const di = getIndex(cpu, RDI, width);
    const dst = memLin(cpu, Seg.ES, di, sizeof<T>(), true);
    let n = span<T>(cpu, Seg.ES, di, dst, width, step, left);
    const to: usize = n ? ramWrite(cpu, dst) : 0;
    if (to) {
      fillRun<T>(to, value, <usize>n, step);
    } else {
      n = 1;
      writeLin<T>(cpu, dst, value);
    }
    setIndex(cpu, RDI, width, di + <u64>step * n);
    count -= n;
    setIndex(cpu, RCX, width, count);
    left -= n;
  } while (count != 0 && left != 0);
  if (count) again(cpu, i);
}

function repLodsBy<T>(cpu: Cpu, i: Insn): void {
  const width = asz(i), step = stepOf<T>(cpu), s = seg(i);
  let count = getIndex(cpu, RCX, width);
  if (!count) return;
  let left = passOf<T>(cpu, getIndex(cpu, RSI, width), count);
  do {
    const si = getIndex(cpu, RSI, width);
    const src = memLin(cpu, s, si, sizeof<T>(), false);
    let n = span<T>(cpu, s, si, src, width, step, left);
    const from: usize = n ? ramRead(cpu, src) : 0;
    if (from) {
      setReg<T>(cpu, 0, load<T>(from + <usize>(<u64>step * (n - 1))));
    } else {
      n = 1;
      setReg<T>(cpu, 0, readLin<T>(cpu, src));
    }
    setIndex(cpu, RSI, width, si + <u64>step * n);
    count -= n;
    setIndex(cpu, RCX, width, count);
    left -= n;
  } while (count != 0 && left != 0);
  if (count) again(cpu, i);
}

// A fault in the middle leaves the flags as they were before the pass.

function repCmpsBy<T>(cpu: Cpu, i: Insn): void {
  const width = asz(i), step = stepOf<T>(cpu), s = seg(i), equal = rep(i) == 1;
  let count = getIndex(cpu, RCX, width);
  if (!count) return;
  let x: T, y: T;
  let left = passOf<T>(cpu, getIndex(cpu, RDI, width), count);
  do {
    const si = getIndex(cpu, RSI, width), di = getIndex(cpu, RDI, width);
    const src = memLin(cpu, s, si, sizeof<T>(), false), dst = memLin(cpu, Seg.ES, di, sizeof<T>(), false);
    let n = left;
    n = span<T>(cpu, s, si, src, width, step, n);
    n = span<T>(cpu, Seg.ES, di, dst, width, step, n);
    let from: usize = 0, to: usize = 0;
    if (n) {
      from = ramRead(cpu, src);
      if (from) to = ramRead(cpu, dst);
    }
    if (to) {
      n = compareRun<T>(from, to, <usize>n, step, equal);
      const last = <usize>(<u64>step * (n - 1));
      x = load<T>(from + last);
      y = load<T>(to + last);
    } else {
      n = 1;
      x = readLin<T>(cpu, src);
      y = readLin<T>(cpu, dst);
    }
    const moved = <u64>step * n;
    setIndex(cpu, RSI, width, si + moved);
    setIndex(cpu, RDI, width, di + moved);
    count -= n;
    setIndex(cpu, RCX, width, count);
    left -= n;
  } while (count != 0 && left != 0 && (x == y) == equal);
  lazyFlags<T>(cpu, Lazy.SUB, x, <T>(x - y));
  if (count != 0 && (x == y) == equal) again(cpu, i);
}

function repScasBy<T>(cpu: Cpu, i: Insn): void {
  const width = asz(i), step = stepOf<T>(cpu), equal = rep(i) == 1;
  let count = getIndex(cpu, RCX, width);
  if (!count) return;
  const x = getReg<T>(cpu, 0);
  let y: T;
  let left = passOf<T>(cpu, getIndex(cpu, RDI, width), count);
  do {
    const di = getIndex(cpu, RDI, width);
    const dst = memLin(cpu, Seg.ES, di, sizeof<T>(), false);
    let n = span<T>(cpu, Seg.ES, di, dst, width, step, left);
    const from: usize = n ? ramRead(cpu, dst) : 0;
    if (from) {
      n = scanRun<T>(from, x, <usize>n, step, equal);
      y = load<T>(from + <usize>(<u64>step * (n - 1)));
    } else {
      n = 1;
      y = readLin<T>(cpu, dst);
    }
    setIndex(cpu, RDI, width, di + <u64>step * n);
    count -= n;
    setIndex(cpu, RCX, width, count);
    left -= n;
  } while (count != 0 && left != 0 && (x == y) == equal);
  lazyFlags<T>(cpu, Lazy.SUB, x, <T>(x - y));
  if (count != 0 && (x == y) == equal) again(cpu, i);
}

/** Does what it can quickly; true when that was the whole pass, or up to a page fault that is delivered now instead of by unwinding. */
function done(cpu: Cpu, i: Insn): bool {
  if (!isQuick(i, cpu.mode)) return false;
  cpu.missCode = NO_MISS;
  const how = quick(cpu, i);
  if (how == Quick.AGAIN) again(cpu, i);
  if (how != Quick.REST) return true;
  if (cpu.missCode == NO_MISS || !jit().deliver || (cpu.eflags & TF) != 0) return false;
  recordMiss(cpu);
  settleFault(cpu);
  return true;
}

export function movs(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: movsBy<u8>(cpu, i); break;
    case 1: movsBy<u16>(cpu, i); break;
    case 2: movsBy<u32>(cpu, i); break;
    default: movsBy<u64>(cpu, i); break;
  }
}
export function cmps(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: cmpsBy<u8>(cpu, i); break;
    case 1: cmpsBy<u16>(cpu, i); break;
    case 2: cmpsBy<u32>(cpu, i); break;
    default: cmpsBy<u64>(cpu, i); break;
  }
}
export function stos(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: stosBy<u8>(cpu, i); break;
    case 1: stosBy<u16>(cpu, i); break;
    case 2: stosBy<u32>(cpu, i); break;
    default: stosBy<u64>(cpu, i); break;
  }
}
export function lods(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: lodsBy<u8>(cpu, i); break;
    case 1: lodsBy<u16>(cpu, i); break;
    case 2: lodsBy<u32>(cpu, i); break;
    default: lodsBy<u64>(cpu, i); break;
  }
}
export function scas(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: scasBy<u8>(cpu, i); break;
    case 1: scasBy<u16>(cpu, i); break;
    case 2: scasBy<u32>(cpu, i); break;
    default: scasBy<u64>(cpu, i); break;
  }
}
export function repMovs(cpu: Cpu, i: Insn): void {
  if (done(cpu, i)) return;
  switch (osz(i)) {
    case 0: repMovsBy<u8>(cpu, i); break;
    case 1: repMovsBy<u16>(cpu, i); break;
    case 2: repMovsBy<u32>(cpu, i); break;
    default: repMovsBy<u64>(cpu, i); break;
  }
}
export function repCmps(cpu: Cpu, i: Insn): void {
  if (done(cpu, i)) return;
  switch (osz(i)) {
    case 0: repCmpsBy<u8>(cpu, i); break;
    case 1: repCmpsBy<u16>(cpu, i); break;
    case 2: repCmpsBy<u32>(cpu, i); break;
    default: repCmpsBy<u64>(cpu, i); break;
  }
}
export function repStos(cpu: Cpu, i: Insn): void {
  if (done(cpu, i)) return;
  switch (osz(i)) {
    case 0: repStosBy<u8>(cpu, i); break;
    case 1: repStosBy<u16>(cpu, i); break;
    case 2: repStosBy<u32>(cpu, i); break;
    default: repStosBy<u64>(cpu, i); break;
  }
}
export function repLods(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: repLodsBy<u8>(cpu, i); break;
    case 1: repLodsBy<u16>(cpu, i); break;
    case 2: repLodsBy<u32>(cpu, i); break;
    default: repLodsBy<u64>(cpu, i); break;
  }
}
export function repScas(cpu: Cpu, i: Insn): void {
  if (done(cpu, i)) return;
  switch (osz(i)) {
    case 0: repScasBy<u8>(cpu, i); break;
    case 1: repScasBy<u16>(cpu, i); break;
    case 2: repScasBy<u32>(cpu, i); break;
    default: repScasBy<u64>(cpu, i); break;
  }
}
