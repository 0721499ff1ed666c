// Explains a boot exchange that was captured: what happened, and which of the known mistakes are in it. Pure, over decoded datagrams.
import { ANY_ADDRESS, hexOf, printable } from './bytes.js';
import { describeClient, type BootClient, type Booter } from './booter.js';
import { bootOf } from './dhcp/client.js';
import { decodeDhcp, DHCP_CLIENT_PORT, DHCP_SERVER_PORT, dhcpType, hardwareText, OPT, PXE_SERVER_PORT, type DhcpMessage } from './dhcp/codec.js';
import { optionAddress, optionText } from './dhcp/options.js';
import { addressText, type UdpAddress } from './endpoint.js';
import { decodeTftp, optionNumber, TFTP_DEFAULT_BLKSIZE, TFTP_OVERHEAD_BYTES, TFTP_PORT, type TftpRequest } from './tftp/codec.js';

/** One UDP datagram of a capture, in its order. */
export interface CapturedDatagram {
  /** Seconds from the beginning of the capture. */
  readonly atS: number;
  readonly from: UdpAddress;
  readonly to: UdpAddress;
  readonly bytes: Uint8Array;
}

export type FindingCode =
  | 'malformed' | 'no-offer' | 'no-lease' | 'two-servers' | 'late-proxy-offer' | 'ipxe-loop' | 'arch-quirk' | 'guid-not-echoed' | 'guid-missing' | 'boot-server-silent' | 'no-boot-file'
  | 'nak' | 'wrong-relay' | 'lease-expired' | 'tftp-error' | 'tftp-silent' | 'tftp-other-address' | 'tftp-blksize-mtu' | 'tftp-oack-ignored' | 'tftp-oack-invalid' | 'tftp-size-probe'
  | 'tftp-rollover' | 'tftp-incomplete' | 'tftp-last-ack-lost' | 'tftp-retransmission' | 'http-error' | 'http-silent' | 'stale-arp' | 'no-rule';

export interface Finding {
  /** error: the boot fails by this. warning: it may. note: odd, but harmless. */
  readonly severity: 'error' | 'warning' | 'note';
  readonly code: FindingCode;
  readonly atS: number;
  readonly client: string;
  readonly text: string;
}

export interface Explanation {
  /** What happened, a line a step. */
  readonly steps: readonly string[];
  readonly findings: readonly Finding[];
}

/** One line for one DHCP message. */
export const describeDhcp = (message: DhcpMessage): string => {
  const type = message.options.has(OPT.messageType) ? (dhcpType(message) ?? 'unknown type') : message.op === 'request' ? 'BOOTP request' : 'BOOTP reply';
  const parts = [type, hardwareText(message)];
  if (message.op === 'request') {
    const client = describeClient(message);
    if (client.kind !== 'dhcp') parts.push(`${client.kind} ${client.platform}${client.architectures.length > 0 ? ` (${client.architectures.join(', ')})` : ''}`);
    const wanted = optionAddress(message.options, OPT.requestedAddress);
    if (wanted !== undefined) parts.push(`wants ${wanted}`);
  } else {
    if (message.yiaddr !== ANY_ADDRESS) parts.push(`gives ${message.yiaddr}`);
    const boot = bootOf(message);
    if (boot) parts.push(`boots ${printable(boot.file)} from ${boot.server}`);
    const text = optionText(message.options, OPT.message);
    if (text) parts.push(`says "${printable(text)}"`);
  }
  return parts.join(', ');
};

interface DhcpTalk {
  readonly mac: string;
  client: BootClient;
  readonly discovers: number[];
  readonly offers: { readonly atS: number; readonly server: string; readonly message: DhcpMessage }[];
  readonly requests: number[];
  acknowledged?: { readonly atS: number; readonly message: DhcpMessage; readonly from: string };
  refused: boolean;
  asked4011?: number;
  answered4011: boolean;
  ipxeFiles: string[];
  booted: boolean;
  giaddrs: Set<string>;
}

