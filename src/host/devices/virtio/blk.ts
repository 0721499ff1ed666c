import type { BlockBackend } from '../../backends/backend.js';
import type { Clock, Timer } from '../../clock.js';
import type { AccessSize } from '../device.js';
import { readImage, VIRTIO_BLK, type VirtioFunction, type VirtioTransport } from './device.js';
import type { Chain } from './queue.js';

// VIRTIO 1.2, section 5.2.
const F_SEG_MAX = 1n << 2n;
const F_GEOMETRY = 1n << 4n;
const F_RO = 1n << 5n;
const F_BLK_SIZE = 1n << 6n;
const F_FLUSH = 1n << 9n;
const F_TOPOLOGY = 1n << 10n;
const F_DISCARD = 1n << 13n;
const F_WRITE_ZEROES = 1n << 14n;

const T_IN = 0;
const T_OUT = 1;
const T_FLUSH = 4;
const T_GET_ID = 8;
const T_DISCARD = 11;
const T_WRITE_ZEROES = 13;

const S_OK = 0;
const S_IOERR = 1;
const S_UNSUPP = 2;

const SECTOR_BYTES = 512;
const HEADER_BYTES = 16;
const RANGE_BYTES = 16;
const ID_BYTES = 20;
const QUEUE_SIZE = 256;
const CONFIG_BYTES = 60;
const MAX_RANGES = 16;
const MAX_DISCARD_SECTORS = 0x40_0000;
const MAX_ZERO_SECTORS = 0x8000;
const CHUNK_BYTES = 0x1_0000;

export interface VirtioBlkOptions {
  name?: string;
  backend: BlockBackend;
  /** Up to 20 ASCII characters, read by the guest as the disk's serial number. */
  serial?: string;
  /** Virtual time from notification to completion. Default 0: at once. Needs `clock`. */
  latencyNs?: number;
  clock?: Clock;
}

export interface VirtioBlkState {
  /** Until pending requests are served, or undefined when none wait. */
  inNs: number | undefined;
}

/** A virtio disk with one request queue. Requests wait in the ring until they are served, so none is ever half done. */
export class VirtioBlk implements VirtioFunction<VirtioBlkState> {
  readonly name: string;
  readonly type = VIRTIO_BLK;
  readonly classCode = 0x010000;
  readonly features: bigint;
  readonly queueSizes = [QUEUE_SIZE];
  readonly configBytes = CONFIG_BYTES;
  readonly #backend: BlockBackend;
  readonly #sectors: number;
  readonly #config = new Uint8Array(CONFIG_BYTES);
  readonly #id = new Uint8Array(ID_BYTES);
  readonly #header = new Uint8Array(HEADER_BYTES);
  readonly #headerView = new DataView(this.#header.buffer);
  readonly #status = new Uint8Array(1);
  readonly #clock: Clock | undefined;
  readonly #timer: Timer | undefined;
  readonly #latencyNs: number;
  #chunk = new Uint8Array(4096);
  #transport!: VirtioTransport;

  constructor(options: VirtioBlkOptions) {
    this.name = options.name ?? 'virtio-blk';
    this.#backend = options.backend;
    this.#sectors = Math.floor(options.backend.size / SECTOR_BYTES);
    this.#latencyNs = options.latencyNs ?? 0;
    if (this.#latencyNs > 0) {
      this.#clock = options.clock;
      this.#timer = options.clock?.timer(() => this.#serve());
    }
    const base = F_SEG_MAX | F_GEOMETRY | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY;
    this.features = base | (options.backend.readOnly ? F_RO : F_DISCARD | F_WRITE_ZEROES);
    for (let i = 0; i < Math.min(ID_BYTES, options.serial?.length ?? 0); i++) this.#id[i] = options.serial!.charCodeAt(i) & 0x7f;
    this.#fillConfig();
  }

