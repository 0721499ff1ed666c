// Real guests for tests. Their images come from the cache, from apt or from VMLET_MIRROR; without any of these a test fails and says so.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import { AptSource, hasApt } from '../../src/image/apt.js';
import { cacheFolder } from '../../src/image/cache.js';
import { readDeb } from '../../src/image/deb.js';
import { VM, type VMOptions } from '../../src/index.js';
import type { VMInternals } from '../../src/vm.js';

/** A folder that is removed when the file's tests are over. */
export const scratchFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), 'vmlet-guest-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
};

/** A guest of which an endless loop cannot hang the tests. What it does to devices that no driver should do is collected in `guestLog`. */
export const startGuest = async (options: VMOptions, internals?: VMInternals): Promise<{ vm: VM; guestLog: string[] }> => {
  const guestLog: string[] = [];
  const vm = await VM.start({ shell: false, timeout: '2h', wallTimeout: '5m', onGuestLog: line => guestLog.push(line), ...options }, internals);
  return { vm, guestLog };
};

/** Writes a file into the guest, with permissions. */
export const putFile = async (vm: VM, path: string, content: Uint8Array | string, mode = '755'): Promise<void> => {
  await vm.run(['sh', '-c', 'cat > "$0" && chmod "$1" "$0"', path, mode], { input: content });
};

export const hasTool = (name: string): boolean => spawnSync('sh', ['-c', `PATH="$PATH:/usr/sbin:/sbin" command -v ${name}`]).status === 0;

export const hostTool = (name: string, args: string[]): string =>
  execFileSync(name, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` } });

/**
 * Makes a root folder of Debian packages, which stay in the cache folder under `cache`. `NAME=OTHER` is the package NAME in OTHER's version, where apt prefers another
 * archive's package of that name.
 */
export const unpackPackages = async (root: string, architecture: string, packages: readonly string[], cache: string): Promise<void> => {
  if (!(await hasApt())) throw new Error('the packages are fetched by apt');
  const state = join(cacheFolder(), 'tests', cache);
  const done = join(state, `done-${packages.length}`);
  mkdirSync(state, { recursive: true });
  if (!existsSync(done)) {
    const source = new AptSource(state, architecture);
    await source.update();
    const find = async (name: string) => {
      const [info] = await source.find(name);
      if (info === undefined) throw new Error(`apt knows no ${name}:${architecture}: ${source.complaints.join('; ')}`);
      return info;
    };
    for (const spec of packages) {
      const [name, other = name] = spec.split('=') as [string, string?];
      const bytes = await source.fetch({ ...(await find(name)), version: (await find(other)).version }, state);
      if ([...(await readDeb(bytes).files())].length === 0) throw new Error(`${name} holds no files`);
    }
    writeFileSync(done, '');
  }
  mkdirSync(root, { recursive: true });
  // The host's own tools unpack faster, with links and permissions.
  execFileSync('sh', ['-c', 'for deb in "$0"/*/*.deb; do dpkg-deb -x "$deb" "$1" || exit 1; done; mkdir -p "$1/tmp" "$1/dev" "$1/proc"; : > "$1/dev/null"; rm -rf "$1/usr/share/doc" "$1/usr/share/locale"', state, root]);
};

const CFLAGS = ['-O1', '-msse2', '-mfpmath=sse', '-mno-red-zone', '-fno-pie', '-no-pie', '-static', '-Wall', '-Wextra', '-Werror'];

/** Compiles guest/NAME.c; undefined where the compiler cannot make static programs of this width. */
export const compile = (name: string, bits: 32 | 64, folder: string): string | undefined => {
  const program = join(folder, `${name}-${bits}`);
  const source = fileURLToPath(new URL(`guest/${name}.c`, import.meta.url));
  const probe = spawnSync('gcc', [`-m${bits}`, '-static', '-x', 'c', '-', '-o', program, '-lm', '-lpthread'], { input: '#include <math.h>\nint main(void) { return 0; }\n' });
  if (probe.status !== 0) return undefined;
  execFileSync('gcc', [`-m${bits}`, ...CFLAGS, source, '-o', program, '-lm', '-lpthread'], { stdio: ['ignore', 'pipe', 'inherit'] });
  return program;
};

/** What a program prints on the host. The C library leaves FMA and AVX out, so that it computes as in the guest. */
export const runOnHost = (program: string, args: string[] = []): string =>
  execFileSync(program, args, { encoding: 'utf8', env: { ...process.env, GLIBC_TUNABLES: 'glibc.cpu.hwcaps=-AVX,-AVX2,-FMA,-FMA4,-AVX512F' } });

/** Lines that a kernel engineer would look into, and what excuses some of them. */
const COMPLAINT =
  /warning|\bbug\b|unchecked msr|unknown|unstable|\blost\b|stall|call trace|fail|error|spurious|unexpected|corrupt|invalid|timed? ?out|overflow|disabl|not supported|unsupported|cannot|can't|unable|skipping|missing|\bbad\b|ignor/i;
const EXCUSED: [RegExp, string][] = [
  [/NX \(Execute Disable\) protection(: active| cannot be enabled: non-PAE kernel!)/, 'a property of the kernel'],
  [/ACPI: Early table checksum verification disabled/, 'a choice of the kernel'],
  [/kvm-guest: PV spinlocks disabled, single CPU/, 'they need several CPUs'],
  [/Yama: disabled by default|SMACK\d*\w* \(disabled\)|audit: initializing netlink subsys \(disabled\)|Perf NMI watchdog permanently disabled/, 'a choice of the distribution'],
  [/trace event string verifier disabled|alg: self-tests disabled|clk: Disabling unused clocks/, 'a choice of the kernel'],
  [/Performance Events: unsupported p6 CPU model 134 no PMU driver/, 'there is no performance monitoring unit'],
  [/PCI: Ignoring E820 reservations for host bridge windows/, 'right for firmware of 2023 and later'],
  [/if necessary, use "pci=nocrs" and report a bug/, 'a hint'],
  [/fail to add MMCONFIG information/, 'a PC of the 440FX has no MMCONFIG; QEMU\'s says the same'],
  [/TLB invalidation policy/, 'a setting'],
  [/PnPBIOS: Disabled by ACPI PNP|isapnp: ISA Plug & Play support disabled/, 'superseded by ACPI'],
  [/PS\/2 appears to have AUX port disabled/, 'there is no mouse'],
  [/intel_pstate: CPU model not supported/, 'there is no frequency scaling'],
  [/AMD IOMMUv2 functionality not available on this system - This is not a bug/, 'there is no IOMMU'],
];

/** The lines of a kernel log that need an explanation and have none. */
export const complaints = (dmesg: string): string[] =>
  dmesg.split('\n').filter(line => COMPLAINT.test(line) && !EXCUSED.some(([pattern]) => pattern.test(line)));

/** The parts of a script's output, which marks each by a line '## NAME'. */
export const sections = (text: string): Record<string, string> =>
  Object.fromEntries(text.split(/^## /m).slice(1).map(part => [part.slice(0, part.indexOf('\n')), part.slice(part.indexOf('\n') + 1)]));

export const readBytes = (path: string): Uint8Array => readFileSync(path);
