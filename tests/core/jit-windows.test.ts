// Accesses near one register, of which compiled code looks the page up once (assembly/jit/windows.ts), against the interpreter. Code is 32-bit code
// that means the same in 64-bit mode with wider registers, unless a test says otherwise.
import { describe, expect, it } from 'vitest';
import { EnginePair, hex, type PairOptions } from '../support/engine-pair.js';
import type { CoreMode } from '../support/core-harness.js';

const [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI] = [0, 1, 2, 3, 4, 5, 6, 7];
const CODE = 0x10_0000;
const STACK = 0x20_0800;
/** Neighbours that lie far from each other. */
const [LOW, HIGH] = [0x30_0000, 0x30_1000];
const [LOW_AT, HIGH_AT] = [0x40_0000, 0x50_3000];
const [USER, WRITE, PRESENT] = [4, 2, 1];

const MODES: readonly { mode: CoreMode; cpl: 0 | 3 }[] = [
  { mode: 'long64', cpl: 0 },
  { mode: 'long64', cpl: 3 },
  { mode: 'prot32', cpl: 0 },
  { mode: 'prot32', cpl: 3 },
  { mode: 'compat32', cpl: 3 },
];

/** With paging; LOW and HIGH are mapped, HIGH with these bits of its entry. */
const paged = (mode: CoreMode, options: PairOptions = {}, high: number | null = 7): EnginePair => {
  const pair = new EnginePair(mode, { paging: true, ...options });
  pair.map(LOW, LOW_AT);
  pair.map(HIGH, high === null ? null : HIGH_AT, high ?? 0);
  pair.setGprs({ [RSP]: STACK });
  return pair;
};

