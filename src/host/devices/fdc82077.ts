import type { GuestLog } from '../../logger.js';
import type { BlockBackend } from '../backends/backend.js';
import type { IrqLine } from '../irq.js';
import { readBytes, writeBytes } from './bytes.js';
import type { AccessSize, Device, Region } from './device.js';
import type { DmaChannel } from './dma8237.js';
import { clone, validated } from './state.js';

// Intel 82077AA data sheet (order 290166). Commands and seeks take no time; data go by DMA.

const DRIVES = 2;
const SECTOR_BYTES = 512;

const SRA = 0;
const SRB = 1;
const DOR = 2;
const TDR = 3;
const MSR_DSR = 4;
const FIFO = 5;
/** Region 1, port 0x3F7. */
const DIR_CCR_REGION = 1;

const DOR_DRIVE = 0x03;
const DOR_NOT_RESET = 0x04;
const DOR_DMA = 0x08;
const MSR_RQM = 0x80;
const MSR_TO_HOST = 0x40;
const MSR_BUSY = 0x10;
const DSR_RESET = 0x80;
const DIR_CHANGED = 0x80;

const ST0_ABNORMAL = 0x40;
const ST0_INVALID = 0x80;
const ST0_READY_CHANGED = 0xc0;
const ST0_SEEK_END = 0x20;
const ST0_NO_TRACK0 = 0x10;
const ST1_MISSING_ADDRESS = 0x01;
const ST1_NOT_WRITABLE = 0x02;
const ST1_NO_DATA = 0x04;
const ST1_OVERRUN = 0x10;
const ST1_END_OF_CYLINDER = 0x80;
const ST3_TWO_SIDES = 0x08;
const ST3_TRACK0 = 0x10;
const ST3_READY = 0x20;
const ST3_PROTECTED = 0x40;

const VERSION = 0x90;
const MULTI_TRACK = 0x80;
const NO_DMA = 0x01;

const READ_TRACK = 0x02;
const SPECIFY = 0x03;
const SENSE_DRIVE = 0x04;
const WRITE_DATA = 0x05;
const READ_DATA = 0x06;
const RECALIBRATE = 0x07;
const SENSE_INTERRUPT = 0x08;
const WRITE_DELETED = 0x09;
const READ_ID = 0x0a;
const READ_DELETED = 0x0c;
const FORMAT = 0x0d;
const DUMP_REGISTERS = 0x0e;
const SEEK = 0x0f;
const VERSION_COMMAND = 0x10;
const PERPENDICULAR = 0x12;
const CONFIGURE = 0x13;
const LOCK = 0x14;

/** Parameter bytes behind a command, by its low five bits; what is not here is invalid. */
const PARAMETERS: Readonly<Record<number, number>> = {
  [READ_TRACK]: 8, [SPECIFY]: 2, [SENSE_DRIVE]: 1, [WRITE_DATA]: 8, [READ_DATA]: 8, [RECALIBRATE]: 1, [SENSE_INTERRUPT]: 0, [WRITE_DELETED]: 8, [READ_ID]: 1, [READ_DELETED]: 8,
  [FORMAT]: 5, [DUMP_REGISTERS]: 0, [SEEK]: 2, [VERSION_COMMAND]: 0, [PERPENDICULAR]: 1, [CONFIGURE]: 3, [LOCK]: 0,
};

export interface FloppyMedium {
  backend: BlockBackend;
  cylinders: number;
  heads: number;
  sectors: number;
}

export interface Fdc82077State {
  dor: number;
  tdr: number;
  dsr: number;
  irq: boolean;
  /** Bytes of the command so far. */
  command: number[];
  result: number[];
  /** Cylinder of each drive. */
  cylinders: number[];
  /** ST0 values that SENSE INTERRUPT STATUS will tell. */
  pending: number[];
  changed: boolean[];
  specify: number[];
  configure: number[];
  perpendicular: number;
  locked: boolean;
}

