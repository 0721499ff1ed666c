// A very small assembler for the benchmark loops. Registers are numbers (0 = rax ... 7 = rdi); `W` is the mode's native width.
export const R = { ax: 0, cx: 1, dx: 2, bx: 3, sp: 4, bp: 5, si: 6, di: 7 };
const ALU = { add: 0, or: 1, adc: 2, sbb: 3, and: 4, sub: 5, xor: 6, cmp: 7 };
const SHIFT = { rol: 0, ror: 1, shl: 4, shr: 5, sar: 7 };
const CONDITION = { o: 0, no: 1, b: 2, ae: 3, z: 4, nz: 5, be: 6, a: 7, s: 8, ns: 9, l: 12, ge: 13, le: 14, g: 15 };
const SSE = { sqrt: 0x51, add: 0x58, mul: 0x59, sub: 0x5c, div: 0x5e };

const isByte = value => value >= -128 && value <= 127;

export class Assembler {
  #bytes = [];
  #labels = new Map();
  #fixups = [];

  /** `bits` is 64 or 32. */
  constructor(bits) {
    this.wide = bits === 64;
  }

  get size() {
    return this.#bytes.length;
  }

  bytes(...values) {
    this.#bytes.push(...values.map(value => value & 255));
    return this;
  }

  imm32(value) {
    return this.bytes(value, value >> 8, value >> 16, value >> 24);
  }

  label(name) {
    this.#labels.set(name, this.size);
    return this;
  }

  #rex(width) {
    if (width === 'W' && this.wide) this.bytes(0x48);
  }

  #modrm(reg, operand) {
    if (typeof operand === 'number') return this.bytes(0xc0 | (reg << 3) | operand);
    const { base, index, scale = 1, disp = 0 } = operand;
    const short = isByte(disp);
    const mod = short ? 0x40 : 0x80;
    if (index === undefined && base !== R.sp) this.bytes(mod | (reg << 3) | base);
    else this.bytes(mod | (reg << 3) | 4, (Math.log2(scale) << 6) | ((index ?? 4) << 3) | base);
    return short ? this.bytes(disp) : this.imm32(disp);
  }

  #op(width, opcode, reg, operand) {
    this.#rex(width);
    this.bytes(...opcode);
    return this.#modrm(reg, operand);
  }

  /** `target` and `source` are registers, or one of them { base, index, scale, disp }. */
  alu(name, target, source, width = 'W') {
    const code = ALU[name] << 3;
    return typeof source === 'number' ? this.#op(width, [code | 1], source, target) : this.#op(width, [code | 3], target, source);
  }

  aluImm(name, target, value, width = 'W') {
    this.#op(width, [isByte(value) ? 0x83 : 0x81], ALU[name], target);
    return isByte(value) ? this.bytes(value) : this.imm32(value);
  }

  mov(target, source, width = 'W') {
    return typeof source === 'number' ? this.#op(width, [0x89], source, target) : this.#op(width, [0x8b], target, source);
  }

  /** Sign-extended to the native width in 64-bit mode. */
  movImm(target, value, width = 'W') {
    return this.#op(width, [0xc7], 0, target).imm32(value);
  }

  movzxByte(target, source) {
    return this.#op(32, [0x0f, 0xb6], target, source);
  }

  lea(target, source, width = 'W') {
    return this.#op(width, [0x8d], target, source);
  }

  imul(target, source, width = 'W') {
    return this.#op(width, [0x0f, 0xaf], target, source);
  }

  imulImm(target, source, value, width = 'W') {
    return this.#op(width, [0x69], target, source).imm32(value);
  }

  shift(name, target, count, width = 'W') {
    return this.#op(width, [0xc1], SHIFT[name], target).bytes(count);
  }

  testImm(target, value, width = 'W') {
    return this.#op(width, [0xf7], 0, target).imm32(value);
  }

  test(target, source, width = 'W') {
    return this.#op(width, [0x85], source, target);
  }

  inc(target, width = 'W') {
    return this.#op(width, [0xff], 0, target);
  }

  dec(target, width = 'W') {
    return this.#op(width, [0xff], 1, target);
  }

  push(register) {
    return this.bytes(0x50 | register);
  }

  pop(register) {
    return this.bytes(0x58 | register);
  }

  /** Scalar double arithmetic between XMM registers. */
  sd(name, target, source) {
    return this.bytes(0xf2, 0x0f, SSE[name], 0xc0 | (target << 3) | source);
  }

  movsd(target, source) {
    this.bytes(0xf2);
    return typeof source === 'number' && typeof target === 'number'
      ? this.bytes(0x0f, 0x10, 0xc0 | (target << 3) | source)
      : typeof source === 'number' ? this.#op(32, [0x0f, 0x11], source, target) : this.#op(32, [0x0f, 0x10], target, source);
  }

  jump(name) {
    return this.bytes(0xe9).#relative(name);
  }

  jumpIf(condition, name) {
    return this.bytes(0x0f, 0x80 | CONDITION[condition]).#relative(name);
  }

  call(name) {
    return this.bytes(0xe8).#relative(name);
  }

  ret() {
    return this.bytes(0xc3);
  }

  hlt() {
    return this.bytes(0xf4);
  }

  #relative(name) {
    this.#fixups.push({ at: this.size, name });
    return this.imm32(0);
  }

  finish() {
    const code = Uint8Array.from(this.#bytes);
    const view = new DataView(code.buffer);
    for (const { at, name } of this.#fixups) {
      if (!this.#labels.has(name)) throw new Error(`no label ${name}`);
      view.setInt32(at, this.#labels.get(name) - (at + 4), true);
    }
    return code;
  }
}
