import { describe, expect, it } from 'vitest';
import { cpuidTable } from '../../src/host/cpuid.js';

const ANY = 0xffff_ffff;

describe('cpuidTable', () => {
  const rows = cpuidTable({ arch: 'x86_64', cpus: 4 });
  const row = (leaf: number, subleaf = ANY) => rows.find((r) => r.leaf === leaf && r.subleaf === subleaf)!;
  const text = (...values: number[]) => {
    const view = new DataView(new ArrayBuffer(4 * values.length));
    values.forEach((v, i) => view.setUint32(4 * i, v, true));
    return new TextDecoder().decode(view.buffer).replace(/\0+$/, '');
  };

  it('names the vendor, the hypervisor and the brand', () => {
    const vendor = row(0);
    expect(text(vendor.ebx, vendor.edx, vendor.ecx)).toBe('GenuineIntel');
    const kvm = row(0x4000_0000);
    expect(text(kvm.ebx, kvm.ecx, kvm.edx)).toBe('KVMKVMKVM');
    const brand = [2, 3, 4].map((n) => row(0x8000_0000 + n)).flatMap((r) => [r.eax, r.ebx, r.ecx, r.edx]);
    expect(text(...brand)).toContain('vmlet');
  });

  it('reports family 6, model 0x86, stepping 1', () => {
    const { eax } = row(1);
    expect((eax >>> 8) & 15).toBe(6);
    expect(((eax >>> 12) & 0xf0) | ((eax >>> 4) & 15)).toBe(0x86);
    expect(eax & 15).toBe(1);
  });

  it('describes caches whose sizes multiply out', () => {
    const size = (n: number) => {
      const { ebx, ecx } = row(4, n);
      return ((ebx >>> 22) + 1) * (((ebx >>> 12) & 0x3ff) + 1) * ((ebx & 0xfff) + 1) * (ecx + 1);
    };
    expect([0, 1, 2, 3].map(size)).toEqual([32 << 10, 32 << 10, 1 << 20, 32 << 20]);
  });

  it('fits the core, holds unsigned words and each row once', () => {
    expect(rows.length).toBeLessThan(128);
    const keys = rows.map((r) => `${r.leaf}:${r.subleaf}`);
    expect(new Set(keys).size).toBe(keys.length);
    for (const r of rows) for (const word of [r.eax, r.ebx, r.ecx, r.edx]) expect(word).toBe(word >>> 0);
  });

  it('reports x86-64-v2 with AES, PCLMULQDQ and SHA, or with profile v1 no vector instructions after SSE2', () => {
    const v1 = cpuidTable({ arch: 'x86_64', cpus: 1, profile: 'v1' });
    const added = (leaf: number, register: 'ebx' | 'ecx') => row(leaf, leaf === 7 ? 0 : ANY)[register] & ~v1.find((r) => r.leaf === leaf && (r.subleaf === ANY || r.subleaf === 0))![register];
    const bits = (word: number) => Array.from({ length: 32 }, (_, n) => n).filter((n) => (word >>> n) & 1);
    expect(bits(added(1, 'ecx'))).toEqual([0, 1, 9, 19, 20, 23, 25]); // SSE3 PCLMULQDQ SSSE3 SSE4.1 SSE4.2 POPCNT AES
    expect(bits(added(7, 'ebx'))).toEqual([29]); // SHA
    const x = row(1).ecx;
    for (const bit of [0, 9, 13, 19, 20, 23]) expect((x >>> bit) & 1, `ECX bit ${bit} of x86-64-v2`).toBe(1);
    expect(row(0x8000_0001).ecx & 1).toBe(1); // LAHF
  });

  it('has no long mode on i386', () => {
    const i386 = cpuidTable({ arch: 'i386', cpus: 1 });
    const extended = i386.find((r) => r.leaf === 0x8000_0001)!;
    expect((extended.edx >>> 29) & 1).toBe(0);
    expect((extended.edx >>> 20) & 1).toBe(1);
    expect((row(0x8000_0001).edx >>> 29) & 1).toBe(1);
  });
});
