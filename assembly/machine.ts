// What all CPUs share: the sizes of memory and the allocation of decoded code. Lives below the CPU records.

@unmanaged
export class Shared {
  ramBytes: u64;
  romBytes: u32;
  cpus: u32;
  arenaNext: usize; // next free byte of the block arena
  arenaFlushes: u32;
  blocksDecoded: u64;
  blocksDropped: u64;
  joins: u64; // how often a block was entered into a page's list
}

export const SHARED: usize = 0x000f_0000;
export const DECODER: usize = 0x000f_1000; // the decoder's working state and a 32-byte window for instructions that cross a page
export const FETCH_WINDOW: usize = 0x000f_1800;

// @ts-ignore: decorator
@inline export function shared(): Shared { return changetype<Shared>(SHARED); }
