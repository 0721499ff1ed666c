import { describe, expect, it } from 'vitest';
import { DebugExit } from '../../../src/host/devices/debug-exit.js';
import { deviceContract } from '../../support/device-contract.js';

deviceContract('debug-exit', () => new DebugExit({ onExit: () => {} }));

describe('debug-exit', () => {
  it('ends with (value << 1) | 1 of whatever was written', () => {
    const codes: number[] = [];
    const device = new DebugExit({ onExit: code => codes.push(code) });
    device.write(0, 0, 1);
    device.write(2, 0x10, 1);
    device.write(0, 0xffff_ffff, 4);
    expect(codes).toEqual([1, 0x21, 0xffff_ffff]);
    expect(device.read(0, 4)).toBe(0);
  });
});
