// A TFTP server on any wire: RFC 1350, 2347, 2348, 2349, 7440. Reads by default; what it does for strangers is bounded everywhere.
import type { Clock } from '../../host/clock.js';
import { printable } from '../bytes.js';
import { Deadlines, NS_PER_MS, NS_PER_S, type Deadline } from '../deadlines.js';
import { addressText, type UdpAddress, type UdpEndpoint, type UdpHost } from '../endpoint.js';
import { isRefusal, type FileHandle, type FileSink, type FileSource } from '../files.js';
import { KeyedRateLimit, type PxeLog, type PxeOutcome } from '../log.js';
import { BlockReceiver, BlockSender } from './blocks.js';
import {
  decodeTftp, encodeTftp, optionNumber, TFTP_DEFAULT_BLKSIZE, TFTP_ERROR, TFTP_MAX_BLKSIZE, TFTP_MIN_BLKSIZE, TFTP_OVERHEAD_BYTES, TFTP_PORT, type TftpPacket,
  type TftpRequest,
} from './codec.js';
import { NetasciiDecoder, NetasciiReader } from './netascii.js';

export interface TftpServerOptions {
  readonly host: UdpHost;
  readonly clock: Clock;
  readonly files: FileSource;
  readonly log?: PxeLog;
  /** An open port to serve on; `host.bind(port)` by default. */
  readonly endpoint?: UdpEndpoint;
  /** Default 69. */
  readonly port?: number;
  /** Answers from the port it is asked on instead of a fresh one for each transfer: for NAT and firewalls between. */
  readonly singlePort?: boolean;
  /** The path's MTU; blocks are kept small enough for it (1468 bytes of 1500). */
  readonly mtu?: number;
  /** At most 64 blocks: larger windows gain nothing and overrun some clients. */
  readonly maxWindowsize?: number;
  /** Until a packet is sent again, unless the client asks for its own; default 1000. */
  readonly timeoutMs?: number;
  /** Repetitions of a packet before a transfer is given up; default 5. */
  readonly retries?: number;
  /** The same before the client has proved, by its first ACK, that it exists; default 2. */
  readonly retriesBeforeFirstAck?: number;
  /** Transfers at once for one address; default 4. */
  readonly perSource?: number;
  /** Transfers at once for all; default 50. */
  readonly maxTransfers?: number;
  /** ERROR packets a second for one address; default 20, and five times as many at once: loaders probe for dozens of names, and wait where they hear nothing. */
  readonly errorsPerSecond?: number;
  /** Allows write requests for new files of at most so many bytes, where the files can be created. */
  readonly writes?: { readonly maxBytes: number };
  /** Who is answered at all, by address; everybody by default. */
  readonly allow?: (address: string) => boolean;
}

export interface TftpServerCounters {
  requests: number;
  completed: number;
  failed: number;
  refused: number;
  ignored: number;
  bytes: number;
  repeats: number;
}

const WHOLE_RANGE = 9e15;

/** Starts serving when made. */
export class TftpServer {
  readonly counters: TftpServerCounters = { requests: 0, completed: 0, failed: 0, refused: 0, ignored: 0, bytes: 0, repeats: 0 };
  readonly #options: TftpServerOptions;
  readonly #endpoint: UdpEndpoint;
  readonly #deadlines: Deadlines;
  readonly #transfers = new Map<string, Transfer>();
  readonly #errors: KeyedRateLimit;

  constructor(options: TftpServerOptions) {
    this.#options = options;
    this.#deadlines = new Deadlines(options.clock);
    this.#errors = new KeyedRateLimit(options.errorsPerSecond ?? 20, 5 * (options.errorsPerSecond ?? 20));
    this.#endpoint = options.endpoint ?? options.host.bind(options.port ?? TFTP_PORT);
    this.#endpoint.onMessage = (from, bytes) => this.#receive(from, bytes);
  }

  get activeTransfers(): number {
    return this.#transfers.size;
  }

