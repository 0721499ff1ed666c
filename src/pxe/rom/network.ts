// The ROM's own station: an IP stack while the base code is in use, a queue of frames while a loader drives UNDI.
import type { FramePort } from '../../host/backends/backend.js';
import type { Clock } from '../../host/clock.js';
import { IpHost, type UdpDatagram } from '../../net/ip-host.js';
import { formatIpv4, isGroupMac, type Mac, macKey, parseIpv4, sameMac } from '../../net/address.js';
import type { Random } from '../../net/random.js';
import { Deadlines } from '../deadlines.js';
import { OPT, type DhcpMessage } from '../dhcp/codec.js';
import { optionAddress } from '../dhcp/options.js';
import { ANY_ADDRESS, ipv4Number } from '../bytes.js';
import type { UdpEndpoint, UdpHost } from '../endpoint.js';
import { WireHost } from '../wire.js';
import type { WireTap } from './wire-tap.js';

const MAX_DATAGRAMS = 128;
const MAX_FRAMES = 256;
export const FILTER_DIRECTED = 1;
export const FILTER_BROADCAST = 2;
export const FILTER_PROMISCUOUS = 4;

export interface RomStatistics {
  sent: number;
  received: number;
  /** Frames that found no room in the queue. */
  overruns: number;
}

/** A datagram for the UDP API. */
export type RomDatagram = Pick<UdpDatagram, 'src' | 'dst' | 'srcPort' | 'dstPort' | 'payload'>;

export interface RomNetworkOptions {
  readonly tap: WireTap;
  readonly clock: Clock;
  readonly random: Random;
  readonly mac: Mac;
  /** Something arrived: whoever waits looks again. */
  readonly wake: () => void;
}

export class RomNetwork {
  readonly statistics: RomStatistics = { sent: 0, received: 0, overruns: 0 };
  readonly permanentMac: Mac;
  mac: Mac;
  /** UNDI's packet filter. */
  filter = FILTER_DIRECTED | FILTER_BROADCAST;
  readonly multicast = new Set<number>();
  readonly host: IpHost;
  readonly ports: UdpHost;
  /** Timers of all that the ROM does; a clock never forgets one, so there is one of these for ever. */
  readonly deadlines: Deadlines;
  readonly datagrams: RomDatagram[] = [];
  readonly frames: Uint8Array[] = [];
  readonly #options: RomNetworkOptions;
  readonly #stackPort: FramePort;
  readonly #endpoints = new Set<UdpEndpoint>();
  readonly #bound = new Map<number, () => void>();
  #undi = false;

  constructor(options: RomNetworkOptions) {
    this.#options = options;
    this.permanentMac = options.mac.slice();
    this.mac = options.mac.slice();
    this.deadlines = new Deadlines(options.clock);
    this.#stackPort = { onFrame: undefined, send: frame => this.transmit(frame) };
    this.host = new IpHost({ port: this.#stackPort, clock: options.clock, random: options.random, mac: this.mac, address: 0, prefix: 0 });
    const station = new WireHost(this.host);
    this.ports = {
      get address() {
        return station.address;
      },
      unicastByMac: true,
      bind: port => {
        const endpoint = station.bind(port);
        const { close } = endpoint;
        this.#endpoints.add(endpoint);
        endpoint.close = () => {
          this.#endpoints.delete(endpoint);
          close();
        };
        return endpoint;
      },
    };
    this.host.onUnboundUdp = datagram => {
      this.#queue(datagram);
      return true;
    };
    options.tap.rom.onFrame = frame => this.#receive(frame);
  }

  /** Back to how the ROM starts. */
  reset(): void {
    this.unbindAll();
    this.closeOwn();
    this.mac = this.permanentMac.slice();
    this.host.mac.set(this.mac);
    this.host.configure(0, 0);
    this.frames.length = 0;
    this.filter = FILTER_DIRECTED | FILTER_BROADCAST;
    this.multicast.clear();
    this.#undi = false;
  }

  setMac(mac: Mac): void {
    this.mac = mac.slice();
    this.host.mac.set(this.mac);
  }

  /** Takes the address of a lease. */
  configure(ack: DhcpMessage): void {
    const address = parseIpv4(ack.yiaddr) ?? 0;
    const mask = ipv4Number(optionAddress(ack.options, OPT.subnetMask) ?? '') ?? classMask(address);
    const router = optionAddress(ack.options, OPT.router);
    this.host.configure(address, Math.clz32(~mask), router === undefined || router === ANY_ADDRESS ? undefined : parseIpv4(router));
  }

  /** True while frames go to UNDI's queue and not to the IP stack. */
  get undi(): boolean {
    return this.#undi;
  }

  /** Chooses who gets the frames. */
  useUndi(on: boolean): void {
    if (on === this.#undi) return;
    this.#undi = on;
    this.frames.length = 0;
  }

  transmit(frame: Uint8Array): void {
    if (!this.#options.tap.listening) return;
    this.statistics.sent++;
    this.#options.tap.rom.send(frame);
  }

  /** Takes datagrams to a port from now on, broadcasts as well. */
  listenUdp(port: number): void {
    if (port === 0 || this.#bound.has(port) || this.host.hasUdp(port)) return;
    this.#bound.set(port, this.host.bindUdp(port, datagram => this.#queue(datagram)));
  }

  /** Ends what the ROM itself has open: a loader has the ports for itself. */
  closeOwn(): void {
    for (const endpoint of [...this.#endpoints]) endpoint.close();
    this.deadlines.clear();
  }

  unbindAll(): void {
    for (const unbind of this.#bound.values()) unbind();
    this.#bound.clear();
    this.datagrams.length = 0;
  }

  get address(): string {
    return formatIpv4(this.host.address);
  }

  #queue({ src, dst, srcPort, dstPort, payload }: UdpDatagram): void {
    if (this.datagrams.length >= MAX_DATAGRAMS) this.datagrams.shift();
    this.datagrams.push({ src, dst, srcPort, dstPort, payload });
    this.#options.wake();
  }

  #receive(frame: Uint8Array): void {
    this.statistics.received++;
    if (!this.#undi) {
      this.#stackPort.onFrame?.(frame);
      this.#options.wake();
      return;
    }
    if (!this.#accepts(frame)) return;
    if (this.frames.length >= MAX_FRAMES) {
      this.statistics.overruns++;
      return;
    }
    this.frames.push(frame);
    this.#options.wake();
  }

  #accepts(frame: Uint8Array): boolean {
    if (frame.length < 14 || frame.length > 1518) return false;
    if ((this.filter & FILTER_PROMISCUOUS) !== 0) return true;
    const dst = frame.subarray(0, 6);
    if (!isGroupMac(dst)) return (this.filter & FILTER_DIRECTED) !== 0 && sameMac(dst, this.mac);
    return dst.every(octet => octet === 0xff) ? (this.filter & FILTER_BROADCAST) !== 0 : this.multicast.has(macKey(dst));
  }
}

/** The netmask of an address by its class, for servers that send none. */
const classMask = (address: number): number => (address >>> 31 === 0 ? 0xff00_0000 : address >>> 30 === 2 ? 0xffff_0000 : 0xffff_ff00) >>> 0;
