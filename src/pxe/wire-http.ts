import type { TcpConnection } from '../net/tcp/connection.js';
import type { TcpStack } from '../net/tcp/stack.js';
import { formatIpv4 } from '../net/address.js';
import { HttpConnection } from './http/connection.js';
import type { HttpFileService } from './http/files.js';

/** Serves HTTP on a port of a station of the virtual wire. Returns what ends it. */
export const serveHttp = (tcp: TcpStack, port: number, service: HttpFileService, address?: number): (() => void) =>
  tcp.listen(
    port,
    incoming => {
      const stream = {
        write: (bytes: Uint8Array): boolean => connection?.write(bytes) ?? true,
        end: (): void => connection?.end(),
      };
      const http = new HttpConnection(service, stream, formatIpv4(incoming.remote.address));
      const connection: TcpConnection | undefined = incoming.accept({
        onData: bytes => http.receive(bytes),
        onDrain: () => http.resume(),
        onEnd: () => connection?.end(),
        onClose: () => http.close(),
      });
    },
    address,
  );
