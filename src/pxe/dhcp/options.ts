// Option formats beyond bytes and addresses: RFC 2132, 3004, 3046, 3442, 4578, PXE 2.1, iPXE's option 175.
import { concatBytes, hexOf, ipv4Bytes, ipv4Number, ipv4Text, prefixMask, readU16, readU32, textOf, u8, utf8 } from '../bytes.js';
import { OPT, type DhcpOptions } from './codec.js';

export const optionU8 = (options: DhcpOptions, code: number): number | undefined => options.get(code)?.[0];

export const optionU16 = (options: DhcpOptions, code: number): number | undefined => {
  const value = options.get(code);
  return value && value.length >= 2 ? readU16(value, 0) : undefined;
};

export const optionU32 = (options: DhcpOptions, code: number): number | undefined => {
  const value = options.get(code);
  return value && value.length >= 4 ? readU32(value, 0) : undefined;
};

export const optionAddress = (options: DhcpOptions, code: number): string | undefined => {
  const value = optionU32(options, code);
  return value === undefined ? undefined : ipv4Text(value);
};

export const optionAddresses = (options: DhcpOptions, code: number): string[] => {
  const value = options.get(code) ?? new Uint8Array(0);
  return Array.from({ length: Math.floor(value.length / 4) }, (_, i) => ipv4Text(readU32(value, 4 * i)));
};

export const optionText = (options: DhcpOptions, code: number): string | undefined => {
  const value = options.get(code);
  return value === undefined ? undefined : textOf(value);
};

export const addressesOption = (addresses: readonly string[]): Uint8Array => concatBytes(addresses.map(ipv4Bytes));

/** Codes and values inside an option (43, 82, 175). PAD and END are bytes of their own as in PXE's option 43, unless `plain`. */
export const parseSuboptions = (value: Uint8Array, plain = false): Map<number, Uint8Array> => {
  const result = new Map<number, Uint8Array>();
  for (let at = 0; at < value.length; ) {
    const code = value[at++];
    if (!plain && code === OPT.pad) continue;
    if (!plain && code === OPT.end) break;
    const length = value[at++];
    if (length === undefined || at + length > value.length) break;
    if (!result.has(code)) result.set(code, value.slice(at, at + length));
    at += length;
  }
  return result;
};

export const encodeSuboptions = (suboptions: Iterable<readonly [number, Uint8Array]>, end = true): Uint8Array =>
  concatBytes([...[...suboptions].flatMap(([code, value]) => [Uint8Array.of(code, value.length), value.subarray(0, 255)]), ...(end ? [u8(OPT.end)] : [])]);

/** Option 77. RFC 3004 wants lengths in front of each class; iPXE and many others send the bare text. */
export const parseUserClasses = (value: Uint8Array): string[] => {
  const classes: string[] = [];
  let at = 0;
  while (at < value.length && value[at] > 0 && at + 1 + value[at] <= value.length) {
    classes.push(textOf(value.subarray(at + 1, at + 1 + value[at])));
    at += 1 + value[at];
  }
  if (value.length > 0 && at === value.length) return classes;
  const bare = textOf(value);
  return bare === '' ? [] : [bare];
};

/** Option 82 (RFC 3046). Texts are hex digits, because the ids are opaque bytes. */
export interface RelayAgent {
  readonly circuitId?: string;
  readonly remoteId?: string;
  /** RFC 3527: the subnet to choose from, when giaddr is not in it. */
  readonly linkSelection?: string;
  /** RFC 5107: the address that clients shall take for the server's. */
  readonly serverIdOverride?: string;
}

export const parseRelayAgent = (value: Uint8Array): RelayAgent => {
  const suboptions = parseSuboptions(value, true);
  const hex = (code: number): string | undefined => {
    const found = suboptions.get(code);
    return found === undefined ? undefined : hexOf(found);
  };
  return { circuitId: hex(1), remoteId: hex(2), linkSelection: optionAddress(suboptions, 5), serverIdOverride: optionAddress(suboptions, 11) };
};

export interface Route {
  readonly network: string;
  readonly prefix: number;
  readonly gateway: string;
}

