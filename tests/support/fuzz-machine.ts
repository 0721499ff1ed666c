// What the fuzzer's programs run in: memory, page tables, descriptor tables and a small kernel (tests/core/guest/fuzz64.S, fuzz32.S).
import { readFileSync } from 'node:fs';
import { type CoreHarness, type CoreMode, TABLES } from './core-harness.js';
import type { Random } from './random.js';

export const CODE = 0x10_0e00; // 512 bytes before a page's end: programs run over it
export const CODE_PAGES = 4; // from the page of CODE on
/** The same linear pages under the second page tables, and after a flip: these physical ones. */
const OTHER_CODE = 0x18_0000;
/** Linear addresses that lead to the program's physical pages. */
export const ALIAS = 0x14_0000;
export const DATA = 0x20_0000;
export const DATA_BYTES = 0x4000;
/** With paging DATA and STACK are there once more, so far away: in the same entries of the TLB. */
export const FAR = 0x100_0000;
export const STACK = 0x30_0800;
const READ_ONLY = DATA + 0x2000;
const ABSENT = DATA + 0x3000;
/** Addresses of blocks, for jumps through memory: 16 of 8 bytes. */
export const JUMPS = 0x30_4000;
export const BUS = 0xd000_0000;

const IDT = 0x2_0000;
const GDT = 0x2_1000;
const TSS = 0x2_1800;
const KERNEL = 0x2_2000;
const SYSCALL_ENTRY = KERNEL + 0x1200;
const KERNEL_STACK = 0x2_8ff0;
const BLOCK = 0x2_9000;
const KERNEL_END = 0x2_a000;
const ROOT2 = 0x68_0000;
const PAGE = 0x1000;

export interface FuzzMode {
  name: string;
  mode: CoreMode;
  paging: boolean;
  cpl: 0 | 3;
  /** Faults and interrupts are delivered to a kernel; without one a fault ends the step. Needs paging. */
  kernel: boolean;
}

export const FUZZ_MODES: readonly FuzzMode[] = [
  { name: 'user64', mode: 'long64', paging: true, cpl: 3, kernel: true },
  { name: 'system64', mode: 'long64', paging: true, cpl: 0, kernel: true },
  { name: 'user32', mode: 'prot32', paging: true, cpl: 3, kernel: true },
  { name: 'compat32', mode: 'compat32', paging: true, cpl: 3, kernel: true },
  { name: 'bare64', mode: 'long64', paging: false, cpl: 0, kernel: false },
  { name: 'bare32', mode: 'prot32', paging: false, cpl: 0, kernel: false },
  { name: 'paged64', mode: 'long64', paging: true, cpl: 3, kernel: false },
  { name: 'paged32', mode: 'prot32', paging: true, cpl: 3, kernel: false },
  { name: 'bare16', mode: 'prot16', paging: false, cpl: 0, kernel: false },
];

export const bitsOf = (mode: CoreMode): 16 | 32 | 64 => (mode === 'long64' ? 64 : mode === 'prot16' || mode === 'real16' ? 16 : 32);

/** Code selectors of programs by the size of their code. */
export const userCode = (bits: 16 | 32 | 64): number => ({ 16: 0x43, 32: 0x1b, 64: 0x2b })[bits];

const kernels = new Map<string, Uint8Array>();
const kernelOf = (bits: 32 | 64): Uint8Array => {
  const name = `fuzz${bits}.bin`;
  const folder = process.env.VMLET_FIXTURES ?? new URL('../core/fixtures/', import.meta.url).pathname;
  if (!kernels.has(name)) kernels.set(name, readFileSync(`${folder}/${name}`));
  return kernels.get(name)!;
};

/** A segment descriptor of 4 GiB: `access` and `flags` as in SDM vol. 3, 3.4.5. */
const descriptor = (access: number, flags: number): bigint => 0x000f_0000_0000_ffffn | (BigInt(access) << 40n) | (BigInt(flags) << 52n);

/** Index of a linear address in the page tables that the harness lays out; `second` is the other set. */
const entryOf = (lin: number, second = false): number => (second && lin < 0x20_0000 ? ROOT2 + 0x3000 : TABLES + 0x3000) + (lin >>> 12) * 8;

export interface Memory {
  /** The program as it lies at CODE and in ALIAS. */
  program: Uint8Array;
  /** What its pages hold under the second page tables. */
  other: Uint8Array;
  data: Uint8Array;
  /** Addresses of blocks. */
  starts: readonly number[];
}

