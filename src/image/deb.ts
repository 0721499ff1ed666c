// Debian binary packages: deb(5).
import { readAr } from './ar.js';
import { formatError, utf8 } from './codec/bytes.js';
import { decompress, type Compression } from './codec/decompress.js';
import { readTar, type TarEntry } from './tar.js';

const MAX_UNPACKED_BYTES = 2 ** 31;
const SUFFIXES: Record<string, Compression | undefined> = { '.xz': 'xz', '.gz': 'gzip', '.zst': 'zstd', '.bz2': 'bzip2', '.lzma': 'lzma' };

/** A field of the control file or of a Packages index, by its name in lower case. */
export type Paragraph = Map<string, string>;

export interface Deb {
  control: Paragraph;
  /** Unpacks the data member; content is a view of one large buffer. */
  files(): Generator<TarEntry>;
}

/** Opens a package; throws ERR_VMLET_IMAGE_FORMAT when it is none. */
export function readDeb(bytes: Uint8Array): Deb {
  const members = readAr(bytes);
  if (members[0]?.name !== 'debian-binary' || !utf8(members[0].data).startsWith('2.')) {
    throw formatError('Debian package', 'not a package of format 2');
  }
  const unpack = (stem: string): Uint8Array => {
    const member = members.find(({ name }) => name === stem || name.startsWith(`${stem}.`));
    if (!member) throw formatError('Debian package', `no ${stem}`);
    const suffix = member.name.slice(stem.length);
    if (suffix === '') return member.data;
    const kind = SUFFIXES[suffix];
    if (!kind) throw formatError('Debian package', `unknown compression of ${member.name}`);
    return decompress(kind, member.data, { maxBytes: MAX_UNPACKED_BYTES }).bytes;
  };
  let control: Paragraph | undefined;
  for (const entry of readTar(unpack('control.tar'))) {
    if (entry.path === 'control') [control] = parseParagraphs(utf8(entry.data));
  }
  if (!control) throw formatError('Debian package', 'no control file');
  return { control, files: () => readTar(unpack('data.tar')) };
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
