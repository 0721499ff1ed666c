import { expect, it } from 'vitest';
import { CoreHarness, TABLES } from '../support/core-harness.js';
import { describeEngine } from '../support/engines.js';

const HIGH = 0xffff_8000_0000_0000n;
const IDT = 0x2_0000;
const GDT = 0x2_1000;
const HANDLER = 0x2_2000;
const STACK = 0x2_4000;

/** Compatibility mode with paging, its descriptor tables, handlers and ring 0 stack in the upper half of the address space. */
const compat = (cpl: 0 | 3): CoreHarness => {
  const cpu = new CoreHarness();
  cpu.setMode('compat32', { cpl, paging: true });
  const view = new DataView(cpu.ram.buffer, cpu.ram.byteOffset);
  view.setBigUint64(TABLES + 256 * 8, BigInt(TABLES + 0x1007), true);
  view.setBigUint64(GDT + 0x18, 0x00af_9b00_0000_ffffn, true);
  for (const vector of [3, 13, 14]) {
    const at = HIGH + BigInt(HANDLER);
    view.setBigUint64(IDT + vector * 16, (at & 0xffffn) | (0x18n << 16n) | (0xee00n << 32n) | (((at >> 16n) & 0xffffn) << 48n), true);
    view.setBigUint64(IDT + vector * 16 + 8, at >> 32n, true);
  }
  cpu.set64('idtrBase', HIGH + BigInt(IDT));
  cpu.set32('idtrLimit', 0xfff);
  cpu.set64('gdtrBase', HIGH + BigInt(GDT));
  cpu.set32('gdtrLimit', 0x7f);
  const tss = 0x2_3000;
  view.setBigUint64(tss + 4, HIGH + BigInt(STACK), true);
  cpu.setSegment('tr', 0x28, HIGH + BigInt(tss), 0x67, 0x8b);
  cpu.set(HANDLER, [0xf4]);
  return cpu;
};

describeEngine('exceptions out of compatibility mode', () => {
  it('find tables and stacks above 4 GiB', () => {
    const cpu = compat(3);
    cpu.setGpr(4, 0x1_8000);
    cpu.set(0x10_0000, [0xcc]); // int3
    cpu.rip = 0x10_0000;
    expect(cpu.goDelivering(10)).toBe(1);
    expect(cpu.rip).toBe(HIGH + BigInt(HANDLER + 1));
    expect(cpu.getGpr(4)).toBe(HIGH + BigInt(STACK - 40));
    const frame = new DataView(cpu.get(STACK - 40, 40).buffer);
    expect(frame.getBigUint64(0, true)).toBe(0x10_0001n);
    expect(frame.getBigUint64(8, true)).toBe(0x0bn);
    expect(frame.getBigUint64(24, true)).toBe(0x1_8000n);
  });

  it('find a gate that straddles two pages', () => {
    const cpu = compat(3);
    cpu.set64('idtrBase', HIGH + BigInt(IDT + 0x1000 - 0x38)); // vector 3 lies across the end of the page
    cpu.ram.copyWithin(IDT + 0x1000 - 8, IDT + 0x30, IDT + 0x40);
    cpu.set(0x10_0000, [0xcc]);
    cpu.rip = 0x10_0000;
    expect(cpu.goDelivering(10)).toBe(1);
    expect(cpu.rip).toBe(HIGH + BigInt(HANDLER + 1));
  });
});
