import type { Command } from 'commander';
import { checkOptions, configError, parseDuration, type VMConfig, type VMOptions } from '../../config.js';
import type { CliContext } from '../run-cli.js';
import { addRunOptions, guestEnv, parseEscape, type RunFlags, vmOptions, withEnvironment } from '../run-options.js';

/** All that `vmlet run` was asked for, checked. */
export interface RunPlan {
  options: VMOptions;
  config: VMConfig;
  flags: RunFlags;
  /** The command for the guest; undefined for a console. */
  command: readonly string[] | undefined;
  env: Record<string, string>;
  escape: number | undefined;
  /** Whether this terminal is the guest's console. */
  interactive: boolean;
  stopTimeoutMs: number;
  /** The run ends well when the console says this, and only then. */
  expect?: RegExp;
  /** What is typed when the console says something, in this order. */
  answers?: readonly { readonly pattern: RegExp; readonly keys: string }[];
}

/** Whether there is something to boot from and nothing that starts without firmware. */
const bootsByFirmware = ({ kernel, image, boot, floppies, cdroms }: VMOptions): boolean =>
  kernel === undefined && image === undefined && (boot ?? floppies ?? cdroms) !== undefined;

const plan = (flags: RunFlags, image: string | undefined, command: readonly string[] | undefined, context: CliContext): RunPlan => {
  const { io } = context;
  if (command !== undefined && command.length === 0) throw configError("there is no command behind '--'", 'for instance: vmlet run -- uname -a');
  const atTerminal = io.stdinKind() === 'tty' && io.stdout.isTTY === true;
  const interactive = command === undefined && atTerminal && !flags.json;
  const options = vmOptions(flags, image);
  if (flags.display !== undefined && !['none', 'text'].includes(flags.display)) throw configError(`--display: '${flags.display}' is not known`, 'use none or text');
  if (flags.display === 'text' && command !== undefined) throw configError('--display text shows the screen, and a command has its output', 'leave one of them out');
  const wantsRealTime = interactive || (flags.tty === true && io.stdinKind() === 'tty');
  options.time ??= wantsRealTime ? 'realtime' : 'warp';
  if (command === undefined) {
    if (flags.env || flags.cwd !== undefined || flags.user !== undefined || flags.tty) {
      throw configError('--env, --cwd, --user and --tty are for a command', "put it behind '--': vmlet run -- CMD");
    }
    if (options.kernel === undefined && options.bios === undefined && !bootsByFirmware(options)) {
      // The agent tells the console the size of this terminal.
      options.agent = interactive;
      options.shell = true;
      options.term = io.env.TERM === undefined || io.env.TERM === 'dumb' ? 'linux' : io.env.TERM;
      if (interactive) Object.assign(options, { columns: io.stdout.columns || 80, rows: io.stdout.rows || 24 });
    }
  } else {
    options.agent = true;
    options.shell = false;
    // What is shown of the console is its end, when something goes wrong.
    if (options.kernel === undefined && !flags.verbose && !flags.consoleLog) options.append = options.append === undefined ? 'quiet' : `quiet ${options.append}`;
  }
  return {
    options,
    config: checkOptions(options),
    flags,
    command,
    env: guestEnv(flags.env, io),
    escape: parseEscape(flags.escape),
    interactive,
    stopTimeoutMs: parseDuration(flags.stopTimeout ?? '10s', '--stop-timeout', 's') / 1e6,
  };
};

const configText = ({ config, command, env, flags }: RunPlan): string => {
  const shown = { ...config, seed: typeof config.seed === 'bigint' ? String(config.seed) : config.seed, command, env, cwd: flags.cwd, user: flags.user };
  return `${JSON.stringify(shown, undefined, 2)}\n`;
};

export const addRunCommand = (program: Command, context: CliContext, guestCommand: readonly string[] | undefined, done: (code: number) => void): void => {
  const command = program
    .command('run')
    .description('run one command in a fresh guest, or open its console')
    .argument('[image]', 'amd64 (default), amd64-generic, i386 or i386-pae')
    .usage('[options] [image] [-- command...]')
    .showSuggestionAfterError(true);
  addRunOptions(command).action(async (image: string | undefined) => {
    const flags = withEnvironment(command, context.io);
    const run = plan(flags, image, guestCommand, context);
    if (flags.printConfig) {
      context.stdout.write(configText(run));
      return done(0);
    }
    const { RunSession } = await import('../run-session.js');
    done(await new RunSession(run, context, context.internals).execute());
  });
};
