// A lab as people write it in YAML: switches, machines, boot rules, and the tests that are its verdict.
import { dirname, extname, resolve } from 'node:path';
import type { LabDefinition, LabNic, LabSwitch, LabVM } from './lab.js';
import { parseDuration } from './config.js';
import { NIC_MODELS } from './host/devices/nic-models.js';
import { Prng } from './host/backends/entropy.js';
import { nthAddress } from './config-net.js';
import { formatIpv4, parseIpv4, parseSubnet } from './net/address.js';
import type { Impairment } from './net/impair.js';
import { IpHost } from './net/ip-host.js';
import { udpPorts } from './net/udp-ports.js';
import { serveDhcp } from './pxe/dhcp/attach.js';
import { DhcpServer } from './pxe/dhcp/server.js';
import { wrongKernelWords } from './pxe/kernel-words.js';
import { type NetbootRules, parseNetbootRules } from './pxe/rules-file.js';
import { BootServer } from './vm-netboot.js';
import { parseYaml, type YamlNode } from './yaml-source.js';

/** One thing that a test does with a machine. */
export type LabStep = { readonly kind: 'serial'; readonly pattern: RegExp } | { readonly kind: 'send'; readonly text: string };

/** One run of a test in a lab of its own: a combination of its matrix with one of its seeds. */
export interface LabVariant {
  /** As in 'image=i386, seed=3'. */
  readonly label: string;
  readonly seed?: string;
  /** Fields of the test's machines that are other ones here. */
  readonly changes: readonly (readonly [MatrixField, YamlNode])[];
}

export interface LabTest {
  readonly name: string;
  /** Names of machines. */
  readonly vms: readonly string[];
  /** A command for a guest that has an agent. */
  readonly run?: string;
  readonly exit?: number;
  readonly stdout?: RegExp;
  readonly stderr?: RegExp;
  readonly steps: readonly LabStep[];
  readonly timeoutNs: number;
  /** Without any it runs in the lab that all such tests share. */
  readonly variants: readonly LabVariant[];
}

/** A lab to be run once. */
export interface LabPlan {
  readonly definition: LabDefinition;
  /** By the name of the switch. */
  readonly servers: ReadonlyMap<string, BootServer>;
}

export interface LabFile extends LabPlan {
  readonly tests: readonly LabTest[];
  /** The lab for one variant of a test. */
  variant(test: LabTest, variant: LabVariant): LabPlan;
}

const DEFAULT_TIMEOUT = '120s';
const PROXY_INDEX = 4;
const MAX_COUNT = 64;
const MAX_VARIANTS = 1000;
/** What a matrix can vary: fields of machines, and the model of their cards. */
const MATRIX_FIELDS = ['image', 'kernel', 'initrd', 'append', 'bios', 'arch', 'memory', 'engine', 'model'] as const;
type MatrixField = (typeof MATRIX_FIELDS)[number];
const VM_FIELDS = ['image', 'kernel', 'initrd', 'append', 'boot', 'bios', 'arch', 'memory', 'disks', 'cdroms', 'floppies', 'nics', 'count', 'engine', 'timeout', 'debugExit', 'onReset'] as const;
const IMAGE_FIELDS = ['kernel', 'initrd', 'append', 'arch'] as const;

interface Defaults {
  memory?: string;
  timeout: string;
  engine?: 'interp' | 'jit';
}

