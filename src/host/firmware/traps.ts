import type { GuestLog } from '../../logger.js';
import type { Clock, Timer } from '../clock.js';
import type { CpuRecord } from '../core.js';
import { type AccessSize, type Device, openBus, type Region } from '../devices/device.js';
import { type CallKind, FirmwareCall } from './call.js';
import type { LinearMemory } from './linear.js';
import { ROM_SEGMENT, type RomImage } from './rom.js';

/** Whether what a suspended call waits for has come. Asked whenever the CPU idles in the call's wait loop, and before the call goes on. */
export type Ready = () => boolean;

/**
 * A service of the firmware. A plain function answers at once. A generator may `yield` a `Ready`: the guest then idles with interrupts
 * enabled, handlers of interrupts run, virtual time passes, and the generator goes on when `Ready` says so. Registers may be read and written
 * before and behind each `yield`.
 */
export type TrapHandler = (call: FirmwareCall) => void | Generator<Ready, void, void>;

/** The port by which stubs enter the host; no PC had anything there. */
export const TRAP_PORT = 0xb8;
const SUSPENDED = 0x8000;
/** Calls that a guest jumped out of and never comes back to are forgotten when there are more. */
const MAX_SUSPENDED = 64;
const FLAGS_IF_TF = 0x300;
const HLT_END = 2;

interface Service {
  handler: TrapHandler;
  kind: CallKind;
}

interface Suspended {
  call: FirmwareCall;
  steps: Generator<Ready, void, void>;
  ready: Ready;
}

export interface TrapOptions {
  cpu: CpuRecord;
  memory: LinearMemory;
  rom: RomImage;
  clock: Clock;
  log: GuestLog;
}

/**
 * Entry points of the firmware: ROM stubs that push a number and write to a port; the host takes the number off the stack and serves the call
 * with the guest's registers. A stub's other instructions are ordinary code.
 */
export class FirmwareTraps {
  readonly memory: LinearMemory;
  readonly device: Device;
  readonly #cpu: CpuRecord;
  readonly #rom: RomImage;
  readonly #clock: Clock;
  readonly #log: GuestLog;
  readonly #services: Service[] = [];
  readonly #suspended = new Map<number, Suspended>();
  readonly #deadlines = new Set<number>();
  readonly #timer: Timer;
  readonly #waiters: Record<'interrupt' | 'far', number>;
  #nextToken = SUSPENDED;

