import { describe, expect, it } from 'vitest';
import { Rtl8139 } from '../../../src/host/devices/net/rtl8139.js';
import type { AccessSize } from '../../../src/host/devices/device.js';
import { deviceContract } from '../../support/device-contract.js';
import { BROADCAST, frameTo, MAC, nicRig, nicSubject, PEER } from '../../support/nic-rig.js';

const make = (context: ConstructorParameters<typeof Rtl8139>[0]) => new Rtl8139(context);
const RING = 0x1_0000;
const RING_BYTES = 8192;
const BUFFER = 0x4_0000;
const ROK = 1;
const TOK = 4;
const RXOVW = 0x10;
const LINK = 0x20;
const ALL = 0xe07f;

class Driver {
  readonly rig = nicRig(make);
  #at = 0;

  get = (register: number, size: AccessSize): number => this.rig.device.read(register, size);
  set = (register: number, value: number, size: AccessSize): void => this.rig.device.write(register, value, size);

  constructor(rcr = 0x0f) {
    this.set(0x37, 0x10, 1);
    this.set(0x30, RING, 4);
    this.set(0x37, 0x0c, 1);
    this.set(0x44, rcr, 4);
    this.set(0x3c, ALL, 2);
  }

  send(slot: number, frame: Uint8Array): void {
    this.rig.memory.write(BUFFER + 2048 * slot, frame);
    this.set(0x20 + 4 * slot, BUFFER + 2048 * slot, 4);
    this.set(0x10 + 4 * slot, frame.length, 4);
  }

