// What the TLB and the cache of decoded code keep, and what they must not keep, across changes of address space and of mappings.
import { beforeEach, expect, it } from 'vitest';
import { CoreHarness, TABLES } from '../support/core-harness.js';
import { describeEngine } from '../support/engines.js';

const RAX = 0, RCX = 1, RDX = 2, RBX = 3, RSI = 6;
const CODE = 0x10_0000;
const SPACE_B = 0x70_0000;
const PAGE = 0x20_0000n;
const [ONE, TWO] = [0x30_0000, 0x31_0000];
const NOFLUSH = 1n << 63n;
const CR4_PGE = 0x80n, CR4_PCIDE = 0x2_0000n;
const hex = (code: string): number[] => (code.replaceAll(' ', '').match(/../g) ?? []).map((b) => parseInt(b, 16));

let h: CoreHarness;
let tableA: number, tableB: number;

const entry = (at: number): bigint => new DataView(h.ram.buffer, h.ram.byteOffset).getBigUint64(at, true);
const setEntry = (at: number, value: bigint): void => new DataView(h.ram.buffer, h.ram.byteOffset).setBigUint64(at, value, true);
/** Where the page-table entry of an address lies. */
const pte = (root: number, lin: bigint): number => {
  let table = root;
  for (const shift of [39n, 30n, 21n]) table = Number(entry(table + 8 * Number((lin >> shift) & 0x1ffn)) & 0xf_ffff_f000n);
  return table + 8 * Number((lin >> 12n) & 0x1ffn);
};

/** Space A maps everything one to one, space B as well but for PAGE, which is at TWO and not at ONE. All but PAGE is global. */
beforeEach(() => {
  h = new CoreHarness();
  h.setMode('long64', { paging: true });
  tableA = TABLES;
  tableB = SPACE_B;
  // A copy of the way to PAGE: four tables.
  let from = tableA, to = tableB;
  for (const shift of [39n, 30n, 21n]) {
    h.ram.copyWithin(to, from, from + 0x1000);
    const slot = 8 * Number((PAGE >> shift) & 0x1ffn);
    from = Number(entry(from + slot) & 0xf_ffff_f000n);
    setEntry(to + slot, BigInt(to + 0x1000) | 7n);
    to += 0x1000;
  }
  h.ram.copyWithin(to, from, from + 0x1000);
  for (let lin = 0n; lin < 0x80_0000n; lin += 0x1000n) if (lin >> 21n !== PAGE >> 21n || lin !== PAGE) for (const root of [tableA, tableB]) setEntry(pte(root, lin), entry(pte(root, lin)) | 0x100n);
  setEntry(pte(tableA, PAGE), BigInt(ONE) | 7n);
  setEntry(pte(tableB, PAGE), BigInt(TWO) | 7n);
  h.set(ONE, [1]);
  h.set(TWO, [2]);
  h.set64('cr4', h.get64('cr4') | CR4_PGE);
  h.set64('cr3', tableA);
  h.setGpr(4, 0x0f_0000);
  h.updateMode();
  h.core.flushAll(0);
});

const run = (code: string): void => expect(h.run(hex(code)).fault).toBeUndefined();
/** The byte at PAGE after CR3 was loaded. */
const readIn = (cr3: bigint): bigint => {
  h.setGpr(RAX, cr3);
  h.setGpr(RSI, PAGE);
  run('0f 22 d8  0f b6 16'); // mov cr3, rax; movzx edx, byte [rsi]
  return h.getGpr(RDX);
};
/** Calls PAGE after CR3 was loaded. */
const callIn = (cr3: bigint): bigint => {
  h.setGpr(RAX, cr3);
  h.setGpr(RCX, PAGE);
  h.setGpr(RBX, 0);
  run('0f 22 d8  ff d1'); // mov cr3, rax; call rcx
  return h.getGpr(RBX);
};
const invlpg = (lin: bigint): void => {
  h.setGpr(RSI, lin);
  run('0f 01 3e');
};
const MOV_BL_RET = (value: number): number[] => [0xb3, value, 0xc3];

