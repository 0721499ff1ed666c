// One `vmlet lab up`, from the file to the verdict.
import { writeFileSync } from 'node:fs';
import { parseDuration } from '../config.js';
import { Lab } from '../lab.js';
import { type LabFile, type LabPlan, type LabTest, type LabVariant, parseLab } from '../lab-file.js';
import { formatEvent } from '../pxe/log.js';
import type { VM } from '../vm.js';
import { errorText } from './exit-codes.js';
import { Notes } from './io.js';
import { readNamedFile } from './netboot-serve.js';
import { checkResultPath } from './result.js';
import type { CliContext } from './run-cli.js';

export interface LabFlags {
  seed?: string;
  only?: string;
  wallTimeout?: string;
  json?: boolean;
  result?: string;
  dryRun?: boolean;
  quiet?: boolean;
  verbose?: boolean;
}

interface TestVerdict {
  name: string;
  vm: string;
  ok: boolean;
  /** Why not, in a sentence. */
  text?: string;
  /** The seed of a run in a lab of its own. */
  seed?: string;
  guestTimeNs: number;
  consoleTail?: string[];
  /** How a machine that boots from the network came along. */
  netboot?: string[];
}

const TAIL_LINES = 20;

const runTest = async (test: LabTest, vm: VM): Promise<string | undefined> => {
  const timeout = `${test.timeoutNs}ns`;
  try {
    for (const step of test.steps) {
      if (step.kind === 'serial') await vm.serial.expect(step.pattern, { timeout });
      else vm.serial.send(step.text);
    }
    if (test.run === undefined) return undefined;
    const { exitCode, stdout, stderr } = await vm.run(test.run, { check: false, timeout });
    if (exitCode !== test.exit) return `'${test.run}' ended with exit code ${exitCode}, not ${test.exit}${stderr.trim() === '' ? '' : `; it said: ${stderr.trim().split('\n').at(-1)}`}`;
    if (test.stdout && !test.stdout.test(stdout)) return `the output of '${test.run}' is not like ${String(test.stdout)}: ${JSON.stringify(stdout.slice(0, 200))}`;
    if (test.stderr && !test.stderr.test(stderr)) return `what '${test.run}' said on standard error is not like ${String(test.stderr)}: ${JSON.stringify(stderr.slice(0, 200))}`;
    return undefined;
  } catch (error) {
    return errorText(error).split('\n')[0];
  }
};

/** One start of a lab, and what is tried in it; without tests its machines run to their ends. */
interface Round {
  readonly plan: () => LabPlan;
  readonly tests: readonly LabTest[];
  readonly variant?: LabVariant;
}

const fullName = (test: LabTest, variant: LabVariant | undefined): string => (variant === undefined ? test.name : `${test.name} [${variant.label}]`);

/** The tests that share a lab first, then each variant in a lab of its own. */
const roundsOf = (lab: LabFile, only: string | undefined): Round[] => {
  const wanted = (test: LabTest, variant?: LabVariant): boolean => only === undefined || fullName(test, variant).includes(only);
  const shared = lab.tests.filter(test => test.variants.length === 0 && wanted(test));
  return [
    ...(shared.length > 0 || lab.tests.length === 0 ? [{ plan: () => lab, tests: shared }] : []),
    ...lab.tests.flatMap(test => test.variants.filter(variant => wanted(test, variant)).map(variant => ({ plan: () => lab.variant(test, variant), tests: [test], variant }))),
  ];
};

/** What the lab's end needs to know of it. */
interface Running {
  lab: Lab | undefined;
  interrupted: number | undefined;
}

/** Runs one lab; `judge` is told what became of each machine. */
const runRound = async ({ plan, tests, variant }: Round, flags: LabFlags, context: CliContext, notes: Notes, running: Running, judge: (name: string, vmName: string, vm: VM, text: string | undefined, plan: LabPlan) => void): Promise<number> => {
  const { stderr, internals } = context;
  const started = plan();
  const { definition } = started;
  const seed = flags.seed === undefined || variant?.seed !== undefined ? definition.seed : seedOf(flags.seed);
  const lab = await Lab.up({ ...definition, seed, onProgress: text => notes.say(text), onGuestLog: flags.verbose ? (line, vm) => notes.say(`${vm}: device: ${line}`) : undefined }, internals);
  running.lab = lab;
  try {
    if (running.interrupted !== undefined) return lab.now;
    for (const [name, { published }] of lab.networks) for (const { rule, address, port } of published) if (/^(?:[\d.]+:)?0:/.test(rule)) notes.say(`${name}: publish ${rule}: ${address}:${port}`);
    if (flags.verbose) for (const [name, vm] of lab.vms) prefixed(vm, name, text => stderr.write(text));
    for (const test of tests) {
      const results = await Promise.all(test.vms.map(async name => [name, await runTest(test, lab.vm(name))] as const));
      if (running.interrupted !== undefined) return lab.now;
      for (const [name, text] of results) judge(fullName(test, variant), name, lab.vm(name), text, started);
    }
    if (tests.length > 0) return lab.now;
    const exits = await lab.wait();
    if (running.interrupted !== undefined) return lab.now;
    for (const [name, exit] of exits) judge('ends by itself', name, lab.vm(name), exit.reason === 'poweroff' || (exit.reason === 'debug-exit' && exit.code === 1) ? undefined : exit.text, started);
    return lab.now;
  } finally {
    running.lab = undefined;
    await lab.stop();
  }
};

