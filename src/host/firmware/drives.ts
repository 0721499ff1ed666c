import type { BlockBackend } from '../backends/backend.js';

export const SECTOR_BYTES = 512;
export const CD_SECTOR_BYTES = 2048;

export interface Geometry {
  cylinders: number;
  heads: number;
  /** Sectors a track. */
  sectors: number;
}

/** Floppy formats by size in KB: geometry, and the drive type of CMOS and INT 13h AH=08h. */
const FLOPPIES: Record<number, Geometry & { type: number }> = {
  160: { cylinders: 40, heads: 1, sectors: 8, type: 1 },
  180: { cylinders: 40, heads: 1, sectors: 9, type: 1 },
  320: { cylinders: 40, heads: 2, sectors: 8, type: 1 },
  360: { cylinders: 40, heads: 2, sectors: 9, type: 1 },
  720: { cylinders: 80, heads: 2, sectors: 9, type: 3 },
  1200: { cylinders: 80, heads: 2, sectors: 15, type: 2 },
  1440: { cylinders: 80, heads: 2, sectors: 18, type: 4 },
  2880: { cylinders: 80, heads: 2, sectors: 36, type: 5 },
};

/** The format of a floppy image; what has no known size is taken for the smallest that holds it, larger ones get more sectors a track. */
export const floppyGeometry = (bytes: number): Geometry & { type: number } => {
  const known = Object.entries(FLOPPIES).find(([kilobytes]) => Number(kilobytes) * 1024 >= bytes);
  if (known) return known[1];
  const sectors = Math.min(63, Math.ceil(bytes / SECTOR_BYTES / 160));
  return { cylinders: Math.ceil(bytes / SECTOR_BYTES / (2 * sectors)), heads: 2, sectors, type: 5 };
};

const MAX_CYLINDERS = 1024;
const MBR_TABLE = 0x1be;

/** The geometry that the partition table was made with: where a partition's end in cylinders and its end in sectors agree. */
const partitionGeometry = (mbr: Uint8Array, sectors: number): Geometry | undefined => {
  if (mbr[510] !== 0x55 || mbr[511] !== 0xaa) return undefined;
  const view = new DataView(mbr.buffer, mbr.byteOffset, mbr.byteLength);
  for (let at = MBR_TABLE; at < MBR_TABLE + 64; at += 16) {
    const count = view.getUint32(at + 12, true);
    if (mbr[at + 4] === 0 || count === 0) continue;
    const heads = mbr[at + 5] + 1;
    const perTrack = mbr[at + 6] & 0x3f;
    if (perTrack === 0 || heads < 2) continue;
    const cylinder = mbr[at + 7] | ((mbr[at + 6] & 0xc0) << 2);
    const end = view.getUint32(at + 8, true) + count - 1;
    const sameEnd = (cylinder * heads + heads - 1) * perTrack + perTrack - 1 === end;
    if (sameEnd || cylinder >= MAX_CYLINDERS - 2) return { cylinders: Math.min(MAX_CYLINDERS, Math.floor(sectors / (heads * perTrack))), heads, sectors: perTrack };
  }
  return undefined;
};

/** The geometry that INT 13h tells of a disk: that of its partition table, or 63 sectors and as few heads as fit 1024 cylinders. */
export const diskGeometry = (backend: BlockBackend): Geometry => {
  const sectors = Math.floor(backend.size / SECTOR_BYTES);
  const mbr = new Uint8Array(SECTOR_BYTES);
  try {
    backend.read(0, mbr);
  } catch {
    // A disk that cannot be read fails when it is used.
  }
  const told = partitionGeometry(mbr, sectors);
  if (told !== undefined && told.cylinders > 0) return told;
  const heads = [16, 32, 64, 128].find(count => sectors <= MAX_CYLINDERS * count * 63) ?? 255;
  return { cylinders: Math.max(1, Math.min(MAX_CYLINDERS, Math.floor(sectors / (heads * 63)))), heads, sectors: 63 };
};

/** A drive as INT 13h knows it. */
export interface Drive {
  kind: 'floppy' | 'disk' | 'cdrom';
  backend: BlockBackend;
  sectorBytes: number;
  geometry: Geometry;
  /** What CMOS and INT 13h call it, for floppies. */
  type: number;
  /** The status of its last operation. */
  status: number;
  /** Locks that software put on a removable medium. */
  locks: number;
}

export const floppyDrive = (backend: BlockBackend): Drive => {
  const geometry = floppyGeometry(backend.size);
  return { kind: 'floppy', backend, sectorBytes: SECTOR_BYTES, geometry, type: geometry.type, status: 0, locks: 0 };
};

export const hardDrive = (backend: BlockBackend): Drive => ({ kind: 'disk', backend, sectorBytes: SECTOR_BYTES, geometry: diskGeometry(backend), type: 0, status: 0, locks: 0 });

export const cdDrive = (backend: BlockBackend): Drive => ({
  kind: 'cdrom',
  backend,
  sectorBytes: CD_SECTOR_BYTES,
  geometry: { cylinders: 1, heads: 1, sectors: 1 },
  type: 0,
  status: 0,
  locks: 0,
});

/** A part of a disk as a disk: the floppy or hard disk image on a CD. */
export class BlockWindow implements BlockBackend {
  readonly size: number;
  readonly readOnly: boolean;
  readonly #base: BlockBackend;
  readonly #start: number;

  constructor(base: BlockBackend, start: number, size: number) {
    this.#base = base;
    this.#start = start;
    this.size = Math.max(0, Math.min(size, base.size - start));
    this.readOnly = true;
  }

  read(offset: number, into: Uint8Array): void {
    const inside = Math.max(0, Math.min(into.length, this.size - offset));
    this.#base.read(this.#start + offset, into.subarray(0, inside));
    into.fill(0, inside);
  }

  write(): void {
    throw new RangeError('an image on a CD is read-only');
  }

  flush(): void {}

  close(): void {}
}