const initial = (): Fdc82077State => ({
  dor: DOR_NOT_RESET | DOR_DMA,
  tdr: 0,
  dsr: 0,
  irq: false,
  command: [],
  result: [],
  cylinders: [0, 0, 0, 0],
  pending: [],
  changed: [true, true],
  specify: [0, 0],
  configure: [0, 0, 0],
  perpendicular: 0,
  locked: false,
});

export interface Fdc82077Options {
  name?: string;
  irq: IrqLine;
  dma: DmaChannel;
  drives: readonly (FloppyMedium | undefined)[];
  log: GuestLog;
}

/** The floppy disk controller with up to two drives. Regions: 0 ports 0x3F0 to 0x3F5, 1 port 0x3F7. */
export class Fdc82077 implements Device<Fdc82077State> {
  readonly name: string;
  readonly regions: readonly Region[] = [
    { space: 'pio', size: 6 },
    { space: 'pio', size: 1 },
  ];
  readonly #irq: IrqLine;
  readonly #dma: DmaChannel;
  readonly #drives: readonly (FloppyMedium | undefined)[];
  readonly #log: GuestLog;
  #s = initial();

  constructor(options: Fdc82077Options) {
    this.name = options.name ?? 'fdc';
    this.#irq = options.irq;
    this.#dma = options.dma;
    this.#drives = options.drives;
    this.#log = options.log;
  }

  read(offset: number, size: AccessSize, region: number): number {
    if (size !== 1) return readBytes(offset, size, at => (at < this.regions[region].size ? this.read(at, 1, region) : 0xff));
    const s = this.#s;
    if (region === DIR_CCR_REGION) {
      const drive = s.dor & DOR_DRIVE;
      // Only with the motor on does a drive say that its medium was changed.
      return drive < DRIVES && (s.dor & (0x10 << drive)) !== 0 && (s.changed[drive] || this.#drives[drive] === undefined) ? DIR_CHANGED : 0;
    }
    switch (offset) {
      case SRA:
        return s.irq ? 0x80 : 0;
      case SRB:
        return 0xc0;
      case DOR:
        return s.dor;
      case TDR:
        return s.tdr;
      case MSR_DSR:
        if ((s.dor & DOR_NOT_RESET) === 0) return 0;
        return MSR_RQM | (s.result.length > 0 ? MSR_TO_HOST | MSR_BUSY : 0) | (s.command.length > 0 ? MSR_BUSY : 0);
      default:
        return this.#readFifo();
    }
  }

  write(offset: number, value: number, size: AccessSize, region: number): void {
    if (size !== 1) {
      writeBytes(offset, value, size, (at, byte) => {
        if (at < this.regions[region].size) this.write(at, byte, 1, region);
      });
      return;
    }
    const s = this.#s;
    if (region === DIR_CCR_REGION) return;
    switch (offset) {
      case DOR: {
        const before = s.dor;
        s.dor = value;
        if ((value & DOR_NOT_RESET) === 0) this.#clear();
        else if ((before & DOR_NOT_RESET) === 0) this.#resetDone();
        this.#updateIrq();
        return;
      }
      case TDR:
        s.tdr = value & 3;
        return;
      case MSR_DSR:
        s.dsr = value & ~DSR_RESET;
        if ((value & DSR_RESET) !== 0) {
          this.#clear();
          this.#resetDone();
        }
        return;
      case FIFO:
        if ((s.dor & DOR_NOT_RESET) !== 0 && s.result.length === 0) this.#writeFifo(value);
        return;
      default:
        return;
    }
  }

  reset(): void {
    this.#s = initial();
    this.#updateIrq();
  }

  save(): Fdc82077State {
    return clone(this.#s);
  }

  restore(state: Fdc82077State): void {
    const s = validated(this.name, initial(), state);
    if (s.cylinders.length !== 4 || s.changed.length !== 2) validated(this.name, initial(), undefined);
    this.#s = s;
    this.#updateIrq();
  }

  #updateIrq(): void {
    this.#irq.set(this.#s.irq && (this.#s.dor & DOR_DMA) !== 0);
  }

  #interrupt(): void {
    this.#s.irq = true;
    this.#updateIrq();
  }

