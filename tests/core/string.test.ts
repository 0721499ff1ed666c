// String instructions: bulk passes against an element-by-element model, faults in the middle, what ends a pass.
import { expect, it } from 'vitest';
import { random } from '../../tools/fixtures/int-gen-forms.mjs';
import { CoreHarness, type CoreMode } from '../support/core-harness.js';
import { describeEngine } from '../support/engines.js';

const CODE = 0x10_0000;
const AREA = 0x20_0000;
const AREA_BYTES = 0x1_0000;
const RAX = 0, RCX = 1, RSI = 6, RDI = 7;
const DF = 0x400, ZF = 0x40;
const OPS = { movs: 0xa4, cmps: 0xa6, stos: 0xaa, lods: 0xac, scas: 0xae };
type Op = keyof typeof OPS;

interface Case {
  op: Op;
  rep: 0 | 0xf3 | 0xf2;
  /** Bytes of an element. */
  size: number;
  down: boolean;
  /** Bits of the index registers. */
  width: 16 | 32 | 64;
  si: number;
  di: number;
  count: number;
  acc: bigint;
}

/** The encoding in code of `bits`. */
const encode = (c: Case, bits: 16 | 32 | 64): number[] => {
  const out: number[] = [];
  if (c.size === (bits === 16 ? 4 : 2)) out.push(0x66);
  if (c.width !== bits) out.push(0x67);
  if (c.rep) out.push(c.rep);
  if (c.size === 8) out.push(0x48);
  return [...out, OPS[c.op] + (c.size > 1 ? 1 : 0)];
};

/** One element after the other in a copy of the area, with indexes relative to it. */
const model = (memory: Uint8Array, c: Case) => {
  const view = new DataView(memory.buffer);
  const at = (index: number) => index - (c.width === 16 ? 0 : AREA);
  const read = (index: number) => {
    let v = 0n;
    for (let k = c.size - 1; k >= 0; k--) v = (v << 8n) | BigInt(memory[at(index) + k]);
    return v;
  };
  const write = (index: number, v: bigint) => {
    for (let k = 0; k < c.size; k++) view.setUint8(at(index) + k, Number((v >> BigInt(8 * k)) & 0xffn));
  };
  const mask = (1n << BigInt(8 * c.size)) - 1n;
  let { si, di, count, acc } = c;
  let zero: boolean | undefined;
  const wrap = (v: number) => (c.width === 16 ? v & 0xffff : v);
  const step = c.down ? -c.size : c.size;
  let left = c.rep ? count : 1;
  while (left > 0) {
    left--;
    if (c.op === 'movs') write(di, read(si));
    else if (c.op === 'stos') write(di, acc & mask);
    else if (c.op === 'lods') acc = c.size === 4 ? read(si) : (acc & ~mask) | read(si);
    else zero = c.op === 'cmps' ? read(si) === read(di) : (acc & mask) === read(di);
    if (c.op !== 'stos' && c.op !== 'scas') si = wrap(si + step);
    if (c.op !== 'lods') di = wrap(di + step);
    if (c.rep) count--;
    if (c.rep && zero !== undefined && zero !== (c.rep === 0xf3)) break;
  }
  return { si, di, count, acc, zero };
};

const fillArea = (r: () => number, uniform: boolean): Uint8Array => {
  const bytes = new Uint8Array(AREA_BYTES);
  const byte = r() & 0xff;
  for (let k = 0; k < AREA_BYTES; k++) bytes[k] = uniform && r() % 3000 ? byte : r();
  return bytes;
};

