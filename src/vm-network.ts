// The wires of machines: switches, the gateway of a user network, captures, and the addresses of cards.
import { closeSync, openSync, writeSync } from 'node:fs';
import { type NetOptions, type NetworkConfig, nthAddress } from './config-net.js';
import { VmletError } from './errors.js';
import type { FramePort } from './host/backends/backend.js';
import { expandSeed, Prng, type Seed } from './host/backends/entropy.js';
import type { HostResolver, HostSockets } from './host/backends/outside.js';
import { NodeResolver, NodeSockets } from './host/backends/socket.js';
import type { NetworkCard } from './host/board/pc.js';
import type { Clock } from './host/clock.js';
import { formatIpv4, formatMac, type Mac, netmask, parseIpv4, parseSubnet } from './net/address.js';
import { DnsZone } from './net/dns.js';
import { Gateway } from './net/gateway.js';
import type { Impairment } from './net/impair.js';
import { Capture } from './net/pcap.js';
import { Switch, type SwitchPort, type SwitchPortOptions } from './net/switch.js';
import { udpPorts } from './net/udp-ports.js';
import { type AttachedDhcp, serveDhcp } from './pxe/dhcp/attach.js';
import type { DhcpReservation } from './pxe/dhcp/config.js';
import { DhcpServer, type DhcpServerOptions } from './pxe/dhcp/server.js';

const GATEWAY_INDEX = 2;
const DNS_INDEX = 3;
const FIRST_GUEST_INDEX = 15;
/** Longer than runs last: guests of one run need not renew. */
const LEASE_SECONDS = 30 * 86_400;

/** What a frame takes to a card, as in a lab: an answer at the very instruction that asks would keep senders from gathering data. */
const LATENCY_NS = 50_000;

/** Stations behind the cable of one machine, bridges and containers in it included: no machine can take all addresses of a network. */
const MACS_PER_CABLE = 64;

/** A locally administered address that is a hash of seed, machine and index, and not among `taken`; it is added there. */
export const allocateMac = (seed: Seed, machine: string, index: number, taken: Set<string>): Mac => {
  for (let attempt = 0; ; attempt++) {
    const [word] = expandSeed(seed, `mac:${machine}:${index}${attempt === 0 ? '' : `:${attempt}`}`, 1);
    const mac = Uint8Array.of(0x52, 0x54, 0x00, word >>> 24, word >>> 16, word >>> 8);
    const text = formatMac(mac);
    if (taken.has(text)) continue;
    taken.add(text);
    return mac;
  }
};

export interface VirtualNetworkOptions extends NetOptions {
  /** Makes the random streams and names the switch; `user` by default. */
  name?: string;
  clock: Clock;
  seed: Seed;
  /** Without a gateway it is only a switch. */
  gateway?: boolean;
  /** Serves addresses, with what is given here changed or added (boot policy, reservations); true by default where there is a gateway. */
  dhcp?: boolean | Partial<DhcpServerOptions>;
  reservations?: readonly DhcpReservation[];
  /** The way out; the host's network by default. */
  sockets?: HostSockets;
  resolver?: HostResolver;
  /** Told when the first thing opens outside, and when the last is gone. */
  onOutside?: (busy: boolean) => void;
  warn?: (message: string) => void;
}

/** A switch, and if wanted a gateway with DHCP, DNS and NAT on it. */
export class VirtualNetwork {
  readonly name: string;
  readonly switch: Switch;
  readonly gateway: Gateway | undefined;
  readonly dhcp: DhcpServer | undefined;
  readonly subnet: string;
  readonly #dhcpPorts: AttachedDhcp | undefined;
  /** Ports of the host that lead into the network, with the numbers that were given for 0. */
  readonly published: { readonly rule: string; readonly address: string; readonly port: number }[] = [];

  /** @throws ERR_VMLET_CONFIG */
  constructor(options: VirtualNetworkOptions) {
    const { clock, seed, name = 'user', subnet = '10.0.2.0/24' } = options;
    const random = (stream: string): Prng => new Prng(seed, stream);
    this.name = name;
    this.subnet = subnet;
    this.switch = new Switch({ name, clock, random });
    if (options.gateway === false) return;
    const address = formatIpv4(nthAddress(subnet, GATEWAY_INDEX));
    const { prefix } = parseSubnet(subnet)!;
    const zone = new DnsZone();
    zone.addHost('gateway', nthAddress(subnet, GATEWAY_INDEX));
    for (const [host, target] of Object.entries(options.hosts ?? {})) zone.addHost(host, parseIpv4(target)!);
    this.gateway = new Gateway({
      port: this.switch.connect({ name: 'gateway' }),
      clock,
      random: random(`net:${name}:gateway`),
      address,
      prefix,
      restrict: options.restrict,
      allow: options.allow,
      sockets: options.sockets ?? new NodeSockets(),
      resolver: options.resolver ?? new NodeResolver(),
      zone,
      guest: () => this.dhcp?.leases.all().filter(({ state }) => state === 'bound').at(-1)?.address,
      onOutside: options.onOutside,
      warn: options.warn,
    });
    this.gateway.host.aliases.add(nthAddress(subnet, DNS_INDEX));
    if (options.dhcp === false) return;
    const lastIndex = (~netmask(prefix) >>> 0) - 1;
    this.dhcp = new DhcpServer({
      clock,
      address,
      subnets: [
        {
          network: subnet.split('/')[0],
          prefix,
          pool: [{ from: formatIpv4(nthAddress(subnet, FIRST_GUEST_INDEX)), to: formatIpv4(nthAddress(subnet, lastIndex)) }],
          router: address,
          dns: [address],
          leaseSeconds: LEASE_SECONDS,
        },
      ],
      reservations: options.reservations,
      ...(options.dhcp === true ? {} : options.dhcp),
    });
    this.#dhcpPorts = serveDhcp(this.dhcp, udpPorts(this.gateway.host));
  }

