import { describe, expect, it } from 'vitest';
import { Port92 } from '../../../src/host/devices/port92.js';
import { deviceContract } from '../../support/device-contract.js';

deviceContract('port92', () => new Port92({ onA20: () => {}, onReset: () => {} }));

describe('port92', () => {
  it('gates A20 by bit 1 and resets when bit 0 rises', () => {
    const events: string[] = [];
    const device = new Port92({ onA20: on => events.push(on ? 'on' : 'off'), onReset: () => events.push('reset') });
    device.write(0, 2, 1);
    expect(device.read(0, 1)).toBe(2);
    device.write(0, 3, 1);
    device.write(0, 1, 1);
    device.write(0, 0, 1);
    device.write(0, 1, 1);
    expect(events).toEqual(['on', 'on', 'reset', 'off', 'off', 'off', 'reset']);
  });
});
