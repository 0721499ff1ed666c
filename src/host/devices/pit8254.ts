import type { Clock, Timer } from '../clock.js';
import { type IrqLine, NO_IRQ } from '../irq.js';
import { readBytes, writeBytes } from './bytes.js';
import type { AccessSize, Device, Region } from './device.js';
import { clone, validated } from './state.js';
import { ISA_CYCLE_NS, nsOfTick, ticksAt } from './ticks.js';

// Intel 8254 data sheet (order 231164). Counters are never stepped: everything follows from the tick at which a count was loaded.

export const PIT_HZ = 1_193_182;

const CONTROL = 3;
const READ_BACK = 3;
const READ_BACK_NO_COUNT = 0x20;
const READ_BACK_NO_STATUS = 0x10;
const RW_LATCH = 0;
const RW_LOW = 1;
const RW_HIGH = 2;
const STATUS_OUT = 0x80;
const STATUS_NULL = 0x40;
const PORT61_GATE2 = 0x01;
const PORT61_STORED = 0x0f;
const PORT61_REFRESH = 0x10;
const PORT61_OUT2 = 0x20;
/** Refresh requests come every 18 ticks, 15.085 us; each flips the bit. */
const REFRESH_TICKS = 18;
const PORT61_REGION = 1;
const NONE = -1;

/** One counter. Ticks are absolute on the device's clock; saved states hold them relative to now. */
interface ChannelState {
  mode: number;
  bcd: boolean;
  rw: number;
  gate: boolean;
  /** The low byte that was written while the high one is due, or -1. */
  low: number;
  readHigh: boolean;
  latch: number;
  latchedStatus: number;
  /** The count that the counter runs with, 1 to 65536; 0 before the first. */
  count: number;
  /** A count that takes over at `pendingTick`, in modes 2 and 3, or at the next trigger, in 1 and 5; 0 for none. */
  pending: number;
  pendingTick: number;
  running: boolean;
  /** When the running count was loaded. */
  startTick: number;
  /** How far the counter had come when its gate went low, or -1. */
  frozen: number;
}

export interface Pit8254State {
  channels: ChannelState[];
  port61: number;
  /** What channel 0's line was driven to. */
  irq: boolean;
}

const initialChannel = (index: number): ChannelState => ({
  mode: 0,
  bcd: false,
  rw: 3,
  gate: index !== 2,
  low: NONE,
  readHigh: false,
  latch: NONE,
  latchedStatus: NONE,
  count: 0,
  pending: 0,
  pendingTick: 0,
  running: false,
  startTick: 0,
  frozen: NONE,
});

const initial = (): Pit8254State => ({ channels: [0, 1, 2].map(initialChannel), port61: 0, irq: false });

export interface Pit8254Options {
  name?: string;
  clock: Clock;
  /** Channel 0's output. */
  irq?: IrqLine;
}

/**
 * The PC's timer. Regions: 0 the 8254 (port 0x40, 4 bytes), 1 system control port B (port 0x61): gate and output of channel 2 and
 * the refresh toggle. After reset no counter runs and all outputs are low until a guest or a firmware programs them.
 */
export class Pit8254 implements Device<Pit8254State> {
  readonly name: string;
  readonly regions: readonly Region[] = [
    { space: 'pio', size: 4 },
    { space: 'pio', size: 1 },
  ];
  readonly #clock: Clock;
  readonly #irq: IrqLine;
  readonly #timer: Timer;
  #s = initial();

  constructor(options: Pit8254Options) {
    this.name = options.name ?? 'pit';
    this.#clock = options.clock;
    this.#irq = options.irq ?? NO_IRQ;
    this.#timer = this.#clock.timer(() => this.#edge());
  }

  read(offset: number, size: AccessSize, region: number): number {
    const limit = this.regions[region].size;
    if (size !== 1) return readBytes(offset, size, at => (at < limit ? this.read(at, 1, region) : 0xff));
    const value = region === PORT61_REGION ? this.#readPort61() : offset === CONTROL ? 0xff : this.#readCounter(this.#s.channels[offset]);
    this.#clock.pass?.(ISA_CYCLE_NS);
    return value;
  }

  write(offset: number, value: number, size: AccessSize, region: number): void {
    if (size !== 1) {
      const limit = this.regions[region].size;
      writeBytes(offset, value, size, (at, byte) => {
        if (at < limit) this.write(at, byte, 1, region);
      });
      return;
    }
    if (region === PORT61_REGION) this.#writePort61(value);
    else if (offset === CONTROL) this.#writeControl(value);
    else this.#writeCounter(this.#s.channels[offset], value);
    this.#updateIrq();
  }

  reset(): void {
    this.#s = initial();
    this.#updateIrq();
  }

