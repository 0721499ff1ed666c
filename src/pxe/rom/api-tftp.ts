// PXE 2.1, 3.4: the TFTP API; and iPXE's FILE API on top of the same transfers.
import { ipv4Number } from '../bytes.js';
import { TftpDownload, type TftpDownloadOptions, type TftpResult } from '../tftp/client.js';
import { TFTP_PORT } from '../tftp/codec.js';
import type { RomContext } from './context.js';
import type { ApiSteps, Params } from './params.js';
import { PxeStatus } from './status.js';

const NAME_BYTES = 128;
const LEAST_PACKET = 512;
/** A TFTP block in an unfragmented packet on an MTU of 1500. */
export const LARGEST_PACKET = 1468;
/** Blocks that are read ahead of the caller. */
const AHEAD = 16;
const FILE_API_MAGIC = 0x91d4_47b2;
const FILE_API_ANSWER = 0xe9c1_7b20;
/** Functions E0h to E4h and E6h. */
const FILE_API_MASK = 0x5f;
const PROVIDER = 0x564d_4c54;

/** A download whose blocks wait for their reader. */
class Stream {
  readonly blocks: Uint8Array[] = [];
  readonly #download: TftpDownload;
  result: TftpResult | undefined;
  opened: { readonly size: number | undefined; readonly blksize: number } | undefined;
  /** Bytes of the first block that were read. */
  taken = 0;

  constructor(context: RomContext, options: Pick<TftpDownloadOptions, 'server' | 'file' | 'blksize' | 'windowsize' | 'probe'>) {
    this.#download = new TftpDownload({
      ...options,
      endpoint: context.network.ports.bind(0),
      clock: context.clock,
      deadlines: context.network.deadlines,
      hold: () => this.blocks.length >= AHEAD,
      onOpen: agreed => {
        this.opened = agreed;
        context.wake();
      },
      onData: bytes => {
        this.blocks.push(bytes.slice());
        context.wake();
      },
      onDone: result => {
        this.result = result;
        context.wake();
      },
    });
    this.#download.start();
  }

  get failed(): boolean {
    return this.result?.ok === false;
  }

  /** The next block was read. */
  next(): void {
    this.blocks.shift();
    this.taken = 0;
    if (this.blocks.length < AHEAD / 2) this.#download.resume();
  }

  close(): void {
    this.#download.abort('the loader closed the file');
  }
}

/** What a failed transfer is to a caller. */
export const tftpStatus = (result: TftpResult | undefined, begun: boolean): number => {
  if (result === undefined || result.ok) return PxeStatus.SUCCESS;
  if (result.code === 1) return PxeStatus.TFTP_FILE_NOT_FOUND;
  if (result.code === 2) return PxeStatus.TFTP_ACCESS_VIOLATION;
  if (result.code !== undefined) return PxeStatus.TFTP_ERROR_OPCODE;
  return begun ? PxeStatus.TFTP_READ_TIMEOUT : PxeStatus.TFTP_OPEN_TIMEOUT;
};

export class TftpApi {
  readonly #context: RomContext;
  #stream: Stream | undefined;
  #packet = 0;
  #files = new Map<number, Stream>();

  constructor(context: RomContext) {
    this.#context = context;
  }

