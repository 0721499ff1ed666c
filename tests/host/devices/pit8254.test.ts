import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/host/clock.js';
import { PIT_HZ, Pit8254 } from '../../../src/host/devices/pit8254.js';
import { nsOfTick, ticksAt } from '../../../src/host/devices/ticks.js';
import { deviceContract } from '../../support/device-contract.js';

deviceContract('pit8254', () => {
  const clock = new ManualClock();
  return { device: new Pit8254({ clock }), clock };
});

describe('ticks', () => {
  it('converts without drift in both directions', () => {
    for (const tick of [0, 1, 596_591, 1_193_181, 1_193_182, 10 ** 12 + 7, -1, -1_193_183]) {
      const at = nsOfTick(tick, PIT_HZ);
      expect(ticksAt(at, PIT_HZ)).toBe(tick);
      expect(ticksAt(at - 1, PIT_HZ)).toBe(tick - 1);
    }
  });
});

describe('pit8254', () => {
  let clock: ManualClock;
  let pit: Pit8254;
  let edges: number[];
  const control = (value: number): void => pit.write(3, value, 1, 0);
  const load = (channel: number, count: number): void => {
    pit.write(channel, count & 0xff, 1, 0);
    pit.write(channel, count >> 8, 1, 0);
  };
  const readCount = (channel: number): number => pit.read(channel, 1, 0) | (pit.read(channel, 1, 0) << 8);
  const toTick = (tick: number): void => clock.advance(nsOfTick(tick, PIT_HZ) - clock.now);
  const tick = (): number => ticksAt(clock.now, PIT_HZ);
  const out2 = (): boolean => (pit.read(0, 1, 1) & 0x20) !== 0;
  const port61 = (value: number): void => pit.write(0, value, 1, 1);

  beforeEach(() => {
    clock = new ManualClock();
    edges = [];
    let level = false;
    pit = new Pit8254({
      clock,
      irq: {
        set: to => {
          if (to && !level) edges.push(tick());
          level = to;
        },
      },
    });
    clock.advance(1_000_000_007);
  });

  it('interrupts with the period of mode 2, without drift', () => {
    control(0x34);
    edges.length = 0;
    load(0, 11_932);
    const start = tick() + 1;
    clock.advance(1_000_000_000);
    expect(edges.length).toBe(99);
    expect(edges[0]).toBe(start + 11_932);
    expect(edges[98]).toBe(start + 99 * 11_932);
  });

  it('counts down from the reload value in mode 2', () => {
    control(0x34);
    load(0, 1000);
    const start = tick() + 1;
    toTick(start);
    control(0x00);
    expect(readCount(0)).toBe(1000);
    toTick(start + 999);
    control(0x00);
    toTick(start + 1200);
    expect(readCount(0)).toBe(1);
    expect(readCount(0)).toBe(800);
  });

  it('takes a new count over at the end of the period', () => {
    control(0x34);
    load(0, 1000);
    const start = tick() + 1;
    edges.length = 0;
    toTick(start + 500);
    load(0, 300);
    toTick(start + 1700);
    expect(edges).toEqual([start + 1000, start + 1300, start + 1600]);
  });

  it('makes a square wave in mode 3, with the odd tick in the high half', () => {
    control(0xb6);
    port61(1);
    load(2, 5);
    const start = tick() + 1;
    const wave: boolean[] = [];
    for (let n = 0; n < 10; n++) {
      toTick(start + n);
      wave.push(out2());
    }
    expect(wave).toEqual([true, true, true, false, false, true, true, true, false, false]);
    load(2, 1000);
    control(0xb6);
    load(2, 1000);
    const again = tick() + 1;
    toTick(again + 100);
    expect(readCount(2)).toBe(800);
    toTick(again + 600);
    expect(readCount(2)).toBe(800);
  });

  it('interrupts once in mode 0 and counts on through zero', () => {
    control(0x30);
    load(0, 100);
    const start = tick() + 1;
    toTick(start + 99);
    expect(edges).toEqual([]);
    toTick(start + 100);
    expect(edges).toEqual([start + 100]);
    toTick(start + 110);
    expect(readCount(0)).toBe(0xfff6);
    clock.advance(10 ** 9);
    expect(edges.length).toBe(1);
  });

  it('stops mode 0 at the first byte of a new count', () => {
    control(0x30);
    load(0, 100);
    pit.write(0, 50, 1, 0);
    clock.advance(10 ** 6);
    expect(edges).toEqual([]);
    pit.write(0, 0, 1, 0);
    clock.advance(10 ** 6);
    expect(edges.length).toBe(1);
  });

  it('raises the output of mode 0 on channel 2 as calibration loops expect', () => {
    port61(1);
    control(0xb0);
    load(2, 59_659);
    expect(out2()).toBe(false);
    const start = clock.now;
    while (!out2()) clock.advance(1000);
    expect((clock.now - start) / 1e6).toBeCloseTo(50, 1);
  });

  it('holds mode 0 while the gate is low', () => {
    port61(0);
    control(0xb0);
    load(2, 100);
    clock.advance(10 ** 6);
    expect(out2()).toBe(false);
    expect(readCount(2)).toBe(100);
    port61(1);
    toTick(tick() + 60);
    port61(0);
    const held = readCount(2);
    clock.advance(10 ** 6);
    expect(readCount(2)).toBe(held);
    expect(held).toBe(40);
    port61(1);
    toTick(tick() + 41);
    expect(out2()).toBe(true);
  });

  it('starts the one-shot of mode 1 at the rise of its gate, again and again', () => {
    port61(0);
    control(0xb2);
    load(2, 50);
    expect(out2()).toBe(true);
    for (let round = 0; round < 2; round++) {
      port61(1);
      const start = tick() + 1;
      toTick(start + 1);
      expect(out2()).toBe(false);
      toTick(start + 30);
      port61(0);
      port61(1);
      toTick(start + 60);
      expect(out2()).toBe(false);
      toTick(start + 31 + 50);
      expect(out2()).toBe(true);
      port61(0);
    }
  });

  it('strobes for one tick in modes 4 and 5', () => {
    port61(1);
    control(0xb8);
    load(2, 20);
    let start = tick() + 1;
    const seen = [19, 20, 21].map(n => {
      toTick(start + n);
      return out2();
    });
    expect(seen).toEqual([true, false, true]);
    port61(0);
    control(0xba);
    load(2, 20);
    clock.advance(10 ** 6);
    expect(out2()).toBe(true);
    port61(1);
    start = tick() + 1;
    toTick(start + 20);
    expect(out2()).toBe(false);
    toTick(start + 21);
    expect(out2()).toBe(true);
    control(0x38);
    edges.length = 0;
    load(0, 77);
    start = tick() + 1;
    clock.advance(10 ** 7);
    expect(edges).toEqual([start + 78]);
  });

  it('counts in BCD', () => {
    control(0x35);
    load(0, 0x1000);
    const start = tick() + 1;
    toTick(start + 1);
    expect(readCount(0)).toBe(0x0999);
    control(0x31);
    load(0, 0);
    toTick(tick() + 2);
    expect(readCount(0)).toBe(0x9999);
  });

  it('reads back status and count, and keeps the first latch', () => {
    control(0x34);
    load(0, 1000);
    const start = tick() + 1;
    control(0xe2);
    expect(pit.read(0, 1, 0)).toBe(0xf4);
    toTick(start + 10);
    control(0xc2);
    toTick(start + 20);
    control(0xd2);
    expect(pit.read(0, 1, 0)).toBe(0xb4);
    expect(readCount(0)).toBe(990);
    expect(readCount(0)).toBe(980);
    control(0x16);
    pit.write(0, 0xaa, 1, 0);
    control(0xe2);
    expect(pit.read(0, 1, 0) & 0x3f).toBe(0x16);
    expect(pit.read(0, 1, 0)).toBe(0xaa);
  });

  it('flips the refresh bit every 15 us and keeps the writable bits of port 0x61', () => {
    port61(0xff);
    expect(pit.read(0, 1, 1) & 0xcf).toBe(0x0f);
    let flips = 0;
    let last = pit.read(0, 1, 1) & 0x10;
    for (let n = 0; n < 10_000; n++) {
      clock.advance(1000);
      const bit = pit.read(0, 1, 1) & 0x10;
      if (bit !== last) flips++;
      last = bit;
    }
    expect(flips).toBeGreaterThan(655);
    expect(flips).toBeLessThan(670);
  });

  it('goes on after a restore at another time', () => {
    control(0x34);
    load(0, 1000);
    clock.advance(nsOfTick(400, PIT_HZ));
    const state = pit.save();
    const other = new ManualClock();
    other.advance(55);
    let pulses = 0;
    const copy = new Pit8254({ clock: other, irq: { set: level => (pulses += level ? 1 : 0) } });
    copy.restore(state);
    pulses = 0;
    other.advance(nsOfTick(590, PIT_HZ));
    expect(pulses).toBe(0);
    other.advance(nsOfTick(20, PIT_HZ));
    expect(pulses).toBe(1);
  });
});
