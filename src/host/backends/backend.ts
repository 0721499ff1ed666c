/**
 * The host side of a byte stream device (UART, virtio-console port). The device calls `write` with what the guest sends.
 * The host pushes input by `CharSink.receive`; a device that is full takes less than it was given and calls `onSpace` later.
 */
export interface CharBackend {
  write(data: Uint8Array): void;
  /** The device announces itself; called once, at construction. */
  attach(sink: CharSink): void;
  /** The guest opened or closed its end (virtio-console); a UART never calls it. */
  guestOpen?(open: boolean): void;
  /** The device can take input again. */
  onSpace?(): void;
}

/** The guest side of a byte stream: how the backend reaches the device. */
export interface CharSink {
  /** Offers input; returns how many bytes were taken. */
  receive(data: Uint8Array): number;
  /** The host end is open or closed (virtio-console tells the guest; a UART ignores it). */
  hostOpen?(open: boolean): void;
  /** New window size in characters, for console ports. */
  resize?(columns: number, rows: number): void;
}

/** A disk of `size` bytes. All offsets and lengths are multiples of 512. Errors throw; the device turns them into its own status. */
export interface BlockBackend {
  readonly size: number;
  readonly readOnly: boolean;
  read(offset: number, into: Uint8Array): void;
  write(offset: number, bytes: Uint8Array): void;
  flush(): void;
  close(): void;
}

/** Bytes that differ by seed and by nothing else. */
export interface EntropyBackend {
  fill(into: Uint8Array): void;
}

/** An Ethernet link: frames without FCS, 14 to 65,550 bytes. */
export interface FramePort {
  send(frame: Uint8Array): void;
  onFrame: ((frame: Uint8Array) => void) | undefined;
  /** The wire takes frames on which work is left (src/net/offload.ts). */
  readonly carriesOffload?: boolean;
  /** Set by the station: it takes such frames too; else it gets complete ones only. */
  acceptsOffload?: boolean;
}
