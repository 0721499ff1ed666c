// The ROM as a boot client: PXE 2.1, 2.2 to 2.5. DHCP, menu, boot server, download; each step and each refusal is told.
import type { Clock } from '../../host/clock.js';
import type { Random } from '../../net/random.js';
import { printable } from '../bytes.js';
import { NS_PER_MS, NS_PER_S } from '../deadlines.js';
import { type BootMenu, DhcpClient, type DhcpClientResult } from '../dhcp/client.js';
import { TftpDownload, type TftpResult } from '../tftp/client.js';
import { LARGEST_PACKET } from './api-tftp.js';
import type { RomContext, RomStage } from './context.js';
import type { RomReady } from './firmware.js';

const WINDOW = 16;
const KEY_POLL_NS = 50 * NS_PER_MS;
const SCAN_ESC = 0x01;
const SCAN_F8 = 0x42;
const SCAN_UP = 0x48;
const SCAN_DOWN = 0x50;
const SCAN_ENTER = 0x1c;
const NO_TIMEOUT = 255;

/** Why a boot ended without a loader. */
export interface RomFailure {
  readonly stage: RomStage;
  /** As firmware prints it. */
  readonly code: string;
  readonly title: string;
  readonly reason: string;
  readonly server?: string;
}

export type RomBootResult =
  | { readonly ok: true; readonly dhcp: Extract<DhcpClientResult, { ok: true }>; readonly file: string; readonly server: string; readonly bytes: Uint8Array }
  | { readonly ok: false; readonly local: true }
  | { readonly ok: false; readonly local: false; readonly failure: RomFailure };

/** Firmware's words for where it stopped (PXE 2.1, appendix A; Intel's boot agent). */
const DHCP_FAILURES: Readonly<Record<Extract<DhcpClientResult, { ok: false }>['stage'], { stage: RomStage; code: string; title: string }>> = {
  'no-offer': { stage: 'dhcp', code: 'PXE-E51', title: 'No DHCP or proxyDHCP offers were received.' },
  'no-lease': { stage: 'dhcp', code: 'PXE-E52', title: 'proxyDHCP offers were received. No DHCP offers were received.' },
  'no-ack': { stage: 'dhcp', code: 'PXE-E18', title: 'Server response timeout.' },
  nak: { stage: 'dhcp', code: 'PXE-E18', title: 'Server response timeout.' },
  'no-boot-file': { stage: 'boot-server', code: 'PXE-E53', title: 'No boot filename received.' },
  'boot-server-silent': { stage: 'boot-server', code: 'PXE-E55', title: 'proxyDHCP service did not reply to request on port 4011.' },
};

export const tftpFailure = (result: Extract<TftpResult, { ok: false }>, server: string): RomFailure => {
  const { code, reason } = result;
  if (code === 1) return { stage: 'tftp', code: 'PXE-T01', title: 'File not found', reason, server };
  if (code === 2) return { stage: 'tftp', code: 'PXE-T02', title: 'Access violation', reason, server };
  if (code !== undefined) return { stage: 'tftp', code: 'PXE-E36', title: 'Error received from TFTP server', reason, server };
  if (reason.startsWith('no answer')) return { stage: 'tftp', code: 'PXE-E32', title: 'TFTP open timeout', reason, server };
  return { stage: 'tftp', code: 'PXE-E35', title: 'TFTP read timeout', reason, server };
};

export interface RomClientOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly uuid: Uint8Array;
  readonly userClass?: string;
  readonly linkUp?: () => boolean;
}

export class RomClient {
  readonly #context: RomContext;
  readonly #options: RomClientOptions;

  constructor(context: RomContext, options: RomClientOptions) {
    this.#context = context;
    this.#options = options;
  }

  /** Address, boot file, and its bytes; `limit` is the room for them. */
  *boot(limit: number): Generator<RomReady, RomBootResult, void> {
    const { linkUp = () => true } = this.#options;
    if (!linkUp()) return this.#failed({ stage: 'link', code: 'PXE-E61', title: 'Media test failure, check cable', reason: 'the cable of the network card leads nowhere' });
    const dhcp = yield* this.#dhcp();
    if (!dhcp.ok) return this.#failed({ ...DHCP_FAILURES[dhcp.stage], reason: dhcp.reason });
    if (dhcp.local || !dhcp.boot) {
      this.#context.event({ stage: 'menu', text: 'the boot menu says: boot from the local disk' });
      return { ok: false, local: true };
    }
    const { server, file } = dhcp.boot;
    this.#context.event({ stage: 'dhcp', text: `${dhcp.serverId} gave ${dhcp.address}; boot file ${printable(file)} on ${server}` });
    const got = yield* this.download(server, file, limit);
    if (!got.ok) return this.#failed(got.failure);
    if (got.bytes.length === 0) return this.#failed({ stage: 'tftp', code: 'PXE-E3B', title: 'TFTP Error - File Not Found', reason: `${printable(file)} on ${server} is empty`, server });
    return { ok: true, dhcp, file, server, bytes: got.bytes };
  }

