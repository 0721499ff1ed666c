import { VmletError } from '../../../errors.js';
import type { GuestLog } from '../../../logger.js';
import type { GuestMemory } from '../../memory.js';
import { type AccessSize, openBus } from '../device.js';
import type { Msix } from '../msix.js';
import { PciDevice } from '../pci-config.js';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1, type VirtioFunction, type VirtioTransport } from './device.js';
import { type QueueOwner, type QueueState, VirtQueue } from './queue.js';

// VIRTIO 1.2, section 4.1: virtio over PCI, modern interface only.
const VENDOR_RED_HAT = 0x1af4;
const MODERN_DEVICE_BASE = 0x1040;
const MODERN_SUBSYSTEM = 0x1100;

const MSIX_BAR = 1;
const MODERN_BAR = 4;
const MSIX_REGION = 0;
const MSIX_BAR_BYTES = 4096;
const MSIX_PENDING_OFFSET = 2048;

// Four structures of a page each in one bar.
const STRUCTURE_BYTES = 0x1000;
const COMMON = 0;
const ISR = 1;
const DEVICE = 2;
const NOTIFY = 3;
const NOTIFY_MULTIPLIER = 4;

const CAPABILITY_VENDOR = 0x09;
const CAP_COMMON_CFG = 1;
const CAP_NOTIFY_CFG = 2;
const CAP_ISR_CFG = 3;
const CAP_DEVICE_CFG = 4;
const CAP_PCI_CFG = 5;

// struct virtio_pci_common_cfg
const DEVICE_FEATURE_SELECT = 0x00;
const DEVICE_FEATURE = 0x04;
const DRIVER_FEATURE_SELECT = 0x08;
const DRIVER_FEATURE = 0x0c;
const CONFIG_MSIX_VECTOR = 0x10;
const NUM_QUEUES = 0x12;
const DEVICE_STATUS = 0x14;
const CONFIG_GENERATION = 0x15;
const QUEUE_SELECT = 0x16;
const QUEUE_SIZE = 0x18;
const QUEUE_MSIX_VECTOR = 0x1a;
const QUEUE_ENABLE = 0x1c;
const QUEUE_NOTIFY_OFF = 0x1e;
const QUEUE_DESC_LO = 0x20;
const QUEUE_DESC_HI = 0x24;
const QUEUE_DRIVER_LO = 0x28;
const QUEUE_DRIVER_HI = 0x2c;
const QUEUE_DEVICE_LO = 0x30;
const QUEUE_DEVICE_HI = 0x34;
const COMMON_BYTES = 0x38;

/** Start of the register that each byte of the common configuration belongs to, and its width. */
const COMMON_START = new Uint8Array(COMMON_BYTES);
const COMMON_WIDTH = new Uint8Array(COMMON_BYTES);
const DWORDS = [DEVICE_FEATURE_SELECT, DEVICE_FEATURE, DRIVER_FEATURE_SELECT, DRIVER_FEATURE, QUEUE_DESC_LO, QUEUE_DESC_HI, QUEUE_DRIVER_LO, QUEUE_DRIVER_HI, QUEUE_DEVICE_LO, QUEUE_DEVICE_HI];
const WORDS = [CONFIG_MSIX_VECTOR, NUM_QUEUES, QUEUE_SELECT, QUEUE_SIZE, QUEUE_MSIX_VECTOR, QUEUE_ENABLE, QUEUE_NOTIFY_OFF];
const BYTES = [DEVICE_STATUS, CONFIG_GENERATION];
for (const [width, starts] of [[4, DWORDS], [2, WORDS], [1, BYTES]] as const) {
  for (const start of starts) {
    COMMON_START.fill(start, start, start + width);
    COMMON_WIDTH.fill(width, start, start + width);
  }
}

export const STATUS_ACKNOWLEDGE = 1;
export const STATUS_DRIVER = 2;
export const STATUS_DRIVER_OK = 4;
export const STATUS_FEATURES_OK = 8;
export const STATUS_NEEDS_RESET = 64;
export const STATUS_FAILED = 128;

const ISR_QUEUE = 1;
const ISR_CONFIG = 2;
const NO_VECTOR = 0xffff;
const HIGH_WORD = 0x1_0000_0000;

export interface VirtioPciOptions {
  memory: GuestMemory;
  log: GuestLog;
  /** An option ROM. */
  rom?: Uint8Array;
}

