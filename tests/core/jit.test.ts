// The compiler against the interpreter. VMLET_FUZZ_SECONDS lengthens the run, VMLET_FUZZ_SEED moves it.
import { describe, expect, it } from 'vitest';
import { CoreHarness } from '../support/core-harness.js';
import { FUZZ_MODES, fuzz } from '../support/jit-fuzz.js';

const SECONDS = Number(process.env.VMLET_FUZZ_SECONDS ?? 3);
const FIRST = Number(process.env.VMLET_FUZZ_SEED ?? 1);

describe('random programs give the same state on both engines', () => {
  for (const mode of FUZZ_MODES) {
    it(
      mode.name,
      () => {
        const cores = { interp: new CoreHarness(undefined, 'interp'), jit: new CoreHarness(undefined, 'jit', { threshold: 2, batch: 2 }) };
        const end = performance.now() + SECONDS * 1000;
        let seed = FIRST;
        while (performance.now() < end) expect(fuzz(cores, mode, seed++)).toBeUndefined();
        console.log(`${mode.name}: ${seed - FIRST} programs`);
      },
      SECONDS * 2000 + 30_000,
    );
  }
});
