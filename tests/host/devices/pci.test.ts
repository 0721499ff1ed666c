import { describe, expect, it } from 'vitest';
import { VmletError } from '../../../src/errors.js';
import { type AccessSize, openBus } from '../../../src/host/devices/device.js';
import { HostBridge440fx, IsaBridgePiix3, PciHost } from '../../../src/host/devices/pci.js';
import { PciDevice } from '../../../src/host/devices/pci-config.js';
import type { Msi } from '../../../src/host/devices/msi.js';
import { CountingGuestLog } from '../../../src/logger.js';
import { deviceContract } from '../../support/device-contract.js';
import { PciRig } from '../../support/virtio-driver.js';

class Card extends PciDevice<{ last: number }> {
  last = 0;
  readonly msi: Msi | undefined;

  constructor(log: CountingGuestLog, name = 'card', pin = 1, msiVectors = 0) {
    super(
      name,
      { vendorId: 0x1234, deviceId: 0x5678, classCode: 0x020301, revision: 7, subsystemVendorId: 0xabcd, subsystemId: 0x4321, interruptPin: pin },
      [
        { index: 0, space: 'mmio', size: 0x1000 },
        { index: 2, space: 'pio', size: 32 },
        { index: 3, space: 'mmio', size: 0x10_0000, prefetchable: true },
      ],
      log,
    );
    if (msiVectors > 0) this.msi = this.addMsi(msiVectors);
  }

  override read(offset: number, size: AccessSize, region: number): number {
    return region === 0 ? offset & 0xff : openBus(size);
  }

  override write(_offset: number, value: number): void {
    this.last = value;
  }

  interrupt(level: boolean): void {
    this.setIntx(level);
  }

  protected override resetDevice(): void {
    this.last = 0;
  }

  protected override saveDevice(): { last: number } {
    return { last: this.last };
  }

  protected override restoreDevice(state: { last: number }): void {
    this.last = state.last;
  }
}

const COMMAND = 0x04;

const setup = (msiVectors = 0) => {
  const rig = new PciRig();
  const card = new Card(rig.log, 'card', 1, msiVectors);
  rig.plug(new HostBridge440fx(rig.log), 0);
  rig.plug(card, 2);
  return { rig, card };
};

