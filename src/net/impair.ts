import type { FramePort } from '../host/backends/backend.js';
import type { Clock } from '../host/clock.js';
import { VmletError } from '../errors.js';
import { finishFrame, offloadOf } from './offload.js';
import type { Random } from './random.js';
import { TimerQueue } from './timers.js';

/** What a link does to frames in one direction. Probabilities are from 0 to 1, times in virtual ns. Absent means perfect. */
export interface Impairment {
  readonly loss?: number;
  readonly delayNs?: number;
  /** Up to this much is added to the delay, or taken from it; frames stay in order. */
  readonly jitterNs?: number;
  readonly duplicate?: number;
  /** The share of frames that are held back by `reorderNs`, so that later ones overtake them. */
  readonly reorder?: number;
  /** Default: 1 ms. */
  readonly reorderNs?: number;
  /** In bits per second. */
  readonly bandwidth?: number;
  /** What may wait for the bandwidth; what comes beyond is lost. Default: 256 KiB. */
  readonly queueBytes?: number;
}

export interface LinkStats {
  delivered: number;
  lost: number;
  duplicated: number;
  reordered: number;
  /** Lost because the queue was full. */
  overflowed: number;
}

const DEFAULT_REORDER_NS = 1e6;
const DEFAULT_QUEUE_BYTES = 256 << 10;
/** Frames under way in one direction, whatever the delay. */
const MAX_IN_FLIGHT = 65_536;

/** @throws ERR_VMLET_CONFIG for numbers that mean nothing. */
export const checkImpairment = (impairment: Impairment): Impairment => {
  for (const [name, value] of Object.entries(impairment) as [keyof Impairment, number | undefined][]) {
    if (value === undefined) continue;
    const probability = name === 'loss' || name === 'duplicate' || name === 'reorder';
    if (Number.isFinite(value) && value >= 0 && !(probability && value > 1) && !(name === 'bandwidth' && value === 0)) continue;
    throw new VmletError('ERR_VMLET_CONFIG', `a link cannot have a ${name} of ${value}`, { hint: probability ? 'give a number from 0 to 1' : 'give a positive number' });
  }
  return impairment;
};

/** Whether single frames fare differently; a delay is the same for all. */
const isImperfect = ({ delayNs: _, ...rest }: Impairment): boolean => Object.keys(rest).length > 0;

/** One direction of a cable. The same numbers, the same frames and the same seed give the same deliveries. */
export class Link {
  readonly stats: LinkStats = { delivered: 0, lost: 0, duplicated: 0, reordered: 0, overflowed: 0 };
  readonly #timers: TimerQueue;
  readonly #random: Random | undefined;
  readonly #deliver: (frame: Uint8Array) => void;
  #impairment: Impairment;
  #imperfect = false;
  /** When the last bit that was accepted will have left. */
  #busyUntilNs = 0;
  #lastArrivalNs = 0;
  #inFlight = 0;

  constructor(timers: TimerQueue, random: Random | undefined, impairment: Impairment, deliver: (frame: Uint8Array) => void) {
    this.#timers = timers;
    this.#random = random;
    this.#deliver = deliver;
    this.#impairment = this.#check(impairment);
    this.#imperfect = isImperfect(impairment);
  }

  /** Changes what happens to frames from now on. */
  set impairment(impairment: Impairment) {
    this.#impairment = this.#check(impairment);
    this.#imperfect = isImperfect(impairment);
  }

  get impairment(): Impairment {
    return this.#impairment;
  }

  #check(impairment: Impairment): Impairment {
    const { loss = 0, duplicate = 0, reorder = 0, jitterNs = 0 } = checkImpairment(impairment);
    if (loss + duplicate + reorder + jitterNs > 0 && this.#random === undefined) {
      throw new VmletError('ERR_VMLET_CONFIG', 'a link that loses, doubles, delays or reorders frames by chance needs a source of random numbers');
    }
    return impairment;
  }

  #chance(): number {
    return this.#random?.float() ?? 1;
  }

  transmit(frame: Uint8Array): void {
    // An imperfect cable treats each segment by itself.
    if (this.#imperfect && offloadOf(frame) !== undefined) for (const one of finishFrame(frame)) this.#transmit(one);
    else this.#transmit(frame);
  }

  #transmit(frame: Uint8Array): void {
    const { loss = 0, duplicate = 0 } = this.#impairment;
    if (loss > 0 && this.#chance() < loss) {
      this.stats.lost++;
      return;
    }
    this.#queue(frame);
    if (duplicate > 0 && this.#chance() < duplicate) {
      this.stats.duplicated++;
      this.#queue(frame);
    }
  }

  #queue(frame: Uint8Array): void {
    const { delayNs = 0, jitterNs = 0, reorder = 0, reorderNs = DEFAULT_REORDER_NS, bandwidth, queueBytes = DEFAULT_QUEUE_BYTES } = this.#impairment;
    const { now } = this.#timers;
    let leavesNs = now;
    if (bandwidth !== undefined) {
      const startNs = Math.max(now, this.#busyUntilNs);
      const backlogBytes = ((startNs - now) * bandwidth) / 8e9;
      if (backlogBytes + frame.length > queueBytes && startNs > now) {
        this.stats.overflowed++;
        return;
      }
      leavesNs = startNs + (frame.length * 8e9) / bandwidth;
      this.#busyUntilNs = leavesNs;
    }
    let arrivesNs = leavesNs + delayNs;
    if (jitterNs > 0) arrivesNs += (2 * this.#chance() - 1) * jitterNs;
    arrivesNs = Math.max(leavesNs, this.#lastArrivalNs, Math.ceil(arrivesNs));
    if (reorder > 0 && this.#chance() < reorder) {
      this.stats.reordered++;
      arrivesNs += reorderNs;
    } else {
      this.#lastArrivalNs = arrivesNs;
    }
    if (arrivesNs <= now && this.#inFlight === 0) {
      this.#arrive(frame);
      return;
    }
    if (this.#inFlight >= MAX_IN_FLIGHT) {
      this.stats.overflowed++;
      return;
    }
    this.#inFlight++;
    this.#timers.after(arrivesNs - now, () => {
      this.#inFlight--;
      this.#arrive(frame);
    });
  }

  #arrive(frame: Uint8Array): void {
    this.stats.delivered++;
    this.#deliver(frame);
  }
}

/** A port behind an imperfect cable: `up` is what its user sends, `down` what it receives. */
export const impaired = (
  port: FramePort,
  directions: { readonly up?: Impairment; readonly down?: Impairment },
  context: { readonly clock: Clock; readonly random: Random },
): FramePort & { readonly up: Link; readonly down: Link } => {
  const timers = context.clock instanceof TimerQueue ? context.clock : new TimerQueue(context.clock);
  const up = new Link(timers, context.random, directions.up ?? {}, frame => port.send(frame));
  const down = new Link(timers, context.random, directions.down ?? {}, frame => outer.onFrame?.(frame));
  const outer = { onFrame: undefined as FramePort['onFrame'], send: (frame: Uint8Array) => up.transmit(frame), up, down };
  port.onFrame = frame => down.transmit(frame);
  return outer;
};
