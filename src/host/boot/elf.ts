import { VmletError } from '../../errors.js';
import { type ByteSource, byteSource } from './byte-source.js';

// System V ABI, chapters 4 and 5; ELF-64 object file format 1.5.
const EI_CLASS = 4;
const EI_DATA = 5;
const CLASS_32 = 1;
const CLASS_64 = 2;
const DATA_LSB = 1;
const ET_EXEC = 2;
const ET_DYN = 3;
const PT_LOAD = 1;
const PT_NOTE = 4;

const MACHINES: Record<number, string> = {
  2: 'SPARC', 8: 'MIPS', 20: 'PowerPC', 21: '64-bit PowerPC', 22: 'S/390', 40: '32-bit ARM', 43: '64-bit SPARC', 50: 'Itanium', 183: '64-bit ARM', 243: 'RISC-V', 258: 'LoongArch',
};
const EM_386 = 3;
const EM_486 = 6;
const EM_X86_64 = 62;

/** The Xen note that gives the 32-bit PVH entry (Linux, include/xen/interface/elfnote.h). */
export const XEN_ELFNOTE_PHYS32_ENTRY = 18;

export interface ElfSegment {
  /** Offset and length in the file, physical and virtual address, length in memory; all in bytes. */
  offset: number;
  fileBytes: number;
  phys: number;
  virt: number;
  memoryBytes: number;
}

export interface ElfNote {
  name: string;
  type: number;
  data: Uint8Array;
}

export interface ElfImage {
  bits: 32 | 64;
  machine: 'i386' | 'x86_64';
  entry: number;
  segments: ElfSegment[];
  notes: ElfNote[];
  /** File offsets of the section header table, for multiboot. */
  sections: { offset: number; count: number; entryBytes: number; names: number };
}

export const isElf = (bytes: Uint8Array): boolean => bytes.length >= 4 && bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;

const bad = (name: string, why: string): VmletError =>
  new VmletError('ERR_VMLET_IMAGE_FORMAT', `${name}: ${why}`, { hint: 'check that the file is complete, for instance by its checksum' });

