// The guest's console on this terminal, or on plain streams.
import type { VM } from '../vm.js';
import { formatNs } from '../config.js';
import type { RunPlan } from './commands/run.js';
import type { Notes } from './io.js';
import type { CliContext } from './run-cli.js';
import type { StdinReader } from './stdin.js';
import { EscapeKeys, helpLines, keyName, type RawTerminal } from './terminal.js';

const CTRL_D = Uint8Array.of(0x04);
/** A shell's or a login's, and behind it the question for the cursor's place that busybox asks. */
const PROMPT = /(?:[#$%>] |(?:login|assword): ?)(?:\x1b\[6n)?$/;

export interface ConsoleParts {
  stdin: StdinReader | undefined;
  terminal: RawTerminal;
  notes: Notes;
  quit(): void;
}

/** Joins standard input to the serial line; returns what undoes it. */
export const attachConsole = async (plan: RunPlan, context: CliContext, vm: VM, parts: ConsoleParts): Promise<() => void> =>
  plan.interactive ? attachTerminal(plan, context, vm, parts) : attachStreams(vm, parts.stdin!);

const attachTerminal = (plan: RunPlan, context: CliContext, vm: VM, { terminal, notes, quit }: ConsoleParts): (() => void) => {
  const { io } = context;
  const { escape } = plan;
  const startMs = performance.now();
  const suspend = (): void => {
    terminal.leave();
    void vm.pause().then(() => io.suspend());
  };
  const keys = new EscapeKeys(escape, action => {
    if (action === 'quit') quit();
    else if (action === 'suspend') suspend();
    else if (action === 'help') notes.lines(['', ...helpLines(escape!)]);
    else {
      const mips = vm.instructions / 1e3 / (performance.now() - startMs);
      notes.lines(['', `stage ${vm.stage}, guest time ${formatNs(vm.now)}, ${(vm.instructions / 1e6).toFixed(0)} million instructions, ${mips.toFixed(0)} MIPS`]);
    }
  });
  if (!plan.flags.quiet && escape !== undefined) notes.say(`the guest's console; ${keyName(escape)} x quits, ${keyName(escape)} h helps`);
  const onData = (data: Buffer | string): void => vm.serial.send(keys.feed(typeof data === 'string' ? Buffer.from(data) : data));
  terminal.enter();
  notes.raw = true;
  io.stdin.on('data', onData);
  // A terminal that hangs up ends its console.
  io.stdin.on('end', quit);
  const off = [
    io.onSignal('SIGWINCH', () => vm.resizeConsole(io.stdout.columns || 80, io.stdout.rows || 24)),
    io.onSignal('SIGTSTP', suspend),
    io.onSignal('SIGCONT', () => {
      terminal.enter();
      vm.resume();
    }),
  ];
  return () => {
    for (const undo of off) undo();
    io.stdin.off('data', onData);
    io.stdin.off('end', quit);
    io.stdin.pause();
  };
};

const attachStreams = async (vm: VM, stdin: StdinReader): Promise<() => void> => {
  await stdin.settle();
  const shell = vm.guest.image !== undefined && vm.config.shell;
  let release = (): void => {};
  const connect = (): void =>
    stdin.connect({
      write: data => vm.serial.send(data),
      // A shell on a terminal ends with its input.
      end: () => {
        if (shell) vm.serial.send(CTRL_D);
      },
      live: () => (release = vm.holdRealTime()),
      over: () => release(),
    });
  // A serial line forgets what comes before someone opens it: Linux gets its input at the first prompt, or when it should be up.
  if (vm.guest.linux) void vm.serial.expect(PROMPT, { timeout: shell ? '1h' : '30s' }).then(connect, connect);
  else connect();
  return () => {};
};
