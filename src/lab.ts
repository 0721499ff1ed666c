// Several machines on switches, in one process and one virtual time.
import { checkNet, type NetOptions, type NicOptions, nthAddress } from './config-net.js';
import { configError, type Duration, parseDuration, type VMOptions } from './config.js';
import type { Seed } from './host/backends/entropy.js';
import { Conductor } from './host/pace.js';
import { formatIpv4, formatMac, parseMac } from './net/address.js';
import type { Impairment } from './net/impair.js';
import { Switch } from './net/switch.js';
import { type LabMember, type LabPlace, VM, type VMInternals } from './vm.js';
import { allocateMac, CaptureFile, VirtualNetwork, type VirtualNetworkOptions } from './vm-network.js';
import type { VMExit } from './vm-verdict.js';

const FIRST_GUEST_INDEX = 15;

/** A switch. With a `subnet` it has a gateway at the second address, with DHCP, DNS and NAT. */
export interface LabSwitch extends NetOptions {
  /** Whether the gateway gives out addresses; true by default. */
  dhcp?: boolean | VirtualNetworkOptions['dhcp'];
  /** A file that gets all that the switch forwards (pcapng). */
  pcap?: string;
  /** What every cable does to frames, in both directions. */
  impair?: Impairment;
  /** Puts further services on the network before the first machine runs; what it returns ends them. */
  services?: (network: VirtualNetwork) => void | (() => void);
}

export interface LabNic extends Omit<NicOptions, 'connect'> {
  /** The name of a switch; without one the card has no cable. */
  switch?: string;
}

/** A machine of a lab. */
export interface LabVM extends Omit<VMOptions, 'nics' | 'seed' | 'time' | 'signal'> {
  nics?: readonly LabNic[];
}

export interface LabDefinition {
  /** Equal seeds give equal runs of the whole lab; 1 by default. */
  seed?: Seed;
  /** As for a VM; for all machines together. */
  time?: 'warp' | 'realtime';
  /** How long a frame takes from machine to machine; 50us by default. Machines run in longer turns, and faster, with more. */
  latency?: Duration;
  switches?: Readonly<Record<string, LabSwitch>>;
  /** Cables between switches, by their names. */
  links?: readonly (readonly [string, string])[];
  vms: Readonly<Record<string, LabVM>>;
  /** Ends the lab. */
  signal?: AbortSignal;
  onProgress?: (text: string) => void;
  /** Told what guests do to devices that no driver should do. */
  onGuestLog?: (line: string, vm: string) => void;
}

const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i;

const checkDefinition = (definition: LabDefinition): void => {
  const { switches = {}, links = [], vms } = definition;
  if (typeof vms !== 'object' || vms === null || Object.keys(vms).length === 0) throw configError('the lab has no machines', 'give at least one under vms');
  for (const name of [...Object.keys(switches), ...Object.keys(vms)]) {
    if (!NAME.test(name)) throw configError(`'${name}' is no name in a lab`, 'use letters, digits and hyphens');
  }
  const known = (name: string, where: string): void => {
    if (!Object.hasOwn(switches, name)) throw configError(`${where}: there is no switch '${name}'`, `there ${Object.keys(switches).length === 0 ? 'are none' : `are ${Object.keys(switches).join(', ')}`}`);
  };
  for (const link of links) for (const name of link) known(name, 'links');
  const macs = new Set<string>();
  for (const [name, { nics = [] }] of Object.entries(vms)) {
    for (const { switch: target, mac } of nics) {
      if (target !== undefined) known(target, name);
      const parsed = mac === undefined ? undefined : parseMac(mac);
      if (parsed === undefined) continue;
      if (macs.has(formatMac(parsed))) throw configError(`two cards of the lab have the address ${mac}`, 'leave mac out: every card gets its own');
      macs.add(formatMac(parsed));
    }
  }
};

/**
 * Machines on virtual switches. They run while something of any of them is awaited, and all of them together: between `await`s the lab stands
 * still. The same definition with the same seed gives the same run of every machine and the same frames, while nothing leaves the process.
 */
