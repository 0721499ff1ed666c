/** Bytes that are taken in pieces, so that a large file goes to guest memory without a copy in between. Offsets are within `length`. */
export interface ByteSource {
  readonly length: number;
  /** The bytes from `start` to `end`, exclusive. */
  slice(start: number, end: number): Uint8Array;
  /** Fills `into` with the bytes from `start` on. */
  copy(start: number, into: Uint8Array): void;
}

/** Bytes in memory. */
class MemoryBytes implements ByteSource {
  constructor(readonly bytes: Uint8Array) {}

  get length(): number {
    return this.bytes.length;
  }

  slice(start: number, end: number): Uint8Array {
    return this.bytes.subarray(start, end);
  }

  copy(start: number, into: Uint8Array): void {
    into.set(this.bytes.subarray(start, start + into.length));
  }
}

export const byteSource = (bytes: Uint8Array | ByteSource): ByteSource => (bytes instanceof Uint8Array ? new MemoryBytes(bytes) : bytes);