/** Resets a core and lays out memory; `choose` decides about what programs do not depend on. */
export const prepare = (core: CoreHarness, mode: FuzzMode, memory: Memory, choose: Random): void => {
  core.ram.fill(0); // programs may run astray: all memory is the same at the start
  core.setMode(mode.mode, { paging: mode.paging, cpl: mode.cpl, codeBase: mode.mode === 'prot16' ? CODE & ~0xfff : 0 });
  core.set64('tscOffset', -core.core.instructions(0)); // cores have run other things before
  const first = CODE & ~0xfff;
  core.ram.set(memory.data, DATA);
  for (const [at, bytes] of [[first, memory.program], [OTHER_CODE, memory.other]] as const) {
    core.ram.fill(0xcc, at, at + CODE_PAGES * PAGE);
    core.ram.set(bytes, at + (CODE & 0xfff));
  }
  for (let n = 0; n < 16; n++) core.xmm(n).set(memory.data.subarray(16 * n, 16 * n + 16));
  for (let n = 0; n < 8; n++) core.st(n).fill(0);
  const view = new DataView(core.ram.buffer, core.ram.byteOffset, core.ram.length);
  for (let n = 0; n < 16; n++) {
    const target = memory.starts[choose.below(memory.starts.length)];
    if (bitsOf(mode.mode) === 64) view.setBigUint64(JUMPS + 8 * n, BigInt(target), true);
    else view.setUint32(JUMPS + 4 * n, target, true);
  }
  if (mode.paging) {
    core.setPage(READ_ONLY, 5);
    core.setPage(ABSENT, 0);
    // No program changes page tables behind the TLB's back: which entries are cached is nothing to rely on.
    for (let lin = TABLES; lin < TABLES + 0x8000; lin += PAGE) core.setPage(lin, 3);
    const directory = TABLES + 2 * PAGE;
    view.setBigUint64(directory + (FAR + DATA >>> 21) * 8, view.getBigUint64(directory + (DATA >>> 21) * 8, true), true);
    for (let k = 0; k < CODE_PAGES; k++) view.setBigUint64(entryOf(ALIAS + k * PAGE), BigInt(first + k * PAGE) | 0x67n, true);
  }
  if (mode.kernel) prepareKernel(core, mode, memory, view, choose);
  core.core.flushAll(0);
};

