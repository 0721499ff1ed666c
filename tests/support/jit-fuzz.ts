// Random programs on the interpreter and on the compiler: whatever differs is a bug of the compiler.
import { createHash } from 'node:crypto';
import type { CoreHarness, CoreMode } from './core-harness.js';
import { Random } from './random.js';

const CODE = 0x10_0e00; // 512 bytes before a page's end: programs run over it
const CODE_BYTES = 0x1000;
const DATA = 0x20_0000;
const DATA_BYTES = 0x4000;
const STACK = 0x30_0800;
const READ_ONLY = DATA + 0x2000;
const ABSENT = DATA + 0x3000;
const BUS = 0xd000_0000;

export interface FuzzMode {
  name: string;
  mode: CoreMode;
  paging: boolean;
  cpl: 0 | 3;
}

export const FUZZ_MODES: readonly FuzzMode[] = [
  { name: '64-bit, user, paging', mode: 'long64', paging: true, cpl: 3 },
  { name: '64-bit, system, no paging, bus', mode: 'long64', paging: false, cpl: 0 },
  { name: '32-bit, user, paging', mode: 'prot32', paging: true, cpl: 3 },
  { name: '32-bit, system, no paging, bus', mode: 'prot32', paging: false, cpl: 0 },
  { name: 'compatibility mode, user, paging', mode: 'compat32', paging: true, cpl: 3 },
];

/** Bytes of one random program: blocks of random instructions that jump to each other. */
class Program {
  readonly bytes: number[] = [];
  readonly starts: number[] = [];
  readonly #fixups: { at: number; size: number; target: number }[] = [];
  readonly #blocks: number;

  constructor(
    readonly random: Random,
    readonly long: boolean,
  ) {
    this.#blocks = 4 + random.below(20);
    for (let n = 0; n < this.#blocks; n++) {
      this.starts.push(this.bytes.length);
      for (let k = random.below(12); k > 0; k--) this.#instruction();
      this.#end();
    }
    this.starts.push(this.bytes.length);
    this.emit(0xe9);
    this.#label(4);
    for (const { at, size, target } of this.#fixups) {
      const delta = this.starts[target] - (at + size);
      for (let k = 0; k < size; k++) this.bytes[at + k] = (delta >> (8 * k)) & 255;
    }
  }

  emit(...values: number[]): void {
    this.bytes.push(...values.map(value => value & 255));
  }

