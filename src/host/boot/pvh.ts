import { VmletError } from '../../errors.js';
import type { CpuRecord } from '../core.js';
import { type BootMemory, PAGE_BYTES } from './boot-memory.js';
import { enterProtected, gdt } from './cpu-setup.js';
import { memoryMap } from './e820.js';
import { parseElf, pvhEntry } from './elf.js';
import type { BootReport } from './linux.js';

// Xen's public/arch-x86/hvm/start_info.h: struct hvm_start_info, version 1.
const START_INFO_MAGIC = 0x336e_c578;
const START_INFO = 0x9_0000;
const MODULE_LIST = 0x9_0100;
const MEMORY_MAP = 0x9_0200;
const GDT = 0x9_8000;
const CMDLINE = 0x9_9000;
const CMDLINE_END = 0x9_f000;

export interface PvhBoot {
  /** An ELF file with the note XEN_ELFNOTE_PHYS32_ENTRY. */
  kernel: Uint8Array;
  initrd?: Uint8Array;
  cmdline?: string;
  rsdp?: number;
  name?: string;
}

/** Loads an ELF kernel and leaves the CPU at its PVH entry. */
export const bootPvh = (memory: BootMemory, cpu: CpuRecord, boot: PvhBoot): BootReport => {
  const name = boot.name ?? 'kernel';
  const elf = parseElf(boot.kernel, name);
  const entry = pvhEntry(elf);
  if (entry === undefined) throw new VmletError('ERR_VMLET_IMAGE_FORMAT', `${name}: has no PVH entry note`, { hint: 'build it with CONFIG_PVH, or boot its bzImage' });
  const { end } = memory.loadElf(boot.kernel, elf, name);
  const cmdline = boot.cmdline ?? '';
  if (new TextEncoder().encode(cmdline).length >= CMDLINE_END - CMDLINE) throw new VmletError('ERR_VMLET_CONFIG', 'the command line is too long', { hint: 'shorten what --append gives' });
  memory.text(CMDLINE, cmdline);
  const map = memoryMap(memory.size);
  memory.ram.fill(0, START_INFO, START_INFO + PAGE_BYTES);
  memory.u32(START_INFO, START_INFO_MAGIC);
  memory.u32(START_INFO + 4, 1);
  memory.u64(START_INFO + 24, CMDLINE);
  memory.u64(START_INFO + 32, boot.rsdp ?? 0);
  memory.u64(START_INFO + 40, MEMORY_MAP);
  memory.u32(START_INFO + 48, map.length);
  map.forEach((range, i) => {
    memory.u64(MEMORY_MAP + 24 * i, range.start);
    memory.u64(MEMORY_MAP + 24 * i + 8, range.length);
    memory.u32(MEMORY_MAP + 24 * i + 16, range.type);
  });
  if (boot.initrd !== undefined && boot.initrd.length > 0) {
    const at = memory.place('the kernel with its initrd', boot.initrd.length, Math.ceil(end / PAGE_BYTES) * PAGE_BYTES, 0x8000_0000);
    memory.write(at, boot.initrd);
    memory.u32(START_INFO + 12, 1);
    memory.u64(START_INFO + 16, MODULE_LIST);
    memory.u64(MODULE_LIST, at);
    memory.u64(MODULE_LIST + 8, boot.initrd.length);
  }
  memory.write(GDT, gdt(32));
  enterProtected(cpu, { entry, codeSelector: 0x10, dataSelector: 0x18, gdt: GDT, registers: { rbx: START_INFO, rsp: START_INFO } });
  return { protocol: 'pvh', entry };
};
