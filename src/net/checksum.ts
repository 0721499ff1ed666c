import type { Ipv4 } from './address.js';

/** Adds 16-bit big-endian words to a running sum; an odd last byte counts as the high half of a word (RFC 1071). */
export const addWords = (sum: number, bytes: Uint8Array, start = 0, end = bytes.length): number => {
  let total = sum;
  let at = start;
  for (const even = end - 1; at < even; at += 2) total += (bytes[at] << 8) | bytes[at + 1];
  if (at < end) total += bytes[at] << 8;
  return total;
};

/** Folds a sum to 16 bits and complements it. Sums of up to 2^37 words stay exact. */
export const finishChecksum = (sum: number): number => {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x1_0000) + Math.floor(folded / 0x1_0000);
  return ~folded & 0xffff;
};

/** The Internet checksum (RFC 1071) of a range; zero when the range holds its own right checksum. */
export const checksum = (bytes: Uint8Array, start = 0, end = bytes.length): number => finishChecksum(addWords(0, bytes, start, end));

/** The sum of the pseudo-header that TCP and UDP put before their own (RFC 9293 3.1, RFC 768). */
export const pseudoHeaderSum = (src: Ipv4, dst: Ipv4, protocol: number, length: number): number =>
  (src >>> 16) + (src & 0xffff) + (dst >>> 16) + (dst & 0xffff) + protocol + length;
