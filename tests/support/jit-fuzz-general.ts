// General instructions for the fuzzer: arithmetic, moves, the stack, strings, and the branches that end blocks.
import type { Emitter, Generator } from './fuzz-program.js';

const integer = (e: Emitter): void => {
  const { random } = e;
  const width = e.width();
  const w = width === 8 ? 0 : 1;
  const native = e.native();
  const immediate = Math.min(width, 32) / 8;
  switch (random.below(28)) {
    case 0: case 1: case 2: case 3: return e.modrm([(random.below(8) << 3) | (random.below(2) << 1) | w], e.scratch(), width);
    case 4: case 5:
      e.modrm([0x83], random.below(8), Math.max(width, 16), { immediate: 1 });
      return e.imm(1);
    case 6:
      e.modrm([w ? 0x81 : 0x80], random.below(8), width, { immediate });
      return e.imm(immediate);
    case 7: case 8: return e.modrm([0x88 | (random.below(2) << 1) | w], e.scratch(), width);
    case 9:
      e.modrm([0xc6 | w], 0, width, { immediate });
      return e.imm(immediate);
    case 10: return e.modrm([0x0f, random.pick([0xb6, 0xb7, 0xbe, 0xbf])], e.scratch(), native);
    case 11: return e.modrm([0x8d], e.scratch(), native, { memory: true });
    case 12: return e.modrm([0xfe | w], random.below(2), width);
    case 13: return e.modrm([0xf6 | w], random.pick([2, 3]), width);
    case 14:
      e.modrm([0xf6 | w], 0, width, { immediate });
      return e.imm(immediate);
    case 15:
      e.modrm([0xc0 | w], random.pick([0, 1, 2, 3, 4, 5, 7]), width, { immediate: 1 });
      return e.imm(1);
    case 16: return e.modrm([0xd2 | w], random.pick([0, 1, 3, 4, 5, 7]), width);
    case 17: return e.modrm([0xd0 | w], random.pick([0, 1, 2, 4, 5, 7]), width);
    case 18: return e.modrm([0x0f, 0xaf], e.scratch(), native);
    case 19:
      e.modrm([0x6b], e.scratch(), native, { immediate: 1 });
      return e.imm(1);
    case 20: return e.modrm([0x0f, 0x40 | random.below(16)], e.scratch(), native);
    case 21: return e.modrm([0x0f, 0x90 | random.below(16)], 0, 8);
    case 22: return e.emit(...(e.long && random.below(2) ? [0x41] : []), (random.below(2) ? 0x50 : 0x58) | random.pick([0, 1, 2, 3]));
    case 23: return random.below(2) ? (e.emit(0x6a), e.imm(1)) : e.modrm([0xff], 6, 32, { memory: true });
    case 24: return e.modrm([0x84 | w], e.scratch(), width);
    case 25: return e.emit(...(native === 64 ? [0x48] : []), random.pick([0x98, 0x99, 0x90, 0x91, 0x92, 0x93, 0xf9, 0xf8, 0xf5, 0x9e, 0x9f]));
    case 26: {
      const r = random.pick([0, 1, 2, 3]);
      if (random.below(2)) return e.emit(...(native === 64 ? [0x48] : []), 0x0f, 0xc8 | r);
      e.emit(...(native === 64 ? [0x48, 0xc7, 0xc0 | r] : [0xb8 | r]));
      return e.imm(e.bits === 16 ? 2 : 4);
    }
    default:
      // a step of one of the pointers
      return e.emit(...(e.long ? [0x48] : []), 0x83, 0xc0 | (random.below(2) << 3 << 2) | random.pick([6, 7]), random.below(64) - 32);
  }
};

const rare = (e: Emitter): void => {
  const { random } = e;
  const native = e.native();
  switch (random.below(8)) {
    case 0: return e.emit(random.pick([0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xa6]));
    case 1: return e.emit(0xb9, random.below(20), ...(e.bits === 16 ? [0] : [0, 0, 0]), random.pick([0xf3, 0xf2]), random.pick([0xa4, 0xaa, 0xab, 0xa6, 0xae]));
    case 2: return e.modrm([0xf7], random.pick([4, 5, 6, 7]), native);
    case 3: return e.modrm([0x0f, random.pick([0xa3, 0xab, 0xb3, 0xbb])], e.scratch(), native, { memory: false });
    case 4: return e.modrm([0x0f, random.pick([0xb1, 0xc1])], e.scratch(), native);
    case 5: return e.modrm([0x0f, random.pick([0xbc, 0xbd])], e.scratch(), native);
    case 6: return e.emit(0x9c, 0x58);
    default: return e.emit(random.pick([0xfc, 0xc9, 0x9d]));
  }
};

/** Writes into the program: an instruction's byte, or just the same line. */
const selfModifying = (e: Emitter): void => {
  const { random } = e;
  e.modrm([0xc6], 0, 8, { memory: true, immediate: 1 });
  e.emit(random.pick([0x90, 0x40, 0, 0xff]));
};

const simple128 = (e: Emitter): void => {
  const { random } = e;
  if (random.below(2)) e.modrm([0x0f, random.pick([0x6f, 0x7f])], random.below(8), 0, { memory: true, prefix: [random.pick([0x66, 0xf3])] });
  else e.modrm([0x0f, random.pick([0xfe, 0xef, 0xd4, 0x6f])], random.below(8), 0, { memory: false, prefix: [0x66] });
};

export const GENERAL: readonly Generator[] = [
  { name: 'integer', weight: 28, write: integer },
  { name: 'rare', weight: 1, write: rare },
  { name: 'self-modifying', weight: 1, write: selfModifying },
  { name: 'simple128', weight: 1, write: simple128 },
];

/** The end of a block: a branch to another, or a condition and a branch, behind which the next block follows. */
export const writeEnd = (e: Emitter): void => {
  const { random } = e;
  const near = e.bits === 16 ? 2 : 4;
  const conditional = () => {
    e.emit(0x0f, 0x80 | random.below(16));
    e.label(near);
  };
  switch (random.below(10)) {
    case 0: e.emit(0xe9); return e.label(near);
    case 1: e.emit(0xe8); return e.label(near);
    case 2: return e.emit(0xc3);
    case 3:
      // dec ecx; jnz
      e.emit(...(e.long && random.below(2) ? [0x48] : []), 0xff, 0xc9, 0x0f, 0x85);
      return e.label(near);
    case 4:
      e.modrm([0x39 | (random.below(2) << 1)], e.scratch(), e.native());
      return conditional();
    case 5:
      e.modrm([0x83], random.pick([0, 4, 5, 7]), 32, { memory: random.below(4) === 0, immediate: 1 });
      e.imm(1);
      return conditional();
    case 6:
      e.modrm([random.pick([0x84, 0x85])], e.scratch(), 32);
      return conditional();
    case 7:
      if (random.below(4) === 0) return e.emit(0xff, 0xe0 | random.pick([0, 3]));
      // loop; jmp over; jmp
      e.emit(0xe2, 2, 0xeb, near + 1, 0xe9);
      return e.label(near);
    default: return conditional();
  }
};
