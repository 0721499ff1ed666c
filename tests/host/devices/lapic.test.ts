import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/host/clock.js';
import { ApicBus, ApicWindow } from '../../../src/host/devices/apic-bus.js';
import { type CpuPins, Lapic, MSR_APIC_BASE, MSR_TSC_DEADLINE } from '../../../src/host/devices/lapic.js';
import { deviceContract } from '../../support/device-contract.js';

const deaf: CpuPins = { setIntr: () => {}, nmi: () => {}, init: () => {}, sipi: () => {} };

deviceContract('lapic', () => {
  const clock = new ManualClock();
  const bus = new ApicBus();
  const device = new Lapic({ id: 0, bsp: true, clock, bus, pins: deaf, pic: { acknowledge: () => 8 } });
  device.write(0xf0, 0x1ff, 4);
  return {
    device,
    clock,
    poke: random => {
      switch (random.below(8)) {
        case 0:
          device.acknowledge();
          break;
        case 1:
          device.lint0.set(random.below(2) === 0);
          break;
        case 2:
          device.lint1.set(random.below(2) === 0);
          break;
        case 3:
          device.write(0x320, random.u32() & 0x7_00ff, 4);
          break;
        case 4:
          device.msrWrite(MSR_TSC_DEADLINE, clock.now + random.below(100_000), 0);
          break;
        case 5:
          device.msrWrite(MSR_APIC_BASE, random.pick([0xfee0_0900, 0xfee0_0d00, 0xfee0_0100, random.u32()]), 0);
          break;
        case 6:
          device.msrWrite(0x800 + random.below(64), random.pick([0, random.below(256), random.u32()]), 0);
          break;
        default:
          device.msrRead(0x800 + random.below(64));
          bus.send(0xfee0_0000 + random.below(2 ** 20), 0, random.u32());
      }
    },
  };
});

interface Cpu {
  lapic: Lapic;
  intr: boolean;
  events: string[];
}

