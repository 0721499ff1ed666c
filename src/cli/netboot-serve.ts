import { readFileSync } from 'node:fs';
import { configError, parseSize } from '../config.js';
import { interfaceAddress } from '../host/backends/udp-socket.js';
import { ipv4Number } from '../pxe/bytes.js';
import { formatEvent, type PxeEvent } from '../pxe/log.js';
import { wrongKernelWords } from '../pxe/kernel-words.js';
import { type NetbootRules, parseNetbootRules, parseRange, subnetOfRange } from '../pxe/rules-file.js';
import { type NetbootServe, serveNetboot, type ServeOptions } from '../pxe/serve.js';
import { parseYaml } from '../yaml-source.js';
import { Notes } from './io.js';
import type { CliContext } from './run-cli.js';

export interface ServeFlags {
  interface: string;
  tftp?: string;
  http?: string;
  rules?: string;
  file?: string;
  append?: string;
  proxy?: boolean;
  dhcp?: string;
  leases?: string;
  tftpPort?: string;
  httpPort?: string;
  dhcpPort?: string;
  dhcpClientPort?: string;
  proxyPort?: string;
  singlePort?: boolean;
  mtu?: string;
  allowWrites?: string;
  signedUrls?: boolean;
  iOwnThisNetwork?: boolean;
  besideOtherDhcp?: boolean;
  json?: boolean;
  quiet?: boolean;
}

/** A number of a range, for flags. Throws ERR_VMLET_CONFIG. */
export const flagNumber = (value: string | undefined, name: string, least: number, most: number): number | undefined => {
  if (value === undefined) return undefined;
  const number = /^\d+$/.test(value) ? Number(value) : NaN;
  if (!(number >= least && number <= most)) throw configError(`${name}: '${value}' is no number from ${least} to ${most}`);
  return number;
};

const port = (value: string | undefined, name: string): number | undefined => flagNumber(value, name, 0, 65535);

/** Reads a file that the user named. Throws ERR_VMLET_CONFIG. */
export const readNamedFile = (path: string, what: string): Buffer => {
  try {
    return readFileSync(path);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw configError(`${what} ${path} cannot be read: ${code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'it is a folder' : message}`);
  }
};

export const readRules = (path: string): NetbootRules => parseNetbootRules(parseYaml(readNamedFile(path, 'the rules file').toString('utf8'), path));

