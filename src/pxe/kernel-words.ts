// Words for the kernel, put into the configuration of boot loaders while it is served: PXELINUX, GRUB and iPXE.
import { bytesFile, type FileClient, type FileSource, isRefusal } from './files.js';
import { printable, utf8 } from './bytes.js';
import type { PxeEvent } from './log.js';

/** Larger ones are no configuration. */
const MAX_CONFIG_BYTES = 256 * 1024;
const CONFIG_NAME = /(?:\.(?:cfg|conf|ipxe|menu)|(?:^|\/)pxelinux\.cfg\/[^/]+)$/i;
const APPEND = /^\s*append(?:\s|$)/i;
/** What PXELINUX does not start as Linux: modules, boot sectors, other loaders. */
const NO_KERNEL = /\.(?:c32|com|cbt|0|bin|bs|bss|img|k?pxe)$/i;

export interface ChangedConfig {
  readonly text: string;
  /** Kernel lines that got the words. */
  readonly count: number;
}

/** Adds words to the end of the command line of every kernel that a configuration starts. */
export const addKernelWords = (text: string, words: string): ChangedConfig => {
  const lines = text.split('\n');
  const result = lines[0]?.startsWith('#!ipxe') ? inIpxe(lines, words) : lines.some(line => /^\s*(?:label|default|include|append|kernel)\s/i.test(line)) ? inPxelinux(lines, words) : inGrub(lines, words);
  return { text: result.lines.join('\n'), count: result.count };
};

interface ChangedLines {
  readonly lines: readonly string[];
  readonly count: number;
}

/** A label has its own APPEND, or that before the first label. APPEND of what is no kernel stays as it is. */
const inPxelinux = (lines: readonly string[], words: string): ChangedLines => {
  const changed = [...lines];
  let count = 0;
  const add = (at: number, text: string): void => {
    changed[at] = `${text.trimEnd()} ${words}`;
    count++;
  };
  const labels = lines.flatMap((line, i) => (/^\s*label\s/i.test(line) ? [i] : []));
  const find = (from: number, to: number, pattern: RegExp): number => lines.findIndex((line, i) => i >= from && i < to && pattern.test(line));
  const global = find(0, labels[0] ?? lines.length, APPEND);
  if (global >= 0) add(global, lines[global]);
  labels.forEach((from, i) => {
    const to = labels[i + 1] ?? lines.length;
    const kernel = find(from, to, /^\s*(?:kernel|linux)\s+\S/i);
    if (kernel < 0) return;
    const [, directive, file] = /^\s*(\S+)\s+(\S+)/.exec(lines[kernel])!;
    if (directive.toLowerCase() === 'kernel' && NO_KERNEL.test(file)) return;
    const own = find(from, to, APPEND);
    // A hyphen alone says: no words at all.
    if (own >= 0) add(own, lines[own].replace(/(append)\s+-\s*$/i, '$1'));
    else if (global < 0) add(kernel, `${lines[kernel].trimEnd()}\n\tappend`);
  });
  return { lines: changed, count };
};

const inGrub = (lines: readonly string[], words: string): ChangedLines => replaced(lines, /^\s*linux(?:16|efi)?\s+\S/, line => `${line.trimEnd()} ${words}`);

const inIpxe = (lines: readonly string[], words: string): ChangedLines =>
  replaced(lines, /^\s*kernel\s+\S/, line => {
    const [, command, rest] = /^(.*?)(\s*(?:\|\||&&).*)?$/s.exec(line.trimEnd())!;
    return `${command} ${words}${rest ?? ''}`;
  });

const replaced = (lines: readonly string[], pattern: RegExp, change: (line: string) => string): ChangedLines => {
  let count = 0;
  const changed = lines.map(line => {
    if (!pattern.test(line)) return line;
    count++;
    return change(line);
  });
  return { lines: changed, count };
};

/** Why words cannot stand on a kernel's command line in a configuration; undefined when they can. */
export const wrongKernelWords = (words: string): string | undefined => (/[\u0000-\u001f]/.test(words) ? 'the command line holds a control character' : words.trim() === '' ? 'the command line is empty' : undefined);

/** A source whose loaders' configurations start kernels with these words too; `onChange` is told what was changed. */
export const withKernelWords = (source: FileSource, words: string, onChange: (path: string, count: number, client: FileClient) => void): FileSource => ({
  ...(source.create ? { create: (request, client) => source.create!(request, client) } : {}),
  open(request, client) {
    const opened = source.open(request, client);
    if (isRefusal(opened) || opened.size > MAX_CONFIG_BYTES || !CONFIG_NAME.test(request)) return opened;
    const bytes = new Uint8Array(opened.size);
    const length = opened.read(0, bytes);
    opened.close();
    // Byte by byte: a configuration may be in any character set.
    const { text, count } = addKernelWords(byteText(bytes.subarray(0, length)), byteText(utf8(words)));
    if (count > 0) onChange(request, count, client);
    return bytesFile(Uint8Array.from(text, char => char.charCodeAt(0)), opened.modified);
  },
});

const byteText = (bytes: Uint8Array): string => Array.from(bytes, byte => String.fromCharCode(byte)).join('');

/** What the journal says of a changed configuration. */
export const kernelWordsEvent = (atNs: number, path: string, count: number, { address, service }: FileClient, words: string): PxeEvent => ({
  atNs, service, outcome: 'note', client: address, what: printable(path), reason: `${count} kernel line${count === 1 ? '' : 's'} with '${printable(words)}' at the end`,
});
