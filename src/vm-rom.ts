// The PXE ROM in a machine: its place in the firmware's memory, its console, its card.
import type { Firmware } from './host/firmware/bios.js';
import { Bda, BDA_START } from './host/firmware/bda.js';
import type { Machine } from './host/machine.js';
import { type PxeRom } from './pxe/rom/rom.js';
import { ROM_BYTES } from './pxe/rom/layout.js';
import type { RomCard } from './pxe/rom/firmware.js';

const PCI_VENDOR = 0x00;
const PCI_REVISION = 0x08;
const PCI_SUBSYSTEM = 0x2c;

/** Puts the ROM of a machine's network card into its firmware, as the boot source `net`. Before the machine starts. */
export const installRom = (rom: PxeRom, firmware: Firmware, machine: Machine, nic = 0, linkUp = true): void => {
  const { memory, keyboard } = firmware;
  const card = (): RomCard => {
    const { device } = machine.board.nics[nic];
    const read = (at: number): number => device.readConfig(at, 4) >>> 0;
    return {
      vendor: read(PCI_VENDOR) & 0xffff,
      device: read(PCI_VENDOR) >>> 16,
      subsystemVendor: read(PCI_SUBSYSTEM) & 0xffff,
      subsystem: read(PCI_SUBSYSTEM) >>> 16,
      revision: read(PCI_REVISION) & 0xff,
      location: machine.board.pciLocation(device),
    };
  };
  const key = (): { scan: number; char: number } | undefined => {
    keyboard.pump();
    const head = memory.u16(Bda.KEY_HEAD);
    if (head === memory.u16(Bda.KEY_TAIL)) return undefined;
    const code = memory.u16(BDA_START + head);
    const next = head + 2 === memory.u16(Bda.KEY_BUFFER_END_PTR) ? memory.u16(Bda.KEY_BUFFER_START_PTR) : head + 2;
    memory.setU16(Bda.KEY_HEAD, next);
    return { scan: code >>> 8, char: code & 0xff };
  };
  let installed: RomCard | undefined;
  rom.install({
    traps: firmware.traps,
    console: { print: text => firmware.video.print(text), key },
    get card() {
      return (installed ??= card());
    },
    wake: () => firmware.poke(),
    block: firmware.reserveLow(ROM_BYTES),
    linkUp: () => linkUp,
  });
  firmware.onTimeOfDay(call => rom.check(call));
  firmware.onPost(() => rom.reset());
  firmware.addBootSource({ name: 'net', title: 'the network', boot: () => rom.boot(memory) });
};
