// The interpreter's own machinery: budgets, counts, the block cache and code that changes under its feet.
import { expect, it } from 'vitest';
import { CoreHarness, TABLES } from '../support/core-harness.js';
import { describeEngine } from '../support/engines.js';

const RAX = 0, RCX = 1, RDX = 2, RBX = 3, RSI = 6, RDI = 7;
const CODE = 0x10_0000;

const machine = (mode: 'long64' | 'prot32' = 'long64', options = {}): CoreHarness => {
  const core = new CoreHarness();
  core.setMode(mode, options);
  return core;
};

describeEngine('the budget', () => {
  // inc eax; dec ecx; jne -6: 3 instructions a round
  const loop = [0xff, 0xc0, 0xff, 0xc9, 0x75, 0xfa, 0xf4];

  it('stops behind any instruction, in the middle of a block and of a fused pair', () => {
    for (let budget = 1; budget <= 40; budget++) {
      const core = machine();
      core.setGpr(RAX, 0);
      core.setGpr(RCX, 1000);
      core.load(loop);
      core.rip = CODE;
      const { instructions } = core.go(budget);
      expect(instructions).toBe(budget);
      expect(core.getGpr(RAX)).toBe(BigInt(Math.ceil(budget / 3)));
      expect(core.getGpr(RCX)).toBe(1000n - BigInt(Math.floor((budget + 1) / 3)));
      expect(core.rip).toBe(BigInt(CODE + [0, 2, 4][budget % 3]));
    }
  });

  it('gives the same state in one run and in many', () => {
    const states = [1, 2, 7, 64, 3000].map(step => {
      const core = machine();
      core.setGpr(RAX, 5);
      core.setGpr(RCX, 1000);
      core.load(loop);
      core.rip = CODE;
      let count = 0;
      while (count < 2500) count += core.go(Math.min(step, 2500 - count)).instructions;
      return [count, core.getGpr(RAX), core.getGpr(RCX), core.rip, core.flags];
    });
    for (const state of states) expect(state).toEqual(states[0]);
  });

  it('counts a faulting block exactly', () => {
    const core = machine();
    // nop; nop; ud2; nop
    const result = core.run([0x90, 0x90, 0x0f, 0x0b, 0x90]);
    expect(result.fault?.vector).toBe(6);
    expect(result.fault?.rip).toBe(BigInt(CODE + 2));
    expect(result.instructions).toBe(2);
  });
});

