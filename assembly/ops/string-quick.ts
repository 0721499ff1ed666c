// Repeated string instructions upwards on flat segments, as far as plain RAM goes that can be reached without a fault. What is left is string.ts's.
import { Cpu, DF, Lazy, Mode, Seg, TF, getReg, setReg } from "../cpu/state";
import { lazyFlags } from "../cpu/flags";
import { ThickEnd } from "../decode/thick";
import { Insn, OP_THICK_END, asz, osz, rep, seg } from "../decode/insn";
import { tryRamRead, tryRamWrite } from "../mmu/access";
import { entryAt } from "../mmu/tlb";
import { compareRun, copyRun, copySmall, fillRun, log2, scanRun } from "./string-bulk";

/** A multiple of this ends a pass. */
const PASS: u64 = 0x1_0000;
const PAGE: u64 = 0xfff;
const RCX: u32 = 8;
const RSI: u32 = 48;
const RDI: u32 = 56;

/** What became of the pass. */
export namespace Quick {
  export const ALL: u32 = 0; // the instruction is complete
  export const AGAIN: u32 = 1; // the pass is, there will be another
  export const REST: u32 = 2; // something was done or nothing; the registers say how much
}

/** Elements from the one at `off` to the end of the pass, at most `count`; a single one while somebody watches each. */
export function passElements(cpu: Cpu, off: u64, count: u64, shift: u64): u64 {
  if ((cpu.eflags & TF) != 0 || (cpu.dr7 & 0xff) != 0) return 1;
  const at = off & (PASS - 1);
  return min<u64>(count, cpu.eflags & DF ? (at >> shift) + 1 : (PASS - at + ((<u64>1 << shift) - 1)) >> shift);
}

/** Whether the operands of the string instruction are such that `quick` may be asked. */
export function isQuick(i: Insn, mode: u32): bool {
  const s = seg(i);
  return (mode & Mode.FLAT) != 0 && asz(i) == ((mode & Mode.SIZE) == Mode.CODE64 ? 2 : 1) && s < Seg.FS && s != Seg.CS;
}

// @ts-ignore: decorator
@inline function hostRead(cpu: Cpu, lin: u64): usize {
  const e = entryAt(cpu.tlbRead, lin);
  return load<u64>(e) == (lin & ~PAGE) ? <usize>(<u32>lin + load<u32>(e, 8)) : tryRamRead(cpu, lin);
}
// @ts-ignore: decorator
@inline function hostWrite(cpu: Cpu, lin: u64): usize {
  const e = entryAt(cpu.tlbWrite, lin);
  return load<u64>(e) == (lin & ~PAGE) ? <usize>(<u32>lin + load<u32>(e, 8)) : tryRamWrite(cpu, lin);
}

/** Elements of one size from `lin` on that stay in its page, at most `n`; 0 when the first one does not. */
// @ts-ignore: decorator
@inline function within<T>(lin: u64, n: u64): u64 { return min<u64>(n, (0x1000 - (lin & PAGE)) >> log2<T>()); }

// @ts-ignore: decorator
@inline function maskOf(cpu: Cpu): u64 { return (cpu.mode & Mode.SIZE) == Mode.CODE64 ? ~0 : 0xffff_ffff; }
/** Whether the elements would wrap around 4 GiB. */
// @ts-ignore: decorator
@inline function wraps<T>(mask: u64, lin: u64, n: u64): bool { return mask >> 32 == 0 && lin + (n << log2<T>()) > 0x1_0000_0000; }

function quickMovs<T>(cpu: Cpu): u32 {
  const mask = maskOf(cpu);
  const count = getReg<u64>(cpu, RCX) & mask;
  if (!count) return Quick.ALL;
  let si = getReg<u64>(cpu, RSI) & mask, di = getReg<u64>(cpu, RDI) & mask;
  const all = passElements(cpu, di, count, log2<T>());
  if (wraps<T>(mask, si, all) || wraps<T>(mask, di, all)) return Quick.REST;
  let left = all;
  do {
    const n = within<T>(si, within<T>(di, left));
    if (!n) break;
    const from = hostRead(cpu, si), to = from ? hostWrite(cpu, di) : 0;
    if (!to) break;
    const bytes = <usize>n << <usize>log2<T>();
    if (bytes <= 64 && to - from >= bytes) copySmall(to, from, bytes);
    else copyRun<T>(to, from, <usize>n, sizeof<T>());
    si += bytes;
    di += bytes;
    left -= n;
  } while (left);
  setReg<u64>(cpu, RSI, si & mask);
  setReg<u64>(cpu, RDI, di & mask);
  setReg<u64>(cpu, RCX, count - (all - left));
  return left ? Quick.REST : count == all ? Quick.ALL : Quick.AGAIN;
}

