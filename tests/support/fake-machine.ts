import { ManualClock } from '../../src/host/clock.js';
import type { MachineExit, MachineOptions } from '../../src/host/machine.js';
import type { MachineLike, VMInternals } from '../../src/vm.js';
import type { PreparedGuest } from '../../src/vm-guest.js';
import { agentPath } from './native-agent.js';
import { type ChildProcess, spawn } from 'node:child_process';

/** A machine without a CPU: its guest is a script of the test, or the agent running on the host. */
export class FakeMachine implements MachineLike {
  readonly clock = new ManualClock();
  readonly typed: Uint8Array[] = [];
  readonly events: string[] = [];
  instructions = 0;
  running = false;
  #resolve: ((exit: MachineExit) => void) | undefined;
  #exit: Omit<MachineExit, 'instructions' | 'timeNs'> | undefined;
  #child: ChildProcess | undefined;
  #wake: (() => void) | undefined;
  #fromGuest: Uint8Array[] = [];

  constructor(
    readonly options: MachineOptions,
    readonly script: (machine: FakeMachine) => void,
  ) {
    options.serial?.[0]?.attach({
      receive: data => {
        this.typed.push(data.slice());
        this.onTyped(data);
        return data.length;
      },
    });
  }

  /** Told of what is typed on the serial line. */
  onTyped: (data: Uint8Array) => void = () => {};

  get nowNs(): number {
    return this.clock.now;
  }

  get typedText(): string {
    return Buffer.concat(this.typed).toString();
  }

  run(): Promise<MachineExit> {
    this.running = true;
    return new Promise(resolve => {
      this.#resolve = resolve;
      if (this.#exit) this.end(this.#exit);
      else setImmediate(() => this.script(this));
    });
  }

  /** Connects the agent, run on the host, to its port. */
  startAgent(): void {
    const port = this.options.console!.find(({ name }) => name === 'org.vmlet.agent')!.backend;
    const child = spawn(agentPath('amd64'), [], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child = child;
    child.stdin!.on('error', () => {});
    child.stdout!.on('data', (data: Buffer) => {
      this.#fromGuest.push(new Uint8Array(data));
      this.#deliver(port);
    });
    port.attach({
      receive: data => {
        child.stdin!.write(data.slice());
        return data.length;
      },
    });
    this.#wake = () => this.#deliver(port);
  }

  #deliver(port: { write(data: Uint8Array): void }): void {
    while (this.running && this.#fromGuest.length > 0) port.write(this.#fromGuest.shift()!);
  }

  say(text: string): void {
    this.options.serial![0].write(new TextEncoder().encode(text));
  }

  end(exit: Omit<MachineExit, 'instructions' | 'timeNs'>): void {
    this.#exit ??= exit;
    this.#child?.kill('SIGKILL');
    this.#resolve?.({ ...this.#exit, instructions: this.instructions, timeNs: this.nowNs });
  }

  stop(): void {
    this.end({ reason: 'stopped' });
  }

  pause(): Promise<void> {
    this.running = false;
    return Promise.resolve();
  }

  resume(): void {
    if (this.running) return;
    this.running = true;
    this.#wake?.();
  }

  powerButton(): void {
    this.events.push('power button');
  }

  requestYield(): void {}

  hold(): () => void {
    this.events.push('hold');
    return () => this.events.push('release');
  }

  stateHash(): string {
    return 'f'.repeat(64);
  }

  registers(): Record<string, unknown> {
    return { rip: 0x1234n };
  }
}

/** Machines for a VM, made of a script; the last one is at `made`. */
export const fakeMachines = (script: (machine: FakeMachine) => void): VMInternals & { made: FakeMachine[] } => {
  const made: FakeMachine[] = [];
  const guest: PreparedGuest = { boot: { kind: 'kernel', kernel: new Uint8Array(0) }, arch: 'x86_64', image: undefined, cmdline: 'console=ttyS0' };
  return {
    made,
    core: () => Promise.resolve(undefined as unknown as WebAssembly.Module),
    prepare: () => Promise.resolve(guest),
    createMachine: options => {
      const machine = new FakeMachine(options, script);
      made.push(machine);
      return machine;
    },
  };
};
