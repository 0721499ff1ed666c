import { expect, it } from 'vitest';
import { udpPorts } from '../../src/net/udp-ports.js';
import type { UdpHost } from '../../src/pxe/endpoint.js';
import { ip, TestNet, textOf, bytesOf } from './support.js';

it('gives services their ports', () => {
  const net = new TestNet();
  const server = net.host();
  const client = net.host();
  const ports: UdpHost = udpPorts(server);
  expect(ports.address).toBe('10.0.0.1');
  const port = ports.bind(69);
  expect(() => ports.bind(69)).toThrow('UDP port 69 of 10.0.0.1 is taken');
  const fresh = ports.bind(0);
  const seen: string[] = [];
  port.onMessage = (from, bytes) => {
    seen.push(`${from.address}:${from.port} ${textOf(bytes)}`);
    fresh.send(from, bytesOf('data'));
    fresh.send({ address: '10.0.0.99', port: 68 }, bytesOf('offer'), '52:54:00:12:34:02');
    fresh.send({ address: 'nonsense', port: 68 }, bytesOf('x'));
  };
  const replies: string[] = [];
  client.bindUdp(1000, ({ payload }) => void replies.push(textOf(payload)));
  client.bindUdp(68, ({ payload }) => void replies.push(textOf(payload)));
  client.aliases.add(ip('10.0.0.99'));
  client.sendUdp({ srcPort: 1000, dst: server.address, dstPort: 69, payload: bytesOf('read') });
  expect(seen).toEqual(['10.0.0.2:1000 read']);
  expect(replies).toEqual(['data', 'offer']);
  port.close();
  expect(() => ports.bind(69)).not.toThrow();
});
