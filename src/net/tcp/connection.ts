import type { Timer } from '../../host/clock.js';
import { NO_BYTES } from '../bytes.js';
import type { TimerQueue } from '../timers.js';
import { CongestionWindow, RttEstimator } from './control.js';
import { Receiver } from './receiver.js';
import { ACK, FIN, NO_OPTIONS, PSH, RST, SYN, type TcpOptions, type TcpSegment } from './segment.js';
import { SendBuffer } from './send-buffer.js';
import { seqAdd, seqDiff, seqLess, seqMax } from './sequence.js';
import type { TcpCloseReason, TcpConnectionOptions, TcpConnectionStats, TcpEndpoint, TcpEvents, TcpState, TcpWire } from './types.js';

// RFC 9293; challenge ACKs: RFC 5961; window scale: RFC 7323.

const DEFAULT_BUFFER = 256 << 10;
const DEFAULT_MSS = 1460;
/** What a peer takes that does not say (RFC 9293, 3.7.1). */
const UNSTATED_MSS = 536;
const LEAST_MSS = 64;
const MAX_SHIFT = 14;
const DEFAULT_KEEP_ALIVE_NS = 7200e9;
const KEEP_ALIVE_INTERVAL_NS = 75e9;
const KEEP_ALIVE_PROBES = 9;
const DEFAULT_RETRIES = 10;
const SYN_RETRIES = 5;
const DEFAULT_TIME_WAIT_NS = 10e9;
const DUPLICATE_ACKS = 3;
/** What a wire that cuts takes at once: an IPv4 packet. */
const LARGE_BYTES = 65_535 - 40;
/** Answers to segments that carry nothing and fit nowhere, at most one per this time. */
const CHALLENGE_INTERVAL_NS = 1e6;

const SENDING: ReadonlySet<TcpState> = new Set(['ESTABLISHED', 'CLOSE_WAIT', 'FIN_WAIT_1', 'CLOSING', 'LAST_ACK']);
/** A reset of what was about to end anyway loses nothing. */
const RESET_REASON: Partial<Record<TcpState, TcpCloseReason>> = { SYN_RECEIVED: 'refused', CLOSING: 'closed', LAST_ACK: 'closed', TIME_WAIT: 'closed' };
const RECEIVING: ReadonlySet<TcpState> = new Set(['ESTABLISHED', 'FIN_WAIT_1', 'FIN_WAIT_2']);

/** One end of a TCP connection, on virtual time. SACK and timestamps are not offered; urgent data is ordinary data. */
export class TcpConnection {
  state: TcpState;
  events: TcpEvents = {};
  readonly stats: TcpConnectionStats = { bytesSent: 0, bytesReceived: 0, segmentsSent: 0, segmentsReceived: 0, retransmitted: 0 };
  readonly #wire: TcpWire;
  readonly #clock: TimerQueue;
  readonly #options: TcpConnectionOptions;
  readonly #sendBytes: number;

  readonly #iss: number;
  #una: number;
  #nxt: number;
  /** The highest number ever sent, plus one. */
  #max: number;
  #sendWindow = 0;
  #wl1 = 0;
  #wl2 = 0;
  #sendShift = 0;
  #mss: number;
  readonly #buffer = new SendBuffer();
  #finWanted = false;
  #finSent = false;
  #waitsForDrain = false;

  #irs = 0;
  readonly #receiver: Receiver;
  #scaling = true;

  readonly #rtt = new RttEstimator();
  readonly #congestion = new CongestionWindow();
  #timedSeq: number | undefined;
  #timedAtNs = 0;
  #retries = 0;
  #duplicateAcks = 0;
  #recover: number;
  #persisting = false;
  readonly #outputTimer: Timer;
  readonly #retransmitTimer: Timer;
  readonly #ackTimer: Timer;
  readonly #idleTimer: Timer;
  #heardNs: number;
  #probes = 0;
  #challengedNs = -Infinity;
  #closeTold = false;

