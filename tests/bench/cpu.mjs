// npm run bench:cpu: MIPS of the interpreter on loops of machine code and on the boot of a real kernel. See docs/benchmarks.md.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { BenchError, benchCache, hostInfo, hostLine, loadDist, main, median, NODE_OPTION, REPOSITORY, resolveNodes, runJson, table } from './lib/common.mjs';
import { LOOPS } from './lib/loops.mjs';

const TARGETS = { loop: 200, boot: 80 };
const HERE = join(REPOSITORY, 'tests/bench');
const USAGE = `usage: node tests/bench/cpu.mjs [options]
  --runs N       measured runs of every loop (5)
  --seconds S    length of a run (1)
  --boots N      boots of the amd64 kernel, each in a process of its own (3)
  --node SPEC    Node to run under: current, a version (24) or a path; may be repeated
  --json         the figures as JSON, on stdout
  --quick        2 runs of 0.5 s, one boot`;

/** The guest's first process for the boot row: mounts what every guest mounts, says so and powers off. */
const INIT = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox echo @BOOTED
/bin/busybox poweroff -f
`;

const boot = (node, options) =>
  new Promise((done, failed) => {
    const child = spawn(node, [join(HERE, 'vmlet-child.mjs'), JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'inherit', 'pipe'] });
    let consoleText = '', report = '';
    child.stdout.setEncoding('latin1').on('data', piece => (consoleText += piece));
    child.stdio[3].setEncoding('utf8').on('data', piece => (report += piece));
    child.on('error', failed);
    child.on('close', () => {
      if (report === '' || !consoleText.includes('@BOOTED') || JSON.parse(report).reason !== 'poweroff') {
        failed(new BenchError(`the guest did not boot and power off: ${report || 'no report'}\n${consoleText.slice(-1500)}`));
      } else done(JSON.parse(report));
    });
  });

const figures = async (node, { runs, seconds, boots, folder }) => {
  console.error(`bench:cpu: loops under Node ${node.version}`);
  const loops = await runJson(node.path, join(HERE, 'cpu-loops.mjs'), [runs, seconds].map(String));
  const { resolveImage, writeCpio, cpioFile } = await loadDist('image/index.js');
  const image = await resolveImage('amd64');
  const append = join(folder, 'boot-init.cpio');
  writeFileSync(append, writeCpio([cpioFile('bench-init', INIT, 0o755)]));
  const options = {
    arch: image.arch,
    kernel: image.kernel.bzImage,
    vmlinux: image.kernel.vmlinux,
    initrd: image.initrd,
    append,
    cmdline: 'console=ttyS0 rdinit=/bench-init',
    memoryMb: 512,
    report: true,
  };
  const bootRuns = [], compiledBoots = [];
  for (let n = 0; n < boots; n++) {
    console.error(`bench:cpu: boot ${n + 1} of ${boots} under Node ${node.version}`);
    bootRuns.push(await boot(node.path, { ...options, engine: 'interp' }));
    compiledBoots.push(await boot(node.path, { ...options, engine: 'jit' }));
  }
  return { node: node.version, ...loops, boots: bootRuns, compiledBoots, kernel: image.kernelVersion };
};

const report = results => {
  const nodes = results.map(({ node }) => node);
  const number = value => (value >= 100 ? value.toFixed(0) : value.toFixed(1));
  const pair = values => `${number(Math.max(...values))} / ${number(median(values))}`;
  const heads = nodes.map(node => `Node ${node}`);
  const verdict = (target, values) => (values.every(value => value >= target) ? 'met' : 'missed');
  const rows = [];
  for (const name of Object.keys(LOOPS)) {
    for (const bits of [64, 32]) {
      const all = results.map(({ mips }) => mips[`${name} ${bits}`]);
      const judged = name !== 'sse';
      rows.push([`${name}, ${bits}-bit`, ...all.map(pair), judged ? `>= ${TARGETS.loop}` : '', judged ? verdict(TARGETS.loop, all.map(median)) : '']);
    }
  }
  if (results.every(({ boots }) => boots.length > 0)) {
    const speeds = results.map(({ boots }) => boots.map(({ instructions, wallMs }) => instructions / wallMs / 1000));
    rows.push([`boot, amd64 (${results[0].kernel})`, ...speeds.map(pair), `>= ${TARGETS.boot}`, verdict(TARGETS.boot, speeds.map(median))]);
  }
  const compiledRows = [];
  for (const name of Object.keys(LOOPS)) {
    for (const bits of [64, 32]) {
      const key = `${name} ${bits}`;
      compiledRows.push([`${name}, ${bits}-bit`, ...results.flatMap(({ mips, jit }) => [pair(jit[key]), `${(median(jit[key]) / median(mips[key])).toFixed(2)}x`])]);
    }
  }
  const hasBoots = results.every(({ boots }) => boots.length > 0);
  const speed = ({ instructions, wallMs }) => instructions / wallMs / 1000;
  if (hasBoots) {
    const values = results.flatMap(({ boots, compiledBoots }) => {
      const [interpreted, compiled] = [boots.map(speed), compiledBoots.map(speed)];
      return [pair(compiled), `${(median(compiled) / median(interpreted)).toFixed(2)}x`];
    });
    compiledRows.push([`boot, amd64 (${results[0].kernel})`, ...values]);
  }
  const parts = ['### MIPS of the interpreter (best / median)', table(['loop', ...heads, 'target', 'median']  , rows)];
  parts.push('### MIPS with the compiler (best / median; against the interpreter)', table(['loop', ...heads.flatMap(head => [head, 'ratio'])], compiledRows));
  if (hasBoots) {
    const every = of => results.map(({ compiledBoots }) => of(key => median(compiledBoots.map(({ jit }) => jit[key])), compiledBoots));
    const compiling = [
      ['regions', ...every(of => of('regions'))],
      ['guest instructions compiled', ...every(of => of('compiled'))],
      ['instructions of a region', ...every(of => (of('compiled') / of('regions')).toFixed(1))],
      ['wasm bytes for a guest instruction', ...every(of => (of('bytes') / of('compiled')).toFixed(1))],
      ['guest instructions a millisecond, emitting', ...every(of => (of('compiled') / of('emitMs')).toFixed(0))],
      ['... emitting and V8', ...every(of => (of('compiled') / (of('emitMs') + of('linkMs'))).toFixed(0))],
      ['time to compile, ms', ...every(of => (of('emitMs') + of('linkMs')).toFixed(0))],
      ['instructions executed as compiled code', ...every((of, all) => `${((100 * of('executed')) / median(all.map(({ instructions }) => instructions))).toFixed(1)} %`)],
      ['instructions for an entry of a region', ...every(of => (of('executed') / of('entries')).toFixed(1))],
    ];
    parts.push('### The compiler in that boot (medians)', table(['what', ...heads], compiling));
  }
  const cold = [];
  for (const bits of [64, 32]) {
    cold.push([`blocks, ${bits}-bit (M/s)`, ...results.map(({ decode }) => pair(decode[bits].map(({ blocks }) => blocks)))]);
    cold.push([`instructions, ${bits}-bit (M/s)`, ...results.map(({ decode }) => pair(decode[bits].map(({ instructions }) => instructions)))]);
  }
  parts.push('### New code: decoded and run once (best / median)', table(['what', ...heads], cold));
  const bulk = Object.keys(results[0].bulk).map(name => [`${name.replace(/ (\d+)$/, ', $1-bit')} (GB/s)`, ...results.map(({ bulk: all }) => pair(all[name].map(value => value / 1000)))]);
  parts.push('### Repeated string instructions over 64 KB (best / median)', table(['what', ...heads], bulk));
  if (results.every(({ boots }) => boots.length > 0)) {
    const bootRows = results.map(({ node, boots }) => [
      `Node ${node}`,
      (median(boots.map(({ instructions }) => instructions)) / 1e6).toFixed(1),
      median(boots.map(({ wallMs }) => wallMs / 1000)).toFixed(2),
      (median(boots.map(({ timeNs }) => timeNs)) / 1e9).toFixed(2),
    ]);
    parts.push('### The boot (from the kernel\'s entry to power-off; idle time is not counted)', table(['run under', 'M instructions', 'wall s', 'guest s'], bootRows));
  }
  return parts.join('\n\n');
};

await main(async () => {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string' }, seconds: { type: 'string' }, boots: { type: 'string' },
      node: NODE_OPTION, json: { type: 'boolean' }, quick: { type: 'boolean' }, help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return console.log(USAGE);
  const settings = {
    runs: Number(values.runs ?? (values.quick ? 2 : 5)),
    seconds: Number(values.seconds ?? (values.quick ? 0.5 : 1)),
    boots: Number(values.boots ?? (values.quick ? 1 : 3)),
  };
  if (!(settings.runs >= 1 && settings.seconds > 0 && settings.boots >= 0)) throw new BenchError(USAGE);
  const host = hostInfo();
  const folder = mkdtempSync(join(tmpdir(), 'vmlet-bench-'));
  try {
    await benchCache();
    const results = [];
    for (const node of await resolveNodes(values.node)) results.push(await figures(node, { ...settings, folder }));
    if (values.json) console.log(JSON.stringify({ benchmark: 'cpu', host, settings, results, report: report(results) }, null, 2));
    else console.log(`${hostLine(host)}\n\n${report(results)}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
