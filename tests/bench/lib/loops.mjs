// The loops of bench:cpu: machine code, its input, and a model in JavaScript that gives the result and the instruction count.
// One pass is about two million instructions.
import { Assembler, R } from './asm.mjs';
import { CODE, DATA } from './bare-core.mjs';

const MASK = { 32: 0xffff_ffffn, 64: 0xffff_ffff_ffff_ffffn };
const SECOND = 0x20_0000;

/** Shifts, adds, multiplications and rotations in registers, of the native width. */
const integer = bits => {
  const passes = 140_000;
  const a = new Assembler(bits);
  a.label('loop')
    .alu('add', R.ax, R.cx).mov(R.bx, R.ax).shift('shl', R.bx, 7).alu('xor', R.ax, R.bx).mov(R.bx, R.ax).shift('shr', R.bx, 9).alu('xor', R.ax, R.bx)
    .lea(R.dx, { base: R.dx, index: R.ax, scale: 2, disp: 5 }).imul(R.bx, R.dx).alu('add', R.dx, R.bx).shift('rol', R.dx, 3).alu('sub', R.ax, R.dx)
    .dec(R.cx).jumpIf('nz', 'loop')
    .alu('add', R.ax, R.dx).hlt();
  const model = () => {
    const mask = MASK[bits];
    const width = BigInt(bits);
    let x = 1n, d = 0n;
    for (let n = BigInt(passes); n > 0n; n--) {
      x = (x + n) & mask;
      x ^= (x << 7n) & mask;
      let b = x;
      b >>= 9n;
      x ^= b;
      d = (d + 2n * x + 5n) & mask;
      b = (b * d) & mask;
      d = (d + b) & mask;
      d = ((d << 3n) | (d >> (width - 3n))) & mask;
      x = (x - d) & mask;
    }
    return { result: (x + d) & mask, instructions: 14 * passes + 2 };
  };
  return { code: a.finish(), registers: { rax: 1, rcx: passes }, model };
};

/** Sequential loads and stores of 32 and 8 bits, read-modify-write, over 2 x 256 KB. */
const memory = bits => {
  const words = 0x1_0000, rounds = 3;
  const a = new Assembler(bits);
  a.label('round').movImm(R.si, DATA).movImm(R.di, DATA + SECOND).movImm(R.cx, words)
    .label('loop')
    .mov(R.ax, { base: R.si }, 32).alu('add', R.dx, R.ax, 32).movzxByte(R.bx, { base: R.si, disp: 1 }).alu('xor', R.dx, R.bx, 32)
    .mov({ base: R.si }, R.dx, 32).alu('add', { base: R.di }, R.dx, 32).alu('xor', R.dx, { base: R.di, disp: 0 }, 32)
    .aluImm('add', R.si, 4).aluImm('add', R.di, 4).dec(R.cx, 32).jumpIf('nz', 'loop')
    .dec(R.bp, 32).jumpIf('nz', 'round')
    .mov(R.ax, R.dx, 32).hlt();
  const prepare = ram => {
    const view = new DataView(ram.buffer, ram.byteOffset + DATA);
    for (let n = 0; n < words; n++) {
      view.setUint32(4 * n, Math.imul(n, 2_654_435_761), true);
      view.setUint32(SECOND + 4 * n, n, true);
    }
  };
  const model = () => {
    const first = Uint32Array.from({ length: words }, (_, n) => Math.imul(n, 2_654_435_761));
    const second = Uint32Array.from({ length: words }, (_, n) => n);
    let d = 0;
    for (let round = 0; round < rounds; round++) {
      for (let n = 0; n < words; n++) {
        d = (d + first[n]) | 0;
        d ^= (first[n] >>> 8) & 255;
        first[n] = d;
        second[n] += d;
        d ^= second[n];
      }
    }
    return { result: BigInt(d >>> 0), instructions: rounds * (5 + 11 * words) + 2 };
  };
  return { code: a.finish(), registers: { rbp: rounds }, prepare, model };
};

