import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { MachineExit } from '../../src/host/machine.js';
import { cli, FakeIo } from '../support/cli.js';
import { type FakeMachine, fakeMachines } from '../support/fake-machine.js';
import { hostRunsAgents } from '../support/native-agent.js';

const folder = mkdtempSync(join(tmpdir(), 'vmlet-cli-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
writeFileSync(join(folder, 'plain'), 'no program\n', { mode: 0o644 });

const PANIC = '[    1.000000] Kernel panic - not syncing: Attempted to kill init!\r\n[    1.000001] ---[ end Kernel panic - not syncing: Attempted to kill init! ]---\r\n';
const agent = () => fakeMachines(machine => machine.startAgent());
const ends = (exit: Omit<MachineExit, 'instructions' | 'timeNs'>, says = '') =>
  fakeMachines(machine => {
    machine.say(says);
    machine.end(exit);
  });

describe.skipIf(!hostRunsAgents)('a command in the guest', () => {
  it.each<[string, string[], number]>([
    ['success', ['true'], 0],
    ['failure', ['false'], 1],
    ['its own code', ['sh', '-c', 'exit 7'], 7],
    ['codes that we use too', ['sh', '-c', 'exit 124'], 124],
    ['255', ['sh', '-c', 'exit 255'], 255],
    ['a signal', ['sh', '-c', 'kill -9 $$'], 137],
    ['a segmentation fault', ['sh', '-c', 'kill -SEGV $$'], 139],
    ['a program that is not there', ['no-such-program'], 127],
    ['a path that is not there', ['/no/such/program'], 127],
    ['a file that is no program', [join(folder, 'plain')], 126],
  ])('gives its exit code: %s', async (_, command, code) => {
    expect((await cli(['run', '--', ...command], { internals: agent() })).code).toBe(code);
  });

  it('has its bytes untouched and our notes elsewhere', async () => {
    const result = await cli(['run', '--', 'sh', '-c', String.raw`printf '\000\377\r\nout'; printf err >&2`], { internals: agent() });
    expect(result.io.stdout.bytes).toEqual(Buffer.from([0, 255, 13, 10, 111, 117, 116]));
    expect(result.stderr).toBe('err');
  });

  it('gets standard input, environment and folder', async () => {
    const result = await cli(['run', '-e', 'A=1 2', '-e', 'B', '-e', 'NOT_SET', '-w', folder, '--', 'sh', '-c', 'cat; echo "|$A|$B|$(pwd)|${NOT_SET-unset}"'], { input: 'in\0put', internals: agent(), env: { B: 'host' } });
    expect(result.stdout).toBe(`in\0put|1 2|host|${folder}|unset\n`);
  });

  it('says why it could not start', async () => {
    expect(await cli(['run', '--', 'no-such-program'], { internals: agent() })).toMatchObject({ stdout: '', stderr: "vmlet: there is no program 'no-such-program' in the guest\n" });
    expect(await cli(['run', '-w', '/no/such', '--', 'true'], { internals: agent() })).toMatchObject({ code: 125, stderr: expect.stringContaining('working folder') });
    expect(await cli(['run', '-u', 'nobody-at-all', '--', 'true'], { internals: agent() })).toMatchObject({ code: 125, stderr: expect.stringContaining('no such user') });
  });

  it('gets Ctrl-C, and ends the run by it', async () => {
    const io = new FakeIo();
    io.stdout.onText = () => io.signal('SIGINT');
    expect((await cli(['run', '--', 'sh', '-c', 'echo up; exec sleep 1000'], { io, internals: agent() })).code).toBe(130);
  });

  it('may handle Ctrl-C', async () => {
    const io = new FakeIo();
    io.stdout.onText = text => text === 'up\n' && io.signal('SIGINT');
    const result = await cli(['run', '--', 'sh', '-c', 'trap "echo caught; exit 5" INT; echo up; sleep 1000 & wait'], { io, internals: agent() });
    expect(result).toMatchObject({ code: 5, stdout: 'up\ncaught\n' });
  });

  it('is powered off by the second Ctrl-C and killed by the third', async () => {
    const io = new FakeIo();
    const machines = agent();
    io.stdout.onText = () => {
      io.signal('SIGINT');
      io.signal('SIGINT');
      io.signal('SIGINT');
    };
    const result = await cli(['run', '--', 'sh', '-c', 'trap "" INT; echo up; sleep 1000'], { io, internals: machines });
    expect(result.code).toBe(130);
    expect(result.stderr).toContain('powering the guest off');
  });

  it('gets SIGTERM', async () => {
    const io = new FakeIo();
    io.stdout.onText = () => io.signal('SIGTERM');
    expect((await cli(['run', '--', 'sh', '-c', 'echo up; exec sleep 1000'], { io, internals: agent() })).code).toBe(143);
  });

  it('is killed when it does not heed SIGTERM', async () => {
    const io = new FakeIo();
    io.stdout.onText = () => io.signal('SIGTERM');
    expect((await cli(['run', '--stop-timeout', '50ms', '--', 'sh', '-c', 'trap "" TERM; echo up; sleep 1000'], { io, internals: agent() })).code).toBe(143);
  });

  it('ends cleanly when nobody reads its output', async () => {
    const io = new FakeIo();
    io.stdout.failure = 'EPIPE';
    const result = await cli(['run', '--', 'yes'], { io, internals: agent() });
    expect(result).toMatchObject({ code: 141, stderr: '' });
  });

  it('tells a full disk from a broken pipe', async () => {
    const io = new FakeIo();
    io.stdout.failure = 'ENOSPC';
    const result = await cli(['run', '--', 'yes'], { io, internals: agent() });
    expect(result).toMatchObject({ code: 125, stderr: expect.stringContaining('cannot be written') });
  });

  it('has a terminal with -t, and the host terminal is restored', async () => {
    const io = new FakeIo({ TERM: 'xterm' }).terminal(91, 17);
    const result = await cli(['run', '-t', '--', 'sh', '-c', 'stty size; echo $TERM'], { io, internals: agent() });
    expect(result.stdout).toBe('17 91\r\nxterm\r\n');
    expect(io.rawModes).toEqual([true, false]);
  });

  it('is documented by --result', async () => {
    const path = join(folder, 'result.json');
    await cli(['run', '--seed', '9', '--result', path, '--', 'sh', '-c', 'kill -TERM $$'], { internals: agent() });
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ schema: 1, reason: 'signal', exitCode: 143, signal: 'SIGTERM', stage: 'command', seed: 9, stateHash: 'f'.repeat(64), artifacts: [] });
    expect(readdirSync(folder).filter(name => name.includes('.tmp'))).toEqual([]);
  });

  it('is one document with --json', async () => {
    const result = await cli(['run', '--json', '--', 'sh', '-c', 'echo out; echo err >&2; exit 3'], { internals: agent() });
    expect(result).toMatchObject({ code: 3, stderr: '' });
    expect(JSON.parse(result.stdout)).toMatchObject({ schema: 1, reason: 'exit', exitCode: 3, stdout: 'out\n', stderr: 'err\n' });
  });
});

