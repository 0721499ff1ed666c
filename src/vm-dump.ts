// The files of `--dump-regions`: what the compiler made of which guest code.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VmletError } from './errors.js';
import type { CompiledBlock, CompiledModule } from './host/jit-linker.js';
import { printModule } from './host/wat.js';

const LEFT = 64;
const MACHINES = { 16: 'i8086', 32: 'i386', 64: 'i386:x86-64' };
const hex = (bytes: Uint8Array): string => Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');

/** Writes modules and, for each of their regions, x86 and WebAssembly side by side. */
export class RegionDump {
  readonly #folder: string;
  readonly #known = new Map<string, string[]>();
  #modules = 0;
  #regions = 0;
  #objdump = true;

  /** Makes the folder; throws ERR_VMLET_CONFIG when that cannot be. */
  constructor(folder: string) {
    this.#folder = folder;
    try {
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, 'README'), 'One file a region: guest code on the left, its WebAssembly on the right. module-N.wasm holds the functions.\n');
    } catch (cause) {
      throw new VmletError('ERR_VMLET_CONFIG', `dumpRegions: nothing can be written to ${folder}: ${(cause as Error).message}`, { cause, hint: 'check the folder and its permissions' });
    }
  }

  add({ wasm, regions }: CompiledModule): void {
    const number = String(this.#modules++).padStart(5, '0');
    writeFileSync(join(this.#folder, `module-${number}.wasm`), wasm);
    const functions = printModule(wasm);
    const all = regions.flatMap(({ blocks }) => blocks);
    for (const bits of [16, 32, 64] as const) this.#disassemble(all.filter(block => block.bits === bits && !this.#known.has(keyOf(block))), bits);
    regions.forEach(({ slot, blocks }, n) => {
      const made = functions.find(({ name }) => name === `r${n}`);
      const instructions = blocks.reduce((sum, block) => sum + block.instructions, 0);
      const head = `region ${this.#regions}, function r${n} of module-${number}.wasm, slot ${slot}: ${blocks.length} blocks, ${instructions} instructions, ${made?.bytes.length ?? 0} bytes of wasm`;
      const left = blocks.flatMap((block, k) => [`block ${k} at ${block.phys.toString(16)}, ${block.delta < 0 ? '-' : '+'}${Math.abs(block.delta).toString(16)}, ${block.bits}-bit`, ...(this.#known.get(keyOf(block)) ?? bytesOf(block)), '']);
      const right = made?.lines ?? [];
      const lines = Array.from({ length: Math.max(left.length, right.length) }, (_, k) => `${(left[k] ?? '').padEnd(LEFT)} ${right[k] ?? ''}`.trimEnd());
      writeFileSync(join(this.#folder, `region-${String(this.#regions++).padStart(6, '0')}.txt`), `${head}\n\n${lines.join('\n')}\n`);
    });
  }

  /** Remembers the blocks' instructions by objdump, in one go; where it is not installed, nothing. */
  #disassemble(blocks: readonly CompiledBlock[], bits: 16 | 32 | 64): void {
    if (!this.#objdump || blocks.length === 0) return;
    const folder = mkdtempSync(join(tmpdir(), 'vmlet-regions-'));
    try {
      const file = join(folder, 'code');
      writeFileSync(file, sections(blocks, bits));
      const { status, stdout } = spawnSync('objdump', ['-d', '-m', MACHINES[bits], '-M', 'intel', file], { encoding: 'utf8', maxBuffer: 1 << 28 });
      this.#objdump = status === 0;
      if (status !== 0) return;
      for (const part of stdout.split(/^Disassembly of section /m).slice(1)) {
        const block = blocks[Number(/^b(\d+):/.exec(part)?.[1])];
        if (block === undefined) continue;
        const lines = part.split('\n').filter(line => /^ *[0-9a-f]+:\t/.test(line));
        this.#known.set(keyOf(block), lines.map(line => line.replaceAll('\t', ' ').trimStart().slice(0, LEFT - 1)));
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
}

const keyOf = ({ phys, bits, bytes }: CompiledBlock): string => `${phys} ${bits} ${hex(bytes)}`;
const bytesOf = ({ bytes }: CompiledBlock): string[] => hex(bytes).match(/.{1,48}/g) ?? [];

/** An ELF file with a section of code, named bN, for each block at its address. */
const sections = (blocks: readonly CompiledBlock[], bits: 16 | 32 | 64): Uint8Array => {
  const HEADER = 64, ENTRY = 64;
  const names = Buffer.from(`\0names\0${blocks.map((_, n) => `b${n}\0`).join('')}`, 'latin1');
  const table = HEADER + names.length + blocks.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const file = Buffer.alloc(table + (blocks.length + 2) * ENTRY);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  file.writeUInt16LE(1, 16); // relocatable
  file.writeUInt16LE(bits === 64 ? 62 : 3, 18);
  file.writeUInt32LE(1, 20);
  file.writeBigUInt64LE(BigInt(table), 40);
  file.writeUInt16LE(HEADER, 52);
  file.writeUInt16LE(ENTRY, 58);
  file.writeUInt16LE(blocks.length + 2, 60);
  file.writeUInt16LE(1, 62);
  let at = HEADER;
  const section = (index: number, name: number, type: number, flags: number, address: number, bytes: Uint8Array) => {
    const entry = table + index * ENTRY;
    file.writeUInt32LE(name, entry);
    file.writeUInt32LE(type, entry + 4);
    file.writeBigUInt64LE(BigInt(flags), entry + 8);
    file.writeBigUInt64LE(BigInt(address), entry + 16);
    file.writeBigUInt64LE(BigInt(at), entry + 24);
    file.writeBigUInt64LE(BigInt(bytes.length), entry + 32);
    file.writeBigUInt64LE(1n, entry + 48);
    file.set(bytes, at);
    at += bytes.length;
  };
  section(1, 1, 3, 0, 0, names);
  let name = 7;
  blocks.forEach(({ phys, bytes }, n) => {
    section(n + 2, name, 1, 6, phys, bytes);
    name += String(n).length + 2;
  });
  return file;
};
