import type { GuestMemory } from '../memory.js';
import { readBytes, writeBytes } from './bytes.js';
import type { AccessSize, Device, Region } from './device.js';
import { clone, validated } from './state.js';

// Intel 8237A data sheet; two of them as the AT has them. The second moves words, and its channel 0 joins the first.

const CHANNELS = 8;
const LOW_REGION = 0;
const PAGE_REGION = 2;

const MODE_WRITE = 1;
const MODE_READ = 2;
const MODE_AUTOINIT = 0x10;
const MODE_DOWN = 0x20;
/** Page registers by channel: offsets from port 0x80; channel 4 has none. */
const PAGES = [7, 3, 1, 2, 15, 11, 9, 10];
const PAGE_BYTES = 16;

interface ChannelState {
  baseAddress: number;
  baseCount: number;
  address: number;
  count: number;
  mode: number;
  masked: boolean;
}

export interface Dma8237State {
  channels: ChannelState[];
  /** The byte pointer of each controller: whether the next access is to the high byte. */
  high: boolean[];
  /** Terminal counts reached, a bit a channel, of each controller. */
  status: number[];
  command: number[];
  pages: Uint8Array;
}

const initial = (): Dma8237State => ({
  channels: Array.from({ length: CHANNELS }, () => ({ baseAddress: 0, baseCount: 0, address: 0, count: 0, mode: 0, masked: true })),
  high: [false, false],
  status: [0, 0],
  command: [0, 0],
  pages: new Uint8Array(PAGE_BYTES),
});

/** What a device on a DMA channel asks of the controller. */
export interface DmaChannel {
  /** Moves bytes to memory, as many as the count allows; returns how many, and whether the terminal count was reached. */
  toMemory(bytes: Uint8Array): { moved: number; terminal: boolean };
  fromMemory(bytes: Uint8Array): { moved: number; terminal: boolean };
}

/**
 * The DMA controllers and their page registers. Regions: 0 the first (port 0x00, 16 bytes), 1 the second (0xC0, 32 bytes, a register every other
 * byte), 2 the page registers (0x80, 16 bytes; the first is the POST code port).
 */
export class Dma8237 implements Device<Dma8237State> {
  readonly name = 'dma';
  readonly regions: readonly Region[] = [
    { space: 'pio', size: 16 },
    { space: 'pio', size: 32 },
    { space: 'pio', size: PAGE_BYTES },
  ];
  readonly #memory: GuestMemory;
  #s = initial();

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  /** The channel of a device, 0 to 3. */
  channel(number: number): DmaChannel {
    return {
      toMemory: bytes => this.#move(number, bytes, MODE_WRITE),
      fromMemory: bytes => this.#move(number, bytes, MODE_READ),
    };
  }

  read(offset: number, size: AccessSize, region: number): number {
    if (size !== 1) return readBytes(offset, size, at => (at < this.regions[region].size ? this.read(at, 1, region) : 0xff));
    if (region === PAGE_REGION) return this.#s.pages[offset];
    const controller = region === LOW_REGION ? 0 : 1;
    return this.#readRegister(controller, controller === 0 ? offset : offset >> 1);
  }

  write(offset: number, value: number, size: AccessSize, region: number): void {
    if (size !== 1) {
      writeBytes(offset, value, size, (at, byte) => {
        if (at < this.regions[region].size) this.write(at, byte, 1, region);
      });
      return;
    }
    if (region === PAGE_REGION) {
      this.#s.pages[offset] = value;
      return;
    }
    const controller = region === LOW_REGION ? 0 : 1;
    this.#writeRegister(controller, controller === 0 ? offset : offset >> 1, value);
  }

  reset(): void {
    this.#s = initial();
  }

  save(): Dma8237State {
    return clone(this.#s);
  }

  restore(state: Dma8237State): void {
    this.#s = validated(this.name, initial(), state);
  }

  #readRegister(controller: number, register: number): number {
    const s = this.#s;
    if (register < 8) {
      const channel = s.channels[4 * controller + (register >> 1)];
      const value = (register & 1) === 0 ? channel.address : channel.count;
      const high = s.high[controller];
      s.high[controller] = !high;
      return high ? value >> 8 : value & 0xff;
    }
    if (register !== 8) return 0xff;
    const status = s.status[controller];
    s.status[controller] = 0;
    return status;
  }

  #writeRegister(controller: number, register: number, value: number): void {
    const s = this.#s;
    const first = 4 * controller;
    if (register < 8) {
      const channel = s.channels[first + (register >> 1)];
      const high = s.high[controller];
      s.high[controller] = !high;
      const merge = (old: number): number => (high ? (old & 0xff) | (value << 8) : (old & 0xff00) | value);
      if ((register & 1) === 0) channel.address = channel.baseAddress = merge(channel.baseAddress);
      else channel.count = channel.baseCount = merge(channel.baseCount);
      return;
    }
    switch (register) {
      case 8:
        s.command[controller] = value;
        return;
      case 10:
        s.channels[first + (value & 3)].masked = (value & 4) !== 0;
        return;
      case 11:
        s.channels[first + (value & 3)].mode = value >> 2;
        return;
      case 12:
        s.high[controller] = false;
        return;
      case 13:
        s.high[controller] = false;
        s.status[controller] = s.command[controller] = 0;
        for (let n = 0; n < 4; n++) s.channels[first + n].masked = true;
        return;
      case 14:
        for (let n = 0; n < 4; n++) s.channels[first + n].masked = false;
        return;
      case 15:
        for (let n = 0; n < 4; n++) s.channels[first + n].masked = ((value >> n) & 1) !== 0;
        return;
      default:
        return;
    }
  }

  /** `direction`: as the mode register has it; a channel that is set to verify moves nothing and counts all the same. */
  #move(number: number, bytes: Uint8Array, direction: number): { moved: number; terminal: boolean } {
    const s = this.#s;
    const channel = s.channels[number];
    if (channel.masked || (s.command[0] & 4) !== 0) return { moved: 0, terminal: false };
    const moved = Math.min(bytes.length, channel.count + 1);
    const down = ((channel.mode << 2) & MODE_DOWN) !== 0;
    const kind = channel.mode & 3;
    const page = s.pages[PAGES[number]] << 16;
    const one = new Uint8Array(1);
    for (let n = 0; n < moved; n++) {
      const phys = page + ((channel.address + (down ? -n : n)) & 0xffff);
      if (kind === MODE_WRITE && direction === MODE_WRITE) this.#memory.writeU8(phys, bytes[n]);
      else if (kind === MODE_READ && direction === MODE_READ) {
        this.#memory.read(phys, one);
        bytes[n] = one[0];
      }
    }
    channel.address = (channel.address + (down ? -moved : moved)) & 0xffff;
    const terminal = moved === channel.count + 1;
    channel.count = (channel.count - moved) & 0xffff;
    if (terminal) {
      s.status[0] |= 1 << number;
      if (((channel.mode << 2) & MODE_AUTOINIT) !== 0) {
        channel.address = channel.baseAddress;
        channel.count = channel.baseCount;
      } else channel.masked = true;
    }
    return { moved, terminal };
  }
}
