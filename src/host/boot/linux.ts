import { VmletError } from '../../errors.js';
import type { CpuRecord } from '../core.js';
import { type BootMemory, PAGE_BYTES } from './boot-memory.js';
import type { ByteSource } from './byte-source.js';
import { enterLong, enterProtected, gdt, identityMap } from './cpu-setup.js';
import { HIGH_START, memoryMap, tooLittleMemory } from './e820.js';
import { type ElfImage, isElf, parseElf, physicalEntry } from './elf.js';

// Documentation/arch/x86/boot.rst and zero-page.rst of Linux: the setup header's fields, by offset in file and zero page.
const SETUP_SECTS = 0x1f1;
const SYSSIZE = 0x1f4;
const BOOT_FLAG = 0x1fe;
const HEADER_MAGIC = 0x202;
const VERSION = 0x206;
const TYPE_OF_LOADER = 0x210;
const LOADFLAGS = 0x211;
const CODE32_START = 0x214;
const RAMDISK_IMAGE = 0x218;
const RAMDISK_SIZE = 0x21c;
const HEAP_END_PTR = 0x224;
const CMD_LINE_PTR = 0x228;
const INITRD_ADDR_MAX = 0x22c;
const KERNEL_ALIGNMENT = 0x230;
const RELOCATABLE_KERNEL = 0x234;
const XLOADFLAGS = 0x236;
const CMDLINE_SIZE = 0x238;
const PREF_ADDRESS = 0x258;
const INIT_SIZE = 0x260;

const EXT_MEM_K = 0x002;
const OLD_CMD_LINE_MAGIC = 0x020;
const OLD_CMD_LINE_OFFSET = 0x022;
const ACPI_RSDP_ADDR = 0x070;
const ALT_MEM_K = 0x1e0;
const E820_ENTRIES = 0x1e8;
const E820_TABLE = 0x2d0;

const HDRS = 0x5372_6448;
const LOADED_HIGH = 0x01;
const CAN_USE_HEAP = 0x80;
const XLF_KERNEL_64 = 0x01;
const LOADER_UNDEFINED = 0xff;
const OLD_CMD_LINE = 0xa33f;
const STUB_64_ENTRY = 0x200;
const MEGABYTE_2 = 0x20_0000;
/** A kernel with less than this left above it is moved down: what it finds below 16 MB it uses for DMA only. */
const TIGHT_BYTES = 0x200_0000;

// Where the loader's own structures lie; kernels before protocol 2.02 want the zero page at 0x90000.
const ZERO_PAGE = 0x9_0000;
const PAGE_TABLES = 0x9_1000;
const GDT = 0x9_8000;
const CMDLINE = 0x9_9000;
const CMDLINE_END = 0x9_f000;
/** In the segment of the setup code: room for it, and the end of heap and stack. */
const REAL_SETUP_BYTES = 0x8000;
const REAL_STACK = 0x9000;

const DEFAULT_INITRD_MAX = 0x37ff_ffff;
const DEFAULT_CMDLINE_BYTES = 255;
const MODERN_CMDLINE_BYTES = 2047;

export type Arch = 'i386' | 'x86_64';

export interface LinuxBoot {
  /** A bzImage, a zImage or a vmlinux ELF file. */
  kernel: Uint8Array;
  /** The ELF file that the bzImage's payload unpacks to; without it the kernel's own stub unpacks in the guest. */
  unpacked?: Uint8Array | ByteSource;
  initrd?: Uint8Array;
  cmdline?: string;
  /** Physical address of the ACPI root pointer. */
  rsdp?: number;
  /** What the machine's CPU can run; x86_64 by default. */
  arch?: Arch;
  /** What messages call the kernel: its file name. */
  name?: string;
}

/** What the boot protocol chose, for the log. */
export interface BootReport {
  protocol: 'linux-64' | 'linux-32' | 'linux-real' | 'linux-stub-64' | 'linux-stub-32' | 'pvh' | 'multiboot' | 'rom' | 'sector' | 'firmware';
  entry: number;
}