export class Lab implements AsyncDisposable {
  readonly conductor: Conductor;
  readonly vms: ReadonlyMap<string, VM>;
  readonly networks: ReadonlyMap<string, VirtualNetwork>;
  readonly #vms = new Map<string, VM>();
  readonly #networks = new Map<string, VirtualNetwork>();
  readonly #captures: CaptureFile[] = [];
  readonly #closers: (() => void)[] = [];
  readonly #members: LabMember[] = [];
  readonly #realtime: boolean;
  readonly #expected: number;
  #closed = false;
  /** Runs of the lab as a whole that are awaited. */
  #extraBusy = 0;
  readonly #releaseOutside = new Map<string, () => void>();

  /** Checks the definition, makes the switches and starts the machines. Rejects with VmletError, and then nothing is left open. */
  static async up(definition: LabDefinition, internals: VMInternals = {}): Promise<Lab> {
    checkDefinition(definition);
    const lab = new Lab(definition);
    try {
      await lab.#build(definition, internals);
    } catch (error) {
      await lab.stop();
      throw error;
    }
    return lab;
  }

  private constructor(definition: LabDefinition) {
    this.vms = this.#vms;
    this.networks = this.#networks;
    this.#realtime = definition.time === 'realtime';
    this.#expected = Object.keys(definition.vms).length;
    this.conductor = new Conductor({ realtime: this.#realtime, ...(definition.latency === undefined ? {} : { latencyNs: parseDuration(definition.latency, 'latency') }) });
  }

  async #build(definition: LabDefinition, internals: VMInternals): Promise<void> {
    const { seed = 1, switches = {}, links = [], vms, signal, onProgress, onGuestLog } = definition;
    const { DEFAULT_EPOCH_SECONDS } = await import('./host/machine.js');
    const epochSeconds = this.#realtime ? Math.floor(Date.now() / 1000) : DEFAULT_EPOCH_SECONDS;
    // Addresses first: the gateways' DHCP and DNS know every machine by name.
    const taken = new Set<string>();
    for (const { nics = [] } of Object.values(vms)) for (const { mac } of nics) if (mac !== undefined && parseMac(mac) !== undefined) taken.add(formatMac(parseMac(mac)!));
    const cards = Object.entries(vms).map(([name, { nics = [] }]) => nics.map((nic, index) => ({ ...nic, mac: nic.mac ?? formatMac(allocateMac(seed, name, index, taken)) })));
    const stations = Object.keys(vms).flatMap((vm, i) => cards[i].map(nic => ({ vm, nic })));
    for (const [name, options] of Object.entries(switches)) {
      this.#addSwitch(name, options, seed, epochSeconds, stations.filter(({ nic }) => nic.switch === name));
    }
    for (const [a, b] of links) Switch.link(this.network(a).switch, this.network(b).switch);
    for (const [name, { publish = [] }] of Object.entries(switches)) if (publish.length > 0) await this.network(name).publish(publish);
    for (const [i, [name, { nics: _, ...options }]] of Object.entries(vms).entries()) {
      const member = this.conductor.add(name);
      const place: LabPlace = { name, clock: member.clock, pace: member, join: one => this.#join(one) };
      const nics = cards[i].map(({ switch: target, ...nic }, index): NicOptions => {
        if (target === undefined) return { ...nic, connect: 'none' };
        const { impair } = switches[target];
        return { ...nic, connect: member.port(this.network(target).connect({ name: `${name}-nic${index}`, ...(impair === undefined ? {} : { impair }) })) };
      });
      const vm = await VM.start(
        {
          ...options,
          nics,
          seed: `${String(seed)}/${name}`,
          time: this.#realtime ? 'realtime' : 'warp',
          signal,
          onProgress: options.onProgress ?? onProgress,
          onGuestLog: options.onGuestLog ?? (onGuestLog && (line => onGuestLog(line, name))),
        },
        { ...internals, lab: place },
      );
      this.#vms.set(name, vm);
    }
    this.#changed();
  }

  #addSwitch(name: string, options: LabSwitch, seed: Seed, epochSeconds: number, stations: { vm: string; nic: LabNic & { mac: string } }[]): void {
    const { services, pcap, impair: _impair, dhcp, publish: _publish, ...net } = options;
    const checked = checkNet({ ...net, publish: options.publish });
    const withGateway = options.subnet !== undefined;
    // Fixed addresses count too, so that a name leads to what the machine has.
    const addresses = stations.map(({ vm, nic }, i) => {
      const fixed = /^([\d.]+)\//.exec(nic.address ?? '')?.[1];
      return { vm, mac: nic.mac, fixed: fixed !== undefined, address: fixed ?? formatIpv4(nthAddress(checked.subnet, FIRST_GUEST_INDEX + i)) };
    });
    const hosts = Object.fromEntries(addresses.map(({ vm, address }) => [vm, address]));
    const network = new VirtualNetwork({
      ...checked,
      name,
      clock: this.conductor.clock,
      seed,
      gateway: withGateway,
      ...(dhcp === undefined ? {} : { dhcp }),
      hosts: { ...hosts, ...options.hosts },
      reservations: addresses.filter(({ fixed }) => !fixed).map(({ vm, mac, address }) => ({ mac, address, hostname: vm })),
      onOutside: busy => this.#outside(name, busy),
    });
    this.#networks.set(name, network);
    if (pcap !== undefined) {
      const file = new CaptureFile(pcap, this.conductor.clock, epochSeconds);
      this.#captures.push(file);
      file.watch(network.switch);
    }
    const close = services?.(network);
    if (close) this.#closers.push(close);
  }

  #outside(network: string, busy: boolean): void {
    this.#releaseOutside.get(network)?.();
    this.#releaseOutside.delete(network);
    if (busy) this.#releaseOutside.set(network, this.conductor.hold());
  }

