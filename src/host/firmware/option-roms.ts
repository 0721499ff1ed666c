import type { Bus } from '../bus.js';
import type { BootServices, BootSource } from './boot.js';
import { Bda } from './bda.js';
import type { FirmwareCall, JumpTarget } from './call.js';
import type { LinearMemory } from './linear.js';
import { configAccess, type ConfigAccess } from './pci-bios.js';
import { PostMemoryManager } from './pmm.js';
import { ROM_SEGMENT, type RomImage } from './rom.js';
import type { FirmwareTraps } from './traps.js';

// Option ROMs: PCI Firmware Specification 3.0, chapter 5; Plug and Play BIOS Specification 1.0A, 3 and 4.4; BIOS Boot Specification 1.01.

const START = 0xc_8000;
const END = 0xe_0000;
const ALIGNMENT = 2048;
const PAGE = 4096;
const BLOCK = 512;
const INIT = 3;
const PCI_POINTER = 0x18;
const PNP_POINTER = 0x1a;
const PCI_SIGNATURE = 0x5249_4350;
const PNP_SIGNATURE = 0x506e_5024;
const PCI_DATA_BYTES = 24;
const CODE_BIOS = 0;
const LAST_IMAGE = 0x80;
const MAX_IMAGES = 16;
const NOT_PNP = 0xffff;
const PNP_PRODUCT = 16;
const PNP_TYPE = 18;
const PNP_BCV = 22;
const PNP_BEV = 26;
const CLASS_NETWORK = 2;
const GET_BBS_VERSION = 0x60;
const BBS_VERSION = 0x0101;
const FUNCTION_NOT_SUPPORTED = 0x82;
const MAX_TITLE = 60;

const CONFIG_COMMAND = 0x04;
const COMMAND_MEMORY = 2;
const CONFIG_HEADER = 0x0e;
const CONFIG_CLASS = 0x0b;
const CONFIG_ROM = 0x30;
const ROM_ENABLE = 1;
const ROM_ADDRESS = 0xffff_f800;
const MAX_ROM_BYTES = 16 << 20;
const FUNCTIONS = 256;

interface Step {
  segment: number;
  offset: number;
  ax: number;
  /** Called when the ROM's code has returned. */
  after: () => void;
}

export interface OptionRomOptions {
  memory: LinearMemory;
  bus: Bus;
  traps: FirmwareTraps;
  rom: RomImage;
  boot: BootServices;
  ramBytes: number;
  print: (text: string) => void;
  /** Makes a range read-only. */
  protect: (start: number, length: number) => void;
}

/** Copies the option ROMs of PCI functions below 1 MB, runs their initialization, and offers what they can boot. */
export class OptionRoms {
  readonly #o: OptionRomOptions;
  readonly #config: ConfigAccess;
  readonly #pmm: PostMemoryManager;
  readonly #pnp: number;
  readonly #resume: number;
  readonly #next: number;
  readonly #diskBoot: number;
  /** ROMs that are still to be copied, and code of those that were. */
  #found: (() => void)[] = [];
  #steps: Step[] = [];
  #after: () => void = () => {};
  #done: (call: FirmwareCall) => void = () => {};
  #at = START;

  constructor(options: OptionRomOptions) {
    const { traps, rom, bus, memory, ramBytes } = options;
    this.#o = options;
    this.#config = configAccess(bus);
    this.#pmm = new PostMemoryManager({ memory, traps, rom, romSegment: ROM_SEGMENT, ramBytes });
    this.#pnp = rom.add(pnpStructure(traps.far(call => this.#pnpCall(call))), 16);
    this.#resume = traps.place([...PUSHF, ...PUSH_CS, ...PUSH_CS, ...traps.onTrap(call => this.#returned(call), 'interrupt'), ...IRET]);
    this.#next = traps.place(INT18);
    this.#diskBoot = traps.place(DISK_BOOT);
  }

  /** Runs all option ROMs, then `done`. Takes the place of the caller, an interrupt stub. */
  start(call: FirmwareCall, done: (call: FirmwareCall) => void): void {
    this.#pmm.reset();
    this.#steps = [];
    this.#done = done;
    this.#at = START;
    this.#o.boot.clearRoms();
    this.#found = [];
    for (let fn = 0; fn < FUNCTIONS; fn++) this.#probe(fn);
    this.#proceed(call);
  }

