// Function bodies of WebAssembly modules as text (core specification 2.0, 5.4 and 6.5): what `--dump-regions` shows. Total: bytes it does not
// know are printed as such, and nothing but the caller's own modules is expected.

const PLAIN = new Map<number, string>();
const name = (first: number, list: string): void => list.trim().split(/\s+/).forEach((word, n) => PLAIN.set(first + n, word));
name(0x00, 'unreachable nop');
name(0x0f, 'return');
name(0x1a, 'drop select');
name(
  0x45,
  `i32.eqz i32.eq i32.ne i32.lt_s i32.lt_u i32.gt_s i32.gt_u i32.le_s i32.le_u i32.ge_s i32.ge_u
   i64.eqz i64.eq i64.ne i64.lt_s i64.lt_u i64.gt_s i64.gt_u i64.le_s i64.le_u i64.ge_s i64.ge_u
   f32.eq f32.ne f32.lt f32.gt f32.le f32.ge f64.eq f64.ne f64.lt f64.gt f64.le f64.ge
   i32.clz i32.ctz i32.popcnt i32.add i32.sub i32.mul i32.div_s i32.div_u i32.rem_s i32.rem_u i32.and i32.or i32.xor i32.shl i32.shr_s i32.shr_u i32.rotl i32.rotr
   i64.clz i64.ctz i64.popcnt i64.add i64.sub i64.mul i64.div_s i64.div_u i64.rem_s i64.rem_u i64.and i64.or i64.xor i64.shl i64.shr_s i64.shr_u i64.rotl i64.rotr
   f32.abs f32.neg f32.ceil f32.floor f32.trunc f32.nearest f32.sqrt f32.add f32.sub f32.mul f32.div f32.min f32.max f32.copysign
   f64.abs f64.neg f64.ceil f64.floor f64.trunc f64.nearest f64.sqrt f64.add f64.sub f64.mul f64.div f64.min f64.max f64.copysign
   i32.wrap_i64 i32.trunc_f32_s i32.trunc_f32_u i32.trunc_f64_s i32.trunc_f64_u i64.extend_i32_s i64.extend_i32_u i64.trunc_f32_s i64.trunc_f32_u i64.trunc_f64_s i64.trunc_f64_u
   f32.convert_i32_s f32.convert_i32_u f32.convert_i64_s f32.convert_i64_u f32.demote_f64 f64.convert_i32_s f64.convert_i32_u f64.convert_i64_s f64.convert_i64_u f64.promote_f32
   i32.reinterpret_f32 i64.reinterpret_f64 f32.reinterpret_i32 f64.reinterpret_i64 i32.extend8_s i32.extend16_s i64.extend8_s i64.extend16_s i64.extend32_s`,
);
const MEMORY = `i32.load i64.load f32.load f64.load i32.load8_s i32.load8_u i32.load16_s i32.load16_u i64.load8_s i64.load8_u i64.load16_s i64.load16_u i64.load32_s i64.load32_u
  i32.store i64.store f32.store f64.store i32.store8 i32.store16 i64.store8 i64.store16 i64.store32`.split(/\s+/);
const BULK = `i32.trunc_sat_f32_s i32.trunc_sat_f32_u i32.trunc_sat_f64_s i32.trunc_sat_f64_u i64.trunc_sat_f32_s i64.trunc_sat_f32_u i64.trunc_sat_f64_s i64.trunc_sat_f64_u`.split(/\s+/);

