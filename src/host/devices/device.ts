/** A window that a device answers in. `size` is in bytes; the board, or a BAR, gives the base. */
export interface Region {
  readonly space: 'pio' | 'mmio';
  readonly size: number;
}

export type AccessSize = 1 | 2 | 4;

/**
 * What the bus knows of a device. A device sees offsets, IRQ lines, a virtual clock and a backend: never the machine, the CPU or Node.
 *
 * `read` and `write` are total: any offset below the region's size, any size, at any alignment. An unknown register reads as
 * open bus (all ones) and is reported once to the guest log. `value` is unsigned and fits `size`.
 * `save` returns plain structured-cloneable data (numbers, strings, arrays, typed arrays); timers are saved as time from now in ns.
 * `restore` validates, assigns, and drives its lines anew.
 */
export interface Device<S extends object = object> {
  readonly name: string;
  readonly regions: readonly Region[];
  read(offset: number, size: AccessSize, region: number): number;
  write(offset: number, value: number, size: AccessSize, region: number): void;
  reset(): void;
  save(): S;
  restore(state: S): void;
}

/** The value of a bus that nobody drives, for an access of `size` bytes. */
export const openBus = (size: AccessSize): number => (size === 1 ? 0xff : size === 2 ? 0xffff : 0xffffffff);