const runModel = (core: CoreHarness, bits: 16 | 32 | 64, widths: (16 | 32 | 64)[], seed: number, cases: number, step?: number) => {
  const r = random(seed);
  const sizes = bits === 64 ? [1, 1, 2, 4, 8] : [1, 1, 2, 4];
  for (let n = 0; n < cases; n++) {
    const width = widths[r() % widths.length];
    const size = sizes[r() % sizes.length];
    const op = (Object.keys(OPS) as Op[])[r() % 5];
    const count = [r() % 20, r() % 100, r() % 1000, Math.floor((r() % 14_000) / size)][r() % 4];
    const down = r() % 3 === 0;
    const reach = Math.max(1, count) * size;
    const place = () => (width === 16 ? 0 : AREA) + (down ? reach - size : 0) + (r() % (AREA_BYTES - reach - 8));
    const si = place();
    const near = r() % 2 ? si + (r() % 80) - 40 : place();
    const inside = near - (width === 16 ? 0 : AREA) - (down ? reach : 0);
    const di = inside < 0 || inside + reach > AREA_BYTES - 8 ? place() : near;
    const memory = fillArea(r, op === 'cmps' || op === 'scas');
    const acc = op === 'scas' && r() % 4 ? BigInt(memory[5]) * 0x0101_0101_0101_0101n : (BigInt(r()) << 32n) | BigInt(r());
    const c: Case = { op, rep: r() % 8 === 0 ? 0 : r() & 1 ? 0xf3 : 0xf2, size, down, width, si, di, count, acc: bits === 64 ? acc : acc & 0xffff_ffffn };
    core.set(AREA, memory);
    const code = encode(c, bits);
    core.load(code, CODE);
    const values: [number, bigint][] = [[RAX, c.acc], [RCX, BigInt(count)], [RSI, BigInt(si)], [RDI, BigInt(di)]];
    for (const [reg, value] of values) core.setGpr(reg, value);
    core.flags = 2 | (down ? DF : 0);
    const expected = model(memory, c);
    let { fault } = step ? { fault: undefined } : core.start(CODE, code.length, 100_000);
    if (step) {
      core.rip = CODE - Number(core.get64('csBase'));
      for (let passes = 0; passes < 50_000 && !fault; passes += step) fault = core.go(step).fault;
      if (fault?.vector === 6) fault = undefined;
    }
    const got = {
      fault, si: core.getGpr(RSI), di: core.getGpr(RDI), count: core.getGpr(RCX), acc: core.getGpr(RAX),
      zero: expected.zero === undefined ? undefined : (core.flags & ZF) !== 0,
    };
    const label = JSON.stringify({ n, ...c, acc: c.acc.toString(16) });
    expect(got, label).toEqual({
      fault: undefined, si: BigInt(expected.si), di: BigInt(expected.di), count: BigInt(expected.count), acc: expected.acc, zero: expected.zero,
    });
    if (Buffer.compare(core.get(AREA, AREA_BYTES), memory) !== 0) {
      const actual = core.get(AREA, AREA_BYTES);
      const first = actual.findIndex((b, k) => b !== memory[k]);
      expect.fail(`memory differs at ${first.toString(16)}: ${label}`);
    }
  }
};

describeEngine('bulk passes against the model', () => {
  const make = (mode: CoreMode, checked = false) => {
    const core = new CoreHarness();
    core.setMode(mode, { checked });
    return core;
  };
  it('64-bit code', () => runModel(make('long64'), 64, [64, 32], 1, 600));
  it('64-bit code, stopping behind each pass', () => runModel(make('long64'), 64, [64, 32], 2, 60, 1));
  it('32-bit code', () => runModel(make('prot32'), 32, [32], 3, 400));
  it('32-bit code with segment checks', () => runModel(make('prot32', true), 32, [32], 4, 400));
  it('16-bit indexes', () => {
    for (const [mode, bits] of [['prot32', 32], ['real16', 16]] as const) {
      const core = make(mode);
      const codeBase = mode === 'real16' ? CODE : 0;
      core.setMode(mode, { codeBase });
      for (const s of ['ds', 'es'] as const) core.setSegment(s, 0x10, AREA, 0xffff, 0x0093);
      core.updateMode();
      runModel(core, bits, [16], 5, 300);
    }
  });
});

