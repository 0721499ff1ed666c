import type { Timer } from '../../host/clock.js';
import type { Ipv4 } from '../address.js';
import { NO_BYTES } from '../bytes.js';
import type { Random } from '../random.js';
import type { TimerQueue } from '../timers.js';
import { TcpConnection } from './connection.js';
import { ACK, decodeTcp, encodeTcp, FIN, RST, SYN, type TcpSegment } from './segment.js';
import { seqAdd } from './sequence.js';
import type { TcpConnectionOptions, TcpEndpoint, TcpEvents } from './types.js';

export interface TcpLimits {
  /** Connections that are open or opening. Default: 4096. */
  readonly connections?: number;
  /** Peers' requests that nobody has decided on yet. Default: 256. */
  readonly pending?: number;
  /** Connections that only wait in TIME_WAIT; the oldest goes first. Default: 1024. */
  readonly timeWait?: number;
}

export interface TcpStackOptions {
  /** Checksums are completed, and large segments cut, behind `send`. */
  readonly offload?: boolean;
  readonly clock: TimerQueue;
  /** Initial sequence numbers and ports. */
  readonly random: Random;
  /** Takes an encoded segment to the IP layer. */
  readonly send: (bytes: Uint8Array, src: Ipv4, dst: Ipv4, segmentBytes: number) => void;
  /** Free bytes before each segment in its own buffer, for the headers of the layers below. Default: 0. */
  readonly headroom?: number;
  /** Does work whose segments go out when it is done, so that no answer comes in its midst. */
  readonly batch: (work: () => void) => void;
  readonly connection?: TcpConnectionOptions;
  readonly limits?: TcpLimits;
}

export interface TcpStackStats {
  accepted: number;
  connected: number;
  /** Requests turned away: nobody listens, or a limit is reached. */
  refused: number;
  malformed: number;
}

/** Gets every request to connect; must accept, reject or ignore it, now or later. */
export type TcpListener = (incoming: TcpIncoming) => void;

const DEFAULT_CONNECTIONS = 4096;
const DEFAULT_PENDING = 256;
const DEFAULT_TIME_WAIT = 1024;
const PENDING_TIMEOUT_NS = 120e9;
const FIRST_EPHEMERAL = 49_152;
const EPHEMERAL_PORTS = 16_384;

/** A peer's SYN that waits for a decision. Its repetitions are swallowed meanwhile. */
export class TcpIncoming {
  /** The peer gave up, or nobody decided in two minutes. */
  onGone: (() => void) | undefined;
  #decided = false;

  constructor(
    readonly local: TcpEndpoint,
    readonly remote: TcpEndpoint,
    readonly syn: TcpSegment,
    readonly settle: (how: 'reject' | 'ignore' | { events: TcpEvents; options: TcpConnectionOptions }) => TcpConnection | undefined,
  ) {}

  /** Completes the handshake; undefined when the request is gone already. */
  accept(events: TcpEvents, options: TcpConnectionOptions = {}): TcpConnection | undefined {
    return this.#decide({ events, options });
  }

  /** Answers with a reset. */
  reject(): void {
    this.#decide('reject');
  }

  /** Says nothing. */
  ignore(): void {
    this.#decide('ignore');
  }

  #decide(how: Parameters<TcpIncoming['settle']>[0]): TcpConnection | undefined {
    if (this.#decided) return undefined;
    this.#decided = true;
    return this.settle(how);
  }

  gone(): void {
    if (this.#decided) return;
    this.#decided = true;
    this.onGone?.();
  }
}

interface Pending {
  readonly incoming: TcpIncoming;
  readonly timeout: Timer;
}

const keyOf = (local: TcpEndpoint, remote: TcpEndpoint): string => `${local.address}:${local.port}-${remote.address}:${remote.port}`;

/** TCP for any number of local addresses: connections, listeners, and a listener for everything else. */
export class TcpStack {
  readonly stats: TcpStackStats = { accepted: 0, connected: 0, refused: 0, malformed: 0 };
  /** Gets requests to addresses and ports that have no listener; without it they are reset. */
  fallback: TcpListener | undefined;
  readonly #options: TcpStackOptions;
  readonly #connections = new Map<string, TcpConnection>();
  readonly #pending = new Map<string, Pending>();
  readonly #listeners = new Map<number, { address: Ipv4 | undefined; listener: TcpListener }[]>();
  #nextPort: number | undefined;
  /** Keys in TIME_WAIT, oldest first. */
  readonly #timeWait = new Set<string>();

