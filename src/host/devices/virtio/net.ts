import { VmletError } from '../../../errors.js';
import { macKey } from '../../../net/address.js';
import { finishFrame, headerBytesOf, isIpv6Frame, isSoundOffload, offloadOf, setOffload } from '../../../net/offload.js';
import type { FramePort } from '../../backends/backend.js';
import type { AccessSize } from '../device.js';
import { readImage, VIRTIO_NET, type VirtioFunction, type VirtioTransport } from './device.js';
import type { Chain } from './queue.js';

// VIRTIO 1.2, section 5.1.
const F_CSUM = 1n << 0n;
const F_GUEST_CSUM = 1n << 1n;
const F_MAC = 1n << 5n;
const F_GUEST_TSO4 = 1n << 7n;
const F_GUEST_TSO6 = 1n << 8n;
const F_HOST_TSO4 = 1n << 11n;
const F_HOST_TSO6 = 1n << 12n;
const F_MRG_RXBUF = 1n << 15n;
const F_STATUS = 1n << 16n;
const F_CTRL_VQ = 1n << 17n;
const F_CTRL_RX = 1n << 18n;
const F_CTRL_MAC_ADDR = 1n << 23n;

const RX = 0;
const TX = 1;
const CTRL = 2;
const QUEUE_SIZE = 256;
const CTRL_QUEUE_SIZE = 64;

const CONFIG_STATUS = 6;
const CONFIG_BYTES = 8;
const STATUS_LINK_UP = 1;

// struct virtio_net_hdr; the modern interface always has num_buffers.
const HEADER_BYTES = 12;
const NUM_BUFFERS = 10;
const HDR_F_NEEDS_CSUM = 1;
/** Smaller ones would make thousands of frames of one. */
const MIN_SEGMENT_BYTES = 64;
const GSO_TCPV4 = 1;
const GSO_TCPV6 = 4;
const GSO_ECN = 0x80;
/** What a driver takes that is to get frames with work left on them. */
const OFFLOADS = F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6;

const CTRL_RX_CLASS = 0;
const CTRL_RX_PROMISC = 0;
const CTRL_RX_ALLMULTI = 1;
const CTRL_MAC_CLASS = 1;
const CTRL_MAC_TABLE_SET = 0;
const CTRL_MAC_ADDR_SET = 1;
const CTRL_OK = 0;
const CTRL_ERR = 1;

const MAC_BYTES = 6;
const BROADCAST = 0xffff_ffff_ffff;
const MAX_FILTERS = 64;
const MIN_FRAME_BYTES = 14;
const MAX_FRAME_BYTES = 65_550;
/** Frames that wait for receive buffers; a network may lose what comes beyond. */
const MAX_WAITING = 1024;
const MAX_WAITING_BYTES = 4 << 20;

export interface VirtioNetOptions {
  name?: string;
  /** Six bytes. */
  mac: Uint8Array;
  port: FramePort;
}

export interface VirtioNetState {
  mac: Uint8Array;
  linkUp: boolean;
  promiscuous: boolean;
  allMulticast: boolean;
  /** Further unicast and multicast addresses that are received, as 12 hex digits. */
  filters: string[];
  waiting: Uint8Array[];
}

/** A virtio network card with one pair of queues and a control queue for receive filters. */
export class VirtioNet implements VirtioFunction<VirtioNetState> {
  readonly name: string;
  readonly type = VIRTIO_NET;
  readonly classCode = 0x020000;
  readonly features = F_CSUM | F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6 | F_HOST_TSO4 | F_HOST_TSO6 | F_MAC | F_MRG_RXBUF | F_STATUS | F_CTRL_VQ | F_CTRL_RX | F_CTRL_MAC_ADDR;
  readonly queueSizes = [QUEUE_SIZE, QUEUE_SIZE, CTRL_QUEUE_SIZE];
  readonly configBytes = CONFIG_BYTES;
  readonly #port: FramePort;
  readonly #permanentMac: Uint8Array;
  readonly #header = new Uint8Array(HEADER_BYTES);
  readonly #txHeader = new Uint8Array(HEADER_BYTES);
  #mac: Uint8Array;
  #linkUp = true;
  #promiscuous = true;
  #allMulticast = false;
  #filters = new Set<string>();
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #transport!: VirtioTransport;

  constructor(options: VirtioNetOptions) {
    this.name = options.name ?? 'virtio-net';
    if (options.mac.length !== MAC_BYTES) throw new VmletError('ERR_VMLET_CONFIG', `the MAC address of '${this.name}' has ${options.mac.length} bytes, not ${MAC_BYTES}`);
    this.#permanentMac = options.mac.slice();
    this.#mac = options.mac.slice();
    this.#port = options.port;
  }

  connect(transport: VirtioTransport): void {
    this.#transport = transport;
    this.#port.onFrame = frame => this.#receive(frame);
  }

