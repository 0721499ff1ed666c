// Random machine code in pieces that a shrinker can take away: what generators of instructions write with.
import type { Random } from './random.js';

/**
 * A place of `size` bytes at `at` in a piece that depends on where things lie: `relative`, the distance to a block; `absolute`, a block's address;
 * `here`, the address of the piece's byte `offset`, plus `add`.
 */
export interface Fixup {
  kind: 'relative' | 'absolute' | 'here';
  at: number;
  size: number;
  /** The block, or the offset. */
  target: number;
  add?: number;
}

/** Bytes that stay together. */
export interface Piece {
  bytes: number[];
  fixups: Fixup[];
}

/** Straight code up to a branch; `gap` bytes lie in front of it, over which the block before jumps. */
export interface Block {
  gap: number;
  pieces: Piece[];
}

/** What a program runs in, as far as generators care. */
export interface Surroundings {
  /** Privilege level of the program. */
  cpl: 0 | 3;
  /** Interrupts and faults are served: INT 0x80, OUT, flags with TF and the like make sense. */
  kernel: boolean;
  paging: boolean;
}

/** One source of instructions, of which a program takes according to its weight. */
export interface Generator {
  readonly name: string;
  /** How often it is asked, against the others' weights. */
  readonly weight: number;
  /**
   * Writes one instruction, or a few that only make sense together. It may fault, but must not count on what came before; the registers
   * that a program's addresses rest on (rSP, rBP, rSI, rDI) should mostly survive.
   */
  write(e: Emitter): void;
}

/** Registers that hold addresses of data: rBP, rSI, rDI. */
const POINTERS = [5, 6, 6, 6, 7, 7, 7];

export interface OperandOptions {
  /** Force a memory operand or a register; random when left out. */
  memory?: boolean;
  /** Bytes in front of REX, such as 0x66, 0xF2, 0xF3 as part of the opcode. */
  prefix?: number[];
  /** The register of a register operand; random when left out. */
  rm?: number;
  /** Bytes of immediate that follow, for RIP-relative operands. */
  immediate?: number;
}

/** Where generators write. `bits` is the size of the code segment. */
export class Emitter {
  #piece: Piece = { bytes: [], fixups: [] };
  #finished: Piece[] = [];

  constructor(
    readonly random: Random,
    readonly bits: 16 | 32 | 64,
    readonly blocks: number,
    readonly around: Surroundings = { cpl: 3, kernel: false, paging: true },
  ) {}

  get long(): boolean {
    return this.bits === 64;
  }

  /** Native operand sizes of the mode: 32, and 64 in 64-bit code. */
  native(): number {
    return this.long ? this.random.pick([32, 64]) : 32;
  }

  /** A random operand size: 8, 16, 32, and 64 in 64-bit code. */
  width(): number {
    return this.random.pick(this.long ? [8, 16, 32, 32, 32, 64, 64] : [8, 16, 32, 32, 32, 32]);
  }

  emit(...values: number[]): void {
    for (const value of values) this.#piece.bytes.push(value & 255);
  }

  /** A relative branch target of `size` bytes: the start of a random block. */
  label(size: number, block = this.random.below(this.blocks)): void {
    this.#fixup('relative', size, block);
  }

  /** The address of a random block in `size` bytes. */
  address(size: number, block = this.random.below(this.blocks)): void {
    this.#fixup('absolute', size, block);
  }

  /** The address of this piece's byte `offset` (the piece begins where the last one was taken), plus `add`, in `size` bytes. */
  here(size: number, offset: number, add = 0): void {
    this.#fixup('here', size, offset, add);
  }

  /** Bytes of the piece so far. */
  get length(): number {
    return this.#piece.bytes.length;
  }

