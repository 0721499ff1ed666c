import { describe, expect, it } from 'vitest';
import type { NetworkCard } from '../../../src/host/board/pc.js';
import { Machine, type MachineOptions } from '../../../src/host/machine.js';
import { coreModule, TextChar } from '../machine-support.js';
import { assemble, canRunGuests } from './support.js';

const LOG = 0xa020;
const RECORD = 32;
const SEEN = 0xa100;

/** The ROM of guest/option-rom.S, with a right checksum. */
const ourRom = (): Uint8Array => {
  const rom = assemble('option-rom').slice();
  rom[6] -= rom.reduce((sum, byte) => sum + byte, 0);
  return rom;
};
const card = (last: number, rom: Uint8Array, model: NetworkCard['model'] = 'virtio'): NetworkCard => ({ model, mac: Uint8Array.of(0x52, 0x54, 0, 0, 0, last), port: { send: () => {}, onFrame: undefined }, rom });

const boot = async (nics: NetworkCard[], options: Partial<MachineOptions> = {}) => {
  const serial = new TextChar();
  const log: string[] = [];
  const machine = new Machine({
    core: coreModule(), memoryBytes: 16 * 2 ** 20, boot: { kind: 'firmware', order: ['disk', 'net'] }, serial: [serial], nics, debugExitPort: 0xf4, timeoutNs: 5e9, onGuestLog: line => log.push(line), ...options,
  });
  const exit = await machine.run();
  const { ram } = machine.core;
  const words = (at: number, count: number): number[] => Array.from({ length: count }, (_, i) => ram[at + 2 * i] | (ram[at + 2 * i + 1] << 8));
  return { exit, text: serial.text, words, ram, log };
};

describe.skipIf(!canRunGuests)('option ROMs', () => {
  it('are initialized one behind the other, shrink, and boot as disk and network devices', async () => {
    const { exit, text, words, ram, log } = await boot([card(1, ourRom()), card(2, ourRom())]);
    expect(exit).toMatchObject({ reason: 'debug-exit', code: 0x43 });
    for (const n of [0, 1]) {
      const [ax, bx, dx, pnpLow, pnpHigh, version, status, low, high, foundLow, foundHigh, freed, freedAgain, conventional, single] = words(LOG + n * RECORD, 15);
      expect(ax >> 3).toBeGreaterThan(1);
      expect([bx, dx]).toEqual([0xffff, 0xffff]);
      expect(pnpLow | (pnpHigh << 16)).toBe(0x506e5024);
      expect([version, status]).toEqual([0x0101, 0]);
      const address = (low | (high << 16)) >>> 0;
      expect(address).toBeGreaterThanOrEqual(0x10_0000);
      expect(address % 0x1000).toBe(0);
      expect([foundLow, foundHigh]).toEqual([low, high]);
      expect([freed, freedAgain]).toEqual([0, 1]);
      expect(conventional).toBe(6);
      expect(single).toBe(100);
      // Written through a segment of 4 GB.
      expect(new DataView(ram.buffer, ram.byteOffset).getUint32(address, true)).toBe(0x600df00d);
    }
    expect(words(LOG, 1)[0]).not.toBe(words(LOG + RECORD, 1)[0]);
    // The first keeps 512 bytes, the second is at the next 2 KB.
    expect([ram[0xc8002], ram[0xc8802]]).toEqual([1, 1]);
    const [bootRecord, entered, pnpLow, pnpHigh, own, pmmLow, pmmHigh] = words(SEEN, 7);
    expect(bootRecord).toBe(0xb007);
    expect(entered).toBe(2);
    expect(pnpLow | (pnpHigh << 16)).toBe(0x506e5024);
    // By then ROMs are read-only, and their memory manager is gone.
    expect(own).not.toBe(0xdead);
    expect([pmmLow, pmmHigh]).toEqual([0xffff, 0xffff]);
    expect(text.match(/Booting from A ROM of ours\.\.\./g)).toHaveLength(4);
    expect(log).toEqual([]);
  });

  it.each<[string, (rom: Uint8Array) => void, RegExp]>([
    ['a wrong checksum', rom => void rom[100]++, /left out: its checksum is wrong/],
    ['no PCI data structure', rom => void (rom[0x1c] = 0), /left out: it has no PCI data structure/],
    ['an image for another firmware', rom => void (rom[0x1c + 20] = 3), /left out: it has no image for a BIOS and this card/],
    ['a data structure beyond its end', rom => void new DataView(rom.buffer).setUint16(0x18, 0x7f0, true), /left out: it has no PCI data structure/],
    ['a length beyond its end', rom => void (rom[2] = 200), /left out: it ends within its image of 102400 bytes/],
  ])('with %s are left out, and why is told', async (_, spoil, message) => {
    const rom = ourRom();
    spoil(rom);
    const { exit, text, words } = await boot([card(1, rom)], { boot: { kind: 'firmware', order: ['net'] } });
    expect(text).toMatch(/Option ROM of PCI [0-9a-f]{2}\.0 left out/);
    expect(text).toMatch(message);
    expect(text).toMatch(/Cannot boot from net: this machine has none\.[^]*No bootable device/);
    expect(words(0xa000, 1)).toEqual([0]);
    expect(exit.reason).toBe('halted');
  });

  it('do not fit when there are too many that keep all', async () => {
    const big = new Uint8Array(40 * 1024);
    big.set(ourRom());
    big[2] = big.length / 512;
    big.set([0xb8, 0x00, 0x00, 0xcb], 3); // mov ax, 0; retf: it keeps what it has
    big.fill(0, 0x1a, 0x1c); // nothing boots
    big[7] -= big.reduce((sum, byte) => sum + byte, 0);
    const { text } = await boot([1, 2, 3].map(n => card(n, big)), { boot: { kind: 'firmware', order: ['net'] } });
    expect(text.match(/left out: its 40960 bytes do not fit: 16384 are left/g)).toHaveLength(1);
  });
});
