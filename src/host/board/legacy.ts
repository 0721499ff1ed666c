import type { IrqLine } from '../irq.js';
import { type AccessSize, type Device, openBus, type Region } from '../devices/device.js';
import { clone, validated } from '../devices/state.js';

/** Port 0x80 and its neighbours, the DMA page registers of the AT: plain storage. The first of them takes POST codes and I/O delays. */
export class PostPorts implements Device<{ bytes: Uint8Array }> {
  readonly name = 'post';
  readonly regions: readonly Region[] = [{ space: 'pio', size: 16 }];
  #s = { bytes: new Uint8Array(16) };

  read(offset: number, size: AccessSize): number {
    let value = 0;
    for (let i = 0; i < size; i++) value += (this.#s.bytes[offset + i] ?? 0xff) * 2 ** (8 * i);
    return value;
  }

  write(offset: number, value: number, size: AccessSize): void {
    for (let i = 0; i < size && offset + i < 16; i++) this.#s.bytes[offset + i] = value >>> (8 * i);
  }

  reset(): void {
    this.#s.bytes.fill(0);
  }

  save(): { bytes: Uint8Array } {
    return clone(this.#s);
  }

  restore(state: { bytes: Uint8Array }): void {
    this.#s = validated(this.name, this.#s, state);
  }
}

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