describeEngine('code that is written to', () => {
  it('takes effect on the very next instruction of the same block', () => {
    const core = machine();
    // mov byte [rip+1], 0x2a (over the immediate of the next instruction); mov al, 0x11; hlt
    core.setGpr(RAX, 0);
    core.run([0xc6, 0x05, 0x01, 0x00, 0x00, 0x00, 0x2a, 0xb0, 0x11, 0xf4]);
    expect(core.getGpr(RAX)).toBe(0x2an);
  });

  it('takes effect in a loop that patches itself on each round', () => {
    const core = machine();
    // L: add eax, 0 (imm8 at +2); inc byte [L+2]; dec ecx; jne L; hlt
    core.setGpr(RAX, 0);
    core.setGpr(RCX, 20);
    core.run([0x83, 0xc0, 0x00, 0xfe, 0x05, 0xf9, 0xff, 0xff, 0xff, 0xff, 0xc9, 0x75, 0xf3, 0xf4], { max: 10_000 });
    expect(core.getGpr(RAX)).toBe(BigInt((19 * 20) / 2));
  });

  it('leaves code alone that shares the page with data', () => {
    const core = machine();
    // data in the same page, another line: mov [CODE+0x800], eax; add eax, [CODE+0x800]; dec ecx; jne; hlt
    const at = (n: number) => [n & 255, (n >> 8) & 255, (n >> 16) & 255, n >>> 24];
    core.setGpr(RAX, 1);
    core.setGpr(RCX, 10);
    core.run([0x89, 0x04, 0x25, ...at(CODE + 0x800), 0x03, 0x04, 0x25, ...at(CODE + 0x800), 0xff, 0xc9, 0x75, 0xee, 0xf4], { max: 1000 });
    expect(core.getGpr(RAX)).toBe(1024n);
  });

  it('leaves code alone that shares the line with data', () => {
    const core = machine();
    core.setGpr(RCX, 1000);
    // inc dword [rip+5] (behind the hlt); dec ecx; jne; hlt
    core.run([0xff, 0x05, 0x05, 0x00, 0x00, 0x00, 0xff, 0xc9, 0x75, 0xf6, 0xf4, 0, 0, 0, 0], { max: 10_000 });
    expect(core.ram[CODE + 11] | (core.ram[CODE + 12] << 8)).toBe(1000);
    expect(core.jitStats().dropped).toBe(0);
  });

  it('takes effect where data became code', () => {
    const core = machine();
    const f = CODE + 0x30;
    core.set(f, [0xb0, 0x00, 0xc3]); // mov al, 0; ret
    const at = [f + 1, (f + 1) >> 8, (f + 1) >> 16, 0].map(byte => byte & 0xff);
    const store = (value: number) => [0xc6, 0x04, 0x25, ...at, value];
    const call = (from: number) => [0xe8, f - CODE - from - 5, 0, 0, 0];
    core.setGpr(4, 0x20_0000);
    // Twice the immediate as data; call f; mov dl, al; the immediate as code; call f; hlt
    core.run([...store(0x11), ...store(0x22), ...call(16), 0x88, 0xc2, ...store(0x33), ...call(31), 0xf4]);
    expect(core.getGpr(RDX) & 0xffn).toBe(0x22n);
    expect(core.getGpr(RAX) & 0xffn).toBe(0x33n);
  });

  it('is seen through REP STOS and REP MOVS', () => {
    const core = machine();
    // call f (mov al,1; ret); rep stosb over f's immediate with 7; call f; hlt ; f at +0x40
    const f = CODE + 0x40;
    core.set(f, [0xb3, 0x01, 0xc3]);
    core.setGpr(RDI, f + 1);
    core.setGpr(RCX, 1);
    core.setGpr(RAX, 7);
    core.setGpr(4, 0x20_0000);
    core.run([0xe8, 0x3b, 0, 0, 0, 0x88, 0xda, 0xf3, 0xaa, 0xe8, 0x32, 0, 0, 0, 0xf4]);
    expect(core.getGpr(RDX) & 0xffn).toBe(1n);
    expect(core.getGpr(RBX) & 0xffn).toBe(7n);
  });

  it('is seen when the host writes it (DMA)', () => {
    const core = machine();
    core.setGpr(RAX, 0);
    core.run([0xb0, 0x11, 0xf4]);
    expect(core.getGpr(RAX)).toBe(0x11n);
    core.set(CODE + 1, [0x22]);
    core.setMode('long64');
    core.rip = CODE;
    core.go(10);
    expect(core.getGpr(RAX)).toBe(0x22n);
  });

  it('is seen through another linear address of the same page', () => {
    const core = machine('long64', { paging: true });
    const alias = 0x30_0000;
    core.set(TABLES + 0x3000 + (alias >>> 12) * 8, [0x67, 0x00, CODE >>> 16, 0]);
    core.core.flushAll(0);
    core.setGpr(RAX, 0);
    core.load([0xb0, 0x11, 0xf4]);
    core.rip = CODE;
    core.go(10);
    expect(core.getGpr(RAX)).toBe(0x11n);
    // mov byte [alias + 1], 0x33; jmp CODE
    core.set(CODE + 0x100, [0xc6, 0x04, 0x25, 0x01, 0x00, 0x30, 0x00, 0x33, 0xe9, 0xf3, 0xfe, 0xff, 0xff]);
    core.set32('halted', 0);
    core.rip = CODE + 0x100;
    core.go(20);
    expect(core.getGpr(RAX)).toBe(0x33n);
  });

  it('crosses a page: the second page counts as well', () => {
    const core = machine();
    // mov eax, imm32 begins 2 bytes before the end of a page
    const at = CODE + 0xffe;
    core.set(at, [0xb8, 0x01, 0x02, 0x03, 0x04, 0xf4]);
    core.rip = at;
    core.go(10);
    expect(core.getGpr(RAX)).toBe(0x0403_0201n);
    core.setMode('long64');
    core.set(CODE + 0x1000, [0xaa]);
    core.rip = at;
    core.go(10);
    expect(core.getGpr(RAX)).toBe(0x0403_aa01n);
    core.setMode('long64');
    core.setGpr(RSI, CODE + 0x1001);
    // mov byte [rsi], 0x77; jmp at
    core.set(CODE + 0x100, [0xc6, 0x06, 0x77, 0xe9, 0xf6, 0x0e, 0x00, 0x00]);
    core.rip = CODE + 0x100;
    core.go(20);
    expect(core.getGpr(RAX)).toBe(0x0477_aa01n);
  });
});

describeEngine('the shadow of STI', () => {
  it('is its own behind an SS load that nobody looked at since', () => {
    const core = machine('prot32');
    // cli; nop; sti; nop; hlt
    core.load([0xfa, 0x90, 0xfb, 0x90, 0xf4]);
    for (const [ifSet, shadow] of [[false, 1], [true, 2]] as const) {
      core.flags = ifSet ? 0x202 : 2;
      core.set32('shadow', 2);
      core.rip = ifSet ? CODE + 1 : CODE;
      core.go(5);
      expect(core.get32('shadow')).toBe(shadow);
      core.set32('halted', 0);
    }
  });
});

