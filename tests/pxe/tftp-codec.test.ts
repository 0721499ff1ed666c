import { describe, expect, it } from 'vitest';
import { decodeTftp, encodeTftp, optionNumber, type TftpPacket } from '../../src/pxe/tftp/codec.js';
import { NetasciiDecoder, NetasciiReader } from '../../src/pxe/tftp/netascii.js';
import { bytesFile } from '../../src/pxe/files.js';
import { utf8, hexOf } from '../../src/pxe/bytes.js';
import { Random } from '../support/random.js';

const bytes = (text: string): Uint8Array => Uint8Array.from(text, char => char.charCodeAt(0));
const value = (input: Uint8Array): TftpPacket => {
  const decoded = decodeTftp(input);
  if (!decoded.ok) throw new Error(decoded.reason);
  return decoded.value;
};

describe('TFTP codec', () => {
  it('decodes the requests of RFC 2347 and 7440', () => {
    expect(value(bytes('\0\x01foobar\0OCTET\0BlkSize\x001432\0windowsize\x0016\0'))).toEqual({
      op: 'rrq',
      file: 'foobar',
      mode: 'octet',
      options: new Map([
        ['blksize', '1432'],
        ['windowsize', '16'],
      ]),
    });
    expect(value(bytes('\0\x02a\0netascii\0'))).toMatchObject({ op: 'wrq', mode: 'netascii' });
  });

  it('decodes the other packets', () => {
    expect(value(bytes('\0\x03\xff\xffabc'))).toEqual({ op: 'data', block: 65535, data: bytes('abc') });
    expect(value(bytes('\0\x04\x01\x02'))).toEqual({ op: 'ack', block: 258 });
    expect(value(bytes('\0\x05\0\x08User aborted\0'))).toEqual({ op: 'error', code: 8, message: 'User aborted' });
    expect(value(bytes('\0\x06tsize\x00123\0'))).toEqual({ op: 'oack', options: new Map([['tsize', '123']]) });
  });

  it('accepts what careless clients send, with a remark', () => {
    const unterminated = decodeTftp(bytes('\0\x01f\0octet'));
    expect(unterminated).toMatchObject({ ok: true, warnings: ['the request does not end with NUL'] });
    expect(value(bytes('\0\x01f\0octet\0\0\0\0\0'))).toMatchObject({ options: new Map() });
    expect(decodeTftp(bytes('\0\x01f\0octet\0tsize\0'))).toMatchObject({ ok: true, warnings: ['the last option has no value'] });
    expect(decodeTftp(bytes('\0\x01f\0octet\0a\x001\0A\x002\0'))).toMatchObject({ ok: true, value: { options: new Map([['a', '1']]) } });
  });

  it('refuses what is no packet', () => {
    for (const input of ['', '\0', '\0\x01', '\0\x01name', '\0\x01\0octet\0', '\0\x03\0', '\0\x04\x01', '\0\x05', '\0\x07abc', '\x01\x01']) {
      const decoded = decodeTftp(bytes(input));
      expect(decoded.ok, JSON.stringify(input)).toBe(false);
    }
  });

  it('encodes and decodes to the same', () => {
    const packets: TftpPacket[] = [
      { op: 'rrq', file: 'pxelinux.0', mode: 'octet', options: new Map([['tsize', '0']]) },
      { op: 'data', block: 0, data: bytes('x') },
      { op: 'ack', block: 65535 },
      { op: 'error', code: 1, message: 'file not found' },
      { op: 'oack', options: new Map([['blksize', '1468']]) },
    ];
    for (const packet of packets) expect(value(encodeTftp(packet))).toEqual(packet);
    expect(hexOf(encodeTftp({ op: 'ack', block: 3 }))).toBe('00040003');
  });

  it('reads option values strictly', () => {
    const list = new Map([
      ['a', '12'],
      ['b', '-1'],
      ['c', '1e3'],
      ['d', '9999999999999999'],
      ['e', ' 7 '],
    ]);
    expect(optionNumber(list, 'a', 0, 100)).toBe(12);
    expect(optionNumber(list, 'a', 13, 100)).toBeUndefined();
    for (const name of ['b', 'c', 'd', 'f']) expect(optionNumber(list, name, 0, 1e15)).toBeUndefined();
    expect(optionNumber(list, 'e', 0, 100)).toBe(7);
  });

  it('never throws on any bytes', () => {
    const random = new Random(99);
    for (let round = 0; round < 20_000; round++) {
      const input = Uint8Array.from({ length: random.below(60) }, () => (random.below(3) === 0 ? 0 : random.below(256)));
      if (input.length > 1) {
        input[0] = 0;
        input[1] = random.below(8);
      }
      const decoded = decodeTftp(input);
      if (decoded.ok) expect(decodeTftp(encodeTftp(decoded.value)).ok).toBe(true);
    }
  });
});

describe('netascii', () => {
  it('turns line ends and bare CRs to the wire and back, across any boundary', () => {
    const text = utf8('a\nb\rc\r\n\n');
    for (const size of [1, 2, 3, 7, 64]) {
      const reader = new NetasciiReader(bytesFile(text));
      const decoder = new NetasciiDecoder();
      const wire: number[] = [];
      const back: number[] = [];
      const buffer = new Uint8Array(size);
      for (let n = reader.read(buffer); n > 0; n = reader.read(buffer)) {
        wire.push(...buffer.subarray(0, n));
        back.push(...decoder.push(buffer.subarray(0, n)));
      }
      back.push(...decoder.end());
      expect(String.fromCharCode(...wire)).toBe('a\r\nb\r\0c\r\0\r\n\r\n');
      expect(Uint8Array.from(back)).toEqual(text);
    }
  });
});
