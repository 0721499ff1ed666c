// The cache of decoded blocks. Found by hash of physical address and mode; dropped by 64-byte line when somebody writes to the code.
import { Cpu, Mode, cpuAt } from "../cpu/state";
import { ARENA, ARENA_END, BLOCK_HASH, BLOCK_HASH_BITS, CLEAN_ENTRIES, CLEAN_WRITES, CPU_JUMP, CPU_SCRATCH, JUMP_ENTRIES } from "../layout";
import { shared } from "../machine";
import { Vector, faultCode } from "../cpu/fault";
import { Insn, INSN_BYTES } from "../decode/insn";
import { decodeBlock, MAX_BLOCK_BYTES } from "../decode/decoder";
import { INFO_HEAD, INFO_LINES, hostOf, pageInfo } from "../mmu/physical";
import { fetchEntryAt, fillEntry, newGeneration, noteCodePage, watchPage } from "../mmu/tlb";
import { WALK_GLOBAL } from "../mmu/walk";
import { noteFetch, translateFetch } from "../mmu/access";
import { dropRegionsAt, releaseSlots } from "../jit/queue";
import { jit } from "../jit/state";
import { patchBehind } from "./mode";
import {
  BLOCK_HASH_NEXT, BLOCK_HEADER, BLOCK_HEAT, BLOCK_LENGTH, BLOCK_LIN, BLOCK_MODE, BLOCK_PAGE2_NEXT, BLOCK_PAGE_NEXT, BLOCK_PHYS, BLOCK_NEXT, BLOCK_PHYS2, BLOCK_RECORDS, BLOCK_VALID,
} from "./block-layout";

const NONE: u64 = ~0;
const MANY: u64 = ~1;

// @ts-ignore: decorator
@inline function hashSlot(phys: u64, mode: u32): usize {
  const h = (<u32>phys ^ (mode << 9)) * 0x9e37_79b1;
  return BLOCK_HASH + (<usize>(h >> (32 - BLOCK_HASH_BITS)) << 2);
}

/** Physical address of the instruction at `lin`, through the fetch TLB; faults when it cannot be fetched. */
function fetchPhys(cpu: Cpu, lin: u64): u64 {
  const e = fetchEntryAt(cpu.tlbExec, lin);
  if (load<u64>(e) == (lin & ~0xfff)) {
    cpu.localCode |= load<u32>(e, 8);
    return (<u64>load<u32>(e, 12) << 12) | (lin & 0xfff);
  }
  const facts = translateFetch(cpu, lin, 0);
  noteFetch(cpu, lin, facts);
  // There is no addend in the fetch table: the word says whether the page is local to the address space.
  const local = u32((facts & WALK_GLOBAL) == 0 && cpu.cpl != 3);
  cpu.localCode |= local;
  fillEntry(cpu, e, lin & ~0xfff, local, <u32>(facts >> 12), (facts & WALK_GLOBAL) != 0);
  return (facts & ~0xfff) | (lin & 0xfff);
}

/**
 * The block at Cpu.rip; decodes it when it is new. Faults like the fetch of the first instruction.
 * Outside flat modes a block that would run over the segment limit is executed one instruction at a time, uncached.
 */
