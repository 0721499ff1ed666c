// Boot policy: who gets what. The mechanism (DHCP, TFTP, HTTP) asks and carries.
import { ANY_ADDRESS, macText, printable } from './bytes.js';
import { OPT, hardwareText, type DhcpMessage } from './dhcp/codec.js';
import { optionText, parseGuid, parseIpxe, parseRelayAgent, parseUserClasses, type IpxeInfo, type RelayAgent } from './dhcp/options.js';

export type BootPlatform = 'bios' | 'efi-ia32' | 'efi-x64' | 'efi-arm32' | 'efi-arm64' | 'efi-riscv32' | 'efi-riscv64' | 'efi-loongarch32' | 'efi-loongarch64' | 'other';

interface Architecture {
  readonly platform: BootPlatform;
  readonly name: string;
  /** The firmware fetches by HTTP and wants an URL. */
  readonly http?: true;
}

/**
 * Option 93 by IANA's registry. 7 and 9 are both x86-64: RFC 4578 names 7 'EFI BC' and 9 'EFI x86-64', firmware means x86-64 with 7, and the
 * registry has followed the firmware.
 */
export const ARCHITECTURES: ReadonlyMap<number, Architecture> = new Map<number, Architecture>([
  [0, { platform: 'bios', name: 'BIOS' }],
  [6, { platform: 'efi-ia32', name: 'EFI IA32' }],
  [7, { platform: 'efi-x64', name: 'EFI x86-64' }],
  [9, { platform: 'efi-x64', name: 'EFI x86-64 (as 9)' }],
  [10, { platform: 'efi-arm32', name: 'EFI ARM 32' }],
  [11, { platform: 'efi-arm64', name: 'EFI ARM 64' }],
  [15, { platform: 'efi-ia32', name: 'EFI IA32 HTTP', http: true }],
  [16, { platform: 'efi-x64', name: 'EFI x86-64 HTTP', http: true }],
  [18, { platform: 'efi-arm32', name: 'EFI ARM 32 HTTP', http: true }],
  [19, { platform: 'efi-arm64', name: 'EFI ARM 64 HTTP', http: true }],
  [20, { platform: 'bios', name: 'BIOS HTTP', http: true }],
  [25, { platform: 'efi-riscv32', name: 'EFI RISC-V 32' }],
  [26, { platform: 'efi-riscv32', name: 'EFI RISC-V 32 HTTP', http: true }],
  [27, { platform: 'efi-riscv64', name: 'EFI RISC-V 64' }],
  [28, { platform: 'efi-riscv64', name: 'EFI RISC-V 64 HTTP', http: true }],
  [37, { platform: 'efi-loongarch32', name: 'EFI LoongArch 32' }],
  [38, { platform: 'efi-loongarch32', name: 'EFI LoongArch 32 HTTP', http: true }],
  [39, { platform: 'efi-loongarch64', name: 'EFI LoongArch 64' }],
  [40, { platform: 'efi-loongarch64', name: 'EFI LoongArch 64 HTTP', http: true }],
]);

/** What a client says of itself. */
export interface BootClient {
  /** 'aa:bb:cc:dd:ee:ff' in lower case. */
  readonly mac: string;
  /** From option 97, in lower case; undefined when the firmware does not tell. */
  readonly uuid?: string;
  /** Option 93's numbers in the client's order; empty when it sends none. */
  readonly architectures: readonly number[];
  readonly platform: BootPlatform;
  /** pxe and http are firmware, ipxe is iPXE in any form, bootp asks without DHCP, dhcp only wants an address. */
  readonly kind: 'pxe' | 'http' | 'ipxe' | 'bootp' | 'dhcp';
  readonly userClasses: readonly string[];
  readonly vendorClass: string;
  readonly ipxe?: IpxeInfo;
  readonly relay?: RelayAgent;
  readonly giaddr: string;
  readonly hostname?: string;
  /** The address it has or is getting, when that is known. */
  readonly address?: string;
}

export const describeClient = (message: DhcpMessage, address?: string): BootClient => {
  const { options } = message;
  const list = options.get(OPT.architecture) ?? new Uint8Array(0);
  const architectures = Array.from({ length: Math.floor(list.length / 2) }, (_, i) => (list[2 * i] << 8) | list[2 * i + 1]);
  const vendorClass = optionText(options, OPT.vendorClass) ?? '';
  const named = /^(?:PXE|HTTP)Client:Arch:(\d{5})/.exec(vendorClass);
  if (architectures.length === 0 && named) architectures.push(Number(named[1]));
  // Old PXE ROMs without option 93 and BOOTP clients are BIOSes.
  const known = architectures.map(code => ARCHITECTURES.get(code)).find(entry => entry !== undefined);
  const platform = known?.platform ?? (architectures.length === 0 ? 'bios' : 'other');
  const userClasses = parseUserClasses(options.get(OPT.userClass) ?? new Uint8Array(0));
  const etherboot = options.get(OPT.etherboot);
  const isIpxe = userClasses.includes('iPXE') || userClasses.includes('gPXE') || etherboot !== undefined;
  const guid = options.get(OPT.guid);
  const relay = options.get(OPT.relayAgent);
  const kind = isIpxe ? 'ipxe' : vendorClass.startsWith('HTTPClient') ? 'http' : vendorClass.startsWith('PXEClient') ? 'pxe' : options.has(OPT.messageType) ? 'dhcp' : 'bootp';
  return {
    mac: message.chaddr.length === 6 ? macText(message.chaddr) : hardwareText(message),
    uuid: guid && parseGuid(guid),
    architectures,
    platform,
    kind,
    userClasses,
    vendorClass,
    ipxe: isIpxe ? parseIpxe(etherboot ?? new Uint8Array(0)) : undefined,
    relay: relay && parseRelayAgent(relay),
    giaddr: message.giaddr,
    hostname: optionText(options, OPT.hostname),
    address: address === ANY_ADDRESS ? undefined : address,
  };
};

