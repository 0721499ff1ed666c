import type { Clock, Timer } from '../clock.js';
import { type IrqLine, NO_IRQ } from '../irq.js';
import { readBytes, writeBytes } from './bytes.js';
import { civilOf, secondsOf } from './calendar.js';
import type { AccessSize, Device, Region } from './device.js';
import { clone, validated } from './state.js';
import { nsOfTick, ticksAt } from './ticks.js';

// Motorola MC146818A data sheet; the CMOS layout is that of the PC/AT and the PS/2.

const SECONDS = 0x00;
const SECONDS_ALARM = 0x01;
const MINUTES = 0x02;
const MINUTES_ALARM = 0x03;
const HOURS = 0x04;
const HOURS_ALARM = 0x05;
const WEEKDAY = 0x06;
const DAY = 0x07;
const MONTH = 0x08;
const YEAR = 0x09;
const REG_A = 0x0a;
const REG_B = 0x0b;
const REG_C = 0x0c;
const REG_D = 0x0d;
const EQUIPMENT = 0x14;
const BASE_MEMORY = 0x15;
const EXTENDED_MEMORY = 0x17;
const CHECKSUM_FIRST = 0x10;
const CHECKSUM_LAST = 0x2d;
const CHECKSUM = 0x2e;
const EXTENDED_MEMORY_FOUND = 0x30;
const CENTURY = 0x32;
const MEMORY_ABOVE_16M = 0x34;
const MEMORY_ABOVE_4G = 0x5b;

const A_UIP = 0x80;
const A_DIVIDER = 0x70;
const A_DIVIDER_ON = 0x20;
const A_RATE = 0x0f;
const B_SET = 0x80;
const B_PIE = 0x40;
const B_AIE = 0x20;
const B_UIE = 0x10;
const B_DM = 0x04;
const B_24H = 0x02;
const B_INTERRUPTS = B_PIE | B_AIE | B_UIE;
const C_IRQF = 0x80;
const C_PF = 0x40;
const C_AF = 0x20;
const C_UF = 0x10;
const D_VALID = 0x80;
const PM = 0x80;
const ANY = 0xc0;
const NMI_DISABLE = 0x80;

const CMOS_BYTES = 128;
const CRYSTAL_HZ = 32_768;
const SECOND_NS = 1_000_000_000;
const HALF_SECOND_NS = 500_000_000;
const DAY_S = 86_400;
/** UIP rises 244 us before the update, which takes 1984 us. */
const UPDATE_NS = 2_228_000;
const KIB = 1024;
const MIB = KIB * KIB;

export interface RtcCmosState {
  index: number;
  nmiMasked: boolean;
  /** Memory and registers; while the clock runs, the time's bytes here are stale. */
  cmos: Uint8Array;
  /** Interrupt flags of register C. */
  flags: number;
  /** The time, in seconds since 1970, at `originNs`. */
  originSeconds: number;
  /** When the divider chain started; in saved states from now. */
  originNs: number;
  /** Added to the weekday of the date, for guests that count otherwise. */
  weekdayShift: number;
  /** How many seconds and periods after the origin the flags have been brought up to. */
  seenSeconds: number;
  seenPeriods: number;
}

export interface RtcCmosOptions {
  name?: string;
  clock: Clock;
  irq?: IrqLine;
  /** What the clock shows at virtual time 0, in whole seconds since 1970, UTC. */
  startSeconds: number;
  /** RAM in bytes, for the size fields. 0 by default. */
  memoryBytes?: number;
  /** How much of it lies above 4 GB. 0 by default. */
  memoryAbove4GBytes?: number;
  /** Further CMOS contents, by index. */
  contents?: Readonly<Record<number, number>>;
}

/**
 * The real-time clock and its 128 bytes of battery-backed memory. Region 0: index (port 0x70) and data (0x71). A reset keeps the time
 * and the memory, as a battery does.
 */
export class RtcCmos implements Device<RtcCmosState> {
  readonly name: string;
  readonly regions: readonly Region[] = [{ space: 'pio', size: 2 }];
  readonly #clock: Clock;
  readonly #irq: IrqLine;
  readonly #timer: Timer;
  #s: RtcCmosState;

  constructor(options: RtcCmosOptions) {
    this.name = options.name ?? 'rtc';
    this.#clock = options.clock;
    this.#irq = options.irq ?? NO_IRQ;
    this.#timer = this.#clock.timer(() => this.#updateIrq());
    this.#s = initial(options);
  }

