// Whole guests on both engines: the same run to the last instruction.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { EngineStats } from '../../src/index.js';
import { cli } from '../support/cli.js';
import { canBoot } from '../support/guest-images.js';
import { hasTool, putFile, startGuest } from './guest-support.js';

const folder = mkdtempSync(join(tmpdir(), 'vmlet-engines-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Processes, pipes, the file system, floating point and strings: what most programs are made of. */
const WORK = `
  i=0; while [ $i -lt 400 ]; do i=$((i+1)); done
  seq 1 3000 | awk '{ s += sqrt($1) * 1.5; t = t substr($1, 1, 1) } END { printf "%.6f %d\\n", s, length(t) }'
  seq 1 2000 | sort -r | md5sum
  cat /bin/busybox | gzip -1 | gunzip | sha256sum
  (echo a; sleep 1; echo b) | while read x; do echo "<$x>"; done
  head -c 16 /dev/urandom | od -x; cut -d. -f1 /proc/uptime
`;

interface Report {
  instructions: number;
  guestTimeNs: number;
  stateHash: string;
  exitCode: number;
  console: { bytes: number; sha256: string };
  stats: EngineStats;
}

describe.each(['amd64', 'i386'])('a run of %s', image => {
  it.skipIf(!canBoot(image))('has the same instructions, console, output and state on the interpreter and on the compiler', { timeout: 400_000 }, async () => {
    const run = async (engine: string) => {
      const path = join(folder, `${image}-${engine}.json`);
      const log = join(folder, `${image}-${engine}.log`);
      const result = await cli(['run', image, '--engine', engine, '--stats', '--seed', '3', '--result', path, '--console-log', log, '--', 'sh', '-c', WORK]);
      return { result, report: JSON.parse(readFileSync(path, 'utf8')) as Report, log: readFileSync(log, 'utf8') };
    };
    const interp = await run('interp');
    const jit = await run('jit');
    expect(jit.result.stdout).toBe(interp.result.stdout);
    expect(jit.log).toBe(interp.log);
    const facts = ({ instructions, guestTimeNs, stateHash, exitCode, console }: Report) => ({ instructions, guestTimeNs, stateHash, exitCode, console });
    expect(facts(jit.report)).toEqual(facts(interp.report));
    expect(jit.report.exitCode).toBe(0);

    const { stats } = jit.report;
    expect(interp.report.stats).toEqual({ engine: 'interp', instructions: interp.report.instructions, compiled: 0, interpreted: interp.report.instructions });
    expect(stats.instructions).toBe(jit.report.instructions);
    expect(stats.compiled + stats.interpreted).toBe(stats.instructions);
    expect(stats.compiled).toBeGreaterThan(stats.instructions / 2);
    expect(stats.jit!.live).toBeLessThanOrEqual(stats.jit!.regions);
    expect(stats.jit!.bytes).toBeGreaterThan(stats.jit!.compiled);
    expect(jit.result.stderr).toMatch(/instructions: [\d,]+ as compiled code \(\d+\.\d %\)/);
    expect(jit.result.stderr).toMatch(/entries, .*left by branch [\d,]+, read /);
    expect(interp.result.stderr).toContain('all interpreted');
  });
});

/** Numbers, tables, strings and closures: traces of all kinds; FFI memory; code that LuaJIT throws away and compiles again. */
const LUA = `
  local sum = 0
  for i = 1, 300000 do sum = (sum * 31 + i) % 2147483647 end
  local x = 0.5
  for i = 1, 100000 do x = x * 3.7 * (1 - x) end
  local t = {}
  for i = 1, 20000 do t[i] = (i * 7919) % 10007 end
  table.sort(t)
  local words = {}
  for i = 1, 5000 do words[#words + 1] = string.format('%d:%x', t[i * 4], i) end
  local text = table.concat(words, ',')
  local hash = 5381
  for i = 1, #text do hash = (hash * 33 + text:byte(i)) % 4294967296 end
  local made = 0
  for n = 1, 60 do
    local f = loadstring('local a = ... for i = 1, 300 do a = (a * ' .. n .. ' + i) % 65521 end return a')
    for k = 1, 20 do made = (made + f(k)) % 1000003 end
  end
  print(jit.status())
  print(sum, string.format('%.17g', x), t[1], t[20000], #text, hash, made)
`;

describe('a compiler inside the guest', () => {
  const missing = !hasTool('luajit') ? 'the package luajit is not installed' : process.arch !== 'x64' ? 'this machine has no x86-64 programs' : !canBoot('amd64') ? 'the image amd64 is not there' : undefined;
  it.skipIf(missing !== undefined)(`works as on the host, and its fresh code is compiled without end neither here nor there${missing === undefined ? '' : `: ${missing}`}`, { timeout: 400_000 }, async () => {
    const program = execFileSync('sh', ['-c', 'readlink -f "$(command -v luajit)"'], { encoding: 'utf8' }).trim();
    const libraries = [...execFileSync('ldd', [program], { encoding: 'utf8' }).matchAll(/(?:=> )?(\/\S+) \(0x/g)].map(([, path]) => path);
    const expected = execFileSync(program, ['-e', LUA], { encoding: 'utf8' });
    const { vm } = await startGuest({ image: 'amd64', engine: 'jit' });
    await using _ = vm;
    await putFile(vm, '/bin/luajit', readFileSync(program));
    for (const path of libraries) {
      await vm.run(['mkdir', '-p', path.slice(0, path.lastIndexOf('/'))]);
      await putFile(vm, path, readFileSync(path));
    }
    expect((await vm.run(['luajit', '-e', LUA])).stdout.replace(/^.*\n/, '')).toBe(expected.replace(/^.*\n/, ''));
    const first = vm.engineStats();
    const again = await vm.run(['luajit', '-e', LUA]);
    expect(again.stdout).toMatch(/^true/);
    const second = vm.engineStats();
    // The same work again: mostly compiled, and what is written anew is dropped once, not over and over.
    const ran = second.instructions - first.instructions;
    expect(second.compiled - first.compiled).toBeGreaterThan(0.6 * ran);
    expect(second.jit!.resets).toBe(0);
    expect(second.jit!.dropped - first.jit!.dropped).toBeLessThan(20_000);
    expect((second.jit!.dropped - first.jit!.dropped) * 2000).toBeLessThan(ran);
    console.log(`LuaJIT: ${ran} instructions, ${second.compiled - first.compiled} compiled, ${second.jit!.dropped - first.jit!.dropped} regions dropped, ${second.jit!.regions - first.jit!.regions} made`);
  });
});
