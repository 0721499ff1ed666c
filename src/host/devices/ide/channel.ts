import type { GuestLog } from '../../../logger.js';
import type { IrqLine } from '../../irq.js';
import { type AccessSize, type Device, openBus, type Region } from '../device.js';
import { clone, validated } from '../state.js';
import { CD_SECTOR_BYTES, CdCommands, PACKET_BYTES } from './atapi.js';
import {
  geometryOf, type IdeChannelState, type IdeDma, type IdeDrive, initial, MAX_BLOCK_BYTES, MAX_MULTIPLE, Phase, placeOf, SECTOR_BYTES, setTransferMode, Source, type UnitState,
} from './channel-state.js';
import { SECTOR_TRANSFERS } from './commands.js';
import { identifyCd, identifyDisk } from './identify.js';

// ATA/ATAPI-7: registers (7), protocols (9), commands (6). A command is executed when it is written; what takes time on a disk takes none here.

const DATA = 0;
const ERROR_FEATURES = 1;
const COUNT = 2;
const LBA_LOW = 3;
const LBA_MID = 4;
const LBA_HIGH = 5;
const DEVICE = 6;
const CONTROL_REGION = 1;

const STATUS_ERR = 0x01;
const STATUS_DRQ = 0x08;
const STATUS_DSC = 0x10;
const STATUS_DRDY = 0x40;
const ERROR_ABRT = 0x04;
const ERROR_IDNF = 0x10;
const ERROR_UNC = 0x40;
const DEVICE_SECOND = 0x10;
const CONTROL_NIEN = 0x02;
const CONTROL_SRST = 0x04;
const CONTROL_HOB = 0x80;
const REASON_COMMAND = 0x01;
const REASON_TO_HOST = 0x02;
const FEATURE_DMA = 0x01;

export interface IdeChannelOptions {
  name: string;
  irq: IrqLine;
  /** Device 0 and device 1. */
  drives: readonly (IdeDrive | undefined)[];
  dma: IdeDma;
  log: GuestLog;
}

/** One IDE channel with up to two drives. Regions: 0 the command block (8 ports), 1 device control and alternate status. */
export class IdeChannel implements Device<IdeChannelState> {
  readonly name: string;
  readonly regions: readonly Region[] = [
    { space: 'pio', size: 8 },
    { space: 'pio', size: 1 },
  ];
  readonly #irq: IrqLine;
  readonly #drives: readonly (IdeDrive | undefined)[];
  readonly #cds: readonly (CdCommands | undefined)[];
  readonly #dma: IdeDma;
  readonly #log: GuestLog;
  #s: IdeChannelState;

  constructor(options: IdeChannelOptions) {
    this.name = options.name;
    this.#irq = options.irq;
    this.#drives = options.drives;
    this.#cds = options.drives.map(drive => (drive?.kind === 'cdrom' ? new CdCommands(drive.backend) : undefined));
    this.#dma = options.dma;
    this.#log = options.log;
    this.#s = initial(this.#drives);
    this.#signature();
  }

  /** Whether the drive asserts its interrupt, whatever nIEN says. */
  get interrupting(): boolean {
    return this.#s.irq;
  }

