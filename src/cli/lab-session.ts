// One `vmlet lab up`, from the file to the verdict.
import { writeFileSync } from 'node:fs';
import { parseDuration } from '../config.js';
import { Lab } from '../lab.js';
import { type LabTest, parseLab } from '../lab-file.js';
import { formatEvent } from '../pxe/log.js';
import type { VM } from '../vm.js';
import { errorText } from './exit-codes.js';
import { Notes } from './io.js';
import { readNamedFile } from './netboot-serve.js';
import { checkResultPath } from './result.js';
import type { CliContext } from './run-cli.js';

export interface LabFlags {
  seed?: string;
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

/** 0: all tests pass, or all machines of a lab without tests powered off. 1: not so. 2: there was nothing to run. */
export const labUp = async (file: string, flags: LabFlags, { io, stdout, stderr, internals }: CliContext): Promise<number> => {
  const notes = new Notes(stderr, flags.quiet);
  if (flags.result !== undefined) checkResultPath(flags.result);
  const { definition, tests, servers } = parseLab(readNamedFile(file, 'the lab').toString('utf8'), file);
  const seed = flags.seed === undefined ? definition.seed : /^\d{1,15}$/.test(flags.seed) ? Number(flags.seed) : flags.seed;
  const wallMs = flags.wallTimeout === undefined ? undefined : parseDuration(flags.wallTimeout, '--wall-timeout', 's') / 1e6;
  const names = Object.keys(definition.vms);
  if (flags.dryRun) {
    notes.say(`all is well: ${names.length} machines, ${Object.keys(definition.switches ?? {}).length} switches, ${tests.length} tests`);
    return 0;
  }
  let interrupted: number | undefined;
  const startMs = performance.now();
  let lab: Lab | undefined;
  const end = (code: number) => (): void => {
    interrupted ??= code;
    void lab?.stop();
  };
  const off = [io.onSignal('SIGINT', end(130)), io.onSignal('SIGTERM', end(143)), io.onSignal('SIGHUP', end(143))];
  const timer = wallMs === undefined ? undefined : setTimeout(end(124), Math.min(wallMs, 0x7fff_ffff));
  const verdicts: TestVerdict[] = [];
  try {
    lab = await Lab.up({ ...definition, seed, onProgress: text => notes.say(text), onGuestLog: flags.verbose ? (line, vm) => notes.say(`${vm}: device: ${line}`) : undefined }, internals);
    if (interrupted !== undefined) await lab.stop();
    if (flags.verbose) for (const [name, vm] of lab.vms) prefixed(vm, name, text => stderr.write(text));
    const story = (vm: VM): string[] | undefined => {
      if (vm.netboot === undefined) return undefined;
      const refused = [...servers.values()].flatMap(({ journal }) => journal.events).filter(({ outcome }) => outcome === 'refused' || outcome === 'failed');
      return [vm.netboot.diagnosis.text, ...vm.netboot.story.slice(-TAIL_LINES), ...refused.slice(-5).map(event => formatEvent(event))];
    };
    const judge = (name: string, vm: VM, vmName: string, text: string | undefined): void => {
      const verdict: TestVerdict = { name, vm: vmName, ok: text === undefined, guestTimeNs: vm.now, ...(text === undefined ? {} : { text, consoleTail: vm.serial.tail(TAIL_LINES), netboot: story(vm) }) };
      verdicts.push(verdict);
      if (flags.json) return;
      stdout.write(`${verdict.ok ? 'ok' : 'not ok'} ${verdicts.length} - ${name} (${vmName})\n`);
      if (verdict.ok) return;
      for (const line of [text!, ...(verdict.netboot ?? []), ...verdict.consoleTail!.map(tail => `| ${tail}`)]) stdout.write(`  ${line}\n`);
    };
    for (const test of tests) {
      const results = await Promise.all(test.vms.map(async name => [name, await runTest(test, lab!.vm(name))] as const));
      if (interrupted !== undefined) break;
      for (const [name, text] of results) judge(test.name, lab.vm(name), name, text);
    }
    if (tests.length === 0) {
      const exits = await lab.wait();
      if (interrupted === undefined) {
        for (const [name, exit] of exits) judge('ends by itself', lab.vm(name), name, exit.reason === 'poweroff' || (exit.reason === 'debug-exit' && exit.code === 1) ? undefined : exit.text);
      }
    }
  } finally {
    clearTimeout(timer);
    for (const undo of off) undo();
    await lab?.stop();
  }
  const failed = verdicts.filter(({ ok }) => !ok).length;
  const code = interrupted ?? (verdicts.length === 0 ? 2 : failed > 0 ? 1 : 0);
  const report = { schema: 1, exitCode: code, seed: typeof seed === 'bigint' ? String(seed) : seed, passed: verdicts.length - failed, failed, guestTimeNs: lab?.now ?? 0, wallMs: Math.round(performance.now() - startMs), tests: verdicts };
  if (flags.json) stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
  else stdout.write(`${verdicts.length - failed} passed, ${failed} failed\n`);
  if (flags.result !== undefined) writeFileSync(flags.result, `${JSON.stringify(report, undefined, 2)}\n`);
  if (interrupted !== undefined) notes.warn(interrupted === 124 ? 'the time limit is over' : 'interrupted');
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