/** What a client is told to boot. */
export interface BootFile {
  readonly boot: 'file';
  /** A TFTP path, or an URL for clients that fetch by HTTP. */
  readonly file: string;
  /** The server that has the file, when it is not ours. */
  readonly server?: string;
  /** PXELINUX's options 209 to 211 (RFC 5071). */
  readonly pxelinux?: { readonly config?: string; readonly prefix?: string; readonly rebootS?: number };
  /** Option 17 (RFC 4173 for iSCSI). */
  readonly rootPath?: string;
  /** Which rule decided, for the log. */
  readonly rule?: string;
}

export type BootDecision = BootFile | { readonly boot: 'local'; readonly rule?: string } | { readonly boot: 'refuse'; readonly reason: string };

/** The one interface of boot policy. `decide` is pure and may be asked several times in one boot. */
export interface Booter {
  decide(client: BootClient): BootDecision;
}

export interface RuleMatch {
  /** Patterns with '*' over 'aa:bb:cc:dd:ee:ff'; any of them. */
  readonly mac?: string | readonly string[];
  readonly uuid?: string | readonly string[];
  /** Numbers of option 93; any of them. 7 and 9 are told apart here. */
  readonly arch?: number | readonly number[];
  readonly platform?: BootPlatform | readonly BootPlatform[];
  readonly kind?: BootClient['kind'] | readonly BootClient['kind'][];
  /** Patterns over each user class. */
  readonly userClass?: string | readonly string[];
  /** Patterns over option 60. */
  readonly vendorClass?: string | readonly string[];
  /** iPXE with these features ('http', 'https', 'menu'...): ask for the feature, not for the name. */
  readonly features?: readonly string[];
  readonly hostname?: string | readonly string[];
  /** Option 82's ids in hex. */
  readonly circuitId?: string | readonly string[];
  readonly remoteId?: string | readonly string[];
}

/** One rule; the first that matches decides. Exactly one of file, ipxe, kernel, local and deny is given. */
export interface BootRule {
  readonly name?: string;
  readonly match?: RuleMatch;
  /** A loader or any other file, given as it is. */
  readonly file?: string;
  readonly server?: string;
  /** A path or URL of an iPXE script; a client that is not iPXE yet gets the iPXE loader of its platform first. */
  readonly ipxe?: string;
  /** A kernel by path or URL; a script or a configuration for the loader is generated. */
  readonly kernel?: string;
  readonly initrd?: readonly string[];
  readonly cmdline?: string;
  /** Which loader loads the kernel; iPXE by default. */
  readonly via?: 'ipxe' | 'pxelinux';
  readonly rootPath?: string;
  readonly pxelinux?: BootFile['pxelinux'];
  /** Boot from the machine's own disk: the client gets an address and no file. */
  readonly local?: boolean;
  /** Refuse, with this reason. */
  readonly deny?: string;
}

const list = <T>(value: T | readonly T[]): readonly T[] => (Array.isArray(value) ? value : [value as T]);

/** Whether text is matched by a pattern in which '*' stands for any text and '?' for one character; letters' case does not count. */
export const matchesPattern = (pattern: string, text: string): boolean => {
  const p = pattern.toLowerCase();
  const t = text.toLowerCase();
  let [i, j, star, mark] = [0, 0, -1, 0];
  while (j < t.length) {
    if (i < p.length && p[i] === '*') [star, mark] = [i++, j];
    else if (i < p.length && (p[i] === '?' || p[i] === t[j])) [i, j] = [i + 1, j + 1];
    else if (star >= 0) [i, j] = [star + 1, ++mark];
    else return false;
  }
  while (p[i] === '*') i++;
  return i === p.length;
};

/** Why a rule does not fit a client; undefined when it does. */
export const mismatch = (match: RuleMatch, client: BootClient): string | undefined => {
  const texts = (name: string, patterns: string | readonly string[] | undefined, values: readonly (string | undefined)[]): string | undefined => {
    if (patterns === undefined) return undefined;
    const given = values.filter(value => value !== undefined);
    if (given.some(value => list(patterns).some(pattern => matchesPattern(pattern, value)))) return undefined;
    return given.length === 0 ? `the client sends no ${name}` : `${name} ${printable(given.join(', '))} is not ${list(patterns).join(' or ')}`;
  };
  const { arch, features } = match;
  const lacking = features?.filter(feature => !client.ipxe?.features.has(feature));
  return (
    texts('mac', match.mac && list(match.mac).map(pattern => pattern.replaceAll('-', ':')), [client.mac]) ??
    texts('uuid', match.uuid, [client.uuid]) ??
    (arch !== undefined && !client.architectures.some(code => list(arch).includes(code)) ? `architecture ${client.architectures.join(', ') || 'untold'} is not ${list(arch).join(' or ')}` : undefined) ??
    texts('platform', match.platform, [client.platform]) ??
    texts('kind', match.kind, [client.kind]) ??
    texts('user class', match.userClass, client.userClasses) ??
    texts('vendor class', match.vendorClass, client.vendorClass === '' ? [] : [client.vendorClass]) ??
    texts('host name', match.hostname, [client.hostname]) ??
    texts('circuit id', match.circuitId, [client.relay?.circuitId]) ??
    texts('remote id', match.remoteId, [client.relay?.remoteId]) ??
    (lacking !== undefined && lacking.length > 0 ? `iPXE without ${lacking.join(', ')}` : undefined)
  );
};
