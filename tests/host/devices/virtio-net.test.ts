import { describe, expect, it } from 'vitest';
import { VmletError } from '../../../src/errors.js';
import { framePair, LoopbackPort } from '../../../src/host/backends/frame.js';
import { VirtioNet } from '../../../src/host/devices/virtio/net.js';
import { virtioFuzz } from '../../support/virtio-fuzz.js';
import { concat, virtioRig } from '../../support/virtio-driver.js';

const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
const BROADCAST = new Uint8Array(6).fill(0xff);
const MRG_RXBUF = 1n << 15n;
const HEADER = 12;
const RX = 0;
const TX = 1;
const CTRL = 2;

const frame = (to: Uint8Array, bytes = 60): Uint8Array => {
  const made = Uint8Array.from({ length: bytes }, (_, i) => (i * 3) & 0xff);
  made.set(to);
  made.set([0x02, 0, 0, 0, 0, 1], 6);
  return made;
};

const setup = (without = 0n) => {
  const [port, wire] = framePair();
  const sent: Uint8Array[] = [];
  wire.onFrame = data => sent.push(data);
  const fn = new VirtioNet({ mac: MAC, port });
  const rig = virtioRig(fn);
  rig.driver.start({ without });
  const { queues } = rig.driver;
  const post = (count: number, room: number) => {
    for (let i = 0; i < count; i++) queues[RX].add([{ room }]);
    queues[RX].kick();
  };
  const command = (...request: number[]) => queues[CTRL].request([{ out: Uint8Array.from(request.slice(0, 2)) }, { out: Uint8Array.from(request.slice(2)) }, { room: 1 }]).data[0];
  const received = () => queues[RX].completions().map(({ data, length }) => data.subarray(0, length));
  return { ...rig, fn, wire, sent, queues, post, command, received };
};

