// What compiled code knows of a register's value (assembly/jit/windows.ts): everything that changes the base between two accesses near it, and arithmetic
// whose result it follows. Against the interpreter; 32-bit code that means the same in 64-bit mode, unless a test says otherwise.
import { describe, expect, it } from 'vitest';
import { EnginePair, hex } from '../support/engine-pair.js';

const [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI] = [0, 1, 2, 3, 4, 5, 6, 7];
const CODE = 0x10_0000;
const FROM = 0x18_0000, TO = 0x70_0000;
const BASE = 0x30_0800;
/** The address that loads find in memory. */
const FOUND = 0x30_4000;
const POINTER = 0x20_0010;
const STACK = 0x68_0800;
const MODES = ['long64', 'prot32'] as const;

/** Every word of the data is another one. */
const words = new Uint8Array(Uint32Array.from({ length: (TO - FROM) / 4 }, (_, n) => Math.imul(n + 1, 0x9e37_79b1)).buffer);
const fill = (pair: EnginePair): void => {
  pair.each(core => core.ram.set(words, FROM));
  pair.set32(POINTER, FOUND, 0, FOUND, 0);
};

/** A load and a store near the base, `code`, and more of them. */
const around = (base: number, code: readonly number[]): number[] => {
  const data = base === RBX ? RDX : RBX;
  const at = (opcode: number, disp: number): number[] => [opcode, 0x40 | (data << 3) | base, ...(base === RSP ? [0x24] : []), disp];
  return [...at(0x8b, 0), ...at(0x89, 8), ...code, ...at(0x8b, 4), ...at(0x89, 12), ...at(0x01, 16)];
};

interface Change {
  name: string;
  base: number;
  code: number[];
  /** Registers at the start, over the usual ones. */
  gprs?: Readonly<Record<number, number>>;
  only?: (typeof MODES)[number];
}
const change = (base: number, name: string, code: string, gprs?: Readonly<Record<number, number>>, only?: (typeof MODES)[number]): Change => ({ name, base, code: hex(code), gprs, only });

