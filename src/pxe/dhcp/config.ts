import { VmletError } from '../../errors.js';
import { inNetwork, ipv4Number, macBytes, macText } from '../bytes.js';
import type { AddressRange } from './leases.js';
import type { Route } from './options.js';

export interface DhcpSubnet {
  /** '10.9.0.0' and 24. */
  readonly network: string;
  readonly prefix: number;
  readonly pool?: readonly AddressRange[];
  readonly router?: string;
  readonly dns?: readonly string[];
  readonly domain?: string;
  readonly search?: readonly string[];
  readonly ntp?: readonly string[];
  readonly mtu?: number;
  readonly routes?: readonly Route[];
  /** Default 3600. */
  readonly leaseSeconds?: number;
  /** More options as they go to the wire, by number; they replace what the server would send. */
  readonly options?: ReadonlyMap<number, Uint8Array>;
}

export interface DhcpReservation {
  readonly address: string;
  /** At least one of both. */
  readonly mac?: string;
  /** Option 61 in hex. */
  readonly clientId?: string;
  readonly hostname?: string;
}

export interface DhcpLimits {
  /** Addresses held at once; default 1000. */
  readonly leases: number;
  /** Of these, offers that nobody took yet; default 64. */
  readonly offers: number;
  /** Endless leases to BOOTP clients without a reservation; default 16. */
  readonly bootp: number;
  /** Addresses that one hardware address may hold; default 4. */
  readonly perClient: number;
  /** Conflicts that one hardware address may report in an hour; default 3. */
  readonly declines: number;
  /** Messages answered for one hardware address in a second, with a burst of twice as many; default 10. */
  readonly perSecond: number;
}

export const DHCP_LIMITS: DhcpLimits = { leases: 1000, offers: 64, bootp: 16, perClient: 4, declines: 3, perSecond: 10 };

const bad = (message: string, hint: string): VmletError => new VmletError('ERR_VMLET_CONFIG', message, { hint });

/** Checks what people write. Throws ERR_VMLET_CONFIG. Returns reservations with hardware addresses as the server writes them. */
export const checkDhcpConfig = (subnets: readonly DhcpSubnet[], reservations: readonly DhcpReservation[]): readonly DhcpReservation[] => {
  for (const [i, subnet] of subnets.entries()) {
    const name = `${subnet.network}/${subnet.prefix}`;
    if (ipv4Number(subnet.network) === undefined || !Number.isInteger(subnet.prefix) || subnet.prefix < 8 || subnet.prefix > 30) {
      throw bad(`'${name}' is not a subnet`, 'write it as network and prefix from 8 to 30: 10.9.0.0 and 24');
    }
    for (const { from, to } of subnet.pool ?? []) {
      const [a, b] = [ipv4Number(from), ipv4Number(to)];
      if (a === undefined || b === undefined || a > b || !inNetwork(from, subnet.network, subnet.prefix) || !inNetwork(to, subnet.network, subnet.prefix)) {
        throw bad(`the pool ${from} to ${to} is not a range inside ${name}`, 'choose two addresses of the subnet, the lower one first');
      }
    }
    if (subnet.router !== undefined && !inNetwork(subnet.router, subnet.network, subnet.prefix)) throw bad(`the router ${subnet.router} is not in ${name}`, 'choose an address of the subnet');
    for (const other of subnets.slice(0, i)) {
      const prefix = Math.min(other.prefix, subnet.prefix);
      if (inNetwork(other.network, subnet.network, prefix)) throw bad(`the subnets ${name} and ${other.network}/${other.prefix} overlap`, 'give each address to one subnet');
    }
  }
  const seen = new Set<string>();
  return reservations.map(reservation => {
    const { address, mac, clientId } = reservation;
    const bytes = mac === undefined ? undefined : macBytes(mac);
    if (mac !== undefined && bytes === undefined) throw bad(`'${mac}' is not a hardware address`, 'write it as 52:54:00:12:34:56');
    if (mac === undefined && clientId === undefined) throw bad(`the reservation of ${address} is for nobody`, 'give it a mac or a client id');
    if (ipv4Number(address) === undefined || !subnets.some(subnet => inNetwork(address, subnet.network, subnet.prefix))) throw bad(`the reserved address ${address} is in no subnet`, 'choose an address of a subnet');
    if (seen.has(address)) throw bad(`the address ${address} is reserved twice`, 'give each machine its own');
    seen.add(address);
    return { ...reservation, mac: bytes && macText(bytes), clientId: clientId?.toLowerCase() };
  });
};
