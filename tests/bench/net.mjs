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
  --rounds N     transfers of each kind; the median counts. Default: 3
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

/** MB/s to the guest and from it, and ms for a request to it; of `rounds` transfers each, behind one of each that does not count. */
const throughNat = async (guest, peer, mb, rounds) => {
  const down = [];
  const up = [];
  await guest.run(serve(mb));
  for (let i = 0; i <= rounds; i++) down.push((mb << 20) / 1e6 / (await seconds(() => guest.run(`wget -q -O /dev/null http://10.0.2.2:${peer.port}/data`))));
  guest.idle();
  for (let i = 0; i <= rounds; i++) {
    const { ms, bytes } = await peer.fetch(guest.published, '/data');
    if (bytes !== mb << 20) throw new BenchError(`${bytes} bytes came`);
    up.push(bytes / 1e3 / ms);
  }
  const { ms } = await peer.fetch(guest.published, '/', REQUESTS);
  return { down: median(down.slice(1)), up: median(up.slice(1)), requestMs: ms / REQUESTS };
};

const between = async (pair, mb, rounds) => {
  const rates = [];
  await pair.a(serve(mb));
  for (let i = 0; i <= rounds; i++) rates.push((mb << 20) / 1e6 / (await seconds(() => pair.b(`wget -q -O /dev/null http://${pair.address}/data`))));
  return median(rates.slice(1));
};

const using = async (made, work) => {
  const one = await made;
  if (one === undefined) return undefined;
  try {
    return await work(one);
  } finally {
    await one.close();
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
  const rounds = Number(values.rounds ?? (values.quick ? 1 : 3));
  const { image, engine } = values;
  const only = values.only.split(',');
  const qemu = !values['no-qemu'];
  const rows = [];
  const peer = await startPeer(mb);
  try {
    if (only.includes('nat')) {
      const theirs = qemu ? await using(qemuUserGuest({ image }), guest => throughNat(guest, peer, mb, rounds)) : undefined;
      const ours = await using(vmletGuest({ image, engine, allow: peer.port }), guest => throughNat(guest, peer, mb, rounds));
      rows.push(['host to guest through NAT, MB/s', ours.down, theirs?.down], ['guest to host, published port, MB/s', ours.up, theirs?.up], ['a request to a published port, ms', ours.requestMs, theirs?.requestMs]);
    }
    if (only.includes('pair')) {
      const theirs = qemu ? await using(qemuPair({ image }), pair => between(pair, mb, rounds)) : undefined;
      rows.push(['guest to guest, MB/s', await using(vmletPair({ image, engine }), pair => between(pair, mb, rounds)), theirs]);
    }
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
