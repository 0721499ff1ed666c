import { describe, expect, it } from 'vitest';
import type { BootOptions } from '../../src/host/boot/load.js';
import { Machine, type MachineExit, type MachineOptions } from '../../src/host/machine.js';
import { makeBzImage, makeElf } from './boot-support.js';
import { coreModule, hasCore, TextChar } from './machine-support.js';

const EXIT_PORT = 0xf4;

const boot = async (options: BootOptions, more: Partial<MachineOptions> = {}): Promise<{ exit: MachineExit; machine: Machine; text: string }> => {
  const serial = new TextChar();
  const machine = new Machine({ core: coreModule(), memoryBytes: 64 * 2 ** 20, boot: options, serial: [serial], debugExitPort: EXIT_PORT, timeoutNs: 1e9, ...more });
  return { exit: await machine.run(), machine, text: serial.text };
};

/** mov dx, 0xf4 with a 32-bit operand; out dx, eax; jmp $. */
const EXIT_EAX = [0x66, 0xba, EXIT_PORT, 0x00, 0xef, 0xeb, 0xfe];
const exitCode = (value: number) => ((value << 1) | 1) >>> 0;

const multibootElf = (code: readonly number[], bits: 32 | 64 = 32): Uint8Array => {
  const data = new Uint8Array(256);
  new Uint32Array(data.buffer).set([0x1bad_b002, 3, -(0x1bad_b002 + 3) >>> 0]);
  data.set(code, 16);
  return makeElf({ bits, entry: 0x10_0010, segments: [{ phys: 0x10_0000, data }] });
};

