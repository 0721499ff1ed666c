// Random programs on the interpreter and on the compiler: whatever differs is a bug of the compiler.
import { createHash } from 'node:crypto';
import { CoreHarness } from './core-harness.js';
import { ALIAS, bitsOf, BUS, CODE, CODE_PAGES, DATA, DATA_BYTES, FUZZ_MODES, type FuzzMode, inProgram, memoryOf, prepare, STACK } from './fuzz-machine.js';
import { type Block, Emitter, type Generator, layOut, pickGenerator, type Piece } from './fuzz-program.js';
import { FRAMES } from './jit-fuzz-frames.js';
import { GENERAL, writeEnd } from './jit-fuzz-general.js';
import { INTEGERS } from './jit-fuzz-int.js';
import { SSE } from './jit-fuzz-sse.js';
import { SYSTEM } from './jit-fuzz-system.js';
import { Random } from './random.js';

export { FUZZ_MODES, type FuzzMode };

/** Where instructions come from: one list of generators a file. */
export const GENERATORS: readonly Generator[] = [...GENERAL, ...INTEGERS, ...SSE, ...SYSTEM, ...FRAMES];

/** One run: what the host sets, and how many instructions it gets. Registers are only set while the program runs, not its kernel. */
export interface Step {
  /** General registers that are set, by number. */
  registers: (bigint | undefined)[];
  /** The block to go to. */
  start?: number;
  budget: number;
  /** An interrupt comes first. */
  interrupt: boolean;
}

/** All that a run depends on. */
export interface Scenario {
  mode: FuzzMode;
  seed: number;
  blocks: Block[];
  steps: Step[];
  /** The compiler's settings. */
  variant: number;
}

/** Settings of the compiler that scenarios use in turn. */
export const VARIANTS = [
  { threshold: 2, batch: 1 },
  { threshold: 1, batch: 1 },
  { threshold: 3, batch: 4 },
  { threshold: 24, batch: 16 },
  { threshold: 4, batch: 2, maxInstructions: 800 },
  { threshold: 5, batch: 8, maxInstructions: 40 },
  { threshold: 2, batch: 2, maxRegions: 12 },
];

const wide = (random: Random): bigint => (BigInt(random.u32()) << 32n) | BigInt(random.u32());

const STEPS = 12;

const makeStep = (random: Random, mode: FuzzMode, starts: readonly number[], end: number, first: boolean): Step => {
  const long = bitsOf(mode.mode) === 64;
  const registers: (bigint | undefined)[] = new Array<undefined>(16).fill(undefined);
  const all = first || !mode.kernel || random.below(3) === 0;
  if (all) for (let n = 0; n < 16; n++) registers[n] = long ? wide(random) : BigInt(random.u32());
  const pointer = () =>
    BigInt(
      random.pick([
        DATA + random.below(0x1000), DATA + 0xffc + random.below(8), DATA + 0x1ff0 + random.below(32), CODE + random.below(end - CODE),
        mode.paging ? DATA + 0x2ff8 : BUS, STACK, mode.paging ? ALIAS + (CODE & 0xfff) + random.below(end - CODE) : CODE + 0x1000 - 4,
      ]),
    );
  if (all || random.below(2)) {
    registers[4] = BigInt(STACK + (random.below(64) << 3));
    for (const n of [5, 6, 7]) registers[n] = pointer();
    registers[1] = BigInt(random.below(40));
    for (const n of [0, 3]) if (random.below(2)) registers[n] = BigInt(random.pick(starts));
  }
  return {
    registers,
    start: all || random.below(4) === 0 ? random.below(starts.length) : undefined,
    budget: random.pick([1, 7, 50, 333, 1000, 3000]) + random.below(8),
    interrupt: mode.kernel && random.below(3) === 0,
  };
};

