import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { cli } from '../support/cli.js';
import { scratchFolder, startGuest } from './guest-support.js';

const folder = scratchFolder();

describe('how a guest ends', () => {
  it.each([
    ['amd64', 'poweroff -f', 'poweroff', undefined],
    ['i386', 'poweroff -f', 'poweroff', undefined],
    ['amd64', 'reboot -f', 'reset', undefined],
    ['i386', 'echo b > /proc/sysrq-trigger', 'reset', undefined],
    ['amd64', 'echo c > /proc/sysrq-trigger', 'panic', undefined],
    ['i386', 'echo c > /proc/sysrq-trigger', 'panic', undefined],
    ['amd64', 'echo o > /proc/sysrq-trigger', 'poweroff', undefined],
    ['i386', 'reboot -f', 'reset', 'reboot=k'],
    ['amd64', 'reboot -f', 'reset', 'reboot=t'],
    ['amd64', 'reboot -f', 'reset', 'reboot=p'],
  ] as const)('%s: %s is a %s (%s)', { timeout: 180_000 }, async (image, command, reason, append) => {
    const { vm } = await startGuest({ image, append });
    await using _ = vm;
    await vm.ready();
    vm.spawn(`echo 1 > /proc/sys/kernel/sysrq; ${command}; sleep 30`).wait().catch(() => {});
    const exit = await vm.wait();
    expect(exit.reason, exit.text).toBe(reason);
    if (append === 'reboot=t') expect(exit.cause).toBe('triple-fault');
    if (append === 'reboot=k') expect(exit.cause).toBe('keyboard-controller');
    if (reason === 'panic') expect(exit.text).toMatch(/sysrq triggered crash/);
  });

  it.each(['amd64', 'i386'])('%s hears the power button', { timeout: 180_000 }, async image => {
    const { vm } = await startGuest({ image });
    await using _ = vm;
    await vm.ready();
    const before = await vm.run('modprobe button && modprobe evdev && grep -E " 9:" /proc/interrupts && cat /proc/bus/input/devices');
    expect(before.stdout).toMatch(/ 9: +0 +IO-APIC +9-fasteoi +acpi/);
    const event = /Name="Power Button"[^]*?Handlers=.*\b(event\d)/.exec(before.stdout)![1];
    const reader = vm.spawn(`dd if=/dev/input/${event} bs=${image === 'amd64' ? 24 : 16} count=1 2>/dev/null | od -An -tu2 | tail -n 1`);
    await vm.run('sleep 1');
    vm.powerButton();
    // Type EV_KEY, code KEY_POWER, value 1.
    expect((await reader.stdout.text()).trim().split(/\s+/).slice(-4)).toEqual(['1', '116', '1', '0']);
    expect((await vm.run('grep -E " 9:" /proc/interrupts')).stdout).toMatch(/ 9: +1 +IO-APIC +9-fasteoi +acpi/);
  });

  it('a kernel without an init panics, and the verdict says so', { timeout: 180_000 }, async () => {
    const { vm } = await startGuest({ image: 'i386', append: 'rdinit=/nothing init=/nothing' });
    await using _ = vm;
    const exit = await vm.wait();
    expect(exit.reason).toBe('panic');
    expect(exit.text).toMatch(/init|root/);
  });
});

describe('repeatability', () => {
  const COMMAND = ['sh', '-c', 'dmesg; cat /proc/interrupts /proc/sys/kernel/random/uuid /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | od -x; for i in 1 2 3; do (sleep 0.$i; echo $i) & done; wait; awk "BEGIN{print rand()}"'];
  const once = async (image: string, name: string, seed: number): Promise<Record<string, unknown>> => {
    const file = join(folder, name);
    const run = await cli(['run', image, '--seed', String(seed), '--result', file, '--', ...COMMAND]);
    expect(run.code).toBe(0);
    const result = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    return { ...result, wallMs: 0, stdout: run.stdout };
  };

  it.each(['amd64', 'i386'])('%s: equal seeds give equal runs, other seeds other entropy', { timeout: 180_000 }, async image => {
    const first = await once(image, `${image}-1`, 7);
    const second = await once(image, `${image}-2`, 7);
    const other = await once(image, `${image}-3`, 8);
    expect(first.stateHash).toMatch(/^[0-9a-f]{64}$/);
    expect(first.instructions).toBeGreaterThan(1e8);
    expect(second).toEqual(first);
    expect(other.stateHash).not.toBe(first.stateHash);
    const entropy = (text: unknown): string => (text as string).split('\n').filter(line => /^[0-9a-f-]{36}$|^0000000 /.test(line)).join('\n');
    expect(entropy(first.stdout)).not.toBe('');
    expect(entropy(other.stdout)).not.toBe(entropy(first.stdout));
  });

  const otherNode = process.env.VMLET_OTHER_NODE;
  const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
  it.skipIf(otherNode === undefined)('another version of Node runs the same (needs VMLET_OTHER_NODE, a path of node, and a built dist)', { timeout: 180_000 }, async () => {
    expect(existsSync(program)).toBe(true);
    for (const image of ['amd64', 'i386']) {
      const results = [process.execPath, otherNode!].map((node, i) => {
        const file = join(folder, `node-${image}-${i}`);
        const stdout = execFileSync(node, [program, 'run', image, '--seed', '7', '--result', file, '--', ...COMMAND], { encoding: 'utf8' });
        const { instructions, stateHash, guestTimeNs } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
        return { instructions, stateHash, guestTimeNs, stdout };
      });
      expect(results[1]).toEqual(results[0]);
    }
  });
});
