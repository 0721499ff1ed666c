import type { Clock, Timer } from '../clock.js';
import { type IrqLine, NO_IRQ } from '../irq.js';
import { merge, slice } from './bytes.js';
import { type AccessSize, type Device, openBus, type Region } from './device.js';
import { clone, validated } from './state.js';
import { ISA_CYCLE_NS, nsOfTick, ticksAt } from './ticks.js';

// ACPI specification 6.4, 4.8 (fixed hardware). Of its events the board has the timer and the
// power button. The reset register is the RST_CNT of Intel's south bridges.

export const PM_TIMER_HZ = 3_579_545;
/** What the FADT gives as ACPI_ENABLE and ACPI_DISABLE, written to the SMI command port. */
export const ACPI_ENABLE = 0xf1;
export const ACPI_DISABLE = 0xf0;
/** What the DSDT's _S5 package gives as SLP_TYP: the type of a power-off. As in QEMU, whose small guests write it without reading the table. */
export const S5_SLEEP_TYPE = 0;
/** The FADT's RESET_VALUE for the reset register. */
export const ACPI_RESET_VALUE = 0x06;

/** Region numbers. */
export const PM_EVENT_REGION = 0;
export const PM_CONTROL_REGION = 1;
export const PM_TIMER_REGION = 2;
export const GPE0_REGION = 3;
export const SMI_COMMAND_REGION = 4;
export const RESET_REGION = 5;

const TMR_STS = 0x0001;
const GBL_STS = 0x0020;
const PWRBTN_STS = 0x0100;
const SLPBTN_STS = 0x0200;
const RTC_STS = 0x0400;
const ENABLE_BITS = TMR_STS | GBL_STS | PWRBTN_STS | SLPBTN_STS | RTC_STS;
const SCI_EN = 0x0001;
const SLP_TYP_SHIFT = 10;
const SLP_EN = 0x2000;
/** Bus master reload and the sleep type: what keeps its value in the control register. */
const CONTROL_BITS = 0x1c02;
const RST_CPU = 0x04;
const RST_BITS = 0x0e;

export interface AcpiPmState {
  status: number;
  enable: number;
  control: number;
  gpeStatus: number;
  gpeEnable: number;
  smiCommand: number;
  smiStatus: number;
  resetControl: number;
  /** Added to the clock's ticks; in saved states the timer's full count. */
  timerTicks: number;
  /** Flips of the timer's highest bit up to now that the status has taken note of. */
  seenFlips: number;
}

const initial = (): AcpiPmState => ({
  status: 0,
  enable: 0,
  control: 0,
  gpeStatus: 0,
  gpeEnable: 0,
  smiCommand: 0,
  smiStatus: 0,
  resetControl: 0,
  timerTicks: 0,
  seenFlips: 0,
});

export interface AcpiPmOptions {
  name?: string;
  clock: Clock;
  /** The SCI, level-triggered. */
  sci?: IrqLine;
  /** Width of the PM timer; 32 by default. The FADT's TMR_VAL_EXT must agree. */
  timerBits?: 24 | 32;
  /** In ACPI mode from reset on, for boards whose FADT gives no SMI command port (ACPI 4.8.2.5). False by default. */
  alwaysAcpi?: boolean;
  /** The guest set SLP_EN; `type` is SLP_TYP, 0 to 7, whose meaning the DSDT gives. */
  onSleep: (type: number) => void;
  /** The guest asked for a reset by the reset register. */
  onReset: () => void;
}

/**
 * ACPI fixed hardware. Regions: 0 PM1a event block (4 bytes: status, enable), 1 PM1a control (2), 2 PM timer (4), 3 GPE0 block (4: two
 * bytes of status, two of enable), 4 SMI command and status (ports 0xB2 and 0xB3), 5 reset register (1; a host bridge that owns port
 * 0xCF9 passes writes on to `writeReset` instead).
 */
export class AcpiPm implements Device<AcpiPmState> {
  readonly name: string;
  readonly regions: readonly Region[] = [
    { space: 'pio', size: 4 },
    { space: 'pio', size: 2 },
    { space: 'pio', size: 4 },
    { space: 'pio', size: 4 },
    { space: 'pio', size: 2 },
    { space: 'pio', size: 1 },
  ];
  readonly #options: AcpiPmOptions;
  readonly #clock: Clock;
  readonly #sci: IrqLine;
  readonly #timer: Timer;
  readonly #timerBits: number;
  #s: AcpiPmState;

  constructor(options: AcpiPmOptions) {
    this.name = options.name ?? 'acpi-pm';
    this.#options = options;
    this.#clock = options.clock;
    this.#sci = options.sci ?? NO_IRQ;
    this.#timerBits = options.timerBits ?? 32;
    this.#timer = options.clock.timer(() => this.#updateIrq());
    this.#s = this.#fresh();
  }

