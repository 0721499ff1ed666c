import { describe, expect, it } from 'vitest';
import { MemoryBlock } from '../../../src/host/backends/block.js';
import { CdCommands, newCdState } from '../../../src/host/devices/ide/atapi.js';
import { IdeChannel } from '../../../src/host/devices/ide/channel.js';
import type { IdeDma, IdeDrive } from '../../../src/host/devices/ide/channel-state.js';
import { PiixIde } from '../../../src/host/devices/ide/piix.js';
import { BufferMemory } from '../../../src/host/memory.js';
import { CountingGuestLog } from '../../../src/logger.js';
import { deviceContract } from '../../support/device-contract.js';

const SECTORS = 4096;
const patterns = new Map<string, Uint8Array>();
const pattern = (bytes: number, seed = 0): Uint8Array => {
  const key = `${bytes}/${seed}`;
  let made = patterns.get(key);
  if (made === undefined) {
    made = new Uint8Array(bytes);
    for (let n = 0; n < bytes; n++) made[n] = n * 7 + (n >> 9) + seed;
    patterns.set(key, made);
  }
  return made.slice();
};
const disk = (readOnly = false): IdeDrive => ({ kind: 'disk', backend: new MemoryBlock(pattern(SECTORS * 512), readOnly), serial: 'serial-1' });
const cd = (): IdeDrive => ({ kind: 'cdrom', backend: new MemoryBlock(pattern(64 * 2048, 3)), serial: 'serial-2' });
const NO_DMA: IdeDma = { active: false, toMemory: () => 0, fromMemory: () => 0, finished: () => {} };

const rig = (drives: (IdeDrive | undefined)[] = [disk(), undefined]) => {
  let irq = false;
  let raised = 0;
  const memory = new BufferMemory(new Uint8Array(0x10_0000));
  const said: string[] = [];
  const guestLog = new CountingGuestLog(line => said.push(line));
  const line = { set: (level: boolean) => { if (level && !irq) raised++; irq = level; } };
  const ide = new PiixIde({ memory, log: guestLog, irqs: [line, { set: () => {} }], drives });
  ide.writeConfig(4, 5, 2);
  const [channel] = ide.channels;
  const out = (register: number, value: number, size: 1 | 2 | 4 = 1) => channel.write(register, value, size, 0);
  const inp = (register: number, size: 1 | 2 | 4 = 1) => channel.read(register, size, 0);
  const command = (code: number, { count = 1, lba = 0, device = 0xe0, features = 0 } = {}) => {
    out(6, device | ((lba >>> 24) & 0xf));
    out(1, features);
    out(2, count & 0xff);
    out(3, lba & 0xff);
    out(4, (lba >>> 8) & 0xff);
    out(5, (lba >>> 16) & 0xff);
    out(7, code);
  };
  const readWords = (bytes: number) => {
    const data = new Uint8Array(bytes);
    const view = new DataView(data.buffer);
    for (let at = 0; at < bytes; at += 2) view.setUint16(at, inp(0, 2), true);
    return data;
  };
  const writeWords = (data: Uint8Array) => {
    for (let at = 0; at < data.length; at += 2) out(0, data[at] | (data[at + 1] << 8), 2);
  };
  const packet = (cdb: number[], limit = 0xfffe, features = 0) => {
    out(6, 0);
    out(1, features);
    out(4, limit & 0xff);
    out(5, limit >> 8);
    out(7, 0xa0);
    writeWords(Uint8Array.from({ length: 12 }, (_, n) => cdb[n] ?? 0));
  };
  return { ide, channel, memory, said, out, inp, command, readWords, writeWords, packet, irq: () => irq, raised: () => raised };
};

deviceContract('ide channel with a disk and a CD', () => new IdeChannel({ name: 'ide0', irq: { set: () => {} }, drives: [disk(), cd()], dma: NO_DMA, log: new CountingGuestLog() }));
deviceContract('piix ide', () => new PiixIde({ memory: new BufferMemory(new Uint8Array(0x1000)), log: new CountingGuestLog(), irqs: [{ set: () => {} }, { set: () => {} }], drives: [disk()] }));

