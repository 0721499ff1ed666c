import { formatIpv4, parseIpv4, type Ipv4 } from './address.js';
import { putU16, putU32, u16, u32 } from './bytes.js';

// RFC 1035; AAAA: RFC 3596; EDNS: RFC 6891.

export const DNS_A = 1;
export const DNS_NS = 2;
export const DNS_CNAME = 5;
export const DNS_SOA = 6;
export const DNS_PTR = 12;
export const DNS_MX = 15;
export const DNS_TXT = 16;
export const DNS_AAAA = 28;
export const DNS_OPT = 41;
export const DNS_ANY = 255;
export const CLASS_IN = 1;

export const RCODE_OK = 0;
export const RCODE_FORMAT_ERROR = 1;
export const RCODE_SERVER_FAILURE = 2;
export const RCODE_NAME_ERROR = 3;
export const RCODE_NOT_IMPLEMENTED = 4;
export const RCODE_REFUSED = 5;

const HEADER_BYTES = 12;
const MAX_LABEL_BYTES = 63;
const MAX_NAME_BYTES = 255;
/** A pointer has 14 bits. */
const MAX_POINTER = 0x3fff;

/** What a record holds: an address, a name, or bytes that are kept as they are. */
export type DnsData =
  | { readonly kind: 'A'; readonly address: Ipv4 }
  | { readonly kind: 'AAAA'; readonly address: Uint8Array }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'raw'; readonly bytes: Uint8Array };

export interface DnsQuestion {
  /** Labels joined by dots, without the root's; a dot or backslash within a label is escaped by a backslash. The root is ''. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
}

export interface DnsRecord {
  readonly name: string;
  readonly type: number;
  readonly class: number;
  readonly ttl: number;
  readonly data: DnsData;
}

export interface DnsMessage {
  readonly id: number;
  readonly response: boolean;
  readonly opcode: number;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly recursionDesired: boolean;
  readonly recursionAvailable: boolean;
  readonly rcode: number;
  readonly questions: readonly DnsQuestion[];
  readonly answers: readonly DnsRecord[];
  readonly authorities: readonly DnsRecord[];
  readonly additionals: readonly DnsRecord[];
}

const escapeLabel = (bytes: Uint8Array): string => Array.from(bytes, byte => (byte === 0x2e || byte === 0x5c ? '\\' : '') + String.fromCharCode(byte)).join('');

/** The labels of a name in its text form, as bytes; undefined when one is empty or too long. Characters above FFh do not occur in names. */
const labelsOf = (name: string): Uint8Array[] | undefined => {
  if (name === '') return [];
  const labels: Uint8Array[] = [];
  let label: number[] = [];
  for (let at = 0; at <= name.length; at++) {
    if (at === name.length || name[at] === '.') {
      if (label.length === 0 || label.length > MAX_LABEL_BYTES) return undefined;
      labels.push(Uint8Array.from(label));
      label = [];
      continue;
    }
    if (name[at] === '\\' && at + 1 < name.length) at++;
    label.push(name.charCodeAt(at) & 255);
  }
  return labels.reduce((sum, bytes) => sum + bytes.length + 1, 1) <= MAX_NAME_BYTES ? labels : undefined;
};

/** Reads a name at `at`. Pointers must lead to an earlier place, so that no chain has a loop. `next` is the place behind the name. */
export const decodeDnsName = (bytes: Uint8Array, at: number): { name: string; next: number } | undefined => {
  const labels: string[] = [];
  let total = 1;
  let next = -1;
  let earliest = at;
  for (let i = at; i < bytes.length; ) {
    const length = bytes[i];
    if (length === 0) return { name: labels.join('.'), next: next < 0 ? i + 1 : next };
    if (length >= 0xc0) {
      if (i + 1 >= bytes.length) return undefined;
      const target = u16(bytes, i) & MAX_POINTER;
      if (target >= earliest) return undefined;
      if (next < 0) next = i + 2;
      earliest = target;
      i = target;
      continue;
    }
    if (length > MAX_LABEL_BYTES || i + 1 + length > bytes.length) return undefined;
    total += length + 1;
    if (total > MAX_NAME_BYTES) return undefined;
    labels.push(escapeLabel(bytes.subarray(i + 1, i + 1 + length)));
    i += length + 1;
  }
  return undefined;
};

const decodeData = (bytes: Uint8Array, type: number, start: number, end: number): DnsData | undefined => {
  if (type === DNS_A) return end - start === 4 ? { kind: 'A', address: u32(bytes, start) } : undefined;
  if (type === DNS_AAAA) return end - start === 16 ? { kind: 'AAAA', address: bytes.slice(start, end) } : undefined;
  if (type === DNS_CNAME || type === DNS_PTR || type === DNS_NS) {
    const decoded = decodeDnsName(bytes.subarray(0, end), start);
    return decoded?.next === end ? { kind: 'name', name: decoded.name } : undefined;
  }
  return { kind: 'raw', bytes: bytes.slice(start, end) };
};

class Reader {
  at = HEADER_BYTES;

