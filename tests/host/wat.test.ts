import binaryen from 'binaryen';
import { describe, expect, it } from 'vitest';
import { printModule } from '../../src/host/wat.js';
import type { CompiledModule } from '../../src/host/jit-linker.js';
import { CoreHarness } from '../support/core-harness.js';
import { hasCore } from './machine-support.js';

describe('WebAssembly as text', () => {
  it('agrees with the text that Binaryen assembled', () => {
    const text = `(module (import "e" "f0" (func $f (param i64))) (memory 1) (func (export "r0") (param i32) (local i32 i64 v128)
      (block (loop (br_if 1 (i32.lt_s (local.get 0) (i32.const -7)))
        (local.set 2 (i64.load offset=16 align=1 (local.get 0)))
        (if (i64.eqz (local.get 2)) (then (call $f (i64.const 0x123456789abc))) (else (i32.store8 (local.get 0) (i32.const 1))))
        (local.set 3 (i32x4.add (v128.load offset=32 (local.get 0)) (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 (local.get 3) (local.get 3))))
        (v128.store offset=48 (local.get 0) (local.get 3))
        (memory.copy (local.get 0) (local.get 1) (i32.trunc_sat_f64_s (f64x2.extract_lane 1 (local.get 3))))
        (br 0)))))`;
    const module = binaryen.parseText(text);
    module.setFeatures(binaryen.Features.All);
    const [{ name, lines }] = printModule(module.emitBinary());
    module.dispose();
    expect(name).toBe('r0');
    expect(lines.filter(line => !line.includes(';;')).map(line => line.trim())).toEqual([
      'block', 'loop', 'local.get 0', 'i32.const -7', 'i32.lt_s', 'br_if 1', 'local.get 0', 'i64.load offset=16 align=1', 'local.set 2', 'local.get 2', 'i64.eqz', 'if',
      'i64.const 20015998343868', 'call $e.f0', 'else', 'local.get 0', 'i32.const 1', 'i32.store8 align=1', 'end', 'local.get 0', 'v128.load offset=32', 'local.get 3', 'local.get 3',
      'i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15', 'i32x4.add', 'local.set 3', 'local.get 0', 'local.get 3', 'v128.store offset=48', 'local.get 0', 'local.get 1', 'local.get 3',
      'f64x2.extract_lane 1', 'i32.trunc_sat_f64_s', 'memory.copy', 'br 0', 'end', 'unreachable', 'end', // Binaryen's own end
    ]);
  });

  it.skipIf(!hasCore)('knows every instruction that the compiler makes, and lists the guest code beside it', () => {
    const made: CompiledModule[] = [];
    const core = new CoreHarness(undefined, 'jit', { threshold: 1, batch: 1, onModule: module => made.push(module) });
    // add eax, [rsi]; imul eax, ecx; paddd xmm0, xmm1; movsd xmm2, [rsi]; mulsd xmm2, xmm2; push rax; pop rbx; ret
    const code = [0x03, 0x06, 0x0f, 0xaf, 0xc1, 0x66, 0x0f, 0xfe, 0xc1, 0xf2, 0x0f, 0x10, 0x16, 0xf2, 0x0f, 0x59, 0xd2, 0x50, 0x5b, 0xc3];
    core.setGpr(4, 0x20_0000);
    core.setGpr(6, 0x30_0000);
    core.run(code, { max: 20 });
    expect(made[0].regions).toHaveLength(1);
    expect(made[0].regions[0].blocks[0]).toMatchObject({ phys: 0x10_0000, delta: 0, instructions: 8, bits: 64 });
    expect([...made[0].regions[0].blocks[0].bytes]).toEqual(code);
    const [{ name, lines }] = printModule(made[0].wasm);
    expect(name).toBe('r0');
    expect(lines.length).toBeGreaterThan(50);
    expect(lines.filter(line => line.includes(';;') && !line.includes('locals'))).toEqual([]);
    expect(lines.join('\n')).toContain('i32x4.add');
  });

  it('prints what it does not know as bytes, and refuses what is no module', () => {
    const body = [0, 0x41, 1, 0xff, 0x0b];
    const module = Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 10, 2 + body.length, 1, body.length, ...body]);
    expect(printModule(module)[0].lines).toEqual(['  i32.const 1', '  ;; an instruction 0xff: ff 0b']);
    expect(() => printModule(Uint8Array.of(1, 2, 3))).toThrow(RangeError);
  });
});