  #clear(): void {
    const s = this.#s;
    s.command = [];
    s.result = [];
    s.pending = [];
    s.irq = false;
    if (!s.locked) s.configure = [0, 0, 0];
    this.#updateIrq();
  }

  /** Polling behind a reset finds every drive's ready line changed. */
  #resetDone(): void {
    this.#s.pending = [0, 1, 2, 3].map(drive => ST0_READY_CHANGED | drive);
    this.#interrupt();
  }

  #readFifo(): number {
    const s = this.#s;
    const value = s.result.shift() ?? 0;
    s.irq = false;
    this.#updateIrq();
    return value;
  }

  #writeFifo(value: number): void {
    const s = this.#s;
    s.command.push(value);
    const needed = PARAMETERS[s.command[0] & 0x1f];
    if (needed === undefined) {
      s.command = [];
      s.result = [ST0_INVALID];
    } else if (s.command.length > needed) {
      const { command } = s;
      s.command = [];
      this.#execute(command);
    }
  }

  #execute(command: readonly number[]): void {
    const s = this.#s;
    const code = command[0] & 0x1f;
    const number = command[1] & 3;
    switch (code) {
      case SPECIFY:
        s.specify = [command[1], command[2]];
        return;
      case SENSE_DRIVE: {
        const drive = this.#drives[number];
        const sides = drive === undefined || drive.heads > 1 ? ST3_TWO_SIDES : 0;
        s.result = [(command[1] & 7) | ST3_READY | sides | (s.cylinders[number] === 0 ? ST3_TRACK0 : 0) | (drive?.backend.readOnly === true ? ST3_PROTECTED : 0)];
        return;
      }
      case RECALIBRATE:
        s.cylinders[number] = 0;
        s.pending.push(ST0_SEEK_END | number | (number >= DRIVES ? ST0_ABNORMAL | ST0_NO_TRACK0 : 0));
        if (this.#drives[number] !== undefined) s.changed[number] = false;
        return this.#interrupt();
      case SEEK:
        s.cylinders[number] = command[2];
        s.pending.push(ST0_SEEK_END | (command[1] & 7));
        if (this.#drives[number] !== undefined) s.changed[number] = false;
        return this.#interrupt();
      case SENSE_INTERRUPT: {
        const status = s.pending.shift();
        s.irq = false;
        this.#updateIrq();
        s.result = status === undefined ? [ST0_INVALID] : [status, s.cylinders[status & 3]];
        return;
      }
      case READ_ID:
        return this.#readId(command);
      case READ_DATA:
      case READ_DELETED:
      case READ_TRACK:
        return this.#transfer(command, false);
      case WRITE_DATA:
      case WRITE_DELETED:
        return this.#transfer(command, true);
      case FORMAT:
        return this.#format(command);
      case DUMP_REGISTERS:
        s.result = [...s.cylinders, ...s.specify, 0, (s.locked ? 0x80 : 0) | (s.perpendicular & 0x7f), s.configure[1], s.configure[2]];
        return;
      case VERSION_COMMAND:
        s.result = [VERSION];
        return;
      case PERPENDICULAR:
        s.perpendicular = command[1];
        return;
      case CONFIGURE:
        s.configure = command.slice(1, 4);
        return;
      default:
        s.locked = (command[0] & 0x80) !== 0;
        s.result = [s.locked ? 0x10 : 0];
    }
  }

  /** The result of a command that moves data. */
  #finish(head: number, status: readonly [number, number, number], id: readonly number[]): void {
    const [st0, st1, st2] = status;
    this.#s.result = [st0 | head, st1, st2, ...id];
    this.#interrupt();
  }

  #readId(command: readonly number[]): void {
    const number = command[1] & 3;
    const head = (command[1] >> 2) & 1;
    const cylinder = this.#s.cylinders[number];
    const drive = this.#drives[number];
    const found = drive !== undefined && cylinder < drive.cylinders && head < drive.heads;
    this.#finish(command[1] & 7, found ? [0, 0, 0] : [ST0_ABNORMAL, ST1_MISSING_ADDRESS, 0], [cylinder, head, 1, 2]);
  }

  /** READ and WRITE DATA from the sector of the command on, to the terminal count, the end of the track or, with MT, of the other side's. */
  #transfer(command: readonly number[], write: boolean): void {
    const s = this.#s;
    const number = command[1] & 3;
    const drive = this.#drives[number];
    let [, , cylinder, head, sector] = command;
    const last = command[6];
    const select = command[1] & 7;
    const fail = (st1: number): void => this.#finish(select, [ST0_ABNORMAL, st1, 0], [cylinder, head, sector, command[5]]);
    if (drive === undefined || cylinder !== s.cylinders[number]) return fail(ST1_NO_DATA);
    if (write && drive.backend.readOnly) return fail(ST1_NOT_WRITABLE);
    if ((s.specify[1] & NO_DMA) !== 0) {
      this.#log.guestError(this.name, 'data without DMA are not supported');
      return fail(ST1_OVERRUN);
    }
    const bytes = new Uint8Array(SECTOR_BYTES);
    for (;;) {
      if (command[5] !== 2 || cylinder >= drive.cylinders || head >= drive.heads || sector === 0 || sector > drive.sectors) return fail(ST1_NO_DATA);
      const offset = ((cylinder * drive.heads + head) * drive.sectors + sector - 1) * SECTOR_BYTES;
      let done: { moved: number; terminal: boolean };
      try {
        if (write) {
          done = this.#dma.fromMemory(bytes.fill(0));
          if (done.moved > 0) drive.backend.write(offset, bytes);
        } else {
          drive.backend.read(offset, bytes);
          done = this.#dma.toMemory(bytes);
        }
      } catch (error) {
        this.#log.guestError(this.name, error instanceof Error ? error.message : String(error));
        return fail(ST1_NO_DATA);
      }
      const atEnd = sector >= last;
      sector++;
      if (atEnd) {
        sector = 1;
        if ((command[0] & MULTI_TRACK) !== 0 && head === 0) head = 1;
        else {
          head = (command[0] & MULTI_TRACK) !== 0 ? 0 : head;
          cylinder++;
          if (!done.terminal) return this.#finish(select, [ST0_ABNORMAL, ST1_END_OF_CYLINDER, 0], [cylinder, head, sector, 2]);
        }
      }
      if (done.terminal) return this.#finish((select & 3) | (head << 2), [0, 0, 0], [cylinder, head, sector, 2]);
      if (done.moved < SECTOR_BYTES) return fail(ST1_OVERRUN);
    }
  }

  /** Four bytes a sector by DMA: cylinder, head, sector, size. */
  #format(command: readonly number[]): void {
    const number = command[1] & 3;
    const head = (command[1] >> 2) & 1;
    const drive = this.#drives[number];
    const cylinder = this.#s.cylinders[number];
    const fail = (st1: number): void => this.#finish(command[1] & 7, [ST0_ABNORMAL, st1, 0], [cylinder, head, 1, command[2]]);
    if (drive === undefined || cylinder >= drive.cylinders || head >= drive.heads) return fail(ST1_MISSING_ADDRESS);
    if (drive.backend.readOnly) return fail(ST1_NOT_WRITABLE);
    const id = new Uint8Array(4);
    for (let n = 0; n < command[3]; n++) {
      const { moved } = this.#dma.fromMemory(id);
      if (moved < id.length) break;
      if (id[2] === 0 || id[2] > drive.sectors || id[3] !== 2) continue;
      try {
        drive.backend.write(((cylinder * drive.heads + head) * drive.sectors + id[2] - 1) * SECTOR_BYTES, new Uint8Array(SECTOR_BYTES).fill(command[5]));
      } catch {
        return fail(ST1_NOT_WRITABLE);
      }
    }
    this.#finish(command[1] & 7, [0, 0, 0], [cylinder, head, 1, 2]);
  }
}