  /** Reads a whole file. */
  *download(server: string, file: string, limit: number): Generator<RomReady, { ok: true; bytes: Uint8Array } | { ok: false; failure: RomFailure }, void> {
    const { network, wake, event } = this.#context;
    const pieces: Uint8Array[] = [];
    let length = 0;
    let result: TftpResult | undefined;
    event({ stage: 'tftp', text: `TFTP ${printable(file)} from ${server}` });
    new TftpDownload({
      endpoint: network.ports.bind(0), clock: this.#options.clock, deadlines: network.deadlines, server: { address: server }, file, blksize: LARGEST_PACKET, windowsize: WINDOW, maxBytes: limit,
      onData: bytes => {
        pieces.push(bytes.slice());
        length += bytes.length;
      },
      onDone: done => {
        result = done;
        wake();
      },
    }).start();
    yield () => result !== undefined;
    const done = result!;
    if (!done.ok) {
      const failure = tftpFailure(done, server);
      if (done.reason.includes('larger than')) return { ok: false, failure: { ...failure, code: 'PXE-E79', title: 'NBP is too big to fit in free base memory', reason: `${printable(file)} on ${server}: ${done.reason}` } };
      return { ok: false, failure: { ...failure, reason: `${printable(file)}: ${done.reason}` } };
    }
    event({ stage: 'tftp', text: `${printable(file)}: ${length} bytes in blocks of ${done.blksize}` });
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return { ok: true, bytes };
  }

  *#dhcp(): Generator<RomReady, DhcpClientResult, void> {
    const { network, wake, event } = this.#context;
    const { clock, random, uuid, userClass } = this.#options;
    let result: DhcpClientResult | undefined;
    let menu: { readonly menu: BootMenu; readonly choose: (type: number) => void } | undefined;
    const endpoint = network.ports.bind(68);
    try {
      event({ stage: 'dhcp', text: 'DHCP' });
      new DhcpClient({
        endpoint, clock, mac: network.mac, random: () => random.u32(), pxe: { architecture: 0, uuid }, userClass,
        onAddress: ack => network.configure(ack),
        onMenu: (offered, choose) => {
          menu = { menu: offered, choose };
          wake();
        },
        onDone: done => {
          result = done;
          wake();
        },
      }).start();
      yield () => result !== undefined || menu !== undefined;
      if (menu !== undefined) {
        event({ stage: 'menu', text: `boot menu: ${menu.menu.items.map(item => printable(item.text)).join(', ')}` });
        const type = yield* this.#chooseItem(menu.menu);
        event({ stage: 'boot-server', text: `boot server of type ${type}` });
        menu.choose(type);
        yield () => result !== undefined;
      }
      return result!;
    } finally {
      endpoint.close();
    }
  }

  /** The prompt, and the items when a key asks for them. */
  *#chooseItem(menu: BootMenu): Generator<RomReady, number, void> {
    const console = this.#context.console();
    const { items, prompt, timeoutS } = menu;
    const clock = this.#options.clock;
    const end = timeoutS === NO_TIMEOUT ? Infinity : clock.now + timeoutS * NS_PER_S;
    if (timeoutS === 0) return items[0].type;
    console.print(`\n${printable(prompt)}`);
    let at = -1;
    for (;;) {
      for (let key = console.key(); key !== undefined; key = console.key()) {
        const digit = key.char >= 0x31 && key.char <= 0x39 ? key.char - 0x31 : -1;
        if (at < 0 && key.scan !== SCAN_F8 && key.scan !== SCAN_ENTER && digit < 0) continue;
        if (at < 0) console.print(`\n${items.map((item, i) => `  ${i + 1}. ${printable(item.text)}\n`).join('')}`);
        if (key.scan === SCAN_ESC) return items[0].type;
        if (digit >= 0 && digit < items.length) return items[digit].type;
        if (key.scan === SCAN_ENTER) return items[Math.max(0, at)].type;
        at = key.scan === SCAN_UP ? Math.max(0, at - 1) : key.scan === SCAN_DOWN ? Math.min(items.length - 1, at + 1) : Math.max(0, at);
        console.print(`\r> ${printable(items[at].text)}        `);
      }
      if (at < 0 && clock.now >= end) return items[0].type;
      yield this.#context.traps().until(Math.min(clock.now + KEY_POLL_NS, at < 0 ? end : Infinity));
    }
  }

  #failed(failure: RomFailure): RomBootResult {
    const { stage, code, title, reason, server } = failure;
    this.#context.event({ stage, text: `${code}: ${title} ${reason}`, failure: { code, reason, server } });
    return { ok: false, local: false, failure };
  }
}
