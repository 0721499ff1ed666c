import { Command, CommanderError } from 'commander';
import { readFileSync } from 'node:fs';
import { CliExit, errorText, ExitCode } from './exit-codes.js';
import type { VMInternals } from '../vm.js';
import { type CliIo, Notes, Output, processIo } from './io.js';

/** What the commands are given. */
export interface CliContext {
  /** For tests. */
  internals?: VMInternals;
  io: CliIo;
  stdout: Output;
  stderr: Output;
}

const version = (): string => (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }).version;

/**
 * Runs a command line, without the program's name, and returns the exit code. Never throws. Everything behind a bare `--` is a command
 * for the guest.
 */
export const runCli = async (argv: readonly string[], io: CliIo = processIo(), internals?: VMInternals): Promise<number> => {
  const stdout = new Output(io.stdout);
  const stderr = new Output(io.stderr);
  const notes = new Notes(stderr);
  const context: CliContext = { io, stdout, stderr, internals };
  const dashes = argv.indexOf('--');
  const own = dashes < 0 ? [...argv] : argv.slice(0, dashes);
  const guestCommand = dashes < 0 ? undefined : argv.slice(dashes + 1);
  let code: number = ExitCode.OK;
  try {
    const program = new Command('vmlet');
    program
      .description('Whole x86 machines, headless, anywhere Node.js runs')
      .version(version(), '-V, --version', 'print the version')
      .helpOption('-h, --help', 'print help')
      .exitOverride()
      .enablePositionalOptions()
      .configureOutput({ writeOut: text => stdout.write(text), writeErr: text => notes.warn(text.replace(/^error: /, '').trimEnd()) });
    const { addRunCommand } = await import('./commands/run.js');
    addRunCommand(program, context, guestCommand, result => (code = result));
    if (own[0] !== 'run') {
      const [{ addImageCommand }, { addDoctorCommand }, { addNetbootCommand }, { addLabCommand }] = await Promise.all([
        import('./commands/image.js'),
        import('./commands/doctor.js'),
        import('./commands/netboot.js'),
        import('./commands/lab.js'),
      ]);
      addNetbootCommand(program, context, result => (code = result));
      addLabCommand(program, context, result => (code = result));
      addImageCommand(program, context, result => (code = result));
      addDoctorCommand(program, context, result => (code = result));
      if (guestCommand !== undefined && own.length > 0 && !own[0].startsWith('-')) program.error(`'--' and a command come behind 'run' only`);
    }
    if (own.length === 0 && guestCommand === undefined) {
      stdout.write(program.helpInformation());
    } else {
      await program.parseAsync(own, { from: 'user' });
    }
  } catch (error) {
    if (error instanceof CliExit) code = error.code;
    else if (error instanceof CommanderError) code = error.exitCode === 0 ? ExitCode.OK : ExitCode.HOST;
    else {
      notes.warn(errorText(error));
      code = ExitCode.HOST;
    }
  }
  await Promise.all([stdout.flush(), stderr.flush()]);
  if (stdout.brokenPipe) code = ExitCode.BROKEN_PIPE;
  else if (stdout.error !== undefined) {
    notes.warn(`standard output cannot be written: ${stdout.error.message}`);
    await stderr.flush();
    code = ExitCode.HOST;
  }
  stdout.detach();
  stderr.detach();
  return code;
};
