import type { Command } from 'commander';
import type { LabFlags } from '../lab-session.js';
import type { CliContext } from '../run-cli.js';

export const addLabCommand = (program: Command, context: CliContext, done: (code: number) => void): void => {
  const lab = program.command('lab').description('several machines on virtual switches, and a verdict').helpCommand(false);
  lab
    .command('up')
    .description('start a lab, run its tests and end with their verdict: 0 when all pass, 1 when one fails; without tests it runs until its machines end')
    .argument('<file>', 'the lab, in YAML')
    .option('--seed <seed>', 'equal seeds give equal runs (default: the seed of the file)')
    .option('--only <text>', 'run only tests that have this in their names; runs of a matrix have names such as "boots [image=i386, seed=3]"')
    .option('--wall-timeout <time>', 'end the lab after this much real time')
    .option('--json', 'print one JSON document at the end in place of output')
    .option('--result <file>', 'write the verdict to a file, as JSON')
    .option('--dry-run', 'check the file, run nothing')
    .option('-q, --quiet', 'no notes but errors')
    .option('-v, --verbose', "show the machines' consoles on standard error")
    .action(async (file: string, flags: LabFlags) => {
      const { labUp } = await import('../lab-session.js');
      done(await labUp(file, flags, context));
    });
};
