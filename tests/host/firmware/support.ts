import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BlockBackend } from '../../../src/host/backends/backend.js';
import { MemoryBlock } from '../../../src/host/backends/block.js';
import { Machine, type MachineExit, type MachineOptions } from '../../../src/host/machine.js';
import { coreModule, hasCore, TextChar } from '../machine-support.js';

export const hasAssembler = ['as', 'ld', 'gcc'].every(tool => spawnSync('sh', ['-c', `command -v ${tool}`]).status === 0);
/** Why tests of guest code are skipped, or nothing. */
export const canRunGuests = hasCore && hasAssembler;

const assembled = new Map<string, Uint8Array>();

/** The raw bytes of guest/NAME.S, linked at 0x7C00. */
export const assemble = (name: string): Uint8Array => {
  const known = assembled.get(name);
  if (known) return known;
  const folder = mkdtempSync(join(tmpdir(), 'vmlet-as-'));
  try {
    const object = join(folder, 'a.o');
    const binary = join(folder, 'a.bin');
    const source = fileURLToPath(new URL(`guest/${name}.S`, import.meta.url));
    execFileSync('gcc', ['-m32', '-x', 'assembler-with-cpp', '-c', source, '-o', object], { stdio: ['ignore', 'pipe', 'inherit'] });
    execFileSync('ld', ['-m', 'elf_i386', '-Ttext', '0x7c00', '--oformat', 'binary', '-o', binary, object], { stdio: ['ignore', 'pipe', 'inherit'] });
    const bytes = new Uint8Array(readFileSync(binary));
    assembled.set(name, bytes);
    return bytes;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

export interface BiosRequest {
  vector: number;
  ds?: number;
  es?: number;
  eax?: number;
  ebx?: number;
  ecx?: number;
  edx?: number;
  esi?: number;
  edi?: number;
  ebp?: number;
}

export interface BiosAnswer {
  flags: number;
  carry: boolean;
  zero: boolean;
  ds: number;
  es: number;
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
  esi: number;
  edi: number;
  ebp: number;
  ax: number;
  ah: number;
  al: number;
  bx: number;
  cx: number;
  dx: number;
}

const RECORD_BYTES = 40;
const REGISTERS = ['eax', 'ebx', 'ecx', 'edx', 'esi', 'edi', 'ebp'] as const;
const ANSWERS = 0xa000;

/** A disk whose boot sector makes these calls. */
export const callerDisk = (requests: readonly BiosRequest[], sectors = 2880): Uint8Array => {
  const disk = new Uint8Array(sectors * 512);
  disk.set(assemble('caller'));
  const view = new DataView(disk.buffer, 512);
  requests.forEach((request, n) => {
    const at = n * RECORD_BYTES;
    [request.vector, request.ds ?? 0, request.es ?? 0].forEach((word, i) => view.setUint16(at + 2 * i, word, true));
    REGISTERS.forEach((name, i) => view.setUint32(at + 8 + 4 * i, request[name] ?? 0, true));
  });
  return disk;
};

/** The answers that the calls left in memory. */
export const answersOf = (ram: Uint8Array, count: number): BiosAnswer[] =>
  Array.from({ length: count }, (_, n) => {
    const view = new DataView(ram.buffer, ram.byteOffset + ANSWERS + n * RECORD_BYTES, RECORD_BYTES);
    const [eax, ebx, ecx, edx, esi, edi, ebp] = REGISTERS.map((_, i) => view.getUint32(8 + 4 * i, true));
    const flags = view.getUint16(0, true);
    return {
      flags, carry: (flags & 1) !== 0, zero: (flags & 0x40) !== 0, ds: view.getUint16(2, true), es: view.getUint16(4, true), eax, ebx, ecx, edx, esi, edi, ebp,
      ax: eax & 0xffff, ah: (eax >>> 8) & 0xff, al: eax & 0xff, bx: ebx & 0xffff, cx: ecx & 0xffff, dx: edx & 0xffff,
    };
  });

export interface CallerRun {
  machine: Machine;
  exit: MachineExit;
  answers: BiosAnswer[];
  serial: TextChar;
  guestLog: string[];
}

/** Boots from a floppy that makes the calls, and runs to their end. `prepare` sees the machine before it runs. */
export const callBios = async (requests: readonly BiosRequest[], options: Partial<MachineOptions> = {}, prepare: (machine: Machine, serial: TextChar) => void = () => {}): Promise<CallerRun> => {
  const serial = new TextChar();
  const guestLog: string[] = [];
  const floppy: BlockBackend = new MemoryBlock(callerDisk(requests));
  const machine = new Machine({
    core: coreModule(),
    memoryBytes: 32 * 2 ** 20,
    boot: { kind: 'firmware', order: ['floppy'] },
    floppies: [floppy],
    serial: [serial],
    debugExitPort: 0xf4,
    timeoutNs: 2e9,
    onGuestLog: line => guestLog.push(line),
    ...options,
  });
  prepare(machine, serial);
  const exit = await machine.run();
  return { machine, exit, answers: answersOf(machine.core.ram, requests.length), serial, guestLog };
};

/** The code of `done` in guest/caller.S. */
export const CALLER_DONE = (0x10 << 1) | 1;
