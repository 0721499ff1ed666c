import type { Clock } from '../host/clock.js';

export type FlowKind = 'nat' | 'publish' | 'dns';

/** One conversation across the edge of the network, for diagnosis. */
export interface Flow {
  readonly id: number;
  readonly kind: FlowKind;
  readonly protocol: 'tcp' | 'udp';
  /** `address:port` */
  readonly guest: string;
  readonly outside: string;
  readonly openedNs: number;
  /** Undefined while it lasts. */
  closedNs: number | undefined;
  state: 'opening' | 'open' | 'closed' | 'refused' | 'blocked' | 'failed';
  /** Why it ended or was refused. */
  reason: string | undefined;
  /** From the guest, and to it. */
  bytesOut: number;
  bytesIn: number;
}

export interface FlowTotals {
  opened: number;
  blocked: number;
  refused: number;
  failed: number;
}

/** The latest flows, ended or not. */
export class FlowLog {
  readonly totals: FlowTotals = { opened: 0, blocked: 0, refused: 0, failed: 0 };
  /** Told when a flow begins and when it ends. */
  onChange: ((flow: Flow) => void) | undefined;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #limit: number;
  #flows: Flow[] = [];
  #next = 1;

  constructor(clock: Pick<Clock, 'now'>, limit = 1000) {
    this.#clock = clock;
    this.#limit = limit;
  }

  get flows(): readonly Flow[] {
    return this.#flows;
  }

  open(about: Pick<Flow, 'kind' | 'protocol' | 'guest' | 'outside'>, state: Flow['state'] = 'opening'): Flow {
    const flow: Flow = { ...about, id: this.#next++, openedNs: this.#clock.now, closedNs: undefined, state, reason: undefined, bytesOut: 0, bytesIn: 0 };
    this.#flows.push(flow);
    if (this.#flows.length > 2 * this.#limit) this.#flows = this.#flows.slice(-this.#limit);
    this.totals.opened++;
    this.onChange?.(flow);
    return flow;
  }

  /** Ends a flow; one that ended already stays as it was. */
  close(flow: Flow, state: 'closed' | 'refused' | 'blocked' | 'failed', reason?: string): void {
    if (flow.closedNs !== undefined) return;
    flow.closedNs = this.#clock.now;
    flow.state = state;
    flow.reason = reason;
    if (state !== 'closed') this.totals[state]++;
    this.onChange?.(flow);
  }
}