export function findBlock(cpu: Cpu): usize {
  const rip = cpu.rip;
  const flat = (cpu.mode & Mode.FLAT) != 0;
  const lin = (rip + cpu.csBase) & cpu.addrMask;
  if (!flat && rip > <u64>cpu.csLimit) faultCode(cpu, Vector.GP, 0);
  const phys = fetchPhys(cpu, lin);
  const mode = cpu.mode;
  let block = <usize>load<u32>(hashSlot(phys, mode));
  while (block) {
    if (load<u64>(block, BLOCK_PHYS) == phys && load<u32>(block, BLOCK_MODE) == mode) {
      const phys2 = load<u64>(block, BLOCK_PHYS2);
      if (phys2 == NONE || phys2 == secondPage(cpu, lin, false)) break;
    }
    block = <usize>load<u32>(block, BLOCK_HASH_NEXT);
  }
  if (!block) block = newBlock(cpu, lin, phys);
  if (flat) {
    if (!load<u16>(block, BLOCK_VALID)) return block; // code on the bus
    const e = jumpEntry(cpu, lin);
    store<u64>(e, lin);
    store<u32>(e, cpu.jumpKey, 8);
    store<u32>(e, <u32>block, 12);
    if (load<u64>(block, BLOCK_LIN) != lin) store<u64>(block, load<u64>(block, BLOCK_LIN) == NONE ? lin : MANY, BLOCK_LIN);
    noteCodePage(cpu, lin);
    if (load<u64>(block, BLOCK_PHYS2) != NONE) noteCodePage(cpu, lin + 0x1000);
  } else if (rip + <u64>load<u16>(block, BLOCK_LENGTH) - 1 > <u64>cpu.csLimit) {
    block = scratchBlock(cpu, 1);
    if (rip + <u64>load<u16>(block, BLOCK_LENGTH) - 1 > <u64>cpu.csLimit) faultCode(cpu, Vector.GP, 0);
  }
  return block;
}

// @ts-ignore: decorator
@inline export function jumpEntry(cpu: Cpu, lin: u64): usize {
  return changetype<usize>(cpu) + CPU_JUMP + ((<usize>(lin ^ (lin >> 11)) & (JUMP_ENTRIES - 1)) << 4);
}

function secondPage(cpu: Cpu, lin: u64, must: bool): u64 {
  const next = ((lin | 0xfff) + 1) & cpu.addrMask;
  if (must) return fetchPhys(cpu, next);
  const facts = translateFetch(cpu, next, 1);
  if (facts == NONE) return NONE - 1;
  cpu.localCode |= u32((facts & WALK_GLOBAL) == 0 && cpu.cpl != 3);
  return facts & ~0xfff;
}

/** The block that begins at a physical address, if it has been decoded. */
export function knownBlock(phys: u64, mode: u32): usize {
  let block = <usize>load<u32>(hashSlot(phys, mode));
  while (block) {
    if (load<u64>(block, BLOCK_PHYS) == phys && load<u32>(block, BLOCK_MODE) == mode) return block;
    block = <usize>load<u32>(block, BLOCK_HASH_NEXT);
  }
  return 0;
}

/** Decodes at most `limit` instructions at Cpu.rip into the CPU's scratch block, which no cache knows. */
export function scratchBlock(cpu: Cpu, limit: u32): usize {
  const lin = (cpu.rip + cpu.csBase) & cpu.addrMask;
  const phys = fetchPhys(cpu, lin);
  const block = changetype<usize>(cpu) + CPU_SCRATCH;
  build(cpu, block, lin, phys, limit);
  store<u16>(block, 0, BLOCK_VALID);
  return block;
}

/** Decodes into `block`; reaches into the next page when the first instruction does. Returns the second page or NONE. */
function build(cpu: Cpu, block: usize, lin: u64, phys: u64, limit: u32): u64 {
  store<u64>(block, phys, BLOCK_PHYS);
  store<u32>(block, cpu.mode, BLOCK_MODE);
  store<u64>(block, NONE, BLOCK_PHYS2);
  store<i32>(block, 0, BLOCK_HEAT);
  store<u64>(block, 0, BLOCK_NEXT);
  store<u64>(block, NONE, BLOCK_LIN);
  if (decodeBlock(cpu, block, phys, NONE, limit)) return NONE;
  const page2 = secondPage(cpu, lin, true);
  decodeBlock(cpu, block, phys, page2, 1);
  store<u64>(block, page2, BLOCK_PHYS2);
  return page2;
}

