import { concat } from './bytes.js';

// The pcapng format: draft-ietf-opsawg-pcapng; the older format: draft-ietf-opsawg-pcap.

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE = 1;
const OLD_PACKET = 2;
const SIMPLE_PACKET = 3;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const BYTE_ORDER_SWAPPED = 0x4d3c2b1a;

const OPTION_COMMENT = 1;
const IF_NAME = 2;
const IF_DESCRIPTION = 3;
const IF_TSRESOL = 9;
const EPB_FLAGS = 2;
const SHB_APPLICATION = 4;

export const LINKTYPE_ETHERNET = 1;
const NANOSECONDS = 9;
/** A block beyond this is taken for damage. */
const MAX_BLOCK_BYTES = 16 << 20;

export type CaptureDirection = 'in' | 'out';

export interface CaptureInterface {
  readonly name: string;
  readonly description?: string;
}

export interface CaptureNote {
  /** Seen from the interface's owner. */
  readonly direction?: CaptureDirection;
  readonly comment?: string;
}

const utf8 = new TextEncoder();
const text = new TextDecoder();
const pad4 = (length: number): number => (length + 3) & ~3;

const option = (code: number, value: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(4 + pad4(value.length));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, code, true);
  view.setUint16(2, value.length, true);
  bytes.set(value, 4);
  return bytes;
};

const END_OF_OPTIONS = new Uint8Array(4);

const block = (type: number, body: readonly Uint8Array[]): Uint8Array => {
  const length = 12 + body.reduce((sum, part) => sum + part.length, 0);
  const head = new Uint8Array(8);
  const tail = new Uint8Array(4);
  new DataView(head.buffer).setUint32(0, type, true);
  new DataView(head.buffer).setUint32(4, length, true);
  new DataView(tail.buffer).setUint32(0, length, true);
  return concat([head, ...body, tail]);
};

/** Writes a little-endian capture with times in ns to `sink`, block by block. */
export class PcapngWriter {
  readonly #sink: (bytes: Uint8Array) => void;
  #interfaces = 0;

  constructor(sink: (bytes: Uint8Array) => void, application = 'vmlet') {
    this.#sink = sink;
    const head = new Uint8Array(16);
    const view = new DataView(head.buffer);
    view.setUint32(0, BYTE_ORDER_MAGIC, true);
    view.setUint16(4, 1, true);
    view.setBigInt64(8, -1n, true);
    sink(block(SECTION_HEADER, [head, option(SHB_APPLICATION, utf8.encode(application)), END_OF_OPTIONS]));
  }

  /** Adds an Ethernet interface; returns its number. */
  addInterface(about: CaptureInterface): number {
    const head = new Uint8Array(8);
    new DataView(head.buffer).setUint16(0, LINKTYPE_ETHERNET, true);
    const options = [option(IF_NAME, utf8.encode(about.name))];
    if (about.description !== undefined) options.push(option(IF_DESCRIPTION, utf8.encode(about.description)));
    options.push(option(IF_TSRESOL, Uint8Array.of(NANOSECONDS)));
    this.#sink(block(INTERFACE, [head, ...options, END_OF_OPTIONS]));
    return this.#interfaces++;
  }

  /** Adds a frame at `atNs` since 1970. */
  packet(interfaceId: number, atNs: bigint, frame: Uint8Array, note: CaptureNote = {}): void {
    const head = new Uint8Array(20);
    const view = new DataView(head.buffer);
    view.setUint32(0, interfaceId, true);
    view.setUint32(4, Number((atNs >> 32n) & 0xffff_ffffn), true);
    view.setUint32(8, Number(atNs & 0xffff_ffffn), true);
    view.setUint32(12, frame.length, true);
    view.setUint32(16, frame.length, true);
    const options: Uint8Array[] = [];
    if (note.comment !== undefined) options.push(option(OPTION_COMMENT, utf8.encode(note.comment)));
    if (note.direction !== undefined) options.push(option(EPB_FLAGS, Uint8Array.of(note.direction === 'in' ? 1 : 2, 0, 0, 0)));
    if (options.length > 0) options.push(END_OF_OPTIONS);
    this.#sink(block(ENHANCED_PACKET, [head, frame, new Uint8Array(pad4(frame.length) - frame.length), ...options]));
  }
}