  save(): Pit8254State {
    const now = this.#tick;
    const state = clone(this.#s);
    for (const channel of state.channels) {
      channel.startTick -= now;
      channel.pendingTick -= now;
    }
    return state;
  }

  restore(state: Pit8254State): void {
    const now = this.#tick;
    const s = validated(this.name, initial(), state);
    s.channels = [0, 1, 2].map(index => {
      const channel = s.channels[index] ?? initialChannel(index);
      channel.startTick += now;
      channel.pendingTick += now;
      channel.running &&= channel.count >= 1;
      return channel;
    });
    this.#s = s;
    this.#irq.set(s.irq);
    this.#updateIrq();
  }

  get #tick(): number {
    return ticksAt(this.#clock.now, PIT_HZ);
  }

  #edge(): void {
    const channel = this.#s.channels[0];
    // The low pulse of modes 2 and 4 lasts one tick and only its end matters: it is made here.
    if (channel.mode === 2 || channel.mode === 4) this.#drive(false);
    this.#updateIrq();
  }

  /** Drives channel 0's line and arms the timer for its next edge. */
  #updateIrq(): void {
    const channel = this.#s.channels[0];
    const now = this.#tick;
    settle(channel, now);
    this.#drive(output(channel, now));
    const next = nextEdge(channel, now);
    if (next === Infinity) this.#timer.disarm();
    else this.#timer.arm(nsOfTick(next, PIT_HZ));
  }

  #drive(level: boolean): void {
    if (level === this.#s.irq) return;
    this.#s.irq = level;
    this.#irq.set(level);
  }

  #readCounter(channel: ChannelState): number {
    if (channel.latchedStatus !== NONE) {
      const status = channel.latchedStatus;
      channel.latchedStatus = NONE;
      return status;
    }
    const now = this.#tick;
    settle(channel, now);
    const value = channel.latch === NONE ? current(channel, now) : channel.latch;
    const high = channel.rw === RW_HIGH || (channel.rw !== RW_LOW && channel.readHigh);
    if (channel.rw !== RW_LOW && channel.rw !== RW_HIGH) channel.readHigh = !channel.readHigh;
    if (!channel.readHigh) channel.latch = NONE;
    return high ? value >> 8 : value & 0xff;
  }

  #writeControl(value: number): void {
    const select = value >> 6;
    if (select === READ_BACK) {
      this.#s.channels.forEach((channel, index) => {
        if ((value & (2 << index)) === 0) return;
        if ((value & READ_BACK_NO_COUNT) === 0) this.#latch(channel);
        if ((value & READ_BACK_NO_STATUS) === 0) this.#latchStatus(channel);
      });
      return;
    }
    const channel = this.#s.channels[select];
    const rw = (value >> 4) & 3;
    if (rw === RW_LATCH) {
      this.#latch(channel);
      return;
    }
    const mode = (value >> 1) & 7;
    Object.assign(channel, initialChannel(select), { gate: channel.gate, rw, mode: mode > 5 ? mode - 4 : mode, bcd: (value & 1) !== 0 });
  }

  #latch(channel: ChannelState): void {
    if (channel.latch !== NONE) return;
    const now = this.#tick;
    settle(channel, now);
    channel.latch = current(channel, now);
    channel.readHigh = false;
  }

  #latchStatus(channel: ChannelState): void {
    if (channel.latchedStatus !== NONE) return;
    const now = this.#tick;
    settle(channel, now);
    const isNull = !channel.running || channel.pending !== 0 || now < channel.startTick;
    channel.latchedStatus =
      (output(channel, now) ? STATUS_OUT : 0) | (isNull ? STATUS_NULL : 0) | (channel.rw << 4) | (channel.mode << 1) | (channel.bcd ? 1 : 0);
  }

  #writeCounter(channel: ChannelState, value: number): void {
    if (channel.rw === RW_LOW) this.#load(channel, value);
    else if (channel.rw === RW_HIGH) this.#load(channel, value << 8);
    else if (channel.low === NONE) {
      channel.low = value;
      if (channel.mode === 0) channel.running = false;
    } else {
      const low = channel.low;
      channel.low = NONE;
      this.#load(channel, low | (value << 8));
    }
  }

  #load(channel: ChannelState, written: number): void {
    const now = this.#tick;
    settle(channel, now);
    const count = decode(written, channel.bcd);
    if (channel.mode === 1 || channel.mode === 5) {
      channel.pending = count;
      return;
    }
    if ((channel.mode === 2 || channel.mode === 3) && channel.running && channel.frozen === NONE) {
      channel.pending = count;
      channel.pendingTick = nextBoundary(channel, now);
      return;
    }
    channel.count = count;
    channel.pending = 0;
    channel.running = true;
    channel.startTick = now + 1;
    channel.frozen = channel.gate ? NONE : 0;
  }

  #readPort61(): number {
    const now = this.#tick;
    const speaker = this.#s.channels[2];
    settle(speaker, now);
    const refresh = Math.floor(now / REFRESH_TICKS) % 2 === 0 ? 0 : PORT61_REFRESH;
    return this.#s.port61 | refresh | (output(speaker, now) ? PORT61_OUT2 : 0);
  }

  #writePort61(value: number): void {
    this.#s.port61 = value & PORT61_STORED;
    this.#setGate(this.#s.channels[2], (value & PORT61_GATE2) !== 0);
  }

  #setGate(channel: ChannelState, gate: boolean): void {
    if (channel.gate === gate) return;
    const now = this.#tick;
    settle(channel, now);
    channel.gate = gate;
    switch (channel.mode) {
      case 1:
      case 5:
        if (!gate) return;
        takePending(channel);
        if (channel.count === 0) return;
        channel.running = true;
        channel.startTick = now + 1;
        return;
      case 2:
      case 3:
        if (!gate) channel.frozen = elapsed(channel, now);
        else {
          takePending(channel);
          channel.frozen = NONE;
          channel.startTick = now + 1;
        }
        return;
      default:
        if (!gate) channel.frozen = elapsed(channel, now);
        else if (channel.frozen !== NONE) {
          channel.startTick = now - channel.frozen;
          channel.frozen = NONE;
        }
    }
  }
}