describeEngine('decoding', () => {
  it('raises #GP for more than 15 bytes and #UD for a LOCK that may not be', () => {
    expect(machine().run([...new Array(15).fill(0x66), 0x90]).fault?.vector).toBe(13);
    expect(machine().run([...new Array(14).fill(0x66), 0x90, 0xf4]).fault).toBeUndefined();
    expect(machine().run([0xf0, 0x01, 0xc0]).fault?.vector).toBe(6);
    expect(machine().run([0xf0, 0x90]).fault?.vector).toBe(6);
    expect(machine().run([0xf0, 0x39, 0x06]).fault?.vector).toBe(6);
  });

  it('ignores a REX prefix that does not stand before the opcode', () => {
    const core = machine();
    core.setGpr(RAX, 0xffff_ffff_ffff_ffffn);
    // rex.w 66 inc ax: the REX is dead, 16 bits are incremented
    core.run([0x48, 0x66, 0xff, 0xc0, 0xf4]);
    expect(core.getGpr(RAX)).toBe(0xffff_ffff_ffff_0000n);
  });

  it('faults on the branch to a non-canonical address', () => {
    const core = machine();
    core.setGpr(RAX, 0x8000_0000_0000n);
    const result = core.run([0x90, 0xff, 0xe0]);
    expect(result.fault).toMatchObject({ vector: 13, code: 0, rip: BigInt(CODE + 1) });
  });
});

describeEngine('the block cache', () => {
  /** Where assembly/machine.ts keeps the next free byte of the arena, and assembly/layout.ts its end. */
  const ARENA_NEXT = 0xf_0010, ARENA_END = 0x600_0000;
  const counter = (core: CoreHarness, which: number): number => (core.core as unknown as { counter(which: number): number }).counter(which);

  it('starts anew when the arena is full, in the middle of a program', () => {
    const core = machine();
    new DataView(core.memory.buffer).setUint32(ARENA_NEXT, ARENA_END - 4000, true);
    // 200 blocks of inc eax; jmp next, each 64 bytes on
    for (let n = 0; n < 200; n++) core.set(CODE + n * 64, [0xff, 0xc0, 0xeb, 0x3c]);
    core.set(CODE + 200 * 64, [0xff, 0xc9, 0x0f, 0x85, ...[-(200 * 64 + 8)].flatMap(d => [d & 255, (d >> 8) & 255, (d >> 16) & 255, (d >> 24) & 255]), 0xf4]);
    core.setGpr(RAX, 0);
    core.setGpr(RCX, 3);
    core.rip = CODE;
    const emptied = counter(core, 2);
    expect(core.go(10_000).halted).toBe(true);
    expect(core.getGpr(RAX)).toBe(600n);
    expect(counter(core, 2)).toBe(emptied + 1);
  });

  it('keeps its lists when blocks of two pages come and go', () => {
    const core = machine();
    const edge = CODE + 0xffd;
    // mov eax, 1 across the page; hlt behind it
    for (let round = 0; round < 50; round++) {
      core.set(edge, [0xb8, round, 0, 0, 0, 0xf4]);
      core.set(CODE, [0xe9, ...[edge - CODE - 5].flatMap(d => [d & 255, (d >> 8) & 255, 0, 0])]);
      core.setMode('long64');
      core.rip = CODE;
      core.go(10);
      expect(core.getGpr(RAX)).toBe(BigInt(round));
      core.set(CODE + 0x1000 + (round % 3), [0]);
    }
  });

  it('survives more pages than the flush log has entries', () => {
    const core = machine('long64', { paging: true });
    // touch every page of 8 MB many times, reloading CR3 in between
    // mov rsi, 0x200000; mov ecx, 1000; L: mov eax,[rsi]; add rsi,4096; dec ecx; jne L; mov rdx,cr3; mov cr3,rdx; dec ebx; jne start; hlt
    core.setGpr(RBX, 12);
    core.set(0x40_0000, [0x78, 0x56, 0x34, 0x12]);
    const code = [0xbe, 0, 0, 0x20, 0, 0xb9, 0xe8, 3, 0, 0, 0x8b, 0x06, 0x48, 0x81, 0xc6, 0, 0x10, 0, 0, 0xff, 0xc9, 0x75, 0xf3, 0x0f, 0x20, 0xda, 0x0f, 0x22, 0xda, 0xff, 0xcb, 0x75, 0xdf];
    const result = core.run([...code, 0x8b, 0x04, 0x25, 0, 0, 0x40, 0, 0xf4], { max: 100_000 });
    expect(result.fault).toBeUndefined();
    expect(core.getGpr(RAX)).toBe(0x1234_5678n);
  });
});
