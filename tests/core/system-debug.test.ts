import { expect, it } from 'vitest';
import { CoreHarness } from '../support/core-harness.js';
import { describeEngine } from '../support/engines.js';

const CODE = 0x10_0000;
const IDT = 0x2_0000;
const HANDLERS = 0x2_2000;
const STACK = 0x2_8000;
const TF = 0x100;

/** 64-bit code with gates for every vector; handler n is at HANDLERS + 16 n and halts. */
const machine = (): CoreHarness => {
  const cpu = new CoreHarness();
  cpu.setMode('long64');
  const view = new DataView(cpu.ram.buffer, cpu.ram.byteOffset);
  const gdt = 0x2_1000;
  view.setBigUint64(gdt + 8, 0x00af_9b00_0000_ffffn, true);
  view.setBigUint64(gdt + 0x10, 0x00cf_9300_0000_ffffn, true);
  cpu.set64('gdtrBase', gdt);
  cpu.set32('gdtrLimit', 0x7f);
  for (let vector = 0; vector < 32; vector++) {
    const at = HANDLERS + 16 * vector;
    view.setBigUint64(IDT + vector * 16, BigInt(at & 0xffff) | (0x08n << 16n) | (0xee00n << 32n) | (BigInt(at >>> 16) << 48n), true);
    cpu.set(at, [0xf4]);
  }
  cpu.set64('idtrBase', IDT);
  cpu.set32('idtrLimit', 0x1ff);
  cpu.setGpr(4, STACK);
  cpu.rip = CODE;
  return cpu;
};

/** Runs to the next HLT: of the program or of a handler, whose vector it gives. */
const stop = (cpu: CoreHarness): number | undefined => {
  let exit = 0;
  for (let turn = 0; turn < 20 && exit === 0; turn++) exit = cpu.goDelivering(20);
  expect(exit).toBe(1);
  const at = Number(cpu.rip) - 1 - HANDLERS;
  return at >= 0 && at < 512 && at % 16 === 0 ? at / 16 : undefined;
};
/** Where the frame of the last exception returns to. */
const frameRip = (cpu: CoreHarness): number => new DataView(cpu.get(Number(cpu.getGpr(4)), 8).buffer).getUint32(0, true);

const MOV_DR7_RAX = [0x0f, 0x23, 0xf8];
const MOV_SS_RDX = [0x8e, 0xd2];

describeEngine('debug registers', () => {
  it('a breakpoint bit of DR6 tells of the last exception only; BS stays', () => {
    const cpu = machine();
    cpu.set(CODE, [...MOV_DR7_RAX, 0x90, 0xf4]);
    cpu.setGpr(0, 0x420);
    cpu.set64('dr2', CODE + 3);
    cpu.set64('dr6', 0xffff_4ff2);
    expect(stop(cpu)).toBe(1);
    expect(cpu.get64('dr6')).toBe(0xffff_4ff4n);
    expect(frameRip(cpu)).toBe(CODE + 3);
  });

  it('an SS load of long ago does not hide a breakpoint', () => {
    const cpu = machine();
    cpu.set(CODE, [...MOV_SS_RDX, 0x90, 0x90, ...MOV_DR7_RAX, 0x90, 0xf4]);
    cpu.setGpr(0, 0x402);
    cpu.setGpr(2, 0x10);
    cpu.set64('dr0', CODE + 7);
    expect(stop(cpu)).toBe(1);
    expect(frameRip(cpu)).toBe(CODE + 7);
  });

  it('a watchpoint that MOV SS holds back traps behind INT n, in its handler', () => {
    const cpu = machine();
    const value = 0x3_0000;
    cpu.set(value, [0x10, 0]);
    cpu.set(CODE, [...MOV_DR7_RAX, 0x8e, 0x16, 0xcd, 0x05, 0xf4]); // mov ss, [rsi]; int 5
    cpu.setGpr(0, 0x00f0_0408 | 0x402);
    cpu.set64('dr1', value);
    cpu.setGpr(6, value);
    cpu.set64('dr7', 0x400);
    expect(stop(cpu)).toBe(1);
    expect(frameRip(cpu)).toBe(HANDLERS + 5 * 16);
  });
});

describeEngine('TF and system calls', () => {
  const withCall = (cpu: CoreHarness): void => {
    cpu.set64('star', 0x0018_0008_0000_0000n);
    cpu.set64('sfmask', TF);
    cpu.set64('lstar', 0x4_0000);
    cpu.set(0x4_0000, [0x90, 0xf4]);
  };

  it('SYSCALL that masks TF does not trap', () => {
    const cpu = machine();
    withCall(cpu);
    cpu.flags = TF | 2;
    cpu.set(CODE, [0x0f, 0x05]);
    expect(stop(cpu)).toBeUndefined();
    expect(cpu.rip).toBe(0x4_0002n);
    expect(cpu.getGpr(11)).toBe(0x102n);
  });

  it('SYSRET that sets TF traps at once', () => {
    const cpu = machine();
    withCall(cpu);
    cpu.setSegment('tr', 0x28, 0x5_0000, 0x67, 0x8b);
    cpu.set(0x5_0004, [0, 0x80, 2, 0, 0, 0, 0, 0]);
    cpu.set(CODE, [0x48, 0x0f, 0x07]);
    cpu.setGpr(1, 0x6_0000);
    cpu.setGpr(11, TF | 2);
    expect(stop(cpu)).toBe(1);
    expect(frameRip(cpu)).toBe(0x6_0000);
  });

  it('SYSCALL in compatibility mode needs CSTAR', () => {
    for (const cstar of [0, 0x4_0000]) {
      const cpu = machine();
      withCall(cpu);
      cpu.setSegment('cs', 0x08, 0, 0xffff_ffff, 0xc09b);
      cpu.updateMode();
      cpu.set64('cstar', cstar);
      cpu.set(CODE, [0x0f, 0x05]);
      expect(stop(cpu)).toBe(cstar === 0 ? 6 : undefined);
    }
  });
});
