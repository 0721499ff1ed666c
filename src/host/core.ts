import { VmletError } from '../errors.js';
import { tuneEngine } from './backends/engine-flags.js';
import type { AccessSize } from './devices/device.js';
import { JitLinker, type JitOptions } from './jit-linker.js';
import { BufferMemory } from './memory.js';

/** Where guest RAM begins in the core's linear memory, as assembly/layout.ts has it. */
export const RAM_BASE = 0x0800_0000;
export const MAX_RAM_BYTES = 0xc000_0000;
/** Offset and capacity of the CPUID table in a CPU's record: 24-byte rows { leaf, subleaf, eax, ebx, ecx, edx }. */
const CPU_CPUID = 0x1000;
const CPUID_ROWS = 128;
const CPU_XMM = 0x0800;
const CPU_ST = 0x0900;
const WASM_PAGE = 0x1_0000;
const GUEST_PAGE = 4096;

/** Why `Core.run` returned. */
export const Exit = { BUDGET: 0, HALT: 1, SHUTDOWN: 2 } as const;
export type Exit = (typeof Exit)[keyof typeof Exit];

const names = <T extends string>(list: string): T[] => list.trim().split(/\s+/) as T[];

export type SegmentName = 'es' | 'cs' | 'ss' | 'ds' | 'fs' | 'gs' | 'ldtr' | 'tr';

/** The architectural 64-bit fields of a CPU record, in the record's order. */
export const FIELDS_64 = names(`
  rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15
  esBase csBase ssBase dsBase fsBase gsBase ldtrBase trBase gdtrBase idtrBase
  rip cr0 cr2 cr3 cr4 efer xcr0 dr0 dr1 dr2 dr3 dr6 dr7 tscOffset
  star lstar cstar sfmask kernelGsBase tscAux sysenterCs sysenterEsp sysenterEip
  pat miscEnable mtrrDefType tscAdjust specCtrl debugCtl mcgStatus
  mtrrFixed0 mtrrFixed1 mtrrFixed2 mtrrFixed3 mtrrFixed4 mtrrFixed5 mtrrFixed6 mtrrFixed7 mtrrFixed8 mtrrFixed9 mtrrFixed10
  mtrrVar0 mtrrVar1 mtrrVar2 mtrrVar3 mtrrVar4 mtrrVar5 mtrrVar6 mtrrVar7
  mtrrVar8 mtrrVar9 mtrrVar10 mtrrVar11 mtrrVar12 mtrrVar13 mtrrVar14 mtrrVar15
  biosSignId ucodeRev fpuIp fpuDp pauseAt`);

/** The architectural 32-bit fields of a CPU record. EFLAGS is not among them: see `CpuRecord.flags`. */
export const FIELDS_32 = names(`
  esSel csSel ssSel dsSel fsSel gsSel ldtrSel trSel esLimit csLimit ssLimit dsLimit fsLimit gsLimit ldtrLimit trLimit
  esAttr csAttr ssAttr dsAttr fsAttr gsAttr ldtrAttr trAttr gdtrLimit idtrLimit
  cpl id shadow halted nmiMasked nmiPending intr a20Mask blockedDb
  fpuControl fpuStatus fpuTags fpuOpcode fpuCs fpuDs mxcsr mxcsrMask pauseNs tscRead`);

/** What the core asks of its host: the bus words of assembly/imports.ts, one call a word. `cpu` is an index. */
export interface CoreHost {
  portRead(cpu: number, port: number, size: AccessSize): number;
  portWrite(cpu: number, port: number, size: AccessSize, value: number): void;
  /** `phys` is an integer below 2^52. */
  mmioRead(cpu: number, phys: number, size: AccessSize): number;
  mmioWrite(cpu: number, phys: number, size: AccessSize, value: number): void;
  /** The vector of the interrupt acknowledge cycle, or -1 when the interrupt went away. */
  interruptAck(cpu: number): number;
  /** The value of an MSR that the core does not hold, as unsigned halves, or undefined for #GP. */
  msrRead(cpu: number, msr: number): { lo: number; hi: number } | undefined;
  /** Takes an MSR write; false is #GP. */
  msrWrite(cpu: number, msr: number, lo: number, hi: number): boolean;
  tprRead(cpu: number): number;
  tprWrite(cpu: number, value: number): void;
  ferr(cpu: number): void;
  /** The CPU waits for its time stamp counter: up to `ns` may be skipped. */
  pause(cpu: number, ns: number): void;
  /** 32 fresh random bits. */
  entropy(cpu: number): number;
}