describeEngine('faults in the middle', () => {
  const paged = (mode: CoreMode = 'long64') => {
    const core = new CoreHarness();
    core.setMode(mode, { paging: true, cpl: 3 });
    return core;
  };
  const start = (core: CoreHarness, code: number[], regs: Partial<Record<number, number>>, flags = 2) => {
    core.load(code, CODE);
    for (const [reg, value] of Object.entries(regs)) core.setGpr(Number(reg), value ?? 0);
    core.flags = flags;
    return core.start(CODE, code.length, 100_000);
  };

  it('REP MOVSB stops at the first missing byte of the source', () => {
    const core = paged();
    core.ram.fill(0x5a, AREA, AREA + 0x2000);
    core.setPage(AREA + 0x1000, 0x66);
    const { fault } = start(core, [0xf3, 0xa4], { [RCX]: 0x100, [RSI]: AREA + 0xff0, [RDI]: AREA + 0x3008 });
    expect(fault).toEqual({ vector: 14, code: 4, rip: BigInt(CODE) });
    expect(core.get64('cr2')).toBe(BigInt(AREA + 0x1000));
    expect([core.getGpr(RCX), core.getGpr(RSI), core.getGpr(RDI)]).toEqual([0xf0n, BigInt(AREA + 0x1000), BigInt(AREA + 0x3018)]);
    expect([...core.get(AREA + 0x3007, 18)]).toEqual([0, ...new Array<number>(16).fill(0x5a), 0]);
    core.setPage(AREA + 0x1000, 0x67);
    expect(core.start(CODE, 2, 1000).fault).toBeUndefined();
    expect(core.getGpr(RCX)).toBe(0n);
    expect(core.get(AREA + 0x3008, 0x100).every((b) => b === 0x5a)).toBe(true);
  });

  it('REP STOSD does not write half of an element that crosses into a read-only page', () => {
    const core = paged();
    core.setPage(AREA + 0x1000, 0x65);
    const { fault } = start(core, [0xf3, 0xab], { [RAX]: 0x0102_0304, [RCX]: 8, [RDI]: AREA + 0xff6 });
    expect(fault).toEqual({ vector: 14, code: 7, rip: BigInt(CODE) });
    expect(core.get64('cr2')).toBe(BigInt(AREA + 0x1000));
    expect([core.getGpr(RCX), core.getGpr(RDI)]).toEqual([6n, BigInt(AREA + 0xffe)]);
    expect([...core.get(AREA + 0xff6, 12)]).toEqual([4, 3, 2, 1, 4, 3, 2, 1, 0, 0, 0, 0]);
  });

  it('downwards, and for REPE CMPS and REPNE SCAS', () => {
    const core = paged();
    core.setPage(AREA, 0x66);
    const down = start(core, [0xf3, 0x48, 0xa5], { [RCX]: 10, [RSI]: AREA + 0x1010, [RDI]: AREA + 0x3000 }, 2 | DF);
    expect(down.fault).toMatchObject({ vector: 14, code: 4 });
    expect([core.getGpr(RCX), core.getGpr(RSI), core.getGpr(RDI)]).toEqual([7n, BigInt(AREA + 0xff8), BigInt(AREA + 0x2fe8)]);
    const compare = start(core, [0xf3, 0xa6], { [RCX]: 10, [RSI]: AREA + 0x1004, [RDI]: AREA + 0x3000 }, 2 | DF);
    expect(compare.fault).toMatchObject({ vector: 14, code: 4 });
    expect([core.getGpr(RCX), core.getGpr(RSI)]).toEqual([5n, BigInt(AREA + 0xfff)]);
    core.ram.fill(1, AREA + 0x1000, AREA + 0x1010);
    const scan = start(core, [0xf2, 0xae], { [RAX]: 0, [RCX]: 10, [RDI]: AREA + 0x1003 }, 2 | DF);
    expect(scan.fault).toMatchObject({ vector: 14, code: 4 });
    expect([core.getGpr(RCX), core.getGpr(RDI)]).toEqual([6n, BigInt(AREA + 0xfff)]);
  });

  it('at a segment limit: #GP for the first element beyond it', () => {
    const core = new CoreHarness();
    core.setMode('prot32');
    core.setSegment('es', 0x10, AREA, 0x8ff, 0x4093);
    core.updateMode();
    const up = start(core, [0xf3, 0xab], { [RAX]: -1, [RCX]: 100, [RDI]: 0x8e2 });
    expect(up.fault).toEqual({ vector: 13, code: 0, rip: BigInt(CODE) });
    expect([core.getGpr(RCX), core.getGpr(RDI)]).toEqual([93n, 0x8fen]);
    core.setSegment('es', 0x10, AREA, 0x8ff, 0x4097); // expand-down: 0x900 up to 4 GiB
    core.updateMode();
    const low = start(core, [0xf3, 0xaa], { [RCX]: 100, [RDI]: 0x905 }, 2 | DF);
    expect(low.fault).toMatchObject({ vector: 13, code: 0 });
    expect([core.getGpr(RCX), core.getGpr(RDI)]).toEqual([94n, 0x8ffn]);
    const above = start(core, [0xf3, 0xaa], { [RCX]: 100, [RDI]: 0x905 });
    expect(above.fault).toBeUndefined();
  });

  it('a write to a read-only segment and a read through SS', () => {
    const core = new CoreHarness();
    core.setMode('prot32');
    core.setSegment('es', 0x10, 0, 0xffff_ffff, 0xc091);
    core.setSegment('ss', 0x10, 0, 0xff, 0x4093);
    core.updateMode();
    expect(start(core, [0xf3, 0xa4], { [RCX]: 4, [RSI]: AREA, [RDI]: AREA }).fault).toEqual({ vector: 13, code: 0, rip: BigInt(CODE) });
    expect(start(core, [0x36, 0xf3, 0xac], { [RCX]: 4, [RSI]: AREA }).fault).toEqual({ vector: 12, code: 0, rip: BigInt(CODE) });
    expect(core.getGpr(RCX)).toBe(4n);
  });
});

