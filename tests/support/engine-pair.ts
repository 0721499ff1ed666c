// One guest on both engines at once: whatever differs between them fails the test.
import { expect } from 'vitest';
import { type Bus, CoreHarness, type CoreMode, type ModeOptions, type RunResult, TABLES } from './core-harness.js';
import type { JitOptions } from '../../src/host/jit-linker.js';

const CODE = 0x10_0000;
const FIELDS = ['cr0', 'cr2', 'cr3', 'dr6'];

/** Bytes of code from hexadecimal digits; each string may be followed by what it means. */
export const hex = (...code: readonly string[]): number[] => (code.join('').replaceAll(' ', '').match(/../g) ?? []).map(byte => parseInt(byte, 16));

export interface PairOptions extends ModeOptions {
  ramBytes?: number;
  /** By default every block is compiled before its first execution. */
  jit?: JitOptions;
}

export class EnginePair {
  readonly interp: CoreHarness;
  readonly jit: CoreHarness;

  constructor(mode: CoreMode, { ramBytes = 8 << 20, jit, ...options }: PairOptions = {}) {
    this.interp = new CoreHarness(ramBytes, 'interp');
    this.jit = new CoreHarness(ramBytes, 'jit', jit);
    this.each(core => core.setMode(mode, options));
  }

  get cores(): readonly [CoreHarness, CoreHarness] {
    return [this.interp, this.jit];
  }

  each(change: (core: CoreHarness) => void): void {
    for (const core of this.cores) change(core);
  }

  /** Devices by engine: `make` is called for each. */
  bus(make: (core: CoreHarness) => Bus): void {
    this.each(core => {
      core.bus = make(core);
    });
  }

  /** Where the page-table entry of an address lies, under `paging`. */
  entryAt(lin: number): number {
    return TABLES + 0x3000 + (lin >>> 12) * 8;
  }
  /** Maps a page to another one, with these low bits of its entry; `null` takes it away. */
  map(lin: number, phys: number | null, flags = 7): void {
    this.set(this.entryAt(lin), phys === null ? [0, 0, 0, 0, 0, 0, 0, 0] : [...new Uint8Array(BigUint64Array.of(BigInt(phys) | BigInt(flags)).buffer)]);
    this.each(core => core.core.flushAll(0));
  }
  /** The low bits of a page-table entry. */
  entry(lin: number): number {
    return this.get32(this.entryAt(lin)) & 0xfff;
  }

  set(phys: number, bytes: ArrayLike<number>): void {
    this.each(core => core.set(phys, bytes));
  }
  set32(phys: number, ...values: number[]): void {
    this.set(phys, new Uint8Array(Uint32Array.from(values).buffer));
  }
  get32(phys: number): number {
    const [interp, jit] = this.cores.map(core => new DataView(core.ram.buffer, core.ram.byteOffset).getUint32(phys, true));
    expect(jit).toBe(interp);
    return interp;
  }
  gpr(n: number): number {
    return Number(BigInt.asUintN(32, this.interp.getGpr(n)));
  }
  setGprs(values: Readonly<Record<number, number | bigint>>): void {
    for (const [n, value] of Object.entries(values)) this.each(core => core.setGpr(Number(n), value));
  }

  /** Places `code` and runs it from its start to its end, or to a fault. `compiled`: whether the compiler must have had a part in it. */
  run(code: readonly number[], { gprs = {}, max = 10_000, compiled = true, place = true }: { gprs?: Readonly<Record<number, number | bigint>>; max?: number; compiled?: boolean; place?: boolean } = {}): RunResult {
    if (place) this.each(core => core.load(code, CODE));
    this.setGprs(gprs);
    this.each(core => {
      core.rip = CODE;
    });
    return this.resume(code.length, max, compiled);
  }

  /** Goes on where it stopped; `length` as of the code that was placed. */
  resume(length: number, max = 10_000, compiled = true): RunResult {
    const before = this.jit.jitStats().entries;
    const [interp, jit] = this.cores.map(core => {
      const result = core.go(max);
      if (result.fault?.vector === 6 && result.fault.rip === BigInt(CODE + length)) result.fault = undefined;
      return result;
    });
    expect({ ...jit, state: this.#state(this.jit) }).toEqual({ ...interp, state: this.#state(this.interp) });
    this.expectSameMemory();
    if (compiled) expect(this.jit.jitStats().entries).toBeGreaterThan(before);
    else expect(this.jit.jitStats().entries).toBe(before);
    return interp;
  }

  expectSameMemory(): void {
    const { interp, jit } = this;
    if (Buffer.compare(interp.ram, jit.ram) === 0) return;
    const at = interp.ram.findIndex((byte, n) => byte !== jit.ram[n]) & ~15;
    expect(`${at.toString(16)}: ${Buffer.from(jit.get(at, 32)).toString('hex')}`).toBe(`${at.toString(16)}: ${Buffer.from(interp.get(at, 32)).toString('hex')}`);
  }

  #state(core: CoreHarness): Record<string, string> {
    const state: Record<string, string> = { rip: core.rip.toString(16), flags: core.flags.toString(16) };
    for (let n = 0; n < 16; n++) {
      state[`r${n}`] = core.getGpr(n).toString(16);
      state[`xmm${n}`] = Buffer.from(core.xmm(n)).toString('hex');
    }
    for (const name of FIELDS) state[name] = core.get64(name).toString(16);
    return state;
  }
}