/** By number; the shapes' own operations are named by rule, see `vectorName`. */
const VECTOR_MEMORY = `v128.load v128.load8x8_s v128.load8x8_u v128.load16x4_s v128.load16x4_u v128.load32x2_s v128.load32x2_u v128.load8_splat v128.load16_splat v128.load32_splat v128.load64_splat v128.store`.split(/\s+/);
const VECTOR = new Map<number, string>();
const vector = (first: number, list: string): void => list.trim().split(/\s+/).forEach((word, n) => word !== '-' && VECTOR.set(first + n, word));
vector(14, 'i8x16.swizzle i8x16.splat i16x8.splat i32x4.splat i64x2.splat f32x4.splat f64x2.splat');
vector(
  21,
  `i8x16.extract_lane_s i8x16.extract_lane_u i8x16.replace_lane i16x8.extract_lane_s i16x8.extract_lane_u i16x8.replace_lane i32x4.extract_lane i32x4.replace_lane
   i64x2.extract_lane i64x2.replace_lane f32x4.extract_lane f32x4.replace_lane f64x2.extract_lane f64x2.replace_lane
   i8x16.eq i8x16.ne i8x16.lt_s i8x16.lt_u i8x16.gt_s i8x16.gt_u i8x16.le_s i8x16.le_u i8x16.ge_s i8x16.ge_u i16x8.eq i16x8.ne i16x8.lt_s i16x8.lt_u i16x8.gt_s i16x8.gt_u i16x8.le_s i16x8.le_u
   i16x8.ge_s i16x8.ge_u i32x4.eq i32x4.ne i32x4.lt_s i32x4.lt_u i32x4.gt_s i32x4.gt_u i32x4.le_s i32x4.le_u i32x4.ge_s i32x4.ge_u f32x4.eq f32x4.ne f32x4.lt f32x4.gt f32x4.le f32x4.ge
   f64x2.eq f64x2.ne f64x2.lt f64x2.gt f64x2.le f64x2.ge v128.not v128.and v128.andnot v128.or v128.xor v128.bitselect v128.any_true`,
);
vector(
  84,
  `v128.load8_lane v128.load16_lane v128.load32_lane v128.load64_lane v128.store8_lane v128.store16_lane v128.store32_lane v128.store64_lane v128.load32_zero v128.load64_zero
   f32x4.demote_f64x2_zero f64x2.promote_low_f32x4 i8x16.abs i8x16.neg i8x16.popcnt i8x16.all_true i8x16.bitmask i8x16.narrow_i16x8_s i8x16.narrow_i16x8_u f32x4.ceil f32x4.floor f32x4.trunc
   f32x4.nearest i8x16.shl i8x16.shr_s i8x16.shr_u i8x16.add i8x16.add_sat_s i8x16.add_sat_u i8x16.sub i8x16.sub_sat_s i8x16.sub_sat_u f64x2.ceil f64x2.floor i8x16.min_s i8x16.min_u i8x16.max_s
   i8x16.max_u f64x2.trunc i8x16.avgr_u i16x8.extadd_pairwise_i8x16_s i16x8.extadd_pairwise_i8x16_u i32x4.extadd_pairwise_i16x8_s i32x4.extadd_pairwise_i16x8_u i16x8.abs i16x8.neg
   i16x8.q15mulr_sat_s i16x8.all_true i16x8.bitmask i16x8.narrow_i32x4_s i16x8.narrow_i32x4_u i16x8.extend_low_i8x16_s i16x8.extend_high_i8x16_s i16x8.extend_low_i8x16_u i16x8.extend_high_i8x16_u
   i16x8.shl i16x8.shr_s i16x8.shr_u i16x8.add i16x8.add_sat_s i16x8.add_sat_u i16x8.sub i16x8.sub_sat_s i16x8.sub_sat_u f64x2.nearest i16x8.mul i16x8.min_s i16x8.min_u i16x8.max_s i16x8.max_u
   - i16x8.avgr_u i16x8.extmul_low_i8x16_s i16x8.extmul_high_i8x16_s i16x8.extmul_low_i8x16_u i16x8.extmul_high_i8x16_u i32x4.abs i32x4.neg - i32x4.all_true i32x4.bitmask - -
   i32x4.extend_low_i16x8_s i32x4.extend_high_i16x8_s i32x4.extend_low_i16x8_u i32x4.extend_high_i16x8_u i32x4.shl i32x4.shr_s i32x4.shr_u i32x4.add - - i32x4.sub - - - i32x4.mul i32x4.min_s
   i32x4.min_u i32x4.max_s i32x4.max_u i32x4.dot_i16x8_s - i32x4.extmul_low_i16x8_s i32x4.extmul_high_i16x8_s i32x4.extmul_low_i16x8_u i32x4.extmul_high_i16x8_u i64x2.abs i64x2.neg - i64x2.all_true
   i64x2.bitmask - - i64x2.extend_low_i32x4_s i64x2.extend_high_i32x4_s i64x2.extend_low_i32x4_u i64x2.extend_high_i32x4_u i64x2.shl i64x2.shr_s i64x2.shr_u i64x2.add - - i64x2.sub - - - i64x2.mul
   i64x2.eq i64x2.ne i64x2.lt_s i64x2.gt_s i64x2.le_s i64x2.ge_s i64x2.extmul_low_i32x4_s i64x2.extmul_high_i32x4_s i64x2.extmul_low_i32x4_u i64x2.extmul_high_i32x4_u f32x4.abs f32x4.neg -
   f32x4.sqrt f32x4.add f32x4.sub f32x4.mul f32x4.div f32x4.min f32x4.max f32x4.pmin f32x4.pmax f64x2.abs f64x2.neg - f64x2.sqrt f64x2.add f64x2.sub f64x2.mul f64x2.div f64x2.min f64x2.max
   f64x2.pmin f64x2.pmax i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u f32x4.convert_i32x4_s f32x4.convert_i32x4_u i32x4.trunc_sat_f64x2_s_zero i32x4.trunc_sat_f64x2_u_zero
   f64x2.convert_low_i32x4_s f64x2.convert_low_i32x4_u`,
);