/** Branches on the bits of a pseudorandom sequence. */
const branch = bits => {
  const passes = 180_000;
  const a = new Assembler(bits);
  a.label('loop').imulImm(R.ax, R.ax, 1_664_525, 32).aluImm('add', R.ax, 1_013_904_223, 32)
    .testImm(R.ax, 0x1_0000, 32).jumpIf('z', 'even').inc(R.dx, 32)
    .label('even').testImm(R.ax, 0x200_0000, 32).jumpIf('nz', 'other').alu('add', R.dx, R.cx, 32).jump('join')
    .label('other').alu('xor', R.dx, R.ax, 32)
    .label('join').alu('cmp', R.dx, R.ax, 32).jumpIf('b', 'below').shift('rol', R.dx, 1, 32)
    .label('below').dec(R.cx, 32).jumpIf('nz', 'loop')
    .mov(R.ax, R.dx, 32).hlt();
  const model = () => {
    let x = 1, d = 0, instructions = 2;
    for (let n = passes; n > 0; n--) {
      x = (Math.imul(x, 1_664_525) + 1_013_904_223) >>> 0;
      instructions += 10;
      if ((x & 0x1_0000) !== 0) {
        d = (d + 1) >>> 0;
        instructions++;
      }
      if ((x & 0x200_0000) === 0) {
        d = (d + n) >>> 0;
        instructions += 2;
      } else {
        d = (d ^ x) >>> 0;
        instructions++;
      }
      if (d >= x) {
        d = ((d << 1) | (d >>> 31)) >>> 0;
        instructions++;
      }
    }
    return { result: BigInt(d), instructions };
  };
  return { code: a.finish(), registers: { rax: 1, rcx: passes }, model };
};

/** Fibonacci by recursion: CALL, RET, PUSH, POP. */
const call = bits => {
  const argument = 24;
  const a = new Assembler(bits);
  a.call('fib').hlt()
    .label('fib').aluImm('cmp', R.di, 2, 32).jumpIf('b', 'leaf')
    .push(R.di).dec(R.di, 32).call('fib').pop(R.di).push(R.ax).aluImm('sub', R.di, 2, 32).call('fib').pop(R.dx).alu('add', R.ax, R.dx, 32).ret()
    .label('leaf').mov(R.ax, R.di, 32).ret();
  const model = () => {
    const value = [0, 1], count = [4, 4];
    for (let n = 2; n <= argument; n++) {
      value.push(value[n - 1] + value[n - 2]);
      count.push(12 + count[n - 1] + count[n - 2]);
    }
    return { result: BigInt(value[argument]), instructions: count[argument] + 2 };
  };
  return { code: a.finish(), registers: { rdi: argument }, model };
};

/** LODSB, STOSB and SCASB one by one, and a short REP MOVSB for every 64 bytes. */
const string = bits => {
  const bytes = 0x2_0000, rounds = 2;
  const a = new Assembler(bits);
  a.label('round').movImm(R.si, DATA).movImm(R.di, DATA + SECOND).movImm(R.dx, bytes)
    .label('loop').bytes(0xac).bytes(0x34, 0x5a).bytes(0xaa).bytes(0xae).jumpIf('z', 'same').inc(R.bx, 32)
    .label('same').dec(R.di).dec(R.dx, 32).jumpIf('nz', 'loop')
    .movImm(R.si, DATA + SECOND).movImm(R.di, DATA).movImm(R.dx, bytes / 64)
    .label('copy').movImm(R.cx, 64, 32).bytes(0xf3, 0xa4).dec(R.dx, 32).jumpIf('nz', 'copy')
    .dec(R.bp, 32).jumpIf('nz', 'round')
    .mov(R.ax, R.bx, 32).hlt();
  const fill = ram => {
    for (let n = 0; n < bytes; n++) {
      ram[n] = (n * n) >> 3;
      ram[SECOND + n] = n * 7;
    }
    ram[SECOND + bytes] = 0;
  };
  const prepare = ram => fill(ram.subarray(DATA));
  const model = () => {
    const ram = new Uint8Array(SECOND + bytes + 1);
    fill(ram);
    let b = 0, steps = 0;
    for (let round = 0; round < rounds; round++) {
      for (let n = 0; n < bytes; n++) {
        const value = ram[n] ^ 0x5a;
        ram[SECOND + n] = value;
        steps += 8;
        if (value !== ram[SECOND + n + 1]) {
          b++;
          steps++;
        }
      }
      ram.copyWithin(0, SECOND, SECOND + bytes);
    }
    // Whether a repeated instruction counts as one or by its elements is the core's choice, so the count is not checked.
    return { result: BigInt(b), instructions: undefined, least: steps + rounds * (8 + (4 * bytes) / 64) + 2 };
  };
  return { code: a.finish(), registers: { rbp: rounds }, prepare, model };
};

