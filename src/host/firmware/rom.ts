import { VmletError } from '../../errors.js';

/** Segment of the firmware's ROM: physical 0xF0000 to 0xFFFFF. */
export const ROM_SEGMENT = 0xf000;
const ROM_BYTES = 0x1_0000;
/** Below lie the ACPI and SMBIOS tables. */
const FREE_START = 0x9000;
/** From here on offsets are those that programs know from the PC/AT. */
export const FREE_END = 0xe000;

/** Where the original BIOS had what programs jump to or read without asking (IBM PC/AT technical reference, BIOS listing). */
export const RomOffset = {
  POST: 0xe05b,
  INT19: 0xe6f2,
  CONFIG_TABLE: 0xe6f5,
  INT14: 0xe739,
  INT16: 0xe82e,
  INT09: 0xe987,
  INT13: 0xec59,
  INT0E: 0xef57,
  DISKETTE_TABLE: 0xefc7,
  INT17: 0xefd2,
  INT10: 0xf065,
  INT12: 0xf841,
  INT11: 0xf84d,
  INT15: 0xf859,
  INT1A: 0xfe6e,
  INT08: 0xfea5,
  IRET: 0xff53,
  RESET: 0xfff0,
  DATE: 0xfff5,
  MODEL: 0xfffe,
} as const;

/** The bytes of the firmware's ROM and where there is room in it. Offsets are relative to segment F000. */
export class RomImage {
  readonly #bytes = new Uint8Array(ROM_BYTES);
  readonly #used = new Uint8Array(ROM_BYTES);
  #next = FREE_START;

  /** Puts bytes at a fixed offset of the upper 8 KB. */
  fix(offset: number, bytes: Uint8Array | readonly number[]): number {
    if (offset < FREE_END || offset + bytes.length > ROM_BYTES || this.#used.subarray(offset, offset + bytes.length).includes(1)) {
      throw new VmletError('ERR_VMLET_CONFIG', `the firmware has no room for ${bytes.length} bytes at F000:${offset.toString(16)}`);
    }
    this.#put(offset, bytes);
    return offset;
  }

  /** Puts code or tables where there is room and returns their offset. Throws ERR_VMLET_CONFIG when there is none. */
  add(bytes: Uint8Array | readonly number[], alignment = 1): number {
    const at = Math.ceil(this.#next / alignment) * alignment;
    if (at + bytes.length > FREE_END) throw new VmletError('ERR_VMLET_CONFIG', `the firmware has no room for ${bytes.length} more bytes`);
    this.#next = at + bytes.length;
    this.#put(at, bytes);
    return at;
  }

  /** What goes to RAM: the part that holds something, and where it begins. */
  get contents(): { phys: number; bytes: Uint8Array } {
    return { phys: ROM_SEGMENT * 16 + FREE_START, bytes: this.#bytes.subarray(FREE_START) };
  }

  #put(offset: number, bytes: Uint8Array | readonly number[]): void {
    this.#bytes.set(bytes, offset);
    this.#used.fill(1, offset, offset + bytes.length);
  }
}
