import type { IrqLine } from '../irq.js';
import { merge, slice } from './bytes.js';
import type { AccessSize, Device, Region } from './device.js';
import { clone, validated } from './state.js';

// QEMU, hw/misc/pc-testdev.c, which kvm-unit-tests drive.

/** Where a PC has the regions. */
export const TEST_PORT = 0xe0;
export const TEST_IRQ_PORT = 0x2000;
export const TEST_MEMORY = 0xff00_0000;

const LATCH_REGION = 0;
const IRQ_REGION = 1;
const LATCH_BYTES = 4;
const MEMORY_BYTES = 0x2000;

export interface TestDeviceState {
  latch: number;
  /** One byte a line: what was written last. */
  lines: Uint8Array;
  memory: Uint8Array;
}

export interface TestDeviceOptions {
  name?: string;
  /** The lines that the ports raise and lower, from ISA line 0 on. */
  irqs: readonly IrqLine[];
}

/**
 * The device of test kernels: a latch of four ports (behind it four that flush a hypervisor's mapping, which there is none of), a port
 * for each interrupt line whose value is the line's level, and two pages of memory behind the bus.
 */
export class TestDevice implements Device<TestDeviceState> {
  readonly name: string;
  readonly regions: readonly Region[];
  readonly #irqs: readonly IrqLine[];
  #s: TestDeviceState;

  constructor(options: TestDeviceOptions) {
    this.name = options.name ?? 'test-device';
    this.#irqs = options.irqs;
    this.regions = [
      { space: 'pio', size: 2 * LATCH_BYTES },
      { space: 'pio', size: options.irqs.length },
      { space: 'mmio', size: MEMORY_BYTES },
    ];
    this.#s = this.#initial();
  }

  read(offset: number, size: AccessSize, region: number): number {
    if (region === LATCH_REGION) return slice(this.#s.latch, LATCH_BYTES, offset, size);
    const bytes = region === IRQ_REGION ? this.#s.lines : this.#s.memory;
    let value = 0;
    for (let i = 0; i < size; i++) value += (offset + i < bytes.length ? bytes[offset + i] : 0xff) * 2 ** (8 * i);
    return value;
  }

  write(offset: number, value: number, size: AccessSize, region: number): void {
    if (region === LATCH_REGION) {
      if (offset < LATCH_BYTES) this.#s.latch = merge(this.#s.latch, LATCH_BYTES, offset, size, value);
    } else if (region === IRQ_REGION) {
      this.#s.lines[offset] = value;
      this.#irqs[offset].set((value & 0xff) !== 0);
    } else {
      for (let i = 0; i < size && offset + i < MEMORY_BYTES; i++) this.#s.memory[offset + i] = value >>> (8 * i);
    }
  }

  reset(): void {
    this.#s = this.#initial();
    this.#drive();
  }

  save(): TestDeviceState {
    return clone(this.#s);
  }

  restore(state: TestDeviceState): void {
    this.#s = validated(this.name, this.#initial(), state);
    this.#s.latch >>>= 0;
    this.#drive();
  }

  #initial(): TestDeviceState {
    return { latch: 0, lines: new Uint8Array(this.#irqs.length), memory: new Uint8Array(MEMORY_BYTES) };
  }

  #drive(): void {
    this.#irqs.forEach((irq, n) => irq.set(this.#s.lines[n] !== 0));
  }
}
