import { type BootDeviceConfig, type BootDeviceOptions, checkBootDevices } from './config-boot.js';
import { checkNetwork, type NetworkConfig, type NetworkOptions } from './config-net.js';
import type { NetbootOptions } from './config-netboot.js';
import { VmletError } from './errors.js';
import type { Seed } from './host/backends/entropy.js';
import type { Arch } from './host/boot/linux.js';
import type { CpuProfile } from './host/cpuid.js';

export const DEFAULT_MEMORY_BYTES = 256 * 2 ** 20;
const MIN_MEMORY_BYTES = 2 ** 20;
const MAX_MEMORY_BYTES = 3 * 2 ** 30;
const PAGE_BYTES = 4096;
const NS_PER_SECOND = 1e9;

/** A size: bytes, or a number with one of the units K, M, G (of 1024). */
export type Size = number | string;

/** A length of time: milliseconds, or a number with one of the units ns, us, ms, s, m, h, d. */
export type Duration = number | string;

export interface DiskOptions {
  /** A raw image. */
  path: string;
  readOnly?: boolean;
  /** Changes stay in memory and are gone with the machine. */
  snapshot?: boolean;
  /** The controller: `virtio` (default), or `ide` (default when the machine boots by firmware). */
  interface?: 'virtio' | 'ide';
}

export interface VMOptions extends NetworkOptions, BootDeviceOptions {
  /** A built-in guest: amd64 (the default), amd64-generic, i386 or i386-pae. */
  image?: string;
  /** A kernel file of your own: bzImage, vmlinux ELF, PVH or multiboot. */
  kernel?: string;
  initrd?: string;
  /** Kernel command line; with a built-in guest it is added to the guest's own. */
  append?: string;
  /** A ROM image, executed from the reset vector. */
  bios?: string;
  /** Boots from the network, by servers inside the process; the machine has a network then. */
  netboot?: NetbootOptions;
  /** The CPU's architecture; by default the image's or the kernel's. */
  arch?: Arch;
  /** The CPU's instructions: `v2` (default) is x86-64-v2 with AES, PCLMULQDQ and SHA; `v1` has SSE2 and nothing newer of its kind. */
  cpu?: CpuProfile;
  /** 1 MB to 3 GB; 256 MB by default. */
  memory?: Size;
  /** Paths of raw images, with ',ro' or ',snapshot' behind them if wanted, or objects. */
  disks?: readonly (string | DiskOptions)[];
  /** Equal seeds give equal runs; 1 by default. */
  seed?: Seed;
  /** `jit` (default): hot code is compiled; or `interp`. Both give the same run. */
  engine?: 'interp' | 'jit';
  /** A folder for what the compiler makes: each region's x86 and WebAssembly side by side, and the modules. */
  dumpRegions?: string;
  /**
   * How an idle guest's time passes: `warp` (default) jumps to the next timer, and time stands still while the program awaits nothing
   * of the VM; `realtime` goes with the wall clock; `frozen=DATE` is warp with that power-on date.
   */
  time?: string;
  /** Ends the run after this much virtual time. */
  timeout?: Duration;
  /** Ends the run after this much real time. */
  wallTimeout?: Duration;
  /** An I/O port that ends the run with the code (value << 1) | 1. */
  debugExit?: number;
  /** An I/O port whose bytes appear in `vm.debugcon`. */
  debugcon?: number;
  /** What a reset does: end the run (default) or reboot. */
  onReset?: 'exit' | 'reboot';
  /** What a kernel panic on the serial line does: end the run (default) or nothing. */
  onPanic?: 'exit' | 'ignore';
  /** Whether commands can be run in the guest: by default with built-in guests. With another kernel its drivers must be built in. */
  agent?: boolean;
  /** Whether a built-in guest has a root shell on its serial line; true by default. */
  shell?: boolean;
  /** Host name of the terminal type for that shell. */
  term?: string;
  /** Size of the terminal of that shell. */
  columns?: number;
  rows?: number;
  /** Root of a Debian archive, in place of the machine's apt. */
  mirror?: string;
  /** Cache folder. */
  cache?: string;
  /** Ends the run. */
  signal?: AbortSignal;
  /** Told what goes on while an image is fetched or built. */
  onProgress?: (text: string) => void;
  /** Told, a few times for each kind, what the guest does to devices that no driver should do. */
  onGuestLog?: (line: string) => void;
  /** Told each step of a network boot, and each answer of its servers. */
  onNetboot?: (line: string) => void;
  /** Awaited at every turn of the event loop while it gives a promise: lets a slow reader of output hold the guest back. */
  throttle?: () => Promise<void> | undefined;
}

