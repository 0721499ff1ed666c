// A TFTP client on any wire: RFC 1350, 2347, 2348, 2349, 7440.
import type { Clock } from '../../host/clock.js';
import { printable } from '../bytes.js';
import { Deadlines, NS_PER_MS, type Deadline } from '../deadlines.js';
import { addressText, type UdpAddress, type UdpEndpoint } from '../endpoint.js';
import { BlockReceiver, BlockSender } from './blocks.js';
import { decodeTftp, encodeTftp, optionNumber, TFTP_DEFAULT_BLKSIZE, TFTP_ERROR, TFTP_MIN_BLKSIZE, TFTP_PORT, type TftpOptions, type TftpPacket } from './codec.js';

export interface TftpTransferOptions {
  /** A port of the client's own, not used for anything else; the transfer closes it at its end. */
  readonly endpoint: UdpEndpoint;
  readonly clock: Clock;
  /** Shared by all transfers of a client that makes many, because a clock never forgets a timer; its own by default. */
  readonly deadlines?: Deadlines;
  readonly server: { readonly address: string; readonly port?: number };
  readonly file: string;
  readonly mode?: 'octet' | 'netascii';
  /** Asked for when given: 8 to 65464 bytes. */
  readonly blksize?: number;
  /** Asked for when given: 1 to 65535 blocks. */
  readonly windowsize?: number;
  /** Asked for when given: whole seconds, 1 to 255. */
  readonly timeoutOptionS?: number;
  /** Ask for the size; default true. For an upload it is told. */
  readonly tsize?: boolean;
  /** Silence before something is repeated; default 1000. */
  readonly timeoutMs?: number;
  /** Repetitions in a row before giving up; default 5. */
  readonly retries?: number;
  /** End a download that becomes larger; no bound by default. */
  readonly maxBytes?: number;
}

export interface TftpDownloadOptions extends TftpTransferOptions {
  readonly onData?: (bytes: Uint8Array) => void;
  /** The first answer came: what was agreed on. `size` is in bytes, undefined when the server does not tell. */
  readonly onOpen?: (agreed: { readonly size: number | undefined; readonly blksize: number; readonly windowsize: number }) => void;
  /** Take the size from the OACK and end with error 8, as PXE ROMs do (their "tsize probe"). */
  readonly probe?: boolean;
  /** While true the server is kept waiting at the end of a window, as the reader has enough; `resume` goes on. */
  readonly hold?: () => boolean;
  readonly onDone: (result: TftpResult) => void;
}

export interface TftpUploadOptions extends TftpTransferOptions {
  readonly read: (offset: number, into: Uint8Array) => number;
  readonly size?: number;
  readonly onDone: (result: TftpResult) => void;
}

export type TftpResult =
  | {
      readonly ok: true;
      readonly bytes: number;
      /** The size that the server announced. */
      readonly size: number | undefined;
      readonly blksize: number;
      readonly windowsize: number;
      readonly durationNs: number;
      readonly repeats: number;
    }
  | {
      readonly ok: false;
      /** The server's error code, when it sent one. */
      readonly code?: number;
      readonly reason: string;
    };

/** What both directions share: the request, the server's transfer port, repetition, the end. */
abstract class TftpTransfer {
  protected readonly options: TftpTransferOptions;
  protected agreed = { blksize: TFTP_DEFAULT_BLKSIZE, windowsize: 1, size: undefined as number | undefined };
  protected opened = false;
  protected finished = false;
  protected repeats = 0;
  #peer: UdpAddress | undefined;
  #withOptions = true;
  #silences = 0;
  #strangers = new Set<string>();
  readonly #deadline: Deadline;
  readonly #startNs: number;
  readonly #done: (result: TftpResult) => void;

  constructor(options: TftpTransferOptions, done: (result: TftpResult) => void) {
    this.options = options;
    this.#done = done;
    this.#startNs = options.clock.now;
    this.#deadline = (options.deadlines ?? new Deadlines(options.clock)).create(() => this.#timeout());
    options.endpoint.onMessage = (from, bytes) => this.#receive(from, bytes);
  }

  protected abstract readonly op: 'rrq' | 'wrq';
  /** The size that the request tells; 0 asks for it. */
  protected abstract readonly tsize: number | undefined;
  protected abstract packet(packet: TftpPacket): void;
  /** Sends again what was sent last. */
  protected abstract repeat(): void;
  /** The server agreed to options. */
  protected abstract accept(): void;
  protected abstract get bytes(): number;
  /** It is this end that keeps the other waiting. */
  protected get paused(): boolean {
    return false;
  }

  start(): void {
    this.#request();
    this.arm();
  }

