import { expect, it } from 'vitest';
import { CoreHarness } from '../support/core-harness.js';
import { describeEngine } from '../support/engines.js';

describeEngine('NMI', () => {
  it('is unblocked by an IRET that faults', () => {
    const cpu = new CoreHarness();
    cpu.setMode('prot32');
    cpu.setGpr(4, 0x3_0000);
    cpu.set(0x3_0000, [0, 0, 0, 0, 0xfc, 0xff, 0, 0, 2, 0, 0, 0]); // a selector beyond the table
    cpu.set32('nmiMasked', 1);
    const result = cpu.run([0xcf]);
    expect(result.fault).toEqual({ vector: 13, code: 0xfffc, rip: 0x10_0000n });
    expect(cpu.get32('nmiMasked')).toBe(0);
    expect(cpu.getGpr(4)).toBe(0x3_0000n);
  });
});
