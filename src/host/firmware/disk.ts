import type { GuestLog } from '../../logger.js';
import { Bda } from './bda.js';
import type { FirmwareCall } from './call.js';
import { BlockWindow, CD_SECTOR_BYTES, type Drive, floppyDrive, hardDrive, SECTOR_BYTES } from './drives.js';
import { type BootEntry, Emulation } from './el-torito.js';
import type { LinearMemory } from './linear.js';

// INT 13h (Ralf Brown's interrupt list; Enhanced Disk Drive specification 3.0; El Torito 1.0).

const OK = 0x00;
const BAD_COMMAND = 0x01;
const WRITE_PROTECTED = 0x03;
const NOT_FOUND = 0x04;
const READ_ERROR = 0x10;
const VOLUME_LOCKED = 0xb1;
const VOLUME_NOT_LOCKED = 0xb0;
const NOT_REMOVABLE = 0xb2;

const EXTENSIONS_VERSION = 0x30;
/** Functions 42h to 44h, 47h, 48h; functions 45h, 46h, 49h for removable media; 48h with device path. */
const EXTENSIONS_DISK = 0x05;
const EXTENSIONS_REMOVABLE = 0x07;
const CHUNK_SECTORS = 128;
const MAX_LOCKS = 255;
export const FIRST_DISK = 0x80;
export const FIRST_CD = 0xe0;

export interface DriveTable {
  floppies: Drive[];
  disks: Drive[];
  cds: Drive[];
}

/** An image on a CD that stands in for a floppy or the first hard disk. */
interface Emulated {
  drive: Drive;
  number: number;
  entry: BootEntry;
  cd: number;
}

export interface DiskTables {
  /** Segment and offset of the diskette parameter table. */
  diskette: { segment: number; offset: number };
}

/** The disk services, on the machine's drives. */
export class DiskServices {
  readonly #memory: LinearMemory;
  readonly #log: GuestLog;
  readonly #tables: DiskTables;
  readonly drives: DriveTable;
  #emulated: Emulated | undefined;
  /** The entry that a CD was booted from without emulation. */
  #bootedCd: { entry: BootEntry; cd: number } | undefined;

  constructor(options: { memory: LinearMemory; log: GuestLog; drives: DriveTable; tables: DiskTables }) {
    this.#memory = options.memory;
    this.#log = options.log;
    this.drives = options.drives;
    this.#tables = options.tables;
  }

  reset(): void {
    this.#emulated = undefined;
    this.#bootedCd = undefined;
    for (const drive of [...this.drives.floppies, ...this.drives.disks, ...this.drives.cds]) drive.status = drive.locks = 0;
  }

  /** Drives of a kind that software sees, emulated ones among them. */
  count(kind: 'floppies' | 'disks'): number {
    const emulated = this.#emulated;
    const added = emulated !== undefined && emulated.number < FIRST_DISK === (kind === 'floppies') ? 1 : 0;
    return this.drives[kind].length + added;
  }

  /** Boots from a CD: the drive's number for the boot image. */
  bootFrom(cd: number, entry: BootEntry): number {
    const { backend } = this.drives.cds[cd];
    if (entry.media === Emulation.NONE) {
      this.#bootedCd = { entry, cd };
      return FIRST_CD + cd;
    }
    const image = new BlockWindow(backend, entry.lba * CD_SECTOR_BYTES, entry.imageBytes);
    const isDisk = entry.media === Emulation.HARD_DISK;
    this.#emulated = { drive: isDisk ? hardDrive(image) : floppyDrive(image), number: isDisk ? FIRST_DISK : 0, entry, cd };
    this.updateCounts();
    return this.#emulated.number;
  }

  /** Puts the numbers of drives into the data area. */
  updateCounts(): void {
    const floppies = this.count('floppies');
    const equipment = this.#memory.u16(Bda.EQUIPMENT) & ~0x00c1;
    this.#memory.setU16(Bda.EQUIPMENT, equipment | (floppies === 0 ? 0 : 1 | (Math.min(floppies - 1, 3) << 6)));
    this.#memory.setU8(Bda.DISK_COUNT, this.count('disks'));
  }

