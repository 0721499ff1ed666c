// Integer instructions beyond the general ones: those that the interpreter has as thick operations and compiled code does in line.
import type { Emitter, Generator } from './fuzz-program.js';

const DATA = 0x20_0000; // of the fuzzer's programs

/** All operand sizes, 16 bits above all. */
const anyWidth = (e: Emitter): number => e.random.pick(e.long ? [8, 16, 16, 16, 32, 64] : [8, 16, 16, 16, 32]);
/** Without 8 bits. */
const wideWidth = (e: Emitter): number => e.random.pick(e.long ? [16, 32, 64, 64] : [16, 32, 32]);
const w = (width: number): number => (width === 8 ? 0 : 1);
/** LOCK, FS or GS in front of a memory operand, now and then. */
const prefixes = (e: Emitter, lockable: boolean): number[] => e.random.pick([[], [], [], lockable ? [0xf0] : [], [0x64], [0x65]]);

const arithmetic = (e: Emitter): void => {
  const { random } = e;
  const width = anyWidth(e);
  const memory = random.below(2) === 0;
  switch (random.below(5)) {
    case 0: {
      const kind = random.below(8), toMemory = random.below(2) === 0;
      return e.modrm([(kind << 3) | (toMemory ? 0 : 2) | w(width)], e.scratch(), width, { memory, prefix: memory ? prefixes(e, toMemory && kind !== 7) : [] });
    }
    case 1: {
      const kind = random.below(8);
      e.modrm([0x83], kind, Math.max(width, 16), { memory, immediate: 1, prefix: memory ? prefixes(e, kind !== 7) : [] });
      return e.imm(1);
    }
    case 2: {
      const size = Math.min(width, 32) / 8;
      e.modrm([0x80 | w(width)], random.below(8), width, { memory, immediate: size });
      return e.imm(size);
    }
    case 3: return e.modrm([0xfe | w(width)], random.below(2), width, { memory, prefix: memory ? prefixes(e, true) : [] });
    default: return e.modrm([0xf6 | w(width)], random.pick([2, 3]), width, { memory, prefix: memory ? prefixes(e, true) : [] });
  }
};

/** Sums and differences of many words. */
const carryChain = (e: Emitter): void => {
  const { random } = e;
  const width = e.random.pick(e.long ? [8, 16, 32, 64] : [8, 16, 32]);
  for (let n = 1 + random.below(4); n > 0; n--) {
    if (random.below(3) === 0) e.modrm([0xff], random.below(2), Math.max(width, 16), { memory: false });
    else e.modrm([random.pick([0x10, 0x12, 0x18, 0x1a]) | w(width)], e.scratch(), width);
  }
};

const shift = (e: Emitter): void => {
  const { random } = e;
  const width = anyWidth(e);
  const kind = random.below(8);
  switch (random.below(5)) {
    case 0:
    case 1:
      e.modrm([0xc0 | w(width)], kind, width, { immediate: 1 });
      return e.emit(random.pick([0, 1, 2, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 63, 64, 65]));
    case 2: return e.modrm([0xd0 | w(width)], kind, width);
    case 3: return e.modrm([0xd2 | w(width)], kind, width);
    default: {
      const cl = random.below(2);
      e.modrm([0x0f, random.pick([0xa4, 0xac]) | cl], e.scratch(), wideWidth(e), { immediate: 1 - cl });
      if (!cl) e.emit(random.pick([0, 1, 3, 15, 16, 17, 20, 31, 32, 47, 63]));
    }
  }
};

const mulDiv = (e: Emitter): void => {
  const { random } = e;
  const width = anyWidth(e);
  const kind = random.pick([4, 5, 6, 6, 7, 7]);
  if (kind > 5 && random.below(8)) {
    // mostly a dividend whose quotient fits
    if (width === 8) e.emit(...(random.below(2) ? [0x66, 0x98] : [0x30, 0xe4]));
    else {
      if (width === 16) e.emit(0x66);
      const rex = width === 64 ? [0x48] : [];
      if (random.below(2)) e.emit(...rex, 0x99);
      else e.emit(...rex, 0x31, 0xd2);
    }
  }
  if (random.below(5) === 0) {
    const size = Math.max(width, 16);
    if (random.below(2)) return e.modrm([0x0f, 0xaf], e.scratch(), size);
    e.modrm([0x6b], e.scratch(), size, { immediate: 1 });
    return e.imm(1);
  }
  e.modrm([0xf6 | w(width)], kind, width, { rm: random.pick([0, 1, 2, 3, 3, 6]) });
};

const bits = (e: Emitter): void => {
  const { random } = e;
  const width = wideWidth(e);
  switch (random.below(6)) {
    case 0:
    case 1: {
      const kind = random.below(4);
      const memory = random.below(2) === 0;
      e.modrm([0x0f, 0xba], 4 + kind, width, { memory, immediate: 1, prefix: memory ? prefixes(e, kind !== 0) : [] });
      return e.imm(1);
    }
    case 2: {
      // the bit's number is small now and then, so that memory operands stay near
      const kind = random.below(4);
      const register = random.below(4);
      const memory = random.below(2) === 0;
      if (memory && random.below(4)) e.emit(0xb8 | register, random.u32(), random.pick([0, 0, 1]), 0, 0);
      return e.modrm([0x0f, 0xa3 | (kind << 3)], register, width, { memory, prefix: memory ? prefixes(e, kind !== 0) : [] });
    }
    case 3: return e.modrm([0x0f, random.pick([0xbc, 0xbd])], e.scratch(), width);
    case 4: return e.modrm([0x0f, random.pick([0xb8, 0xbc, 0xbd])], e.scratch(), width, { prefix: [0xf3] });
    default: {
      if (random.below(2)) return e.modrm([0x0f, 0x38, random.pick([0xf0, 0xf1])], e.scratch(), width, { memory: true });
      return e.modrm([0x0f, 0x38, random.pick([0xf0, 0xf1])], e.scratch(), width, { prefix: [0xf2] });
    }
  }
};

