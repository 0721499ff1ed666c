// Debian binary packages: deb(5).
import { readAr } from './ar.js';
import { formatError, utf8 } from './codec/bytes.js';
import { decompress, decompressAsync, type Compression } from './codec/decompress.js';
import { readTar, type TarEntry } from './tar.js';

const MAX_UNPACKED_BYTES = 2 ** 31;
const MAX_CONTROL_BYTES = 64 << 20;
const SUFFIXES: Record<string, Compression | undefined> = { '.xz': 'xz', '.gz': 'gzip', '.zst': 'zstd', '.bz2': 'bzip2', '.lzma': 'lzma' };

/** A field of the control file or of a Packages index, by its name in lower case. */
export type Paragraph = Map<string, string>;

export interface Deb {
  control: Paragraph;
  /** Unpacks the data member; content is a view of one large buffer. Rejects with the signal's reason when it is aborted. */
  files(signal?: AbortSignal): Promise<Generator<TarEntry>>;
}

/** Opens a package; throws ERR_VMLET_IMAGE_FORMAT when it is none. */
export function readDeb(bytes: Uint8Array): Deb {
  const members = readAr(bytes);
  if (members[0]?.name !== 'debian-binary' || !utf8(members[0].data).startsWith('2.')) {
    throw formatError('Debian package', 'not a package of format 2');
  }
  const find = (stem: string): { kind: Compression | undefined; data: Uint8Array } => {
    const member = members.find(({ name }) => name === stem || name.startsWith(`${stem}.`));
    if (!member) throw formatError('Debian package', `no ${stem}`);
    const suffix = member.name.slice(stem.length);
    const kind = SUFFIXES[suffix];
    if (suffix !== '' && !kind) throw formatError('Debian package', `unknown compression of ${member.name}`);
    return { kind, data: member.data };
  };
  const packed = find('control.tar');
  const controlTar = packed.kind ? decompress(packed.kind, packed.data, { maxBytes: MAX_CONTROL_BYTES }).bytes : packed.data;
  let control: Paragraph | undefined;
  for (const entry of readTar(controlTar)) {
    if (entry.path === 'control') [control] = parseParagraphs(utf8(entry.data));
  }
  if (!control) throw formatError('Debian package', 'no control file');
  const files = async (signal?: AbortSignal): Promise<Generator<TarEntry>> => {
    const { kind, data } = find('data.tar');
    return readTar(kind ? (await decompressAsync(kind, data, { maxBytes: MAX_UNPACKED_BYTES, signal })).bytes : data);
  };
  return { control, files };
}

/** Reads RFC 822 style paragraphs; continuation lines are kept with their line break. */
export function parseParagraphs(text: string): Paragraph[] {
  const paragraphs: Paragraph[] = [];
  let current: Paragraph = new Map();
  let field = '';
  for (const line of text.split('\n')) {
    if (line.trim() === '') {
      if (current.size > 0) paragraphs.push(current);
      current = new Map();
      field = '';
    } else if (line[0] === ' ' || line[0] === '\t') {
      if (field) current.set(field, `${current.get(field)!}\n${line.slice(1)}`);
    } else {
      const colon = line.indexOf(':');
      if (colon < 1) continue;
      field = line.slice(0, colon).toLowerCase();
      current.set(field, line.slice(colon + 1).trim());
    }
  }
  if (current.size > 0) paragraphs.push(current);
  return paragraphs;
}