  handle(call: FirmwareCall): void {
    const { ah, dl } = call;
    if (ah === 0x4a || ah === 0x4b || ah === 0x4c || ah === 0x4d) return this.#elTorito(call);
    const drive = this.find(dl);
    if (ah === 0x01) return this.#lastStatus(call, drive);
    if (drive === undefined) return this.#noDrive(call);
    const status = this.#execute(call, drive);
    if (status === undefined) return;
    drive.status = status;
    this.#store(dl, status);
    call.ah = status;
    call.carry = status !== OK;
  }

  /** The drive of a number, with an emulated one in front of its kind. */
  find(number: number): Drive | undefined {
    const emulated = this.#emulated;
    if (number >= FIRST_CD) return this.drives.cds[number - FIRST_CD];
    if (emulated?.number === number) return emulated.drive;
    const isDisk = number >= FIRST_DISK;
    const moved = emulated !== undefined && emulated.number >= FIRST_DISK === isDisk ? 1 : 0;
    return (isDisk ? this.drives.disks : this.drives.floppies)[(number & 0x7f) - moved];
  }

  /** Reads sectors of a drive; false when they are not there. For boot. */
  readSectors(drive: Drive, lba: number, into: Uint8Array): boolean {
    try {
      if (lba * drive.sectorBytes + into.length > drive.backend.size) return false;
      drive.backend.read(lba * drive.sectorBytes, into);
      return true;
    } catch (error) {
      this.#failed(error);
      return false;
    }
  }

