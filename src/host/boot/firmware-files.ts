import type { FwCfgFile } from '../devices/fw-cfg.js';
import { type AcpiConfig, buildAcpiTables, RSDP_BYTES } from './acpi-tables.js';
import { E820, HIGH_START } from './e820.js';
import { buildSmbios, SMBIOS_ENTRY_BYTES, type SmbiosConfig } from './smbios.js';

// What SeaBIOS reads of fw_cfg (SeaBIOS, docs/Runtime_config.md and src/fw/romfile_loader.h).

const TABLES = 'etc/acpi/tables';
const RSDP = 'etc/acpi/rsdp';
const ENTRY_BYTES = 128;
const FILE_BYTES = 56;
const ALLOCATE = 1;
const ADD_POINTER = 2;
const ADD_CHECKSUM = 3;
const ZONE_HIGH = 1;
const ZONE_FSEG = 2;
const CHECKSUM_AT = 9;
const SERIAL_CONSOLE = 0x3f8;

/** One command of the linker script: files are named in 56 bytes. */
const command = (code: number, files: readonly string[], numbers: readonly [value: number, bytes: number][]): Uint8Array => {
  const bytes = new Uint8Array(ENTRY_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, code, true);
  let at = 4;
  for (const file of files) {
    bytes.set(new TextEncoder().encode(file), at);
    at += FILE_BYTES;
  }
  for (const [value, size] of numbers) {
    for (let i = 0; i < size; i++) bytes[at++] = value >>> (8 * i);
  }
  return bytes;
};

const concat = (pieces: readonly Uint8Array[]): Uint8Array => {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
};

/** The ACPI tables with addresses relative to their file, and the script by which firmware places and links them. */
const acpiFiles = (config: AcpiConfig): FwCfgFile[] => {
  const { bytes, pointers, tables } = buildAcpiTables(config, 0);
  const body = bytes.slice();
  const rsdp = body.slice(0, RSDP_BYTES);
  rsdp[8] = rsdp[32] = 0;
  for (const { at } of tables) body[at + CHECKSUM_AT] = 0;
  const script = [
    command(ALLOCATE, [RSDP], [[16, 4], [ZONE_FSEG, 1]]),
    command(ALLOCATE, [TABLES], [[64, 4], [ZONE_HIGH, 1]]),
    ...pointers.map(({ at, bytes: size }) => command(ADD_POINTER, [at < RSDP_BYTES ? RSDP : TABLES, TABLES], [[at, 4], [size, 1]])),
    ...tables.map(({ at, length }) => command(ADD_CHECKSUM, [TABLES], [[at + CHECKSUM_AT, 4], [at, 4], [length, 4]])),
    command(ADD_CHECKSUM, [RSDP], [[8, 4], [0, 4], [20, 4]]),
    command(ADD_CHECKSUM, [RSDP], [[32, 4], [0, 4], [RSDP_BYTES, 4]]),
  ];
  return [
    { name: RSDP, bytes: rsdp },
    { name: TABLES, bytes: body },
    { name: 'etc/table-loader', bytes: concat(script) },
  ];
};

const little = (value: number, bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, i) => Math.floor(value / 2 ** (8 * i)) & 0xff);

export interface FirmwareFilesOptions {
  acpi: AcpiConfig;
  smbios: SmbiosConfig;
  ramBytes: number;
  /** The display adapter's BIOS, which firmware finds as an option ROM. */
  vgaRom?: Uint8Array;
  /** Further option ROMs. */
  roms?: readonly { name: string; bytes: Uint8Array }[];
  /** Whether firmware shows its screen on the first serial line. */
  serialConsole: boolean;
}

/** The files of fw_cfg for a firmware that builds no tables of its own. */
export const firmwareFiles = (options: FirmwareFilesOptions): FwCfgFile[] => {
  const smbios = buildSmbios(options.smbios);
  const files: FwCfgFile[] = [
    ...acpiFiles(options.acpi),
    { name: 'etc/smbios/smbios-anchor', bytes: smbios.slice(0, SMBIOS_ENTRY_BYTES) },
    { name: 'etc/smbios/smbios-tables', bytes: smbios.slice(SMBIOS_ENTRY_BYTES + 1) },
    { name: 'etc/e820', bytes: concat([little(0, 8), little(options.ramBytes, 8), little(E820.RAM, 4)]) },
    { name: 'etc/show-boot-menu', bytes: little(0, 8) },
  ];
  if (options.serialConsole) files.push({ name: 'etc/sercon-port', bytes: little(SERIAL_CONSOLE, 8) });
  if (options.vgaRom !== undefined) files.push({ name: 'vgaroms/vgabios.bin', bytes: options.vgaRom });
  for (const rom of options.roms ?? []) files.push({ name: `genroms/${rom.name}`, bytes: rom.bytes });
  return options.ramBytes > HIGH_START ? files : files.filter(file => file.name !== 'etc/e820');
};
