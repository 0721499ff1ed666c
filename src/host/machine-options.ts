// How a machine is made, and how its run ends.
import type { BlockBackend, CharBackend, EntropyBackend } from './backends/backend.js';
import type { Seed } from './backends/entropy.js';
import type { WallClock } from './backends/wall.js';
import type { NetworkCard } from './board/pc.js';
import type { Arch } from './boot/linux.js';
import type { BootOptions } from './boot/load.js';
import type { VirtualClock } from './clock.js';
import type { EngineOptions } from './core.js';
import type { CpuProfile } from './cpuid.js';
import type { VirtioConsolePort } from './devices/virtio/console.js';
import type { Firmware } from './firmware/bios.js';
import type { Machine } from './machine.js';
import type { Pace } from './pace.js';

export interface MachineOptions {
  /** The compiled core. */
  core: WebAssembly.Module;
  /** 1 MB to 3 GB, a multiple of 4096. */
  memoryBytes: number;
  cpus?: 1;
  arch?: Arch;
  /** What CPUID reports; `v2` by default. */
  cpu?: CpuProfile;
  seed?: Seed;
  /** How idle time passes: `warp` jumps to the next timer (the default), `realtime` sleeps until it. */
  time?: 'warp' | 'realtime';
  /** The clock's date at power-on, in seconds since 1970. Default: DEFAULT_EPOCH_SECONDS in warp, now in realtime. */
  epochSeconds?: number;
  /** Interpreted by default. */
  engine?: EngineOptions;
  boot: BootOptions;
  /** COM1 to COM4. */
  serial?: readonly CharBackend[];
  disks?: readonly BlockBackend[];
  /** Disks of the IDE controller. */
  ideDisks?: readonly BlockBackend[];
  /** Floppy drives A: and B:, for firmware. */
  floppies?: readonly BlockBackend[];
  cdroms?: readonly BlockBackend[];
  /** Ports of one virtio console device. */
  console?: readonly VirtioConsolePort[];
  /** A virtio entropy device; `true` draws from the seed. */
  rng?: boolean | EntropyBackend;
  nics?: readonly NetworkCard[];
  /** Told of the built-in BIOS before it starts: the moment for ROMs of its owner to put in their services and boot sources. */
  onFirmware?: (firmware: Firmware, machine: Machine) => void;
  /** Goes through time together with other machines. */
  pace?: Pace;
  /** The machine's clock, made before it for what shares its time, such as a network. */
  clock?: VirtualClock;
  debugExitPort?: number;
  debugconPort?: number;
  debugcon?: CharBackend;
  /** What a reset by the guest does; `exit` by default. */
  rebootAction?: 'exit' | 'reset';
  /** Ends the run when virtual time has come this far. */
  timeoutNs?: number;
  onGuestLog?: (line: string) => void;
  /** Awaited at every turn of the event loop while it gives a promise: slow readers of the guest's output. */
  throttle?: () => Promise<void> | undefined;
  wall?: WallClock;
}

export type ResetCause = 'triple-fault' | 'keyboard-controller' | 'port-92' | 'reset-control';

/** How a run ended. */
export interface MachineExit {
  /**
   * `poweroff`: ACPI S5. `halted`: HLT with interrupts off. `timeout`: virtual time is up. `stopped`: the host asked for it.
   * `host-error`: see `error`.
   */
  reason: 'poweroff' | 'reset' | 'debug-exit' | 'halted' | 'timeout' | 'stopped' | 'host-error';
  /** The code of a debug exit: (value << 1) | 1. */
  code?: number;
  cause?: ResetCause;
  error?: unknown;
  instructions: number;
  timeNs: number;
}
