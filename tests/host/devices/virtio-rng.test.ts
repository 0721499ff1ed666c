import { describe, expect, it } from 'vitest';
import { SeededEntropy } from '../../../src/host/backends/entropy.js';
import { VirtioRng } from '../../../src/host/devices/virtio/rng.js';
import { virtioFuzz } from '../../support/virtio-fuzz.js';
import { virtioRig } from '../../support/virtio-driver.js';

describe('virtio-rng', () => {
  it('gives the bytes of its entropy source, in order', () => {
    const { driver } = virtioRig(new VirtioRng({ entropy: new SeededEntropy(42) }));
    driver.start();
    const expected = new Uint8Array(100);
    new SeededEntropy(42).fill(expected);
    const [queue] = driver.queues;
    expect(queue.request([{ room: 60 }]).data).toEqual(expected.subarray(0, 60));
    expect(queue.request([{ room: 10 }, { room: 30 }], true).data).toEqual(expected.subarray(60));
  });

  it('answers a request without room and a very large one', () => {
    const { driver } = virtioRig(new VirtioRng({ entropy: new SeededEntropy(1) }));
    driver.start();
    expect(driver.queues[0].request([{ out: Uint8Array.of(1) }]).length).toBe(0);
    expect(driver.queues[0].request([{ room: 0x2_0000 }]).length).toBe(0x1_0000);
  });
});

virtioFuzz('virtio-rng', () => ({ fn: new VirtioRng({ entropy: new SeededEntropy(1) }) }));
