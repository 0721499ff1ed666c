// The CPU core by itself: dist/core.wasm (or VMLET_CORE) with RAM from address 0 and no devices. Faults stop at the raise import,
// so tests see the vector.
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { JitLinker, type JitOptions } from '../../src/host/jit-linker.js';

const CORE = process.env.VMLET_CORE ?? fileURLToPath(new URL('../../dist/core.wasm', import.meta.url));
const RAM_PAGES_BEFORE = 0x0800_0000 / 65_536;

export type EngineName = 'interp' | 'jit';

export type CoreMode = 'real16' | 'prot16' | 'prot32' | 'compat32' | 'long64';

export interface ModeOptions {
  /** Default 0. At 3 the segments get DPL 3. */
  cpl?: 0 | 1 | 2 | 3;
  /** Identity paging of the first GiB with 4 KiB pages whose flags `setPage` changes; tables at `TABLES`. Implied by nothing. */
  paging?: boolean;
  /** Segments that cover all but the last byte of 4 GiB: everything works as with flat ones, but takes the checked paths. */
  checked?: boolean;
  /** Base of CS; default 0. */
  codeBase?: number;
}

export interface Fault {
  vector: number;
  /** The error code, undefined when the exception has none. */
  code?: number;
  /** Offset in CS of the faulting instruction. */
  rip: bigint;
}

export interface RunResult {
  /** The fault that stopped it, not delivered. Undefined when the budget ended it, or HLT, or the end of `code`. */
  fault?: Fault;
  halted: boolean;
  /** Instructions executed; the faulting one is not counted. */
  instructions: number;
}

interface CoreExports {
  init(ramKiB: number): void;
  cpuPointer(index: number): number;
  ramBase(): number;
  resetCpu(index: number): void;
  updateMode(index: number): void;
  run(index: number, budget: number): number;
  deliverFault(index: number): number;
  instructions(index: number): number;
  invalidate(phys: number, length: number): void;
  flushAll(index: number): void;
  setIntr(index: number, level: number): void;
  shorten(index: number, remaining: number): void;
  nmi(index: number): void;
  jitCounter(which: number): number;
  deliverInPlace(on: number): void;
}

/** The compiler's counters: see `jitCounter` of assembly/index.ts. */
export interface HarnessJitStats {
  regions: number;
  modules: number;
  resets: number;
  dropped: number;
  entries: number;
  /** Instructions executed as compiled code; what a fault ended is missing where `go` took the fault. */
  executed: number;
}

/** Handlers of the bus words; whatever is left out reads as ones and ignores writes. */
export interface Bus {
  portRead?(port: number, size: number): number;
  portWrite?(port: number, size: number, value: number): void;
  mmioRead?(phys: number, size: number): number;
  mmioWrite?(phys: number, size: number, value: number): void;
  interruptAck?(): number;
  pause?(ns: number): void;
}

const FAULT = Object.freeze({ fault: true });
const ARITH = 0x8d5;
/** Where the page tables of `paging` lie. */
export const TABLES = 0x60_0000;
/** UD2, the end mark behind code that `run` places. */
const END_MARK = [0x0f, 0x0b];

let compiled: WebAssembly.Module | undefined;
const coreModule = (): WebAssembly.Module => {
  if (!compiled && !existsSync(CORE)) throw new Error(`no CPU core at ${CORE}: run 'npm run build:core' or set VMLET_CORE`);
  return (compiled ??= new WebAssembly.Module(readFileSync(CORE)));
};

/** One CPU with `ramBytes` of RAM (default 8 MiB, a multiple of 64 KiB). */
export class CoreHarness {
  /** The engine of harnesses that do not name one. */
  static defaultEngine: EngineName = process.env.VMLET_ENGINE === 'jit' ? 'jit' : 'interp';
  /** Told of every new harness. */
  static onCreate: ((core: CoreHarness) => void) | undefined;
  readonly memory: WebAssembly.Memory;
  readonly ram: Uint8Array;
  readonly core: CoreExports;
  bus: Bus = {};
  readonly #cpu: DataView;
  readonly #offsets = new Map<string, number>();