  /** Takes one frame out of the ring as 8139too does. */
  take(): { status: number; bytes: Uint8Array } | undefined {
    if (this.get(0x37, 1) & 1) return undefined;
    const { memory } = this.rig;
    const byte = (i: number) => memory.view(RING + ((this.#at + i) % RING_BYTES), 1)![0];
    const length = byte(2) | (byte(3) << 8);
    const bytes = Uint8Array.from({ length }, (_, i) => byte(4 + i));
    const status = byte(0) | (byte(1) << 8);
    this.#at = (this.#at + length + 4 + 3) & ~3 % RING_BYTES;
    this.#at %= RING_BYTES;
    this.set(0x38, (this.#at - 16) & 0xffff, 2);
    return { status, bytes };
  }
}

deviceContract('rtl8139', () => nicSubject(make));

describe('rtl8139', () => {
  it('gives its address in its registers and in its EEPROM, bit by bit', () => {
    const { get, set } = new Driver();
    expect([0, 1, 2, 3, 4, 5].map(i => get(i, 1))).toEqual([...MAC]);
    const readWord = (word: number): number => {
      set(0x50, 0x80, 1);
      set(0x50, 0x88, 1);
      const command = (0b110 << 6) | word;
      for (let i = 10; i >= 0; i--) {
        const data = (command >> i) & 1 ? 2 : 0;
        set(0x50, 0x88 | data, 1);
        set(0x50, 0x88 | data | 4, 1);
      }
      set(0x50, 0x88, 1);
      let value = 0;
      for (let i = 0; i < 16; i++) {
        set(0x50, 0x8c, 1);
        value = (value << 1) | (get(0x50, 1) & 1);
        set(0x50, 0x88, 1);
      }
      set(0x50, 0, 1);
      return value;
    };
    expect([readWord(0), readWord(1), readWord(2)]).toEqual([0x8129, 0x10ec, 0x8139]);
    expect([7, 8, 9].map(readWord).flatMap(word => [word & 0xff, word >> 8])).toEqual([...MAC]);
  });

  it('is an RTL8139C with a link', () => {
    const { get, rig } = new Driver();
    expect([get(0x40, 4) & 0x7cc0_0000, get(0x64, 2) & 0x24, get(0x58, 1) & 4]).toEqual([0x7400_0000, 0x24, 0]);
    rig.device.setLink(false);
    expect([get(0x3e, 2), get(0x64, 2) & 4, get(0x58, 1) & 4]).toEqual([LINK, 0, 4]);
  });

  it('keeps its address and configuration behind a key', () => {
    const { get, set } = new Driver();
    set(0, 0xff, 1);
    set(0x52, 0xff, 1);
    expect([get(0, 1), get(0x52, 1)]).toEqual([0x52, 0x0c]);
    set(0x50, 0xc0, 1);
    set(0, 0x56, 1);
    expect(get(0, 1)).toBe(0x56);
  });

  it('sends from four slots, padded', () => {
    const driver = new Driver();
    driver.send(0, frameTo(PEER, 42));
    driver.send(1, frameTo(BROADCAST, 1514));
    expect(driver.rig.sent.map(({ length }) => length)).toEqual([60, 1514]);
    expect(driver.rig.sent[1]).toEqual(frameTo(BROADCAST, 1514));
    expect([driver.get(0x10, 4), driver.get(0x14, 4), driver.get(0x60, 2)]).toEqual([0xa000 | 42, 0xa000 | 1514, 0x3f00]);
    expect([driver.get(0x3e, 2), driver.rig.irq.level]).toEqual([TOK, true]);
    driver.set(0x3e, TOK, 2);
    expect(driver.rig.irq.level).toBe(false);
  });

  it('receives into its ring, round its end', () => {
    const driver = new Driver();
    for (let i = 0; i < 20; i++) {
      const frame = frameTo(i % 2 === 0 ? MAC : BROADCAST, 700 + i);
      driver.rig.wire.send(frame);
      const got = driver.take()!;
      expect(got.status).toBe(i % 2 === 0 ? 0x4001 : 0x2001);
      expect(got.bytes.subarray(0, -4)).toEqual(frame);
    }
    expect(driver.take()).toBeUndefined();
    expect(driver.get(0x3e, 2) & ROK).toBe(ROK);
  });

  it('leaves a frame in one piece behind the end when told so', () => {
    const driver = new Driver(0x8f);
    for (let i = 0; i < 11; i++) {
      driver.rig.wire.send(frameTo(MAC, 700));
      if (i < 10) driver.take();
    }
    const piece = new Uint8Array(700);
    driver.rig.memory.read(RING + 7080 + 4, piece);
    expect(piece).toEqual(frameTo(MAC, 700));
    driver.take();
    driver.rig.wire.send(frameTo(MAC, 700));
    driver.rig.memory.read(RING + 7788 + 4, piece);
    expect(piece).toEqual(frameTo(MAC, 700));
  });

  it('reports an overflow, and goes on when there is room', () => {
    const driver = new Driver();
    const fit = 5 + Math.floor((1 << 20) / 1514);
    for (let i = 0; i < fit; i++) driver.rig.wire.send(frameTo(MAC, 1514));
    expect(driver.get(0x3e, 2) & RXOVW).toBe(0);
    for (let i = 0; i < 2; i++) driver.rig.wire.send(frameTo(MAC, 1514));
    expect(driver.get(0x3e, 2) & RXOVW).toBe(RXOVW);
    expect(driver.get(0x4c, 4)).toBe(2);
    let count = 0;
    while (driver.take()) count++;
    expect(count).toBe(fit);
    driver.rig.wire.send(frameTo(MAC, 1514));
    expect(driver.take()!.bytes.length).toBe(1518);
  });

  it('reminds a driver of frames that it acknowledged and left', () => {
    const driver = new Driver();
    for (let i = 0; i < 20; i++) driver.rig.wire.send(frameTo(MAC, 1514));
    driver.set(0x3c, 0, 2);
    driver.take();
    driver.set(0x3e, ROK, 2);
    expect(driver.rig.irq.level).toBe(false);
    driver.set(0x3c, ALL, 2);
    expect(driver.rig.irq.level).toBe(true);
    driver.set(0x3e, ROK, 2);
    driver.rig.wire.send(frameTo(MAC, 60));
    expect(driver.rig.irq.level).toBe(true);
    let count = 1;
    while (driver.take()) count++;
    expect(count).toBe(21);
    driver.set(0x3e, ROK, 2);
    driver.set(0x3c, ALL, 2);
    expect(driver.rig.irq.level).toBe(false);
  });

  it('filters by address and multicast hash', () => {
    const driver = new Driver(0x0e);
    const group = Uint8Array.of(0x01, 0, 0x5e, 0, 0, 1);
    const send = () => [BROADCAST, group, PEER, MAC].forEach(to => driver.rig.wire.send(frameTo(to)));
    const statuses = () => {
      const list = [];
      for (let got = driver.take(); got; got = driver.take()) list.push(got.status & 0xe000);
      return list;
    };
    send();
    expect(statuses()).toEqual([0x2000, 0x4000]);
    // 01:00:5e:00:00:01 is bit 31 of the filter, as ether_crc() >> 26 has it.
    driver.set(0x08, 0x8000_0000, 4);
    send();
    expect(statuses()).toEqual([0x2000, 0x8000, 0x4000]);
    driver.set(0x44, 0x0f, 4);
    send();
    expect(statuses()).toEqual([0x2000, 0x8000, 0, 0x4000]);
  });

  it('counts time', () => {
    const driver = new Driver();
    driver.set(0x48, 0, 4);
    driver.set(0x54, 1000, 4);
    driver.rig.clock.advance(29_990);
    expect([driver.get(0x48, 4), driver.get(0x3e, 2)]).toEqual([999, 0]);
    driver.rig.clock.advance(10);
    expect(driver.get(0x3e, 2)).toBe(0x4000);
  });

  it('reports frames that are none', () => {
    const driver = new Driver();
    driver.set(0x20, 0xfff_ff00, 4);
    driver.set(0x10, 1000, 4);
    driver.send(1, new Uint8Array(1793));
    expect([driver.rig.sent, driver.get(0x3e, 2), driver.rig.log.counts.size]).toEqual([[], 8, 2]);
  });
});
