// What the network flags of `run` and `netboot boot` say when they are wrong.
import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { hasCore } from '../host/machine-support.js';
import { cli } from '../support/cli.js';

const folder = mkdtempSync(join(tmpdir(), 'vmlet-net-flags-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
/** A floppy that boots and halts for good. */
const floppy = join(folder, 'halt.img');
const sector = new Uint8Array(1_474_560);
sector.set([0xfa, 0xf4, 0xeb, 0xfd]);
sector.set([0x55, 0xaa], 510);
writeFileSync(floppy, sector);
const run = (...args: string[]) => cli(['run', '--floppy', floppy, '--boot', 'floppy', '-m', '4M', ...args]);

describe.skipIf(!hasCore)('--publish', () => {
  it('a taken TCP port: which, why, what to do; nothing has run', async () => {
    const server = createServer();
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      for (const result of [await run('--publish', `127.0.0.1:${port}:80`), await run('--net', 'user', '--publish', `${port}:80`), await cli(['netboot', 'boot', '--tftp', folder, '--file', 'x.0', '--publish', `${port}:80`])]) {
        expect(result.stderr).toBe(`vmlet: cannot publish 127.0.0.1:${port}: it is in use\nvmlet: choose a free port of this host, or 0 for any\n`);
        expect(result).toMatchObject({ code: 125, stdout: '' });
      }
      // What was opened before the port that is taken is closed again.
      const other = createServer();
      await new Promise<void>(resolve => other.listen(0, '127.0.0.1', resolve));
      const free = (other.address() as AddressInfo).port;
      await new Promise(resolve => other.close(resolve));
      expect(await run('--publish', `${free}:80`, '--publish', `${port}:81`)).toMatchObject({ code: 125 });
      await new Promise<void>((resolve, reject) => createServer().once('error', reject).listen(free, '127.0.0.1', function (this: ReturnType<typeof createServer>) {
        this.close(() => resolve());
      }));
    } finally {
      server.close();
    }
  });

  it('any free port: which one is told', async () => {
    const { stderr } = await run('--publish', '0:80', '--publish', '127.0.0.1:0:53/udp');
    expect(stderr).toMatch(/^vmlet: --publish 0:80: 127\.0\.0\.1:[1-9]\d+\nvmlet: --publish 127\.0\.0\.1:0:53\/udp: 127\.0\.0\.1:[1-9]\d+\n/);
  });

  it('a taken UDP port', async () => {
    const socket = createSocket('udp4');
    await new Promise<void>(resolve => socket.bind(0, '127.0.0.1', resolve));
    const { port } = socket.address();
    const { code, stderr } = await run('--publish', `127.0.0.1:${port}:53/udp`);
    expect(stderr).toMatch(new RegExp(`cannot publish 127\\.0\\.0\\.1:${port}/udp: it is in use`));
    expect(code).toBe(125);
    await new Promise<void>(resolve => socket.close(resolve));
  });

  it("an address that is not this host's", async () => {
    const { code, stderr } = await run('--publish', '192.0.2.7:8080:80');
    expect(stderr).toMatch(/cannot publish 192\.0\.2\.7:8080: the address is not one of this host[^]*leave it out for 127\.0\.0\.1/);
    expect(code).toBe(125);
  });
});

describe('network flags that make no sense', () => {
  it.each<[string, string[], RegExp]>([
    ['a port that is none', ['--publish', '80'], /'80' is not a port to publish[^]*HOST_PORT:GUEST_PORT/],
    ['a port beyond all', ['--publish', '70000:80'], /'70000:80' is not a port to publish/],
    ['a protocol that is none', ['--publish', '8080:80/sctp'], /'8080:80\/sctp' is not a port to publish/],
    ['a guest elsewhere', ['--publish', '8080:10.1.1.1:80'], /the guest's address in '8080:10\.1\.1\.1:80' is not in 10\.0\.2\.0\/24/],
    ['ports without a network', ['--net', 'none', '--publish', '8080:80'], /--net none leaves no network for --publish/],
    ['a capture without a network', ['--net', 'none', '--pcap', 'x.pcapng'], /--net none leaves no network/],
    ['an unknown network', ['--net', 'bridge'], /net: 'bridge' is not known[^]*use none, user or user,restrict/],
    ['an unknown word', ['--net', 'user,fast'], /net: 'fast' is not known/],
    ['a restriction with a value', ['--net', 'user,restrict=no'], /net: 'restrict=no' is not known/],
    ['a subnet that is none', ['--net', 'user,subnet=10.0.0.0/30'], /no subnet for guests/],
    ['a destination that is none', ['--allow', 'somewhere'], /'somewhere' is not a destination/],
    ['an unknown card', ['--nic-model', '3c509'], /no network card '3c509'[^]*virtio/],
    ['an address that is none', ['--mac', '52:54'], /'52:54' is no MAC address[^]*52:54:00:12:34:56/],
    ['the address of a group', ['--mac', '01:00:5e:00:00:01'], /no address of one station/],
    ['a ROM that is not there', ['--rom', '/no/such/rom'], /cannot read the option ROM \/no\/such\/rom/],
  ])('%s', async (_, args, message) => {
    const result = await run(...args);
    expect(result.stderr).toMatch(message);
    expect(result).toMatchObject({ code: 125, stdout: '' });
    expect(result.stderr).not.toContain('internal error');
  });

  it('a capture that cannot be written', async () => {
    const { code, stderr } = await run('--pcap', '/no/such/folder/x.pcapng');
    expect(stderr).toMatch(/cannot write the capture \/no\/such\/folder\/x\.pcapng[^]*check the folder/);
    expect(code).toBe(125);
  });
});
