import { VmletError } from '../errors.js';
import { prepareRegions } from './backends/engine-flags.js';
import { NodeWall } from './backends/wall.js';

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
}

/** Defaults, from measurements of boots and loops (docs/benchmarks.md). */
export const JIT_DEFAULTS: Required<JitOptions> = { threshold: 2000, batch: 64, maxRegions: 16_384, maxInstructions: 200 };

/** The exports of the core that compiled regions import, in the order of assembly/jit/operands.ts. */
const FUNCTIONS = [
  'jitRead', 'jitWrite', 'jitThick', 'jitEnd', 'jitCond', 'jitCarry', 'jitMulOver', 'jitBswap', 'jitArith', 'jitDivWide', 'jitEndOn', 'jitSse', 'jitVector',
];
const TABLE_STEP = 1024;

/** Makes the modules that the core emits live, in the core's own function table. */
export class JitLinker {
  readonly #memory: WebAssembly.Memory;
  readonly #clock: { now(): number };
  #busySince = 0;
  #emitMs = 0;
  #linkMs = 0;
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
    const { threshold, batch, maxRegions, maxInstructions } = { ...JIT_DEFAULTS, ...options };
    const table = exports['table'];
    const start = exports['jitEnable'];
    if (!(table instanceof WebAssembly.Table) || typeof start !== 'function') {
      throw new VmletError('ERR_VMLET_CORE', 'the core has no compiler', { hint: 'rebuild the core: npm run build:core' });
    }
    prepareRegions();
    this.#table = table;
    const functions = FUNCTIONS.map((name, k) => [`f${k}`, exports[name]] as const);
    this.#imports = { e: { ...Object.fromEntries(functions), m: this.#memory } as WebAssembly.ModuleImports };
    start(threshold, batch, maxRegions, table.length, maxInstructions);
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
  }

  #reset(first: number, count: number): void {
    // Slots of regions that were never made live may lie behind the table's end.
    const end = Math.min(first + count, this.#table?.length ?? 0);
    for (let slot = first; slot < end; slot++) this.#table?.set(slot, null);
  }
}
