// A DHCP client as PXE firmware has it: PXE 2.1, 2.2 and 2.4, on RFC 2131. It ends with an address and a boot file, or says why not.
import type { Clock } from '../../host/clock.js';
import { ANY_ADDRESS, BROADCAST_ADDRESS, concatBytes, ipv4Bytes, readU16, textOf, u16, utf8 } from '../bytes.js';
import { Deadlines, NS_PER_S, type Deadline } from '../deadlines.js';
import type { UdpAddress, UdpEndpoint } from '../endpoint.js';
import { blankDhcp, decodeDhcp, DHCP_SERVER_PORT, dhcpType, encodeDhcp, OPT, PXE_SERVER_PORT, typeOption, type DhcpMessage, type DhcpType } from './codec.js';
import { hardwareClientId } from './server.js';
import { encodeSuboptions, optionAddress, optionText, parseSuboptions, PXE_BOOT_AT_ONCE, PXE_VENDOR } from './options.js';

export interface DhcpClientOptions {
  /** Port 68, hearing broadcasts and what is sent to the hardware address. The caller closes it. */
  readonly endpoint: UdpEndpoint;
  readonly clock: Clock;
  readonly mac: Uint8Array;
  /** 32 random bits from the run's seed. */
  readonly random: () => number;
  /** What firmware says of itself; without it an ordinary client that wants an address only. */
  readonly pxe?: {
    /** Option 93's number. */
    readonly architecture: number;
    /** 16 bytes as SMBIOS has them; not every ROM sends them. */
    readonly uuid?: Uint8Array;
    /** 'PXEClient' by default. */
    readonly className?: 'PXEClient' | 'HTTPClient';
  };
  readonly userClass?: string;
  /** Options to add or replace. */
  readonly options?: ReadonlyMap<number, Uint8Array>;
  readonly broadcast?: boolean;
  /** How long each try waits, in seconds; PXE's are 4, 8, 16, 32. */
  readonly waitSeconds?: readonly number[];
  /** An address was acknowledged: what is sent from now on comes from it. */
  readonly onAddress?: (ack: DhcpMessage) => void;
  /** A boot server offers a choice (PXE 2.1, 2.2.5): call `choose` with the type of an item. Without this the first item is taken. */
  readonly onMenu?: (menu: BootMenu, choose: (type: number) => void) => void;
  readonly onDone: (result: DhcpClientResult) => void;
}

/** What PXE shows: a prompt for `timeoutS` seconds (255: without end), after which the first item is taken; a key shows the items. */
export interface BootMenu {
  readonly prompt: string;
  readonly timeoutS: number;
  /** Type 0 boots from the machine's own disk. */
  readonly items: readonly { readonly type: number; readonly text: string }[];
}

/** Where firmware gets its file from. */
export interface BootSource {
  readonly server: string;
  /** A TFTP path, or an URL for an HTTPClient. */
  readonly file: string;
}

/** Packets as they came, for PXE's cached packets 1 to 3. */
export interface CachedPackets {
  readonly discover: Uint8Array;
  readonly ack: Uint8Array;
  /** The ProxyDHCP offer or the boot server's answer; the ACK again where there was none. */
  readonly boot: Uint8Array;
}

export type DhcpClientResult =
  | { readonly ok: true; readonly address: string; readonly serverId: string; readonly ack: DhcpMessage; readonly boot?: BootSource; readonly local?: true; readonly packets: CachedPackets }
  | {
      readonly ok: false;
      /** no-offer is PXE-E51 and E52, no-ack E5x, nak, no-boot-file E53, boot-server-silent E55. */
      readonly stage: 'no-offer' | 'no-lease' | 'no-ack' | 'nak' | 'no-boot-file' | 'boot-server-silent';
      readonly reason: string;
    };

const PARAMETERS = [1, 3, 6, 12, 15, 17, 28, 43, 54, 60, 66, 67, 97, 121, 128, 129, 130, 131, 132, 133, 134, 135, 175, 209, 210];

interface Heard {
  readonly message: DhcpMessage;
  readonly bytes: Uint8Array;
}

export class DhcpClient {
  readonly #options: DhcpClientOptions;
  readonly #deadline: Deadline;
  readonly #xid: number;
  #state: 'idle' | 'selecting' | 'requesting' | 'choosing' | 'asking' | 'done' = 'idle';
  #try = 0;
  #discover: Uint8Array = new Uint8Array(0);
  #offers: Heard[] = [];
  #lease: Heard | undefined;
  #proxy: Heard | undefined;
  #ack: Heard | undefined;
  /** The item of the boot menu that was chosen. */
  #item: number | undefined;
  /** Proxies from whose silence nothing more is expected. */
  #refused: string | undefined;