/** Options checked and in plain units. */
export interface VMConfig extends NetworkConfig, BootDeviceConfig {
  image: string | undefined;
  kernel: string | undefined;
  initrd: string | undefined;
  append: string | undefined;
  bios: string | undefined;
  netboot: NetbootOptions | undefined;
  arch: Arch | undefined;
  cpu: CpuProfile;
  memoryBytes: number;
  disks: DiskOptions[];
  seed: Seed;
  engine: 'interp' | 'jit';
  dumpRegions: string | undefined;
  time: 'warp' | 'realtime';
  epochSeconds: number | undefined;
  timeoutNs: number | undefined;
  wallTimeoutMs: number | undefined;
  debugExit: number | undefined;
  debugcon: number | undefined;
  onReset: 'exit' | 'reboot';
  onPanic: 'exit' | 'ignore';
  agent: boolean;
  shell: boolean;
}

export const configError = (message: string, hint?: string): VmletError => new VmletError('ERR_VMLET_CONFIG', message, { hint });

const UNIT_BYTES: Record<string, number> = { '': 1, b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** Bytes of a size such as 256M, 1.5GiB or 65536. */
export const parseSize = (value: Size, name = 'size'): number => {
  if (typeof value === 'number') {
    if (Number.isInteger(value) && value >= 0) return value;
    throw configError(`${name}: ${value} is no number of bytes`);
  }
  const match = /^\s*(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?\s*$/i.exec(value);
  const bytes = match ? Number(match[1]) * UNIT_BYTES[match[2].toLowerCase()] : NaN;
  if (!Number.isSafeInteger(bytes)) throw configError(`${name}: '${value}' is no size`, 'write for instance 256M or 1G');
  return bytes;
};

const parseMemory = (value: Size): number => {
  // As users of other machines' -m expect: a bare small number means megabytes.
  const bytes = typeof value === 'string' && /^\s*\d{1,4}\s*$/.test(value) ? Number(value) * 2 ** 20 : parseSize(value, 'memory');
  if (bytes < MIN_MEMORY_BYTES || bytes > MAX_MEMORY_BYTES) throw configError(`memory: ${String(value)} is not between 1M and 3G`, 'for instance 256M');
  if (bytes % PAGE_BYTES !== 0) throw configError(`memory: ${String(value)} is not a multiple of ${PAGE_BYTES} bytes`, 'for instance 256M');
  return bytes;
};

const UNIT_NS: Record<string, number> = { ns: 1, us: 1e3, 'µs': 1e3, ms: 1e6, s: 1e9, m: 60e9, min: 60e9, h: 3600e9, d: 86400e9 };

/** Nanoseconds of a duration. A number is milliseconds; in a text without a unit, `bareUnit`. */
export const parseDuration = (value: Duration, name = 'duration', bareUnit = 'ms'): number => {
  let ns = NaN;
  if (typeof value === 'number') {
    ns = value * 1e6;
  } else {
    const text = value.trim();
    const parts = [...text.matchAll(/(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|min|s|m|h|d)?\s*/g)];
    if (parts.length > 0 && parts.map(([part]) => part).join('') === text && (parts.length === 1 || parts.every(part => part[2]))) {
      ns = parts.reduce((sum, [, number, unit]) => sum + Number(number) * UNIT_NS[unit ?? bareUnit], 0);
    }
  }
  if (!(ns >= 0) || ns > Number.MAX_SAFE_INTEGER) throw configError(`${name}: '${String(value)}' is no length of time`, 'write for instance 500ms, 30s, 5m or 1m30s');
  return Math.round(ns);
};

const DISK_FLAGS = ['ro', 'rw', 'snapshot', 'ide', 'virtio'];

/** A disk as the command line has it: PATH[,ro][,snapshot][,ide]. */
export const parseDisk = (text: string, what = 'disk'): DiskOptions => {
  const parts = text.split(',');
  const flags: string[] = [];
  // A path may hold commas: only known words at the end are flags.
  while (parts.length > 1 && (DISK_FLAGS.includes(parts[parts.length - 1]) || /^[a-z]+$/.test(parts[parts.length - 1]))) {
    const flag = parts.pop()!;
    if (!DISK_FLAGS.includes(flag)) throw configError(`${what}: '${flag}' in '${text}' is not known`, "after the path there may be ',ro', ',snapshot' or ',ide'");
    flags.push(flag);
  }
  const path = parts.join(',');
  if (path === '') throw configError(`${what}: the path is empty`, `for instance --${what} root.img,snapshot`);
  const controller = flags.includes('ide') ? 'ide' : flags.includes('virtio') ? 'virtio' : undefined;
  return { path, readOnly: flags.includes('ro'), snapshot: flags.includes('snapshot'), ...(controller && { interface: controller }) };
};

const parseTime = (value: string): { time: 'warp' | 'realtime'; epochSeconds?: number } => {
  if (value === 'warp' || value === 'realtime') return { time: value };
  const match = /^frozen=(.+)$/.exec(value);
  if (match) {
    const seconds = /^@\d+$/.test(match[1]) ? Number(match[1].slice(1)) : Date.parse(match[1]) / 1000;
    if (Number.isFinite(seconds) && seconds >= 0 && seconds < 2 ** 33) return { time: 'warp', epochSeconds: Math.floor(seconds) };
    throw configError(`time: '${match[1]}' is no date`, 'write for instance frozen=2026-01-01 or frozen=@1767225600');
  }
  throw configError(`time: '${value}' is not known`, 'use warp, realtime or frozen=DATE');
};

/** A port number, decimal or with 0x. */
export const parsePort = (value: number | string, name: string): number => {
  const port = typeof value === 'string' && !/^(0x[0-9a-f]+|\d+)$/i.test(value.trim()) ? NaN : Number(value);
  if (!Number.isInteger(port) || port < 0 || port > 0xffff) throw configError(`${name}: '${String(value)}' is no I/O port`, 'a port is 0 to 0xffff, for instance 0xf4');
  return port;
};

const oneOf = <T extends string>(name: string, value: T | undefined, choices: readonly T[], otherwise: T): T => {
  if (value === undefined) return otherwise;
  if (!choices.includes(value)) throw configError(`${name}: '${String(value)}' is not known`, `use ${choices.join(' or ')}`);
  return value;
};

const text = (name: string, value: unknown): string | undefined => {
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || value === '') throw configError(`${name}: it must be a text that is not empty`);
  if (value.includes('\0')) throw configError(`${name}: it holds a zero byte`);
  return value;
};

const KEYS: ReadonlySet<string> = new Set([
  'image', 'kernel', 'initrd', 'append', 'bios', 'arch', 'cpu', 'memory', 'disks', 'seed', 'engine', 'dumpRegions', 'time', 'timeout', 'wallTimeout', 'debugExit', 'debugcon',
  'boot', 'floppies', 'cdroms', 'netboot', 'net', 'nics', 'publish', 'pcap', 'onReset', 'onPanic', 'agent', 'shell', 'term', 'columns', 'rows', 'mirror', 'cache', 'signal', 'onProgress', 'onGuestLog', 'onNetboot', 'throttle',
]);

/** Checks options; throws ERR_VMLET_CONFIG naming the first that is wrong. */
export const checkOptions = (options: VMOptions): VMConfig => {
  for (const key of Object.keys(options)) if (!KEYS.has(key)) throw configError(`'${key}' is not an option of a VM`, `there are ${[...KEYS].join(', ')}`);
  const image = text('image', options.image);
  const kernel = text('kernel', options.kernel);
  const initrd = text('initrd', options.initrd);
  const bios = text('bios', options.bios);
  if (kernel !== undefined && image !== undefined) throw configError('an image and a kernel were given', 'use one of them');
  if (bios !== undefined && (kernel ?? initrd ?? image) !== undefined) throw configError('a ROM was given together with an image, a kernel or an initrd', 'use one of them');
  if (bios !== undefined && options.append !== undefined) throw configError('a ROM takes no kernel command line', 'leave append out');
  if (initrd !== undefined && kernel === undefined) throw configError('an initrd was given without a kernel', 'add -k KERNEL');
  if (options.append !== undefined && typeof options.append !== 'string') throw configError('append: it must be a text');
  if (options.append?.includes('\0')) throw configError('append: it holds a zero byte');
  const { netboot } = options;
  if (netboot !== undefined && (kernel ?? initrd ?? image) !== undefined) throw configError('a network boot was given together with an image or a kernel', 'use one of them');
  if (netboot !== undefined && options.append !== undefined) throw configError('a network boot has a kernel command line of its own', 'use netboot.append');
  const { seed = 1 } = options;
  const seedIsSound = typeof seed === 'bigint' || (typeof seed === 'string' && seed !== '') || (typeof seed === 'number' && Number.isInteger(seed));
  if (!seedIsSound) throw configError(`seed: '${String(seed)}' is no whole number or text`);
  const disks = (options.disks ?? []).map(disk => (typeof disk === 'string' ? parseDisk(disk) : { ...disk }));
  for (const disk of disks) {
    if (typeof disk?.path !== 'string' || disk.path === '') throw configError('disks: each needs a path');
    if (disk.readOnly && disk.snapshot) throw configError(`disk ${disk.path}: 'ro' and 'snapshot' exclude each other`);
  }
  if (disks.length > 8) throw configError(`${disks.length} disks: a machine has up to 8`);
  const network = checkNetwork(netboot === undefined ? options : { ...options, net: options.net ?? 'user,restrict' });
  const devices = checkBootDevices(netboot === undefined ? options : { ...options, boot: options.boot ?? 'net' }, { disks: disks.length, nics: network.nics.length, hasKernel: (kernel ?? image) !== undefined });
  const byFirmware = devices.bootOrder.length > 0;
  if (byFirmware && (initrd !== undefined || options.append !== undefined)) throw configError('a machine that boots by firmware takes no initrd and no kernel command line', 'leave them out');
  const builtIn = kernel === undefined && bios === undefined && !byFirmware;
  const agent = options.agent ?? builtIn;
  if (agent && kernel === undefined && !builtIn) throw configError('commands cannot be run in a guest that starts from a ROM or a boot device');
  for (const disk of disks) disk.interface ??= byFirmware || bios !== undefined ? 'ide' : 'virtio';
  if (disks.filter(disk => disk.interface === 'ide').length + devices.cdroms.length > 4) throw configError('there are more than four IDE disks and CDs', "add ',virtio' to some of the disks");
  const timeoutNs = options.timeout === undefined ? undefined : parseDuration(options.timeout, 'timeout');
  const wallTimeoutNs = options.wallTimeout === undefined ? undefined : parseDuration(options.wallTimeout, 'wallTimeout');
  const { time, epochSeconds } = parseTime(options.time ?? 'warp');
  return {
    image: builtIn ? (image ?? (options.arch === 'i386' ? 'i386' : 'amd64')) : undefined,
    kernel,
    initrd,
    append: options.append,
    bios,
    netboot,
    arch: options.arch === undefined ? undefined : oneOf<Arch>('arch', options.arch, ['i386', 'x86_64'], 'x86_64'),
    cpu: oneOf('cpu', options.cpu, ['v1', 'v2'], 'v2'),
    memoryBytes: options.memory === undefined ? DEFAULT_MEMORY_BYTES : parseMemory(options.memory),
    disks,
    ...network,
    ...devices,
    seed,
    engine: oneOf('engine', options.engine, ['interp', 'jit'], 'jit'),
    dumpRegions: text('dumpRegions', options.dumpRegions),
    time,
    epochSeconds,
    timeoutNs,
    wallTimeoutMs: wallTimeoutNs === undefined ? undefined : wallTimeoutNs / 1e6,
    debugExit: options.debugExit === undefined ? undefined : parsePort(options.debugExit, 'debugExit'),
    debugcon: options.debugcon === undefined ? undefined : parsePort(options.debugcon, 'debugcon'),
    onReset: oneOf('onReset', options.onReset, ['exit', 'reboot'], 'exit'),
    onPanic: oneOf('onPanic', options.onPanic, ['exit', 'ignore'], 'exit'),
    agent,
    shell: options.shell ?? true,
  };
};

/** Seconds, for people. */
export const formatNs = (ns: number): string => `${(ns / NS_PER_SECOND).toFixed(ns < 10 * NS_PER_SECOND ? 3 : 1)} s`;
