import { execFileSync, spawnSync } from 'node:child_process';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { crc32, crc64, xxh32 } from '../../src/image/codec/checksum.js';
import { decompress, decompressAsync, detectCompression, type Compression } from '../../src/image/codec/decompress.js';
import { unconvertX86 } from '../../src/image/codec/xz.js';
import { noise, text } from './support/data.js';

/** Compressed by the reference tools from `text(400)`, so that the decoders are judged where a tool is missing too. */
const FIXTURES: Record<string, { kind: Compression; base64: string }> = {
  'gzip': {
    kind: 'gzip',
    base64:
      'H4sIAAAAAAACA02Qyw3CMAyGEUefGCEj5N2EbYIIVdXyaEnFDuzIPZ2iBLuovViOf/v35/RjHCO7hLFLLIVTF1k+7Hc77TxIb6AOKbJHqP/hPiTW48i5ebbM' +
      'WQ2YiErB0NzqRSQnrzhYuZgYZQCtMdBCY6DiS5kquAAdbRFxp5eekn6Din2pucZhA+a5B6MKuOMgrADS0X3Kx3meK20Jl6yQa3PNK3QtOWntgAScphRlDIJu' +
      'XQvUQNGUr0NnIsVOZJzy58dQDhacw4rtrIQpv4tWnl9S3QQlkAEAAA==',
  },
  'xz': {
    kind: 'xz',
    base64:
      '/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4AGPANJdADidSNf0wiVIueKVb7yBsV+Pr0FesFzUBK7pm1h+QvPe1WZoYz9UElQOeZD91nuIG0ZOVRq/0x3eNcVK' +
      'ra0oA/PpB++lc1WAuGyfdtLjlRREJK3t77XSKLz7lvSbJwFxMRRnEG0Pm19gD/j9k7nwujIK95TWyOroJ8CjS086/Hu5gUXpvFNEJhOkwfWOqq4Vs3K0QnYj' +
      '3LPXnkAFMmdSTRxdQjB1LeucPDXmbBhr3IcFkuF4Fqnh4fbw3tcA3UO7Xnoyi4nu6LVZugnZmb9oTPrgAAAAAI93YQujAcyMAAHuAZADAABi2H1tscRn+wIA' +
      'AAAABFla',
  },
  'xz with the x86 filter': {
    kind: 'xz',
    base64:
      '/Td6WFoAAAFpIt42AgEEACEBGgAByYCz4AGPAOFdADidSNf0wiVIueKVb7yBsV+Pr0FsywDUA0cSr440XdT/erxZfPbtFhyICByt1XD6r6ve5XpD5xPHEQLK' +
      'kfkxNMBS98lfuFXc/vO+KyoasqTzd0kG+lihqRgBdxjnLScyvfKLNdPZpvrj12fz3rJTVX8FFDw48osdE6nAQc3HwQ24ANuI9oWzE7Xk+28vVRavojmrLgXi' +
      'XM8//IFeIqfVkeM134Rn+dceTXYooGp/6Zw5xvje4nxr1hXPk+VMgkUTmZCSQrBYfhNE4r8TKh1Zrv84aLcZAqYjdWl2jrETpGrnlwAAAABS3QQlAAH5AZAD' +
      'AABB6q5zPjANiwIAAAAAAVla',
  },
  'lzma': {
    kind: 'lzma',
    base64:
      'XQAAgAD//////////wA4nUjX9MIlSLnilW+8gbFfj69BXrBc1ASu6ZtYfkLz3tVmaGM/VBJUDnmQ/dZ7iBtGTlUav9Md3jXFSq2tKAPz6QfvpXNVgLhsn3bS' +
      '45UURCSt7e+10ii8+5b0mycBcTEUZxBtD5tfYA/4/ZO58LoyCveU1sjq6CfAo0tPOvx7uYFF6bxTRCYTpMH1jqquFbNytEJ2I9yz155ABTJnUk0cXUIwdS3r' +
      'nDw15mwYa9yHBZLheBap4eH28N7XAN1Du156MouJ7ui1WboJ2Zm/aJCapwH/2ndQsA==',
  },
  'bzip2': {
    kind: 'bzip2',
    base64:
      'QlpoOTFBWSZTWbG17RoAAJj5w9AQQABAAH/wN6/+gAAQAAIAYAAAsAD5REE0JhANAAANDDI000yMJkYJoDAkRJqM0KaHqeoyB5R6gYmKRYVzTi2MUZSM8sS4' +
      'y/Behvq3ENwNpbPrSCjbbIJmWSollHhhjbQy07tCIIl0joUuTVBq62IN7HE4mvlUSYmlCnqBDmscS1iUIBwI+CFgHsjsdLxvlxX5hSxyEREEuNiBGpVbrmov' +
      'SvOy2RbhNsb3Kosj6R3pWs2N9WIs1nT4Jg+0uaK4tMbHcWB15COBFEURqPCsN/ykzlAY/R/F3JFOFCQsbXtGgA==',
  },
  'zstd': {
    kind: 'zstd',
    base64:
      'KLUv/QRopQYAUokfILCpA4ygaEmSPKQ6W7I1Y+0Id3iSnJVNtmyyHz92twIb0gPdey0sO5Tzzr2zu7CsJ7/PGBeGVjIS994Cy/7ku5vwPfDbtVQbxTbsM8uz' +
      'I858HhjKu6ETR5E+EO9RzrZMytGs9CQUatXS5NzwPSMABALWKmNQ2yxDUaRVqlJRJ6gxjsCkmRnbdQMQPOTsAxAQrE1BBzqaHOLkNbcidSlMRgTHm7EIswdf' +
      '9jRLNDfe4clEyGiQz7ku9uwZ3l5xEgYFNArjdQ7hN2/AEdmsCx52VgGt5xCn',
  },
  'an lz4 frame': {
    kind: 'lz4',
    base64:
      'BCJNGGRApw0BAAD0GHF1ZXVlIGZhdWx0IHRhYmxlIOgQAgAANDg5CjI5NQpnYXRlIHBhZwUAQm9ydCAzAJFkaXNrIDg2NAoJAIMxNzMKcmluZx0AAkoAYzkz' +
      'MAo2MkUAQTUzNQpbAAEFAAJxAHc1NQo3MDUKEgABYQABUgBBNjU1CnQAMjkyOQkACKsAASgAV3RpbWVymQDyATkwOQo1MzkKMjgwCjE2MQogAAFeAJLp6Dr/' +
      '//83NDavAAJLAAGYAAfOAEJ3YWxrSgBCNDQ4ChkAAQ4BAgsAAR8AASQAEjHsAAYRAAIhAAJLADI1ODnyAAKqAAEqAAGkADDp6N2EAHYwNQoxMDAKtwDQODYy' +
      'Cunoiv///3BvcgAAAABh7PHQ',
  },
  'legacy lz4': {
    kind: 'lz4',
    base64:
      'AiFMGA0BAAD0GHF1ZXVlIGZhdWx0IHRhYmxlIOgQAgAANDg5CjI5NQpnYXRlIHBhZwUAQm9ydCAzAJFkaXNrIDg2NAoJAIMxNzMKcmluZx0AAkoAYzkzMAo2' +
      'MkUAQTUzNQpbAAEFAAJxAHc1NQo3MDUKEgABYQABUgBBNjU1CnQAMjkyOQkACKsAASgAV3RpbWVymQDyATkwOQo1MzkKMjgwCjE2MQogAAFeAJLp6Dr///83' +
      'NDavAAJLAAGYAAfOAEJ3YWxrSgBCNDQ4ChkAAQ4BAgsAAR8AASQAEjHsAAYRAAIhAAJLADI1ODnyAAKqAAEqAAGkADDp6N2EAHYwNQoxMDAKtwDQODYyCuno' +
      'iv///3Bvcg==',
  },
  'lzop': {
    kind: 'lzo',
    base64:
      'iUxaTwANChoKEEAgoAlAAQUDAAANAAAAAGsDMIIAAAAAACeTApAAAAGQAAABDBlYhcAAMXF1ZXVlIGZhdWx0IHRhYmxlIOgQAgAANDg5CjI5NQpnYXRlIHBh' +
      'Z2UgcGFnZSBwb3J0IHF1ZXVlIGRpc2sgODY0CmRgAQUxNzMKcmluZ9ADpAkDOTMwCjYy0AgBNTM1CogLkACgDgI1NQo3MNgCpAKBDGRkCgE2NTUKgw85Mjmg' +
      'ASqoApwEAnRpbWVyKWACDTkwOQo1MzkKMjgwCjE2MQq8A5wNB+noOv///zc0NgqQC6gJkBuoAZQCAndhbGsghAsBNDQ4CqADlAeoAZgDkQAxrB2MAZAAoAS3' +
      'ADU4ObgmpBqUIoMZ6ejdbBADMDUKMTAwqBoPcG9ydCA4NjIK6eiK////cG9yEQAAAAAAAA==',
  },
};

