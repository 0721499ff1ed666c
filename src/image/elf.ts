// The parts of ELF that guest images need: header and sections.
import { formatError, le16, le32, startsWith, utf8 } from './codec/bytes.js';

const WHAT = 'ELF file';
export const ELF_MAGIC = [0x7f, 0x45, 0x4c, 0x46];
export const EM_386 = 3;
export const EM_X86_64 = 62;
const SHT_NOBITS = 8;

export interface ElfHeader {
  bits: 32 | 64;
  machine: number;
  /** ET_REL 1, ET_EXEC 2, ET_DYN 3. */
  type: number;
}

/** Reads the header; throws ERR_VMLET_IMAGE_FORMAT unless it is a little-endian ELF file. */
export function readElfHeader(bytes: Uint8Array): ElfHeader {
  if (!startsWith(bytes, ELF_MAGIC)) throw formatError(WHAT, 'no ELF header');
  if (bytes.length < 52 || (bytes[4] === 2 && bytes.length < 64)) throw formatError(WHAT, 'truncated');
  if (bytes[4] !== 1 && bytes[4] !== 2) throw formatError(WHAT, 'unknown class');
  if (bytes[5] !== 1) throw formatError(WHAT, 'big-endian, so not for an x86 machine');
  return { bits: bytes[4] === 2 ? 64 : 32, machine: le16(bytes, 18), type: le16(bytes, 16) };
}

/** The content of a section, or undefined when there is none of that name. */
export function readElfSection(bytes: Uint8Array, name: string): Uint8Array | undefined {
  const { bits } = readElfHeader(bytes);
  const wide = bits === 64;
  const tableAt = wide ? word64(bytes, 40) : le32(bytes, 32);
  const entrySize = le16(bytes, wide ? 58 : 46);
  const count = le16(bytes, wide ? 60 : 48);
  const namesIndex = le16(bytes, wide ? 62 : 50);
  if (tableAt === 0 || count === 0) return undefined;
  if (entrySize < (wide ? 64 : 40) || namesIndex >= count || !(tableAt + entrySize * count <= bytes.length)) {
    throw formatError(WHAT, 'truncated or a bad section table');
  }
  const section = (index: number): Uint8Array => {
    const at = tableAt + index * entrySize;
    if (le32(bytes, at + 4) === SHT_NOBITS) return new Uint8Array(0);
    const from = wide ? word64(bytes, at + 24) : le32(bytes, at + 16);
    const size = wide ? word64(bytes, at + 32) : le32(bytes, at + 20);
    if (!(from + size <= bytes.length)) throw formatError(WHAT, 'truncated');
    return bytes.subarray(from, from + size);
  };
  const names = section(namesIndex);
  for (let index = 0; index < count; index++) {
    const from = le32(bytes, tableAt + index * entrySize);
    const end = names.indexOf(0, from);
    if (from < names.length && end >= 0 && utf8(names.subarray(from, end)) === name) return section(index);
  }
  return undefined;
}

function word64(bytes: Uint8Array, at: number): number {
  return le32(bytes, at) + le32(bytes, at + 4) * 2 ** 32;
}
