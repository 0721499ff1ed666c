// The compiler's working memory: one record at a fixed place, tables behind it. Nothing in it outlives a batch but the queue and the counters.
import { JIT_BASE } from "../layout";

/** Blocks of one region at most: sets of them are 64-bit masks. */
export const MAX_NODES: u32 = 64;
export const MAX_REGION_INSNS: u32 = 400;
export const MAX_BATCH: u32 = 64;
export const NO_NODE: u32 = 255;

/** What is known about the arithmetic flags while code is emitted. */
export namespace Fl {
  export const MEM: u32 = 0; // in the Cpu record
  export const DYN: u32 = 1; // in locals, in the form of the record
  export const ADD: u32 = 2; // first operand and result in locals, unextended; size in `flagSize`
  export const SUB: u32 = 3;
  export const LOGIC: u32 = 4;
  export const INC: u32 = 5; // the old carry in a local of its own
  export const DEC: u32 = 6;
  export const SHL: u32 = 7; // count in `flagCount`
  export const SHR: u32 = 8;
  export const SAR: u32 = 9;
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
  export const COUNT: u32 = 7;
}

@unmanaged
export class Jit {
  // settings and counters
  threshold: u32; // executions of a block before it is compiled; 0: the compiler is off
  batch: u32; // regions in a module
  maxSlots: u32;
  queued: u32;
  queuedAt: u64; // instruction count when the oldest entry of the queue came
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
  // output
  at: usize;
  hintAt: usize;
  bodyStart: usize;
  // the region
  nodes: u32;
  insns: u32;
  mode: u32;
  wide: u32; // registers are 64-bit locals
  code64: u32;
  entryOff: u32; // page offset of the entry
  used: u32; // registers that appear, by number
  dirty: u32; // registers whose locals are newer than the record, at this point
  cleaned: u32; // the current block wrote everything back
  pass: u32;
  flagKind: u32;
  flagSize: u32;
  flagCount: u32;
  labels: u32; // depth of the label stack
  position: u32; // of the block being emitted, in `order`
  long: u32; // EFER.LMA when regions were compiled
  // the block
  block: usize;
  delta: i32; // of its start from the entry
  ip: usize;
}

// @ts-ignore: decorator
@inline export function jit(): Jit { return changetype<Jit>(JIT_BASE); }

// @ts-ignore: decorator
@inline export function countExit(reason: u32): void { store<u64>(EXITS + (<usize>reason << 3), load<u64>(EXITS + (<usize>reason << 3)) + 1); }

// Tables, one entry a node unless said otherwise.
export const NODE_BLOCK: usize = JIT_BASE + 0x400; // u32
export const NODE_OFF: usize = JIT_BASE + 0x500; // u32: page offset
export const NODE_TAKEN: usize = JIT_BASE + 0x600; // u8
export const NODE_FALL: usize = JIT_BASE + 0x640; // u8
export const NODE_PREDS: usize = JIT_BASE + 0x700; // u64
export const NODE_DOM: usize = JIT_BASE + 0x900; // u64
export const NODE_LOOP: usize = JIT_BASE + 0xb00; // u64: body when it is the header of a loop
export const NODE_DIRTY_IN: usize = JIT_BASE + 0xd00; // u32
export const NODE_DIRTY_GEN: usize = JIT_BASE + 0xe00; // u32, bit 31: cleaned
export const ORDER: usize = JIT_BASE + 0xf00; // u8 by position
export const LABELS: usize = JIT_BASE + 0x1000; // u16 by depth: kind << 8 | node
export const STACK: usize = JIT_BASE + 0x1200; // scratch
export const QUEUE: usize = JIT_BASE + 0x1400; // u32 blocks
export const SIZES: usize = JIT_BASE + 0x1800; // u32 by function of the batch: start of its body
export const EXITS: usize = JIT_BASE + 0x1c00; // u64 by Left: how often
export const BOUNCE: usize = JIT_BASE + 0x1f00; // an operand that crosses pages
export const OUT: usize = JIT_BASE + 0x1_0000; // the module
export const HINTS: usize = JIT_BASE + 0x40_0000; // u32: offset in the body << 1 | likely
export const HINT_ENDS: usize = JIT_BASE + 0x1a00; // u32 by function of the batch: where its hints end
export const BODIES: usize = JIT_BASE + 0x8_0000; // code bodies, before they are moved behind the header
