import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../src/host/clock.js';
import { Prng } from '../../src/host/backends/entropy.js';
import { framePair } from '../../src/host/backends/frame.js';
import { VirtioNet } from '../../src/host/devices/virtio/net.js';
import { impaired, type Impairment } from '../../src/net/impair.js';
import { Switch, type SwitchPort } from '../../src/net/switch.js';
import { TimerQueue } from '../../src/net/timers.js';
import { mac } from './support.js';

const frame = (dst: number, src: number, size = 60, tag = 0): Uint8Array => {
  const bytes = new Uint8Array(size);
  bytes.set(dst === 255 ? new Uint8Array(6).fill(255) : mac(dst), 0);
  bytes.set(mac(src), 6);
  bytes.set([0x08, 0x00, tag], 12);
  return bytes;
};

interface Station {
  port: SwitchPort;
  received: Uint8Array[];
}

const station = (owner: Switch, options: Parameters<Switch['connect']>[0] = {}): Station => {
  const port = owner.connect(options);
  const received: Uint8Array[] = [];
  port.onFrame = bytes => void received.push(bytes);
  return { port, received };
};

const counts = (...stations: Station[]): number[] => stations.map(({ received }) => received.splice(0).length);

describe('Switch', () => {
  it('floods what it does not know, learns, and then sends to one port', () => {
    const hub = new Switch({ clock: new ManualClock() });
    const [a, b, c] = [station(hub), station(hub), station(hub)];
    a.port.send(frame(2, 1));
    expect(counts(a, b, c)).toEqual([0, 1, 1]);
    b.port.send(frame(1, 2));
    expect(counts(a, b, c)).toEqual([1, 0, 0]);
    a.port.send(frame(2, 1));
    expect(counts(a, b, c)).toEqual([0, 1, 0]);
    c.port.send(frame(255, 3));
    expect(counts(a, b, c)).toEqual([1, 1, 0]);
    expect(a.port.stats).toMatchObject({ framesIn: 2, bytesIn: 120, framesOut: 2, flooded: 1 });
    expect(hub.stations().map(({ port }) => port)).toEqual(['switch.0', 'switch.1', 'switch.2']);
  });

  it('follows a station that moves, and keeps frames to itself off the wire', () => {
    const hub = new Switch({ clock: new ManualClock() });
    const [a, b, c] = [station(hub), station(hub), station(hub)];
    a.port.send(frame(255, 1));
    b.port.send(frame(255, 1));
    counts(a, b, c);
    c.port.send(frame(1, 3));
    expect(counts(a, b, c)).toEqual([0, 1, 0]);
    b.port.send(frame(1, 2));
    expect(counts(a, b, c)).toEqual([0, 0, 0]);
  });

  it('forgets on virtual time', () => {
    const clock = new ManualClock();
    const hub = new Switch({ clock, ageNs: 1000 });
    const [a, b, c] = [station(hub), station(hub), station(hub)];
    a.port.send(frame(255, 1));
    clock.advance(999);
    counts(a, b, c);
    b.port.send(frame(1, 2));
    expect(counts(a, b, c)).toEqual([1, 0, 0]);
    clock.advance(1);
    b.port.send(frame(1, 2));
    expect(counts(a, b, c)).toEqual([1, 0, 1]);
  });

  it('bounds its table, and the addresses of a port', () => {
    const clock = new ManualClock();
    const hub = new Switch({ clock, tableSize: 10, ageNs: 1000 });
    const a = station(hub, { macLimit: 3 });
    const b = station(hub);
    for (let i = 0; i < 20; i++) a.port.send(frame(255, i));
    expect(counts(b)).toEqual([3]);
    expect(a.port.stats.overMacLimit).toBe(17);
    clock.advance(1001);
    a.port.send(frame(255, 100));
    expect(counts(b)).toEqual([1]);
    for (let i = 0; i < 20; i++) b.port.send(frame(255, i));
    expect(hub.stations()).toHaveLength(10);
  });

  it('passes VLAN tags through, and drops what is no frame or not to be forwarded', () => {
    const hub = new Switch({ clock: new ManualClock() });
    const [a, b] = [station(hub), station(hub)];
    const tagged = frame(255, 1);
    tagged.set([0x81, 0x00, 0x00, 0x05], 12);
    a.port.send(tagged);
    expect(b.received[0]).toEqual(tagged);
    counts(b);
    a.port.send(new Uint8Array(13));
    a.port.send(new Uint8Array(70_000));
    const fromGroup = frame(255, 1);
    fromGroup[6] |= 1;
    a.port.send(fromGroup);
    const spanningTree = frame(255, 1);
    spanningTree.set([0x01, 0x80, 0xc2, 0, 0, 0], 0);
    a.port.send(spanningTree);
    expect(counts(b)).toEqual([0]);
    expect(a.port.stats.dropped).toBe(4);
  });

  it('carries nothing over a pulled cable or a removed port', () => {
    const hub = new Switch({ clock: new ManualClock() });
    const [a, b] = [station(hub), station(hub)];
    a.port.linkUp = false;
    a.port.send(frame(255, 1));
    b.port.send(frame(255, 2));
    expect(counts(a, b)).toEqual([0, 0]);
    a.port.linkUp = true;
    a.port.send(frame(255, 1));
    expect(counts(a, b)).toEqual([0, 1]);
    hub.disconnect(a.port);
    expect(hub.stations().map(({ port }) => port)).toEqual(['switch.1']);
  });

  it('does not nest stations that answer at once', () => {
    const hub = new Switch({ clock: new ManualClock() });
    const a = hub.connect();
    const b = hub.connect();
    let depth = 0;
    let deepest = 0;
    let left = 5000;
    for (const [port, self, peer] of [[a, 1, 2], [b, 2, 1]] as const) {
      port.onFrame = () => {
        deepest = Math.max(deepest, ++depth);
        if (left-- > 0) port.send(frame(peer, self));
        depth--;
      };
    }
    a.send(frame(2, 1));
    expect(left).toBeLessThan(0);
    expect(deepest).toBe(1);
  });

  it('joins switches, but never in a loop', () => {
    const clock = new ManualClock();
    const [one, two, three] = ['one', 'two', 'three'].map(name => new Switch({ name, clock }));
    Switch.link(one, two);
    Switch.link(two, three);
    const a = station(one);
    const b = station(three);
    a.port.send(frame(255, 1));
    b.port.send(frame(1, 2));
    expect(counts(a, b)).toEqual([1, 1]);
    expect(() => Switch.link(three, one)).toThrow('would close a loop');
    expect(() => Switch.link(one, one)).toThrow('would close a loop');
  });

  it('takes a virtio card', () => {
    const hub = new Switch({ clock: new ManualClock() });
    expect(() => new VirtioNet({ mac: mac(1), port: hub.connect() })).not.toThrow();
  });
});

