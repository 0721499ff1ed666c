import type { GuestMemory } from '../memory.js';
import { readBytes } from './bytes.js';
import { type AccessSize, type Device, openBus, type Region } from './device.js';
import { clone, validated } from './state.js';

// QEMU, docs/specs/fw_cfg.rst: the selector, the data port, the fixed keys, the file directory, the DMA interface.

const SIGNATURE_KEY = 0x0000;
const INTERFACE_KEY = 0x0001;
const RAM_SIZE_KEY = 0x0003;
const NO_GRAPHICS_KEY = 0x0004;
const CPUS_KEY = 0x0005;
const MAX_CPUS_KEY = 0x000f;
const FILES_KEY = 0x0019;
const FIRST_FILE_KEY = 0x0020;
/** Bit 14 of a key once meant writing; it selects the same item. */
const KEY_BITS = 0xbfff;

const INTERFACE_PORTS = 1;
const INTERFACE_DMA = 2;
const DATA_OFFSET = 1;
const DMA_REGION = 1;
const DMA_BYTES = 8;
const NAME_BYTES = 56;

const DMA_ERROR = 0x01;
const DMA_READ = 0x02;
const DMA_SKIP = 0x04;
const DMA_SELECT = 0x08;
const DMA_WRITE = 0x10;
const MAX_DMA_BYTES = 64 * 2 ** 20;

export interface FwCfgFile {
  /** Up to 55 ASCII characters. */
  name: string;
  bytes: Uint8Array;
}

export interface FwCfgOptions {
  name?: string;
  ramBytes: number;
  cpus: number;
  /** For the DMA interface; without memory there is none. */
  memory?: GuestMemory;
  files?: readonly FwCfgFile[];
}

export interface FwCfgState {
  key: number;
  /** The next byte of the item. */
  at: number;
  /** The upper half of the address of a DMA descriptor. */
  dmaHigh: number;
}

const initial = (): FwCfgState => ({ key: 0, at: 0, dmaHigh: 0 });

const number = (value: number, bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, i) => Math.floor(value / 2 ** (8 * i)) & 0xff);

/** The list of files: for each its size and key, big-endian, and its name. */
const directory = (files: readonly FwCfgFile[]): Uint8Array => {
  const bytes = new Uint8Array(4 + 64 * files.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, files.length);
  files.forEach((file, n) => {
    const at = 4 + 64 * n;
    view.setUint32(at, file.bytes.length);
    view.setUint16(at + 4, FIRST_FILE_KEY + n);
    bytes.set(new TextEncoder().encode(file.name).subarray(0, NAME_BYTES - 1), at + 8);
  });
  return bytes;
};

/**
 * QEMU's firmware configuration: how kernels and firmware learn the number of CPUs, the size of RAM and the contents of files. Regions: 0 the
 * selector and the data port (0x510), 1 the address of a DMA descriptor (0x514).
 */
export class FwCfg implements Device<FwCfgState> {
  readonly name: string;
  readonly regions: readonly Region[] = [
    { space: 'pio', size: 2 },
    { space: 'pio', size: DMA_BYTES },
  ];
  readonly #items: ReadonlyMap<number, Uint8Array>;
  readonly #memory: GuestMemory | undefined;
  #s = initial();

  constructor(options: FwCfgOptions) {
    const files = [...(options.files ?? [])].sort((a, b) => (a.name < b.name ? -1 : 1));
    this.name = options.name ?? 'fw-cfg';
    this.#memory = options.memory;
    this.#items = new Map([
      [SIGNATURE_KEY, new TextEncoder().encode('QEMU')],
      [INTERFACE_KEY, number(INTERFACE_PORTS | (options.memory === undefined ? 0 : INTERFACE_DMA), 4)],
      [RAM_SIZE_KEY, number(options.ramBytes, 8)],
      [NO_GRAPHICS_KEY, number(1, 2)],
      [CPUS_KEY, number(options.cpus, 2)],
      [MAX_CPUS_KEY, number(options.cpus, 2)],
      [FILES_KEY, directory(files)],
      ...files.map((file, n) => [FIRST_FILE_KEY + n, file.bytes] as const),
    ]);
  }

  /** The data port gives the item's next byte, zeros behind its end. */
  read(offset: number, size: AccessSize, region: number): number {
    if (region === DMA_REGION) {
      if (this.#memory === undefined) return openBus(size);
      return readBytes(offset, size, at => (at < DMA_BYTES ? 'QEMU CFG'.charCodeAt(at) : 0xff));
    }
    if (offset !== DATA_OFFSET || size !== 1) return openBus(size);
    const item = this.#items.get(this.#s.key & KEY_BITS);
    if (item === undefined || this.#s.at >= item.length) return 0;
    return item[this.#s.at++];
  }

  write(offset: number, value: number, size: AccessSize, region: number): void {
    if (region !== DMA_REGION) {
      if (offset === 0 && size === 2) this.#select(value);
      return;
    }
    if (size !== 4 || this.#memory === undefined) return;
    if (offset === 0) this.#s.dmaHigh = swap(value);
    else if (offset === 4) {
      const address = this.#s.dmaHigh * 2 ** 32 + swap(value);
      this.#s.dmaHigh = 0;
      this.#transfer(this.#memory, address);
    }
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

  #select(key: number): void {
    this.#s.key = key;
    this.#s.at = 0;
  }

  /** A descriptor: control, length, address, all big-endian. The control word becomes 0, or says that there was an error. */
  #transfer(memory: GuestMemory, at: number): void {
    const control = swap(memory.readU32(at));
    const length = swap(memory.readU32(at + 4));
    const address = swap(memory.readU32(at + 8)) * 2 ** 32 + swap(memory.readU32(at + 12));
    if ((control & DMA_SELECT) !== 0) this.#select(control >>> 16);
    const item = this.#items.get(this.#s.key & KEY_BITS) ?? new Uint8Array(0);
    let error = (control & DMA_WRITE) !== 0 && (control & DMA_READ) === 0;
    if ((control & DMA_READ) !== 0) {
      const bytes = new Uint8Array(Math.min(length, MAX_DMA_BYTES));
      bytes.set(item.subarray(this.#s.at, this.#s.at + bytes.length));
      error = length > MAX_DMA_BYTES || !memory.write(address, bytes);
    }
    if ((control & (DMA_READ | DMA_SKIP)) !== 0) this.#s.at = Math.min(item.length, this.#s.at + length);
    memory.writeU32(at, error ? swap(DMA_ERROR) : 0);
  }
}

const swap = (value: number): number => (((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;