describe.each(MODES)('a window over two pages, $mode at level $cpl', ({ mode, cpl }) => {
  const user = cpl === 3 ? USER : 0;
  const code = hex(
    '8b45e0  0345ec  8945e8  894504  8b4dee  894ded  ff4508  8a55ef  8855f0', // mov eax,[ebp-0x20]; add eax,[ebp-0x14]; mov [ebp-0x18],eax; mov [ebp+4],eax; mov ecx,[ebp-0x12]; mov [ebp-0x13],ecx; inc dword ptr [ebp+8]; mov dl,[ebp-0x11]; mov [ebp-0x10],dl
  );
  const STORE_HIGH = CODE + 9;
  const gprs = { [RAX]: 0, [RCX]: 0, [RDX]: 0, [RBP]: HIGH + 0x10 };
  const fill = (pair: EnginePair): void => {
    pair.set32(LOW_AT + 0xff0, 0x1111_1111, 0, 0, 0x2222_2222);
    pair.set32(HIGH_AT, 0x5555_5555, 0, 0, 0, 0, 0, 7);
  };
  const settled = (pair: EnginePair): void => {
    expect(pair.gpr(RAX)).toBe(0x3333_3333);
    expect(pair.get32(LOW_AT + 0xff8)).toBe(0x3333_3333);
    expect(pair.get32(HIGH_AT + 0x14)).toBe(0x3333_3333);
    expect(pair.gpr(RCX)).toBe(0x5555_2222);
    expect(pair.get32(LOW_AT + 0xffc)).toBe(0x5522_2222);
    expect(pair.get32(HIGH_AT + 0x18)).toBe(8);
    expect(pair.get32(HIGH_AT)).toBe(0x5555_5555);
  };

  it('reaches both', () => {
    const pair = paged(mode, { cpl });
    for (let turn = 0; turn < 3; turn++) {
      fill(pair);
      expect(pair.run(code, { gprs, place: turn === 0 })).toEqual({ fault: undefined, halted: false, instructions: 9 });
      settled(pair);
    }
  });

  it('faults in its middle, and goes on from there', () => {
    const pair = paged(mode, { cpl }, null);
    fill(pair);
    const { fault, instructions } = pair.run(code, { gprs });
    expect(fault).toEqual({ vector: 14, code: user | WRITE, rip: BigInt(STORE_HIGH) });
    expect(instructions).toBe(3);
    expect(pair.interp.get64('cr2')).toBe(BigInt(HIGH + 0x14));
    pair.map(HIGH, HIGH_AT);
    expect(pair.resume(code.length).fault).toBeUndefined();
    settled(pair);
  });

  it('leaves memory alone when the second half of a store faults', () => {
    const pair = paged(mode, { cpl }, PRESENT | USER);
    fill(pair);
    // mov [ebp+4] would fault first
    const crossing = hex(
      '8b45e0  8945e8  8b4dee  894ded  8b4508', // mov eax,[ebp-0x20]; mov [ebp-0x18],eax; mov ecx,[ebp-0x12]; mov [ebp-0x13],ecx; mov eax,[ebp+8]
    );
    const { fault } = pair.run(crossing, { gprs });
    expect(fault).toEqual({ vector: 14, code: user | WRITE | PRESENT, rip: BigInt(CODE + 9) });
    expect(pair.interp.get64('cr2')).toBe(BigInt(HIGH));
    expect(pair.get32(LOW_AT + 0xffc)).toBe(0x2222_2222);
    pair.map(HIGH, HIGH_AT);
    expect(pair.resume(crossing.length).fault).toBeUndefined();
    expect([pair.get32(LOW_AT + 0xffc), pair.gpr(RAX)]).toEqual([0x5522_2222, 7]);
  });

  it('knows a page that can only be read', () => {
    const pair = paged(mode, { cpl }, PRESENT | USER);
    pair.set32(HIGH_AT + 0x10, 10, 20, 30);
    const { fault } = pair.run(hex('8b03  034304  894308  8b4b08' /* mov eax,[ebx]; add eax,[ebx+4]; mov [ebx+8],eax; mov ecx,[ebx+8] */), { gprs: { [RBX]: HIGH + 0x10 } });
    expect(fault).toEqual({ vector: 14, code: user | WRITE | PRESENT, rip: BigInt(CODE + 5) });
    expect([pair.gpr(RAX), pair.get32(HIGH_AT + 0x18)]).toEqual([30, 30]);
    pair.map(HIGH, HIGH_AT);
    pair.resume(11);
    expect(pair.gpr(RCX)).toBe(30);
  });

  it('finds code in its page, and code that comes into it', () => {
    const pair = paged(mode, { cpl });
    // HIGH + 0x80: mov al, 5; ret
    pair.set(HIGH_AT + 0x80, [0xb0, 5, 0xc3]);
    const program = hex(
      '8b5310  895314  ffd7  884318  fe8381000000  8b5318  ffd7  88431c', // mov edx,[ebx+0x10]; mov [ebx+0x14],edx; call edi; mov [ebx+0x18],al; inc byte ptr [ebx+0x81]; mov edx,[ebx+0x18]; call edi; mov [ebx+0x1c],al
    );
    for (let turn = 0; turn < 4; turn++) {
      pair.run(program, { gprs: { [RAX]: 0, [RBX]: HIGH, [RDI]: HIGH + 0x80 }, place: turn === 0 });
      expect(pair.get32(HIGH_AT + 0x18)).toBe(5 + turn);
      expect(pair.get32(HIGH_AT + 0x1c)).toBe(6 + turn);
    }
  });

  it('changes the instruction that follows', () => {
    const pair = paged(mode, { cpl });
    pair.map(HIGH, CODE); // an alias of the program
    const program = hex('8b8380000000  898384000000  c6431122  b111  8b9384000000' /* mov eax,[ebx+0x80]; mov [ebx+0x84],eax; mov byte ptr [ebx+0x11],0x22; mov cl,0x11; mov edx,[ebx+0x84] */);
    expect(program[16]).toBe(0xb1);
    pair.set(CODE + 17, [0x11]);
    for (let turn = 0; turn < 3; turn++) {
      program[17] = 0x11;
      pair.run(program, { gprs: { [RBX]: HIGH, [RCX]: 0 } });
      expect(pair.gpr(RCX)).toBe(0x22);
    }
  });

  it('closes when two pages take turns in one entry of the TLB', () => {
    const far = LOW + 0x100_0000;
    const pair = new EnginePair(mode, { paging: true, cpl, ramBytes: 32 << 20 });
    pair.set32(LOW, 1, 2, 3, 4);
    pair.set32(far, 10, 20, 30, 40);
    const program = hex(
      '8b03  0306  014304  034604  014608  034308  89430c  01460c  034304  8903', // mov eax,[ebx]; add eax,[esi]; add [ebx+4],eax; add eax,[esi+4]; add [esi+8],eax; add eax,[ebx+8]; mov [ebx+12],eax; add [esi+12],eax; add eax,[ebx+4]; mov [ebx],eax
    );
    const low = [1, 2, 3, 4], high = [10, 20, 30, 40];
    let eax = 0;
    for (let turn = 0; turn < 5; turn++) {
      pair.run(program, { gprs: { [RBX]: LOW, [RSI]: far }, place: turn === 0 });
      eax = low[0] + high[0];
      low[1] += eax;
      eax += high[1];
      high[2] += eax;
      eax += low[2];
      low[3] = eax;
      high[3] += eax;
      eax += low[1];
      low[0] = eax;
      expect(low.map((_, n) => pair.get32(LOW + 4 * n))).toEqual(low);
      expect(high.map((_, n) => pair.get32(far + 4 * n))).toEqual(high);
    }
  });

  it('reaches a device access by access', () => {
    const pair = paged(mode, { cpl });
    pair.map(HIGH, 0xd000_0000);
    const seen: string[][] = [];
    pair.bus(() => {
      const list: string[] = [];
      seen.push(list);
      return {
        mmioRead: (phys, size) => {
          list.push(`r${size} ${phys.toString(16)}`);
          return list.length;
        },
        mmioWrite: (phys, size, value) => void list.push(`w${size} ${phys.toString(16)} ${value}`),
      };
    });
    // the window begins in RAM
    pair.run(hex('8b43f8  8b0b  894b04  0fb65309  015304  8953fc  8b43fc' /* mov eax,[ebx-8]; mov ecx,[ebx]; mov [ebx+4],ecx; movzx edx,byte ptr [ebx+9]; add [ebx+4],edx; mov [ebx-4],edx; mov eax,[ebx-4] */), { gprs: { [RBX]: HIGH } });
    expect(seen[0]).toEqual(['r4 d0000000', 'w4 d0000004 1', 'r1 d0000009', 'r4 d0000004', 'w4 d0000004 7']);
    expect(seen[1]).toEqual(seen[0]);
    expect([pair.gpr(RAX), pair.get32(LOW_AT + 0xffc)]).toEqual([3, 3]);
  });
});

