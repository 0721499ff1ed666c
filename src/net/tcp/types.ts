import type { Ipv4 } from '../address.js';
import type { TcpSegment } from './segment.js';

export type TcpState = 'SYN_SENT' | 'SYN_RECEIVED' | 'ESTABLISHED' | 'FIN_WAIT_1' | 'FIN_WAIT_2' | 'CLOSE_WAIT' | 'CLOSING' | 'LAST_ACK' | 'TIME_WAIT' | 'CLOSED';

/** Why a connection ended: both directions were closed; the peer reset it or refused it; it went silent; this side gave it up. */
export type TcpCloseReason = 'closed' | 'reset' | 'refused' | 'timeout' | 'unreachable' | 'aborted';

export interface TcpEvents {
  onConnect?(): void;
  /** Bytes in order. They belong to the receiver of this call, but may be views of larger buffers. */
  onData?(bytes: Uint8Array): void;
  /** The peer closed its direction. */
  onEnd?(): void;
  /** `write` returned false, and now there is room again. */
  onDrain?(): void;
  /** Called once, the last of all. */
  onClose?(reason: TcpCloseReason): void;
}

export interface TcpConnectionOptions {
  /** The window that is offered while nothing waits. Default: 256 KiB. */
  readonly receiveBytes?: number;
  /** `write` returns false beyond it. Default: 256 KiB. */
  readonly sendBytes?: number;
  /** The largest segment this side takes, and sends. Default: 1460. */
  readonly mss?: number;
  /** The window reopens only by `consume`. Default: false, data is consumed when `onData` returns. */
  readonly manualConsume?: boolean;
  /** What is written at one instant of virtual time goes out together, when the clock's timers fire. Default: false, each write goes out at once. */
  readonly gatherWrites?: boolean;
  /** Silence after which the peer is probed, in virtual ns; Infinity for never. Default: 2 h. */
  readonly keepAliveNs?: number;
  /** Repetitions without an answer before the connection is given up. Default: 10, for a SYN 5. */
  readonly retries?: number;
  /** How long the last of a connection waits for stray segments, in virtual ns. Default: 10 s. */
  readonly timeWaitNs?: number;
}

export interface TcpEndpoint {
  readonly address: Ipv4;
  readonly port: number;
}

export interface TcpConnectionStats {
  /** Bytes of the stream that the peer acknowledged, and that were delivered. */
  bytesSent: number;
  bytesReceived: number;
  segmentsSent: number;
  segmentsReceived: number;
  retransmitted: number;
}

/** How a connection reaches the wire and leaves the stack. */
export interface TcpWire {
  /** A segment larger than `mss` is cut by the wire. The payload is copied before it returns. */
  send(segment: TcpSegment, mss: number): void;
  /** Whether the wire takes segments larger than the peer's limit and cuts them. */
  readonly large: boolean;
  /** Does work whose segments go out when it is done. */
  batch(work: () => void): void;
  /** The connection's four numbers are free again. */
  closed(): void;
  /** It waits in TIME_WAIT only. */
  timeWait(): void;
}
