// Bit tests, scans and byte order. Undefined flags as AMD Zen leaves them: BT* keep all but CF; BSF and BSR clear CF OF SF AF and set
// PF by the result; with a zero source they keep the destination (ZF and PF set). TZCNT and LZCNT keep OF and clear SF AF PF.
import { TABLE_CRC } from "../layout";
import { CF, Cpu, OF, PF, ZF, getReg, setReg } from "../cpu/state";
import { getArith, setArith, setCF } from "../cpu/flags";
import { Insn, asz, ea, isMem, osz, seg } from "../decode/insn";
import { rmRead, rmReadForWrite, rmWrite } from "../decode/operand";
import { memLin, memRead, readForWrite, writeLin } from "../mmu/access";

// @ts-ignore: decorator
@inline function setCarry(cpu: Cpu, cf: u32): void { setCF(cpu, cf); }

/** Kinds: 0 BT, 1 BTS, 2 BTR, 3 BTC. */
// @ts-ignore: decorator
@inline function change<T>(x: T, mask: T, kind: u32): T {
  return kind == 1 ? <T>(x | mask) : kind == 2 ? <T>(x & ~mask) : <T>(x ^ mask);
}

/** Offset of the operand that holds bit `index`, counted from the operand at the effective address. */
function bitOperand(cpu: Cpu, i: Insn, index: i64, size: u32): u64 {
  const off = ea(cpu, i) + <u64>((index >> <i64>(3 + size)) << <i64>size);
  const width = asz(i);
  return width == 2 ? off : width == 1 ? <u64><u32>off : <u64><u16>off;
}

function btBy<T>(cpu: Cpu, i: Insn, kind: u32, index: i64, far: bool): void {
  const bit = <u64>index & <u64>(sizeof<T>() * 8 - 1);
  const mask: T = <T>(<u64>1 << bit);
  if (far && isMem(i)) {
    const off = bitOperand(cpu, i, index, sizeof<T>() == 2 ? 1 : sizeof<T>() == 4 ? 2 : 3);
    let x: T;
    if (kind == 0) {
      x = memRead<T>(cpu, seg(i), off);
    } else {
      const lin = memLin(cpu, seg(i), off, sizeof<T>(), true);
      x = readForWrite<T>(cpu, lin);
      writeLin<T>(cpu, lin, change<T>(x, mask, kind));
    }
    setCarry(cpu, <u32>(<u64>x >> bit) & 1);
    return;
  }
  let x: T;
  if (kind == 0) {
    x = rmRead<T>(cpu, i);
  } else {
    x = rmReadForWrite<T>(cpu, i);
    rmWrite<T>(cpu, i, change<T>(x, mask, kind));
  }
  setCarry(cpu, <u32>(<u64>x >> bit) & 1);
}

// @ts-ignore: decorator
@inline function bitReg(cpu: Cpu, i: Insn, kind: u32): void {
  switch (osz(i)) {
    case 1: btBy<u16>(cpu, i, kind, <i64>getReg<i16>(cpu, i.a), true); break;
    case 2: btBy<u32>(cpu, i, kind, <i64>getReg<i32>(cpu, i.a), true); break;
    default: btBy<u64>(cpu, i, kind, getReg<i64>(cpu, i.a), true); break;
  }
}
// @ts-ignore: decorator
@inline function bitImm(cpu: Cpu, i: Insn, kind: u32): void {
  switch (osz(i)) {
    case 1: btBy<u16>(cpu, i, kind, <i64>i.imm, false); break;
    case 2: btBy<u32>(cpu, i, kind, <i64>i.imm, false); break;
    default: btBy<u64>(cpu, i, kind, <i64>i.imm, false); break;
  }
}

export function btEg(cpu: Cpu, i: Insn): void { bitReg(cpu, i, 0); }
export function btsEg(cpu: Cpu, i: Insn): void { bitReg(cpu, i, 1); }
export function btrEg(cpu: Cpu, i: Insn): void { bitReg(cpu, i, 2); }
export function btcEg(cpu: Cpu, i: Insn): void { bitReg(cpu, i, 3); }
export function btEi(cpu: Cpu, i: Insn): void { bitImm(cpu, i, 0); }
export function btsEi(cpu: Cpu, i: Insn): void { bitImm(cpu, i, 1); }
export function btrEi(cpu: Cpu, i: Insn): void { bitImm(cpu, i, 2); }
export function btcEi(cpu: Cpu, i: Insn): void { bitImm(cpu, i, 3); }

function scan<T>(cpu: Cpu, i: Insn, reverse: bool): void {
  const x = <u64>rmRead<T>(cpu, i);
  if (!x) {
    setArith(cpu, ZF | PF);
    return;
  }
  const r = reverse ? 63 - clz<u64>(x) : ctz<u64>(x);
  setReg<T>(cpu, i.a, <T>r);
  setArith(cpu, popcnt<u64>(r) & 1 ? 0 : PF);
}
function bsfBy<T>(cpu: Cpu, i: Insn): void { scan<T>(cpu, i, false); }
function bsrBy<T>(cpu: Cpu, i: Insn): void { scan<T>(cpu, i, true); }