  /** Bit 7 of the index port: the board keeps NMI from the CPU while it is set. */
  get nmiMasked(): boolean {
    return this.#s.nmiMasked;
  }

  /** A byte of the memory, as the guest reads it and without side effects; for firmware. */
  peek(index: number): number {
    return this.#read(index & 0x7f);
  }

  /** Sets a byte of the memory, as a guest write would. */
  poke(index: number, value: number): void {
    this.#write(index & 0x7f, value & 0xff);
    this.#updateIrq();
  }

  read(offset: number, size: AccessSize): number {
    if (size !== 1) return readBytes(offset, size, at => (at < 2 ? this.read(at, 1) : 0xff));
    if (offset === 0) return 0xff;
    const { index } = this.#s;
    if (index !== REG_C) return this.#read(index);
    this.#settle();
    const value = this.#registerC();
    this.#s.flags = 0;
    this.#updateIrq();
    return value;
  }

  write(offset: number, value: number, size: AccessSize): void {
    if (size !== 1) {
      writeBytes(offset, value, size, (at, byte) => {
        if (at < 2) this.write(at, byte, 1);
      });
      return;
    }
    if (offset === 0) {
      this.#s.index = value & 0x7f;
      this.#s.nmiMasked = (value & NMI_DISABLE) !== 0;
      return;
    }
    this.#write(this.#s.index, value);
    this.#updateIrq();
  }

  reset(): void {
    const s = this.#s;
    this.#settle();
    s.index = 0;
    s.nmiMasked = false;
    s.cmos[REG_B] &= ~B_INTERRUPTS;
    s.flags = 0;
    this.#updateIrq();
  }