describe('ATA', () => {
  it('identifies itself', () => {
    const { command, readWords, inp, irq } = rig();
    command(0xec);
    expect(irq()).toBe(true);
    expect(inp(7)).toBe(0x58);
    expect(irq()).toBe(false);
    const id = readWords(512);
    const view = new DataView(id.buffer);
    const text = (word: number, words: number) => Array.from({ length: 2 * words }, (_, n) => String.fromCharCode(id[2 * word + (n ^ 1)])).join('').trim();
    expect(text(27, 20)).toBe('vmlet disk');
    expect(text(10, 10)).toBe('serial-1');
    expect(view.getUint32(120, true)).toBe(SECTORS);
    expect(view.getUint32(200, true)).toBe(SECTORS);
    expect(id.reduce((sum, byte) => (sum + byte) & 0xff, 0)).toBe(0);
    expect(inp(7)).toBe(0x50);
  });

  it('reads by PIO, a sector and an interrupt at a time', () => {
    const { command, readWords, inp, raised, irq } = rig();
    command(0x20, { count: 3, lba: 100 });
    const data = new Uint8Array(3 * 512);
    for (let n = 0; n < 3; n++) {
      expect([raised(), irq(), inp(7) & 8]).toEqual([n + 1, true, 8]);
      data.set(readWords(512), n * 512);
    }
    expect(data).toEqual(pattern(SECTORS * 512).slice(100 * 512, 103 * 512));
    expect([inp(7), raised()]).toEqual([0x50, 3]);
  });

  it('reads blocks of several sectors, with 48-bit addresses and with cylinders, heads and sectors', () => {
    const { command, out, readWords, raised } = rig();
    command(0xc6, { count: 8 });
    command(0xc4, { count: 16, lba: 8 });
    expect(readWords(16 * 512)).toEqual(pattern(SECTORS * 512).slice(8 * 512, 24 * 512));
    expect(raised()).toBe(2);
    for (const [register, high, low] of [[2, 0, 2], [3, 0, 0x34], [4, 0, 0x02], [5, 0, 0]]) {
      out(register, high);
      out(register, low);
    }
    out(6, 0xe0);
    out(7, 0x24);
    expect(readWords(1024)).toEqual(pattern(SECTORS * 512).slice(0x234 * 512, 0x236 * 512));
    // Cylinder 1, head 2, sector 3 of the default 16 heads and 63 sectors.
    command(0x20, { device: 0xa2, lba: 0x0103 });
    expect(readWords(512)).toEqual(pattern(SECTORS * 512).slice((18 * 63 + 2) * 512).slice(0, 512));
    // The same place with 4 heads of 17 sectors.
    command(0x91, { count: 17, device: 0xa3 });
    command(0x20, { device: 0xa2, lba: 0x0103 });
    expect(readWords(512)).toEqual(pattern(SECTORS * 512).slice((6 * 17 + 2) * 512).slice(0, 512));
  });

  it('writes, flushes and reads back', () => {
    const { command, writeWords, readWords, inp, raised } = rig();
    const data = pattern(1024, 99);
    command(0x30, { count: 2, lba: 7 });
    expect([raised(), inp(7) & 8]).toEqual([0, 8]);
    writeWords(data);
    expect(inp(7)).toBe(0x50);
    command(0xe7);
    expect(inp(7)).toBe(0x50);
    command(0x20, { count: 2, lba: 7 });
    expect(readWords(1024)).toEqual(data);
  });

  it('refuses what it does not have or know', () => {
    const { command, inp } = rig([disk(true), undefined]);
    const error = (): [number, number] => [inp(7) & 1, inp(1)];
    command(0x20, { lba: SECTORS });
    expect(error()).toEqual([1, 0x10]);
    command(0x30);
    expect(error()).toEqual([1, 0x04]);
    command(0xf5);
    expect(error()).toEqual([1, 0x04]);
    command(0xa1);
    expect(error()).toEqual([1, 0x04]);
    command(0x91, { device: 0xf0 });
    expect(inp(7)).toBe(0);
  });

  it('moves data by bus master, scattered as the descriptors say', () => {
    const { ide, command, memory, irq } = rig();
    const table = (...entries: [number, number, boolean][]) =>
      entries.forEach(([address, bytes, last], n) => {
        memory.writeU32(0x1000 + 8 * n, address);
        memory.writeU32(0x1004 + 8 * n, (bytes & 0xffff) | (last ? 0x8000_0000 : 0));
      });
    table([0x2000, 0x100, false], [0x8000, 0x500, true]);
    ide.write(4, 0x1000, 4);
    command(0xc8, { count: 3, lba: 50 });
    expect(irq()).toBe(false);
    ide.write(0, 9, 1);
    expect(irq()).toBe(true);
    expect(ide.read(2, 1)).toBe(4);
    const data = pattern(SECTORS * 512).slice(50 * 512, 53 * 512);
    expect(memory.view(0x2000, 0x100)).toEqual(data.subarray(0, 0x100));
    expect(memory.view(0x8000, 0x500)).toEqual(data.subarray(0x100));
    // And back, to another place.
    ide.write(0, 0, 1);
    ide.write(2, 4, 1);
    ide.write(0, 1, 1);
    command(0xca, { count: 3, lba: 60 });
    command(0x20, { count: 3, lba: 60 });
    expect(ide.read(2, 1) & 5).toBe(4);
  });

  it('reports a bus master that is given too little', () => {
    const { ide, command, memory, said } = rig();
    memory.writeU32(0x1000, 0x2000);
    memory.writeU32(0x1004, 0x8000_0200);
    ide.write(4, 0x1000, 4);
    command(0xc8, { count: 2 });
    ide.write(0, 9, 1);
    expect(ide.read(2, 1) & 7).toBe(2);
    expect(said.join()).toContain('fewer bytes');
  });

  it('comes out of a software reset with the signature of its kind', () => {
    const { channel, inp, out } = rig([disk(), cd()]);
    channel.write(0, 4, 1, 1);
    channel.write(0, 0, 1, 1);
    expect([inp(2), inp(3), inp(4), inp(5), inp(7)]).toEqual([1, 1, 0, 0, 0x50]);
    out(6, 0x10);
    out(7, 0xec);
    expect([inp(4), inp(5), inp(7) & 1]).toEqual([0x14, 0xeb, 1]);
  });
});

