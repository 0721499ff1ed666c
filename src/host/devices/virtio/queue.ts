import type { GuestMemory } from '../../memory.js';

// Virtual I/O Device (VIRTIO) 1.2, section 2.7: split virtqueues.
const DESC_BYTES = 16;
const DESC_F_NEXT = 1;
const DESC_F_WRITE = 2;
const DESC_F_INDIRECT = 4;
const AVAIL_F_NO_INTERRUPT = 1;
const USED_ELEMENT_BYTES = 8;
/** The longest descriptor chain that is followed, direct or indirect. */
const MAX_SEGMENTS = 1024;
const MAX_CHAIN_BYTES = 0x1_0000_0000;
const HIGH_WORD = 0x1_0000_0000;

/** Scattered guest memory, read and written by offset. A cursor makes sequential access linear. */
class Segments {
  readonly #addresses: number[] = [];
  readonly #lengths: number[] = [];
  #segment = 0;
  #segmentStart = 0;
  length = 0;

  get count(): number {
    return this.#addresses.length;
  }

  clear(): void {
    this.#addresses.length = 0;
    this.#lengths.length = 0;
    this.#segment = 0;
    this.#segmentStart = 0;
    this.length = 0;
  }

  add(phys: number, length: number): void {
    this.#addresses.push(phys);
    this.#lengths.push(length);
    this.length += length;
  }

  /** Calls `visit(phys, length, at)` for each piece of [offset, offset + length) that exists; returns the bytes visited. */
  each(offset: number, length: number, visit: (phys: number, length: number, at: number) => void): number {
    if (offset < this.#segmentStart) {
      this.#segment = 0;
      this.#segmentStart = 0;
    }
    let done = 0;
    while (done < length && this.#segment < this.#addresses.length) {
      const segmentBytes = this.#lengths[this.#segment];
      const skip = offset + done - this.#segmentStart;
      if (skip >= segmentBytes) {
        this.#segmentStart += segmentBytes;
        this.#segment++;
        continue;
      }
      const bytes = Math.min(segmentBytes - skip, length - done);
      visit(this.#addresses[this.#segment] + skip, bytes, done);
      done += bytes;
    }
    return done;
  }
}

/** One request: the buffers that the driver filled and those that the device fills. Valid until it is pushed back. */
export class Chain {
  head = 0;
  readonly readable = new Segments();
  readonly writable = new Segments();
  readonly #memory: GuestMemory;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  /** Bytes the device may read. */
  get readLength(): number {
    return this.readable.length;
  }

  /** Bytes the device may write. */
  get writeLength(): number {
    return this.writable.length;
  }

  /** Copies what the driver wrote, from `offset` on, and returns how many bytes there were. */
  read(offset: number, into: Uint8Array): number {
    return this.readable.each(offset, into.length, (phys, length, at) => {
      const bytes = this.#memory.view(phys, length);
      if (bytes) into.set(bytes, at);
    });
  }

  /** Writes into the driver's buffers from `offset` on, and returns how many bytes fitted. */
  write(offset: number, bytes: Uint8Array): number {
    return this.writable.each(offset, bytes.length, (phys, length, at) => {
      this.#memory.write(phys, at === 0 && length === bytes.length ? bytes : bytes.subarray(at, at + length));
    });
  }
}

export interface QueueState {
  size: number;
  enabled: boolean;
  vector: number;
  desc: number;
  avail: number;
  used: number;
  lastAvail: number;
  usedIndex: number;
  signalled: number;
}

const NO_VECTOR = 0xffff;

/** What a queue needs of the transport that owns it. */
export interface QueueOwner {
  readonly memory: GuestMemory;
  /** The driver wants an interrupt for this queue. */
  interrupt(queue: VirtQueue): void;
  /** The ring is not one that a driver can have made; the device stops. */
  broken(queue: VirtQueue, reason: string): void;
}

/**
 * The device side of a split virtqueue. Nothing that a guest writes into the rings makes it throw or loop: the first nonsense stops
 * the queue and is reported to the owner.
 */
export class VirtQueue {
  /** Registers of the transport. Addresses are guest-physical; those beyond 2^53 lose low bits and are outside RAM in any case. */
  size: number;
  enabled = false;
  vector = NO_VECTOR;
  desc = 0;
  avail = 0;
  used = 0;
  /** Negotiated features. */
  eventIndex = false;
  indirect = false;
  /** Whether the device may touch the rings; the transport keeps it. */
  live = false;