interface TftpTalk {
  readonly atS: number;
  readonly client: UdpAddress;
  readonly server: UdpAddress;
  readonly request: TftpRequest;
  peer?: UdpAddress;
  blksize: number;
  oacks: number;
  data: number;
  blocks: number;
  lastBlock: number;
  lastAck: number;
  ackedZero: boolean;
  final: boolean;
  finalAcked: boolean;
  error?: { readonly code: number; readonly message: string; readonly byClient: boolean };
  rolled: boolean;
  repeated: number;
  strangers: Set<string>;
}

/** The first line of an HTTP request or answer. */
export interface CapturedHttp {
  readonly atS: number;
  readonly from: UdpAddress;
  readonly to: UdpAddress;
  readonly line: string;
}

export interface ExplainOptions {
  /** The path's MTU; default 1500. */
  readonly mtu?: number;
  readonly http?: readonly CapturedHttp[];
  /** Packets to a station that no longer has the address they are for. */
  readonly staleArp?: readonly { readonly atS: number; readonly address: string; readonly sentTo: string; readonly isAt: string; readonly from: string }[];
  /** What each client that asks for a boot file would be told. */
  readonly booter?: Booter;
}

export const explainExchange = (datagrams: readonly CapturedDatagram[], options: ExplainOptions = {}): Explanation => {
  const steps: string[] = [];
  const findings: Finding[] = [];
  const talks = new Map<string, DhcpTalk>();
  const transfers: TftpTalk[] = [];
  const find = (severity: Finding['severity'], code: FindingCode, atS: number, client: string, text: string): void => {
    findings.push({ severity, code, atS, client, text });
  };
  const step = (atS: number, text: string): void => {
    steps.push(`${atS.toFixed(3)} ${text}`);
  };
  const end = datagrams.at(-1)?.atS ?? 0;

  for (const datagram of datagrams) {
    const ports = [datagram.from.port, datagram.to.port];
    if (ports.some(port => port === DHCP_SERVER_PORT || port === DHCP_CLIENT_PORT || port === PXE_SERVER_PORT)) {
      const decoded = decodeDhcp(datagram.bytes);
      if (!decoded.ok) {
        find('error', 'malformed', datagram.atS, addressText(datagram.from), `a DHCP message is malformed: ${decoded.reason}`);
        continue;
      }
      for (const warning of decoded.warnings) find('warning', 'malformed', datagram.atS, addressText(datagram.from), `in a DHCP message ${warning}`);
      step(datagram.atS, describeDhcp(decoded.value));
      dhcpStep(talks, datagram, decoded.value, find);
    } else {
      tftpStep(transfers, datagram, step);
    }
  }
  for (const talk of talks.values()) {
    judgeDhcp(talk, end, find);
    if (options.booter) judgeRules(talk, options.booter, find, step);
  }
  judgeHttp(options.http ?? [], find, step);
  for (const { atS, address, sentTo, isAt, from } of options.staleArp ?? []) {
    find('error', 'stale-arp', atS, from, `packets for ${address} still go to ${sentTo}, but ${isAt} has taken that address: an old ARP entry after a failover; the new server must announce itself (gratuitous ARP)`);
  }
  steps.sort((a, b) => parseFloat(a) - parseFloat(b));
  for (const transfer of transfers) judgeTftp(transfer, options.mtu ?? 1500, find);
  findings.sort((a, b) => a.atS - b.atS);
  return { steps, findings };
};

type Find = (severity: Finding['severity'], code: FindingCode, atS: number, client: string, text: string) => void;

