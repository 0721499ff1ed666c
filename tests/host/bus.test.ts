import { beforeEach, describe, expect, it } from 'vitest';
import { VmletError } from '../../src/errors.js';
import { Bus } from '../../src/host/bus.js';
import type { AccessSize, Device, Region } from '../../src/host/devices/device.js';

class Recorder implements Device {
  readonly log: string[] = [];
  constructor(
    readonly name: string,
    readonly regions: readonly Region[],
  ) {}
  read(offset: number, size: AccessSize, region: number): number {
    this.log.push(`r${region}:${offset}/${size}`);
    return size === 1 ? (0x10 + offset) & 0xff : size === 2 ? 0x2000 + offset : 0x8000_0000 + offset;
  }
  write(offset: number, value: number, size: AccessSize, region: number): void {
    this.log.push(`w${region}:${offset}/${size}=${value.toString(16)}`);
  }
  reset(): void {}
  save(): object {
    return {};
  }
  restore(): void {}
}

const codeOf = (act: () => void): string => {
  try {
    act();
  } catch (error) {
    if (error instanceof VmletError) return error.code;
    throw error;
  }
  return 'none';
};

describe('Bus', () => {
  let bus: Bus;
  let ports: Recorder;
  let memory: Recorder;

  beforeEach(() => {
    bus = new Bus();
    ports = new Recorder('ports', [{ space: 'pio', size: 4 }, { space: 'pio', size: 1 }]);
    memory = new Recorder('memory', [{ space: 'mmio', size: 4096 }]);
  });

  it('reads ones and drops writes where nobody is', () => {
    expect(bus.portRead(0x80, 1)).toBe(0xff);
    expect(bus.portRead(0x80, 2)).toBe(0xffff);
    expect(bus.portRead(0xffff, 4)).toBe(0xffff_ffff);
    expect(bus.mmioRead(0xf000_0000, 4)).toBe(0xffff_ffff);
    bus.portWrite(0xffff, 4, 1);
    bus.mmioWrite(0xf000_0000, 4, 1);
  });

  it('hands accesses over with their offset, size and region', () => {
    bus.attach(ports, 0, 0x100);
    bus.attach(ports, 1, 0x200);
    expect(bus.portRead(0x101, 2)).toBe(0x2001);
    bus.portWrite(0x200, 1, 0xab);
    bus.portWrite(0x100, 4, 0xdead_beef);
    expect(ports.log).toEqual(['r0:1/2', 'w1:0/1=ab', 'w0:0/4=deadbeef']);
  });

  it('splits an access that crosses an edge into bytes, lowest first', () => {
    bus.attach(ports, 0, 0x100);
    expect(bus.portRead(0x103, 4)).toBe(0xffff_ff13);
    expect(bus.portRead(0xff, 2)).toBe(0x10ff);
    bus.portWrite(0xfe, 4, 0x4433_2211);
    expect(ports.log).toEqual(['r0:3/1', 'r0:0/1', 'w0:0/1=33', 'w0:1/1=44']);
    bus.attach(memory, 0, 0x1_0000_1000);
    memory.log.length = 0;
    expect(bus.mmioRead(0x1_0000_0fff, 2)).toBe(0x10ff);
    expect(bus.mmioRead(0x1_0000_1ffe, 4) >>> 16).toBe(0xffff);
    expect(memory.log).toEqual(['r0:0/1', 'r0:4094/1', 'r0:4095/1']);
  });

  it('finds the right window among neighbours', () => {
    const others = [1, 2, 3, 4].map(n => new Recorder(`m${n}`, [{ space: 'mmio', size: 0x100 }]));
    for (const n of [2, 0, 3, 1]) bus.attach(others[n], 0, 0xe000_0000 + n * 0x100);
    for (const n of [3, 1, 0, 2]) {
      expect(bus.mmioRead(0xe000_0000 + n * 0x100 + 8, 4)).toBe(0x8000_0008);
      expect(others[n].log).toEqual(['r0:8/4']);
    }
    bus.detach(others[1], 0);
    expect(bus.mmioRead(0xe000_0108, 4)).toBe(0xffff_ffff);
    expect(bus.mmioRead(0xe000_0208, 4)).toBe(0x8000_0008);
  });

  it('refuses overlap, twice the same region and addresses that do not exist', () => {
    bus.attach(ports, 0, 0x100);
    bus.attach(memory, 0, 0xfee0_0000);
    const other = new Recorder('other', [{ space: 'pio', size: 8 }, { space: 'mmio', size: 16 }]);
    expect(codeOf(() => bus.attach(other, 0, 0xfc))).toBe('ERR_VMLET_CONFIG');
    expect(codeOf(() => bus.attach(other, 1, 0xfee0_0ff8))).toBe('ERR_VMLET_CONFIG');
    expect(codeOf(() => bus.attach(other, 1, 0xfedf_fff8))).toBe('ERR_VMLET_CONFIG');
    expect(codeOf(() => bus.attach(ports, 0, 0x300))).toBe('ERR_VMLET_CONFIG');
    expect(codeOf(() => bus.attach(other, 0, 0xfffc))).toBe('ERR_VMLET_CONFIG');
    expect(codeOf(() => bus.attach(other, 2, 0))).toBe('ERR_VMLET_CONFIG');
    expect(bus.isFree('pio', 0x104, 8)).toBe(true);
    expect(bus.isFree('pio', 0x103, 8)).toBe(false);
    bus.attach(other, 0, 0x104);
  });

  it('moves a region, or leaves it where it was', () => {
    bus.attach(ports, 0, 0x100);
    bus.attach(ports, 1, 0x200);
    bus.move(ports, 0, 0x102);
    expect(bus.portRead(0x100, 1)).toBe(0xff);
    expect(bus.portRead(0x105, 1)).toBe(0x13);
    expect(codeOf(() => bus.move(ports, 0, 0x1fe))).toBe('ERR_VMLET_CONFIG');
    expect(bus.baseOf(ports, 0)).toBe(0x102);
    bus.detach(ports, 0);
    bus.detach(ports, 0);
    expect(bus.portRead(0x105, 1)).toBe(0xff);
  });
});
