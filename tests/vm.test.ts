import { describe, expect, it } from 'vitest';
import { CommandExitError, VM, VmletError, type VMOptions } from '../src/index.js';
import { type FakeMachine, fakeMachines } from './support/fake-machine.js';
import { hostRunsAgents } from './support/native-agent.js';

const start = async (script: (machine: FakeMachine) => void = () => {}, options: VMOptions = {}): Promise<{ vm: VM; machine: FakeMachine }> => {
  const internals = fakeMachines(script);
  const vm = await VM.start({ kernel: 'kernel', ...options }, internals);
  return { vm, machine: internals.made[0] };
};

describe('VM options', () => {
  it.each<[Record<string, unknown>, RegExp]>([
    [{ memroy: 1 }, /'memroy' is not an option/],
    [{ memory: '12X' }, /no size/],
    [{ memory: 5000 }, /between 1M and 3G/],
    [{ seed: 1.5 }, /no whole number/],
    [{ disks: [{ path: '' }] }, /needs a path/],
    [{ disks: [{ path: 'a', readOnly: true, snapshot: true }] }, /exclude each other/],
    [{ kernel: '' }, /not empty/],
    [{ append: 'a\0b', kernel: 'k' }, /zero byte/],
    [{ onReset: 'explode' }, /onReset: 'explode'/],
    [{ timeout: -1 }, /no length of time/],
  ])('%j is refused', async (options, message) => {
    const failure = VM.start(options as VMOptions, fakeMachines(() => {}));
    await expect(failure).rejects.toThrow(message);
    await expect(failure).rejects.toMatchObject({ code: 'ERR_VMLET_CONFIG' });
  });

  it('reach the machine in plain units', async () => {
    const { vm, machine } = await start(undefined, { memory: '64M', seed: 'x', timeout: '2m', time: 'frozen=@86400', debugExit: 0xf4, onReset: 'reboot' });
    expect(machine.options).toMatchObject({ memoryBytes: 2 ** 26, seed: 'x', timeoutNs: 120e9, time: 'warp', epochSeconds: 86400, debugExitPort: 0xf4, rebootAction: 'reset' });
    await vm.stop();
  });
});

describe('a VM', () => {
  it('stands still while nothing of it is awaited', async () => {
    const { vm, machine } = await start(fake => {
      fake.say('login: ');
      fake.clock.advance(1e6);
    });
    expect(machine.running).toBe(false);
    await vm.serial.expect(/login: $/);
    expect(vm.serial.text).toBe('login: ');
    expect(machine.running).toBe(false);
    await vm.stop();
  });

  it('runs by itself in real time', async () => {
    const { vm, machine } = await start(undefined, { time: 'realtime' });
    expect(machine.running).toBe(true);
    await vm.pause();
    expect(machine.running).toBe(false);
    vm.resume();
    expect(machine.running).toBe(true);
    await vm.stop();
  });

  it('tells how it ended', async () => {
    const { vm } = await start(machine => {
      machine.say('[    0.1] Linux version 6.1\r\n');
      machine.end({ reason: 'reset', cause: 'triple-fault' });
    });
    expect(await vm.wait()).toMatchObject({ reason: 'reset', cause: 'triple-fault', stage: 'kernel', consoleTail: ['[    0.1] Linux version 6.1'] });
    expect(await vm.exited).toMatchObject({ reason: 'reset' });
    expect(vm.alive).toBe(false);
    expect(await vm.stateHash()).toHaveLength(64);
  });

  it('ends by stop, by disposal and by a signal', async () => {
    const stopped = await start();
    expect(await stopped.vm.stop()).toMatchObject({ reason: 'stopped' });
    const disposed = await start();
    await disposed.vm[Symbol.asyncDispose]();
    expect(disposed.vm.alive).toBe(false);
    const abort = new AbortController();
    const signalled = await start(undefined, { signal: abort.signal });
    const waiting = signalled.vm.wait();
    abort.abort();
    expect(await waiting).toMatchObject({ reason: 'stopped' });
    await expect(start(undefined, { signal: abort.signal })).rejects.toMatchObject({ code: 'ERR_VMLET_ABORTED' });
  });

  it('ends when real time is up', async () => {
    const { vm } = await start(undefined, { wallTimeout: 20 });
    expect(await vm.wait()).toMatchObject({ reason: 'timeout', wall: true });
  });

  it('runs no commands without an agent', async () => {
    const { vm } = await start();
    expect(() => vm.spawn('true')).toThrow(/runs no commands/);
    await vm.stop();
  });

  it('can be asked to power off', async () => {
    const { vm, machine } = await start();
    const ended = vm.shutdown('1s');
    expect(machine.events).toEqual(['power button']);
    machine.clock.advance(2e9);
    expect(await ended).toMatchObject({ reason: 'stopped' });
  });
});

