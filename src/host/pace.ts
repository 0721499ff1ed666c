import type { FramePort } from './backends/backend.js';
import { NodeWall, type Sleep, type WallClock } from './backends/wall.js';
import { VirtualClock } from './clock.js';
import { Holds } from './holds.js';

/**
 * What a machine obeys that shares wires with others. It executes up to `limitNs`, then awaits `reached`; `next` tells when it would act next:
 * now, or when it is halted at its next timer.
 */
export interface Pace {
  readonly limitNs: number;
  reached(machine: PacedMachine): Promise<void>;
  /** The machine may have work although it was halted. */
  woken(): void;
  /** While held, idle time passes by the wall clock. Returns the release. */
  hold(): () => void;
  readonly held: boolean;
  /** The machine is to leave `reached` at once. */
  release(): void;
  /** The machine has ended. */
  ended(): void;
}

/** What the conductor sees of a machine. */
export interface PacedMachine {
  readonly nowNs: number;
  readonly nextNs: number;
  /** Moves a halted machine's time forward. */
  skipTo(atNs: number): void;
  /** The running machine has to stop at this time. */
  limit(atNs: number): void;
}

export interface ConductorOptions {
  /** How long a frame is under way, in virtual ns: machines may be apart by so much, and the more the faster they run. Default: 50 us. */
  latencyNs?: number;
  /**
   * Frames for one card come at least so far apart, in groups, as from cards that moderate their interrupts: a stream of them would cut turns
   * short. The first behind a pause comes at once. Default: two latencies.
   */
  gatherNs?: number;
  /** Idle time passes by the wall clock. */
  realtime?: boolean;
  wall?: WallClock;
}

const DEFAULT_LATENCY_NS = 50_000;
/** Frames that a wire would cut are under way longer, by what they take at 5 Gbit/s: machines that send much run in longer turns. */
const LARGE_FRAME_BYTES = 1600;
const NS_PER_BYTE = 1.6;
const NS_PER_MS = 1e6;
/** Shorter waits are no waits. */
const MIN_SLEEP_MS = 1;

/** A frame or timer of the wire, at its own time. */
interface WireEvent {
  readonly atNs: number;
  readonly frame: Uint8Array;
  readonly port: FramePort;
}

/** A machine's place among the others. */
export class Member implements Pace {
  readonly clock = new VirtualClock();
  limitNs = 0;
  machine: PacedMachine | undefined;
  /** Resolves what the machine awaits at its limit. */
  go: (() => void) | undefined;
  gone = false;

  constructor(
    readonly conductor: Conductor,
    readonly name: string,
  ) {}

  reached(machine: PacedMachine): Promise<void> {
    this.machine = machine;
    return new Promise(resolve => {
      this.go = resolve;
      this.conductor.arrived(this);
    });
  }

  woken(): void {
    this.conductor.woken(this);
  }

  hold(): () => void {
    return this.conductor.hold();
  }

  get held(): boolean {
    return this.conductor.held;
  }

  release(): void {
    this.conductor.interrupt(this);
  }

  ended(): void {
    if (this.gone) return;
    this.gone = true;
    this.conductor.left(this);
  }

  /** A cable from a card of this machine to a socket on the wire. Frames take `latencyNs` on their way to the machine. */
  port(socket: FramePort): FramePort {
    let sentNs = 0;
    const port: FramePort = {
      onFrame: undefined,
      get carriesOffload() {
        return socket.carriesOffload === true;
      },
      get acceptsOffload() {
        return socket.acceptsOffload === true;
      },
      set acceptsOffload(accepts) {
        socket.acceptsOffload = accepts;
      },
      send: frame => {
        const takesNs = frame.length > LARGE_FRAME_BYTES ? Math.ceil(frame.length * NS_PER_BYTE) : 0;
        sentNs = Math.max(sentNs, this.clock.now + takesNs);
        this.conductor.sent(this, { atNs: sentNs, frame, port: socket });
      },
    };
    const arriving: { atNs: number; frame: Uint8Array }[] = [];
    /** Not before this time. */
    let gatherNs = 0;
    const timer = this.clock.timer(() => {
      const { now } = this.clock;
      let count = 0;
      while (count < arriving.length && arriving[count].atNs <= now) count++;
      gatherNs = now + this.conductor.gatherNs;
      for (const { frame } of arriving.splice(0, count)) port.onFrame?.(frame);
      if (arriving.length > 0) timer.arm(Math.max(arriving[0].atNs, gatherNs));
    });
    socket.onFrame = frame => {
      if (this.gone) return;
      const atNs = this.conductor.clock.now + this.conductor.latencyNs;
      arriving.push({ atNs, frame });
      if (!timer.armed) timer.arm(Math.max(atNs, gatherNs));
      this.conductor.woken(this);
    };
    return port;
  }
}

/**
 * Takes machines through virtual time together, one at a time and always in the same order, so that a lab with one seed has one run. It is a
 * conservative discrete event simulation (Chandy, Misra 1979): what a machine sends reaches others no earlier than the latency of the wire
 * later, so each may run that far beyond the earliest thing that any other may do.
 */
export class Conductor {
  readonly latencyNs: number;
  readonly gatherNs: number;
  /** The time of what lies between the machines: switches, gateways, services. */
  readonly clock = new VirtualClock();
  readonly #members: Member[] = [];
  readonly #wall: WallClock;
  readonly #realtime: boolean;
  #events: WireEvent[] = [];
  #wireNs = 0;
  #runner: Member | undefined;
  /** Machines that have a turn in this round. */
  #turns: Member[] = [];
  readonly #holds = new Holds(() => this.#wake());
  #sleep: Sleep | undefined;
  #busy = false;

