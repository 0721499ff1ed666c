// From options to what a machine starts with: images fetched, files read and checked, the command line put together.
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { VmletError } from './errors.js';
import { guestNetWord } from './config-net.js';
import { configError, type DiskOptions, type VMConfig, type VMOptions } from './config.js';
import type { BlockBackend } from './host/backends/backend.js';
import { OverlayBlock, RawFileBlock } from './host/backends/block.js';
import { FileBytes } from './host/backends/file-bytes.js';
import { type Arch, isRealModeKernel } from './host/boot/linux.js';
import { type BootOptions, protocolOf } from './host/boot/load.js';
import type { GuestImage } from './image/resolve.js';

/** SeaBIOS comes with a BIOS for the display adapter in the same folder; without it there is no INT 10h. */
const VGA_BIOS = 'vgabios-isavga.bin';
/** Kernel command line for a Linux kernel of the user. */
const DEFAULT_CMDLINE = 'console=ttyS0 panic=-1';

export interface PreparedGuest {
  boot: BootOptions;
  arch: Arch | undefined;
  image: GuestImage | undefined;
  /** Whether it is a Linux kernel, as far as the file tells. */
  linux?: boolean;
  /** The kernel command line; undefined for a ROM. */
  cmdline: string | undefined;
}

const words = (...parts: (string | undefined)[]): string => parts.filter(part => part !== undefined && part !== '').join(' ');

/** What the guest's init is told. */
const agentWords = (config: VMConfig, options: VMOptions): string =>
  words(
    config.agent ? 'vmlet.agent' : undefined,
    config.shell ? 'vmlet.shell' : undefined,
    config.shell && options.term ? `vmlet.term=${options.term.replace(/[^\w.+-]/g, '')}` : undefined,
    guestNetWord(config.nics),
    config.shell && options.columns && options.rows ? `vmlet.size=${options.columns}x${options.rows}` : undefined,
  );

/** Reads and checks everything that a guest starts from. Throws VmletError. */
export const prepareGuest = async (config: VMConfig, options: VMOptions): Promise<PreparedGuest> => {
  if (config.bios !== undefined) {
    const image = await readUserFile(config.bios, 'ROM image', options.signal);
    const vgaRom = await readFile(join(dirname(config.bios), VGA_BIOS)).catch(() => undefined);
    return { boot: { kind: 'rom', image, name: config.bios, order: config.bootOrder, vgaRom }, arch: config.arch, image: undefined, cmdline: undefined };
  }
  if (config.bootOrder.length > 0) return { boot: { kind: 'firmware', order: config.bootOrder }, arch: config.arch, image: undefined, cmdline: undefined };
  return config.kernel === undefined ? prepareImage(config, options) : prepareKernel(config.kernel, config, options);
};

const resolve = async (name: string, options: VMOptions): Promise<GuestImage> => {
  const { resolveImage } = await import('./image/resolve.js');
  const { cache, mirror, signal, onProgress } = options;
  return resolveImage(name, { cache, mirror, signal, onProgress });
};

const prepareImage = async (config: VMConfig, options: VMOptions): Promise<PreparedGuest> => {
  const image = await resolve(config.image!, options);
  if (config.arch === 'i386' && image.arch === 'x86_64') {
    throw new VmletError('ERR_VMLET_IMAGE_ARCH', `the image '${image.name}' is for x86_64, and the machine was asked to be an i386`, { hint: 'leave --arch out, or use the image i386' });
  }
  // Cached files are read in one call each: in pieces, 50 MB take three times as long.
  const kernel = readFileSync(image.kernel.bzImage);
  const unpacked = image.kernel.vmlinux === undefined ? undefined : new FileBytes(image.kernel.vmlinux);
  const initrd = readFileSync(image.initrd);
  const cmdline = words(image.cmdline, /\bpanic=/.test(image.cmdline) ? undefined : 'panic=-1', agentWords(config, options), config.append);
  return { boot: { kind: 'kernel', kernel, unpacked, initrd, cmdline, name: image.name }, arch: config.arch ?? image.arch, image, linux: true, cmdline };
};