/** How guest code runs: interpreted, or compiled where it is hot. Both give the same results. */
export interface EngineOptions {
  kind: 'interp' | 'jit';
  jit?: JitOptions;
}

/** Why compiled code went back to the interpreter's loop other than by a branch, in the order of Left in assembly/jit/state.ts. */
export const JIT_EXITS = ['read', 'write', 'refused', 'stop', 'end', 'fault', 'budget', 'window'] as const;
export type JitExit = (typeof JIT_EXITS)[number];

/** Counters of the compiler: regions and modules made, guest instructions in them, bytes of wasm; then executions. */
export interface JitStats {
  regions: number;
  modules: number;
  compiled: number;
  bytes: number;
  /** Regions that are live. */
  live: number;
  /** Times that all regions were dropped, and single ones for writes to their code. */
  resets: number;
  dropped: number;
  /** Entries of regions from the interpreter's loop, and guest instructions executed in them. */
  entries: number;
  executed: number;
  exits: Record<JitExit, number>;
  /** Wall milliseconds that the core took to make WebAssembly, and V8 to compile it. */
  emitMs: number;
  linkMs: number;
}

/** What ran a machine's instructions so far. Times aside, equal for equal runs. */
export interface EngineStats {
  engine: EngineOptions['kind'];
  instructions: number;
  /** As compiled code, and by the interpreter. */
  compiled: number;
  interpreted: number;
  /** Undefined with the interpreter alone. */
  jit?: JitStats;
}

/** The exports of assembly/index.ts. Field offsets are exported besides as the globals `OFF_name`. */
interface CoreExports {
  init(ramKiB: number): void;
  cpuPointer(cpu: number): number;
  resetCpu(cpu: number): void;
  run(cpu: number, budget: number): number;
  deliverFault(cpu: number): number;
  instructions(cpu: number): number;
  flags(cpu: number): number;
  shorten(cpu: number, remaining: number): void;
  setIntr(cpu: number, level: number): void;
  nmi(cpu: number): void;
  initCpu(cpu: number): void;
  updateMode(cpu: number): void;
  invalidate(phys: number, length: number): void;
  setA20(cpu: number, on: number): void;
  flushAll(cpu: number): void;
  mapRom(bytes: number): number;
  protectRom(phys: number, length: number, on: number): void;
  jitCounter(which: number): number;
  deliverInPlace(on: number): void;
}

/** The descriptor of a segment register: `attributes` are bits 8 to 23 of the descriptor's second word, as in assembly/cpu/state.ts. */
export interface SegmentValue {
  selector: number;
  base: number;
  limit: number;
  attributes: number;
}

export interface CpuidRow {
  leaf: number;
  /** The subleaf, or 0xFFFFFFFF for any. */
  subleaf: number;
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

/** The object that unwinds a faulting instruction; thrown by an import, caught by `Core.run`. */
const FAULT = Object.freeze({ fault: true });

/** The register file of one CPU, in the core's memory. */
export class CpuRecord {
  readonly #view: DataView;
  readonly #offsets: ReadonlyMap<string, number>;
  readonly #readFlags: () => number;

  constructor(
    memory: ArrayBuffer,
    readonly base: number,
    offsets: ReadonlyMap<string, number>,
    readFlags: () => number,
  ) {
    this.#readFlags = readFlags;
    this.#view = new DataView(memory, base, 0x1_0000);
    this.#offsets = offsets;
  }

  get64(field: string): bigint {
    return this.#view.getBigUint64(this.#offset(field), true);
  }

  set64(field: string, value: bigint): void {
    this.#view.setBigUint64(this.#offset(field), BigInt.asUintN(64, value), true);
  }

