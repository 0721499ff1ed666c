import type { Bus } from '../bus.js';
import type { AccessSize } from '../devices/device.js';
import type { FirmwareCall } from './call.js';

// PCI BIOS specification 2.1, INT 1Ah AH=B1h.

const ADDRESS = 0xcf8;
const DATA = 0xcfc;
const ENABLE = 0x8000_0000;
const SIGNATURE = 0x2049_4350;
const VERSION = 0x0210;
const CONFIG_MECHANISM_1 = 0x01;

const SUCCESSFUL = 0x00;
const FUNC_NOT_SUPPORTED = 0x81;
const BAD_VENDOR_ID = 0x83;
const DEVICE_NOT_FOUND = 0x86;
const BAD_REGISTER_NUMBER = 0x87;

const FUNCTIONS = 256;

/** The configuration space of bus 0; `fn` is device and function in PCI's 8 bits. */
export interface ConfigAccess {
  read(fn: number, register: number, size: AccessSize): number;
  write(fn: number, register: number, size: AccessSize, value: number): void;
}

/** Configuration mechanism 1. The address register is the operating system's as well: it is as before afterwards. */
export const configAccess = (bus: Bus): ConfigAccess => {
  const select = <T>(fn: number, register: number, access: () => T): T => {
    const before = bus.portRead(ADDRESS, 4);
    bus.portWrite(ADDRESS, 4, (ENABLE + fn * 256 + (register & 0xfc)) >>> 0);
    const result = access();
    bus.portWrite(ADDRESS, 4, before);
    return result;
  };
  return {
    read: (fn, register, size) => select(fn, register, () => bus.portRead(DATA + (register & 3), size)),
    write: (fn, register, size, value) => select(fn, register, () => bus.portWrite(DATA + (register & 3), size, value)),
  };
};

export class PciBios {
  readonly #config: ConfigAccess;

  constructor(bus: Bus) {
    this.#config = configAccess(bus);
  }

  handle(call: FirmwareCall): void {
    const status = this.#execute(call);
    call.ah = status;
    call.carry = status !== SUCCESSFUL;
  }

  #execute(call: FirmwareCall): number {
    const { al } = call;
    switch (al) {
      case 0x01:
      case 0x81:
        call.edx = SIGNATURE;
        call.al = CONFIG_MECHANISM_1;
        call.bx = VERSION;
        call.cl = 0;
        return SUCCESSFUL;
      case 0x02:
      case 0x82: {
        if (call.dx === 0xffff) return BAD_VENDOR_ID;
        const wanted = call.cx * 0x1_0000 + call.dx;
        return this.#find(call, fn => this.#read(fn, 0, 4) === wanted);
      }
      case 0x03:
      case 0x83: {
        const wanted = call.ecx & 0xff_ffff;
        return this.#find(call, fn => this.#read(fn, 0, 2) !== 0xffff && this.#read(fn, 8, 4) >>> 8 === wanted);
      }
      case 0x08:
      case 0x09:
      case 0x0a:
      case 0x88:
      case 0x89:
      case 0x8a: {
        const size = (1 << ((al & 0x0f) - 8)) as AccessSize;
        if (call.di % size !== 0 || call.di > 0xff) return BAD_REGISTER_NUMBER;
        const value = call.bh === 0 ? this.#read(call.bl, call.di, size) : 0xffff_ffff;
        if (size === 1) call.cl = value;
        else if (size === 2) call.cx = value;
        else call.ecx = value;
        return SUCCESSFUL;
      }
      case 0x0b:
      case 0x0c:
      case 0x0d:
      case 0x8b:
      case 0x8c:
      case 0x8d: {
        const size = (1 << ((al & 0x0f) - 0x0b)) as AccessSize;
        if (call.di % size !== 0 || call.di > 0xff) return BAD_REGISTER_NUMBER;
        const value = size === 1 ? call.cl : size === 2 ? call.cx : call.ecx;
        if (call.bh === 0) this.#config.write(call.bl, call.di, size, value);
        return SUCCESSFUL;
      }
      default:
        return FUNC_NOT_SUPPORTED;
    }
  }

  /** The function that is number SI of those that match. */
  #find(call: FirmwareCall, matches: (fn: number) => boolean): number {
    let left = call.si;
    for (let fn = 0; fn < FUNCTIONS; fn++) {
      if (!matches(fn) || left-- > 0) continue;
      call.bh = 0;
      call.bl = fn;
      return SUCCESSFUL;
    }
    return DEVICE_NOT_FOUND;
  }

  #read(fn: number, register: number, size: AccessSize): number {
    return this.#config.read(fn, register, size);
  }
}