const CHANGES: readonly Change[] = [
  change(RAX, 'FNSTSW AX', 'dfe0' /* fnstsw ax */),
  change(RAX, 'MUL', 'f7e6' /* mul esi */, { [RAX]: 0x18_0400, [RSI]: 2 }),
  change(RDX, 'MUL', 'f7e6' /* mul esi */, { [RAX]: 0x4000_0000, [RSI]: 0x80_0000 }),
  change(RAX, 'one-operand IMUL', 'f7ee' /* imul esi */, { [RAX]: 0x18_0400, [RSI]: 2 }),
  change(RAX, 'IMUL', '0fafc6' /* imul eax,esi */, { [RAX]: 0x18_0400, [RSI]: 2 }),
  change(RAX, 'IMUL with an immediate', '6bc002' /* imul eax,eax,2 */, { [RAX]: 0x18_0400 }),
  change(RAX, 'DIV', 'f7f6' /* div esi */, { [RAX]: 0x60_0800, [RSI]: 2, [RDX]: 0 }),
  change(RDX, 'DIV', 'f7f6' /* div esi */, { [RAX]: 0, [RSI]: 0x60_0000, [RDX]: 0x20_0000 }),
  change(RAX, 'LAHF', '9f' /* lahf */),
  change(RAX, 'SETC', 'f9  0f92c0' /* stc; setc al */),
  change(RBX, 'SETC of the second byte', 'f9  0f92c7' /* stc; setc bh */),
  change(RAX, 'CWDE', '98' /* cwde */),
  change(RDX, 'CDQ', '99' /* cdq */),
  change(RAX, 'BSWAP', '0fc8' /* bswap eax */),
  change(RAX, 'XCHG', '96' /* xchg esi,eax */, { [RSI]: FOUND }),
  change(RBX, 'XCHG', '87f3' /* xchg ebx,esi */, { [RSI]: FOUND }),
  change(RBX, 'XCHG of bytes', '86fb' /* xchg bl,bh */),
  change(RBX, 'XCHG with memory', '871e' /* xchg [esi],ebx */, { [RSI]: POINTER }),
  change(RBX, 'XADD', '0fc1f3' /* xadd ebx,esi */, { [RSI]: 0x1000 }),
  change(RSI, 'XADD as its source', '0fc1f3' /* xadd ebx,esi */, { [RBX]: FOUND }),
  change(RAX, 'CMPXCHG that fails', '0fb1fe' /* cmpxchg esi,edi */, { [RSI]: FOUND }),
  change(RBX, 'CMPXCHG that succeeds', '0fb1fb' /* cmpxchg ebx,edi */, { [RAX]: BASE, [RDI]: FOUND }),
  change(RBX, 'CMOV', '39c9  0f44de' /* cmp ecx,ecx; cmove ebx,esi */, { [RSI]: FOUND }),
  change(RBX, 'MOVZX', '0fb7db' /* movzx ebx,bx */),
  change(RBX, 'MOVSX', '0fbedb' /* movsx ebx,bl */, { [RBX]: 0x30_0840 }),
  change(RBX, 'a load', '8b1e' /* mov ebx,[esi] */, { [RSI]: POINTER }),
  change(RBX, 'a load near itself', '8b1b' /* mov ebx,[ebx] */, { [RBX]: POINTER }),
  change(RBX, 'an immediate', 'bb00403000' /* mov ebx,0x304000 */),
  change(RBX, 'another register', '89f3' /* mov ebx,esi */, { [RSI]: FOUND }),
  change(RBX, 'a byte', 'b340' /* mov bl,0x40 */),
  change(RBX, 'the second byte', 'b720' /* mov bh,0x20 */),
  change(RBX, 'a word', '66bb3012' /* mov bx,0x1230 */),
  change(RBX, 'ADD of bytes', '80c3f0' /* add bl,0xf0 */, { [RBX]: 0x30_0820 }),
  change(RBX, 'ADD of words', '6681c3ff7f' /* add bx,0x7fff */, { [RBX]: 0x30_9000 }),
  change(RBX, 'INC of words', '6643' /* inc bx */, { [RBX]: 0x30_ffff }),
  change(RBX, 'ADD of registers', '01f3' /* add ebx,esi */, { [RSI]: 0x1000 }),
  change(RBX, 'ADD of memory', '031e' /* add ebx,[esi] */, { [RSI]: POINTER, [RBX]: 0x20_0000 }),
  change(RBX, 'ADC', 'f9  83d30f' /* stc; adc ebx,15 */),
  change(RBX, 'SBB', 'f9  83db0f' /* stc; sbb ebx,15 */),
  change(RBX, 'AND', '81e300f0ffff' /* and ebx,-4096 */),
  change(RBX, 'OR', '81cb00400000' /* or ebx,0x4000 */),
  change(RBX, 'XOR', '81f300400000' /* xor ebx,0x4000 */),
  change(RBX, 'SHL', 'd1e3' /* shl ebx,1 */),
  change(RBX, 'SHR', 'd1eb' /* shr ebx,1 */, { [RBX]: 0x60_0800 }),
  change(RBX, 'ROL of words', '66c1c304' /* rol bx,4 */),
  change(RBX, 'SHLD', '0fa4f301' /* shld ebx,esi,1 */),
  change(RBX, 'NEG twice and NOT', 'f7db  f7d3' /* neg ebx; not ebx */),
  change(RBX, 'LEA with an index', '8d5c7304' /* lea ebx,[ebx+esi*2+4] */, { [RSI]: 0x1000 }),
  change(RBX, 'LEA of a word', '668d9b00010000' /* lea bx,[ebx+0x100] */, { [RBX]: 0x30_ff80 }),
  change(RBX, 'BTS', '0fbaeb0e' /* bts ebx,14 */),
  change(RBX, 'BTC by a register', '0fbbf3' /* btc ebx,esi */, { [RSI]: 14 }),
  change(RBX, 'BSR', '0fbddb' /* bsr ebx,ebx */),
  change(RBX, 'POPCNT', 'f30fb8db' /* popcnt ebx,ebx */),
  change(RBX, 'CRC32', 'f20f38f1de  81e3ffff3f00' /* crc32 ebx,esi; and ebx,0x3fffff */),
  change(RBX, 'MOVD', '660f6ec6  660f7ec3' /* movd xmm0,esi; movd ebx,xmm0 */, { [RSI]: FOUND }),
  change(RBX, 'CVTTSD2SI', 'f20f2ac6  f20f2cd8' /* cvtsi2sd xmm0,esi; cvttsd2si ebx,xmm0 */, { [RSI]: FOUND }),
  change(RBX, 'PEXTRW', '660f6ec6  660fc5d800' /* movd xmm0,esi; pextrw ebx,xmm0,0 */, { [RSI]: FOUND }),
  change(RBX, 'PMOVMSKB', '660fd7d8' /* pmovmskb ebx,xmm0 */),
  change(RBX, 'PUSH and POP', '56  5b' /* push esi; pop ebx */, { [RSI]: FOUND }),
  change(RBX, 'POP behind a store', '893424  c744240400000000  5b' /* mov [esp],esi; mov dword ptr [esp+4],0; pop ebx */, { [RSI]: FOUND }),
  change(RSP, 'POP of the stack pointer', '56  5c' /* push esi; pop esp */, { [RSI]: FOUND }),
  change(RSP, 'PUSH and POP of the stack pointer', '54  5c  56  83c420' /* push esp; pop esp; push esi; add esp,0x20 */),
  change(RBP, 'LEAVE', 'c9' /* leave */, { [RBP]: POINTER }),
  change(RSP, 'LEAVE', 'c9' /* leave */, { [RBP]: POINTER }),
  change(RSP, 'ENTER', 'c8200000' /* enter 0x20,0 */),
  change(RBP, 'ENTER', 'c8200000' /* enter 0x20,0 */),
  change(RSP, 'RET', 'e800000000  56  83c404' /* call .+5; push esi; add esp,4 */),
  change(RAX, 'LODS', 'ad' /* lodsd */, { [RSI]: POINTER }),
  change(RSI, 'LODS', 'ad' /* lodsd */),
  change(RSI, 'MOVS', 'a5' /* movsd */),
  change(RDI, 'MOVS', 'a5' /* movsd */),
  change(RDI, 'STOS downwards', 'fd  aa  fc' /* std; stosb; cld */),
  change(RDI, 'REP STOS', 'b941000000  f3aa' /* mov ecx,0x41; rep stosb */),
  change(RSI, 'REP MOVS', 'b941000000  f3a4' /* mov ecx,0x41; rep movsb */),
  change(RDI, 'REPNE SCAS', 'b941000000  f2ae' /* mov ecx,0x41; repne scasb */),
  change(RCX, 'REP STOS', 'f3aa' /* rep stosb */, { [RCX]: 0x18_0800, [RDI]: 0x20_0000 }),
  change(RCX, 'LOOP', 'e200' /* loop .+2 */),
  change(RAX, 'CPUID', '0fa2' /* cpuid */),
  change(RDX, 'RDTSC', '0f31' /* rdtsc */),
  change(RAX, 'SMSW', '0f01e0' /* smsw eax */),
  change(RAX, 'XLAT', 'd7' /* xlatb */, { [RBX]: 0x20_0000 }),
  change(RAX, 'PUSHF and POP', '9c  58' /* pushf; pop eax */),
  change(RAX, 'IN', 'e440' /* in al,0x40 */),
  change(RBX, 'MOV from a segment register', '8cdb' /* mov ebx,ds */),
  change(RBX, 'LAR', '6a08  5e  0f02de' /* push 8; pop esi; lar ebx,esi */),
  change(RAX, 'DAA', '27' /* daa */, { [RAX]: 0x30_081a }, 'prot32'),
  change(RAX, 'AAM', 'd40a' /* aam */, { [RAX]: 0x30_0837 }, 'prot32'),
  change(RBX, 'POPA', '6800403000  8f4424ec  83ec20  61' /* push 0x304000; pop [esp-0x14]; sub esp,0x20; popa */, {}, 'prot32'),
  change(RBX, 'ADD of doublewords', '83c310' /* add ebx,16 */, {}, 'long64'),
  change(RBX, 'MOV of doublewords', '89f3' /* mov ebx,esi */, { [RSI]: FOUND }, 'long64'),
  change(RBX, 'LEA of doublewords', '8d5b20' /* lea ebx,[rbx+0x20] */, {}, 'long64'),
  change(RBX, 'LEA with 32-bit addresses', '67488d5b20' /* lea rbx,[ebx+0x20] */, {}, 'long64'),
  change(RBX, 'MOVSXD', '4863de' /* movsxd rbx,esi */, { [RSI]: FOUND }, 'long64'),
  change(RBX, 'POP behind 16-bit PUSHes', '6656  6656  6656  6656  5b  81e3ffff0000' /* push si; push si; push si; push si; pop rbx; and ebx,0xffff */, { [RSI]: 0x4000 }, 'long64'),
];

