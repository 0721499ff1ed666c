import { describe, expect, it } from 'vitest';
import { MemoryBlock } from '../../../src/host/backends/block.js';
import type { BlockBackend } from '../../../src/host/backends/backend.js';
import { ManualClock } from '../../../src/host/clock.js';
import { VirtioBlk, type VirtioBlkOptions } from '../../../src/host/devices/virtio/blk.js';
import { virtioFuzz } from '../../support/virtio-fuzz.js';
import { type Buffer, virtioRig } from '../../support/virtio-driver.js';

const SECTORS = 64;
const IN = 0;
const OUT = 1;
const FLUSH = 4;
const GET_ID = 8;
const DISCARD = 11;
const WRITE_ZEROES = 13;
const OK = 0;
const IOERR = 1;
const UNSUPP = 2;

const header = (type: number, sector = 0): Buffer => {
  const out = new Uint8Array(16);
  const view = new DataView(out.buffer);
  view.setUint32(0, type, true);
  view.setBigUint64(8, BigInt(sector), true);
  return { out };
};

const range = (sector: number, sectors: number, flags = 0): Buffer => {
  const out = new Uint8Array(16);
  const view = new DataView(out.buffer);
  view.setBigUint64(0, BigInt(sector), true);
  view.setUint32(8, sectors, true);
  view.setUint32(12, flags, true);
  return { out };
};

const pattern = (bytes: number, seed = 1): Uint8Array => Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + seed) & 0xff);

const disk = (options: Partial<VirtioBlkOptions> = {}) => {
  const contents = pattern(512 * SECTORS);
  const backend = options.backend ?? new MemoryBlock(contents);
  const rig = virtioRig(new VirtioBlk({ serial: 'vmlet-0001', ...options, backend }));
  rig.driver.start();
  const [queue] = rig.driver.queues;
  const run = (buffers: Buffer[], indirect = false) => {
    const { data, length } = queue.request([...buffers, { room: 1 }], indirect);
    return { status: data[data.length - 1], data: data.subarray(0, -1), length };
  };
  return { ...rig, queue, contents, run };
};

