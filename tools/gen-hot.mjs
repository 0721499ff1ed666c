#!/usr/bin/env node
// Writes assembly/generated/hot.ts (numbers and facts of the hot operations) and assembly/generated/execute.ts (the interpreter's switch).
// One table: a group is a name, the sizes of its index dimensions, and a function that gives the body of each case.
// The semantics are the definitions of assembly/ops/*.ts over a backend: `b` keeps flags, `q` does not.
import { mkdirSync, writeFileSync } from 'node:fs';

const W = 1, R = 2, F = 4;
const groups = [];
const cases = [];
let next = 0;

/** Adds a group; `body(...indices)` returns { code, facts?, quiet?, ends? } or undefined for a number that is never decoded. */
function group(name, dims, body) {
  const base = next;
  groups.push({ name, base });
  const count = dims.reduce((a, b) => a * b, 1);
  for (let n = 0; n < count; n++) {
    const index = [];
    let rest = n;
    for (let k = dims.length - 1; k >= 0; k--) {
      index[k] = rest % dims[k];
      rest = Math.floor(rest / dims[k]);
    }
    const c = body(...index);
    if (c) cases.push({ op: base + n, name: `${name} ${index.join(' ')}`, ...c });
  }
  next = base + count;
  return base;
}

const A = T => `load<${T}>(p + <usize>load<u8>(ip, 4))`;
const B = T => `load<${T}>(p + <usize>load<u8>(ip, 5))`;
const SET = (T, v) => T === 'u32' ? `store<u64>(p + <usize>load<u8>(ip, 4), <u64>${v})` : `store<${T}>(p + <usize>load<u8>(ip, 4), ${v})`;
const SETB = (T, v) => T === 'u32' ? `store<u64>(p + <usize>load<u8>(ip, 5), <u64>${v})` : `store<${T}>(p + <usize>load<u8>(ip, 5), ${v})`;
const IMM = T => `<${T}>load<u64>(ip, 16)`;
const EA = '((load<u64>(p + <usize>load<u8>(ip, 6)) + (load<u64>(p + <usize>load<u8>(ip, 7)) << <u64>load<u8>(ip, 8)) + <u64><i64>load<i32>(ip, 12)) & am)';
const SIZEOF = { u8: 1, u16: 2, u32: 4, u64: 8 };

// Loads and stores: the fast path in line, everything else in a call. Each leaves its result in `name`.
const LOAD = (T, name, address) => `const ad: u64 = ${address}; const en = tr + <usize>((ad >> 8) & 0xfff0);
        const ${name}: ${T} = load<u64>(en) == (${SIZEOF[T] === 1 ? 'ad' : `(ad + ${SIZEOF[T] - 1})`} & ~0xfff) ? load<${T}>(<usize>(<u32>ad + load<u32>(en, 8))) : slowRead<${T}>(cpu, ad, ip);`;
const STORE = (T, address, value) => `const aw: u64 = ${address}; const ew = tw + <usize>((aw >> 8) & 0xfff0);
        if (load<u64>(ew) == (${SIZEOF[T] === 1 ? 'aw' : `(aw + ${SIZEOF[T] - 1})`} & ~0xfff)) store<${T}>(<usize>(<u32>aw + load<u32>(ew, 8)), ${value}); else slowWrite<${T}>(cpu, aw, ${value}, ip);`;
const MODIFY = (T, compute) => `const at: u64 = ${EA}; const em = tw + <usize>((at >> 8) & 0xfff0);
        if (load<u64>(em) == (${SIZEOF[T] === 1 ? 'at' : `(at + ${SIZEOF[T] - 1})`} & ~0xfff)) { const h = <usize>(<u32>at + load<u32>(em, 8)); store<${T}>(h, ${compute(`load<${T}>(h)`)}); }
        else { const v = slowReadForWrite<${T}>(cpu, at, ip); slowWrite<${T}>(cpu, at, ${compute('v')}, ip); }`;

