// Bytes of a WebAssembly module (core specification, 5.3 to 5.5).
import { COUNTING } from "../generated/hot";
import { countCall } from "./count";
import { FN_TYPES } from "./module";
import { jit } from "./state";

/** Opcodes that the emitters use. */
export namespace W {
  export const UNREACHABLE: u32 = 0x00;
  export const BLOCK: u32 = 0x02;
  export const LOOP: u32 = 0x03;
  export const IF: u32 = 0x04;
  export const ELSE: u32 = 0x05;
  export const END: u32 = 0x0b;
  export const BR: u32 = 0x0c;
  export const BR_IF: u32 = 0x0d;
  export const RETURN: u32 = 0x0f;
  export const CALL_INDIRECT: u32 = 0x11;
  export const SELECT: u32 = 0x1b;
  export const I32_LOAD: u32 = 0x28;
  export const I64_LOAD: u32 = 0x29;
  export const F32_LOAD: u32 = 0x2a;
  export const F64_LOAD: u32 = 0x2b;
  export const I32_LOAD8_U: u32 = 0x2d;
  export const I32_LOAD16_U: u32 = 0x2f;
  export const I32_STORE: u32 = 0x36;
  export const I64_STORE: u32 = 0x37;
  export const F32_STORE: u32 = 0x38;
  export const F64_STORE: u32 = 0x39;
  export const I32_STORE8: u32 = 0x3a;
  export const I32_STORE16: u32 = 0x3b;
  export const I64_STORE32: u32 = 0x3e;
  export const I32_EQZ: u32 = 0x45;
  export const I32_EQ: u32 = 0x46;
  export const I32_NE: u32 = 0x47;
  export const I32_LT_S: u32 = 0x48;
  export const I32_LT_U: u32 = 0x49;
  export const I32_GT_S: u32 = 0x4a;
  export const I32_GT_U: u32 = 0x4b;
  export const I32_LE_S: u32 = 0x4c;
  export const I32_LE_U: u32 = 0x4d;
  export const I32_GE_S: u32 = 0x4e;
  export const I32_GE_U: u32 = 0x4f;
  export const I64_EQZ: u32 = 0x50;
  export const I64_EQ: u32 = 0x51; // the rest in the order of the 32-bit ones
  export const I64_NE: u32 = 0x52;
  export const I64_LT_U: u32 = 0x54;
  export const F32_EQ: u32 = 0x5b; // NE LT GT LE GE follow
  export const F32_NE: u32 = 0x5c;
  export const F32_LT: u32 = 0x5d;
  export const F32_LE: u32 = 0x5f;
  export const F64_EQ: u32 = 0x61;
  export const F64_NE: u32 = 0x62;
  export const F64_LT: u32 = 0x63;
  export const F64_GT: u32 = 0x64;
  export const F64_LE: u32 = 0x65;
  export const F64_GE: u32 = 0x66;
  export const I32_CLZ: u32 = 0x67;
  export const I32_CTZ: u32 = 0x68;
  export const I32_POPCNT: u32 = 0x69;
  export const I32_ADD: u32 = 0x6a;
  export const I32_SUB: u32 = 0x6b;
  export const I32_MUL: u32 = 0x6c;
  export const I32_DIV_S: u32 = 0x6d;
  export const I32_DIV_U: u32 = 0x6e;
  export const I32_AND: u32 = 0x71;
  export const I32_OR: u32 = 0x72;
  export const I32_XOR: u32 = 0x73;
  export const I32_SHL: u32 = 0x74;
  export const I32_SHR_S: u32 = 0x75;
  export const I32_SHR_U: u32 = 0x76;
  export const I32_ROTL: u32 = 0x77;
  export const I32_ROTR: u32 = 0x78;
  export const I64_CLZ: u32 = 0x79;
  export const I64_CTZ: u32 = 0x7a;
  export const I64_POPCNT: u32 = 0x7b;
  export const I64_ADD: u32 = 0x7c;
  export const I64_SUB: u32 = 0x7d;
  export const I64_MUL: u32 = 0x7e;
  export const I64_DIV_S: u32 = 0x7f;
  export const I64_DIV_U: u32 = 0x80;
  export const I64_AND: u32 = 0x83;
  export const I64_OR: u32 = 0x84;
  export const I64_XOR: u32 = 0x85;
  export const I64_SHL: u32 = 0x86;
  export const I64_SHR_S: u32 = 0x87;
  export const I64_SHR_U: u32 = 0x88;
  export const F32_ABS: u32 = 0x8b;
  export const F32_NEAREST: u32 = 0x90;
  export const F32_ADD: u32 = 0x92;
  export const F64_ABS: u32 = 0x99;
  export const F64_CEIL: u32 = 0x9b;
  export const F64_FLOOR: u32 = 0x9c;
  export const F64_TRUNC: u32 = 0x9d;
  export const F64_NEAREST: u32 = 0x9e;
  export const F64_SQRT: u32 = 0x9f;
  export const F64_ADD: u32 = 0xa0;
  export const F64_SUB: u32 = 0xa1;
  export const F64_MUL: u32 = 0xa2;
  export const F64_DIV: u32 = 0xa3;
  export const I32_WRAP: u32 = 0xa7;
  export const I64_EXTEND_S: u32 = 0xac;
  export const I64_EXTEND_U: u32 = 0xad;
  export const F32_CONVERT_I32: u32 = 0xb2;
  export const F32_CONVERT_I64: u32 = 0xb4;
  export const F32_DEMOTE: u32 = 0xb6;
  export const F64_CONVERT_I32: u32 = 0xb7;
  export const F64_CONVERT_I64: u32 = 0xb9;
  export const F64_PROMOTE: u32 = 0xbb;
  export const I32_REINTERPRET: u32 = 0xbc;
  export const I64_REINTERPRET: u32 = 0xbd;
  export const F32_REINTERPRET: u32 = 0xbe;
  export const F64_REINTERPRET: u32 = 0xbf;
  export const I32_EXTEND8_S: u32 = 0xc0;
  export const I32_EXTEND16_S: u32 = 0xc1;
  export const I64_EXTEND32_S: u32 = 0xc4;
  export const I32: u32 = 0x7f;
  export const I64: u32 = 0x7e;
  export const F32: u32 = 0x7d;
  export const F64: u32 = 0x7c;
  export const V128: u32 = 0x7b;
  export const VOID: u32 = 0x40;
}

