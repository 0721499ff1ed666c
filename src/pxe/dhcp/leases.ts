import { ipv4Number, ipv4Text } from '../bytes.js';
import { NS_PER_S } from '../deadlines.js';

/** offered: held for a while. bound: in use. free: remembered for its last holder. declined: a client found the address in use by another. */
export type LeaseState = 'offered' | 'bound' | 'free' | 'declined';

export interface Lease {
  readonly address: string;
  /** Hardware address as text. */
  readonly mac: string;
  /** Option 61 in hex, where the client sent one. */
  readonly clientId?: string;
  readonly hostname?: string;
  readonly state: LeaseState;
  /** When offered, bound or declined ends, on the clock; Infinity for BOOTP. For a free one, when it became free. */
  readonly untilNs: number;
  /** Made by firmware or a loader: the operating system that follows on the same card may take it over. */
  readonly boot: boolean;
}

export interface LeaseClient {
  readonly mac: string;
  readonly clientId?: string;
  readonly boot: boolean;
}

export interface AddressRange {
  readonly from: string;
  readonly to: string;
}

/** The lease table: one record an address, found by client. */
export class LeaseTable {
  readonly #leases = new Map<string, Lease>();

  get size(): number {
    return this.#leases.size;
  }

  /** Addresses that somebody holds: offered, bound or declined. */
  held(nowNs: number, state?: LeaseState): number {
    let count = 0;
    for (const lease of this.#leases.values()) if (isHeld(lease, nowNs) && (state === undefined || lease.state === state)) count++;
    return count;
  }

  all(): Lease[] {
    return [...this.#leases.values()];
  }

  at(address: string): Lease | undefined {
    return this.#leases.get(address);
  }

  set(lease: Lease): void {
    this.#leases.set(lease.address, lease);
  }

  delete(address: string): void {
    this.#leases.delete(address);
  }

  /** Forgets who held addresses once, and offers that nobody took, when there are more than `limit` records. */
  prune(limit: number, nowNs: number): void {
    if (this.#leases.size <= limit) return;
    for (const lease of this.#leases.values()) if (!isHeld(lease, nowNs)) this.#leases.delete(lease.address);
  }

  /** Whether nobody else holds an address. */
  available(address: string, client: LeaseClient, nowNs: number): boolean {
    const lease = this.#leases.get(address);
    return lease === undefined || !isHeld(lease, nowNs) || (lease.state !== 'declined' && belongsTo(lease, client));
  }

  /** The record of a client among addresses that `fits`; the one that lives longest when there are several. */
  find(client: LeaseClient, fits: (address: string) => boolean): Lease | undefined {
    let best: Lease | undefined;
    for (const lease of this.#leases.values()) {
      if (lease.state === 'declined' || !belongsTo(lease, client) || !fits(lease.address)) continue;
      if (!best || score(lease, client) > score(best, client)) best = lease;
    }
    return best;
  }

  /** A free address of the ranges: one that never was in use, else the one that is free for longest. */
  choose(ranges: readonly AddressRange[], excluded: (address: string) => boolean, nowNs: number): string | undefined {
    let oldest: Lease | undefined;
    for (const range of ranges) {
      const from = ipv4Number(range.from) ?? 1;
      const to = ipv4Number(range.to) ?? 0;
      for (let value = from; value <= to; value++) {
        const address = ipv4Text(value);
        if (excluded(address)) continue;
        const lease = this.#leases.get(address);
        if (!lease) return address;
        if (isHeld(lease, nowNs)) continue;
        if (!oldest || lease.untilNs < oldest.untilNs) oldest = lease;
      }
    }
    return oldest?.address;
  }
}

export const isHeld = (lease: Lease, nowNs: number): boolean => lease.state !== 'free' && lease.untilNs > nowNs;

/**
 * Client identifier first, hardware address where there is none (RFC 2131, 4.2). Loaders and systems of one machine use different
 * identifiers, so that a record made while booting belongs to the card.
 */
const belongsTo = (lease: Lease, client: LeaseClient): boolean => {
  if (lease.clientId !== undefined && lease.clientId === client.clientId) return true;
  if (lease.mac !== client.mac) return false;
  return lease.boot || client.boot || lease.clientId === undefined || client.clientId === undefined;
};

const score = (lease: Lease, client: LeaseClient): number => (lease.clientId === client.clientId ? 4 : 0) + (lease.state === 'bound' ? 2 : 0) + (lease.state === 'offered' ? 1 : 0);

const HEADER = '# vmlet leases, version 1: address, hardware address, client id, state, end (seconds since 1970, UTC, or never), boot, host name';

/** The lease file: a head line and one tab-separated line a lease. `epochAtZero` is the second since 1970 at which the clock was 0. Offers are not kept. */
export const formatLeases = (leases: readonly Lease[], epochAtZero: number): string =>
  [
    HEADER,
    ...leases
      .filter(lease => lease.state !== 'offered')
      .map(lease =>
        [
          lease.address,
          lease.mac,
          lease.clientId ?? '-',
          lease.state,
          lease.untilNs === Infinity ? 'never' : Math.ceil(epochAtZero + lease.untilNs / NS_PER_S),
          lease.boot ? 'boot' : '-',
          encodeURIComponent(lease.hostname ?? ''),
        ].join('\t'),
      ),
    '',
  ].join('\n');

/** Reads a lease file. Lines that make no sense are left out and told; times before the clock's 0 are negative. */
export const parseLeases = (text: string, epochAtZero: number): { readonly leases: Lease[]; readonly warnings: string[] } => {
  const leases: Lease[] = [];
  const warnings: string[] = [];
  for (const [i, line] of text.split('\n').entries()) {
    if (line === '' || line.startsWith('#')) continue;
    const [address, mac, clientId, state, until, boot, hostname] = line.split('\t');
    const seconds = until === 'never' ? Infinity : Number(until);
    const states: readonly string[] = ['bound', 'free', 'declined'];
    if (hostname === undefined || ipv4Number(address) === undefined || !states.includes(state) || Number.isNaN(seconds) || !/^[0-9a-f:-]*$/.test(mac)) {
      warnings.push(`line ${i + 1} of the lease file makes no sense`);
      continue;
    }
    let name: string | undefined;
    try {
      name = decodeURIComponent(hostname) || undefined;
    } catch {
      name = undefined;
    }
    leases.push({
      address,
      mac,
      clientId: clientId === '-' ? undefined : clientId,
      state: state as LeaseState,
      untilNs: (seconds - epochAtZero) * NS_PER_S,
      boot: boot === 'boot',
      hostname: name,
    });
  }
  return { leases, warnings };
};
