// From bytes to blocks of records. Only this folder reads instruction bytes.
import { Cpu, Mode, Seg } from "../cpu/state";
import { DECODER, FETCH_WINDOW } from "../machine";
import { hostOf, readPhys } from "../mmu/physical";
import {
  BLOCK_COUNT, BLOCK_HEADER, BLOCK_LENGTH, BLOCK_RECORDS,
} from "../interp/block-layout";
import { Hot } from "../generated/hot";
import { INSN_BYTES, Insn, OP_THICK_END } from "./insn";
import { ThickEnd } from "./thick";
import { decodeOneByte } from "./map-one";
import { settleFlags } from "./fuse";

/** The largest block: 64 instructions, a stop, the header. */
export const MAX_BLOCK_BYTES: usize = BLOCK_HEADER + 66 * INSN_BYTES;
const MAX_LENGTH: usize = 15; // SDM vol. 2, 2.3.11
const NONE: u64 = ~0;

/** Working state of the instruction being decoded. */
@unmanaged
export class Dec {
  at: usize; // next byte
  start: usize;
  end: usize; // first byte that is not there
  overrun: u32; // ran into `end`
  bad: u32; // undefined in this mode: #UD
  mode: u32;
  code: u32; // Mode.CODE16, 32 or 64
  osz: u32; // 1 to 3
  asz: u32; // 0 to 2
  rex: u32; // whole prefix, 0 when there is none
  opsize: u32; // 66 seen
  rep: u32; // 0, 1: F3, 2: F2
  lock: u32; // 1: seen, 2: seen and allowed
  seg: u32; // override, 8: none
  modrm: u32;
  mem: u32; // rm is memory
  reg: u32; // with REX.R
  rm: u32; // with REX.B, when it is a register
  ripRelative: u32;
  ends: u32; // the record ends its block
}

// @ts-ignore: decorator
@inline export function dec(): Dec { return changetype<Dec>(DECODER); }

export function fetch8(d: Dec): u32 {
  const at = d.at;
  if (at >= d.end) {
    d.overrun = 1;
    return 0;
  }
  d.at = at + 1;
  return load<u8>(at);
}

function fetch16(d: Dec): u32 { return fetch8(d) | (fetch8(d) << 8); }
function fetch32(d: Dec): u32 { return fetch16(d) | (fetch16(d) << 16); }

/** Immediate of 8 bits, sign-extended. */
export function imm8(d: Dec): u64 { return <u64><i64><i8>fetch8(d); }
export function imm16(d: Dec): u64 { return <u64>fetch16(d); }
/** Immediate of the operand size, at most 32 bits, sign-extended. */
export function immZ(d: Dec): u64 { return d.osz == 1 ? <u64><i64><i16>fetch16(d) : <u64><i64><i32>fetch32(d); }
/** Immediate of `size` bytes (log2), sign-extended; 8 bytes in full. */
export function immV(d: Dec, size: u32): u64 {
  if (size == 0) return imm8(d);
  if (size == 1) return <u64><i64><i16>fetch16(d);
  const lo = <u64>fetch32(d);
  if (size == 2) return <u64><i64><i32>lo;
  return lo | (<u64>fetch32(d) << 32);
}
export function immAddress(d: Dec): u64 {
  return d.asz == 0 ? <u64>fetch16(d) : d.asz == 1 ? <u64>fetch32(d) : immV(d, 3);
}

/** Byte offset of a register of `size` (log2 bytes) in the register file. */
export function regOffset(d: Dec, n: u32, size: u32): u32 {
  return size == 0 && d.rex == 0 && n >= 4 && n < 8 ? ((n - 4) << 3) + 1 : n << 3;
}

const ZERO: u8 = <u8>offsetof<Cpu>("zero");
const BRIP: u8 = <u8>offsetof<Cpu>("brip");