/** The scenario of a seed. */
export const makeScenario = (mode: FuzzMode, seed: number, generators: readonly Generator[] = GENERATORS): Scenario => {
  const random = new Random(seed * 2_654_435_761);
  const bits = bitsOf(mode.mode);
  const count = 4 + random.below(20);
  const e = new Emitter(random, bits, count, mode);
  const blocks: Block[] = [];
  const spread = random.below(3) === 0;
  let length = CODE & 0xfff;
  for (let n = 0; n < count; n++) {
    const pieces: Piece[] = [];
    for (let k = random.below(12); k > 0; k--) {
      pickGenerator(random, generators).write(e);
      pieces.push(...e.take());
    }
    writeEnd(e);
    pieces.push(...e.take());
    // Spread programs go on just before the end of the next page now and then.
    let gap = 0;
    if (spread && n > 0 && random.below(4) === 0 && length < (CODE_PAGES - 1) << 12) gap = 5 + ((0x1000 - random.below(24) - length) & 0xfff);
    length += gap + pieces.reduce((sum, { bytes }) => sum + bytes.length, 0);
    if (length > (CODE_PAGES << 12) - 64) break;
    blocks.push({ gap, pieces });
  }
  e.emit(0xe9);
  e.label(bits === 16 ? 2 : 4, 0);
  blocks.push({ gap: 0, pieces: e.take() });
  while (blocks.length < count) blocks.push({ gap: 0, pieces: [] });
  const { bytes, starts } = layOut(blocks, CODE);
  const steps = Array.from({ length: STEPS }, (_, n) => makeStep(random, mode, starts, CODE + bytes.length, n === 0));
  return { mode, seed, blocks, steps, variant: seed % VARIANTS.length };
};

const EDGES: readonly bigint[] = [0n, 1n << 63n, 0x3ff0_0000_0000_0000n, 0xbff0_0000_0000_0000n, 0x7ff0_0000_0000_0000n, 0x7ff8_0000_0000_0000n, 0x7ff0_0000_0000_0001n, 1n, 0x3f80_0000_7f80_0000n, 0xffc0_0000_7f80_0001n, ~0n];

/** What the data area and the XMM registers hold at the start: random bytes, small integers, floating-point values and their edges. */
const fillData = (random: Random): Uint8Array => {
  const bytes = new Uint8Array(DATA_BYTES);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < DATA_BYTES; at += 8) {
    const kind = random.below(8);
    if (kind < 4) view.setBigUint64(at, wide(random), true);
    else if (kind === 4) view.setFloat64(at, (random.u32() - 2 ** 31) / 2 ** random.below(40), true);
    else if (kind === 5) for (const k of [0, 4]) view.setFloat32(at + k, (random.u32() - 2 ** 31) / 2 ** random.below(40), true);
    else if (kind === 6) view.setBigUint64(at, BigInt.asUintN(64, random.pick(EDGES)), true);
    else for (const k of [0, 4]) view.setInt32(at + k, random.below(512) - 256, true);
  }
  return bytes;
};

const hash = (parts: readonly Uint8Array[]): string => {
  const sum = createHash('sha1');
  for (const part of parts) sum.update(part);
  return sum.digest('hex').slice(0, 12);
};

const FIELDS_32 = ['cpl', 'csSel', 'ssSel', 'dsSel', 'esSel', 'fsSel', 'gsSel', 'halted', 'shadow', 'intr', 'mxcsr', 'fpuStatus', 'fpuControl', 'fpuTags'];
const FIELDS_64 = ['cr0', 'cr2', 'cr3', 'cr4', 'dr6'];

const seen = (core: CoreHarness, long: boolean, withMemory: boolean): string => {
  const regs = Array.from({ length: long ? 16 : 8 }, (_, n) => core.getGpr(n).toString(16));
  const fields = [...FIELDS_32.map(name => [name, core.get32(name)] as const), ...FIELDS_64.map(name => [name, core.get64(name)] as const)].filter(([, value]) => value !== 0 && value !== 0n);
  const vectors = hash(Array.from({ length: 16 }, (_, n) => core.xmm(n)));
  const fpu = hash(Array.from({ length: 8 }, (_, n) => core.st(n)));
  const memory = withMemory ? ` memory ${hash(memoryOf(core))}` : '';
  return `rip ${core.rip.toString(16)} flags ${core.flags.toString(16)} regs ${regs.join(' ')} xmm ${vectors} st ${fpu} ${fields.map(([name, value]) => `${name} ${value.toString(16)}`).join(' ')}${memory}`;
};

/** The two engines; `jit` by variant. Cores are made when they are needed. */
export class FuzzCores {
  readonly interp = new CoreHarness(undefined, 'interp');
  readonly #compiled: (CoreHarness | undefined)[] = [];

