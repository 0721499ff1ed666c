import type { FirmwareCall, JumpTarget } from './call.js';
import { type DiskServices, FIRST_DISK } from './disk.js';
import { CD_SECTOR_BYTES, type Drive, SECTOR_BYTES } from './drives.js';
import { findBootEntry } from './el-torito.js';
import type { LinearMemory } from './linear.js';
import type { Ready } from './traps.js';

// INT 19h and INT 18h; the order and the way from one device to the next are those of the BIOS Boot Specification 1.01.

const BOOT_ADDRESS = 0x7c00;

/** Where a boot device's code begins, or why there is none. */
export type BootResult = JumpTarget | string;

/** Something to boot from. */
export interface BootSource {
  /** What the boot order calls it: `disk`, `floppy`, `cdrom`, `net` or another word. */
  readonly name: string;
  /** What messages call it. */
  readonly title: string;
  /** Loads the boot code into guest memory; may wait as the handlers of services may. */
  boot(call: FirmwareCall): BootResult | Generator<Ready, BootResult, void>;
}

export class BootServices {
  readonly #sources = new Map<string, BootSource>();
  readonly #roms: BootSource[] = [];
  readonly #order: readonly string[];
  readonly #print: (text: string) => void;
  #first: BootSource | undefined;
  #queue: BootSource[] = [];
  #next = 0;
  #failed = false;

  constructor(order: readonly string[], print: (text: string) => void) {
    this.#order = order;
    this.#print = print;
  }

  /** Makes a device known; a second one of the same name replaces the first. */
  add(source: BootSource): void {
    this.#sources.set(source.name, source);
  }

  /** Makes what an option ROM boots known; of devices with the same name it comes last. */
  addRom(source: BootSource): void {
    this.#roms.push(source);
  }

  clearRoms(): void {
    this.#roms.length = 0;
  }

  reset(): void {
    this.#next = 0;
    this.#queue = [];
    this.#first = undefined;
    this.#failed = false;
  }

  /** Whether everything was tried and nothing booted. */
  get failed(): boolean {
    return this.#failed;
  }

  /** How many devices of the order were tried. */
  get position(): number {
    return this.#next;
  }

  /** The next start is with this source, once; when it gives up, the order goes on behind `position`. */
  startWith(source: BootSource, position: number): void {
    this.#first = source;
    this.#next = position;
  }

  /** INT 19h: from the first device on. */
  start(call: FirmwareCall, stop: JumpTarget): Generator<Ready, void, void> {
    if (this.#first === undefined) this.#next = 0;
    this.#queue = this.#first === undefined ? [] : [this.#first];
    this.#first = undefined;
    return this.proceed(call, stop);
  }

  /** INT 18h: what was booted gave up; the next device. `stop` is where the CPU goes when there is none. */
  *proceed(call: FirmwareCall, stop: JumpTarget): Generator<Ready, void, void> {
    while (this.#queue.length > 0 || this.#next < this.#order.length) {
      const source = this.#queue.shift();
      if (source === undefined) {
        const name = this.#order[this.#next++];
        const own = this.#sources.get(name);
        this.#queue = [...(own === undefined ? [] : [own]), ...this.#roms.filter(rom => rom.name === name)];
        if (this.#queue.length === 0) this.#print(`Cannot boot from ${name}: this machine has none.\n`);
        continue;
      }
      this.#print(`Booting from ${source.title}...\n`);
      const attempt = source.boot(call);
      const result = typeof attempt === 'object' && Symbol.iterator in attempt ? yield* attempt : attempt;
      if (typeof result === 'string') {
        this.#print(`Cannot boot from ${source.title}: ${result}.\n`);
        continue;
      }
      call.jump(result);
      return;
    }
    this.#failed = true;
    this.#print('No bootable device was found: the machine stops here.\n');
    call.jump(stop);
  }
}

/** The master boot record of the first hard disk, or the boot sector of the first floppy. */
export const sectorSource = (kind: 'disk' | 'floppy', disks: DiskServices, memory: LinearMemory): BootSource => {
  const number = kind === 'disk' ? FIRST_DISK : 0;
  return {
    name: kind,
    title: kind,
    boot: () => {
      const drive = disks.find(number);
      if (drive === undefined) return `there is no ${kind}`;
      const sector = new Uint8Array(SECTOR_BYTES);
      if (!disks.readSectors(drive, 0, sector)) return 'its first sector cannot be read';
      if (!isBootSector(drive, sector)) return 'its first sector is no boot sector';
      memory.write(BOOT_ADDRESS, sector);
      return { segment: 0, offset: BOOT_ADDRESS, dx: number };
    },
  };
};

/** Floppies from before the signature was invented begin with a jump. */
const isBootSector = (drive: Drive, sector: Uint8Array): boolean => (sector[510] === 0x55 && sector[511] === 0xaa) || (drive.kind === 'floppy' && (sector[0] === 0xeb || sector[0] === 0xe9));

export const cdSource = (disks: DiskServices, memory: LinearMemory): BootSource => ({
  name: 'cdrom',
  title: 'cdrom',
  boot: () => {
    const cd = disks.drives.cds[0];
    if (cd === undefined) return 'there is no cdrom';
    const entry = findBootEntry(cd.backend);
    if (typeof entry === 'string') return entry;
    const bytes = entry.count * SECTOR_BYTES;
    const image = new Uint8Array(Math.ceil(bytes / CD_SECTOR_BYTES) * CD_SECTOR_BYTES);
    const inside = Math.min(image.length, cd.backend.size - entry.lba * CD_SECTOR_BYTES);
    if (!disks.readSectors(cd, entry.lba, image.subarray(0, inside))) return 'its boot image cannot be read';
    const number = disks.bootFrom(0, entry);
    const at = entry.segment * 16;
    memory.write(at, image.subarray(0, bytes));
    return { segment: (at >> 4) & 0xf000, offset: at & 0xffff, dx: number };
  },
});
