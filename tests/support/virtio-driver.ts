import { Bus } from '../../src/host/bus.js';
import { PCI_CONFIG_ADDRESS_PORT, PCI_CONFIG_DATA_PORT, PciHost } from '../../src/host/devices/pci.js';
import type { PciDevice } from '../../src/host/devices/pci-config.js';
import type { VirtioFunction } from '../../src/host/devices/virtio/device.js';
import { VirtioPci } from '../../src/host/devices/virtio/pci.js';
import { BufferMemory } from '../../src/host/memory.js';
import { CountingGuestLog } from '../../src/logger.js';

export const RAM_BYTES = 1 << 20;
const QUEUE_AREA = 0x1_0000;
const QUEUE_AREA_BYTES = 0x4000;
const BUFFER_AREA = 0x8_0000;

export interface Message {
  addressLo: number;
  addressHi: number;
  data: number;
}

/** A machine with nothing but RAM and a PCI bus, and the processor's side of it. */
export class PciRig {
  readonly memory = new BufferMemory(new Uint8Array(RAM_BYTES));
  readonly bus = new Bus();
  readonly log = new CountingGuestLog();
  readonly messages: Message[] = [];
  /** PIRQA# to PIRQD#. */
  readonly levels = [false, false, false, false];
  readonly resets: number[] = [];
  readonly host: PciHost;

  constructor() {
    this.host = new PciHost({
      bus: this.bus,
      msi: { send: (addressLo, addressHi, data) => this.messages.push({ addressLo, addressHi, data }) },
      log: this.log,
      pirq: this.levels.map((_, n) => ({ set: level => void (this.levels[n] = level) })),
      onResetControl: value => this.resets.push(value),
    });
    this.bus.attach(this.host, 0, PCI_CONFIG_ADDRESS_PORT);
    this.bus.attach(this.host, 1, PCI_CONFIG_DATA_PORT);
  }

  plug(device: PciDevice, slot: number, fn = 0): void {
    this.host.add(device, slot, fn);
  }

  assignBars(): void {
    this.host.assignBars({ ioBase: 0xc000, ioEnd: 0x1_0000, memoryBase: 0xe000_0000, memoryEnd: 0xf000_0000 });
  }

  configRead(slot: number, register: number, size: 1 | 2 | 4, fn = 0): number {
    this.bus.portWrite(PCI_CONFIG_ADDRESS_PORT, 4, (0x8000_0000 | (slot << 11) | (fn << 8) | (register & 0xfc)) >>> 0);
    return this.bus.portRead(PCI_CONFIG_DATA_PORT + (register & 3), size);
  }

  configWrite(slot: number, register: number, size: 1 | 2 | 4, value: number, fn = 0): void {
    this.bus.portWrite(PCI_CONFIG_ADDRESS_PORT, 4, (0x8000_0000 | (slot << 11) | (fn << 8) | (register & 0xfc)) >>> 0);
    this.bus.portWrite(PCI_CONFIG_DATA_PORT + (register & 3), size, value);
  }

  /** Offsets of the capabilities in list order, with their ids. */
  capabilities(slot: number): { id: number; at: number }[] {
    const found: { id: number; at: number }[] = [];
    for (let at = this.configRead(slot, 0x34, 1); at !== 0 && found.length < 48; at = this.configRead(slot, at + 1, 1)) found.push({ id: this.configRead(slot, at, 1), at });
    return found;
  }
}

export interface Buffer {
  /** Bytes for the device to read. */
  out?: Uint8Array;
  /** Room for the device to write. */
  room?: number;
}

interface Pending {
  segments: { phys: number; length: number; writable: boolean; descriptor: number }[];
}

export interface Completion {
  token: number;
  /** The length field of the used element. */
  length: number;
  /** Everything the device could write, with its buffers joined. */
  data: Uint8Array;
}

/** The driver side of one queue. */
export class DriverQueue {
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
  eventIndex = false;
  #freeDescriptors: number[];
  #availIndex = 0;
  #usedIndex = 0;
  #kicked = 0;
  readonly #pending = new Map<number, Pending>();

