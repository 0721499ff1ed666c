// Transmit descriptors of the 82540EM (317453, 3.3 to 3.6): what a packet's descriptors say, made into frames.
import { addWords, finishChecksum } from '../../../net/checksum.js';

export const TX_DD = 1;
const CMD_EOP = 0x01;
const CMD_IFCS_TSE = 0x04;
const CMD_IC_TSE = 0x04;
export const CMD_RS = 0x08;
const CMD_DEXT = 0x20;
const CMD_VLE = 0x40;
const TUCMD_TCP = 0x01;
const TUCMD_IP = 0x02;
const POPTS_IXSM = 0x01;
const POPTS_TXSM = 0x02;
const TYPE_CONTEXT = 0;
const TYPE_DATA = 1;
const VLAN_TYPE_AT = 12;
const MIN_FRAME_BYTES = 14;
const MAX_FRAME_BYTES = 16_288;
/** What one TCP segmentation may hold: 64 KB of an IP packet and its headers. */
const MAX_PACKET_BYTES = 0x1_0000 + 256;
const MAX_SEGMENTS = 512;

/** A checksum or segmentation context (3.3.6). */
export interface TxContext {
  ipcss: number;
  ipcso: number;
  ipcse: number;
  tucss: number;
  tucso: number;
  tucse: number;
  tcp: boolean;
  ipv4: boolean;
  headerBytes: number;
  mss: number;
}

/** What is gathered of a packet whose last descriptor has not come yet. */
export interface TxState {
  context: TxContext;
  /** One flag a packet: several descriptors. */
  bytes: number;
  tse: boolean;
  popts: number;
  vlan: number;
  tooLong: boolean;
  data: Uint8Array;
}

export const initialTx = (): TxState => ({
  context: { ipcss: 0, ipcso: 0, ipcse: 0, tucss: 0, tucso: 0, tucse: 0, tcp: false, ipv4: false, headerBytes: 0, mss: 0 },
  bytes: 0,
  tse: false,
  popts: 0,
  vlan: -1,
  tooLong: false,
  data: new Uint8Array(MAX_PACKET_BYTES),
});

export interface TxSink {
  read(phys: number, into: Uint8Array): boolean;
  /** `segments` is 1, or more for a packet that was cut. */
  send(frame: Uint8Array): void;
  segmented(): void;
  guestError(message: string): void;
}

const put16 = (bytes: Uint8Array, at: number, value: number): void => {
  if (at + 2 > bytes.length) return;
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
};

/** The sum from `start` to `end` (0 for the packet's end, inclusive) is put at `at`; what lies there takes part in it. */
const insertChecksum = (bytes: Uint8Array, start: number, at: number, end: number): void => {
  const stop = end === 0 ? bytes.length : Math.min(end + 1, bytes.length);
  if (start >= stop || at + 2 > bytes.length) return;
  const value = finishChecksum(addWords(0, bytes, start, stop));
  put16(bytes, at, value);
};

const addVlanTag = (frame: Uint8Array, tci: number, type: number): Uint8Array => {
  const tagged = new Uint8Array(frame.length + 4);
  tagged.set(frame.subarray(0, VLAN_TYPE_AT));
  put16(tagged, VLAN_TYPE_AT, type);
  put16(tagged, VLAN_TYPE_AT + 2, tci);
  tagged.set(frame.subarray(VLAN_TYPE_AT), VLAN_TYPE_AT + 4);
  return tagged;
};

export class E1000Transmitter {
  state = initialTx();
  readonly #sink: TxSink;

  constructor(sink: TxSink) {
    this.#sink = sink;
  }

  reset(): void {
    const { data } = this.state;
    data.fill(0, 0, this.state.bytes);
    this.state = { ...initialTx(), data };
  }

  /** Takes a descriptor: address, and its second half as two double words. Returns the command byte. */
  take(address: number, lower: number, upper: number, vlanType: number): number {
    const command = lower >>> 24;
    const type = (command & CMD_DEXT) === 0 ? -1 : (lower >>> 20) & 15;
    if (type === TYPE_CONTEXT) return command;
    const s = this.state;
    const legacy = type === -1;
    if (!legacy && type !== TYPE_DATA) this.#sink.guestError(`transmit descriptor of type ${type}`);
    const bytes = lower & (legacy ? 0xffff : 0xf_ffff);
    if (s.bytes === 0 && !s.tooLong) {
      s.tse = !legacy && (command & CMD_IFCS_TSE) !== 0;
      s.popts = legacy ? 0 : (upper >>> 8) & 0xff;
    }
    if (s.bytes + bytes > s.data.length) s.tooLong = true;
    else if (bytes > 0) {
      this.#sink.read(address, s.data.subarray(s.bytes, s.bytes + bytes));
      s.bytes += bytes;
    }
    if ((command & CMD_EOP) === 0) return command;
    s.vlan = command & CMD_VLE && vlanType !== 0 ? upper >>> 16 : -1;
    if (s.tooLong) this.#sink.guestError('packet to send that is too long');
    else if (legacy) this.#sendLegacy(command, lower, upper, vlanType);
    else if (s.tse) this.#sendSegments(vlanType);
    else this.#sendOne(vlanType);
    s.bytes = 0;
    s.tooLong = false;
    return command;
  }

