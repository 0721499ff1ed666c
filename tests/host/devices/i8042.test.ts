import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/host/clock.js';
import { I8042 } from '../../../src/host/devices/i8042.js';
import { deviceContract } from '../../support/device-contract.js';

deviceContract('i8042', () => {
  const clock = new ManualClock();
  const device = new I8042({ clock, onA20: () => {}, onReset: () => {} });
  return {
    device,
    clock,
    poke: random => {
      if (random.below(2) === 0) device.sendScancodes([random.below(256), random.below(256)]);
      else device.write(0, random.pick([0x20, 0x60, 0xaa, 0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xae]), 1, 1);
    },
  };
});

describe('i8042', () => {
  let clock: ManualClock;
  let kbc: I8042;
  let events: string[];
  let irq1: boolean;
  let irq12: boolean;
  const status = (): number => kbc.read(0, 1, 1);
  const command = (byte: number): void => kbc.write(0, byte, 1, 1);
  const data = (byte: number): void => kbc.write(0, byte, 1, 0);
  const take = (): number => {
    for (let n = 0; n < 1000 && (status() & 1) === 0; n++) clock.advance(10_000);
    expect(status() & 1).toBe(1);
    return kbc.read(0, 1, 0);
  };
  const quiet = (): void => {
    clock.advance(10 ** 7);
    expect(status() & 1).toBe(0);
  };

  beforeEach(() => {
    clock = new ManualClock();
    events = [];
    irq1 = irq12 = false;
    kbc = new I8042({
      clock,
      onA20: on => events.push(on ? 'a20 on' : 'a20 off'),
      onReset: () => events.push('reset'),
      keyboardIrq: { set: level => (irq1 = level) },
      auxIrq: { set: level => (irq12 = level) },
    });
  });

  it('passes its self-tests', () => {
    expect(status()).toBe(0x14);
    command(0xaa);
    expect(status()).toBe(0x1d);
    expect(take()).toBe(0x55);
    command(0xab);
    expect(take()).toBe(0);
    command(0xa9);
    expect(take()).toBe(0);
    command(0xa4);
    expect(take()).toBe(0xf1);
    quiet();
  });

  it('keeps its command byte, and the switches in it', () => {
    const config = (): number => {
      command(0x20);
      return take();
    };
    expect(config()).toBe(0x65);
    command(0x60);
    data(0x47);
    expect(config()).toBe(0x47);
    command(0xa7);
    expect(config() & 0x20).toBe(0x20);
    command(0xa8);
    expect(config() & 0x20).toBe(0);
    command(0xad);
    expect(config() & 0x10).toBe(0x10);
    command(0xae);
    expect(config() & 0x10).toBe(0);
    command(0x60);
    data(0x43);
    expect(status() & 4).toBe(0);
    command(0x65);
    data(0x99);
    command(0x25);
    expect(take()).toBe(0x99);
  });

  it('resets the keyboard, with an interrupt a byte', () => {
    command(0x60);
    data(0x01);
    data(0xff);
    expect(irq1).toBe(true);
    expect(kbc.read(0, 1, 0)).toBe(0xfa);
    expect(irq1).toBe(false);
    expect(kbc.read(0, 1, 0)).toBe(0xfa);
    clock.advance(1_000_000);
    expect(irq1).toBe(true);
    expect(take()).toBe(0xaa);
    quiet();
  });

  it('answers the usual keyboard commands', () => {
    const say = (...bytes: number[]): number[] => bytes.map(byte => (data(byte), take()));
    command(0x60);
    data(0x01);
    expect(say(0xf2)).toEqual([0xfa]);
    expect([take(), take()]).toEqual([0xab, 0x83]);
    expect(say(0xed, 0x05)).toEqual([0xfa, 0xfa]);
    expect(kbc.leds).toBe(5);
    expect(say(0xf0, 0x00)).toEqual([0xfa, 0xfa]);
    expect(take()).toBe(2);
    expect(say(0xf0, 0x03, 0xf3, 0x20, 0xf4, 0xee, 0xf6)).toEqual([0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0xee, 0xfa]);
    expect(say(0x01)).toEqual([0xfe]);
    expect(say(0xfe)).toEqual([0xfe]);
    quiet();
  });

  it('translates scan codes when told to', () => {
    kbc.sendScancodes([0x1c, 0xf0, 0x1c, 0xe0, 0x75, 0xe0, 0xf0, 0x75]);
    expect([take(), take(), take(), take(), take(), take()]).toEqual([0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8]);
    command(0x60);
    data(0x01);
    kbc.sendScancodes([0x1c, 0xf0, 0x1c]);
    expect([take(), take(), take()]).toEqual([0x1c, 0xf0, 0x1c]);
    data(0xf5);
    expect(take()).toBe(0xfa);
    kbc.sendScancodes([0x1c]);
    quiet();
  });

  it('holds keys back while the keyboard is off', () => {
    command(0xad);
    kbc.sendScancodes([0x1c]);
    quiet();
    command(0xae);
    expect(take()).toBe(0x1e);
  });

  it('loops bytes back on both ports, as probes do', () => {
    command(0x60);
    data(0x03);
    command(0xd3);
    data(0x5a);
    expect(status() & 0x21).toBe(0x21);
    expect(irq12).toBe(true);
    expect(irq1).toBe(false);
    expect(take()).toBe(0x5a);
    expect(irq12).toBe(false);
    command(0xd2);
    data(0xa5);
    expect(status() & 0x21).toBe(0x01);
    expect(irq1).toBe(true);
    expect(take()).toBe(0xa5);
  });

  it('reports a timeout when something is sent to the mouse that is not there', () => {
    command(0xd4);
    data(0xff);
    expect(status() & 0x61).toBe(0x61);
    expect(take()).toBe(0xfe);
    expect(status() & 0x61).toBe(0);
    quiet();
  });

  it('drives A20 and reset', () => {
    command(0xd0);
    expect(take() & 0x03).toBe(3);
    command(0xd1);
    data(0xdd);
    command(0xd1);
    data(0xdf);
    command(0xdd);
    expect(kbc.a20).toBe(false);
    command(0xdf);
    expect(kbc.a20).toBe(true);
    command(0xff);
    command(0xfe);
    command(0xd1);
    data(0xde);
    expect(events).toEqual(['a20 off', 'a20 on', 'a20 off', 'a20 on', 'reset', 'a20 on', 'reset']);
  });

  it('keeps a waiting byte and the one behind it across a restore', () => {
    kbc.sendScancodes([0x1c, 0x32]);
    const state = kbc.save();
    take();
    kbc.reset();
    expect(irq1).toBe(false);
    kbc.restore(state);
    expect(irq1).toBe(true);
    expect([take(), take()]).toEqual([0x1e, 0x30]);
  });
});
