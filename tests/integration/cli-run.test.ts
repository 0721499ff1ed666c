import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { cli, FakeIo } from '../support/cli.js';
import { canBoot } from '../support/guest-images.js';
import { Random } from '../support/random.js';

const BOOT_MS = 120_000;
const folder = mkdtempSync(join(tmpdir(), 'vmlet-run-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const randomBytes = (count: number, seed: number): Uint8Array => {
  const random = new Random(seed);
  return Uint8Array.from({ length: count }, () => random.below(256));
};

describe.each([['amd64', 'x86_64'], ['i386', 'i686']] as const)('vmlet run %s -- CMD', (image, machine) => {
  describe.skipIf(!canBoot(image))('in a real guest', () => {
    it('runs one command: output, errors, input, environment, folder, user and exit code', { timeout: BOOT_MS }, async () => {
      const script = 'uname -srm; cat; echo "[$A]" "$(pwd)" "$(id -u)"; echo err >&2; exit 7';
      const result = await cli(['run', image, '-e', 'A=1 2', '-w', '/tmp', '-u', 'nobody', '--', 'sh', '-c', script], { input: 'in\n' });
      expect(result.stdout).toMatch(new RegExp(`^Linux 6\\.1\\.\\S+ ${machine}\nin\n\\[1 2\\] /tmp 65534\n$`));
      expect(result.stderr).toBe('err\n');
      expect(result.code).toBe(7);
    });

    it('carries a megabyte of random bytes both ways', { timeout: BOOT_MS }, async () => {
      const bytes = randomBytes(1_048_583, 3);
      const result = await cli(['run', image, '--', 'cat'], { input: bytes });
      expect(result.code).toBe(0);
      expect(result.io.stdout.bytes.equals(bytes)).toBe(true);
    });
  });
});

describe.skipIf(!canBoot('amd64'))('vmlet run in a real guest', () => {
  it('lets an hour of sleep pass at once', { timeout: BOOT_MS }, async () => {
    const result = await cli(['run', '--json', '--', 'sh', '-c', 'sleep 3600; kill -TERM $$']);
    expect(result.code).toBe(143);
    const report = JSON.parse(result.stdout) as { reason: string; signal: string; guestTimeNs: number; wallMs: number };
    expect(report).toMatchObject({ reason: 'signal', signal: 'SIGTERM' });
    expect(report.guestTimeNs).toBeGreaterThan(3600e9);
    expect(report.wallMs).toBeLessThan(BOOT_MS / 2);
  });

  it('is the same for the same seed, to the last instruction', { timeout: 3 * BOOT_MS }, async () => {
    const run = async (seed: string): Promise<Record<string, unknown>> => {
      const path = join(folder, 'result.json');
      const result = await cli(['run', '--seed', seed, '--result', path, '--console-log', join(folder, 'console.log'), '--', 'sh', '-c', 'cat; head -c 16 /dev/urandom | od -x; date'], { input: randomBytes(100_000, 4) });
      const { wallMs, ...report } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
      expect(wallMs).toBeGreaterThan(0);
      return { ...report, output: result.stdout, log: readFileSync(join(folder, 'console.log'), 'utf8') };
    };
    const first = await run('5');
    expect(await run('5')).toEqual(first);
    expect((await run('6')).stateHash).not.toBe(first.stateHash);
  });

  it('ends at its limit of guest time with 124 and the console', { timeout: BOOT_MS }, async () => {
    const result = await cli(['run', '-T', '20s', '--', 'sh', '-c', 'while :; do sleep 1; done']);
    expect(result).toMatchObject({ code: 124, stderr: expect.stringContaining('time limit of 20.0 s of guest time') });
  });

  it.each([
    ['panics', 'echo c > /proc/sysrq-trigger', /kernel panicked .*sysrq triggered crash/],
    ['powers off', 'poweroff -f', /powered off/],
    ['resets', 'reboot -f', /reset the machine/],
    ['halts', 'halt -f', /halted its CPU/],
  ])('gives 255 when the guest %s', { timeout: BOOT_MS }, async (_, script, words) => {
    const result = await cli(['run', '--', 'sh', '-c', `${script}; sleep 60`]);
    expect(result.code).toBe(255);
    expect(result.stderr).toMatch(words);
  });

  it('says how far a guest came that has no init', { timeout: BOOT_MS }, async () => {
    const result = await cli(['run', '-a', 'rdinit=/nothing init=/nothing', '--', 'true']);
    expect(result).toMatchObject({ code: 255, stderr: expect.stringMatching(/Kernel panic[^]*stage 'kernel'/) });
  });

  it('passes Ctrl-C on', { timeout: BOOT_MS }, async () => {
    const io = new FakeIo();
    io.stdout.onText = text => text === 'up\n' && io.signal('SIGINT');
    expect((await cli(['run', '--time', 'realtime', '--', 'sh', '-c', 'echo up; exec sleep 1000'], { io })).code).toBe(130);
  });

  it('leaves a disk image sound, and untouched with snapshot', { timeout: 2 * BOOT_MS }, async () => {
    const image = join(folder, 'disk.img');
    writeFileSync(image, new Uint8Array(1 << 20));
    const write = (disk: string) => cli(['run', '--disk', disk, '--', 'sh', '-c', 'printf written | dd of=/dev/vda bs=512 conv=notrunc 2>/dev/null; dd if=/dev/vda bs=7 count=1 2>/dev/null']);
    expect(await write(`${image},snapshot`)).toMatchObject({ code: 0, stdout: 'written' });
    expect(readFileSync(image).subarray(0, 7).toString()).toBe('\0'.repeat(7));
    expect(await write(image)).toMatchObject({ code: 0, stdout: 'written' });
    expect(readFileSync(image).subarray(0, 7).toString()).toBe('written');
  });

  it('opens a console on plain streams that ends with its input', { timeout: BOOT_MS }, async () => {
    const result = await cli(['run', '-q'], { input: 'echo $((6*7))-from-$(uname -s)\n' });
    expect(result.code).toBe(0);
    expect(result.stdout).toContain('42-from-Linux');
  });
});

const main = 'dist/cli/main.js';

describe.skipIf(!canBoot('amd64') || !existsSync(main))('the program itself', () => {
  it('ends like any program when its reader goes away', { timeout: BOOT_MS }, () => {
    const result = spawnSync('sh', ['-c', `{ node ${main} run -- yes; echo $? >&2; } | head -c 10`], { encoding: 'utf8', input: '' });
    expect(result.stdout).toBe('y\ny\ny\ny\ny\n');
    expect(result.stderr).toBe('141\n');
  });

  it('works with its input closed', { timeout: BOOT_MS }, () => {
    expect(execFileSync('sh', ['-c', `node ${main} run -- sh -c 'cat; echo done' <&-`], { encoding: 'utf8' })).toBe('done\n');
  });
});