  #proceed(call: FirmwareCall): void {
    // A ROM is copied when the one before it has shrunk to what it needs.
    while (this.#steps.length === 0 && this.#found.length > 0) this.#found.shift()!();
    const step = this.#steps.shift();
    if (step === undefined) {
      if (this.#at > START) this.#o.protect(START, Math.ceil((this.#at - START) / PAGE) * PAGE);
      this.#pmm.close();
      this.#done(call);
      return;
    }
    this.#after = step.after;
    const { segment, offset, ax } = step;
    // The PMM specification promises its clients 4 GB segments.
    call.jump({ segment, offset, ax, bigReal: true, bx: NOT_PNP, dx: NOT_PNP, es: ROM_SEGMENT, di: this.#pnp, returnTo: { segment: ROM_SEGMENT, offset: this.#resume } });
  }

  #returned(call: FirmwareCall): void {
    this.#after();
    this.#proceed(call);
  }

  /** Looks for a ROM in a PCI function. */
  #probe(fn: number): void {
    const { read, write } = this.#config;
    if (read(fn, 0, 2) === 0xffff || (read(fn, CONFIG_HEADER, 1) & 0x7f) !== 0) return;
    const register = read(fn, CONFIG_ROM, 4);
    write(fn, CONFIG_ROM, 4, ROM_ADDRESS);
    const size = -(read(fn, CONFIG_ROM, 4) & ROM_ADDRESS) >>> 0;
    write(fn, CONFIG_ROM, 4, register);
    if (size === 0 || size > MAX_ROM_BYTES) return;
    const base = (register & ROM_ADDRESS) >>> 0;
    if (base === 0) return;
    const command = read(fn, CONFIG_COMMAND, 2);
    write(fn, CONFIG_ROM, 4, (base | ROM_ENABLE) >>> 0);
    write(fn, CONFIG_COMMAND, 2, command | COMMAND_MEMORY);
    const image = this.#findImage(fn, base, size);
    write(fn, CONFIG_ROM, 4, base);
    write(fn, CONFIG_COMMAND, 2, command);
    const name = `${(fn >> 3).toString(16).padStart(2, '0')}.${fn & 7}`;
    this.#found.push(() => {
      const why = typeof image === 'string' ? image : this.#place(fn, name, image);
      if (why !== undefined) this.#o.print(`Option ROM of PCI ${name} left out: ${why}.\n`);
    });
  }

  /** The image for a BIOS, or why there is none. */
  #findImage(fn: number, base: number, size: number): Uint8Array | string {
    const { bus } = this.#o;
    const u16 = (at: number): number => (at + 2 <= size ? bus.mmioRead(base + at, 1) | (bus.mmioRead(base + at + 1, 1) << 8) : 0);
    const u32 = (at: number): number => (u16(at) | (u16(at + 2) << 16)) >>> 0;
    for (let at = 0, n = 0; n < MAX_IMAGES && at + PCI_DATA_BYTES <= size; n++) {
      if (u16(at) !== 0xaa55) return n === 0 ? 'it does not start with 55 AA' : 'it has no image for a BIOS';
      const data = at + u16(at + PCI_POINTER);
      if (data + PCI_DATA_BYTES > size || u32(data) !== PCI_SIGNATURE) return 'it has no PCI data structure';
      const bytes = u16(data + 16) * BLOCK;
      const ours = u32(data + 4) === this.#config.read(fn, 0, 4);
      if (bus.mmioRead(base + data + 20, 1) === CODE_BIOS && ours) {
        const length = Math.max(bus.mmioRead(base + at + 2, 1) * BLOCK, BLOCK);
        if (at + length > size) return `it ends within its image of ${length} bytes`;
        const image = new Uint8Array(length);
        for (let i = 0; i < length; i += 4) {
          const word = bus.mmioRead(base + at + i, 4);
          for (let k = 0; k < 4; k++) image[i + k] = word >>> (8 * k);
        }
        return image;
      }
      if (bytes === 0 || (bus.mmioRead(base + data + 21, 1) & LAST_IMAGE) !== 0) break;
      at += bytes;
    }
    return 'it has no image for a BIOS and this card';
  }

  /** Puts an image where it can run; why not, or nothing. */
  #place(fn: number, name: string, image: Uint8Array): string | undefined {
    if ((image.reduce((sum, byte) => sum + byte, 0) & 0xff) !== 0) return 'its checksum is wrong';
    const at = this.#at;
    if (at + image.length > END) return `its ${image.length} bytes do not fit: ${END - at} are left`;
    const { memory } = this.#o;
    memory.write(at, image);
    this.#at = at + image.length;
    const segment = at >>> 4;
    this.#steps.push({ segment, offset: INIT, ax: fn, after: () => this.#initialized(fn, name, at, image.length) });
    return undefined;
  }

  /** What a ROM has become behind its initialization: it may have shrunk, and offers what boots. */
  #initialized(fn: number, name: string, at: number, before: number): void {
    const { memory } = this.#o;
    const kept = memory.u16(at) === 0xaa55 ? Math.min(memory.u8(at + 2) * BLOCK, before) : 0;
    this.#at = Math.ceil((at + kept) / ALIGNMENT) * ALIGNMENT;
    const pnp = at + memory.u16(at + PNP_POINTER);
    if (kept === 0 || pnp === at || memory.u32(pnp) !== PNP_SIGNATURE) return;
    const segment = at >>> 4;
    const bcv = memory.u16(pnp + PNP_BCV);
    const bev = memory.u16(pnp + PNP_BEV);
    const title = this.#text(at, memory.u16(pnp + PNP_PRODUCT)) || `the option ROM of PCI ${name}`;
    if (bcv !== 0) {
      const disks = memory.u8(Bda.DISK_COUNT);
      const connected = (): void => {
        if (memory.u8(Bda.DISK_COUNT) > disks) this.#offer('disk', title, { segment: ROM_SEGMENT, offset: this.#diskBoot });
      };
      this.#steps.push({ segment, offset: bcv, ax: fn, after: connected });
    }
    const isNetwork = memory.u8(pnp + PNP_TYPE) === CLASS_NETWORK || this.#config.read(fn, CONFIG_CLASS, 1) === CLASS_NETWORK;
    if (bev !== 0) this.#offer(isNetwork ? 'net' : 'disk', title, { segment, offset: bev, es: ROM_SEGMENT, di: this.#pnp, returnTo: { segment: ROM_SEGMENT, offset: this.#next } });
  }

  #offer(name: BootSource['name'], title: string, target: JumpTarget): void {
    this.#o.boot.addRom({ name, title, boot: () => target });
  }

  /** A text of the ROM, as far as it can be shown. */
  #text(at: number, offset: number): string {
    if (offset === 0) return '';
    const bytes = this.#o.memory.bytes(at + offset, MAX_TITLE);
    const end = bytes.findIndex(byte => byte < 0x20 || byte > 0x7e);
    return String.fromCharCode(...bytes.subarray(0, end < 0 ? MAX_TITLE : end)).trim();
  }

  /** The PnP services: only the version of the BIOS Boot Specification is told. */
  #pnpCall(call: FirmwareCall): void {
    const { memory } = this.#o;
    if (memory.u16(call.stack(4)) !== GET_BBS_VERSION) {
      call.ax = FUNCTION_NOT_SUPPORTED;
      return;
    }
    memory.setU16(memory.u16(call.stack(8)) * 16 + memory.u16(call.stack(6)), BBS_VERSION);
    call.ax = 0;
  }
}

