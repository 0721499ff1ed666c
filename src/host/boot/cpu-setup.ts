import type { CpuRecord, SegmentName, SegmentValue } from '../core.js';

// Bits 8 to 23 of a descriptor's second word (SDM vol. 3, 3.4.5): G D/B L AVL - P DPL S type.
const CODE32 = 0xc09b;
const DATA32 = 0xc093;
const CODE64 = 0xa09b;
const TSS32_BUSY = 0x008b;
const LDT = 0x0082;

const CR0_PE = 0x1n;
const CR0_ET = 0x10n;
const CR0_NE = 0x20n;
const CR0_PG = 0x8000_0000n;
const CR4_PAE = 0x20n;
const EFER_LME_LMA = 0x500n;

const DATA_SEGMENTS: readonly SegmentName[] = ['es', 'ss', 'ds', 'fs', 'gs'];

/** General registers by their 64-bit names; the others are zero. */
export type Registers = Partial<Record<'rax' | 'rbx' | 'rcx' | 'rdx' | 'rsi' | 'rdi' | 'rbp' | 'rsp', number>>;

export interface FlatStart {
  entry: number;
  registers: Registers;
  codeSelector: number;
  dataSelector: number;
  /** Where the descriptor table lies that `writeGdt` wrote. */
  gdt: number;
}

const GDT_ENTRIES = 5;
export const GDT_BYTES = 8 * GDT_ENTRIES;

/** The descriptor tables of the boot protocols: 0x08 and 0x10 are flat code, 0x18 flat data, 0x20 a task segment. */
export const gdt = (code: 32 | 64): Uint8Array => {
  const bytes = new Uint8Array(GDT_BYTES);
  const view = new DataView(bytes.buffer);
  const flat = (index: number, attributes: number) => {
    view.setUint32(8 * index, 0x0000_ffff, true);
    view.setUint32(8 * index + 4, ((attributes << 8) & 0x00f0_ff00) | 0x000f_0000, true);
  };
  flat(1, code === 64 ? CODE64 : CODE32);
  flat(2, code === 64 ? CODE64 : CODE32);
  flat(3, DATA32);
  view.setUint32(32, 0x0000_0067, true);
  view.setUint32(36, TSS32_BUSY << 8, true);
  return bytes;
};

/** Bytes of the real-mode interrupt table. */
const REAL_MODE_VECTORS = 0x400;

const flatSegments = (cpu: CpuRecord, start: FlatStart, code: number): void => {
  const value = (selector: number, attributes: number): SegmentValue => ({ selector, base: 0, limit: 0xffff_ffff, attributes });
  cpu.setSegment('cs', value(start.codeSelector, code));
  for (const name of DATA_SEGMENTS) cpu.setSegment(name, value(start.dataSelector, DATA32));
  cpu.setSegment('ldtr', { selector: 0, base: 0, limit: 0, attributes: LDT });
  cpu.setSegment('tr', { selector: 0x20, base: 0, limit: 0x67, attributes: TSS32_BUSY });
  cpu.set64('gdtrBase', BigInt(start.gdt));
  cpu.set32('gdtrLimit', GDT_BYTES - 1);
  cpu.set64('idtrBase', 0n);
  cpu.set32('idtrLimit', REAL_MODE_VECTORS - 1); // for kernels that go back to real mode
};

const generalRegisters = (cpu: CpuRecord, entry: number, registers: Registers): void => {
  for (const name of ['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'rsp'] as const) cpu.set64(name, BigInt(registers[name] ?? 0));
  cpu.set64('rip', BigInt(entry));
  cpu.flags = 2;
  cpu.set32('cpl', 0);
};

/** Protected mode, paging off, flat 4 GiB segments, interrupts off. The CPU was reset before. */
export const enterProtected = (cpu: CpuRecord, start: FlatStart): void => {
  flatSegments(cpu, start, CODE32);
  generalRegisters(cpu, start.entry, start.registers);
  cpu.set64('cr0', CR0_PE | CR0_ET);
};

/** 64-bit mode on the page tables at `cr3`, interrupts off. The CPU was reset before. */
export const enterLong = (cpu: CpuRecord, start: FlatStart & { cr3: number }): void => {
  flatSegments(cpu, start, CODE64);
  generalRegisters(cpu, start.entry, start.registers);
  cpu.set64('cr3', BigInt(start.cr3));
  cpu.set64('cr4', CR4_PAE);
  cpu.set64('efer', EFER_LME_LMA);
  cpu.set64('cr0', CR0_PE | CR0_ET | CR0_NE | CR0_PG);
};

/** Real mode at `segment`:`offset`, all data segments and SS at `data`, interrupts off. The CPU was reset before. */
export const enterReal = (cpu: CpuRecord, start: { segment: number; offset: number; data: number; sp: number }): void => {
  const segment = (selector: number, attributes: number): SegmentValue => ({ selector, base: selector << 4, limit: 0xffff, attributes });
  cpu.setSegment('cs', segment(start.segment, 0x009b));
  for (const name of DATA_SEGMENTS) cpu.setSegment(name, segment(start.data, 0x0093));
  generalRegisters(cpu, start.offset, { rsp: start.sp });
};

/** Bytes of the tables that `identityMap` writes. */
export const IDENTITY_MAP_BYTES = 6 * 4096;

/** Page tables that map the first 4 GiB onto themselves in 2 MiB pages, to be placed at physical `base`. */
export const identityMap = (base: number): Uint8Array => {
  const bytes = new Uint8Array(IDENTITY_MAP_BYTES);
  const view = new DataView(bytes.buffer);
  const entry = (offset: number, value: number) => view.setBigUint64(offset, BigInt(value), true);
  entry(0, base + 4096 + 3);
  for (let gigabyte = 0; gigabyte < 4; gigabyte++) entry(4096 + 8 * gigabyte, base + (2 + gigabyte) * 4096 + 3);
  for (let page = 0; page < 2048; page++) entry(2 * 4096 + 8 * page, page * 0x20_0000 + 0x83);
  return bytes;
};

const MTRR_ENABLE = 0xc00n;
const WRITE_BACK = 6n;
const EACH_BYTE = 0x0101_0101_0101_0101n;
const FIXED_RANGES = 11;
/** The fixed range of the video window, 0xA0000 to 0xBFFFF; all zero, uncached. */
const FIXED_VIDEO = 2;
const MASK_VALID = 0x800n;

/** Sets the memory type registers as firmware does (SDM vol. 3, 12.11): everything cached but the video window and what `hole`, above RAM, covers. */
export const firmwareMemoryTypes = (cpu: CpuRecord, hole: { base: bigint; size: bigint }, physicalBits = 40): void => {
  cpu.set64('mtrrDefType', MTRR_ENABLE | WRITE_BACK);
  for (let n = 0; n < FIXED_RANGES; n++) cpu.set64(`mtrrFixed${n}`, n === FIXED_VIDEO ? 0n : EACH_BYTE * WRITE_BACK);
  cpu.set64('mtrrVar0', hole.base);
  cpu.set64('mtrrVar1', (((1n << BigInt(physicalBits)) - 1n) & ~(hole.size - 1n)) | MASK_VALID);
};