  constructor(readonly bytes: Uint8Array) {}

  question(): DnsQuestion | undefined {
    const decoded = decodeDnsName(this.bytes, this.at);
    if (decoded === undefined || decoded.next + 4 > this.bytes.length) return undefined;
    this.at = decoded.next + 4;
    return { name: decoded.name, type: u16(this.bytes, decoded.next), class: u16(this.bytes, decoded.next + 2) };
  }

  record(): DnsRecord | undefined {
    const decoded = decodeDnsName(this.bytes, this.at);
    if (decoded === undefined || decoded.next + 10 > this.bytes.length) return undefined;
    const { name, next } = decoded;
    const start = next + 10;
    const end = start + u16(this.bytes, next + 8);
    if (end > this.bytes.length) return undefined;
    const type = u16(this.bytes, next);
    const data = decodeData(this.bytes, type, start, end);
    if (data === undefined) return undefined;
    this.at = end;
    return { name, type, class: u16(this.bytes, next + 2), ttl: u32(this.bytes, next + 4), data };
  }

  list<T>(count: number, one: () => T | undefined): T[] | undefined {
    const items: T[] = [];
    for (let i = 0; i < count; i++) {
      const item = one();
      if (item === undefined) return undefined;
      items.push(item);
    }
    return items;
  }
}

/** Undefined when any part is malformed. Records with names that this codec does not know (MX, SOA ...) keep compressed names, so relay those as bytes. */
export const decodeDns = (bytes: Uint8Array): DnsMessage | undefined => {
  if (bytes.length < HEADER_BYTES) return undefined;
  const flags = u16(bytes, 2);
  const reader = new Reader(bytes);
  const questions = reader.list(u16(bytes, 4), () => reader.question());
  if (questions === undefined) return undefined;
  const sections: DnsRecord[][] = [];
  for (const offset of [6, 8, 10]) {
    const records = reader.list(u16(bytes, offset), () => reader.record());
    if (records === undefined) return undefined;
    sections.push(records);
  }
  return {
    id: u16(bytes, 0),
    response: (flags & 0x8000) !== 0,
    opcode: (flags >>> 11) & 15,
    authoritative: (flags & 0x0400) !== 0,
    truncated: (flags & 0x0200) !== 0,
    recursionDesired: (flags & 0x0100) !== 0,
    recursionAvailable: (flags & 0x0080) !== 0,
    rcode: flags & 15,
    questions,
    answers: sections[0],
    authorities: sections[1],
    additionals: sections[2],
  };
};

class Writer {
  bytes = new Uint8Array(512);
  at = HEADER_BYTES;
  /** Where a suffix stands already. Case is kept, as askers compare it. */
  readonly #suffixes = new Map<string, number>();

  room(more: number): void {
    if (this.at + more <= this.bytes.length) return;
    const larger = new Uint8Array(Math.max(2 * this.bytes.length, this.at + more));
    larger.set(this.bytes);
    this.bytes = larger;
  }

