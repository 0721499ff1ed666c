import { VmletError } from '../../errors.js';
import type { CpuRecord } from '../core.js';
import { type BootMemory, hex, PAGE_BYTES } from './boot-memory.js';
import { enterProtected, gdt } from './cpu-setup.js';
import { HIGH_START, LOW_END, memoryMap, tooLittleMemory } from './e820.js';
import { isElf, parseElf, physicalEntry } from './elf.js';
import type { BootReport } from './linux.js';

// Multiboot Specification 0.6.96.
const HEADER_MAGIC = 0x1bad_b002;
const BOOT_MAGIC = 0x2bad_b002;
const SEARCH_BYTES = 8192;
const PAGE_ALIGN = 1 << 0;
const VIDEO_MODE = 1 << 2;
const AOUT_KLUDGE = 1 << 16;
const REQUIRED_BITS = 0xffff;

const INFO_MEMORY = 1 << 0;
const INFO_CMDLINE = 1 << 2;
const INFO_MODULES = 1 << 3;
const INFO_ELF_SECTIONS = 1 << 5;
const INFO_MEMORY_MAP = 1 << 6;
const INFO_LOADER_NAME = 1 << 9;

const INFO = 0x9_0000;
const MEMORY_MAP = 0x9_0100;
const GDT = 0x9_0800;
/** Module list and strings: up to the extended BIOS data area. */
const HEAP = 0x9_1000;

export interface MultibootModule {
  bytes: Uint8Array;
  /** The module's string: by convention its file name and arguments. */
  cmdline?: string;
}

export interface MultibootBoot {
  kernel: Uint8Array;
  modules?: MultibootModule[];
  cmdline?: string;
  name?: string;
}

export interface MultibootHeader {
  /** Offset in the file. */
  at: number;
  flags: number;
  headerAddr: number;
  loadAddr: number;
  loadEndAddr: number;
  bssEndAddr: number;
  entryAddr: number;
}

/** Finds the header: aligned to four bytes in the first 8 KiB, with a checksum of zero. */
export const findMultibootHeader = (bytes: Uint8Array): MultibootHeader | undefined => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (offset: number) => (offset + 4 <= bytes.length ? view.getUint32(offset, true) : 0);
  for (let at = 0; at + 12 <= Math.min(bytes.length, SEARCH_BYTES); at += 4) {
    if (word(at) !== HEADER_MAGIC || ((word(at) + word(at + 4) + word(at + 8)) & 0xffff_ffff) !== 0) continue;
    return { at, flags: word(at + 4), headerAddr: word(at + 12), loadAddr: word(at + 16), loadEndAddr: word(at + 20), bssEndAddr: word(at + 24), entryAddr: word(at + 28) };
  }
  return undefined;
};

/** Loads a multiboot 1 kernel and its modules and leaves the CPU at its entry. */
export const bootMultiboot = (memory: BootMemory, cpu: CpuRecord, boot: MultibootBoot): BootReport => {
  const name = boot.name ?? 'kernel';
  const header = findMultibootHeader(boot.kernel);
  if (header === undefined) {
    throw new VmletError('ERR_VMLET_IMAGE_FORMAT', `${name}: has no multiboot header in its first ${SEARCH_BYTES} bytes`, {
      hint: 'place the header in a section that the linker script puts first',
    });
  }
  const unknown = header.flags & REQUIRED_BITS & ~(PAGE_ALIGN | (1 << 1) | VIDEO_MODE);
  if (unknown !== 0) throw new VmletError('ERR_VMLET_IMAGE_FORMAT', `${name}: its multiboot header requires features that do not exist (flags ${hex(header.flags)})`);
  const { entry, end, sections } = loadImage(memory, boot.kernel, header, name);
  writeInfo(memory, boot, end, sections, name);
  memory.write(GDT, gdt(32));
  enterProtected(cpu, { entry, codeSelector: 0x10, dataSelector: 0x18, gdt: GDT, registers: { rax: BOOT_MAGIC, rbx: INFO, rsp: INFO } });
  return { protocol: 'multiboot', entry };
};

interface Loaded {
  entry: number;
  end: number;
  /** The section header table in memory, for ELF files. */
  sections?: { count: number; entryBytes: number; at: number; names: number };
}

const loadImage = (memory: BootMemory, file: Uint8Array, header: MultibootHeader, name: string): Loaded => {
  if ((header.flags & AOUT_KLUDGE) !== 0) return { ...loadFlat(memory, file, header, name) };
  if (!isElf(file)) {
    throw new VmletError('ERR_VMLET_IMAGE_FORMAT', `${name}: neither an ELF file, nor does its multiboot header say where to load it`, {
      hint: 'set flag bit 16 and the address fields, or link an ELF file',
    });
  }
  const elf = parseElf(file, name);
  const { end } = memory.loadElf(file, elf, name);
  const { offset, count, entryBytes, names } = elf.sections;
  const bytes = count * entryBytes;
  const entry = physicalEntry(elf);
  if (count === 0 || elf.bits !== 32 || offset + bytes > file.length) return { entry, end };
  const at = Math.ceil(end / PAGE_BYTES) * PAGE_BYTES;
  if (at + bytes > memory.size) return { entry, end };
  const after = loadSections(memory, file, at, { offset, count, entryBytes });
  return { entry, end: after, sections: { count, entryBytes, at, names } };
};