/** Option 121 (RFC 3442). */
export const encodeRoutes = (routes: readonly Route[]): Uint8Array =>
  concatBytes(
    routes.flatMap(({ network, prefix, gateway }) => {
      const masked = ipv4Text(((ipv4Number(network) ?? 0) & prefixMask(prefix)) >>> 0);
      return [u8(prefix), ipv4Bytes(masked).subarray(0, Math.ceil(prefix / 8)), ipv4Bytes(gateway)];
    }),
  );

export const parseRoutes = (value: Uint8Array): Route[] => {
  const routes: Route[] = [];
  for (let at = 0; at < value.length; ) {
    const prefix = value[at++];
    const significant = Math.ceil(prefix / 8);
    if (prefix > 32 || at + significant + 4 > value.length) break;
    const network = new Uint8Array(4);
    network.set(value.subarray(at, at + significant));
    at += significant;
    routes.push({ network: ipv4Text(readU32(network, 0)), prefix, gateway: ipv4Text(readU32(value, at)) });
    at += 4;
  }
  return routes;
};

/** Option 119 (RFC 3397), without compression. */
export const encodeDomainSearch = (domains: readonly string[]): Uint8Array =>
  concatBytes(domains.flatMap(domain => [...domain.split('.').filter(Boolean).flatMap(label => [u8(Math.min(63, utf8(label).length)), utf8(label).subarray(0, 63)]), u8(0)]));

/** Options 124 and 125 (RFC 3925): the data of each enterprise number. */
export const parseVendorIdentifying = (value: Uint8Array): Map<number, Uint8Array> => {
  const result = new Map<number, Uint8Array>();
  for (let at = 0; at + 5 <= value.length; ) {
    const length = value[at + 4];
    if (at + 5 + length > value.length) break;
    result.set(readU32(value, at), value.slice(at + 5, at + 5 + length));
    at += 5 + length;
  }
  return result;
};

/** Option 97: type 0 and 16 bytes, as a UUID in the byte order of SMBIOS, which is what tools print for a machine. */
export const parseGuid = (value: Uint8Array): string | undefined => {
  if (value.length !== 17 || value[0] !== 0) return undefined;
  const hex = hexOf(Uint8Array.of(...[4, 3, 2, 1, 6, 5, 8, 7].map(i => value[i]), ...value.subarray(9)));
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
};

/** PXE's suboptions of option 43 (PXE 2.1, table 2-1). */
export const PXE_VENDOR = { discoveryControl: 6, multicastAddress: 7, bootServers: 8, bootMenu: 9, menuPrompt: 10, bootItem: 71 } as const;
/** Discovery control: no broadcast, no multicast, only listed servers, and boot the file at once. */
export const PXE_BOOT_AT_ONCE = 8;

/** What iPXE tells in option 175. */
export interface IpxeInfo {
  readonly version?: string;
  readonly features: ReadonlySet<string>;
}

const IPXE_FEATURES: Readonly<Record<number, string>> = {
  0x10: 'pxe-ext', 0x11: 'iscsi', 0x12: 'aoe', 0x13: 'http', 0x14: 'https', 0x15: 'tftp', 0x16: 'ftp', 0x17: 'dns', 0x18: 'bzimage', 0x19: 'multiboot', 0x1a: 'slam',
  0x1b: 'srp', 0x20: 'nbi', 0x21: 'pxe', 0x22: 'elf', 0x23: 'comboot', 0x24: 'efi', 0x25: 'fcoe', 0x26: 'vlan', 0x27: 'menu', 0x28: 'sdi', 0x29: 'nfs',
};

/** Settings that a server may send in option 175. */
export const IPXE_SETTING = { keepSan: 8, noPxeDhcp: 176, busId: 177, useCached: 178 } as const;
const IPXE_VERSION = 235;

export const parseIpxe = (value: Uint8Array): IpxeInfo => {
  const features = new Set<string>();
  let version: string | undefined;
  for (const [code, data] of parseSuboptions(value)) {
    if (code === IPXE_VERSION) version = Array.from(data).join('.');
    else if (code in IPXE_FEATURES && data[0] !== 0) features.add(IPXE_FEATURES[code]);
  }
  return { version, features };
};
