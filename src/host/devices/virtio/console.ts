import { VmletError } from '../../../errors.js';
import type { CharBackend, CharSink } from '../../backends/backend.js';
import type { AccessSize } from '../device.js';
import { readImage, VIRTIO_CONSOLE, type VirtioFunction, type VirtioTransport } from './device.js';
import type { Chain } from './queue.js';

// VIRTIO 1.2, section 5.3.
const F_SIZE = 1n << 0n;
const F_MULTIPORT = 1n << 1n;
const F_EMERG_WRITE = 1n << 2n;

const CONFIG_COLS = 0;
const CONFIG_ROWS = 2;
const CONFIG_MAX_PORTS = 4;
const CONFIG_EMERG_WRITE = 8;
const CONFIG_BYTES = 12;

const DEVICE_READY = 0;
const PORT_ADD = 1;
const PORT_READY = 3;
const CONSOLE_PORT = 4;
const RESIZE = 5;
const PORT_OPEN = 6;
const PORT_NAME = 7;

const CONTROL_BYTES = 8;
const CONTROL_RX = 2;
const CONTROL_TX = 3;
const QUEUE_SIZE = 128;
const MAX_PORTS = 31;
/** A driver that asks for this many control messages without taking one is broken. */
const MAX_CONTROL_PENDING = 1024;
const COPY_BYTES = 0x1_0000;

export interface VirtioConsolePort {
  backend: CharBackend;
  /** Makes the port /dev/virtio-ports/NAME in Linux. */
  name?: string;
  /** A terminal (hvc) rather than a byte channel. Default: port 0 only. */
  console?: boolean;
}

export interface VirtioConsoleOptions {
  name?: string;
  /** 1 to 31 ports; port 0 also serves drivers that know no multiport. */
  ports: readonly VirtioConsolePort[];
  columns?: number;
  rows?: number;
  /**
   * Order of the two words of a resize message. The specification and Linux from 6.15 on, with the stable series that
   * took the fix, have columns first, which is the default; older Linux has rows first.
   */
  resizeOrder?: 'columns-first' | 'rows-first';
}

interface PortState {
  /** The driver has set the port up. */
  ready: boolean;
  guestOpen: boolean;
  hostOpen: boolean;
}

export interface VirtioConsoleState {
  columns: number;
  rows: number;
  started: boolean;
  ports: PortState[];
  control: Uint8Array[];
}

/**
 * A console and any number of named byte channels. Input is taken from a backend only as far as the driver has posted buffers; it is
 * asked for more by `onSpace`, so nothing is ever dropped.
 */
export class VirtioConsole implements VirtioFunction<VirtioConsoleState> {
  readonly name: string;
  readonly type = VIRTIO_CONSOLE;
  readonly classCode = 0x078000;
  readonly features = F_SIZE | F_MULTIPORT | F_EMERG_WRITE;
  readonly queueSizes: readonly number[];
  readonly configBytes = CONFIG_BYTES;
  readonly #ports: readonly VirtioConsolePort[];
  readonly #rowsFirst: boolean;
  readonly #state: PortState[];
  #columns: number;
  #rows: number;
  /** The driver has asked for the list of ports. */
  #started = false;
  #control: Uint8Array[] = [];
  #transport!: VirtioTransport;

