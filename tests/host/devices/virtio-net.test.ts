import { describe, expect, it } from 'vitest';
import { VmletError } from '../../../src/errors.js';
import { framePair, LoopbackPort } from '../../../src/host/backends/frame.js';
import { VirtioNet } from '../../../src/host/devices/virtio/net.js';
import { addWords, checksum, finishChecksum, pseudoHeaderSum } from '../../../src/net/checksum.js';
import { decodeEthernet, encodeEthernet } from '../../../src/net/ethernet.js';
import { decodeIpv4, encodeIpv4 } from '../../../src/net/ipv4.js';
import { offloadOf, setOffload } from '../../../src/net/offload.js';
import { decodeTcp, encodeTcp, NO_OPTIONS } from '../../../src/net/tcp/segment.js';
import { virtioFuzz } from '../../support/virtio-fuzz.js';
import { concat, virtioRig } from '../../support/virtio-driver.js';

const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
const BROADCAST = new Uint8Array(6).fill(0xff);
const MRG_RXBUF = 1n << 15n;
const GUEST_CSUM = 1n << 1n;
const GUEST_TSO4 = 1n << 7n;
const GUEST_TSO6 = 1n << 8n;
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
  return { ...rig, fn, port, wire, sent, queues, post, command, received };
};

const payload = (bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + (i >>> 8)) & 0xff);

/** Where TCP begins behind Ethernet and IPv4. */
const TCP_AT = 34;

/** A TCP frame whose checksum is the sum of its pseudo-header, of any length. */
const large = (bytes: Uint8Array): Uint8Array => {
  const [src, dst] = [0x0a000001, 0x0a000002];
  const tcp = encodeTcp({ srcPort: 1, dstPort: 2, seq: 1000, ack: 6, flags: 0x18, window: 7, urgent: 0, options: NO_OPTIONS, payload: bytes }, src, dst, 0, true);
  expect((tcp[16] << 8) | tcp[17]).toBe(~finishChecksum(pseudoHeaderSum(src, dst, 6, tcp.length)) & 0xffff);
  const packet = { src, dst, protocol: 6, ttl: 64, id: 7, tos: 0, dontFragment: true, moreFragments: false, fragmentOffset: 0, options: new Uint8Array(0), payload: tcp };
  return encodeEthernet({ dst: MAC, src: frame(MAC).subarray(6, 12), tags: [], type: 0x0800, payload: encodeIpv4(packet) });
};

/** The segment of a complete frame; checks both checksums. */
const wholeSegment = (bytes: Uint8Array) => {
  const { payload: packet } = decodeEthernet(bytes)!;
  expect(checksum(packet, 0, 20)).toBe(0);
  const { src, dst, payload: segment } = decodeIpv4(packet)!;
  return decodeTcp(segment, src, dst)!;
};

