// Sequences of instructions against the host CPU: flags that live or die between them, fused pairs, loops, exact state at faults.
import { expect, it } from 'vitest';
import { CODE } from '../../tools/fixtures/int-gen-forms.mjs';
import { sequences } from '../../tools/fixtures/int-gen-sequences.mjs';
import type { CoreMode, ModeOptions } from '../support/core-harness.js';
import { describeEngine } from '../support/engines.js';
import { judge, readRows } from '../support/int-fixtures.js';

const rows = { 32: readRows('int-seq-32.txt', 32, sequences(32)), 64: readRows('int-seq-64.txt', 64, sequences(64)) };
const low = { codeBase: CODE & ~0xfff };

describeEngine('sequences', () => {
  const check = (bits: 32 | 64, mode: CoreMode, options?: ModeOptions) => {
    const wrong = judge(rows[bits], bits, mode, options);
    expect(wrong.slice(0, 10), `${wrong.length} cases differ`).toEqual([]);
  };
  it('64-bit code', () => check(64, 'long64'));
  it('64-bit code, user, paging', () => check(64, 'long64', { cpl: 3, paging: true }));
  it('32-bit code', () => check(32, 'prot32'));
  it('32-bit code with segment checks', () => check(32, 'prot32', { checked: true }));
  it('compatibility mode', () => check(32, 'compat32', { cpl: 3 }));
  it('16-bit code', () => check(32, 'prot16', low));
  it('16-bit real mode with large segments', () => check(32, 'real16', low));
});
