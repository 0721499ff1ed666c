// npm run bench:install: code that is hardly ever hot, the boots of the built-in guests and a package installation, by the interpreter and with the compiler. See docs/benchmarks.md.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { BenchError, benchCache, cpuSeconds, hostInfo, hostLine, loadDist, main, median, NODE_OPTION, resolveNodes, runJson, table } from './lib/common.mjs';

const USAGE = `usage: node tests/bench/install.mjs [options]
  --repeat N      rounds; every round runs every row on both engines, the table has medians (3)
  --node SPEC     Node to run under: current, a version (24) or a path; may be repeated
  --json          the figures as JSON, on stdout
  --quick         one round`;
/** dpkg and what it and the packages' scripts need; unpacked, not installed. */
const ROOT = [
  'base-files', 'bash', 'coreutils', 'dash', 'debianutils', 'diffutils', 'dpkg', 'findutils', 'grep', 'gzip', 'libacl1', 'libattr1', 'libbz2-1.0', 'libc6', 'libgcc-s1', 'libgmp10',
  'liblzma5', 'libmd0', 'libpcre2-8-0', 'libselinux1', 'libtinfo6', 'libzstd1', 'libc-bin', 'perl-base', 'libcrypt1', 'sed', 'tar', 'zlib1g', 'mawk',
];
const INSTALLED = ['sed', 'grep', 'gzip', 'mawk', 'diffutils', 'findutils', 'bc', 'libreadline8', 'less', 'libssl3', 'openssl', 'xz-utils', 'bash', 'libexpat1', 'nano', 'file', 'libmagic1', 'libmagic-mgc'];
const ENGINES = ['interp', 'jit'];
const ROWS = { amd64: 'boot of amd64', i386: 'boot of i386', dpkg: `dpkg -i of ${INSTALLED.length} packages, amd64` };

const fetchPackages = async () => {
  const { AptSource, hasApt } = await loadDist('image/apt.js');
  const cache = join(await benchCache(), 'debs-amd64');
  const debs = () => Object.fromEntries(readdirSync(cache).filter(name => name.endsWith('_amd64')).map(name => [name.slice(0, -6), join(cache, name, readdirSync(join(cache, name))[0])]));
  mkdirSync(cache, { recursive: true });
  const wanted = [...new Set([...ROOT, ...INSTALLED])];
  if (wanted.every(name => existsSync(join(cache, `${name}_amd64`)))) return debs();
  if (!(await hasApt())) throw new BenchError('the packages are fetched by apt');
  const source = new AptSource(cache, 'amd64');
  await source.update();
  for (const name of wanted) {
    console.error(`bench: fetching ${name}`);
    const [info] = await source.find(name);
    if (info === undefined) throw new BenchError(`apt knows no ${name}: ${source.complaints.join('; ')}`);
    await source.fetch(info, cache);
  }
  return debs();
};

/** A tar archive of a system with dpkg, whose database is empty, and of the packages in /debs. */
const prepareRoot = async folder => {
  const debs = await fetchPackages();
  const root = join(folder, 'root');
  for (const name of ['', 'debs', 'proc', 'dev', 'tmp', 'var/lib/dpkg/info', 'var/lib/dpkg/updates', 'var/log', 'etc']) mkdirSync(join(root, name), { recursive: true });
  for (const name of ROOT) execFileSync('dpkg-deb', ['-x', debs[name], root]);
  for (const name of INSTALLED) execFileSync('cp', [debs[name], join(root, 'debs')]);
  for (const name of ['status', 'available']) writeFileSync(join(root, 'var/lib/dpkg', name), '');
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\n');
  const archive = join(folder, 'root.tar');
  execFileSync('tar', ['cf', archive, '--owner=0', '--group=0', '--exclude=./usr/share/doc', '--exclude=./usr/share/locale', '-C', root, '.']);
  return archive;
};

