import { beforeEach, describe, expect, it } from 'vitest';
import { Bus } from '../../../src/host/bus.js';
import { ManualClock } from '../../../src/host/clock.js';
import { ApicBus } from '../../../src/host/devices/apic-bus.js';
import { I8042 } from '../../../src/host/devices/i8042.js';
import { IoApic } from '../../../src/host/devices/ioapic.js';
import { Lapic } from '../../../src/host/devices/lapic.js';
import { Pic8259 } from '../../../src/host/devices/pic8259.js';
import { Pit8254 } from '../../../src/host/devices/pit8254.js';
import { fanOut, type IrqLine } from '../../../src/host/irq.js';

describe('the interrupt paths of a PC', () => {
  let clock: ManualClock;
  let bus: Bus;
  let lapic: Lapic;
  let keyboard: I8042;
  let intr: boolean;
  const out = (port: number, ...values: number[]): void => values.forEach(value => bus.portWrite(port, 1, value));
  const apic = (offset: number, value: number): void => bus.mmioWrite(0xfee0_0000 + offset, 4, value);
  const redirect = (pin: number, low: number): void => {
    bus.mmioWrite(0xfec0_0000, 4, 0x10 + 2 * pin);
    bus.mmioWrite(0xfec0_0010, 4, low);
  };
  const startPit = (): void => {
    out(0x43, 0x34);
    out(0x40, 0x9c, 0x2e);
  };

  beforeEach(() => {
    clock = new ManualClock();
    bus = new Bus();
    intr = false;
    const apics = new ApicBus();
    const pic: Pic8259 = new Pic8259({ intr: { set: level => lapic.lint0.set(level) } });
    lapic = new Lapic({ id: 0, bsp: true, clock, bus: apics, pic, pins: { setIntr: level => (intr = level), nmi: () => {}, init: () => {}, sipi: () => {} } });
    const ioapic = new IoApic({ bus: apics, id: 1 });
    const isa = (irq: number): IrqLine => fanOut(pic.line(irq), ioapic.line(irq === 0 ? 2 : irq));
    const pit = new Pit8254({ clock, irq: isa(0) });
    keyboard = new I8042({ clock, keyboardIrq: isa(1), auxIrq: isa(12), onA20: () => {}, onReset: () => {} });
    [0x20, 0xa0, 0x4d0].forEach((base, region) => bus.attach(pic, region, base));
    [0x40, 0x61].forEach((base, region) => bus.attach(pit, region, base));
    [0x60, 0x64].forEach((base, region) => bus.attach(keyboard, region, base));
    bus.attach(lapic, 0, 0xfee0_0000);
    bus.attach(ioapic, 0, 0xfec0_0000);
    out(0x20, 0x11);
    out(0x21, 0x20, 0x04, 0x01, 0x00);
    out(0xa0, 0x11);
    out(0xa1, 0x28, 0x02, 0x01, 0xff);
  });

  it('ticks through the PIC with the APIC untouched, and by virtual wire', () => {
    startPit();
    if (intr) {
      lapic.acknowledge();
      out(0x20, 0x20);
    }
    for (let n = 0; n < 3; n++) {
      clock.advance(10_001_000);
      expect(intr).toBe(true);
      expect(lapic.acknowledge()).toBe(0x20);
      expect(intr).toBe(false);
      out(0x20, 0x20);
      if (n === 0) {
        apic(0xf0, 0x1ff);
        apic(0x350, 0x700);
      }
    }
  });

  it('ticks through the I/O APIC with the PIC masked', () => {
    out(0x21, 0xff);
    apic(0xf0, 0x1ff);
    redirect(2, 0x30);
    startPit();
    if (intr) {
      lapic.acknowledge();
      apic(0xb0, 0);
    }
    for (let n = 0; n < 3; n++) {
      clock.advance(10_001_000);
      expect(lapic.acknowledge()).toBe(0x30);
      apic(0xb0, 0);
      expect(intr).toBe(false);
    }
  });

  it('gives an interrupt for each byte of the keyboard', () => {
    const got: number[] = [];
    keyboard.sendScancodes([0x1c, 0xf0, 0x1c]);
    for (let n = 0; n < 10; n++) {
      if (intr) {
        expect(lapic.acknowledge()).toBe(0x21);
        got.push(bus.portRead(0x60, 1));
        out(0x20, 0x20);
      }
      clock.advance(1_000_000);
    }
    expect(got).toEqual([0x1e, 0x9e]);
  });
});