function newBlock(cpu: Cpu, lin: u64, phys: u64): usize {
  const s = shared();
  if (s.arenaNext + MAX_BLOCK_BYTES > ARENA_END) dropAll();
  const block = s.arenaNext;
  const page2 = build(cpu, block, lin, phys, 64);
  if (!hostOf(phys) || (page2 != NONE && !hostOf(page2))) return scratchBlock(cpu, 1); // code on the bus is never cached
  s.arenaNext += BLOCK_HEADER + (<usize>load<u16>(block, BLOCK_RECORDS) + 1) * INSN_BYTES;
  s.blocksDecoded++;
  const flat = (cpu.mode & Mode.FLAT) != 0 && (cpu.mode & Mode.SIZE) != Mode.CODE16;
  if (flat) store<i32>(block, <i32>jit().threshold, BLOCK_HEAT);
  store<u16>(block, 1, BLOCK_VALID);
  const slot = hashSlot(phys, cpu.mode);
  store<u32>(block, load<u32>(slot), BLOCK_HASH_NEXT);
  store<u32>(slot, <u32>block);
  const length = <u32>load<u16>(block, BLOCK_LENGTH);
  const inFirst = page2 == NONE ? length : 0x1000 - (<u32>phys & 0xfff);
  join(phys & ~0xfff, block, BLOCK_PAGE_NEXT, <u32>phys & 0xfff, inFirst);
  if (page2 != NONE) join(page2, block, BLOCK_PAGE2_NEXT, 0, length - inFirst);
  return block;
}

// The two page lists are threaded through different fields; the low bit of a link says which field of that block continues.
function join(page: u64, block: usize, link: usize, from: u32, length: u32): void {
  const info = pageInfo(page);
  shared().joins++;
  if (load<u64>(info, INFO_LINES) == 0) watchPage(<u32>(page >> 12));
  store<u32>(block + link, load<u32>(info, INFO_HEAD));
  store<u32>(info, <u32>block | (link == BLOCK_PAGE2_NEXT ? 1 : 0), INFO_HEAD);
  store<u64>(info, load<u64>(info, INFO_LINES) | lines(from, length), INFO_LINES);
}

/** The 64-byte lines of a page that a range touches, as a mask. */
export function lines(from: u32, length: u32): u64 {
  const first = from >> 6, last = (from + length - 1) >> 6;
  return (<u64>-1 << <u64>first) & (<u64>-1 >> (63 - <u64>last));
}

/**
 * Somebody writes `length` bytes, which stay in one page: blocks decoded from them go, and the regions of those lines. Programs spin on variables beside their code: a
 * write that hit no block hits none until another block is decoded.
 */
export function dropCode(cpu: Cpu, phys: u64, length: u32): void {
  const info = pageInfo(phys);
  const from = <u32>phys & 0xfff;
  if (!(load<u64>(info, INFO_LINES) & lines(from, length))) return;
  const key = phys | (<u64>length << 48);
  const clean = CLEAN_WRITES + (<usize>(<u32>phys & (CLEAN_ENTRIES - 1)) << 4);
  if (load<u64>(clean) == key && load<u64>(clean, 8) == shared().joins) return;
  const page = phys & ~0xfff;
  let link: usize = 0; // where the link to the current block is stored; 0: the page's head
  let at = load<u32>(info, INFO_HEAD);
  let kept: u64 = 0;
  let dropped = false;
  let everywhere = false; // the jump caches must be emptied
  while (at) {
    const block = <usize>(at & ~1);
    const field = at & 1 ? BLOCK_PAGE2_NEXT : BLOCK_PAGE_NEXT;
    const next = load<u32>(block + field);
    const start = load<u64>(block, BLOCK_PHYS);
    const bytes = <u32>load<u16>(block, BLOCK_LENGTH);
    let first: u32, size: u32;
    if (at & 1) {
      first = 0;
      size = bytes - (0x1000 - (<u32>start & 0xfff));
    } else {
      first = <u32>start & 0xfff;
      size = load<u64>(block, BLOCK_PHYS2) == NONE ? bytes : 0x1000 - first;
    }
    if (first < from + length && from < first + size) {
      dropped = true;
      if (!forgetJump(block)) everywhere = true;
      if (link) store<u32>(link, next);
      else store<u32>(info, next, INFO_HEAD);
      unlinkBlock(block, at & 1 ? start & ~0xfff : load<u64>(block, BLOCK_PHYS2), (at & 1) == 0);
      leaveIfCurrent(block);
    } else {
      kept |= lines(first, size);
      link = block + field;
    }
    at = next;
  }
  store<u64>(info, kept, INFO_LINES);
  if (!dropped) {
    store<u64>(clean, key);
    store<u64>(clean, shared().joins, 8);
    return;
  }
  // Regions are made of blocks that are there: what hits none of these hits no region.
  if (dropRegionsAt(info, lines(from, length))) everywhere = true;
  for (let c: u32 = 0; c < shared().cpus; c++) {
    const other = cpuAt(c);
    if (everywhere) newGeneration(other);
    other.leave = 1;
    // A scratch block may hold the beginning of a block that went.
    if (other.block == changetype<usize>(other) + CPU_SCRATCH && other.insn) patchBehind(other);
  }
}

