import type { RtcCmos } from '../devices/rtc-cmos.js';
import { Bda, fromBcd } from './bda.js';
import type { FirmwareCall } from './call.js';
import type { LinearMemory } from './linear.js';

// INT 1Ah AH=00h to 0Bh and the timer tick of INT 08h (IBM PC/AT technical reference, Ralf Brown's interrupt list).

/** Ticks of 65,536 periods of the timer's clock in a day. */
export const TICKS_A_DAY = 0x1800b0;
const PIT_HZ = 1_193_182;
const CMOS = { SECONDS: 0, SECONDS_ALARM: 1, MINUTES: 2, MINUTES_ALARM: 3, HOURS: 4, HOURS_ALARM: 5, DAY: 7, MONTH: 8, YEAR: 9, A: 0xa, B: 0xb, CENTURY: 0x32 };
const B_SET = 0x80;
const B_ALARM = 0x20;
const B_DAYLIGHT = 0x01;
const A_UPDATING = 0x80;

export class TimeServices {
  readonly #memory: LinearMemory;
  readonly #rtc: RtcCmos;

  constructor(memory: LinearMemory, rtc: RtcCmos) {
    this.#memory = memory;
    this.#rtc = rtc;
  }

  /** Sets the tick count from the clock's time of day. */
  init(): void {
    const at = (index: number): number => fromBcd(this.#rtc.peek(index));
    const seconds = at(CMOS.HOURS) * 3600 + at(CMOS.MINUTES) * 60 + at(CMOS.SECONDS);
    this.#memory.setU32(Bda.TICKS, Math.floor((seconds * PIT_HZ) / 0x1_0000) % TICKS_A_DAY);
    this.#memory.setU8(Bda.MIDNIGHT, 0);
  }

  tick(): void {
    const ticks = this.#memory.u32(Bda.TICKS) + 1;
    if (ticks >= TICKS_A_DAY) this.#memory.setU8(Bda.MIDNIGHT, this.#memory.u8(Bda.MIDNIGHT) + 1);
    this.#memory.setU32(Bda.TICKS, ticks >= TICKS_A_DAY ? 0 : ticks);
  }

  /** False for a function that is not one of time. */
  handle(call: FirmwareCall): boolean {
    const memory = this.#memory;
    const rtc = this.#rtc;
    switch (call.ah) {
      case 0x00: {
        const ticks = memory.u32(Bda.TICKS);
        call.cx = ticks >>> 16;
        call.dx = ticks & 0xffff;
        call.al = memory.u8(Bda.MIDNIGHT);
        call.ah = 0;
        memory.setU8(Bda.MIDNIGHT, 0);
        break;
      }
      case 0x01:
        memory.setU32(Bda.TICKS, call.cx * 0x1_0000 + call.dx);
        memory.setU8(Bda.MIDNIGHT, 0);
        call.ah = 0;
        break;
      case 0x02:
        if ((rtc.peek(CMOS.A) & A_UPDATING) !== 0) {
          call.carry = true;
          return true;
        }
        call.ch = rtc.peek(CMOS.HOURS);
        call.cl = rtc.peek(CMOS.MINUTES);
        call.dh = rtc.peek(CMOS.SECONDS);
        call.dl = rtc.peek(CMOS.B) & B_DAYLIGHT;
        call.ah = 0;
        call.al = call.ch;
        break;
      case 0x03:
        this.#set(() => {
          rtc.poke(CMOS.HOURS, call.ch);
          rtc.poke(CMOS.MINUTES, call.cl);
          rtc.poke(CMOS.SECONDS, call.dh);
        });
        call.ah = 0;
        break;
      case 0x04:
        if ((rtc.peek(CMOS.A) & A_UPDATING) !== 0) {
          call.carry = true;
          return true;
        }
        call.ch = rtc.peek(CMOS.CENTURY);
        call.cl = rtc.peek(CMOS.YEAR);
        call.dh = rtc.peek(CMOS.MONTH);
        call.dl = rtc.peek(CMOS.DAY);
        call.ah = 0;
        call.al = call.ch;
        break;
      case 0x05:
        this.#set(() => {
          rtc.poke(CMOS.CENTURY, call.ch);
          rtc.poke(CMOS.YEAR, call.cl);
          rtc.poke(CMOS.MONTH, call.dh);
          rtc.poke(CMOS.DAY, call.dl);
        });
        call.ah = 0;
        break;
      case 0x06: {
        if ((rtc.peek(CMOS.B) & B_ALARM) !== 0) {
          call.carry = true;
          return true;
        }
        rtc.poke(CMOS.HOURS_ALARM, call.ch);
        rtc.poke(CMOS.MINUTES_ALARM, call.cl);
        rtc.poke(CMOS.SECONDS_ALARM, call.dh);
        rtc.poke(CMOS.B, (rtc.peek(CMOS.B) & ~B_SET) | B_ALARM);
        call.ah = 0;
        break;
      }
      case 0x07:
        rtc.poke(CMOS.B, rtc.peek(CMOS.B) & ~B_ALARM);
        call.ah = 0;
        break;
      default:
        return false;
    }
    call.carry = false;
    return true;
  }

  /** Sets the clock with its updates stopped. */
  #set(write: () => void): void {
    const b = this.#rtc.peek(CMOS.B);
    this.#rtc.poke(CMOS.B, b | B_SET);
    write();
    this.#rtc.poke(CMOS.B, b & ~B_SET);
  }
}