describeEngine('a CR3 load without PCIDs', () => {
  it('drops translations and code that are not global', () => {
    expect([readIn(BigInt(tableA)), readIn(BigInt(tableB)), readIn(BigInt(tableA))]).toEqual([1n, 2n, 1n]);
    h.set(ONE, MOV_BL_RET(0x11));
    h.set(TWO, MOV_BL_RET(0x22));
    expect([callIn(BigInt(tableA)), callIn(BigInt(tableB)), callIn(BigInt(tableA))]).toEqual([0x11n, 0x22n, 0x11n]);
  });

  it('drops code whose second page only is not global', () => {
    const at = PAGE - 1n;
    h.set(Number(at), [0xb3]); // mov bl, imm8 begins in the global page
    h.set(ONE, [0x11, 0xc3]);
    h.set(TWO, [0x22, 0xc3]);
    const call = (root: number): bigint => {
      h.setGpr(RAX, root);
      h.setGpr(RCX, at);
      run('0f 22 d8  ff d1');
      return h.getGpr(RBX) & 0xffn;
    };
    expect([call(tableA), call(tableB), call(tableA)]).toEqual([0x11n, 0x22n, 0x11n]);
  });

  it('keeps global ones, which INVLPG drops', () => {
    const other = 0x21_0000n;
    h.set(Number(other), [5]);
    h.set(TWO, [6]);
    h.setGpr(RAX, tableB);
    h.setGpr(RSI, other);
    run('0f b6 16'); // cached
    setEntry(pte(tableB, other), BigInt(TWO) | 7n);
    run('0f 22 d8  0f b6 16');
    expect(h.getGpr(RDX)).toBe(5n);
    invlpg(other);
    run('0f b6 16');
    expect(h.getGpr(RDX)).toBe(6n);
  });
});

describeEngine('INVLPG', () => {
  it('makes code of a page that was mapped elsewhere be found', () => {
    h.set(ONE, MOV_BL_RET(0x11));
    h.set(TWO, MOV_BL_RET(0x22));
    const call = (): bigint => {
      h.setGpr(RCX, PAGE);
      run('ff d1');
      return h.getGpr(RBX) & 0xffn;
    };
    expect(call()).toBe(0x11n);
    setEntry(pte(tableA, PAGE), BigInt(TWO) | 7n);
    invlpg(PAGE);
    expect(call()).toBe(0x22n);
    invlpg(0x22_0000n); // a page without code
    expect(call()).toBe(0x22n);
  });
});

describeEngine('a write to code', () => {
  it('is seen under every address of the page', () => {
    const alias = 0x22_0000n;
    h.set(ONE, MOV_BL_RET(0x11));
    setEntry(pte(tableA, alias), BigInt(ONE) | 7n);
    const call = (lin: bigint): bigint => {
      h.setGpr(RCX, lin);
      run('ff d1');
      return h.getGpr(RBX) & 0xffn;
    };
    const write = (value: number): void => {
      h.setGpr(RSI, ONE + 1);
      h.setGpr(RAX, value);
      run('88 06'); // mov [rsi], al
    };
    expect(call(PAGE)).toBe(0x11n);
    write(0x12);
    expect(call(PAGE)).toBe(0x12n);
    expect(call(alias)).toBe(0x12n);
    write(0x13);
    expect([call(alias), call(PAGE), call(BigInt(ONE))]).toEqual([0x13n, 0x13n, 0x13n]);
    write(0x14);
    expect([call(BigInt(ONE)), call(alias), call(PAGE)]).toEqual([0x14n, 0x14n, 0x14n]);
  });
});

describeEngine('a write to the code behind it', () => {
  // mov byte [rip+3], 22h; nop; nop; mov al, 11h; then more than the budget
  const code = [0xc6, 0x05, 3, 0, 0, 0, 0x22, 0x90, 0x90, 0xb0, 0x11, ...new Array<number>(20).fill(0x90)];
  it.each([4, 5, 10, 24])('is seen when the budget is %d', (budget) => {
    for (let turn = 0; turn < 3; turn++) {
      h.load(code, CODE);
      h.setGpr(RAX, 0);
      h.rip = CODE;
      expect(h.go(budget)).toEqual({ fault: undefined, halted: false, instructions: budget });
      expect(h.getGpr(RAX)).toBe(0x22n);
    }
  });
}, { compiled: false });

