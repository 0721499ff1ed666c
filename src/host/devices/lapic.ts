import type { Clock } from '../clock.js';
import type { IrqLine } from '../irq.js';
import {
  type ApicBus,
  type ApicTarget,
  BROADCAST,
  BROADCAST_X2,
  DELIVERY_EXTINT,
  DELIVERY_FIXED,
  DELIVERY_INIT,
  DELIVERY_LOWEST,
  DELIVERY_NMI,
  DELIVERY_SIPI,
} from './apic-bus.js';
import { slice } from './bytes.js';
import { type AccessSize, type Device, openBus, type Region } from './device.js';
import {
  APR,
  BASE_BSP,
  BASE_EN,
  BASE_EXTD,
  BASE_RESERVED,
  type CpuPins,
  DFR,
  DFR_FLAT,
  EOI,
  ESR,
  ESR_ILLEGAL_REGISTER,
  ESR_RECEIVE_ILLEGAL,
  ESR_SEND_ILLEGAL,
  FIRST_VECTOR,
  highest,
  ICR_ASSERT,
  ICR_BITS,
  ICR_HI,
  ICR_LO,
  ICR_LOGICAL,
  ID,
  initialLapic,
  IRR0,
  ISR0,
  type LapicOptions,
  type LapicState,
  LDR,
  LVT0,
  LVT_BITS,
  LVT_ENTRIES,
  LVT_ERROR,
  LVT_LINT0,
  LVT_LINT1,
  LVT_TIMER,
  MASKED,
  MSR_APIC_BASE,
  MSR_TSC_DEADLINE,
  MSR_X2APIC_FIRST,
  MSR_X2APIC_LAST,
  type MsrValue,
  PPR,
  RRD,
  SELF_IPI,
  SVR,
  SVR_BITS,
  SVR_ENABLE,
  TCCR,
  TDCR,
  TICR,
  TMR0,
  TPR,
  TRIGGER_LEVEL,
  TWO_32,
  VERSION,
  VERSION_VALUE,
  X2_WRITABLE,
} from './lapic-registers.js';
import { LapicTimer } from './lapic-timer.js';
import { clone, validated } from './state.js';

export { MSR_APIC_BASE, MSR_TSC_DEADLINE, MSR_X2APIC_FIRST, MSR_X2APIC_LAST } from './lapic-registers.js';
export type { CpuPins, LapicOptions, LapicState, MsrValue } from './lapic-registers.js';

/**
 * The local APIC of one CPU, as an xAPIC page (region 0) or, in x2APIC mode, as MSRs. Its timer counts at 1 GHz before the divider.
 *
 * While it is disabled by software or in IA32_APIC_BASE, LINT0 (the PIC) goes straight to the CPU.
 */