  /** Whether the guest has switched the machine to ACPI mode. */
  get acpiMode(): boolean {
    return (this.#s.control & SCI_EN) !== 0;
  }

  /** The host presses the power button: a guest in ACPI mode is told by an SCI. */
  pressPowerButton(): void {
    this.#s.status |= PWRBTN_STS;
    this.#updateIrq();
  }

  /** General-purpose event `n`, 0 to 15, has come about. */
  raiseGpe(n: number): void {
    this.#s.gpeStatus |= 1 << n;
    this.#updateIrq();
  }

  /** A write of the reset control register: a reset when bit 2 rises. */
  writeReset(value: number): void {
    const s = this.#s;
    const rises = (value & ~s.resetControl & RST_CPU) !== 0;
    s.resetControl = value & RST_BITS & ~RST_CPU;
    if (rises) this.#options.onReset();
  }

  read(offset: number, size: AccessSize, region: number): number {
    const s = this.#s;
    switch (region) {
      case PM_EVENT_REGION:
        this.#settle();
        return slice(s.status | (s.enable << 16), 4, offset, size);
      case PM_CONTROL_REGION:
        return slice(s.control, 2, offset, size);
      case PM_TIMER_REGION: {
        const count = this.#ticks % 2 ** this.#timerBits;
        this.#clock.pass?.(ISA_CYCLE_NS);
        return offset === 0 && size === 4 ? count : slice(count, 4, offset, size);
      }
      case GPE0_REGION:
        return slice(s.gpeStatus | (s.gpeEnable << 16), 4, offset, size);
      case SMI_COMMAND_REGION:
        return slice(s.smiCommand | (s.smiStatus << 8), 2, offset, size);
      case RESET_REGION:
        return slice(s.resetControl, 1, offset, size);
      default:
        return openBus(size);
    }
  }

  write(offset: number, value: number, size: AccessSize, region: number): void {
    const s = this.#s;
    switch (region) {
      case PM_EVENT_REGION: {
        this.#settle();
        s.status &= ~merge(0, 4, offset, size, value);
        s.enable = (merge((s.enable << 16) >>> 0, 4, offset, size, value) >>> 16) & ENABLE_BITS;
        break;
      }
      case PM_CONTROL_REGION:
        this.#writeControl(merge(s.control, 2, offset, size, value));
        return;
      case GPE0_REGION:
        s.gpeStatus &= ~merge(0, 4, offset, size, value);
        s.gpeEnable = merge((s.gpeEnable << 16) >>> 0, 4, offset, size, value) >>> 16;
        break;
      case SMI_COMMAND_REGION:
        this.#writeSmi(offset, merge(s.smiCommand | (s.smiStatus << 8), 2, offset, size, value));
        break;
      case RESET_REGION:
        this.writeReset(value & 0xff);
        return;
      default:
        return;
    }
    this.#updateIrq();
  }

  reset(): void {
    const { timerTicks } = this.#s;
    this.#s = { ...this.#fresh(), timerTicks };
    this.#s.seenFlips = this.#flips;
    this.#updateIrq();
  }

  save(): AcpiPmState {
    this.#settle();
    const state = clone(this.#s);
    state.timerTicks = this.#ticks;
    return state;
  }

  restore(state: AcpiPmState): void {
    const s = validated(this.name, initial(), state);
    s.timerTicks -= ticksAt(this.#clock.now, PM_TIMER_HZ);
    this.#s = s;
    this.#updateIrq();
  }

  #fresh(): AcpiPmState {
    return { ...initial(), control: this.#options.alwaysAcpi === true ? SCI_EN : 0 };
  }

  get #ticks(): number {
    return ticksAt(this.#clock.now, PM_TIMER_HZ) + this.#s.timerTicks;
  }

  /** How often the timer's highest bit has changed. */
  get #flips(): number {
    return Math.floor(this.#ticks / 2 ** (this.#timerBits - 1));
  }

  #settle(): void {
    const flips = this.#flips;
    if (flips > this.#s.seenFlips) this.#s.status |= TMR_STS;
    this.#s.seenFlips = flips;
  }

  #updateIrq(): void {
    this.#settle();
    const s = this.#s;
    this.#sci.set((s.control & SCI_EN) !== 0 && ((s.status & s.enable & ENABLE_BITS) | (s.gpeStatus & s.gpeEnable)) !== 0);
    if ((s.enable & TMR_STS) === 0 || (s.status & TMR_STS) !== 0) {
      this.#timer.disarm();
      return;
    }
    const atTick = (s.seenFlips + 1) * 2 ** (this.#timerBits - 1) - s.timerTicks;
    this.#timer.arm(nsOfTick(atTick, PM_TIMER_HZ));
  }

  #writeControl(value: number): void {
    const s = this.#s;
    s.control = (s.control & SCI_EN) | (value & CONTROL_BITS);
    if ((value & SLP_EN) !== 0) this.#options.onSleep((value >> SLP_TYP_SHIFT) & 7);
  }

  #writeSmi(offset: number, value: number): void {
    const s = this.#s;
    s.smiStatus = value >> 8;
    if (offset !== 0) return;
    s.smiCommand = value & 0xff;
    if (this.#options.alwaysAcpi === true) return;
    if (s.smiCommand === ACPI_ENABLE) s.control |= SCI_EN;
    else if (s.smiCommand === ACPI_DISABLE) s.control &= ~SCI_EN;
  }
}
