import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/host/clock.js';
import { civilOf, secondsOf } from '../../../src/host/devices/calendar.js';
import { RtcCmos } from '../../../src/host/devices/rtc-cmos.js';
import { deviceContract } from '../../support/device-contract.js';

const START = Date.UTC(2024, 1, 28, 23, 59, 57) / 1000;
const SECOND = 1_000_000_000;

deviceContract('rtc-cmos', () => {
  const clock = new ManualClock();
  const device = new RtcCmos({ clock, startSeconds: START, memoryBytes: 64 << 20 });
  return {
    device,
    clock,
    poke: random => {
      device.write(0, random.below(16), 1);
      device.write(1, random.below(256), 1);
      if (random.below(3) === 0) clock.advance(random.below(2 * SECOND));
    },
  };
});

describe('calendar', () => {
  it('agrees with the platform from 1600 to 2400', () => {
    for (let seconds = -11_676_096_000; seconds < 13_569_465_600; seconds += 86_400 * 37 + 12_345) {
      const date = new Date(seconds * 1000);
      const civil = civilOf(seconds);
      expect(civil).toEqual({
        year: date.getUTCFullYear(),
        month: date.getUTCMonth() + 1,
        day: date.getUTCDate(),
        hour: date.getUTCHours(),
        minute: date.getUTCMinutes(),
        second: date.getUTCSeconds(),
        weekday: date.getUTCDay(),
      });
      expect(secondsOf(civil)).toBe(seconds);
    }
  });
});

