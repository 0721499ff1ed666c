// A block: straight-line code decoded once, keyed by the physical address of its first byte and the Mode bits.
export const BLOCK_HASH_NEXT: usize = 0; // u32
export const BLOCK_PAGE_NEXT: usize = 4; // u32: next block of the same page
export const BLOCK_PHYS: usize = 8; // u64
export const BLOCK_MODE: usize = 16; // u32
export const BLOCK_COUNT: usize = 20; // u16 instructions
export const BLOCK_RECORDS: usize = 22; // u16 records without the final stop
export const BLOCK_LENGTH: usize = 24; // u16 bytes
export const BLOCK_VALID: usize = 26; // u16
export const BLOCK_PAGE2_NEXT: usize = 28; // u32: link in the second page's list
export const BLOCK_PHYS2: usize = 32; // u64: second page, ~0 when there is none
export const BLOCK_HEAT: usize = 40; // i32: executions until it is compiled; 0 it stays as it is, negative: table slot of its region, negated
export const BLOCK_NEXT: usize = 48; // u64: instruction pointer behind it when it was last interpreted, 0 when unknown
export const BLOCK_LIN: usize = 56; // u64: linear address under which the jump caches know it; ~0 none, ~1 more than one
export const BLOCK_HEADER: usize = 64;
