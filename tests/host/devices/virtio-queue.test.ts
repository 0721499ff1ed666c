import { describe, expect, it } from 'vitest';
import { type Chain, VirtQueue } from '../../../src/host/devices/virtio/queue.js';
import { BufferMemory } from '../../../src/host/memory.js';

const DESC = 0x1000;
const AVAIL = 0x2000;
const USED = 0x3000;
const SIZE = 8;
const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

class Harness {
  readonly memory = new BufferMemory(new Uint8Array(0x2_0000));
  readonly broken: string[] = [];
  interrupts = 0;
  readonly queue: VirtQueue;

  constructor(features: { eventIndex?: boolean; indirect?: boolean } = {}) {
    this.queue = new VirtQueue(0, 16, {
      memory: this.memory,
      interrupt: () => void this.interrupts++,
      broken: (_, reason) => void this.broken.push(reason),
    });
    this.queue.size = SIZE;
    this.queue.desc = DESC;
    this.queue.avail = AVAIL;
    this.queue.used = USED;
    this.queue.eventIndex = features.eventIndex ?? false;
    this.queue.indirect = features.indirect ?? true;
    this.queue.enable();
    this.queue.live = true;
  }

  describe(index: number, phys: number | bigint, length: number, flags = 0, next = 0, table = DESC): this {
    const at = table + 16 * index;
    this.memory.writeU64(at, BigInt(phys));
    this.memory.writeU32(at + 8, length);
    this.memory.writeU16(at + 12, flags);
    this.memory.writeU16(at + 14, next);
    return this;
  }

  offer(...heads: number[]): this {
    for (const head of heads) {
      const index = this.memory.readU16(AVAIL + 2);
      this.memory.writeU16(AVAIL + 4 + 2 * (index % SIZE), head);
      this.memory.writeU16(AVAIL + 2, index + 1);
    }
    return this;
  }
}

describe('a split queue', () => {
  it('gathers what the driver wrote and scatters what the device writes', () => {
    const h = new Harness();
    h.memory.write(0x8000, Uint8Array.of(1, 2, 3));
    h.memory.write(0x9000, Uint8Array.of(4, 5));
    h.describe(0, 0x8000, 3, NEXT, 2).describe(2, 0x9000, 2, NEXT, 5).describe(5, 0xa000, 2, WRITE | NEXT, 6).describe(6, 0xb000, 4, WRITE).offer(0);
    const chain = h.queue.pop() as Chain;
    expect([chain.readLength, chain.writeLength]).toEqual([5, 6]);
    const all = new Uint8Array(8);
    expect(chain.read(0, all)).toBe(5);
    expect([...all]).toEqual([1, 2, 3, 4, 5, 0, 0, 0]);
    const tail = new Uint8Array(2);
    expect(chain.read(3, tail)).toBe(2);
    expect([...tail]).toEqual([4, 5]);
    expect(chain.read(1, tail)).toBe(2);
    expect([...tail]).toEqual([2, 3]);
    expect(chain.write(1, Uint8Array.of(7, 8, 9, 10, 11, 12))).toBe(5);
    expect([...h.memory.view(0xa000, 2)!]).toEqual([0, 7]);
    expect([...h.memory.view(0xb000, 4)!]).toEqual([8, 9, 10, 11]);
    h.queue.push(chain, 6);
    h.queue.signal();
    expect(h.memory.readU16(USED + 2)).toBe(1);
    expect([h.memory.readU32(USED + 4), h.memory.readU32(USED + 8)]).toEqual([0, 6]);
    expect(h.interrupts).toBe(1);
    expect(h.queue.pop()).toBeUndefined();
  });

  it('wraps its 16-bit indices', () => {
    const h = new Harness();
    h.describe(3, 0x8000, 4, WRITE);
    for (let i = 0; i < 70_000; i++) {
      h.offer(3);
      h.queue.serve(chain => chain.write(0, Uint8Array.of(i & 0xff)));
    }
    expect(h.broken).toEqual([]);
    expect(h.memory.readU16(USED + 2)).toBe(70_000 & 0xffff);
    expect(h.interrupts).toBe(70_000);
  });

  it('follows indirect tables', () => {
    const h = new Harness();
    h.describe(0, 0x8000, 1, NEXT, 1, 0x5000).describe(1, 0x8001, 4, WRITE, 0, 0x5000);
    h.describe(4, 0x5000, 32, INDIRECT).offer(4);
    const chain = h.queue.pop()!;
    expect([chain.head, chain.readLength, chain.writeLength]).toEqual([4, 1, 4]);
  });

  it('honours the no-interrupt flag', () => {
    const h = new Harness();
    h.memory.writeU16(AVAIL, 1);
    h.describe(0, 0x8000, 4, WRITE).offer(0);
    h.queue.serve(() => 0);
    expect(h.interrupts).toBe(0);
  });

  it('interrupts once past the event index, and asks for the next notification', () => {
    const h = new Harness({ eventIndex: true });
    h.describe(0, 0x8000, 4, WRITE);
    h.memory.writeU16(AVAIL + 4 + 2 * SIZE, 2);
    for (const expected of [0, 0, 1, 1]) {
      h.offer(0);
      h.queue.serve(() => 0);
      expect(h.interrupts).toBe(expected);
    }
    expect(h.memory.readU16(USED + 4 + 8 * SIZE)).toBe(4);
    h.queue.signal();
    expect(h.interrupts).toBe(1);
  });

  it('takes requests back', () => {
    const h = new Harness();
    h.describe(0, 0x8000, 4, WRITE).describe(1, 0x8000, 8, WRITE).offer(0, 1);
    h.queue.unpop([h.queue.pop()!, h.queue.pop()!]);
    expect(h.queue.available).toBe(2);
    expect(h.queue.pop()!.head).toBe(0);
    expect(h.queue.pop()!.head).toBe(1);
  });

  it('saves and restores its place', () => {
    const h = new Harness();
    h.describe(0, 0x8000, 4, WRITE).offer(0, 0, 0);
    h.queue.push(h.queue.pop()!, 0);
    const state = structuredClone(h.queue.save());
    const other = new VirtQueue(0, 16, { memory: h.memory, interrupt: () => {}, broken: () => {} });
    other.restore(state);
    other.live = true;
    expect(other.save()).toEqual(state);
    expect(other.available).toBe(2);
  });
});

