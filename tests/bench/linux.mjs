// npm run bench:linux: a real kernel and eleven workloads on vmlet, v86, QEMU TCG and the bare host. See docs/benchmarks.md.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { BenchError, geometricMean, hostInfo, hostLine, main, median, NODE_OPTION, resolveNodes, table } from './lib/common.mjs';
import { CONTENDERS, RATIOS } from './lib/contenders.mjs';
import { benchSources, prepareGuest } from './lib/guest.mjs';
import { timeMarks } from './lib/marks.mjs';

const OF_PROGRAM = ['fib', 'sieve', 'crc32', 'sha256', 'qsort', 'memcpy', 'nbody', 'trees', 'syscall', 'fork', 'pipe'];
const WORKLOADS = [...OF_PROGRAM, 'sh', 'gzip', 'awk'];
const ROWS = ['boot', ...WORKLOADS, 'total'];
const ENGINES = ['interp', 'jit'];
/** The result of `syscall` holds the parent's process number, which differs natively; gzip and awk print theirs elsewhere. */
const WITHOUT_SUM = new Set(['syscall', 'gzip', 'awk']);
const USAGE = `usage: node tests/bench/linux.mjs [options]
  --only LIST     contenders, by commas: ${Object.keys(CONTENDERS).join(', ')}
  --rows LIST     workloads, by commas: the guest ends behind the last of them; the C program's run in their order, the shell's alone
  --engine E      vmlet's engine: interp, jit (what users get by default) or both
  --dist NAME=DIR another build of vmlet to compare with this one; may be repeated
  --repeat N      rounds; every round runs every contender once, the table has medians (3)
  --node SPEC     Node for vmlet and v86: current, a version (24) or a path; may be repeated
  --sources DIR   folder of gb.c and init (VMLET_BENCH_DIR, else shared/bench beside the repository)
  --cpu-time      count processor time in place of wall time, for a busy machine: of Node's main thread, of all of QEMU's
  --boot-only     end at the marker of the boot; the same as --rows boot
  --append TEXT   more words for the kernel's command line, for every contender
  --timeout S     wall seconds for one contender (300)
  --json          the figures as JSON, on stdout
  --out FILE      the figures as JSON, to a file
  --quick         one round`;

/** The builds to compare, { name, env }: this one, and what --dist names. */
const buildsOf = specs => [
  { name: '', env: {} },
  ...specs.map(spec => {
    const [, name, folder] = /^(\w[\w.-]*)=(.+)$/.exec(spec) ?? [];
    if (name === undefined || !existsSync(join(folder, 'core.wasm'))) throw new BenchError(`--dist '${spec}': give a name and the folder of a build, such as old=../old/dist`);
    return { name, env: { VMLET_DIST: resolve(folder) } };
  }),
];

/** The runs to make, [{ key, name, node, contender, engine, build, env }], as the options ask for them. */
const plan = (only, nodes, engines, builds) => {
  const unknown = only.filter(name => CONTENDERS[name] === undefined);
  if (unknown.length > 0) throw new BenchError(`unknown contender ${unknown.join(', ')}\n${USAGE}`);
  return only.flatMap(name => {
    const contender = CONTENDERS[name];
    if (!contender.onNode) return [{ key: name, name, contender }];
    const withNode = nodes.map(node => ({ key: nodes.length > 1 ? `${name}@${node.version.split('.')[0]}` : name, name, node, contender }));
    if (!contender.ours) return withNode;
    return withNode.flatMap(entry =>
      builds.flatMap(build => engines.map(engine => ({ ...entry, key: [entry.key, engines.length > 1 && engine, build.name].filter(Boolean).join(' '), engine, build: build.name, env: build.env }))),
    );
  });
};

const valueOf = (run, row) => (row === 'boot' || row === 'total' ? run[row] : run.rows[row]);

const medians = (runs, shown) => {
  const good = runs.filter(({ error }) => error === undefined);
  return Object.fromEntries(
    shown.flatMap(row => {
      const values = good.map(run => valueOf(run, row)).filter(value => value !== undefined);
      return values.length === 0 ? [] : [[row, median(values)]];
    }),
  );
};

