// The compiler's working memory: one record at a fixed place, tables behind it. Only the pending batch, the region references and the
// counters outlive the emission of a region.
import { JIT_BASE } from "../layout";

/** Blocks of one region at most; a block that is reached through several calls counts for each. */
export const MAX_NODES: u32 = 250;
export const NO_NODE: u32 = 255;
export const MAX_PAGES: u32 = 24;
export const MAX_CONTEXTS: u32 = 64;
export const MAX_BATCH: u32 = 64;

/** What is known about the arithmetic flags while code is emitted. */
export namespace Fl {
  export const MEM: u32 = 0; // in the Cpu record
  export const DYN: u32 = 1; // in locals, in the form of the record
  export const ADD: u32 = 2; // first operand and result in locals, unextended; size in `flagSize`
  export const SUB: u32 = 3;
  export const LOGIC: u32 = 4;
  export const SHL: u32 = 5; // count in `flagCount`
  export const SHR: u32 = 6;
  export const SAR: u32 = 7;
  export const FCMP: u32 = 8; // doubles in locals: see sse-flags.ts
  export const BITS: u32 = 9; // the flags at their places in EFLAGS, in the local of a 32-bit result
  export const ADC: u32 = 10; // like ADD and SUB, with the carry that came in in a local of its own
  export const SBB: u32 = 11;
}
/** INC or DEC behind the operation that CF comes from; the result in a local of its own. */
export namespace Step {
  export const NONE: u32 = 0;
  export const INC: u32 = 1;
  export const DEC: u32 = 2;
}
/** Operations that replaced CF and OF alone, or CF. */
export namespace Over {
  export const NONE: u32 = 0;
  export const ROL: u32 = 1; // result in a local
  export const ROR: u32 = 2;
  export const MUL32: u32 = 3; // the whole product
  export const MUL64: u32 = 4; // both factors
  export const BOTH: u32 = 5; // their common value
  export const CARRY: u32 = 6; // CF; OF is that of what is below
}

/** Why compiled code returned to the interpreter's loop, other than by a branch. */
export namespace Left {
  export const READ: u32 = 0; // an operand that is not plain RAM, crosses pages, or is watched
  export const WRITE: u32 = 1; // the same, or code lies there
  export const REFUSED: u32 = 2; // an operation or a case of one that has no emitter
  export const STOP: u32 = 3; // a thick operation asked for it: an event, code that was dropped, another mode
  export const END: u32 = 4; // a thick operation that ends its block
  export const FAULT: u32 = 5;
  export const BUDGET: u32 = 6; // shorter than the block
  export const WINDOW: u32 = 7; // accesses near one register lie in several pages, or one of them in a page that is not plain RAM
  export const COUNT: u32 = 8;
}

