// The two ends of a TFTP transfer as counting machines: RFC 1350 with the corrections of RFC 1123 4.2.3.1 and the windows of RFC 7440.

/** Blocks are counted from 1 without end; on the wire are the low 16 bits, so 65535 is followed by 0. */
const wire = (block: number): number => block & 0xffff;
/** How far a wire number is ahead of a block, 0 to 65535. */
const ahead = (block16: number, block: number): number => (block16 - block) & 0xffff;

const READ_AHEAD_BYTES = 65536;

export interface BlockSenderOptions {
  /** The next bytes of the file; less than asked means the end. May throw. */
  readonly read: (into: Uint8Array) => number;
  readonly blksize: number;
  readonly windowsize: number;
  readonly send: (packet: Uint8Array) => void;
}

/** Sends a file's blocks: keeps the unacknowledged window as ready packets, so that the file is read once, from front to back. */
export class BlockSender {
  readonly #options: BlockSenderOptions;
  readonly #window: Uint8Array[] = [];
  #chunk = new Uint8Array(0);
  #chunkAt = 0;
  #drained = false;
  #acked = 0;
  #ended = false;
  #resent = false;
  /** DATA packets that left, repeated ones included. */
  packets = 0;
  repeats = 0;

  constructor(options: BlockSenderOptions) {
    this.#options = options;
  }

  /** Blocks that the other end has. */
  get acked(): number {
    return this.#acked;
  }

  /** Every block was sent at least once; only acknowledgements may be missing. */
  get allSent(): boolean {
    return this.#ended;
  }

  get done(): boolean {
    return this.#ended && this.#window.length === 0;
  }

  /** Sends the first window. */
  start(): void {
    this.#fill();
    this.#send(0);
  }

  /** An ACK came. Returns whether it brought the transfer forward. */
  ack(block16: number): boolean {
    const step = ahead(block16, this.#acked);
    if (step > this.#window.length) return false;
    if (step === 0) {
      // The Sorcerer's Apprentice: an ACK seen before must not send DATA again. In a window it says that the first block is lost; once.
      if (this.#options.windowsize === 1 || this.#resent || this.#window.length === 0 || !this.#affordable()) return false;
      this.#resent = true;
      this.#repeat();
      return false;
    }
    const unseen = this.#window.length - step;
    this.#window.splice(0, step);
    this.#acked += step;
    this.#resent = false;
    this.#fill();
    // An ACK inside the window: the block after it is lost (RFC 7440, 4), so the next window begins there.
    const from = unseen > 0 && !this.#affordable() ? unseen : 0;
    if (from === 0) this.repeats += unseen;
    this.#send(from);
    return true;
  }

  /** Sends the unacknowledged window again, after silence. */
  repeat(): void {
    this.#resent = false;
    this.#repeat();
  }

  #repeat(): void {
    this.repeats += this.#window.length;
    this.#send(0);
  }

  /** Whether ACKs may still cause repetitions: an end that misuses them to be sent more than it needs has to wait for the timer. */
  #affordable(): boolean {
    return this.repeats < 256 + 4 * this.#acked;
  }

  #send(from: number): void {
    for (let i = from; i < this.#window.length; i++) {
      this.packets++;
      this.#options.send(this.#window[i]);
    }
  }

  #fill(): void {
    const { blksize, windowsize } = this.#options;
    while (!this.#ended && this.#window.length < windowsize) {
      const packet = new Uint8Array(4 + blksize);
      const length = this.#take(packet.subarray(4));
      const block = wire(this.#acked + this.#window.length + 1);
      packet[1] = 3;
      packet[2] = block >>> 8;
      packet[3] = block;
      this.#window.push(length < blksize ? packet.subarray(0, 4 + length) : packet);
      this.#ended = length < blksize;
    }
  }

  #take(into: Uint8Array): number {
    let done = 0;
    while (done < into.length) {
      if (this.#chunkAt === this.#chunk.length) {
        if (this.#drained) break;
        const buffer = new Uint8Array(READ_AHEAD_BYTES);
        const length = this.#options.read(buffer);
        this.#drained = length < buffer.length;
        this.#chunk = buffer.subarray(0, length);
        this.#chunkAt = 0;
        if (length === 0) break;
      }
      const piece = this.#chunk.subarray(this.#chunkAt, this.#chunkAt + into.length - done);
      into.set(piece, done);
      this.#chunkAt += piece.length;
      done += piece.length;
    }
    return done;
  }
}

export interface BlockReceiverOptions {
  readonly blksize: number;
  readonly windowsize: number;
  readonly onData: (bytes: Uint8Array) => void;
  readonly sendAck: (block16: number) => void;
}

/** Receives a file's blocks in order, acknowledging the last one of a window, or the last one in order before a gap. */
export class BlockReceiver {
  readonly #options: BlockReceiverOptions;
  #received = 0;
  #inWindow = 0;
  #gap = false;
  bytes = 0;
  done = false;
  duplicates = 0;

  constructor(options: BlockReceiverOptions) {
    this.#options = options;
  }

  get received(): number {
    return this.#received;
  }

  /** DATA came. Returns whether it was the block that was waited for. */
  data(block16: number, data: Uint8Array): boolean {
    const step = ahead(block16, this.#received + 1);
    if (step !== 0 || this.done) {
      if (block16 === wire(this.#received) && this.#received > 0) {
        // Our ACK got lost, or this DATA was doubled; the sender must not answer a doubled ACK with DATA.
        this.duplicates++;
        this.acknowledge();
      } else if (step > 0 && step < 0x8000 && !this.#gap && !this.done) {
        this.#gap = true;
        this.acknowledge();
      }
      return false;
    }
    this.#gap = false;
    this.#received++;
    this.#inWindow++;
    this.bytes += data.length;
    this.done = data.length < this.#options.blksize;
    this.#options.onData(data);
    if (this.done || this.#inWindow >= this.#options.windowsize) this.acknowledge();
    return true;
  }

  /** Acknowledges what is here; a new window begins after it. */
  acknowledge(): void {
    this.#inWindow = 0;
    this.#options.sendAck(wire(this.#received));
  }
}