const seedOf = (text: string): number | string => (/^\d{1,15}$/.test(text) ? Number(text) : text);

/** How a machine that boots from the network came along, with what its servers refused. */
const storyOf = (vm: VM, { servers }: LabPlan): string[] | undefined => {
  if (vm.netboot === undefined) return undefined;
  const refused = [...servers.values()].flatMap(({ journal }) => journal.events).filter(({ outcome }) => outcome === 'refused' || outcome === 'failed');
  return [vm.netboot.diagnosis.text, ...vm.netboot.story.slice(-TAIL_LINES), ...refused.slice(-5).map(event => formatEvent(event))];
};

/** 0: all tests pass, or all machines of a lab without tests powered off. 1: not so. 2: there was nothing to run. */
export const labUp = async (file: string, flags: LabFlags, context: CliContext): Promise<number> => {
  const { io, stdout, stderr } = context;
  const notes = new Notes(stderr, flags.quiet);
  if (flags.result !== undefined) checkResultPath(flags.result);
  const parsed = parseLab(readNamedFile(file, 'the lab').toString('utf8'), file);
  const { definition, tests } = parsed;
  const wallMs = flags.wallTimeout === undefined ? undefined : parseDuration(flags.wallTimeout, '--wall-timeout', 's') / 1e6;
  const rounds = roundsOf(parsed, flags.only);
  if (flags.dryRun) {
    notes.say(`all is well: ${Object.keys(definition.vms).length} machines, ${Object.keys(definition.switches ?? {}).length} switches, ${tests.length} tests${rounds.length > 1 ? ` in ${rounds.length} labs` : ''}`);
    return 0;
  }
  const running: Running = { lab: undefined, interrupted: undefined };
  const startMs = performance.now();
  const end = (code: number) => (): void => {
    running.interrupted ??= code;
    void running.lab?.stop();
  };
  const off = [io.onSignal('SIGINT', end(130)), io.onSignal('SIGTERM', end(143)), io.onSignal('SIGHUP', end(143))];
  const timer = wallMs === undefined ? undefined : setTimeout(end(124), Math.min(wallMs, 0x7fff_ffff));
  const verdicts: TestVerdict[] = [];
  let guestTimeNs = 0;
  try {
    for (const round of rounds) {
      guestTimeNs += await runRound(round, flags, context, notes, running, (name, vmName, vm, text, plan) => {
        const seed = round.variant?.seed;
        const verdict: TestVerdict = { name, vm: vmName, ok: text === undefined, ...(seed === undefined ? {} : { seed }), guestTimeNs: vm.now, ...(text === undefined ? {} : { text, consoleTail: vm.serial.tail(TAIL_LINES), netboot: storyOf(vm, plan) }) };
        verdicts.push(verdict);
        if (flags.json) return;
        stdout.write(`${verdict.ok ? 'ok' : 'not ok'} ${verdicts.length} - ${name} (${vmName})\n`);
        if (verdict.ok) return;
        const again = round.variant === undefined ? [] : [`to run it alone: vmlet lab up ${file} --only '${name}'`];
        for (const line of [text!, ...again, ...(verdict.netboot ?? []), ...verdict.consoleTail!.map(tail => `| ${tail}`)]) stdout.write(`  ${line}\n`);
      });
      if (running.interrupted !== undefined) break;
    }
  } finally {
    clearTimeout(timer);
    for (const undo of off) undo();
  }
  const failed = verdicts.filter(({ ok }) => !ok).length;
  const code = running.interrupted ?? (verdicts.length === 0 ? 2 : failed > 0 ? 1 : 0);
  const seed = flags.seed ?? definition.seed;
  const report = { schema: 1, exitCode: code, seed: typeof seed === 'string' ? seedOf(seed) : typeof seed === 'bigint' ? String(seed) : seed, passed: verdicts.length - failed, failed, guestTimeNs, wallMs: Math.round(performance.now() - startMs), tests: verdicts };
  if (flags.json) stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
  else stdout.write(`${verdicts.length - failed} passed, ${failed} failed\n`);
  if (flags.result !== undefined) writeFileSync(flags.result, `${JSON.stringify(report, undefined, 2)}\n`);
  if (running.interrupted !== undefined) notes.warn(running.interrupted === 124 ? 'the time limit is over' : 'interrupted');
  else if (verdicts.length === 0) notes.warn(flags.only === undefined ? 'there was nothing to run' : `no test has '${flags.only}' in its name`);
  return code;
};

/** Lines of a console with the machine's name before them. */
const prefixed = (vm: VM, name: string, write: (text: string) => void): void => {
  let line = '';
  vm.serial.onData = data => {
    line += Buffer.from(data).toString('utf8');
    const lines = line.split('\n');
    line = lines.pop()!;
    for (const whole of lines) write(`${name}| ${whole.replace(/\r/g, '')}\n`);
  };
};
