import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/host/clock.js';
import { ApicBus } from '../../../src/host/devices/apic-bus.js';
import { IoApic } from '../../../src/host/devices/ioapic.js';
import { Lapic } from '../../../src/host/devices/lapic.js';
import { deviceContract } from '../../support/device-contract.js';

deviceContract('ioapic', () => {
  const bus = new ApicBus();
  const device = new IoApic({ bus, id: 2 });
  const lines = Array.from({ length: 24 }, (_, pin) => device.line(pin));
  return {
    device,
    poke: random => {
      random.pick(lines).set(random.below(2) === 0);
      device.write(0, random.below(64), 4);
      device.write(0x10, random.u32(), 4);
      bus.broadcastEoi(random.below(256));
    },
  };
});

describe('ioapic', () => {
  let bus: ApicBus;
  let ioapic: IoApic;
  let lapic: Lapic;
  let intr: boolean;
  const get = (index: number): number => {
    ioapic.write(0, index, 4);
    return ioapic.read(0x10, 4);
  };
  const set = (index: number, value: number): void => {
    ioapic.write(0, index, 4);
    ioapic.write(0x10, value, 4);
  };
  const entry = (pin: number, low: number, high = 0): void => {
    set(0x11 + 2 * pin, high);
    set(0x10 + 2 * pin, low);
  };
  const low = (pin: number): number => get(0x10 + 2 * pin);
  const eoi = (): void => lapic.write(0xb0, 0, 4);

  beforeEach(() => {
    bus = new ApicBus();
    ioapic = new IoApic({ bus, id: 2 });
    lapic = new Lapic({ id: 0, clock: new ManualClock(), bus, pins: { setIntr: level => (intr = level), nmi: () => {}, init: () => {}, sipi: () => {} } });
    intr = false;
    lapic.write(0xf0, 0x1ff, 4);
  });

  it('identifies itself', () => {
    expect(get(1)).toBe(0x17_0020);
    expect(get(0)).toBe(2 << 24);
    set(0, 0x0500_0000);
    expect(get(0)).toBe(5 << 24);
    expect(get(0x3f)).toBe(0);
    expect(get(0x40)).toBe(0xffff_ffff);
    expect(low(0)).toBe(0x1_0000);
  });

  it('delivers an edge once, and drops one while masked', () => {
    const line = ioapic.line(2);
    line.set(true);
    line.set(false);
    entry(2, 0x30);
    expect(intr).toBe(false);
    line.set(true);
    expect(lapic.acknowledge()).toBe(0x30);
    eoi();
    expect(intr).toBe(false);
    line.set(false);
    line.set(true);
    expect(intr).toBe(true);
    expect(low(2)).toBe(0x30);
  });

  it('holds remote IRR until the end of a level interrupt, then asks again while the line is high', () => {
    entry(16, 0x1_a041);
    const line = ioapic.line(16);
    line.set(true);
    expect(intr).toBe(false);
    entry(16, 0xa041);
    expect(low(16)).toBe(0xe041);
    expect(lapic.acknowledge()).toBe(0x41);
    line.set(false);
    line.set(true);
    expect(intr).toBe(false);
    eoi();
    expect(intr).toBe(true);
    expect(lapic.acknowledge()).toBe(0x41);
    line.set(false);
    eoi();
    expect(low(16)).toBe(0xa041);
    expect(intr).toBe(false);
  });

  it('ends a level interrupt by its EOI register, and by a turn to edge', () => {
    entry(16, 0xa041);
    const line = ioapic.line(16);
    line.set(true);
    line.set(false);
    ioapic.write(0x40, 0x41, 4);
    expect(low(16)).toBe(0xa041);
    line.set(true);
    line.set(false);
    entry(16, 0x1_2041);
    entry(16, 0xa041);
    expect(low(16)).toBe(0xa041);
  });

  it('waits while nobody takes a level interrupt', () => {
    entry(9, 0x8055, 0x0700_0000);
    ioapic.line(9).set(true);
    expect(low(9)).toBe(0x8055);
    set(0x11 + 18, 0);
    set(0x10 + 18, 0x8055);
    expect(lapic.acknowledge()).toBe(0x55);
  });

  it('finds logical destinations', () => {
    lapic.write(0xd0, 0x0400_0000, 4);
    entry(4, 0x934, 0x0c00_0000);
    ioapic.line(4).set(true);
    expect(lapic.acknowledge()).toBe(0x34);
  });
});