/** ModRM, SIB and displacement (SDM vol. 2, 2.1.5): fills the memory operand of `i`, or d.rm. */
export function modrm(d: Dec, i: Insn): void {
  const m = fetch8(d);
  d.modrm = m;
  d.reg = ((m >> 3) & 7) | ((d.rex & 4) << 1);
  const mod = m >> 6;
  const rm = m & 7;
  if (mod == 3) {
    d.mem = 0;
    d.rm = rm | ((d.rex & 1) << 3);
    return;
  }
  d.mem = 1;
  let segment = Seg.DS;
  if (d.asz == 0) {
    let base = ZERO, index = ZERO;
    switch (rm) {
      case 0: base = 3 << 3; index = 6 << 3; break;
      case 1: base = 3 << 3; index = 7 << 3; break;
      case 2: base = 5 << 3; index = 6 << 3; segment = Seg.SS; break;
      case 3: base = 5 << 3; index = 7 << 3; segment = Seg.SS; break;
      case 4: base = 6 << 3; break;
      case 5: base = 7 << 3; break;
      case 6:
        if (mod != 0) {
          base = 5 << 3;
          segment = Seg.SS;
        }
        break;
      default: base = 3 << 3; break;
    }
    i.base = base;
    i.index = index;
    i.disp = mod == 1 ? <i32><i8>fetch8(d) : mod == 2 || (mod == 0 && rm == 6) ? <i32>fetch16(d) : 0;
  } else {
    i.index = ZERO;
    if (rm == 4) {
      const sib = fetch8(d);
      const index = ((sib >> 3) & 7) | ((d.rex & 2) << 2);
      const base = (sib & 7) | ((d.rex & 1) << 3);
      if (index != 4) {
        i.index = <u8>(index << 3);
        i.sib |= <u8>(sib >> 6);
      }
      if ((base & 7) == 5 && mod == 0) {
        i.base = ZERO;
        i.disp = <i32>fetch32(d);
      } else {
        i.base = <u8>(base << 3);
        if (base == 4 || base == 5) segment = Seg.SS;
      }
    } else if (rm == 5 && mod == 0) {
      i.base = ZERO;
      if (d.code == Mode.CODE64) {
        i.base = BRIP;
        d.ripRelative = 1;
      }
      i.disp = <i32>fetch32(d);
    } else {
      const base = rm | ((d.rex & 1) << 3);
      i.base = <u8>(base << 3);
      if (base == 5) segment = Seg.SS;
    }
    if (mod == 1) i.disp = <i32><i8>fetch8(d);
    else if (mod == 2) i.disp = <i32>fetch32(d);
  }
  if (d.seg < 8) segment = d.seg;
  i.attr = (i.attr & 0x78) | <u8>segment | 0x80;
}

