// The TLB as both engines see it: compiled code asks one of its tables where the interpreter asks two (assembly/mmu/tlb.ts), which nobody may notice. Even
// where page tables are changed without the invalidation that they need, accessed and dirty bits and what is read must be the same.
import { expect, it } from 'vitest';
import { type CoreHarness, TABLES } from '../support/core-harness.js';
import { EnginePair, hex } from '../support/engine-pair.js';
import { Random } from '../support/random.js';

const [RAX, RCX, RDX, RSI, RDI] = [0, 1, 2, 6, 7];
const RAM = 32 << 20;
const FAR = 0x100_0000; // pages so far from each other have the same entry of the TLB
const SPACE_B = 0x68_0000;
const SPACE_PAGES = 3 + RAM / (2 << 20);
const INVPCID = 0x2_0000;
const PAGES = [0x30_0000, 0x30_0000 + FAR, 0x31_0000, 0x31_0000 + FAR, 0x32_0000, 0x32_0000 + FAR, 0x33_0000];
const FRAMES = [0x80_0000, 0x80_1000, 0x80_2000, 0x80_3000];
const [PRESENT, WRITE, ACCESSED, DIRTY, GLOBAL] = [1, 2, 0x20, 0x40, 0x100];
const NOFLUSH = 1n << 63n;

const code = (at: number, text: string): { at: number; bytes: number[] } => ({ at, bytes: hex(text) });
const READ = code(0x10_0000, '8b 06'); // mov eax, [rsi]
const STORE = code(0x10_0100, '89 16'); // mov [rsi], edx
const WINDOWS = [
  code(0x10_0200, '8b 06  89 46 08  8b 4e 04'), // mov eax, [rsi]; mov [rsi+8], eax; mov ecx, [rsi+4]
  code(0x10_0300, '89 56 04  8b 06  03 46 08'), // mov [rsi+4], edx; mov eax, [rsi]; add eax, [rsi+8]
  code(0x10_0400, '8b 06  8b 0f  89 56 04  8b 47 04  89 57 08  03 46 08'), // the same of rsi and rdi in turn
  code(0x10_0500, '8b 06  01 46 08  0f 01 3e  8b 4e 04  01 4e 0c'), // with invlpg [rsi] between them
];
const LOAD_CR3 = code(0x10_0600, '0f 22 d8'); // mov cr3, rax
const DROP_PAGE = code(0x10_0700, '0f 01 3e'); // invlpg [rsi]
const DROP_PCID = code(0x10_0800, '66 0f 38 82 06'); // invpcid rax, [rsi]
const ALL = [READ, STORE, ...WINDOWS, LOAD_CR3, DROP_PAGE, DROP_PCID];

const entryAt = (root: number, lin: number): number => root + 0x3000 + (lin >>> 12) * 8;

const prepare = (core: CoreHarness): void => {
  core.set64('cr4', core.get64('cr4') | 0x2_0080n); // PCIDE, PGE
  core.set64('cr3', TABLES | 1);
  const view = new DataView(core.ram.buffer, core.ram.byteOffset);
  for (let lin = 0; lin < RAM; lin += 0x1000) view.setBigUint64(entryAt(TABLES, lin), BigInt(lin | GLOBAL | 0x67), true);
  for (const lin of PAGES) view.setBigUint64(entryAt(TABLES, lin), BigInt(FRAMES[(lin >> 16) & 3] | 7 | ((lin & 0x1_0000) !== 0 ? GLOBAL : 0)), true);
  core.ram.copyWithin(SPACE_B, TABLES, TABLES + SPACE_PAGES * 0x1000);
  for (let at = SPACE_B; at < SPACE_B + 0x3000; at += 8) {
    const entry = Number(view.getBigUint64(at, true));
    if ((entry & PRESENT) !== 0) view.setBigUint64(at, BigInt(entry + SPACE_B - TABLES), true);
  }
  for (const { at, bytes } of ALL) core.load(bytes, at);
  FRAMES.forEach((at, n) => core.ram.fill(n + 1, at, at + 0x100));
  core.updateMode();
  core.core.flushAll(0);
};

