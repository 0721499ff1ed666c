// The gateway's IPv6: a link-local address, and the answer that there is no router.
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../src/host/clock.js';
import { Prng } from '../../src/host/backends/entropy.js';
import { concat } from '../../src/net/bytes.js';
import { decodeEthernet, encodeEthernet, ETHERTYPE_IPV6 } from '../../src/net/ethernet.js';
import { Gateway } from '../../src/net/gateway.js';
import {
  ALL_NODES, ALL_ROUTERS, decodeIcmpv6, decodeIpv6, decodeNdpOptions, encodeIcmpv6, encodeIpv6, ICMPV6_ECHO, ICMPV6_ECHO_REPLY, type Icmpv6Message, type Ipv6, IPV6_ANY, type Ipv6Packet, linkLocal,
  multicastMacIpv6, NEIGHBOR_ADVERTISEMENT, NEIGHBOR_SOLICITATION, NEXT_ICMPV6, ROUTER_SOLICITATION, solicitedNode,
} from '../../src/net/ipv6.js';
import { bytesOf, hex, mac } from './support.js';

// Worked out with Python's struct and socket modules.
const SOLICITATION = hex('60000000 0010 3a ff fe80000000000000505400fffe12340f ff020000000000000000000000000002 85007243 00000000 010152540012340f');
const ADVERTISEMENT = hex('60000000 0018 3a ff fe8000000000000050550afffe000202 fe80000000000000505400fffe12340f 86003e86 00 00 0000 00000000 00000000 010152550a000202');
const GUEST_MAC = mac(15);
const GUEST = linkLocal(GUEST_MAC);

class Lab {
  readonly port = { onFrame: undefined as ((frame: Uint8Array) => void) | undefined, send: (frame: Uint8Array) => void this.sent.push(frame) };
  readonly sent: Uint8Array[] = [];
  readonly gateway: Gateway;

  constructor() {
    this.gateway = new Gateway({ port: this.port, clock: new ManualClock(), random: new Prng(1, 'gateway') });
  }

  /** What the gateway answers. */
  ask(payload: Uint8Array, dstMac = multicastMacIpv6(payload.subarray(24, 40))): { dst: Uint8Array; payload: Uint8Array; packet: Ipv6Packet; message: Icmpv6Message }[] {
    this.sent.length = 0;
    this.port.onFrame?.(encodeEthernet({ dst: dstMac, src: GUEST_MAC, tags: [], type: ETHERTYPE_IPV6, payload }));
    return this.sent.map(frame => {
      const { dst, type, payload: bytes } = decodeEthernet(frame)!;
      expect(type).toBe(ETHERTYPE_IPV6);
      const packet = decodeIpv6(bytes)!;
      return { dst, payload: bytes, packet, message: decodeIcmpv6(packet)! };
    });
  }
}

const message = (type: number, body: Uint8Array, { src = GUEST, dst = ALL_ROUTERS, hopLimit = 255, code = 0 }: { src?: Ipv6; dst?: Ipv6; hopLimit?: number; code?: number } = {}): Uint8Array =>
  encodeIpv6({ src, dst, nextHeader: NEXT_ICMPV6, hopLimit, payload: encodeIcmpv6({ type, code, body }, src, dst) });
const solicitation = (target: Ipv6): Uint8Array => concat([new Uint8Array(4), target]);

describe('the codec', () => {
  it('reads and writes what others do', () => {
    const packet = decodeIpv6(concat([SOLICITATION, new Uint8Array(6)]))!;
    expect(packet).toMatchObject({ src: GUEST, dst: ALL_ROUTERS, nextHeader: NEXT_ICMPV6, hopLimit: 255 });
    const read = decodeIcmpv6(packet)!;
    expect(read).toMatchObject({ type: ROUTER_SOLICITATION, code: 0 });
    expect(decodeNdpOptions(read.body.subarray(4))!.get(1)).toEqual(GUEST_MAC);
    expect(message(ROUTER_SOLICITATION, read.body)).toEqual(SOLICITATION);
    expect(solicitedNode(GUEST)).toEqual(hex('ff0200000000000000000001ff12340f'));
    expect(multicastMacIpv6(solicitedNode(GUEST))).toEqual(hex('3333ff12340f'));
  });

  it('refuses what is cut short or has a wrong checksum', () => {
    expect(decodeIpv6(SOLICITATION.subarray(0, -1))).toBeUndefined();
    expect(decodeIpv6(SOLICITATION.subarray(0, 39))).toBeUndefined();
    const wrong = SOLICITATION.slice();
    wrong[50] ^= 1;
    expect(decodeIcmpv6(decodeIpv6(wrong)!)).toBeUndefined();
    expect(decodeNdpOptions(hex('0100'))).toBeUndefined();
    expect(decodeNdpOptions(hex('0102 0000 0000 0000'))).toBeUndefined();
  });
});

