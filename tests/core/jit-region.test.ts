// What regions take in.
import { expect, it } from 'vitest';
import type { CompiledModule } from '../../src/host/jit-linker.js';
import { CoreHarness } from '../support/core-harness.js';

it('a region takes in a function whose own region waits to be made live', () => {
  const core = new CoreHarness(undefined, 'jit', { threshold: 100, batch: 64, regrowAfter: 0x7fff_ffff });
  core.setMode('prot32');
  core.setGpr(4, 0x8000);
  // The function is executed once more than the loop, so it is hot first.
  const code = [
    0xe8, 0x0d, 0, 0, 0, // call f
    0xb9, 0, 0, 0x10, 0, // mov ecx, 100000h
    0xe8, 3, 0, 0, 0, // again: call f
    0x49, 0x75, 0xf8, // dec ecx; jnz again
    0x40, 0xc3, // f: inc eax; ret
  ];
  // END_MARK must not be f
  code.splice(18, 0, 0x0f, 0x0b);
  code[1] += 2;
  code[11] += 2;
  core.load(code);
  core.rip = 0x10_0000;
  let instructions = 0;
  for (;;) {
    const { fault, instructions: n } = core.go(200_000);
    instructions += n;
    if (fault !== undefined) break;
  }
  expect(core.getGpr(0)).toBe(0x10_0001n);
  expect(instructions).toBe(4 + 5 * 0x10_0000);
  const { executed, entries } = core.jitStats();
  // at worst each budget begins anew
  expect(executed / entries).toBeGreaterThan(1000);
});

it('the host is told what a region was compiled from, and how far that is from its entry', () => {
  const regions: CompiledModule['regions'][number][] = [];
  const core = new CoreHarness(undefined, 'jit', { threshold: 10, batch: 1, onModule: module => regions.push(...module.regions) });
  core.setMode('prot32');
  core.setGpr(1, 100);
  // again: test cl, 1; jz even; inc eax; even: dec ecx; jnz again
  core.run([0xf6, 0xc1, 1, 0x74, 1, 0x40, 0x49, 0x75, 0xf7]);
  expect(core.getGpr(0)).toBe(50n);
  const largest = regions.reduce((a, b) => (b.blocks.length > a.blocks.length ? b : a));
  expect(largest.blocks.length).toBeGreaterThan(2);
  const entry = largest.blocks[0].phys;
  for (const { phys, delta } of largest.blocks) expect(delta).toBe(phys - entry);
});
