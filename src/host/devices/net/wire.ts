// What network cards with rings of their own share: frame lengths, and the frames that wait until a driver gives room.

export const MAC_BYTES = 6;
/** Without the check sequence. */
export const MIN_WIRE_BYTES = 60;
export const FCS_BYTES = 4;
/** An Ethernet header. */
export const MIN_FRAME_BYTES = 14;
/** Frames that wait while the driver's ring is full. Wires here have no speed of their own: this stands for a packet buffer and a partner that heeds pauses (802.3x). */
const FIFO_BYTES = 1 << 20;

export const isBroadcast = (frame: Uint8Array): boolean => frame[0] === 255 && frame[1] === 255 && frame[2] === 255 && frame[3] === 255 && frame[4] === 255 && frame[5] === 255;

/** A frame of the least length that the wire takes: itself, or a longer copy. */
export const padded = (frame: Uint8Array): Uint8Array => {
  if (frame.length >= MIN_WIRE_BYTES) return frame;
  const longer = new Uint8Array(MIN_WIRE_BYTES);
  longer.set(frame);
  return longer;
};

/** Received frames on their way to the driver's ring, oldest first. */
export class FrameFifo {
  #frames: Uint8Array[] = [];
  #bytes = 0;

  get length(): number {
    return this.#frames.length;
  }

  /** False when the frame does not fit and is lost; one frame fits always. */
  push(frame: Uint8Array): boolean {
    if (this.#bytes + frame.length > FIFO_BYTES && this.#frames.length > 0) return false;
    this.#frames.push(frame);
    this.#bytes += frame.length;
    return true;
  }

  /** Hands frames to `take` until it gives one back by false; returns how many it took. */
  drain(take: (frame: Uint8Array) => boolean): number {
    let done = 0;
    while (done < this.#frames.length && take(this.#frames[done])) this.#bytes -= this.#frames[done++].length;
    if (done > 0) this.#frames.splice(0, done);
    return done;
  }

  clear(): void {
    this.#frames = [];
    this.#bytes = 0;
  }

  save(): Uint8Array[] {
    return this.#frames.map(frame => frame.slice());
  }

  restore(frames: readonly Uint8Array[]): void {
    this.#frames = frames.map(frame => frame.slice());
    this.#bytes = this.#frames.reduce((sum, { length }) => sum + length, 0);
  }
}
