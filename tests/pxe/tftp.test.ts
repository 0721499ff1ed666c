import { describe, expect, it } from 'vitest';
import { TftpServer, type TftpServerOptions } from '../../src/pxe/tftp/server.js';
import { TftpDownload, TftpUpload, type TftpDownloadOptions, type TftpResult } from '../../src/pxe/tftp/client.js';
import { decodeTftp, encodeTftp, type TftpPacket } from '../../src/pxe/tftp/codec.js';
import { missing, VirtualFiles, type FileSource } from '../../src/pxe/files.js';
import { concatBytes } from '../../src/pxe/bytes.js';
import { PxeJournal } from '../../src/pxe/log.js';
import { patternBytes, TestWire, type Impairment } from './support.js';

const SERVER = '10.0.0.1';

interface Lab {
  wire: TestWire;
  server: TftpServer;
  journal: PxeJournal;
  files: VirtualFiles;
}

const lab = (options: Partial<TftpServerOptions> = {}, impairment: Impairment = {}, seed = 1): Lab => {
  const wire = new TestWire(seed, impairment);
  const journal = new PxeJournal();
  const files = new VirtualFiles();
  const server = new TftpServer({ host: wire.host(SERVER), clock: wire.clock, files, log: journal, ...options });
  return { wire, server, journal, files };
};

const download = (wire: TestWire, options: Partial<TftpDownloadOptions> & { file: string }, address = '10.0.0.9'): { result?: TftpResult; data: Uint8Array[] } => {
  const state: { result?: TftpResult; data: Uint8Array[] } = { data: [] };
  new TftpDownload({
    endpoint: wire.host(address).bind(0),
    clock: wire.clock,
    server: { address: SERVER },
    onData: bytes => state.data.push(bytes.slice()),
    onDone: result => (state.result = result),
    ...options,
  }).start();
  return state;
};

const fetchFile = (it: Lab, options: Partial<TftpDownloadOptions> & { file: string }, ms = 600_000): { result?: TftpResult; bytes: Uint8Array } => {
  const state = download(it.wire, options);
  it.wire.run(ms, () => state.result !== undefined);
  return { result: state.result, bytes: concatBytes(state.data) };
};

/** A client by hand: sends packets and keeps what comes. */
const rawClient = (wire: TestWire, address = '10.0.0.7') => {
  const endpoint = wire.host(address).bind(0);
  const received: { packet: TftpPacket; port: number }[] = [];
  endpoint.onMessage = (from, bytes) => {
    const decoded = decodeTftp(bytes);
    if (decoded.ok) received.push({ packet: decoded.value, port: from.port });
  };
  const send = (packet: TftpPacket, port = 69): void => endpoint.send({ address: SERVER, port }, encodeTftp(packet));
  const ask = (file: string, options: [string, string][] = [], op: 'rrq' | 'wrq' = 'rrq'): void => send({ op, file, mode: 'octet', options: new Map(options) });
  return { received, send, ask, endpoint };
};

