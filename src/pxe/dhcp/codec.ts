// BOOTP and DHCPv4 messages: RFC 951, 1542, 2131, 2132; option overload is read (2132, 9.3), not written; long options RFC 3396.
import { ANY_ADDRESS, concatBytes, defect, hexOf, ipv4Bytes, ipv4Text, macText, readU16, readU32, textOf, u16, u32, u8, utf8, type Decoded } from '../bytes.js';

export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;
/** Where PXE clients ask a ProxyDHCP or boot server that gave no file (PXE 2.1, 2.2.4). */
export const PXE_SERVER_PORT = 4011;

const HEADER_BYTES = 236;
const SNAME_AT = 44;
const SNAME_BYTES = 64;
const FILE_AT = 108;
const FILE_BYTES = 128;
const MAGIC = 0x6382_5363;
/** Relay agents and old clients drop BOOTP messages that are shorter. */
export const DHCP_MIN_BYTES = 300;
/** The DHCP message that every client takes: a datagram of 576 bytes less IP's and UDP's headers (RFC 2131, 2). */
export const DHCP_DEFAULT_MAX_BYTES = 576 - 28;

export const OPT = {
  pad: 0,
  subnetMask: 1,
  router: 3,
  dns: 6,
  hostname: 12,
  domain: 15,
  rootPath: 17,
  mtu: 26,
  broadcast: 28,
  staticRoutes: 33,
  ntp: 42,
  vendor: 43,
  requestedAddress: 50,
  leaseTime: 51,
  overload: 52,
  messageType: 53,
  serverId: 54,
  parameters: 55,
  message: 56,
  maxSize: 57,
  renewal: 58,
  rebinding: 59,
  vendorClass: 60,
  clientId: 61,
  tftpServer: 66,
  bootFile: 67,
  userClass: 77,
  relayAgent: 82,
  architecture: 93,
  nii: 94,
  guid: 97,
  domainSearch: 119,
  classlessRoutes: 121,
  viVendorClass: 124,
  viVendor: 125,
  tftpServers: 150,
  etherboot: 175,
  pxelinuxMagic: 208,
  pxelinuxConfig: 209,
  pxelinuxPrefix: 210,
  pxelinuxReboot: 211,
  end: 255,
} as const;

export const DHCP_TYPES = ['', 'DISCOVER', 'OFFER', 'REQUEST', 'DECLINE', 'ACK', 'NAK', 'RELEASE', 'INFORM'] as const;
export type DhcpType = Exclude<(typeof DHCP_TYPES)[number], ''>;

/** Option code to value; the parts of a split option are joined. Iteration is in order of appearance. */
export type DhcpOptions = ReadonlyMap<number, Uint8Array>;

export interface DhcpMessage {
  readonly op: 'request' | 'reply';
  readonly htype: number;
  readonly hops: number;
  readonly xid: number;
  readonly secs: number;
  /** The flag by which a client asks for replies it can hear without an address. */
  readonly broadcast: boolean;
  readonly ciaddr: string;
  readonly yiaddr: string;
  readonly siaddr: string;
  readonly giaddr: string;
  /** hlen bytes, 0 to 16. */
  readonly chaddr: Uint8Array;
  /** Empty when the field carries options. */
  readonly sname: string;
  readonly file: string;
  readonly options: DhcpOptions;
  /** Whether the magic cookie was there: without it a plain BOOTP message. */
  readonly magic: boolean;
}

const parseOptions = (area: Uint8Array, where: string, options: Map<number, Uint8Array>, warnings: string[]): void => {
  for (let at = 0; at < area.length; ) {
    const code = area[at++];
    if (code === OPT.pad) continue;
    if (code === OPT.end) return;
    const length = area[at++];
    if (length === undefined || at + length > area.length) {
      warnings.push(`option ${code} in ${where} is cut off`);
      return;
    }
    const value = area.subarray(at, at + length);
    const before = options.get(code);
    options.set(code, before ? concatBytes([before, value]) : value.slice());
    at += length;
  }
  warnings.push(`${where} do not end with option 255`);
};

/** Decodes one UDP payload. */
export const decodeDhcp = (bytes: Uint8Array): Decoded<DhcpMessage> => {
  if (bytes.length < HEADER_BYTES) return defect(`${bytes.length} bytes are shorter than a BOOTP header`);
  if (bytes[0] !== 1 && bytes[0] !== 2) return defect(`the operation ${bytes[0]} is neither request nor reply`);
  const hlen = bytes[2];
  if (hlen > 16) return defect(`a hardware address of ${hlen} bytes`);
  const warnings: string[] = [];
  const options = new Map<number, Uint8Array>();
  const magic = bytes.length >= HEADER_BYTES + 4 && readU32(bytes, HEADER_BYTES) === MAGIC;
  let sname = textOf(bytes.subarray(SNAME_AT, SNAME_AT + SNAME_BYTES));
  let file = textOf(bytes.subarray(FILE_AT, FILE_AT + FILE_BYTES));
  if (magic) {
    parseOptions(bytes.subarray(HEADER_BYTES + 4), 'the options', options, warnings);
    const overload = options.get(OPT.overload)?.[0] ?? 0;
    if (overload > 3) warnings.push(`option 52 has the unknown value ${overload}`);
    // RFC 3396, 5: joined in the order options, file, sname.
    if (overload === 1 || overload === 3) {
      parseOptions(bytes.subarray(FILE_AT, FILE_AT + FILE_BYTES), 'the options in file', options, warnings);
      file = '';
    }
    if (overload === 2 || overload === 3) {
      parseOptions(bytes.subarray(SNAME_AT, SNAME_AT + SNAME_BYTES), 'the options in sname', options, warnings);
      sname = '';
    }
  }
  const message: DhcpMessage = {
    op: bytes[0] === 1 ? 'request' : 'reply',
    htype: bytes[1],
    hops: bytes[3],
    xid: readU32(bytes, 4),
    secs: readU16(bytes, 8),
    broadcast: (bytes[10] & 0x80) !== 0,
    ciaddr: ipv4Text(readU32(bytes, 12)),
    yiaddr: ipv4Text(readU32(bytes, 16)),
    siaddr: ipv4Text(readU32(bytes, 20)),
    giaddr: ipv4Text(readU32(bytes, 24)),
    chaddr: bytes.slice(28, 28 + hlen),
    sname,
    file,
    options,
    magic,
  };
  return { ok: true, value: message, warnings };
};