/** Decodes one instruction at d.at into `i`; `offset` is its place in the block. */
function decodeOne(d: Dec, i: Insn, offset: u32): void {
  store<u64>(changetype<usize>(i), 0);
  store<u64>(changetype<usize>(i), 0, 8);
  store<u64>(changetype<usize>(i), 0, 16);
  i.base = ZERO;
  i.index = ZERO;
  d.start = d.at;
  d.overrun = 0;
  d.bad = 0;
  d.rex = 0;
  d.opsize = 0;
  d.rep = 0;
  d.lock = 0;
  d.seg = 8;
  d.mem = 0;
  d.ripRelative = 0;
  d.ends = 0;
  const limit = d.end;
  const capped = d.start + MAX_LENGTH < limit;
  if (capped) d.end = d.start + MAX_LENGTH;
  let addr = 0;
  let op: u32;
  for (;;) {
    op = fetch8(d);
    if (d.overrun) break;
    if (op == 0x66) d.opsize = 1;
    else if (op == 0x67) addr = 1;
    else if (op == 0xf0) d.lock = 1;
    else if (op == 0xf2) d.rep = 2;
    else if (op == 0xf3) d.rep = 1;
    else if ((op & 0xe7) == 0x26) {
      // 26 2E 36 3E: ignored in 64-bit mode
      if (d.code != Mode.CODE64) d.seg = (op >> 3) & 3;
    } else if (op == 0x64 || op == 0x65) d.seg = op & 7;
    else if ((op & 0xf0) == 0x40 && d.code == Mode.CODE64) {
      d.rex = op;
      op = fetch8(d);
      // A REX prefix counts only directly before the opcode.
      if ((op & 0xf0) == 0x40 || op == 0x66 || op == 0x67 || op == 0xf0 || op == 0xf2 || op == 0xf3 || (op & 0xe7) == 0x26 || op == 0x64 || op == 0x65) {
        if (d.overrun) break;
        d.rex = 0;
        d.at--;
        continue;
      }
      break;
    } else break;
  }
  if (d.code == Mode.CODE64) {
    d.osz = d.rex & 8 ? 3 : d.opsize ? 1 : 2;
    d.asz = addr ? 1 : 2;
  } else {
    d.osz = (d.code == Mode.CODE32) != (d.opsize != 0) ? 2 : 1;
    d.asz = (d.code == Mode.CODE32) != (addr != 0) ? 1 : 0;
  }
  i.attr = <u8>((d.osz << 3) | (d.asz << 5) | Seg.DS);
  if (!d.overrun) decodeOneByte(d, i, op);
  if (d.overrun && capped) {
    // more than 15 bytes
    d.overrun = 0;
    d.bad = 0;
    end(d, i, ThickEnd.GP_TOO_LONG);
    d.at = d.start + MAX_LENGTH;
  }
  d.end = limit;
  if (d.overrun) return;
  if (d.bad || d.lock == 1) end(d, i, ThickEnd.UD);
  i.len = <u8>(d.at - d.start);
  i.off = <u16>(offset + <u32>i.len);
  if (d.ripRelative) i.disp += <i32>i.off;
}

/** The operation is one that ends the block. */
export function end(d: Dec, i: Insn, op: u32): void {
  i.op = <u16>(OP_THICK_END + op);
  d.ends = 1;
}

/**
 * Decodes up to `limit` instructions at `phys` into `block`. False when the first one needs a second page and `page2` is ~0;
 * later ones that reach into the next page end the block before them.
 */
export function decodeBlock(cpu: Cpu, block: usize, phys: u64, page2: u64, limit: u32): bool {
  const d = dec();
  d.mode = cpu.mode;
  d.code = cpu.mode & Mode.SIZE;
  const host = hostOf(phys);
  const inPage = 0x1000 - (<usize>phys & 0xfff);
  if (host && page2 == NONE) {
    d.at = host;
    d.end = host + inPage;
  } else {
    // across pages, or from the bus: through a window
    const first: usize = inPage < 16 ? inPage : 16;
    const total: usize = page2 == NONE ? first : 16;
    for (let k: usize = 0; k < total; k++) {
      store<u8>(FETCH_WINDOW + k, k < first ? readPhys<u8>(cpu, phys + k) : readPhys<u8>(cpu, page2 + (k - first)));
    }
    d.at = FETCH_WINDOW;
    d.end = FETCH_WINDOW + total;
    limit = 1;
  }
  const origin = d.at;
  let ip = block + BLOCK_HEADER;
  let count: u32 = 0;
  let offset: u32 = 0;
  let ends = false;
  while (count < limit && !ends) {
    const i = changetype<Insn>(ip);
    decodeOne(d, i, offset);
    if (d.overrun) {
      if (count == 0) return false;
      break;
    }
    i.idx = <u8>count;
    offset = <u32>(d.at - origin);
    ends = d.ends != 0;
    count++;
    ip += INSN_BYTES;
    if (d.at >= d.end) break;
  }
  if (!ends) {
    const stop = changetype<Insn>(ip);
    store<u64>(ip, 0);
    store<u64>(ip, 0, 8);
    store<u64>(ip, 0, 16);
    stop.op = <u16>Hot.STOP;
    stop.idx = <u8>count;
    stop.off = <u16>offset;
  }
  const records = settleFlags(block + BLOCK_HEADER, ip, ends);
  store<u16>(block, <u16>count, BLOCK_COUNT);
  store<u16>(block, <u16>records, BLOCK_RECORDS);
  store<u16>(block, <u16>offset, BLOCK_LENGTH);
  return true;
}
