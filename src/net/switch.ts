import type { FramePort } from '../host/backends/backend.js';
import type { Clock } from '../host/clock.js';
import { VmletError } from '../errors.js';
import { isGroupMac, MAC_BYTES, macKey } from './address.js';
import { ETHERNET_HEADER_BYTES } from './ethernet.js';
import { type Impairment, Link, type LinkStats } from './impair.js';
import { finishFrame, offloadOf } from './offload.js';
import type { RandomSource } from './random.js';
import { TimerQueue } from './timers.js';

// IEEE 802.1D, clause 7: learning, ageing and forwarding of a bridge without spanning tree.

const DEFAULT_AGE_NS = 300e9;
const DEFAULT_TABLE_SIZE = 4096;
/** 01:80:C2:00:00:00 to 0F are for the two ends of a cable and never forwarded. */
const LINK_LOCAL_GROUP = 0x0180_c200_0000;
const LINK_LOCAL_GROUPS = 16;
const MAX_FRAME_BYTES = 65_550;

export interface SwitchOptions {
  readonly name?: string;
  readonly clock: Clock;
  /** Needed by impaired ports. */
  readonly random?: RandomSource;
  /** How long a silent station is remembered, in virtual ns. Default: 300 s. */
  readonly ageNs?: number;
  /** Stations remembered at most. Default: 4096. */
  readonly tableSize?: number;
}

export interface SwitchPortOptions {
  readonly name?: string;
  /** What the cable does to frames; one for both directions, or each: `up` goes into the switch. */
  readonly impair?: Impairment | { readonly up?: Impairment; readonly down?: Impairment };
  /** Source addresses this port may use at one time; frames from further ones are dropped. */
  readonly macLimit?: number;
}

export interface SwitchPortStats {
  /** From the station into the switch. */
  framesIn: number;
  bytesIn: number;
  framesOut: number;
  bytesOut: number;
  /** Frames in that went to all ports: broadcast, multicast, unknown stations. */
  flooded: number;
  /** Frames in that were no frames, or not for forwarding. */
  dropped: number;
  /** Frames in beyond `macLimit`. */
  overMacLimit: number;
}

interface Station {
  port: SwitchPort;
  expiresNs: number;
}

/** A socket of a switch. Its user is the station at the other end of the cable. */
export class SwitchPort implements FramePort {
  onFrame: ((frame: Uint8Array) => void) | undefined;
  readonly stats: SwitchPortStats = { framesIn: 0, bytesIn: 0, framesOut: 0, bytesOut: 0, flooded: 0, dropped: 0, overMacLimit: 0 };
  /** False while the cable is pulled: nothing passes. */
  linkUp = true;
  readonly carriesOffload = true;
  acceptsOffload = false;
  readonly #up: Link;
  readonly #down: Link;

  constructor(
    readonly owner: Switch,
    readonly name: string,
    readonly macLimit: number,
    links: (up: (frame: Uint8Array) => void, down: (frame: Uint8Array) => void) => [Link, Link],
  ) {
    [this.#up, this.#down] = links(
      frame => owner.ingress(this, frame),
      frame => {
        if (!this.linkUp) return;
        if (this.acceptsOffload || offloadOf(frame) === undefined) this.onFrame?.(frame);
        else for (const one of finishFrame(frame)) this.onFrame?.(one);
      },
    );
  }

  send(frame: Uint8Array): void {
    if (this.linkUp) this.#up.transmit(frame);
  }

  /** The switch's side: a frame for the station. */
  emit(frame: Uint8Array): void {
    if (!this.linkUp) return;
    this.stats.framesOut++;
    this.stats.bytesOut += frame.length;
    this.#down.transmit(frame);
  }

  /** Changes the cable; what is under way arrives as it would have. */
  impair(directions: { readonly up?: Impairment; readonly down?: Impairment }): void {
    if (directions.up !== undefined) this.#up.impairment = directions.up;
    if (directions.down !== undefined) this.#down.impairment = directions.down;
  }

  get link(): { readonly up: LinkStats; readonly down: LinkStats } {
    return { up: this.#up.stats, down: this.#down.stats };
  }
}

/**
 * A learning Ethernet switch. Frames are passed by reference: once sent, a frame is never written again. A frame that is sent while another is
 * being delivered waits until that is done, so that stations which answer at once do not nest.
 */
export class Switch {
  readonly name: string;
  readonly ports: SwitchPort[] = [];
  /** Told of every frame that comes in and is a frame, before it is passed on. */
  onForward: ((frame: Uint8Array, port: SwitchPort) => void) | undefined;
  readonly #timers: TimerQueue;
  readonly #random: RandomSource | undefined;
  readonly #ageNs: number;
  readonly #tableSize: number;
  /** By address, first learned first. */
  readonly #stations = new Map<number, Station>();
  readonly #neighbours = new Set<Switch>();
  readonly #waiting: { port: SwitchPort; frame: Uint8Array }[] = [];
  #delivering = false;

  constructor(options: SwitchOptions) {
    this.name = options.name ?? 'switch';
    this.#timers = options.clock instanceof TimerQueue ? options.clock : new TimerQueue(options.clock);
    this.#random = options.random;
    this.#ageNs = options.ageNs ?? DEFAULT_AGE_NS;
    this.#tableSize = options.tableSize ?? DEFAULT_TABLE_SIZE;
  }