  constructor(options: VirtioConsoleOptions) {
    this.name = options.name ?? 'virtio-console';
    this.#ports = options.ports;
    if (this.#ports.length < 1 || this.#ports.length > MAX_PORTS) {
      throw new VmletError('ERR_VMLET_CONFIG', `a virtio console has 1 to ${MAX_PORTS} ports, not ${this.#ports.length}`);
    }
    this.#rowsFirst = options.resizeOrder === 'rows-first';
    this.#columns = options.columns ?? 80;
    this.#rows = options.rows ?? 24;
    this.#state = this.#ports.map(() => ({ ready: false, guestOpen: false, hostOpen: true }));
    // Port 0 and control come first, then a pair for each further port.
    this.queueSizes = new Array<number>(2 * this.#ports.length + 2).fill(QUEUE_SIZE);
  }

  connect(transport: VirtioTransport): void {
    this.#transport = transport;
    this.#ports.forEach((port, id) => port.backend.attach(this.#sink(id)));
  }

  #sink(id: number): CharSink {
    return {
      receive: data => this.#receive(id, data),
      hostOpen: open => {
        if (this.#state[id].hostOpen === open) return;
        this.#state[id].hostOpen = open;
        if (this.#state[id].ready) this.#sendControl(id, PORT_OPEN, open ? 1 : 0);
      },
      resize: (columns, rows) => this.#resize(columns, rows),
    };
  }

  get #multiport(): boolean {
    return (this.#transport.features & F_MULTIPORT) !== 0n;
  }

  #isConsole(id: number): boolean {
    return this.#ports[id].console ?? id === 0;
  }

  readConfig(offset: number, size: AccessSize): number {
    const image = new Uint8Array(CONFIG_BYTES);
    const view = new DataView(image.buffer);
    view.setUint16(CONFIG_COLS, this.#columns, true);
    view.setUint16(CONFIG_ROWS, this.#rows, true);
    view.setUint32(CONFIG_MAX_PORTS, this.#ports.length, true);
    return readImage(image, offset, size);
  }

  /** The emergency write register prints a character before any queue is set up. */
  writeConfig(offset: number, value: number): void {
    if (offset === CONFIG_EMERG_WRITE) this.#ports[0].backend.write(Uint8Array.of(value & 0xff));
    else this.#transport.guestError('read-only configuration written');
  }

  ready(): void {
    if (this.#multiport) return;
    this.#state[0].ready = true;
    this.#setGuestOpen(0, true);
  }

  notified(queue: number): void {
    if (queue === CONTROL_RX) {
      this.#flushControl();
    } else if (queue === CONTROL_TX) {
      this.#transport.queues[queue].serve(chain => this.#controlMessage(chain));
    } else {
      const id = portOf(queue);
      if (queue & 1) this.#transport.queues[queue].serve(chain => this.#transmit(id, chain));
      else if (this.#acceptsInput(id)) this.#ports[id].backend.onSpace?.();
    }
  }

  #transmit(id: number, chain: Chain): number {
    // Backends may keep what they are given, so every piece is a fresh array.
    for (let at = 0; at < chain.readLength; at += COPY_BYTES) {
      const bytes = new Uint8Array(Math.min(COPY_BYTES, chain.readLength - at));
      chain.read(at, bytes);
      this.#ports[id].backend.write(bytes);
    }
    return 0;
  }

  #acceptsInput(id: number): boolean {
    return this.#state[id].ready && this.#state[id].guestOpen;
  }

  #receive(id: number, data: Uint8Array): number {
    if (data.length === 0 || !this.#acceptsInput(id)) return 0;
    const queue = this.#transport.queues[receiveQueue(id)];
    let taken = 0;
    while (taken < data.length) {
      const chain = queue.pop();
      if (chain === undefined) break;
      const bytes = chain.write(0, taken === 0 ? data : data.subarray(taken));
      queue.push(chain, bytes);
      taken += bytes;
      if (bytes > 0) continue;
      this.#transport.fail('receive buffer without room');
      break;
    }
    queue.signal();
    return taken;
  }

  #setGuestOpen(id: number, open: boolean): void {
    if (this.#state[id].guestOpen === open) return;
    this.#state[id].guestOpen = open;
    this.#ports[id].backend.guestOpen?.(open);
    if (open) this.#ports[id].backend.onSpace?.();
  }

  #controlMessage(chain: Chain): number {
    const message = new Uint8Array(CONTROL_BYTES);
    if (chain.read(0, message) < CONTROL_BYTES) {
      this.#transport.guestError('short control message');
      return 0;
    }
    const view = new DataView(message.buffer);
    const id = view.getUint32(0, true);
    const event = view.getUint16(4, true);
    const value = view.getUint16(6, true);
    if (event === DEVICE_READY) {
      if (value === 1 && !this.#started) {
        this.#started = true;
        this.#ports.forEach((_, port) => this.#sendControl(port, PORT_ADD, 1));
      }
    } else if (id >= this.#ports.length) {
      this.#transport.guestError('control message for a port that does not exist');
    } else if (event === PORT_READY) {
      if (value === 1) this.#portReady(id);
      else this.#transport.guestError(`driver could not set up port ${id}`);
    } else if (event === PORT_OPEN) {
      this.#setGuestOpen(id, value === 1);
    } else {
      this.#transport.guestError(`unknown control message ${event}`);
    }
    return 0;
  }

  #portReady(id: number): void {
    this.#state[id].ready = true;
    if (this.#isConsole(id)) {
      this.#sendControl(id, CONSOLE_PORT, 1);
      this.#sendControl(id, RESIZE, 0, this.#sizeMessage());
    }
    const { name } = this.#ports[id];
    // The specification leaves the terminating zero open; drivers in the field accept it and some need it.
    if (name !== undefined) this.#sendControl(id, PORT_NAME, 1, Uint8Array.from(`${name}\0`, c => c.charCodeAt(0) & 0x7f));
    if (this.#state[id].hostOpen) this.#sendControl(id, PORT_OPEN, 1);
  }

  #sizeMessage(): Uint8Array {
    const words = this.#rowsFirst ? [this.#rows, this.#columns] : [this.#columns, this.#rows];
    return Uint8Array.from(words.flatMap(word => [word & 0xff, word >>> 8]));
  }

  #resize(columns: number, rows: number): void {
    this.#columns = columns & 0xffff;
    this.#rows = rows & 0xffff;
    this.#transport.configChanged();
    this.#state.forEach((port, id) => {
      if (port.ready && this.#multiport && this.#isConsole(id)) this.#sendControl(id, RESIZE, 0, this.#sizeMessage());
    });
  }