  #fixup(kind: Fixup['kind'], size: number, target: number, add = 0): void {
    this.#piece.fixups.push({ kind, at: this.#piece.bytes.length, size, target, add });
    for (let k = 0; k < size; k++) this.emit(0);
  }

  /** An immediate of `size` bytes that likes edges. */
  imm(size: number): void {
    const value = this.random.pick([0, 1, 2, 3, 7, 8, -1, -2, 0x7f, 0x80, 0x7fff_ffff, 0x8000_0000, 0x100, this.random.u32()]);
    for (let k = 0; k < size; k++) this.emit(value >> (8 * k));
  }

  /** A general register that programs overwrite; mostly rAX, rCX, rDX, rBX and R8 to R11. */
  scratch(): number {
    const { random, long } = this;
    return random.below(12) === 0 ? random.below(long ? 16 : 8) : random.pick(long ? [0, 1, 2, 3, 8, 9, 10, 11] : [0, 1, 2, 3]);
  }

  /** A number of an XMM register. */
  vector(): number {
    return this.random.below(this.long && this.random.below(3) === 0 ? 16 : 8);
  }

  /**
   * Prefixes, REX, opcode and ModRM: `reg` in the reg field and a random operand of `width` bits (which selects the prefix 66 or REX.W;
   * 0 for neither). Memory operands mostly hit the data area, sometimes the program, a page that cannot be written, one that is absent, or a page's end.
   */
  modrm(opcode: number[], reg: number, width: number, { memory = this.random.below(2) === 0, prefix = [], rm = this.scratch(), immediate = 0 }: OperandOptions = {}): void {
    const { random } = this;
    const out: number[] = [];
    let rex = width === 64 ? 0x48 : 0;
    if (reg > 7) rex |= 0x44;
    let tail: number[];
    if (!memory) {
      if (rm > 7) rex |= 0x41;
      tail = [0xc0 | ((reg & 7) << 3) | (rm & 7)];
    } else tail = this.#memory(reg, immediate);
    if (this.bits === 16) {
      if (memory) out.push(0x67);
      if (width === 32) out.push(0x66);
    } else if (width === 16) out.push(0x66);
    out.push(...prefix);
    if (this.long) {
      if (rex === 0 && width === 8 && random.below(2) === 0) rex = 0x40;
      if (rex !== 0) out.push(rex | 0x40);
    }
    this.emit(...out, ...opcode, ...tail);
  }

  #memory(reg: number, immediate: number): number[] {
    const { random } = this;
    const base = random.pick(POINTERS);
    const disp = random.pick([0, 4, 8, -4, 0x7f, random.below(256) - 128]);
    const kind = random.below(8);
    const field = (reg & 7) << 3;
    if (kind === 0 && this.long) {
      const near = random.below(0x200) - immediate; // the program's own bytes
      return [field | 5, ...[0, 8, 16, 24].map(shift => (near >> shift) & 255)];
    }
    if (kind === 1) {
      const far = random.below(0x1200);
      return [0x80 | field | base, far & 255, far >> 8, 0, 0];
    }
    if (kind < 4) return [0x44 | field, (random.below(4) << 6) | (4 << 3) | base, disp & 255];
    if (kind === 4 && random.below(3) === 0) return [0x44 | field, (random.below(2) << 6) | (random.pick([0, 1, 2, 3]) << 3) | base, disp & 255];
    return [0x40 | field | base, disp & 255];
  }

  /** What follows can be taken away without what came before. */
  split(): void {
    this.#finished.push(this.#piece);
    this.#piece = { bytes: [], fixups: [] };
  }

  /** What was written since the last call. */
  take(): Piece[] {
    this.split();
    const pieces = this.#finished.filter(({ bytes }) => bytes.length > 0);
    this.#finished = [];
    return pieces;
  }
}

/** A generator of the list, by weight. */
export const pickGenerator = (random: Random, list: readonly Generator[]): Generator => {
  let at = random.below(list.reduce((sum, { weight }) => sum + weight, 0));
  return list.find(({ weight }) => (at -= weight) < 0) ?? list[0];
};

/** Places blocks one behind the other from `at` on; gives the bytes by address and the address of each block. */
export const layOut = (blocks: readonly Block[], at: number): { bytes: Uint8Array; starts: number[] } => {
  const starts: number[] = [];
  let end = at;
  for (const { gap, pieces } of blocks) {
    end += gap;
    starts.push(end);
    end += pieces.reduce((sum, { bytes }) => sum + bytes.length, 0);
  }
  const bytes = new Uint8Array(end - at).fill(0xcc);
  blocks.forEach(({ pieces }, n) => {
    let here = starts[n] - at;
    for (const piece of pieces) {
      bytes.set(piece.bytes, here);
      for (const { kind, at: offset, size, target, add = 0 } of piece.fixups) {
        const place = at + here + offset;
        const value = kind === 'relative' ? starts[target] - (place + size) : kind === 'absolute' ? starts[target] : at + here + target + add;
        for (let k = 0; k < size; k++) bytes[here + offset + k] = k < 4 ? value >> (8 * k) : 0;
      }
      here += piece.bytes.length;
    }
    const gap = blocks[n + 1]?.gap ?? 0;
    if (gap < 5) return;
    bytes[here] = 0xe9;
    for (let k = 0; k < 4; k++) bytes[here + 1 + k] = (gap - 5) >> (8 * k);
  });
  return { bytes, starts };
};
