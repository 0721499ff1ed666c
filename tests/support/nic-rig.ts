import { framePair } from '../../src/host/backends/frame.js';
import type { FramePort } from '../../src/host/backends/backend.js';
import { Bus } from '../../src/host/bus.js';
import { ManualClock } from '../../src/host/clock.js';
import { COMMAND_IO, COMMAND_MASTER, COMMAND_MEMORY, PCI_COMMAND, type PciDevice } from '../../src/host/devices/pci-config.js';
import { PciHost } from '../../src/host/devices/pci.js';
import { BufferMemory } from '../../src/host/memory.js';
import { CountingGuestLog } from '../../src/logger.js';
import type { Random } from './random.js';

export const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
export const PEER = Uint8Array.of(0x02, 0, 0, 0, 0, 1);
export const BROADCAST = new Uint8Array(6).fill(0xff);

export interface NicContext {
  mac: Uint8Array;
  port: FramePort;
  clock: ManualClock;
  memory: BufferMemory;
  log: CountingGuestLog;
}

/** A card in a slot with RAM, a wire, and an interrupt line that is watched. */
export const nicRig = <D extends PciDevice>(make: (context: NicContext) => D) => {
  const [port, wire] = framePair();
  const sent: Uint8Array[] = [];
  wire.onFrame = frame => sent.push(frame);
  const context: NicContext = { mac: MAC, port, clock: new ManualClock(), memory: new BufferMemory(new Uint8Array(1 << 20)), log: new CountingGuestLog() };
  const device = make(context);
  const irq = { level: false, rises: 0 };
  const line = {
    set: (level: boolean) => {
      if (level && !irq.level) irq.rises++;
      irq.level = level;
    },
  };
  const host = new PciHost({ bus: new Bus(), msi: { send: () => {} }, log: context.log, pirq: [line, line, line, line] });
  host.add(device);
  device.writeConfig(PCI_COMMAND, COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER, 2);
  return { ...context, device, wire, sent, irq };
};

/** What a contract run needs: random frames come in, and the command register changes. */
export const nicSubject = <D extends PciDevice>(make: (context: NicContext) => D) => {
  const { device, wire, clock } = nicRig(make);
  return {
    device,
    clock,
    poke: (random: Random) => {
      const kind = random.below(20);
      if (kind === 0) (device as unknown as { setLink(up: boolean): void }).setLink(random.below(2) === 1);
      else if (kind === 1) device.writeConfig(PCI_COMMAND, random.below(8), 2);
      else wire.send(Uint8Array.from({ length: random.below(30) === 0 ? random.below(20_000) : 10 + random.below(200) }, () => random.below(256)));
    },
  };
};

/** An IPv4 frame with a TCP segment; checksums are right unless `broken`. */
export const frameTo = (to: Uint8Array, bytes = 60, type = 0x88b5): Uint8Array => {
  const frame = Uint8Array.from({ length: bytes }, (_, i) => (i * 7) & 0xff);
  frame.set(to);
  frame.set(PEER, 6);
  frame.set([type >> 8, type & 0xff], 12);
  return frame;
};
