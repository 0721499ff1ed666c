import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ACPI_END, type AcpiConfig, buildAcpiTables } from '../../src/host/boot/acpi-tables.js';
import * as aml from '../../src/host/boot/aml.js';
import { buildSmbios, SMBIOS_START } from '../../src/host/boot/smbios.js';

const config: AcpiConfig = {
  cpus: 1,
  lapicBase: 0xfee0_0000,
  ioapicBase: 0xfec0_0000,
  ioapicId: 15,
  pmBase: 0x600,
  sciIrq: 9,
  s5SleepType: 0,
  reset: { port: 0xcf9, value: 6 },
  serials: [
    { port: 0x3f8, irq: 4 },
    { port: 0x2f8, irq: 3 },
  ],
  pciWindow: { start: 0xe000_0000, end: 0xfec0_0000 },
  pciInterrupt: (slot, pin) => [10, 10, 11, 11][(slot + pin) & 3],
  pciIrqs: [10, 10, 11, 11],
};

const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 0xff, 0);
const text = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

/** All tables by signature. */
const tables = (): Map<string, Uint8Array> => {
  const { rsdp, start, bytes } = buildAcpiTables(config);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = new Map<string, Uint8Array>();
  const at = (phys: number): Uint8Array => {
    const offset = phys - start;
    const table = bytes.subarray(offset, offset + view.getUint32(offset + 4, true));
    found.set(text(table.subarray(0, 4)), table);
    return table;
  };
  const root = rsdp - start;
  expect(text(bytes.subarray(root, root + 8))).toBe('RSD PTR ');
  expect(sum(bytes.subarray(root, root + 20))).toBe(0);
  expect(sum(bytes.subarray(root, root + 36))).toBe(0);
  const rsdt = at(view.getUint32(root + 16, true));
  const xsdt = at(Number(view.getBigUint64(root + 24, true)));
  const pointers = (xsdt.length - 36) / 8;
  expect((rsdt.length - 36) / 4).toBe(pointers);
  for (let i = 0; i < pointers; i++) {
    const pointer = Number(new DataView(xsdt.buffer, xsdt.byteOffset + 36 + 8 * i, 8).getBigUint64(0, true));
    expect(new DataView(rsdt.buffer, rsdt.byteOffset + 36 + 4 * i, 4).getUint32(0, true)).toBe(pointer);
    at(pointer);
  }
  const fadt = found.get('FACP')!;
  const fadtView = new DataView(fadt.buffer, fadt.byteOffset, fadt.byteLength);
  at(fadtView.getUint32(36, true));
  at(fadtView.getUint32(40, true));
  return found;
};

describe('ACPI tables', () => {
  it('are chained, summed and inside their area', () => {
    const found = tables();
    expect([...found.keys()].sort()).toEqual(['APIC', 'DSDT', 'FACP', 'FACS', 'RSDT', 'XSDT']);
    for (const [signature, table] of found) if (signature !== 'FACS') expect([signature, sum(table)]).toEqual([signature, 0]);
    expect(found.get('FACS')).toHaveLength(64);
    expect(found.get('FACP')).toHaveLength(276);
    const { start, bytes } = buildAcpiTables({ ...config, cpus: 8 });
    expect(start + bytes.length).toBeLessThan(ACPI_END);
  });

  it('describe the board in the FADT and the MADT', () => {
    const found = tables();
    const fadt = found.get('FACP')!;
    const view = new DataView(fadt.buffer, fadt.byteOffset, fadt.byteLength);
    expect(view.getUint16(46, true)).toBe(9);
    expect([56, 64, 76].map(at => view.getUint32(at, true))).toEqual([0x600, 0x604, 0x608]);
    expect(view.getUint16(109, true)).toBe(3);
    expect(view.getBigUint64(120, true)).toBe(0xcf9n);
    expect(fadt[128]).toBe(6);
    const madt = found.get('APIC')!;
    const entries: number[][] = [];
    for (let at = 44; at < madt.length; at += madt[at + 1]) entries.push([...madt.subarray(at, at + madt[at + 1])]);
    expect(entries).toContainEqual([2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
    expect(entries).toContainEqual([2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0]);
    expect(entries.filter(([type]) => type === 0)).toHaveLength(1);
    expect(entries.filter(([type]) => type === 2)).toHaveLength(4);
  });

  const hasIasl = spawnSync('iasl', ['-v']).status === 0;
  it.skipIf(!hasIasl)('are taken by the reference compiler without a complaint (needs iasl: Debian acpica-tools)', () => {
    const folder = mkdtempSync(join(tmpdir(), 'vmlet-acpi-'));
    try {
      for (const [signature, table] of tables()) {
        const file = join(folder, `${signature}.aml`);
        writeFileSync(file, table);
        const run = (...args: string[]) => {
          const { status, stdout, stderr } = spawnSync('iasl', args, { cwd: folder, encoding: 'utf8' });
          return { status, output: `${stdout}${stderr}` };
        };
        const disassembled = run('-d', file);
        expect(disassembled.output).not.toMatch(/error|warning|invalid|unknown|incorrect/i);
        const compiled = run(join(folder, `${signature}.dsl`));
        if (signature === 'DSDT') expect(compiled.output).toMatch(/0 Errors, 0 Warnings/);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('AML', () => {
  it('encodes names, integers and package lengths', () => {
    expect(aml.path('\\_SB.PCI0')).toEqual([0x5c, 0x2e, ...Buffer.from('_SB_PCI0')]);
    expect(aml.path('A.B.C')).toEqual([0x2f, 3, ...Buffer.from('A___B___C___')]);
    expect([0, 1, 0x80, 0x1234, 0xdead_beef].map(n => aml.integer(n))).toEqual([[0], [1], [0x0a, 0x80], [0x0b, 0x34, 0x12], [0x0c, 0xef, 0xbe, 0xad, 0xde]]);
    expect(aml.eisaId('PNP0A03')).toEqual([0x0c, 0x41, 0xd0, 0x0a, 0x03]);
    const lengthOf = (size: number) => aml.scope('X', new Array<number>(size - 4).fill(0)).slice(1, 4);
    expect(lengthOf(62)[0]).toBe(63);
    expect(lengthOf(63).slice(0, 2)).toEqual([0x41, 0x04]);
    expect(lengthOf(0x1000)).toEqual([0x83, 0x00, 0x01]);
  });
});

describe('SMBIOS', () => {
  it('has an entry point with right sums and structures that can be walked', () => {
    const bytes = buildSmbios({ ramBytes: 512 * 2 ** 20, cpus: 2, cpuName: 'test' });
    expect(sum(bytes.subarray(0, 31))).toBe(0);
    expect(sum(bytes.subarray(16, 31))).toBe(0);
    const view = new DataView(bytes.buffer);
    expect(view.getUint32(24, true)).toBe(SMBIOS_START + 32);
    const types: [number, number][] = [];
    const end = 32 + view.getUint16(22, true);
    for (let at = 32; at < end; ) {
      types.push([bytes[at], bytes[at + 1]]);
      at += bytes[at + 1];
      while (bytes[at] !== 0 || bytes[at + 1] !== 0) at++;
      at += 2;
    }
    expect(types).toEqual([[0, 24], [1, 27], [3, 22], [4, 42], [4, 42], [16, 23], [17, 40], [19, 31], [32, 11], [127, 4]]);
    expect(view.getUint16(28, true)).toBe(types.length);
  });
});
