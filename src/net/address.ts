/** An IPv4 address as an unsigned 32-bit integer, most significant octet first. */
export type Ipv4 = number;

/** A MAC address: six bytes. */
export type Mac = Uint8Array;

export const MAC_BYTES = 6;
export const BROADCAST_MAC: Mac = Uint8Array.of(255, 255, 255, 255, 255, 255);
export const ZERO_MAC: Mac = new Uint8Array(MAC_BYTES);
export const IPV4_ANY: Ipv4 = 0;
export const IPV4_BROADCAST: Ipv4 = 0xffff_ffff;

/** Reads dotted decimal (four numbers without leading zeros); undefined for anything else. */
export const parseIpv4 = (text: string): Ipv4 | undefined => {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let value = 0;
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined;
    value = value * 256 + Number(part);
  }
  return value;
};

export const formatIpv4 = (address: Ipv4): string => `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;

/** Reads six hexadecimal octets with `:` or `-` between them. */
export const parseMac = (text: string): Mac | undefined => {
  if (!/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text)) return undefined;
  return Uint8Array.from(text.split(/[:-]/), octet => Number.parseInt(octet, 16));
};

export const formatMac = (mac: Mac): string => Array.from(mac, octet => octet.toString(16).padStart(2, '0')).join(':');

/** The address as a 48-bit number, for map keys. */
export const macKey = (bytes: Uint8Array, offset = 0): number =>
  (bytes[offset] * 0x100 + bytes[offset + 1]) * 0x1_0000_0000 +
  (bytes[offset + 2] * 0x100_0000 + ((bytes[offset + 3] << 16) | (bytes[offset + 4] << 8) | bytes[offset + 5]));

export const isGroupMac = (bytes: Uint8Array, offset = 0): boolean => (bytes[offset] & 1) !== 0;

export const sameMac = (a: Uint8Array, b: Uint8Array): boolean => macKey(a) === macKey(b);

/** Ethernet multicast address of an IPv4 group (RFC 1112, 6.4). */
export const multicastMac = (group: Ipv4): Mac => Uint8Array.of(0x01, 0x00, 0x5e, (group >>> 16) & 0x7f, (group >>> 8) & 255, group & 255);

export const isMulticast = (address: Ipv4): boolean => address >>> 28 === 0xe;

/** The netmask of a prefix length from 0 to 32. */
export const netmask = (prefix: number): number => (prefix === 0 ? 0 : (0xffff_ffff << (32 - prefix)) >>> 0);

/** A range of IPv4 addresses by prefix. */
export interface Subnet {
  readonly base: Ipv4;
  readonly prefix: number;
}

/** Reads `10.0.0.0/8`; a bare address is a /32. Host bits are cleared. */
export const parseSubnet = (text: string): Subnet | undefined => {
  const match = /^([\d.]+)(?:\/(\d{1,2}))?$/.exec(text);
  const address = match === null ? undefined : parseIpv4(match[1]);
  const prefix = Number(match?.[2] ?? 32);
  if (address === undefined || prefix > 32) return undefined;
  return { base: (address & netmask(prefix)) >>> 0, prefix };
};

export const inSubnet = (address: Ipv4, subnet: Subnet): boolean => (address & netmask(subnet.prefix)) >>> 0 === subnet.base;

/** The directed broadcast address of a subnet. */
export const subnetBroadcast = (subnet: Subnet): Ipv4 => (subnet.base | ~netmask(subnet.prefix)) >>> 0;