  #label(size: number): void {
    this.#fixups.push({ at: this.bytes.length, size, target: this.random.below(this.#blocks) });
    for (let k = 0; k < size; k++) this.emit(0);
  }

  #imm(size: number): void {
    const value = this.random.pick([0, 1, 2, 3, 7, 8, -1, -2, 0x7f, 0x80, 0x7fff_ffff, 0x8000_0000, 0x100, this.random.u32()]);
    for (let k = 0; k < size; k++) this.emit(value >> (8 * k));
  }

  /** A register that programs overwrite: not rsp, rbp, rsi, rdi; in 64-bit code r8 to r11 as well. */
  #scratch(): number {
    return this.random.below(12) === 0 ? this.random.below(this.long ? 16 : 8) : this.random.pick(this.long ? [0, 1, 2, 3, 8, 9, 10, 11] : [0, 1, 2, 3]);
  }

  /** Prefixes, opcode and ModRM with `reg` and a random rm. `width` 8, 16, 32 or 64. */
  #modrm(opcode: number[], reg: number, width: number, { memory = this.random.below(2) === 0, prefix = [] as number[] } = {}): void {
    const { random } = this;
    const bytes: number[] = [];
    let rex = width === 64 ? 0x48 : 0;
    if (reg > 7) rex |= 0x44;
    let tail: number[];
    if (!memory) {
      const rm = this.#scratch();
      if (rm > 7) rex |= 0x41;
      tail = [0xc0 | ((reg & 7) << 3) | (rm & 7)];
    } else {
      const base = random.pick([5, 6, 6, 6, 7, 7, 7]);
      const disp = random.pick([0, 4, 8, -4, 0x7f, random.below(256) - 128]);
      const kind = random.below(8);
      if (kind === 0 && this.long) {
        // RIP-relative: some code
        tail = [((reg & 7) << 3) | 5, ...[0, 8, 16, 24].map(shift => (random.below(0x200) >> shift) & 255)];
      } else if (kind === 1) {
        const far = random.below(0x1200);
        tail = [0x80 | ((reg & 7) << 3) | base, far & 255, far >> 8, 0, 0];
      } else if (kind < 4) tail = [0x44 | ((reg & 7) << 3), (random.below(4) << 6) | (4 << 3) | base, disp & 255];
      else if (kind === 4 && random.below(3) === 0) tail = [0x44 | ((reg & 7) << 3), (random.below(2) << 6) | (random.pick([0, 1, 2, 3]) << 3) | base, disp & 255];
      else tail = [0x40 | ((reg & 7) << 3) | base, disp & 255];
    }
    if (width === 16) bytes.push(0x66);
    bytes.push(...prefix);
    if (this.long) {
      if (rex === 0 && width === 8 && random.below(2) === 0) rex = 0x40;
      if (rex !== 0) bytes.push(rex | 0x40);
    }
    this.emit(...bytes, ...opcode, ...tail);
  }

  #width(): number {
    return this.random.pick(this.long ? [8, 16, 32, 32, 32, 64, 64] : [8, 16, 32, 32, 32, 32]);
  }

  #instruction(): void {
    const { random } = this;
    const width = this.#width();
    const w = width === 8 ? 0 : 1;
    const native = this.long ? random.pick([32, 64]) : 32;
    const immediate = Math.min(width, 32) / 8;
    switch (random.below(30)) {
      case 0: case 1: case 2: case 3: return this.#modrm([(random.below(8) << 3) | (random.below(2) << 1) | w], this.#scratch(), width);
      case 4: case 5:
        this.#modrm([0x83], random.below(8), Math.max(width, 16));
        return this.#imm(1);
      case 6:
        this.#modrm([w ? 0x81 : 0x80], random.below(8), width);
        return this.#imm(immediate);
      case 7: case 8: return this.#modrm([0x88 | (random.below(2) << 1) | w], this.#scratch(), width);
      case 9:
        this.#modrm([0xc6 | w], 0, width);
        return this.#imm(immediate);
      case 10: return this.#modrm([0x0f, random.pick([0xb6, 0xb7, 0xbe, 0xbf])], this.#scratch(), native);
      case 11: return this.#modrm([0x8d], this.#scratch(), native, { memory: true });
      case 12: return this.#modrm([0xfe | w], random.below(2), width);
      case 13: return this.#modrm([0xf6 | w], random.pick([2, 3]), width);
      case 14:
        this.#modrm([0xf6 | w], 0, width);
        return this.#imm(immediate);
      case 15:
        this.#modrm([0xc0 | w], random.pick([0, 1, 2, 3, 4, 5, 7]), width);
        return this.#imm(1);
      case 16: return this.#modrm([0xd2 | w], random.pick([0, 1, 3, 4, 5, 7]), width);
      case 17: return this.#modrm([0xd0 | w], random.pick([0, 1, 2, 4, 5, 7]), width);
      case 18: return this.#modrm([0x0f, 0xaf], this.#scratch(), native);
      case 19:
        this.#modrm([0x6b], this.#scratch(), native);
        return this.#imm(1);
      case 20: return this.#modrm([0x0f, 0x40 | random.below(16)], this.#scratch(), native);
      case 21: return this.#modrm([0x0f, 0x90 | random.below(16)], 0, 8);
      case 22: return this.emit(...(this.long && random.below(2) ? [0x41] : []), (random.below(2) ? 0x50 : 0x58) | random.pick([0, 1, 2, 3]));
      case 23: return random.below(2) ? (this.emit(0x6a), this.#imm(1)) : this.#modrm([0xff], 6, 32, { memory: true });
      case 24: return this.#modrm([0x84 | w], this.#scratch(), width);
      case 25: return this.emit(...(native === 64 ? [0x48] : []), random.pick([0x98, 0x99, 0x90, 0x91, 0x92, 0x93, 0xf9, 0xf8, 0xf5, 0x9e, 0x9f]));
      case 26: {
        const r = random.pick([0, 1, 2, 3]);
        if (random.below(2)) return this.emit(...(native === 64 ? [0x48] : []), 0x0f, 0xc8 | r);
        this.emit(...(native === 64 ? [0x48, 0xc7, 0xc0 | r] : [0xb8 | r]));
        return this.#imm(4);
      }
      case 27:
        return random.below(2)
          ? this.#modrm([0x0f, random.pick([0x6f, 0x7f])], random.below(8), 32, { memory: true, prefix: [random.pick([0x66, 0xf3])] })
          : this.#modrm([0x0f, random.pick([0xfe, 0xef, 0xd4, 0x6f])], random.below(8), 32, { memory: false, prefix: [0x66] });
      case 28: return this.#rare(native);
      default:
        // a step of one of the pointers
        return this.emit(...(this.long ? [0x48] : []), 0x83, 0xc0 | (random.below(2) << 3 << 2) | random.pick([6, 7]), random.below(64) - 32);
    }
  }

  #rare(native: number): void {
    const { random } = this;
    switch (random.below(9)) {
      case 0: return this.emit(random.pick([0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xa6]));
      case 1: return this.emit(0xb9, random.below(20), 0, 0, 0, random.pick([0xf3, 0xf2]), random.pick([0xa4, 0xaa, 0xab, 0xa6, 0xae]));
      case 2: return this.#modrm([0xf7], random.pick([4, 5, 6, 7]), native);
      case 3: return this.#modrm([0x0f, random.pick([0xa3, 0xab, 0xb3, 0xbb])], this.#scratch(), native, { memory: false });
      case 4: return this.#modrm([0x0f, random.pick([0xb1, 0xc1])], this.#scratch(), native);
      case 5: return this.#modrm([0x0f, random.pick([0xbc, 0xbd])], this.#scratch(), native);
      case 6: return this.emit(0x9c, this.long ? 0x58 : 0x58);
      case 7: return this.emit(random.pick([0xfc, 0xc9, 0x9d]));
      default:
        // writes into the program: an instruction's byte, or just the same line
        this.#modrm([0xc6], 0, 8, { memory: true });
        return this.emit(random.pick([0x90, 0x40, 0, 0xff]));
    }
  }

  #end(): void {
    const { random } = this;
    switch (random.below(10)) {
      case 0: this.emit(0xe9); return this.#label(4);
      case 1: this.emit(0xe8); return this.#label(4);
      case 2: return this.emit(0xc3);
      case 3: {
        // dec ecx; jnz
        this.emit(...(this.long && random.below(2) ? [0x48] : []), 0xff, 0xc9);
        this.emit(0x0f, 0x85);
        return this.#label(4);
      }
      case 4: {
        // cmp; jcc
        this.#modrm([0x39 | (random.below(2) << 1)], this.#scratch(), this.long ? random.pick([32, 64]) : 32);
        this.emit(0x0f, 0x80 | random.below(16));
        return this.#label(4);
      }
      case 5:
        this.#modrm([0x83], random.pick([0, 4, 5, 7]), 32, { memory: random.below(4) === 0 });
        this.#imm(1);
        this.emit(0x0f, 0x80 | random.below(16));
        return this.#label(4);
      case 6:
        this.#modrm([random.pick([0x84, 0x85])], this.#scratch(), 32);
        this.emit(0x0f, 0x80 | random.below(16));
        return this.#label(4);
      case 7:
        if (random.below(4) === 0) return this.emit(0xff, 0xe0 | random.pick([0, 3]));
        this.emit(0xe2, 2, 0xeb, 5, 0xe9);
        return this.#label(4);
      default:
        this.emit(0x0f, 0x80 | random.below(16));
        return this.#label(4);
    }
  }
}