describe.each(MODES)('a base that changes between accesses, %s', mode => {
  const pair = new EnginePair(mode);
  it.each(CHANGES.filter(({ only }) => only === undefined || only === mode))('$name, register $base', ({ base, code, gprs }) => {
    const program = around(base, code);
    for (let turn = 0; turn < 2; turn++) {
      fill(pair);
      const start = { [RAX]: 0, [RCX]: 0, [RDX]: 0, [RBX]: 0, [RSP]: STACK, [RBP]: 0x28_0000, [RSI]: 0x2a_0000, [RDI]: 0x2c_0000, ...(base === RSP ? {} : { [base]: BASE }), ...gprs };
      const { fault } = pair.run(program, { gprs: start, place: turn === 0 });
      expect(fault).toBeUndefined();
    }
  });
});

it('a 32-bit sum loses the upper half', () => {
  const pair = new EnginePair('long64', { paging: true });
  // What lies at 4 GiB and 3 MiB is another page than what lies at 3 MiB.
  const PDPT = 0x60_1000, PD = 0x60_2000, OTHER = 0x68_0000;
  pair.each(core => {
    const view = new DataView(core.ram.buffer, core.ram.byteOffset);
    view.setBigUint64(PDPT + 8 * 4, BigInt(OTHER) | 7n, true);
    view.setBigUint64(OTHER + 8, view.getBigUint64(PD + 16, true), true);
  });
  pair.set32(0x50_0800, 1, 2, 3, 4);
  pair.set32(0x30_0800, 10, 20, 30, 40);
  for (const change of ['83c304' /* add ebx,4 */, '83ebfc' /* sub ebx,-4 */, '8d5b04' /* lea ebx,[rbx+4] */, '89db  4883c304' /* mov ebx,ebx; add rbx,4 */, '53  5a  89d3  488d5b04' /* push rbx; pop rdx; mov ebx,edx; lea rbx,[rbx+4] */]) {
    pair.run([...hex('8b03  894308' /* mov eax,[rbx]; mov [rbx+8],eax */), ...hex(change), ...hex('8b0b  894b08' /* mov ecx,[rbx]; mov [rbx+8],ecx */)], { gprs: { [RBX]: 0x1_0030_0800n, [RSP]: 0x20_0800 } });
    expect([pair.gpr(RAX), pair.gpr(RCX), pair.get32(0x50_0808), pair.get32(0x30_080c)]).toEqual([1, 20, 1, 20]);
  }
});

