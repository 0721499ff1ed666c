import { accessSync, constants } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { ManualClock } from '../../src/host/clock.js';
import type { UdpAddress, UdpEndpoint, UdpHost } from '../../src/pxe/endpoint.js';
import { Random } from '../support/random.js';

export interface Impairment {
  readonly loss?: number;
  readonly duplicate?: number;
  /** Delays, in ms, from and to; a wide range reorders. */
  readonly delayMs?: readonly [number, number];
}

export interface SeenDatagram {
  /** Seconds of the wire's clock at sending. */
  readonly atS: number;
  readonly from: UdpAddress;
  readonly to: UdpAddress;
  readonly bytes: Uint8Array;
}

/** A wire for UDP alone, on a manual clock: it loses, doubles and delays by its seed. */
export class TestWire {
  readonly clock = new ManualClock();
  readonly seen: SeenDatagram[] = [];
  readonly #ports = new Map<string, (from: UdpAddress, bytes: Uint8Array) => void>();
  readonly #random: Random;
  readonly #queue: { atNs: number; order: number; run: () => void }[] = [];
  readonly #timer = this.clock.timer(() => this.#deliver());
  #order = 0;
  #nextPort = 40000;
  impairment: Impairment;
  /** Looks at every datagram; false drops it. */
  filter: (datagram: SeenDatagram) => boolean = () => true;

  constructor(seed = 1, impairment: Impairment = {}) {
    this.#random = new Random(seed);
    this.impairment = impairment;
  }

  host(address: string): UdpHost {
    return { address, unicastByMac: true, bind: port => this.#bind(address, port) };
  }

  /** An endpoint that hears broadcasts and has any source address: a client without an address. */
  client(address: string, port: number): UdpEndpoint {
    return this.#bind(address, port);
  }

  get openPorts(): number {
    return this.#ports.size;
  }

  /** Lets time pass until `done` or `ms` milliseconds are over. */
  run(ms: number, done: () => boolean = () => false): void {
    const end = this.clock.now + ms * 1e6;
    while (!done() && this.clock.deadline <= end) this.clock.advance(Math.max(0, this.clock.deadline - this.clock.now));
    if (!done()) this.clock.advance(end - this.clock.now);
  }

  #bind(address: string, port: number): UdpEndpoint {
    const own = { address, port: port || this.#nextPort++ };
    const key = `${own.address}:${own.port}`;
    if (this.#ports.has(key)) throw new Error(`${key} is taken`);
    const endpoint: UdpEndpoint = {
      onMessage: undefined,
      send: (to, bytes) => this.#send({ atS: this.clock.now / 1e9, from: own, to, bytes }),
      close: () => this.#ports.delete(key),
    };
    this.#ports.set(key, (from, bytes) => endpoint.onMessage?.(from, bytes));
    return endpoint;
  }

  #chance(probability = 0): boolean {
    return this.#random.u32() / 2 ** 32 < probability;
  }

  #send(datagram: SeenDatagram): void {
    this.seen.push(datagram);
    if (!this.filter(datagram) || this.#chance(this.impairment.loss)) return;
    const copies = this.#chance(this.impairment.duplicate) ? 2 : 1;
    const bytes = datagram.bytes.slice();
    for (let i = 0; i < copies; i++) {
      const [from, to] = this.impairment.delayMs ?? [0.1, 0.1];
      const atNs = this.clock.now + Math.round((from + ((to - from) * this.#random.below(1000)) / 1000) * 1e6);
      const run = (): void => {
        const { address, port } = datagram.to;
        if (address !== '255.255.255.255') this.#ports.get(`${address}:${port}`)?.(datagram.from, bytes);
        else for (const [key, receive] of [...this.#ports]) if (key.endsWith(`:${port}`) && key !== `${datagram.from.address}:${datagram.from.port}`) receive(datagram.from, bytes);
      };
      this.#queue.push({ atNs, order: this.#order++, run });
    }
    this.#queue.sort((a, b) => a.atNs - b.atNs || a.order - b.order);
    this.#timer.arm(this.#queue.length > 0 ? this.#queue[0].atNs : Infinity);
  }

  #deliver(): void {
    while (this.#queue.length > 0 && this.#queue[0].atNs <= this.clock.now) this.#queue.shift()!.run();
    if (this.#queue.length > 0) this.#timer.arm(this.#queue[0].atNs);
  }
}

export const patternBytes = (length: number, seed = 7): Uint8Array => {
  const bytes = new Uint8Array(length);
  let x = seed;
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1103515245) + 12345) & 0x7fffffff;
    bytes[i] = x >>> 16;
  }
  return bytes;
};

/** The path of a program, or undefined: the checkable reason to skip a test with a foreign one. */
export const program = (name: string): string | undefined => {
  for (const folder of [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/local/sbin']) {
    try {
      accessSync(`${folder}/${name}`, constants.X_OK);
      return `${folder}/${name}`;
    } catch {
      continue;
    }
  }
  return undefined;
};

/** Whether network namespaces can be made here: root, iproute2 and a kernel that lets us. */
export const canUseNamespaces = (): boolean => {
  if (process.getuid?.() !== 0 || program('ip') === undefined) return false;
  const name = `vmlet-probe-${process.pid}`;
  if (spawnSync('ip', ['netns', 'add', name]).status !== 0) return false;
  spawnSync('ip', ['netns', 'del', name]);
  return true;
};