describe('a guest that dies under its command', () => {
  const last = 'last words\r\n';
  it.each<[string, Omit<MachineExit, 'instructions' | 'timeNs'>, string, number, string]>([
    ['power off', { reason: 'poweroff' }, '', 255, 'poweroff'],
    ['reset', { reason: 'reset', cause: 'reset-control' }, '', 255, 'reset'],
    ['triple fault', { reason: 'reset', cause: 'triple-fault' }, '', 255, 'reset'],
    ['panic with reset', { reason: 'reset', cause: 'keyboard-controller' }, PANIC.split('---')[0], 255, 'panic'],
    ['panic', { reason: 'stopped' }, PANIC, 255, 'panic'],
    ['halt', { reason: 'halted' }, '', 255, 'halted'],
    ['time limit', { reason: 'timeout' }, '', 124, 'timeout'],
    ['our failure', { reason: 'host-error', error: new Error('of ours') }, '', 125, 'host-error'],
    ['debug exit', { reason: 'debug-exit', code: 7 }, '', 7, 'exit'],
  ])('%s', async (_, exit, says, code, reason) => {
    const path = join(folder, 'death.json');
    const result = await cli(['run', '--result', path, '--', 'true'], { internals: ends(exit, last + says) });
    expect(result.code).toBe(code);
    expect(result.stdout).toBe('');
    if (reason !== 'exit') expect(result.stderr).toMatch(/^vmlet: /m);
    if (code === 255 || code === 124) expect(result.stderr).toContain('last words\n');
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ reason, exitCode: code, stage: 'kernel', consoleTail: expect.arrayContaining(['last words']) });
  });

  it('is cut off by real time', async () => {
    const result = await cli(['run', '--wall-timeout', '30ms', '--', 'true'], { internals: fakeMachines(() => {}) });
    expect(result).toMatchObject({ code: 124, stderr: expect.stringContaining('time limit') });
    expect(result.stderr).toContain("stage 'loader'");
  });

  it('shows 50 lines of the console, or all with -v', async () => {
    const lines = Array.from({ length: 80 }, (_, i) => `line ${i}\r\n`).join('');
    const quiet = await cli(['run', '--', 'true'], { internals: ends({ reason: 'halted' }, lines) });
    expect(quiet.stderr.match(/^line \d+$/gm)).toHaveLength(50);
    const verbose = await cli(['run', '-v', '--', 'true'], { internals: ends({ reason: 'halted' }, lines) });
    expect(verbose.stderr.match(/^line \d+\r?$/gm)).toHaveLength(80);
  });

  it('is left by Ctrl-C before the command runs', async () => {
    const io = new FakeIo();
    const internals = fakeMachines(() => io.signal('SIGINT'));
    expect((await cli(['run', '--', 'true'], { io, internals })).code).toBe(130);
    const starting = new FakeIo();
    const slow = { ...fakeMachines(() => {}), prepare: (_: unknown, { signal }: { signal?: AbortSignal }) => new Promise<never>((_resolve, reject) => {
      signal!.addEventListener('abort', () => reject(signal!.reason as Error));
      setImmediate(() => starting.signal('SIGINT'));
    }) };
    expect((await cli(['run', '--', 'true'], { io: starting, internals: slow })).code).toBe(130);
  });
});