@unmanaged
export class Jit {
  // settings and counters
  threshold: u32; // executions of a block before it is compiled; 0: the compiler is off
  batch: u32; // regions in a module
  maxSlots: u32;
  pendingRegions: u32; // emitted and not yet live
  pendingAt: u64; // instruction count when the oldest of them came
  slots: u32; // table slots in use
  slotBase: u32;
  regions: u64;
  modules: u64;
  compiledInsns: u64;
  moduleBytes: u64;
  resets: u64;
  entries: u64; // of regions, from the interpreter's loop
  enteredAt: u64; // instruction count at the entry in progress, ~0 outside
  executed: u64; // instructions in them
  dropped: u64;
  refs: u32; // page references that were handed out
  freeRef: u32;
  abandoned: u32; // regions that could not be compiled
  regrown: u32; // regions that were compiled again with more around them
  grown: u32; // the region at hand is one of those
  maxInsns: u32; // instructions of one region at most, when it is compiled first
  regrowAfter: i32; // transitions from a region to another one before it is compiled again, with what follows in it
  missed: u32; // window for which the region was left
  evicted: u32; // a slow access would have taken an entry of the TLB from an open window
  deliver: u32; // page faults of compiled code and of string instructions are delivered in place, not by the host
  cpu: usize; // that regions are compiled for
  tableRead: usize; // of its TLB, of the mode's privilege
  tableWrite: usize;
  without: u32; // windows that the region does not get
  guards: u32; // words of guards in use
  lastOut: usize; // block whose dynamic branch led out of a region, 0 when none did since the last entry
  // output
  at: usize;
  hintAt: usize;
  bodyStart: usize;
  // the region
  nodes: u32;
  pages: u32;
  contexts: u32;
  insns: u32;
  mode: u32;
  wide: u32; // registers are 64-bit locals
  code64: u32;
  entryOff: u32; // page offset of the entry
  entryLin: u64;
  reached: u32; // nodes that can be reached
  used: u32; // registers that appear, by number
  everDirty: u32; // registers that are written
  xused: u32; // the same for XMM registers
  xeverDirty: u32;
  pageSlots: u32; // see page-slots.ts
  windows: u32; // see windows.ts
  windowOffset: i32; // of the address at hand in its window
  windowsOpen: u32; // on the way to this point, by number
  windowsWrite: u32; // those that may be written to
  values: u32; // numbers that were given to values of registers
  takenValue: u32;
  takenDistance: i32;
  addressValue: u32; // of the register in the address on the stack, 0: none
  addressDistance: i32;
  key: i32; // index register of the address on the stack, -1: none
  xany: u32; // there is SSE code at all
  xguard: u32; // the guard of sse-reg.ts is used
  pass: u32;
  labels: u32; // depth of the label stack
  long: u32; // EFER.LMA when regions were compiled
  failed: u32; // the region cannot be compiled
  points: u32; // saved points of the emission
  // the block
  node: u32;
  block: usize;
  delta: i32; // of its start from the entry
  ip: usize;
  // the state at this point of the emission; see `Point`
  pending: i32; // instructions of finished blocks that `left` does not know yet
  dirty: u32; // registers whose locals are newer than the record
  cleaned: u32; // the current block wrote everything back
  verified: u32; // pages whose mapping was checked on every way here
  flagKind: u32;
  flagSize: u32;
  flagCount: u32;
  stepKind: u32;
  stepSize: u32;
  overKind: u32;
  overSize: u32;
  touched: u32; // the current block changed the flags
  xdirty: u32; // XMM registers, as `dirty`
  xstate0: u64; xstate1: u64; // a byte a register: where its value is
  xfacts0: u64; xfacts1: u64; // what is known of it
  fpuCalm: u32; // no x87 exception is pending or unmasked
}

// @ts-ignore: decorator
@inline export function jit(): Jit { return changetype<Jit>(JIT_BASE); }

// @ts-ignore: decorator
@inline export function countExit(reason: u32): void { store<u64>(EXITS + (<usize>reason << 3), load<u64>(EXITS + (<usize>reason << 3)) + 1); }

