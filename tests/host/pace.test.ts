import { describe, expect, it } from 'vitest';
import type { FramePort } from '../../src/host/backends/backend.js';
import type { Sleep, WallClock } from '../../src/host/backends/wall.js';
import { Conductor, type Member, type PacedMachine } from '../../src/host/pace.js';
import { Switch } from '../../src/net/switch.js';
import { Random } from '../support/random.js';

const LATENCY = 1000;

/** A machine without a CPU that obeys a pace: it works in steps, sends when it likes, and halts in between. */
class Sim {
  nowNs = 0;
  readonly arrivals: string[] = [];
  readonly port: FramePort;
  ended = false;
  #workUntil = 0;
  #woken = false;
  #limit = Infinity;
  readonly #random: Random;

  constructor(
    readonly member: Member,
    readonly index: number,
    hub: Switch,
    seed: number,
    readonly untilNs: number,
    pauseNs: number,
  ) {
    this.#random = new Random(seed);
    member.clock.source = () => this.nowNs;
    this.port = member.port(hub.connect({ name: `s${index}` }));
    this.port.onFrame = frame => {
      const sentNs = new DataView(frame.buffer).getFloat64(14);
      this.arrivals.push(`${frame[11]}@${sentNs}>${this.nowNs}`);
      this.#workUntil = this.nowNs + this.#random.below(3000);
      this.#woken = true;
      if (this.#random.below(3) > 0) this.send();
    };
    const timer = member.clock.timer(() => {
      this.#workUntil = this.nowNs + this.#random.below(5000);
      this.send();
      timer.arm(this.nowNs + 1 + this.#random.below(pauseNs));
    });
    timer.arm(this.#random.below(1000));
  }

  send(): void {
    const frame = new Uint8Array(22);
    frame.set([2, 0, 0, 0, 0, this.#random.below(4), 2, 0, 0, 0, 0, this.index]);
    new DataView(frame.buffer).setFloat64(14, this.nowNs);
    this.port.send(frame);
  }

  async run(): Promise<void> {
    const { member } = this;
    const next = (): number => (this.nowNs < this.#workUntil || this.#woken ? this.nowNs : Math.min(member.clock.deadline, this.untilNs));
    const self = this as { nowNs: number };
    const machine: PacedMachine = {
      get nowNs() {
        return self.nowNs;
      },
      get nextNs() {
        return next();
      },
      skipTo: atNs => {
        this.nowNs = Math.max(this.nowNs, atNs);
      },
      limit: atNs => (this.#limit = Math.min(this.#limit, atNs)),
    };
    while (this.nowNs < this.untilNs) {
      if (member.clock.deadline <= this.nowNs) {
        member.clock.fire(this.nowNs);
        continue;
      }
      if (this.nowNs >= member.limitNs) {
        await member.reached(machine);
        continue;
      }
      this.#woken = false;
      this.#limit = Infinity;
      if (this.nowNs >= this.#workUntil) {
        await member.reached(machine);
        continue;
      }
      // Works up to its budget, and sends somewhere on the way.
      const end = Math.min(this.#workUntil, member.clock.deadline, member.limitNs, this.untilNs);
      const at = Math.min(end, this.nowNs + 1 + this.#random.below(500));
      this.nowNs = at;
      if (this.#random.below(4) === 0) this.send();
    }
    this.ended = true;
    member.ended();
  }
}

const simulate = async (seed: number, { wall, hold = false, gatherNs = 0, pauseNs = 20_000, latencyNs = LATENCY }: { wall?: WallClock; hold?: boolean; gatherNs?: number; pauseNs?: number; latencyNs?: number } = {}): Promise<{ sims: Sim[]; conductor: Conductor }> => {
  const conductor = new Conductor({ latencyNs, gatherNs, ...(wall === undefined ? {} : { wall }) });
  const hub = new Switch({ clock: conductor.clock });
  const sims = [1, 2, 3].map(index => new Sim(conductor.add(`m${index}`), index, hub, seed + index, 15 * pauseNs, pauseNs));
  if (hold) conductor.hold();
  await Promise.all(sims.map(sim => sim.run()));
  return { sims, conductor };
};

describe('machines that go through time together', () => {
  it('hear what others sent exactly one latency later, and never in their past', async () => {
    for (let seed = 10; seed < 200; seed += 20) {
      const { sims } = await simulate(seed);
      const arrivals = sims.flatMap(sim => sim.arrivals);
      expect(arrivals.length).toBeGreaterThan(100);
      for (const arrival of arrivals) {
        const [sent, got] = arrival.split('@')[1].split('>').map(Number);
        expect(got - sent, arrival).toBe(LATENCY);
      }
    }
  });

  it('hear streams of frames in groups, in order, and what comes behind a pause at once', async () => {
    const GATHER = 5 * LATENCY;
    const { sims } = await simulate(11, { gatherNs: GATHER });
    for (const { arrivals } of sims) {
      const times = arrivals.map(arrival => arrival.split('@')[1].split('>').map(Number));
      const groups = [...new Set(times.map(([, got]) => got))];
      groups.slice(1).forEach((at, i) => expect(at - groups[i]).toBeGreaterThanOrEqual(GATHER));
      times.forEach(([sent, got], i) => {
        const earlier = groups.findLast(at => at < got) ?? -Infinity;
        expect(got, arrivals[i]).toBe(Math.max(Math.min(...times.filter(([, at]) => at === got).map(([first]) => first)) + LATENCY, earlier + GATHER));
        expect(got - sent).toBeGreaterThanOrEqual(LATENCY);
      });
      expect(times.map(([sent]) => sent)).toEqual(times.map(([sent]) => sent).toSorted((a, b) => a - b));
      expect(groups.length).toBeLessThan(times.length);
    }
  });

  it('do the same with the same seed', async () => {
    const runs = [await simulate(77), await simulate(77)].map(({ sims }) => sims.map(sim => sim.arrivals));
    expect(runs[0]).toEqual(runs[1]);
    expect((await simulate(78)).sims.map(sim => sim.arrivals)).not.toEqual(runs[0]);
  });

  it('wait in real time while something is open outside', async () => {
    let nowMs = 0;
    let slept = 0;
    const wall: WallClock = {
      now: () => nowMs,
      epochSeconds: () => 0,
      turn: () => Promise.resolve(),
      sleep: (ms): Sleep => {
        nowMs += ms;
        slept += ms;
        return { done: Promise.resolve(), cancel: () => {} };
      },
    };
    const { sims } = await simulate(5, { wall, hold: true, pauseNs: 4e6, latencyNs: 2e6 });
    expect(sims.every(({ ended }) => ended)).toBe(true);
    expect(slept).toBeGreaterThan(0);
    expect(slept).toBeLessThan(60);
    const before = slept;
    const free = await simulate(5, { wall, pauseNs: 4e6, latencyNs: 2e6 });
    expect(slept).toBe(before);
    expect(free.sims.map(sim => sim.arrivals.length > 0)).toEqual([true, true, true]);
  });
});