describe('virtio-net', () => {
  it('tells its address and link', () => {
    const { driver, fn } = setup();
    expect([0, 1, 2, 3, 4, 5].map(i => driver.config(i, 1))).toEqual([...MAC]);
    expect(driver.config(6, 2)).toBe(1);
    fn.setLink(false);
    expect(driver.config(6, 2)).toBe(0);
    expect(driver.takeMessages(0)).toBe(1);
  });

  it('sends frames without the header', () => {
    const { queues, sent } = setup();
    const data = frame(BROADCAST, 1514);
    queues[TX].request([{ out: new Uint8Array(HEADER) }, { out: data.subarray(0, 100) }, { out: data.subarray(100) }]);
    queues[TX].request([{ out: concat([new Uint8Array(HEADER), frame(MAC)]) }]);
    expect(sent).toEqual([data, frame(MAC)]);
  });

  it('refuses frames that are too short or too long', () => {
    const { queues, sent, rig } = setup();
    queues[TX].request([{ out: new Uint8Array(HEADER + 13) }]);
    queues[TX].request([{ out: new Uint8Array(5) }]);
    queues[TX].request([{ out: new Uint8Array(HEADER + 65_551) }]);
    expect(sent).toEqual([]);
    expect(rig.log.counts.size).toBe(1);
  });

  it('receives into one buffer', () => {
    const { wire, post, received, driver } = setup();
    post(2, 2048);
    wire.send(frame(MAC, 1514));
    const [got] = received();
    expect(got.subarray(0, HEADER)).toEqual(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    expect(got.subarray(HEADER)).toEqual(frame(MAC, 1514));
    expect(driver.takeMessages(1)).toBe(1);
  });

  it('merges receive buffers', () => {
    const { wire, post, received } = setup();
    post(1, 600);
    wire.send(frame(MAC, 1514));
    expect(received()).toEqual([]);
    post(2, 600);
    const pieces = received();
    expect(pieces.map(({ length }) => length)).toEqual([600, 600, 326]);
    expect(pieces[0][10]).toBe(3);
    expect(concat(pieces).subarray(HEADER)).toEqual(frame(MAC, 1514));
  });

  it('drops a frame that does not fit where buffers are not merged', () => {
    const { wire, post, received, rig } = setup(MRG_RXBUF);
    post(2, 600);
    wire.send(frame(MAC, 1514));
    wire.send(frame(MAC, 64));
    expect(received().map(({ length }) => length)).toEqual([0, HEADER + 64]);
    expect(rig.log.counts.size).toBe(1);
  });

  it('keeps frames until there are buffers, in order', () => {
    const { wire, post, received } = setup();
    for (let i = 0; i < 5; i++) wire.send(frame(MAC, 60 + i));
    expect(received()).toEqual([]);
    post(3, 2048);
    expect(received().map(({ length }) => length - HEADER)).toEqual([60, 61, 62]);
    post(3, 2048);
    expect(received().map(({ length }) => length - HEADER)).toEqual([63, 64]);
  });

  it('filters by address once told to', () => {
    const { wire, post, received, command } = setup();
    const other = Uint8Array.of(0x52, 0x54, 0, 0, 0, 9);
    const group = Uint8Array.of(0x33, 0x33, 0, 0, 0, 1);
    post(64, 2048);
    const reaches = (...to: Uint8Array[]) => {
      for (const address of to) wire.send(frame(address));
      return received().length;
    };
    expect(reaches(other, group, MAC, BROADCAST)).toBe(4);
    expect(command(0, 0, 0)).toBe(0);
    expect(reaches(other, group)).toBe(0);
    expect(reaches(MAC, BROADCAST)).toBe(2);
    expect(command(0, 1, 1)).toBe(0);
    expect(reaches(other, group)).toBe(1);
    expect(command(0, 1, 0)).toBe(0);
    expect(command(1, 0, 1, 0, 0, 0, ...other, 1, 0, 0, 0, ...group)).toBe(0);
    expect(reaches(other, group)).toBe(2);
    expect(command(1, 0, 0, 0, 0, 0, 0, 0, 0, 0)).toBe(0);
    expect(reaches(other, group)).toBe(0);
    expect(command(1, 1, ...other)).toBe(0);
    expect(reaches(other)).toBe(1);
    expect(command(1, 0, 9, 0, 0, 0)).toBe(1);
    expect(command(0, 9, 0)).toBe(1);
    expect(command(7, 0, 0)).toBe(1);
  });

  it('hears and says nothing with the cable out', () => {
    const { wire, post, received, fn, queues, sent } = setup();
    post(4, 2048);
    fn.setLink(false);
    wire.send(frame(MAC));
    queues[TX].request([{ out: concat([new Uint8Array(HEADER), frame(BROADCAST)]) }]);
    expect([received().length, sent.length]).toEqual([0, 0]);
  });

  it('meets itself on a loopback', () => {
    const { driver } = virtioRig(new VirtioNet({ mac: MAC, port: new LoopbackPort() }));
    driver.start();
    driver.queues[RX].add([{ room: 2048 }]);
    driver.queues[RX].kick();
    driver.queues[TX].request([{ out: concat([new Uint8Array(HEADER), frame(MAC, 99)]) }]);
    expect(driver.queues[RX].completions()[0].data.subarray(HEADER, HEADER + 99)).toEqual(frame(MAC, 99));
  });

  it('restores filters and frames that wait', () => {
    const { wire, device, driver, post, received, command, rig } = setup();
    command(0, 0, 0);
    wire.send(frame(MAC, 77));
    const state = structuredClone(device.save());
    const memory = rig.memory.view(0, rig.memory.size)!.slice();
    driver.status = 0;
    rig.memory.write(0, memory);
    device.restore(state);
    expect(device.save()).toEqual(state);
    post(1, 2048);
    expect(received().map(({ length }) => length)).toEqual([HEADER + 77]);
  });

  it('wants an address of six bytes', () => {
    expect(() => new VirtioNet({ mac: new Uint8Array(5), port: new LoopbackPort() })).toThrow(VmletError);
  });
});

virtioFuzz('virtio-net', () => {
  const [port, wire] = framePair();
  return { fn: new VirtioNet({ mac: MAC, port }), poke: random => wire.send(new Uint8Array(random.below(3000))) };
});
virtioFuzz('virtio-net on a loopback', () => ({ fn: new VirtioNet({ mac: MAC, port: new LoopbackPort() }) }));
