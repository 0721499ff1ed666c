import { BootMemory } from '../../src/host/boot/boot-memory.js';
import { CpuRecord, FIELDS_32, FIELDS_64 } from '../../src/host/core.js';

/** A register file without a core behind it. */
export const fakeCpu = (): CpuRecord => {
  const offsets = new Map<string, number>();
  let at = 0x4000;
  for (const field of [...FIELDS_64, 'flA', 'flR']) offsets.set(field, (at += 8));
  for (const field of [...FIELDS_32, 'eflags', 'flT']) offsets.set(field, (at += 8));
  const cpu: CpuRecord = new CpuRecord(new ArrayBuffer(0x1_0000), 0, offsets, () => cpu.get32('eflags') | cpu.get32('flR'));
  return cpu;
};

export const ram = (megabytes: number): BootMemory => new BootMemory(new Uint8Array(megabytes * 2 ** 20));

export interface ElfOptions {
  bits?: 32 | 64;
  machine?: number;
  type?: number;
  entry?: number;
  bigEndian?: boolean;
  segments?: { phys: number; virt?: number; data: Uint8Array; memoryBytes?: number }[];
  /** The payload of a Xen PHYS32_ENTRY note. */
  pvh?: number;
  /** Bytes in front of the first segment's contents. */
  padding?: number;
}

/** A minimal ELF executable. */
export const makeElf = (options: ElfOptions = {}): Uint8Array => {
  const { bits = 64, machine = bits === 64 ? 62 : 3, type = 2, entry = 0x10_0000, bigEndian = false, segments = [{ phys: 0x10_0000, data: Uint8Array.of(0xf4) }], pvh, padding = 0 } = options;
  const wide = bits === 64;
  const little = !bigEndian;
  const headerBytes = wide ? 64 : 52;
  const programBytes = wide ? 56 : 32;
  const notes = pvh === undefined ? [] : [note(pvh)];
  const count = segments.length + notes.length;
  let dataAt = headerBytes + count * programBytes + padding;
  const total = dataAt + segments.reduce((sum, s) => sum + s.data.length, 0) + notes.reduce((sum, n) => sum + n.length, 0);
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  const word = (at: number, value: number) => (wide ? view.setBigUint64(at, BigInt(value), little) : view.setUint32(at, value, little));
  bytes.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, bigEndian ? 2 : 1, 1]);
  view.setUint16(16, type, little);
  view.setUint16(18, machine, little);
  view.setUint32(20, 1, little);
  word(24, entry);
  word(wide ? 32 : 28, headerBytes);
  view.setUint16(wide ? 52 : 40, headerBytes, little);
  view.setUint16(wide ? 54 : 42, programBytes, little);
  view.setUint16(wide ? 56 : 44, count, little);
  let at = headerBytes;
  const program = (kind: number, phys: number, virt: number, data: Uint8Array, memoryBytes: number) => {
    bytes.set(data, dataAt);
    view.setUint32(at, kind, little);
    const fields = [dataAt, virt, phys, data.length, memoryBytes];
    fields.forEach((value, i) => word(at + (wide ? 8 + 8 * i : 4 + 4 * i), value));
    dataAt += data.length;
    at += programBytes;
  };
  for (const s of segments) program(1, s.phys, s.virt ?? s.phys, s.data, s.memoryBytes ?? s.data.length);
  for (const n of notes) program(4, 0, 0, n, n.length);
  return bytes;
};

const note = (entry: number): Uint8Array => {
  const bytes = new Uint8Array(20);
  const view = new DataView(bytes.buffer);
  [4, 4, 18].forEach((value, i) => view.setUint32(4 * i, value, true));
  bytes.set([0x58, 0x65, 0x6e, 0], 12);
  view.setUint32(16, entry, true);
  return bytes;
};

export interface BzImageOptions {
  version?: number;
  setupSectors?: number;
  payload?: Uint8Array;
  loadflags?: number;
  xloadflags?: number;
  relocatable?: boolean;
  cmdlineSize?: number;
  initrdMax?: number;
  prefAddress?: number;
  initSize?: number;
}

/** A kernel image with nothing but a header and a payload. */
export const makeBzImage = (options: BzImageOptions = {}): Uint8Array => {
  const { version = 0x20f, setupSectors = 3, payload = new Uint8Array(0x400).fill(0x90), loadflags = 1, xloadflags = 1, relocatable = true } = options;
  const { cmdlineSize = 2047, initrdMax = 0x7fff_ffff, prefAddress = 0x100_0000, initSize = 0x10_0000 } = options;
  const setup = ((setupSectors || 4) + 1) * 512;
  const bytes = new Uint8Array(setup + payload.length);
  const view = new DataView(bytes.buffer);
  bytes[0x1f1] = setupSectors;
  view.setUint32(0x1f4, Math.ceil(payload.length / 16), true);
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint16(0x200, 0x66eb, true);
  if (version >= 0x200) {
    view.setUint32(0x202, 0x5372_6448, true);
    view.setUint16(0x206, version, true);
    bytes[0x211] = loadflags;
    view.setUint32(0x214, loadflags & 1 ? 0x10_0000 : 0x1000, true);
    view.setUint32(0x22c, initrdMax, true);
    view.setUint32(0x230, 0x20_0000, true);
    bytes[0x234] = relocatable ? 1 : 0;
    view.setUint16(0x236, xloadflags, true);
    view.setUint32(0x238, cmdlineSize, true);
    view.setBigUint64(0x258, BigInt(prefAddress), true);
    view.setUint32(0x260, initSize, true);
  }
  bytes.set(payload, setup);
  return bytes;
};