const BDQ = ['u8', 'u32', 'u64'];
const DQ = ['u32', 'u64'];
const BWDQ = ['u8', 'u16', 'u32', 'u64'];
const KINDS = ['add', 'or_', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp'];
const reads = k => (k === 2 || k === 3 ? R : 0);

group('STOP', [1], () => ({ code: 'STOP', raw: true }));
group('NOP', [1], () => ({ code: '' }));

const QUIET_KINDS = [0, 1, 4, 5, 6];
const QALU = next + 8 * 5 * 3;
group('ALU', [8, 5, 3], (k, form, s) => {
  const T = BDQ[s], f = KINDS[k];
  const apply = (x, y) => `${f}<Interp, ${T}>(b, ${x}, ${y})`;
  const facts = W | reads(k);
  if (form < 2) {
    const y = form === 0 ? B(T) : IMM(T);
    const quiet = s > 0 && QUIET_KINDS.includes(k) ? QALU + (QUIET_KINDS.indexOf(k) * 2 + form) * 2 + s - 1 : 0;
    if (k === 7) return { code: `${apply(A(T), y)};`, facts };
    return { code: `${SET(T, apply(A(T), y))};`, facts, quiet };
  }
  if (form === 2) {
    const load = LOAD(T, 'm', EA);
    if (k === 7) return { code: `${load} ${apply(A(T), 'm')};`, facts: facts | F };
    return { code: `${load} ${SET(T, apply(A(T), 'm'))};`, facts: facts | F };
  }
  const y = form === 3 ? A(T) : IMM(T);
  if (k === 7) return { code: `${LOAD(T, 'm', EA)} ${apply('m', y)};`, facts: facts | F };
  return { code: MODIFY(T, v => apply(v, y)), facts: facts | F };
});
group('QALU', [5, 2, 2], (k, form, s) => {
  const T = DQ[s];
  return { code: `${SET(T, `${KINDS[QUIET_KINDS[k]]}<Quiet, ${T}>(q, ${A(T)}, ${form === 0 ? B(T) : IMM(T)})`)};` };
});
group('TEST', [4, 3], (form, s) => {
  const T = BDQ[s];
  if (form < 2) return { code: `test<Interp, ${T}>(b, ${A(T)}, ${form === 0 ? B(T) : IMM(T)});`, facts: W };
  return { code: `${LOAD(T, 'm', EA)} test<Interp, ${T}>(b, m, ${form === 2 ? A(T) : IMM(T)});`, facts: W | F };
});
group('MOV_RR', [4], s => ({ code: `${SET(BWDQ[s], B(BWDQ[s]))};` }));
group('MOV_RI', [3], s => ({ code: `${SET(['u8', 'u16', 'u64'][s], IMM(['u8', 'u16', 'u64'][s]))};` }));
group('MOV_RM', [4], s => ({ code: `${LOAD(BWDQ[s], 'm', EA)} ${SET(BWDQ[s], 'm')};`, facts: F }));
group('MOV_MR', [4], s => ({ code: STORE(BWDQ[s], EA, A(BWDQ[s])), facts: F }));
group('MOV_MI', [4], s => ({ code: STORE(BWDQ[s], EA, IMM(BWDQ[s])), facts: F }));
group('MOVZX_RR', [2], s => ({ code: `${SET('u32', `<u32>${B(BWDQ[s])}`)};` }));
group('MOVZX_RM', [2], s => ({ code: `${LOAD(BWDQ[s], 'm', EA)} ${SET('u32', '<u32>m')};`, facts: F }));
const SX = [['i8', 'u8', 'u32'], ['i16', 'u16', 'u32'], ['i8', 'u8', 'u64'], ['i16', 'u16', 'u64'], ['i32', 'u32', 'u64']];
const sx = (v, n) => `<${SX[n][2]}><${SX[n][2].replace('u', 'i')}><${SX[n][0]}>${v}`;
group('MOVSX_RR', [5], n => ({ code: `${SET(SX[n][2], sx(B(SX[n][1]), n))};` }));
group('MOVSX_RM', [5], n => ({ code: `${LOAD(SX[n][1], 'm', EA)} ${SET(SX[n][2], sx('m', n))};`, facts: F }));
group('LEA', [2], s => ({ code: `${SET(DQ[s], `<${DQ[s]}>${EA.replace(' & am)', ')')}`)};` }));
const ADD1 = k => s => QALU + (QUIET_KINDS.indexOf(k) * 2 + 1) * 2 + s;
group('INC_R', [2], s => ({ code: `${SET(DQ[s], `inc<Interp, ${DQ[s]}>(b, ${A(DQ[s])})`)};`, facts: W | R, quiet: ADD1(0)(s) }));
group('DEC_R', [2], s => ({ code: `${SET(DQ[s], `dec<Interp, ${DQ[s]}>(b, ${A(DQ[s])})`)};`, facts: W | R, quiet: ADD1(5)(s) }));
group('INC_M', [2], s => ({ code: MODIFY(DQ[s], v => `inc<Interp, ${DQ[s]}>(b, ${v})`), facts: W | R | F }));
group('DEC_M', [2], s => ({ code: MODIFY(DQ[s], v => `dec<Interp, ${DQ[s]}>(b, ${v})`), facts: W | R | F }));
group('NEG_R', [2], s => ({ code: `${SET(DQ[s], `neg<Interp, ${DQ[s]}>(b, ${A(DQ[s])})`)};`, facts: W }));
group('NOT_R', [2], s => ({ code: `${SET(DQ[s], `not_<Interp, ${DQ[s]}>(b, ${A(DQ[s])})`)};` }));
const SHIFTS = ['shl', 'shr', 'sar', 'rol', 'ror'];
const QSHIFT = next + 10;
group('SHIFT_RI', [5, 2], (k, s) => ({
  code: `${SET(DQ[s], `${SHIFTS[k]}<Interp, ${DQ[s]}>(b, ${A(DQ[s])}, ${IMM('u32')})`)};`,
  facts: k > 2 ? W | R : W,
  quiet: QSHIFT + k * 2 + s,
}));
group('QSHIFT_RI', [5, 2], (k, s) => ({ code: `${SET(DQ[s], `${SHIFTS[k]}<Quiet, ${DQ[s]}>(q, ${A(DQ[s])}, ${IMM('u32')})`)};` }));
group('SHIFT_CL', [3, 2], (k, s) => ({
  code: `const c = <u32>load<u8>(p, 8) & ${s ? 63 : 31}; if (c) ${SET(DQ[s], `${SHIFTS[k]}<Interp, ${DQ[s]}>(b, ${A(DQ[s])}, c)`)};${s ? '' : ` else ${SET('u32', A('u32'))};`}`,
  facts: R,
}));
group('IMUL_RR', [2], s => ({ code: `${SET(DQ[s], `imul2<Interp, ${DQ[s]}>(b, ${A(DQ[s])}, ${B(DQ[s])})`)};`, facts: W | R, quiet: next + 6 + s }));
group('IMUL_RI', [2], s => ({ code: `${SET(DQ[s], `imul2<Interp, ${DQ[s]}>(b, ${B(DQ[s])}, ${IMM(DQ[s])})`)};`, facts: W | R, quiet: next + 6 + s }));
group('IMUL_RM', [2], s => ({ code: `${LOAD(DQ[s], 'm', EA)} ${SET(DQ[s], `imul2<Interp, ${DQ[s]}>(b, ${A(DQ[s])}, m)`)};`, facts: W | R | F }));
group('QIMUL_RR', [2], s => ({ code: `${SET(DQ[s], `<${DQ[s]}>(${A(DQ[s])} * ${B(DQ[s])})`)};` }));
group('QIMUL_RI', [2], s => ({ code: `${SET(DQ[s], `<${DQ[s]}>(${B(DQ[s])} * ${IMM(DQ[s])})`)};` }));
const CC = [
  'getOF(cpu) != 0', 'getOF(cpu) == 0', 'getCF(cpu) != 0', 'getCF(cpu) == 0', 'getZF(cpu)', '!getZF(cpu)',
  '(getZF(cpu) || getCF(cpu) != 0)', '!(getZF(cpu) || getCF(cpu) != 0)', 'getSF(cpu)', '!getSF(cpu)', 'getPF(cpu)', '!getPF(cpu)',
  'getSF(cpu) != (getOF(cpu) != 0)', 'getSF(cpu) == (getOF(cpu) != 0)',
  '(getZF(cpu) || getSF(cpu) != (getOF(cpu) != 0))', '!(getZF(cpu) || getSF(cpu) != (getOF(cpu) != 0))',
];
group('CMOV_RR', [16, 2], (cc, s) => ({ code: `const x = ${A(DQ[s])}; ${SET(DQ[s], `(${CC[cc]} ? ${B(DQ[s])} : x)`)};`, facts: R }));
group('CMOV_RM', [16, 2], (cc, s) => ({ code: `${LOAD(DQ[s], 'm', EA)} ${SET(DQ[s], `(${CC[cc]} ? m : ${A(DQ[s])})`)};`, facts: R | F }));
group('SETCC_R', [16], cc => ({ code: `${SET('u8', `<u8>(${CC[cc]})`)};`, facts: R }));
const NEXT = '(load<u64>(p, BRIP) + <u64>load<u16>(ip, 10))';
const TARGET = `((${NEXT} + <u64><i64>load<i32>(ip, 12)) & am)`;
const IMM32 = T => T === 'u64' ? '<u64><i64>load<i32>(ip, 16)' : `<${T}>load<u32>(ip, 16)`;
const FUSED = condition => `rip = ${NEXT}; if (${condition}) rip += <u64><i64>load<i32>(ip, 20); rip &= am;`;
const BRANCH = condition => `rip = ${NEXT}; if (${condition}) rip += <u64><i64>load<i32>(ip, 12); rip &= am;`;
const PUSH = (s, value) => s
  ? `const sp: u64 = load<u64>(p, RSP) - 8; ${STORE('u64', 'sp', value)} store<u64>(p, sp, RSP);`
  : `const sp: u64 = <u64>(<u32>load<u64>(p, RSP) - 4); ${STORE('u32', 'sp', `<u32>${value}`)} store<u64>(p, sp, RSP);`;
const CANON = s => s ? 'if (<u64>((<i64>to << 16) >> 16) != to) wildJump(cpu, ip);' : '';
group('JCC', [16], cc => ({ code: BRANCH(CC[cc]), ends: true, facts: R }));
group('JMP', [1], () => ({ code: `rip = ${TARGET};`, ends: true }));
group('CALL', [2], s => ({ code: `const to = ${NEXT} & am; ${PUSH(s, 'to')} rip = (to + <u64><i64>load<i32>(ip, 12)) & am;`, ends: true, facts: F }));
group('RET', [2], s => ({
  code: `const sp: u64 = ${s ? 'load<u64>(p, RSP)' : '<u64><u32>load<u64>(p, RSP)'}; ${LOAD(DQ[s], 'm', 'sp')} const to = <u64>m; ${CANON(s)} store<u64>(p, ${s ? 'sp + 8' : '<u64>(<u32>sp + 4)'}, RSP); rip = to;`,
  ends: true, facts: F,
}));
group('JMP_R', [2], s => ({ code: `const to = <u64>${A(DQ[s])}; ${CANON(s)} rip = to;`, ends: true, facts: F }));
group('CALL_R', [2], s => ({ code: `const to = <u64>${A(DQ[s])}; ${CANON(s)} ${PUSH(s, `(${NEXT} & am)`)} rip = to;`, ends: true, facts: F }));
group('JMP_M', [2], s => ({ code: `${LOAD(DQ[s], 'm', EA)} const to = <u64>m; ${CANON(s)} rip = to;`, ends: true, facts: F }));
group('CALL_M', [2], s => ({ code: `${LOAD(DQ[s], 'm', EA)} const to = <u64>m; ${CANON(s)} ${PUSH(s, `(${NEXT} & am)`)} rip = to;`, ends: true, facts: F }));
group('PUSH_R', [2], s => ({ code: PUSH(s, A('u64')), facts: F }));
group('POP_R', [2], s => ({
  code: `const sp: u64 = ${s ? 'load<u64>(p, RSP)' : '<u64><u32>load<u64>(p, RSP)'}; ${LOAD(DQ[s], 'm', 'sp')} store<u64>(p, ${s ? 'sp + 8' : '<u64>(<u32>sp + 4)'}, RSP); ${SET(DQ[s], 'm')};`,
  facts: F,
}));
group('PUSH_I', [2], s => ({ code: PUSH(s, IMM('u64')), facts: F }));
group('PUSH_M', [2], s => ({ code: `${LOAD(DQ[s], 'm', EA)} ${PUSH(s, '<u64>m')}`, facts: F }));
group('LEAVE', [2], s => ({
  code: `const sp: u64 = ${s ? 'load<u64>(p, RBP)' : '<u64><u32>load<u64>(p, RBP)'}; ${LOAD(DQ[s], 'm', 'sp')} store<u64>(p, ${s ? 'sp + 8' : '<u64>(<u32>sp + 4)'}, RSP); store<u64>(p, <u64>m, RBP);`,
  facts: F,
}));
group('CWDE', [2], s => ({ code: s ? 'store<u64>(p, <u64><i64>load<i32>(p));' : 'store<u64>(p, <u64><u32><i32>load<i16>(p));' }));
group('CDQ', [2], s => ({ code: s ? 'store<u64>(p, <u64>(load<i64>(p) >> 63), RDX);' : 'store<u64>(p, <u64><u32>(load<i32>(p) >> 31), RDX);' }));
group('XCHG_RR', [2], s => ({ code: `const x = ${A(DQ[s])}; ${SET(DQ[s], B(DQ[s]))}; ${SETB(DQ[s], 'x')};` }));
group('BSWAP', [2], s => ({ code: `${SET(DQ[s], `bswap<${DQ[s]}>(${A(DQ[s])})`)};` }));
const CMP_CC = [['u', '<'], ['u', '>='], ['u', '=='], ['u', '!='], ['u', '<='], ['u', '>'], ['d', '< 0'], ['d', '>= 0'], ['i', '<'], ['i', '>='], ['i', '<='], ['i', '>']];
group('CMPJ', [2, 3, 12], (form, s, cc) => {
  const T = BDQ[s], S = T.replace('u', 'i');
  const [kind, relation] = CMP_CC[cc];
  const test = kind === 'u' ? `x ${relation} y` : kind === 'i' ? `<${S}>x ${relation} <${S}>y` : `<${S}>(x - y) ${relation}`;
  return { code: `const x = ${A(T)}; const y = ${form === 0 ? B(T) : IMM32(T)}; cmp<Interp, ${T}>(b, x, y); ${FUSED(test)}`, ends: true, facts: W };
});
const TEST_CC = ['== 0', '!= 0', '< 0', '>= 0', '<= 0', '> 0'];
group('TESTJ', [2, 3, 6], (form, s, cc) => {
  const T = BDQ[s], S = T.replace('u', 'i');
  return {
    code: `const x = <${T}>(${A(T)} & ${form === 0 ? B(T) : IMM32(T)}); b.logic<${T}>(x); ${FUSED(`<${S}>x ${TEST_CC[cc]}`)}`,
    ends: true, facts: W,
  };
});
const E_NE = ['==', '!='];
const FEW = [2, 3, 0, 1, 4, 5]; // E NE B AE BE A among CMP_CC
const relate = cc => `x ${CMP_CC[cc][1]} y`;
group('CMPJ_RM', [2, 6], (s, cc) => {
  const T = DQ[s];
  return { code: `${LOAD(T, 'y', EA)} const x = ${A(T)}; cmp<Interp, ${T}>(b, x, y); ${FUSED(relate(FEW[cc]))}`, ends: true, facts: W | F };
});
group('CMPJ_MR', [2, 6], (s, cc) => {
  const T = DQ[s];
  return { code: `${LOAD(T, 'x', EA)} const y = ${A(T)}; cmp<Interp, ${T}>(b, x, y); ${FUSED(relate(FEW[cc]))}`, ends: true, facts: W | F };
});
group('CMPJ_MI', [3, 6], (s, cc) => {
  const T = BDQ[s];
  return { code: `${LOAD(T, 'x', EA)} const y = ${IMM32(T)}; cmp<Interp, ${T}>(b, x, y); ${FUSED(relate(FEW[cc]))}`, ends: true, facts: W | F };
});
group('TESTJ_MI', [2], cc => ({
  code: `${LOAD('u8', 'm', EA)} const x = <u8>(m & ${IMM32('u8')}); b.logic<u8>(x); ${FUSED(`x ${E_NE[cc]} 0`)}`, ends: true, facts: W | F,
}));
// ADD, SUB and AND with an immediate, INC and DEC, then JE or JNE.
group('ADDJ', [3, 2, 2], (k, s, cc) => {
  const T = DQ[s];
  return { code: `const x = ${['add', 'sub', 'and'][k]}<Interp, ${T}>(b, ${A(T)}, ${IMM32(T)}); ${SET(T, 'x')}; ${FUSED(`x ${E_NE[cc]} 0`)}`, ends: true, facts: W };
});
group('INCJ', [2, 2, 2], (k, s, cc) => {
  const T = DQ[s];
  return { code: `const x = ${['inc', 'dec'][k]}<Interp, ${T}>(b, ${A(T)}); ${SET(T, 'x')}; ${FUSED(`x ${E_NE[cc]} 0`)}`, ends: true, facts: W | R };
});
// String operations without REP, flat and of the natural address size: MOVS LODS STOS SCAS.
const STEP = T => `(load<u32>(p, EFLAGS) & 0x400 ? <u64>-${SIZEOF[T]} : <u64>${SIZEOF[T]})`;
const BUMP = (T, register) => `store<u64>(p, (load<u64>(p, ${register}) + ${STEP(T)}) & am, ${register});`;
group('MOVS', [3], s => ({ code: `${LOAD(BDQ[s], 'm', '(load<u64>(p, RSI) & am)')} ${STORE(BDQ[s], '(load<u64>(p, RDI) & am)', 'm')} ${BUMP(BDQ[s], 'RSI')} ${BUMP(BDQ[s], 'RDI')}`, facts: F }));
group('LODS', [3], s => ({ code: `${LOAD(BDQ[s], 'm', '(load<u64>(p, RSI) & am)')} store<${s === 1 ? 'u64' : BDQ[s]}>(p, ${s === 1 ? '<u64>m' : 'm'}); ${BUMP(BDQ[s], 'RSI')}`, facts: F }));
group('STOS', [3], s => ({ code: `${STORE(BDQ[s], '(load<u64>(p, RDI) & am)', `load<${BDQ[s]}>(p)`)} ${BUMP(BDQ[s], 'RDI')}`, facts: F }));
group('SCAS', [3], s => ({ code: `${LOAD(BDQ[s], 'm', '(load<u64>(p, RDI) & am)')} cmp<Interp, ${BDQ[s]}>(b, load<${BDQ[s]}>(p), m); ${BUMP(BDQ[s], 'RDI')}`, facts: W | F }));
group('RDTSC', [1], () => ({ code: 'cpu.insn = ip; rdtsc(cpu, changetype<Insn>(ip));', facts: F }));
const X = field => `p + CPU_XMM + (<usize>load<u8>(ip, ${field}) << 4)`;
group('MOV128_RR', [1], () => ({ code: `v128.store(${X(4)}, v128.load(${X(5)}));` }));
const VLOAD = aligned => `const av: u64 = ${EA}; ${aligned ? 'if (<u32>av & 15) misaligned(cpu, ip);' : ''} const ev = tr + <usize>((av >> 8) & 0xfff0);
        v128.store(${X(4)}, load<u64>(ev) == ((av + 15) & ~0xfff) ? v128.load(<usize>(<u32>av + load<u32>(ev, 8))) : slowRead128(cpu, av, ip));`;
const VSTORE = aligned => `const av: u64 = ${EA}; ${aligned ? 'if (<u32>av & 15) misaligned(cpu, ip);' : ''} const ev = tw + <usize>((av >> 8) & 0xfff0);
        if (load<u64>(ev) == ((av + 15) & ~0xfff)) v128.store(<usize>(<u32>av + load<u32>(ev, 8)), v128.load(${X(4)})); else slowWrite128(cpu, av, v128.load(${X(4)}), ip);`;
group('MOV128_RM', [1], () => ({ code: VLOAD(false), facts: F }));
group('MOV128_RMA', [1], () => ({ code: VLOAD(true), facts: F }));
group('MOV128_MR', [1], () => ({ code: VSTORE(false), facts: F }));
group('MOV128_MRA', [1], () => ({ code: VSTORE(true), facts: F }));

// Pairs: two records that often follow each other run in one dispatch. The second record stays as it is, so that faults and stops name the right one;
// a first half that takes its slow path goes on to the second through the switch, where a stop may wait. Chosen by counting pairs in boots.
const opOf = (name, ...index) => {
  const c = cases.find(x => x.name === [name, ...index].join(' '));
  if (!c) throw new Error(`no hot operation ${name} ${index}`);
  return c;
};
const SLOW = 'ip += INSN_BYTES; continue;';
const MISS = (T, table, a) => `load<u64>(${table} + <usize>((${a} >> 8) & 0xfff0)) != (${SIZEOF[T] === 1 ? a : `(${a} + ${SIZEOF[T] - 1})`} & ~0xfff)`;
const HOST = (table, a) => `<usize>(<u32>${a} + load<u32>(${table} + <usize>((${a} >> 8) & 0xfff0), 8))`;
const SP = s => (s ? 'load<u64>(p, RSP)' : '<u64><u32>load<u64>(p, RSP)');
/** First halves that access memory, by group and last index. */
const firstHalf = {
  MOV_RM: s => { const T = BWDQ[s]; return `const ad: u64 = ${EA}; if (${MISS(T, 'tr', 'ad')}) { ${SET(T, `slowRead<${T}>(cpu, ad, ip)`)}; ${SLOW} } ${SET(T, `load<${T}>(${HOST('tr', 'ad')})`)};`; },
  MOV_MR: s => { const T = BWDQ[s]; return `const ad: u64 = ${EA}; if (${MISS(T, 'tw', 'ad')}) { slowWrite<${T}>(cpu, ad, ${A(T)}, ip); ${SLOW} } store<${T}>(${HOST('tw', 'ad')}, ${A(T)});`; },
  PUSH_R: s => { const T = DQ[s]; return `const ad: u64 = ${s ? 'load<u64>(p, RSP) - 8' : '<u64>(<u32>load<u64>(p, RSP) - 4)'}; if (${MISS(T, 'tw', 'ad')}) { slowWrite<${T}>(cpu, ad, ${A(T)}, ip); store<u64>(p, ad, RSP); ${SLOW} } store<${T}>(${HOST('tw', 'ad')}, ${A(T)}); store<u64>(p, ad, RSP);`; },
  POP_R: s => { const T = DQ[s]; const up = s ? 'ad + 8' : '<u64>(<u32>ad + 4)'; return `const ad: u64 = ${SP(s)}; if (${MISS(T, 'tr', 'ad')}) { const v = slowRead<${T}>(cpu, ad, ip); store<u64>(p, ${up}, RSP); ${SET(T, 'v')}; ${SLOW} } const v = load<${T}>(${HOST('tr', 'ad')}); store<u64>(p, ${up}, RSP); ${SET(T, 'v')};`; },
};
const shifted = code => code.replace(/\(ip, (\d+)\)/g, (_, n) => `(ip, ${Number(n) + 24})`).replace(/, ip\)/g, ', ip + INSN_BYTES)');
const pairs = [];
function pair(a, b) {
  const first = opOf(...a), second = opOf(...b);
  const code = firstHalf[a[0]]?.(a[a.length - 1]) ?? first.code;
  if (!firstHalf[a[0]] && (first.facts ?? 0) & F) throw new Error(`${a} may fault`);
  pairs.push({ first: first.op, second: second.op, op: next });
  cases.push({ op: next, name: `${a.join(' ')} + ${b.join(' ')}`, code: `{ ${code} } { ${shifted(second.code)} }`, ends: second.ends, length: 2 });
  next++;
}
const PAIRS = next;
for (const s of [2, 3]) {
  const h = s - 2; // index among 32 and 64 bits
  const RR = ['MOV_RR', s], RM = ['MOV_RM', s], MR = ['MOV_MR', s], PUSH = ['PUSH_R', h], POP = ['POP_R', h];
  const ADD = ['QALU', 0, 0, h], ADDI = ['QALU', 0, 1, h], CMP = ['ALU', 7, 0, s - 1], SHR = ['QSHIFT_RI', 1, h], LEA = ['LEA', h];
  for (const a of [RR, RM, MR]) for (const b of [RR, RM, MR]) pair(a, b);
  for (const [a, b] of [
    [PUSH, PUSH], [PUSH, RR], [RR, PUSH], [RM, PUSH], [POP, POP], [POP, ['RET', h]], [RR, ['CALL', h]], [RM, ['CALL', h]],
    [RR, ADD], [ADD, RR], [ADD, ADD], [RM, ADD], [RM, ADDI], [RR, ADDI], [ADD, CMP], [ADDI, CMP], [RM, CMP], [CMP, RR],
    [['QIMUL_RR', h], ['QIMUL_RR', h]], [['QIMUL_RR', h], RR], [RR, ['QIMUL_RR', h]],
    [RR, SHR], [SHR, ADD], [SHR, RR], [RR, LEA], [LEA, RR], [LEA, RM], [RM, LEA],
    [['ALU', 0, 0, s - 1], RM], [['ALU', 0, 0, s - 1], MR], [['ALU', 2, 0, s - 1], MR], [RM, ['ALU', 5, 0, s - 1]], [['ALU', 5, 0, s - 1], RM],
    [RM, ['TESTJ', 0, s - 1, 0]], [RM, ['TESTJ', 0, s - 1, 1]], [SHR, ['ALU', 0, 0, s - 1]], [RM, ['ALU', 0, 2, s - 1]],
  ]) pair(a, b);
}
for (const [a, b] of [
  [['MOV_RR', 3], ['MOV_RR', 2]], [['MOV_RR', 2], ['MOV_RR', 3]], [['MOV_RR', 2], ['QSHIFT_RI', 1, 1]], [['MOV_RR', 2], ['MOVZX_RR', 1]], [['MOVZX_RR', 1], ['QSHIFT_RI', 1, 0]],
  [['NOP'].concat(0), ['PUSH_R', 1]], [['MOV_RM', 2], ['MOV_RM', 3]], [['MOV_RM', 3], ['MOV_RM', 2]],
]) pair(a, b);
const rows = [...new Set(pairs.map(x => x.first))], columns = [...new Set(pairs.map(x => x.second))];
const matrix = new Array(rows.length * columns.length).fill(0);
for (const x of pairs) matrix[rows.indexOf(x.first) * columns.length + columns.indexOf(x.second)] = x.op;