/** In a process of its own: one row on one engine. Gives seconds from the making of the process for boots, else of the row alone. */
const measure = async (row, engine, archive) => {
  const { VM } = await loadDist('index.js');
  const clocks = () => ({ wall: performance.now() / 1000, main: cpuSeconds(process.pid, true), all: cpuSeconds(process.pid, false) });
  const vm = await VM.start({ image: row === 'i386' ? 'i386' : 'amd64', engine, memory: '512M', shell: false, seed: 1 });
  let from = { wall: 0, main: 0, all: 0 };
  let instructions = 0;
  if (row === 'dpkg') {
    await vm.run('mkdir /tmp/root && tar x -C /tmp/root && mount -t proc proc /tmp/root/proc && mount -o bind /dev /tmp/root/dev', { input: readFileSync(archive) });
    from = clocks();
    ({ instructions } = vm);
    const { exitCode, stdout, stderr } = await vm.run(['chroot', '/tmp/root', '/bin/sh', '-c', 'dpkg --force-depends -i /debs/*.deb 2>&1'], {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' }, check: false,
    });
    const done = stdout.match(/^Setting up /gm)?.length ?? 0;
    if (exitCode !== 0 || done !== INSTALLED.length) throw new BenchError(`dpkg ended with ${exitCode}, ${done} packages were set up:\n${(stdout + stderr).slice(-1500)}`);
  } else await vm.run(['true']);
  const to = clocks();
  const result = { ...Object.fromEntries(Object.keys(to).map(key => [key, to[key] - from[key]])), instructions: vm.instructions - instructions, stats: vm.engineStats() };
  await vm[Symbol.asyncDispose]();
  return result;
};

const report = results => {
  const text = value => value.toFixed(2);
  const rows = results.flatMap(({ node, runs }) =>
    Object.entries(ROWS).flatMap(([row, name]) => {
      const of = (engine, key) => median(runs.filter(run => run.row === row && run.engine === engine).map(run => run[key]));
      const line = (title, key) => [title, text(of('interp', key)), text(of('jit', key)), text(of('interp', key) / of('jit', key))];
      return [line(`${name}, Node ${node}: wall time, s`, 'wall'), line('... processor time of the guest\'s thread, s', 'main'), line('... of all threads, s', 'all')];
    }),
  );
  return `### Cold code\n\n${table(['what', 'interpreter', 'compiler', 'ratio'], rows)}`;
};

await main(async () => {
  const { values } = parseArgs({
    options: {
      repeat: { type: 'string' }, node: NODE_OPTION, json: { type: 'boolean' }, quick: { type: 'boolean' }, help: { type: 'boolean', short: 'h' },
      row: { type: 'string' }, engine: { type: 'string' }, archive: { type: 'string' },
    },
  });
  if (values.help) return console.log(USAGE);
  if (values.row !== undefined) {
    console.log(JSON.stringify(await measure(values.row, values.engine, values.archive)));
    return process.exit();
  }
  const repeat = Number(values.repeat ?? (values.quick ? 1 : 3));
  if (!(repeat >= 1)) throw new BenchError(USAGE);
  const host = hostInfo();
  const folder = mkdtempSync(join(tmpdir(), 'vmlet-install-'));
  try {
    const archive = await prepareRoot(folder);
    const { resolveImage } = await loadDist('image/index.js');
    for (const image of ['amd64', 'i386']) await resolveImage(image, { onProgress: text => console.error(`bench: ${text}`) });
    const results = [];
    for (const node of await resolveNodes(values.node)) {
      const runs = [];
      for (let round = 1; round <= repeat; round++) {
        for (const row of Object.keys(ROWS)) {
          for (const engine of ENGINES) {
            const run = await runJson(node.path, fileURLToPath(import.meta.url), ['--row', row, '--engine', engine, '--archive', archive]);
            runs.push({ row, engine, ...run });
            console.error(`bench:install: round ${round} of ${repeat}, Node ${node.version}, ${row}, ${engine}: ${run.wall.toFixed(2)} s`);
          }
        }
      }
      results.push({ node: node.version, runs });
    }
    const text = report(results);
    if (values.json) console.log(JSON.stringify({ benchmark: 'install', host, repeat, results, report: text }, null, 2));
    else console.log(`${hostLine(host)}; ${repeat} round${repeat === 1 ? '' : 's'}\n\n${text}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
