import type { CpuRecord } from '../core.js';
import type { AccessSize } from '../devices/device.js';
import type { GuestMemory } from '../memory.js';

// SDM vol. 3, 4.3 and 4.4: 32-bit and PAE paging, for callers under a virtual-8086 monitor that moved memory about.

const CR0_PG = 0x8000_0000;
const CR4_PSE = 0x10;
const CR4_PAE = 0x20;
const PRESENT = 1;
const LARGE = 0x80;
const PAGE = 0x1000;
const ROM_START = 0xf_0000;
const ROM_END = 0x10_0000;

/** The bus outside RAM. */
export interface MmioBus {
  mmioRead(phys: number, size: AccessSize): number;
  mmioWrite(phys: number, size: AccessSize, value: number): void;
}

/**
 * Memory as the CPU's program sees it: linear addresses through the A20 gate and the page tables, RAM and the bus. What is not there reads as
 * ones and takes no writes; the ROM takes none either.
 */
export class LinearMemory {
  readonly #cpu: CpuRecord;
  readonly #memory: GuestMemory;
  readonly #bus: MmioBus;
  readonly #word = new Uint8Array(4);
  readonly #view = new DataView(this.#word.buffer);

  constructor(cpu: CpuRecord, memory: GuestMemory, bus: MmioBus) {
    this.#cpu = cpu;
    this.#memory = memory;
    this.#bus = bus;
  }

  /** The physical address, or -1. */
  translate(lin: number): number {
    const mask = this.#cpu.get32('a20Mask');
    if ((this.#cpu.get32('cr0') & CR0_PG) === 0) return (lin & mask) >>> 0;
    const cr3 = this.#cpu.get32('cr3');
    const cr4 = this.#cpu.get32('cr4');
    const memory = this.#memory;
    if ((cr4 & CR4_PAE) !== 0) {
      const directory = memory.readU32((cr3 & ~0x1f) + 8 * (lin >>> 30));
      if ((directory & PRESENT) === 0) return -1;
      const entry = memory.readU32((directory & ~0xfff) + 8 * ((lin >>> 21) & 0x1ff));
      if ((entry & PRESENT) === 0) return -1;
      if ((entry & LARGE) !== 0) return (((entry & ~0x1f_ffff) | (lin & 0x1f_ffff)) & mask) >>> 0;
      const page = memory.readU32((entry & ~0xfff) + 8 * ((lin >>> 12) & 0x1ff));
      return (page & PRESENT) === 0 ? -1 : (((page & ~0xfff) | (lin & 0xfff)) & mask) >>> 0;
    }
    const entry = memory.readU32((cr3 & ~0xfff) + 4 * (lin >>> 22));
    if ((entry & PRESENT) === 0) return -1;
    if ((entry & LARGE) !== 0 && (cr4 & CR4_PSE) !== 0) return (((entry & ~0x3f_ffff) | (lin & 0x3f_ffff)) & mask) >>> 0;
    const page = memory.readU32((entry & ~0xfff) + 4 * ((lin >>> 12) & 0x3ff));
    return (page & PRESENT) === 0 ? -1 : (((page & ~0xfff) | (lin & 0xfff)) & mask) >>> 0;
  }

  read(lin: number, into: Uint8Array): void {
    this.#pieces(lin, into, (phys, piece) => {
      if (phys < 0) piece.fill(0xff);
      else if (!this.#memory.read(phys, piece)) for (let i = 0; i < piece.length; i++) piece[i] = this.#bus.mmioRead(phys + i, 1);
    });
  }

  write(lin: number, bytes: Uint8Array): void {
    this.#pieces(lin, bytes, (phys, piece) => {
      if (phys < 0 || (phys < ROM_END && phys + piece.length > ROM_START)) return;
      if (!this.#memory.write(phys, piece)) piece.forEach((byte, i) => this.#bus.mmioWrite(phys + i, 1, byte));
    });
  }

  bytes(lin: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.read(lin, bytes);
    return bytes;
  }

  fill(lin: number, value: number, length: number): void {
    this.write(lin, new Uint8Array(length).fill(value));
  }

  u8(lin: number): number {
    this.read(lin, this.#word.subarray(0, 1));
    return this.#word[0];
  }

  u16(lin: number): number {
    this.read(lin, this.#word.subarray(0, 2));
    return this.#view.getUint16(0, true);
  }

  u32(lin: number): number {
    this.read(lin, this.#word);
    return this.#view.getUint32(0, true);
  }

  setU8(lin: number, value: number): void {
    this.write(lin, Uint8Array.of(value));
  }

  setU16(lin: number, value: number): void {
    this.write(lin, Uint8Array.of(value, value >>> 8));
  }

  setU32(lin: number, value: number): void {
    this.write(lin, Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24));
  }

  /** Cuts a range at page ends where pages matter, and where RAM and the bus meet. */
  #pieces(lin: number, bytes: Uint8Array, each: (phys: number, piece: Uint8Array) => void): void {
    for (let at = 0; at < bytes.length; ) {
      const address = (lin + at) >>> 0;
      const length = Math.min(bytes.length - at, PAGE - (address % PAGE));
      each(this.translate(address), bytes.subarray(at, at + length));
      at += length;
    }
  }
}
