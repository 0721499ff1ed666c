// String instructions (SDM vol. 2, REP). A repeated one does at most PASS bytes, then leaves the instruction pointer on itself, so that
// interrupts get in; each pass counts as one instruction. Where a pass ends depends only on addresses, sizes and counts. Inside a pass,
// elements that stay in one page of plain RAM are moved in bulk; the registers are exact whenever an access can fault.
import { Cpu, DF, Lazy, Mode, Seg, TF, getReg, segAttr, segLimit, setReg } from "../cpu/state";
import { lazyFlags } from "../cpu/flags";
import { Insn, asz, osz, rep, seg, thisRip } from "../decode/insn";
import { memLin, ramRead, ramWrite, readLin, writeLin } from "../mmu/access";

const PASS: u32 = 4096;
const RCX: u32 = 8;
const RSI: u32 = 48;
const RDI: u32 = 56;

// @ts-ignore: decorator
@inline function log2<T>(): u64 { return sizeof<T>() == 1 ? 0 : sizeof<T>() == 2 ? 1 : sizeof<T>() == 4 ? 2 : 3; }

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

/** Bytes that one pass may do: a single element while somebody watches each one. */
// @ts-ignore: decorator
@inline function passBytes<T>(cpu: Cpu): u32 {
  return (cpu.eflags & TF) != 0 || (cpu.dr7 & 0xff) != 0 ? <u32>sizeof<T>() : PASS;
}

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

// ---- bulk work on plain RAM; the addresses are those of the first element ----

/** Copies up to 64 bytes, everything read before anything is written. */
// @ts-ignore: decorator
@inline function copySmall(to: usize, from: usize, bytes: usize): void {
  const toEnd = to + bytes, fromEnd = from + bytes;
  if (bytes >= 16) {
    const a = v128.load(from), d = v128.load(fromEnd - 16);
    if (bytes > 32) {
      const b = v128.load(from, 16), c = v128.load(fromEnd - 32);
      v128.store(to, b, 16);
      v128.store(toEnd - 32, c);
    }
    v128.store(to, a);
    v128.store(toEnd - 16, d);
  } else if (bytes >= 8) {
    const a = load<u64>(from), b = load<u64>(fromEnd - 8);
    store<u64>(to, a);
    store<u64>(toEnd - 8, b);
  } else if (bytes >= 4) {
    const a = load<u32>(from), b = load<u32>(fromEnd - 4);
    store<u32>(to, a);
    store<u32>(toEnd - 4, b);
  } else {
    const a = load<u8>(from), b = load<u8>(from + (bytes >> 1)), c = load<u8>(fromEnd - 1);
    store<u8>(to, a);
    store<u8>(to + (bytes >> 1), b);
    store<u8>(toEnd - 1, c);
  }
}

/** Copies element by element in the order of `step`, so that overlapping operands repeat as they do on hardware. */
function copyRun<T>(to: usize, from: usize, n: usize, step: i64): void {
  const bytes = n * sizeof<T>();
  if (step < 0) {
    const low = from - bytes + sizeof<T>(), toLow = to - bytes + sizeof<T>();
    if (toLow >= low || low - toLow >= bytes) {
      if (bytes <= 64) copySmall(toLow, low, bytes);
      else memory.copy(toLow, low, bytes);
      return;
    }
    for (; n; n--) {
      store<T>(to, load<T>(from));
      to -= sizeof<T>();
      from -= sizeof<T>();
    }
    return;
  }
  const distance = to - from; // huge when `to` is below
  if (distance >= bytes || distance == 0) {
    if (bytes <= 64) copySmall(to, from, bytes);
    else memory.copy(to, from, bytes);
    return;
  }
  if (distance & (sizeof<T>() - 1)) {
    for (; n; n--) {
      store<T>(to, load<T>(from));
      to += sizeof<T>();
      from += sizeof<T>();
    }
    return;
  }
  // The first `distance` bytes repeat: each copy doubles what the next can take.
  const end = to + bytes;
  while (to < end) {
    const part = min<usize>(to - from, end - to);
    memory.copy(to, from, part);
    to += part;
  }
}

function fillRun<T>(to: usize, value: T, n: usize, step: i64): void {
  if (step < 0) to -= (n - 1) * sizeof<T>();
  const bytes = n * sizeof<T>();
  const low = <u8>value;
  const uniform: T = sizeof<T>() == 1 ? value : <T>(<u64>low * 0x0101_0101_0101_0101);
  if (value == uniform && bytes > 32) {
    memory.fill(to, low, bytes);
    return;
  }
  const end = to + bytes;
  const wide = v128.splat<T>(value);
  for (; to + 16 <= end; to += 16) v128.store(to, wide);
  for (; to < end; to += sizeof<T>()) store<T>(to, value);
}

/** Elements done by REPE (`equal`) or REPNE over two arrays, the one that ends it included. */
function compareRun<T>(a: usize, b: usize, n: usize, step: i64, equal: bool): usize {
  let k: usize = 0;
  const lanes: usize = 16 / sizeof<T>();
  if (step > 0) {
    for (; n - k >= lanes; k += lanes) {
      const x = v128.load(a + k * sizeof<T>()), y = v128.load(b + k * sizeof<T>());
      if (v128.any_true(equal ? v128.xor(x, y) : v128.eq<T>(x, y))) break;
    }
  }
  const stride = <usize>step;
  for (; k < n; k++) {
    if ((load<T>(a + k * stride) == load<T>(b + k * stride)) != equal) return k + 1;
  }
  return n;
}

