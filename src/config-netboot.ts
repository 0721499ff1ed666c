import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { VmletError } from './errors.js';
import { wrongKernelWords } from './pxe/kernel-words.js';
import type { BootRule } from './pxe/booter.js';

/** Boots from the network: the servers are inside the process, on the machine's own network. Without `rules`, one of kernel, url and file. */
export interface NetbootOptions {
  /** A folder that is served by TFTP, and by HTTP at the gateway's address. */
  tftp?: string;
  /** The boot loader, a path in that folder. */
  file?: string;
  /** A kernel to boot without a loader: a file of this host, or a path in the folder. */
  kernel?: string;
  initrd?: string | readonly string[];
  /** The kernel's command line; with a boot loader, words for every kernel that its configuration (PXELINUX, GRUB, iPXE) in the folder starts. */
  append?: string;
  /** An iPXE script or a kernel to load by HTTP. Guests reach this host's loopback by the gateway's address; the URL is changed accordingly. */
  url?: string;
  /** iPXE's undionly.kpxe, for `url` and rules that need iPXE. Default: where Debian's package ipxe has it. */
  ipxe?: string;
  rules?: readonly BootRule[];
}

/** What is served, and how the client is told to boot. */
export interface NetbootPlan {
  readonly tftp: string | undefined;
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly rules: readonly BootRule[];
  readonly ipxeLoader: string | undefined;
  /** Files that the ROM's own loader fetches. */
  readonly loader: { readonly kernel: string; readonly initrd: readonly string[] } | undefined;
  readonly cmdline: string;
  /** Words for the kernels that loaders' configurations start. */
  readonly kernelWords: string | undefined;
  /** Destinations outside that guests must reach. */
  readonly allow: readonly string[];
}

const IPXE_PLACES = ['/usr/lib/ipxe/undionly.kpxe', '/usr/share/ipxe/undionly.kpxe', '/usr/lib/ipxe/undionly.kkpxe', '/usr/share/ipxe/undionly.kkpxe'];
const IPXE_NAME = 'undionly.kpxe';
/** Of a kernel without words of its own. */
export const DEFAULT_CMDLINE = 'console=ttyS0 panic=-1';
const LOADERS = /^(?:l?pxelinux\.0|undionly\.k?k?pxe|ipxe\.pxe|core\.0|grub.*\.0|.*\.kpxe|.*\.0)$/;
const LOOPBACK = /^(?:localhost|127\.\d+\.\d+\.\d+)$/;

const configError = (message: string, hint?: string): VmletError => new VmletError('ERR_VMLET_CONFIG', message, { hint });

const readFile = (path: string, what: string): Uint8Array => {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new VmletError('ERR_VMLET_IMAGE_NOT_FOUND', `no ${what} at ${path}`, { hint: 'check the path', cause });
  }
};

const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;

/** iPXE for a BIOS, from where Debian's package puts it. */
const readIpxe = (path: string | undefined): Uint8Array => {
  if (path !== undefined) return readFile(path, 'iPXE loader');
  const found = IPXE_PLACES.find(place => existsSync(place));
  if (found === undefined) throw configError('iPXE is needed, and undionly.kpxe is not on this machine', 'install the package ipxe, or name the file with --ipxe');
  return readFileSync(found);
};

/** The loaders that a folder seems to have, for messages. */
const loadersIn = (folder: string): string[] => {
  try {
    return readdirSync(folder).filter(name => LOADERS.test(name)).sort();
  } catch {
    return [];
  }
};

