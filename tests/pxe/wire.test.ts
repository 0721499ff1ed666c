import { describe, expect, it } from 'vitest';
import type { IpHost } from '../../src/net/ip-host.js';
import { WireHost, type WireStation } from '../../src/pxe/wire.js';

type Sent = Parameters<WireStation['sendUdp']>[0];

/** A station of src/net is one for us: a matter of types. */
export const accepts = (host: IpHost): WireStation => host;

describe('WireHost', () => {
  it('binds, sends by address and hardware address, hears and closes', () => {
    const handlers = new Map<number, Parameters<WireStation['bindUdp']>[1]>();
    const sent: Sent[] = [];
    const host = new WireHost({
      address: 0x0a000001,
      hasUdp: port => handlers.has(port),
      bindUdp: (port, handler) => (handlers.set(port, handler), () => void handlers.delete(port)),
      sendUdp: send => sent.push(send) > 0,
    });
    expect(host.address).toBe('10.0.0.1');
    const endpoint = host.bind(67);
    expect(() => host.bind(67)).toThrow(/67 of 10\.0\.0\.1 is taken/);
    const heard: unknown[] = [];
    endpoint.onMessage = (from, bytes) => heard.push([from, bytes]);
    handlers.get(67)!({ src: 0x0a000002, srcPort: 68, payload: Uint8Array.of(1) });
    expect(heard).toEqual([[{ address: '10.0.0.2', port: 68 }, Uint8Array.of(1)]]);
    endpoint.send({ address: '10.0.0.9', port: 68 }, Uint8Array.of(2), '52:54:00:12:34:56');
    expect(sent).toEqual([{ srcPort: 67, dst: 0x0a000009, dstPort: 68, payload: Uint8Array.of(2), dstMac: Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56) }]);
    endpoint.close();
    expect(handlers.size).toBe(0);
    host.bind(0);
    host.bind(0);
    expect([...handlers.keys()]).toEqual([49152, 49153]);
  });
});
