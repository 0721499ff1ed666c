// Every user integer instruction form against the host CPU's results (tools/fixtures/README.md).
import { expect, it } from 'vitest';
import { CODE, forms } from '../../tools/fixtures/int-gen-forms.mjs';
import type { CoreMode, ModeOptions } from '../support/core-harness.js';
import { describeEngineEach } from '../support/engines.js';
import { judge, readRows } from '../support/int-fixtures.js';

const rows = { 32: readRows('int-32.txt', 32, forms(32)), 64: readRows('int-64.txt', 64, forms(64)) };
const groups = [...new Set([...rows[32], ...rows[64]].map((row) => row.form.group))];
const low = { codeBase: CODE & ~0xfff };

describeEngineEach(groups, '$name', group => {
  const check = (bits: 32 | 64, mode: CoreMode, options?: ModeOptions) => {
    const wrong = judge(rows[bits].filter((row) => row.form.group === group), bits, mode, options);
    expect(wrong.slice(0, 20), `${wrong.length} cases differ`).toEqual([]);
  };
  it('64-bit code', () => check(64, 'long64'));
  it('64-bit code, user, paging', () => check(64, 'long64', { cpl: 3, paging: true }));
  it('32-bit code', () => check(32, 'prot32'));
  it('32-bit code with segment checks', () => check(32, 'prot32', { checked: true }));
  it('compatibility mode', () => check(32, 'compat32', { cpl: 3 }));
  it('16-bit code', () => check(32, 'prot16', low));
  it('16-bit real mode with large segments', () => check(32, 'real16', low));
});
