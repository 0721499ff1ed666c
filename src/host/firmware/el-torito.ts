import type { BlockBackend } from '../backends/backend.js';
import { CD_SECTOR_BYTES, SECTOR_BYTES } from './drives.js';

// El Torito bootable CD-ROM format specification 1.0.

const BOOT_RECORD_SECTOR = 17;
const CATALOG_POINTER = 0x47;
const BOOTABLE = 0x88;
const PLATFORM_X86 = 0;
const DEFAULT_SEGMENT = 0x07c0;

/** The media type of an entry: none, or a floppy of three sizes, or a hard disk. */
export const Emulation = { NONE: 0, FLOPPY_1200: 1, FLOPPY_1440: 2, FLOPPY_2880: 3, HARD_DISK: 4 } as const;
const FLOPPY_KILOBYTES: Record<number, number> = { 1: 1200, 2: 1440, 3: 2880 };

export interface BootEntry {
  media: number;
  segment: number;
  /** Sectors of 512 bytes to load. */
  count: number;
  /** First sector of 2048 bytes. */
  lba: number;
  /** Bytes of the image, for emulated media. */
  imageBytes: number;
}

/** The default entry of a CD's boot catalog, or why there is none. */
export const findBootEntry = (cd: BlockBackend): BootEntry | string => {
  const sector = new Uint8Array(CD_SECTOR_BYTES);
  const view = new DataView(sector.buffer);
  const read = (lba: number): boolean => {
    if ((lba + 1) * CD_SECTOR_BYTES > cd.size) return false;
    cd.read(lba * CD_SECTOR_BYTES, sector);
    return true;
  };
  const text = (at: number, length: number): string => String.fromCharCode(...sector.subarray(at, at + length)).replace(/\0+$/, '');
  if (!read(BOOT_RECORD_SECTOR)) return 'it has no volume descriptors';
  if (sector[0] !== 0 || text(1, 5) !== 'CD001' || text(7, 23) !== 'EL TORITO SPECIFICATION') return 'it has no boot record';
  if (!read(view.getUint32(CATALOG_POINTER, true))) return 'its boot catalog lies behind its end';
  let sum = 0;
  for (let at = 0; at < 32; at += 2) sum = (sum + view.getUint16(at, true)) & 0xffff;
  if (view.getUint8(0) !== 1 || sector[30] !== 0x55 || sector[31] !== 0xaa || sum !== 0) return 'its boot catalog is damaged';
  if (view.getUint8(1) !== PLATFORM_X86) return 'its boot image is not for a PC with BIOS';
  if (sector[32] !== BOOTABLE) return 'its boot catalog names no bootable image';
  const media = sector[33] & 0x0f;
  if (media > Emulation.HARD_DISK) return `its boot image is of an unknown kind (${media})`;
  const lba = view.getUint32(40, true);
  const kilobytes = FLOPPY_KILOBYTES[media];
  const rest = cd.size - lba * CD_SECTOR_BYTES;
  if (rest <= 0) return 'its boot image lies behind its end';
  const segment = view.getUint16(34, true);
  return {
    media,
    segment: segment === 0 ? DEFAULT_SEGMENT : segment,
    count: Math.max(1, view.getUint16(38, true)),
    lba,
    imageBytes: kilobytes === undefined ? hardDiskBytes(cd, lba, rest) : kilobytes * 1024,
  };
};

/** The end of the first partition of an image of a hard disk. */
const hardDiskBytes = (cd: BlockBackend, lba: number, rest: number): number => {
  const mbr = new Uint8Array(SECTOR_BYTES);
  cd.read(lba * CD_SECTOR_BYTES, mbr);
  const view = new DataView(mbr.buffer);
  const end = (view.getUint32(0x1be + 8, true) + view.getUint32(0x1be + 12, true)) * SECTOR_BYTES;
  return mbr[510] === 0x55 && end > 0 ? Math.min(end, rest) : rest;
};