describe('TFTP server and client', () => {
  it.each([0, 1, 511, 512, 513, 1024, 5000])('carries a file of %i bytes without options', size => {
    const it = lab();
    const contents = patternBytes(size);
    it.files.set('f', contents);
    const { result, bytes } = fetchFile(it, { file: 'f', tsize: false });
    expect(result).toMatchObject({ ok: true, bytes: size, blksize: 512, windowsize: 1 });
    expect(bytes).toEqual(contents);
    it.wire.run(60_000);
    expect(it.server.activeTransfers).toBe(0);
    expect(it.wire.openPorts).toBe(1);
    expect(it.server.counters).toMatchObject({ completed: 1, failed: 0, repeats: 0, bytes: size });
  });

  it('agrees on size, block size, window and timeout, and keeps blocks below the MTU and windows at 64', () => {
    const it = lab();
    it.files.set('f', patternBytes(300_000));
    const { result, bytes } = fetchFile(it, { file: 'f', blksize: 65464, windowsize: 65535, timeoutOptionS: 3 });
    expect(result).toMatchObject({ ok: true, size: 300_000, blksize: 1468, windowsize: 64, repeats: 0 });
    expect(bytes).toEqual(patternBytes(300_000));
    expect(Math.max(...it.wire.seen.map(datagram => datagram.bytes.length))).toBe(1472);
    const acks = it.wire.seen.filter(datagram => datagram.bytes[1] === 4).length;
    expect(acks).toBeLessThan(8);
  });

  it('ignores options that make no sense instead of failing', () => {
    const it = lab();
    it.files.set('f', patternBytes(10));
    const client = rawClient(it.wire);
    client.ask('f', [['blksize', '7'], ['windowsize', '0'], ['timeout', '0'], ['tsize', 'x'], ['multicast', '']]);
    it.wire.run(5);
    expect(client.received[0].packet).toMatchObject({ op: 'data', block: 1 });
  });

  it('rolls the block number over to 0: more than 65535 blocks', () => {
    const it = lab();
    const contents = patternBytes(8 * 65536 * 2 + 3);
    it.files.set('f', contents);
    const { result, bytes } = fetchFile(it, { file: 'f', blksize: 8, windowsize: 64 });
    expect(result).toMatchObject({ ok: true, bytes: contents.length, repeats: 0 });
    expect(Buffer.compare(bytes, contents)).toBe(0);
  });

  const weather: [string, Impairment][] = [
    ['loss', { loss: 0.15 }],
    ['duplication', { duplicate: 0.5 }],
    ['reordering', { delayMs: [0.1, 20] }],
    ['all of it', { loss: 0.1, duplicate: 0.2, delayMs: [0.1, 8] }],
  ];
  describe.each(weather)('under %s', (_name, impairment) => {
    it.each([
      [1, false],
      [4, false],
      [16, true],
      [64, false],
    ])('arrives unharmed with a window of %i (one port: %s)', (windowsize, singlePort) => {
      for (let seed = 1; seed <= 6; seed++) {
        const it = lab({ singlePort, retries: 12, retriesBeforeFirstAck: 8 }, impairment, seed);
        const contents = patternBytes(40_000, seed);
        it.files.set('f', contents);
        const { result, bytes } = fetchFile(it, { file: 'f', blksize: 256, windowsize, retries: 12 });
        expect(result, `seed ${seed}`).toMatchObject({ ok: true, bytes: 40_000 });
        expect(Buffer.compare(bytes, contents)).toBe(0);
        it.wire.run(600_000);
        expect(it.server.activeTransfers).toBe(0);
      }
    });
  });

  it('does not breed packets from doubled ones (Sorcerer\'s Apprentice)', () => {
    const it = lab({}, { duplicate: 1 });
    it.files.set('f', patternBytes(512 * 50));
    const { result } = fetchFile(it, { file: 'f' });
    expect(result).toMatchObject({ ok: true });
    expect(it.server.counters.repeats).toBe(0);
    const data = it.wire.seen.filter(datagram => datagram.bytes[1] === 3).length;
    expect(data).toBe(51);
  });

  it('calls a transfer complete when only the last ACK is missing, and the client repeats it while it can', () => {
    const it = lab();
    it.files.set('f', patternBytes(700));
    let drop = true;
    it.wire.filter = ({ bytes }) => !(drop && bytes[1] === 4 && bytes[3] === 2);
    const { result } = fetchFile(it, { file: 'f' });
    expect(result).toMatchObject({ ok: true });
    it.wire.run(200_000);
    expect(it.journal.events).toMatchObject([{ outcome: 'served', reason: 'the last ACK did not arrive' }]);
    const again = lab();
    again.files.set('f', patternBytes(700));
    again.wire.filter = ({ bytes }) => {
      if (!drop || bytes[1] !== 4 || bytes[3] !== 2) return true;
      drop = false;
      return false;
    };
    fetchFile(again, { file: 'f' });
    again.wire.run(10_000);
    expect(again.journal.events).toMatchObject([{ outcome: 'served', reason: undefined }]);
  });

  it('takes a size probe that ends with error 8 for what it is', () => {
    const it = lab();
    it.files.set('f', patternBytes(12345));
    const { result } = fetchFile(it, { file: 'f', probe: true });
    it.wire.run(10);
    expect(result).toMatchObject({ ok: true, size: 12345, bytes: 0 });
    expect(it.journal.events).toMatchObject([{ outcome: 'note', reason: 'the client only asked for the size (only the size was wanted)' }]);
    expect(it.server.counters.failed).toBe(0);
  });

  it('asks again without options when a server objects to them', () => {
    const it = lab();
    it.files.set('f', patternBytes(100));
    let objected = false;
    const client = it.wire.host('10.0.0.2').bind(69);
    client.onMessage = (from, bytes) => {
      const decoded = decodeTftp(bytes);
      if (!decoded.ok || decoded.value.op !== 'rrq') return;
      if (decoded.value.options.size > 0) {
        objected = true;
        client.send(from, encodeTftp({ op: 'error', code: 8, message: 'no options' }));
      } else {
        client.send(from, encodeTftp({ op: 'data', block: 1, data: patternBytes(100) }));
      }
    };
    const { result } = fetchFile(it, { file: 'f', blksize: 1468, server: { address: '10.0.0.2' } });
    expect(objected).toBe(true);
    expect(result).toMatchObject({ ok: true, bytes: 100, blksize: 512 });
  });

  it('refuses an OACK that offers more than was asked', () => {
    const it = lab();
    for (const options of [[['blksize', '2000']], [['windowsize', '4']], [['rollover', '0']]] as [string, string][][]) {
      const evil = it.wire.host('10.0.0.2').bind(69);
      evil.onMessage = from => evil.send(from, encodeTftp({ op: 'oack', options: new Map(options) }));
      const { result } = fetchFile(it, { file: 'f', blksize: 1468, server: { address: '10.0.0.2' } });
      expect(result).toMatchObject({ ok: false, code: 8 });
      evil.close();
    }
  });

  it('serves on one port when asked to', () => {
    const it = lab({ singlePort: true });
    it.files.set('f', patternBytes(2000));
    const { result } = fetchFile(it, { file: 'f' });
    expect(result).toMatchObject({ ok: true });
    expect(new Set(it.wire.seen.filter(({ from }) => from.address === SERVER).map(({ from }) => from.port))).toEqual(new Set([69]));
  });

  it('tells a stranger on a transfer port that it does not know him, and the transfer goes on', () => {
    const it = lab();
    it.files.set('f', patternBytes(2000));
    const client = rawClient(it.wire);
    const stranger = rawClient(it.wire, '10.0.0.66');
    client.ask('f');
    it.wire.run(2);
    const port = client.received[0].port;
    stranger.send({ op: 'ack', block: 1 }, port);
    it.wire.run(2);
    expect(stranger.received).toMatchObject([{ packet: { op: 'error', code: 5 } }]);
    expect(it.server.activeTransfers).toBe(1);
  });

  it('says who answered instead of the server that was asked', () => {
    const it = lab();
    const nat = it.wire.host('10.0.0.2').bind(69);
    const other = it.wire.host('10.0.0.3').bind(0);
    nat.onMessage = from => other.send(from, encodeTftp({ op: 'data', block: 1, data: new Uint8Array(3) }));
    const { result } = fetchFile(it, { file: 'f', server: { address: '10.0.0.2' } });
    expect(result).toMatchObject({ ok: false, reason: expect.stringMatching(/no answer from 10\.0\.0\.2:69 .* answers came from 10\.0\.0\.3:\d+, which was not asked/) });
  });

  it('serves netascii without announcing a size', () => {
    const it = lab();
    it.files.set('t', 'one\ntwo\n');
    const client = rawClient(it.wire);
    client.send({ op: 'rrq', file: 't', mode: 'netascii', options: new Map([['tsize', '0']]) });
    it.wire.run(1);
    const packet = client.received[0].packet;
    expect(packet.op === 'data' && new TextDecoder().decode(packet.data)).toBe('one\r\ntwo\r\n');
  });

  it('does not start a second transfer for a doubled request', () => {
    const it = lab();
    it.files.set('f', patternBytes(5000));
    const client = rawClient(it.wire);
    client.ask('f');
    client.ask('f');
    it.wire.run(5);
    expect(it.server.counters.requests).toBe(1);
    client.ask('f', [['blksize', '1024']]);
    it.wire.run(5);
    expect(it.server.counters.requests).toBe(2);
    expect(it.server.activeTransfers).toBe(1);
  });
});

