import { readFileSync } from 'node:fs';
import { beforeAll, expect, it } from 'vitest';
import { CoreHarness } from '../support/core-harness.js';
import { describeEngine } from '../support/engines.js';
import { HASH_START, type SseState, hashOutcome, makeCase, parseForms } from './sse-cases.js';

const fixture = (name: string): Buffer => readFileSync(new URL(`./fixtures/${name}`, import.meta.url));
const CASES = 256;
const GROUP = 8;
const CODE = 0x10_0000;
const BUFFER = 0x2000;
const UD = 6, NM = 7, GP = 13, PF = 14, XM = 19;

describeEngine('MMX and SSE against the fixtures of a real CPU', () => {
  let h: CoreHarness;
  let xmm: Uint32Array, gpr: Uint32Array, mem: Uint32Array, mm1: Uint32Array, mm2: Uint32Array;
  beforeAll(() => {
    h = new CoreHarness();
    xmm = new Uint32Array(h.memory.buffer, h.xmm(0).byteOffset, 12);
    gpr = new Uint32Array(h.memory.buffer, h.core.cpuPointer(0) >>> 0, 6);
    mem = new Uint32Array(h.memory.buffer, h.ram.byteOffset + BUFFER, 8);
    mm1 = new Uint32Array(h.memory.buffer, h.st(1).byteOffset, 2);
    mm2 = new Uint32Array(h.memory.buffer, h.st(2).byteOffset, 2);
  });

  function execute(s: SseState, length: number): SseState {
    xmm.set(s.xmm);
    gpr.set(s.gpr);
    mem.set(s.mem);
    mm1.set(s.mmx.subarray(0, 2));
    mm2.set(s.mmx.subarray(2));
    h.setGpr(6, BUFFER);
    h.setGpr(7, BUFFER);
    h.flags = s.flags;
    h.set32('mxcsr', s.mxcsr);
    const { fault } = h.start(CODE, length, 2);
    return {
      xmm, mem, gpr, mmx: Uint32Array.of(...mm1, ...mm2), flags: h.flags, mxcsr: h.get32('mxcsr'), trapped: !fault ? 0 : fault.vector === XM ? 1 : 2,
    };
  }

  const forms = parseForms(fixture('sse-forms.txt').toString());
  const bytes = fixture('sse-outcomes.bin');
  const outcomes = new Int32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  const kinds = {
    i: 'integer operands', s: 'single precision', d: 'double precision', t: 'string comparisons', c: 'shift counts', g: 'general registers', x: 'LDMXCSR',
  };

  it('has the outcomes of every form', () => expect(outcomes.length).toBe((forms.length * CASES) / GROUP));

  it.each(Object.entries(kinds))('%s: %s', (kind) => {
    const wrong: string[] = [];
    for (const [index, form] of forms.entries()) {
      if (form.kind !== kind) continue;
      h.load(form.code, CODE);
      for (let first = 0; first < CASES; first += GROUP) {
        let hash = HASH_START;
        for (let k = 0; k < GROUP; k++) hash = hashOutcome(hash, execute(makeCase(form, first + k), form.code.length), form.mmx);
        if (hash !== outcomes[(index * CASES + first) / GROUP]) wrong.push(`${form.name}, cases ${first} to ${first + GROUP - 1}`);
      }
    }
    expect(wrong).toEqual([]);
  });
});