  /** A machine by name; throws ERR_VMLET_CONFIG. */
  vm(name: string): VM {
    const vm = this.#vms.get(name);
    if (vm === undefined) throw configError(`the lab has no machine '${name}'`, `there are ${[...this.#vms.keys()].join(', ')}`);
    return vm;
  }

  /** A switch with its gateway and services, by name; throws ERR_VMLET_CONFIG. */
  network(name: string): VirtualNetwork {
    const network = this.#networks.get(name);
    if (network === undefined) throw configError(`the lab has no switch '${name}'`, `there are ${[...this.#networks.keys()].join(', ')}`);
    return network;
  }

  /** Virtual time in ns. */
  get now(): number {
    return this.conductor.now;
  }

  /** Lets the lab run until all machines have ended. */
  async wait(): Promise<ReadonlyMap<string, VMExit>> {
    const exits = await Promise.all([...this.#vms].map(async ([name, vm]) => [name, await vm.wait()] as const));
    return new Map(exits);
  }

  /** Lets the lab run for a length of virtual time. */
  async run(time: Duration): Promise<void> {
    const timer = this.conductor.clock.timer(() => done());
    let done = (): void => {};
    const over = new Promise<void>(resolve => (done = resolve));
    timer.arm(this.now + parseDuration(time, 'time'));
    this.#extraBusy++;
    this.#changed();
    try {
      await Promise.race([over, Promise.all([...this.#vms.values()].map(({ exited }) => exited))]);
    } finally {
      timer.disarm();
      this.#extraBusy--;
      this.#changed();
    }
  }

  /** SHA-256 by machine: equal for equal runs. */
  async stateHashes(): Promise<Record<string, string>> {
    const hashes: Record<string, string> = {};
    for (const [name, vm] of this.#vms) hashes[name] = await vm.stateHash();
    return hashes;
  }

  /** Ends all machines at once and closes networks and captures. */
  async stop(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([...this.#vms.values()].map(vm => vm.stop()));
    for (const close of this.#closers) close();
    for (const network of this.#networks.values()) network.close();
    for (const release of this.#releaseOutside.values()) release();
    for (const capture of this.#captures) capture.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #join(member: LabMember): () => void {
    this.#members.push(member);
    return () => this.#changed();
  }

  /** All machines run, or none. */
  #changed(): void {
    if (this.#members.length < this.#expected || this.#vms.size < this.#expected) return;
    const alive = this.#members.filter(member => member.alive);
    const running = !alive.some(({ paused }) => paused) && (this.#realtime || this.#extraBusy > 0 || this.#members.some(({ busy }) => busy));
    for (const member of alive) {
      if (running) member.run();
      else member.halt();
    }
  }
}