function quickStos<T>(cpu: Cpu): u32 {
  const mask = maskOf(cpu);
  const count = getReg<u64>(cpu, RCX) & mask;
  if (!count) return Quick.ALL;
  let di = getReg<u64>(cpu, RDI) & mask;
  const all = passElements(cpu, di, count, log2<T>());
  if (wraps<T>(mask, di, all)) return Quick.REST;
  const value = getReg<T>(cpu, 0);
  let left = all;
  do {
    const n = within<T>(di, left);
    if (!n) break;
    const to = hostWrite(cpu, di);
    if (!to) break;
    fillRun<T>(to, value, <usize>n, sizeof<T>());
    di += n << log2<T>();
    left -= n;
  } while (left);
  setReg<u64>(cpu, RDI, di & mask);
  setReg<u64>(cpu, RCX, count - (all - left));
  return left ? Quick.REST : count == all ? Quick.ALL : Quick.AGAIN;
}

function quickCmps<T>(cpu: Cpu, equal: bool): u32 {
  const mask = maskOf(cpu);
  const count = getReg<u64>(cpu, RCX) & mask;
  if (!count) return Quick.ALL;
  let si = getReg<u64>(cpu, RSI) & mask, di = getReg<u64>(cpu, RDI) & mask;
  const all = passElements(cpu, di, count, log2<T>());
  if (wraps<T>(mask, si, all) || wraps<T>(mask, di, all)) return Quick.REST;
  let left = all;
  let x: T = 0, y: T = 0;
  do {
    let n = within<T>(si, within<T>(di, left));
    if (!n) break;
    const a = hostRead(cpu, si), b = a ? hostRead(cpu, di) : 0;
    if (!b) break;
    n = compareRun<T>(a, b, <usize>n, sizeof<T>(), equal);
    const last = <usize>((n - 1) << log2<T>());
    x = load<T>(a + last);
    y = load<T>(b + last);
    si += n << log2<T>();
    di += n << log2<T>();
    left -= n;
  } while (left != 0 && (x == y) == equal);
  setReg<u64>(cpu, RSI, si & mask);
  setReg<u64>(cpu, RDI, di & mask);
  setReg<u64>(cpu, RCX, count - (all - left));
  return compared<T>(cpu, x, y, equal, left, all, count);
}

function quickScas<T>(cpu: Cpu, equal: bool): u32 {
  const mask = maskOf(cpu);
  const count = getReg<u64>(cpu, RCX) & mask;
  if (!count) return Quick.ALL;
  let di = getReg<u64>(cpu, RDI) & mask;
  const all = passElements(cpu, di, count, log2<T>());
  if (wraps<T>(mask, di, all)) return Quick.REST;
  const x = getReg<T>(cpu, 0);
  let left = all;
  let y: T = 0;
  do {
    let n = within<T>(di, left);
    if (!n) break;
    const a = hostRead(cpu, di);
    if (!a) break;
    n = scanRun<T>(a, x, <usize>n, sizeof<T>(), equal);
    y = load<T>(a + <usize>((n - 1) << log2<T>()));
    di += n << log2<T>();
    left -= n;
  } while (left != 0 && (x == y) == equal);
  setReg<u64>(cpu, RDI, di & mask);
  setReg<u64>(cpu, RCX, count - (all - left));
  return compared<T>(cpu, x, y, equal, left, all, count);
}

/** The end of CMPS and SCAS; nothing was compared when `left` is `all`. */
// @ts-ignore: decorator
@inline function compared<T>(cpu: Cpu, x: T, y: T, equal: bool, left: u64, all: u64, count: u64): u32 {
  const stopped = left != all && (x == y) != equal;
  if (left != 0 && !stopped) return Quick.REST;
  lazyFlags<T>(cpu, Lazy.SUB, x, <T>(x - y));
  return stopped || count == all ? Quick.ALL : Quick.AGAIN;
}

/** Does a repeated MOVS, STOS, CMPS or SCAS for which `isQuick` holds as far as it can; the flags change only when it does not answer REST. */
export function quick(cpu: Cpu, i: Insn): u32 {
  if (cpu.eflags & DF) return Quick.REST;
  const equal = rep(i) == 1;
  switch (((<u32>i.op - OP_THICK_END - ThickEnd.REP_MOVS) << 2) | osz(i)) {
    case 0: return quickMovs<u8>(cpu);
    case 1: return quickMovs<u16>(cpu);
    case 2: return quickMovs<u32>(cpu);
    case 3: return quickMovs<u64>(cpu);
    case 4: return quickCmps<u8>(cpu, equal);
    case 5: return quickCmps<u16>(cpu, equal);
    case 6: return quickCmps<u32>(cpu, equal);
    case 7: return quickCmps<u64>(cpu, equal);
    case 8: return quickStos<u8>(cpu);
    case 9: return quickStos<u16>(cpu);
    case 10: return quickStos<u32>(cpu);
    case 11: return quickStos<u64>(cpu);
    case 16: return quickScas<u8>(cpu, equal);
    case 17: return quickScas<u16>(cpu, equal);
    case 18: return quickScas<u32>(cpu, equal);
    case 19: return quickScas<u64>(cpu, equal);
    default: return Quick.REST;
  }
}
