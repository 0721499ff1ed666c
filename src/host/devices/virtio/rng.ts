import type { EntropyBackend } from '../../backends/backend.js';
import { VIRTIO_RNG, type VirtioFunction, type VirtioTransport } from './device.js';

const QUEUE_SIZE = 8;
/** A request is answered with this many bytes at most; drivers ask again for more. */
const MAX_BYTES = 0x1_0000;

export interface VirtioRngOptions {
  name?: string;
  entropy: EntropyBackend;
}

/** The virtio entropy device (VIRTIO 1.2, section 5.4). Buffers are filled as soon as they are offered. */
export class VirtioRng implements VirtioFunction<Record<string, never>> {
  readonly name: string;
  readonly type = VIRTIO_RNG;
  readonly classCode = 0x00ff00;
  readonly features = 0n;
  readonly queueSizes = [QUEUE_SIZE];
  readonly configBytes = 0;
  readonly #entropy: EntropyBackend;
  #transport!: VirtioTransport;

  constructor(options: VirtioRngOptions) {
    this.name = options.name ?? 'virtio-rng';
    this.#entropy = options.entropy;
  }

  connect(transport: VirtioTransport): void {
    this.#transport = transport;
  }

  readConfig(): number {
    return 0;
  }

  writeConfig(): void {}

  notified(): void {
    this.#transport.queues[0].serve(chain => {
      const bytes = new Uint8Array(Math.min(MAX_BYTES, chain.writeLength));
      this.#entropy.fill(bytes);
      return chain.write(0, bytes);
    });
  }

  reset(): void {}

  save(): Record<string, never> {
    return {};
  }

  restore(): void {}
}
