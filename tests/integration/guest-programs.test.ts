import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { complaints, compile, putFile, readBytes, runOnHost, scratchFolder, startGuest, unpackPackages } from './guest-support.js';

const folder = scratchFolder();

/** Lines on which kernels, not processors, differ. */
const KERNELS: Record<string, RegExp> = {
  amd64: /^$/,
  // Without 16-bit segments the kernel refuses the descriptor.
  'amd64-32': /^16-bit code/,
  // Linux 6.1 for i386 without PAE has no NX.
  i386: /^(execute data|call unmapped)/,
};

const without = (text: string, pattern: RegExp): string[] => text.split('\n').filter(line => !pattern.test(line));

describe('a program that the host judges', () => {
  it.each([
    ['amd64', 64, KERNELS.amd64],
    ['amd64', 32, KERNELS['amd64-32']],
    ['i386', 32, KERNELS.i386],
  ] as const)('prints the same in %s, built for %i bits', { timeout: 240_000 }, async (image, bits, kernel) => {
    const program = compile('judge', bits, folder);
    expect(program, `gcc -m${bits} -static is needed: on Debian, gcc and gcc-multilib`).toBeDefined();
    const expected = runOnHost(program!);
    const { vm, guestLog } = await startGuest({ image });
    await using _ = vm;
    await putFile(vm, '/tmp/judge', readBytes(program!));
    const result = await vm.run('/tmp/judge; echo "ended with $?"; dmesg > /tmp/log');
    expect(without(result.stdout, kernel)).toEqual(without(`${expected}ended with 0\n`, kernel));
    const log = (await vm.run('cat /tmp/log')).stdout;
    // What the program does on purpose is reported as faults of `judge`.
    expect(complaints(log).filter(line => !/judge\[\d+\]|traps:/.test(line))).toEqual([]);
    expect(guestLog).toEqual([]);
  });
});

describe('shells and processes', () => {
  it('thousands of forks leave nothing behind', { timeout: 240_000 }, async () => {
    const { vm } = await startGuest({ image: 'amd64', memory: '128M' });
    await using _ = vm;
    const { stdout } = await vm.run(`
      i=0; while [ $i -lt 600 ]; do (:) | (:) & (:); : $(:); i=$((i+1)); [ $((i % 50)) = 0 ] && wait; done; wait
      echo $i; ps | wc -l; cat /proc/sys/kernel/tainted; dmesg | tail -3 | grep -c -E 'BUG|WARN|Out of memory'; true`, { timeout: '10m' });
    const [rounds, processes, tainted, bad] = stdout.trim().split('\n').map(Number);
    expect(rounds).toBe(600);
    expect(processes).toBeLessThan(70);
    expect([tainted, bad]).toEqual([0, 0]);
  });
});

const PACKAGES = ['libc6', 'bash', 'coreutils', 'perl-base', 'python3.11-minimal', 'libpython3.11-minimal', 'zlib1g', 'libexpat1', 'libtinfo6', 'libacl1', 'libattr1',
  'libselinux1', 'libgmp10', 'libssl3', 'openssl', 'libcrypt1', 'libpcre2-8-0', 'gzip', 'xz-utils', 'liblzma5', 'mawk', 'bc', 'libreadline8', 'diffutils'];
