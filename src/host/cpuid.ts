import type { CpuidRow } from './core.js';

/** `v2`: x86-64-v2 with AES, PCLMULQDQ and SHA. `v1`: the first x86-64, with SSE2; what is not a vector instruction stays. */
export type CpuProfile = 'v1' | 'v2';

export interface CpuidOptions {
  arch: 'i386' | 'x86_64';
  /** Logical processors, each a core of its own. */
  cpus: number;
  /** Default `v2`. */
  profile?: CpuProfile;
  /** The local APIC's number; the core puts each CPU's own index in its place. */
  apicId?: number;
  /** The brand string, at most 47 characters. */
  brand?: string;
}

const ANY_SUBLEAF = 0xffff_ffff;
const MAX_BASIC = 0x16;
const MAX_EXTENDED = 0x8000_0008;
const MAX_HYPERVISOR = 0x4000_0010;

/** Family 6, model 0x86, stepping 1, which assembly/cpu/reset.ts leaves in EDX. */
const SIGNATURE = 0x0008_0661;
const CLFLUSH_QUADWORDS = 8;
const FREQUENCY_HZ = 1_000_000_000;
const PHYSICAL_BITS = 40;

const bits = (...numbers: number[]): number => numbers.reduce((sum, n) => (sum | (1 << n)) >>> 0, 0);

// SDM vol. 2, CPUID, tables 3-10 and 3-11.
const SSE3 = 0, PCLMULQDQ = 1, SSSE3 = 9, CX16 = 13, PCID = 17, SSE4_1 = 19, SSE4_2 = 20, X2APIC = 21, MOVBE = 22, POPCNT = 23, TSC_DEADLINE = 24, AES = 25, RDRAND = 30,
  HYPERVISOR = 31;
const FPU = 0, VME = 1, DE = 2, PSE = 3, TSC = 4, MSR = 5, PAE = 6, MCE = 7, CX8 = 8, APIC = 9, SEP = 11, MTRR = 12, PGE = 13, MCA = 14, CMOV = 15, PAT = 16,
  PSE36 = 17, CLFSH = 19, MMX = 23, FXSR = 24, SSE = 25, SSE2 = 26, HTT = 28;
const RDPID = 22;
const FSGSBASE = 0, TSC_ADJUST = 1, ERMS = 9, INVPCID = 10, RDSEED = 18, CLFLUSHOPT = 23, SHA = 29;
const FSRM = 4, SPEC_CTRL = 26, ARCH_CAPABILITIES = 29;
const BHI_CTRL = 4;
const LAHF = 0, LZCNT = 5, PREFETCHW = 8;
const SYSCALL = 11, NX = 20, PDPE1GB = 26, RDTSCP = 27, LM = 29;
const ARAT = 2;
const INVARIANT_TSC = 8;
// Linux, Documentation/virt/kvm/x86/cpuid.rst.
const KVM_CLOCKSOURCE = 0, KVM_NOP_IO_DELAY = 1, KVM_CLOCKSOURCE2 = 3, KVM_CLOCKSOURCE_STABLE = 24;

/** Twelve characters as EBX, ECX, EDX or four as one register. */
const words = (text: string): number[] => {
  const bytes = new TextEncoder().encode(text.padEnd(Math.ceil(text.length / 4) * 4, '\0'));
  const view = new DataView(bytes.buffer);
  return Array.from({ length: bytes.length / 4 }, (_, n) => view.getUint32(4 * n, true));
};

/** Deterministic cache parameters of a cache with 64-byte lines (leaf 4). `kind` is 1 data, 2 instruction, 3 unified. */
const cache = (subleaf: number, kind: number, level: number, kib: number, ways: number, cpus: number, shared: boolean): CpuidRow => ({
  leaf: 4,
  subleaf,
  eax: (kind | (level << 5) | (1 << 8) | ((shared ? cpus - 1 : 0) << 14) | ((cpus - 1) << 26)) >>> 0,
  ebx: ((ways - 1) << 22) | 63,
  ecx: (kib * 1024) / (ways * 64) - 1,
  edx: 0,
});

