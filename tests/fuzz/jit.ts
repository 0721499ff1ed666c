// The work of `npm run fuzz:jit`: see jit.mjs.
import { parseArgs } from 'node:util';
import { describeScenario, shrink } from '../support/fuzz-shrink.js';
import { FUZZ_MODES, FuzzCores, GENERATORS, makeScenario, runScenario } from '../support/jit-fuzz.js';

const USAGE = `usage: npm run fuzz:jit -- [options]
  --minutes N     how long (1)
  --programs N    or how many programs of each mode
  --seed S        the first seed (1)
  --mode LIST     of ${FUZZ_MODES.map(({ name }) => name).join(', ')} (all)
  --only LIST     instructions, of ${GENERATORS.map(({ name }) => `'${name}'`).join(', ')} (all)
  --shrink S      seconds to spend on making a failing program small (60)
  --keep-going N  stop behind so many failures (1)`;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' }, programs: { type: 'string' }, seed: { type: 'string', default: '1' }, mode: { type: 'string' }, only: { type: 'string' },
    shrink: { type: 'string', default: '60' }, 'keep-going': { type: 'string', default: '1' }, help: { type: 'boolean', short: 'h' },
  },
});
const modes = FUZZ_MODES.filter(({ name }) => values.mode === undefined || values.mode.split(',').includes(name));
const generators = GENERATORS.filter(({ name }) => values.only === undefined || values.only.split(',').includes(name));
const first = Number(values.seed);
const end = performance.now() + Number(values.minutes) * 60_000;
const programs = values.programs === undefined ? Infinity : Number(values.programs);
/** Cores are made anew now and then, so that what a failure depends on is bounded, and the memory mappings of modules stay below what Linux gives a process (vm.max_map_count). */
const FRESH = 100;

if (values.help || modes.length === 0 || generators.length === 0 || !Number.isInteger(first)) {
  console.log(USAGE);
  process.exitCode = values.help ? 0 : 2;
} else {
  const cores = new Map<string, FuzzCores>();
  const totals = { programs: 0, regions: 0, entries: 0, executed: 0, resets: 0, dropped: 0 };
  const retire = (name: string): void => {
    const old = cores.get(name);
    if (old === undefined) return;
    const stats = old.stats;
    for (const key of Object.keys(stats) as (keyof typeof stats)[]) totals[key] += stats[key];
    cores.delete(name);
  };
  let failures = 0;
  let seed = first;
  for (; failures < Number(values['keep-going']) && seed - first < programs && (programs !== Infinity || performance.now() < end); seed++) {
    for (const mode of modes) {
      if ((seed - first) % FRESH === 0) retire(mode.name);
      if (!cores.has(mode.name)) cores.set(mode.name, new FuzzCores());
      const scenario = makeScenario(mode, seed, generators);
      totals.programs++;
      const difference = runScenario(cores.get(mode.name)!, scenario);
      if (difference === undefined) continue;
      failures++;
      retire(mode.name);
      const small = shrink(scenario, { maxMs: Number(values.shrink) * 1000 });
      console.log(small === undefined ? `${describeScenario(scenario, difference)}\n(only behind the programs before it: --seed ${seed - ((seed - first) % FRESH)})` : describeScenario(small.scenario, small.difference));
      console.log(`again: npm run fuzz:jit -- --programs 1 --mode ${mode.name} --seed ${seed}${values.only === undefined ? '' : ` --only '${values.only}'`}\n`);
    }
  }
  for (const mode of modes) retire(mode.name);
  console.log(`${failures} failures, seeds ${first} to ${seed - 1}: ${JSON.stringify(totals)}`);
  process.exitCode = failures > 0 ? 1 : 0;
}