describe('impaired links', () => {
  const run = (seed: number, impair: Impairment, frames = 1000): { order: number[]; times: number[]; link: SwitchPort['link'] } => {
    const clock = new ManualClock();
    const hub = new Switch({ clock, random: stream => new Prng(seed, stream) });
    const a = hub.connect({ impair: { up: impair } });
    const b = hub.connect();
    const order: number[] = [];
    const times: number[] = [];
    b.onFrame = bytes => {
      order.push((bytes[20] << 8) | bytes[21]);
      times.push(clock.now);
    };
    for (let i = 0; i < frames; i++) {
      const bytes = frame(2, 1, 100);
      bytes.set([i >>> 8, i & 255], 20);
      a.send(bytes);
      clock.advance(10_000);
    }
    clock.advance(10e9);
    return { order, times, link: a.link };
  };

  it('lose, double and reorder by chance, the same for the same seed', () => {
    const impair = { loss: 0.1, duplicate: 0.05, reorder: 0.1, reorderNs: 50_000, delayNs: 100_000, jitterNs: 20_000 };
    const first = run(1, impair);
    expect(run(1, impair)).toEqual(first);
    expect(run(2, impair).order).not.toEqual(first.order);
    const { up } = first.link;
    expect(up.lost).toBeGreaterThan(50);
    expect(up.lost).toBeLessThan(150);
    expect(up.duplicated).toBeGreaterThan(20);
    expect(up.reordered).toBeGreaterThan(50);
    expect(up.delivered).toBe(1000 - up.lost + up.duplicated);
    expect(first.order.some((number, i) => i > 0 && number < first.order[i - 1])).toBe(true);
  });

  it('keep the order under jitter alone, and delay by what was asked', () => {
    const { order, times } = run(3, { delayNs: 100_000, jitterNs: 50_000 });
    expect(order).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    times.forEach((at, i) => {
      expect(at - i * 10_000).toBeGreaterThanOrEqual(50_000);
      expect(at - i * 10_000).toBeLessThanOrEqual(150_000);
    });
  });

  it('pace frames to the bandwidth, and lose what the queue does not hold', () => {
    const paced = run(4, { bandwidth: 40e6 }, 100);
    expect(paced.link.up.overflowed).toBe(0);
    expect(paced.times[99]).toBe(100 * 20_000);
    const short = run(4, { bandwidth: 40e6, queueBytes: 1000 }, 100);
    expect(short.link.up.overflowed).toBeGreaterThan(30);
    expect(short.link.up.delivered + short.link.up.overflowed).toBe(100);
  });

  it('leave other cables their numbers when one more is impaired', () => {
    const deliveries = (extra: boolean): number[] => {
      const hub = new Switch({ clock: new ManualClock(), random: stream => new Prng(9, stream) });
      const a = hub.connect({ name: 'a', impair: { loss: 0.5 } });
      const b = hub.connect({ name: 'b' });
      const c = hub.connect({ name: 'c', ...(extra ? { impair: { loss: 0.5 } } : {}) });
      c.onFrame = () => {};
      const seen: number[] = [];
      b.onFrame = bytes => void seen.push(bytes[14]);
      for (let i = 0; i < 100; i++) a.send(frame(255, 1, 60, i));
      return seen;
    };
    expect(deliveries(true)).toEqual(deliveries(false));
  });

  it('can be put before any port and changed at run time', () => {
    const clock = new ManualClock();
    const [near, far] = framePair();
    const cable = impaired(near, {}, { clock, random: new Prng(1) });
    let received = 0;
    far.onFrame = () => void received++;
    cable.send(frame(1, 2));
    cable.up.impairment = { loss: 1 };
    cable.send(frame(1, 2));
    expect(received).toBe(1);
    let back = 0;
    cable.onFrame = () => void back++;
    far.send(frame(2, 1));
    expect(back).toBe(1);
  });

  it('refuse numbers that mean nothing', () => {
    const hub = new Switch({ clock: new ManualClock() });
    expect(() => hub.connect({ impair: { loss: 2 } })).toThrow('loss');
    expect(() => hub.connect({ impair: { delayNs: -1 } })).toThrow('delayNs');
    expect(() => hub.connect({ impair: { bandwidth: 0 } })).toThrow('bandwidth');
    expect(() => hub.connect({ impair: { loss: 0.1 } })).toThrow('random numbers');
  });
});