/** Copies the section headers to `at`, and behind them the sections that no segment loads (symbols, strings), as the specification asks. */
const loadSections = (memory: BootMemory, file: Uint8Array, at: number, table: { offset: number; count: number; entryBytes: number }): number => {
  memory.write(at, file.subarray(table.offset, table.offset + table.count * table.entryBytes));
  let end = at + table.count * table.entryBytes;
  for (let i = 0; i < table.count && table.entryBytes >= 40; i++) {
    const header = at + i * table.entryBytes;
    const field = (offset: number) => memory.view.getUint32(header + offset, true);
    const [type, address, offset, bytes] = [field(4), field(12), field(16), field(20)];
    const isTable = type === 2 || type === 3;
    if (address !== 0 || !isTable || bytes === 0 || offset + bytes > file.length) continue;
    const home = Math.ceil(end / 16) * 16;
    if (home + bytes > memory.size) break;
    memory.write(home, file.subarray(offset, offset + bytes));
    memory.u32(header + 12, home);
    end = home + bytes;
  }
  return end;
};

const loadFlat = (memory: BootMemory, file: Uint8Array, header: MultibootHeader, name: string): { entry: number; end: number } => {
  const { at, headerAddr, loadAddr, loadEndAddr, bssEndAddr, entryAddr } = header;
  const from = at - (headerAddr - loadAddr);
  const bytes = loadEndAddr === 0 ? file.length - from : loadEndAddr - loadAddr;
  if (headerAddr < loadAddr || from < 0 || bytes <= 0 || (bssEndAddr !== 0 && bssEndAddr < loadAddr + bytes)) {
    throw new VmletError('ERR_VMLET_IMAGE_FORMAT', `${name}: the address fields of its multiboot header contradict each other`);
  }
  if (from + bytes > file.length) {
    throw new VmletError('ERR_VMLET_IMAGE_FORMAT', `${name}: truncated: its multiboot header asks for ${from + bytes} bytes, the file has ${file.length}`);
  }
  const end = Math.max(bssEndAddr, loadAddr + bytes);
  if (end > memory.size) throw tooLittleMemory(name, end, memory.size);
  if (loadAddr < HIGH_START && end > LOW_END) {
    throw new VmletError('ERR_VMLET_IMAGE_FORMAT', `${name}: would be loaded over the video and firmware area (${hex(loadAddr)} to ${hex(end)})`);
  }
  memory.write(loadAddr, file.subarray(from, from + bytes));
  memory.ram.fill(0, loadAddr + bytes, end);
  return { entry: entryAddr, end };
};

const writeInfo = (memory: BootMemory, boot: MultibootBoot, end: number, sections: Loaded['sections'], name: string): void => {
  memory.ram.fill(0, INFO, HEAP);
  let flags = INFO_MEMORY | INFO_CMDLINE | INFO_MEMORY_MAP | INFO_LOADER_NAME;
  const modules = boot.modules ?? [];
  const list = HEAP;
  let heap = list + 16 * modules.length;
  const text = (value: string): number => {
    const at = heap;
    if (at + 3 * value.length + 1 > LOW_END) throw new VmletError('ERR_VMLET_CONFIG', 'the command lines of kernel and modules are too long', { hint: 'shorten them, or give fewer modules' });
    heap = memory.text(at, value);
    return at;
  };
  memory.u32(INFO + 4, LOW_END >>> 10);
  memory.u32(INFO + 8, (memory.size - HIGH_START) >>> 10);
  memory.u32(INFO + 16, text(boot.cmdline === undefined ? name : `${name} ${boot.cmdline}`));
  memory.u32(INFO + 64, text('vmlet'));
  if (modules.length > 0) {
    flags |= INFO_MODULES;
    memory.u32(INFO + 20, modules.length);
    memory.u32(INFO + 24, list);
    let next = Math.max(end, HIGH_START);
    modules.forEach((module, i) => {
      const at = Math.ceil(next / PAGE_BYTES) * PAGE_BYTES;
      next = at + module.bytes.length;
      if (next > memory.size) throw tooLittleMemory(`${name} with its modules`, next, memory.size);
      memory.write(at, module.bytes);
      memory.u32(list + 16 * i, at);
      memory.u32(list + 16 * i + 4, next);
      memory.u32(list + 16 * i + 8, text(module.cmdline ?? ''));
      memory.u32(list + 16 * i + 12, 0);
    });
  }
  if (sections !== undefined) {
    flags |= INFO_ELF_SECTIONS;
    memory.u32(INFO + 28, sections.count);
    memory.u32(INFO + 32, sections.entryBytes);
    memory.u32(INFO + 36, sections.at);
    memory.u32(INFO + 40, sections.names);
  }
  const map = memoryMap(memory.size);
  memory.u32(INFO + 44, 24 * map.length);
  memory.u32(INFO + 48, MEMORY_MAP);
  map.forEach((range, i) => {
    const at = MEMORY_MAP + 24 * i;
    memory.u32(at, 20);
    memory.u64(at + 4, range.start);
    memory.u64(at + 12, range.length);
    memory.u32(at + 20, range.type);
  });
  memory.u32(INFO, flags);
};