  close(): void {
    for (const transfer of [...this.#transfers.values()]) transfer.abort();
    this.#deadlines.clear();
    this.#endpoint.close();
  }

  #receive(from: UdpAddress, bytes: Uint8Array): void {
    if (from.port === 0) return;
    if (this.#options.allow && !this.#options.allow(from.address)) {
      this.counters.ignored++;
      this.#log(from, 'request', 'ignored', 'the address is not one of our clients');
      return;
    }
    const decoded = decodeTftp(bytes);
    const transfer = this.#transfers.get(addressText(from));
    if (!decoded.ok) {
      this.counters.ignored++;
      this.#log(from, 'packet', 'ignored', decoded.reason);
      return;
    }
    const packet = decoded.value;
    if (packet.op === 'rrq' || packet.op === 'wrq') {
      if (transfer?.isRepeated(packet)) return;
      transfer?.abort();
      this.#request(from, packet);
    } else if (transfer && this.#options.singlePort) {
      transfer.packet(packet);
    } else if (packet.op !== 'error') {
      this.#error(from, TFTP_ERROR.unknownTransferId, 'unknown transfer');
    }
  }

  #request(from: UdpAddress, request: TftpRequest): void {
    const { files, singlePort, host } = this.#options;
    this.counters.requests++;
    const what = `${request.op.toUpperCase()} ${printable(request.file)}`;
    const refuse = (code: number, message: string, reason = message): void => {
      this.counters.refused++;
      const told = this.#error(from, code, message);
      this.#log(from, what, 'refused', told ? reason : `${reason}; no answer, after too many errors for this address`);
    };
    const busy = this.#busy(from);
    if (busy !== undefined) {
      // No answer: the client asks again, and by then there may be room.
      this.counters.ignored++;
      this.#log(from, what, 'ignored', busy);
      return;
    }
    if (request.mode !== 'octet' && request.mode !== 'netascii') return refuse(TFTP_ERROR.illegalOperation, `mode ${printable(request.mode)} is not supported`);
    const client = { address: from.address, service: 'tftp' as const };
    let file: FileHandle | undefined;
    let sink: FileSink | undefined;
    try {
      if (request.op === 'rrq') {
        const opened = files.open(request.file, client);
        if (isRefusal(opened)) {
          return opened.refused === 'missing' ? refuse(TFTP_ERROR.notFound, 'file not found', opened.reason) : refuse(TFTP_ERROR.accessViolation, 'access violation', opened.reason);
        }
        file = opened;
      } else {
        const writes = this.#options.writes;
        if (!writes || !files.create) return refuse(TFTP_ERROR.accessViolation, 'writing is not allowed');
        const announced = optionNumber(request.options, 'tsize', 0, WHOLE_RANGE);
        if (announced !== undefined && announced > writes.maxBytes) return refuse(TFTP_ERROR.diskFull, `the file is larger than ${writes.maxBytes} bytes`);
        const created = files.create(request.file, client);
        if ('refused' in created) {
          return created.refused === 'existing' ? refuse(TFTP_ERROR.fileExists, 'the file exists', created.reason) : refuse(TFTP_ERROR.accessViolation, 'access violation', created.reason);
        }
        sink = created;
      }
    } catch (error) {
      return refuse(TFTP_ERROR.undefined, 'the server cannot open the file', error instanceof Error ? error.message : String(error));
    }
    const endpoint = singlePort ? this.#endpoint : host.bind(0);
    const key = addressText(from);
    const transfer = new Transfer({
      options: this.#options,
      request,
      from,
      file,
      sink,
      deadlines: this.#deadlines,
      send: bytes => endpoint.send(from, bytes),
      onEnd: (outcome, reason, counts) => {
        this.#transfers.delete(key);
        if (!singlePort) endpoint.close();
        if (outcome === 'served') this.counters.completed++;
        else if (outcome === 'failed') this.counters.failed++;
        this.counters.bytes += counts.bytes;
        this.counters.repeats += counts.repeats;
        this.#log(from, what, outcome, reason);
      },
    });
    if (!singlePort) {
      endpoint.onMessage = (sender, bytes) => {
        if (sender.address !== from.address || sender.port !== from.port) {
          if (this.#errors.take(sender.address, this.#options.clock.now)) {
            endpoint.send(sender, encodeTftp({ op: 'error', code: TFTP_ERROR.unknownTransferId, message: 'unknown transfer' }));
          }
          return;
        }
        const decoded = decodeTftp(bytes);
        if (decoded.ok) transfer.packet(decoded.value);
      };
    }
    this.#transfers.set(key, transfer);
    transfer.start();
  }

  /** Why no more transfers are begun now; undefined when they are. */
  #busy(from: UdpAddress): string | undefined {
    const { maxTransfers = 50, perSource = 4 } = this.#options;
    if (this.#transfers.size >= maxTransfers) return `${maxTransfers} transfers are running`;
    let own = 0;
    for (const transfer of this.#transfers.values()) if (transfer.from.address === from.address) own++;
    return own >= perSource ? `${perSource} transfers to this address are running` : undefined;
  }

  /** Whether it was sent. */
  #error(to: UdpAddress, code: number, message: string): boolean {
    if (!this.#errors.take(to.address, this.#options.clock.now)) return false;
    this.#endpoint.send(to, encodeTftp({ op: 'error', code, message }));
    return true;
  }

  #log(from: UdpAddress, what: string, outcome: PxeOutcome, reason?: string): void {
    this.#options.log?.event({ atNs: this.#options.clock.now, service: 'tftp', outcome, client: addressText(from), what, reason });
  }
}