  read(offset: number, size: AccessSize, region: number): number {
    if (this.#drives.every(drive => drive === undefined)) return openBus(size);
    if (region === CONTROL_REGION) return size === 1 ? this.#status : openBus(size) - 0xff + this.#status;
    if (offset === DATA) return this.#readData(size);
    if (size !== 1) return openBus(size);
    const s = this.#s;
    const hob = (s.control & CONTROL_HOB) === 0 ? 0 : 1;
    switch (offset) {
      case ERROR_FEATURES:
        return s.error;
      case COUNT:
        return s.count[hob];
      case LBA_LOW:
        return s.low[hob];
      case LBA_MID:
        return s.mid[hob];
      case LBA_HIGH:
        return s.high[hob];
      case DEVICE:
        return s.device | 0xa0;
      default: {
        const status = this.#status;
        this.#setIrq(false);
        return status;
      }
    }
  }

  write(offset: number, value: number, size: AccessSize, region: number): void {
    if (region === CONTROL_REGION) return this.#writeControl(value & 0xff);
    if (offset === DATA) return this.#writeData(value, size);
    const s = this.#s;
    const byte = value & 0xff;
    s.control &= ~CONTROL_HOB;
    switch (offset) {
      case ERROR_FEATURES:
        s.features = [byte, s.features[0]];
        return;
      case COUNT:
        s.count = [byte, s.count[0]];
        return;
      case LBA_LOW:
        s.low = [byte, s.low[0]];
        return;
      case LBA_MID:
        s.mid = [byte, s.mid[0]];
        return;
      case LBA_HIGH:
        s.high = [byte, s.high[0]];
        return;
      case DEVICE:
        s.device = byte;
        return;
      default:
        this.#command(byte);
    }
  }

  reset(): void {
    this.#s = initial(this.#drives);
    this.#signature();
    this.#setIrq(false);
  }

  save(): IdeChannelState {
    const state = clone({ ...this.#s, buffer: this.#s.buffer.slice(0, this.#s.bufferEnd) });
    return state;
  }

  restore(state: IdeChannelState): void {
    const { buffer } = state as Partial<IdeChannelState>;
    const whole = new Uint8Array(MAX_BLOCK_BYTES);
    if (buffer instanceof Uint8Array && buffer.length <= MAX_BLOCK_BYTES) whole.set(buffer);
    const s = validated(this.name, initial(this.#drives), { ...state, buffer: buffer instanceof Uint8Array ? whole : buffer });
    const inBuffer = (value: number): number => Math.max(0, Math.min(MAX_BLOCK_BYTES, Math.floor(value)));
    s.bufferAt = inBuffer(s.bufferAt);
    s.bufferEnd = inBuffer(s.bufferEnd);
    s.blockBytes = Math.max(1, inBuffer(s.blockBytes));
    this.#s = s;
    this.#setIrq(s.irq);
  }

  /** The guest started the bus master: a transfer that waits goes on. */
  dmaStarted(): void {
    const s = this.#s;
    if (s.phase === Phase.DMA_IN) this.#dmaIn();
    else if (s.phase === Phase.DMA_OUT) this.#dmaOut();
  }

  get #selected(): number {
    return (this.#s.device & DEVICE_SECOND) === 0 ? 0 : 1;
  }

  get #drive(): IdeDrive | undefined {
    return this.#drives[this.#selected];
  }

  get #unit(): UnitState {
    return this.#s.units[this.#selected];
  }

  /** A device that is not there answers for itself as zero, by the other one. */
  get #status(): number {
    return this.#drive === undefined ? 0 : this.#s.status;
  }

  #setIrq(level: boolean): void {
    this.#s.irq = level;
    this.#irq.set(level && (this.#s.control & CONTROL_NIEN) === 0);
  }

  #writeControl(value: number): void {
    const s = this.#s;
    const before = s.control;
    s.control = value;
    if ((value & CONTROL_SRST) !== 0) s.phase = Phase.IDLE;
    if ((before & ~value & CONTROL_SRST) !== 0) {
      s.device = 0;
      s.error = 1;
      s.status = STATUS_DRDY | STATUS_DSC;
      s.irq = false;
      this.#signature();
    }
    this.#setIrq(s.irq);
  }

