import type { AccessSize } from '../device.js';
import type { VirtQueue } from './queue.js';
import type { GuestMemory } from '../../memory.js';

/** Device ids (VIRTIO 1.2, section 5). */
export const VIRTIO_NET = 1;
export const VIRTIO_BLK = 2;
export const VIRTIO_CONSOLE = 3;
export const VIRTIO_RNG = 4;

export const VIRTIO_F_INDIRECT_DESC = 1n << 28n;
export const VIRTIO_F_EVENT_IDX = 1n << 29n;
export const VIRTIO_F_VERSION_1 = 1n << 32n;

/** What a device sees of the transport that carries it. */
export interface VirtioTransport {
  readonly memory: GuestMemory;
  readonly queues: readonly VirtQueue[];
  /** Features that both sides agreed on; 0 until then. */
  readonly features: bigint;
  /** Tells the driver that the device configuration changed. */
  configChanged(): void;
  /** Stops the device until it is reset (DEVICE_NEEDS_RESET) and reports why. */
  fail(reason: string): void;
  guestError(message: string): void;
}

/** A kind of virtio device, apart from how the guest reaches it. The transport adds the ring and version features. */
export interface VirtioFunction<S extends object = object> {
  readonly name: string;
  readonly type: number;
  /** 24 bits, as PCI has them. */
  readonly classCode: number;
  /** Device-specific feature bits offered. */
  readonly features: bigint;
  /** The largest size of each queue, a power of two. */
  readonly queueSizes: readonly number[];
  readonly configBytes: number;
  /** Called once, before anything else. */
  connect(transport: VirtioTransport): void;
  /** Any access inside `configBytes`. */
  readConfig(offset: number, size: AccessSize): number;
  writeConfig(offset: number, value: number, size: AccessSize): void;
  /** The queue may have new requests; also called for every queue when the driver becomes ready. */
  notified(queue: number): void;
  /** The driver is ready (DRIVER_OK). */
  ready?(): void;
  reset(): void;
  save(): S;
  /** Called with queues and features restored. */
  restore(state: S): void;
}

/** Reads 1, 2 or 4 little-endian bytes of a configuration image; what lies outside reads as zero. */
export const readImage = (image: Uint8Array, offset: number, size: AccessSize): number => {
  let value = 0;
  for (let i = 0; i < size; i++) value |= (image[offset + i] ?? 0) << (8 * i);
  return value >>> 0;
};