/** The same against one value. */
function scanRun<T>(a: usize, value: T, n: usize, step: i64, equal: bool): usize {
  let k: usize = 0;
  const lanes: usize = 16 / sizeof<T>();
  if (step > 0) {
    const y = v128.splat<T>(value);
    for (; n - k >= lanes; k += lanes) {
      const x = v128.load(a + k * sizeof<T>());
      if (v128.any_true(equal ? v128.xor(x, y) : v128.eq<T>(x, y))) break;
    }
  }
  const stride = <usize>step;
  for (; k < n; k++) {
    if ((load<T>(a + k * stride) == value) != equal) return k + 1;
  }
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
  let left = passBytes<T>(cpu);
  do {
    const si = getIndex(cpu, RSI, width), di = getIndex(cpu, RDI, width);
    const src = memLin(cpu, s, si, sizeof<T>(), false), dst = memLin(cpu, Seg.ES, di, sizeof<T>(), true);
    let n = min<u64>(count, <u64>left >> log2<T>());
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
    left -= <u32>n << <u32>log2<T>();
  } while (count != 0 && left != 0);
  if (count) again(cpu, i);
}

function repStosBy<T>(cpu: Cpu, i: Insn): void {
  const width = asz(i), step = stepOf<T>(cpu);
  let count = getIndex(cpu, RCX, width);
  if (!count) return;
  const value = getReg<T>(cpu, 0);
  let left = passBytes<T>(cpu);
  do {
    const di = getIndex(cpu, RDI, width);
    const dst = memLin(cpu, Seg.ES, di, sizeof<T>(), true);
    let n = span<T>(cpu, Seg.ES, di, dst, width, step, min<u64>(count, <u64>left >> log2<T>()));
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
    left -= <u32>n << <u32>log2<T>();
  } while (count != 0 && left != 0);
  if (count) again(cpu, i);
}

function repLodsBy<T>(cpu: Cpu, i: Insn): void {
  const width = asz(i), step = stepOf<T>(cpu), s = seg(i);
  let count = getIndex(cpu, RCX, width);
  if (!count) return;
  let left = passBytes<T>(cpu);
  do {
    const si = getIndex(cpu, RSI, width);
    const src = memLin(cpu, s, si, sizeof<T>(), false);
    let n = span<T>(cpu, s, si, src, width, step, min<u64>(count, <u64>left >> log2<T>()));
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
    left -= <u32>n << <u32>log2<T>();
  } while (count != 0 && left != 0);
  if (count) again(cpu, i);
}

// A fault in the middle leaves the flags as they were before the pass.

function repCmpsBy<T>(cpu: Cpu, i: Insn): void {
  const width = asz(i), step = stepOf<T>(cpu), s = seg(i), equal = rep(i) == 1;
  let count = getIndex(cpu, RCX, width);
  if (!count) return;
  let left = passBytes<T>(cpu);
  let x: T, y: T;
  do {
    const si = getIndex(cpu, RSI, width), di = getIndex(cpu, RDI, width);
    const src = memLin(cpu, s, si, sizeof<T>(), false), dst = memLin(cpu, Seg.ES, di, sizeof<T>(), false);
    let n = min<u64>(count, <u64>left >> log2<T>());
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
    left -= <u32>n << <u32>log2<T>();
  } while (count != 0 && left != 0 && (x == y) == equal);
  lazyFlags<T>(cpu, Lazy.SUB, x, <T>(x - y));
  if (count != 0 && (x == y) == equal) again(cpu, i);
}

function repScasBy<T>(cpu: Cpu, i: Insn): void {
  const width = asz(i), step = stepOf<T>(cpu), equal = rep(i) == 1;
  let count = getIndex(cpu, RCX, width);
  if (!count) return;
  let left = passBytes<T>(cpu);
  const x = getReg<T>(cpu, 0);
  let y: T;
  do {
    const di = getIndex(cpu, RDI, width);
    const dst = memLin(cpu, Seg.ES, di, sizeof<T>(), false);
    let n = span<T>(cpu, Seg.ES, di, dst, width, step, min<u64>(count, <u64>left >> log2<T>()));
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
    left -= <u32>n << <u32>log2<T>();
  } while (count != 0 && left != 0 && (x == y) == equal);
  lazyFlags<T>(cpu, Lazy.SUB, x, <T>(x - y));
  if (count != 0 && (x == y) == equal) again(cpu, i);
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
  switch (osz(i)) {
    case 0: repMovsBy<u8>(cpu, i); break;
    case 1: repMovsBy<u16>(cpu, i); break;
    case 2: repMovsBy<u32>(cpu, i); break;
    default: repMovsBy<u64>(cpu, i); break;
  }
}
export function repCmps(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: repCmpsBy<u8>(cpu, i); break;
    case 1: repCmpsBy<u16>(cpu, i); break;
    case 2: repCmpsBy<u32>(cpu, i); break;
    default: repCmpsBy<u64>(cpu, i); break;
  }
}
export function repStos(cpu: Cpu, i: Insn): void {
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
  switch (osz(i)) {
    case 0: repScasBy<u8>(cpu, i); break;
    case 1: repScasBy<u16>(cpu, i); break;
    case 2: repScasBy<u32>(cpu, i); break;
    default: repScasBy<u64>(cpu, i); break;
  }
}