describe('a ring that no driver makes', () => {
  const cases: [string, (h: Harness) => void, RegExp][] = [
    ['a chain with a loop', h => h.describe(0, 0x8000, 4, NEXT, 1).describe(1, 0x8000, 4, NEXT, 0).offer(0), /loop/],
    ['a head outside the table', h => h.offer(SIZE), /outside a table/],
    ['a successor outside the table', h => h.describe(0, 0x8000, 4, NEXT, 4000).offer(0), /outside a table/],
    ['a buffer outside RAM', h => h.describe(0, 0x1_fffe, 4).offer(0), /outside RAM/],
    ['a buffer at the end of the address space', h => h.describe(0, 0xffff_ffff_ffff_fff0n, 0x100).offer(0), /outside RAM/],
    ['a huge length', h => h.describe(0, 0x8000, 0xffff_ffff).offer(0), /outside RAM/],
    ['a readable buffer after a writable one', h => h.describe(0, 0x8000, 4, WRITE | NEXT, 1).describe(1, 0x8000, 4).offer(0), /readable/],
    ['an available index far ahead', h => h.memory.writeU16(AVAIL + 2, 0x8000), /ahead/],
    ['an indirect table inside another', h => h.describe(0, 0x5000, 16, INDIRECT).describe(0, 0x6000, 16, INDIRECT, 0, 0x5000).offer(0), /inside/],
    ['an indirect descriptor with a successor', h => h.describe(0, 0x5000, 16, INDIRECT | NEXT, 1).offer(0), /successor/],
    ['an indirect table of odd size', h => h.describe(0, 0x5000, 24, INDIRECT).offer(0), /24 bytes/],
    ['an empty indirect table', h => h.describe(0, 0x5000, 0, INDIRECT).offer(0), /0 bytes/],
    ['an indirect table outside RAM', h => h.describe(0, 0x3_0000, 16, INDIRECT).offer(0), /outside RAM/],
    ['a loop in an indirect table', h => h.describe(0, 0x5000, 16, INDIRECT).describe(0, 0x8000, 1, NEXT, 0, 0x5000).offer(0), /loop/],
  ];

  it.each(cases)('%s stops the queue', (_, prepare, reason) => {
    const h = new Harness();
    prepare(h);
    expect(h.queue.pop()).toBeUndefined();
    expect(h.broken.length).toBe(1);
    expect(h.broken[0]).toMatch(reason);
    expect(h.queue.pop()).toBeUndefined();
    expect(h.broken.length).toBe(1);
  });

  it('an indirect table without the feature stops the queue', () => {
    const h = new Harness({ indirect: false });
    h.describe(0, 0x5000, 16, INDIRECT).offer(0);
    expect(h.queue.pop()).toBeUndefined();
    expect(h.broken).toEqual(['indirect descriptor without the feature']);
  });

  it('misaligned rings are reported', () => {
    const h = new Harness();
    h.queue.desc = DESC + 8;
    h.queue.enable();
    expect(h.broken.length).toBe(1);
  });

  it('a used ring on top of the available ring ends', () => {
    const h = new Harness();
    h.queue.used = AVAIL;
    h.describe(0, AVAIL, 64, WRITE).offer(0);
    h.queue.serve(chain => chain.write(0, new Uint8Array(64).fill(7)));
    expect(h.interrupts).toBeLessThan(2);
  });
});
