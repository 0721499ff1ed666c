// A DHCPv4, BOOTP and ProxyDHCP server without a socket: RFC 951, 1542, 2131, 2132, 3046, 6842; PXE 2.1.
import type { Clock } from '../../host/clock.js';
import { ANY_ADDRESS, BROADCAST_ADDRESS, concatBytes, hexOf, inNetwork, ipv4Bytes, ipv4Number, ipv4Text, prefixMask, printable, u16, u32, utf8 } from '../bytes.js';
import { describeClient, type BootClient, type Booter } from '../booter.js';
import { NS_PER_S } from '../deadlines.js';
import type { UdpAddress } from '../endpoint.js';
import { KeyedRateLimit, type PxeLog, type PxeOutcome, type PxeService } from '../log.js';
import { bootReply, type BootChannel, noProxyDhcp } from './boot-options.js';
import {
  decodeDhcp, DHCP_CLIENT_PORT, DHCP_DEFAULT_MAX_BYTES, DHCP_SERVER_PORT, dhcpType, encodeDhcp, hardwareText, OPT, PXE_SERVER_PORT, typeOption, type DhcpMessage, type DhcpType,
} from './codec.js';
import { checkDhcpConfig, DHCP_LIMITS, type DhcpLimits, type DhcpReservation, type DhcpSubnet } from './config.js';
import { formatLeases, isHeld, LeaseTable, parseLeases, type Lease, type LeaseClient, type LeaseState } from './leases.js';
import { addressesOption, encodeDomainSearch, encodeRoutes, optionAddress, optionText, optionU16, optionU32 } from './options.js';

/** Where leases survive; `save` is called before a client is told. */
export interface LeaseStorage {
  load(): string | undefined;
  save(text: string): void;
}

export interface DhcpServerOptions {
  readonly clock: Clock;
  /** Seconds since 1970 at the clock's 0, for the lease file; default 0. */
  readonly epochAtZero?: number;
  /** Our address: the server identifier. */
  readonly address: string;
  /** full: addresses and boot files. proxy: boot files only, beside another DHCP server. Default full. */
  readonly mode?: 'full' | 'proxy';
  readonly subnets?: readonly DhcpSubnet[];
  readonly reservations?: readonly DhcpReservation[];
  readonly booter?: Booter;
  /** Who serves boot files, when it is not our address. */
  readonly bootServer?: string;
  readonly storage?: LeaseStorage;
  readonly log?: PxeLog;
  readonly limits?: Partial<DhcpLimits>;
  /** Whether we know all clients of our subnets, so that one with a strange address is told so; default true. */
  readonly authoritative?: boolean;
  /** Whether no other DHCP or ProxyDHCP server can be on the wire, so that iPXE need not wait for one even if we have nothing to boot; default false. */
  readonly alone?: boolean;
  /** Whether the wiring can send to a hardware address; without it, clients without an address are answered by broadcast. Default true. */
  readonly unicastByMac?: boolean;
  /** Where clients listen; default 68, 67 and 4011. Others are for tests without rights. */
  readonly clientPort?: number;
  readonly serverPort?: number;
  readonly proxyPort?: number;
}

export interface DhcpReply {
  readonly to: UdpAddress;
  /** Send to this hardware address, because the client cannot answer ARP yet. */
  readonly mac?: string;
  readonly bytes: Uint8Array;
  readonly message: DhcpMessage;
}

interface Request {
  readonly message: DhcpMessage;
  readonly from: UdpAddress;
  readonly type: DhcpType | 'BOOTP';
  readonly client: LeaseClient;
  readonly boot: BootClient;
  readonly nowNs: number;
}

const OFFER_SECONDS = 60;
const DECLINE_SECONDS = 600;
const DEFAULT_LEASE_SECONDS = 3600;
const MIN_LEASE_SECONDS = 60;
const MAX_HOPS = 16;
const HOUR = 3600;

export class DhcpServer {
  readonly leases = new LeaseTable();
  readonly #options: DhcpServerOptions;
  readonly #subnets: readonly DhcpSubnet[];
  readonly #reservations: readonly DhcpReservation[];
  readonly #reserved: ReadonlySet<string>;
  readonly #limits: DhcpLimits;
  readonly #rate: KeyedRateLimit;
  readonly #declines: KeyedRateLimit;

