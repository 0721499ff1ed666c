// The PXE ROM: its client, the loader's start and the API's two entry points. All of it runs in the host; what the guest sees of it is a block of
// conventional memory with the structures of PXE 2.1 and a few jumps into the firmware's traps.
import type { FramePort } from '../../host/backends/backend.js';
import type { Clock } from '../../host/clock.js';
import type { Random } from '../../net/random.js';
import { printable } from '../bytes.js';
import { TftpApi } from './api-tftp.js';
import { UdpApi } from './api-udp.js';
import { UndiApi } from './api-undi.js';
import { RomClient, type RomFailure } from './boot.js';
import type { RomContext, RomEvent } from './context.js';
import type { RomCall, RomCard, RomConsole, RomMemory, RomReady, RomSteps, RomTarget, RomTraps } from './firmware.js';
import { bangPxeStructure, jumpFar, PACKET_BYTES, pxenvStructure, romIdStructure, RomOffsets } from './layout.js';
import { RomNetwork } from './network.js';
import { type ApiSteps, Params } from './params.js';
import { PxeFunction as F, pxeFunctionName, PxeStatus } from './status.js';
import { WireTap } from './wire-tap.js';

const LOAD_ADDRESS = 0x7c00;
const SCREEN_COLUMNS = 79;
const FIRMWARE_SEGMENT = 0xf000;
/** AX of INT 1Ah that asks for PXE, and its answer. */
const PXE_CHECK = 0x5650;
const PXE_PRESENT = 0x564e;
const EXIT_SUCCESS = 0;
const EXIT_FAILURE = 1;

/** A kernel that the ROM loads by itself, by paths on the boot server. */
export interface RomLoader {
  readonly kernel: string;
  readonly initrd: readonly string[];
}

export interface RomKernel {
  readonly kernel: Uint8Array;
  readonly initrd: readonly Uint8Array[];
}

export interface PxeRomOptions {
  /** Where the card's cable leads. */
  readonly wire: FramePort;
  readonly clock: Clock;
  readonly random: Random;
  /** Six bytes. */
  readonly mac: Uint8Array;
  /** 16 bytes in the order of SMBIOS. */
  readonly uuid: Uint8Array;
  readonly userClass?: string;
  /** Files to load in place of the boot file, for a kernel without a loader. */
  readonly loader?: RomLoader;
  readonly onKernel?: (files: RomKernel) => void;
  readonly onEvent?: (event: RomEvent) => void;
  /** RAM of the machine: no file can be larger. */
  readonly memoryBytes: number;
}

/** What the firmware gives the ROM. */
export interface RomFirmware {
  readonly traps: RomTraps;
  readonly console: RomConsole;
  readonly card: RomCard;
  /** Wakes an idle machine: something has come. */
  readonly wake: () => void;
  /** Physical address of ROM_BYTES of conventional memory, at a whole kilobyte. */
  readonly block: number;
  readonly linkUp?: () => boolean;
}

export class PxeRom {
  /** The card's end of the cable. */
  readonly cardPort: FramePort;
  readonly network: RomNetwork;
  /** Why the last boot failed. */
  failure: RomFailure | undefined;
  /** Functions that loaders called, and how often. */
  readonly calls = new Map<string, number>();
  readonly #options: PxeRomOptions;
  readonly #tap: WireTap;
  readonly #context: RomContext;
  readonly #client: RomClient;
  readonly #udp: UdpApi;
  readonly #tftp: TftpApi;
  readonly #undi: UndiApi;
  #firmware: RomFirmware | undefined;
  #entries = { pxenv: 0, pxe: 0, start: 0, bootNext: 0 };
  #segment = 0;
  #restarting = false;
  #memory: RomMemory | undefined;
  #packets: readonly Uint8Array[] = [];
  #server: string | undefined;
  #base: 'up' | 'down' = 'down';