describe('rtc-cmos', () => {
  let clock: ManualClock;
  let rtc: RtcCmos;
  let irq: boolean;
  const get = (index: number): number => {
    rtc.write(0, index, 1);
    return rtc.read(1, 1);
  };
  const put = (index: number, value: number): void => {
    rtc.write(0, index, 1);
    rtc.write(1, value, 1);
  };
  const time = (): string => [0x32, 9, 8, 7, 4, 2, 0].map(index => get(index).toString(16).padStart(2, '0')).join(' ');

  beforeEach(() => {
    clock = new ManualClock();
    irq = false;
    rtc = new RtcCmos({ clock, startSeconds: START, memoryBytes: 512 << 20, irq: { set: level => (irq = level) } });
  });

  it('shows the start time and moves on with the clock, over a leap day', () => {
    expect(time()).toBe('20 24 02 28 23 59 57');
    expect(get(6)).toBe(4);
    clock.advance(3 * SECOND - 1);
    expect(time()).toBe('20 24 02 28 23 59 59');
    clock.advance(1);
    expect(time()).toBe('20 24 02 29 00 00 00');
    clock.advance(86_400 * SECOND);
    expect(time()).toBe('20 24 03 01 00 00 00');
    expect(get(6)).toBe(6);
  });

  it('shows binary and twelve-hour time', () => {
    put(0x0b, 0x04);
    expect(get(4)).toBe(11 | 0x80);
    expect(get(2)).toBe(59);
    put(0x0b, 0x00);
    clock.advance(3 * SECOND);
    expect(get(4)).toBe(0x12);
    clock.advance(12 * 3600 * SECOND);
    expect(get(4)).toBe(0x92);
    put(0x0b, 0x06);
    expect(get(4)).toBe(12);
    expect(get(9)).toBe(24);
  });

  it('is set the way that Linux sets it', () => {
    put(0x0b, 0x82);
    put(0x0a, 0x70);
    for (const [index, value] of [
      [9, 0x99],
      [0x32, 0x19],
      [8, 0x12],
      [7, 0x31],
      [4, 0x23],
      [2, 0x59],
      [0, 0x59],
    ]) {
      put(index, value);
    }
    clock.advance(5 * SECOND);
    expect(time()).toBe('19 99 12 31 23 59 59');
    put(0x0b, 0x02);
    put(0x0a, 0x26);
    clock.advance(SECOND / 2 - 1);
    expect(time()).toBe('19 99 12 31 23 59 59');
    clock.advance(1);
    expect(time()).toBe('20 00 01 01 00 00 00');
  });

  it('can be set a byte at a time while it runs', () => {
    put(4, 0x05);
    put(6, 1);
    expect(time()).toBe('20 24 02 28 05 59 57');
    clock.advance(86_400 * SECOND);
    expect(get(6)).toBe(2);
    expect(time()).toBe('20 24 02 29 05 59 57');
  });

  it('announces an update, and only while it updates', () => {
    expect(get(0x0a)).toBe(0x26);
    clock.advance(SECOND - 2_228_001);
    expect(get(0x0a)).toBe(0x26);
    clock.advance(1);
    expect(get(0x0a)).toBe(0xa6);
    clock.advance(2_227_999);
    expect(get(0x0a)).toBe(0xa6);
    clock.advance(1);
    expect(get(0x0a)).toBe(0x26);
    put(0x0b, 0x82);
    clock.advance(SECOND - 1);
    expect(get(0x0a)).toBe(0x26);
  });

  it('interrupts at each update, until register C is read', () => {
    get(0x0c);
    put(0x0b, 0x12);
    clock.advance(SECOND - 1);
    expect(irq).toBe(false);
    clock.advance(1);
    expect(irq).toBe(true);
    expect(get(0x0c)).toBe(0xd0);
    expect(irq).toBe(false);
    expect(get(0x0c)).toBe(0);
    clock.advance(SECOND);
    expect(irq).toBe(true);
  });

  it('interrupts periodically at the chosen rate', () => {
    put(0x0b, 0x42);
    let count = 0;
    for (let n = 0; n < 10_000; n++) {
      clock.advance(100_000);
      if (!irq) continue;
      count++;
      expect(get(0x0c) & 0xc0).toBe(0xc0);
    }
    expect(count).toBe(1024);
    put(0x0a, 0x2f);
    get(0x0c);
    clock.advance(SECOND / 2);
    expect(irq).toBe(true);
    get(0x0c);
    put(0x0a, 0x20);
    clock.advance(10 * SECOND);
    expect(irq).toBe(false);
  });

  it('sets its flags without interrupts enabled', () => {
    expect(get(0x0c)).toBe(0);
    clock.advance(SECOND);
    expect(get(0x0c)).toBe(0x50);
    put(1, 0x00);
    put(3, 0x00);
    put(5, 0x00);
    clock.advance(3 * SECOND);
    expect(get(0x0c)).toBe(0x70);
    expect(irq).toBe(false);
  });

  it('raises its alarm at the time, or at every match of a partial one', () => {
    put(1, 0x30);
    put(3, 0x00);
    put(5, 0x01);
    get(0x0c);
    put(0x0b, 0x22);
    clock.advance((3633 - 1) * SECOND);
    expect(irq).toBe(false);
    clock.advance(SECOND);
    expect(irq).toBe(true);
    expect(get(0x0c)).toBe(0xf0);
    clock.advance(86_399 * SECOND);
    expect(irq).toBe(false);
    clock.advance(SECOND);
    expect(irq).toBe(true);
    put(3, 0xff);
    put(5, 0xc0);
    get(0x0c);
    let count = 0;
    for (let n = 0; n < 300; n++) {
      clock.advance(SECOND);
      if (irq) count++;
      get(0x0c);
    }
    expect(count).toBe(5);
  });

  it('finds every alarm that a search second by second finds', () => {
    for (const [second, minute, hour] of [
      [0x59, 0x59, 0x23],
      [0xff, 0x00, 0xff],
      [0x15, 0xff, 0x07],
      [0xff, 0x30, 0x12],
      [0x00, 0x00, 0xff],
    ]) {
      clock = new ManualClock();
      rtc = new RtcCmos({ clock, startSeconds: START, irq: { set: level => (irq = level) } });
      put(1, second);
      put(3, minute);
      put(5, hour);
      get(0x0c);
      put(0x0b, 0x22);
      const matches = (at: number): boolean => {
        const civil = civilOf(at);
        const is = (field: number, wanted: number): boolean => wanted >= 0xc0 || field === (wanted >> 4) * 10 + (wanted & 15);
        return is(civil.second, second) && is(civil.minute, minute) && is(civil.hour, hour);
      };
      let expected = START + 1;
      while (!matches(expected)) expected++;
      clock.advance((expected - START) * SECOND - 1);
      expect(irq).toBe(false);
      clock.advance(1);
      expect(irq).toBe(true);
    }
  });

  it('keeps memory sizes, a checksum, and its memory over a reset', () => {
    expect(get(0x15) | (get(0x16) << 8)).toBe(640);
    expect(get(0x17) | (get(0x18) << 8)).toBe(0xffff);
    expect(get(0x34) | (get(0x35) << 8)).toBe((496 << 20) / 65_536);
    let sum = 0;
    for (let index = 0x10; index <= 0x2d; index++) sum += get(index);
    expect((get(0x2e) << 8) | get(0x2f)).toBe(sum);
    put(0x0f, 0x0a);
    put(0x0b, 0x72);
    put(0x40 + 0x80, 0x77);
    expect(rtc.nmiMasked).toBe(true);
    rtc.reset();
    expect(rtc.nmiMasked).toBe(false);
    expect(get(0x0f)).toBe(0x0a);
    expect(get(0x40)).toBe(0x77);
    expect(get(0x0b)).toBe(0x02);
    expect(get(0x0d)).toBe(0x80);
    expect(rtc.read(0, 1)).toBe(0xff);
  });

  it('goes on after a restore at another time', () => {
    clock.advance(1.25 * SECOND);
    const state = rtc.save();
    const other = new ManualClock();
    other.advance(77 * SECOND);
    rtc = new RtcCmos({ clock: other, startSeconds: 0 });
    rtc.restore(state);
    expect(time()).toBe('20 24 02 28 23 59 58');
    other.advance(0.75 * SECOND);
    expect(time()).toBe('20 24 02 28 23 59 59');
  });
});
