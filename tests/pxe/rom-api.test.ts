import { describe, expect, it } from 'vitest';
import { IpHost } from '../../src/net/ip-host.js';
import { formatIpv4, parseIpv4 } from '../../src/net/address.js';
import { Prng } from '../../src/host/backends/entropy.js';
import { PxeFunction as F, PxeStatus as S } from '../../src/pxe/rom/status.js';
import { decodeDhcp } from '../../src/pxe/dhcp/codec.js';
import { hasCore } from '../host/machine-support.js';
import { apiProgram, apiResults, block, ip, NBP_PRESENCE, port, type ApiCall, type ApiResult } from './nbp.js';
import { MAC, RomLab, type RomLabOptions } from './rom-support.js';
import { patternBytes } from './support.js';

const SERVER = '10.0.2.2';
const DONE = (0x10 << 1) | 1;
const CONTENTS = patternBytes(5000);
const BUFFER = 0x2000;
const buffer = (offset = 0): Uint8Array => Uint8Array.of((BUFFER + offset) & 0xff, (BUFFER + offset) >> 8, 0, 0);

const run = async (calls: readonly ApiCall[], options: RomLabOptions & { via?: '!PXE' | 'PXENV+' } = {}): Promise<{ results: ApiResult[]; lab: RomLab; ram: Uint8Array }> => {
  const lab = new RomLab({
    rules: [{ file: 'nbp' }],
    ...options,
    files: new Map<string, Uint8Array | string>([['nbp', apiProgram(calls, options.via)], ['data', CONTENTS], ['even', patternBytes(1024)], ...(options.files ?? [])]),
  });
  const exit = await lab.run();
  expect(exit, lab.story.join('\n') + lab.serial.text).toMatchObject({ reason: 'debug-exit', code: DONE });
  expect(lab.guestLog).toEqual([]);
  const { ram } = lab.machine.core;
  return { results: apiResults(ram, calls), lab, ram };
};

const open = (file: string, size = 1456): ApiCall => ({ opcode: F.TFTP_OPEN, params: block(142, { 2: ip(SERVER), 10: file, 138: port(69), 140: size }) });
const read: ApiCall = { opcode: F.TFTP_READ, params: block(10, { 6: buffer() }) };
const close: ApiCall = { opcode: F.TFTP_CLOSE, params: block(2) };
const readFile = (file: string, room: number, to: number): ApiCall => ({ opcode: F.TFTP_READ_FILE, params: block(158, { 2: file, 130: [room], 134: [to], 138: ip(SERVER), 152: port(69) }) });