export function op(b: u32): void {
  const j = jit();
  store<u8>(j.at, b);
  j.at++;
}
export function op2(a: u32, b: u32): void {
  op(a);
  op(b);
}

export function uleb(v: u32): void {
  while (v >= 0x80) {
    op((v & 0x7f) | 0x80);
    v >>= 7;
  }
  op(v);
}
export function sleb(v: i64): void {
  for (;;) {
    const low = <u32>v & 0x7f;
    v >>= 7;
    if ((v == 0 && !(low & 0x40)) || (v == -1 && (low & 0x40))) {
      op(low);
      return;
    }
    op(low | 0x80);
  }
}
/** A 32-bit number in five bytes, to be filled in later. */
export function patch5(at: usize, v: u32): void {
  for (let k: u32 = 0; k < 4; k++) store<u8>(at + k, ((v >> (7 * k)) & 0x7f) | 0x80);
  store<u8>(at + 4, v >> 28);
}

export function i32c(v: i32): void {
  op(0x41);
  sleb(<i64>v);
}
export function i64c(v: i64): void {
  op(0x42);
  sleb(v);
}
export function f32c(v: f32): void {
  op(0x43);
  const j = jit();
  store<f32>(j.at, v);
  j.at += 4;
}
export function f64c(v: f64): void {
  op(0x44);
  const j = jit();
  store<f64>(j.at, v);
  j.at += 8;
}
/** A saturating truncation to an integer. */
export function saturate(opcode: u32): void {
  op(0xfc);
  op(opcode);
}
export function get(local: u32): void {
  op(0x20);
  uleb(local);
}
export function set(local: u32): void {
  op(0x21);
  uleb(local);
}
export function tee(local: u32): void {
  op(0x22);
  uleb(local);
}
/** IF, with a hint which way it goes (branch hinting proposal: a V8 that does not know it ignores it). */
export function hintedIf(type: u32, likely: bool): void {
  const j = jit();
  store<u32>(j.hintAt, (<u32>(j.at - j.bodyStart) << 1) | u32(likely));
  j.hintAt += 4;
  op2(W.IF, type);
}
/** A load or store; the address is on the stack. */
export function mem(opcode: u32, offset: u32): void {
  op(opcode);
  op(0);
  uleb(offset);
}
export function simdMem(opcode: u32, offset: u32): void {
  op(0xfd);
  mem(opcode, offset);
}
export function call(fn: u32): void {
  if (COUNTING) countCall(fn);
  i32c(fn);
  op(W.CALL_INDIRECT);
  uleb(load<u8>(FN_TYPES + fn));
  op(0);
}