interface TransferSetup {
  readonly options: TftpServerOptions;
  readonly request: TftpRequest;
  readonly from: UdpAddress;
  readonly file: FileHandle | undefined;
  readonly sink: FileSink | undefined;
  readonly deadlines: Deadlines;
  readonly send: (bytes: Uint8Array) => void;
  readonly onEnd: (outcome: PxeOutcome, reason: string | undefined, counts: { bytes: number; repeats: number }) => void;
}

/** One file on its way. */
class Transfer {
  readonly from: UdpAddress;
  readonly #setup: TransferSetup;
  readonly #deadline: Deadline;
  readonly #timeoutNs: number;
  readonly #doubling: boolean;
  readonly #oack: Uint8Array | undefined;
  readonly #sender: BlockSender | undefined;
  readonly #receiver: BlockReceiver | undefined;
  #sinkOpen: boolean;
  #answered = false;
  #silences = 0;
  #ended = false;

  constructor(setup: TransferSetup) {
    this.#setup = setup;
    this.from = setup.from;
    this.#sinkOpen = setup.sink !== undefined;
    this.#deadline = setup.deadlines.create(() => this.#timeout());
    const { options, request } = setup;
    const netascii = request.mode === 'netascii';
    const accepted = new Map<string, string>();
    let blksize = TFTP_DEFAULT_BLKSIZE;
    let windowsize = 1;
    let timeoutMs = options.timeoutMs ?? 1000;
    this.#doubling = !request.options.has('timeout');
    for (const name of request.options.keys()) {
      if (name === 'blksize') {
        const value = optionNumber(request.options, name, TFTP_MIN_BLKSIZE, WHOLE_RANGE);
        if (value === undefined) continue;
        const largest = Math.max(TFTP_MIN_BLKSIZE, Math.min(TFTP_MAX_BLKSIZE, (options.mtu ?? 1500) - TFTP_OVERHEAD_BYTES));
        blksize = Math.min(value, largest);
        accepted.set(name, String(blksize));
      } else if (name === 'windowsize') {
        const value = optionNumber(request.options, name, 1, 65535);
        if (value === undefined) continue;
        windowsize = Math.min(value, Math.max(1, Math.min(64, options.maxWindowsize ?? 64)));
        accepted.set(name, String(windowsize));
      } else if (name === 'timeout') {
        const value = optionNumber(request.options, name, 1, 255);
        if (value === undefined) continue;
        timeoutMs = value * 1000;
        accepted.set(name, String(value));
      } else if (name === 'tsize') {
        // The size of a text on its way is not known before its end.
        const value = optionNumber(request.options, name, 0, WHOLE_RANGE);
        if (value === undefined || (setup.file && netascii)) continue;
        accepted.set(name, String(setup.file ? setup.file.size : value));
      }
    }
    this.#timeoutNs = timeoutMs * NS_PER_MS;
    if (accepted.size > 0) this.#oack = encodeTftp({ op: 'oack', options: accepted });
    if (setup.file) {
      const file = setup.file;
      const text = netascii ? new NetasciiReader(file) : undefined;
      let offset = 0;
      const read = (into: Uint8Array): number => {
        const length = file.read(offset, into);
        offset += length;
        return length;
      };
      this.#sender = new BlockSender({ read: text ? into => text.read(into) : read, blksize, windowsize, send: setup.send });
    } else {
      const text = netascii ? new NetasciiDecoder() : undefined;
      this.#receiver = new BlockReceiver({
        blksize,
        windowsize,
        onData: bytes => setup.sink!.write(text ? text.push(bytes) : bytes),
        // The last ACK says that the file is safe, so it is sent after the commit.
        sendAck: block => {
          if (this.#receiver!.done && this.#sinkOpen) {
            if (text) setup.sink!.write(text.end());
            setup.sink!.commit();
            this.#sinkOpen = false;
          }
          setup.send(encodeTftp({ op: 'ack', block }));
        },
      });
    }
  }

  start(): void {
    this.#guarded(() => {
      if (this.#oack) this.#setup.send(this.#oack);
      else if (this.#sender) this.#begin();
      else this.#receiver!.acknowledge();
    });
    this.#arm();
  }

  /** A request that was seen already: the wire doubled it or the client is impatient. After silence it is a client that began anew. */
  isRepeated(request: TftpRequest): boolean {
    const own = this.#setup.request;
    const same = own.op === request.op && own.file === request.file && own.mode === request.mode && own.options.size === request.options.size;
    return same && [...own.options].every(([name, value]) => request.options.get(name) === value) && !(this.#answered && this.#silences > 0);
  }

  packet(packet: TftpPacket): void {
    if (this.#ended) return;
    this.#guarded(() => {
      switch (packet.op) {
        case 'ack':
          if (this.#sender) this.#ack(packet.block);
          break;
        case 'data':
          if (this.#receiver) this.#data(packet.block, packet.data);
          break;
        case 'error':
          this.#clientError(packet.code, packet.message);
          break;
        default:
          break;
      }
    });
  }

  abort(): void {
    if (!this.#ended) this.#end('failed', 'ended by the server');
  }

  #begin(): void {
    this.#answered = true;
    this.#sender!.start();
  }

  #ack(block: number): void {
    const sender = this.#sender!;
    if (this.#oack && !this.#answered) {
      if (block !== 0) return;
      this.#silences = 0;
      this.#begin();
      this.#arm();
      return;
    }
    if (!sender.ack(block)) return;
    this.#silences = 0;
    if (sender.done) this.#end('served');
    else this.#arm();
  }

  #data(block: number, data: Uint8Array): void {
    const receiver = this.#receiver!;
    const limit = this.#setup.options.writes?.maxBytes ?? 0;
    if (receiver.bytes + data.length > limit) {
      this.#setup.send(encodeTftp({ op: 'error', code: TFTP_ERROR.diskFull, message: `the file is larger than ${limit} bytes` }));
      this.#end('refused', `the file is larger than ${limit} bytes`);
      return;
    }
    this.#answered = true;
    if (receiver.data(block, data)) {
      this.#silences = 0;
      // After the last block the transfer lives on for a while, to repeat the last ACK.
      this.#arm();
    }
  }

  #clientError(code: number, message: string): void {
    const text = printable(message) || `code ${code}`;
    // PXE ROMs and EDK2 ask for tsize, take it from the OACK and say goodbye with an error; the file is asked for again.
    if (code === TFTP_ERROR.unknownTransferId) this.#end('note', 'the client had asked twice and uses the other transfer');
    else if (this.#oack && !this.#answered && this.#sender) this.#end('note', `the client only asked for the size (${text})`);
    else this.#end('failed', `the client gave up: ${text}`);
  }

  #timeout(): void {
    if (this.#ended) return;
    if (this.#receiver?.done) return this.#end('served');
    const { retries = 5, retriesBeforeFirstAck = 2 } = this.#setup.options;
    const acked = this.#sender ? this.#sender.acked > 0 || (this.#answered && this.#oack !== undefined) : this.#answered;
    const bound = acked ? retries : Math.min(retries, retriesBeforeFirstAck);
    if (this.#silences >= bound) return this.#giveUp(acked);
    this.#silences++;
    this.#guarded(() => {
      if (this.#oack && !this.#answered) this.#setup.send(this.#oack);
      else if (this.#sender) this.#sender.repeat();
      else this.#receiver!.acknowledge();
    });
    this.#arm();
  }

  #giveUp(acked: boolean): void {
    const sender = this.#sender;
    if (!acked && this.#oack) return this.#end('failed', 'the client did not answer our OACK: it ignores option negotiation, or our port does not reach it');
    if (!acked) return this.#end('failed', 'the client did not answer our first packet: our reply from a fresh port may not reach it');
    if (sender?.allSent) return this.#end('served', 'the last ACK did not arrive');
    this.#end('failed', sender ? `the client fell silent after block ${sender.acked}` : `the client fell silent after block ${this.#receiver!.received}`);
  }

  #arm(): void {
    if (this.#ended) return;
    const factor = this.#doubling ? 2 ** Math.min(this.#silences, 3) : 1;
    this.#deadline.arm(this.#setup.options.clock.now + Math.min(this.#timeoutNs * factor, 255 * NS_PER_S));
  }

  /** Runs what may touch the medium; its errors end the transfer and nothing else. */
  #guarded(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#setup.send(encodeTftp({ op: 'error', code: TFTP_ERROR.undefined, message: 'the server cannot go on' }));
      this.#end('failed', error instanceof Error ? error.message : String(error));
    }
  }

  #end(outcome: PxeOutcome, reason?: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#deadline.disarm();
    const { file, sink } = this.#setup;
    try {
      file?.close();
      if (sink && this.#sinkOpen) sink.abort();
    } catch {
      // The medium failed twice; the first time was told.
    }
    this.#sinkOpen = false;
    this.#setup.onEnd(outcome, reason, {
      bytes: this.#receiver?.bytes ?? (this.#sender && outcome === 'served' ? (file?.size ?? 0) : 0),
      repeats: this.#sender?.repeats ?? 0,
    });
  }
}
