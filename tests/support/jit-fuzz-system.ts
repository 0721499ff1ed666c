// What only a system does to itself: code that changes, page tables, interrupts, privileged instructions, other modes.
import type { Emitter, Generator } from './fuzz-program.js';
import { ALIAS, CODE, JUMPS, userCode } from './fuzz-machine.js';

const TO_ALIAS = ALIAS - (CODE & ~0xfff);

/** A store of `value` over a byte of this very piece, through the program's address or its alias: the instruction behind it changes. */
const patchNext = (e: Emitter): void => {
  const { random } = e;
  const alias = e.around.paging && random.below(2) ? TO_ALIAS : 0;
  // mov byte [absolute], imm8; mov al, imm8 or add eax, imm8, whose immediate it writes
  const target = random.below(2) ? [0xb0, 0x11] : [0x83, 0xc0, 0x01];
  const length = e.long ? 8 : e.bits === 16 ? 8 : 7;
  if (e.bits === 16) e.emit(0x67);
  e.emit(0xc6, ...(e.long ? [0x04, 0x25] : [0x05]));
  e.here(4, length + target.length - 1, alias);
  e.emit(random.u32(), ...target);
};

/** A store into another place of the program. */
const patchElsewhere = (e: Emitter): void => {
  const { random } = e;
  const alias = e.around.paging && random.below(3) === 0 ? TO_ALIAS : 0;
  const width = random.pick([8, 8, 32]);
  if (e.bits === 16) e.emit(0x67, ...(width === 32 ? [0x66] : []));
  e.emit(width === 8 ? 0xc6 : 0xc7, ...(e.long ? [0x04, 0x25] : [0x05]));
  e.here(4, random.below(0x400) - 0x200, alias);
  // a NOP, a short branch, the start of something longer
  e.emit(random.pick([0x90, 0x40, 0xeb, 0x0f, 0x66, 0xc3, random.u32()]));
  if (width === 32) e.emit(0x90, random.pick([0x90, 0x48, 0xc3]), 0x90);
};

/** REP STOSB over some of the program; rDI and rCX are set. */
const fill = (e: Emitter): void => {
  if (e.bits === 16) return e.emit(0x90);
  e.emit(0xbf);
  e.here(4, e.random.below(0x300) - 0x180);
  e.emit(0xb9, e.random.below(6), 0, 0, 0, 0xb0, 0x90, 0xf3, 0xaa);
};

const service = (e: Emitter): void => {
  if (!e.around.kernel) return e.emit(0x90);
  e.emit(0xb0, e.random.below(19), 0xcd, 0x80);
};

/** PUSH flags; POPF: TF now and then, IF mostly, DF seldom. */
const flags = (e: Emitter): void => {
  const { random } = e;
  if (!e.around.kernel) return e.emit(0x9c, 0x9d);
  const value = 0x3002 | (random.below(4) ? 0x200 : 0) | (random.below(8) === 0 ? 0x100 : 0) | (random.below(16) === 0 ? 0x400 : 0) | (random.u32() & 0x8d5) | (random.below(16) === 0 ? 0x4_0000 : 0);
  e.emit(0x68, value, value >> 8, value >> 16, 0, 0x9d);
};

const event = (e: Emitter): void => {
  const { random, around } = e;
  if (!around.kernel) return e.emit(0xe4, 0x10); // in al, 0x10
  switch (random.below(9)) {
    case 0: return e.emit(0xfa);
    case 1: case 2: return e.emit(0xfb);
    case 3: return e.emit(random.pick([0xe4, 0xe5, 0xec, 0xed]), ...(random.below(2) ? [] : [0x90]));
    case 4: case 5: return e.emit(0xb0, random.u32(), 0xe6, 0x20); // what the harness does is in AL
    case 6: return e.emit(0xcc);
    case 7: return e.emit(0xcd, random.pick([0x20, 0x30, 3, 4]));
    default: return e.long ? e.emit(0x0f, 0x05) : e.emit(0xce);
  }
};

const privileged = (e: Emitter): void => {
  const { random, around } = e;
  if (around.cpl !== 0 || !around.kernel) return e.emit(...random.pick([[0x0f, 0x31], [0x0f, 0xa2], [0xf4], [0x0f, 0x0b]]));
  switch (random.below(7)) {
    case 0: return e.emit(0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8); // mov rax, cr3; mov cr3, rax
    case 1:
      e.emit(0x0f, 0x01, 0x3c, 0x25); // invlpg [absolute]
      return e.here(4, 0);
    case 2: return e.emit(0x0f, 0x06); // clts
    case 3: return e.emit(0x0f, 0x20, 0xc0, 0x48, 0x83, 0xc8, 0x08, 0x0f, 0x22, 0xc0); // TS set
    case 4: return e.emit(0x0f, 0x31);
    case 5: return e.emit(0xf4);
    default: return e.emit(0x0f, 0x20, 0xd0); // mov rax, cr2
  }
};

/** MOV SS and POP SS hold interrupts back; segment loads in general. */
const segments = (e: Emitter): void => {
  const { random } = e;
  if (!e.around.kernel) return e.emit(0x90);
  if (e.long) return random.below(2) ? e.emit(0x8c, 0xd1, 0x8e, 0xd1) : e.emit(0x8c, 0xd8, 0x8e, 0xe8); // mov ecx, ss; mov ss, ecx; mov eax, ds; mov gs, eax
  return e.emit(...random.pick([[0x16, 0x17], [0x1e, 0x1f], [0x06, 0x07], [0x8c, 0xd8, 0x8e, 0xe0]]));
};

/** A far return into code of another size, or the same. */
const far = (e: Emitter): void => {
  if (!e.around.kernel || e.around.cpl === 0) return e.emit(0x90);
  const compat = e.around.cpl === 3 && e.bits === 32;
  const selector = userCode(e.random.pick(e.long ? [32, 64, 64] : compat ? [32, 32, 16] : [32]));
  e.emit(0x6a, selector, 0x68);
  e.address(4);
  e.emit(...(e.long ? [0x48] : []), 0xcb);
};

/** Jumps and calls through registers and memory; a direct call of a block. */
const indirect = (e: Emitter): void => {
  const { random } = e;
  if (e.bits === 16) return e.emit(0x90);
  const call = random.below(2);
  if (random.below(2)) {
    const r = random.pick([0, 1, 2, 3]);
    e.emit(0xb8 | r); // mov r32, block
    e.address(4);
    return e.emit(0xff, (call ? 0xd0 : 0xe0) | r);
  }
  // and ecx, 15; jmp [JUMPS + ecx * size]
  const at = [0, 8, 16, 24].map(shift => (JUMPS >> shift) & 255);
  e.emit(0x83, 0xe1, 0x0f, 0xff, call ? 0x14 : 0x24, e.long ? 0xcd : 0x8d, ...at);
};

export const SYSTEM: readonly Generator[] = [
  { name: 'patch next', weight: 2, write: patchNext },
  { name: 'patch elsewhere', weight: 2, write: patchElsewhere },
  { name: 'fill', weight: 1, write: fill },
  { name: 'service', weight: 4, write: service },
  { name: 'flags', weight: 2, write: flags },
  { name: 'event', weight: 3, write: event },
  { name: 'privileged', weight: 1, write: privileged },
  { name: 'segments', weight: 1, write: segments },
  { name: 'far', weight: 1, write: far },
  { name: 'indirect', weight: 4, write: indirect },
];