  #fillConfig(): void {
    const view = new DataView(this.#config.buffer);
    view.setBigUint64(0, BigInt(this.#sectors), true);
    view.setUint32(12, QUEUE_SIZE - 2, true);
    const heads = 16;
    const perTrack = 63;
    view.setUint16(16, Math.min(0xffff, Math.floor(this.#sectors / (heads * perTrack))), true);
    view.setUint8(18, heads);
    view.setUint8(19, perTrack);
    view.setUint32(20, SECTOR_BYTES, true);
    view.setUint16(26, 1, true);
    if (!this.#backend.readOnly) {
      view.setUint32(36, MAX_DISCARD_SECTORS, true);
      view.setUint32(40, MAX_RANGES, true);
      view.setUint32(44, 1, true);
      view.setUint32(48, MAX_ZERO_SECTORS, true);
      view.setUint32(52, MAX_RANGES, true);
      view.setUint8(56, 1);
    }
  }

  connect(transport: VirtioTransport): void {
    this.#transport = transport;
  }

  readConfig(offset: number, size: AccessSize): number {
    return readImage(this.#config, offset, size);
  }

  writeConfig(): void {
    this.#transport.guestError('configuration space is read-only');
  }

  notified(): void {
    if (this.#timer === undefined) this.#serve();
    else if (!this.#timer.armed) this.#timer.arm(this.#clock!.now + this.#latencyNs);
  }

  reset(): void {
    this.#timer?.disarm();
  }

  save(): VirtioBlkState {
    return { inNs: this.#timer?.armed ? Math.max(0, this.#timer.atNs - this.#clock!.now) : undefined };
  }

  restore(state: VirtioBlkState): void {
    this.#timer?.disarm();
    if (state.inNs !== undefined) this.#timer?.arm(this.#clock!.now + state.inNs);
  }

  #serve(): void {
    this.#transport.queues[0].serve(chain => this.#request(chain));
  }

  #request(chain: Chain): number {
    if (chain.read(0, this.#header) < HEADER_BYTES || chain.writeLength < 1) {
      this.#transport.fail('request without a header or a status byte');
      return 0;
    }
    let status = S_IOERR;
    try {
      status = this.#execute(chain);
    } catch (error) {
      this.#transport.guestError(`disk error: ${error instanceof Error ? error.message : String(error)}`);
    }
    this.#status[0] = status;
    chain.write(chain.writeLength - 1, this.#status);
    return chain.writeLength;
  }

  #execute(chain: Chain): number {
    const type = this.#headerView.getUint32(0, true);
    const sector = this.#headerView.getUint32(8, true) + this.#headerView.getUint32(12, true) * 0x1_0000_0000;
    switch (type) {
      case T_IN:
        return this.#readDisk(chain, sector);
      case T_OUT:
        return this.#writeDisk(chain, sector);
      case T_FLUSH:
        this.#backend.flush();
        return S_OK;
      case T_GET_ID:
        chain.write(0, this.#id.subarray(0, Math.min(ID_BYTES, chain.writeLength - 1)));
        return S_OK;
      case T_DISCARD:
      case T_WRITE_ZEROES:
        return this.#backend.readOnly ? S_UNSUPP : this.#ranges(chain, type);
      default:
        return S_UNSUPP;
    }
  }

  #inside(sector: number, bytes: number): boolean {
    if (bytes % SECTOR_BYTES === 0 && sector + bytes / SECTOR_BYTES <= this.#sectors) return true;
    this.#transport.guestError('request beyond the end of the disk or not of whole sectors');
    return false;
  }

  #buffer(bytes: number): Uint8Array {
    if (this.#chunk.length < bytes && this.#chunk.length < CHUNK_BYTES) this.#chunk = new Uint8Array(CHUNK_BYTES);
    return bytes < this.#chunk.length ? this.#chunk.subarray(0, bytes) : this.#chunk;
  }

  #readDisk(chain: Chain, sector: number): number {
    const bytes = chain.writeLength - 1;
    if (!this.#inside(sector, bytes)) return S_IOERR;
    for (let at = 0; at < bytes; ) {
      const piece = this.#buffer(bytes - at);
      this.#backend.read(sector * SECTOR_BYTES + at, piece);
      at += chain.write(at, piece);
    }
    return S_OK;
  }

  #writeDisk(chain: Chain, sector: number): number {
    const bytes = chain.readLength - HEADER_BYTES;
    if (this.#backend.readOnly || !this.#inside(sector, bytes)) return S_IOERR;
    for (let at = 0; at < bytes; ) {
      const piece = this.#buffer(bytes - at);
      chain.read(HEADER_BYTES + at, piece);
      this.#backend.write(sector * SECTOR_BYTES + at, piece);
      at += piece.length;
    }
    return S_OK;
  }

  /** Discard and write-zeroes requests carry a list of { sector, sectors, flags }. Discarded sectors keep their contents, which is allowed. */
  #ranges(chain: Chain, type: number): number {
    const bytes = chain.readLength - HEADER_BYTES;
    if (bytes === 0 || bytes % RANGE_BYTES !== 0 || bytes > RANGE_BYTES * MAX_RANGES) return S_IOERR;
    const list = new Uint8Array(bytes);
    chain.read(HEADER_BYTES, list);
    const view = new DataView(list.buffer);
    const limit = type === T_DISCARD ? MAX_DISCARD_SECTORS : MAX_ZERO_SECTORS;
    for (let at = 0; at < bytes; at += RANGE_BYTES) {
      const sectors = view.getUint32(at + 8, true);
      const flags = view.getUint32(at + 12, true);
      if ((flags & ~1) !== 0 || (type === T_DISCARD && flags !== 0)) return S_UNSUPP;
      if (sectors > limit || !this.#inside(sectorAt(view, at), sectors * SECTOR_BYTES)) return S_IOERR;
    }
    if (type === T_DISCARD) return S_OK;
    for (let at = 0; at < bytes; at += RANGE_BYTES) this.#writeZeroes(sectorAt(view, at) * SECTOR_BYTES, view.getUint32(at + 8, true) * SECTOR_BYTES);
    return S_OK;
  }

  #writeZeroes(offset: number, bytes: number): void {
    for (let at = 0; at < bytes; ) {
      const piece = this.#buffer(bytes - at).fill(0);
      this.#backend.write(offset + at, piece);
      at += piece.length;
    }
  }
}

const sectorAt = (view: DataView, at: number): number => view.getUint32(at, true) + view.getUint32(at + 4, true) * 0x1_0000_0000;