describe('virtio-blk', () => {
  it('tells its capacity and limits', () => {
    const { driver } = disk();
    expect([driver.config(0, 4), driver.config(4, 4)]).toEqual([SECTORS, 0]);
    expect(driver.config(12, 4)).toBe(254);
    expect(driver.config(20, 4)).toBe(512);
    expect(driver.config(18, 1)).toBe(16);
    expect(driver.offered & (1n << 5n)).toBe(0n);
    expect(driver.offered & (1n << 9n)).toBe(1n << 9n);
    expect(driver.config(58, 4)).toBe(0);
  });

  it('reads into scattered buffers, also by an indirect table', () => {
    const { run, contents } = disk();
    const direct = run([header(IN, 3), { room: 512 }, { room: 1024 }]);
    expect(direct.status).toBe(OK);
    expect(direct.data).toEqual(contents.subarray(3 * 512, 6 * 512));
    expect(direct.length).toBe(1537);
    expect(run([header(IN, 0), { room: 100 }, { room: 412 }], true).data).toEqual(contents.subarray(0, 512));
  });

  it('reads more than its own buffer holds', () => {
    const big = pattern(512 * 1024, 9);
    const { run } = disk({ backend: new MemoryBlock(big.slice()) });
    const { status, data } = run([header(IN), { room: 70_000 }, { room: 130_192 }]);
    expect(status).toBe(OK);
    expect(data).toEqual(big.subarray(0, 200_192));
  });

  it('writes from scattered buffers', () => {
    const { run, contents } = disk();
    const data = pattern(1024, 99);
    expect(run([header(OUT, 10), { out: data.subarray(0, 300) }, { out: data.subarray(300) }]).status).toBe(OK);
    expect(contents.subarray(5120, 6144)).toEqual(data);
    expect(run([header(FLUSH)]).status).toBe(OK);
  });

  it('gives its serial number', () => {
    const { run } = disk();
    expect(new TextDecoder().decode(run([header(GET_ID), { room: 20 }]).data)).toBe(`vmlet-0001${'\0'.repeat(10)}`);
  });

  it('keeps to its bounds', () => {
    const { run } = disk();
    expect(run([header(IN, SECTORS - 1), { room: 512 }]).status).toBe(OK);
    expect(run([header(IN, SECTORS - 1), { room: 1024 }]).status).toBe(IOERR);
    expect(run([header(IN, SECTORS), { room: 512 }]).status).toBe(IOERR);
    expect(run([header(OUT, Number.MAX_SAFE_INTEGER), { out: new Uint8Array(512) }]).status).toBe(IOERR);
    expect(run([header(IN, 0), { room: 511 }]).status).toBe(IOERR);
    expect(run([header(99)]).status).toBe(UNSUPP);
  });

  it('writes zeroes and accepts discards', () => {
    const { run, contents } = disk();
    const kept = contents.slice();
    expect(run([header(DISCARD), range(0, 8)]).status).toBe(OK);
    expect(contents).toEqual(kept);
    expect(run([header(WRITE_ZEROES), range(4, 2, 1), range(8, 1)]).status).toBe(OK);
    expect(contents.subarray(2048, 3072).every(byte => byte === 0)).toBe(true);
    expect(contents.subarray(3072, 4096)).toEqual(kept.subarray(3072, 4096));
    expect(contents.subarray(4096, 4608).every(byte => byte === 0)).toBe(true);
    expect(run([header(WRITE_ZEROES), range(SECTORS - 1, 2)]).status).toBe(IOERR);
    expect(run([header(DISCARD), range(0, 1, 1)]).status).toBe(UNSUPP);
    expect(run([header(WRITE_ZEROES), range(0, 1, 2)]).status).toBe(UNSUPP);
    expect(run([header(WRITE_ZEROES)]).status).toBe(IOERR);
  });

  it('refuses writes to a read-only disk', () => {
    const { run, driver, contents } = disk({ backend: new MemoryBlock(pattern(512 * SECTORS), true) });
    expect(driver.offered & (1n << 5n)).toBe(1n << 5n);
    expect(run([header(OUT), { out: new Uint8Array(512) }]).status).toBe(IOERR);
    expect(run([header(WRITE_ZEROES), range(0, 1)]).status).toBe(UNSUPP);
    expect(run([header(IN), { room: 512 }]).data).toEqual(contents.subarray(0, 512));
  });

  it('turns a failing backend into an I/O error', () => {
    const fail = () => {
      throw new Error('no space left');
    };
    const backend: BlockBackend = { size: 512, readOnly: false, read: fail, write: fail, flush: fail, close: () => {} };
    const { run, rig } = disk({ backend });
    expect(run([header(IN), { room: 512 }]).status).toBe(IOERR);
    expect(run([header(OUT), { out: new Uint8Array(512) }]).status).toBe(IOERR);
    expect(run([header(FLUSH)]).status).toBe(IOERR);
    expect([...rig.log.counts.keys()]).toContain('virtio-blk: disk error: no space left');
  });

  it('needs a reset after a request without a header or status', () => {
    for (const request of [[{ out: new Uint8Array(8) }, { room: 1 }], [header(FLUSH)]]) {
      const { queue, driver } = disk();
      queue.add(request);
      queue.kick();
      expect(driver.status & 0x40).toBe(0x40);
    }
  });

  it('can take virtual time, over a snapshot too', () => {
    const clock = new ManualClock();
    const { queue, device, driver } = disk({ latencyNs: 1000, clock });
    queue.add([header(FLUSH), { room: 1 }]);
    queue.kick();
    clock.advance(400);
    queue.add([header(GET_ID), { room: 20 }, { room: 1 }]);
    queue.kick();
    clock.advance(599);
    expect(queue.completions()).toEqual([]);
    device.restore(structuredClone(device.save()));
    clock.advance(1);
    expect(queue.completions().map(({ length }) => length)).toEqual([1, 21]);
    expect(driver.takeMessages(1)).toBe(1);
    queue.add([header(FLUSH), { room: 1 }]);
    queue.kick();
    driver.status = 0;
    clock.advance(5000);
    expect(queue.completions()).toEqual([]);
  });
});

virtioFuzz('virtio-blk', () => ({ fn: new VirtioBlk({ backend: new MemoryBlock(512 * SECTORS) }) }));
virtioFuzz('virtio-blk with latency', () => {
  const clock = new ManualClock();
  return { fn: new VirtioBlk({ backend: new MemoryBlock(512 * SECTORS), latencyNs: 500, clock }), clock };
});
