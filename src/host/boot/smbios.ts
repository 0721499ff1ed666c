import { ACPI_END } from './acpi-tables.js';

// DMTF DSP0134 (System Management BIOS) 2.8.

export const SMBIOS_START = ACPI_END;

export const SMBIOS_ENTRY_BYTES = 31;

export interface SmbiosConfig {
  ramBytes: number;
  cpus: number;
  /** Shown as the processor's version. */
  cpuName: string;
}

/** One structure: formatted area from offset 4 on, then its strings, numbered from 1. */
const structure = (type: number, handle: number, body: readonly number[], ...strings: string[]): number[] => {
  const text = strings.flatMap(s => [...new TextEncoder().encode(s), 0]);
  return [type, 4 + body.length, handle & 0xff, handle >> 8, ...body, ...(text.length > 0 ? text : [0]), 0];
};

const w = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff];
const d = (value: number): number[] => [...w(value), ...w(value >>> 16)];
const zeros = (count: number): number[] => new Array<number>(count).fill(0);
const sum = (bytes: readonly number[]): number => -bytes.reduce((total, byte) => total + byte, 0) & 0xff;

/** The entry point, to be placed at `SMBIOS_START`, and the structures behind it. */
export const buildSmbios = (config: SmbiosConfig): Uint8Array => {
  const ramKilobytes = config.ramBytes >>> 10;
  const ramMegabytes = config.ramBytes >>> 20;
  const structures = [
    // Vendor, version, start segment, date, size; characteristics: PCI, ACPI, virtual machine.
    structure(0, 0, [1, 2, ...w(0xe800), 3, 0, ...d(0x80), ...d(0), 0x01, 0x10, 0, 0, 0xff, 0xff], 'vmlet', '1', '01/01/2026'),
    structure(1, 0x100, [1, 2, 3, 0, ...zeros(16), 6, 0, 0], 'vmlet', 'vmlet PC', '1'),
    structure(3, 0x300, [1, 1, 0, 0, 0, 3, 3, 3, 2, ...d(0), 0, 0, 0, 0, 0], 'vmlet'),
    ...Array.from({ length: config.cpus }, (_, i) =>
      structure(
        4,
        0x400 + i,
        [1, 3, 1, 2, ...zeros(8), 3, 0, ...w(0), ...w(1000), ...w(1000), 0x41, 1, ...w(0xffff), ...w(0xffff), ...w(0xffff), 0, 0, 0, 1, 1, 1, ...w(4), ...w(1)],
        `CPU ${i}`,
        'vmlet',
        config.cpuName,
      ),
    ),
    // One array of one module.
    structure(16, 0x1000, [1, 3, 3, ...d(ramKilobytes), ...w(0xfffe), ...w(1), ...zeros(8)]),
    structure(17, 0x1100, [...w(0x1000), ...w(0xfffe), ...w(64), ...w(64), ...w(Math.min(ramMegabytes, 0x7fff)), 9, 0, 1, 0, 7, ...w(4), ...w(0), 2, 0, 0, 0, 0, ...d(0), ...w(0), ...zeros(6)], 'DIMM 0', 'vmlet'),
    structure(19, 0x1300, [...d(0), ...d(ramKilobytes - 1), ...w(0x1000), 1, ...zeros(16)]),
    structure(32, 0x2000, [...zeros(6), 0]),
    structure(127, 0x7f00, []),
  ];
  const table = structures.flat();
  const longest = Math.max(...structures.map(s => s.length));
  const tableAt = SMBIOS_START + 32;
  const ascii = (text: string) => [...text].map(c => c.charCodeAt(0));
  const dmi = [...ascii('_DMI_'), 0, ...w(table.length), ...d(tableAt), ...w(structures.length), 0x28];
  dmi[5] = sum(dmi);
  const entry = [...ascii('_SM_'), 0, SMBIOS_ENTRY_BYTES, 2, 8, ...w(longest), 0, ...zeros(5), ...dmi];
  entry[4] = sum(entry);
  return Uint8Array.from([...entry, 0, ...table]);
};