/** struct virtio_net_hdr of a driver that leaves work to the card. */
const netHeader = ({ flags = 1, segmentBytes = 0, gso = segmentBytes > 0 ? 1 : 0, csumStart = TCP_AT, csumOffset = 16 }: { flags?: number; segmentBytes?: number; gso?: number; csumStart?: number; csumOffset?: number }): Uint8Array => {
  const header = new Uint8Array(HEADER);
  const view = new DataView(header.buffer);
  header[0] = flags;
  header[1] = gso;
  [54, segmentBytes, csumStart, csumOffset].forEach((word, i) => view.setUint16(2 + 2 * i, word, true));
  return header;
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

  it('has checksums completed and large segments cut for a wire that takes whole frames only', () => {
    const { queues, sent, rig } = setup();
    const data = payload(5000);
    queues[TX].request([{ out: netHeader({ segmentBytes: 1460 }) }, { out: large(data) }]);
    queues[TX].request([{ out: netHeader({}) }, { out: large(data.subarray(0, 333)) }]);
    expect(sent.map(({ length }) => length - TCP_AT - 20)).toEqual([1460, 1460, 1460, 620, 333]);
    const segments = sent.map(wholeSegment);
    expect(segments.map(({ seq }) => seq)).toEqual([1000, 2460, 3920, 5380, 1000]);
    expect(segments.map(({ flags }) => flags)).toEqual([0x10, 0x10, 0x10, 0x18, 0x18]);
    expect(concat(segments.slice(0, 4).map(one => one.payload))).toEqual(data);
    expect(segments[4].payload).toEqual(data.subarray(0, 333));
    expect(sent.slice(0, 4).map(one => decodeIpv4(decodeEthernet(one)!.payload)!.id)).toEqual([7, 8, 9, 10]);
    expect(rig.log.counts.size).toBe(0);
  });

  it('leaves that work on the frame for a wire that carries it', () => {
    const { queues, sent, port } = setup();
    Object.defineProperty(port, 'carriesOffload', { value: true });
    queues[TX].request([{ out: concat([netHeader({ segmentBytes: 1460 }), large(payload(60_000))]) }]);
    expect(sent).toEqual([large(payload(60_000))]);
    expect(offloadOf(sent[0])).toEqual({ csumStart: TCP_AT, csumOffset: 16, segmentBytes: 1460 });
  });

  it('cuts IPv6 as well', () => {
    const { queues, sent } = setup();
    const tcp = encodeTcp({ srcPort: 1, dstPort: 2, seq: 5, ack: 6, flags: 0x10, window: 7, urgent: 0, options: NO_OPTIONS, payload: payload(3000) }, 0, 0, 0, true);
    const packet = new Uint8Array(40 + tcp.length);
    packet.set([0x60, 0, 0, 0, tcp.length >>> 8, tcp.length & 255, 6, 64]);
    packet.set(Uint8Array.from({ length: 32 }, (_, i) => i + 1), 8);
    packet.set(tcp, 40);
    const whole = encodeEthernet({ dst: MAC, src: frame(MAC).subarray(6, 12), tags: [], type: 0x86dd, payload: packet });
    queues[TX].request([{ out: netHeader({ segmentBytes: 1440, gso: 4, csumStart: 54 }) }, { out: whole }]);
    expect(sent.map(({ length }) => length - 74)).toEqual([1440, 1440, 120]);
    for (const one of sent) {
      const segment = one.subarray(54);
      expect((one[18] << 8) | one[19]).toBe(segment.length);
      expect(finishChecksum(addWords(6 + segment.length, one, 22))).toBe(0);
    }
  });

  it.each([
    ['segmentation without a checksum', { flags: 0, segmentBytes: 1460 }],
    ['an unknown kind of segmentation', { gso: 3, segmentBytes: 1460 }],
    ['tiny segments', { segmentBytes: 3 }],
    ['IPv6 segmentation of IPv4', { gso: 4, segmentBytes: 1460 }],
    ['a checksum outside the frame', { csumStart: 60_000 }],
    ['a checksum field outside the frame', { csumOffset: 60_000 }],
    ['a transport header within the network header', { csumStart: 20, segmentBytes: 1460 }],
  ])('refuses %s', (_, numbers) => {
    const { queues, sent, rig } = setup();
    queues[TX].request([{ out: netHeader(numbers) }, { out: large(payload(5000)) }]);
    expect(sent).toEqual([]);
    expect(rig.log.counts.size).toBe(1);
    queues[TX].request([{ out: netHeader({ segmentBytes: 1460 }) }, { out: large(payload(100)) }]);
    expect(sent).toHaveLength(1);
  });

  it('hands a large frame to the driver as it is, with its work, in merged buffers', () => {
    const { wire, port, post, received } = setup();
    expect(port.acceptsOffload).toBe(true);
    const data = large(payload(60_000));
    post(20, 4096);
    wire.send(setOffload(data, { csumStart: TCP_AT, csumOffset: 16, segmentBytes: 1448 }));
    const pieces = received();
    expect(pieces).toHaveLength(Math.ceil((HEADER + data.length) / 4096));
    expect([...pieces[0].subarray(0, HEADER)]).toEqual([1, 1, TCP_AT + 20, 0, 1448 & 255, 1448 >>> 8, TCP_AT, 0, 16, 0, pieces.length, 0]);
    expect(concat(pieces).subarray(HEADER)).toEqual(data);
    const small = large(payload(10));
    wire.send(setOffload(small, { csumStart: TCP_AT, csumOffset: 16, segmentBytes: 0 }));
    const [got] = received();
    expect([...got.subarray(0, HEADER)]).toEqual([1, 0, 0, 0, 0, 0, TCP_AT, 0, 16, 0, 1, 0]);
    wire.send(frame(MAC));
    expect([...received()[0].subarray(0, HEADER)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
  });

  it.each([['checksums', GUEST_CSUM], ['IPv4 segments', GUEST_TSO4], ['IPv6 segments', GUEST_TSO6], ['merged buffers', MRG_RXBUF]])('takes whole frames only from the wire for a driver that leaves out %s', (_, without) => {
    const { port, driver } = setup(without);
    expect(port.acceptsOffload).toBe(false);
    driver.start();
    expect(port.acceptsOffload).toBe(true);
    driver.status = 0;
    expect(port.acceptsOffload).toBe(false);
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
