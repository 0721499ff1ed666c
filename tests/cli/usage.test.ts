import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { cli } from '../support/cli.js';

const folder = mkdtempSync(join(tmpdir(), 'vmlet-usage-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};

describe('wrong usage gives 125 and says what, why and what to do', () => {
  it.each<[string, string[], RegExp]>([
    ['an unknown command', ['rnu'], /unknown command 'rnu'[^]*Did you mean run/],
    ['an unknown flag', ['run', '--memry', '1G'], /unknown option '--memry'[^]*Did you mean --memory/],
    ['a flag without its value', ['run', '--memory'], /argument missing/],
    ['a command without --', ['run', 'amd64', 'uname'], /too many arguments/],
    ['nothing behind --', ['run', '--'], /no command/],
    ['a command for another command', ['doctor', '--', 'true'], /behind 'run' only/],
    ['an unknown image', ['run', 'debian99', '--', 'true'], /no guest image named "debian99"[^]*amd64/],
    ['memory that is no size', ['run', '-m', 'lots', '--', 'true'], /memory: 'lots'[^]*256M/],
    ['too little memory', ['run', '-m', '100K', '--', 'true'], /between 1M and 3G/],
    ['too much memory', ['run', '-m', '4G', '--', 'true'], /between 1M and 3G/],
    ['odd memory', ['run', '-m', '2000001', '--', 'true'], /multiple of 4096/],
    ['an unknown architecture', ['run', '--arch', 'arm64', '--', 'true'], /--arch: 'arm64'/],
    ['an unknown CPU', ['run', '--cpu', 'v3', '--', 'true'], /cpu: 'v3'[^]*v1/],
    ['a wrong time', ['run', '--time', 'soon', '--', 'true'], /time: 'soon'[^]*warp/],
    ['a wrong date', ['run', '--time', 'frozen=someday', '--', 'true'], /no date/],
    ['a wrong timeout', ['run', '-T', 'later', '--', 'true'], /--timeout: 'later'/],
    ['a wrong port', ['run', '--debug-exit', '0x10000'], /no I\/O port/],
    ['a wrong escape key', ['run', '--escape', 'Q', '--', 'true'], /--escape/],
    ['a wrong panic action', ['run', '--on-panic', 'cry', '--', 'true'], /onPanic: 'cry'/],
    ['an initrd alone', ['run', '-i', 'x', '--', 'true'], /without a kernel/],
    ['an image and a kernel', ['run', '-k', 'x', 'amd64'], /image and a kernel/],
    ['a ROM and a kernel', ['run', '-k', 'x', '--bios', 'y'], /ROM was given together/],
    ['a command for a ROM', ['run', '--bios', 'y', '--', 'true'], /ROM/],
    ['variables without a command', ['run', '-e', 'A=1'], /for a command/],
    ['a variable without a name', ['run', '-e', '=1', '--', 'true'], /--env/],
    ['an unknown disk flag', ['run', '--disk', 'a.img,rx', '--', 'true'], /'rx'/],
    ['a result nowhere', ['run', '--result', '/no/such/folder/r.json', '--', 'true'], /result cannot be written/],
    ['a console log nowhere', ['run', '--console-log', '/no/such/folder/log', '--', 'true'], /console-log/],
    ['a missing kernel', ['run', '-k', '/no/such/kernel'], /no kernel at \/no\/such\/kernel/],
    ['a missing ROM', ['run', '--bios', '/no/such/rom'], /no ROM image at/],
  ])('%s', async (_, argv, message) => {
    const result = await cli(argv);
    expect(result.stderr).toMatch(message);
    expect(result).toMatchObject({ code: 125, stdout: '' });
    expect(result.stderr.split('\n').slice(0, -1).every(line => line.startsWith('vmlet: '))).toBe(true);
    expect(result.stderr).not.toContain('internal error');
  });

  it.each<[string, Uint8Array | string, RegExp]>([
    ['empty', '', /empty/],
    ['text', 'this is no kernel at all, whatever its name says\n'.repeat(100), /kernel/],
    ['an ELF file of another machine', Uint8Array.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, ...new Array<number>(8).fill(0), 2, 0, 0xb7, 0, ...new Array<number>(200).fill(0)]), /./],
  ])('a kernel that is %s', async (name, content, message) => {
    const result = await cli(['run', '-k', file(`kernel ${name}`, content)]);
    expect(result.stderr).toMatch(message);
    expect(result).toMatchObject({ code: 125, stdout: '' });
    expect(result.stderr).not.toContain('internal error');
  });

  it('a ROM of no possible size', async () => {
    expect(await cli(['run', '--bios', file('tiny.rom', 'abc')])).toMatchObject({ code: 125, stderr: expect.stringMatching(/a ROM has/) });
  });
});

describe('what needs no guest', () => {
  it('prints the version and help', async () => {
    expect(await cli(['--version'])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
    expect(await cli(['--help'])).toMatchObject({ code: 0, stdout: expect.stringContaining('run') });
    expect(await cli([])).toMatchObject({ code: 0, stdout: expect.stringContaining('run') });
    expect(await cli(['run', '--help'])).toMatchObject({ code: 0, stdout: expect.stringContaining('--kernel') });
  });

  it('prints the configuration: flags before variables before defaults', async () => {
    const config = async (argv: string[], env = {}): Promise<Record<string, unknown>> => JSON.parse((await cli(['run', '--print-config', ...argv], { env })).stdout) as Record<string, unknown>;
    expect(await config(['--', 'true'])).toMatchObject({ image: 'amd64', memoryBytes: 256 * 2 ** 20, seed: 1, time: 'warp', onReset: 'exit', agent: true, command: ['true'] });
    expect(await config(['--', 'true'], { VMLET_MEMORY: '64M', VMLET_SEED: '5', VMLET_REBOOT: '1' })).toMatchObject({ memoryBytes: 64 * 2 ** 20, seed: 5, onReset: 'reboot' });
    expect(await config(['-m', '128', '--no-reboot', '--', 'true'], { VMLET_MEMORY: '64M', VMLET_REBOOT: '1' })).toMatchObject({ memoryBytes: 128 * 2 ** 20, onReset: 'exit' });
    expect(await config(['--arch', 'i386', '--disk', 'a,b.img,snapshot', '--disk', 'c.img,ro', '-T', '1m30s', '--time', 'frozen=2020-02-02', '--', 'true'])).toMatchObject({
      image: 'i386', arch: 'i386', timeoutNs: 90e9, time: 'warp', epochSeconds: 1580601600,
      disks: [{ path: 'a,b.img', readOnly: false, snapshot: true }, { path: 'c.img', readOnly: true, snapshot: false }],
    });
  });

  it('lists images and checks the installation', async () => {
    expect(await cli(['image', 'ls'])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^amd64 .*x86_64/m) });
    expect(await cli(['image', 'rm', 'nothing'])).toMatchObject({ code: 125, stderr: expect.stringContaining('no guest image') });
    const doctor = await cli(['doctor', '--json']);
    expect(JSON.parse(doctor.stdout)).toEqual(expect.arrayContaining([expect.objectContaining({ what: 'node', ok: true })]));
  });
});