describe.each(['long64', 'prot32'] as const)('what the system changes between accesses, %s', mode => {
  it('CR0.WP: the page can be written, until it cannot', () => {
    const pair = paged(mode, {}, PRESENT | USER);
    pair.each(core => {
      core.set64('cr0', core.get64('cr0') & ~0x1_0000n);
      core.updateMode();
      core.core.flushAll(0);
    });
    const program = hex('8b03  894304  0f20c1  81c900000100  0f22c1  8b4304  894308  8b5308' /* mov eax,[ebx]; mov [ebx+4],eax; mov ecx,cr0; or ecx,0x10000; mov cr0,ecx; mov eax,[ebx+4]; mov [ebx+8],eax; mov edx,[ebx+8] */);
    pair.set32(HIGH_AT, 5, 6, 7);
    const { fault } = pair.run(program, { gprs: { [RBX]: HIGH } });
    expect(fault).toEqual({ vector: 14, code: WRITE | PRESENT, rip: BigInt(CODE + 20) });
    expect([pair.get32(HIGH_AT + 4), pair.get32(HIGH_AT + 8)]).toEqual([5, 7]);
  });

  const remap = (between: readonly number[]): EnginePair => {
    const pair = paged(mode);
    pair.set32(HIGH_AT, 1, 2, 3);
    pair.set32(LOW_AT + 0x1000, 10, 20, 30);
    const program = [...hex('8b03  894308  8917' /* mov eax,[ebx]; mov [ebx+8],eax; mov [edi],edx */), ...between, ...hex('8b4b04  894b0c  8b730c' /* mov ecx,[ebx+4]; mov [ebx+12],ecx; mov esi,[ebx+12] */)];
    for (let turn = 0; turn < 2; turn++) {
      pair.map(HIGH, HIGH_AT);
      pair.run(program, { gprs: { [RBX]: HIGH, [RDI]: pair.entryAt(HIGH), [RDX]: (LOW_AT + 0x1000) | 7 }, place: turn === 0 });
      expect(pair.get32(HIGH_AT + 8)).toBe(1);
    }
    return pair;
  };
  it('INVLPG: the rest goes to the new page', () => {
    const pair = remap(hex('0f013b' /* invlpg [ebx] */));
    expect([pair.gpr(RCX), pair.gpr(RSI), pair.get32(LOW_AT + 0x100c), pair.get32(HIGH_AT + 12)]).toEqual([20, 20, 20, 0]);
  });
  it('CR3: the rest goes to the new page', () => {
    const pair = remap(hex('0f20d8  0f22d8' /* mov eax,cr3; mov cr3,eax */));
    expect([pair.gpr(RCX), pair.gpr(RSI), pair.get32(LOW_AT + 0x100c), pair.get32(HIGH_AT + 12)]).toEqual([20, 20, 20, 0]);
  });
  it('nothing: both engines know the old page still', () => {
    const pair = remap([]);
    expect([pair.gpr(RCX), pair.get32(HIGH_AT + 12)]).toEqual([2, 2]);
  });

  it('accessed and dirty bits that were cleared are set again, each by what sets it', () => {
    const pair = paged(mode);
    // The entry behind each access goes into a register or the stack.
    const program = hex(
      '8b03  ff37  894304  ff37  8917  0f013b  8b4308  ff37  89430c  ff37  8917  0f013b  894304  ff37  8917  8b03  ff37', // mov eax,[ebx]; push [edi]; mov [ebx+4],eax; push [edi]; mov [edi],edx; invlpg [ebx]; mov eax,[ebx+8]; push [edi]; mov [ebx+12],eax; push [edi]; mov [edi],edx; invlpg [ebx]; mov [ebx+4],eax; push [edi]; mov [edi],edx; mov eax,[ebx]; push [edi]
    );
    for (let turn = 0; turn < 3; turn++) {
      pair.map(HIGH, HIGH_AT);
      pair.run(program, { gprs: { [RSP]: STACK, [RBX]: HIGH, [RDI]: pair.entryAt(HIGH), [RDX]: HIGH_AT | 7 }, place: turn === 0 });
      const size = mode === 'long64' ? 8 : 4;
      const entries = [1, 2, 3, 4, 5, 6].map(n => pair.get32(STACK - size * n) & 0xfff);
      expect(entries).toEqual([0x27, 0x67, 0x27, 0x67, 0x67, 7]);
    }
  });
});