  constructor(options: DhcpClientOptions) {
    this.#options = options;
    this.#deadline = new Deadlines(options.clock).create(() => this.#timeout());
    this.#xid = options.random() >>> 0;
    options.endpoint.onMessage = (from, bytes) => this.#receive(from, bytes);
  }

  start(): void {
    this.#state = 'selecting';
    this.#sendDiscover();
  }

  get #wants(): boolean {
    return this.#options.pxe !== undefined;
  }

  #message(type: DhcpType, extra: readonly (readonly [number, Uint8Array])[]): DhcpMessage {
    const { mac, pxe, userClass, options, broadcast, clock } = this.#options;
    const list = new Map<number, Uint8Array>([[OPT.messageType, typeOption(type)], ...extra, [OPT.maxSize, u16(1500)], [OPT.parameters, Uint8Array.from(PARAMETERS)]]);
    if (pxe) {
      const { architecture, uuid, className = 'PXEClient' } = pxe;
      if (uuid) {
        list.set(OPT.guid, concatBytes([Uint8Array.of(0), uuid]));
        list.set(OPT.clientId, concatBytes([Uint8Array.of(0), uuid]));
      }
      list.set(OPT.vendorClass, utf8(`${className}:Arch:${String(architecture).padStart(5, '0')}:UNDI:002001`));
      list.set(OPT.architecture, u16(architecture));
      list.set(OPT.nii, Uint8Array.of(1, 2, 1));
    }
    if (!list.has(OPT.clientId)) list.set(OPT.clientId, hardwareClientId(mac));
    if (userClass !== undefined) list.set(OPT.userClass, utf8(userClass));
    for (const [code, value] of options ?? []) list.set(code, value);
    return { ...blankDhcp('request', mac, this.#xid), secs: Math.min(65535, Math.floor(clock.now / NS_PER_S)), broadcast: broadcast ?? true, options: list };
  }

  #send(message: DhcpMessage, to: UdpAddress = { address: BROADCAST_ADDRESS, port: DHCP_SERVER_PORT }): void {
    this.#options.endpoint.send(to, encodeDhcp(message, 1472).bytes);
  }

  #sendDiscover(): void {
    const message = this.#message('DISCOVER', []);
    this.#discover = encodeDhcp(message, 1472).bytes;
    this.#send(message);
    this.#wait();
  }

  #wait(): void {
    // The answer may have come while the question was sent.
    if (this.#state === 'done' || this.#state === 'choosing') return;
    const { waitSeconds = [4, 8, 16, 32], clock } = this.#options;
    this.#deadline.arm(clock.now + waitSeconds[Math.min(this.#try, waitSeconds.length - 1)] * NS_PER_S);
  }

  #receive(_from: UdpAddress, bytes: Uint8Array): void {
    const decoded = decodeDhcp(bytes);
    if (!decoded.ok || this.#state === 'done') return;
    const message = decoded.value;
    if (message.op !== 'reply' || message.xid !== this.#xid || !message.chaddr.every((byte, i) => byte === this.#options.mac[i])) return;
    const heard = { message, bytes };
    const type = dhcpType(message);
    if (this.#state === 'selecting' && type === 'OFFER') {
      this.#offers.push(heard);
      // A complete answer needs no waiting for others.
      const lease = this.#offers.find(isLease);
      if (lease && (!this.#wants || bootOf(lease.message) || this.#offers.some(isProxy))) this.#select();
    } else if (this.#state === 'requesting' && optionAddress(message.options, OPT.serverId) === optionAddress(this.#lease!.message.options, OPT.serverId)) {
      if (type === 'ACK' && message.yiaddr !== ANY_ADDRESS) this.#acknowledged(heard);
      else if (type === 'NAK') this.#fail('nak', `${optionAddress(message.options, OPT.serverId)} refused the address: ${optionText(message.options, OPT.message) ?? 'no reason given'}`);
    } else if (this.#state === 'asking' && type === 'ACK') {
      if (!bootOf(message)) {
        this.#refused = `${optionAddress(message.options, OPT.serverId) ?? message.siaddr} answered without a boot file`;
        return;
      }
      this.#proxy = heard;
      this.#succeed(bootOf(message));
    }
  }

  #select(): void {
    // A lease offer that has the file is preferred to the first one.
    const leases = this.#offers.filter(isLease);
    this.#lease = (this.#wants ? leases.find(({ message }) => bootOf(message)) : undefined) ?? leases[0];
    this.#proxy = this.#offers.find(isProxy);
    this.#state = 'requesting';
    this.#try = 0;
    this.#sendRequest();
  }

  #sendRequest(): void {
    const { message } = this.#lease!;
    this.#send(this.#message('REQUEST', [[OPT.serverId, ipv4Bytes(optionAddress(message.options, OPT.serverId) ?? ANY_ADDRESS)], [OPT.requestedAddress, ipv4Bytes(message.yiaddr)]]));
    this.#wait();
  }

  #acknowledged(heard: Heard): void {
    this.#ack = heard;
    this.#options.onAddress?.(heard.message);
    if (!this.#wants) return this.#succeed(undefined);
    const menu = this.#menu();
    if (menu) {
      this.#state = 'choosing';
      let chosen = false;
      const choose = (type: number): void => {
        if (chosen || this.#state !== 'choosing') return;
        chosen = true;
        this.#choose(type);
      };
      if (this.#options.onMenu) this.#options.onMenu(menu, choose);
      else choose(menu.items[0].type);
      return;
    }
    const boot = bootOf(heard.message) ?? (this.#proxy && bootOf(this.#proxy.message));
    if (boot) return this.#succeed(boot);
    if (!this.#proxy) return this.#fail('no-boot-file', `${optionAddress(heard.message.options, OPT.serverId)} gave ${heard.message.yiaddr} but no boot file, and no ProxyDHCP server offered one`);
    this.#state = 'asking';
    this.#try = 0;
    this.#ask();
  }

  /** Option 43 of whoever speaks for the boot server: the ProxyDHCP server, or the DHCP server itself. */
  get #vendor(): Map<number, Uint8Array> {
    return parseSuboptions((this.#proxy ?? this.#ack)!.message.options.get(OPT.vendor) ?? new Uint8Array(0));
  }

  /** The menu, unless the file is to be booted at once. */
  #menu(): BootMenu | undefined {
    const vendor = this.#vendor;
    const items = parseMenuItems(vendor.get(PXE_VENDOR.bootMenu) ?? new Uint8Array(0));
    if (items.length === 0 || ((vendor.get(PXE_VENDOR.discoveryControl)?.[0] ?? 0) & PXE_BOOT_AT_ONCE) !== 0) return undefined;
    const prompt = vendor.get(PXE_VENDOR.menuPrompt) ?? new Uint8Array(0);
    return { prompt: textOf(prompt.subarray(1)), timeoutS: prompt[0] ?? 0, items };
  }

  #choose(type: number): void {
    if (type === 0) return this.#succeed(undefined, true);
    this.#item = type;
    this.#state = 'asking';
    this.#try = 0;
    this.#ask();
  }

  get #bootServer(): string {
    const { message } = (this.#proxy ?? this.#ack)!;
    return bootServers(this.#vendor, this.#item)[0] ?? optionAddress(message.options, OPT.serverId) ?? message.siaddr;
  }

  #ask(): void {
    const item: [number, Uint8Array][] = this.#item === undefined ? [] : [[OPT.vendor, encodeSuboptions([[PXE_VENDOR.bootItem, concatBytes([u16(this.#item), u16(0)])]])]];
    const request = { ...this.#message('REQUEST', item), ciaddr: this.#ack!.message.yiaddr, broadcast: false };
    for (const to of this.#discoveryTargets()) this.#send(request, to);
    this.#wait();
  }

  /** PXE 2.1, table 2-1, tag 6: bit 0 forbids broadcasts, bit 1 multicasts, bit 2 all servers that are not listed. */
  #discoveryTargets(): readonly UdpAddress[] {
    const vendor = this.#vendor;
    const control = vendor.get(PXE_VENDOR.discoveryControl)?.[0] ?? 3;
    const listed = bootServers(vendor, this.#item);
    const group = vendor.get(PXE_VENDOR.multicastAddress);
    if (this.#item !== undefined && (control & 4) === 0 && listed.length === 0) {
      if ((control & 2) === 0 && group?.length === 4) return [{ address: group.join('.'), port: PXE_SERVER_PORT }];
      if ((control & 1) === 0) return [{ address: BROADCAST_ADDRESS, port: DHCP_SERVER_PORT }];
    }
    return listed.length > 0 ? listed.map(address => ({ address, port: PXE_SERVER_PORT })) : [{ address: this.#bootServer, port: PXE_SERVER_PORT }];
  }

  #timeout(): void {
    const { waitSeconds = [4, 8, 16, 32] } = this.#options;
    if (this.#state === 'selecting' && this.#offers.some(isLease)) return this.#select();
    if (++this.#try < waitSeconds.length) {
      if (this.#state === 'selecting') this.#sendDiscover();
      else if (this.#state === 'requesting') this.#sendRequest();
      else this.#ask();
      return;
    }
    if (this.#state === 'selecting') {
      const proxies = this.#offers.filter(isProxy).map(({ message }) => optionAddress(message.options, OPT.serverId));
      if (proxies.length > 0) this.#fail('no-lease', `only the ProxyDHCP server ${proxies[0]} answered; no DHCP server gives addresses`);
      else this.#fail('no-offer', `no DHCP server answered ${waitSeconds.length} DISCOVERs`);
    } else if (this.#state === 'requesting') {
      this.#fail('no-ack', `${optionAddress(this.#lease!.message.options, OPT.serverId)} offered ${this.#lease!.message.yiaddr} and then did not acknowledge it`);
    } else {
      const who = this.#proxy ? `the ProxyDHCP server ${this.#bootServer}` : `the boot server ${this.#bootServer}`;
      if (this.#refused !== undefined) this.#fail('no-boot-file', this.#refused);
      else this.#fail('boot-server-silent', `${who} gave no file and did not answer on port ${PXE_SERVER_PORT}`);
    }
  }

  #succeed(boot: BootSource | undefined, local = false): void {
    this.#finish({
      ok: true,
      address: this.#ack!.message.yiaddr,
      serverId: optionAddress(this.#ack!.message.options, OPT.serverId) ?? ANY_ADDRESS,
      ack: this.#ack!.message,
      boot,
      ...(local ? { local: true as const } : {}),
      packets: { discover: this.#discover, ack: this.#ack!.bytes, boot: this.#proxy?.bytes ?? this.#ack!.bytes },
    });
  }

  #fail(stage: Extract<DhcpClientResult, { ok: false }>['stage'], reason: string): void {
    this.#finish({ ok: false, stage, reason });
  }

  #finish(result: DhcpClientResult): void {
    this.#state = 'done';
    this.#deadline.disarm();
    this.#options.onDone(result);
  }
}

const isLease = ({ message }: Heard): boolean => message.yiaddr !== ANY_ADDRESS && message.options.has(OPT.serverId);
const isProxy = ({ message }: Heard): boolean => message.yiaddr === ANY_ADDRESS && (optionText(message.options, OPT.vendorClass) ?? '').startsWith('PXEClient');

/** The entries of option 43's boot menu: type, length, text. */
const parseMenuItems = (value: Uint8Array): { type: number; text: string }[] => {
  const items: { type: number; text: string }[] = [];
  for (let at = 0; at + 3 <= value.length; ) {
    const length = value[at + 2];
    if (at + 3 + length > value.length) break;
    items.push({ type: readU16(value, at), text: textOf(value.subarray(at + 3, at + 3 + length)) });
    at += 3 + length;
  }
  return items;
};

/** The addresses of option 43's boot servers for an item, or of the first entry. */
const bootServers = (vendor: ReadonlyMap<number, Uint8Array>, item: number | undefined): string[] => {
  const value = vendor.get(PXE_VENDOR.bootServers) ?? new Uint8Array(0);
  for (let at = 0; at + 3 <= value.length; ) {
    const count = value[at + 2];
    const end = at + 3 + 4 * count;
    if (end > value.length) break;
    if (item === undefined || readU16(value, at) === item) return Array.from({ length: count }, (_, i) => Array.from(value.subarray(at + 3 + 4 * i, at + 7 + 4 * i)).join('.'));
    at = end;
  }
  return [];
};

/** The file that a reply names, and where: option 67 or the header's field, from siaddr, option 66 as an address, or the server itself. */
export const bootOf = (message: DhcpMessage): BootSource | undefined => {
  const file = optionText(message.options, OPT.bootFile) || message.file;
  if (!file) return undefined;
  const named = optionText(message.options, OPT.tftpServer) ?? '';
  const server = message.siaddr !== ANY_ADDRESS ? message.siaddr : /^\d+\.\d+\.\d+\.\d+$/.test(named) ? named : (optionAddress(message.options, OPT.serverId) ?? ANY_ADDRESS);
  return { file, server };
};
