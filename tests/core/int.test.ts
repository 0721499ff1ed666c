// Every user integer instruction form against the host CPU's results (tools/fixtures/README.md).
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CODE, WINDOW, WINDOW_BYTES, describe as say, forms, inputs, type Form, type Input } from '../../tools/fixtures/int-gen.mjs';
import { CoreHarness, type CoreMode, type ModeOptions } from '../support/core-harness.js';

interface Row {
  form: Form;
  index: number;
  expected: string[];
}

const read = (bits: 32 | 64): Row[] => {
  const lines = readFileSync(new URL(`fixtures/int-${bits}.txt`, import.meta.url), 'utf8').trimEnd().split('\n');
  const list = forms(bits);
  if (lines.length !== list.length) throw new Error(`int-${bits}.txt is stale: run node tools/fixtures/int-gen.mjs`);
  return list.map((form, index) => {
    const [name, code, results] = lines[index].split('|');
    if (name !== form.name || code !== Buffer.from(form.code(bits)).toString('hex')) throw new Error(`int-${bits}.txt is stale at '${name}': run node tools/fixtures/int-gen.mjs`);
    return { form, index, expected: results.split(';') };
  });
};

const rows = { 32: read(32), 64: read(64) };
const groups = [...new Set(rows[32].concat(rows[64]).map((row) => row.form.group))];

const runCase = (core: CoreHarness, input: Input, length: number, origin: number): string => {
  input.regs.forEach((value, n) => core.setGpr(n, value));
  core.flags = input.flags;
  core.ram.set(input.window, WINDOW);
  const result = core.start(CODE, length);
  const { fault } = result;
  const misplaced = fault && fault.rip !== BigInt(origin) ? `at ${fault.rip.toString(16)}` : '';
  return say(input, {
    regs: input.regs.map((_, n) => core.getGpr(n)),
    flags: core.flags,
    window: core.ram.subarray(WINDOW, WINDOW + WINDOW_BYTES),
    vector: fault?.vector,
    code: fault?.code,
  }) + misplaced;
};

const judge = (group: string, bits: 32 | 64, mode: CoreMode, options: ModeOptions = {}): void => {
  const segment = mode === 'prot16' || mode === 'real16' ? 16 : bits;
  const core = new CoreHarness();
  core.setMode(mode, options);
  const wrong: string[] = [];
  for (const { form, index, expected } of rows[bits]) {
    if (form.group !== group || (segment === 16 && !form.narrow)) continue;
    const code = form.code(segment);
    core.load(code, CODE);
    for (let k = 0; k < form.cases; k++) {
      const input = inputs(bits, form, index, k);
      const got = runCase(core, input, code.length, CODE - (options.codeBase ?? 0));
      if (got !== expected[k]) {
        const regs = input.regs.slice(0, bits / 4).map((v, n) => `${String.fromCharCode(97 + n)}${v.toString(16)}`).join(',');
        wrong.push(`${form.name} [${Buffer.from(code).toString('hex')}] #${k} ${regs} flags ${input.flags.toString(16)}: host ${expected[k]}, core ${got}`);
      }
    }
  }
  expect(wrong.slice(0, 20), `${wrong.length} cases differ`).toEqual([]);
};

describe.each(groups)('%s', (group) => {
  it('64-bit code', () => judge(group, 64, 'long64'));
  it('64-bit code, user, paging', () => judge(group, 64, 'long64', { cpl: 3, paging: true }));
  it('32-bit code', () => judge(group, 32, 'prot32'));
  it('32-bit code with segment checks', () => judge(group, 32, 'prot32', { checked: true }));
  it('compatibility mode', () => judge(group, 32, 'compat32', { cpl: 3 }));
  it('16-bit code', () => judge(group, 32, 'prot16', { codeBase: CODE & ~0xfff }));
  it('16-bit real mode with large segments', () => judge(group, 32, 'real16', { codeBase: CODE & ~0xfff }));
});
