// What lives long: more code than fits the compiler's table, over and over.
import { describe, expect, it } from 'vitest';
import { CoreHarness } from '../support/core-harness.js';

const CODE = 0x10_0000;
const LIVE = 48;
const RAX = 0, RCX = 1;
const dword = (value: number): number[] => [0, 8, 16, 24].map(shift => (value >> shift) & 255);

/** add eax, n; dec ecx; jne; then the next one, 64 bytes on; HLT behind the last. */
const place = (core: CoreHarness, count: number, add: number): void => {
  for (let n = 0; n < count; n++) core.set(CODE + 64 * n, [0x05, ...dword(n + add), 0xff, 0xc9, 0x75, 0xf7, 0xb9, ...dword(3), 0xeb, 0x40 - 16]);
  core.set(CODE + 64 * count, [0xf4]);
};
const table = (core: CoreHarness): number => (core.core as unknown as { table: WebAssembly.Table }).table.length;

describe('thousands of regions', () => {
  it('come and go in a table of a few, with the right results', () => {
    const core = new CoreHarness(undefined, 'jit', { threshold: 1, batch: 1, maxRegions: LIVE });
    const before = table(core);
    const blocks = 500, rounds = 8;
    for (let round = 0; round < rounds; round++) {
      place(core, blocks, round);
      core.set32('halted', 0);
      core.setGpr(RAX, 0);
      core.setGpr(RCX, 3);
      core.rip = CODE;
      const { halted } = core.go(1_000_000);
      expect(halted).toBe(true);
      expect(core.getGpr(RAX)).toBe(BigInt(3 * (blocks * round + (blocks * (blocks - 1)) / 2)));
      expect(core.core.jitCounter(8)).toBeLessThanOrEqual(LIVE);
    }
    const { regions, modules, resets, executed } = core.jitStats();
    expect(regions).toBeGreaterThan(blocks * rounds);
    expect(modules).toBe(regions);
    expect(resets).toBeGreaterThan((blocks * rounds) / LIVE - 2);
    expect(executed).toBeGreaterThan(blocks * rounds);
    expect(table(core) - before).toBeLessThanOrEqual(Math.max(LIVE, 1024));
  });

  it('are compiled anew a bounded number of times when their page is written to all the time', () => {
    const core = new CoreHarness(undefined, 'jit', { threshold: 2, batch: 1 });
    // mov [CODE + 0x800], eax; inc eax; dec ecx; jne: the data share the page with the code, not the line
    core.set(CODE, [0x89, 0x04, 0x25, ...dword(CODE + 0x800), 0xff, 0xc0, 0xff, 0xc9, 0x75, 0xf3, 0xf4]);
    core.setGpr(RAX, 0);
    core.setGpr(RCX, 50_000);
    core.rip = CODE;
    expect(core.go(1_000_000).halted).toBe(true);
    expect(core.getGpr(RAX)).toBe(50_000n);
    const { regions, dropped } = core.jitStats();
    expect(dropped).toBe(0);
    expect(regions).toBeLessThanOrEqual(4);
  });
});
