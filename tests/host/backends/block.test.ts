import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VmletError } from '../../../src/errors.js';
import { MemoryBlock, OverlayBlock, RawFileBlock } from '../../../src/host/backends/block.js';
import { Prng } from '../../../src/host/backends/entropy.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'vmlet-block-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const image = (name: string, bytes: Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
};

const pattern = (bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, i) => (i * 13 + 1) & 0xff);

const errorOf = (act: () => void): VmletError => {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(VmletError);
    return error as VmletError;
  }
  throw new Error('nothing was thrown');
};

describe('a raw file', () => {
  it('is read and written in place', () => {
    const path = image('disk', pattern(4096));
    const disk = new RawFileBlock(path);
    expect([disk.size, disk.readOnly]).toEqual([4096, false]);
    const into = new Uint8Array(1024);
    disk.read(512, into);
    expect(into).toEqual(pattern(4096).subarray(512, 1536));
    disk.write(2048, new Uint8Array(512).fill(9));
    disk.flush();
    disk.close();
    disk.close();
    const expected = pattern(4096);
    expected.fill(9, 2048, 2560);
    expect(new Uint8Array(readFileSync(path))).toEqual(expected);
  });

  it('can be read-only', () => {
    const disk = new RawFileBlock(image('ro', pattern(512)), { readOnly: true });
    expect(errorOf(() => disk.write(0, new Uint8Array(512))).code).toBe('ERR_VMLET_DISK');
    disk.flush();
    disk.close();
  });

  it('says what is wrong with a path', () => {
    const missing = errorOf(() => new RawFileBlock(join(folder, 'missing')));
    expect([missing.code, missing.message]).toEqual(['ERR_VMLET_DISK', `the disk image '${join(folder, 'missing')}' does not exist`]);
    expect(missing.hint).toContain('truncate');
    mkdirSync(join(folder, 'dir'));
    expect(errorOf(() => new RawFileBlock(join(folder, 'dir'))).message).toContain('is not a file');
    expect(errorOf(() => new RawFileBlock(join(folder, 'dir'), { readOnly: true })).message).toContain('is not a file');
    expect(errorOf(() => new RawFileBlock(image('empty', new Uint8Array(0)))).message).toContain('is empty');
  });

  it.skipIf(process.getuid?.() === 0)('names permissions as the cause (root may write anything)', () => {
    const path = image('locked', pattern(512));
    chmodSync(path, 0o444);
    const error = errorOf(() => new RawFileBlock(path));
    expect(error.message).toContain('cannot be written');
    expect(error.hint).toContain('snapshot');
    new RawFileBlock(path, { readOnly: true }).close();
  });

  it('passes other reasons on', () => {
    const path = join(image('file', pattern(512)), 'below');
    const error = errorOf(() => new RawFileBlock(path));
    expect(error.message).toContain('ENOTDIR');
    expect(error.cause).toBeInstanceOf(Error);
  });

  it('pads a file that is not whole sectors, and never makes it longer', () => {
    const path = image('odd', pattern(700));
    const disk = new RawFileBlock(path);
    expect(disk.size).toBe(1024);
    const into = new Uint8Array(512).fill(0xee);
    disk.read(512, into);
    expect(into.subarray(0, 188)).toEqual(pattern(700).subarray(512));
    expect(into.subarray(188).every(byte => byte === 0)).toBe(true);
    into[0] = 0x55;
    disk.write(512, into);
    expect(readFileSync(path)[512]).toBe(0x55);
    into[188] = 1;
    const error = errorOf(() => disk.write(512, into));
    expect(error.hint).toContain('512');
    expect(statSync(path).size).toBe(700);
    disk.close();
  });

  it('refuses what is out of bounds, and a file that shrank', () => {
    const path = image('short', pattern(1024));
    const disk = new RawFileBlock(path);
    expect(() => disk.read(512, new Uint8Array(1024))).toThrow(VmletError);
    expect(() => disk.write(1024, new Uint8Array(512))).toThrow(VmletError);
    truncateSync(path, 100);
    expect(errorOf(() => disk.read(0, new Uint8Array(512))).message).toContain('shorter');
    disk.close();
  });
});

describe('an overlay', () => {
  it('keeps changes to itself', () => {
    const path = image('base', pattern(10_240));
    const disk = new OverlayBlock(new RawFileBlock(path, { readOnly: true }));
    expect([disk.size, disk.readOnly, disk.changedBytes]).toEqual([10_240, false, 0]);
    disk.write(1024, new Uint8Array(512).fill(1));
    disk.write(9728, new Uint8Array(512).fill(2));
    const all = new Uint8Array(10_240);
    disk.read(0, all);
    const expected = pattern(10_240);
    expected.fill(1, 1024, 1536);
    expected.fill(2, 9728);
    expect(all).toEqual(expected);
    disk.flush();
    disk.close();
    expect(new Uint8Array(readFileSync(path))).toEqual(pattern(10_240));
    expect(() => disk.write(10_240, new Uint8Array(512))).toThrow(VmletError);
  });

  it('behaves as a plain disk under random traffic', () => {
    const random = new Prng(5);
    const sectors = 77;
    const overlay = new OverlayBlock(new MemoryBlock(pattern(512 * sectors)));
    const plain = new MemoryBlock(pattern(512 * sectors));
    for (let i = 0; i < 2000; i++) {
      const start = random.below(sectors);
      const bytes = 512 * (1 + random.below(Math.min(30, sectors - start)));
      if (random.below(2)) {
        const data = new Uint8Array(bytes).fill(random.below(256));
        overlay.write(512 * start, data);
        plain.write(512 * start, data);
      } else {
        const [a, b] = [new Uint8Array(bytes), new Uint8Array(bytes)];
        overlay.read(512 * start, a);
        plain.read(512 * start, b);
        expect(Buffer.compare(a, b)).toBe(0);
      }
    }
  });
});

describe('a memory disk', () => {
  it('is zeroes, or what it is given, padded', () => {
    const zero = new MemoryBlock(1000);
    expect(zero.size).toBe(1024);
    const into = new Uint8Array(512).fill(1);
    zero.read(512, into);
    expect(into.every(byte => byte === 0)).toBe(true);
    const given = new MemoryBlock(pattern(600), true);
    given.read(512, into);
    expect(into.subarray(0, 88)).toEqual(pattern(600).subarray(512));
    expect(() => given.write(0, into)).toThrow(VmletError);
  });
});