  /** Ends the transfer and tells the server. */
  abort(reason = 'aborted by the client'): void {
    if (this.finished) return;
    if (this.#peer) this.sendError(TFTP_ERROR.undefined, reason);
    this.fail(reason);
  }

  protected send(packet: TftpPacket): void {
    if (this.#peer) this.options.endpoint.send(this.#peer, encodeTftp(packet));
  }

  protected sendRaw(bytes: Uint8Array): void {
    if (this.#peer) this.options.endpoint.send(this.#peer, bytes);
  }

  protected sendError(code: number, message: string): void {
    this.send({ op: 'error', code, message });
  }

  protected progress(): void {
    this.#silences = 0;
    this.arm();
  }

  protected arm(): void {
    if (this.finished) return;
    const factor = 2 ** Math.min(this.#silences, 3);
    this.#deadline.arm(this.options.clock.now + this.#timeoutNs * factor);
  }

  protected succeed(): void {
    if (this.finished) return;
    this.finished = true;
    // The port stays open for a while to repeat a last ACK that got lost.
    this.#deadline.arm(this.options.clock.now + 2 * this.#timeoutNs);
    this.#done({ ok: true, bytes: this.bytes, ...this.agreed, durationNs: this.options.clock.now - this.#startNs, repeats: this.repeats });
  }

  protected fail(reason: string, code?: number): void {
    if (this.finished) return;
    this.finished = true;
    this.#deadline.disarm();
    this.options.endpoint.close();
    this.#done({ ok: false, reason, code });
  }

  get #timeoutNs(): number {
    return (this.options.timeoutMs ?? 1000) * NS_PER_MS;
  }

  #request(): void {
    const { endpoint, server, file, mode, blksize, windowsize, timeoutOptionS } = this.options;
    const list = new Map<string, string>();
    if (this.#withOptions) {
      if (this.tsize !== undefined && mode !== 'netascii') list.set('tsize', String(this.tsize));
      if (blksize !== undefined) list.set('blksize', String(blksize));
      if (windowsize !== undefined) list.set('windowsize', String(windowsize));
      if (timeoutOptionS !== undefined) list.set('timeout', String(timeoutOptionS));
    }
    if (list.size === 0) this.#withOptions = false;
    endpoint.send({ address: server.address, port: server.port ?? TFTP_PORT }, encodeTftp({ op: this.op, file, mode: mode ?? 'octet', options: list }));
  }

  #receive(from: UdpAddress, bytes: Uint8Array): void {
    const { server, endpoint } = this.options;
    if (from.address !== server.address) {
      this.#strangers.add(addressText(from));
      return;
    }
    const decoded = decodeTftp(bytes);
    if (!decoded.ok) return;
    const packet = decoded.value;
    if (this.#peer && from.port !== this.#peer.port) {
      // RFC 1350, 4: a second answer to a repeated request is told to end and disturbs nothing.
      if (packet.op !== 'error') endpoint.send(from, encodeTftp({ op: 'error', code: TFTP_ERROR.unknownTransferId, message: 'unknown transfer' }));
      return;
    }
    if (packet.op === 'error') {
      if (!this.finished) this.#serverError(packet.code, packet.message);
      return;
    }
    if (packet.op === 'rrq' || packet.op === 'wrq') return;
    this.#peer ??= from;
    if (packet.op === 'oack') this.#oack(packet.options);
    else this.packet(packet);
  }

  #serverError(code: number, message: string): void {
    const text = printable(message) || `error ${code}`;
    // RFC 2347: a server that cannot bear options is asked again without them; old servers say so with code 0 or 4.
    const objection = code === TFTP_ERROR.optionNegotiation || code === TFTP_ERROR.undefined || code === TFTP_ERROR.illegalOperation;
    if (!this.opened && this.#withOptions && objection) {
      this.#withOptions = false;
      this.#peer = undefined;
      this.#request();
      this.progress();
      return;
    }
    this.fail(`the server says: ${text} (error ${code})`, code);
  }

  #oack(list: TftpOptions): void {
    if (this.opened) {
      // Our answer got lost, or the OACK was doubled.
      if (this.bytes === 0 && !this.finished) this.accept();
      return;
    }
    const problem = this.#agree(list);
    if (problem !== undefined) {
      this.sendError(TFTP_ERROR.optionNegotiation, problem);
      this.fail(`the server's OACK is not acceptable: ${problem}`, TFTP_ERROR.optionNegotiation);
      return;
    }
    this.opened = true;
    this.accept();
    this.progress();
  }

  #agree(list: TftpOptions): string | undefined {
    const { blksize, windowsize, timeoutOptionS } = this.options;
    for (const [name, value] of list) {
      const limit = name === 'blksize' ? blksize : name === 'windowsize' ? windowsize : name === 'timeout' ? timeoutOptionS : name === 'tsize' ? this.tsize : undefined;
      if (!this.#withOptions || limit === undefined) return `option ${printable(name)} was not asked for`;
      const number = optionNumber(list, name, name === 'blksize' ? TFTP_MIN_BLKSIZE : name === 'tsize' ? 0 : 1, name === 'tsize' ? 9e15 : limit);
      if (number === undefined || (name === 'timeout' && number !== limit)) return `${name} ${printable(value)} is not what was asked for`;
      if (name === 'blksize') this.agreed.blksize = number;
      else if (name === 'windowsize') this.agreed.windowsize = number;
      else if (name === 'tsize') this.agreed.size = number;
    }
    return undefined;
  }

  #timeout(): void {
    if (this.finished) {
      this.options.endpoint.close();
      return;
    }
    if (this.paused) return this.arm();
    const { retries = 5, file, server } = this.options;
    if (this.#silences >= retries) {
      if (this.#peer) {
        this.sendError(TFTP_ERROR.undefined, 'timeout');
        this.fail(`the server ${server.address} fell silent after ${this.bytes} bytes of ${printable(file)}`);
      } else {
        const others = this.#strangers.size > 0 ? `; answers came from ${[...this.#strangers].slice(0, 3).join(', ')}, which was not asked` : '';
        this.fail(`no answer from ${server.address}:${server.port ?? TFTP_PORT} to the request for ${printable(file)}${others}`);
      }
      return;
    }
    this.#silences++;
    this.repeats++;
    if (!this.#peer) this.#request();
    else this.repeat();
    this.arm();
  }
}