  get32(field: string): number {
    return this.#view.getUint32(this.#offset(field), true);
  }

  set32(field: string, value: number): void {
    this.#view.setUint32(this.#offset(field), value, true);
  }

  setSegment(name: SegmentName, value: SegmentValue): void {
    this.set32(`${name}Sel`, value.selector);
    this.set64(`${name}Base`, BigInt(value.base));
    this.set32(`${name}Limit`, value.limit);
    this.set32(`${name}Attr`, value.attributes);
  }

  /** Register `index` of XMM0 to XMM15 or of the physical x87 registers, as 16 raw bytes. */
  xmm(index: number): Uint8Array {
    return this.#bytes(CPU_XMM + 16 * index, 16);
  }

  st(index: number): Uint8Array {
    return this.#bytes(CPU_ST + 16 * index, 10);
  }

  /** EFLAGS with the lazy flags worked out. */
  get flags(): number {
    return this.#readFlags() >>> 0;
  }

  set flags(value: number) {
    this.set32('flT', 0);
    this.set64('flR', BigInt(value & ARITH));
    this.set32('eflags', (value & ~ARITH) | 2);
  }

  setCpuid(rows: readonly CpuidRow[]): void {
    if (rows.length > CPUID_ROWS) throw new VmletError('ERR_VMLET_CORE', `a CPUID table of ${rows.length} rows does not fit the core's ${CPUID_ROWS}`);
    this.#bytes(CPU_CPUID, 24 * CPUID_ROWS).fill(0xff);
    rows.forEach((row, n) => {
      [row.leaf, row.subleaf, row.eax, row.ebx, row.ecx, row.edx].forEach((word, i) => this.#view.setUint32(CPU_CPUID + 24 * n + 4 * i, word, true));
    });
  }

  #bytes(offset: number, length: number): Uint8Array {
    return new Uint8Array(this.#view.buffer, this.base + offset, length);
  }

  #offset(field: string): number {
    const offset = this.#offsets.get(field);
    if (offset === undefined) throw new VmletError('ERR_VMLET_CORE', `the core exports no field '${field}'`, { hint: 'rebuild the core: npm run build:core' });
    return offset;
  }
}

/** RAM as devices see it; writes drop the code that the core decoded from the range. */
export class CoreMemory extends BufferMemory {
  readonly #invalidate: (phys: number, length: number) => void;
  readonly #hole: { start: number; end: number };

  /** `hole` is a range, end exclusive, in which no RAM answers. */
  constructor(bytes: Uint8Array, hole: { start: number; end: number }, invalidate: (phys: number, length: number) => void) {
    super(bytes);
    this.#hole = hole;
    this.#invalidate = invalidate;
  }

  protected override isRam(phys: number, length: number): boolean {
    return super.isRam(phys, length) && (phys >= this.#hole.end || phys + length <= this.#hole.start);
  }

  protected override written(phys: number, length: number): void {
    this.#invalidate(phys, length);
  }
}

/** The display adapter's window: no RAM answers there. */
export const VGA_HOLE = { start: 0xa_0000, end: 0xc_0000 };

/** One instance of the CPU core with its RAM. */
export class Core {
  readonly memory: WebAssembly.Memory;
  /** All of RAM, the holes included. Writers call `invalidate`; devices use `dma` instead. */
  readonly ram: Uint8Array;
  readonly dma: CoreMemory;
  readonly #exports: CoreExports;
  readonly #offsets: ReadonlyMap<string, number>;
  readonly #cpus: CpuRecord[] = [];
  readonly #host: CoreHost;
  readonly #linker: JitLinker;
  readonly #engine: EngineOptions['kind'];
  /** The instruction count at which the `run` in flight ends. */
  #end = 0;
  #running = false;

