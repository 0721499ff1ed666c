import type { Bus } from '../bus.js';
import type { MemoryRange } from '../boot/e820.js';
import type { Clock, Timer } from '../clock.js';
import { Bda } from './bda.js';
import type { FirmwareCall } from './call.js';
import type { LinearMemory } from './linear.js';
import type { SerialShare } from './serial-share.js';
import type { FirmwareTraps, Ready } from './traps.js';

// INT 11h, 12h, 14h, 15h and 17h (Ralf Brown's interrupt list; ACPI 6.5, 15.1 for E820).

const UNSUPPORTED = 0x86;
const SMAP = 0x534d_4150;
const E820_BYTES = 20;
const PORT_92 = 0x92;
const A20_GATE = 2;
const FAST_RESET = 1;
const MIB = 2 ** 20;
const MAX_BLOCK_WORDS = 0x8000;
const SERIAL_TIMEOUT = 0x80;
const LSR = 5;
const LSR_READY = 0x01;
const LSR_EMPTY = 0x20;
const CHARACTER_NS = 1e6;
const PRINTER_TIMEOUT = 0x01;
const EVENT_OVER = 0x80;

export interface SystemOptions {
  memory: LinearMemory;
  bus: Bus;
  clock: Clock;
  traps: FirmwareTraps;
  serial: SerialShare | undefined;
  /** The memory map now. */
  memoryMap: () => readonly MemoryRange[];
  ramBytes: number;
  /** The configuration table in the ROM. */
  configTable: { segment: number; offset: number };
}

export class SystemServices {
  readonly #o: SystemOptions;
  /** Whether a wait of AH=83h or 86h is under way. */
  #waiting = false;
  readonly #event: Timer;
  #eventByte = 0;

