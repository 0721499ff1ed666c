// SSE, MMX and x87 instructions for the fuzzer: chains on few registers, so that values stay in locals from one to the next.
import type { Emitter, Generator } from './fuzz-program.js';

const NONE: number[] = [], P66 = [0x66], PF3 = [0xf3], PF2 = [0xf2];
const FORMATS = [NONE, P66, PF3, PF2];

/** A register of the few that chains work on, now and then any. */
const chained = (e: Emitter): number => (e.random.below(5) === 0 ? e.vector() : e.random.below(4));

/** An instruction on two XMM registers, or one and memory. */
const two = (e: Emitter, prefix: number[], opcode: number[], { memory = e.random.below(3) === 0, immediate = 0 } = {}): void => {
  if (memory && e.random.below(20) === 0) e.emit(e.random.pick([0x2e, 0x26, 0x36, 0x64, 0x65]));
  e.modrm(opcode, chained(e), 0, { prefix, memory, rm: chained(e), immediate });
  for (let k = 0; k < immediate; k++) e.emit(e.random.u32());
};

const arithmetic = (e: Emitter): void => {
  const { random } = e;
  const scalar = random.below(4) > 0;
  two(e, scalar ? random.pick([PF2, PF2, PF3]) : random.pick([NONE, P66]), [0x0f, random.pick([0x51, 0x58, 0x58, 0x59, 0x59, 0x5c, 0x5c, 0x5d, 0x5e, 0x5f])]);
};

const compareFlags = (e: Emitter): void => {
  const { random } = e;
  two(e, random.pick([NONE, P66]), [0x0f, random.pick([0x2e, 0x2f])]);
  // somebody looks at them, or they wait
  const reader = random.below(4);
  if (reader === 0) e.modrm([0x0f, 0x90 | random.below(16)], 0, 8, { memory: false });
  else if (reader === 1) e.modrm([0x0f, 0x40 | random.below(16)], e.scratch(), e.native());
  else if (reader === 2) e.modrm([random.pick([0x11, 0x19])], e.scratch(), e.native(), { memory: false });
};

const compare = (e: Emitter): void => two(e, e.random.pick(FORMATS), [0x0f, 0xc2], { immediate: 1 });

const scalarMove = (e: Emitter): void => {
  const { random } = e;
  switch (random.below(7)) {
    case 0: case 1: return two(e, random.pick([PF2, PF3]), [0x0f, random.pick([0x10, 0x10, 0x11])]);
    case 2: return two(e, random.pick(FORMATS), [0x0f, random.pick([0x12, 0x16])]);
    case 3: return two(e, random.pick([NONE, P66]), [0x0f, random.pick([0x13, 0x17])], { memory: true });
    case 4: return random.below(2) ? two(e, PF3, [0x0f, 0x7e]) : two(e, P66, [0x0f, 0xd6]);
    case 5: return e.modrm([0x0f, random.pick([0x6e, 0x7e])], chained(e), random.below(2) ? e.native() & 64 : 0, { prefix: P66 });
    default: return two(e, random.pick([NONE, P66]), [0x0f, random.pick([0x28, 0x28, 0x10, 0x6f, 0x29, 0x11])]);
  }
};

const conversion = (e: Emitter): void => {
  const { random } = e;
  switch (random.below(5)) {
    case 0: return e.modrm([0x0f, 0x2a], chained(e), e.native() & 64, { prefix: random.pick([PF2, PF3]) });
    case 1: return e.modrm([0x0f, random.pick([0x2c, 0x2d])], e.scratch(), e.native() & 64, { prefix: random.pick([PF2, PF3]), rm: chained(e) });
    case 2: return two(e, random.pick(FORMATS), [0x0f, 0x5a]);
    case 3: return two(e, random.pick([NONE, P66, PF3]), [0x0f, 0x5b]);
    default: return two(e, random.pick([P66, PF3, PF2]), [0x0f, 0xe6]);
  }
};

