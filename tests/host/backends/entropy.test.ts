import { describe, expect, it } from 'vitest';
import { VmletError } from '../../../src/errors.js';
import { chacha20Block, expandSeed, HostEntropy, Prng, SeededEntropy } from '../../../src/host/backends/entropy.js';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const take = (source: { fill(into: Uint8Array): void }, bytes: number): Uint8Array => {
  const into = new Uint8Array(bytes);
  source.fill(into);
  return into;
};

describe('seeded entropy', () => {
  it('computes the ChaCha20 block of RFC 8439, 2.3.2', () => {
    const key = new Uint32Array(Uint8Array.from({ length: 32 }, (_, i) => i).buffer);
    const words = chacha20Block(key, Uint32Array.of(1, 0x0900_0000, 0x4a00_0000, 0));
    expect([...words].map(word => word.toString(16).padStart(8, '0')).join(' ')).toBe(
      'e4e7f110 15593bd1 1fdd0f50 c47120a3 c7f4d1c7 0368c033 9aaa2204 4e6cd4c3 466482d2 09aa9f07 05d7c214 a2028bd9 d19c12b5 b94e16de e883d0cb 4e3c50a2',
    );
  });

  it('depends on the seed and the stream and on nothing else', () => {
    const bytes = hex(take(new SeededEntropy(1), 100));
    expect(hex(take(new SeededEntropy('1'), 100))).toBe(bytes);
    expect(hex(take(new SeededEntropy(1n), 100))).toBe(bytes);
    expect(hex(take(new SeededEntropy(2), 100))).not.toBe(bytes);
    expect(hex(take(new SeededEntropy(1, 'rng0'), 100))).not.toBe(bytes);
    const pieces = new SeededEntropy(1);
    expect([1, 30, 33, 36].map(length => hex(take(pieces, length))).join('')).toBe(bytes);
  });

  it('does not change between versions', () => {
    expect(hex(take(new SeededEntropy(1), 16))).toMatchInlineSnapshot(`"59633eb5ee2330b29213e2dcae28c22d"`);
  });

  it('looks random', () => {
    const counts = new Uint32Array(256);
    for (const byte of take(new SeededEntropy(3), 256_000)) counts[byte]++;
    const chiSquared = counts.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
    expect(chiSquared).toBeLessThan(350);
    expect(chiSquared).toBeGreaterThan(170);
  });

  it('saves and restores its position', () => {
    const one = new SeededEntropy(9);
    take(one, 77);
    const two = new SeededEntropy(9);
    two.restore(one.save());
    expect(take(two, 50)).toEqual(take(one, 50));
    expect(() => two.restore({ position: -1 })).toThrow(VmletError);
  });
});

it('host entropy differs each time', () => {
  expect(hex(take(new HostEntropy(), 32))).not.toBe(hex(take(new HostEntropy(), 32)));
});

describe('Prng', () => {
  it('repeats, and follows its seed and stream', () => {
    const run = (prng: Prng) => Array.from({ length: 8 }, () => prng.u32());
    expect(run(new Prng(1))).toEqual(run(new Prng(1)));
    expect(run(new Prng(1))).not.toEqual(run(new Prng(2)));
    expect(run(new Prng(1, 'a'))).not.toEqual(run(new Prng(1, 'b')));
    expect(run(new Prng(1)).slice(0, 3)).toMatchInlineSnapshot(`
      [
        1518361662,
        2682687033,
        2076379410,
      ]
    `);
  });

  it('stays in its ranges', () => {
    const prng = new Prng(4);
    const seen = new Set<number>();
    for (let i = 0; i < 1000; i++) {
      seen.add(prng.below(7));
      const value = prng.float();
      expect(value >= 0 && value < 1).toBe(true);
    }
    expect([...seen].sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(prng.pick(['x'])).toBe('x');
  });

  it('saves and restores', () => {
    const one = new Prng(8);
    one.u32();
    const two = new Prng(0);
    two.restore(one.save());
    expect(two.u32()).toBe(one.u32());
    expect(() => two.restore(new Uint32Array(4))).toThrow(VmletError);
  });

  it('expands a seed to any length', () => {
    expect(expandSeed(1, 'x', 5).subarray(0, 4)).toEqual(expandSeed(1, 'x', 4));
  });
});
