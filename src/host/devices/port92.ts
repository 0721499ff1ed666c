import type { AccessSize, Device, Region } from './device.js';
import { clone, validated } from './state.js';

const FAST_RESET = 0x01;
const A20_GATE = 0x02;

export interface Port92Options {
  name?: string;
  /** The A20 gate bit was written. */
  onA20: (enabled: boolean) => void;
  /** Bit 0 went from 0 to 1: the CPU is to be reset. */
  onReset: () => void;
}

export interface Port92State {
  value: number;
}

const initial = (): Port92State => ({ value: 0 });

/** System control port A of the PS/2 (port 0x92): bit 1 gates A20, a rising bit 0 resets the CPU. */
export class Port92 implements Device<Port92State> {
  readonly name: string;
  readonly regions: readonly Region[] = [{ space: 'pio', size: 1 }];
  readonly #options: Port92Options;
  #s = initial();

  constructor(options: Port92Options) {
    this.name = options.name ?? 'port92';
    this.#options = options;
  }

  /** Bit 1, as last written. */
  get a20(): boolean {
    return (this.#s.value & A20_GATE) !== 0;
  }

  read(_offset: number, size: AccessSize): number {
    return size === 1 ? this.#s.value : ((size === 2 ? 0xff00 : 0xffff_ff00) | this.#s.value) >>> 0;
  }

  write(_offset: number, value: number, _size: AccessSize): void {
    const rising = value & ~this.#s.value;
    this.#s.value = value & 0xff;
    this.#options.onA20(this.a20);
    if ((rising & FAST_RESET) !== 0) this.#options.onReset();
  }

  /** Does not call `onA20`: a reset leaves the gate open on every PC since the PS/2, which is the board's affair. */
  reset(): void {
    this.#s = initial();
  }

  save(): Port92State {
    return clone(this.#s);
  }

  restore(state: Port92State): void {
    this.#s = validated(this.name, initial(), state);
    this.#s.value &= 0xff;
  }
}