  constructor(
    readonly driver: VirtioDriver,
    readonly index: number,
    readonly size: number,
  ) {
    this.desc = QUEUE_AREA + QUEUE_AREA_BYTES * index;
    this.avail = this.desc + 16 * size;
    this.used = (this.avail + 6 + 2 * size + 3) & ~3;
    this.#freeDescriptors = Array.from({ length: size }, (_, i) => i);
    this.#memory.write(this.desc, new Uint8Array(QUEUE_AREA_BYTES));
  }

  get #memory(): BufferMemory {
    return this.driver.rig.memory;
  }

  /** Descriptors not in use. */
  get free(): number {
    return this.#freeDescriptors.length;
  }

  /** Makes a request available without telling the device; returns its token. */
  add(buffers: readonly Buffer[], indirect = false): number {
    const segments = buffers.map(({ out, room }) => {
      const length = out?.length ?? room ?? 0;
      const phys = this.driver.allocate(length);
      this.#memory.write(phys, out ?? new Uint8Array(length));
      return { phys, length, writable: out === undefined, descriptor: -1 };
    });
    if (indirect) {
      const head = this.#freeDescriptors.shift()!;
      const table = this.driver.allocate(16 * segments.length);
      segments.forEach((segment, i) => this.writeDescriptor(table + 16 * i, segment.phys, segment.length, (segment.writable ? 2 : 0) | (i + 1 < segments.length ? 1 : 0), i + 1));
      segments[0].descriptor = head;
      this.writeDescriptor(this.desc + 16 * head, table, 16 * segments.length, 4, 0);
    } else {
      for (const segment of segments) segment.descriptor = this.#freeDescriptors.shift()!;
      segments.forEach((segment, i) => {
        const next = segments[i + 1]?.descriptor;
        this.writeDescriptor(this.desc + 16 * segment.descriptor, segment.phys, segment.length, (segment.writable ? 2 : 0) | (next === undefined ? 0 : 1), next ?? 0);
      });
    }
    const head = segments[0].descriptor;
    this.#pending.set(head, { segments });
    this.offer(head);
    return head;
  }

  writeDescriptor(at: number, phys: number, length: number, flags: number, next: number): void {
    this.#memory.writeU64(at, BigInt(phys));
    this.#memory.writeU32(at + 8, length);
    this.#memory.writeU16(at + 12, flags);
    this.#memory.writeU16(at + 14, next);
  }

  /** Puts a descriptor number into the available ring. */
  offer(head: number): void {
    this.#memory.writeU16(this.avail + 4 + 2 * (this.#availIndex % this.size), head);
    this.#availIndex = (this.#availIndex + 1) & 0xffff;
    this.#memory.writeU16(this.avail + 2, this.#availIndex);
  }

  /** Whether the device wants to be told of what was added since the last kick. */
  get kickWanted(): boolean {
    if (!this.eventIndex) return (this.#memory.readU16(this.used) & 1) === 0;
    const event = this.#memory.readU16(this.used + 4 + 8 * this.size);
    return ((this.#availIndex - event - 1) & 0xffff) < ((this.#availIndex - this.#kicked) & 0xffff);
  }

  kick(): void {
    const wanted = this.kickWanted;
    this.#kicked = this.#availIndex;
    if (wanted) this.driver.notify(this.index);
  }

  /** Asks for an interrupt at the next completion. */
  wantInterrupt(after = 0): void {
    this.#memory.writeU16(this.avail + 4 + 2 * this.size, (this.#usedIndex + after) & 0xffff);
  }

  /** Takes what the device has completed. */
  completions(): Completion[] {
    const done: Completion[] = [];
    while (this.#usedIndex !== this.#memory.readU16(this.used + 2)) {
      const element = this.used + 4 + 8 * (this.#usedIndex % this.size);
      const token = this.#memory.readU32(element);
      const length = this.#memory.readU32(element + 4);
      const pending = this.#pending.get(token);
      if (pending === undefined) throw new Error(`the device completed ${token}, which was not offered`);
      this.#pending.delete(token);
      const pieces = pending.segments.filter(({ writable }) => writable).map(segment => this.#memory.view(segment.phys, segment.length)!.slice());
      for (const { descriptor } of pending.segments) if (descriptor >= 0) this.#freeDescriptors.push(descriptor);
      done.push({ token, length, data: concat(pieces) });
      this.#usedIndex = (this.#usedIndex + 1) & 0xffff;
    }
    return done;
  }

  /** One request from offer to completion, which must come at once. */
  request(buffers: readonly Buffer[], indirect = false): Completion {
    this.add(buffers, indirect);
    this.kick();
    const done = this.completions();
    if (done.length !== 1) throw new Error(`${done.length} completions for one request`);
    return done[0];
  }
}

export const concat = (pieces: readonly Uint8Array[]): Uint8Array => {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
};

const COMMON_CFG = 1;
const NOTIFY_CFG = 2;
const ISR_CFG = 3;
const DEVICE_CFG = 4;
const NO_VECTOR = 0xffff;
export const MSI_ADDRESS = 0xfee0_0000;
export const MSI_DATA_BASE = 0x40;

/** Finds a virtio function by its capabilities and brings it up in the order of Linux's modern virtio_pci driver. */
export class VirtioDriver {
  readonly queues: DriverQueue[] = [];
  readonly #structures = new Map<number, number>();
  readonly #multiplier: number;
  #next = BUFFER_AREA;

  constructor(
    readonly rig: PciRig,
    readonly slot: number,
  ) {
    rig.configWrite(slot, 0x04, 2, rig.configRead(slot, 0x04, 2) | 0x06);
    let multiplier = 0;
    for (const { id, at } of rig.capabilities(slot)) {
      if (id !== 9) continue;
      const type = rig.configRead(slot, at + 3, 1);
      const bar = rig.configRead(slot, at + 4, 1);
      if (type === 5 || this.#structures.has(type)) continue;
      this.#structures.set(type, this.barBase(bar) + rig.configRead(slot, at + 8, 4));
      if (type === NOTIFY_CFG) multiplier = rig.configRead(slot, at + 16, 4);
    }
    this.#multiplier = multiplier;
  }

  barBase(bar: number): number {
    return (this.rig.configRead(this.slot, 0x10 + 4 * bar, 4) & ~15) >>> 0;
  }

  #at(type: number, offset: number): number {
    return this.#structures.get(type)! + offset;
  }

  common(offset: number, size: 1 | 2 | 4): number {
    return this.rig.bus.mmioRead(this.#at(COMMON_CFG, offset), size);
  }

  setCommon(offset: number, size: 1 | 2 | 4, value: number): void {
    this.rig.bus.mmioWrite(this.#at(COMMON_CFG, offset), size, value);
  }

  config(offset: number, size: 1 | 2 | 4): number {
    return this.rig.bus.mmioRead(this.#at(DEVICE_CFG, offset), size);
  }

  setConfig(offset: number, size: 1 | 2 | 4, value: number): void {
    this.rig.bus.mmioWrite(this.#at(DEVICE_CFG, offset), size, value);
  }

  isr(): number {
    return this.rig.bus.mmioRead(this.#at(ISR_CFG, 0), 1);
  }

  get status(): number {
    return this.common(0x14, 1);
  }

  set status(value: number) {
    this.setCommon(0x14, 1, value);
  }

  get offered(): bigint {
    this.setCommon(0x00, 4, 0);
    const lo = this.common(0x04, 4);
    this.setCommon(0x00, 4, 1);
    return (BigInt(this.common(0x04, 4)) << 32n) | BigInt(lo);
  }

  accept(features: bigint): boolean {
    this.setCommon(0x08, 4, 0);
    this.setCommon(0x0c, 4, Number(features & 0xffff_ffffn));
    this.setCommon(0x08, 4, 1);
    this.setCommon(0x0c, 4, Number(features >> 32n));
    this.status |= 8;
    return (this.status & 8) !== 0;
  }

  allocate(bytes: number): number {
    const at = (this.#next + 15) & ~15;
    this.#next = at + bytes;
    if (this.#next > RAM_BYTES) {
      this.#next = BUFFER_AREA;
      return this.allocate(bytes);
    }
    return at;
  }

  notify(queue: number): void {
    this.setCommon(0x16, 2, queue);
    const offset = this.common(0x1e, 2);
    this.rig.bus.mmioWrite(this.#at(NOTIFY_CFG, offset * this.#multiplier), 2, queue);
  }

  /** Turns MSI-X on with vector 0 for configuration changes and n + 1 for queue n, unmasked. */
  enableMsix(queues: number): void {
    const capability = this.rig.capabilities(this.slot).find(({ id }) => id === 0x11)!.at;
    const location = this.rig.configRead(this.slot, capability + 4, 4);
    const table = this.barBase(location & 7) + (location & ~7);
    const control = this.rig.configRead(this.slot, capability + 2, 2);
    this.rig.configWrite(this.slot, capability + 2, 2, control | 0xc000);
    for (let vector = 0; vector <= queues; vector++) {
      this.rig.bus.mmioWrite(table + 16 * vector, 4, MSI_ADDRESS);
      this.rig.bus.mmioWrite(table + 16 * vector + 4, 4, 0);
      this.rig.bus.mmioWrite(table + 16 * vector + 8, 4, MSI_DATA_BASE + vector);
      this.rig.bus.mmioWrite(table + 16 * vector + 12, 4, 0);
    }
    this.rig.configWrite(this.slot, capability + 2, 2, control | 0x8000);
  }

  setupQueue(index: number, vector = NO_VECTOR, size?: number): DriverQueue {
    this.setCommon(0x16, 2, index);
    const queue = new DriverQueue(this, index, size ?? this.common(0x18, 2));
    this.setCommon(0x18, 2, queue.size);
    for (const [register, phys] of [[0x20, queue.desc], [0x28, queue.avail], [0x30, queue.used]]) {
      this.setCommon(register, 4, phys);
      this.setCommon(register + 4, 4, 0);
    }
    this.setCommon(0x1a, 2, vector);
    this.setCommon(0x1c, 2, 1);
    this.queues[index] = queue;
    return queue;
  }

  /** The whole sequence up to DRIVER_OK; `without` are features to leave out. */
  start(options: { msix?: boolean; without?: bigint; queueSize?: number } = {}): this {
    this.status = 0;
    this.status = 1;
    this.status = 3;
    const features = this.offered & ~(options.without ?? 0n);
    if (!this.accept(features)) throw new Error('the device refused the features');
    const count = this.common(0x12, 2);
    if (options.msix ?? true) {
      this.enableMsix(count);
      this.setCommon(0x10, 2, 0);
    }
    for (let index = 0; index < count; index++) {
      const queue = this.setupQueue(index, (options.msix ?? true) ? index + 1 : NO_VECTOR, options.queueSize);
      queue.eventIndex = (features & (1n << 29n)) !== 0n;
    }
    this.status |= 4;
    return this;
  }

  /** How many messages for `vector` have arrived since the last call. */
  takeMessages(vector: number): number {
    const before = this.rig.messages.length;
    const left = this.rig.messages.filter(({ data }) => data !== MSI_DATA_BASE + vector);
    this.rig.messages.length = 0;
    this.rig.messages.push(...left);
    return before - left.length;
  }
}

export const VIRTIO_SLOT = 3;

/** A rig with one virtio function in slot 3, its bars assigned. */
export const virtioRig = (virtioFunction: VirtioFunction): { rig: PciRig; device: VirtioPci; driver: VirtioDriver } => {
  const rig = new PciRig();
  const device = new VirtioPci(virtioFunction, { memory: rig.memory, log: rig.log });
  rig.plug(device, VIRTIO_SLOT);
  rig.assignBars();
  return { rig, device, driver: new VirtioDriver(rig, VIRTIO_SLOT) };
};
