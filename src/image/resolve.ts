// From a recipe's name to files that boot: fetch, unpack, assemble, remember.
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { VmletError } from '../errors.js';
import { AptSource, hasApt } from './apt.js';
import { baseEntries, busyboxApplets } from './base-files.js';
import { aborted, Cache, cacheFolder, writeWhole, type CacheEntry } from './cache.js';
import { concat, formatError, startsWith } from './codec/bytes.js';
import { sha256Hex } from './codec/checksum.js';
import { decompress, detectCompression } from './codec/decompress.js';
import { cpioFile, cpioSymlink, writeCpio, type CpioEntry } from './cpio.js';
import { readDeb } from './deb.js';
import { ELF_MAGIC } from './elf.js';
import { initFiles } from './guest-files.js';
import { readError } from './initrd.js';
import { elfArch, isBzImage, unpackKernel, type GuestArch } from './kernel.js';
import { moduleIndex, ModuleTree } from './modules.js';
import { fetchPackage, findKernelPackage, findPackage, type PackageInfo, type PackageSource } from './packages.js';
import { loadRecipe, type Recipe } from './recipe.js';

/** Part of every cache key: raise it when the same recipe gives other files. */
const BUILDER = 1;
const MAX_KERNEL_BYTES = 512 << 20;
const ARM64_MAGIC = [0x41, 0x52, 0x4d, 0x64];
const ARM64_MAGIC_AT = 0x38;
const MODULE_LIST = 'lib/modules/vmlet.list';

export interface ResolveOptions {
  /** Cache folder; VMLET_CACHE or the user's cache folder by default. */
  cache?: string;
  /** Root of a Debian archive, in place of apt; VMLET_MIRROR by default. */
  mirror?: string;
  signal?: AbortSignal;
  /** Fetch again although the cache has it. */
  refresh?: boolean;
  /** Told what goes on while something is fetched or built. */
  onProgress?: (text: string) => void;
}

/** What a built image remembers about itself. */
export interface ImageManifest {
  recipe: string;
  kernelVersion: string;
  /** Where the packages came from: `apt` or the mirror's URL. */
  source: string;
  packages: { name: string; version: string; arch: string; sha256: string }[];
  /** Paths of the modules that init loads. */
  modules: string[];
  /** Modules of the recipe's optional list that the kernel lacks. */
  missingModules: string[];
  hasVmlinux: boolean;
}

export interface GuestImage {
  name: string;
  arch: GuestArch;
  /** As `uname -r` tells it. */
  kernelVersion: string;
  kernel: {
    bzImage: string;
    /** The ELF kernel; undefined when only the guest can unpack it. */
    vmlinux: string | undefined;
  };
  /** Raw cpio. */
  initrd: string;
  /** Default kernel command line. */
  cmdline: string;
  manifest: ImageManifest;
}

/** Makes a built-in guest ready: from the cache (no network, a few stat calls), or by fetching and building it. */
export async function resolveImage(name: string, options: ResolveOptions = {}): Promise<GuestImage> {
  return resolveRecipe(await loadRecipe(name), options);
}

/** The same for a recipe from elsewhere. */
export async function resolveRecipe(recipe: Recipe, options: ResolveOptions = {}): Promise<GuestImage> {
  const { signal } = options;
  if (signal?.aborted) throw aborted(signal);
  try {
    return await resolveChecked(recipe, options);
  } catch (cause) {
    if (signal?.aborted && !(cause instanceof VmletError)) throw aborted(signal);
    throw cause;
  }
}

async function resolveChecked(recipe: Recipe, options: ResolveOptions): Promise<GuestImage> {
  const { signal, refresh } = options;
  const cache = new Cache(options.cache ?? cacheFolder());
  const recipeHash = sha256Hex(Buffer.from(JSON.stringify([BUILDER, recipe]))).slice(0, 16);
  const key = `images/${recipe.name}-${recipeHash}`;
  const base = await cache.obtain<ImageManifest>(key, (folder) => buildBase(recipe, folder, options), { signal, force: refresh });

  const guestCpio = writeCpio(initFiles(recipe.arch));
  const initrdHash = sha256Hex(Buffer.from(`${BUILDER} ${base.sha256['base.cpio']} ${sha256Hex(guestCpio)}`)).slice(0, 32);
  const initrd = await cache.obtain(`initrds/${initrdHash}`, async (folder) => {
    const baseCpio = await readFile(join(base.folder, 'base.cpio'));
    await writeWhole(join(folder, 'initrd.cpio'), concat([baseCpio, guestCpio]));
  }, { signal });

  const { meta } = base;
  return {
    name: recipe.name,
    arch: recipe.arch,
    kernelVersion: meta.kernelVersion,
    kernel: {
      bzImage: join(base.folder, 'bzImage'),
      vmlinux: meta.hasVmlinux ? join(base.folder, 'vmlinux') : undefined,
    },
    initrd: join(initrd.folder, 'initrd.cpio'),
    cmdline: recipe.cmdline,
    manifest: meta,
  };
}