describe('the serial line', () => {
  const settled = (machine: FakeMachine, text: string): void => {
    machine.say(text);
    machine.clock.advance(1e6);
  };

  it('matches what was said before, then what comes, each piece once', async () => {
    const { vm, machine } = await start(fake => settled(fake, 'one two '));
    expect(await vm.serial.expect('one')).toMatchObject({ text: 'one', before: '' });
    expect(await vm.serial.expect(/t(w)o/)).toMatchObject({ text: 'two', groups: ['w'], before: ' ' });
    const next = vm.serial.expect('one');
    settled(machine, 'and one more');
    expect(await next).toMatchObject({ before: ' and ' });
    await vm.stop();
  });

  it('types', async () => {
    const { vm, machine } = await start();
    vm.serial.send('root\n');
    vm.serial.send(Uint8Array.of(255));
    expect(Buffer.concat(machine.typed)).toEqual(Buffer.from([...Buffer.from('root\n'), 255]));
    await vm.stop();
  });

  it('gives up after guest time, at the end of the machine, and by a signal', async () => {
    const { vm, machine } = await start(fake => fake.say('something else'));
    const late = vm.serial.expect('never', { timeout: '5s' });
    const handled = late.catch((error: unknown) => error);
    await new Promise(resolve => setImmediate(resolve));
    machine.clock.advance(6e9);
    const error = (await handled) as VmletError;
    expect(error).toBeInstanceOf(VmletError);
    expect(error.message).toMatch(/no "never" on the serial line: 5.000 s of guest time[^]*something else/);
    const abort = new AbortController();
    const aborted = vm.serial.expect('never', { signal: abort.signal });
    abort.abort();
    await expect(aborted).rejects.toMatchObject({ code: 'ERR_VMLET_ABORTED' });
    const cut = vm.serial.expect('never');
    machine.end({ reason: 'poweroff' });
    await expect(cut).rejects.toMatchObject({ code: 'ERR_VMLET_EXPECT' });
    await expect(vm.serial.expect('never')).rejects.toMatchObject({ code: 'ERR_VMLET_EXPECT' });
  });

  it('keeps the end without terminal escapes', async () => {
    const { vm, machine } = await start();
    machine.say('\x1b[1mbold\x1b[0m\r\nsecond\r\n');
    expect(vm.serial.tail()).toEqual(['bold', 'second']);
    await vm.stop();
  });
});

describe.skipIf(!hostRunsAgents)('commands', () => {
  const startAgent = () => start(machine => machine.startAgent(), { agent: true });

  it('give their output and exit code', async () => {
    const { vm } = await startAgent();
    expect(await vm.run(['sh', '-c', 'cat; echo err >&2'], { input: 'in' })).toMatchObject({ exitCode: 0, signal: undefined, stdout: 'in', stderr: 'err\n' });
    expect(await vm.run('echo $A; exit 3', { env: { A: 'b' }, check: false })).toMatchObject({ exitCode: 3, stdout: 'b\n' });
    expect(vm.stage).toBe('command');
    await vm.stop();
  });

  it('throw when they fail', async () => {
    const { vm } = await startAgent();
    const failure = await vm.run('echo why >&2; exit 4').catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(CommandExitError);
    expect(failure).toMatchObject({ code: 'ERR_VMLET_COMMAND', exitCode: 4, stderr: 'why\n', message: expect.stringContaining('why') });
    await expect(vm.run(['no-such-program'])).rejects.toMatchObject({ exitCode: 127, message: expect.stringContaining('no program') });
    await vm.stop();
  });

  it('can be talked to line by line', async () => {
    const { vm } = await startAgent();
    const process = vm.spawn(['sh', '-c', 'while read l; do echo "<$l>"; done']);
    const lines = process.stdout.lines();
    process.stdin.end('one\ntwo\nthree');
    const seen: string[] = [];
    for await (const line of lines) seen.push(line);
    expect(seen).toEqual(['<one>', '<two>']);
    expect(await process.wait()).toMatchObject({ exitCode: 0 });
    await vm.stop();
  });

  it('can be killed, by hand, by a limit of guest time and by a signal', async () => {
    const { vm, machine } = await startAgent();
    const process = vm.spawn(['sleep', '1000']);
    await process.started;
    process.kill();
    expect(await process.wait()).toMatchObject({ exitCode: 143, signal: 'SIGTERM' });
    const limited = vm.run(['sleep', '1000'], { timeout: '1s' });
    machine.clock.advance(2e9);
    await expect(limited).rejects.toMatchObject({ code: 'ERR_VMLET_TIMEOUT' });
    const abort = new AbortController();
    const aborted = vm.run(['sleep', '1000'], { signal: abort.signal });
    abort.abort();
    await expect(aborted).rejects.toMatchObject({ code: 'ERR_VMLET_ABORTED' });
    expect(() => process.kill('SIGNOTHING')).toThrow(/no signal/);
    await vm.stop();
  });

  it('fail when the machine ends under them', async () => {
    const { vm, machine } = await startAgent();
    const running = vm.run(['sleep', '1000']);
    await vm.ready();
    machine.end({ reason: 'poweroff' });
    await expect(running).rejects.toThrow(/powered off/);
    expect(() => vm.spawn('true')).toThrow(/powered off/);
    await expect(vm.ready()).resolves.toBeUndefined();
  });
});
