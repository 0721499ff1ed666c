// A core with flat memory and one program: 64-bit or 32-bit mode, paging on, no devices.
import { readFileSync } from 'node:fs';
import { CORE_FILE, loadDist } from './common.mjs';

const RAM_BYTES = 64 << 20;
const TABLES = 0x1_0000;
export const CODE = 0x10_0000;
export const STACK = 0x0f_0000;
export const DATA = 0x100_0000;
const SLICE = 200_000;
const LARGE = 0x1e3;
const REGISTERS = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi'];

/** Runs `body` and gives the exports of the WebAssembly instance that is made in it. */
const catchExports = body => {
  const Original = WebAssembly.Instance;
  let exports;
  WebAssembly.Instance = class extends Original {
    constructor(module, imports) {
      super(module, imports);
      exports = this.exports;
    }
  };
  try {
    const result = body();
    return { result, exports };
  } finally {
    WebAssembly.Instance = Original;
  }
};

export class BareCore {
  /** `engine` as in MachineOptions. */
  static async create(engine) {
    const { Core, Exit } = await loadDist('host/core.js');
    return new BareCore(Core, Exit, engine);
  }

  constructor(Core, Exit, engine) {
    this.exit = Exit;
    const surprise = what => () => {
      throw new Error(`the program asked the host for ${what}`);
    };
    const host = Object.fromEntries(
      ['portRead', 'portWrite', 'mmioRead', 'mmioWrite', 'interruptAck', 'msrRead', 'msrWrite', 'tprRead', 'tprWrite', 'ferr', 'pause', 'entropy'].map(name => [name, surprise(name)]),
    );
    const module = new WebAssembly.Module(readFileSync(CORE_FILE));
    const { result, exports } = catchExports(() => Core.create(module, RAM_BYTES, host, engine));
    this.core = result;
    this.exports = exports;
    this.core.reset(0);
    this.cpu = this.core.cpu(0);
    this.view = new DataView(this.core.ram.buffer, this.core.ram.byteOffset, this.core.ram.byteLength);
    this.program = undefined;
  }

  /** Blocks decoded since the start. */
  get blocksDecoded() {
    return this.exports.counter(0);
  }

  /** Loads a program of `bits` 64 or 32 and forgets everything decoded. */
  load(code, bits) {
    const { core, cpu, view } = this;
    core.ram.fill(0, TABLES, TABLES + 0x4000);
    core.ram.set(code, CODE);
    if (bits === 64) {
      view.setUint32(TABLES, (TABLES + 0x1000) | 3, true);
      view.setUint32(TABLES + 0x1000, (TABLES + 0x2000) | 3, true);
      for (let n = 0; n < 32; n++) view.setBigUint64(TABLES + 0x2000 + 8 * n, BigInt(n * 0x20_0000 | LARGE), true);
    } else {
      for (let n = 0; n < 16; n++) view.setUint32(TABLES + 4 * n, (n * 0x40_0000) | LARGE, true);
    }
    cpu.set64('cr0', 0x8001_0033n);
    cpu.set64('cr3', BigInt(TABLES));
    cpu.set64('cr4', bits === 64 ? 0x6a0n : 0x690n);
    cpu.set64('efer', bits === 64 ? 0x500n : 0n);
    cpu.set32('cpl', 0);
    cpu.setSegment('cs', { selector: 8, base: 0, limit: 0xffff_ffff, attributes: bits === 64 ? 0xa09b : 0xc09b });
    for (const name of ['ds', 'es', 'ss', 'fs', 'gs']) cpu.setSegment(name, { selector: 16, base: 0, limit: 0xffff_ffff, attributes: 0xc093 });
    core.updateMode(0);
    core.flush(0);
  }

  /** Runs the loaded program to its HLT; registers by name as numbers. Gives rax and the instructions executed, HLT included. */
  pass(registers) {
    const { core, cpu } = this;
    for (const name of REGISTERS) cpu.set64(name, BigInt(registers[name] ?? 0));
    cpu.set64('rsp', BigInt(STACK));
    cpu.set64('rip', BigInt(CODE));
    cpu.flags = 2;
    cpu.set32('halted', 0);
    core.updateMode(0);
    const before = core.instructions(0);
    let exit;
    do exit = core.run(0, SLICE);
    while (exit === this.exit.BUDGET);
    if (exit !== this.exit.HALT) throw new Error('the program shut the processor down');
    return { rax: cpu.get64('rax'), instructions: core.instructions(0) - before };
  }
}