export interface LoadedKernel {
  /** The file as the user gave it, but for an outer compression. */
  bytes: Uint8Array;
  /** Of a bzImage: the unpacked ELF kernel, unless only the guest can unpack it. Of an ELF file: the file. */
  vmlinux: Uint8Array | undefined;
  format: 'bzimage' | 'elf' | 'unknown';
}

/** Reads a kernel of the user and unpacks it, once for each content: the result is kept in the cache, if that can be written. */
export async function loadKernel(path: string, options: Pick<ResolveOptions, 'cache' | 'signal'> = {}): Promise<LoadedKernel> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path, { signal: options.signal });
  } catch (cause) {
    if (options.signal?.aborted) throw aborted(options.signal);
    throw readError('kernel', path, cause);
  }
  if (bytes.length === 0) throw formatError(`the kernel ${path}`, 'empty');
  try {
    const kind = detectCompression(bytes);
    if (kind) bytes = decompress(kind, bytes, { maxBytes: MAX_KERNEL_BYTES }).bytes;
    if (startsWith(bytes, ARM64_MAGIC, ARM64_MAGIC_AT)) {
      throw new VmletError('ERR_VMLET_IMAGE_ARCH', 'it is for an ARM machine', { hint: 'Use a kernel built for i386 or x86_64.' });
    }
    if (startsWith(bytes, ELF_MAGIC)) {
      elfArch(bytes);
      return { bytes, vmlinux: bytes, format: 'elf' };
    }
    if (!isBzImage(bytes)) return { bytes, vmlinux: undefined, format: 'unknown' };
    return { bytes, vmlinux: await unpackKernelCached(bytes, options), format: 'bzimage' };
  } catch (cause) {
    if (!(cause instanceof VmletError) || cause.code === 'ERR_VMLET_ABORTED') throw cause;
    throw new VmletError(cause.code, `cannot use the kernel ${path}: ${cause.message}`, { hint: cause.hint, cause });
  }
}

/** `unpackKernel`, remembered by the image's SHA-256. */
export async function unpackKernelCached(
  bzImage: Uint8Array, options: Pick<ResolveOptions, 'cache' | 'signal'> = {},
): Promise<Uint8Array | undefined> {
  const cache = new Cache(options.cache ?? cacheFolder());
  const key = `kernels/${sha256Hex(bzImage)}`;
  let entry: CacheEntry<{ hasVmlinux: boolean }> | undefined;
  let unpacked: Uint8Array | undefined;
  try {
    entry = await cache.obtain(key, async (folder) => {
      unpacked = unpackKernel(bzImage)?.vmlinux;
      if (unpacked) await writeWhole(join(folder, 'vmlinux'), unpacked);
      return { hasVmlinux: unpacked !== undefined };
    }, { signal: options.signal });
  } catch (cause) {
    // A kernel can run without being remembered.
    if (!(cause instanceof VmletError) || cause.code !== 'ERR_VMLET_CACHE') throw cause;
    return unpacked ?? unpackKernel(bzImage)?.vmlinux;
  }
  if (!entry.meta.hasVmlinux) return undefined;
  return unpacked ?? readFile(join(entry.folder, 'vmlinux'));
}

