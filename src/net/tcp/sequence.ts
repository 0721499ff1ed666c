// Sequence numbers are unsigned 32-bit integers compared modulo 2^32 (RFC 9293, 3.4).

export const seqAdd = (a: number, n: number): number => (a + n) >>> 0;

/** a - b as a signed distance. */
export const seqDiff = (a: number, b: number): number => (a - b) | 0;

export const seqLess = (a: number, b: number): boolean => ((a - b) | 0) < 0;

export const seqMax = (a: number, b: number): number => (seqLess(a, b) ? b : a);
