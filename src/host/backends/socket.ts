import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { getServers } from 'node:dns';
import { connect, createServer, isIPv6, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { DatagramHandler, HostDatagrams, HostListener, HostResolver, HostSockets, HostStream, HostStreamEvents, SocketFailure } from './outside.js';

const CONNECT_TIMEOUT_MS = 30_000;
const QUERY_TIMEOUT_MS = 3000;
const MAX_ANSWER_BYTES = 65_535;

const FAILURES: Record<string, SocketFailure> = {
  ECONNREFUSED: 'refused',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
  ETIMEDOUT: 'timeout',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  EHOSTDOWN: 'unreachable',
};

class NodeStream implements HostStream {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
  }

  attach(events: HostStreamEvents): void {
    const socket = this.#socket;
    let failure: SocketFailure | undefined;
    socket.on('data', bytes => events.onData(bytes as Uint8Array));
    socket.on('end', () => events.onEnd());
    socket.on('error', (error: NodeJS.ErrnoException) => (failure = FAILURES[error.code ?? ''] ?? 'error'));
    socket.on('close', () => events.onClose(failure ?? (socket.readableEnded && socket.writableFinished ? undefined : 'reset')));
  }

  write(bytes: Uint8Array, done: () => void): void {
    this.#socket.write(bytes, error => {
      if (error === null || error === undefined) done();
    });
  }

  end(): void {
    this.#socket.end();
  }

  abort(): void {
    this.#socket.resetAndDestroy();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }
}

/** Node's sockets. Open connections and listeners keep the process alive. */
export class NodeSockets implements HostSockets {
  connect(address: string, port: number, events: HostStreamEvents): HostStream {
    const socket = connect({ host: address, port, allowHalfOpen: true });
    const stream = new NodeStream(socket);
    stream.attach(events);
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => socket.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })));
    socket.once('connect', () => {
      socket.setTimeout(0);
      events.onConnect();
    });
    return stream;
  }

  listen(address: string, port: number, onStream: Parameters<HostSockets['listen']>[2]): HostListener {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, socket => {
      const stream = new NodeStream(socket);
      const events = onStream(stream, { address: socket.remoteAddress ?? '0.0.0.0', port: socket.remotePort ?? 0 });
      if (events === undefined) {
        socket.on('error', () => {});
        socket.resetAndDestroy();
        return;
      }
      stream.attach(events);
    });
    const ready = new Promise<{ address: string; port: number }>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, address, () => {
        const bound = server.address();
        resolve({ address, port: bound !== null && typeof bound === 'object' ? bound.port : port });
      });
    });
    ready.catch(() => {});
    server.on('error', () => {});
    return { ready, close: () => void server.close() };
  }

  datagrams(onMessage: DatagramHandler, bind?: { readonly address: string; readonly port: number }): HostDatagrams {
    const socket = createSocket('udp4');
    let open = true;
    socket.on('message', (bytes, from) => onMessage(bytes, from.address, from.port));
    const address = bind?.address ?? '0.0.0.0';
    const ready = new Promise<{ address: string; port: number }>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(bind?.port ?? 0, address, () => resolve({ address, port: socket.address().port }));
    });
    ready.catch(() => {});
    socket.on('error', () => {});
    const close = (): void => {
      if (!open) return;
      open = false;
      socket.close();
    };
    return {
      ready,
      close,
      send: (bytes, to, port) => {
        if (open) socket.send(bytes, port, to, () => {});
      },
    };
  }

  ownAddresses(): readonly string[] {
    return Object.values(networkInterfaces()).flatMap(list => (list ?? []).filter(one => one.family === 'IPv4').map(one => one.address));
  }
}

const splitServer = (server: string): { host: string; port: number } => {
  const match = /^\[(.+)\]:(\d+)$/.exec(server) ?? (isIPv6(server) ? null : /^([^:]+):(\d+)$/.exec(server));
  return match === null ? { host: server, port: 53 } : { host: match[1], port: Number(match[2]) };
};

const answers = (query: Uint8Array, reply: Uint8Array): boolean => reply.length >= 12 && reply[0] === query[0] && reply[1] === query[1] && (reply[2] & 0x80) !== 0;

const queryByUdp = (query: Uint8Array, host: string, port: number): Promise<Uint8Array | undefined> =>
  new Promise(resolve => {
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
    let open = true;
    const finish = (reply: Uint8Array | undefined): void => {
      if (!open) return;
      open = false;
      clearTimeout(timeout);
      socket.close();
      resolve(reply);
    };
    const timeout = setTimeout(() => finish(undefined), QUERY_TIMEOUT_MS);
    socket.on('error', () => finish(undefined));
    socket.on('message', reply => {
      if (answers(query, reply)) finish(reply);
    });
    socket.connect(port, host, () => socket.send(query));
  });

const queryByTcp = (query: Uint8Array, host: string, port: number): Promise<Uint8Array | undefined> =>
  new Promise(resolve => {
    const socket = connect({ host, port });
    const finish = (reply: Uint8Array | undefined): void => {
      resolve(reply);
      socket.destroy();
    };
    let received = Buffer.alloc(0);
    socket.setTimeout(QUERY_TIMEOUT_MS, () => finish(undefined));
    socket.on('error', () => finish(undefined));
    socket.on('close', () => finish(undefined));
    socket.on('connect', () => socket.write(Buffer.concat([Uint8Array.of(query.length >>> 8, query.length & 255), query])));
    socket.on('data', bytes => {
      received = Buffer.concat([received, bytes as Uint8Array]);
      const length = received.length < 2 ? MAX_ANSWER_BYTES : received.readUInt16BE(0);
      if (received.length < 2 + length) return;
      const reply = received.subarray(2, 2 + length);
      finish(answers(query, reply) ? reply : undefined);
    });
  });

/** Asks the servers that the host is set up with, in order: by UDP, and by TCP when the answer was cut. */
export class NodeResolver implements HostResolver {
  readonly #servers: () => readonly string[];

  constructor(servers: () => readonly string[] = getServers) {
    this.#servers = servers;
  }

  async query(message: Uint8Array): Promise<Uint8Array | undefined> {
    const query = message.slice();
    const id = randomInt(0x1_0000);
    query[0] = id >>> 8;
    query[1] = id;
    for (const server of this.#servers()) {
      const { host, port } = splitServer(server);
      let reply = await queryByUdp(query, host, port);
      if (reply !== undefined && (reply[2] & 0x02) !== 0) reply = (await queryByTcp(query, host, port)) ?? reply;
      if (reply === undefined) continue;
      const answer = Uint8Array.from(reply);
      answer.set(message.subarray(0, 2));
      return answer;
    }
    return undefined;
  }
}
