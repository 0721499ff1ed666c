// Packages from a Debian mirror that the user names, without apt.
import { EnvHttpProxyAgent, fetch, type Dispatcher } from 'undici';
import { VmletError } from '../errors.js';
import { aborted } from './cache.js';
import { utf8 } from './codec/bytes.js';
import { sha256Hex } from './codec/checksum.js';
import { decompress, type Compression } from './codec/decompress.js';
import { parseParagraphs } from './deb.js';
import { packageInfo, type PackageInfo, type PackageSource } from './packages.js';

const RELEASE_MAX_BYTES = 16 << 20;
const INDEX_MAX_BYTES = 512 << 20;
const TRIES = 2;
const INDEX_FORMS: readonly [suffix: string, kind: Compression | undefined][] = [['.xz', 'xz'], ['.gz', 'gzip'], ['', undefined]];

export interface MirrorOptions {
  /** Root of the archive, the folder that holds `dists` and `pool`. */
  url: string;
  suite: string;
  components: readonly string[];
  /** Debian's name. */
  arch: string;
}

/**
 * Checks every index against Release and every package against its index. Release itself is trusted as the mirror serves
 * it: use an https URL where the way there is not trusted.
 */
export class MirrorSource implements PackageSource {
  readonly complaints: string[] = [];
  readonly #options: MirrorOptions;
  readonly #root: URL;
  readonly #dispatcher: Dispatcher | undefined;
  #packages = new Map<string, PackageInfo[]>();

  constructor(options: MirrorOptions) {
    this.#options = options;
    this.#root = rootUrl(options.url);
    const { env } = process;
    const proxied = env.HTTP_PROXY || env.http_proxy || env.HTTPS_PROXY || env.https_proxy;
    this.#dispatcher = proxied ? new EnvHttpProxyAgent() : undefined;
  }