const TOOLS: { kind: Compression; tool: string; args: string[] }[] = [
  { kind: 'gzip', tool: 'gzip', args: ['-9c'] },
  { kind: 'xz', tool: 'xz', args: ['-c'] },
  { kind: 'xz', tool: 'xz', args: ['-c', '--check=crc32', '--x86', '--lzma2=dict=32MiB'] },
  { kind: 'xz', tool: 'xz', args: ['-c', '--check=sha256', '--delta=dist=4', '--lzma2=preset=1'] },
  { kind: 'xz', tool: 'xz', args: ['-c', '--check=none', '--block-size=100000'] },
  { kind: 'xz', tool: 'xz', args: ['-c', '--lzma2=lc=0,lp=4,pb=0'] },
  { kind: 'lzma', tool: 'xz', args: ['-c', '--format=lzma'] },
  { kind: 'bzip2', tool: 'bzip2', args: ['-c'] },
  { kind: 'bzip2', tool: 'bzip2', args: ['-1c'] },
  { kind: 'zstd', tool: 'zstd', args: ['-qc'] },
  { kind: 'zstd', tool: 'zstd', args: ['-qc', '-3', '--long=27'] },
  { kind: 'lz4', tool: 'lz4', args: ['-qc'] },
  { kind: 'lz4', tool: 'lz4', args: ['-qc', '-l', '-9'] },
  { kind: 'lz4', tool: 'lz4', args: ['-qc', '-BD', '-B4', '-BX', '-9'] },
];