  #store(number: number, status: number): void {
    this.#memory.setU8(number < FIRST_DISK ? Bda.FLOPPY_STATUS : Bda.DISK_STATUS, status);
  }

  #noDrive(call: FirmwareCall): void {
    if (call.ah === 0x08 && call.dl < FIRST_DISK) {
      // Of a floppy drive that is not there nothing is told but how many there are.
      call.ax = call.bx = call.cx = 0;
      call.dx = this.count('floppies');
      call.carry = false;
      return;
    }
    if (call.ah === 0x15) {
      call.ah = 0;
      call.carry = false;
      return;
    }
    call.ah = BAD_COMMAND;
    call.carry = true;
    this.#store(call.dl, BAD_COMMAND);
  }

  #lastStatus(call: FirmwareCall, drive: Drive | undefined): void {
    const status = drive?.status ?? this.#memory.u8(call.dl < FIRST_DISK ? Bda.FLOPPY_STATUS : Bda.DISK_STATUS);
    call.ah = status;
    call.carry = status !== OK;
  }

  /** Returns a status, or undefined when the registers are all set. */
  #execute(call: FirmwareCall, drive: Drive): number | undefined {
    const { ah } = call;
    if (ah >= 0x41 && ah <= 0x4e) return drive.kind === 'floppy' ? BAD_COMMAND : this.#extended(call, drive);
    if (drive.kind === 'cdrom') return ah === 0x00 || ah === 0x0d ? OK : ah === 0x15 ? this.#type(call, drive) : BAD_COMMAND;
    switch (ah) {
      case 0x00:
      case 0x0d:
      case 0x10:
      case 0x11:
      case 0x14:
        return OK;
      case 0x02:
      case 0x03:
      case 0x04:
        return this.#transferChs(call, drive);
      case 0x05:
        return this.#format(call, drive);
      case 0x08:
        return this.#parameters(call, drive);
      case 0x09:
        return drive.kind === 'disk' ? OK : BAD_COMMAND;
      case 0x0c:
        return drive.kind === 'disk' && this.#lba(call, drive) === undefined ? NOT_FOUND : OK;
      case 0x15:
        return this.#type(call, drive);
      case 0x16:
        return drive.kind === 'floppy' ? OK : BAD_COMMAND;
      case 0x17:
        return drive.kind === 'floppy' ? OK : BAD_COMMAND;
      case 0x18:
        return this.#setMedia(call, drive);
      default:
        return BAD_COMMAND;
    }
  }

  /** The sector that CH, CL and DH name. */
  #lba(call: FirmwareCall, drive: Drive): number | undefined {
    const { heads, sectors } = drive.geometry;
    const sector = call.cl & 0x3f;
    const cylinder = call.ch | ((call.cl & 0xc0) << 2);
    if (sector === 0 || sector > sectors || call.dh >= heads) return undefined;
    return (cylinder * heads + call.dh) * sectors + sector - 1;
  }

  #transferChs(call: FirmwareCall, drive: Drive): number {
    const { ah, al } = call;
    const lba = this.#lba(call, drive);
    call.al = 0;
    if (lba === undefined || (al + lba) * SECTOR_BYTES > drive.backend.size) return NOT_FOUND;
    if (al === 0 || al > 128) return BAD_COMMAND;
    if (ah === 0x03 && drive.backend.readOnly) return WRITE_PROTECTED;
    const status = ah === 0x04 ? OK : this.#transfer(drive, lba, al, call.linear('es', call.bx), ah === 0x03);
    if (status === OK) call.al = al;
    return status;
  }

  #transfer(drive: Drive, lba: number, count: number, to: number, write: boolean): number {
    const { backend, sectorBytes } = drive;
    try {
      for (let done = 0; done < count; ) {
        const sectors = Math.min(count - done, CHUNK_SECTORS);
        const piece = new Uint8Array(sectors * sectorBytes);
        const at = (lba + done) * sectorBytes;
        if (write) {
          this.#memory.read(to + done * sectorBytes, piece);
          backend.write(at, piece);
        } else {
          backend.read(at, piece);
          this.#memory.write(to + done * sectorBytes, piece);
        }
        done += sectors;
      }
      return OK;
    } catch (error) {
      this.#failed(error);
      return READ_ERROR;
    }
  }

  #failed(error: unknown): void {
    this.#log.guestError('int13', error instanceof Error ? error.message : String(error));
  }

  #format(call: FirmwareCall, drive: Drive): number {
    const { heads, sectors, cylinders } = drive.geometry;
    if (drive.kind !== 'floppy') return BAD_COMMAND;
    if (drive.backend.readOnly) return WRITE_PROTECTED;
    if (call.ch >= cylinders || call.dh >= heads) return NOT_FOUND;
    try {
      drive.backend.write((call.ch * heads + call.dh) * sectors * SECTOR_BYTES, new Uint8Array(sectors * SECTOR_BYTES).fill(0xf6));
      return OK;
    } catch (error) {
      this.#failed(error);
      return READ_ERROR;
    }
  }

  #parameters(call: FirmwareCall, drive: Drive): number | undefined {
    const { cylinders, heads, sectors } = drive.geometry;
    const isFloppy = drive.kind === 'floppy';
    const last = cylinders - 1;
    call.ax = 0;
    call.ch = last & 0xff;
    call.cl = sectors | ((last >> 2) & 0xc0);
    call.dh = heads - 1;
    call.dl = this.count(isFloppy ? 'floppies' : 'disks');
    if (isFloppy) {
      call.bx = drive.type;
      call.setSegment('es', this.#tables.diskette.segment);
      call.di = this.#tables.diskette.offset;
    }
    return OK;
  }

  #type(call: FirmwareCall, drive: Drive): number | undefined {
    call.carry = false;
    drive.status = OK;
    if (drive.kind === 'floppy') {
      call.ah = 1;
      return undefined;
    }
    const { heads, sectors, cylinders } = drive.geometry;
    const total = drive.kind === 'cdrom' ? Math.floor(drive.backend.size / SECTOR_BYTES) : cylinders * heads * sectors;
    call.cx = total >>> 16;
    call.dx = total & 0xffff;
    call.ah = 3;
    return undefined;
  }

  #setMedia(call: FirmwareCall, drive: Drive): number {
    if (drive.kind !== 'floppy') return BAD_COMMAND;
    const { cylinders, sectors } = drive.geometry;
    const asked = call.ch | ((call.cl & 0xc0) << 2);
    if (asked + 1 !== cylinders || (call.cl & 0x3f) !== sectors) return 0x0c;
    call.setSegment('es', this.#tables.diskette.segment);
    call.di = this.#tables.diskette.offset;
    return OK;
  }

  #extended(call: FirmwareCall, drive: Drive): number | undefined {
    const removable = drive.kind === 'cdrom';
    switch (call.ah) {
      case 0x41:
        if (call.bx !== 0x55aa) return BAD_COMMAND;
        call.bx = 0xaa55;
        call.cx = removable ? EXTENSIONS_REMOVABLE : EXTENSIONS_DISK;
        call.ah = EXTENSIONS_VERSION;
        call.carry = false;
        return undefined;
      case 0x42:
      case 0x43:
      case 0x44:
      case 0x47:
        return this.#transferExtended(call, drive);
      case 0x45:
        return this.#lock(call, drive);
      case 0x46:
        if (!removable) return NOT_REMOVABLE;
        return drive.locks > 0 ? VOLUME_LOCKED : OK;
      case 0x48:
        return this.#extendedParameters(call, drive);
      case 0x49:
        return OK;
      case 0x4e:
        // Nothing here is slower by PIO.
        if (call.al > 5) return BAD_COMMAND;
        call.al = 0;
        return OK;
      default:
        return BAD_COMMAND;
    }
  }

  #lock(call: FirmwareCall, drive: Drive): number {
    if (drive.kind !== 'cdrom') return call.al === 2 ? ((call.al = 0), OK) : BAD_COMMAND;
    switch (call.al) {
      case 0:
        if (drive.locks >= MAX_LOCKS) return 0xb4;
        drive.locks++;
        call.al = 1;
        return OK;
      case 1:
        if (drive.locks === 0) return VOLUME_NOT_LOCKED;
        drive.locks--;
        call.al = drive.locks > 0 ? 1 : 0;
        return OK;
      case 2:
        call.al = drive.locks > 0 ? 1 : 0;
        return OK;
      default:
        return BAD_COMMAND;
    }
  }

  /** A disk address packet at DS:SI: size, 0, count, buffer, sector, and in long ones a flat address. */
  #transferExtended(call: FirmwareCall, drive: Drive): number {
    const { ah, memory } = call;
    const packet = call.linear('ds', call.si);
    const size = memory.u8(packet);
    if (size < 0x10) return BAD_COMMAND;
    const count = memory.u16(packet + 2);
    const lba = memory.u32(packet + 8) + memory.u32(packet + 12) * 0x1_0000_0000;
    const far = memory.u32(packet + 4);
    const flat = size >= 0x18 && far === 0xffff_ffff;
    if ((lba + (ah === 0x47 ? 0 : count)) * drive.sectorBytes > drive.backend.size) {
      memory.setU16(packet + 2, 0);
      return BAD_COMMAND;
    }
    if (ah === 0x47 || ah === 0x44 || count === 0) return OK;
    if (ah === 0x43 && drive.backend.readOnly) return WRITE_PROTECTED;
    if (flat && memory.u32(packet + 0x14) !== 0) return BAD_COMMAND;
    const to = flat ? memory.u32(packet + 0x10) : (far >>> 16) * 16 + (far & 0xffff);
    const status = this.#transfer(drive, lba, count, to, ah === 0x43);
    if (status !== OK) memory.setU16(packet + 2, 0);
    return status;
  }

  /** Parameters at DS:SI; how many bytes there are says its first word. */
  #extendedParameters(call: FirmwareCall, drive: Drive): number {
    const { memory } = call;
    const to = call.linear('ds', call.si);
    const room = memory.u16(to);
    if (room < 26) return BAD_COMMAND;
    const sectors = Math.floor(drive.backend.size / drive.sectorBytes);
    const isCd = drive.kind === 'cdrom';
    const result = new Uint8Array(0x42);
    const view = new DataView(result.buffer);
    view.setUint16(0, room >= 0x42 ? 0x42 : room >= 30 ? 30 : 26, true);
    // DMA boundaries do not matter; geometry valid; or removable, with change line, lockable, geometry meaningless.
    view.setUint16(2, isCd ? 0x74 : 0x03, true);
    if (isCd) [4, 8, 12].forEach(at => view.setUint32(at, 0xffff_ffff, true));
    else {
      const { heads, sectors: perTrack } = drive.geometry;
      const cylinders = Math.floor(sectors / (heads * perTrack));
      [Math.min(cylinders, 16383), heads, perTrack].forEach((value, n) => view.setUint32(4 + 4 * n, value, true));
    }
    view.setUint32(16, sectors >>> 0, true);
    view.setUint32(20, Math.floor(sectors / 0x1_0000_0000), true);
    view.setUint16(24, drive.sectorBytes, true);
    view.setUint32(26, 0xffff_ffff, true);
    memory.write(to, result.subarray(0, view.getUint16(0, true)));
    return OK;
  }

  /** Functions 4Ah to 4Dh. Only the end of emulation and its status are of use behind boot. */
  #elTorito(call: FirmwareCall): void {
    const emulated = this.#emulated;
    const status = (code: number): void => {
      call.ah = code;
      call.carry = code !== OK;
    };
    if (call.ah !== 0x4b || call.al > 1) return status(call.ah === 0x4d && this.#catalog(call) ? OK : BAD_COMMAND);
    const current = emulated ?? this.#bootedCd;
    if (current === undefined) return status(BAD_COMMAND);
    const { entry, cd } = current;
    const { memory } = call;
    const to = call.linear('ds', call.si);
    const packet = new Uint8Array(0x13);
    const view = new DataView(packet.buffer);
    packet[0] = 0x13;
    packet[1] = entry.media;
    packet[2] = emulated?.number ?? FIRST_CD + cd;
    view.setUint32(4, entry.lba, true);
    view.setUint16(12, entry.segment, true);
    view.setUint16(14, entry.count, true);
    if (emulated !== undefined) {
      const { cylinders, heads, sectors } = emulated.drive.geometry;
      packet[16] = (cylinders - 1) & 0xff;
      packet[17] = sectors | (((cylinders - 1) >> 2) & 0xc0);
      packet[18] = heads - 1;
    }
    memory.write(to, packet);
    const asked = call.dl;
    if (call.al === 0 && emulated !== undefined && (asked === emulated.number || asked === 0x7f)) {
      this.#emulated = undefined;
      this.#bootedCd = { entry, cd };
      this.updateCounts();
    }
    status(OK);
  }

  /** AH=4Dh: sectors of the boot catalog, as the command packet at DS:SI says. */
  #catalog(call: FirmwareCall): boolean {
    const cd = this.drives.cds[0];
    if (cd === undefined) return false;
    const { memory } = call;
    const packet = call.linear('ds', call.si);
    const descriptor = new Uint8Array(CD_SECTOR_BYTES);
    if (!this.readSectors(cd, 17, descriptor)) return false;
    const count = memory.u8(packet + 1);
    const first = new DataView(descriptor.buffer).getUint32(0x47, true) + memory.u16(packet + 6);
    const sectors = new Uint8Array(count * CD_SECTOR_BYTES);
    if (!this.readSectors(cd, first, sectors)) return false;
    const buffer = memory.u32(packet + 2);
    memory.write((buffer >>> 16) * 16 + (buffer & 0xffff), sectors);
    return true;
  }
}