describe('configuration mechanism 1', () => {
  it('is found as Linux and FreeBSD look for it', () => {
    const { rig } = setup();
    rig.bus.portWrite(0xcfb, 1, 0x01);
    rig.bus.portWrite(0xcf8, 4, 0x8000_0000);
    expect(rig.bus.portRead(0xcf8, 4)).toBe(0x8000_0000);
    expect(rig.bus.portRead(0xcfc, 4)).toBe(0x1237_8086);
    expect(rig.configRead(0, 0x0a, 2)).toBe(0x0600);
    rig.bus.portWrite(0xcfb, 1, 0);
    expect(rig.bus.portRead(0xcf8, 4)).not.toBe(0);
  });

  it('is not taken for mechanism 2', () => {
    const { rig } = setup();
    rig.bus.portWrite(0xcfb, 1, 0);
    rig.bus.portWrite(0xcf8, 1, 0);
    rig.bus.portWrite(0xcfa, 1, 0);
    expect([rig.bus.portRead(0xcf8, 1), rig.bus.portRead(0xcfa, 1)]).not.toEqual([0, 0]);
  });

  it('reads ones where nobody is, on other buses and while disabled', () => {
    const { rig } = setup();
    expect(rig.configRead(5, 0, 4)).toBe(0xffff_ffff);
    rig.bus.portWrite(0xcf8, 4, 0x8001_0000);
    expect(rig.bus.portRead(0xcfc, 4)).toBe(0xffff_ffff);
    rig.bus.portWrite(0xcf8, 4, 0x0000_0000);
    expect(rig.bus.portRead(0xcfc, 2)).toBe(0xffff);
    expect(rig.configRead(2, 0, 4, 1)).toBe(0xffff_ffff);
  });

  it('gives bytes, words and double words', () => {
    const { rig } = setup();
    expect(rig.configRead(2, 0x00, 4)).toBe(0x5678_1234);
    expect(rig.configRead(2, 0x02, 2)).toBe(0x5678);
    expect(rig.configRead(2, 0x01, 1)).toBe(0x12);
    expect(rig.configRead(2, 0x08, 4)).toBe(0x0203_0107);
    expect(rig.configRead(2, 0x2c, 4)).toBe(0x4321_abcd);
    expect(rig.configRead(2, 0x3c, 2)).toBe(0x0100);
    rig.configWrite(2, 0x3c, 1, 11);
    expect(rig.configRead(2, 0x3c, 4)).toBe(0x0000_010b);
    rig.configWrite(2, 0x00, 4, 0);
    expect(rig.configRead(2, 0x00, 4)).toBe(0x5678_1234);
  });

  it('passes the reset control register on', () => {
    const { rig } = setup();
    rig.bus.portWrite(0xcf8, 4, 0x8000_1000);
    rig.bus.portWrite(0xcf9, 1, 0x06);
    expect(rig.resets).toEqual([6]);
    expect(rig.bus.portRead(0xcf9, 1)).toBe(6);
    expect(rig.bus.portRead(0xcf8, 4)).toBe(0x8000_1000);
  });

  it('marks a slot with several functions', () => {
    const { rig } = setup();
    expect(rig.configRead(2, 0x0e, 1)).toBe(0);
    rig.plug(new Card(rig.log, 'second', 2), 2, 1);
    expect(rig.configRead(2, 0x0e, 1)).toBe(0x80);
    expect(rig.configRead(2, 0x0c, 4)).toBe(0x0080_0000);
    expect(rig.configRead(2, 0x0e, 1, 1)).toBe(0x80);
    expect(rig.configRead(2, 0x00, 4, 1)).toBe(0x5678_1234);
  });

  it('refuses taken and missing slots', () => {
    const { rig } = setup();
    expect(() => rig.plug(new Card(rig.log), 2)).toThrow(VmletError);
    expect(() => rig.plug(new Card(rig.log), 32)).toThrow(/slot/);
    expect(() => rig.plug(new Card(rig.log), 9, 1)).toThrow(/function 0/);
    for (let left = 30; left > 0; left--) rig.host.add(new Card(rig.log));
    expect(() => rig.host.add(new Card(rig.log))).toThrow(/no PCI slot/);
  });
});

describe('base address registers', () => {
  it('tell their size', () => {
    const { rig } = setup();
    const sizes = [0, 1, 2, 3, 4, 5].map(bar => {
      rig.configWrite(2, 0x10 + 4 * bar, 4, 0xffff_ffff);
      return rig.configRead(2, 0x10 + 4 * bar, 4);
    });
    expect(sizes).toEqual([0xffff_f000, 0, 0xffff_ffe1, 0xfff0_0008, 0, 0]);
  });

  it('move the region when the guest programs them', () => {
    const { rig, card } = setup();
    rig.configWrite(2, 0x10, 4, 0xe000_0000);
    expect(rig.bus.mmioRead(0xe000_0010, 1)).toBe(0xff);
    rig.configWrite(2, COMMAND, 2, 2);
    expect(rig.bus.mmioRead(0xe000_0010, 1)).toBe(0x10);
    rig.configWrite(2, 0x10, 4, 0xe100_0000);
    expect(rig.bus.mmioRead(0xe000_0010, 1)).toBe(0xff);
    expect(rig.bus.mmioRead(0xe100_0020, 1)).toBe(0x20);
    rig.configWrite(2, COMMAND, 2, 0);
    expect(rig.bus.mmioRead(0xe100_0020, 1)).toBe(0xff);
    rig.configWrite(2, 0x18, 4, 0xc001);
    rig.configWrite(2, COMMAND, 2, 1);
    rig.bus.portWrite(0xc004, 4, 77);
    expect(card.last).toBe(77);
  });

  it('can be sized while decoding is on', () => {
    const { rig } = setup();
    rig.assignBars();
    const before = rig.configRead(2, 0x10, 4);
    rig.configWrite(2, 0x10, 4, 0xffff_ffff);
    expect(rig.bus.mmioRead(0xffff_f000, 4)).toBe(0xffff_ffff);
    rig.configWrite(2, 0x10, 4, before);
    expect(rig.bus.mmioRead(before + 4, 1)).toBe(4);
    expect(rig.log.counts.size).toBe(0);
  });

  it('stay unmapped on top of another device, until that one moves', () => {
    const { rig } = setup();
    rig.plug(new Card(rig.log, 'other'), 4);
    rig.assignBars();
    const first = rig.configRead(2, 0x10, 4);
    const second = rig.configRead(4, 0x10, 4);
    rig.configWrite(4, 0x10, 4, first);
    expect(rig.log.counts.size).toBe(1);
    expect(rig.bus.mmioRead(second, 1)).toBe(0xff);
    rig.configWrite(2, 0x10, 4, second);
    expect(rig.bus.mmioRead(first + 8, 1)).toBe(8);
    expect(rig.bus.mmioRead(second + 8, 1)).toBe(8);
    rig.configWrite(2, COMMAND, 2, 0);
    expect(rig.bus.mmioRead(second + 8, 1)).toBe(0xff);
    expect(rig.bus.mmioRead(first + 8, 1)).toBe(8);
  });

  it('cannot take the configuration ports', () => {
    const { rig } = setup();
    rig.configWrite(2, 0x18, 4, 0xce1);
    rig.configWrite(2, COMMAND, 2, 1);
    expect(rig.log.counts.size).toBe(1);
    expect(rig.configRead(2, 0, 4)).toBe(0x5678_1234);
  });

  it('are laid out naturally aligned and apart by the firmware step', () => {
    const { rig, card } = setup();
    rig.plug(new Card(rig.log, 'other'), 4);
    rig.assignBars();
    const bases = [2, 4].flatMap(slot => [0, 3].map(bar => (rig.configRead(slot, 0x10 + 4 * bar, 4) & ~15) >>> 0));
    expect(new Set(bases).size).toBe(4);
    for (const base of bases) expect(base % 0x1000).toBe(0);
    expect(bases[1] % 0x10_0000).toBe(0);
    expect(rig.configRead(2, COMMAND, 2)).toBe(3);
    expect(rig.log.counts.size).toBe(0);
    expect(() => rig.host.assignBars({ ioBase: 0xc000, ioEnd: 0xc010, memoryBase: 0xe000_0000, memoryEnd: 0xf000_0000 })).toThrow(VmletError);
    card.reset();
    expect(rig.bus.mmioRead(bases[0], 1)).toBe(0xff);
  });
});