export interface SetupHeader {
  /** Protocol, major * 256 + minor; 0x0100 for kernels without the header's magic. */
  version: number;
  /** Where the protected-mode part begins in the file, and its length in bytes. */
  payloadAt: number;
  payloadBytes: number;
  loadedHigh: boolean;
  code32Start: number;
  initrdMax: number;
  cmdlineBytes: number;
  relocatable: boolean;
  alignment: number;
  kernel64: boolean;
  prefAddress: number;
  initSize: number;
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Whether a file is a Linux kernel image for x86, by its boot sector and header magic. */
export const isBzImage = (bytes: Uint8Array): boolean =>
  bytes.length > 0x268 && bytes[BOOT_FLAG] === 0x55 && bytes[BOOT_FLAG + 1] === 0xaa && viewOf(bytes).getUint32(HEADER_MAGIC, true) === HDRS;

/** Whether a kernel image has no 32-bit entry and wants a BIOS: ipxe.lkrn. */
export const isRealModeKernel = (bytes: Uint8Array): boolean => isBzImage(bytes) && viewOf(bytes).getUint16(VERSION, true) >= 0x200 && (bytes[LOADFLAGS] & LOADED_HIGH) !== 0 && viewOf(bytes).getUint32(CODE32_START, true) === 0;

/** Reads the setup header. Throws ERR_VMLET_IMAGE_FORMAT when the file is no kernel or is truncated, ERR_VMLET_IMAGE_ARCH when it is not for x86. */
export const parseSetupHeader = (bytes: Uint8Array, name = 'kernel'): SetupHeader => {
  if (bytes.length < 0x400 || bytes[BOOT_FLAG] !== 0x55 || bytes[BOOT_FLAG + 1] !== 0xaa) throw notAKernel(bytes, name);
  const view = viewOf(bytes);
  const modern = view.getUint32(HEADER_MAGIC, true) === HDRS;
  const version = modern ? view.getUint16(VERSION, true) : 0x100;
  if (!modern && bytes.length < 0x1_0000) throw notAKernel(bytes, name);
  const payloadAt = ((bytes[SETUP_SECTS] || 4) + 1) * 512;
  const syssize = version >= 0x204 ? view.getUint32(SYSSIZE, true) : view.getUint16(SYSSIZE, true);
  if (bytes.length < payloadAt + 16 * syssize - 15 || bytes.length <= payloadAt) {
    throw new VmletError('ERR_VMLET_IMAGE_FORMAT', `${name}: truncated: its header announces ${payloadAt + 16 * syssize} bytes, the file has ${bytes.length}`, {
      hint: 'fetch or copy the kernel again',
    });
  }
  const since = <T>(first: number, value: () => T, otherwise: T): T => (version >= first ? value() : otherwise);
  return {
    version,
    payloadAt,
    payloadBytes: bytes.length - payloadAt,
    loadedHigh: modern && (bytes[LOADFLAGS] & LOADED_HIGH) !== 0,
    code32Start: since(0x200, () => view.getUint32(CODE32_START, true), 0x1000),
    initrdMax: since(0x203, () => view.getUint32(INITRD_ADDR_MAX, true), DEFAULT_INITRD_MAX),
    cmdlineBytes: since(0x206, () => view.getUint32(CMDLINE_SIZE, true), DEFAULT_CMDLINE_BYTES),
    relocatable: since(0x205, () => bytes[RELOCATABLE_KERNEL] !== 0, false),
    alignment: since(0x205, () => view.getUint32(KERNEL_ALIGNMENT, true), 0),
    kernel64: since(0x20c, () => (view.getUint16(XLOADFLAGS, true) & XLF_KERNEL_64) !== 0, false),
    prefAddress: since(0x20a, () => Number(view.getBigUint64(PREF_ADDRESS, true)), HIGH_START),
    initSize: since(0x20a, () => view.getUint32(INIT_SIZE, true), 0),
  };
};

const notAKernel = (bytes: Uint8Array, name: string): VmletError => {
  const view = viewOf(bytes);
  const word = (offset: number) => (offset + 4 <= bytes.length ? view.getUint32(offset, true) : 0);
  const foreign = word(56) === 0x644d_5241 ? 'a 64-bit ARM Image' : word(0x24) === 0x016f_2818 ? 'a 32-bit ARM zImage' : word(56) === 0x0543_5352 ? 'a RISC-V Image' : undefined;
  if (foreign !== undefined) {
    return new VmletError('ERR_VMLET_IMAGE_ARCH', `${name}: ${foreign}, not an x86 kernel`, { hint: 'vmlet runs i386 and x86_64 guests' });
  }
  if (bytes.length === 0) return new VmletError('ERR_VMLET_IMAGE_FORMAT', `${name}: the file is empty`, { hint: 'fetch or copy the kernel again' });
  const known: [string, number[]][] = [
    ['gzip data', [0x1f, 0x8b]],
    ['xz data', [0xfd, 0x37, 0x7a, 0x58, 0x5a]],
    ['Zstandard data', [0x28, 0xb5, 0x2f, 0xfd]],
    ['a U-Boot image', [0x27, 0x05, 0x19, 0x56]],
    ['an HTML page', [0x3c, 0x21, 0x44, 0x4f]],
    ['a Debian package or archive', [0x21, 0x3c, 0x61, 0x72]],
    ['a script', [0x23, 0x21]],
  ];
  const kind = known.find(([, magic]) => magic.every((byte, i) => bytes[i] === byte))?.[0];
  return new VmletError('ERR_VMLET_IMAGE_FORMAT', `${name}: ${kind === undefined ? 'no kernel that vmlet knows' : `${kind}, not a kernel`}`, {
    hint: 'give a bzImage, a vmlinux or multiboot ELF file, or a ROM with --bios',
  });
};

/** Loads a Linux kernel and leaves the CPU at its entry. The CPU was reset before; firmware tables are in place. */
export const bootLinux = (memory: BootMemory, cpu: CpuRecord, boot: LinuxBoot): BootReport => {
  const name = boot.name ?? 'kernel';
  if (isElf(boot.kernel)) return enterElf(memory, cpu, boot, boot.kernel, undefined, name);
  const header = parseSetupHeader(boot.kernel, name);
  if (boot.unpacked !== undefined) return enterElf(memory, cpu, boot, boot.unpacked, header, name);
  return enterStub(memory, cpu, boot, header, name);
};

const checkArch = (machine: Arch, boot: LinuxBoot, name: string): void => {
  if (machine === 'x86_64' && boot.arch === 'i386') {
    throw new VmletError('ERR_VMLET_IMAGE_ARCH', `${name}: a 64-bit kernel, and the machine's CPU is an i386`, { hint: 'drop --arch i386, or give a 32-bit kernel' });
  }
};

/** Enters an unpacked kernel where its own stub would have jumped to. */
const enterElf = (memory: BootMemory, cpu: CpuRecord, boot: LinuxBoot, file: Uint8Array | ByteSource, header: SetupHeader | undefined, name: string): BootReport => {
  const elf = parseElf(file, name);
  checkArch(elf.machine, boot, name);
  const offset = loadOffset(memory, elf, header, boot.initrd?.length ?? 0);
  const { start, end } = memory.loadElf(file, elf, name, offset);
  writeZeroPage(memory, boot, header, { start, end });
  const entry = physicalEntry(elf) + offset;
  const long = elf.machine === 'x86_64' && elf.bits === 64;
  enter(memory, cpu, entry, long);
  return { protocol: long ? 'linux-64' : 'linux-32', entry };
};

/** A 64-bit kernel fixes its page tables up at any 2 MiB boundary: move it down when it does not fit where it was linked. */
const loadOffset = (memory: BootMemory, elf: ElfImage, header: SetupHeader | undefined, initrdBytes: number): number => {
  if (elf.bits !== 64 || header?.relocatable !== true || elf.segments.length === 0) return 0;
  const start = Math.min(...elf.segments.map(s => s.phys));
  const end = Math.max(...elf.segments.map(s => s.phys + s.memoryBytes));
  const lowest = MEGABYTE_2 + (start % MEGABYTE_2);
  return end + initrdBytes + TIGHT_BYTES > memory.size && start > lowest ? lowest - start : 0;
};

/** Enters a packed kernel by the 32- or 64-bit boot protocol. */
const enterStub = (memory: BootMemory, cpu: CpuRecord, boot: LinuxBoot, header: SetupHeader, name: string): BootReport => {
  if (header.kernel64) checkArch('x86_64', boot, name);
  const load = header.loadedHigh ? HIGH_START : header.code32Start;
  const payload = boot.kernel.subarray(header.payloadAt);
  if (!header.loadedHigh && load + payload.length > ZERO_PAGE) {
    throw new VmletError('ERR_VMLET_IMAGE_FORMAT', `${name}: a zImage of ${payload.length} bytes does not fit below ${ZERO_PAGE.toString(16)}`);
  }
  // Before protocol 2.10 nothing tells what unpacking takes: assume a ratio of six.
  const unpacked = header.initSize > 0 ? Math.max(header.prefAddress, load) + header.initSize : HIGH_START + 6 * payload.length;
  const end = Math.max(unpacked, load + payload.length);
  if (end > memory.size) throw tooLittleMemory(name, end, memory.size);
  memory.write(load, payload);
  writeZeroPage(memory, boot, header, { start: load, end });
  memory.u32(ZERO_PAGE + CODE32_START, load);
  const long = header.kernel64;
  const entry = long ? load + STUB_64_ENTRY : load;
  enter(memory, cpu, entry, long);
  return { protocol: long ? 'linux-stub-64' : 'linux-stub-32', entry };
};

/** Loads a kernel for the real-mode boot protocol, "Running the kernel" in boot.rst; returns where it begins, with DS, ES and SS at the segment of its setup code. */
export const loadRealMode = (memory: BootMemory, boot: LinuxBoot): { segment: number; setup: number; sp: number } => {
  const name = boot.name ?? 'kernel';
  const header = parseSetupHeader(boot.kernel, name);
  if (header.payloadAt > REAL_SETUP_BYTES) throw new VmletError('ERR_VMLET_IMAGE_FORMAT', `${name}: setup code of ${header.payloadAt} bytes; there is room for ${REAL_SETUP_BYTES}`);
  const end = HIGH_START + header.payloadBytes;
  if (end > memory.size) throw tooLittleMemory(name, end, memory.size);
  memory.write(ZERO_PAGE, boot.kernel.subarray(0, header.payloadAt));
  memory.write(HIGH_START, boot.kernel.subarray(header.payloadAt));
  memory.u8(ZERO_PAGE + TYPE_OF_LOADER, LOADER_UNDEFINED);
  memory.u8(ZERO_PAGE + LOADFLAGS, boot.kernel[LOADFLAGS] | CAN_USE_HEAP);
  memory.u16(ZERO_PAGE + HEAP_END_PTR, REAL_STACK - 0x200);
  writeCommandLine(memory, boot.cmdline ?? '', header);
  if (boot.initrd !== undefined && boot.initrd.length > 0) placeInitrd(memory, boot.initrd, header.initrdMax, { start: HIGH_START, end });
  return { segment: (ZERO_PAGE >>> 4) + 0x20, setup: ZERO_PAGE >>> 4, sp: REAL_STACK };
};

const enter = (memory: BootMemory, cpu: CpuRecord, entry: number, long: boolean): void => {
  memory.write(GDT, gdt(long ? 64 : 32));
  const start = { entry, codeSelector: 0x10, dataSelector: 0x18, gdt: GDT, registers: { rsi: ZERO_PAGE } };
  if (!long) {
    enterProtected(cpu, start);
    return;
  }
  memory.write(PAGE_TABLES, identityMap(PAGE_TABLES));
  enterLong(cpu, { ...start, cr3: PAGE_TABLES });
};

/** Fills boot_params, the command line and the initial RAM disk; `taken` is what the kernel needs for itself. */
const writeZeroPage = (memory: BootMemory, boot: LinuxBoot, header: SetupHeader | undefined, taken: { start: number; end: number }): void => {
  memory.ram.fill(0, ZERO_PAGE, ZERO_PAGE + PAGE_BYTES);
  if (header !== undefined) {
    const headerEnd = Math.min(0x202 + boot.kernel[0x201], E820_TABLE - 0x40);
    memory.write(ZERO_PAGE + SETUP_SECTS, boot.kernel.subarray(SETUP_SECTS, header.version >= 0x200 ? headerEnd : 0x202));
  } else {
    memory.u16(ZERO_PAGE + BOOT_FLAG, 0xaa55);
    memory.u32(ZERO_PAGE + HEADER_MAGIC, HDRS);
    memory.u16(ZERO_PAGE + VERSION, 0x20f);
    memory.u8(ZERO_PAGE + LOADFLAGS, LOADED_HIGH);
    memory.u32(ZERO_PAGE + KERNEL_ALIGNMENT, 0x100_0000);
    memory.u32(ZERO_PAGE + INITRD_ADDR_MAX, 0x7fff_ffff);
    memory.u32(ZERO_PAGE + CMDLINE_SIZE, MODERN_CMDLINE_BYTES);
  }
  memory.u8(ZERO_PAGE + TYPE_OF_LOADER, LOADER_UNDEFINED);
  const extendedKilobytes = (memory.size - HIGH_START) >>> 10;
  memory.u16(ZERO_PAGE + EXT_MEM_K, Math.min(extendedKilobytes, 0xffff));
  memory.u32(ZERO_PAGE + ALT_MEM_K, extendedKilobytes);
  if (boot.rsdp !== undefined) memory.u64(ZERO_PAGE + ACPI_RSDP_ADDR, boot.rsdp);
  const map = memoryMap(memory.size);
  memory.u8(ZERO_PAGE + E820_ENTRIES, map.length);
  map.forEach((range, i) => {
    const at = ZERO_PAGE + E820_TABLE + 20 * i;
    memory.u64(at, range.start);
    memory.u64(at + 8, range.length);
    memory.u32(at + 16, range.type);
  });
  writeCommandLine(memory, boot.cmdline ?? '', header);
  if (boot.initrd !== undefined && boot.initrd.length > 0) placeInitrd(memory, boot.initrd, header?.initrdMax ?? 0x7fff_ffff, taken);
};

const writeCommandLine = (memory: BootMemory, cmdline: string, header: SetupHeader | undefined): void => {
  const bytes = new TextEncoder().encode(cmdline).length;
  const room = Math.min(header?.cmdlineBytes ?? MODERN_CMDLINE_BYTES, CMDLINE_END - CMDLINE - 1);
  if (bytes > room) {
    throw new VmletError('ERR_VMLET_CONFIG', `the kernel takes a command line of at most ${room} bytes, and this one has ${bytes}`, { hint: 'shorten what --append gives' });
  }
  memory.text(CMDLINE, cmdline);
  if ((header?.version ?? 0x20f) >= 0x202) {
    memory.u32(ZERO_PAGE + CMD_LINE_PTR, CMDLINE);
  } else {
    memory.u16(ZERO_PAGE + OLD_CMD_LINE_MAGIC, OLD_CMD_LINE);
    memory.u16(ZERO_PAGE + OLD_CMD_LINE_OFFSET, CMDLINE - ZERO_PAGE);
  }
};

/** At the top of what the kernel can reach, else below the kernel. */
const placeInitrd = (memory: BootMemory, initrd: Uint8Array, max: number, taken: { start: number; end: number }): void => {
  const fitsBelow = taken.start - HIGH_START >= initrd.length + PAGE_BYTES;
  const fitsAbove = Math.min(max + 1, memory.size) - taken.end >= initrd.length + PAGE_BYTES;
  const floor = Math.ceil(taken.end / PAGE_BYTES) * PAGE_BYTES;
  const at = !fitsAbove && fitsBelow ? memory.place('initrd', initrd.length, HIGH_START, taken.start) : memory.place('the kernel with its initrd', initrd.length, floor, max + 1);
  memory.write(at, initrd);
  memory.u32(ZERO_PAGE + RAMDISK_IMAGE, at);
  memory.u32(ZERO_PAGE + RAMDISK_SIZE, initrd.length);
};
