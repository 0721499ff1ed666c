import type { Ipv4 } from './address.js';
import {
  CLASS_IN, decodeDns, DNS_A, DNS_AAAA, DNS_ANY, DNS_CNAME, DNS_OPT, DNS_PTR, type DnsMessage, type DnsRecord, encodeDns, parseReverseName, RCODE_FORMAT_ERROR, RCODE_NAME_ERROR,
  RCODE_NOT_IMPLEMENTED, RCODE_OK, RCODE_REFUSED, RCODE_SERVER_FAILURE,
} from './dns-message.js';

const DEFAULT_TTL = 60;
const MAX_OUTSTANDING = 128;
const MAX_ALIASES = 8;
const LEAST_UDP_BYTES = 512;
const MOST_UDP_BYTES = 4096;

const lower = (name: string): string => name.toLowerCase().replace(/\.$/, '');

/** The names of a lab. A host is found by its bare name and below the domain. */
export class DnsZone {
  readonly domain: string;
  readonly #hosts = new Map<string, Ipv4[]>();
  readonly #aliases = new Map<string, string>();
  readonly #ttl: number;

  constructor(domain = 'lab', ttl = DEFAULT_TTL) {
    this.domain = lower(domain);
    this.#ttl = ttl;
  }

  /** Names a host; several addresses are all answered. Replaces what was. */
  addHost(name: string, ...addresses: Ipv4[]): void {
    this.#hosts.set(this.#bare(name), addresses);
  }

  addAlias(name: string, target: string): void {
    this.#aliases.set(this.#bare(name), target);
  }

  remove(name: string): void {
    this.#hosts.delete(this.#bare(name));
    this.#aliases.delete(this.#bare(name));
  }

