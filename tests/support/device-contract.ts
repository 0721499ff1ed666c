import { describe, expect, it } from 'vitest';
import type { ManualClock } from '../../src/host/clock.js';
import type { AccessSize, Device } from '../../src/host/devices/device.js';
import { Random } from './random.js';

/** What a contract run works on: the device, the clock it lives on, and traffic that does not come over the bus (lines, MSRs, input). */
export interface ContractSubject {
  device: Device;
  clock?: ManualClock;
  /** One random act from outside the bus. */
  poke?(random: Random): void;
}

const ACCESSES = 10_000;
const SIZES: readonly AccessSize[] = [1, 2, 4];

/**
 * The rules that every device keeps, as tests: reset is idempotent; save, restore, save gives equal states, on the same device and on
 * a new one; a saved state is a copy; rubbish is refused by `restore`; 10,000 seeded random accesses of all sizes at all offsets
 * neither throw nor hang and read values that fit. `make` builds a new, equal device each time.
 */
export const deviceContract = (name: string, make: () => Device | ContractSubject): void => {
  const subject = (): ContractSubject => {
    const made = make();
    return 'device' in made ? made : { device: made };
  };

  describe(`${name} keeps the device contract`, () => {
    it('resets to the same state twice', () => {
      const it = subject();
      traffic(it, new Random(7), 500);
      it.device.reset();
      const first = it.device.save();
      it.device.reset();
      expect(it.device.save()).toEqual(first);
    });

    it('saves, restores and saves the same', () => {
      const one = subject();
      expect(resaved(one.device)).toEqual(one.device.save());
      const random = new Random(11);
      for (let round = 0; round < 20; round++) {
        traffic(one, random, 100);
        const state = one.device.save();
        const kept = structuredClone(state);
        expect(resaved(one.device)).toEqual(kept);
        const other = subject();
        other.device.restore(state);
        expect(other.device.save()).toEqual(kept);
        traffic(one, random, 20);
        traffic(other, random, 20);
        expect(state).toEqual(kept);
      }
    });

    it('refuses to restore rubbish', () => {
      const { device } = subject();
      expect(() => device.restore(undefined as never)).toThrow();
    });

    it('survives 10,000 random accesses', { timeout: 60_000 }, () => {
      for (const seed of [1, 2]) traffic(subject(), new Random(seed), ACCESSES);
    });
  });
};

const resaved = (device: Device): object => {
  device.restore(device.save());
  return device.save();
};

const traffic = (subject: ContractSubject, random: Random, count: number): void => {
  const { device, clock, poke } = subject;
  for (let i = 0; i < count; i++) {
    if (poke !== undefined && random.below(4) === 0) poke.call(subject, random);
    if (clock !== undefined && random.below(4) === 0) clock.advance(random.below(10 ** random.below(7)));
    if (device.regions.length === 0) continue;
    const region = random.below(device.regions.length);
    const { size: bytes } = device.regions[region];
    const size = random.pick(SIZES);
    const offset = random.below(random.below(2) === 0 ? Math.min(bytes, 64) : bytes);
    if (random.below(2) === 0) {
      const value = device.read(offset, size, region);
      if (!(Number.isInteger(value) && value >= 0 && value < 2 ** (8 * size))) {
        expect.fail(`${device.name}: a read of ${size} at ${region}:${offset} gave ${value}`);
      }
    } else {
      const value = random.below(3) === 0 ? random.u32() : random.below(256);
      device.write(offset, size === 4 ? value : value % 2 ** (8 * size), size, region);
    }
  }
};
