// Page walks: SDM vol. 3, 4.3 (32-bit), 4.4 (PAE), 4.5 (4-level). One walker over the entry type.
import { Cpu, NO_MISS, CR0_PG, CR0_WP, CR4_PAE, CR4_PGE, CR4_PSE, EFER_LMA, EFER_NXE } from "../cpu/state";
import { pageFault } from "../cpu/fault";
import { hostOf, readPhys, writePhys } from "./physical";

// Access kinds; also bits of the page-fault error code.
export const WRITE: u32 = 2;
export const USER: u32 = 4;
export const FETCH: u32 = 16;

// Facts about the page, in the low bits of the result.
export const WALK_GLOBAL: u64 = 1;
export const WALK_LARGE: u64 = 2; // 2 or 4 MiB
export const WALK_HUGE: u64 = 4; // 1 GiB

const P: u64 = 1;
const W: u64 = 2;
const U: u64 = 4;
const A: u64 = 0x20;
const D: u64 = 0x40;
const PS: u64 = 0x80;
const G: u64 = 0x100;
const NX: u64 = 0x8000_0000_0000_0000;
const PHYS_BITS: u64 = 40; // as CPUID 8000_0008 reports
const ADDRESS: u64 = 0x0000_00ff_ffff_f000;

/** Physical address of the 4 KiB page that holds `lin`, with WALK_ bits. `probe` 1: no fault, no accessed bit, ~0 when not mapped; 2: no fault, ~0 when there would be one. */
export function walk(cpu: Cpu, lin: u64, access: u32, probe: u32): u64 {
  if (!(cpu.cr0 & CR0_PG)) return (lin & ~0xfff & <u64><i64><i32>cpu.a20Mask) & 0x0000_ffff_ffff_f000;
  return cpu.cr4 & CR4_PAE ? walkLevels<u64>(cpu, lin, access, probe) : walkLevels<u32>(cpu, lin, access, probe);
}

function missed(cpu: Cpu, lin: u64, code: u32): u64 {
  cpu.missLin = lin;
  cpu.missCode = code;
  return ~0;
}

function walkLevels<E>(cpu: Cpu, lin: u64, access: u32, probe: u32): u64 {
  const wide = sizeof<E>() == 8;
  const long = wide && (cpu.efer & EFER_LMA) != 0;
  const bits: u64 = wide ? 9 : 10;
  const nxe = wide && (cpu.efer & EFER_NXE) != 0;
  const a20: u64 = <u64><i64><i32>cpu.a20Mask;
  let level = long ? 4 : wide ? 3 : 2;
  let table: u64 = long ? cpu.cr3 & ADDRESS : wide ? cpu.cr3 & 0xffff_ffe0 : cpu.cr3 & 0xffff_f000;
  let allow: u64 = W | U;
  let noExec: u64 = 0;
  const code: u32 = (access & (WRITE | USER)) | (nxe ? access & FETCH : 0);
  const entries: StaticSlots = changetype<StaticSlots>(SLOTS);
  let depth = 0;
  let entry: u64 = 0;
  let where: u64 = 0;
  let result: u64 = 0;
  for (;;) {
    const shift: u64 = 12 + bits * <u64>(level - 1);
    const pdpte = wide && !long && level == 3;
    const slot = pdpte ? (lin >> 30) & 3 : (lin >> shift) & (((<u64>1) << bits) - 1);
    where = (table + slot * sizeof<E>()) & a20;
    if (probe && !hostOf(where)) {
      // a table in a device: only the access itself may read it
      cpu.missCode = NO_MISS;
      return ~0;
    }
    entry = <u64>readPhys<E>(cpu, where);
    if (!(entry & P)) {
      if (probe) return missed(cpu, lin, code);
      pageFault(cpu, lin, code);
    }
    let reserved: u64 = 0;
    if (wide) {
      reserved = 0x000f_ffff_ffff_f000 & ~ADDRESS;
      if (!nxe) reserved |= NX;
      if (pdpte) reserved = (0xffff_ffff_ffff_f000 & ~ADDRESS) | 0x1e6;
      else if (level == 4) reserved |= PS;
      else if (!long) reserved |= 0x7ff0_0000_0000_0000;
    }
    const large = (entry & PS) != 0 && !pdpte && (level == 2 || (level == 3 && long)) && (wide || (cpu.cr4 & CR4_PSE) != 0);
    if (large) {
      if (wide) reserved |= (((<u64>1) << shift) - 1) & 0xffff_ffff_ffff_e000;
      else reserved = 0x20_0000; // PSE-36 bits 13-20 hold address bits 32-39
    }
    if (entry & reserved) {
      if (probe) return missed(cpu, lin, code | 9);
      pageFault(cpu, lin, code | 9);
    }
    if (!pdpte) {
      allow &= entry;
      noExec |= entry & NX;
    }
    changetype<StaticSlots>(SLOTS + <usize>depth * 16).where = where;
    changetype<StaticSlots>(SLOTS + <usize>depth * 16).entry = pdpte ? entry | A : entry;
    depth++;
    if (level == 1 || large) {
      const denied =
        ((access & USER) != 0 && !(allow & U)) ||
        ((access & WRITE) != 0 && !(allow & W) && ((access & USER) != 0 || (cpu.cr0 & CR0_WP) != 0)) ||
        ((access & FETCH) != 0 && nxe && noExec != 0);
      if (denied) {
        if (probe) return missed(cpu, lin, code | 1);
        pageFault(cpu, lin, code | 1);
      }
      if (large) {
        if (wide) {
          const size = (<u64>1) << shift;
          result = ((entry & ADDRESS & ~(size - 1)) | (lin & (size - 1) & ~0xfff));
          result |= level == 3 ? WALK_HUGE : WALK_LARGE;
        } else {
          result = (entry & 0xffc0_0000) | ((entry & 0x1f_e000) << 19) | (lin & 0x3f_f000) | WALK_LARGE;
        }
      } else result = entry & (wide ? ADDRESS : 0xffff_f000);
      break;
    }
    table = entry & (wide ? ADDRESS : 0xffff_f000);
    level--;
  }
  if (probe != 1) {
    const last = depth - 1;
    for (let k = 0; k <= last; k++) {
      const s = changetype<StaticSlots>(SLOTS + <usize>k * 16);
      const want = s.entry | A | (k == last && (access & WRITE) != 0 ? D : 0);
      if (want != s.entry) writePhys<E>(cpu, s.where, <E>want);
    }
  }
  result = (result & ~0xfff & a20) | (result & 7);
  if ((entry & G) != 0 && (cpu.cr4 & CR4_PGE) != 0) result |= WALK_GLOBAL;
  return result;
}

@unmanaged
class StaticSlots {
  where: u64;
  entry: u64;
}
const SLOTS: usize = 0x000f_2000;
