// Physical memory: RAM with the hole of the legacy video window, a ROM that ends at 4 GiB, everything else is the bus.
import { PAGE_INFO, RAM_BASE, ROM_BASE } from "../layout";
import { Cpu } from "../cpu/state";
import { shared } from "../machine";
import { mmioRead, mmioWrite } from "../imports";
import { dropCode } from "../interp/blocks";

// Per physical page, 16 bytes: u32 first block, u32 flags, u64 map of the 64-byte lines that decoded code came from.
export const INFO_HEAD: usize = 0;
export const INFO_FLAGS: usize = 4;
export const INFO_LINES: usize = 8;
export const INFO_ROM: u32 = 1; // guest writes are ignored
const FOUR_GIB: u64 = 0x1_0000_0000;

// @ts-ignore: decorator
@inline export function pageInfo(phys: u64): usize { return PAGE_INFO + ((<usize>(phys >> 12) & 0xf_ffff) << 4); }

/** Wasm address of a physical byte that is RAM or ROM, else 0. Holds for its whole 4 KiB page. */
export function hostOf(phys: u64): usize {
  const s = shared();
  if (phys < s.ramBytes) return (phys - 0xa_0000) < 0x2_0000 ? 0 : RAM_BASE + <usize>phys;
  if (phys < FOUR_GIB && phys >= FOUR_GIB - <u64>s.romBytes) return ROM_BASE + <usize>(phys - (FOUR_GIB - <u64>s.romBytes));
  return 0;
}

/** Whether a guest write to this page, which is RAM or ROM, is ignored. */
// @ts-ignore: decorator
@inline export function isRom(phys: u64): bool {
  return phys >= shared().ramBytes || (load<u32>(pageInfo(phys), INFO_FLAGS) & INFO_ROM) != 0;
}

/** Reads T at `phys`, which does not cross a page. */
export function readPhys<T>(cpu: Cpu, phys: u64): T {
  const host = hostOf(phys);
  if (host) return load<T>(host);
  if (sizeof<T>() == 8) {
    const lo = <u64>mmioRead(cpu.id, <u32>phys, <u32>(phys >> 32), 4);
    return <T>(lo | (<u64>mmioRead(cpu.id, <u32>phys + 4, <u32>(phys >> 32), 4) << 32));
  }
  return <T>mmioRead(cpu.id, <u32>phys, <u32>(phys >> 32), sizeof<T>());
}

/** Writes T at `phys`, which does not cross a page; drops code that was decoded from there. */
export function writePhys<T>(cpu: Cpu, phys: u64, value: T): void {
  const host = hostOf(phys);
  if (host) {
    if (isRom(phys)) return;
    if (load<u64>(pageInfo(phys), INFO_LINES)) dropCode(cpu, phys, sizeof<T>());
    store<T>(host, value);
  } else if (sizeof<T>() == 8) {
    mmioWrite(cpu.id, <u32>phys, <u32>(phys >> 32), 4, <u32>value);
    mmioWrite(cpu.id, <u32>phys + 4, <u32>(phys >> 32), 4, <u32>(<u64>value >> 32));
  } else mmioWrite(cpu.id, <u32>phys, <u32>(phys >> 32), sizeof<T>(), <u32>value);
}
