// The whole boot server on one address: DHCP or ProxyDHCP, TFTP and HTTP, for real clients.
import { FileTree, AtomicTextFile } from '../host/backends/file-tree.js';
import { HmacSigner, HttpServerSocket } from '../host/backends/http-server.js';
import { interfaceAddress, RealtimeClock, UdpSocketHost } from '../host/backends/udp-socket.js';
import { VmletError } from '../errors.js';
import type { BootClient, BootPlatform, BootRule, Booter } from './booter.js';
import { inNetwork, ipv4Number } from './bytes.js';
import { attachDhcp } from './dhcp/attach.js';
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT, PXE_SERVER_PORT } from './dhcp/codec.js';
import type { DhcpLimits, DhcpReservation, DhcpSubnet } from './dhcp/config.js';
import { findDhcpServers } from './dhcp/rivals.js';
import { DhcpServer } from './dhcp/server.js';
import { NS_PER_S } from './deadlines.js';
import { layeredFiles, VirtualFiles, type FileSource } from './files.js';
import { HttpFileService } from './http/files.js';
import { kernelWordsEvent, withKernelWords } from './kernel-words.js';
import { SignedUrls } from './http/signed.js';
import { PxeJournal, type PxeEvent } from './log.js';
import { RuleBooter } from './rule-booter.js';
import { TFTP_PORT } from './tftp/codec.js';
import { TftpServer } from './tftp/server.js';

export interface ServeOptions {
  /** The one interface that is served, by name ('eth0', 'lo'). */
  readonly interface: string;
  /** A folder to serve; without it only generated files. */
  readonly root?: string;
  /** Files beside or before the folder. */
  readonly files?: VirtualFiles;
  /** full gives addresses too and needs subnets. Default: off on the loopback interface, proxy elsewhere. */
  readonly dhcp?: 'full' | 'proxy' | 'off';
  readonly subnets?: readonly DhcpSubnet[];
  readonly reservations?: readonly DhcpReservation[];
  readonly limits?: Partial<DhcpLimits>;
  readonly leaseFile?: string;
  readonly rules?: readonly BootRule[];
  readonly booter?: Booter;
  readonly ipxeLoaders?: Partial<Record<BootPlatform, string>>;
  readonly tftp?: { readonly singlePort?: boolean; readonly writes?: { readonly maxBytes: number }; readonly mtu?: number; readonly maxWindowsize?: number } | false;
  /** Words for every kernel that a loader's configuration in the folders starts. */
  readonly kernelWords?: string;
  /** HTTP is off unless asked for; `signed` gives out URLs that end and serves nothing else; `root` is a folder of its own. */
  readonly http?: { readonly port?: number; readonly signed?: boolean; readonly root?: string } | false;
  /** Real ones by default; 0 is any free port. Ports from 1024 need no rights. */
  readonly ports?: { readonly dhcp?: number; readonly dhcpClient?: number; readonly proxy?: number; readonly tftp?: number };
  /** A DHCP server on a real network takes part in everybody's life there: the caller says that it is theirs. Not needed for the loopback. */
  readonly ownsNetwork?: boolean;
  /** Ask for another DHCP server before giving out addresses, and refuse to start beside one; not on the loopback. Default: false. */
  readonly refuseRivals?: boolean;
  readonly onEvent?: (event: PxeEvent) => void;
}

export interface NetbootServe {
  readonly address: string;
  /** Bound ports, 0 for what is off. */
  readonly ports: { readonly dhcp: number; readonly proxy: number; readonly tftp: number; readonly http: number };
  readonly journal: PxeJournal;
  readonly dhcp: DhcpServer | undefined;
  readonly tftp: TftpServer | undefined;
  readonly booter: Booter;
  /** The URL under which a file is served, when HTTP is on. */
  url(path: string): string | undefined;
  close(): Promise<void>;
}