  /** Throws ERR_VMLET_CONFIG when the configuration makes no sense. */
  constructor(options: DhcpServerOptions) {
    this.#options = options;
    this.#subnets = options.subnets ?? [];
    this.#reservations = checkDhcpConfig(this.#subnets, options.reservations ?? []);
    this.#reserved = new Set(this.#reservations.map(reservation => reservation.address));
    this.#limits = { ...DHCP_LIMITS, ...options.limits };
    this.#rate = new KeyedRateLimit(this.#limits.perSecond, 2 * this.#limits.perSecond);
    this.#declines = new KeyedRateLimit(this.#limits.declines / HOUR, this.#limits.declines);
    const saved = options.storage?.load();
    if (saved === undefined) return;
    const { leases, warnings } = parseLeases(saved, options.epochAtZero ?? 0);
    for (const lease of leases) if (this.#subnetOf(lease.address)) this.leases.set(lease);
    for (const warning of warnings) this.#event('dhcp', 'note', '-', 'lease file', warning);
  }

  /** Handles one datagram that came to port 67 (`lease`) or 4011 (`boot`). At most one reply. */
  handle(from: UdpAddress, bytes: Uint8Array, channel: 'lease' | 'boot' = 'lease'): DhcpReply | undefined {
    const service: PxeService = channel === 'boot' || this.#options.mode === 'proxy' ? 'proxydhcp' : 'dhcp';
    const decoded = decodeDhcp(bytes);
    if (!decoded.ok) {
      this.#event(service, 'ignored', `${from.address}:${from.port}`, 'message', decoded.reason);
      return undefined;
    }
    const message = decoded.value;
    const mac = hardwareText(message);
    const type = message.options.has(OPT.messageType) ? dhcpType(message) : 'BOOTP';
    const what = type ?? 'message';
    const ignore = (reason: string): undefined => {
      this.#event(service, 'ignored', mac, what, reason);
    };
    if (message.op !== 'request') return ignore('it is a reply: another server or a loop on this wire');
    if (type === undefined) return ignore('its message type is unknown');
    if (type === 'OFFER' || type === 'ACK' || type === 'NAK') return ignore('only servers send this type');
    if (message.hops > MAX_HOPS) return ignore(`it passed ${message.hops} relays`);
    if (message.chaddr.length === 0 && !message.options.has(OPT.clientId)) return ignore('it has neither hardware address nor client id');
    const nowNs = this.#options.clock.now;
    if (!this.#rate.take(mac, nowNs)) return ignore(`more than ${this.#limits.perSecond} messages a second`);
    const boot = describeClient(message);
    const clientId = message.options.get(OPT.clientId);
    const client: LeaseClient = { mac, clientId: clientId && clientId.length > 0 ? hexOf(clientId) : undefined, boot: boot.kind !== 'dhcp' };
    const request: Request = { message, from, type, client, boot, nowNs };
    try {
      if (channel === 'boot') return this.#bootServer(request);
      if (this.#options.mode === 'proxy') return this.#proxy(request);
      return this.#lease(request);
    } catch (error) {
      // The storage or a booter failed; the client asks again.
      this.#event(service, 'failed', mac, what, error instanceof Error ? error.message : String(error));
      return undefined;
    }
  }

  #lease(request: Request): DhcpReply | undefined {
    switch (request.type) {
      case 'DISCOVER':
        return this.#discover(request);
      case 'REQUEST':
        return this.#request(request);
      case 'DECLINE':
        return this.#decline(request);
      case 'RELEASE':
        return this.#release(request);
      case 'INFORM':
        return this.#inform(request);
      case 'BOOTP':
        return this.#bootp(request);
      default:
        return undefined;
    }
  }

  #discover(request: Request): DhcpReply | undefined {
    const subnet = this.#subnetFor(request);
    if (typeof subnet === 'string') return this.#ignored(request, subnet);
    const chosen = this.#choose(request, subnet);
    if ('reason' in chosen) return this.#refused(request, chosen.reason);
    const held = this.leases.at(chosen.address);
    // A client that begins anew while its lease runs keeps it until it takes the offer.
    if (!held || held.state !== 'bound' || !isHeld(held, request.nowNs)) this.#record(request, chosen.address, 'offered', request.nowNs + OFFER_SECONDS * NS_PER_S);
    return this.#answer(request, 'OFFER', subnet, chosen.address);
  }

  #request(request: Request): DhcpReply | undefined {
    const { message, client, nowNs } = request;
    const serverId = optionAddress(message.options, OPT.serverId);
    const requested = optionAddress(message.options, OPT.requestedAddress);
    if (serverId !== undefined && serverId !== this.#serverId(request)) {
      this.#dropOffer(request);
      return this.#ignored(request, `the client took the offer of another server, ${serverId}`, 'note');
    }
    const renewing = requested === undefined && message.ciaddr !== ANY_ADDRESS;
    const address = renewing ? message.ciaddr : requested;
    if (address === undefined) return this.#ignored(request, 'it requests no address');
    const subnet = this.#subnetFor(request);
    if (typeof subnet === 'string') return this.#ignored(request, subnet);
    const selecting = serverId !== undefined && !renewing;
    const known = this.leases.find(client, other => this.#inSubnet(other, subnet));
    const reserved = this.#reservation(request, subnet);
    const nak = (reason: string): DhcpReply | undefined => {
      // RFC 2131, 4.3.2: a server that does not know the client and not the whole wire stays silent.
      if (!selecting && known === undefined && reserved === undefined && this.#options.authoritative === false) return this.#ignored(request, `${reason}; we do not know the client`);
      return this.#nak(request, reason);
    };
    if (!this.#inSubnet(address, subnet)) return nak(`${address} does not belong to ${subnet.network}/${subnet.prefix}`);
    if (reserved !== undefined && reserved !== address) return nak(`${reserved} is reserved for the client, not ${address}`);
    if (!this.leases.available(address, client, nowNs)) return nak(`${address} is in use by another client`);
    const own = this.leases.at(address);
    const mine = own !== undefined && this.leases.find(client, other => other === address) !== undefined;
    if (!mine && reserved === undefined) {
      if (selecting) return nak(`${address} was not offered to the client, or the offer is over`);
      if (this.#options.authoritative === false) return this.#ignored(request, `we know nothing of a lease of ${address}`);
      if (!this.#inPool(address, subnet) || this.#reserved.has(address) || address === this.#options.address) return nak(`${address} is not ours to give`);
      const room = this.#room(request);
      if (room !== undefined) return nak(room);
    }
    const seconds = this.#leaseSeconds(request, subnet);
    // Bound means that the other records of this client are over.
    this.#freeOthers(request, address, subnet);
    this.#record(request, address, 'bound', nowNs + seconds * NS_PER_S);
    this.#save();
    return this.#answer(request, 'ACK', subnet, address);
  }

  #decline(request: Request): undefined {
    const address = optionAddress(request.message.options, OPT.requestedAddress);
    const lease = address === undefined ? undefined : this.leases.at(address);
    if (!lease || !this.leases.find(request.client, other => other === address)) return this.#ignored(request, `${address ?? 'no address'} is not the client's`);
    if (!this.#declines.take(request.client.mac, request.nowNs)) return this.#ignored(request, `the client reported more than ${this.#limits.declines} conflicts in an hour`);
    this.#record(request, lease.address, 'declined', request.nowNs + DECLINE_SECONDS * NS_PER_S);
    this.#save();
    this.#log(request, 'note', `${lease.address} is in use by a host that we do not know; it is left alone for ${DECLINE_SECONDS} seconds`);
    return undefined;
  }

  #release(request: Request): undefined {
    const lease = this.leases.at(request.message.ciaddr);
    if (!lease || lease.state !== 'bound' || !this.leases.find(request.client, other => other === lease.address)) return this.#ignored(request, `${request.message.ciaddr} is not the client's`);
    this.leases.set({ ...lease, state: 'free', untilNs: request.nowNs });
    this.#save();
    this.#log(request, 'note', `${lease.address} is free`);
    return undefined;
  }

  #inform(request: Request): DhcpReply | undefined {
    if (request.message.ciaddr === ANY_ADDRESS) return this.#ignored(request, 'it has no address in ciaddr');
    const subnet = this.#subnetFor(request);
    if (typeof subnet === 'string') return this.#ignored(request, subnet);
    if (!this.#inSubnet(request.message.ciaddr, subnet)) return this.#ignored(request, `its address ${request.message.ciaddr} is not in ${subnet.network}/${subnet.prefix}`);
    return this.#answer(request, 'ACK', subnet, undefined);
  }

  #bootp(request: Request): DhcpReply | undefined {
    const subnet = this.#subnetFor(request);
    if (typeof subnet === 'string') return this.#ignored(request, subnet);
    const chosen = this.#choose(request, subnet);
    if ('reason' in chosen) return this.#refused(request, chosen.reason);
    const endless = this.leases.all().filter(lease => lease.untilNs === Infinity && lease.state === 'bound' && lease.address !== chosen.address).length;
    if (!this.#reserved.has(chosen.address) && endless >= this.#limits.bootp) return this.#refused(request, `${endless} BOOTP clients have addresses for ever, which is the limit`);
    this.#record(request, chosen.address, 'bound', Infinity);
    this.#save();
    return this.#answer(request, 'BOOTP', subnet, chosen.address);
  }

  #proxy(request: Request): DhcpReply | undefined {
    const { boot, type } = request;
    if (type !== 'DISCOVER') return undefined; // the other server's business
    if (!/^(PXE|HTTP)Client/.test(boot.vendorClass)) return this.#ignored(request, 'a ProxyDHCP server answers PXE clients only', 'note');
    return this.#bootOnly(request, 'OFFER', 'proxy-offer');
  }

  #bootServer(request: Request): DhcpReply | undefined {
    const { boot, type } = request;
    if (type !== 'REQUEST' && type !== 'INFORM' && type !== 'DISCOVER') return this.#ignored(request, 'port 4011 takes requests only');
    if (!/^(PXE|HTTP)Client/.test(boot.vendorClass)) return this.#ignored(request, 'it is no PXE client');
    return this.#bootOnly(request, 'ACK', 'boot-server');
  }

  /** An answer without an address. */
  #bootOnly(request: Request, type: 'OFFER' | 'ACK', channel: BootChannel): DhcpReply | undefined {
    const { message, from, boot } = request;
    const address = message.ciaddr === ANY_ADDRESS ? undefined : message.ciaddr;
    const decision = this.#options.booter?.decide({ ...boot, address }) ?? { boot: 'refuse' as const, reason: 'no boot policy is set' };
    if (decision.boot !== 'file') {
      this.#log(request, decision.boot === 'local' ? 'note' : 'refused', decision.boot === 'local' ? 'it shall boot from its own disk' : decision.reason, 'proxydhcp');
      return undefined;
    }
    const part = bootReply(message, boot, decision, this.#bootAddress, channel);
    const options = new Map<number, Uint8Array>([[OPT.messageType, typeOption(type)], [OPT.serverId, ipv4Bytes(this.#options.address)], ...part.options]);
    this.#echo(message, options);
    const reply: DhcpMessage = { ...this.#blank(message), ciaddr: message.ciaddr, siaddr: part.siaddr ?? ANY_ADDRESS, sname: part.sname ?? '', file: part.file ?? '', options, magic: true };
    const told = reply.file || optionText(options, OPT.bootFile);
    this.#log(request, 'served', told ? `boots ${printable(told)} by ${decision.rule ?? 'policy'}` : `is sent to port ${this.#options.proxyPort ?? PXE_SERVER_PORT}`, 'proxydhcp');
    // Port 4011 answers where it was asked from; an offer goes where the lease offers go.
    return channel === 'boot-server' && from.address !== ANY_ADDRESS ? this.#reply(request, reply, from) : this.#reply(request, reply);
  }

  #answer(request: Request, type: 'OFFER' | 'ACK' | 'BOOTP', subnet: DhcpSubnet, address: string | undefined): DhcpReply {
    const { message, boot } = request;
    const options = new Map<number, Uint8Array>();
    if (type !== 'BOOTP') {
      options.set(OPT.messageType, typeOption(type));
      options.set(OPT.serverId, ipv4Bytes(this.#serverId(request)));
    }
    if (type !== 'BOOTP' && address !== undefined) {
      const seconds = this.#leaseSeconds(request, subnet);
      options.set(OPT.leaseTime, u32(seconds));
      options.set(OPT.renewal, u32(Math.floor(seconds / 2)));
      options.set(OPT.rebinding, u32(Math.floor((seconds * 7) / 8)));
    }
    this.#network(subnet, request, options, address);
    const decision = this.#options.booter?.decide({ ...boot, address: address ?? message.ciaddr });
    const part = decision && boot.kind !== 'dhcp' ? bootReply(message, boot, decision, this.#bootAddress, 'lease') : undefined;
    for (const [code, value] of part?.options ?? []) options.set(code, value);
    if (this.#options.alone === true && boot.kind === 'ipxe') options.set(OPT.etherboot, noProxyDhcp());
    for (const [code, value] of subnet.options ?? []) options.set(code, value);
    this.#echo(message, options);
    const reply: DhcpMessage = {
      ...this.#blank(message),
      ciaddr: type === 'OFFER' ? ANY_ADDRESS : message.ciaddr,
      yiaddr: address ?? ANY_ADDRESS,
      siaddr: part?.siaddr ?? ANY_ADDRESS,
      sname: part?.sname ?? '',
      file: part?.file ?? '',
      options,
      magic: type !== 'BOOTP' || message.magic,
    };
    const gets = address === undefined ? 'gets parameters' : `${type === 'OFFER' ? 'is offered' : 'has'} ${address}`;
    const boots =
      decision === undefined || boot.kind === 'dhcp' ? '' : decision.boot === 'file' ? ` and ${printable(decision.file)} by ${decision.rule ?? 'policy'}` : decision.boot === 'local' ? ' and shall boot from its disk' : ` but no boot file: ${decision.reason}`;
    this.#log(request, 'served', gets + boots);
    return type === 'ACK' && address === undefined ? this.#reply(request, reply, { address: message.ciaddr, port: this.#clientPort }) : this.#reply(request, reply);
  }

  #network(subnet: DhcpSubnet, request: Request, options: Map<number, Uint8Array>, address: string | undefined): void {
    const mask = prefixMask(subnet.prefix);
    const hostname = this.#reservations.find(reservation => reservation.address === address)?.hostname;
    const wanted = request.message.options.get(OPT.parameters);
    const set = (code: number, value: Uint8Array | undefined, always = false): void => {
      if (value !== undefined && value.length > 0 && (always || !wanted || wanted.includes(code))) options.set(code, value);
    };
    set(OPT.subnetMask, u32(mask), true);
    // RFC 3442: a client that asks for classless routes is to ignore the router, so that it is repeated there.
    const routes = subnet.routes?.length ? encodeRoutes([...(subnet.router ? [{ network: ANY_ADDRESS, prefix: 0, gateway: subnet.router }] : []), ...subnet.routes]) : undefined;
    if (wanted?.includes(OPT.classlessRoutes)) set(OPT.classlessRoutes, routes);
    set(OPT.router, subnet.router === undefined ? undefined : ipv4Bytes(subnet.router), true);
    set(OPT.dns, addressesOption(subnet.dns ?? []), true);
    set(OPT.hostname, hostname === undefined ? undefined : utf8(hostname), true);
    set(OPT.domain, subnet.domain === undefined ? undefined : utf8(subnet.domain));
    set(OPT.domainSearch, subnet.search && encodeDomainSearch(subnet.search));
    set(OPT.ntp, addressesOption(subnet.ntp ?? []));
    set(OPT.mtu, subnet.mtu === undefined ? undefined : u16(subnet.mtu));
    set(OPT.broadcast, ipv4Bytes(ipv4Text(((ipv4Number(subnet.network) ?? 0) | ~mask) >>> 0)));
  }

  #nak(request: Request, reason: string): DhcpReply {
    const { message } = request;
    const options = new Map([[OPT.messageType, typeOption('NAK')], [OPT.serverId, ipv4Bytes(this.#serverId(request))], [OPT.message, utf8(reason)]]);
    this.#echo(message, options);
    this.#log(request, 'refused', reason);
    // RFC 2131, 4.3.2: heard by a client whose address is wrong, also behind a relay.
    const relayed = message.giaddr !== ANY_ADDRESS;
    const reply: DhcpMessage = { ...this.#blank(message), broadcast: relayed || message.broadcast, options, magic: true };
    return this.#reply(request, reply, relayed ? { address: message.giaddr, port: this.#serverPort } : { address: BROADCAST_ADDRESS, port: this.#clientPort });
  }

  /** Where replies go (RFC 2131, 4.1): the relay, the client's address, its hardware address, or everybody. */
  #reply(request: Request, reply: DhcpMessage, to?: UdpAddress): DhcpReply {
    const { message } = request;
    const maxSize = optionU16(message.options, OPT.maxSize) ?? 0;
    const { bytes, dropped } = encodeDhcp(reply, Math.min(1500 - 28, Math.max(DHCP_DEFAULT_MAX_BYTES, maxSize - 28)));
    if (dropped.length > 0) this.#log(request, 'note', `options ${dropped.join(', ')} did not fit into the reply`);
    const done = (address: string, port: number, mac?: string): DhcpReply => ({ to: { address, port }, mac, bytes, message: reply });
    if (to) return done(to.address, to.port);
    if (message.giaddr !== ANY_ADDRESS) return done(message.giaddr, this.#serverPort);
    if (message.ciaddr !== ANY_ADDRESS) return done(message.ciaddr, this.#clientPort);
    if (message.broadcast || this.#options.unicastByMac === false || reply.yiaddr === ANY_ADDRESS || message.htype !== 1 || message.chaddr.length !== 6) {
      return done(BROADCAST_ADDRESS, this.#clientPort);
    }
    return done(reply.yiaddr, this.#clientPort, request.client.mac);
  }

  /** RFC 6842: the client id comes back; RFC 3046: so does the relay's information. */
  #echo(message: DhcpMessage, options: Map<number, Uint8Array>): void {
    for (const code of [OPT.clientId, OPT.relayAgent]) {
      const value = message.options.get(code);
      if (value && message.magic) options.set(code, value);
    }
  }

  #blank(message: DhcpMessage): DhcpMessage {
    return { ...message, op: 'reply', hops: 0, secs: 0, ciaddr: ANY_ADDRESS, yiaddr: ANY_ADDRESS, siaddr: ANY_ADDRESS, sname: '', file: '' };
  }

  #choose(request: Request, subnet: DhcpSubnet): { readonly address: string } | { readonly reason: string } {
    const { message, client, nowNs } = request;
    const reserved = this.#reservation(request, subnet);
    if (reserved !== undefined) {
      if (this.leases.available(reserved, client, nowNs)) return { address: reserved };
      return { reason: `its reserved address ${reserved} is in use by another client` };
    }
    const usable = (address: string): boolean => this.#inPool(address, subnet) && !this.#reserved.has(address) && address !== this.#options.address && address !== subnet.router;
    const before = this.leases.find(client, usable);
    if (before && isHeld(before, nowNs)) return { address: before.address };
    const room = this.#room(request);
    if (room !== undefined) return { reason: room };
    if (before) return { address: before.address };
    const requested = optionAddress(message.options, OPT.requestedAddress);
    if (requested !== undefined && usable(requested) && this.leases.available(requested, client, nowNs)) return { address: requested };
    const address = this.leases.choose(subnet.pool ?? [], candidate => !usable(candidate), nowNs);
    if (address !== undefined) return { address };
    return { reason: subnet.pool?.length ? `the pool of ${subnet.network}/${subnet.prefix} is exhausted` : `${subnet.network}/${subnet.prefix} has no pool and the client no reservation` };
  }

  /** Why no new address is given out; undefined when one may be. */
  #room({ client, nowNs }: Request): string | undefined {
    const { leases, offers, perClient } = this.#limits;
    this.leases.prune(4 * leases, nowNs);
    if (this.leases.held(nowNs) >= leases) return `${leases} addresses are given out, which is the limit`;
    if (this.leases.held(nowNs, 'offered') >= offers) return `${offers} offers wait for an answer, which is the limit`;
    let own = 0;
    for (const lease of this.leases.all()) if (lease.mac === client.mac && isHeld(lease, nowNs)) own++;
    return own >= perClient ? `the client holds ${own} addresses, which is the limit` : undefined;
  }

  #reservation({ client }: Request, subnet: DhcpSubnet): string | undefined {
    const fits = this.#reservations.filter(({ address }) => this.#inSubnet(address, subnet));
    return (fits.find(({ clientId }) => clientId !== undefined && clientId === client.clientId) ?? fits.find(({ mac }) => mac !== undefined && mac === client.mac))?.address;
  }

  #subnetFor({ message, boot }: Request): DhcpSubnet | string {
    const relay = message.giaddr !== ANY_ADDRESS;
    const link = relay ? boot.relay?.linkSelection : undefined;
    const place = link ?? (relay ? message.giaddr : this.#options.address);
    const subnet = this.#subnetOf(place);
    if (subnet) return subnet;
    return relay ? `it comes through the relay ${place}, which is in no subnet of ours` : `our own address ${place} is in no subnet of ours`;
  }

  #subnetOf(address: string): DhcpSubnet | undefined {
    return this.#subnets.find(subnet => this.#inSubnet(address, subnet));
  }

  #inSubnet(address: string, subnet: DhcpSubnet): boolean {
    return inNetwork(address, subnet.network, subnet.prefix);
  }

  #inPool(address: string, subnet: DhcpSubnet): boolean {
    const value = ipv4Number(address) ?? -1;
    const mask = prefixMask(subnet.prefix);
    const host = (value & ~mask) >>> 0;
    if (host === 0 || host === ~mask >>> 0) return false;
    return (subnet.pool ?? []).some(({ from, to }) => value >= ipv4Number(from)! && value <= ipv4Number(to)!);
  }

  #leaseSeconds({ message }: Request, subnet: DhcpSubnet): number {
    const longest = subnet.leaseSeconds ?? DEFAULT_LEASE_SECONDS;
    const wanted = optionU32(message.options, OPT.leaseTime) ?? longest;
    return Math.max(Math.min(MIN_LEASE_SECONDS, longest), Math.min(wanted, longest));
  }

  #record(request: Request, address: string, state: LeaseState, untilNs: number): void {
    const { client, message } = request;
    const hostname = optionText(message.options, OPT.hostname);
    const lease: Lease = { address, mac: client.mac, clientId: client.clientId, hostname: hostname && printable(hostname), state, untilNs, boot: client.boot };
    this.leases.set(lease);
  }

  #dropOffer(request: Request): void {
    for (const lease of this.leases.all()) {
      if (lease.state === 'offered' && lease.mac === request.client.mac) this.leases.delete(lease.address);
    }
  }

  #freeOthers(request: Request, address: string, subnet: DhcpSubnet): void {
    for (const lease of this.leases.all()) {
      if (lease.address === address || lease.mac !== request.client.mac || !this.#inSubnet(lease.address, subnet) || (lease.state !== 'offered' && lease.state !== 'bound')) continue;
      if (lease.state === 'offered') this.leases.delete(lease.address);
      else if (lease.clientId === request.client.clientId) this.leases.set({ ...lease, state: 'free', untilNs: request.nowNs });
    }
  }

  #save(): void {
    const { storage, epochAtZero = 0 } = this.#options;
    storage?.save(formatLeases(this.leases.all(), epochAtZero));
  }

  /** RFC 5107: the relay may want to be taken for the server. */
  #serverId({ boot }: Request): string {
    return boot.relay?.serverIdOverride ?? this.#options.address;
  }

  get #bootAddress(): string {
    return this.#options.bootServer ?? this.#options.address;
  }

  get #clientPort(): number {
    return this.#options.clientPort ?? DHCP_CLIENT_PORT;
  }

  get #serverPort(): number {
    return this.#options.serverPort ?? DHCP_SERVER_PORT;
  }

  #ignored(request: Request, reason: string, outcome: PxeOutcome = 'ignored'): undefined {
    this.#log(request, outcome, reason);
  }

  #refused(request: Request, reason: string): undefined {
    this.#log(request, 'refused', reason);
  }

  #log(request: Request, outcome: PxeOutcome, reason: string, service: PxeService = this.#options.mode === 'proxy' ? 'proxydhcp' : 'dhcp'): void {
    this.#event(service, outcome, request.client.mac, request.type, reason);
  }

  #event(service: PxeService, outcome: PxeOutcome, client: string, what: string, reason: string): void {
    this.#options.log?.event({ atNs: this.#options.clock.now, service, outcome, client, what, reason });
  }
}

/** Bytes of a client id of type 1, as most clients send it: the hardware type and address. */
export const hardwareClientId = (mac: Uint8Array): Uint8Array => concatBytes([Uint8Array.of(1), mac]);
