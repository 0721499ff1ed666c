import { beforeEach, describe, expect, it } from 'vitest';
import { Pic8259 } from '../../../src/host/devices/pic8259.js';
import { deviceContract } from '../../support/device-contract.js';

deviceContract('pic8259', () => {
  const device = new Pic8259();
  const lines = Array.from({ length: 16 }, (_, n) => device.line(n));
  return {
    device,
    poke: random => {
      if (random.below(4) === 0) device.acknowledge();
      else random.pick(lines).set(random.below(2) === 0);
    },
  };
});

describe('pic8259', () => {
  let intr: boolean;
  let pic: Pic8259;
  const master = (offset: number, value: number): void => pic.write(offset, value, 1, 0);
  const slave = (offset: number, value: number): void => pic.write(offset, value, 1, 1);
  const isr = (): number => {
    master(0, 0x0b);
    return pic.read(0, 1, 0);
  };
  const irr = (): number => {
    master(0, 0x0a);
    return pic.read(0, 1, 0);
  };
  const pulse = (n: number): void => {
    pic.line(n).set(false);
    pic.line(n).set(true);
  };

  beforeEach(() => {
    intr = false;
    pic = new Pic8259({ intr: { set: level => (intr = level) } });
    for (const [chip, base, icw3] of [
      [0, 0x20, 4],
      [1, 0x28, 2],
    ]) {
      pic.write(0, 0x11, 1, chip);
      pic.write(1, base, 1, chip);
      pic.write(1, icw3, 1, chip);
      pic.write(1, 0x01, 1, chip);
      pic.write(1, 0x00, 1, chip);
    }
  });

  it('delivers an edge once, and again only after another edge', () => {
    pic.line(0).set(true);
    expect(intr).toBe(true);
    expect(pic.acknowledge()).toBe(0x20);
    expect(intr).toBe(false);
    expect(isr()).toBe(1);
    master(0, 0x20);
    expect(isr()).toBe(0);
    expect(intr).toBe(false);
    pulse(0);
    expect(intr).toBe(true);
  });

  it('nests by fixed priority', () => {
    pulse(4);
    expect(pic.acknowledge()).toBe(0x24);
    pulse(5);
    expect(intr).toBe(false);
    pulse(1);
    expect(pic.acknowledge()).toBe(0x21);
    expect(isr()).toBe(0x12);
    master(0, 0x20);
    expect(isr()).toBe(0x10);
    expect(intr).toBe(false);
    master(0, 0x20);
    expect(pic.acknowledge()).toBe(0x25);
  });

  it('masks, and remembers an edge behind the mask', () => {
    master(1, 0xff);
    pulse(3);
    expect(intr).toBe(false);
    expect(irr()).toBe(8);
    expect(pic.read(1, 1, 0)).toBe(0xff);
    master(1, 0xf7);
    expect(intr).toBe(true);
  });

  it('gives the vector of IRQ 7 when the request went away', () => {
    pulse(3);
    pic.line(3).set(false);
    expect(intr).toBe(false);
    expect(pic.acknowledge()).toBe(0x27);
    expect(isr()).toBe(0);
  });

  it('cascades, and needs an end of interrupt on both chips', () => {
    pulse(14);
    expect(pic.acknowledge()).toBe(0x2e);
    expect(isr()).toBe(4);
    pulse(15);
    expect(intr).toBe(false);
    slave(0, 0x20);
    expect(intr).toBe(false);
    master(0, 0x20);
    expect(intr).toBe(true);
    expect(pic.acknowledge()).toBe(0x2f);
  });

  it('lets a higher slave request through only in special fully nested mode', () => {
    pulse(14);
    pic.acknowledge();
    pulse(8);
    expect(intr).toBe(false);
    master(0, 0x11);
    for (const word of [0x20, 4, 0x11, 0]) master(1, word);
    slave(0, 0x20);
    pulse(14);
    pulse(8);
    expect(pic.acknowledge()).toBe(0x28);
    slave(0, 0x20);
    expect(pic.acknowledge()).toBe(0x2e);
    pulse(9);
    expect(intr).toBe(true);
    expect(pic.acknowledge()).toBe(0x29);
  });

  it('keeps requesting while a level input is high', () => {
    pic.write(1, 0x08, 1, 2);
    expect(pic.read(0, 2, 2)).toBe(0x0800);
    pic.line(11).set(true);
    expect(pic.acknowledge()).toBe(0x2b);
    slave(0, 0x20);
    master(0, 0x20);
    expect(intr).toBe(true);
    expect(pic.acknowledge()).toBe(0x2b);
    pic.line(11).set(false);
    slave(0, 0x20);
    master(0, 0x20);
    expect(intr).toBe(false);
  });

  it('keeps the timer, keyboard, cascade and clock inputs edge-triggered', () => {
    pic.write(0, 0xff, 1, 2);
    pic.write(1, 0xff, 1, 2);
    expect(pic.read(0, 2, 2)).toBe(0xdef8);
  });

  it('rotates priorities', () => {
    pulse(3);
    pic.acknowledge();
    master(0, 0xa0);
    pulse(3);
    pulse(4);
    expect(pic.acknowledge()).toBe(0x24);
    master(0, 0x64);
    master(0, 0xc5);
    pulse(5);
    pulse(6);
    expect(pic.acknowledge()).toBe(0x26);
    master(0, 0xe6);
    pulse(7);
    expect(pic.acknowledge()).toBe(0x27);
  });

  it('ends interrupts by itself in automatic mode, with rotation when asked', () => {
    master(0, 0x11);
    for (const word of [0x40, 4, 0x03, 0]) master(1, word);
    master(0, 0x80);
    pulse(1);
    expect(pic.acknowledge()).toBe(0x41);
    expect(isr()).toBe(0);
    pulse(0);
    pulse(3);
    expect(pic.acknowledge()).toBe(0x43);
    expect(pic.acknowledge()).toBe(0x40);
  });

  it('lets lower requests in by special mask', () => {
    pulse(3);
    pic.acknowledge();
    pulse(6);
    expect(intr).toBe(false);
    master(1, 0x08);
    expect(intr).toBe(false);
    master(0, 0x68);
    expect(intr).toBe(true);
    expect(pic.acknowledge()).toBe(0x26);
    master(0, 0x20);
    expect(isr()).toBe(0x08);
    master(0, 0x48);
    expect(intr).toBe(false);
    master(0, 0x63);
    expect(isr()).toBe(0);
  });

  it('can be polled', () => {
    pulse(5);
    master(0, 0x0c);
    expect(pic.read(0, 1, 0)).toBe(0x85);
    expect(intr).toBe(false);
    expect(isr()).toBe(0x20);
    master(0, 0x0c);
    expect(pic.read(0, 1, 0)).toBe(0);
  });

  it('forgets requests and masks at initialisation, and asks for a new edge', () => {
    pulse(6);
    master(1, 0xff);
    master(0, 0x11);
    expect(intr).toBe(false);
    for (const word of [0x20, 4, 1]) master(1, word);
    expect(pic.read(1, 1, 0)).toBe(0);
    expect(intr).toBe(false);
    pulse(6);
    expect(intr).toBe(true);
  });

  it('keeps a pending edge across save and restore, without a second one', () => {
    pulse(1);
    const state = pic.save();
    pic.acknowledge();
    master(0, 0x20);
    pic.restore(state);
    expect(intr).toBe(true);
    pic.line(1).set(true);
    expect(pic.acknowledge()).toBe(0x21);
    master(0, 0x20);
    pic.line(1).set(true);
    expect(intr).toBe(false);
  });
});