describe.skipIf(!hasCore)('boot protocols on the core (needs dist/core.wasm: npm run build:core)', () => {
  it('multiboot: registers, flat segments and the information structure', async () => {
    // mov eax, [ebx] (flags).
    expect((await boot({ kind: 'kernel', kernel: multibootElf([0x8b, 0x03, ...EXIT_EAX]) })).exit).toMatchObject({ reason: 'debug-exit', code: exitCode(0x245) });
    expect((await boot({ kind: 'multiboot', kernel: multibootElf(EXIT_EAX) })).exit.code).toBe(exitCode(0x2bad_b002));
    // The module's first byte: mov eax, [ebx+24]; mov eax, [eax]; movzx eax, byte [eax].
    const module = [0x8b, 0x43, 24, 0x8b, 0x00, 0x0f, 0xb6, 0x00];
    expect((await boot({ kind: 'kernel', kernel: multibootElf([...module, ...EXIT_EAX]), initrd: Uint8Array.of(0x77) })).exit.code).toBe(exitCode(0x77));
    // An ELF64 file whose entry is 32-bit code.
    expect((await boot({ kind: 'kernel', kernel: multibootElf(EXIT_EAX, 64) })).exit.code).toBe(exitCode(0x2bad_b002));
    // A far return to the code selector that the CPU has must work: push cs; push next; retf.
    expect((await boot({ kind: 'kernel', kernel: multibootElf([0x0e, 0x68, 0x17, 0x00, 0x10, 0x00, 0xcb, ...EXIT_EAX]) })).exit.code).toBe(exitCode(0x2bad_b002));
  });

  it('PVH: the start info', async () => {
    const kernel = makeElf({ entry: 0x10_0000, pvh: 0x10_0000, segments: [{ phys: 0x10_0000, data: Uint8Array.from([0x8b, 0x03, ...EXIT_EAX]) }] });
    const { exit, machine } = await boot({ kind: 'kernel', kernel });
    expect(machine.boot.protocol).toBe('pvh');
    expect(exit.code).toBe(exitCode(0x336e_c578));
  });

  it('Linux, 64-bit: long mode on an identity map, RSI at the zero page', async () => {
    // mov eax, [rsi + 0x202]; then a 64-bit check: dec r8 needs REX, so r8d becomes all ones; xor eax with it.
    const code = [0x8b, 0x86, 0x02, 0x02, 0x00, 0x00, 0x49, 0xff, 0xc8, 0x44, 0x31, 0xc0, 0x49, 0xc1, 0xe8, 0x20, 0x44, 0x31, 0xc0, ...EXIT_EAX];
    const unpacked = makeElf({ entry: 0x100_0000, segments: [{ phys: 0x100_0000, data: Uint8Array.from(code) }] });
    const { exit, machine } = await boot({ kind: 'kernel', kernel: makeBzImage(), unpacked });
    expect(machine.boot.protocol).toBe('linux-64');
    expect(exit.code).toBe(exitCode(0x5372_6448));
  });

  it('Linux, 32-bit and stubs', async () => {
    const code = Uint8Array.from([0x8b, 0x86, 0x02, 0x02, 0x00, 0x00, ...EXIT_EAX]);
    const unpacked = makeElf({ bits: 32, entry: 0x100_0000, segments: [{ phys: 0x100_0000, virt: 0xc100_0000, data: code }] });
    expect((await boot({ kind: 'linux', kernel: makeBzImage({ xloadflags: 0 }), unpacked }, { arch: 'i386' })).exit.code).toBe(exitCode(0x5372_6448));
    const payload = new Uint8Array(0x400);
    payload.set(code);
    payload.set(code, 0x200);
    for (const xloadflags of [0, 1]) expect((await boot({ kind: 'kernel', kernel: makeBzImage({ payload, xloadflags }) })).exit.code).toBe(exitCode(0x5372_6448));
  });

  it('a boot sector in real mode', async () => {
    const image = new Uint8Array(512);
    image.set([0x8c, 0xc8, 0x05, 0x34, 0x12, 0xe7, EXIT_PORT, 0xeb, 0xfe]);
    expect((await boot({ kind: 'sector', image })).exit.code).toBe(exitCode(0x1234));
  });

  it('leaves what a firmware leaves: BIOS data, tables, interrupt controllers, PCI resources', async () => {
    const { machine } = await boot({ kind: 'kernel', kernel: multibootElf(EXIT_EAX) }, { rng: true });
    const view = new DataView(machine.core.ram.buffer, machine.core.ram.byteOffset, 2 ** 20);
    expect(view.getUint16(0x400, true)).toBe(0x3f8);
    expect(view.getUint16(0x413, true)).toBe(639);
    expect(view.getUint16(0x40e, true)).toBe(0x9fc0);
    const text = (at: number, length: number) => String.fromCharCode(...machine.core.ram.subarray(at, at + length));
    expect(text(0xe_0000, 8)).toBe('RSD PTR ');
    expect(text(0xf_8000, 4)).toBe('_SM_');
    const { bus } = machine.board;
    expect(bus.portRead(0x21, 1)).toBe(0xff);
    expect(bus.portRead(0x4d1, 1)).toBe(0x0e);
    const config = (slot: number, register: number) => {
      bus.portWrite(0xcf8, 4, (0x8000_0000 | (slot << 11) | register) >>> 0);
      return bus.portRead(0xcfc, 4);
    };
    expect(config(0, 0)).toBe(0x1237_8086);
    expect(config(1, 0)).toBe(0x7000_8086);
    expect(config(2, 0)).toBe(0x1044_1af4);
    expect(config(2, 0x20)).toBeGreaterThanOrEqual(0xe000_0000);
    expect(config(2, 0x04) & 2).toBe(2);
    expect([10, 11]).toContain(config(2, 0x3c) & 0xff);
  });

  it('answers the reset register of the FADT and serial ports one to four', async () => {
    const serials = [new TextChar(), new TextChar(), new TextChar(), new TextChar()];
    const print = [0x3f8, 0x2f8, 0x3e8, 0x2e8].flatMap((port, i) => [0x66, 0xba, port & 0xff, port >> 8, 0xb0, 0x31 + i, 0xee]);
    const reset = [0x66, 0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xeb, 0xfe];
    const { exit } = await boot({ kind: 'kernel', kernel: multibootElf([...print, ...reset]) }, { serial: serials });
    expect(exit).toMatchObject({ reason: 'reset', cause: 'reset-control' });
    expect(serials.map(s => s.text)).toEqual(['1', '2', '3', '4']);
  });

  it('has RAM up to 3 GB where the map says so, and none behind it', async () => {
    // mov eax, [0xbffffffc]; mov ecx, [0xc0000000]; and eax, ecx after storing a mark.
    const code = [0xb8, 0x78, 0x56, 0x34, 0x12, 0xa3, 0xfc, 0xff, 0xff, 0xbf, 0xa1, 0xfc, 0xff, 0xff, 0xbf, 0x8b, 0x0d, 0x00, 0x00, 0x00, 0xc0, 0x21, 0xc8, ...EXIT_EAX];
    expect((await boot({ kind: 'kernel', kernel: multibootElf(code) }, { memoryBytes: 3 * 2 ** 30 })).exit.code).toBe(exitCode(0x1234_5678));
  });
});
