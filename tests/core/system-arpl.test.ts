import { expect, it } from 'vitest';
import { CoreHarness } from '../support/core-harness.js';
import { describeEngine } from '../support/engines.js';

const ZF = 0x40;
const ARPL_MEM_BX = [0x63, 0x1d, 0, 0, 2, 0]; // arpl [0x20000], bx
const READ_ONLY_DATA = 0xc091;

describeEngine('ARPL', () => {
  const run = (selector: number, rpl: number, attributes: number) => {
    const cpu = new CoreHarness();
    cpu.setMode('prot32');
    cpu.setSegment('ds', 0x10, 0, 0xffff_ffff, attributes);
    cpu.updateMode();
    cpu.set(0x2_0000, [selector & 0xff, selector >> 8]);
    cpu.setGpr(3, rpl);
    const { fault } = cpu.run(ARPL_MEM_BX);
    return { fault: fault?.vector, value: cpu.get(0x2_0000, 2)[0], zf: (cpu.flags & ZF) !== 0 };
  };

  it('raises the RPL and says so', () => {
    expect(run(0xfff0, 2, 0xc093)).toEqual({ fault: undefined, value: 0xf2, zf: true });
    expect(run(0xfff3, 2, 0xc093)).toEqual({ fault: undefined, value: 0xf3, zf: false });
  });

  it('writes to a read-only segment only when there is something to change', () => {
    expect(run(0xfff3, 2, READ_ONLY_DATA)).toEqual({ fault: undefined, value: 0xf3, zf: false });
    expect(run(0xfff0, 2, READ_ONLY_DATA)).toMatchObject({ fault: 13, value: 0xf0 });
  });
});
