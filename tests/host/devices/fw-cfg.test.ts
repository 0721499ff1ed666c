import { describe, expect, it } from 'vitest';
import { FwCfg } from '../../../src/host/devices/fw-cfg.js';
import { deviceContract } from '../../support/device-contract.js';

deviceContract('fw-cfg', () => new FwCfg({ ramBytes: 64 << 20, cpus: 1 }));

describe('fw-cfg', () => {
  const read = (key: number, bytes: number): number[] => {
    const device = new FwCfg({ ramBytes: 3 * 2 ** 30, cpus: 2 });
    device.write(0, key, 2, 0);
    return Array.from({ length: bytes }, () => device.read(1, 1, 0));
  };

  it('names itself, then gives zeros', () => {
    expect(String.fromCharCode(...read(0, 4))).toBe('QEMU');
    expect(read(0, 6).slice(4)).toEqual([0, 0]);
    expect(read(1, 4)).toEqual([1, 0, 0, 0]);
  });

  it('counts memory and processors', () => {
    expect(read(3, 8)).toEqual([0, 0, 0, 0xc0, 0, 0, 0, 0]);
    expect(read(5, 2)).toEqual([2, 0]);
    expect(read(0x0f, 2)).toEqual([2, 0]);
  });

  it('has no files and knows no other key', () => {
    expect(read(0x19, 4)).toEqual([0, 0, 0, 0]);
    expect(read(0x7777, 2)).toEqual([0, 0]);
  });

  it('starts an item anew when it is selected again', () => {
    const device = new FwCfg({ ramBytes: 1 << 20, cpus: 1 });
    device.write(0, 0, 2, 0);
    device.read(1, 1, 0);
    device.write(0, 0, 2, 0);
    expect(device.read(1, 1, 0)).toBe(0x51);
  });
});
