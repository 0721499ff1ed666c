// Debian's node in a guest: a compiler with several tiers whose code comes, moves and goes, in a program that is larger than a kernel.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { complaints, putFile, readBytes, scratchFolder, startGuest, unpackPackages } from './guest-support.js';

const folder = scratchFolder();
const SCRIPT = fileURLToPath(new URL('guest/node-work.mjs', import.meta.url));
const PACKAGES = ['libnode108', 'nodejs=libnode108', 'node-acorn', 'node-cjs-module-lexer', 'node-undici', 'libbrotli1', 'libc-ares2', 'libicu72', 'libnghttp2-14', 'libssl3', 'libuv1', 'zlib1g', 'libgcc-s1', 'libstdc++6', 'libc6'];
const ROUNDS = 4;

describe('a JavaScript engine inside the guest', () => {
  it("computes what the host's computes, and its code is compiled once, not over and over", { timeout: 400_000 }, async ctx => {
    if (process.env.VMLET_TEST_NODEJS !== '1') return ctx.skip('it takes 40 s of CPU: set VMLET_TEST_NODEJS=1, as .ci/run does');
    const expected = execFileSync(process.execPath, [SCRIPT], { input: 'go\n', encoding: 'utf8' }).trim().split('\n');
    expect(expected.at(-1)).toBe('done');
    const root = join(folder, 'root');
    await unpackPackages(root, 'amd64', PACKAGES, 'debs-nodejs');
    const archive = execFileSync('sh', ['-c', 'tar c -C "$0" --exclude=gconv --exclude=@types .', root], { maxBuffer: 2 ** 28 });
    const { vm, guestLog } = await startGuest({ image: 'amd64', memory: '1G', engine: 'jit' });
    await using _ = vm;
    await vm.run('mkdir /tmp/root && tar x -C /tmp/root && mount -t proc proc /tmp/root/proc && mount -o bind /dev /tmp/root/dev', { input: archive });
    await putFile(vm, '/tmp/root/tmp/work.mjs', readBytes(SCRIPT));

    const node = vm.spawn(['chroot', '/tmp/root', '/usr/bin/node', '/tmp/work.mjs']);
    const lines = node.stdout.lines();
    const rounds = [];
    for (let n = 0, before = vm.engineStats(); n < ROUNDS; n++) {
      node.stdin.write('go\n');
      for (const line of expected) expect((await lines.next()).value).toBe(line);
      const after = vm.engineStats();
      const ran = after.instructions - before.instructions;
      rounds.push({ ran, share: (after.compiled - before.compiled) / ran, regions: after.jit!.regions - before.jit!.regions, dropped: after.jit!.dropped - before.jit!.dropped });
      before = after;
    }
    node.stdin.end();
    expect((await node.wait()).exitCode).toBe(0);
    console.log(`node: ${rounds.map(({ ran, share, regions, dropped }) => `${(ran / 1e6).toFixed(0)} million instructions, ${(100 * share).toFixed(1)} % compiled, ${regions} regions made, ${dropped} dropped`).join('; ')}`);

    // Equal work takes no more instructions later, and what the guest writes beside its code costs its regions nothing for good.
    const first = rounds[0], last = rounds.at(-1)!;
    expect(last.ran).toBeLessThan(first.ran);
    expect(last.share).toBeGreaterThan(0.9);
    expect(last.regions).toBeLessThan(first.regions / 3);
    for (const { ran, dropped } of rounds) expect(dropped * 500_000).toBeLessThan(ran);
    expect(vm.engineStats().jit!.resets).toBe(0);
    expect(guestLog).toEqual([]);
    expect(complaints((await vm.run('dmesg')).stdout)).toEqual([]);
  });
});
