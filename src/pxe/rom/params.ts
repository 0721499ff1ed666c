import { ipv4Text, textOf } from '../bytes.js';
import type { RomMemory, RomReady } from './firmware.js';

/** A function of the API: it may wait, and returns a PXE status. */
export type ApiSteps = Generator<RomReady, number, void>;

/** A parameter block in the caller's memory; offsets are the specification's. */
export class Params {
  constructor(
    readonly memory: RomMemory,
    readonly lin: number,
  ) {}

  u8(at: number): number {
    return this.memory.u8(this.lin + at);
  }

  u16(at: number): number {
    return this.memory.u16(this.lin + at);
  }

  u32(at: number): number {
    return this.memory.u32(this.lin + at);
  }

  setU8(at: number, value: number): void {
    this.memory.setU8(this.lin + at, value);
  }

  setU16(at: number, value: number): void {
    this.memory.setU16(this.lin + at, value);
  }

  setU32(at: number, value: number): void {
    this.memory.setU32(this.lin + at, value);
  }

  bytes(at: number, length: number): Uint8Array {
    return this.memory.bytes(this.lin + at, length);
  }

  setBytes(at: number, bytes: Uint8Array): void {
    this.memory.write(this.lin + at, bytes);
  }

  /** An IPv4 address, which is in network order. */
  ip(at: number): number {
    const [a, b, c, d] = this.bytes(at, 4);
    return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
  }

  setIp(at: number, address: number): void {
    this.setBytes(at, Uint8Array.of(address >>> 24, address >>> 16, address >>> 8, address));
  }

  ipText(at: number): string {
    return ipv4Text(this.ip(at));
  }

  /** A port, which is in network order. */
  port(at: number): number {
    const [high, low] = this.bytes(at, 2);
    return (high << 8) | low;
  }

  setPort(at: number, port: number): void {
    this.setBytes(at, Uint8Array.of(port >>> 8, port));
  }

  /** The linear address of a far pointer: offset, then segment. */
  far(at: number): number {
    return this.u16(at + 2) * 16 + this.u16(at);
  }

  /** The text behind a far pointer, up to its NUL. */
  farText(at: number): string {
    return textOf(this.memory.bytes(this.far(at), 255));
  }

  /** A text of a fixed field, up to its NUL. */
  text(at: number, length: number): string {
    return textOf(this.bytes(at, length));
  }
}
