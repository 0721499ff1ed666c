import { describe, expect, it } from 'vitest';
import { Prng } from '../../src/host/backends/entropy.js';
import { ManualClock } from '../../src/host/clock.js';
import { decodeEthernet } from '../../src/net/ethernet.js';
import { decodeIpv4 } from '../../src/net/ipv4.js';
import { finishFrame, isSoundOffload, offloadOf, setOffload } from '../../src/net/offload.js';
import { Capture } from '../../src/net/pcap.js';
import { readCapture } from '../../src/net/pcapng.js';
import { Switch } from '../../src/net/switch.js';
import { decodeTcp } from '../../src/net/tcp/segment.js';
import { IpHost } from '../../src/net/ip-host.js';
import { concat } from '../../src/net/bytes.js';
import { ip, mac, pattern } from './support.js';

/** Two hosts on a switch, and all that the second one's socket gave it; `accepts` is what the second one says of unfinished frames. */
const net = (accepts: boolean, impair = {}) => {
  const clock = new ManualClock();
  const hub = new Switch({ clock, random: stream => new Prng(1, stream) });
  const hosts = [1, 2].map(n => new IpHost({ port: hub.connect({ name: `h${n}`, impair: n === 2 ? impair : {} }), clock, random: new Prng(1, `h${n}`), mac: mac(n), address: ip(`10.0.0.${n}`), prefix: 24 }));
  const port = hub.ports[1];
  port.acceptsOffload = accepts;
  const frames: Uint8Array[] = [];
  const inner = port.onFrame!;
  port.onFrame = frame => {
    frames.push(frame);
    inner(frame);
  };
  const received: Uint8Array[] = [];
  hosts[1].tcp.listen(80, incoming => void incoming.accept({ onData: bytes => void received.push(bytes) }));
  const connection = hosts[0].tcp.connect(hosts[0].address, { address: hosts[1].address, port: 80 }, {})!;
  return { clock, hub, frames, received, connection };
};

describe('work that is left on frames', () => {
  it('stays undone between stations that both can deal with it', () => {
    const { clock, frames, received, connection } = net(true);
    clock.advance(1e6);
    const data = pattern(200_000);
    connection.write(data);
    clock.advance(1e9);
    expect(concat(received)).toEqual(data);
    const large = frames.filter(frame => frame.length > 1514);
    expect(large.length).toBeGreaterThan(2);
    expect(large.every(frame => offloadOf(frame)?.segmentBytes === 1460)).toBe(true);
    expect(frames.length).toBeLessThan(60);
  });

  it.each([['a station that cannot', {}], ['an imperfect cable', { bandwidth: 1e9 }]])('is done for %s: whole segments with right checksums', (_, impair) => {
    const { clock, frames, received, connection } = net(Object.keys(impair).length > 0, impair);
    clock.advance(1e6);
    const data = pattern(200_000);
    connection.write(data);
    clock.advance(1e9);
    expect(concat(received)).toEqual(data);
    const ids = new Set<number>();
    for (const frame of frames) {
      expect(offloadOf(frame)).toBeUndefined();
      const ethernet = decodeEthernet(frame)!;
      if (ethernet.type !== 0x0800) continue;
      const packet = decodeIpv4(ethernet.payload)!;
      expect(decodeTcp(packet.payload, packet.src, packet.dst)!.payload.length).toBeLessThanOrEqual(1460);
      ids.add(packet.id);
    }
    expect(ids.size).toBeGreaterThan(130);
  });

  it('is done for captures', () => {
    const parts: Uint8Array[] = [];
    const clock = new ManualClock();
    const capture = new Capture(bytes => void parts.push(bytes.slice()), clock);
    const { hub, connection, clock: other } = net(true);
    hub.onForward = capture.recorder({ name: 'lan' });
    other.advance(1e6);
    connection.write(pattern(50_000));
    other.advance(1e9);
    const { packets } = readCapture(concat(parts));
    expect(packets.length).toBeGreaterThan(35);
    for (const { frame } of packets) expect(frame.length).toBeLessThanOrEqual(1514);
  });

  it('completes a checksum in a copy', () => {
    const frame = new Uint8Array(60);
    frame.set([1, 2, 3], 40);
    setOffload(frame, { csumStart: 20, csumOffset: 6, segmentBytes: 0 });
    const before = frame.slice();
    const [done, ...rest] = finishFrame(frame);
    expect([frame, rest.length, done.length]).toEqual([before, 0, 60]);
    let sum = 0;
    for (let i = 20; i < 60; i += 2) sum += (done[i] << 8) | done[i + 1];
    expect(sum % 0xffff).toBe(0);
  });

  it('is refused when its numbers do not fit', () => {
    const tcp = new Uint8Array(100);
    tcp.set([8, 0, 0x45], 12);
    tcp[23] = 6;
    tcp[46] = 0x50;
    expect(isSoundOffload(tcp, { csumStart: 34, csumOffset: 16, segmentBytes: 1460 })).toBe(true);
    expect(isSoundOffload(tcp, { csumStart: 99, csumOffset: 0, segmentBytes: 0 })).toBe(false);
    expect(isSoundOffload(tcp, { csumStart: 5, csumOffset: 0, segmentBytes: 0 })).toBe(false);
    expect(isSoundOffload(tcp, { csumStart: 34, csumOffset: 6, segmentBytes: 1460 })).toBe(false);
    tcp[46] = 0xf0;
    tcp[47] = 0;
    expect(isSoundOffload(tcp.subarray(0, 80), { csumStart: 34, csumOffset: 16, segmentBytes: 1460 })).toBe(false);
    tcp[23] = 17;
    expect(isSoundOffload(tcp, { csumStart: 34, csumOffset: 16, segmentBytes: 1460 })).toBe(false);
  });
});
