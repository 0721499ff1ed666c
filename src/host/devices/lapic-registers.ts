import type { GuestLog } from '../../logger.js';
import type { Clock } from '../clock.js';
import type { ApicBus } from './apic-bus.js';

// Intel SDM vol. 3, chapter 11. Registers are named by their x2APIC number, which is the MMIO offset divided by 16.

export const MSR_APIC_BASE = 0x1b;
export const MSR_TSC_DEADLINE = 0x6e0;
export const MSR_X2APIC_FIRST = 0x800;
export const MSR_X2APIC_LAST = 0x83f;

export const ID = 0x02;
export const VERSION = 0x03;
export const TPR = 0x08;
export const APR = 0x09;
export const PPR = 0x0a;
export const EOI = 0x0b;
export const RRD = 0x0c;
export const LDR = 0x0d;
export const DFR = 0x0e;
export const SVR = 0x0f;
export const ISR0 = 0x10;
export const TMR0 = 0x18;
export const IRR0 = 0x20;
export const ESR = 0x28;
export const ICR_LO = 0x30;
export const ICR_HI = 0x31;
export const LVT0 = 0x32;
export const TICR = 0x38;
export const TCCR = 0x39;
export const TDCR = 0x3e;
export const SELF_IPI = 0x3f;

export const LVT_TIMER = 0;
export const LVT_LINT0 = 3;
export const LVT_LINT1 = 4;
export const LVT_ERROR = 5;
export const LVT_ENTRIES = 6;

/** Version 0x14, six local vectors. */
export const VERSION_VALUE = ((LVT_ENTRIES - 1) << 16) | 0x14;
export const BASE_BSP = 0x100;
export const BASE_EXTD = 0x400;
export const BASE_EN = 0x800;
export const BASE_RESERVED = 0x2ff;
export const BASE_DEFAULT = 0xfee0_0000;
export const SVR_ENABLE = 0x100;
export const SVR_BITS = 0x3ff;
export const MASKED = 0x1_0000;
export const TRIGGER_LEVEL = 0x8000;
export const TIMER_PERIODIC = 1;
export const TIMER_DEADLINE = 2;
export const ICR_BITS = 0x000c_cfff;
export const ICR_ASSERT = 0x4000;
export const ICR_LOGICAL = 0x800;
export const DFR_FLAT = 0xf;
export const ESR_SEND_ILLEGAL = 0x20;
export const ESR_RECEIVE_ILLEGAL = 0x40;
export const ESR_ILLEGAL_REGISTER = 0x80;
export const FIRST_VECTOR = 16;

export const LVT_BITS = [0x7_00ff, 0x1_07ff, 0x1_07ff, 0x1_a7ff, 0x1_a7ff, 0x1_00ff];
/** Delivery status and remote IRR: accepted in writes and dropped. */
export const LVT_READ_ONLY = 0x5000;

export const TWO_32 = 0x1_0000_0000;

/** Bits that WRMSR may set in x2APIC mode; a register that is not listed cannot be written. */
export const X2_WRITABLE = new Float64Array(64).fill(-1);
for (const [register, bits] of [
  [TPR, 0xff],
  [EOI, 0],
  [SVR, SVR_BITS],
  [ESR, 0],
  [ICR_LO, ICR_BITS],
  [TICR, 0xffff_ffff],
  [TDCR, 0xb],
  [SELF_IPI, 0xff],
]) {
  X2_WRITABLE[register] = bits;
}
LVT_BITS.forEach((bits, entry) => (X2_WRITABLE[LVT0 + entry] = bits | LVT_READ_ONLY));

/** What a local APIC drives in its CPU. */
export interface CpuPins {
  /** The level of the maskable interrupt request. Called when it changes. */
  setIntr(level: boolean): void;
  nmi(): void;
  init(): void;
  /** Start-up at physical address `vector` * 4096; a CPU that does not wait for it ignores it. */
  sipi(vector: number): void;
}

export interface LapicOptions {
  name?: string;
  /** The APIC ID; also the x2APIC ID. */
  id: number;
  /** Whether this is the bootstrap processor. */
  bsp?: boolean;
  clock: Clock;
  bus: ApicBus;
  pins: CpuPins;
  log?: GuestLog;
  /** Where ExtINT vectors come from: the PIC. Only the CPU whose LINT0 it drives has one. */
  pic?: { acknowledge(): number };
  /** Whether x2APIC mode exists; it does by default. */
  x2apic?: boolean;
  /** Physical address bits, for the reserved bits of IA32_APIC_BASE; 40 by default. */
  physBits?: number;
  /** The virtual time at which the CPU's TSC reads `tsc`; the same number by default (1 GHz, no offset). */
  tscToNs?: (tsc: number) => number;
  /** The guest moved the page, or took it away (disabled, or in x2APIC mode). Default: at 0xFEE00000. */
  onBase?: (phys: number, mapped: boolean) => void;
}

/** The value of an MSR, as two unsigned halves. */
export interface MsrValue {
  lo: number;
  hi: number;
}

/** What saved states of a local APIC hold. */
export interface LapicState {
  baseLo: number;
  baseHi: number;
  tpr: number;
  ldr: number;
  dfr: number;
  svr: number;
  esr: number;
  /** Errors since the last write of ESR. */
  errors: number;
  icrLo: number;
  icrHi: number;
  lvt: Uint32Array;
  isr: Uint32Array;
  tmr: Uint32Array;
  irr: Uint32Array;
  ticr: number;
  tdcr: number;
  counting: boolean;
  /** When the count reaches zero (next); in saved states from now. */
  expiryNs: number;
  /** IA32_TSC_DEADLINE. */
  deadlineLo: number;
  deadlineHi: number;
  lint0: boolean;
  lint1: boolean;
  /** An ExtINT message waits to be acknowledged. */
  extInt: boolean;
}

/** The state after power-up, of a CPU other than the first. */
export const initialLapic = (): LapicState => ({
  baseLo: (BASE_DEFAULT | BASE_EN) >>> 0,
  baseHi: 0,
  tpr: 0,
  ldr: 0,
  dfr: 0xffff_ffff,
  svr: 0xff,
  esr: 0,
  errors: 0,
  icrLo: 0,
  icrHi: 0,
  lvt: new Uint32Array(LVT_ENTRIES).fill(MASKED),
  isr: new Uint32Array(8),
  tmr: new Uint32Array(8),
  irr: new Uint32Array(8),
  ticr: 0,
  tdcr: 0,
  counting: false,
  expiryNs: 0,
  deadlineLo: 0,
  deadlineHi: 0,
  lint0: false,
  lint1: false,
  extInt: false,
});

/** The timer mode of the timer's LVT entry. */
export const timerMode = (lvt: number): number => (lvt >> 17) & 3;

/** The highest vector in words 0 to `from` of a 256-bit set, or -1. */
export const highest = (bits: Uint32Array, from: number): number => {
  for (let word = from; word >= 0; word--) {
    const value = bits[word];
    if (value !== 0) return (word << 5) + 31 - Math.clz32(value);
  }
  return -1;
};