/** Reads a lab. Paths are relative to the file's folder. Throws ERR_VMLET_CONFIG with file and line. */
export const parseLab = (text: string, file: string): LabFile => {
  const path = (node: YamlNode): string => resolve(dirname(file), node.text());
  const fields = parseYaml(text, file).fields(['version', 'seed', 'latency', 'defaults', 'images', 'switches', 'links', 'vms', 'netboot', 'tests']);
  if (fields.version !== undefined && fields.version.number() !== 1) throw fields.version.fail('this version reads version 1');
  const given = fields.defaults?.fields(['memory', 'timeout', 'engine', 'seed']);
  const defaults: Defaults = { memory: given?.memory?.text(), timeout: given?.timeout === undefined ? DEFAULT_TIMEOUT : duration(given.timeout), engine: given?.engine?.oneOf(['interp', 'jit']) };
  const images = new Map(fields.images?.entries() ?? []);
  const netboot = fields.netboot && parseNetbootRules(fields.netboot);
  if (!fields.vms) throw parseYaml(text, file).fail('the lab has no vms', 'write for instance vms: {one: {image: amd64}}');
  const machines = fields.vms.entries();
  const groups = new Map(machines.map(([name, node]) => [name, groupNames(name, node)]));
  const seed = fields.seed ?? given?.seed;
  const ownSeed = seed === undefined ? 1 : parseSeed(seed.text());
  const links = fields.links?.list().map(link => {
    const ends = link.list().map(end => end.text());
    if (ends.length !== 2) throw link.fail('a cable has two ends', 'write [lan, other]');
    return [ends[0], ends[1]] as const;
  });

  const plan = (changed: readonly string[] = [], variant?: LabVariant): LabPlan => {
    const servers = new Map<string, BootServer>();
    const switches: Record<string, LabSwitch> = {};
    for (const [name, node] of fields.switches?.entries() ?? []) switches[name] = parseSwitch(name, node, netboot, path, servers, variant?.label);
    const vms: Record<string, LabVM> = {};
    for (const [name, node] of machines) {
      const names = groups.get(name)!;
      const vm = parseVm(node, defaults, images, path, names.some(each => changed.includes(each)) ? variant?.changes : undefined);
      for (const each of names) {
        if (vms[each] !== undefined) throw node.fail(`there are two machines '${each}'`);
        vms[each] = vm;
      }
    }
    return { definition: { seed: variant?.seed === undefined ? ownSeed : parseSeed(variant.seed), ...(fields.latency === undefined ? {} : { latency: duration(fields.latency) }), switches, links, vms }, servers };
  };
  const base = plan();
  const tests = fields.tests?.list().map((node, i) => parseTest(node, i, groups, Object.keys(base.definition.vms), defaults)) ?? [];
  // What is wrong with a combination is told before anything runs; a seed changes nothing of that.
  for (const test of tests) for (const variant of test.variants) if (variant.seed === undefined || variant.seed === test.variants[0].seed) plan(test.vms, variant);
  return { ...base, tests, variant: (test, variant) => plan(test.vms, variant) };
};

const parseSeed = (text: string): number | string => (/^\d{1,15}$/.test(text) ? Number(text) : text);

/** The machines that a name stands for. */
const groupNames = (name: string, node: YamlNode): string[] => {
  const count = node.fields(VM_FIELDS).count?.integer(1, MAX_COUNT);
  return count === undefined ? [name] : Array.from({ length: count }, (_, i) => `${name}-${i + 1}`);
};

const duration = (node: YamlNode): string => {
  try {
    return `${parseDuration(node.text(), node.path, 's')}ns`;
  } catch {
    throw node.fail(`'${node.text()}' is no length of time`, 'write for instance 500ms, 30s or 5m');
  }
};

const parseImpairment = (node: YamlNode): Impairment => {
  const { loss, delay, jitter, duplicate, reorder, bandwidth } = node.fields(['loss', 'delay', 'jitter', 'duplicate', 'reorder', 'bandwidth']);
  const ns = (value: YamlNode | undefined): number | undefined => value && Number(duration(value).replace('ns', ''));
  const found = { loss: loss?.number(0, 1), delayNs: ns(delay), jitterNs: ns(jitter), duplicate: duplicate?.number(0, 1), reorder: reorder?.number(0, 1), bandwidth: bandwidth?.number(1) };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
};

/** A file of one variant, beside those of the others. */
const named = (path: string, label: string | undefined): string => {
  if (label === undefined) return path;
  const extension = extname(path);
  return `${path.slice(0, path.length - extension.length)}.${label.replace(/[^A-Za-z0-9=._-]+/g, '-')}${extension}`;
};

