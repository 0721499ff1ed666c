// What the host's user mode cannot judge: segment registers as operands, absolute addresses, privileges of read-modify-write, segments.
import { expect, it } from 'vitest';
import { CoreHarness } from '../support/core-harness.js';
import { describeEngine } from '../support/engines.js';

const CODE = 0x10_0000;
const DATA = 0x20_0000;
const make = (mode: 'real16' | 'prot16' | 'prot32' | 'long64', options = {}) => {
  const core = new CoreHarness();
  core.setMode(mode, options);
  return core;
};
const bytes = (core: CoreHarness, at: number, n: number) => Buffer.from(core.get(at, n)).toString('hex');

describeEngine('MOV from a segment register', () => {
  it('stores 16 bits whatever the operand size', () => {
    for (const prefix of [[], [0x66], [0x48]]) {
      const core = make('long64');
      core.set32('fsSel', 0x1234);
      core.set(DATA, new Array<number>(16).fill(0xee));
      core.setGpr(3, DATA);
      expect(core.run([...prefix, 0x8c, 0x23]).fault).toBeUndefined();
      expect(bytes(core, DATA, 8)).toBe('3412eeeeeeeeeeee');
    }
  });
  it('zero-extends into 32 and 64 bits, keeps the rest of a 16-bit register', () => {
    const core = make('long64');
    core.set32('gsSel', 0x8001);
    for (const [prefix, expected] of [[[], 0x8001n], [[0x48], 0x8001n], [[0x66], 0xffff_ffff_ffff_8001n]] as const) {
      core.setGpr(0, -1);
      core.run([...prefix, 0x8c, 0xe8]);
      expect(core.getGpr(0)).toBe(expected);
    }
  });
});

describeEngine('absolute addresses', () => {
  it('are 16 bits in 16-bit code and 32 with a prefix', () => {
    const core = make('real16', { codeBase: CODE });
    core.set64('dsBase', DATA);
    core.updateMode();
    core.set(DATA + 0x8234, [0x78, 0x56, 0x34, 0x12]);
    core.run([0xa1, 0x34, 0x82]);
    expect(core.getGpr(0)).toBe(0x5678n);
    core.run([0x67, 0xa0, 0x36, 0x82, 0x00, 0x00]);
    expect(core.getGpr(0)).toBe(0x5634n);
    core.run([0x66, 0xa3, 0x00, 0x10]);
    expect(bytes(core, DATA + 0x1000, 6)).toBe('345600000000');
  });
  it('take a segment override, and 64 bits in long mode', () => {
    const core = make('long64');
    core.set64('fsBase', 0x1000);
    core.set(DATA, [1, 2, 3, 4, 5, 6, 7, 8]);
    core.run([0x64, 0x48, 0xa1, 0x00, 0xf0, 0x1f, 0, 0, 0, 0, 0]);
    expect(core.getGpr(0)).toBe(0x0807_0605_0403_0201n);
    expect(core.run([0xa0, 0, 0, 0, 0, 0, 0, 0, 0x80]).fault).toMatchObject({ vector: 13, code: 0 });
    core.run([0x67, 0xa0, 0x03, 0x00, 0x20, 0x00]);
    expect(core.getGpr(0) & 0xffn).toBe(4n);
  });
});

describeEngine('16-bit effective addresses', () => {
  it('wrap at 64 KiB before the segment base is added', () => {
    const core = make('real16', { codeBase: CODE });
    core.set64('dsBase', DATA);
    core.set32('dsLimit', 0xffff);
    core.updateMode();
    core.setGpr(3, 0xff00);
    core.setGpr(6, 0x0180);
    core.set(DATA + 0x85, [0xab]);
    core.run([0x8a, 0x40, 0x05]); // mov al, [bx+si+5]
    expect(core.getGpr(0) & 0xffn).toBe(0xabn);
  });
  it('address the stack segment through BP', () => {
    const core = make('real16', { codeBase: CODE });
    core.set64('ssBase', DATA);
    core.updateMode();
    core.setGpr(5, 0x100);
    core.run([0xc6, 0x46, 0x01, 0x77, 0x3e, 0xc6, 0x46, 0x02, 0x66]); // mov byte [bp+1], 77h; mov byte ds:[bp+2], 66h
    expect(bytes(core, DATA + 0x100, 3)).toBe('007700');
    expect(core.ram[0x102]).toBe(0x66);
  });
  it('fault when a word reaches beyond the limit', () => {
    const core = make('real16', { codeBase: CODE });
    core.set32('dsLimit', 0xffff);
    core.set32('ssLimit', 0xffff);
    core.updateMode();
    core.setGpr(3, 0xffff);
    core.setGpr(5, 0xffff);
    expect(core.run([0x8b, 0x07]).fault).toMatchObject({ vector: 13, code: 0 });
    expect(core.run([0x8b, 0x46, 0x00]).fault).toMatchObject({ vector: 12, code: 0 });
  });
}, { compiled: false });

describeEngine('read-modify-write of a page that cannot be written', () => {
  it('faults as a write even when nothing would change', () => {
    const forms = { 'shl cl=0': [0xd3, 0x23], 'rcl cl=0': [0xd3, 0x13], 'shld cl=0': [0x0f, 0xa5, 0x13], 'cmpxchg, not equal': [0x0f, 0xb1, 0x13], 'cmpxchg8b, not equal': [0x0f, 0xc7, 0x0b],
      bts: [0x0f, 0xba, 0x2b, 0x00], 'or 0': [0x83, 0x0b, 0x00], xchg: [0x87, 0x13], not: [0xf7, 0x13], xadd: [0x0f, 0xc1, 0x13] };
    const core = make('long64', { cpl: 3, paging: true });
    core.set(DATA, [0x4d, 1, 2, 3, 4, 5, 6, 7]);
    core.setPage(DATA, 0x65);
    for (const [name, code] of Object.entries(forms)) {
      for (const reg of [0, 1, 2]) core.setGpr(reg, 0);
      core.setGpr(3, DATA);
      core.flags = 0x8d7;
      expect(core.run(code).fault, name).toEqual({ vector: 14, code: 7, rip: BigInt(CODE) });
      expect([core.getGpr(0), core.getGpr(2), core.flags], name).toEqual([0n, 0n, 0x8d7]);
    }
    expect(bytes(core, DATA, 8)).toBe('4d01020304050607');
  });
  it('writes neither half of an operand that crosses into it', () => {
    const core = make('long64', { cpl: 3, paging: true });
    core.setPage(DATA + 0x1000, 0x65);
    core.setGpr(3, DATA + 0xffe);
    expect(core.run([0xff, 0x03]).fault).toMatchObject({ vector: 14, code: 7 });
    expect(core.get64('cr2')).toBe(BigInt(DATA + 0x1000));
    expect(bytes(core, DATA + 0xffe, 4)).toBe('00000000');
  });
});

describeEngine('division errors', () => {
  it('leave registers and flags alone', () => {
    for (const code of [[0xf7, 0xf3], [0xf7, 0xfb], [0x48, 0xf7, 0xf3], [0xf6, 0xf3]]) {
      const core = make('long64');
      core.setGpr(0, 0x1234n);
      core.setGpr(2, 0x99n);
      core.setGpr(3, 0);
      core.flags = 0x8c7;
      expect(core.run([0x90, ...code]).fault).toEqual({ vector: 0, rip: BigInt(CODE + 1) });
      expect([core.getGpr(0), core.getGpr(2), core.flags]).toEqual([0x1234n, 0x99n, 0x8c7]);
    }
  });
});