const LANES = [
  0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x74, 0x75, 0x76, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd8, 0xd9, 0xda, 0xdb,
  0xdc, 0xdd, 0xde, 0xdf, 0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe8, 0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xef, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf8, 0xf9,
  0xfa, 0xfb, 0xfc, 0xfd, 0xfe,
];
const MAP_38 = [
  0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x10, 0x14, 0x15, 0x17, 0x1c, 0x1d, 0x1e, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x28,
  0x29, 0x2a, 0x2b, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x37, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x40, 0x41, 0xdb, 0xdc, 0xdd, 0xde, 0xdf,
];

const integer = (e: Emitter): void => {
  const { random } = e;
  switch (random.below(10)) {
    case 0: case 1: case 2: return two(e, P66, [0x0f, random.pick(LANES)]);
    case 3: return two(e, random.pick([P66, PF3, PF2]), [0x0f, 0x70], { immediate: 1 });
    case 4: {
      const [opcode, digit] = random.pick([[0x71, 2], [0x71, 4], [0x71, 6], [0x72, 2], [0x72, 4], [0x72, 6], [0x73, 2], [0x73, 3], [0x73, 6], [0x73, 7]]);
      e.modrm([0x0f, opcode], digit, 0, { prefix: P66, memory: false, rm: chained(e) });
      return e.emit(random.below(3) ? random.below(20) : random.u32());
    }
    case 5: case 6: return two(e, P66, [0x0f, 0x38, random.pick(MAP_38)]);
    case 7: {
      const opcode = random.pick([0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x21, 0x40, 0x41, 0x42, 0x44, 0x60, 0x61, 0x62, 0x63, 0xdf]);
      return two(e, P66, [0x0f, 0x3a, opcode], { immediate: 1 });
    }
    case 8: {
      const opcode = random.pick([0x14, 0x15, 0x16, 0x17, 0x20, 0x22]);
      e.modrm([0x0f, 0x3a, opcode], chained(e), e.native() & 64, { prefix: P66, immediate: 1 });
      return e.emit(random.u32());
    }
    default: {
      const opcode = random.pick([0xd7, 0xc5, 0x50]);
      if (opcode === 0x50) return e.modrm([0x0f, 0x50], e.scratch(), 0, { prefix: random.pick([NONE, P66]), memory: false, rm: chained(e) });
      e.modrm([0x0f, opcode], e.scratch(), 0, { prefix: P66, memory: false, rm: chained(e) });
      if (opcode === 0xc5) e.emit(random.u32());
    }
  }
};

const shuffle = (e: Emitter): void => {
  const { random } = e;
  switch (random.below(4)) {
    case 0: return two(e, random.pick([NONE, P66]), [0x0f, 0xc6], { immediate: 1 });
    case 1: return two(e, random.pick([NONE, P66]), [0x0f, random.pick([0x14, 0x15])]);
    case 2: return two(e, random.pick([NONE, P66]), [0x0f, random.pick([0x54, 0x55, 0x56, 0x57])]);
    default: return two(e, random.pick([P66, PF2]), [0x0f, random.pick([0x7c, 0x7d, 0xd0])]);
  }
};

/** MXCSR: usual, with the inexact flag, other roundings, flushing, unmasked exceptions. */
const STATES = [0x1f80, 0x1fa0, 0x1fa0, 0x1fbf, 0x1fa0, 0x3fa0, 0x5f80, 0x7fa0, 0x9fa0, 0x1fe0, 0x9fc0, 0x0f80, 0x1f00, 0x1d80];
const control = (e: Emitter): void => {
  const { random } = e;
  const state = random.pick(STATES);
  const stack = e.long ? 8 : 4;
  // push; ldmxcsr [sp]; pop
  if (e.bits === 16) return;
  e.emit(0x68, state, state >> 8, 0, 0, 0x0f, 0xae, 0x14, 0x24, ...(e.long ? [0x48] : []), 0x83, 0xc4, stack);
  if (random.below(3) === 0) e.modrm([0x0f, 0xae], 3, 0, { memory: true });
};