describe('TFTP server limits', () => {
  it('sends a first packet at most three times to an address that never answers', () => {
    for (const options of [[], [['blksize', '1024'], ['windowsize', '64']]] as [string, string][][]) {
      const it = lab();
      it.files.set('f', patternBytes(100_000));
      const client = rawClient(it.wire);
      client.ask('f', options);
      it.wire.run(600_000);
      expect(client.received.length).toBe(3);
      expect(it.server.activeTransfers).toBe(0);
      expect(it.journal.events).toMatchObject([{ outcome: 'failed', reason: expect.stringContaining(options.length > 0 ? 'OACK' : 'first packet') }]);
    }
  });

  it('runs four transfers for one address and fifty for all', () => {
    const it = lab();
    it.files.set('f', patternBytes(5000));
    for (let i = 0; i < 6; i++) rawClient(it.wire).ask('f');
    it.wire.run(1);
    expect(it.server.activeTransfers).toBe(4);
    for (let host = 10; host < 40; host++) for (let i = 0; i < 2; i++) rawClient(it.wire, `10.0.1.${host}`).ask('f');
    it.wire.run(1);
    expect(it.server.activeTransfers).toBe(50);
    expect(new Set(it.journal.events.map(event => event.reason))).toEqual(new Set(['4 transfers to this address are running', '50 transfers are running']));
    it.wire.run(600_000);
    expect(it.server.activeTransfers).toBe(0);
  });

  it('limits the rate of errors, and says in the log which it did not send', () => {
    const it = lab();
    const client = rawClient(it.wire);
    for (let i = 0; i < 300; i++) client.ask(`missing-${i}`);
    it.wire.run(10);
    // A loader's probes get through at once; then it is twenty a second.
    expect(client.received.length).toBe(100);
    expect(it.journal.events[99].reason).toBe('there is no such file');
    expect(it.journal.events[100].reason).toBe('there is no such file; no answer, after too many errors for this address');
    it.wire.run(990);
    for (let i = 0; i < 300; i++) client.ask(`again-${i}`);
    it.wire.run(10);
    expect(client.received.length).toBe(120);
  });

  it('answers only those it may', () => {
    const it = lab({ allow: address => address.startsWith('10.0.0.') });
    it.files.set('f', patternBytes(10));
    const stranger = rawClient(it.wire, '192.0.2.1');
    stranger.ask('f');
    const own = rawClient(it.wire);
    own.ask('f');
    it.wire.run(10);
    expect(stranger.received).toEqual([]);
    expect(own.received.length).toBe(1);
  });

  it('never sends more than a bounded multiple to a client that acknowledges single blocks of a window', () => {
    const it = lab();
    it.files.set('f', patternBytes(512 * 2000));
    const client = rawClient(it.wire);
    client.ask('f', [['windowsize', '64']]);
    it.wire.run(1);
    const port = client.received[0].port;
    client.send({ op: 'ack', block: 0 }, port);
    for (let block = 1; block <= 1000; block++) {
      client.send({ op: 'ack', block }, port);
      it.wire.run(0.5);
    }
    expect(it.server.counters.failed).toBe(0);
    expect(client.received.length).toBeLessThan(256 + 6 * 1000 + 200);
  });

  it('refuses to write unless told, and then only new files up to a size', () => {
    const plain = lab();
    const first = rawClient(plain.wire);
    first.ask('new', [], 'wrq');
    plain.wire.run(1);
    expect(first.received).toMatchObject([{ packet: { op: 'error', code: 2 } }]);

    const written = new Map<string, Uint8Array>();
    const aborted: string[] = [];
    const files: FileSource = {
      open: () => missing('no'),
      create: name => {
        if (written.has(name)) return { refused: 'existing', reason: 'exists' };
        const parts: Uint8Array[] = [];
        return { write: bytes => parts.push(bytes.slice()), commit: () => written.set(name, concatBytes(parts)), abort: () => aborted.push(name) };
      },
    };
    for (const impairment of [{}, { loss: 0.1, duplicate: 0.1, delayMs: [0.1, 5] as const }]) {
      written.clear();
      aborted.length = 0;
      const it = lab({ files, writes: { maxBytes: 5000 }, retriesBeforeFirstAck: 8, retries: 9 }, impairment, 5);
      const upload = (file: string, contents: Uint8Array, size?: number): TftpResult | undefined => {
        let result: TftpResult | undefined;
        const read = (offset: number, into: Uint8Array): number => {
          const piece = contents.subarray(offset, offset + into.length);
          into.set(piece);
          return piece.length;
        };
        new TftpUpload({ endpoint: it.wire.host('10.0.0.9').bind(0), clock: it.wire.clock, server: { address: SERVER }, file, blksize: 400, windowsize: 3, size, read, retries: 9, onDone: done => (result = done) }).start();
        it.wire.run(600_000, () => result !== undefined);
        it.wire.run(30_000);
        return result;
      };
      expect(upload('a', patternBytes(4321), 4321)).toMatchObject({ ok: true });
      expect(written.get('a')).toEqual(patternBytes(4321));
      expect(upload('a', patternBytes(1))).toMatchObject({ ok: false, code: 6 });
      expect(upload('b', patternBytes(9000), 9000)).toMatchObject({ ok: false, code: 3 });
      expect(upload('c', patternBytes(9000))).toMatchObject({ ok: false });
      expect(aborted).toEqual(['c']);
      expect(written.has('c')).toBe(false);
    }
  });

  it('survives arbitrary packets on every port', () => {
    const it = lab({ singlePort: true });
    it.files.set('f', patternBytes(5000));
    const client = rawClient(it.wire);
    for (let i = 0; i < 3000; i++) {
      const junk = patternBytes(i % 40, i + 1);
      if (junk.length > 2) {
        junk[0] = 0;
        junk[1] = i % 9;
      }
      client.endpoint.send({ address: SERVER, port: 69 }, junk);
      if (i % 50 === 0) client.ask('f', [['windowsize', String(i)]]);
      it.wire.run(0.2);
    }
    const { result } = fetchFile(it, { file: 'f' });
    expect(result).toMatchObject({ ok: true, bytes: 5000 });
  });

  it('ends a transfer whose medium fails, and the others go on', () => {
    const it = lab({ files: { open: () => ({ size: 1e6, read: () => { throw new Error('the disk is gone'); }, close: () => {} }) } });
    const { result } = fetchFile(it, { file: 'f', tsize: false });
    expect(result).toMatchObject({ ok: false, code: 0 });
    expect(it.journal.events).toMatchObject([{ outcome: 'failed', reason: 'the disk is gone' }]);
  });
});