/** Scalar SSE2 arithmetic: the logistic map with a division. */
const sse = bits => {
  const passes = 250_000;
  const a = new Assembler(bits);
  const constant = n => ({ base: R.si, disp: 8 * n });
  a.movsd(0, constant(0)).movsd(3, constant(1)).movsd(4, constant(2)).movsd(2, constant(3))
    .label('loop').movsd(1, 3).sd('sub', 1, 0).sd('mul', 0, 1).sd('mul', 0, 4).sd('add', 2, 0).sd('div', 1, 4).sd('add', 2, 1).dec(R.cx, 32).jumpIf('nz', 'loop')
    .movsd(constant(4), 2).mov(R.ax, constant(4)).hlt();
  const values = [0.37, 1, 3.99, 0];
  const prepare = ram => {
    const view = new DataView(ram.buffer, ram.byteOffset + DATA);
    values.forEach((value, n) => view.setFloat64(8 * n, value, true));
  };
  const model = () => {
    let x = values[0], sum = 0;
    for (let n = 0; n < passes; n++) {
      const rest = 1 - x;
      x = x * rest * 3.99;
      sum += x;
      sum += rest / 3.99;
    }
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, sum, true);
    return { result: bits === 64 ? view.getBigUint64(0, true) : BigInt(view.getUint32(0, true)), instructions: 9 * passes + 7 };
  };
  return { code: a.finish(), registers: { rsi: DATA, rcx: passes }, prepare, model };
};

export const LOOPS = { integer, memory, branch, call, string, sse };

/** Straight-line code in many blocks, each run once: what it costs to meet new code. */
export const coldCode = bits => {
  const blocks = 8192;
  const a = new Assembler(bits);
  let x = 1, d = 0, instructions = 2, seed = 12_345;
  const random = () => (seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0) >>> 8;
  for (let n = 0; n < blocks; n++) {
    a.label(`b${n}`);
    const length = 3 + (random() % 6);
    for (let k = 0; k < length; k++) {
      const value = random() & 0x7f_ffff;
      switch (random() % 6) {
        case 0: a.aluImm('add', R.ax, value, 32); x = (x + value) | 0; break;
        case 1: a.aluImm('xor', R.ax, value & 127, 32); x ^= value & 127; break;
        case 2: a.alu('add', R.dx, R.ax, 32); d = (d + x) | 0; break;
        case 3: a.mov({ base: R.si, disp: (value & 0xff) * 4 }, R.dx, 32); break;
        case 4: a.shift('rol', R.ax, 5, 32); x = (x << 5) | (x >>> 27); break;
        default: a.lea(R.ax, { base: R.ax, index: R.dx, scale: 4, disp: value & 0xfff }, 32); x = (x + 4 * d + (value & 0xfff)) | 0;
      }
    }
    a.jump(`b${n + 1}`);
    instructions += length + 1;
  }
  a.label(`b${blocks}`).alu('add', R.ax, R.dx, 32).hlt();
  const code = a.finish();
  if (CODE + code.length > DATA) throw new Error('the cold code is too long');
  return { code, blocks, registers: { rax: 1, rsi: DATA }, model: () => ({ result: BigInt((x + d) >>> 0), instructions }) };
};

/** Repeated string instructions over 64 KB, for bytes per second. */
export const BULK = {
  'rep movs': bits => bulk(bits, a => a.movImm(R.si, DATA).movImm(R.di, DATA + SECOND).movImm(R.cx, bits === 64 ? 8192 : 16_384).bytes(0xf3, ...(bits === 64 ? [0x48] : []), 0xa5)),
  'rep stos': bits => bulk(bits, a => a.movImm(R.di, DATA + SECOND).movImm(R.cx, bits === 64 ? 8192 : 16_384).bytes(0xf3, ...(bits === 64 ? [0x48] : []), 0xab)),
  'repne scasb': bits => bulk(bits, a => a.movImm(R.di, DATA).movImm(R.cx, 65_536).bytes(0xf2, 0xae)),
};

const bulk = (bits, body) => {
  const rounds = 16;
  const a = new Assembler(bits);
  a.movImm(R.ax, 0x5a, 32).label('round');
  body(a);
  a.dec(R.bx, 32).jumpIf('nz', 'round').mov(R.ax, R.di).hlt();
  return { code: a.finish(), bytes: rounds * 65_536, registers: { rbx: rounds }, prepare: ram => ram.fill(1, DATA, DATA + 65_536) };
};
