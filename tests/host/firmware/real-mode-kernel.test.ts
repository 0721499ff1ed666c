// Kernels that are real-mode programs: the built-in BIOS starts them.
import { describe, expect, it } from 'vitest';
import { isRealModeKernel } from '../../../src/host/boot/linux.js';
import { Machine } from '../../../src/host/machine.js';
import { coreModule, hasCore, TextChar } from '../machine-support.js';

const SETUP = 0x9_0000;
const PAYLOAD_AT = 0x400;
/** Writes down its segments and stack at DS:7000, prints a K and gives up. */
const PROGRAM = [
  0x8c, 0xd8, 0xa3, 0x00, 0x70, // mov ax, ds; mov [0x7000], ax
  0x8c, 0xc0, 0xa3, 0x02, 0x70, // mov ax, es; mov [0x7002], ax
  0x8c, 0xd0, 0xa3, 0x04, 0x70, // mov ax, ss; mov [0x7004], ax
  0x89, 0x26, 0x06, 0x70, // mov [0x7006], sp
  0x8c, 0xc8, 0xa3, 0x08, 0x70, // mov ax, cs; mov [0x7008], ax
  0xb8, 0x4b, 0x0e, 0xcd, 0x10, // mov ax, 0x0e4b; int 0x10
  0xcd, 0x18, // int 0x18
];

const kernel = (): Uint8Array => {
  const image = new Uint8Array(PAYLOAD_AT + 0x1000).fill(0x5a, PAYLOAD_AT);
  const view = new DataView(image.buffer);
  image[0x1f1] = 1;
  view.setUint32(0x1f4, 0x100, true);
  view.setUint16(0x1fe, 0xaa55, true);
  image.set([0xeb, 0x6e], 0x200);
  view.setUint32(0x202, 0x5372_6448, true);
  view.setUint16(0x206, 0x0207, true);
  image[0x211] = 1;
  view.setUint32(0x22c, 0xffff_ffff, true);
  view.setUint32(0x238, 0x7ff, true);
  image.set(PROGRAM, 0x270);
  return image;
};

describe.skipIf(!hasCore)('a kernel without a 32-bit entry', () => {
  it('is told from others', () => {
    const image = kernel();
    expect(isRealModeKernel(image)).toBe(true);
    new DataView(image.buffer).setUint32(0x214, 0x10_0000, true);
    expect(isRealModeKernel(image)).toBe(false);
    expect(isRealModeKernel(new Uint8Array(10))).toBe(false);
  });

  it('starts in real mode with the BIOS there, its command line and its initrd', async () => {
    const serial = new TextChar();
    const initrd = new TextEncoder().encode('#!ipxe');
    const machine = new Machine({ core: coreModule(), memoryBytes: 16 * 2 ** 20, serial: [serial], timeoutNs: 1e9, boot: { kind: 'kernel', kernel: kernel(), initrd, cmdline: 'some words', name: 'x.lkrn' } });
    expect(machine.boot).toEqual({ protocol: 'linux-real', entry: 0x9_0200 });
    const exit = await machine.run();
    expect(exit.reason).toBe('halted');
    expect(serial.text.replace(/\s+/g, ' ')).toBe('Booting from x.lkrn... KNo bootable device was found: the machine stops here. ');
    const { ram } = machine.core;
    const view = new DataView(ram.buffer, ram.byteOffset);
    expect(Array.from({ length: 5 }, (_, i) => view.getUint16(SETUP + 0x7000 + 2 * i, true))).toEqual([0x9000, 0x9000, 0x9000, 0x9000, 0x9020]);
    expect(ram.subarray(0x10_0000, 0x10_1000).every(byte => byte === 0x5a)).toBe(true);
    const text = (at: number, length: number): string => String.fromCharCode(...ram.subarray(at, at + length));
    expect(text(view.getUint32(SETUP + 0x228, true), 11)).toBe('some words\0');
    expect(text(view.getUint32(SETUP + 0x218, true), view.getUint32(SETUP + 0x21c, true))).toBe('#!ipxe');
    expect([ram[SETUP + 0x210], ram[SETUP + 0x211], view.getUint16(SETUP + 0x224, true)]).toEqual([0xff, 0x81, 0x8e00]);
  });

  it('is refused when its setup code is too large', () => {
    const image = new Uint8Array(0x1_0000);
    image.set(kernel());
    image[0x1f1] = 64;
    const create = () => new Machine({ core: coreModule(), memoryBytes: 16 * 2 ** 20, boot: { kind: 'kernel', kernel: image, name: 'x.lkrn' } });
    expect(create).toThrow(expect.objectContaining({ code: 'ERR_VMLET_IMAGE_FORMAT', message: expect.stringMatching(/x\.lkrn: setup code of 33280 bytes/) }));
  });
});
