// What CPUID reports beyond the fixtures: the crypto instructions put together as a program would, judged by Node's OpenSSL, and system instructions
// that no user program on the host can be the judge of.
import { createCipheriv, createDecipheriv, createHash } from 'node:crypto';
import { beforeEach, expect, it } from 'vitest';
import { CoreHarness } from '../support/core-harness.js';
import { describeEngine } from '../support/engines.js';

const UD = 6, GP = 13;
const hex = (code: string): number[] => (code.replaceAll(' ', '').match(/../g) ?? []).map((b) => parseInt(b, 16));
/** ModRM of two registers. */
const modrm = (reg: number, rm: number): string => (0xc0 | (reg << 3) | rm).toString(16);
const pattern = (length: number, salt: number): Uint8Array => Uint8Array.from({ length }, (_, k) => (k * 73 + salt * 41 + (k >> 3)) & 0xff);

let h: CoreHarness;
beforeEach(() => {
  h = new CoreHarness();
});

/** Runs straight-line code to its end. */
const run = (code: string): void => {
  expect(h.run(hex(code)).fault).toBeUndefined();
};

describeEngine('AES', () => {
  const KEYS = 0x4000;
  const roundKey = (n: number): Uint8Array => h.get(KEYS + 16 * n, 16);

  /** FIPS 197, 5.2 for 128-bit keys: SubWord, RotWord and Rcon by AESKEYGENASSIST, the rest by XOR. */
  const expandKey = (key: Uint8Array): void => {
    h.set(KEYS, key);
    let rcon = 1;
    for (let n = 1; n <= 10; n++) {
      h.xmm(1).set(roundKey(n - 1));
      run(`66 0f 3a df d1 ${rcon.toString(16).padStart(2, '0')}`);
      const assist = h.xmm(2).slice(12);
      const next = roundKey(n - 1).slice();
      for (let k = 0; k < 16; k++) next[k] ^= k < 4 ? assist[k] : next[k - 4];
      h.set(KEYS + 16 * n, next);
      rcon = rcon & 0x80 ? ((rcon << 1) ^ 0x11b) & 0xff : rcon << 1;
    }
  };
  const encrypt = (block: Uint8Array): Uint8Array => {
    h.xmm(0).set(block.map((b, k) => b ^ roundKey(0)[k]));
    for (let n = 1; n <= 10; n++) {
      h.xmm(1).set(roundKey(n));
      run(n < 10 ? '66 0f 38 dc c1' : '66 0f 38 dd c1');
    }
    return h.xmm(0).slice();
  };
  const decrypt = (block: Uint8Array): Uint8Array => {
    h.xmm(0).set(block.map((b, k) => b ^ roundKey(10)[k]));
    for (let n = 9; n >= 0; n--) {
      h.xmm(2).set(roundKey(n));
      run(n > 0 ? '66 0f 38 db ca  66 0f 38 de c1' : '66 0f 38 df c2');
    }
    return h.xmm(0).slice();
  };

  it('gives the example of FIPS 197, appendix C.1', () => {
    expandKey(Uint8Array.from({ length: 16 }, (_, k) => k));
    const plain = Uint8Array.from({ length: 16 }, (_, k) => k * 0x11);
    const cipher = encrypt(plain);
    expect(Buffer.from(cipher).toString('hex')).toBe('69c4e0d86a7b0430d8cdb78070b4c55a');
    expect(decrypt(cipher)).toEqual(plain);
  });

  it('agrees with OpenSSL', () => {
    for (let salt = 1; salt <= 8; salt++) {
      const key = pattern(16, salt), block = pattern(16, salt + 100);
      expandKey(key);
      expect(Buffer.from(encrypt(block))).toEqual(createCipheriv('aes-128-ecb', key, null).setAutoPadding(false).update(block));
      expect(Buffer.from(decrypt(block))).toEqual(createDecipheriv('aes-128-ecb', key, null).setAutoPadding(false).update(block));
    }
  });

  it('and PCLMULQDQ make the tag that OpenSSL makes in GCM mode', () => {
    const key = pattern(16, 3), iv = pattern(12, 4), aad = pattern(32, 5);
    const cipher = createCipheriv('aes-128-gcm', key, iv);
    cipher.setAAD(aad);
    cipher.final();
    expandKey(key);
    const bits = (bytes: Uint8Array): bigint => BigInt(`0b${[...bytes].map((b) => b.toString(2).padStart(8, '0')).join('')}`);
    const mirrored = (bytes: Uint8Array): bigint => BigInt(`0b${[...bits(bytes).toString(2).padStart(128, '0')].reverse().join('')}`);
    const halves = (x: bigint): Uint8Array => Uint8Array.from({ length: 16 }, (_, k) => Number((x >> BigInt(8 * k)) & 0xffn));
    const hash = mirrored(encrypt(new Uint8Array(16)));
    let sum = 0n;
    for (const block of [aad.subarray(0, 16), aad.subarray(16), Uint8Array.from({ length: 16 }, (_, k) => (k === 6 ? 1 : 0))]) {
      h.xmm(1).set(halves(sum ^ mirrored(block)));
      h.xmm(2).set(halves(hash));
      let product = 0n;
      for (const [imm, shift] of [['00', 0n], ['01', 64n], ['10', 64n], ['11', 128n]] as const) {
        h.xmm(3).set(h.xmm(1));
        run(`66 0f 3a 44 ${modrm(3, 2)} ${imm}`);
        product ^= h.xmm(3).reduce((value, byte, k) => value | (BigInt(byte) << BigInt(8 * k)), 0n) << shift;
      }
      for (let k = 255n; k >= 128n; k--) if ((product >> k) & 1n) product ^= ((1n << 128n) | 0x87n) << (k - 128n);
      sum = product;
    }
    const mask = mirrored(encrypt(Uint8Array.of(...iv, 0, 0, 0, 1)));
    const tag = [...(sum ^ mask).toString(2).padStart(128, '0')].reverse().join('').match(/.{8}/g)!;
    expect(Buffer.from(tag.map((b) => parseInt(b, 2)))).toEqual(cipher.getAuthTag());
  });
});