export interface VirtioPciState<S extends object = object> {
  status: number;
  isr: number;
  generation: number;
  configVector: number;
  deviceFeatureSelect: number;
  driverFeatureSelect: number;
  driverFeaturesLo: number;
  driverFeaturesHi: number;
  queueSelect: number;
  queues: QueueState[];
  function: S;
}

const initial = () => ({
  status: 0,
  isr: 0,
  generation: 0,
  configVector: NO_VECTOR,
  deviceFeatureSelect: 0,
  driverFeatureSelect: 0,
  driverFeaturesLo: 0,
  driverFeaturesHi: 0,
  queueSelect: 0,
});

/** A modern virtio PCI function around any kind of virtio device: one MSI-X vector a queue and one for configuration changes. */
export class VirtioPci<S extends object = object> extends PciDevice<VirtioPciState<S>> implements QueueOwner, VirtioTransport {
  readonly memory: GuestMemory;
  readonly queues: readonly VirtQueue[];
  readonly #function: VirtioFunction<S>;
  readonly #msix: Msix;
  readonly #offered: bigint;
  readonly #pciCfg: number;
  #s = initial();

  constructor(virtioFunction: VirtioFunction<S>, options: VirtioPciOptions) {
    super(
      virtioFunction.name,
      {
        vendorId: VENDOR_RED_HAT,
        deviceId: MODERN_DEVICE_BASE + virtioFunction.type,
        classCode: virtioFunction.classCode,
        revision: 1,
        subsystemVendorId: VENDOR_RED_HAT,
        subsystemId: MODERN_SUBSYSTEM,
        interruptPin: 1,
        rom: options.rom,
      },
      [
        { index: MSIX_BAR, space: 'mmio', size: MSIX_BAR_BYTES },
        { index: MODERN_BAR, space: 'mmio', size: 4 * STRUCTURE_BYTES },
      ],
      options.log,
    );
    this.memory = options.memory;
    this.#function = virtioFunction;
    this.#offered = virtioFunction.features | VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC;
    this.queues = virtioFunction.queueSizes.map((size, index) => new VirtQueue(index, size, this));
    this.#msix = this.addMsix(this.queues.length + 1, MSIX_BAR, 0, MSIX_PENDING_OFFSET);
    this.#addStructure(CAP_COMMON_CFG, COMMON, STRUCTURE_BYTES);
    this.#addStructure(CAP_ISR_CFG, ISR, STRUCTURE_BYTES);
    this.#addStructure(CAP_DEVICE_CFG, DEVICE, STRUCTURE_BYTES);
    const notify = this.#addStructure(CAP_NOTIFY_CFG, NOTIFY, STRUCTURE_BYTES, 20);
    this.define32(notify + 16, NOTIFY_MULTIPLIER);
    this.#pciCfg = this.#addStructure(CAP_PCI_CFG, 0, 0, 20);
    this.define8(this.#pciCfg + 4, 0, 0xff);
    this.define32(this.#pciCfg + 8, 0, 0xffff_ffff);
    this.define32(this.#pciCfg + 12, 0, 0xffff_ffff);
    this.define32(this.#pciCfg + 16, 0, 0xffff_ffff);
    virtioFunction.connect(this);
  }

  #addStructure(type: number, structure: number, length: number, capabilityBytes = 16): number {
    const offset = this.addCapability(CAPABILITY_VENDOR, capabilityBytes);
    this.define8(offset + 2, capabilityBytes);
    this.define8(offset + 3, type);
    this.define8(offset + 4, MODERN_BAR);
    this.define32(offset + 8, structure * STRUCTURE_BYTES);
    this.define32(offset + 12, length);
    return offset;
  }

  get features(): bigint {
    if ((this.#s.status & STATUS_FEATURES_OK) === 0) return 0n;
    return (BigInt(this.#s.driverFeaturesHi) << 32n) | BigInt(this.#s.driverFeaturesLo);
  }

  /** The device status register. */
  get status(): number {
    return this.#s.status;
  }

  read(offset: number, size: AccessSize, region: number): number {
    if (region === MSIX_REGION) {
      if (offset < MSIX_PENDING_OFFSET) return this.#msix.readTable(offset, size);
      return this.#msix.readPending(offset - MSIX_PENDING_OFFSET, size);
    }
    const at = offset % STRUCTURE_BYTES;
    switch ((offset / STRUCTURE_BYTES) | 0) {
      case COMMON:
        return this.#readCommon(at, size);
      case ISR:
        return at === 0 ? this.#takeIsr() : 0;
      case DEVICE:
        return at + size <= this.#function.configBytes ? this.#function.readConfig(at, size) : this.#readConfigTail(at, size);
      default:
        return 0;
    }
  }

  write(offset: number, value: number, size: AccessSize, region: number): void {
    if (region === MSIX_REGION) {
      if (offset < MSIX_PENDING_OFFSET) this.#msix.writeTable(offset, value, size);
      return;
    }
    const at = offset % STRUCTURE_BYTES;
    switch ((offset / STRUCTURE_BYTES) | 0) {
      case COMMON:
        this.#writeCommon(at, value, size);
        break;
      case ISR:
        break;
      case DEVICE:
        if (at + size <= this.#function.configBytes) this.#function.writeConfig(at, value, size);
        break;
      case NOTIFY:
        if (!this.busMaster) this.guestError('queue notified while bus mastering is off');
        this.#notify((at / NOTIFY_MULTIPLIER) | 0);
        break;
    }
  }

  #readConfigTail(at: number, size: AccessSize): number {
    let value = 0;
    for (let i = 0; i < size && at + i < this.#function.configBytes; i++) value |= this.#function.readConfig(at + i, 1) << (8 * i);
    return value >>> 0;
  }

  #takeIsr(): number {
    const value = this.#s.isr;
    this.#s.isr = 0;
    this.setIntx(false);
    return value;
  }

  #readCommon(offset: number, size: AccessSize): number {
    let value = 0;
    for (let i = 0; i < size; ) {
      if (offset + i >= COMMON_BYTES) break;
      const start = COMMON_START[offset + i];
      const skip = offset + i - start;
      const bytes = Math.min(COMMON_WIDTH[start] - skip, size - i);
      const piece = this.#readRegister(start) >>> (8 * skip);
      value |= (bytes === 4 ? piece : piece & ((1 << (8 * bytes)) - 1)) << (8 * i);
      i += bytes;
    }
    return value >>> 0;
  }

  #writeCommon(offset: number, value: number, size: AccessSize): void {
    for (let i = 0; i < size; ) {
      if (offset + i >= COMMON_BYTES) return;
      const start = COMMON_START[offset + i];
      const skip = offset + i - start;
      const width = COMMON_WIDTH[start];
      const bytes = Math.min(width - skip, size - i);
      const piece = value >>> (8 * i);
      if (bytes === width) {
        this.#writeRegister(start, width === 4 ? piece : piece & ((1 << (8 * width)) - 1));
      } else {
        const mask = ((1 << (8 * bytes)) - 1) << (8 * skip);
        this.#writeRegister(start, ((this.#readRegister(start) & ~mask) | ((piece << (8 * skip)) & mask)) >>> 0);
      }
      i += bytes;
    }
  }

  get #queue(): VirtQueue | undefined {
    return this.queues[this.#s.queueSelect];
  }

  #readRegister(register: number): number {
    const s = this.#s;
    const queue = this.#queue;
    switch (register) {
      case DEVICE_FEATURE_SELECT: return s.deviceFeatureSelect;
      case DEVICE_FEATURE: return s.deviceFeatureSelect > 1 ? 0 : Number((this.#offered >> BigInt(32 * s.deviceFeatureSelect)) & 0xffff_ffffn);
      case DRIVER_FEATURE_SELECT: return s.driverFeatureSelect;
      case DRIVER_FEATURE: return s.driverFeatureSelect === 0 ? s.driverFeaturesLo : s.driverFeatureSelect === 1 ? s.driverFeaturesHi : 0;
      case CONFIG_MSIX_VECTOR: return s.configVector;
      case NUM_QUEUES: return this.queues.length;
      case DEVICE_STATUS: return s.status;
      case CONFIG_GENERATION: return s.generation;
      case QUEUE_SELECT: return s.queueSelect;
      case QUEUE_SIZE: return queue?.size ?? 0;
      case QUEUE_MSIX_VECTOR: return queue?.vector ?? NO_VECTOR;
      case QUEUE_ENABLE: return queue?.enabled ? 1 : 0;
      case QUEUE_NOTIFY_OFF: return queue?.index ?? 0;
      case QUEUE_DESC_LO: return low(queue?.desc);
      case QUEUE_DESC_HI: return high(queue?.desc);
      case QUEUE_DRIVER_LO: return low(queue?.avail);
      case QUEUE_DRIVER_HI: return high(queue?.avail);
      case QUEUE_DEVICE_LO: return low(queue?.used);
      case QUEUE_DEVICE_HI: return high(queue?.used);
      default: return 0;
    }
  }

  #writeRegister(register: number, value: number): void {
    const s = this.#s;
    switch (register) {
      case DEVICE_FEATURE_SELECT:
        s.deviceFeatureSelect = value;
        return;
      case DRIVER_FEATURE_SELECT:
        s.driverFeatureSelect = value;
        return;
      case DRIVER_FEATURE:
        if (s.status & STATUS_FEATURES_OK) this.guestError('features written after FEATURES_OK');
        else if (s.driverFeatureSelect === 0) s.driverFeaturesLo = value;
        else if (s.driverFeatureSelect === 1) s.driverFeaturesHi = value;
        return;
      case CONFIG_MSIX_VECTOR:
        s.configVector = this.#validVector(value);
        return;
      case DEVICE_STATUS:
        this.#writeStatus(value);
        return;
      case QUEUE_SELECT:
        s.queueSelect = value;
        return;
    }
    const queue = this.#queue;
    if (queue === undefined) return;
    if (register === QUEUE_MSIX_VECTOR) {
      queue.vector = this.#validVector(value);
      return;
    }
    if (queue.enabled) {
      if (register !== QUEUE_ENABLE) this.guestError('queue changed while enabled');
      return;
    }
    switch (register) {
      case QUEUE_SIZE:
        if (value === 0 || value > queue.maxSize || (value & (value - 1)) !== 0) this.guestError(`queue size ${value}`);
        else queue.size = value;
        break;
      case QUEUE_ENABLE:
        if (value !== 1) break;
        queue.enable();
        this.#updateLive();
        break;
      case QUEUE_DESC_LO:
        queue.desc = withLow(queue.desc, value);
        break;
      case QUEUE_DESC_HI:
        queue.desc = withHigh(queue.desc, value);
        break;
      case QUEUE_DRIVER_LO:
        queue.avail = withLow(queue.avail, value);
        break;
      case QUEUE_DRIVER_HI:
        queue.avail = withHigh(queue.avail, value);
        break;
      case QUEUE_DEVICE_LO:
        queue.used = withLow(queue.used, value);
        break;
      case QUEUE_DEVICE_HI:
        queue.used = withHigh(queue.used, value);
        break;
    }
  }

  #validVector(value: number): number {
    return value < this.#msix.vectors ? value : NO_VECTOR;
  }

  #writeStatus(value: number): void {
    const s = this.#s;
    if (value === 0) {
      this.#resetVirtio();
      return;
    }
    const before = s.status;
    let status = (value & ~STATUS_NEEDS_RESET) | (before & (STATUS_NEEDS_RESET | STATUS_FEATURES_OK | STATUS_DRIVER_OK));
    if (status & ~before & STATUS_FEATURES_OK && !this.#featuresAcceptable()) status &= ~STATUS_FEATURES_OK;
    if ((status & STATUS_FEATURES_OK) === 0 && status & STATUS_DRIVER_OK) {
      this.guestError('DRIVER_OK without FEATURES_OK');
      status &= ~STATUS_DRIVER_OK;
    }
    s.status = status;
    this.#updateLive();
    if (status & ~before & STATUS_DRIVER_OK) {
      this.#function.ready?.();
      this.#notifyAll();
    }
  }

  #featuresAcceptable(): boolean {
    const wanted = (BigInt(this.#s.driverFeaturesHi) << 32n) | BigInt(this.#s.driverFeaturesLo);
    if ((wanted & ~this.#offered) !== 0n) this.guestError('driver accepted features that were not offered');
    else if ((wanted & VIRTIO_F_VERSION_1) === 0n) this.guestError('driver without VIRTIO_F_VERSION_1');
    else return true;
    return false;
  }

  /** Queues work from DRIVER_OK on, while the guest lets the device reach memory. */
  #updateLive(): void {
    const { status } = this.#s;
    const running = this.busMaster && (status & STATUS_DRIVER_OK) !== 0 && (status & STATUS_NEEDS_RESET) === 0;
    const { features } = this;
    for (const queue of this.queues) {
      queue.eventIndex = (features & VIRTIO_F_EVENT_IDX) !== 0n;
      queue.indirect = (features & VIRTIO_F_INDIRECT_DESC) !== 0n;
      queue.live = running && queue.enabled;
    }
  }

  #notify(index: number): void {
    if (this.queues[index]?.live) this.#function.notified(index);
  }

  #notifyAll(): void {
    for (const queue of this.queues) this.#notify(queue.index);
  }

  /** Requests that were made available while the guest kept the device off the bus are found when it lets it on again. */
  protected override commandWritten(): void {
    const waiting = this.queues.filter(queue => !queue.live);
    this.#updateLive();
    for (const queue of waiting) this.#notify(queue.index);
  }

  interrupt(queue: VirtQueue): void {
    if (this.#msix.enabled) {
      if (queue.vector !== NO_VECTOR) this.#msix.notify(queue.vector);
    } else {
      this.#raiseIsr(ISR_QUEUE);
    }
  }

  broken(queue: VirtQueue, reason: string): void {
    this.fail(`queue ${queue.index}: ${reason}`);
  }

  configChanged(): void {
    const s = this.#s;
    s.generation = (s.generation + 1) & 0xff;
    if ((s.status & STATUS_DRIVER_OK) === 0) return;
    if (!this.#msix.enabled) this.#raiseIsr(ISR_CONFIG);
    else if (s.configVector !== NO_VECTOR) this.#msix.notify(s.configVector);
  }

  fail(reason: string): void {
    this.guestError(`${reason}; the device needs a reset`);
    this.#s.status |= STATUS_NEEDS_RESET;
    this.#updateLive();
    this.configChanged();
  }

  guestError(message: string): void {
    this.log.guestError(this.name, message);
  }

  #raiseIsr(bit: number): void {
    this.#s.isr |= bit;
    this.setIntx(true);
  }

  #resetVirtio(): void {
    const { generation } = this.#s;
    this.#s = { ...initial(), generation };
    for (const queue of this.queues) queue.reset();
    this.#function.reset();
    this.setIntx(false);
  }

  protected override resetDevice(): void {
    this.#resetVirtio();
    this.#s.generation = 0;
  }

  /** VIRTIO 1.2, 4.1.4.9: a window through configuration space for software that cannot reach the bars. */
  override readConfig(offset: number, size: AccessSize): number {
    const data = this.#pciCfg + 16;
    if (offset >= data && offset < data + 4) {
      const window = this.#pciCfgWindow();
      if (window) this.define32Live(data, this.read(window.offset, window.size, window.region));
    }
    return super.readConfig(offset, size);
  }

  override writeConfig(offset: number, value: number, size: AccessSize): void {
    super.writeConfig(offset, value, size);
    const data = this.#pciCfg + 16;
    if (offset < data || offset >= data + 4) return;
    const window = this.#pciCfgWindow();
    if (!window) return;
    const raw = this.config32(data);
    this.write(window.offset, window.size === 4 ? raw : raw & openBus(window.size), window.size, window.region);
  }

  #pciCfgWindow(): { offset: number; size: AccessSize; region: number } | undefined {
    const bar = this.config[this.#pciCfg + 4];
    const offset = this.config32(this.#pciCfg + 8);
    const size = this.config32(this.#pciCfg + 12);
    const region = this.bars.findIndex(({ index }) => index === bar);
    if (region < 0 || (size !== 1 && size !== 2 && size !== 4) || offset % size !== 0 || offset + size > this.bars[region].size) return undefined;
    return { offset, size, region };
  }

  protected override saveDevice(): VirtioPciState<S> {
    return { ...this.#s, queues: this.queues.map(queue => queue.save()), function: this.#function.save() };
  }

  protected override restoreDevice(state: VirtioPciState<S>): void {
    if (!Array.isArray(state?.queues) || state.queues.length !== this.queues.length) {
      throw new VmletError('ERR_VMLET_STATE', `the saved state of '${this.name}' has other queues`);
    }
    const s = initial();
    for (const key of Object.keys(s) as (keyof typeof s)[]) s[key] = state[key] >>> 0;
    this.#s = s;
    this.queues.forEach((queue, index) => queue.restore(state.queues[index]));
    this.#updateLive();
    this.#function.restore(state.function);
    this.setIntx(s.isr !== 0);
  }
}

const low = (address = 0): number => address % HIGH_WORD;
const high = (address = 0): number => Math.floor(address / HIGH_WORD);
const withLow = (address: number, value: number): number => high(address) * HIGH_WORD + value;
const withHigh = (address: number, value: number): number => value * HIGH_WORD + low(address);
