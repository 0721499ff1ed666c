import type { AccessSize } from './device.js';

/** Where a vector's message goes. */
export type SendMessage = (addressLo: number, addressHi: number, data: number) => void;

export interface MsixState {
  table: Uint32Array;
  pending: Uint32Array;
}

const ENTRY_BYTES = 16;
const VECTOR_MASKED = 1;

/** Bits of the MSI-X message control register (PCI 3.0, 6.8.2.3). */
export const MSIX_ENABLE = 0x8000;
export const MSIX_FUNCTION_MASK = 0x4000;

/** The MSI-X vector table and pending bits of one function; the owner maps both into a memory bar. */
export class Msix {
  readonly #table: Uint32Array;
  readonly #pending: Uint32Array;
  readonly #send: SendMessage;
  #control = 0;

  constructor(
    readonly vectors: number,
    send: SendMessage,
  ) {
    this.#table = new Uint32Array(4 * vectors);
    this.#pending = new Uint32Array((vectors + 31) >>> 5);
    this.#send = send;
    this.reset();
  }

  get enabled(): boolean {
    return (this.#control & MSIX_ENABLE) !== 0;
  }

  get tableBytes(): number {
    return ENTRY_BYTES * this.vectors;
  }

  get pendingBytes(): number {
    // Software reads the pending bits in quad words.
    return 8 * ((this.vectors + 63) >>> 6);
  }

  /** The message control register as written by the guest. */
  setControl(control: number): void {
    this.#control = control;
    this.#flush();
  }

  reset(): void {
    this.#control = 0;
    this.#table.fill(0);
    this.#pending.fill(0);
    for (let vector = 0; vector < this.vectors; vector++) this.#table[4 * vector + 3] = VECTOR_MASKED;
  }

  readTable(offset: number, size: AccessSize): number {
    return readWords(this.#table, offset, size);
  }

  writeTable(offset: number, value: number, size: AccessSize): void {
    writeWords(this.#table, offset, value, size);
    for (let vector = 0; vector < this.vectors; vector++) this.#table[4 * vector + 3] &= VECTOR_MASKED;
    this.#flush();
  }

  readPending(offset: number, size: AccessSize): number {
    return readWords(this.#pending, offset, size);
  }

  /** Sends the vector's message, or keeps it pending while masked. */
  notify(vector: number): void {
    if (!this.enabled || vector >= this.vectors) return;
    this.#pending[vector >>> 5] |= 1 << (vector & 31);
    this.#deliver(vector);
  }

  save(): MsixState {
    return { table: this.#table.slice(), pending: this.#pending.slice() };
  }

  /** Whether `state` was saved by a table of this size. */
  accepts(state: MsixState | undefined): boolean {
    return state !== undefined && state.table?.length === this.#table.length && state.pending?.length === this.#pending.length;
  }

  /** Takes the table over; the owner sets the control register afterwards. */
  restore(state: MsixState): void {
    this.#control = 0;
    this.#table.set(state.table);
    this.#pending.set(state.pending);
  }

  #flush(): void {
    if (!this.#pending.some(bits => bits !== 0)) return;
    for (let vector = 0; vector < this.vectors; vector++) this.#deliver(vector);
  }

  #deliver(vector: number): void {
    const bit = 1 << (vector & 31);
    if ((this.#pending[vector >>> 5] & bit) === 0 || !this.enabled) return;
    if ((this.#control & MSIX_FUNCTION_MASK) !== 0 || (this.#table[4 * vector + 3] & VECTOR_MASKED) !== 0) return;
    this.#pending[vector >>> 5] &= ~bit;
    this.#send(this.#table[4 * vector], this.#table[4 * vector + 1], this.#table[4 * vector + 2]);
  }
}

const readWords = (words: Uint32Array, offset: number, size: AccessSize): number => {
  let value = 0;
  for (let i = 0; i < size; i++) {
    const at = offset + i;
    value |= (((words[at >>> 2] ?? 0) >>> (8 * (at & 3))) & 0xff) << (8 * i);
  }
  return value >>> 0;
};

const writeWords = (words: Uint32Array, offset: number, value: number, size: AccessSize): void => {
  for (let i = 0; i < size; i++) {
    const at = offset + i;
    if (at >>> 2 >= words.length) return;
    const shift = 8 * (at & 3);
    words[at >>> 2] = (words[at >>> 2] & ~(0xff << shift)) | (((value >>> (8 * i)) & 0xff) << shift);
  }
};