/** The PnP installation check structure, with a real-mode entry point and none for protected mode. */
const pnpStructure = (entry: number): number[] => {
  const bytes = new Array<number>(0x21).fill(0);
  const word = (at: number, value: number): void => void bytes.splice(at, 2, value & 0xff, value >> 8);
  word(0, PNP_SIGNATURE & 0xffff);
  word(2, PNP_SIGNATURE >>> 16);
  bytes[4] = 0x10;
  bytes[5] = bytes.length;
  word(0x0d, entry);
  word(0x0f, ROM_SEGMENT);
  word(0x1b, ROM_SEGMENT);
  bytes[8] = -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
  return bytes;
};

const PUSHF = [0x9c];
const PUSH_CS = [0x0e];
const IRET = [0xcf];
const INT18 = [0xcd, 0x18];
/** The master boot record of the first disk by INT 13h, else the next device. */
const DISK_BOOT = [
  0xb8, 0x01, 0x02, // mov ax, 0x0201
  0xb9, 0x01, 0x00, // mov cx, 1
  0xba, 0x80, 0x00, // mov dx, 0x0080
  0xbb, 0x00, 0x7c, // mov bx, 0x7c00
  0xcd, 0x13, // int 0x13
  0x72, 0x10, // jc next
  0x81, 0x3e, 0xfe, 0x7d, 0x55, 0xaa, // cmp word [0x7dfe], 0xaa55
  0x75, 0x08, // jne next
  0xba, 0x80, 0x00, // mov dx, 0x0080
  0xea, 0x00, 0x7c, 0x00, 0x00, // jmp 0:0x7c00
  0xcd, 0x18, // next: int 0x18
];