  constructor(options: TcpStackOptions) {
    this.#options = options;
  }

  /** Connections in any state, TIME_WAIT included. */
  get connections(): readonly TcpConnection[] {
    return [...this.#connections.values()];
  }

  get #open(): number {
    return this.#connections.size - this.#timeWait.size;
  }

  /** Listens on a port of one address, or of all. Returns what ends it. */
  listen(port: number, listener: TcpListener, address?: Ipv4): () => void {
    const entry = { address, listener };
    const entries = this.#listeners.get(port) ?? [];
    this.#listeners.set(port, [...entries, entry]);
    return () => this.#listeners.set(port, (this.#listeners.get(port) ?? []).filter(other => other !== entry));
  }

  hasListener(port: number, address: Ipv4): boolean {
    return this.#listenerFor(port, address) !== undefined;
  }

  #listenerFor(port: number, address: Ipv4): TcpListener | undefined {
    const entries = this.#listeners.get(port) ?? [];
    return (entries.find(entry => entry.address === address) ?? entries.find(entry => entry.address === undefined))?.listener;
  }

  /**
   * Opens a connection from `src`; undefined when a limit is reached or no port is free. Outside a batch, the peer may have answered before
   * this returns.
   */
  connect(src: Ipv4, remote: TcpEndpoint, events: TcpEvents, options: TcpConnectionOptions & { readonly srcPort?: number } = {}): TcpConnection | undefined {
    if (this.#open >= (this.#options.limits?.connections ?? DEFAULT_CONNECTIONS)) return undefined;
    const local = this.#freeEndpoint(src, remote, options.srcPort);
    if (local === undefined) return undefined;
    this.stats.connected++;
    return this.#start(local, remote, events, options, undefined);
  }

  #freeEndpoint(address: Ipv4, remote: TcpEndpoint, wanted: number | undefined): TcpEndpoint | undefined {
    const free = (port: number): boolean => !this.#connections.has(keyOf({ address, port }, remote));
    if (wanted !== undefined) return free(wanted) ? { address, port: wanted } : undefined;
    // RFC 6056, 3.3.5: one after the other from a random start. Peers keep the numbers of a connection that they closed first, and refuse them to a new one whose sequence numbers are lower.
    this.#nextPort ??= this.#options.random.u32() % EPHEMERAL_PORTS;
    for (let i = 0; i < EPHEMERAL_PORTS; i++) {
      const port = FIRST_EPHEMERAL + this.#nextPort;
      this.#nextPort = (this.#nextPort + 1) % EPHEMERAL_PORTS;
      if (free(port)) return { address, port };
    }
    return undefined;
  }

