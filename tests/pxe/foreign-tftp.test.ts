import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, mkdirSync, chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RealtimeClock, UdpSocket, UdpSocketHost } from '../../src/host/backends/udp-socket.js';
import { FileTree } from '../../src/host/backends/file-tree.js';
import { concatBytes } from '../../src/pxe/bytes.js';
import { PxeJournal } from '../../src/pxe/log.js';
import { TftpDownload, type TftpDownloadOptions, type TftpResult } from '../../src/pxe/tftp/client.js';
import { TftpServer } from '../../src/pxe/tftp/server.js';
import { patternBytes, program } from './support.js';

// 36 MB in blocks of 512 bytes are more than 65535 blocks.
const big = patternBytes(36_000_000);
const small = patternBytes(70_001, 3);
const even = patternBytes(512 * 20, 4);
let folder = '';
let root = '';
let clock: RealtimeClock;
let socket: UdpSocket;
let server: TftpServer;
let journal: PxeJournal;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vmlet-foreign-'));
  root = join(folder, 'root');
  mkdirSync(root);
  chmodSync(folder, 0o755);
  for (const [name, bytes] of [['big', big], ['small', small], ['even', even]] as const) writeFileSync(join(root, name), bytes);
  clock = new RealtimeClock();
  journal = new PxeJournal();
  const host = new UdpSocketHost('127.0.0.1');
  socket = await host.open(0);
  server = new TftpServer({ host, clock, endpoint: socket, log: journal, files: new FileTree(root, { writable: true }), writes: { maxBytes: 1_000_000 } });
});
afterAll(() => {
  server.close();
  clock.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs a program without blocking our own event loop. */
const run = (path: string, args: readonly string[], input = ''): Promise<{ status: number | null; output: string }> =>
  new Promise(resolve => {
    const child = spawn(path, args, { cwd: folder });
    let output = '';
    child.stdout.on('data', data => (output += String(data)));
    child.stderr.on('data', data => (output += String(data)));
    child.on('close', status => resolve({ status, output }));
    child.on('error', error => resolve({ status: -1, output: String(error) }));
    child.stdin.end(input);
  });

const same = (name: string, bytes: Uint8Array): void => expect(Buffer.compare(readFileSync(join(folder, name)), bytes)).toBe(0);

describe('foreign TFTP clients with our server', () => {
  it('tftp-hpa: reads with a rollover, writes, and hears of missing files', async ctx => {
    const tftp = program('tftp');
    if (!tftp || !spawnSync(tftp, ['-V'], { encoding: 'utf8' }).stdout.includes('hpa')) return ctx.skip('tftp-hpa is not installed');
    await run(tftp, ['-m', 'binary', '127.0.0.1', String(socket.port), '-c', 'get', 'big', 'got-big']);
    same('got-big', big);
    await run(tftp, ['-m', 'binary', '127.0.0.1', String(socket.port), '-c', 'get', 'even', 'got-even']);
    same('got-even', even);
    await run(tftp, ['-m', 'binary', '127.0.0.1', String(socket.port), '-c', 'put', 'got-even', 'written']);
    expect(Buffer.compare(readFileSync(join(root, 'written')), even)).toBe(0);
    expect((await run(tftp, ['-m', 'binary', '127.0.0.1', String(socket.port), '-c', 'put', 'got-even', 'written'])).output).toMatch(/exists/);
    expect((await run(tftp, ['-m', 'binary', '127.0.0.1', String(socket.port), '-c', 'get', '../secret', 'x'])).output).toMatch(/access violation/i);
    expect((await run(tftp, ['-m', 'binary', '127.0.0.1', String(socket.port), '-c', 'get', 'nothing', 'x'])).output).toMatch(/not found/);
  });

  it('atftp: block size, size, timeout and window', async ctx => {
    const atftp = program('atftp');
    if (!atftp) return ctx.skip('atftp is not installed');
    const result = await run(atftp, ['--option', 'blksize 1400', '--option', 'tsize', '--option', 'timeout 2', '--option', 'windowsize 8', '-g', '-r', 'small', '-l', 'atftp-small', '127.0.0.1', String(socket.port)]);
    expect(result.status, result.output).toBe(0);
    same('atftp-small', small);
  });

  it('curl: with and without options', async ctx => {
    const curl = program('curl');
    if (!curl || !spawnSync(curl, ['--version'], { encoding: 'utf8' }).stdout.includes('tftp')) return ctx.skip('curl with TFTP is not installed');
    for (const args of [[], ['--tftp-no-options'], ['--tftp-blksize', '8192']]) {
      const result = await run(curl, ['-sS', ...args, '-o', 'curl-small', `tftp://127.0.0.1:${socket.port}/small`]);
      expect(result.status, result.output).toBe(0);
      same('curl-small', small);
    }
    expect((await run(curl, ['-sS', `tftp://127.0.0.1:${socket.port}/nothing`])).status).toBe(68);
  });

  it('busybox tftp', async ctx => {
    const busybox = program('busybox');
    if (!busybox || !spawnSync(busybox, ['--list'], { encoding: 'utf8' }).stdout.split('\n').includes('tftp')) return ctx.skip('busybox with tftp is not installed');
    for (const [i, args] of [[], ['-b', '1024']].entries()) {
      const result = await run(busybox, ['tftp', '-g', '-r', 'small', '-l', `busybox-${i}`, ...args, '127.0.0.1', String(socket.port)]);
      expect(result.status, result.output).toBe(0);
      same(`busybox-${i}`, small);
    }
  });

  it('had no transfer that failed', () => {
    expect(journal.events.filter(event => event.outcome === 'failed')).toEqual([]);
  });
});

const freePort = async (): Promise<number> => {
  const probe = new UdpSocket('127.0.0.1', 0);
  await probe.ready();
  const { port } = probe;
  probe.close();
  return port;
};

const download = async (port: number, options: Partial<TftpDownloadOptions> & { file: string }): Promise<{ result: TftpResult; bytes: Uint8Array }> => {
  const parts: Uint8Array[] = [];
  const alive = setInterval(() => {}, 1000);
  const result = await new Promise<TftpResult>(resolve =>
    new TftpDownload({ endpoint: new UdpSocketHost('127.0.0.1').bind(0), clock, server: { address: '127.0.0.1', port }, timeoutMs: 300, onData: bytes => parts.push(bytes.slice()), onDone: resolve, ...options }).start(),
  );
  clearInterval(alive);
  return { result, bytes: concatBytes(parts) };
};

const withServer = async (path: string, args: (port: number) => readonly string[], use: (port: number) => Promise<void>): Promise<void> => {
  const port = await freePort();
  const child: ChildProcess = spawn(path, args(port), { stdio: 'ignore' });
  const ended = new Promise<void>(resolve => child.once('exit', () => resolve()));
  try {
    await use(port);
  } finally {
    child.kill('SIGTERM');
    await ended;
  }
};

describe('our TFTP client with foreign servers', () => {
  const cases = async (port: number, windowsize: number | undefined): Promise<void> => {
    // The first one also waits until the server is up: the client asks again.
    const first = await download(port, { file: 'small', retries: 15 });
    expect(first.result).toMatchObject({ ok: true, size: small.length, blksize: 512 });
    expect(Buffer.compare(first.bytes, small)).toBe(0);
    const options = { blksize: 1468, ...(windowsize ? { windowsize } : {}) };
    const second = await download(port, { file: 'big', ...options });
    expect(second.result).toMatchObject({ ok: true, bytes: big.length, blksize: 1468 });
    expect(Buffer.compare(second.bytes, big)).toBe(0);
    expect((await download(port, { file: 'big', tsize: false })).result).toMatchObject({ ok: true, bytes: big.length, blksize: 512 });
    expect((await download(port, { file: 'even', tsize: false })).result).toMatchObject({ ok: true, bytes: even.length });
    expect((await download(port, { file: 'even', probe: true })).result).toMatchObject({ ok: true, size: even.length });
    expect((await download(port, { file: 'nothing' })).result).toMatchObject({ ok: false, code: 1 });
  };

  it('tftpd-hpa', async ctx => {
    const tftpd = program('in.tftpd');
    if (!tftpd || process.getuid?.() !== 0 || !spawnSync(tftpd, ['-V'], { encoding: 'utf8' }).stdout.includes('hpa')) return ctx.skip('tftpd-hpa is not installed, or this is not root');
    await withServer(tftpd, port => ['--foreground', '--address', `127.0.0.1:${port}`, '--user', 'nobody', '--secure', root], port => cases(port, undefined));
  });

  it('atftpd', async ctx => {
    const atftpd = program('atftpd');
    if (!atftpd || process.getuid?.() !== 0) return ctx.skip('atftpd is not installed, or this is not root');
    await withServer(atftpd, port => ['--daemon', '--no-fork', '--port', String(port), '--bind-address', '127.0.0.1', '--user', 'root', '--group', 'root', root], port => cases(port, 8));
  });

  it('dnsmasq', async ctx => {
    const dnsmasq = program('dnsmasq');
    if (!dnsmasq) return ctx.skip('dnsmasq is not installed');
    // dnsmasq's TFTP port cannot be moved: it is served in the namespaces of the DHCP tests, and here where port 69 is free and allowed.
    if (process.getuid?.() !== 0) return ctx.skip('port 69 needs root');
    const probe = new UdpSocket('127.0.0.77', 69);
    const free = await probe.ready().then(() => true, () => false);
    probe.close();
    if (!free) return ctx.skip('port 69 of 127.0.0.77 is taken');
    await withServer(dnsmasq, () => ['--keep-in-foreground', '--conf-file=/dev/null', '--port=0', '--enable-tftp', `--tftp-root=${root}`, '--listen-address=127.0.0.77', '--bind-interfaces', '--user=root', '--pid-file='], async () => {
      const get = (options: Partial<TftpDownloadOptions> & { file: string }) => download(69, { ...options, server: { address: '127.0.0.77' } });
      const first = await get({ file: 'small', retries: 15, blksize: 1468, windowsize: 16 });
      expect(first.result).toMatchObject({ ok: true, size: small.length, blksize: 1468 });
      expect(Buffer.compare(first.bytes, small)).toBe(0);
      expect((await get({ file: 'big', blksize: 1468 })).result).toMatchObject({ ok: true, bytes: big.length });
      expect((await get({ file: 'even', tsize: false })).result).toMatchObject({ ok: true, bytes: even.length });
      expect((await get({ file: 'nothing' })).result).toMatchObject({ ok: false, code: 1 });
    });
  });
});