  #sendControl(id: number, event: number, value: number, payload?: Uint8Array): void {
    if (!this.#multiport) return;
    const message = new Uint8Array(CONTROL_BYTES + (payload?.length ?? 0));
    const view = new DataView(message.buffer);
    view.setUint32(0, id, true);
    view.setUint16(4, event, true);
    view.setUint16(6, value, true);
    if (payload) message.set(payload, CONTROL_BYTES);
    if (this.#control.length >= MAX_CONTROL_PENDING) {
      this.#transport.fail('control messages are never taken');
      return;
    }
    this.#control.push(message);
    this.#flushControl();
  }

  #flushControl(): void {
    const queue = this.#transport.queues[CONTROL_RX];
    while (this.#control.length > 0) {
      const chain = queue.pop();
      if (chain === undefined) break;
      queue.push(chain, chain.write(0, this.#control.shift()!));
    }
    queue.signal();
  }

  reset(): void {
    this.#started = false;
    this.#control = [];
    this.#state.forEach((port, id) => {
      port.ready = false;
      this.#setGuestOpen(id, false);
    });
  }

  save(): VirtioConsoleState {
    return {
      columns: this.#columns,
      rows: this.#rows,
      started: this.#started,
      ports: this.#state.map(port => ({ ...port })),
      control: this.#control.map(message => message.slice()),
    };
  }

  restore(state: VirtioConsoleState): void {
    if (state.ports?.length !== this.#ports.length) throw new VmletError('ERR_VMLET_STATE', `the saved state of '${this.name}' has other ports`);
    this.#columns = state.columns;
    this.#rows = state.rows;
    this.#started = state.started;
    this.#control = state.control.map(message => message.slice());
    state.ports.forEach((port, id) => {
      this.#state[id] = { ...port, guestOpen: this.#state[id].guestOpen };
      if (port.guestOpen !== this.#state[id].guestOpen) {
        this.#state[id].guestOpen = port.guestOpen;
        this.#ports[id].backend.guestOpen?.(port.guestOpen);
      }
    });
  }
}

const receiveQueue = (id: number): number => (id === 0 ? 0 : 2 + 2 * id);
const portOf = (queue: number): number => (queue < 2 ? 0 : (queue - 2) >> 1);
