import { VmletError } from '../../errors.js';

/** Types of the BIOS memory map (ACPI 6.5, 15.1). */
export const E820 = { RAM: 1, RESERVED: 2, ACPI: 3, NVS: 4 } as const;

/** Bytes from `start` on, both below 2^53. */
export interface MemoryRange {
  start: number;
  length: number;
  type: number;
}

/** End of conventional memory: a kilobyte of extended BIOS data area lies above it. */
export const LOW_END = 0x9_fc00;
export const EBDA = LOW_END;
/** Where firmware leaves its tables: ACPI and SMBIOS. */
export const TABLES_START = 0xe_0000;
export const TABLES_END = 0x10_0000;
export const HIGH_START = 0x10_0000;

export const MIN_RAM_BYTES = 0x10_0000;

/** The map of a machine with `ramBytes` of RAM in one piece from 0, and conventional memory up to `lowEnd`. */
export const memoryMap = (ramBytes: number, lowEnd = LOW_END): MemoryRange[] => {
  const map: MemoryRange[] = [
    { start: 0, length: lowEnd, type: E820.RAM },
    { start: lowEnd, length: 0xa_0000 - lowEnd, type: E820.RESERVED },
    { start: TABLES_START, length: TABLES_END - TABLES_START, type: E820.RESERVED },
  ];
  if (ramBytes > HIGH_START) map.push({ start: HIGH_START, length: ramBytes - HIGH_START, type: E820.RAM });
  return map;
};

/** Says that a guest needs more memory than it has. Sizes are in bytes. */
export const tooLittleMemory = (what: string, needed: number, ramBytes: number): VmletError =>
  new VmletError('ERR_VMLET_MEMORY', `${what} needs ${megabytes(needed)} MB of memory, and the machine has ${megabytes(ramBytes)} MB`, {
    hint: `give it more memory: -m ${2 ** Math.ceil(Math.log2(needed / 2 ** 20))}M`,
  });

const megabytes = (bytes: number): number => Math.ceil(bytes / 2 ** 20);