it('a second firmware pass after a reset finds everything free', () => {
  const { rig, card } = setup();
  const other = new Card(rig.log, 'other');
  rig.plug(other, 4);
  rig.assignBars();
  const first = rig.configRead(4, 0x10, 4);
  rig.assignBars();
  expect(rig.configRead(4, 0x10, 4)).toBe(first);
  card.reset();
  other.reset();
  rig.host.reset();
  expect(rig.bus.mmioRead(first + 5, 1)).toBe(0xff);
  rig.assignBars();
  expect(rig.bus.mmioRead(first + 5, 1)).toBe(5);
  expect(rig.log.counts.size).toBe(0);
});

describe('interrupts', () => {
  it('INTx follows the device, the disable bit and the swizzle', () => {
    const { rig, card } = setup();
    card.interrupt(true);
    expect(rig.levels).toEqual([false, true, false, false]);
    expect(rig.configRead(2, 0x06, 2) & 8).toBe(8);
    rig.configWrite(2, COMMAND, 2, 0x400);
    expect(rig.levels[1]).toBe(false);
    expect(rig.configRead(2, 0x06, 2) & 8).toBe(8);
    rig.configWrite(2, COMMAND, 2, 0);
    expect(rig.levels[1]).toBe(true);
    const sharer = new Card(rig.log, 'sharer');
    rig.plug(sharer, 6);
    sharer.interrupt(true);
    card.interrupt(false);
    expect(rig.levels[1]).toBe(true);
    sharer.interrupt(false);
    expect(rig.levels[1]).toBe(false);
  });

  it('MSI needs bus mastering, keeps masked vectors pending and replaces INTx', () => {
    const { rig, card } = setup(4);
    const [{ id, at }] = rig.capabilities(2);
    expect(id).toBe(5);
    expect(rig.configRead(2, at + 2, 2)).toBe(0x0184);
    rig.configWrite(2, at + 4, 4, 0xfee0_1003);
    rig.configWrite(2, at + 12, 2, 0x4031);
    rig.configWrite(2, at + 2, 2, 0x0021);
    card.interrupt(true);
    expect(rig.levels[2]).toBe(false);
    card.msi!.notify(1);
    expect(rig.messages).toEqual([]);
    rig.configWrite(2, COMMAND, 2, 4);
    card.msi!.notify(3);
    expect(rig.messages).toEqual([{ addressLo: 0xfee0_1000, addressHi: 0, data: 0x4033 }]);
    rig.configWrite(2, at + 16, 4, 0xf);
    card.msi!.notify(2);
    expect(rig.messages.length).toBe(1);
    expect(rig.configRead(2, at + 20, 4)).toBe(4);
    rig.configWrite(2, at + 16, 4, 0);
    expect(rig.messages[1]).toEqual({ addressLo: 0xfee0_1000, addressHi: 0, data: 0x4032 });
    expect(rig.configRead(2, at + 20, 4)).toBe(0);
    rig.configWrite(2, at + 2, 2, 0x0000);
    expect(rig.levels[1]).toBe(true);
  });

  it('the ISA bridge routes PIRQ lines by its registers', () => {
    const rig = new PciRig();
    const isa = new Array<boolean>(16).fill(false);
    const bridge = new IsaBridgePiix3(isa.map((_, irq) => ({ set: level => void (isa[irq] = level) })), rig.log);
    rig.plug(bridge, 1);
    bridge.pirq[0].set(true);
    expect(isa.indexOf(true)).toBe(-1);
    bridge.route([10, 10, 11, 11]);
    expect(isa.flatMap((level, irq) => (level ? [irq] : []))).toEqual([10]);
    bridge.pirq[1].set(true);
    bridge.pirq[0].set(false);
    expect(isa[10]).toBe(true);
    rig.configWrite(1, 0x61, 1, 11);
    expect([isa[10], isa[11]]).toEqual([false, true]);
    rig.configWrite(1, 0x61, 1, 0x02);
    expect(isa[11]).toBe(false);
    rig.configWrite(1, 0x61, 1, 0x80);
    expect(rig.configRead(1, 0x61, 1)).toBe(0x80);
    expect(rig.configRead(1, 0x00, 4)).toBe(0x7000_8086);
  });

  it('interrupt lines are filled in for those with a pin', () => {
    const { rig } = setup();
    rig.host.assignInterrupts([5, 9, 10, 11]);
    expect(rig.configRead(2, 0x3c, 1)).toBe(9);
    expect(rig.configRead(0, 0x3c, 1)).toBe(0);
  });
});

