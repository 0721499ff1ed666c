import type { IrqLine } from '../irq.js';
import { type AccessSize, type Device, openBus, type Region } from '../devices/device.js';
import { clone, validated } from '../devices/state.js';


/** The AT's numeric coprocessor latch: FERR# raises interrupt 13 until port 0xF0 is written. */
export class CoprocessorError implements Device<{ pending: boolean }> {
  readonly name = 'ferr';
  readonly regions: readonly Region[] = [{ space: 'pio', size: 2 }];
  readonly #irq: IrqLine;
  #s = { pending: false };

  constructor(irq: IrqLine) {
    this.#irq = irq;
  }

  raise(): void {
    this.#s.pending = true;
    this.#updateIrq();
  }

  read(_offset: number, size: AccessSize): number {
    return openBus(size);
  }

  write(): void {
    this.#s.pending = false;
    this.#updateIrq();
  }

  reset(): void {
    this.#s.pending = false;
    this.#updateIrq();
  }

  save(): { pending: boolean } {
    return clone(this.#s);
  }

  restore(state: { pending: boolean }): void {
    this.#s = validated(this.name, { pending: false }, state);
    this.#updateIrq();
  }

  #updateIrq(): void {
    this.#irq.set(this.#s.pending);
  }
}