  constructor(
    readonly local: TcpEndpoint,
    readonly remote: TcpEndpoint,
    context: { readonly wire: TcpWire; readonly clock: TimerQueue; readonly iss: number; readonly options: TcpConnectionOptions; readonly syn?: TcpSegment },
  ) {
    const { options, clock, iss, syn } = context;
    this.#wire = context.wire;
    this.#clock = clock;
    this.#options = options;
    this.#receiver = new Receiver(options.receiveBytes ?? DEFAULT_BUFFER);
    this.#sendBytes = options.sendBytes ?? DEFAULT_BUFFER;
    this.#mss = options.mss ?? DEFAULT_MSS;
    this.#iss = this.#una = this.#nxt = this.#max = this.#recover = iss >>> 0;
    this.#heardNs = clock.now;
    this.#outputTimer = clock.timer(() => this.#output());
    this.#retransmitTimer = clock.timer(() => this.#retransmitDue());
    this.#ackTimer = clock.timer(() => this.#sendAck());
    this.#idleTimer = clock.timer(() => this.#idleDue());
    if (syn === undefined) {
      this.state = 'SYN_SENT';
    } else {
      this.state = 'SYN_RECEIVED';
      this.#peerSyn(syn);
    }
  }

  /** Sends the SYN, or the answer to the peer's. */
  open(): void {
    this.#sendSyn();
    this.#armRetransmit();
  }

  /** Bytes written and not yet acknowledged. */
  get buffered(): number {
    return this.#buffer.length;
  }

  get mss(): number {
    return this.#mss;
  }

