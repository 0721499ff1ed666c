import { describe, expect, it } from 'vitest';
import { Machine, type MachineExit } from '../../src/host/machine.js';
import { makeElf } from './boot-support.js';
import { coreModule, hasCore } from './machine-support.js';

const LOAD = 0x4000;

/** Boots 32-bit code as a multiboot kernel at 16 KiB; `code` is told its own address. */
const run = (code: (at: number) => number[], debugExitPort = 0xf4): Promise<MachineExit> => {
  const header = [0x02, 0xb0, 0xad, 0x1b, 0, 0, 0, 0, 0xfe, 0x4f, 0x52, 0xe4];
  const data = Uint8Array.from([...header, ...code(LOAD + header.length)]);
  const kernel = makeElf({ bits: 32, entry: LOAD + header.length, segments: [{ phys: LOAD, data }] });
  return new Machine({ core: coreModule(), memoryBytes: 4 << 20, boot: { kind: 'kernel', kernel, name: 'test' }, debugExitPort }).run();
};

describe.skipIf(!hasCore)('kernels of test suites (needs dist/core.wasm: npm run build:core)', () => {
  it('learn the number of processors from the firmware configuration', async () => {
    // out 0x510, ax=5; in al, 0x511; out 0xf4, al
    expect(await run(() => [0x66, 0xb8, 5, 0, 0x66, 0xba, 0x10, 0x05, 0x66, 0xef, 0x42, 0xec, 0xe6, 0xf4, 0xf4])).toMatchObject({ reason: 'debug-exit', code: 3 });
  });

  it('power off as small guests of QEMU do', async () => {
    // mov dx, 0x604; mov ax, 0x2000; out dx, ax
    expect(await run(() => [0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0, 0x20, 0x66, 0xef, 0xf4])).toMatchObject({ reason: 'poweroff' });
  });

  it('go back to real mode and find its interrupt table', async () => {
    const exit = await run(at => {
      const low = (offset: number) => [(at + offset) & 0xff, (at + offset) >> 8];
      return [
        0x0f, 0x01, 0x15, ...low(56), 0, 0, // lgdt
        0xea, ...low(14), 0, 0, 8, 0, // to 16-bit code
        0x0f, 0x20, 0xc0, 0x24, 0xfe, 0x0f, 0x22, 0xc0, 0xea, ...low(27), 0, 0, // protection off
        0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x70,
        0xc7, 0x06, 0x44, 0, ...low(51), 0xc7, 0x06, 0x46, 0, 0, 0, // vector 0x11
        0xcd, 0x11, 0xf4,
        0xb0, 0x2a, 0xe6, 0xf4, 0xf4,
        15, 0, ...low(62), 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0x9b, 0, 0,
      ];
    });
    expect(exit).toMatchObject({ reason: 'debug-exit', code: 0x55 });
  });

  it('may exit by a port of the test device, which then is not there', async () => {
    // out 0xe0, al=7
    const exit = await run(() => [0xb0, 7, 0xe6, 0xe0, 0xf4], 0xe0);
    expect(exit).toMatchObject({ reason: 'debug-exit', code: 15 });
  });

  it('raise interrupt lines by the test device', async () => {
    // The lower PIC's request register shows line 3: out 0x2003, al=1; out 0x20, 0x0a; in al, 0x20; out 0xf4, al
    const exit = await run(() => [0x66, 0xba, 0x03, 0x20, 0xb0, 1, 0xee, 0xb0, 0x0a, 0xe6, 0x20, 0xe4, 0x20, 0x24, 0x08, 0xe6, 0xf4, 0xf4]);
    expect(exit).toMatchObject({ reason: 'debug-exit', code: 0x11 });
  });
});
