/** Why a requested path is not served. `missing` is the only one that a client is told as such; the rest are access violations. */
export type PathRefusal = { readonly refused: 'missing' | 'denied'; readonly reason: string };

const MAX_PATH_BYTES = 1024;
const MAX_NAME_BYTES = 255;

const denied = (reason: string): PathRefusal => ({ refused: 'denied', reason });

/**
 * The names of a requested path, below the root: '/boot/./vmlinuz' and 'boot/vmlinuz' are ['boot', 'vmlinuz']. An absolute path is taken
 * as one under the root. '..' is refused, not resolved, also where it would stay inside: no boot loader needs it, and every bug of this
 * kind began with a clever resolution.
 */
export const guardPath = (request: string): readonly string[] | PathRefusal => {
  if (request.includes('\0')) return denied('the path contains NUL');
  if (request.includes('\\')) return denied('the path contains a backslash');
  if (request.includes('\ufffd')) return denied('the path is not UTF-8');
  if (/^[a-z]:/i.test(request)) return denied('the path names a drive');
  if (new TextEncoder().encode(request).length > MAX_PATH_BYTES) return denied(`the path is longer than ${MAX_PATH_BYTES} bytes`);
  const names: string[] = [];
  for (const name of request.split('/')) {
    if (name === '' || name === '.') continue;
    if (name === '..') return denied("the path contains '..'");
    if (new TextEncoder().encode(name).length > MAX_NAME_BYTES) return denied(`a name in the path is longer than ${MAX_NAME_BYTES} bytes`);
    names.push(name);
  }
  return names.length > 0 ? names : { refused: 'missing', reason: 'the path names the root folder, not a file' };
};

/**
 * Whether a real path lies strictly inside a real root: compared with the separator, so that /var/data-private is not in /var/data.
 * Both must have been resolved (no symbolic link, no '.', no '..') before.
 */
export const isInside = (realRoot: string, realPath: string, separator: string): boolean => {
  const root = realRoot.endsWith(separator) ? realRoot : realRoot + separator;
  return realPath.startsWith(root) && realPath.length > root.length;
};