describe.skipIf(!hasCore)('the PXE ROM as a loader meets it', () => {
  it('is found by both structures and by INT 1Ah, with sums that are right', async () => {
    for (const via of ['!PXE', 'PXENV+'] as const) {
      const { results, ram } = await run([{ opcode: F.UNDI_GET_IFACE_INFO, params: block(42) }], { via });
      expect(results[0]).toMatchObject({ ax: 0, carry: false, status: S.SUCCESS });
      const view = new DataView(ram.buffer, ram.byteOffset);
      expect(view.getUint16(NBP_PRESENCE, true)).toBe(0x564e);
      const at = view.getUint16(NBP_PRESENCE + 4, true) * 16 + view.getUint16(NBP_PRESENCE + 2, true);
      const text = (from: number, length: number): string => String.fromCharCode(...ram.subarray(from, from + length));
      expect(text(at, 6)).toBe('PXENV+');
      expect(ram.subarray(at, at + ram[at + 8]).reduce((sum, byte) => (sum + byte) & 0xff, 0)).toBe(0);
      const bang = view.getUint16(at + 42, true) * 16 + view.getUint16(at + 40, true);
      expect(text(bang, 4)).toBe('!PXE');
      expect(ram.subarray(bang, bang + ram[bang + 4]).reduce((sum, byte) => (sum + byte) & 0xff, 0)).toBe(0);
      // The ROM's memory is not conventional memory any more, and a loader that frees it gives back exactly that.
      expect(view.getUint16(0x413, true) * 1024).toBe(at);
    }
  });

  it('TFTP: open, read, close; packet numbers, the short last packet, and what is behind it', async () => {
    const { results, ram } = await run([open('data'), read, read, read, read, read, close, close, read]);
    expect(results[0].view.getUint16(140, true)).toBe(1456);
    expect(results.slice(1, 6).map(({ status, view }) => [status, view.getUint16(2, true), view.getUint16(4, true)])).toEqual([[0, 1, 1456], [0, 2, 1456], [0, 3, 1456], [0, 4, 632], [0, 4, 0]].map((row, i) => (i === 4 ? [0, 0, 0] : row)));
    expect(Buffer.compare(ram.subarray(BUFFER, BUFFER + 632), CONTENTS.subarray(3 * 1456))).toBe(0);
    expect(results.slice(6).map(({ status, ax, carry }) => [status, ax, carry])).toEqual([[0, 0, false], [S.TFTP_CLOSED, 1, true], [S.TFTP_CLOSED, 1, true]]);
  });

  it('TFTP: sizes, whole files above the first megabyte, and each refusal by its number', async () => {
    const size = (file: string): ApiCall => ({ opcode: F.TFTP_GET_FSIZE, params: block(142, { 2: ip(SERVER), 10: file }) });
    const { results, ram } = await run([
      size('data'), size('nothing'), readFile('data', 10_000, 0x20_0000), readFile('even', 10_000, 0x21_0000), readFile('data', 100, 0x22_0000), readFile('../x', 100, 0x22_0000),
      open('nothing'), open('data', 100), { opcode: F.UDP_OPEN, params: block(6) }, open('data'), { opcode: F.UDP_CLOSE, params: block(2) }, open('data'), { opcode: F.UDP_OPEN, params: block(6) }, open('data'), close,
    ]);
    expect(results.map(({ status }) => status)).toEqual([
      0, S.TFTP_FILE_NOT_FOUND, 0, 0, S.TFTP_CANNOT_OPEN_CONNECTION, S.TFTP_ACCESS_VIOLATION,
      S.TFTP_FILE_NOT_FOUND, S.TFTP_INVALID_PACKET_SIZE, 0, S.UDP_OPEN, 0, 0, S.TFTP_OPEN, S.TFTP_OPEN, 0,
    ]);
    expect(results[0].view.getUint32(138, true)).toBe(5000);
    expect(results[2].view.getUint32(130, true)).toBe(5000);
    expect(Buffer.compare(ram.subarray(0x20_0000, 0x20_0000 + 5000), CONTENTS)).toBe(0);
    expect(results[3].view.getUint32(130, true)).toBe(1024);
  });

  it('TFTP: a server that is not there is an open timeout, in virtual time', async () => {
    const { results, lab } = await run([{ opcode: F.TFTP_OPEN, params: block(142, { 2: ip('10.0.2.77'), 10: 'data', 138: port(69), 140: 512 }) }]);
    expect(results[0].status).toBe(S.TFTP_OPEN_TIMEOUT);
    expect(lab.machine.nowNs).toBeGreaterThan(5e9);
  });

  it('UDP: writes, reads by port and address, broadcasts, buffers that are too small, polls that find nothing', async () => {
    const write = (to: string, payload: string, dstPort = 7): ApiCall[] => [{ opcode: F.UDP_WRITE, params: block(20, { 2: ip(to), 10: port(4000), 12: port(dstPort), 14: payload.length, 16: buffer(0x100) }) }];
    const receive = (room: number, wanted: { ip?: string; port?: number } = {}): ApiCall => ({ opcode: F.UDP_READ, params: block(20, { 6: ip(wanted.ip ?? '0.0.0.0'), 12: port(wanted.port ?? 0), 14: room, 16: buffer() }) });
    const { results, ram } = await run(
      [
        receive(100), { opcode: F.UDP_OPEN, params: block(6) }, { opcode: F.UDP_OPEN, params: block(6) }, receive(100),
        ...write('10.0.2.5', 'x'.repeat(50)), receive(100, { port: 4000 }), ...write('10.0.2.5', 'x'.repeat(50)), receive(20, { port: 4000 }), ...write('255.255.255.255', 'x'.repeat(9)), receive(100, { port: 4001 }), receive(100, { port: 4000 }),
        { opcode: F.UDP_WRITE, params: block(20, { 2: ip('10.0.2.5'), 12: port(7), 14: 2000, 16: buffer() }) }, { opcode: F.UDP_CLOSE, params: block(2) }, { opcode: F.UDP_CLOSE, params: block(2) },
      ],
      {
        wire: (network, clock) => {
          const echo = new IpHost({ port: network.connect({ name: 'echo' }), clock, random: new Prng(1, 'echo'), mac: Uint8Array.of(2, 0, 0, 0, 0, 9), address: parseIpv4('10.0.2.5')!, prefix: 24 });
          echo.bindUdp(7, ({ src, srcPort, payload }) => void echo.sendUdp({ srcPort: 7, dst: src, dstPort: srcPort, payload: Uint8Array.from([...payload].reverse()) }));
        },
      },
    );
    expect(results.map(({ status }) => status)).toEqual([S.UDP_CLOSED, 0, S.UDP_OPEN, S.FAILURE, 0, 0, 0, S.FAILURE, 0, S.FAILURE, 0, S.FAILURE, 0, S.UDP_CLOSED]);
    const { view, params } = results[5];
    expect([formatIpv4(view.getUint32(2)), formatIpv4(view.getUint32(6)), view.getUint16(10), view.getUint16(12), view.getUint16(14, true)]).toEqual(['10.0.2.5', '10.0.2.15', 7, 4000, 50]);
    expect(params.length).toBe(20);
    expect(results[10].view.getUint16(14, true)).toBe(9);
    expect(ram.subarray(BUFFER, BUFFER + 9).length).toBe(9);
  });

  it('cached packets: copied, cut, or looked at in place', async () => {
    const cached = (type: number, size: number, to: Uint8Array): ApiCall => ({ opcode: F.GET_CACHED_INFO, params: block(12, { 2: type, 4: size, 6: to }) });
    const { results, ram } = await run([cached(2, 1500, buffer()), cached(1, 0, new Uint8Array(4)), cached(3, 240, buffer(0x800)), cached(4, 100, buffer()), cached(0, 100, buffer())]);
    expect(results.map(({ status }) => status)).toEqual([0, 0, 0, S.FAILURE, S.FAILURE]);
    const ack = decodeDhcp(ram.slice(BUFFER, BUFFER + results[0].view.getUint16(4, true)));
    expect(ack).toMatchObject({ ok: true, value: { op: 'reply', yiaddr: '10.0.2.15', file: 'nbp' } });
    const at = results[1].view.getUint16(8, true) * 16 + results[1].view.getUint16(6, true);
    expect(decodeDhcp(ram.slice(at, at + 1500))).toMatchObject({ ok: true, value: { op: 'request', chaddr: MAC } });
    expect(results[2].view.getUint16(4, true)).toBe(240);
  });

  it('UNDI: what the card is, and frames out and in', async () => {
    // An ARP request for the gateway, as immediate data behind a media header that UNDI makes. It lies in the block of a function that does not exist.
    const arp = Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 1, ...MAC, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2);
    const isr = (flag: number): ApiCall => ({ opcode: F.UNDI_ISR, params: block(18, { 2: flag }) });
    const calls: ApiCall[] = [
      { opcode: F.UNDI_GET_NIC_TYPE, params: block(18) }, { opcode: F.UNDI_GET_INFORMATION, params: block(50) }, { opcode: F.UNDI_GET_IFACE_INFO, params: block(42) },
      { opcode: F.STOP_UNDI, params: block(4) }, { opcode: F.UNDI_CLOSE, params: block(2) }, isr(2), { opcode: F.UNDI_OPEN, params: block(140, { 4: 3 }) },
      { opcode: 0xfe, params: block(10 + arp.length, { 2: arp.length, 10: arp }) },
      { opcode: F.UNDI_TRANSMIT, params: block(16, { 2: Uint8Array.of(2, 1) }) },
      isr(1), isr(2), isr(3), isr(3), isr(9),
      { opcode: F.UNDI_SET_STATION_ADDRESS, params: block(18, { 2: Uint8Array.of(2, 0, 0, 0, 0, 7) }) }, { opcode: F.UNDI_SET_STATION_ADDRESS, params: block(18, { 2: Uint8Array.of(3) }) }, { opcode: F.UNDI_GET_INFORMATION, params: block(50) },
      { opcode: F.UNDI_GET_STATISTICS, params: block(18) }, { opcode: F.UNDI_CLEAR_STATISTICS, params: block(2) },
      { opcode: F.UNDI_GET_MCAST_ADDRESS, params: block(22, { 2: ip('224.0.1.2') }) }, { opcode: F.UNDI_SET_PACKET_FILTER, params: block(3, { 2: Uint8Array.of(4) }) }, { opcode: F.UNDI_SET_MCAST_ADDRESS, params: block(132, { 2: 0 }) },
      { opcode: F.UNDI_RESET_ADAPTER, params: block(132) }, { opcode: F.UNDI_CLEANUP, params: block(2) }, { opcode: F.UNDI_SHUTDOWN, params: block(2) }, { opcode: F.UNDI_TRANSMIT, params: block(16) },
      { opcode: F.UNDI_INITIALIZE, params: block(14) }, { opcode: F.UNDI_SHUTDOWN, params: block(2) }, { opcode: F.UNDI_CLEANUP, params: block(2) }, { opcode: F.STOP_UNDI, params: block(4) }, { opcode: F.UNDI_INITIALIZE, params: block(14) },
      { opcode: F.START_UNDI, params: block(12) }, { opcode: F.UNDI_STARTUP, params: block(2) }, { opcode: F.UNDI_INITIALIZE, params: block(14) }, { opcode: F.UNDI_OPEN, params: block(140, { 4: 3 }) }, { opcode: 0x99, params: block(2) },
    ];
    // Far pointers to the descriptor and the immediate data, which lie in the table itself.
    let at = 0x7c00 + 0x100;
    for (const [i, { params }] of calls.entries()) {
      if (i === 7) {
        new DataView(params.buffer).setUint16(4, at + 4 + 10, true);
        new DataView(calls[8].params.buffer).setUint16(8, at + 4 + 2, true);
      }
      at += 4 + params.length;
    }
    const { results, ram } = await run(calls);
    const by = (i: number): ApiResult => results[i];
    expect([by(0).params[2], by(0).view.getUint16(3, true), by(0).view.getUint16(5, true), by(0).params[7]]).toEqual([2, 0x1af4, 0x1041, 2]);
    expect([...by(1).params.subarray(12, 18)]).toEqual([...MAC]);
    expect(String.fromCharCode(...by(2).params.subarray(2, 11))).toBe('DIX+802.3');
    // No interrupts: loaders poll.
    expect(by(2).view.getUint32(22, true) & 0x20).toBe(0);
    expect(by(3).params[2]).toBe(3);
    expect([4, 5, 6].map(i => by(i).status)).toEqual([0, S.UNDI_INVALID_STATE, 0]);
    // Sent, then: ours; the transmission is over; the gateway's answer; nothing more.
    expect([8, 9, 10, 11, 12].map(i => [by(i).status, by(i).view.getUint16(2, true)])).toEqual([[0, 0x0102], [0, 0], [0, 2], [0, 3], [0, 0]]);
    const answer = by(11).view;
    const frame = answer.getUint16(12, true) * 16 + answer.getUint16(10, true);
    expect([answer.getUint16(4, true), answer.getUint16(8, true), answer.getUint8(14), answer.getUint8(15)]).toEqual([42, 14, 2, 0]);
    expect([...ram.subarray(frame, frame + 6)]).toEqual([...MAC]);
    expect(formatIpv4(new DataView(ram.buffer, ram.byteOffset + frame).getUint32(28))).toBe(SERVER);
    expect(by(13).status).toBe(S.UNDI_INVALID_PARAMETER);
    expect([14, 15].map(i => by(i).status)).toEqual([0, S.UNDI_INVALID_PARAMETER]);
    expect([...by(16).params.subarray(12, 18)]).toEqual([2, 0, 0, 0, 0, 7]);
    expect([...by(16).params.subarray(28, 34)]).toEqual([...MAC]);
    expect([...by(19).params.subarray(6, 12)]).toEqual([1, 0, 0x5e, 0, 1, 2]);
    expect([23, 24, 25].map(i => by(i).status)).toEqual([S.UNDI_INVALID_STATE, 0, S.UNDI_INVALID_STATE]);
    expect([26, 27, 28, 29, 30].map(i => by(i).status)).toEqual([0, 0, 0, 0, S.UNDI_INVALID_STATE]);
    expect([31, 32, 33, 34, 35].map(i => by(i).status)).toEqual([0, 0, 0, 0, S.UNSUPPORTED]);
  });

  it('FILE API: checks, opens by URL and path, reads in pieces, and refuses what it has no protocol for', async () => {
    const name = (text: string): ApiCall => ({ opcode: F.FILE_OPEN, params: block(12 + text.length + 1, { 12: text }) });
    const calls: ApiCall[] = [
      { opcode: F.FILE_API_CHECK, params: block(20, { 2: 20, 4: [0x91d447b2] }) }, { opcode: F.FILE_API_CHECK, params: block(20, { 2: 20 }) },
      name(`tftp://${SERVER}/data`), { opcode: F.FILE_GET_SIZE, params: block(8, { 2: 1 }) }, { opcode: F.FILE_READ, params: block(10, { 2: 1, 4: 1000, 6: buffer() }) }, { opcode: F.FILE_READ, params: block(10, { 2: 1, 4: 1000, 6: buffer(1000) }) },
      { opcode: F.FILE_SELECT, params: block(6, { 2: 1 }) }, { opcode: F.FILE_CLOSE, params: block(4, { 2: 1 }) }, { opcode: F.FILE_CLOSE, params: block(4, { 2: 1 }) }, name('even'), name('http://10.0.2.2/data'), name('nothing'),
    ];
    let at = 0x7c00 + 0x100;
    for (const { opcode, params } of calls) {
      if (opcode === F.FILE_OPEN) new DataView(params.buffer).setUint16(4, at + 4 + 12, true);
      at += 4 + params.length;
    }
    const { results, ram } = await run(calls);
    expect(results.map(({ status }) => status)).toEqual([0, S.BAD_FUNC, 0, 0, 0, 0, 0, 0, S.FAILURE, 0, S.UNSUPPORTED, S.TFTP_FILE_NOT_FOUND]);
    expect(results[0].view.getUint32(4, true)).toBe(0xe9c17b20);
    expect(results[3].view.getUint32(4, true)).toBe(5000);
    expect([4, 5].map(i => results[i].view.getUint16(4, true))).toEqual([1000, 468]);
    expect(Buffer.compare(ram.subarray(BUFFER, BUFFER + 1468), CONTENTS.subarray(0, 1468))).toBe(0);
  });

  it('restarts with another program, unloads, and a stack that is gone refuses and is not found any more', async () => {
    const second: ApiCall[] = [{ opcode: F.UNLOAD_STACK, params: block(12) }, open('data'), { opcode: F.UDP_OPEN, params: block(6) }, { opcode: F.START_BASE, params: block(2) }, open('data'), { opcode: F.STOP_BASE, params: block(2) }, read];
    const restart: ApiCall = { opcode: F.RESTART_TFTP, params: block(158, { 2: 'second', 130: [30_000], 134: [0x7c00], 138: ip(SERVER), 152: port(69) }) };
    const lab = new RomLab({ rules: [{ file: 'nbp' }], files: new Map([['nbp', apiProgram([restart])], ['second', apiProgram(second, '!PXE', 0x22)], ['data', CONTENTS]]) });
    expect(await lab.run()).toMatchObject({ reason: 'debug-exit', code: (0x22 << 1) | 1 });
    expect(apiResults(lab.machine.core.ram, second).map(({ status }) => status)).toEqual([0, S.FAILURE, S.FAILURE, 0, 0, 0, S.FAILURE]);
    const failing = await run([{ opcode: F.RESTART_TFTP, params: block(158, { 2: 'nothing', 130: [30_000], 134: [0x7c00], 138: ip(SERVER), 152: port(69) }) }]);
    expect(failing.results[0]).toMatchObject({ status: S.TFTP_FILE_NOT_FOUND, ax: 1, carry: true });
  });

  it('survives rubbish in every function', async () => {
    for (let seed = 1; seed <= 6; seed++) {
      const noise = patternBytes(4000, seed);
      const opcodes = Object.values(F).filter(code => code !== F.RESTART_TFTP && code !== F.TFTP_READ_FILE && code !== F.UDP_READ && code !== F.UNDI_ISR);
      // Far pointers of the noise may hit anything: the program's own code is out of reach above the 64 KB that segments of 0 to 0Fh span.
      const calls = opcodes.slice(0, 30).map((opcode, i) => ({ opcode, params: Uint8Array.from({ length: 160 }, (_, at) => (at % 4 === 1 || at % 4 === 3 ? 0x20 : noise[(i * 160 + at) % noise.length])) }));
      const lab = new RomLab({ rules: [{ file: 'nbp' }], files: new Map([['nbp', apiProgram(calls)]]), machine: { timeoutNs: 200e9 } });
      const exit = await lab.run();
      expect(exit.reason).not.toBe('host-error');
    }
  });
});
