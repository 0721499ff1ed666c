import { addWords, finishChecksum, pseudoHeaderSum } from '../../../net/checksum.js';

/** What a card finds out about the checksums of a received frame; undefined where there is none that it knows. */
export interface FrameChecks {
  ip: boolean | undefined;
  /** TCP or UDP. */
  transport: boolean | undefined;
  udp: boolean;
}

const NOTHING: FrameChecks = { ip: undefined, transport: undefined, udp: false };
const TYPE_AT = 12;
const IPV4 = 0x0800;
const VLAN = 0x8100;
const TCP = 6;
const UDP = 17;
const FRAGMENT = 0x3fff;

const word = (bytes: Uint8Array, at: number): number => (bytes[at] << 8) | bytes[at + 1];
const address = (bytes: Uint8Array, at: number): number => ((word(bytes, at) << 16) | word(bytes, at + 2)) >>> 0;

/** Checks an IPv4 frame, with or without a VLAN tag. Fragments have no transport checksum of their own. */
export const checkFrame = (frame: Uint8Array): FrameChecks => {
  if (frame.length < 34) return NOTHING;
  const at = word(frame, TYPE_AT) === VLAN ? 18 : 14;
  if (word(frame, at - 2) !== IPV4 || frame[at] >> 4 !== 4) return NOTHING;
  const headerBytes = (frame[at] & 15) * 4;
  const total = word(frame, at + 2);
  if (headerBytes < 20 || total < headerBytes || at + total > frame.length) return NOTHING;
  const ip = finishChecksum(addWords(0, frame, at, at + headerBytes)) === 0;
  const protocol = frame[at + 9];
  if ((word(frame, at + 6) & FRAGMENT) !== 0 || (protocol !== TCP && protocol !== UDP)) return { ip, transport: undefined, udp: false };
  const start = at + headerBytes;
  const bytes = total - headerBytes;
  const udp = protocol === UDP;
  if (bytes < (udp ? 8 : 20) || (udp && word(frame, start + 6) === 0)) return { ip, transport: undefined, udp };
  const sum = pseudoHeaderSum(address(frame, at + 12), address(frame, at + 16), protocol, bytes);
  return { ip, transport: finishChecksum(addWords(sum, frame, start, start + bytes)) === 0, udp };
};