  name(name: string): boolean {
    const labels = labelsOf(name);
    if (labels === undefined) return false;
    for (let i = 0; i < labels.length; i++) {
      const suffix = labels.slice(i).map(escapeLabel).join('.');
      const known = this.#suffixes.get(suffix);
      if (known !== undefined) {
        this.word(0xc000 | known);
        return true;
      }
      if (this.at <= MAX_POINTER) this.#suffixes.set(suffix, this.at);
      this.room(1 + labels[i].length);
      this.bytes[this.at] = labels[i].length;
      this.bytes.set(labels[i], this.at + 1);
      this.at += 1 + labels[i].length;
    }
    this.raw(Uint8Array.of(0));
    return true;
  }

  word(value: number): void {
    this.room(2);
    putU16(this.bytes, this.at, value);
    this.at += 2;
  }

  raw(data: Uint8Array): void {
    this.room(data.length);
    this.bytes.set(data, this.at);
    this.at += data.length;
  }

  record(record: DnsRecord): boolean {
    if (!this.name(record.name)) return false;
    this.room(10);
    putU16(this.bytes, this.at, record.type);
    putU16(this.bytes, this.at + 2, record.class);
    putU32(this.bytes, this.at + 4, record.ttl);
    this.at += 10;
    const start = this.at;
    const { data } = record;
    if (data.kind === 'name') {
      if (!this.name(data.name)) return false;
    } else if (data.kind === 'A') {
      const address = new Uint8Array(4);
      putU32(address, 0, data.address);
      this.raw(address);
    } else {
      this.raw(data.kind === 'AAAA' ? data.address : data.bytes);
    }
    putU16(this.bytes, start - 2, this.at - start);
    return true;
  }
}

/** Writes a message with compressed names; undefined when a name has an empty or too long label. Longer than `limit` bytes: cut to the question, with TC. */
export const encodeDns = (message: DnsMessage, limit = 65_535): Uint8Array | undefined => {
  const writer = new Writer();
  for (const question of message.questions) {
    if (!writer.name(question.name)) return undefined;
    writer.word(question.type);
    writer.word(question.class);
  }
  const records = [...message.answers, ...message.authorities, ...message.additionals];
  for (const record of records) if (!writer.record(record)) return undefined;
  if (writer.at > limit && records.length > 0) return encodeDns({ ...message, truncated: true, answers: [], authorities: [], additionals: [] }, limit);
  const bytes = writer.bytes;
  putU16(bytes, 0, message.id);
  const flag = (on: boolean, bit: number): number => (on ? bit : 0);
  const bits =
    flag(message.response, 0x8000) |
    flag(message.authoritative, 0x0400) |
    flag(message.truncated, 0x0200) |
    flag(message.recursionDesired, 0x0100) |
    flag(message.recursionAvailable, 0x0080);
  putU16(bytes, 2, bits | ((message.opcode & 15) << 11) | (message.rcode & 15));
  putU16(bytes, 4, message.questions.length);
  putU16(bytes, 6, message.answers.length);
  putU16(bytes, 8, message.authorities.length);
  putU16(bytes, 10, message.additionals.length);
  return bytes.slice(0, writer.at);
};

/** A query for one name, recursion desired. */
export const dnsQuery = (id: number, name: string, type: number): DnsMessage => ({
  id,
  response: false,
  opcode: 0,
  authoritative: false,
  truncated: false,
  recursionDesired: true,
  recursionAvailable: false,
  rcode: RCODE_OK,
  questions: [{ name, type, class: CLASS_IN }],
  answers: [],
  authorities: [],
  additionals: [],
});

/** `4.3.2.1.in-addr.arpa` for 1.2.3.4 (RFC 1035, 3.5). */
export const reverseName = (address: Ipv4): string => `${formatIpv4(address).split('.').reverse().join('.')}.in-addr.arpa`;

/** The address of a reverse name; undefined when it is not one of a whole IPv4 address. */
export const parseReverseName = (name: string): Ipv4 | undefined => {
  const match = /^(\d+\.\d+\.\d+\.\d+)\.in-addr\.arpa$/i.exec(name);
  return match === null ? undefined : parseIpv4(match[1].split('.').reverse().join('.'));
};
