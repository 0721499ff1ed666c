import type { UdpEndpoint, UdpHost } from '../endpoint.js';
import { DHCP_SERVER_PORT, PXE_SERVER_PORT } from './codec.js';
import type { DhcpServer } from './server.js';

export interface AttachedDhcp {
  close(): void;
}

/** Puts a server on open ports: `lease` is port 67 and hears broadcasts, `boot` is port 4011. */
export const attachDhcp = (server: DhcpServer, ports: { readonly lease: UdpEndpoint; readonly boot?: UdpEndpoint }): AttachedDhcp => {
  const serve = (endpoint: UdpEndpoint, channel: 'lease' | 'boot'): void => {
    endpoint.onMessage = (from, bytes) => {
      const reply = server.handle(from, bytes, channel);
      if (reply) endpoint.send(reply.to, reply.bytes, reply.mac);
    };
  };
  serve(ports.lease, 'lease');
  if (ports.boot) serve(ports.boot, 'boot');
  return {
    close() {
      ports.lease.close();
      ports.boot?.close();
    },
  };
};

/** The same on a host of a virtual wire. */
export const serveDhcp = (server: DhcpServer, host: UdpHost): AttachedDhcp => attachDhcp(server, { lease: host.bind(DHCP_SERVER_PORT), boot: host.bind(PXE_SERVER_PORT) });
