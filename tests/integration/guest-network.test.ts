import { createHash } from 'node:crypto';
import { createServer as createHttpServer, get, type Server } from 'node:http';
import { type AddressInfo, createServer, type Server as TcpServer } from 'node:net';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NicModel } from '../../src/index.js';
import { readCapture } from '../../src/net/pcapng.js';
import { complaints, scratchFolder, sections, startGuest } from './guest-support.js';

const folder = scratchFolder();
const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');
/** Several megabytes that differ everywhere. */
const CONTENT = Buffer.alloc(1 << 20);
for (let i = 0, x = 1; i < CONTENT.length; i++) CONTENT[i] = (x = (Math.imul(x, 1_103_515_245) + 12_345) >>> 0) >>> 16;

let http: Server;
let sink: TcpServer;
let received: Promise<Uint8Array>;
const portOf = (server: { address(): unknown }): number => (server.address() as AddressInfo).port;

beforeAll(async () => {
  http = createHttpServer((request, response) => response.end(request.url === '/big' ? CONTENT : `hello ${request.url}\n`));
  let done: (bytes: Uint8Array) => void;
  const next = () => (received = new Promise(resolve => (done = resolve)));
  next();
  sink = createServer(socket => {
    const parts: Buffer[] = [];
    socket.on('data', part => parts.push(part));
    socket.on('end', () => {
      done(Buffer.concat(parts));
      socket.end();
    });
  });
  await Promise.all([http, sink].map(server => new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))));
});

afterAll(() => {
  http.close();
  sink.close();
});

/** Fetches by a published port while the guest runs. */
const fetchBytes = (port: number, path: string): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path, agent: false }, response => {
      const parts: Buffer[] = [];
      response.on('data', part => parts.push(part as Buffer));
      response.on('end', () => resolve(Buffer.concat(parts)));
    }).on('error', reject);
  });

const CASES: [string, NicModel][] = [
  ['amd64', 'virtio'],
  ['i386', 'virtio'],
  ['i386', 'e1000'],
  ['i386', 'rtl8139'],
  ['amd64-generic', 'e1000'],
  ['amd64-generic', 'rtl8139'],
];

describe.each(CASES)('%s, card %s', (image, model) => {
  it('gets an address, resolves names, fetches, sends and is reached', { timeout: 240_000 }, async () => {
    const pcap = join(folder, `${image}-${model}.pcapng`);
    const allow = [`127.0.0.1:${portOf(http)}`, `127.0.0.1:${portOf(sink)}`];
    const { vm, guestLog } = await startGuest({ image, net: { allow, hosts: { files: '10.0.2.2' } }, nics: [{ model }], pcap });
    await using _ = vm;
    const { stdout } = await vm.run(`
      echo '## address'; ip -4 addr show eth0 | grep inet; ip route; cat /sys/class/net/eth0/address
      echo '## ping'; ping -c 3 -s 1400 -W 1 10.0.2.2 | grep received; ping -c 1 -W 1 -s 20000 10.0.2.2 | grep received
      echo '## names'; nslookup files.lab 2>&1 | grep Address | tail -1; nslookup nowhere.lab > /dev/null 2>&1; echo $?
      echo '## http'; wget -q -O - http://files.lab:${portOf(http)}/x; wget -q -O - http://files.lab:${portOf(http)}/big | tee /tmp/big | md5sum
      echo '## closed'; wget -O - http://10.0.2.2:1/ 2>&1 | tail -1; wget -O - http://169.254.169.254/ 2>&1 | tail -1
      echo '## sent'; nc 10.0.2.2 ${portOf(sink)} < /tmp/big
      echo '## counters'; cd /sys/class/net/eth0/statistics; cat rx_errors tx_errors rx_dropped tx_dropped rx_crc_errors
      echo '## dmesg'; dmesg`, { check: false });
    const seen = sections(stdout);
    const [address, ...rest] = seen.address.trim().split('\n');
    expect(address.trim()).toBe('inet 10.0.2.15/24 brd 10.0.2.255 scope global eth0');
    expect(rest).toEqual([expect.stringContaining('default via 10.0.2.2'), expect.stringContaining('10.0.2.0/24'), vm.nic(0).mac]);
    expect(seen.ping).toBe('3 packets transmitted, 3 packets received, 0% packet loss\n1 packets transmitted, 1 packets received, 0% packet loss\n');
    expect(seen.names).toBe('Address: 10.0.2.2\n1\n');
    expect(seen.http).toBe(`hello /x\n${md5(CONTENT)}  -\n`);
    expect(seen.closed).toMatch(/refused.*\n.*refused/);
    expect(md5(await received)).toBe(md5(CONTENT));
    expect(seen.counters.trim().split('\n')).toEqual(['0', '0', '0', '0', '0']);
    expect(complaints(seen.dmesg)).toEqual([]);

    const published = vm.network!.gateway!.publish('127.0.0.1:0:80');
    const { port } = await published.ready;
    await vm.run('mkdir /tmp/www; cp /tmp/big /tmp/www; echo from the guest > /tmp/www/index.html; httpd -h /tmp/www');
    const guest = vm.spawn('sleep 1000000');
    expect((await fetchBytes(port, '/')).toString()).toBe('from the guest\n');
    const answers = await Promise.all([fetchBytes(port, '/big'), fetchBytes(port, '/')]);
    expect(answers.map(md5)).toEqual([md5(CONTENT), md5(Buffer.from('from the guest\n'))]);

    // With nothing open outside, idle time is skipped again.
    published.close();
    vm.nic(0).unplug();
    expect((await vm.run('sleep 3; cat /sys/class/net/eth0/carrier; ping -c 1 -W 1 10.0.2.2 | grep -c "1 packets received"', { check: false })).stdout).toBe('0\n0\n');
    vm.nic(0).plug();
    expect((await vm.run('sleep 3; cat /sys/class/net/eth0/carrier; ping -c 1 -W 1 10.0.2.2 | grep -c "1 packets received"', { check: false })).stdout).toBe('1\n1\n');
    guest.kill('SIGKILL');
    expect(guestLog).toEqual([]);
    await vm.stop();
    expect(existsSync(pcap)).toBe(true);
    const capture = readCapture(readFileSync(pcap));
    expect(capture.packets.length).toBeGreaterThan(500);
  });
});