// VMLET_COUNT=1: the interpreter counts executions by operation number, 8 bytes each, from 0x07e8_0000 on; the compiler's: jit/count.ts.
const count = process.env.VMLET_COUNT ? 'const at = COUNTS + (<usize>load<u16>(ip) << 3); store<u64>(at, load<u64>(at) + 1); ' : '';
const facts = new Array(next).fill(0);
const quiet = new Array(next).fill(0);
for (const c of cases) {
  facts[c.op] = c.facts ?? 0;
  quiet[c.op] = c.quiet ?? 0;
}

mkdirSync(new URL('../assembly/generated/', import.meta.url), { recursive: true });
writeFileSync(new URL('../assembly/generated/hot.ts', import.meta.url), `// Made by tools/gen-hot.mjs.
export namespace Hot {
${groups.map(g => `  export const ${g.name}: u32 = ${g.base};`).join('\n')}
  export const COUNT: u32 = ${next};
}
/** Compiled code counts what it leaves to the core (VMLET_COUNT=1). */
export const COUNTING: bool = ${process.env.VMLET_COUNT ? 'true' : 'false'};
export const HOT_FACTS: usize = memory.data<u8>([${facts.join(',')}]);
export const HOT_QUIET: usize = memory.data<u16>([${quiet.join(',')}]);
/** Pairs begin here; the first half of pair n is HOT_PAIR_FIRST[n - PAIRS]. */
export const PAIRS: u32 = ${PAIRS};
export const HOT_PAIR_FIRST: usize = memory.data<u16>([${pairs.map(x => x.first).join(',')}]);
export const PAIR_COLUMNS: u32 = ${columns.length};
export const PAIR_ROW: usize = memory.data<u8>([${Array.from({ length: PAIRS }, (_, op) => (rows.indexOf(op) + 256) % 256).join(',')}]);
export const PAIR_COLUMN: usize = memory.data<u8>([${Array.from({ length: PAIRS }, (_, op) => (columns.indexOf(op) + 256) % 256).join(',')}]);
export const PAIR_OP: usize = memory.data<u16>([${matrix.join(',')}]);
`);

