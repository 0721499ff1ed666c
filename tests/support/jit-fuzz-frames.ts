// Accesses near one register for the fuzzer: frames and records of which compiled code looks a page up once (assembly/jit/windows.ts), mostly near a page's end.
import type { Emitter, Generator } from './fuzz-program.js';
import { ALIAS, BUS, CODE, DATA, FAR, STACK } from './fuzz-machine.js';

const PAGE = 0x1000;
const RAX = 0, RCX = 1, RDX = 2, RBX = 3, RSP = 4, RBP = 5;
const dword = (value: number): number[] => [0, 8, 16, 24].map(shift => (value >> shift) & 255);

/** A frame in the making: its base register changes as it goes on. */
class Frame {
  constructor(
    readonly e: Emitter,
    public base: number,
  ) {}

  /** Prefixes and REX of an instruction with operands of `width` bits; 0 for neither prefix. `reg` and `rm` by number. */
  #front(width: number, reg: number, rm: number, prefix: readonly number[], memory: boolean): number[] {
    const { bits, long } = this.e;
    const out: number[] = [];
    if (memory && bits === 16) out.push(0x67);
    if (width === (bits === 16 ? 32 : 16)) out.push(0x66);
    out.push(...prefix);
    const rex = (width === 64 ? 8 : 0) | (reg > 7 ? 4 : 0) | (rm > 7 ? 1 : 0);
    if (long && (rex !== 0 || width === 8)) out.push(0x40 | rex);
    return out;
  }

  /** An instruction whose operand lies `disp` bytes from the base. */
  at(disp: number, width: number, opcode: readonly number[], reg: number, prefix: readonly number[] = []): number[] {
    const { base, e } = this;
    const short = disp >= -128 && disp < 128 && e.random.below(8) > 0;
    const mode = short ? 0x40 : 0x80;
    const tail = (base & 7) === RSP ? [mode | ((reg & 7) << 3) | 4, 0x24] : [mode | ((reg & 7) << 3) | (base & 7)];
    return [...this.#front(width, reg, base, prefix, true), ...opcode, ...tail, ...(short ? [disp & 255] : dword(disp))];
  }

  /** The same with a register. */
  on(rm: number, width: number, opcode: readonly number[], reg: number): number[] {
    return [...this.#front(width, reg, rm, [], false), ...opcode, 0xc0 | ((reg & 7) << 3) | (rm & 7)];
  }

  /** As wide as addresses. */
  get wide(): number {
    return this.e.long ? 64 : 32;
  }

  set(register: number, value: number): number[] {
    const { bits } = this.e;
    return [...(bits === 16 ? [0x66] : []), ...(register > 7 ? [0x41] : []), 0xb8 | (register & 7), ...dword(value)];
  }
}

/** An address of which a page's end is not far. */
const edge = (e: Emitter): number => {
  const { random, around } = e;
  const end = random.pick([
    DATA + PAGE, DATA + PAGE, DATA + PAGE, DATA + 2 * PAGE, DATA + 3 * PAGE, STACK & ~0xfff, (STACK & ~0xfff) + PAGE, (CODE & ~0xfff) + PAGE,
    around.paging ? ALIAS + PAGE : BUS, 0,
  ]);
  const far = around.paging && end >= DATA && random.below(4) === 0 ? FAR : 0;
  return end + far + random.pick([0, -4, -8, 8, -16, -0x20, -0x80, 0x400, random.below(0x200) - 0x100]);
};

/** Distances that make up a frame: of one size mostly, now and then odd ones. */
const distance = (e: Emitter): number => {
  const { random } = e;
  const step = random.pick([4, 8, 8, 8, 16]);
  return random.below(10) === 0 ? random.below(300) - 150 : (random.below(16) - 8) * step;
};

const access = (f: Frame): number[] => {
  const { e } = f;
  const { random } = e;
  const d = distance(e);
  const width = random.pick(e.long ? [8, 16, 32, 32, 64, 64, 64] : [8, 16, 32, 32, 32]);
  const w = width === 8 ? 0 : 1;
  const reg = random.below(10) === 0 ? e.scratch() : random.pick([RAX, RCX, RDX, RBX]);
  const small = random.below(256);
  switch (random.below(26)) {
    case 0: case 1: case 2: case 3: case 4: return f.at(d, width, [0x8a | w], reg);
    case 5: case 6: case 7: case 8: return f.at(d, width, [0x88 | w], reg);
    case 9: return [...f.at(d, width, [0xc6 | w], 0), ...dword(random.u32()).slice(0, width === 8 ? 1 : width === 16 ? 2 : 4)];
    case 10: case 11: return f.at(d, width, [(random.below(8) << 3) | (random.below(2) << 1) | w], reg);
    case 12: return [...f.at(d, Math.max(width, 16), [0x83], random.below(8)), small];
    case 13: return f.at(d, width, [0xfe | w], random.below(2));
    case 14: return f.at(d, e.native(), [0x0f, random.pick([0xb6, 0xb7, 0xbe, 0xbf])], reg);
    case 15: return f.at(d, e.bits === 16 ? 16 : 0, [0xff], 6); // push
    case 16: return f.at(d, e.bits === 16 ? 16 : 0, [0x8f], 0); // pop
    case 17: return f.at(d, width, [0x86 | w], reg);
    case 18: return f.at(d, width, [0x0f, random.pick([0xb0, 0xc0]) | w], reg);
    case 19: return random.below(2) ? [...f.at(d, Math.max(width, 16), [0x0f, 0xba], 4 + random.below(4)), small] : f.at(d, Math.max(width, 16), [0x0f, random.pick([0xa3, 0xab, 0xb3, 0xbb])], reg);
    case 20: return random.below(2) ? f.at(d, 0, [0x0f, random.pick([0x28, 0x29, 0x10, 0x11])], random.below(4)) : f.at(d, 0, [0x0f, random.pick([0x6f, 0x7f, 0xef])], random.below(4), [0x66]);
    case 21: return f.at(d, 0, [0x0f, random.pick([0x10, 0x11, 0x58, 0x59])], random.below(4), [random.pick([0xf2, 0xf3])]);
    case 22: return f.at(d, 0, [random.pick([0xd9, 0xdd, 0xdb])], random.pick([0, 2, 3, 7]));
    case 23: return f.at(d, width, [0xf6 | w], random.pick([2, 3, 4, 5]));
    case 24: return f.at(d, Math.max(width, 16), [0x0f, 0x40 | random.below(16)], reg);
    default: return f.at(d, width, [0xd0 | w], random.pick([0, 1, 4, 5, 7]));
  }
};

/** The base moves, or another register takes its place. */
const move = (f: Frame): number[] => {
  const { e, base, wide } = f;
  const { random } = e;
  const width = random.below(6) ? wide : random.pick([16, 32]);
  const by = random.pick([1, 4, 8, 16, -4, -8, -16, 0x20, random.below(64) - 32]);
  const other = random.pick([RBX, RBP, 6, 7, ...(e.long ? [9, 12, 13] : [])]);
  switch (random.below(e.around.paging ? 14 : 12)) {
    case 12: case 13: return [...f.on(base, wide, [0x81], 6), ...dword(FAR)]; // to the other address of the same memory
    case 0: case 1: return [...f.on(base, width, [0x83], random.pick([0, 5])), by & 255];
    case 2: return [...f.on(base, wide, [0x81], random.pick([0, 5])), ...dword(by)];
    case 3: return f.on(base, width, [0xff], random.below(2));
    case 4: return f.at(by, width, [0x8d], base);
    case 5: case 6: {
      const out = f.at(by, wide, [0x8d], other);
      f.base = other;
      return out;
    }
    case 7: case 8: {
      const out = random.below(2) ? f.on(other, wide, [0x89], base) : f.on(base, wide, [0x8b], other);
      f.base = other;
      return out;
    }
    case 9: {
      const out = f.on(other, wide, [0x87], base);
      f.base = other;
      return out;
    }
    case 10: return [...f.on(base, wide, [0x83], random.pick([1, 4, 6])), by & 0x7f]; // or, and, xor
    default: {
      if (base === RSP) return [0x90];
      // push; pop
      const rex = (n: number): number[] => (n > 7 ? [0x41] : []);
      const out = [...rex(base), 0x50 | (base & 7), ...rex(other), 0x58 | (other & 7)];
      f.base = other;
      return out;
    }
  }
};

/** What changes registers besides their operands: the base, when it is among them, is another value. */
const implicit = (f: Frame): number[] => {
  const { random } = f.e;
  return random.pick([
    [0xdf, 0xe0], // fnstsw ax
    [0xf7, 0xe3], [0xf7, 0xe9], // mul ebx, imul ecx
    [0x99], [0x98], [0x9f], [0x9e], [0x93], [0x91],
    [0xa4], [0xaa], [0xac], [0x0f, 0xc8], [0x0f, 0xcb], [0x86, 0xe0], [0x0f, 0x92, 0xc3],
    [0x0f, 0xc1, 0xc3], [0x0f, 0x44, 0xd8], [0xc1, 0xc3, 0x03], [0xd1, 0xe8], [0xf7, 0xd8], [0xfc],
  ]);
};

const pushOrPop = (f: Frame): number[] => [...(f.e.long && f.e.random.below(4) === 0 ? [0x41] : []), (f.e.random.below(2) ? 0x50 : 0x58) | f.e.random.pick([RAX, RCX, RDX])];

/** Some of a frame's instructions, each apart. */
const some = (f: Frame, count: number, depth: number): number[][] => {
  const { e } = f;
  const { random } = e;
  const out: number[][] = [];
  for (let n = 0; n < count; n++) {
    const kind = random.below(depth < 2 ? 22 : 18);
    if (kind < 13) out.push(access(f));
    else if (kind < 15) out.push(move(f));
    else if (kind < 17) out.push(pushOrPop(f));
    else if (kind === 17) out.push(implicit(f));
    else out.push(...flow(f, kind - 18, depth + 1));
  }
  return out;
};

const lengthOf = (parts: readonly number[][]): number => parts.reduce((sum, { length }) => sum + length, 0);

const flow = (f: Frame, kind: number, depth: number): number[][] => {
  const { random, bits } = f.e;
  const { base } = f;
  const body = some(f, 1 + random.below(4), depth);
  const length = lengthOf(body);
  if (length > 100) return body;
  const condition = 0x70 | random.below(16);
  switch (kind) {
    case 0: {
      // if and else, each from the same base
      f.base = base;
      const other = some(f, 1 + random.below(3), depth);
      if (lengthOf(other) > 100) return [[condition, length], ...body];
      return [[condition, length + 2], ...body, [0xeb, lengthOf(other)], ...other];
    }
    case 1: return [[condition, length], ...body];
    case 2: return [[...f.set(RCX, 1 + random.below(6))], ...body, [0xff, 0xc9, 0x75, (-(length + 4)) & 255]];
    default: return [[0xe8, 2, 0, ...(bits === 16 ? [] : [0, 0]), 0xeb, length + 1], ...body, [0xc3]];
  }
};

const frame = (e: Emitter): void => {
  const { random } = e;
  const f = new Frame(e, random.pick([RAX, RBX, RSP, RSP, RBP, RBP, RBP, 6, 7, ...(e.long ? [10, 12, 13] : [])]));
  const parts: number[][] = [];
  const onStack = f.base === RSP;
  if (random.below(3)) {
    // a function's frame
    if (!onStack && random.below(3) === 0) parts.push(f.on(f.base, f.wide, [0x89], RSP));
    else parts.push(f.set(f.base, edge(e)));
  }
  if (random.below(4) === 0 && e.bits !== 16) {
    parts.push([0x55], f.on(RBP, f.wide, [0x89], RSP), [...f.on(RSP, f.wide, [0x83], 5), random.pick([8, 16, 32, 64])]);
    f.base = random.pick([RBP, RSP]);
    parts.push(...some(f, 2 + random.below(8), 0), [0xc9]);
  } else parts.push(...some(f, 3 + random.below(9), 0));
  if (onStack && random.below(8)) parts.push(f.set(RSP, STACK + (random.below(64) << 3)));
  for (const part of parts) {
    e.emit(...part);
    e.split();
  }
};

export const FRAMES: readonly Generator[] = [{ name: 'frames', weight: 12, write: frame }];