// Tables, one entry a node unless said otherwise.
export const NODE_BLOCK: usize = JIT_BASE + 0x400; // u32
export const NODE_DELTA: usize = JIT_BASE + 0x800; // i32: linear distance from the entry
export const NODE_DIRTY_IN: usize = JIT_BASE + 0xc00; // u32
export const NODE_DIRTY_GEN: usize = JIT_BASE + 0x1000; // u32, bit 31: cleaned
export const NODE_VERIFIED: usize = JIT_BASE + 0x1400; // u32: pages, at its end
export const NODE_FLAGS_IN: usize = JIT_BASE + 0x1800; // u32: packed state of the flags
export const NODE_FLAGS_OUT: usize = JIT_BASE + 0x1c00; // u32
export const NODE_PATH: usize = JIT_BASE + 0x2000; // u32: instructions from here to the next budget check at most
export const NODE_CONTEXT: usize = JIT_BASE + 0x2400; // u8
export const NODE_PAGE: usize = JIT_BASE + 0x2500; // u8
export const NODE_PAGE2: usize = JIT_BASE + 0x2600; // u8, NO_NODE when it stays in one
export const NODE_TAKEN: usize = JIT_BASE + 0x2700; // u8
export const NODE_FALL: usize = JIT_BASE + 0x2800; // u8
export const NODE_PLACE: usize = JIT_BASE + 0x2900; // u8: position in reverse postorder, NO_NODE while unknown
export const NODE_IDOM: usize = JIT_BASE + 0x2a00; // u8
export const NODE_HEADER: usize = JIT_BASE + 0x2b00; // u8: an edge leads back to it
export const NODE_WAYS: usize = JIT_BASE + 0x2c00; // u8: forward edges to it
export const ORDER: usize = JIT_BASE + 0x2d00; // u8 by position
export const LABELS: usize = JIT_BASE + 0x2e00; // u16 by depth: kind << 8 | node
export const CONTEXT_PARENT: usize = JIT_BASE + 0x3200; // u8 by context
export const CONTEXT_DEPTH: usize = JIT_BASE + 0x3240; // u8
export const CONTEXT_RETURN: usize = JIT_BASE + 0x3300; // i32: delta of the return address
export const CONTEXT_CALLEE: usize = JIT_BASE + 0x3400; // i32: delta of the function
export const PAGE_DELTA: usize = JIT_BASE + 0x3500; // i32 by page: pages from the entry's
export const PAGE_NUMBER: usize = JIT_BASE + 0x3600; // u32: physical
export const PAGE_LINES: usize = JIT_BASE + 0x3700; // u64
export const STACK: usize = JIT_BASE + 0x3800; // scratch
/** Saved points: see flow.ts. */
export const POINTS: usize = JIT_BASE + 0x3f_0000;
export const MAX_POINTS: u32 = 512;
export const NODE_XDIRTY_IN: usize = JIT_BASE + 0x5000; // u32
export const NODE_XDIRTY_GEN: usize = JIT_BASE + 0x5400; // u32, bit 31: cleaned
export const NODE_LOOP: usize = JIT_BASE + 0x5800; // u8: lies in a small loop
export const SLOT_USES: usize = JIT_BASE + 0x5900; // u8 by index register
export const SLOT_OF: usize = JIT_BASE + 0x5910; // u8 by index register: its page slot + 1
export const NODE_MET: usize = JIT_BASE + 0x9800; // u8: a way to it was emitted
export const VALUES: usize = JIT_BASE + 0x5a00; // u32 number, i32 distance by register
export const WINDOW_LO: usize = JIT_BASE + 0x6000; // i32 by value: distances of the first byte and of what follows the last
export const WINDOW_HI: usize = JIT_BASE + 0x7000;
export const WINDOW_COUNT: usize = JIT_BASE + 0x8000; // u32 by value: accesses
export const WINDOW_OF: usize = JIT_BASE + 0x9400; // u8 by value: its window
/** The values of registers at saved points: see windows.ts. */
export const VALUE_POINTS: usize = JIT_BASE + 0x4a_0000;
export const ENTRIES: usize = JIT_BASE + 0x3a00; // u32 by function of the batch: its entry block
export const ENTRY_SLOTS: usize = JIT_BASE + 0x3b00; // u32 by function of the batch: its table slot, 0 when it is not wanted any more
export const HINT_ENDS: usize = JIT_BASE + 0x3c00; // u32 by function of the batch: where its hints end
export const EXITS: usize = JIT_BASE + 0x3e00; // u64 by Left: how often
export const BOUNCE: usize = JIT_BASE + 0x3f00; // an operand that crosses pages
export const OUT: usize = JIT_BASE + 0x1_0000; // the module
export const BODIES: usize = JIT_BASE + 0x8_0000; // code bodies, before they are moved behind the header
/** 8 bytes by slot: u32 entry block, i32 how many more regions may follow this one before it is compiled again. */
export const SLOTS: usize = JIT_BASE + 0x30_0000;
export const MAX_SLOTS: u32 = 0x8000;
export const HINTS: usize = JIT_BASE + 0x40_0000; // u32: offset in the body << 1 | likely
/** By function of the batch, for its host's log: u32 count, then u32 block and i32 linear distance from the entry of each node. */
export const REGION_LOG: usize = JIT_BASE + 0x4e_0000;
export const REGION_LOG_BYTES: usize = 4 + <usize>MAX_NODES * 8;
/** Number of the pseudo XMM register in the record where `jitSse` leaves its result; the source follows. */
export const SLOW_REG: u32 = 0x50;
