import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/host/clock.js';
import { KvmClock, MSR_KVM_SYSTEM_TIME, MSR_KVM_SYSTEM_TIME_OLD, MSR_KVM_WALL_CLOCK } from '../../../src/host/devices/kvm-clock.js';
import { BufferMemory } from '../../../src/host/memory.js';
import { deviceContract } from '../../support/device-contract.js';

const START = 1_700_000_000;

deviceContract('kvm-clock', () => {
  const clock = new ManualClock();
  const device = new KvmClock({ clock, memory: new BufferMemory(new Uint8Array(4096)), startSeconds: START });
  return {
    device,
    clock,
    poke: random => {
      const msr = random.pick([0x11, 0x12, MSR_KVM_WALL_CLOCK, MSR_KVM_SYSTEM_TIME]);
      device.msrWrite(msr, random.pick([random.u32(), random.below(4200)]), random.pick([0, random.u32()]));
      device.tscChanged();
    },
  };
});

describe('kvm-clock', () => {
  const machine = (): { clock: ManualClock; memory: BufferMemory; device: KvmClock; writes: number[][] } => {
    const clock = new ManualClock();
    const writes: number[][] = [];
    class Watched extends BufferMemory {
      protected override written(phys: number, length: number): void {
        writes.push([phys, length, this.readU32(0x100)]);
      }
    }
    const memory = new Watched(new Uint8Array(4096));
    return { clock, memory, device: new KvmClock({ clock, memory, startSeconds: START + 0.25, nsToTsc: ns => ns + 1000 }), writes };
  };

  /** What Linux makes of the structure: pvclock_clocksource_read. */
  const guestTime = (memory: BufferMemory, phys: number, tsc: bigint): bigint => {
    const shift = new Int8Array([memory.readU32(phys + 28) & 0xff])[0];
    const delta = (tsc - memory.readU64(phys + 8)) << BigInt(shift);
    return memory.readU64(phys + 16) + ((delta * BigInt(memory.readU32(phys + 24))) >> 32n);
  };

  it('gives a guest the virtual time by its TSC', () => {
    const { clock, memory, device } = machine();
    clock.advance(123_456_789_012);
    expect(device.msrWrite(MSR_KVM_SYSTEM_TIME, 0x101, 0)).toBe(true);
    expect(device.msrRead(MSR_KVM_SYSTEM_TIME)).toEqual({ lo: 0x101, hi: 0 });
    expect(memory.readU32(0x100)).toBe(2);
    expect(memory.readU64(0x108)).toBe(123_456_790_012n);
    expect((memory.readU32(0x11c) >> 8) & 0xff).toBe(1);
    clock.advance(987_654_321);
    expect(guestTime(memory, 0x100, BigInt(clock.now + 1000))).toBe(BigInt(clock.now));
  });

  it('has an odd version while it writes, and a new one each time', () => {
    const { memory, device, writes } = machine();
    device.msrWrite(MSR_KVM_SYSTEM_TIME_OLD, 0x101, 0);
    expect(writes.map(write => write[2])).toEqual([1, 1, 2]);
    device.tscChanged();
    expect(memory.readU32(0x100)).toBe(4);
    device.msrWrite(MSR_KVM_SYSTEM_TIME, 0, 0);
    device.tscChanged();
    expect(memory.readU32(0x100)).toBe(4);
  });

  it('writes the wall clock of power-on', () => {
    const { clock, memory, device } = machine();
    clock.advance(5 * 10 ** 9);
    device.msrWrite(MSR_KVM_WALL_CLOCK, 0x200, 0);
    expect([0x200, 0x204, 0x208].map(phys => memory.readU32(phys))).toEqual([2, START, 250_000_000]);
  });

  it('knows only its MSRs, and drops addresses outside RAM', () => {
    const { device, writes } = machine();
    expect(device.msrRead(0x10)).toBeUndefined();
    expect(device.msrWrite(0x4b56_4d02, 0, 0)).toBe(false);
    device.msrWrite(MSR_KVM_SYSTEM_TIME, 0xffff_f001, 0xffff_ffff);
    device.msrWrite(MSR_KVM_WALL_CLOCK, 0xffc, 0);
    expect(writes.filter(write => write[0] > 0xffc)).toEqual([]);
  });
});
