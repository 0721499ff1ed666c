// The linear-memory map. Everything below RAM_BASE is the core's own; guest RAM follows in one piece.
// Untouched pages cost nothing, so the areas are generous.

/** 64 entries of 16 bytes { u64 address and length, u64 joins }: writes beside code that were found to hit none (interp/blocks.ts). */
export const CLEAN_WRITES: usize = 0x000f_0800;
export const CLEAN_ENTRIES: u32 = 64;
/** Constant tables that `init` fills: two of AES (ops/sse-crypto.ts), eight of CRC32 (ops/bit.ts), 1 KiB each. */
export const TABLE_AES: usize = 0x000f_4000;
export const TABLE_CRC: usize = 0x000f_4800;

export const MAX_CPUS: u32 = 8;
export const CPU_BASE: usize = 0x0010_0000;
export const CPU_STRIDE: usize = 0x0010_0000;

// Offsets inside a CPU's megabyte. The first 64 KiB are architectural or decode scratch, the rest is derived state (caches).
export const CPU_XMM: usize = 0x0800; // 16 registers of 16 bytes
export const CPU_ST: usize = 0x0900; // 8 physical x87 registers of 16 bytes: u64 significand, u16 sign and exponent
export const CPU_FP: usize = 0x0980; // 64 bytes: the x87 operation in flight (softfp/fp.ts)
export const CPU_CPUID: usize = 0x1000; // CPUID table: 24-byte rows { leaf, subleaf or ~0, eax, ebx, ecx, edx }, see cpu/cpuid.ts
export const CPU_CPUID_ROWS: u32 = 128;
export const CPU_SCRATCH: usize = 0x2000; // one uncached block (single steps, partial budgets)
export const CPU_TASK: usize = 0x3100; // 64 bytes: the state segment being loaded (cpu/task.ts)

export const TLB_ENTRIES: u32 = 4096;
export const TLB_BYTES: usize = 0x1_0000;
export const CPU_TLB_SR: usize = 0x1_0000; // supervisor read
export const CPU_TLB_SW: usize = 0x2_0000; // supervisor write
export const CPU_TLB_UR: usize = 0x3_0000; // user read
export const CPU_TLB_UW: usize = 0x4_0000; // user write
export const CPU_TLB_X: usize = 0x5_0000; // fetch; supervisor, then user, 2048 entries each
export const CPU_TLB_MISS: usize = 0x6_0000; // never filled: every access takes the slow path (alignment checks, data breakpoints)
export const CPU_TLB_LOG: usize = 0x7_0000; // addresses of the entries that a CR3 write must drop
export const TLB_LOG_ENTRIES: u32 = 8192;
export const CPU_CODE_PAGES: usize = 0xe_0000; // a bit for each linear page, modulo 32,768, that the jump cache may know
export const CODE_PAGES_BYTES: usize = 0x1000;
export const CPU_PCID: usize = 0xc_0000; // 8 translations of address spaces that are put aside, 16 KiB each (mmu/pcid.ts)

export const BLOCK_HASH: usize = 0x00a0_0000; // 65,536 chain heads
export const BLOCK_HASH_BITS: u32 = 16;
export const JIT_BASE: usize = 0x00b0_0000; // the compiler's record, tables and output: 5 MiB
export const PAGE_INFO: usize = 0x0100_0000; // 16 bytes per physical page, 4 GiB worth
export const ARENA: usize = 0x0200_0000; // decoded blocks
export const ARENA_END: usize = 0x0600_0000;
export const ROM_BASE: usize = 0x0600_0000; // firmware below 4 GiB
export const ROM_MAX: usize = 0x0100_0000;
/** 16 bytes by table slot of the compiler: see jit/windows.ts. */
export const JIT_WINDOWS: usize = 0x0700_0000;
/** What is known of registers where ways of a region meet: see jit/windows.ts. */
export const JIT_MET: usize = 0x0708_0000;
/** Words of the compiler's guards: see jit/flow.ts. */
export const JIT_GUARDS: usize = 0x0710_0000;
export const MAX_GUARDS: u32 = 0x4_0000;
/** Relative to a CPU, whose distance from the next it has as well: the jump cache, 65,536 entries of 16 bytes { u64 lin, u32 key, u32 block }. */
export const CPU_JUMP: usize = 0x0710_0000; // of CPU 0 at 0x0720_0000
export const JUMP_ENTRIES: u32 = 65_536;
export const JIT_REFS: usize = 0x07a0_0000; // 24 bytes each, see jit/queue.ts
export const MAX_REFS: u32 = 0x3_0000;
// From 0x07e8_0000 on: counters of builds with VMLET_COUNT=1 (tools/gen-hot.mjs, jit/count.ts).
export const RAM_BASE: usize = 0x0800_0000;