  jit(variant: number): CoreHarness {
    return (this.#compiled[variant] ??= new CoreHarness(undefined, 'jit', VARIANTS[variant]));
  }

  /** Sums of the counters over the compiling cores. */
  get stats(): { regions: number; entries: number; executed: number; resets: number; dropped: number } {
    const sum = { regions: 0, entries: 0, executed: 0, resets: 0, dropped: 0 };
    for (const core of this.#compiled) {
      if (core === undefined) continue;
      const stats = core.jitStats();
      for (const key of Object.keys(sum) as (keyof typeof sum)[]) sum[key] += stats[key];
    }
    return sum;
  }
}

export interface Difference {
  step: number;
  interp: string;
  jit: string;
}

/** Accesses of a step to devices at most, about: strings of 2^32 elements wander through all that is not RAM. */
const BUS_ACCESSES = 4096;

/** Devices that do something to the machine when they are accessed; the same for both engines. Returns what begins a step. */
const attachBus = (core: CoreHarness, programBytes: number): (() => void) => {
  let reads = 0;
  let accesses = 0;
  const count = (): void => {
    if (++accesses > BUS_ACCESSES) core.core.shorten(0, 0);
  };
  const act = (value: number): void => {
    switch (value & 15) {
      case 1: case 2: return core.core.setIntr(0, 1);
      case 3: return core.core.shorten(0, value >>> 4 & 15);
      case 4: return core.core.shorten(0, 0);
      case 5: {
        // a device writes into the program
        const at = CODE + ((value * 0x9e37) >>> 4) % programBytes;
        core.ram[at] ^= value & 0x10 ? 1 : 0;
        return core.core.invalidate(at, 1);
      }
      case 6: return core.core.nmi(0);
    }
  };
  core.bus = {
    mmioRead: phys => {
      count();
      return (phys ^ (0x9e37 * ++reads)) | 0;
    },
    mmioWrite: (_phys, _size, value) => {
      count();
      act(value);
    },
    portRead: port => (++reads * 0x55 + port) & 0xff,
    portWrite: (_port, _size, value) => act(value),
    interruptAck: () => {
      core.core.setIntr(0, 0);
      return 0x20;
    },
  };
  return () => {
    accesses = 0;
  };
};

const runStep = (core: CoreHarness, mode: FuzzMode, step: Step, starts: readonly number[]): string => {
  const before = core.core.instructions(0);
  if (inProgram(core, mode)) {
    step.registers.forEach((value, n) => value !== undefined && core.setGpr(n, value));
    if (step.start !== undefined) core.rip = BigInt(starts[step.start]) - core.get64('csBase');
  }
  if (mode.kernel) {
    if (step.interrupt) core.core.setIntr(0, 1);
    else core.set32('halted', 0);
    const exit = core.goDelivering(step.budget);
    return `exit ${exit} after ${core.core.instructions(0) - before}`;
  }
  core.set32('halted', 0);
  const { fault, halted, instructions } = core.go(step.budget);
  const event = fault ? `fault ${fault.vector} code ${fault.code} at ${fault.rip.toString(16)}` : halted ? 'halt' : 'budget';
  return `${event} after ${instructions}`;
};

/** Runs a scenario on both engines; what differs first, or undefined. */
export const runScenario = (cores: FuzzCores, scenario: Scenario): Difference | undefined => {
  const { mode, seed, blocks, steps, variant } = scenario;
  const random = new Random(seed * 40_503 + 7);
  const { bytes, starts } = layOut(blocks, CODE);
  const long = bitsOf(mode.mode) === 64;
  const data = fillData(random);
  const other = bytes.slice();
  for (let n = 0; n < 6; n++) other[random.below(other.length)] = random.u32();
  const choice = random.u32();
  const both = [cores.interp, cores.jit(variant)];
  const begin = both.map(core => {
    core.core.setIntr(0, 0);
    prepare(core, mode, { program: bytes, other, data, starts }, new Random(choice));
    return attachBus(core, bytes.length);
  });
  for (let step = 0; step < steps.length; step++) {
    const last = step === steps.length - 1;
    const ends = both.map((core, n) => {
      begin[n]();
      return runStep(core, mode, steps[step], starts);
    });
    const [interp, jit] = both.map((core, n) => `${ends[n]}: ${seen(core, long, last || (step & 3) === 3 || !mode.kernel)}`);
    if (interp !== jit) return { step, interp, jit };
    if (ends[0].startsWith('exit 2')) return undefined; // a triple fault
  }
  return undefined;
};

/** Runs the scenario of a seed on both engines; a text of what differs first, or undefined. */
export const fuzz = (cores: FuzzCores, mode: FuzzMode, seed: number, generators?: readonly Generator[]): string | undefined => {
  const scenario = makeScenario(mode, seed, generators);
  const difference = runScenario(cores, scenario);
  if (difference === undefined) return undefined;
  const { bytes } = layOut(scenario.blocks, CODE);
  return `${mode.name}, seed ${seed}, step ${difference.step}\ninterp ${difference.interp}\njit    ${difference.jit}\ncode at ${CODE.toString(16)}: ${Buffer.from(bytes).toString('hex')}`;
};