const parseSwitch = (name: string, node: YamlNode, netboot: NetbootRules | undefined, path: (node: YamlNode) => string, servers: Map<string, BootServer>, label?: string): LabSwitch => {
  const fields = node.fields(['subnet', 'dhcp', 'tftp', 'http', 'append', 'pcap', 'impair', 'restrict', 'allow', 'publish', 'hosts']);
  const wrong = fields.append && wrongKernelWords(fields.append.text());
  if (wrong !== undefined) throw fields.append!.fail(wrong);
  if (fields.append && !fields.tftp && !fields.http) throw fields.append.fail('it is for the configurations in a folder', 'add tftp: FOLDER');
  const base: LabSwitch = {
    subnet: fields.subnet?.text(),
    restrict: fields.restrict?.boolean() ?? true,
    allow: fields.allow?.oneOrMore().map(item => item.text()),
    publish: fields.publish?.oneOrMore().map(item => item.text()),
    hosts: fields.hosts && Object.fromEntries(fields.hosts.entries().map(([host, address]) => [host, address.text()])),
    pcap: fields.pcap && named(path(fields.pcap), label),
    impair: fields.impair && parseImpairment(fields.impair),
    dhcp: fields.dhcp?.boolean(),
  };
  if (fields.subnet !== undefined && parseSubnet(fields.subnet.text()) === undefined) throw fields.subnet.fail(`'${fields.subnet.text()}' is no subnet`, 'write it as 10.9.0.0/24');
  const serves = fields.tftp !== undefined || fields.http !== undefined || netboot !== undefined;
  if (!serves || netboot?.mode === 'off') return base;
  if (fields.subnet === undefined) {
    if (fields.tftp ?? fields.http) throw node.fail('TFTP and HTTP need an address', 'add subnet: 10.9.0.0/24');
    return base;
  }
  const server = new BootServer({ rules: netboot?.rules ?? [], ipxeLoaders: netboot?.ipxeLoaders, tftp: fields.tftp && path(fields.tftp), http: fields.http && path(fields.http), kernelWords: fields.append?.text() });
  servers.set(name, server);
  const proxy = netboot?.mode === 'proxy';
  return {
    ...base,
    dhcp: base.dhcp === false ? false : proxy || netboot === undefined ? true : server.dhcp,
    services: network => {
      const { host } = network.gateway!;
      if (!proxy) {
        server.serve(host);
        return () => server.close();
      }
      // A boot server beside a DHCP server that knows nothing of booting.
      const address = nthAddress(fields.subnet!.text(), PROXY_INDEX);
      const station = new IpHost({ port: network.connect({ name: 'netboot' }), clock: host.clock, random: new Prng(1, `netboot:${name}`), mac: Uint8Array.of(0x52, 0x55, 0, 0, 0, PROXY_INDEX), address, prefix: parseSubnet(fields.subnet!.text())!.prefix });
      const attached = serveDhcp(new DhcpServer({ clock: host.clock, address: formatIpv4(address), mode: 'proxy', ...server.dhcp }), udpPorts(station));
      server.serve(station);
      return () => {
        attached.close();
        server.close();
      };
    },
  };
};

const parseNic = (node: YamlNode, path: (node: YamlNode) => string): LabNic => {
  const fields = node.fields(['switch', 'model', 'mac', 'ip', 'rom']);
  if (fields.ip !== undefined && parseIpv4(fields.ip.text().split('/')[0]) === undefined) throw fields.ip.fail(`'${fields.ip.text()}' is no address`, 'write it as 10.9.0.2/24');
  return {
    switch: fields.switch?.text(),
    model: fields.model?.oneOf(NIC_MODELS),
    mac: fields.mac?.text(),
    rom: fields.rom && path(fields.rom),
    address: fields.ip === undefined ? undefined : fields.ip.text().includes('/') ? fields.ip.text() : `${fields.ip.text()}/24`,
  };
};

const parseVm = (node: YamlNode, defaults: Defaults, images: ReadonlyMap<string, YamlNode>, path: (node: YamlNode) => string, changes: LabVariant['changes'] = []): LabVM => {
  const { model, ...changed } = Object.fromEntries(changes) as Partial<Record<MatrixField, YamlNode>>;
  const fields = { ...node.fields(VM_FIELDS), ...changed };
  const name = fields.image?.text();
  const image = name === undefined ? undefined : images.get(name)?.fields(IMAGE_FIELDS);
  const file = (value: YamlNode | undefined): string | undefined => value && path(value);
  const options: Record<string, unknown> = {
    image: image === undefined ? name : undefined,
    kernel: file(fields.kernel) ?? file(image?.kernel),
    initrd: file(fields.initrd) ?? file(image?.initrd),
    append: fields.append?.text() ?? image?.append?.text(),
    boot: fields.boot?.oneOrMore().map(item => item.text()),
    bios: file(fields.bios),
    arch: (fields.arch ?? image?.arch)?.oneOf(['i386', 'x86_64']),
    memory: fields.memory?.text() ?? defaults.memory,
    disks: fields.disks?.oneOrMore().map(item => path(item)),
    cdroms: fields.cdroms?.oneOrMore().map(item => path(item)),
    floppies: fields.floppies?.oneOrMore().map(item => path(item)),
    engine: fields.engine?.oneOf(['interp', 'jit']) ?? defaults.engine,
    timeout: fields.timeout && duration(fields.timeout),
    debugExit: fields.debugExit?.integer(0, 0xffff),
    onReset: fields.onReset?.oneOf(['exit', 'reboot']),
    nics: fields.nics?.oneOrMore().map(nic => clean({ ...parseNic(nic, path), ...(model === undefined ? {} : { model: model.oneOf(NIC_MODELS) }) })),
  };
  return clean(options) as LabVM;
};

