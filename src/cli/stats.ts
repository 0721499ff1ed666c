// What `--stats` says of a run.
import type { EngineStats } from '../vm.js';

const count = (value: number): string => value.toLocaleString('en-US');
const percent = (part: number, whole: number): string => `${whole === 0 ? '0.0' : ((100 * part) / whole).toFixed(1)} %`;
const per = (a: number, b: number): string => (b === 0 ? '0' : (a / b).toFixed(1));

/** Lines for people. */
export const statsLines = ({ engine, instructions, compiled, interpreted, jit }: EngineStats): string[] => {
  if (jit === undefined) return [`${count(instructions)} instructions, all interpreted (engine ${engine})`];
  const left = Object.entries(jit.exits);
  const other = Math.max(0, jit.entries - left.reduce((sum, [, times]) => sum + times, 0));
  const ms = jit.emitMs + jit.linkMs;
  return [
    `${count(instructions)} instructions: ${count(compiled)} as compiled code (${percent(compiled, instructions)}), ${count(interpreted)} interpreted`,
    `${count(jit.regions)} regions of ${count(jit.compiled)} instructions in ${count(jit.modules)} modules; ${per(jit.bytes, jit.compiled)} bytes of wasm an instruction; ${count(jit.live)} regions live`,
    `${ms.toFixed(0)} ms to compile: ${jit.emitMs.toFixed(0)} making wasm, ${jit.linkMs.toFixed(0)} in V8; ${per(jit.compiled, ms)} instructions a ms`,
    `${count(jit.entries)} entries, ${per(compiled, jit.entries)} instructions each; left by ${[`branch ${count(other)}`, ...left.map(([why, times]) => `${why} ${count(times)}`)].join(', ')}`,
    `${count(jit.dropped)} regions dropped for writes to their code, ${count(jit.resets)} times all`,
  ];
};
