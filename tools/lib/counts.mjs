// What compiled code left to the core: the counters of assembly/jit/count.ts, with the names of assembly/decode/thick.ts.
import { readFileSync } from 'node:fs';

const read = file => readFileSync(new URL(`../../assembly/${file}`, import.meta.url), 'utf8').replace(/\/\/.*$/gm, '');

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
  const fn = new Map();
  for (const [, name, value] of /namespace Fn \{([\s\S]*?)\n\}/.exec(read('jit/operands.ts'))[1].matchAll(/const (\w+): u32 = (\d+)/g)) fn.set(Number(value), name);
  const counts = new BigUint64Array(buffer, 0x0710_0000, 0x2_0000);
  const rows = [];
  counts.forEach((count, k) => {
    if (!count) return;
    const op = 0x1000 + (k >> 3);
    const size = ['b', 'w', 'd', 'q'][(k >> 1) & 3] + (k & 1 ? ' mem' : '');
    const n = op & 0xfff;
    let name = op.toString(16);
    if (op < 0x2000) {
      let m = n;
      while (m > 0 && !thick.has(m)) m--;
      name = n < 24 ? `${['ADD', 'OR', 'ADC', 'SBB', 'AND', 'SUB', 'XOR', 'CMP'][Math.floor(n / 3)]} ${['E,G', 'G,E', 'E,I'][n % 3]}` : n >= 40 && n < 56 ? `${thick.get(n < 48 ? 40 : 48)} ${['ROL', 'ROR', 'RCL', 'RCR', 'SHL', 'SHR', 'SAL', 'SAR'][n & 7]}` : thick.get(n) ?? `${thick.get(m)}+${n - m}`;
    } else if (op < 0x3000) name = `END ${end.get(n) ?? n}`;
    else if (op < 0x4000) name = `x87 ${(0xd8 + (n >> 8)).toString(16)} ${(n & 255).toString(16)}`;
    else name = `SSE ${['0f', '0f38', '0f3a'][(n >> 10) & 3]} ${['', '66', 'f3', 'f2'][(n >> 8) & 3]} ${(n & 255).toString(16)}`;
    rows.push([Number(count), `${name} ${size}`]);
  });
  rows.sort((a, b) => b[0] - a[0]);
  const total = rows.reduce((sum, [count]) => sum + count, 0);
  console.error(`thick operations in compiled code: ${total}`);
  for (const [count, name] of rows.slice(0, most)) console.error(`${String(count).padStart(12)} ${((100 * count) / total).toFixed(2).padStart(6)}% ${name}`);
  const calls = new BigUint64Array(buffer, 0x0730_0000, 64);
  calls.forEach((count, k) => count && console.error(`${String(count).padStart(12)} call ${fn.get(k) ?? k}`));
};