writeFileSync(new URL('../assembly/generated/execute.ts', import.meta.url), `// Made by tools/gen-hot.mjs: the interpreter's loop. See interp/run.ts for what surrounds it.
import { Cpu } from "../cpu/state";
import { cond, getCF, getOF, getPF, getSF, getZF } from "../cpu/flags";
import { CPU_JUMP, CPU_XMM, JUMP_ENTRIES } from "../layout";
import { INSN_BYTES, Insn } from "../decode/insn";
import { BLOCK_COUNT, BLOCK_HEADER, BLOCK_HEAT, BLOCK_NEXT } from "../interp/block-layout";
import { findBlock, scratchBlock } from "../interp/blocks";
import { Interp, Quiet, interp, quiet } from "../interp/backend";
import { misaligned, slowRead, slowRead128, slowReadForWrite, slowWrite, slowWrite128, wildJump } from "../interp/slow";
import { runRegions } from "../jit/chain";
import { heated } from "../jit/queue";
import { dispatchEnd, dispatch } from "../ops/dispatch";
import { rdtsc } from "../ops/system";
import { add, adc, and, cmp, dec, imul2, inc, neg, not_, or_, rol, ror, sar, sbb, shl, shr, sub, test, xor } from "../ops/alu";

const BRIP: usize = offsetof<Cpu>("brip");
const RSP: usize = offsetof<Cpu>("rsp");
const RBP: usize = offsetof<Cpu>("rbp");
const RDX: usize = offsetof<Cpu>("rdx");
const RSI: usize = offsetof<Cpu>("rsi");
const RDI: usize = offsetof<Cpu>("rdi");
const EFLAGS: usize = offsetof<Cpu>("eflags");
${process.env.VMLET_COUNT ? 'const COUNTS: usize = 0x07e8_0000;' : ''}

/** Runs blocks from Cpu.rip on until the budget is spent. */
export function execute(cpu: Cpu): void {
  const p = changetype<usize>(cpu);
  const b = interp(cpu);
  const q = quiet(cpu);
  let rip = cpu.rip;
  let am = cpu.addrMask;
  let tr = cpu.tlbRead;
  let tw = cpu.tlbWrite;
  for (;;) {
    let block: usize = 0;
    const je = p + CPU_JUMP + ((<usize>(rip ^ (rip >> 11)) & (JUMP_ENTRIES - 1)) << 4);
    if (load<u64>(je) == rip && load<u32>(je, 8) == cpu.jumpKey) {
      block = <usize>load<u32>(je, 12);
      if (<i32>block < 0) {
        // compiled: the entry holds the table slot
        if (cpu.bail) block = 0;
        else {
          cpu.rip = rip;
          runRegions(cpu, <u32>block & 0x7fff_ffff);
          rip = cpu.rip;
          am = cpu.addrMask;
          tr = cpu.tlbRead;
          tw = cpu.tlbWrite;
          continue;
        }
      }
    }
    if (!block) {
      cpu.rip = rip;
      cpu.block = 0;
      cpu.insn = 0;
      if (cpu.left <= 0) return;
      block = findBlock(cpu);
    }
    let left = cpu.left - <i32>load<u16>(block, BLOCK_COUNT);
    if (left < 0) {
      cpu.rip = rip;
      cpu.block = 0;
      cpu.insn = 0;
      if (cpu.left <= 0) return;
      block = scratchBlock(cpu, <u32>cpu.left);
      left = cpu.left - <i32>load<u16>(block, BLOCK_COUNT);
    }
    const heat = load<i32>(block, BLOCK_HEAT);
    if (heat) {
      if (heat > 0) {
        store<i32>(block, heat - 1, BLOCK_HEAT);
        cpu.bail = 0;
        if (cpu.block) store<u64>(cpu.block, rip, BLOCK_NEXT);
        if (heat == 1) {
          cpu.rip = rip;
          if (heated(cpu, block)) continue;
        }
      } else if (cpu.bail) cpu.bail = 0;
      else if (!cpu.interpretOnly) {
        store<u32>(je, <u32>-heat | 0x8000_0000, 12);
        continue;
      }
    }
    cpu.left = left;
    cpu.block = block;
    store<u64>(p, rip, BRIP);
    let ip = block + BLOCK_HEADER;
    for (;;) {
      ${count}switch (<u32>load<u16>(ip)) {
        case 0: {
          // STOP: the end of a block, or a stop in its middle
          const rest = <i32>load<u16>(block, BLOCK_COUNT) - <i32>load<u8>(ip, 3);
          cpu.left += rest;
          rip = (load<u64>(p, BRIP) + <u64>load<u16>(ip, 10) - <u64>load<u8>(ip, 2)) & am;
          if (ip == cpu.patched) {
            store<u16>(ip, <u16>cpu.patchedOp);
            cpu.patched = 0;
          }
          break;
        }
${cases.filter(c => !c.raw).map(c => `        case ${c.op}: { // ${c.name}
        ${c.code}
        ${c.ends ? 'break;' : c.length === 2 ? 'ip += 2 * INSN_BYTES; continue;' : 'ip += INSN_BYTES; continue;'} }`).join('\n')}
        default: {
          const op = <u32>load<u16>(ip);
          cpu.insn = ip;
          if ((op & 0xf000) != 0x2000) {
            dispatch(cpu, ip, op);
            ip += INSN_BYTES;
            continue;
          }
          cpu.rip = (load<u64>(p, BRIP) + <u64>load<u16>(ip, 10)) & am;
          dispatchEnd(cpu, ip, op - 0x2000);
          rip = cpu.rip;
          am = cpu.addrMask;
          tr = cpu.tlbRead;
          tw = cpu.tlbWrite;
          break;
        }
      }
      break;
    }
  }
}
`);
console.log(`${cases.length} hot operations of ${next} numbers`);

// Offsets of the CPU record, for the host.
const { readFileSync } = await import('node:fs');
const state = readFileSync(new URL('../assembly/cpu/state.ts', import.meta.url), 'utf8');
const body = /export class Cpu \{([\s\S]*?)\n\}/.exec(state)[1].replace(/\/\/.*$/gm, '');
const fields = [...body.matchAll(/(\w+)\s*:\s*\w+;/g)].map(m => m[1]);
writeFileSync(new URL('../assembly/generated/offsets.ts', import.meta.url), `// Made by tools/gen-hot.mjs from assembly/cpu/state.ts.
import { Cpu } from "../cpu/state";
${fields.map(f => `export const OFF_${f}: i32 = <i32>offsetof<Cpu>("${f}");`).join('\n')}
`);
