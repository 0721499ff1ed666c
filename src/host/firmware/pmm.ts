import { HIGH_START } from '../boot/e820.js';
import type { FirmwareCall } from './call.js';
import type { LinearMemory } from './linear.js';
import type { RomImage } from './rom.js';
import type { FirmwareTraps } from './traps.js';

// POST Memory Manager Specification 1.01: memory for option ROMs until something boots.

const ENTRY_AT = 7;
const STRUCTURE_BYTES = 16;
const ALLOCATE = 0;
const FIND = 1;
const DEALLOCATE = 2;
const CONVENTIONAL = 1;
const EXTENDED = 2;
const ALIGNED = 4;
const NO_HANDLE = 0xffff_ffff;
const FAILED = 0;
const NOT_SUPPORTED = 0xffff_ffff;
const PARAGRAPH = 16;
/** Looking for room takes a look at each. */
const MAX_BLOCKS = 100;
const LOW = { start: 0x1_0000, end: 0x7_0000 };
/** What boots may put itself to the top of memory before it has read what ROMs left. */
const HIGH_END = 0x400_0000;

interface Block {
  start: number;
  end: number;
  handle: number;
}

export class PostMemoryManager {
  readonly #memory: LinearMemory;
  readonly #high: { start: number; end: number };
  #blocks: Block[] = [];
  #open = false;

  constructor(options: { memory: LinearMemory; traps: FirmwareTraps; rom: RomImage; romSegment: number; ramBytes: number }) {
    this.#memory = options.memory;
    this.#high = { start: HIGH_START, end: Math.min(Math.max(HIGH_START, options.ramBytes / 2), HIGH_END) };
    const entry = options.traps.far(call => this.#handle(call));
    const structure = [0x24, 0x50, 0x4d, 0x4d, 0x01, STRUCTURE_BYTES, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    structure.splice(ENTRY_AT, 4, entry & 0xff, entry >> 8, options.romSegment & 0xff, options.romSegment >> 8);
    structure[6] = -structure.reduce((sum, byte) => sum + byte, 0) & 0xff;
    options.rom.add(structure, PARAGRAPH);
  }

  /** POST begins: nothing is taken. */
  reset(): void {
    this.#blocks = [];
    this.#open = true;
  }

  /** Something boots: memory belongs to it from now on. */
  close(): void {
    this.#open = false;
  }

  /** Arguments are on the stack, the first one lowest; the caller takes them off. */
  #handle(call: FirmwareCall): void {
    const answer = this.#open ? this.#execute(call) : NOT_SUPPORTED;
    call.ax = answer & 0xffff;
    call.dx = answer >>> 16;
  }

  #execute(call: FirmwareCall): number {
    const u16 = (at: number): number => this.#memory.u16(call.stack(4 + at));
    const u32 = (at: number): number => (u16(at) | (u16(at + 2) << 16)) >>> 0;
    switch (u16(0)) {
      case ALLOCATE:
        return this.#allocate(u32(2), u32(6), u16(10));
      case FIND:
        return this.#blocks.find(({ handle }) => handle === u32(2) && handle !== NO_HANDLE)?.start ?? FAILED;
      case DEALLOCATE: {
        const at = this.#blocks.findIndex(({ start }) => start === u32(2));
        if (at < 0) return 1;
        this.#blocks.splice(at, 1);
        return 0;
      }
      default:
        return NOT_SUPPORTED;
    }
  }

  /** The address of so many paragraphs; without a length, how many bytes there are at the most. */
  #allocate(paragraphs: number, handle: number, flags: number): number {
    const areas = [...((flags & EXTENDED) !== 0 ? [this.#high] : []), ...((flags & CONVENTIONAL) !== 0 ? [LOW] : [])];
    const bytes = paragraphs * PARAGRAPH;
    const alignment = (flags & ALIGNED) !== 0 && paragraphs !== 0 ? (paragraphs & -paragraphs) * PARAGRAPH : PARAGRAPH;
    for (const area of areas) {
      const gaps = this.#gaps(area);
      if (paragraphs === 0) return Math.max(0, ...gaps.map(({ start, end }) => end - start));
      if (this.#blocks.length >= MAX_BLOCKS) return FAILED;
      for (const gap of gaps) {
        const start = Math.floor((gap.end - bytes) / alignment) * alignment;
        if (start < gap.start) continue;
        this.#blocks.push({ start, end: start + bytes, handle });
        return start;
      }
    }
    return FAILED;
  }

  /** What is free in an area, uppermost first. */
  #gaps({ start, end }: { start: number; end: number }): { start: number; end: number }[] {
    const inside = this.#blocks.filter(block => block.start >= start && block.end <= end).sort((a, b) => b.start - a.start);
    const gaps: { start: number; end: number }[] = [];
    let top = end;
    for (const block of inside) {
      gaps.push({ start: block.end, end: top });
      top = block.start;
    }
    return [...gaps, { start, end: top }].filter(gap => gap.end > gap.start);
  }
}
