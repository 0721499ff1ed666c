import type { CpuRecord } from '../core.js';
import type { BootMemory } from './boot-memory.js';
import type { ByteSource } from './byte-source.js';
import { isElf, parseElf, pvhEntry } from './elf.js';
import { type Arch, bootLinux, type BootReport, isBzImage, isRealModeKernel } from './linux.js';
import { bootMultiboot, findMultibootHeader, type MultibootModule } from './multiboot.js';
import { bootPvh } from './pvh.js';
import { enterReal } from './cpu-setup.js';

export interface KernelBoot {
  /** `kernel` looks at the file and chooses; the others insist on one protocol. */
  kind: 'kernel' | 'linux' | 'pvh' | 'multiboot';
  kernel: Uint8Array;
  /** What the payload of a bzImage unpacks to, an ELF file; without it the guest unpacks it itself. */
  unpacked?: Uint8Array | ByteSource;
  /** For multiboot kernels it becomes the first module. */
  initrd?: Uint8Array;
  cmdline?: string;
  modules?: MultibootModule[];
  /** What messages call the kernel. */
  name?: string;
}

export interface RomBoot {
  kind: 'rom';
  image: Uint8Array;
  name?: string;
  /** What a firmware of this name is told to boot from: `disk`, `floppy`, `cdrom`, `net`. */
  order?: readonly string[];
  /** The BIOS of the display adapter, for a firmware that looks for one. */
  vgaRom?: Uint8Array;
}

/** A sector that is loaded at 0x7C00 and entered in real mode, as a BIOS does it; without a BIOS's services. */
export interface SectorBoot {
  kind: 'sector';
  image: Uint8Array;
  name?: string;
}

/** The built-in BIOS looks for something to boot on the machine's drives, in this order. */
export interface FirmwareBoot {
  kind: 'firmware';
  /** `disk`, `floppy`, `cdrom`, or the name of a boot source that the machine's owner adds. */
  order: readonly string[];
}

export type BootOptions = KernelBoot | RomBoot | SectorBoot | FirmwareBoot;

/** Whether the built-in BIOS starts it: what looks for something to boot, and kernels that are real-mode programs. */
export const wantsFirmware = (boot: BootOptions): boolean => boot.kind === 'firmware' || ((boot.kind === 'kernel' || boot.kind === 'linux') && isRealModeKernel(boot.kernel));

/** The protocol for a kernel file of kind `kernel`. */
export const protocolOf = (kernel: Uint8Array): 'linux' | 'pvh' | 'multiboot' => {
  if (isBzImage(kernel)) return 'linux';
  if (findMultibootHeader(kernel) !== undefined) return 'multiboot';
  if (isElf(kernel) && pvhEntry(parseElf(kernel)) !== undefined) return 'pvh';
  return 'linux';
};

/** Loads a kernel and leaves the CPU, which was reset before, at its entry. */
export const bootKernel = (memory: BootMemory, cpu: CpuRecord, boot: KernelBoot, machine: { rsdp?: number; arch: Arch }): BootReport => {
  const { kernel, initrd, cmdline, name } = boot;
  switch (boot.kind === 'kernel' ? protocolOf(kernel) : boot.kind) {
    case 'multiboot': {
      const modules = [...(initrd === undefined ? [] : [{ bytes: initrd, cmdline: 'initrd' }]), ...(boot.modules ?? [])];
      return bootMultiboot(memory, cpu, { kernel, modules, cmdline, name });
    }
    case 'pvh':
      return bootPvh(memory, cpu, { kernel, initrd, cmdline, rsdp: machine.rsdp, name });
    default:
      return bootLinux(memory, cpu, { kernel, unpacked: boot.unpacked, initrd, cmdline, rsdp: machine.rsdp, arch: machine.arch, name });
  }
};

const SECTOR_ADDRESS = 0x7c00;

export const bootSector = (memory: BootMemory, cpu: CpuRecord, boot: SectorBoot): BootReport => {
  memory.write(SECTOR_ADDRESS, boot.image.subarray(0, 512));
  enterReal(cpu, { segment: 0, offset: SECTOR_ADDRESS, data: 0, sp: SECTOR_ADDRESS });
  return { protocol: 'sector', entry: SECTOR_ADDRESS };
};
