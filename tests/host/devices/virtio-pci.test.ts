import { beforeEach, describe, expect, it } from 'vitest';
import { VmletError } from '../../../src/errors.js';
import { SeededEntropy } from '../../../src/host/backends/entropy.js';
import { VirtioRng } from '../../../src/host/devices/virtio/rng.js';
import { PciRig, VIRTIO_SLOT, VirtioDriver, virtioRig } from '../../support/virtio-driver.js';

const VERSION_1 = 1n << 32n;
const rng = () => virtioRig(new VirtioRng({ entropy: new SeededEntropy(1) }));

describe('the modern PCI transport', () => {
  let { rig, device, driver } = rng();
  beforeEach(() => {
    ({ rig, device, driver } = rng());
  });

  it('identifies itself as a modern device', () => {
    expect(rig.configRead(VIRTIO_SLOT, 0, 4)).toBe(0x1044_1af4);
    expect(rig.configRead(VIRTIO_SLOT, 8, 1)).toBe(1);
    expect(rig.configRead(VIRTIO_SLOT, 0x06, 2) & 0x10).toBe(0x10);
    expect(rig.configRead(VIRTIO_SLOT, 0x3d, 1)).toBe(1);
  });

  it('lists all five structures and MSI-X', () => {
    const types = rig.capabilities(VIRTIO_SLOT).filter(({ id }) => id === 9).map(({ at }) => rig.configRead(VIRTIO_SLOT, at + 3, 1));
    expect(types.sort()).toEqual([1, 2, 3, 4, 5]);
    const msix = rig.capabilities(VIRTIO_SLOT).find(({ id }) => id === 0x11)!;
    expect(rig.configRead(VIRTIO_SLOT, msix.at + 2, 2)).toBe(1);
  });

  it('negotiates features', () => {
    driver.status = 3;
    expect(driver.offered & (VERSION_1 | (1n << 29n) | (1n << 28n))).toBe(VERSION_1 | (1n << 29n) | (1n << 28n));
    expect(driver.accept(1n << 28n)).toBe(false);
    expect(driver.accept(VERSION_1 | (1n << 50n))).toBe(false);
    expect(driver.accept(VERSION_1)).toBe(true);
    expect(device.features).toBe(VERSION_1);
    driver.accept(VERSION_1 | (1n << 28n));
    expect(device.features).toBe(VERSION_1);
    driver.setCommon(0, 4, 2);
    expect(driver.common(4, 4)).toBe(0);
  });

  it('refuses DRIVER_OK without FEATURES_OK', () => {
    driver.status = 3;
    driver.status = 7;
    expect(driver.status).toBe(3);
  });

  it('gives up to the largest queue and refuses silly sizes', () => {
    driver.setCommon(0x16, 2, 0);
    expect(driver.common(0x18, 2)).toBe(8);
    for (const size of [0, 3, 16, 0x8000]) {
      driver.setCommon(0x18, 2, size);
      expect(driver.common(0x18, 2)).toBe(8);
    }
    driver.setCommon(0x18, 2, 4);
    expect(driver.common(0x18, 2)).toBe(4);
    driver.setCommon(0x16, 2, 7);
    expect(driver.common(0x18, 2)).toBe(0);
  });

  it('keeps 64-bit queue addresses, written in any pieces', () => {
    driver.setCommon(0x16, 2, 0);
    driver.setCommon(0x24, 4, 0x12);
    driver.setCommon(0x20, 2, 0x5670);
    driver.setCommon(0x22, 1, 0x34);
    expect([driver.common(0x20, 4), driver.common(0x24, 4)]).toEqual([0x0034_5670, 0x12]);
    expect(driver.common(0x21, 2)).toBe(0x3456);
  });

  it('refuses MSI-X vectors that do not exist', () => {
    driver.setCommon(0x10, 2, 1);
    expect(driver.common(0x10, 2)).toBe(1);
    driver.setCommon(0x10, 2, 2);
    expect(driver.common(0x10, 2)).toBe(0xffff);
  });

  it('interrupts by the queue vector, at once when the buffer comes', () => {
    driver.start();
    const { data, length } = driver.queues[0].request([{ room: 32 }]);
    expect(length).toBe(32);
    expect(data.some(byte => byte !== 0)).toBe(true);
    expect(driver.takeMessages(1)).toBe(1);
    expect(rig.messages).toEqual([]);
    expect(rig.levels).toEqual([false, false, false, false]);
  });

  it('holds messages of masked vectors and shows them pending', () => {
    driver.start();
    const capability = rig.capabilities(VIRTIO_SLOT).find(({ id }) => id === 0x11)!.at;
    const bar = driver.barBase(1);
    rig.bus.mmioWrite(bar + 16 + 12, 4, 1);
    driver.queues[0].request([{ room: 4 }]);
    expect(rig.messages).toEqual([]);
    const pba = bar + (rig.configRead(VIRTIO_SLOT, capability + 8, 4) & ~7);
    expect(rig.bus.mmioRead(pba, 4)).toBe(2);
    rig.configWrite(VIRTIO_SLOT, capability + 2, 2, 0xc000);
    rig.bus.mmioWrite(bar + 16 + 12, 4, 0);
    expect(rig.messages).toEqual([]);
    rig.configWrite(VIRTIO_SLOT, capability + 2, 2, 0x8000);
    expect(driver.takeMessages(1)).toBe(1);
    expect(rig.bus.mmioRead(pba, 4)).toBe(0);
  });

  it('falls back to INTx, acknowledged by reading ISR', () => {
    driver.start({ msix: false });
    driver.queues[0].request([{ room: 4 }]);
    expect(rig.levels[(VIRTIO_SLOT - 1) & 3]).toBe(true);
    expect(driver.isr()).toBe(1);
    expect(rig.levels[(VIRTIO_SLOT - 1) & 3]).toBe(false);
    expect(driver.isr()).toBe(0);
  });

  it('serves what was queued before DRIVER_OK', () => {
    driver.status = 3;
    driver.accept(VERSION_1);
    const queue = driver.setupQueue(0);
    queue.add([{ room: 4 }]);
    queue.kick();
    expect(queue.completions()).toEqual([]);
    driver.status |= 4;
    expect(queue.completions().length).toBe(1);
  });

  it('stays off the bus while the guest says so, and catches up', () => {
    driver.start();
    rig.configWrite(VIRTIO_SLOT, 0x04, 2, 2);
    const queue = driver.queues[0];
    queue.add([{ room: 4 }]);
    queue.kick();
    expect(queue.completions()).toEqual([]);
    rig.configWrite(VIRTIO_SLOT, 0x04, 2, 6);
    expect(queue.completions().length).toBe(1);
  });

  it('needs a reset after a broken ring, says so, and works again afterwards', () => {
    driver.start();
    const generation = driver.common(0x15, 1);
    driver.queues[0].offer(999);
    driver.notify(0);
    expect(driver.status & 0x40).toBe(0x40);
    expect(driver.common(0x15, 1)).toBe((generation + 1) & 0xff);
    expect(driver.takeMessages(0)).toBe(1);
    expect([...rig.log.counts.keys()].some(line => line.includes('needs a reset'))).toBe(true);
    driver.start();
    expect(driver.status).toBe(0x0f);
    expect(driver.queues[0].request([{ room: 8 }]).length).toBe(8);
  });

  it('forgets everything on a status of 0', () => {
    driver.start({ msix: false });
    driver.queues[0].request([{ room: 4 }]);
    driver.status = 0;
    expect(driver.status).toBe(0);
    expect(rig.levels[(VIRTIO_SLOT - 1) & 3]).toBe(false);
    driver.setCommon(0x16, 2, 0);
    expect([driver.common(0x1c, 2), driver.common(0x20, 4), driver.common(0x1a, 2)]).toEqual([0, 0, 0xffff]);
  });

  it('is reachable through the configuration space window', () => {
    const at = rig.capabilities(VIRTIO_SLOT).find(({ id, at: offset }) => id === 9 && rig.configRead(VIRTIO_SLOT, offset + 3, 1) === 5)!.at;
    rig.configWrite(VIRTIO_SLOT, at + 4, 1, 4);
    rig.configWrite(VIRTIO_SLOT, at + 8, 4, 0x14);
    rig.configWrite(VIRTIO_SLOT, at + 12, 4, 1);
    rig.configWrite(VIRTIO_SLOT, at + 16, 4, 3);
    expect(driver.status).toBe(3);
    expect(rig.configRead(VIRTIO_SLOT, at + 16, 4) & 0xff).toBe(3);
    rig.configWrite(VIRTIO_SLOT, at + 8, 4, 0xffff_fffc);
    rig.configWrite(VIRTIO_SLOT, at + 12, 4, 4);
    rig.configWrite(VIRTIO_SLOT, at + 16, 4, 0);
    expect(driver.status).toBe(3);
  });

  it('works with a queue of every request in flight and a full ring', () => {
    driver.start();
    const queue = driver.queues[0];
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 8; i++) queue.add([{ room: 16 }], i % 2 === 1);
      queue.kick();
      expect(queue.completions().map(({ length }) => length)).toEqual(new Array(8).fill(16));
      queue.wantInterrupt();
    }
  });

  it('restores negotiated features, rings and interrupts in a new machine', () => {
    driver.start({ msix: false });
    driver.queues[0].request([{ room: 4 }]);
    const copy = new PciRig();
    copy.memory.write(0, rig.memory.view(0, rig.memory.size)!);
    const twin = virtioRig(new VirtioRng({ entropy: new SeededEntropy(1) }));
    twin.rig.memory.write(0, rig.memory.view(0, rig.memory.size)!);
    twin.device.restore(structuredClone(device.save()));
    expect(twin.device.save()).toEqual(device.save());
    expect(twin.device.features).toBe(device.features);
    expect(twin.rig.levels[(VIRTIO_SLOT - 1) & 3]).toBe(true);
    expect(twin.driver.isr()).toBe(1);
    const queue = driver.queues[0];
    queue.add([{ room: 6 }]);
    twin.rig.memory.write(0, rig.memory.view(0, rig.memory.size)!);
    new VirtioDriver(twin.rig, VIRTIO_SLOT).notify(0);
    rig.memory.write(0, twin.rig.memory.view(0, rig.memory.size)!);
    expect(queue.completions().map(({ length }) => length)).toEqual([6]);
  });

  it('refuses the state of another kind of device', () => {
    const state = device.save();
    state.device.queues.push(state.device.queues[0]);
    expect(() => device.restore(state)).toThrow(VmletError);
  });
});
