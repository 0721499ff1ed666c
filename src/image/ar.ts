import { ascii, formatError } from './codec/bytes.js';

const MAGIC = '!<arch>\n';
const HEADER_SIZE = 60;

export interface ArMember {
  name: string;
  data: Uint8Array;
}

/** Reads a Unix archive as .deb files use it (common and GNU names, no symbol tables). */
export function readAr(bytes: Uint8Array): ArMember[] {
  if (ascii(bytes, 0, 8) !== MAGIC) throw formatError('ar archive', bytes.length < 8 ? 'truncated' : 'no ar header');
  const members: ArMember[] = [];
  let at = 8;
  while (at < bytes.length) {
    if (at + HEADER_SIZE > bytes.length) throw formatError('ar archive', 'truncated');
    if (ascii(bytes, at + 58, at + 60) !== '`\n') throw formatError('ar archive', `a damaged header at byte ${at}`);
    const sizeText = ascii(bytes, at + 48, at + 58).trimEnd();
    if (!/^\d+$/.test(sizeText)) throw formatError('ar archive', 'a bad member size');
    const size = Number(sizeText);
    const dataAt = at + HEADER_SIZE;
    if (dataAt + size > bytes.length) throw formatError('ar archive', 'truncated');
    members.push({ name: ascii(bytes, at, at + 16).trimEnd().replace(/\/$/, ''), data: bytes.subarray(dataAt, dataAt + size) });
    at = dataAt + size + (size & 1);
  }
  return members;
}