  /** `engine`: 'jit' compiles every block before its first execution unless `jit` says otherwise. Default: see `defaultEngine`. */
  constructor(ramBytes = 8 << 20, engine: EngineName = CoreHarness.defaultEngine, jit: JitOptions = { threshold: 1, batch: 1 }) {
    this.memory = new WebAssembly.Memory({ initial: RAM_PAGES_BEFORE + ramBytes / 65_536, maximum: 65_536 });
    const linker = new JitLinker(this.memory);
    const host = {
      raise: () => {
        throw FAULT;
      },
      portRead: (_: number, port: number, size: number) => this.bus.portRead?.(port, size) ?? (size === 4 ? -1 : 2 ** (8 * size) - 1),
      portWrite: (_: number, port: number, size: number, value: number) => this.bus.portWrite?.(port, size, value >>> 0),
      mmioRead: (_: number, lo: number, hi: number, size: number) => this.bus.mmioRead?.((lo >>> 0) + (hi >>> 0) * 2 ** 32, size) ?? -1,
      mmioWrite: (_: number, lo: number, hi: number, size: number, value: number) => this.bus.mmioWrite?.((lo >>> 0) + (hi >>> 0) * 2 ** 32, size, value >>> 0),
      interruptAck: () => this.bus.interruptAck?.() ?? -1,
      msrRead: () => 0,
      msrWrite: () => 0,
      tprRead: () => 0,
      tprWrite: () => {},
      ferr: () => {},
      pause: (_: number, ns: number) => this.bus.pause?.(ns),
      entropy: () => 0x1234_5678,
      ...linker.words,
    };
    const env = {
      memory: this.memory,
      abort: () => {
        throw new Error('the core aborted');
      },
    };
    const { exports } = new WebAssembly.Instance(coreModule(), { env, host });
    this.core = exports as unknown as CoreExports;
    for (const [name, value] of Object.entries(exports)) {
      if (name.startsWith('OFF_') && value instanceof WebAssembly.Global) this.#offsets.set(name.slice(4), Number(value.value));
    }
    this.ram = new Uint8Array(this.memory.buffer, this.core.ramBase() >>> 0, ramBytes);
    this.core.init(ramBytes >>> 10);
    if (engine === 'jit') linker.enable(exports, { regrowAfter: 20, ...jit });
    this.#cpu = new DataView(this.memory.buffer, this.core.cpuPointer(0) >>> 0, 0x1_0000);
    this.setMode('long64');
    CoreHarness.onCreate?.(this);
  }

  jitStats(): HarnessJitStats {
    const at = (which: number) => this.core.jitCounter(which);
    return { regions: at(0), modules: at(1), resets: at(4), dropped: at(5), entries: at(6), executed: at(7) };
  }

  // ---- the register file ----