export class Lapic implements Device<LapicState>, ApicTarget {
  readonly name: string;
  readonly regions: readonly Region[] = [{ space: 'mmio', size: 4096 }];
  readonly id: number;
  /** The PIC's INTR. */
  readonly lint0: IrqLine = { set: level => this.#setLint0(level) };
  /** The board's NMI. */
  readonly lint1: IrqLine = { set: level => this.#setLint1(level) };
  readonly #options: LapicOptions;
  readonly #clock: Clock;
  readonly #bus: ApicBus;
  readonly #pins: CpuPins;
  readonly #timer: LapicTimer;
  readonly #value: MsrValue = { lo: 0, hi: 0 };
  #s: LapicState;
  #intr = false;
  /** The highest vectors of IRR and ISR, -1 for none: derived, to keep interrupts cheap. */
  #topRequest = -1;
  #topInService = -1;

  constructor(options: LapicOptions) {
    this.id = options.id;
    this.name = options.name ?? `lapic${options.id}`;
    this.#options = options;
    this.#clock = options.clock;
    this.#bus = options.bus;
    this.#pins = options.pins;
    this.#timer = new LapicTimer(options.clock, options.tscToNs ?? (tsc => tsc), () => this.#expire());
    this.#s = this.#fresh();
    options.bus.addTarget(this);
  }

  /** Enabled in IA32_APIC_BASE; CPUID.1:EDX.APIC follows it. */
  get enabled(): boolean {
    return (this.#s.baseLo & BASE_EN) !== 0;
  }

  get x2apic(): boolean {
    return (this.#s.baseLo & BASE_EXTD) !== 0;
  }

  /** Enabled in IA32_APIC_BASE and by software. */
  get accepting(): boolean {
    return (this.#s.baseLo & BASE_EN) !== 0 && (this.#s.svr & SVR_ENABLE) !== 0;
  }

  get arbitrationPriority(): number {
    return this.#ppr();
  }

  /** CR8: the upper four bits of TPR. */
  get tpr(): number {
    return this.#s.tpr >> 4;
  }

  set tpr(value: number) {
    this.#s.tpr = (value & 0xf) << 4;
    this.#updateIrq();
  }

  /**
   * The CPU's interrupt acknowledge: the vector, 0 to 255, highest first, then the PIC's. With nothing left to deliver, the spurious
   * vector.
   */
  acknowledge(): number {
    const s = this.#s;
    if (this.accepting) {
      const vector = this.#topRequest;
      if (vector >= 0 && (vector & 0xf0) > (this.#ppr() & 0xf0)) {
        const bit = 1 << (vector & 31);
        s.irr[vector >> 5] &= ~bit;
        s.isr[vector >> 5] |= bit;
        this.#topRequest = highest(s.irr, vector >> 5);
        this.#topInService = vector;
        this.#updateIrq();
        return vector;
      }
      if (!this.#wantsPic()) return s.svr & 0xff;
    }
    s.extInt = false;
    const vector = this.#options.pic === undefined ? s.svr & 0xff : this.#options.pic.acknowledge();
    this.#updateIrq();
    return vector;
  }

  matches(destination: number, logical: boolean, wide: boolean): boolean {
    const s = this.#s;
    if ((s.baseLo & BASE_EN) === 0) return false;
    if (destination === (wide ? BROADCAST_X2 : BROADCAST)) return true;
    if ((s.baseLo & BASE_EXTD) !== 0) {
      if (!logical) return destination === this.id;
      return destination >>> 16 === this.id >>> 4 && (destination & (1 << (this.id & 15))) !== 0;
    }
    if (destination === BROADCAST) return true;
    if (!logical) return destination === (this.id & 0xff);
    const mine = s.ldr >>> 24;
    if (s.dfr >>> 28 === DFR_FLAT) return (mine & destination & 0xff) !== 0;
    const cluster = (destination >>> 4) & 0xf;
    return (cluster === 0xf || cluster === mine >>> 4) && (mine & destination & 0xf) !== 0;
  }

  deliver(mode: number, vector: number, level: boolean): boolean {
    if (!this.enabled) return false;
    switch (mode) {
      case DELIVERY_FIXED:
      case DELIVERY_LOWEST:
        if ((this.#s.svr & SVR_ENABLE) === 0) return false;
        this.#accept(vector, level);
        return true;
      case DELIVERY_NMI:
        this.#pins.nmi();
        return true;
      case DELIVERY_INIT:
        this.#init();
        return true;
      case DELIVERY_SIPI:
        this.#pins.sipi(vector);
        return true;
      case DELIVERY_EXTINT:
        this.#s.extInt = true;
        this.#updateIrq();
        return true;
      default:
        return false;
    }
  }

  /** RDMSR of IA32_APIC_BASE, IA32_TSC_DEADLINE or 0x800 to 0x83F; undefined for #GP. The object is reused by the next call. */
  msrRead(msr: number): MsrValue | undefined {
    const value = this.#value;
    const s = this.#s;
    if (msr === MSR_TSC_DEADLINE) {
      value.lo = s.deadlineLo;
      value.hi = s.deadlineHi;
      return value;
    }
    if (msr === MSR_APIC_BASE) {
      value.lo = s.baseLo;
      value.hi = s.baseHi;
      return value;
    }
    const register = msr - MSR_X2APIC_FIRST;
    if (!this.x2apic || register < 0 || register > MSR_X2APIC_LAST - MSR_X2APIC_FIRST) return undefined;
    if (register === ICR_HI || register === APR || register === RRD || register === DFR) return undefined;
    const lo = this.#readRegister(register);
    if (lo < 0) return undefined;
    value.lo = lo;
    value.hi = register === ICR_LO ? s.icrHi : 0;
    return value;
  }

  /** WRMSR of the same; false for #GP. `lo` and `hi` are 32 bits, signed or not. */
  msrWrite(msr: number, lo: number, hi: number): boolean {
    if (msr === MSR_TSC_DEADLINE) {
      if (this.#timer.writeDeadline(this.#s, lo >>> 0, hi >>> 0)) this.#expire();
      return true;
    }
    if (msr === MSR_APIC_BASE) return this.#writeBase(lo >>> 0, hi >>> 0);
    const register = msr - MSR_X2APIC_FIRST;
    if (!this.x2apic || register < 0 || register > MSR_X2APIC_LAST - MSR_X2APIC_FIRST) return false;
    const writable = X2_WRITABLE[register];
    if (writable < 0 || (lo & ~writable) !== 0) return false;
    if (register === ICR_LO) this.#s.icrHi = hi >>> 0;
    else if (hi !== 0) return false;
    if (register === SELF_IPI) this.#sendSelf(lo & 0xff);
    else this.#writeRegister(register, lo >>> 0);
    return true;
  }

  /** The guest changed its TSC: the deadline falls at another time now. */
  tscChanged(): void {
    this.#timer.arm(this.#s);
  }

  read(offset: number, size: AccessSize): number {
    if (!this.enabled || this.x2apic) return openBus(size);
    let value = this.#readRegister(offset >> 4);
    if (value < 0) {
      if (offset >> 4 !== EOI) this.#illegalRegister(offset);
      value = 0;
    }
    return size === 4 && (offset & 15) === 0 ? value : slice(value, 4, offset & 15, size);
  }

  write(offset: number, value: number, size: AccessSize): void {
    if (!this.enabled || this.x2apic) return;
    if (size !== 4 || (offset & 15) !== 0) {
      this.#options.log?.guestError(this.name, `write of ${size} bytes at offset 0x${offset.toString(16)}`);
      return;
    }
    if (!this.#writeRegister(offset >> 4, value)) this.#illegalRegister(offset);
  }

  reset(): void {
    const { lint0, lint1 } = this.#s;
    this.#adopt({ ...this.#fresh(), lint0, lint1 });
    this.#timer.disarm();
    this.#baseChanged();
    this.#updateIrq();
  }

  save(): LapicState {
    const state = clone(this.#s);
    state.expiryNs = state.counting ? state.expiryNs - this.#clock.now : 0;
    return state;
  }

  restore(state: LapicState): void {
    const s = validated(this.name, initialLapic(), state);
    s.expiryNs += this.#clock.now;
    s.counting &&= s.ticr > 0;
    this.#adopt(s);
    this.#timer.disarm();
    this.#timer.arm(this.#s);
    this.#baseChanged();
    this.#intr = !this.#wantsIntr();
    this.#updateIrq();
  }

  #adopt(s: LapicState): void {
    this.#s = s;
    this.#topRequest = highest(s.irr, 7);
    this.#topInService = highest(s.isr, 7);
  }

  #fresh(): LapicState {
    const s = initialLapic();
    if (this.#options.bsp === true) s.baseLo = (s.baseLo | BASE_BSP) >>> 0;
    return s;
  }

  /** INIT: everything but the base register, the identity and the input levels. */
  #init(): void {
    this.#clear();
    this.#pins.init();
  }

  #clear(): void {
    const { baseLo, baseHi, lint0, lint1 } = this.#s;
    this.#adopt({ ...initialLapic(), baseLo, baseHi, lint0, lint1 });
    this.#timer.disarm();
    this.#updateIrq();
  }

  #updateIrq(): void {
    const level = this.#wantsIntr();
    if (level === this.#intr) return;
    this.#intr = level;
    this.#pins.setIntr(level);
  }

  #wantsIntr(): boolean {
    const s = this.#s;
    if (!this.accepting) return s.lint0 || s.extInt;
    const vector = this.#topRequest;
    return (vector >= 0 && (vector & 0xf0) > (this.#ppr() & 0xf0)) || this.#wantsPic();
  }

  #wantsPic(): boolean {
    const s = this.#s;
    return s.extInt || (s.lint0 && (s.lvt[LVT_LINT0] & (MASKED | 0x700)) === DELIVERY_EXTINT << 8);
  }

  #ppr(): number {
    const s = this.#s;
    const inService = this.#topInService;
    if (inService < 0) return s.tpr;
    return (s.tpr & 0xf0) >= (inService & 0xf0) ? s.tpr : inService & 0xf0;
  }

  #accept(vector: number, level: boolean): void {
    if (vector < FIRST_VECTOR) {
      this.#error(ESR_RECEIVE_ILLEGAL);
      return;
    }
    const s = this.#s;
    const bit = 1 << (vector & 31);
    s.irr[vector >> 5] |= bit;
    if (level) s.tmr[vector >> 5] |= bit;
    else s.tmr[vector >> 5] &= ~bit;
    if (vector > this.#topRequest) this.#topRequest = vector;
    this.#updateIrq();
  }

  #acceptLocal(entry: number): void {
    const lvt = this.#s.lvt[entry];
    if ((lvt & MASKED) === 0) this.#accept(lvt & 0xff, false);
  }

  #endOfInterrupt(): void {
    const s = this.#s;
    const vector = this.#topInService;
    if (vector < 0) return;
    const word = vector >> 5;
    const bit = 1 << (vector & 31);
    s.isr[word] &= ~bit;
    this.#topInService = highest(s.isr, word);
    if ((s.tmr[word] & bit) !== 0) {
      this.#bus.broadcastEoi(vector);
      if (s.lint0) this.#raiseLint(LVT_LINT0, vector);
      if (s.lint1) this.#raiseLint(LVT_LINT1, vector);
    }
    this.#updateIrq();
  }

  /** A level-triggered local input that is still high asks again after its end. */
  #raiseLint(entry: number, vector: number): void {
    const lvt = this.#s.lvt[entry];
    if ((lvt & (MASKED | TRIGGER_LEVEL | 0x7ff)) === (TRIGGER_LEVEL | vector)) this.#accept(vector, true);
  }

  #setLint0(level: boolean): void {
    if (level === this.#s.lint0) return;
    this.#s.lint0 = level;
    if (level) this.#lintRises(LVT_LINT0);
    this.#updateIrq();
  }

  #setLint1(level: boolean): void {
    if (level === this.#s.lint1) return;
    this.#s.lint1 = level;
    if (level && !this.enabled) this.#pins.nmi();
    else if (level) this.#lintRises(LVT_LINT1);
  }

  #lintRises(entry: number): void {
    const lvt = this.#s.lvt[entry];
    if (!this.accepting || (lvt & MASKED) !== 0) return;
    const mode = (lvt >> 8) & 7;
    if (mode === DELIVERY_FIXED) this.#accept(lvt & 0xff, (lvt & TRIGGER_LEVEL) !== 0);
    else if (mode === DELIVERY_NMI) this.#pins.nmi();
    else if (mode === DELIVERY_INIT) this.#init();
  }

  #error(bits: number): void {
    const s = this.#s;
    s.errors |= bits;
    if ((s.lvt[LVT_ERROR] & 0xff) >= FIRST_VECTOR && this.accepting) this.#acceptLocal(LVT_ERROR);
  }

  #illegalRegister(offset: number): void {
    this.#options.log?.guestError(this.name, `no register at offset 0x${offset.toString(16)}`);
    this.#error(ESR_ILLEGAL_REGISTER);
  }

  /** A register, unsigned; -1 when it does not exist or cannot be read. */
  #readRegister(register: number): number {
    const s = this.#s;
    switch (register) {
      case ID:
        return this.x2apic ? this.id : (this.id << 24) >>> 0;
      case VERSION:
        return VERSION_VALUE;
      case TPR:
        return s.tpr;
      case APR:
      case PPR:
        return this.#ppr();
      case RRD:
        return 0;
      case LDR:
        return this.x2apic ? (((this.id >>> 4) << 16) | (1 << (this.id & 15))) >>> 0 : s.ldr;
      case DFR:
        return s.dfr;
      case SVR:
        return s.svr;
      case ESR:
        return s.esr;
      case ICR_LO:
        return s.icrLo;
      case ICR_HI:
        return s.icrHi;
      case TICR:
        return s.ticr;
      case TCCR:
        return this.#timer.currentCount(s);
      case TDCR:
        return s.tdcr;
      default:
        if (register >= LVT0 && register < LVT0 + LVT_ENTRIES) return s.lvt[register - LVT0];
        if (register >= ISR0 && register < ISR0 + 8) return s.isr[register - ISR0];
        if (register >= TMR0 && register < TMR0 + 8) return s.tmr[register - TMR0];
        if (register >= IRR0 && register < IRR0 + 8) return s.irr[register - IRR0];
        return -1;
    }
  }

  /** Writes a register; false when there is none. Read-only ones ignore it. */
  #writeRegister(register: number, value: number): boolean {
    const s = this.#s;
    switch (register) {
      case TPR:
        s.tpr = value & 0xff;
        this.#updateIrq();
        return true;
      case EOI:
        this.#endOfInterrupt();
        return true;
      case LDR:
        s.ldr = (value & 0xff00_0000) >>> 0;
        return true;
      case DFR:
        s.dfr = (value | 0x0fff_ffff) >>> 0;
        return true;
      case SVR:
        s.svr = value & SVR_BITS;
        if ((value & SVR_ENABLE) === 0) for (let i = 0; i < LVT_ENTRIES; i++) s.lvt[i] |= MASKED;
        this.#timer.arm(this.#s);
        this.#updateIrq();
        return true;
      case ESR:
        s.esr = s.errors;
        s.errors = 0;
        return true;
      case ICR_LO:
        s.icrLo = value & ICR_BITS;
        this.#sendIpi(s.icrLo);
        return true;
      case ICR_HI:
        s.icrHi = (value & 0xff00_0000) >>> 0;
        return true;
      case TICR:
        this.#timer.writeInitialCount(s, value);
        return true;
      case TDCR:
        this.#timer.writeDivider(s, value & 0xb);
        return true;
      case ID:
      case VERSION:
      case APR:
      case PPR:
      case RRD:
      case TCCR:
        return true;
      default:
        if (register >= LVT0 && register < LVT0 + LVT_ENTRIES) {
          this.#writeLvt(register - LVT0, value);
          return true;
        }
        return register >= ISR0 && register < IRR0 + 8;
    }
  }

