// Makes a failing scenario small, and prints it.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bitsOf, CODE } from './fuzz-machine.js';
import { type Block, layOut, type Piece } from './fuzz-program.js';
import { type Difference, FuzzCores, runScenario, type Scenario, type Step, VARIANTS } from './jit-fuzz.js';

const NOTHING: Piece = { bytes: [], fixups: [] };

const withPiece = (blocks: readonly Block[], block: number, piece: number, value: Piece): Block[] =>
  blocks.map((old, b) => (b === block ? { ...old, pieces: old.pieces.map((p, n) => (n === piece ? value : p)) } : old));

const withStep = (steps: readonly Step[], at: number, value: Step): Step[] => steps.map((step, n) => (n === at ? value : step));

export interface Shrunk {
  scenario: Scenario;
  difference: Difference;
  attempts: number;
}

export interface ShrinkOptions {
  maxMs?: number;
  now?: () => number;
  /** For tests. */
  run?: typeof runScenario;
  /** Fresh cores for every attempt: slow, for what reused ones hide. */
  fresh?: boolean;
}

/**
 * Takes away what is not needed for the engines to differ: steps, instructions, registers, budget. The result fails on fresh cores;
 * undefined when the scenario does not.
 */
export const shrink = (scenario: Scenario, options: ShrinkOptions = {}): Shrunk | undefined => {
  const small = reduce(scenario, options);
  if (small === undefined || options.fresh) return small;
  const difference = (options.run ?? runScenario)(new FuzzCores(), small.scenario);
  return difference === undefined ? reduce(scenario, { ...options, fresh: true }) : { ...small, difference };
};

const reduce = (scenario: Scenario, { maxMs = 60_000, now = () => performance.now(), run = runScenario, fresh = false }: ShrinkOptions): Shrunk | undefined => {
  const end = now() + maxMs;
  let attempts = 0;
  let cores = new FuzzCores();
  const differs = (candidate: Scenario): Difference | undefined => {
    attempts++;
    if (fresh) cores = new FuzzCores();
    return run(cores, candidate);
  };
  const first = differs(scenario);
  if (first === undefined) return undefined;
  let best = scenario;
  let difference = first;
  const attempt = (candidate: Scenario): boolean => {
    if (now() > end) return false;
    const found = differs(candidate);
    if (found === undefined) return false;
    best = { ...candidate, steps: candidate.steps.slice(0, found.step + 1) };
    difference = found;
    return true;
  };
  attempt({ ...best, steps: best.steps.slice(0, difference.step + 1) });
  for (let progress = true; progress && now() < end; ) {
    progress = false;
    const late = Math.max(0, best.steps.length - 2);
    if (late > 1) progress = attempt({ ...best, steps: best.steps.slice(late) }) || attempt({ ...best, steps: best.steps.slice(late >> 1) });
    for (let n = best.steps.length - 2; n >= 0; n--) progress = attempt({ ...best, steps: best.steps.filter((_, k) => k !== n) }) || progress;
    for (let b = 0; b < best.blocks.length; b++) {
      const { pieces } = best.blocks[b];
      // All but the branch at its end, then one by one.
      if (pieces.slice(0, -1).filter(({ bytes }) => bytes.length > 0).length > 1) {
        const emptied = best.blocks.map((block, k) => (k === b ? { ...block, pieces: block.pieces.map((piece, p) => (p === pieces.length - 1 ? piece : NOTHING)) } : block));
        if (attempt({ ...best, blocks: emptied })) progress = true;
      }
      for (let p = 0; p < pieces.length; p++) {
        const { bytes } = best.blocks[b].pieces[p];
        if (bytes.length === 0) continue; // gone by now
        if (attempt({ ...best, blocks: withPiece(best.blocks, b, p, NOTHING) })) progress = true;
        else if (bytes.some(byte => byte !== 0x90) && attempt({ ...best, blocks: withPiece(best.blocks, b, p, { bytes: bytes.map(() => 0x90), fixups: [] }) })) progress = true;
      }
      if (best.blocks[b].gap > 0 && attempt({ ...best, blocks: best.blocks.map((block, k) => (k === b ? { ...block, gap: 0 } : block)) })) progress = true;
    }
    for (let n = 0; n < best.steps.length; n++) {
      const step = best.steps[n];
      if (step.interrupt && attempt({ ...best, steps: withStep(best.steps, n, { ...step, interrupt: false }) })) progress = true;
      for (let cut = step.budget - 1; cut >= 1; cut = Math.floor(cut / 2)) {
        const now = best.steps[n].budget;
        if (now - cut >= 1 && attempt({ ...best, steps: withStep(best.steps, n, { ...best.steps[n], budget: now - cut }) })) progress = true;
        if (n >= best.steps.length) break;
      }
      if (n >= best.steps.length) break;
      for (let r = 0; r < 16; r++) {
        const value = best.steps[n].registers[r];
        if (value === undefined || value === 0n) continue;
        const registers = best.steps[n].registers.slice();
        for (const simple of [undefined, 0n, 1n]) {
          registers[r] = simple;
          if (value !== simple && attempt({ ...best, steps: withStep(best.steps, n, { ...best.steps[n], registers: registers.slice() }) })) {
            progress = progress || simple !== 1n;
            break;
          }
          if (n >= best.steps.length) break;
        }
        if (n >= best.steps.length) break;
      }
    }
    if (best.mode.kernel === false && best.variant !== 0 && attempt({ ...best, variant: 0 })) progress = true;
  }
  return { scenario: best, difference, attempts };
};

