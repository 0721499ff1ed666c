// PXE 2.1, 3.6: the UNDI API. Frames are handed out by polling; there is no interrupt, and GET_IFACE_INFO says so.
import { NS_PER_MS } from '../deadlines.js';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4 } from '../../net/ethernet.js';
import { macKey } from '../../net/address.js';
import type { RomContext } from './context.js';
import { RomOffsets } from './layout.js';
import { type ApiSteps, Params } from './params.js';
import { PxeStatus } from './status.js';

type UndiState = 'stopped' | 'started' | 'initialized' | 'opened';
const STATE_NUMBERS: Readonly<Record<UndiState, number>> = { stopped: 0, started: 1, initialized: 2, opened: 3 };

const ISR_START = 1;
const ISR_PROCESS = 2;
const ISR_GET_NEXT = 3;
const OUT_OURS = 0;
const OUT_NOT_OURS = 1;
const OUT_DONE = 0;
const OUT_TRANSMIT = 2;
const OUT_RECEIVE = 3;

const ETHERNET_TYPE = 1;
const MAC_BYTES = 6;
const HEADER_BYTES = 14;
const MAX_FRAME = 1514;
const MTU = 1500;
const NIC_TYPE_PCI = 2;
const ETHERNET_CLASS = 0x02;
const LINK_SPEED = 1_000_000_000;
/** Broadcast, multicast, directed, promiscuous; setting the station's address; resetting; open, close. No interrupts, no statistics of errors. */
const SERVICE_FLAGS = 0x0000_0e7f & ~0x0000_0020;
const MULTICAST_AT = 2;
const MAX_MULTICAST = 8;
/** Empty polls in a row before a poll waits for a moment; a frame ends the wait. */
const EAGER_POLLS = 32;
const POLL_NS = NS_PER_MS;

const PROTOCOL_TYPES: Readonly<Record<number, number>> = { 1: ETHERTYPE_IPV4, 2: ETHERTYPE_ARP, 3: 0x8035 };

export class UndiApi {
  readonly #context: RomContext;
  readonly #frameAt: () => number;
  #state: UndiState = 'opened';
  #transmitted = 0;
  #empty = 0;

  /** `segment` is where the ROM's block lies. */
  constructor(context: RomContext, segment: () => number) {
    this.#context = context;
    this.#frameAt = () => segment() * 16 + RomOffsets.FRAME;
  }

  /** As a loader is started: the base code has the card open. */
  reset(): void {
    this.#state = 'opened';
    this.#transmitted = 0;
    this.#empty = 0;
  }

  get state(): UndiState {
    return this.#state;
  }