describe('a console', () => {
  const boots = (script: (machine: FakeMachine) => void = machine => machine.end({ reason: 'poweroff' })) =>
    fakeMachines(machine => {
      machine.say('hello\r\n');
      script(machine);
    });

  it('is on standard output when there is no command, until the guest powers off', async () => {
    expect(await cli(['run', '-k', 'kernel'], { internals: boots() })).toMatchObject({ code: 0, stdout: 'hello\r\n', stderr: '' });
  });

  it('gives debug exits and debug output', async () => {
    const internals = boots(machine => {
      machine.options.debugcon!.write(new TextEncoder().encode('debug\n'));
      machine.end({ reason: 'debug-exit', code: 33 });
    });
    const result = await cli(['run', '-k', 'kernel.elf', '--debug-exit', '0xf4', '--debugcon', '233'], { internals });
    expect(result).toMatchObject({ code: 33, stdout: 'hello\r\ndebug\n' });
    expect(internals.made[0].options).toMatchObject({ debugExitPort: 0xf4, debugconPort: 0xe9 });
  });

  it.each([
    ['reset', { reason: 'reset' as const, cause: 'port-92' as const }, 255],
    ['halt', { reason: 'halted' as const }, 255],
    ['time limit', { reason: 'timeout' as const }, 124],
  ])('tells of a %s', async (_, exit, code) => {
    expect(await cli(['run', '-k', 'kernel'], { internals: boots(machine => machine.end(exit)) })).toMatchObject({ code, stderr: expect.stringMatching(/^vmlet: the /) });
  });

  it('types what comes on standard input', async () => {
    const internals = boots(machine => {
      machine.onTyped = () => machine.typedText === 'typed\n' && machine.end({ reason: 'poweroff' });
      machine.onTyped(new Uint8Array(0));
    });
    expect((await cli(['run', '-k', 'kernel'], { input: 'typed\n', internals })).code).toBe(0);
  });

  it('takes over a terminal, knows its escape keys and gives it back', async () => {
    const io = new FakeIo({ TERM: 'screen' }).terminal();
    const internals = boots(machine => {
      machine.onTyped = () => {
        if (machine.typedText.endsWith('b')) io.stdin.write(Buffer.from('\x01h\x01c\x01\x01\x01x'));
      };
      io.stdin.write('a');
      io.stdin.write('b');
    });
    const result = await cli(['run'], { io, internals });
    expect(result.code).toBe(0);
    expect(internals.made[0].typedText).toBe('ab\x01');
    expect(internals.made[0].options.time).toBe('realtime');
    expect(io.rawModes).toEqual([true, false]);
    expect(result.stderr).toMatch(/Ctrl-A x {3}quit/);
    expect(result.stderr).toMatch(/million instructions/);
  });

  it('gives a terminal back when something goes wrong', async () => {
    const io = new FakeIo().terminal();
    const result = await cli(['run'], { io, internals: boots(machine => machine.end({ reason: 'host-error', error: new Error('odd') })) });
    expect(result.code).toBe(125);
    expect(io.rawModes).toEqual([true, false]);
  });
});