function tzcntBy<T>(cpu: Cpu, i: Insn): void {
  const x = <u64>rmRead<T>(cpu, i);
  const r: u64 = x ? ctz<u64>(x) : <u64>sizeof<T>() * 8;
  setReg<T>(cpu, i.a, <T>r);
  setArith(cpu, (getArith(cpu) & OF) | (x ? 0 : CF) | (r ? 0 : ZF));
}
function lzcntBy<T>(cpu: Cpu, i: Insn): void {
  const x = <u64>rmRead<T>(cpu, i);
  const r: u64 = clz<u64>(x) - (64 - <u64>sizeof<T>() * 8);
  setReg<T>(cpu, i.a, <T>r);
  setArith(cpu, (getArith(cpu) & OF) | (x ? 0 : CF) | (r ? 0 : ZF));
}
function popcntBy<T>(cpu: Cpu, i: Insn): void {
  const r = popcnt<u64>(<u64>rmRead<T>(cpu, i));
  setReg<T>(cpu, i.a, <T>r);
  setArith(cpu, r ? 0 : ZF);
}

// @ts-ignore: decorator
@inline function swapped<T>(v: T): T {
  if (sizeof<T>() == 2) return <T>((<u32>v >> 8) | (<u32>v << 8));
  return bswap<T>(v);
}

/** BSWAP of the rm register. The 16-bit form clears the register, as hardware does. */
function bswapBy<T>(cpu: Cpu, i: Insn): void {
  setReg<T>(cpu, i.b, sizeof<T>() == 2 ? <T>0 : swapped<T>(getReg<T>(cpu, i.b)));
}
function movbeLoadBy<T>(cpu: Cpu, i: Insn): void { setReg<T>(cpu, i.a, swapped<T>(rmRead<T>(cpu, i))); }
function movbeStoreBy<T>(cpu: Cpu, i: Insn): void { rmWrite<T>(cpu, i, swapped<T>(getReg<T>(cpu, i.a))); }

/** Table `n` holds, per byte, the remainder of CRC-32C (polynomial 1EDC6F41h reflected) when `n` bytes of zero follow. */
export function buildCrcTables(): void {
  for (let n: u32 = 0; n < 256; n++) {
    let crc = n;
    for (let k = 0; k < 64; k++) {
      crc = (crc >> 1) ^ (crc & 1 ? 0x82f6_3b78 : 0);
      if ((k & 7) == 7) store<u32>(TABLE_CRC + <usize>((<u32>k >> 3 << 10) + (n << 2)), crc);
    }
  }
}
// @ts-ignore: decorator
@inline function crcOf(table: usize, v: u32): u32 { return load<u32>(TABLE_CRC + (table << 10) + (<usize>(v & 0xff) << 2)); }
// @ts-ignore: decorator
@inline function crcOf4(table: usize, v: u32): u32 { return crcOf(table + 3, v) ^ crcOf(table + 2, v >> 8) ^ crcOf(table + 1, v >> 16) ^ crcOf(table, v >> 24); }

/** The operand size is that of the source; the register is 32 bits wide, upper half cleared. */
function crc32By<T>(cpu: Cpu, i: Insn): void {
  const data = <u64>rmRead<T>(cpu, i);
  const crc = getReg<u32>(cpu, i.a);
  const x = crc ^ <u32>data;
  let r: u32;
  if (sizeof<T>() == 8) r = crcOf4(4, x) ^ crcOf4(0, <u32>(data >> 32));
  else if (sizeof<T>() == 4) r = crcOf4(0, x);
  else if (sizeof<T>() == 2) r = crcOf(1, x) ^ crcOf(0, x >> 8) ^ (crc >> 16);
  else r = crcOf(0, x) ^ (crc >> 8);
  setReg<u32>(cpu, i.a, r);
}

export function bsf(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 1: bsfBy<u16>(cpu, i); break;
    case 2: bsfBy<u32>(cpu, i); break;
    default: bsfBy<u64>(cpu, i); break;
  }
}
export function bsr(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 1: bsrBy<u16>(cpu, i); break;
    case 2: bsrBy<u32>(cpu, i); break;
    default: bsrBy<u64>(cpu, i); break;
  }
}
export function tzcnt(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 1: tzcntBy<u16>(cpu, i); break;
    case 2: tzcntBy<u32>(cpu, i); break;
    default: tzcntBy<u64>(cpu, i); break;
  }
}
export function lzcnt(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 1: lzcntBy<u16>(cpu, i); break;
    case 2: lzcntBy<u32>(cpu, i); break;
    default: lzcntBy<u64>(cpu, i); break;
  }
}
function popcntGe(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 1: popcntBy<u16>(cpu, i); break;
    case 2: popcntBy<u32>(cpu, i); break;
    default: popcntBy<u64>(cpu, i); break;
  }
}
function bswapR(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 1: bswapBy<u16>(cpu, i); break;
    case 2: bswapBy<u32>(cpu, i); break;
    default: bswapBy<u64>(cpu, i); break;
  }
}
export function movbeLoad(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 1: movbeLoadBy<u16>(cpu, i); break;
    case 2: movbeLoadBy<u32>(cpu, i); break;
    default: movbeLoadBy<u64>(cpu, i); break;
  }
}
export function movbeStore(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 1: movbeStoreBy<u16>(cpu, i); break;
    case 2: movbeStoreBy<u32>(cpu, i); break;
    default: movbeStoreBy<u64>(cpu, i); break;
  }
}
export function crc32(cpu: Cpu, i: Insn): void {
  switch (osz(i)) {
    case 0: crc32By<u8>(cpu, i); break;
    case 1: crc32By<u16>(cpu, i); break;
    case 2: crc32By<u32>(cpu, i); break;
    default: crc32By<u64>(cpu, i); break;
  }
}

// Under their own names inside this file, because the plain ones are built-in functions.
export { popcntGe as popcnt, bswapR as bswap };
