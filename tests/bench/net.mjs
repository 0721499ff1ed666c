// npm run bench:net: TCP through NAT and between guests, beside QEMU's user network, and the memory of idle machines in a lab.
import { spawn } from 'node:child_process';
import { createServer, get } from 'node:http';
import { createServer as createTcp } from 'node:net';
import { parseArgs } from 'node:util';
import { loadDist, main } from './lib/common.mjs';

const now = () => performance.now();
const listen = server => new Promise(resolve => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));
const freePort = async () => {
  const server = createTcp();
  const port = await listen(server);
  await new Promise(resolve => server.close(resolve));
  return port;
};
const fetchBytes = port =>
  new Promise((resolve, reject) => {
    let bytes = 0;
    get({ host: '127.0.0.1', port, path: '/data', agent: false }, response => response.on('data', part => (bytes += part.length)).on('end', () => resolve(bytes))).on('error', reject);
  });
const SERVE = mb => `mkdir -p /tmp/www; dd if=/dev/zero of=/tmp/www/data bs=1M count=${mb} 2> /dev/null; httpd -h /tmp/www`;

/** MB/s of both directions of a guest on QEMU TCG with the same kernel and initrd; undefined without QEMU. */
const qemu = async (image, mb, httpPort) => {
  const published = await freePort();
  const is64 = image.arch === 'x86_64';
  const child = spawn(is64 ? 'qemu-system-x86_64' : 'qemu-system-i386', [
    '-accel', 'tcg', '-m', '256', '-nographic', '-no-reboot', '-kernel', image.kernel.bzImage, '-initrd', image.initrd, '-append', `${image.cmdline} quiet vmlet.shell vmlet.net=dhcp`,
    '-netdev', `user,id=n,hostfwd=tcp:127.0.0.1:${published}-:80`, '-device', 'virtio-net-pci,netdev=n,romfile=',
  ]);
  let text = '';
  let waiting = () => {};
  child.stdout.on('data', part => {
    text += part;
    waiting();
  });
  const failed = new Promise((_, reject) => child.on('error', reject));
  const seen = pattern => Promise.race([failed, new Promise(resolve => (waiting = () => pattern.test(text) && resolve())()) ]);
  const run = async command => {
    text = '';
    child.stdin.write(`${command}; echo DO''NE\n`);
    await seen(/DONE/);
  };
  try {
    await seen(/# $/);
    await run(SERVE(mb));
    const start = now();
    await run(`wget -q -O /dev/null http://10.0.2.2:${httpPort}/data`);
    const down = now() - start;
    const again = now();
    await fetchBytes(published);
    return { down: (mb * 1000) / down, up: (mb * 1000) / (now() - again) };
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  } finally {
    child.kill('SIGKILL');
  }
};

await main(async () => {
  const { values } = parseArgs({ options: { image: { type: 'string', default: 'amd64' }, mb: { type: 'string', default: '32' }, vms: { type: 'string', default: '4' }, engine: { type: 'string' }, json: { type: 'boolean' }, quick: { type: 'boolean' }, node: { type: 'string', multiple: true } } });
  const mb = values.quick ? 8 : Number(values.mb);
  const { image, engine } = values;
  const { VM, Lab } = await loadDist('index.js');
  const { resolveImage } = await loadDist('image/index.js');
  const http = createServer((_, response) => response.end(Buffer.alloc(mb << 20)));
  const port = await listen(http);
  const rows = [];
  const vm = await VM.start({ image, engine, shell: false, net: { allow: [`127.0.0.1:${port}`] } });
  await vm.run(SERVE(mb));
  const published = vm.network.gateway.publish('127.0.0.1:0:80');
  const { port: guestPort } = await published.ready;
  const start = now();
  await vm.run(`wget -q -O /dev/null http://10.0.2.2:${port}/data`);
  const down = (mb * 1000) / (now() - start);
  vm.spawn('sleep 1000000');
  const again = now();
  await fetchBytes(guestPort);
  const up = (mb * 1000) / (now() - again);
  published.close();
  await vm.stop();
  const other = await qemu(await resolveImage(image), mb, port);
  rows.push(['host to guest through NAT', down, other?.down], ['guest to host, published port', up, other?.up]);

  const one = { image, engine, shell: false };
  const lab = await Lab.up({ switches: { lan: { subnet: '10.9.0.0/24', restrict: true } }, vms: { a: { ...one, nics: [{ switch: 'lan' }] }, b: { ...one, nics: [{ switch: 'lan' }] } } });
  await lab.vm('a').run(SERVE(mb));
  await lab.vm('b').run('true');
  const between = now();
  await lab.vm('b').run('wget -q -O /dev/null http://a.lab/data');
  rows.push(['guest to guest', (mb * 1000) / (now() - between), undefined]);
  await lab.stop();

  const count = Number(values.vms);
  globalThis.gc?.();
  const before = process.memoryUsage().rss;
  const crowd = await Lab.up({ switches: { lan: { subnet: '10.9.0.0/24', restrict: true } }, vms: Object.fromEntries(Array.from({ length: count }, (_, i) => [`m${i}`, { ...one, memory: '96M', nics: [{ switch: 'lan' }] }])) });
  for (const machine of crowd.vms.values()) await machine.ready();
  const perVm = (process.memoryUsage().rss - before) / count / 2 ** 20;
  await crowd.stop();
  http.close();
  const figure = value => (value === undefined ? '-' : value.toFixed(1));
  const report = [`| TCP, ${mb} MB, ${image} | vmlet, MB/s | QEMU TCG, MB/s |`, '| --- | ---: | ---: |', ...rows.map(([name, ours, theirs]) => `| ${name} | ${figure(ours)} | ${figure(theirs)} |`), '', `Resident memory of an idle ${image} guest with 96 MB in a lab of ${count}: ${perVm.toFixed(0)} MB.`].join('\n');
  console.log(values.json ? JSON.stringify({ rows, perVm, report }) : report);
});
