// What compiled code left to the core, the counters of assembly/jit/count.ts, and what the interpreter executed, with the names of assembly/decode/thick.ts.
import { readFileSync } from 'node:fs';

const read = (file, comments = false) => readFileSync(new URL(`../../assembly/${file}`, import.meta.url), 'utf8').replace(comments ? /^$/ : /\/\/.*$/gm, '');

const numbers = (text, name) => {
  const names = new Map();
  let next = 0;
  for (const part of new RegExp(`enum ${name} \\{([\\s\\S]*?)\\}`).exec(text)[1].split(',')) {
    const [label, value] = part.trim().split(/\s*=\s*/);
    if (!label) continue;
    next = value === undefined ? next : Number(value);
    names.set(next++, label);
  }
  return names;
};

/** Prints the most frequent entries; `buffer` is the core's memory. */
export const printCounts = (buffer, most = 400) => {
  const text = read('decode/thick.ts');
  const thick = numbers(text, 'Thick'), end = numbers(text, 'ThickEnd');
  const hot = new Map([...read('generated/execute.ts', true).matchAll(/case (\d+): \{ \/\/ (.*)/g)].map(([, op, name]) => [Number(op), name]));
  const fn = new Map();
  for (const [, name, value] of /namespace Fn \{([\s\S]*?)\n\}/.exec(read('jit/operands.ts'))[1].matchAll(/const (\w+): u32 = (\d+)/g)) fn.set(Number(value), name);
  const nameOf = op => {
    const n = op & 0xfff;
    if (op < 0x1000) return `hot ${hot.get(op) ?? op}`;
    if (op < 0x2000) {
      if (n < 24) return `${['ADD', 'OR', 'ADC', 'SBB', 'AND', 'SUB', 'XOR', 'CMP'][Math.floor(n / 3)]} ${['E,G', 'G,E', 'E,I'][n % 3]}`;
      if (n >= 40 && n < 56) return `${thick.get(n < 48 ? 40 : 48)} ${['ROL', 'ROR', 'RCL', 'RCR', 'SHL', 'SHR', 'SAL', 'SAR'][n & 7]}`;
      let m = n;
      while (m > 0 && !thick.has(m)) m--;
      return m === n ? thick.get(n) : `${thick.get(m)}+${n - m}`;
    }
    if (op < 0x3000) return `END ${end.get(n) ?? n}`;
    if (op < 0x4000) return `x87 ${(0xd8 + (n >> 8)).toString(16)} ${(n & 255).toString(16)}`;
    return `SSE ${['0f', '0f38', '0f3a'][(n >> 10) & 3]} ${['', '66', 'f3', 'f2'][(n >> 8) & 3]} ${(n & 255).toString(16)}`;
  };
  const print = (title, at, length, name) => {
    const rows = [...new BigUint64Array(buffer, at, length)].map((count, k) => [Number(count), k]).filter(([count]) => count > 0).sort((a, b) => b[0] - a[0]);
    const total = rows.reduce((sum, [count]) => sum + count, 0);
    console.error(`${title}: ${total}`);
    for (const [count, k] of rows.slice(0, most)) console.error(`${String(count).padStart(12)} ${((100 * count) / total).toFixed(2).padStart(6)}% ${name(k)}`);
  };
  print('thick operations in compiled code', 0x07ec_0000, 0x2_0000, k => `${nameOf(0x1000 + (k >> 3))} ${['b', 'w', 'd', 'q'][(k >> 1) & 3]}${k & 1 ? ' mem' : ''}`);
  print('calls of compiled code', 0x07fc_0000, 64, k => fn.get(k) ?? String(k));
  print('operations of the interpreter', 0x07e8_0000, 0x5000, nameOf);
};