const hasTool = (tool: string): boolean => spawnSync(tool, ['--version'], { stdio: 'ignore' }).error === undefined;

describe('decompress', { timeout: 20_000 }, () => {
  for (const [name, { kind, base64 }] of Object.entries(FIXTURES)) {
    const packed = Buffer.from(base64, 'base64');

    it(`unpacks ${name}`, () => {
      expect(detectCompression(packed)).toBe(kind);
      const { bytes, used } = decompress(kind, packed);
      expect(Buffer.from(bytes).equals(text(400))).toBe(true);
      expect(used).toBe(packed.length);
    });

    it(`finds the end of ${name} when zeros follow`, () => {
      const { bytes, used } = decompress(kind, Buffer.concat([packed, Buffer.alloc(16)]));
      expect(Buffer.from(bytes).equals(text(400))).toBe(true);
      expect(used).toBe(packed.length);
    });

    it(`rejects ${name} cut at every byte`, () => {
      for (let length = 0; length < packed.length; length++) {
        let bytes: Uint8Array | undefined;
        try {
          bytes = decompress(kind, packed.subarray(0, length)).bytes;
        } catch (error) {
          expect(error).toMatchObject({ code: 'ERR_VMLET_IMAGE_FORMAT' });
        }
        // A legacy LZ4 container has no end mark: cut between blocks, it is whole.
        if (bytes && kind !== 'lz4') expect(Buffer.from(bytes).equals(text(400)), `cut at ${length}`).toBe(true);
      }
    });

    it(`survives ${name} with every byte damaged`, () => {
      for (let at = 0; at < packed.length; at++) {
        for (const flip of [0x01, 0x80, 0xff]) {
          const damaged = Buffer.from(packed);
          damaged[at] ^= flip;
          try {
            decompress(kind, damaged, { maxBytes: 1 << 20 });
          } catch (error) {
            expect(error, `byte ${at} ^ ${flip}`).toMatchObject({ code: 'ERR_VMLET_IMAGE_FORMAT' });
          }
        }
      }
    });
  }

  for (const { kind, tool, args } of TOOLS) {
    it.skipIf(!hasTool(tool))(`unpacks what ${tool} ${args.join(' ')} packs`, () => {
      for (const data of [Buffer.alloc(0), Buffer.from('x'), text(60_000), noise(300_000), Buffer.alloc(1_500_000, 'ab'), Buffer.concat([text(9000), noise(5000), text(9000)])]) {
        const packed = execFileSync(tool, args, { input: data, maxBuffer: 1 << 28 });
        const { bytes, used } = decompress(kind, packed);
        expect(Buffer.from(bytes).equals(data), `${data.length} bytes`).toBe(true);
        expect(used).toBe(packed.length);
        expect(Buffer.from(decompress(kind, packed, { size: data.length }).bytes).equals(data)).toBe(true);
      }
    });

    it.skipIf(!hasTool(tool))(`holds ${tool} ${args.join(' ')} to its limit`, () => {
      const packed = execFileSync(tool, args, { input: Buffer.alloc(3_000_000), maxBuffer: 1 << 28 });
      expect(() => decompress(kind, packed, { maxBytes: 1 << 20 })).toThrow(expect.objectContaining({ code: 'ERR_VMLET_IMAGE_FORMAT' }));
    });
  }

  it.skipIf(!hasTool('xz'))('unpacks large xz data without holding up timers', async () => {
    const packed = execFileSync('xz', ['-0c'], { input: text(5_000_000), maxBuffer: 1 << 28 });
    let ticks = 0;
    let going = true;
    const tick = (): void => {
      ticks++;
      if (going) setImmediate(tick);
    };
    setImmediate(tick);
    const { bytes } = await decompressAsync('xz', packed);
    going = false;
    expect(bytes.length).toBe(5_000_000);
    expect(ticks).toBeGreaterThan(1);
    await expect(decompressAsync('xz', packed, { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
  });

  it('unpacks concatenated members', () => {
    const packed = Buffer.concat([gzipSync('one '), gzipSync('two')]);
    expect(Buffer.from(decompress('gzip', packed).bytes).toString()).toBe('one two');
  });

  it('reads a gzip header with all its optional fields', () => {
    const plain = gzipSync('hello');
    const header = Buffer.from([0x1f, 0x8b, 8, 0x1e, 0, 0, 0, 0, 0, 3, 2, 0, 9, 9, 0x6e, 0, 0x63, 0, 7, 7]);
    expect(Buffer.from(decompress('gzip', Buffer.concat([header, plain.subarray(10)])).bytes).toString()).toBe('hello');
  });

  it('finds no compression in an ELF file', () => {
    expect(detectCompression(Buffer.from('\x7fELF....'))).toBeUndefined();
    expect(detectCompression(new Uint8Array(0))).toBeUndefined();
  });
});

describe('checksums', () => {
  it('match their published check values', () => {
    const digits = Buffer.from('123456789');
    expect(crc32(digits)).toBe(0xcbf43926);
    expect(crc64(digits)).toEqual({ low: 0xdf1939fa, high: 0x995dc9bb });
    expect(xxh32(Buffer.alloc(0))).toBe(0x02cc5d05);
    expect(xxh32(digits)).toBe(0x937bad67);
  });
});

describe('the x86 filter', () => {
  it('turns an absolute call target into a relative one', () => {
    const code = Buffer.from([0x90, 0xe8, 0x06, 0x01, 0x00, 0x00, 0x90, 0x90]);
    unconvertX86(code, 0);
    expect([...code]).toEqual([0x90, 0xe8, 0x00, 0x01, 0x00, 0x00, 0x90, 0x90]);
  });

  it('leaves operands alone that are no near targets', () => {
    const code = Buffer.from([0xe8, 0x01, 0x02, 0x03, 0x44, 0x90, 0x90, 0x90]);
    unconvertX86(code, 0);
    expect([...code]).toEqual([0xe8, 0x01, 0x02, 0x03, 0x44, 0x90, 0x90, 0x90]);
  });
});