  #offset(field: string): number {
    const offset = this.#offsets.get(field);
    if (offset === undefined) throw new Error(`the core exports no field '${field}'`);
    return offset;
  }

  /** A 64-bit field of the CPU record, by the name it has in assembly/cpu/state.ts. */
  get64(field: string): bigint {
    return this.#cpu.getBigUint64(this.#offset(field), true);
  }
  set64(field: string, value: bigint | number): void {
    this.#cpu.setBigUint64(this.#offset(field), BigInt.asUintN(64, BigInt(value)), true);
  }
  /** A 32-bit field. Call `updateMode` after a change of what it derives from. */
  get32(field: string): number {
    return this.#cpu.getUint32(this.#offset(field), true);
  }
  set32(field: string, value: number): void {
    this.#cpu.setUint32(this.#offset(field), value, true);
  }

  /** General register by number: 0 rAX, 1 rCX, 2 rDX, 3 rBX, 4 rSP, 5 rBP, 6 rSI, 7 rDI, 8 to 15. */
  getGpr(index: number): bigint {
    return this.#cpu.getBigUint64(index * 8, true);
  }
  setGpr(index: number, value: bigint | number): void {
    this.#cpu.setBigUint64(index * 8, BigInt.asUintN(64, BigInt(value)), true);
  }

  get rip(): bigint {
    return this.get64('rip');
  }
  set rip(value: bigint | number) {
    this.set64('rip', value);
  }

  /** EFLAGS. */
  get flags(): number {
    return (this.get32('eflags') | lazyArith(this.get32('flT'), this.get64('flA'), this.get64('flR'))) >>> 0;
  }
  set flags(value: number) {
    this.set32('flT', 0);
    this.set64('flR', value & ARITH);
    this.set32('eflags', (value & ~ARITH) | 2);
  }

  /** XMM register `index`: its 16 bytes, live. */
  xmm(index: number): Uint8Array {
    return new Uint8Array(this.memory.buffer, this.#cpu.byteOffset + 0x800 + index * 16, 16);
  }
  /** Physical x87 register `index` (not relative to TOP): 8 bytes of significand, 2 of sign and exponent, live. */
  st(index: number): Uint8Array {
    return new Uint8Array(this.memory.buffer, this.#cpu.byteOffset + 0x900 + index * 16, 10);
  }

  setSegment(name: 'es' | 'cs' | 'ss' | 'ds' | 'fs' | 'gs' | 'ldtr' | 'tr', selector: number, base: number | bigint, limit: number, attributes: number): void {
    this.set32(`${name}Sel`, selector);
    this.set64(`${name}Base`, base);
    this.set32(`${name}Limit`, limit);
    this.set32(`${name}Attr`, attributes);
  }

  /**
   * Resets the CPU into a mode with segments of base 0 and 4 GiB (in 'real16', too: "unreal"), interrupts off, TLB and code caches
   * empty. 'long64' and 'compat32' run without paging unless it is asked for, which no hardware does but the core allows.
   */
  setMode(mode: CoreMode, { cpl = 0, paging = false, checked = false, codeBase = 0 }: ModeOptions = {}): void {
    this.core.resetCpu(0);
    const long = mode === 'long64' || mode === 'compat32';
    const code16 = mode === 'real16' || mode === 'prot16';
    this.set64('cr0', mode === 'real16' ? 0x10 : 0x31);
    this.set64('cr4', 0x620 | (long ? 0x20 : 0)); // PAE, OSFXSR, OSXMMEXCPT
    this.set64('efer', long ? 0xd01 : 0x800);
    this.set32('cpl', cpl);
    const dpl = cpl << 5;
    const limit = checked ? 0xffff_fffe : 0xffff_ffff;
    const size = mode === 'long64' ? 0x2000 : code16 ? 0 : 0x4000;
    this.setSegment('cs', 0x08 | cpl, codeBase, 0xffff_ffff, 0x809b | size | dpl);
    for (const name of ['es', 'ss', 'ds', 'fs', 'gs'] as const) this.setSegment(name, 0x10 | cpl, 0, limit, 0xc093 | dpl);
    if (paging) this.#identityMap();
    this.rip = 0;
    this.flags = 2;
    this.core.updateMode(0);
    this.core.flushAll(0);
  }

  updateMode(): void {
    this.core.updateMode(0);
  }

  #identityMap(): void {
    // PML4, PDPT, page directories and tables for all of RAM; PAE form, which serves 'prot32' (CR3 at the PDPT) as well.
    const view = new DataView(this.ram.buffer, this.ram.byteOffset, this.ram.length);
    const long = (this.get64('efer') & 0x400n) !== 0n;
    const entry = (at: number, value: number) => view.setBigUint64(at, BigInt(value), true);
    this.ram.fill(0, TABLES, TABLES + 0x3000);
    entry(TABLES, (TABLES + 0x1000) | 7);
    entry(TABLES + 0x1000, (TABLES + 0x2000) | (long ? 7 : 1));
    const tables = Math.ceil(this.ram.length / (2 << 20));
    for (let t = 0; t < tables; t++) {
      const table = TABLES + 0x3000 + t * 0x1000;
      entry(TABLES + 0x2000 + t * 8, table | 7);
      for (let p = 0; p < 512; p++) entry(table + p * 8, (t * 512 + p) * 4096 + 0x67);
    }
    this.set64('cr3', long ? TABLES : TABLES + 0x1000);
    this.set64('cr0', this.get64('cr0') | 0x8001_0000n);
  }

  /** Low 12 bits of the page table entry of `lin`, under `paging`: 1 present, 2 writable, 4 user. */
  setPage(lin: number, flags: number): void {
    const at = TABLES + 0x3000 + (lin >>> 12) * 8;
    this.set(at, [flags & 0xff, (this.ram[at + 1] & 0xf0) | ((flags >> 8) & 15)]);
    this.core.flushAll(0);
  }

  // ---- memory and execution ----

  get(phys: number, length: number): Uint8Array {
    return this.ram.slice(phys, phys + length);
  }
  /** Writes RAM and drops the code decoded from it. */
  set(phys: number, bytes: ArrayLike<number>): void {
    this.ram.set(bytes, phys);
    this.core.invalidate(phys, bytes.length);
  }

  /** Runs from rip for at most `max` instructions, until a fault (which is not delivered) or HLT. */
  go(max: number): RunResult {
    const before = this.core.instructions(0);
    let fault: Fault | undefined;
    let exit = 0;
    this.core.deliverInPlace(0);
    try {
      exit = this.core.run(0, max);
    } catch (error) {
      if (error !== FAULT) throw error;
      fault = this.#takeFault();
    }
    return { fault, halted: exit === 1, instructions: this.core.instructions(0) - before };
  }

  /** Runs with faults delivered to the guest, as a machine does. Returns the exit: 0 budget, 1 halt, 2 shutdown. */
  goDelivering(max: number): number {
    const end = this.core.instructions(0) + max;
    this.core.deliverInPlace(1);
    for (let left = max; left > 0; left = end - this.core.instructions(0)) {
      try {
        const exit = this.core.run(0, left);
        if (exit !== 0) return exit;
        continue; // stopped early, as a fault may or may not end it
      } catch (error) {
        if (error !== FAULT) throw error;
      }
      for (;;) {
        try {
          if (this.core.deliverFault(0) === 2) return 2;
          break;
        } catch (error) {
          if (error !== FAULT) throw error;
        }
      }
    }
    return 0;
  }

  /** Places `code` at `at` (linear, default 0x100000) with an end mark behind it and runs it. */
  run(code: ArrayLike<number>, { at = 0x10_0000, max = 1000 }: { at?: number; max?: number } = {}): RunResult {
    this.load(code, at);
    return this.start(at, code.length, max);
  }

  /** Places code and its end mark; `start` runs it, as often as wanted. */
  load(code: ArrayLike<number>, at = 0x10_0000): void {
    this.set(at, [...Array.from(code), ...END_MARK]);
  }

  start(at: number, length: number, max = 1000): RunResult {
    const base = Number(this.get64('csBase'));
    this.rip = at - base;
    const result = this.go(max);
    if (result.fault?.vector === 6 && result.fault.rip === BigInt(at - base + length)) result.fault = undefined;
    return result;
  }

  /** Takes the recorded fault back as if it had not happened; the registers are as the instruction left them. */
  #takeFault(): Fault {
    const insn = this.get32('insn');
    const block = this.get32('block');
    const view = new DataView(this.memory.buffer);
    const rip = insn && block ? this.get64('brip') + BigInt(view.getUint16(insn + 10, true)) - BigInt(view.getUint8(insn + 2)) : this.rip;
    const fault: Fault = { vector: this.get32('faultVector'), rip };
    if (this.get32('faultHasCode')) fault.code = this.get32('faultCode');
    const patched = this.get32('patched');
    if (patched) view.setUint16(patched, this.get32('patchedOp'), true);
    this.set32('patched', 0);
    this.set32('faultPending', 0);
    const executed = this.core.instructions(0);
    this.set32('block', 0);
    this.set32('insn', 0);
    this.set64('end', executed);
    this.set32('left', 0);
    this.rip = rip;
    return fault;
  }
}

