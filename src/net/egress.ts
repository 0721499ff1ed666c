import { VmletError } from '../errors.js';
import { formatIpv4, inSubnet, type Ipv4, parseIpv4, parseSubnet, type Subnet } from './address.js';

/** A destination that a user allows: addresses, and ports if not all. */
interface Permission {
  readonly subnet: Subnet;
  readonly firstPort: number;
  readonly lastPort: number;
}

const subnets = (...list: string[]): Subnet[] => list.map(text => parseSubnet(text) as Subnet);

/** Instance metadata of cloud providers; it hands out credentials. Never part of a larger permission. */
const METADATA = subnets('169.254.169.254', '169.254.170.2', '100.100.100.200', '168.63.129.16');

/** By name, what is closed unless asked for. Sources: RFC 6890 and the registries behind it. */
const CLOSED: Record<string, readonly Subnet[]> = {
  loopback: subnets('127.0.0.0/8'),
  'link-local': subnets('169.254.0.0/16'),
  private: subnets('10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10'),
  special: subnets('0.0.0.0/8', '192.0.0.0/24', '192.88.99.0/24', '198.18.0.0/15', '224.0.0.0/4', '240.0.0.0/4'),
};

export interface EgressOptions {
  /** Nothing leaves, whatever is allowed. */
  readonly restrict?: boolean;
  /** `10.1.0.0/16`, `127.0.0.1:8080`, `192.168.1.5:1-1024`, or one of `loopback`, `link-local`, `private`, `special`, `host`, `metadata`. */
  readonly allow?: readonly string[];
}

const parsePermission = (text: string): Permission[] => {
  const named = text === 'metadata' ? METADATA : Object.hasOwn(CLOSED, text) ? CLOSED[text] : undefined;
  if (named !== undefined) return named.map(subnet => ({ subnet, firstPort: 0, lastPort: 65_535 }));
  const match = /^([\d./]+)(?::(\d{1,5})(?:-(\d{1,5}))?)?$/.exec(text);
  const subnet = match === null ? undefined : parseSubnet(match[1]);
  const firstPort = Number(match?.[2] ?? 0);
  const lastPort = Number(match?.[3] ?? match?.[2] ?? 65_535);
  if (subnet === undefined || lastPort > 65_535 || firstPort > lastPort) {
    throw new VmletError('ERR_VMLET_CONFIG', `'${text}' is not a destination that can be allowed`, {
      hint: 'give an address or ADDRESS/PREFIX, with :PORT or :FIRST-LAST if not all ports, or loopback, link-local, private, host or metadata',
    });
  }
  return [{ subnet, firstPort, lastPort }];
};

/** Which addresses outside the process guests may reach. */
export class EgressPolicy {
  readonly #restrict: boolean;
  readonly #allowHost: boolean;
  readonly #permissions: readonly Permission[];
  readonly #ownAddresses: () => readonly string[];

  /** `ownAddresses` are the host's; they lead to its services as loopback does. */
  constructor(options: EgressOptions = {}, ownAddresses: () => readonly string[] = () => []) {
    this.#restrict = options.restrict ?? false;
    const allow = options.allow ?? [];
    this.#allowHost = allow.includes('host');
    this.#permissions = allow.filter(text => text !== 'host').flatMap(parsePermission);
    this.#ownAddresses = ownAddresses;
  }

  /** Undefined when allowed, else the reason against it. */
  refusal(address: Ipv4, port: number): string | undefined {
    if (this.#restrict) return 'this network is cut off (restrict)';
    const fits = this.#permissions.filter(({ subnet, firstPort, lastPort }) => inSubnet(address, subnet) && port >= firstPort && port <= lastPort);
    if (METADATA.some(subnet => inSubnet(address, subnet))) {
      return fits.some(({ subnet }) => subnet.prefix === 32) ? undefined : `${formatIpv4(address)} serves cloud metadata, which must be allowed by its address`;
    }
    if (fits.length > 0) return undefined;
    for (const [name, list] of Object.entries(CLOSED)) {
      if (list.some(subnet => inSubnet(address, subnet))) return `${formatIpv4(address)} is a ${name} address, which is not allowed`;
    }
    if (!this.#allowHost && this.#ownAddresses().some(own => parseIpv4(own) === address)) return `${formatIpv4(address)} is this host, which is not allowed`;
    return undefined;
  }
}