  startUndi(): number {
    if (this.#state === 'stopped') this.#state = 'started';
    return PxeStatus.SUCCESS;
  }

  startup(): number {
    if (this.#state === 'stopped') this.#state = 'started';
    return PxeStatus.SUCCESS;
  }

  cleanup(): number {
    if (this.#state === 'opened' || this.#state === 'initialized') return PxeStatus.UNDI_INVALID_STATE;
    this.#state = 'stopped';
    return PxeStatus.SUCCESS;
  }

  initialize(): number {
    if (this.#state === 'stopped') return PxeStatus.UNDI_INVALID_STATE;
    if (this.#state === 'started') this.#state = 'initialized';
    this.#context.setListening(true);
    return PxeStatus.SUCCESS;
  }

  resetAdapter(p: Params): number {
    const { network } = this.#context;
    network.frames.length = 0;
    network.setMac(network.permanentMac);
    this.#setMulticast(p);
    return PxeStatus.SUCCESS;
  }

  shutdown(): number {
    const { network } = this.#context;
    this.#state = 'started';
    network.useUndi(false);
    network.frames.length = 0;
    this.#context.setListening(false);
    return PxeStatus.SUCCESS;
  }

  open(p: Params): number {
    if (this.#state === 'stopped' || this.#state === 'started') return PxeStatus.UNDI_INVALID_STATE;
    const { network } = this.#context;
    this.#state = 'opened';
    network.useUndi(true);
    network.filter = p.u16(4);
    this.#setMulticast(p, 6);
    return PxeStatus.SUCCESS;
  }

  close(): number {
    const { network } = this.#context;
    if (this.#state !== 'opened') return PxeStatus.UNDI_INVALID_STATE;
    this.#state = 'initialized';
    network.frames.length = 0;
    return PxeStatus.SUCCESS;
  }

  transmit(p: Params): number {
    if (this.#state !== 'opened') return PxeStatus.UNDI_INVALID_STATE;
    const { network } = this.#context;
    network.useUndi(true);
    const protocol = p.u8(2);
    const descriptor = new Params(p.memory, p.far(8));
    const parts: Uint8Array[] = [];
    if (descriptor.u16(0) > 0) parts.push(p.memory.bytes(descriptor.far(2), Math.min(descriptor.u16(0), MAX_FRAME)));
    for (let i = 0; i < Math.min(8, descriptor.u16(6)); i++) {
      const at = 8 + 8 * i;
      const length = Math.min(descriptor.u16(at + 2), MAX_FRAME);
      // A physical address, or a far pointer.
      const from = descriptor.u8(at) === 0 ? descriptor.u32(at + 4) : descriptor.far(at + 4);
      parts.push(p.memory.bytes(from, length));
    }
    const payload = parts.reduce((sum, part) => sum + part.length, 0);
    const header = protocol === 0 ? 0 : HEADER_BYTES;
    if (protocol > 4 || header + payload > MAX_FRAME || (protocol === 0 && payload < HEADER_BYTES)) return PxeStatus.UNDI_INVALID_PARAMETER;
    const frame = new Uint8Array(Math.max(60, header + payload));
    if (protocol !== 0) {
      frame.set(p.u8(3) === 1 ? new Uint8Array(MAC_BYTES).fill(0xff) : p.memory.bytes(p.far(4), MAC_BYTES), 0);
      frame.set(network.mac, MAC_BYTES);
      const type = PROTOCOL_TYPES[protocol] ?? 0;
      frame.set([type >>> 8, type], 2 * MAC_BYTES);
    }
    let at = header;
    for (const part of parts) {
      frame.set(part, at);
      at += part.length;
    }
    this.#transmitted++;
    this.#empty = 0;
    network.transmit(frame);
    return PxeStatus.SUCCESS;
  }

  setMulticastAddress(p: Params): number {
    this.#setMulticast(p);
    return PxeStatus.SUCCESS;
  }

  setStationAddress(p: Params): number {
    // The specification allows this before the card is open; loaders do it behind it as well.
    const mac = p.bytes(2, MAC_BYTES);
    if ((mac[0] & 1) !== 0) return PxeStatus.UNDI_INVALID_PARAMETER;
    this.#context.network.setMac(mac);
    return PxeStatus.SUCCESS;
  }

  setPacketFilter(p: Params): number {
    if (this.#state !== 'opened') return PxeStatus.UNDI_INVALID_STATE;
    this.#context.network.filter = p.u8(2);
    return PxeStatus.SUCCESS;
  }

  getInformation(p: Params): number {
    const { network } = this.#context;
    const padded = (mac: Uint8Array): Uint8Array => {
      const bytes = new Uint8Array(16);
      bytes.set(mac);
      return bytes;
    };
    p.setU16(2, 0);
    p.setU16(4, 0);
    p.setU16(6, MTU);
    p.setU16(8, ETHERNET_TYPE);
    p.setU16(10, MAC_BYTES);
    p.setBytes(12, padded(network.mac));
    p.setBytes(28, padded(network.permanentMac));
    p.setU16(44, 0);
    p.setU16(46, 1);
    p.setU16(48, 1);
    return PxeStatus.SUCCESS;
  }

  getStatistics(p: Params): number {
    const { statistics } = this.#context.network;
    [statistics.sent, statistics.received, 0, statistics.overruns].forEach((value, i) => p.setU32(2 + 4 * i, value));
    return PxeStatus.SUCCESS;
  }

  clearStatistics(): number {
    Object.assign(this.#context.network.statistics, { sent: 0, received: 0, overruns: 0 });
    return PxeStatus.SUCCESS;
  }

  getMulticastAddress(p: Params): number {
    const [, b, c, d] = p.bytes(2, 4);
    p.setBytes(6, Uint8Array.of(0x01, 0x00, 0x5e, b & 0x7f, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    return PxeStatus.SUCCESS;
  }

  getNicType(p: Params): number {
    const { card } = this.#context;
    p.setU8(2, NIC_TYPE_PCI);
    p.setU16(3, card.vendor);
    p.setU16(5, card.device);
    p.setBytes(7, Uint8Array.of(ETHERNET_CLASS, 0, 0, card.revision));
    p.setU16(11, card.location);
    p.setU16(13, card.subsystemVendor);
    p.setU16(15, card.subsystem);
    return PxeStatus.SUCCESS;
  }

  getInterfaceInfo(p: Params): number {
    const name = new Uint8Array(16);
    name.set(new TextEncoder().encode('DIX+802.3'));
    p.setBytes(2, name);
    p.setU32(18, LINK_SPEED);
    p.setU32(22, SERVICE_FLAGS);
    p.setBytes(26, new Uint8Array(16));
    return PxeStatus.SUCCESS;
  }

  *isr(p: Params): ApiSteps {
    if (this.#state !== 'opened') return PxeStatus.UNDI_INVALID_STATE;
    const { network, traps, clock } = this.#context;
    network.useUndi(true);
    const step = p.u16(2);
    const pending = (): boolean => this.#transmitted > 0 || network.frames.length > 0;
    if (step === ISR_START) {
      p.setU16(2, pending() ? OUT_OURS : OUT_NOT_OURS);
      return PxeStatus.SUCCESS;
    }
    if (step !== ISR_PROCESS && step !== ISR_GET_NEXT) return PxeStatus.UNDI_INVALID_PARAMETER;
    if (step === ISR_PROCESS && !pending() && ++this.#empty > EAGER_POLLS) {
      const late = traps().until(clock.now + POLL_NS);
      yield () => network.frames.length > 0 || late();
    }
    if (this.#transmitted > 0) {
      this.#transmitted = 0;
      p.setU16(2, OUT_TRANSMIT);
      return PxeStatus.SUCCESS;
    }
    const frame = network.frames.shift();
    if (frame === undefined) {
      p.setU16(2, OUT_DONE);
      return PxeStatus.SUCCESS;
    }
    this.#empty = 0;
    const type = (frame[12] << 8) | frame[13];
    p.memory.write(this.#frameAt(), frame);
    p.setU16(2, OUT_RECEIVE);
    p.setU16(4, frame.length);
    p.setU16(6, frame.length);
    p.setU16(8, HEADER_BYTES);
    p.setU16(10, 0);
    p.setU16(12, this.#frameAt() >>> 4);
    p.setU8(14, type === ETHERTYPE_IPV4 ? 1 : type === ETHERTYPE_ARP ? 2 : type === 0x8035 ? 3 : 4);
    p.setU8(15, (frame[0] & 1) === 0 ? 0 : frame.subarray(0, 6).every(octet => octet === 0xff) ? 1 : 2);
    return PxeStatus.SUCCESS;
  }

  /** STOP_UNDI and GET_STATE have one number: which is meant shows in the state. */
  stopOrGetState(p: Params): number {
    if (this.#state === 'initialized' || this.#state === 'opened') {
      p.setU8(2, STATE_NUMBERS[this.#state]);
      return PxeStatus.SUCCESS;
    }
    this.#state = 'stopped';
    return PxeStatus.SUCCESS;
  }

  #setMulticast(p: Params, at = MULTICAST_AT): void {
    const { multicast } = this.#context.network;
    multicast.clear();
    for (let i = 0; i < Math.min(MAX_MULTICAST, p.u16(at)); i++) multicast.add(macKey(p.bytes(at + 2 + 16 * i, MAC_BYTES)));
  }
}

