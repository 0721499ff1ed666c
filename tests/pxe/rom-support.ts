import { existsSync } from 'node:fs';
import type { VirtualClock } from '../../src/host/clock.js';
import { VirtualClock as Clock } from '../../src/host/clock.js';
import { Machine, type MachineExit, type MachineOptions } from '../../src/host/machine.js';
import type { NetworkCard } from '../../src/host/board/pc.js';
import { Capture } from '../../src/net/pcap.js';
import type { BootRule } from '../../src/pxe/booter.js';
import { BootServer, type BootServerOptions, bootStory, NetbootClient, type NetbootClientOptions } from '../../src/vm-netboot.js';
import { VirtualNetwork } from '../../src/vm-network.js';
import type { DhcpServerOptions } from '../../src/pxe/dhcp/server.js';
import { coreModule, TextChar } from '../host/machine-support.js';

export const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);

export interface RomLabOptions {
  rules?: readonly BootRule[];
  files?: ReadonlyMap<string, Uint8Array | string>;
  server?: Partial<BootServerOptions>;
  dhcp?: Partial<DhcpServerOptions>;
  client?: Partial<NetbootClientOptions>;
  machine?: Partial<MachineOptions>;
  order?: readonly string[];
  model?: NetworkCard['model'];
  linkUp?: boolean;
  /** Without servers on the wire. */
  alone?: boolean;
  /** Sees the wire before the machine starts. */
  wire?: (network: VirtualNetwork, clock: VirtualClock) => void;
  capture?: (bytes: Uint8Array) => void;
}

/** A machine that boots from the network by our ROM, with our servers on the wire. */
export class RomLab {
  readonly clock = new Clock();
  readonly network: VirtualNetwork;
  readonly server: BootServer;
  readonly client: NetbootClient;
  readonly machine: Machine;
  readonly serial = new TextChar();
  readonly guestLog: string[] = [];

  constructor(options: RomLabOptions = {}) {
    const { clock } = this;
    this.server = new BootServer({ rules: options.rules ?? [], files: options.files, ...options.server });
    this.network = new VirtualNetwork({ clock, seed: 1, restrict: true, dhcp: options.alone ? false : { ...this.server.dhcp, ...options.dhcp } });
    if (!options.alone) this.server.serve(this.network.gateway!.host);
    const socket = this.network.connect({ name: 'client' });
    const card: NetworkCard = { model: options.model, mac: MAC, port: options.capture ? new Capture(options.capture, clock, 1_767_225_600).pcap(socket, { name: 'client' }) : socket, linkUp: options.linkUp };
    this.client = new NetbootClient({ card, clock, seed: 1, memoryBytes: options.machine?.memoryBytes ?? 64 * 2 ** 20, ...options.client });
    options.wire?.(this.network, clock);
    this.machine = new Machine({
      core: coreModule(),
      memoryBytes: 64 * 2 ** 20,
      boot: { kind: 'firmware', order: options.order ?? ['net'] },
      serial: [this.serial],
      nics: [card],
      clock,
      debugExitPort: 0xf4,
      timeoutNs: 120e9,
      onGuestLog: line => this.guestLog.push(line),
      onFirmware: (firmware, machine) => this.client.install(firmware, machine),
      ...options.machine,
    });
  }

  get story(): string[] {
    return bootStory(this.client.events, this.server.journal.events);
  }

  async run(): Promise<MachineExit> {
    try {
      return await this.machine.run();
    } finally {
      this.server.close();
      this.network.close();
    }
  }

  /** Runs until the serial line has said something, or the machine ends. */
  async until(pattern: RegExp): Promise<MachineExit> {
    const look = (): void => {
      if (pattern.test(this.serial.text)) this.machine.stop();
    };
    this.serial.onText = look;
    return this.run();
  }
}

export const debianFile = (path: string): string | undefined => (existsSync(path) ? path : undefined);
