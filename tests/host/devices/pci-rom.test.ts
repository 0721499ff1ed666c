import { describe, expect, it } from 'vitest';
import { Bus } from '../../../src/host/bus.js';
import { PciHost } from '../../../src/host/devices/pci.js';
import { PciDevice } from '../../../src/host/devices/pci-config.js';
import { fitOptionRom } from '../../../src/host/devices/pci-rom.js';
import { CountingGuestLog } from '../../../src/logger.js';

/** A ROM of 3 blocks with a PCI data structure; its bytes add up to 0. */
const makeRom = (): Uint8Array => {
  const rom = new Uint8Array(1536);
  rom.set([0x55, 0xaa, 3]);
  const view = new DataView(rom.buffer);
  view.setUint16(0x18, 0x1c, true);
  view.setUint32(0x1c, 0x5249_4350, true);
  view.setUint16(0x20, 0x1af4, true);
  view.setUint16(0x22, 0x1000, true);
  rom[1535] = -rom.reduce((sum, byte) => sum + byte, 0);
  return rom;
};

class Card extends PciDevice<Record<string, never>> {
  constructor(rom: Uint8Array, log: CountingGuestLog) {
    super('card', { vendorId: 0x8086, deviceId: 0x100e, classCode: 0x020000, rom }, [{ index: 0, space: 'mmio', size: 4096 }], log);
  }

  override read(): number {
    return 0;
  }

  override write(): void {}
  protected override resetDevice(): void {}
  protected override saveDevice(): Record<string, never> {
    return {};
  }
  protected override restoreDevice(): void {}
}

const plugged = () => {
  const bus = new Bus();
  const log = new CountingGuestLog();
  const host = new PciHost({ bus, msi: { send: () => {} }, log });
  const card = new Card(makeRom(), log);
  host.add(card);
  return { bus, host, card };
};

describe('option ROMs', () => {
  it('get a power of two of bytes, and the identifiers of the card with the checksum kept', () => {
    const rom = fitOptionRom(makeRom(), { vendorId: 0x8086, deviceId: 0x100e }, 'card');
    const view = new DataView(rom.buffer);
    expect(rom.length).toBe(2048);
    expect([view.getUint16(0x20, true), view.getUint16(0x22, true)]).toEqual([0x8086, 0x100e]);
    expect(rom.subarray(0, 1536).reduce((sum, byte) => sum + byte, 0) & 0xff).toBe(0);
    expect(rom[1600]).toBe(0xff);
  });

  it('must be option ROMs', () => {
    const fit = (image: Uint8Array) => () => fitOptionRom(image, { vendorId: 1, deviceId: 1 }, 'card');
    expect(fit(new Uint8Array(512))).toThrow(/option ROM of 'card' cannot be used: it does not start with 55 AA/);
    expect(fit(Uint8Array.of(0x55, 0xaa))).toThrow(/55 AA/);
    expect(fit(new Uint8Array((16 << 20) + 1))).toThrow(/up to 16777216/);
  });

  it('with a data structure outside are left as they are', () => {
    const image = makeRom();
    image[0x19] = 0xff;
    expect(fitOptionRom(image, { vendorId: 1, deviceId: 1 }, 'card').subarray(0, 1536)).toEqual(image);
  });

  it('tell their size, and answer while they and memory decoding are on', () => {
    const { bus, card } = plugged();
    card.writeConfig(0x30, 0xffff_ffff, 4);
    expect(card.readConfig(0x30, 4)).toBe(0xffff_f801);
    card.writeConfig(0x30, 0xfe00_0001, 4);
    expect(bus.mmioRead(0xfe00_0000, 2)).toBe(0xffff);
    card.writeConfig(0x04, 2, 2);
    expect(bus.mmioRead(0xfe00_0000, 2)).toBe(0xaa55);
    expect(bus.mmioRead(0xfe00_001c, 4)).toBe(0x5249_4350);
    bus.mmioWrite(0xfe00_0000, 2, 0);
    expect(bus.mmioRead(0xfe00_0000, 2)).toBe(0xaa55);
    card.writeConfig(0x30, 0xfe10_0001, 4);
    expect([bus.mmioRead(0xfe00_0000, 2), bus.mmioRead(0xfe10_0000, 2)]).toEqual([0xffff, 0xaa55]);
    card.writeConfig(0x30, 0xfe10_0000, 4);
    expect(bus.mmioRead(0xfe10_0000, 2)).toBe(0xffff);
  });

  it('get an address by firmware, are off then, and after a reset too', () => {
    const { bus, host, card } = plugged();
    host.assignBars({ ioBase: 0xc000, ioEnd: 0x1_0000, memoryBase: 0xe000_0000, memoryEnd: 0xfec0_0000 });
    const base = card.readConfig(0x30, 4);
    expect(base).toBe(0xe000_1000);
    expect(bus.mmioRead(base, 2)).toBe(0xffff);
    card.writeConfig(0x30, base | 1, 4);
    expect(bus.mmioRead(base, 2)).toBe(0xaa55);
    const state = card.save();
    card.reset();
    expect([card.readConfig(0x30, 4), bus.mmioRead(base, 2)]).toEqual([0, 0xffff]);
    card.restore(state);
    expect(bus.mmioRead(base, 2)).toBe(0xaa55);
  });
});