  #writeLvt(entry: number, value: number): void {
    const s = this.#s;
    const old = s.lvt[entry];
    s.lvt[entry] = (value & LVT_BITS[entry]) | ((s.svr & SVR_ENABLE) === 0 ? MASKED : 0);
    if (entry === LVT_TIMER) this.#timer.modeChanged(s, old);
    else this.#updateIrq();
  }

  #sendSelf(vector: number): void {
    if (vector < FIRST_VECTOR) this.#error(ESR_SEND_ILLEGAL);
    else this.deliver(DELIVERY_FIXED, vector, false);
  }

  #sendIpi(lo: number): void {
    const mode = (lo >> 8) & 7;
    const vector = lo & 0xff;
    // The de-assert form of INIT only set arbitration IDs, on buses that had them.
    if (mode === DELIVERY_INIT && (lo & TRIGGER_LEVEL) !== 0 && (lo & ICR_ASSERT) === 0) return;
    if (mode === DELIVERY_EXTINT) return;
    if (mode <= DELIVERY_LOWEST && vector < FIRST_VECTOR) {
      this.#error(ESR_SEND_ILLEGAL);
      return;
    }
    switch ((lo >> 18) & 3) {
      case 0:
        if (this.x2apic) this.#bus.deliver(this.#s.icrHi, (lo & ICR_LOGICAL) !== 0, mode, vector, false, true);
        else this.#bus.deliver(this.#s.icrHi >>> 24, (lo & ICR_LOGICAL) !== 0, mode, vector, false, false);
        return;
      case 1:
        if (mode === DELIVERY_FIXED) this.deliver(mode, vector, false);
        return;
      case 2:
        this.#bus.deliverAll(undefined, mode, vector, false);
        return;
      default:
        this.#bus.deliverAll(this, mode, vector, false);
    }
  }

  #writeBase(lo: number, hi: number): boolean {
    const s = this.#s;
    const reserved = BASE_RESERVED & ~BASE_BSP;
    const wantsX2 = (lo & BASE_EXTD) !== 0;
    const wantsEnabled = (lo & BASE_EN) !== 0;
    if ((lo & reserved) !== 0 || hi >= 2 ** ((this.#options.physBits ?? 40) - 32)) return false;
    if (wantsX2 && (!wantsEnabled || !this.enabled || this.#options.x2apic === false)) return false;
    if (this.x2apic && wantsEnabled && !wantsX2) return false;
    const becomesX2 = wantsX2 && !this.x2apic;
    s.baseLo = ((lo & ~BASE_BSP) | (s.baseLo & BASE_BSP)) >>> 0;
    s.baseHi = hi;
    if (!wantsEnabled) this.#clear();
    if (becomesX2) s.icrHi = 0;
    this.#baseChanged();
    this.#updateIrq();
    return true;
  }

  #baseChanged(): void {
    const s = this.#s;
    this.#options.onBase?.(s.baseHi * TWO_32 + ((s.baseLo & 0xffff_f000) >>> 0), this.enabled && !this.x2apic);
  }

  /** The timer's count or deadline has come. */
  #expire(): void {
    this.#timer.expired(this.#s);
    this.#acceptLocal(LVT_TIMER);
  }
}