describe('ATAPI', () => {
  const setup = () => rig([cd(), undefined]);

  it('tells of a new medium once, and why a command failed', () => {
    const { packet, inp, readWords } = setup();
    packet([0x00]);
    expect([inp(7) & 1, inp(1) >> 4]).toEqual([1, 6]);
    packet([0x03, 0, 0, 0, 18], 18);
    const sense = readWords(18);
    expect([sense[2], sense[12]]).toEqual([6, 0x28]);
    packet([0x00]);
    expect(inp(7)).toBe(0x50);
    packet([0xee]);
    expect([inp(7) & 1, inp(1) >> 4]).toEqual([1, 5]);
  });

  it('reads sectors in the pieces that the host asks for', () => {
    const { packet, inp, readWords } = setup();
    packet([0x00]);
    packet([0x28, 0, 0, 0, 0, 5, 0, 0, 3], 4096);
    const data: number[] = [];
    while ((inp(7) & 8) !== 0) {
      const bytes = inp(4) | (inp(5) << 8);
      expect(inp(2)).toBe(2);
      data.push(...readWords(bytes));
    }
    expect(inp(2)).toBe(3);
    expect(Uint8Array.from(data)).toEqual(pattern(64 * 2048, 3).slice(5 * 2048, 8 * 2048));
  });

  it('answers what drivers ask before they read', () => {
    const commands = new CdCommands(cd().backend);
    const state = { ...newCdState(), changed: false };
    const ask = (...cdb: number[]) => {
      const result = commands.execute(Uint8Array.from({ length: 12 }, (_, n) => cdb[n] ?? 0), state);
      return result.kind === 'data' ? result.bytes : result.kind;
    };
    expect([...(ask(0x25) as Uint8Array)]).toEqual([0, 0, 0, 63, 0, 0, 8, 0]);
    expect((ask(0x12, 0, 0, 0, 36) as Uint8Array)[0]).toBe(5);
    const toc = ask(0x43, 2, 0, 0, 0, 0, 0, 0xff, 0xff) as Uint8Array;
    expect([...toc.subarray(0, 4)]).toEqual([0, 18, 1, 1]);
    expect([...toc.subarray(12, 20)]).toEqual([0, 0x14, 0xaa, 0, 0, 0, 2, 64]);
    const configuration = ask(0x46, 0, 0, 0, 0, 0, 0, 0, 0xff) as Uint8Array;
    expect([configuration[6], configuration[7]]).toEqual([0, 8]);
    expect(new DataView(configuration.buffer).getUint32(configuration.byteOffset)).toBe(configuration.length - 4);
    expect((ask(0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 0xff) as Uint8Array)[8]).toBe(0x2a);
    expect(ask(0x28, 0, 0, 0, 0, 63, 0, 0, 2)).toBe('error');
    expect(ask(0x1e, 0, 0, 0, 1)).toBe('done');
    expect(ask(0x1b, 0, 0, 0, 2)).toBe('error');
    expect(ask(0x1e)).toBe('done');
    expect(ask(0x1b, 0, 0, 0, 2)).toBe('done');
    expect([ask(0x00), state.sense]).toEqual(['error', 0x02_3a00]);
    expect(ask(0x1b, 0, 0, 0, 3)).toBe('done');
    expect([ask(0x00), state.sense >> 16]).toEqual(['error', 6]);
    expect(ask(0x00)).toBe('done');
  });
});