describe('the gateway', () => {
  it('says at once that it is nobody\'s router', () => {
    const [answer, ...more] = new Lab().ask(SOLICITATION);
    expect(more).toEqual([]);
    expect(answer.dst).toEqual(GUEST_MAC);
    expect(answer.payload).toEqual(ADVERTISEMENT);
  });

  it('tells all nodes when who asks has no address yet', () => {
    const [answer] = new Lab().ask(message(ROUTER_SOLICITATION, new Uint8Array(4), { src: IPV6_ANY }));
    expect(answer.dst).toEqual(hex('333300000001'));
    expect(answer.packet.dst).toEqual(ALL_NODES);
    expect(answer.packet.payload.subarray(4)).toEqual(ADVERTISEMENT.subarray(44));
  });

  it('has a link-local address: it is found, answers echo, and is defended', () => {
    const lab = new Lab();
    const { address } = lab.gateway.ipv6;
    const [found] = lab.ask(message(NEIGHBOR_SOLICITATION, solicitation(address), { dst: solicitedNode(address) }));
    expect(found.message).toEqual({ type: NEIGHBOR_ADVERTISEMENT, code: 0, body: concat([hex('e0000000'), address, hex('0201'), lab.gateway.host.mac]) });
    const [echoed] = lab.ask(message(ICMPV6_ECHO, bytesOf('1234ping'), { dst: address, hopLimit: 64 }), lab.gateway.host.mac);
    expect(echoed.message).toEqual({ type: ICMPV6_ECHO_REPLY, code: 0, body: bytesOf('1234ping') });
    const [defended] = lab.ask(message(NEIGHBOR_SOLICITATION, solicitation(address), { src: IPV6_ANY, dst: solicitedNode(address) }));
    expect(defended.packet.dst).toEqual(ALL_NODES);
    expect(defended.message.body[0]).toBe(0xa0);
  });

  it.each<[string, Uint8Array]>([
    ['a solicitation that came through a router', message(ROUTER_SOLICITATION, new Uint8Array(4), { hopLimit: 254 })],
    ['another code', message(ROUTER_SOLICITATION, new Uint8Array(4), { code: 1 })],
    ['one without room for its fields', message(ROUTER_SOLICITATION, new Uint8Array(3))],
    ['an option without length', message(ROUTER_SOLICITATION, new Uint8Array(12))],
    ['a link address of who has no address', message(ROUTER_SOLICITATION, hex('00000000 010152540012340f'), { src: IPV6_ANY })],
    ['who looks for others', message(NEIGHBOR_SOLICITATION, solicitation(GUEST), { dst: ALL_NODES })],
    ['a cut off target', message(NEIGHBOR_SOLICITATION, new Uint8Array(10), { dst: ALL_NODES })],
    ['a group as a target', message(NEIGHBOR_SOLICITATION, solicitation(ALL_NODES), { dst: ALL_NODES })],
    ['a group as a sender', message(ROUTER_SOLICITATION, new Uint8Array(4), { src: ALL_NODES })],
    ['packets for others', message(ICMPV6_ECHO, new Uint8Array(4), { dst: GUEST })],
    ['other protocols', encodeIpv6({ src: GUEST, dst: ALL_NODES, nextHeader: 17, hopLimit: 255, payload: new Uint8Array(8) })],
  ])('does not answer %s', (_, payload) => {
    expect(new Lab().ask(payload)).toEqual([]);
  });
});
