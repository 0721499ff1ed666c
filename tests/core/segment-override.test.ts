// A code segment cannot be written, however flat it is (SDM vol. 3, 3.4.5.1).
import { expect, it } from 'vitest';
import { CoreHarness } from '../support/core-harness.js';
import { describeEngine } from '../support/engines.js';

const DATA = 0x20_0000;
const WRITES = {
  'MOV r/m32': [0x89, 0x07],
  'ADD r/m32': [0x83, 0x07, 1],
  'ROR r/m8': [0xc0, 0x0f, 3],
  'NEG r/m32': [0xf7, 0x1f],
  'BTS r/m32': [0x0f, 0xba, 0x2f, 3],
  'MOVD m32, xmm': [0x66, 0x0f, 0x7e, 0x07],
  'MOVSD m64, xmm': [0xf2, 0x0f, 0x11, 0x07],
  'FST m64': [0xdd, 0x17],
};

describeEngine('writes by a CS override in 32-bit code', () => {
  it.each(Object.entries(WRITES))('%s raises #GP(0)', (_, code) => {
    const h = new CoreHarness();
    h.setMode('prot32');
    const start = [0xdb, 0xe3, 0xd9, 0xe8]; // FNINIT, FLD1
    for (let turn = 0; turn < 3; turn++) {
      h.setGpr(7, DATA);
      const { fault } = h.run([...start, 0x2e, ...code]);
      expect(fault).toEqual({ vector: 13, code: 0, rip: BigInt(0x10_0000 + start.length) });
    }
    expect([...h.get(DATA, 8)]).toEqual(Array(8).fill(0));
  });
});
