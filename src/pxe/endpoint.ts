/** An IPv4 address in dotted form and a UDP port. */
export interface UdpAddress {
  readonly address: string;
  readonly port: number;
}

/** One open UDP port. Nothing is known about arrival: datagrams may be lost, doubled or late. */
export interface UdpEndpoint {
  /** Sends one datagram; the bytes are not changed afterwards by the caller. `mac` lets a wire reach a client that cannot answer ARP yet. */
  send(to: UdpAddress, bytes: Uint8Array, mac?: string): void;
  onMessage: ((from: UdpAddress, bytes: Uint8Array) => void) | undefined;
  /** Ends reception; queued datagrams still leave. */
  close(): void;
}

/** Where services open their ports: a host's address on a virtual wire or on a real interface. */
export interface UdpHost {
  /** The host's own address, which clients are told. */
  readonly address: string;
  /** Whether `send` obeys its `mac` argument. Without it, replies to clients that have no address yet are broadcast. */
  readonly unicastByMac: boolean;
  /** Opens a port, any free one for 0. A port that is taken is an error of the wiring, not of the service. */
  bind(port: number): UdpEndpoint;
}

export const addressText = (address: UdpAddress): string => `${address.address}:${address.port}`;
