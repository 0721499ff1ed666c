import type { SendMessage } from './msix.js';

/** The MSI capability's length in bytes: 64-bit address and per-vector masking. */
export const MSI_CAPABILITY_BYTES = 24;
export const MSI_ENABLE = 0x0001;
export const MSI_64BIT = 0x0080;
export const MSI_MASKING = 0x0100;

/** The registers of an MSI capability as the guest left them. */
export interface MsiRegisters {
  control: number;
  addressLo: number;
  addressHi: number;
  data: number;
  mask: number;
}

/** Message-signalled interrupts with a 64-bit address and a mask bit a vector (PCI 3.0, 6.8.1). */
export class Msi {
  readonly #registers: () => MsiRegisters;
  readonly #send: SendMessage;
  #pending = 0;
  /** Told when the pending bits change. */
  onPending: (bits: number) => void = () => {};

  /** `registers` reads the capability out of configuration space; `vectors` is a power of two up to 32. */
  constructor(
    readonly vectors: number,
    registers: () => MsiRegisters,
    send: SendMessage,
  ) {
    this.#registers = registers;
    this.#send = send;
  }

  get enabled(): boolean {
    return (this.#registers().control & MSI_ENABLE) !== 0;
  }

  /** The pending bits register, one bit a vector. */
  get pending(): number {
    return this.#pending >>> 0;
  }

  set pending(bits: number) {
    this.#pending = bits;
    this.onPending(bits);
  }

  notify(vector: number): void {
    if (!this.enabled) return;
    this.pending = this.#pending | (1 << vector % this.vectors);
    this.flush();
  }

  /** Sends what is pending and no longer masked. */
  flush(): void {
    if (this.#pending === 0) return;
    const { control, addressLo, addressHi, data, mask } = this.#registers();
    if ((control & MSI_ENABLE) === 0) return;
    // Fewer vectors granted than asked for: the low bits of the data name the vector, so the surplus wraps.
    const granted = Math.min(this.vectors, 1 << ((control >>> 4) & 7));
    for (let vector = 0; vector < this.vectors; vector++) {
      const bit = 1 << vector;
      const slot = vector % granted;
      if ((this.#pending & bit) === 0 || (mask & (1 << slot)) !== 0) continue;
      this.pending = this.#pending & ~bit;
      this.#send(addressLo, addressHi, (data & ~(granted - 1)) | slot);
    }
  }
}