/** Checks options, reads files of the host. Throws VmletError. `gateway` is where guests reach this host's loopback; `ownRom` false: the client is an option ROM, such as iPXE. */
export const planNetboot = (options: NetbootOptions, gateway: string, ownRom = true): NetbootPlan => {
  const { tftp, file, kernel, url, rules = [] } = options;
  const initrd = options.initrd === undefined ? [] : typeof options.initrd === 'string' ? [options.initrd] : [...options.initrd];
  const ways = [file !== undefined && 'a boot file', kernel !== undefined && 'a kernel', url !== undefined && 'an URL'].filter(way => way !== false);
  if (ways.length > 1) throw configError(`netboot: ${ways.join(' and ')} were given`, 'use one of them');
  if (initrd.length > 0 && kernel === undefined) throw configError('netboot: an initrd was given without a kernel', 'add --kernel FILE');
  if (options.append !== undefined && kernel === undefined && url === undefined && tftp === undefined) throw configError('netboot: a command line was given without a kernel', 'add --kernel FILE, or --tftp FOLDER with a boot loader that has a configuration');
  const wrong = options.append === undefined || kernel !== undefined ? undefined : wrongKernelWords(options.append);
  if (wrong !== undefined) throw configError(`netboot: ${wrong}`, 'write words in one line, or leave append out');
  if (tftp !== undefined && !(statSync(tftp, { throwIfNoEntry: false })?.isDirectory() ?? false)) throw configError(`netboot: the folder '${tftp}' cannot be served: it is no folder`, 'check the path');
  if (ways.length === 0 && rules.length === 0) {
    if (tftp === undefined) throw configError('netboot: there is nothing to boot', 'give --tftp FOLDER --file LOADER, --kernel FILE or --http URL');
    const there = loadersIn(tftp);
    throw configError(`netboot: which file of '${tftp}' boots?`, there.length > 0 ? `for instance --file ${there[0]}${there.length > 1 ? `; there are ${there.join(', ')}` : ''}` : 'name it with --file');
  }
  if (file !== undefined && tftp === undefined) throw configError(`netboot: the boot file '${file}' is in no folder`, 'add --tftp FOLDER');
  const files = new Map<string, Uint8Array>();
  const cmdline = options.append ?? DEFAULT_CMDLINE;
  const kernelWords = kernel === undefined && url === undefined ? options.append : undefined;
  const base = { tftp, files, cmdline, kernelWords };
  /** Puts iPXE among the files. An option ROM may be iPXE itself: then nobody asks for it. */
  const ipxeFile = (): string | undefined => {
    if (tftp !== undefined && isFile(join(tftp, IPXE_NAME))) return IPXE_NAME;
    if (!ownRom && options.ipxe === undefined && !IPXE_PLACES.some(place => existsSync(place))) return undefined;
    files.set(IPXE_NAME, readIpxe(options.ipxe));
    return IPXE_NAME;
  };
  if (kernel !== undefined) {
    const place = (path: string, what: string, name: string): string => {
      if (tftp !== undefined && isFile(join(tftp, path))) return path;
      files.set(name, readFile(path, what));
      return name;
    };
    const loader = { kernel: place(kernel, 'kernel', 'vmlinuz'), initrd: initrd.map((path, i) => place(path, 'initrd', `initrd${i === 0 ? '' : i}.img`)) };
    if (ownRom) return { ...base, rules: [...rules, { name: 'the kernel', file: loader.kernel }], ipxeLoader: undefined, loader, allow: [] };
    return { ...base, rules: [...rules, { name: 'the kernel', kernel: loader.kernel, initrd: loader.initrd, cmdline }], ipxeLoader: ipxeFile(), loader: undefined, allow: [] };
  }
  const needsIpxe = url !== undefined || rules.some(rule => rule.ipxe !== undefined || (rule.kernel !== undefined && rule.via !== 'pxelinux'));
  const ipxeLoader = needsIpxe ? ipxeFile() : undefined;
  if (url === undefined) return { ...base, rules: file === undefined ? rules : [...rules, { name: 'the boot file', file }], ipxeLoader, loader: undefined, allow: [] };
  const { changed, allow } = reachable(url, gateway);
  const own: BootRule = options.append === undefined ? { name: 'the URL', ipxe: changed } : { name: 'the URL', kernel: changed, cmdline: options.append };
  return { ...base, rules: [...rules, own], ipxeLoader, loader: undefined, allow };
};

/** An URL as guests reach it: this host's loopback is at the gateway's address. */
const reachable = (url: string, gateway: string): { changed: string; allow: string[] } => {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw configError(`netboot: '${url}' is no URL`, 'for instance http://127.0.0.1:8080/boot.ipxe');
  }
  if (parsed.protocol !== 'http:' && parsed.protocol !== 'tftp:') throw configError(`netboot: iPXE of a BIOS has no ${parsed.protocol.replace(/:$/, '')}`, 'use http');
  if (!LOOPBACK.test(parsed.hostname)) return { changed: url, allow: /^[\d.]+$/.test(parsed.hostname) ? [`${parsed.hostname}:${parsed.port || '80'}`] : [] };
  const port = parsed.port || '80';
  return { changed: `http://${gateway}:${port}${parsed.pathname}${parsed.search}`, allow: [`127.0.0.1:${port}`] };
};

