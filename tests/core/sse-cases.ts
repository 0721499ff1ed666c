// Operands of the SSE fixtures, the same as tools/fixtures/sse-gen.c makes them: change both or neither.

/** Registers and memory around one instruction; 32-bit words, least significant first. */
export interface SseState {
  xmm: Uint32Array; // three registers
  mem: Uint32Array; // 32 bytes at [rsi] = [rdi]
  mmx: Uint32Array; // mm1, mm2
  gpr: Uint32Array; // rax, rcx, rdx
  flags: number; // CF PF AF ZF SF OF at their places
  mxcsr: number;
  trapped: number; // 1 after #XM, 2 after any other fault
}

/** One line of sse-forms.txt. */
export interface SseForm {
  name: string;
  code: Uint8Array;
  kind: string;
  mmx: boolean;
}

export function parseForms(text: string): SseForm[] {
  return text.trim().split('\n').map((line) => {
    const [name = '', hex = '', kind = '', flags = ''] = line.split(' ');
    return { name, code: Uint8Array.from(hex.match(/../g) ?? [], (b) => parseInt(b, 16)), kind, mmx: flags === 'm' };
  });
}

let seed = 0;
function next(): number {
  seed = (seed + 0x9e3779b9) | 0;
  let z = Math.imul(seed ^ (seed >>> 16), 0x21f0aaad);
  z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
  return (z ^ (z >>> 15)) >>> 0;
}

const EDGES = [0, 0x7f, 0x80, 0xff];
function integerWord(): number {
  let w = next();
  const r = next();
  for (let b = 0; b < 32; b += 8) {
    const pick = (r >>> b) & 7;
    if (pick < 4) w = (w & ~(0xff << b)) | ((EDGES[pick] ?? 0) << b);
  }
  return w;
}

function single(): number {
  const r = next(), w = next(), sign = w & 0x80000000, frac = w & 0x7fffff;
  switch (r & 15) {
    case 0: return sign;
    case 1: return sign | 0x7f800000;
    case 2: return sign | 0x7fc00000 | frac;
    case 3: return sign | 0x7f800000 | (frac & 0x3fffff) | 1;
    case 4: return sign | (frac >>> ((r >>> 8) & 15));
    case 5: return sign | 0x7f7fffff;
    case 6: return sign | (((r >>> 8) & 3) << 23) | ((r >>> 12) & 1 ? frac : (r >>> 13) & 1 ? 0 : 0x7fffff);
    case 7: case 8: return sign | ((127 + ((r >>> 8) & 31)) << 23) | (frac & (-1 << ((r >>> 16) & 31)));
    case 9: return sign | ((126 + ((r >>> 8) & 1)) << 23) | ((r >>> 9) & 1 ? 0 : frac);
    case 10: return sign | ((155 + ((r >>> 8) & 7)) << 23) | ((r >>> 12) & 1 ? 0 : frac);
    case 11: return sign | ((188 + ((r >>> 8) & 3)) << 23) | ((r >>> 12) & 1 ? 0 : frac);
    case 12: return sign | ((240 + ((r >>> 8) % 15)) << 23) | frac;
    case 13: return sign | ((64 + ((r >>> 8) & 127)) << 23) | (frac & (-1 << ((r >>> 16) & 15)));
    default: return w;
  }
}

function double(): [low: number, high: number] {
  const r = next(), w = next(), x = next(), sign = w & 0x80000000, frac = w & 0xfffff;
  const cut = (r >>> 16) & 63;
  const lowCut = cut >= 32 ? 0 : -1 << cut, highCut = cut < 32 ? -1 : -1 << (cut - 32);
  const at = (base: number, mask: number): number => (base + ((r >>> 8) & mask)) << 20;
  const whole = ((r >>> 12) & 1) !== 0, other = ((r >>> 13) & 1) !== 0;
  switch (r & 15) {
    case 0: return [0, sign];
    case 1: return [0, sign | 0x7ff00000];
    case 2: return [x, sign | 0x7ff80000 | frac];
    case 3: return [x | 1, sign | 0x7ff00000 | (frac & 0x7ffff)];
    case 4: return [(r >>> 8) & 1 ? x >>> ((r >>> 9) & 31) : x, sign | ((r >>> 8) & 1 ? 0 : frac >>> ((r >>> 9) & 15))];
    case 5: return [-1, sign | 0x7fefffff];
    case 6: return [whole ? x : other ? 0 : -1, sign | (((r >>> 8) & 3) << 20) | (whole ? frac : other ? 0 : 0xfffff)];
    case 7: case 8: return [x & lowCut, sign | at(1023, 63) | (frac & highCut)];
    case 9: return [(r >>> 9) & 1 ? 0 : x, sign | at(1022, 1) | ((r >>> 9) & 1 ? 0 : frac)];
    case 10: return [whole ? 0 : x, sign | at(1052, 3) | (whole ? 0 : frac)];
    case 11: return [whole ? 0xfffff800 : x, sign | at(1084, 3) | (whole ? 0xfffff : frac)];
    case 12: return [x, sign | ((2030 + ((r >>> 8) % 17)) << 20) | frac];
    case 13: return [x & lowCut, sign | at(868, 63) | (frac & highCut)];
    case 14: return [x & lowCut, sign | at(1140, 15) | (frac & highCut)];
    default: return [x, w];
  }
}

