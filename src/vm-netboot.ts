// Booting a machine from the network inside the process: the servers on its wire, the ROM in its firmware, and what became of it.
import { FileTree } from './host/backends/file-tree.js';
import { Prng, type Seed } from './host/backends/entropy.js';
import { DEFAULT_CMDLINE, type NetbootPlan } from './config-netboot.js';
import type { Clock } from './host/clock.js';
import { isRealModeKernel } from './host/boot/linux.js';
import type { KernelBoot } from './host/boot/load.js';
import type { Firmware } from './host/firmware/bios.js';
import type { Machine } from './host/machine.js';
import { formatMac } from './net/address.js';
import type { IpHost } from './net/ip-host.js';
import { udpPorts } from './net/udp-ports.js';
import type { Booter } from './pxe/booter.js';
import type { DhcpServerOptions } from './pxe/dhcp/server.js';
import { type FileSource, layeredFiles, VirtualFiles } from './pxe/files.js';
import { printable } from './pxe/bytes.js';
import { kernelWordsEvent, withKernelWords } from './pxe/kernel-words.js';
import { HttpFileService } from './pxe/http/files.js';
import { formatEvent, type PxeEvent, PxeJournal } from './pxe/log.js';
import { RuleBooter, type RuleBooterOptions } from './pxe/rule-booter.js';
import type { RomFailure } from './pxe/rom/boot.js';
import type { RomEvent, RomStage } from './pxe/rom/context.js';
import { PxeRom, type PxeRomOptions, type RomKernel } from './pxe/rom/rom.js';
import { TftpServer } from './pxe/tftp/server.js';
import { serveHttp } from './pxe/wire-http.js';
import type { VirtualNetwork } from './vm-network.js';
import { installRom } from './vm-rom.js';
import type { NetworkCard } from './host/board/pc.js';

const HTTP_PORT = 80;

export interface BootServerOptions extends Omit<RuleBooterOptions, 'httpUrl'> {
  /** Folders that are served by TFTP and, if wanted, by HTTP. */
  readonly tftp?: string;
  readonly http?: string;
  /** Files in memory, served by both. */
  readonly files?: ReadonlyMap<string, Uint8Array | string>;
  /** Words for every kernel that a loader's configuration in the folders starts. */
  readonly kernelWords?: string;
  /** Clients that speak HTTP are given URLs of our server. */
  readonly preferHttp?: boolean;
  readonly onEvent?: (event: PxeEvent) => void;
}

/** The boot services of a virtual network: policy, TFTP, HTTP, and the journal of what they did. */
export class BootServer {
  readonly journal: PxeJournal;
  readonly booter: Booter;
  readonly #tftpFiles: FileSource;
  readonly #httpFiles: FileSource;
  readonly #closers: (() => void)[] = [];
  #address: string | undefined;
  #clock: Clock | undefined;
  /** Kernel lines of configurations that got the words, each time one was served. */
  kernelLines = 0;

