import type { GuestLog } from '../../logger.js';
import type { FramePort } from '../backends/backend.js';
import type { Clock } from '../clock.js';
import type { NicModel } from '../devices/nic-models.js';
import type { PciDevice } from '../devices/pci-config.js';
import { VirtioNet } from '../devices/virtio/net.js';
import { VirtioPci } from '../devices/virtio/pci.js';
import type { GuestMemory } from '../memory.js';

export interface NicParts {
  name: string;
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
  readonly device: PciDevice;
  readonly mac: Uint8Array;
  /** Plugs the cable in or pulls it out. */
  setLink(up: boolean): void;
}

/** Builds a network card of any model. */
export const createNic = (parts: NicParts): Nic => {
  const { name, mac, port, memory, log, rom } = parts;
  const card = new VirtioNet({ name, mac, port });
  const nic: Nic = { device: new VirtioPci(card, { memory, log, rom }), mac, setLink: up => card.setLink(up) };
  if (parts.linkUp === false) nic.setLink(false);
  return nic;
};