  constructor(options: TrapOptions) {
    this.#cpu = options.cpu;
    this.memory = options.memory;
    this.#rom = options.rom;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#timer = options.clock.timer(() => this.#nextDeadline());
    this.device = new TrapPort(() => this.#trapped());
    const wait = (...back: number[]) => this.#rom.add([...STI, ...HLT, ...CLI, ...OUT_TRAP, ...back]);
    this.#waiters = { interrupt: wait(...IRET), far: wait(...POPF, ...RETF) };
  }

  /** Registers a service; returns the code that enters it, to be built into a stub. The code changes no register. */
  onTrap(handler: TrapHandler, kind: CallKind = 'inline'): number[] {
    const number = this.#services.push({ handler, kind });
    return [0x68, number & 0xff, number >> 8, ...OUT_TRAP];
  }

  /** An interrupt service routine; returns its offset in segment F000. Its flags are those that the caller gets. */
  interrupt(handler: TrapHandler, offset?: number): number {
    return this.place([...this.onTrap(handler, 'interrupt'), ...IRET], offset);
  }

  /** A routine for far calls; returns its offset in segment F000. Arguments are on `call.stack(4)` and above. */
  far(handler: TrapHandler): number {
    return this.place([...this.onTrap(handler, 'far'), ...POPF, ...RETF]);
  }

  /** Puts code into the ROM, at a fixed offset or where there is room. */
  place(code: readonly number[], offset?: number): number {
    return offset === undefined ? this.#rom.add(code) : this.#rom.fix(offset, code);
  }

  /** Ready at a virtual time. */
  until(atNs: number): Ready {
    this.#deadlines.add(atNs);
    this.#nextDeadline();
    return () => this.#clock.now >= atNs;
  }

  /** The CPU has halted: wakes it when it idles in a call whose time has come. */
  unblock(): boolean {
    if (this.#suspended.size === 0 || this.#cpu.get32('halted') === 0) return false;
    const at = this.#cpu.get32('csBase') + this.#cpu.get32('rip') - ROM_SEGMENT * 16 - HLT_END;
    if (at !== this.#waiters.interrupt && at !== this.#waiters.far) return false;
    const token = this.memory.u16(this.#cpu.get32('ssBase') + (this.#cpu.get32('rsp') & 0xffff));
    if (this.#suspended.get(token)?.ready() !== true) return false;
    this.#cpu.set32('halted', 0);
    return true;
  }

  /** Power-on: nobody waits any more. */
  reset(): void {
    for (const token of [...this.#suspended.keys()]) this.#forget(token);
    this.#deadlines.clear();
    this.#timer.disarm();
  }

  #nextDeadline(): void {
    const { now } = this.#clock;
    let next = Infinity;
    for (const atNs of this.#deadlines) {
      if (atNs <= now) this.#deadlines.delete(atNs);
      else next = Math.min(next, atNs);
    }
    if (next !== Infinity) this.#timer.arm(next);
  }

  #trapped(): void {
    const sp = this.#cpu.get32('ssBase') + (this.#cpu.get32('rsp') & 0xffff);
    const number = this.memory.u16(sp);
    const service = this.#services[number - 1];
    const suspended = this.#suspended.get(number);
    if (service === undefined && suspended === undefined) {
      this.#log.guestError('firmware', `a call of a service that does not exist or has ended: ${number}`);
      return;
    }
    this.#cpu.set32('rsp', ((this.#cpu.get32('rsp') & 0xffff_0000) | ((this.#cpu.get32('rsp') + 2) & 0xffff)) >>> 0);
    if (suspended !== undefined) return this.#resume(number, suspended);
    const call = new FirmwareCall(this.#cpu, this.memory, service.kind);
    const steps = service.handler(call);
    if (steps === undefined) this.#finish(call);
    else this.#advance(call, steps, this.#newToken());
  }

  #resume(token: number, { call, steps, ready }: Suspended): void {
    if (ready()) this.#advance(call, steps, token);
    else this.#suspend(call, token);
  }

  #advance(call: FirmwareCall, steps: Generator<Ready, void, void>, token: number): void {
    const step = steps.next();
    if (step.done === true) {
      this.#suspended.delete(token);
      this.#finish(call);
      return;
    }
    this.#suspended.delete(token);
    if (this.#suspended.size >= MAX_SUSPENDED) this.#forget(this.#suspended.keys().next().value!);
    this.#suspended.set(token, { call, steps, ready: step.value });
    this.#suspend(call, token);
  }

  /** Sends the guest to a loop that idles and then enters again, with the same stack. */
  #suspend(call: FirmwareCall, token: number): void {
    const flags = this.#cpu.flags & ~FLAGS_IF_TF;
    if (call.kind === 'far') call.push(token, ROM_SEGMENT, this.#waiters.far, flags);
    else call.push(token, flags, ROM_SEGMENT, this.#waiters.interrupt);
  }

  #finish(call: FirmwareCall): void {
    if (call.kind === 'interrupt') this.memory.setU16(call.stack(4), call.flags);
    else if (call.kind === 'far') call.push(call.flags);
    else this.#cpu.flags = call.flags;
  }

  #forget(token: number): void {
    this.#suspended.get(token)?.steps.return();
    this.#suspended.delete(token);
  }

  #newToken(): number {
    do this.#nextToken = this.#nextToken === 0xffff ? SUSPENDED : this.#nextToken + 1;
    while (this.#suspended.has(this.#nextToken));
    return this.#nextToken;
  }
}

const STI = [0xfb];
const CLI = [0xfa];
const HLT = [0xf4];
const IRET = [0xcf];
const POPF = [0x9d];
const RETF = [0xcb];
const OUT_TRAP = [0xe6, TRAP_PORT];

class TrapPort implements Device<Record<string, never>> {
  readonly name = 'firmware';
  readonly regions: readonly Region[] = [{ space: 'pio', size: 1 }];
  readonly #onTrap: () => void;

  constructor(onTrap: () => void) {
    this.#onTrap = onTrap;
  }

  read(_offset: number, size: AccessSize): number {
    return openBus(size);
  }

  write(): void {
    this.#onTrap();
  }

  reset(): void {}

  save(): Record<string, never> {
    return {};
  }

  restore(): void {}
}
