import type { FramePort } from '../host/backends/backend.js';
import type { Clock } from '../host/clock.js';
import { type CaptureInterface, PcapngWriter } from './pcapng.js';

/** A capture of any number of ports. Times are those of the clock behind `epochSeconds`, so that equal runs give equal files. */
export class Capture {
  readonly #writer: PcapngWriter;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #epochNs: bigint;
  packets = 0;

  constructor(sink: (bytes: Uint8Array) => void, clock: Pick<Clock, 'now'>, epochSeconds = 0) {
    this.#writer = new PcapngWriter(sink);
    this.#clock = clock;
    this.#epochNs = BigInt(Math.floor(epochSeconds)) * 1_000_000_000n;
  }

  /** Records frames of one interface, without a direction. */
  recorder(about: CaptureInterface): (frame: Uint8Array) => void {
    const id = this.#writer.addInterface(about);
    return frame => {
      this.packets++;
      this.#writer.packet(id, this.#epochNs + BigInt(this.#clock.now), frame);
    };
  }

  /** A port that behaves as `port` does; what passes is recorded. 'out' is what its user sends. */
  pcap(port: FramePort, about: CaptureInterface): FramePort {
    const id = this.#writer.addInterface(about);
    const record = (frame: Uint8Array, direction: 'in' | 'out'): void => {
      this.packets++;
      this.#writer.packet(id, this.#epochNs + BigInt(this.#clock.now), frame, { direction });
    };
    const outer: FramePort = {
      onFrame: undefined,
      send: frame => {
        record(frame, 'out');
        port.send(frame);
      },
    };
    port.onFrame = frame => {
      record(frame, 'in');
      outer.onFrame?.(frame);
    };
    return outer;
  }
}
