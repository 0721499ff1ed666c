/** What a codec makes of bytes from the wire: a value with remarks, or the reason why there is none. Decoders never throw. */
export type Decoded<T> = { readonly ok: true; readonly value: T; readonly warnings: readonly string[] } | { readonly ok: false; readonly reason: string };

export const defect = (reason: string): { readonly ok: false; readonly reason: string } => ({ ok: false, reason });

export const readU16 = (bytes: Uint8Array, at: number): number => (bytes[at] << 8) | bytes[at + 1];

export const readU32 = (bytes: Uint8Array, at: number): number => ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;

export const u8 = (value: number): Uint8Array => Uint8Array.of(value);

export const u16 = (value: number): Uint8Array => Uint8Array.of(value >>> 8, value);

export const u32 = (value: number): Uint8Array => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

export const utf8 = (text: string): Uint8Array => encoder.encode(text);

/** The text before the first NUL; bytes that are not UTF-8 become U+FFFD. */
export const textOf = (bytes: Uint8Array): string => {
  const end = bytes.indexOf(0);
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
};

/** A wire string fit for a log line: printable, one line, at most 128 characters. */
export const printable = (text: string): string => {
  const clean = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\ufffd]/g, '?');
  return clean.length > 128 ? `${clean.slice(0, 125)}...` : clean;
};

export const concatBytes = (parts: readonly Uint8Array[]): Uint8Array => {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
};

export const equalBytes = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, i) => byte === b[i]);

export const hexOf = (bytes: Uint8Array): string => {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
};

/** Bytes of an even number of hex digits; undefined for anything else. */
export const bytesOfHex = (text: string): Uint8Array | undefined => {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(text)) return undefined;
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => parseInt(text.slice(2 * i, 2 * i + 2), 16));
};

export const ANY_ADDRESS = '0.0.0.0';
export const BROADCAST_ADDRESS = '255.255.255.255';

/** The four bytes of a dotted quad as an unsigned number; undefined when the text is not one. */
export const ipv4Number = (text: string): number | undefined => {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (!match) return undefined;
  let value = 0;
  for (let i = 1; i <= 4; i++) {
    const byte = Number(match[i]);
    if (byte > 255) return undefined;
    value = value * 256 + byte;
  }
  return value;
};

export const ipv4Text = (value: number): string => `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;

/** The four bytes of a dotted quad; zeroes when it is not one. */
export const ipv4Bytes = (text: string): Uint8Array => u32(ipv4Number(text) ?? 0);

export const prefixMask = (prefix: number): number => (prefix <= 0 ? 0 : prefix >= 32 ? 0xffff_ffff : (0xffff_ffff << (32 - prefix)) >>> 0);

/** Whether an address lies in network/prefix. */
export const inNetwork = (address: string, network: string, prefix: number): boolean => {
  const a = ipv4Number(address);
  const n = ipv4Number(network);
  return a !== undefined && n !== undefined && ((a ^ n) & prefixMask(prefix)) === 0;
};

export const macText = (bytes: Uint8Array): string => Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join(':');

/** Bytes of a colon or dash separated hardware address of 1 to 16 bytes; undefined when it is not one. */
export const macBytes = (text: string): Uint8Array | undefined => {
  if (!/^[0-9a-f]{2}([:-][0-9a-f]{2}){0,15}$/i.test(text)) return undefined;
  return Uint8Array.from(text.split(/[:-]/), byte => parseInt(byte, 16));
};