  /** Takes all bytes, by reference; false asks to wait for `onDrain` before more. After `end` or the connection's end they are dropped. */
  write(bytes: Uint8Array): boolean {
    if (this.#finWanted || this.state === 'CLOSED' || this.state === 'TIME_WAIT') return false;
    this.#buffer.append(bytes);
    if (SENDING.has(this.state)) {
      if (this.#options.gatherWrites !== true) this.#wire.batch(() => this.#output());
      else if (!this.#outputTimer.armed) this.#outputTimer.arm(this.#clock.now);
    }
    if (this.#buffer.length < this.#sendBytes) return true;
    this.#waitsForDrain = true;
    return false;
  }

  /** Closes this direction behind what was written. The peer may go on sending. */
  end(): void {
    if (this.#finWanted || this.state === 'CLOSED') return;
    this.#finWanted = true;
    if (SENDING.has(this.state)) this.#wire.batch(() => this.#output());
  }

  /** Drops the connection; the peer gets a reset. */
  abort(): void {
    if (this.state === 'CLOSED') return;
    this.#wire.batch(() => {
      if (this.state !== 'SYN_SENT' && this.state !== 'TIME_WAIT') this.#send(RST | ACK, this.#emptySeq, NO_BYTES);
      this.#close('aborted');
    });
  }

  /** `count` bytes of those from `onData` are dealt with; for `manualConsume`. */
  consume(count: number): void {
    this.#receiver.consumed(count);
    if (RECEIVING.has(this.state) && this.#receiver.updateWanted(this.#mss)) this.#wire.batch(() => this.#sendAck());
  }

  /** An ICMP error came for this connection (RFC 5461): one that is not up yet fails, others go on. */
  unreachable(): void {
    if (this.state === 'SYN_SENT') this.#close('unreachable');
  }

  /** A router wants packets with at most `payload` bytes of data (RFC 1191). */
  shrink(payload: number): void {
    const mss = Math.max(LEAST_MSS, payload);
    if (mss >= this.#mss) return;
    this.#mss = mss;
    if (!SENDING.has(this.state)) return;
    this.#nxt = this.#una;
    this.#output();
  }

  receive(segment: TcpSegment): void {
    if (this.state === 'CLOSED') return;
    this.stats.segmentsReceived++;
    this.#heardNs = this.#clock.now;
    this.#probes = 0;
    if (this.state === 'SYN_SENT') this.#receiveInSynSent(segment);
    else this.#receiveInOrder(segment);
  }

  #receiveInSynSent(segment: TcpSegment): void {
    const { flags, ack } = segment;
    const acked = (flags & ACK) !== 0;
    if (acked && ack !== seqAdd(this.#iss, 1)) {
      if ((flags & RST) === 0) this.#send(RST, ack, NO_BYTES);
      return;
    }
    if ((flags & RST) !== 0) {
      if (acked) this.#close('refused');
      return;
    }
    if ((flags & SYN) === 0) return;
    this.#peerSyn(segment);
    if (!acked) {
      this.state = 'SYN_RECEIVED';
      this.#nxt = this.#iss;
      this.#sendSyn();
      return;
    }
    this.#established(segment);
    this.#receiver.ackNow = true;
    this.events.onConnect?.();
    this.#settle();
  }

  #established(segment: TcpSegment): void {
    this.state = 'ESTABLISHED';
    if (this.#timedSeq !== undefined) this.#rtt.measured(this.#clock.now - this.#timedAtNs);
    this.#timedSeq = undefined;
    this.#una = segment.ack;
    this.#nxt = seqMax(this.#nxt, this.#una);
    this.#retries = 0;
    this.#retransmitTimer.disarm();
    this.#sendWindow = (segment.flags & SYN) !== 0 ? segment.window : segment.window << this.#sendShift;
    this.#wl1 = segment.seq;
    this.#wl2 = segment.ack;
    this.#armIdle();
  }

  #receiveInOrder(segment: TcpSegment): void {
    const { seq, flags, payload } = segment;
    if (this.state === 'SYN_RECEIVED' && (flags & (SYN | RST | ACK)) === SYN && seq === this.#irs) {
      this.#nxt = this.#iss;
      this.#sendSyn();
      return;
    }
    const length = payload.length + ((flags & SYN) >>> 1) + (flags & FIN);
    if (!this.#receiver.acceptable(seq, length)) {
      if ((flags & RST) === 0) this.#challenge(length > 0);
      return;
    }
    if ((flags & RST) !== 0) {
      if (seq === this.#receiver.next) this.#close(RESET_REASON[this.state] ?? 'reset');
      else this.#challenge(false);
      return;
    }
    if ((flags & SYN) !== 0) {
      this.#challenge(false);
      return;
    }
    if ((flags & ACK) === 0) return;
    const connected = this.state === 'SYN_RECEIVED';
    if (connected) {
      if (segment.ack !== seqAdd(this.#iss, 1)) {
        this.#send(RST, segment.ack, NO_BYTES);
        return;
      }
      this.#established(segment);
    } else if (!this.#acknowledge(segment)) {
      return;
    }
    const data = RECEIVING.has(this.state) ? this.#receiver.accept(seq, payload, flags) : [];
    const ended = RECEIVING.has(this.state) && this.#receiver.complete;
    if (ended) this.#peerFin();
    else if (this.state === 'TIME_WAIT' && (flags & FIN) !== 0) this.#receiver.ackNow = true;
    this.#tell(connected, data, ended);
  }

  /** Calls back when all state is settled, since a callback may write, end or abort. */
  #tell(connected: boolean, data: readonly Uint8Array[], ended: boolean): void {
    if (connected) this.events.onConnect?.();
    if (this.#waitsForDrain && this.#buffer.length <= this.#sendBytes / 2) {
      this.#waitsForDrain = false;
      this.events.onDrain?.();
    }
    for (const bytes of data) {
      if (this.#gone) return;
      this.stats.bytesReceived += bytes.length;
      this.events.onData?.(bytes);
      if (this.#options.manualConsume !== true) this.#receiver.consumed(bytes.length);
    }
    if (this.#gone) return;
    if (ended) this.events.onEnd?.();
    this.#settle();
    if (this.state === 'TIME_WAIT') this.#tellClosed('closed');
  }

  /** A callback may have aborted, which the compiler does not see. */
  get #gone(): boolean {
    return this.state === 'CLOSED';
  }

  /** Sends what may be sent, with the acknowledgement on it if there is something to send. */
  #settle(): void {
    if (this.#gone) return;
    if (SENDING.has(this.state)) this.#output();
    const { ackInNs } = this.#receiver;
    const atNs = this.#clock.now + ackInNs;
    if (ackInNs === 0) this.#sendAck();
    else if (atNs < this.#ackTimer.atNs) this.#ackTimer.arm(atNs);
  }

  #challenge(always: boolean): void {
    const { now } = this.#clock;
    if (!always && now - this.#challengedNs < CHALLENGE_INTERVAL_NS) return;
    this.#challengedNs = now;
    this.#sendAck();
  }

  /** Deals with acknowledgement and window; false ends the segment. */
  #acknowledge(segment: TcpSegment): boolean {
    const { ack, seq } = segment;
    if (seqLess(this.#max, ack)) {
      this.#challenge(false);
      return false;
    }
    const acked = seqDiff(ack, this.#una);
    const window = segment.window << this.#sendShift;
    const windowChanged = window !== this.#sendWindow;
    if (acked >= 0 && (seqLess(this.#wl1, seq) || (this.#wl1 === seq && !seqLess(ack, this.#wl2)))) {
      this.#sendWindow = window;
      this.#wl1 = seq;
      this.#wl2 = ack;
    }
    if (acked > 0) this.#acknowledged(ack, acked);
    else if (acked === 0 && this.#una !== this.#max && !this.#persisting && segment.payload.length === 0 && (segment.flags & FIN) === 0 && !windowChanged) this.#duplicateAck();
    if (this.#persisting && this.#sendWindow > 0) {
      this.#persisting = false;
      this.#retries = 0;
      this.#retransmitTimer.disarm();
    } else if (this.#persisting) {
      // A peer that answers probes with a closed window is alive (RFC 9293, 3.8.6.1).
      this.#retries = 0;
    }
    return !this.#gone;
  }

  #acknowledged(ack: number, acked: number): void {
    const fin = this.#finSent && ack === this.#max;
    const bytes = acked - (fin ? 1 : 0);
    if (this.#timedSeq !== undefined && !seqLess(ack, this.#timedSeq)) {
      this.#rtt.measured(this.#clock.now - this.#timedAtNs);
      this.#timedSeq = undefined;
    }
    this.#rtt.progress();
    this.#buffer.drop(bytes);
    this.stats.bytesSent += bytes;
    this.#una = ack;
    this.#nxt = seqMax(this.#nxt, ack);
    this.#retries = 0;
    this.#duplicateAcks = 0;
    if (!this.#congestion.inRecovery) this.#congestion.acknowledged(acked, this.#mss);
    else if (seqLess(ack, this.#recover)) {
      this.#congestion.partialAck(acked, this.#mss);
      this.#resendFirst();
    } else this.#congestion.leaveRecovery();
    if (this.#una === this.#max) this.#retransmitTimer.disarm();
    else this.#armRetransmit();
    if (fin) this.#finAcknowledged();
  }

  #duplicateAck(): void {
    this.#duplicateAcks++;
    if (this.#congestion.inRecovery) this.#congestion.duplicateAck(this.#mss);
    else if (this.#duplicateAcks === DUPLICATE_ACKS && !seqLess(this.#una, this.#recover)) {
      this.#recover = this.#max;
      this.#congestion.enterRecovery(seqDiff(this.#max, this.#una), this.#mss);
      this.#resendFirst();
      this.#armRetransmit();
    }
  }

  #resendFirst(): void {
    const bytes = Math.min(this.#mss, this.#buffer.length, seqDiff(this.#max, this.#una));
    const last = bytes === this.#buffer.length;
    this.#timedSeq = undefined;
    this.stats.retransmitted++;
    this.#send(ACK | (bytes > 0 ? PSH : 0) | (last && this.#finSent ? FIN : 0), this.#una, this.#buffer.slice(0, bytes));
  }

  #finAcknowledged(): void {
    if (this.state === 'FIN_WAIT_1') this.state = 'FIN_WAIT_2';
    else if (this.state === 'CLOSING') this.#enterTimeWait();
    else if (this.state === 'LAST_ACK') this.#close('closed');
  }

  #peerFin(): void {
    this.#receiver.finish();
    if (this.state === 'ESTABLISHED') this.state = 'CLOSE_WAIT';
    else if (this.state === 'FIN_WAIT_1') this.state = 'CLOSING';
    else this.#enterTimeWait();
  }

  #enterTimeWait(): void {
    this.state = 'TIME_WAIT';
    this.#retransmitTimer.disarm();
    this.#idleTimer.arm(this.#clock.now + (this.#options.timeWaitNs ?? DEFAULT_TIME_WAIT_NS));
    this.#wire.timeWait();
  }

  /** May a SYN with this sequence number start anew what waits here (RFC 9293, 3.6.1)? */
  reusable(seq: number): boolean {
    return this.state === 'TIME_WAIT' && seqLess(this.#receiver.next, seq);
  }

  /** Ends a TIME_WAIT early. */
  forget(): void {
    if (this.state === 'TIME_WAIT') this.#close('closed');
  }

  #peerSyn(segment: TcpSegment): void {
    const { options } = segment;
    this.#irs = segment.seq;
    this.#receiver.start(segment.seq);
    this.#mss = Math.max(LEAST_MSS, Math.min(this.#mss, options.mss ?? UNSTATED_MSS));
    if (options.windowScale === undefined) this.#receiver.shift = 0;
    else this.#sendShift = Math.min(MAX_SHIFT, options.windowScale);
    this.#scaling = options.windowScale !== undefined;
    this.#sendWindow = segment.window;
  }

  #sendSyn(): void {
    const options: TcpOptions = { mss: this.#options.mss ?? DEFAULT_MSS };
    if (this.#scaling) options.windowScale = this.#receiver.shift;
    const answer = this.state === 'SYN_RECEIVED';
    if (this.#retries === 0 && this.#max === this.#iss) {
      this.#timedSeq = seqAdd(this.#iss, 1);
      this.#timedAtNs = this.#clock.now;
    } else this.#timedSeq = undefined;
    this.#nxt = seqAdd(this.#iss, 1);
    this.#max = this.#nxt;
    this.#transmit(SYN | (answer ? ACK : 0), this.#iss, this.#receiver.firstWindow, options, NO_BYTES);
  }

  #send(flags: number, seq: number, payload: Uint8Array): void {
    const window = this.state === 'SYN_SENT' ? 0 : this.#receiver.offer(this.#mss);
    if ((flags & ACK) !== 0) {
      this.#receiver.acknowledged();
      this.#ackTimer.disarm();
    }
    this.#transmit(flags, seq, window, NO_OPTIONS, payload);
  }

  #transmit(flags: number, seq: number, window: number, options: TcpOptions, payload: Uint8Array): void {
    this.stats.segmentsSent++;
    const ack = (flags & ACK) !== 0 ? this.#receiver.next : 0;
    this.#wire.send({ srcPort: this.local.port, dstPort: this.remote.port, seq, ack, flags, window, urgent: 0, options, payload }, this.#mss);
  }

  /**
   * The number of a segment without data: the highest sent, as a peer that got it takes nothing older, but no further than its window.
   * `#nxt` goes back at a timeout.
   */
  get #emptySeq(): number {
    const edge = seqAdd(this.#una, this.#sendWindow);
    return seqLess(edge, this.#max) ? edge : this.#max;
  }

  #sendAck(): void {
    if (!this.#gone) this.#send(ACK, this.#emptySeq, NO_BYTES);
  }

  #output(): void {
    const end = seqAdd(this.#una, this.#buffer.length);
    const window = Math.floor(Math.min(this.#sendWindow, this.#congestion.bytes));
    const burst = this.#wire.large ? Math.max(1, Math.floor(LARGE_BYTES / this.#mss)) * this.#mss : this.#mss;
    while (!this.#gone) {
      const inFlight = seqDiff(this.#nxt, this.#una);
      const waiting = Math.max(0, seqDiff(end, this.#nxt));
      const count = Math.max(0, Math.min(waiting, burst, window - inFlight));
      // RFC 9293, 3.8.6.2.1: no small segment while the rest would not fit and something is under way.
      if (count > 0 && count < Math.min(waiting, this.#mss) && inFlight > 0) break;
      const fin = this.#finWanted && count === waiting && !(this.#finSent && seqLess(end, this.#nxt));
      if (count === 0 && !fin) break;
      this.#outputOne(inFlight, count, fin, count === waiting);
    }
    if (this.#gone) return;
    if (this.#nxt !== this.#una) {
      if (!this.#retransmitTimer.armed || this.#persisting) this.#armRetransmit();
      this.#persisting = false;
    } else if (this.#buffer.length > 0 && !this.#retransmitTimer.armed) {
      this.#persisting = true;
      this.#armRetransmit();
    }
  }

  #outputOne(offset: number, count: number, fin: boolean, last: boolean): void {
    const seq = this.#nxt;
    const payload = this.#buffer.slice(Math.min(offset, this.#buffer.length), count);
    this.#nxt = seqAdd(seq, count + (fin ? 1 : 0));
    if (seqLess(seq, this.#max)) this.stats.retransmitted++;
    else if (this.#timedSeq === undefined) {
      this.#timedSeq = this.#nxt;
      this.#timedAtNs = this.#clock.now;
    }
    this.#max = seqMax(this.#max, this.#nxt);
    if (fin && !this.#finSent) {
      this.#finSent = true;
      if (this.state === 'ESTABLISHED') this.state = 'FIN_WAIT_1';
      else if (this.state === 'CLOSE_WAIT') this.state = 'LAST_ACK';
    }
    this.#send(ACK | (last && count > 0 ? PSH : 0) | (fin ? FIN : 0), seq, payload);
  }

  #armRetransmit(): void {
    this.#retransmitTimer.arm(this.#clock.now + this.#rtt.rtoNs);
  }

  #retransmitDue(): void {
    if (this.#una === this.#max && !this.#persisting) return;
    const opening = this.state === 'SYN_SENT' || this.state === 'SYN_RECEIVED';
    if (++this.#retries > (this.#options.retries ?? (opening ? SYN_RETRIES : DEFAULT_RETRIES))) {
      if (!opening) this.#send(RST | ACK, this.#emptySeq, NO_BYTES);
      this.#close('timeout');
      return;
    }
    this.#rtt.backOff();
    this.#timedSeq = undefined;
    if (opening) {
      this.stats.retransmitted++;
      this.#sendSyn();
    } else if (this.#persisting) {
      this.#probe();
    } else {
      this.#congestion.timeout(seqDiff(this.#max, this.#una), this.#mss);
      this.#recover = this.#max;
      this.#duplicateAcks = 0;
      if (this.#sendWindow === 0) this.#resendFirst();
      else {
        this.#nxt = this.#una;
        this.#output();
      }
    }
    this.#armRetransmit();
  }

  /** One byte into a closed window. */
  #probe(): void {
    if (this.#buffer.length === 0) return;
    this.#max = seqMax(this.#max, seqAdd(this.#una, 1));
    this.#send(ACK | PSH, this.#una, this.#buffer.slice(0, 1));
  }

  #armIdle(): void {
    const inNs = this.#options.keepAliveNs ?? DEFAULT_KEEP_ALIVE_NS;
    if (inNs !== Infinity) this.#idleTimer.arm(Math.max(this.#clock.now + 1, this.#heardNs + inNs));
  }

  #idleDue(): void {
    if (this.state === 'TIME_WAIT') {
      this.#close('closed');
      return;
    }
    const limitNs = this.#options.keepAliveNs ?? DEFAULT_KEEP_ALIVE_NS;
    if (this.#clock.now - this.#heardNs < limitNs) {
      this.#armIdle();
      return;
    }
    if (this.#probes++ >= KEEP_ALIVE_PROBES) {
      this.#send(RST | ACK, this.#emptySeq, NO_BYTES);
      this.#close('timeout');
      return;
    }
    this.#send(ACK, seqAdd(this.#una, -1), NO_BYTES);
    this.#idleTimer.arm(this.#clock.now + Math.min(limitNs, KEEP_ALIVE_INTERVAL_NS));
  }

  #close(reason: TcpCloseReason): void {
    if (this.state === 'CLOSED') return;
    this.state = 'CLOSED';
    for (const timer of [this.#outputTimer, this.#retransmitTimer, this.#ackTimer, this.#idleTimer]) timer.disarm();
    this.#buffer.clear();
    this.#receiver.clear();
    this.#wire.closed();
    this.#tellClosed(reason);
  }

  #tellClosed(reason: TcpCloseReason): void {
    if (this.#closeTold) return;
    this.#closeTold = true;
    this.events.onClose?.(reason);
  }
}