describe('TimerQueue', () => {
  it('fires in order, at the time, and takes only one timer of the clock', () => {
    const clock = new ManualClock();
    let timers = 0;
    const make = clock.timer.bind(clock);
    clock.timer = callback => {
      timers++;
      return make(callback);
    };
    const queue = new TimerQueue(clock);
    const fired: string[] = [];
    const random = new Prng(5);
    const expected: [number, number][] = [];
    for (let i = 0; i < 200; i++) {
      const at = random.below(50);
      expected.push([at, i]);
      queue.timer(() => fired.push(`${clock.now}/${i}`)).arm(at);
    }
    clock.advance(100);
    expect(fired).toEqual(expected.sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([at, i]) => `${at}/${i}`));
    expect(timers).toBe(1);
  });

  it('moves, disarms and re-arms', () => {
    const clock = new ManualClock();
    const queue = new TimerQueue(clock);
    const fired: number[] = [];
    const timer = queue.timer(() => fired.push(clock.now));
    timer.arm(10);
    timer.arm(30);
    clock.advance(20);
    expect(fired).toEqual([]);
    timer.arm(25);
    clock.advance(100);
    expect(fired).toEqual([25]);
    timer.arm(200);
    timer.disarm();
    clock.advance(100);
    expect(fired).toEqual([25]);
    const again = queue.timer(() => {
      fired.push(clock.now);
      if (fired.length < 4) again.arm(clock.now + 5);
    });
    again.arm(clock.now);
    clock.advance(100);
    expect(fired).toEqual([25, 220, 225, 230]);
  });
});
