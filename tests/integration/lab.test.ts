import { get } from 'node:http';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Lab, type LabDefinition } from '../../src/index.js';
import { readCapture } from '../../src/net/pcapng.js';
import { sha256Hex } from '../../src/image/codec/checksum.js';
import { scratchFolder } from './guest-support.js';

const folder = scratchFolder();

const definition = (pcap: string): LabDefinition => ({
  seed: 11,
  switches: { lan: { subnet: '10.9.0.0/24', restrict: true, pcap }, back: {} },
  vms: {
    srv: { image: 'i386', memory: '64M', shell: false, timeout: '1h', wallTimeout: '5m', nics: [{ switch: 'lan', address: '10.9.0.100/24,10.9.0.2' }, { switch: 'back', address: '10.1.1.1/24' }] },
    cli: { image: 'i386', memory: '64M', shell: false, timeout: '1h', wallTimeout: '5m', nics: [{ switch: 'lan', model: 'e1000' }, { switch: 'back', model: 'rtl8139', address: '10.1.1.2/24' }] },
  },
});

/** What one run says, and what it leaves behind. */
const play = async (lab: Lab): Promise<string[]> => {
  const [srv, cli] = [lab.vm('srv'), lab.vm('cli')];
  await srv.run('mkdir /tmp/www; dd if=/dev/urandom of=/tmp/www/data bs=1k count=700 2> /dev/null; httpd -h /tmp/www');
  const sum = (await srv.run('md5sum < /tmp/www/data')).stdout;
  const said = await cli.run(`
    ip -4 addr show eth0 | grep -o 'inet [^ ]*'; nslookup srv.lab | grep -c 10.9.0.100; ping -c 2 -W 1 srv.lab | grep received; ping -c 1 -W 1 10.1.1.1 | grep received
    wget -q -O - http://srv.lab/data | md5sum; wget -q -O - http://10.1.1.1/data | md5sum; ping -c 1 -W 1 8.8.8.8 | grep received`, { check: false });
  return [sum, said.stdout];
};

describe('a lab of two machines', () => {
  it('is reached over switches by names, is the same again with the same seed, and loses what its cables lose', { timeout: 400_000 }, async () => {
    const results = [];
    for (const round of [1, 2]) {
      const pcap = join(folder, `lan-${round}.pcapng`);
      const lab = await Lab.up(definition(pcap));
      await using _ = lab;
      const said = await play(lab);
      results.push({ said, hashes: await lab.stateHashes(), now: lab.now, macs: ['srv', 'cli'].map(name => lab.vm(name).nic(0).mac) });
      if (round === 2) {
        const { network } = { network: lab.network('lan') };
        const published = network.gateway!.publish('127.0.0.1:0:10.9.0.100:80');
        const { port } = await published.ready;
        const idle = lab.vm('cli').spawn('sleep 100000');
        const bytes = await new Promise<number>((resolve, reject) => {
          let count = 0;
          get({ host: '127.0.0.1', port, path: '/data', agent: false }, response => response.on('data', part => (count += (part as Buffer).length)).on('end', () => resolve(count))).on('error', reject);
        });
        expect(bytes).toBe(700 << 10);
        published.close();
        network.impair({ loss: 0.5 }, 'cli');
        const ping = (await lab.vm('cli').run('ping -c 40 -W 1 10.9.0.100 | grep received', { check: false })).stdout;
        const received = Number(/(\d+) packets received/.exec(ping)?.[1]);
        expect(received).toBeGreaterThan(0);
        expect(received).toBeLessThan(30);
        const before = lab.now;
        await lab.run('90s');
        expect(lab.now - before).toBeGreaterThanOrEqual(90e9);
        idle.kill('SIGKILL');
        expect((await lab.vm('srv').shutdown()).reason).toBe('poweroff');
        expect((await lab.vm('cli').run('ping -c 1 -W 1 10.9.0.2 > /dev/null; echo alive', { check: false })).stdout).toBe('alive\n');
      }
      await lab.stop();
    }
    const [{ said: [sum, text] }] = results;
    expect(text).toBe(
      `inet 10.9.0.16/24\n1\n2 packets transmitted, 2 packets received, 0% packet loss\n1 packets transmitted, 1 packets received, 0% packet loss\n${sum}${sum}1 packets transmitted, 0 packets received, 100% packet loss\n`,
    );
    expect(results[1]).toEqual(results[0]);
    const captures = [1, 2].map(round => readFileSync(join(folder, `lan-${round}.pcapng`)));
    expect(readCapture(captures[0]).packets.length).toBeGreaterThan(500);
    expect(sha256Hex(captures[1].subarray(0, captures[0].length))).toBe(sha256Hex(captures[0]));
  });
});

describe('the definition of a lab', () => {
  it.each<[string, LabDefinition, RegExp]>([
    ['without machines', { vms: {} }, /no machines/],
    ['with a switch that is not there', { vms: { a: { nics: [{ switch: 'lan' }] } } }, /a: there is no switch 'lan'/],
    ['with a link to nowhere', { switches: { lan: {} }, links: [['lan', 'wan']], vms: { a: {} } }, /links: there is no switch 'wan'/],
    ['with a name that is none', { vms: { 'a b': {} } }, /'a b' is no name/],
    ['with one address twice', { vms: { a: { nics: [{ mac: '52:54:00:00:00:01' }] }, b: { nics: [{ mac: '52:54:00:00:00:01' }] } } }, /two cards of the lab/],
    ['with a wrong subnet', { switches: { lan: { subnet: '10.0.0.0/31' } }, vms: { a: {} } }, /no subnet for guests/],
    ['with a port that is none', { switches: { lan: { subnet: '10.0.0.0/24', publish: ['80'] } }, vms: { a: {} } }, /not a port to publish/],
    ['with a wrong option', { vms: { a: { disk: 'x' } as never } }, /'disk' is not an option/],
  ])('%s is refused', async (_, lab, message) => {
    await expect(Lab.up(lab)).rejects.toThrow(message);
  });
});
