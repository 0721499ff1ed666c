import { describe, expect, it } from 'vitest';
import type { CharBackend } from '../../../src/host/backends/backend.js';
import { Debugcon } from '../../../src/host/devices/debugcon.js';
import { deviceContract } from '../../support/device-contract.js';

const backend = (out: number[]): CharBackend => ({ write: data => out.push(...data), attach: () => {} });

deviceContract('debugcon', () => new Debugcon({ backend: backend([]) }));

describe('debugcon', () => {
  it('passes bytes on and answers with its port number', () => {
    const out: number[] = [];
    const device = new Debugcon({ backend: backend(out) });
    for (const byte of [0x68, 0x69, 0xff]) device.write(0, byte, 1);
    expect(out).toEqual([0x68, 0x69, 0xff]);
    expect(device.read(0, 1)).toBe(0xe9);
  });
});