  #start(local: TcpEndpoint, remote: TcpEndpoint, events: TcpEvents, options: TcpConnectionOptions, syn: TcpSegment | undefined): TcpConnection {
    const key = keyOf(local, remote);
    const connection = new TcpConnection(local, remote, {
      clock: this.#options.clock,
      iss: this.#options.random.u32(),
      options: { ...this.#options.connection, ...options },
      ...(syn === undefined ? {} : { syn }),
      wire: {
        send: (segment, mss) => this.#send(segment, local.address, remote.address, mss),
        large: this.#options.offload === true,
        batch: this.#options.batch,
        closed: () => {
          if (this.#connections.get(key) === connection) this.#connections.delete(key);
          this.#timeWait.delete(key);
        },
        timeWait: () => this.#enteredTimeWait(key),
      },
    });
    connection.events = events;
    this.#connections.set(key, connection);
    this.#options.batch(() => connection.open());
    return connection;
  }

  #enteredTimeWait(key: string): void {
    this.#timeWait.add(key);
    if (this.#timeWait.size <= (this.#options.limits?.timeWait ?? DEFAULT_TIME_WAIT)) return;
    const [oldest] = this.#timeWait;
    this.#connections.get(oldest)?.forget();
  }

  /** A TCP payload from the IP layer. */
  receive(bytes: Uint8Array, src: Ipv4, dst: Ipv4, unchecked = false): void {
    const segment = decodeTcp(bytes, src, dst, unchecked);
    if (segment === undefined || segment.srcPort === 0 || segment.dstPort === 0) {
      this.stats.malformed++;
      return;
    }
    const local = { address: dst, port: segment.dstPort };
    const remote = { address: src, port: segment.srcPort };
    const key = keyOf(local, remote);
    const connection = this.#connections.get(key);
    const opens = (segment.flags & (SYN | ACK | RST | FIN)) === SYN;
    if (connection !== undefined && !(opens && connection.reusable(segment.seq))) {
      connection.receive(segment);
      return;
    }
    connection?.forget();
    const pending = this.#pending.get(key);
    if (pending !== undefined) {
      if ((segment.flags & RST) !== 0) this.#drop(key, pending);
    } else if (opens) this.#request(key, local, remote, segment);
    else this.#reset(segment, local, remote);
  }

  /** An ICMP error quoted a segment that this stack sent. */
  unreachable(local: TcpEndpoint, remote: TcpEndpoint, mtuPayload?: number): void {
    const connection = this.#connections.get(keyOf(local, remote));
    if (mtuPayload !== undefined) connection?.shrink(mtuPayload);
    else connection?.unreachable();
  }

  #request(key: string, local: TcpEndpoint, remote: TcpEndpoint, syn: TcpSegment): void {
    const listener = this.#listenerFor(local.port, local.address) ?? this.fallback;
    const { limits } = this.#options;
    const full = this.#pending.size >= (limits?.pending ?? DEFAULT_PENDING) || this.#open >= (limits?.connections ?? DEFAULT_CONNECTIONS);
    if (listener === undefined || full) {
      this.stats.refused++;
      this.#reset(syn, local, remote);
      return;
    }
    const incoming: TcpIncoming = new TcpIncoming(local, remote, syn, how => this.#settle(key, incoming, how));
    const timeout = this.#options.clock.after(PENDING_TIMEOUT_NS, () => {
      const waiting = this.#pending.get(key);
      if (waiting?.incoming === incoming) this.#drop(key, waiting);
    });
    this.#pending.set(key, { incoming, timeout });
    listener(incoming);
  }

  #settle(key: string, incoming: TcpIncoming, how: Parameters<TcpIncoming['settle']>[0]): TcpConnection | undefined {
    this.#pending.get(key)?.timeout.disarm();
    this.#pending.delete(key);
    if (how === 'ignore') return undefined;
    if (how === 'reject') {
      this.stats.refused++;
      this.#reset(incoming.syn, incoming.local, incoming.remote);
      return undefined;
    }
    this.stats.accepted++;
    return this.#start(incoming.local, incoming.remote, how.events, how.options, incoming.syn);
  }

  #drop(key: string, pending: Pending): void {
    pending.timeout.disarm();
    this.#pending.delete(key);
    pending.incoming.gone();
  }

  /** RFC 9293, 3.5.2: the reset for a segment that belongs to nothing. */
  #reset(segment: TcpSegment, local: TcpEndpoint, remote: TcpEndpoint): void {
    if ((segment.flags & RST) !== 0) return;
    const acked = (segment.flags & ACK) !== 0;
    const length = segment.payload.length + ((segment.flags & SYN) !== 0 ? 1 : 0) + ((segment.flags & FIN) !== 0 ? 1 : 0);
    const reset: TcpSegment = {
      srcPort: local.port,
      dstPort: remote.port,
      seq: acked ? segment.ack : 0,
      ack: acked ? 0 : seqAdd(segment.seq, length),
      flags: acked ? RST : RST | ACK,
      window: 0,
      urgent: 0,
      options: {},
      payload: NO_BYTES,
    };
    this.#send(reset, local.address, remote.address);
  }

  #send(segment: TcpSegment, src: Ipv4, dst: Ipv4, mss = 0): void {
    const { offload = false, headroom } = this.#options;
    this.#options.send(encodeTcp(segment, src, dst, headroom, offload), src, dst, mss > 0 && segment.payload.length > mss ? mss : 0);
  }

  /** Resets every connection, as at the end of a run. */
  close(): void {
    for (const [key, pending] of [...this.#pending]) this.#drop(key, pending);
    for (const connection of this.connections) connection.abort();
  }
}
