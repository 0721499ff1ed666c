import { VmletError } from '../errors.js';
import { type AccessSize, type Device, openBus } from './devices/device.js';

const PORTS = 0x1_0000;

/** One attached region of a device. */
interface Window {
  readonly device: Device;
  readonly region: number;
  readonly base: number;
  readonly size: number;
}

/**
 * The system bus: 64 K of I/O ports and the physical address space outside RAM (addresses are integers below 2^52).
 *
 * Addresses that no device claims read as ones; writes there are dropped. An access that crosses the edge of a region is split into
 * bytes, lowest first. Devices may attach and detach at any time, also from within an access.
 */
export class Bus {
  readonly #ports = new Uint16Array(PORTS);
  /** Windows by the number in `#ports`; entry 0 stands for nobody. */
  readonly #portWindows: (Window | undefined)[] = [undefined];
  /** Sorted by base. */
  readonly #mmio: Window[] = [];
  #lastHit: Window | undefined;

  /** Makes `device` answer in its region `regionIndex` from address `base` on. Throws ERR_VMLET_CONFIG when the range is taken or out of bounds. */
  attach(device: Device, regionIndex: number, base: number): void {
    const region = device.regions[regionIndex];
    if (region === undefined) throw new VmletError('ERR_VMLET_CONFIG', `'${device.name}' has no region ${regionIndex}`);
    if (this.#find(device, regionIndex) !== undefined) {
      throw new VmletError('ERR_VMLET_CONFIG', `region ${regionIndex} of '${device.name}' is attached already`);
    }
    this.#insert(region.space, { device, region: regionIndex, base, size: region.size });
  }

  /** Takes a region off the bus; nothing happens when it was not attached. */
  detach(device: Device, regionIndex: number): void {
    const window = this.#find(device, regionIndex);
    if (window === undefined) return;
    if (device.regions[regionIndex].space === 'mmio') {
      this.#mmio.splice(this.#mmio.indexOf(window), 1);
      this.#lastHit = undefined;
    } else {
      this.#portWindows[this.#ports[window.base]] = undefined;
      this.#ports.fill(0, window.base, window.base + window.size);
    }
  }

  /** Attaches a region at another base. When the new range is taken, throws ERR_VMLET_CONFIG and the region stays where it was. */
  move(device: Device, regionIndex: number, base: number): void {
    const old = this.#find(device, regionIndex);
    this.detach(device, regionIndex);
    try {
      this.attach(device, regionIndex, base);
    } catch (error) {
      if (old !== undefined) this.attach(device, regionIndex, old.base);
      throw error;
    }
  }

  /** Where a region is attached, or undefined. */
  baseOf(device: Device, regionIndex: number): number | undefined {
    return this.#find(device, regionIndex)?.base;
  }

  /** Whether nobody answers in the `size` addresses from `base`. */
  isFree(space: 'pio' | 'mmio', base: number, size: number): boolean {
    return this.#occupant(space, base, size) === undefined;
  }

  /** Reads 1, 2 or 4 bytes from I/O port `port` (0 to 0xFFFF). */
  portRead(port: number, size: AccessSize): number {
    const window = this.#portWindows[this.#ports[port]];
    if (window !== undefined) {
      const offset = port - window.base;
      if (offset + size <= window.size) return window.device.read(offset, size, window.region);
    }
    if (size === 1) return 0xff;
    let value = 0;
    for (let i = 0; i < size; i++) value += (port + i < PORTS ? this.portRead(port + i, 1) : 0xff) * 2 ** (8 * i);
    return value;
  }

  /** Writes `value` (unsigned, `size` bytes) to I/O port `port`. */
  portWrite(port: number, size: AccessSize, value: number): void {
    const window = this.#portWindows[this.#ports[port]];
    if (window !== undefined) {
      const offset = port - window.base;
      if (offset + size <= window.size) {
        window.device.write(offset, value, size, window.region);
        return;
      }
    }
    if (size === 1) return;
    for (let i = 0; i < size && port + i < PORTS; i++) this.portWrite(port + i, 1, (value >>> (8 * i)) & 0xff);
  }

  /** Reads 1, 2 or 4 bytes from physical address `phys`. */
  mmioRead(phys: number, size: AccessSize): number {
    const window = this.#hit(phys);
    if (window !== undefined) {
      const offset = phys - window.base;
      if (offset + size <= window.size) return window.device.read(offset, size, window.region);
    } else if (size === 1 || this.#occupant('mmio', phys, size) === undefined) return openBus(size);
    let value = 0;
    for (let i = 0; i < size; i++) value += this.mmioRead(phys + i, 1) * 2 ** (8 * i);
    return value;
  }

  /** Writes `value` (unsigned, `size` bytes) to physical address `phys`. */
  mmioWrite(phys: number, size: AccessSize, value: number): void {
    const window = this.#hit(phys);
    if (window !== undefined) {
      const offset = phys - window.base;
      if (offset + size <= window.size) {
        window.device.write(offset, value, size, window.region);
        return;
      }
    } else if (size === 1 || this.#occupant('mmio', phys, size) === undefined) return;
    for (let i = 0; i < size; i++) this.mmioWrite(phys + i, 1, (value >>> (8 * i)) & 0xff);
  }

  #hit(phys: number): Window | undefined {
    const last = this.#lastHit;
    if (last !== undefined && phys >= last.base && phys - last.base < last.size) return last;
    const window = this.#mmio[this.#firstAbove(phys) - 1];
    if (window === undefined || phys - window.base >= window.size) return undefined;
    this.#lastHit = window;
    return window;
  }

  /** The index of the first MMIO window whose base is above `phys`. */
  #firstAbove(phys: number): number {
    let low = 0;
    let high = this.#mmio.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#mmio[middle].base <= phys) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #find(device: Device, region: number): Window | undefined {
    const windows = device.regions[region]?.space === 'mmio' ? this.#mmio : this.#portWindows;
    return windows.find(window => window !== undefined && window.device === device && window.region === region);
  }

  #occupant(space: 'pio' | 'mmio', base: number, size: number): Window | undefined {
    if (space === 'mmio') {
      const window = this.#mmio[this.#firstAbove(base + size - 1) - 1];
      return window !== undefined && window.base + window.size > base ? window : undefined;
    }
    for (let port = base; port < base + size; port++) {
      const window = this.#portWindows[this.#ports[port]];
      if (window !== undefined) return window;
    }
    return undefined;
  }

  #insert(space: 'pio' | 'mmio', window: Window): void {
    const { device, base, size } = window;
    const range = `${hex(base)}-${hex(base + size - 1)}`;
    const limit = space === 'pio' ? PORTS : 2 ** 52;
    if (!Number.isInteger(base) || base < 0 || size < 1 || base + size > limit) {
      throw new VmletError('ERR_VMLET_CONFIG', `'${device.name}' cannot be attached at ${space} ${range}: no such address`);
    }
    const taken = this.#occupant(space, base, size);
    if (taken !== undefined) {
      throw new VmletError('ERR_VMLET_CONFIG', `'${device.name}' cannot be attached at ${space} ${range}: '${taken.device.name}' is there`, {
        hint: 'give one of the two devices another address',
      });
    }
    if (space === 'mmio') {
      this.#mmio.splice(this.#firstAbove(base), 0, window);
      this.#lastHit = undefined;
      return;
    }
    let slot = this.#portWindows.indexOf(undefined, 1);
    if (slot < 0) slot = this.#portWindows.push(undefined) - 1;
    this.#portWindows[slot] = window;
    this.#ports.fill(slot, base, base + size);
  }
}

const hex = (n: number): string => `0x${n.toString(16)}`;