const dhcpStep = (talks: Map<string, DhcpTalk>, { atS, from, to }: CapturedDatagram, message: DhcpMessage, find: Find): void => {
  const mac = hardwareText(message);
  let talk = talks.get(mac);
  if (!talk) {
    talk = { mac, client: describeClient(message), discovers: [], offers: [], requests: [], refused: false, answered4011: false, ipxeFiles: [], booted: false, giaddrs: new Set() };
    talks.set(mac, talk);
  }
  const type = dhcpType(message);
  if (message.op === 'request') {
    talk.client = describeClient(message);
    if (message.giaddr !== ANY_ADDRESS) talk.giaddrs.add(message.giaddr);
    if (to.port === PXE_SERVER_PORT) talk.asked4011 ??= atS;
    else if (type === 'DISCOVER' || type === undefined) talk.discovers.push(atS);
    else if (type === 'REQUEST') talk.requests.push(atS);
    if (type === 'DISCOVER' && talk.client.kind === 'pxe' && talk.discovers.length === 1) {
      if (!message.options.has(OPT.guid)) find('note', 'guid-missing', atS, mac, 'the firmware sends no option 97; rules by UUID cannot match it, and a server must not insist on it');
      if (talk.client.architectures[0] === 9) find('note', 'arch-quirk', atS, mac, 'the firmware calls itself architecture 9, by the table of RFC 4578 the same x86-64 that others send as 7; serve both alike');
    }
    return;
  }
  const server = optionAddress(message.options, OPT.serverId) ?? from.address;
  if (from.port === PXE_SERVER_PORT) talk.answered4011 = true;
  if (type === 'OFFER') talk.offers.push({ atS, server, message });
  if (type === 'NAK') {
    talk.refused = true;
    find('error', 'nak', atS, mac, `${server} refuses the address${optionText(message.options, OPT.message) ? `: ${printable(optionText(message.options, OPT.message)!)}` : ''}`);
  }
  if (type === 'ACK' && message.yiaddr !== ANY_ADDRESS) {
    talk.acknowledged = { atS, message, from: server };
    if (talk.client.kind === 'ipxe') {
      const file = bootOf(message)?.file ?? '';
      if (talk.ipxeFiles.includes(file) && /\.(k?k?pxe|efi|lkrn|0)$/i.test(file)) {
        find('error', 'ipxe-loop', atS, mac, `iPXE is given ${printable(file)} again and again: a rule for clients with user class iPXE is missing on ${server}`);
      }
      talk.ipxeFiles.push(file);
    }
  }
  if (bootOf(message)) talk.booted = true;
  if (type === 'OFFER' && message.yiaddr === ANY_ADDRESS && talk.acknowledged && talk.requests.length > 0) {
    find('warning', 'late-proxy-offer', atS, mac, `the ProxyDHCP offer of ${server} comes after the lease was taken; the firmware no longer listens`);
  }
  if (talk.client.uuid !== undefined && message.yiaddr === ANY_ADDRESS && (optionText(message.options, OPT.vendorClass) ?? '').startsWith('PXEClient') && !message.options.has(OPT.guid)) {
    find('warning', 'guid-not-echoed', atS, mac, `${server} does not send option 97 back; some firmware ignores such an answer`);
  }
};