const seen = (core: CoreHarness): string => {
  const hash = createHash('sha1');
  for (const [at, length] of [[CODE & ~0xfff, CODE_BYTES + 0x2000], [DATA, DATA_BYTES], [STACK - 0x1800, 0x3000]]) hash.update(core.ram.subarray(at, at + length));
  for (let n = 0; n < 8; n++) hash.update(core.xmm(n));
  const regs = Array.from({ length: 16 }, (_, n) => core.getGpr(n).toString(16));
  return `rip ${core.rip.toString(16)} flags ${core.flags.toString(16)} regs ${regs.join(' ')} memory ${hash.digest('hex').slice(0, 12)}`;
};

/** Runs the program of a seed on both engines; returns what differs first, or undefined. `steps` are runs of random length. */
export const fuzz = (cores: { interp: CoreHarness; jit: CoreHarness }, { mode, paging, cpl }: FuzzMode, seed: number, steps = 12): string | undefined => {
  const random = new Random(seed * 2_654_435_761);
  const long = mode === 'long64';
  const program = new Program(random, long);
  const both = [cores.interp, cores.jit];
  const fill = Uint8Array.from({ length: DATA_BYTES }, () => random.u32());
  for (const core of both) {
    core.setMode(mode, { paging, cpl });
    core.ram.set(fill, DATA);
    core.ram.fill(0, STACK - 0x1800, STACK + 0x1800);
    core.ram.fill(0xcc, CODE & ~0xfff, (CODE & ~0xfff) + CODE_BYTES + 0x2000);
    core.set(CODE, program.bytes);
    for (let n = 0; n < 8; n++) core.xmm(n).set(fill.subarray(16 * n, 16 * n + 16));
    if (paging) {
      core.setPage(READ_ONLY, 5);
      core.setPage(ABSENT, 0);
    }
    let reads = 0;
    core.bus = { mmioRead: phys => (phys ^ (0x9e37 * ++reads)) | 0, portRead: () => 0x5a };
  }
  for (let step = 0; step < steps; step++) {
    const values = Array.from({ length: 16 }, () => (long ? (BigInt(random.u32()) << 32n) | BigInt(random.u32()) : BigInt(random.u32())));
    const pointer = () => BigInt(random.pick([DATA + random.below(0x1000), DATA + 0xffc + random.below(8), DATA + 0x1ff0 + random.below(32), CODE + random.below(program.bytes.length), paging ? DATA + 0x2ff8 : BUS, STACK]));
    values[4] = BigInt(STACK + (random.below(64) << 3));
    values[5] = pointer();
    values[6] = pointer();
    values[7] = pointer();
    values[1] = BigInt(random.below(40));
    for (const n of [0, 3]) if (random.below(2)) values[n] = BigInt(CODE + random.pick(program.starts));
    const rip = CODE + random.pick(program.starts);
    const budget = random.pick([1, 7, 50, 333, 1000, 3000]);
    const results = both.map(core => {
      values.forEach((value, n) => core.setGpr(n, value));
      core.rip = rip;
      core.set32('halted', 0);
      const { fault, halted, instructions } = core.go(budget);
      const event = fault ? `fault ${fault.vector} code ${fault.code} at ${fault.rip.toString(16)}` : halted ? 'halt' : 'budget';
      return `${event} after ${instructions}: ${seen(core)}`;
    });
    if (results[0] !== results[1]) {
      return `seed ${seed}, step ${step}, from ${rip.toString(16)}, budget ${budget}\ninterp ${results[0]}\njit    ${results[1]}\ncode at ${CODE.toString(16)}: ${Buffer.from(program.bytes).toString('hex')}`;
    }
  }
  return undefined;
};