  save(): RtcCmosState {
    this.#settle();
    const state = clone(this.#s);
    state.originNs -= this.#clock.now;
    return state;
  }

  restore(state: RtcCmosState): void {
    const s = validated(this.name, initial({ clock: this.#clock, startSeconds: 0 }), state);
    s.originNs += this.#clock.now;
    s.index &= 0x7f;
    this.#s = s;
    this.#updateIrq();
  }

  /** Whether the divider chain runs and updates happen. */
  get #running(): boolean {
    const { cmos } = this.#s;
    return (cmos[REG_A] & A_DIVIDER) === A_DIVIDER_ON && (cmos[REG_B] & B_SET) === 0;
  }

  get #elapsedSeconds(): number {
    return Math.floor((this.#clock.now - this.#s.originNs) / SECOND_NS);
  }

  /** Crystal periods in one period of the periodic interrupt; 0 for none. */
  get #periodTicks(): number {
    const rate = this.#s.cmos[REG_A] & A_RATE;
    if (rate === 0 || (this.#s.cmos[REG_A] & A_DIVIDER) !== A_DIVIDER_ON) return 0;
    return 1 << (rate <= 2 ? rate + 6 : rate - 1);
  }

  get #elapsedPeriods(): number {
    const ticks = this.#periodTicks;
    return ticks === 0 ? 0 : Math.floor(ticksAt(this.#clock.now - this.#s.originNs, CRYSTAL_HZ) / ticks);
  }

  #registerC(): number {
    const { flags, cmos } = this.#s;
    return flags | ((flags & cmos[REG_B] & B_INTERRUPTS) === 0 ? 0 : C_IRQF);
  }

  #read(index: number): number {
    const s = this.#s;
    switch (index) {
      case REG_A:
        return s.cmos[REG_A] | (this.#updating() ? A_UIP : 0);
      case REG_C:
        this.#settle();
        return this.#registerC();
      case REG_D:
        return D_VALID;
      default:
        if (isTime(index) && this.#running) this.#showTime();
        return s.cmos[index];
    }
  }

  #write(index: number, value: number): void {
    const s = this.#s;
    switch (index) {
      case REG_A:
        this.#settle();
        this.#writeA(value);
        return;
      case REG_B:
        this.#settle();
        this.#writeB(value);
        return;
      case REG_C:
      case REG_D:
        return;
      case SECONDS_ALARM:
      case MINUTES_ALARM:
      case HOURS_ALARM:
        this.#settle();
        s.cmos[index] = value;
        return;
      default:
        if (!isTime(index)) {
          s.cmos[index] = value;
          return;
        }
        this.#settle();
        if (this.#running) this.#showTime();
        s.cmos[index] = value;
        if (this.#running) this.#takeTime();
    }
  }

  #writeA(value: number): void {
    const s = this.#s;
    const wasOn = (s.cmos[REG_A] & A_DIVIDER) === A_DIVIDER_ON;
    const isOn = (value & A_DIVIDER) === A_DIVIDER_ON;
    if (this.#running && !isOn) this.#showTime();
    s.cmos[REG_A] = value & ~A_UIP;
    if (isOn && !wasOn) {
      // The first update after a divider reset comes half a second later.
      s.originNs = this.#clock.now - HALF_SECOND_NS;
      this.#takeTime();
    }
    s.seenPeriods = this.#elapsedPeriods;
  }

  #writeB(value: number): void {
    const s = this.#s;
    const wasRunning = this.#running;
    if (wasRunning) this.#showTime();
    s.cmos[REG_B] = (value & B_SET) === 0 ? value : value & ~B_UIE;
    if (wasRunning && !this.#running) return;
    if (!wasRunning && this.#running) this.#takeTime();
  }

  /** Puts the time into its bytes, in the format that register B asks for. */
  #showTime(): void {
    const s = this.#s;
    const { cmos } = s;
    const time = civilOf(s.originSeconds + this.#elapsedSeconds);
    cmos[SECONDS] = this.#encode(time.second);
    cmos[MINUTES] = this.#encode(time.minute);
    if ((cmos[REG_B] & B_24H) !== 0) cmos[HOURS] = this.#encode(time.hour);
    else cmos[HOURS] = this.#encode(time.hour % 12 || 12) | (time.hour < 12 ? 0 : PM);
    cmos[WEEKDAY] = this.#encode(((time.weekday + s.weekdayShift) % 7) + 1);
    cmos[DAY] = this.#encode(time.day);
    cmos[MONTH] = this.#encode(time.month);
    cmos[YEAR] = this.#encode(time.year % 100);
    cmos[CENTURY] = this.#encode(Math.floor(time.year / 100) % 100);
  }

  /** Sets the clock from its bytes; the divider chain goes on undisturbed. */
  #takeTime(): void {
    const s = this.#s;
    const { cmos } = s;
    const seconds = secondsOf({
      year: this.#decode(cmos[CENTURY]) * 100 + this.#decode(cmos[YEAR]),
      month: this.#decode(cmos[MONTH]),
      day: this.#decode(cmos[DAY]),
      hour: this.#decodeHour(cmos[HOURS]),
      minute: this.#decode(cmos[MINUTES]),
      second: this.#decode(cmos[SECONDS]),
    });
    s.originSeconds = seconds - this.#elapsedSeconds;
    s.weekdayShift = (this.#decode(cmos[WEEKDAY]) + 6 - civilOf(seconds).weekday + 7) % 7;
    s.seenSeconds = this.#elapsedSeconds;
  }

  #encode(value: number): number {
    return (this.#s.cmos[REG_B] & B_DM) !== 0 ? value : (Math.floor(value / 10) << 4) | value % 10;
  }

  #decode(value: number): number {
    return (this.#s.cmos[REG_B] & B_DM) !== 0 ? value : (value >> 4) * 10 + (value & 0xf);
  }

  #decodeHour(value: number): number {
    if ((this.#s.cmos[REG_B] & B_24H) !== 0) return this.#decode(value);
    return (this.#decode(value & ~PM) % 12) + ((value & PM) === 0 ? 0 : 12);
  }

  #updating(): boolean {
    if (!this.#running) return false;
    const since = (this.#clock.now - this.#s.originNs) % SECOND_NS;
    return since >= SECOND_NS - UPDATE_NS;
  }

  /** How many seconds after `after` (since 1970) the alarm next matches; Infinity for never. */
  #alarmIn(after: number): number {
    const { cmos } = this.#s;
    const wanted = (index: number): number => {
      if ((cmos[index] & ANY) === ANY) return -1;
      return index === HOURS_ALARM ? this.#decodeHour(cmos[index]) : this.#decode(cmos[index]);
    };
    const second = wanted(SECONDS_ALARM);
    const minute = wanted(MINUTES_ALARM);
    const hour = wanted(HOURS_ALARM);
    if (second >= 60 || minute >= 60 || hour >= 24) return Infinity;
    const start = (((after % DAY_S) + DAY_S) % DAY_S) + 1;
    let at = start;
    // Each round moves at least one field to its match, so a few rounds find the time of day.
    for (let round = 0; round < 6; round++) {
      if (second >= 0 && at % 60 !== second) at += (second - (at % 60) + 60) % 60;
      const m = Math.floor(at / 60) % 60;
      if (minute >= 0 && m !== minute) at = (Math.floor(at / 60) + ((minute - m + 60) % 60)) * 60 + (second >= 0 ? second : 0);
      const h = Math.floor(at / 3600) % 24;
      if (hour >= 0 && h !== hour) at = (Math.floor(at / 3600) + ((hour - h + 24) % 24)) * 3600 + (minute >= 0 ? minute * 60 : 0) + (second >= 0 ? second : 0);
    }
    return at - start + 1;
  }

  /** Sets the flags of everything that came about since the last call. */
  #settle(): void {
    const s = this.#s;
    const periods = this.#elapsedPeriods;
    if (periods > s.seenPeriods) s.flags |= C_PF;
    s.seenPeriods = periods;
    const seconds = this.#elapsedSeconds;
    if (this.#running && seconds > s.seenSeconds) {
      s.flags |= C_UF;
      if (this.#alarmIn(s.originSeconds + s.seenSeconds) <= seconds - s.seenSeconds) s.flags |= C_AF;
    }
    s.seenSeconds = seconds;
  }

  /** Drives the line and arms the timer for the next enabled interrupt. */
  #updateIrq(): void {
    this.#settle();
    const s = this.#s;
    const asserted = (this.#registerC() & C_IRQF) !== 0;
    this.#irq.set(asserted);
    const enabled = s.cmos[REG_B] & B_INTERRUPTS;
    let atNs = Infinity;
    if (!asserted && enabled !== 0) {
      const ticks = this.#periodTicks;
      if ((enabled & B_PIE) !== 0 && ticks !== 0) atNs = s.originNs + nsOfTick((s.seenPeriods + 1) * ticks, CRYSTAL_HZ);
      if (this.#running) {
        let inSeconds = Infinity;
        if ((enabled & B_UIE) !== 0) inSeconds = 1;
        else if ((enabled & B_AIE) !== 0) inSeconds = this.#alarmIn(s.originSeconds + s.seenSeconds);
        atNs = Math.min(atNs, s.originNs + (s.seenSeconds + inSeconds) * SECOND_NS);
      }
    }
    if (atNs === Infinity) this.#timer.disarm();
    else this.#timer.arm(atNs);
  }
}

const isTime = (index: number): boolean =>
  index === SECONDS || index === MINUTES || index === HOURS || (index >= WEEKDAY && index <= YEAR) || index === CENTURY;

const initial = (options: RtcCmosOptions): RtcCmosState => {
  const cmos = new Uint8Array(CMOS_BYTES);
  cmos[REG_A] = 0x26;
  cmos[REG_B] = B_24H;
  cmos[EQUIPMENT] = 0x02;
  const bytes = options.memoryBytes ?? 0;
  const above4G = options.memoryAbove4GBytes ?? 0;
  const below4G = bytes - above4G;
  const put16 = (index: number, value: number): void => {
    cmos[index] = value & 0xff;
    cmos[index + 1] = value >> 8;
  };
  put16(BASE_MEMORY, Math.min(640, Math.floor(bytes / KIB)));
  const extendedKib = Math.min(0xffff, Math.max(0, Math.floor((below4G - MIB) / KIB)));
  put16(EXTENDED_MEMORY, extendedKib);
  put16(EXTENDED_MEMORY_FOUND, extendedKib);
  put16(MEMORY_ABOVE_16M, Math.min(0xffff, Math.max(0, Math.floor((below4G - 16 * MIB) / (64 * KIB)))));
  const above = Math.floor(above4G / (64 * KIB));
  put16(MEMORY_ABOVE_4G, above & 0xffff);
  cmos[MEMORY_ABOVE_4G + 2] = above >> 16;
  for (const [index, value] of Object.entries(options.contents ?? {})) cmos[Number(index) & 0x7f] = value;
  let sum = 0;
  for (let index = CHECKSUM_FIRST; index <= CHECKSUM_LAST; index++) sum += cmos[index];
  cmos[CHECKSUM] = sum >> 8;
  cmos[CHECKSUM + 1] = sum & 0xff;
  return {
    index: 0,
    nmiMasked: false,
    cmos,
    flags: 0,
    originSeconds: Math.floor(options.startSeconds),
    originNs: 0,
    weekdayShift: 0,
    seenSeconds: 0,
    seenPeriods: 0,
  };
};