/** Texts that tell where contenders disagree about a workload's result. */
const disagreements = (entries, runs) => {
  const found = [];
  const seen = new Map();
  for (const { key, contender } of entries) {
    for (const run of runs[key] ?? []) {
      for (const [row, sum] of Object.entries(run.sums)) {
        if (WITHOUT_SUM.has(row)) continue;
        const place = `${contender.arch} ${row}`;
        const first = seen.get(place) ?? { key, sum };
        seen.set(place, first);
        if (first.sum !== sum) found.push(`${row}: ${key} says ${sum}, ${first.key} says ${first.sum}`);
      }
    }
  }
  return [...new Set(found)];
};

const ratios = (entries, times) => {
  const columns = [];
  const add = (mine, other) => {
    if (other === undefined || times[mine.key] === undefined || times[other.key] === undefined) return;
    const rows = Object.fromEntries(ROWS.filter(row => times[mine.key][row] > 0 && times[other.key][row] > 0).map(row => [row, times[other.key][row] / times[mine.key][row]]));
    columns.push({ name: `${other.key} : ${mine.key}`, rows, mean: geometricMean(WORKLOADS.filter(row => row in rows).map(row => rows[row])) });
  };
  for (const { rival, ours } of RATIOS) {
    for (const mine of entries.filter(({ name }) => name === ours)) {
      add(mine, entries.find(({ name, node }) => name === rival && (node === undefined || node.version === mine.node.version)));
    }
  }
  // Our own engines and builds against each other.
  for (const mine of entries.filter(({ contender }) => contender.ours)) {
    const beside = entries.filter(({ name, node }) => name === mine.name && node === mine.node);
    if (mine.engine === 'jit') add(mine, beside.find(({ engine, build }) => engine === 'interp' && build === mine.build));
    if (mine.build === '') for (const other of beside) if (other.build !== '' && other.engine === mine.engine) add(mine, other);
  }
  return columns;
};

const report = ({ entries, times, comparisons, peaks, clock }) => {
  const shown = entries.filter(({ key }) => Object.keys(times[key] ?? {}).length > 0);
  const seconds = value => (value === undefined ? '' : value >= 10 ? value.toFixed(1) : value >= 0.1 ? value.toFixed(2) : value.toFixed(3));
  const factor = value => (value === undefined ? '' : value >= 10 ? value.toFixed(1) : value.toFixed(2));
  const known = ROWS.filter(row => shown.some(({ key }) => times[key][row] !== undefined));
  const rows = known.map(row => [row, ...shown.map(({ key }) => seconds(times[key][row]))]);
  rows.push(['peak memory of the process, MB', ...shown.map(({ key }) => (peaks[key] === undefined ? '' : peaks[key].toFixed(0)))]);
  if (shown.length === 0) return 'No contender came to its end.';
  const parts = [`### Seconds of ${clock} time (medians)`, table(['row', ...shown.map(({ key }) => key)], rows)];
  if (comparisons.length > 0) {
    const ratioRows = known.map(row => [row, ...comparisons.map(({ rows: all }) => factor(all[row]))]);
    if (!comparisons.some(({ mean }) => Number.isNaN(mean))) ratioRows.push(['geometric mean of the workloads', ...comparisons.map(({ mean }) => factor(mean))]);
    parts.push('### How many times as fast vmlet is (the other\'s seconds : vmlet\'s seconds; below 1 vmlet loses)', table(['row', ...comparisons.map(({ name }) => name)], ratioRows));
  }
  return parts.join('\n\n');
};