  async update(signal?: AbortSignal): Promise<void> {
    const { suite, components, arch } = this.#options;
    const release = parseRelease(await this.#release(suite, signal));
    this.#packages = new Map();
    for (const component of components) {
      const stem = `${component}/binary-${arch}/Packages`;
      const form = INDEX_FORMS.find(([suffix]) => release.has(stem + suffix));
      if (!form) {
        this.complaints.push(`${suite} has no ${stem}`);
        continue;
      }
      const [suffix, kind] = form;
      const known = release.get(stem + suffix)!;
      if (known.sizeBytes > INDEX_MAX_BYTES) throw this.#error(`${stem}${suffix}`, `it claims ${known.sizeBytes} bytes`);
      const path = `dists/${suite}/${stem}${suffix}`;
      const packed = await this.#get(path, known.sizeBytes, signal);
      if (packed.length !== known.sizeBytes || sha256Hex(packed) !== known.sha256) {
        throw this.#error(path, 'it does not match its checksum in Release');
      }
      const text = utf8(kind ? decompress(kind, packed, { maxBytes: INDEX_MAX_BYTES }).bytes : packed);
      for (const paragraph of parseParagraphs(text)) {
        const info = packageInfo(paragraph);
        if (!info) continue;
        const versions = this.#packages.get(info.name);
        if (versions) versions.push(info);
        else this.#packages.set(info.name, [info]);
      }
    }
  }

  find(name: string): Promise<PackageInfo[]> {
    const versions = this.#packages.get(name) ?? [];
    return Promise.resolve([...versions].sort((a, b) => compareVersions(b.version, a.version)));
  }

  fetch(info: PackageInfo, _folder: string, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#get(info.filename, info.sizeBytes, signal);
  }

  async #release(suite: string, signal?: AbortSignal): Promise<string> {
    try {
      return utf8(await this.#get(`dists/${suite}/InRelease`, RELEASE_MAX_BYTES, signal));
    } catch (cause) {
      if (!(cause instanceof VmletError) || cause.code === 'ERR_VMLET_ABORTED') throw cause;
      return utf8(await this.#get(`dists/${suite}/Release`, RELEASE_MAX_BYTES, signal));
    }
  }

  async #get(path: string, maxBytes: number, signal?: AbortSignal): Promise<Uint8Array> {
    const url = new URL(path, this.#root);
    if (url.origin !== this.#root.origin || !url.pathname.startsWith(this.#root.pathname)) {
      throw this.#error(path, 'the index points outside the mirror');
    }
    for (let attempt = 1; ; attempt++) {
      try {
        const response = await fetch(url, { signal, dispatcher: this.#dispatcher });
        if (!response.ok) {
          await response.body?.cancel();
          if (response.status >= 500 && attempt < TRIES) continue;
          throw this.#error(path, `the server answered ${response.status} ${response.statusText}`.trimEnd());
        }
        const parts: Uint8Array[] = [];
        let total = 0;
        if (response.body) {
          for await (const part of response.body as AsyncIterable<Uint8Array>) {
            total += part.length;
            if (total > maxBytes) throw this.#error(path, `it is longer than ${maxBytes} bytes`);
            parts.push(part);
          }
        }
        return Buffer.concat(parts);
      } catch (cause) {
        if (signal?.aborted) throw aborted(signal);
        if (cause instanceof VmletError) throw cause;
        if (attempt >= TRIES) throw this.#error(path, reason(cause), cause);
      }
    }
  }

  #error(path: string, why: string, cause?: unknown): VmletError {
    return new VmletError('ERR_VMLET_FETCH', `cannot fetch ${path} from the mirror ${this.#options.url}: ${why}`, {
      hint: 'Check the network, and that the mirror URL is the folder that holds "dists" and "pool". Only the first run needs the network.',
      cause,
    });
  }
}

function rootUrl(text: string): URL {
  let url: URL | undefined;
  try {
    url = new URL(text.endsWith('/') ? text : `${text}/`);
  } catch {
    // Told below.
  }
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    throw new VmletError('ERR_VMLET_CONFIG', `the mirror ${JSON.stringify(text)} is no http or https URL`, {
      hint: 'Give the root of a Debian archive, as in an apt source.',
    });
  }
  return url;
}

/** The innermost words of a network error. */
function reason(cause: unknown): string {
  let current = cause as { message?: string; code?: string; cause?: unknown };
  while (current.cause instanceof Error) current = current.cause as typeof current;
  return current.message || current.code || 'the connection failed';
}

interface ReleaseFile {
  sha256: string;
  sizeBytes: number;
}

/** The SHA256 section of Release or InRelease, by path. */
function parseRelease(text: string): Map<string, ReleaseFile> {
  const body = text
    .replace(/^-----BEGIN PGP SIGNED MESSAGE-----\r?\n(?:.+\r?\n)*\r?\n/, '')
    .replace(/-----BEGIN PGP SIGNATURE-----[\s\S]*$/, '');
  const files = new Map<string, ReleaseFile>();
  for (const line of (parseParagraphs(body)[0]?.get('sha256') ?? '').split('\n')) {
    const match = /^\s*([0-9a-fA-F]{64})\s+(\d+)\s+(\S+)\s*$/.exec(line);
    if (match) files.set(match[3], { sha256: match[1].toLowerCase(), sizeBytes: Number(match[2]) });
  }
  return files;
}

/** Orders versions as Debian policy 5.6.12 does. */
export function compareVersions(a: string, b: string): number {
  const split = (version: string): [number, string, string] => {
    const colon = version.indexOf(':');
    const rest = version.slice(colon + 1);
    const dash = rest.lastIndexOf('-');
    return [colon < 0 ? 0 : Number(version.slice(0, colon)), dash < 0 ? rest : rest.slice(0, dash), dash < 0 ? '' : rest.slice(dash + 1)];
  };
  const [epochA, upstreamA, revisionA] = split(a);
  const [epochB, upstreamB, revisionB] = split(b);
  return epochA - epochB || compareParts(upstreamA, upstreamB) || compareParts(revisionA, revisionB);
}

function compareParts(a: string, b: string): number {
  const order = (char: string | undefined): number =>
    char === undefined ? 0 : char === '~' ? -1 : /[a-zA-Z]/.test(char) ? char.charCodeAt(0) : char.charCodeAt(0) + 256;
  let [restA, restB] = [a, b];
  while (restA !== '' || restB !== '') {
    const [textA, textB] = [/^\D*/.exec(restA)![0], /^\D*/.exec(restB)![0]];
    for (let i = 0; i < Math.max(textA.length, textB.length); i++) {
      const difference = order(textA[i]) - order(textB[i]);
      if (difference !== 0) return difference;
    }
    [restA, restB] = [restA.slice(textA.length), restB.slice(textB.length)];
    const [digitsA, digitsB] = [/^\d*/.exec(restA)![0], /^\d*/.exec(restB)![0]];
    const difference = Number(digitsA || 0) - Number(digitsB || 0);
    if (difference !== 0) return difference;
    [restA, restB] = [restA.slice(digitsA.length), restB.slice(digitsB.length)];
  }
  return 0;
}
