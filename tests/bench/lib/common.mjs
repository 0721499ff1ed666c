// What the benchmarks share: where things are, other Node versions, statistics, Markdown tables.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const REPOSITORY = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
/** The compiled host and core; VMLET_DIST names another build. */
export const DIST = resolve(process.env.VMLET_DIST ?? join(REPOSITORY, 'dist'));
export const CORE_FILE = join(DIST, 'core.wasm');

/** An error that is told to the user without a stack. */
export class BenchError extends Error {}

export const loadDist = async file => {
  const path = join(DIST, file);
  if (!existsSync(path)) throw new BenchError(`${path} is missing: build first (npm run build)`);
  return import(pathToFileURL(path).href);
};

/** The benchmarks' own folder under the user's cache folder, or VMLET_BENCH_CACHE. */
export const benchCache = async () => {
  const { cacheFolder } = await loadDist('image/index.js');
  const folder = process.env.VMLET_BENCH_CACHE ?? join(cacheFolder(), 'bench');
  mkdirSync(folder, { recursive: true });
  return folder;
};

/** Installs one npm package (no install scripts) into the cache folder; gives its folder. */
export const npmPackage = async (name, version) => {
  const prefix = join(await benchCache(), `npm-${name}-${version}`);
  const folder = join(prefix, 'node_modules', name);
  if (existsSync(join(folder, 'package.json'))) return folder;
  mkdirSync(prefix, { recursive: true });
  writeFileSync(join(prefix, 'package.json'), '{"private":true}\n');
  console.error(`installing ${name}@${version} into the benchmark cache`);
  try {
    execFileSync('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--no-save', `${name}@${version}`], { cwd: prefix, stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (error) {
    throw new BenchError(`cannot install ${name}@${version} with npm:\n${error.stderr ?? error}`);
  }
  return folder;
};

/** A Node binary: `current`, a version such as `24` (npm package node-PLATFORM-ARCH, installed into the cache), or a path. */
export const resolveNode = async spec => {
  if (spec === 'current') return { path: process.execPath, version: process.versions.node };
  let path = spec;
  if (/^\d+(\.\d+){0,2}$/.test(spec)) {
    path = join(await npmPackage(`node-${process.platform}-${process.arch}`, spec), 'bin', 'node');
  }
  try {
    return { path: resolve(path), version: execFileSync(resolve(path), ['-p', 'process.versions.node'], { encoding: 'utf8' }).trim() };
  } catch (error) {
    throw new BenchError(`cannot run ${path} as Node: ${error.message}`);
  }
};

export const NODE_OPTION = { type: 'string', multiple: true, default: ['current'] };

export const resolveNodes = async specs => {
  const nodes = [];
  for (const spec of specs.flatMap(value => value.split(','))) {
    const node = await resolveNode(spec);
    if (!nodes.some(({ version }) => version === node.version)) nodes.push(node);
  }
  return nodes;
};

export const median = values => {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

export const geometricMean = values => Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);

/** A Markdown table with aligned columns; the first column is text, the others are numbers or short texts. */
export const table = (head, rows) => {
  const cells = [head, ...rows].map(row => row.map(cell => String(cell ?? '')));
  const widths = head.map((_, n) => Math.max(3, ...cells.map(row => row[n].length)));
  const line = row => `| ${row.map((cell, n) => (n === 0 ? cell.padEnd(widths[n]) : cell.padStart(widths[n]))).join(' | ')} |`;
  const rule = `|${widths.map((width, n) => (n === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [line(cells[0]), rule, ...cells.slice(1).map(line)].join('\n');
};

/** What the figures depend on besides the code. */
export const hostInfo = () => ({
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  cores: cpus().length,
  load: +loadavg()[0].toFixed(2),
  node: process.versions.node,
  platform: `${process.platform} ${process.arch}`,
});

export const hostLine = ({ cpu, cores, load, platform }) => `${cpu}, ${cores} cores, ${platform}; load average ${load} at the start`;

/** VmRSS and VmHWM of a process in MB, or undefined where there is no /proc. */
export const processMemory = pid => {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const field = name => +(Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024).toFixed(1);
    return { rssMb: field('VmRSS'), peakMb: field('VmHWM') };
  } catch {
    return undefined;
  }
};

/** Processor time of a process and its threads so far, or of its main thread alone, in steps of 10 ms; undefined where there is no /proc. */
export const cpuSeconds = (pid, mainThread) => {
  try {
    const fields = readFileSync(mainThread ? `/proc/${pid}/task/${pid}/stat` : `/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return undefined;
  }
};

/** Runs a benchmark script in a process of its own and gives the JSON that it prints; its notes go to our stderr. */
export const runJson = (node, script, args) =>
  new Promise((done, failed) => {
    const child = spawn(node, [script, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', piece => (text += piece));
    child.on('error', failed);
    child.on('close', code => {
      try {
        done(JSON.parse(text));
      } catch {
        failed(new BenchError(`${script} ended with exit code ${code} and without a result${text === '' ? '' : `:\n${text.slice(-2000)}`}`));
      }
    });
  });

/** Runs a benchmark's main function; errors that a user can mend are printed without a stack. */
export const main = async body => {
  try {
    await body();
  } catch (error) {
    const usage = error instanceof BenchError || String(error?.code).startsWith('ERR_PARSE_ARGS') || String(error?.code).startsWith('ERR_VMLET');
    console.error(usage ? `bench: ${error.message}${error.hint ? `\nbench: ${error.hint}` : ''}` : error);
    process.exitCode = 1;
  }
};
