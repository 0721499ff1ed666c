// The bus words: all that the core asks of its host. Every call names the CPU by its index.

/** Unwinds to the host with the fault that cpu/fault.ts recorded; the host calls `deliverFault` and then `run` again. Never returns. */
// @ts-ignore: decorator
@external("host", "raise") export declare function raise(): void;

/** Port input, `size` 1, 2 or 4 bytes; the value is zero-extended. */
// @ts-ignore: decorator
@external("host", "portRead") export declare function portRead(cpu: u32, port: u32, size: u32): u32;
// @ts-ignore: decorator
@external("host", "portWrite") export declare function portWrite(cpu: u32, port: u32, size: u32, value: u32): void;

/** Memory-mapped I/O, `size` 1, 2 or 4 bytes at physical `lo`, `hi`. */
// @ts-ignore: decorator
@external("host", "mmioRead") export declare function mmioRead(cpu: u32, lo: u32, hi: u32, size: u32): u32;
// @ts-ignore: decorator
@external("host", "mmioWrite") export declare function mmioWrite(cpu: u32, lo: u32, hi: u32, size: u32, value: u32): void;

/** The interrupt acknowledge cycle: the vector, or -1 when the interrupt went away. */
// @ts-ignore: decorator
@external("host", "interruptAck") export declare function interruptAck(cpu: u32): i32;

/** An MSR that the core does not hold (APIC, paravirtual clock). The value passes through Cpu.msrLo/msrHi; 0 means #GP.
 * Writes of the TSC (10h) and TSC_ADJUST (3Bh), which the core holds, are told as well; their result is ignored. */
// @ts-ignore: decorator
@external("host", "msrRead") export declare function msrRead(cpu: u32, msr: u32): i32;
// @ts-ignore: decorator
@external("host", "msrWrite") export declare function msrWrite(cpu: u32, msr: u32, lo: u32, hi: u32): i32;

/** CR8, the task priority of the local APIC, 0 to 15. */
// @ts-ignore: decorator
@external("host", "tprRead") export declare function tprRead(cpu: u32): u32;
// @ts-ignore: decorator
@external("host", "tprWrite") export declare function tprWrite(cpu: u32, value: u32): void;

/** PAUSE in a loop that waits for the time stamp counter: up to `ns` of time may be skipped. */
// @ts-ignore: decorator
@external("host", "pause") export declare function pause(cpu: u32, ns: u32): void;

/** FERR#: an unmasked x87 error with CR0.NE clear (IRQ 13 on a PC). */
// @ts-ignore: decorator
@external("host", "ferr") export declare function ferr(cpu: u32): void;

/** Makes a module of `length` bytes at `at` live: its functions r0, r1, ... go to the table slots listed at `slots`, but for those whose slot is 0. */
// @ts-ignore: decorator
@external("host", "jitInstall") export declare function jitInstall(at: usize, length: u32, slots: usize, count: u32): void;
/** The compiler begins (1) or ends (0) work: for the clock of its host. */
// @ts-ignore: decorator
@external("host", "jitPhase") export declare function jitPhase(busy: u32): void;
/** The table slots are no longer used. */
// @ts-ignore: decorator
@external("host", "jitReset") export declare function jitReset(first: u32, count: u32): void;

/** Eight bytes of the run's entropy for RDRAND and RDSEED, as two words: `word` is 0 or 1. */
// @ts-ignore: decorator
@external("host", "entropy") export declare function entropy(cpu: u32, word: u32): u32;