describe.each(MODES)('frames anywhere on two pages, %s', mode => {
  const PAGE = 0x30_1000;
  const pair = new EnginePair(mode, { paging: true });
  pair.map(PAGE - 0x1000, 0x40_0000);
  pair.map(PAGE, 0x50_3000);

  const everywhere = (code: readonly number[], step: number, gprs: (at: number) => Readonly<Record<number, number>>): void => {
    pair.each(core => core.load(code, CODE));
    for (let at = PAGE - 0xa0; at <= PAGE + 0x60; at += step) {
      pair.each(core => {
        core.ram.set(words.subarray(0, 0x1000), 0x40_0000);
        core.ram.set(words.subarray(0x1000, 0x2000), 0x50_3000);
      });
      const { fault } = pair.run(code, { gprs: { [RAX]: 1, [RCX]: 2, [RDX]: 3, [RBX]: 4, [RSI]: 5, [RDI]: 6, ...gprs(at) }, place: false });
      expect(fault).toBeUndefined();
    }
  };

  it('PUSH, POP, LEAVE, LEA, sums and copies of the stack pointer', () => {
    const code = hex(
      '55  89e5  83ec20  8945fc  890c24  8d542408  8902  015a04', // push ebp; mov ebp,esp; sub esp,0x20; mov [ebp-4],eax; mov [esp],ecx; lea edx,[esp+8]; mov [edx],eax; add [edx+4],ebx
      'ff75fc  8f442404  8b4c2410  42  881a  4a  315a08  53  51  83c408', // push [ebp-4]; pop [esp+4]; mov ecx,[esp+16]; inc edx; mov [edx],bl; dec edx; xor [edx+8],ebx; push ebx; push ecx; add esp,8
      '8d75e8  89f7  83c704  8b07  894608  83ef08  0107  89fc  50  89ec', // lea esi,[ebp-0x18]; mov edi,esi; add edi,4; mov eax,[edi]; mov [esi+8],eax; sub edi,8; add [edi],eax; mov esp,edi; push eax; mov esp,ebp
      '8b4c24f8  8b45f8  c9  55  59', // mov ecx,[esp-8]; mov eax,[ebp-8]; leave; push ebp; pop ecx
    );
    everywhere(code, 4, at => ({ [RSP]: at, [RBP]: at + 0x10 }));
  });

  it('calls and forks, each way with its own stack', () => {
    const code = hex(
      '53  e80a000000  8b0c24  034c2408  5b  eb2a  8b442404  a804  7408  53  8944240c  5b  eb11  83c4f0  890424  8b542410  89542408  83c410  8b442404  89442408  c3  8b5424fc', // push ebx; call 1f; mov ecx,[esp]; add ecx,[esp+8]; pop ebx; jmp 9f; 1: mov eax,[esp+4]; test al,4; jz 2f; push ebx; mov [esp+12],eax; pop ebx; jmp 3f; 2: add esp,-16; mov [esp],eax; mov edx,[esp+16]; mov [esp+8],edx; add esp,16; 3: mov eax,[esp+4]; mov [esp+8],eax; ret; 9: mov edx,[esp-4]
    );
    for (const value of [4, 3]) everywhere(code, 4, at => ({ [RSP]: at, [RBX]: value }));
  });

  it('loops over records', () => {
    const code = hex(
      'b905000000  8b06  034608  894604  38d8  7207  01460c  668b560a  305603  83c610  49  75e4  8b46f0', // mov ecx,5; 1: mov eax,[esi]; add eax,[esi+8]; mov [esi+4],eax; cmp al,bl; jb 2f; add [esi+12],eax; mov dx,[esi+10]; 2: xor [esi+3],dl; add esi,16; dec ecx; jnz 1b; mov eax,[esi-16]
    );
    everywhere(code, 1, at => ({ [RSI]: at - 0x20 }));
  });

  it('vectors, and those that must be aligned', () => {
    const code = hex('0f104301  0f284b10  0f580b  0f294320  660f6f5320  f20f114b09  0f2913' /* movups xmm0,[ebx+1]; movaps xmm1,[ebx+16]; addps xmm1,[ebx]; movaps [ebx+32],xmm0; movdqa xmm2,[ebx+32]; movsd [ebx+9],xmm1; movaps [ebx],xmm2 */);
    everywhere(code, 16, at => ({ [RBX]: at }));
    const misaligned = hex('0f2803  0f114318  0f284b08  0f294b10' /* movaps xmm0,[ebx]; movups [ebx+24],xmm0; movaps xmm1,[ebx+8]; movaps [ebx+16],xmm1 */);
    for (const at of [PAGE - 0x30, PAGE - 0x10, PAGE + 0x40]) {
      expect(pair.run(misaligned, { gprs: { [RBX]: at } }).fault).toEqual({ vector: 13, code: 0, rip: BigInt(CODE + 7) });
      expect(pair.run(misaligned, { gprs: { [RBX]: at + 8 }, place: false }).fault).toEqual({ vector: 13, code: 0, rip: BigInt(CODE) });
    }
  });

  it('bit strings that reach far from their base', () => {
    const code = hex('8b03  0fab0b  8b5304  0fa37308  83d200  89530c  0fb33b  8b4304' /* mov eax,[ebx]; bts [ebx],ecx; mov edx,[ebx+4]; bt [ebx+8],esi; adc edx,0; mov [ebx+12],edx; btr [ebx],edi; mov eax,[ebx+4] */);
    for (const bit of [0, 33, 8 * 0x800, -1, -8 * 0x800 + 5]) everywhere(code, 12, at => ({ [RBX]: at, [RCX]: bit, [RSI]: 40 - bit, [RDI]: bit + 35 }));
  });
});

it.each([30, 1100])('%d values in one region, of which not all have windows', count => {
  const pair = new EnginePair('prot32', { jit: { threshold: 3, batch: 1, maxInstructions: 4000 } });
  fill(pair);
  const code = [...hex('b90c000000' /* mov ecx,12 */)];
  const top = code.length;
  for (let n = 0; n < count; n++) {
    // mov ebx, address; mov eax, [ebx]; add [ebx+4], eax
    code.push(0xbb, ...new Uint8Array(Uint32Array.of(BASE + 36 * n).buffer), ...hex('8b 03  01 43 04'));
  }
  code.push(...hex('49' /* dec ecx */), 0x0f, 0x85, ...new Uint8Array(Int32Array.of(top - code.length - 7).buffer));
  expect(pair.run(code, { max: 100_000 })).toEqual({ fault: undefined, halted: false, instructions: 1 + 12 * (3 * count + 2) });
});
