// npm run bench:net: TCP through NAT and between guests, beside QEMU's, and the memory of idle machines in a lab.
import { fork } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { BenchError, loadDist, main, median, REPOSITORY, table } from './lib/common.mjs';
import { qemuPair, qemuUserGuest, vmletGuest, vmletPair } from './lib/net-guests.mjs';

const REQUESTS = 100;
const USAGE = `usage: node tests/bench/net.mjs [options]
  --image NAME   the guest. Default: amd64
  --mb N         megabytes of a transfer. Default: 64
  --rounds N     transfers of each kind, in turn with QEMU's; the median counts. Default: 5
  --vms N        machines of the lab whose memory is measured; 0 for none. Default: 4
  --engine KIND  interp or jit
  --only LIST    of nat, pair
  --no-qemu      vmlet alone
  --quick        8 MB, one round
  --json         all figures as JSON`;

const serve = mb => `mkdir -p /tmp/www; dd if=/dev/zero of=/tmp/www/data bs=1M count=${mb} 2> /dev/null; echo > /tmp/www/index.html; httpd -h /tmp/www`;
const seconds = async work => {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
};

/** The far end, in a process of its own. */
const startPeer = async mb => {
  const child = fork(join(REPOSITORY, 'tests/bench/lib/net-peer.mjs'), [String(mb)]);
  let settle = () => {};
  child.on('message', message => settle(message));
  child.on('exit', () => settle({ error: 'the peer ended' }));
  const answer = () =>
    new Promise((resolve, reject) => {
      settle = message => (message.error === undefined ? resolve(message) : reject(new BenchError(message.error)));
    });
  const { port } = await answer();
  return {
    port,
    /** Fetches from a published port; resolves with { ms, bytes }. */
    fetch: (from, path, count = 1) => {
      child.send({ port: from, path, count });
      return answer();
    },
    close: () => child.disconnect(),
  };
};

/** Runs `rounds` of `work` for each contender in turn, so that all see the machine as busy; medians of wall seconds and processor seconds, behind one round that does not count. */
const inTurn = async (contenders, rounds, work) => {
  const wall = contenders.map(() => []);
  const cpu = contenders.map(() => []);
  for (let i = 0; i <= rounds; i++) {
    for (const [n, one] of contenders.entries()) {
      if (one === undefined) continue;
      const before = one.cpu();
      const took = await work(one);
      if (i === 0) continue;
      wall[n].push(took);
      cpu[n].push(one.cpu() - before);
    }
  }
  return contenders.map((one, n) => (one === undefined ? undefined : { wall: median(wall[n]), cpu: median(cpu[n]) }));
};

/** Rows of a table: what it is, then a number for each contender. */
const rowsOf = (name, results, mb) => [
  [`${name}, MB/s`, ...results.map(one => one && (mb << 20) / 1e6 / one.wall)],
  ['... processor time, ms for a MB', ...results.map(one => one && (one.cpu * 1e9) / (mb << 20))],
];

const natRows = async (guests, peer, mb, rounds) => {
  for (const guest of guests) await guest?.run(serve(mb));
  const down = await inTurn(guests, rounds, guest => seconds(() => guest.run(`wget -q -O /dev/null http://10.0.2.2:${peer.port}/data`)));
  const fetch = (guest, path, count) =>
    guest.serving(async () => {
      const { ms, bytes } = await peer.fetch(guest.published, path, count);
      if (path === '/data' && bytes !== mb << 20) throw new BenchError(`${bytes} bytes came`);
      return ms / 1000;
    });
  const up = await inTurn(guests, rounds, guest => fetch(guest, '/data', 1));
  const requests = await inTurn(guests, rounds, guest => fetch(guest, '/', REQUESTS));
  return [
    ...rowsOf('host to guest through NAT', down, mb),
    ...rowsOf('guest to host, published port', up, mb),
    ['a request to a published port, ms', ...requests.map(one => one && (one.wall * 1000) / REQUESTS)],
    ['... processor time, ms', ...requests.map(one => one && (one.cpu * 1000) / REQUESTS)],
  ];
};

const pairRows = async (pairs, mb, rounds) => {
  for (const pair of pairs) await pair?.a(serve(mb));
  return rowsOf('guest to guest', await inTurn(pairs, rounds, pair => seconds(() => pair.b(`wget -q -O /dev/null http://${pair.address}/data`))), mb);
};

const using = async (made, work) => {
  const all = [];
  try {
    for (const make of made) all.push((await make()) || undefined);
    return await work(all);
  } finally {
    for (const one of all) await one?.close();
  }
};

await main(async () => {
  const { values } = parseArgs({
    options: {
      image: { type: 'string', default: 'amd64' }, mb: { type: 'string' }, rounds: { type: 'string' }, vms: { type: 'string', default: '4' }, engine: { type: 'string' }, only: { type: 'string', default: 'nat,pair' },
      'no-qemu': { type: 'boolean' }, json: { type: 'boolean' }, quick: { type: 'boolean' }, help: { type: 'boolean', short: 'h' }, node: { type: 'string', multiple: true },
    },
  });
  if (values.help) return console.log(USAGE);
  const mb = Number(values.mb ?? (values.quick ? 8 : 64));
  const rounds = Number(values.rounds ?? (values.quick ? 1 : 5));
  const { image, engine } = values;
  const only = values.only.split(',');
  const qemu = !values['no-qemu'];
  const rows = [];
  const peer = await startPeer(mb);
  try {
    if (only.includes('nat')) rows.push(...(await using([() => vmletGuest({ image, engine, allow: peer.port }), () => qemu && qemuUserGuest({ image })], guests => natRows(guests, peer, mb, rounds))));
    if (only.includes('pair')) rows.push(...(await using([() => vmletPair({ image, engine }), () => qemu && qemuPair({ image })], pairs => pairRows(pairs, mb, rounds))));
  } finally {
    peer.close();
  }

  const count = Number(values.vms);
  let perVm;
  if (count > 0) {
    const { Lab } = await loadDist('index.js');
    globalThis.gc?.();
    const before = process.memoryUsage().rss;
    const one = { image, engine, shell: false, memory: '96M', nics: [{ switch: 'lan' }] };
    const crowd = await Lab.up({ switches: { lan: { subnet: '10.9.0.0/24', restrict: true } }, vms: Object.fromEntries(Array.from({ length: count }, (_, i) => [`m${i}`, one])) });
    for (const machine of crowd.vms.values()) await machine.ready();
    perVm = (process.memoryUsage().rss - before) / count / 2 ** 20;
    await crowd.stop();
  }
  const figure = value => (value === undefined ? '-' : value.toFixed(value < 10 ? 2 : 1));
  const report = [
    table([`TCP, ${mb} MB, ${image}`, 'vmlet', 'QEMU TCG'], rows.map(([name, ours, theirs]) => [name, figure(ours), figure(theirs)])),
    ...(perVm === undefined ? [] : ['', `Resident memory of an idle ${image} guest with 96 MB in a lab of ${count}: ${perVm.toFixed(0)} MB.`]),
  ].join('\n');
  console.log(values.json ? JSON.stringify({ rows, perVm, report }) : report);
});