  /** Throws ERR_VMLET_CONFIG when a folder cannot be served. */
  constructor(options: BootServerOptions) {
    this.journal = new PxeJournal(options.onEvent);
    const generated = new VirtualFiles();
    for (const [path, contents] of options.files ?? []) generated.set(path, contents);
    const rules = new RuleBooter({ ...options, httpUrl: options.preferHttp ? path => `http://${this.#address}/${path.split('/').map(encodeURIComponent).join('/')}` : undefined });
    rules.files(generated);
    this.booter = rules;
    const tree = (root: string | undefined): FileSource | undefined => (root === undefined ? undefined : this.#withWords(new FileTree(root), options.kernelWords));
    const tftp = tree(options.tftp);
    const http = tree(options.http);
    this.#tftpFiles = layeredFiles([generated, ...(tftp ? [tftp] : [])]);
    this.#httpFiles = layeredFiles([generated, ...(http ? [http] : []), ...(tftp ? [tftp] : [])]);
  }

  #withWords(files: FileSource, words: string | undefined): FileSource {
    if (words === undefined) return files;
    return withKernelWords(files, words, (path, count, client) => {
      this.kernelLines += count;
      this.journal.event(kernelWordsEvent(this.#clock?.now ?? 0, path, count, client, words));
    });
  }

  /** What a DHCP server needs to give out boot files. */
  get dhcp(): Partial<DhcpServerOptions> {
    return { booter: this.booter, log: this.journal };
  }

  /** Starts TFTP and HTTP on a station of the wire. */
  serve(host: IpHost): void {
    const { clock } = host;
    const ports = udpPorts(host);
    this.#address = ports.address;
    this.#clock = clock;
    const tftp = new TftpServer({ host: ports, clock, files: this.#tftpFiles, log: this.journal });
    this.#closers.push(() => tftp.close());
    this.#closers.push(serveHttp(host.tcp, HTTP_PORT, new HttpFileService({ clock, files: this.#httpFiles, log: this.journal }), host.address));
  }

  close(): void {
    for (const closer of this.#closers.splice(0)) closer();
  }
}

export interface NetbootClientOptions {
  readonly card: NetworkCard;
  readonly clock: Clock;
  readonly seed: Seed;
  readonly memoryBytes: number;
  readonly userClass?: string;
  readonly loader?: PxeRomOptions['loader'];
  /** The kernel's command line and what messages call it, for `loader`. */
  readonly cmdline?: string;
  /** Makes the kernel ready to start: what a bzImage unpacks to. */
  readonly prepareKernel?: (kernel: Uint8Array) => Promise<{ kernel: Uint8Array; unpacked?: Uint8Array }>;
  readonly onEvent?: (event: RomEvent) => void;
}

/** One machine that boots from the network: the ROM of its card. */
export class NetbootClient {
  readonly rom: PxeRom;
  readonly events: RomEvent[] = [];
  readonly #options: NetbootClientOptions;
  #machine: Machine | undefined;

  /** Takes the card's place on its wire; the card's port is replaced. */
  constructor(options: NetbootClientOptions) {
    this.#options = options;
    const { card, clock, seed, memoryBytes, userClass, loader } = options;
    const mac = formatMac(card.mac);
    const random = new Prng(seed, `pxe:${mac}`);
    this.rom = new PxeRom({
      wire: card.port, clock, random, mac: card.mac, uuid: machineUuid(seed, mac), userClass, loader, memoryBytes,
      onKernel: files => this.#machine!.startKernel(this.#kernel(files)),
      onEvent: event => {
        this.events.push(event);
        options.onEvent?.(event);
      },
    });
    card.port = this.rom.cardPort;
  }

  install(firmware: Firmware, machine: Machine, nic = 0): void {
    this.#machine = machine;
    installRom(this.rom, firmware, machine, nic, this.#options.card.linkUp !== false);
  }

  async #kernel({ kernel, initrd }: RomKernel): Promise<KernelBoot> {
    const made = (await this.#options.prepareKernel?.(kernel)) ?? { kernel };
    // iPXE takes its command line for a script.
    const cmdline = this.#options.cmdline === DEFAULT_CMDLINE && isRealModeKernel(kernel) ? '' : this.#options.cmdline;
    return { kind: 'kernel', ...made, initrd: initrd.length === 0 ? undefined : joined(initrd), cmdline, name: 'the kernel from the network' };
  }
}

/** Cpio archives one behind the other, each at a multiple of four bytes, as the kernel takes them. */
const joined = (parts: readonly Uint8Array[]): Uint8Array => {
  const starts: number[] = [];
  let length = 0;
  for (const part of parts) {
    starts.push(length);
    length = (length + part.length + 3) & ~3;
  }
  if (parts.length === 1) return parts[0];
  const bytes = new Uint8Array(length);
  parts.forEach((part, i) => bytes.set(part, starts[i]));
  return bytes;
};

/** A UUID of version 4 from the run's seed. */
export const machineUuid = (seed: Seed, machine: string): Uint8Array => {
  const random = new Prng(seed, `uuid:${machine}`);
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 16; i++) bytes[i] = random.u32() >>> 24;
  // SMBIOS has the first three fields in little endian: the version is in the eighth byte.
  bytes[7] = (bytes[7] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes;
};

/** A machine's own network boot: the ROM in its firmware, and the servers on its network if it has any. */
export class MachineNetboot {
  readonly server: BootServer | undefined;
  readonly #options: MachineNetbootOptions;
  #client: NetbootClient | undefined;

  constructor(options: MachineNetbootOptions) {
    const { plan, onLine } = options;
    this.#options = options;
    if (plan === undefined) return;
    this.server = new BootServer({
      tftp: plan.tftp,
      files: plan.files,
      rules: plan.rules,
      kernelWords: plan.kernelWords,
      ipxeLoaders: plan.ipxeLoader === undefined ? undefined : { bios: plan.ipxeLoader },
      onEvent: event => onLine?.(`${seconds(event.atNs)} ${formatEvent(event)}`),
    });
  }

  get dhcp(): Partial<DhcpServerOptions> | undefined {
    return this.server?.dhcp;
  }

  /** The network is there: the servers start, and the ROM takes the first card's place on its wire. */
  connect(network: VirtualNetwork | undefined, card: NetworkCard): void {
    const { plan, clock, seed, memoryBytes, prepareKernel, onLine } = this.#options;
    if (network?.gateway !== undefined) this.server?.serve(network.gateway.host);
    if (this.#options.ownRom === false) return;
    const onEvent = (event: RomEvent): void => onLine?.(`${seconds(event.atNs)} client: ${event.stage}: ${event.text}`);
    this.#client = new NetbootClient({ card, clock, seed, memoryBytes, loader: plan?.loader, cmdline: plan?.cmdline, prepareKernel, onEvent });
  }

  install(firmware: Firmware, machine: Machine): void {
    this.#client?.install(firmware, machine);
  }

  get rom(): PxeRom | undefined {
    return this.#client?.rom;
  }

  /** Each step of the client and each answer of the servers. */
  get story(): string[] {
    return bootStory(this.#client?.events ?? [], this.server?.journal.events ?? []);
  }

  /** How far the client came, and why no further, in one or two sentences. */
  get diagnosis(): NetbootDiagnosis {
    const events = this.#client?.events ?? [];
    const failure = this.#client?.rom.failure;
    const stage = failure?.stage ?? (this.#options.ownRom === false ? this.#served : events.at(-1)?.stage) ?? 'link';
    const refused = (this.server?.journal.events ?? []).filter(({ outcome }) => outcome === 'refused' || outcome === 'failed' || outcome === 'ignored').at(-1);
    const said = refused === undefined ? '' : `; the last refusal: ${formatEvent(refused)}`;
    if (failure !== undefined) return { stage, failure, text: `the network boot failed at the stage '${stage}': ${failure.code}: ${failure.title} ${failure.reason}${said}` };
    return { stage, failure, text: stage === 'loader' ? `the boot loader had started${this.#silence || said}` : `the network boot came as far as the stage '${stage}'${said}` };
  }

  /** How far a client that is not ours came, as its servers saw it. */
  get #served(): RomStage | undefined {
    const service = this.server?.journal.events.filter(({ outcome }) => outcome === 'served').at(-1)?.service;
    return service === undefined ? undefined : service === 'tftp' || service === 'http' ? 'tftp' : 'dhcp';
  }

  /** A loader that gives the network stack back has a kernel to start; what keeps it silent is mostly its command line. */
  get #silence(): string {
    if (this.#client?.rom.calls.has('UNLOAD_STACK') !== true) return '';
    const words = this.#options.plan?.kernelWords;
    const gone = ' and let the network go, as before it starts a kernel';
    if (words !== undefined && this.server!.kernelLines === 0) return `${gone}; no configuration that it fetched has a kernel line for '${printable(words)}'`;
    return words?.includes('console=') === true ? gone : `${gone}; a kernel that says nothing may lack console=ttyS0 (--append 'console=ttyS0')`;
  }

  close(): void {
    this.server?.close();
  }
}

export interface NetbootDiagnosis {
  readonly stage: RomStage;
  readonly text: string;
  readonly failure: RomFailure | undefined;
}

export interface MachineNetbootOptions {
  /** What to serve; without it only the client is there. */
  readonly plan?: NetbootPlan;
  /** Whether the client is our ROM, the default, and not one in the card or in firmware of others. */
  readonly ownRom?: boolean;
  readonly clock: Clock;
  readonly seed: Seed;
  readonly memoryBytes: number;
  readonly prepareKernel?: NetbootClientOptions['prepareKernel'];
  /** Told each step as it happens. */
  readonly onLine?: (line: string) => void;
}

const seconds = (ns: number): string => (ns / 1e9).toFixed(3);

/** The story of a boot, for people: each step of the client and each answer of the servers, in the order of time. */
export const bootStory = (events: readonly RomEvent[], journal: readonly PxeEvent[]): string[] => {
  const lines = [
    ...events.map(({ atNs, stage, text }) => ({ atNs, text: `client: ${stage}: ${text}` })),
    ...journal.map(event => ({ atNs: event.atNs, text: formatEvent(event) })),
  ];
  return lines.sort((a, b) => a.atNs - b.atNs).map(({ atNs, text }) => `${seconds(atNs)} ${text}`);
};

