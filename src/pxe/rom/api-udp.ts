// PXE 2.1, 3.5: the UDP API.
import { NS_PER_MS } from '../deadlines.js';
import type { RomContext } from './context.js';
import type { ApiSteps, Params } from './params.js';
import { PxeStatus } from './status.js';

/** How long an empty read waits: a loader that polls would else burn time that others need. */
const POLL_NS = NS_PER_MS;
const MAX_WRITE = 1472;

export class UdpApi {
  readonly #context: RomContext;
  #open = false;

  constructor(context: RomContext) {
    this.#context = context;
  }

  reset(): void {
    this.#open = false;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  open(p: Params): number {
    const { network } = this.#context;
    network.useUndi(false);
    if (this.#open) return PxeStatus.UDP_OPEN;
    if (this.#context.tftpIsOpen()) return PxeStatus.TFTP_OPEN;
    const { host } = network;
    // The station's address is its lease; a loader without one says its own.
    const wanted = p.ip(2);
    if (host.address === 0 && wanted !== 0) host.configure(wanted, 24);
    network.datagrams.length = 0;
    this.#open = true;
    return PxeStatus.SUCCESS;
  }

  close(): number {
    this.#context.network.useUndi(false);
    if (!this.#open) return PxeStatus.UDP_CLOSED;
    this.#open = false;
    this.#context.network.unbindAll();
    return PxeStatus.SUCCESS;
  }

  *read(p: Params): ApiSteps {
    const { network, traps, clock } = this.#context;
    network.useUndi(false);
    if (!this.#open) return PxeStatus.UDP_CLOSED;
    const wantedIp = p.ip(6);
    const wantedPort = p.port(12);
    if (wantedPort !== 0) network.listenUdp(wantedPort);
    const find = (): number => network.datagrams.findIndex(({ dst, dstPort }) => (wantedPort === 0 || dstPort === wantedPort) && (wantedIp === 0 || dst === wantedIp));
    let at = find();
    if (at < 0) {
      const late = traps().until(clock.now + POLL_NS);
      yield () => find() >= 0 || late();
      at = find();
    }
    if (at < 0) return PxeStatus.FAILURE;
    const [{ src, dst, srcPort, dstPort, payload }] = network.datagrams.splice(at, 1);
    const room = p.u16(14);
    p.setIp(2, src);
    p.setIp(6, dst);
    p.setPort(10, srcPort);
    p.setPort(12, dstPort);
    p.setU16(14, Math.min(room, payload.length));
    p.memory.write(p.far(16), payload.subarray(0, room));
    return payload.length > room ? PxeStatus.FAILURE : PxeStatus.SUCCESS;
  }

  write(p: Params): number {
    const { network } = this.#context;
    network.useUndi(false);
    if (!this.#open) return PxeStatus.UDP_CLOSED;
    const length = p.u16(14);
    if (length > MAX_WRITE) return PxeStatus.FAILURE;
    const gateway = p.ip(6);
    const { host } = network;
    if (gateway !== 0 && host.router === undefined) host.router = gateway;
    // Port 0 asks for one of the stack's own; 2069 is what Intel's takes.
    const srcPort = p.port(10) || 2069;
    network.listenUdp(srcPort);
    const sent = host.sendUdp({ srcPort, dst: p.ip(2), dstPort: p.port(12), payload: p.memory.bytes(p.far(16), length) });
    return sent ? PxeStatus.SUCCESS : PxeStatus.FAILURE;
  }
}