describeEngine('passes', () => {
  it('end at multiples of 64 KiB of the destination, wherever they were resumed', () => {
    for (const [offset, size, down] of [[0, 1, false], [1, 1, false], [0xfffe, 4, false], [0x8000, 4, true], [3, 2, true]] as const) {
      const core = new CoreHarness();
      const code = size === 2 ? [0x66, 0xf3, 0xa5] : [0xf3, size === 1 ? 0xa4 : 0xa5];
      const count = 0x2_8000 / size;
      const begin = 0x30_0000 + offset;
      core.load(code, CODE);
      core.setGpr(RCX, count);
      core.setGpr(RSI, AREA + 0x123);
      core.setGpr(RDI, begin);
      core.flags = 2 | (down ? DF : 0);
      let passes = 0;
      for (let k = 0, page = -1; k < count; k++, passes++) {
        for (page = (begin + (down ? -k : k) * size) >> 16; k + 1 < count && (begin + (down ? -k - 1 : k + 1) * size) >> 16 === page; k++);
      }
      expect(core.start(CODE, code.length).instructions).toBe(passes);
      // a fault in the middle of a pass does not move its end
      core.setMode('long64', { paging: true });
      core.load(code, CODE);
      core.setGpr(RCX, count);
      core.setGpr(RSI, AREA + 0x123);
      core.setGpr(RDI, begin);
      core.flags = 2 | (down ? DF : 0);
      const missing = (begin + (down ? -0x5000 : 0x5000)) & ~0xfff;
      core.setPage(missing, 0x66);
      const first = core.start(CODE, code.length);
      expect(first.fault).toMatchObject({ vector: 14 });
      core.setPage(missing, 0x67);
      const second = core.start(CODE, code.length);
      expect(second.fault).toBeUndefined();
      expect(first.instructions + second.instructions).toBe(passes);
    }
  });

  it('take one element each while TF is set', () => {
    const core = new CoreHarness();
    core.load([0xf3, 0xab], CODE);
    core.setGpr(RCX, 10);
    core.setGpr(RDI, AREA);
    core.flags = 0x102;
    core.updateMode();
    core.rip = CODE;
    core.go(1);
    expect([core.getGpr(RCX), core.getGpr(RDI), core.rip]).toEqual([9n, BigInt(AREA + 4), BigInt(CODE)]);
  });

  it('a count of 0 touches nothing, not even the upper halves', () => {
    const core = new CoreHarness();
    core.load([0x67, 0xf3, 0xa4], CODE);
    for (const reg of [RCX, RSI, RDI]) core.setGpr(reg, 0x1234_5678_0000_0000n);
    expect(core.start(CODE, 3).fault).toBeUndefined();
    for (const reg of [RCX, RSI, RDI]) expect(core.getGpr(reg)).toBe(0x1234_5678_0000_0000n);
  });

  it('reach memory-mapped devices element by element', () => {
    const core = new CoreHarness();
    const seen: [number, number, number][] = [];
    core.bus = { mmioWrite: (phys, size, value) => void seen.push([phys, size, value]), mmioRead: (phys) => (phys & 0xff) * 0x0101 };
    core.load([0xf3, 0x66, 0xa5], CODE);
    core.set(AREA, [1, 2, 3, 4, 5, 6]);
    core.setGpr(RCX, 3);
    core.setGpr(RSI, AREA);
    core.setGpr(RDI, 0xe000_0000);
    expect(core.start(CODE, 3).fault).toBeUndefined();
    expect(seen).toEqual([[0xe000_0000, 2, 0x0201], [0xe000_0002, 2, 0x0403], [0xe000_0004, 2, 0x0605]]);
    core.setGpr(RCX, 3);
    core.setGpr(RSI, 0xe000_0010);
    core.setGpr(RDI, AREA);
    core.start(CODE, 3);
    expect([...core.get(AREA, 6)]).toEqual([0x10, 0x10, 0x12, 0x12, 0x14, 0x14]);
  });

  it('see code that they overwrite', () => {
    const core = new CoreHarness();
    // add eax, 1 runs once; then REP STOSB turns it into nops and a jump runs the place again
    const code = [0x83, 0xc0, 0x01, 0xff, 0xcb, 0x74, 0x04, 0xf3, 0xaa, 0xeb, 0xf5];
    core.load(code, CODE);
    core.setGpr(RAX, 0x8f);
    core.setGpr(3, 2);
    core.setGpr(RCX, 3);
    core.setGpr(RDI, CODE);
    expect(core.start(CODE, code.length).fault).toBeUndefined();
    expect([...core.get(CODE, 3)]).toEqual([0x90, 0x90, 0x90]);
    expect(core.getGpr(RAX)).toBe(0x90n);
  });
});