describe('addresses that wrap', () => {
  it.each(['prot32', 'compat32'] as const)('at 4 GiB in %s', mode => {
    const pair = new EnginePair(mode);
    pair.bus(() => ({ mmioRead: phys => phys & 0x7fff_ffff }));
    pair.set32(0, 0x100, 0x101, 0x102, 0x103);
    const program = hex(
      '8b4308  034310  89430c  8b0b  8b5304  83c308  8b7308  8b7bfc  ff03  8b6bfe', // mov eax,[ebx+8]; add eax,[ebx+16]; mov [ebx+12],eax; mov ecx,[ebx]; mov edx,[ebx+4]; add ebx,8; mov esi,[ebx+8]; mov edi,[ebx-4]; inc dword ptr [ebx]; mov ebp,[ebx-2]
    );
    for (let turn = 0; turn < 2; turn++) {
      pair.set32(0, 0x100, 0x101, 0x102, 0x103);
      pair.run(program, { gprs: { [RBX]: 0xffff_fff8 }, place: turn === 0 });
      expect([pair.gpr(RAX), pair.get32(4), pair.gpr(RCX), pair.gpr(RSI)]).toEqual([0x202, 0x202, 0x7fff_fff8, 0x102]);
      expect([pair.gpr(RDI), pair.get32(0), pair.gpr(RBX)]).toEqual([0x7fff_fffc, 0x101, 0]);
    }
  });

  it('a stack that goes down through 0', () => {
    const pair = new EnginePair('prot32');
    const written: string[][] = [];
    pair.bus(() => {
      const list: string[] = [];
      written.push(list);
      return { mmioWrite: (phys, size, value) => void list.push(`${phys.toString(16)} ${size} ${value}`) };
    });
    pair.run(hex('50  51  52  8b5c2408  83c40c' /* push eax; push ecx; push edx; mov ebx,[esp+8]; add esp,12 */), { gprs: { [RSP]: 8, [RAX]: 1, [RCX]: 2, [RDX]: 3 } });
    expect(written).toEqual([['fffffffc 4 3'], ['fffffffc 4 3']]);
    expect([pair.gpr(RBX), pair.gpr(RSP), pair.get32(0), pair.get32(4)]).toEqual([1, 8, 2, 1]);
  });
});