  readonly #owner: QueueOwner;
  readonly #free: Chain[] = [];
  #lastAvail = 0;
  #usedIndex = 0;
  #signalled = 0;
  #indirectTable = false;

  constructor(
    readonly index: number,
    readonly maxSize: number,
    owner: QueueOwner,
  ) {
    this.size = maxSize;
    this.#owner = owner;
  }

  reset(): void {
    this.size = this.maxSize;
    this.enabled = false;
    this.live = false;
    this.vector = NO_VECTOR;
    this.desc = this.avail = this.used = 0;
    this.eventIndex = this.indirect = false;
    this.#lastAvail = this.#usedIndex = this.#signalled = 0;
  }

  /** The driver enabled the queue. Reports rings that are misaligned or not in RAM. */
  enable(): void {
    this.enabled = true;
    const { memory } = this.#owner;
    const rings: [number, number, number][] = [
      [this.desc, DESC_BYTES * this.size, 16],
      [this.avail, 6 + 2 * this.size, 2],
      [this.used, 6 + USED_ELEMENT_BYTES * this.size, 4],
    ];
    if (rings.some(([phys, bytes, alignment]) => phys % alignment !== 0 || memory.view(phys, bytes) === undefined)) {
      this.#broken('rings are misaligned or outside RAM');
    }
  }

  #broken(reason: string): undefined {
    this.live = false;
    this.#owner.broken(this, reason);
    return undefined;
  }

