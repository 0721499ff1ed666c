import { createHmac, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { VmletError } from '../../errors.js';
import type { HttpFileService } from '../../pxe/http/files.js';
import type { Signer } from '../../pxe/http/signed.js';

const CHUNK_BYTES = 262_144;
const MAX_CONNECTIONS = 256;

/** HMAC-SHA-256 with a key of this process, or a given one. */
export class HmacSigner implements Signer {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array = randomBytes(32)) {
    this.#key = key;
  }

  sign(text: string): string {
    return createHmac('sha256', this.#key).update(text).digest('hex');
  }
}

/** A real HTTP port in front of a file service. */
export class HttpServerSocket {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Opens the port, any free one for 0. Rejects with ERR_VMLET_CONFIG when it cannot be opened. */
  static async open(service: HttpFileService, address: string, port: number): Promise<HttpServerSocket> {
    const server = createServer({ requestTimeout: 30_000, headersTimeout: 10_000, keepAliveTimeout: 15_000, maxHeaderSize: 16_384 }, (request, response) => {
      void serve(service, request, response);
    });
    server.maxConnections = MAX_CONNECTIONS;
    await new Promise<void>((resolve, reject) => {
      server.once('listening', resolve);
      server.once('error', cause => {
        const code = 'code' in cause ? String(cause.code) : cause.message;
        const why = code === 'EADDRINUSE' ? 'is in use by another program' : code === 'EACCES' ? 'may not be opened without rights' : `cannot be opened: ${code}`;
        reject(new VmletError('ERR_VMLET_CONFIG', `TCP ${address}:${port} ${why}`, { hint: 'choose another port', cause }));
      });
      server.listen({ host: address, port, exclusive: true });
    });
    return new HttpServerSocket(server);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Ends it, running transfers included. */
  async close(): Promise<void> {
    const closed = new Promise<void>(resolve => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }
}

const serve = async (service: HttpFileService, request: IncomingMessage, response: ServerResponse): Promise<void> => {
  const headers: Record<string, string | undefined> = {};
  for (const [name, value] of Object.entries(request.headers)) headers[name] = Array.isArray(value) ? value.join(', ') : value;
  const address = (request.socket.remoteAddress ?? '').replace(/^::ffff:/, '');
  // Nothing that is served takes a body; whoever sends one is cut off.
  request.on('data', () => request.destroy());
  const answer = service.handle({ method: request.method ?? '', target: request.url ?? '', headers, address });
  response.writeHead(answer.status, answer.headers);
  const { body } = answer;
  if (body === undefined || body instanceof Uint8Array) {
    response.end(body);
    return;
  }
  let gone = false;
  const whenGone = new Promise<void>(resolve =>
    response.once('close', () => {
      gone = true;
      resolve();
    }),
  );
  try {
    for (let at = body.start; at < body.end && !gone; ) {
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, body.end - at));
      const length = body.file.read(at, chunk);
      if (length === 0) throw new Error('the file has become shorter while it was served');
      at += length;
      if (!response.write(chunk.subarray(0, length))) {
        let drained = (): void => {};
        await Promise.race([new Promise<void>(resolve => response.once('drain', (drained = resolve))), whenGone]);
        response.off('drain', drained);
      }
    }
    response.end();
  } catch {
    // The promised length cannot be kept: only a broken connection tells that.
    response.destroy();
  } finally {
    body.file.close();
  }
};