  /** Plugs the cable in or pulls it out. */
  setLink(up: boolean): void {
    if (up === this.#linkUp) return;
    this.#linkUp = up;
    this.#transport.configChanged();
  }

  readConfig(offset: number, size: AccessSize): number {
    const image = new Uint8Array(CONFIG_BYTES);
    image.set(this.#mac);
    image[CONFIG_STATUS] = this.#linkUp ? STATUS_LINK_UP : 0;
    return readImage(image, offset, size);
  }

  writeConfig(): void {
    this.#transport.guestError('read-only configuration written');
  }

  ready(): void {
    this.#acceptOffloads();
  }

  #acceptOffloads(): void {
    this.#port.acceptsOffload = (this.#transport.features & OFFLOADS) === OFFLOADS && (this.#transport.features & F_MRG_RXBUF) !== 0n;
  }

  notified(queue: number): void {
    if (queue === RX) this.#deliver();
    else if (queue === TX) this.#transport.queues[TX].serve(chain => this.#transmit(chain));
    else if (queue === CTRL) this.#transport.queues[CTRL].serve(chain => this.#command(chain));
  }

  #transmit(chain: Chain): number {
    const bytes = chain.readLength - HEADER_BYTES;
    if (bytes < MIN_FRAME_BYTES || bytes > MAX_FRAME_BYTES) {
      this.#transport.guestError('frame too short or too long');
    } else if (this.#linkUp) {
      const frame = new Uint8Array(bytes);
      chain.read(0, this.#txHeader);
      chain.read(HEADER_BYTES, frame);
      if (this.#txHeader[0] & HDR_F_NEEDS_CSUM || this.#txHeader[1] !== 0) this.#sendOffloaded(frame);
      else this.#port.send(frame);
    }
    return 0;
  }

  /** The driver left work to the card; where the wire does, too, the receiver may not need it done. */
  #sendOffloaded(frame: Uint8Array): void {
    const header = this.#txHeader;
    const gso = header[1] & ~GSO_ECN;
    const word = (at: number): number => header[at] | (header[at + 1] << 8);
    const offload = { csumStart: word(6), csumOffset: word(8), segmentBytes: gso === 0 ? 0 : word(4) };
    const known = gso === 0 || ((gso === GSO_TCPV4 || gso === GSO_TCPV6) && offload.segmentBytes >= MIN_SEGMENT_BYTES && isIpv6Frame(frame) === (gso === GSO_TCPV6));
    if (!known || (header[0] & HDR_F_NEEDS_CSUM) === 0 || !isSoundOffload(frame, offload)) {
      this.#transport.guestError('checksum or segmentation that does not fit the frame');
      return;
    }
    setOffload(frame, offload);
    if (this.#port.carriesOffload === true) this.#port.send(frame);
    else for (const one of finishFrame(frame)) this.#port.send(one);
  }

  #receive(frame: Uint8Array): void {
    if (!this.#linkUp || frame.length < MIN_FRAME_BYTES || frame.length > MAX_FRAME_BYTES || !this.#wants(frame)) return;
    // Before the driver is ready nobody listens, as on a card that is switched off.
    if (!this.#transport.queues[RX].live || this.#waiting.length >= MAX_WAITING || this.#waitingBytes > MAX_WAITING_BYTES) return;
    this.#waiting.push(frame);
    this.#waitingBytes += frame.length;
    this.#deliver();
  }

  #wants(frame: Uint8Array): boolean {
    if (this.#promiscuous) return true;
    const to = macKey(frame);
    if (to === BROADCAST || to === macKey(this.#mac) || (this.#filters.size > 0 && this.#filters.has(hex(frame.subarray(0, MAC_BYTES))))) return true;
    return (frame[0] & 1) !== 0 && this.#allMulticast;
  }

  #deliver(): void {
    const queue = this.#transport.queues[RX];
    let done = 0;
    while (done < this.#waiting.length && this.#deliverFrame(this.#waiting[done])) this.#waitingBytes -= this.#waiting[done++].length;
    if (done > 0) this.#waiting.splice(0, done);
    queue.signal();
  }

  /** Writes one frame into receive buffers, several if the driver merges them; false when it has to wait. */
  #deliverFrame(frame: Uint8Array): boolean {
    const queue = this.#transport.queues[RX];
    const merge = (this.#transport.features & F_MRG_RXBUF) !== 0n;
    const needed = HEADER_BYTES + frame.length;
    const chains: Chain[] = [];
    let room = 0;
    while (room < needed && (merge || chains.length === 0) && chains.length < queue.size) {
      const chain = queue.pop();
      if (chain === undefined) break;
      chains.push(chain);
      room += chain.writeLength;
    }
    if (chains.length === 0) return false;
    if (room < needed) {
      if (merge && chains.length < queue.size) {
        queue.unpop(chains);
        return false;
      }
      this.#transport.guestError('receive buffer smaller than the frame');
      for (const chain of chains) queue.push(chain, 0);
      return true;
    }
    if (chains[0].writeLength < HEADER_BYTES) {
      for (const chain of chains) queue.push(chain, 0);
      this.#transport.fail('receive buffer smaller than its header');
      return true;
    }
    this.#fillHeader(frame);
    this.#header[NUM_BUFFERS] = chains.length & 0xff;
    this.#header[NUM_BUFFERS + 1] = chains.length >>> 8;
    let done = 0;
    chains.forEach((chain, index) => {
      const offset = index === 0 ? chain.write(0, this.#header) : 0;
      const bytes = chain.write(offset, frame.subarray(done));
      done += bytes;
      queue.push(chain, offset + bytes);
    });
    return true;
  }

  #fillHeader(frame: Uint8Array): void {
    const header = this.#header;
    const offload = offloadOf(frame);
    header.fill(0);
    if (offload === undefined) return;
    const { csumStart, csumOffset, segmentBytes } = offload;
    header[0] = HDR_F_NEEDS_CSUM;
    header[6] = csumStart;
    header[7] = csumStart >>> 8;
    header[8] = csumOffset;
    if (segmentBytes === 0) return;
    const headerBytes = headerBytesOf(frame, offload);
    header[1] = isIpv6Frame(frame) ? GSO_TCPV6 : GSO_TCPV4;
    header[2] = headerBytes;
    header[3] = headerBytes >>> 8;
    header[4] = segmentBytes;
    header[5] = segmentBytes >>> 8;
  }

  #command(chain: Chain): number {
    if (chain.readLength < 2 || chain.writeLength < 1) {
      this.#transport.fail('control command without a class or a status byte');
      return 0;
    }
    const request = new Uint8Array(Math.min(chain.readLength, 0x1_0000));
    chain.read(0, request);
    const ok = this.#execute(request[0], request[1], request.subarray(2));
    return chain.write(0, Uint8Array.of(ok ? CTRL_OK : CTRL_ERR));
  }

  #execute(commandClass: number, command: number, data: Uint8Array): boolean {
    if (commandClass === CTRL_RX_CLASS && data.length >= 1) {
      if (command === CTRL_RX_PROMISC) this.#promiscuous = data[0] !== 0;
      else if (command === CTRL_RX_ALLMULTI) this.#allMulticast = data[0] !== 0;
      else return false;
      return true;
    }
    if (commandClass !== CTRL_MAC_CLASS) return false;
    if (command === CTRL_MAC_ADDR_SET && data.length >= MAC_BYTES) {
      this.#mac = data.slice(0, MAC_BYTES);
      return true;
    }
    return command === CTRL_MAC_TABLE_SET && this.#setTables(data);
  }

  /** Two lists follow one another: unicast, then multicast, each a 32-bit count and its addresses. */
  #setTables(data: Uint8Array): boolean {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const filters = new Set<string>();
    let at = 0;
    let overflow = false;
    for (let list = 0; list < 2; list++) {
      if (at + 4 > data.length) return false;
      const count = view.getUint32(at, true);
      at += 4;
      if (at + count * MAC_BYTES > data.length) return false;
      if (count > MAX_FILTERS) overflow = true;
      else for (let i = 0; i < count; i++) filters.add(hex(data.subarray(at + i * MAC_BYTES, at + (i + 1) * MAC_BYTES)));
      at += count * MAC_BYTES;
    }
    this.#filters = filters;
    if (overflow) this.#promiscuous = true;
    return true;
  }

  reset(): void {
    this.#mac = this.#permanentMac.slice();
    this.#promiscuous = true;
    this.#allMulticast = false;
    this.#filters = new Set();
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#port.acceptsOffload = false;
  }

  save(): VirtioNetState {
    return {
      mac: this.#mac.slice(),
      linkUp: this.#linkUp,
      promiscuous: this.#promiscuous,
      allMulticast: this.#allMulticast,
      filters: [...this.#filters],
      waiting: this.#waiting.flatMap(finishFrame).map(frame => frame.slice()),
    };
  }

  restore(state: VirtioNetState): void {
    if (state.mac?.length !== MAC_BYTES) throw new VmletError('ERR_VMLET_STATE', `the saved state of '${this.name}' has no MAC address`);
    this.#mac = state.mac.slice();
    this.#linkUp = state.linkUp;
    this.#promiscuous = state.promiscuous;
    this.#allMulticast = state.allMulticast;
    this.#filters = new Set(state.filters);
    this.#waiting = state.waiting.map(frame => frame.slice());
    this.#waitingBytes = this.#waiting.reduce((sum, frame) => sum + frame.length, 0);
    this.#acceptOffloads();
  }
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');
