import { describe, expect, it } from 'vitest';
import { MemoryBlock } from '../../../src/host/backends/block.js';
import { Dma8237 } from '../../../src/host/devices/dma8237.js';
import { Fdc82077 } from '../../../src/host/devices/fdc82077.js';
import { BufferMemory } from '../../../src/host/memory.js';
import { CountingGuestLog } from '../../../src/logger.js';
import { deviceContract } from '../../support/device-contract.js';

const IMAGE = new Uint8Array(2880 * 512);
for (let n = 0; n < IMAGE.length; n++) IMAGE[n] = n * 5 + (n >> 9);
const image = (): Uint8Array => IMAGE.slice();

const rig = (readOnly = false) => {
  const memory = new BufferMemory(new Uint8Array(0x2_0000));
  const dma = new Dma8237(memory);
  const backend = new MemoryBlock(image(), readOnly);
  let irq = false;
  const log = new CountingGuestLog();
  const fdc = new Fdc82077({ irq: { set: level => { irq = level; } }, dma: dma.channel(2), drives: [{ backend, cylinders: 80, heads: 2, sectors: 18 }, undefined], log });
  const send = (...bytes: number[]) => bytes.forEach(byte => fdc.write(5, byte, 1, 0));
  const result = () => {
    const bytes: number[] = [];
    while ((fdc.read(4, 1, 0) & 0x40) !== 0) bytes.push(fdc.read(5, 1, 0));
    return bytes;
  };
  /** Channel 2 at an address, for some bytes; mode 0x46 to memory, 0x4a from it. */
  const program = (mode: number, address: number, bytes: number) => {
    dma.write(10, 6, 1, 0);
    dma.write(12, 0, 1, 0);
    dma.write(11, mode, 1, 0);
    for (const byte of [address & 0xff, address >> 8]) dma.write(4, byte, 1, 0);
    for (const byte of [(bytes - 1) & 0xff, (bytes - 1) >> 8]) dma.write(5, byte, 1, 0);
    dma.write(1, address >> 16, 1, 2);
    dma.write(10, 2, 1, 0);
  };
  return { fdc, dma, memory, backend, send, result, program, irq: () => irq };
};

deviceContract('fdc82077', () => rig().fdc);
deviceContract('dma8237', () => new Dma8237(new BufferMemory(new Uint8Array(0x1000))));

describe('floppy controller', () => {
  it('comes out of reset with an interrupt and four changed drives', () => {
    const { fdc, send, result, irq } = rig();
    fdc.write(2, 0x00, 1, 0);
    expect(fdc.read(4, 1, 0)).toBe(0);
    fdc.write(2, 0x0c, 1, 0);
    expect([irq(), fdc.read(4, 1, 0)]).toEqual([true, 0x80]);
    for (let drive = 0; drive < 4; drive++) {
      send(0x08);
      expect(result()).toEqual([0xc0 | drive, 0]);
    }
    send(0x08);
    expect(result()).toEqual([0x80]);
    expect(irq()).toBe(false);
  });

  it('seeks, and reads sectors by DMA over both sides', () => {
    const { fdc, send, result, program, memory, irq } = rig();
    fdc.write(2, 0x1c, 1, 0);
    expect(fdc.read(0, 1, 1)).toBe(0x80);
    send(0x07, 0);
    send(0x08);
    expect(result()).toEqual([0x20, 0]);
    send(0x0f, 0, 3);
    expect(irq()).toBe(true);
    send(0x08);
    expect(result()).toEqual([0x20, 3]);
    expect(fdc.read(0, 1, 1)).toBe(0);
    program(0x46, 0x1_0000, 20 * 512);
    send(0xe6, 0x00, 3, 0, 17, 2, 18, 0x1b, 0xff);
    expect(irq()).toBe(true);
    expect(result()).toEqual([0, 0, 0, 4, 0, 1, 2]);
    const first = (3 * 36 + 16) * 512;
    expect(memory.view(0x1_0000, 20 * 512)).toEqual(image().slice(first, first + 20 * 512));
  });

  it('writes by DMA, and not to a medium that is protected', () => {
    const { send, result, program, memory, backend } = rig();
    memory.write(0x2000, new Uint8Array(512).fill(0x77));
    program(0x4a, 0x2000, 512);
    send(0xc5, 0x00, 0, 0, 5, 2, 18, 0x1b, 0xff);
    expect(result().slice(0, 3)).toEqual([0, 0, 0]);
    const sector = new Uint8Array(512);
    backend.read(4 * 512, sector);
    expect(sector).toEqual(new Uint8Array(512).fill(0x77));
    const other = rig(true);
    other.program(0x4a, 0x2000, 512);
    other.send(0xc5, 0x00, 0, 0, 5, 2, 18, 0x1b, 0xff);
    expect(other.result().slice(0, 2)).toEqual([0x40, 0x02]);
  });

  it('fails where there is no such sector, cylinder or drive', () => {
    const { send, result, program } = rig();
    program(0x46, 0x2000, 512);
    for (const [select, cylinder, sector] of [[0, 0, 19], [0, 5, 1], [1, 0, 1]]) {
      send(0xe6, select, cylinder, 0, sector, 2, 18, 0x1b, 0xff);
      expect(result().slice(0, 2)).toEqual([0x40 | select, 0x04]);
    }
    send(0x1f);
    expect(result()).toEqual([0x80]);
    send(0x10);
    expect(result()).toEqual([0x90]);
  });
});
