// Random programs on the interpreter and on the compiler: whatever differs is a bug of the compiler.
import { createHash } from 'node:crypto';
import type { CoreHarness, CoreMode } from './core-harness.js';
import { type Block, Emitter, type Generator, layOut, pickGenerator } from './fuzz-program.js';
import { GENERAL, writeEnd } from './jit-fuzz-general.js';
import { INTEGERS } from './jit-fuzz-int.js';
import { SSE } from './jit-fuzz-sse.js';
import { Random } from './random.js';

/** Where instructions come from: one list of generators a file. */
export const GENERATORS: readonly Generator[] = [...GENERAL, ...INTEGERS, ...SSE];

const CODE = 0x10_0e00; // 512 bytes before a page's end: programs run over it
const CODE_BYTES = 0x3000;
const DATA = 0x20_0000;
const DATA_BYTES = 0x4000;
const STACK = 0x30_0800;
const READ_ONLY = DATA + 0x2000;
const ABSENT = DATA + 0x3000;
const BUS = 0xd000_0000;

export interface FuzzMode {
  name: string;
  mode: CoreMode;
  paging: boolean;
  cpl: 0 | 3;
}

export const FUZZ_MODES: readonly FuzzMode[] = [
  { name: '64-bit, user, paging', mode: 'long64', paging: true, cpl: 3 },
  { name: '64-bit, system, no paging, bus', mode: 'long64', paging: false, cpl: 0 },
  { name: '32-bit, user, paging', mode: 'prot32', paging: true, cpl: 3 },
  { name: '32-bit, system, no paging, bus', mode: 'prot32', paging: false, cpl: 0 },
  { name: 'compatibility mode, user, paging', mode: 'compat32', paging: true, cpl: 3 },
];

/** One run of a program: registers, where it begins and how many instructions it gets. */
export interface Step {
  registers: bigint[];
  /** The block it begins with. */
  start: number;
  budget: number;
}

/** All that a run depends on. */
export interface Scenario {
  mode: FuzzMode;
  seed: number;
  blocks: Block[];
  steps: Step[];
}

const bitsOf = (mode: CoreMode): 16 | 32 | 64 => (mode === 'long64' ? 64 : mode === 'prot16' || mode === 'real16' ? 16 : 32);

const wide = (random: Random): bigint => (BigInt(random.u32()) << 32n) | BigInt(random.u32());

/** The scenario of a seed. */
export const makeScenario = (mode: FuzzMode, seed: number, generators: readonly Generator[] = GENERATORS): Scenario => {
  const random = new Random(seed * 2_654_435_761);
  const bits = bitsOf(mode.mode);
  const count = 4 + random.below(20);
  const e = new Emitter(random, bits, count);
  const blocks: Block[] = [];
  for (let n = 0; n < count; n++) {
    const pieces = [];
    for (let k = random.below(12); k > 0; k--) {
      pickGenerator(random, generators).write(e);
      pieces.push(e.take());
    }
    writeEnd(e);
    pieces.push(e.take());
    blocks.push({ gap: 0, pieces });
  }
  e.emit(0xe9);
  e.label(bits === 16 ? 2 : 4);
  blocks.push({ gap: 0, pieces: [e.take()] });
  const { bytes, starts } = layOut(blocks, CODE);
  const steps: Step[] = [];
  for (let step = 0; step < 12; step++) {
    const registers = Array.from({ length: 16 }, () => (bits === 64 ? wide(random) : BigInt(random.u32())));
    const pointer = () => BigInt(random.pick([DATA + random.below(0x1000), DATA + 0xffc + random.below(8), DATA + 0x1ff0 + random.below(32), CODE + random.below(bytes.length), mode.paging ? DATA + 0x2ff8 : BUS, STACK]));
    registers[4] = BigInt(STACK + (random.below(64) << 3));
    registers[5] = pointer();
    registers[6] = pointer();
    registers[7] = pointer();
    registers[1] = BigInt(random.below(40));
    for (const n of [0, 3]) if (random.below(2)) registers[n] = BigInt(random.pick(starts));
    steps.push({ registers, start: random.below(blocks.length), budget: random.pick([1, 7, 50, 333, 1000, 3000]) });
  }
  return { mode, seed, blocks, steps };
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

const hash = (...parts: Uint8Array[]): string => {
  const sum = createHash('sha1');
  for (const part of parts) sum.update(part);
  return sum.digest('hex').slice(0, 12);
};

const seen = (core: CoreHarness, long: boolean): string => {
  const memory = [[CODE & ~0xfff, CODE_BYTES], [DATA, DATA_BYTES], [STACK - 0x1800, 0x3000]].map(([at, length]) => core.ram.subarray(at, at + length));
  const regs = Array.from({ length: long ? 16 : 8 }, (_, n) => core.getGpr(n).toString(16));
  const xmm = hash(...Array.from({ length: 16 }, (_, n) => core.xmm(n)));
  const fpu = hash(...Array.from({ length: 8 }, (_, n) => core.st(n))) + [core.get32('fpuStatus'), core.get32('fpuControl'), core.get32('fpuTags')].map(v => ` ${v.toString(16)}`).join('');
  return `rip ${core.rip.toString(16)} flags ${core.flags.toString(16)} regs ${regs.join(' ')} cr2 ${core.get64('cr2').toString(16)} memory ${hash(...memory)} xmm ${xmm} mxcsr ${core.get32('mxcsr').toString(16)} fpu ${fpu}`;
};

export interface FuzzCores {
  interp: CoreHarness;
  jit: CoreHarness;
}

export interface Difference {
  step: number;
  interp: string;
  jit: string;
}

/** Runs a scenario on both engines; what differs first, or undefined. */
export const runScenario = (cores: FuzzCores, { mode: { mode, paging, cpl }, seed, blocks, steps }: Scenario): Difference | undefined => {
  const random = new Random(seed * 40_503 + 7);
  const { bytes, starts } = layOut(blocks, CODE);
  const long = mode === 'long64';
  const both = [cores.interp, cores.jit];
  const fill = fillData(random);
  for (const core of both) {
    core.setMode(mode, { paging, cpl });
    core.ram.set(fill, DATA);
    core.ram.fill(0, STACK - 0x1800, STACK + 0x1800);
    const code = new Uint8Array(CODE_BYTES).fill(0xcc);
    code.set(bytes, CODE & 0xfff);
    core.set(CODE & ~0xfff, code);
    for (let n = 0; n < 16; n++) core.xmm(n).set(fill.subarray(16 * n, 16 * n + 16));
    if (paging) {
      core.setPage(READ_ONLY, 5);
      core.setPage(ABSENT, 0);
    }
    let reads = 0;
    core.bus = { mmioRead: phys => (phys ^ (0x9e37 * ++reads)) | 0, portRead: () => 0x5a };
  }
  for (let step = 0; step < steps.length; step++) {
    const { registers, start, budget } = steps[step];
    const [interp, jit] = both.map(core => {
      registers.forEach((value, n) => core.setGpr(n, value));
      core.rip = starts[start];
      core.set32('halted', 0);
      const { fault, halted, instructions } = core.go(budget);
      const event = fault ? `fault ${fault.vector} code ${fault.code} at ${fault.rip.toString(16)}` : halted ? 'halt' : 'budget';
      return `${event} after ${instructions}: ${seen(core, long)}`;
    });
    if (interp !== jit) return { step, interp, jit };
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
