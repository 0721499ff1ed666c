import { type Hasher, isZero } from './backends/hash.js';
import { type CpuRecord, FIELDS_32, FIELDS_64 } from './core.js';

const PAGE_BYTES = 4096;
const CHUNK_BYTES = 0x1_0000;

/** What is hashed of a machine. */
export interface HashedState {
  /** Instructions executed and virtual time in ns. */
  instructions: number;
  nowNs: number;
  cpus: readonly CpuRecord[];
  ram: Uint8Array;
  /** The saved states of the devices by name. */
  devices: Iterable<readonly [string, object]>;
}

const encoder = new TextEncoder();

/**
 * A value in one canonical spelling: keys sorted, typed arrays as hex, `undefined` members left out. Independent of the order in which
 * a state was built and of the JavaScript engine.
 */
export const canonical = (value: unknown): string => {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'number') return Object.is(value, -0) ? '0' : String(value);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'string') return JSON.stringify(value);
  if (ArrayBuffer.isView(value)) {
    const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    return `<${Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('')}>`;
  }
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value instanceof Map) return canonical([...value.entries()].sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)));
  if (typeof value !== 'object') return '?';
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  members.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`).join(',')}}`;
};

/** The registers of a CPU by name, lazy flags worked out, derived fields left out. */
export const cpuState = (cpu: CpuRecord): Record<string, unknown> => {
  const state: Record<string, unknown> = { eflags: cpu.flags };
  for (const field of FIELDS_64) state[field] = cpu.get64(field);
  for (const field of FIELDS_32) state[field] = cpu.get32(field);
  state.xmm = Array.from({ length: 16 }, (_, i) => cpu.xmm(i));
  state.st = Array.from({ length: 8 }, (_, i) => cpu.st(i));
  return state;
};

/** SHA-256 over the whole state of a machine: equal for equal runs, on every host and Node version. */
export const hashState = (state: HashedState, hasher: Hasher): string => {
  const text = (value: unknown) => hasher.update(encoder.encode(`${canonical(value)}\n`));
  text(['vmlet-state-1', state.instructions, state.nowNs, state.ram.length]);
  state.cpus.forEach(cpu => text(cpuState(cpu)));
  const number = new DataView(new ArrayBuffer(4));
  for (let chunk = 0; chunk < state.ram.length; chunk += CHUNK_BYTES) {
    if (isZero(state.ram.subarray(chunk, chunk + CHUNK_BYTES))) continue;
    for (let at = chunk; at < Math.min(chunk + CHUNK_BYTES, state.ram.length); at += PAGE_BYTES) {
      const page = state.ram.subarray(at, at + PAGE_BYTES);
      if (isZero(page)) continue;
      number.setUint32(0, at / PAGE_BYTES, true);
      hasher.update(new Uint8Array(number.buffer));
      hasher.update(page);
    }
  }
  for (const [name, saved] of state.devices) text([name, saved]);
  return hasher.digest();
};
