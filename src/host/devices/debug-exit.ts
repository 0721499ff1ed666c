import { type AccessSize, type Device, openBus, type Region } from './device.js';
import { validated } from './state.js';

export interface DebugExitOptions {
  name?: string;
  /** Bytes of I/O space; 4 by default. */
  size?: number;
  /** Called with `(value << 1) | 1`, an unsigned 32-bit number, whenever the guest writes `value`. */
  onExit: (code: number) => void;
}

/** A port whose write ends the run with a code of the guest's choice. Reads give zero. */
export class DebugExit implements Device {
  readonly name: string;
  readonly regions: readonly Region[];
  readonly #onExit: (code: number) => void;

  constructor(options: DebugExitOptions) {
    this.name = options.name ?? 'debug-exit';
    this.regions = [{ space: 'pio', size: options.size ?? 4 }];
    this.#onExit = options.onExit;
  }

  read(offset: number, size: AccessSize): number {
    return offset + size <= this.regions[0].size ? 0 : openBus(size);
  }

  write(_offset: number, value: number, _size: AccessSize): void {
    this.#onExit(((value << 1) | 1) >>> 0);
  }

  reset(): void {}

  save(): object {
    return {};
  }

  restore(state: object): void {
    validated(this.name, {}, state);
  }
}