export interface CapturedPacket {
  readonly interfaceId: number;
  /** Since 1970. */
  readonly atNs: bigint;
  /** What was captured, perhaps less than `length`. */
  readonly frame: Uint8Array;
  /** On the wire. */
  readonly length: number;
  readonly direction?: CaptureDirection;
  readonly comment?: string;
}

export interface CaptureFileInterface {
  readonly name: string;
  readonly linkType: number;
}

export interface CaptureFile {
  readonly interfaces: readonly CaptureFileInterface[];
  readonly packets: readonly CapturedPacket[];
  /** What is wrong with the file; packets before it were read. */
  readonly problem?: string;
}

interface ReadInterface extends CaptureFileInterface {
  toNs(ticks: bigint): bigint;
}

const resolution = (code: number): ((ticks: bigint) => bigint) => {
  if ((code & 0x80) !== 0) return ticks => (ticks * 1_000_000_000n) >> BigInt(code & 0x7f);
  return code <= NANOSECONDS ? ticks => ticks * 10n ** BigInt(NANOSECONDS - code) : ticks => ticks / 10n ** BigInt(code - NANOSECONDS);
};
const MICROSECONDS = 6;

class PcapngReader {
  readonly interfaces: ReadInterface[] = [];
  readonly packets: CapturedPacket[] = [];
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #little = true;
  /** Interface numbers start anew with every section. */
  #firstInterface = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Returns what is wrong, if anything. */
  read(): string | undefined {
    for (let at = 0; at < this.#bytes.length; ) {
      if (at + 12 > this.#bytes.length) return `the block at ${at} is cut short`;
      const type = this.#u32(at);
      if (type === SECTION_HEADER) {
        if (at + 28 > this.#bytes.length) return `the section header at ${at} is cut short`;
        const magic = this.#view.getUint32(at + 8, true);
        if (magic !== BYTE_ORDER_MAGIC && magic !== BYTE_ORDER_SWAPPED) return `the section at ${at} has an unknown byte order`;
        this.#little = magic === BYTE_ORDER_MAGIC;
        this.#firstInterface = this.interfaces.length;
      }
      const length = this.#u32(at + 4);
      if (length < 12 || length % 4 !== 0 || length > MAX_BLOCK_BYTES) return `the block at ${at} has an impossible length, ${length}`;
      if (at + length > this.#bytes.length) return `the block at ${at} is cut short`;
      const problem = this.#block(type, at + 8, at + length - 4);
      if (problem !== undefined) return problem;
      at += length;
    }
    return undefined;
  }

  #u16(at: number): number {
    return this.#view.getUint16(at, this.#little);
  }

  #u32(at: number): number {
    return this.#view.getUint32(at, this.#little);
  }

  #options(start: number, end: number): Map<number, Uint8Array> {
    const options = new Map<number, Uint8Array>();
    for (let at = start; at + 4 <= end; ) {
      const code = this.#u16(at);
      const length = this.#u16(at + 2);
      if (code === 0 || at + 4 + length > end) break;
      if (!options.has(code)) options.set(code, this.#bytes.subarray(at + 4, at + 4 + length));
      at += 4 + pad4(length);
    }
    return options;
  }

  #block(type: number, start: number, end: number): string | undefined {
    if (type === INTERFACE) {
      if (end - start < 8) return `the interface block at ${start - 8} is too short`;
      const options = this.#options(start + 8, end);
      const name = options.get(IF_NAME);
      this.interfaces.push({
        name: name === undefined ? '' : text.decode(name),
        linkType: this.#u16(start),
        toNs: resolution(options.get(IF_TSRESOL)?.[0] ?? MICROSECONDS),
      });
      return undefined;
    }
    if (type === ENHANCED_PACKET || type === OLD_PACKET) {
      if (end - start < 20) return `the packet block at ${start - 8} is too short`;
      return this.#packet(type === ENHANCED_PACKET ? this.#u32(start) : this.#u16(start), start, end);
    }
    if (type !== SIMPLE_PACKET) return undefined;
    const iface = this.interfaces[this.#firstInterface];
    if (iface === undefined || end - start < 4) return `the packet block at ${start - 8} is too short or has no interface`;
    const length = this.#u32(start);
    this.packets.push({ interfaceId: this.#firstInterface, atNs: 0n, frame: this.#bytes.subarray(start + 4, Math.min(end, start + 4 + length)), length });
    return undefined;
  }

  #packet(number: number, start: number, end: number): string | undefined {
    const interfaceId = this.#firstInterface + number;
    const iface = this.interfaces[interfaceId];
    const captured = this.#u32(start + 12);
    if (iface === undefined) return `the packet at ${start - 8} names interface ${number}, which does not exist`;
    if (start + 20 + captured > end) return `the packet at ${start - 8} is longer than its block`;
    const options = this.#options(start + 20 + pad4(captured), end);
    const flags = options.get(EPB_FLAGS);
    const comment = options.get(OPTION_COMMENT);
    const bits = flags?.length === 4 ? flags[this.#little ? 0 : 3] & 3 : 0;
    this.packets.push({
      interfaceId,
      atNs: iface.toNs((BigInt(this.#u32(start + 4)) << 32n) | BigInt(this.#u32(start + 8))),
      frame: this.#bytes.subarray(start + 20, start + 20 + captured),
      length: this.#u32(start + 16),
      ...(bits === 1 ? { direction: 'in' as const } : bits === 2 ? { direction: 'out' as const } : {}),
      ...(comment === undefined ? {} : { comment: text.decode(comment) }),
    });
    return undefined;
  }
}

const readPcap = (bytes: Uint8Array, little: boolean, nanoseconds: boolean): CaptureFile => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 24) return { interfaces: [], packets: [], problem: 'the file header is cut short' };
  const interfaces = [{ name: '', linkType: view.getUint32(20, little) & 0xffff }];
  const packets: CapturedPacket[] = [];
  for (let at = 24; at < bytes.length; ) {
    const captured = at + 16 <= bytes.length ? view.getUint32(at + 8, little) : Infinity;
    if (at + 16 + captured > bytes.length) return { interfaces, packets, problem: `the packet at ${at} is cut short` };
    const fraction = BigInt(view.getUint32(at + 4, little)) * (nanoseconds ? 1n : 1000n);
    packets.push({
      interfaceId: 0,
      atNs: BigInt(view.getUint32(at, little)) * 1_000_000_000n + fraction,
      frame: bytes.subarray(at + 16, at + 16 + captured),
      length: view.getUint32(at + 12, little),
    });
    at += 16 + captured;
  }
  return { interfaces, packets };
};

/** Reads pcapng and classic pcap of either byte order. Never throws: damage ends the reading and is told in `problem`. */
export const readCapture = (bytes: Uint8Array): CaptureFile => {
  if (bytes.length < 12) return { interfaces: [], packets: [], problem: 'the file is too short for a capture' };
  const magic = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(0, true);
  if (magic === 0xa1b2c3d4 || magic === 0xa1b23c4d) return readPcap(bytes, true, magic === 0xa1b23c4d);
  if (magic === 0xd4c3b2a1 || magic === 0x4d3cb2a1) return readPcap(bytes, false, magic === 0x4d3cb2a1);
  if (magic !== SECTION_HEADER) return { interfaces: [], packets: [], problem: 'the file is neither pcapng nor pcap' };
  const reader = new PcapngReader(bytes);
  const problem = reader.read();
  const interfaces = reader.interfaces.map(({ name, linkType }) => ({ name, linkType }));
  return { interfaces, packets: reader.packets, ...(problem === undefined ? {} : { problem }) };
};
