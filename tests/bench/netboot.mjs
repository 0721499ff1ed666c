// npm run bench:net, its second part: TFTP beside tftpd-hpa and tftp-hpa, the PXE ROM, booting over the wire.
import { parseArgs } from 'node:util';
import { BenchError, table } from './lib/common.mjs';
import { bootRows } from './lib/net-boot.mjs';

/** Each row is { name, needs(), run() }, with `once` where it takes minutes. */
const ROWS = [...bootRows];

const { values } = parseArgs({ options: { only: { type: 'string' }, rounds: { type: 'string', default: '3' } } });
const results = [];
for (const row of ROWS) {
  if (values.only !== undefined && !row.name.toLowerCase().includes(values.only.toLowerCase())) continue;
  if (!row.needs()) {
    results.push([row.name, '-', 'its programs are not installed']);
    continue;
  }
  try {
    const rounds = [];
    for (let i = 0; i < (row.once ? 1 : Number(values.rounds)); i++) rounds.push(await row.run());
    rounds.sort((a, b) => a.value - b.value);
    const { value, unit, note = '' } = rounds[rounds.length >> 1];
    results.push([row.name, `${value.toFixed(value < 10 ? 2 : 0)} ${unit}`, note]);
  } catch (error) {
    results.push([row.name, '-', error instanceof BenchError ? error.message : String(error)]);
  }
  console.error(results.at(-1).join('  '));
}
console.log(table(['', 'median', ''], results));
process.exit(0);