/** Takes a block out of the jump caches; false when that takes emptying them, as they know it under several addresses. */
function forgetJump(block: usize): bool {
  const lin = load<u64>(block, BLOCK_LIN);
  if (lin == NONE) return true;
  if (lin == MANY) return false;
  for (let c: u32 = 0; c < shared().cpus; c++) {
    const e = jumpEntry(cpuAt(c), lin);
    if (load<u64>(e) == lin) store<u32>(e, ~0, 8);
  }
  return true;
}

/** Removes a block from the hash and from the list of its other page, if it has one. */
function unlinkBlock(block: usize, other: u64, otherIsSecond: bool): void {
  shared().blocksDropped++;
  store<u16>(block, 0, BLOCK_VALID);
  let slot = hashSlot(load<u64>(block, BLOCK_PHYS), load<u32>(block, BLOCK_MODE));
  while (<usize>load<u32>(slot) != block) {
    slot = <usize>load<u32>(slot) + BLOCK_HASH_NEXT;
  }
  store<u32>(slot, load<u32>(block, BLOCK_HASH_NEXT));
  if (load<u64>(block, BLOCK_PHYS2) == NONE) return;
  const me = <u32>block | (otherIsSecond ? 1 : 0);
  let at = pageInfo(other) + INFO_HEAD;
  while (load<u32>(at) != 0) {
    const here = load<u32>(at);
    const field = <usize>(here & ~1) + (here & 1 ? BLOCK_PAGE2_NEXT : BLOCK_PAGE_NEXT);
    if (here == me) {
      store<u32>(at, load<u32>(field));
      return;
    }
    at = field;
  }
}

/** A CPU in the middle of a block that is no more leaves it behind the instruction in flight. */
function leaveIfCurrent(block: usize): void {
  for (let c: u32 = 0; c < shared().cpus; c++) {
    const cpu = cpuAt(c);
    if (cpu.block == block && cpu.insn) patchBehind(cpu);
  }
}

/** Empties the cache. A block in flight stays readable until it is left: the arena is reused from the start only by the next `findBlock`. */
export function dropAll(): void {
  const s = shared();
  s.arenaNext = ARENA;
  s.arenaFlushes++;
  releaseSlots();
  memory.fill(BLOCK_HASH, 0, <usize>4 << BLOCK_HASH_BITS);
  for (let page: u64 = 0; page < s.ramBytes; page += 0x1000) {
    const info = pageInfo(page);
    if (load<u64>(info, INFO_LINES)) {
      store<u32>(info, 0, INFO_HEAD);
      store<u64>(info, 0, INFO_LINES);
    }
  }
  for (let k: u64 = 0; k < <u64>s.romBytes; k += 0x1000) {
    const info = pageInfo(0x1_0000_0000 - <u64>s.romBytes + k);
    store<u32>(info, 0, INFO_HEAD);
    store<u64>(info, 0, INFO_LINES);
  }
  for (let c: u32 = 0; c < s.cpus; c++) newGeneration(cpuAt(c));
}

/** DMA wrote physical memory. */
export function invalidate(cpu: Cpu, phys: u64, length: u64): void {
  const end = phys + length;
  while (phys < end) {
    const part = min(end, (phys | 0xfff) + 1) - phys;
    if (load<u64>(pageInfo(phys), INFO_LINES)) dropCode(cpu, phys, <u32>part);
    phys += part;
  }
}