  constructor(options: SystemOptions) {
    this.#o = options;
    this.#event = options.clock.timer(() => {
      this.#waiting = false;
      options.memory.setU8(this.#eventByte, options.memory.u8(this.#eventByte) | EVENT_OVER);
    });
  }

  reset(): void {
    this.#waiting = false;
    this.#event.disarm();
  }

  equipment(call: FirmwareCall): void {
    call.ax = this.#o.memory.u16(Bda.EQUIPMENT);
  }

  memorySize(call: FirmwareCall): void {
    call.ax = this.#o.memory.u16(Bda.BASE_MEMORY_KB);
  }

  /** INT 17h: there are no printers. */
  printer(call: FirmwareCall): void {
    if (call.ah <= 2) call.ah = PRINTER_TIMEOUT;
  }

  /** INT 14h on the UARTs that the data area lists. */
  serial(call: FirmwareCall): void | Generator<Ready, void, void> {
    const port = call.dx < 4 ? this.#o.memory.u16(Bda.SERIAL_PORTS + 2 * call.dx) : 0;
    if (port === 0) return;
    const { bus } = this.#o;
    const status = (): void => {
      call.ah = bus.portRead(port + LSR, 1);
      call.al = bus.portRead(port + 6, 1);
    };
    const first = call.dx === 0 ? this.#o.serial : undefined;
    switch (call.ah) {
      case 0x00: {
        const divisors = [1047, 768, 384, 192, 96, 48, 24, 12];
        const parameters = call.al;
        const setUp = (): void => this.#setLine(port, divisors[parameters >> 5], (parameters & 0x1f) >>> 0);
        if (first !== undefined) first.quietly(setUp);
        else setUp();
        return status();
      }
      case 0x01:
        if ((bus.portRead(port + LSR, 1) & LSR_EMPTY) === 0) {
          call.ah = SERIAL_TIMEOUT;
          return;
        }
        bus.portWrite(port, 1, call.al);
        call.ah = bus.portRead(port + LSR, 1);
        return;
      case 0x02:
        first?.claim();
        return this.#receive(call, port);
      case 0x03:
        return status();
      default:
        return;
    }
  }

  #setLine(port: number, divisor: number, parameters: number): void {
    const { bus } = this.#o;
    const format = (parameters & 3) | (parameters & 4) | (parameters & 0x18);
    bus.portWrite(port + 3, 1, 0x80 | format);
    bus.portWrite(port, 1, divisor & 0xff);
    bus.portWrite(port + 1, 1, divisor >> 8);
    bus.portWrite(port + 3, 1, format);
  }

  /** Waits for a character as long as the data area says, in seconds. */
  *#receive(call: FirmwareCall, port: number): Generator<Ready, void, void> {
    const { bus, memory, traps, clock } = this.#o;
    const seconds = memory.u8(Bda.SERIAL_TIMEOUTS + call.dx) || 1;
    const endNs = clock.now + seconds * 1e9;
    const ready = (): boolean => (bus.portRead(port + LSR, 1) & LSR_READY) !== 0;
    while (!ready()) {
      if (clock.now >= endNs) {
        call.ah = SERIAL_TIMEOUT;
        return;
      }
      const soon = traps.until(Math.min(endNs, clock.now + CHARACTER_NS));
      yield () => ready() || soon();
    }
    call.al = bus.portRead(port, 1);
    call.ah = bus.portRead(port + LSR, 1) & 0x1e;
  }

  /** INT 15h. */
  misc(call: FirmwareCall): void | Generator<Ready, void, void> {
    const done = (): void => {
      call.ah = 0;
      call.carry = false;
    };
    const { ramBytes } = this.#o;
    switch (call.ah) {
      case 0x24:
        return this.#a20(call);
      case 0x4f:
        // The key is not taken: carry stays set.
        return;
      case 0x52:
      case 0x80:
      case 0x81:
      case 0x82:
      case 0x85:
      case 0x90:
      case 0x91:
        return done();
      case 0x83:
        return this.#eventWait(call);
      case 0x86:
        return this.#wait(call);
      case 0x87:
        return this.#moveBlock(call);
      case 0x88:
        call.ax = Math.min(0xfc00, Math.max(0, Math.floor(Math.min(ramBytes, 64 * MIB) / 1024) - 1024));
        call.carry = false;
        return;
      case 0xc0:
        call.setSegment('es', this.#o.configTable.segment);
        call.bx = this.#o.configTable.offset;
        return done();
      case 0xc1:
        call.setSegment('es', this.#o.memory.u16(Bda.EBDA_SEGMENT));
        call.carry = false;
        return;
      case 0xe8:
        if (call.al === 0x01 || call.al === 0x81) return this.#sizes(call);
        if (call.al === 0x20) return this.#map(call);
        break;
      case 0xec:
        // What operating mode the kernel will have: good to know, nothing to do.
        if (call.al === 0) return done();
        break;
    }
    // APM (53h), the mouse (C2h), EISA and others.
    call.ah = UNSUPPORTED;
    call.carry = true;
  }

  #a20(call: FirmwareCall): void {
    const { bus } = this.#o;
    call.carry = false;
    call.ah = 0;
    switch (call.al) {
      case 0x00:
      case 0x01: {
        const value = bus.portRead(PORT_92, 1) & ~FAST_RESET;
        bus.portWrite(PORT_92, 1, call.al === 1 ? value | A20_GATE : value & ~A20_GATE);
        return;
      }
      case 0x02:
        call.al = call.cpu.get32('a20Mask') === 0xffff_ffff ? 1 : 0;
        return;
      case 0x03:
        call.bx = 3;
        return;
      default:
        call.ah = UNSUPPORTED;
        call.carry = true;
    }
  }

  /** AH=83h: the byte at ES:BX gets its top bit when CX:DX microseconds have passed. */
  #eventWait(call: FirmwareCall): void {
    const { clock } = this.#o;
    call.ah = 0;
    call.carry = false;
    if (call.al === 1) {
      if (this.#event.armed) this.#waiting = false;
      this.#event.disarm();
    } else if (call.al !== 0 || this.#waiting) {
      call.ah = UNSUPPORTED;
      call.carry = true;
    } else {
      this.#waiting = true;
      this.#eventByte = call.linear('es', call.bx);
      this.#event.arm(clock.now + microseconds(call));
    }
  }

  *#wait(call: FirmwareCall): Generator<Ready, void, void> {
    const { traps, clock } = this.#o;
    if (this.#waiting) {
      call.ah = 0x83;
      call.carry = true;
      return;
    }
    this.#waiting = true;
    const endNs = clock.now + microseconds(call);
    try {
      while (clock.now < endNs) yield traps.until(endNs);
    } finally {
      this.#waiting = false;
    }
    call.ah = 0;
    call.carry = false;
  }

  /** AH=87h: descriptors at ES:SI say from where to where. */
  #moveBlock(call: FirmwareCall): void {
    const { memory } = call;
    const fail = (code: number): void => {
      call.ah = code;
      call.carry = true;
    };
    if (call.cx > MAX_BLOCK_WORDS) return fail(0x02);
    const table = call.linear('es', call.si);
    const base = (at: number): number => (memory.u16(table + at + 2) | (memory.u8(table + at + 4) << 16) | (memory.u8(table + at + 7) << 24)) >>> 0;
    const from = base(0x10);
    const to = base(0x18);
    // The processor is in protected mode for the copy, with the A20 gate open: physical addresses.
    const bytes = new Uint8Array(2 * call.cx);
    const mask = call.cpu.get32('a20Mask');
    call.cpu.set32('a20Mask', 0xffff_ffff);
    memory.read(from, bytes);
    memory.write(to, bytes);
    call.cpu.set32('a20Mask', mask);
    call.ah = 0;
    call.carry = false;
    call.zero = true;
  }

  #sizes(call: FirmwareCall): void {
    const { ramBytes } = this.#o;
    const below16 = Math.max(0, Math.min(ramBytes, 16 * MIB) - MIB) / 1024;
    const above16 = Math.floor(Math.max(0, ramBytes - 16 * MIB) / 0x1_0000);
    if (call.al === 0x01) {
      call.ax = call.cx = below16;
      call.bx = call.dx = above16;
    } else {
      call.eax = call.ecx = below16;
      call.ebx = call.edx = above16;
    }
    call.carry = false;
  }

  #map(call: FirmwareCall): void {
    const map = this.#o.memoryMap();
    const range = map[call.ebx];
    if (call.edx !== SMAP || call.ecx < E820_BYTES || range === undefined) {
      call.ah = UNSUPPORTED;
      call.carry = true;
      return;
    }
    const bytes = new Uint8Array(E820_BYTES);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt(range.start), true);
    view.setBigUint64(8, BigInt(range.length), true);
    view.setUint32(16, range.type, true);
    call.memory.write(call.linear('es', call.di), bytes);
    call.ebx = call.ebx + 1 < map.length ? call.ebx + 1 : 0;
    call.eax = SMAP;
    call.ecx = E820_BYTES;
    call.carry = false;
  }
}

/** CX:DX microseconds in ns. */
const microseconds = (call: FirmwareCall): number => (call.cx * 0x1_0000 + call.dx) * 1000;
