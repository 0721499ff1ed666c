import type { Clock } from '../../host/clock.js';
import { ANY_ADDRESS, BROADCAST_ADDRESS, macBytes } from '../bytes.js';
import { Deadlines, NS_PER_S } from '../deadlines.js';
import type { UdpEndpoint } from '../endpoint.js';
import { blankDhcp, decodeDhcp, DHCP_SERVER_PORT, dhcpType, encodeDhcp, OPT, typeOption } from './codec.js';
import { optionAddress } from './options.js';

const TRIES = 2;
/** Servers look by ping whether an address is free before they offer it; dnsmasq takes three seconds for that. */
const WAIT_NS = 2.5 * NS_PER_S;

export interface RivalSearch {
  readonly clock: Clock;
  /** Port 68, hearing broadcasts; it is closed at the end. */
  readonly endpoint: UdpEndpoint;
  /** The hardware address to ask with. */
  readonly mac: string;
}

/** Which DHCP servers offer addresses here: two DISCOVERs, 2.5 seconds each. Nothing is requested, so offers lapse by themselves. */
export const findDhcpServers = async ({ clock, endpoint, mac }: RivalSearch): Promise<readonly string[]> => {
  const found = new Set<string>();
  const hardware = macBytes(mac) ?? new Uint8Array(6);
  const xid = (Number(`0x${mac.replaceAll(':', '').slice(-8)}`) ^ clock.now) >>> 0;
  endpoint.onMessage = (from, bytes) => {
    const decoded = decodeDhcp(bytes);
    if (!decoded.ok || decoded.value.op !== 'reply' || decoded.value.xid !== xid) return;
    const { value } = decoded;
    if (dhcpType(value) !== 'OFFER' || value.yiaddr === ANY_ADDRESS) return;
    found.add(optionAddress(value.options, OPT.serverId) ?? from.address);
    deadline.arm(clock.now + NS_PER_S / 10);
  };
  const discover = encodeDhcp({ ...blankDhcp('request', hardware, xid), broadcast: true, options: new Map([[OPT.messageType, typeOption('DISCOVER')]]) }).bytes;
  let tries = 0;
  let finish = (): void => {};
  const finished = new Promise<void>(resolve => (finish = resolve));
  const ask = (): void => {
    if (tries++ === TRIES || found.size > 0) return finish();
    endpoint.send({ address: BROADCAST_ADDRESS, port: DHCP_SERVER_PORT }, discover);
    deadline.arm(clock.now + WAIT_NS);
  };
  const deadline = new Deadlines(clock).create(ask);
  try {
    ask();
    await finished;
  } finally {
    endpoint.close();
  }
  return [...found];
};
