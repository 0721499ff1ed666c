// npm run bench:startup: process start to the guest's first instruction, memory of a guest at the shell, size of the core. See docs/benchmarks.md.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { BenchError, CORE_FILE, DIST, hostInfo, hostLine, loadDist, main, median, NODE_OPTION, processMemory, REPOSITORY, resolveNodes, table } from './lib/common.mjs';

const TARGETS = { firstInstructionMs: 300, rssMb: 350, coreMb: 1 };
const HERE = join(REPOSITORY, 'tests/bench');
const HOOK = join(HERE, 'lib/first-run-hook.mjs');
const CLI = join(DIST, 'cli/main.js');
const MEMORY_MB = 512;
const PROMPT = /[#$] (?:\x1b\[6n)?$/;
const SETTLE_MS = 1000;
const TIMEOUT_MS = 120_000;
const USAGE = `usage: node tests/bench/startup.mjs [options]
  --runs N       starts measured (9)
  --node SPEC    Node to run under: current, a version (24) or a path; may be repeated
  --via WHAT     cli or machine (cli when it is built)
  --json         the figures as JSON, on stdout
  --quick        3 starts`;

/** The command line of a guest with the built-in amd64 image; `shell` is one that is talked to, otherwise it runs one command. */
const commandLine = (via, shell) =>
  via === 'cli'
    ? [CLI, 'run', '-m', `${MEMORY_MB}M`, ...(shell ? [] : ['--', 'true'])]
    : [join(HERE, 'vmlet-child.mjs'), JSON.stringify({ image: 'amd64', memoryMb: MEMORY_MB, time: shell ? 'realtime' : 'warp' })];

/** Milliseconds from before the process is made to the first call into the core. */
const firstInstruction = (node, via) =>
  new Promise((done, failed) => {
    const env = { ...process.env, VMLET_BENCH_FD: '3' };
    const start = performance.timeOrigin + performance.now();
    const child = spawn(node, ['--import', HOOK, ...commandLine(via, false)], { stdio: ['ignore', 'ignore', 'pipe', 'pipe'], env });
    let notes = '';
    child.stderr.setEncoding('utf8').on('data', piece => (notes += piece));
    child.stdio[3].setEncoding('utf8').once('data', text => {
      child.kill('SIGKILL');
      done(Number(text) - start);
    });
    child.on('error', failed);
    child.on('close', code => failed(new BenchError(`vmlet ended with exit code ${code} before it ran an instruction\n${notes.slice(-1500)}`)));
  });

/** Boots to the shell and waits until it is idle; gives memory and the seconds from process start to the prompt. */
const atShell = (node, via) =>
  new Promise((done, failed) => {
    const start = performance.now();
    const child = spawn(node, commandLine(via, true), { stdio: ['pipe', 'pipe', 'pipe'] });
    let text = '';
    let settling = false;
    const end = (error, value) => {
      clearTimeout(timer);
      child.kill('SIGKILL');
      if (error) failed(error);
      else done(value);
    };
    const timer = setTimeout(() => end(new BenchError(`no shell after ${TIMEOUT_MS / 1000} s\n${text.slice(-1500)}`)), TIMEOUT_MS);
    const read = piece => {
      text += piece;
      if (settling || !PROMPT.test(text)) return;
      settling = true;
      const promptS = (performance.now() - start) / 1000;
      setTimeout(() => end(undefined, { promptS, ...processMemory(child.pid) }), SETTLE_MS);
    };
    child.stdout.setEncoding('latin1').on('data', read);
    child.stderr.setEncoding('latin1').on('data', piece => (text += piece));
    child.stdin.on('error', () => {});
    child.on('error', error => end(error));
    child.on('close', code => end(new BenchError(`vmlet ended with exit code ${code} before its shell was ready\n${text.slice(-1500)}`)));
  });

const report = (results, core) => {
  const verdict = (target, values) => (values.every(value => value < target) ? 'met' : 'missed');
  const heads = results.map(({ node }) => `Node ${node}`);
  const starts = results.map(({ startMs }) => median(startMs));
  const resident = results.map(({ shell }) => shell.rssMb);
  const coreMb = core.bytes / 1e6;
  const same = value => results.map(() => value);
  const rows = [
    ['process start to the first instruction, ms (median)', ...starts.map(value => value.toFixed(0)), `< ${TARGETS.firstInstructionMs}`, verdict(TARGETS.firstInstructionMs, starts)],
    ['... slowest of the runs, ms', ...results.map(({ startMs }) => Math.max(...startMs).toFixed(0)), '', ''],
    ['bare Node, start to end, ms (median)', ...results.map(({ nodeMs }) => median(nodeMs).toFixed(0)), '', ''],
    [`resident memory, ${MEMORY_MB} MB guest at the shell, MB`, ...resident.map(value => value?.toFixed(0)), `< ${TARGETS.rssMb}`, verdict(TARGETS.rssMb, resident)],
    ['... at its peak, MB', ...results.map(({ shell }) => shell.peakMb?.toFixed(0)), '', ''],
    ['process start to the shell\'s prompt, s', ...results.map(({ shell }) => shell.promptS.toFixed(2)), '', ''],
    ['wasm core, MB', ...same(coreMb.toFixed(3)), `< ${TARGETS.coreMb}`, verdict(TARGETS.coreMb, [coreMb])],
    ['... gzipped, MB', ...same((core.gzipBytes / 1e6).toFixed(3)), '', ''],
  ];
  return ['### Start-up and size', table(['what', ...heads, 'target', ''], rows)].join('\n\n');
};

const nodeStart = node =>
  new Promise((done, failed) => {
    const start = performance.now();
    spawn(node, ['-e', '0'], { stdio: 'ignore' }).on('error', failed).on('close', () => done(performance.now() - start));
  });

const repeat = async (count, body) => {
  const values = [];
  for (let n = 0; n < count; n++) values.push(await body());
  return values;
};

await main(async () => {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string' }, node: NODE_OPTION, via: { type: 'string' },
      json: { type: 'boolean' }, quick: { type: 'boolean' }, help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return console.log(USAGE);
  const runs = Number(values.runs ?? (values.quick ? 3 : 9));
  const via = values.via ?? (existsSync(CLI) ? 'cli' : 'machine');
  if (!(runs >= 1) || !['cli', 'machine'].includes(via)) throw new BenchError(USAGE);
  const host = hostInfo();
  const { resolveImage } = await loadDist('image/index.js');
  await resolveImage('amd64', { onProgress: text => console.error(`bench: ${text}`) });
  const results = [];
  for (const node of await resolveNodes(values.node)) {
    console.error(`bench:startup: Node ${node.version}, by the ${via}`);
    await firstInstruction(node.path, via);
    const startMs = await repeat(runs, () => firstInstruction(node.path, via));
    const nodeMs = await repeat(Math.min(runs, 5), () => nodeStart(node.path));
    results.push({ node: node.version, startMs, nodeMs, shell: await atShell(node.path, via) });
  }
  const bytes = readFileSync(CORE_FILE);
  const core = { bytes: bytes.length, gzipBytes: gzipSync(bytes, { level: 9 }).length };
  const text = report(results, core);
  if (values.json) console.log(JSON.stringify({ benchmark: 'startup', host, via, results, core, report: text }, null, 2));
  else console.log(`${hostLine(host)}; by the ${via}\n\n${text}`);
});
