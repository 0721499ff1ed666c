import { type AccessSize, type Device, openBus, type Region } from './device.js';
import { clone, validated } from './state.js';

// QEMU, docs/specs/fw_cfg.rst: the selector, the data port, the fixed keys.

const SIGNATURE_KEY = 0x0000;
const INTERFACE_KEY = 0x0001;
const RAM_SIZE_KEY = 0x0003;
const NO_GRAPHICS_KEY = 0x0004;
const CPUS_KEY = 0x0005;
const MAX_CPUS_KEY = 0x000f;
const FILES_KEY = 0x0019;
/** Bit 14 of a key once meant writing; it selects the same item. */
const KEY_BITS = 0xbfff;

const DATA_OFFSET = 1;

export interface FwCfgOptions {
  name?: string;
  ramBytes: number;
  cpus: number;
}

export interface FwCfgState {
  key: number;
  /** The next byte of the item. */
  at: number;
}

const initial = (): FwCfgState => ({ key: 0, at: 0 });

const number = (value: number, bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, i) => Math.floor(value / 2 ** (8 * i)) & 0xff);

/** QEMU's firmware configuration by ports: how kernels and firmware learn the number of CPUs and the size of RAM. No files, no DMA. */
export class FwCfg implements Device<FwCfgState> {
  readonly name: string;
  readonly regions: readonly Region[] = [{ space: 'pio', size: 2 }];
  readonly #items: ReadonlyMap<number, Uint8Array>;
  #s = initial();

  constructor(options: FwCfgOptions) {
    this.name = options.name ?? 'fw-cfg';
    this.#items = new Map([
      [SIGNATURE_KEY, new TextEncoder().encode('QEMU')],
      [INTERFACE_KEY, number(1, 4)],
      [RAM_SIZE_KEY, number(options.ramBytes, 8)],
      [NO_GRAPHICS_KEY, number(1, 2)],
      [CPUS_KEY, number(options.cpus, 2)],
      [MAX_CPUS_KEY, number(options.cpus, 2)],
      [FILES_KEY, number(0, 4)],
    ]);
  }

  /** The data port gives the item's next byte, zeros behind its end. */
  read(offset: number, size: AccessSize): number {
    if (offset !== DATA_OFFSET || size !== 1) return openBus(size);
    const item = this.#items.get(this.#s.key & KEY_BITS);
    if (item === undefined || this.#s.at >= item.length) return 0;
    return item[this.#s.at++];
  }

  write(offset: number, value: number, size: AccessSize): void {
    if (offset === 0 && size === 2) this.#s = { key: value, at: 0 };
  }

  reset(): void {
    this.#s = initial();
  }

  save(): FwCfgState {
    return clone(this.#s);
  }

  restore(state: FwCfgState): void {
    this.#s = validated(this.name, initial(), state);
    this.#s.key &= 0xffff;
  }
}