/** What `netboot serve` was asked for, checked. Throws ERR_VMLET_CONFIG. */
export const serveOptions = (flags: ServeFlags): ServeOptions => {
  if (flags.proxy && flags.dhcp !== undefined) throw configError('--proxy and --dhcp exclude each other', 'a ProxyDHCP server gives no addresses');
  const file: NetbootRules = flags.rules === undefined ? { rules: [], subnets: [], reservations: [] } : readRules(flags.rules);
  const { address, netmask, internal } = interfaceAddress(flags.interface);
  const subnets = [...file.subnets];
  if (flags.dhcp !== undefined) {
    const pool = parseRange(flags.dhcp);
    if (!pool) throw configError(`--dhcp: '${flags.dhcp}' is no range of addresses`, 'for instance --dhcp 10.9.0.100-10.9.0.200');
    const subnet = subnetOfRange(pool, { address, prefix: Math.clz32(~(ipv4Number(netmask) ?? 0xffff_ffff)) });
    if (!subnet) throw configError(`--dhcp: ${flags.dhcp} is not inside the network of ${flags.interface}, ${address} with netmask ${netmask}`, 'name a subnet of its own in --rules for clients behind a relay');
    subnets.push(subnet);
  }
  const wanted = flags.proxy ? 'proxy' : flags.dhcp !== undefined ? 'full' : file.mode === 'dhcp' ? 'full' : (file.mode ?? (subnets.length > 0 ? 'full' : internal ? 'off' : 'proxy'));
  if (flags.leases !== undefined && wanted !== 'full') throw configError('--leases is for a DHCP server', 'give out addresses with --dhcp FROM-TO or subnets in --rules');
  if (flags.tftp === undefined && flags.http === undefined && wanted === 'off') throw configError('there is nothing to serve', 'name a folder with --tftp or --http, or answer DHCP with --proxy or --dhcp');
  if (flags.signedUrls && flags.http === undefined) throw configError('--signed-urls is for HTTP', 'add --http FOLDER');
  const wrong = flags.append === undefined ? undefined : wrongKernelWords(flags.append);
  if (wrong !== undefined) throw configError(`--append: ${wrong}`);
  if (flags.append !== undefined && flags.tftp === undefined && flags.http === undefined) throw configError('--append is for the configurations in a folder', 'add --tftp FOLDER');
  const writes = flags.allowWrites === undefined ? undefined : { maxBytes: parseSize(flags.allowWrites, '--allow-writes') };
  if (writes && flags.tftp === undefined) throw configError('--allow-writes needs a folder', 'add --tftp FOLDER');
  return {
    interface: flags.interface,
    root: flags.tftp,
    kernelWords: flags.append,
    dhcp: wanted,
    subnets,
    reservations: file.reservations,
    leaseFile: flags.leases,
    rules: flags.file === undefined ? file.rules : [...file.rules, { name: '--file', file: flags.file }],
    ipxeLoaders: file.ipxeLoaders,
    // A server that answers DHCP has generated files to give even without a folder.
    tftp: flags.tftp === undefined && wanted === 'off' ? false : { singlePort: flags.singlePort, writes, mtu: flagNumber(flags.mtu, '--mtu', 576, 65535) },
    http: flags.http === undefined ? false : { root: flags.http, port: port(flags.httpPort, '--http-port') ?? 80, signed: flags.signedUrls },
    ports: {
      tftp: port(flags.tftpPort, '--tftp-port'),
      dhcp: flagNumber(flags.dhcpPort, '--dhcp-port', 1, 65535),
      dhcpClient: flagNumber(flags.dhcpClientPort, '--dhcp-client-port', 1, 65535),
      proxy: port(flags.proxyPort, '--proxy-port'),
    },
    ownsNetwork: flags.iOwnThisNetwork,
    refuseRivals: !flags.besideOtherDhcp,
  };
};

const announce = (server: NetbootServe, options: ServeOptions, notes: Notes): void => {
  const { address, ports } = server;
  const lines: string[] = [];
  if (options.dhcp === 'full') lines.push(`DHCP on ${address}:${ports.dhcp}, addresses ${(options.subnets ?? []).flatMap(({ pool = [] }) => pool.map(({ from, to }) => `${from}-${to}`)).join(', ')}`);
  if (options.dhcp === 'proxy') lines.push(`ProxyDHCP on ${address}:${ports.dhcp} and ${ports.proxy}`);
  if (ports.tftp > 0) lines.push(`TFTP on ${address}:${ports.tftp}, ${options.root ?? 'generated files only'}`);
  if (ports.http > 0 && options.http) lines.push(`HTTP on http://${address}:${ports.http}/, ${options.http.root}`);
  lines.push('Ctrl-C ends it');
  for (const line of lines) notes.say(line);
};

/** Serves until a signal comes; returns the exit code. */
export const serve = async (flags: ServeFlags, { io, stdout, stderr }: CliContext): Promise<number> => {
  const notes = new Notes(stderr, flags.quiet);
  const onEvent = (event: PxeEvent): void => {
    if (flags.json) stdout.write(`${JSON.stringify(event)}\n`);
    else if (!flags.quiet) stdout.write(`${new Date().toISOString().slice(11, 23)} ${formatEvent(event)}\n`);
  };
  const options = serveOptions(flags);
  let end: (code: number) => void = () => {};
  const ended = new Promise<number>(resolve => (end = resolve));
  const off = [io.onSignal('SIGINT', () => end(130)), io.onSignal('SIGTERM', () => end(143)), io.onSignal('SIGHUP', () => end(143))];
  stdout.onError = () => end(141);
  // Sockets of a server keep the process alive; its clock does not.
  const alive = setInterval(() => {}, 60_000);
  let server: NetbootServe | undefined;
  try {
    server = await serveNetboot({ ...options, onEvent });
    announce(server, options, notes);
    return await ended;
  } finally {
    clearInterval(alive);
    for (const undo of off) undo();
    await server?.close();
  }
};