const prepareKernel = async (path: string, config: VMConfig, options: VMOptions): Promise<PreparedGuest> => {
  const [{ loadKernel }, { loadInitrd }] = await Promise.all([import('./image/resolve.js'), import('./image/initrd.js')]);
  const loaded = await loadKernel(path, { cache: options.cache, signal: options.signal });
  // Only Linux's own formats are unpacked; what the loaders do not know they refuse by themselves.
  const isLinux = loaded.format === 'bzimage' || (loaded.format === 'elf' && protocolOf(loaded.bytes) !== 'multiboot');
  let initrd: Uint8Array | undefined;
  if (config.initrd !== undefined) initrd = isLinux ? (await loadInitrd(config.initrd)).bytes : await readUserFile(config.initrd, 'module', options.signal);
  let cmdline = config.append ?? (isLinux && !isRealModeKernel(loaded.bytes) ? DEFAULT_CMDLINE : '');
  if (config.agent) {
    if (!isLinux) throw configError(`commands cannot be run in ${path}: it is no Linux kernel`, 'leave the command out');
    const arch = config.arch ?? (await kernelArch(loaded.bytes, loaded.vmlinux));
    if (initrd === undefined) {
      const image = await resolve(arch === 'i386' ? 'i386' : 'amd64', options);
      initrd = await readUserFile(image.initrd, 'initrd', options.signal);
      cmdline = words(cmdline, agentWords({ ...config, shell: false }, options));
    } else {
      const [{ writeCpio }, { addedInitFiles, ADDED_INIT }] = await Promise.all([import('./image/cpio.js'), import('./image/guest-files.js')]);
      const added = writeCpio(addedInitFiles(arch));
      const joined = new Uint8Array(((initrd.length + 3) & ~3) + added.length);
      joined.set(initrd);
      joined.set(added, joined.length - added.length);
      initrd = joined;
      cmdline = words(cmdline, `rdinit=/${ADDED_INIT}`, agentWords({ ...config, shell: false }, options));
    }
  }
  const unpacked = loaded.format === 'bzimage' ? loaded.vmlinux : undefined;
  const kernel = loaded.format === 'elf' && loaded.vmlinux !== undefined ? loaded.vmlinux : loaded.bytes;
  return { boot: { kind: 'kernel', kernel, unpacked, initrd, cmdline, name: path }, arch: config.arch, image: undefined, linux: isLinux, cmdline };
};

const kernelArch = async (bytes: Uint8Array, vmlinux: Uint8Array | undefined): Promise<Arch> => {
  const { elfArch, readBzImage } = await import('./image/kernel.js');
  if (vmlinux !== undefined) return elfArch(vmlinux);
  return readBzImage(bytes).arch ?? 'x86_64';
};

/** Reads a file that the user named; throws ERR_VMLET_IMAGE_NOT_FOUND. */
const readUserFile = async (path: string, what: string, signal?: AbortSignal): Promise<Uint8Array> => {
  try {
    return await readFile(path, { signal });
  } catch (cause) {
    if (signal?.aborted) throw new VmletError('ERR_VMLET_ABORTED', 'aborted', { cause: signal.reason });
    const { readError } = await import('./image/initrd.js');
    throw readError(what, path, cause);
  }
};

/** The drives of a machine by what they are attached to. */
export interface OpenDrives {
  disks: BlockBackend[];
  ideDisks: BlockBackend[];
  floppies: BlockBackend[];
  cdroms: BlockBackend[];
}

/** All of a machine's drives, to be flushed and closed. */
export const allDrives = ({ disks, ideDisks, floppies, cdroms }: OpenDrives): BlockBackend[] => [...disks, ...ideDisks, ...floppies, ...cdroms];

/** Opens the drives; all are closed again when one fails. */
export const openDisks = (config: VMConfig): OpenDrives => {
  const drives: OpenDrives = { disks: [], ideDisks: [], floppies: [], cdroms: [] };
  const open = ({ path, readOnly = false, snapshot = false }: DiskOptions): BlockBackend => {
    const file = new RawFileBlock(path, { readOnly: readOnly || snapshot });
    return snapshot ? new OverlayBlock(file) : file;
  };
  try {
    for (const disk of config.disks) (disk.interface === 'ide' ? drives.ideDisks : drives.disks).push(open(disk));
    for (const floppy of config.floppies) drives.floppies.push(open(floppy));
    for (const path of config.cdroms) drives.cdroms.push(open({ path, readOnly: true }));
  } catch (error) {
    for (const drive of allDrives(drives)) drive.close();
    throw error;
  }
  return drives;
};
