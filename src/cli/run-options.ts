import { type Command, Option } from 'commander';
import { configError, parseDuration, parsePort, type VMOptions } from '../config.js';
import { type NetOptions, parseNet } from '../config-net.js';
import { VmletError } from '../errors.js';
import { NIC_MODELS, type NicModel } from '../host/devices/nic-models.js';
import type { CliIo } from './io.js';

/** The options of `vmlet run` as commander gives them. */
export interface RunFlags {
  kernel?: string;
  initrd?: string;
  append?: string;
  bios?: string;
  boot?: string;
  floppy?: string[];
  cdrom?: string[];
  display?: string;
  disk?: string[];
  arch?: string;
  cpu?: string;
  memory?: string;
  env?: string[];
  cwd?: string;
  user?: string;
  timeout?: string;
  wallTimeout?: string;
  stopTimeout?: string;
  seed?: string;
  engine?: string;
  stats?: boolean;
  dumpRegions?: string;
  time?: string;
  reboot?: boolean;
  onPanic?: string;
  tty?: boolean;
  escape?: string;
  consoleLog?: string;
  result?: string;
  json?: boolean;
  quiet?: boolean;
  verbose?: boolean;
  dryRun?: boolean;
  printConfig?: boolean;
  debugExit?: string;
  debugcon?: string;
  mirror?: string;
  net?: string;
  publish?: string[];
  allow?: string[];
  nicModel?: string;
  mac?: string;
  rom?: string;
  pcap?: string;
}

const collect = (value: string, previous: string[] = []): string[] => [...previous, value];

export const addRunOptions = (command: Command): Command =>
  command
    .option('-k, --kernel <file>', 'a kernel of your own: bzImage, vmlinux, PVH or multiboot')
    .option('-i, --initrd <file>', 'initial ramdisk for that kernel')
    .option('-a, --append <words>', 'kernel command line; added to the own one of a built-in image')
    .option('--bios <file>', 'a ROM image, executed from the reset vector')
    .option('--boot <order>', 'boot by firmware from disk, floppy, cdrom or net; several with commas')
    .option('--disk <path[,ro|,snapshot][,ide]>', 'attach a raw disk image (repeatable)', collect)
    .option('--floppy <path[,ro|,snapshot]>', 'attach a floppy image, and boot from it unless told otherwise (repeatable)', collect)
    .option('--cdrom <path>', 'attach a CD image, and boot from it unless told otherwise (repeatable)', collect)
    .option('--display <kind>', 'none, or text: the VGA text screen in this terminal (default: none)')
    .option('-n, --net <network>', 'none (default), user, or user,restrict: a gateway with DHCP, DNS and NAT to this host')
    .option('--publish <ports>', "open a port of this host that leads to the guest's: 127.0.0.1:8080:80 (repeatable; implies --net user)", collect)
    .option('--allow <destination>', 'let guests reach what is closed: 127.0.0.1:8080, loopback, private, 10.1.0.0/16 (repeatable; implies --net user)', collect)
    .option('--nic-model <model>', `${NIC_MODELS.join(', ')} (default: virtio)`)
    .option('--mac <address>', "the network card's address (default: from the seed)")
    .option('--rom <file>', "the network card's option ROM")
    .option('--pcap <file>', "write the network card's traffic to a file (pcapng)")
    .option('--arch <arch>', 'i386 or x86_64')
    .option('--cpu <profile>', 'v2: x86-64-v2 with AES, PCLMULQDQ and SHA, or v1: no vector instructions after SSE2 (default: v2)')
    .option('-m, --memory <size>', 'memory, 1M to 3G (default: 256M)')
    .option('-e, --env <name[=value]>', "set a variable for the command, or pass on the host's (repeatable)", collect)
    .option('-w, --cwd <folder>', 'working folder of the command in the guest (default: /)')
    .option('-u, --user <user>', 'user of the command: NAME, UID or UID:GID')
    .option('-t, --tty', 'give the command a terminal; time is real then')
    .option('-T, --timeout <time>', 'end the run after this much guest time: 90s, 5m')
    .option('--wall-timeout <time>', 'end the run after this much real time')
    .option('--stop-timeout <time>', 'how long SIGTERM lets the guest finish (default: 10s)')
    .option('--seed <seed>', 'equal seeds give equal runs (default: 1)')
    .option('--engine <engine>', 'interp, or jit: compile hot code; the results are the same (default: jit)')
    .option('--stats', 'say at the end what ran the instructions and what was compiled')
    .option('--dump-regions <folder>', 'write what the compiler makes: guest code and WebAssembly side by side')
    .option('--time <kind>', 'warp, realtime or frozen=DATE (default: warp; at a terminal without a command: realtime)')
    .option('--reboot', 'let the guest reboot')
    .addOption(new Option('--no-reboot', 'a reset ends the run (default)'))
    .option('--on-panic <action>', 'exit or ignore (default: exit)')
    .option('--escape <code>', 'escape key of the console as a number, or none (default: 0x01, Ctrl-A)')
    .option('--console-log <file>', "write the guest's console to a file")
    .option('--result <file>', 'write how the run ended to a file, as JSON')
    .option('--json', 'print one JSON document at the end in place of output')
    .option('--debug-exit <port>', 'a port that ends the run with the code (value << 1) | 1')
    .option('--debugcon <port>', 'a port whose bytes go to standard output')
    .option('--mirror <url>', "root of a Debian archive, in place of this machine's apt")
    .option('-q, --quiet', 'no notes but errors')
    .option('-v, --verbose', 'show the console on standard error, and what devices are misused')
    .option('--dry-run', 'fetch and check everything, run nothing')
    .option('--print-config', 'print the options that result, run nothing');