const clean = <T extends object>(value: T): T => Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined)) as T;

const parseTest = (node: YamlNode, i: number, groups: ReadonlyMap<string, readonly string[]>, all: readonly string[], defaults: Defaults): LabTest => {
  const fields = node.fields(['name', 'vm', 'run', 'expect', 'wait', 'timeout', 'matrix', 'seeds']);
  if (!fields.vm) throw node.fail('the test names no machine', `write vm: ${all[0]}`);
  const vms = fields.vm.oneOrMore().flatMap(item => {
    const found = groups.get(item.text()) ?? (all.includes(item.text()) ? [item.text()] : undefined);
    if (found === undefined) throw item.fail(`there is no machine '${item.text()}'`, `there are ${[...groups.keys()].join(', ')}`);
    return found;
  });
  if (fields.run === undefined && fields.wait === undefined) throw node.fail('the test does nothing', 'it has run: COMMAND or wait: [{serial: /login:/}]');
  if (fields.expect !== undefined && fields.run === undefined) throw fields.expect.fail('it is about a command, and there is none', 'add run: COMMAND');
  const expected = fields.expect?.fields(['exit', 'stdout', 'stderr']);
  const steps = fields.wait?.oneOrMore().map((step): LabStep => {
    const { serial, send } = step.fields(['serial', 'send']);
    if ((serial === undefined) === (send === undefined)) throw step.fail('a step waits or sends', 'write {serial: /login:/} or {send: "root\\n"}');
    return serial ? { kind: 'serial', pattern: serial.pattern() } : { kind: 'send', text: send!.text() };
  });
  return {
    name: fields.name?.text() ?? `test ${i + 1}`,
    vms,
    run: fields.run?.text(),
    exit: expected?.exit?.integer(0, 255) ?? 0,
    stdout: expected?.stdout?.pattern(),
    stderr: expected?.stderr?.pattern(),
    steps: steps ?? [],
    timeoutNs: Number((fields.timeout === undefined ? defaults.timeout : duration(fields.timeout)).replace('ns', '')),
    variants: parseVariants(node, fields.matrix, fields.seeds),
  };
};

/** Each combination of the matrix with each seed. */
const parseVariants = (test: YamlNode, matrix: YamlNode | undefined, seeds: YamlNode | undefined): LabVariant[] => {
  if (matrix === undefined && seeds === undefined) return [];
  let combinations: LabVariant['changes'][] = [[]];
  for (const [name, values] of Object.entries(matrix?.fields(MATRIX_FIELDS) ?? {}) as [MatrixField, YamlNode][]) {
    const list = values.list();
    if (list.length === 0) throw values.fail('there is nothing to choose from');
    combinations = combinations.flatMap(changes => list.map(value => [...changes, [name, value] as const]));
    if (combinations.length > MAX_VARIANTS) throw matrix!.fail(`these are more than ${MAX_VARIANTS} combinations`);
  }
  const numbers = seeds === undefined ? [undefined] : parseSeeds(seeds);
  if (combinations.length * numbers.length > MAX_VARIANTS) throw test.fail(`these are ${combinations.length * numbers.length} runs, and ${MAX_VARIANTS} are the most`);
  return combinations.flatMap(changes => numbers.map(seed => ({ label: [...changes.map(([name, value]) => `${name}=${value.text()}`), ...(seed === undefined ? [] : [`seed=${seed}`])].join(', '), seed, changes })));
};

/** `1..50`, or a list. */
const parseSeeds = (node: YamlNode): string[] => {
  if (node.isList) {
    const seeds = node.list().map(item => item.text());
    if (seeds.length === 0) throw node.fail('there are no seeds');
    return seeds;
  }
  const range = /^(\d{1,15})\.\.(\d{1,15})$/.exec(node.text());
  if (range === null) return [node.text()];
  const [from, to] = [Number(range[1]), Number(range[2])];
  if (to < from) throw node.fail(`${node.text()} goes backwards`);
  if (to - from >= MAX_VARIANTS) throw node.fail(`these are more than ${MAX_VARIANTS} seeds`);
  return Array.from({ length: to - from + 1 }, (_, i) => String(from + i));
};
