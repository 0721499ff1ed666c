import type { HostStream, HostStreamEvents, SocketFailure } from '../host/backends/outside.js';
import type { Flow, FlowLog } from './flow.js';
import type { TcpConnection } from './tcp/connection.js';
import type { TcpCloseReason, TcpEvents } from './tcp/types.js';

const FAILURE_TEXT: Record<SocketFailure, string> = {
  refused: 'the other side refused',
  reset: 'the other side reset',
  timeout: 'the other side did not answer',
  unreachable: 'there is no way to the other side',
  error: 'the socket failed',
};

/** Joins a guest's connection and a host's: bytes, backpressure, half-closes and resets go across. */
export class Relay {
  readonly guestEvents: TcpEvents;
  /** Without `onConnect`, which is the owner's. */
  readonly streamEvents: Omit<HostStreamEvents, 'onConnect'>;
  connection: TcpConnection | undefined;
  stream: HostStream | undefined;
  /** The host's side has not come up yet: a failure of it goes to the owner. */
  onFailedOpening: ((failure: SocketFailure) => void) | undefined;
  readonly #flow: Flow;
  readonly #log: FlowLog;
  readonly #done: () => void;
  #streamGone = false;
  #guestGone = false;
  #paused = false;
  #finished = false;

  /** `batch` surrounds what comes from the event loop; `done` is called once when both sides are gone. */
  constructor(flow: Flow, log: FlowLog, batch: (work: () => void) => void, done: () => void) {
    this.#flow = flow;
    this.#log = log;
    this.#done = done;
    this.guestEvents = {
      onConnect: () => {
        if (flow.state === 'opening') flow.state = 'open';
        this.#resume();
      },
      onData: bytes => this.#fromGuest(bytes),
      onEnd: () => this.stream?.end(),
      onDrain: () => this.#resume(),
      onClose: reason => this.#guestClosed(reason),
    };
    this.streamEvents = {
      onData: bytes => batch(() => this.#fromStream(bytes)),
      onEnd: () => batch(() => this.connection?.end()),
      onClose: failure => batch(() => this.#streamClosed(failure)),
    };
  }

  /** The host's side stays silent until the guest's is there. */
  hold(): void {
    this.#paused = true;
    this.stream?.pause();
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.stream?.resume();
  }

  #fromGuest(bytes: Uint8Array): void {
    this.#flow.bytesOut += bytes.length;
    this.stream?.write(bytes, () => this.connection?.consume(bytes.length));
  }

  #fromStream(bytes: Uint8Array): void {
    this.#flow.bytesIn += bytes.length;
    if (this.connection === undefined || this.connection.write(bytes)) return;
    this.#paused = true;
    this.stream?.pause();
  }

  #guestClosed(reason: TcpCloseReason): void {
    this.#guestGone = true;
    if (reason === 'closed') this.#log.close(this.#flow, 'closed');
    else this.#log.close(this.#flow, reason === 'refused' ? 'refused' : 'failed', `the guest's side ended: ${reason}`);
    if (reason !== 'closed' && !this.#streamGone) this.stream?.abort();
    // What still waits in a paused stream is for a guest that has closed.
    else if (this.#paused) this.stream?.resume();
    this.#finish();
  }

  #streamClosed(failure: SocketFailure | undefined): void {
    this.#streamGone = true;
    if (failure !== undefined) this.#log.close(this.#flow, failure === 'refused' ? 'refused' : 'failed', FAILURE_TEXT[failure]);
    if (this.connection === undefined) {
      this.#guestGone = true;
      this.onFailedOpening?.(failure ?? 'reset');
    } else if (failure !== undefined) this.connection.abort();
    this.#finish();
  }

  /** The guest's request is gone before there was a connection. */
  giveUp(reason: string): void {
    this.#guestGone = true;
    this.#log.close(this.#flow, 'failed', reason);
    if (!this.#streamGone) this.stream?.abort();
    this.#finish();
  }

  #finish(): void {
    if (!this.#streamGone || !this.#guestGone || this.#finished) return;
    this.#finished = true;
    this.#done();
  }
}
