// Boot rules, subnets and reservations as people write them in YAML: a file of its own for `netboot serve`, a part of a lab file.
import { type YamlNode } from '../yaml-source.js';
import type { BootClient, BootPlatform, BootRule, RuleMatch } from './booter.js';
import { inNetwork, ipv4Number, ipv4Text, macBytes, prefixMask } from './bytes.js';
import type { DhcpReservation, DhcpSubnet } from './dhcp/config.js';
import type { AddressRange } from './dhcp/leases.js';

export interface NetbootRules {
  readonly mode?: 'dhcp' | 'proxy' | 'off';
  readonly rules: readonly BootRule[];
  readonly subnets: readonly DhcpSubnet[];
  readonly reservations: readonly DhcpReservation[];
  /** TFTP paths of the iPXE loader of each platform. */
  readonly ipxeLoaders?: Partial<Record<BootPlatform, string>>;
}

export const PLATFORMS: readonly BootPlatform[] = [
  'bios', 'efi-ia32', 'efi-x64', 'efi-arm32', 'efi-arm64', 'efi-riscv32', 'efi-riscv64', 'efi-loongarch32', 'efi-loongarch64', 'other',
];
const KINDS: readonly BootClient['kind'][] = ['pxe', 'http', 'ipxe', 'bootp', 'dhcp'];
const WHAT = ['file', 'ipxe', 'kernel', 'local', 'deny'] as const;

const texts = (node: YamlNode | undefined): readonly string[] | undefined => node?.oneOrMore().map(item => item.text());

const parseMatch = (node: YamlNode): RuleMatch => {
  const { mac, uuid, arch, platform, kind, userClass, vendorClass, features, hostname, circuitId, remoteId } = node.fields([
    'mac', 'uuid', 'arch', 'platform', 'kind', 'userClass', 'vendorClass', 'features', 'hostname', 'circuitId', 'remoteId',
  ]);
  for (const pattern of mac?.oneOrMore() ?? []) {
    if (!/^[0-9a-f*?]{1,2}(?:[:-][0-9a-f*?]{1,2}){0,5}$|^[0-9a-f*?:-]*\*$/i.test(pattern.text())) throw pattern.fail(`'${pattern.text()}' is no pattern of a hardware address`, "write '52:54:00:*', in quotes");
  }
  return {
    mac: texts(mac),
    uuid: texts(uuid),
    arch: arch?.oneOrMore().map(item => item.integer(0, 0xffff)),
    platform: platform?.oneOrMore().map(item => item.oneOf(PLATFORMS)),
    kind: kind?.oneOrMore().map(item => item.oneOf(KINDS)),
    userClass: texts(userClass),
    vendorClass: texts(vendorClass),
    features: texts(features),
    hostname: texts(hostname),
    circuitId: texts(circuitId),
    remoteId: texts(remoteId),
  };
};

const address = (node: YamlNode): string => {
  const text = node.text();
  if (ipv4Number(text) === undefined) throw node.fail(`'${text}' is no IPv4 address`, 'write it as 10.9.0.1');
  return text;
};

const parseRule = (node: YamlNode): BootRule => {
  const fields = node.fields(['name', 'match', 'file', 'server', 'ipxe', 'kernel', 'initrd', 'cmdline', 'via', 'rootPath', 'pxelinux', 'local', 'deny']);
  const given = WHAT.filter(name => fields[name] !== undefined);
  if (given.length !== 1) throw node.fail(given.length === 0 ? 'the rule does not say what to boot' : `the rule says ${given.join(' and ')}: one is possible`, `a rule has one of ${WHAT.join(', ')}`);
  for (const name of ['initrd', 'cmdline', 'via'] as const) {
    if (fields[name] !== undefined && fields.kernel === undefined) throw fields[name].fail('it belongs to a kernel, and the rule names none');
  }
  if (fields.local !== undefined && !fields.local.boolean()) throw fields.local.fail('it can only be true');
  const pxelinux = fields.pxelinux?.fields(['config', 'prefix', 'rebootS']);
  return {
    name: fields.name?.text(),
    match: fields.match && parseMatch(fields.match),
    file: fields.file?.text(),
    server: fields.server && address(fields.server),
    ipxe: fields.ipxe?.text(),
    kernel: fields.kernel?.text(),
    initrd: texts(fields.initrd),
    cmdline: fields.cmdline?.text(),
    via: fields.via?.oneOf(['ipxe', 'pxelinux']),
    rootPath: fields.rootPath?.text(),
    pxelinux: pxelinux && { config: pxelinux.config?.text(), prefix: pxelinux.prefix?.text(), rebootS: pxelinux.rebootS?.integer(1, 0xffff_ffff) },
    local: fields.local === undefined ? undefined : true,
    deny: fields.deny?.text(),
  };
};