/** Starts the servers. Throws or rejects with ERR_VMLET_CONFIG, and then nothing is left open. */
export const serveNetboot = async (options: ServeOptions): Promise<NetbootServe> => {
  const { address, netmask, internal, mac } = interfaceAddress(options.interface);
  const mode = options.dhcp ?? (internal ? 'off' : 'proxy');
  if (mode !== 'off' && !internal && !options.ownsNetwork) {
    throw new VmletError('ERR_VMLET_CONFIG', `answering DHCP on '${options.interface}' affects every machine of that network`, { hint: 'say that the network is yours (--i-own-this-network), or serve without DHCP' });
  }
  if (mode === 'full' && !options.subnets?.length) throw new VmletError('ERR_VMLET_CONFIG', 'a DHCP server needs a subnet with a pool or reservations', { hint: 'give one, or use the proxy mode beside another DHCP server' });
  const prefix = Math.clz32(~(ipv4Number(netmask) ?? 0xffff_ffff));
  // Files for our wire and the subnets behind its relays; nobody else can use us, as a reflector least of all.
  const allow = (client: string): boolean => inNetwork(client, address, prefix) || (options.subnets ?? []).some(subnet => inNetwork(client, subnet.network, subnet.prefix));
  const clock = new RealtimeClock();
  const journal = new PxeJournal(options.onEvent);
  const host = new UdpSocketHost(address);
  const generated = options.files ?? new VirtualFiles();
  const closers: (() => void | Promise<void>)[] = [() => clock.close()];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const words = options.kernelWords;
    const withWords = (folder: FileSource): FileSource => (words === undefined ? folder : withKernelWords(folder, words, (path, count, client) => journal.event(kernelWordsEvent(clock.now, path, count, client, words))));
    const tree = options.root === undefined ? [] : [withWords(new FileTree(options.root, { writable: options.tftp !== false && options.tftp?.writes !== undefined }))];
    const files: FileSource = layeredFiles([...tree, generated]);
    const signed = options.http && options.http.signed ? new SignedUrls(new HmacSigner()) : undefined;
    const httpFiles = options.http && options.http.root !== undefined ? layeredFiles([withWords(new FileTree(options.http.root)), generated]) : files;
    let httpPort = 0;
    const url = (path: string, boot = '0'): string => `http://${address}:${httpPort}${signed ? signed.path(path, boot, clock.now / NS_PER_S) : `/${path.replace(/^\/+/, '').split('/').map(encodeURIComponent).join('/')}`}`;
    if (options.http) {
      const socket = await HttpServerSocket.open(new HttpFileService({ clock, files: httpFiles, log: journal, signed, allow }), address, options.http.port ?? 0);
      closers.push(() => socket.close());
      httpPort = socket.port;
    }
    let booter = options.booter;
    if (!booter) {
      const rules = new RuleBooter({ rules: options.rules ?? [], ipxeLoaders: options.ipxeLoaders, httpUrl: httpPort > 0 ? (path: string, client: BootClient) => url(path, client.mac) : undefined });
      rules.files(generated);
      booter = rules;
    }
    let tftp: TftpServer | undefined;
    let tftpPort = 0;
    if (options.tftp !== false) {
      const endpoint = await host.open(options.ports?.tftp ?? TFTP_PORT);
      tftp = new TftpServer({ host, clock, files, log: journal, endpoint, allow, ...options.tftp });
      tftpPort = endpoint.port;
      closers.push(() => tftp!.close());
    }
    let dhcp: DhcpServer | undefined;
    let dhcpPort = 0;
    let proxyPort = 0;
    if (mode === 'full' && options.refuseRivals && !internal) {
      const rivals = await findDhcpServers({ clock, endpoint: await host.openBroadcast(DHCP_CLIENT_PORT), mac });
      if (rivals.length > 0) {
        throw new VmletError('ERR_VMLET_CONFIG', `another DHCP server, ${rivals.join(', ')}, answers on '${options.interface}'`, { hint: 'serve beside it with --proxy, or say that both may give addresses (--beside-other-dhcp)' });
      }
    }
    if (mode !== 'off') {
      dhcpPort = options.ports?.dhcp ?? DHCP_SERVER_PORT;
      dhcp = new DhcpServer({
        clock,
        epochAtZero: clock.epochSeconds,
        address,
        mode,
        subnets: options.subnets,
        reservations: options.reservations,
        limits: options.limits,
        booter,
        storage: options.leaseFile === undefined ? undefined : new AtomicTextFile(options.leaseFile),
        log: journal,
        unicastByMac: host.unicastByMac,
        clientPort: options.ports?.dhcpClient,
        serverPort: dhcpPort,
      });
      const boot = await host.open(options.ports?.proxy ?? PXE_SERVER_PORT);
      closers.push(() => boot.close());
      proxyPort = boot.port;
      const attached = attachDhcp(dhcp, { lease: await host.openBroadcast(dhcpPort), boot });
      closers.push(() => attached.close());
    }
    return { address, ports: { dhcp: dhcpPort, proxy: proxyPort, tftp: tftpPort, http: httpPort }, journal, dhcp, tftp, booter, url: path => (httpPort > 0 ? url(path) : undefined), close };
  } catch (error) {
    await close();
    throw error;
  }
};
