// Debian packages by name, whoever fetches them.
import { VmletError } from '../errors.js';
import { sha256Hex } from './codec/checksum.js';
import type { Paragraph } from './deb.js';

export interface PackageInfo {
  name: string;
  version: string;
  /** As Debian has it: `amd64`, `i386`, `all`. */
  arch: string;
  depends: string;
  /** Path below the mirror's root. */
  filename: string;
  sizeBytes: number;
  sha256: string;
}

export interface PackageSource {
  /** Brings the indices up to date. */
  update(signal?: AbortSignal): Promise<void>;
  /** All versions on offer, the preferred one first. */
  find(name: string, signal?: AbortSignal): Promise<PackageInfo[]>;
  /** Fetches a package; the caller checks it. `folder` is for temporary files. */
  fetch(info: PackageInfo, folder: string, signal?: AbortSignal): Promise<Uint8Array>;
  /** What went wrong so far without stopping the work, for a message. */
  readonly complaints: readonly string[];
}

export function packageInfo(paragraph: Paragraph): PackageInfo | undefined {
  const field = (name: string): string => paragraph.get(name) ?? '';
  const info: PackageInfo = {
    name: field('package'),
    version: field('version'),
    arch: field('architecture'),
    depends: [field('pre-depends'), field('depends')].filter(Boolean).join(', '),
    filename: field('filename'),
    sizeBytes: Number(field('size')),
    sha256: field('sha256').toLowerCase(),
  };
  const complete = info.name && info.version && info.filename && /^[0-9a-f]{64}$/.test(info.sha256) && info.sizeBytes > 0;
  return complete ? info : undefined;
}

/** The package that holds the kernel itself: follows a metapackage to the `linux-image-` package it depends on. */
export async function findKernelPackage(source: PackageSource, name: string, signal?: AbortSignal): Promise<PackageInfo> {
  let info = await findPackage(source, name, undefined, signal);
  for (let hops = 0; hops < 4; hops++) {
    const next = parseDepends(info.depends).find((dependency) => dependency.name.startsWith('linux-image-'));
    if (!next) return info;
    info = await findPackage(source, next.name, next.version, signal);
  }
  return info;
}

export async function findPackage(
  source: PackageSource, name: string, version: string | undefined, signal?: AbortSignal,
): Promise<PackageInfo> {
  const candidates = await source.find(name, signal);
  const info = candidates.find((candidate) => candidate.version === version) ?? candidates[0];
  if (info) return info;
  const last = source.complaints.slice(-2).join('; ');
  throw new VmletError('ERR_VMLET_FETCH', `cannot fetch the Debian package ${name}: no index has it${last ? ` (${last})` : ''}`, {
    hint:
      'Check the network and the machine\'s apt sources, or give a Debian mirror with VMLET_MIRROR=URL. ' +
      'Only the first run needs the network. A kernel of your own (-k) needs none.',
  });
}

/** Fetches and checks size and SHA-256. */
export async function fetchPackage(source: PackageSource, info: PackageInfo, folder: string, signal?: AbortSignal): Promise<Uint8Array> {
  const bytes = await source.fetch(info, folder, signal);
  if (bytes.length !== info.sizeBytes || sha256Hex(bytes) !== info.sha256) {
    throw new VmletError('ERR_VMLET_FETCH', `the Debian package ${info.name} ${info.version} does not match its checksum in the index`, {
      hint: 'The mirror may be changing just now: try again in a few minutes, or use another one with VMLET_MIRROR=URL.',
    });
  }
  return bytes;
}

interface Dependency {
  name: string;
  /** Set for an exact one. */
  version?: string;
}

function parseDepends(text: string): Dependency[] {
  return text.split(/[,|]/).flatMap((part) => {
    const match = /^\s*([a-z0-9][a-z0-9+.-]*)(?::\S+)?\s*(?:\(\s*(\S+?)\s+([^)\s]+)\s*\))?/.exec(part);
    return match ? [{ name: match[1], version: match[2] === '=' ? match[3] : undefined }] : [];
  });
}
