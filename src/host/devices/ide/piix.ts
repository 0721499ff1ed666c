import type { GuestLog } from '../../../logger.js';
import type { IrqLine } from '../../irq.js';
import type { GuestMemory } from '../../memory.js';
import { type AccessSize, openBus } from '../device.js';
import { PciDevice } from '../pci-config.js';
import { IdeChannel } from './channel.js';
import type { IdeDma, IdeDrive } from './channel-state.js';

// Intel 82371SB (PIIX3) datasheet, IDE function; Programming Interface for Bus Master IDE Controller 1.0.

const BUS_MASTER_BYTES = 16;
const CHANNEL_BYTES = 8;
const COMMAND = 0;
const STATUS = 2;
const TABLE = 4;

const COMMAND_START = 0x01;
const COMMAND_TO_MEMORY = 0x08;
const STATUS_ACTIVE = 0x01;
const STATUS_ERROR = 0x02;
const STATUS_INTERRUPT = 0x04;
const STATUS_CAPABLE = 0x60;
const END_OF_TABLE = 0x8000;
const IDE_TIMING = 0x40;
const DECODE_ENABLE = 0x80;

/** Ports of the command and control blocks of both channels, as on every PC. */
export const IDE_PORTS = [
  { command: 0x1f0, control: 0x3f6, irq: 14 },
  { command: 0x170, control: 0x376, irq: 15 },
] as const;

interface BusMasterState {
  command: number;
  status: number;
  table: number;
  /** The descriptor in use: its next one, and what is left of it. */
  next: number;
  address: number;
  left: number;
  last: boolean;
}

export interface PiixIdeState {
  masters: BusMasterState[];
}

const initialMaster = (): BusMasterState => ({ command: 0, status: 0, table: 0, next: 0, address: 0, left: 0, last: false });

export interface PiixIdeOptions {
  memory: GuestMemory;
  log: GuestLog;
  /** IRQ 14 and 15. */
  irqs: readonly IrqLine[];
  /** Primary master and slave, secondary master and slave. */
  drives: readonly (IdeDrive | undefined)[];
}

/** The IDE function of the PIIX3, 00:01.1: two channels at the ports of the AT, and bus masters in its base address register 4. */
export class PiixIde extends PciDevice<PiixIdeState> {
  readonly channels: readonly IdeChannel[];
  readonly #memory: GuestMemory;
  #masters = [initialMaster(), initialMaster()];

  constructor(options: PiixIdeOptions) {
    super(
      'ide',
      { vendorId: 0x8086, deviceId: 0x7010, classCode: 0x010180, subsystemVendorId: 0x1af4, subsystemId: 0x1100 },
      [{ index: 4, space: 'pio', size: BUS_MASTER_BYTES }],
      options.log,
    );
    this.#memory = options.memory;
    for (let offset = IDE_TIMING; offset < IDE_TIMING + 8; offset++) this.define8(offset, 0, 0xff);
    this.define8(IDE_TIMING + 1, DECODE_ENABLE, 0xff);
    this.define8(IDE_TIMING + 3, DECODE_ENABLE, 0xff);
    this.channels = [0, 1].map(
      n =>
        new IdeChannel({
          name: `ide${n}`,
          log: options.log,
          drives: [options.drives[2 * n], options.drives[2 * n + 1]],
          dma: this.#dma(n),
          irq: {
            set: level => {
              if (level) this.#masters[n].status |= STATUS_INTERRUPT;
              options.irqs[n].set(level);
            },
          },
        }),
    );
  }

  read(offset: number, size: AccessSize): number {
    let value = 0;
    for (let i = 0; i < size; i++) value += (offset + i < BUS_MASTER_BYTES ? this.#readByte(offset + i) : 0xff) * 2 ** (8 * i);
    return value;
  }

  write(offset: number, value: number, size: AccessSize): void {
    for (let i = 0; i < size && offset + i < BUS_MASTER_BYTES; i++) this.#writeByte(offset + i, (value >>> (8 * i)) & 0xff);
  }

  protected override resetDevice(): void {
    this.#masters = [initialMaster(), initialMaster()];
  }

  protected override saveDevice(): PiixIdeState {
    return { masters: this.#masters.map(master => ({ ...master })) };
  }

  protected override restoreDevice(state: PiixIdeState): void {
    if (!Array.isArray(state?.masters) || state.masters.length !== 2) throw new RangeError('two bus masters are needed');
    this.#masters = state.masters.map(master => ({ ...initialMaster(), ...master }));
  }

  #readByte(offset: number): number {
    const master = this.#masters[offset >> 3];
    switch (offset % CHANNEL_BYTES) {
      case COMMAND:
        return master.command;
      case STATUS:
        return master.status;
      case TABLE:
      case TABLE + 1:
      case TABLE + 2:
      case TABLE + 3:
        return (master.table >>> (8 * ((offset % CHANNEL_BYTES) - TABLE))) & 0xff;
      default:
        return openBus(1);
    }
  }

  #writeByte(offset: number, value: number): void {
    const n = offset >> 3;
    const master = this.#masters[n];
    switch (offset % CHANNEL_BYTES) {
      case COMMAND: {
        const started = (value & ~master.command & COMMAND_START) !== 0;
        master.command = value & (COMMAND_START | COMMAND_TO_MEMORY);
        if ((value & COMMAND_START) === 0) master.status &= ~STATUS_ACTIVE;
        if (!started) return;
        master.status |= STATUS_ACTIVE;
        master.next = master.table;
        master.left = 0;
        master.last = false;
        this.channels[n].dmaStarted();
        return;
      }
      case STATUS:
        master.status = (master.status & ~(value & (STATUS_ERROR | STATUS_INTERRUPT)) & ~STATUS_CAPABLE) | (value & STATUS_CAPABLE);
        return;
      case TABLE:
      case TABLE + 1:
      case TABLE + 2:
      case TABLE + 3: {
        const shift = 8 * ((offset % CHANNEL_BYTES) - TABLE);
        master.table = (((master.table & ~(0xff << shift)) | (value << shift)) & ~3) >>> 0;
        return;
      }
      default:
        return;
    }
  }

  #dma(n: number): IdeDma {
    const active = (): boolean => (this.#masters[n].command & COMMAND_START) !== 0 && this.busMaster;
    return {
      get active() {
        return active();
      },
      toMemory: bytes => this.#move(n, bytes, (phys, piece) => this.#memory.write(phys, piece)),
      fromMemory: bytes => this.#move(n, bytes, (phys, piece) => this.#memory.read(phys, piece)),
      finished: error => {
        const master = this.#masters[n];
        if (error) master.status |= STATUS_ERROR;
        // With descriptors left over the master stays active.
        if (error || (master.last && master.left === 0)) master.status &= ~STATUS_ACTIVE;
      },
    };
  }

  #move(n: number, bytes: Uint8Array, move: (phys: number, piece: Uint8Array) => void): number {
    const master = this.#masters[n];
    let done = 0;
    while (done < bytes.length) {
      if (master.left === 0) {
        if (master.last) break;
        master.address = this.#memory.readU32(master.next);
        const word = this.#memory.readU32(master.next + 4);
        master.left = (word & 0xfffe) === 0 ? 0x1_0000 : word & 0xfffe;
        master.last = (word >>> 16) >= END_OF_TABLE;
        master.next += 8;
      }
      const piece = bytes.subarray(done, done + master.left);
      move(master.address, piece);
      master.address += piece.length;
      master.left -= piece.length;
      done += piece.length;
    }
    return done;
  }
}
