import type { Clock } from '../../host/clock.js';
import type { RomCard, RomConsole, RomTraps } from './firmware.js';
import type { RomNetwork } from './network.js';

/** How far a network boot has come: what the ROM does, then what the loader asks of it. */
export type RomStage = 'link' | 'dhcp' | 'menu' | 'boot-server' | 'tftp' | 'loader' | 'kernel';

/** One line of the boot diagnosis. */
export interface RomEvent {
  readonly atNs: number;
  readonly stage: RomStage;
  readonly text: string;
  /** The boot failed here; the code is what firmware prints, such as 'PXE-E51'. */
  readonly failure?: { readonly code: string; readonly reason: string; readonly server?: string };
}

/** What the parts of the ROM share. */
export interface RomContext {
  readonly network: RomNetwork;
  readonly clock: Clock;
  readonly card: RomCard;
  readonly console: () => RomConsole;
  readonly traps: () => RomTraps;
  wake(): void;
  /** Whether the ROM hears and sends frames. */
  setListening(on: boolean): void;
  event(event: Omit<RomEvent, 'atNs'>): void;
  tftpIsOpen(): boolean;
  udpIsOpen(): boolean;
  /** Where the loader came from. */
  bootServer(): string | undefined;
}