  reset(): void {
    this.#stream?.close();
    this.#stream = undefined;
    for (const stream of this.#files.values()) stream.close();
    this.#files.clear();
  }

  get isOpen(): boolean {
    return this.#stream !== undefined;
  }

  *open(p: Params): ApiSteps {
    this.#context.network.useUndi(false);
    if (this.#stream) return PxeStatus.TFTP_OPEN;
    if (this.#context.udpIsOpen()) return PxeStatus.UDP_OPEN;
    const size = p.u16(140);
    if (size < LEAST_PACKET) return PxeStatus.TFTP_INVALID_PACKET_SIZE;
    const blksize = Math.min(size, LARGEST_PACKET);
    this.#route(p, 6);
    const stream = this.#start(p.ipText(2), p.text(10, NAME_BYTES), p.port(138), { blksize });
    yield () => stream.opened !== undefined || stream.failed;
    if (stream.failed) return tftpStatus(stream.result, false);
    this.#stream = stream;
    this.#packet = 0;
    p.setU16(140, stream.opened!.blksize);
    return PxeStatus.SUCCESS;
  }

  close(): number {
    if (!this.#stream) return PxeStatus.TFTP_CLOSED;
    this.#stream.close();
    this.#stream = undefined;
    return PxeStatus.SUCCESS;
  }

  *read(p: Params): ApiSteps {
    const stream = this.#stream;
    if (!stream) return PxeStatus.TFTP_CLOSED;
    yield () => stream.blocks.length > 0 || stream.result !== undefined;
    const [block] = stream.blocks;
    if (block === undefined) {
      if (stream.failed) return tftpStatus(stream.result, true);
      // Behind the end there are empty packets.
      p.setU16(4, 0);
      return PxeStatus.SUCCESS;
    }
    p.memory.write(p.far(6), block);
    p.setU16(2, (this.#packet = (this.#packet + 1) & 0xffff));
    p.setU16(4, block.length);
    stream.next();
    return PxeStatus.SUCCESS;
  }

  /** A whole file to a physical address. */
  *readFile(p: Params): ApiSteps {
    this.#context.network.useUndi(false);
    if (this.#stream) return PxeStatus.TFTP_OPEN;
    if (this.#context.udpIsOpen()) return PxeStatus.UDP_OPEN;
    const room = p.u32(130);
    const to = p.u32(134);
    this.#route(p, 142);
    const stream = this.#start(p.ipText(138), p.text(2, NAME_BYTES), p.port(152), { blksize: LARGEST_PACKET, windowsize: AHEAD });
    let bytes = 0;
    for (;;) {
      yield () => stream.blocks.length > 0 || stream.result !== undefined;
      const [block] = stream.blocks;
      if (block === undefined) break;
      if (bytes + block.length > room) {
        stream.close();
        return PxeStatus.TFTP_CANNOT_OPEN_CONNECTION;
      }
      p.memory.write(to + bytes, block);
      bytes += block.length;
      stream.next();
    }
    p.setU32(130, bytes);
    return tftpStatus(stream.result, bytes > 0);
  }

  *fileSize(p: Params): ApiSteps {
    this.#context.network.useUndi(false);
    if (this.#stream) return PxeStatus.TFTP_OPEN;
    if (this.#context.udpIsOpen()) return PxeStatus.UDP_OPEN;
    this.#route(p, 6);
    const stream = this.#start(p.ipText(2), p.text(10, NAME_BYTES), TFTP_PORT, { probe: true });
    yield () => stream.result !== undefined || (stream.opened !== undefined && stream.opened.size === undefined);
    if (stream.failed) return tftpStatus(stream.result, false);
    const size = stream.opened?.size;
    if (size === undefined) {
      stream.close();
      return PxeStatus.TFTP_NO_FILESIZE;
    }
    p.setU32(138, size);
    return PxeStatus.SUCCESS;
  }

  /** Opens tftp://server/path, or a path on the boot server. */
  *fileOpen(p: Params): ApiSteps {
    this.#context.network.useUndi(false);
    const name = p.farText(4);
    const url = /^tftp:\/\/([\d.]+)(?::(\d+))?\/(.*)$/i.exec(name);
    if (!url && /^[a-z][a-z0-9+.-]*:\/\//i.test(name)) return PxeStatus.UNSUPPORTED;
    const server = url?.[1] ?? this.#context.bootServer();
    if (server === undefined || ipv4Number(server) === undefined) return PxeStatus.FAILURE;
    if (this.#files.size >= 8) return PxeStatus.OUT_OF_RESOURCES;
    const stream = this.#start(server, url?.[3] ?? name, Number(url?.[2] ?? TFTP_PORT), { blksize: LARGEST_PACKET });
    yield () => stream.opened !== undefined || stream.failed;
    if (stream.failed) return tftpStatus(stream.result, false);
    let handle = 1;
    while (this.#files.has(handle)) handle++;
    this.#files.set(handle, stream);
    p.setU16(2, handle);
    return PxeStatus.SUCCESS;
  }

  fileClose(p: Params): number {
    const stream = this.#files.get(p.u16(2));
    if (!stream) return PxeStatus.FAILURE;
    stream.close();
    this.#files.delete(p.u16(2));
    return PxeStatus.SUCCESS;
  }

  fileSelect(p: Params): number {
    const stream = this.#files.get(p.u16(2));
    if (!stream) return PxeStatus.FAILURE;
    p.setU16(4, stream.blocks.length > 0 || stream.result !== undefined ? 1 : 0);
    return PxeStatus.SUCCESS;
  }

  *fileRead(p: Params): ApiSteps {
    const stream = this.#files.get(p.u16(2));
    if (!stream) return PxeStatus.FAILURE;
    yield () => stream.blocks.length > 0 || stream.result !== undefined;
    const [block] = stream.blocks;
    if (block === undefined && stream.failed) return tftpStatus(stream.result, true);
    const piece = (block ?? new Uint8Array(0)).subarray(stream.taken, stream.taken + p.u16(4));
    p.memory.write(p.far(6), piece);
    p.setU16(4, piece.length);
    stream.taken += piece.length;
    if (block !== undefined && stream.taken === block.length) stream.next();
    return PxeStatus.SUCCESS;
  }

  fileGetSize(p: Params): number {
    const size = this.#files.get(p.u16(2))?.opened?.size;
    if (size === undefined) return PxeStatus.FAILURE;
    p.setU32(4, size);
    return PxeStatus.SUCCESS;
  }

  fileApiCheck(p: Params): number {
    if (p.u16(2) < 20 || p.u32(4) !== FILE_API_MAGIC) return PxeStatus.BAD_FUNC;
    p.setU16(2, 20);
    p.setU32(4, FILE_API_ANSWER);
    p.setU32(8, PROVIDER);
    p.setU32(12, FILE_API_MASK);
    p.setU32(16, 0);
    return PxeStatus.SUCCESS;
  }

  #start(server: string, file: string, port: number, more: Partial<TftpDownloadOptions>): Stream {
    this.#context.event({ stage: 'loader', text: `asks ${server} for ${file}` });
    return new Stream(this.#context, { server: { address: server, port: port || TFTP_PORT }, file, ...more });
  }

  #route(p: Params, at: number): void {
    const { host } = this.#context.network;
    if (p.ip(at) !== 0 && host.router === undefined) host.router = p.ip(at);
  }
}