  #bare(name: string): string {
    const small = lower(name);
    return small.endsWith(`.${this.domain}`) ? small.slice(0, -this.domain.length - 1) : small;
  }

  #nameOf(address: Ipv4): string | undefined {
    for (const [name, addresses] of this.#hosts) if (addresses.includes(address)) return name.includes('.') ? name : `${name}.${this.domain}`;
    return undefined;
  }

  /** Answers, with no records for a name without this type; undefined for a name that is not of this zone. */
  answer(name: string, type: number): { rcode: number; answers: DnsRecord[] } | undefined {
    const record = (owner: string, kind: number, data: DnsRecord['data']): DnsRecord => ({ name: owner, type: kind, class: CLASS_IN, ttl: this.#ttl, data });
    const reversed = parseReverseName(name);
    if (reversed !== undefined) {
      const host = this.#nameOf(reversed);
      if (host === undefined) return undefined;
      return { rcode: RCODE_OK, answers: type === DNS_PTR || type === DNS_ANY ? [record(name, DNS_PTR, { kind: 'name', name: host })] : [] };
    }
    const answers: DnsRecord[] = [];
    let owner = name;
    for (let hops = 0; hops < MAX_ALIASES; hops++) {
      const addresses = this.#hosts.get(this.#bare(owner));
      if (addresses !== undefined) {
        if (type === DNS_A || type === DNS_ANY) answers.push(...addresses.map(address => record(owner, DNS_A, { kind: 'A', address })));
        return { rcode: RCODE_OK, answers };
      }
      const target = this.#aliases.get(this.#bare(owner));
      if (target === undefined) break;
      answers.push(record(owner, DNS_CNAME, { kind: 'name', name: target }));
      if (type === DNS_CNAME) return { rcode: RCODE_OK, answers };
      owner = target;
    }
    if (answers.length > 0) return { rcode: RCODE_OK, answers };
    const small = lower(name);
    if (small === 'localhost') return { rcode: RCODE_OK, answers: type === DNS_A ? [record(name, DNS_A, { kind: 'A', address: 0x7f00_0001 })] : [] };
    return small === this.domain || small.endsWith(`.${this.domain}`) ? { rcode: small === this.domain ? RCODE_OK : RCODE_NAME_ERROR, answers: [] } : undefined;
  }
}

/** Takes a query outside and calls back once, perhaps much later, with the whole answer. */
export type DnsUpstream = (query: Uint8Array, done: (reply: Uint8Array | undefined) => void) => void;

export interface DnsStats {
  queries: number;
  local: number;
  forwarded: number;
  failed: number;
  refused: number;
  malformed: number;
}

/** A name server: the lab's zone, and a forwarder for all else. Knows no socket. */
export class DnsService {
  readonly stats: DnsStats = { queries: 0, local: 0, forwarded: 0, failed: 0, refused: 0, malformed: 0 };
  readonly zone: DnsZone;
  /** Reverse names of these addresses are never asked for outside. */
  readonly #isLocal: (address: Ipv4) => boolean;
  readonly #upstream: DnsUpstream | undefined;
  #outstanding = 0;

  constructor(zone: DnsZone, upstream?: DnsUpstream, isLocal: (address: Ipv4) => boolean = () => false) {
    this.zone = zone;
    this.#upstream = upstream;
    this.#isLocal = isLocal;
  }

  /** Deals with a query; `reply` is called at most once, at once or later. Over TCP an answer may have any length. */
  handle(query: Uint8Array, transport: 'udp' | 'tcp', reply: (message: Uint8Array) => void): void {
    this.stats.queries++;
    const message = decodeDns(query);
    if (message === undefined || message.response) {
      this.stats.malformed++;
      if (message === undefined && query.length >= 12 && (query[2] & 0x80) === 0) reply(this.#bareError(query));
      return;
    }
    const limit = transport === 'tcp' ? 65_535 : this.#udpLimit(message);
    const respond = (rcode: number, answers: readonly DnsRecord[] = [], authoritative = false): void => {
      const bytes = encodeDns({ ...message, response: true, recursionAvailable: true, authoritative, truncated: false, rcode, answers, authorities: [], additionals: [] }, limit);
      reply(bytes ?? this.#bareError(query));
    };
    const question = message.questions[0];
    if (message.opcode !== 0) respond(RCODE_NOT_IMPLEMENTED);
    else if (message.questions.length !== 1) respond(RCODE_FORMAT_ERROR);
    else {
      const local = this.#answerLocally(question.name, question.type, question.class);
      if (local !== undefined) {
        this.stats.local++;
        respond(local.rcode, local.answers, true);
      } else this.#forward(query, message, limit, respond, reply);
    }
  }

  #answerLocally(name: string, type: number, recordClass: number): { rcode: number; answers: DnsRecord[] } | undefined {
    if (recordClass !== CLASS_IN && recordClass !== DNS_ANY) return undefined;
    const answer = this.zone.answer(name, type);
    if (answer !== undefined) return answer;
    const reversed = parseReverseName(name);
    if (reversed !== undefined && this.#isLocal(reversed)) return { rcode: RCODE_NAME_ERROR, answers: [] };
    // A name of one label is a host of this lab or of nobody.
    return !name.includes('.') && (type === DNS_A || type === DNS_AAAA) ? { rcode: RCODE_NAME_ERROR, answers: [] } : undefined;
  }

  #forward(query: Uint8Array, message: DnsMessage, limit: number, respond: (rcode: number) => void, reply: (bytes: Uint8Array) => void): void {
    if (this.#upstream === undefined) {
      this.stats.refused++;
      respond(RCODE_REFUSED);
      return;
    }
    if (this.#outstanding >= MAX_OUTSTANDING) {
      this.stats.failed++;
      respond(RCODE_SERVER_FAILURE);
      return;
    }
    this.#outstanding++;
    this.#upstream(query, answer => {
      this.#outstanding--;
      if (answer === undefined || answer.length < 12) {
        this.stats.failed++;
        respond(RCODE_SERVER_FAILURE);
        return;
      }
      this.stats.forwarded++;
      if (answer.length <= limit) reply(answer);
      else {
        const cut = encodeDns({ ...message, response: true, recursionAvailable: true, truncated: true, answers: [], authorities: [], additionals: [] });
        if (cut !== undefined) reply(cut);
      }
    });
  }

  /** What the asker takes by UDP: EDNS tells in the class of an OPT record (RFC 6891, 6.1.2). */
  #udpLimit(message: DnsMessage): number {
    const opt = message.additionals.find(record => record.type === DNS_OPT);
    return Math.min(MOST_UDP_BYTES, Math.max(LEAST_UDP_BYTES, opt?.class ?? LEAST_UDP_BYTES));
  }

  #bareError(query: Uint8Array): Uint8Array {
    return Uint8Array.of(query[0], query[1], 0x80 | (query[2] & 0x79), 0x80 | RCODE_FORMAT_ERROR, 0, 0, 0, 0, 0, 0, 0, 0);
  }
}