describe('saved state', () => {
  it('brings bars, commands and levels back in a new machine', () => {
    const { rig, card } = setup(1);
    rig.assignBars();
    card.interrupt(false);
    card.last = 9;
    const base = rig.configRead(2, 0x10, 4);
    const copy = setup(1);
    copy.card.restore(structuredClone(card.save()));
    expect(copy.rig.bus.mmioRead(base + 3, 1)).toBe(3);
    expect(copy.card.last).toBe(9);
    expect(copy.card.save()).toEqual(card.save());
  });

  it('of another device is refused', () => {
    const { rig, card } = setup();
    const bridge = new HostBridge440fx(rig.log);
    expect(() => bridge.restore(card.save() as never)).toThrow(VmletError);
  });
});

deviceContract('PCI host', () => {
  const rig = new PciRig();
  rig.plug(new HostBridge440fx(rig.log), 0);
  rig.plug(new IsaBridgePiix3([], rig.log), 1);
  rig.plug(new Card(rig.log, 'card', 1, 8), 2);
  return rig.host;
});
deviceContract('PCI card', () => new Card(new CountingGuestLog(), 'card', 1, 8));
deviceContract('host bridge', () => new HostBridge440fx(new CountingGuestLog()));
deviceContract('ISA bridge', () => new IsaBridgePiix3([], new CountingGuestLog()));

it('random configuration traffic neither throws nor hangs', () => {
  const { rig } = setup(8);
  let seed = 12345;
  const next = () => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0);
  for (let i = 0; i < 10_000; i++) {
    const size = ([1, 2, 4] as const)[next() % 3];
    const register = (next() >>> 8) & 0xff;
    if (next() & 0x100) rig.configWrite((next() >>> 8) % 3, register, size, size === 4 ? next() : next() & openBus(size));
    else expect(rig.configRead((next() >>> 8) % 3, register, size)).toBeGreaterThanOrEqual(0);
  }
  expect(rig.host).toBeInstanceOf(PciHost);
});
