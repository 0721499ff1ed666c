import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/host/clock.js';
import {
  ACPI_DISABLE,
  ACPI_ENABLE,
  ACPI_RESET_VALUE,
  AcpiPm,
  GPE0_REGION,
  PM_CONTROL_REGION,
  PM_EVENT_REGION,
  PM_TIMER_HZ,
  PM_TIMER_REGION,
  RESET_REGION,
  SMI_COMMAND_REGION,
} from '../../../src/host/devices/acpi-pm.js';
import { nsOfTick } from '../../../src/host/devices/ticks.js';
import { deviceContract } from '../../support/device-contract.js';

for (const timerBits of [24, 32] as const) {
  deviceContract(`acpi-pm with ${timerBits} bits`, () => {
    const clock = new ManualClock();
    const device = new AcpiPm({ clock, timerBits, onSleep: () => {}, onReset: () => {} });
    return {
      device,
      clock,
      poke: random => {
        if (random.below(2) === 0) device.pressPowerButton();
        else device.raiseGpe(random.below(16));
      },
    };
  });
}

describe('acpi-pm', () => {
  let clock: ManualClock;
  let pm: AcpiPm;
  let sci: boolean;
  let events: string[];
  const make = (timerBits: 24 | 32): void => {
    clock = new ManualClock();
    sci = false;
    events = [];
    pm = new AcpiPm({
      clock,
      timerBits,
      sci: { set: level => (sci = level) },
      onSleep: type => events.push(`sleep ${type}`),
      onReset: () => events.push('reset'),
    });
  };
  const enableAcpi = (): void => pm.write(0, ACPI_ENABLE, 1, SMI_COMMAND_REGION);

  beforeEach(() => make(32));

  it('switches modes by the command port', () => {
    expect(pm.read(0, 2, PM_CONTROL_REGION)).toBe(0);
    pm.write(0, 0x0001, 2, PM_CONTROL_REGION);
    expect(pm.acpiMode).toBe(false);
    enableAcpi();
    expect(pm.read(0, 2, PM_CONTROL_REGION)).toBe(1);
    pm.write(0, ACPI_DISABLE, 1, SMI_COMMAND_REGION);
    expect(pm.acpiMode).toBe(false);
    pm.write(1, 0x42, 1, SMI_COMMAND_REGION);
    expect(pm.read(0, 2, SMI_COMMAND_REGION)).toBe(0x42_00 | ACPI_DISABLE);
  });

  it('tells of the power button by a level that the guest clears', () => {
    pm.pressPowerButton();
    expect(pm.read(0, 2, PM_EVENT_REGION)).toBe(0x100);
    expect(sci).toBe(false);
    pm.write(2, 0x100, 2, PM_EVENT_REGION);
    expect(sci).toBe(false);
    enableAcpi();
    expect(sci).toBe(true);
    pm.write(0, 0x001, 2, PM_EVENT_REGION);
    expect(sci).toBe(true);
    pm.write(0, 0x100, 2, PM_EVENT_REGION);
    expect(sci).toBe(false);
    expect(pm.read(0, 4, PM_EVENT_REGION)).toBe(0x0100_0000);
    pm.write(3, 0, 1, PM_EVENT_REGION);
    expect(pm.read(2, 2, PM_EVENT_REGION)).toBe(0);
  });

  it('can be in ACPI mode for good', () => {
    pm = new AcpiPm({ clock, alwaysAcpi: true, sci: { set: level => (sci = level) }, onSleep: () => {}, onReset: () => {} });
    pm.write(0, ACPI_DISABLE, 1, SMI_COMMAND_REGION);
    expect(pm.acpiMode).toBe(true);
    pm.reset();
    pm.write(2, 0x100, 2, PM_EVENT_REGION);
    pm.pressPowerButton();
    expect(sci).toBe(true);
  });

  it('sleeps with the type that was written, in one step or two', () => {
    enableAcpi();
    pm.write(0, (5 << 10) | 1, 2, PM_CONTROL_REGION);
    expect(events).toEqual([]);
    pm.write(0, (5 << 10) | 0x2001, 2, PM_CONTROL_REGION);
    expect(events).toEqual(['sleep 5']);
    expect(pm.read(0, 2, PM_CONTROL_REGION)).toBe((5 << 10) | 1);
  });

  it('counts at 3.579545 MHz, 24 or 32 bits wide', () => {
    clock.advance(10 ** 9);
    expect(pm.read(0, 4, PM_TIMER_REGION)).toBe(PM_TIMER_HZ);
    clock.advance(nsOfTick(2 ** 32 + 5, PM_TIMER_HZ) - clock.now);
    expect(pm.read(0, 4, PM_TIMER_REGION)).toBe(5);
    make(24);
    clock.advance(nsOfTick(2 ** 24 + 0x1234, PM_TIMER_HZ));
    expect(pm.read(0, 4, PM_TIMER_REGION)).toBe(0x1234);
    expect(pm.read(1, 1, PM_TIMER_REGION)).toBe(0x12);
  });

  it('interrupts when the highest bit of the timer changes', () => {
    make(24);
    enableAcpi();
    pm.write(2, 1, 2, PM_EVENT_REGION);
    for (const flips of [1, 2, 3]) {
      const at = nsOfTick(flips * 2 ** 23, PM_TIMER_HZ);
      clock.advance(at - 1 - clock.now);
      expect(sci).toBe(false);
      clock.advance(1);
      expect(sci).toBe(true);
      pm.write(0, 1, 2, PM_EVENT_REGION);
      expect(sci).toBe(false);
    }
    pm.write(2, 0, 2, PM_EVENT_REGION);
    clock.advance(nsOfTick(2 ** 23, PM_TIMER_HZ));
    expect(sci).toBe(false);
    expect(pm.read(0, 2, PM_EVENT_REGION)).toBe(1);
  });

  it('has general-purpose events', () => {
    enableAcpi();
    pm.write(2, 0x0004, 2, GPE0_REGION);
    pm.raiseGpe(1);
    expect(sci).toBe(false);
    pm.raiseGpe(2);
    expect(sci).toBe(true);
    expect(pm.read(0, 2, GPE0_REGION)).toBe(6);
    pm.write(0, 4, 1, GPE0_REGION);
    expect(sci).toBe(false);
    expect(pm.read(0, 4, GPE0_REGION)).toBe(0x0004_0002);
  });

  it('resets when bit 2 of the reset register is written', () => {
    pm.write(0, 0x02, 1, RESET_REGION);
    expect(events).toEqual([]);
    pm.write(0, ACPI_RESET_VALUE, 1, RESET_REGION);
    expect(events).toEqual(['reset']);
    pm.writeReset(0x0e);
    expect(events).toEqual(['reset', 'reset']);
  });

  it('goes on counting after a restore at another time', () => {
    clock.advance(5 * 10 ** 9);
    const state = pm.save();
    make(32);
    clock.advance(10 ** 9);
    pm.restore(state);
    expect(pm.read(0, 4, PM_TIMER_REGION)).toBe(5 * PM_TIMER_HZ);
  });
});
