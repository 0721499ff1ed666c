import type { FramePort } from '../host/backends/backend.js';
import type { Clock } from '../host/clock.js';
import { finishFrame } from './offload.js';
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
      for (const one of finishFrame(frame)) {
        this.packets++;
        this.#writer.packet(id, this.#epochNs + BigInt(this.#clock.now), one);
      }
    };
  }

  /** A port that behaves as `port` does; what passes is recorded. 'out' is what its user sends. */
  pcap(port: FramePort, about: CaptureInterface): FramePort {
    const id = this.#writer.addInterface(about);
    const record = (frame: Uint8Array, direction: 'in' | 'out'): void => {
      for (const one of finishFrame(frame)) {
        this.packets++;
        this.#writer.packet(id, this.#epochNs + BigInt(this.#clock.now), one, { direction });
      }
    };
    const outer: FramePort = {
      onFrame: undefined,
      get carriesOffload() {
        return port.carriesOffload === true;
      },
      get acceptsOffload() {
        return port.acceptsOffload === true;
      },
      set acceptsOffload(accepts) {
        port.acceptsOffload = accepts;
      },
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