const decode = (written: number, bcd: boolean): number => {
  if (!bcd) return written === 0 ? 0x1_0000 : written;
  const value = (written >> 12) * 1000 + ((written >> 8) & 15) * 100 + ((written >> 4) & 15) * 10 + (written & 15);
  return value === 0 ? 10_000 : value;
};

const encode = (value: number, bcd: boolean): number => {
  if (!bcd) return value & 0xffff;
  const v = value % 10_000;
  return (Math.floor(v / 1000) << 12) | (Math.floor((v / 100) % 10) << 8) | (Math.floor((v / 10) % 10) << 4) | v % 10;
};

const takePending = (channel: ChannelState): void => {
  if (channel.pending === 0) return;
  channel.count = channel.pending;
  channel.pending = 0;
};

/** Ticks since the count was loaded, 0 until then. */
const elapsed = (channel: ChannelState, now: number): number =>
  channel.frozen !== NONE ? channel.frozen : Math.max(0, now - channel.startTick);

/** Ticks for which mode 3 holds its output high. */
const highTicks = (count: number): number => (count + 1) >> 1;

/** Where in its period a counter of mode 2 or 3 is. */
const phase = (channel: ChannelState, now: number): number => elapsed(channel, now) % channel.count;

/** The first tick after `now` at which a new count may take over: the end of the period in mode 2, of the half period in mode 3. */
const nextBoundary = (channel: ChannelState, now: number): number => {
  if (now < channel.startTick) return channel.startTick;
  const at = phase(channel, now);
  const half = highTicks(channel.count);
  return now - at + (channel.mode === 3 && at < half ? half : channel.count);
};

/** Lets a pending count take over when its time has come. */
const settle = (channel: ChannelState, now: number): void => {
  if (channel.pending === 0 || !channel.running || channel.frozen !== NONE || now < channel.pendingTick) return;
  if (channel.mode !== 2 && channel.mode !== 3) return;
  const wasHigh = channel.mode === 3 && channel.pendingTick > channel.startTick && phase(channel, channel.pendingTick - 1) < highTicks(channel.count);
  takePending(channel);
  channel.startTick = channel.pendingTick - (wasHigh ? highTicks(channel.count) : 0);
};

const output = (channel: ChannelState, now: number): boolean => {
  if (!channel.running) return channel.mode !== 0;
  switch (channel.mode) {
    case 0:
    case 1:
      return elapsed(channel, now) >= channel.count;
    case 2:
      return !channel.gate || channel.count === 1 || phase(channel, now) !== channel.count - 1;
    case 3:
      return !channel.gate || phase(channel, now) < highTicks(channel.count);
    default:
      return elapsed(channel, now) !== channel.count;
  }
};

/** The counting element as the guest reads it. */
const current = (channel: ChannelState, now: number): number => {
  const modulus = channel.bcd ? 10_000 : 0x1_0000;
  if (!channel.running) return encode(channel.count, channel.bcd);
  const { count } = channel;
  if (channel.mode === 2) return encode(count - phase(channel, now), channel.bcd);
  if (channel.mode === 3) {
    const at = phase(channel, now);
    const half = highTicks(count);
    return encode((count & ~1) - 2 * (at < half ? at : at - half), channel.bcd);
  }
  const left = (count - elapsed(channel, now)) % modulus;
  return encode(left < 0 ? left + modulus : left, channel.bcd);
};

/** The next tick after `now` at which channel 0's line must be driven; Infinity for never. Its gate is always high. */
const nextEdge = (channel: ChannelState, now: number): number => {
  if (!channel.running || channel.frozen !== NONE) return Infinity;
  const end = channel.startTick + channel.count;
  switch (channel.mode) {
    case 0:
      return now < end ? end : Infinity;
    case 2:
      if (channel.count === 1) return Infinity;
      return now < channel.startTick ? end : now - phase(channel, now) + channel.count;
    case 3: {
      if (channel.count === 1) return Infinity;
      const half = highTicks(channel.count);
      if (now < channel.startTick) return channel.startTick + half;
      const at = phase(channel, now);
      return now - at + (at < half ? half : channel.count);
    }
    case 4:
      return now <= end ? end + 1 : Infinity;
    default:
      return Infinity;
  }
};