describeEngine('SHA', () => {
  /** Message blocks with their padding. */
  const padded = (message: Uint8Array): DataView => {
    const view = new DataView(new ArrayBuffer((Math.floor((message.length + 8) / 64) + 1) * 64));
    new Uint8Array(view.buffer).set(message);
    view.setUint8(message.length, 0x80);
    view.setUint32(view.byteLength - 4, message.length * 8);
    return view;
  };
  const put = (reg: number, words: readonly number[]): void => h.xmm(reg).set(new Uint8Array(Uint32Array.from(words).buffer));
  const words = (reg: number): number[] => [...new Uint32Array(h.xmm(reg).slice().buffer)];
  const digest = (state: readonly number[]): string => state.map((w) => (w >>> 0).toString(16).padStart(8, '0')).join('');
  const K = Array.from({ length: 400 }, (_, n) => n).filter((n) => n > 1 && ![...Array(n).keys()].some((d) => d > 1 && n % d === 0)).slice(0, 64)
    .map((prime) => { const root = Math.cbrt(prime); return Math.floor((root - Math.floor(root)) * 2 ** 32) >>> 0; });

  const sha256 = (message: Uint8Array): string => {
    let s = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
    const view = padded(message);
    for (let at = 0; at < view.byteLength; at += 64) {
      const w = Array.from({ length: 16 }, (_, k) => view.getUint32(at + 4 * k));
      for (let t = 16; t < 64; t += 4) {
        put(1, w.slice(t - 16, t - 12));
        put(2, w.slice(t - 12, t - 8));
        run(`0f 38 cc ${modrm(1, 2)}`);
        put(1, words(1).map((x, k) => (x + w[t - 7 + k]) >>> 0));
        put(2, w.slice(t - 4, t));
        run(`0f 38 cd ${modrm(1, 2)}`);
        w.push(...words(1));
      }
      let abef = [s[5], s[4], s[1], s[0]], cdgh = [s[7], s[6], s[3], s[2]];
      for (let t = 0; t < 64; t += 2) {
        put(0, [(w[t] + K[t]) >>> 0, (w[t + 1] + K[t + 1]) >>> 0, 0, 0]);
        put(1, cdgh);
        put(2, abef);
        run(`0f 38 cb ${modrm(1, 2)}`);
        [abef, cdgh] = [words(1), abef];
      }
      s = [abef[3], abef[2], cdgh[3], cdgh[2], abef[1], abef[0], cdgh[1], cdgh[0]].map((x, k) => (x + s[k]) >>> 0);
    }
    return digest(s);
  };

  const sha1 = (message: Uint8Array): string => {
    let abcd = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476].reverse(), e = 0xc3d2e1f0;
    const view = padded(message);
    for (let at = 0; at < view.byteLength; at += 64) {
      // Words of a vector are in message order from the top down.
      const w = [0, 1, 2, 3].map((v) => [0, 1, 2, 3].map((k) => view.getUint32(at + 16 * v + 4 * k)).reverse());
      const [first, firstE] = [abcd, e];
      let carried = [0, 0, 0, e];
      for (let g = 0; g < 20; g++) {
        if (g >= 4) {
          put(1, w[g - 4]);
          put(2, w[g - 3]);
          run(`0f 38 c9 ${modrm(1, 2)}`);
          put(1, words(1).map((x, k) => (x ^ w[g - 2][k]) >>> 0));
          put(2, w[g - 1]);
          run(`0f 38 ca ${modrm(1, 2)}`);
          w.push(words(1));
        }
        put(2, w[g]);
        if (g === 0) put(3, [w[0][0], w[0][1], w[0][2], (w[0][3] + carried[3]) >>> 0]);
        else {
          put(3, carried);
          run(`0f 38 c8 ${modrm(3, 2)}`);
        }
        carried = abcd;
        put(1, abcd);
        run(`0f 3a cc ${modrm(1, 3)} 0${Math.floor(g / 5)}`);
        abcd = words(1);
      }
      put(3, carried);
      put(2, [0, 0, 0, firstE]);
      run(`0f 38 c8 ${modrm(3, 2)}`);
      e = words(3)[3];
      abcd = abcd.map((x, k) => (x + first[k]) >>> 0);
    }
    return digest([...[...abcd].reverse(), e]);
  };

  it.each([0, 3, 55, 56, 64, 200])('makes the digests that OpenSSL makes of %i bytes', (length) => {
    const message = pattern(length, length);
    expect(sha256(message)).toBe(createHash('sha256').update(message).digest('hex'));
    expect(sha1(message)).toBe(createHash('sha1').update(message).digest('hex'));
  });
});

