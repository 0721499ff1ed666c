import { VmletError } from '../../errors.js';

/** A stored format is broken: `what` names the format, `why` the defect. */
export function formatError(what: string, why: string, cause?: unknown): VmletError {
  return new VmletError('ERR_VMLET_IMAGE_FORMAT', `${what}: ${why}`, {
    hint: 'The file is damaged or not what its name says: fetch or build it again.',
    cause,
  });
}

export function le16(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8);
}

export function le32(bytes: Uint8Array, at: number): number {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
}

export function be16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

export function be32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}

export function startsWith(bytes: Uint8Array, magic: readonly number[], at = 0): boolean {
  return bytes.length >= at + magic.length && magic.every((byte, i) => bytes[at + i] === byte);
}

/** Bytes `from` to `to`, or as many of them as there are, as Latin-1. */
export function ascii(bytes: Uint8Array, from: number, to: number): string {
  const part = bytes.subarray(Math.max(0, from), Math.max(0, to));
  return Buffer.from(part.buffer, part.byteOffset, part.byteLength).toString('latin1');
}

export function utf8(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Most bytes a decoder hands out unless told otherwise: a hostile archive may claim any size. */
export const DEFAULT_MAX_BYTES = 1 << 30;

/** A growing output buffer that also serves decoders as their dictionary. */
export class OutBuffer {
  bytes: Uint8Array;
  length = 0;
  readonly maxBytes: number;
  readonly #what: string;

  /** `hint` is a guess of the final size in bytes; it costs nothing when wrong. */
  constructor(what: string, hint: number, maxBytes = DEFAULT_MAX_BYTES) {
    this.#what = what;
    this.maxBytes = maxBytes;
    this.bytes = new Uint8Array(Math.min(Math.max(hint, 1024), maxBytes));
  }

  /** Makes room for `count` more bytes; throws when that passes `maxBytes`. */
  reserve(count: number): void {
    const need = this.length + count;
    if (need <= this.bytes.length) return;
    if (need > this.maxBytes) throw formatError(this.#what, `unpacks to more than ${this.maxBytes} bytes`);
    const grown = new Uint8Array(Math.min(this.maxBytes, Math.max(need, this.bytes.length * 2)));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }

  append(data: Uint8Array): void {
    this.reserve(data.length);
    this.bytes.set(data, this.length);
    this.length += data.length;
  }

  finish(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
}