/** Never left out for lack of room, in this order at the front. */
const ESSENTIAL: readonly number[] = [
  OPT.messageType, OPT.serverId, OPT.leaseTime, OPT.subnetMask, OPT.router, OPT.requestedAddress, OPT.maxSize, OPT.vendorClass, OPT.clientId, OPT.guid,
  OPT.architecture, OPT.nii, OPT.userClass, OPT.parameters, OPT.vendor, OPT.bootFile, OPT.tftpServer,
];

export interface EncodedDhcp {
  readonly bytes: Uint8Array;
  /** Options that did not fit. */
  readonly dropped: readonly number[];
}

/**
 * Encodes a message of at most `maxBytes`, padded to 300. Options leave in the order of the map, the message type first and the relay's option 82
 * last (RFC 3046, 2.2); one of more than 255 bytes is split. What does not fit is left out, from the end, and told. `sname` is cut at
 * 63 bytes and `file` at 127.
 */
export const encodeDhcp = (message: DhcpMessage, maxBytes = DHCP_DEFAULT_MAX_BYTES): EncodedDhcp => {
  const header = new Uint8Array(HEADER_BYTES);
  header[0] = message.op === 'request' ? 1 : 2;
  header[1] = message.htype;
  header[2] = message.chaddr.length;
  header[3] = message.hops;
  header.set(u32(message.xid), 4);
  header.set(u16(message.secs), 8);
  header[10] = message.broadcast ? 0x80 : 0;
  header.set(ipv4Bytes(message.ciaddr), 12);
  header.set(ipv4Bytes(message.yiaddr), 16);
  header.set(ipv4Bytes(message.siaddr), 20);
  header.set(ipv4Bytes(message.giaddr), 24);
  header.set(message.chaddr.subarray(0, 16), 28);
  header.set(utf8(message.sname).subarray(0, SNAME_BYTES - 1), SNAME_AT);
  header.set(utf8(message.file).subarray(0, FILE_BYTES - 1), FILE_AT);
  if (!message.magic) {
    const bytes = new Uint8Array(DHCP_MIN_BYTES);
    bytes.set(header);
    return { bytes, dropped: [] };
  }
  const order = [...message.options.keys()].filter(code => code !== OPT.relayAgent && code > 0 && code < 255);
  const rank = (code: number): number => (code === OPT.messageType ? -1 : 0);
  order.sort((a, b) => rank(a) - rank(b));
  const encoded = new Map(order.map(code => [code, encodeOption(code, message.options.get(code)!)] as const));
  const relay = message.options.get(OPT.relayAgent);
  const tail = concatBytes([...(relay ? [encodeOption(OPT.relayAgent, relay)] : []), u8(OPT.end)]);
  let room = Math.max(maxBytes, DHCP_MIN_BYTES) - HEADER_BYTES - 4 - tail.length;
  const dropped: number[] = [];
  const fits = (code: number): void => {
    const length = encoded.get(code)!.length;
    if (length <= room) room -= length;
    else {
      dropped.push(code);
      encoded.delete(code);
    }
  };
  for (const code of ESSENTIAL) if (encoded.has(code)) fits(code);
  for (const code of order) if (!ESSENTIAL.includes(code)) fits(code);
  const parts = [header, u32(MAGIC), ...encoded.values(), tail];
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length < DHCP_MIN_BYTES) parts.push(new Uint8Array(DHCP_MIN_BYTES - length));
  return { bytes: concatBytes(parts), dropped };
};

const encodeOption = (code: number, value: Uint8Array): Uint8Array => {
  const parts: Uint8Array[] = [];
  let at = 0;
  do {
    const piece = value.subarray(at, at + 255);
    parts.push(Uint8Array.of(code, piece.length), piece);
    at += 255;
  } while (at < value.length);
  return concatBytes(parts);
};

/** A message with everything empty, to be filled. */
export const blankDhcp = (op: 'request' | 'reply', chaddr: Uint8Array, xid: number): DhcpMessage => ({
  op,
  htype: 1,
  hops: 0,
  xid,
  secs: 0,
  broadcast: false,
  ciaddr: ANY_ADDRESS,
  yiaddr: ANY_ADDRESS,
  siaddr: ANY_ADDRESS,
  giaddr: ANY_ADDRESS,
  chaddr,
  sname: '',
  file: '',
  options: new Map(),
  magic: true,
});

/** The type, undefined for BOOTP and for numbers that this module does not know. */
export const dhcpType = (message: DhcpMessage): DhcpType | undefined => {
  const code = message.options.get(OPT.messageType)?.[0] ?? 0;
  return (DHCP_TYPES[code] || undefined) as DhcpType | undefined;
};

export const typeOption = (type: DhcpType): Uint8Array => u8(DHCP_TYPES.indexOf(type));

/** The hardware address as text: 'aa:bb:..' for Ethernet, with the type in front for others. */
export const hardwareText = (message: DhcpMessage): string => (message.htype === 1 && message.chaddr.length === 6 ? macText(message.chaddr) : `${message.htype}-${hexOf(message.chaddr)}`);