const TYPES: Record<number, string> = { 0x7f: 'i32', 0x7e: 'i64', 0x7d: 'f32', 0x7c: 'f64', 0x7b: 'v128', 0x70: 'funcref', 0x6f: 'externref' };

class Reader {
  at = 0;
  constructor(readonly bytes: Uint8Array) {}

  byte(): number {
    if (this.at >= this.bytes.length) throw new RangeError('the module ends too early');
    return this.bytes[this.at++];
  }

  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError('a number of more than 32 bits');
  }

  signed(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return byte & 0x40 ? value - (1n << (shift + 7n)) : value;
    }
    throw new RangeError('a number of more than 64 bits');
  }

  take(length: number): Uint8Array {
    if (this.at + length > this.bytes.length) throw new RangeError('the module ends too early');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  text(): string {
    return String.fromCharCode(...this.take(this.u32()));
  }
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join(' ');
const memoryArgument = (r: Reader): string => {
  const align = r.u32();
  const offset = r.u32();
  return `${offset === 0 ? '' : ` offset=${offset}`}${align === 0 ? ' align=1' : ''}`;
};

const blockType = (r: Reader): string => {
  const type = r.signed();
  if (type === -64n) return '';
  const value = TYPES[Number(type) & 0x7f];
  return type < 0n && value !== undefined ? ` (result ${value})` : ` (type ${type})`;
};

const vectorInstruction = (r: Reader): string => {
  const op = r.u32();
  if (op < VECTOR_MEMORY.length) return VECTOR_MEMORY[op] + memoryArgument(r);
  if (op === 12) return `v128.const i8x16 ${hex(r.take(16)).replace(/\b(?=\w)/g, '0x')}`;
  if (op === 13) return `i8x16.shuffle ${[...r.take(16)].join(' ')}`;
  const word = VECTOR.get(op);
  if (word === undefined) throw new RangeError(`an instruction 0xfd ${op}`);
  if (op >= 84 && op <= 91) return `${word}${memoryArgument(r)} ${r.byte()}`;
  if (op === 92 || op === 93) return word + memoryArgument(r);
  return op >= 21 && op <= 34 ? `${word} ${r.byte()}` : word;
};

/** The instruction at the reader. Throws RangeError for what is not known. */
const instruction = (r: Reader, call: (index: number) => string): string => {
  const op = r.byte();
  const plain = PLAIN.get(op);
  if (plain !== undefined) return plain;
  if (op >= 0x28 && op <= 0x3e) return MEMORY[op - 0x28] + memoryArgument(r);
  switch (op) {
    case 0x02: return `block${blockType(r)}`;
    case 0x03: return `loop${blockType(r)}`;
    case 0x04: return `if${blockType(r)}`;
    case 0x05: return 'else';
    case 0x0b: return 'end';
    case 0x0c: return `br ${r.u32()}`;
    case 0x0d: return `br_if ${r.u32()}`;
    case 0x0e: {
      const count = r.u32();
      return `br_table ${Array.from({ length: count + 1 }, () => r.u32()).join(' ')}`;
    }
    case 0x10: return `call ${call(r.u32())}`;
    case 0x12: return `return_call ${call(r.u32())}`;
    case 0x11:
    case 0x13: {
      const type = r.u32();
      const table = r.u32();
      return `${op === 0x11 ? 'call_indirect' : 'return_call_indirect'}${table === 0 ? '' : ` ${table}`} (type ${type})`;
    }
    case 0x1c: return `select (result ${Array.from({ length: r.u32() }, () => TYPES[r.byte()] ?? '?').join(' ')})`;
    case 0x20: return `local.get ${r.u32()}`;
    case 0x21: return `local.set ${r.u32()}`;
    case 0x22: return `local.tee ${r.u32()}`;
    case 0x23: return `global.get ${r.u32()}`;
    case 0x24: return `global.set ${r.u32()}`;
    case 0x3f: r.u32(); return 'memory.size';
    case 0x40: r.u32(); return 'memory.grow';
    case 0x41: return `i32.const ${r.signed()}`;
    case 0x42: return `i64.const ${r.signed()}`;
    case 0x43: return `f32.const bytes ${hex(r.take(4))}`;
    case 0x44: return `f64.const bytes ${hex(r.take(8))}`;
    case 0xfc: {
      const more = r.u32();
      if (more < BULK.length) return BULK[more];
      if (more === 10) return (r.u32(), r.u32(), 'memory.copy');
      if (more === 11) return (r.u32(), 'memory.fill');
      throw new RangeError(`an instruction 0xfc ${more}`);
    }
    case 0xfd: return vectorInstruction(r);
    default: throw new RangeError(`an instruction 0x${op.toString(16)}`);
  }
};

const printBody = (bytes: Uint8Array, call: (index: number) => string): string[] => {
  const r = new Reader(bytes);
  const out: string[] = [];
  try {
    const groups = r.u32();
    const locals = Array.from({ length: groups }, () => `${r.u32()} x ${TYPES[r.byte()] ?? '?'}`);
    if (locals.length > 0) out.push(`  ;; locals: ${locals.join(', ')}`);
    let depth = 1;
    while (r.at < bytes.length) {
      const start = r.at;
      let text: string;
      try {
        text = instruction(r, call);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        out.push(`${'  '.repeat(depth)};; ${error.message}: ${hex(bytes.subarray(start))}`);
        return out;
      }
      if (text === 'end' || text === 'else') depth = Math.max(depth - 1, 0);
      if (depth > 0 || text !== 'end') out.push('  '.repeat(depth) + text);
      if (text === 'else' || /^(block|loop|if)\b/.test(text)) depth++;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    out.push(`  ;; ${error.message}`);
  }
  return out;
};

/** A function of a module: its export's name or its index, the bytes of its body, and its text, a line an instruction. */
export interface PrintedFunction {
  name: string;
  bytes: Uint8Array;
  lines: string[];
}

/** The functions that a module defines. Throws RangeError for what is no module. */
export const printModule = (module: Uint8Array): PrintedFunction[] => {
  const r = new Reader(module);
  if (hex(r.take(8)) !== '00 61 73 6d 01 00 00 00') throw new RangeError('no module of WebAssembly 1');
  const imported: string[] = [];
  const exported = new Map<number, string>();
  const bodies: Uint8Array[] = [];
  while (r.at < module.length) {
    const id = r.byte();
    const section = new Reader(r.take(r.u32()));
    if (id === 2) {
      for (let n = section.u32(); n > 0; n--) {
        const from = `${section.text()}.${section.text()}`;
        const kind = section.byte();
        if (kind === 0) {
          section.u32();
          imported.push(`$${from}`);
        } else if (kind === 1 || kind === 2) {
          if (kind === 1) section.byte();
          const flags = section.u32();
          section.u32();
          if (flags & 1) section.u32();
        } else section.take(2);
      }
    } else if (id === 7) {
      for (let n = section.u32(); n > 0; n--) {
        const as = section.text();
        const kind = section.byte();
        const index = section.u32();
        if (kind === 0) exported.set(index, as);
      }
    } else if (id === 10) for (let n = section.u32(); n > 0; n--) bodies.push(section.take(section.u32()));
  }
  const call = (index: number): string => imported[index] ?? (exported.has(index) ? `$${exported.get(index)}` : String(index));
  return bodies.map((bytes, n) => ({ name: exported.get(imported.length + n) ?? String(imported.length + n), bytes, lines: printBody(bytes, call) }));
};
