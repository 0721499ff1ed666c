import { capturedTraffic } from '../net/capture-udp.js';
import { readCapture } from '../net/pcapng.js';
import { explainExchange, type Finding, lintIpxeScript } from '../pxe/explain.js';
import { parseNetbootRules } from '../pxe/rules-file.js';
import { RuleBooter } from '../pxe/rule-booter.js';
import type { Booter } from '../pxe/booter.js';
import { VmletError } from '../errors.js';
import { configError } from '../config.js';
import { parseYaml } from '../yaml-source.js';
import { flagNumber, readNamedFile, readRules } from './netboot-serve.js';
import type { CliContext } from './run-cli.js';

export interface LintFlags {
  rules?: string;
  mtu?: string;
  json?: boolean;
  quiet?: boolean;
}

interface LintReport {
  file: string;
  kind: 'capture' | 'ipxe' | 'rules';
  /** What the file holds, in a line. */
  summary: string;
  steps: readonly string[];
  findings: readonly (Pick<Finding, 'severity' | 'text'> & Partial<Finding>)[];
}

const CAPTURE_MAGICS = [0x0a0d0d0a, 0xa1b2c3d4, 0xa1b23c4d, 0xd4c3b2a1, 0x4d3cb2a1];

const lintCapture = (file: string, bytes: Uint8Array, mtu: number | undefined, booter: Booter | undefined): LintReport => {
  const capture = readCapture(bytes);
  if (capture.problem !== undefined && capture.packets.length === 0) throw configError(`${file}: ${capture.problem}`);
  const traffic = capturedTraffic(capture);
  const { steps, findings } = explainExchange(traffic.udp, { mtu, http: traffic.http, staleArp: traffic.staleArp, booter });
  const all: LintReport['findings'][number][] = [...findings];
  if (capture.problem !== undefined) all.push({ severity: 'warning', text: `the capture is damaged: ${capture.problem}; packets before that were read` });
  if (steps.length === 0 && findings.length === 0) all.push({ severity: 'warning', text: 'there is no DHCP, TFTP or HTTP in it' });
  return { file, kind: 'capture', summary: `${capture.packets.length} packets, ${traffic.udp.length} UDP datagrams, ${traffic.http.length} HTTP lines`, steps, findings: all };
};

const lintRules = (file: string, text: string): LintReport => {
  const problem = (error: unknown): LintReport => {
    if (!(error instanceof VmletError)) throw error;
    return { file, kind: 'rules', summary: 'boot rules', steps: [], findings: [{ severity: 'error', text: `${error.message}${error.hint === undefined ? '' : ` (${error.hint})`}` }] };
  };
  try {
    const { rules } = parseNetbootRules(parseYaml(text, file));
    const findings: LintReport['findings'][number][] = [];
    const always = rules.findIndex(rule => rule.match === undefined);
    if (always >= 0 && always < rules.length - 1) findings.push({ severity: 'warning', text: `rule ${always + 1} matches every client: the rules behind it are never asked` });
    if (always < 0 && rules.length > 0) findings.push({ severity: 'note', text: 'a client that no rule matches gets no boot file; a last rule without match is for all' });
    return { file, kind: 'rules', summary: `${rules.length} boot rules`, steps: [], findings };
  } catch (error) {
    return problem(error);
  }
};

const lintOne = (file: string, flags: LintFlags, booter: Booter | undefined): LintReport => {
  const bytes = readNamedFile(file, 'the file');
  const mtu = flagNumber(flags.mtu, '--mtu', 576, 65535);
  const magic = bytes.length >= 4 ? bytes.readUInt32LE(0) : 0;
  if (CAPTURE_MAGICS.includes(magic)) return lintCapture(file, bytes, mtu, booter);
  const text = bytes.toString('utf8');
  if (text.startsWith('#!ipxe') || file.endsWith('.ipxe')) {
    return { file, kind: 'ipxe', summary: 'an iPXE script', steps: [], findings: lintIpxeScript(text).map(problem => ({ severity: 'warning', text: problem })) };
  }
  if (/\.ya?ml$/i.test(file)) return lintRules(file, text);
  throw configError(`${file} is no capture, iPXE script or rules file`, 'captures are pcapng or pcap; scripts begin with #!ipxe; rules are named *.yaml');
};

/** 0: nothing that breaks a boot. 1: something does. */
export const lint = async (files: readonly string[], flags: LintFlags, { stdout }: CliContext): Promise<number> => {
  const booter = flags.rules === undefined ? undefined : rulesBooter(flags.rules);
  const reports = files.map(file => lintOne(file, flags, booter));
  const count = (severity: Finding['severity']): number => reports.reduce((sum, { findings }) => sum + findings.filter(finding => finding.severity === severity).length, 0);
  if (flags.json) {
    stdout.write(`${JSON.stringify({ schema: 1, errors: count('error'), warnings: count('warning'), files: reports }, undefined, 2)}\n`);
  } else {
    for (const { file, summary, steps, findings } of reports) {
      stdout.write(`${file}: ${summary}\n`);
      if (!flags.quiet) for (const step of steps) stdout.write(`  ${step}\n`);
      for (const { severity, code, atS, client, text } of findings) {
        const where = atS === undefined ? '' : `${atS.toFixed(3)} ${client}: `;
        stdout.write(`${severity}: ${where}${text}${code === undefined ? '' : ` [${code}]`}\n`);
      }
    }
    stdout.write(`${count('error')} errors, ${count('warning')} warnings\n`);
  }
  return count('error') > 0 ? 1 : 0;
};

const rulesBooter = (path: string): Booter => {
  const { rules, ipxeLoaders } = readRules(path);
  return new RuleBooter({ rules, ipxeLoaders });
};