/** What CPUID reports: a P6-family processor at 1 GHz under KVM, without what is dear to emulate (engine.md, section 5). */
export const cpuidTable = (options: CpuidOptions): CpuidRow[] => {
  const { arch, cpus, profile = 'v2', apicId = 0, brand = 'vmlet virtual CPU @ 1.00GHz' } = options;
  const long = arch === 'x86_64';
  const v2 = profile === 'v2';
  const rows: CpuidRow[] = [];
  const add = (leaf: number, eax: number, ebx: number, ecx: number, edx: number, subleaf = ANY_SUBLEAF) => {
    rows.push({ leaf, subleaf, eax, ebx, ecx, edx });
  };

  const [genu, inei, ntel] = words('GenuineIntel');
  add(0, MAX_BASIC, genu, ntel, inei); // EBX, ECX, EDX spell it in the order 1, 3, 2
  add(
    1,
    SIGNATURE,
    ((CLFLUSH_QUADWORDS << 8) | (cpus << 16) | (apicId << 24)) >>> 0,
    bits(CX16, ...(long ? [PCID] : []), X2APIC, MOVBE, TSC_DEADLINE, RDRAND, HYPERVISOR, ...(v2 ? [SSE3, PCLMULQDQ, SSSE3, SSE4_1, SSE4_2, POPCNT, AES] : [])),
    bits(FPU, VME, DE, PSE, TSC, MSR, PAE, MCE, CX8, APIC, SEP, MTRR, PGE, MCA, CMOV, PAT, PSE36, CLFSH, MMX, FXSR, SSE, SSE2, ...(cpus > 1 ? [HTT] : [])),
  );
  add(2, 0x00fe_ff01, 0xf0, 0, 0); // caches are in leaf 4
  rows.push(
    cache(0, 1, 1, 32, 8, cpus, false),
    cache(1, 2, 1, 32, 8, cpus, false),
    cache(2, 3, 2, 1024, 16, cpus, false),
    cache(3, 3, 3, 32 * 1024, 16, cpus, true),
  );
  add(6, bits(ARAT), 0, 0, 0);
  add(7, 2, bits(FSGSBASE, TSC_ADJUST, ERMS, ...(long ? [INVPCID] : []), RDSEED, CLFLUSHOPT, ...(v2 ? [SHA] : [])), bits(RDPID), bits(FSRM, SPEC_CTRL, ARCH_CAPABILITIES), 0);
  add(7, 0, 0, 0, bits(BHI_CTRL), 2);
  // Topology: one thread a core, all cores in one package.
  add(11, 0, 1, 1 << 8, apicId, 0);
  add(11, Math.ceil(Math.log2(cpus)), cpus, (2 << 8) | 1, apicId, 1);
  add(0x15, 1, 1, FREQUENCY_HZ, 0);
  add(0x16, FREQUENCY_HZ / 1e6, FREQUENCY_HZ / 1e6, 100, 0);

  const [kvm0, kvm1, kvm2] = words('KVMKVMKVM\0\0\0');
  add(0x4000_0000, MAX_HYPERVISOR, kvm0, kvm1, kvm2);
  add(0x4000_0001, bits(KVM_CLOCKSOURCE, KVM_NOP_IO_DELAY, KVM_CLOCKSOURCE2, KVM_CLOCKSOURCE_STABLE), 0, 0, 0);
  add(MAX_HYPERVISOR, FREQUENCY_HZ / 1000, FREQUENCY_HZ / 1000, 0, 0); // TSC and APIC timer in kHz

  add(0x8000_0000, MAX_EXTENDED, 0, 0, 0);
  add(0x8000_0001, 0, 0, bits(LAHF, LZCNT, PREFETCHW), bits(NX, RDTSCP, ...(long ? [SYSCALL, PDPE1GB, LM] : [])));
  const name = words(brand.slice(0, 47).padEnd(48, '\0'));
  for (let n = 0; n < 3; n++) add(0x8000_0002 + n, name[4 * n], name[4 * n + 1], name[4 * n + 2], name[4 * n + 3]);
  add(0x8000_0006, 0, 0, (1024 << 16) | (8 << 12) | 64, 0); // 1 MiB, 16 ways
  add(0x8000_0007, 0, 0, 0, bits(INVARIANT_TSC));
  add(MAX_EXTENDED, ((long ? 48 : 32) << 8) | PHYSICAL_BITS, 0, 0, 0);
  return rows;
};