  /** A context descriptor's four double words. */
  setContext(d0: number, d1: number, d2: number, d3: number): void {
    const command = d2 >>> 24;
    this.state.context = {
      ipcss: d0 & 0xff,
      ipcso: (d0 >>> 8) & 0xff,
      ipcse: d0 >>> 16,
      tucss: d1 & 0xff,
      tucso: (d1 >>> 8) & 0xff,
      tucse: d1 >>> 16,
      tcp: (command & TUCMD_TCP) !== 0,
      ipv4: (command & TUCMD_IP) !== 0,
      headerBytes: (d3 >>> 8) & 0xff,
      mss: d3 >>> 16,
    };
  }

  #emit(frame: Uint8Array, vlanType: number): void {
    if (frame.length < MIN_FRAME_BYTES || frame.length > MAX_FRAME_BYTES) {
      this.#sink.guestError(`frame of ${frame.length} bytes`);
      return;
    }
    this.#sink.send(this.state.vlan < 0 ? frame : addVlanTag(frame, this.state.vlan, vlanType));
  }

  #sendLegacy(command: number, lower: number, upper: number, vlanType: number): void {
    const frame = this.state.data.slice(0, this.state.bytes);
    if (command & CMD_IC_TSE) insertChecksum(frame, (upper >>> 8) & 0xff, (lower >>> 16) & 0xff, 0);
    this.#emit(frame, vlanType);
  }

  #checksums(frame: Uint8Array): void {
    const { context, popts } = this.state;
    if (popts & POPTS_TXSM) insertChecksum(frame, context.tucss, context.tucso, context.tucse);
    if (popts & POPTS_IXSM) {
      put16(frame, context.ipcso, 0);
      insertChecksum(frame, context.ipcss, context.ipcso, context.ipcse);
    }
  }

  #sendOne(vlanType: number): void {
    const frame = this.state.data.slice(0, this.state.bytes);
    this.#checksums(frame);
    this.#emit(frame, vlanType);
  }

  /** TCP segmentation (3.5): headers are repeated, with lengths, identification, sequence number and flags brought up to date. */
  #sendSegments(vlanType: number): void {
    const { data, bytes, context } = this.state;
    const { headerBytes, mss, ipcss, tucss, tucso, tcp, ipv4 } = context;
    if (mss === 0 || headerBytes < MIN_FRAME_BYTES || headerBytes > bytes || headerBytes > MAX_FRAME_BYTES - mss || (bytes - headerBytes) / mss > MAX_SEGMENTS) {
      this.#sink.guestError(`segmentation of ${bytes} bytes into ${mss} behind a header of ${headerBytes}`);
      return;
    }
    const id = (data[ipcss + 4] << 8) | data[ipcss + 5];
    const sequence = ((data[tucss + 4] << 24) | (data[tucss + 5] << 16) | (data[tucss + 6] << 8) | data[tucss + 7]) >>> 0;
    const flags = data[tucss + 13];
    for (let index = 0, at = headerBytes; index === 0 || at < bytes; index++, at += mss) {
      const end = Math.min(bytes, at + mss);
      const frame = new Uint8Array(headerBytes + end - at);
      frame.set(data.subarray(0, headerBytes));
      frame.set(data.subarray(at, end), headerBytes);
      if (ipv4) {
        put16(frame, ipcss + 2, frame.length - ipcss);
        put16(frame, ipcss + 4, id + index);
      } else put16(frame, ipcss + 4, frame.length - ipcss - 40);
      if (tcp) {
        const next = sequence + at - headerBytes;
        put16(frame, tucss + 4, next >>> 16);
        put16(frame, tucss + 6, next);
        // FIN and PSH are for the last one.
        if (end < bytes && tucss + 13 < headerBytes) frame[tucss + 13] = flags & ~0x09;
      } else put16(frame, tucss + 4, frame.length - tucss);
      // The driver's pseudo-header sum is without the length, which differs by segment.
      if (tucso + 2 <= frame.length) {
        const sum = ((frame[tucso] << 8) | frame[tucso + 1]) + frame.length - tucss;
        put16(frame, tucso, (sum & 0xffff) + (sum >>> 16));
      }
      this.#checksums(frame);
      this.#emit(frame, vlanType);
    }
    this.#sink.segmented();
  }
}
