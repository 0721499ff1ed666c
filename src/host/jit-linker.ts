import { VmletError } from '../errors.js';
import { prepareRegions } from './backends/engine-flags.js';
import { NodeWall } from './backends/wall.js';

/** Guest code that a region was compiled from; reached through several calls it is there for each. */
export interface CompiledBlock {
  phys: number;
  /** Linear distance from the region's entry. */
  delta: number;
  instructions: number;
  bits: 16 | 32 | 64;
  bytes: Uint8Array;
}

/** A module at the moment that it becomes live: function rN is made from `regions[N]`. */
export interface CompiledModule {
  wasm: Uint8Array;
  /** `slot` of the table; 0 when it was dropped before. */
  regions: readonly { slot: number; blocks: readonly CompiledBlock[] }[];
}

/** When the core compiles and how much it keeps. */
export interface JitOptions {
  /** Executions of a block before it is compiled. */
  threshold?: number;
  /** Regions in one module. */
  batch?: number;
  /** Regions that live at once; all are dropped when there would be more. */
  maxRegions?: number;
  /** Guest instructions in one region at most. */
  maxInstructions?: number;
  /** How often a region leads to another one before it is compiled again, four times as large. Optimising large functions is dear. */
  regrowAfter?: number;
  /** Told of every module. */
  onModule?: (module: CompiledModule) => void;
}

/** Defaults, from measurements of boots and loops (docs/benchmarks.md). */
export const JIT_DEFAULTS: Required<Omit<JitOptions, 'onModule'>> = { threshold: 2000, batch: 64, maxRegions: 32_768, maxInstructions: 100, regrowAfter: 2_000_000 };

/** The exports of the core that compiled regions call, by a table in the order of assembly/jit/operands.ts. */
const FUNCTIONS = [
  'jitRead', 'jitWrite', 'jitThick', 'jitEnd', 'jitCond', 'jitCarry', 'jitMulOver', 'jitBswap', 'jitArith', 'jitDivWide', 'jitEndOn', 'jitSse', 'jitVector', 'jitX87', 'jitString', 'jitMapped',
];
const TABLE_STEP = 1024;
/** As in assembly/layout.ts. */
const RAM_BASE = 0x0800_0000;

/** Makes the modules that the core emits live, in the core's own function table. */
export class JitLinker {
  readonly #memory: WebAssembly.Memory;
  readonly #clock: { now(): number };
  #busySince = 0;
  #emitMs = 0;
  #linkMs = 0;
  #onModule: JitOptions['onModule'];
  #regionLog: (index: number) => number = () => 0;
  #table: WebAssembly.Table | undefined;
  #imports: Record<string, WebAssembly.ModuleImports> = {};

  /** `clock` gives milliseconds; only the figures of `times` depend on it. */
  constructor(memory: WebAssembly.Memory, clock: { now(): number } = new NodeWall()) {
    this.#memory = memory;
    this.#clock = clock;
  }

  /** Wall milliseconds so far: the core's for the making of WebAssembly, and V8's to compile and link it (its background threads not counted). */
  get times(): { emitMs: number; linkMs: number } {
    return { emitMs: this.#emitMs, linkMs: this.#linkMs };
  }

  /** The words that the core calls. */
  get words(): WebAssembly.ModuleImports {
    return {
      jitPhase: (busy: number) => {
        if (busy) this.#busySince = this.#clock.now();
        else this.#emitMs += this.#clock.now() - this.#busySince;
      },
      jitInstall: (at: number, length: number, slots: number, count: number) => this.#install(at >>> 0, length, slots >>> 0, count),
      jitReset: (first: number, count: number) => this.#reset(first, count),
    };
  }

  /** Switches the compiler of a core on, whose `words` these are. */
  enable(exports: WebAssembly.Exports, options: JitOptions = {}): void {
    const { threshold, batch, maxRegions, maxInstructions, regrowAfter } = { ...JIT_DEFAULTS, ...options };
    const table = exports['table'];
    const start = exports['jitEnable'];
    if (!(table instanceof WebAssembly.Table) || typeof start !== 'function') {
      throw new VmletError('ERR_VMLET_CORE', 'the core has no compiler', { hint: 'rebuild the core: npm run build:core' });
    }
    prepareRegions();
    this.#onModule = options.onModule;
    this.#regionLog = exports['jitRegionLog'] as (index: number) => number;
    this.#table = table;
    const functions = new WebAssembly.Table({ element: 'anyfunc', initial: FUNCTIONS.length });
    FUNCTIONS.forEach((name, k) => functions.set(k, exports[name] as () => void));
    this.#imports = { e: { m: this.#memory, t: functions } };
    start(threshold, batch, maxRegions, table.length, maxInstructions, regrowAfter);
  }

  #install(at: number, length: number, slots: number, count: number): void {
    const start = this.#clock.now();
    const table = this.#table as WebAssembly.Table;
    const module = new WebAssembly.Module(new Uint8Array(this.#memory.buffer, at, length));
    const { exports } = new WebAssembly.Instance(module, this.#imports);
    new Uint32Array(this.#memory.buffer, slots, count).forEach((slot, k) => {
      if (slot === 0) return;
      if (table.length <= slot) table.grow(Math.max(TABLE_STEP, slot + 1 - table.length));
      table.set(slot, exports[`r${k}`] as () => void);
    });
    this.#linkMs += this.#clock.now() - start;
    if (this.#onModule === undefined) return;
    const wasm = new Uint8Array(this.#memory.buffer, at, length).slice();
    this.#onModule({ wasm, regions: Array.from(new Uint32Array(this.#memory.buffer, slots, count), (slot, k) => ({ slot, blocks: this.#blocksOf(k) })) });
  }

  /** What function `index` of the module in the making was compiled from: REGION_LOG of assembly/jit/state.ts, assembly/interp/block-layout.ts. */
  #blocksOf(index: number): CompiledBlock[] {
    const view = new DataView(this.#memory.buffer);
    const log = this.#regionLog(index) >>> 0;
    const blocks: CompiledBlock[] = [];
    for (let n = 0; n < view.getUint32(log, true); n++) {
      const block = view.getUint32(log + 4 + 8 * n, true);
      const phys = Number(view.getBigUint64(block + 8, true));
      const length = view.getUint16(block + 24, true);
      const inFirst = Math.min(length, 0x1000 - (phys & 0xfff));
      const bytes = new Uint8Array(length);
      bytes.set(this.#ram(phys, inFirst));
      if (inFirst < length) bytes.set(this.#ram(Number(view.getBigUint64(block + 32, true)), length - inFirst), inFirst);
      blocks.push({
        phys,
        delta: view.getInt32(log + 8 + 8 * n, true),
        instructions: view.getUint16(block + 20, true),
        bits: ([16, 32, 64] as const)[view.getUint32(block + 16, true) & 3],
        bytes,
      });
    }
    return blocks;
  }

  /** Bytes of RAM; nothing for what lies in a ROM. */
  #ram(phys: number, length: number): Uint8Array {
    const at = RAM_BASE + phys;
    return at + length <= this.#memory.buffer.byteLength ? new Uint8Array(this.#memory.buffer, at, length) : new Uint8Array(0);
  }

  #reset(first: number, count: number): void {
    // Slots of regions that were never made live may lie behind the table's end.
    const end = Math.min(first + count, this.#table?.length ?? 0);
    for (let slot = first; slot < end; slot++) this.#table?.set(slot, null);
  }
}