  /** How many requests the driver has made available; 0 when the queue is stopped. */
  get available(): number {
    if (!this.live) return 0;
    const count = (this.#owner.memory.readU16(this.avail + 2) - this.#lastAvail) & 0xffff;
    if (count <= this.size) return count;
    this.#broken(`available index runs ${count} ahead of a ring of ${this.size}`);
    return 0;
  }

  /** Takes the next request, or undefined when there is none; then the driver is asked to notify of the next one. */
  pop(): Chain | undefined {
    if (this.available === 0) {
      if (this.live && this.eventIndex) this.#owner.memory.writeU16(this.used + 4 + USED_ELEMENT_BYTES * this.size, this.#lastAvail);
      return undefined;
    }
    const head = this.#owner.memory.readU16(this.avail + 4 + 2 * (this.#lastAvail & (this.size - 1)));
    const chain = this.#free.pop() ?? new Chain(this.#owner.memory);
    if (!this.#follow(head, chain)) {
      this.#free.push(chain);
      return undefined;
    }
    this.#lastAvail = (this.#lastAvail + 1) & 0xffff;
    return chain;
  }

  /** Gives back the requests popped last, unused, newest first. */
  unpop(chains: readonly Chain[]): void {
    this.#lastAvail = (this.#lastAvail - chains.length) & 0xffff;
    this.#free.push(...chains);
  }

  /** Returns a request to the driver with the number of bytes written into it. */
  push(chain: Chain, written: number): void {
    this.#free.push(chain);
    if (!this.live) return;
    const { memory } = this.#owner;
    const element = this.used + 4 + USED_ELEMENT_BYTES * (this.#usedIndex & (this.size - 1));
    memory.writeU32(element, chain.head);
    memory.writeU32(element + 4, written);
    this.#usedIndex = (this.#usedIndex + 1) & 0xffff;
    memory.writeU16(this.used + 2, this.#usedIndex);
  }

  /** Serves every request that is available: `handle` returns the bytes it wrote. Then interrupts the driver if it wants that. */
  serve(handle: (chain: Chain) => number): void {
    // A guest that aims a buffer at the ring could offer requests without end.
    for (let served = 0; served <= this.size; served++) {
      const chain = this.pop();
      if (chain === undefined) break;
      this.push(chain, handle(chain));
    }
    this.signal();
  }

  /** Interrupts the driver for what was pushed since the last call, unless it asked not to be. */
  signal(): void {
    if (!this.live) return;
    const before = this.#signalled;
    if (before === this.#usedIndex) return;
    this.#signalled = this.#usedIndex;
    const { memory } = this.#owner;
    if (this.eventIndex) {
      const event = memory.readU16(this.avail + 4 + 2 * this.size);
      if (((this.#usedIndex - event - 1) & 0xffff) >= ((this.#usedIndex - before) & 0xffff)) return;
    } else if (memory.readU16(this.avail) & AVAIL_F_NO_INTERRUPT) {
      return;
    }
    this.#owner.interrupt(this);
  }

  save(): QueueState {
    const { size, enabled, vector, desc, avail, used } = this;
    return { size, enabled, vector, desc, avail, used, lastAvail: this.#lastAvail, usedIndex: this.#usedIndex, signalled: this.#signalled };
  }

  restore(state: QueueState): void {
    const size = state.size & (state.size - 1) ? this.maxSize : state.size;
    this.size = size >= 1 && size <= this.maxSize ? size : this.maxSize;
    this.enabled = state.enabled;
    this.vector = state.vector;
    this.desc = state.desc;
    this.avail = state.avail;
    this.used = state.used;
    this.#lastAvail = state.lastAvail & 0xffff;
    this.#usedIndex = state.usedIndex & 0xffff;
    this.#signalled = state.signalled & 0xffff;
  }

  #follow(head: number, chain: Chain): boolean {
    chain.head = head;
    chain.readable.clear();
    chain.writable.clear();
    this.#indirectTable = false;
    const reason = this.#walk(this.desc, this.size, head, chain);
    if (reason === undefined) return true;
    this.#broken(reason);
    return false;
  }

  /** Follows a chain through a table; returns what is wrong with it. */
  #walk(table: number, entries: number, first: number, chain: Chain): string | undefined {
    const { memory } = this.#owner;
    const limit = Math.min(entries, MAX_SEGMENTS);
    let index = first;
    for (let count = 0; count < limit; count++) {
      if (index >= entries) return `descriptor ${index} is outside a table of ${entries}`;
      const descriptor = table + DESC_BYTES * index;
      const phys = memory.readU32(descriptor) + memory.readU32(descriptor + 4) * HIGH_WORD;
      const length = memory.readU32(descriptor + 8);
      const flags = memory.readU16(descriptor + 12);
      if (flags & DESC_F_INDIRECT) return this.#walkIndirect(phys, length, flags, chain);
      const problem = this.#addSegment(phys, length, (flags & DESC_F_WRITE) !== 0, chain);
      if (problem !== undefined) return problem;
      if ((flags & DESC_F_NEXT) === 0) return undefined;
      index = memory.readU16(descriptor + 14);
    }
    return 'descriptor chain has a loop or is too long';
  }

  #walkIndirect(table: number, bytes: number, flags: number, chain: Chain): string | undefined {
    if (!this.indirect) return 'indirect descriptor without the feature';
    if (this.#indirectTable) return 'indirect table inside an indirect table';
    if (flags & DESC_F_NEXT) return 'indirect descriptor with a successor';
    if (bytes === 0 || bytes % DESC_BYTES !== 0) return `indirect table of ${bytes} bytes`;
    if (this.#owner.memory.view(table, bytes) === undefined) return 'indirect table outside RAM';
    this.#indirectTable = true;
    return this.#walk(table, bytes / DESC_BYTES, 0, chain);
  }

  #addSegment(phys: number, length: number, writable: boolean, chain: Chain): string | undefined {
    if (length === 0) return undefined;
    if (!writable && chain.writable.count > 0) return 'readable buffer after a writable one';
    if (this.#owner.memory.view(phys, length) === undefined) return 'buffer outside RAM';
    if (chain.readLength + chain.writeLength + length > MAX_CHAIN_BYTES) return 'chain of more than 4 GB';
    (writable ? chain.writable : chain.readable).add(phys, length);
    return undefined;
  }
}