/** Reads '10.9.0.0/24'. */
export const parseNetwork = (node: YamlNode): { readonly network: string; readonly prefix: number } => {
  const text = node.text();
  const match = /^([\d.]+)\/(\d{1,2})$/.exec(text);
  const base = match === null ? undefined : ipv4Number(match[1]);
  const prefix = Number(match?.[2]);
  if (base === undefined || prefix < 8 || prefix > 30) throw node.fail(`'${text}' is no subnet`, 'write it as 10.9.0.0/24, with a prefix from 8 to 30');
  return { network: ipv4Text((base & prefixMask(prefix)) >>> 0), prefix };
};

/** Reads '10.9.0.100-10.9.0.200'; undefined when it is no range. */
export const parseRange = (text: string): AddressRange | undefined => {
  const [from, to, more] = text.split('-').map(part => part.trim());
  const [low, high] = [ipv4Number(from), ipv4Number(to ?? from)];
  return more !== undefined || low === undefined || high === undefined || low > high ? undefined : { from, to: to ?? from };
};

const range = (node: YamlNode): AddressRange => {
  const found = parseRange(node.text());
  if (!found) throw node.fail(`'${node.text()}' is no range of addresses`, 'write it as 10.9.0.100-10.9.0.200');
  return found;
};

/** The usable addresses of a network but the first `reserved` ones. */
export const wholePool = (network: string, prefix: number, reserved = 16): AddressRange => {
  const base = ipv4Number(network)!;
  const last = (base | ~prefixMask(prefix)) >>> 0;
  return { from: ipv4Text(Math.min(base + reserved, last - 1)), to: ipv4Text(last - 1) };
};

const parseSubnet = (node: YamlNode): DhcpSubnet => {
  const { subnet, pool, router, dns, domain, search, ntp, mtu, leaseSeconds } = node.fields(['subnet', 'pool', 'router', 'dns', 'domain', 'search', 'ntp', 'mtu', 'leaseSeconds']);
  if (!subnet) throw node.fail('the subnet has no addresses', 'write for instance subnet: 10.9.0.0/24');
  const network = parseNetwork(subnet);
  return {
    ...network,
    pool: pool?.oneOrMore().map(range) ?? [wholePool(network.network, network.prefix)],
    router: router && address(router),
    dns: dns?.oneOrMore().map(address),
    domain: domain?.text(),
    search: texts(search),
    ntp: ntp?.oneOrMore().map(address),
    mtu: mtu?.integer(576, 65535),
    leaseSeconds: leaseSeconds?.integer(60, 0xffff_fffe),
  };
};

const parseReservation = (node: YamlNode): DhcpReservation => {
  const fields = node.fields(['address', 'mac', 'clientId', 'hostname']);
  if (!fields.address) throw node.fail('the reservation has no address');
  const mac = fields.mac?.text();
  if (mac !== undefined && macBytes(mac) === undefined) throw fields.mac!.fail(`'${mac}' is no hardware address`, 'write it as 52:54:00:12:34:56, in quotes');
  return { address: address(fields.address), mac, clientId: fields.clientId?.text(), hostname: fields.hostname?.text() };
};

const parseLoaders = (node: YamlNode): Partial<Record<BootPlatform, string>> => {
  if (node.isText) return { bios: node.text() };
  const fields = node.fields(PLATFORMS);
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, value.text()]));
};

/** Reads a map with `rules` and what belongs to them, or a bare list of rules. Throws ERR_VMLET_CONFIG. */
export const parseNetbootRules = (node: YamlNode): NetbootRules => {
  if (node.isList) return { rules: node.list().map(parseRule), subnets: [], reservations: [] };
  const { mode, rules, subnets, reservations, ipxe } = node.fields(['mode', 'rules', 'subnets', 'reservations', 'ipxe']);
  return {
    mode: mode?.oneOf(['dhcp', 'proxy', 'off']),
    rules: rules?.list().map(parseRule) ?? [],
    subnets: subnets?.oneOrMore().map(parseSubnet) ?? [],
    reservations: reservations?.oneOrMore().map(parseReservation) ?? [],
    ipxeLoaders: ipxe && parseLoaders(ipxe),
  };
};

/** A subnet for a range given alone: the network around it, which is the interface's where that holds it. */
export const subnetOfRange = (pool: AddressRange, own: { readonly address: string; readonly prefix: number }): DhcpSubnet | undefined => {
  const base = ((ipv4Number(own.address) ?? 0) & prefixMask(own.prefix)) >>> 0;
  const prefix = Math.min(30, Math.max(8, own.prefix));
  if (!inNetwork(pool.from, ipv4Text(base), own.prefix) || !inNetwork(pool.to, ipv4Text(base), own.prefix)) return undefined;
  return { network: ipv4Text(base), prefix, pool: [pool] };
};
