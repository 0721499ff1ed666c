import type { FramePort } from '../../host/backends/backend.js';

/**
 * One cable with two users: the card and, before an operating system takes the card, the ROM. What arrives goes to both, since a card that no
 * driver has set up takes nothing. The first frame that the card itself sends says that a driver has taken over, and the ROM hears no more.
 */
export class WireTap {
  /** The card's end. */
  readonly card: FramePort;
  /** The ROM's end. */
  readonly rom: FramePort;
  #listening = false;
  /** Told when a driver of the card has taken over. */
  onTaken: () => void = () => {};

  constructor(wire: FramePort) {
    this.card = {
      onFrame: undefined,
      send: frame => {
        if (this.#listening) {
          this.#listening = false;
          this.onTaken();
        }
        wire.send(frame);
      },
    };
    this.rom = { onFrame: undefined, send: frame => wire.send(frame) };
    wire.onFrame = frame => {
      if (this.#listening) this.rom.onFrame?.(frame);
      this.card.onFrame?.(frame);
    };
  }

  get listening(): boolean {
    return this.#listening;
  }

  listen(on: boolean): void {
    this.#listening = on;
  }
}
