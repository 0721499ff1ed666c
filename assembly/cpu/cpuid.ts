// CPUID by table. The host writes rows { leaf, subleaf or ~0, eax, ebx, ecx, edx } at CPU_CPUID, ended by leaf ~0; the few bits that follow the CPU's
// state are added here. SDM vol. 2, CPUID.
import { CPU_CPUID, CPU_CPUID_ROWS } from "../layout";
import { is64 } from "./segment";
import { CR4_OSXSAVE, Cpu } from "./state";

const ROW: usize = 24;
const ANY: u32 = 0xffff_ffff;
const APIC: u32 = 0x200;

/** Row of a leaf and subleaf, or 0. */
function find(cpu: Cpu, leaf: u32, subleaf: u32): usize {
  let row = changetype<usize>(cpu) + CPU_CPUID;
  for (let n: u32 = 0; n < CPU_CPUID_ROWS; n++) {
    const l = load<u32>(row);
    if (l == ANY) break;
    if (l == leaf) {
      const s = load<u32>(row, 4);
      if (s == ANY || s == subleaf) return row;
    }
    row += ROW;
  }
  return 0;
}

/** The APIC bit of leaf 1 follows the enable bit of IA32_APIC_BASE (SDM vol. 3, 10.4.3). */
export function showApic(cpu: Cpu, enabled: bool): void {
  const row = find(cpu, 1, 0);
  if (row == 0) return;
  const edx = load<u32>(row, 20) & ~APIC;
  store<u32>(row, enabled ? edx | APIC : edx, 20);
}

/** The CPUID instruction: EAX and ECX in, EAX to EDX out. */
export function executeCpuid(cpu: Cpu): void {
  let leaf = <u32>cpu.rax;
  const subleaf = <u32>cpu.rcx;
  const range = leaf & 0xf000_0000;
  const first = find(cpu, range, 0);
  // Beyond the highest leaf of a range the highest basic leaf answers.
  if (first == 0 || leaf > load<u32>(first, 8)) leaf = load<u32>(find(cpu, 0, 0), 8);
  const row = find(cpu, leaf, subleaf);
  let eax: u32 = 0, ebx: u32 = 0, ecx: u32 = 0, edx: u32 = 0;
  if (row != 0) {
    eax = load<u32>(row, 8);
    ebx = load<u32>(row, 12);
    ecx = load<u32>(row, 16);
    edx = load<u32>(row, 20);
  }
  if (leaf == 1) {
    ebx = (ebx & 0x00ff_ffff) | (cpu.id << 24);
    if ((cpu.cr4 & CR4_OSXSAVE) != 0) ecx |= 0x0800_0000;
  } else if (leaf == 11) {
    edx = cpu.id;
    if (row == 0) ecx = subleaf & 0xff;
  } else if (leaf == 0x8000_0001 && !is64(cpu)) edx &= ~<u32>0x800; // SYSCALL exists in 64-bit mode only
  cpu.rax = <u64>eax;
  cpu.rbx = <u64>ebx;
  cpu.rcx = <u64>ecx;
  cpu.rdx = <u64>edx;
}