const SCRIPT = `exec 2>&1
perl -e 'my ($x, $s) = (1, 0); for my $i (1 .. 30000) { $x = ($x * 16807) % 2147483647; $s += sqrt($x) / $i; } printf "perl %d %.12e %s\\n", $x, $s, join ",", map { sprintf "%x", $_ ** 3 } 1 .. 9'
perl -e 'my %h; $h{$_ % 97} .= chr(65 + $_ % 26) for 1 .. 5000; my $t = join "", map { $h{$_} } sort keys %h; $t =~ s/([AEIOU])(.)/$2$1/g; print "regex ", unpack("%32C*", $t), " ", length $t, "\\n"'
python3.11 -c 'import hashlib, math, zlib, struct; d = bytes(i * i & 255 for i in range(200000)); print("python", hashlib.sha512(d).hexdigest()[:16], hashlib.md5(d).hexdigest(), zlib.crc32(d), sum(math.sqrt(i) for i in range(20000)).hex(), 3 ** 500 % 10 ** 18, struct.pack("<d", 0.1 + 0.2).hex())'
python3.11 -c 'import math; print("math", [math.factorial(60), 2 ** 0.5, round(math.pi ** 7, 9), divmod(-7, 3), float("1e-320"), (1 << 200) // 3 ** 50, "%.17g" % (1 / 3)])'
mawk 'BEGIN { s = 0; for (i = 1; i <= 50000; i++) s += 1 / i; printf "awk %.15g %d %s\\n", s, 2 ^ 31 - 1, substr("abcdef", 3, 2) }'
head -c 300000 /usr/bin/openssl > /tmp/data
for kind in sha256 sha1 md5 sha512 blake2b512; do openssl dgst -$kind -r /tmp/data | cut -c1-40; done
openssl enc -aes-256-cbc -K 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff -iv 0102030405060708090a0b0c0d0e0f10 -in /tmp/data | sha256sum
openssl enc -chacha20 -K 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff -iv 0102030405060708090a0b0c0d0e0f10 -in /tmp/data | sha1sum
gzip -9n < /tmp/data | tee /tmp/data.gz | md5sum; gzip -dc /tmp/data.gz | cmp - /tmp/data && echo gzip
xz -1 -T1 < /tmp/data | tee /tmp/data.xz | md5sum; xz -dc /tmp/data.xz | cmp - /tmp/data && echo xz
echo '2^300 % 1000007; scale=30; 4*a(1); e(1)' | bc -l 2>/dev/null; bash -c 'for ((i = s = 0; i < 20000; i++)); do ((s = s * 3 + i)); done; echo bash $s "\${BASH_VERSION%%.*}"'
sort -R --random-source=/tmp/data < /etc/debian_version | wc -l; seq 1 5000 | sort -t1 -k2 | md5sum; factor 1234567890123456789 2>&1; date -u -d @1767225600; printf '%.3e %x\\n' 123456.789 48879
`;

describe('dynamically linked programs of Debian', () => {
  it.each([
    ['amd64', 'amd64'],
    ['i386-pae', 'i386'],
  ])('compute on %s what they compute on the host', { timeout: 300_000 }, async (image, architecture) => {
    const root = join(folder, `root-${architecture}`);
    await unpackPackages(root, architecture, PACKAGES, `debs-${architecture}`);
    execFileSync('sh', ['-c', 'mkdir -p "$0/etc"; echo 12 > "$0/etc/debian_version"; rm -rf "$0/usr/lib/python3.11/test"', root]);
    const archive = execFileSync('sh', ['-c', 'tar c -C "$0" .', root], { maxBuffer: 2 ** 28 });
    const { vm } = await startGuest({ image, memory: '512M' });
    await using _ = vm;
    await vm.run('mkdir /tmp/root && tar x -C /tmp/root', { input: archive });
    await putFile(vm, '/tmp/root/tmp/script', SCRIPT);
    await vm.run('mount -t proc proc /tmp/root/proc || mkdir /tmp/root/proc && mount -t proc proc /tmp/root/proc; mount -o bind /dev /tmp/root/dev', { check: false });
    const environment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };
    const inGuest = await vm.run(['chroot', '/tmp/root', '/bin/bash', '/tmp/script'], { env: environment, check: false });
    const scriptFile = join(root, 'tmp/script');
    execFileSync('sh', ['-c', 'cat > "$0"', scriptFile], { input: SCRIPT });
    const onHost = execFileSync('sh', ['-c', 'exec unshare -r chroot "$0" /bin/bash /tmp/script 2>&1 || exec chroot "$0" /bin/bash /tmp/script 2>&1', root], {
      encoding: 'utf8',
      env: { ...environment, GLIBC_TUNABLES: 'glibc.cpu.hwcaps=-AVX,-AVX2,-FMA,-FMA4,-AVX512F', PATH: `${process.env.PATH}:/usr/sbin` },
    });
    expect(inGuest.stdout + inGuest.stderr).toBe(onHost);
    expect(onHost).not.toMatch(/not found|No such file/);
    expect(onHost.split('\n').length).toBeGreaterThan(20);
    expect(createHash('sha256').update(readBytes(join(root, 'usr/bin/openssl')).subarray(0, 300_000)).digest('hex').slice(0, 40)).toBe(/^[0-9a-f]{40}$/m.exec(inGuest.stdout)?.[0]);
    expect(complaints((await vm.run('dmesg')).stdout)).toEqual([]);
  });
});