const judgeDhcp = (talk: DhcpTalk, end: number, find: Find): void => {
  const { mac, offers, discovers, acknowledged } = talk;
  const wantsBoot = talk.client.kind === 'pxe' || talk.client.kind === 'http' || talk.client.kind === 'ipxe' || talk.client.kind === 'bootp';
  const leases = offers.filter(({ message }) => message.yiaddr !== ANY_ADDRESS);
  const first = discovers[0] ?? talk.requests[0] ?? 0;
  if (discovers.length > 0 && offers.length === 0 && !acknowledged) {
    if (talk.giaddrs.size > 0) find('error', 'wrong-relay', first, mac, `no server answered; the requests came through the relay ${[...talk.giaddrs].join(', ')}: no server has a subnet for it, or the relay sends to the wrong server`);
    else find('error', 'no-offer', first, mac, `no server answered ${discovers.length} DISCOVER${discovers.length > 1 ? 's' : ''}: no DHCP server or relay on this wire, or its pool is empty`);
  } else if (discovers.length > 0 && leases.length === 0 && !acknowledged) {
    find('error', 'no-lease', first, mac, `only ${offers[0].server} answered, without an address: a ProxyDHCP server needs a DHCP server beside it`);
  }
  const servers = new Set(leases.map(({ server }) => server));
  if (servers.size > 1) find('warning', 'two-servers', leases[1].atS, mac, `${servers.size} DHCP servers offer addresses (${[...servers].join(', ')}); which one wins depends on who is faster`);
  if (talk.asked4011 !== undefined && !talk.answered4011) find('error', 'boot-server-silent', talk.asked4011, mac, 'the boot server on port 4011 does not answer (PXE-E55): it is not running there or a firewall is between');
  if (acknowledged && wantsBoot && !talk.booted && talk.asked4011 === undefined) {
    find('error', 'no-boot-file', acknowledged.atS, mac, `${acknowledged.from} gives ${acknowledged.message.yiaddr} but nobody names a boot file (PXE-E53)`);
  }
  const seconds = acknowledged?.message.options.get(OPT.leaseTime);
  if (acknowledged && seconds && parseInt(hexOf(seconds), 16) < end - acknowledged.atS && talk.requests.every(atS => atS <= acknowledged.atS)) {
    find('warning', 'lease-expired', end, mac, `the lease of ${acknowledged.message.yiaddr} ended while the client still booted; a loader does not renew, make leases longer`);
  }
};

const tftpStep = (transfers: TftpTalk[], { atS, from, to, bytes }: CapturedDatagram, step: (atS: number, text: string) => void): void => {
  const decoded = decodeTftp(bytes);
  if (!decoded.ok) return;
  const packet = decoded.value;
  const is = (a: UdpAddress, b: UdpAddress): boolean => a.address === b.address && a.port === b.port;
  if (packet.op === 'rrq' || packet.op === 'wrq') {
    if (to.port !== TFTP_PORT) return;
    const before = transfers.findLast(transfer => is(transfer.client, from));
    if (before && before.request.file === packet.file && before.request.options.size === packet.options.size && before.data === 0 && !before.error) {
      before.repeated++;
      return;
    }
    const wanted = [...packet.options].map(([name, value]) => `${name} ${value}`).join(', ');
    step(atS, `${packet.op.toUpperCase()} ${printable(packet.file)} from ${addressText(from)}${wanted ? ` (${printable(wanted)})` : ''}`);
    transfers.push({
      atS, client: from, server: to, request: packet, blksize: TFTP_DEFAULT_BLKSIZE, oacks: 0, data: 0, blocks: 0, lastBlock: 0, lastAck: -1, ackedZero: false, final: false, finalAcked: false, rolled: false, repeated: 0,
      strangers: new Set(),
    });
    return;
  }
  const transfer = transfers.findLast(candidate => is(candidate.client, from) || is(candidate.client, to));
  if (!transfer) return;
  const byClient = is(transfer.client, from);
  if (!byClient) {
    if (from.address !== transfer.server.address) {
      transfer.strangers.add(addressText(from));
      return;
    }
    transfer.peer ??= from;
  }
  switch (packet.op) {
    case 'oack':
      if (transfer.oacks++ === 0) {
        transfer.blksize = optionNumber(packet.options, 'blksize', 8, 65464) ?? TFTP_DEFAULT_BLKSIZE;
        step(atS, `OACK ${[...packet.options].map(([name, value]) => `${printable(name)} ${printable(value)}`).join(', ')}`);
      }
      break;
    case 'data':
      transfer.data++;
      if (((packet.block - transfer.lastBlock) & 0xffff) === 1) {
        if (packet.block === 0) transfer.rolled = true;
        transfer.lastBlock = packet.block;
        transfer.blocks++;
        if (packet.data.length < transfer.blksize) {
          transfer.final = true;
          step(atS, `${printable(transfer.request.file)} is sent: ${transfer.blocks} blocks`);
        }
      } else {
        transfer.repeated++;
      }
      break;
    case 'ack':
      transfer.lastAck = packet.block;
      if (packet.block === 0) transfer.ackedZero = true;
      if (transfer.final && packet.block === transfer.lastBlock) transfer.finalAcked = true;
      break;
    case 'error':
      transfer.error ??= { code: packet.code, message: printable(packet.message), byClient };
      step(atS, `ERROR ${packet.code} "${printable(packet.message)}" from the ${byClient ? 'client' : 'server'}`);
      break;
  }
};