describe('windows that cannot be opened', () => {
  const LEFT_FOR_A_WINDOW = 16 + 7; // of jitCounter
  /** Modules so far, and how often a region was left for a window, after each of some runs of a loop over the record at `base`. */
  const loop = (base: number, turns: number): { modules: number; left: number }[] => {
    let modules = 0;
    const pair = new EnginePair('prot32', { paging: true, jit: { threshold: 10, batch: 1, regrowAfter: 0x7fff_ffff, onModule: () => void modules++ } });
    pair.map(LOW, LOW_AT);
    pair.map(HIGH, HIGH_AT);
    const program = hex('8b03  01430c  035304  49  75f5' /* 1: mov eax,[ebx]; add [ebx+12],eax; add edx,[ebx+4]; dec ecx; jnz 1b */);
    return Array.from({ length: 6 }, (_, run) => {
      pair.set32(LOW_AT + 0xff8, 3, 5);
      pair.set32(LOW_AT + 0x800, 3, 5);
      pair.run(program, { gprs: { [RBX]: base, [RCX]: turns, [RDX]: 0 }, max: 1_000_000, place: run === 0 });
      expect(pair.gpr(RDX)).toBe((5 * turns) >>> 0);
      return { modules, left: pair.jit.core.jitCounter(LEFT_FOR_A_WINDOW) };
    });
  };

  it('are no matter where all of them can', () => {
    const runs = loop(LOW + 0x800, 5000);
    expect(runs[0]).toEqual({ modules: 1, left: 0 });
    expect(runs[5]).toEqual(runs[0]);
  });

  it('are given up', () => {
    const runs = loop(HIGH - 8, 5000);
    expect(runs[5].modules).toBeGreaterThan(1);
    expect(runs[0].left).toBeGreaterThan(0);
    expect(runs[5]).toEqual(runs[4]);
  });
});

