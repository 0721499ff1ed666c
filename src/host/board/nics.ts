import type { GuestLog } from '../../logger.js';
import type { FramePort } from '../backends/backend.js';
import type { Clock } from '../clock.js';
import { E1000 } from '../devices/net/e1000.js';
import { Rtl8139 } from '../devices/net/rtl8139.js';
import type { NicModel } from '../devices/nic-models.js';
import type { PciDevice } from '../devices/pci-config.js';
import { VirtioNet } from '../devices/virtio/net.js';
import { VirtioPci } from '../devices/virtio/pci.js';
import type { GuestMemory } from '../memory.js';

export interface NicParts {
  name: string;
  /** virtio by default. */
  model?: NicModel;
  mac: Uint8Array;
  port: FramePort;
  linkUp?: boolean;
  rom?: Uint8Array;
  clock: Clock;
  memory: GuestMemory;
  log: GuestLog;
}

/** A network card in its slot. */
export interface Nic {
  readonly model: NicModel;
  readonly device: PciDevice;
  readonly mac: Uint8Array;
  /** Plugs the cable in or pulls it out. */
  setLink(up: boolean): void;
}

/** Builds a network card of any model. */
export const createNic = (parts: NicParts): Nic => {
  const { model = 'virtio', mac } = parts;
  const { device, setLink } = MAKERS[model](parts);
  if (parts.linkUp === false) setLink(false);
  return { model, device, mac, setLink };
};

const MAKERS: Record<NicModel, (parts: NicParts) => { device: PciDevice; setLink: (up: boolean) => void }> = {
  virtio: ({ name, mac, port, memory, log, rom }) => {
    const card = new VirtioNet({ name, mac, port });
    return { device: new VirtioPci(card, { memory, log, rom }), setLink: up => card.setLink(up) };
  },
  e1000: parts => {
    const device = new E1000(parts);
    return { device, setLink: up => device.setLink(up) };
  },
  rtl8139: parts => {
    const device = new Rtl8139(parts);
    return { device, setLink: up => device.setLink(up) };
  },
};