  /** What the task file shows behind a reset: which kind of device it is. */
  #signature(): void {
    const s = this.#s;
    const isCd = this.#drive?.kind === 'cdrom';
    s.count[0] = s.low[0] = 1;
    s.mid[0] = isCd ? 0x14 : 0;
    s.high[0] = isCd ? 0xeb : 0;
    s.status = isCd ? 0 : STATUS_DRDY | STATUS_DSC;
  }

  #done(): void {
    const s = this.#s;
    s.phase = Phase.IDLE;
    s.status = STATUS_DRDY | STATUS_DSC;
    s.error = 0;
    this.#setIrq(true);
  }

  #abort(error = ERROR_ABRT): void {
    const s = this.#s;
    s.phase = Phase.IDLE;
    s.status = STATUS_DRDY | STATUS_DSC | STATUS_ERR;
    s.error = error;
    this.#setIrq(true);
  }

  #command(code: number): void {
    const drive = this.#drive;
    if (drive === undefined) return;
    const s = this.#s;
    this.#setIrq(false);
    s.phase = Phase.IDLE;
    s.error = 0;
    if (drive.kind === 'cdrom') this.#packetDeviceCommand(code);
    else this.#diskCommand(code, drive);
  }

  #diskCommand(code: number, drive: IdeDrive): void {
    const s = this.#s;
    const unit = this.#unit;
    if ((code & 0xf0) === 0x10) return this.#done();
    const transfer = SECTOR_TRANSFERS.get(code);
    if (transfer !== undefined) {
      const sectors = transfer.multiple ? unit.multiple : 1;
      return sectors === 0 ? this.#abort() : this.#transfer(transfer.phase, transfer.extended, sectors);
    }
    switch (code) {
      case 0xec: {
        const sectors = Math.floor(drive.backend.size / SECTOR_BYTES);
        return this.#answer(identifyDisk({ model: 'vmlet disk', serial: drive.serial, sectors, geometry: geometryOf(drive), current: unit, multiple: unit.multiple, mwdma: unit.mwdma, udma: unit.udma }));
      }
      case 0x40:
      case 0x41:
      case 0x42:
      case 0x70:
        return this.#place(code === 0x42, code === 0x70 ? 1 : undefined) === undefined ? this.#abort(ERROR_IDNF) : this.#done();
      case 0x27:
      case 0xf8:
        return this.#nativeMax(code === 0x27, Math.floor(drive.backend.size / SECTOR_BYTES) - 1);
      case 0x91:
        if (s.count[0] === 0) return this.#abort();
        unit.sectors = s.count[0];
        unit.heads = (s.device & 0x0f) + 1;
        return this.#done();
      case 0xc6:
        if (s.count[0] > MAX_MULTIPLE || (s.count[0] & (s.count[0] - 1)) !== 0) return this.#abort();
        unit.multiple = s.count[0];
        return this.#done();
      case 0xe7:
      case 0xea:
        try {
          drive.backend.flush();
          return this.#done();
        } catch (error) {
          return this.#failed(error);
        }
      default:
        return this.#commonCommand(code);
    }
  }

  #packetDeviceCommand(code: number): void {
    const s = this.#s;
    switch (code) {
      case 0xa1: {
        const { mwdma, udma } = this.#unit;
        return this.#answer(identifyCd('vmlet CD-ROM', this.#drive!.serial, mwdma, udma));
      }
      case 0xa0:
        s.phase = Phase.PACKET;
        s.bufferAt = 0;
        s.bufferEnd = PACKET_BYTES;
        s.count[0] = REASON_COMMAND;
        s.status = STATUS_DRDY | STATUS_DSC | STATUS_DRQ;
        return;
      case 0x08:
        this.#signature();
        s.error = 1;
        return;
      case 0xec:
      case 0x20:
      case 0x21:
        this.#signature();
        return this.#abort();
      default:
        return this.#commonCommand(code);
    }
  }

  #commonCommand(code: number): void {
    const s = this.#s;
    switch (code) {
      case 0x90:
        s.device = 0;
        this.#signature();
        this.#done();
        s.error = 1;
        return;
      case 0xe5:
      case 0x98:
        s.count[0] = 0xff;
        return this.#done();
      case 0xe0:
      case 0xe1:
      case 0xe2:
      case 0xe3:
      case 0xe6:
      case 0x94:
      case 0x95:
      case 0x96:
      case 0x97:
      case 0x99:
        return this.#done();
      case 0xef:
        return this.#setFeatures();
      default:
        return this.#abort();
    }
  }

  #setFeatures(): void {
    const s = this.#s;
    switch (s.features[0]) {
      case 0x03:
        return setTransferMode(this.#unit, s.count[0]) ? this.#done() : this.#abort();
      case 0x02:
      case 0x82:
      case 0x55:
      case 0xaa:
      case 0x66:
      case 0xcc:
        return this.#done();
      default:
        return this.#abort();
    }
  }

  #nativeMax(long: boolean, last: number): void {
    const s = this.#s;
    const value = long ? last : Math.min(last, 0x0fff_ffff);
    s.low = [value & 0xff, (value >>> 24) & 0xff];
    s.mid = [(value >>> 8) & 0xff, Math.floor(value / 2 ** 32) & 0xff];
    s.high = [(value >>> 16) & 0xff, Math.floor(value / 2 ** 40) & 0xff];
    if (!long) s.device = (s.device & 0xf0) | ((value >>> 24) & 0x0f);
    this.#done();
  }

  #place(long: boolean, count?: number): { lba: number; count: number } | undefined {
    return placeOf(this.#s, this.#unit, long, this.#drive!.backend.size, count);
  }

  #transfer(phase: number, long: boolean, perBlock: number): void {
    const s = this.#s;
    const place = this.#place(long);
    if (place === undefined) return this.#abort(ERROR_IDNF);
    if ((phase === Phase.OUT || phase === Phase.DMA_OUT) && this.#drive!.backend.readOnly) return this.#abort();
    s.source = Source.MEDIUM;
    s.at = place.lba * SECTOR_BYTES;
    s.left = place.count * SECTOR_BYTES;
    s.blockBytes = perBlock * SECTOR_BYTES;
    s.phase = phase;
    if (phase === Phase.IN) this.#nextBlock();
    else if (phase === Phase.OUT) this.#awaitBlock();
    else {
      s.status = STATUS_DRDY | STATUS_DSC | STATUS_DRQ;
      if (this.#dma.active) this.dmaStarted();
    }
  }

  /** An answer of a fixed size, by the data register. */
  #answer(bytes: Uint8Array): void {
    const s = this.#s;
    s.source = Source.REPLY;
    s.reply = [...bytes];
    s.at = 0;
    s.left = bytes.length;
    s.blockBytes = bytes.length;
    s.phase = Phase.IN;
    this.#nextBlock();
  }

  /** Puts the next block for the guest into the buffer. */
  #nextBlock(): void {
    const s = this.#s;
    const bytes = Math.min(s.left, s.blockBytes);
    if (!this.#load(s.buffer.subarray(0, bytes))) return;
    s.bufferAt = 0;
    s.bufferEnd = bytes;
    s.status = STATUS_DRDY | STATUS_DSC | STATUS_DRQ;
    if (this.#drive!.kind === 'cdrom') {
      s.count[0] = REASON_TO_HOST;
      s.mid[0] = bytes & 0xff;
      s.high[0] = bytes >> 8;
    }
    this.#setIrq(true);
  }

  #awaitBlock(): void {
    const s = this.#s;
    s.bufferAt = 0;
    s.bufferEnd = Math.min(s.left, s.blockBytes);
    s.status = STATUS_DRDY | STATUS_DSC | STATUS_DRQ;
  }

  /** Takes bytes from where they come; false when that failed and the command with it. */
  #load(into: Uint8Array): boolean {
    const s = this.#s;
    if (s.source === Source.REPLY) into.set(s.reply.slice(s.at, s.at + into.length));
    else if (!this.#readMedium(s.at, into)) return false;
    s.at += into.length;
    s.left -= into.length;
    return true;
  }

  #readMedium(offset: number, into: Uint8Array): boolean {
    const cd = this.#cds[this.#selected];
    if (cd !== undefined) {
      const sector = new Uint8Array(CD_SECTOR_BYTES);
      for (let at = 0; at < into.length; ) {
        const start = (offset + at) % CD_SECTOR_BYTES;
        const bytes = Math.min(CD_SECTOR_BYTES - start, into.length - at);
        if (!cd.readSector(Math.floor((offset + at) / CD_SECTOR_BYTES), sector, this.#unit.cd)) {
          this.#packetError();
          return false;
        }
        into.set(sector.subarray(start, start + bytes), at);
        at += bytes;
      }
      return true;
    }
    try {
      this.#drive!.backend.read(offset, into);
      return true;
    } catch (error) {
      this.#failed(error);
      return false;
    }
  }

  #failed(error: unknown): void {
    this.#log.guestError(this.name, `disk error: ${error instanceof Error ? error.message : String(error)}`);
    this.#abort(ERROR_UNC);
  }

  #readData(size: AccessSize): number {
    const s = this.#s;
    if (s.phase !== Phase.IN) return openBus(size);
    let value = 0;
    for (let i = 0; i < size; i++) value += (s.bufferAt < s.bufferEnd ? s.buffer[s.bufferAt++] : 0xff) * 2 ** (8 * i);
    if (s.bufferAt >= s.bufferEnd) this.#blockRead();
    return value;
  }

  #blockRead(): void {
    const s = this.#s;
    if (s.left > 0) return this.#nextBlock();
    if (this.#drive!.kind === 'cdrom' && s.count[0] === REASON_TO_HOST) return this.#packetDone();
    s.phase = Phase.IDLE;
    s.status = STATUS_DRDY | STATUS_DSC;
  }

  #writeData(value: number, size: AccessSize): void {
    const s = this.#s;
    if (s.phase !== Phase.OUT && s.phase !== Phase.PACKET) return;
    for (let i = 0; i < size && s.bufferAt < s.bufferEnd; i++) s.buffer[s.bufferAt++] = value >>> (8 * i);
    if (s.bufferAt < s.bufferEnd) return;
    if (s.phase === Phase.PACKET) this.#packet();
    else this.#blockWritten();
  }

  #blockWritten(): void {
    const s = this.#s;
    try {
      this.#drive!.backend.write(s.at, s.buffer.subarray(0, s.bufferEnd));
    } catch (error) {
      return this.#failed(error);
    }
    s.at += s.bufferEnd;
    s.left -= s.bufferEnd;
    if (s.left <= 0) return this.#done();
    this.#awaitBlock();
    this.#setIrq(true);
  }

  #packet(): void {
    const s = this.#s;
    const unit = this.#unit;
    const cd = this.#cds[this.#selected];
    if (cd === undefined) return this.#abort();
    const result = cd.execute(s.buffer.slice(0, PACKET_BYTES), unit.cd);
    const limit = (s.mid[0] | (s.high[0] << 8)) & ~1;
    switch (result.kind) {
      case 'error':
        return this.#packetError();
      case 'done':
        return this.#packetDone();
      case 'data':
        s.source = Source.REPLY;
        s.reply = [...result.bytes];
        s.at = 0;
        s.left = result.bytes.length;
        break;
      case 'read':
        s.source = Source.MEDIUM;
        s.at = result.lba * CD_SECTOR_BYTES;
        s.left = result.count * CD_SECTOR_BYTES;
        break;
    }
    if (s.left === 0) return this.#packetDone();
    const whole = Math.max(limit, 2);
    s.blockBytes = whole >= CD_SECTOR_BYTES ? whole - (whole % CD_SECTOR_BYTES) : whole;
    if ((s.features[0] & FEATURE_DMA) === 0) {
      s.phase = Phase.IN;
      return this.#nextBlock();
    }
    s.phase = Phase.DMA_IN;
    s.status = STATUS_DRDY | STATUS_DSC | STATUS_DRQ;
    if (this.#dma.active) this.dmaStarted();
  }

  #packetDone(): void {
    this.#s.count[0] = REASON_COMMAND | REASON_TO_HOST;
    this.#done();
  }

  #packetError(): void {
    this.#s.count[0] = REASON_COMMAND | REASON_TO_HOST;
    this.#abort(((this.#unit.cd.sense >> 16) << 4) | ERROR_ABRT);
  }

  #dmaIn(): void {
    const s = this.#s;
    while (s.left > 0) {
      const piece = s.buffer.subarray(0, Math.min(s.left, 0x8000));
      const bytes = piece.length;
      if (!this.#load(piece)) return this.#dma.finished(true);
      if (this.#dma.toMemory(piece) < bytes) return this.#dmaStopped();
    }
    this.#dmaDone();
  }

  #dmaOut(): void {
    const s = this.#s;
    while (s.left > 0) {
      const piece = s.buffer.subarray(0, Math.min(s.left, 0x8000));
      if (this.#dma.fromMemory(piece) < piece.length) return this.#dmaStopped();
      try {
        this.#drive!.backend.write(s.at, piece);
      } catch (error) {
        this.#failed(error);
        return this.#dma.finished(true);
      }
      s.at += piece.length;
      s.left -= piece.length;
    }
    this.#dmaDone();
  }

  #dmaDone(): void {
    if (this.#drive!.kind === 'cdrom') this.#packetDone();
    else this.#done();
    this.#dma.finished(false);
  }

  /** The descriptors ended before the data: the drive waits for ever, which a driver ends by a reset. */
  #dmaStopped(): void {
    this.#log.guestError(this.name, 'the bus master has fewer bytes than the command');
    this.#s.phase = Phase.IDLE;
    this.#dma.finished(true);
  }
}