const prepareKernel = (core: CoreHarness, mode: FuzzMode, memory: Memory, view: DataView, choose: Random): void => {
  const long = mode.mode !== 'prot32';
  const bits = bitsOf(mode.mode);
  core.ram.fill(0, IDT, KERNEL_END);
  core.ram.set(kernelOf(long ? 64 : 32), KERNEL);
  for (let lin = IDT; lin < KERNEL_END; lin += PAGE) core.setPage(lin, 3);
  for (let lin = ROOT2; lin < ROOT2 + 0x4000; lin += PAGE) core.setPage(lin, 3);
  const gdt = [0n, descriptor(0x9b, long ? 0xa : 0xc), descriptor(0x93, 0xc), descriptor(0xfb, 0xc), descriptor(0xf3, 0xc), descriptor(0xfb, 0xa)];
  gdt.push(0x0000_8b00_0000_0067n | (BigInt(TSS & 0xffff) << 16n) | (BigInt(TSS >>> 16) << 32n), 0n, descriptor(0xfb, 0x8));
  gdt.forEach((value, n) => view.setBigUint64(GDT + 8 * n, value, true));
  core.set64('gdtrBase', GDT);
  core.set32('gdtrLimit', 8 * gdt.length - 1);
  if (long) {
    view.setBigUint64(TSS + 4, BigInt(KERNEL_STACK), true);
    view.setBigUint64(TSS + 0x24, BigInt(KERNEL_STACK), true); // IST 1
  } else {
    view.setUint32(TSS + 4, KERNEL_STACK, true);
    view.setUint32(TSS + 8, 0x10, true);
  }
  view.setUint16(TSS + 0x66, 0x68, true); // no I/O permissions beyond IOPL
  core.setSegment('tr', 0x30, TSS, 0x67, 0x8b);
  for (let vector = 0; vector < 256; vector++) {
    const at = KERNEL + 16 * vector;
    const gate = BigInt(at & 0xffff) | (8n << 16n) | (BigInt(at >>> 16) << 48n) | 0xee00_0000_0000n | (long ? 1n << 32n : 0n);
    if (long) {
      view.setBigUint64(IDT + 16 * vector, gate, true);
      view.setBigUint64(IDT + 16 * vector + 8, 0n, true);
    } else view.setBigUint64(IDT + 8 * vector, gate, true);
  }
  core.set64('idtrBase', IDT);
  core.set32('idtrLimit', long ? 0xfff : 0x7ff);

  // The second page tables differ in where the program's pages lie.
  const root = long ? TABLES : TABLES + PAGE;
  core.ram.copyWithin(ROOT2, TABLES, TABLES + 0x4000);
  view.setBigUint64(ROOT2, BigInt(ROOT2 + PAGE) | 7n, true);
  view.setBigUint64(ROOT2 + PAGE, BigInt(ROOT2 + 2 * PAGE) | (long ? 7n : 1n), true);
  view.setBigUint64(ROOT2 + 2 * PAGE, BigInt(ROOT2 + 3 * PAGE) | 7n, true);
  const first = CODE & ~0xfff;
  const global = choose.below(2) ? 0x100n : 0n;
  for (let k = 0; k < CODE_PAGES; k++) {
    view.setBigUint64(entryOf(first + k * PAGE), BigInt(first + k * PAGE) | 0x67n | (k === 3 ? global : 0n), true);
    view.setBigUint64(entryOf(first + k * PAGE, true), BigInt((k === 3 ? first : OTHER_CODE) + k * PAGE) | 0x67n | (k === 3 ? global : 0n), true);
  }
  view.setBigUint64(BLOCK + 0x410, BigInt(root), true);
  view.setBigUint64(BLOCK + 0x418, BigInt(long ? ROOT2 : ROOT2 + PAGE), true);
  const code = mode.cpl === 0 ? 8 : userCode(bits);
  view.setUint32(BLOCK + 0x420, code, true);
  for (let n = 0; n < 64; n++) view.setBigUint64(BLOCK + 0x500 + 8 * n, BigInt(memory.starts[choose.below(memory.starts.length)]), true);
  const flips: [lin: number, bits: bigint, second?: boolean][] = [
    [first, BigInt(first ^ OTHER_CODE)],
    [first + PAGE, BigInt(first ^ OTHER_CODE)],
    [first + PAGE, BigInt(first ^ OTHER_CODE), true],
    [first + 2 * PAGE, 1n],
    [first + PAGE, long || choose.below(2) ? 1n << 63n : 4n], // no execution
    [first + PAGE, 4n],
    [DATA, 2n],
    [DATA + PAGE, 1n],
    [DATA + PAGE, BigInt((DATA + PAGE) ^ (first + PAGE))], // data that are code
    [ABSENT, BigInt(ABSENT ^ BUS) | 0x67n],
    [ALIAS, BigInt(first ^ OTHER_CODE)],
    [first, 0x100n],
  ];
  flips.forEach(([lin, flip, second], n) => {
    view.setBigUint64(BLOCK + 0x700 + 24 * n, BigInt(entryOf(lin, second)), true);
    view.setBigUint64(BLOCK + 0x708 + 24 * n, BigInt.asUintN(64, flip), true);
    view.setBigUint64(BLOCK + 0x710 + 24 * n, BigInt(lin), true);
  });
  if (mode.cpl === 3) {
    core.setSegment('cs', userCode(bits), 0, 0xffff_ffff, bits === 64 ? 0xa0fb : 0xc0fb);
    for (const name of ['es', 'ss', 'ds', 'fs', 'gs'] as const) core.setSegment(name, 0x23, 0, 0xffff_ffff, 0xc0f3);
  }
  core.set64('fsBase', 0x40);
  core.set64('star', (0x18n << 48n) | (8n << 32n));
  core.set64('lstar', SYSCALL_ENTRY);
  core.set64('cstar', SYSCALL_ENTRY);
  core.set64('sfmask', 0x4_7700);
  core.set64('efer', core.get64('efer') | 1n);
  if (choose.below(2)) core.set64('cr0', core.get64('cr0') | 0x4_0000n); // AM
  core.set32('fpuControl', 0x37f);
  core.set32('fpuTags', 0xff);
  core.set32('mxcsr', 0x1f80);
  core.flags = 0x3202; // IOPL 3, interrupts on
  core.updateMode();
};

/** Whether the program runs, and not its kernel. */
export const inProgram = (core: CoreHarness, mode: FuzzMode): boolean => {
  if (!mode.kernel) return true;
  const rip = core.rip;
  return core.get32('cpl') === mode.cpl && (rip < BigInt(KERNEL) || rip >= BigInt(KERNEL_END));
};

/** All memory that a program or its kernel can change. */
export const memoryOf = (core: CoreHarness): Uint8Array[] =>
  [[CODE & ~0xfff, CODE_PAGES * PAGE], [OTHER_CODE, CODE_PAGES * PAGE], [DATA, DATA_BYTES], [STACK - 0x1800, 0x3000], [JUMPS, PAGE], [BLOCK, 0x600], [KERNEL_STACK - 0xff0, 0xff0], [TABLES, 0x5000], [ROOT2, 0x4000]].map(
    ([at, length]) => core.ram.subarray(at, at + length),
  );
