import type { MsiSink } from '../irq.js';
import type { AccessSize, Device, Region } from './device.js';

// Intel SDM vol. 3, 11.6 (interprocessor interrupts, destinations) and 11.11 (message signalled interrupts).

export const DELIVERY_FIXED = 0;
export const DELIVERY_LOWEST = 1;
export const DELIVERY_SMI = 2;
export const DELIVERY_NMI = 4;
export const DELIVERY_INIT = 5;
export const DELIVERY_SIPI = 6;
export const DELIVERY_EXTINT = 7;

/** A destination of all ones: in xAPIC messages, and in x2APIC ones. */
export const BROADCAST = 0xff;
export const BROADCAST_X2 = 0xffff_ffff;

export const MSI_BASE = 0xfee0_0000;
const MSI_WINDOW = 0xfff0_0000;
const MSI_LOGICAL = 0x4;
const MSI_REDIRECT = 0x8;
const MSI_LEVEL = 0x8000;

/** What the APIC bus knows of a local APIC. */
export interface ApicTarget {
  /** Whether a message with this destination is for it; `wide` when the destination is a 32-bit x2APIC one. */
  matches(destination: number, logical: boolean, wide: boolean): boolean;
  /** Its arbitration priority: among equals in a lowest-priority message the smallest wins. */
  readonly arbitrationPriority: number;
  /** Takes a message; false when it cannot (software-disabled and not NMI, INIT or SIPI). */
  deliver(mode: number, vector: number, level: boolean): boolean;
  /** Whether it takes fixed interrupts at all. */
  readonly accepting: boolean;
}

/** What wants to hear of the end of level-triggered interrupts: an I/O APIC. */
export interface EoiListener {
  endOfInterrupt(vector: number): void;
}

/** Carries interrupt messages between I/O APICs, message-signalled devices and local APICs. */
export class ApicBus implements MsiSink {
  readonly #targets: ApicTarget[] = [];
  readonly #listeners: EoiListener[] = [];

  /** Connects a local APIC; called by its constructor. The order is that of the CPUs. */
  addTarget(target: ApicTarget): void {
    this.#targets.push(target);
  }

  addEoiListener(listener: EoiListener): void {
    this.#listeners.push(listener);
  }

  /** A message-signalled interrupt: a write of `data` to `addressLo` in the 1 MB at 0xFEE00000. Writes elsewhere are dropped. */
  send(addressLo: number, _addressHi: number, data: number): void {
    if ((addressLo & MSI_WINDOW) >>> 0 !== MSI_BASE) return;
    const mode = (data >> 8) & 7;
    const redirect = (addressLo & MSI_REDIRECT) !== 0 && mode === DELIVERY_FIXED;
    this.deliver((addressLo >>> 12) & 0xff, (addressLo & MSI_LOGICAL) !== 0, redirect ? DELIVERY_LOWEST : mode, data & 0xff, (data & MSI_LEVEL) !== 0, false);
  }

  /**
   * Delivers a message to every local APIC that `destination` names (8 bits, or 32 when `wide`), or for the lowest-priority mode to
   * one of them. Returns whether any took it.
   */
  deliver(destination: number, logical: boolean, mode: number, vector: number, level: boolean, wide: boolean): boolean {
    const targets = this.#targets;
    if (mode === DELIVERY_LOWEST) {
      let best: ApicTarget | undefined;
      for (let i = 0; i < targets.length; i++) {
        const target = targets[i];
        if (!target.accepting || !target.matches(destination, logical, wide)) continue;
        if (best === undefined || target.arbitrationPriority < best.arbitrationPriority) best = target;
      }
      return best !== undefined && best.deliver(DELIVERY_FIXED, vector, level);
    }
    let taken = false;
    for (let i = 0; i < targets.length; i++) {
      const target = targets[i];
      if (target.matches(destination, logical, wide) && target.deliver(mode, vector, level)) taken = true;
    }
    return taken;
  }

  /** Delivers to all local APICs, without `except` when it is given: the shorthands of the ICR. */
  deliverAll(except: ApicTarget | undefined, mode: number, vector: number, level: boolean): void {
    const targets = this.#targets;
    for (let i = 0; i < targets.length; i++) if (targets[i] !== except) targets[i].deliver(mode, vector, level);
  }

  /** A level-triggered interrupt of `vector` has ended on some CPU. */
  broadcastEoi(vector: number): void {
    const listeners = this.#listeners;
    for (let i = 0; i < listeners.length; i++) listeners[i].endOfInterrupt(vector);
  }
}

/** The page at 0xFEE00000 of a machine with several CPUs: each sees its own local APIC there. It has no state of its own. */
export class ApicWindow implements Device {
  readonly regions: readonly Region[] = [{ space: 'mmio', size: 4096 }];
  readonly #current: () => Device;

  /** `current` gives the local APIC of the CPU that is running. */
  constructor(
    current: () => Device,
    readonly name = 'lapic-window',
  ) {
    this.#current = current;
  }

  read(offset: number, size: AccessSize): number {
    return this.#current().read(offset, size, 0);
  }

  write(offset: number, value: number, size: AccessSize): void {
    this.#current().write(offset, value, size, 0);
  }

  reset(): void {}

  save(): object {
    return {};
  }

  restore(_state: object): void {}
}
