// Retransmission timeout: RFC 6298. Congestion control: RFC 5681 with the recovery of RFC 6582.

const GRANULARITY_NS = 1e6;
const FIRST_RTO_NS = 1e9;
export const LEAST_RTO_NS = 200e6;
const MOST_RTO_NS = 60e9;

/** Round trip times, smoothed, and the timeout that follows from them. */
export class RttEstimator {
  #smoothedNs: number | undefined;
  #variationNs = 0;
  #baseNs = FIRST_RTO_NS;
  rtoNs = FIRST_RTO_NS;

  measured(rttNs: number): void {
    if (this.#smoothedNs === undefined) {
      this.#smoothedNs = rttNs;
      this.#variationNs = rttNs / 2;
    } else {
      this.#variationNs = 0.75 * this.#variationNs + 0.25 * Math.abs(this.#smoothedNs - rttNs);
      this.#smoothedNs = 0.875 * this.#smoothedNs + 0.125 * rttNs;
    }
    this.#baseNs = Math.min(MOST_RTO_NS, Math.max(LEAST_RTO_NS, this.#smoothedNs + Math.max(GRANULARITY_NS, 4 * this.#variationNs)));
    this.rtoNs = this.#baseNs;
  }

  backOff(): void {
    this.rtoNs = Math.min(MOST_RTO_NS, 2 * this.rtoNs);
  }

  /** The peer made progress: what was backed off returns. */
  progress(): void {
    this.rtoNs = this.#baseNs;
  }
}

/** How much may be under way. Without a loss there is no bound, since a virtual wire has no congestion of its own. */
export class CongestionWindow {
  bytes = Infinity;
  #threshold = Infinity;
  inRecovery = false;

  /** A timeout with `inFlight` bytes unacknowledged. */
  timeout(inFlight: number, mss: number): void {
    this.#threshold = Math.max(inFlight / 2, 2 * mss);
    this.bytes = mss;
    this.inRecovery = false;
  }

  /** Three duplicate acknowledgements. */
  enterRecovery(inFlight: number, mss: number): void {
    this.#threshold = Math.max(inFlight / 2, 2 * mss);
    this.bytes = this.#threshold + 3 * mss;
    this.inRecovery = true;
  }

  duplicateAck(mss: number): void {
    this.bytes += mss;
  }

  /** An acknowledgement of `acked` bytes that does not end the recovery. */
  partialAck(acked: number, mss: number): void {
    this.bytes = Math.max(mss, this.bytes - acked + mss);
  }

  leaveRecovery(): void {
    this.bytes = this.#threshold;
    this.inRecovery = false;
  }

  acknowledged(acked: number, mss: number): void {
    if (this.bytes === Infinity) return;
    this.bytes += this.bytes < this.#threshold ? Math.min(acked, mss) : (mss * mss) / this.bytes;
  }
}