const ALPHABET = [0x61, 0x61, 0x62, 0x63, 0x80, 0xff, 0x61, 0x62];
function textWord(): number {
  let w = 0;
  for (let b = 0; b < 32; b += 8) {
    const r = next();
    w |= ((r >>> 8) % 24 === 0 ? 0 : ALPHABET[r & 7] ?? 0) << b;
  }
  return w;
}

function words(kind: string, p: Uint32Array): void {
  for (let k = 0; k < p.length; k++) {
    if (kind === 's') p[k] = single();
    else if (kind === 'd') {
      const [low, high] = double();
      p[k++] = low;
      p[k] = high;
    } else p[k] = kind === 't' ? textWord() : integerWord();
  }
}

function control(): number {
  const r = next();
  switch (r & 7) {
    case 0: case 1: return 0x1f80;
    case 2: return 0x1fa0;
    case 3: return 0x1fa0 | ((r >>> 8) & 0x6000);
    case 4: return 0x1f80 | ((r >>> 8) & 0xe040);
    case 5: return 0x1f80 | ((r >>> 8) & 0xe07f);
    case 6: return (r >>> 8) & 0xffff;
    default: return ((r >>> 8) & 0xffff) | 0x1f80;
  }
}

function length(v: number, gpr: Uint32Array, at: number): void {
  gpr[at] = v;
  gpr[at + 1] = v < 0 ? -1 : 0;
}

/** The state before case `index` of a form. */
export function makeCase(form: SseForm, index: number): SseState {
  seed = 0x811c9dc5;
  for (let k = 0; k < form.name.length; k++) seed = Math.imul(seed ^ form.name.charCodeAt(k), 16777619);
  seed ^= Math.imul(index, 0x85ebca6b);
  const mxcsr = control();
  const flags = next() & 0x8d5;
  const gpr = new Uint32Array(6), xmm = new Uint32Array(12), mmx = new Uint32Array(4), mem = new Uint32Array(8);
  words('i', gpr);
  if (form.kind === 't') {
    const r = next();
    if (r & 3) length(((r >>> 8) & 31) - 6, gpr, 0);
    if (r & 12) length(((r >>> 16) & 31) - 6, gpr, 4);
  }
  words(form.kind, xmm);
  words(form.kind, mmx);
  words(form.kind, mem);
  if (form.kind === 'c') {
    const r = next();
    if (r & 7) {
      const count = (r >>> 8) & 127;
      xmm[8] = mem[0] = mmx[2] = count;
      xmm[9] = mem[1] = mmx[3] = 0;
    }
  }
  if (form.kind === 'x') mem[0] = (mem[0] ?? 0) & 0xffff;
  return { xmm, mem, mmx, gpr, flags, mxcsr, trapped: 0 };
}

function hashWords(h: number, p: ArrayLike<number>): number {
  for (let k = 0; k < p.length; k++) h = Math.imul(h ^ (p[k] ?? 0), 16777619);
  return h;
}

export const HASH_START = 0x811c9dc5;

/** Adds the state after a case to a group's hash. */
export function hashOutcome(h: number, s: SseState, mmx: boolean): number {
  h = hashWords(hashWords(h, s.xmm), s.mem);
  if (mmx) h = hashWords(h, s.mmx);
  return (hashWords(hashWords(h, s.gpr), [s.mxcsr, s.flags & 0x8d5, s.trapped]) + 1) | 0;
}
