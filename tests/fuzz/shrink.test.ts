import { describe, expect, it } from 'vitest';
import type { CoreHarness } from '../support/core-harness.js';
import { describeScenario, shrink } from '../support/fuzz-shrink.js';
import { FUZZ_MODES, fuzz, FuzzCores, makeScenario, runScenario } from '../support/jit-fuzz.js';

/** A scenario of seed `from` or later, with its difference, on engines of which the second one is told what to do wrong. */
const failing = (break_: (core: CoreHarness) => void, from: number) => {
  const run: typeof runScenario = (cores, scenario) => {
    break_(cores.jit(scenario.variant));
    return runScenario(cores, scenario);
  };
  for (let seed = from; seed < from + 200; seed++) {
    const scenario = makeScenario(FUZZ_MODES[0], seed);
    const difference = run(new FuzzCores(), scenario);
    if (difference !== undefined) return { scenario, difference, run };
  }
  throw new Error('no program noticed');
};

describe('the fuzzer', () => {
  it('makes the same program of the same seed', () => {
    for (const mode of FUZZ_MODES) expect(makeScenario(mode, 7)).toEqual(makeScenario(mode, 7));
    expect(makeScenario(FUZZ_MODES[0], 8)).not.toEqual(makeScenario(FUZZ_MODES[0], 7));
  });

  it('runs a program in the same way again on the same cores', () => {
    const cores = new FuzzCores();
    for (const mode of FUZZ_MODES) for (const seed of [1, 2, 1]) expect(fuzz(cores, mode, seed)).toBeUndefined();
  });

  it('notices a wrong engine, and shrinks the program to the instructions that show it', () => {
    // The compiling core's CPUID table says something else: only programs that execute CPUID can tell.
    const { scenario, difference, run } = failing(core => {
      const table = new DataView(core.memory.buffer, (core.core.cpuPointer(0) >>> 0) + 0x1000);
      table.setUint32(8, 0x5a5a_5a5a, true);
      table.setUint32(4, 0xffff_ffff, true);
    }, 1);
    const small = shrink(scenario, { run, maxMs: 30_000 })!;
    const bytes = small.scenario.blocks.flatMap(({ pieces }) => pieces.flatMap(piece => piece.bytes));
    expect(bytes.join(' ')).toContain('15 162');
    expect(bytes.length).toBeLessThan(40);
    expect(small.difference.interp).not.toBe(small.difference.jit);
    expect(describeScenario(scenario, difference)).toContain(`user64, seed ${scenario.seed}`);
    expect(small.scenario.steps.length).toBeLessThanOrEqual(3);
  }, 120_000);
});
