/** Why a host socket failed. */
export type SocketFailure = 'refused' | 'reset' | 'timeout' | 'unreachable' | 'error';

/** What a host stream tells. Calls come from the event loop, never from within a call of the stream. */
export interface HostStreamEvents {
  onConnect(): void;
  /** The bytes belong to the receiver. */
  onData(bytes: Uint8Array): void;
  /** The far end closed its direction. */
  onEnd(): void;
  /** Called once, the last of all; without a failure both directions were closed. */
  onClose(failure: SocketFailure | undefined): void;
}

/** A TCP connection of the host. */
export interface HostStream {
  /** Queues bytes, which must not change; `done` is called when the operating system has them. */
  write(bytes: Uint8Array, done: () => void): void;
  /** Closes this direction behind what was written. */
  end(): void;
  /** Drops the connection with a reset. */
  abort(): void;
  pause(): void;
  resume(): void;
}

/** A listening socket, or a bound one. */
export interface HostListener {
  /** Resolves with the real port when the socket is up; rejects when it cannot be. */
  readonly ready: Promise<{ readonly address: string; readonly port: number }>;
  close(): void;
}

/** A UDP socket of the host. */
export interface HostDatagrams extends HostListener {
  send(bytes: Uint8Array, address: string, port: number): void;
}

export type DatagramHandler = (bytes: Uint8Array, address: string, port: number) => void;

/** The network outside the process. Addresses are IPv4 in dotted form. */
export interface HostSockets {
  connect(address: string, port: number, events: HostStreamEvents): HostStream;
  /** `onStream` returns the events of a connection that came in and is up; undefined turns it away. */
  listen(address: string, port: number, onStream: (stream: HostStream, from: { readonly address: string; readonly port: number }) => HostStreamEvents | undefined): HostListener;
  /** A socket on a free port of all addresses, or on a given one. */
  datagrams(onMessage: DatagramHandler, bind?: { readonly address: string; readonly port: number }): HostDatagrams;
  /** Addresses that lead to this host. */
  ownAddresses(): readonly string[];
}

/** Takes a DNS query to a server outside. */
export interface HostResolver {
  /** The answer with the query's identifier; undefined when no server gave one. */
  query(message: Uint8Array): Promise<Uint8Array | undefined>;
}