describeEngine('RDRAND and RDSEED', () => {
  it.each([['RDRAND', 'f0'], ['RDSEED', 'f8']])('%s gives entropy of the operand size and sets CF alone', (_, rm) => {
    h.setGpr(0, -1);
    h.flags = 0x8d4;
    run(`48 0f c7 ${rm}`);
    expect(h.getGpr(0)).toBe(0x1234_5678_1234_5678n);
    expect(h.flags & 0x8d5).toBe(1);
    h.setGpr(0, -1);
    run(`0f c7 ${rm}`);
    expect(h.getGpr(0)).toBe(0x1234_5678n);
    h.setGpr(0, -1);
    run(`66 0f c7 ${rm}`);
    expect(h.getGpr(0)).toBe(0xffff_ffff_ffff_5678n);
  });
});

describeEngine('FSGSBASE', () => {
  it('moves the bases in 64-bit mode when CR4 allows it; a base is canonical', () => {
    h.setMode('long64', { cpl: 3 });
    expect(h.run(hex('f3 48 0f ae c0'), { max: 1 }).fault?.vector).toBe(UD);
    h.set64('cr4', h.get64('cr4') | 0x1_0000n);
    h.updateMode();
    h.setGpr(0, 0x7fff_0000_1234n);
    h.setGpr(1, 0xffff_ffff_8765_4321n);
    run('f3 48 0f ae d0  f3 0f ae d9'); // WRFSBASE RAX, WRGSBASE ECX
    expect([h.get64('fsBase'), h.get64('gsBase')]).toEqual([0x7fff_0000_1234n, 0x8765_4321n]);
    run('f3 48 0f ae c2  f3 0f ae cb'); // RDFSBASE RDX, RDGSBASE EBX
    expect([h.getGpr(2), h.getGpr(3)]).toEqual([0x7fff_0000_1234n, 0x8765_4321n]);
    h.setGpr(0, 0x8000_0000_0000n);
    expect(h.run(hex('f3 48 0f ae d0'), { max: 1 }).fault).toMatchObject({ vector: GP, code: 0 });
    h.setMode('compat32');
    h.set64('cr4', h.get64('cr4') | 0x1_0000n);
    h.updateMode();
    expect(h.run(hex('f3 0f ae c0'), { max: 1 }).fault?.vector).toBe(UD);
  });
});

describeEngine('RDTSCP and RDPID', () => {
  it('read the counter and IA32_TSC_AUX', () => {
    h.set64('tscAux', 0x1_2345_6789n);
    h.set64('tscOffset', 1n << 40n);
    h.setGpr(1, -1);
    run('0f 01 f9  f3 0f c7 fb'); // RDPID RBX
    expect(h.getGpr(1)).toBe(0x2345_6789n);
    expect(h.getGpr(3) & 0xffff_ffffn).toBe(0x2345_6789n);
    expect(h.getGpr(2)).toBe(1n << 8n);
  });
});

describeEngine('PAUSE', () => {
  /** `count` turns of a loop around `body`; what PAUSE asked for. */
  const asked = (body: string, count: number): number[] => {
    const wishes: number[] = [];
    run('90'.repeat(200)); // no PAUSE was just now
    h.bus.pause = (ns) => wishes.push(ns);
    h.setGpr(1, count);
    const bytes = hex(body);
    run(`${body} ff c9 75 ${(256 - bytes.length - 4).toString(16)}`); // dec ecx; jne
    return wishes;
  };

  it('asks for time to pass in a loop that reads the time stamp counter, a quarter more each time', () => {
    expect(asked('0f 31 f3 90', 7)).toEqual([40, 50, 62, 77, 96, 120]);
    expect(asked('0f 31 f3 90', 60).at(-1)).toBe(10_000);
  });

  it('asks for nothing otherwise', () => {
    expect(asked('f3 90', 50)).toEqual([]);
    expect(asked(`0f 31 ${'90'.repeat(100)} f3 90`, 10)).toEqual([]);
  });
});