/** Small and plain numbers into registers, for the chains to have something ordinary. */
const plain = (e: Emitter): void => {
  const { random } = e;
  e.emit(0xb8 | random.below(3));
  e.imm(e.bits === 16 ? 2 : 4);
  e.modrm([0x0f, 0x2a], chained(e), 0, { prefix: random.pick([PF2, PF3]), memory: false, rm: random.below(3) });
};

const mmx = (e: Emitter): void => {
  const { random } = e;
  switch (random.below(6)) {
    case 0: return e.modrm([0x0f, random.pick([0x6f, 0x7f])], random.below(8), 0, { rm: random.below(8) });
    case 1: return e.modrm([0x0f, random.pick(LANES.filter(o => o !== 0x6c && o !== 0x6d))], random.below(8), 0, { rm: random.below(8) });
    case 2: return e.modrm([0x0f, random.pick([0x6e, 0x7e])], random.below(8), e.native() & 64);
    case 3: return e.modrm([0x0f, 0xd7], e.scratch(), 0, { memory: false, rm: random.below(8) });
    case 4: return e.modrm([0x0f, 0xd6], random.below(8), 0, { prefix: random.pick([PF2, PF3]), memory: false, rm: random.below(8) });
    default: return e.emit(0x0f, 0x77);
  }
};

const x87 = (e: Emitter): void => {
  const { random } = e;
  switch (random.below(10)) {
    case 9: return e.emit(0xdb, 0xe3);
    case 8: return e.modrm([random.pick([0xd9, 0xdd])], random.pick([5, 6, 7]), 0, { memory: true });
    case 0: case 1: return e.modrm([random.pick([0xd9, 0xdd])], 0, 0, { memory: true });
    case 2: return e.modrm([random.pick([0xd9, 0xdd])], random.pick([2, 3]), 0, { memory: true });
    case 3: return e.modrm([random.pick([0xd8, 0xdc, 0xda, 0xde])], random.below(8), 0, { memory: true });
    case 4: return e.modrm([random.pick([0xdb, 0xdf])], random.pick([0, 2, 3, 5, 7]), 0, { memory: true });
    case 5: return e.emit(random.pick([0xd8, 0xdc, 0xde]), 0xc0 | random.below(64));
    case 6: return e.emit(0xd9, random.pick([0xc0, 0xc1, 0xc9, 0xca, 0xe0, 0xe1, 0xe4, 0xe5, 0xe8, 0xeb, 0xee, 0xfa, 0xfc, 0xf6, 0xf7]));
    default: return e.emit(...random.pick([[0xdf, 0xe0], [0xdb, 0xe3], [0xdb, 0xf1], [0xdf, 0xf1], [0xdb, 0xe9], [0xda, 0xc1], [0xdb, 0xd1], [0xdd, 0xd8], [0xdd, 0xd9], [0xdd, 0xd1], [0xdb, 0xf0], [0xdf, 0xe9], [0xdb, 0xe2]]));
  }
};

export const SSE: readonly Generator[] = [
  { name: 'sse arithmetic', weight: 5, write: arithmetic },
  { name: 'sse comparison with flags', weight: 2, write: compareFlags },
  { name: 'sse comparison', weight: 1, write: compare },
  { name: 'sse moves', weight: 4, write: scalarMove },
  { name: 'sse conversions', weight: 2, write: conversion },
  { name: 'sse integers', weight: 4, write: integer },
  { name: 'sse shuffles', weight: 2, write: shuffle },
  { name: 'sse control', weight: 1, write: control },
  { name: 'sse plain numbers', weight: 2, write: plain },
  { name: 'mmx', weight: 1, write: mmx },
  { name: 'x87', weight: 2, write: x87 },
];
