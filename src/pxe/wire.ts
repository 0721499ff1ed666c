import { ipv4Number, ipv4Text, macBytes } from './bytes.js';
import type { UdpEndpoint, UdpHost } from './endpoint.js';

/** What services need of a station on a virtual wire; src/net's IpHost is one. Addresses are numbers, as they are there. */
export interface WireStation {
  readonly address: number;
  hasUdp(port: number): boolean;
  bindUdp(port: number, handler: (datagram: { readonly src: number; readonly srcPort: number; readonly payload: Uint8Array }) => void): () => void;
  sendUdp(send: { readonly srcPort: number; readonly dst: number; readonly dstPort: number; readonly payload: Uint8Array; readonly dstMac?: Uint8Array }): boolean;
}

const FIRST_DYNAMIC_PORT = 49152;
const DYNAMIC_PORTS = 65536 - FIRST_DYNAMIC_PORT;

/** A station's address as a place for services. Ports given out for 0 are counted up, so that a run is repeatable. */
export class WireHost implements UdpHost {
  readonly unicastByMac = true;
  readonly #station: WireStation;
  #next = 0;

  constructor(station: WireStation) {
    this.#station = station;
  }

  get address(): string {
    return ipv4Text(this.#station.address);
  }

  /** Throws when the port, or every dynamic one, is taken. */
  bind(port: number): UdpEndpoint {
    const station = this.#station;
    const own = port || this.#free();
    if (station.hasUdp(own)) throw new Error(`UDP port ${own} of ${this.address} is taken`);
    const endpoint: UdpEndpoint = {
      onMessage: undefined,
      send(to, bytes, mac) {
        const dst = ipv4Number(to.address);
        if (dst !== undefined) station.sendUdp({ srcPort: own, dst, dstPort: to.port, payload: bytes, dstMac: mac === undefined ? undefined : macBytes(mac) });
      },
      close: () => unbind(),
    };
    const unbind = station.bindUdp(own, ({ src, srcPort, payload }) => endpoint.onMessage?.({ address: ipv4Text(src), port: srcPort }, payload));
    return endpoint;
  }

  #free(): number {
    for (let i = 0; i < DYNAMIC_PORTS; i++) {
      const port = FIRST_DYNAMIC_PORT + this.#next;
      this.#next = (this.#next + 1) % DYNAMIC_PORTS;
      if (!this.#station.hasUdp(port)) return port;
    }
    throw new Error(`all dynamic UDP ports of ${this.address} are taken`);
  }
}
