import { VmletError } from '../../errors.js';
import { type AccessSize, type Device, openBus, type Region } from './device.js';

// PCI Local Bus Specification 3.0, 6.2.5.2 (expansion ROM base address register) and 6.3 (expansion ROM contents).
export const PCI_ROM = 0x30;
export const ROM_ENABLE = 1;
/** The register's lowest address bit is 11. */
const MIN_ROM_BYTES = 2048;
const MAX_ROM_BYTES = 16 << 20;
const SIGNATURE = 0xaa55;
const BLOCK_BYTES = 512;
const ROM_BLOCKS = 2;
const DATA_POINTER = 0x18;
const DATA_SIGNATURE = 0x5249_4350;
const DATA_VENDOR = 4;
const DATA_DEVICE = 6;
const DATA_BYTES = 24;
/** A byte of the header that nothing reads; it takes up what patched identifiers do to the checksum, as in QEMU. */
const SPARE = 6;

/**
 * Makes an option ROM fit a function: its size becomes a power of two, and the identifiers in its first PCI data structure those of the
 * function, so that one ROM serves a family of cards.
 *
 * @throws ERR_VMLET_CONFIG when it is no option ROM.
 */
export const fitOptionRom = (image: Uint8Array, identity: { vendorId: number; deviceId: number }, name: string): Uint8Array => {
  const bad = (why: string): VmletError => new VmletError('ERR_VMLET_CONFIG', `the option ROM of '${name}' cannot be used: ${why}`, { hint: 'give a PCI option ROM, for instance one of Debian\'s package ipxe-qemu' });
  if (image.length > MAX_ROM_BYTES) throw bad(`it has ${image.length} bytes, and a ROM up to ${MAX_ROM_BYTES}`);
  const source = new DataView(image.buffer, image.byteOffset, image.byteLength);
  if (image.length < BLOCK_BYTES || source.getUint16(0, true) !== SIGNATURE) throw bad('it does not start with 55 AA');
  let bytes = MIN_ROM_BYTES;
  while (bytes < image.length) bytes *= 2;
  const rom = new Uint8Array(bytes).fill(0xff);
  rom.set(image);
  const view = new DataView(rom.buffer);
  const data = view.getUint16(DATA_POINTER, true);
  if (data + DATA_BYTES > image.length || view.getUint32(data, true) !== DATA_SIGNATURE) return rom;
  const checked = rom[ROM_BLOCKS] * BLOCK_BYTES;
  const covered = (at: number): boolean => at < checked;
  const put16 = (at: number, value: number): void => {
    for (let i = 0; i < 2; i++) {
      const byte = (value >>> (8 * i)) & 0xff;
      if (covered(at + i)) rom[SPARE] -= byte - rom[at + i];
      rom[at + i] = byte;
    }
  };
  put16(data + DATA_VENDOR, identity.vendorId);
  put16(data + DATA_DEVICE, identity.deviceId);
  return rom;
};

/** What answers behind an expansion ROM base address register. */
export class OptionRom implements Device<Record<string, never>> {
  readonly regions: readonly Region[];

  constructor(
    readonly name: string,
    readonly image: Uint8Array,
  ) {
    this.regions = [{ space: 'mmio', size: image.length }];
  }

  get size(): number {
    return this.image.length;
  }

  read(offset: number, size: AccessSize): number {
    if (offset + size > this.image.length) return openBus(size);
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + this.image[offset + i];
    return value;
  }

  write(): void {}

  reset(): void {}

  save(): Record<string, never> {
    return {};
  }

  restore(): void {}
}
