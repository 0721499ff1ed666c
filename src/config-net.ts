import { readFileSync } from 'node:fs';
import { VmletError } from './errors.js';
import type { FramePort } from './host/backends/backend.js';
import { NIC_MODELS, type NicModel } from './host/devices/nic-models.js';
import { formatMac, inSubnet, isGroupMac, netmask, parseIpv4, parseMac, parseSubnet } from './net/address.js';
import { EgressPolicy } from './net/egress.js';
import { parsePublish } from './net/publish.js';

export type { NicModel } from './host/devices/nic-models.js';

const MAX_NICS = 8;
const DEFAULT_SUBNET = '10.0.2.0/24';

/** A virtual network with a gateway: DHCP, DNS, and user-mode NAT to the host's network. */
export interface NetOptions {
  /** Whether guests are cut off from everything outside the process. */
  restrict?: boolean;
  /**
   * Destinations that are closed unless asked for: `127.0.0.1:8080`, `10.1.0.0/16`, `192.168.1.5:1-1024`, or one of `loopback`, `link-local`,
   * `private`, `host`, `metadata`. Guests reach the host's loopback by the gateway's address.
   */
  allow?: readonly string[];
  /** ADDRESS/PREFIX; 10.0.2.0/24 by default. The gateway has its second address, guests get the 15th and the following ones. */
  subnet?: string;
  /** Ports of the host that lead into the network: `[HOST_ADDRESS:]HOST_PORT:[GUEST_ADDRESS:]GUEST_PORT[/udp]`. */
  publish?: readonly string[];
  /** Names that the network's DNS answers: address by name. */
  hosts?: Readonly<Record<string, string>>;
}

/** A network card. */
export interface NicOptions {
  /** virtio by default. */
  model?: NicModel;
  /** By default a hash of seed, machine and index. */
  mac?: string;
  /** Where the cable leads: `user` is the machine's own network, `none` nowhere, else a socket of a switch. By default `user` if there is one. */
  connect?: 'user' | 'none' | FramePort;
  /** Path of an option ROM, or its bytes. */
  rom?: string | Uint8Array;
  /** How a built-in guest sets it up: `dhcp` (default), `none`, or ADDRESS/PREFIX with `,GATEWAY` behind it if there is one. */
  address?: string;
}

/** The network options of a machine. */
export interface NetworkOptions {
  /**
   * The network behind its cards: `none` (default); `user`, a gateway with DHCP, DNS and NAT; or `user` with words behind it: `restrict`,
   * `allow=DESTINATION`, `subnet=ADDRESS/PREFIX`; or an object.
   */
  net?: string | NetOptions;
  /** Network cards; one when there is a network. */
  nics?: readonly NicOptions[];
  /** Ports of the host that lead to the guest, such as `127.0.0.1:8080:80`. */
  publish?: readonly string[];
  /** A file that gets a capture of all cards (pcapng). */
  pcap?: string;
}

export interface NicConfig {
  model: NicModel;
  mac: Uint8Array | undefined;
  connect: 'user' | 'none' | FramePort;
  rom: Uint8Array | undefined;
  address: string;
}

export interface NetworkConfig {
  net: (NetOptions & { subnet: string }) | undefined;
  nics: NicConfig[];
  pcap: string | undefined;
}

const configError = (message: string, hint?: string): VmletError => new VmletError('ERR_VMLET_CONFIG', message, { hint });

/** Reads `none`, `user`, `user,restrict`, `user,allow=loopback`... */
export const parseNet = (text: string): NetOptions | undefined => {
  const [kind, ...words] = text.split(',');
  if (kind === 'none' && words.length === 0) return undefined;
  if (kind !== 'user') throw configError(`net: '${text}' is not known`, 'use none, user or user,restrict');
  const options: NetOptions & { allow: string[] } = { allow: [] };
  for (const word of words) {
    const [, name, value] = /^([a-z]+)(?:=(.+))?$/.exec(word) ?? [];
    if (name === 'restrict' && value === undefined) options.restrict = true;
    else if (name === 'allow' && value !== undefined) options.allow.push(value);
    else if (name === 'subnet' && value !== undefined) options.subnet = value;
    else throw configError(`net: '${word}' is not known`, 'after user there may be restrict, allow=DESTINATION or subnet=ADDRESS/PREFIX');
  }
  return options;
};

