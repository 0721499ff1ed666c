import { createSocket, type Socket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import { VmletError } from '../../errors.js';
import type { UdpAddress, UdpEndpoint, UdpHost } from '../../pxe/endpoint.js';
import { VirtualClock } from '../clock.js';

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : '');

const bindError = (address: string, port: number, cause: unknown): VmletError => {
  const where = `UDP ${address}:${port}`;
  switch (codeOf(cause)) {
    case 'EADDRINUSE':
      return new VmletError('ERR_VMLET_CONFIG', `${where} is in use by another program`, { hint: 'stop it, or choose other ports', cause });
    case 'EACCES':
      return new VmletError('ERR_VMLET_CONFIG', `${where} may not be opened without rights`, { hint: 'choose ports from 1024, or give the right to bind low ports', cause });
    case 'EADDRNOTAVAIL':
      return new VmletError('ERR_VMLET_CONFIG', `the address ${address} is not one of this host`, { hint: 'name an interface that has an IPv4 address', cause });
    default:
      return new VmletError('ERR_VMLET_CONFIG', `${where} cannot be opened: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
};

/** The IPv4 address of a host interface by name. Throws ERR_VMLET_CONFIG when there is none. */
export const interfaceAddress = (name: string): { readonly address: string; readonly netmask: string; readonly internal: boolean; readonly mac: string } => {
  const all = networkInterfaces();
  const found = all[name]?.find(entry => entry.family === 'IPv4');
  if (found) return { address: found.address, netmask: found.netmask, internal: found.internal, mac: found.mac };
  const names = Object.keys(all).filter(key => all[key]?.some(entry => entry.family === 'IPv4'));
  throw new VmletError('ERR_VMLET_CONFIG', name in all ? `the interface '${name}' has no IPv4 address` : `there is no interface '${name}' that is up`, {
    hint: names.length > 0 ? `interfaces with an IPv4 address: ${names.join(', ')}` : 'no interface of this host has an IPv4 address',
  });
};

// Addresses are literals: no name is ever looked up.
const lookup = (host: string, _options: unknown, callback: (error: null, address: string, family: number) => void): void => callback(null, host, 4);

/** One real UDP port. Errors after the start (an unreachable client) are what loss is on a real wire; they are counted only. */
export class UdpSocket implements UdpEndpoint {
  onMessage: ((from: UdpAddress, bytes: Uint8Array) => void) | undefined;
  errors = 0;
  readonly #socket: Socket;
  readonly #ready: Promise<void>;
  #closed = false;
  #unsent = 0;
  #mayBroadcast = false;

  constructor(address: string, port: number, options: { readonly broadcast?: boolean; readonly reuse?: boolean } = {}) {
    // With an exclusive port another program cannot take datagrams away from us.
    this.#socket = createSocket({ type: 'udp4', reuseAddr: options.reuse ?? false, lookup: lookup as never, recvBufferSize: 1 << 20, sendBufferSize: 1 << 20 });
    this.#socket.on('message', (bytes, from) => this.onMessage?.({ address: from.address, port: from.port }, bytes));
    this.#ready = new Promise((resolve, reject) => {
      this.#socket.once('listening', () => {
        if (options.broadcast) this.#socket.setBroadcast(true);
        this.#mayBroadcast = options.broadcast ?? false;
        resolve();
      });
      this.#socket.on('error', error => {
        this.errors++;
        reject(bindError(address, port, error));
      });
    });
    this.#ready.catch(() => {});
    this.#socket.bind({ address, port, exclusive: true });
  }

  /** Resolves when the port is open; rejects with ERR_VMLET_CONFIG when it cannot be. */
  ready(): Promise<void> {
    return this.#ready;
  }

  /** The bound port, known once ready. */
  get port(): number {
    return this.#socket.address().port;
  }

  send(to: UdpAddress, bytes: Uint8Array): void {
    if (this.#closed || to.port === 0 || (to.address === '255.255.255.255' && !this.#mayBroadcast)) return;
    this.#unsent++;
    this.#socket.send(bytes, to.port, to.address, error => {
      if (error) this.errors++;
      this.#unsent--;
      this.#closeWhenSent();
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.onMessage = undefined;
    this.#closeWhenSent();
  }

  #closeWhenSent(): void {
    if (!this.#closed || this.#unsent > 0) return;
    try {
      this.#socket.close();
    } catch {
      // It never opened.
    }
  }
}

/** A real interface's address as a place for services. */
export class UdpSocketHost implements UdpHost {
  readonly unicastByMac = false;

  constructor(readonly address: string) {}

  bind(port: number): UdpSocket {
    return new UdpSocket(this.address, port);
  }

  /** Opens a port and waits for it. */
  async open(port: number): Promise<UdpSocket> {
    const socket = this.bind(port);
    await socket.ready();
    return socket;
  }

  /**
   * A port that takes datagrams to the host's address and broadcasts, and sends broadcasts out of this interface only: two sockets, because a
   * socket bound to an address hears no broadcasts. Linux delivers broadcasts of all interfaces to the second one; answers still leave
   * by this interface.
   */
  async openBroadcast(port: number): Promise<UdpEndpoint> {
    const own = new UdpSocket(this.address, port, { broadcast: true });
    await own.ready();
    const heard = new UdpSocket('255.255.255.255', port, { reuse: true });
    let hears = true;
    await heard.ready().catch(() => {
      hears = false;
    });
    const endpoint: UdpEndpoint = {
      onMessage: undefined,
      send: (to, bytes) => own.send(to, bytes),
      close: () => {
        own.close();
        if (hears) heard.close();
      },
    };
    own.onMessage = heard.onMessage = (from, bytes) => endpoint.onMessage?.(from, bytes);
    return endpoint;
  }
}

const NS_PER_MS = 1e6;
const LONGEST_MS = 0x7fff_ffff;

/** Virtual time that runs as the host's does, for services that serve real clients. It keeps no process alive. */
export class RealtimeClock extends VirtualClock {
  readonly #startMs = performance.now();
  /** Seconds since 1970, UTC, at time 0. */
  readonly epochSeconds = Date.now() / 1000;
  #timeout: NodeJS.Timeout | undefined;
  #scheduledNs = Infinity;
  #closed = false;

  constructor() {
    super();
    this.source = () => Math.floor((performance.now() - this.#startMs) * NS_PER_MS);
    this.onArm = atNs => {
      if (atNs < this.#scheduledNs) this.#schedule(atNs);
    };
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timeout);
  }

  #schedule(atNs: number): void {
    if (this.#closed) return;
    clearTimeout(this.#timeout);
    this.#scheduledNs = atNs;
    const ms = Math.min(LONGEST_MS, Math.max(0, Math.ceil((atNs - this.now) / NS_PER_MS)));
    this.#timeout = setTimeout(() => {
      this.#scheduledNs = Infinity;
      this.fire(this.now);
      if (this.deadline < this.#scheduledNs) this.#schedule(this.deadline);
    }, ms);
    this.#timeout.unref();
  }
}