const judgeTftp = (talk: TftpTalk, mtu: number, find: Find): void => {
  const client = addressText(talk.client);
  const file = printable(talk.request.file);
  const say = (severity: Finding['severity'], code: FindingCode, text: string): void => find(severity, code, talk.atS, client, text);
  const { error } = talk;
  const asked = optionNumber(talk.request.options, 'blksize', 8, 65464);
  if (talk.oacks > 0 && asked !== undefined && talk.blksize > asked) say('error', 'tftp-oack-invalid', `the server answers block size ${talk.blksize} to ${asked}: more than was asked for`);
  if (talk.oacks > 0 && talk.blksize + TFTP_OVERHEAD_BYTES > mtu) {
    say(talk.blocks > 0 ? 'warning' : 'error', 'tftp-blksize-mtu', `blocks of ${talk.blksize} bytes do not fit the MTU of ${mtu}: they are fragmented, which many ROMs cannot put together; use ${mtu - TFTP_OVERHEAD_BYTES} at most`);
  }
  if (talk.rolled) say('note', 'tftp-rollover', `${file} has more than 65535 blocks: the number went round to 0, which old loaders do not survive; use larger blocks`);
  if (error?.byClient && talk.oacks > 0 && talk.data === 0 && error.code !== 5) {
    say('note', 'tftp-size-probe', `the client asked for the size of ${file} and ended with error ${error.code}, as PXE ROMs do; this is no failure`);
  } else if (error && error.code !== 5) {
    say('error', 'tftp-error', `${file}: the ${error.byClient ? 'client' : 'server'} ended with error ${error.code}${error.message ? ` (${error.message})` : ''}${error.code === 1 ? ': PXE-T01, the file is not where the boot options say' : ''}`);
  } else if (talk.peer === undefined) {
    if (talk.strangers.size > 0) say('error', 'tftp-other-address', `the answers to the request for ${file} come from ${[...talk.strangers].join(', ')} and not from ${talk.server.address}: the client drops them (PXE-E32); a NAT or a second address is between`);
    else say('error', 'tftp-silent', `no answer to the request for ${file} (PXE-E32, E11): no TFTP server at ${talk.server.address}, or its reply from a fresh port is filtered; try one port for all`);
  } else if (talk.oacks > 1 && talk.data === 0 && !talk.ackedZero) {
    say('error', 'tftp-oack-ignored', `the client does not answer the OACK for ${file}: it knows no option negotiation, or the server's port ${talk.peer.port} does not reach it`);
  } else if (!talk.final) {
    say('error', 'tftp-incomplete', `${file} breaks off after block ${talk.lastBlock}, the last ACK was ${talk.lastAck < 0 ? 'none' : talk.lastAck}`);
  } else if (!talk.finalAcked) {
    say('note', 'tftp-last-ack-lost', `${file} arrived and its last ACK did not, or the client did not send it; harmless`);
  }
  if (talk.repeated > Math.max(3, talk.blocks / 20)) say('warning', 'tftp-retransmission', `${talk.repeated} packets of ${file} were sent again: the wire loses packets, or both ends are impatient`);
};

