import type { Clock } from '../clock.js';
import type { GuestMemory } from '../memory.js';
import { type AccessSize, type Device, openBus, type Region } from './device.js';
import type { MsrValue } from './lapic.js';
import { clone, validated } from './state.js';

// Linux, Documentation/virt/kvm/x86/msr.rst and Documentation/virt/kvm/x86/cpuid.rst.

export const MSR_KVM_WALL_CLOCK = 0x4b56_4d00;
export const MSR_KVM_SYSTEM_TIME = 0x4b56_4d01;
export const MSR_KVM_WALL_CLOCK_OLD = 0x11;
export const MSR_KVM_SYSTEM_TIME_OLD = 0x12;

const ENABLE = 1;
const TIME_INFO_BYTES = 32;
const WALL_CLOCK_BYTES = 12;
const FLAG_TSC_STABLE = 1;
/** ns = (tsc << 1) * 2^31 >> 32: a TSC of 1 GHz. */
const MULTIPLIER = 0x8000_0000;
const SHIFT = 1;
const TWO_32 = 0x1_0000_0000;
const SECOND_NS = 1_000_000_000;

export interface KvmClockState {
  systemLo: number;
  systemHi: number;
  wallLo: number;
  wallHi: number;
  /** Always even; grows by two with every update of the time information. */
  version: number;
  wallVersion: number;
}

const initial = (): KvmClockState => ({ systemLo: 0, systemHi: 0, wallLo: 0, wallHi: 0, version: 0, wallVersion: 0 });

export interface KvmClockOptions {
  name?: string;
  clock: Clock;
  memory: GuestMemory;
  /** The wall clock's value at virtual time 0, in whole seconds since 1970. */
  startSeconds: number;
  /** What the CPU's TSC reads at virtual time `ns`; the same number by default. */
  nsToTsc?: (ns: number) => number;
}

/**
 * KVM's paravirtual clock of one CPU: MSRs that name places in guest memory where the host writes time. The TSC runs at 1 GHz and is
 * stable, so the information is written when the guest asks and when its TSC is set. System time is virtual time since power-on.
 */
export class KvmClock implements Device<KvmClockState> {
  readonly name: string;
  readonly regions: readonly Region[] = [];
  readonly #options: KvmClockOptions;
  readonly #value: MsrValue = { lo: 0, hi: 0 };
  readonly #bytes = new Uint8Array(TIME_INFO_BYTES);
  readonly #view = new DataView(this.#bytes.buffer);
  #s = initial();

  constructor(options: KvmClockOptions) {
    this.name = options.name ?? 'kvm-clock';
    this.#options = options;
  }

  /** RDMSR; undefined when the MSR is none of these. The object is reused by the next call. */
  msrRead(msr: number): MsrValue | undefined {
    const s = this.#s;
    switch (msr) {
      case MSR_KVM_SYSTEM_TIME:
      case MSR_KVM_SYSTEM_TIME_OLD:
        this.#value.lo = s.systemLo;
        this.#value.hi = s.systemHi;
        return this.#value;
      case MSR_KVM_WALL_CLOCK:
      case MSR_KVM_WALL_CLOCK_OLD:
        this.#value.lo = s.wallLo;
        this.#value.hi = s.wallHi;
        return this.#value;
      default:
        return undefined;
    }
  }

  /** WRMSR; false when the MSR is none of these. `lo` and `hi` are 32 bits, signed or not. */
  msrWrite(msr: number, lo: number, hi: number): boolean {
    const s = this.#s;
    switch (msr) {
      case MSR_KVM_SYSTEM_TIME:
      case MSR_KVM_SYSTEM_TIME_OLD:
        s.systemLo = lo >>> 0;
        s.systemHi = hi >>> 0;
        this.#writeTime();
        return true;
      case MSR_KVM_WALL_CLOCK:
      case MSR_KVM_WALL_CLOCK_OLD:
        s.wallLo = lo >>> 0;
        s.wallHi = hi >>> 0;
        this.#writeWallClock();
        return true;
      default:
        return false;
    }
  }

  /** The guest set its TSC: the time information is written anew. */
  tscChanged(): void {
    this.#writeTime();
  }

  read(_offset: number, size: AccessSize): number {
    return openBus(size);
  }

  write(): void {}

  /** The guest's memory stays as it is: a reset turns updates off. */
  reset(): void {
    this.#s = initial();
  }

  save(): KvmClockState {
    return clone(this.#s);
  }

  restore(state: KvmClockState): void {
    this.#s = validated(this.name, initial(), state);
  }

  /** struct pvclock_vcpu_time_info, under an odd version while it changes. */
  #writeTime(): void {
    const s = this.#s;
    if ((s.systemLo & ENABLE) === 0) return;
    const { memory, clock, nsToTsc } = this.#options;
    const phys = s.systemHi * TWO_32 + ((s.systemLo & ~ENABLE) >>> 0);
    const now = clock.now;
    const tsc = nsToTsc === undefined ? now : nsToTsc(now);
    const view = this.#view;
    s.version = (s.version + 2) >>> 0;
    view.setUint32(0, s.version, true);
    view.setUint32(4, 0, true);
    setU64(view, 8, tsc);
    setU64(view, 16, now);
    view.setUint32(24, MULTIPLIER, true);
    view.setInt8(28, SHIFT);
    view.setUint8(29, FLAG_TSC_STABLE);
    view.setUint16(30, 0, true);
    memory.writeU32(phys, s.version - 1);
    memory.write(phys + 4, this.#bytes.subarray(4));
    memory.writeU32(phys, s.version);
  }

  /** struct pvclock_wall_clock: the wall clock when system time was zero. */
  #writeWallClock(): void {
    const s = this.#s;
    const phys = s.wallHi * TWO_32 + s.wallLo;
    if (phys === 0) return;
    const { memory, startSeconds } = this.#options;
    const view = this.#view;
    s.wallVersion = (s.wallVersion + 2) >>> 0;
    const whole = Math.floor(startSeconds);
    view.setUint32(4, whole >>> 0, true);
    view.setUint32(8, Math.floor((startSeconds - whole) * SECOND_NS), true);
    memory.writeU32(phys, s.wallVersion - 1);
    memory.write(phys + 4, this.#bytes.subarray(4, WALL_CLOCK_BYTES));
    memory.writeU32(phys, s.wallVersion);
  }
}

const setU64 = (view: DataView, offset: number, value: number): void => {
  view.setUint32(offset, value % TWO_32, true);
  view.setUint32(offset + 4, Math.floor(value / TWO_32), true);
};
