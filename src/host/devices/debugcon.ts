import type { CharBackend } from '../backends/backend.js';
import type { AccessSize, Device, Region } from './device.js';
import { validated } from './state.js';

/** What a read gives, by which guests find the device. */
export const DEBUGCON_MAGIC = 0xe9;

export interface DebugconOptions {
  name?: string;
  backend: CharBackend;
}

/** The debug console of Bochs and QEMU: every byte written to its one port goes to the backend. It takes no input. */
export class Debugcon implements Device {
  readonly name: string;
  readonly regions: readonly Region[] = [{ space: 'pio', size: 1 }];
  readonly #backend: CharBackend;

  constructor(options: DebugconOptions) {
    this.name = options.name ?? 'debugcon';
    this.#backend = options.backend;
    this.#backend.attach({ receive: data => data.length });
  }

  read(_offset: number, size: AccessSize): number {
    return size === 1 ? DEBUGCON_MAGIC : size === 2 ? 0xff00 | DEBUGCON_MAGIC : (0xffff_ff00 | DEBUGCON_MAGIC) >>> 0;
  }

  write(_offset: number, value: number, _size: AccessSize): void {
    this.#backend.write(Uint8Array.of(value));
  }

  reset(): void {}

  save(): object {
    return {};
  }

  restore(state: object): void {
    validated(this.name, {}, state);
  }
}