const judgeRules = (talk: DhcpTalk, booter: Booter, find: Find, step: (atS: number, text: string) => void): void => {
  if (talk.client.kind === 'dhcp') return;
  const atS = talk.discovers[0] ?? talk.requests[0] ?? talk.asked4011 ?? 0;
  const decision = booter.decide(talk.client);
  if (decision.boot === 'refuse') find('error', 'no-rule', atS, talk.mac, `by the rules this client gets nothing: ${decision.reason}`);
  else step(atS, `by the rules ${talk.mac} ${decision.boot === 'local' ? 'boots from its own disk' : `boots ${printable(decision.file)}`}${decision.rule === undefined ? '' : ` (${decision.rule})`}`);
};

const judgeHttp = (lines: readonly CapturedHttp[], find: Find, step: (atS: number, text: string) => void): void => {
  const waiting = new Map<string, CapturedHttp[]>();
  for (const seen of lines) {
    const answer = /^HTTP\/\S+ (\d{3}) ?(.*)$/.exec(seen.line);
    if (!answer) {
      const key = `${addressText(seen.from)} ${addressText(seen.to)}`;
      waiting.set(key, [...(waiting.get(key) ?? []), seen]);
      step(seen.atS, `${printable(seen.line.replace(/ HTTP.*$/, ''))} from ${addressText(seen.from)}`);
      continue;
    }
    const request = waiting.get(`${addressText(seen.to)} ${addressText(seen.from)}`)?.shift();
    const [, status, words] = answer;
    const what = request === undefined ? 'a request that was not captured' : printable(request.line.replace(/ HTTP.*$/, ''));
    step(seen.atS, `HTTP ${status} ${printable(words)} from ${addressText(seen.from)}`);
    if (Number(status) < 400) continue;
    const hint = status === '404' ? ': the script or the rules name a file that the server does not have' : status === '403' ? ': the URL is not signed, too old, or the client is not one that is served' : '';
    find('error', 'http-error', seen.atS, addressText(seen.to), `${what}: ${addressText(seen.from)} answers ${status} ${printable(words)}${hint}`);
  }
  for (const [key, left] of waiting) {
    for (const { atS, line, to } of left) find('error', 'http-silent', atS, key.split(' ')[0], `${printable(line.replace(/ HTTP.*$/, ''))}: ${addressText(to)} took the request and gave no answer`);
  }
};

/** Mistakes in an iPXE script that show only when it runs on other firmware. */
export const lintIpxeScript = (script: string): readonly string[] => {
  const problems: string[] = [];
  const lines = script.split(/\r?\n/).map(line => line.trim());
  if (lines[0] !== '#!ipxe') problems.push('the first line is not #!ipxe: it is not taken for a script');
  let kernel = '';
  const names: string[] = [];
  let freed = true;
  for (const [i, line] of lines.entries()) {
    const words = line.split(/\s+/);
    if (words[0] === 'imgfree') {
      if (kernel !== '' || names.length > 0) problems.push(`line ${i + 1}: imgfree after kernel or initrd throws them away`);
      freed = true;
      kernel = '';
      names.length = 0;
    } else if (words[0] === 'kernel' || words[0] === 'chain') {
      if (kernel !== '' && !freed) problems.push(`line ${i + 1}: a second kernel without imgfree before it: images of the first one stay`);
      if (words[0] === 'kernel') kernel = line;
      freed = false;
    } else if (words[0] === 'initrd' || words[0] === 'module') {
      const flag = words.findIndex(word => word === '--name' || word === '-n');
      const path = words.slice(1).find((word, at) => !word.startsWith('-') && at + 1 !== flag + 1) ?? '';
      names.push(flag > 0 ? (words[flag + 1] ?? '') : (path.split(/[?#]/)[0].split('/').pop() ?? ''));
    } else if (words[0] === 'boot' && kernel !== '') {
      for (const name of names) {
        if (!kernel.includes(`initrd=${name}`)) problems.push(`line ${i + 1}: the kernel's command line has no initrd=${name}: on UEFI the kernel does not find it (add it, and --name where the URL's last part differs)`);
      }
    }
  }
  return problems;
};