/** Checks a network; throws ERR_VMLET_CONFIG. */
export const checkNet = (options: NetOptions): NetOptions & { subnet: string } => {
  const subnet = options.subnet ?? DEFAULT_SUBNET;
  const parsed = parseSubnet(subnet);
  if (parsed === undefined || parsed.prefix < 8 || parsed.prefix > 27) throw configError(`net: '${subnet}' is no subnet for guests`, 'write ADDRESS/PREFIX with a prefix from 8 to 27, for instance 10.0.2.0/24');
  void new EgressPolicy({ allow: options.allow });
  for (const rule of options.publish ?? []) {
    const { guestAddress } = parsePublish(rule);
    if (guestAddress !== undefined && !inSubnet(guestAddress, parsed)) throw configError(`publish: the guest's address in '${rule}' is not in ${subnet}`);
  }
  for (const [name, address] of Object.entries(options.hosts ?? {})) {
    if (parseIpv4(address) === undefined) throw configError(`hosts: '${address}' of '${name}' is no IPv4 address`);
  }
  return { ...options, subnet };
};

const checkMac = (text: string): Uint8Array => {
  const mac = parseMac(text);
  if (mac === undefined) throw configError(`mac: '${text}' is no MAC address`, 'write it as 52:54:00:12:34:56');
  if (isGroupMac(mac) || mac.every(octet => octet === 0)) throw configError(`mac: '${text}' is no address of one station`, 'the first octet must be even');
  return mac;
};

/** What a built-in guest is told of a card. */
const checkAddress = (text: string): string => {
  if (text === 'dhcp' || text === 'none') return text;
  const [, address, prefix, gateway] = /^([\d.]+)\/(\d{1,2})(?:,([\d.]+))?$/.exec(text) ?? [];
  const valid = address !== undefined && parseIpv4(address) !== undefined && Number(prefix) >= 1 && Number(prefix) <= 32;
  if (!valid || (gateway !== undefined && parseIpv4(gateway) === undefined)) {
    throw configError(`address: '${text}' is no way to set up a card`, 'use dhcp, none or ADDRESS/PREFIX, with ,GATEWAY if there is one');
  }
  return text;
};

const readRom = (rom: string | Uint8Array | undefined): Uint8Array | undefined => {
  if (typeof rom !== 'string') return rom;
  try {
    return readFileSync(rom);
  } catch (cause) {
    throw new VmletError('ERR_VMLET_IMAGE_NOT_FOUND', `cannot read the option ROM ${rom}: ${(cause as Error).message}`, { hint: 'check the path', cause });
  }
};

const checkNic = (nic: NicOptions, hasNet: boolean): NicConfig => {
  const { model = 'virtio', connect = hasNet ? 'user' : 'none' } = nic;
  if (!NIC_MODELS.includes(model)) throw configError(`model: there is no network card '${String(model)}'`, `use ${NIC_MODELS.join(', ')}`);
  if (connect === 'user' && !hasNet) throw configError('a network card leads to the user network, and there is none', "give net: 'user'");
  return { model, mac: nic.mac === undefined ? undefined : checkMac(nic.mac), connect, rom: readRom(nic.rom), address: checkAddress(nic.address ?? 'dhcp') };
};

/** Checks the network options of a machine; throws ERR_VMLET_CONFIG naming the first that is wrong. */
export const checkNetwork = (options: NetworkOptions): NetworkConfig => {
  const { publish = [], pcap } = options;
  const given = typeof options.net === 'string' ? parseNet(options.net) : options.net;
  if (publish.length > 0 && given === undefined) throw configError('ports are published, and there is no network', "give net: 'user' (--net user)");
  const net = given === undefined ? undefined : checkNet({ ...given, publish: [...(given.publish ?? []), ...publish] });
  const wanted = options.nics ?? (net === undefined ? [] : [{}]);
  if (wanted.length > MAX_NICS) throw configError(`${wanted.length} network cards: a machine has up to ${MAX_NICS}`);
  const nics = wanted.map(nic => checkNic(nic, net !== undefined));
  const macs = nics.flatMap(({ mac }) => (mac === undefined ? [] : [formatMac(mac)]));
  const double = macs.find((mac, i) => macs.indexOf(mac) !== i);
  if (double !== undefined) throw configError(`mac: two cards have the address ${double}`);
  if (pcap !== undefined && nics.length === 0) throw configError('pcap: there is no network card to capture', "give net: 'user' (--net user)");
  return { net, nics, pcap };
};

/** The n-th address of a subnet. */
export const nthAddress = (subnet: string, n: number): number => {
  const { base, prefix } = parseSubnet(subnet)!;
  const size = ~netmask(prefix) >>> 0;
  return (base + Math.min(n, size)) >>> 0;
};

/** What the kernel command line tells init of the cards; undefined when there is nothing to set up. */
export const guestNetWord = (nics: readonly NicConfig[]): string | undefined =>
  nics.length === 0 || nics.every(({ address }) => address === 'none') ? undefined : `vmlet.net=${nics.map(({ address }) => address.replace(',', '@')).join(',')}`;