await main(async () => {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' }, repeat: { type: 'string' }, node: NODE_OPTION, sources: { type: 'string' }, timeout: { type: 'string', default: '300' },
      rows: { type: 'string' }, engine: { type: 'string' }, dist: { type: 'string', multiple: true, default: [] }, 'boot-only': { type: 'boolean', default: false }, append: { type: 'string' }, 'cpu-time': { type: 'boolean', default: false },
      json: { type: 'boolean' }, out: { type: 'string' }, quick: { type: 'boolean' }, help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return console.log(USAGE);
  const repeat = Number(values.repeat ?? (values.quick ? 1 : 3));
  const timeoutS = Number(values.timeout);
  if (!(repeat >= 1 && timeoutS > 0)) throw new BenchError(USAGE);
  const host = hostInfo();
  const sources = benchSources(values.sources);
  const nodes = await resolveNodes(values.node);
  if (values.engine !== undefined && ![...ENGINES, 'both'].includes(values.engine)) throw new BenchError(USAGE);
  const engines = values.engine === 'both' ? ENGINES : [values.engine ?? 'jit'];
  const entries = plan(values.only?.split(',') ?? Object.keys(CONTENDERS), nodes, engines, buildsOf(values.dist));
  const wanted = values['boot-only'] ? ['boot'] : values.rows?.split(',') ?? ROWS;
  if (wanted.length === 0 || wanted.some(row => !ROWS.includes(row))) throw new BenchError(`--rows knows ${ROWS.join(', ')}`);
  const last = ROWS.findLast(row => wanted.includes(row));
  const lastMark = last === 'total' ? undefined : last === 'boot' ? { kind: 'BOOTED' } : { kind: 'E', name: last };
  const inGuest = last === 'total' ? ROWS : wanted;
  const folder = mkdtempSync(join(tmpdir(), 'vmlet-bench-'));
  const problems = new Map();
  try {
    const guests = {};
    for (const arch of new Set(entries.map(({ contender }) => contender.arch))) {
      try {
        guests[arch] = await prepareGuest(arch, { sources, folder, rows: inGuest, ofProgram: OF_PROGRAM });
      } catch (error) {
        if (!(error instanceof BenchError) && !String(error.code).startsWith('ERR_VMLET')) throw error;
        for (const { key, contender } of entries) if (contender.arch === arch) problems.set(key, error.message);
      }
    }
    const runs = {};
    for (let round = 1; round <= repeat; round++) {
      for (const { key, node, contender, engine, env } of entries) {
        const { arch, untilExit } = contender;
        if (problems.has(key)) continue;
        try {
          const command = await contender.command(guests[arch], { node, engine, append: values.append === undefined ? '' : ` ${values.append}` });
          const run = await timeMarks(command, { timeoutS, untilExit, lastMark, env, clock: !values['cpu-time'] || untilExit ? 'wall' : contender.onNode ? 'mainThread' : 'process' });
          (runs[key] ??= []).push(run);
          console.error(`bench:linux: round ${round} of ${repeat}, ${key}: ${run.error ?? `${run.total.toFixed(1)} s`}`);
          if (run.error !== undefined) problems.set(key, `${run.error}\n${run.tail}`);
        } catch (error) {
          if (!(error instanceof BenchError)) throw error;
          problems.set(key, error.message);
        }
      }
    }
    const times = Object.fromEntries(Object.entries(runs).map(([key, all]) => [key, medians(all, wanted)]));
    const peaks = Object.fromEntries(Object.entries(runs).map(([key, all]) => [key, Math.max(...all.map(({ peakMb }) => peakMb ?? 0)) || undefined]));
    const comparisons = ratios(entries, times);
    const wrong = disagreements(entries, runs);
    const clock = values['cpu-time'] ? 'processor' : 'wall';
    const text = report({ entries, times, comparisons, peaks, clock });
    const result = {
      benchmark: 'linux',
      host,
      repeat,
      clock,
      append: values.append,
      kernels: Object.fromEntries(Object.values(guests).map(({ arch, kernelVersion }) => [arch, kernelVersion])),
      nodes: nodes.map(({ version }) => version),
      runs, times, comparisons, problems: Object.fromEntries(problems), disagreements: wrong, report: text,
    };
    if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(result, null, 2)}\n`);
    if (values.json) console.log(JSON.stringify(result, null, 2));
    else {
      const kernels = Object.values(result.kernels).join(', ');
      console.log(`${hostLine(host)}; Node ${result.nodes.join(', ')}; kernels ${kernels}; ${repeat} round${repeat === 1 ? '' : 's'}\n\n${text}`);
    }
    for (const [key, problem] of problems) console.error(`bench: ${key} is missing: ${problem}`);
    for (const problem of wrong) console.error(`bench: results differ: ${problem}`);
    const failed = entries.some(({ key, name }) => name.startsWith('vmlet') && problems.has(key));
    if (failed || wrong.length > 0 || Object.keys(times).length === 0) process.exitCode = 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
