// Every test of the CPU runs on the interpreter and on the compiler.
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { CoreHarness, type EngineName } from './core-harness.js';

/** VMLET_ENGINE restricts the tests to one of them. */
export const ENGINES: readonly EngineName[] = (['interp', 'jit'] as const).filter(engine => (process.env.VMLET_ENGINE || engine) === engine);

export interface EngineSuite {
  /** False where nothing is compiled, as in 16-bit code: then the counters are not looked at. */
  compiled?: boolean;
}

const onEngine = (engine: EngineName, { compiled = true }: EngineSuite, body: () => void): void => {
  const cores: CoreHarness[] = [];
  let before: EngineName;
  beforeAll(() => {
    before = CoreHarness.defaultEngine;
    CoreHarness.defaultEngine = engine;
    CoreHarness.onCreate = core => cores.push(core);
  });
  afterAll(() => {
    CoreHarness.defaultEngine = before;
    CoreHarness.onCreate = undefined;
    const sum = (which: 'regions' | 'entries') => cores.reduce((total, core) => total + core.jitStats()[which], 0);
    if (engine === 'interp') expect(sum('regions')).toBe(0);
    else if (compiled) {
      // The point of the exercise: blocks are compiled before their first execution, and then executed as compiled code.
      expect(sum('regions')).toBeGreaterThan(0);
      expect(sum('entries')).toBeGreaterThan(0);
    }
    cores.length = 0;
  });
  body();
};

/** `describe` once for each engine: harnesses that its tests make without naming an engine run on that one. */
export const describeEngine = (name: string, body: () => void, suite: EngineSuite = {}): void => {
  for (const engine of ENGINES) describe(`${name} (${engine})`, () => onEngine(engine, suite, body));
};

/** `describe.each` once for each engine; `$name` in `name` is the case, or its name. */
export const describeEngineEach = <T>(cases: readonly T[], name: string, body: (item: T) => void, suite: EngineSuite = {}): void => {
  const rows = ENGINES.flatMap(engine => cases.map(item => ({ engine, item, name: typeof item === 'object' ? (item as { name: string }).name : String(item) })));
  describe.each(rows)(`${name} ($engine)`, ({ engine, item }) => onEngine(engine, suite, () => body(item)));
};
