// The compiler against the interpreter. VMLET_FUZZ_SECONDS lengthens the run, VMLET_FUZZ_SEED moves it; `npm run fuzz:jit` runs for hours.
import { describe, expect, it } from 'vitest';
import { FUZZ_MODES, fuzz, FuzzCores, GENERATORS } from '../support/jit-fuzz.js';

const SECONDS = Number(process.env.VMLET_FUZZ_SECONDS ?? 5);
const FIRST = Number(process.env.VMLET_FUZZ_SEED ?? 1);

/** Programs that once differed, each with the generators that there were: a probe of the compiler read a page table that lies in a device. */
const FOUND = [['system64', 1152, GENERATORS.filter(({ name }) => name !== 'frames')]] as const;

describe('random programs give the same state on both engines', () => {
  for (const mode of FUZZ_MODES) {
    it(
      mode.name,
      () => {
        const cores = new FuzzCores();
        const end = performance.now() + SECONDS * 1000;
        let seed = FIRST;
        while (performance.now() < end) expect(fuzz(cores, mode, seed++)).toBeUndefined();
        console.log(`${mode.name}: ${seed - FIRST} programs, ${JSON.stringify(cores.stats)}`);
        if (mode.mode !== 'prot16') expect(cores.stats.executed).toBeGreaterThan(0);
      },
      SECONDS * 2000 + 30_000,
    );
  }
  it.each(FOUND)('%s, seed %d', (name, seed, generators) => {
    const mode = FUZZ_MODES.find(m => m.name === name);
    expect(mode).toBeDefined();
    if (mode !== undefined) expect(fuzz(new FuzzCores(), mode, seed, generators)).toBeUndefined();
  });
});