  private constructor(module: WebAssembly.Module, ramBytes: number, host: CoreHost, engine: EngineOptions) {
    this.#host = host;
    tuneEngine();
    const pages = Math.ceil((RAM_BASE + ramBytes) / WASM_PAGE);
    try {
      this.memory = new WebAssembly.Memory({ initial: pages, maximum: 65_536 });
    } catch (cause) {
      throw new VmletError('ERR_VMLET_MEMORY', `cannot reserve ${Math.round(ramBytes / 2 ** 20)} MB of guest memory`, {
        cause,
        hint: 'give the guest less memory (-m), or lift the address space limit of this process (ulimit -v)',
      });
    }
    const linker = new JitLinker(this.memory);
    this.#linker = linker;
    this.#engine = engine.kind;
    const instance = new WebAssembly.Instance(module, { env: { memory: this.memory, abort: aborted }, host: { ...this.#imports(), ...linker.words } });
    this.#exports = instance.exports as unknown as CoreExports;
    this.#offsets = offsetsOf(instance.exports);
    this.ram = new Uint8Array(this.memory.buffer, RAM_BASE, ramBytes);
    this.#exports.init(ramBytes >>> 10);
    if (engine.kind === 'jit') linker.enable(instance.exports, engine.jit);
    this.#exports.deliverInPlace(1);
    this.dma = new CoreMemory(this.ram, VGA_HOLE, (phys, length) => this.#exports.invalidate(phys, length));
  }

  /** `ramBytes` is a multiple of 4096, 1 MB to 3 GB. Throws ERR_VMLET_MEMORY when the process cannot have that much. */
  static create(module: WebAssembly.Module, ramBytes: number, host: CoreHost, engine: EngineOptions = { kind: 'interp' }): Core {
    return new Core(module, ramBytes, host, engine);
  }

  cpu(index: number): CpuRecord {
    return (this.#cpus[index] ??= new CpuRecord(this.memory.buffer as ArrayBuffer, this.#exports.cpuPointer(index) >>> 0, this.#offsets, () => this.#exports.flags(index)));
  }

  /** Instructions executed by a CPU so far; exact at any moment, also within a bus word. */
  instructions(index: number): number {
    return this.#exports.instructions(index);
  }

  /** Runs at most `budget` instructions. Faults of the guest are delivered to the guest on the way. */
  run(index: number, budget: number): Exit {
    const core = this.#exports;
    this.#end = core.instructions(index) + budget;
    this.#running = true;
    try {
      for (let left = budget; left > 0; left = this.#end - core.instructions(index)) {
        try {
          return core.run(index, left) as Exit;
        } catch (error) {
          if (error !== FAULT) throw error;
        }
        if (this.#deliver(index) === Exit.SHUTDOWN) return Exit.SHUTDOWN;
      }
      return Exit.BUDGET;
    } finally {
      this.#running = false;
    }
  }

  /** Ends the `run` in flight after at most `remaining` further instructions; 0 stops it behind the current one. */
  shorten(index: number, remaining: number): void {
    if (!this.#running) return;
    const rest = Math.max(0, Math.min(remaining, 0x7fff_ffff));
    this.#end = Math.min(this.#end, this.#exports.instructions(index) + rest);
    this.#exports.shorten(index, rest);
  }

  reset(index: number): void {
    this.#exports.resetCpu(index);
  }

  /** The INIT signal: registers as after reset, caches and FPU kept. */
  init(index: number): void {
    this.#exports.initCpu(index);
  }

  setIntr(index: number, level: boolean): void {
    this.#exports.setIntr(index, level ? 1 : 0);
  }

  nmi(index: number): void {
    this.#exports.nmi(index);
  }

  setA20(index: number, enabled: boolean): void {
    this.#exports.setA20(index, enabled ? 1 : 0);
  }

  /** To be called after the host wrote registers of a CPU. */
  updateMode(index: number): void {
    this.#exports.updateMode(index);
  }

  /** Forgets what was derived from RAM and registers: TLB and decoded code. */
  flush(index: number): void {
    this.#exports.flushAll(index);
  }

  invalidate(phys: number, length: number): void {
    this.#exports.invalidate(phys, length);
  }

  /** Places a ROM so that it ends at 4 GiB; what is left of its first page reads as ones. */
  mapRom(image: Uint8Array): void {
    const bytes = Math.ceil(image.length / GUEST_PAGE) * GUEST_PAGE;
    const at = this.#exports.mapRom(bytes) >>> 0;
    if (at === 0) throw new VmletError('ERR_VMLET_IMAGE_FORMAT', `a ROM of ${image.length} bytes is larger than the core has room for`);
    const area = new Uint8Array(this.memory.buffer, at, bytes);
    area.fill(0xff);
    area.set(image, bytes - image.length);
  }

  /** What ran the instructions of a CPU so far. */
  engineStats(index: number): EngineStats {
    const instructions = this.instructions(index);
    if (this.#engine === 'interp') return { engine: 'interp', instructions, compiled: 0, interpreted: instructions };
    const jit = this.jitStats();
    return { engine: 'jit', instructions, compiled: jit.executed, interpreted: instructions - jit.executed, jit };
  }

  /** What the compiler has done so far; all zero while it is off. */
  jitStats(): JitStats {
    const [regions, modules, compiled, bytes, resets, dropped, entries, executed, live] = Array.from({ length: 9 }, (_, which) => this.#exports.jitCounter(which));
    const exits = Object.fromEntries(JIT_EXITS.map((name, k) => [name, this.#exports.jitCounter(16 + k)])) as Record<JitExit, number>;
    return { regions, modules, compiled, bytes, live, resets, dropped, entries, executed, exits, ...this.#linker.times };
  }

  /** Makes a range of RAM ignore guest writes, or take them again. */
  protectRom(phys: number, length: number, on = true): void {
    this.#exports.protectRom(phys, length, on ? 1 : 0);
  }

  #deliver(index: number): number {
    for (;;) {
      try {
        return this.#exports.deliverFault(index);
      } catch (error) {
        if (error !== FAULT) throw error;
      }
    }
  }

  #imports(): WebAssembly.ModuleImports {
    const host = this.#host;
    return {
      raise: () => {
        throw FAULT;
      },
      portRead: (cpu: number, port: number, size: AccessSize) => host.portRead(cpu, port & 0xffff, size),
      portWrite: (cpu: number, port: number, size: AccessSize, value: number) => host.portWrite(cpu, port & 0xffff, size, value >>> 0),
      mmioRead: (cpu: number, lo: number, hi: number, size: AccessSize) => host.mmioRead(cpu, (hi >>> 0) * 2 ** 32 + (lo >>> 0), size),
      mmioWrite: (cpu: number, lo: number, hi: number, size: AccessSize, value: number) =>
        host.mmioWrite(cpu, (hi >>> 0) * 2 ** 32 + (lo >>> 0), size, value >>> 0),
      interruptAck: (cpu: number) => host.interruptAck(cpu),
      msrRead: (cpu: number, msr: number) => {
        const value = host.msrRead(cpu, msr >>> 0);
        if (value === undefined) return 0;
        const record = this.cpu(cpu);
        record.set32('msrLo', value.lo);
        record.set32('msrHi', value.hi);
        return 1;
      },
      msrWrite: (cpu: number, msr: number, lo: number, hi: number) => (host.msrWrite(cpu, msr >>> 0, lo >>> 0, hi >>> 0) ? 1 : 0),
      tprRead: (cpu: number) => host.tprRead(cpu),
      tprWrite: (cpu: number, value: number) => host.tprWrite(cpu, value >>> 0),
      ferr: (cpu: number) => host.ferr(cpu),
      pause: (cpu: number, ns: number) => host.pause(cpu, ns),
      entropy: (cpu: number, _word: number) => host.entropy(cpu),
    };
  }
}

const aborted = (): never => {
  throw new VmletError('ERR_VMLET_CORE', 'the CPU core stopped on a failed assertion', { hint: 'this is a bug in vmlet: please report it' });
};

const offsetsOf = (exports: WebAssembly.Exports): Map<string, number> => {
  const offsets = new Map<string, number>();
  for (const [name, value] of Object.entries(exports)) {
    if (name.startsWith('OFF_') && value instanceof WebAssembly.Global) offsets.set(name.slice(4), Number(value.value));
  }
  return offsets;
};

/** CF, PF, AF, ZF, SF and OF. */
const ARITH = 0x8d5;
