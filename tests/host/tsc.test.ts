// A guest that sets its TSC: deadlines that it armed before must still fire at the new TSC value, not at the old instant.
import { describe, expect, it } from 'vitest';
import { readFileSync } from 'node:fs';
import { Machine } from '../../src/host/machine.js';

const core = new WebAssembly.Module(readFileSync(process.env.VMLET_CORE ?? new URL('../../dist/core.wasm', import.meta.url)));

/** Runs 16-bit ROM code, placed at its start, with the reset vector jumping to it, until it writes the debug exit port. */
const runRom = async (code: number[]): Promise<{ code: number | undefined; reason: string }> => {
  const image = new Uint8Array(0x1_0000).fill(0x90);
  image.set(code);
  image.set([0xea, 0x00, 0x00, 0x00, 0xf0], 0xfff0);
  const machine = new Machine({ core, memoryBytes: 16 << 20, time: 'warp', seed: 1, boot: { kind: 'rom', image, name: 'tsc' }, debugExitPort: 0xf4, timeoutNs: 1e9 });
  const exit = await machine.run();
  return { code: exit.code, reason: exit.reason };
};

describe('IA32_TIME_STAMP_COUNTER', () => {
  it('can be set, and time goes on from there', async () => {
    // mov ecx,10h; mov edx,5; xor eax,eax; wrmsr; rdtsc; mov al,dl; out f4h,al
    const exit = await runRom([0x66, 0xb9, 0x10, 0, 0, 0, 0x66, 0xba, 5, 0, 0, 0, 0x66, 0x31, 0xc0, 0x0f, 0x30, 0x0f, 0x31, 0x88, 0xd0, 0xe6, 0xf4]);
    expect(exit).toEqual({ reason: 'debug-exit', code: (5 << 1) | 1 });
  });

  it('shows in TSC_ADJUST', async () => {
    // tsc = 0:0 first, adjust read: high half is all ones (negative); exit with dl & 0x7f
    const exit = await runRom([0x66, 0xb9, 0x10, 0, 0, 0, 0x66, 0x31, 0xd2, 0x66, 0x31, 0xc0, 0x0f, 0x30, 0x66, 0xb9, 0x3b, 0, 0, 0, 0x0f, 0x32, 0x88, 0xd0, 0x24, 0x7f, 0xe6, 0xf4]);
    expect(exit).toEqual({ reason: 'debug-exit', code: (0x7f << 1) | 1 });
  });
});
