// Runs the integer fixtures (tools/fixtures/README.md) through the core.
import { readFileSync } from 'node:fs';
import { CODE, WINDOW, WINDOW_BYTES, describe as say, inputs, ordinal, type Form, type Input } from '../../tools/fixtures/int-gen-forms.mjs';
import { CoreHarness, type CoreMode, type ModeOptions } from './core-harness.js';

export interface Row {
  form: Form;
  /** Place in the list, the seed of the inputs. */
  index: number;
  /** The host's results, one a case. */
  expected: string[];
}

/** Pairs forms with the results in tests/core/fixtures; throws when they are not of the same making. */
export const readRows = (file: string, bits: 32 | 64, list: Form[]): Row[] => {
  const stale = (where: string) => new Error(`${file} is stale${where}: run node tools/fixtures/int-gen.mjs`);
  const lines = readFileSync(new URL(`../core/fixtures/${file}`, import.meta.url), 'utf8').trimEnd().split('\n');
  if (lines.length !== list.length) throw stale('');
  return list.map((form, index) => {
    const [name, code, results] = lines[index].split('|');
    if (name !== form.name || code !== Buffer.from(form.code(bits)).toString('hex')) throw stale(` at '${name}'`);
    return { form, index, expected: results.split(';') };
  });
};

const runCase = (core: CoreHarness, input: Input, length: number, origin: number, parts: number[][] | undefined): string => {
  input.regs.forEach((value, n) => core.setGpr(n, value));
  core.flags = input.flags;
  core.ram.set(input.window, WINDOW);
  const { fault } = core.start(CODE, length);
  const offset = fault ? Number(fault.rip) - origin : 0;
  return say(input, {
    regs: input.regs.map((_, n) => core.getGpr(n)),
    flags: core.flags,
    window: core.ram.subarray(WINDOW, WINDOW + WINDOW_BYTES),
    vector: fault?.vector,
    code: fault?.code,
    at: parts ? ordinal(parts, offset) : offset,
  });
};

/** Runs rows in a mode; returns a line for each case that differs from the host. */
export const judge = (rows: Row[], bits: 32 | 64, mode: CoreMode, options: ModeOptions = {}): string[] => {
  const segment = mode === 'prot16' || mode === 'real16' ? 16 : bits;
  const core = new CoreHarness();
  core.setMode(mode, options);
  const wrong: string[] = [];
  for (const { form, index, expected } of rows) {
    if (segment === 16 && !form.narrow) continue;
    const code = form.code(segment);
    const parts = form.parts?.(segment);
    core.load(code, CODE);
    for (let k = 0; k < form.cases; k++) {
      const input = inputs(bits, form, index, k);
      const got = runCase(core, input, code.length, CODE - (options.codeBase ?? 0), parts);
      if (got === expected[k]) continue;
      const regs = input.regs.slice(0, bits / 4).map((v, n) => `${String.fromCharCode(97 + n)}${v.toString(16)}`).join(',');
      wrong.push(`${form.name} [${Buffer.from(code).toString('hex')}] #${k} ${regs} flags ${input.flags.toString(16)}: host ${expected[k]}, core ${got}`);
    }
  }
  return wrong;
};