describe('lapic', () => {
  let clock: ManualClock;
  let bus: ApicBus;
  let picVector: number;

  const cpu = (id: number, enabled = true): Cpu => {
    const made: Cpu = { intr: false, events: [], lapic: undefined as never };
    made.lapic = new Lapic({
      id,
      bsp: id === 0,
      clock,
      bus,
      pins: {
        setIntr: level => (made.intr = level),
        nmi: () => made.events.push('nmi'),
        init: () => made.events.push('init'),
        sipi: vector => made.events.push(`sipi ${vector}`),
      },
      pic: id === 0 ? { acknowledge: () => picVector } : undefined,
    });
    if (enabled) made.lapic.write(0xf0, 0x1ff, 4);
    return made;
  };
  const x2 = ({ lapic }: Cpu): void => {
    const base = lapic.msrRead(MSR_APIC_BASE)!;
    expect(lapic.msrWrite(MSR_APIC_BASE, base.lo | 0x400, 0)).toBe(true);
  };
  const eoi = ({ lapic }: Cpu): void => lapic.write(0xb0, 0, 4);
  const msi = (vector: number, destination = 0): void => bus.send(0xfee0_0000 | (destination << 12), 0, vector);

  beforeEach(() => {
    clock = new ManualClock();
    bus = new ApicBus();
    picVector = 0x08;
    clock.advance(1000);
  });

  describe('priorities', () => {
    it('delivers the highest vector and blocks its class and below until the end', () => {
      const one = cpu(0);
      msi(0x31);
      msi(0x45);
      msi(0x41);
      expect(one.intr).toBe(true);
      expect(one.lapic.acknowledge()).toBe(0x45);
      expect(one.lapic.read(0xa0, 4)).toBe(0x40);
      expect(one.intr).toBe(false);
      msi(0x51);
      expect(one.lapic.acknowledge()).toBe(0x51);
      eoi(one);
      expect(one.intr).toBe(false);
      eoi(one);
      expect(one.lapic.acknowledge()).toBe(0x41);
      eoi(one);
      expect(one.lapic.acknowledge()).toBe(0x31);
      eoi(one);
      expect(one.intr).toBe(false);
    });

    it('shows requests and interrupts in service', () => {
      const one = cpu(0);
      msi(0x31);
      msi(0xff);
      expect(one.lapic.read(0x210, 4)).toBe(1 << 17);
      expect(one.lapic.read(0x270, 4)).toBe(0x8000_0000);
      one.lapic.acknowledge();
      expect(one.lapic.read(0x270, 4)).toBe(0);
      expect(one.lapic.read(0x170, 4)).toBe(0x8000_0000);
    });

    it('honours TPR, also as CR8', () => {
      const one = cpu(0);
      one.lapic.tpr = 4;
      expect(one.lapic.read(0x80, 4)).toBe(0x40);
      msi(0x4f);
      expect(one.intr).toBe(false);
      one.lapic.write(0x80, 0x3f, 4);
      expect(one.lapic.tpr).toBe(3);
      expect(one.intr).toBe(true);
      one.lapic.tpr = 15;
      expect(one.intr).toBe(false);
      expect(one.lapic.acknowledge()).toBe(0xff);
      expect(one.lapic.read(0x120, 4)).toBe(0);
    });
  });

  describe('the PIC', () => {
    it('goes straight through while the APIC is disabled', () => {
      const one = cpu(0, false);
      one.lapic.lint0.set(true);
      expect(one.intr).toBe(true);
      expect(one.lapic.acknowledge()).toBe(8);
      one.lapic.write(0xf0, 0x1ff, 4);
      expect(one.intr).toBe(false);
      one.lapic.msrWrite(MSR_APIC_BASE, 0xfee0_0100, 0);
      expect(one.intr).toBe(true);
    });

    it('comes through LVT0 as ExtINT, after the APIC own vectors', () => {
      const one = cpu(0);
      one.lapic.lint0.set(true);
      expect(one.intr).toBe(false);
      one.lapic.write(0x350, 0x700, 4);
      expect(one.intr).toBe(true);
      msi(0x31);
      expect(one.lapic.acknowledge()).toBe(0x31);
      picVector = 0x70;
      expect(one.lapic.acknowledge()).toBe(0x70);
      one.lapic.lint0.set(false);
      expect(one.intr).toBe(false);
      one.lapic.lint0.set(true);
      one.lapic.write(0x350, 0x10700, 4);
      expect(one.intr).toBe(false);
    });

    it('can be wired as a fixed vector, and LINT1 as NMI', () => {
      const one = cpu(0);
      one.lapic.write(0x350, 0x33, 4);
      one.lapic.lint0.set(true);
      expect(one.lapic.acknowledge()).toBe(0x33);
      one.lapic.lint1.set(true);
      expect(one.events).toEqual([]);
      one.lapic.lint1.set(false);
      one.lapic.write(0x360, 0x400, 4);
      one.lapic.lint1.set(true);
      expect(one.events).toEqual(['nmi']);
    });
  });

  describe('the timer', () => {
    it('counts once', () => {
      const one = cpu(0);
      one.lapic.write(0x3e0, 0x3, 4);
      one.lapic.write(0x320, 0x40, 4);
      one.lapic.write(0x380, 1000, 4);
      clock.advance(8000);
      expect(one.lapic.read(0x390, 4)).toBe(500);
      expect(one.intr).toBe(false);
      clock.advance(8000);
      expect(one.lapic.read(0x390, 4)).toBe(0);
      expect(one.lapic.acknowledge()).toBe(0x40);
      eoi(one);
      clock.advance(10 ** 9);
      expect(one.intr).toBe(false);
    });

    it('counts periodically, and stops with a zero count', () => {
      const one = cpu(0);
      one.lapic.write(0x3e0, 0xb, 4);
      one.lapic.write(0x320, 0x2_0040, 4);
      one.lapic.write(0x380, 1_000_000, 4);
      for (let n = 0; n < 3; n++) {
        clock.advance(999_999);
        expect(one.intr).toBe(false);
        clock.advance(1);
        expect(one.lapic.acknowledge()).toBe(0x40);
        eoi(one);
      }
      clock.advance(250_000);
      expect(one.lapic.read(0x390, 4)).toBe(750_000);
      one.lapic.write(0x380, 0, 4);
      clock.advance(10 ** 9);
      expect(one.intr).toBe(false);
      expect(one.lapic.read(0x390, 4)).toBe(0);
    });

    it('keeps its beat while masked', () => {
      const one = cpu(0);
      one.lapic.write(0x3e0, 0xb, 4);
      one.lapic.write(0x320, 0x3_0040, 4);
      one.lapic.write(0x380, 1_000_000, 4);
      clock.advance(2_400_000);
      expect(one.lapic.read(0x390, 4)).toBe(600_000);
      one.lapic.write(0x320, 0x2_0040, 4);
      clock.advance(599_999);
      expect(one.intr).toBe(false);
      clock.advance(1);
      expect(one.intr).toBe(true);
    });

    it('does not stall its host when set to a period of one nanosecond', () => {
      const one = cpu(0);
      one.lapic.write(0x3e0, 0xb, 4);
      one.lapic.write(0x320, 0x2_0040, 4);
      one.lapic.write(0x380, 1, 4);
      clock.advance(10 ** 8);
      expect(one.intr).toBe(true);
    });

    it('fires at its TSC deadline, at once when that has passed', () => {
      const one = cpu(0);
      expect(one.lapic.msrWrite(MSR_TSC_DEADLINE, 5000, 0)).toBe(true);
      expect(one.lapic.msrRead(MSR_TSC_DEADLINE)).toEqual({ lo: 0, hi: 0 });
      one.lapic.write(0x320, 0x4_0040, 4);
      one.lapic.msrWrite(MSR_TSC_DEADLINE, 5000, 0);
      expect(one.lapic.msrRead(MSR_TSC_DEADLINE)).toEqual({ lo: 5000, hi: 0 });
      clock.advance(3999);
      expect(one.intr).toBe(false);
      clock.advance(1);
      expect(one.lapic.acknowledge()).toBe(0x40);
      eoi(one);
      expect(one.lapic.msrRead(MSR_TSC_DEADLINE)).toEqual({ lo: 0, hi: 0 });
      one.lapic.msrWrite(MSR_TSC_DEADLINE, 1, 0);
      expect(one.lapic.acknowledge()).toBe(0x40);
      eoi(one);
      one.lapic.msrWrite(MSR_TSC_DEADLINE, 9000, 0);
      one.lapic.msrWrite(MSR_TSC_DEADLINE, 0, 0);
      clock.advance(10_000);
      expect(one.intr).toBe(false);
      one.lapic.msrWrite(MSR_TSC_DEADLINE, 0xffff_ffff, 0xffff_ffff);
      expect(clock.deadline).toBe(Infinity);
      one.lapic.write(0x380, 100, 4);
      expect(one.lapic.read(0x380, 4)).toBe(0);
    });

    it('goes on after a restore at another time', () => {
      const one = cpu(0);
      one.lapic.write(0x3e0, 0xb, 4);
      one.lapic.write(0x320, 0x40, 4);
      one.lapic.write(0x380, 1000, 4);
      clock.advance(400);
      const state = one.lapic.save();
      clock = new ManualClock();
      bus = new ApicBus();
      const two = cpu(0, false);
      two.lapic.restore(state);
      clock.advance(599);
      expect(two.intr).toBe(false);
      clock.advance(1);
      expect(two.intr).toBe(true);
    });
  });

  describe('messages between CPUs', () => {
    it('finds physical, flat, cluster and broadcast destinations', () => {
      const all = [0, 1, 2].map(id => cpu(id));
      const hit = (): number[] => {
        const got = all.flatMap((one, index) => (one.intr ? [index] : []));
        for (const one of all) {
          while (one.intr) {
            one.lapic.acknowledge();
            eoi(one);
          }
        }
        return got;
      };
      all.forEach((one, index) => one.lapic.write(0xd0, (1 << index) << 24, 4));
      const send = (destination: number, low: number): number[] => {
        all[0].lapic.write(0x310, (destination << 24) >>> 0, 4);
        all[0].lapic.write(0x300, low, 4);
        return hit();
      };
      expect(send(1, 0x40)).toEqual([1]);
      expect(send(0xff, 0x40)).toEqual([0, 1, 2]);
      expect(send(6, 0x840)).toEqual([1, 2]);
      expect(send(7, 0x940)).toEqual([0]);
      all[0].lapic.tpr = 2;
      expect(send(7, 0x940)).toEqual([1]);
      expect(send(0, 0x4_0040)).toEqual([0]);
      expect(send(0, 0x8_0040)).toEqual([0, 1, 2]);
      expect(send(0, 0xc_0040)).toEqual([1, 2]);
      for (const one of all) one.lapic.write(0xe0, 0x0fff_ffff, 4);
      all.forEach((one, index) => one.lapic.write(0xd0, (0x10 * index + 1) << 24, 4));
      expect(send(0x21, 0x840)).toEqual([2]);
      expect(send(0xf1, 0x840)).toEqual([0, 1, 2]);
      expect(send(0x12, 0x840)).toEqual([]);
      expect(all[0].lapic.read(0x300, 4) & 0x1000).toBe(0);
    });

    it('starts another CPU with INIT and two SIPIs', () => {
      const bsp = cpu(0);
      const ap = cpu(1);
      ap.lapic.tpr = 5;
      bsp.lapic.write(0x310, 1 << 24, 4);
      for (const low of [0xc500, 0x8500, 0x0608, 0x0608]) bsp.lapic.write(0x300, low, 4);
      expect(ap.events).toEqual(['init', 'sipi 8', 'sipi 8']);
      expect(ap.lapic.tpr).toBe(0);
      expect(ap.lapic.read(0xf0, 4)).toBe(0xff);
      expect(ap.lapic.read(0x20, 4)).toBe(1 << 24);
      bsp.lapic.write(0x300, 0xc0400, 4);
      expect(ap.events.at(-1)).toBe('nmi');
      expect(bsp.events).toEqual([]);
    });

    it('records illegal vectors, and tells of them', () => {
      const one = cpu(0);
      one.lapic.write(0x370, 0xfe, 4);
      one.lapic.write(0x300, 0x4_000f, 4);
      expect(one.lapic.read(0x280, 4)).toBe(0);
      one.lapic.write(0x280, 0, 4);
      expect(one.lapic.read(0x280, 4)).toBe(0x20);
      expect(one.lapic.acknowledge()).toBe(0xfe);
      eoi(one);
      msi(3);
      one.lapic.read(0x3f0, 4);
      one.lapic.write(0x280, 0, 4);
      expect(one.lapic.read(0x280, 4)).toBe(0xc0);
      one.lapic.write(0x280, 0, 4);
      expect(one.lapic.read(0x280, 4)).toBe(0);
    });

    it('takes no fixed interrupt while disabled by software, and masks its local vectors', () => {
      const one = cpu(0);
      one.lapic.write(0x320, 0x40, 4);
      one.lapic.write(0xf0, 0xff, 4);
      expect(one.lapic.read(0x320, 4)).toBe(0x1_0040);
      one.lapic.write(0x320, 0x40, 4);
      expect(one.lapic.read(0x320, 4)).toBe(0x1_0040);
      expect(bus.deliver(0, false, 0, 0x40, false, false)).toBe(false);
      expect(bus.deliver(0, false, 4, 0, false, false)).toBe(true);
      expect(one.events).toEqual(['nmi']);
    });
  });

  describe('x2APIC', () => {
    it('allows only the transitions of the manual', () => {
      const one = cpu(0);
      const write = (lo: number, hi = 0): boolean => one.lapic.msrWrite(MSR_APIC_BASE, lo, hi);
      expect(one.lapic.msrRead(MSR_APIC_BASE)).toEqual({ lo: 0xfee0_0900, hi: 0 });
      expect(one.lapic.msrRead(0x802)).toBeUndefined();
      expect(one.lapic.msrWrite(0x80b, 0, 0)).toBe(false);
      expect(write(0xfee0_0500)).toBe(false);
      expect(write(0xfee0_0901)).toBe(false);
      expect(write(0xfee0_0900, 0x100)).toBe(false);
      expect(write(0xfee0_0d00)).toBe(true);
      expect(one.lapic.x2apic).toBe(true);
      expect(one.lapic.read(0x20, 4)).toBe(0xffff_ffff);
      expect(write(0xfee0_0900)).toBe(false);
      expect(write(0xfee0_0100)).toBe(true);
      expect(one.lapic.enabled).toBe(false);
      expect(write(0xfee0_0d00)).toBe(false);
      expect(write(0xfee0_0900)).toBe(true);
    });

    it('has the registers as MSRs, with their access rights', () => {
      const one = cpu(0x21);
      one.lapic.write(0x80, 0x20, 4);
      x2(one);
      const read = (msr: number): number | undefined => one.lapic.msrRead(msr)?.lo;
      expect(read(0x802)).toBe(0x21);
      expect(read(0x803)).toBe(0x5_0014);
      expect(read(0x808)).toBe(0x20);
      expect(read(0x80d)).toBe(0x2_0002);
      for (const msr of [0x800, 0x801, 0x809, 0x80b, 0x80c, 0x80e, 0x829, 0x82f, 0x831, 0x83a, 0x83f]) expect(read(msr), msr.toString(16)).toBeUndefined();
      for (const msr of [0x802, 0x803, 0x80a, 0x80d, 0x80e, 0x810, 0x820, 0x831, 0x839]) expect(one.lapic.msrWrite(msr, 0, 0), msr.toString(16)).toBe(false);
      expect(one.lapic.msrWrite(0x808, 0x100, 0)).toBe(false);
      expect(one.lapic.msrWrite(0x808, 0, 1)).toBe(false);
      expect(one.lapic.msrWrite(0x80b, 1, 0)).toBe(false);
      expect(one.lapic.msrWrite(0x828, 1, 0)).toBe(false);
      expect(one.lapic.msrWrite(0x80b, 0, 0)).toBe(true);
      expect(one.lapic.msrWrite(0x838, -1, 0)).toBe(true);
      expect(read(0x838)).toBe(0xffff_ffff);
    });

    it('sends by one write, to 32-bit destinations', () => {
      const one = cpu(0);
      const far = cpu(0x12);
      x2(one);
      x2(far);
      one.lapic.msrWrite(0x830, 0x41, 0x12);
      expect(far.lapic.acknowledge()).toBe(0x41);
      far.lapic.msrWrite(0x80b, 0, 0);
      one.lapic.msrWrite(0x830, 0x842, 0x1_0004);
      expect(far.lapic.acknowledge()).toBe(0x42);
      far.lapic.msrWrite(0x80b, 0, 0);
      one.lapic.msrWrite(0x830, 0x43, 0xffff_ffff);
      expect([one.intr, far.intr]).toEqual([true, true]);
      one.lapic.acknowledge();
      one.lapic.msrWrite(0x80b, 0, 0);
      one.lapic.msrWrite(0x83f, 0x55, 0);
      expect(one.lapic.acknowledge()).toBe(0x55);
      msi(0x60, 0x12);
      expect(far.lapic.acknowledge()).toBe(0x60);
      expect(one.lapic.msrRead(0x830)).toEqual({ lo: 0x43, hi: 0xffff_ffff });
    });
  });

  it('shows each CPU its own page', () => {
    const all = [cpu(0), cpu(1)];
    let current = 0;
    const window = new ApicWindow(() => all[current].lapic);
    expect(window.read(0x20, 4)).toBe(0);
    current = 1;
    expect(window.read(0x20, 4)).toBe(1 << 24);
    window.write(0x80, 0x30, 4);
    expect(all[1].lapic.tpr).toBe(3);
  });

  it('reports where its page is', () => {
    const seen: [number, boolean][] = [];
    const lapic = new Lapic({ id: 0, clock, bus, pins: deaf, onBase: (phys, mapped) => seen.push([phys, mapped]) });
    lapic.msrWrite(MSR_APIC_BASE, 0xfed0_0800, 1);
    lapic.msrWrite(MSR_APIC_BASE, 0xfed0_0c00, 1);
    lapic.reset();
    expect(seen).toEqual([
      [0x1_fed0_0000, true],
      [0x1_fed0_0000, false],
      [0xfee0_0000, true],
    ]);
  });
});