async function buildBase(recipe: Recipe, folder: string, options: ResolveOptions): Promise<ImageManifest> {
  const { signal, onProgress = (): void => {} } = options;
  const work = join(folder, 'work');
  const mirror = options.mirror ?? (process.env.VMLET_MIRROR || undefined);
  let source: PackageSource;
  if (mirror !== undefined) {
    const { MirrorSource } = await import('./mirror.js'); // undici takes 80 ms to load, and most runs fetch nothing
    source = new MirrorSource({ url: mirror, suite: recipe.suite, components: recipe.components, arch: recipe.debianArch });
  } else if (await hasApt()) {
    source = new AptSource(work, recipe.debianArch);
  } else {
    throw new VmletError('ERR_VMLET_FETCH', `cannot fetch the guest image ${recipe.name}: this machine has no apt, and no mirror was given`, {
      hint: 'Give a Debian mirror with VMLET_MIRROR=URL, or boot a kernel of your own with -k.',
    });
  }
  const from = mirror ?? 'apt';
  onProgress(`fetching package indices for ${recipe.debianArch} (${from})`);
  await source.update(signal);
  const kernelInfo = await findKernelPackage(source, recipe.kernel, signal);
  const infos: PackageInfo[] = [];
  for (const { name } of recipe.packages) infos.push(await findPackage(source, name, undefined, signal));

  const take = async (info: PackageInfo): Promise<Uint8Array> => {
    onProgress(`fetching ${info.name} ${info.version} (${(info.sizeBytes / 1e6).toFixed(1)} MB)`);
    return fetchPackage(source, info, work, signal);
  };
  const kernelDeb = await take(kernelInfo);
  const debs: Uint8Array[] = [];
  for (const info of infos) debs.push(await take(info));
  await rm(work, { recursive: true, force: true });

  onProgress(`unpacking ${kernelInfo.name}`);
  const kernel = await readKernelPackage(kernelDeb, kernelInfo.name, signal);
  const unpacked = unpackKernel(kernel.bzImage);
  if (unpacked && unpacked.arch !== recipe.arch) {
    throw new VmletError('ERR_VMLET_IMAGE_ARCH', `the kernel of ${kernelInfo.name} is for ${unpacked.arch}, not for ${recipe.arch}`, {
      hint: 'Correct the recipe.',
    });
  }
  if (signal?.aborted) throw aborted(signal);

  onProgress('building the initramfs');
  const entries = baseEntries();
  for (const [i, wanted] of recipe.packages.entries()) entries.push(...(await packageFiles(wanted, debs[i], signal)));
  const busybox = entries.find(({ path }) => path === recipe.busybox)?.data;
  if (recipe.busybox && busybox) entries.push(...appletLinks(recipe.busybox, busybox, entries));
  const modules = moduleEntries(recipe, kernel.modules, kernel.version);
  entries.push(...modules.entries, ...recipe.files.map(({ path, mode, content }) => cpioFile(path, content, parseInt(mode, 8))));

  await writeWhole(join(folder, 'bzImage'), kernel.bzImage);
  if (unpacked) await writeWhole(join(folder, 'vmlinux'), unpacked.vmlinux);
  await writeWhole(join(folder, 'base.cpio'), writeCpio(entries));
  return {
    recipe: recipe.name,
    kernelVersion: kernel.version,
    source: from,
    packages: [kernelInfo, ...infos].map(({ name, version, arch, sha256 }) => ({ name, version, arch, sha256 })),
    modules: modules.load,
    missingModules: modules.missing,
    hasVmlinux: unpacked !== undefined,
  };
}

async function readKernelPackage(
  deb: Uint8Array, name: string, signal?: AbortSignal,
): Promise<{ bzImage: Uint8Array; version: string; modules: ModuleTree }> {
  let bzImage: Uint8Array | undefined;
  let version = '';
  const modules = new ModuleTree();
  for (const { path, type, data } of await readDeb(deb).files(signal)) {
    if (type !== 'file') continue;
    const image = /^boot\/vmlinuz-(.+)$/.exec(path);
    if (image) {
      bzImage = data;
      version = image[1];
      continue;
    }
    const module = /^(?:usr\/)?lib\/modules\/[^/]+\/(.+)$/.exec(path);
    if (module) modules.addFile(module[1], data);
  }
  if (!bzImage) throw formatError(`the Debian package ${name}`, 'it holds no kernel');
  return { bzImage, version, modules };
}

async function packageFiles(wanted: Recipe['packages'][number], deb: Uint8Array, signal?: AbortSignal): Promise<CpioEntry[]> {
  const found = new Map<string, Uint8Array>();
  const paths = new Set(wanted.files.flatMap(({ from }) => from));
  for (const { path, type, data } of await readDeb(deb).files(signal)) if (type === 'file' && paths.has(path)) found.set(path, new Uint8Array(data));
  return wanted.files.map(({ from, to, mode }) => {
    const data = from.map((path) => found.get(path)).find((bytes) => bytes !== undefined);
    if (!data) throw formatError(`the Debian package ${wanted.name}`, `it holds no ${from.join(' or ')}`);
    return cpioFile(to, data, parseInt(mode, 8));
  });
}

function appletLinks(path: string, busybox: Uint8Array, entries: readonly CpioEntry[]): CpioEntry[] {
  const taken = new Set(entries.map((entry) => entry.path));
  const folder = path.slice(0, path.lastIndexOf('/') + 1);
  const target = path.slice(folder.length);
  return busyboxApplets(busybox)
    .map((applet) => folder + applet)
    .filter((link) => !taken.has(link))
    .map((link) => cpioSymlink(link, target));
}

function moduleEntries(recipe: Recipe, tree: ModuleTree, version: string): { entries: CpioEntry[]; load: string[]; missing: string[] } {
  const load = tree.select(recipe.modules.load);
  if (load.missing.length > 0) {
    throw new VmletError('ERR_VMLET_IMAGE_FORMAT', `the kernel ${version} has no module ${load.missing.join(', ')}`, {
      hint: 'Correct the recipe, or use another kernel package.',
    });
  }
  const all = tree.select([...recipe.modules.load, ...recipe.modules.include]);
  const root = `lib/modules/${version}`;
  const index = moduleIndex(all.modules);
  const loadPaths = load.modules.map(({ path }) => `/${root}/${path}`);
  return {
    entries: [
      ...all.modules.map(({ path, data }) => cpioFile(`${root}/${path}`, data)),
      cpioFile(`${root}/modules.dep`, index.dep),
      cpioFile(`${root}/modules.alias`, index.alias),
      cpioFile(MODULE_LIST, loadPaths.map((path) => `${path}\n`).join('')),
    ],
    load: loadPaths,
    missing: all.missing,
  };
}
