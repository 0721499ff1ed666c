import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { CharBackend, CharSink } from '../../src/host/backends/backend.js';
import type { Sleep, WallClock } from '../../src/host/backends/wall.js';
import { S5_SLEEP_TYPE } from '../../src/host/devices/acpi-pm.js';
import { Machine, type MachineOptions } from '../../src/host/machine.js';

const CORE_FILE = process.env.VMLET_CORE ?? fileURLToPath(new URL('../../dist/core.wasm', import.meta.url));

/** Whether the compiled core is there: `npm run build:core` makes it, VMLET_CORE names another. */
export const hasCore = existsSync(CORE_FILE);

let compiled: WebAssembly.Module | undefined;
export const coreModule = (): WebAssembly.Module => (compiled ??= new WebAssembly.Module(readFileSync(CORE_FILE)));

/** A wall clock that stands still but for sleeps, which take exactly as long as they are meant to, and for what a test adds. */
export class ManualWall implements WallClock {
  ms = 1000;
  /** Lengths of the sleeps in ms. */
  readonly sleeps: number[] = [];
  turns = 0;
  /** Called while a sleep goes on; may end it early by what it does. */
  onSleep: (ms: number) => void = () => {};

  now(): number {
    return this.ms;
  }

  epochSeconds(): number {
    return 2_000_000_000;
  }

  sleep(ms: number): Sleep {
    this.sleeps.push(ms);
    const start = this.ms;
    let finish = (): void => {};
    let over = false;
    const done = new Promise<void>(resolve => {
      finish = () => {
        over = true;
        resolve();
      };
    });
    queueMicrotask(() => {
      this.onSleep(ms);
      if (over || ms === Infinity) return;
      this.ms = Math.max(this.ms, start + ms);
      finish();
    });
    return { done, cancel: finish };
  }

  turn(): Promise<void> {
    this.turns++;
    return new Promise(resolve => setImmediate(resolve));
  }
}

/** Collects output as text; `sink` is the guest's side. */
export class TextChar implements CharBackend {
  text = '';
  sink!: CharSink;
  onText: (text: string) => void = () => {};

  attach(sink: CharSink): void {
    this.sink = sink;
  }

  write(data: Uint8Array): void {
    const piece = String.fromCharCode(...data);
    this.text += piece;
    this.onText(piece);
  }
}

/** A ROM of 64 KB: real-mode code at F000:0000, interrupt handlers by vector behind it at F000:1000 + 256 * n. */
export const romOf = (code: readonly number[], handlers: Readonly<Record<number, readonly number[]>> = {}): Uint8Array => {
  const image = new Uint8Array(0x1_0000).fill(0x90);
  const setup: number[] = [...CLEAR_SEGMENTS];
  Object.entries(handlers).forEach(([vector, handler], n) => {
    const at = 0x1000 + 256 * n;
    image.set(handler, at);
    const slot = 4 * Number(vector);
    setup.push(0xc7, 0x06, slot & 0xff, slot >> 8, at & 0xff, at >> 8);
    setup.push(0xc7, 0x06, (slot + 2) & 0xff, (slot + 2) >> 8, 0x00, 0xf0);
  });
  image.set([...setup, ...code], 0);
  image.set([0xea, 0x00, 0x00, 0x00, 0xf0], 0xfff0);
  return image;
};

/** xor ax, ax; mov ds, ax; mov ss, ax; mov sp, 0x7000. */
const CLEAR_SEGMENTS = [0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x70];

// One real-mode instruction or a short sequence each.
export const CLI = [0xfa];
export const STI = [0xfb];
export const HLT = [0xf4];
export const IRET = [0xcf];
export const FOREVER = [0xeb, 0xfe];
export const out8 = (port: number, value: number): number[] => [0xba, port & 0xff, port >> 8, 0xb0, value, 0xee];
export const out16 = (port: number, value: number): number[] => [0xba, port & 0xff, port >> 8, 0xb8, value & 0xff, value >> 8, 0xef];
export const in8 = (port: number): number[] => [0xba, port & 0xff, port >> 8, 0xec];
export const print = (text: string): number[] => [...text].flatMap(c => out8(0x3f8, c.charCodeAt(0)));
/** mov cx, n; loop $. */
export const spin = (count: number): number[] => [0xb9, count & 0xff, count >> 8, 0xe2, 0xfe];
/** The interrupt controllers at vectors 0x20 and 0x28, all but `irqs` masked. */
export const pics = (...irqs: number[]): number[] => {
  const mask = irqs.reduce((bits, irq) => bits & ~(1 << irq), 0xff);
  return [...out8(0x20, 0x11), ...out8(0x21, 0x20), ...out8(0x21, 4), ...out8(0x21, 1), ...out8(0x21, mask), ...out8(0xa0, 0x11), ...out8(0xa1, 0x28), ...out8(0xa1, 2), ...out8(0xa1, 1), ...out8(0xa1, 0xff)];
};
export const EOI = out8(0x20, 0x20);
/** Counter 0 of the timer in mode 2 (repeating) or 0 (once). */
export const pit = (mode: 0 | 2, count: number): number[] => [...out8(0x43, 0x30 | (mode << 1)), ...out8(0x40, count & 0xff), ...out8(0x40, count >> 8)];
export const POWER_OFF = out16(0x604, 0x2000 | (S5_SLEEP_TYPE << 10));

/** A machine of 1 MB that runs a ROM; it ends after two virtual seconds at the latest, unless `timeoutNs` says otherwise. */
export const romMachine = (code: readonly number[], options: Partial<MachineOptions> = {}, handlers: Readonly<Record<number, readonly number[]>> = {}): Machine =>
  new Machine({ core: coreModule(), memoryBytes: 2 ** 20, boot: { kind: 'rom', image: romOf(code, handlers) }, timeoutNs: 2e9, ...options });
