// npm run bench: all benchmarks, one report.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { hostInfo, hostLine, main, NODE_OPTION, REPOSITORY, runJson } from './lib/common.mjs';

const HERE = join(REPOSITORY, 'tests/bench');
const PARTS = { startup: 'Start-up', cpu: 'Interpreter', linux: 'Linux workloads', install: 'Cold code', net: 'Network' };
const USAGE = `usage: node tests/bench/all.mjs [options]
  --quick        fewer and shorter runs
  --node SPEC    Node to run under: current, a version (24) or a path; may be repeated. Default: current and 24; with --quick: current
  --part LIST    of ${Object.keys(PARTS).join(', ')}
  --out FILE     all figures as JSON`;

await main(async () => {
  const { values } = parseArgs({
    options: { quick: { type: 'boolean' }, node: { ...NODE_OPTION, default: undefined }, part: { type: 'string' }, out: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  });
  if (values.help) return console.log(USAGE);
  const parts = values.part?.split(',') ?? Object.keys(PARTS);
  const nodes = values.node ?? (values.quick ? ['current'] : ['current', '24']);
  const args = [...nodes.flatMap(spec => ['--node', spec]), ...(values.quick ? ['--quick'] : []), '--json'];
  const host = hostInfo();
  const results = {};
  console.log(`# vmlet benchmarks\n\n${hostLine(host)}`);
  for (const part of parts) {
    console.log(`\n## ${PARTS[part] ?? part}\n`);
    try {
      results[part] = await runJson(process.execPath, join(HERE, `${part}.mjs`), args);
      console.log(results[part].report);
    } catch (error) {
      console.log(`Failed: ${error.message}`);
      process.exitCode = 1;
    }
  }
  if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify({ host, results }, null, 2)}\n`);
});