/** The bytes as instructions, one a line; by objdump where it is installed, else undefined. */
export const disassemble = (bytes: Uint8Array, at: number, bits: 16 | 32 | 64): string[] | undefined => {
  const folder = mkdtempSync(join(tmpdir(), 'vmlet-fuzz-'));
  try {
    const file = join(folder, 'code');
    writeFileSync(file, bytes);
    const machine = { 16: 'i8086', 32: 'i386', 64: 'i386:x86-64' }[bits];
    const { status, stdout } = spawnSync('objdump', ['-D', '-b', 'binary', '-m', machine, '-M', 'intel', `--adjust-vma=0x${at.toString(16)}`, file], { encoding: 'utf8' });
    return status === 0 ? stdout.split('\n').slice(7).filter(line => line.trim() !== '') : undefined;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

/** A scenario and what differs, for people. */
export const describeScenario = ({ mode, seed, blocks, steps, variant }: Scenario, difference: Difference): string => {
  const { bytes, starts } = layOut(blocks, CODE);
  const out = [`${mode.name}, seed ${seed}, compiler ${JSON.stringify(VARIANTS[variant])}`, `differs in step ${difference.step}:`];
  const [interp, jit] = [difference.interp.split(' '), difference.jit.split(' ')];
  out.push(`  interp ${difference.interp}`, `  jit    ${difference.jit}`);
  if (interp.length === jit.length) out.push(`  words: ${interp.flatMap((word, n) => (word === jit[n] ? [] : [`${word} / ${jit[n]}`])).join(', ')}`);
  steps.forEach((step, n) => {
    const registers = step.registers.flatMap((value, r) => (value === undefined ? [] : [`r${r}=${value.toString(16)}`]));
    out.push(`step ${n}: ${step.start === undefined ? '' : `from ${starts[step.start].toString(16)}, `}${step.budget} instructions${step.interrupt ? ', interrupt first' : ''}${registers.length > 0 ? `; ${registers.join(' ')}` : ''}`);
  });
  blocks.forEach(({ pieces }, n) => {
    const length = pieces.reduce((sum, piece) => sum + piece.bytes.length, 0);
    if (length === 0) return;
    const part = bytes.subarray(starts[n] - CODE, starts[n] - CODE + length);
    out.push(`block ${n} at ${starts[n].toString(16)}: ${Buffer.from(part).toString('hex')}`);
    out.push(...(disassemble(part, starts[n], bitsOf(mode.mode)) ?? []));
  });
  return out.join('\n');
};
