// What a JavaScript engine has compilers for: numbers that change their kind, shapes, regular expressions, code from strings, WebAssembly, a worker, garbage.
// Does all of it for each line that it reads; the answers are the same every time, in every version.
import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';
import { Worker } from 'node:worker_threads';
import zlib from 'node:zlib';

const random = seed => () => (seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff);
const parts = {
  integers() { let a = 1; for (let i = 0; i < 600000; i++) a = (Math.imul(a, 31) + (i ^ a >>> 7)) | 0; return a; },
  doubles() { let x = 0.5, s = 0; for (let i = 0; i < 300000; i++) { x = x * 3.7 * (1 - x); s += Math.sqrt(x) / (i + 1); } return [x, s]; },
  // Optimised for small integers, then given doubles, strings and holes.
  deopts() {
    const add = (a, b) => a + b;
    const make = n => new Function('a', 'b', `let s = a; for (let i = 0; i < 50; i++) s = s + b; return s; // ${n}`);
    let out = '';
    for (let n = 0; n < 6; n++) {
      const f = make(n);
      let s = 0;
      for (let i = 0; i < 20000; i++) s = (s + f(i & 7, 1)) & 0xffffff;
      for (let i = 0; i < 5000; i++) s += f(i / 4, 0.5);
      out += `${s},${f('x', 'y').length},${add(n, s)},${add('a', n)};`;
    }
    return out;
  },
  shapes() {
    class A { constructor(v) { this.v = v; } get() { return this.v; } }
    class B extends A { constructor(v) { super(v); this.w = 2; } get() { return super.get() * this.w; } }
    class C extends B { get() { return super.get() + 1; } }
    const all = [];
    for (let i = 0; i < 3000; i++) all.push(i % 3 === 0 ? new A(i) : i % 3 === 1 ? new B(i) : i % 5 === 0 ? Object.assign(new C(i), { [`p${i % 40}`]: 1 }) : new C(i));
    let s = 0;
    for (let k = 0; k < 30; k++) for (const o of all) s = (s + o.get()) % 1000003;
    return s;
  },
  regexps() {
    const r = random(7);
    let text = '';
    for (let i = 0; i < 4000; i++) text += `${(r() % 9000).toString(36)}${' .,\n'[r() & 3]}user${r() % 50}@host${r() % 9}.example `;
    const found = text.match(/\b[a-z]+(\d+)@host([0-4])\.(?:example|test)\b/g);
    const swapped = text.replace(/(\w+)@(\w+)/g, (_, a, b) => `${b}<${a}>`);
    const lazy = [...text.matchAll(/(?<!x)([aeiou]).*?\1/gu)].length;
    return [found.length, found[found.length - 1], createHash('sha1').update(swapped).digest('hex'), lazy];
  },
  sorting() {
    const r = random(3), a = Array.from({ length: 20000 }, () => r() % 100003);
    const b = a.slice().sort((x, y) => x - y), c = Float64Array.from(a, x => x / 7).sort();
    return [b[0], b[10000], c[19999], a.map(String).sort()[777], b.reduce((s, x, i) => (s * 31 + x + i) % 1000000007, 7)];
  },
  collections() {
    const m = new Map(), s = new Set(), r = random(11);
    for (let i = 0; i < 40000; i++) { const k = `k${r() % 5000}`; m.set(k, (m.get(k) ?? 0) + i); s.add(r() % 3000); if (i % 7 === 0) m.delete(`k${r() % 5000}`); }
    return [m.size, s.size, [...m.values()].reduce((x, y) => (x + y) % 999983, 0)];
  },
  // Young and old generation: lists that live for some rounds.
  garbage() {
    const keep = [];
    let s = 0;
    for (let i = 0; i < 150000; i++) {
      const o = { i, next: keep[i % 100], text: 'n' + (i % 1000) };
      if (i % 50 === 0) keep[(i / 50) % 2000 | 0] = { i: o.i, next: undefined, text: o.text };
      s = (s + o.text.length + (o.next ? o.next.i : 0)) % 1000003;
    }
    return s;
  },
  json() {
    const v = Array.from({ length: 3000 }, (_, i) => ({ id: i, name: `n${i * i}`, list: [i / 8, null, i % 2 === 0, 'ä€𝒳'] }));
    const t = JSON.stringify(v);
    return [t.length, createHash('sha256').update(JSON.stringify(JSON.parse(t), (k, x) => (typeof x === 'number' ? x * 2 : x))).digest('hex')];
  },
  bigints() {
    let a = 1n;
    for (let i = 1n; i < 400n; i++) a = a * (i * 12345678901234567n + 7n) % (2n ** 2203n - 1n);
    return a.toString(16).slice(-40) + (3n ** 3000n / 7n ** 900n % 10n ** 20n);
  },
  generators() {
    function* g(n) {
      for (let i = 0; i < n; i++) {
        try {
          if (i % 1000 === 999) throw new RangeError(String(i));
          yield i * 2;
        } catch (e) {
          yield -Number(e.message);
        }
      }
    }
    let s = 0;
    for (const [i, v] of [...g(30000)].entries()) s = (s + i * v) % 1000003;
    return s;
  },
  // Code that is made, used and thrown away.
  fresh() {
    let s = 0;
    for (let n = 0; n < 40; n++) {
      const f = new Function('a', `for (let i = 0; i < 400; i++) a = (a * ${n + 3} + i) % 65521; return a;`);
      for (let k = 0; k < 15; k++) s = (s + f(k)) % 1000003;
    }
    return s;
  },
  // A memory m and a function f(n): a hash over words of the memory, of which it writes others.
  wasm() {
    const bytes = Uint8Array.from([
      0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f, 3, 2, 1, 0, 5, 3, 1, 0, 1, 7, 9, 2, 1, 0x6d, 2, 0, 1, 0x66, 0, 0, 10, 0x42, 1, 0x40, 1, 2, 0x7f,
      3, 0x40, // loop
      0x20, 2, 0x41, 0x1f, 0x6c, 0x20, 1, 0x73, 0x22, 2, // h = h * 31 ^ i, tee
      0x41, 0x07, 0x77, 0x20, 1, 0x41, 0xfc, 0xff, 0x03, 0x71, 0x28, 2, 0, 0x6a, 0x21, 2, // h = rotl(h, 7) + mem[i & 0xfffc]
      0x20, 2, 0x41, 0xfc, 0xff, 0x03, 0x71, 0x20, 2, 0x36, 2, 0, // mem[h & 0xfffc] = h
      0x20, 1, 0x41, 1, 0x6a, 0x22, 1, 0x20, 0, 0x48, 0x0d, 0, // i++ < n: again
      0x0b, 0x20, 2, 0x0b,
    ]);
    bytes[37] = bytes.length - 38; bytes[39] = bytes.length - 40;
    const make = () => new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
    let h = 0;
    const one = make();
    for (let i = 0; i < 20; i++) h ^= one.f(20000) + i;
    for (let i = 0; i < 10; i++) h = (h * 3 + make().f(500 + i)) | 0;
    return [h, createHash('md5').update(new Uint8Array(one.m.buffer)).digest('hex')];
  },
  packing() {
    const d = Buffer.alloc(120000);
    for (let i = 0; i < d.length; i++) d[i] = (i * i >> 7) & 255;
    return [zlib.inflateRawSync(zlib.deflateRawSync(d)).equals(d), createHash('sha512').update(d).digest('hex').slice(0, 24)];
  },
  async worker() {
    const memory = new SharedArrayBuffer(8), cell = new Int32Array(memory);
    const source = `const { workerData, parentPort } = require('worker_threads'); const c = new Int32Array(workerData); let s = 0;
      for (let i = 0; i < 100000; i++) s = (s * 5 + i) % 65521; for (let i = 0; i < 2000; i++) Atomics.add(c, 0, 3); Atomics.store(c, 1, 1); Atomics.notify(c, 1); parentPort.postMessage([s, new Map([[1, 'a']])]);`;
    const worker = new Worker(source, { eval: true, workerData: memory });
    for (let i = 0; i < 2000; i++) Atomics.add(cell, 0, 5);
    const answer = await new Promise((done, failed) => worker.on('message', done).on('error', failed));
    await worker.terminate();
    return [answer[0], answer[1].get(1), cell[0], cell[1]];
  },
};
createInterface({ input: process.stdin }).on('line', async () => {
  for (const [name, part] of Object.entries(parts)) console.log(name, JSON.stringify(await part()));
  console.log('done');
});