/** Reads a file from a server. Call `start()`. */
export class TftpDownload extends TftpTransfer {
  protected readonly op = 'rrq';
  readonly #options: TftpDownloadOptions;
  #receiver: BlockReceiver | undefined;
  #held: number | undefined;

  constructor(options: TftpDownloadOptions) {
    super(options, options.onDone);
    this.#options = options;
  }

  protected get tsize(): number | undefined {
    return (this.#options.tsize ?? true) ? 0 : undefined;
  }

  protected get bytes(): number {
    return this.#receiver?.bytes ?? 0;
  }

  protected accept(): void {
    if (this.#options.probe) {
      this.#options.onOpen?.(this.agreed);
      this.sendError(TFTP_ERROR.optionNegotiation, 'only the size was wanted');
      this.succeed();
      return;
    }
    if (this.#tooLarge(this.agreed.size ?? 0)) return;
    const receiver = this.#open();
    if (receiver.received === 0) receiver.acknowledge();
  }

  protected packet(packet: TftpPacket): void {
    if (packet.op !== 'data') return;
    // DATA instead of OACK: the server knows no options.
    if (!this.opened && packet.block !== 1) return;
    this.opened = true;
    const receiver = this.#open();
    if (packet.data.length > this.agreed.blksize) {
      if (this.finished) return;
      this.sendError(TFTP_ERROR.illegalOperation, 'the block is larger than agreed');
      this.fail(`the server sent a block of ${packet.data.length} bytes, ${this.agreed.blksize} were agreed`);
      return;
    }
    if (!this.finished && this.#tooLarge(receiver.bytes + packet.data.length)) return;
    if (!receiver.data(packet.block, packet.data)) return;
    if (receiver.done) this.succeed();
    else this.progress();
  }

  protected repeat(): void {
    this.#receiver?.acknowledge();
  }

  protected override get paused(): boolean {
    return this.#held !== undefined;
  }

  /** The reader wants more. */
  resume(): void {
    const block = this.#held;
    if (block === undefined || this.finished) return;
    this.#held = undefined;
    this.send({ op: 'ack', block });
    this.arm();
  }

  #open(): BlockReceiver {
    if (!this.#receiver) {
      this.#receiver = new BlockReceiver({
        ...this.agreed,
        onData: bytes => this.#options.onData?.(bytes),
        sendAck: block => {
          this.#held = this.#receiver !== undefined && !this.#receiver.done && this.#options.hold?.() ? block : undefined;
          if (this.#held === undefined) this.send({ op: 'ack', block });
        },
      });
      this.#options.onOpen?.(this.agreed);
    }
    return this.#receiver;
  }

  #tooLarge(bytes: number): boolean {
    const { maxBytes = Infinity } = this.#options;
    if (bytes <= maxBytes) return false;
    this.sendError(TFTP_ERROR.diskFull, 'the file is too large');
    this.fail(`the file is larger than ${maxBytes} bytes`);
    return true;
  }
}

/** Writes a file to a server. Call `start()`. */
export class TftpUpload extends TftpTransfer {
  protected readonly op = 'wrq';
  readonly #options: TftpUploadOptions;
  #sender: BlockSender | undefined;
  #offset = 0;

  constructor(options: TftpUploadOptions) {
    super(options, options.onDone);
    this.#options = options;
  }

  protected get tsize(): number | undefined {
    return (this.#options.tsize ?? true) ? this.#options.size : undefined;
  }

  protected get bytes(): number {
    return this.#offset;
  }

  protected accept(): void {
    this.#begin();
  }

  protected packet(packet: TftpPacket): void {
    if (packet.op !== 'ack' || this.finished) return;
    if (!this.#sender) {
      if (packet.block !== 0) return;
      this.opened = true;
      this.#begin();
      this.progress();
      return;
    }
    if (!this.#sender.ack(packet.block)) return;
    if (this.#sender.done) this.succeed();
    else this.progress();
  }

  protected repeat(): void {
    this.#sender?.repeat();
  }

  #begin(): void {
    if (this.#sender) return;
    this.#sender = new BlockSender({
      ...this.agreed,
      read: into => {
        const length = this.#options.read(this.#offset, into);
        this.#offset += length;
        return length;
      },
      send: bytes => this.sendRaw(bytes),
    });
    this.#sender.start();
  }
}