/** Reads the headers of an x86 executable. Throws ERR_VMLET_IMAGE_FORMAT or ERR_VMLET_IMAGE_ARCH; `name` is for the message. */
export const parseElf = (file: Uint8Array | ByteSource, name = 'kernel'): ElfImage => {
  const source = byteSource(file);
  const bytes = source.slice(0, Math.min(source.length, 64));
  if (!isElf(bytes)) throw bad(name, 'not an ELF file');
  if (bytes.length < 52) throw bad(name, `the ELF header is cut off after ${bytes.length} bytes`);
  let view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fileClass = bytes[EI_CLASS];
  if (fileClass !== CLASS_32 && fileClass !== CLASS_64) throw bad(name, `ELF class ${fileClass} is unknown`);
  const little = bytes[EI_DATA] === DATA_LSB;
  const machine = view.getUint16(18, little);
  if (!little || (machine !== EM_386 && machine !== EM_486 && machine !== EM_X86_64)) {
    throw new VmletError('ERR_VMLET_IMAGE_ARCH', `${name}: built for ${MACHINES[machine] ?? `machine type ${machine}`}${little ? '' : ' (big-endian)'}, not for x86`, {
      hint: 'vmlet runs i386 and x86_64 guests',
    });
  }
  const wide = fileClass === CLASS_64;
  if (wide && bytes.length < 64) throw bad(name, `the ELF header is cut off after ${bytes.length} bytes`);
  const type = view.getUint16(16, true);
  if (type !== ET_EXEC && type !== ET_DYN) throw bad(name, 'an ELF object file or core dump, not an executable');
  const word = (offset: number): number => {
    if (!wide) return view.getUint32(offset, true);
    const value = view.getBigUint64(offset, true);
    return Number(value);
  };
  const entry = word(24);
  const programOffset = word(wide ? 32 : 28);
  const sectionOffset = word(wide ? 40 : 32);
  const rest = wide ? 54 : 42;
  const programBytes = view.getUint16(rest, true);
  const programCount = view.getUint16(rest + 2, true);
  const sections = {
    offset: sectionOffset,
    entryBytes: view.getUint16(rest + 4, true),
    count: view.getUint16(rest + 6, true),
    names: view.getUint16(rest + 8, true),
  };
  if (programCount > 0 && programBytes < (wide ? 56 : 32)) throw bad(name, `program headers of ${programBytes} bytes are too short`);
  const programEnd = programOffset + programCount * programBytes;
  if (programEnd > source.length) throw bad(name, 'the program headers lie beyond the end of the file: it is truncated');
  const table = source.slice(programOffset, programEnd);
  view = new DataView(table.buffer, table.byteOffset, table.byteLength);
  const segments: ElfSegment[] = [];
  const notes: ElfNote[] = [];
  for (let i = 0; i < programCount; i++) {
    const at = i * programBytes;
    const kind = view.getUint32(at, true);
    const segment: ElfSegment = wide
      ? { offset: word(at + 8), virt: word(at + 16), phys: word(at + 24), fileBytes: word(at + 32), memoryBytes: word(at + 40) }
      : { offset: word(at + 4), virt: word(at + 8), phys: word(at + 12), fileBytes: word(at + 16), memoryBytes: word(at + 20) };
    if (kind !== PT_LOAD && kind !== PT_NOTE) continue;
    if (segment.offset + segment.fileBytes > source.length) {
      throw bad(name, `segment ${i} lies beyond the end of the file (${source.length} bytes): it is truncated`);
    }
    if (kind === PT_LOAD) {
      if (segment.fileBytes > segment.memoryBytes) throw bad(name, `segment ${i} is longer in the file than in memory`);
      if (segment.memoryBytes > 0) segments.push(segment);
    } else {
      const alignment = wide && word(at + 48) === 8 ? 8 : 4;
      notes.push(...readNotes(source.slice(segment.offset, segment.offset + segment.fileBytes), alignment));
    }
  }
  return { bits: wide ? 64 : 32, machine: machine === EM_X86_64 ? 'x86_64' : 'i386', entry, segments, notes, sections };
};

const readNotes = (bytes: Uint8Array, alignment: number): ElfNote[] => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const align = (n: number) => Math.ceil(n / alignment) * alignment;
  const notes: ElfNote[] = [];
  for (let at = 0; at + 12 <= bytes.length; ) {
    const nameBytes = view.getUint32(at, true);
    const dataBytes = view.getUint32(at + 4, true);
    const dataAt = align(at + 12 + nameBytes);
    if (dataAt + dataBytes > bytes.length) break;
    const name = String.fromCharCode(...bytes.subarray(at + 12, at + 12 + Math.max(0, Math.min(nameBytes, 256) - 1)));
    notes.push({ name, type: view.getUint32(at + 8, true), data: bytes.subarray(dataAt, dataAt + dataBytes) });
    at = align(dataAt + dataBytes);
  }
  return notes;
};

/** The 32-bit physical entry of the PVH note, or undefined. */
export const pvhEntry = (elf: ElfImage): number | undefined => {
  const note = elf.notes.find(({ name, type, data }) => name === 'Xen' && type === XEN_ELFNOTE_PHYS32_ENTRY && data.length >= 4);
  return note && new DataView(note.data.buffer, note.data.byteOffset, 4).getUint32(0, true);
};

/** The physical address of the entry point: of an address that lies in a segment by its virtual address only, where that is loaded. */
export const physicalEntry = (elf: ElfImage): number => {
  const { entry, segments } = elf;
  if (segments.some(s => entry >= s.phys && entry < s.phys + s.memoryBytes)) return entry;
  const home = segments.find(s => entry >= s.virt && entry < s.virt + s.memoryBytes);
  return home ? entry - home.virt + home.phys : entry;
};

/** The lowest and the highest physical address (exclusive) that the loaded segments take. */
export const extent = (elf: ElfImage): { start: number; end: number } => ({
  start: Math.min(...elf.segments.map(s => s.phys)),
  end: Math.max(...elf.segments.map(s => s.phys + s.memoryBytes)),
});
