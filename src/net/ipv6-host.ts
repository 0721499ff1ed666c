import { ETHERTYPE_IPV6 } from './ethernet.js';
import type { Mac } from './address.js';
import type { IpHost } from './ip-host.js';
import {
  ALL_NODES, ALL_ROUTERS, decodeIcmpv6, decodeIpv6, decodeNdpOptions, emptyRouterAdvertisement, encodeIcmpv6, encodeIpv6, ICMPV6_ECHO, ICMPV6_ECHO_REPLY, type Icmpv6Message, type Ipv6,
  IPV6_ANY, IPV6_BYTES, type Ipv6Packet, isMulticastIpv6, linkLocal, multicastMacIpv6, NDP_HOP_LIMIT, NEIGHBOR_SOLICITATION, neighborAdvertisement, NEXT_ICMPV6, OPTION_SOURCE_LINK_ADDRESS,
  ROUTER_SOLICITATION, sameIpv6, solicitedNode,
} from './ipv6.js';

const SOLICITATION_OPTIONS_AT = 4;
const TARGET_AT = 4;

/**
 * All the IPv6 that a gateway has: a link-local address, and an answer for those who look for routers. It routes no IPv6, and says so (RFC 4861, 4.2: a
 * router lifetime of 0, no prefixes), so that nobody waits for one: iPXE asks for 16 seconds before it gives up. The answer comes at once and not
 * within half a second, as there are no other routers to collide with.
 */
export class Ipv6Host {
  readonly address: Ipv6;
  readonly #host: IpHost;
  readonly #groups: readonly Ipv6[];

  constructor(host: IpHost) {
    this.#host = host;
    this.address = linkLocal(host.mac);
    this.#groups = [ALL_NODES, ALL_ROUTERS, solicitedNode(this.address)];
    host.onIpv6 = (bytes, srcMac) => this.#receive(bytes, srcMac);
  }

  #receive(bytes: Uint8Array, srcMac: Mac): void {
    const packet = decodeIpv6(bytes);
    if (packet === undefined) {
      this.#host.stats.malformed++;
      return;
    }
    const { src, dst, nextHeader } = packet;
    const ours = sameIpv6(dst, this.address) || this.#groups.some(group => sameIpv6(dst, group));
    if (!ours || nextHeader !== NEXT_ICMPV6 || isMulticastIpv6(src) || sameIpv6(src, this.address)) {
      this.#host.stats.ignored++;
      return;
    }
    const message = decodeIcmpv6(packet, this.#host.unchecked);
    const valid = message !== undefined && this.#handle(message, packet, srcMac);
    if (!valid) this.#host.stats.malformed++;
  }

  /** False when the message is not valid. */
  #handle(message: Icmpv6Message, packet: Ipv6Packet, srcMac: Mac): boolean {
    if (message.type === ROUTER_SOLICITATION) return this.#routerSolicited(message, packet, srcMac);
    if (message.type === NEIGHBOR_SOLICITATION) return this.#neighborSolicited(message, packet, srcMac);
    if (message.type === ICMPV6_ECHO && !sameIpv6(packet.src, IPV6_ANY)) this.#send(packet.src, srcMac, { ...message, type: ICMPV6_ECHO_REPLY });
    else this.#host.stats.ignored++;
    return true;
  }

  /** RFC 4861, 6.1.1 and 6.2.6. */
  #routerSolicited({ code, body }: Icmpv6Message, packet: Ipv6Packet, srcMac: Mac): boolean {
    const options = decodeNdpOptions(body.subarray(SOLICITATION_OPTIONS_AT));
    const anonymous = sameIpv6(packet.src, IPV6_ANY);
    if (packet.hopLimit !== NDP_HOP_LIMIT || code !== 0 || body.length < SOLICITATION_OPTIONS_AT || options === undefined) return false;
    if (anonymous && options.has(OPTION_SOURCE_LINK_ADDRESS)) return false;
    this.#answer(packet.src, srcMac, emptyRouterAdvertisement(this.#host.mac));
    return true;
  }

  /** RFC 4861, 7.1.1 and 7.2.4; who asks without an address is about to take ours (RFC 4862, 5.4.3). */
  #neighborSolicited({ code, body }: Icmpv6Message, packet: Ipv6Packet, srcMac: Mac): boolean {
    const end = TARGET_AT + IPV6_BYTES;
    if (packet.hopLimit !== NDP_HOP_LIMIT || code !== 0 || body.length < end || decodeNdpOptions(body.subarray(end)) === undefined) return false;
    const target = body.subarray(TARGET_AT, end);
    if (isMulticastIpv6(target)) return false;
    if (sameIpv6(target, this.address)) this.#answer(packet.src, srcMac, neighborAdvertisement(target, this.#host.mac, !sameIpv6(packet.src, IPV6_ANY)));
    return true;
  }

  #answer(dst: Ipv6, dstMac: Mac, message: Icmpv6Message): void {
    if (sameIpv6(dst, IPV6_ANY)) this.#send(ALL_NODES, multicastMacIpv6(ALL_NODES), message);
    else this.#send(dst, dstMac, message);
  }

  #send(dst: Ipv6, dstMac: Mac, message: Icmpv6Message): void {
    const payload = encodeIcmpv6(message, this.address, dst);
    this.#host.sendFrame(dstMac, ETHERTYPE_IPV6, encodeIpv6({ src: this.address, dst, nextHeader: NEXT_ICMPV6, hopLimit: NDP_HOP_LIMIT, payload }));
  }
}
