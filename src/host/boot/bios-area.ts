import type { BootMemory } from './boot-memory.js';
import { EBDA, LOW_END } from './e820.js';

/** The last gigabyte below 4 GiB, above the largest RAM. */
export const PCI_HOLE = { base: 0xc000_0000n, size: 0x4000_0000n };
export const ROM_AREA = { start: 0xc_0000, length: 0x4_0000 };
export const FIRMWARE_ROM = { start: 0xf_0000, length: 0x1_0000 };

/** What the BIOS data area tells of serial ports, conventional memory and the extended area. */
export const writeBiosData = (memory: BootMemory, serialPorts: readonly number[]): void => {
  memory.u16(0x40e, EBDA >>> 4);
  memory.u16(0x413, LOW_END >>> 10);
  memory.u8(EBDA, 1);
  serialPorts.forEach((port, i) => memory.u16(0x400 + 2 * i, port));
};