describeEngine('MMX and SSE checks', () => {
  let h: CoreHarness;
  const hex = (code: string): number[] => (code.replaceAll(' ', '').match(/../g) ?? []).map((b) => parseInt(b, 16));
  const vectorOf = (code: string): number | undefined => h.run(hex(code), { max: 1 }).fault?.vector;
  beforeAll(() => {
    h = new CoreHarness();
  });

  const ADDPS = '0f 58 ca', PADDB = '0f fc ca', ADDPS_RSI = '0f 58 0e';

  it('raises #UD with CR0.EM or without CR4.OSFXSR, #NM with CR0.TS', () => {
    h.setMode('long64');
    h.set64('cr0', h.get64('cr0') | 4n);
    h.updateMode();
    expect([vectorOf(ADDPS), vectorOf(PADDB), vectorOf('0f 28 ca'), vectorOf('0f ae f0')]).toEqual([UD, UD, UD, undefined]);
    h.setMode('long64');
    h.set64('cr0', h.get64('cr0') | 8n);
    h.updateMode();
    expect([vectorOf(ADDPS), vectorOf(PADDB), vectorOf('0f 28 ca'), vectorOf('0f 77'), vectorOf('f3 0f 6f 0e')]).toEqual([NM, NM, NM, NM, NM]);
    h.setMode('long64');
    h.set64('cr4', h.get64('cr4') & ~0x200n);
    h.updateMode();
    expect([vectorOf(ADDPS), vectorOf('0f 28 ca'), vectorOf('66 0f fc ca'), vectorOf(PADDB)]).toEqual([UD, UD, UD, undefined]);
  });

  it('raises #GP(0) for misaligned 16-byte operands, except where any alignment is allowed', () => {
    h.setMode('long64');
    h.setGpr(6, BUFFER + 4);
    for (const code of [ADDPS_RSI, '0f 28 0e', '0f 29 0e', '66 0f 6f 0e', '66 0f 7f 0e', '66 0f fc 0e', '66 0f e7 0e', '0f 2b 0e', '66 0f 38 2a 0e', '66 0f 38 00 0e', '0f c6 0e 00']) {
      expect(h.run(hex(code), { max: 1 }).fault, code).toEqual({ vector: GP, code: 0, rip: BigInt(CODE) });
    }
    for (const code of ['0f 10 0e', '66 0f 11 0e', 'f3 0f 6f 0e', 'f3 0f 7f 0e', 'f2 0f f0 0e', 'f3 0f 58 0e', 'f2 0f 58 0e', '0f fc 0e', '66 0f 3a 63 0e 00', '66 0f 3a 60 0e 00', '66 0f 38 20 0e', 'f2 0f 12 0e', '66 0f 6e 0e']) {
      expect(vectorOf(code), code).toBeUndefined();
    }
  });

  it('raises #XM for unmasked exceptions, or #UD without CR4.OSXMMEXCPT, and leaves the destination alone', () => {
    for (const [cr4, vector] of [[0n, XM], [0x400n, UD]] as const) {
      h.setMode('long64');
      h.set64('cr4', h.get64('cr4') & ~cr4);
      h.updateMode();
      h.set32('mxcsr', 0x1d80); // divide by zero unmasked
      h.xmm(1).set([0, 0, 0x80, 0x3f]);
      h.xmm(2).fill(0);
      expect(vectorOf('f3 0f 5e ca')).toBe(vector);
      expect(h.xmm(1).slice(0, 4)).toEqual(Uint8Array.of(0, 0, 0x80, 0x3f));
      expect(h.get32('mxcsr')).toBe(0x1d84);
    }
  });

  it('touches no byte outside of its operand', () => {
    h.setMode('long64', { paging: true });
    h.setPage(0x5000, 0);
    const at = (size: number) => h.setGpr(6, 0x5000 - size);
    const sizes: [string, number][] = [
      ['0f 12 0e', 8], ['0f 13 0e', 8], ['0f 16 0e', 8], ['f3 0f 10 0e', 4], ['f2 0f 11 0e', 8], ['f3 0f 58 0e', 4], ['66 0f 38 30 0e', 8], ['66 0f 38 31 0e', 4],
      ['66 0f 38 32 0e', 2], ['0f 60 0e', 4], ['0f 68 0e', 8], ['66 0f c4 0e 01', 2], ['66 0f 3a 20 0e 01', 1], ['66 0f 3a 14 0e 01', 1], ['66 0f 3a 15 0e 01', 2],
      ['66 0f 6e 0e', 4], ['66 48 0f 6e 0e', 8], ['66 0f d6 0e', 8], ['0f 5a 0e', 8], ['f3 0f e6 0e', 8], ['f2 0f 12 0e', 8], ['66 0f 3a 21 0e 00', 4], ['0f ae 1e', 4],
    ];
    h.set32('mxcsr', 0x1f80);
    for (const [code, size] of sizes) {
      at(size);
      expect(vectorOf(code), code).toBeUndefined();
      at(size - 1);
      expect(vectorOf(code), `${code} across the edge`).toBe(PF);
    }
    h.setGpr(7, 0x4ff8);
    h.set(0x4ff8, new Uint8Array(8));
    h.xmm(2).fill(0);
    h.xmm(1).fill(0x11);
    expect(vectorOf('66 0f f7 ca')).toBeUndefined();
    h.xmm(2)[7] = 0x80;
    expect(vectorOf('66 0f f7 ca')).toBeUndefined();
    expect(h.get(0x4ff8, 8)).toEqual(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0x11));
    h.xmm(2)[8] = 0x80;
    expect(vectorOf('66 0f f7 ca')).toBe(PF);
  });

  it('writes nothing when a packed store faults', () => {
    h.setMode('long64', { paging: true });
    h.setPage(0x5000, 0);
    h.set(0x4ff8, [0, 0, 0, 0, 0, 0, 0, 0]);
    h.xmm(1).fill(0x22);
    h.setGpr(6, 0x4ff8);
    expect(vectorOf('0f 11 0e')).toBe(PF);
    expect(h.get(0x4ff8, 8)).toEqual(new Uint8Array(8));
  });

  it('loads and stores MXCSR, and refuses reserved bits', () => {
    h.setMode('long64');
    h.setGpr(6, BUFFER);
    h.set(BUFFER, [0xbf, 0xff, 0, 0]);
    expect(vectorOf('0f ae 16')).toBeUndefined();
    expect(h.get32('mxcsr')).toBe(0xffbf);
    expect(vectorOf('0f ae 1e')).toBeUndefined();
    h.set(BUFFER, [0x80, 0x1f, 1, 0]);
    expect(vectorOf('0f ae 16')).toBe(GP);
    expect(h.get32('mxcsr')).toBe(0xffbf);
  });

  it('puts the x87 unit into MMX mode and out of it', () => {
    h.setMode('long64');
    h.set32('fpuStatus', 5 << 11);
    h.set32('fpuTags', 0xff);
    h.st(1).fill(0);
    expect(vectorOf('0f 6f ca')).toBeUndefined();
    expect(h.get32('fpuStatus') & 0x3800).toBe(0);
    expect(h.get32('fpuTags')).toBe(0);
    expect(h.st(1).slice(8)).toEqual(Uint8Array.of(0xff, 0xff));
    expect(vectorOf('0f 77')).toBeUndefined();
    expect(h.get32('fpuTags')).toBe(0xff);
  });

  it('leaves the x87 unit alone when the MMX operand faults', () => {
    h.setMode('long64', { paging: true });
    h.setPage(0x5000, 0);
    h.set32('fpuStatus', 5 << 11);
    h.set32('fpuTags', 0xff);
    h.setGpr(6, 0x5000);
    expect(vectorOf('0f fc 0e')).toBe(PF);
    expect([h.get32('fpuStatus'), h.get32('fpuTags')]).toEqual([5 << 11, 0xff]);
  });

  it('refuses encodings that do not exist', () => {
    h.setMode('long64');
    h.setGpr(6, BUFFER);
    const codes = [
      'f2 0f 28 ca', '0f 50 0e', '66 0f d7 0e', '0f 13 ca', '66 0f 12 ca', '0f 2b ca', 'f3 0f d6 0e', '0f d6 ca', '0f 6c ca', 'f2 0f 6f ca', '0f 71 ca 01', '0f 73 da 01',
      '66 0f 71 c2 01', '0f ae 26', '0f ae 2e', '0f ae 36', '0f 38 20 ca', '66 0f 38 0c ca', '0f 3a 08 ca 00', '66 0f 3a 04 ca 00', '0f 7c ca', 'f2 0f 2e ca',
      'f3 0f c6 ca 00', '66 0f 38 c8 ca', '0f 38 dc ca', '66 0f 3a cc ca 00', 'f3 0f f0 0e', 'f2 0f f0 ca', '0f 38 17 ca', '0f ff ca',
    ];
    for (const code of codes) expect(h.run(hex(code), { max: 1 }).fault, code).toMatchObject({ vector: UD, rip: BigInt(CODE) });
  });

  it('reaches all sixteen XMM registers, and only eight MMX registers', () => {
    h.setMode('long64');
    h.xmm(9).fill(1);
    h.xmm(14).fill(2);
    expect(vectorOf('66 45 0f fc ce')).toBeUndefined(); // paddb xmm9, xmm14
    expect(h.xmm(9)).toEqual(new Uint8Array(16).fill(3));
    h.st(1).fill(1, 0, 8);
    h.st(6).fill(2, 0, 8);
    expect(vectorOf('45 0f fc ce')).toBeUndefined(); // paddb mm1, mm6
    expect(h.st(1).slice(0, 8)).toEqual(new Uint8Array(8).fill(3));
    h.setGpr(14, 0x1234_5678_9abc_def0n);
    expect(vectorOf('66 4d 0f 6e ce')).toBeUndefined(); // movq xmm9, r14
    expect(new BigUint64Array(h.memory.buffer, h.xmm(9).byteOffset, 2)[0]).toBe(0x1234_5678_9abc_def0n);
    expect(vectorOf('66 41 0f d7 c1')).toBeUndefined(); // pmovmskb eax, xmm9
    expect(h.getGpr(0)).toBe(0b0000_1111n & 0xffn);
  });

  it('works in 16-bit and 32-bit code', () => {
    for (const mode of ['real16', 'prot16', 'prot32', 'compat32'] as const) {
      h.setMode(mode);
      h.setGpr(6, BUFFER);
      h.setGpr(7, BUFFER);
      h.set(BUFFER, Array.from({ length: 16 }, (_, k) => k));
      const [rsi, code] = mode.endsWith('16') ? ['0c', 0x8000] as const : ['0e', CODE] as const; // [si] or [esi]
      expect(h.run(hex(`66 0f 6f ${rsi} 66 0f 73 d9 04 66 0f 7e c8`), { at: code }).fault).toBeUndefined();
      expect(h.getGpr(0), mode).toBe(0x0706_0504n);
    }
  });

  it('approximates reciprocals within 1.5 * 2^-12', () => {
    h.setMode('long64');
    const view = new DataView(h.memory.buffer, h.xmm(0).byteOffset, 48);
    for (let k = 1; k <= 500; k++) {
      const x = Math.fround(k * 1.37 ** (k % 80));
      view.setFloat32(32, x, true);
      h.run(hex('f3 0f 53 ca f3 0f 52 c2'));
      expect(Math.abs(view.getFloat32(16, true) * x - 1)).toBeLessThan(1.5 * 2 ** -12);
      expect(Math.abs(view.getFloat32(0, true) * Math.sqrt(x) - 1)).toBeLessThan(1.5 * 2 ** -12);
    }
    // Operand, RCPSS, RSQRTSS: as the host has them.
    const special = [
      [0, 0x7f800000, 0x7f800000], [0x80000000, 0xff800000, 0xff800000], [0x007fffff, 0x7f800000, 0x7f800000], [0x7f7fffff, 0, 0x1f800000],
      [0xff7fffff, 0x80000000, 0xffc00000], [0x7f800000, 0, 0], [0xff800000, 0x80000000, 0xffc00000], [0x7f800001, 0x7fc00001, 0x7fc00001],
    ] as const;
    h.set32('mxcsr', 0);
    for (const [x, rcp, rsqrt] of special) {
      view.setUint32(32, x, true);
      expect(h.run(hex('f3 0f 53 ca f3 0f 52 c2')).fault).toBeUndefined();
      expect([view.getUint32(16, true), view.getUint32(0, true)], x.toString(16)).toEqual([rcp, rsqrt]);
    }
    expect(h.get32('mxcsr')).toBe(0);
  });
});
