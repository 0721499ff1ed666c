import { VmletError } from '../errors.js';
import { formatIpv4, parseIpv4, parseMac } from './address.js';
import type { IpHost } from './ip-host.js';

/** One open port, addressed by text: the shape that the services of `src/pxe` take. */
export interface UdpPort {
  send(to: { readonly address: string; readonly port: number }, bytes: Uint8Array, mac?: string): void;
  onMessage: ((from: { readonly address: string; readonly port: number }, bytes: Uint8Array) => void) | undefined;
  close(): void;
}

export interface UdpPorts {
  readonly address: string;
  /** A station without an address can be reached by its MAC. */
  readonly unicastByMac: true;
  /** Opens a port, any free one for 0. @throws ERR_VMLET_CONFIG when it is taken. */
  bind(port: number): UdpPort;
}

const FIRST_FREE_PORT = 49_152;
const FREE_PORTS = 16_384;

/** A host's UDP for services that know neither frames nor numbers. */
export const udpPorts = (host: IpHost): UdpPorts => {
  const freePort = (): number => {
    const first = host.randomU16() % FREE_PORTS;
    for (let i = 0; i < FREE_PORTS; i++) {
      const port = FIRST_FREE_PORT + ((first + i) % FREE_PORTS);
      if (!host.hasUdp(port)) return port;
    }
    throw new VmletError('ERR_VMLET_CONFIG', `${formatIpv4(host.address)} has no free UDP port`);
  };
  return {
    get address() {
      return formatIpv4(host.address);
    },
    unicastByMac: true,
    bind: wanted => {
      if (wanted !== 0 && host.hasUdp(wanted)) throw new VmletError('ERR_VMLET_CONFIG', `UDP port ${wanted} of ${formatIpv4(host.address)} is taken`);
      const srcPort = wanted === 0 ? freePort() : wanted;
      const unbind = host.bindUdp(srcPort, ({ src, srcPort: port, payload }) => opened.onMessage?.({ address: formatIpv4(src), port }, payload));
      const opened: UdpPort = {
        onMessage: undefined,
        send: (to, payload, mac) => {
          const dst = parseIpv4(to.address);
          const dstMac = mac === undefined ? undefined : parseMac(mac);
          if (dst !== undefined) host.sendUdp({ srcPort, dst, dstPort: to.port, payload, ...(dstMac === undefined ? {} : { dstMac }) });
        },
        close: unbind,
      };
      return opened;
    },
  };
};
