import { Phase } from './channel-state.js';

/** How a command moves sectors: by which protocol, with 48-bit addresses or not, a block of SET MULTIPLE MODE at a time or single sectors. */
export interface SectorTransfer {
  readonly phase: number;
  readonly extended: boolean;
  readonly multiple: boolean;
}

const transfer = (phase: number, extended = false, multiple = false): SectorTransfer => ({ phase, extended, multiple });

/** ATA/ATAPI-7, chapter 6: READ and WRITE SECTOR(S), MULTIPLE and DMA, their forms without retries and with 48-bit addresses, and WRITE VERIFY. */
export const SECTOR_TRANSFERS: ReadonlyMap<number, SectorTransfer> = new Map([
  [0x20, transfer(Phase.IN)],
  [0x21, transfer(Phase.IN)],
  [0x24, transfer(Phase.IN, true)],
  [0xc4, transfer(Phase.IN, false, true)],
  [0x29, transfer(Phase.IN, true, true)],
  [0x30, transfer(Phase.OUT)],
  [0x31, transfer(Phase.OUT)],
  [0x3c, transfer(Phase.OUT)],
  [0x34, transfer(Phase.OUT, true)],
  [0xc5, transfer(Phase.OUT, false, true)],
  [0x39, transfer(Phase.OUT, true, true)],
  [0xc8, transfer(Phase.DMA_IN)],
  [0xc9, transfer(Phase.DMA_IN)],
  [0x25, transfer(Phase.DMA_IN, true)],
  [0xca, transfer(Phase.DMA_OUT)],
  [0xcb, transfer(Phase.DMA_OUT)],
  [0x35, transfer(Phase.DMA_OUT, true)],
  [0x3d, transfer(Phase.DMA_OUT, true)],
]);