  /** A socket of the switch for a card. */
  connect(options: SwitchPortOptions = {}): SwitchPort {
    return this.switch.connect({ macLimit: MACS_PER_CABLE, ...options });
  }

  /** Publishes ports of the host; rejects with ERR_VMLET_CONFIG when one cannot be opened, and then none stays open. */
  async publish(rules: readonly string[]): Promise<void> {
    if (this.gateway === undefined) throw new VmletError('ERR_VMLET_CONFIG', `the network '${this.name}' has no gateway, so no port can be published`);
    const opened = rules.map(rule => this.gateway!.publish(rule));
    const results = await Promise.allSettled(opened.map(({ ready }) => ready));
    const failed = results.find(result => result.status === 'rejected');
    if (failed === undefined) {
      results.forEach((result, i) => result.status === 'fulfilled' && this.published.push({ rule: rules[i], ...result.value }));
      return;
    }
    for (const one of opened) one.close();
    throw failed.reason;
  }

  /** Changes what the cables of all machines do to frames; of one machine when it is named. */
  impair(impairment: Impairment, machine?: string): void {
    for (const port of this.switch.ports) if (port.name !== 'gateway' && (machine === undefined || port.name.startsWith(`${machine}-nic`))) port.impair({ up: impairment, down: impairment });
  }

  close(): void {
    this.#dhcpPorts?.close();
    this.gateway?.close();
  }
}

/** A capture of cards into a file. */
export class CaptureFile {
  readonly #file: number;
  readonly #capture: Capture;
  #error: unknown;
  #closed = false;

  /** Throws ERR_VMLET_CONFIG when the file cannot be written. */
  constructor(path: string, clock: Pick<Clock, 'now'>, epochSeconds: number) {
    try {
      this.#file = openSync(path, 'w');
    } catch (cause) {
      throw new VmletError('ERR_VMLET_CONFIG', `cannot write the capture ${path}: ${(cause as Error).message}`, { hint: 'check the folder and its permissions', cause });
    }
    this.#capture = new Capture(bytes => this.#write(bytes), clock, epochSeconds);
  }

  tap(port: FramePort, name: string): FramePort {
    return this.#capture.pcap(port, { name });
  }

  /** Records what a switch forwards. */
  watch(hub: Switch): void {
    hub.onForward = this.#capture.recorder({ name: hub.name });
  }

  /** A full disk ends the capture, not the machine. */
  #write(bytes: Uint8Array): void {
    if (this.#error !== undefined || this.#closed) return;
    try {
      writeSync(this.#file, bytes);
    } catch (error) {
      this.#error = error;
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.#file);
  }
}

/** A cable that leads nowhere. */
export const loosePort = (): FramePort => ({ send: () => {}, onFrame: undefined });

export interface MachineNetworkOptions {
  /** Names the machine in hashes and captures. */
  machine: string;
  config: NetworkConfig;
  clock: Clock;
  seed: Seed;
  epochSeconds: number;
  /** MAC addresses of others on the same wires; those of this machine are added. */
  takenMacs?: Set<string>;
  /** Changes to the DHCP server of the machine's own network. */
  dhcp?: Partial<DhcpServerOptions>;
  warn?: (message: string) => void;
}

/** All cards of a machine with what is behind them. */
export class MachineNetwork {
  readonly cards: NetworkCard[] = [];
  /** The machine's own network, if it has one. */
  readonly network: VirtualNetwork | undefined;
  /** Told when the first thing opens outside, and when the last is gone; at once with how it is. */
  #onOutside: ((busy: boolean) => void) | undefined;
  readonly #capture: CaptureFile | undefined;

  /** Rejects with ERR_VMLET_CONFIG, for instance when a port to publish is taken; then nothing is left open. */
  static async create(options: MachineNetworkOptions): Promise<MachineNetwork> {
    const made = new MachineNetwork(options);
    try {
      await made.network?.publish(options.config.net?.publish ?? []);
    } catch (error) {
      made.close();
      throw error;
    }
    return made;
  }

  private constructor(options: MachineNetworkOptions) {
    const { machine, config, clock, seed, warn } = options;
    const taken = options.takenMacs ?? new Set<string>();
    for (const { mac } of config.nics) if (mac !== undefined) taken.add(formatMac(mac));
    if (config.pcap !== undefined) this.#capture = new CaptureFile(config.pcap, clock, options.epochSeconds);
    try {
      if (config.net !== undefined) this.network = new VirtualNetwork({ ...config.net, clock, seed, warn, dhcp: { ...options.dhcp, alone: true }, onOutside: busy => this.#onOutside?.(busy) });
      config.nics.forEach((nic, index) => {
        const name = `${machine}-nic${index}`;
        const port = nic.connect === 'none' ? loosePort() : nic.connect === 'user' ? this.network!.connect({ name, impair: { down: { delayNs: LATENCY_NS } } }) : nic.connect;
        this.cards.push({
          model: nic.model,
          mac: nic.mac ?? allocateMac(seed, machine, index, taken),
          port: this.#capture?.tap(port, name) ?? port,
          linkUp: nic.connect !== 'none',
          rom: nic.rom,
        });
      });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  set onOutside(told: (busy: boolean) => void) {
    this.#onOutside = told;
    if ((this.network?.gateway?.outside ?? 0) > 0) told(true);
  }

  close(): void {
    this.network?.close();
    this.#capture?.close();
  }
}