const check = (pair: EnginePair): string => {
  const [interp, jit] = pair.cores.map(core => {
    const gprs = [RAX, RCX, RDX].map(n => core.getGpr(n).toString(16)).join(' ');
    const entries = [TABLES, SPACE_B].map(root => PAGES.map(lin => new DataView(core.ram.buffer, core.ram.byteOffset).getUint32(entryAt(root, lin), true).toString(16)).join(' '));
    return `${gprs}; ${entries.join('; ')}; ${FRAMES.map(at => Buffer.from(core.get(at, 16)).toString('hex')).join(' ')}; cr2 ${core.get64('cr2').toString(16)}`;
  });
  return interp === jit ? '' : `interp ${interp}\njit    ${jit}`;
};

const run = (pair: EnginePair, { at, bytes }: { at: number; bytes: number[] }, gprs: Readonly<Record<number, number | bigint>>): void => {
  pair.setGprs(gprs);
  const [interp, jit] = pair.cores.map(core => core.start(at, bytes.length));
  expect(jit).toEqual(interp);
};

it('a global page that came where another one was read is dropped in both tables, or in none', () => {
  const pair = new EnginePair('long64', { paging: true, ramBytes: RAM });
  pair.each(prepare);
  const [local, global] = [0x31_0000 + FAR, 0x31_0000];
  pair.set32(entryAt(TABLES, local), FRAMES[0] | 7);
  run(pair, READ, { [RSI]: local });
  run(pair, STORE, { [RSI]: global, [RDX]: 5 });
  run(pair, LOAD_CR3, { [RAX]: TABLES | 1 });
  pair.each(core => {
    core.ram[entryAt(TABLES, global)] &= ~(ACCESSED | DIRTY);
  });
  run(pair, WINDOWS[0], { [RSI]: global });
  expect(check(pair)).toBe('');
});

it.each([1, 2, 3, 4])('random accesses, changes and invalidations, seed %d', seed => {
  const random = new Random(seed * 7919);
  const pair = new EnginePair('long64', { paging: true, ramBytes: RAM });
  pair.each(prepare);
  const log: string[] = [];
  for (let n = 0; n < 1500; n++) {
    const [first, second] = [random.pick(PAGES), random.pick(PAGES)];
    const root = random.pick([TABLES, SPACE_B]);
    const gprs = { [RSI]: first, [RDI]: second, [RDX]: random.u32() };
    const kind = random.below(20);
    log.push(`${kind} ${first.toString(16)} ${second.toString(16)} ${root === TABLES ? 'A' : 'B'}`);
    if (kind < 2) run(pair, READ, gprs);
    else if (kind < 4) run(pair, STORE, gprs);
    else if (kind < 10) run(pair, random.pick(WINDOWS), gprs);
    else if (kind < 13) run(pair, LOAD_CR3, { [RAX]: BigInt(root | (root === TABLES ? 1 : 2)) | (random.below(4) ? NOFLUSH : 0n) });
    else if (kind < 14) run(pair, DROP_PAGE, gprs);
    else if (kind < 15) {
      const pcid = random.pick([1n, 2n]);
      pair.each(core => core.ram.set(new Uint8Array(BigUint64Array.of(pcid, BigInt(first)).buffer), INVPCID));
      run(pair, DROP_PCID, { [RSI]: INVPCID, [RAX]: random.below(4) });
    } else {
      const at = entryAt(root, first);
      const clear = random.pick([ACCESSED, DIRTY, ACCESSED | DIRTY, 0]);
      const flip = random.pick([0, 0, WRITE, GLOBAL, 0x1000, 0x2000, PRESENT]);
      pair.each(core => {
        const view = new DataView(core.ram.buffer, core.ram.byteOffset);
        view.setUint32(at, (view.getUint32(at, true) & ~clear) ^ flip, true);
      });
      // now and then as it should be done
      if (random.below(2)) run(pair, DROP_PAGE, gprs);
    }
    const difference = check(pair);
    if (difference !== '') expect(`${log.slice(-30).join('\n')}\n${difference}`).toBe('');
  }
  expect(pair.jit.jitStats().entries).toBeGreaterThan(1000);
});
