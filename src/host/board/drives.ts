import type { BlockBackend } from '../backends/backend.js';
import type { FloppyMedium } from '../devices/fdc82077.js';
import type { IdeDrive } from '../devices/ide/channel-state.js';
import { floppyGeometry } from '../firmware/drives.js';

// CMOS memory as firmware reads it (Ralf Brown's CMOS.LST; SeaBIOS, src/hw/rtc.h).

const FLOPPY_TYPES = 0x10;
const EQUIPMENT = 0x14;
const BOOT_THIRD = 0x38;
const DISK_TRANSLATION = 0x39;
const BOOT_FIRST_SECOND = 0x3d;
const EQUIPMENT_FPU = 0x02;
const EQUIPMENT_KEYBOARD = 0x04;
const BOOT_CODES: Record<string, number> = { floppy: 1, disk: 2, cdrom: 3, net: 4 };
const DEFAULT_ORDER = ['disk', 'cdrom', 'floppy'];
const TRANSLATE_LBA = 1;
/** The most sectors that cylinders, heads and sectors of the BIOS and of the drive reach without translation. */
const UNTRANSLATED_SECTORS = 1024 * 16 * 63;
const SECTOR_BYTES = 512;

/** Where disks and CDs are on the two channels: disks from the first place on, CDs from the third on while there is room. */
export const ideDrives = (disks: readonly BlockBackend[], cdroms: readonly BlockBackend[]): (IdeDrive | undefined)[] => {
  const places: (IdeDrive | undefined)[] = disks.map((backend, n) => ({ kind: 'disk', backend, serial: `vmlet-disk${n}` }));
  while (places.length < 2 && cdroms.length <= 2) places.push(undefined);
  cdroms.forEach((backend, n) => places.push({ kind: 'cdrom', backend, serial: `vmlet-cd${n}` }));
  while (places.length < 4) places.push(undefined);
  return places;
};

export const floppyMedium = (backend: BlockBackend): FloppyMedium => {
  const { cylinders, heads, sectors } = floppyGeometry(backend.size);
  return { backend, cylinders, heads, sectors };
};

/** What the CMOS memory says of the drives. */
export const cmosContents = (drives: { ideDisks?: readonly BlockBackend[]; floppies?: readonly BlockBackend[]; bootOrder?: readonly string[] }): Record<number, number> => {
  const { ideDisks = [], floppies = [], bootOrder = [] } = drives;
  const order = bootOrder.length > 0 ? bootOrder : DEFAULT_ORDER;
  const types = floppies.map(({ size }) => floppyGeometry(size).type);
  const [first = 0, second = 0, third = 0] = order.map(name => BOOT_CODES[name] ?? 0);
  const translation = ideDisks.reduce((bits, { size }, n) => bits | ((size / SECTOR_BYTES > UNTRANSLATED_SECTORS ? TRANSLATE_LBA : 0) << (2 * n)), 0);
  const presence = floppies.length === 0 ? 0 : 1 | ((floppies.length - 1) << 6);
  return {
    [FLOPPY_TYPES]: ((types[0] ?? 0) << 4) | (types[1] ?? 0),
    [EQUIPMENT]: EQUIPMENT_FPU | EQUIPMENT_KEYBOARD | presence,
    [BOOT_THIRD]: third << 4,
    [DISK_TRANSLATION]: translation,
    [BOOT_FIRST_SECOND]: first | (second << 4),
  };
};
