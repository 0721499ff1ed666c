import { beforeEach, describe, expect, it } from 'vitest';
import { CoreHarness, type CoreMode, type ModeOptions } from '../support/core-harness.js';
import { describeEngine } from '../support/engines.js';

const UD = 6, NM = 7, GP = 13, PF = 14, MF = 16;
const MP = 2n, EM = 4n, TS = 8n, NE = 0x20n;
const DATA = 0x2000, CODE = 0x10_0000;
const REX_W = 0x48;

describeEngine('x87 state', () => {
  let h: CoreHarness;

  const mode = (name: CoreMode, cr0 = NE, options: ModeOptions = {}): void => {
    h.setMode(name, options);
    h.set64('cr0', (h.get64('cr0') & ~NE) | cr0);
    h.updateMode();
    reset();
  };
  function reset(): void {
    h.set32('fpuControl', 0x37f);
    h.set32('fpuStatus', 0);
    h.set32('fpuTags', 0xff);
    h.setGpr(6, DATA);
  }
  const u16 = (at: number): number => h.get(at, 2).reduce((v, b, k) => v + b * 256 ** k, 0);
  const u32 = (at: number): number => h.get(at, 4).reduce((v, b, k) => v + b * 256 ** k, 0);
  const st = (physical: number): string => Buffer.from(h.st(physical)).reverse().toString('hex');
  const PI = '4000c90fdaa22168c235', ONE = '3fff8000000000000000';

  beforeEach(() => {
    h = new CoreHarness();
    mode('prot32');
  });

  describe('environments', () => {
    // FLDPI; FLD1; FADD dword [esi + 0x10]
    const prelude = [0xd9, 0xeb, 0xd9, 0xe8, 0xd8, 0x46, 0x10];

    it('stores 28 bytes in protected mode, with pointers and selectors, and masks all exceptions', () => {
      h.set32('fpuControl', 0x340);
      const { fault } = h.run([...prelude, 0xd9, 0x36]);
      expect(fault).toBeUndefined();
      expect(u32(DATA)).toBe(0xffff_0340);
      expect(u32(DATA + 4)).toBe(0xffff_3000);
      expect(u32(DATA + 8)).toBe(0xffff_0fff);
      expect(u32(DATA + 12)).toBe(CODE + 4);
      expect(u32(DATA + 16)).toBe(0x0046_0008);
      expect(u32(DATA + 20)).toBe(DATA + 0x10);
      expect(u32(DATA + 24)).toBe(0xffff_0010);
      expect(h.get32('fpuControl')).toBe(0x37f);
    });

    it('stores 14 bytes with an operand-size prefix', () => {
      h.set(DATA + 14, [0x55]);
      h.run([...prelude, 0x66, 0xd9, 0x36]);
      expect([0, 2, 4, 6, 8, 10, 12].map((n) => u16(DATA + n))).toEqual([0x37f, 0x3000, 0x0fff, 4, 8, 0x2010, 0x10]);
      expect(h.ram[DATA + 14]).toBe(0x55);
    });

    it.each([['real mode, 16 bits', [0xd9, 0x34], 2], ['real mode, 32 bits', [0x66, 0xd9, 0x34], 4]] as const)('%s: linear addresses and the opcode', (_, store, step) => {
      mode('real16', NE, { codeBase: 0x10_0000 });
      h.setSegment('cs', 0xf123, 0xf_1230, 0xffff, 0x9b);
      h.setSegment('ds', 0x0100, 0x1000, 0xffff, 0x93);
      h.updateMode();
      h.setGpr(6, 0x1000);
      h.run([0xd9, 0xeb, 0xd9, 0xe8, 0xd8, 0x44, 0x10, ...store], { at: 0xf_2345 });
      const word = (n: number): number => (step === 2 ? u16(DATA + 2 * n) : u32(DATA + 4 * n));
      const high = step === 4 ? 0xffff_0000 : 0;
      expect([0, 1, 2].map(word)).toEqual([0x37f, 0x3000, 0x0fff].map((v) => high + v));
      expect(word(3)).toBe(high + 0x2349);
      expect(word(4)).toBe(0xf044);
      expect(word(5)).toBe(high + 0x2010);
      expect(word(6)).toBe(0x0000);
    });

    it('FLDENV takes back what FSTENV stored, and the tags of empty registers only', () => {
      h.run([...prelude, 0xd9, 0x36]);
      h.set(DATA + 8, [0x3f, 0xf0]);
      h.set(DATA, [0x00, 0x00]);
      h.set(DATA + 4, [0x20, 0x10]);
      h.run([0xdb, 0xe3, 0xd9, 0x26]);
      expect(h.get32('fpuTags')).toBe(0b1100_0111);
      expect(h.get32('fpuControl')).toBe(0x40);
      expect(h.get32('fpuStatus')).toBe(0x90a0);
      expect(h.get64('fpuIp')).toBe(BigInt(CODE + 4));
      expect(h.get32('fpuOpcode')).toBe(0x046);
      expect(h.get32('fpuDs')).toBe(0x10);
    });

    it('FNSAVE stores by TOP and initialises, FRSTOR restores', () => {
      h.run([...prelude, 0xd9, 0xe8, 0xdd, 0x36]);
      expect(Buffer.from(h.get(DATA + 28, 10)).reverse().toString('hex')).toBe(ONE);
      expect(Buffer.from(h.get(DATA + 48, 10)).reverse().toString('hex')).toBe(PI);
      expect([h.get32('fpuControl'), h.get32('fpuStatus'), h.get32('fpuTags')]).toEqual([0x37f, 0, 0xff]);
      expect(h.get64('fpuIp')).toBe(0n);
      for (let r = 0; r < 8; r++) h.st(r).fill(0);
      h.run([0xdd, 0x26]);
      expect([h.get32('fpuStatus'), h.get32('fpuTags')]).toEqual([0x2800, 0x1f]);
      expect([st(5), st(7)]).toEqual([ONE, PI]);
    });

    it('FNSAVE to a page that ends leaves everything as it was', () => {
      mode('prot32', NE, { paging: true });
      h.setPage(0x3000, 0x65);
      h.set64('cr0', h.get64('cr0') | 0x1_0000n);
      h.setGpr(6, 0x3000 - 60);
      const before = h.get(0x3000 - 60, 60);
      const { fault } = h.run([0xd9, 0xeb, 0xdd, 0x36]);
      expect(fault).toMatchObject({ vector: PF, rip: BigInt(CODE + 2) });
      expect(h.get(0x3000 - 60, 60)).toEqual(before);
      expect(h.get32('fpuTags')).toBe(0x7f);
    });
  });

  describe('FXSAVE and FXRSTOR', () => {
    it.each([['long64', 16], ['prot32', 8]] as const)('%s: %i XMM registers', (name, count) => {
      mode(name);
      h.ram.fill(0xaa, DATA, DATA + 512);
      for (let r = 0; r < 16; r++) h.xmm(r).fill(r + 1);
      h.run([0xd9, 0xeb, 0xd9, 0xe8, 0xd8, 0x46, 0x10, 0x0f, 0xae, 0x06]);
      expect([u16(DATA), u16(DATA + 2), u16(DATA + 4), u16(DATA + 6)]).toEqual([0x37f, 0x3000, 0xc0, 0x046]);
      expect([u32(DATA + 8), u16(DATA + 12), u32(DATA + 16), u16(DATA + 20)]).toEqual([CODE + 4, 8, DATA + 0x10, 0x10]);
      expect([u32(DATA + 24), u32(DATA + 28)]).toEqual([0x1f80, 0xffff]);
      expect(Buffer.from(h.get(DATA + 48, 16)).reverse().toString('hex')).toBe('000000000000' + PI);
      for (let r = 0; r < 16; r++) expect(h.ram[DATA + 160 + 16 * r]).toBe(r < count ? r + 1 : 0xaa);
      const image = h.get(DATA, 512);
      reset();
      for (let r = 0; r < 16; r++) h.xmm(r).fill(0xee);
      for (let r = 0; r < 8; r++) h.st(r).fill(0);
      const { fault } = h.run([0x0f, 0xae, 0x0e]);
      expect(fault).toBeUndefined();
      expect([h.get32('fpuStatus'), h.get32('fpuTags'), h.get32('fpuCs')]).toEqual([0x3000, 0x3f, 8]);
      expect(st(7)).toBe(PI);
      for (let r = 0; r < 16; r++) expect(h.xmm(r)[15]).toBe(r < count ? r + 1 : 0xee);
      expect(h.get(DATA, 512)).toEqual(image);
    });

    it('REX.W makes the pointers 64 bits wide', () => {
      mode('long64');
      h.set64('fpuIp', 0x1234_5678_9abc_def0n);
      h.set64('fpuDp', 0x0fed_cba9_8765_4321n);
      h.run([REX_W, 0x0f, 0xae, 0x06]);
      expect(Buffer.from(h.get(DATA + 8, 16)).toString('hex')).toBe('f0debc9a7856341221436587a9cbed0f');
      h.set64('fpuIp', 0n);
      h.run([REX_W, 0x0f, 0xae, 0x0e]);
      expect(h.get64('fpuIp')).toBe(0x1234_5678_9abc_def0n);
    });

    it.each([['FXSAVE', 0x06], ['FXRSTOR', 0x0e]])('%s: #GP off a multiple of 16, #NM with TS or EM', (_, modrm) => {
      h.setGpr(6, DATA + 8);
      expect(h.run([0x0f, 0xae, modrm]).fault).toMatchObject({ vector: GP, code: 0 });
      h.setGpr(6, DATA);
      for (const bit of [TS, EM]) {
        mode('prot32', bit);
        expect(h.run([0x0f, 0xae, modrm]).fault?.vector).toBe(NM);
      }
    });

    it('FXRSTOR: #GP for reserved bits of MXCSR, and nothing is loaded', () => {
      h.run([0x0f, 0xae, 0x06]);
      h.set(DATA + 26, [1]);
      h.set(DATA, [0, 0]);
      expect(h.run([0x0f, 0xae, 0x0e]).fault).toMatchObject({ vector: GP, code: 0 });
      expect(h.get32('fpuControl')).toBe(0x37f);
      expect(h.get32('mxcsr')).toBe(0x1f80);
    });
  });

  describe('exceptions', () => {
    it.each([['TS', TS], ['EM', EM]])('CR0.%s: #NM, waiting or not', (_, bit) => {
      mode('prot32', bit | NE);
      for (const code of [[0xd9, 0xe8], [0xdb, 0xe3], [0xd9, 0x3e], [0xdf, 0xe0], [0xd9, 0x06]]) expect(h.run(code).fault?.vector).toBe(NM);
    });

    it('FWAIT asks for MP and TS together', () => {
      mode('prot32', TS | NE);
      expect(h.run([0x9b]).fault).toBeUndefined();
      mode('prot32', MP | NE);
      expect(h.run([0x9b]).fault).toBeUndefined();
      mode('prot32', MP | TS | NE);
      expect(h.run([0x9b]).fault?.vector).toBe(NM);
    });

    // FLD1; FLDZ; FDIVP with ZE unmasked
    const divide = [0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9];

    it.each([['FLD1', [0xd9, 0xe8]], ['FWAIT', [0x9b]], ['FLDCW', [0xd9, 0x2e]], ['FRSTOR', [0xdd, 0x26]], ['EMMS', [0x0f, 0x77]], ['FLDENV', [0xd9, 0x26]]])(
      '#MF waits for the next waiting instruction: %s', (_, next) => {
        h.set32('fpuControl', 0x37b);
        const { fault } = h.run([...divide, 0x90, ...next]);
        expect(fault).toMatchObject({ vector: MF, rip: BigInt(CODE + divide.length + 1) });
        expect(h.get32('fpuStatus')).toBe(0xb084);
        expect(st(7)).toBe(ONE);
      });

    it.each([['FNINIT', [0xdb, 0xe3]], ['FNCLEX', [0xdb, 0xe2]], ['FNSAVE', [0xdd, 0x36]]])('%s does not wait, and clears', (_, next) => {
      h.set32('fpuControl', 0x37b);
      expect(h.run([...divide, ...next, 0xd9, 0xe8]).fault).toBeUndefined();
      expect(h.get32('fpuStatus') & 0x80bf).toBe(0);
    });

    it('FNSTENV masks, FLDCW unmasks what is pending', () => {
      expect(h.run([...divide, 0xd9, 0x36, 0xd9, 0xe8]).fault).toBeUndefined();
      expect(h.get32('fpuStatus') & 0x8080).toBe(0);
      h.set(DATA, [0x7b, 0x03]);
      expect(h.run([0xd9, 0x2e, 0x9b]).fault).toMatchObject({ vector: MF, rip: BigInt(CODE + 2) });
    });

    it('with NE clear there is no #MF', () => {
      mode('prot32', 0n);
      h.set32('fpuControl', 0x37b);
      expect(h.run([...divide, 0x9b]).fault).toBeUndefined();
      expect(h.get32('fpuStatus') & 0x80).toBe(0x80);
    });

    it('a store that faults neither pops nor stores', () => {
      mode('prot32', NE | 0x1_0000n, { paging: true });
      h.setPage(0x3000, 0x65);
      h.setGpr(6, 0x3000 - 8);
      const before = h.get(0x3000 - 8, 8);
      expect(h.run([0xd9, 0xeb, 0xdb, 0x3e]).fault?.vector).toBe(PF);
      expect(h.get(0x3000 - 8, 8)).toEqual(before);
      expect(h.get32('fpuTags')).toBe(0x7f);
      expect(h.get32('fpuStatus')).toBe(0x3800);
    });

    it('a load that faults changes nothing', () => {
      mode('prot32', NE, { paging: true });
      h.setPage(0x3000, 0);
      h.setGpr(6, 0x3000 - 4);
      expect(h.run([0xd9, 0xeb, 0xdd, 0x06]).fault?.vector).toBe(PF);
      expect([h.get32('fpuTags'), h.get32('fpuStatus'), Number(h.get64('fpuIp'))]).toEqual([0x7f, 0x3800, CODE]);
    });
  });

  it.each([
    [0xd9, 0x0e], [0xdb, 0x26], [0xdb, 0x36], [0xdd, 0x2e], [0xd9, 0xd1], [0xd9, 0xe2], [0xd9, 0xe6], [0xd9, 0xef], [0xda, 0xe0], [0xda, 0xe8], [0xda, 0xf0],
    [0xda, 0xf8], [0xdb, 0xe5], [0xdb, 0xf8], [0xdd, 0xf0], [0xdd, 0xf8], [0xde, 0xd8], [0xdf, 0xe1], [0xdf, 0xf8],
  ])('%i %i is undefined', (opcode, modrm) => {
    expect(h.run([opcode, modrm]).fault?.vector).toBe(UD);
  });

  it('FNSTSW AX', () => {
    h.setGpr(0, 0x1234_5678);
    h.run([0xd9, 0xe8, 0xdf, 0xe0]);
    expect(h.getGpr(0)).toBe(0x1234_3800n);
  });

  it('EMMS empties all registers', () => {
    h.set32('fpuTags', 0);
    h.set32('fpuStatus', 0x3800);
    h.run([0x0f, 0x77]);
    expect([h.get32('fpuTags'), h.get32('fpuStatus')]).toEqual([0xff, 0]);
  });
});
