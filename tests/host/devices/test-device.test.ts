import { describe, expect, it } from 'vitest';
import { TestDevice } from '../../../src/host/devices/test-device.js';
import { deviceContract } from '../../support/device-contract.js';

const silent = () => Array.from({ length: 24 }, () => ({ set: () => {} }));

deviceContract('test-device', () => new TestDevice({ irqs: silent() }));

describe('test-device', () => {
  it('keeps what the latch ports were given, in any size', () => {
    const device = new TestDevice({ irqs: silent() });
    device.write(0, 0x1122_3344, 4, 0);
    device.write(1, 0xaa, 1, 0);
    expect(device.read(0, 4, 0)).toBe(0x1122_aa44);
    expect(device.read(2, 2, 0)).toBe(0x1122);
    device.write(4, 0xffff_ffff, 4, 0);
    expect(device.read(0, 4, 0)).toBe(0x1122_aa44);
  });

  it('sets interrupt lines', () => {
    const events: string[] = [];
    const device = new TestDevice({ irqs: [0, 1].map(n => ({ set: level => events.push(`${n} ${String(level)}`) })) });
    device.write(1, 1, 1, 1);
    device.write(1, 0, 1, 1);
    expect(events).toEqual(['1 true', '1 false']);
  });

  it('has memory', () => {
    const device = new TestDevice({ irqs: silent() });
    device.write(0x1fff, 0x99, 1, 2);
    device.write(0x10, 0x1234_5678, 4, 2);
    expect(device.read(0x1fff, 1, 2)).toBe(0x99);
    expect(device.read(0x12, 2, 2)).toBe(0x1234);
  });
});