  constructor(options: ConductorOptions = {}) {
    this.latencyNs = Math.max(1, Math.floor(options.latencyNs ?? DEFAULT_LATENCY_NS));
    this.gatherNs = options.gatherNs ?? 2 * this.latencyNs;
    this.#realtime = options.realtime ?? false;
    this.#wall = options.wall ?? new NodeWall();
    this.clock.source = () => this.#wireNs;
    this.clock.onArm = () => this.#wake();
  }

  /** Adds a machine; all have to be there before the first one runs. */
  add(name: string): Member {
    const member = new Member(this, name);
    this.#members.push(member);
    return member;
  }

  /** Virtual time of the machine that is furthest. */
  get now(): number {
    return Math.max(this.#wireNs, ...this.#living.map(({ machine }) => machine?.nowNs ?? 0));
  }

  get #living(): Member[] {
    return this.#members.filter(({ gone }) => !gone);
  }

  hold(): () => void {
    return this.#holds.take();
  }

  get held(): boolean {
    return this.#holds.any;
  }

  arrived(member: Member): void {
    if (this.#runner === member) this.#runner = undefined;
    this.#step();
  }

  left(member: Member): void {
    this.#turns = this.#turns.filter(other => other !== member);
    if (this.#runner === member) this.#runner = undefined;
    this.#step();
  }

  /** Lets a waiting machine see that it has to end. */
  interrupt(member: Member): void {
    const { go } = member;
    member.go = undefined;
    go?.();
    this.#wake();
  }

  woken(member: Member): void {
    this.#wake();
    const runner = this.#runner;
    // Another machine has become busy: the one that runs may be too far already, but goes no further.
    if (runner !== undefined && runner !== member) this.#limit(runner, 0);
  }

  #limit(runner: Member, atNs: number): void {
    runner.limitNs = Math.min(runner.limitNs, atNs);
    runner.machine?.limit(runner.limitNs);
  }

  sent(member: Member, event: WireEvent): void {
    this.#events.push(event);
    // An answer may be back after one latency.
    if (this.#runner === member) this.#limit(member, event.atNs + this.latencyNs);
  }

  #wake(): void {
    this.#sleep?.cancel();
  }

  #step(): void {
    if (this.#busy || this.#runner !== undefined) return;
    this.#busy = true;
    try {
      while (this.#runner === undefined && this.#sleep === undefined) {
        const living = this.#living;
        // Machines that were told to end are on their way out.
        if (living.length === 0 || living.some(({ go }) => go === undefined)) return;
        const next = this.#turns.shift();
        if (next !== undefined) this.#give(next);
        else if (!this.#round(living)) return;
      }
    } finally {
      this.#busy = false;
    }
  }

  #give(member: Member): void {
    const { go } = member;
    this.#runner = member;
    member.go = undefined;
    go?.();
  }

  /** Plans the next turns; false when there is nothing to do before something comes from outside. */
  #round(living: Member[]): boolean {
    this.#runWire(living);
    const front = Math.max(this.#wireNs, ...living.map(({ machine }) => machine!.nowNs));
    for (const { machine } of living) machine!.skipTo(Math.min(machine!.nextNs, front));
    const nexts = living.map(({ machine }) => machine!.nextNs);
    const wire = this.#nextOnWire;
    const earliest = Math.min(wire, ...nexts);
    if ((earliest > front && (this.#realtime || this.held)) || earliest === Infinity) {
      void this.#rest(front, earliest, living);
      return false;
    }
    living.forEach((member, i) => {
      let horizon = wire;
      nexts.forEach((at, j) => {
        if (i !== j && at < horizon) horizon = at;
      });
      member.limitNs = horizon + this.latencyNs;
      member.machine!.skipTo(Math.min(nexts[i], member.limitNs));
      if (nexts[i] < member.limitNs) this.#turns.push(member);
    });
    return true;
  }

  get #nextOnWire(): number {
    return Math.min(this.clock.deadline, this.#events.length === 0 ? Infinity : this.#events[0].atNs);
  }

  /** Lets what lies between the machines act, up to the time at which a machine may send again. */
  #runWire(living: Member[]): void {
    // Equal times: in the order of the machines' turns, which is always the same.
    this.#events.sort((a, b) => a.atNs - b.atNs);
    for (;;) {
      const bound = Math.min(...living.map(({ machine }) => machine!.nextNs));
      const at = this.#nextOnWire;
      if (at >= bound || at === Infinity) {
        this.#wireNs = Math.max(this.#wireNs, Math.min(bound, at, ...living.map(({ machine }) => machine!.nowNs)));
        return;
      }
      this.#wireNs = Math.max(this.#wireNs, at);
      if (this.clock.deadline <= at) this.clock.fire(this.#wireNs);
      else {
        const { port, frame } = this.#events.shift()!;
        port.send(frame);
      }
    }
  }

  /** All are idle: time passes as the wall clock goes, until the next timer or until something happens outside. */
  async #rest(front: number, until: number, living: Member[]): Promise<void> {
    const startMs = this.#wall.now();
    const waitMs = until === Infinity ? Infinity : (until - front) / NS_PER_MS;
    // Timers of the host are too coarse for what a wire takes.
    const isShort = waitMs < MIN_SLEEP_MS && !this.#realtime;
    const sleep = isShort ? { done: this.#wall.turn(), cancel: () => {} } : this.#wall.sleep(waitMs);
    this.#sleep = sleep;
    await sleep.done;
    this.#sleep = undefined;
    const passedNs = isShort ? until - front : Math.floor((this.#wall.now() - startMs) * NS_PER_MS);
    const at = Math.min(until, front + passedNs);
    if (this.#wireNs < at && this.#nextOnWire >= at) this.#wireNs = at;
    for (const { machine, gone } of living) if (!gone) machine!.skipTo(Math.min(machine!.nextNs, at));
    this.#step();
  }
}
