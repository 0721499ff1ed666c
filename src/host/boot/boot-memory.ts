import { VmletError } from '../../errors.js';
import { type ByteSource, byteSource } from './byte-source.js';
import type { ElfImage } from './elf.js';
import { extent } from './elf.js';
import { HIGH_START, LOW_END, tooLittleMemory } from './e820.js';

export const PAGE_BYTES = 4096;

/** RAM as a boot loader fills it, before the first instruction. */
export class BootMemory {
  readonly view: DataView;

  constructor(readonly ram: Uint8Array) {
    this.view = new DataView(ram.buffer, ram.byteOffset, ram.byteLength);
  }

  get size(): number {
    return this.ram.length;
  }

  write(phys: number, bytes: Uint8Array): void {
    this.ram.set(bytes, phys);
  }

  u8(phys: number, value: number): void {
    this.ram[phys] = value;
  }

  u16(phys: number, value: number): void {
    this.view.setUint16(phys, value, true);
  }

  u32(phys: number, value: number): void {
    this.view.setUint32(phys, value, true);
  }

  u64(phys: number, value: number): void {
    this.view.setBigUint64(phys, BigInt(value), true);
  }

  /** Writes text, one byte a character, and a terminating zero; returns the address behind it. */
  text(phys: number, text: string): number {
    const bytes = new TextEncoder().encode(text);
    this.write(phys, bytes);
    this.u8(phys + bytes.length, 0);
    return phys + bytes.length + 1;
  }

  /** Copies the segments of an ELF image, moved by `offset` bytes, and clears what has no file contents. */
  loadElf(file: Uint8Array | ByteSource, elf: ElfImage, name = 'kernel', offset = 0): { start: number; end: number } {
    if (elf.segments.length === 0) {
      throw new VmletError('ERR_VMLET_IMAGE_FORMAT', `${name}: the ELF file has nothing to load`, { hint: 'give an executable kernel, not a module or library' });
    }
    const { start, end } = extent(elf);
    if (start + offset < 0 || end + offset > 0xc000_0000) {
      throw new VmletError('ERR_VMLET_IMAGE_FORMAT', `${name}: asks to be loaded at ${hex(start)}, where a PC has no RAM`, {
        hint: 'link it with physical addresses (the AT() of a linker script) below 3 GB',
      });
    }
    if (end + offset > this.size) throw tooLittleMemory(name, end + offset, this.size);
    const source = byteSource(file);
    for (const segment of elf.segments) {
      const at = segment.phys + offset;
      if (at < HIGH_START && at + segment.memoryBytes > LOW_END) {
        throw new VmletError('ERR_VMLET_IMAGE_FORMAT', `${name}: the segment at ${hex(at)} would lie over the video and firmware area (${hex(LOW_END)} to 1 MB)`, {
          hint: 'link it at 1 MB or above',
        });
      }
      source.copy(segment.offset, this.ram.subarray(at, at + segment.fileBytes));
      this.ram.fill(0, at + segment.fileBytes, at + segment.memoryBytes);
    }
    return { start: start + offset, end: end + offset };
  }

  /** The address for `bytes` bytes of payload as high as possible, page-aligned, ending at or below `limit` and not below `floor`. */
  place(what: string, bytes: number, floor: number, limit: number): number {
    const at = Math.floor((Math.min(limit, this.size) - bytes) / PAGE_BYTES) * PAGE_BYTES;
    if (at < floor) throw tooLittleMemory(what, floor + bytes + PAGE_BYTES, Math.min(limit, this.size));
    return at;
  }
}

export const hex = (n: number): string => `0x${n.toString(16)}`;