/** Variables VMLET_NAME stand for options that are not given. */
export const withEnvironment = (command: Command, io: CliIo): RunFlags => {
  const flags: Record<string, unknown> = { ...command.opts() };
  for (const option of command.options) {
    const name = option.attributeName();
    const value = io.env[`VMLET_${(option.long ?? '').replace(/^--(no-)?/, '').replace(/-/g, '_').toUpperCase()}`];
    if (value === undefined || value === '' || option.negate || command.getOptionValueSource(name) === 'cli') continue;
    const isFlag = !option.required && !option.optional;
    if (isFlag) flags[name] = !['0', 'false', 'no'].includes(value.toLowerCase());
    else flags[name] = option.parseArg === collect ? [value] : value;
  }
  return flags as RunFlags;
};

const parseArch = (arch: string | undefined): 'i386' | 'x86_64' | undefined => {
  if (arch === undefined) return undefined;
  if (['x86_64', 'amd64', 'x86-64', 'x64'].includes(arch)) return 'x86_64';
  if (['i386', 'i486', 'i586', 'i686', 'x86'].includes(arch)) return 'i386';
  throw configError(`--arch: '${arch}' is not known`, 'use i386 or x86_64');
};

const nanoseconds = (value: string | undefined, name: string): string | undefined => (value === undefined ? undefined : `${parseDuration(value, name, 's')}ns`);

/** Whole numbers are numbers, so that --seed 7 is the API's seed 7. */
const parseSeed = (seed: string | undefined): number | string | undefined => (seed !== undefined && /^\d{1,15}$/.test(seed) ? Number(seed) : seed);

/** The network of the command line; what needs one implies it. */
const netOptions = (flags: RunFlags): Pick<VMOptions, 'net' | 'nics' | 'publish' | 'pcap'> => {
  const { net, publish, allow = [], nicModel, mac, rom, pcap } = flags;
  const wanted = [publish, flags.allow, nicModel, mac, rom, pcap].some(flag => flag !== undefined);
  const parsed: NetOptions | undefined = net === undefined ? (wanted ? {} : undefined) : parseNet(net);
  if (parsed === undefined) {
    if (wanted) throw configError('--net none leaves no network for --publish, --allow, --nic-model, --mac, --rom and --pcap', 'use --net user');
    return {};
  }
  return {
    net: { ...parsed, allow: [...(parsed.allow ?? []), ...allow] },
    nics: [{ model: nicModel as NicModel | undefined, mac, rom }],
    publish,
    pcap,
  };
};

/** What the command line says of the machine. */
export const vmOptions = (flags: RunFlags, image: string | undefined): VMOptions => {
  const options: VMOptions = {
    image,
    kernel: flags.kernel,
    initrd: flags.initrd,
    append: flags.append,
    bios: flags.bios,
    boot: flags.boot,
    floppies: flags.floppy,
    cdroms: flags.cdrom,
    arch: parseArch(flags.arch),
    cpu: flags.cpu as VMOptions['cpu'],
    memory: flags.memory,
    disks: flags.disk,
    seed: parseSeed(flags.seed),
    engine: flags.engine as VMOptions['engine'],
    dumpRegions: flags.dumpRegions,
    time: flags.time,
    timeout: nanoseconds(flags.timeout, '--timeout'),
    wallTimeout: nanoseconds(flags.wallTimeout, '--wall-timeout'),
    debugExit: flags.debugExit === undefined ? undefined : parsePort(flags.debugExit, '--debug-exit'),
    debugcon: flags.debugcon === undefined ? undefined : parsePort(flags.debugcon, '--debugcon'),
    onReset: flags.reboot ? 'reboot' : 'exit',
    onPanic: flags.onPanic as VMOptions['onPanic'],
    mirror: flags.mirror,
    ...netOptions(flags),
  };
  for (const key of Object.keys(options) as (keyof VMOptions)[]) if (options[key] === undefined) delete options[key];
  return options;
};

/** NAME=VALUE sets, NAME alone passes the host's variable on. */
export const guestEnv = (list: readonly string[] = [], io: CliIo): Record<string, string> => {
  const env: Record<string, string> = {};
  for (const item of list) {
    const equals = item.indexOf('=');
    const name = equals < 0 ? item : item.slice(0, equals);
    if (name === '') throw configError(`--env: '${item}' has no name`, 'write NAME=VALUE');
    const value = equals < 0 ? io.env[name] : item.slice(equals + 1);
    if (value !== undefined) env[name] = value;
  }
  return env;
};

/** The escape key's code, or undefined for none. */
export const parseEscape = (text: string | undefined): number | undefined => {
  if (text === undefined) return 0x01;
  if (text === 'none') return undefined;
  const code = Number(text);
  if (/^(0x[0-9a-f]+|\d+)$/i.test(text) && code < 0x80) return code;
  throw new VmletError('ERR_VMLET_CONFIG', `--escape: '${text}' is no key`, { hint: 'give the code of a control key, such as 0x01 for Ctrl-A, or none' });
};

