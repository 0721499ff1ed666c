import type { BlockBackend } from '../../backends/backend.js';
import { type CdState, newCdState } from './atapi.js';

const STATUS_READY = 0x50;
export const SECTOR_BYTES = 512;
export const MAX_MULTIPLE = 16;
export const MAX_BLOCK_BYTES = 0x1_0000;

/** What the data register, or the bus master, moves next. */
export const Phase = { IDLE: 0, IN: 1, OUT: 2, PACKET: 3, DMA_IN: 4, DMA_OUT: 5 } as const;
/** Where data comes from: the medium at a byte offset, or an answer that is all there. */
export const Source = { MEDIUM: 0, REPLY: 1 } as const;

export interface IdeDrive {
  kind: 'disk' | 'cdrom';
  backend: BlockBackend;
  /** Up to 20 ASCII characters. */
  serial: string;
}

/** The bus master of a channel: moves bytes between guest memory and the drive. */
export interface IdeDma {
  /** Whether the guest has started it. */
  readonly active: boolean;
  /** Takes up to `bytes.length` bytes to memory, as the descriptors say; returns how many had room. */
  toMemory(bytes: Uint8Array): number;
  fromMemory(bytes: Uint8Array): number;
  /** The transfer is over. `error`: the drive could not do it. */
  finished(error: boolean): void;
}

export interface UnitState {
  multiple: number;
  mwdma: number;
  udma: number;
  heads: number;
  sectors: number;
  cd: CdState;
}

export interface IdeChannelState {
  /** The task file; each of the four has its previous value for 48-bit addresses. */
  features: number[];
  count: number[];
  low: number[];
  mid: number[];
  high: number[];
  device: number;
  status: number;
  error: number;
  control: number;
  irq: boolean;
  phase: number;
  source: number;
  /** Bytes of the medium or of the answer: the next one, and how many are left behind the block in the buffer. */
  at: number;
  left: number;
  /** Bytes a block. */
  blockBytes: number;
  /** The block that the data register gives or takes. */
  buffer: Uint8Array;
  bufferAt: number;
  bufferEnd: number;
  /** What a packet command answers. */
  reply: number[];
  units: UnitState[];
}

const newUnit = (drive: IdeDrive | undefined): UnitState => {
  const { heads, sectors } = geometryOf(drive);
  return { multiple: MAX_MULTIPLE, mwdma: 0, udma: 0, heads, sectors, cd: newCdState() };
};

/** The default geometry: the disk as far as 16383 cylinders of 16 heads and 63 sectors reach. */
export const geometryOf = (drive: IdeDrive | undefined): { cylinders: number; heads: number; sectors: number } => {
  const sectors = drive === undefined ? 0 : Math.floor(drive.backend.size / SECTOR_BYTES);
  return { cylinders: Math.max(1, Math.min(16383, Math.floor(sectors / (16 * 63)))), heads: 16, sectors: 63 };
};

export const initial = (drives: readonly (IdeDrive | undefined)[]): IdeChannelState => ({
  features: [0, 0],
  count: [1, 0],
  low: [1, 0],
  mid: [0, 0],
  high: [0, 0],
  device: 0,
  status: STATUS_READY,
  error: 1,
  control: 0,
  irq: false,
  phase: Phase.IDLE,
  source: Source.MEDIUM,
  at: 0,
  left: 0,
  blockBytes: SECTOR_BYTES,
  buffer: new Uint8Array(MAX_BLOCK_BYTES),
  bufferAt: 0,
  bufferEnd: 0,
  reply: [],
  units: [newUnit(drives[0]), newUnit(drives[1])],
});

/** First sector and number of sectors that the task file names, or undefined when they do not lie on the disk. `long`: a 48-bit address. */
export const placeOf = (s: IdeChannelState, unit: UnitState, long: boolean, diskBytes: number, countAsked?: number): { lba: number; count: number } | undefined => {
  const count = countAsked ?? (long ? (s.count[0] | (s.count[1] << 8)) || 0x1_0000 : s.count[0] || 0x100);
  let lba: number;
  if (long) lba = s.low[0] + s.mid[0] * 2 ** 8 + s.high[0] * 2 ** 16 + s.low[1] * 2 ** 24 + s.mid[1] * 2 ** 32 + s.high[1] * 2 ** 40;
  else if ((s.device & DEVICE_LBA) !== 0) lba = s.low[0] + s.mid[0] * 2 ** 8 + s.high[0] * 2 ** 16 + (s.device & 0x0f) * 2 ** 24;
  else {
    if (s.low[0] === 0 || s.low[0] > unit.sectors) return undefined;
    lba = ((s.mid[0] | (s.high[0] << 8)) * unit.heads + (s.device & 0x0f)) * unit.sectors + s.low[0] - 1;
  }
  return (lba + count) * SECTOR_BYTES <= diskBytes ? { lba, count } : undefined;
};

/** SET FEATURES 03h: the transfer mode of the count register becomes the unit's; false for one that it has not. */
export const setTransferMode = (unit: UnitState, mode: number): boolean => {
  const number = mode & 7;
  const kind = mode >> 3;
  if (kind > 1 && !(kind === 4 && number <= 2) && !(kind === 8 && number <= 5)) return false;
  unit.mwdma = kind === 4 ? 1 << number : 0;
  unit.udma = kind === 8 ? 1 << number : 0;
  return true;
};

const DEVICE_LBA = 0x40;