describeEngine('PCIDs', () => {
  const A = (): bigint => BigInt(tableA) | 1n;
  const B = (): bigint => BigInt(tableB) | 2n;
  /** Space A of PCID 1 has PAGE in the TLB and its page tables say something else; space B of PCID 2 is the current one. */
  const stale = (): void => {
    expect(readIn(A())).toBe(1n);
    expect(readIn(B())).toBe(2n);
    setEntry(pte(tableA, PAGE), BigInt(TWO) | 7n);
  };
  const invpcid = (type: number, pcid: number, lin = 0n): void => {
    h.set(0x4000, [...new Uint8Array(BigUint64Array.of(BigInt(pcid), lin).buffer)]);
    h.setGpr(RAX, type);
    h.setGpr(RSI, 0x4000);
    run('66 0f 38 82 06'); // invpcid rax, [rsi]
  };
  beforeEach(() => {
    h.set64('cr4', h.get64('cr4') | CR4_PCIDE);
    h.updateMode();
  });

  it('keep the translations of several spaces, when bit 63 of the source says so', () => {
    stale();
    expect(readIn(A() | NOFLUSH)).toBe(1n);
    expect(readIn(B() | NOFLUSH)).toBe(2n);
    expect(readIn(A())).toBe(2n);
    expect(readIn(B() | NOFLUSH)).toBe(2n);
  });

  it.each([['one address', 0, 1], ['one space', 1, 1], ['everything', 2, 0], ['everything that is not global', 3, 0]] as const)('are dropped by INVPCID: %s', (_, type, pcid) => {
    stale();
    invpcid(type, pcid, type === 0 ? PAGE : 0n);
    expect(readIn(A() | NOFLUSH)).toBe(2n);
  });

  it.each([['one address', 0], ['one space', 1]] as const)('stay when INVPCID names another: %s', (_, type) => {
    stale();
    invpcid(type, 2, type === 0 ? PAGE : 0n);
    expect(readIn(B() | NOFLUSH)).toBe(2n);
    expect(readIn(A() | NOFLUSH)).toBe(1n);
  });

  it('are dropped when CR4.PCIDE is cleared', () => {
    stale();
    setEntry(pte(tableB, PAGE), BigInt(ONE) | 7n);
    h.setGpr(RAX, h.get64('cr4') & ~CR4_PCIDE);
    run('0f 22 e0');
    h.setGpr(RAX, h.get64('cr4') | CR4_PCIDE);
    h.set64('cr3', tableB);
    run('0f 22 e0');
    expect([readIn(B() | NOFLUSH), readIn(A() | NOFLUSH)]).toEqual([1n, 2n]);
  });

  it('have code of their own', () => {
    h.set(ONE, MOV_BL_RET(0x11));
    h.set(TWO, MOV_BL_RET(0x22));
    for (let k = 0; k < 3; k++) expect([callIn(A() | NOFLUSH), callIn(B() | NOFLUSH)]).toEqual([0x11n, 0x22n]);
    // Written to while the space is put aside.
    h.setGpr(RSI, ONE + 1);
    h.setGpr(RAX, 0x33);
    run('88 06');
    expect([callIn(A() | NOFLUSH), callIn(B() | NOFLUSH)]).toEqual([0x33n, 0x22n]);
  });

  it('bring back no fast write to a page in which code was found meanwhile', () => {
    h.set(ONE, MOV_BL_RET(0x11));
    const writeInA = (value: number): void => {
      h.setGpr(RAX, A() | NOFLUSH);
      h.setGpr(RSI, PAGE + 1n);
      h.setGpr(RDX, value);
      run('0f 22 d8  88 16');
    };
    const callThere = (): bigint => {
      h.setGpr(RAX, B() | NOFLUSH);
      h.setGpr(RCX, ONE);
      run('0f 22 d8  ff d1');
      return h.getGpr(RBX) & 0xffn;
    };
    writeInA(0x44);
    expect(callThere()).toBe(0x44n);
    writeInA(0x55);
    expect(callThere()).toBe(0x55n);
  });

  it('are more than there is room for', () => {
    const value = (k: number): number => (k % 2 ? TWO : ONE);
    for (let round = 0; round < 3; round++) {
      for (let pcid = 1; pcid < 40; pcid++) expect(readIn(BigInt(value(pcid) === ONE ? tableA : tableB) | BigInt(pcid) | NOFLUSH)).toBe(value(pcid) === ONE ? 1n : 2n);
    }
  });

  it('fault for reserved bits and bad types', () => {
    h.set(0x4000, [...new Uint8Array(BigUint64Array.of(0x1000n, 0n).buffer)]);
    h.setGpr(RSI, 0x4000);
    for (const type of [0n, 4n]) {
      h.setGpr(RAX, type);
      expect(h.run(hex('66 0f 38 82 06'), { max: 1 }).fault).toMatchObject({ vector: 13, code: 0, rip: BigInt(CODE) });
    }
  });
});