  constructor(options: PxeRomOptions) {
    this.#options = options;
    const { clock, random, mac, uuid, userClass } = options;
    this.#tap = new WireTap(options.wire);
    this.cardPort = this.#tap.card;
    const wake = (): void => this.#firmware?.wake();
    this.network = new RomNetwork({ tap: this.#tap, clock, random, mac, wake });
    const rom = (): PxeRom => this;
    this.#context = {
      network: this.network,
      clock,
      get card() {
        return rom().#firmware!.card;
      },
      console: () => this.#firmware!.console,
      traps: () => this.#firmware!.traps,
      wake,
      setListening: on => this.#tap.listen(on),
      event: event => options.onEvent?.({ atNs: clock.now, ...event }),
      tftpIsOpen: () => this.#tftp.isOpen,
      udpIsOpen: () => this.#udp.isOpen,
      bootServer: () => this.#server,
    };
    this.#udp = new UdpApi(this.#context);
    this.#tftp = new TftpApi(this.#context);
    this.#undi = new UndiApi(this.#context, () => this.#segment);
    this.#client = new RomClient(this.#context, { clock, random, uuid, userClass, linkUp: () => this.#firmware?.linkUp?.() ?? true });
    this.#tap.onTaken = () => this.#stop();
  }

  /** Puts the ROM's entry points into the firmware; once. */
  install(firmware: RomFirmware): void {
    this.#firmware = firmware;
    this.#segment = firmware.block >>> 4;
    const { traps } = firmware;
    this.#entries = {
      pxenv: traps.far(call => this.#entry(call, call.bx, call.linear('es', call.di))),
      pxe: traps.far(call => this.#entry(call, call.memory.u16(call.stack(4)), call.memory.u16(call.stack(8)) * 16 + call.memory.u16(call.stack(6)))),
      start: traps.place([...PUSHF, ...PUSH_CS, ...PUSH_CS, ...traps.onTrap(call => call.jump(this.#loaderStart(call.memory)), 'interrupt'), ...IRET]),
      bootNext: traps.place(INT18),
    };
  }

  /** INT 1Ah AX=5650h: whether the call was for PXE. */
  check(call: RomCall): boolean {
    if (call.ax !== PXE_CHECK || this.#base === 'down') return false;
    call.ax = PXE_PRESENT;
    call.bx = RomOffsets.PXENV;
    call.setSegment('es', this.#segment);
    call.edx = this.#segment * 16 + RomOffsets.BANG_PXE;
    call.carry = false;
    return true;
  }

  /** Power-on: nothing is loaded. */
  reset(): void {
    this.#stop();
    this.failure = undefined;
    this.calls.clear();
  }

  /** Boots from the network: where the loader begins, or why there is none ('' when the boot menu said so). */
  *boot(memory: RomMemory): Generator<RomReady, RomTarget | string, void> {
    const { console, block } = this.#firmware!;
    this.#stop();
    this.failure = undefined;
    this.#memory = memory;
    this.#tap.listen(true);
    const { loader } = this.#options;
    // What the kernel's loader needs is not bound by conventional memory.
    const result = yield* this.#client.boot(loader ? this.#options.memoryBytes : block - LOAD_ADDRESS);
    if (!result.ok) {
      this.#stop();
      if (result.local) return 'the boot menu says: from the local disk';
      return this.#failed(result.failure);
    }
    const { dhcp, server, file, bytes } = result;
    this.#server = server;
    console.print(`${dhcp.address} from ${dhcp.serverId}; ${printable(file)} from ${server}, ${bytes.length} bytes\n`);
    if (loader) return yield* this.#loadKernel(loader, server, bytes);
    this.#packets = [dhcp.packets.discover, dhcp.packets.ack, dhcp.packets.boot].map(packet => packet.slice(0, PACKET_BYTES));
    this.#layOut(memory);
    memory.write(LOAD_ADDRESS, bytes);
    this.#context.event({ stage: 'loader', text: `${printable(file)} starts` });
    return this.#loaderStart(memory);
  }

  #failed(failure: RomFailure): string {
    this.failure = failure;
    this.#firmware!.console.print(wrapped(`${failure.code}: ${failure.title} ${printable(failure.reason)}.`));
    return `the PXE ROM gave up with ${failure.code}`;
  }

  *#loadKernel(loader: RomLoader, server: string, kernel: Uint8Array): Generator<RomReady, string, void> {
    const initrd: Uint8Array[] = [];
    for (const file of loader.initrd) {
      const got = yield* this.#client.download(server, file, this.#options.memoryBytes);
      if (!got.ok) {
        const { code, title, reason } = got.failure;
        this.#context.event({ stage: 'tftp', text: `${code}: ${title} ${reason}`, failure: { code, reason, server } });
        this.#stop();
        return this.#failed(got.failure);
      }
      initrd.push(got.bytes);
    }
    this.#context.event({ stage: 'kernel', text: `the kernel (${kernel.length} bytes) starts` });
    this.#stop();
    this.#options.onKernel?.({ kernel, initrd });
    // The machine is about to start the kernel, in the midst of this.
    for (;;) yield () => false;
  }

  /** Writes structures, entry points and cached packets. */
  #layOut(memory: RomMemory): void {
    const segment = this.#segment;
    const base = segment * 16;
    memory.write(base + RomOffsets.PXENV, pxenvStructure(segment));
    memory.write(base + RomOffsets.BANG_PXE, bangPxeStructure(segment));
    memory.write(base + RomOffsets.ROM_ID, romIdStructure());
    memory.write(base + RomOffsets.PXENV_ENTRY, jumpFar(FIRMWARE_SEGMENT, this.#entries.pxenv));
    memory.write(base + RomOffsets.PXE_ENTRY, jumpFar(FIRMWARE_SEGMENT, this.#entries.pxe));
    this.#packets.forEach((packet, i) => memory.write(base + RomOffsets.PACKETS + i * PACKET_BYTES, padded(packet)));
    this.#udp.reset();
    this.#tftp.reset();
    this.#undi.reset();
    this.network.closeOwn();
    this.#base = 'up';
  }

  /** PXE 2.1, 4.4.5: loaded at 0:7C00, ES:BX at PXENV+, SS:SP + 4 at a pointer to !PXE, behind the address to return to. */
  #loaderStart(memory: RomMemory): RomTarget {
    const sp = LOAD_ADDRESS - 4;
    memory.setU16(sp, RomOffsets.BANG_PXE);
    memory.setU16(sp + 2, this.#segment);
    const back = { segment: FIRMWARE_SEGMENT, offset: this.#entries.bootNext };
    return { segment: 0, offset: LOAD_ADDRESS, sp, es: this.#segment, bx: RomOffsets.PXENV, dx: this.#segment * 16 + RomOffsets.BANG_PXE, returnTo: back };
  }

  *#entry(call: RomCall, opcode: number, lin: number): RomSteps {
    const name = pxeFunctionName(opcode);
    this.calls.set(name, (this.calls.get(name) ?? 0) + 1);
    const p = new Params(call.memory, lin);
    const outcome = this.#dispatch(opcode, p);
    const status = typeof outcome === 'number' ? outcome : yield* outcome;
    p.setU16(0, status);
    call.ax = status === PxeStatus.SUCCESS ? EXIT_SUCCESS : EXIT_FAILURE;
    call.carry = status !== PxeStatus.SUCCESS;
    if (!this.#restarting) return;
    this.#restarting = false;
    call.returnTo(FIRMWARE_SEGMENT, this.#entries.start);
  }

  #dispatch(opcode: number, p: Params): number | ApiSteps {
    if (this.#base === 'down' && ((opcode >= F.TFTP_OPEN && opcode <= F.UDP_WRITE) || opcode >= F.FILE_OPEN)) return PxeStatus.FAILURE;
    switch (opcode) {
      case F.START_UNDI: return this.#undi.startUndi();
      case F.UNDI_STARTUP: return this.#undi.startup();
      case F.UNDI_CLEANUP: return this.#undi.cleanup();
      case F.UNDI_INITIALIZE: return this.#undi.initialize();
      case F.UNDI_RESET_ADAPTER: return this.#undi.resetAdapter(p);
      case F.UNDI_SHUTDOWN: return this.#undi.shutdown();
      case F.UNDI_OPEN: return this.#undi.open(p);
      case F.UNDI_CLOSE: return this.#undi.close();
      case F.UNDI_TRANSMIT: return this.#undi.transmit(p);
      case F.UNDI_SET_MCAST_ADDRESS: return this.#undi.setMulticastAddress(p);
      case F.UNDI_SET_STATION_ADDRESS: return this.#undi.setStationAddress(p);
      case F.UNDI_SET_PACKET_FILTER: return this.#undi.setPacketFilter(p);
      case F.UNDI_GET_INFORMATION: return this.#undi.getInformation(p);
      case F.UNDI_GET_STATISTICS: return this.#undi.getStatistics(p);
      case F.UNDI_CLEAR_STATISTICS: return this.#undi.clearStatistics();
      case F.UNDI_GET_MCAST_ADDRESS: return this.#undi.getMulticastAddress(p);
      case F.UNDI_GET_NIC_TYPE: return this.#undi.getNicType(p);
      case F.UNDI_GET_IFACE_INFO: return this.#undi.getInterfaceInfo(p);
      case F.UNDI_ISR: return this.#undi.isr(p);
      case F.STOP_UNDI: return this.#undi.stopOrGetState(p);
      case F.TFTP_OPEN: return this.#tftp.open(p);
      case F.TFTP_CLOSE: return this.#tftp.close();
      case F.TFTP_READ: return this.#tftp.read(p);
      case F.TFTP_READ_FILE: return this.#tftp.readFile(p);
      case F.TFTP_GET_FSIZE: return this.#tftp.fileSize(p);
      case F.UDP_OPEN: return this.#udp.open(p);
      case F.UDP_CLOSE: return this.#udp.close();
      case F.UDP_READ: return this.#udp.read(p);
      case F.UDP_WRITE: return this.#udp.write(p);
      case F.UNLOAD_STACK: return this.#unload();
      case F.GET_CACHED_INFO: return this.#cachedInfo(p);
      case F.RESTART_TFTP: return this.#restart(p);
      case F.START_BASE:
        this.#base = 'up';
        this.#tap.listen(true);
        return PxeStatus.SUCCESS;
      case F.STOP_BASE:
        this.#stopBase();
        return PxeStatus.SUCCESS;
      case F.FILE_OPEN: return this.#tftp.fileOpen(p);
      case F.FILE_CLOSE: return this.#tftp.fileClose(p);
      case F.FILE_SELECT: return this.#tftp.fileSelect(p);
      case F.FILE_READ: return this.#tftp.fileRead(p);
      case F.FILE_GET_SIZE: return this.#tftp.fileGetSize(p);
      case F.FILE_API_CHECK: return this.#tftp.fileApiCheck(p);
      default: return PxeStatus.UNSUPPORTED;
    }
  }

  #cachedInfo(p: Params): number {
    const type = p.u16(2);
    const packet = this.#packets[type - 1];
    if (packet === undefined) return PxeStatus.FAILURE;
    const size = p.u16(4);
    const to = p.far(6);
    p.setU16(10, PACKET_BYTES);
    if (to === 0 || size === 0) {
      // The caller wants to look at our own copy.
      const at = RomOffsets.PACKETS + (type - 1) * PACKET_BYTES;
      p.setU16(6, at);
      p.setU16(8, this.#segment);
      p.setU16(4, PACKET_BYTES);
      return PxeStatus.SUCCESS;
    }
    const whole = padded(packet);
    p.memory.write(to, whole.subarray(0, size));
    p.setU16(4, Math.min(size, whole.length));
    return PxeStatus.SUCCESS;
  }

  /** Loads another loader in the place of this one and starts it; returns only when that fails. */
  *#restart(p: Params): ApiSteps {
    const status = yield* this.#tftp.readFile(p);
    if (status !== PxeStatus.SUCCESS) return status;
    this.#layOut(this.#memory!);
    this.#restarting = true;
    return PxeStatus.SUCCESS;
  }

  #unload(): number {
    this.#stopBase();
    return PxeStatus.SUCCESS;
  }

  #stopBase(): void {
    this.#udp.reset();
    this.#tftp.reset();
    this.network.unbindAll();
    this.#base = 'down';
  }

  #stop(): void {
    this.#tap.listen(false);
    this.#stopBase();
    this.network.reset();
  }
}

const PUSHF = [0x9c];
const PUSH_CS = [0x0e];
const IRET = [0xcf];
/** int 18h; then nothing more. */
const INT18 = [0xcd, 0x18, 0xf4, 0xeb, 0xfd];

/** Lines for a screen, broken between words. */
const wrapped = (text: string): string => {
  const lines = [''];
  for (const word of text.split(' ')) {
    if (lines[lines.length - 1].length + word.length >= SCREEN_COLUMNS) lines.push('');
    lines[lines.length - 1] += `${lines[lines.length - 1] === '' ? '' : ' '}${word}`;
  }
  return lines.map(line => `${line}\n`).join('');
};

const padded = (packet: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(PACKET_BYTES);
  bytes.set(packet);
  return bytes;
};
