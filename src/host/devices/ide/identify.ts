// ATA/ATAPI-7, 6.17 (IDENTIFY DEVICE) and 6.18 (IDENTIFY PACKET DEVICE).

export const IDENTIFY_BYTES = 512;

export interface DiskIdentity {
  model: string;
  serial: string;
  sectors: number;
  geometry: { cylinders: number; heads: number; sectors: number };
  /** The geometry that INITIALIZE DEVICE PARAMETERS set. */
  current: { heads: number; sectors: number };
  /** Sectors a block of READ MULTIPLE; 0 while it is off. */
  multiple: number;
  /** The multiword and ultra DMA modes chosen: bits of words 63 and 88. */
  mwdma: number;
  udma: number;
}

const FIRMWARE = '1.0';
const MAX_MULTIPLE = 16;
const LBA28_LIMIT = 0x0fff_ffff;

/** Text is stored with the bytes of each word swapped, padded with blanks. */
const text = (view: DataView, word: number, words: number, value: string): void => {
  const padded = value.padEnd(2 * words, ' ');
  for (let i = 0; i < 2 * words; i++) view.setUint8(2 * word + (i ^ 1), padded.charCodeAt(i) & 0x7f);
};

export const identifyDisk = (disk: DiskIdentity): Uint8Array => {
  const bytes = new Uint8Array(IDENTIFY_BYTES);
  const view = new DataView(bytes.buffer);
  const set = (word: number, value: number): void => view.setUint16(2 * word, value, true);
  const long = (word: number, value: number): void => view.setUint32(2 * word, value, true);
  const { geometry, current } = disk;
  set(0, 0x0040);
  set(1, geometry.cylinders);
  set(3, geometry.heads);
  set(6, geometry.sectors);
  text(view, 10, 10, disk.serial);
  text(view, 23, 4, FIRMWARE);
  text(view, 27, 20, disk.model);
  set(47, 0x8000 | MAX_MULTIPLE);
  // DMA, LBA, IORDY.
  set(49, 0x0f00);
  set(50, 0x4000);
  set(51, 0x0200);
  set(53, 0x0007);
  const cylinders = Math.min(16383, Math.floor(disk.sectors / (current.heads * current.sectors)));
  set(54, cylinders);
  set(55, current.heads);
  set(56, current.sectors);
  long(57, cylinders * current.heads * current.sectors);
  set(59, disk.multiple === 0 ? 0 : 0x0100 | disk.multiple);
  long(60, Math.min(disk.sectors, LBA28_LIMIT));
  set(63, 0x0007 | (disk.mwdma << 8));
  set(64, 0x0003);
  for (const word of [65, 66, 67, 68]) set(word, 120);
  // ATA-4 to ATA-7; write cache, NOP; LBA48, FLUSH CACHE, FLUSH CACHE EXT.
  set(80, 0x00f0);
  set(82, 0x4020);
  set(83, 0x7400);
  set(84, 0x4000);
  set(85, 0x4020);
  set(86, 0x3400);
  set(87, 0x4000);
  set(88, 0x003f | (disk.udma << 8));
  set(93, 0x6001);
  long(100, disk.sectors >>> 0);
  long(102, Math.floor(disk.sectors / 2 ** 32));
  return checksummed(bytes);
};

export const identifyCd = (model: string, serial: string, mwdma: number, udma: number): Uint8Array => {
  const bytes = new Uint8Array(IDENTIFY_BYTES);
  const view = new DataView(bytes.buffer);
  const set = (word: number, value: number): void => view.setUint16(2 * word, value, true);
  // A CD drive, removable, DRQ within 50 us, packets of 12 bytes.
  set(0, 0x85c0);
  text(view, 10, 10, serial);
  text(view, 23, 4, FIRMWARE);
  text(view, 27, 20, model);
  set(49, 0x0f00);
  set(51, 0x0200);
  set(53, 0x0007);
  set(63, 0x0007 | (mwdma << 8));
  set(64, 0x0003);
  for (const word of [65, 66, 67, 68]) set(word, 120);
  set(80, 0x00f0);
  set(82, 0x4010);
  set(83, 0x4000);
  set(84, 0x4000);
  set(85, 0x4010);
  set(87, 0x4000);
  set(88, 0x003f | (udma << 8));
  set(93, 0x6001);
  return checksummed(bytes);
};

/** Word 255: a signature, and what brings the sum of all bytes to zero. */
const checksummed = (bytes: Uint8Array): Uint8Array => {
  bytes[510] = 0xa5;
  bytes[511] = -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
  return bytes;
};