describe('a region that is compiled again because windows close', () => {
  it('raises no fault for a page that only the compiler looked for', () => {
    const gone = 0x70_0000, far = LOW + 0x100_0000, turns = 2000;
    const pair = new EnginePair('prot32', { paging: true, ramBytes: 32 << 20, jit: { threshold: 10, batch: 1, regrowAfter: 0x7fff_ffff } });
    pair.map(gone, null);
    pair.set32(LOW, 1, 2);
    pair.set32(far, 10, 20);
    const head = hex('8b03  035304  0306  035604  83f9ff  0f84' /* 1: mov eax,[ebx]; add edx,[ebx+4]; add eax,[esi]; add edx,[esi+4]; cmp ecx,-1; je gone */);
    const to = gone - (CODE + head.length + 4);
    const program = [...head, to & 0xff, (to >> 8) & 0xff, (to >> 16) & 0xff, (to >> 24) & 0xff, ...hex('49  75ea' /* dec ecx; jnz 1b */)];
    pair.run(program, { gprs: { [RBX]: LOW, [RSI]: far, [RCX]: turns, [RDX]: 0 }, max: 8, compiled: false });
    pair.each(core => expect(core.goDelivering(8 * (turns - 1))).toBe(0));
    expect(pair.jit.jitStats().executed).toBeGreaterThan(0);
    expect(pair.gpr(RDX)).toBe(22 * turns);
    expect(pair.interp.get64('cr2')).toBe(pair.jit.get64('cr2'));
  });
});

describe('accesses that are watched', () => {
  it.each(['long64', 'prot32', 'compat32'] as const)('for alignment, %s', mode => {
    const pair = paged(mode, { cpl: 3 });
    pair.each(core => {
      core.set64('cr0', core.get64('cr0') | 0x4_0000n);
      core.updateMode();
    });
    pair.set32(HIGH_AT, 1, 2, 3, 4);
    const program = hex('8b4301  894305  6802000400  9d  8b4b04  8b5301  895308' /* mov eax,[ebx+1]; mov [ebx+5],eax; push 0x40002; popf; mov ecx,[ebx+4]; mov edx,[ebx+1]; mov [ebx+8],edx */);
    for (let turn = 0; turn < 3; turn++) {
      pair.each(core => {
        core.flags = 2;
        core.updateMode();
      });
      const { fault } = pair.run(program, { gprs: { [RBX]: HIGH, [RSP]: STACK }, place: turn === 0 });
      expect(fault).toEqual({ vector: 17, code: 0, rip: BigInt(CODE + 15) });
    }
    pair.run(program, { gprs: { [RBX]: HIGH, [RSP]: STACK }, compiled: false });
  });

  it.each(['long64', 'prot32'] as const)('by a data breakpoint, %s', mode => {
    const pair = paged(mode);
    pair.each(core => core.set64('dr0', HIGH + 8));
    const program = hex('8b03  894308  0f21f7  0f23f9  8b5308  895304  895308  8b03  8b4304' /* mov eax,[ebx]; mov [ebx+8],eax; mov edi,dr6; mov dr7,ecx; mov edx,[ebx+8]; mov [ebx+4],edx; mov [ebx+8],edx; mov eax,[ebx]; mov eax,[ebx+4] */);
    for (let turn = 0; turn < 2; turn++) {
      pair.each(core => {
        core.set64('dr7', 0x400);
        core.set64('dr6', 0xffff_0ff0n);
        core.updateMode();
      });
      let { fault } = pair.run(program, { gprs: { [RBX]: HIGH, [RCX]: 0xf_0401 }, place: turn === 0 });
      // with breakpoints each turn of the CPU is one instruction
      for (let n = 0; n < 9 && fault === undefined; n++) fault = pair.resume(program.length, 100, false).fault;
      // #GP: vector 1 has no gate.
      expect([fault?.vector, pair.interp.get64('dr6') & 1n]).toEqual([13, 1n]);
      expect(pair.gpr(RDX)).toBe(pair.get32(HIGH_AT + 8));
    }
    // From its start on: nothing is compiled code's.
    pair.each(core => core.set64('dr6', 0xffff_0ff0n));
    pair.run(program, { gprs: { [RBX]: HIGH, [RCX]: 0xf_0401 }, compiled: false });
  });
});
