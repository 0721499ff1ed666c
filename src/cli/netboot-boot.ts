import type { Command } from 'commander';
import { checkOptions, configError } from '../config.js';
import type { NetbootOptions } from '../config-netboot.js';
import type { RunPlan } from './commands/run.js';
import { readRules } from './netboot-serve.js';
import { parseEscape, type RunFlags, vmOptions, withEnvironment } from './run-options.js';
import type { CliContext } from './run-cli.js';

interface BootFlags extends Omit<RunFlags, 'initrd'> {
  tftp?: string;
  file?: string;
  initrd?: string[];
  http?: string;
  rules?: string;
  ipxe?: string;
  expect?: string;
  answer?: string[];
}

/** Plain text, or a pattern between slashes. */
const parseExpect = (text: string, flag: string): RegExp => {
  const slashes = /^\/(.*)\/([a-z]*)$/s.exec(text);
  try {
    return slashes ? new RegExp(slashes[1], slashes[2]) : new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  } catch (error) {
    throw configError(`${flag}: ${(error as Error).message}`);
  }
};

const KEYS: Readonly<Record<string, string>> = { r: '\r', n: '\n', t: '\t', e: '\x1b', '\\': '\\' };

/** TEXT=KEYS, where the keys may have escapes. */
const parseAnswer = (answer: string): { pattern: RegExp; keys: string } => {
  const [, text, keys] = /^(\/.+\/[a-z]*|[^=]+)=(.*)$/s.exec(answer) ?? [];
  if (text === undefined) throw configError(`--answer: '${answer}' is not TEXT=KEYS`, "for instance --answer 'boot:=install\\r'");
  return { pattern: parseExpect(text, '--answer'), keys: keys.replace(/\\(?:x([0-9a-f]{2})|(.))/gis, (whole, hex: string | undefined, letter: string) => (hex ? String.fromCharCode(parseInt(hex, 16)) : (KEYS[letter] ?? whole))) };
};

/** All that `netboot boot` was asked for, checked. Throws ERR_VMLET_CONFIG. */
export const netbootPlan = (command: Command, context: CliContext): RunPlan => {
  const { io } = context;
  const flags = withEnvironment(command, io) as unknown as BootFlags;
  const { tftp, file, kernel, initrd, append, http, ipxe, rules, expect, answer, ...machine } = flags;
  const netboot: NetbootOptions = { tftp, file, kernel, initrd, append, url: http, ipxe, rules: rules === undefined ? undefined : readRules(rules).rules };
  for (const key of Object.keys(netboot) as (keyof NetbootOptions)[]) if (netboot[key] === undefined) delete netboot[key];
  const options = { ...vmOptions(machine as RunFlags, undefined), netboot };
  const atTerminal = io.stdinKind() === 'tty' && io.stdout.isTTY === true;
  const interactive = atTerminal && !machine.json && expect === undefined && answer === undefined;
  options.time ??= interactive ? 'realtime' : 'warp';
  return {
    options,
    config: checkOptions(options),
    flags: machine as RunFlags,
    command: undefined,
    env: {},
    escape: parseEscape(machine.escape),
    interactive,
    stopTimeoutMs: 10_000,
    ...(expect === undefined ? {} : { expect: parseExpect(expect, '--expect') }),
    ...(answer === undefined ? {} : { answers: answer.map(parseAnswer) }),
  };
};
