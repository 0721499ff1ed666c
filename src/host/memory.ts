import { isZero } from './backends/hash.js';

const CLEAR_BYTES = 0x1_0000;

/** Clears memory in pieces, and only where something was written: the rest was never given to this process. */
export const clearWritten = (bytes: Uint8Array): void => {
  for (let at = 0; at < bytes.length; at += CLEAR_BYTES) {
    const chunk = bytes.subarray(at, at + CLEAR_BYTES);
    if (!isZero(chunk)) chunk.fill(0);
  }
};

/**
 * Guest-physical memory as devices see it (DMA). Addresses are bytes from 0. Reads outside RAM give ones, writes outside are
 * dropped; both return false. Writes tell the CPU core, which drops decoded code in the range.
 */
export interface GuestMemory {
  /** Bytes of RAM. */
  readonly size: number;
  /** A read-only view of `length` bytes at `phys`, or undefined when any of them is not RAM. Valid until the next guest instruction. */
  view(phys: number, length: number): Uint8Array | undefined;
  read(phys: number, into: Uint8Array): boolean;
  write(phys: number, bytes: Uint8Array): boolean;
  readU16(phys: number): number;
  readU32(phys: number): number;
  readU64(phys: number): bigint;
  writeU8(phys: number, value: number): void;
  writeU16(phys: number, value: number): void;
  writeU32(phys: number, value: number): void;
  writeU64(phys: number, value: bigint): void;
}

/** RAM in a plain buffer, for device tests and as the base of the machine's memory. */
export class BufferMemory implements GuestMemory {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get size(): number {
    return this.#bytes.length;
  }

  /** Whether the whole range is RAM; subclasses cut holes here. */
  protected isRam(phys: number, length: number): boolean {
    return phys >= 0 && length >= 0 && phys + length <= this.#bytes.length;
  }

  /** Called after bytes were written, for code tracking. */
  protected written(_phys: number, _length: number): void {}

  view(phys: number, length: number): Uint8Array | undefined {
    return this.isRam(phys, length) ? this.#bytes.subarray(phys, phys + length) : undefined;
  }

  read(phys: number, into: Uint8Array): boolean {
    if (!this.isRam(phys, into.length)) {
      into.fill(0xff);
      return false;
    }
    into.set(this.#bytes.subarray(phys, phys + into.length));
    return true;
  }

  write(phys: number, bytes: Uint8Array): boolean {
    if (!this.isRam(phys, bytes.length)) return false;
    this.#bytes.set(bytes, phys);
    this.written(phys, bytes.length);
    return true;
  }

  readU16(phys: number): number {
    return this.isRam(phys, 2) ? this.#view.getUint16(phys, true) : 0xffff;
  }

  readU32(phys: number): number {
    return this.isRam(phys, 4) ? this.#view.getUint32(phys, true) : 0xffffffff;
  }

  readU64(phys: number): bigint {
    return this.isRam(phys, 8) ? this.#view.getBigUint64(phys, true) : 0xffff_ffff_ffff_ffffn;
  }

  writeU8(phys: number, value: number): void {
    if (!this.isRam(phys, 1)) return;
    this.#view.setUint8(phys, value);
    this.written(phys, 1);
  }

  writeU16(phys: number, value: number): void {
    if (!this.isRam(phys, 2)) return;
    this.#view.setUint16(phys, value, true);
    this.written(phys, 2);
  }

  writeU32(phys: number, value: number): void {
    if (!this.isRam(phys, 4)) return;
    this.#view.setUint32(phys, value, true);
    this.written(phys, 4);
  }

  writeU64(phys: number, value: bigint): void {
    if (!this.isRam(phys, 8)) return;
    this.#view.setBigUint64(phys, BigInt.asUintN(64, value), true);
    this.written(phys, 8);
  }
}
