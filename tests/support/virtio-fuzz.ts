import { expect, it } from 'vitest';
import type { ManualClock } from '../../src/host/clock.js';
import type { VirtioFunction } from '../../src/host/devices/virtio/device.js';
import { deviceContract } from './device-contract.js';
import { Random } from './random.js';
import { type Buffer, RAM_BYTES, virtioRig } from './virtio-driver.js';

export interface FuzzSubject {
  fn: VirtioFunction;
  clock?: ManualClock;
  /** Something from the host's side: input, frames, a resize. */
  poke?(random: Random): void;
}

const INTERESTING = [0, 1, 2, 15, 16, 0x10, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff];

/** The device contract on the function behind a PCI transport, and rings that no driver would write. */
export const virtioFuzz = (name: string, make: () => FuzzSubject): void => {
  deviceContract(name, () => {
    const { fn, clock, poke } = make();
    return { device: virtioRig(fn).device, clock, poke };
  });

  it(`${name} survives hostile rings`, { timeout: 60_000 }, () => {
    let completed = 0;
    for (let seed = 1; seed <= 150; seed++) {
      const random = new Random(seed);
      const { fn, clock, poke } = make();
      const { rig, driver } = virtioRig(fn);
      const { memory } = rig;
      driver.start({ msix: random.below(2) === 0, queueSize: random.pick([1, 2, 8]) });
      for (let round = 0; round < 30; round++) {
        const queue = random.pick(driver.queues);
        const anywhere = () => random.pick([queue.desc, queue.avail, queue.used, random.below(RAM_BYTES), RAM_BYTES - random.below(64), random.u32()]);
        for (let entry = 0; entry < queue.size; entry++) {
          const length = random.below(3) === 0 ? random.pick(INTERESTING) : random.below(2000);
          queue.writeDescriptor(queue.desc + 16 * entry, anywhere(), length, random.below(8) === 0 ? random.u32() & 0xffff : random.below(4), random.below(queue.size + (random.below(20) === 0 ? 9 : 0)));
        }
        // Headers that make sense now and then.
        memory.writeU32(random.below(RAM_BYTES), random.below(16));
        for (let n = random.below(3); n >= 0; n--) queue.offer(random.below(30) === 0 ? random.u32() & 0xffff : random.below(queue.size));
        if (random.below(15) === 0) memory.writeU16(queue.avail + 2, random.u32() & 0xffff);
        driver.notify(queue.index);
        completed += memory.readU16(queue.used + 2) === 0 ? 0 : 1;
        poke?.(random);
        clock?.advance(random.below(1_000_000));
        if (driver.status & 0x40) driver.start({ queueSize: 8 });
      }
    }
    expect(completed).toBeGreaterThan(0);
  });

  it(`${name} survives random requests on sound rings, and snapshots among them`, { timeout: 60_000 }, () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = new Random(seed);
      const { fn, clock, poke } = make();
      const { device, driver } = virtioRig(fn);
      const small = () => random.below(random.pick([2, 4, 14, 256]));
      const buffer = (out: boolean): Buffer => {
        const length = 1 + random.below(random.pick([1, 20, 600, 3000]));
        return out ? { out: Uint8Array.from({ length }, (_, i) => (i % 4 === 0 ? small() : random.below(6) === 0 ? small() : 0)) } : { room: length };
      };
      driver.start();
      for (let round = 0; round < 60; round++) {
        const queue = random.pick(driver.queues);
        if (queue.free > 6) {
          const outs = random.below(4);
          const rooms = random.below(3) + (outs === 0 ? 1 : 0);
          const buffers = [...Array.from({ length: outs }, () => buffer(true)), ...Array.from({ length: rooms }, () => buffer(false))];
          if (outs > 0 && random.below(2) === 0) buffers[0] = { out: buffers[0].out!.slice(0, 16) };
          queue.add(buffers, random.below(2) === 0);
        }
        queue.kick();
        poke?.(random);
        clock?.advance(random.below(2000));
        queue.completions();
        if (random.below(10) === 0) {
          const state = structuredClone(device.save());
          device.restore(state);
          expect(device.save()).toEqual(state);
        }
        if (driver.status & 0x40) driver.start();
      }
    }
  });
};