const exchange = (e: Emitter): void => {
  const { random } = e;
  const width = anyWidth(e);
  const memory = random.below(2) === 0;
  const prefix = memory ? prefixes(e, true) : [];
  switch (random.below(5)) {
    case 0: return e.modrm([0x86 | w(width)], e.scratch(), width, { memory, prefix });
    case 1: return e.modrm([0x0f, 0xc0 | w(width)], e.scratch(), width, { memory, prefix });
    case 2:
    case 3:
      // as often as not with the accumulator that it finds
      if (random.below(2)) e.modrm([0x8a | w(width)], 0, width, { memory: true });
      return e.modrm([0x0f, 0xb0 | w(width)], e.scratch(), width, { memory, prefix });
    default: return e.modrm([0x0f, 0xc7], 1, e.long ? random.pick([32, 64]) : 32, { memory: true, prefix });
  }
};

const move = (e: Emitter): void => {
  const { random } = e;
  const width = anyWidth(e);
  switch (random.below(9)) {
    case 0: return e.modrm([0x88 | (random.below(2) << 1) | w(width)], e.scratch(), width, { memory: true, prefix: prefixes(e, false) });
    case 1: return e.modrm([0x0f, random.pick([0xb6, 0xb7, 0xbe, 0xbf])], e.scratch(), wideWidth(e), { prefix: random.pick([[], [], [0x65]]) });
    case 2: return e.modrm([0x0f, 0x40 | random.below(16)], e.scratch(), wideWidth(e));
    case 3: return e.modrm([0x0f, 0x90 | random.below(16)], 0, 8, { memory: true });
    case 4: return e.modrm([0x8d], e.scratch(), wideWidth(e), { memory: true, prefix: random.pick([[], e.bits === 16 ? [] : [0x67]]) });
    case 5: return e.modrm([0x0f, 0xc3], e.scratch(), e.native(), { memory: true });
    case 6: {
      // the accumulator and an address
      const at = DATA + random.below(0x2100);
      e.emit(...random.pick([[], [], [0x66], [0x65], ...(e.long ? [[0x48]] : [])]), 0xa0 | random.below(4));
      return e.emit(at, at >> 8, at >> 16, at >> 24, ...(e.long ? [0, 0, 0, 0] : []));
    }
    case 7: return e.emit(0x66, random.pick([0x98, 0x99]));
    default:
      if (e.long && random.below(2)) return e.modrm([0x63], e.scratch(), wideWidth(e));
      return e.modrm([0x8c], random.pick([0, 2, 3, 4, 5]), wideWidth(e));
  }
};

const flagsAndStack = (e: Emitter): void => {
  const { random } = e;
  switch (random.below(7)) {
    case 0:
    case 1: return e.emit(random.pick([0xf5, 0xf8, 0xf9, 0x9e, 0x9f, 0xfc]));
    case 2: return e.emit(0x9c, 0x58 | random.below(4));
    case 3: return e.emit(...(e.long || random.below(2) ? [0x0f, random.pick([0xa0, 0xa8])] : [random.pick([0x06, 0x16, 0x1e])]));
    case 4: return e.emit(...random.pick([[0x0f, 0x31], [0x0f, 0x01, 0xf9]]));
    case 5: return e.emit(0xfd, random.pick([0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf]), 0xfc);
    default: return e.emit(0x9c, 0x9d);
  }
};

/** Repeated strings, at most a few hundred bytes. */
const repeated = (e: Emitter): void => {
  const { random } = e;
  if (random.below(4)) e.emit(0xb9, random.pick([0, 1, 2, 3, 8, 15, 64, 200]), 0, 0, 0);
  const down = random.below(8) === 0;
  if (down) e.emit(0xfd);
  e.emit(random.pick([0xf3, 0xf3, 0xf2]), ...random.pick([[], [], [0x66], ...(e.long ? [[0x48]] : [])]), random.pick([0xa4, 0xa5, 0xaa, 0xab, 0xa6, 0xa7, 0xac, 0xae, 0xaf]));
  if (down) e.emit(0xfc);
};

/** Privileged ones, and loads of segment registers; ports exist in system mode only. */
const system = (e: Emitter): void => {
  const { random } = e;
  switch (random.below(5)) {
    case 0: return e.emit(random.pick([0xfa, 0xfb]));
    case 1: return e.emit(random.pick([0xe4, 0xe5]), random.below(256));
    case 2: return e.emit(random.pick([0xe6, 0xe7]), random.below(256));
    case 3: return e.emit(0x8c, 0xd8, 0x8e, 0xd8); // mov eax, ds; mov ds, eax
    default: return e.emit(random.pick([0xec, 0xed, 0xee, 0xef]));
  }
};

export const INTEGERS: readonly Generator[] = [
  { name: 'arithmetic', weight: 4, write: arithmetic },
  { name: 'carry-chain', weight: 2, write: carryChain },
  { name: 'shift', weight: 4, write: shift },
  { name: 'mul-div', weight: 3, write: mulDiv },
  { name: 'bits', weight: 4, write: bits },
  { name: 'exchange', weight: 3, write: exchange },
  { name: 'move', weight: 4, write: move },
  { name: 'flags-and-stack', weight: 2, write: flagsAndStack },
  { name: 'repeated', weight: 2, write: repeated },
  { name: 'system', weight: 1, write: system },
];