  /** Adds a port. Port names make the random streams of their cables, so they must differ. */
  connect(options: SwitchPortOptions = {}): SwitchPort {
    const name = options.name ?? `${this.name}.${this.ports.length}`;
    if (this.ports.some(port => port.name === name)) throw new VmletError('ERR_VMLET_CONFIG', `the switch '${this.name}' has a port '${name}' already`);
    const impair = options.impair ?? {};
    const directions = 'up' in impair || 'down' in impair ? impair : { up: impair as Impairment, down: impair as Impairment };
    const port = new SwitchPort(this, name, options.macLimit ?? Infinity, (up, down) => [
      this.#cable(`${name}:up`, directions.up, up),
      this.#cable(`${name}:down`, directions.down, down),
    ]);
    this.ports.push(port);
    return port;
  }

  #cable(stream: string, impairment: Impairment | undefined, deliver: (frame: Uint8Array) => void): Link {
    return new Link(this.#timers, this.#random?.(`net:${this.name}:${stream}`), impairment ?? {}, deliver);
  }

  /** Takes a port away; its stations are forgotten. */
  disconnect(port: SwitchPort): void {
    const at = this.ports.indexOf(port);
    if (at >= 0) this.ports.splice(at, 1);
    port.linkUp = false;
    for (const [key, station] of this.#stations) if (station.port === port) this.#stations.delete(key);
  }

  /**
   * Joins two switches by a cable. There is no spanning tree.
   *
   * @throws ERR_VMLET_CONFIG when they are joined already, directly or through others.
   */
  static link(a: Switch, b: Switch, options: SwitchPortOptions = {}): [SwitchPort, SwitchPort] {
    if (a.#reaches(b)) throw new VmletError('ERR_VMLET_CONFIG', `a cable from switch '${a.name}' to '${b.name}' would close a loop`, { hint: 'every two switches may have one way between them' });
    const portA = a.connect({ name: `to-${b.name}`, ...options });
    const portB = b.connect({ name: `to-${a.name}` });
    portA.acceptsOffload = portB.acceptsOffload = true;
    portA.onFrame = frame => portB.send(frame);
    portB.onFrame = frame => portA.send(frame);
    a.#neighbours.add(b);
    b.#neighbours.add(a);
    return [portA, portB];
  }

  #reaches(target: Switch): boolean {
    const seen = new Set<Switch>([this]);
    for (const one of seen) for (const next of one.#neighbours) seen.add(next);
    return seen.has(target);
  }

  /** A frame from the station at `port`. */
  ingress(port: SwitchPort, frame: Uint8Array): void {
    this.#waiting.push({ port, frame });
    if (this.#delivering) return;
    this.#delivering = true;
    try {
      // The array grows while it is read; what was read is cut off in pieces.
      for (let at = 0; at < this.#waiting.length; at++) {
        const next = this.#waiting[at];
        this.#forward(next.port, next.frame);
        if (at === 1023) {
          this.#waiting.splice(0, 1024);
          at = -1;
        }
      }
    } finally {
      this.#waiting.length = 0;
      this.#delivering = false;
    }
  }

  #forward(port: SwitchPort, frame: Uint8Array): void {
    const { stats } = port;
    if (frame.length < ETHERNET_HEADER_BYTES || frame.length > MAX_FRAME_BYTES || isGroupMac(frame, MAC_BYTES)) {
      stats.dropped++;
      return;
    }
    const { now } = this.#timers;
    if (!this.#learn(port, macKey(frame, MAC_BYTES), now)) {
      stats.overMacLimit++;
      return;
    }
    stats.framesIn++;
    stats.bytesIn += frame.length;
    this.onForward?.(frame, port);
    const dst = macKey(frame);
    if (dst >= LINK_LOCAL_GROUP && dst < LINK_LOCAL_GROUP + LINK_LOCAL_GROUPS) {
      stats.dropped++;
      return;
    }
    const station = isGroupMac(frame) ? undefined : this.#stations.get(dst);
    if (station !== undefined && station.expiresNs > now) {
      if (station.port !== port) station.port.emit(frame);
      return;
    }
    stats.flooded++;
    for (const other of this.ports.slice()) if (other !== port) other.emit(frame);
  }

  #learn(port: SwitchPort, key: number, now: number): boolean {
    const known = this.#stations.get(key);
    if (known !== undefined && known.port === port && known.expiresNs > now) {
      known.expiresNs = now + this.#ageNs;
      return true;
    }
    if (port.macLimit !== Infinity && this.#countStations(port, now) >= port.macLimit) return false;
    this.#stations.delete(key);
    if (this.#stations.size >= this.#tableSize) this.#evict(now);
    this.#stations.set(key, { port, expiresNs: now + this.#ageNs });
    return true;
  }

  #countStations(port: SwitchPort, now: number): number {
    let count = 0;
    for (const station of this.#stations.values()) if (station.port === port && station.expiresNs > now) count++;
    return count;
  }

  /** Forgets what is too old, else the station that was learned first. */
  #evict(now: number): void {
    for (const [key, station] of this.#stations) if (station.expiresNs <= now) this.#stations.delete(key);
    if (this.#stations.size < this.#tableSize) return;
    const first = this.#stations.keys().next();
    if (first.done !== true) this.#stations.delete(first.value);
  }

  /** Who is where, as `{ mac: 48-bit number, port name, age until forgotten in ns }`. */
  stations(): { mac: number; port: string; leftNs: number }[] {
    const { now } = this.#timers;
    return [...this.#stations].filter(([, station]) => station.expiresNs > now).map(([mac, { port, expiresNs }]) => ({ mac, port: port.name, leftNs: expiresNs - now }));
  }
}
