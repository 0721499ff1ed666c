// A lab as people write it in YAML: switches, machines, boot rules, and the tests that are its verdict.
import { dirname, resolve } from 'node:path';
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
import { type NetbootRules, parseNetbootRules } from './pxe/rules-file.js';
import { BootServer } from './vm-netboot.js';
import { parseYaml, type YamlNode } from './yaml-source.js';

/** One thing that a test does with a machine. */
export type LabStep = { readonly kind: 'serial'; readonly pattern: RegExp } | { readonly kind: 'send'; readonly text: string };

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
}

export interface LabFile {
  readonly definition: LabDefinition;
  readonly tests: readonly LabTest[];
  /** By the name of the switch. */
  readonly servers: ReadonlyMap<string, BootServer>;
}

const DEFAULT_TIMEOUT = '120s';
const PROXY_INDEX = 4;
const MAX_COUNT = 64;
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
  const servers = new Map<string, BootServer>();
  const switches: Record<string, LabSwitch> = {};
  for (const [name, node] of fields.switches?.entries() ?? []) switches[name] = parseSwitch(name, node, netboot, path, servers);
  const vms: Record<string, LabVM> = {};
  const groups = new Map<string, string[]>();
  if (!fields.vms) throw parseYaml(text, file).fail('the lab has no vms', 'write for instance vms: {one: {image: amd64}}');
  for (const [name, node] of fields.vms.entries()) {
    const { vm, count } = parseVm(node, defaults, images, path);
    const names = count === undefined ? [name] : Array.from({ length: count }, (_, i) => `${name}-${i + 1}`);
    groups.set(name, names);
    for (const each of names) {
      if (vms[each] !== undefined) throw node.fail(`there are two machines '${each}'`);
      vms[each] = vm;
    }
  }
  const seed = fields.seed ?? given?.seed;
  const definition: LabDefinition = {
    seed: seed === undefined ? 1 : /^\d{1,15}$/.test(seed.text()) ? Number(seed.text()) : seed.text(),
    ...(fields.latency === undefined ? {} : { latency: duration(fields.latency) }),
    switches,
    links: fields.links?.list().map(link => {
      const ends = link.list().map(end => end.text());
      if (ends.length !== 2) throw link.fail('a cable has two ends', 'write [lan, other]');
      return [ends[0], ends[1]] as const;
    }),
    vms,
  };
  const tests = fields.tests?.list().map((node, i) => parseTest(node, i, groups, Object.keys(vms), defaults)) ?? [];
  return { definition, tests, servers };
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

const parseSwitch = (name: string, node: YamlNode, netboot: NetbootRules | undefined, path: (node: YamlNode) => string, servers: Map<string, BootServer>): LabSwitch => {
  const fields = node.fields(['subnet', 'dhcp', 'tftp', 'http', 'pcap', 'impair', 'restrict', 'allow', 'publish', 'hosts']);
  const base: LabSwitch = {
    subnet: fields.subnet?.text(),
    restrict: fields.restrict?.boolean() ?? true,
    allow: fields.allow?.oneOrMore().map(item => item.text()),
    publish: fields.publish?.oneOrMore().map(item => item.text()),
    hosts: fields.hosts && Object.fromEntries(fields.hosts.entries().map(([host, address]) => [host, address.text()])),
    pcap: fields.pcap && path(fields.pcap),
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
  const server = new BootServer({ rules: netboot?.rules ?? [], ipxeLoaders: netboot?.ipxeLoaders, tftp: fields.tftp && path(fields.tftp), http: fields.http && path(fields.http) });
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

const parseNic = (node: YamlNode): LabNic => {
  const fields = node.fields(['switch', 'model', 'mac', 'ip', 'rom']);
  if (fields.ip !== undefined && parseIpv4(fields.ip.text().split('/')[0]) === undefined) throw fields.ip.fail(`'${fields.ip.text()}' is no address`, 'write it as 10.9.0.2/24');
  return {
    switch: fields.switch?.text(),
    model: fields.model?.oneOf(NIC_MODELS),
    mac: fields.mac?.text(),
    rom: fields.rom?.text(),
    address: fields.ip === undefined ? undefined : fields.ip.text().includes('/') ? fields.ip.text() : `${fields.ip.text()}/24`,
  };
};

const parseVm = (node: YamlNode, defaults: Defaults, images: ReadonlyMap<string, YamlNode>, path: (node: YamlNode) => string): { vm: LabVM; count: number | undefined } => {
  const fields = node.fields(VM_FIELDS);
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
    nics: fields.nics?.oneOrMore().map(nic => clean(parseNic(nic))),
  };
  return { vm: clean(options) as LabVM, count: fields.count?.integer(1, MAX_COUNT) };
};

const clean = <T extends object>(value: T): T => Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined)) as T;

const parseTest = (node: YamlNode, i: number, groups: ReadonlyMap<string, readonly string[]>, all: readonly string[], defaults: Defaults): LabTest => {
  const fields = node.fields(['name', 'vm', 'run', 'expect', 'wait', 'timeout']);
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
  };
};
