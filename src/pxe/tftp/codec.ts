// TFTP packets: RFC 1350, options RFC 2347 (OACK), 2348 (blksize), 2349 (timeout, tsize), 7440 (windowsize).
import { concatBytes, defect, readU16, textOf, u16, utf8, type Decoded } from '../bytes.js';

export const TFTP_PORT = 69;
export const TFTP_DEFAULT_BLKSIZE = 512;
export const TFTP_MIN_BLKSIZE = 8;
export const TFTP_MAX_BLKSIZE = 65464;
/** IPv4 and UDP headers without options, and TFTP's own. */
export const TFTP_OVERHEAD_BYTES = 20 + 8 + 4;

const OP_RRQ = 1;
const OP_WRQ = 2;
const OP_DATA = 3;
const OP_ACK = 4;
const OP_ERROR = 5;
const OP_OACK = 6;

export const TFTP_ERROR = {
  undefined: 0,
  notFound: 1,
  accessViolation: 2,
  diskFull: 3,
  illegalOperation: 4,
  unknownTransferId: 5,
  fileExists: 6,
  noSuchUser: 7,
  /** RFC 2347: the option negotiation is ended; also how a client that only wanted tsize says goodbye. */
  optionNegotiation: 8,
} as const;

/** Names in lower case. The first one of equal names counts. */
export type TftpOptions = ReadonlyMap<string, string>;

export interface TftpRequest {
  readonly op: 'rrq' | 'wrq';
  readonly file: string;
  /** In lower case: 'octet', 'netascii', 'mail' or what else came. */
  readonly mode: string;
  readonly options: TftpOptions;
}

export type TftpPacket =
  | TftpRequest
  | { readonly op: 'data'; readonly block: number; readonly data: Uint8Array }
  | { readonly op: 'ack'; readonly block: number }
  | { readonly op: 'error'; readonly code: number; readonly message: string }
  | { readonly op: 'oack'; readonly options: TftpOptions };

/** NUL-terminated strings from `at`; the last one may lack its NUL, which is remarked. */
const strings = (bytes: Uint8Array, at: number): { texts: string[]; complete: boolean } => {
  const texts: string[] = [];
  // 64 strings are 31 options, more than ever were defined.
  while (at < bytes.length && texts.length < 64) {
    const end = bytes.indexOf(0, at);
    if (end < 0) {
      texts.push(textOf(bytes.subarray(at)));
      return { texts, complete: false };
    }
    texts.push(textOf(bytes.subarray(at, end)));
    at = end + 1;
  }
  return { texts, complete: true };
};

const options = (texts: readonly string[], warnings: string[]): TftpOptions => {
  const result = new Map<string, string>();
  for (let i = 0; i + 1 < texts.length; i += 2) {
    const name = texts[i].toLowerCase();
    if (name === '') break; // padding
    if (result.has(name)) warnings.push(`option ${name} is given twice`);
    else result.set(name, texts[i + 1]);
  }
  if (texts.length % 2 === 1 && texts[texts.length - 1] !== '') warnings.push('the last option has no value');
  return result;
};

/** Decodes one datagram. DATA's bytes are a view of the input. */
export const decodeTftp = (bytes: Uint8Array): Decoded<TftpPacket> => {
  if (bytes.length < 2) return defect('shorter than an operation code');
  const warnings: string[] = [];
  const op = readU16(bytes, 0);
  switch (op) {
    case OP_RRQ:
    case OP_WRQ: {
      const { texts, complete } = strings(bytes, 2);
      if (texts.length < 2) return defect('a request without file name and mode');
      if (!complete) warnings.push('the request does not end with NUL');
      if (texts[0] === '') return defect('a request with an empty file name');
      return { ok: true, value: { op: op === OP_RRQ ? 'rrq' : 'wrq', file: texts[0], mode: texts[1].toLowerCase(), options: options(texts.slice(2), warnings) }, warnings };
    }
    case OP_DATA:
      if (bytes.length < 4) return defect('DATA without a block number');
      return { ok: true, value: { op: 'data', block: readU16(bytes, 2), data: bytes.subarray(4) }, warnings };
    case OP_ACK:
      if (bytes.length < 4) return defect('ACK without a block number');
      return { ok: true, value: { op: 'ack', block: readU16(bytes, 2) }, warnings };
    case OP_ERROR:
      if (bytes.length < 4) return defect('ERROR without a code');
      return { ok: true, value: { op: 'error', code: readU16(bytes, 2), message: textOf(bytes.subarray(4)) }, warnings };
    case OP_OACK: {
      const { texts, complete } = strings(bytes, 2);
      if (!complete) warnings.push('the OACK does not end with NUL');
      return { ok: true, value: { op: 'oack', options: options(texts, warnings) }, warnings };
    }
    default:
      return defect(`unknown operation code ${op}`);
  }
};

const NUL = Uint8Array.of(0);
const asciiz = (text: string): Uint8Array[] => [utf8(text.replaceAll('\0', '')), NUL];
const optionParts = (list: TftpOptions): Uint8Array[] => [...list].flatMap(([name, value]) => [...asciiz(name), ...asciiz(value)]);

export const encodeTftp = (packet: TftpPacket): Uint8Array => {
  switch (packet.op) {
    case 'rrq':
    case 'wrq':
      return concatBytes([u16(packet.op === 'rrq' ? OP_RRQ : OP_WRQ), ...asciiz(packet.file), ...asciiz(packet.mode), ...optionParts(packet.options)]);
    case 'data': {
      const bytes = new Uint8Array(4 + packet.data.length);
      bytes[1] = OP_DATA;
      bytes[2] = packet.block >>> 8;
      bytes[3] = packet.block;
      bytes.set(packet.data, 4);
      return bytes;
    }
    case 'ack':
      return Uint8Array.of(0, OP_ACK, packet.block >>> 8, packet.block);
    case 'error':
      return concatBytes([u16(OP_ERROR), u16(packet.code), ...asciiz(packet.message)]);
    case 'oack':
      return concatBytes([u16(OP_OACK), ...optionParts(packet.options)]);
  }
};

/** An option's value as a number: decimal digits only, at most `max`; undefined for anything else. */
export const optionNumber = (list: TftpOptions, name: string, min: number, max: number): number | undefined => {
  const text = list.get(name)?.trim();
  if (text === undefined || !/^\d{1,15}$/.test(text)) return undefined;
  const value = Number(text);
  return value >= min && value <= max ? value : undefined;
};
