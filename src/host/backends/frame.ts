import type { FramePort } from './backend.js';

/** A cable whose end is its beginning: every frame comes back. */
export class LoopbackPort implements FramePort {
  onFrame: ((frame: Uint8Array) => void) | undefined;

  send(frame: Uint8Array): void {
    this.onFrame?.(frame);
  }
}

/** Two ends of one cable. */
export const framePair = (): [FramePort, FramePort] => {
  const make = (peer: () => FramePort): FramePort => ({ onFrame: undefined, send: frame => peer().onFrame?.(frame) });
  const a: FramePort = make(() => b);
  const b: FramePort = make(() => a);
  return [a, b];
};