/** assembly/cpu/flags.ts once more, by the definition of each flag: CF PF AF ZF SF OF of an operation from its result and first operand. */
function lazyArith(lazy: number, a: bigint, result: bigint): number {
  let flags = lazyKind((lazy >> 2) & 15, 8 << (lazy & 3), a, result);
  if (lazy & 0x100) flags = (flags & ~1) | ((lazy >> 9) & 1);
  if (lazy & 0x400) flags = (flags & ~0x800) | (lazy & 0x800);
  return flags;
}

function lazyKind(kind: number, bits: number, a: bigint, result: bigint): number {
  if (kind === 0) return Number(result & 0x8d5n);
  const cut = (v: bigint) => BigInt.asUintN(bits, v);
  const top = BigInt(bits - 1);
  const r = cut(result), x = cut(a);
  const parity = (0x9669 >> Number((r ^ (r >> 4n)) & 15n)) & 1;
  const flags = (r === 0n ? 0x40 : 0) | (r >> top ? 0x80 : 0) | (parity ? 4 : 0);
  if (kind === 5) return flags;
  if (kind === 8) return flags | 0x10;
  if (kind >= 6) {
    const low = r & 15n;
    const adjust = low === (kind === 6 ? 0n : 15n) ? 0x10 : 0;
    return flags | adjust | Number(a & 1n) | (r === (kind === 6 ? 1n << top : (1n << top) - 1n) ? 0x800 : 0);
  }
  const carryIn = kind >= 3 ? 1n : 0n;
  const subtract = kind === 2 || kind === 4;
  const y = cut(subtract ? x - r - carryIn : r - x - carryIn);
  const carry = subtract ? x < y + carryIn : x + y + carryIn !== r;
  const overflow = subtract ? (x ^ y) & (x ^ r) : (x ^ r) & (y ^ r);
  return flags | (carry ? 1 : 0) | Number((x ^ y ^ r) & 16n) | (overflow >> top ? 0x800 : 0);
}
